"""Where a model applies: dissimilarity index and area of applicability (Meyer and Pebesma 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError, MissingInputError
from tpsoil.forest.dissimilarity import Applicability, checked_weights, fit_applicability
from tpsoil.forest.encoding import Encoding, learn_encoding
from tpsoil.forest.features import KINDS, layer_kinds
from tpsoil.forest.importance import permutation_importance
from tpsoil.forest.trained import TrainedForest
from tpsoil.soil_mask import MASK
from tpsoil.variables import variable

Floats = npt.NDArray[np.float64]


def area_of_applicability(
    training: TrainedForest | pd.DataFrame | npt.ArrayLike,
    new: xr.Dataset | pd.DataFrame | npt.ArrayLike,
    *,
    weights: npt.ArrayLike | Mapping[str, float] | None = None,
    folds: npt.ArrayLike | None = None,
    layers: Mapping[str, str] | None = None,
) -> xr.Dataset | pd.DataFrame:
    """Dissimilarity index and area of applicability of new points, or lazily of every cell of a cube.

    Parameters
    ----------
    training : TrainedForest, DataFrame or array_like (n, p)
        A trained forest brings its points, its deciding folds and, as weights, the mean rise of the out-of-bag squared
        error when a feature is permuted. Classes of a table (by the kind of the cube's layer, text, or the catalogue)
        become dummies, each with the weight of its feature; directions become sine and cosine.
    new : Dataset (y, x), DataFrame or array_like (m, p)
        A cube holds every column by name. Its cells without soil are missing, see `tpsoil.soil_mask.with_soil_mask`.
    weights : array_like (p,) or mapping of name to weight, optional
        Unscaled importance; by feature for a trained forest, by column otherwise. Negative counts as 0.
    folds : array_like (n,), optional
        Fold of each training point. By default a trained forest's deciding folds, else every point its own.
    layers : mapping of str to str, optional
        Name in the cube of a feature that has another name there.

    Returns
    -------
    Dataset or DataFrame
        `dissimilarity_index` (0 at a training point, 1 at the mean distance between training points; NaN where a
        column is missing) and `applicability` (1 inside, 0 outside, 255 missing). The attributes hold the threshold.
        A Dataset is lazy where the cube is.

    Raises
    ------
    InputError
        For a constant column, weights that are all 0, a single fold.
    MissingInputError
        Where the cube or table lacks a column.

    Notes
    -----
    DI = min_i d(x, x_i) / d_mean; inside where DI <= min(Q75 + 1.5 IQR of the training DI, its maximum). Memory per
    cell: 8 bytes and the columns.

    References
    ----------
    Meyer and Pebesma 2021, Methods in Ecology and Evolution 12, doi 10.1111/2041-210X.13650

    Examples
    --------
    >>> areas = area_of_applicability([(0, 0), (1, 0), (0, 1), (3, 3)], [(2, 2), (8, 8)], weights=(2, 1),
    ...                               folds=(0, 0, 1, 1))
    >>> areas["applicability"].tolist()
    [1, 0]
    """
    if isinstance(training, TrainedForest):
        space = ForestSpace.of(training, weights, folds)
        area, encoding, encode = space.area, space.encoding, True
    else:
        table = training if isinstance(training, pd.DataFrame) else _unnamed(training)
        encoding = _table_encoding(table, new, layers)
        encode = any(feature.kind != "continuous" for feature in encoding.features)
        design = encoding.table(table).astype(np.float64) if encode else table
        area = fit_applicability(design, _column_weights(weights, encoding), folds)
    if not isinstance(new, xr.Dataset):
        rows = _rows(new, list(encoding.sources))
        return _frame(area, encoding.table(rows, unseen="missing") if encode else rows)
    encoded = encoding.cube(new, layers)
    inputs = [encoded[column] for column in area.columns]
    if MASK in encoded:
        inputs.append(encoded[MASK])
    outputs = [variable("dissimilarity_index"), variable("applicability")]
    attrs = {"threshold": area.threshold}
    index, inside = map_pixels(applicability_block, *inputs, outputs=outputs, shared=area, attrs=attrs)
    return xr.Dataset({"dissimilarity_index": index, "applicability": inside}, attrs=attrs)


def applicability_block(*arguments: Any) -> list[npt.NDArray[Any]]:
    """One block of a cube: column blocks, the mask where there is one, and the fitted area."""
    area: Applicability = arguments[-1]
    blocks = arguments[: len(area.columns)]
    rows = np.stack([np.asarray(block, dtype=np.float32).ravel() for block in blocks], axis=1)
    for mask in arguments[len(area.columns) : -1]:
        rows[mask.ravel() != 1] = np.nan
    index = area.index(rows)
    # Judged as it is stored, so that the map of the index and the map of the area never contradict each other.
    stored = index.astype(np.float32)
    return [stored.reshape(blocks[0].shape), area.inside(stored).reshape(blocks[0].shape)]


@dataclass(frozen=True, eq=False)
class ForestSpace:
    """Covariate space of a trained forest: classes become dummies that each carry their feature's weight."""

    encoding: Encoding
    area: Applicability
    weights: Mapping[str, float]
    complete: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        trained: TrainedForest,
        weights: npt.ArrayLike | Mapping[str, float] | None = None,
        folds: npt.ArrayLike | None = None,
    ) -> ForestSpace:
        """Fit the space.

        Raises
        ------
        InputError
        """
        table = trained.rows[list(trained.features)]
        encoding = trained.encoding.relearned(table, trained.fitted_target, style="onehot")
        if weights is None:
            ranked = permutation_importance(
                trained.forest, trained.design, trained.fitted_target, trained.encoding.sources
            )
            by_feature = dict(zip(ranked.index.astype(str), ranked["mean_increase"]))
        else:
            by_feature = dict(zip(trained.features, checked_weights(weights, trained.features)))
        by_column = {column: by_feature[name] for name, columns in encoding.sources.items() for column in columns}
        design = encoding.table(table).astype(np.float64)
        complete = design.notna().all(axis=1).to_numpy()
        labels = trained.folds[trained.deciding].to_numpy() if folds is None else np.asarray(folds)
        area = fit_applicability(design[complete], by_column, labels[complete])
        return cls(encoding, area, by_feature, complete)


