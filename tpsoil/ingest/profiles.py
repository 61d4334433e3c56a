"""Soil profiles -> one solum thickness a profile, in metres: from a thickness column, or from horizons.

The solum is everything above the C horizon: O, A, E and B horizons, with the transitions that are named for them first
(AB, BC). It ends at the top of the first C, R, D, M or W horizon; a buried horizon below that is no part of it.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, UnitsError
from tpsoil.points import PositionColumns, check_degrees, position_pairs
from tpsoil.sampling_depths import sampling_depths
from tpsoil.units import conversion

from .horizons import BELOW_SOLUM, UNKNOWN, master_horizon
from .tables import read_table, require_columns

THICKNESS_NAMES: Final = ("solum_thickness", "thickness", "solum", "solum_depth")
PROFILE_NAMES: Final = ("profile_id", "profile", "site_key", "site", "id")
TOP_NAMES: Final = ("top", "hzn_top", "upper_depth", "depth_top", "top_depth", "upper")
BOTTOM_NAMES: Final = ("bottom", "hzn_bot", "lower_depth", "depth_bottom", "bottom_depth", "lower")
DESIGNATION_NAMES: Final = ("designation", "hzn_desgn", "horizon", "hzn", "horizon_designation")

SCALE: Final[Mapping[str, float]] = {
    unit: conversion(unit, "m", where="profiles").factor for unit in ("m", "dm", "cm", "mm")
}
SURFACE_M: Final = 0.05
"""A first horizon that begins deeper leaves the surface undescribed."""
ORGANIC: Final = frozenset("OLFH")
"""Master letters of horizons that older surveys measure upward from the mineral surface."""
GAP_M: Final = 0.02
"""Gaps and overlaps between horizons up to this are slips of the pen."""
MAX_SOLUM_M: Final = 20.0
"""A thicker solum is another unit or another quantity, such as a borehole's depth."""
SAME_POSITION: Final = {True: 0.001, False: 100.0}
"""How far apart horizons of one pit may be placed: degrees (110 m), or metres; one survey rounds differently."""


