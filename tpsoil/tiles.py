"""Lazy arrays from and to stores: reading by chunk, windows of another grid, points, writing by chunk.

`blocks` maps kernels over chunks; only this module, `blocks` and `engine/execute.py` use dask.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import pairwise
from multiprocessing.pool import Pool
from typing import Any, Final

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.blockwise import Blockwise
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.layers import ArraySliceDep
from dask.local import MultiprocessingPoolExecutor
from dask.system import CPU_COUNT

from tpsoil.errors import InputError
from tpsoil.option_names import named_as_here

Array = npt.NDArray[Any]
Window = tuple[slice, slice]

BLOCKS_AT_ONCE: Final = 16
"""Blocks of each array that points are taken from in one pass."""


def objects_read(data: Any) -> list[Any]:
    """What the graph of a lazy array reads from, among it arrays in stores and their adapters. Empty for other arrays.

    Examples
    --------
    >>> objects_read(np.zeros(3))
    []
    """
    objects: list[Any] = []
    for part in data.dask.layers.values() if isinstance(data, da.Array) else ():
        if isinstance(part, Blockwise):
            objects += [value for value, index in part.indices if index is None]
        elif len(part) == 1:
            objects += part.values()
    return objects


class _Tiles:
    """Array interface for dask: shape, type, and windows on demand."""

    ndim = 2

    def __init__(self, read: Callable[[slice, slice], Array], shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.read, self.shape, self.dtype = read, shape, dtype

    def __getitem__(self, key: Any) -> Array:
        keys = key if isinstance(key, tuple) else (key, slice(None))
        windows: list[slice] = []
        within: list[slice | int] = []
        for one, size in zip(keys, self.shape):
            if isinstance(one, slice):
                start, stop, step = one.indices(size)
                count = len(range(start, stop, step))
                first, last = (start, start + (count - 1) * step) if step > 0 else (start + (count - 1) * step, start)
                windows.append(slice(first, last + 1) if count else slice(0, 0))
                within.append(slice(None, None, step))
            else:
                windows.append(slice(int(one), int(one) + 1))
                within.append(0)
        if any(window.start == window.stop for window in windows):
            return np.empty([window.stop - window.start for window in windows], dtype=self.dtype)[tuple(within)]
        block = np.asarray(self.read(windows[0], windows[1])).astype(self.dtype, copy=False)
        return np.asarray(block[tuple(within)])


def from_tiles(
    read: Callable[[slice, slice], Array],
    shape: tuple[int, int],
    chunks: Any,
    dtype: str,
    *,
    name: str | None = None,
) -> Any:
    """A lazy 2-D array whose chunks are read by a function of their row and column slices.

    Parameters
    ----------
    read : callable
        `read(rows, columns)` gives the block; picklable, called on a worker.
    shape, chunks : (ny, nx), and the chunk size or sizes
    dtype : str
    name : str, optional
        Key of the graph; equal names must mean equal values. Default: derived from `read`.

    Returns
    -------
    dask array (ny, nx)

    Examples
    --------
    >>> lazy = from_tiles(lambda r, c: np.full((r.stop - r.start, c.stop - c.start), r.start), (4, 3), 2, "int16")
    >>> lazy.compute()[:, 0].tolist()
    [0, 0, 2, 2]
    """
    tiles = _Tiles(read, shape, np.dtype(dtype))
    token = name or f"tiles-{dask.base.tokenize(read, shape, dtype)}"
    # No fancy indices: `read` supports slices only.
    return da.from_array(
        tiles,
        chunks=chunks,
        name=token,
        asarray=False,
        fancy=False,
        inline_array=True,
        meta=np.empty((0, 0), dtype=dtype),
    )


def from_windows(
    function: Callable[[Array, Window, slice, slice], Array],
    source: Any,
    window_of: Callable[[slice, slice], Window | None],
    *,
    shape: tuple[int, int],
    chunks: Any,
    dtype: str,
    fill: float,
    name: str,
) -> Any:
    """A lazy array whose every chunk needs one window of another lazy array.

    Parameters
    ----------
    function : callable
        `function(values, window, rows, columns)` gives the block at `rows`, `columns` from the source's values in
        `window`.
    source : dask array (h, w)
    window_of : callable
        `window_of(rows, columns)` gives the window of the source, or None for a block without source cells.
    shape, chunks, dtype
        Of the result.
    fill : float
        Value of blocks without source cells.
    name : str
        First part of the graph's key.

    Returns
    -------
    dask array (ny, nx)
        One task a chunk, which depends on the source chunks in its window.

    Examples
    --------
    >>> source = da.arange(6, chunks=3)[None, :]
    >>> double = lambda values, window, rows, cols: 2 * values
    >>> lazy = from_windows(double, source, lambda rows, cols: (rows, cols), shape=(1, 6), chunks=2, dtype="int64",
    ...                     fill=0, name="double")
    >>> lazy.compute().tolist()
    [[0, 2, 4, 6, 8, 10]]
    """
    sizes = da.core.normalize_chunks(chunks, shape=shape, dtype=np.dtype(dtype))
    edges = [np.cumsum([0, *axis]) for axis in source.chunks]
    rows_of, cols_of = (_slices(axis) for axis in sizes)
    windows = {(i, j): window_of(rows, cols) for i, rows in enumerate(rows_of) for j, cols in enumerate(cols_of)}
    key = f"{name}-{dask.base.tokenize(function, source.name, shape, sizes, dtype, fill)}"
    keys = source.__dask_keys__()
    graph: dict[Any, Any] = {}
    for (i, j), window in windows.items():
        rows, cols = rows_of[i], cols_of[j]
        if window is None:
            graph[(key, i, j)] = (_filled, (rows.stop - rows.start, cols.stop - cols.start), fill, dtype)
            continue
        firsts, needed = [], []
        for axis, part in zip(edges, window):
            first = int(np.searchsorted(axis, part.start, side="right")) - 1
            last = int(np.searchsorted(axis, part.stop, side="left"))
            firsts.append(int(axis[first]))
            needed.append(range(first, last))
        blocks = [[keys[r][c] for c in needed[1]] for r in needed[0]]
        graph[(key, i, j)] = (_from_blocks, function, blocks, tuple(firsts), window, rows, cols, dtype)
    layered = HighLevelGraph.from_collections(key, graph, dependencies=(source,))
    return da.Array(layered, key, chunks=sizes, dtype=np.dtype(dtype), meta=np.empty((0, 0), dtype=dtype))


def write_tiles(arrays: Mapping[str, Any], write: Callable[[str, slice, slice, Array], Any]) -> dict[str, list[Any]]:
    """Pass every chunk of every array to a writer, in one pass.

    Parameters
    ----------
    arrays : mapping of str to array (ny, nx)
        Lazy or not. An array that is not lazy is one chunk.
    write : callable
        `write(name, rows, columns, block)`; picklable. Its results are gathered, so they should be small.

    Returns
    -------
    dict of str to list
        Results of the writer for each chunk, in row-major order.

    Examples
    --------
    >>> write_tiles({"slope": da.ones((4, 3), chunks=2)}, lambda name, rows, cols, block: block.shape)
    {'slope': [(2, 2), (2, 1), (2, 2), (2, 1)]}
    """
    lazy = {name: _writing(name, array, write) for name, array in arrays.items() if isinstance(array, da.Array)}
    with _threads_that_end():
        computed = dict(zip(lazy, dask.compute(*lazy.values())))
    results: dict[str, list[Any]] = {}
    for name, array in arrays.items():
        if name in computed:
            results[name] = list(computed[name].ravel())
        else:
            block = np.asarray(array)
            results[name] = [write(name, slice(0, block.shape[0]), slice(0, block.shape[1]), block)]
    return results


def take_points(arrays: Mapping[str, Any], rows: Array, cols: Array) -> dict[str, Array]:
    """Values of 2-D arrays at cells; of lazy arrays only the chunks with points are computed.

    Parameters
    ----------
    arrays : mapping of str to array (ny, nx)
        Of one shape.
    rows, cols : ndarray (n,), int
        Inside the arrays.

    Returns
    -------
    dict of str to ndarray (n,), of each array's type

    Raises
    ------
    InputError
        For arrays of different shapes.

    Examples
    --------
    >>> values = take_points({"slope": da.arange(12, chunks=5).reshape(3, 4)}, np.array([0, 2]), np.array([1, 3]))
    >>> values["slope"].tolist()
    [1, 11]
    """
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"arrays have the shapes {shapes}, expected one")
    lazy = {name: array for name, array in arrays.items() if isinstance(array, da.Array)}
    values_at = {
        name: np.empty(len(rows), array.dtype) if name in lazy else np.asarray(array)[rows, cols]
        for name, array in arrays.items()
    }
    blocks = {name: _points_by_block(array.chunks, rows, cols) for name, array in lazy.items()}
    # In one graph of all blocks dask reads ahead: with a derived layer hundreds of chunks were in memory.
    for first in range(0, max(map(len, blocks.values()), default=0), BLOCKS_AT_ONCE):
        pending: list[tuple[str, Array, Delayed]] = []
        for name, array in lazy.items():
            for (i, j), members, *local in blocks[name][first : first + BLOCKS_AT_ONCE]:
                key = f"points-{dask.base.tokenize(array.name, i, j, *local)}"
                graph = HighLevelGraph.from_collections(key, {key: (_take, (array.name, i, j), *local)}, (array,))
                pending.append((name, members, Delayed(key, graph)))
        for (name, members, _), values in zip(pending, dask.compute(*(one for *_, one in pending))):
            values_at[name][members] = values
    return values_at


def _points_by_block(
    chunks: tuple[tuple[int, ...], tuple[int, ...]], rows: Array, cols: Array
) -> list[tuple[tuple[int, int], Array, Array, Array]]:
    """Blocks with points: the block, which points, and their rows and columns in it."""
    edges = [np.cumsum([0, *axis]) for axis in chunks]
    i, j = (np.searchsorted(edge, at, side="right") - 1 for edge, at in zip(edges, (rows, cols)))
    flat = i * len(chunks[1]) + j
    order = np.argsort(flat, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(flat[order])) + 1) if order.size else []
    occupied = [(int(i[members[0]]), int(j[members[0]]), members) for members in groups]
    return [((a, b), members, rows[members] - edges[0][a], cols[members] - edges[1][b]) for a, b, members in occupied]


def compute_together(layers: Iterable[Any]) -> tuple[Any, ...]:
    """Compute several lazy objects in one pass, with shared intermediate results.

    Examples
    --------
    >>> lazy = da.arange(3, chunks=1)
    >>> compute_together([lazy.sum(), lazy.max()])
    (np.int64(3), np.int64(2))
    """
    return tuple(dask.compute(*layers))


class _Awaited(Executor):
    """An executor of the caller's: what was submitted here has ended when the context ends."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._running: set[Future[Any]] = set()
        self._max_workers = getattr(executor, "_max_workers", None) or CPU_COUNT  # read by dask

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future = self._executor.submit(function, *arguments, **options)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        futures.wait(tuple(self._running))


