"""Grow scikit-learn's forests with threads of our own, tree for tree equal to scikit-learn's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    Forest = TypeVar("Forest", RandomForestRegressor, ExtraTreesRegressor)

BATCH: Final = 64
"""Trees whose bootstrap samples are in memory together."""


def grow(forest: Forest, X: Any, y: Any, *, sample_weight: Any = None, threads: int = 1) -> Forest:
    """Fit a forest in place.

    Parameters
    ----------
    forest : RandomForestRegressor or ExtraTreesRegressor
        With an integer `random_state` where `threads` is above 1. Its `n_jobs` becomes 1.
    X : DataFrame or array (n, p)
    y : array (n,) or (n, outputs)
    sample_weight : array (n,), optional
        Weighted forests are grown on one thread.
    threads : int

    Returns
    -------
    RandomForestRegressor or ExtraTreesRegressor
        The forest, equal to what `forest.fit` gives on one thread.

    Raises
    ------
    ValueError
        What scikit-learn raises for the data and the settings.

    Notes
    -----
    scikit-learn (1.5 and newer) restores the warning filters inside every thread of a parallel fit. Before Python 3.14
    these filters belong to the process: with more than one thread they are sometimes emptied, and each later fit emits
    "sklearn.utils.parallel.delayed should be used with ..." for every tree. The first tree is therefore fitted by the
    forest itself, which checks the data; the others, whose seeds follow the first in the same stream, by themselves.
    """
    trees = int(forest.n_estimators)
    forest.n_jobs = 1
    if threads == 1 or trees == 1 or sample_weight is not None:
        return forest.fit(X, y, sample_weight)
    forest.n_estimators = 1
    try:
        forest.fit(X, y)
    finally:
        forest.n_estimators = trees
    rows, values = _rows(X), np.asarray(y, dtype=np.float64)
    grown = list(forest.estimators_)
    seeds = np.random.RandomState(forest.random_state).randint(np.iinfo(np.int32).max, size=trees)
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(1, trees, BATCH):
            batch = [_unfitted(grown[0], int(seed)) for seed in seeds[begin : begin + BATCH]]
            forest.estimators_ = batch
            drawn = forest.estimators_samples_ if forest.bootstrap else [None] * len(batch)
            grown += pool.map(lambda tree, rows_drawn: _grow_tree(tree, rows, values, rows_drawn), batch, drawn)
    forest.estimators_ = grown
    return forest


def _unfitted(tree: Any, seed: int) -> Any:
    from sklearn.base import clone

    return clone(tree).set_params(random_state=seed)


def _grow_tree(tree: Any, rows: npt.NDArray[np.float32], values: Any, drawn: Any) -> Any:
    weight = None if drawn is None else np.bincount(drawn, minlength=len(rows)).astype(np.float64)
    return tree.fit(rows, values, sample_weight=weight)


def _rows(X: Any) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32)
