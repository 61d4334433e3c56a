"""Values outside the range of a quantity are rejected by name and number: at once in memory, when computed if lazy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError


def require_range(where: str, name: str, values: npt.NDArray[Any], low: float, high: float, fix: str) -> None:
    """Reject values below `low` or above `high`; NaN passes.

    Parameters
    ----------
    where, name : str
        The function and the argument, for the message.
    values : ndarray
    low, high : float
        Both allowed; infinite leaves a side open.
    fix : str
        What to do, as the tail of the sentence.

    Raises
    ------
    InputError
        With the number of such cells and the extreme value.
    """
    below = int(np.count_nonzero(values < low))
    above = int(np.count_nonzero(values > high))
    if not below and not above:
        return
    extreme = float(np.nanmin(values)) if below else float(np.nanmax(values))
    limits = f"at least {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"
    raise InputError(
        f"{where}: {name} is {extreme:g} and outside its range in {below + above} of {values.size} cells, "
        f"expected {limits}; {fix}"
    )


def require_positive(where: str, name: str, value: float, quantity: str = "a number") -> None:
    """Reject an option that is not a finite number above 0.

    Raises
    ------
    InputError
    """
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{where}: {name} is {value!r}, expected {quantity} above 0")
