"""Any fitted estimator over a cube: equal to its own predictions, lazy, and missing where a map must be missing."""

from __future__ import annotations

import warnings
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from tpsoil.errors import InputError, MissingInputError
from tpsoil.forest import CompiledForest, SoilForest, predict_cube, train

NAMES = ["slope", "ndvi", "parent_material"]
SHAPE = (23, 31)


def training() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"slope": rng.uniform(0, 40, 150), "ndvi": rng.random(150), "parent_material": rng.integers(1, 4, 150)}
    ).astype({"slope": "f4", "ndvi": "f4"})
    return X, np.asarray(X["slope"] / 10 + X["ndvi"] + 0.5 * X["parent_material"])


def cube_of() -> xr.Dataset:
    """Float and class layers with gaps, a class that training never saw, water, ice and a mask; ragged chunks."""
    rng = np.random.default_rng(1)
    coords = {"y": np.arange(SHAPE[0], 0, -1.0), "x": np.arange(SHAPE[1]) * 1.0}
    layers = {
        "slope": rng.uniform(0, 40, SHAPE).astype("f4"),
        "ndvi": rng.random(SHAPE).astype("f4"),
        "parent_material": rng.integers(1, 4, SHAPE).astype("u1"),
        "land_cover": np.full(SHAPE, 10, "u1"),
        "soil_mask": np.ones(SHAPE, "u1"),
    }
    layers["slope"][0, :5] = np.nan
    layers["parent_material"][1, :5] = 255
    layers["parent_material"][2, :5] = 9
    layers["land_cover"][3, :5] = 0
    layers["land_cover"][4, :5] = 15
    layers["soil_mask"][5, :5] = 0
    cube = xr.Dataset({name: (("y", "x"), values) for name, values in layers.items()}, coords)
    cube["parent_material"].attrs["_FillValue"] = 255
    return cube.chunk(y=9, x=8)


def expected_missing(*, unseen: bool) -> Any:
    missing = np.zeros(SHAPE, bool)
    for row in (0, 1, 3, 4, 5, *([2] if unseen else [])):
        missing[row, :5] = True
    return missing


def rows_of(cube: xr.Dataset, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: cube[name].values.ravel().astype("f8") for name in names})


def encoder() -> Any:
    return make_column_transformer((OneHotEncoder(), ["parent_material"]), remainder=StandardScaler())


REGRESSORS = {
    "boosting": GradientBoostingRegressor(n_estimators=5, random_state=0),
    "histogram": HistGradientBoostingRegressor(max_iter=5, random_state=0),
    "linear": LinearRegression(),
    "pipeline": make_pipeline(encoder(), GradientBoostingRegressor(n_estimators=5, random_state=0)),
    "search": GridSearchCV(make_pipeline(StandardScaler(), LinearRegression()), {"linearregression__positive": [True]}),
    "forest after steps": make_pipeline(encoder(), RandomForestRegressor(8, random_state=0)),
    "search of forest": GridSearchCV(
        make_pipeline("passthrough", make_pipeline(encoder(), SoilForest(8))),
        {"pipeline__soilforest__min_samples_leaf": [1, 5]},
        cv=2,
    ),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_predicts_every_cell_with_soil(name: str) -> None:
    X, y = training()
    model = REGRESSORS[name].fit(X, y)
    cube = cube_of()
    maps = predict_cube(model, cube)
    label = "mean" if "forest" in name else "prediction"
    values = maps[label].values
    encoded = any(part in name for part in ("pipeline", "forest"))
    missing = expected_missing(unseen=encoded)
    np.testing.assert_array_equal(np.isnan(values), missing)
    kept = ~missing.ravel()
    truth = model.predict(rows_of(cube, NAMES)[kept].astype({"parent_material": int}))
    np.testing.assert_allclose(values.ravel()[kept], truth, rtol=1e-6)
    assert maps[label].dtype == np.float32
    assert maps.attrs["features"] == " ".join(NAMES)
    alone = predict_cube(model, cube.compute())
    xr.testing.assert_identical(alone, maps.compute())


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed")

    X, y = training()
    labels = np.where(y > y.mean(), "high", "low")
    with dask.config.set(scheduler=refuse):
        for model in (GradientBoostingRegressor(n_estimators=3), make_pipeline(encoder(), SoilForest(3))):
            assert all(layer.chunks for layer in predict_cube(model.fit(X, y), cube_of()).data_vars.values())
        classifier = LogisticRegression(max_iter=5000).fit(X, labels)
        maps = predict_cube(classifier, cube_of(), probabilities=True)
    assert all(layer.chunks for layer in maps.data_vars.values())


@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesRegressor, SoilForest])
def test_forests_and_what_ends_in_one_take_the_compiled_path(kind: Any) -> None:
    X, y = training()
    forest = kind(9, random_state=0)
    cube = cube_of()
    expected = CompiledForest.from_sklearn(kind(9, random_state=0).fit(X, y).forest_, NAMES, responses=(X, y)) if (
        kind is SoilForest
    ) else CompiledForest.from_sklearn(kind(9, random_state=0).fit(X, y))  # fmt: skip
    maps = expected.predict_cube(cube, quantiles=(0.1,), unseen="nan").compute()
    for model in (
        forest.fit(X, y),
        make_pipeline("passthrough", kind(9, random_state=0)).fit(X, y),
        GridSearchCV(kind(9, random_state=0), {"max_depth": [None]}, cv=2).fit(X, y),
    ):
        xr.testing.assert_identical(predict_cube(model, cube, quantiles=(0.1,)).compute(), maps)


