"""Differences of an element between classes of land: Tukey-Kramer and Games-Howell, on site means, with letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_named, require_one_of
from tpsoil.micronutrients.checks import require_sites

Floats = npt.NDArray[np.float64]
Test = Literal["auto", "tukey", "games-howell"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Comparison of groups, returned by `compare_groups`.

    Parameters
    ----------
    groups : DataFrame
        Index: group, by descending mean. `n`, `mean`, `sd` (ddof 1), `letters`.
    pairs : DataFrame
        One row a pair: `first`, `second`, `difference` of means, `q`, `p`, `low`, `high` (simultaneous confidence
        limits of the difference), `different`.
    test : str
        "tukey" or "games-howell".
    anova_p, levene_p : float
        Of Welch's (Games-Howell) or the classical analysis of variance, and of the Brown-Forsythe test of equal
        variances.
    mse : float
        Mean square within groups.
    unit : str
        Unit of observation: "site" or "row".
    left_out : tuple of str
        Groups with fewer than 2 observations: listed with their mean, without letters.
    """

    groups: pd.DataFrame
    pairs: pd.DataFrame
    test: str
    anova_p: float
    levene_p: float
    mse: float
    unit: str
    left_out: tuple[str, ...]


def compare_groups(
    table: pd.DataFrame | Sequence[npt.ArrayLike],
    value: str = "value",
    group: str = "group",
    *,
    site: str | None = "site",
    test: Test = "auto",
    alpha: float = 0.05,
) -> Comparison:
    """Compare an element between classes, with letters.

    Parameters
    ----------
    table : DataFrame or sequence of array_like
        One row a sample, or the values of each group.
    value, group : str
        Columns.
    site : str or None
        Column with the site: values are averaged by site and group first, because replicates of one place are
        not independent. None: every row is an observation, also in a table without that column; `unit` is then
        "row".
    test : {"auto", "tukey", "games-howell"}
        "auto": Games-Howell if the Brown-Forsythe test rejects equal variances at 0.05, else Tukey-Kramer.
    alpha : float

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        For missing columns, rows without a site, infinite values, fewer than 2 groups of 2 observations, groups without
        any variance, and groups whose names are equal as text.

    Notes
    -----
    Tukey-Kramer: q = |difference| / sqrt(MSE / 2 (1/n_i + 1/n_j)), N - k degrees of freedom. Games-Howell: q =
    |difference| sqrt(2) / sqrt(s_i^2/n_i + s_j^2/n_j), Welch's degrees of freedom. Both by the studentized range of k
    groups. Groups share a letter exactly where p >= alpha; letters are in order of descending mean.

    Examples
    --------
    >>> comparison = compare_groups([[1, 2, 3, 4], [2, 3, 4, 5], [6, 7, 8, 9]], test="tukey")
    >>> comparison.groups["letters"].to_dict()
    {'3': 'a', '2': 'b', '1': 'b'}
    """
    from scipy import stats

    require_one_of("compare_groups", "test", test, get_args(Test))
    if not 0 < alpha < 1:
        raise InputError(f"compare_groups: alpha is {alpha!r}, expected a share between 0 and 1")
    long, unit = _observations(table, value, group, site)
    by_name = [
        (str(name), part.to_numpy(dtype=np.float64)) for name, part in long.groupby("group", observed=True)["value"]
    ]
    parts = dict(by_name)
    if len(parts) < len(by_name):
        alike = sorted({name for name, _ in by_name if [other for other, _ in by_name].count(name) > 1})
        raise InputError(f"compare_groups: {', '.join(alike)} is a group as text and as a number; use one type")
    if infinite := [name for name, values in by_name if not np.isfinite(values).all()]:
        raise InputError(f"compare_groups: {', '.join(infinite)} has infinite values; correct or omit them")
    small = tuple(name for name, values in parts.items() if len(values) < 2)
    tested = {name: values for name, values in parts.items() if len(values) >= 2}
    if len(tested) < 2:
        sizes = ", ".join(f"{name}: {len(values)}" for name, values in parts.items())
        raise InputError(f"compare_groups: {len(tested)} groups have 2 {unit}s or more, expected 2 groups ({sizes})")
    names = sorted(tested, key=lambda name: (-tested[name].mean(), name))
    samples = [tested[name] for name in names]
    n = np.array([len(s) for s in samples], dtype=np.float64)
    mean, variance = np.array([s.mean() for s in samples]), np.array([s.var(ddof=1) for s in samples])
    freedom = float(n.sum() - len(n))
    mse = float(((n - 1) * variance).sum() / freedom)
    if mse == 0:
        raise InputError("compare_groups: no group has variance; nothing can be tested")
    with np.errstate(divide="ignore", invalid="ignore"):  # groups of two, or without spread: p is 0 or NaN
        levene = float(stats.levene(*samples, center="median").pvalue)
    method = test if test != "auto" else ("games-howell" if levene < 0.05 else "tukey")
    if method == "games-howell" and (variance == 0).any():
        if test == "games-howell":
            raise InputError(
                f"compare_groups: group '{names[int(np.argmax(variance == 0))]}' has no variance; Games-Howell needs "
                "every group's variance, use test='tukey'"
            )
        method = "tukey"
    first, second = np.triu_indices(len(names), 1)
    a, b = (variance / n)[first], (variance / n)[second]
    if method == "tukey":
        error, nu = np.sqrt(mse / 2 * (1 / n[first] + 1 / n[second])), np.full(first.size, freedom)
    else:
        error = np.sqrt((a + b) / 2)
        nu = (a + b) ** 2 / (a**2 / (n[first] - 1) + b**2 / (n[second] - 1))
    difference = mean[first] - mean[second]
    q = np.abs(difference) / error
    p = stats.studentized_range.sf(q, len(names), nu)
    distinct, place = np.unique(nu, return_inverse=True)  # a quantile of the studentized range takes 50 ms
    half = stats.studentized_range.isf(alpha, len(names), distinct)[place] * error
    pairs = pd.DataFrame(
        {
            "first": np.array(names, dtype=object)[first],
            "second": np.array(names, dtype=object)[second],
            "difference": difference,
            "q": q,
            "p": p,
            "low": difference - half,
            "high": difference + half,
            "different": p < alpha,
        }
    )
    different = np.zeros((len(names), len(names)), dtype=bool)
    different[first, second] = different[second, first] = p < alpha
    letters = compact_letters(different)
    listed = [*names, *small]
    summary = pd.DataFrame(
        {
            "n": [len(parts[name]) for name in listed],
            "mean": [float(parts[name].mean()) for name in listed],
            "sd": [*np.sqrt(variance), *(float("nan") for _ in small)],
            "letters": [*letters, *("" for _ in small)],
        },
        index=pd.Index(listed, name="group"),
    )
    anova = _welch(samples) if method == "games-howell" else float(stats.f_oneway(*samples).pvalue)
    return Comparison(summary, pairs, method, anova, levene, mse, unit, small)


