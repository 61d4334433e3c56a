"""Every option of the functions and estimators of `tpsoil.forest` has an effect, or is rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from function_sweep import Case, other, parameters_of, require_complete, require_reproducible, same
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from test_training import plots

from tpsoil import forest
from tpsoil.forest import CompiledForest, SoilForest
from tpsoil.forest.selection import WITHOUT_EFFECT

pytestmark = pytest.mark.filterwarnings("ignore:train. .* rows lie at .* positions")

TABLE = plots(30, 2).assign(
    part=lambda table: np.arange(len(table)) % 12, east=lambda table: table["lat"], north=lambda table: table["lon"],
    half=lambda table: np.arange(len(table)) // 2 % 2, quarter=lambda table: np.arange(len(table)) // 2 % 4,
    height=lambda table: np.where(np.arange(len(table)) == 3, np.nan, 4000 + 20 * table["slope"]),
)  # fmt: skip
AREA = np.random.default_rng(1).uniform(TABLE[["lon", "lat"]].min(), TABLE[["lon", "lat"]].max(), (200, 2))
FEATURES = ["slope", "wetness", "land_cover", "aspect"]
NUMBERS = ["slope", "wetness"]
SMALL = {"table": TABLE, "target": "Fe", "features": FEATURES, "groups": "site", "trees": 5, "n_folds": 3}
LOG = {"transform": "log10"}
SEARCH = {"search": {"min_samples_leaf": [1, 8]}, "search_trees": 8, "folds": "group"}
WIDE_SEARCH = {**SEARCH, "search": {"min_samples_leaf": [1, 2, 3, 4], "max_features": [1, 2]}, "search_trees": 2}
TRAINED = forest.train(TABLE, "Fe", FEATURES, "site", trees=5, n_folds=3)
MANY = pd.concat([TABLE.assign(Fe=TABLE["Fe"] * share) for share in (1.0, 1.1, 0.9, 1.2)], ignore_index=True)
TRAINED_WELL = forest.train(MANY, "Fe", FEATURES, "site", trees=5, n_folds=3)  # 50 samples of each class in two folds
STEEPNESS = np.where(MANY["slope"] > MANY["slope"].median(), "steep", "flat")
CODED = forest.train(TABLE, "Fe", ["slope", "land_cover"], "site", trees=5, n_folds=3).compile()
X = TABLE[NUMBERS].astype("float32")
Y = TABLE["Fe"].to_numpy()
PLAIN = RandomForestRegressor(5, random_state=0).fit(X, Y)
COMPILED = CompiledForest.from_sklearn(PLAIN, NUMBERS, responses=(X, Y))
CLASSES = RandomForestClassifier(5, random_state=0).fit(X, (np.median(Y) < Y).astype(int))
RNG = np.random.default_rng(0)
CUBE = xr.Dataset({
    "slope": (("y", "x"), RNG.uniform(0, 40, (4, 4)).astype("float32")),
    "wetness": (("y", "x"), RNG.normal(8, 2, (4, 4)).astype("float32")),
    "aspect": (("y", "x"), RNG.uniform(0, 360, (4, 4)).astype("float32")),
    "land_cover": (("y", "x"), np.full((4, 4), 10, "uint8")),
})  # fmt: skip
STRANGE = CUBE.assign(land_cover=CUBE["land_cover"].where(CUBE["slope"] > 10, 5).astype("uint8"))
STEEPER = CUBE.assign(incline=CUBE["slope"] + 9)


def soil_forest(**options: Any) -> Any:
    """Predictions of the estimator."""
    return SoilForest(**options).fit(X, Y).predict_quantiles(X, [0.1, 0.9])


TRAINING = {
    "groups": other(None),
    "folds": other("random"),
    "deciding": other("random"),
    "n_folds": other(4),
    "block_size": other(5.0),
    "coordinates": other(("east", "north")),
    "regions": other("half", folds=["region"], regions="quarter"),
    "area": other(AREA + 5.0, folds=["knndm"], area=AREA),
    "trees": other(6),
    "preset": other("randomForest"),
    "search": other({"min_samples_leaf": [8]}),
    "search_trees": other(3, **WIDE_SEARCH),
    "search_folds": other(2, **WIDE_SEARCH),
    "transform": other("log10"),
    "back_transform": other("median", **LOG),
    "missing": other("keep", features=["slope", "height"]),
    "categories": other("onehot"),
    "categorical": other(["part"], features=["slope", "part"], categories="onehot"),
    "circular": other(["part"], features=["slope", "part"]),
    "units": other("g kg-1"),
    "seed": other(1),
    "workers": same(2, "threads; each tree has its own seed"),
    "progress": same(False, "only shown on a terminal and in a notebook"),
    "engine": other("scikit-learn"),
    "splitter": other("random"),
    "max_features": other(1),
    "min_samples_split": other(12),
    "min_samples_leaf": other(6),
    "max_depth": other(2),
    "max_leaf_nodes": other(3),
    "max_samples": other(0.5),
    "min_impurity_decrease": other(5.0),
    "min_weight_fraction_leaf": other(0.2),
    "ccp_alpha": other(5.0),
    "criterion": other("absolute_error"),
    "monotonic_cst": other([-1, -1], features=NUMBERS),
}
CASES = {
    "area_of_applicability": Case(
        forest.area_of_applicability,
        {"training": TRAINED, "new": STEEPER},
        {
            "weights": other({"slope": 9.0, "wetness": 1.0, "land_cover": 1.0, "aspect": 1.0}),
            "folds": other(np.arange(len(TABLE)) % 2),
            "layers": other({"slope": "incline"}),
        },
    ),
    "conformal_intervals": Case(
        forest.conformal_intervals,
        {"trained": TRAINED},
        {"level": other(0.5), "method": other("spread"), "kind": other("random")},
    ),
    "coverage_table": Case(
        forest.coverage_table,
        {"trained": TRAINED_WELL},
        {
            "levels": other([0.5]),
            "by": other(STEEPNESS),
            "kind": other("random"),
            "method": other("residual"),
            "conditional": other(STEEPNESS),
        },
    ),
    "held_out_importance": Case(
        forest.held_out_importance,
        {"trained": TRAINED, "repeats": 2},
        {
            "sets": other({"terrain": ["slope", "aspect"]}),
            "folds": other("random"),
            "repeats": other(3),
            "seed": other(1),
            "workers": same(2, "threads; each fold has its own seed"),
        },
    ),
    "permutation_importance": Case(
        forest.permutation_importance,
        {"forest": PLAIN, "design": X, "target": Y},
        {"sets": other({"both": NUMBERS}), "repeats": other(2), "seed": other(1)},
    ),
    "predict_cube": Case(
        forest.predict_cube,
        {"model": TRAINED, "cube": STEEPER},
        {
            "layers": other({"slope": "incline"}),
            "quantiles": other([0.1], model=COMPILED),
            "probabilities": other(True, model=CLASSES),
            "unseen": other("error", cube=STRANGE, names="never saw"),
        },
    ),
    "predict_cube_many": Case(
        forest.predict_cube_many,
        {"forests": {"Fe": COMPILED}, "cube": STEEPER},
        {
            "layers": other({"slope": "incline"}),
            "quantiles": other([0.1]),
            "method": other("trees", quantiles=[0.1]),
            "unseen": other("nan", forests={"Fe": CODED}, cube=STRANGE, names="never saw"),
        },
    ),
    "score": Case(
        forest.score,
        {"observed": [1.0, 2.0, 4.0], "predicted": [1.5, 2.0, 3.0]},
        {"measures": other(["rmse"]), "missing": other("omit", observed=[1.0, np.nan, 4.0])},
    ),
    "select_features": Case(
        forest.select_features,
        {**SMALL, "features": NUMBERS, "trees": 3, "folds": "group", "nested": False},
        {
            **{name: change for name, change in TRAINING.items() if name not in {*WITHOUT_EFFECT, "search_folds"}},
            "nested": other(True),
            "search_folds": other(2, nested=True),
            "groups": other("part"),
            "max_features": other(1.0),
            "min_impurity_decrease": other(1e5),
            "block_size": other(5.0, folds="block", block_size=2.0),
            "coordinates": other(("east", "north"), folds="block", block_size=2.0),
            "transform": other("log10"),
            "missing": other("keep", features=["slope", "height"]),
            "categories": other("onehot", features=["slope", "land_cover"]),
        },
    ),
    "train": Case(forest.train, SMALL, TRAINING),
    "SoilForest": Case(
        soil_forest,
        {"n_estimators": 5},
        {
            "n_estimators": other(6),
            "preset": other("randomForest"),
            "splitter": other("random"),
            "max_features": other(2),
            "min_samples_split": other(12),
            "min_samples_leaf": other(6),
            "max_depth": other(2),
            "random_state": other(1),
            "engine": other("scikit-learn"),
            "n_jobs": same(2, "threads; each tree has its own seed"),
            "verbose": same(1, "a bar on a terminal and in a notebook"),
        },
    ),
}


@pytest.mark.parametrize(("name", "option"), parameters_of(CASES))
def test_an_option_has_an_effect_or_is_rejected(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    CASES[name].check(name, option)


@pytest.mark.parametrize("name", CASES)
def test_equal_options_give_equal_results(name: str) -> None:
    require_reproducible(CASES[name])


def test_every_option_has_another_value_here() -> None:
    require_complete(forest, CASES, ("SoilForest",))
