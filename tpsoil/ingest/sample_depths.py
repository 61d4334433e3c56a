"""Samples at several depths of one place: the mean of a depth interval, by equal-area splines."""

from __future__ import annotations

import warnings
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from tpsoil.columns import describe_lines, numeric_column
from tpsoil.depths import SplineSettings, depth_means, interval_name
from tpsoil.errors import InputError
from tpsoil.option_names import pass_option
from tpsoil.units import conversion

from .tables import require_columns

TOPSOIL_CM: Final = (0.0, 10.0)
"""The depth of the plateau study's samples."""
UPPER: Final = ("upper", "top", "depth_from", "from", "hzn_top", "upper_depth", "depth_top", "top_cm", "upper_cm")
LOWER: Final = ("lower", "bottom", "depth_to", "to", "hzn_bot", "lower_depth", "depth_bottom", "bottom_cm", "lower_cm")


class DepthColumns(NamedTuple):
    """Columns of the upper and lower depth of a sample, and their unit."""

    upper: str
    lower: str
    units: str = "cm"


def depth_columns(table: pd.DataFrame) -> DepthColumns | None:
    """The columns that are named for an upper and a lower depth, or None.

    Parameters
    ----------
    table : DataFrame

    Examples
    --------
    >>> depth_columns(pd.DataFrame(columns=["site", "Top", "Bottom"]))
    DepthColumns(upper='Top', lower='Bottom', units='cm')
    """
    lower = {str(column).strip().lower(): str(column) for column in reversed(list(table.columns))}
    for first, second in zip(UPPER, LOWER, strict=True):
        if first in lower and second in lower:
            return DepthColumns(lower[first], lower[second])
    return None


def samples_at_depth(
    samples: pd.DataFrame,
    interval: tuple[float, float] = TOPSOIL_CM,
    *,
    depths: DepthColumns | tuple[str, str] | None = None,
    settings: SplineSettings | None = None,
    where: str = "samples",
) -> pd.DataFrame:
    """One value for each site, replicate and property: the mean of a depth interval, by an equal-area spline.

    Parameters
    ----------
    samples : DataFrame
        Tidy, of `read_samples`, whose replicates are told apart by `replicate`, with columns of upper and lower depth.
        Rows of one site, replicate and property are its depths. Not changed.
    interval : (top, bottom), cm
    depths : DepthColumns or (upper, lower), optional
        Names of the columns; by default upper and lower, top and bottom, or depth_from and depth_to, in cm.
    settings : SplineSettings, optional
        Smoothing, and the share of the interval that a profile must reach; half by default.
    where : str
        Named in messages.

    Returns
    -------
    DataFrame
        Tidy, one row a site, replicate and property with a value in the interval; other columns are those of its
        uppermost depth. A depth below the detection limit counts as half the limit; a row is censored where all depths
        with a value within the interval are. `.attrs["depths"]`: `profiles`, `without_value` and `censored_depths` by
        property.

    Raises
    ------
    InputError
        For missing columns, depths that are no interval, a censored depth without a limit, and where no profile
        reaches the interval.

    Notes
    -----
    Bishop et al. 1999, see `tpsoil.depths.equal_area_spline`. The spline is fitted to values in the property's own
    unit, so that the mean of each horizon is kept; pH too, see `tpsoil.soil_properties`.

    Examples
    --------
    >>> table = pd.DataFrame({"site": ["a", "a", "b"], "replicate": 1, "element": "Fe", "value": [9.0, 3.0, 5.0],
    ...                       "detection_limit": np.nan, "censored": False, "top": [0, 20, 0], "bottom": [20, 50, 10]})
    >>> samples_at_depth(table)[["site", "value"]].round(2).values.tolist()
    [['a', 9.81], ['b', 5.0]]
    """
    columns = depth_columns(samples) if depths is None else DepthColumns(*depths)
    if columns is None:
        raise InputError(f"{where}: no columns of upper and lower depth; name them, such as depths=('top', 'bottom')")
    require_columns(samples, [*columns[:2], "site", "replicate", "element", "value"], where=where)
    factor = conversion(columns.units, "cm", where=f"{where}: depths").factor
    table = samples.reset_index(drop=True)
    for name in columns[:2]:
        table[name] = numeric_column(table[name], where=where) * factor
    empty = ~(table[columns.lower] > table[columns.upper]) | (table[columns.upper] < 0)
    if empty.any():
        raise InputError(
            f"{where}: {int(empty.sum())} samples have no depth interval ({describe_lines(empty, table.attrs)}): "
            f"'{columns.lower}' must lie below '{columns.upper}', which is 0 or more; correct them or drop the rows"
        )
    censored = table["censored"].astype(bool) if "censored" in table else pd.Series(False, index=table.index)
    filled = table["value"].astype(np.float64).where(~censored, table.get("detection_limit", np.nan) / 2)
    if filled[censored].isna().any():
        raise InputError(
            f"{where}: {int(filled[censored].isna().sum())} censored depths have no detection limit, so that no mean "
            f"of depths can be computed; {pass_option('limits')}"
        )
    parts, counts = [], {}
    for element, rows in table.assign(_value=filled, _censored=censored).groupby("element", sort=False):
        part, counts[str(element)] = _of_element(rows, interval, columns, settings, where)
        parts.append(part)
    result = pd.concat(parts, ignore_index=True)
    result.attrs = {**samples.attrs, "depths": counts}
    return result


def _of_element(
    rows: pd.DataFrame,
    interval: tuple[float, float],
    columns: DepthColumns,
    settings: SplineSettings | None,
    where: str,
) -> tuple[pd.DataFrame, dict[str, int]]:
    keys = ["site", "replicate"]
    rows = rows.assign(_profile=rows.groupby(keys, sort=False).ngroup())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # counted
        try:
            means = depth_means(
                rows, ["_value"], intervals=[interval], profile="_profile", depths=columns[:2], settings=settings
            )
        except InputError as error:
            reason = str(error).replace("_value", str(rows["element"].iloc[0])).removeprefix("depth_means: ")
            raise InputError(f"{where}: {interval[0]:g} to {interval[1]:g} cm: {reason}") from error
    values = means.set_index("_profile")[interval_name("_value", interval)]
    top = rows.sort_values(columns.upper, kind="stable").drop_duplicates("_profile").set_index("_profile").sort_index()
    values = values.reindex(top.index)
    within = rows[(rows[columns.upper] < interval[1]) & (rows[columns.lower] > interval[0]) & rows["_value"].notna()]
    below = within.groupby("_profile")["_censored"].all().reindex(top.index, fill_value=False).astype(bool)
    below &= values.notna()
    limit = within.groupby("_profile")["detection_limit"].max().reindex(top.index)
    top["value"] = values.where(~below)
    top["detection_limit"], top["censored"] = limit, below
    top[columns.upper], top[columns.lower] = interval
    counts = {
        "profiles": len(top),
        "without_value": int(values.isna().sum()),
        "censored_depths": int(within["_censored"].sum()),
    }
    kept = top[top["value"].notna() | top["censored"]]
    return kept.drop(columns=["_value", "_censored"]).reset_index(drop=True), counts
