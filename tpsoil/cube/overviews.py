"""Overviews: every layer at half, a quarter ... of the resolution, each level a cube of its own below `overviews/`.

`open_cube("maps.zarr/overviews/4")` opens one, as `xr.open_zarr` and GDAL do. The group's attribute `multiscales` names
the complete ones, so an overview whose writing did not end is never used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr
from odc.geo.geobox import GeoBox

from tpsoil.errors import MissingInputError, TpsoilError, nearest_name
from tpsoil.grid import same_grid

from .codecs import layer_codecs
from .consolidated import consolidate, deconsolidate
from .conventions import overview_paths
from .levels import METHODS, OVERVIEWS, array_kind, coarser_grid, declare_overviews, overview_factors
from .location import attribute, open_store, writing
from .reading import LayerReader
from .regions import finish_layers, write_block
from .store import create_cube, layer_array, layers_of, open_group

Array = npt.NDArray[Any]

UNSHARED: Final = ("missing_cells", "source_digest", "state")
"""Attributes of a layer that its overviews do not share."""


def write_overviews(store: str | os.PathLike[str], layers: Sequence[str] | None = None) -> list[str]:
    """Write the overviews of layers that have none, and declare them in the group's attributes.

    Parameters
    ----------
    store : path or URL
        Of a cube or of a run's maps.
    layers : sequence of str, optional
        All complete layers by default.

    Returns
    -------
    list of str
        Paths of the overviews that were written.

    Raises
    ------
    MissingInputError
        For a store or layer that is not there.
    InputError, CorruptStoreError, AccessError, WorkError

    Notes
    -----
    A cell of a level is the mean of the four cells below it that have a value, in the direction of their mean vector
    for circular layers; of classes it is the most frequent one, the lowest code first. Memory: four chunks.

    Examples
    --------
    >>> from tpsoil.cube import create_cube, write_layers
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> import xarray as xr
    >>> grid = plateau_grid(5_000)
    >>> _ = create_cube("memory://levels", grid, overwrite=True)
    >>> slope = xr.DataArray(np.ones(grid.shape, np.float32), dims=("y", "x"), coords=coordinates(grid))
    >>> slope.attrs = {"units": "m/m", "kind": "continuous"}
    >>> write_layers("memory://levels", {"slope": slope})
    >>> write_overviews("memory://levels")
    ['overviews/2/slope']
    """
    where = os.fspath(store)
    info, group = open_group(where)
    arrays = {name: array for name, array in layers_of(info, group) if array.attrs.get("state") == "complete"}
    for name in layers or ():
        if name not in arrays:
            raise MissingInputError(f"{info.where}: no complete layer '{name}'{nearest_name(name, list(arrays))}")
    declared = {name: paths for name, paths in overview_paths(info.attrs).items() if name in arrays}
    factors = overview_factors(info.shape)
    new = [name for name in (layers or arrays) if factors and name not in declared]
    if not new and set(declared) == set(overview_paths(info.attrs)):
        return []
    deconsolidate(where)
    grids = {factor: coarser_grid(info.grid, factor) for factor in factors}
    if new:
        with writing(where):
            zarr.open_group(open_store(where), path=OVERVIEWS, mode="a", zarr_format=3)
    for factor in factors if new else ():
        source = where if factor == 2 else _place(where, factor // 2)
        _write_level(source, _place(where, factor), grids[factor], new)
    declare_overviews(where, sorted({*declared, *new}))
    consolidate(where)
    return [f"{OVERVIEWS}/{factor}/{name}" for name in new for factor in factors]


def _place(where: str, factor: int) -> str:
    return f"{where.rstrip('/')}/{OVERVIEWS}/{factor}"


def _write_level(source: str, target: str, grid: GeoBox, names: Sequence[str]) -> None:
    info, group = open_group(source)
    if not _is_level(target, grid, info.chunks):
        create_cube(target, grid, info.chunks, overwrite=True)
    level, places = open_group(target, read_only=False)
    for name in names:
        array = layer_array(info, group, name)
        attrs = {key: value for key, value in dict(array.attrs).items() if key not in UNSHARED}
        with writing(target):
            coarse = places.create_array(
                name,
                shape=level.shape,
                chunks=(level.chunks, level.chunks),
                dtype=array.dtype,
                fill_value=array.metadata.fill_value,
                dimension_names=("y", "x"),
                compressors=layer_codecs(),
                attributes=attribute({**attrs, "resampling": METHODS[array_kind(array)], "state": "writing"}),
                overwrite=True,
            )
        read, fill = LayerReader(info, name, array), array.metadata.fill_value
        for i in range(level.chunk_grid[0]):
            for j in range(level.chunk_grid[1]):
                rows, cols = level.chunk_slices(i, j)
                down, across = (
                    slice(2 * part.start, min(2 * part.stop, size)) for part, size in zip((rows, cols), info.shape)
                )
                fine = read(down, across)
                write_block(coarse, level, name, rows, cols, _halved(fine, array_kind(array), fill))
    finish_layers(target, names)


def _is_level(place: str, grid: GeoBox, chunks: int) -> bool:
    try:
        info = open_group(place)[0]
    except TpsoilError:
        return False
    return info.chunks == chunks and same_grid(info.grid, grid)


def _halved(block: Array, kind: str, fill: Any) -> Array:
    """A block at half the resolution; an odd last row or column counts alone."""
    missing = np.isnan(block) if kind != "categorical" and block.dtype.kind == "f" else block == fill
    down, across = block.shape[0] % 2, block.shape[1] % 2
    values = np.pad(block, ((0, down), (0, across)), constant_values=fill)
    present = np.pad(~missing, ((0, down), (0, across)))
    four = [values[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    valid = [present[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    count = np.sum(valid, axis=0)
    if kind == "categorical":
        votes = [np.sum([(other == one) & ok for other, ok in zip(four, valid)], axis=0) for one in four]
        best, chosen = np.zeros(count.shape, np.int64), np.full(count.shape, fill, block.dtype)
        for one, ok, vote in zip(four, valid, votes):
            better = ok & ((vote > best) | ((vote == best) & (one < chosen)))
            best, chosen = np.where(better, vote, best), np.where(better, one, chosen)
        return chosen
    if kind == "circular":
        angles = [np.deg2rad(np.where(ok, one, 0.0)) for one, ok in zip(four, valid)]
        north = np.sum([np.cos(angle) * ok for angle, ok in zip(angles, valid)], axis=0)
        east = np.sum([np.sin(angle) * ok for angle, ok in zip(angles, valid)], axis=0)
        mean = np.rad2deg(np.arctan2(east, north)) % 360
    else:
        total = np.sum([np.where(ok, one, 0.0) for one, ok in zip(four, valid)], axis=0)
        mean = total / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan if block.dtype.kind == "f" else fill).astype(block.dtype)
