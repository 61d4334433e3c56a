"""Options of training are explicit keywords of every function, and one without an effect is rejected."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tpsoil.errors import InputError
from tpsoil.forest import CompiledForest, TrainingOptions, train
from tpsoil.forest.options import SETTINGS, TrainingKeywords
from tpsoil.micronutrients import (
    accumulated_local_effects,
    importance,
    map_elements,
    partial_dependence,
    train_elements,
)
from tpsoil.micronutrients.mapping import ElementKeywords

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(RNG.random((40, 2)), columns=["slope", "Fe"])


def test_keywords_are_in_every_signature() -> None:
    names = {field.name for field in fields(TrainingOptions)}
    assert names == set(TrainingKeywords.__annotations__)
    for function, positional in ((train, 4), (train_elements, 3), (map_elements, 4)):
        parameters = inspect.signature(function).parameters
        assert names < set(parameters)
        assert not [p for p in parameters.values() if p.kind is p.VAR_KEYWORD]
        assert sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters.values()) == positional
    assert inspect.signature(train_elements).parameters["transform"].default == "log10"
    own = set(inspect.signature(train_elements).parameters) - {"samples", "elements", "features", "cube"}
    assert own == set(ElementKeywords.__annotations__) <= set(inspect.signature(map_elements).parameters)
    # scikit-learn's parameters are all settings, or reserved with a reason.
    from sklearn.ensemble import RandomForestRegressor

    from tpsoil.forest.options import RESERVED

    assert {*RandomForestRegressor().get_params(), "splitter"} == {*SETTINGS, *RESERVED}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search_trees": 50}, "search_trees has no effect without search; pass search= or omit search_trees"),
        ({"search_folds": 3}, "search_folds has no effect without search"),
        ({"max_feature": 2}, "no option 'max_feature'; did you mean 'max_features'"),
        ({"n_jobs": 2}, "'n_jobs' cannot be set here; use workers="),
        ({"bootstrap": False}, "'bootstrap' cannot be set here; train sets it itself"),
        ({"search": {"n_estimators": [5]}}, "'n_estimators' cannot be searched; use trees="),
        ({"search": {"leaf": [5]}}, "search has no setting 'leaf'"),
        ({"splitter": "randon"}, "splitter is 'randon', expected one of .*; did you mean 'random'"),
        ({"search": {"splitter": ["best", "worst"]}}, "splitter is 'worst', expected one of"),
    ],
)
def test_training_rejects(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(TABLE, "Fe", ["slope"], trees=2, **options)


@pytest.mark.parametrize("option", [{"band": 0.9}, {"trees": 100}, {"seed": 0}])
@pytest.mark.parametrize("effect", [partial_dependence, accumulated_local_effects])
def test_effects_reject_options_of_a_bootstrap_without_one(effect: Any, option: dict[str, Any]) -> None:
    trained = train(TABLE, "Fe", ["slope"], trees=2)
    with pytest.raises(InputError, match=f"{next(iter(option))} has no effect without bootstrap"):
        effect(trained, "slope", **option)
    assert "low" not in effect(trained, "slope")


def test_importance_rejects_rows_of_a_trained_forest() -> None:
    trained = train(TABLE, "Fe", ["slope"], trees=2)
    for rows in ({"X": TABLE[["slope"]]}, {"y": TABLE["Fe"]}):
        with pytest.raises(InputError, match="a TrainedForest has its own training rows; omit X and y"):
            importance(trained, **rows)


def test_extra_trees_keep_what_needs_rows_out_of_bag_and_grow_again_from_their_state() -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    from tpsoil.forest.state import dump_state, load_state

    trained = train(TABLE, "Fe", ["slope"], trees=8, splitter="random", folds="random")
    assert isinstance(trained.forest, ExtraTreesRegressor)
    assert trained.settings["splitter"] == "random"
    assert trained.settings["engine"] == "compiled"
    assert np.isfinite(importance(trained)["increase_mse"]).all()
    again = load_state(dump_state(trained), grow=True)
    assert again.compile().digest == trained.compile().digest
    assert trained.compile().digest == CompiledForest.from_sklearn(
        trained.forest, ["slope"], targets=["Fe"], units="mg kg-1", accepts_missing=False
    ).digest  # fmt: skip
    searched = train(TABLE, "Fe", ["slope"], trees=4, folds="random", search={"splitter": ["best", "random"]})
    assert searched.settings["splitter"] in ("best", "random")
