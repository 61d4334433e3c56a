"""Drainage of one tile of a DEM: steepest ways, upslope area and slope length, with what enters from other tiles.

A tile (ny, nx) comes with a ring of one cell around it (ny + 2, nx + 2); what leaves it leaves by the ring. Order of
neighbours, D8 codes and symbols as in `flow`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit
from .flow import CODES, COLUMNS, GENTLE, NO_DATA, OUTLET, ROWS

Array = npt.NDArray[Any]

LEVEL = 255
"""Way of a cell without a lower neighbour whose eight neighbours are known: a pit or level ground."""
FAR = np.int32(2**30)
"""Steps to the rim of level ground that are not known yet."""
ENDED = -1.0
"""Distance to the tile's exit of a cell whose slope length does not reach it."""
STEP_UNIT = 2.0**-20
"""Slope lengths are sums of multiples of this, m, which are exact in any order up to 2^33 m."""


@jit
def steepest_ways(z: Array, dx: Array, dy: Array) -> Array:
    """D8 direction of the steepest descent, drop over distance.

    Parameters
    ----------
    z : ndarray (ny + 2, nx + 2), float, m
        With its ring; NaN is missing.
    dx, dy : ndarray (ny,), float64, m
        Signed cell size of each row.

    Returns
    -------
    ndarray (ny, nx), uint8
        A D8 code; `OUTLET` where no neighbour is lower and one is missing; `LEVEL` where none is lower and all are
        known; `NO_DATA`. Among equal descents the first neighbour, cardinal ones first.
    """
    ny, nx = z.shape[0] - 2, z.shape[1] - 2
    ways = np.empty((ny, nx), np.uint8)
    for i in range(ny):
        width, height = abs(dx[i]), abs(dy[i])
        across = math.sqrt(width * width + height * height)
        for j in range(nx):
            centre = np.float64(z[i + 1, j + 1])
            if not math.isfinite(centre):
                ways[i, j] = NO_DATA
                continue
            best = 0.0
            way = -1
            edge = False
            for k in range(8):
                other = np.float64(z[i + 1 + ROWS[k], j + 1 + COLUMNS[k]])
                if not math.isfinite(other):
                    edge = True
                    continue
                distance = across if k >= 4 else (width if ROWS[k] == 0 else height)
                drop = (centre - other) / distance
                if drop > best:
                    best = drop
                    way = k
            if way >= 0:
                ways[i, j] = CODES[way]
            else:
                ways[i, j] = OUTLET if edge else LEVEL
    return ways


@jit
def direction_of(code: int) -> int:
    """Place of a D8 code in the order of neighbours; -1 where nothing flows on."""
    for k in range(8):
        if CODES[k] == code:
            return k
    return -1


@jit
def step_of(k: int, width: float, height: float) -> float:
    """Distance to neighbour k, m, a multiple of `STEP_UNIT`; -1: an outlet's own size."""
    if k < 0:
        step = math.sqrt(abs(width * height))
    else:
        step = math.sqrt((ROWS[k] * height) ** 2 + (COLUMNS[k] * width) ** 2)
    return math.floor(step / STEP_UNIT + 0.5) * STEP_UNIT


@jit
def accumulate(ways: Array, area: Array) -> Array:
    """Sum areas down the ways, within one tile.

    Parameters
    ----------
    ways : ndarray (ny, nx), uint8
        Free of cycles; `LEVEL` ends a way as `OUTLET` does.
    area : ndarray (ny, nx), float64, m2
        A cell's own area and what enters it from outside the tile; the upslope area afterwards, written in place.

    Returns
    -------
    ndarray (n,), int32
        Valid cells by linear index, every cell before the one that it drains to.
    """
    ny, nx = ways.shape
    inflows = np.zeros((ny, nx), np.uint8)
    order = np.empty(ny * nx, np.int32)
    valid = 0
    for i in range(ny):
        for j in range(nx):
            if ways[i, j] == NO_DATA:
                continue
            valid += 1
            k = direction_of(ways[i, j])
            if k >= 0:
                r, c = i + ROWS[k], j + COLUMNS[k]
                if 0 <= r < ny and 0 <= c < nx:
                    inflows[r, c] += 1
    last = 0
    for i in range(ny):
        for j in range(nx):
            if ways[i, j] != NO_DATA and inflows[i, j] == 0:
                order[last] = i * nx + j
                last += 1
    first = 0
    while first < last:
        cell = order[first]
        first += 1
        i, j = cell // nx, cell % nx
        k = direction_of(ways[i, j])
        if k < 0:
            continue
        r, c = i + ROWS[k], j + COLUMNS[k]
        if 0 <= r < ny and 0 <= c < nx:
            area[r, c] += area[i, j]
            inflows[r, c] -= 1
            if inflows[r, c] == 0:
                order[last] = r * nx + c
                last += 1
    return order[:valid]


