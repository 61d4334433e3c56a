"""Drivers of an element: importance at held-out rows and out of bag, and shares of a linear model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import factorial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.forest import TrainedForest, held_out_importance, permutation_importance
from tpsoil.forest.held_out import columns_of_sets

Floats = npt.NDArray[np.float64]

MAX_REGRESSORS_LMG: Final = 18
"""Maximum number of regressors: lmg needs a fit for each of their 2^p subsets."""


def importance(
    forest: TrainedForest | Any,
    X: pd.DataFrame | npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    *,
    sets: Mapping[str, Sequence[str]] | None = None,
    folds: str | None = None,
    repeats: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Covariates ranked by permutation at held-out sites or blocks, with %IncMSE of R's randomForest beside it.

    Parameters
    ----------
    forest : TrainedForest or RandomForestRegressor
        A scikit-learn forest has no held-out rows: its covariates are ranked by the unscaled %IncMSE.
    X, y : array_like, optional
        Training rows and target of a RandomForestRegressor, on the scale it was fitted on; not with a TrainedForest.
    sets : mapping of str to sequence of str, optional
        Covariates that are permuted together. Of correlated covariates each alone seems unimportant, because the
        others replace it: permute them together, such as `{"climate": ["mean_annual_temperature", "ndvi"]}`.
        Default: each covariate alone; the columns of one class or direction are always permuted together.
    folds : {"random", "group", "block"}, optional
        Kind of folds whose held-out rows rank the covariates; default: the deciding one.
    repeats : int, optional
        Permutations in each fold and in each tree; default: 5 in a fold and 1 in a tree, as in R.
    seed : int

    Returns
    -------
    DataFrame
        Index: covariate or set, the most important first. Of a trained forest: `held_out_increase` (% of the held-out
        squared error), `low`, `high` (95 % interval over folds); see `tpsoil.forest.held_out_importance`. Always:
        `increase_mse` (scaled %IncMSE: mean rise of the out-of-bag squared error over its standard error),
        `mean_increase` (unscaled), `standard_error`, `rank`.

    Raises
    ------
    InputError
        For a set that names an unknown covariate, folds that the forest was not scored by, a forest without
        bootstrapping, or X and y with a trained forest.

    Notes
    -----
    %IncMSE is the measure of the published study. It is computed on out-of-bag rows, whose sites are in the training
    data where there are replicates, and scaled by the standard error between trees: a small effect that is the same in
    every tree ranks above a large one that varies, and the value grows with the square root of the number of trees.
    Held-out rows show the importance of a covariate at a place that was not sampled.

    References
    ----------
    Breiman 2001, Machine Learning 45, doi 10.1023/A:1010933404324

    Examples
    --------
    >>> from tpsoil.forest import train
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame(rng.random((80, 2)), columns=["slope", "noise"])
    >>> table["Fe"] = table["slope"] * 100
    >>> importance(train(table, "Fe", ["slope", "noise"], trees=20)).index.tolist()
    ['slope', 'noise']
    """
    in_tree, in_fold = (1, 5) if repeats is None else (repeats, repeats)
    if isinstance(forest, TrainedForest):
        if X is not None or y is not None:
            raise InputError("importance: a TrainedForest has its own training rows; omit X and y")
        columns = columns_of_sets(forest.encoding.sources, sets)
        out_of_bag = permutation_importance(
            forest.forest, forest.design, forest.fitted_target, columns, repeats=in_tree, seed=seed
        )
        ranked = held_out_importance(forest, sets, folds=folds, repeats=in_fold, seed=seed)
        table = ranked.join(out_of_bag)
        table.attrs = ranked.attrs
    else:
        if X is None or y is None:
            raise InputError("importance: a scikit-learn forest needs its training rows; pass X= and y=")
        if folds is not None:
            raise InputError("importance: a scikit-learn forest has no folds; omit folds, or use tpsoil.forest.train")
        names = list(getattr(forest, "feature_names_in_", [f"x{k}" for k in range(forest.n_features_in_)]))
        design = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X), columns=names)
        target = np.asarray(y, dtype=np.float64)
        table = permutation_importance(forest, design, target, sets, repeats=in_tree, seed=seed)
        table = table.sort_values("mean_increase", ascending=False, kind="stable")
    table["rank"] = np.arange(1, len(table) + 1)
    return table


