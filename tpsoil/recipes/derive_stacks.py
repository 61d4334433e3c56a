"""Stacks of a covariate group as lazy series: a NetCDF or Zarr series, twelve GeoTIFFs, or a DataArray."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from tpsoil.covariates.groups.sources import CLIMATOLOGY, ArraySource, Stack
from tpsoil.errors import InputError
from tpsoil.ingest import read_raster, read_stack
from tpsoil.units import conversion
from tpsoil.variables import Variable

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
