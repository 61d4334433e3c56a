"""What a fitted scikit-learn estimator consists of: the steps before, the last one, its features and classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError

from .compiled import CompiledForest
from .estimator import SoilForest


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A fitted regressor or classifier, searches replaced by their best estimator.

    Parameters
    ----------
    estimator : estimator
        With the steps of a pipeline.
    name : str
        Class of the last step, for messages.
    description : str
        Classes of all steps.
    features : tuple of str
        Names of the columns, where it was fitted on a DataFrame; else empty.
    count : int
        Columns.
    classes : ndarray, optional
        Of a classifier.
    before : transformer, optional
        Steps before a regression forest that change its columns.
    forest : CompiledForest, optional
        Of an estimator that ends in a regression forest.
    parallel : bool
        Whether any part of it has `n_jobs`.
    """

    estimator: Any
    name: str
    description: str
    features: tuple[str, ...]
    count: int
    classes: npt.NDArray[Any] | None = None
    before: Any = None
    forest: CompiledForest | None = None
    parallel: bool = False

    @property
    def named(self) -> bool:
        """Whether columns are matched by name."""
        return bool(self.features)


def unwrap(model: Any, where: str) -> FittedModel:
    """The parts of a fitted estimator.

    Raises
    ------
    InputError
        For what is no estimator, one that was not fitted, a search without its best estimator, and estimators that are
        neither regressors nor classifiers.
    """
    from sklearn.base import is_classifier, is_regressor
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    name = type(model).__name__
    if hasattr(model, "cv_results_") and not hasattr(model, "best_estimator_"):
        raise InputError(f"{where}: the {name} kept no best estimator; use refit=True")
    if isinstance(model, type) or not (hasattr(model, "predict") and hasattr(model, "get_params")):
        shown = model.__name__ if isinstance(model, type) else name
        raise InputError(
            f"{where}: a {shown} came, expected a fitted scikit-learn regressor or classifier, a Pipeline or a search "
            "that ends in one, a SoilForest, or what tpsoil.forest.train returned"
        )
    if not (is_regressor(model) or is_classifier(model)):
        raise InputError(f"{where}: a {name} is neither a regressor nor a classifier; expected one of them")
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise InputError(f"{where}: the {name} is not fitted; call fit(X, y) first") from error
    parts = list(_parts(model))
    last = parts[-1]
    names = next((tuple(map(str, part.feature_names_in_)) for part in parts if hasattr(part, "feature_names_in_")), ())
    count = next((int(part.n_features_in_) for part in parts if hasattr(part, "n_features_in_")), len(names))
    estimator = next(part for part in parts if not hasattr(part, "best_estimator_"))
    classes = getattr(estimator, "classes_", None) if is_classifier(model) else None
    if isinstance(classes, list):
        raise InputError(f"{where}: the {name} has {len(classes)} outputs, expected one; fit one for each target")
    forest = None
    if isinstance(last, SoilForest):
        forest = last.compiled_
    elif isinstance(last, RandomForestRegressor | ExtraTreesRegressor):
        forest = CompiledForest.from_sklearn(last)
    return FittedModel(
        estimator=estimator,
        name=type(last).__name__,
        description=" > ".join(dict.fromkeys(type(part).__name__ for part in _steps(model))),
        features=names,
        count=count,
        classes=classes,
        before=None if forest is None else _before(estimator),
        forest=forest,
        parallel=any(key.rpartition("__")[2] == "n_jobs" for key in estimator.get_params(deep=True)),
    )


def class_levels(fitted: FittedModel, where: str) -> dict[str, tuple[float, ...]]:
    """Classes that encoders of the pipeline saw, by the feature that they encode.

    Raises
    ------
    InputError
        For classes that are text: a raster has codes.
    """
    levels: dict[str, tuple[float, ...]] = {}
    for part in _steps(fitted.estimator):
        if not (hasattr(part, "categories_") and hasattr(part, "feature_names_in_")):
            continue
        for name, classes in zip(part.feature_names_in_, part.categories_):
            if np.asarray(classes).dtype.kind not in "iufb":
                raise InputError(
                    f"{where}: classes of '{name}' are text ({str(classes[0])!r}) in training and codes in the cube; "
                    "fit on the layer's codes"
                )
            known = [float(level) for level in classes if not np.isnan(level)]
            levels[str(name)] = tuple(int(level) if level.is_integer() else level for level in known)
    return levels


def _parts(model: Any) -> Iterator[Any]:
    """The model, and within searches and pipelines the estimator that predicts, down to the last."""
    from sklearn.pipeline import Pipeline

    yield model
    if hasattr(model, "best_estimator_"):
        yield from _parts(model.best_estimator_)
    elif isinstance(model, Pipeline) and model.steps[-1][1] not in {None, "passthrough"}:
        yield from _parts(model.steps[-1][1])


def _steps(model: Any) -> Iterator[Any]:
    """Every fitted step, those of column transformers too; searches and pipelines themselves are left out."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if isinstance(model, str) or model is None:
        return
    if hasattr(model, "best_estimator_"):
        yield from _steps(model.best_estimator_)
    elif isinstance(model, Pipeline):
        for _, step in model.steps:
            yield from _steps(step)
    elif isinstance(model, ColumnTransformer):
        for _, step, _ in model.transformers_:
            yield from _steps(step)
    else:
        yield model


def _before(estimator: Any) -> Any:
    """The steps before the last of nested pipelines, as one transformer; None where they change nothing."""
    from sklearn.pipeline import Pipeline

    steps: list[tuple[str, Any]] = []
    while isinstance(estimator, Pipeline) or hasattr(estimator, "best_estimator_"):
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
            continue
        for _, step in estimator.steps[:-1]:
            if step is not None and not isinstance(step, str):
                steps.append((f"step{len(steps)}", step))
        estimator = estimator.steps[-1][1]
    return Pipeline(steps) if steps else None
