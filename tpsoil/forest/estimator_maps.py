"""Any fitted scikit-learn estimator over a cube: forests by their compiled trees, others by their own `predict`."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import cloudpickle
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError, require_one_of
from tpsoil.labels import dataset_of
from tpsoil.soil_mask import with_soil_mask
from tpsoil.variables import Variable

from .compiled import CompiledForest
from .features import require_cube
from .mapping import WHERE, blocks_of_rows, forest_outputs, read_block, sources_of
from .quantiles import levels_of
from .tables import Unseen, known_classes, usable
from .trained import TrainedForest
from .unwrapping import FittedModel, class_levels, unwrap

Array = npt.NDArray[Any]

_IN_TURN = threading.Lock()
"""Estimators with `n_jobs` predict one block at a time: scikit-learn's joblib tasks change the warning filters, which
belong to the process before Python 3.14."""


def predict_cube(
    model: Any,
    cube: xr.Dataset,
    layers: Mapping[str, str] | Sequence[str] | None = None,
    *,
    quantiles: Sequence[float] | None = None,
    probabilities: bool = False,
    unseen: Unseen = "nan",
) -> xr.Dataset:
    """Predict every cell of a cube with any fitted estimator, lazily, a chunk at a time.

    Parameters
    ----------
    model : TrainedForest, SoilForest, CompiledForest, or a fitted scikit-learn regressor or classifier
        A `Pipeline` and a search such as `GridSearchCV` too. One that ends in a regression forest is mapped by the
        compiled forest, after the pipeline's other steps.
    cube : Dataset (y, x)
        Has every feature by name, as in `feature_names_in_`. Cells without soil are missing, see
        `tpsoil.soil_mask.with_soil_mask`.
    layers : mapping of str to str, or sequence of str, optional
        Layer of each feature that has another name in the cube. For an estimator that was fitted on an array: the
        layers in the order of its columns.
    quantiles : sequence of float, optional
        In 0 .. 1; forests only.
    probabilities : bool
        Also map the probability of each class; classifiers with `predict_proba` only.
    unseen : {"nan", "error"}
        Treatment of a cell with soil whose class is not in the training data. The classes are those of the forest, and
        of encoders (`OneHotEncoder`, `OrdinalEncoder`) in the pipeline.

    Returns
    -------
    Dataset (y, x)
        Lazy where the cube is. Forests: `mean`, `sd`, and `q05` and so on. Other regressors: `prediction`, float32.
        Classifiers: `predicted_class` with its flags (uint8, or int32 for codes outside 0 .. 254; text classes are
        numbered from 1), and `probability_CLASS`. Missing where any feature is missing, except that forests that were
        trained with missing values and are mapped without other steps predict there.

    Raises
    ------
    InputError
        For what is not a fitted regressor or classifier, one of several outputs, and options that it does not have.
        While computing: for cells that the estimator rejects, and unseen classes under "error".
    MissingInputError
        Where the cube lacks features; all are listed.

    Notes
    -----
    Estimators other than forests get float64 rows, a DataFrame where they were fitted on one. Those with `n_jobs`
    predict one chunk at a time on one thread.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> table = pd.DataFrame({"slope": [0.0, 1.0, 2.0]})
    >>> model = LinearRegression().fit(table, [0.0, 2.0, 4.0])
    >>> cube = xr.Dataset({"slope": (("y", "x"), np.array([[3.0, np.nan]]))})
    >>> predict_cube(model, cube)["prediction"].values.round(3)
    array([[ 6., nan]], dtype=float32)
    """
    require_one_of(WHERE, "unseen", unseen, get_args(Unseen))
    cube = require_cube(cube, WHERE)
    if isinstance(model, TrainedForest | CompiledForest):
        _reject(probabilities, "probabilities", "a regression forest")
        return model.predict_cube(cube, layers, quantiles=quantiles, unseen=unseen)
    fitted = unwrap(model, WHERE)
    sources = _sources(fitted, cube, layers)
    names = tuple(sources)
    if fitted.forest is not None:
        _reject(probabilities, "probabilities", "a regression forest")
        if fitted.before is None:
            compiled = replace(fitted.forest, features=names)
            return compiled.predict_cube(cube, sources, quantiles=quantiles, unseen=unseen)
    else:
        _reject(quantiles is not None, "quantiles", f"a {fitted.name}")
    return _map(_block_model(fitted, names, quantiles, probabilities, unseen), cube, list(sources.values()))


@dataclass(frozen=True, eq=False)
class BlockModel:
    """An estimator with what a block of a cube needs; in the graph once.

    Parameters
    ----------
    fitted : FittedModel
    features : tuple of str
    levels : mapping of str to tuple of float
        Classes in the training data, by feature.
    codes : tuple of int
        Code of each class of a classifier, in the order of `classes_`.
    quantiles : tuple of float
    outputs : tuple of Variable
    reject_unseen : bool
    digest : str
        Of the pickled estimator.
    nbytes : int
        Of the pickled estimator.
    fills : tuple of int or None
        Fill value of each integer layer.
    """

    fitted: FittedModel
    features: tuple[str, ...]
    levels: Mapping[str, tuple[float, ...]]
    codes: tuple[int, ...]
    quantiles: tuple[float, ...]
    outputs: tuple[Variable, ...]
    reject_unseen: bool
    digest: str
    nbytes: int
    fills: tuple[int | None, ...] = ()

    def __sizeof__(self) -> int:
        return self.nbytes

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        names = tuple(spec.name for spec in self.outputs)
        return (type(self).__name__, self.digest, self.features, self.quantiles, names, self.reject_unseen, self.fills)

    def predict(self, rows: npt.NDArray[np.float64]) -> list[Array]:
        """The values of each output for complete rows (n, features)."""
        X: Any = pd.DataFrame(rows, columns=list(self.features)) if self.fitted.named else rows
        fitted = self.fitted
        with _one_thread(fitted.parallel):
            try:
                if fitted.forest is not None:
                    table = fitted.before.transform(X)
                    table = np.asarray(table.toarray() if hasattr(table, "toarray") else table)
                    results = fitted.forest.predict(table, self.quantiles or None)
                    flat = [result.T.reshape(-1, len(rows)) for result in results]
                    return [layer for result in flat for layer in result]
                if not self.codes:
                    return [self._single(np.asarray(fitted.estimator.predict(X)))]
                labels = np.asarray(fitted.estimator.predict(X))
                place = np.searchsorted(np.asarray(fitted.classes), labels)
                proba = fitted.estimator.predict_proba(X).T if len(self.outputs) > 1 else ()
                return [np.asarray(self.codes)[place], *proba]
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{WHERE}: the {fitted.name} rejected the cells of a chunk: {error}") from error

    def _single(self, values: Array) -> Array:
        if values.size != len(values):
            raise InputError(
                f"{WHERE}: the {self.fitted.name} has {values.shape[1]} outputs, expected one; fit one for each "
                "target, or use RandomForestRegressor, whose outputs are mapped together"
            )
        return values.ravel()


def predict_rows(*arguments: Any) -> list[Array]:
    """One block of a cube: a block of each feature, the mask where there is one, and the model."""
    model: BlockModel = arguments[-1]
    columns, selected = read_block(arguments[:-1], model.fills)
    selected &= usable(columns, selected.size, accepts_missing=False)
    raw = dict(zip(model.features, columns))
    selected = known_classes(WHERE, raw, model.levels, selected, reject=model.reject_unseen)
    results = [np.full(selected.size, spec.fill, dtype=spec.dtype) for spec in model.outputs]
    if selected.any():
        rows = np.stack([column[selected] for column in columns], axis=1).astype(np.float64)
        for result, values in zip(results, model.predict(rows)):
            result[selected] = values
    return [result.reshape(arguments[0].shape) for result in results]


def _map(model: BlockModel, cube: xr.Dataset, sources: Sequence[str]) -> xr.Dataset:
    blocks, fills = blocks_of_rows(with_soil_mask(cube), sources)
    model = replace(model, fills=fills)
    results = map_pixels(predict_rows, *blocks, outputs=model.outputs, shared=model)
    attributes = {
        "model": model.fitted.description,
        "model_digest": model.digest,
        "features": " ".join(model.features),
        "unseen_categories": "error" if model.reject_unseen else "nan",
    }
    return dataset_of(results, attributes)


def _sources(fitted: FittedModel, cube: xr.Dataset, layers: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Layer of each feature, in the order of training."""
    if fitted.named:
        return sources_of(WHERE, fitted.features, cube, layers)
    if layers is None or isinstance(layers, Mapping):
        raise InputError(
            f"{WHERE}: the {fitted.name} was fitted on an array, whose columns have no names; pass layers= the "
            f"{fitted.count} layers in the order of the columns, or fit it on a DataFrame"
        )
    ordered = tuple(str(name) for name in layers)
    if len(ordered) != fitted.count or len(set(ordered)) != len(ordered):
        raise InputError(
            f"{WHERE}: layers names {len(ordered)} layers ({len(set(ordered))} distinct), the {fitted.name} was fitted "
            f"on {fitted.count} columns; pass one layer for each column, in order"
        )
    return sources_of(WHERE, ordered, cube, None)


