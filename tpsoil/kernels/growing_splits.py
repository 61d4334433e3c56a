"""Splits of a node of a regression tree: the exact one of least squared error, or a random one, by one feature.

Rules of ties and of missing values are those of scikit-learn 1.6 and newer.

Symbols: n rows, p features, W and S the sum of weights and of weight times centred target of a node, l and r its
children.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]

SHIFT_13, SHIFT_7, SHIFT_17, SHIFT_32 = np.uint64(13), np.uint64(7), np.uint64(17), np.uint64(32)
SHIFT_11, UNIT = np.uint64(11), 2.0**-53


@jit
def random_bits(state: Array) -> Any:
    """64 random bits, by Marsaglia's xorshift; `state` (1,), uint64, not 0, is advanced."""
    x = state[0]
    x ^= x << SHIFT_13
    x ^= x >> SHIFT_7
    x ^= x << SHIFT_17
    state[0] = x
    return x


@jit
def random_below(state: Array, limit: Any) -> Any:
    """A random integer in 0 .. limit - 1; `state` as in `random_bits`."""
    return np.int64(((random_bits(state) >> SHIFT_32) * np.uint64(limit)) >> SHIFT_32)


@jit
def scan_feature(
    order: Array,
    code: Array,
    same: Array,
    terms: Array,
    missing: Any,
    totals: Array,
    least_rows: Any,
    least_weight: Any,
    best: Array,
    feature: Any,
) -> None:
    """Best split of a node by one feature, if it is better than the best so far.

    Parameters
    ----------
    order : ndarray (m,), uint16 or uint32
        Rows of the node, by ascending value; missing ones last.
    code : ndarray (n,), uint16 or uint32
        Rank of each row's value among the distinct values.
    same : ndarray (distinct + 1,), dtype of `code`
        Largest rank whose value counts as equal to that of each rank.
    terms : ndarray (n, 2), float64
        Weight, and weight times centred target, of each row.
    missing : int
        Rows of the node whose value is missing.
    totals : ndarray (2,), float64
        W and S.
    least_rows, least_weight : int, float
        Of a child.
    best : ndarray (5,), float64
        The first four are updated: S_l^2 / W_l + S_r^2 / W_r, feature, rows in the left child, and 1 where missing
        values go left. The left rows are the first of `order`, and the missing ones where they go left.
    feature : int
    """
    m = order.size
    present = m - missing
    weight_missing, sum_missing = 0.0, 0.0
    for i in range(present, m):
        weight_missing += terms[order[i], 0]
        sum_missing += terms[order[i], 1]
    whole_weight, whole_sum = totals[0], totals[1]
    for missing_left in range(2 if missing > 0 else 1):
        weight = weight_missing if missing_left else 0.0
        total = sum_missing if missing_left else 0.0
        extra = missing if missing_left else 0
        rank = code[order[0]]
        # With missing values on the right, all present values may be on the left.
        for i in range(present if missing > 0 and not missing_left else present - 1):
            row = order[i]
            weight += terms[row, 0]
            total += terms[row, 1]
            following = code[order[i + 1]]
            if following == rank:
                continue
            differs = following > same[rank]
            rank = following
            left = i + 1 + extra
            if not differs or left < least_rows or m - left < least_rows:
                continue
            other = whole_weight - weight
            if weight < least_weight or other < least_weight:
                continue
            rest = whole_sum - total
            gain = total * total / weight + rest * rest / other
            if gain > best[0]:
                best[0] = gain
                best[1] = feature
                best[2] = left
                best[3] = missing_left


@jit
def draw_split(
    order: Array,
    code: Array,
    level: Array,
    terms: Array,
    missing: Any,
    totals: Array,
    least_rows: Any,
    least_weight: Any,
    best: Array,
    feature: Any,
    state: Array,
) -> None:
    """One random split of a node by one feature, if it is better than the best so far.

    Parameters
    ----------
    order, code, terms, missing, totals, least_rows, least_weight, feature
        As in `scan_feature`.
    level : ndarray (ranks,), float64
        Distinct values of the feature, ascending.
    best : ndarray (5,), float64
        Updated: as in `scan_feature`, and the threshold.
    state : ndarray (1,), uint64
        Of the random numbers; advanced.

    Notes
    -----
    The threshold is uniform between the lowest and the highest value of the node, and missing values go to a side at
    random (Geurts et al. 2006, doi 10.1007/s10994-006-6226-1; scikit-learn for missing values).
    """
    m = order.size
    present = m - missing
    low, high = level[code[order[0]]], level[code[order[present - 1]]]
    threshold = low + (high - low) * (np.float64(random_bits(state) >> SHIFT_11) * UNIT)
    if threshold >= high:
        threshold = low
    missing_left = missing > 0 and random_below(state, 2) == 1
    weight, total, left = 0.0, 0.0, 0
    while left < present and level[code[order[left]]] <= threshold:
        weight += terms[order[left], 0]
        total += terms[order[left], 1]
        left += 1
    if missing_left:
        for i in range(present, m):
            weight += terms[order[i], 0]
            total += terms[order[i], 1]
        left += missing
    other, rest = totals[0] - weight, totals[1] - total
    if left < least_rows or m - left < least_rows or weight < least_weight or other < least_weight:
        return
    gain = total * total / weight + rest * rest / other
    if gain > best[0]:
        best[0], best[1], best[2], best[3], best[4] = gain, feature, left, missing_left, threshold
