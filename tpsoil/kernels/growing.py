"""Regression trees grown on rank-coded features: exact splits of least squared error, or random ones (extra-trees).

Each feature is sorted once for all trees. A tree holds the order of its rows by every feature; a split divides each of
these orders in two, stably, so that no node sorts anything. A row that was drawn several times is one row with a
weight. Rules of stopping, of ties between features and of missing values are those of scikit-learn 1.6 and newer.

Symbols: n rows, p features.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .compile import jit
from .growing_splits import draw_split, random_below, scan_feature

Array = npt.NDArray[Any]

EPSILON: Final = float(np.finfo(np.float64).eps)
"""Impurity below which a node counts as pure, as in scikit-learn."""


@jit
def divide(orders: Array, start: Any, end: Any, left: Array, count: Any, spare: Array) -> None:
    """Move the rows of the left child before those of the right one, in the first `count` orders, stably.

    Parameters
    ----------
    orders : ndarray (p, rows), uint16 or uint32
        Changed in place from `start` to `end`.
    left : ndarray (n,), uint8
        1 for rows of the left child.
    count : int
    spare : ndarray (rows,), dtype of `orders`
        Scratch.
    """
    for f in range(count):
        order = orders[f, start:end]
        i, j = np.int64(0), np.int64(0)
        for k in range(order.size):
            row = order[k]
            goes = np.int64(left[row])
            order[i] = row
            spare[j] = row
            i += goes
            j += 1 - goes
        for k in range(j):
            order[i + k] = spare[k]


@jit
def grow_tree(
    codes: Array,
    same: Array,
    distinct: Array,
    values: Array,
    presorted: Array,
    target: Array,
    centred: Array,
    weight: Array,
    limits: Array,
    state: Array,
    orders: Array,
    stack: Array,
    children: Array,
    numbers: Array,
) -> Any:
    """Grow one tree.

    Parameters
    ----------
    codes : ndarray (p, n), uint16 or uint32
        Rank of each value among the feature's distinct ones; `distinct` where missing.
    same : ndarray (p, ranks), dtype of `codes`
        As in `growing_splits.scan_feature`.
    distinct : ndarray (p,), int64
        Number of distinct values of each feature.
    values : ndarray (p, ranks), float64
        Distinct values, ascending.
    presorted : ndarray (p, n), dtype of `codes`
        Rows by ascending code.
    target, centred : ndarray (n,), float64
        The target, and the same less its mean: sums of the latter lose fewer digits.
    weight : ndarray (n,), float64
        0 for rows out of the bag.
    limits : ndarray (7,), float64
        Features tried at a split; maximum depth; minimum rows of a node that is split; minimum rows and minimum weight
        of a child; minimum decrease of impurity; 1 for random splits (`draw_split`), 0 for exact ones.
    state : ndarray (1,), uint64
        Of the random numbers; advanced.
    orders : ndarray (p + 1, n), dtype of `codes`
        Scratch.
    stack : ndarray (n + 2, 5), int64
        Scratch.
    children : ndarray (2 n, 4), int32
        Written: left and right child (-1 at a leaf), feature, and 1 where missing values go left.
    numbers : ndarray (2 n, 5), float64
        Written: threshold, mean, impurity, rows, weight of each node. A threshold is infinite where only missing
        values go right.

    Returns
    -------
    nodes, depth : int
        Number of nodes: a child's index is above its parent's, and the left child follows its parent. Depth of the
        deepest leaf.
    """
    p, n = codes.shape
    terms = np.empty((n, 2))
    left = np.zeros(n, np.uint8)
    totals = np.empty(2)
    best = np.empty(5)
    features = np.arange(p)
    spare = orders[p]
    rows = 0
    for row in range(n):
        terms[row, 0] = weight[row]
        terms[row, 1] = weight[row] * centred[row]
    tried, deepest, least_split, least_rows = limits[0], limits[1], limits[2], limits[3]
    least_weight, least_decrease, random = limits[4], limits[5], limits[6] > 0.0
    for f in range(p):
        rows = 0
        for k in range(n):
            row = presorted[f, k]
            orders[f, rows] = row
            rows += weight[row] > 0.0
    all_weight = 0.0
    nodes, depth_of_stack, reached = 0, 1, 0
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3], stack[0, 4] = 0, rows, 0, -1, 0
    while depth_of_stack > 0:
        depth_of_stack -= 1
        start, end = stack[depth_of_stack, 0], stack[depth_of_stack, 1]
        depth, parent = stack[depth_of_stack, 2], stack[depth_of_stack, 3]
        node = nodes
        nodes += 1
        reached = max(reached, depth)
        if parent >= 0:
            children[parent, stack[depth_of_stack, 4]] = node
        m = end - start
        total, whole, centre, square = 0.0, 0.0, 0.0, 0.0
        first = target[orders[0, start]]
        pure = True
        for k in range(start, end):
            row = orders[0, k]
            w, v = terms[row, 0], target[row]
            total += w
            whole += w * v
            centre += terms[row, 1]
            square += terms[row, 1] * centred[row]
            pure = pure and v == first
        totals[0], totals[1] = total, centre
        impurity = max(square / total - (centre / total) * (centre / total), 0.0)
        if parent < 0:
            all_weight = total
        children[node, 0], children[node, 1], children[node, 2], children[node, 3] = -1, -1, -2, 0
        numbers[node, 0], numbers[node, 1], numbers[node, 2] = -2.0, first if pure else whole / total, impurity
        numbers[node, 3], numbers[node, 4] = m, total
        if depth >= deepest or m < least_split or m < 2 * least_rows or total < 2 * least_weight:
            continue
        if pure or impurity <= EPSILON:
            continue
        best[0], best[1] = -np.inf, -1.0
        visited, evaluated = 0, 0
        while visited < p and (visited < tried or evaluated == 0):
            pick = visited + random_below(state, p - visited)
            f = features[pick]
            features[pick] = features[visited]
            features[visited] = f
            visited += 1
            order = orders[f, start:end]
            code = codes[f]
            missing = 0
            if code[order[m - 1]] == distinct[f]:
                while missing < m and code[order[m - 1 - missing]] == distinct[f]:
                    missing += 1
                if missing == m:
                    continue
            elif code[order[m - 1]] <= same[f, code[order[0]]]:
                continue
            evaluated += 1
            if random:
                draw_split(order, code, values[f], terms, missing, totals, least_rows, least_weight, best, f, state)
            else:
                scan_feature(order, code, same[f], terms, missing, totals, least_rows, least_weight, best, f)
        if best[1] < 0.0:
            continue
        decrease = (best[0] - centre * centre / total) / all_weight
        if decrease + EPSILON < least_decrease:
            continue
        split, count, missing_left = np.int64(best[1]), np.int64(best[2]), np.int64(best[3])
        order, code = orders[split, start:end], codes[split]
        missing = 0
        while code[order[m - 1 - missing]] == distinct[split]:
            missing += 1
        below = count - missing if missing_left else count
        if random:
            threshold = best[4]
        elif below == m - missing and not missing_left:
            threshold = np.inf
        else:
            threshold = values[split, code[order[below - 1]]] / 2.0 + values[split, code[order[below]]] / 2.0
        numbers[node, 0] = threshold
        children[node, 2] = split
        children[node, 3] = missing_left if missing > 0 else np.int64(count > m - count)
        for k in range(m):
            left[order[k]] = k < below or (missing_left > 0 and k >= m - missing)
        # Both children are leaves: only their rows are needed, in any order.
        final = max(count, m - count) < max(least_split, 2 * least_rows) or depth + 1 >= deepest
        divide(orders, start, end, left, 1 if final else p, spare)
        at = depth_of_stack
        stack[at, 0], stack[at, 1], stack[at, 2], stack[at, 3], stack[at, 4] = start + count, end, depth + 1, node, 1
        at += 1
        stack[at, 0], stack[at, 1], stack[at, 2], stack[at, 3], stack[at, 4] = start, start + count, depth + 1, node, 0
        depth_of_stack += 2
    return nodes, reached


@jit
def grow_trees(
    codes: Array,
    same: Array,
    distinct: Array,
    values: Array,
    presorted: Array,
    target: Array,
    centred: Array,
    weights: Array,
    limits: Array,
    seeds: Array,
    children: Array,
    numbers: Array,
    sizes: Array,
) -> None:
    """Grow several trees on one thread.

    Parameters
    ----------
    codes, same, distinct, values, presorted, target, centred, limits
        As in `grow_tree`.
    weights : ndarray (trees, n), float64
        Of each tree; 0 for rows out of its bag.
    seeds : ndarray (trees,), uint64
        Of each tree's random numbers; not 0.
    children : ndarray (nodes, 4), int32
        Written, tree after tree: as in `grow_tree`, indices within each tree.
    numbers : ndarray (nodes, 5), float64
        Written.
    sizes : ndarray (trees, 2), int64
        Written: number of nodes and depth of each tree.
    """
    p, n = codes.shape
    orders = np.empty((p + 1, n), codes.dtype)
    stack = np.empty((n + 2, 5), np.int64)
    state = np.empty(1, np.uint64)
    at = 0
    for tree in range(seeds.size):
        state[0] = seeds[tree]
        nodes, depth = grow_tree(
            codes,
            same,
            distinct,
            values,
            presorted,
            target,
            centred,
            weights[tree],
            limits,
            state,
            orders,
            stack,
            children[at:],
            numbers[at:],
        )
        sizes[tree, 0] = nodes
        sizes[tree, 1] = depth
        at += nodes
