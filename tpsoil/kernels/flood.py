"""Depressions of a DEM in tiles: each tile flooded alone, its spill levels, and level ground drained to its rim.

Priority-flood by tiles (Barnes 2016): a tile is flooded from its perimeter, and every cell belongs to the perimeter
cell ("label") over which it drains; the lowest passes between labels of all tiles are a graph, in which the level of
every label is its lowest pass to the outside. A filled elevation is the greater of a cell's own and its label's level:
the minimum over all ways out of their highest point, which does not depend on the tiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit
from .drainage import FAR, LEVEL
from .flow import CODES, COLUMNS, ROWS

Array = npt.NDArray[Any]

OUTSIDE = 0
"""Label of cells that drain to a missing cell or the edge of the grid within the tile."""
UNLABELLED, MISSING = -1, -2


@jit
def push(keys: Array, items: Array, size: Any, key: Any, item: Any) -> Any:
    """Put an item on a heap whose least key is first; the new size."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if keys[parent] <= key:
            break
        keys[at], items[at] = keys[parent], items[parent]
        at = parent
    keys[at], items[at] = key, item
    return size + 1


@jit
def drop_first(keys: Array, items: Array, size: int) -> int:
    """Take the first item off a heap; the new size."""
    size -= 1
    key, item = keys[size], items[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[at], items[at] = keys[child], items[child]
        at = child
    keys[at], items[at] = key, item
    return size


@jit
def flood(z: Array) -> tuple[Array, Array, int]:
    """Flood a tile from its perimeter.

    Parameters
    ----------
    z : ndarray (ny + 2, nx + 2), float32, m
        With its ring, NaN beyond the grid and where missing.

    Returns
    -------
    filled : ndarray (ny, nx), float32, m
        Highest point of the lowest way to the perimeter or to a missing cell.
    labels : ndarray (ny, nx), int32
        `OUTSIDE`, or a number from 1 on; `MISSING` where there is no data.
    count : int
        Labels with `OUTSIDE`.
    """
    ny, nx = z.shape[0] - 2, z.shape[1] - 2
    filled = np.empty((ny, nx), np.float32)
    labels = np.full((ny, nx), UNLABELLED, np.int32)
    reached = np.zeros((ny, nx), np.bool_)
    keys, cells = np.empty(ny * nx, np.float32), np.empty(ny * nx, np.int32)
    level, first, last = np.empty(ny * nx, np.int32), 0, 0
    size = 0
    for i in range(ny):
        for j in range(nx):
            filled[i, j] = z[i + 1, j + 1]
            if not math.isfinite(filled[i, j]):
                filled[i, j] = np.nan
                labels[i, j] = MISSING
                continue
            outlet = False
            for k in range(8):
                outlet = outlet or not math.isfinite(z[i + 1 + ROWS[k], j + 1 + COLUMNS[k]])
            if outlet:
                labels[i, j] = OUTSIDE
            if outlet or i == 0 or j == 0 or i == ny - 1 or j == nx - 1:
                reached[i, j] = True
                size = push(keys, cells, size, filled[i, j], i * nx + j)
    count = 1
    while size > 0 or first < last:
        if first < last:
            cell = level[first]
            first += 1
        else:
            cell = cells[0]
            size = drop_first(keys, cells, size)
        i, j = cell // nx, cell % nx
        if labels[i, j] == UNLABELLED:
            labels[i, j] = count
            count += 1
        for k in range(8):
            r, c = i + ROWS[k], j + COLUMNS[k]
            if r < 0 or r >= ny or c < 0 or c >= nx or labels[r, c] != UNLABELLED:
                continue
            labels[r, c] = labels[i, j]
            if reached[r, c]:  # of the perimeter, and not lower
                continue
            reached[r, c] = True
            if filled[r, c] <= filled[i, j]:
                filled[r, c] = filled[i, j]
                level[last] = r * nx + c
                last += 1
            else:
                size = push(keys, cells, size, filled[r, c], r * nx + c)
    return filled, labels, count


def passes(filled: Array, labels: Array, count: int) -> tuple[Array, Array, Array]:
    """Lowest passes between the labels of a tile.

    Parameters
    ----------
    filled, labels, count
        Of `flood`.

    Returns
    -------
    first, second : ndarray (n,), int64
        Labels, first < second.
    height : ndarray (n,), float32, m
    """
    pairs, heights = [], []
    ny, nx = labels.shape
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = slice(0, ny - down), slice(max(-right, 0), nx - max(right, 0))
        two = slice(down, ny), slice(max(right, 0), nx - max(-right, 0))
        a, b = labels[one], labels[two]
        differ = (a != b) & (a != MISSING) & (b != MISSING)
        a, b = a[differ].astype(np.int64), b[differ].astype(np.int64)
        pairs.append(np.minimum(a, b) * count + np.maximum(a, b))
        heights.append(np.maximum(filled[one][differ], filled[two][differ]))
    pair, height = lowest(np.concatenate(pairs), np.concatenate(heights))
    return pair // count, pair % count, height


def lowest(pair: Array, height: Array) -> tuple[Array, Array]:
    """The least height of each pair."""
    if not pair.size:
        return pair, height
    order = np.lexsort((height, pair))
    pair, height = pair[order], height[order]
    first = np.concatenate([[True], pair[1:] != pair[:-1]])
    return pair[first], height[first]


@jit
def spill_levels(starts: Array, targets: Array, heights: Array) -> Array:
    """Lowest pass from every node of a graph to node 0, the outside.

    Parameters
    ----------
    starts : ndarray (n + 1,), int64
        Where each node's edges begin.
    targets : ndarray (m,), int64
    heights : ndarray (m,), float32, m

    Returns
    -------
    ndarray (n,), float32, m
        Least possible highest pass; -inf at node 0, inf where there is no way.
    """
    nodes = starts.shape[0] - 1
    levels = np.full(nodes, np.float32(np.inf), np.float32)
    keys, items = np.empty(targets.shape[0] + 1, np.float32), np.empty(targets.shape[0] + 1, np.int64)
    levels[0] = -np.inf
    size = push(keys, items, np.int64(0), levels[0], np.int64(0))
    while size > 0:
        key, node = keys[0], items[0]
        size = drop_first(keys, items, size)
        if key > levels[node]:
            continue
        for edge in range(starts[node], starts[node + 1]):
            height = max(key, heights[edge])
            if height < levels[targets[edge]]:
                levels[targets[edge]] = height
                size = push(keys, items, size, height, targets[edge])
    return levels


@jit
def level_steps(filled: Array, ways: Array, ring: Array) -> Array:
    """Steps over level ground to the nearest cell with a way down.

    Parameters
    ----------
    filled : ndarray (ny + 2, nx + 2), float32, m
        Without depressions.
    ways : ndarray (ny, nx), uint8
        Of `drainage.steepest_ways`.
    ring : ndarray (ny + 2, nx + 2), int32
        Steps of the ring's cells as known; `FAR` where not. The inner part is not read.

    Returns
    -------
    ndarray (ny, nx), int32
        0 where the way is down or out, `FAR` where no such cell is known.
    """
    ny, nx = ways.shape
    steps = np.zeros((ny, nx), np.int32)
    level = 0
    for i in range(ny):
        for j in range(nx):
            if ways[i, j] == LEVEL:
                steps[i, j] = FAR
                level += 1
    seeds, distance, count = np.empty(level, np.int32), np.empty(level, np.int32), 0
    for i in range(ny):
        for j in range(nx):
            if ways[i, j] != LEVEL:
                continue
            nearest = FAR
            for k in range(8):
                r, c = i + ROWS[k], j + COLUMNS[k]
                if filled[r + 1, c + 1] != filled[i + 1, j + 1]:
                    continue
                if 0 <= r < ny and 0 <= c < nx:
                    if ways[r, c] != LEVEL:
                        nearest = min(nearest, np.int32(0))
                else:
                    nearest = min(nearest, ring[r + 1, c + 1])
            if nearest < FAR:
                seeds[count], distance[count] = i * nx + j, nearest + 1
                count += 1
    nearest_first = np.argsort(distance[:count])
    queue, first, last = np.empty(level, np.int32), 0, 0
    taken = 0
    while taken < count or first < last:
        if taken < count and (
            first == last or distance[nearest_first[taken]] <= steps[queue[first] // nx, queue[first] % nx]
        ):
            cell, own = seeds[nearest_first[taken]], distance[nearest_first[taken]]
            taken += 1
            if own >= steps[cell // nx, cell % nx]:
                continue
            steps[cell // nx, cell % nx] = own
        else:
            cell = queue[first]
            first += 1
        i, j = cell // nx, cell % nx
        for k in range(8):
            r, c = i + ROWS[k], j + COLUMNS[k]
            if not (0 <= r < ny and 0 <= c < nx) or ways[r, c] != LEVEL:
                continue
            if filled[r + 1, c + 1] == filled[i + 1, j + 1] and steps[r, c] > steps[i, j] + 1:
                if steps[r, c] == FAR:
                    queue[last] = r * nx + c
                    last += 1
                steps[r, c] = steps[i, j] + 1
    return steps


@jit
def level_ways(filled: Array, ways: Array, steps: Array, ring: Array) -> None:
    """Give the cells of level ground their way to its rim, in place.

    Parameters
    ----------
    filled, ring
        As in `level_steps`.
    ways : ndarray (ny, nx), uint8
        Of `drainage.steepest_ways`; `LEVEL` is replaced by the first neighbour at the same height that is one step
        nearer to the rim.
    steps : ndarray (ny, nx), int32
        Of `level_steps`, final.
    """
    ny, nx = ways.shape
    for i in range(ny):
        for j in range(nx):
            if ways[i, j] != LEVEL or steps[i, j] == FAR:
                continue
            for k in range(8):
                r, c = i + ROWS[k], j + COLUMNS[k]
                if filled[r + 1, c + 1] != filled[i + 1, j + 1]:
                    continue
                other = steps[r, c] if 0 <= r < ny and 0 <= c < nx else ring[r + 1, c + 1]
                if other == steps[i, j] - 1:
                    ways[i, j] = CODES[k]
                    break
