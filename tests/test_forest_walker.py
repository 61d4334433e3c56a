"""A compiled forest is plain data; what the walk derives from it belongs to the walker and ends with the forest."""

from __future__ import annotations

import dataclasses
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from test_forest_digests import cube, map_model, random_forest, rows

from tpsoil.errors import InputError
from tpsoil.forest import train
from tpsoil.forest.derived import DerivedValues
from tpsoil.forest.layers import map_models
from tpsoil.forest.walking import PACKED, Walker


def test_a_compiled_forest_is_plain_data() -> None:
    forest = random_forest(1)
    before = pickle.dumps(forest)
    forest.predict(rows(), (0.1, 0.9))
    forest.predict_cube(cube(), unseen="nan").compute()
    assert forest.digest
    assert not hasattr(forest, "__dict__")
    assert pickle.dumps(forest) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        forest.units = "g"  # type: ignore[misc]


def test_a_trained_forest_stores_only_its_fields() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((40, 2)), columns=["slope", "Fe"])
    trained = train(table, "Fe", ["slope"], trees=5)
    size = len(pickle.dumps(trained))
    trained.predict(table, [0.5])
    assert set(vars(trained)) == {field.name for field in dataclasses.fields(trained)}
    assert len(pickle.dumps(trained)) == size


def test_packed_arrays_end_with_their_forest() -> None:
    """88 folds' forests were 4.2 GB, each one referred to by its own packed group."""
    gc.disable()  # references must end without the collector
    try:
        before = len(PACKED)
        forest = random_forest(1)
        forest.predict(rows(), (0.5,))
        assert len(PACKED) == before + 3  # nodes, responses, ranking
        del forest
        assert len(PACKED) == before
    finally:
        gc.enable()


def test_a_forest_is_packed_once_for_all_threads_and_groups() -> None:
    first, second = random_forest(1), random_forest(4)
    with ThreadPoolExecutor(8) as pool:
        walkers = list(pool.map(lambda _: Walker.of([first]), range(32)))
    both = Walker.of([first, second])
    assert {id(walker.packed[0]) for walker in [*walkers, both]} == {id(walkers[0].packed[0])}
    assert both.ranking is Walker.of([first, second]).ranking is not walkers[0].ranking


def test_derived_values_are_bounded_and_belong_to_one_object() -> None:
    class Model:
        pass

    cache, models = DerivedValues(3), [Model() for _ in range(5)]
    for k, model in enumerate(models):
        assert cache.get((model,), "size", lambda k=k: k) == k
        assert cache.get((model,), "size", lambda: -1) == k
    assert len(cache) == 3
    assert cache.get((models[0],), "size", lambda: 10) == 10  # the first was removed
    for turn in range(200):  # addresses are used again
        assert cache.get((Model(),), "size", lambda turn=turn: turn) == turn
    with pytest.raises(ZeroDivisionError):
        cache.get((models[1],), "error", lambda: 1 / 0)
    assert cache.get((models[1],), "error", lambda: 2) == 2


def test_an_unseen_class_is_an_error_only_where_a_value_would_be_lost() -> None:
    model = map_model(1)
    dataset = cube().compute()
    unseen = ~dataset["land_cover"].isin([1, 2, 5, 9])
    with pytest.raises(InputError, match="map: feature 'land_cover' has class 7 in"):
        map_models({"iron": model}, dataset, unseen="error")
    hidden = dataset.assign(slope=dataset["slope"].where(~unseen))
    maps = map_models({"iron": model}, hidden, unseen="error")
    assert not np.isfinite(maps["iron"].values[unseen.values]).any()