@jit
def slope_ends(above: float, below: float, cutoff_steep: float, cutoff_gentle: float) -> bool:
    """Whether a slope length ends between two steps with these slopes, radians; equal on level ground."""
    cutoff = cutoff_gentle if below < GENTLE else cutoff_steep
    return below <= cutoff * above


@jit
def slopes_down(ways: Array, filled: Array, dx: Array, dy: Array) -> Array:
    """Slope of each cell's own step, radians; infinite at an outlet, whose slope ends no length.

    Parameters
    ----------
    ways : ndarray (ny, nx), uint8
    filled : ndarray (ny + 2, nx + 2), float, m
    dx, dy : ndarray (ny,), float64, m
    """
    ny, nx = ways.shape
    slopes = np.full((ny, nx), np.nan)
    for i in range(ny):
        for j in range(nx):
            if ways[i, j] == NO_DATA:
                continue
            k = direction_of(ways[i, j])
            if k < 0:
                slopes[i, j] = math.inf
                continue
            drop = np.float64(filled[i + 1, j + 1]) - np.float64(filled[i + 1 + ROWS[k], j + 1 + COLUMNS[k]])
            slopes[i, j] = math.atan(drop / step_of(k, dx[i], dy[i]))
    return slopes


@jit
def slope_lengths(
    ways: Array, order: Array, slopes: Array, length: Array, dx: Array, dy: Array, cutoffs: tuple[float, float]
) -> None:
    """Slope length to each cell, Hickey 2000, within one tile.

    Parameters
    ----------
    ways : ndarray (ny, nx), uint8
    order : ndarray (n,), int32
        Of `accumulate`.
    slopes : ndarray (ny, nx), float64, radians
        Of `slopes_down`.
    length : ndarray (ny, nx), float64, m
        What enters from outside the tile, or 0; afterwards the greater of half a step and the longest inflow with the
        step from it. NaN where there is no data. Written in place.
    dx, dy : ndarray (ny,), float64, m
    cutoffs : (float, float)
        A length ends where the slope falls below this share of the slope above it; the second below 5 %.
    """
    ny, nx = ways.shape
    for i in range(ny):
        for j in range(nx):
            if ways[i, j] == NO_DATA:
                length[i, j] = math.nan
    for n in range(order.shape[0]):
        cell = order[n]
        i, j = cell // nx, cell % nx
        k = direction_of(ways[i, j])
        step = step_of(k, dx[i], dy[i])
        length[i, j] = max(length[i, j], 0.5 * step)
        if k < 0:
            continue
        r, c = i + ROWS[k], j + COLUMNS[k]
        if not (0 <= r < ny and 0 <= c < nx):
            continue
        if not slope_ends(slopes[i, j], slopes[r, c], cutoffs[0], cutoffs[1]):
            length[r, c] = max(length[r, c], length[i, j] + step)


