"""How good a thickness is: scores, folds within zones, spatial blocks, and baselines beside the model."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError

Doubles = npt.NDArray[np.float64]

SCORES: Final = ("n", "rmse", "mae", "me", "mre", "nse", "r2", "not_positive")
"""Number of pairs; m; m; m (simulated - observed); 1; 1; 1; pairs with observed <= 0, which MRE leaves out."""


def score(observed: Any, simulated: Any) -> dict[str, float]:
    """How far simulated thickness is from observed thickness.

    Parameters
    ----------
    observed, simulated : array-like (n,), m
        Pairs with a NaN on either side are left out; `n` counts what is left.

    Returns
    -------
    dict
        By the names of `SCORES`; NaN for what cannot be computed: all without pairs, `nse` and `r2` with fewer than two
        or a constant side, `mre` without a positive observation.

    Raises
    ------
    InputError
        For different lengths.

    Notes
    -----
    RMSE Eq. 10, MAE Eq. 11, MRE Eq. 12. `me` is the mean of simulated - observed: the study's printed "MAE" (0.06
    beside an RMSE of 0.45 would need an error above 3.3 m in a map that ends at 1.6 m) is almost surely this (science
    sheet 2i), so both are given. `nse` is 1 - SSE/SST; `r2` the squared Pearson correlation: they are not the same.
    MRE is ruled by thin soils.

    Examples
    --------
    >>> round(score([1.2, 1.9, 3.4, 3.9, 5.6], [1, 2, 3, 4, 5])["rmse"], 10)
    0.3405877273
    """
    seen, made = np.asarray(observed, dtype=np.float64).ravel(), np.asarray(simulated, dtype=np.float64).ravel()
    if seen.shape != made.shape:
        raise InputError(f"score: {seen.size} observed and {made.size} simulated values, expected as many")
    pairs = np.isfinite(seen) & np.isfinite(made)
    seen, made = seen[pairs], made[pairs]
    result = dict.fromkeys(SCORES, float("nan"))
    result["n"] = float(seen.size)
    result["not_positive"] = float((seen <= 0).sum())
    if not seen.size:
        return result
    error = made - seen
    result["rmse"] = float(np.sqrt((error**2).mean()))
    result["mae"] = float(np.abs(error).mean())
    result["me"] = float(error.mean())
    thick = seen > 0
    if thick.any():
        result["mre"] = float((np.abs(error[thick]) / seen[thick]).mean())
    total = float(((seen - seen.mean()) ** 2).sum())
    if seen.size > 1 and total > 0:
        result["nse"] = 1.0 - float((error**2).sum()) / total
        spread = float(((made - made.mean()) ** 2).sum())
        if spread > 0:
            shared = float(((seen - seen.mean()) * (made - made.mean())).sum())
            result["r2"] = shared**2 / (total * spread)
    return result


def folds_within_zones(zone: Any, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold for each profile, balanced within its zone.

    Parameters
    ----------
    zone : array-like (n,)
    folds : int
        >= 2.
    seed : int
        A zone's folds depend on the seed, the zone and its number of profiles, not on the other zones.

    Returns
    -------
    (n,) int64
        0 .. folds - 1; within a zone the folds' sizes differ by at most one.

    Raises
    ------
    InputError
        For fewer than two folds.

    Examples
    --------
    >>> np.bincount(folds_within_zones([1] * 10, 4, seed=0)).tolist()
    [3, 3, 2, 2]
    """
    if folds < 2:
        raise InputError(f"folds is {folds}, expected at least 2")
    zones = np.asarray(zone)
    result = np.empty(zones.size, np.int64)
    for code in np.unique(zones):
        members = np.flatnonzero(zones == code)
        rng = np.random.default_rng([seed, int(code) + 1])
        result[members[rng.permutation(members.size)]] = np.arange(members.size) % folds
    return result


