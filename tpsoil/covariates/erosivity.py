"""The rain factor of RUSLE, by method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.errors import InputError, require_one_of
from tpsoil.kernels import erosion
from tpsoil.units import Period, require_unit
from tpsoil.variables import variable

from .cells import ADD_LAYER, Argument, CellKernel, as_given, labelled_series, per_cell, per_series, typed_as
from .ranges import require_positive, require_range
from .water_erosion import R_US_TO_SI

Array = npt.NDArray[Any]

EROSIVITY: Final = {
    "wischmeier_si": "sum over months of 1.735 10^(1.5 log10(p^2/P) - 0.08188), taken as SI as printed",
    "wischmeier_us": "sum over months of 1.735 10^(1.5 log10(p^2/P) - 0.8188), US units, times 17.02",
    "zhang_fu_annual": "0.0534 P^1.6548, Zhang and Fu 2003; coefficients from the literature, to be checked",
    "zhang_fu_fournier": "0.3589 F^1.9462, F = sum p^2 / P, Zhang and Fu 2003; coefficients to be checked",
    "zhang_daily": "days of at least 12 mm, alpha sum D^beta, Zhang 2002; coefficients to be checked",
}
"""Methods of the R factor, by name. The two Wischmeier constants are both in print and differ three- to fivefold."""

FITTED_PRECIPITATION: Final = {"zhang_fu_annual": 400.0, "zhang_fu_fournier": 400.0}
"""Driest climate, mm a-1, of the relations of Zhang and Fu 2003. They were fitted to stations of China's region of
water erosion; 400 mm is the isohyet that bounds it. The precipitation of the stations themselves is to be checked:
the paper was not available. Maps from stations' rain depths overestimate R in most of western China, by a median of
162 % (Yue et al. 2022, doi 10.5194/essd-14-665-2022)."""


@dataclass(frozen=True)
class RegionalMean:
    """A published mean of R over a region, and what a method gives there.

    Parameters
    ----------
    published : float
        MJ mm ha-1 h-1 a-1.
    by_method : float
        Mean of the method's own R over the same region, MJ mm ha-1 h-1 a-1.
    reference : str
        Where the mean was published, and of which region.

    Raises
    ------
    InputError
        For means that are not above 0, and without a reference.

    Examples
    --------
    >>> round(RegionalMean(307.0, 1360.0, "a plateau").factor, 4)
    0.2257
    """

    published: float
    by_method: float
    reference: str

    def __post_init__(self) -> None:
        for name in ("published", "by_method"):
            require_positive("RegionalMean", name, getattr(self, name), "a mean of R")
        if not self.reference.strip():
            raise InputError("RegionalMean: reference is empty; cite where the mean was published")

    @property
    def factor(self) -> float:
        """What R is multiplied by."""
        return self.published / self.by_method


def rescale_erosivity(erosivity: xr.DataArray, regional: RegionalMean) -> xr.DataArray:
    """The R factor of RUSLE, rescaled so that its mean over a region is the published one.

    Parameters
    ----------
    erosivity : DataArray (y, x), MJ mm ha-1 h-1 a-1
        By the method of `regional.by_method`.
    regional : RegionalMean

    Returns
    -------
    DataArray (y, x), MJ mm ha-1 h-1 a-1
        With `rescaling`, `rescaling_factor`, `regional_mean`, `regional_mean_by_method` and `regional_reference` in the
        attributes. Lazy where the input is.

    Notes
    -----
    The pattern stays that of the method; the factor is of the region, not of the map, so a part of the region has
    its own mean.

    Examples
    --------
    >>> r = xr.DataArray([[1360.0, 680.0]], dims=("y", "x"))
    >>> rescale_erosivity(r, RegionalMean(307.0, 1360.0, "a plateau")).values.tolist()
    [[307.0, 153.5]]
    """
    rescaled = (erosivity * regional.factor).astype(erosivity.dtype).assign_attrs(erosivity.attrs)
    rescaled.name = erosivity.name
    rescaled.attrs |= {
        "rescaling": f"times {regional.factor:.4g}: published mean {regional.published:g} of a region over "
        f"{regional.by_method:g} by the method, {regional.reference}",
        "rescaling_factor": regional.factor,
        "regional_mean": regional.published,
        "regional_mean_by_method": regional.by_method,
        "regional_reference": regional.reference,
    }
    return rescaled


def tally_precipitation(method: str, layers: Mapping[str, Array]) -> dict[str, int]:
    """Of one chunk: cells with a value of R, and those drier than the climates of the relation."""
    has_value = np.isfinite(layers["rainfall_erosivity"])
    drier = has_value & (layers["annual_precipitation"] < FITTED_PRECIPITATION[method])
    return {"cells": int(np.count_nonzero(has_value)), "drier": int(np.count_nonzero(drier))}


def precipitation_notes(method: str, tallies: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line where cells are drier than the climates of the relation.

    Examples
    --------
    >>> precipitation_notes("zhang_fu_annual", [{"cells": 8, "drier": 2}, {"cells": 2, "drier": 2}])[0][:70]
    'rainfall_erosivity: 4 of 10 cells (40 %) have less than 400 mm a-1, th'
    """
    cells, drier = (sum(int(tally[name]) for tally in tallies) for name in ("cells", "drier"))
    if not drier:
        return []
    return [
        f"rainfall_erosivity: {drier} of {cells} cells ({100 * drier / cells:.3g} %) have less than "
        f"{FITTED_PRECIPITATION[method]:g} mm a-1, the driest climate of {method}; it overestimates R there"
    ]


