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
from tpsoil.errors import InputError
from tpsoil.forest.dissimilarity import Applicability, checked_weights, fit_applicability, table_of_points
from tpsoil.forest.encoding import Encoding, learn_encoding
from tpsoil.forest.features import KINDS, layer_kinds, require_features
from tpsoil.forest.importance import permutation_importance
from tpsoil.forest.mapping import blocks_of_rows, read_block, sources_of
from tpsoil.forest.trained import TrainedForest
from tpsoil.soil_mask import with_soil_mask
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
        For a constant column, weights that are all 0, a single fold; without `folds` also for a forest of `refit`.
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
    if layers is not None and not isinstance(new, xr.Dataset):
        raise InputError("applicability: layers has no effect without a cube; name the columns as the features")
    table = training.rows if isinstance(training, TrainedForest) else table_of_points(training)
    names = [str(name) for name in table.columns]
    sources = sources_of("applicability", names, new, layers) if isinstance(new, xr.Dataset) else {}
    if isinstance(training, TrainedForest):
        space = ForestSpace.of(training, weights, folds)
        area, encoding, encode = space.area, space.encoding, True
    else:
        encoding = _table_encoding(table, new, sources)
        encode = any(feature.kind != "continuous" for feature in encoding.features)
        design = encoding.table(table).astype(np.float64) if encode else table
        area = fit_applicability(design, _column_weights(weights, encoding), folds)
    if not isinstance(new, xr.Dataset):
        rows = _rows(new, names)
        return _frame(area, encoding.table(rows, unseen="missing") if encode else rows)
    encoding.require_codes()
    blocks, fills = blocks_of_rows(with_soil_mask(new), sources.values())
    outputs = [variable("dissimilarity_index"), variable("applicability")]
    attrs = {"threshold": area.threshold}
    shared = (area, encoding, fills)
    index, inside = map_pixels(applicability_block, *blocks, outputs=outputs, shared=shared, attrs=attrs)
    return xr.Dataset({"dissimilarity_index": index, "applicability": inside}, attrs=attrs)


def applicability_block(*arguments: Any) -> list[npt.NDArray[Any]]:
    """One block of a cube: feature blocks, the mask where there is one, then the area, the encoding and fill values."""
    area, encoding, fills = arguments[-1]
    raw, soil = read_block(arguments[:-1], fills)
    columns = encoding.columns_of(dict(zip(encoding.sources, raw)))
    rows = np.stack([columns[name] for name in area.columns], axis=1)
    rows[~soil] = np.nan
    index = area.index(rows)
    # Judged as it is stored, so that the map of the index and the map of the area never contradict each other.
    stored = index.astype(np.float32).reshape(arguments[0].shape)
    return [stored, area.inside(stored)]


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
        if folds is None:
            trained.require_own_rows("applicability")
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
        if labels.shape != complete.shape:
            raise InputError(
                f"applicability: folds have shape {labels.shape}, expected {complete.shape}: one a used row"
            )
        area = fit_applicability(design[complete], by_column, labels[complete])
        return cls(encoding, area, by_feature, complete)


def _rows(new: npt.ArrayLike | pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The features of new points."""
    if isinstance(new, pd.DataFrame):
        require_features(new, names, where="applicability")
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


def _table_encoding(table: pd.DataFrame, new: Any, sources: Mapping[str, str]) -> Encoding:
    """From a table's columns to those of covariate space; a cube's layers record what kind they are."""
    if sources:
        table = table.copy()
        table.attrs[KINDS] = {**table.attrs.get(KINDS, {}), **layer_kinds(new, sources)}
    return learn_encoding(table, [str(name) for name in table.columns], np.zeros(len(table)), style="onehot")


def _column_weights(weights: npt.ArrayLike | Mapping[str, float] | None, encoding: Encoding) -> Floats | None:
    """Weight of every column: that of its feature."""
    if weights is None:
        return None
    by_feature = dict(zip(encoding.sources, checked_weights(weights, list(encoding.sources))))
    return np.array([by_feature[name] for name, columns in encoding.sources.items() for _ in columns])
