"""Terrain and flow at a DEM's own resolution, then on another grid."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.covariates.by_window import WindowKernel
from tpsoil.covariates.flow_tiles import RETAINED_BYTES, TILE_CELLS, TILES_IN_MEMORY, DemGrid, needed_bytes
from tpsoil.covariates.hydrology import COMPLETE_BYTES
from tpsoil.grid import cell_sizes_m, coordinates, describe
from tpsoil.ingest import Raster, read_raster
from tpsoil.stage import SourceBytes
from tpsoil.variables import Variable, variable

from .layer_stage import DerivedRaster

Array = npt.NDArray[Any]

RETAINED_WINDOWS: Final = 4
"""Of a source, in each process: tiles of several threads, and the layers that one pass gives."""
KERNEL_BYTES: Final = 96
"""For each pixel of a window: the heights with their halo, ways and areas, and the results in float64."""


def open_dem(source: Any, **how: Any) -> Raster:
    """A DEM's files as a raster in metres on their own grid.

    Parameters
    ----------
    source : path, glob, URL, DataArray, or a list of them
    **how
        `units`, `nodata`, `crs` as in `tpsoil.add_layer`; several files are a mosaic.

    Returns
    -------
    Raster
    """
    several = isinstance(source, list | tuple) or (isinstance(source, str) and any(mark in source for mark in "*?["))
    return read_raster(source, variable("elevation"), combine="mosaic" if several else None, **how)


class WindowCompute(Protocol):
    """Layers of a window of a DEM."""

    def __call__(self, rows: slice, columns: slice, /) -> tuple[Array, ...]:
        """The layers."""
        ...

    def read_bytes(self, rows: int, columns: int, /) -> SourceBytes:
        """Peak of memory for a window of this size."""
        ...


class WindowsOfDem:
    """Layers of a DEM by windows of its own grid; one pass gives all of them.

    Parameters
    ----------
    dem : Raster
    layers : tuple of Variable
    compute : WindowCompute
        Gives all `layers`.
    """

    def __init__(self, dem: Raster, layers: tuple[Variable, ...], compute: WindowCompute) -> None:
        self.dem, self.layers, self.compute = dem, layers, compute
        self.window = lru_cache(maxsize=RETAINED_WINDOWS)(self._window)

    def __reduce__(self) -> Any:
        return WindowsOfDem, (self.dem, self.layers, self.compute)

    def raster(self, spec: Variable) -> DerivedRaster:
        """One layer as a raster."""
        place = [layer.name for layer in self.layers].index(spec.name)

        def read(rows: slice, columns: slice) -> Array:
            return self.window(rows.start, rows.stop, columns.start, columns.stop)[place]

        return DerivedRaster(read, self.layers[place], self.dem.box, self.dem.origin, self.read_bytes)

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while a window of this size is derived."""
        derived = self.compute.read_bytes(rows, columns)
        retained = RETAINED_WINDOWS * rows * columns * sum(np.dtype(layer.dtype).itemsize for layer in self.layers)
        return SourceBytes(derived.tile, derived.process + retained)

    def _window(self, top: int, bottom: int, left: int, right: int) -> tuple[Array, ...]:
        return self.compute(slice(top, bottom), slice(left, right))


