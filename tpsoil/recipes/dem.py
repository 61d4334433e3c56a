"""Terrain and flow at a DEM's own resolution, then on another grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from tpsoil.grid import cell_sizes_m, describe
from tpsoil.ingest import Raster, read_raster
from tpsoil.stage import SourceBytes
from tpsoil.variables import Variable, variable

Array = npt.NDArray[Any]

RETAINED_WINDOWS: Final = 4
"""Of a source, in each process: tiles of several threads, and the layers that one pass gives."""
KERNEL_BYTES: Final = 64
"""For each pixel of a window: the heights with their halo, and the results in float64."""


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


@dataclass(frozen=True)
class DerivedRaster:
    """What was derived from a DEM, to `cube.align` a raster of its own: read by windows of the DEM's grid."""

    read: Callable[[slice, slice], Array]
    spec: Variable
    box: GeoBox
    origin: str
    size: Callable[[int, int], SourceBytes] | None = None
    lazy_array: None = None
    notes: tuple[tuple[str, str], ...] = ()

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while a window of this size is derived."""
        return SourceBytes() if self.size is None else self.size(rows, columns)


class WindowsOfDem:
    """Local attributes by windows of the DEM's own grid; one pass gives all of them.

    A cell's value depends on its nine cells and its row alone, so it does not depend on the window.

    Parameters
    ----------
    dem : Raster
    layers : tuple of Variable
    kernel : callable
        `kernel(z with a halo of one cell, dx, dy)` gives all `layers`.
    """

    def __init__(
        self, dem: Raster, layers: tuple[Variable, ...], kernel: Callable[[Array, Array, Array], tuple[Array, ...]]
    ) -> None:
        self.dem, self.layers, self.kernel = dem, layers, kernel
        transform = dem.box.transform
        dx, dy = cell_sizes_m(dem.box)
        self.dx, self.dy = np.copysign(dx, transform.a), np.copysign(dy, -transform.e)
        self.window = lru_cache(maxsize=RETAINED_WINDOWS)(self._window)

    def __reduce__(self) -> Any:
        return WindowsOfDem, (self.dem, self.layers, self.kernel)

    def raster(self, spec: Variable) -> DerivedRaster:
        """One attribute as a raster."""
        place = [layer.name for layer in self.layers].index(spec.name)

        def read(rows: slice, columns: slice) -> Array:
            return self.window(rows.start, rows.stop, columns.start, columns.stop)[place]

        return DerivedRaster(read, self.layers[place], self.dem.box, self.dem.origin, self.read_bytes)

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while a window of this size is derived."""
        read = self.dem.read_bytes(rows + 2, columns + 2)
        retained = RETAINED_WINDOWS * rows * columns * sum(np.dtype(layer.dtype).itemsize for layer in self.layers)
        return SourceBytes(read.tile + rows * columns * KERNEL_BYTES, read.process + retained)

    def _window(self, top: int, bottom: int, left: int, right: int) -> tuple[Array, ...]:
        height, width = (int(size) for size in self.dem.box.shape)
        inner = slice(max(top - 1, 0), min(bottom + 1, height)), slice(max(left - 1, 0), min(right + 1, width))
        beyond = (
            (int(top == 0), int(bottom == height)),
            (int(left == 0), int(right == width)),
        )
        z = np.pad(self.dem.read(*inner), beyond, constant_values=np.nan)
        return self.kernel(np.ascontiguousarray(z), self.dx[top:bottom], self.dy[top:bottom])


def resolution_of(dem: Raster) -> str:
    """The grid of a DEM in one line."""
    return describe(dem.box)
