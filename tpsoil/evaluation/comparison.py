"""How sure a score is: bootstrap intervals, and paired tests between models on the same folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_named
from tpsoil.evaluation.distances import group_codes
from tpsoil.evaluation.scores import MEASURES, score


def score_intervals(
    observed: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    measures: Sequence[str] = tuple(MEASURES),
    level: float = 0.9,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores with bootstrap intervals.

    Parameters
    ----------
    observed, predicted : array_like (n,)
    groups : array_like (n,), optional
        Whole groups (sites, blocks) are drawn, because rows of a group err together.
    measures : sequence of str
    level : float
    draws : int
    seed : int

    Returns
    -------
    DataFrame
        Indexed by measure: `value`, `lower`, `upper` (percentiles of the draws).

    Raises
    ------
    InputError
        As `tpsoil.evaluation.score`; for a single group, rows without a group, groups of another length, a level
        outside 0..1, and no draw.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=200)
    >>> table = score_intervals(x, x + rng.normal(size=200), measures=["rmse"], draws=200)
    >>> bool(table.loc["rmse", "lower"] < 1 < table.loc["rmse", "upper"])
    True
    """
    _require_draws(level, draws, "score_intervals")
    values = score(observed, predicted, measures=measures)
    o, p = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    members = _members(groups, len(o), "score_intervals")
    drawn = [[MEASURES[name](o[rows], p[rows]) for name in measures] for rows in _bootstrap(members, draws, [seed, 13])]
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame(
        {"value": [values[name] for name in measures], "lower": low, "upper": high},
        index=pd.Index(measures, name="measure"),
    )


def compare_models(
    observed: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    measure: str = "rmse",
    level: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Difference of a score between two models on the same rows, with its bootstrap interval and test.

    Parameters
    ----------
    observed, first, second : array_like (n,)
        Predictions of both models out of the same folds.
    groups : array_like (n,), optional
        Whole groups are drawn.
    measure : str
    level : float
    draws : int
    seed : int

    Returns
    -------
    dict
        `first`, `second`, `difference` (first - second), `lower`, `upper`, `p` (two-sided, from the share of draws on
        the other side of 0).

    Raises
    ------
    InputError
        For an unknown measure, a level outside 0..1, no draw, or what `score` rejects.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=100)
    >>> compare_models(x, x + rng.normal(size=100), x + 0.1 * rng.normal(size=100), draws=200)["p"] < 0.05
    True
    """
    require_named("compare_models", [measure], MEASURES, "measure")
    _require_draws(level, draws, "compare_models")
    one, two = (score(observed, p, measures=[measure])[measure] for p in (first, second))
    o, a, b = (np.asarray(v, dtype=np.float64) for v in (observed, first, second))
    members = _members(groups, len(o), "compare_models")
    of = MEASURES[measure]
    gap = np.array([of(o[rows], a[rows]) - of(o[rows], b[rows]) for rows in _bootstrap(members, draws, [seed, 19])])
    low, high = np.nanquantile(gap, [(1 - level) / 2, (1 + level) / 2])
    side = min(float((gap <= 0).mean()), float((gap >= 0).mean()))
    return {
        "first": one,
        "second": two,
        "difference": one - two,
        "lower": float(low),
        "upper": float(high),
        "p": min(1.0, 2.0 * max(side, 1.0 / draws)),
    }


def _bootstrap(members: list[npt.NDArray[Any]], draws: int, seed: list[int]) -> Iterator[npt.NDArray[Any]]:
    """Rows of each draw of whole groups with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.concatenate([members[j] for j in rng.integers(0, len(members), len(members))])


def _require_draws(level: float, draws: int, where: str) -> None:
    if not 0 < level < 1 or draws < 1:
        raise InputError(
            f"{where}: level is {level!r} and draws {draws!r}, expected a share between 0 and 1, and 1 or more"
        )


def _members(groups: npt.ArrayLike | None, count: int, where: str) -> list[npt.NDArray[Any]]:
    if groups is None:
        return [np.array([k]) for k in range(count)]
    codes = group_codes(groups, count, where=where, sort=True)
    members = [np.flatnonzero(codes == code) for code in range(int(codes.max()) + 1)]
    if len(members) < 2:
        raise InputError(f"{where}: all rows are one group, expected at least two groups to draw from")
    return members
