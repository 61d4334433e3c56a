"""Fit forests, and choose their settings by folds within the training rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.forest.growing import grow

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

Preset = Literal["default", "randomForest"]

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": {"max_features": 1 / 3, "min_samples_leaf": 1},
    "randomForest": {"max_features": 1 / 3, "min_samples_leaf": 1, "min_samples_split": 6},
}
"""Settings of a forest where nothing else is asked. Both try a third of the covariates at each split and draw as many
rows as there are, with replacement. "default" grows until no leaf can be split. "randomForest" has the defaults of R's
package for regression: mtry = p/3, and nodesize = 5, so that a node of five rows or fewer is not split."""

TAKEN: Final = {"n_estimators": "trees", "random_state": "seed", "n_jobs": "workers", "oob_score": "", "warm_start": "",
                "verbose": "", "bootstrap": ""}  # fmt: skip


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
        What `settings` and `search` leave open.

    Returns
    -------
    list of dict
        One where nothing is searched.

    Raises
    ------
    InputError
        For a name that RandomForestRegressor does not have, one that `train` sets itself, or an empty list.

    Examples
    --------
    >>> [s["min_samples_leaf"] for s in grid_of_settings({}, {"min_samples_leaf": [1, 5]})]
    [1, 5]
    """
    from sklearn.ensemble import RandomForestRegressor

    if preset not in PRESETS:
        raise InputError(f"train: preset is '{preset}', expected one of {list(PRESETS)}{nearest_name(preset, PRESETS)}")
    known = set(RandomForestRegressor().get_params()) - set(TAKEN)
    for name in [*settings, *(search or {})]:
        if name in TAKEN:
            mend = f"; use {TAKEN[name]}=" if TAKEN[name] else "; train sets it itself"
            raise InputError(f"train: '{name}' cannot be set here{mend}")
        if name not in known:
            raise InputError(f"train: no option '{name}'{nearest_name(name, known)}")
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
        Names the forest's own stream of random numbers: seed and position in the work, never the order of the work.
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
    """The settings with the least squared error over inner folds.

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
        past = np.zeros_like(part)
        past[places[inner != k]] = True
        test = places[inner == k]
        design = columns(past)
        for g, settings in enumerate(grid):
            forest = fit_forest(design[past], target[past], trees, settings, [*stream, 7, k], workers)
            losses[g] += float(((forest.predict(design.iloc[test]) - target[test]) ** 2).sum())
    return dict(grid[int(np.argmin(losses))])
