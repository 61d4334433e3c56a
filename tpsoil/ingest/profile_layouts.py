"""Column layouts of the large soil profile databases, declared as data: WoSIS, NCSS and ISRIC's WISE, AfSP and ISIS.

Every name stands with the place in which it was looked up. A name without one is `UNVERIFIED`: it is recognised, and
a table that is read by it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
import pandas as pd

from tpsoil.errors import InputError, require_one_of

from .tables import require_unique

LayoutName = Literal["wosis", "ncss", "isric"]
Role = Literal["profile", "top", "bottom", "designation", "longitude", "latitude"]

COMPENDIUM: Final = (
    "OpenGeoHub, An Open Compendium of Soil Sample and Soil Profile Datasets, https://opengeohub.github.io/SoilSamples/"
)
WOSIS_SCRIPTS: Final = "import scripts of WoSIS exports in public repositories (columns of the layers' table)"
SOILDB: Final = "R package soilDB, fetchLDM, https://search.r-project.org/CRAN/refmans/soilDB/html/fetchLDM.html"
GSIF: Final = "R package GSIF, data set isis, https://rdrr.io/cran/GSIF/man/isis.html"
UNVERIFIED: Final = ""


@dataclass(frozen=True)
class LayoutColumn:
    """One column name of a database.

    Parameters
    ----------
    role : str
        "profile", "top", "bottom", "designation", "longitude" or "latitude".
    name : str
        As the database spells it; compared without regard to case.
    source : str
        Where the name was looked up; `UNVERIFIED` where it was not.
    """

    role: Role
    name: str
    source: str = UNVERIFIED


@dataclass(frozen=True)
class ProfileLayout:
    """The column names of one profile database.

    Parameters
    ----------
    name : str
    title : str
    columns : tuple of LayoutColumn
        For each role the preferred name first.
    recognised_by : tuple of tuple of str
        Sets of names of which one must be complete for a table to be recognised without `layout`.
    missing_below : float, optional
        Depths and coordinates below it are codes of missing values (-999, -9999).
    """

    name: LayoutName
    title: str
    columns: tuple[LayoutColumn, ...]
    recognised_by: tuple[tuple[str, ...], ...]
    missing_below: float | None = field(default=None)

    def of(self, role: Role) -> tuple[str, ...]:
        """Names of a role, the preferred one first."""
        return tuple(column.name for column in self.columns if column.role == role)


LAYOUTS: Final[Mapping[str, ProfileLayout]] = {
    "wosis": ProfileLayout(
        "wosis",
        "WoSIS (ISRIC), profiles and layers as CSV, TSV or WFS",
        (
            LayoutColumn("profile", "profile_id", WOSIS_SCRIPTS),
            LayoutColumn("top", "upper_depth", WOSIS_SCRIPTS),
            LayoutColumn("bottom", "lower_depth", WOSIS_SCRIPTS),
            LayoutColumn("designation", "layer_name", WOSIS_SCRIPTS),
            LayoutColumn("longitude", "longitude", WOSIS_SCRIPTS),
            LayoutColumn("latitude", "latitude", WOSIS_SCRIPTS),
            LayoutColumn("longitude", "X", WOSIS_SCRIPTS),
            LayoutColumn("latitude", "Y", WOSIS_SCRIPTS),
        ),
        (("profile_layer_id", "upper_depth", "lower_depth"),),
    ),
    "ncss": ProfileLayout(
        "ncss",
        "NCSS / KSSL soil characterization database (USDA), Lab Data Mart",
        (
            LayoutColumn("profile", "pedon_key", SOILDB),
            LayoutColumn("profile", "site_key", COMPENDIUM),
            LayoutColumn("top", "hzn_top", COMPENDIUM),
            LayoutColumn("bottom", "hzn_bot", COMPENDIUM),
            LayoutColumn("designation", "hzn_desgn", COMPENDIUM),
            LayoutColumn("longitude", "longitude_decimal_degrees", COMPENDIUM),
            LayoutColumn("latitude", "latitude_decimal_degrees", COMPENDIUM),
            LayoutColumn("longitude", "longitude_std_decimal_degrees"),
            LayoutColumn("latitude", "latitude_std_decimal_degrees"),
        ),
        (("hzn_top", "hzn_bot", "pedon_key"), ("hzn_top", "hzn_bot", "site_key")),
    ),
    "isric": ProfileLayout(
        "isric",
        "ISRIC's WISE 3, Africa Soil Profiles (AfSP) and ISIS",
        (
            LayoutColumn("profile", "WISE3_ID", COMPENDIUM),
            LayoutColumn("profile", "ProfileID", COMPENDIUM),
            LayoutColumn("profile", "SOURCEID", GSIF),
            LayoutColumn("profile", "PRID"),
            LayoutColumn("top", "TOPDEP", COMPENDIUM),
            LayoutColumn("top", "UpDpth", COMPENDIUM),
            LayoutColumn("top", "UHDICM", GSIF),
            LayoutColumn("bottom", "BOTDEP", COMPENDIUM),
            LayoutColumn("bottom", "LowDpth", COMPENDIUM),
            LayoutColumn("bottom", "LHDICM", GSIF),
            LayoutColumn("designation", "DESIG", COMPENDIUM),
            LayoutColumn("designation", "HorDes", COMPENDIUM),
            LayoutColumn("longitude", "LONDD", COMPENDIUM),
            LayoutColumn("longitude", "X_LonDD", COMPENDIUM),
            LayoutColumn("longitude", "LONWGS84", GSIF),
            LayoutColumn("latitude", "LATDD", COMPENDIUM),
            LayoutColumn("latitude", "Y_LatDD", COMPENDIUM),
            LayoutColumn("latitude", "LATWGS84", GSIF),
        ),
        (("TOPDEP", "BOTDEP"), ("UpDpth", "LowDpth"), ("UHDICM", "LHDICM")),
        missing_below=-200.0,  # the compendium's own rule for these databases
    ),
}
"""Depths of all of them are in cm below the surface. WoSIS places profiles by X and Y in degrees, not in metres."""


def layout_table() -> pd.DataFrame:
    """The column names of profile databases that `read_profiles` knows, with their sources.

    Returns
    -------
    DataFrame
        `layout`, `role`, `column`, `verified` and `source` of each name.

    Examples
    --------
    >>> table = layout_table()
    >>> table.loc[~table["verified"], "column"].tolist()
    ['longitude_std_decimal_degrees', 'latitude_std_decimal_degrees', 'PRID']
    """
    return pd.DataFrame(
        [
            {
                "layout": layout.name,
                "role": column.role,
                "column": column.name,
                "verified": bool(column.source),
                "source": column.source or "not verified",
            }
            for layout in LAYOUTS.values()
            for column in layout.columns
        ]
    )


def layout_of(table: pd.DataFrame, name: str | None, *, where: str) -> ProfileLayout | None:
    """The layout of a table: the named one, or the one that its column names show; None for neither.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if name is not None:
        require_one_of(where, "layout", name, get_args(LayoutName))
        return LAYOUTS[name]
    lower = {str(column).lower() for column in table.columns}
    return next(
        (
            layout
            for layout in LAYOUTS.values()
            if any({one.lower() for one in names} <= lower for names in layout.recognised_by)
        ),
        None,
    )