def test_trained_and_compiled_forests_are_taken_too() -> None:
    X, y = training()
    trained = train(X.assign(Fe=y), "Fe", NAMES, trees=5, folds="random", categorical=["parent_material"])
    cube = cube_of()
    xr.testing.assert_identical(predict_cube(trained, cube).compute(), trained.predict_cube(cube).compute())
    maps = predict_cube(trained, cube, quantiles=[0.5])
    assert "q50" in maps
    assert maps.attrs["unseen_categories"] == "nan"
    xr.testing.assert_identical(maps, trained.predict_cube(cube, quantiles=[0.5]))
    compiled = trained.compile()
    xr.testing.assert_identical(
        predict_cube(compiled, cube).compute(), compiled.predict_cube(cube, unseen="nan").compute()
    )


@pytest.mark.parametrize("text", [False, True])
def test_a_classifier_gives_classes_with_flags_and_probabilities(text: bool) -> None:
    X, y = training()
    codes = np.digitize(y, np.quantile(y, [0.3, 0.6])) + 4
    names = np.array(["", "", "", "", "leached", "brown earth", "chernozem"])
    target = names[codes] if text else codes
    model = make_pipeline(encoder(), RandomForestClassifier(5, random_state=0, n_jobs=2)).fit(X, target)
    cube = cube_of()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        maps = predict_cube(model, cube, probabilities=True).compute(scheduler="threads", num_workers=4)
    assert not caught
    layer = maps["predicted_class"]
    missing = expected_missing(unseen=True)
    np.testing.assert_array_equal(layer.values == 255, missing)
    assert layer.encoding["_FillValue"] == 255
    assert layer.attrs["flag_values"] == ([1, 2, 3] if text else [4, 5, 6])
    assert layer.attrs["flag_meanings"] == ("brown_earth chernozem leached" if text else "4 5 6")
    kept = ~missing.ravel()
    rows = rows_of(cube, NAMES)[kept].astype({"parent_material": int})
    truth = model.predict(rows)
    back = dict(zip(layer.attrs["flag_values"], model.classes_))
    assert [back[code] for code in layer.values.ravel()[kept]] == truth.tolist()
    shares = [name for name in maps if str(name).startswith("probability_")]
    assert shares == [f"probability_{label}".replace(" ", "_") for label in model.classes_]
    found = np.stack([maps[name].values.ravel()[kept] for name in shares], axis=1)
    np.testing.assert_allclose(found, model.predict_proba(rows), rtol=1e-6)


