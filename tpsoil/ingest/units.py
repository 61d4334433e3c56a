"""Declared units to the catalogue's: a table of words and factors, nothing guessed."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tpsoil.constants import CELSIUS_ZERO_K
from tpsoil.errors import UnitsError


class Conversion(NamedTuple):
    """value in the catalogue's unit = value * factor + offset."""

    factor: float
    offset: float


DAYS_A_YEAR: Final = 365.2425
"""Mean Gregorian year."""

# For each unit of the catalogue: the words for it and for others of its kind, as value * factor + offset.
_FACTORS: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "degC": {
        "degC": (1, 0), "C": (1, 0), "celsius": (1, 0), "degree_Celsius": (1, 0), "degrees_C": (1, 0), "°C": (1, 0),
        "K": (1, -CELSIUS_ZERO_K), "kelvin": (1, -CELSIUS_ZERO_K), "degK": (1, -CELSIUS_ZERO_K),
        "degF": (5 / 9, -160 / 9), "F": (5 / 9, -160 / 9), "fahrenheit": (5 / 9, -160 / 9),
    },
    "m": {
        "m": (1, 0), "metre": (1, 0), "meter": (1, 0), "metres": (1, 0), "meters": (1, 0), "dm": (0.1, 0),
        "cm": (0.01, 0), "centimetre": (0.01, 0), "centimeter": (0.01, 0), "mm": (0.001, 0), "km": (1000, 0),
        "ft": (0.3048, 0), "foot": (0.3048, 0), "feet": (0.3048, 0), "in": (0.0254, 0),
        "us_survey_foot": (1200 / 3937, 0), "US survey foot": (1200 / 3937, 0),
    },
    "mm": {  # a year
        "mm": (1, 0), "mm a-1": (1, 0), "mm yr-1": (1, 0), "mm year-1": (1, 0), "kg m-2": (1, 0), "kg m-2 a-1": (1, 0),
        "cm": (10, 0), "cm a-1": (10, 0), "m": (1000, 0), "m a-1": (1000, 0), "in": (25.4, 0), "inch": (25.4, 0),
        "mm month-1": (12, 0), "mm mon-1": (12, 0), "mm d-1": (DAYS_A_YEAR, 0), "mm day-1": (DAYS_A_YEAR, 0),
        "m d-1": (1000 * DAYS_A_YEAR, 0), "m day-1": (1000 * DAYS_A_YEAR, 0),
        "mm s-1": (86400 * DAYS_A_YEAR, 0), "kg m-2 s-1": (86400 * DAYS_A_YEAR, 0),
    },
    "%": {
        "%": (1, 0), "percent": (1, 0), "1": (100, 0), "fraction": (100, 0), "kg kg-1": (100, 0), "g kg-1": (0.1, 0),
        "permille": (0.1, 0), "dg kg-1": (0.01, 0), "mg kg-1": (1e-4, 0), "ppm": (1e-4, 0), "g/100g": (1, 0),
    },
    "mg kg-1": {
        "mg kg-1": (1, 0), "ppm": (1, 0), "ug g-1": (1, 0), "g kg-1": (1000, 0), "%": (1e4, 0), "percent": (1e4, 0),
        "wt%": (1e4, 0), "ug kg-1": (1e-3, 0), "ppb": (1e-3, 0), "kg kg-1": (1e6, 0),
    },
    "kg m-3": {
        "kg m-3": (1, 0), "g cm-3": (1000, 0), "Mg m-3": (1000, 0), "t m-3": (1000, 0), "kg dm-3": (1000, 0),
        "cg cm-3": (10, 0),
    },
    "t ha-1 a-1": {
        "t ha-1 a-1": (1, 0), "t ha-1 yr-1": (1, 0), "Mg ha-1 a-1": (1, 0), "Mg ha-1 yr-1": (1, 0),
        "t km-2 a-1": (0.01, 0), "t km-2 yr-1": (0.01, 0), "kg m-2 a-1": (10, 0), "kg m-2 yr-1": (10, 0),
    },
    "1": {"1": (1, 0), "": (1, 0), "fraction": (1, 0), "dimensionless": (1, 0), "%": (0.01, 0), "percent": (0.01, 0),
          "ph": (1, 0), "pH": (1, 0)},
    "degree": {
        "degree": (1, 0), "degrees": (1, 0), "deg": (1, 0), "°": (1, 0), "rad": (57.29577951308232, 0),
        "radian": (57.29577951308232, 0), "radians": (57.29577951308232, 0),
    },
    "m-1": {"m-1": (1, 0), "cm-1": (100, 0), "km-1": (0.001, 0), "ft-1": (1 / 0.3048, 0)},
    "m a-1": {"m a-1": (1, 0), "m yr-1": (1, 0), "mm a-1": (1e-3, 0), "mm yr-1": (1e-3, 0), "m Ma-1": (1e-6, 0),
              "mm ka-1": (1e-6, 0), "cm a-1": (1e-2, 0)},
}  # fmt: skip

