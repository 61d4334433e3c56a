"""Climate and erosion by year, relative to the layers of the present: read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.units import conversion, convertible

Doubles = npt.NDArray[np.float64]

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "temperature_change": ("K", "degC"),
    "precipitation_factor": ("1", "%"),
    "water_erosion_factor": ("1", "%"),
    "wind_erosion_factor": ("1", "%"),
}
"""Columns of a series, in the order of the kernel, and their units. A temperature change is added, a factor
multiplies; in % it is a share of the present (80 % is a factor of 0.8)."""
NEUTRAL: Final = (0.0, 1.0, 1.0, 1.0)
YEAR_NAMES: Final = ("year", "year_bp")
PRESENT: Final = 1950
"""Calendar year that "before present" counts from."""
_WITH_UNIT: Final = re.compile(r"\s*([^\[\](){}]+?)\s*(?:[\[(]\s*([^\])]*?)\s*[\])])?\s*")


@dataclass(frozen=True)
class ClimateSeries:
    """Changes of climate and erosion by year; linear between the years.

    Parameters
    ----------
    years : tuple of float
        Calendar years, ascending; negative before the common era.
    changes : tuple of tuple of 4 floats
        Of each year: temperature change (K), factors of precipitation, water erosion and wind erosion.

    Raises
    ------
    InputError
        For fewer than two years, years out of order, and values that are not finite or negative factors.

    Examples
    --------
    >>> ClimateSeries((-19050, 1950), ((-5.0, 0.6, 0.8, 2.0), (0.0, 1.0, 1.0, 1.0))).at(-8550).tolist()
    [-2.5, 0.8, 0.9, 1.5]
    """

    years: tuple[float, ...]
    changes: tuple[tuple[float, float, float, float], ...]

    def __post_init__(self) -> None:
        if len(self.years) < 2 or len(self.years) != len(self.changes):
            raise InputError(
                f"climate series: {len(self.years)} years, {len(self.changes)} rows; expected 2 or more of each"
            )
        for k in range(1, len(self.years)):
            if not self.years[k] > self.years[k - 1]:
                raise InputError(
                    f"climate series: years are out of order: {self.years[k]:g} comes after {self.years[k - 1]:g} "
                    f"(row {k + 1}); sort them from the oldest, each year once"
                )
        values = np.array(self.changes, dtype=np.float64)
        if not np.isfinite(values).all():
            year = self.years[int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])]
            raise InputError(f"climate series: year {year:g} has a value that is missing or not finite")
        if (values[:, 1:] < 0).any():
            year = self.years[int(np.flatnonzero((values[:, 1:] < 0).any(axis=1))[0])]
            raise InputError(f"climate series: year {year:g} has a negative factor, expected 0 or more")

    def at(self, years: Any) -> Doubles:
        """Changes (..., 4) in years within the series."""
        values = np.array(self.changes)
        return np.stack([np.interp(years, self.years, values[:, k]) for k in range(len(COLUMNS))], axis=-1)


def climate_series(table: pd.DataFrame, *, where: str = "climate series") -> ClimateSeries:
    """Climate and erosion by year from a table.

    Parameters
    ----------
    table : DataFrame
        As of `tpsoil.ingest.read_table`. A column `year` (calendar years, ascending) or `year_bp` (years before 1950,
        descending), and one or more of `temperature_change [K]`, `precipitation_factor [1]`,
        `water_erosion_factor [1]`, `wind_erosion_factor [1]`, each with its unit in brackets (factors also in %). What
        has no column does not change.
    where : str
        Named in messages.

    Returns
    -------
    ClimateSeries

    Raises
    ------
    InputError
        For unknown or missing columns, columns without a unit or of another unit, missing values, and years out of
        order.

    Examples
    --------
    >>> table = pd.DataFrame({"year_bp": [21_000, 0], "temperature_change [K]": [-4.0, 0.0]})
    >>> climate_series(table).years
    (-19050.0, 1950.0)
    """
    named: dict[str, tuple[str, float]] = {}
    for column in map(str, table.columns):
        match = _WITH_UNIT.fullmatch(column)
        key, unit = (match.group(1).strip(), match.group(2)) if match else (column, None)
        if key in YEAR_NAMES:
            named[key] = (column, 1.0)
            continue
        if key not in COLUMNS:
            raise InputError(f"{where}: unknown column '{column}'{nearest_name(key, [*YEAR_NAMES, *COLUMNS])}")
        expected = " or ".join(f"'{key} [{one}]'" for one in COLUMNS[key])
        if not unit:
            raise InputError(f"{where}: column '{column}' has no unit; name it {expected}")
        if unit not in COLUMNS[key] and not (key == "temperature_change" and convertible(unit, "K")):
            raise InputError(f"{where}: column '{column}' has unit '{unit}', expected {expected}")
        named[key] = (column, conversion(unit, COLUMNS[key][0], where=where).factor)
    years = [key for key in YEAR_NAMES if key in named]
    if len(years) != 1:
        raise InputError(f"{where}: has {' and '.join(years) or 'no column year or year_bp'}; expected one of them")
    if not set(named) & set(COLUMNS):
        raise InputError(f"{where}: has no change of climate or erosion; expected some of {', '.join(COLUMNS)}")
    table = table.copy()
    for column, _ in named.values():
        numbers = pd.to_numeric(table[column], errors="coerce")
        if text := list(table[column][numbers.isna() & table[column].notna()].head(3)):
            raise InputError(f"{where}: column '{column}' has text such as {text}, expected numbers")
        table[column] = numbers
    values = table[named[years[0]][0]].to_numpy(float)
    if np.isnan(values).any():
        raise InputError(f"{where}: row {int(np.flatnonzero(np.isnan(values))[0]) + 1} has no year")
    rows = np.tile(NEUTRAL, (len(table), 1))
    for k, key in enumerate(COLUMNS):
        if key in named:
            column, factor = named[key]
            rows[:, k] = table[column].to_numpy(float) * factor
    calendar = PRESENT - values if years[0] == "year_bp" else values
    try:
        return ClimateSeries(tuple(map(float, calendar)), tuple((a, b, c, d) for a, b, c, d in rows.tolist()))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
