"""Cells inside polygons: by their centres (even-odd rule), or by the share of their area."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]


@jit
def inside(y: Array, x: Array, edges: Array) -> Array:
    """Cell centres inside closed rings.

    Parameters
    ----------
    y : ndarray (ny,), float64
        Row centres.
    x : ndarray (nx,), float64, ascending
        Column centres.
    edges : ndarray (n, 4), float64
        Segments x0, y0, x1, y1 of all rings, holes too, in one CRS with the centres.

    Returns
    -------
    ndarray (ny, nx), uint8
        1 inside. A centre on an edge belongs to the side with the larger coordinate.

    Notes
    -----
    Every edge that crosses the centre line of a row inverts the cells right of the crossing. The value of a cell
    depends only on its centre, so tiles agree bit for bit.
    """
    ny, nx = y.shape[0], x.shape[0]
    out = np.zeros((ny, nx), np.uint8)
    turns = np.zeros(nx + 1, np.int64)
    for i in range(ny):
        turns[:] = 0
        for k in range(edges.shape[0]):
            x0, y0, x1, y1 = edges[k, 0], edges[k, 1], edges[k, 2], edges[k, 3]
            if (y0 <= y[i]) != (y1 <= y[i]):
                # From the lower end, so that an edge shared by two rings has one crossing.
                if y0 > y1:
                    x0, y0, x1, y1 = x1, y1, x0, y0
                crossing = x0 + (y[i] - y0) / (y1 - y0) * (x1 - x0)
                low, high = 0, nx
                while low < high:
                    middle = (low + high) // 2
                    if x[middle] < crossing:
                        low = middle + 1
                    else:
                        high = middle
                turns[low] += 1
        parity = 0
        for j in range(nx):
            parity += turns[j]
            out[i, j] = parity % 2
    return out


@jit
def coverage(edges: Array, first_row: int, first_column: int, shape: tuple[int, int]) -> Array:
    """Share of each cell's area that lies inside closed rings.

    Parameters
    ----------
    edges : ndarray (n, 4), float64
        Segments x0, y0, x1, y1 in cells of the grid: x is a column, y a row, whole numbers are borders of cells.
        Outer rings run clockwise on a grid whose rows count downwards (negative shoelace sum), holes the other way.
    first_row, first_column : int
        Of the window.
    shape : (ny, nx)
        Of the window.

    Returns
    -------
    ndarray (ny, nx), float64
        0 to 1. Exact up to rounding; values within 1e-9 of 0 or 1 are set to these.

    Notes
    -----
    Each piece of an edge inside one cell adds its height times the area to its right to that cell, and its height to
    all cells right of it (Green's theorem, one row at a time). The cost is one step for each cell that an edge crosses,
    whatever the area of the polygon.
    """
    ny, nx = shape
    sums = np.zeros((ny, nx + 1))
    for k in range(edges.shape[0]):
        x0, y0 = edges[k, 0] - first_column, edges[k, 1] - first_row
        x1, y1 = edges[k, 2] - first_column, edges[k, 3] - first_row
        if y0 == y1:
            continue
        sign = 1.0
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
            sign = -1.0
        if y1 <= 0.0 or y0 >= ny:
            continue
        slope = (x1 - x0) / (y1 - y0)
        first = max(0, int(np.floor(y0)))
        last = min(ny - 1, int(np.ceil(y1)) - 1)
        for i in range(first, last + 1):
            top, bottom = max(y0, float(i)), min(y1, float(i + 1))
            height = bottom - top
            if height <= 0.0:
                continue
            xa, xb = x0 + (top - y0) * slope, x0 + (bottom - y0) * slope
            left, right = min(xa, xb), max(xa, xb)
            if right <= 0.0:
                sums[i, 0] += sign * height
                continue
            if left >= nx:
                continue
            if left >= 0.0 and np.floor(left) == np.floor(right):
                j = int(np.floor(left))
                offset = 0.5 * (left + right) - j
                sums[i, j] += sign * height * (1.0 - offset)
                sums[i, j + 1] += sign * height * offset
                continue
            per_column = height / (right - left)
            x = left
            if x < 0.0:
                sums[i, 0] += sign * per_column * (0.0 - x)
                x = 0.0
            while x < right and x < nx:
                j = int(np.floor(x))
                end = min(right, j + 1.0)
                piece = sign * per_column * (end - x)
                offset = 0.5 * (x + end) - j
                sums[i, j] += piece * (1.0 - offset)
                sums[i, j + 1] += piece * offset
                x = end
    out = np.empty((ny, nx))
    for i in range(ny):
        total = 0.0
        for j in range(nx):
            total += sums[i, j]
            out[i, j] = 0.0 if total < 1e-9 else (1.0 if total > 1.0 - 1e-9 else total)
    return out
