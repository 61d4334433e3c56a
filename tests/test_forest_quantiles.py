"""Quantiles between trees equal numpy's; Meinshausen's equal quantile-forest's and his equations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from forests import forests, single, sklearn_leaves, sklearn_values, training_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from quantile_forest import ExtraTreesQuantileRegressor, RandomForestQuantileRegressor
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from tpsoil.errors import InputError
from tpsoil.forest import CompiledForest
from tpsoil.forest.quantiles import Levels
from tpsoil.forest.walking import Walker, packed_nodes
from tpsoil.kernels.trees_responses import code_leaves

LEVELS = (0.0, 0.05, 0.25, 0.5, 0.731, 0.95, 1.0)
PAIRS = {
    "forest": (RandomForestRegressor, RandomForestQuantileRegressor),
    "extra": (ExtraTreesRegressor, ExtraTreesQuantileRegressor),
}


@pytest.mark.parametrize("kind", [k for k in forests() if k != "wide"])
def test_between_trees_they_are_numpys(kind: str) -> None:
    forest, X, _ = forests()[kind]
    rows = X[:150] + np.array([0.01, 0, 0, 0, 0, 0])
    found = CompiledForest.from_sklearn(forest, accepts_missing=True).predict(rows, LEVELS)[2]
    expected = np.moveaxis(np.quantile(sklearn_values(forest, rows), LEVELS, axis=0), 0, -1)
    np.testing.assert_array_equal(found, expected)


def test_between_trees_with_values_crowded_into_one_bin() -> None:
    # One far tree leaves all others in the first bin, so that its members have to be sorted.
    X, y = training_rows(300)
    y[0] = 1e12
    forest = RandomForestRegressor(150, random_state=0).fit(X, y)
    rows = X[:60]
    found = CompiledForest.from_sklearn(forest).predict(rows, LEVELS)[2]
    np.testing.assert_array_equal(found, np.quantile(sklearn_values(forest, rows), LEVELS, axis=0).T)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("options", [{}, {"min_samples_leaf": 5}, {"max_depth": 4}, {"max_samples": 0.5}], ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_of_responses_they_are_quantile_forests(pair: str, options: dict[str, Any], weighted: bool) -> None:
    X, y = training_rows(300)
    y = np.round(y, 1)  # ties
    options = {
        "random_state": 4,
        "n_estimators": 45,
        "bootstrap": "max_samples" in options or pair == "forest",
        **options,
    }
    plain, oracle = PAIRS[pair]
    forest = plain(**options).fit(X, y)
    peer = oracle(max_samples_leaf=None, **options).fit(X, y)
    rows = X[:200] + np.random.default_rng(0).normal(0, 0.1, (200, 6)) * np.array([1, 1, 1e34, 0, 0, 0])
    np.testing.assert_array_equal(forest.apply(rows), peer.apply(rows))
    found = CompiledForest.from_sklearn(forest, responses=(X, y), weighted=weighted).predict(rows, LEVELS)[2]
    expected = peer.predict(rows, list(LEVELS), weighted_leaves=weighted)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_of_responses_they_are_meinshausens_weights() -> None:
    # His equations 4-6 written out: w_i(x) = mean over trees of [x_i in leaf(x)] / #leaf(x), on the bootstrapped rows.
    X, y = training_rows(200)
    forest = RandomForestRegressor(30, min_samples_leaf=4, random_state=2).fit(X, y)
    rows = X[:40]
    here, there = sklearn_leaves(forest, rows), sklearn_leaves(forest, X)
    weights = np.zeros((40, 200))
    for tree, drawn in enumerate(forest.estimators_samples_):
        times = np.bincount(drawn, minlength=200)
        share = times * (there[:, tree] == here[:, tree, None])
        weights += share / share.sum(axis=1, keepdims=True) / 30
    order = np.argsort(y)
    running = np.cumsum(weights[:, order], axis=1)
    found = CompiledForest.from_sklearn(forest, responses=(X, y)).predict(rows, (0.1, 0.5, 0.9))[2]
    for k, level in enumerate((0.1, 0.5, 0.9)):
        # F is a step function; the interpolated form lies between the responses where it crosses the level.
        reached = np.array([y[order][np.searchsorted(r, level + 0.02)] for r in running])
        before = np.array([y[order][np.searchsorted(r, level - 0.02)] for r in running])
        assert (found[:, k] <= reached).all()
        assert (found[:, k] >= before).all()


def test_several_outputs_have_their_own_responses() -> None:
    X, y = training_rows(150)
    both = np.stack([y, -2 * y + X[:, 0]], axis=1)
    forest = RandomForestRegressor(12, min_samples_leaf=3, random_state=0).fit(X, both)
    peer = RandomForestQuantileRegressor(12, min_samples_leaf=3, random_state=0, max_samples_leaf=None).fit(X, both)
    found = CompiledForest.from_sklearn(forest, responses=(X, both)).predict(X, (0.2, 0.8))[2]
    np.testing.assert_allclose(found, peer.predict(X, [0.2, 0.8], weighted_leaves=True), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6, unique=True))
def test_they_rise_with_the_level_and_stay_among_the_responses(levels: list[float]) -> None:
    X, y, compiled = small()
    levels = sorted(levels)
    for method in ("trees", "responses"):
        found = compiled.predict(X, levels, method=method)[2]
        assert (np.diff(found, axis=1) >= -1e-12).all()
        assert found.min() >= y.min() - 1e-12
        assert found.max() <= y.max() + 1e-12


def small() -> tuple[Any, Any, CompiledForest]:
    X, y = training_rows(80)
    forest = RandomForestRegressor(10, min_samples_leaf=2, random_state=0).fit(X, y)
    return X, y, CompiledForest.from_sklearn(forest, responses=(X, y))


def test_the_method_is_the_better_one_that_there_is() -> None:
    X, y, compiled = small()
    forest = RandomForestRegressor(10, min_samples_leaf=2, random_state=0).fit(X, y)
    bare = CompiledForest.from_sklearn(forest)
    of_responses = compiled.predict(X, (0.9,), method="responses")[2]
    between = compiled.predict(X, (0.9,), method="trees")[2]
    assert not np.array_equal(of_responses, between)
    np.testing.assert_array_equal(compiled.predict(X, (0.9,))[2], of_responses)
    np.testing.assert_array_equal(bare.predict(X, (0.9,))[2], between)


@pytest.mark.parametrize(
    ("quantiles", "method", "message"),
    [
        ((0.5, 1.2), None, r"levels \(0.5, 1.2\); expected distinct numbers from 0 to 1"),
        ((), None, "expected distinct numbers"),
        ((0.5, 0.5), None, "expected distinct numbers"),
        ((0.5,), "median", "method 'median'; expected trees or responses"),
        ((0.5,), "responses", r"needs the training data; compile with .*responses=\(X, y\)"),
        (None, "trees", "a method came without levels"),
    ],
)
def test_what_cannot_be_given_is_refused(quantiles: Any, method: str | None, message: str) -> None:
    X, y = training_rows(40)
    compiled = CompiledForest.from_sklearn(RandomForestRegressor(2).fit(X, y))
    with pytest.raises(InputError, match=message):
        compiled.predict(X, quantiles, method=method)


def test_other_training_data_are_refused() -> None:
    X, y = training_rows(40)
    forest = RandomForestRegressor(2).fit(X, y)
    for rows, values in ((X[:-1], y[:-1]), (X, y[:-1]), (X, np.stack([y, y], axis=1))):
        with pytest.raises(InputError, match="the forest was trained on 40 rows and 1 outputs"):
            CompiledForest.from_sklearn(forest, responses=(rows, values))
    y[3] = np.nan
    with pytest.raises(InputError, match="missing or infinite"):
        CompiledForest.from_sklearn(forest, responses=(X, y))


def test_the_wide_form_gives_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, narrow = small()
    expected = narrow.predict(X, LEVELS)
    monkeypatch.setattr("tpsoil.forest.packing.NARROW_THRESHOLDS", 3)
    forest = RandomForestRegressor(10, min_samples_leaf=2, random_state=0).fit(X, y)
    wide = CompiledForest.from_sklearn(forest, responses=(X, y))
    assert (packed_nodes(narrow).dtype, packed_nodes(wide).dtype) == (np.uint16, np.uint32)
    for a, b in zip(expected, wide.predict(single(X), LEVELS)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("rows", "options"), [(300, {}), (300, {"min_samples_leaf": 4}), (4500, {"max_depth": 6})])
@pytest.mark.parametrize("weighted", [True, False])
def test_whole_weights_give_what_weights_in_the_order_of_the_trees_give(
    rows: int, options: dict[str, Any], weighted: bool
) -> None:
    rng = np.random.default_rng(rows)
    X = rng.random((rows, 3)).astype(np.float32)
    y = np.round(10 * X[:, 0] + rng.normal(size=rows), 1 if options else 9)
    forest = RandomForestRegressor(12, random_state=0, **options).fit(X, y)
    compiled = CompiledForest.from_sklearn(forest, list("abc"), responses=(X, y))
    assert compiled.responses is not None
    compiled = replace(compiled, responses=replace(compiled.responses, weighted=weighted))
    levels = Levels((0.0, 0.05, 0.5, 0.9, 1.0), "responses")
    walker = Walker.of([compiled], levels)
    assert walker.responses[0].codes[0].single == (not options)
    # Beyond the last pixel kernels may read any node: one without members must name no response.
    members = np.diff(walker.responses[0].begin.astype(np.int64))
    assert not walker.responses[0].codes[0].leaf[members == 0].any()
    in_order = Walker(walker.packed, walker.ranking, (replace(walker.responses[0], codes=()),))
    probes = [np.ascontiguousarray(column) for column in rng.random((203, 3)).astype(np.float32).T]
    everywhere = [np.ones(203, dtype=bool)]
    quantiles, expected = (each.walk(probes, everywhere, levels=levels)[0].quantiles for each in (walker, in_order))
    # Sums of twelve weights in another order: some units of the last place of 1.
    np.testing.assert_allclose(quantiles, expected, rtol=1e-12, atol=1e-12)


def test_codes_of_nodes_that_are_no_leaves_stay_within_the_responses() -> None:
    """Lanes beyond the last pixel read the code of a root: a place outside the weights would be written there."""
    begin = np.array([0, 0, 2, 4, 4, 6, 8], np.uint32)  # two stumps: root, leaf, leaf
    member, rank = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.uint32), np.array([0, 1], np.uint32)
    leaf, entry, share = np.zeros(6, np.uint64), np.zeros(8, np.uint16), np.zeros(8, np.int64)
    code_leaves(begin, member, rank, np.int64(0), leaf, entry, share)
    assert (leaf & np.uint64(0xFFFF)).tolist() == [0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize(("times", "width"), [(1, 2), (16, 4)])
def test_leaves_of_few_and_of_many_draws_have_codes_of_16_and_32_bits(times: int, width: int) -> None:
    X, y = training_rows(160)
    forest = RandomForestRegressor(20, random_state=0).fit(X, y)
    compiled = CompiledForest.from_sklearn(forest, responses=(X, y))
    drawn = compiled.responses
    assert drawn is not None
    more = replace(drawn, begin=drawn.begin * np.uint32(times), member=np.repeat(drawn.member, times))
    walker = Walker.of([replace(compiled, responses=more)], Levels((0.05, 0.5, 0.95), "responses"))
    codes = walker.responses[0].codes[0]
    assert (codes.single, codes.leaf.dtype.itemsize) == (True, width)
    summed = replace(walker, responses=(replace(walker.responses[0], codes=()),))
    columns, everywhere = list(np.ascontiguousarray(X.T, dtype=np.float32)), [np.ones(len(X), dtype=bool)]
    levels = Levels((0.05, 0.5, 0.95), "responses")
    fast, slow = (each.walk(columns, everywhere, levels=levels)[0].quantiles for each in (walker, summed))
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-12)
