"""Fit forests, and choose their settings by folds within the training rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.growing import grow, unfitted_forest
from tpsoil.forest.options import PRESETS, RESERVED, SETTINGS, Engine

if TYPE_CHECKING:
    from tpsoil.forest.growing import AnyForest

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def grid_of_settings(
    settings: Mapping[str, Any], search: Mapping[str, Sequence[Any]] | None, preset: str = "default"
) -> list[dict[str, Any]]:
    """Every combination of the searched settings, over the fixed ones.

    Parameters
    ----------
    settings : mapping
        Fixed settings, see `tpsoil.forest.options.SETTINGS`.
    search : mapping of str to sequence, optional
    preset : {"default", "randomForest"}
        Of settings that are neither fixed nor searched.

    Returns
    -------
    list of dict
        One where nothing is searched.

    Raises
    ------
    InputError
        For an unknown setting, one that `train` sets itself, or an empty list.

    Examples
    --------
    >>> [s["min_samples_leaf"] for s in grid_of_settings({}, {"min_samples_leaf": [1, 5]})]
    [1, 5]
    """
    searched = {} if search is None else search
    for name, values in searched.items():
        if name in RESERVED:
            fix = f"; use {RESERVED[name]}=" if RESERVED[name] else "; train sets it itself"
            raise InputError(f"train: '{name}' cannot be searched{fix}")
        if name not in SETTINGS:
            raise InputError(f"train: search has no setting '{name}'{nearest_name(name, SETTINGS)}")
        if isinstance(values, str) or not len(list(values)):
            raise InputError(f"train: search['{name}'] is {values!r}, expected a list of values to try")
    combined = itertools.product(*searched.values())
    return [{**PRESETS[preset], **settings, **dict(zip(searched, values))} for values in combined]


@dataclass(frozen=True)
class ForestSpec:
    """One forest of a training.

    Parameters
    ----------
    trees : int
    settings : mapping
        As in `tpsoil.forest.growing.unfitted_forest`.
    stream : tuple of int
        Identifies the forest's own stream of random numbers: seed and position in the work, never its order.
    engine : {"compiled", "scikit-learn"}, optional
        Grower, see `tpsoil.forest.growing.grow`.
    """

    trees: int
    settings: Mapping[str, Any]
    stream: tuple[int, ...]
    engine: Engine | None = None

    def unfitted(self) -> AnyForest:
        """The forest before `fit`."""
        state = int(np.random.SeedSequence([int(s) for s in self.stream]).generate_state(1)[0] >> 1)
        return unfitted_forest(self.trees, state, self.settings)


def spec_of(settings: Mapping[str, Any], stream: tuple[int, ...], *, trees: int | None = None) -> ForestSpec:
    """The forest that the settings of a training record, by another stream of random numbers.

    Parameters
    ----------
    settings : mapping
        `TrainedForest.settings`.
    stream : tuple of int
    trees : int, optional
        By default as many as in the training.
    """
    chosen = {name: settings[name] for name in settings["chosen"]}
    # A forest that was stored without its engine was grown by scikit-learn.
    return ForestSpec(trees or int(settings["trees"]), chosen, stream, settings.get("engine", "scikit-learn"))


def fit_compiled(
    columns: pd.DataFrame, target: Floats, spec: ForestSpec, *, workers: int = 1, observed: Floats | None = None
) -> CompiledForest:
    """Fit one forest as flat arrays, in which missing values are walked.

    Parameters
    ----------
    columns, target, spec, workers
        As in `fit_forest`.
    observed : ndarray (n,), optional
        Training responses of its quantiles.
    """
    forest = fit_forest(columns, target, spec, workers=workers)
    responses = None if observed is None else (columns, observed)
    return CompiledForest.from_sklearn(
        forest, [str(name) for name in columns], accepts_missing=True, responses=responses
    )


def fit_forest(columns: pd.DataFrame, target: Floats, spec: ForestSpec, *, workers: int = 1) -> AnyForest:
    """Fit one forest.

    Parameters
    ----------
    columns : DataFrame (n, p), float32
    target : ndarray (n,)
    spec : ForestSpec
    workers : int
        Threads; every tree has its own seed, so the forest does not depend on it.

    Returns
    -------
    RandomForestRegressor or ExtraTreesRegressor

    Raises
    ------
    InputError
        For settings that scikit-learn or the grower rejects.
    """
    try:
        # n_jobs stays 1: predictions of several threads are added up in the order in which they end.
        return grow(spec.unfitted(), columns, target, threads=workers, engine=spec.engine)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"train: scikit-learn rejected the settings {dict(spec.settings)}: {error}") from error


def choose_settings(
    grid: Sequence[dict[str, Any]],
    columns: Callable[[Mask], pd.DataFrame],
    target: Floats,
    folds: npt.NDArray[np.int64],
    spec: ForestSpec,
    *,
    workers: int = 1,
) -> dict[str, Any]:
    """The settings with the minimum squared error over inner folds.

    Parameters
    ----------
    grid : sequence of dict
    columns : callable
        Columns of all rows, learned from the rows of a mask.
    target : ndarray (rows,)
    folds : ndarray (rows,), int
        Inner fold of each row; -1 for rows that must not be used, the test part of an outer fold.
    spec : ForestSpec
        Trees, stream and engine; the settings are those of the grid.
    workers : int
        Threads, which grow forests at a time.

    Returns
    -------
    dict
        The first of equally good ones.
    """
    if len(grid) == 1:
        return dict(grid[0])
    tasks = [(k, settings) for k in range(int(folds.max()) + 1) for settings in grid]
    threads = min(workers, len(tasks))

    def loss(task: tuple[int, dict[str, Any]]) -> float:
        k, settings = task
        train_rows, test = (folds >= 0) & (folds != k), folds == k
        design = columns(train_rows)
        own = replace(spec, settings=settings, stream=(*spec.stream, 7, k))
        forest = fit_forest(design[train_rows], target[train_rows], own, workers=-(-workers // threads))
        # Not the forest's own predict: its joblib tasks change the warning filters of the process. Flat arrays take
        # three times as long for a few rows.
        rows = np.ascontiguousarray(design[test], dtype=np.float32)
        predicted = sum(tree.tree_.predict(rows)[:, 0] for tree in forest.estimators_) / spec.trees
        return float(((predicted - target[test]) ** 2).sum())

    with ThreadPoolExecutor(threads) as pool:
        losses = np.reshape(list(pool.map(loss, tasks)), (-1, len(grid))).sum(axis=0)
    return dict(grid[int(np.argmin(losses))])
