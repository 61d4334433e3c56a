"""Kernels over chunks: `map_pixels` and `map_windows`. With `tiles.py` and `engine/execute.py` the only users of dask.

Rules common to all stages: lazy input gives lazy output, numpy input numpy output; several outputs in one pass; the
halo is NaN beyond the grid; ragged chunks and axes shorter than the halo are allowed; a model is in the graph once.
"""

from __future__ import annotations

import operator
import pickle
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import Delayed

from .errors import GridError, InputError
from .labels import label, share_indexes
from .variables import Variable

Array = npt.NDArray[Any]
BlockKernel = Callable[..., Sequence[Array] | Array]
WHOLE = -1


def is_lazy(*layers: Any) -> bool:
    """Whether any of the layers is backed by dask.

    Examples
    --------
    >>> is_lazy(np.zeros(3)), is_lazy(np.zeros(3), da.zeros(3))
    (False, True)
    """
    return any(isinstance(getattr(layer, "data", layer), da.Array) for layer in layers)


def map_pixels(
    kernel: BlockKernel,
    *layers: xr.DataArray | Array | float,
    outputs: Sequence[Variable],
    shared: Any = None,
    attrs: Mapping[str, Any] | None = None,
) -> tuple[xr.DataArray | Array, ...]:
    """Apply a pixelwise kernel to layers, chunk by chunk.

    Parameters
    ----------
    kernel : callable
        `kernel(*blocks)`, or `kernel(*blocks, shared)` with `shared`. It receives numpy blocks of one shape and
        returns one array, or a sequence of arrays, of that shape: one for each of `outputs`.
    *layers : DataArray, ndarray or float
        Broadcast against each other by dimension name (DataArray) or shape (ndarray). Not changed.
    outputs : sequence of Variable
        Names, dtypes and attributes of the kernel's results.
    shared : object, optional
        A model. It is in the graph once, so a worker receives it once, not once per chunk.
    attrs : mapping, optional
        Added to every output's attributes.

    Returns
    -------
    tuple of DataArray or ndarray
        DataArrays where any input is one, lazy where any input is lazy; else ndarrays. One for each of `outputs`.

    Raises
    ------
    GridError
        Where DataArrays do not share their coordinates exactly.
    InputError
        Where the kernel returns another number of arrays, or arrays of another shape.

    Examples
    --------
    >>> from tpsoil.variables import variable
    >>> (kelvin,) = map_pixels(lambda t: t + 1, np.zeros(3), outputs=[variable("elevation")])
    >>> kelvin.dtype
    dtype('float32')
    """
    if aligned := _aligned(layers):
        same_dims = all(layer.dims == aligned[0].dims for layer in aligned)
        broadcast = iter(aligned if same_dims else xr.broadcast(*aligned))
        arguments = [next(broadcast) if isinstance(layer, xr.DataArray) else layer for layer in layers]
        template = next(layer for layer in reversed(arguments) if isinstance(layer, xr.DataArray))
        arrays = [layer.data if isinstance(layer, xr.DataArray) else layer for layer in arguments]
        results = _pixels(kernel, arrays, outputs, shared)
        return tuple(label(result, template, spec, attrs) for result, spec in zip(results, outputs))
    return tuple(_pixels(kernel, list(layers), outputs, shared))


def map_windows(
    kernel: BlockKernel,
    *layers: xr.DataArray | Array,
    halo: int,
    outputs: Sequence[Variable],
    rows: Sequence[Array] = (),
    shared: Any = None,
    attrs: Mapping[str, Any] | None = None,
) -> tuple[xr.DataArray | Array, ...]:
    """Apply a moving-window kernel to 2-D layers, chunk by chunk with a halo.

    Parameters
    ----------
    kernel : callable
        `kernel(*blocks, *row_vectors)`, then `shared` where it is given. It receives blocks of shape
        (ny + 2 halo, nx + 2 halo) whose border is the neighbour's cells, or NaN beyond the grid, and row vectors of
        shape (ny,); returns arrays of shape (ny, nx), one for each of `outputs`.
    *layers : DataArray or ndarray (y, x)
        Floating; integer layers are rejected, because cells outside are NaN.
    halo : int
        Cells around a window's centre; >= 0.
    outputs : sequence of Variable
    rows : sequence of ndarray (y,)
        One value a row of the grid, such as the metric cell size of a geographic grid.
    shared, attrs
        As in `map_pixels`.

    Returns
    -------
    tuple of DataArray or ndarray (y, x)

    Raises
    ------
    InputError
        For integer layers, layers that are not 2-D, row vectors of another length.
    GridError
        Where the layers do not share one grid.

    Notes
    -----
    Equal bit for bit for every chunking. A chunk narrower than the halo is joined with its neighbours first.

    Examples
    --------
    >>> from tpsoil.variables import variable
    >>> west = lambda block: block[1:-1, :-2]
    >>> (shifted,) = map_windows(west, np.arange(6.0).reshape(2, 3), halo=1, outputs=[variable("elevation")])
    >>> shifted.tolist()
    [[nan, 0.0, 1.0], [nan, 3.0, 4.0]]
    """
    if not layers or any(np.ndim(layer) != 2 for layer in layers):
        raise InputError(f"map_windows: layers have {[np.ndim(layer) for layer in layers]} dimensions, expected 2 each")
    for layer in layers:
        if layer.dtype.kind != "f":
            raise InputError(f"map_windows: a layer is {layer.dtype}, expected float32 or float64 with NaN for nodata")
    labelled = _aligned(layers)
    shape = np.shape(layers[0])
    if any(np.shape(layer) != shape for layer in layers):
        raise GridError(f"map_windows: layers have shapes {[np.shape(layer) for layer in layers]}, expected one shape")
    for row in rows:
        if np.shape(row) != shape[:1]:
            raise InputError(f"map_windows: a row vector has shape {np.shape(row)}, expected {shape[:1]}")
    arrays = [layer.data if isinstance(layer, xr.DataArray) else layer for layer in layers]
    if not any(isinstance(array, da.Array) for array in arrays):
        blocks = [np.pad(array, max(halo, 0), constant_values=np.nan) for array in arrays]
        results = _run(kernel, outputs, (*blocks, *(np.asarray(row) for row in rows)), shared, shape)
    else:
        results = _windows(kernel, arrays, halo, outputs, rows, shared)
    if labelled:
        return tuple(label(result, labelled[0], spec, attrs) for result, spec in zip(results, outputs))
    return tuple(results)


