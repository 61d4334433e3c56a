"""Indices that follow from slope and upslope area: wetness, RUSLE's LS, sediment transport; and the D8 codes.

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
def saturating_area(max_length: float, cell: float) -> float:
    """Entering area (m2) from which L of a cell (m) is at its cap whatever its slope and aspect.

    L reaches (max_length / 22.13)^m where (a + 1)^(m + 1) - a^(m + 1) >= (max_length x / cell)^m, a in cells; the left
    side is at least (m + 1) a^m, so a = max_length x / cell is enough, and x is at most the root of 2.
    """
    return math.sqrt(2.0) * max_length * cell


@jit
def ls_factors(
    area: Array, slope: Array, aspect: Array, dx: Array, dy: Array, variant: int, max_length: float
) -> Array:
    """RUSLE's LS of every cell.

    Parameters
    ----------
    area : ndarray (ny, nx), float64, m2
        Upslope area with the cell's own, exact up to `saturating_area`; above it any value does.
    slope, aspect : ndarray (ny, nx), degrees
        Aspect NaN on level ground, where the contour width is one cell.
    dx, dy : ndarray (ny,), float64, m
    variant : int
        `STANDARD` or `CHINESE` steepness.
    max_length : float
        Cap of the effective slope length of a cell, m: L is at most (max_length / 22.13)^m, for any cell size.

    Returns
    -------
    ndarray (ny, nx), float32
        NaN where there is no area or no slope.
    """
    ny, nx = area.shape
    ls = np.full((ny, nx), np.float32(np.nan), np.float32)
    for i in range(ny):
        own = abs(dx[i] * dy[i])
        cell = math.sqrt(own)
        enough = saturating_area(max_length, cell)
        for j in range(nx):
            angle = math.radians(np.float64(slope[i, j]))
            if not (math.isfinite(area[i, j]) and math.isfinite(angle)):
                continue
            facing = math.radians(np.float64(aspect[i, j]))
            width = 1.0 if math.isnan(facing) else abs(math.sin(facing)) + abs(math.cos(facing))
            # one value beyond saturation: a window does not know the rest of the catchment
            area_in = min(max(area[i, j] - own, 0.0), enough)
            length = capped_length_factor(area_in, cell, length_exponent(angle), width, max_length)
            ls[i, j] = length * steepness_factor(angle, variant)
    return ls


@jit
def wetness_indices(
    area: Array, slope: Array, dx: Array, dy: Array, least_tangent: float
) -> tuple[Array, Array, Array]:
    """Specific catchment area, wetness and transport index of every cell.

    Parameters
    ----------
    area : ndarray (ny, nx), float64, m2
        Upslope area with the cell's own; NaN is missing.
    slope : ndarray (ny, nx), degrees
    dx, dy : ndarray (ny,), float64, m
    least_tangent : float
        Floor of tan(slope) in the wetness index.

    Returns
    -------
    tuple
        As (m), wetness (1), transport (1), ndarray (ny, nx) float32.
    """
    ny, nx = area.shape
    specific = np.empty((ny, nx), np.float32)
    wet = np.full((ny, nx), np.float32(np.nan), np.float32)
    sti = np.full((ny, nx), np.float32(np.nan), np.float32)
    for i in range(ny):
        cell = math.sqrt(abs(dx[i] * dy[i]))
        for j in range(nx):
            per_width = area[i, j] / cell
            specific[i, j] = per_width
            angle = math.radians(np.float64(slope[i, j]))
            if math.isfinite(per_width) and math.isfinite(angle):
                wet[i, j] = wetness(per_width, angle, least_tangent)
                sti[i, j] = transport(per_width, angle)
    return specific, wet, sti
