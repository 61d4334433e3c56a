"""Covariates as ranks, and pixels ordered by similarity.

`rank` of a value x of a feature: how many of the feature's thresholds are below x. A tree depends on x only by its
rank, so 64 ranks of 16 bits have the information of 64 float32. Pixels are then ordered by halving the block along the
feature in which its ranks are widest, down to words of 64, so that the pixels of a word go through a tree together.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .compile import jit
from .trees_lanes import LANES

Array = npt.NDArray[Any]

FEW: Final = 4
"""Thresholds compared at once in a bucket."""


@jit
def bucket_of(x: Any, low: Any, scale: Any, buckets: Any) -> Any:
    """Bucket of x in 0 .. buckets - 1; monotone in x."""
    if x <= low or scale == 0.0:
        return 0
    place = (np.float64(x) - low) * scale
    return buckets - 1 if place >= buckets - 1 else np.int64(place)


@jit
def fill_buckets(thresholds: Array, low: Any, scale: Any, starts: Array) -> None:
    """First threshold of each bucket.

    Parameters
    ----------
    thresholds : ndarray (m,), float32, ascending
    low, scale : float
        Of `bucket_of`.
    starts : ndarray (buckets + 1,), int32
        Written: bucket b holds thresholds starts[b] .. starts[b + 1] - 1.
    """
    buckets = starts.size - 1
    starts[:] = 0
    for k in range(thresholds.size):
        starts[bucket_of(thresholds[k], low, scale, buckets) + 1] += 1
    for b in range(buckets):
        starts[b + 1] += starts[b]


@jit
def rank_column(
    values: Array,
    where: Array,
    thresholds: Array,
    low: Any,
    scale: Any,
    starts: Array,
    ranks: Array,
    column: Any,
) -> None:
    """Ranks of one feature at chosen pixels.

    Parameters
    ----------
    values : ndarray (pixels,), float32
    where : ndarray (n,), uint32
        Pixels to rank.
    thresholds : ndarray (m + 4,), float32, ascending
        The last four are infinite.
    low, scale, starts
        As in `fill_buckets`: a value's rank is between its bucket's ends, as the bucket is monotone in x.
    ranks : ndarray (>= n, >= features), uint16 or uint32
        Written in `column`: rank in 0 .. m; m + 1 for NaN.

    Notes
    -----
    Most buckets hold few thresholds. For those the first four from the bucket's start on are compared, whether of this
    bucket or of a later one, which is above x anyway: no branch to mispredict. Halves the time of a bisection.
    """
    buckets = starts.size - 1
    for k in range(where.size):
        x = values[np.int64(where[k])]
        if np.isnan(x):
            ranks[k, column] = thresholds.size - FEW + 1
            continue
        b = bucket_of(x, low, scale, buckets)
        first, last = np.int64(starts[b]), np.int64(starts[b + 1])
        if last - first <= FEW:
            below = 0
            for j in range(FEW):
                below += thresholds[np.uint64(first + j)] < x
            ranks[k, column] = first + below
            continue
        while first < last:
            middle = (first + last) >> 1
            if thresholds[middle] < x:
                first = middle + 1
            else:
                last = middle
        ranks[k, column] = first


@jit
def widest(ranks: Array, start: Any, stop: Any, weight: Array, offset: Array, lowest: Array, highest: Array) -> Any:
    """Feature whose ranks span the most of the forest's splits, or -1 where all examined pixels are equal.

    Examines about 64 pixels: their range excludes the few extreme ones, and words are a tenth faster than by the
    range of all.
    """
    features = offset.size
    for f in range(lowest.size):
        lowest[f] = ranks[start, f]
        highest[f] = ranks[start, f]
    for k in range(start + 1, stop, max(1, (stop - start) // LANES)):
        for f in range(lowest.size):
            r = ranks[k, f]
            lowest[f] = min(lowest[f], r)
            highest[f] = max(highest[f], r)
    best, chosen = 0.0, -1
    for f in range(features):
        span = weight[offset[f] + np.int64(highest[f])] - weight[offset[f] + np.int64(lowest[f])]
        if span > best:
            best, chosen = span, f
    return chosen


@jit
def halve(ranks: Array, rows: Array, where: Array, start: Any, stop: Any, middle: Any, feature: Any) -> None:
    """Move pixels so that no rank of `feature` before `middle` is above one after it.

    Bisects the range of ranks, so it ends after at most as many sweeps as a rank has bits.
    """
    low = np.int64(ranks[start, feature])
    high = low
    for k in range(start, stop):
        r = np.int64(ranks[k, feature])
        low = min(low, r)
        high = max(high, r)
    while low < high and start < stop:
        pivot = low + (high - low) // 2
        i, j = start, stop - 1
        while True:
            while i <= j and np.int64(ranks[i, feature]) <= pivot:
                i += 1
            while i <= j and np.int64(ranks[j, feature]) > pivot:
                j -= 1
            if i >= j:
                break
            for w in range(rows.shape[1]):
                swapped = rows[i, w]
                rows[i, w] = rows[j, w]
                rows[j, w] = swapped
            place = where[i]
            where[i] = where[j]
            where[j] = place
            i += 1
            j -= 1
        if middle == i:
            return
        if middle < i:
            stop, high = i, pivot
        else:
            start, low = i, pivot + 1


@jit
def order_pixels(ranks: Array, rows: Array, where: Array, weight: Array, offset: Array) -> None:
    """Order pixels so that each run of 64 is similar; the order changes the speed, not the result.

    Parameters
    ----------
    ranks : ndarray (n, columns), uint16 or uint32
        Reordered in place with `where`; columns beyond the features are padding.
    rows : ndarray (n, words), uint64
        The same memory, by which pixels are moved.
    where : ndarray (n,), uint32
    weight : ndarray, float64
        At offset[f] + r: the share of the forest's work that splits feature f below rank r.
    offset : ndarray (features,), int64
    """
    lowest = np.empty(ranks.shape[1], ranks.dtype)
    highest = np.empty(ranks.shape[1], ranks.dtype)
    begins = np.empty(128, np.int64)
    ends = np.empty(128, np.int64)
    begins[0], ends[0] = 0, where.size
    depth = 1
    while depth > 0:
        depth -= 1
        start, stop = begins[depth], ends[depth]
        if stop - start <= LANES:
            continue
        feature = widest(ranks, start, stop, weight, offset, lowest, highest)
        if feature < 0:
            continue
        middle = start + ((stop - start) // 2 + LANES - 1) // LANES * LANES
        halve(ranks, rows, where, start, stop, middle, feature)
        begins[depth], ends[depth] = start, middle
        begins[depth + 1], ends[depth + 1] = middle, stop
        depth += 2


@jit
def encode_words(
    ranks: Array, n: Any, first: Any, count: Any, plane_feature: Array, table: Array, offset: Array, codes: Array
) -> None:
    """One forest's codes of words of 64 pixels.

    Parameters
    ----------
    ranks : ndarray (n, columns), uint16 or uint32
        Pixels beyond n repeat the last one.
    first, count : int
        First word, and number of words.
    plane_feature : ndarray (planes,), int64
        Column of each plane.
    table : ndarray, dtype of `codes`
        At offset[plane] + rank: the forest's own code, 1 + its thresholds below; missing values are the largest code,
        or 0 on the plane of the nodes that send them left.
    codes : ndarray (count planes 64,), uint16 or uint32
        Written.
    """
    planes = plane_feature.size
    for word in range(count):
        start = (first + word) * LANES
        for plane in range(planes):
            feature, shift = plane_feature[plane], offset[plane]
            at = (word * planes + plane) * LANES
            for pixel in range(LANES):
                codes[at + pixel] = table[shift + np.int64(ranks[min(start + pixel, n - 1), feature])]
