"""Quantiles of a pixel from its leaves: between the trees' values, or of the training responses in the leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit
from .trees_lanes import LANES

Array = npt.NDArray[Any]

BINS = 256


@jit
def sort_few(values: Array, count: Any) -> None:
    """Sort the first `count` values in place; by insertion, as there are few."""
    for i in range(1, count):
        v = values[i]
        j = i - 1
        while j >= 0 and values[j] > v:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = v


@jit
def order_statistic(values: Array, bins: Array, counts: Array, rank: Any, few: Array) -> Any:
    """The value of a rank (from 0), from binned values: only the bin of the rank is sorted."""
    before, b = 0, 0
    while before + counts[b] <= rank:
        before += counts[b]
        b += 1
    count = 0
    for k in range(values.size):
        if bins[k] == b:
            few[count] = values[k]
            count += 1
    if count > 64:
        return np.sort(few[:count])[rank - before]
    sort_few(few, count)
    return few[rank - before]


@jit
def tree_quantiles(leaves: Array, root: Array, value: Array, levels: Array, where: Array, result: Array) -> None:
    """Quantiles between the predictions of the trees for a pixel.

    Parameters
    ----------
    leaves : ndarray (words, trees, 64), uint16 or uint32
        Leaf within its tree of each pixel.
    root : ndarray (trees,), int64
    value : ndarray (nodes,), float64
    levels : ndarray (k,), float64, in 0 .. 1
    where : ndarray (n,), uint32
        Pixels of `leaves`, in order.
    result : ndarray (pixels, k), float64
        Written at `where`. Linear between order statistics (type 7 of Hyndman and Fan 1996, numpy's default).
    """
    trees = root.size
    values, few = np.empty(trees), np.empty(trees)
    bins = np.empty(trees, np.uint8)
    counts = np.empty(BINS, np.int64)
    for pixel in range(min(leaves.shape[0] * LANES, where.size)):
        word, lane = pixel // LANES, pixel % LANES
        at = np.int64(where[pixel])
        for tree in range(trees):
            values[tree] = value[root[tree] + np.int64(leaves[word, tree, lane])]
        low, high = values[0], values[0]
        for tree in range(trees):
            low = min(low, values[tree])
            high = max(high, values[tree])
        scale = (BINS - 1) / (high - low) if high > low else 0.0
        if not np.isfinite(scale):
            scale = 0.0
        counts[:] = 0
        for tree in range(trees):
            b = np.uint8((values[tree] - low) * scale)
            bins[tree] = b
            counts[np.int64(b)] += 1
        for k in range(levels.size):
            place = levels[k] * (trees - 1)
            below = np.int64(place)
            above = below + 1 if below + 1 < trees else below
            a = order_statistic(values, bins, counts, below, few)
            b2 = order_statistic(values, bins, counts, above, few)
            t = place - below
            # numpy's interpolation, from the nearer end.
            result[at, k] = b2 - (b2 - a) * (1.0 - t) if t >= 0.5 else a + (b2 - a) * t


@jit
def summed_quantiles(
    leaves: Array,
    root: Array,
    begin: Array,
    member: Array,
    rank: Array,
    response: Array,
    weighted: Any,
    levels: Array,
    where: Array,
    pixels: Array,
    result: Array,
) -> None:
    """The quantiles of `response_quantiles` for some pixels, weights summed in the order of quantile-forest.

    Parameters
    ----------
    leaves, root, where
        As in `tree_quantiles`.
    begin : ndarray (nodes + 1,), uint32
        Members of a leaf are member[begin[leaf]] .. member[begin[leaf + 1] - 1].
    member : ndarray, uint32
        Training rows; one that was drawn twice is listed twice.
    rank : ndarray (rows,), uint32
        Position of each training row's response in `response`.
    response : ndarray (rows,), float64, ascending
    weighted : bool
        Each of n members of a leaf has the weight 1 / n (Meinshausen 2006, eq. 5); else 1.
    levels : ndarray (k,), float64, in 0 .. 1
    pixels : ndarray, int64
        Positions in `leaves`.
    result : ndarray (pixels, k), float64
        Written at `where`.
    """
    trees, rows = root.size, response.size
    weight = np.zeros(rows)
    block = np.zeros(rows // 64 + 1, np.uint8)
    touched = np.empty(rows + 64, np.int64)
    running = np.empty(rows + 64)
    for pixel in pixels:
        word, lane = pixel // LANES, pixel % LANES
        at = np.int64(where[pixel])
        members = np.int64(0)
        if weighted:
            for tree in range(trees):
                leaf = root[tree] + np.int64(leaves[word, tree, lane])
                members += np.int64(begin[leaf + 1]) - np.int64(begin[leaf])
        for tree in range(trees):
            leaf = root[tree] + np.int64(leaves[word, tree, lane])
            start, stop = np.int64(begin[leaf]), np.int64(begin[leaf + 1])
            share = 1.0 / (stop - start) * members / trees if weighted and stop > start else 1.0
            for m in range(start, stop):
                r = np.int64(rank[np.int64(member[m])])
                weight[r] += share
                block[r >> 6] = 1
        count = np.int64(0)
        for b in range(block.size):
            if block[b]:
                block[b] = 0
                for row in range(b * 64, min(b * 64 + 64, rows)):
                    touched[count] = row
                    count += weight[row] > 0
        total = 0.0
        for j in range(count):
            total += weight[touched[j]]
            running[j] = total
        for k in range(levels.size):
            result[at, k] = (
                np.nan if count == 0 else weighted_level(levels[k], count, total, touched, running, weight, response)
            )
        for j in range(count):
            weight[touched[j]] = 0.0


@jit
def weighted_level(
    level: Any, count: Any, total: Any, touched: Array, running: Array, weight: Array, response: Array
) -> Any:
    """One level of `summed_quantiles`, from the running sums of the weights."""
    position = level * (total - 1.0) + 1.0
    # The first response whose running sum is above the position, by bisection.
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if running[middle] <= position:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return response[touched[0]]
    if low == count:
        return response[touched[count - 1]]
    floor, ceiling = response[touched[low - 1]], response[touched[low]]
    if floor == ceiling:
        return floor
    span = total - 1.0
    from_level = min(level, (running[low - 1] - 1.0) / span)
    to_level = max(level, (running[low] - 1.0) / span)
    to_level = from_level + (to_level - from_level) / weight[touched[low]]
    if level >= to_level:
        return ceiling
    fraction = (level - from_level) / (to_level - from_level)
    if fraction <= 0.0:
        return floor
    return ceiling if fraction >= 1.0 else floor + fraction * (ceiling - floor)
