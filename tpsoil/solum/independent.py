"""A map of solum thickness at profiles that its parameters were not fitted to; unfinished pits are lower limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.display import text_summary
from tpsoil.errors import InputError, UnitsError
from tpsoil.evaluation import CensoredObservations, block_codes, conformal_quantile, interval_coverage
from tpsoil.evaluation.censored import share_limits
from tpsoil.grid import cell_sizes_m, grid_of
from tpsoil.points import locate_points, position_columns, positions_of
from tpsoil.soil_mask import MASK, with_soil_mask
from tpsoil.tiles import compute_together

from .baselines import zone_mean
from .observations import OBSERVED, SUSPECT_THICKNESS_M, THICKNESS_NAMES, lower_limits, merged_thickness, values_at

Doubles = npt.NDArray[np.float64]

FEW: Final = 10
"""Complete profiles below which scores are of little weight; a 90 % conformal interval needs 9 others."""
SUSPECT_THIN_M: Final = 0.02
"""Median below which depths in metres were read as centimetres."""
DRAWS: Final = 1000
CONFORMAL_LEVELS: Final = (0.5, 0.8, 0.9)
THIS: Final = "map"
ZONE_MEAN: Final = "mean of the other profiles of the zone"
MAP_MEAN: Final = "mean of the map everywhere"
NOT_ESTIMATED: Final = (
    "the profiles are no probability sample: the scores are of these places, not of the map, and are no map accuracy"
)


@dataclass(frozen=True)
class ProfileValidation:
    """Result of `validate_at_profiles`.

    Parameters
    ----------
    points : DataFrame
        A row a site: `profile_id` (or row number), its position, `zone` (where the maps have one), `cell`, `observed`
        (m), `censored`, `predicted` (m), `residual` (observed - predicted, m; of a limit a lower limit), `agrees` (a
        limit that the map reaches; true for complete ones), the baselines' predictions, and quantiles of the map.
    scores : DataFrame
        `prediction`, `measure`, `n`, `value`, `lower`, `upper`; for baselines `difference` (map - baseline) with
        `difference_lower`, `difference_upper`. Measures are those of `tpsoil.evaluation.CensoredObservations`, m.
    coverage : DataFrame
        `interval`, `level`, `n`, `coverage`, its exact binomial `lower` and `upper`, `mean_width` (m), `limits_above`:
        lower limits above the interval, which are outside of it for certain.
    counts : DataFrame
        `profiles`, `count`: read, left out by reason, merged, used.
    notes : tuple of str
        What the numbers support.
    """

    points: pd.DataFrame
    scores: pd.DataFrame
    coverage: pd.DataFrame
    counts: pd.DataFrame
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        limits = int(self.points["censored"].sum())
        return text_summary("Validation at profiles", {"complete": len(self.points) - limits, "lower limits": limits})


def validate_at_profiles(
    maps: xr.Dataset,
    profiles: pd.DataFrame,
    *,
    quantiles: Mapping[float, str] | None = None,
    block_size: float | None = None,
    level: float = 0.9,
    seed: int = 0,
) -> ProfileValidation:
    """Score a map of solum thickness at profiles that its parameters were not fitted to.

    Parameters
    ----------
    maps : Dataset (y, x)
        `solum_thickness` (m), with a CRS; optional `zone` and `soil_mask`, and the layers of `quantiles`.
    profiles : DataFrame
        Of `tpsoil.ingest.read_profiles`: a thickness in metres (`solum_thickness` or `thickness`), `lon`, `lat` or
        `x`, `y`; optional `censored` (the solum is at least that thick) and `problem`.
    quantiles : mapping of probability to layer name, optional
        Quantiles of the map, whose intervals are checked.
    block_size : float, optional
        Side of the blocks of which the bootstrap draws the profiles, in their unit (degrees or m): neighbours err
        together. Single sites by default.
    level : float
        Of the intervals of the scores.
    seed : int

    Returns
    -------
    ProfileValidation

    Raises
    ------
    InputError
        Without a thickness or positions, for a quantile without a layer, and where no profile is on a cell of the map.
    UnitsError
        For a median thickness above 10 m or below 2 cm.

    Notes
    -----
    No folds: every profile is one that the model has not seen. Profiles of one place are merged: the mean of the
    complete ones, else the largest limit. Baselines on the same profiles: the mean of the other profiles of the zone
    (of all zones where none of its own is complete), with limits as in `tpsoil.solum.baselines.expected_thickness`, and
    the area mean of the map everywhere. Conformal intervals are the map plus and minus a quantile of the other
    profiles' absolute residuals; n profiles support levels up to n/(n + 1).

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(500_000)
    >>> layer = xr.DataArray(np.full(grid.shape, 0.7, "float32"), dims=("y", "x"), coords=coordinates(grid))
    >>> pits = pd.DataFrame({"lon": [85.0, 91.0], "lat": [33.0, 31.0], "solum_thickness": [0.5, 0.9],
    ...                      "censored": [False, True]})
    >>> result = validate_at_profiles(xr.Dataset({"solum_thickness": layer}), pits)
    >>> scores = result.scores.query("prediction == 'map'").set_index("measure")["value"]
    >>> scores[["bias", "below_limit"]].round(6).tolist()
    [0.2, 1.0]
    """
    maps = with_soil_mask(maps)
    points, counts = _placed(maps, profiles, dict(quantiles or {}))
    points[MAP_MEAN] = _map_mean(maps[OBSERVED])
    points[ZONE_MEAN] = _zone_means(points)
    pair = position_columns(points, where="validation")
    groups = None
    if block_size is not None:
        groups = block_codes(*positions_of(points, pair, where="validation"), block_size)
    limits = points["censored"].to_numpy(bool)
    pits = CensoredObservations(points["observed"].to_numpy(float), limits, groups, level, DRAWS, seed)
    complete = int((~limits).sum())
    notes = [f"{NOT_ESTIMATED}; {complete} complete profiles and {int(limits.sum())} lower limits"]
    if not complete:
        notes.append(
            "every profile is a lower limit: errors, NSE and concordance need profiles whose solum ends in the pit; "
            "only whether the map is thinner than what was dug is known"
        )
    elif complete < FEW:
        notes.append(f"only {complete} complete profiles: errors of so few places are of little weight")
    scores = [_rows(THIS, pits.scores(points["predicted"]))]
    for name in (ZONE_MEAN, MAP_MEAN):
        if points[name].notna().all():
            own = pits.scores(points[name])
            beside = pits.difference(points["predicted"], points[name]).drop(columns="n")
            beside.columns = pd.Index(["difference", "difference_lower", "difference_upper"])
            scores.append(_rows(name, own.join(beside)))
    coverage, more = _coverage(points[~limits], points[limits], dict(quantiles or {}))
    table = pd.concat(scores, ignore_index=True)
    return ProfileValidation(points, table, coverage, counts, (*notes, *more))


def _placed(maps: xr.Dataset, profiles: pd.DataFrame, quantiles: dict[float, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The usable profiles with the values of their cells, and the counts of all."""
    table = profiles.reset_index(drop=True)
    name = next((name for name in THICKNESS_NAMES if name in table.columns), None)
    if name is None:
        raise InputError("validation: profiles have no column 'solum_thickness'; read them with read_profiles")
    if missing := [layer for layer in quantiles.values() if layer not in maps]:
        raise InputError(f"validation: no layer '{missing[0]}' of a quantile")
    pair = position_columns(table, where="validation")
    value = pd.to_numeric(table[name], errors="coerce")
    _require_metres(value)
    layers = [OBSERVED, *(layer for layer in ("zone", MASK) if layer in maps), *quantiles.values()]
    placed = table[[pair.east, pair.north]].notna().all(axis=1)
    sampled = values_at(maps, table.assign(**{c: table[c].fillna(0.0) for c in (pair.east, pair.north)}), layers)
    box = grid_of(maps, where="validation")
    usable_places = table.loc[placed, [pair.east, pair.north]]
    row, column = locate_points(usable_places, box, where="profiles") if len(usable_places) else ([], [])
    cell = pd.Series(-1, index=table.index)
    cell[placed] = np.asarray(row) * box.shape[1] + np.asarray(column)
    reason = pd.Series("", index=table.index, dtype=object)
    problem = table.get("problem", reason).astype(object)
    problem = problem.where(problem.notna(), "")  # an empty cell of a file
    causes: list[tuple[Any, Any]] = [
        (problem != "", problem),
        (~(value > 0) | ~np.isfinite(value), "without a thickness above 0"),
        (~placed, "without a position"),
        (~sampled["inside"].astype(bool), "outside the grid"),
        (sampled[MASK] != 1 if MASK in sampled else False, "on a masked cell (glacier, lake, outside)"),
        (sampled[OBSERVED].isna(), "on a cell without a thickness"),
    ]
    for where, cause in causes:
        free = (reason == "") & np.asarray(where, dtype=bool)
        reason[free] = cause[free] if isinstance(cause, pd.Series) else cause
    points = pd.DataFrame({"profile_id": table.get("profile_id", pd.Series(table.index)), "cell": cell})
    points[[*pair.names]] = table[[pair.east, pair.north]]
    points["observed"], points["predicted"] = value, sampled[OBSERVED]
    points["censored"] = lower_limits(table)
    points[[layer for layer in layers if layer not in {OBSERVED, MASK}]] = sampled[
        [layer for layer in layers if layer not in {OBSERVED, MASK}]
    ]
    reasons = [(str(why), int((reason == why).sum())) for why in dict.fromkeys(reason[reason != ""])]
    used = points[reason == ""]
    listed = "; ".join(f"{count} {why}" for why, count in reasons)
    if not len(used):
        raise InputError(
            f"validation: none of {len(table)} profiles is on a cell of the map: {listed or 'the table is empty'}; "
            "check their positions, units and the grid, or leave the validation out"
        )
    merged = _merged(used, pair.names)
    merged["residual"] = merged["observed"] - merged["predicted"]
    merged["agrees"] = ~merged["censored"] | (merged["predicted"] >= merged["observed"])
    limits = int(merged["censored"].sum())
    rows = [
        ("read", len(table)),
        *reasons,
        ("of the same place as another, merged", len(used) - len(merged)),
        ("used", len(merged)),
        ("used: complete", len(merged) - limits),
        ("used: lower limits", limits),
        ("cells of the map with a profile", merged["cell"].nunique()),
    ]
    return merged, pd.DataFrame(rows, columns=["profiles", "count"])


