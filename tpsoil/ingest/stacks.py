"""Time stacks on import: monthly or hourly NetCDF and Zarr series in the catalogue's units."""

from __future__ import annotations

import gc
import operator
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401
import rioxarray  # noqa: F401  (registers the accessor .rio)
import xarray as xr
from odc.geo.crs import CRS

from tpsoil.errors import InputError, UnitsError, require_named
from tpsoil.stage import SourceBytes
from tpsoil.units import conversion, is_rate_of, read_unit

from .labelled import EAST, RANGE_KEYS, even_step, is_zarr, missing_rule, open_file
from .parts import listed_sources

COPIES_IN_MEMORY: Final = 3
"""Peak while a stack is loaded, times its float64 numbers: as stored, converted, and one temporary array."""
COPIES_LAZY: Final = 3
"""The same of the chunks of a lazy one."""
WINDOW_COPIES: Final = 3
"""Of the numbers of a window while they are reduced over time: themselves and two temporary arrays."""


def read_stack(
    source: str | Path | Sequence[str | Path],
    variable: str | Sequence[str],
    units: str,
    *,
    came_in: str | None = None,
    crs: str | None = None,
) -> xr.DataArray:
    """A series of grids with a datetime `time`, in the wanted unit.

    Parameters
    ----------
    source : path, glob, or list of them
        NetCDF or Zarr; several are joined along time.
    variable : str or (str, str)
        Which one; two are the components of a vector, whose length is taken (wind).
    units : str
        Wanted, such as "degC", "mm", "m s-1".
    came_in : str, optional
        Unit of the source, in place of what it declares. Rates of an amount, such as mm month-1 or kg m-2 s-1, become
        the sum of each month or step.
    crs : str, optional
        Of a source without one; coordinates called latitude and longitude are EPSG:4326.

    Returns
    -------
    DataArray (time, y, x), float64
        Sorted by time, lazy where the source opens so; NaN where a stored number is missing or outside the valid range
        that the file states. `attrs["source"]` names the files, `attrs["source_valid_range"]` has the range.

    Raises
    ------
    MissingInputError
        Where there is no such file.
    InputError
        Without a datetime coordinate, for an unknown variable, without a unit, a time that occurs twice.
    UnitsError
        For a unit that does not convert.
    GridError
        Where the files' grids differ.

    Examples
    --------
    >>> read_stack("no-such-*.nc", "t2m", "degC")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tpsoil.errors.MissingInputError: stack no-such-*.nc: ...
    """
    where = f"stack {source if isinstance(source, str | Path) else ', '.join(map(str, source))}"
    files = [Path(path) for path in listed_sources(source, where)]
    names = (variable,) if isinstance(variable, str) else tuple(variable)
    # Stacks that were read before are in cycles with their accessors: without this, two may be in memory.
    gc.collect()
    opened = [_open(file, where) for file in files]
    own = [_own_crs(dataset, names[0]) for dataset in opened]
    if any(one != own[0] for one in own):
        raise InputError(f"{where}: the files have different CRS; warp them to one, or pass crs= if one is wrong")
    layers, notes = [], dict[str, str]()
    for dataset, file in zip(opened, files):
        layers.append([_pick(dataset, name, file) for name in names])
        if any(set(component.attrs) & RANGE_KEYS for component in layers[-1]):
            stored = _open(file, where, mask_and_scale=dict.fromkeys(names, False))
            for k, component in enumerate(layers[-1]):
                layers[-1][k], note = _valid(component, _pick(stored, names[k], file))
                notes |= {"source_valid_range": note} if note else {}
    # Of all files together: a file of one step does not show how long it is.
    stamps = np.sort(np.concatenate([components[0]["time"].values for components in layers]))
    if (repeated := stamps[1:][stamps[1:] == stamps[:-1]]).size:
        raise InputError(f"{where}: time {repeated[0]} occurs twice; leave one file out")
    parts = []
    for file, components in zip(files, layers):
        converted = [_converted(one, units, came_in, stamps, f"{file.name}, {one.name}") for one in components]
        parts.append(converted[0] if len(names) == 1 else reduce(operator.add, (one**2 for one in converted)) ** 0.5)
    try:
        stack = xr.concat(parts, dim="time", join="exact") if len(parts) > 1 else parts[0]
    except ValueError as error:
        raise InputError(f"{where}: the files do not share one grid: {error}") from error
    if not stack.indexes["time"].is_monotonic_increasing:
        stack = stack.sortby("time")
    stack = _placed(stack, crs or own[0], where)
    stack.name = names[0] if len(names) == 1 else "speed"
    stack.attrs = {"units": units, "source": ", ".join(file.name for file in files), **notes}
    if len(names) > 1:
        stack.attrs["vector_components"] = " ".join(names)
    return stack


