"""Preparation of profiles for calibration: every profile that cannot be used is listed and counted, none is silently
dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.display import text_summary
from tpsoil.errors import InputError, UnitsError, nearest_name, require_named, require_one_of
from tpsoil.grid import grid_of
from tpsoil.kernels import misfit, pedogenesis
from tpsoil.points import locate_points, position_pairs
from tpsoil.soil_mask import with_soil_mask
from tpsoil.tiles import take_points
from tpsoil.variables import NO_CLASS

from .covariates import valid_numbers
from .inputs import DEEPEST_M, NEEDED, SUSPECT_MEDIAN_M, require_layers
from .options import SolumOptions
from .parameters import NAMES, Bounds

Objective = Literal["tobit", "rmse"]

OBSERVED: Final = "solum_thickness"
THICKNESS_NAMES: Final = (OBSERVED, "thickness", "observed_thickness")
SUSPECT_THICKNESS_M: Final = 10.0
"""Median thickness above which a table is assumed to be in centimetres: no plateau has solums of 10 m."""

OUT_OF_REACH: Final = "dust or least_erosion exceed its erosion under all parameters within the bounds"
"""Reason of profiles without a steady state."""

POOLED: Final = -1
"""The zone number of all profiles together."""


@dataclass(frozen=True)
class Observations:
    """Usable profiles, and the reasons for excluding others.

    Parameters
    ----------
    table : DataFrame
        One row a site: `solum_thickness` (m), the five layers, `depth_to_bedrock` (m or NaN), `zone`, `censored`, and
        every other column. `profile` is the row number in the original table.
    excluded : DataFrame
        `profile`, `reason`, one row for each profile that was excluded or merged.
    """

    table: pd.DataFrame
    excluded: pd.DataFrame

    def __repr__(self) -> str:
        excluded = "; ".join(f"{count} {reason}" for reason, count in self.counts().items())
        zones = ", ".join(map(str, sorted(self.table["zone"].unique())))
        return text_summary("Profiles", {"usable": len(self.table), "zones": zones, "excluded": excluded})

    def counts(self) -> pd.Series[int]:
        """Excluded profiles by reason."""
        counts: pd.Series[int] = self.excluded["reason"].value_counts().sort_index()
        return counts

    def balanced_within(self, box: Bounds, options: SolumOptions) -> Observations:
        """The profiles where some parameters within bounds have a steady state; the others are excluded.

        Parameters
        ----------
        box : Bounds
        options : SolumOptions
            Dust or a minimum erosion may exceed what the bounds allow the soil to lose at a site. Every parameter set
            would have the same error of 10 m there, in which those of the other profiles are lost.

        Returns
        -------
        Observations
        """
        t, low, high = self.table, dict(zip(NAMES, box.low)), dict(zip(NAMES, box.high))
        loss = high["alpha"] * t["water_erosion"] + high["beta"] * t["wind_erosion"]
        creep = high["gamma"] * high["D"] * (options.curvature_scale * t["general_curvature"]).clip(lower=0)
        fastest = 0.1 / low["rho_s"] * loss + creep - options.dust_input
        possible = (fastest > options.least_erosion).to_numpy()
        if possible.all():
            return self
        added = pd.DataFrame({"profile": t["profile"][~possible], "reason": OUT_OF_REACH})
        excluded = pd.concat([self.excluded, added]).sort_values("profile", ignore_index=True)
        return Observations(t[possible].reset_index(drop=True), excluded)

    def sites(self, objective: Objective = "tobit") -> npt.NDArray[np.float64]:
        """The kernel's columns: EEMT, water, wind, curvature, bedrock, observed, censored as the objective treats it.

        Raises
        ------
        InputError
            For an unknown objective.
        """
        require_one_of("calibrate", "objective", objective, get_args(Objective))
        t = self.table
        energy = pedogenesis.energy_field(
            t["mean_annual_temperature"].to_numpy(float), t["annual_precipitation"].to_numpy(float)
        )
        columns = ("water_erosion", "wind_erosion", "general_curvature", "depth_to_bedrock", OBSERVED)
        code = misfit.LIKELIHOOD if objective == "tobit" else misfit.ONE_SIDED
        censored = code * t["censored"].to_numpy(float)
        return np.column_stack([energy, *(t[name].to_numpy(float) for name in columns), censored])


def lower_limits(profiles: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Profiles whose thickness is a lower limit, (n,): those with `censored`; none in a table without the column.

    Raises
    ------
    InputError
        For values that are neither true (1) nor false (0), such as missing ones and text.

    Examples
    --------
    >>> lower_limits(pd.DataFrame({"censored": [0, 1]})).tolist()
    [False, True]
    """
    if "censored" not in profiles.columns:
        return np.zeros(len(profiles), bool)
    flags = pd.to_numeric(profiles["censored"], errors="coerce")
    unknown = ~flags.isin([0, 1]).to_numpy()
    if unknown.any():
        example = profiles["censored"].iloc[int(unknown.argmax())]
        raise InputError(
            f"profiles: 'censored' is neither true nor false in {int(unknown.sum())} of {len(flags)} rows, such as "
            f"{example!r}; it is true where the soil may be thicker than the profile"
        )
    return flags.to_numpy(bool)


