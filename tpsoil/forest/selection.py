"""Forward feature selection in any validation design, and its nested score, which the selection did not see."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.forest.options import SEARCH_FOLDS, TrainingKeywords, TrainingOptions, with_keywords_of
from tpsoil.forest.out_of_fold import Positions
from tpsoil.forest.search import fit_compiled, spec_of
from tpsoil.forest.trained import TrainedForest
from tpsoil.forest.training import train

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TREES: Final = 100
"""Of each forest of a selection by default."""
WITHOUT_EFFECT: Final = ("search", "search_trees", "deciding", "units", "back_transform")
"""Options of `train` that a selection does not have: errors are on the scale of the fit."""


@dataclass(frozen=True, eq=False)
class FeatureSelection:
    """Selected features with their scores. Created by `select_features`.

    Parameters
    ----------
    features : tuple of str
        In the order of selection.
    folds : str
        Kind of folds.
    rmse : float
        Of the selected features in the folds that selected them, on the scale of the fit: optimistic.
    nested_rmse : float
        Of features that are selected anew within the training part of each fold; NaN where it was not computed.
    all_rmse : float
        Of all features in the same folds.
    steps : DataFrame
        `step`, `added`, `features`, `rmse` of each step.
    by_fold : DataFrame
        `fold`, `features` selected within each training part; empty without a nested selection.
    forests : int
        That were grown.
    """

    features: tuple[str, ...]
    folds: str
    rmse: float
    nested_rmse: float
    all_rmse: float
    steps: pd.DataFrame
    by_fold: pd.DataFrame
    forests: int

    def __repr__(self) -> str:
        return (
            f"FeatureSelection({', '.join(self.features)}; {self.folds} folds: RMSE {self.rmse:.4g} as selected, "
            f"{self.nested_rmse:.4g} nested, {self.all_rmse:.4g} with all features; {self.forests} forests)"
        )


@with_keywords_of(TrainingOptions, trees=TREES, omit=WITHOUT_EFFECT)
def select_features(
    table: pd.DataFrame,
    target: str,
    features: Sequence[str],
    groups: str | npt.ArrayLike | None = None,
    *,
    nested: bool = True,
    **options: Unpack[TrainingKeywords],
) -> FeatureSelection:
    """Select features forward: the best pair, then one at a time while the error out of fold falls.

    Parameters
    ----------
    table : DataFrame
    target : str
    features : sequence of str
        Two or more.
    groups : str or array_like (rows,), optional
        As in `train`.
    nested : bool
        Repeat the selection within the training part of each fold, and score what it selects in the fold: the score of
        the complete procedure. It costs about as many times more as there are folds.
    **options
        As in `train`: `folds` (one kind; by default the last that the table allows), `n_folds`, `trees` (100),
        `search_folds` (inner folds of the nested selection, 3), `transform`, settings of the forest.

    Returns
    -------
    FeatureSelection

    Raises
    ------
    InputError
        For fewer than two features, several kinds of folds, and as `train`.

    Notes
    -----
    All pairs are tried, p (p - 1) / 2 of them, then at most p - 2 candidates a step: with p features and k folds up to
    k (p - 1)^2 forests. All candidates have the same folds and streams of random numbers; of equal errors the first in
    the order of `features` wins. The selected minimum of many errors is below what new data give, the more so the more
    useless features there are: report the nested error.

    References
    ----------
    Meyer, H. et al. (2018), Environmental Modelling & Software 101. doi:10.1016/j.envsoft.2017.12.001

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame(rng.random((60, 3)), columns=["rain", "slope", "noise"])
    >>> table["Zn"] = 20 + 9 * table["rain"] + 5 * table["slope"]
    >>> chosen = select_features(table, "Zn", ["rain", "slope", "noise"], folds="random", trees=10, nested=False)
    >>> sorted(chosen.features)
    ['rain', 'slope']
    """
    idle = [name for name in options if name in WITHOUT_EFFECT]
    if idle:
        raise InputError(f"select_features: {', '.join(idle)} has no effect here; leave it out")
    inner = options.pop("search_folds", None)
    if inner is not None and not nested:
        raise InputError("select_features: search_folds has no effect without nested=True; leave it out")
    options, table = {"trees": TREES, **options}, table.reset_index(drop=True)
    how = TrainingOptions.of(options)
    if how.folds is not None and len(how.kinds) != 1:
        raise InputError(f"select_features: folds are {list(how.kinds)}, expected one kind, which decides")
    base = train(table, target, features, groups, **options)
    positions = training_positions(base, table.loc[base.folds.index], how)
    inner_folds = SEARCH_FOLDS if inner is None else inner
    return select_from(base, positions, nested=nested, inner_folds=inner_folds, workers=how.workers)


def training_positions(base: TrainedForest, rows: pd.DataFrame, how: TrainingOptions) -> Positions:
    """Positions of the rows that a forest was trained on, for folds within parts of them.

    Parameters
    ----------
    base : TrainedForest
    rows : DataFrame
        Its rows of the table, with coordinates and regions.
    how : TrainingOptions
        Of its training.
    """
    positions = Positions.of(rows, how, base.groups, where="select_features")
    if how.block_size == "auto":
        blocks = replace(positions.blocks, side=float(base.settings["block_size"]))
        positions = replace(positions, blocks=blocks)
    return positions


def select_from(
    base: TrainedForest, positions: Positions, *, nested: bool, inner_folds: int = SEARCH_FOLDS, workers: int = 1
) -> FeatureSelection:
    """Select among the features of a trained forest, in its deciding folds; see `select_features`.

    Parameters
    ----------
    base : TrainedForest
        With all features; its settings and number of trees are those of the selection.
    positions : Positions
        Of its rows.
    nested : bool
    inner_folds : int
    workers : int
        Threads; the result does not depend on it.

    Raises
    ------
    InputError
        For fewer than two features.
    """
    names = tuple(base.encoding.sources)
    if len(names) < 2:
        raise InputError(f"select_features: features are {list(names)}, expected two or more")
    kind, seed = base.deciding, int(base.settings["seed"])
    everywhere = np.arange(len(base.design))
    folds = base.folds[kind].to_numpy()
    search = _Search(base, workers)
    chosen, steps = search.forward(everywhere, folds)
    rows: list[dict[str, Any]] = []
    nested_rmse = float("nan")
    if nested:
        errors = np.full(len(folds), np.nan)
        for fold in np.unique(folds):
            part, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            inner = positions.folds(kind, folds != fold, inner_folds, seed + 1)
            own, _ = search.forward(part, inner)
            errors[test] = search.errors(own, part, test, (seed, 33, int(fold)))
            rows.append({"fold": int(fold), "features": ", ".join(own)})
        nested_rmse = float(np.sqrt((errors**2).mean()))
    best = float(steps[-1]["rmse"])
    all_rmse = search.score(names, everywhere, folds)
    return FeatureSelection(
        features=chosen,
        folds=kind,
        rmse=best,
        nested_rmse=nested_rmse,
        all_rmse=all_rmse,
        steps=pd.DataFrame(steps),
        by_fold=pd.DataFrame(rows, columns=["fold", "features"]),
        forests=len(search.grown),
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """Scores of sets of features; counts the forests."""

    base: TrainedForest
    workers: int
    grown: list[None] = field(default_factory=list)

    def forward(self, rows: Rows, folds: npt.NDArray[Any]) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        """Features selected with some rows and their folds, and the steps."""
        names = tuple(self.base.encoding.sources)
        candidates: list[tuple[str, ...]] = list(combinations(names, 2))
        chosen: tuple[str, ...] = ()
        steps: list[dict[str, Any]] = []
        best = np.inf
        while candidates:
            with ThreadPoolExecutor(min(self.workers, len(candidates))) as pool:
                scores = list(pool.map(lambda one: self.score(one, rows, folds), candidates))
            # The first minimum: of equal errors the order of the features decides.
            place = int(np.argmin(scores))
            if not scores[place] < best:
                break
            best, previous, chosen = scores[place], chosen, candidates[place]
            added = [name for name in chosen if name not in previous]
            steps.append({
                "step": len(steps) + 1, "added": ", ".join(added), "features": len(chosen), "rmse": best,
            })  # fmt: skip
            candidates = [(*chosen, name) for name in names if name not in chosen]
        return chosen, steps

    def score(self, features: Sequence[str], rows: Rows, folds: npt.NDArray[Any]) -> float:
        """RMSE of features, pooled over folds."""
        seed = int(self.base.settings["seed"])
        errors = np.empty(len(rows))
        for fold in np.unique(folds):
            test = folds == fold
            errors[test] = self.errors(features, rows[~test], rows[test], (seed, 31, int(fold)))
        return float(np.sqrt((errors**2).mean()))

    def errors(self, features: Sequence[str], part: Rows, test: Rows, stream: tuple[int, ...]) -> Floats:
        """Errors at test rows of a forest grown on others, on the scale of the fit."""
        base = self.base
        # The order of the table, so that a set of features has one forest however it was put together.
        columns = [column for name, own in base.encoding.sources.items() if name in features for column in own]
        design, target = base.design_from(part)[columns], base.fitted_target
        compiled = fit_compiled(design.iloc[part], target[part], spec_of(base.settings, stream))
        self.grown.append(None)
        predicted = compiled.predict(design.iloc[test])[0]
        return np.asarray(target[test] - predicted, dtype=np.float64)
