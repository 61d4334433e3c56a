"""Units: read, compared and converted here and nowhere else.

A small grammar and not pint: pint reads "mm a-1" as a difference and "C" as coulomb, and supports neither sums of a
period nor oxides; here a unit with two meanings in field tables ("ton", "mg ha-1", "kg/m s") is rejected with a
suggestion.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from .constants import ATOMIC_WEIGHTS
from .errors import UnitsError
from .unit_text import DAYS_A_YEAR, LENGTH, NUMBER, SECONDS, Unit, formula_in, mass_fraction, read_unit

__all__ = [
    "DAYS_A_YEAR", "Conversion", "Period", "Unit", "conversion", "convertible", "formula_in", "is_rate_of",
    "mass_fraction", "range_text", "read_unit", "require_unit", "same_unit", "unit_times_area",
]  # fmt: skip

Period = Literal["", "year", "month", "day"]


class Conversion(NamedTuple):
    """value in the expected unit = value * factor + offset."""

    factor: float
    offset: float


def conversion(source_unit: str, expected: str, *, where: str, period: Period = "", substance: str = "") -> Conversion:
    """Factor and offset from one unit to another.

    Parameters
    ----------
    source_unit : str
        As the source states it; a bare number is a multiple of `expected`, for scaled integers.
    expected : str
    where : str
        Named in the error.
    period : {"", "year", "month", "day"}
        Of an amount that is summed over a period, such as precipitation in mm: rates convert to the sum of the period
        and kg m-2 of water to mm. A rate of a longer period, and days to months of unequal length, are rejected.
    substance : str
        Element or compound that a mass refers to: "Fe" for iron. Oxides convert by their molar masses.

    Returns
    -------
    Conversion

    Raises
    ------
    UnitsError
        For a unit that is not known, of another quantity, of another substance, or with two readings.

    Examples
    --------
    >>> conversion("K", "degC", where="t2m")
    Conversion(factor=1.0, offset=-273.15)
    >>> conversion("mm month-1", "mm", where="rain", period="year").factor
    12.0
    >>> round(conversion("% Fe2O3", "mg kg-1", where="iron", substance="Fe").factor, 1)
    6994.3
    """
    if source_unit.strip() == expected.strip():  # also a unit that only the user defines
        return Conversion(1.0, 0.0)
    try:
        target = read_unit(expected)
        unit = read_unit(source_unit)
        if unit.number:
            return Conversion(float(unit.factor), 0.0)
        unit = _summed(unit, target, period)
        chemical = _chemical_factor(unit.substance, substance)
        _require_same_quantity(unit, target)
    except UnitsError as error:
        raise UnitsError(
            f"{where}: units '{source_unit}' cannot be converted to '{expected}': {error}; pass a unit such as "
            f"units='{expected}', or a number and a unit such as units='0.1 {expected}'"
        ) from None
    factor = float(unit.factor / target.factor)
    return Conversion(factor * chemical, float((unit.offset - target.offset) / target.factor))


def convertible(source_unit: str, expected: str, *, period: Period = "", substance: str = "") -> bool:
    """Whether `conversion` accepts a unit.

    Examples
    --------
    >>> convertible("kelvin", "degC"), convertible("Celsius (approx.)", "degC")
    (True, False)
    """
    try:
        conversion(source_unit, expected, where="", period=period, substance=substance)
    except UnitsError:
        return False
    return True


def same_unit(source_unit: str, expected: str, *, period: Period = "") -> bool:
    """Whether two texts are spellings of one unit, so that numbers need no change.

    Examples
    --------
    >>> [same_unit(text, "t ha-1 a-1") for text in ("t/ha/yr", "Mg ha-1 a-1", "mg ha-1 a-1")]
    [True, True, False]
    >>> same_unit("mm month-1", "mm", period="month"), same_unit("mm month-1", "mm", period="year")
    (True, False)
    """
    if source_unit.strip() == expected.strip():
        return True
    try:
        unit = read_unit(source_unit)
        return not unit.substance and conversion(source_unit, expected, where="", period=period) == (1.0, 0.0)
    except UnitsError:
        return False


def is_rate_of(source_unit: str, amount: str) -> bool:
    """Whether a unit is a rate that sums to an amount over days or months.

    Examples
    --------
    >>> is_rate_of("kg m-2 s-1", "mm"), is_rate_of("mm", "mm"), is_rate_of("m s-1", "m s-1")
    (True, False, False)
    """
    try:
        if read_unit(amount).per or not read_unit(source_unit).per:
            return False
    except UnitsError:
        return False
    return convertible(source_unit, amount, period="day") or convertible(source_unit, amount, period="month")


def range_text(low: float, high: float, units: str) -> str:
    """A range with its unit, for messages.

    Examples
    --------
    >>> range_text(0, 100, "%"), range_text(0, float("nan"), "mm"), range_text(0, 1, "1")
    ('0 to 100 %', 'at least 0 mm', '0 to 1')
    """
    unit = "" if units == "1" else f" {units}"
    if math.isfinite(low) and math.isfinite(high):
        return f"{low:g} to {high:g}{unit}"
    if math.isfinite(low):
        return f"at least {low:g}{unit}"
    return f"at most {high:g}{unit}" if math.isfinite(high) else "a finite number"


def require_unit(where: str, name: str, layer: Any, expected: str, *, fix: str, period: Period = "") -> None:
    """Reject a layer whose `units` attribute is another unit than the expected one.

    Parameters
    ----------
    where, name : str
        The function and the argument, for the message.
    layer : DataArray or other
        Anything without `attrs`, and a DataArray without the attribute, passes.
    expected : str
    fix : str
        Tail of the message.
    period : {"", "year", "month", "day"}
        As in `conversion`.

    Raises
    ------
    UnitsError
    """
    stated = getattr(layer, "attrs", {}).get("units")
    if stated is None or not str(stated).strip() or same_unit(str(stated), expected, period=period):
        return
    raise UnitsError(f"{where}: {name} has units '{stated}', expected '{expected}'{_of(period)}; {fix}")


_PER_AREA = {"m-2": 1.0, "ha-1": 1e-4, "km-2": 1e-6}
_LENGTHS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}


def unit_times_area(unit: str) -> tuple[str, float]:
    """Unit of a quantity that is summed over an area, and the factor from the quantity times m2.

    Parameters
    ----------
    unit : str
        Of the catalogue's form, such as "t ha-1 a-1".

    Examples
    --------
    >>> unit_times_area("t ha-1 a-1"), unit_times_area("m"), unit_times_area("mm"), unit_times_area("degC")
    (('t a-1', 0.0001), ('m3', 1.0), ('m3', 0.001), ('degC m2', 1.0))
    """
    words = unit.split()
    for word in words:
        if word in _PER_AREA:
            return " ".join(one for one in words if one != word), _PER_AREA[word]
    if words and words[0] in _LENGTHS:
        return " ".join(["m3", *words[1:]]), _LENGTHS[words[0]]
    return " ".join([*(word for word in words if word != "1"), "m2"]), 1.0


def _chemical_factor(source: str, expected: str) -> float:
    if not source or source == expected:
        return 1.0
    if not expected:
        raise UnitsError(f"it is a content of {source}, the layer is none of a substance")
    if expected in ATOMIC_WEIGHTS and (share := mass_fraction(source, expected)):
        return share
    shared = [e for e in ATOMIC_WEIGHTS if e != "O" and mass_fraction(source, e) and mass_fraction(expected, e)]
    if not shared:
        raise UnitsError(f"{source} has no {expected}")
    return mass_fraction(source, shared[0]) / mass_fraction(expected, shared[0])


def _summed(unit: Unit, target: Unit, period: Period) -> Unit:
    """An amount of the period, where the unit is a rate or a mass of water on an area."""
    if not period or target.dimensions != LENGTH:
        return unit
    length, mass, time, *rest = unit.dimensions
    factor = unit.factor
    if (length, mass) == (-2, 1):  # 1 kg m-2 of water is 1 mm
        length, mass, factor = 1, 0, factor / 1000
    if time == -1:
        shorter = period != "month" and unit.per in SECONDS and SECONDS[unit.per] <= SECONDS[period]
        if unit.per != period and not shorter:
            raise UnitsError(f"a rate of another period than the {period} that is summed")
        factor, time = factor * SECONDS[period], 0
    return Unit(factor, unit.offset, (length, mass, time, rest[0], rest[1]), unit.share, unit.substance)


def _require_same_quantity(unit: Unit, target: Unit) -> None:
    if unit.dimensions != target.dimensions:
        raise UnitsError("it is a unit of another quantity")
    if unit.dimensions != NUMBER:
        return
    if unit.share == "mass" and unit.factor > 1:
        raise UnitsError("a content above the mass of the soil, Mg is megagram and mg is milligram")
    plain = target.factor == 1 and not target.share
    if unit.share and unit.share != target.share and (plain or target.share or unit.share != "mass"):
        raise UnitsError(f"it is a share of {unit.share}")


def _of(period: str) -> str:
    return f" (the sum of a {period})" if period else ""