def map_whole(kernel: BlockKernel, *layers: xr.DataArray | Array, **options: Any) -> tuple[xr.DataArray | Array, ...]:
    """Apply a kernel to complete grids, for non-local processes such as flow: lazy input becomes one task.

    Everything but the halo is as in `map_windows`; the results have the first lazy layer's chunks.

    Examples
    --------
    >>> from tpsoil.variables import variable
    >>> (total,) = map_whole(lambda block: np.cumsum(block, axis=1), np.ones((1, 3)), outputs=[variable("elevation")])
    >>> total.tolist()
    [[1.0, 2.0, 3.0]]
    """
    return map_windows(kernel, *layers, halo=WHOLE, **options)


def constant_like(layer: xr.DataArray, value: float, spec: Variable) -> xr.DataArray:
    """A constant layer on the grid and chunks of another, lazy if that is lazy.

    Examples
    --------
    >>> from tpsoil.variables import variable
    >>> layer = xr.DataArray(np.zeros((1, 2)), dims=("y", "x"))
    >>> constant_like(layer, 2.5, variable("slope")).values.tolist()
    [[2.5, 2.5]]
    """
    return label(xr.full_like(layer, value, dtype=spec.dtype).data, layer, spec, None)


def _aligned(layers: Sequence[Any]) -> tuple[xr.DataArray, ...]:
    """The labelled ones of layers, which share their coordinates exactly."""
    labelled = [layer for layer in layers if isinstance(layer, xr.DataArray)]
    if share_indexes(labelled):
        return tuple(labelled)
    try:
        return xr.align(*labelled, join="exact", copy=False)
    except ValueError as error:
        names = ", ".join(str(layer.name) for layer in labelled)
        raise GridError(f"layers {names} do not share one grid; bring them onto it with tpsoil.add_layer") from error


def _pixels(kernel: BlockKernel, arrays: list[Any], outputs: Sequence[Variable], shared: Any) -> list[Any]:
    if not any(isinstance(array, da.Array) for array in arrays):
        blocks = np.broadcast_arrays(*[np.asarray(array) for array in arrays])
        return _run(kernel, outputs, tuple(np.asarray(b, order="C") for b in blocks), shared, blocks[0].shape)
    shape = np.broadcast_shapes(*(np.shape(array) for array in arrays))
    chunked = next(array for array in arrays if isinstance(array, da.Array) and array.shape == shape)
    lazy = [_as_chunks(array, shape, chunked.chunks) for array in arrays]
    ndim = len(shape)
    index = tuple(range(ndim))
    arguments: list[Any] = []
    for array in lazy:
        arguments += [array, index]
    return _blockwise(_Block(kernel, tuple(outputs), len(lazy), 0, ndim, (False,) * ndim), arguments, shared)


def _windows(
    kernel: BlockKernel,
    arrays: list[Any],
    halo: int,
    outputs: Sequence[Variable],
    rows: Sequence[Array],
    shared: Any,
) -> list[Any]:
    first = next(array for array in arrays if isinstance(array, da.Array))
    complete, halo = halo == WHOLE, max(halo, 0)
    chunks = tuple((sum(axis),) if complete else _at_least(axis, halo) for axis in first.chunks)
    single = tuple(len(axis) == 1 for axis in chunks)
    depth = {axis: (0 if single[axis] else halo) for axis in (0, 1)}
    arguments: list[Any] = []
    for array in arrays:
        lazy = _as_chunks(array, first.shape, chunks)
        if any(depth.values()):
            lazy = da.overlap.overlap(lazy, depth=depth, boundary=np.nan, allow_rechunk=False)
        arguments += [lazy, (0, 1)]
    for row in rows:
        arguments += [da.from_array(np.asarray(row), chunks=(chunks[0],)), (0,)]
    block = _Block(kernel, tuple(outputs), len(arrays), halo, 2, single)
    adjusted = {0: chunks[0], 1: chunks[1]}
    results = _blockwise(block, arguments, shared, align_arrays=False, adjust_chunks=adjusted)
    return [result.rechunk(first.chunks) for result in results] if complete else results