@overload
def rainfall_erosivity(
    precipitation: xr.DataArray, *, method: str, temperature: Any = ..., years: float | None = ...
) -> xr.DataArray: ...
@overload
def rainfall_erosivity(
    precipitation: float | Sequence[Any] | Array, *, method: str, temperature: Any = ..., years: float | None = ...
) -> float | Array: ...
def rainfall_erosivity(
    precipitation: Any, *, method: str, temperature: Any = None, years: float | None = None
) -> xr.DataArray | float | Array:
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
        Years that the daily stack of "zhang_daily" spans; by default its days over 365.25.

    Returns
    -------
    float, ndarray or DataArray, MJ mm ha-1 h-1 a-1

    Raises
    ------
    InputError
        For an unknown method, negative rain, other than twelve months, temperature with an annual method, years with
        another method than "zhang_daily".
    UnitsError
        For rain that is not in mm a year, a month or a day, as the method takes it; for temperatures not in degC.

    Notes
    -----
    Monthly methods divide by the rain of the year, so P counts rain only where `temperature` is given. The relations of
    Zhang and Fu hold from about 400 mm a-1 on (`FITTED_PRECIPITATION`); the attribute `fitted_range` names it.

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
    require_one_of(where, "method", method, EROSIVITY)
    if years is not None and method != "zhang_daily":
        raise InputError(f"{where}: years has no effect on method '{method}', only on 'zhang_daily'; leave it out")
    layer_name = str(getattr(precipitation, "name", None) or "precipitation")
    attrs = {"parents": layer_name, "formula": EROSIVITY[method], "method": method}
    if method in FITTED_PRECIPITATION:
        attrs["fitted_range"] = f"precipitation of at least {FITTED_PRECIPITATION[method]:g} mm a-1, mostly rain"
    spec = variable("rainfall_erosivity")
    if method == "zhang_fu_annual":
        if temperature is not None:
            raise InputError(f"{where}: temperature is used month by month, an annual method cannot take it")
        fix = "rain cannot be negative; declare its nodata value"
        rain = Argument("precipitation", 0.0, units="mm", fix=fix, period="year")
        kernel = CellKernel("erosion", "power_cells", where, (0.0534, 1.6548))
        annual: xr.DataArray | float | Array = per_cell(kernel, {rain: precipitation}, spec, attrs)
        return annual
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
        require_positive(where, "years", span)
        kernels[method] = partial(erosion.erosivity_daily, years=span)
    stacks = [stack] if temperature is None else [stack, labelled_series(where, temperature, dim, "temperature")]
    attrs["snow"] = "counted as rain" if temperature is None else "left out below 0 degC"
    result = per_series(
        partial(_of_rain, kernel=kernels[method]), *stacks, dim=dim, output=typed_as(spec, *stacks), attrs=attrs
    )
    return as_given(result, precipitation)


def _of_rain(rain: Array, temperature: Array | None = None, *, kernel: Callable[[Array], Array]) -> Array:
    """Checks rain, leaves out snow, and applies a kernel to (n, k) arrays."""
    where = "rainfall_erosivity"
    require_range(where, "precipitation", rain, 0.0, np.inf, "rain cannot be negative; declare its nodata value")
    if temperature is not None:
        fix = "temperatures are in degC; K is converted by add_layer"
        require_range(where, "temperature", temperature, -100.0, 100.0, fix)
        rain = np.where(temperature < 0.0, 0.0 * rain, rain + 0.0 * temperature)
    return np.asarray(kernel(rain))


def _fournier(rain: Array) -> Array:
    return erosion.power_cells(erosion.fournier_index(rain), 0.3589, 1.9462)
