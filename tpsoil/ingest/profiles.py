"""Soil profiles -> one solum thickness a profile, in metres: from a thickness column, or from horizons.

The solum is everything above the C horizon: O, A, E and B horizons, with the transitions that are named for them first
(AB, BC). It ends at the top of the first C, R, D, M or W horizon; a buried horizon below that is no part of it.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.columns import numeric_column
from tpsoil.display import cell_text
from tpsoil.errors import InputError, UnitsError, require_named, require_one_of
from tpsoil.option_names import pass_option
from tpsoil.points import PositionColumns, check_degrees, position_pairs
from tpsoil.sampling_depths import sampling_depths
from tpsoil.units import conversion

from .horizons import UNKNOWN, downward, from_the_top, master_horizon, organic_upward, solum_of
from .profile_layouts import LayoutName, Role, columns_by_role, join_sites, layout_of, require_roles, unverified
from .tables import read_table, require_columns

Undesignated = Literal["limit", "complete"]

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "thickness": ("solum_thickness", "thickness", "solum", "solum_depth"),
    "profile": ("profile_id", "profile", "site_key", "site", "id"),
    "top": ("top", "hzn_top", "upper_depth", "depth_top", "top_depth", "upper"),
    "bottom": ("bottom", "hzn_bot", "lower_depth", "depth_bottom", "bottom_depth", "lower"),
    "designation": ("designation", "hzn_desgn", "horizon", "hzn", "horizon_designation"),
}
"""Usual names of the columns of each role, the preferred one first; in any case of letters."""

SCALE: Final[Mapping[str, float]] = {
    unit: conversion(unit, "m", where="profiles").factor for unit in ("m", "dm", "cm", "mm")
}
MAX_SOLUM_M: Final = 20.0
"""A thicker solum is another unit or another quantity, such as a borehole's depth."""
REPORTED: Final = ("layout", "layout_columns", "layout_unverified", "missing_codes", "without_site")
"""Attributes of the table that the profiles retain."""
SAME_POSITION: Final = {True: 0.001, False: 100.0}
"""How far apart horizons of one pit may be placed: degrees (110 m), or metres; one survey rounds differently."""