def _reject(requested: bool, option: str, model: str) -> None:
    if requested:
        raise InputError(f"{WHERE}: {option} came with {model}, which has none; omit {option}")


def _block_model(
    fitted: FittedModel,
    names: tuple[str, ...],
    quantiles: Sequence[float] | None,
    probabilities: bool,
    unseen: str,
) -> BlockModel:
    codes: tuple[int, ...] = ()
    if fitted.forest is not None:
        outputs = forest_outputs("", fitted.forest, levels_of([fitted.forest], quantiles, None))
    elif fitted.classes is None:
        _reject(probabilities, "probabilities", f"a {fitted.name}")
        outputs = [Variable("prediction", f"prediction of a {fitted.name}", "1")]
    else:
        codes, outputs = _class_outputs(fitted, probabilities)
    stored = cloudpickle.dumps(fitted)
    return BlockModel(
        fitted=fitted,
        features=names,
        levels={name: levels for name, levels in class_levels(fitted, WHERE).items() if name in names},
        codes=codes,
        quantiles=tuple(float(q) for q in (quantiles or ())),
        outputs=tuple(outputs),
        reject_unseen=unseen == "error",
        digest=hashlib.sha256(stored).hexdigest(),
        nbytes=len(stored),
    )


def _class_outputs(fitted: FittedModel, probabilities: bool) -> tuple[tuple[int, ...], list[Variable]]:
    """Code of each class, and the layers: the class, and the probability of each."""
    classes = np.asarray(fitted.classes)
    labels = [str(label) for label in classes.tolist()]
    codes = np.arange(1, len(classes) + 1)
    if classes.dtype.kind in "iub" or (classes.dtype.kind == "f" and (classes == classes.round()).all()):
        codes = classes.astype(np.int64)
        labels = [str(code) for code in codes]
    dtype = "uint8" if codes.min() >= 0 and codes.max() < 255 else "int32"
    flags = {int(code): label for code, label in zip(codes, labels)}
    outputs = [
        Variable("predicted_class", f"class by a {fitted.name}", "1", dtype=dtype, kind="categorical", flags=flags)
    ]
    if probabilities:
        if not hasattr(fitted.estimator, "predict_proba"):
            raise InputError(f"{WHERE}: the {fitted.name} has no predict_proba; leave probabilities out")
        outputs += [
            Variable(f"probability_{label}".replace(" ", "_"), f"probability of class {label}", "1", 0, 1)
            for label in labels
        ]
    return tuple(int(code) for code in codes), outputs


@contextlib.contextmanager
def _one_thread(parallel: bool) -> Iterator[None]:
    if not parallel:
        yield
        return
    from joblib import parallel_config

    with _IN_TURN, parallel_config(backend="sequential"):
        yield
