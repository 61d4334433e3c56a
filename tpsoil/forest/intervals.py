"""Prediction intervals with nominal coverage: conformal correction by out-of-fold residuals, and empirical coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name, require_one_of
from tpsoil.evaluation import conformal_quantile, group_quantiles
from tpsoil.forest.trained import LEVELS, TrainedForest, forward, tails

Floats = npt.NDArray[np.float64]
Method = Literal["quantile", "spread", "residual"]

ALL: Final = "all"
"""Group of all rows in a table by group."""
SMALLEST_GROUP: Final = 50
"""Samples of a class that has a correction of its own. With the minimum of 9 for 90 %, arid Europe in kNNDM folds,
whose 139 samples are nearly all in one fold, is covered by 63 %; by 91 % with the correction of all."""


@dataclass(frozen=True)
class Conformal:
    """A conformal correction of prediction intervals. Created by `conformal_intervals`.

    Parameters
    ----------
    level : float
        Nominal coverage, 0..1.
    method : {"quantile", "spread", "residual"}
    correction : float
        On the scale of the fit: added outside both quantiles; times the sd between trees; or the half-width itself.
        May be negative for "quantile", where the quantiles are too wide; inf where there are too few residuals.
    transform : {"none", "log10"}
        Scale of the fit.
    scores : int
        Residuals that it rests on.
    offset : float
        Added to the spread between trees before "spread" scales it, on the scale of the fit: the spread of few trees is
        itself uncertain, and 0 where all agree.
    """

    level: float
    method: Method
    correction: float
    transform: str
    scores: int
    offset: float = 0.0

    @property
    def quantiles(self) -> tuple[float, float]:
        """The quantiles that bound the interval before correction."""
        return tails(self.level)

    def around_quantiles(
        self, low: npt.NDArray[Any], high: npt.NDArray[Any], correction: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Corrected limits around conditional quantiles, all in the target's own unit.

        Parameters
        ----------
        low, high : ndarray
            The conditional quantiles.
        correction : ndarray, optional
            Of each row; by default `self.correction` for all.

        Returns
        -------
        lower, upper : ndarray
            Where a negative correction would cross them, both are their middle.
        """
        added = self.correction if correction is None else correction
        if self.transform == "log10":
            factor = 10.0**added
            lower, upper = low / factor, high * factor
            middle = np.sqrt(low * high)
        else:
            lower, upper = low - added, high + added
            middle = (low + high) / 2
        crossed = lower > upper
        return np.where(crossed, middle, lower), np.where(crossed, middle, upper)

    def around_mean(
        self, mean: npt.NDArray[Any], sd: npt.NDArray[Any], correction: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Limits around a prediction, for "spread" and "residual".

        Parameters
        ----------
        mean, sd : ndarray
            Mean of the trees and spread between them, in the target's own unit.
        correction : ndarray, optional
            Of each row; by default `self.correction` for all.

        Returns
        -------
        lower, upper : ndarray
            In the target's own unit.
        """
        centre, spread = spread_on_fit(np.asarray(mean, np.float64), np.asarray(sd, np.float64), self.transform)
        factor = self.correction if correction is None else correction
        half = factor * (spread + self.offset if self.method == "spread" else 1.0)
        if self.transform == "log10":
            return 10.0 ** (centre - half), 10.0 ** (centre + half)
        return centre - half, centre + half

    def around(self, predictions: pd.DataFrame, correction: Floats | None = None) -> tuple[Floats, Floats]:
        """Limits of out-of-fold predictions in the target's own unit.

        Parameters
        ----------
        predictions : DataFrame
            Of one kind of folds, from `TrainedForest.predictions`.
        correction : ndarray, optional
            Of each row, for "quantile"; by default `self.correction` for all.
        """
        if self.method == "quantile":
            low, high = (predictions[f"q{t:g}"].to_numpy(dtype=np.float64) for t in self.quantiles)
            return self.around_quantiles(low, high, correction)
        mean, sd = (predictions[f"{name}_original"].to_numpy(dtype=np.float64) for name in ("predicted", "sd"))
        return self.around_mean(mean, sd)


def spread_on_fit(mean: Floats, sd: Floats, transform: str) -> tuple[Floats, Floats]:
    """Mean and spread of the target's own unit on the scale of the fit; of log10 those of a lognormal distribution."""
    if transform != "log10":
        return mean, sd
    variance = np.log1p((sd / mean) ** 2)
    return np.log10(mean) - variance / (2 * np.log(10.0)), np.sqrt(variance) / np.log(10.0)


def conformal_intervals(
    trained: TrainedForest, level: float = 0.9, *, method: Method = "quantile", kind: str | None = None
) -> Conformal:
    """Correct a forest's intervals by its out-of-fold residuals.

    Parameters
    ----------
    trained : TrainedForest
    level : float
        One of 0.5, 0.8, 0.9, 0.95 for "quantile".
    method : {"quantile", "spread", "residual"}
        What is corrected: the quantile forest's limits (wide where the data are wide), the sd between trees times a
        factor, or one half-width for everywhere.
    kind : str, optional
        Folds whose residuals are used; by default the deciding ones. Random folds are over-optimistic where replicates
        or neighbours leak.

    Returns
    -------
    Conformal

    Raises
    ------
    InputError
        For a level that was not stored, an unknown method, or folds that were not used.

    Notes
    -----
    Score of row i for "quantile": max(q_low(x_i) - y_i, y_i - q_high(x_i)) on the scale of the fit (conformalised
    quantile regression), for "spread" |y_i - m(x_i)| / (sd(x_i) + b) with b the median of sd, for "residual"
    |y_i - m(x_i)|. For "spread" with a logarithmic fit m and sd are those of the lognormal distribution with the mean
    and spread between trees in the target's own unit, which maps have: it needs no quantiles. The residuals come
    from forests of the other folds, so they are a little larger than the complete forest's: intervals are
    conservative.

    References
    ----------
    Romano, Patterson and Candes 2019, Conformalized quantile regression, Advances in Neural Information Processing
    Systems 32; Vovk 2015, Cross-conformal predictors, doi 10.1007/s10472-013-9368-4;
    Johansson et al. 2014, Regression conformal prediction with random forests, doi 10.1007/s10994-014-5453-0
    """
    scores = conformal_scores(trained, level, method=method, kind=kind)
    transform = str(trained.settings["transform"])
    return Conformal(
        level=level,
        method=method,
        correction=conformal_quantile(scores.to_numpy(), level),
        transform=transform,
        scores=len(scores),
        offset=_spreads(trained.predictions[_kind(trained, kind)], transform)[2] if method == "spread" else 0.0,
    )


def conformal_scores(
    trained: TrainedForest, level: float, *, method: Method = "quantile", kind: str | None = None
) -> pd.Series[float]:
    """Conformal score of each training row out of fold, see `conformal_intervals`.

    Returns
    -------
    Series
        On the scale of the fit; index of the rows.

    Raises
    ------
    InputError
        As `conformal_intervals`.
    """
    frame = trained.predictions[_kind(trained, kind)]
    return pd.Series(_scores(frame, level, method, trained.settings["transform"]), index=frame.index, name="score")


def coverage_table(
    trained: TrainedForest,
    levels: Sequence[float] = LEVELS,
    *,
    by: pd.Series | npt.ArrayLike | None = None,
    kind: str | None = None,
    method: Method = "quantile",
    conditional: npt.ArrayLike | pd.Series | None = None,
) -> pd.DataFrame:
    """Empirical coverage of intervals, overall and by group, out of fold.

    Parameters
    ----------
    trained : TrainedForest
    levels : sequence of float
    by : Series or array_like, optional
        Group of each used row, such as its biome; a Series is matched by index.
    kind : str, optional
        Folds; by default the deciding ones.
    method : {"quantile", "spread", "residual"}
        What is corrected.
    conditional : Series or array_like, optional
        Group of each used row with a correction of its own, learned from the other folds: coverage is then nominal
        within each group that has enough rows, not only on average. Rows without a group have that of all.

    Returns
    -------
    DataFrame
        One row a group ("all" first) and level: `n`; `conformal`, coverage of the corrected interval; `quantile`, of
        the quantile forest's own; `spread`, of mean +- z sd between trees, which is no prediction interval (NaN of one
        tree);
        `binomial_se` of a coverage of that level; `mean_width` and `interval_score` of the corrected interval on the
        scale of the fit (the lower the better).

    Raises
    ------
    InputError
        For a level that was not stored, groups of another length, and names of groups that do not differ as text from
        each other and from "all".

    Notes
    -----
    The correction of a fold is learned from the other folds only, so that no row has a part in its own interval.
    Interval score = width + 2 / alpha (lower - y)+ + 2 / alpha (y - upper)+ (Gneiting and Raftery 2007).

    References
    ----------
    Gneiting and Raftery 2007, Journal of the American Statistical Association 102, doi 10.1198/016214506000001437
    """
    from scipy.stats import norm

    frame = trained.predictions[_kind(trained, kind)]
    transform = str(trained.settings["transform"])
    own = np.full(len(frame), None) if conditional is None else _labels(conditional, frame.index)
    fold_of = frame["fold"].to_numpy()
    y, mean, sd = (frame[name].to_numpy() for name in ("observed", "predicted", "sd"))
    centre, spread, offset = _spreads(frame, transform) if method == "spread" else (mean, sd, 0.0)
    parts = {ALL: np.ones(len(frame), dtype=bool), **_groups(by, frame.index)}
    rows: list[dict[str, Any]] = []
    for level in levels:
        scores = _scores(frame, level, method, transform)
        correction = np.empty(len(frame))
        for fold in np.unique(fold_of):
            here = fold_of == fold
            by_group = group_quantiles(scores[~here], own[~here], level, smallest=SMALLEST_GROUP)
            correction[here] = by_group.of(own[here])  # of all, for rows without a group: as in the map
        fitted = Conformal(level, method, float("nan"), "none", len(frame), offset)
        raw_low, raw_high = _limits(frame, level, transform)
        if method == "quantile":
            lower, upper = fitted.around_quantiles(raw_low, raw_high, correction)
        else:
            lower, upper = fitted.around_mean(centre, spread, correction)
        z = float(norm.ppf((1 + level) / 2))
        penalty = 2 / (1 - level) * (np.maximum(lower - y, 0) + np.maximum(y - upper, 0))
        for name, part in parts.items():
            n = int(part.sum())
            rows.append(
                {
                    "group": name,
                    "level": level,
                    "n": n,
                    "conformal": float(((lower <= y) & (y <= upper))[part].mean()),
                    "quantile": float(((raw_low <= y) & (y <= raw_high))[part].mean()),
                    "spread": float(np.where(np.isnan(sd), np.nan, np.abs(y - mean) <= z * sd)[part].mean()),
                    "binomial_se": float(np.sqrt(level * (1 - level) / n)),
                    "mean_width": float((upper - lower)[part].mean()),
                    "interval_score": float((upper - lower + penalty)[part].mean()),
                }
            )
    rows.sort(key=lambda row: (list(parts).index(row["group"]), row["level"]))
    return pd.DataFrame(rows)


def _scores(frame: pd.DataFrame, level: float, method: str, transform: str) -> Floats:
    require_one_of("intervals", "method", method, get_args(Method))
    y, mean = (frame[name].to_numpy(dtype=np.float64) for name in ("observed", "predicted"))
    if method == "residual":
        return np.asarray(np.abs(y - mean))
    if method == "spread":
        centre, spread, offset = _spreads(frame, transform)
        return np.asarray(np.abs(y - centre) / (spread + offset))
    low, high = _limits(frame, level, transform)
    return np.asarray(np.maximum(low - y, y - high))


def _limits(frame: pd.DataFrame, level: float, transform: str) -> tuple[Floats, Floats]:
    """The forest's own quantiles that bound an interval, on the scale of the fit."""
    names = [f"q{t:g}" for t in tails(level)]
    if any(name not in frame for name in names):
        raise InputError(f"intervals: level is {level!r}, expected one of {list(LEVELS)}, whose quantiles train keeps")
    low, high = (forward(frame[name].to_numpy(dtype=np.float64), transform) for name in names)
    return low, high


def _spreads(frame: pd.DataFrame, transform: str) -> tuple[Floats, Floats, float]:
    """Mean and spread as the maps have them, on the scale of the fit, and the offset of the spread, its median."""
    mean, sd = (frame[f"{name}_original"].to_numpy(dtype=np.float64) for name in ("predicted", "sd"))
    if np.isnan(sd).any():
        raise InputError("intervals: a forest of one tree has no spread between trees; grow more trees")
    centre, spread = spread_on_fit(mean, sd, transform)
    return centre, spread, float(np.median(spread)) or 1.0


def _kind(trained: TrainedForest, kind: str | None) -> str:
    which = kind or trained.deciding
    if which not in trained.predictions:
        known = list(trained.predictions)
        raise InputError(f"intervals: no folds '{which}' in this forest{nearest_name(which, known)}; it has {known}")
    return which


def _labels(by: pd.Series | npt.ArrayLike, index: pd.Index[Any]) -> Any:
    labels: Any = by.reindex(index).to_numpy() if isinstance(by, pd.Series) else np.asarray(by)
    if labels.shape != (len(index),):
        raise InputError(f"intervals: groups have shape {labels.shape}, expected ({len(index)},): one label a used row")
    return labels


def _groups(by: pd.Series | npt.ArrayLike | None, index: pd.Index[Any]) -> Mapping[str, npt.NDArray[np.bool_]]:
    if by is None:
        return {}
    labels = _labels(by, index)
    names = sorted(pd.unique(labels[~pd.isna(labels)]), key=str)
    texts = [str(name) for name in names]
    if ALL in texts or len(set(texts)) < len(texts):
        raise InputError(
            f"intervals: groups are {texts}, expected names that differ from each other and from '{ALL}', the row of "
            "all rows; rename them"
        )
    return {text: labels == name for text, name in zip(texts, names)}
