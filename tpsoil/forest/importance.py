"""Permutation importance out of bag, as R's randomForest defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.forest.held_out import columns_of_sets
from tpsoil.forest.quantiles import in_bag_counts

Floats = npt.NDArray[np.float64]


def permutation_importance(
    forest: Any,
    design: pd.DataFrame,
    target: Floats,
    sets: Mapping[str, Sequence[str]] | None = None,
    *,
    repeats: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Rise of the out-of-bag squared error when columns are permuted, tree by tree.

    Parameters
    ----------
    forest : RandomForestRegressor
        Fitted on `design` and `target`, with bootstrapping.
    design : DataFrame (n, p), float32
    target : ndarray (n,)
    sets : mapping of str to sequence of str, optional
        Columns that are permuted together, by one and the same permutation, such as correlated covariates or the
        dummies of a class. By default each column alone.
    repeats : int
        Permutations a tree; its rise is their mean.
    seed : int

    Returns
    -------
    DataFrame
        Index: the sets. `increase_mse`: %IncMSE, mean of the rise over its standard error. `mean_increase`: the mean
        itself, in squared units of the target. `standard_error`.

    Raises
    ------
    InputError
        For a forest without bootstrapping, or a set that names no column.

    Notes
    -----
    delta_t = MSE(OOB_t, permuted) - MSE(OOB_t), over the rows that tree t did not draw; a tree without such rows, or
    one that does not use the columns, has delta 0. increase_mse = mean(delta) / SE with
    SE = sqrt((mean(delta^2) - mean(delta)^2) / T), the population form; not divided where SE < 2.2e-16. The drawn rows
    are rebuilt from the trees' seeds. A permutation deals the column's values among the tree's own out-of-bag rows.

    References
    ----------
    Breiman 2001, Machine Learning 45, doi 10.1023/A:1010933404324; Liaw and Wiener 2002, R News 2(3).
    """
    if not forest.bootstrap:
        raise InputError("importance: the forest was grown without bootstrapping, so no row is out of bag")
    if repeats < 1:
        raise InputError(f"importance: repeats is {repeats}, expected 1 or more")
    names = [str(name) for name in design.columns]
    column_sets = columns_of_sets({name: [name] for name in names}, sets)
    X = np.ascontiguousarray(design.to_numpy(dtype=np.float32))
    y = np.asarray(target, dtype=np.float64)
    columns = {key: np.array([names.index(name) for name in members]) for key, members in column_sets.items()}
    trees = forest.estimators_
    delta = np.zeros((len(trees), len(columns)))
    streams = np.random.SeedSequence([int(seed), 77]).spawn(len(trees))
    for t, (tree, counts, stream) in enumerate(zip(trees, in_bag_counts(forest), streams)):
        out = np.flatnonzero(counts == 0)
        if not len(out):
            continue
        rows, observed = X[out], y[out]
        used = set(tree.tree_.feature[tree.tree_.feature >= 0].tolist())
        before = float(((_predict(tree, rows) - observed) ** 2).mean())
        rng = np.random.default_rng(stream)
        for j, members in enumerate(columns.values()):
            orders = [rng.permutation(len(out)) for _ in range(repeats)]
            if used.isdisjoint(members.tolist()):
                continue
            for order in orders:
                mixed = rows.copy()
                mixed[:, members] = rows[np.ix_(order, members)]
                delta[t, j] += (float(((_predict(tree, mixed) - observed) ** 2).mean()) - before) / repeats
    return scaled_increase(delta, list(columns))


def scaled_increase(delta: Floats, names: Sequence[str]) -> pd.DataFrame:
    """%IncMSE of the rises of all trees.

    Parameters
    ----------
    delta : ndarray (trees, sets)
    names : sequence of str

    Returns
    -------
    DataFrame
        `increase_mse`, `mean_increase`, `standard_error`.

    Examples
    --------
    >>> round(float(scaled_increase(np.array([[1.0], [2.0], [3.0]]), ["x"])["increase_mse"].iloc[0]), 9)
    4.242640687
    """
    trees = len(delta)
    mean = delta.mean(axis=0)
    error = np.sqrt(np.maximum((delta**2).mean(axis=0) - mean**2, 0.0) / trees)
    tiny = error < np.finfo(float).eps
    scaled = np.where(tiny, mean, mean / np.where(tiny, 1.0, error))
    return pd.DataFrame(
        {"increase_mse": scaled, "mean_increase": mean, "standard_error": error}, index=pd.Index(names, name="feature")
    )


def _predict(tree: Any, rows: npt.NDArray[np.float32]) -> Floats:
    return np.asarray(tree.tree_.predict(rows)[:, 0], dtype=np.float64)