def read_profiles(
    source: str | os.PathLike[str] | pd.DataFrame,
    *,
    units: str | None = None,
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """Read soil profiles: one row and one solum thickness each.

    Parameters
    ----------
    source : path of a CSV, or DataFrame
        Either a column of thickness, one row a profile; or one row a horizon with its top and bottom, the name of its
        profile, and, best, its designation. With positions: `lon`, `lat`, or `x`, `y`.
    units : {"m", "dm", "cm", "mm"}, optional
        Of thickness (m unless given) or of horizon depths (cm unless given).
    columns : mapping, optional
        Names of columns that are called otherwise: keys `thickness`, `profile`, `top`, `bottom`, `designation`.
    where : str, optional
        Named in messages.

    Returns
    -------
    DataFrame
        `profile_id`; `solum_thickness`, m (NaN where a profile's horizons do not give it); `censored`, true where the
        pit ended inside the solum, so that it is at least that thick; `basis`: "thickness", "designations", "depths" or
        "sampling depths";
        `problem`, empty or why the thickness is NaN; positions and all columns that are one per profile. `attrs` has
        `problems`, counts by reason; `assumption` for depths without designations; `unknown_designations`, counts by
        text; and `columns_left_out`, those that differ between the horizons of a profile.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    InputError
        For missing columns, text in a number column, swapped coordinates, an unknown unit.
    UnitsError
        For a median thickness above 10 m: these are centimetres.

    Notes
    -----
    Organic horizons that are measured upward from the mineral surface (Oe 5 to 0 cm, or -5 to 0 cm) count from their
    top: all depths of such a pit are shifted, and `attrs["organic_upward"]` has the number of pits.

    Layers without designations at fixed sampling depths, such as 0-10, 10-20, 20-40 cm in every pit
    (`tpsoil.sampling_depths`), do not end at a horizon: such a profile is censored, its `basis` is "sampling depths".

    Other horizons without designations: the deepest bottom is taken, on the study's statement that the surveys' pits
    end at the C horizon, with a warning. With designations but no horizon below the solum the profile is censored. A
    profile whose horizons are more than 0.001 degrees or 100 m apart, and one thicker than 20 m, has a `problem`.

    Warns
    -----
    UserWarning
        With counts, for thickness taken from depths alone, and for profiles without a thickness.

    Examples
    --------
    >>> pit = pd.DataFrame({"profile": ["a", "a", "a"], "top": [0, 20, 55], "bottom": [20, 55, 90],
    ...                     "designation": ["A", "Bw", "2C"], "lon": 91.0, "lat": 30.0})
    >>> read_profiles(pit)["solum_thickness"].tolist()
    [0.55]
    """
    column_names = dict(columns or {})
    unknown = sorted(set(column_names) - {"thickness", "profile", "top", "bottom", "designation"})
    if unknown:
        raise InputError(
            f"columns: {', '.join(unknown)} is not known; expected thickness, profile, top, bottom, designation"
        )
    if units is not None and units not in SCALE:
        raise InputError(f"units is {units!r}, expected one of {', '.join(SCALE)}")
    table = read_table(source, needed=tuple(column_names.values()), where=where)
    name = where or (os.fspath(source) if not isinstance(source, pd.DataFrame) else "profiles")
    thickness = _column(table, column_names.get("thickness"), THICKNESS_NAMES)
    top, bottom = (
        _column(table, column_names.get("top"), TOP_NAMES),
        _column(table, column_names.get("bottom"), BOTTOM_NAMES),
    )
    if thickness is None and (top is None or bottom is None):
        require_columns(
            table, ["solum_thickness"], where=f"{name} (neither a thickness nor horizons with top and bottom)"
        )
    if thickness is not None:
        profiles = _from_thickness(table, thickness, SCALE[units or "m"], column_names, name)
    else:
        profiles = _from_horizons(table, str(top), str(bottom), SCALE[units or "cm"], column_names, name)
    profiles = _with_positions(profiles, name)
    median = profiles["solum_thickness"].median()
    if median > 10.0:
        raise UnitsError(f"{name}: median thickness is {median:g} m; these look like centimetres, pass units='cm'")
    _report(profiles, name)
    return profiles


def _column(table: pd.DataFrame, column_name: str | None, names: Sequence[str]) -> str | None:
    if column_name is not None:
        return column_name
    lower = {str(column).lower(): str(column) for column in reversed(list(table.columns))}
    return next((lower[name] for name in names if name in lower), None)


def _numbers(table: pd.DataFrame, column: str, where: str) -> pd.Series[float]:
    # read_table checks number columns by name; the names are known only now.
    return read_table(table, numbers=(column,), where=where)[column]


def _from_thickness(
    table: pd.DataFrame, column: str, scale: float, column_names: Mapping[str, str], where: str
) -> pd.DataFrame:
    values = _numbers(table, column, where) * scale
    identity = _column(table, column_names.get("profile"), PROFILE_NAMES)
    profiles = table.drop(columns=[column])
    profiles["solum_thickness"] = values
    if identity is None:
        profiles["profile_id"] = np.arange(1, len(profiles) + 1)
    elif identity != "profile_id":
        profiles = profiles.rename(columns={identity: "profile_id"})
    if "censored" not in profiles:
        profiles["censored"] = False
    profiles["censored"] = profiles["censored"].map(_truth)
    profiles["basis"] = "thickness"
    profiles["problem"] = ""
    return profiles


def _truth(value: Any) -> bool:
    return str(value).strip().lower() in {"1", "1.0", "true", "yes", "y", "t"}


def _from_horizons(
    table: pd.DataFrame, top: str, bottom: str, scale: float, column_names: Mapping[str, str], where: str
) -> pd.DataFrame:
    identity = _column(table, column_names.get("profile"), PROFILE_NAMES)
    if identity is None:
        raise InputError(
            f"{where}: horizons need a column that names their profile; expected {', '.join(PROFILE_NAMES)}"
        )
    designation = _column(table, column_names.get("designation"), DESIGNATION_NAMES)
    work = table.copy()
    work["_top"], work["_bottom"] = _numbers(table, top, where) * scale, _numbers(table, bottom, where) * scale
    rows = []
    others = [c for c in table.columns if c not in {top, bottom, designation, identity}]
    constant = [c for c in others if (work.groupby(identity)[c].nunique(dropna=False) <= 1).all()]
    pair = next(iter(position_pairs(table)), None)
    placed = [] if pair is None else [pair.east, pair.north]
    for column in placed:
        work[column] = _numbers(table, column, where)
    unknown: Counter[str] = Counter()
    organic = 0
    for key, pit in work.groupby(identity, sort=False, dropna=True):
        pit = pit.sort_values(["_top", "_bottom"], kind="stable")
        masters = [master_horizon(name) for name in pit[designation]] if designation is not None else []
        unknown.update(str(name) for name, master in zip(pit.get(designation, ()), masters) if master == UNKNOWN)
        upward = _organic_upward(pit, masters)
        if upward > 0:
            organic += 1
            pit = _from_the_top(pit, upward)
            masters = [master_horizon(name) for name in pit[designation]]
        row: dict[str, Any] = {"profile_id": key}
        row.update({c: pit[c].iloc[0] for c in constant})
        row.update(_solum(pit["_top"].to_numpy(float), pit["_bottom"].to_numpy(float), masters))
        if pair is not None:
            _place(row, pit[placed].to_numpy(float), pair)
        rows.append(row)
    if not rows:
        raise InputError(f"{where}: column '{identity}' names no profile")
    design = sampling_depths(work, profile=identity, depths=("_top", "_bottom"))
    limits = {
        key: tuple(np.unique(pit[["_top", "_bottom"]].to_numpy(float)).tolist()) for key, pit in work.groupby(identity)
    }
    for row in rows if design.fixed else ():
        of_design = design.boundaries[: len(limits[row["profile_id"]])] == limits[row["profile_id"]]
        if row["basis"] == "depths" and not row["problem"] and of_design:
            row["basis"], row["censored"] = "sampling depths", True
    profiles = pd.DataFrame(rows)
    if design.fixed and (profiles["basis"] == "sampling depths").any():
        profiles.attrs["sampling_depths_m"] = design.boundaries
    profiles.attrs["columns_left_out"] = tuple(c for c in others if c not in constant and c not in placed)
    if unknown:
        profiles.attrs["unknown_designations"] = dict(unknown)
    if organic:
        profiles.attrs["organic_upward"] = organic
    return profiles


def _organic_upward(pit: pd.DataFrame, masters: Sequence[str]) -> float:
    """Thickness of organic horizons above the zero of a pit, m: measured upward (5 to 0), or negative (-5 to 0)."""
    tops, bottoms = pit["_top"].to_numpy(float), pit["_bottom"].to_numpy(float)
    organic = np.array([letter in ORGANIC for letter in masters], bool)
    if organic.size != tops.size or not organic.any():
        return 0.0
    upward = organic & (tops > bottoms) & (bottoms >= 0)
    negative = organic & (tops < bottoms) & (tops < 0)
    return float(max([*tops[upward], *(-tops[negative])], default=0.0))


def _from_the_top(pit: pd.DataFrame, upward: float) -> pd.DataFrame:
    """The pit with depths below the top of its organic horizons."""
    tops, bottoms = pit["_top"].to_numpy(float), pit["_bottom"].to_numpy(float)
    turned = tops > bottoms
    moved = pit.assign(
        _top=upward + np.where(turned, -tops, tops), _bottom=upward + np.where(turned, -bottoms, bottoms)
    )
    return moved.sort_values(["_top", "_bottom"], kind="stable")


def _place(row: dict[str, Any], positions: npt.NDArray[np.float64], pair: PositionColumns) -> None:
    """The first position of a pit's horizons; a problem where they are of different places."""
    located = positions[np.isfinite(positions).all(axis=1)]
    row[pair.east], row[pair.north] = located[0] if len(located) else (np.nan, np.nan)
    if len(located) and np.ptp(located, axis=0).max() > SAME_POSITION[pair.degrees]:
        row[pair.east], row[pair.north] = np.nan, np.nan
        row["problem"] = "its horizons have different positions"  # overlaps follow from it: two pits of one name
        row["solum_thickness"], row["censored"] = np.nan, False


def _solum(tops: Any, bottoms: Any, masters: Sequence[str]) -> dict[str, Any]:
    """Thickness of one profile whose horizons are sorted by depth."""
    result: dict[str, Any] = {"solum_thickness": np.nan, "censored": False, "basis": "designations", "problem": ""}
    if not any(masters):
        result["basis"] = "depths"
        masters = [""] * len(tops)
    below = next((i for i, letter in enumerate(masters) if letter in BELOW_SOLUM), None)
    if np.isnan(tops).any() or np.isnan(bottoms).any():
        result["problem"] = "a horizon has no depth"
    elif (bottoms <= tops).any() or (tops < 0).any():
        result["problem"] = "a horizon's bottom is not below its top"
    elif tops[0] > SURFACE_M:
        result["problem"] = "no horizon at the surface"
    elif (np.abs(tops[1:] - bottoms[:-1]) > GAP_M).any():
        result["problem"] = "horizons overlap or leave a gap"
    elif result["basis"] == "designations" and "" in masters[:below]:
        result["problem"] = "a horizon has no designation"
    elif UNKNOWN in masters[:below]:
        result["problem"] = "a designation is not known"
    if result["problem"]:
        return result
    if below is not None:
        result["solum_thickness"] = float(tops[below])
        if tops[below] == 0:
            result["problem"] = "no solum: the first horizon is C or rock"
    else:
        result["solum_thickness"] = float(bottoms[-1])
        result["censored"] = result["basis"] == "designations"
    return result


def _report(profiles: pd.DataFrame, where: str) -> None:
    """In place: too thick ones left out; what was assumed and what was left out, in `attrs` and as warnings."""
    thick = profiles["solum_thickness"] > MAX_SOLUM_M
    profiles.loc[thick, "problem"] = f"thicker than {MAX_SOLUM_M:g} m"
    profiles.loc[thick, "solum_thickness"] = np.nan
    sampled = int((profiles["basis"] == "sampling depths").sum())
    if sampled:
        limits = ", ".join(f"{100 * limit:g}" for limit in profiles.attrs["sampling_depths_m"])
        warnings.warn(
            f"{where}: {sampled} of {len(profiles)} profiles end at fixed sampling depths ({limits} cm), not at a "
            "horizon: they are censored, their solum is at least that thick",
            stacklevel=3,
        )
    by_depth = int(((profiles["basis"] == "depths") & (profiles["problem"] == "")).sum())
    if by_depth:
        profiles.attrs["assumption"] = (
            f"{by_depth} profiles without designations: the deepest horizon is taken to end at the C horizon"
        )
        warnings.warn(
            f"{where}: {by_depth} of {len(profiles)} profiles without designations: the deepest horizon is taken to "
            "end at the C horizon; keep the rows whose basis is 'designations' to leave them out",
            stacklevel=3,
        )
    reasons = profiles.loc[profiles["problem"] != "", "problem"].value_counts()
    problems = {str(reason): int(count) for reason, count in reasons.items()}
    profiles.attrs["problems"] = problems
    if problems:
        listed = "; ".join(f"{count} {reason}" for reason, count in problems.items())
        unknown = profiles.attrs.get("unknown_designations", {})
        examples = f" ({', '.join(list(unknown)[:5])})" if unknown else ""
        warnings.warn(
            f"{where}: {sum(problems.values())} of {len(profiles)} profiles have no thickness: {listed}{examples}",
            stacklevel=3,
        )


def _with_positions(profiles: pd.DataFrame, where: str) -> pd.DataFrame:
    pairs = position_pairs(profiles)
    attrs = dict(profiles.attrs)
    for pair in pairs:  # none where they bring their own layers instead of a position
        for column in (pair.east, pair.north):
            profiles[column] = _numbers(profiles, column, where)
        if pair.degrees:
            check_degrees(profiles[pair.east], profiles[pair.north], where=where, attrs=attrs)
        profiles = profiles.rename(columns=dict(zip((pair.east, pair.north), pair.names)))
    profiles.attrs.update(attrs)
    return profiles
