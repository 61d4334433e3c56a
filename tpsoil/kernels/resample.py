"""Values of a raster on the cells of another grid: area average, bilinear, majority class, nearest.

Every kernel gets a window of the source and, for every target cell, coordinates in the full source raster: pixel
(r, c) covers rows r..r+1 and columns c..c+1. Because a coordinate never depends on the window or on the tile, a cell's
value is equal bit for bit for any tiling. GDAL's warper is not used: its chunked and complete results differ
by up to metres.

Shapes: `source` (h, w) is the window whose first pixel is (`row0`, `col0`) of the raster; `corner_rows` and
`corner_cols` (ny + 1, nx + 1) are the cells' corners, `rows` and `cols` (ny, nx) their centres. Nothing is written in
place. Coordinates that are not finite (a point without an image in the source's CRS) give no value.

A raster in degrees repeats after `period` columns (0: no period): 350 E of one file is 10 W of
another, and a cell may be on the seam. Columns are brought to within half a turn of `middle`, the raster's middle
column, and counted modulo the period where that is an integer.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]

STEPS: Final = 1048576.0
"""Coordinates are rounded to 2**-20 pixel, so that grids equal to 1e-12 coincide exactly."""

SLIVER: Final = 1e-6
"""A cell with less than this share of its area covered has no value."""

MAX_CLASSES: Final = 4096
"""Maximum number of classes in one target cell."""


@jit
def snap_coordinates(coordinates: Array) -> Array:
    """Coordinates rounded to 2**-20 pixel; float64, any finite or not, 2-D."""
    out = np.empty(coordinates.shape, np.float64)
    for i in range(coordinates.shape[0]):
        for j in range(coordinates.shape[1]):
            out[i, j] = np.rint(coordinates[i, j] * STEPS) / STEPS
    return out


@jit
def _clip_side(x: Array, y: Array, n: int, side: int, limit: float, out_x: Array, out_y: Array) -> int:
    """One side of Sutherland-Hodgman: 0 retains x >= limit, 1 x <= limit, 2 y >= limit, 3 y <= limit."""
    count = 0
    for k in range(n):
        ax, ay = x[k], y[k]
        following = k + 1 if k + 1 < n else 0
        bx, by = x[following], y[following]
        if side == 0:
            a, b = ax - limit, bx - limit
        elif side == 1:
            a, b = limit - ax, limit - bx
        elif side == 2:
            a, b = ay - limit, by - limit
        else:
            a, b = limit - ay, limit - by
        if a >= 0.0:
            out_x[count], out_y[count] = ax, ay
            count += 1
        if (a > 0.0 and b < 0.0) or (a < 0.0 and b > 0.0):
            t = a / (a - b)
            out_x[count] = limit if side < 2 else ax + t * (bx - ax)
            out_y[count] = limit if side >= 2 else ay + t * (by - ay)
            count += 1
    return count


@jit
def _overlap(qx: Array, qy: Array, column: float, row: float, scratch: Array) -> float:
    """Area that a convex quadrangle shares with the unit pixel at (row, column); relative to the pixel's corner."""
    ax, ay, bx, by = scratch[0], scratch[1], scratch[2], scratch[3]
    for k in range(4):
        ax[k], ay[k] = qx[k] - column, qy[k] - row
    n = _clip_side(ax, ay, 4, 0, 0.0, bx, by)
    n = _clip_side(bx, by, n, 1, 1.0, ax, ay)
    n = _clip_side(ax, ay, n, 2, 0.0, bx, by)
    n = _clip_side(bx, by, n, 3, 1.0, ax, ay)
    twice = 0.0
    for k in range(n):
        following = k + 1 if k + 1 < n else 0
        twice += ax[k] * ay[following] - ax[following] * ay[k]
    return abs(twice) * 0.5


@jit
def _load_quad(
    corner_rows: Array,
    corner_cols: Array,
    i: int,
    j: int,
    middle: float,
    period: float,
    qx: Array,
    qy: Array,
    edges: Array,
) -> float:
    """The corners of cell (i, j), its inward half-planes (a, b, c: inside where a x + b y + c >= 0), and its area.

    The area is NaN where a corner has no image.
    """
    qx[0], qy[0] = corner_cols[i, j], corner_rows[i, j]
    qx[1], qy[1] = corner_cols[i, j + 1], corner_rows[i, j + 1]
    qx[2], qy[2] = corner_cols[i + 1, j + 1], corner_rows[i + 1, j + 1]
    qx[3], qy[3] = corner_cols[i + 1, j], corner_rows[i + 1, j]
    if period > 0.0:
        for k in range(1, 4):
            qx[k] -= period * np.rint((qx[k] - qx[0]) / period)
        qx -= period * np.rint((qx.mean() - middle) / period)
    # Relative to the first corner: with absolute coordinates of 1e5 the area would lose five digits.
    twice = 0.0
    for k in range(4):
        following = (k + 1) % 4
        twice += (qx[k] - qx[0]) * (qy[following] - qy[0]) - (qx[following] - qx[0]) * (qy[k] - qy[0])
    sign = 1.0 if twice >= 0.0 else -1.0
    for k in range(4):
        following = (k + 1) % 4
        dx, dy = qx[following] - qx[k], qy[following] - qy[k]
        edges[k, 0] = -sign * dy
        edges[k, 1] = sign * dx
        edges[k, 2] = sign * (dy * qx[k] - dx * qy[k])
    area = abs(twice) * 0.5
    return area if np.isfinite(area) else np.nan