def betasq(X: pd.DataFrame | npt.ArrayLike, y: npt.ArrayLike, *, with_lmg: bool = True) -> pd.DataFrame:
    """Squared standardised regression coefficients, with the variance inflation factors and lmg shares.

    Parameters
    ----------
    X : DataFrame or array_like (n, p)
        Numeric regressors; rows with a missing value are omitted.
    y : array_like (n,)
    with_lmg : bool
        Add the lmg shares (p of at most 18).

    Returns
    -------
    DataFrame
        Index: regressor. `coefficient`; `betasq` = b^2 var(x) / var(y); `normalised`, summing to 1; `vif`, the
        variance inflation factor (above about 5 `betasq` is meaningless; inf where a regressor is a combination of
        others); `lmg`, summing to R2. `.attrs["r2"]`.

    Raises
    ------
    InputError
        For regressors that are not numbers, are constant, or are linearly dependent; for fewer rows than p + 2.

    Notes
    -----
    betasq does not sum to R2 unless the regressors are uncorrelated. lmg shares R2 among correlated regressors by
    averaging over every order in which they can enter.

    References
    ----------
    Groemping 2006, Journal of Statistical Software 17(1), doi 10.18637/jss.v017.i01

    Examples
    --------
    >>> table = betasq([(1, 2), (2, 1), (3, 4), (4, 3), (5, 6)], [1, 2, 3.5, 3.5, 6])
    >>> table["betasq"].round(6).tolist()
    [0.420017, 0.145542]
    """
    centred, residue, names = _regression(X, y, "betasq")
    if np.linalg.matrix_rank(centred) < centred.shape[1]:
        raise InputError("betasq: the regressors are linearly dependent, their coefficients are not defined; see vif()")
    coefficient = np.linalg.lstsq(centred, residue, rcond=None)[0]
    share = coefficient**2 * centred.var(axis=0, ddof=1) / residue.var(ddof=1)
    table = pd.DataFrame(
        {
            "coefficient": coefficient,
            "betasq": share,
            "normalised": share / share.sum(),
            "vif": _inflation(centred),
        },
        index=pd.Index(names, name="feature"),
    )
    if with_lmg and len(names) <= MAX_REGRESSORS_LMG:
        table["lmg"] = _shares(centred, residue)
    table.attrs["r2"] = _r2(centred, residue)
    return table


def lmg(X: pd.DataFrame | npt.ArrayLike, y: npt.ArrayLike) -> pd.Series:
    """Shares of R2 averaged over the orders of the regressors (Lindeman, Merenda and Gold).

    Parameters
    ----------
    X : DataFrame or array_like (n, p), p of at most 18
    y : array_like (n,)

    Returns
    -------
    Series
        Index: regressor; sums to R2.

    Raises
    ------
    InputError
        As `betasq`, and for more than 18 regressors.

    Notes
    -----
    lmg_k = sum over subsets S without k of |S|! (p - |S| - 1)! / p! [R2(S + k) - R2(S)].

    Examples
    --------
    >>> lmg([(1, 1), (1, -1), (-1, 1), (-1, -1)], [3, 1, -1, -3]).round(3).tolist()
    [0.8, 0.2]
    """
    centred, residue, names = _regression(X, y, "lmg")
    p = len(names)
    if p > MAX_REGRESSORS_LMG:
        raise InputError(f"lmg: {p} regressors need {2**p} fits; use at most {MAX_REGRESSORS_LMG}, or group them")
    return pd.Series(_shares(centred, residue), index=pd.Index(names, name="feature"), name="lmg")