def _rows(new: npt.ArrayLike | pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The features of new points."""
    if isinstance(new, pd.DataFrame):
        lacking = [name for name in names if name not in new.columns]
        if lacking:
            raise MissingInputError(f"applicability: the table lacks columns {', '.join(lacking)}")
        return new[names]
    values = np.atleast_2d(np.asarray(new))
    if values.ndim != 2 or values.shape[1] != len(names):
        raise InputError(f"applicability: rows have {values.shape[-1]} columns, expected {len(names)}")
    return pd.DataFrame(values, columns=names)


def _frame(area: Applicability, rows: pd.DataFrame) -> pd.DataFrame:
    values = rows.to_numpy(dtype=np.float64)
    dissimilarity = area.index(values)
    frame = pd.DataFrame(
        {"dissimilarity_index": dissimilarity, "applicability": area.inside(dissimilarity)}, index=rows.index
    )
    frame.attrs["threshold"] = area.threshold
    return frame


def _unnamed(training: npt.ArrayLike) -> pd.DataFrame:
    rows = np.asarray(training, dtype=np.float64)
    if rows.ndim != 2:
        raise InputError(f"applicability: training has shape {rows.shape}, expected (n, p) with n of 2 or more")
    return pd.DataFrame(rows, columns=[f"x{k}" for k in range(rows.shape[1])])


def _table_encoding(table: pd.DataFrame, new: Any, layers: Mapping[str, str] | None) -> Encoding:
    """From a table's columns to those of covariate space; a cube's layers record what kind they are."""
    features = [str(name) for name in table.columns]
    if isinstance(new, xr.Dataset):
        names = {name: (layers or {}).get(name, name) for name in features}
        lacking = [name for name in names.values() if name not in new]
        if lacking:
            raise MissingInputError(f"applicability: the cube lacks {', '.join(lacking)}; add them or name layers=")
        kinds = {**table.attrs.get(KINDS, {}), **layer_kinds(new, names)}
        table = table.copy()
        table.attrs[KINDS] = kinds
    return learn_encoding(table, features, np.zeros(len(table)), style="onehot")


def _column_weights(weights: npt.ArrayLike | Mapping[str, float] | None, encoding: Encoding) -> Floats | None:
    """Weight of every column: that of its feature."""
    if weights is None:
        return None
    by_feature = dict(zip(encoding.sources, checked_weights(weights, list(encoding.sources))))
    return np.array([by_feature[name] for name, columns in encoding.sources.items() for _ in columns])
