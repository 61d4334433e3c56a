"""Folds for honest scores: at random, by group, by spatial block."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.points import PositionColumns, named_columns, position_groups, position_pairs

KINDS: Final = ("random", "group", "block")
"""From the most lenient to the most demanding."""

Labels = npt.NDArray[np.int64]


def choose_position(table: pd.DataFrame, coordinates: Sequence[str] | None = None) -> PositionColumns | None:
    """The two columns that place a row: those that are named, else those that `tpsoil.points` knows.

    Raises
    ------
    InputError
        Where named columns are not in the table.
    """
    if coordinates is not None:
        return named_columns(table, coordinates, where="folds")
    pairs = position_pairs(table)
    return pairs[0] if pairs else None


def sites_by_position(table: pd.DataFrame) -> pd.Series | None:
    """Rows at one position as one site, with a warning; None where every row has a position of its own."""
    codes = position_groups(table, where="train")
    if codes is None or (count := len(np.unique(codes))) == len(table):
        return None
    warnings.warn(
        f"train: {len(table)} rows lie at {count} positions and no groups= names their sites; rows at one position "
        "are taken as one site, which no fold splits",
        stacklevel=3,
    )
    return pd.Series(codes, index=table.index, name="position")


def make_folds(
    count: int,
    kind: str,
    *,
    n_folds: int = 5,
    groups: npt.ArrayLike | None = None,
    east: npt.ArrayLike | None = None,
    north: npt.ArrayLike | None = None,
    block_size: float = 3.0,
    seed: int = 0,
) -> Labels:
    """The fold of every row.

    Parameters
    ----------
    count : int
        Rows.
    kind : {"random", "group", "block"}
        "random" deals single rows; "group" keeps the rows of a group (a site's replicates) together; "block" keeps
        the rows of a square of `block_size` together, and the rows of a group too where `groups` is given: a group
        lies in the block of its mean position.
    n_folds : int
        At least 2.
    groups : array_like (count,), optional
        One label a row.
    east, north : array_like (count,), optional
        Degrees, or metres.
    block_size : float
        Side of a block in the unit of the coordinates.
    seed : int

    Returns
    -------
    ndarray (count,), int64
        0 .. n_folds - 1. Fold sizes are as equal as whole groups allow.

    Raises
    ------
    InputError
        For an unknown kind, what the kind needs and was not given, or fewer groups than folds.

    Examples
    --------
    >>> make_folds(6, "group", n_folds=2, groups=["a", "a", "b", "b", "c", "d"], seed=1).tolist()
    [1, 1, 0, 0, 1, 0]
    """
    if kind not in KINDS:
        raise InputError(f"folds: kind is '{kind}', expected one of {list(KINDS)}{nearest_name(kind, KINDS)}")
    if n_folds < 2:
        raise InputError(f"folds: n_folds is {n_folds}, expected at least 2")
    if kind == "random":
        units = np.arange(count)
    elif kind == "group":
        units = _group_codes(groups, count)
    else:
        units = block_codes(east, north, block_size, groups=groups)
    sizes = np.bincount(units)
    if len(sizes) < n_folds:
        noun = {"random": "rows", "group": "groups", "block": f"blocks of {block_size:g}"}[kind]
        raise InputError(
            f"folds: {len(sizes)} {noun} cannot fill {n_folds} folds of kind '{kind}'; "
            f"lower n_folds{' or block_size' if kind == 'block' else ''}"
        )
    return _deal(sizes, n_folds, np.random.default_rng([seed, KINDS.index(kind)]))[units]


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
        Without coordinates, with ones that are not finite, or a block size that is not positive.

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
        bad = int((~np.isfinite(position).all(axis=1)).sum())
        raise InputError(f"folds: {bad} rows have no coordinates; drop them, or do without block folds")
    if groups is not None:
        codes = _group_codes(groups, len(position))
        sizes = np.bincount(codes)
        position = np.column_stack([np.bincount(codes, weights=axis) / sizes for axis in position.T])[codes]
    cells = np.floor(position / block_size).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _group_codes(groups: npt.ArrayLike | None, count: int) -> Labels:
    if groups is None:
        raise InputError("folds: kind 'group' needs groups; name the site column with groups=")
    labels: Any = np.asarray(groups)
    if labels.shape != (count,):
        raise InputError(f"folds: groups have shape {labels.shape}, expected ({count},): one label a row")
    if pd.isna(labels).any():
        raise InputError(f"folds: {int(pd.isna(labels).sum())} rows have no group; name their site or drop them")
    return np.asarray(pd.factorize(labels)[0], dtype=np.int64)


def _deal(sizes: Labels, n_folds: int, rng: np.random.Generator) -> Labels:
    """The fold of each unit: the largest first, each to the smallest fold, ties by chance."""
    shuffled = rng.permutation(len(sizes))
    fold_of = np.empty(len(sizes), dtype=np.int64)
    load = np.zeros(n_folds)
    for unit in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        lightest = np.flatnonzero(load == load.min())
        fold = int(rng.choice(lightest))
        fold_of[unit] = fold
        load[fold] += sizes[unit]
    return fold_of


def describe_folds(kind: str, block_size: float, position: PositionColumns | None) -> str:
    """One phrase for tables and attributes, such as "blocks of 3 degrees"."""
    if kind != "block":
        return {"random": "rows at random", "group": "whole groups"}[kind]
    unit = "m" if position is not None and not position.degrees else "degrees"
    return f"blocks of {block_size:g} {unit}"


def fold_table(index: pd.Index[Any], folds: Mapping[str, Labels]) -> pd.DataFrame:
    """Folds of several kinds, one column a kind, on the rows' own index."""
    return pd.DataFrame(dict(folds), index=index)