def stack_bytes(stack: xr.DataArray, rows: int, columns: int) -> SourceBytes:
    """Peak of memory while a window of a stack is read and reduced over time.

    Parameters
    ----------
    stack : DataArray (time, y, x)
        From `read_stack`.
    rows, columns : int
        Of the window, cells.

    Returns
    -------
    SourceBytes
        Of a stack in memory all of it, in each process; of a lazy one the chunks that a window can touch.

    Examples
    --------
    >>> stack_bytes(xr.DataArray(np.zeros((12, 10, 10)), dims=("time", "y", "x")), 5, 5)
    SourceBytes(tile=7200, process=28800)
    """
    window = WINDOW_COPIES * stack.sizes["time"] * rows * columns * stack.dtype.itemsize
    if stack.chunks is None:
        return SourceBytes(window, COPIES_IN_MEMORY * stack.nbytes)
    down, across = (max(sizes) for sizes in stack.chunks[-2:])
    height, width = stack.shape[-2:]
    cells = min(rows + 2 * down, height) * min(columns + 2 * across, width)
    return SourceBytes(window + COPIES_LAZY * stack.sizes["time"] * cells * stack.dtype.itemsize)


def _open(file: Path, where: str, **options: Any) -> xr.Dataset:
    # Without a cache what a file stores is not kept beside what it is converted to.
    chunks: dict[str, int] | None = {} if is_zarr(str(file)) else None
    return open_file(str(file), where, chunks=chunks, decode_coords="all", cache=False, **options)


def _valid(layer: xr.DataArray, stored: xr.DataArray) -> tuple[xr.DataArray, str]:
    """A layer without the values whose stored numbers its file calls invalid, and a note on them."""
    rule = missing_rule(stored)
    numbers = xr.apply_ufunc(rule.apply, stored, dask="parallelized", output_dtypes=[np.float64])
    return (layer.where(numbers.notnull()), rule.range_note) if rule.range_note else (layer, "")


def _own_crs(dataset: xr.Dataset, name: str) -> Any:
    """The CRS in the grid mapping of a file; None without one."""
    crs = (dataset[name].rio.crs if name in dataset else None) or dataset.rio.crs
    return None if crs is None else CRS(crs.to_wkt())


def _pick(dataset: xr.Dataset, name: str, file: Path) -> xr.DataArray:
    """A variable with the dims of a grid and `time`, whatever its file calls the dim with dates (ERA5: valid_time)."""
    require_named(file.name, [name], dataset.variables, "variable")
    layer = dataset[name].reset_coords(drop=True)
    dates = next((dim for dim in layer.dims if dim in layer.coords and layer[dim].dtype.kind == "M"), None)
    single = [dim for dim in layer.dims if dim != dates and layer.sizes[dim] == 1]
    if dates is None or layer.ndim - len(single) != 3:
        raise InputError(
            f"{file.name}, {name}: dims {layer.dims}, expected a datetime dim such as 'time' and two of a grid; select "
            "the others"
        )
    return layer.squeeze(single, drop=True).rename({} if dates == "time" else {dates: "time"})


def _converted(
    layer: xr.DataArray, units: str, came_in: str | None, stamps: npt.NDArray[np.datetime64], where: str
) -> xr.DataArray:
    source_unit = came_in or layer.attrs.get("units")
    if not source_unit:
        raise InputError(f"{where}: the file states no units; pass them, such as came_in='K'")
    if is_rate_of(str(source_unit), units):
        return layer.astype(np.float64) * _rate_to_sums(layer["time"], stamps, str(source_unit), units, where)
    change = conversion(str(source_unit), units, where=where, period="month")
    return layer.astype(np.float64) * change.factor + change.offset


def _rate_to_sums(
    time: xr.DataArray, stamps: npt.NDArray[np.datetime64], source_unit: str, units: str, where: str
) -> xr.DataArray:
    """Factors from a rate to the sum of every month or step, whose length the dates of all files show."""
    step = float(np.median(np.diff(stamps) / np.timedelta64(1, "D"))) if stamps.size > 1 else 30.0
    monthly = step > 27
    if monthly and step > 32:
        raise InputError(
            f"{where}: the steps are {step:g} days, expected months or shorter for a rate in '{source_unit}'"
        )
    if read_unit(source_unit).per == "month":
        if not monthly:
            raise UnitsError(
                f"{where}: units '{source_unit}' on steps of {step:g} days; pass the unit of a step as came_in="
            )
        return xr.ones_like(time, dtype=np.float64) * conversion(source_unit, units, where=where, period="month").factor
    days = time.dt.days_in_month if monthly else xr.full_like(time, step, dtype=np.float64)
    return days * conversion(source_unit, units, where=where, period="day").factor


def _placed(stack: xr.DataArray, crs: Any, where: str) -> xr.DataArray:
    """Dims (time, y, x), north up, with a CRS."""
    plane = [str(dim) for dim in stack.dims if dim != "time"]
    east = next((dim for dim in plane if dim.lower() in EAST), plane[1])
    north = next(dim for dim in plane if dim != east)
    degrees = north.lower() in ("lat", "latitude") and east.lower() in ("lon", "longitude")
    declared = crs or ("EPSG:4326" if degrees else None)
    if declared is None:
        raise InputError(f"{where}: dims {north}, {east} and no CRS; pass crs=")
    # coordinates in float32 are off an even spacing by 1e-5 of a cell
    axes = {
        dim: float(stack[dim].values[0]) + even_step(stack, dim, where, str(stack.name)) * np.arange(stack.sizes[dim])
        for dim in plane
    }
    stack = stack.transpose("time", north, east).assign_coords(axes).rename({north: "y", east: "x"})
    if stack["y"][0] < stack["y"][-1]:
        stack = stack.isel(y=slice(None, None, -1))
    placed: xr.DataArray = stack.odc.assign_crs(declared)
    return placed
