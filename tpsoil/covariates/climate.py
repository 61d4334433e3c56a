"""Climate: means over years from monthly stacks, lapse-rate downscaling, evapotranspiration, aridity."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError
from tpsoil.kernels.climate import weighted_sums
from tpsoil.units import require_unit
from tpsoil.variables import Variable, variable

from .cells import ADD_LAYER, Argument, CellKernel, Cells, per_cell, per_series, require_one_grid, typed_as
from .ranges import require_range

Array = npt.NDArray[Any]
STANDARD_LAPSE_RATE_K_KM: Final = 6.5
"""Fall of temperature with height in the ICAO standard atmosphere, K km-1."""


def lapse_rate_downscaling(
    temperature: xr.DataArray,
    coarse_elevation: xr.DataArray,
    elevation: xr.DataArray,
    *,
    lapse_rate_k_km: float = STANDARD_LAPSE_RATE_K_KM,
) -> xr.DataArray:
    """Air temperature at the elevation of a fine grid, from that at the elevation of a coarse grid.

    Parameters
    ----------
    temperature : DataArray (y, x), degC
        Coarse temperature, brought bilinearly to the fine grid.
    coarse_elevation : DataArray (y, x), m
        The ground the coarse temperature belongs to: average the DEM over the cells of the coarse grid, then bring that
        average bilinearly to the fine grid, exactly as the temperature was. Where the coarse temperature comes with
        its own orography, use that instead. The fine DEM itself, or one interpolated from it, leaves relief out of
        the correction.
    elevation : DataArray (y, x), m
        The fine DEM.
    lapse_rate_k_km : float
        Fall of temperature with height, K km-1; positive where it is colder higher up.

    Returns
    -------
    DataArray (y, x), float32, degC
        `mean_annual_temperature` on the fine grid. NaN where any input is missing.

    Raises
    ------
    GridError
        Where the three do not lie on one grid.
    UnitsError
        For kelvin, feet, or any unit but degC and m.
    InputError
        For a lapse rate outside -20..20 K km-1 (a rate in K m-1 or of the wrong sign convention is a usual mistake).

    Notes
    -----
    T = T_coarse + rate (z_coarse - z). On a coarse grid whose cells average to themselves the fine temperatures average
    back to the coarse ones, because the mean of z over a cell is z_coarse there; the bilinear step blurs this.

    Examples
    --------
    >>> box = {"y": [1500.0, 500.0], "x": [500.0, 1500.0]}
    >>> def field(values): return xr.DataArray(values, coords=box, dims=("y", "x"))
    >>> warm, low = field([[2.0, 2.0], [2.0, 2.0]]), field([[4000.0, 4000.0], [4000.0, 4000.0]])
    >>> lapse_rate_downscaling(warm, low, field([[4000.0, 5000.0], [3000.0, 4000.0]])).values.tolist()
    [[2.0, -4.5], [8.5, 2.0]]
    """
    where = "lapse_rate_downscaling"
    if not np.isfinite(lapse_rate_k_km) or abs(lapse_rate_k_km) > 20:
        raise InputError(f"{where}: lapse_rate_k_km is {lapse_rate_k_km!r}, expected K km-1 between -20 and 20")
    require_unit(where, "temperature", temperature, "degC", fix=ADD_LAYER)
    for name, layer in (("coarse_elevation", coarse_elevation), ("elevation", elevation)):
        require_unit(where, name, layer, "m", fix=ADD_LAYER)
    require_one_grid(temperature, coarse_elevation, elevation, where=where)
    (result,) = map_pixels(
        partial(_at_fine_height, rate_k_m=lapse_rate_k_km / 1000.0),
        temperature,
        coarse_elevation,
        elevation,
        outputs=[variable("mean_annual_temperature")],
        attrs={
            "parents": "temperature coarse_elevation elevation",
            "formula": "coarse temperature + lapse rate x (coarse elevation - elevation)",
            "lapse_rate_k_km": float(lapse_rate_k_km),
        },
    )
    return cast(xr.DataArray, result)


def _at_fine_height(temperature: Array, coarse: Array, fine: Array, *, rate_k_m: float) -> Array:
    return temperature.astype(np.float64) + rate_k_m * (coarse.astype(np.float64) - fine.astype(np.float64))


def monthly_means(monthly: xr.DataArray, *, years: tuple[int, int] | None = None) -> xr.DataArray:
    """Mean of every calendar month over years.

    Parameters
    ----------
    monthly : DataArray (time, ...)
        Monthly values, datetime `time`, in any order.
    years : (first, last), optional
        Both included; by default all years of the stack.

    Returns
    -------
    DataArray (month, ...)
        Months 1 to 12, units of the input. NaN where any month is missing there. Lazy where `monthly` is.

    Raises
    ------
    InputError
        Without a datetime `time`, and for years that lack a month or have one twice; they are listed.

    Examples
    --------
    >>> time = np.arange("2000-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]")
    >>> stack = xr.DataArray(np.arange(24.0), coords={"time": time}, dims="time")
    >>> monthly_means(stack).values[:3].tolist()
    [6.0, 7.0, 8.0]
    """
    order, span = _complete_years(monthly, years, "monthly_means")
    spec = Variable(str(monthly.name or "monthly"), str(monthly.attrs.get("long_name", monthly.name or "")), "1")
    mean = partial(_weighted, weights=(12.0 / len(order),) * (len(order) // 12), where="monthly_means")
    parts = [
        per_series(mean, monthly.isel(time=order[month::12]), dim="time", output=typed_as(spec, monthly))
        for month in range(12)
    ]
    result = xr.concat(parts, dim=xr.DataArray(np.arange(1, 13), dims="month", name="month"), coords="minimal")
    result.attrs = {**monthly.attrs, "years": span, "formula": "mean of each calendar month over the years"}
    return result


def mean_annual_temperature(monthly: xr.DataArray, *, years: tuple[int, int] | None = None) -> xr.DataArray:
    """Mean annual air temperature over years, from monthly means.

    Parameters
    ----------
    monthly : DataArray (time, ...), degC
        Monthly means, datetime `time`.
    years : (first, last), optional
        Both included; the solum study took 2000 to 2015. By default all years of the stack.

    Returns
    -------
    DataArray, degC
        Months weighted by their days. NaN where any month is missing. Lazy where `monthly` is.

    Raises
    ------
    UnitsError
        For temperatures not in degC.
    InputError
        For years that lack a month; they are listed.

    Examples
    --------
    >>> time = np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]")
    >>> stack = xr.DataArray(np.full(12, 3.5), coords={"time": time}, dims="time")
    >>> round(float(mean_annual_temperature(stack)), 6)
    3.5
    """
    where = "mean_annual_temperature"
    require_unit(where, "monthly", monthly, "degC", fix=ADD_LAYER)
    order, span = _complete_years(monthly, years, where)
    stack = monthly.isel(time=order)
    days = np.asarray(stack["time"].dt.days_in_month, dtype=np.float64)
    return per_series(
        partial(_weighted, weights=tuple(days / days.sum()), low=-100.0, high=100.0, where=where),
        stack,
        dim="time",
        output=typed_as(variable(where), monthly),
        attrs={"years": span, "formula": "monthly means weighted by days", "parents": str(monthly.name)},
    )


def annual_precipitation(monthly: xr.DataArray, *, years: tuple[int, int] | None = None) -> xr.DataArray:
    """Mean annual precipitation over years, from monthly sums.

    Parameters
    ----------
    monthly : DataArray (time, ...), mm or mm month-1
        Monthly sums, datetime `time`, >= 0.
    years : (first, last), optional
        Both included. By default all years of the stack.

    Returns
    -------
    DataArray, mm
        Sum of a year's months, mean of the years. NaN where any month is missing. Lazy where `monthly` is.

    Raises
    ------
    UnitsError
        For precipitation not in mm.
    InputError
        For years that lack a month, and negative precipitation.

    Examples
    --------
    >>> time = np.arange("2001-01", "2003-01", dtype="datetime64[M]").astype("datetime64[ns]")
    >>> stack = xr.DataArray(np.full(24, 40.0), coords={"time": time}, dims="time")
    >>> round(float(annual_precipitation(stack)), 6)
    480.0
    """
    where = "annual_precipitation"
    require_unit(where, "monthly", monthly, "mm", fix=ADD_LAYER, period="month")
    order, span = _complete_years(monthly, years, where)
    return per_series(
        partial(_weighted, weights=(12.0 / len(order),) * len(order), low=0.0, where=where),
        monthly.isel(time=order),
        dim="time",
        output=typed_as(variable(where), monthly),
        attrs={"years": span, "formula": "sum of monthly sums, mean of years", "parents": str(monthly.name)},
    )


def aridity_index(annual_precipitation: Cells | float, potential_evapotranspiration: Cells | float) -> Cells:
    """Aridity index: precipitation over potential evapotranspiration, so that high is humid.

    Parameters
    ----------
    annual_precipitation : float, ndarray or DataArray, mm
        >= 0.
    potential_evapotranspiration : float, ndarray or DataArray, mm
        Of the same year, >= 0.

    Returns
    -------
    float, ndarray or DataArray, 1
        Of the kind of the inputs. NaN where nothing evaporates.

    Raises
    ------
    InputError
        For negative amounts.
    UnitsError
        For amounts not in mm.
    GridError
        Where the layers do not share one grid.

    References
    ----------
    UNEP 1992, World Atlas of Desertification.

    Examples
    --------
    >>> aridity_index(350.0, 1000.0)
    0.35
    """
    rain = "rain cannot be negative; declare its nodata value"
    inputs = {
        Argument("annual_precipitation", 0.0, units="mm", fix=rain, period="year"): annual_precipitation,
        Argument("potential_evapotranspiration", 0.0, units="mm", period="year"): potential_evapotranspiration,
    }
    attrs = {
        "parents": " ".join(argument.name for argument in inputs),
        "formula": "precipitation / potential evapotranspiration",
    }
    return per_cell(CellKernel("climate", "ratio_cells", "aridity_index"), inputs, variable("aridity_index"), attrs)


def _weighted(
    values: Array, *, weights: tuple[float, ...], where: str, low: float = -np.inf, high: float = np.inf
) -> Array:
    require_range(where, "monthly", values, low, high, "declare its nodata value, or correct its units")
    return weighted_sums(values, np.asarray(weights))


def _complete_years(
    monthly: xr.DataArray, years: tuple[int, int] | None, where: str
) -> tuple[npt.NDArray[np.int64], str]:
    """Positions of the months, January to December, year after year; and the span in words."""
    if "time" not in monthly.coords or monthly["time"].dtype.kind != "M":
        raise InputError(f"{where}: the stack has dims {monthly.dims}, expected a datetime coordinate 'time'")
    stamps = monthly["time"].values.astype("datetime64[M]").astype(np.int64)
    year_of = stamps // 12 + 1970
    first, last = (int(year_of.min()), int(year_of.max())) if years is None else (int(years[0]), int(years[1]))
    if last < first:
        raise InputError(f"{where}: years are {first} to {last}, expected the first before the last")
    required = np.arange((first - 1970) * 12, (last - 1970 + 1) * 12)
    places = [np.flatnonzero(stamps == stamp) for stamp in required]
    faults = [
        f"{stamp // 12 + 1970}-{stamp % 12 + 1:02d} {'twice' if len(place) else 'missing'}"
        for stamp, place in zip(required, places)
        if len(place) != 1
    ]
    if faults:
        shown = ", ".join(faults[:12]) + (f" and {len(faults) - 12} more" if len(faults) > 12 else "")
        raise InputError(f"{where}: complete years {first} to {last} are needed: {shown}; choose other years=")
    return np.concatenate(places), f"{first}-{last}"