@jit
def _weight(qx: Array, qy: Array, edges: Array, column: int, row: int, scratch: Array) -> float:
    """Share of pixel (row, column) inside the cell: 1 and 0 by the half-planes, else by clipping."""
    inside = True
    for k in range(4):
        a, b = edges[k, 0], edges[k, 1]
        here = a * column + b * row + edges[k, 2]
        if here + max(a, 0.0) + max(b, 0.0) <= 0.0:
            return 0.0
        if here + min(a, 0.0) + min(b, 0.0) < 0.0:
            inside = False
    return 1.0 if inside else _overlap(qx, qy, float(column), float(row), scratch)


@jit
def _integer_period(period: float) -> int:
    """The period as an integer number of pixels; 0 if it is not an integer, and columns are not counted modulo it."""
    return int(period) if period > 0.0 and period == np.rint(period) else 0


@jit
def _columns(low: float, high: float, first: int, size: int, turn: int) -> tuple[int, int]:
    """Columns first..last that low..high touches; beyond the window too where they are periodic."""
    if turn > 0:
        return int(np.floor(low)), int(np.ceil(high))
    return _span(low, high, first, size)


@jit
def _in_window(c: int, col0: int, width: int, turn: int) -> int:
    """Column of the window for column c of the raster; -1 if outside."""
    at = (c % turn if turn > 0 else c) - col0
    return at if 0 <= at < width else -1


@jit
def _span(low: float, high: float, first: int, size: int) -> tuple[int, int]:
    """Pixels first..last that low..high touches, within the window."""
    start = max(int(np.floor(low)), first)
    stop = min(int(np.ceil(high)), first + size)
    return start, stop


@jit
def average(
    source: Array, row0: int, col0: int, corner_rows: Array, corner_cols: Array, middle: float, period: float
) -> Array:
    """Area-weighted mean of the valid pixels that each cell covers.

    Returns
    -------
    ndarray (ny, nx), float64
        NaN where no valid pixel is in the cell. NaN pixels have no weight.
    """
    return _average(source, row0, col0, corner_rows, corner_cols, middle, period, False)


@jit
def average_direction(
    source: Array, row0: int, col0: int, corner_rows: Array, corner_cols: Array, middle: float, period: float
) -> Array:
    """Area-weighted mean direction, degrees, as the angle of the mean unit vector.

    Returns
    -------
    ndarray (ny, nx), float64, 0..360
        NaN where no valid pixel is in the cell, or where the directions cancel out.
    """
    return _average(source, row0, col0, corner_rows, corner_cols, middle, period, True)


@jit
def _average(
    source: Array,
    row0: int,
    col0: int,
    corner_rows: Array,
    corner_cols: Array,
    middle: float,
    period: float,
    circular: bool,
) -> Array:
    ny, nx = corner_rows.shape[0] - 1, corner_rows.shape[1] - 1
    out = np.full((ny, nx), np.nan)
    qx, qy, edges, scratch = np.empty(4), np.empty(4), np.empty((4, 3)), np.empty((4, 12))
    turn = _integer_period(period)
    for i in range(ny):
        for j in range(nx):
            area = _load_quad(corner_rows, corner_cols, i, j, middle, period, qx, qy, edges)
            if np.isnan(area):
                continue
            r_start, r_stop = _span(qy.min(), qy.max(), row0, source.shape[0])
            c_start, c_stop = _columns(qx.min(), qx.max(), col0, source.shape[1], turn)
            total, east, north, weights = 0.0, 0.0, 0.0, 0.0
            for r in range(r_start, r_stop):
                for c in range(c_start, c_stop):
                    at = _in_window(c, col0, source.shape[1], turn)
                    if at < 0 or np.isnan(source[r - row0, at]):
                        continue
                    value = source[r - row0, at]
                    weight = _weight(qx, qy, edges, c, r, scratch)
                    if circular:
                        east += weight * np.sin(np.radians(np.float64(value)))
                        north += weight * np.cos(np.radians(np.float64(value)))
                    else:
                        total += weight * value
                    weights += weight
            if weights > SLIVER * area:
                out[i, j] = _angle(east, north, weights) if circular else total / weights
    return out


@jit
def _angle(east: float, north: float, weights: float) -> float:
    if np.hypot(east, north) < 1e-6 * weights:
        return np.nan
    degrees = np.degrees(np.arctan2(east, north)) % 360.0
    # float32 rounds 359.99999 up to 360, which is 0.
    return degrees if np.float32(degrees) < np.float32(360.0) else 0.0


