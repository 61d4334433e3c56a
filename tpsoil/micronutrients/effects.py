"""Effect of a covariate on an element: partial dependence, and accumulated local effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_named
from tpsoil.forest import TrainedForest

Floats = npt.NDArray[np.float64]
Predict = Callable[[pd.DataFrame], npt.ArrayLike]

ROWS_AT_ONCE: Final = 200_000


def partial_dependence(
    model: TrainedForest | Predict | Any,
    features: str | Sequence[str],
    X: pd.DataFrame | npt.ArrayLike | None = None,
    *,
    grid: int | npt.ArrayLike | Sequence[npt.ArrayLike] = 25,
    bootstrap: int = 0,
    band: float | None = None,
    trees: int | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Mean prediction with one or two covariates fixed.

    Parameters
    ----------
    model : TrainedForest, object with `predict`, or callable
        A callable or `predict` takes a DataFrame and returns (n,).
    features : str, or two of them
    X : DataFrame or array_like (n, p), optional
        Rows to average over; default: the training rows of a trained forest.
    grid : int or array_like
        Number of values between the 1st and 99th percentile, or the values (one array a covariate); for a
        class covariate its levels.
    bootstrap : int
        Forests that are retrained on resampled sites for the band; trained forests only.
    band : float, optional
        Share of the bootstrap curves between `low` and `high`; default 0.95.
    trees : int, optional
        Of each of these forests; default 100.
    seed : int, optional
        Default 0. `band`, `trees` and `seed` are rejected without `bootstrap`.

    Returns
    -------
    DataFrame
        One row a value (or pair): the covariate's column(s), `effect` in the unit of the prediction, and with a
        bootstrap `low` and `high`.

    Raises
    ------
    InputError
        For a covariate that the model does not have, and options of the bootstrap without one.

    Notes
    -----
    Brute force: every row is predicted at every value. With correlated covariates this includes combinations that do
    not occur; accumulated local effects do not include them.

    Examples
    --------
    >>> rows = pd.DataFrame({"a": [0.0, 1.0], "b": [0.0, 2.0]})
    >>> partial_dependence(lambda t: t["a"] * t["b"], "a", rows, grid=[0.5])["effect"].tolist()
    [0.5]
    """
    resampling = Resampling.of("partial_dependence", bootstrap, band, trees, seed)
    predict, rows = _model(model, X)
    names = _names(features, rows)
    if isinstance(grid, int | np.integer) and grid < 1:
        raise InputError(f"partial_dependence: grid is {grid}, expected 1 or more")
    alike = len(names) == 1 or isinstance(grid, int | np.integer)
    grids: list[Any] = [grid] * len(names) if alike else list(cast(Any, grid))
    if len(grids) != len(names):
        raise InputError(f"partial_dependence: grid has {len(grids)} parts, expected the values of each of {names}")
    values = [_grid_of(model, rows, name, own) for name, own in zip(names, grids)]
    mesh = [axis.ravel() for axis in np.meshgrid(*values, indexing="ij")]
    table = pd.DataFrame(dict(zip(names, mesh)))
    table["effect"] = _dependence(predict, rows, names, mesh)
    return _with_band(table, model, resampling, lambda again, some: _dependence(again, some, names, mesh), rows)


