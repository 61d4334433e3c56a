"""Blocks at half the resolution: means of four cells, and the most frequent of four codes.

Shapes: `block` (2 ny, 2 nx), `half` (ny, nx), of one type. `half` is written in place. Without branches, so that the
compiler takes several cells at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]


@jit
def mean_of_four(block: Array, half: Array) -> None:
    """Mean of those of four cells that have a value, NaN where none has; summed in the type of the block.

    A float32 sum that exceeds its type is taken in float64, since the mean need not exceed it.
    """
    zero, missing, large = half.dtype.type(0), half.dtype.type(np.nan), False
    for i in range(half.shape[0]):
        upper, lower = block[2 * i], block[2 * i + 1]
        for j in range(half.shape[1]):
            a, b, c, d = upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]
            count = np.int32(a == a) + np.int32(b == b) + np.int32(c == c) + np.int32(d == d)
            total = (a if a == a else zero) + (b if b == b else zero)
            total += c if c == c else zero
            total += d if d == d else zero
            half[i, j] = total / half.dtype.type(count) if count > 0 else missing
            large |= np.isinf(total)
    for i in range(half.shape[0] if large else 0):
        for j in range(half.shape[1]):
            if np.isinf(half[i, j]):
                exact, known = np.float64(0.0), 0
                for k in range(4):
                    value = block[2 * i + k // 2, 2 * j + k % 2]
                    if value == value:
                        exact += value
                        known += 1
                half[i, j] = exact / known


@jit
def majority_of_four(block: Array, fill: int, half: Array) -> None:
    """The most frequent of four codes that are not `fill`, the lowest of several; `fill` where all are."""
    for i in range(half.shape[0]):
        upper, lower = block[2 * i], block[2 * i + 1]
        for j in range(half.shape[1]):
            a, b, c, d = upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]
            ab, ac, ad = np.int8(a == b), np.int8(a == c), np.int8(a == d)
            bc, bd, cd = np.int8(b == c), np.int8(b == d), np.int8(c == d)
            best, most = a, (ab + ac + ad + 1) * np.int8(a != fill)
            votes = (ab + bc + bd + 1) * np.int8(b != fill)
            better = (votes > most) | ((votes == most) & (b < best))
            best, most = (b, votes) if better else (best, most)
            votes = (ac + bc + cd + 1) * np.int8(c != fill)
            better = (votes > most) | ((votes == most) & (c < best))
            best, most = (c, votes) if better else (best, most)
            votes = (ad + bd + cd + 1) * np.int8(d != fill)
            better = (votes > most) | ((votes == most) & (d < best))
            half[i, j] = d if better else best