_NUMBER: Final = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*[*x]?\s*(.*)$")


def conversion(came: str, expected: str, *, where: str) -> Conversion:
    """Factor and offset from a declared unit to the catalogue's.

    Parameters
    ----------
    came : str
        A unit's name, or a number and a name for scaled integers: "K", "cm", "mm/month", "0.1 degC", "0.0001".
    expected : str
        The catalogue's unit.
    where : str
        Named in the error.

    Returns
    -------
    Conversion

    Raises
    ------
    UnitsError
        For a unit that is not known or not of that kind.

    Examples
    --------
    >>> conversion("K", "degC", where="t2m")
    Conversion(factor=1.0, offset=-273.15)
    >>> conversion("0.1 degC", "degC", where="bio1").factor
    0.1
    """
    table = _FACTORS.get(expected, {expected: (1.0, 0.0)})
    scale, word = 1.0, _spell(came)
    if word not in _spelled(table):
        number = _NUMBER.match(came)
        if number and float(number.group(1)) != 0:
            scale, word = float(number.group(1)), _spell(number.group(2))
            word = word or _spell(expected)
    known = _spelled(table)
    if word not in known:
        words = ", ".join(f"'{name}'" for name in list(table)[:8])
        raise UnitsError(
            f"{where}: units '{came}' cannot be converted to '{expected}'; expected one of {words}, "
            f"or a number and a unit such as units='0.1 {expected}'"
        )
    factor, offset = known[word]
    return Conversion(scale * factor, float(offset))


def understood(came: str, expected: str) -> bool:
    """Whether a file's own unit can be converted to the catalogue's.

    Examples
    --------
    >>> understood("kelvin", "degC"), understood("Celsius (approx.)", "degC")
    (True, False)
    """
    try:
        conversion(came, expected, where="")
    except UnitsError:
        return False
    return True


def _spell(unit: str) -> str:
    """One spelling: mm/yr, mm yr^-1, mm·a⁻¹ and mm a**-1 are `mm a-1`."""
    text = unit.strip().replace("⁻¹", "-1").replace("²", "2").replace("³", "3").replace("⁻", "-").replace("·", " ")
    text = text.replace("µ", "u").replace("μ", "u").replace("**", "").replace("^", "")
    first, *divisors = [part.strip() for part in text.split("/")]
    parts = [first] + [_inverted(divisor) for divisor in divisors]
    text = " ".join(" ".join(parts).replace(".", " ").split() if divisors else text.split())
    text = re.sub(r"\b(?:yr|year|years|annum)-1", "a-1", text)
    return text.lower() if len(text) > 3 and text.isalpha() else text


def _inverted(part: str) -> str:
    return " ".join(
        f"{word[:-1]}-{word[-1]}" if len(word) > 1 and word[-1].isdigit() and word[-2].isalpha() else f"{word}-1"
        for word in part.split()
    )


def _spelled(table: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {_spell(name): factors for name, factors in table.items()}
