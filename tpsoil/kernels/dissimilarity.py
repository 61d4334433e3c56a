"""Distances between training points in covariate space, scaled and weighted: n points, p covariates."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .compile import jit

Floats = npt.NDArray[np.float64]


@jit
def mean_pairwise_distance(points: Floats) -> float:
    """Mean Euclidean distance of all pairs.

    Parameters
    ----------
    points : ndarray (n, p), float64, n >= 2

    Returns
    -------
    float
        Summed point by point, so that a long sum has no loss of digits.
    """
    n, p = points.shape
    total = 0.0
    for i in range(1, n):
        part = 0.0
        for j in range(i):
            square = 0.0
            for k in range(p):
                gap = points[i, k] - points[j, k]
                square += gap * gap
            part += math.sqrt(square)
        total += part
    return float(total / (0.5 * n * (n - 1)))


@jit
def nearest_outside_fold(points: Floats, fold: npt.NDArray[np.int64], nearest: Floats) -> None:
    """Distance of every training point to the nearest one of another fold.

    Parameters
    ----------
    points : ndarray (n, p), float64
    fold : ndarray (n,), int64
    nearest : ndarray (n,), float64
        Written in place; inf where all points share one fold.
    """
    n, p = points.shape
    for i in range(n):
        best = math.inf
        for j in range(n):
            if fold[j] == fold[i]:
                continue
            square = 0.0
            for k in range(p):
                gap = points[i, k] - points[j, k]
                square += gap * gap
                if square >= best:
                    break
            if square < best:
                best = square
        nearest[i] = math.sqrt(best)
