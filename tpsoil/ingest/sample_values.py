"""Values of samples: cells such as "<5", units, values that cannot be, and substituted detection limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.columns import describe_lines, numeric_column
from tpsoil.errors import UnitsError
from tpsoil.option_names import pass_option
from tpsoil.soil_properties import MG_KG, WHOLE_MG_KG, SoilProperty
from tpsoil.units import conversion, formula_in, mass_fraction, read_unit

Doubles = npt.NDArray[np.float64]

TYPICAL_MG_KG: Final[Mapping[str, float]] = {
    "Fe": 38000, "Mn": 600, "Zn": 50, "V": 100, "Cu": 30, "Ni": 40, "Mo": 1.7, "Al": 71000, "Ca": 13700, "K": 8300,
    "Mg": 5000, "Na": 6300, "P": 600, "Ti": 4000, "Cr": 100, "Sr": 200, "Ba": 430, "Pb": 10, "Co": 8,
}  # fmt: skip
"""Usual contents of soils (Lindsay 1979); only their order of magnitude is used, to see a wrong unit."""

SUSPECT: Final = 100.0
"""A median this many times above or below the usual content is taken for a wrong unit. Zn 27 mg/kg is 1.9 below."""

REPEATED: Final = 0.05
"""Share of an element's values at their minimum above which the minimum is taken as a substituted detection limit."""
FEWEST_REPEATED: Final = 3
"""Values at the minimum from which they can be that."""
BELOW_WORDS: Final = ("<lod", "<loq", "<dl", "<mdl", "<bdl", "bdl", "below detection", "below detection limit",
                      "<limit", "not detected", "未检出")  # fmt: skip
"""Cells without a number that mean a value below the detection limit."""


def numbers_and_limits(values: pd.Series, rows: npt.NDArray[np.int64], name: str) -> tuple[Doubles, Doubles]:
    """Numbers, and the limits of cells such as "<5"; the limit of "<LOD" is infinite until it is known.

    Parameters
    ----------
    values : Series
        As the table has them.
    rows : ndarray (n,), int
        Of the table, for the lines of messages.
    name : str
        Of the table.

    Returns
    -------
    numbers, limits : ndarray (n,)
        NaN where there is none.

    Raises
    ------
    InputError
        For text that is neither.
    """
    limits = np.full(len(values), np.nan)
    if values.dtype.kind in "fiub":
        return values.to_numpy(dtype=np.float64), limits
    text = values.astype("string").str.strip().str.replace("＜", "<", regex=False)
    words = text.str.lower().str.replace(" ", "", regex=False)
    unknown = words.isin([word.replace(" ", "") for word in BELOW_WORDS]).fillna(False).to_numpy(dtype=bool)
    below = text.str.match(r"[<≤]").fillna(False).to_numpy(dtype=bool) & ~unknown
    if below.any():
        stripped = pd.Series(text[below].str.lstrip("<≤= ").to_numpy(), name=values.name)
        stripped.attrs = dict(values.attrs)
        limits[below] = numeric_column(stripped, where=f"{name}, limits", rows=rows[below]).to_numpy()
    limits[unknown] = np.inf
    text = text.mask(pd.Series(below | unknown, index=text.index))
    text.name, text.attrs = values.name, dict(values.attrs)
    return numeric_column(text, where=name, rows=rows).to_numpy(), limits


def unit_change(declared: SoilProperty, unit: str | None, column: str, name: str) -> tuple[float, float]:
    """Factor and offset from a column's unit to the property's.

    Raises
    ------
    UnitsError
        For a unit that is not known or of another quantity, and for a column that is named for an oxide while its unit
        is not.
    """
    element = declared.symbol
    unit = declared.units if unit is None else unit
    change = conversion(unit, declared.units, where=f"{name}: '{element}'", substance=declared.substance)
    formula = "" if declared.units == "1" else formula_in(column) or formula_in(element)
    if formula and formula != declared.substance and not _names_substance(unit):
        fraction = mass_fraction(formula, declared.substance) if declared.substance else 0.0
        raise UnitsError(
            f"{name}: '{element}' is read from column '{column}', which is named for {formula}, in '{unit}'; "
            f"{pass_option('units', {element: f'{unit} {formula}'})} to convert it"
            + (f" (times {fraction:.4f})" if fraction else "")
            + f", or '{unit} as {declared.substance or 'Fe'}' if the numbers are of the element already"
        )
    return change.factor, change.offset


def _names_substance(unit: str) -> bool:
    try:
        return bool(read_unit(unit).substance)
    except UnitsError:  # a unit of the user's own
        return False