def _require_metres(value: pd.Series[float]) -> None:
    median = float(value.median())
    if median > SUSPECT_THICKNESS_M:
        raise UnitsError(
            f"validation: median thickness is {median:g} m; these look like centimetres, give units = 'cm'"
        )
    if 0 < median < SUSPECT_THIN_M:
        raise UnitsError(
            f"validation: median thickness is {median:g} m; these look like metres read as centimetres, units = 'm'"
        )


def _merged(used: pd.DataFrame, position: tuple[str, str]) -> pd.DataFrame:
    """One row a place."""
    rows = []
    for _, place in used.groupby(list(position), sort=False):
        complete = place[~place["censored"]]
        row = (complete if len(complete) else place).iloc[0].copy()
        row["observed"], row["censored"] = merged_thickness(place["observed"], place["censored"])
        rows.append(row)
    return pd.DataFrame(rows).astype(used.dtypes.to_dict()).reset_index(drop=True)


def _map_mean(layer: xr.DataArray) -> float:
    """Area mean of the map, m."""
    area = xr.DataArray(np.multiply(*cell_sizes_m(grid_of(layer, where="validation"))), dims="y")
    total, weight = compute_together([(layer * area).sum(), (layer.notnull() * area).sum()])
    return float(total) / float(weight)


def _zone_means(points: pd.DataFrame) -> Doubles:
    """Mean of the other profiles of the zone; of all zones where none is complete; NaN without another complete one."""
    zone = points["zone"].to_numpy(float) if "zone" in points else np.zeros(len(points))
    table = points[["censored"]].assign(solum_thickness=points["observed"], zone=np.where(np.isnan(zone), -1.0, zone))
    result = np.full(len(points), np.nan)
    for k in range(len(points)):
        others = np.arange(len(points)) != k
        if not np.isnan(zone[k]):
            result[k] = zone_mean(table, others, zone[k])
        if np.isnan(result[k]):
            result[k] = zone_mean(table.assign(zone=0.0), others, 0.0)
    return result


