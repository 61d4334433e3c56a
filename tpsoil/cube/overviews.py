"""Overviews: every layer at half, a quarter ... of the resolution, each level a cube of its own below `overviews/`.

`open_cube("maps.zarr/overviews/4")` opens one, as `xr.open_zarr` and GDAL do. The group's attribute `multiscales` names
the complete ones, so an overview whose writing did not end is never used.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr
from odc.geo.geobox import GeoBox
from zarr.abc.store import Store
from zarr.core.sync import sync

from tpsoil.errors import CorruptStoreError, MissingInputError, TpsoilError, require_named
from tpsoil.grid import same_grid

from .chunks import DESCRIPTION, array_of, read_objects, write_object
from .codecs import layer_codec_documents
from .consolidated import consolidate, deconsolidate
from .conventions import overview_paths
from .layout import lay_out_cube, layout_objects
from .levels import METHODS, OVERVIEWS, coarser_grid, declare_overviews, layer_kind, overview_factors
from .location import open_store, writing
from .reading import CubeInfo, LayerReader
from .regions import block_writer
from .store import clear_target, complete_layers, open_group

Array = npt.NDArray[Any]
Chunk = tuple[int, int]

UNSHARED: Final = ("missing_cells", "source_digest", "state")
"""Attributes of a layer that its overviews do not share."""


def write_overviews(
    store: str | os.PathLike[str],
    layers: Sequence[str] | None = None,
    *,
    changed: Mapping[str, Collection[Chunk]] | None = None,
) -> list[str]:
    """Write the overviews of layers that have none, and declare them in the group's attributes.

    Parameters
    ----------
    store : path or URL
        Of a cube or of a run's maps.
    layers : sequence of str, optional
        All complete layers by default.
    changed : mapping of str to chunks (i, j), optional
        Of layers whose overviews were complete until these chunks changed: only what covers them is written again.

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
    for circular layers; of classes it is the most frequent one, the lowest code first. Memory: two chunks a thread.

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
    return update_overviews(store, layers, changed=changed)[0]


