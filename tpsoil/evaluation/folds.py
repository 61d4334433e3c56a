"""Folds: which rows of a table are predicted by a model that was fitted without them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_one_of
from tpsoil.evaluation.distances import group_codes, group_means

Labels = npt.NDArray[np.int64]

FOLD_KINDS: Final = ("random", "group", "block", "region", "knndm")
"""From the most lenient to the most demanding, and last the one that resembles the use of the map."""


def make_folds(
    count: int,
    kind: str,
    *,
    n_folds: int = 5,
    groups: npt.ArrayLike | None = None,
    east: npt.ArrayLike | None = None,
    north: npt.ArrayLike | None = None,
    block_size: float = 3.0,
    regions: npt.ArrayLike | None = None,
    area: npt.ArrayLike | None = None,
    degrees: bool = False,
    seed: int = 0,
) -> Labels:
    """The fold of every row.

    Parameters
    ----------
    count : int
        Rows.
    kind : {"random", "group", "block", "region", "knndm"}
        "random" assigns single rows; "group" keeps the rows of a group (a site's replicates) together; "block" keeps
        the rows of a square of `block_size` together, and the rows of a group too where `groups` is given: a group
        lies in the block of its mean position. "region" leaves one region out at a time, whatever `n_folds` is.
        "knndm" matches the distances between folds to those from the mapped area to the samples; see `match_folds`.
    n_folds : int
        At least 2.
    groups : array_like (count,), optional
        One label a row.
    east, north : array_like (count,), optional
        Degrees, or metres.
    block_size : float
        Side of a block in the unit of the coordinates.
    regions : array_like (count,), optional
        The region of each row, for "region".
    area : array_like (m, 2), optional
        Cells of the mapped area in the coordinates of the rows, for "knndm".
    degrees : bool
        Whether coordinates are degrees, for "knndm".
    seed : int

    Returns
    -------
    ndarray (count,), int64
        0 .. n_folds - 1. Fold sizes are as equal as whole groups allow: scikit-learn's `GroupKFold` on groups in an
        order that the seed shuffles.

    Raises
    ------
    InputError
        For an unknown kind, a missing argument of the kind, rows without a group (NaN, None, NA or blank text), fewer
        groups than folds, or regions that split a group.

    Examples
    --------
    >>> fold = make_folds(6, "group", n_folds=2, groups=["a", "a", "b", "b", "c", "d"], seed=1)
    >>> bool(fold[0] == fold[1]), np.bincount(fold).tolist()
    (True, [3, 3])
    """
    require_one_of("folds", "kind", kind, FOLD_KINDS)
    if n_folds < 2:
        raise InputError(f"folds: n_folds is {n_folds}, expected at least 2")
    if kind == "region":
        return _region_folds(regions, count, groups)
    if kind == "knndm":
        return _matched_folds(count, n_folds, groups, (east, north), area, degrees, seed)
    if kind == "block":
        units = block_codes(east, north, block_size, groups=groups)
    else:
        units = np.arange(count) if kind == "random" else _group_codes(groups, count)
    n_units = len(np.unique(units))
    if n_units < n_folds:
        noun = {"random": "rows", "group": "groups", "block": f"blocks of {block_size:g}"}[kind]
        raise InputError(
            f"folds: {n_units} {noun} cannot fill {n_folds} folds of kind '{kind}'; "
            f"lower n_folds{' or block_size' if kind == 'block' else ''}"
        )
    return _group_folds(units, n_folds, np.random.default_rng([seed, FOLD_KINDS.index(kind)]))


def _region_folds(regions: npt.ArrayLike | None, count: int, groups: npt.ArrayLike | None = None) -> Labels:
    if regions is None:
        raise InputError("folds: kind 'region' needs regions; name their column")
    labels: Any = np.asarray(regions)
    if labels.shape != (count,) or pd.isna(labels).any():
        raise InputError(
            f"folds: regions have shape {labels.shape}, expected ({count},): one label a row, none missing; "
            "name the region of every row or leave rows without one out"
        )
    codes = np.asarray(pd.factorize(labels, sort=True)[0], dtype=np.int64)
    if groups is not None:
        sites = pd.Series(codes).groupby(_group_codes(groups, count)).nunique()
        if (sites > 1).any():
            raise InputError(
                f"folds: {int((sites > 1).sum())} of {len(sites)} groups lie in several regions, so that replicates of "
                "one site would be trained on and tested; give all rows of a site one region"
            )
    if codes.max() < 1:
        raise InputError(f"folds: every row lies in region '{labels[0]}', expected at least two regions")
    return codes


def _matched_folds(
    count: int,
    n_folds: int,
    groups: npt.ArrayLike | None,
    coordinates: tuple[npt.ArrayLike | None, npt.ArrayLike | None],
    area: npt.ArrayLike | None,
    degrees: bool,
    seed: int,
) -> Labels:
    from tpsoil.evaluation.matching import match_folds

    east, north = coordinates
    if east is None or north is None or area is None:
        lacking = "coordinates; add columns lon and lat (or x and y)" if area is not None else "the mapped area's cells"
        raise InputError(f"folds: kind 'knndm' needs {lacking}")
    position = np.column_stack([np.asarray(east, dtype=float), np.asarray(north, dtype=float)])
    return match_folds(position, area, n_folds=n_folds, groups=groups, degrees=degrees, seed=seed).folds


def _group_folds(units: Labels, n_folds: int, rng: np.random.Generator) -> Labels:
    """GroupKFold has no seed that respects group sizes: shuffled labels give its ties an order by chance."""
    from sklearn.model_selection import GroupKFold

    shuffled = rng.permutation(int(units.max()) + 1)[units]
    folds = np.empty(units.size, np.int64)
    for k, (_, test) in enumerate(GroupKFold(n_folds).split(shuffled, groups=shuffled)):
        folds[test] = k
    return folds


def block_codes(
    east: npt.ArrayLike | None, north: npt.ArrayLike | None, block_size: float, groups: npt.ArrayLike | None = None
) -> Labels:
    """The square in which each row, or its group's mean position, lies.

    Parameters
    ----------
    east, north : array_like (n,)
    block_size : float
        Side, in the unit of the coordinates; > 0.
    groups : array_like (n,), optional

    Returns
    -------
    ndarray (n,), int64
        0 .. blocks - 1.

    Raises
    ------
    InputError
        Without coordinates, with ones that are not finite, a block size that is not positive, or rows without a group.

    Examples
    --------
    >>> block_codes([0.5, 2.9, 3.1], [50.0, 50.0, 50.0], 3.0).tolist()
    [0, 0, 1]
    """
    if east is None or north is None:
        raise InputError("folds: spatial blocks need coordinates; add columns lon and lat (or x and y)")
    if not (np.isfinite(block_size) and block_size > 0):
        raise InputError(f"folds: block_size is {block_size!r}, expected a positive number of the coordinates' unit")
    position = np.column_stack([np.asarray(east, dtype=float), np.asarray(north, dtype=float)])
    if not np.isfinite(position).all():
        invalid = int((~np.isfinite(position).all(axis=1)).sum())
        raise InputError(f"folds: {invalid} rows have no coordinates; drop them, or use other folds")
    if groups is not None:
        codes = _group_codes(groups, len(position))
        position = group_means(position, codes)[codes]
    cells = np.floor(position / block_size).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _group_codes(groups: npt.ArrayLike | None, count: int) -> Labels:
    if groups is None:
        raise InputError("folds: kind 'group' needs groups; name the site column with groups=")
    return group_codes(groups, count, where="folds")


def folds_within(strata: npt.ArrayLike, n_folds: int, seed: int) -> Labels:
    """A fold for each row, balanced within its stratum.

    Parameters
    ----------
    strata : array_like (n,), int
        Such as the zone of each profile.
    n_folds : int
        At least 2.
    seed : int
        A stratum's folds depend on the seed, its code and its number of rows, not on the other strata;
        scikit-learn's StratifiedKFold shuffles all of them with one stream.

    Returns
    -------
    ndarray (n,), int64
        0 .. n_folds - 1; within a stratum the folds' sizes differ by at most one.

    Raises
    ------
    InputError
        For fewer than two folds.

    Examples
    --------
    >>> np.bincount(folds_within([1] * 10, 4, seed=0)).tolist()
    [3, 3, 2, 2]
    """
    if n_folds < 2:
        raise InputError(f"folds: n_folds is {n_folds}, expected at least 2")
    codes = np.asarray(strata)
    result = np.empty(codes.size, np.int64)
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        rng = np.random.default_rng([seed, int(code) + 1])
        result[members[rng.permutation(members.size)]] = np.arange(members.size) % n_folds
    return result