def _shares(centred: Floats, residue: Floats) -> Floats:
    """Shares of `lmg`, from regressors and target less their means."""
    p = centred.shape[1]
    gram, cross, total = centred.T @ centred, centred.T @ residue, float(residue @ residue)
    r2 = np.zeros(2**p)
    for code in range(1, 2**p):
        members = [k for k in range(p) if code >> k & 1]
        solution = np.linalg.lstsq(gram[np.ix_(members, members)], cross[members], rcond=1e-12)[0]
        r2[code] = float(solution @ cross[members]) / total
    shares = np.zeros(p)
    for code in range(2**p - 1):
        size = code.bit_count()
        weight = factorial(size) * factorial(p - size - 1) / factorial(p)
        for k in range(p):
            if not code >> k & 1:
                shares[k] += weight * (r2[code | 1 << k] - r2[code])
    return shares


def vif(X: pd.DataFrame | npt.ArrayLike) -> pd.Series:
    """Variance inflation factor of each regressor: 1 / (1 - R2 of it on the others).

    Parameters
    ----------
    X : DataFrame or array_like (n, p)

    Returns
    -------
    Series
        1 where it is uncorrelated with the others; inf where it is their combination.

    Examples
    --------
    >>> vif([(1, 1), (1, -1), (-1, 1), (-1, -1)]).tolist()
    [1.0, 1.0]
    """
    centred, _, names = _regression(X, None, "vif")
    return pd.Series(_inflation(centred), index=pd.Index(names, name="feature"), name="vif")


def _inflation(centred: Floats) -> list[float]:
    """Factors of `vif`, from regressors less their means."""
    factors = []
    for k in range(centred.shape[1]):
        others = np.delete(centred, k, axis=1)
        unexplained = 1 - (_r2(others, centred[:, k]) if others.shape[1] else 0.0)
        factors.append(1 / unexplained if unexplained > 1e-12 else float("inf"))
    return factors


def _r2(centred: Floats, residue: Floats) -> float:
    fitted = centred @ np.linalg.lstsq(centred, residue, rcond=None)[0]
    return 1 - float(((residue - fitted) ** 2).sum()) / float((residue**2).sum())


def _regression(
    X: pd.DataFrame | npt.ArrayLike, y: npt.ArrayLike | None, where: str
) -> tuple[Floats, Floats, list[str]]:
    """Regressors and target of the complete rows, less their means, and the regressors' names."""
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.atleast_2d(np.asarray(X)))
    names = [str(name) if isinstance(X, pd.DataFrame) else f"x{name}" for name in frame.columns]
    texts = [n for n, c in zip(names, frame.columns) if not pd.api.types.is_numeric_dtype(frame[c].dtype)]
    if texts:
        raise InputError(
            f"{where}: {', '.join(texts)} {'is' if len(texts) == 1 else 'are'} not numeric; classes have no "
            "single coefficient, use importance()"
        )
    regressors = frame.to_numpy(dtype=np.float64)
    target = np.zeros(len(frame)) if y is None else np.asarray(y, dtype=np.float64)
    if target.shape != (len(frame),):
        raise InputError(f"{where}: y has shape {target.shape}, expected ({len(frame)},)")
    complete = np.isfinite(regressors).all(axis=1) & np.isfinite(target)
    regressors, target = regressors[complete], target[complete]
    if len(regressors) < regressors.shape[1] + (2 if y is not None else 1):
        raise InputError(f"{where}: {len(regressors)} complete rows for {len(names)} regressors; expected more rows")
    constant = [name for name, spread in zip(names, np.ptp(regressors, axis=0)) if spread == 0]
    if constant:
        raise InputError(f"{where}: {', '.join(constant)} is constant; omit it")
    if y is not None and np.ptp(target) == 0:
        raise InputError(f"{where}: y is constant; it has no variance to explain")
    return regressors - regressors.mean(axis=0), target - target.mean(), names
