"""Baselines for the solum model, and paired comparison of predictions on the same profiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError

Doubles = npt.NDArray[np.float64]


def zone_mean_baseline(table: pd.DataFrame, fold: npt.NDArray[np.int64]) -> Doubles:
    """Out-of-fold prediction by the mean of the zone's other complete profiles, m; NaN where the zone has none.

    Parameters
    ----------
    table : DataFrame
        `zone`, `solum_thickness` and `censored`: the thickness of a censored profile is a lower limit, which no mean
        contains.
    fold : (n,) int

    Returns
    -------
    (n,) float64
    """
    zone, observed = table["zone"].to_numpy(), table["solum_thickness"].to_numpy(float)
    complete = ~table["censored"].to_numpy(bool)
    result = np.full(observed.size, np.nan)
    for code in np.unique(zone):
        for k in np.unique(fold):
            train = (zone == code) & (fold != k) & complete
            if train.any():
                result[(zone == code) & (fold == k)] = observed[train].mean()
    return result


def forest_baseline(
    table: pd.DataFrame, fold: npt.NDArray[np.int64], features: list[str], seed: int, trees: int = 200
) -> Doubles:
    """Out-of-fold prediction of a random forest on the same profiles and folds, m.

    Parameters
    ----------
    table : DataFrame
        `solum_thickness`, the features, without NaN, and `censored`: such profiles are predicted, not trained on.
    fold : (n,) int
    features : list of str
    seed, trees : int

    Returns
    -------
    (n,) float64
    """
    from sklearn.ensemble import RandomForestRegressor

    inputs, observed = table[features].to_numpy(float), table["solum_thickness"].to_numpy(float)
    result = np.full(observed.size, np.nan)
    complete = ~table["censored"].to_numpy(bool)
    for k in np.unique(fold):
        test, train = fold == k, (fold != k) & complete
        if train.sum() < 2:
            continue
        forest = RandomForestRegressor(trees, min_samples_leaf=3, max_features=1 / 3, random_state=seed, n_jobs=1)
        result[test] = forest.fit(inputs[train], observed[train]).predict(inputs[test])
    return result


def paired_difference(
    observed: Any, first: Any, second: Any, *, seed: int = 0, resamples: int = 2000
) -> dict[str, float]:
    """Whether one prediction's RMSE differs from another's on the same profiles.

    Parameters
    ----------
    observed, first, second : array-like (n,), m
        Triples with a NaN are omitted.
    seed, resamples : int

    Returns
    -------
    dict
        `difference` (RMSE of first - RMSE of second, m), `low`, `high` (its 95 % bootstrap interval), `n`, and
        `gain_percent`: 100 (RMSE second - RMSE first)/RMSE second. The study's abstract reports 10-17 %, its Table 5
        19.05 % (Liu) and 24.44 % (Shangguan), so it is recomputed here (science sheet 2j).

    Raises
    ------
    InputError
        For different lengths or fewer than two triples.

    Examples
    --------
    >>> round(paired_difference([1, 2, 3, 4], [1.1, 2.1, 3.1, 4.1], [1.2, 2.2, 3.2, 4.2])["gain_percent"], 6)
    50.0
    """
    columns = [np.asarray(side, float).ravel() for side in (observed, first, second)]
    if len({column.size for column in columns}) != 1:
        raise InputError(f"paired_difference: lengths {[column.size for column in columns]}, expected one length")
    stacked = np.stack(columns)
    stacked = stacked[:, np.isfinite(stacked).all(axis=0)]
    n = stacked.shape[1]
    if n < 2:
        raise InputError(f"paired_difference: {n} complete profiles, expected at least 2")
    errors = (stacked[1:] - stacked[0]) ** 2
    draws = np.random.default_rng(seed).integers(0, n, (resamples, n))
    roots = np.sqrt(errors[:, draws].mean(axis=2))
    rmse = np.sqrt(errors.mean(axis=1))
    low, high = np.quantile(roots[0] - roots[1], [0.025, 0.975])
    return {
        "difference": float(rmse[0] - rmse[1]),
        "low": float(low),
        "high": float(high),
        "gain_percent": float(100 * (rmse[1] - rmse[0]) / rmse[1]) if rmse[1] > 0 else float("nan"),
        "n": float(n),
    }
