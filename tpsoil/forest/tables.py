"""Rows as a forest needs them: numbers, one column for each feature, and only classes of the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError, MissingInputError, nearest_name

Array = npt.NDArray[Any]
Unseen = Literal["nan", "error"]


def check_unseen(where: str, unseen: str) -> None:
    """Reject an unknown treatment of unseen classes.

    Raises
    ------
    InputError
    """
    if unseen not in get_args(Unseen):
        raise InputError(f"{where}: unseen='{unseen}'; expected 'error' or 'nan'")


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
        lacking = [name for name in features if name not in X.columns]
        if lacking:
            hints = ", ".join(f"'{name}'{nearest_name(name, map(str, X.columns))}" for name in lacking)
            raise MissingInputError(f"predict: the table lacks {len(lacking)} of the forest's features: {hints}")
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


def unseen_message(where: str, name: str, values: Array, levels: Sequence[float]) -> str:
    """Message about classes that are not in the training data."""
    classes = ", ".join(f"{v:g}" for v in np.unique(values)[:10])
    return (
        f"{where}: feature '{name}' has class {classes} in {values.size} cells, which training never saw (it saw "
        f"{', '.join(map(str, levels))}); mask them, merge the class, or pass unseen='nan'"
    )


def unseen_rows(table: Array, features: Sequence[str], categories: Mapping[str, Sequence[int]], unseen: str) -> Array:
    """Rows with a class that is not in the training data.

    Raises
    ------
    InputError
        Where there are such rows and `unseen` is "error".
    """
    check_unseen("predict", unseen)
    rejected = np.zeros(len(table), dtype=bool)
    for name, levels in categories.items():
        column = table[:, list(features).index(name)]
        here = unseen_classes(column, levels)
        if unseen == "error" and here.any():
            raise InputError(unseen_message("predict", name, column[here], levels))
        rejected |= here
    return rejected