def classes_of(values: npt.ArrayLike, edges: Sequence[float], names: Sequence[str] | None = None) -> pd.Series:
    """Classes of a number, such as elevation or slope.

    Parameters
    ----------
    values : array_like (n,)
    edges : sequence of float
        Ascending inner borders; a value on a border is in the class above.
    names : sequence of str, optional
        One more than edges.

    Returns
    -------
    Series of str
        NaN is missing.

    Raises
    ------
    InputError
        For edges that are not ascending, or another number of names.

    Examples
    --------
    >>> classes_of([1, 5, 20], [5, 15]).tolist()
    ['< 5', '5 to 15', '>= 15']
    """
    borders = np.asarray(edges, dtype=np.float64)
    if not len(borders) or (np.diff(borders) <= 0).any():
        raise InputError(f"classes_of: edges are {list(edges)}, expected ascending numbers")
    inner = [f"{a:g} to {b:g}" for a, b in pairwise(borders)]
    labels = list(names) if names is not None else [f"< {borders[0]:g}", *inner, f">= {borders[-1]:g}"]
    if len(labels) != len(borders) + 1:
        raise InputError(f"classes_of: {len(labels)} names for {len(borders) + 1} classes")
    x = np.asarray(values, dtype=np.float64)
    position = np.searchsorted(borders, np.where(np.isnan(x), borders[0], x), side="right")
    classes = np.array(labels, dtype=object)[position]
    classes[np.isnan(x)] = None
    return pd.Series(classes, index=values.index if isinstance(values, pd.Series) else None, name="class")


ARIDITY_EDGES: tuple[float, ...] = (0.05, 0.2, 0.5, 0.65)
ARIDITY_NAMES: tuple[str, ...] = ("hyper-arid", "arid", "semi-arid", "dry sub-humid", "humid")
"""UNEP's classes of precipitation over potential evapotranspiration; high is humid."""


