"""Importance of covariates for thickness: out-of-bag permutation of a random forest, over many seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name, require_named

from .baselines import expected_thickness
from .covariates import COVARIATES, columns_of
from .observations import THICKNESS_NAMES, lower_limits

Doubles = npt.NDArray[np.float64]


def rank_covariates(
    profiles: pd.DataFrame,
    names: Iterable[str] | None = None,
    *,
    target: str | None = None,
    categorical: Iterable[str] = (),
    seeds: int = 20,
    trees: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean decrease in accuracy of every covariate, with its spread over seeds.

    Parameters
    ----------
    profiles : DataFrame
        Thickness (m) and covariates, one row a site. Rows with a NaN are omitted; `attrs["left_out"]` counts them.
        Where `censored` is true the thickness is a lower limit, see `tpsoil.solum.baselines.expected_thickness`.
    names : iterable of str, optional
        Covariates; default: the available ones of the study's 16.
    target : str, optional
        Thickness column; default: `solum_thickness` or `thickness`.
    categorical : iterable of str
        Classes that are not classes in the catalogue.
    seeds : int
        Forests. An importance near zero changes its sign with the seed, so the mean is used.
    trees : int
        Of each forest.
    seed : int

    Returns
    -------
    DataFrame
        Descending: `feature`; `importance`, the mean over seeds of the increase in out-of-bag MSE, m2; `sd` over seeds
        (ddof 1); `positive`, the share of seeds above 0; `kept`, whether the mean is positive.

    Raises
    ------
    InputError
        For missing columns, fewer than 10 complete rows, or fewer than one seed or tree.

    Notes
    -----
    Tree by tree: MSE of its out-of-bag sites with the covariate permuted, less their MSE; the mean over trees. A
    direction is permuted as sine and cosine together, a class as its indicator columns together, so nothing is split
    across columns. Permuting uses the target: inside a cross-validation, rank on the training folds only.

    References
    ----------
    Breiman, L. (2001), Machine Learning 45. doi:10.1023/A:1010933404324

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"elevation": rng.uniform(0, 1, 80), "slope": rng.uniform(0, 1, 80)})
    >>> table["solum_thickness"] = 1 + table["elevation"]
    >>> rank_covariates(table, seeds=2, trees=30)["feature"].tolist()
    ['elevation', 'slope']
    """
    column = target or next((name for name in THICKNESS_NAMES if name in profiles.columns), THICKNESS_NAMES[0])
    features = tuple(names) if names is not None else tuple(name for name in COVARIATES if name in profiles.columns)
    missing = [name for name in (*features, column) if name not in profiles.columns]
    if missing or not features:
        hint = nearest_name(missing[0], map(str, profiles.columns)) if missing else ""
        raise InputError(f"rank_covariates: the table lacks {', '.join(missing) or 'every covariate'}{hint}")
    categorical = tuple(categorical)
    require_named("rank_covariates: categorical", categorical, features, "covariate")
    if seeds < 1 or trees < 1:
        raise InputError(f"rank_covariates: seeds is {seeds} and trees is {trees}, expected at least 1 each")
    columns = columns_of(features, categorical, {})
    layers = {name: pd.to_numeric(profiles[name], errors="coerce").to_numpy(float) for name in features}
    numbers, classes = columns.numbers(layers), columns.classes(layers, {})
    observed = np.array(pd.to_numeric(profiles[column], errors="coerce"), dtype=np.float64)
    complete = np.isfinite(numbers).all(axis=1) & np.isfinite(classes).all(axis=1) & np.isfinite(observed)
    limits = lower_limits(profiles)
    if limits[complete].any():
        observed[complete] = expected_thickness(observed[complete], limits[complete], np.zeros(int(complete.sum())))
        complete &= np.isfinite(observed)
    if complete.sum() < 10:
        raise InputError(
            f"rank_covariates: {int(complete.sum())} complete rows of {len(profiles)}, expected at least 10"
        )
    inputs, groups = _design(columns, numbers[complete], classes[complete])
    by_seed = np.stack(
        [_decrease(inputs, observed[complete], list(groups.values()), trees, seed + s) for s in range(seeds)]
    )
    table = pd.DataFrame({"feature": list(groups), "importance": by_seed.mean(axis=0)})
    table["sd"] = by_seed.std(axis=0, ddof=1) if seeds > 1 else 0.0
    table["positive"] = (by_seed > 0).mean(axis=0)
    table["kept"] = table["importance"] > 0
    table = table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    table.attrs.update(
        {"left_out": int((~complete).sum()), "rows": int(complete.sum()), "seeds": seeds, "trees": trees}
    )
    return table


def _design(columns: Any, numbers: Doubles, classes: Doubles) -> tuple[npt.NDArray[np.float32], dict[str, list[int]]]:
    """Columns of the forest and which of them belong to each covariate."""
    indicators = [(classes[:, [j]] == np.unique(classes[:, j])).astype(float) for j in range(classes.shape[1])]
    widths = [1] * len(columns.numeric) + [2] * len(columns.circular) + [part.shape[1] for part in indicators]
    positions = np.split(np.arange(sum(widths)), np.cumsum(widths)[:-1])
    inputs = np.hstack([numbers, *indicators]).astype(np.float32)
    return inputs, {name: own.tolist() for name, own in zip(columns.names, positions)}


def _decrease(
    inputs: npt.NDArray[np.float32], observed: Doubles, groups: Sequence[Sequence[int]], trees: int, seed: int
) -> Doubles:
    """Increase of the out-of-bag MSE for each group of columns, the mean over trees of one forest."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(trees, max_features=1 / 3, min_samples_leaf=5, random_state=seed, n_jobs=1)
    forest.fit(inputs, observed)
    rng = np.random.default_rng([seed, 23])
    total = np.zeros(len(groups))
    used = 0
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_):
        out = np.setdiff1d(np.arange(len(observed)), drawn)
        if len(out) < 2:
            continue
        used += 1
        rows = np.tile(inputs[out], (len(groups) + 1, 1)).reshape(len(groups) + 1, len(out), -1)
        for g, group in enumerate(groups):
            rows[g + 1][:, group] = rows[0][rng.permutation(len(out))][:, group]
        predicted = tree.tree_.predict(rows.reshape(-1, rows.shape[2])).reshape(len(groups) + 1, len(out))
        errors = ((predicted - observed[out]) ** 2).mean(axis=1)
        total += errors[1:] - errors[0]
    return total / max(used, 1)
