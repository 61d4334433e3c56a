"""Interval corrections that differ from cell to cell: by class (group-conditional) or by covariate shift (weighted)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.evaluation import group_quantiles
from tpsoil.evaluation.intervals import LARGEST_IMBALANCE, ratios_of_chance
from tpsoil.forest.applicability import ForestSpace
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.dissimilarity import ErrorCurve
from tpsoil.forest.intervals import SMALLEST_GROUP, conformal_scores
from tpsoil.forest.outputs import EXTRA_LAYERS
from tpsoil.forest.trained import TrainedForest

Floats = npt.NDArray[np.float64]

TREES: Final = 200
LEAF: Final = 10
"""Rows of a leaf of the domain classifier, so that its probabilities are smooth."""
MINIMUM_ROWS: Final = 20


@dataclass(frozen=True, eq=False)
class ClassCorrection:
    """A conformal correction for each class of a feature. Created by `class_correction`.

    Parameters
    ----------
    feature : str
    codes : ndarray (k,)
        Classes with enough samples for a correction of their own.
    corrections : ndarray (k,)
        On the scale of the fit.
    overall : float
        Of all samples, for every other class.
    """

    feature: str
    codes: Floats
    corrections: Floats
    overall: float

    def at(self, codes: npt.ArrayLike) -> Floats:
        """The correction of each cell, from the codes of its class."""
        values = np.asarray(codes, dtype=np.float64)
        result = np.full(values.shape, self.overall)
        for code, correction in zip(self.codes, self.corrections, strict=True):
            result[values == code] = correction
        return result

    @property
    def text(self) -> str:
        """For the attributes of the maps."""
        own = ", ".join(f"{code:g}: {value:.4g}" for code, value in zip(self.codes, self.corrections, strict=True))
        return f"{own}; other classes: {self.overall:.4g}"


@dataclass(frozen=True, eq=False)
class ShiftCorrection:
    """A conformal correction whose residuals are weighted by covariate shift. Created by `shift_correction`.

    Parameters
    ----------
    level : float
    scores : ndarray (n,)
        Of the samples, rising.
    reached : ndarray (n,)
        Sum of the weights of the scores up to each.
    mean : float
        Density ratio that is 1, the mean at the samples.
    samples : ndarray (rows,), optional
        Correction at each training row, from its probability out of bag; NaN where it is incomplete. None in models
        written before it was stored.
    """

    level: float
    scores: Floats
    reached: Floats
    mean: float
    samples: Floats | None = None

    def at(self, chance: npt.ArrayLike) -> Floats:
        """The correction of each cell.

        Parameters
        ----------
        chance : array_like
            Probability by the domain classifier that the row is of the mapped area rather than a sample.

        Returns
        -------
        ndarray
            On the scale of the fit; inf where the cell's own weight exceeds what the samples support.
        """
        weight = ratios_of_chance(np.asarray(chance, dtype=np.float64)) / self.mean
        place = np.searchsorted(self.reached, self.level * (self.reached[-1] + weight) * (1 - 1e-12))
        return np.asarray(np.append(self.scores, np.inf)[place])


def class_correction(trained: TrainedForest, level: float, feature: str) -> ClassCorrection:
    """Conformal corrections by class: coverage is nominal within each class with enough samples.

    Parameters
    ----------
    trained : TrainedForest
    level : float
    feature : str
        One of the forest's features that is a class.

    Returns
    -------
    ClassCorrection

    Raises
    ------
    InputError
        For another feature, or one that is a number, and a forest that was grown again by `refit`.

    References
    ----------
    Vovk, V. (2013), Machine Learning 92. doi:10.1007/s10994-013-5355-6
    """
    kinds = {item.name: item.kind for item in trained.encoding.features}
    if kinds.get(feature) != "categorical":
        classes = [name for name, kind in kinds.items() if kind == "categorical"]
        reason = "is a number" if feature in kinds else f"is no feature{nearest_name(feature, kinds)}"
        raise InputError(
            f"intervals: '{feature}' {reason}; intervals by class need a class among the features "
            f"({', '.join(classes) or 'this forest has none'})"
        )
    trained.require_own_rows("intervals")
    scores = conformal_scores(trained, level).to_numpy()
    labels = pd.to_numeric(trained.rows[feature], errors="coerce").to_numpy(dtype=np.float64)
    groups = group_quantiles(scores, labels, level, smallest=SMALLEST_GROUP)
    codes = np.sort(np.array([float(str(code)) for code in groups.by_group], dtype=np.float64))
    return ClassCorrection(feature, codes, groups.of(codes), groups.overall)


def shift_correction(
    trained: TrainedForest, level: float, cells: pd.DataFrame, *, seed: int = 0
) -> tuple[ShiftCorrection, CompiledForest]:
    """Weighted conformal correction under covariate shift between samples and mapped cells.

    Parameters
    ----------
    trained : TrainedForest
    level : float
    cells : DataFrame (m, features)
        Covariates of cells of the mapped area; incomplete ones are left out.
    seed : int

    Returns
    -------
    correction : ShiftCorrection
    classifier : CompiledForest
        Probability that a row, as columns of `trained.encoding`, is of the mapped area.

    Raises
    ------
    InputError
        For fewer than 20 complete samples or cells, and a forest that was grown again by `refit`.

    Notes
    -----
    The classifier is a forest of regression trees on 0 and 1, both with half of the weight, whose leaves are then
    probabilities. Those of the samples are out of bag. The weight of a sample is p / (1 - p), that of a cell enters
    its own correction, as the method requires: the more remote the cell, the wider.

    References
    ----------
    Tibshirani, R. J. et al. (2019), Conformal prediction under covariate shift, Advances in Neural Information
    Processing Systems 32.
    """
    from sklearn.ensemble import RandomForestRegressor

    trained.require_own_rows("intervals")
    scores = conformal_scores(trained, level)
    own = trained.encoding.table(trained.rows)
    area = trained.encoding.table(cells[list(trained.features)], unseen="missing")
    complete, area = own.notna().all(axis=1).to_numpy(), area.dropna()
    own = own[complete]
    if min(len(own), len(area)) < MINIMUM_ROWS:
        raise InputError(
            f"intervals: {len(own)} complete samples and {len(area)} complete cells, expected {MINIMUM_ROWS} or more "
            "of each for weighted intervals; use plain ones"
        )
    # Weighted bootstraps draw half of all rows from the samples: of many cells no sample would be out of bag.
    area = area.iloc[:: -(-len(area) // (LARGEST_IMBALANCE * len(own)))]
    rows = np.concatenate([own.to_numpy(dtype=np.float32), area.to_numpy(dtype=np.float32)])
    label = np.repeat([0.0, 1.0], [len(own), len(area)])
    weight = np.repeat([0.5 / len(own), 0.5 / len(area)], [len(own), len(area)]) * len(label)
    forest = RandomForestRegressor(
        TREES, min_samples_leaf=LEAF, max_features="sqrt", oob_score=True, random_state=seed, n_jobs=1
    )
    with warnings.catch_warnings():
        # Of few cells some are in every bag; only the predictions of samples are used.
        warnings.filterwarnings("ignore", message="Some inputs do not have OOB scores", category=UserWarning)
        forest.fit(rows, label, sample_weight=weight)
    chance = forest.oob_prediction_[: len(own)]
    ratio = ratios_of_chance(chance)
    mean = float(ratio.mean())
    values = scores.to_numpy()[complete]
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(ratio[order] / mean)
    correction = ShiftCorrection(level, np.asarray(values[order], np.float64), reached, mean)
    samples = np.full(len(complete), np.nan)
    samples[complete] = correction.at(chance)
    correction = replace(correction, samples=samples)
    return correction, CompiledForest.from_sklearn(forest, list(own.columns))


def chance_of_area(classifier: CompiledForest, columns: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """Probability of the mapped area at complete rows of columns."""
    rows = np.stack([columns[name] for name in classifier.features], axis=1)
    return np.asarray(classifier.predict(rows)[0], dtype=np.float64)


def check_choices(level: float | None, extra: Sequence[str], conformal: str, cells: pd.DataFrame | None) -> None:
    """Check the options of a map beside mean and spread.

    Parameters
    ----------
    level : float or None
        Nominal coverage of the interval.
    extra : sequence of str
        Of "point_density" (training samples within the threshold of dissimilarity) and "expected_error" (RMSE expected
        at the cell's dissimilarity).
    conformal : str
        "plain": quantiles of the forest with one correction, nominal coverage on average. "spread": mean and spread
        between trees times one factor, with the same nominal coverage on average, and without the cost of quantiles:
        the choice for maps of many cells, such as 30 m. "class:NAME": quantiles with one correction for each class of
        a feature, nominal coverage within classes of 50 samples or more. "weighted": quantiles, with samples weighted
        by how dense the mapped area is at their covariates, nominal coverage over an area that differs from the
        samples.
    cells : DataFrame (m, features) or None
        Covariates of cells of the mapped area, for "weighted".

    Raises
    ------
    InputError
        For an unknown layer or method, one without a level, and cells that are missing or not used.
    """
    for name in extra:
        if name not in EXTRA_LAYERS:
            raise InputError(
                f"map: no layer '{name}'{nearest_name(name, EXTRA_LAYERS)}, expected of {list(EXTRA_LAYERS)}"
            )
    if conformal not in ("plain", "spread", "weighted") and not conformal.startswith("class:"):
        raise InputError(
            f"map: conformal is '{conformal}', expected 'plain', 'spread', 'weighted' or 'class:' and a feature"
        )
    if (cells is not None) != (conformal == "weighted"):
        raise InputError("map: conformal='weighted' needs cells=, covariates of mapped cells, and only it uses them")
    if level is None and (extra or conformal != "plain"):
        raise InputError("map: extra layers and corrected intervals need level=, such as 0.9")


def error_curve(trained: TrainedForest, space: ForestSpace) -> ErrorCurve:
    """Expected error by dissimilarity, from out-of-fold errors in the target's own unit."""
    frame = trained.predictions[trained.deciding]
    squares = (frame["observed_original"] - frame["predicted_original"]).to_numpy(dtype=np.float64) ** 2
    return space.area.error_curve(squares[space.complete])
