"""Flow over a filled surface: D8 directions, slope length, and the indices that follow from upslope area.

Symbols: z elevation (m); dx, dy signed metric cell size of a row (m), as in `surface`; a upslope area (m2);
theta slope (radians); L cell size (m), the root of the cell's area; As specific catchment area (m).
D8 codes: 1 east, 2 south-east, 4 south, 8 south-west, 16 west, 32 north-west, 64 north, 128 north-east, named by rows
and columns (east is the next column), 0 outlet, 247 no data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]

OUTLET = 0
NO_DATA = 247
STANDARD, CHINESE = 0, 1

UNIT_PLOT_M = 22.13
"""Length of the plot that the USLE's factors refer to, m."""
UNIT_PLOT_SINE = 0.0896
"""Sine of its slope, 9 %."""
STEEP_TANGENT = 0.09
"""Slope at which RUSLE's steepness factor changes its equation."""
CHINESE_STEEP = math.radians(10.0)
GENTLE = math.radians(2.86)
"""5 %, below which slope length ends at a smaller decrease of slope."""

# cardinal neighbours first: among equal drops the nearest wins
ROWS = np.array([0, 1, 0, -1, 1, 1, -1, -1], dtype=np.int64)
COLUMNS = np.array([1, 0, -1, 0, 1, -1, -1, 1], dtype=np.int64)
CODES = np.array([1, 4, 16, 64, 2, 8, 32, 128], dtype=np.uint8)


@jit
def steepest_directions(z: Array, flood: Array, dx: Array, dy: Array) -> Array:
    """D8 directions of a surface without depressions.

    Parameters
    ----------
    z : ndarray (ny, nx), float64, m
        Filled elevation; NaN is missing.
    flood : ndarray (ny, nx), uint8
        D8 directions in which the filling reached each cell; used on level ground.
    dx, dy : ndarray (ny,), float64, m

    Returns
    -------
    ndarray (ny, nx), uint8
        Steepest descent by drop over distance; on level ground the direction of the flood; `OUTLET` at the edge of
        the valid cells where no neighbour is lower.

    Notes
    -----
    Free of cycles: every step is strictly downwards, or along the tree of the flood, which never rises.
    """
    ny, nx = z.shape
    out = np.empty((ny, nx), np.uint8)
    for i in range(ny):
        width, height = abs(dx[i]), abs(dy[i])
        across = math.sqrt(width * width + height * height)
        for j in range(nx):
            centre = z[i, j]
            if not math.isfinite(centre):
                out[i, j] = NO_DATA
                continue
            best = 0.0
            way = OUTLET
            edge = False
            for k in range(8):
                r, c = i + ROWS[k], j + COLUMNS[k]
                if r < 0 or r >= ny or c < 0 or c >= nx or not math.isfinite(z[r, c]):
                    edge = True
                    continue
                distance = across if k >= 4 else (width if ROWS[k] == 0 else height)
                drop = (centre - z[r, c]) / distance
                if drop > best:
                    best = drop
                    way = CODES[k]
            if best == 0.0 and not edge:
                way = flood[i, j]
            out[i, j] = way
    return out


@jit
def step_length(first: int, second: int, columns: int, dx: Array, dy: Array) -> float:
    """Distance between the centres of two neighbouring cells, m, by linear index; cell size of the first's row."""
    row = first // columns
    rows_apart = second // columns - row
    columns_apart = second % columns - first % columns
    return math.sqrt((rows_apart * dy[row]) ** 2 + (columns_apart * dx[row]) ** 2)


@jit
def slope_lengths(
    downstream: Array,
    order: Array,
    z: Array,
    dx: Array,
    dy: Array,
    cutoff_steep: float,
    cutoff_gentle: float,
) -> Array:
    """Slope length to each cell, Hickey 2000.

    Parameters
    ----------
    downstream : ndarray (n,), integer
        Linear index of the next cell; its own at an outlet.
    order : ndarray (m,), integer
        Valid cells, every cell after the one it drains to.
    z : ndarray (n,), float64, m
        Filled elevation.
    dx, dy : ndarray (ny,), float64, m
    cutoff_steep, cutoff_gentle : float
        A length ends where the slope falls below this share of the slope above it; the gentle one below 5 %.

    Returns
    -------
    ndarray (n,), float64, m
        Half a step where nothing flows in or every inflow ended; else the longest inflow and the step from it.
        NaN outside `order`.
    """
    columns = downstream.shape[0] // dx.shape[0]
    length = np.full(downstream.shape[0], np.nan)
    inflow = np.zeros(downstream.shape[0])
    for k in range(order.shape[0] - 1, -1, -1):
        cell = order[k]
        below = downstream[cell]
        row = cell // columns
        outlet = below == cell
        step = math.sqrt(abs(dx[row] * dy[row])) if outlet else step_length(cell, below, columns, dx, dy)
        own = inflow[cell] if inflow[cell] > 0.0 else 0.5 * step
        length[cell] = own
        if outlet:
            continue
        slope = math.atan((z[cell] - z[below]) / step)
        further = downstream[below]
        if further != below:  # an outlet has no slope, which could end the length
            next_slope = math.atan((z[below] - z[further]) / step_length(below, further, columns, dx, dy))
            cutoff = cutoff_gentle if next_slope < GENTLE else cutoff_steep
            if next_slope <= cutoff * slope:  # equal on level ground, where no length accumulates
                continue
        inflow[below] = max(inflow[below], own + step)
    return length


