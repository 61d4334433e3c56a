"""Quantiles of a forest's conditional distribution, row by row, without an array of rows by training points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tpsoil.kernels.compile import jit

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BATCH = 512
"""Rows at a time."""


@jit
def forest_quantiles(
    rows: Array,
    root: Array,
    left: Array,
    right: Array,
    feature: Array,
    threshold: Array,
    missing_left: Array,
    start: Array,
    member: Array,
    share: Floats,
    target: Floats,
    quantiles: Floats,
    result: Floats,
) -> None:
    """Quantiles of the training targets under each row's weights.

    Parameters
    ----------
    rows : ndarray (m, features), float32
    root, left, right, feature, threshold, missing_left
        The forest, as in `trees.apply_rows`.
    start : ndarray (nodes + 1,), int64
        A node's training rows are member[start[node]:start[node + 1]]; none for an inner node.
    member : ndarray (k,), int32
        Training rows by rank of their target.
    share : ndarray (k,), float64
        Their part of the leaf, 1 in all.
    target : ndarray (n,), float64
        Ascending.
    quantiles : ndarray (q,), float64
        Ascending, 0..1.
    result : ndarray (m, q), float64
        Written in place: the smallest target whose cumulated weight reaches the quantile, to 1e-9 for the rounding
        of the sum.
    """
    n = target.size
    trees = root.size
    weight = np.empty((BATCH, n))
    for begin in range(0, rows.shape[0], BATCH):
        end = min(begin + BATCH, rows.shape[0])
        weight[: end - begin] = 0.0
        # Trees outside: one tree's nodes stay in the cache for a whole batch of rows.
        for tree in range(trees):
            for i in range(begin, end):
                node = root[tree]
                while left[node] >= 0:
                    value = rows[i, feature[node]]
                    if value <= threshold[node] or (np.isnan(value) and missing_left[node]):
                        node = np.int64(left[node])
                    else:
                        node = np.int64(right[node])
                for k in range(start[node], start[node + 1]):
                    weight[i - begin, member[k]] += share[k]
        for i in range(begin, end):
            total = 0.0
            for j in range(n):
                total += weight[i - begin, j]
            cumulated = 0.0
            j = -1
            for q in range(quantiles.size):
                wanted = (quantiles[q] - 1e-9) * total
                while j < 0 or (cumulated < wanted and j < n - 1):
                    j += 1
                    cumulated += weight[i - begin, j]
                result[i, q] = target[j]