def require_possible(declared: SoilProperty, values: Doubles, rows: npt.NDArray[np.int64], table: pd.DataFrame) -> None:
    """Reject values that a property cannot have, such as 9 999 999 for missing; negative contents are not judged here.

    Parameters
    ----------
    declared : SoilProperty
    values : ndarray (n,)
        In the property's unit.
    rows : ndarray (n,), int
    table : DataFrame
        `attrs` has the lines, and `attrs["name"]` the name of the table.

    Raises
    ------
    UnitsError
    """
    name, element = table.attrs["name"], declared.symbol
    with np.errstate(invalid="ignore"):
        above = values > declared.high
        below = (values < declared.low) & (declared.low != 0)
    if not (above | below).any():
        return
    lines = describe_lines(above | below, table.attrs, rows)
    if declared.units == MG_KG and declared.high == WHOLE_MG_KG and above.any():
        raise UnitsError(
            f"{name}: '{element}' exceeds 1 000 000 mg kg-1, more than the soil itself, in {int(above.sum())} values "
            f"({lines}), up to {values[above].max():.8g}; correct them (a code for missing?), or "
            f"{pass_option('units')}"
        )
    extreme = values[above].max() if above.any() else values[below].min()
    raise UnitsError(
        f"{name}: '{element}' is outside {declared.range_text} in {int((above | below).sum())} values ({lines}), such "
        f"as {extreme:.8g}; correct them (a code for missing?), or name their unit: "
        f"{pass_option('units', {element: '...'})}"
    )


def check_magnitude(declared: SoilProperty, value: Doubles, name: str) -> None:
    """Reject an element whose median is a hundred times off a soil's usual content.

    Raises
    ------
    UnitsError
    """
    element = declared.symbol
    usual = TYPICAL_MG_KG.get(declared.substance) if declared.units == MG_KG else None
    median = float(np.nanmedian(value))
    if usual is None or median <= 0:
        return
    ratio = median / usual
    if 1 / SUSPECT <= ratio <= SUSPECT:
        return
    names = {1e-4: "%", 1e-3: "g kg-1", 1e3: "ug kg-1"}
    closest = names[min(names, key=lambda known: abs(np.log(ratio / known)))]
    oxide = OXIDES.get(declared.substance, "") if closest == "%" else ""
    raise UnitsError(
        f"{name}: '{element}' has a median of {median:.4g} mg kg-1, soils usually contain about {usual:g}: a ratio of "
        f"{ratio:.2g}, as if it were in {closest}; {pass_option('units', {element: closest})}, "
        + (f"'{closest} {oxide}' if it is the oxide, " if oxide else "")
        + f"or {pass_option('check_units', False)} if it is right"
    )


OXIDES: Final[Mapping[str, str]] = {
    "Fe": "Fe2O3", "Mn": "MnO", "Al": "Al2O3", "Ca": "CaO", "K": "K2O", "Mg": "MgO", "Na": "Na2O", "P": "P2O5",
    "Ti": "TiO2", "Si": "SiO2", "Cr": "Cr2O3",
}  # fmt: skip
"""Oxides that major elements are reported as."""


@dataclass(frozen=True)
class RepeatedMinimum:
    """Values of one property at their minimum, in so many rows that it is taken as a substituted detection limit.

    Parameters
    ----------
    value : float
        The minimum.
    count, valid : int
        Values at the minimum, and all values.
    limit : float
        The detection limit that follows: twice the value, as half the limit is substituted, or the next higher value
        where that is lower.
    """

    value: float
    count: int
    valid: int
    limit: float

    @property
    def share(self) -> float:
        """Of all values."""
        return self.count / self.valid


def repeated_minimum(values: npt.ArrayLike) -> RepeatedMinimum | None:
    """The minimum of a property, where more than 5 % of its values, and 3 or more, lie at it; else None.

    Parameters
    ----------
    values : array_like (n,)
        NaN is missing.

    Returns
    -------
    RepeatedMinimum or None

    Notes
    -----
    Laboratories replace values below a detection limit L by L/2 (also by L / sqrt(2) or L). A measured continuous
    quantity has no such atom at its minimum; a coarsely rounded one can, so the rows are reported and not changed
    unless the caller asks for it.

    Examples
    --------
    >>> repeated_minimum([2.5] * 3 + [6.0, 7.5, 8.0, 9.0])
    RepeatedMinimum(value=2.5, count=3, valid=7, limit=5.0)
    >>> repeated_minimum([2.5, 6.0, 7.5]) is None
    True
    """
    array = np.asarray(values, dtype=np.float64)
    known = array[np.isfinite(array)]
    if not known.size or not (lowest := float(known.min())) > 0:
        return None
    count = int((known == lowest).sum())
    if count < FEWEST_REPEATED or count <= REPEATED * known.size or count == known.size:
        return None
    following = float(known[known > lowest].min())
    return RepeatedMinimum(lowest, count, int(known.size), min(2 * lowest, following))
