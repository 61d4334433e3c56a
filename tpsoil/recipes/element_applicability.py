"""Share of a map of `[elements]` outside the area of applicability, for the first lines of a run's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tpsoil.stage import Array


def tally_applicability(layers: Mapping[str, Array], *, layer: str) -> dict[str, int]:
    """Of one chunk: mapped cells inside and outside the area of applicability."""
    return {name: int(np.count_nonzero(layers[layer] == code)) for name, code in (("inside", 1), ("outside", 0))}


def applicability_notes(label: str, tallies: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line with the share of the mapped cells outside; none for a map without cells."""
    outside = sum(int(tally["outside"]) for tally in tallies)
    cells = outside + sum(int(tally["inside"]) for tally in tallies)
    if not cells:
        return []
    return [
        f"{label}: {100 * outside / cells:.1f} % of {cells} mapped cells are outside the area of applicability, where "
        "the scores of the model do not hold"
    ]
