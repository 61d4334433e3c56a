"""Layers of covariate groups, by the windows of a run and lazily in Python: one implementation.

Apart from the building of stages, so that a change of one group leaves the tiles of the others up to date.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import lru_cache, partial
from typing import Any, Final
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.covariates.groups.base import CovariateGroup
from tpsoil.grid import coordinates
from tpsoil.stage import CONTENT, SourceBytes, Window
from tpsoil.tiles import from_tiles
from tpsoil.variables import Variable

from .derive_sources import OpenSources, open_sources
from .readers import Readers

Array = npt.NDArray[Any]
GRID_LAYER: Final = "grid_cells"
"""A layer of zeros that gives the grid to a group that reads no layer."""

_readers: Final = Readers[OpenSources](limit=32)


def compute_group(window: Window) -> Mapping[str, Array]:
    """The layers of a group on one window."""
    group: CovariateGroup = window.options["group"]
    layers = {str(name): layer for name, layer in window.layers.data_vars.items()}
    sources = _opened(window.options, window.grid)
    names = window.options["names"]
    needed = group.sources_of(names, set(sources.readers))
    layers |= _source_layers(sources, needed, window.grid, (window.rows, window.columns))
    results = group.compute(layers)
    return {name: np.asarray(results[name].values) for name in names}


def _opened(options: Mapping[str, Any], grid: GeoBox) -> OpenSources:
    """The group's sources, retained for the next tile; not those of a DEM whose derivation needs the complete grid."""
    group: CovariateGroup = options["group"]
    if not group.data:
        return OpenSources()
    if group.halo is None or CONTENT not in options:
        return open_sources(group, grid)
    return _readers.get((group, grid), str(options[CONTENT]), partial(open_sources, group, grid))


def group_bytes(options: Mapping[str, Any], grid: GeoBox, shape: tuple[int, int]) -> SourceBytes:
    """Peak of memory while the sources behind a tile of a group are read."""
    return _opened(options, grid).read_bytes(*shape)


def _source_layers(
    sources: OpenSources, names: Set[str], grid: GeoBox, cells: tuple[slice, slice]
) -> dict[str, xr.DataArray]:
    """Layers that a group reads from files on a window, and the window's grid itself."""
    rows, columns = cells
    axes = axes_of(grid)
    coords = {**axes, "y": axes["y"][rows], "x": axes["x"][columns]}
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    layers = {GRID_LAYER: xr.DataArray(np.zeros(shape, np.float32), dims=("y", "x"), coords=coords)}
    for name, read in sources.readers.items():
        if name not in names:
            continue
        layers[name] = described(xr.DataArray(read(rows, columns), dims=("y", "x"), coords=coords), name, sources)
    return layers


def described(layer: xr.DataArray, name: str, sources: OpenSources) -> xr.DataArray:
    """A source layer with its attributes."""
    spec: Variable = sources.specs[name]
    layer.name = name
    layer.attrs = {**spec.attributes(), **sources.attributes[name], **sources.common}
    if spec.kind == "categorical":
        layer.encoding["_FillValue"] = spec.fill
    return layer


@lru_cache(maxsize=4)
def axes_of(grid: GeoBox) -> Any:
    """Coordinates of a grid."""
    return coordinates(grid)


def lazy_group(
    group: CovariateGroup, layers: Mapping[str, xr.DataArray], grid: GeoBox, chunks: int
) -> dict[str, xr.DataArray]:
    """All layers of a group on a complete grid, lazily: the same values as its stage stores.

    Parameters
    ----------
    group : CovariateGroup
    layers : mapping of str to DataArray (y, x)
        What it reads, on the grid.
    grid : GeoBox
    chunks : int
        Cells a side of what is read from files.
    """
    sources = open_sources(group, grid)
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    inputs = dict(layers)
    data = from_tiles(_zeros, shape, chunks, "float32")
    inputs[GRID_LAYER] = xr.DataArray(data, dims=("y", "x"), coords=axes_of(grid))
    for name, read in sources.readers.items():
        # Two openings of one source are two readers, and nothing that dask could compare.
        data = from_tiles(read, shape, chunks, sources.specs[name].dtype, name=f"{group.group}-{name}-{uuid4().hex}")
        inputs[name] = described(xr.DataArray(data, dims=("y", "x"), coords=axes_of(grid)), name, sources)
    results = dict(group.compute(inputs))
    text = group.assumptions(tuple(layers))
    for layer in results.values():
        layer.attrs |= {**sources.common, **({"assumptions": text} if text else {})}
    return results


def _zeros(rows: slice, columns: slice) -> Array:
    return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
