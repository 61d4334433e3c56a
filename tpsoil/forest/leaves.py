"""Who sits in which leaf: in-bag counts rebuilt from the trees' seeds, and leaves in another unit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError

Floats = npt.NDArray[np.float64]


def in_bag_counts(forest: Any) -> npt.NDArray[np.int64]:
    """How often each training row was drawn for each tree.

    Parameters
    ----------
    forest : RandomForestRegressor
        Fitted, with its `random_state` seeds.

    Returns
    -------
    ndarray (trees, rows), int64
        0 where the row is out of the tree's bag.

    Notes
    -----
    The draws are rebuilt from the seed that each tree keeps; nothing needs to be stored while fitting. Without
    bootstrapping every count is 1.
    """
    rows = int(getattr(forest, "_n_samples", 0))
    if rows == 0:
        raise InputError("forest: it is not fitted; call fit first")
    if not forest.bootstrap:
        return np.ones((len(forest.estimators_), rows), dtype=np.int64)
    return np.stack([np.bincount(drawn, minlength=rows) for drawn in forest.estimators_samples_])


def leaves_of(forest: Any, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Node index of the leaf of every row in every tree, (rows, trees)."""
    return np.stack([tree.tree_.apply(rows) for tree in forest.estimators_], axis=1)


def with_leaf_means(forest: Any, X: npt.NDArray[np.float32], target: Floats) -> Any:
    """A forest with the same splits whose leaves hold the in-bag mean of another target.

    Parameters
    ----------
    forest : RandomForestRegressor
        Fitted on `X`.
    X : ndarray (rows, columns), float32
        Its training rows.
    target : ndarray (rows,)
        What the leaves shall hold, such as mg/kg for a forest that was grown on log10 mg/kg.

    Returns
    -------
    RandomForestRegressor
        A copy. Its prediction is the sum of w_i(x) target_i with the weights w of the quantile forest.

    Notes
    -----
    A forest grown on logarithms predicts their mean; 10 to that power is near a median, below the mean of a skewed
    quantity. Here the splits keep the advantages of the logarithm while each leaf holds the arithmetic mean, so the
    prediction is a mean in the target's own unit, without a distribution being assumed.
    """
    twin = copy.deepcopy(forest)
    leaves = leaves_of(forest, X)
    for tree, bag, leaf in zip(twin.estimators_, in_bag_counts(forest), leaves.T):
        nodes = tree.tree_.node_count
        weight = np.bincount(leaf, weights=bag, minlength=nodes)
        total = np.bincount(leaf, weights=bag * target, minlength=nodes)
        filled = weight > 0
        value = tree.tree_.value
        value[filled, 0, 0] = total[filled] / weight[filled]
    return twin
