"""Calibration of a forest's predictive distributions out of fold: coverage of intervals and quantiles, PIT, CRPS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.evaluation import conformal_quantile, crps, interval_coverage, pit_values, quantile_coverage
from tpsoil.forest.intervals import conformal_scores
from tpsoil.forest.trained import LEVELS, TrainedForest, forward, tails

Floats = npt.NDArray[np.float64]

STEPS: Final = 20
"""Quantiles at equal steps from which CRPS is computed."""
BINS: Final = 10
MINIMUM_ROWS: Final = 10
"""Smaller groups are not listed."""


def corrected_quantiles(trained: TrainedForest) -> tuple[Floats, Floats]:
    """Out-of-fold quantiles with the conformal correction of their level, learned from the other folds.

    Parameters
    ----------
    trained : TrainedForest

    Returns
    -------
    quantiles : ndarray (n, q)
        On the scale of the fit, rising in each row; of the deciding folds.
    levels : ndarray (q,)
    """
    frame = trained.predictions[trained.deciding]
    transform, folds = str(trained.settings["transform"]), frame["fold"].to_numpy()
    columns: dict[float, Floats] = {0.5: forward(frame["q0.5"].to_numpy(dtype=np.float64), transform)}
    for level in LEVELS:
        scores = conformal_scores(trained, level).to_numpy()
        shift = np.zeros(len(frame))
        for fold in np.unique(folds):
            correction = conformal_quantile(scores[folds != fold], level)
            shift[folds == fold] = correction if np.isfinite(correction) else 0.0
        for tail, sign in zip(tails(level), (-1.0, 1.0)):
            raw = forward(frame[f"q{tail:g}"].to_numpy(dtype=np.float64), transform)
            columns[tail] = raw + sign * shift
    levels = np.array(sorted(columns))
    # A negative correction of one level may cross another.
    return np.sort(np.stack([columns[level] for level in levels], axis=1), axis=1), levels


def calibration_tables(
    trained: TrainedForest, groups: Mapping[str, pd.Series[Any]], *, level: float = 0.9
) -> dict[str, pd.DataFrame]:
    """Coverage, sharpness and scores of predictive distributions, overall and by group.

    Parameters
    ----------
    trained : TrainedForest
    groups : mapping of str to Series
        Labels of the rows, such as classes or thirds of a distance; matched by index. Groups below 10 rows and rows
        without a label are left out.
    level : float
        Of the intervals by group; one of 0.5, 0.8, 0.9, 0.95.

    Returns
    -------
    dict of str to DataFrame
        "uncertainty": `by`, `group`, `n`, `level`, `coverage`, `binomial_se`, `below`, `above`, `mean_width`
        (sharpness), `interval_score`, `crps`, `pit_mean`; all levels for all rows, then `level` by group.
        "quantile_coverage": `level`, `coverage`, `binomial_se`, one-sided. "pit": `bin`, `share` of the histogram.
        All on the scale of the fit, in the deciding folds.

    Raises
    ------
    InputError
        For another level, and groups by "all".

    References
    ----------
    Gneiting and Raftery 2007, Journal of the American Statistical Association 102, doi 10.1198/016214506000001437
    """
    _require_level(level)
    if "all" in groups:
        raise InputError("calibration: groups are by 'all', which is the row of all rows; give them another name")
    frame = trained.predictions[trained.deciding]
    observed = frame["observed"].to_numpy(dtype=np.float64)
    quantiles, levels = corrected_quantiles(trained)
    steps = (np.arange(STEPS) + 0.5) / STEPS
    members = np.array([np.interp(steps, levels, row) for row in quantiles])
    every = crps(observed, members)
    pit = pit_values(observed, quantiles, levels)

    def rows(part: npt.NDArray[np.bool_], by: str, group: str, wanted: tuple[float, ...]) -> pd.DataFrame:
        table = interval_coverage(observed[part], quantiles[part], levels)
        table = table[np.isclose(table["level"].to_numpy()[:, None], wanted).any(axis=1)].copy()
        table.insert(0, "n", int(part.sum()))
        table.insert(0, "group", group)
        table.insert(0, "by", by)
        result: pd.DataFrame = table.assign(crps=float(every[part].mean()), pit_mean=float(pit[part].mean()))
        return result

    parts = [rows(np.ones(len(frame), dtype=bool), "all", "all", LEVELS)]
    for by, labels in groups.items():
        own = labels.reindex(frame.index)
        for label in sorted(own.dropna().unique(), key=str):
            part = (own == label).to_numpy(dtype=bool, na_value=False)
            if part.sum() >= MINIMUM_ROWS:
                parts.append(rows(part, by, str(label), (level,)))
    shares = np.histogram(pit, bins=np.linspace(0, 1, BINS + 1))[0] / len(pit)
    histogram = pd.DataFrame({"bin": [f"{k / BINS:g} to {(k + 1) / BINS:g}" for k in range(BINS)], "share": shares})
    return {
        "uncertainty": pd.concat(parts, ignore_index=True),
        "quantile_coverage": quantile_coverage(observed, quantiles, levels),
        "pit": histogram,
    }


def within_site_error(trained: TrainedForest, *, level: float = 0.9) -> pd.DataFrame | None:
    """Intervals for the true value of a site beside those for a new measurement there.

    Parameters
    ----------
    trained : TrainedForest
        With several rows at some sites.
    level : float
        One of 0.5, 0.8, 0.9, 0.95.

    Returns
    -------
    DataFrame or None
        One row: `replicated_sites`; `within_sd`, of the replicates about the mean of their site (sampling within the
        cell and measurement together); `residual_sd`; `within_share` of the residual variance; `width_measurement` and
        `width_true`, mean widths of the intervals for a new measurement and for the true value. On the scale of the
        fit. None without replicates.

    Raises
    ------
    InputError
        As `calibration_tables`.

    Notes
    -----
    The residuals out of fold include the error of the measurement, so the intervals are those of a new measurement. For
    the true value: half-width = sqrt(half^2 - (z within_sd)^2), 0 where that is negative: the errors are independent.
    """
    from scipy.stats import norm

    _require_level(level)
    if trained.groups is None:
        return None
    frame = trained.predictions[trained.deciding]
    observed = frame["observed"].to_numpy(dtype=np.float64)
    site = pd.factorize(trained.groups.reindex(frame.index))[0]
    count = np.bincount(site)
    if not (count > 1).any():
        return None
    mean = np.bincount(site, weights=observed) / count
    within = float(((observed - mean[site]) ** 2).sum() / (count - 1).sum())
    residual = float(((observed - frame["predicted"].to_numpy(dtype=np.float64)) ** 2).mean())
    quantiles, levels = corrected_quantiles(trained)
    low, high = quantiles[:, np.searchsorted(levels, tails(level))].T
    half = (high - low) / 2
    z = float(norm.ppf((1 + level) / 2))
    true = np.sqrt(np.maximum(half**2 - z**2 * within, 0.0))
    return pd.DataFrame([{
        "replicated_sites": int((count > 1).sum()), "within_sd": float(np.sqrt(within)),
        "residual_sd": float(np.sqrt(residual)), "within_share": within / residual, "level": level,
        "width_measurement": float(2 * half.mean()), "width_true": float(2 * true.mean()),
    }])  # fmt: skip


def _require_level(level: float) -> None:
    if level not in LEVELS:
        raise InputError(f"calibration: level is {level!r}, expected one of {list(LEVELS)}")