def _observations(
    table: pd.DataFrame | Sequence[npt.ArrayLike], value: str, group: str, site: str | None
) -> tuple[pd.DataFrame, str]:
    if not isinstance(table, pd.DataFrame):
        arrays = [np.asarray(part, dtype=np.float64) for part in table]
        label = np.repeat([str(k + 1) for k in range(len(arrays))], [len(a) for a in arrays])
        return pd.DataFrame({"group": label, "value": np.concatenate(arrays)}).dropna(), "row"
    columns = [str(column) for column in table.columns]
    require_named("compare_groups", (value, group), columns)
    own = {"site": table[site]} if site is not None and site in columns else {}
    long = pd.DataFrame({"group": table[group], "value": table[value], **own}).dropna(subset=["group", "value"])
    if not own:
        return long, "row"
    require_sites(long["site"], "compare_groups")
    means: Any = long.groupby(["group", "site"], observed=True)["value"].mean().reset_index()
    return means[["group", "value"]], "site"


def _welch(samples: Sequence[Floats]) -> float:
    """p of Welch's one-way analysis of variance."""
    from scipy import stats

    n = np.array([len(s) for s in samples], dtype=np.float64)
    weight = n / np.array([s.var(ddof=1) for s in samples])
    mean = np.array([s.mean() for s in samples])
    grand = float((weight * mean).sum() / weight.sum())
    k = len(samples)
    slack = float(((1 - weight / weight.sum()) ** 2 / (n - 1)).sum())
    between = float((weight * (mean - grand) ** 2).sum()) / (k - 1)
    f = between / (1 + 2 * (k - 2) / (k**2 - 1) * slack)
    return float(stats.f.sf(f, k - 1, (k**2 - 1) / (3 * slack)))


ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def compact_letters(different: npt.ArrayLike, order: npt.ArrayLike | None = None) -> list[str]:
    """Letters of groups: two groups share a letter exactly where they do not differ.

    Parameters
    ----------
    different : array_like (k, k), bool
        Whether groups i and j differ significantly; symmetric.
    order : array_like (k,), int, optional
        Groups in order, the first one with the letter "a"; default: as in the matrix. `compare_groups`
        sorts by descending mean.

    Returns
    -------
    list of str
        One a group, letters in alphabetical order.

    Raises
    ------
    InputError
        For a matrix that is not square and symmetric, or more than 52 letters.

    Notes
    -----
    Start with one letter for all. For each pair that differs, split every letter of both into one without the
    first and one without the second; then drop each letter whose groups all have another common letter. Finally drop,
    one by one, letters that no pair needs. Letters are named by their highest group in `order`.

    References
    ----------
    Piepho 2004, Journal of Computational and Graphical Statistics 13, doi 10.1198/1061860043515

    Examples
    --------
    >>> compact_letters([[False, True, True], [True, False, False], [True, False, False]])
    ['a', 'b', 'b']
    """
    matrix = np.asarray(different, dtype=bool)
    k = len(matrix)
    if matrix.shape != (k, k) or (matrix != matrix.T).any():
        raise InputError(f"compact_letters: the matrix has shape {matrix.shape}, expected square and symmetric")
    sequence = np.arange(k) if order is None else np.asarray(order, dtype=np.int64)
    position = np.empty(k, dtype=np.int64)
    position[sequence] = np.arange(k)
    ranked = matrix[np.ix_(sequence, sequence)]
    letters: list[frozenset[int]] = [frozenset(range(k))] if k else []
    for i, j in np.argwhere(np.triu(ranked, 1)).tolist():
        inserted = []
        for letter in letters:
            inserted += [letter - {i}, letter - {j}] if {i, j} <= letter else [letter]
        letters = _absorb(inserted)
    letters = _sweep(letters, ranked)
    if len(letters) > len(ALPHABET):
        raise InputError(f"compact_letters: {len(letters)} letters are needed, there are {len(ALPHABET)}")
    letters.sort(key=sorted)
    names = ["".join(ALPHABET[n] for n, letter in enumerate(letters) if g in letter) for g in range(k)]
    return [names[position[g]] for g in range(k)]


def _absorb(letters: list[frozenset[int]]) -> list[frozenset[int]]:
    unique = list(dict.fromkeys(letter for letter in letters if letter))
    return [letter for letter in unique if not any(letter < other for other in unique)]


def _sweep(letters: list[frozenset[int]], different: npt.NDArray[np.bool_]) -> list[frozenset[int]]:
    """Drop letters whose every pair, and every group, is covered by the others."""
    remaining = list(letters)
    for letter in sorted(letters, key=lambda groups: (len(groups), sorted(groups))):
        others = [other for other in remaining if other != letter]
        pairs = {(i, j) for i in letter for j in letter if i <= j and not different[i, j]}
        if all(any({i, j} <= other for other in others) for i, j in pairs):
            remaining = others
    return remaining