def read_profiles(
    source: str | os.PathLike[str] | pd.DataFrame,
    *,
    units: str | None = None,
    columns: Mapping[str, str] | None = None,
    layout: LayoutName | None = None,
    sites: str | os.PathLike[str] | pd.DataFrame | None = None,
    undesignated: Undesignated = "limit",
    encoding: str = "utf-8",
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
    layout : {"wosis", "ncss", "isric"}, optional
        The database of the horizons, whose column names are in `layout_table`. Without it a table with the columns of
        one of them and none of thickness is recognised.
    sites : path of a CSV, or DataFrame, optional
        One row a profile, with its position and other columns, joined by the column that names the profile: the
        databases keep sites and horizons in two tables.
    undesignated : {"limit", "complete"}
        Profiles whose horizons have no designations: the deepest bottom is a lower limit of the solum, or its end,
        where the survey dug to the C horizon.
    encoding : str
        Of files; as in `read_table`.
    where : str, optional
        Named in messages.

    Returns
    -------
    DataFrame
        `profile_id`; `solum_thickness`, m (NaN where a profile's horizons do not give it); `censored`, true where the
        pit ended inside the solum, or may have, so that it is at least that thick; `basis`: "thickness",
        "designations", "depths" or "sampling depths";
        `problem`, empty or why the thickness is NaN; positions and all columns that are one per profile. `attrs` has
        `problems`, counts by reason; `assumption` for depths without designations, and
        `sampled_depths`, with their counts; `unknown_designations`, counts by
        text; and `columns_left_out`, those that differ between the horizons of a profile. Where they apply:
        `layout` and `layout_columns`, the column by its role; `layout_unverified`, columns read by a name that was not
        looked up; `missing_codes`, depths and coordinates that are codes of missing values; `without_site`, horizons
        that the sites lack; `duplicate_horizons`, rows given twice.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    InputError
        For missing columns, text in a number column, swapped coordinates, an unknown unit or layout; a site given
        twice, or no common column of horizons and sites.
    UnitsError
        For a median thickness above 10 m: these are centimetres.

    Notes
    -----
    Organic horizons that are measured upward from the mineral surface (Oe 5 to 0 cm, or -5 to 0 cm) count from their
    top: all depths of such a pit are shifted, and `attrs["organic_upward"]` has the number of pits.

    Layers without designations at fixed sampling depths, such as 0-10, 10-20, 20-40 cm in every pit
    (`tpsoil.sampling_depths`), do not end at a horizon: such a profile is censored, its `basis` is "sampling depths".

    Other horizons without designations: the deepest bottom is a lower limit, because nothing shows that the pit reached
    the C horizon. The solum study states of its surveys that the pits end there: "complete". Either is counted in
    `attrs["assumption"]` and in a warning. With designations but no horizon below the solum the profile is censored. A
    profile whose horizons are more than 0.001 degrees or 100 m apart, and one thicker than 20 m, has a `problem`.

    Warns
    -----
    UserWarning
        With counts, for thickness taken from depths alone, and for profiles without a thickness; for rows given twice,
        horizons without a site, and columns of a layout that were not verified.

    Examples
    --------
    >>> pit = pd.DataFrame({"profile": ["a", "a", "a"], "top": [0, 20, 55], "bottom": [20, 55, 90],
    ...                     "designation": ["A", "Bw", "2C"], "lon": 91.0, "lat": 30.0})
    >>> read_profiles(pit)["solum_thickness"].tolist()
    [0.55]
    """
    require_named("read_profiles: columns", columns or (), ROLES, "role")
    if units is not None:
        require_one_of("read_profiles", "units", units, SCALE)
    require_one_of("read_profiles", "undesignated", undesignated, get_args(Undesignated))
    if layout is not None and "thickness" in (columns or {}):
        raise InputError("layout names a table of horizons, but columns names a thickness; give one of them")
    table = read_table(source, needed=tuple((columns or {}).values()), encoding=encoding, where=where)
    name = where or (os.fspath(source) if not isinstance(source, pd.DataFrame) else "profiles")
    if sites is not None:
        place = f"{name} (sites)" if isinstance(sites, pd.DataFrame) else None
        sites = read_table(sites, encoding=encoding, where=place)
    table, roles = _of_layout(table, columns or {}, layout, sites, name)
    if "thickness" in roles:
        profiles = _from_thickness(table, roles, SCALE[units or "m"], name)
    else:
        if not {"top", "bottom"} <= set(roles):
            require_columns(
                table, ["solum_thickness"], where=f"{name} (neither a thickness nor horizons with top and bottom)"
            )
        profiles = _from_horizons(table, roles, SCALE[units or "cm"], name)
    profiles.attrs |= {key: table.attrs[key] for key in REPORTED if key in table.attrs}
    profiles = _with_positions(profiles, name)
    median = profiles["solum_thickness"].median()
    if median > 10.0:
        raise UnitsError(
            f"{name}: median thickness is {median:g} m; these look like centimetres, {pass_option('units', 'cm')}"
        )
    _report(profiles, undesignated, name)
    return profiles


def _of_layout(
    table: pd.DataFrame,
    named: Mapping[str, str],
    layout: LayoutName | None,
    sites: pd.DataFrame | None,
    where: str,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table joined with its sites, its position in `lon` and `lat` by a layout, and its columns by role."""
    chosen = layout_of(table, layout, where=where)
    if sites is not None:
        keys = (*(() if chosen is None else chosen.of("profile")), *ROLES["profile"])
        own = (named["profile"],) if "profile" in named else ()
        table = join_sites(table, sites, (*own, *keys), where=where)
    usual = columns_by_role(table, ROLES) | dict(named)
    if chosen is None or (layout is None and "thickness" in usual):
        return table, usual
    by_role = columns_by_role(table, {role: chosen.of(role) for role in get_args(Role)}) | dict(named)
    require_roles(by_role, chosen, where=where)
    positions = {by_role[role]: name for role, name in (("longitude", "lon"), ("latitude", "lat")) if role in by_role}
    if {"lon", "lat"} <= {str(column).lower() for column in table.columns}:
        positions = {}  # a position under tpsoil's own names is preferred
    codes = 0
    for column in (by_role["top"], by_role["bottom"], *positions):
        values = numeric_column(table[column], where=where)
        if chosen.missing_below is not None:
            coded = (values < chosen.missing_below).to_numpy(bool)
            codes, values = codes + int(coded.sum()), values.mask(coded)
        table[column] = values
    # X and Y of WoSIS are degrees too: where longitude and latitude are there, they are left out.
    spare = [c for role in ("longitude", "latitude") for c in table.columns
             if str(c).lower() in map(str.lower, chosen.of(role)) and c not in positions]  # fmt: skip
    table = table.drop(columns=spare).rename(columns=positions)
    facts = {"layout": chosen.name, "layout_columns": by_role, "missing_codes": codes,
             "layout_unverified": unverified(by_role, chosen)}  # fmt: skip
    table.attrs |= {key: value for key, value in facts.items() if value}
    roles = {**usual, **by_role}
    return table, {role: roles[role] for role in ROLES if role in roles and role != "thickness"}


def _from_thickness(table: pd.DataFrame, roles: Mapping[str, str], scale: float, where: str) -> pd.DataFrame:
    values = numeric_column(table[roles["thickness"]], where=where) * scale
    identity = roles.get("profile")
    displaced = _displaced(table, identity)
    profiles = table.drop(columns=[roles["thickness"], *displaced])
    profiles["solum_thickness"] = values
    if identity is None:
        profiles["profile_id"] = np.arange(1, len(profiles) + 1)
    else:
        profiles = profiles.rename(columns={identity: "profile_id"})
    if "censored" not in profiles:
        profiles["censored"] = False
    profiles["censored"] = profiles["censored"].map(_truth)
    profiles["basis"] = "thickness"
    profiles["problem"] = ""
    if displaced:
        profiles.attrs["columns_left_out"] = tuple(displaced)
    return profiles


def _displaced(table: pd.DataFrame, identity: str | None) -> list[str]:
    """A column `profile_id` beside the one that names the profiles and takes its name."""
    return [column for column in table.columns if column == "profile_id" and identity not in (None, "profile_id")]


def _truth(value: Any) -> bool:
    return str(value).strip().lower() in {"1", "1.0", "true", "yes", "y", "t"}


def _from_horizons(table: pd.DataFrame, roles: Mapping[str, str], scale: float, where: str) -> pd.DataFrame:
    if "profile" not in roles:
        raise InputError(
            f"{where}: horizons need a column that names their profile; expected {', '.join(ROLES['profile'])}"
        )
    identity, designation = roles["profile"], roles.get("designation")
    pair = next(iter(position_pairs(table)), None)
    placed = [] if pair is None else [pair.east, pair.north]
    work = table.copy()
    work.attrs = {}  # pandas would copy them with every part
    for depth in ("top", "bottom"):
        work[f"_{depth}"] = numeric_column(table[roles[depth]], where=where) * scale
    for column in placed:
        work[column] = numeric_column(table[column], where=where)
    others = [c for c in table.columns if c not in {roles["top"], roles["bottom"], designation, identity}]
    different = work.groupby(identity)[others].nunique(dropna=False).max()
    displaced = _displaced(table, identity)
    constant = [c for c in others if not different[c] > 1 and c not in displaced]
    constants: Any = work.drop_duplicates(identity).set_index(identity)[constant].to_dict("index")
    # One horizon in several rows, such as one a laboratory method, is one horizon.
    repeated = work.duplicated([c for c in (identity, "_top", "_bottom", designation, *placed) if c is not None])
    work = work[~repeated]
    depths = work[["_top", "_bottom"]].to_numpy(float)
    places = work[placed].to_numpy(float)
    names = [] if designation is None else work[designation].tolist()
    letters = [master_horizon(name) for name in names]
    rows = []
    limits: dict[Any, tuple[float, ...]] = {}
    unknown: Counter[str] = Counter()
    organic = 0
    for key, pit in _rows_of(work[identity]):
        limits[key] = tuple(np.unique(depths[pit]).tolist())
        (tops, bottoms), pit = downward(depths[pit], pit)
        masters = [letters[i] for i in pit] if letters else []
        unknown.update(str(names[i]) for i, master in zip(pit, masters) if master == UNKNOWN)
        upward = organic_upward(tops, bottoms, masters)
        if upward > 0:
            organic += 1
            (tops, bottoms), pit = downward(from_the_top(tops, bottoms, upward), pit)
            masters = [letters[i] for i in pit]
        row: dict[str, Any] = {"profile_id": key, **constants[key], **solum_of(tops, bottoms, masters)}
        if pair is not None:
            _place(row, places[pit], pair)
        rows.append(row)
    if not rows:
        raise InputError(f"{where}: column '{identity}' names no profile")
    design = sampling_depths(work, profile=identity, depths=("_top", "_bottom"))
    for row in rows if design.fixed else ():
        of_design = design.boundaries[: len(limits[row["profile_id"]])] == limits[row["profile_id"]]
        if row["basis"] == "depths" and not row["problem"] and of_design:
            row["basis"], row["censored"] = "sampling depths", True
    profiles = pd.DataFrame(rows)
    if design.fixed and (profiles["basis"] == "sampling depths").any():
        profiles.attrs["sampling_depths_m"] = design.boundaries
    profiles.attrs["columns_left_out"] = tuple(c for c in others if c not in constant and c not in placed)
    counts = {"unknown_designations": dict(unknown), "organic_upward": organic,
              "duplicate_horizons": int(repeated.sum())}  # fmt: skip
    profiles.attrs |= {key: value for key, value in counts.items() if value}
    return profiles


def _rows_of(identity: pd.Series[Any]) -> Iterator[tuple[Any, npt.NDArray[np.intp]]]:
    """Each profile with the positions of its rows, in the order of their first rows; rows without one are left out."""
    codes, keys = pd.factorize(identity)
    order = np.argsort(codes, kind="stable")[np.count_nonzero(codes < 0) :]
    ends = np.cumsum(np.bincount(codes[order], minlength=len(keys)))
    return zip(keys, np.split(order, ends[:-1]), strict=False)


def _place(row: dict[str, Any], positions: npt.NDArray[np.float64], pair: PositionColumns) -> None:
    """The first position of a pit's horizons; a problem where they are of different places."""
    located = positions[np.isfinite(positions).all(axis=1)]
    row[pair.east], row[pair.north] = located[0] if len(located) else (np.nan, np.nan)
    if len(located) and np.ptp(located, axis=0).max() > SAME_POSITION[pair.degrees]:
        row[pair.east], row[pair.north] = np.nan, np.nan
        row["problem"] = "its horizons have different positions"  # overlaps follow from it: two pits of one name
        row["solum_thickness"], row["censored"] = np.nan, False


def _report(profiles: pd.DataFrame, undesignated: Undesignated, where: str) -> None:
    """In place: too thick ones left out; what was assumed and what was left out, in `attrs` and as warnings."""
    thick = profiles["solum_thickness"] > MAX_SOLUM_M
    profiles.loc[thick, "problem"] = f"thicker than {MAX_SOLUM_M:g} m"
    profiles.loc[thick, "solum_thickness"] = np.nan
    sampled = int((profiles["basis"] == "sampling depths").sum())
    if sampled:
        limits = ", ".join(f"{100 * limit:g}" for limit in profiles.attrs["sampling_depths_m"])
        profiles.attrs["sampled_depths"] = (
            f"{sampled} of {len(profiles)} profiles end at fixed sampling depths ({limits} cm), not at a horizon: they "
            "are censored, their solum is at least that thick"
        )
    by_depth = (profiles["basis"] == "depths") & (profiles["problem"] == "")
    if by_depth.any():
        meaning = "taken to end at the C horizon; keep the rows whose basis is 'designations' to leave them out"
        if undesignated == "limit":
            profiles.loc[by_depth, "censored"] = True
            meaning = "a lower limit of the solum; undesignated='complete' where the survey dug to the C horizon"
        profiles.attrs["assumption"] = (
            f"{by_depth.sum()} of {len(profiles)} profiles without designations: the deepest horizon is {meaning}"
        )
    for text in profile_notes(profiles.attrs):
        warnings.warn(f"{where}: {text}", stacklevel=3)
    problems = profiles.loc[profiles["problem"] != "", "problem"].value_counts().to_dict()
    profiles.attrs["problems"] = problems
    if problems:
        listed = "; ".join(f"{count} {reason}" for reason, count in problems.items())
        unknown = profiles.attrs.get("unknown_designations", {})
        examples = f" ({', '.join(list(unknown)[:5])})" if unknown else ""
        warnings.warn(
            f"{where}: {sum(problems.values())} of {len(profiles)} profiles have no thickness: {listed}{examples}",
            stacklevel=3,
        )


NOTES: Final[Mapping[str, str]] = {
    "sampled_depths": "{}",
    "assumption": "{}",
    "duplicate_horizons": "{} rows repeat a horizon's depths and designation; each is read once",
    "without_site": "{} horizons have no site in the table of sites, so no position",
    "missing_codes": "{} depths and coordinates are codes of missing values",
    "layout_unverified": "columns {} are read by names that were not verified",
}
"""Sentences on what the attributes of profiles count or name."""


def profile_notes(attrs: Mapping[Any, Any]) -> list[str]:
    """What was assumed, left out or is not certain, each with its count."""
    return [text.format(cell_text(attrs[key])) for key, text in NOTES.items() if key in attrs]


def _with_positions(profiles: pd.DataFrame, where: str) -> pd.DataFrame:
    for pair in position_pairs(profiles):  # none where they bring their own layers instead of a position
        for column in (pair.east, pair.north):
            profiles[column] = numeric_column(profiles[column], where=where)
        if pair.degrees:
            check_degrees(profiles[pair.east], profiles[pair.north], where=where, attrs=profiles.attrs)
        profiles = profiles.rename(columns=dict(zip((pair.east, pair.north), pair.names)))
    return profiles