def columns_by_role(table: pd.DataFrame, names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The table's own spelling of the first of its names, in any case of letters, for each role that it has."""
    lower = by_lower_case(table)
    spelled = {role: next((lower[one.lower()] for one in of if one.lower() in lower), "") for role, of in names.items()}
    return {role: column for role, column in spelled.items() if column}


def by_lower_case(table: pd.DataFrame) -> dict[str, str]:
    """Column names by their lower case; of several the first."""
    return {str(column).lower(): str(column) for column in reversed(list(table.columns))}


def require_roles(spelled: Mapping[str, str], layout: ProfileLayout, *, where: str) -> None:
    """Reject a table that lacks the horizons of its layout.

    Raises
    ------
    InputError
        With every missing role and the names that are expected for it.
    """
    needed: tuple[Role, ...] = ("profile", "top", "bottom")
    if missing := [role for role in needed if role not in spelled]:
        expected = "; ".join(f"{role}: one of {', '.join(layout.of(role))}" for role in missing)
        raise InputError(
            f"{where}: layout '{layout.name}' ({layout.title}) has no column of its {', '.join(missing)}; expected "
            f"{expected}; name the column with columns="
        )


def unverified(spelled: Mapping[str, str], layout: ProfileLayout) -> tuple[str, ...]:
    """Columns of a table that are read by a name that was not verified."""
    names = {column.name.lower() for column in layout.columns if not column.source}
    return tuple(column for column in spelled.values() if column.lower() in names)


def join_sites(table: pd.DataFrame, sites: pd.DataFrame, keys: tuple[str, ...], *, where: str) -> pd.DataFrame:
    """The horizons with the columns of their sites' table; `attrs["without_site"]` has the number of rows without one.

    Parameters
    ----------
    table, sites : DataFrame
        Both have a column of one of the names of `keys`, in any case of letters.
    keys : tuple of str
        In order of preference.
    where : str

    Raises
    ------
    InputError
        Without a common column, or for a site that is given twice.
    """
    of_table, of_sites = by_lower_case(table), by_lower_case(sites)
    key = next((name for name in map(str.lower, keys) if name in of_table and name in of_sites), None)
    if key is None:
        raise InputError(
            f"{where}: horizons and sites have no common column of the profile; expected one of {', '.join(keys)} in "
            "both tables"
        )
    left, right = of_table[key], of_sites[key]
    sites = sites[sites[right].notna()]
    require_unique(sites, [right], where=f"{where} (sites)")
    index = pd.Index(sites[right].astype("string").str.strip())
    at = index.get_indexer(pd.Index(table[left].astype("string").str.strip()))
    joined = table.copy()
    for column in sites.columns:
        if str(column).lower() not in of_table:
            joined[column] = sites[column].take(np.maximum(at, 0)).where(at >= 0).to_numpy()
    joined.attrs.update(table.attrs)
    if (at < 0).any():
        joined.attrs["without_site"] = int((at < 0).sum())
    return joined
