"""Options of training are explicit keywords of every function, and one without an effect is rejected."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tpsoil.errors import InputError
from tpsoil.forest import TrainingOptions, train
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

    assert set(RandomForestRegressor().get_params()) == {*SETTINGS, *RESERVED}


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
