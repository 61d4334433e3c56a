"""Element samples: any table of concentrations -> one tidy table, checked.

One row a sample and element: `site`, `replicate`, `element`, `value` (mg/kg, NaN where there is none),
`detection_limit`, `censored`; then the sample's other columns. Units change here and nowhere else.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.columns import describe_lines, numeric_column
from tpsoil.constants import ATOMIC_WEIGHTS
from tpsoil.errors import InputError, UnitsError, nearest_name
from tpsoil.points import position_groups, position_pairs
from tpsoil.units import conversion, formula_in, mass_fraction, read_unit

from .tables import read_table, require_columns

TYPICAL_MG_KG: Final[Mapping[str, float]] = {
    "Fe": 38000, "Mn": 600, "Zn": 50, "V": 100, "Cu": 30, "Ni": 40, "Mo": 1.7, "Al": 71000, "Ca": 13700, "K": 8300,
    "Mg": 5000, "Na": 6300, "P": 600, "Ti": 4000, "Cr": 100, "Sr": 200, "Ba": 430, "Pb": 10, "Co": 8,
}  # fmt: skip
"""Usual contents of soils (Lindsay 1979); only their order of magnitude is used, to see a wrong unit."""

SUSPECT: Final = 100.0
"""A median this many times above or below the usual content is taken for a wrong unit. Zn 27 mg/kg is 1.9 below."""


def read_samples(
    source: str | os.PathLike[str] | pd.DataFrame,
    elements: Sequence[str] | Mapping[str, str] | None = None,
    *,
    site: str | None = None,
    replicate: str | None = None,
    units: str | Mapping[str, str] = "mg kg-1",
    limits: Mapping[str, float] | None = None,
    negative: Literal["error", "censor"] = "error",
    empty: Literal["missing", "censored"] = "missing",
    check_units: bool = True,
    where: str | None = None,
) -> pd.DataFrame:
    """Read element samples into one tidy table.

    Parameters
    ----------
    source : path or DataFrame
        Wide (a column an element) or long (columns `element` and `value`). A cell such as "<5" is a value below a
        detection limit of 5. Not changed.
    elements : sequence of str, or mapping of element to column, optional
        Needed for a wide table; of a long one, those to keep.
    site : str, optional
        Column that names the site. By default `site` where there is one; else rows at one position are one site, with
        a warning, and without positions every row is a site.
    replicate : str, optional
        Column that distinguishes a site's samples. By default `replicate` where there is one, else they are numbered.
    units : str or mapping of element to str
        Of the values and limits as they come: mg kg-1, ppm, %, g kg-1, ug kg-1; oxides as "% Fe2O3", which convert by
        their molar masses.
    limits : mapping of element to float, optional
        Detection limits in those units, where the table has no column `detection_limit` (long) or `Fe_limit` (wide).
    negative : {"error", "censor"}
        Negative readings are rejected, or taken as below the detection limit.
    empty : {"missing", "censored"}
        What an empty cell is: not measured, or not detected. Instruments that print nothing below their limit need
        "censored"; else the detects alone are mapped, and they lie too high.
    check_units : bool
        Reject contents above 1 000 000 mg/kg, and an element whose median is a hundred times off a soil's usual one.
    where : str, optional
        Named in messages.

    Returns
    -------
    DataFrame
        `site`, `replicate`, `element`, `value` (float64, mg/kg; NaN where missing or censored), `detection_limit`
        (mg/kg; NaN where unknown), `censored` (bool), then the other columns. `.attrs["counts"]` has, by element,
        rows, valid, missing, censored and negative.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    InputError
        For missing columns, text, negative values, an element without a valid value, samples given twice.
    UnitsError
        For an unknown unit, an oxide's column whose unit does not name the oxide, contents above the total of the soil,
        or a median as of another unit; the message has the ratio.

    Examples
    --------
    >>> table = pd.DataFrame({"site": ["a", "a", "b"], "Zn": ["61", "<5", "48"]})
    >>> read_samples(table, ["Zn"])[["site", "replicate", "value", "detection_limit", "censored"]].values.tolist()
    [['a', 1, 61.0, nan, False], ['a', 2, nan, 5.0, True], ['b', 1, 48.0, nan, False]]
    """
    name = where or ("samples" if isinstance(source, pd.DataFrame) else os.fspath(source))
    table = read_table(source, where=name)
    long = {"element", "value"} <= set(table.columns)
    if elements is None and not long:
        raise InputError(f"{name}: which columns are elements? give elements=['Fe', ...]")
    sites, numbers = _identity(table, site, replicate, long, name)
    pieces = _long(table, elements, name) if long else _wide(table, elements or (), name)
    reserved = {site or "site", replicate or "replicate", "element", "value", "detection_limit", "censored"}
    used = {column for piece in pieces.values() for column in piece[3]}
    others = [column for column in table.columns if column not in reserved | used]
    counts: dict[str, dict[str, int]] = {}
    parts = []
    for element, (values, own_limits, rows, columns) in pieces.items():
        column = columns[0] if columns else element
        parsed, written = _below(values, rows, name)
        limit = own_limits if own_limits is not None else np.full(len(rows), np.nan)
        limit = np.where(np.isfinite(written), written, limit)
        if limits is not None and element in limits:
            limit = np.where(np.isfinite(limit), limit, float(limits[element]))
        factor = _factor(units, element, column, name)
        parsed, limit = parsed * factor, limit * factor
        _require_possible(element, parsed, describe_lines(parsed > WHOLE_MG_KG, table.attrs, rows), name)
        below_zero = parsed < 0
        if below_zero.any() and negative == "error":
            lines = describe_lines(below_zero, table.attrs, rows)
            raise InputError(
                f"{name}: '{element}' is negative in {int(below_zero.sum())} rows ({lines}); "
                "a content cannot be: correct it, or use negative='censor' to take it as below the detection limit"
            )
        blank = np.isnan(parsed) & ~np.isfinite(written)
        with np.errstate(invalid="ignore"):
            censored = np.isfinite(written) | below_zero | (parsed < limit)
        if empty == "censored":
            censored |= blank
        value = np.where(censored, np.nan, parsed)
        counts[element] = {
            "rows": len(rows),
            "valid": int(np.isfinite(value).sum()),
            "missing": int((np.isnan(value) & ~censored).sum()),
            "censored": int(censored.sum()),
            "negative": int(below_zero.sum()),
        }
        if not np.isfinite(value).any():
            raise InputError(
                f"{name}: '{element}' has no valid value in {len(rows)} rows ({counts[element]['missing']} missing, "
                f"{counts[element]['censored']} below the detection limit); leave the element out"
            )
        if check_units:
            _check_magnitude(element, value, factor, name)
        parts.append(
            pd.DataFrame(
                {
                    "site": sites.to_numpy()[rows],
                    "replicate": numbers.to_numpy()[rows],
                    "element": element,
                    "value": value,
                    "detection_limit": limit,
                    "censored": censored,
                    **{column: table[column].to_numpy()[rows] for column in others},
                }
            )
        )
    tidy = pd.concat(parts, ignore_index=True)
    repeated = tidy.duplicated(["site", "replicate", "element"])
    if repeated.any():
        first = tidy[repeated].iloc[0]
        raise InputError(
            f"{name}: {int(repeated.sum())} samples are given twice, the first is site '{first['site']}', replicate "
            f"{first['replicate']}, {first['element']}; give every replicate its own name"
        )
    for pair in position_pairs(tidy):
        for column in (pair.east, pair.north):
            tidy[column] = numeric_column(tidy[column], where=name)
    tidy.attrs["counts"] = counts
    return tidy


WHOLE_MG_KG: Final = 1e6
"""The total of the soil; a content above it is another unit, or a code for a missing value."""

Piece = tuple[pd.Series, npt.NDArray[np.float64] | None, npt.NDArray[np.int64], list[str]]


def _identity(
    table: pd.DataFrame, site: str | None, replicate: str | None, long: bool, name: str
) -> tuple[pd.Series, pd.Series]:
    require_columns(table, [c for c in (site, replicate) if c is not None], where=name)
    site = site or ("site" if "site" in table.columns else None)
    replicate = replicate or ("replicate" if "replicate" in table.columns else None)
    if site is None:
        sites = pd.Series(_sites_by_position(table, long, name), index=table.index)
    else:
        sites = table[site]
        if sites.isna().any():
            raise InputError(f"{name}: {int(sites.isna().sum())} rows have no site in column '{site}'; name their site")
    if replicate is not None:
        return sites, table[replicate]
    keys = [sites, table["element"]] if long else [sites]
    return sites, table.groupby(keys, sort=False).cumcount() + 1


def _sites_by_position(table: pd.DataFrame, long: bool, name: str) -> npt.NDArray[np.int64]:
    """Numbers of sites, from 1: rows at one position are one site; without positions every row is one."""
    codes = position_groups(table, where=name)
    if codes is None:
        return np.arange(1, len(table) + 1)
    samples = pd.DataFrame({"code": codes, "element": table["element"] if long else ""})
    repeated = int((samples.groupby("code").size() > samples.groupby("code")["element"].nunique()).sum())
    if repeated:
        warnings.warn(
            f"{name}: no column names the sites; rows at one position are taken as replicates of one site: "
            f"{len(np.unique(codes))} sites, {repeated} of them with replicates; pass site= if they are not",
            stacklevel=4,
        )
    return codes + 1


def _wide(table: pd.DataFrame, elements: Sequence[str] | Mapping[str, str], name: str) -> dict[str, Piece]:
    columns = dict(elements) if isinstance(elements, Mapping) else {element: element for element in elements}
    if not columns:
        raise InputError(f"{name}: no element was named; give elements=['Fe', ...]")
    require_columns(table, columns.values(), where=name)
    rows = np.arange(len(table))
    pieces: dict[str, Piece] = {}
    for element, column in columns.items():
        limit_column = next((c for c in (f"{column}_limit", f"{column}_lod") if c in table.columns), None)
        limit = None if limit_column is None else numeric_column(table[limit_column], where=name).to_numpy()
        pieces[element] = (table[column], limit, rows, [column, *([limit_column] if limit_column else [])])
    return pieces


def _long(table: pd.DataFrame, elements: Sequence[str] | Mapping[str, str] | None, name: str) -> dict[str, Piece]:
    symbols = [str(e) for e in pd.unique(table["element"].dropna())]
    columns = {e: e for e in symbols} if elements is None else (
        dict(elements) if isinstance(elements, Mapping) else {e: e for e in elements}
    )  # fmt: skip
    pieces: dict[str, Piece] = {}
    for element, label in columns.items():
        rows = np.flatnonzero((table["element"] == label).to_numpy(dtype=bool))
        if not len(rows):
            raise InputError(f"{name}: no row of element '{label}'{nearest_name(label, symbols)}")
        limit = None
        if "detection_limit" in table.columns:
            limit = numeric_column(table["detection_limit"], where=name).to_numpy()[rows]
        pieces[element] = (table["value"].iloc[rows], limit, rows, [])
    return pieces


def _below(
    values: pd.Series, rows: npt.NDArray[np.int64], name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Numbers, and the limits of cells such as "<5"."""
    limits = np.full(len(values), np.nan)
    if values.dtype.kind in "fiub":
        return values.to_numpy(dtype=np.float64), limits
    text = values.astype("string").str.strip()
    below = text.str.startswith("<").fillna(False).to_numpy(dtype=bool)
    if below.any():
        stripped = pd.Series(text[below].str.lstrip("<= ").to_numpy(), name=values.name)
        stripped.attrs = dict(values.attrs)
        limits[below] = numeric_column(stripped, where=f"{name}, limits", rows=rows[below]).to_numpy()
        text = text.mask(pd.Series(below, index=text.index))
    text.name, text.attrs = values.name, dict(values.attrs)
    return numeric_column(text, where=name, rows=rows).to_numpy(), limits


