"""Directions as components, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit


@jit
def components(degrees: npt.NDArray[Any], sine: npt.NDArray[np.float64], cosine: npt.NDArray[np.float64]) -> None:
    """Sine and cosine of directions.

    Parameters
    ----------
    degrees : ndarray (n,)
        Degrees; NaN gives NaN.
    sine, cosine : ndarray (n,), float64
        Written in place. One scalar call per element: numpy's own sine may round differently in a vector's tail.
    """
    for k in range(degrees.size):
        angle = degrees[k] * (math.pi / 180.0)
        sine[k] = math.sin(angle)
        cosine[k] = math.cos(angle)