@dataclass(frozen=True)
class _Block:
    """Runs a kernel on one chunk and bundles its outputs; small enough to be part of every task."""

    kernel: BlockKernel
    outputs: tuple[Variable, ...]
    layers: int
    halo: int
    ndim: int
    pad: tuple[bool, ...]

    def __call__(self, *arguments: Any) -> tuple[Array, ...]:
        blocks = list(arguments[: self.layers])
        extra = arguments[self.layers :]
        shared = None
        if extra and isinstance(extra[-1], _Shared):
            shared, extra = extra[-1].value, extra[:-1]
        if self.halo and any(self.pad):
            width = [(self.halo, self.halo) if pad else (0, 0) for pad in self.pad]
            blocks = [np.pad(block, width, constant_values=np.nan) for block in blocks]
        shape = tuple(size - 2 * self.halo for size in blocks[0].shape)
        blocks = [np.asarray(block, order="C") for block in blocks]
        return tuple(_run(self.kernel, self.outputs, (*blocks, *extra), shared, shape))


class _Shared:
    """A model among a task's arguments: pickled once, loaded once per process.

    dask may pickle a graph twice, and a worker that sends the model to another would pickle it again.
    """

    def __init__(self, value: Any = None, stored: bytes | None = None) -> None:
        self._value, self._stored, self._lock = value, stored, threading.Lock()

    @property
    def value(self) -> Any:
        with self._lock:
            if self._value is None and self._stored is not None:
                self._value = pickle.loads(self._stored)
            return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            if self._stored is None:
                self._stored = cloudpickle.dumps(self._value)
        return _Shared, (None, self._stored)

    def __sizeof__(self) -> int:
        return len(self._stored) if self._stored is not None else sys.getsizeof(self._value)


def _shared_argument(shared: Any) -> tuple[Any, ...]:
    if shared is None:
        return ()
    key = f"shared-{dask.base.tokenize(shared)}"
    if isinstance(shared, Delayed):
        return (dask.delayed(_Shared, name="shared", pure=True)(shared, dask_key_name=key), None)
    return (dask.delayed(_Shared(shared), name=key), None)


def _run(
    kernel: BlockKernel, outputs: Sequence[Variable], arguments: tuple[Any, ...], shared: Any, shape: tuple[int, ...]
) -> list[Array]:
    raw = kernel(*arguments) if shared is None else kernel(*arguments, shared)
    results = [raw] if isinstance(raw, np.ndarray) or np.isscalar(raw) else list(raw)
    if len(results) != len(outputs):
        raise InputError(f"{_name(kernel)} returned {len(results)} arrays, expected {len(outputs)}")
    cast = [np.asarray(result).astype(spec.dtype, copy=False) for result, spec in zip(results, outputs)]
    for result in cast:
        if result.shape != shape:
            raise InputError(f"{_name(kernel)} returned shape {result.shape}, expected {shape}")
    return cast


def _blockwise(block: _Block, arguments: list[Any], shared: Any, **options: Any) -> list[Any]:
    """Lazy outputs of a kernel on chunks; each array of the arguments is followed by its dimensions."""
    index = tuple(range(block.ndim))
    bundle = da.blockwise(
        block,
        index,
        *arguments,
        *_shared_argument(shared),
        dtype=object,
        meta=np.empty((0,) * block.ndim, dtype=object),
        name=f"{_name(block.kernel)}-{dask.base.tokenize(block, shared, *arguments)}",
        **options,
    )
    return [
        da.blockwise(
            operator.itemgetter(k),
            index,
            bundle,
            index,
            dtype=np.dtype(spec.dtype),
            meta=np.empty((0,) * block.ndim, dtype=spec.dtype),
            name=f"{spec.name}-{dask.base.tokenize(bundle.name, k)}",
        )
        for k, spec in enumerate(block.outputs)
    ]


def _as_chunks(array: Any, shape: tuple[int, ...], chunks: tuple[tuple[int, ...], ...]) -> Any:
    if isinstance(array, da.Array):
        return da.broadcast_to(array, shape).rechunk(chunks) if array.shape != shape else array.rechunk(chunks)
    return da.from_array(np.broadcast_to(np.asarray(array), shape), chunks=chunks)


def _at_least(axis: tuple[int, ...], halo: int) -> tuple[int, ...]:
    """Chunk sizes along an axis with every chunk at least as wide as the halo, or a single chunk."""
    joined: list[int] = []
    for size in axis:
        if joined and (joined[-1] < halo or joined[-1] == 0):
            joined[-1] += size
        else:
            joined.append(size)
    if len(joined) > 1 and joined[-1] < halo:
        last = joined.pop()
        joined[-1] += last
    return tuple(joined)


def _name(kernel: BlockKernel) -> str:
    return str(getattr(getattr(kernel, "func", kernel), "__name__", type(kernel).__name__))
