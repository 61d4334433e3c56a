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
        NaN is a missing value; `missing_left` is its direction.
    root : ndarray (trees,), int64
    left, right : ndarray (nodes,), int32
    feature : ndarray (nodes,), int32
    threshold : ndarray (nodes,), float32
    missing_left : ndarray (nodes,), bool

    Returns
    -------
    ndarray (n, trees), int64
        Node indices within the forest. This is the reference for the fast walk; it allocates an array of rows
        x trees, which the fast walk does not.
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
def sum_leaves(leaves: Array, value: Array, sums: Array) -> None:
    """Sums over the trees of one output, in the order of the trees.

    Parameters
    ----------
    leaves : ndarray (n, trees), int64
        Of `apply_rows`.
    value : ndarray (nodes,), float64
    sums : ndarray (4, n), float64
        Written, as by `trees_walk.add_values`.
    """
    for row in range(leaves.shape[0]):
        shift = value[leaves[row, 0]]
        a, b, c = 0.0, 0.0, 0.0
        for tree in range(leaves.shape[1]):
            v = value[leaves[row, tree]]
            d = v - shift
            a += v
            b += d
            c += d * d
        sums[0, row], sums[1, row], sums[2, row], sums[3, row] = shift, a, b, c
