"""Forests grown by threads: equal to scikit-learn's, and without a warning from the threads."""

from __future__ import annotations

import importlib
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forests import training_rows
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from tpsoil.forest import held_out_importance, train
from tpsoil.forest.growing import grow


@pytest.fixture
def impatient_threads() -> Any:
    """Threads that take turns as often as Python can: what is rarely interrupted is interrupted."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RandomForestRegressor, {}),
        (RandomForestRegressor, {"max_features": 0.4, "max_samples": 0.5, "min_samples_leaf": 3}),
        (RandomForestRegressor, {"bootstrap": False, "max_features": 2}),
        (RandomForestRegressor, {"criterion": "absolute_error", "max_depth": 4}),
        (RandomForestRegressor, {"ccp_alpha": 0.01}),
        (ExtraTreesRegressor, {}),
        (ExtraTreesRegressor, {"bootstrap": True, "max_leaf_nodes": 9}),
    ],
)
@pytest.mark.parametrize("missing", [False, True])
def test_threads_grow_scikit_learns_trees(kind: Any, options: dict[str, Any], missing: bool) -> None:
    if missing and options.get("criterion") == "absolute_error":
        pytest.skip("scikit-learn has no missing values with this criterion")
    X, y = training_rows(120, missing=missing)
    table = pd.DataFrame(X, columns=list("abcdef"))
    table["c"] /= 1e35  # a float32
    own = grow(kind(70, random_state=3, **options), table, y, threads=3, engine="scikit-learn")
    theirs = kind(70, random_state=3, n_jobs=1, **options).fit(table, y)
    assert own.n_jobs == 1
    assert own.get_params() == theirs.get_params()
    assert list(own.feature_names_in_) == list("abcdef")
    assert [tree.random_state for tree in own.estimators_] == [tree.random_state for tree in theirs.estimators_]
    for left, right in zip(own.estimators_, theirs.estimators_):
        assert pickle.dumps(left.tree_.__getstate__()["nodes"].tolist()) == pickle.dumps(
            right.tree_.__getstate__()["nodes"].tolist()
        )
        assert np.array_equal(left.tree_.value, right.tree_.value)
    assert all(map(np.array_equal, own.estimators_samples_, theirs.estimators_samples_))
    assert np.array_equal(own.predict(table), theirs.predict(table))


def test_weights_and_several_outputs_are_as_scikit_learns() -> None:
    X, y = training_rows(100)
    X[:, 2] /= 1e35
    weight = np.linspace(0.1, 2, len(y))
    own = grow(RandomForestRegressor(9, random_state=0), X, y, sample_weight=weight, threads=2, engine="scikit-learn")
    theirs = RandomForestRegressor(9, random_state=0).fit(X, y, weight)
    assert np.array_equal(own.predict(X), theirs.predict(X))
    both = np.stack([y, -y], axis=1)
    own = grow(RandomForestRegressor(9, random_state=0), X, both, threads=2, engine="scikit-learn")
    assert np.array_equal(own.predict(X), RandomForestRegressor(9, random_state=0).fit(X, both).predict(X))


@pytest.mark.usefixtures("impatient_threads")
def test_training_and_drivers_emit_no_warning_from_their_threads() -> None:
    """scikit-learn's own threads race for the process's warning filters: 880 warnings of 3000 trees here."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((60, 3)), columns=["slope", "ndvi", "elevation"])
    table["Fe"] = table["slope"] + rng.normal(0, 0.1, 60)
    filters = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(4):
            trained = train(
                table, "Fe", ["slope", "ndvi", "elevation"], trees=100, folds="random", workers=2, seed=seed
            )
            held_out_importance(trained, repeats=1, workers=2)
    assert [str(warning.message) for warning in caught] == []
    assert list(warnings.filters) == filters


def test_the_benchmark_of_the_nested_study_counts_its_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    benchmark = importlib.import_module("growing")
    _, _, trees = benchmark.nested_study(elements=1, folds=2, trees=2, workers=2)
    assert trees == (2 + 1) * (2 * 5 + 1) * 2


def test_a_search_does_not_depend_on_threads() -> None:
    X, y = training_rows(120, missing=True)
    table = pd.DataFrame(X, columns=list("abcdef")).assign(y=y)
    search = {"max_features": [1, 3], "min_samples_leaf": [1, 9]}
    chosen = [
        train(table, "y", list("abcde"), folds="random", missing="keep", trees=6, search=search, workers=workers)
        for workers in (1, 3, 16)
    ]
    for other in chosen[1:]:
        assert other.settings["chosen_by_fold"] == chosen[0].settings["chosen_by_fold"]
        assert other.compile().digest == chosen[0].compile().digest
