"""Exact weighted quantiles of values that arrive in parts, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BITS: Final = 11
"""Of a value's key for each pass: histograms of 2048 classes."""
HISTOGRAM_SIZE: Final = 8 * 2**BITS
"""Bytes of one histogram."""
TIE: Final = 1e-12
"""Relative; weights are sums of shares of cells, so a quantile that falls on a step is compared with this tolerance."""


def key_width(dtype: np.dtype[Any]) -> int:
    """Bits of a value's key: 32 where float32 has every value of the type."""
    return 32 if dtype == np.float32 or dtype in (np.dtype(kind) for kind in ("i1", "i2", "u1", "u2", "?")) else 64


class QuantileSearch:
    """Weighted quantiles of one layer in one polygon, by the leading bits of the values (a radix search).

    Parameters
    ----------
    width : {32, 64}
        Bits of a key.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.resolved = 0
        self.done = False
        self._targets: dict[str, float] = {}
        self._prefix: dict[str, int] = {}
        self._below: dict[str, float] = {}
        self._histograms: dict[int, Array] = {0: np.zeros(2**BITS)}

    def add(self, values: Array, weights: Array) -> None:
        """Count the next bits of the values whose leading bits are those of a quantile."""
        keys = ordered_keys(values, self.width)
        step = min(BITS, self.width - self.resolved)
        following = keys >> np.uint64(self.width - self.resolved - step)
        for prefix, histogram in self._histograms.items():
            chosen = slice(None) if self.resolved == 0 else (following >> np.uint64(step)) == np.uint64(prefix)
            digits = (following[chosen] & np.uint64(2**step - 1)).astype(np.intp)
            histogram += np.bincount(digits, weights=weights[chosen], minlength=2**BITS)

    def begin(self, quantiles: Mapping[str, float], weight: float) -> None:
        """Set the weight at which each quantile lies, and resolve the first bits."""
        self._targets = {name: share * weight * (1 - TIE) for name, share in quantiles.items()}
        self._prefix, self._below = dict.fromkeys(quantiles, 0), dict.fromkeys(quantiles, 0.0)
        if weight > 0:
            self.advance()
        else:
            self.done, self._prefix = True, {}

    def advance(self) -> None:
        """Resolve the next bits of every quantile from the histograms."""
        if self.done:
            return
        step = min(BITS, self.width - self.resolved)
        for name, target in self._targets.items():
            histogram = self._histograms[self._prefix[name]]
            reached = self._below[name] + np.cumsum(histogram)
            filled = np.flatnonzero(histogram)
            # The weight at or below is at least the target; rounding may leave the last class short of it.
            digit = int(filled[min(int(np.searchsorted(reached[filled], target)), len(filled) - 1)])
            self._below[name] = float(reached[digit] - histogram[digit])
            self._prefix[name] = (self._prefix[name] << step) | digit
        self.resolved += step
        self.done = self.resolved == self.width
        self._histograms = {} if self.done else {one: np.zeros(2**BITS) for one in set(self._prefix.values())}

    def values(self) -> dict[str, float]:
        """The quantiles; NaN without values."""
        return {
            name: value_of_key(self._prefix[name], self.width) if name in self._prefix else np.nan
            for name in self._targets
        }


def ordered_keys(values: Array, width: int) -> Array:
    """Unsigned integers in the order of the values: of a negative number all bits inverted, else the sign bit set."""
    number = values.astype(f"f{width // 8}") + 0.0  # -0.0 becomes 0.0
    bits = number.view(f"u{width // 8}").astype(np.uint64)
    sign = np.uint64(1 << (width - 1))
    return np.where(bits & sign, ~bits & np.uint64(2**width - 1), bits | sign)


def value_of_key(key: int, width: int) -> float:
    """The value of a key of `ordered_keys`."""
    sign = 1 << (width - 1)
    bits = key ^ sign if key & sign else ~key & (2**width - 1)
    return float(np.array([bits], f"u{width // 8}").view(f"f{width // 8}")[0])
