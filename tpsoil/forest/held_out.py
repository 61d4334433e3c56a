"""Permutation importance on held-out rows: of a covariate at sites or blocks that are not in the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.evaluation import FOLD_KINDS
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.search import fit_compiled, spec_of
from tpsoil.forest.trained import TrainedForest

Floats = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""Of the intervals over folds."""


def held_out_importance(
    trained: TrainedForest,
    sets: Mapping[str, Sequence[str]] | None = None,
    *,
    folds: str | None = None,
    repeats: int = 5,
    seed: int = 0,
    workers: int = 1,
) -> pd.DataFrame:
    """Rise of the squared error at held-out rows when a covariate is permuted among them.

    Parameters
    ----------
    trained : TrainedForest
        The forest of each fold is grown again, as `train` grew it.
    sets : mapping of str to sequence of str, optional
        Covariates that are permuted together. By default each alone; the columns of one class or direction go together.
    folds : {"random", "group", "block"}, optional
        Kind of folds that `trained` was scored by; by default its deciding one. "random" folds share sites where there
        are replicates, and neighbours everywhere.
    repeats : int
        Permutations in each fold.
    seed : int
    workers : int
        Threads; the result does not depend on it.

    Returns
    -------
    DataFrame
        Index: covariate or set, the most important first. `held_out_increase`: rise of the mean squared error, % of the
        held-out one, on the scale of the fit. `low`, `high`: 95 % interval of it over the folds, from Student's t of
        the folds' values. `attrs`: `folds`, `n_folds`, `repeats`, `held_out_mse`.

    Raises
    ------
    InputError
        For folds that the forest was not scored by, an unknown covariate, a forest that was grown on other rows by
        `refit`, or `repeats` below 1.

    Notes
    -----
    ``I_j = 100 sum_k n_k (MSE_k(x_j permuted) - MSE_k) / sum_k n_k MSE_k`` over folds k; values are permuted within
    the held-out rows of a fold, and the rise is the mean of the repeats. Of correlated covariates each alone looks
    unimportant: permute them as a set. Memory: 4 bytes for each row of a fold, column, repeat and set.

    References
    ----------
    Breiman 2001, Machine Learning 45, doi 10.1023/A:1010933404324.

    Examples
    --------
    >>> from tpsoil.forest import train
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame(rng.random((80, 2)), columns=["slope", "noise"])
    >>> table["Fe"] = table["slope"] * 100
    >>> held_out_importance(train(table, "Fe", ["slope", "noise"], trees=10)).index.tolist()
    ['slope', 'noise']
    """
    kind = folds or trained.deciding
    if kind not in trained.predictions:
        raise InputError(f"importance: the forest was not scored by folds '{kind}'; it has {list(trained.predictions)}")
    if repeats < 1:
        raise InputError(f"importance: repeats is {repeats}, expected 1 or more")
    trained.require_own_rows("importance")
    columns = columns_of_sets(trained.encoding.sources, sets)
    labels, target = trained.folds[kind].to_numpy(), trained.fitted_target
    count = int(labels.max()) + 1
    sizes, errors = np.zeros(count), np.zeros(count)
    rises = np.zeros((count, len(columns)))
    streams = np.random.SeedSequence([int(seed), 78]).spawn(count)
    for k in range(count):
        test = labels == k
        compiled, design = _fold_forest(trained, kind, k, ~test, workers)
        rows = np.ascontiguousarray(design[test].to_numpy(dtype=np.float32))
        names = [str(name) for name in design.columns]
        places = {name: np.array([names.index(c) for c in members]) for name, members in columns.items()}
        mixed = [rows]
        rng = np.random.default_rng(streams[k])
        for _ in range(repeats):
            order = rng.permutation(len(rows))
            for members in places.values():
                copy = rows.copy()
                copy[:, members] = rows[np.ix_(order, members)]
                mixed.append(copy)
        predicted = compiled.predict(np.concatenate(mixed))[0].reshape(len(mixed), len(rows))
        loss = ((predicted - target[test]) ** 2).mean(axis=1)
        sizes[k], errors[k] = len(rows), loss[0]
        rises[k] = loss[1:].reshape(repeats, len(columns)).mean(axis=0) - loss[0]
    return _summary(list(columns), sizes, errors, rises, {"folds": kind, "repeats": repeats})


def columns_of_sets(
    sources: Mapping[str, Sequence[str]], sets: Mapping[str, Sequence[str]] | None
) -> dict[str, list[str]]:
    """The forest's columns of each covariate, or of each set of covariates.

    Raises
    ------
    InputError
        For a set that names an unknown covariate, or none.
    """
    columns: dict[str, list[str]] = {}
    for name, members in (sets or {key: [key] for key in sources}).items():
        unknown = [member for member in members if member not in sources]
        if unknown or not members:
            shown = f"'{unknown[0]}'{nearest_name(unknown[0], sources)}" if unknown else "nothing"
            raise InputError(f"importance: set '{name}' names {shown}")
        columns[name] = [column for member in members for column in sources[member]]
    return columns


def _fold_forest(
    trained: TrainedForest, kind: str, fold: int, part: npt.NDArray[np.bool_], workers: int
) -> tuple[CompiledForest, pd.DataFrame]:
    """The forest that predicted a fold, grown again, and its columns of all rows."""
    settings, design = trained.settings, trained.design_from(part)
    stream = (int(settings["seed"]), 1 + FOLD_KINDS.index(kind), fold)
    spec = replace(spec_of(settings, stream), settings=settings["chosen_by_fold"][kind][fold])
    return fit_compiled(design[part], trained.fitted_target[part], spec, workers=workers), design


def _summary(
    names: list[str], sizes: Floats, errors: Floats, rises: Floats, attributes: Mapping[str, Any]
) -> pd.DataFrame:
    from scipy.stats import t as student

    held_out_mse = float((sizes * errors).sum() / sizes.sum())
    scale = 100 / held_out_mse if held_out_mse > 0 else float("nan")
    centre = scale * (sizes[:, None] * rises).sum(axis=0) / sizes.sum()
    count = len(sizes)
    half = scale * rises.std(axis=0, ddof=1) / np.sqrt(count) * float(student.ppf(0.5 + CONFIDENCE / 2, count - 1))
    table = pd.DataFrame(
        {"held_out_increase": centre, "low": centre - half, "high": centre + half},
        index=pd.Index(names, name="feature"),
    ).sort_values("held_out_increase", ascending=False, kind="stable")
    table.attrs.update({**attributes, "n_folds": count, "held_out_mse": held_out_mse})
    return table
