"""Soil loss by wind: RWEQ, its balance and the weather in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import special

from tpsoil.errors import InputError
from tpsoil.kernels import erosion
from tpsoil.units import require_unit
from tpsoil.variables import Variable, variable

from .cells import (
    ADD_LAYER,
    Argument,
    CellKernel,
    Cells,
    as_given,
    each_per_cell,
    labelled_series,
    per_cell,
    per_series,
)
from .ranges import require_positive

THRESHOLD_M_S: Final = 5.0
"""Wind at 2 m below which no soil moves."""
FIELD_M: Final = 50.0
"""Distance downwind at which the loss is taken, by custom."""
LONGEST_INTERVAL_DAYS: Final = 7.5
"""Half a period of RWEQ. Means over longer intervals hide every storm and give no erosion where there is much."""


def rweq(
    weather_factor: Any,
    erodible_fraction: Any,
    crust_factor: Any,
    roughness_factor: Any = 1.0,
    vegetation_factor: Any = 1.0,
    *,
    distance_m: float = FIELD_M,
) -> xr.Dataset:
    """Soil loss by wind in one period, the Revised Wind Erosion Equation.

    Parameters
    ----------
    weather_factor : float, ndarray or DataArray, kg m-1
        WF of the period; see `weather_factor`.
    erodible_fraction, crust_factor, roughness_factor, vegetation_factor : float, ndarray or DataArray, 1
        EF, SCF, K' and COG, each at least 0; EF, SCF and COG at most 1.
    distance_m : float
        Downwind distance z, m; > 0.

    Returns
    -------
    Dataset
        wind_erosion, t ha-1 in the period (sum the periods of a year for t ha-1 a-1), and wind_erosion_status:
        1 where the loss is on its falling branch.

    Raises
    ------
    InputError
        For a factor outside its range.
    GridError
        Where the factors do not share one grid.

    Notes
    -----
    X = WF EF SCF K' COG, Qmax = 109.8 X (kg/m), s = 150.71 X^-0.3711 (m),
    SL = 2 z / s^2 Qmax exp(-(z/s)^2) (kg/m2), times 10 for t/ha; no loss for X = 0. SL rises with X only up to
    (z/s)^2 = 2.347, which is X = 61.73 for z = 50 m; cells beyond are flagged and not changed. Some codes call
    Qmax g/m, which is wrong by 1000.

    References
    ----------
    Fryrear et al. 1998, RWEQ technical documentation, USDA-ARS Bulletin 1. Fryrear et al. 2000, Journal of Soil and
    Water Conservation 55, 183-189.

    Examples
    --------
    >>> round(float(rweq(1.05, 1.0, 1.0).wind_erosion), 6)
    4.695373
    """
    where = "rweq"
    require_positive(where, "distance_m", distance_m, "metres")
    inputs = {
        Argument("weather_factor", 0.0, units="kg m-1"): weather_factor,
        Argument("erodible_fraction", 0.0, 1.0, "1"): erodible_fraction,
        Argument("crust_factor", 0.0, 1.0, "1"): crust_factor,
        Argument("roughness_factor", 0.0, units="1"): roughness_factor,
        Argument("vegetation_factor", 0.0, 1.0, "1"): vegetation_factor,
    }
    turning = turning_point(distance_m)
    loss, status = each_per_cell(
        CellKernel("erosion", "wind_loss_cells", where, (float(distance_m), turning)),
        inputs,
        [variable("wind_erosion"), variable("wind_erosion_status")],
        {
            "parents": " ".join(argument.name for argument in inputs),
            "formula": "RWEQ",
            "distance_m": float(distance_m),
            "falling_beyond_kg_m": turning,
        },
    )
    return as_dataset({"wind_erosion": loss, "wind_erosion_status": status})


def turning_point(distance_m: float = FIELD_M) -> float:
    """Where RWEQ's loss stops rising with the transport potential X.

    Parameters
    ----------
    distance_m : float
        z, m.

    Returns
    -------
    float
        X, kg m-1.

    Notes
    -----
    d(ln SL)/dX = 0 at (z/s)^2 = (1 + 2c)/(2c) with s = 150.71 X^-c, c = 0.3711.

    Examples
    --------
    >>> round(turning_point(50.0), 3)
    61.733
    """
    c = 0.3711
    return float(((1 + 2 * c) / (2 * c) * (150.71 / distance_m) ** 2) ** (1 / (2 * c)))


@overload
def wind_factor(
    wind_speed: xr.DataArray,
    *,
    days: float,
    height_m: float = ...,
    threshold_m_s: float = ...,
    weibull_shape: float | None = ...,
) -> xr.DataArray: ...
@overload
def wind_factor(
    wind_speed: Sequence[Any] | npt.NDArray[Any],
    *,
    days: float,
    height_m: float = ...,
    threshold_m_s: float = ...,
    weibull_shape: float | None = ...,
) -> float | npt.NDArray[Any]: ...
def wind_factor(
    wind_speed: Any,
    *,
    days: float,
    height_m: float = 10.0,
    threshold_m_s: float = THRESHOLD_M_S,
    weibull_shape: float | None = None,
) -> xr.DataArray | float | npt.NDArray[Any]:
    """Wind factor of a period: what moves soil in its wind speeds.

    Parameters
    ----------
    wind_speed : DataArray with dim `time`, or sequence; m s-1
        The N observations of one period at `height_m`, >= 0, at most 7.5 days apart. Means over a day already give too
        little, because the term is convex; means over a month give nothing.
    days : float
        Length Nd of the period, d; RWEQ's own is 15.
    height_m : float
        Of the observations; speeds go to 2 m by the 1/7 power law.
    threshold_m_s : float
        At 2 m.
    weibull_shape : float, optional
        The observations are means of the speed (not lengths of mean vectors), and the speeds around each mean have a
        Weibull distribution of this shape, such as 2 (Rayleigh). Recorded in the attributes.

    Returns
    -------
    float, ndarray or DataArray, m3 s-3

    Raises
    ------
    InputError
        For negative speeds, days or heights not above 0; for observations more than 7.5 days apart without
        `weibull_shape`, and for mean vectors with it.
    UnitsError
        For speeds not in m s-1.

    Notes
    -----
    Wf = Nd/N sum u2 (u2 - ut)^2 over u2 > ut, u2 = u (2/height)^(1/7). With a shape k each term is its expectation
    E3 - 2 ut E2 + ut^2 E1 with En = c^n Gamma(1 + n/k) Q(1 + n/k, (ut/c)^k), c = mean / Gamma(1 + 1/k), Q the upper
    incomplete gamma function. A Weibull fit misses the erosive wind power by more than 20 % at half of the stations
    (168 of 332, van Donk et al. 2005): observations are better.

    References
    ----------
    Skidmore and Tatarko 1990, Transactions of the ASAE 33, 1893-1899. van Donk et al. 2005, Transactions of the ASAE
    48, 503-510.

    Examples
    --------
    >>> wind_factor([6.0, 8.0, 10.0], days=15, height_m=2.0)
    1640.0
    >>> round(wind_factor([4.0], days=30, height_m=2.0, weibull_shape=2.0), 1)
    333.5
    """
    where = "wind_factor"
    require_positive(where, "days", days)
    require_positive(where, "height_m", height_m)
    stack = labelled_series(where, wind_speed, "time", "wind_speed")
    require_unit(where, "wind_speed", stack, "m s-1", fix="convert it, such as km/h divided by 3.6")
    spec = Variable("wind_factor", "wind factor, RWEQ Wf", "m3 s-3", meaning="wind of a period above the threshold")
    _require_distribution(stack, days, weibull_shape)
    options = {"threshold": float(threshold_m_s), "height_factor": (2.0 / height_m) ** (1.0 / 7.0), "days": float(days)}
    attrs: dict[str, Any] = {"days": float(days)}
    if weibull_shape is not None:
        options["shape"] = attrs["weibull_shape"] = float(weibull_shape)
        attrs["distribution"] = f"Weibull of shape {weibull_shape:g} around every mean speed"
    result = per_series(partial(_wind_work, **options), stack, dim="time", output=spec, attrs=attrs)
    return as_given(result, wind_speed)


def _require_distribution(stack: xr.DataArray, days: float, weibull_shape: float | None) -> None:
    """Reject means over long intervals, unless the distribution of the speeds around them is named."""
    if weibull_shape is not None:
        if not 0.5 <= weibull_shape <= 10:
            raise InputError(f"wind_factor: weibull_shape is {weibull_shape!r}, expected 0.5 to 10, such as 2")
        if stack.attrs.get("vector_components"):
            raise InputError(
                "wind_factor: the speeds are lengths of mean vectors, whose directions cancel; weibull_shape= needs "
                "means of the speed (such as ERA5 'si10')"
            )
        return
    interval = days / max(stack.sizes["time"], 1)
    if "time" in stack.coords and stack["time"].dtype.kind == "M" and stack.sizes["time"] > 1:
        steps = np.diff(np.sort(stack["time"].values)) / np.timedelta64(1, "D")
        interval = max(interval, float(steps.min()))  # January of ten years is ten observations, each of a month
    if interval > LONGEST_INTERVAL_DAYS:
        raise InputError(
            f"wind_factor: one wind observation in {interval:.3g} days, at most {LONGEST_INTERVAL_DAYS:g} days are "
            "accepted: means over longer intervals hide the storms that move soil and give 0; take hourly "
            "or daily wind, or pass weibull_shape=2 with means of the speed"
        )


def _wind_work(speed: Any, threshold: float, height_factor: float, days: float, shape: float | None = None) -> Any:
    if (speed < 0).any():
        raise InputError(
            f"wind_factor: wind_speed is {np.nanmin(speed):g}, expected at least 0; declare its nodata value"
        )
    if shape is not None:
        return days * _weibull_work(speed * height_factor, threshold, shape).mean(axis=1)
    return erosion.wind_work(speed, threshold, height_factor, days)


def _weibull_work(mean: npt.NDArray[Any], threshold: float, shape: float) -> npt.NDArray[Any]:
    """Expected u (u - ut)^2 over u > ut of speeds of a Weibull distribution with these means."""
    scale = np.maximum(mean / special.gamma(1 + 1 / shape), 1e-9)  # calm moves nothing; NaN stays NaN
    beyond = (threshold / scale) ** shape
    moments = [scale**n * special.gamma(1 + n / shape) * special.gammaincc(1 + n / shape, beyond) for n in (1, 2, 3)]
    return np.asarray(moments[2] - 2 * threshold * moments[1] + threshold**2 * moments[0])


def soil_dryness(
    potential_evapotranspiration: Cells | float,
    precipitation: Cells | float,
    rain_days: Cells | float,
    *,
    days: float,
    irrigation: Cells | float = 0.0,
) -> Cells:
    """Soil wetness factor SW of RWEQ: 1 on dry soil, 0 on wet.

    Parameters
    ----------
    potential_evapotranspiration, precipitation, irrigation : float, ndarray or DataArray, mm
        Of the period, >= 0.
    rain_days : float, ndarray or DataArray, d
        Days with rain or irrigation.
    days : float
        Length of the period, d.

    Returns
    -------
    float, ndarray or DataArray, 1
        (ETp - (R + I) Rd / Nd) / ETp, within 0 to 1; 0 where nothing evaporates.

    Raises
    ------
    InputError
        For negative amounts.

    Examples
    --------
    >>> soil_dryness(50.0, 20.0, 7.5, days=15)
    0.8
    """
    rain = "rain cannot be negative; declare its nodata value"
    for name, layer in (("precipitation", precipitation), ("irrigation", irrigation)):  # their sum has no units
        require_unit("soil_dryness", name, layer, "mm", fix=ADD_LAYER, period="month")
    inputs: dict[Argument, Cells | float] = {
        Argument("potential_evapotranspiration", 0.0, units="mm", period="month"): potential_evapotranspiration,
        Argument("precipitation", 0.0, units="mm", fix=rain, period="month"): precipitation + irrigation,
        Argument("rain_days", 0.0, units="d"): rain_days,
    }
    spec = Variable("soil_dryness", "soil wetness factor, RWEQ SW", "1", 0, 1, meaning="1 on dry soil")
    return per_cell(CellKernel("erosion", "dryness_cells", "soil_dryness", (float(days),)), inputs, spec)


def weather_factor(
    wind_factor: Cells | float,
    elevation: Cells | float,
    temperature: Cells | float,
    soil_dryness: Cells | float = 1.0,
    snow_free: Cells | float = 1.0,
    *,
    gravity: float = 9.8,
) -> Cells:
    """Weather factor WF of RWEQ for one period.

    Parameters
    ----------
    wind_factor : float, ndarray or DataArray, m3 s-3
    elevation : float, ndarray or DataArray, m
    temperature : float, ndarray or DataArray, degC
    soil_dryness : float, ndarray or DataArray, 1
        SW, 0 to 1.
    snow_free : float, ndarray or DataArray, 1
        SD, 1 less the chance of snow deeper than 25.4 mm; 0 to 1.
    gravity : float
        m s-2; 9.8 as the model was written.

    Returns
    -------
    float, ndarray or DataArray, kg m-1 (nominal)

    Raises
    ------
    InputError
        For values out of range.
    UnitsError
        For elevation not in m or temperature not in degC.

    Notes
    -----
    WF = Wf (rho / g) SW SD, rho = 348 (1.013 - 0.1183 EL + 0.0048 EL^2) / T with EL in km, T in K.

    Examples
    --------
    >>> round(weather_factor(1640.0, 4500.0, 0.0, 0.8, 0.9), 6)
    88.704045
    """
    inputs = {
        Argument("wind_factor", 0.0, units="m3 s-3"): wind_factor,
        Argument("elevation", -500.0, 9000.0, "m"): elevation,
        Argument("temperature", -100.0, 100.0, "degC"): temperature,
        Argument("soil_dryness", 0.0, 1.0, "1"): soil_dryness,
        Argument("snow_free", 0.0, 1.0, "1"): snow_free,
    }
    kernel = CellKernel("erosion", "weather_cells", "weather_factor", (float(gravity),))
    return per_cell(kernel, inputs, variable("weather_factor"))


def as_dataset(layers: dict[str, Any]) -> xr.Dataset:
    """Layers of any kind as one Dataset; a number has no dims, an array nameless ones."""
    first = next(iter(layers.values()))
    if isinstance(first, xr.DataArray):
        return xr.Dataset(layers)
    dims = tuple(f"cell_{k}" for k in range(np.ndim(first)))
    return xr.Dataset(
        {name: xr.DataArray(layer, dims=dims, attrs=variable(name).attributes()) for name, layer in layers.items()}
    )
