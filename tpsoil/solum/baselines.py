"""Baselines of the solum model on the same profiles and folds: the mean of the zone, and a random forest."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from tpsoil.errors import InputError
from tpsoil.evaluation.censored import tobit_residuals

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

OWN_COMPLETE: Final = 5
"""Complete profiles of a zone from which the distribution of its thickness is estimated. Of 2 complete ones at 0.3 m
beside 20 limits at 1.5 m the likelihood has its maximum at a mean of 4.4 m."""


def expected_thickness(observed: npt.ArrayLike, censored: npt.ArrayLike, zone: npt.ArrayLike) -> Doubles:
    """Thickness of profiles, that of lower limits as expected beyond the limit.

    Parameters
    ----------
    observed : array_like (n,), m
        Thickness or lower limit.
    censored : array_like (n,) of bool
        True for a lower limit.
    zone : array_like (n,)

    Returns
    -------
    (n,) float64, m
        NaN for limits where even all profiles have no two different complete ones.

    Notes
    -----
    Expectation of the normal distribution of maximum likelihood of the zone's complete profiles and limits, as in the
    objective "tobit" (Tobin 1958); of all profiles for a zone with fewer than 5 complete ones. The mean of the result
    is then the mean of maximum likelihood.

    References
    ----------
    Tobin, J. (1958), Econometrica 26. doi:10.2307/1907382.

    Examples
    --------
    >>> thickness = expected_thickness([0.4, 0.5, 0.6, 0.7, 0.8, 0.9], [False] * 5 + [True], [1] * 6)
    >>> thickness.round(3).tolist()
    [0.4, 0.5, 0.6, 0.7, 0.8, 0.999]
    """
    values, limit, zones = np.array(observed, np.float64), np.asarray(censored, bool), np.asarray(zone)
    for code in np.unique(zones[limit]):
        own = zones == code
        rows = own if (own & ~limit).sum() >= OWN_COMPLETE else np.ones(values.size, bool)
        (mean,), (sd,) = tobit_residuals(np.asarray(observed, np.float64)[rows], limit[rows])
        z = (values[own & limit] - mean) / sd
        density = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - special.log_ndtr(-z))
        values[own & limit] = mean + sd * density
    return values


def zone_mean(table: pd.DataFrame, train: Rows, code: int | float) -> float:
    """Mean of the training profiles of a zone, m; NaN where none is complete."""
    zone, limit = table["zone"].to_numpy(), table["censored"].to_numpy(bool)
    if not (train & (zone == code) & ~limit).any():
        return float("nan")
    values = expected_thickness(table["solum_thickness"].to_numpy(float)[train], limit[train], zone[train])
    own = values[zone[train] == code]
    return float(own[np.isfinite(own)].mean())


def zone_mean_baseline(table: pd.DataFrame, fold: npt.NDArray[np.int64]) -> Doubles:
    """Out-of-fold prediction by the mean of the zone's other profiles, m; NaN where none of them is complete.

    Parameters
    ----------
    table : DataFrame
        `zone`, `solum_thickness` and `censored`: the thickness of a censored profile is a lower limit, see
        `expected_thickness`.
    fold : (n,) int

    Returns
    -------
    (n,) float64
    """
    zone = table["zone"].to_numpy()
    result = np.full(len(table), np.nan)
    for code in np.unique(zone):
        for k in np.unique(fold[zone == code]):
            result[(zone == code) & (fold == k)] = zone_mean(table, fold != k, code)
    return result


def forest_baseline(
    table: pd.DataFrame, fold: npt.NDArray[np.int64], features: list[str], seed: int, trees: int = 200
) -> Doubles:
    """Out-of-fold prediction of a random forest on the same profiles and folds, m.

    Parameters
    ----------
    table : DataFrame
        `zone`, `solum_thickness`, the features, without NaN, and `censored`: see `expected_thickness`.
    fold : (n,) int
    features : list of str
    seed, trees : int

    Returns
    -------
    (n,) float64
    """
    from sklearn.ensemble import RandomForestRegressor

    inputs, observed = table[features].to_numpy(float), table["solum_thickness"].to_numpy(float)
    limit, zone = table["censored"].to_numpy(bool), table["zone"].to_numpy()
    result = np.full(observed.size, np.nan)
    for k in np.unique(fold):
        test, train = fold == k, np.flatnonzero(fold != k)
        thickness = expected_thickness(observed[train], limit[train], zone[train])
        train, thickness = train[np.isfinite(thickness)], thickness[np.isfinite(thickness)]
        if (~limit[train]).sum() < 2:
            continue
        forest = RandomForestRegressor(trees, min_samples_leaf=3, max_features=1 / 3, random_state=seed, n_jobs=1)
        result[test] = forest.fit(inputs[train], thickness).predict(inputs[test])
    return result


def incomplete_features(table: pd.DataFrame, features: tuple[str, ...]) -> dict[str, int]:
    """Features of the forest baseline that are missing at profiles, with their number; the forest does not have them.

    Raises
    ------
    InputError
        For a feature without any value, or of text.
    """
    gaps = {}
    for name in features:
        numbers = pd.to_numeric(table[name].astype(object), errors="coerce").to_numpy(np.float64)
        if (np.isnan(numbers) & table[name].notna().to_numpy()).any():
            example = table[name][np.isnan(numbers) & table[name].notna().to_numpy()].iloc[0]
            raise InputError(
                f"baseline_features: {name} has text such as {example!r}, expected numbers; give classes as codes"
            )
        gaps[name] = int((~np.isfinite(numbers)).sum())
    if empty := [name for name, count in gaps.items() if count == len(table)]:
        raise InputError(
            f"baseline_features: {', '.join(empty)} has no value at any of {len(table)} profiles; leave it out, or "
            "check that the layer covers them"
        )
    return {name: count for name, count in gaps.items() if count}