@jit
def wetness(specific_area: float, slope: float, least_tangent: float) -> float:
    """Topographic wetness index, ln(As / tan beta), Beven and Kirkby 1979; slope in radians."""
    return math.log(specific_area / max(math.tan(slope), least_tangent))


@jit
def transport(specific_area: float, slope: float) -> float:
    """Sediment transport index (As / 22.13)^0.6 (sin beta / 0.0896)^1.3, Moore and Burch 1986; slope in radians."""
    sine = math.sin(slope)
    return math.pow(specific_area / UNIT_PLOT_M, 0.6) * math.pow(sine / UNIT_PLOT_SINE, 1.3)


@jit
def length_exponent(slope: float) -> float:
    """RUSLE's m = beta / (1 + beta), beta = (sin theta / 0.0896) / (3 sin^0.8 theta + 0.56), McCool 1989."""
    sine = math.sin(slope)
    beta = (sine / UNIT_PLOT_SINE) / (3.0 * math.pow(sine, 0.8) + 0.56)
    return beta / (1.0 + beta)


@jit
def length_factor(area_in: float, cell: float, exponent: float, width: float) -> float:
    """RUSLE's L of a cell, Desmet and Govers 1996: area_in (m2) enters it, cell L (m), width |sin a| + |cos a| (1)."""
    m = exponent
    grown = math.pow(area_in + cell * cell, m + 1.0) - math.pow(area_in, m + 1.0)
    return grown / (math.pow(cell, m + 2.0) * math.pow(width * UNIT_PLOT_M, m))


@jit
def capped_length_factor(area_in: float, cell: float, exponent: float, width: float, max_length: float) -> float:
    """`length_factor`, at most its mean over a slope of `max_length` (m)."""
    own = length_factor(area_in, cell, exponent, width)
    return min(own, math.pow(max_length / UNIT_PLOT_M, exponent))


@jit
def steepness_factor(slope: float, variant: int) -> float:
    """RUSLE's S: 10.8 sin + 0.03 up to 9 %, then 16.8 sin - 0.5 (McCool 1987); Chinese: 21.91 sin - 0.96 from 10 deg.

    The Chinese line is Liu 1994's, for the cultivated steep slopes of the Loess Plateau.
    """
    sine = math.sin(slope)
    if variant == CHINESE and slope >= CHINESE_STEEP:
        return 21.91 * sine - 0.96
    if math.tan(slope) < STEEP_TANGENT:
        return 10.8 * sine + 0.03
    return 16.8 * sine - 0.5


@jit
def flow_indices(
    area: Array,
    slope: Array,
    aspect: Array,
    dx: Array,
    dy: Array,
    variant: int,
    max_length: float,
    least_tangent: float,
) -> tuple[Array, Array, Array, Array]:
    """Specific catchment area, wetness, LS and transport index of every cell.

    Parameters
    ----------
    area : ndarray (ny, nx), float64, m2
        Upslope area with the cell's own; NaN is missing.
    slope, aspect : ndarray (ny, nx), degrees
        Aspect NaN on level ground, where the contour width is one cell.
    dx, dy : ndarray (ny,), float64, m
    variant : int
        `STANDARD` or `CHINESE` steepness.
    max_length : float
        Cap of the effective slope length of a cell, m: L is at most (max_length / 22.13)^m, for any cell size.
    least_tangent : float
        Floor of tan(slope) in the wetness index.

    Returns
    -------
    tuple
        As (m), wetness (1), LS (1), transport (1), ndarray (ny, nx) float32.
    """
    ny, nx = area.shape
    specific = np.empty((ny, nx), np.float32)
    wet = np.empty((ny, nx), np.float32)
    ls = np.empty((ny, nx), np.float32)
    sti = np.empty((ny, nx), np.float32)
    for i in range(ny):
        own = abs(dx[i] * dy[i])
        cell = math.sqrt(own)
        for j in range(nx):
            per_width = area[i, j] / cell
            specific[i, j] = per_width
            angle = math.radians(np.float64(slope[i, j]))
            if not (math.isfinite(per_width) and math.isfinite(angle)):
                wet[i, j] = math.nan
                ls[i, j] = math.nan
                sti[i, j] = math.nan
                continue
            facing = math.radians(np.float64(aspect[i, j]))
            width = 1.0 if math.isnan(facing) else abs(math.sin(facing)) + abs(math.cos(facing))
            area_in = max(area[i, j] - own, 0.0)
            wet[i, j] = wetness(per_width, angle, least_tangent)
            length = capped_length_factor(area_in, cell, length_exponent(angle), width, max_length)
            ls[i, j] = length * steepness_factor(angle, variant)
            sti[i, j] = transport(per_width, angle)
    return specific, wet, ls, sti
