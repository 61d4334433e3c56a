"""Rows as a forest needs them: numbers, one column for each feature, and only classes of the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError
from tpsoil.forest.features import require_features

Array = npt.NDArray[Any]
Unseen = Literal["nan", "error"]


def table_of(X: Any, features: Sequence[str]) -> Array:
    """Rows as an array (n, features) of numbers, in the order of the features.

    Raises
    ------
    InputError
        For another shape, and for values that are not numbers.
    MissingInputError
        For a DataFrame without a feature; all that are missing are listed.
    """
    if hasattr(X, "columns"):
        require_features(X, features, where="predict")
        X = X[list(features)].to_numpy()
    table = np.asarray(X)
    if table.ndim != 2 or table.shape[1] != len(features):
        raise InputError(f"predict: X has shape {table.shape}, expected (n, {len(features)}): {', '.join(features)}")
    if table.dtype.kind not in "fiub":
        raise InputError(f"predict: X is {table.dtype}, expected numbers; encode classes as the integers of training")
    return table


def columns_of(table: Array) -> list[Array]:
    """Each column as contiguous float32, the dtype of scikit-learn's trees; values beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return [np.ascontiguousarray(table[:, k], dtype=np.float32) for k in range(table.shape[1])]


def usable(columns: Sequence[Array], n: int, accepts_missing: bool) -> Array:
    """Rows that can be predicted: all where missing features are accepted, else the complete ones."""
    complete = np.ones(n, dtype=bool)
    if not accepts_missing:
        for column in columns:
            complete &= ~np.isnan(column)
    return complete


def unseen_classes(column: Array, levels: Sequence[float]) -> Array:
    """Where a column has a class that is none of the levels; a missing value is no class."""
    unseen = ~np.isin(column, np.asarray(levels))
    return unseen & ~np.isnan(column) if column.dtype.kind == "f" else unseen


def known_classes(
    where: str, columns: Mapping[str, Array], levels: Mapping[str, Sequence[float]], cells: Array, *, reject: bool
) -> Array:
    """Those of some cells, or rows, whose classes are all in the training data.

    Parameters
    ----------
    where : str
        For the message.
    columns : mapping of str to ndarray (n,)
    levels : mapping of str to sequence of float
        Classes in the training data, by feature.
    cells : ndarray (n,), bool
    reject : bool
        Whether another class is an error.

    Raises
    ------
    InputError
        Where there are such cells and `reject` is set.
    """
    for name, known in levels.items():
        unseen = unseen_classes(columns[name], known) & cells
        if reject and unseen.any():
            classes = ", ".join(f"{v:g}" for v in np.unique(columns[name][unseen])[:10])
            raise InputError(
                f"{where}: feature '{name}' has class {classes} in {unseen.sum()} cells, which training never saw (it "
                f"saw {', '.join(map(str, known))}); mask them, merge the class, or pass unseen='nan'"
            )
        cells = cells & ~unseen
    return cells
