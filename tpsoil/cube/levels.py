"""Which overviews a cube has: their factors and grids, and the attribute that declares the complete ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from .chunks import write_attributes
from .consolidated import deconsolidate
from .conventions import MULTISCALES, REGISTERED, REGISTRATIONS, overview_attributes, overview_paths
from .location import Location, open_store, writing
from .store import layer_documents, open_group

OVERVIEWS: Final = "overviews"
COARSEST_CELLS: Final = 256
"""Levels are added while the longer side has at least so many cells."""

METHODS: Final = {"continuous": "average", "circular": "vector_mean", "categorical": "mode"}


def overview_factors(shape: tuple[int, int]) -> list[int]:
    """Cells of the layer along a side of an overview's cell, the finest level first.

    Examples
    --------
    >>> overview_factors((1800, 2800))
    [2, 4, 8]
    """
    factors, factor = [], 2
    while max(shape) / factor >= COARSEST_CELLS:
        factors.append(factor)
        factor *= 2
    return factors


def withdraw_overviews(store: Location, names: Iterable[str]) -> dict[str, list[str]]:
    """Declare the overviews of layers that are about to change no longer; their paths by layer."""
    declared, changed = overview_paths(open_group(store)[0].attrs), set(names)
    withdrawn = {name: paths for name, paths in declared.items() if name in changed}
    if withdrawn:
        deconsolidate(store)
        declare_overviews(store, [name for name in declared if name not in changed])
    return withdrawn


def remove_overviews(store: Location, names: Iterable[str]) -> None:
    """Remove the overviews of layers that are about to change; nothing where there are none.

    The declaration first: what is no longer declared is written again.

    Parameters
    ----------
    store : path, URL or zarr Store
    names : iterable of str

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://without", plateau_grid(100_000), overwrite=True)
    >>> remove_overviews("memory://without", ["slope"])
    """
    if withdrawn := withdraw_overviews(store, names):
        with writing(store):
            root = zarr.open_group(open_store(store), mode="r+", use_consolidated=False)
            for path in (path for name in sorted(withdrawn) for path in withdrawn[name]):
                if path in root:
                    del root[path]


def coarser_grid(grid: GeoBox, factor: int) -> GeoBox:
    """The grid of an overview: the same origin, cells `factor` times as large."""
    rows, cols = (-(-int(size) // factor) for size in grid.shape)
    return GeoBox((rows, cols), grid.transform * Affine.scale(factor), grid.crs)


def layer_kind(document: Mapping[str, Any]) -> str:
    """Continuous, categorical or circular: of a stored layer, from its description."""
    default = "continuous" if str(document["data_type"]).startswith("float") else "categorical"
    return str(document["attributes"].get("kind", default))


def declare_overviews(store: Location, names: Sequence[str]) -> None:
    """Name the overviews of these layers, and no others, in the attributes of the group."""
    info, group = open_group(store, read_only=False)
    documents = layer_documents(info, group)
    levels = {
        name: [(name, info.grid)]
        + [(f"{OVERVIEWS}/{factor}/{name}", coarser_grid(info.grid, factor)) for factor in overview_factors(info.shape)]
        for name in names
    }
    attrs = {key: value for key, value in info.attrs.items() if key != MULTISCALES}
    registered = [one for one in attrs.get(REGISTERED, ()) if one.get("name") != MULTISCALES]
    if levels:
        registered.append(REGISTRATIONS[MULTISCALES])
    attrs[REGISTERED] = registered
    with writing(store):
        methods = {name: METHODS[layer_kind(documents[name])] for name in names}
        write_attributes(group.store, "", attrs | overview_attributes(levels, methods))
