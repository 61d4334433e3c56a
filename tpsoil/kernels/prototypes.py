"""Nearest prototypes, on plain arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .compile import jit

Doubles = npt.NDArray[np.float64]


@jit
def nearest_centre(
    layers: Doubles, centres: Doubles, scale: Doubles, valid: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Index of the nearest centre by scaled squared distance.

    Parameters
    ----------
    layers : (features, n) float64
    centres : (k, features) float64
    scale : (features,) float64
        Each difference is divided by it; > 0.
    valid : (n,) bool

    Returns
    -------
    (n,) uint8
        0..k-1, the lowest of equals; 255 where not valid or a feature is NaN or infinite.
    """
    features, n = layers.shape
    out = np.empty(n, np.uint8)
    for i in range(n):
        best = np.inf
        nearest = 255
        if valid[i]:
            for c in range(centres.shape[0]):
                distance = 0.0
                for f in range(features):
                    step = (layers[f, i] - centres[c, f]) / scale[f]
                    distance += step * step
                if distance < best:  # false for NaN
                    best = distance
                    nearest = c
        out[i] = nearest
    return out
