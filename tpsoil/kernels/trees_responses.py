"""Quantiles of the training responses in a pixel's leaves, from weights that are whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit
from .trees_lanes import LANES

Array = npt.NDArray[Any]

CLOSE = 1e-7
"""Shares of a leaf's weight that are so close may be equal but for rounding."""
RANK_BITS = 12
FEW_ROWS = 1 << RANK_BITS
"""Responses whose weights are summed and cleared all; of more, only those that were touched."""
GROUP = 8
"""Pixels whose leaves are gathered together: their codes fit the first cache, and eight lanes one load."""


@jit
def code_leaves(begin: Array, member: Array, rank: Array, unit: Any, leaf: Array, entry: Array, share: Array) -> None:
    """Distinct responses of each leaf and their weights as whole numbers, for `response_quantiles`.

    Parameters
    ----------
    begin : ndarray (nodes + 1,), uint32
    member : ndarray, uint32
    rank : ndarray (rows,), uint32
    unit : int64
        Weight of a leaf with weighted leaves; 0: every member counts 1.
    leaf : ndarray (nodes,), uint64
        Written: members in the upper 16 bits, distinct ones in the next 16, in the lower 32 the first of `entry`; of
        a leaf with one distinct response its rank.
    entry : ndarray (members,), dtype of ranks
        Written: ranks of the distinct responses, leaf by leaf.
    share : ndarray (members,), int64
        Written: weight of each `entry`.
    """
    seen = np.full(rank.size, -1, np.int64)
    place = np.zeros(rank.size, np.int64)
    count = np.int64(0)
    for node in range(begin.size - 1):
        first = count
        start, stop = np.int64(begin[node]), np.int64(begin[node + 1])
        for m in range(start, stop):
            r = np.int64(rank[np.int64(member[m])])
            if seen[r] != node:
                seen[r] = node
                place[r] = count
                entry[count] = r
                share[count] = 0
                count += 1
            share[place[r]] += 1
        if unit > 0:
            for e in range(first, count):
                share[e] = np.int64(np.rint(np.float64(share[e]) * (np.float64(unit) / (stop - start))))
        distinct = count - first
        # Of a node without members 0: no rank is read from it.
        low = np.int64(entry[first]) if distinct == 1 else first if distinct > 1 else np.int64(0)
        leaf[node] = np.uint64(low | (distinct << 32) | ((stop - start) << 48))


@jit
def response_quantiles(
    leaves: Array,
    root: Array,
    leaf: Array,
    entry: Array,
    share: Array,
    unit: Any,
    response: Array,
    levels: Array,
    where: Array,
    result: Array,
    close: Array,
) -> Any:
    """Meinshausen's quantiles: of the training responses, weighted by how often they share a leaf with the pixel.

    Parameters
    ----------
    leaves, root, where
        As in `tree_quantiles`.
    leaf, entry, share
        As `code_leaves` wrote them; at most 65535 members and distinct members of a leaf.
    unit : int64
        As there.
    response : ndarray (rows,), float64, ascending
    levels : ndarray (k,), float64, in 0 .. 1
    result : ndarray (pixels, k), float64
        Written at `where`.
    close : ndarray (n,), int64
        Written: pixels of `leaves` with a level so close to the end of a response's weight that rounding decides:
        `summed_quantiles` predicts them as quantile-forest sums.

    Returns
    -------
    int
        Number of pixels in `close`.

    Notes
    -----
    With weights w_i summing to W, and C_i their running sum over ascending responses, level q is at
    p = q (W - 1) + 1: the last response with C_i <= p, and linearly on towards the first occurrence of the next.
    This is quantile-forest's weighted form of type 7; weights sum to the number of members.

    Weights are added up as whole numbers, so that their sum does not depend on the order, in one array for all
    responses. A search over sums of 64 responses, then over 64 responses, gives each level. With more than 4096
    responses the sums are updated with the weights and only what was touched is cleared.
    """
    trees, rows = root.size, response.size
    blocks = rows // 64 + 1
    dense = rows <= FEW_ROWS
    words_of = np.empty((GROUP, trees), np.uint64)
    weight = np.zeros(blocks * 64, np.int64)
    block = np.zeros(blocks, np.int64)
    one = unit if unit > 0 else np.int64(0)
    near = CLOSE * unit
    count = 0
    pixels = min(leaves.shape[0] * LANES, where.size)
    for group in range(0, pixels, GROUP):
        word, begin = group // LANES, group % LANES
        lanes = min(GROUP, pixels - group)  # the leaves beyond the last pixel are not leaves
        for tree in range(trees):
            base = root[tree]
            for lane in range(lanes):
                words_of[lane, tree] = leaf[base + np.int64(leaves[word, tree, begin + lane])]
        for lane in range(lanes):
            members = np.int64(0)
            for tree in range(trees):
                code = np.int64(words_of[lane, tree])
                drawn = (code >> 48) & 0xFFFF
                distinct = (code >> 32) & 0xFFFF
                e = code & 0xFFFFFFFF
                members += drawn
                if distinct == 1:
                    added = one if one > 0 else drawn
                    weight[e] += added
                    if not dense:
                        block[e >> 6] += added
                else:
                    for k in range(e, e + distinct):
                        weight[entry[k]] += share[k]
                        if not dense:
                            block[np.int64(entry[k]) >> 6] += share[k]
            total = sum_blocks(weight, block) if dense else block.sum()
            at = np.int64(where[group + lane])
            scale = members / (trees * np.float64(unit)) if unit > 0 else 1.0
            whole = np.float64(members) if unit > 0 else np.float64(total)
            decided = True
            for k in range(levels.size):
                exact = whole_level(levels[k], whole, scale, near, total, block, weight, response, result[at], k)
                decided = decided and exact
            if not decided:
                close[count] = group + lane
                count += 1
            if dense:
                weight[:] = 0
            else:
                for tree in range(trees):
                    code = np.int64(words_of[lane, tree])
                    distinct = (code >> 32) & 0xFFFF
                    e = code & 0xFFFFFFFF
                    if distinct == 1:
                        weight[e] = 0
                        block[e >> 6] = 0
                    else:
                        for k in range(e, e + distinct):
                            weight[entry[k]] = 0
                            block[np.int64(entry[k]) >> 6] = 0
    return count