def accumulated_local_effects(
    model: TrainedForest | Predict | Any,
    features: str | Sequence[str],
    X: pd.DataFrame | npt.ArrayLike | None = None,
    *,
    bins: int = 20,
    bootstrap: int = 0,
    band: float | None = None,
    trees: int | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Effect of one covariate, or the interaction of two, from local differences.

    Parameters
    ----------
    model, X, bootstrap, band, trees, seed
        As in `partial_dependence`.
    features : str, or two of them
        Numeric; for a class use `partial_dependence`. Of two the pure interaction is returned, without their main
        effects.
    bins : int
        Quantile bins a covariate; tied edges are merged.

    Returns
    -------
    DataFrame
        One row an edge (or pair of edges): the covariate's column(s), `effect` in the unit of the prediction, 0 on
        average over the data, and with a bootstrap `low` and `high`. `.attrs["rows_by_bin"]`: rows in each
        bin; `.attrs["empty_cells"]`: for two covariates, cells without data that have their nearest
        neighbour's difference.

    Raises
    ------
    InputError
        For a class covariate, one that the model does not have, or one with fewer than 2 distinct values.

    Notes
    -----
    In bin k the mean of f(z_k) - f(z_{k-1}) over its rows; summed up to each edge; minus the mean, over the data,
    of the values at bin middles. Edges are sample quantiles, inverse of the empirical distribution.

    References
    ----------
    Apley and Zhu 2020, Journal of the Royal Statistical Society B 82, doi 10.1111/rssb.12377

    Examples
    --------
    >>> rows = pd.DataFrame({"a": np.linspace(0, 1, 101), "b": 0.0})
    >>> table = accumulated_local_effects(lambda t: 2 * t["a"], "a", rows, bins=4)
    >>> table["effect"].round(2).tolist()
    [-0.99, -0.49, 0.01, 0.51, 1.01]
    """
    resampling = Resampling.of("accumulated_local_effects", bootstrap, band, trees, seed)
    predict, rows = _model(model, X)
    names = _names(features, rows)
    for name in names:
        if not pd.api.types.is_numeric_dtype(rows[name].dtype) or _levels(model, name):
            raise InputError(f"accumulated_local_effects: '{name}' is a class; use partial_dependence")
    if bins < 1:
        raise InputError(f"accumulated_local_effects: bins is {bins}, expected 1 or more")
    edges = [_edges(rows[name].to_numpy(dtype=np.float64), bins, name) for name in names]
    own = None if X is None else rows
    effect_of = _ale_one if len(names) == 1 else _ale_two
    effect, attributes = effect_of(predict, rows, names, edges)
    mesh = np.meshgrid(*edges, indexing="ij")
    table = pd.DataFrame({**{name: axis.ravel() for name, axis in zip(names, mesh)}, "effect": effect})
    table.attrs.update(attributes)
    return _with_band(table, model, resampling, lambda again, some: effect_of(again, some, names, edges)[0], own)


def _ale_one(
    predict: Predict, rows: pd.DataFrame, names: Sequence[str], all_edges: Sequence[Floats]
) -> tuple[Floats, dict[str, Any]]:
    (name,), (edges,) = names, all_edges
    x = rows[name].to_numpy(dtype=np.float64)
    bin_index = _bin_of(x, edges)
    high = _call(predict, rows.assign(**{name: edges[bin_index + 1]}))
    low = _call(predict, rows.assign(**{name: edges[bin_index]}))
    counts = np.bincount(bin_index, minlength=len(edges) - 1)
    sums = np.bincount(bin_index, weights=high - low, minlength=len(edges) - 1)
    # With resampled rows a bin can be empty; its effect is then 0.
    local = np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
    effect = np.concatenate([[0.0], np.cumsum(local)])
    middle = (effect[:-1] + effect[1:]) / 2
    return effect - float((middle * counts).sum() / counts.sum()), {"rows_by_bin": counts.tolist()}


def _ale_two(
    predict: Predict, rows: pd.DataFrame, names: Sequence[str], edges: Sequence[Floats]
) -> tuple[Floats, dict[str, Any]]:
    from scipy.spatial import cKDTree

    first, second = names
    i, j = (_bin_of(rows[n].to_numpy(dtype=np.float64), e) for n, e in zip(names, edges))

    def at(up: int, right: int) -> Floats:
        return _call(predict, rows.assign(**{first: edges[0][i + up], second: edges[1][j + right]}))

    difference = (at(1, 1) - at(0, 1)) - (at(1, 0) - at(0, 0))
    shape = (len(edges[0]) - 1, len(edges[1]) - 1)
    cell = i * shape[1] + j
    counts = np.bincount(cell, minlength=shape[0] * shape[1])
    sums = np.bincount(cell, weights=difference, minlength=len(counts))
    local = np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        middles = [((e[1:] + e[:-1]) / 2 - e[0]) / (e[-1] - e[0]) for e in edges]
        centres = np.stack([axis.ravel() for axis in np.meshgrid(*middles, indexing="ij")], axis=1)
        filled = np.flatnonzero(counts)
        local[empty] = local[filled[cKDTree(centres[filled]).query(centres[empty])[1]]]
    weights = counts.reshape(shape).astype(np.float64)
    surface = np.zeros((shape[0] + 1, shape[1] + 1))
    surface[1:, 1:] = local.reshape(shape).cumsum(axis=0).cumsum(axis=1)
    # The main effects in the summed surface are subtracted, then its mean over the data.
    mains = []
    for axis in (0, 1):
        step = np.diff(surface, axis=axis)
        step = (step[:, 1:] + step[:, :-1]) / 2 if axis == 0 else (step[1:, :] + step[:-1, :]) / 2
        total = weights.sum(axis=1 - axis)
        mean = np.divide((step * weights).sum(axis=1 - axis), total, out=np.zeros(len(total)), where=total > 0)
        mains.append(np.concatenate([[0.0], np.cumsum(mean)]))
    surface = surface - mains[0][:, None] - mains[1][None, :]
    corners = (surface[1:, 1:] + surface[1:, :-1] + surface[:-1, 1:] + surface[:-1, :-1]) / 4
    surface = surface - float((corners * weights).sum() / weights.sum())
    return surface.ravel(), {"rows_by_bin": counts.reshape(shape).tolist(), "empty_cells": len(empty)}


def _dependence(predict: Predict, rows: pd.DataFrame, names: Sequence[str], mesh: Sequence[npt.NDArray[Any]]) -> Floats:
    count = len(mesh[0])
    step = max(1, ROWS_AT_ONCE // max(1, len(rows)))
    result = np.empty(count)
    for begin in range(0, count, step):
        part = slice(begin, min(begin + step, count))
        table = pd.concat([rows] * (part.stop - part.start), ignore_index=True)
        table = table.assign(**{name: np.repeat(values[part], len(rows)) for name, values in zip(names, mesh)})
        result[part] = _call(predict, table).reshape(-1, len(rows)).mean(axis=1)
    return result


@dataclass(frozen=True)
class Resampling:
    """Forests that are retrained on resampled sites, and the band between their curves."""

    bootstrap: int
    band: float
    trees: int
    seed: int

    @classmethod
    def of(cls, where: str, bootstrap: int, band: float | None, trees: int | None, seed: int | None) -> Resampling:
        """Fill in the defaults; options without an effect are rejected."""
        for name, value in (("band", band), ("trees", trees), ("seed", seed)):
            if value is not None and not bootstrap:
                raise InputError(f"{where}: {name} has no effect without bootstrap; pass bootstrap= or omit {name}")
        options = cls(bootstrap, 0.95 if band is None else band, 100 if trees is None else trees, seed or 0)
        if bootstrap < 0 or not 0 < options.band < 1 or options.trees < 1:
            raise InputError(
                f"{where}: bootstrap is {bootstrap}, band {options.band} and trees {options.trees}, expected "
                "0 or more, a share between 0 and 1, and 1 or more"
            )
        return options


def _resampled_forests(model: Any, resampling: Resampling) -> Iterator[tuple[Predict, pd.DataFrame]]:
    """Forests retrained on resampled sites (rows where there are no sites), each with its rows."""
    if resampling.bootstrap == 0:
        return
    if not isinstance(model, TrainedForest):
        raise InputError("effects: a bootstrap band needs a TrainedForest, which can be retrained")
    groups = np.arange(len(model.rows)) if model.groups is None else pd.factorize(model.groups)[0]
    by_group = [np.flatnonzero(groups == g) for g in range(int(groups.max()) + 1)]
    for k in range(resampling.bootstrap):
        rng = np.random.default_rng([resampling.seed, 31, k])
        rows = np.concatenate([by_group[g] for g in rng.integers(0, len(by_group), len(by_group))])
        forest = model.refit(rows, trees=resampling.trees, seed=int(rng.integers(2**31)))
        yield _predict_of(forest), forest.rows


def _model(model: Any, X: pd.DataFrame | npt.ArrayLike | None) -> tuple[Predict, pd.DataFrame]:
    if X is None:
        if not isinstance(model, TrainedForest):
            raise InputError("effects: pass the rows to average over as X=")
        rows = model.rows
    else:
        rows = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X)).add_prefix("x")
    return _predict_of(model), rows.reset_index(drop=True)


def _predict_of(model: Any) -> Predict:
    if isinstance(model, TrainedForest):
        forest, encoding = model.compile(), model.encoding
        return lambda table: forest.predict(encoding.table(table))[0]
    predict: Predict = model.predict if hasattr(model, "predict") else model
    return predict


def _call(predict: Predict, rows: pd.DataFrame) -> Floats:
    return np.asarray(predict(rows), dtype=np.float64).reshape(-1)


def _names(features: str | Sequence[str], rows: pd.DataFrame) -> list[str]:
    names = [features] if isinstance(features, str) else list(features)
    if len(names) not in (1, 2) or len(set(names)) != len(names):
        raise InputError(f"effects: features are {names}, expected one or two different covariates")
    require_named("effects", names, rows, "covariate")
    return names


def _levels(model: Any, name: str) -> tuple[Any, ...]:
    return model.encoding.levels.get(name, ()) if isinstance(model, TrainedForest) else ()


def _grid_of(model: Any, rows: pd.DataFrame, name: str, grid: Any) -> npt.NDArray[Any]:
    if not isinstance(grid, int | np.integer):
        return np.asarray(grid)
    levels = _levels(model, name)
    if levels:
        return np.asarray(levels)
    low, high = np.nanquantile(rows[name].to_numpy(dtype=np.float64), [0.01, 0.99])
    return np.linspace(low, high, grid)


def _edges(x: Floats, bins: int, name: str) -> Floats:
    valid = x[np.isfinite(x)]
    if len(valid) < len(x):
        raise InputError(f"accumulated_local_effects: '{name}' is missing in {len(x) - len(valid)} rows; drop them")
    edges = np.unique(np.quantile(valid, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    if len(edges) < 2:
        raise InputError(f"accumulated_local_effects: '{name}' has one value only, {edges[0]:g}; it has no effect")
    return np.asarray(edges)


def _bin_of(x: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    """Bin k is edges[k] < x <= edges[k + 1]; the first includes its lower edge."""
    return np.clip(np.searchsorted(edges, x, side="left") - 1, 0, len(edges) - 2)


def _with_band(
    table: pd.DataFrame,
    model: Any,
    resampling: Resampling,
    curve: Callable[[Predict, pd.DataFrame], Floats],
    rows: pd.DataFrame | None,
) -> pd.DataFrame:
    """The table with the band between the curves of the resampled forests, over the rows or each one's own."""
    forests = _resampled_forests(model, resampling)
    curves = [curve(predict, own if rows is None else rows) for predict, own in forests]
    if curves:
        tails = [(1 - resampling.band) / 2, (1 + resampling.band) / 2]
        table["low"], table["high"] = np.quantile(np.stack(curves), tails, axis=0)
        table.attrs["bootstrap"] = len(curves)
    return table
