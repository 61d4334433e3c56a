"""Layers that a function computes window by window: at once, or lazily by the chunks of their input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import is_lazy
from tpsoil.tiles import from_tiles
from tpsoil.variables import Variable

from .flow_tiles import TILE_CELLS

Array = npt.NDArray[Any]


class WindowKernel(Protocol):
    """Local layers of a window of a DEM."""

    @property
    def halo(self) -> int:
        """Cells around the window that it reads."""
        ...

    def __call__(self, z: Array, rows: Array, /) -> tuple[Array, ...]:
        """The layers, of z with the halo, at these rows of the DEM."""
        ...


@dataclass(frozen=True, eq=False)
class ReadArray:
    """Windows of a DataArray; a lazy one is computed in the calling thread."""

    elevation: xr.DataArray

    def __call__(self, rows: slice, columns: slice) -> Array:
        part = self.elevation[rows, columns]
        return np.asarray(part.compute(scheduler="synchronous").values if is_lazy(part) else part.values)


def layers_by_window(
    compute: Callable[[slice, slice], tuple[Array, ...]], outputs: list[Variable], like: xr.DataArray
) -> list[xr.DataArray]:
    """Layers of a function of windows: lazy where the DEM is, else computed tile by tile."""
    shape = (like.shape[0], like.shape[1])
    layers = []
    if is_lazy(like):
        shared = _Kept(compute)
        for place, spec in enumerate(outputs):
            data = from_tiles(_Layer(shared, place), shape, like.chunks, spec.dtype, name=f"{spec.name}-{uuid4().hex}")
            layers.append(_layer(data, spec, like))
        return layers
    arrays = [np.full(shape, np.nan, spec.dtype) for spec in outputs]
    for top in range(0, shape[0], TILE_CELLS):
        for left in range(0, shape[1], TILE_CELLS):
            rows = slice(top, min(top + TILE_CELLS, shape[0]))
            columns = slice(left, min(left + TILE_CELLS, shape[1]))
            for array, values in zip(arrays, compute(rows, columns)):
                array[rows, columns] = values
    return [_layer(array, spec, like) for array, spec in zip(arrays, outputs)]


def _layer(data: Any, spec: Variable, like: xr.DataArray) -> xr.DataArray:
    layer = like.copy(deep=False, data=data)
    layer.name, layer.encoding, layer.attrs = spec.name, {}, spec.attributes()
    return layer


class _Kept:
    """A function of windows that keeps the last results, since each of its layers asks for the same window."""

    def __init__(self, compute: Callable[[slice, slice], tuple[Array, ...]]) -> None:
        self.compute = compute
        self.window = lru_cache(maxsize=4)(self._window)

    def __reduce__(self) -> Any:
        return _Kept, (self.compute,)

    def _window(self, top: int, bottom: int, left: int, right: int) -> tuple[Array, ...]:
        return self.compute(slice(top, bottom), slice(left, right))


@dataclass(frozen=True, eq=False)
class _Layer:
    kept: _Kept
    place: int

    def __call__(self, rows: slice, columns: slice) -> Array:
        return self.kept.window(rows.start, rows.stop, columns.start, columns.stop)[self.place]
