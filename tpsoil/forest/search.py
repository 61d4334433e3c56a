"""Fit forests, and choose their settings by folds within the training rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.forest.growing import grow
from tpsoil.forest.options import PRESETS, RESERVED, SETTINGS

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def grid_of_settings(
    settings: Mapping[str, Any], search: Mapping[str, Sequence[Any]] | None, preset: str = "default"
) -> list[dict[str, Any]]:
    """Every combination of the searched settings, over the fixed ones.

    Parameters
    ----------
    settings : mapping
        Fixed settings of RandomForestRegressor.
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
    for name in search or {}:
        if name in RESERVED:
            fix = f"; use {RESERVED[name]}=" if RESERVED[name] else "; train sets it itself"
            raise InputError(f"train: '{name}' cannot be searched{fix}")
        if name not in SETTINGS:
            raise InputError(f"train: search has no setting '{name}'{nearest_name(name, SETTINGS)}")
    names = list(search or {})
    for name in names:
        values = (search or {})[name]
        if isinstance(values, str) or not len(list(values)):
            raise InputError(f"train: search['{name}'] is {values!r}, expected a list of values to try")
    combined = itertools.product(*[list((search or {})[name]) for name in names])
    return [{**PRESETS[preset], **settings, **dict(zip(names, values))} for values in combined]


def fit_forest(
    columns: pd.DataFrame, target: Floats, trees: int, settings: Mapping[str, Any], stream: Sequence[int], workers: int
) -> RandomForestRegressor:
    """Fit one forest.

    Parameters
    ----------
    columns : DataFrame (n, p), float32
    target : ndarray (n,)
    trees : int
    settings : mapping
    stream : sequence of int
        Identifies the forest's own stream of random numbers: seed and position in the work, never its order.
    workers : int
        Threads; every tree has its own seed, so the forest does not depend on it.

    Returns
    -------
    RandomForestRegressor
    """
    from sklearn.ensemble import RandomForestRegressor

    state = int(np.random.SeedSequence([int(s) for s in stream]).generate_state(1)[0] >> 1)
    forest = RandomForestRegressor(n_estimators=trees, random_state=state, **settings)
    try:
        # n_jobs stays 1: predictions of several threads are added up in the order in which they end.
        return grow(forest, columns, target, threads=workers)
    except ValueError as error:
        raise InputError(f"train: scikit-learn rejected the settings {dict(settings)}: {error}") from error


def choose_settings(
    grid: Sequence[dict[str, Any]],
    columns: Callable[[Mask], pd.DataFrame],
    target: Floats,
    part: Mask,
    inner: npt.NDArray[np.int64],
    trees: int,
    stream: Sequence[int],
    workers: int,
) -> dict[str, Any]:
    """The settings with the minimum squared error over inner folds.

    Parameters
    ----------
    grid : sequence of dict
    columns : callable
        Columns of all rows, learned from the rows of a mask.
    target : ndarray (rows,)
    part : ndarray (rows,), bool
        Rows that may be used: the training part of an outer fold.
    inner : ndarray (rows in part,)
        Their inner fold.
    trees, stream, workers
        As in `fit_forest`.

    Returns
    -------
    dict
        Of equally good ones the first.
    """
    if len(grid) == 1:
        return dict(grid[0])
    places = np.flatnonzero(part)
    losses = np.zeros(len(grid))
    for k in range(int(inner.max()) + 1):
        train_rows = np.zeros_like(part)
        train_rows[places[inner != k]] = True
        test = places[inner == k]
        design = columns(train_rows)
        for g, settings in enumerate(grid):
            forest = fit_forest(design[train_rows], target[train_rows], trees, settings, [*stream, 7, k], workers)
            losses[g] += float(((forest.predict(design.iloc[test]) - target[test]) ** 2).sum())
    return dict(grid[int(np.argmin(losses))])