def update_overviews(
    store: str | os.PathLike[str],
    layers: Sequence[str] | None = None,
    *,
    changed: Mapping[str, Collection[Chunk]] | None = None,
) -> tuple[list[str], list[str]]:
    """As `write_overviews`; also the keys of the objects below `overviews/` that were written.

    Raises
    ------
    As `write_overviews`.
    """
    where = os.fspath(store)
    info, _ = open_group(where)
    complete = list(complete_layers(where))
    require_named(info.where, layers or (), complete, "complete layer", MissingInputError)
    declared = {name: paths for name, paths in overview_paths(info.attrs).items() if name in complete}
    factors = overview_factors(info.shape)
    new = [name for name in (layers or complete) if factors and name not in declared]
    if not new and set(declared) == set(overview_paths(info.attrs)):
        return [], []
    deconsolidate(where)
    if new:
        with writing(where):
            zarr.open_group(open_store(where), path=OVERVIEWS, mode="a", zarr_format=3)
    chunks = dict(changed or {})
    keys = [f"{OVERVIEWS}/{DESCRIPTION}"]
    for factor in factors if new else ():
        source = where if factor == 2 else _place(where, factor // 2)
        grid, own = coarser_grid(info.grid, factor), {name: chunks.get(name) for name in new}
        keys += [f"{OVERVIEWS}/{factor}/{key}" for key in _write_level(source, _place(where, factor), grid, own)]
        chunks = {name: {(i // 2, j // 2) for i, j in these} for name, these in chunks.items()}
    declare_overviews(where, sorted({*declared, *new}))
    consolidate(where)
    return [f"{OVERVIEWS}/{factor}/{name}" for name in new for factor in factors], keys


def _place(where: str, factor: int) -> str:
    return f"{where.rstrip('/')}/{OVERVIEWS}/{factor}"


def _write_level(source: str, target: str, grid: GeoBox, names: Mapping[str, Collection[Chunk] | None]) -> list[str]:
    """Write layers of one level, or what covers some chunks of the next finer one; keys of the objects written."""
    info, group = open_group(source)
    fine, coarse, keys = group.store, open_store(target), [DESCRIPTION]
    if not _is_level(target, grid, info.chunks):
        with writing(target):
            clear_target(target, coarse, target, overwrite=True)
            lay_out_cube(coarse, grid, info.chunks)
        keys = list(layout_objects(grid, info.chunks))
    level = CubeInfo(target, grid, info.chunks, {})
    texts = read_objects(fine, [f"{name}/{DESCRIPTION}" for name in names])
    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="tpsoil-overviews")
    try:
        # One thread a layer: numpy and the codecs release the GIL.
        work = partial(_write_layer, info, fine, level, coarse)
        for written in pool.map(work, names, map(_parsed, texts), names.values()):
            keys += written
    finally:
        pool.shutdown(cancel_futures=True)
    consolidate(target)
    return keys


def _parsed(text: bytes | None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text or b"{}")
    return document


def _write_layer(
    info: CubeInfo,
    fine: Store,
    level: CubeInfo,
    coarse: Store,
    name: str,
    document: dict[str, Any],
    chunks: Collection[Chunk] | None,
) -> list[str]:
    """Write one layer of a level, or what covers some chunks of the finer one: "writing" until the last is there."""
    kind, source = layer_kind(document), array_of(fine, name, document)
    attrs = {key: value for key, value in document["attributes"].items() if key not in UNSHARED}
    attrs["resampling"] = METHODS[kind]
    codecs = [document["codecs"][0], *layer_codec_documents(np.dtype(document["data_type"]).itemsize)]
    document = {**document, "shape": list(level.shape), "codecs": codecs}
    keys = [f"{name}/{DESCRIPTION}"]
    with writing(level.where):
        (stored,) = read_objects(coarse, [f"{name}/{DESCRIPTION}"])
        before = _parsed(stored)
        if {**before, "attributes": None} != {**document, "attributes": None}:
            chunks = None
        complete = {**attrs, "state": "complete"}
        if chunks is not None and not chunks and before["attributes"] == complete:
            return []
        if chunks is None and stored is not None:
            sync(coarse.delete_dir(name))
        _describe(coarse, name, document, {**attrs, "state": "writing"})
        target = array_of(coarse, name, {**document, "attributes": attrs})
        even, read, write = level.chunks % 2 == 0, LayerReader(info, name, source), block_writer(target)
        for (i, j), changed in _blocks(level, chunks).items():
            rows, cols = level.chunk_slices(i, j)
            block = None
            if changed and even:
                with contextlib.suppress(CorruptStoreError):  # all of it is written again
                    block = LayerReader(level, name, target)(rows, cols)
            if block is None:
                block = np.empty((rows.stop - rows.start, cols.stop - cols.start), source.dtype)
                changed = _finer_chunks(i, j, info)
            finer = [info.chunk_slices(*chunk) for chunk in changed]
            if not even:
                finer = [(slice(2 * rows.start, finer[-1][0].stop), slice(2 * cols.start, finer[-1][1].stop))]
            for down, across in finer:
                half = halved(read(down, across), kind, source.fill_value)
                block[_half(down, rows.start), _half(across, cols.start)] = half
            write(rows, cols, block)
            keys.append(f"{name}/c/{i}/{j}")
        _describe(coarse, name, document, complete)
    return keys


def _blocks(level: CubeInfo, chunks: Collection[Chunk] | None) -> dict[Chunk, list[Chunk]]:
    """Chunks of a level to write, each with the chunks of the next finer one that changed; none: all of it."""
    if chunks is None:
        return {chunk: [] for chunk in level.every_chunk()}
    blocks: dict[Chunk, list[Chunk]] = {}
    for i, j in sorted(chunks):
        blocks.setdefault((i // 2, j // 2), []).append((i, j))
    return blocks


def _finer_chunks(i: int, j: int, finer: CubeInfo) -> list[Chunk]:
    """Chunks of the next finer level that a chunk covers."""
    high, wide = finer.chunk_grid
    return [(k, m) for k in (2 * i, 2 * i + 1) for m in (2 * j, 2 * j + 1) if k < high and m < wide]


def _half(part: slice, start: int) -> slice:
    """Rows or columns of a block at half the resolution, whose first one is `start`, that cover those of `part`."""
    return slice(part.start // 2 - start, -(-part.stop // 2) - start)


def _describe(store: Store, name: str, document: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    write_object(store, f"{name}/{DESCRIPTION}", json.dumps({**document, "attributes": attributes}).encode())


def _is_level(place: str, grid: GeoBox, chunks: int) -> bool:
    try:
        info = open_group(place)[0]
    except TpsoilError:
        return False
    return info.chunks == chunks and same_grid(info.grid, grid)


def halved(block: Array, kind: str, fill: Any) -> Array:
    """A block at half the resolution; an odd last row or column counts alone.

    Parameters
    ----------
    block : ndarray (ny, nx)
        Floating; of classes an integer type.
    kind : {"continuous", "circular", "categorical"}
    fill : number
        Of cells without a value; NaN for floating blocks.

    Returns
    -------
    ndarray (ceil(ny / 2), ceil(nx / 2))
    """
    from tpsoil.kernels.halves import majority_of_four, mean_of_four  # with numba, which opening a cube does not need

    if block.shape[0] % 2 or block.shape[1] % 2:
        block = np.pad(block, [(0, size % 2) for size in block.shape], constant_values=fill)
    if kind == "circular":
        return _mean_direction(block)
    half = np.empty([size // 2 for size in block.shape], block.dtype)
    if kind == "categorical":
        majority_of_four(block, block.dtype.type(fill), half)
    else:
        mean_of_four(block, half)
    return half


def _mean_direction(block: Array) -> Array:
    """Direction of the mean vector of those of four cells that have one, degrees."""
    four = [np.ascontiguousarray(block[i::2, j::2]) for i in (0, 1) for j in (0, 1)]
    valid = [~np.isnan(one) for one in four]
    angles = [np.deg2rad(np.where(ok, one, block.dtype.type(0))) for one, ok in zip(four, valid)]
    north = np.sum([np.cos(angle) * ok for angle, ok in zip(angles, valid)], axis=0)
    east = np.sum([np.sin(angle) * ok for angle, ok in zip(angles, valid)], axis=0)
    mean = np.rad2deg(np.arctan2(east, north))
    mean = np.where(mean < 0, mean + 360, mean + 0.0)  # no -0.0; a remainder takes five times as long
    return np.where(np.any(valid, axis=0), mean, np.nan).astype(block.dtype, copy=False)
