"""Regression trees as flat arrays: the plain walk, one row down one tree.

The words of a forest: `root` (trees,) is the index of each tree's first node; `left`, `right` are node indices, -1 at a
leaf; `threshold` is float32, so that `x <= threshold` in float32 decides as `x <= t` does with the double t.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]


@jit
def apply_rows(
    rows: Array, root: Array, left: Array, right: Array, feature: Array, threshold: Array, missing_left: Array
) -> Array:
    """Leaf of every row in every tree.

    Parameters
    ----------
    rows : ndarray (n, features), float32
        NaN is a missing value and goes where `missing_left` says.
    root : ndarray (trees,), int64
    left, right : ndarray (nodes,), int32
    feature : ndarray (nodes,), int32
    threshold : ndarray (nodes,), float32
    missing_left : ndarray (nodes,), bool

    Returns
    -------
    ndarray (n, trees), int64
        Node indices within the forest. This is the reference that the fast walk is held to; it makes an array of rows
        x trees, which the fast walk never does.
    """
    leaves = np.empty((rows.shape[0], root.size), dtype=np.int64)
    for tree in range(root.size):
        for row in range(rows.shape[0]):
            node = root[tree]
            while left[node] >= 0:
                value = rows[row, feature[node]]
                if value <= threshold[node] or (np.isnan(value) and missing_left[node]):
                    node = np.int64(left[node])
                else:
                    node = np.int64(right[node])
            leaves[row, tree] = node
    return leaves


@jit
def mean_and_spread_rows(
    rows: Array,
    root: Array,
    left: Array,
    right: Array,
    feature: Array,
    threshold: Array,
    missing_left: Array,
    value: Array,
    mean: Array,
    sd: Array,
) -> None:
    """Mean and standard deviation between trees, for one output.

    Parameters
    ----------
    rows, root, left, right, feature, threshold, missing_left
        As in `apply_rows`.
    value : ndarray (nodes,), float64
        What a leaf predicts.
    mean, sd : ndarray (n,), float64
        Written in place. `sd` has ddof 1 and is NaN for a single tree.

    Notes
    -----
    Deviations are taken from the first tree's value K: var (T - 1) = sum (x - K)^2 - (sum (x - K))^2 / T. As
    (mean - K)^2 <= (T - 1) var always, the subtraction loses at most T units in the last place.
    """
    trees = root.size
    first = np.empty(rows.shape[0])
    total = np.zeros(rows.shape[0])
    square = np.zeros(rows.shape[0])
    for tree in range(trees):
        for row in range(rows.shape[0]):
            node = root[tree]
            while left[node] >= 0:
                x = rows[row, feature[node]]
                if x <= threshold[node] or (np.isnan(x) and missing_left[node]):
                    node = np.int64(left[node])
                else:
                    node = np.int64(right[node])
            if tree == 0:
                first[row] = value[node]
            deviation = value[node] - first[row]
            total[row] += deviation
            square[row] += deviation * deviation
    for row in range(rows.shape[0]):
        mean[row] = first[row] + total[row] / trees
        if trees > 1:
            sd[row] = np.sqrt(max(square[row] - total[row] * total[row] / trees, 0.0) / (trees - 1))
        else:
            sd[row] = np.nan