@jit
def ways_out(
    ways: Array, order: Array, slopes: Array, dx: Array, dy: Array, cutoffs: tuple[float, float]
) -> tuple[Array, Array]:
    """Where the flow of each cell leaves the tile.

    Parameters
    ----------
    ways, order, slopes, dx, dy, cutoffs
        As in `slope_lengths`.

    Returns
    -------
    exits : ndarray (ny, nx), int32
        Linear index of the last cell within the tile on the way; -1 where the flow ends in it.
    distance : ndarray (ny, nx), float64, m
        To that cell, if no slope length ends before it; else `ENDED`.
    """
    ny, nx = ways.shape
    exits = np.full((ny, nx), -1, np.int32)
    distance = np.full((ny, nx), ENDED)
    for n in range(order.shape[0] - 1, -1, -1):
        cell = order[n]
        i, j = cell // nx, cell % nx
        k = direction_of(ways[i, j])
        if k < 0:
            continue
        r, c = i + ROWS[k], j + COLUMNS[k]
        if not (0 <= r < ny and 0 <= c < nx):
            exits[i, j] = cell
            distance[i, j] = 0.0
            continue
        exits[i, j] = exits[r, c]
        if distance[r, c] >= 0.0 and not slope_ends(slopes[i, j], slopes[r, c], cutoffs[0], cutoffs[1]):
            distance[i, j] = distance[r, c] + step_of(k, dx[i], dy[i])
    return exits, distance


@jit
def routed(targets: Array, exits: Array, area: Array) -> tuple[Array, Array]:
    """Area that enters every perimeter cell from other tiles.

    Parameters
    ----------
    targets : ndarray (n,), int64
        Perimeter cell of another tile into which this one drains; -1 where it does not.
    exits : ndarray (n,), int64
        Perimeter cell of its own tile by which its flow leaves it; -1 where it does not.
    area : ndarray (n,), float64, m2
        Upslope area within the tile.

    Returns
    -------
    entering : ndarray (n,), float64, m2
    order : ndarray (m,), int64
        Cells that drain into another tile, upstream ones first.
    """
    cells = targets.shape[0]
    entering = np.zeros(cells)
    total = area.copy()
    open_inflows, open_ways = np.zeros(cells, np.int32), np.zeros(cells, np.int32)
    for cell in range(cells):
        if targets[cell] >= 0:
            open_inflows[targets[cell]] += 1
        if exits[cell] >= 0:
            open_ways[exits[cell]] += 1
    queue, first, last = np.empty(cells, np.int64), 0, 0
    order, ordered = np.empty(cells, np.int64), 0
    for cell in range(cells):
        if open_inflows[cell] == 0:
            queue[last] = cell
            last += 1
    while first < last:
        cell = queue[first]
        first += 1
        leaves = exits[cell]
        if leaves < 0:
            continue
        total[leaves] += entering[cell]
        open_ways[leaves] -= 1
        if open_ways[leaves] == 0:
            order[ordered] = leaves
            ordered += 1
            into = targets[leaves]
            entering[into] += total[leaves]
            open_inflows[into] -= 1
            if open_inflows[into] == 0:
                queue[last] = into
                last += 1
    return entering, order[:ordered]


@jit
def routed_lengths(
    targets: Array,
    exits: Array,
    length: Array,
    distance: Array,
    slopes: Array,
    steps: Array,
    order: Array,
    cutoffs: tuple[float, float],
) -> Array:
    """Slope length that enters every perimeter cell from other tiles.

    Parameters
    ----------
    targets, exits
        As in `routed`.
    length : ndarray (n,), float64, m
        Within the tile.
    distance : ndarray (n,), float64, m
        To the exit, if no slope length ends before it; else negative.
    slopes : ndarray (n,), float64, radians
        Of each cell's own step; infinite at an outlet.
    steps : ndarray (n,), float64, m
    order : ndarray (m,), int64
        Of `routed`.
    cutoffs : (float, float)
        As in `slope_lengths`.

    Returns
    -------
    ndarray (n,), float64, m
        0 where none enters.
    """
    cells = targets.shape[0]
    entering = np.zeros(cells)
    # cells by their exit: a chain for each
    following, head = np.full(cells, -1, np.int64), np.full(cells, -1, np.int64)
    for cell in range(cells):
        if exits[cell] >= 0 and distance[cell] >= 0.0:
            following[cell] = head[exits[cell]]
            head[exits[cell]] = cell
    for n in range(order.shape[0]):
        leaves = order[n]
        longest = length[leaves]
        cell = head[leaves]
        while cell >= 0:
            if entering[cell] > 0.0:
                longest = max(longest, entering[cell] + distance[cell])
            cell = following[cell]
        into = targets[leaves]
        if not slope_ends(slopes[leaves], slopes[into], cutoffs[0], cutoffs[1]):
            entering[into] = max(entering[into], longest + steps[leaves])
    return entering