def _factor(units: str | Mapping[str, str], element: str, column: str, name: str) -> float:
    """From a column's unit to mg kg-1 of the element."""
    unit = units if isinstance(units, str) else units.get(element, "mg kg-1")
    substance = element if element in ATOMIC_WEIGHTS else ""
    change = conversion(unit, "mg kg-1", where=f"{name}: '{element}'", substance=substance)
    formula = formula_in(column) or formula_in(element)
    if formula and not read_unit(unit).substance:
        fraction = mass_fraction(formula, substance) if substance else 0.0
        raise UnitsError(
            f"{name}: '{element}' is read from column '{column}', which is named for {formula}, in '{unit}'; pass "
            f"units={{'{element}': '{unit} {formula}'}} to convert it"
            + (f" (times {fraction:.4f})" if fraction else "")
            + f", or '{unit} as {substance or 'Fe'}' if the numbers are of the element already"
        )
    return change.factor


def _require_possible(element: str, values: npt.NDArray[np.float64], lines: str, name: str) -> None:
    """Reject contents above the mass of the soil, such as 9 999 999 for missing."""
    above = values > WHOLE_MG_KG
    if above.any():
        raise UnitsError(
            f"{name}: '{element}' exceeds 1 000 000 mg kg-1, more than the soil itself, in {int(above.sum())} values "
            f"({lines}), up to {values[above].max():.8g}; correct them (a code for missing?), or see units="
        )


def _check_magnitude(element: str, value: npt.NDArray[np.float64], factor: float, name: str) -> None:
    usual = TYPICAL_MG_KG.get(element)
    median = float(np.nanmedian(value))
    if usual is None or median <= 0:
        return
    ratio = median / usual
    if 1 / SUSPECT <= ratio <= SUSPECT:
        return
    names = {1e-4: "%", 1e-3: "g kg-1", 1e3: "ug kg-1"}
    closest = min(names, key=lambda r: abs(np.log(ratio / r)))
    raise UnitsError(
        f"{name}: '{element}' has a median of {median:.4g} mg kg-1, soils usually contain about {usual:g}: a ratio of "
        f"{ratio:.2g}, as if it were in {names[closest]}; pass units={{'{element}': '{names[closest]}'}}, "
        "or check_units=False if it is right"
    )
