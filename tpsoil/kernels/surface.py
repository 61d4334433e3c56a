"""Shape of a surface in 3 x 3 windows: gradient, curvature, ruggedness and topographic position in one pass.

Cells of a window are numbered by rows from the north-west::

    z1 z2 z3
    z4 z5 z6
    z7 z8 z9

Symbols: z elevation (m); dx, dy metric cell size along the row and the column (m), signed so that +x is east and +y is
north (dy is positive where row 0 is the northernmost); p, q gradient to the east and to the north (1).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]

DEGREES = 180.0 / math.pi
HALF_PI = 0.5 * math.pi
QUARTER_PI = 0.25 * math.pi
STRIP = 512
"""Cells of a row processed at a time, so that the intermediate rows fit in the first-level cache."""

RILEY = 0
MEAN_DIFFERENCE = 1

VALLEY, LOWER, FLAT, MIDDLE, UPPER, RIDGE, NO_POSITION = 1, 2, 3, 4, 5, 6, 255


@jit
def horn_gradient(
    z1: float, z2: float, z3: float, z4: float, z6: float, z7: float, z8: float, z9: float, dx: float, dy: float
) -> tuple[float, float]:
    """Gradient (p to the east, q to the north), Horn 1981: the eight neighbours weighted 1-2-1."""
    p = ((z3 + 2.0 * z6 + z9) - (z1 + 2.0 * z4 + z7)) / (8.0 * dx)
    q = ((z1 + 2.0 * z2 + z3) - (z7 + 2.0 * z8 + z9)) / (8.0 * dy)
    return p, q


@jit
def arctangent(x: float) -> float:
    """atan x for 0 <= x <= 1, radians, to 2 units in the last place.

    Without branches, so that a loop over a row becomes vector instructions; the mathematical library's atan is one call
    a cell and used half of the time. Above tan(pi/8), atan x = pi/4 + atan((x - 1)/(x + 1)); below it x + x^3 R(x^2),
    R the Chebyshev interpolant of degree 10 of (atan x - x)/x^3, whose own error is 3e-17.
    """
    high = x > 0.41421356237309503
    t = (x - 1.0) / (x + 1.0) if high else x
    s = t * t
    r = -0.01917688711906226 * s + 0.03923165829558719
    r = r * s - 0.0508544973794026
    r = r * s + 0.0585814891280221
    r = r * s - 0.06664511447381948
    r = r * s + 0.07692183190826087
    r = r * s - 0.09090904578123903
    r = r * s + 0.11111111015256361
    r = r * s - 0.14285714284666542
    r = r * s + 0.1999999999999552
    r = r * s - 0.3333333333333333
    return (QUARTER_PI if high else 0.0) + (t + t * s * r)


@jit
def slope_degrees(p: float, q: float) -> float:
    """atan sqrt(p^2 + q^2), degrees."""
    steep = math.sqrt(p * p + q * q)
    over = steep > 1.0
    angle = arctangent(1.0 / steep if over else steep)
    return (HALF_PI - angle if over else angle) * DEGREES


@jit
def aspect_degrees(p: float, q: float) -> float:
    """Downslope direction clockwise from north, degrees in [0, 360]; NaN where p = q = 0."""
    east, north = abs(p), abs(q)
    swap = east > north
    long = east if swap else north
    short = north if swap else east
    angle = arctangent(short / (1.0 if long == 0.0 else long))
    angle = HALF_PI - angle if swap else angle  # from the north-south axis
    angle = math.pi - angle if q > 0.0 else angle  # downslope is to the south where q > 0
    angle = 2.0 * math.pi - angle if p > 0.0 else angle  # and to the west where p > 0
    return math.nan if long == 0.0 else angle * DEGREES


@jit
def curvatures(
    z1: float,
    z2: float,
    z3: float,
    z4: float,
    z5: float,
    z6: float,
    z7: float,
    z8: float,
    z9: float,
    dx: float,
    dy: float,
) -> tuple[float, float, float]:
    """General, plan and profile curvature (1/m, positive where convex), Zevenbergen and Thorne 1987.

    D, E half the second derivatives along x and y, F the mixed one, G, H the gradient. General is the negative
    Laplacian, -2(D + E), and the sum of plan and profile; where G = H = 0 these two are not defined and written 0.
    """
    d = ((z4 + z6) * 0.5 - z5) / (dx * dx)
    e = ((z2 + z8) * 0.5 - z5) / (dy * dy)
    f = (-z1 + z3 + z7 - z9) / (4.0 * dx * dy)
    g = (z6 - z4) / (2.0 * dx)
    h = (z2 - z8) / (2.0 * dy)
    general = -2.0 * (d + e)
    gg = g * g
    hh = h * h
    fgh = f * g * h
    steep = gg + hh
    steep = steep if steep > 0.0 else 1.0  # the numerators are 0 there
    plan = -2.0 * (d * hh + e * gg - fgh) / steep
    profile = -2.0 * (d * gg + e * hh + fgh) / steep
    return general, plan, profile


@jit
def position_class(units: float, slope: float, flat_below: float) -> int:
    """Weiss 2001 classes of a topographic position in units of standard deviation; slope in degrees."""
    middle = MIDDLE if slope > flat_below else FLAT
    below = LOWER if units >= -1.0 else VALLEY
    code = middle if units >= -0.5 else below
    code = UPPER if units > 0.5 else code
    code = RIDGE if units > 1.0 else code
    return NO_POSITION if math.isnan(units) else code


@jit
def terrain_pass(
    z: Array,
    dx: Array,
    dy: Array,
    ruggedness: int,
    position_sd: float,
    flat_below: float,
    general_factor: float,
    plan_factor: float,
    profile_factor: float,
) -> tuple[Array, Array, Array, Array, Array, Array, Array]:
    """Seven terrain attributes in one pass.

    Parameters
    ----------
    z : ndarray (ny + 2, nx + 2), float, m
        Elevation with one cell of halo; NaN is missing.
    dx, dy : ndarray (ny,), float64, m
        Signed cell size of each row.
    ruggedness : int
        `RILEY` root of the summed squares, `MEAN_DIFFERENCE` mean of the absolute differences.
    position_sd : float
        Standard deviation that scales the topographic position, m; NaN: that of the eight neighbours.
    flat_below : float
        Slope up to which a middle position is flat, degrees.
    general_factor, plan_factor, profile_factor : float
        Factors from 1/m, positive where convex, to the requested convention.

    Returns
    -------
    tuple of ndarray (ny, nx)
        slope (degrees), aspect (degrees), general, plan and profile curvature, ruggedness (m), float32;
        slope position, uint8. NaN and 255 where any of the nine cells is not finite.

    Notes
    -----
    The arithmetic is float64. Only the results are rounded to float32, here, so no float64 copy of them exists.
    """
    ny = z.shape[0] - 2
    nx = z.shape[1] - 2
    slope = np.empty((ny, nx), np.float32)
    aspect = np.empty((ny, nx), np.float32)
    general = np.empty((ny, nx), np.float32)
    plan = np.empty((ny, nx), np.float32)
    profile = np.empty((ny, nx), np.float32)
    rugged = np.empty((ny, nx), np.float32)
    position = np.empty((ny, nx), np.uint8)
    missing, p, q, angle = np.empty(STRIP), np.empty(STRIP), np.empty(STRIP), np.empty(STRIP)
    units = np.empty(STRIP)
    for i in range(ny):
        for first in range(0, nx, STRIP):
            count = min(STRIP, nx - first)
            north = z[i, first : first + count + 2]
            centre = z[i + 1, first : first + count + 2]
            south = z[i + 2, first : first + count + 2]
            cells = slice(first, first + count)
            _mark_missing(north, centre, south, missing[:count])
            _gradients(north, centre, south, missing[:count], dx[i], dy[i], p[:count], q[:count])
            _slopes(p[:count], q[:count], angle[:count], slope[i, cells])
            _aspects(p[:count], q[:count], aspect[i, cells])
            _bend(north, centre, south, missing[:count], dx[i], dy[i], general_factor, plan_factor, profile_factor,
                  general[i, cells], plan[i, cells], profile[i, cells])  # fmt: skip
            _relief(north, centre, south, missing[:count], ruggedness, position_sd, rugged[i, cells], units[:count])
            _positions(units[:count], angle[:count], flat_below, position[i, cells])
    return slope, aspect, general, plan, profile, rugged, position


# One loop for one or two results: with more arrays in a loop the compiler cannot prove that they do not overlap, and
# emits no vector instructions. `missing` is 0, or NaN where a cell of the window is not finite; adding it also turns -0
# into 0.


@jit
def _mark_missing(north: Array, centre: Array, south: Array, missing: Array) -> None:
    for j in range(missing.shape[0]):
        total = (
            np.float64(north[j]) + north[j + 1] + north[j + 2]
            + centre[j] + centre[j + 1] + centre[j + 2]
            + south[j] + south[j + 1] + south[j + 2]
        )  # fmt: skip
        missing[j] = total - total


@jit
def _gradients(
    north: Array, centre: Array, south: Array, missing: Array, dx: float, dy: float, p: Array, q: Array
) -> None:
    for j in range(missing.shape[0]):
        east, up = horn_gradient(
            np.float64(north[j]), np.float64(north[j + 1]), np.float64(north[j + 2]),
            np.float64(centre[j]), np.float64(centre[j + 2]),
            np.float64(south[j]), np.float64(south[j + 1]), np.float64(south[j + 2]), dx, dy,
        )  # fmt: skip
        p[j] = east + missing[j]
        q[j] = up + missing[j]


@jit
def _slopes(p: Array, q: Array, angle: Array, slope: Array) -> None:
    for j in range(p.shape[0]):
        angle[j] = slope_degrees(p[j], q[j])
        slope[j] = np.float32(angle[j])


@jit
def _aspects(p: Array, q: Array, aspect: Array) -> None:
    for j in range(p.shape[0]):
        direction = np.float32(aspect_degrees(p[j], q[j]))
        aspect[j] = np.float32(0.0) if direction >= np.float32(360.0) else direction


@jit
def _bend(
    north: Array,
    centre: Array,
    south: Array,
    missing: Array,
    dx: float,
    dy: float,
    general_factor: float,
    plan_factor: float,
    profile_factor: float,
    general: Array,
    plan: Array,
    profile: Array,
) -> None:
    for j in range(missing.shape[0]):
        total, across, along = curvatures(
            np.float64(north[j]), np.float64(north[j + 1]), np.float64(north[j + 2]),
            np.float64(centre[j]), np.float64(centre[j + 1]), np.float64(centre[j + 2]),
            np.float64(south[j]), np.float64(south[j + 1]), np.float64(south[j + 2]), dx, dy,
        )  # fmt: skip
        general[j] = np.float32(total * general_factor + missing[j])
        plan[j] = np.float32(across * plan_factor + missing[j])
        profile[j] = np.float32(along * profile_factor + missing[j])


@jit
def _relief(
    north: Array,
    centre: Array,
    south: Array,
    missing: Array,
    ruggedness: int,
    position_sd: float,
    rugged: Array,
    units: Array,
) -> None:
    for j in range(missing.shape[0]):
        # differences to the centre: exact zeros on flat ground at any elevation
        z5 = np.float64(centre[j + 1])
        d1, d2, d3 = north[j] - z5, north[j + 1] - z5, north[j + 2] - z5
        d4, d6 = centre[j] - z5, centre[j + 2] - z5
        d7, d8, d9 = south[j] - z5, south[j + 1] - z5, south[j + 2] - z5
        squares = d1 * d1 + d2 * d2 + d3 * d3 + d4 * d4 + d6 * d6 + d7 * d7 + d8 * d8 + d9 * d9
        mean = 0.125 * (abs(d1) + abs(d2) + abs(d3) + abs(d4) + abs(d6) + abs(d7) + abs(d8) + abs(d9))
        rugged[j] = np.float32((math.sqrt(squares) if ruggedness == RILEY else mean) + missing[j])
        tpi = -0.125 * (d1 + d2 + d3 + d4 + d6 + d7 + d8 + d9)
        variance = 0.125 * squares - tpi * tpi
        own = math.sqrt(variance if variance > 0.0 else 0.0)
        sd = own if math.isnan(position_sd) else position_sd
        # a lone peak or pit has no spread around it: far beyond 1, a ridge or a valley
        units[j] = tpi / (sd if sd > 0.0 else 1e-300) + missing[j]


@jit
def _positions(units: Array, angle: Array, flat_below: float, position: Array) -> None:
    for j in range(units.shape[0]):
        position[j] = position_class(units[j], angle[j], flat_below)


@jit
def annulus_position(z: Array, radius: int, dy_cells: Array, dx_cells: Array) -> Array:
    """Topographic position index: elevation above the mean of the cells at the given offsets.

    Parameters
    ----------
    z : ndarray (ny + 2 radius, nx + 2 radius), float, m
    radius : int
        Halo, cells.
    dy_cells, dx_cells : ndarray (n,), int64
        Offsets of the annulus, within the halo.

    Returns
    -------
    ndarray (ny, nx), float64, m
        NaN where the centre or any cell of the annulus is not finite.
    """
    ny = z.shape[0] - 2 * radius
    nx = z.shape[1] - 2 * radius
    out = np.empty((ny, nx), np.float64)
    count = dy_cells.shape[0]
    for i in range(ny):
        for j in range(nx):
            centre = np.float64(z[i + radius, j + radius])
            total = 0.0
            for k in range(count):
                total += z[i + radius + dy_cells[k], j + radius + dx_cells[k]] - centre
            value = -total / count
            out[i, j] = value if math.isfinite(value) else math.nan
    return out
