"""The walk: one bit per pixel, all trees of a batch at once, level by level.

Pixels are in words of 64 that are close in feature space. The state of a word in a batch of trees is a list
of (node, set of pixels there). One level of all the batch's trees is two sweeps over that list: `compare_level` fetches
each node and compares the 64 codes with its threshold, every entry independent of every other;
`split_level` turns eight entries at a time into their children with AND, AND NOT and a compaction. No branch depends on
the data, which makes pixel-by-pixel walks slow. A node without pixels is never visited.

The queue is one uint64 array of eight regions of `capacity` items: nodes and sets of this level, of the next, of the
leaves, and the sweep's bits and words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit
from .trees_lanes import (
    EIGHT,
    HALF,
    LANES,
    LEAF,
    LOW,
    ONE,
    PLANE_MASK,
    PLANE_SHIFT,
    ZERO,
    assign,
    at_most,
    clear_eight,
    code_of,
    split_eight,
)

Array = npt.NDArray[Any]

WIDTH = np.uint64(LANES)


@jit
def compare_level(
    queue: Array, capacity: Any, count: Any, current: Any, words: Array, wide: Array, codes: Array, base: Any
) -> None:
    bits, fetched = capacity * np.uint64(6), capacity * np.uint64(7)
    entry = ZERO
    while entry < count:
        node = queue[current + entry] & LOW
        word = words[node]
        plane = (word >> PLANE_SHIFT) & PLANE_MASK
        queue[fetched + entry] = word
        queue[bits + entry] = at_most(codes, base + plane * WIDTH, code_of(word, wide, node))
        entry += ONE


@jit
def split_level(queue: Array, capacity: Any, count: Any, current: Any, following: Any, leaves: Any) -> Any:
    bits, fetched, leaf = capacity * np.uint64(6), capacity * np.uint64(7), capacity * np.uint64(4)
    clear_eight(queue, current + capacity + count)
    inner = ZERO
    entry = ZERO
    while entry < count:
        new = split_eight(
            queue, current + entry, bits + entry, fetched + entry, following + inner, leaf + leaves, capacity
        )
        inner += new & LOW
        leaves += new >> HALF
        entry += EIGHT
    return inner | leaves << HALF


@jit
def walk_word(
    queue: Array,
    capacity: Any,
    words: Array,
    wide: Array,
    root: Array,
    first_tree: Any,
    trees: Any,
    codes: Array,
    base: Any,
    labels: Array,
) -> None:
    """Leaf of each of 64 pixels in each tree of a batch.

    Parameters
    ----------
    queue : ndarray (8 capacity,), uint64
        Scratch; `capacity` is at least 64 trees + 16.
    words : ndarray (nodes,), uint64
        Nodes in the layout of `trees_lanes`, each tree breadth first.
    wide : ndarray, uint16 (0,) or uint32 (nodes,)
        Thresholds' codes where 16 bits are not sufficient.
    root : ndarray (trees,), int64
    codes : ndarray, uint16 or uint32
        Codes of word w, plane p, pixel i at (w planes + p) 64 + i; `base` is the word's first.
    labels : ndarray (64 trees,), uint16 or uint32
        Written: the leaf's node index within its tree.
    """
    current, following = ZERO, capacity * np.uint64(2)
    leaf = capacity * np.uint64(4)
    count, leaves = ZERO, ZERO
    for tree in range(trees):
        start = np.uint64(root[first_tree + tree])
        item = (np.uint64(tree) << HALF) | start
        at = current + count
        if words[start] == LEAF:
            at = leaf + leaves
            leaves += ONE
        else:
            count += ONE
        queue[at] = item
        queue[at + capacity] = LEAF
    while count > ZERO:
        compare_level(queue, capacity, count, current, words, wide, codes, base)
        new = split_level(queue, capacity, count, current, following, leaves)
        count = new & LOW
        leaves = new >> HALF
        current, following = following, current
    entry = ZERO
    while entry < leaves:
        item = queue[leaf + entry]
        tree = item >> HALF
        node = (item & LOW) - np.uint64(root[first_tree + np.int64(tree)])
        assign(labels, tree * WIDTH, queue[leaf + capacity + entry], node)
        entry += ONE


@jit
def add_values(labels: Array, value: Array, root: Array, first_tree: Any, trees: Any, start: Any, sums: Array) -> None:
    """Add a batch's leaf values to the sums of 64 pixels, in the order of the trees.

    Parameters
    ----------
    sums : ndarray (4, pixels), float64
        Changed: K, and the sums of value, of d and of d^2, with d = value - K and K the first tree's value.

    Notes
    -----
    The sum of values is the plain one of scikit-learn, so that the mean is equal to the last bit. As (mean - K)^2 is at
    most (T - 1) var, the subtraction in the variance loses at most T units in the last place, for any values.
    """
    for pixel in range(LANES):
        at = start + pixel
        k, a, b, c = sums[0, at], sums[1, at], sums[2, at], sums[3, at]
        for tree in range(trees):
            leaf = np.uint64(root[first_tree + tree]) + np.uint64(labels[np.uint64(tree * LANES + pixel)])
            v = value[leaf]
            d = v - k
            a += v
            b += d
            c += d * d
        sums[1, at], sums[2, at], sums[3, at] = a, b, c


@jit
def walk_block(
    codes: Array,
    count: Any,
    planes: Any,
    words: Array,
    wide: Array,
    root: Array,
    value: Array,
    batch: Any,
    sums: Array,
    leaves: Array,
) -> None:
    """Sums over the trees of every output, for all words of a block; trees outside, words inside.

    Parameters
    ----------
    codes, words, wide, root
        As in `walk_word`.
    count, planes : int
        Words of 64 pixels in the block, and planes a word.
    value : ndarray (outputs, nodes), float64
        Prediction of a leaf.
    batch : int
        Trees walked together.
    sums : ndarray (outputs, 4, at least 64 count), float64
        Written in place, as in `add_values`; all but the first of each four start at 0.
    leaves : ndarray (count, trees, 64), or (0, 0, 0); uint16 or uint32 as the leaves of a tree need
        Written: each pixel's leaf in each tree, where requested.
    """
    capacity = np.uint64(LANES * batch + 16)
    queue = np.empty(8 * (LANES * batch + 16), np.uint64)
    labels = np.zeros(LANES * batch, leaves.dtype)
    for first_tree in range(0, root.size, batch):
        trees = min(batch, root.size - first_tree)
        for word in range(count):
            base = np.uint64(word * planes * LANES)
            walk_word(queue, capacity, words, wide, root, first_tree, trees, codes, base, labels)
            for output in range(value.shape[0]):
                if first_tree == 0:
                    for pixel in range(LANES):
                        sums[output, 0, word * LANES + pixel] = value[output, root[0] + np.int64(labels[pixel])]
                add_values(labels, value[output], root, first_tree, trees, word * LANES, sums[output])
            if leaves.size:
                for tree in range(trees):
                    for pixel in range(LANES):
                        leaves[word, first_tree + tree, pixel] = labels[tree * LANES + pixel]


@jit
def mean_and_spread(trees: Any, sums: Array, where: Array, mean: Array, sd: Array) -> None:
    """Mean and standard deviation (ddof 1) from the sums, written at their pixels.

    Parameters
    ----------
    trees : int
    sums : ndarray (4, pixels), float64
        As in `add_values`; those beyond `where` are padding.
    where : ndarray (n,), uint32
        Position of each pixel in `mean` and `sd`.
    mean, sd : ndarray, float64
        Written in place. NaN for a single tree.
    """
    for k in range(where.size):
        at = np.int64(where[k])
        mean[at] = sums[1, k] / trees
        if trees == 1:
            sd[at] = np.nan
        else:
            sd[at] = np.sqrt(max(sums[3, k] - sums[2, k] * sums[2, k] / trees, 0.0) / (trees - 1))
