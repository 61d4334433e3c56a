"""Chemical index of alteration of single samples or cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]

PLAIN, PHOSPHATE, MCLENNAN = 0, 1, 2
COMPLETE, NO_PHOSPHORUS, BELOW_DETECTION, NOTHING = 0, 1, 2, 255


@jit
def silicate_calcium(calcium: float, sodium: float, phosphorus: float, correction: int) -> float:
    """Moles of CaO in silicates: CaO less 10/3 P2O5 (apatite), then at most Na2O (McLennan 1993)."""
    if correction == PLAIN:
        return calcium
    left = calcium if math.isnan(phosphorus) else max(0.0, calcium - 10.0 / 3.0 * phosphorus)
    if correction == PHOSPHATE:
        return left
    return min(left, sodium)


@jit
def alteration(aluminium: float, calcium: float, sodium: float, potassium: float) -> float:
    """Al2O3 / (Al2O3 + CaO* + Na2O + K2O), moles; NaN where their sum is 0."""
    total = aluminium + calcium + sodium + potassium
    return aluminium / total if total > 0.0 else math.nan


@jit
def alteration_cells(
    aluminium: Array,
    calcium: Array,
    sodium: Array,
    potassium: Array,
    phosphorus: Array,
    moles: Array,
    limits: Array,
    correction: int,
    scale: float,
) -> tuple[Array, Array]:
    """Index of flat arrays and its status.

    Parameters
    ----------
    aluminium, calcium, sodium, potassium, phosphorus : ndarray (n,)
        Contents in one unit; phosphorus NaN where unknown.
    moles : ndarray (5,)
        Moles of oxide in one unit of each content.
    limits : ndarray (2,)
        Detection limits of calcium and sodium; a negative content (laboratories report -LOD) is below in any case.
    correction : int
    scale : float
        1, or 100 for percent.

    Returns
    -------
    tuple of ndarray (n,)
        Index; status `COMPLETE`, `NO_PHOSPHORUS`, `BELOW_DETECTION` (index NaN), `NOTHING` (missing).
    """
    out = np.empty(aluminium.shape[0])
    why = np.empty(aluminium.shape[0], np.uint8)
    for i in range(aluminium.shape[0]):
        if math.isnan(aluminium[i] + calcium[i] + sodium[i] + potassium[i]):
            out[i] = math.nan
            why[i] = NOTHING
            continue
        if calcium[i] < limits[0] or sodium[i] < limits[1] or calcium[i] < 0.0 or sodium[i] < 0.0:
            out[i] = math.nan
            why[i] = BELOW_DETECTION
            continue
        ca, na = calcium[i] * moles[1], sodium[i] * moles[2]
        free = silicate_calcium(ca, na, phosphorus[i] * moles[4], correction)
        value = alteration(aluminium[i] * moles[0], free, na, potassium[i] * moles[3])
        out[i] = value * scale
        why[i] = NO_PHOSPHORUS if correction != PLAIN and math.isnan(phosphorus[i]) else COMPLETE
        if math.isnan(value):
            why[i] = NOTHING
    return out, why
