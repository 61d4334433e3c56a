"""Sources of covariate groups by windows: terrain and flow at a DEM's own resolution, and reduced time stacks."""

from __future__ import annotations

import glob
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.covariates.by_window import WindowKernel
from tpsoil.covariates.flow_tiles import RETAINED_BYTES, TILE_CELLS, TILES_IN_MEMORY, DemGrid, needed_bytes
from tpsoil.covariates.groups.sources import CLIMATOLOGY, ArraySource, FromStacks, Stack
from tpsoil.covariates.hydrology import COMPLETE_BYTES
from tpsoil.errors import InputError
from tpsoil.grid import cell_sizes_m, coordinates, describe, grid_of, same_grid
from tpsoil.ingest import Raster, read_raster, read_stack
from tpsoil.ingest.checks import check_range
from tpsoil.ingest.stacks import stack_bytes
from tpsoil.stage import SourceBytes
from tpsoil.units import conversion
from tpsoil.variables import Variable, variable

from .layer_stage import DerivedRaster

Array = npt.NDArray[Any]

RETAINED_WINDOWS: Final = 4
"""Of a source, in each process: tiles of several threads, and the layers that one pass gives."""
KERNEL_BYTES: Final = 96
"""For each pixel of a window: the heights with their halo, ways and areas, and the results in float64."""
MONTHS: Final = 12


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


def open_stack(stack: Stack, units: str, name: str) -> xr.DataArray:
    """A stack as a lazy DataArray (time, y, x) in the wanted unit.

    Parameters
    ----------
    stack : Stack
    units : str
        Wanted.
    name : str
        The option, for messages.

    Returns
    -------
    DataArray
        Of twelve GeoTIFFs the months of one year, with the attribute `climatology`.
    """
    path = stack.path
    if isinstance(path, ArraySource):
        return _array_stack(path.layer, units, name)
    listed = [path] if isinstance(path, str) else list(path)
    if is_geotiff(path):
        return _geotiff_stack(listed, stack, units, name)
    names = [part.strip() for part in stack.variable.split(",")]
    source: Any = listed if len(listed) > 1 else listed[0]
    return read_stack(source, names if len(names) > 1 else names[0], units, came_in=stack.units, crs=stack.crs)


def is_geotiff(path: str | tuple[str, ...]) -> bool:
    """Whether a stack is a set of GeoTIFFs."""
    return all(one.lower().endswith((".tif", ".tiff")) for one in ([path] if isinstance(path, str) else path))


def _array_stack(layer: xr.DataArray, units: str, name: str) -> xr.DataArray:
    came = layer.attrs.get("units")
    if came is None:
        raise InputError(f"{name}: the DataArray has no units; set attrs['units']")
    if "month" in layer.dims:
        layer = _as_year(layer.rename(month="time"), name)
    change = conversion(str(came), units, where=name, period="month" if units == "mm" else "")
    result = layer.astype(np.float64) * change.factor + change.offset
    marks = {CLIMATOLOGY: 1} if CLIMATOLOGY in layer.attrs else {}
    result.attrs = {"units": units, "source": str(layer.name or name), **marks}
    return result.transpose("time", "y", "x")


def _geotiff_stack(listed: Sequence[str], stack: Stack, units: str, name: str) -> xr.DataArray:
    files = [Path(file) for one in listed for file in (sorted(glob.glob(one)) if "*" in one else [one])]
    if len(files) != MONTHS:
        raise InputError(f"{name}: {len(files)} GeoTIFFs, expected twelve, January first when sorted by name")
    spec = Variable(name, name.replace("_", " "), units)
    months = []
    for file in files:
        how: dict[str, Any] = {"units": stack.units, "nodata": stack.nodata, "crs": stack.crs}
        raster = read_raster(str(file), spec, **{key: value for key, value in how.items() if value is not None})
        months.append(raster.lazy())
    try:
        joined = xr.concat(months, dim="time", join="exact", combine_attrs="override")
    except ValueError as error:
        raise InputError(f"{name}: the twelve GeoTIFFs do not share one grid: {error}") from error
    result = _as_year(joined, name).astype(np.float64)
    result.attrs = {"units": units, "source": ", ".join(file.name for file in files), CLIMATOLOGY: 1}
    return result


def _as_year(layer: xr.DataArray, name: str) -> xr.DataArray:
    """Twelve months of no year, dated in a year of 365 days."""
    if layer.sizes["time"] != MONTHS:
        raise InputError(f"{name}: there are {layer.sizes['time']} months, expected twelve")
    dates = np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]")
    return layer.assign_coords(time=dates).assign_attrs({CLIMATOLOGY: 1})


class ReducedStacks:
    """Layers of stacks on the stacks' grid, by windows; one reading gives all of them."""

    def __init__(self, part: FromStacks, stacks: tuple[xr.DataArray, ...]) -> None:
        first = stacks[0]
        self.part, self.box = part, grid_of(first.isel(time=0), where=part.stacks[0])
        for name, stack in zip(part.stacks, stacks):
            if not same_grid(grid_of(stack.isel(time=0), where=name), self.box):
                raise InputError(
                    f"{name}: is on another grid than {part.stacks[0]}; bring both stacks onto one grid first"
                )
        # Coordinates that differ in the last digits would not align.
        self.stacks = tuple(stack.assign_coords(y=first["y"], x=first["x"]) for stack in stacks)
        self.window = lru_cache(maxsize=RETAINED_WINDOWS)(self._window)

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while a window of this size is read and reduced."""
        parts = [stack_bytes(stack, rows, columns) for stack in self.stacks]
        retained = RETAINED_WINDOWS * rows * columns * sum(np.dtype(spec.dtype).itemsize for spec in self.part.layers)
        return SourceBytes(sum(part.tile for part in parts), sum(part.process for part in parts) + retained)

    def reader(self, place: int) -> Callable[[slice, slice], Array]:
        """One of the layers."""

        def read(rows: slice, columns: slice) -> Array:
            return self.window(rows.start, rows.stop, columns.start, columns.stop)[place]

        return read

    def attributes(self) -> list[dict[str, Any]]:
        """Attributes that the reduction sets."""
        corners = [stack.isel(y=slice(0, 2), x=slice(0, 2)) for stack in self.stacks]
        empty = [corner.copy(data=np.full(corner.shape, np.nan)) for corner in corners]
        return [dict(layer.attrs) for layer in self.part.reduce(*empty)]

    def _window(self, top: int, bottom: int, left: int, right: int) -> tuple[Array, ...]:
        parts = [stack.isel(y=slice(top, bottom), x=slice(left, right)).load() for stack in self.stacks]
        results = []
        for spec, layer in zip(self.part.layers, self.part.reduce(*parts)):
            values = np.asarray(layer.transpose("y", "x").values, dtype=np.float64)
            check_range(values, spec, str(self.stacks[0].attrs["source"]), ())
            results.append(values.astype(spec.dtype))
        return tuple(results)
