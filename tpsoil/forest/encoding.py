"""From named features to the columns that trees split: numbers as they are, directions as two components, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_one_of
from tpsoil.kernels.circular import components

from .features import KINDS, Feature, feature_kind, numbers, require_features
from .options import Style

Floats = npt.NDArray[np.float64]
SHRINKAGE: Final = 5.0
"""Samples with the overall mean that are added to each class, so that a class with one site does not have that site's
value."""


@dataclass(frozen=True)
class Encoding:
    """How a table or a cube becomes the trees' columns; learned from training rows, part of the model.

    Parameters
    ----------
    features : tuple of Feature
    style : {"codes", "ordered", "onehot"}
    """

    features: tuple[Feature, ...]
    style: Style

    @property
    def columns(self) -> tuple[str, ...]:
        """The trees' columns, in training order."""
        return tuple(column for feature in self.features for column in feature.columns)

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """The columns of each feature."""
        return {feature.name: feature.columns for feature in self.features}

    @property
    def levels(self) -> dict[str, tuple[Any, ...]]:
        """The classes of each categorical feature."""
        return {feature.name: feature.levels for feature in self.features if feature.kind == "categorical"}

    def table(self, table: pd.DataFrame, *, unseen: Literal["error", "missing"] = "error") -> pd.DataFrame:
        """The trees' columns of a table's rows.

        Parameters
        ----------
        table : DataFrame
            Has every feature by name; other columns are ignored.
        unseen : {"error", "missing"}
            Treatment of a class that is not in the training data.

        Returns
        -------
        DataFrame
            float32, columns in training order; NaN where missing.

        Raises
        ------
        MissingInputError
            Where features are missing; all are listed.
        InputError
            For an unseen class, text in a number column, or an infinite value.
        """
        require_features(table, [feature.name for feature in self.features], where="forest")
        encoded: dict[str, Any] = {}
        for feature in self.features:
            column = table[feature.name]
            if feature.kind == "categorical":
                position = _positions(column, feature)
                unknown = (position < 0) & column.notna().to_numpy()
                if unknown.any() and unseen == "error":
                    shown = ", ".join(sorted({str(v) for v in column[unknown]})[:5])
                    raise InputError(
                        f"forest: '{feature.name}' has class {shown} in {int(unknown.sum())} rows, which training "
                        f"never saw (it saw {', '.join(map(str, feature.levels))}); drop these rows or retrain"
                    )
                parts = _class_columns(position, feature, self.style)
            elif feature.kind == "circular":
                parts = _components(numbers(column))
            else:
                parts = [numbers(column)]
            encoded.update(zip(feature.columns, parts))
        with np.errstate(over="ignore"):
            frame = pd.DataFrame(encoded, index=table.index).astype(np.float32)
        infinite = np.isinf(frame.to_numpy()).any(axis=0)
        if infinite.any():
            raise InputError(
                f"forest: '{frame.columns[infinite][0]}' is infinite in some rows; make it missing or correct it"
            )
        return frame

    def columns_of(self, raw: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """The trees' columns of rows of numbers.

        Parameters
        ----------
        raw : mapping of str to ndarray (m,)
            Each feature: classes as codes, directions in degrees.

        Returns
        -------
        dict of str to ndarray (m,), float32
            In training order; NaN where missing, and for a class that is not in the training data.
        """
        columns: dict[str, npt.NDArray[np.float32]] = {}
        for feature in self.features:
            values = raw[feature.name]
            parts = [values] if feature.kind == "continuous" else self._parts(values.astype(np.float64), feature)
            columns.update(
                (name, np.ascontiguousarray(part, dtype=np.float32)) for name, part in zip(feature.columns, parts)
            )
        return columns

    def _parts(self, values: Floats, feature: Feature) -> list[npt.NDArray[Any]]:
        if feature.kind == "circular":
            return _components(values)
        levels = np.asarray(feature.levels, dtype=np.float64)
        place = np.clip(np.searchsorted(levels, values), 0, len(levels) - 1)
        return _class_columns(np.where(levels[place] == values, place, -1), feature, self.style)

    def require_codes(self) -> None:
        """Reject classes that are text: a raster has codes.

        Raises
        ------
        InputError
        """
        for feature in self.features:
            if feature.of_text:
                raise InputError(
                    f"map: classes of '{feature.name}' are text ({feature.levels[0]!r}) in the training table and "
                    "codes in the cube; use the layer's codes in the table"
                )

    def relearned(
        self, table: pd.DataFrame, target: Floats, *, style: Style, rows: npt.NDArray[np.bool_] | None = None
    ) -> Encoding:
        """The encoding of the same features and kinds in a style, from the targets of some rows.

        Parameters
        ----------
        table, target, style, rows
            As in `learn_encoding`.
        """
        of_kind = {kind: [f.name for f in self.features if f.kind == kind] for kind in ("categorical", "circular")}
        return learn_encoding(table, list(self.sources), target, style=style, rows=rows, **of_kind)


def learn_encoding(
    table: pd.DataFrame,
    features: Sequence[str],
    target: Floats,
    *,
    categorical: Sequence[str] | None = None,
    circular: Sequence[str] | None = None,
    style: Style = "codes",
    rows: npt.NDArray[np.bool_] | None = None,
) -> Encoding:
    """Learn an encoding from training rows.

    Parameters
    ----------
    table : DataFrame
        The complete design table: every class in it is a level.
    features : sequence of str
    target : ndarray (n,)
        Orders the classes under "ordered".
    categorical, circular : sequence of str, optional
        By default by `feature_kind`.
    style : {"codes", "ordered", "onehot"}
        "codes": the class number itself. "ordered": the class's mean target, shrunk towards the overall mean where it
        has few samples, so that a tree's threshold splits classes into low and high; the best split of a class feature
        for squared error is of this form (Breiman et al. 1984). "onehot": a column for each class.
    rows : ndarray (n,), bool, optional
        Rows whose target may be used: the training part of a fold.

    Returns
    -------
    Encoding
    """
    require_one_of("forest", "categories", style, get_args(Style))
    used = np.ones(len(table), dtype=bool) if rows is None else rows
    learned = []
    for name in features:
        column = table[name]
        kind = feature_kind(column, name, categorical, circular, table.attrs.get(KINDS))
        levels: tuple[Any, ...] = _levels(column) if kind == "categorical" else ()
        values: tuple[float, ...] = ()
        columns: tuple[str, ...] = (name,)
        if kind == "circular":
            columns = (f"{name} (sin)", f"{name} (cos)")
        elif kind == "categorical" and style == "onehot":
            columns = tuple(f"{name}={level}" for level in levels)
        elif kind == "categorical" and style == "ordered":
            columns, values = (f"{name} (ordered)",), _class_means(column, levels, target, used)
        elif kind == "categorical":
            text = any(isinstance(level, str) for level in levels)
            values = tuple(float(level) for level in (range(len(levels)) if text else levels))
        learned.append(Feature(name, kind, levels, values, columns))
    return Encoding(tuple(learned), style)


def _components(degrees: Floats) -> list[npt.NDArray[Any]]:
    sine, cosine = np.empty(degrees.size), np.empty(degrees.size)
    components(np.ascontiguousarray(degrees), sine, cosine)
    return [sine, cosine]


def _levels(column: pd.Series) -> tuple[Any, ...]:
    present = column.dropna().unique().tolist()
    if all(isinstance(v, int | float | np.number) and float(v).is_integer() for v in present):
        return tuple(sorted(int(v) for v in present))
    return tuple(sorted(str(v) for v in present))


def _positions(column: pd.Series, feature: Feature) -> npt.NDArray[np.int64]:
    """Index of each row's class among the levels; -1 where there is none."""
    index = {level: k for k, level in enumerate(feature.levels)}
    keys = [None if pd.isna(v) else (str(v) if feature.of_text else v) for v in column]
    return np.array([index.get(key, -1) for key in keys], dtype=np.int64)


def _class_columns(position: npt.NDArray[Any], feature: Feature, style: Style) -> list[npt.NDArray[Any]]:
    known = position >= 0
    if style == "onehot":
        return [np.where(known, position == k, np.nan) for k in range(len(feature.levels))]
    values = np.asarray(feature.values, dtype=np.float64)
    if not len(values):
        return [np.full(position.shape, np.nan)]
    return [np.where(known, values[np.where(known, position, 0)], np.nan)]


def _class_means(
    column: pd.Series, levels: tuple[Any, ...], target: Floats, used: npt.NDArray[np.bool_]
) -> tuple[float, ...]:
    probe = Feature(str(column.name), "categorical", levels, (), ())
    position = _positions(column, probe)
    usable = used & (position >= 0) & np.isfinite(target)
    overall = float(target[usable].mean()) if usable.any() else 0.0
    sums = np.bincount(position[usable], weights=target[usable], minlength=len(levels))
    counts = np.bincount(position[usable], minlength=len(levels))
    return tuple(float(v) for v in (sums + SHRINKAGE * overall) / (counts + SHRINKAGE))