@contextlib.contextmanager
def _threads_that_end() -> Iterator[None]:
    """The threads of dask's settings, in which nothing is computed or written any more when the context ends.

    dask raises the first error at once, and a block that another thread writes late would exist again after its layer
    was removed.
    """
    scheduler, pool = (dask.config.get(key, None) for key in ("scheduler", "pool"))
    with contextlib.ExitStack() as stack:
        if isinstance(scheduler, Executor):
            stack.enter_context(dask.config.set(scheduler=stack.enter_context(_Awaited(scheduler))))
        elif scheduler in (None, "threads", "threading"):
            if pool is None:
                threads: Executor = ThreadPoolExecutor(
                    dask.config.get("num_workers", None) or CPU_COUNT, initializer=named_as_here()
                )
            else:
                threads = _Awaited(MultiprocessingPoolExecutor(pool) if isinstance(pool, Pool) else pool)
            stack.enter_context(dask.config.set(pool=stack.enter_context(threads)))
        yield


def _writing(name: str, array: Any, write: Callable[[str, slice, slice, Array], Any]) -> Any:
    return da.blockwise(
        _Write(name, write),
        "ij",
        array,
        "ij",
        ArraySliceDep(array.chunks),
        "ij",
        dtype=object,
        meta=np.empty((0, 0), dtype=object),
        adjust_chunks={"i": (1,) * len(array.chunks[0]), "j": (1,) * len(array.chunks[1])},
        align_arrays=False,
        # Every write has its own key, even of equal values.
        name=f"write-{name}-{dask.base.tokenize(array.name, object())}",
    )


class _Write:
    def __init__(self, name: str, write: Callable[[str, slice, slice, Array], Any]) -> None:
        self.name, self.write = name, write

    def __call__(self, block: Array, where: Window) -> Array:
        result = np.empty((1, 1), dtype=object)
        result[0, 0] = self.write(self.name, where[0], where[1], block)
        return result


def _slices(sizes: tuple[int, ...]) -> list[slice]:
    edges = np.cumsum([0, *sizes]).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]


def _filled(shape: tuple[int, int], fill: float, dtype: str) -> Array:
    return np.full(shape, fill, dtype=dtype)


def _from_blocks(
    function: Callable[[Array, Window, slice, slice], Array],
    blocks: list[list[Array]],
    first: tuple[int, int],
    window: Window,
    rows: slice,
    cols: slice,
    dtype: str,
) -> Array:
    values = np.block(blocks) if len(blocks) > 1 or len(blocks[0]) > 1 else np.asarray(blocks[0][0])
    cut = tuple(slice(part.start - start, part.stop - start) for part, start in zip(window, first))
    return function(values[cut], window, rows, cols).astype(dtype, copy=False)


def _take(block: Array, rows: Array, cols: Array) -> Array:
    return np.asarray(block)[rows, cols]
