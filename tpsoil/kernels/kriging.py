"""Kriging from local neighbourhoods: a covariance matrix of k samples is factorised for each target."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .compile import jit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@jit
def covariance_at(h: float, nugget: float, partial_sill: float, span: float, shape: int) -> float:
    """Covariance at a distance.

    Parameters
    ----------
    h : float
        Distance, in the unit of `span`.
    nugget, partial_sill : float
    span : float
        Range: 95 % of the sill for the exponential shape.
    shape : int
        0 exponential, 1 spherical.
    """
    if h == 0.0:
        return nugget + partial_sill
    ratio = h / span
    if shape == 0:
        return partial_sill * math.exp(-3.0 * ratio)
    if ratio >= 1.0:
        return 0.0
    return partial_sill * (1.0 - 1.5 * ratio + 0.5 * ratio * ratio * ratio)


@jit
def krige_targets(
    targets: Floats,
    place: Floats,
    values: Floats,
    near: Integers,
    variogram: Floats,
    shape: int,
    mean: float,
    predicted: Floats,
    variance: Floats,
) -> None:
    """Kriging prediction and variance at each target from its own neighbours.

    Parameters
    ----------
    targets : ndarray (m, d), float64
    place : ndarray (n, d), float64
        Samples, no two at one position.
    values : ndarray (n,), float64
    near : ndarray (m, k), int64
        Samples of each target, rising.
    variogram : ndarray (3,), float64
        Nugget, partial sill, range.
    shape : int
        0 exponential, 1 spherical.
    mean : float
        Known mean (simple kriging); NaN for an unknown one (ordinary kriging).
    predicted, variance : ndarray (m,), float64
        Written in place. NaN where the covariance matrix is not positive definite.

    Notes
    -----
    C w = c0 by Cholesky's factors L of C. Simple: z = mean + c0' C^-1 (v - mean), variance C(0) - c0' C^-1 c0.
    Ordinary: the mean is 1' C^-1 v / 1' C^-1 1, and the variance gains (1 - 1' C^-1 c0)^2 / 1' C^-1 1. Each target is
    computed alone, so that results do not depend on chunks.
    """
    nugget, partial_sill, span = variogram[0], variogram[1], variogram[2]
    m, k = near.shape
    d = targets.shape[1]
    ordinary = math.isnan(mean)
    factor = np.empty((k, k))
    cross, data, ones = np.empty(k), np.empty(k), np.empty(k)
    for t in range(m):
        regular = True
        for i in range(k):
            a = near[t, i]
            square = 0.0
            for axis in range(d):
                gap = targets[t, axis] - place[a, axis]
                square += gap * gap
            cross[i] = covariance_at(math.sqrt(square), nugget, partial_sill, span, shape)
            data[i] = values[a] if ordinary else values[a] - mean
            ones[i] = 1.0
            for j in range(i + 1):
                b = near[t, j]
                square = 0.0
                for axis in range(d):
                    gap = place[a, axis] - place[b, axis]
                    square += gap * gap
                total = covariance_at(math.sqrt(square), nugget, partial_sill, span, shape)
                for c in range(j):
                    total -= factor[i, c] * factor[j, c]
                if i == j:
                    if total <= 0.0:
                        regular = False
                        total = 1.0
                    factor[i, i] = math.sqrt(total)
                else:
                    factor[i, j] = total / factor[j, j]
        if not regular:
            predicted[t] = np.nan
            variance[t] = np.nan
            continue
        # All three by forward substitution: a' C^-1 b is the product of two such solutions.
        for i in range(k):
            for c in range(i):
                cross[i] -= factor[i, c] * cross[c]
                data[i] -= factor[i, c] * data[c]
                ones[i] -= factor[i, c] * ones[c]
            cross[i] /= factor[i, i]
            data[i] /= factor[i, i]
            ones[i] /= factor[i, i]
        with_data, with_itself, sum_ones, ones_cross, ones_data = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(k):
            with_data += cross[i] * data[i]
            with_itself += cross[i] * cross[i]
            sum_ones += ones[i] * ones[i]
            ones_cross += ones[i] * cross[i]
            ones_data += ones[i] * data[i]
        variance[t] = nugget + partial_sill - with_itself
        if ordinary:
            level = ones_data / sum_ones
            predicted[t] = with_data + level * (1.0 - ones_cross)
            variance[t] += (1.0 - ones_cross) ** 2 / sum_ones
        else:
            predicted[t] = mean + with_data