def merged_thickness(thickness: pd.Series[float], censored: pd.Series[bool]) -> tuple[float, bool]:
    """Thickness at one place, and whether it is a lower limit: the mean of the complete profiles, or the largest limit.

    Examples
    --------
    >>> merged_thickness(pd.Series([0.8, 1.0, 0.2]), pd.Series([False, False, True]))
    (0.9, False)
    >>> merged_thickness(pd.Series([0.5, 0.2]), pd.Series([True, True]))
    (0.5, True)
    """
    complete = thickness[~censored.astype(bool)]
    return (float(complete.mean()), False) if len(complete) else (float(thickness.max()), True)


def values_at(layers: xr.Dataset, points: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Values of the cells at points.

    Parameters
    ----------
    layers : Dataset (y, x)
        With a CRS.
    points : DataFrame
        `lon`, `lat` (WGS84 degrees), or `x`, `y` in the layers' CRS; see `tpsoil.points`.
    names : sequence of str
        Layers to read.

    Returns
    -------
    DataFrame
        The index of `points`; `inside`, and one float64 column for each name: NaN outside the grid and
        where the layer has its nodata value.

    Raises
    ------
    InputError
        Without coordinates.
    GridError
        Without a CRS.
    """
    box = grid_of(layers, where="solum.values_at")
    row, column = locate_points(points, box, where="profiles")
    inside = row >= 0
    gridded = {name: layers[name].transpose("y", "x").data for name in names if layers[name].ndim}
    taken = take_points(gridded, row[inside], column[inside])
    result = pd.DataFrame({"inside": inside}, index=points.index)
    for name in names:
        values = np.full(inside.size, np.nan)
        values[inside] = valid_numbers(taken[name] if name in taken else layers[name].values, layers[name])
        result[name] = values
    return result


def prepare_profiles(
    profiles: pd.DataFrame,
    layers: xr.Dataset | None = None,
    *,
    thickness: str | None = None,
    extra: Sequence[str] = (),
    options: SolumOptions | None = None,
) -> Observations:
    """Check profiles and join them with the layers of their cells.

    Parameters
    ----------
    profiles : DataFrame
        A thickness in metres (`solum_thickness` or `thickness`); without `layers` also the model's five
        layers; optional `depth_to_bedrock`, `zone`, `soil_mask`, `censored` (true where the pit ended inside the
        solum: it is at least that thick), `lon`/`lat` or `x`/`y`, `site`. Not changed.
    layers : Dataset, optional
        Sampled at the profiles' cells; its layers replace columns of the same name.
    thickness : str, optional
        Name of the thickness column, used in place of `solum_thickness` where the table has both.
    extra : sequence of str
        Further layers to sample, or columns of the table.
    options : SolumOptions, optional
        Of the model that is calibrated: its curvature convention and dust determine which sites cannot have a balance.

    Returns
    -------
    Observations

    Raises
    ------
    InputError
        For missing columns, all at once; without any usable profile; if water and wind erosion are zero at all.
    UnitsError
        For thickness or depth to bedrock in centimetres, temperature in kelvin.

    Notes
    -----
    Excluded, listed and counted: text or no thickness, zero or negative thickness, outside the grid, on a masked cell,
    a layer that is missing or out of its domain, no zone, no erosion at all (Ew = Ed = 0 and not convex: no parameters
    give a steady state). Profiles at one position, or with the same name in the column `site`, are merged into the
    first, see `merged_thickness`: replicates share a cell, and folds must not share a site. Where only the
    balance fails (E <= 0 for some parameters) the profile is retained and penalised.

    Examples
    --------
    >>> one = dict(solum_thickness=0.9, mean_annual_temperature=3.0, annual_precipitation=600.0, water_erosion=2.0,
    ...            wind_erosion=1.0, general_curvature=0.0)
    >>> observations = prepare_profiles(pd.DataFrame([one, {**one, "solum_thickness": -1.0}]))
    >>> observations.counts().to_dict()
    {'thickness is zero or negative': 1}
    """
    table = profiles.reset_index(drop=True).copy()
    name = thickness or next((name for name in THICKNESS_NAMES if name in table.columns), None)
    if name is None or name not in table.columns:
        column = thickness or OBSERVED
        raise InputError(f"profiles have no column '{column}'{nearest_name(column, map(str, table.columns))}")
    if name != OBSERVED:
        table = table.drop(columns=OBSERVED, errors="ignore").rename(columns={name: OBSERVED})
    table.insert(0, "profile", np.arange(len(table)))
    reason = pd.Series("", index=table.index, dtype=object)
    if layers is not None:
        layers = with_soil_mask(layers)
        require_layers(layers, NEEDED, "solum.prepare_profiles")
        names = [n for n in (*NEEDED, "depth_to_bedrock", "zone", "soil_mask", *extra) if n in layers]
        sampled = values_at(layers, table, list(dict.fromkeys(names)))
        _mark(reason, ~sampled.pop("inside").astype(bool), "outside the grid")
        table[list(sampled.columns)] = sampled
    available = [*table.columns, *(() if layers is None else layers.data_vars)]
    require_named("prepare_profiles", extra, available, "layer or column")
    missing = [n for n in NEEDED if n not in table.columns]
    if missing:
        raise InputError(
            f"profiles lack {', '.join(missing)}; pass layers=, or join them with tpsoil.sample_cube"
            f"{nearest_name(missing[0], map(str, table.columns))}"
        )
    if "soil_mask" in table.columns:
        masked = pd.to_numeric(table["soil_mask"], errors="coerce") != 1
        _mark(reason, masked, "on a masked cell (glacier, lake, outside)")
    observed = pd.to_numeric(table[OBSERVED], errors="coerce")
    _mark(reason, table[OBSERVED].isna(), "thickness is missing")
    _mark(reason, ~np.isfinite(observed), "thickness is not a number")
    _mark(reason, observed <= 0, "thickness is zero or negative")
    table[OBSERVED] = observed
    for column in (*NEEDED, *(c for c in ("depth_to_bedrock",) if c in table.columns)):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    _reject_units(table[reason == ""])
    for column in NEEDED:
        _mark(reason, ~np.isfinite(table[column]), f"{column} is missing")
    bad_climate = ~table["mean_annual_temperature"].between(-100, 100) | (table["annual_precipitation"] < 0)
    bad_erosion = (table["water_erosion"] < 0) | (table["wind_erosion"] < 0)
    _mark(reason, bad_climate | bad_erosion, "a layer is out of its domain")
    table["depth_to_bedrock"] = table.get("depth_to_bedrock", pd.Series(np.nan, index=table.index))
    depth = table["depth_to_bedrock"]
    _mark(reason, depth.notna() & ~depth.between(0, DEEPEST_M), "a layer is out of its domain")
    if "zone" in table.columns:
        zone = pd.to_numeric(table["zone"], errors="coerce")
        _mark(reason, ~zone.between(0, NO_CLASS - 1) | (zone != np.floor(zone)), "in no zone")
        table["zone"] = zone
    else:
        table["zone"] = 1.0
    table["censored"] = lower_limits(table)
    usable = table[reason == ""]
    if len(usable) and (usable[["water_erosion", "wind_erosion"]] == 0).all(axis=None):
        raise InputError(
            f"water_erosion and wind_erosion are zero at all {len(usable)} profiles: production has no balance; "
            "check the erosion layers' nodata and units"
        )
    model = options or SolumOptions()
    convex = model.curvature_scale * table["general_curvature"] > 0
    no_erosion = (table["water_erosion"] == 0) & (table["wind_erosion"] == 0) & ~convex & (model.dust_input >= 0)
    _mark(reason, no_erosion, "no erosion at all, so no steady state")
    table = _merge_sites(table, reason)
    excluded = pd.DataFrame({"profile": reason.index[reason != ""], "reason": reason[reason != ""].to_numpy(object)})
    table = table[reason == ""].reset_index(drop=True)
    if not len(table):
        listed = "; ".join(f"{count} {cause}" for cause, count in excluded["reason"].value_counts().items())
        raise InputError(f"none of {len(profiles)} profiles can be used: {listed or 'the table is empty'}")
    table["zone"] = table["zone"].astype(np.int64)
    return Observations(table, excluded.reset_index(drop=True))


def _mark(reason: pd.Series[Any], where: Any, cause: str) -> None:
    """Set the reason of profiles without one: the first reason applies."""
    reason[np.asarray(where, dtype=bool) & (reason == "").to_numpy()] = cause


def _reject_units(table: pd.DataFrame) -> None:
    checks: Mapping[str, tuple[float, str, str]] = {
        OBSERVED: (SUSPECT_THICKNESS_M, "metres", "centimetres; divide by 100"),
        "depth_to_bedrock": (SUSPECT_MEDIAN_M, "metres", "centimetres; divide by 100"),
        "mean_annual_temperature": (100.0, "degC", "kelvin; subtract 273.15"),
    }
    for column, (limit, unit, guess) in checks.items():
        if column in table.columns and table[column].notna().any():
            median = float(table[column].median())
            if median > limit:
                raise UnitsError(f"profiles: median {column} is {median:g}, expected {unit}; this looks like {guess}")


def _merge_sites(table: pd.DataFrame, reason: pd.Series[Any]) -> pd.DataFrame:
    usable, pairs = table[reason == ""], position_pairs(table)
    keys = [[pairs[0].east, pairs[0].north]] if pairs else []
    keys += [["site"]] if "site" in table.columns else []
    place, before = usable["profile"], None  # of each profile the first profile of its place
    while before is None or not place.equals(before):  # one site may have several positions, one position several names
        before = place
        for columns in keys:
            shared = place.groupby([usable[column] for column in columns], dropna=True).transform("min")
            place = shared.fillna(place).astype(place.dtype)
    for first, members in place.groupby(place).groups.items():
        if len(members) > 1:
            value, limit = merged_thickness(table.loc[members, OBSERVED], table.loc[members, "censored"])
            table.loc[first, OBSERVED], table.loc[first, "censored"] = value, limit
            reason[members[1:]] = "duplicate site, averaged into the first"
    return table