def _rows(prediction: str, scores: pd.DataFrame) -> pd.DataFrame:
    table = scores.reset_index()
    table.insert(0, "prediction", prediction)
    return table


def _coverage(
    complete: pd.DataFrame, limits: pd.DataFrame, quantiles: dict[float, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Empirical coverage of the map's own intervals, and of conformal ones of the other profiles."""
    rows: list[dict[str, Any]] = []
    names = [quantiles[p] for p in sorted(quantiles)]
    of_map = complete.dropna(subset=names)
    pairs = [(p, 1 - p) for p in sorted(quantiles) if p < 0.5 and np.isclose(1 - p, list(quantiles)).any()]
    for low, high in pairs:
        ends = [quantiles[low], next(name for p, name in quantiles.items() if np.isclose(p, high))]
        of_limits = limits.dropna(subset=ends)
        above = int((of_limits["observed"] > of_limits[ends[1]]).sum())
        row = {"interval": "of the map", "level": round(high - low, 12), "n": len(of_map), "limits_above": above}
        if len(of_map):
            own = interval_coverage(of_map["observed"], of_map[ends], [low, high]).iloc[0]
            row |= _covered(float(own["coverage"]), len(of_map)) | {"mean_width": float(own["mean_width"])}
        rows.append(row)
    n, notes = len(complete), list[str]()
    size = complete["residual"].abs().to_numpy(float)
    if n:
        notes.append(f"{n} complete profiles support conformal intervals up to a level of {100 * n / (n + 1):.0f} %")
    for level in CONFORMAL_LEVELS if n > 1 else ():
        others = np.array([conformal_quantile(np.delete(size, k), level) for k in range(n)])
        if not np.isfinite(others).all():
            continue
        half = conformal_quantile(size, level)
        above = int((limits["observed"] > limits["predicted"] + half).sum())
        row = {"interval": "conformal, leave one out", "level": level, "n": n, "mean_width": 2 * half}
        rows.append({**row, **_covered(float((size <= others).mean()), n), "limits_above": above})
    columns = ["interval", "level", "n", "coverage", "lower", "upper", "mean_width", "limits_above"]
    return pd.DataFrame(rows, columns=columns), notes


def _covered(share: float, n: int) -> dict[str, float]:
    lower, upper = share_limits(share, n, 0.9)
    return {"coverage": share, "lower": lower, "upper": upper}
