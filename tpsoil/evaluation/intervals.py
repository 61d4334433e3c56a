"""Uncertainty that is checked in its turn: coverage, calibration curves, CRPS, and conformal corrections."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.evaluation.scores import require_share

Doubles = npt.NDArray[np.float64]

LARGEST_RATIO: Final = 20.0
LARGEST_IMBALANCE: Final = 4
"""Rows of one class of the domain classifier for each of the other, at most."""


def interval_coverage(observed: npt.ArrayLike, quantiles: npt.ArrayLike, levels: npt.ArrayLike) -> pd.DataFrame:
    """Coverage, width and score of the central interval of every level of a set of quantiles.

    Parameters
    ----------
    observed : array_like (n,)
    quantiles : array_like (n, q)
        Predicted quantiles of each row.
    levels : array_like (q,)
        Rising, in 0..1, such as 0.05, 0.25, 0.5, 0.75, 0.95.

    Returns
    -------
    DataFrame
        One row a pair of levels that lie symmetrically: `level` (nominal), `coverage` (PICP), `binomial_se` of a
        coverage that is exactly nominal, `below` and `above` (shares outside on each side), `mean_width`,
        `interval_score`.

    Raises
    ------
    InputError
        For shapes that do not fit, levels that do not rise within 0..1, or no symmetric pair.

    References
    ----------
    Gneiting, T. and Raftery, A. E. (2007), Journal of the American Statistical Association 102.
    doi:10.1198/016214506000001437

    Examples
    --------
    >>> interval_coverage([1.0, 5.0], [[0, 2], [0, 2]], [0.05, 0.95])[["level", "coverage", "above"]].values.tolist()
    [[0.9, 0.5, 0.5]]
    """
    y, q, p = _quantiles(observed, quantiles, levels)
    rows = []
    for low in range(len(p) // 2):
        high = int(np.argmin(np.abs(p - (1 - p[low]))))
        if not np.isclose(p[high], 1 - p[low]) or high <= low:
            continue
        level = float(p[high] - p[low])
        below, above = y < q[:, low], y > q[:, high]
        width = q[:, high] - q[:, low]
        penalty = 2 / (1 - level) * (np.maximum(q[:, low] - y, 0) + np.maximum(y - q[:, high], 0))
        rows.append(
            {
                "level": round(level, 12),
                "coverage": float(1 - (below | above).mean()),
                "binomial_se": float(np.sqrt(level * (1 - level) / len(y))),
                "below": float(below.mean()),
                "above": float(above.mean()),
                "mean_width": float(width.mean()),
                "interval_score": float((width + penalty).mean()),
            }
        )
    if not rows:
        raise InputError(f"coverage: levels {p.tolist()} hold no symmetric pair such as 0.05 and 0.95")
    return pd.DataFrame(rows).sort_values("level", ignore_index=True)


def quantile_coverage(observed: npt.ArrayLike, quantiles: npt.ArrayLike, levels: npt.ArrayLike) -> pd.DataFrame:
    """Share of observations at or below each predicted quantile, one-sided.

    Parameters
    ----------
    observed : array_like (n,)
    quantiles : array_like (n, q)
    levels : array_like (q,)

    Returns
    -------
    DataFrame
        `level`, `coverage`, `binomial_se`. An interval may have nominal coverage with both
        limits too low; this shows it.

    Raises
    ------
    InputError
        As `interval_coverage`.

    Examples
    --------
    >>> quantile_coverage([1.0, 5.0], [[0, 2], [0, 2]], [0.05, 0.95])["coverage"].tolist()
    [0.0, 0.5]
    """
    y, q, p = _quantiles(observed, quantiles, levels)
    return pd.DataFrame(
        {
            "level": p,
            "coverage": (y[:, None] <= q).mean(axis=0),
            "binomial_se": np.sqrt(p * (1 - p) / len(y)),
        }
    )


def pit_values(observed: npt.ArrayLike, quantiles: npt.ArrayLike, levels: npt.ArrayLike) -> Doubles:
    """Probability integral transform: the predicted probability of a value at or below the one observed.

    Parameters
    ----------
    observed : array_like (n,)
    quantiles : array_like (n, q)
    levels : array_like (q,)

    Returns
    -------
    ndarray (n,)
        Linear between quantiles; below the first and above the last the middle of the remaining probability. Uniform
        where predictions are calibrated: a histogram shaped like a U shows intervals that are too narrow.

    Raises
    ------
    InputError
        As `interval_coverage`.

    Examples
    --------
    >>> pit_values([1.0, 9.0], [[0, 2], [0, 2]], [0.25, 0.75]).tolist()
    [0.5, 0.875]
    """
    y, q, p = _quantiles(observed, quantiles, levels)
    result = np.array([np.interp(value, row, p) for value, row in zip(y, q, strict=True)])
    result[y < q[:, 0]] = p[0] / 2
    result[y > q[:, -1]] = (1 + p[-1]) / 2
    return result


def crps(observed: npt.ArrayLike, members: npt.ArrayLike) -> Doubles:
    """Continuous ranked probability score of each row against an ensemble, in the unit of the data.

    Parameters
    ----------
    observed : array_like (n,)
    members : array_like (n, m)
        Equally likely predictions, such as trees, parameter sets, or quantiles at equal steps.

    Returns
    -------
    ndarray (n,)
        mean |x - y| - mean |x - x'| / 2; for a single member the absolute error. The lower the better.

    Raises
    ------
    InputError
        For shapes that do not fit or values that are not finite.

    References
    ----------
    Gneiting, T. and Raftery, A. E. (2007), Journal of the American Statistical Association 102.
    doi:10.1198/016214506000001437

    Examples
    --------
    >>> crps([1.0], [[0.0, 2.0]]).tolist()
    [0.5]
    """
    y, x = np.asarray(observed, dtype=np.float64), np.sort(np.asarray(members, dtype=np.float64), axis=-1)
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.shape[1] or not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise InputError(f"crps: observed has shape {y.shape}, members {x.shape}, expected (n,) and (n, m), all finite")
    m = x.shape[1]
    # The mean of |x - x'| over all pairs of m sorted members is 2 / m^2 sum (2 i - m + 1) x_i.
    between = 2.0 / m**2 * (x @ (2.0 * np.arange(m) - m + 1))
    return np.asarray(np.abs(x - y[:, None]).mean(axis=1) - between / 2)


def conformal_quantile(scores: npt.ArrayLike, level: float, weights: npt.ArrayLike | None = None) -> float:
    """The score that a new one stays below with the nominal probability.

    Parameters
    ----------
    scores : array_like (n,)
        Of exchangeable residuals; finite.
    level : float
        1 - alpha, within 0..1.
    weights : array_like (n + 1,), optional
        Density ratio of the new row's population to the samples' at each sample and, last, at the new row: the
        coverage is then nominal under covariate shift. Equal where left out.

    Returns
    -------
    float
        Without weights the ceil((n + 1) level)-th smallest; with them the smallest score at which the weights of the
        scores up to it reach `level` of all; inf where they never do.

    Raises
    ------
    InputError
        For a level outside 0..1, scores that are not finite, or weights that do not fit.

    References
    ----------
    Tibshirani, R. J. et al. (2019), Conformal prediction under covariate shift, Advances in Neural Information
    Processing Systems 32.

    Examples
    --------
    >>> conformal_quantile(range(1, 100), 0.9), conformal_quantile([1.0, 2.0], 0.9)
    (90.0, inf)
    """
    values = np.asarray(list(scores) if isinstance(scores, range) else scores, dtype=np.float64)
    require_share("conformal", level)
    if not np.isfinite(values).all():
        raise InputError(f"conformal: {int((~np.isfinite(values)).sum())} scores are not finite; drop them")
    if weights is None:
        # 100 * 0.9 is 90.00000000000001 in binary; a rank is an exact count.
        rank = int(np.ceil((len(values) + 1) * level - 1e-9))
        return float(np.sort(values)[rank - 1]) if rank <= len(values) else float("inf")
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (len(values) + 1,) or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
        raise InputError(
            f"conformal: weights have shape {w.shape}, expected ({len(values) + 1},): one a score and one for the new "
            "row, none negative"
        )
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(w[order]) / w.sum()
    place = int(np.searchsorted(reached, level - 1e-12))
    return float(values[order[place]]) if place < len(values) else float("inf")


@dataclass(frozen=True, eq=False)
class GroupQuantiles:
    """A conformal score for each group, so that coverage is nominal within groups and not only on average.

    Parameters
    ----------
    level : float
    by_group : mapping of label to float
        Only groups with enough scores of their own.
    overall : float
        Of all scores, for every other label.
    pooled : tuple of labels
        Groups with too few scores, which use `overall`.
    """

    level: float
    by_group: Mapping[Hashable, float]
    overall: float
    pooled: tuple[Hashable, ...]

    def of(self, groups: npt.ArrayLike) -> Doubles:
        """The score of each label; of one that was not seen, that of all."""
        labels: Any = np.asarray(groups)
        return pd.Series(labels.ravel()).map(dict(self.by_group)).fillna(self.overall).to_numpy().reshape(labels.shape)

    def __repr__(self) -> str:
        return f"GroupQuantiles({self.level:g}: {len(self.by_group)} groups, {len(self.pooled)} pooled)"


def group_quantiles(
    scores: npt.ArrayLike, groups: npt.ArrayLike, level: float, *, smallest: int | None = None
) -> GroupQuantiles:
    """Conformal scores by group (Mondrian): each group's coverage is nominal.

    Parameters
    ----------
    scores : array_like (n,)
    groups : array_like (n,)
        Label of each score; missing labels count towards all only.
    level : float
    smallest : int, optional
        Scores that a group needs to have its own; by default as many as make its quantile finite.

    Returns
    -------
    GroupQuantiles

    Raises
    ------
    InputError
        For lengths that differ or what `conformal_quantile` rejects.

    References
    ----------
    Vovk, V. (2013), Conditional validity of inductive conformal predictors, Machine Learning 92.
    doi:10.1007/s10994-013-5355-6

    Examples
    --------
    >>> group_quantiles([1, 2, 3, 10, 20, 30], list("aaabbb"), 0.5).of(["a", "b", "c"]).tolist()
    [2.0, 20.0, 10.0]
    """
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(groups)
    if labels.shape != values.shape:
        raise InputError(f"conformal: groups have shape {labels.shape}, expected {values.shape}: one label a score")
    smallest = int(np.ceil(level / (1 - level) - 1e-9)) if smallest is None else smallest
    own: dict[Hashable, float] = {}
    pooled: list[Hashable] = []
    for label in pd.unique(labels[~pd.isna(labels)]):
        part = values[labels == label]
        if len(part) < smallest:
            pooled.append(label)
        else:
            own[label] = conformal_quantile(part, level)
    return GroupQuantiles(level, MappingProxyType(own), conformal_quantile(values, level), tuple(pooled))


def density_ratio(
    samples: pd.DataFrame, area: pd.DataFrame, *, largest: float = LARGEST_RATIO, seed: int = 0
) -> tuple[Doubles, Doubles]:
    """How much denser the mapped area is than the samples at each of both, by a classifier of both.

    Parameters
    ----------
    samples, area : DataFrame (n, p), (m, p)
        Covariates of samples and of cells, the same complete columns.
    largest : float
        Ratios are cut to 1 / largest .. largest: a classifier that separates both entirely would give a few samples
        all the weight.
    seed : int

    Returns
    -------
    at_samples, at_area : ndarray (n,), (m,)
        Ratios with mean 1 at the samples.

    Raises
    ------
    InputError
        For other columns, missing values, or fewer than 20 rows of either.

    Notes
    -----
    Probabilities are out of bag, from a forest with equal weight for both classes: within the bag it would know every
    row. It is grown on at most four times as many rows of one class as of the other; the rest is new to it. The ratio
    is p / (1 - p).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> low, high = pd.DataFrame({"rain": rng.random(200)}), pd.DataFrame({"rain": 0.5 + rng.random(200)})
    >>> at_samples, _ = density_ratio(low, high)
    >>> bool(at_samples[low["rain"] > 0.6].mean() > 3 * at_samples[low["rain"] < 0.4].mean())
    True
    """
    from sklearn.ensemble import RandomForestClassifier

    if list(samples.columns) != list(area.columns):
        raise InputError(f"density ratio: columns {list(area.columns)}, expected those of the samples")
    if min(len(samples), len(area)) < 20 or samples.isna().any(axis=None) or area.isna().any(axis=None):
        raise InputError("density ratio: expected at least 20 complete rows of samples and of the area")
    both = np.concatenate([samples.to_numpy(dtype=np.float64), area.to_numpy(dtype=np.float64)])
    label = np.repeat([0, 1], [len(samples), len(area)])
    # Bootstraps with class weights draw half of all rows from each: of the fewer none would be out of bag.
    limit = LARGEST_IMBALANCE * min(len(samples), len(area))
    used = np.concatenate([np.flatnonzero(label == one)[:: -(-int((label == one).sum()) // limit)] for one in (0, 1)])
    forest = RandomForestClassifier(
        300, min_samples_leaf=10, class_weight="balanced", oob_score=True, random_state=seed, n_jobs=1
    ).fit(both[used], label[used])
    chance = forest.predict_proba(both)[:, 1]
    chance[used] = forest.oob_decision_function_[:, 1]
    ratio = ratios_of_chance(chance, largest)
    mean = ratio[: len(samples)].mean()
    return ratio[: len(samples)] / mean, ratio[len(samples) :] / mean


def ratios_of_chance(chance: Doubles, largest: float = LARGEST_RATIO) -> Doubles:
    """Density of the area over that of the samples, from the probability of the area, within 1 / largest .. largest."""
    inside = np.clip(chance, 1e-9, 1 - 1e-9)
    return np.asarray(np.clip(inside / (1 - inside), 1 / largest, largest))


def _quantiles(
    observed: npt.ArrayLike, quantiles: npt.ArrayLike, levels: npt.ArrayLike
) -> tuple[Doubles, Doubles, Doubles]:
    y, q, p = (np.asarray(v, dtype=np.float64) for v in (observed, quantiles, levels))
    if p.ndim != 1 or q.shape != (len(y), len(p)) or y.ndim != 1 or not len(y):
        raise InputError(
            f"coverage: observed has shape {y.shape}, quantiles {q.shape}, levels {p.shape}; "
            "expected (n,), (n, q), (q,)"
        )
    if (np.diff(p) <= 0).any() or p[0] <= 0 or p[-1] >= 1:
        raise InputError(f"coverage: levels are {p.tolist()}, expected rising shares between 0 and 1")
    if not (np.isfinite(y).all() and np.isfinite(q).all()):
        raise InputError("coverage: values that are not finite; leave these rows out and report how many")
    return y, q, p