def folds_by_blocks(x: Any, y: Any, block_size: float, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold for each profile, whole spatial blocks at a time.

    Parameters
    ----------
    x, y : array-like (n,)
        In the unit of `block_size`.
    block_size : float
        Side of the square blocks; > 0.
    folds, seed : int

    Returns
    -------
    (n,) int64
        Blocks are dealt largest first to the fold that has least, in an order that the seed shuffles among equals.

    Raises
    ------
    InputError
        For fewer than two folds, a block size that is not positive, coordinates that are not finite, or fewer blocks
        than folds.

    Examples
    --------
    >>> folds_by_blocks([0, 1, 10, 11, 20, 30], [0, 0, 0, 0, 0, 0], 5, 2, seed=0).shape
    (6,)
    """
    if folds < 2:
        raise InputError(f"folds is {folds}, expected at least 2")
    if not (np.isfinite(block_size) and block_size > 0):
        raise InputError(f"block_size is {block_size!r}, expected a positive number")
    places = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
    if not np.isfinite(places).all():
        raise InputError("folds_by_blocks: some coordinates are not finite; give every profile x and y")
    _, block = np.unique(np.floor(places / block_size).astype(np.int64), axis=0, return_inverse=True)
    block = block.ravel()
    sizes = np.bincount(block)
    if sizes.size < folds:
        raise InputError(f"{sizes.size} blocks of {block_size:g} hold all profiles, expected at least {folds}")
    shuffled = np.random.default_rng([seed, 7]).permutation(sizes.size)
    filled, fold_of = np.zeros(folds, np.int64), np.empty(sizes.size, np.int64)
    for b in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of[b] = int(np.argmin(filled))
        filled[fold_of[b]] += sizes[b]
    return fold_of[block]


def zone_mean_baseline(table: pd.DataFrame, fold: npt.NDArray[np.int64]) -> Doubles:
    """Out-of-fold prediction by the mean of the zone's other profiles, m; NaN where the zone has none.

    Parameters
    ----------
    table : DataFrame
        `zone` and `solum_thickness`.
    fold : (n,) int

    Returns
    -------
    (n,) float64
    """
    zone, seen = table["zone"].to_numpy(), table["solum_thickness"].to_numpy(float)
    result = np.full(seen.size, np.nan)
    for code in np.unique(zone):
        for k in np.unique(fold):
            train = (zone == code) & (fold != k)
            if train.any():
                result[(zone == code) & (fold == k)] = seen[train].mean()
    return result


def forest_baseline(
    table: pd.DataFrame, fold: npt.NDArray[np.int64], features: list[str], seed: int, trees: int = 200
) -> Doubles:
    """Out-of-fold prediction of a random forest on the same profiles and folds, m.

    Parameters
    ----------
    table : DataFrame
        `solum_thickness` and the features, without NaN.
    fold : (n,) int
    features : list of str
    seed, trees : int

    Returns
    -------
    (n,) float64
    """
    from sklearn.ensemble import RandomForestRegressor

    inputs, seen = table[features].to_numpy(float), table["solum_thickness"].to_numpy(float)
    result = np.full(seen.size, np.nan)
    for k in np.unique(fold):
        train = fold != k
        if train.sum() < 2:
            continue
        forest = RandomForestRegressor(trees, min_samples_leaf=3, max_features=1 / 3, random_state=seed, n_jobs=1)
        result[~train] = forest.fit(inputs[train], seen[train]).predict(inputs[~train])
    return result


def paired_difference(
    observed: Any, first: Any, second: Any, *, seed: int = 0, resamples: int = 2000
) -> dict[str, float]:
    """Whether one prediction's RMSE differs from another's on the same profiles.

    Parameters
    ----------
    observed, first, second : array-like (n,), m
        Triples with a NaN are left out.
    seed, resamples : int

    Returns
    -------
    dict
        `difference` (RMSE of first - RMSE of second, m), `low`, `high` (its 95 % bootstrap interval), `n`, and
        `gain_percent`: 100 (RMSE second - RMSE first)/RMSE second. The study's abstract says 10-17 %; its Table 5 gives
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
