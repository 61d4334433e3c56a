"""The rain factor of RUSLE, by method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.kernels import erosion
from tpsoil.units import Period, require_unit
from tpsoil.variables import Variable, variable

from .cells import ADD_LAYER, Argument, CellKernel, labelled_series, per_cell, per_series, require_known
from .ranges import require_range
from .water_erosion import R_US_TO_SI

Array = npt.NDArray[Any]

EROSIVITY: Final = {
    "wischmeier_si": "sum over months of 1.735 10^(1.5 log10(p^2/P) - 0.08188), taken as SI as printed",
    "wischmeier_us": "sum over months of 1.735 10^(1.5 log10(p^2/P) - 0.8188), US units, times 17.02",
    "zhang_fu_annual": "0.0534 P^1.6548, Zhang and Fu 2003; coefficients from the literature, to be checked",
    "zhang_fu_fournier": "0.3589 F^1.9462, F = sum p^2 / P, Zhang and Fu 2003; coefficients to be checked",
    "zhang_daily": "days of at least 12 mm, alpha sum D^beta, Zhang 2002; coefficients to be checked",
}
"""How the R factor is found, by name. The two Wischmeier constants are both in print and differ three- to fivefold."""


def rainfall_erosivity(precipitation: Any, *, method: str, temperature: Any = None, years: float | None = None) -> Any:
    """The R factor of RUSLE from rain sums.

    Parameters
    ----------
    precipitation : mm
        "zhang_fu_annual": annual sums, float, ndarray or DataArray. The monthly methods: twelve monthly sums, a
        DataArray with dim `month`, or an array or sequence with the months first. "zhang_daily": a DataArray with dim
        `time`, daily sums. >= 0.
    method : str
        One of `EROSIVITY`: wischmeier_si, wischmeier_us, zhang_fu_annual, zhang_fu_fournier, zhang_daily. There is no
        default: the two Wischmeier constants, 0.08188 (called SI) and 0.8188 (US units), are both in print and differ
        three- to fivefold.
    temperature : degC, optional
        Of the same months or days: precipitation below 0 degC is snow and does not count.
    years : float, optional
        Years that the daily stack spans; by default its days over 365.25.

    Returns
    -------
    float, ndarray or DataArray, MJ mm ha-1 h-1 a-1

    Raises
    ------
    InputError
        For an unknown method, negative rain, other than twelve months, temperature with an annual method.
    UnitsError
        For rain that is not in mm a year, a month or a day, as the method takes it; for temperatures not in degC.

    Notes
    -----
    Monthly methods divide by the rain of the year, so P counts rain only where `temperature` is given.

    References
    ----------
    Wischmeier and Smith 1978, USDA Agriculture Handbook 537. Renard and Freimund 1994,
    doi 10.1016/0022-1694(94)90110-4.

    Examples
    --------
    >>> months = [3, 5, 10, 20, 50, 85, 110, 100, 60, 20, 5, 2]
    >>> round(rainfall_erosivity(months, method="wischmeier_si"), 4)
    465.8383
    """
    where = "rainfall_erosivity"
    require_known(where, "method", method, EROSIVITY)
    named = str(getattr(precipitation, "name", None) or "precipitation")
    attrs = {"parents": named, "formula": EROSIVITY[method], "method": method}
    spec = variable("rainfall_erosivity")
    if method == "zhang_fu_annual":
        if temperature is not None:
            raise InputError(f"{where}: temperature is used month by month, an annual method cannot take it")
        fix = "rain cannot be negative; declare its nodata value"
        rain = Argument("precipitation", 0.0, units="mm", mend=fix, period="year")
        (result,) = per_cell(
            CellKernel("erosion", "power_cells", where, (rain,), (0.0534, 1.6548)),
            precipitation,
            outputs=[spec],
            attrs=attrs,
        )
        return result
    dim = "time" if method == "zhang_daily" else "month"
    stack = labelled_series(where, precipitation, dim)
    period: Period = "day" if dim == "time" else "month"
    require_unit(where, "precipitation", stack, "mm", fix=ADD_LAYER, period=period)
    require_unit(where, "temperature", temperature, "degC", fix=ADD_LAYER)
    kernels: dict[str, Any] = {
        "wischmeier_si": partial(erosion.erosivity_monthly, constant=0.08188, factor=1.0),
        "wischmeier_us": partial(erosion.erosivity_monthly, constant=0.8188, factor=R_US_TO_SI),
        "zhang_fu_fournier": _fournier,
    }
    if method == "zhang_daily":
        span = stack.sizes[dim] / 365.25 if years is None else float(years)
        if not span > 0:
            raise InputError(f"{where}: years is {years!r}, expected a number above 0")
        kernels[method] = partial(erosion.erosivity_daily, years=span)
    stacks = [stack] if temperature is None else [stack, labelled_series(where, temperature, dim, "temperature")]
    attrs["snow"] = "counted as rain" if temperature is None else "left out below 0 degC"
    result = per_series(_Rain(where, kernels[method]), *stacks, dim=dim, output=_typed(spec, *stacks), attrs=attrs)
    return result if isinstance(precipitation, xr.DataArray) else _unlabelled(result)


@dataclass(frozen=True)
class _Rain:
    """Checks rain, leaves out snow, and applies a kernel to (n, k) arrays."""

    where: str
    kernel: Any

    def __call__(self, rain: Array, temperature: Array | None = None) -> Array:
        require_range(
            self.where, "precipitation", rain, 0.0, np.inf, "rain cannot be negative; declare its nodata value"
        )
        if temperature is not None:
            require_range(
                self.where,
                "temperature",
                temperature,
                -100.0,
                100.0,
                "temperatures are in degC; K is converted by add_layer",
            )
            rain = np.where(temperature < 0.0, 0.0 * rain, rain + 0.0 * temperature)
        return np.asarray(self.kernel(rain))


def _fournier(rain: Array) -> Array:
    return erosion.power_cells(erosion.fournier_index(rain), 0.3589, 1.9462)


def _unlabelled(result: xr.DataArray) -> Any:
    return result.item() if result.ndim == 0 else result.values


def _typed(spec: Variable, *stacks: xr.DataArray) -> Variable:
    return spec if all(stack.dtype == np.float32 for stack in stacks) else replace(spec, dtype="float64")
