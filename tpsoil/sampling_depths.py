"""Fixed sampling depths, such as 0-10, 10-20, 20-40 cm in every profile: their bottoms are no horizons' ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from .depths import numeric_columns

SHARED: Final = 0.5
"""Share of the profiles from which on a common list of boundaries is a sampling design."""


@dataclass(frozen=True)
class SamplingDepths:
    """Whether depths are those of a sampling design and not of horizons.

    Parameters
    ----------
    fixed : bool
    boundaries : tuple of float
        The common boundaries, from the surface down; empty where they are not fixed.
    share : float
        Of profiles whose boundaries are all among the common ones.
    """

    fixed: bool
    boundaries: tuple[float, ...] = field(default=())
    share: float = 0.0


def sampling_depths(
    horizons: pd.DataFrame, *, profile: str = "profile_id", depths: tuple[str, str] = ("top", "bottom")
) -> SamplingDepths:
    """Recognise fixed sampling depths, such as 0-10, 10-20, 20-40 cm in every profile.

    Parameters
    ----------
    horizons : DataFrame
        One row a horizon or sample.
    profile : str
    depths : (top, bottom)
        Names of the columns, in one unit.

    Returns
    -------
    SamplingDepths
        Fixed where at least half of at least 5 profiles use only boundaries of one list, which has at most 12 of them.
        The bottom of such a profile is where sampling ended and no horizon: the solum is at least that thick.

    Raises
    ------
    InputError
        For missing columns.

    Notes
    -----
    The list is that of the most frequent complete sequence of boundaries; a profile belongs to it where its own
    sequence is the beginning of it. Boundaries of described horizons differ from pit to pit.

    Examples
    --------
    >>> cores = pd.DataFrame({"profile_id": np.repeat(range(6), 2), "top": [0, 10] * 6, "bottom": [10, 20] * 6})
    >>> sampling_depths(cores)
    SamplingDepths(fixed=True, boundaries=(0.0, 10.0, 20.0), share=1.0)
    """
    table = numeric_columns(horizons, [profile, *depths], profile)
    sequences = []
    for _, pit in table.groupby(profile, sort=False, dropna=True):
        limits = np.unique(pit[list(depths)].to_numpy(float))
        sequences.append(tuple(float(value) for value in limits[np.isfinite(limits)]))
    sequences = [one for one in sequences if len(one) >= 2]
    if len(sequences) < 5:
        return SamplingDepths(False)
    complete = Counter(sequences)
    best: tuple[float, ...] = ()
    share = 0.0
    for candidate in sorted(complete, key=lambda one: (-complete[one], -len(one), one))[:20]:
        members = sum(candidate[: len(one)] == one for one in sequences) / len(sequences)
        if members > share and len(candidate) <= 12:
            best, share = candidate, members
    return SamplingDepths(True, best, share) if share >= SHARED else SamplingDepths(False, (), share)