def test_columns_without_names_are_the_layers_in_order() -> None:
    X, y = training()
    model = LinearRegression().fit(X.to_numpy("f8"), y)
    cube = cube_of().rename(ndvi="greenness")
    with pytest.raises(InputError, match="fitted on an array.*pass layers= the 3 layers"):
        predict_cube(model, cube)
    maps = predict_cube(model, cube, ["slope", "greenness", "parent_material"])
    named = predict_cube(LinearRegression().fit(X.astype("f8"), y), cube, {"ndvi": "greenness"})
    np.testing.assert_array_equal(maps["prediction"].values, named["prediction"].values)
    with pytest.raises(InputError, match="layers names 2 layers"):
        predict_cube(model, cube, ["slope", "greenness"])
    forest = RandomForestRegressor(3, random_state=0).fit(X.to_numpy("f8"), y)
    assert "mean" in predict_cube(forest, cube, ["slope", "greenness", "parent_material"])


def test_wrong_models_and_options_are_named() -> None:
    X, y = training()
    cube = cube_of()
    linear = LinearRegression().fit(X, y)
    both = np.stack([y, y], axis=1)
    for model, options, words in (
        ("forest", {}, "a str came, expected a fitted scikit-learn regressor"),
        (LinearRegression, {}, "a LinearRegression came"),
        (LinearRegression(), {}, r"not fitted; call fit\(X, y\) first"),
        (KMeans(2, n_init=1).fit(X), {}, "neither a regressor nor a classifier"),
        (GridSearchCV(LinearRegression(), {}, refit=False).fit(X, y), {}, "refit=True"),
        (linear, {"quantiles": [0.5]}, "quantiles came with a LinearRegression"),
        (linear, {"probabilities": True}, "probabilities came with a LinearRegression"),
        (linear, {"unseen": "skip"}, r"unseen is 'skip', expected one of \['nan', 'error'\]"),
        (linear, {"layers": ["slope"]}, "layers is a list without ndvi, parent_material"),
        (LinearSVC().fit(X, y > 2), {"probabilities": True}, "has no predict_proba"),
        (SoilForest(2).fit(X, y), {"probabilities": True}, "probabilities came with a regression forest"),
        (make_pipeline(OneHotEncoder(), LinearRegression()).fit(X.astype(str), y), {}, "are text"),
    ):
        with pytest.raises(InputError, match=words):
            predict_cube(model, cube, **options)
    with pytest.raises(MissingInputError, match="no layer 'ndvi'"):
        predict_cube(linear, cube.drop_vars("ndvi"))
    with pytest.raises(InputError, match="2 outputs, expected one"):
        predict_cube(LinearRegression().fit(X, both), cube).compute()
    piped = make_pipeline(encoder(), LinearRegression()).fit(X, y)
    with pytest.raises(InputError, match="class 9 in .* training never saw"):
        predict_cube(piped, cube, unseen="error").compute()
    infinite = cube.assign(slope=cube["slope"].where(cube["slope"] < 39, np.inf))
    with pytest.raises(InputError, match="LinearRegression rejected the cells of a chunk.*infinity"):
        predict_cube(linear, infinite).compute()
    with pytest.raises(InputError, match=r"tpsoil.forest.predict_cube\(estimator, cube\)"):
        CompiledForest.from_sklearn(linear)


def test_several_outputs_of_a_forest_are_mapped_together() -> None:
    X, y = training()
    both = np.stack([y, -y], axis=1)
    model = make_pipeline(encoder(), RandomForestRegressor(4, random_state=0)).fit(X, both)
    maps = predict_cube(model, cube_of(), quantiles=(0.2, 0.8))
    assert list(maps) == ["mean_0", "mean_1", "sd_0", "sd_1", "q20_0", "q20_1", "q80_0", "q80_1"]
    kept = ~expected_missing(unseen=True).ravel()
    truth = model.predict(rows_of(cube_of(), NAMES)[kept].astype({"parent_material": int}))
    for k in (0, 1):
        np.testing.assert_allclose(maps[f"mean_{k}"].values.ravel()[kept], truth[:, k], rtol=1e-6)
    low, high = (maps[f"q{q}_1"].values.ravel()[kept] for q in (20, 80))
    assert (low <= high).all()
    assert (low < -1).any()
