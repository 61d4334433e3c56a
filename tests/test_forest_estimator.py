"""The forest as a scikit-learn estimator: its checks, and what users do with estimators."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tpsoil.errors import InputError
from tpsoil.forest import CompiledForest, SoilForest

WEIGHTS = "a weight is a probability to be drawn, not a number of copies; RandomForestRegressor fails the same check"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
}


def expected_failures(estimator: Any) -> dict[str, str]:
    return EXPECTED_FAILURES


@parametrize_with_checks([SoilForest(n_estimators=5)], expected_failed_checks=expected_failures)
def test_it_is_a_scikit_learn_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def table(rows: int = 120) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.random((rows, 4)), columns=["slope", "ndvi", "elevation", "aridity_index"])
    return X, np.asarray(10 * X["slope"] + X["ndvi"] + rng.normal(0, 0.1, rows))


@pytest.mark.parametrize("jobs", [None, 3, -1])
@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({}, {"max_features": 1 / 3}),
        ({"preset": "randomForest"}, {"max_features": 1 / 3, "min_samples_split": 6}),
        ({"max_features": 1.0, "max_depth": 3, "min_samples_leaf": 4}, {"max_depth": 3, "min_samples_leaf": 4}),
    ],
)
def test_predictions_are_scikit_learns(jobs: int, options: dict[str, Any], same: dict[str, Any]) -> None:
    X, y = table()
    forest = SoilForest(30, random_state=4, n_jobs=jobs, engine="scikit-learn", **options).fit(X, y)
    theirs = RandomForestRegressor(30, random_state=4, **same).fit(X, y)
    np.testing.assert_array_equal(forest.predict(X), theirs.predict(X))
    mean, sd = forest.predict(X, return_std=True)
    trees = np.stack([tree.predict(X.to_numpy(np.float32)) for tree in theirs.estimators_])
    np.testing.assert_array_equal(mean, theirs.predict(X))
    np.testing.assert_allclose(sd, trees.std(axis=0, ddof=1), rtol=1e-9)
    levels = CompiledForest.from_sklearn(theirs, responses=(X, y)).predict(X, (0.1, 0.9))[2]
    np.testing.assert_array_equal(forest.predict_quantiles(X, [0.1, 0.9]), levels)
    assert list(forest.feature_names_in_) == list(X)


def test_weights_count() -> None:
    X, y = table()
    weight = np.where(y > np.median(y), 5.0, 0.1)
    forest = SoilForest(30).fit(X, y, sample_weight=weight)
    assert forest.predict(X).mean() > SoilForest(30).fit(X, y).predict(X).mean() + 0.3


def test_it_works_in_pipelines_searches_and_scores() -> None:
    X, y = table()
    forest = SoilForest(10, preset="randomForest", max_depth=7, random_state=3, engine="scikit-learn")
    assert clone(forest).get_params() == forest.get_params()
    search = GridSearchCV(make_pipeline(StandardScaler(), forest), {"soilforest__max_features": [0.3, 1.0]}, cv=3)
    search.fit(X, y)
    assert search.best_params_ == {"soilforest__max_features": 1.0}
    theirs = RandomForestRegressor(10, max_features=1 / 3, min_samples_split=6, max_depth=7, random_state=3)
    np.testing.assert_array_equal(cross_val_score(forest, X, y, cv=3), cross_val_score(theirs, X, y, cv=3))
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_a_cube_is_mapped_as_the_compiled_forest_maps_it() -> None:
    X, y = table()
    forest = SoilForest(10).fit(X, y)
    cube = xr.Dataset({name: (("y", "x"), X[name].to_numpy("f4").reshape(10, 12)) for name in X}).chunk(y=4, x=5)
    maps = forest.predict_cube(cube, quantiles=(0.5,))
    assert maps["mean"].chunks is not None
    xr.testing.assert_identical(
        maps.compute(), forest.compiled_.predict_cube(cube, quantiles=(0.5,), method="responses").compute()
    )


def test_wrong_settings_and_states_are_reported() -> None:
    X, y = table()
    with pytest.raises(InputError, match="preset is 'randomforest'.*did you mean 'randomForest'"):
        SoilForest(preset="randomforest").fit(X, y)
    for options in ({"n_estimators": 0}, {"n_estimators": 2.5}):
        with pytest.raises(InputError, match="expected an integer of at least 1"):
            SoilForest(**options).fit(X, y)
    with pytest.raises(NotFittedError, match=r"call fit\(X, y\) first"):
        SoilForest().predict(X)
    with pytest.raises(InputError, match="call fit"):
        SoilForest().predict_cube(xr.Dataset())
    with pytest.raises(ValueError, match="feature names"):
        SoilForest(3).fit(X, y).predict(X[list(X)[::-1]])