@jit
def counted_quantiles(
    leaves: Array,
    root: Array,
    leaf: Array,
    weighted: Any,
    response: Array,
    levels: Array,
    where: Array,
    result: Array,
    close: Array,
) -> Any:
    """`response_quantiles` of a forest whose leaves have one distinct response each, as fully grown trees do.

    Parameters
    ----------
    leaves, root, response, levels, where, result, close
        As there; at most 4096 responses.
    leaf : ndarray (nodes,), uint16 or uint32
        Of a leaf the rank of its response in the lower 12 or 16 bits, and in the others how often it was drawn. The
        draws of all trees together are at most 65535.
    weighted : bool
        Each leaf counts 1; else each draw.

    Returns
    -------
    int
        As there.
    """
    trees, rows = root.size, response.size
    blocks = rows // 64 + 1
    weight = np.zeros((GROUP, blocks * 64), np.uint16)
    block = np.zeros(blocks, np.int64)
    members = np.zeros(GROUP, np.int64)
    near = CLOSE if weighted else 0.0
    shift = RANK_BITS if leaf.itemsize == 2 else 16
    below = (1 << shift) - 1
    count = 0
    pixels = min(leaves.shape[0] * LANES, where.size)
    for group in range(0, pixels, GROUP):
        word, begin = group // LANES, group % LANES
        lanes = min(GROUP, pixels - group)  # the leaves beyond the last pixel are not leaves
        members[:] = 0
        for tree in range(trees):
            base = root[tree]
            for lane in range(lanes):
                code = np.int64(leaf[base + np.int64(leaves[word, tree, begin + lane])])
                rank, drawn = code & below, code >> shift
                members[lane] += drawn
                added = np.int64(drawn > 0) if weighted else drawn
                weight[lane, rank] += np.uint16(added)
        for lane in range(lanes):
            own = weight[lane]
            total = sum_blocks(own, block)
            whole = np.float64(members[lane])
            scale = whole / trees if weighted else 1.0
            at = np.int64(where[group + lane])
            decided = True
            for k in range(levels.size):
                exact = whole_level(levels[k], whole, scale, near, total, block, own, response, result[at], k)
                decided = decided and exact
            if not decided:
                close[count] = group + lane
                count += 1
        weight[:] = 0
    return count


@jit
def sum_blocks(weight: Array, block: Array) -> Any:
    """Sums of 64 weights each, written to `block`, and their sum."""
    total = np.int64(0)
    for b in range(block.size):
        sum_of_block = np.int64(0)
        for k in range(b * 64, b * 64 + 64):
            sum_of_block += np.int64(weight[k])
        block[b] = sum_of_block
        total += sum_of_block
    return total


@jit
def whole_level(
    level: Any, whole: Any, scale: Any, near: Any, total: Any, block: Array, weight: Array, response: Array,
    result: Array, k: Any,
) -> Any:  # fmt: skip
    """One level from weights that are whole numbers, written to result[k]; whether rounding cannot change it."""
    if total == 0:
        result[k] = np.nan
        return True
    position = level * (whole - 1.0) + 1.0
    limit = position / scale
    run, b = np.int64(0), 0
    while b < block.size and run + block[b] <= limit:
        run += block[b]
        b += 1
    after, low = run, -1
    if b < block.size:
        low = b * 64
        while run + np.int64(weight[low]) <= limit:
            run += np.int64(weight[low])
            low += 1
        after = run + np.int64(weight[low])
    exact = near == 0.0 or (abs(after - limit) > near and (run == 0 or abs(limit - run) > near))
    if run == 0:
        result[k] = response[low]
        return exact
    before = low - 1 if low >= 0 else response.size - 1
    while weight[before] == 0:
        before -= 1
    floor = response[before]
    result[k] = floor
    if low < 0:
        return exact
    ceiling = response[low]
    if floor == ceiling:
        return True
    span = whole - 1.0
    from_level = min(level, (run * scale - 1.0) / span)
    to_level = max(level, (after * scale - 1.0) / span)
    to_level = from_level + (to_level - from_level) / ((after - run) * scale)
    fraction = 1.0 if level >= to_level else (level - from_level) / (to_level - from_level)
    if fraction >= 1.0:
        result[k] = ceiling
    elif fraction > 0.0:
        result[k] = floor + fraction * (ceiling - floor)
    return exact