@jit
def majority(
    source: Array, fill: int, row0: int, col0: int, corner_rows: Array, corner_cols: Array, middle: float, period: float
) -> Array:
    """Class with the largest area in each cell; the smaller code where two are equal.

    Parameters
    ----------
    fill : int
        Code of missing cells; it has no weight.

    Returns
    -------
    ndarray (ny, nx), int64
        `fill` where no class is in the cell, or more than `MAX_CLASSES`.
    """
    ny, nx = corner_rows.shape[0] - 1, corner_rows.shape[1] - 1
    out = np.full((ny, nx), np.int64(fill))
    qx, qy, edges, scratch = np.empty(4), np.empty(4), np.empty((4, 3)), np.empty((4, 12))
    turn = _integer_period(period)
    codes, shares = np.empty(MAX_CLASSES, np.int64), np.empty(MAX_CLASSES)
    for i in range(ny):
        for j in range(nx):
            area = _load_quad(corner_rows, corner_cols, i, j, middle, period, qx, qy, edges)
            if np.isnan(area):
                continue
            r_start, r_stop = _span(qy.min(), qy.max(), row0, source.shape[0])
            c_start, c_stop = _columns(qx.min(), qx.max(), col0, source.shape[1], turn)
            count, weights = 0, 0.0
            for r in range(r_start, r_stop):
                for c in range(c_start, c_stop):
                    at = _in_window(c, col0, source.shape[1], turn)
                    if at < 0 or np.int64(source[r - row0, at]) == fill:
                        continue
                    code = np.int64(source[r - row0, at])
                    weight = _weight(qx, qy, edges, c, r, scratch)
                    k = 0
                    while k < count and codes[k] != code:
                        k += 1
                    if k == MAX_CLASSES:
                        continue
                    if k == count:
                        codes[k], shares[k] = code, 0.0
                        count += 1
                    shares[k] += weight
                    weights += weight
            if weights > SLIVER * area:
                best = 0
                for k in range(1, count):
                    # Shares that differ by rounding are equal.
                    ahead = shares[k] - shares[best]
                    if ahead > 1e-9 * weights or (ahead > -1e-9 * weights and codes[k] < codes[best]):
                        best = k
                out[i, j] = codes[best]
    return out


@jit
def bilinear(
    source: Array, row0: int, col0: int, rows: Array, cols: Array, middle: float, period: float, circular: bool
) -> Array:
    """Bilinear interpolation between pixel centres.

    Parameters
    ----------
    circular : bool
        Whether values are directions in degrees, interpolated as unit vectors.

    Returns
    -------
    ndarray (ny, nx), float64
        NaN where the pixel at the cell's centre is missing or outside: coverage does not change.
        Missing neighbours have no weight.
    """
    out = np.full(rows.shape, np.nan)
    height, width = source.shape
    turn = _integer_period(period)
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y, x = rows[i, j], cols[i, j]
            if not (np.isfinite(y) and np.isfinite(x)):
                continue
            if period > 0.0:
                x -= period * np.rint((x - middle) / period)
            r, c = int(np.floor(y)) - row0, _in_window(int(np.floor(x)), col0, width, turn)
            if r < 0 or c < 0 or r >= height or np.isnan(source[r, c]):
                continue
            upper, left = np.floor(y - 0.5), np.floor(x - 0.5)
            fy, fx = (y - 0.5) - upper, (x - 0.5) - left
            total, east, north, weights = 0.0, 0.0, 0.0, 0.0
            for k in range(4):
                down, right = k // 2, k % 2
                weight = (fy if down else 1.0 - fy) * (fx if right else 1.0 - fx)
                rr, cc = int(upper) + down - row0, _in_window(int(left) + right, col0, width, turn)
                if weight == 0.0 or rr < 0 or cc < 0 or rr >= height:
                    continue
                value = source[rr, cc]
                if np.isnan(value):
                    continue
                weights += weight
                if circular:
                    east += weight * np.sin(np.radians(np.float64(value)))
                    north += weight * np.cos(np.radians(np.float64(value)))
                else:
                    total += weight * value
            if circular:
                out[i, j] = _angle(east, north, weights)
            else:
                out[i, j] = total / weights
    return out


@jit
def nearest(
    source: Array, fill: float, row0: int, col0: int, rows: Array, cols: Array, middle: float, period: float
) -> Array:
    """Value of the pixel at each cell's centre; `fill` outside.

    Returns
    -------
    ndarray (ny, nx), of the source's type
    """
    out = np.empty(rows.shape, source.dtype)
    height, width = source.shape
    turn = _integer_period(period)
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y, x = rows[i, j], cols[i, j]
            out[i, j] = fill
            if np.isfinite(y) and np.isfinite(x):
                if period > 0.0:
                    x -= period * np.rint((x - middle) / period)
                r, c = int(np.floor(y)) - row0, _in_window(int(np.floor(x)), col0, width, turn)
                if r >= 0 and c >= 0 and r < height:
                    out[i, j] = source[r, c]
    return out
