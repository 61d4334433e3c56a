"""Stacks of a covariate group as lazy series (NetCDF, Zarr, twelve GeoTIFFs, a DataArray), reduced by windows."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.covariates.groups.sources import CLIMATOLOGY, ArraySource, FromStacks, Stack
from tpsoil.errors import InputError
from tpsoil.grid import grid_of, same_grid
from tpsoil.ingest import read_raster, read_stack
from tpsoil.ingest.checks import check_range
from tpsoil.ingest.stacks import stack_bytes
from tpsoil.stage import SourceBytes
from tpsoil.units import conversion
from tpsoil.variables import Variable

from .dem import RETAINED_WINDOWS

Array = npt.NDArray[Any]

MONTHS: Final = 12


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