@dataclass(frozen=True, eq=False)
class LocalWindows:
    """Local layers of a DEM by windows.

    A cell's value depends on the cells within the kernel's halo and their rows alone, so it does not depend on the
    window.

    Parameters
    ----------
    dem : Raster
    kernel : WindowKernel
    """

    dem: Raster
    kernel: WindowKernel

    def __call__(self, rows: slice, columns: slice) -> tuple[Array, ...]:
        """The layers of a window."""
        height, width = (int(size) for size in self.dem.box.shape)
        halo = self.kernel.halo
        top, bottom, left, right = rows.start - halo, rows.stop + halo, columns.start - halo, columns.stop + halo
        inner = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
        beyond = (
            (inner[0].start - top, bottom - inner[0].stop),
            (inner[1].start - left, right - inner[1].stop),
        )
        z = np.pad(self.dem.read(*inner), beyond, constant_values=np.nan)
        return self.kernel(np.ascontiguousarray(z), np.arange(rows.start, rows.stop))

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory for a window of this size."""
        rows, columns = rows + 2 * self.kernel.halo, columns + 2 * self.kernel.halo
        read = self.dem.read_bytes(rows, columns)
        return SourceBytes(read.tile + rows * columns * KERNEL_BYTES, read.process)


@dataclass(frozen=True, eq=False)
class FlowWindows:
    """Layers of the flow over a complete DEM, by windows.

    Parameters
    ----------
    dem : Raster
    flow : callable
        `flow(dem)` gives a function of rows and columns.
    """

    dem: Raster
    flow: Callable[[DemGrid], Callable[[slice, slice], tuple[Array, ...]]]

    @cached_property
    def _compute(self) -> Callable[[slice, slice], tuple[Array, ...]]:
        height, width = (int(size) for size in self.dem.box.shape)
        return self.flow(DemGrid(self.dem.read, (height, width), *sizes_of(self.dem)))

    def __reduce__(self) -> Any:
        return FlowWindows, (self.dem, self.flow)

    def __call__(self, rows: slice, columns: slice) -> tuple[Array, ...]:
        """The layers of a window."""
        return self._compute(rows, columns)

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory for a window of this size; what is solved for the DEM is one for a process."""
        height, width = (int(size) for size in self.dem.box.shape)
        read = self.dem.read_bytes(TILE_CELLS, TILE_CELLS)
        retained = TILES_IN_MEMORY * min(height, TILE_CELLS) * min(width, TILE_CELLS) * RETAINED_BYTES
        tile = read.tile + rows * columns * KERNEL_BYTES
        return SourceBytes(tile, read.process + retained + needed_bytes((height, width)))


class CompleteDem:
    """Layers derived from a complete DEM, computed when the first is read."""

    def __init__(self, dem: Raster, derive: Callable[[xr.DataArray], xr.Dataset]) -> None:
        self.dem, self.derive = dem, derive
        self.lock = threading.Lock()
        self.layers: dict[str, Array] | None = None

    def __reduce__(self) -> Any:
        return CompleteDem, (self.dem, self.derive)

    def raster(self, spec: Variable) -> DerivedRaster:
        """One of the layers."""
        return DerivedRaster(_DerivedLayer(self, spec.name), spec, self.dem.box, self.dem.origin, self.read_bytes)

    def read_bytes(self, _rows: int, _columns: int) -> SourceBytes:
        """Peak of memory while the DEM is read and routed, whatever window is needed."""
        height, width = (int(size) for size in self.dem.box.shape)
        read = self.dem.read_bytes(height, width)
        return SourceBytes(max(read.tile, (4 + COMPLETE_BYTES) * height * width), read.process)

    def values(self, name: str) -> Array:
        """All cells of one layer."""
        with self.lock:
            if self.layers is None:
                height, width = (int(size) for size in self.dem.box.shape)
                z = self.dem.read(slice(0, height), slice(0, width))
                layer = xr.DataArray(z, dims=("y", "x"), coords=coordinates(self.dem.box), attrs={"units": "m"})
                derived = self.derive(layer)
                self.layers = {str(key): np.asarray(array.values) for key, array in derived.data_vars.items()}
            return self.layers[name]


@dataclass(frozen=True, eq=False)
class _DerivedLayer:
    dem: CompleteDem
    name: str

    def __call__(self, rows: slice, columns: slice) -> Array:
        return self.dem.values(self.name)[rows, columns]


def sizes_of(dem: Raster) -> tuple[Array, Array]:
    """Signed cell size of each row of a DEM, m."""
    transform = dem.box.transform
    dx, dy = cell_sizes_m(dem.box)
    return np.copysign(dx, transform.a), np.copysign(dy, -transform.e)


def resolution_of(dem: Raster) -> str:
    """The grid of a DEM in one line."""
    return describe(dem.box)
