"""Element samples: any table of concentrations -> one tidy table, checked.

One row a sample and element: `site`, `replicate`, `element`, `value` (mg/kg, NaN where there is none),
`detection_limit`, `censored`; then the sample's other columns. Units change here and nowhere else.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.columns import describe_lines, numeric_column
from tpsoil.errors import InputError, nearest_name, require_named, require_one_of
from tpsoil.option_names import pass_option
from tpsoil.points import position_groups, position_pairs
from tpsoil.soil_properties import WHOLE_MG_KG, SoilProperty, known_property

from .sample_positions import with_degrees
from .sample_values import check_magnitude, numbers_and_limits, repeated_minimum, require_possible, unit_change
from .tables import read_table, require_columns

Doubles = npt.NDArray[np.float64]
Piece = tuple[pd.Series, npt.NDArray[np.float64] | None, npt.NDArray[np.int64], list[str]]
"""Values, limits, rows of the table, and columns that belong to them."""


def read_samples(
    source: str | os.PathLike[str] | pd.DataFrame,
    elements: Sequence[str] | Mapping[str, str] | None = None,
    *,
    site: str | None = None,
    replicate: str | None = None,
    units: str | Mapping[str, str] | None = None,
    properties: Mapping[str, SoilProperty] | None = None,
    limits: Mapping[str, float] | None = None,
    negative: Literal["error", "censor"] = "error",
    empty: Literal["missing", "censored"] = "missing",
    at_minimum: Literal["keep", "censor"] = "keep",
    coordinates: tuple[str, str] | None = None,
    crs: str | None = None,
    check_units: bool = True,
    encoding: str = "utf-8",
    where: str | None = None,
) -> pd.DataFrame:
    """Read samples of elements and other soil properties into one tidy table.

    Parameters
    ----------
    source : path or DataFrame
        Wide (a column an element) or long (columns `element` and `value`). A cell such as "<5" is a value below a
        detection limit of 5, "<LOD" one below the limit of `limits`. Not changed.
    elements : sequence of str, or mapping of element to column, optional
        Needed for a wide table; of a long one, those to keep.
    site : str, optional
        Column that names the site. By default `site` where there is one; else rows at one position are one site, with
        a warning, and without positions every row is a site.
    replicate : str, optional
        Column that distinguishes a site's samples. By default `replicate` where there is one, else they are numbered.
    units : str or mapping of element to str, optional
        Of the values and limits as they come: mg kg-1, ppm, %, g kg-1, ug kg-1; oxides as "% Fe2O3", which convert by
        their molar masses. By default the unit of each property: mg kg-1 of elements, 1 of pH, % of organic carbon.
    properties : mapping of element to SoilProperty, optional
        Of names that `tpsoil.soil_properties.PROPERTIES` does not have, or in place of those. A name that is neither
        is a content in mg kg-1.
    limits : mapping of element to float, optional
        Detection limits in those units, where the table has no column `detection_limit` (long) or `Fe_limit` (wide).
    negative : {"error", "censor"}
        Negative readings are rejected, or taken as below the detection limit.
    empty : {"missing", "censored"}
        What an empty cell is: not measured, or not detected. Instruments that print nothing below their limit need
        "censored"; else the detects alone are mapped, and they lie too high.
    at_minimum : {"keep", "censor"}
        Values at an element's minimum, where more than 5 % of its values and 3 or more lie at it: a detection limit
        was probably replaced by half of it. They are counted, with a warning, and kept; or they are censored at
        twice the value, or at the next higher value where that is lower.
    coordinates : (east, north), optional
        Names of the columns of the position; by default those that `tpsoil.points` recognises.
    crs : str, optional
        Of x and y, such as "EPSG:32646": the table then has `lon` and `lat`, and the columns become `original_x` and
        `original_y`. Without it x and y are in the CRS of the cube that the samples are placed on.
    check_units : bool
        Reject contents above 1 000 000 mg/kg, and an element whose median is a hundred times off a soil's usual one.
    encoding : str
        Of files; as in `read_table`.
    where : str, optional
        Named in messages.

    Returns
    -------
    DataFrame
        `site`, `replicate`, `element`, `value` (float64, in the property's unit, mg/kg of elements; NaN where missing
        or censored), `detection_limit` (NaN where unknown), `censored` (bool), then the other columns.
        `.attrs["counts"]` has, by element, rows, valid, missing, censored and negative; `.attrs["at_minimum"]` the
        repeated minimum of each element that has one: value, count, valid, limit and whether it was censored.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    InputError
        For missing columns, text, negative values, an element without a valid value, samples given twice, units or
        limits of an element that is not read, a crs without x and y or of another place.
    UnitsError
        For an unknown unit, an oxide's column whose unit does not name the oxide, values that the property cannot have,
        or a median as of another unit; the message has the ratio.

    Examples
    --------
    >>> table = pd.DataFrame({"site": ["a", "a", "b"], "Zn": ["61", "<5", "48"]})
    >>> read_samples(table, ["Zn"])[["site", "replicate", "value", "detection_limit", "censored"]].values.tolist()
    [['a', 1, 61.0, nan, False], ['a', 2, nan, 5.0, True], ['b', 1, 48.0, nan, False]]
    """
    name = where or ("samples" if isinstance(source, pd.DataFrame) else os.fspath(source))
    for option, value, allowed in (
        ("negative", negative, ("error", "censor")), ("empty", empty, ("missing", "censored")),
        ("at_minimum", at_minimum, ("keep", "censor")),
    ):  # fmt: skip
        require_one_of(name, option, value, allowed)
    table = read_table(source, encoding=encoding, where=name)
    long = {"element", "value"} <= set(table.columns)
    if elements is None and not long:
        raise InputError(f"{name}: which columns are elements? give elements=['Fe', ...]")
    table = with_degrees(table, coordinates, crs, name)
    sites, numbers = _identity(table, site, replicate, long, name)
    pieces = _pieces(table, elements, long, name)
    for option, by_element in (("units", units), ("limits", limits)):
        if isinstance(by_element, Mapping):
            require_named(f"{name}: {option}", by_element, pieces, "element")
    reserved = {site or "site", replicate or "replicate", "element", "value", "detection_limit", "censored"}
    used = {column for piece in pieces.values() for column in piece[3]}
    others = [column for column in table.columns if column not in reserved | used]
    table.attrs = {**table.attrs, "name": name, "at_minimum": {}}
    reading = _Reading(
        table, units, dict(properties or {}), dict(limits or {}), negative, empty, at_minimum, check_units
    )
    counts: dict[str, dict[str, int]] = {}
    parts = []
    for element, piece in pieces.items():
        values, counts[element] = reading.values_of(element, piece)
        rows = piece[2]
        keys = {"site": sites.to_numpy()[rows], "replicate": numbers.to_numpy()[rows], "element": element}
        parts.append(pd.DataFrame({**keys, **values, **{column: table[column].to_numpy()[rows] for column in others}}))
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
    tidy.attrs["at_minimum"] = table.attrs["at_minimum"]
    return tidy


@dataclass(frozen=True, eq=False)
class _Reading:
    """How the values of each property are read; the options of `read_samples`."""

    table: pd.DataFrame
    units: str | Mapping[str, str] | None
    properties: Mapping[str, SoilProperty]
    limits: Mapping[str, float]
    negative: str
    empty: str
    at_minimum: str
    check_units: bool

    def values_of(self, element: str, piece: Piece) -> tuple[dict[str, npt.NDArray[Any]], dict[str, int]]:
        """`value`, `detection_limit` and `censored` of one property, and its counts."""
        values, own_limits, rows, columns = piece
        name = self.table.attrs["name"]
        declared = self.properties.get(element) or known_property(element) or SoilProperty("content", high=WHOLE_MG_KG)
        declared = replace(declared, symbol=element)
        parsed, written = numbers_and_limits(values, rows, name)
        limit = own_limits if own_limits is not None else np.full(len(rows), np.nan)
        limit = np.where(np.isfinite(written), written, limit)
        if element in self.limits:
            limit = np.where(np.isfinite(limit), limit, float(self.limits[element]))
        unit = self.units if isinstance(self.units, str) or self.units is None else self.units.get(element)
        factor, offset = unit_change(declared, unit, columns[0] if columns else element, name)
        parsed, limit = parsed * factor + offset, limit * factor + offset
        require_possible(declared, parsed, rows, self.table)
        below_zero = (parsed < 0) & (declared.low == 0)
        if below_zero.any() and self.negative == "error":
            lines = describe_lines(below_zero, self.table.attrs, rows)
            raise InputError(
                f"{name}: '{element}' is negative in {int(below_zero.sum())} rows ({lines}); "
                f"a content cannot be: correct it, or {pass_option('negative', 'censor')} to take it as below the "
                "detection limit"
            )
        blank = np.isnan(parsed) & np.isnan(written)
        with np.errstate(invalid="ignore"):
            censored = ~np.isnan(written) | below_zero | (parsed < limit)
        if self.empty == "censored":
            censored |= blank
        censored, limit = self._of_minimum(element, np.where(censored, np.nan, parsed), censored, limit)
        value = np.where(censored, np.nan, parsed)
        counts = {
            "rows": len(rows),
            "valid": int(np.isfinite(value).sum()),
            "missing": int((np.isnan(value) & ~censored).sum()),
            "censored": int(censored.sum()),
            "negative": int(below_zero.sum()),
        }
        if not counts["valid"]:
            raise InputError(
                f"{name}: '{element}' has no valid value in {len(rows)} rows ({counts['missing']} missing, "
                f"{counts['censored']} below the detection limit); leave the element out"
            )
        if self.check_units:
            check_magnitude(declared, value, name)
        return {"value": value, "detection_limit": limit, "censored": censored}, counts

    def _of_minimum(
        self, element: str, value: Doubles, censored: npt.NDArray[np.bool_], limit: Doubles
    ) -> tuple[npt.NDArray[np.bool_], Doubles]:
        """Flags and limits after a repeated minimum was censored or kept."""
        repeated = repeated_minimum(value)
        if repeated is None:
            return censored, limit
        treated = self.at_minimum == "censor"
        self.table.attrs["at_minimum"][element] = {**asdict(repeated), "censored": treated}
        treatment = (
            f"they are censored at {repeated.limit:.6g}"
            if treated
            else f"they are kept as measured: pass at_minimum='censor' (limit {repeated.limit:.6g}) or limits="
        )
        warnings.warn(
            f"{self.table.attrs['name']}: {repeated.count} of {repeated.valid} values of '{element}' "
            f"({100 * repeated.share:.0f} %) are the minimum {repeated.value:.6g}, as where a detection limit was "
            f"replaced by half of it; {treatment}",
            stacklevel=4,
        )
        here = (value == repeated.value) & treated
        limit = np.where(here & ~np.isfinite(limit), repeated.limit, limit)
        return censored | here, limit


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
            f"{len(np.unique(codes))} sites, {repeated} of them with replicates; {pass_option('site')} if they are not",
            stacklevel=4,
        )
    return codes + 1


def _pieces(
    table: pd.DataFrame, elements: Sequence[str] | Mapping[str, str] | None, long: bool, name: str
) -> dict[str, Piece]:
    """What the table has of each element: a column of a wide table, rows of a long one."""
    symbols = [str(e) for e in pd.unique(table["element"].dropna())] if long else []
    named = symbols if elements is None else elements
    labels = dict(named) if isinstance(named, Mapping) else {element: element for element in named}
    if not labels:
        raise InputError(f"{name}: no element was named; give elements=['Fe', ...]")
    if not long:
        require_columns(table, labels.values(), where=name)
    pieces: dict[str, Piece] = {}
    for element, label in labels.items():
        rows = np.flatnonzero((table["element"] == label).to_numpy(dtype=bool)) if long else np.arange(len(table))
        if not len(rows):
            raise InputError(f"{name}: no row of element '{label}'{nearest_name(label, symbols)}")
        column = "value" if long else label
        names = ("detection_limit",) if long else (f"{label}_limit".lower(), f"{label}_lod".lower())
        limits = [c for own in names for c in table.columns if str(c).lower() == own][:1]
        limit = numeric_column(table[limits[0]], where=name).to_numpy()[rows] if limits else None
        pieces[element] = (table[column].iloc[rows], limit, rows, [] if long else [column, *limits])
    return pieces
