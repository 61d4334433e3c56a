"""Faults of samples and covariates that no single value shows: mixed units, copies, leaks, sites in two folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, UnitsError

Floats = npt.NDArray[np.float64]

GAP: Final = 20.0
"""Ratio of neighbouring values in order of size that no population of a soil's contents has in its middle."""
FACTORS: Final = {1000.0: "g/kg beside mg/kg, or mg/kg beside ug/kg", 1e4: "% beside mg/kg"}
FEWEST_VALUES: Final = 10
"""Different values from which a covariate can be the target under another name."""
LEAK: Final = 0.995
"""Absolute rank correlation with the target above which a covariate is taken as a form of it."""


def check_one_unit(values: npt.ArrayLike | pd.Series, name: str, *, where: str = "samples") -> None:
    """Reject a column of contents that mixes two units.

    Parameters
    ----------
    values : array_like (n,)
        Contents in one unit; NaN is missing.
    name : str
        Of the column, for the message.
    where : str

    Raises
    ------
    UnitsError
        Where the values fall into two parts, each of 2 or more, with a gap of a factor of 20 between them whose
        medians differ by about a factor of units (1000 or 10 000).

    Examples
    --------
    >>> check_one_unit([20.0, 25, 31, 44], "Zn")
    >>> check_one_unit([20000.0, 25000, 31000, 2.6, 3.1], "Fe")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tpsoil.errors.UnitsError: samples: 'Fe' mixes two units: 2 values ...
    """
    x = np.asarray(values, dtype=np.float64)
    valid = np.sort(x[np.isfinite(x) & (x > 0)])
    if len(valid) < 4:
        return
    ratio = valid[1:] / valid[:-1]
    split = int(np.argmax(ratio)) + 1
    low, high = valid[:split], valid[split:]
    if ratio[split - 1] < GAP or min(len(low), len(high)) < 2:
        return
    factor = float(np.median(high) / np.median(low))
    near = min((1000.0, 1e4), key=lambda known: abs(np.log(factor / known)))
    if abs(np.log10(factor / near)) > 0.45:
        return
    fewer = low if len(low) <= len(high) else high
    labels = values.index if isinstance(values, pd.Series) else pd.RangeIndex(len(x))
    rows = [str(label) for label, value in zip(labels, x, strict=True) if fewer[0] <= value <= fewer[-1]]
    raise UnitsError(
        f"{where}: '{name}' mixes two units: {len(fewer)} values lie between {fewer[0]:.4g} and {fewer[-1]:.4g}, the "
        f"other {len(valid) - len(fewer)} about {factor:.0f} times {'above' if fewer is low else 'below'} "
        f"({FACTORS[near]}; rows {', '.join(rows[:5])}{' and others' if len(rows) > 5 else ''}); "
        "convert them to one unit"
    )


def require_sites(sites: pd.Series, where: str) -> None:
    """Reject rows without a site: they would be in no mean of sites.

    Raises
    ------
    InputError
    """
    if missing := int(sites.isna().sum()):
        raise InputError(f"{where}: {missing} of {len(sites)} rows have no site; name their site or drop them")


def check_covariates(table: pd.DataFrame, target: str, features: Sequence[str], *, where: str = "elements") -> None:
    """Reject covariates that are copies of each other or forms of the target.

    Parameters
    ----------
    table : DataFrame
        One row a sample.
    target : str
    features : sequence of str
    where : str

    Raises
    ------
    InputError
        For features with the same values, and for a feature of ten values or more whose rank correlation with the
        target exceeds 0.995: it would be the target under another name. A few classes may explain a target well.

    Examples
    --------
    >>> table = pd.DataFrame({"slope": [1.0, 4, 2, 9], "angle": [1.0, 4, 2, 9], "Fe": [3.0, 1, 4, 1]})
    >>> check_covariates(table, "Fe", ["slope", "angle"])
    Traceback (most recent call last):
    tpsoil.errors.InputError: elements: slope and angle have the same values; leave one out
    """
    numeric = [name for name in features if name in table and pd.api.types.is_numeric_dtype(table[name])]
    faults = []
    ranks: dict[str, Floats] = {name: np.asarray(table[name].rank(), dtype=np.float64) for name in numeric}
    for position, first in enumerate(numeric):
        for second in numeric[position + 1 :]:
            if _same(table[first].to_numpy(dtype=np.float64), table[second].to_numpy(dtype=np.float64)):
                faults.append(f"{first} and {second} have the same values; leave one out")
    if target in table:
        goal: Floats = np.asarray(table[target].rank(), dtype=np.float64)
        for name in numeric:
            r = _correlation(ranks[name], goal)
            if table[name].nunique() >= FEWEST_VALUES and abs(r) > LEAK:
                faults.append(
                    f"{name} follows {target} almost exactly (rank correlation {r:.4f} over {len(table)} rows): it "
                    "contains the target; leave it out of features"
                )
    if faults:
        raise InputError(f"{where}: {'; '.join(faults)}")


def sites_in_several_folds(sites: npt.ArrayLike, folds: npt.ArrayLike) -> int:
    """Number of sites whose samples lie in more than one fold.

    Parameters
    ----------
    sites, folds : array_like (n,)
        Of each sample.

    Returns
    -------
    int

    Raises
    ------
    InputError
        For arrays of different length.

    Examples
    --------
    >>> sites_in_several_folds(["a", "a", "b"], [0, 1, 1])
    1
    """
    names, labels = np.asarray(sites), np.asarray(folds)
    if names.shape != labels.shape:
        raise InputError(f"sites_in_several_folds: {names.shape} sites and {labels.shape} folds, expected one shape")
    pairs = pd.DataFrame({"site": names, "fold": labels})
    return int((pairs.groupby("site")["fold"].nunique() > 1).sum())


def _correlation(first: Floats, second: Floats) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3 or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return 0.0
    return float(np.corrcoef(first[both], second[both])[0, 1])


def _same(first: Floats, second: Floats) -> bool:
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3 or np.ptp(first[both]) == 0:
        return False
    return bool(np.array_equal(np.isnan(first), np.isnan(second)) and (first[both] == second[both]).all())
