"""Cell centres inside polygons, by the even-odd rule."""

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
