"""The objects of an empty cube: the description of its group, and its coordinates.

They are the same for the same grid and chunks, so they are encoded once in a process, and a run can compare those of a
store with what they must be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import zarr
from odc.geo.geobox import GeoBox
from zarr.abc.store import Store
from zarr.storage import MemoryStore

from tpsoil import __version__
from tpsoil.grid import coordinates

from .chunks import DESCRIPTION, list_keys, read_objects, write_object
from .codecs import coordinate_codecs
from .conventions import grid_attributes
from .location import attribute

FORMAT: Final = "tpsoil-cube"
FORMAT_VERSION: Final = 1
CREATED_WITH: Final = f"tpsoil {__version__}"


def lay_out_cube(
    target: Store,
    grid: GeoBox,
    chunks: int,
    attrs: Mapping[str, Any] | None = None,
    *,
    earlier_codecs: bool = False,
) -> None:
    """Write the group and the coordinates of a cube into a store; other objects there stay.

    For runs, whose store contains their lock and their records before it is a cube. Other callers use `create_cube`.
    `earlier_codecs` gives the objects that an earlier tpsoil wrote, to compare with.
    """
    for key, data in layout_objects(grid, chunks, earlier_codecs=earlier_codecs).items():
        if key == DESCRIPTION and attrs:
            document = json.loads(data)
            document["attributes"] |= attribute(dict(attrs))
            data = json.dumps(document).encode()
        write_object(target, key, data)


@lru_cache(maxsize=16)
def layout_objects(grid: GeoBox, chunks: int, *, earlier_codecs: bool = False) -> Mapping[str, bytes]:
    """Every object of an empty cube by its key, the description of the group first; as `lay_out_cube` writes them."""
    memory = MemoryStore()
    attributes = {
        "Conventions": "CF-1.11",
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created_with": CREATED_WITH,
        "crs_wkt": grid.crs.to_wkt(),
        "transform": [float(value) for value in tuple(grid.transform)[:6]],
        "shape": [int(size) for size in grid.shape],
        "chunks": chunks,
        **grid_attributes(grid),
    }
    group = zarr.create_group(memory, zarr_format=3, attributes=attributes)
    for name, coordinate in coordinates(grid).items():
        values = np.asarray(coordinate.values)
        array = group.create_array(
            str(name),
            shape=values.shape,
            chunks=tuple(max(size, 1) for size in values.shape),
            dtype=values.dtype,
            dimension_names=coordinate.dims or None,
            compressors=coordinate_codecs(earlier=earlier_codecs),
            attributes=attribute(dict(coordinate.attrs)),
            config={"write_empty_chunks": True},
        )
        array[...] = values

    keys = sorted(list_keys(memory), key=lambda key: (key != DESCRIPTION, key))
    return {key: data for key, data in zip(keys, read_objects(memory, keys)) if data is not None}
