"""The compiled grower against scikit-learn: the same tree where nothing is random, else the same kind of forest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, kstest, uniform
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from tpsoil.errors import InputError
from tpsoil.forest import CompiledForest, SoilForest
from tpsoil.forest.growing import grow
from tpsoil.forest.quantiles import in_bag_counts

Rows = tuple[Any, Any]


def friedman(rng: Any, n: int = 150) -> Rows:
    X = rng.random((n, 7))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    return X, y + rng.normal(0, 1, n)


def classes(rng: Any, n: int = 160) -> Rows:
    X = rng.integers(0, 5, (n, 6)).astype(float)
    return X, (X[:, 0] == 2) * 3 + X[:, 1] + rng.normal(0, 1, n)


def skewed(rng: Any, n: int = 180) -> Rows:
    X = rng.lognormal(0, 2, (n, 5))
    return X, np.exp(rng.normal(0, 1, n)) * (1 + X[:, 0])


def missing(rng: Any, n: int = 200) -> Rows:
    X, y = friedman(rng, n)
    X[rng.random(X.shape) < 0.2] = np.nan
    return X, y + 4 * np.isnan(X[:, 5])


def correlated(rng: Any, n: int = 150) -> Rows:
    common = rng.normal(size=(n, 1))
    X = common + rng.normal(0, 0.3, (n, 9))
    return X, common[:, 0] + rng.normal(0, 0.5, n)


def noise(rng: Any, n: int = 120) -> Rows:
    return rng.normal(size=(n, 3)).round(1), rng.normal(size=n)


DATA: dict[str, Callable[..., Rows]] = {f.__name__: f for f in (friedman, classes, skewed, missing, correlated, noise)}


def gain(y: Any, w: Any, left: Any) -> float:
    """Weighted sum of squares explained by a split."""
    parts = [(w[side].sum(), (w[side] * y[side]).sum()) for side in (left, ~left)]
    return sum(s * s / total for total, s in parts) - (w * y).sum() ** 2 / w.sum()


def split_of(tree: Any, node: int, X: Any) -> Any:
    values = X[:, tree.feature[node]].astype(np.float32)
    return np.where(np.isnan(values), tree.missing_go_to_left[node] == 1, values <= tree.threshold[node])


def same_up_to_ties(ours: Any, theirs: Any, X: Any, y: Any, w: Any) -> tuple[int, int]:
    """Nodes that are equal, and branches that end at a tie; anything else fails."""
    equal, ties = 0, 0
    y = y - np.average(y, weights=w)
    stack = [(0, 0, w > 0)]
    while stack:
        a, b, rows = stack.pop()
        np.testing.assert_allclose(ours.value[a], theirs.value[b], rtol=1e-9, atol=1e-9)
        assert ours.n_node_samples[a] == theirs.n_node_samples[b] == rows.sum()
        np.testing.assert_allclose(ours.weighted_n_node_samples[a], theirs.weighted_n_node_samples[b], rtol=1e-12)
        np.testing.assert_allclose(ours.impurity[a], theirs.impurity[b], rtol=1e-7, atol=1e-9)
        if (ours.children_left[a] < 0) != (theirs.children_left[b] < 0):
            assert theirs.impurity[b] < 1e-9  # a pure node that scikit-learn's rounding splits, or the reverse
            continue
        if ours.children_left[a] < 0:
            equal += 1
            continue
        left, other = split_of(ours, a, X)[rows], split_of(theirs, b, X)[rows]
        if ours.feature[a] == theirs.feature[b] and (left == other).all():
            assert ours.threshold[a] == theirs.threshold[b]
            assert ours.missing_go_to_left[a] == theirs.missing_go_to_left[b]
            equal += 1
            members = np.flatnonzero(rows)
            for child, side in (("children_left", left), ("children_right", ~left)):
                part = np.zeros(len(X), dtype=bool)
                part[members[side]] = True
                stack.append((getattr(ours, child)[a], getattr(theirs, child)[b], part))
        else:
            scale = (w[rows] * y[rows] ** 2).sum()
            assert abs(gain(y[rows], w[rows], left) - gain(y[rows], w[rows], other)) <= 1e-9 * max(scale, 1e-9)
            ties += 1
    return equal, ties


def largest_gain(X: Any, y: Any, w: Any, least_rows: int, least_weight: float) -> float:
    """Gain of the best of all splits of these rows, by trying each: feature, threshold, and side of missing values."""
    best, m = -np.inf, len(y)
    for column in X.T:
        gap = np.isnan(column)
        order = np.argsort(column[~gap], kind="stable")
        present = np.flatnonzero(~gap)[order]
        for missing_left in (False, True) if gap.any() else (False,):
            rows = np.concatenate([np.flatnonzero(gap), present] if missing_left else [present, np.flatnonzero(gap)])
            start = int(gap.sum()) if missing_left else 0
            values = column[present]
            # A cut after each value that the next one exceeds, and one between the present and the missing values.
            cuts = start + 1 + np.flatnonzero(values[1:] > values[:-1] + np.float32(1e-7))
            if gap.any() and not missing_left and len(present):
                cuts = np.append(cuts, len(present))
            left, total = np.cumsum(w[rows]), np.cumsum((w * y)[rows])
            cuts = cuts[(cuts >= least_rows) & (m - cuts >= least_rows)] - 1
            cuts = cuts[(left[cuts] >= least_weight) & (left[-1] - left[cuts] >= least_weight)]
            if len(cuts):
                right, rest = left[-1] - left[cuts], total[-1] - total[cuts]
                gains = total[cuts] ** 2 / left[cuts] + rest**2 / right - total[-1] ** 2 / left[-1]
                best = max(best, float(gains.max()))
    return best


def each_split_is_the_best(tree: Any, X: Any, y: Any, w: Any, settings: dict[str, Any]) -> bool:
    """Whether nodes have the mean of the rows that reach them, no split could be better, and no leaf could be split."""
    n, offset = len(y), np.average(y, weights=w)
    y = y - offset
    leaf, split = settings.get("min_samples_leaf", 1), settings.get("min_samples_split", 2)
    least_rows = leaf if isinstance(leaf, int) else int(np.ceil(leaf * n))
    least_split = max(split if isinstance(split, int) else int(np.ceil(split * n)), 2 * least_rows)
    least_weight = settings.get("min_weight_fraction_leaf", 0) * w.sum()
    stack = [(0, 0, w > 0)]
    while stack:
        node, depth, rows = stack.pop()
        own, target, weight = X[rows], y[rows], w[rows]
        mean = offset + np.average(target, weights=weight)
        if tree.n_node_samples[node] != len(target) or not np.isclose(tree.value[node, 0, 0], mean, rtol=1e-9):
            return False
        scale = 1e-9 * max((weight * target**2).sum(), 1e-9)
        best = largest_gain(own, target, weight, least_rows, least_weight)
        if tree.children_left[node] < 0:
            final = depth >= settings.get("max_depth", np.inf) or len(target) < least_split or np.ptp(target) < 1e-12
            slight = best / w.sum() <= settings.get("min_impurity_decrease", 0) + 1e-12
            if not (final or slight or weight.sum() < 2 * least_weight):
                return False
            continue
        left = split_of(tree, node, X)
        if gain(target, weight, left[rows]) < best - scale:
            return False
        stack += [
            (tree.children_left[node], depth + 1, rows & left),
            (tree.children_right[node], depth + 1, rows & ~left),
        ]
    return True


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_depth": 4},
        {"min_samples_leaf": 5},
        {"min_samples_leaf": 0.06, "min_samples_split": 0.2},
        {"min_samples_split": 12},
        {"min_impurity_decrease": 0.05},
        {"min_weight_fraction_leaf": 0.04},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_scikit_learns_tree_up_to_ties(data: str, settings: dict[str, Any], weighted: bool) -> None:
    rng = np.random.default_rng(5)
    X, y = DATA[data](rng)
    X = np.float32(X)
    weight = rng.integers(0, 4, len(y)) * 0.5 if weighted else None
    forest = RandomForestRegressor(1, max_features=1.0, bootstrap=False, random_state=0, **settings)
    ours = grow(forest, X, y, sample_weight=weight, engine="compiled").estimators_[0].tree_
    theirs = DecisionTreeRegressor(random_state=0, **settings).fit(X, y, weight).tree_
    w = np.ones(len(y)) if weight is None else weight
    assert each_split_is_the_best(ours, X, y, w, settings)
    if not each_split_is_the_best(theirs, X, y, w, settings):
        # Before 1.9 scikit-learn's trees with missing values are not the best: they are no oracle there.
        assert data == "missing"
        return
    equal, ties = same_up_to_ties(ours, theirs, X, y, w)
    print(data, settings, f"{equal} nodes equal, {ties} ties of {theirs.node_count}")
    assert equal > 0.25 * min(theirs.node_count, 20)
    if settings == {"min_samples_leaf": 5} and not weighted and data in ("friedman", "skewed"):
        assert (ties, equal) == (0, theirs.node_count)  # no ties: continuous features, larger nodes


def test_values_within_a_ten_millionth_are_not_split() -> None:
    X = np.float32([[0.5], [0.5 + 6e-8], [0.5 + 5e-7], [1e6], [2e6]])
    y = np.array([1.0, 9.0, 2.0, 7.0, 3.0])
    tree = grow(RandomForestRegressor(1, bootstrap=False, random_state=0), X, y, engine="compiled").estimators_[0].tree_
    leaves = tree.apply(X)
    assert leaves[0] == leaves[1]
    assert len(set(leaves)) == 4
    assert tree.value[leaves, 0, 0].tolist() == [5, 5, 2, 7, 3]
    below, above = float(X[1, 0]), float(X[2, 0])
    assert sorted(tree.threshold[tree.children_left >= 0])[0] == below / 2 + above / 2


def errors(forest: Any, X: Any, y: Any) -> tuple[float, float, float, float]:
    """Out-of-bag error, mean depth, number of leaves, and importance of the first feature."""
    rows = np.float32(X)
    values = np.stack([tree.tree_.predict(rows)[:, 0] for tree in forest.estimators_])
    out = in_bag_counts(forest) == 0
    seen = out.any(axis=0)
    mean = (values * out).sum(axis=0)[seen] / out.sum(axis=0)[seen]
    trees = [tree.tree_ for tree in forest.estimators_]
    return (
        float(((mean - y[seen]) ** 2).mean()),
        float(np.mean([tree.max_depth for tree in trees])),
        float(np.mean([tree.n_leaves for tree in trees])),
        float(forest.feature_importances_[0]),
    )


@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesRegressor])
@pytest.mark.parametrize("data", DATA)
def test_forests_are_drawn_from_the_same_distribution(data: str, kind: type[Any], full: bool) -> None:
    """A Kolmogorov-Smirnov test does not tell them apart: four measures, six data sets, 200 seeds at full size."""
    X, y = DATA[data](np.random.default_rng(11))
    seeds, options = (200 if full else 25), {"max_features": 0.4, "min_samples_leaf": 2, "bootstrap": True}
    measures: dict[str, list[tuple[float, ...]]] = {"compiled": [], "scikit-learn": []}
    for engine, results in measures.items():
        for seed in range(seeds):
            # Independent seeds: with equal ones both would draw the same rows.
            state = seed + 10_000 * (engine == "compiled")
            forest = kind(15, random_state=state, **options)
            results.append(errors(grow(forest, X, y, engine=engine), X, y))
    pairs = zip(("error", "depth", "leaves", "importance"), *(np.array(r).T for r in measures.values()))
    for name, ours, theirs in pairs:
        p = float(ks_2samp(ours, theirs).pvalue)
        print(f"{data} {name}: mean {ours.mean():.4g} and {theirs.mean():.4g}, p = {p:.3f}")
        assert p > 0.05 / 24  # Bonferroni: 24 tests, 5 % in all


@pytest.mark.parametrize("weighted", [False, True])
def test_random_splits_are_uniform_between_the_lowest_and_the_highest_value(weighted: bool) -> None:
    """Stumps of one feature: the distribution of the threshold is known, and scikit-learn's sides and means follow."""
    rng = np.random.default_rng(3)
    X, y = rng.lognormal(0, 1, (60, 1)).astype(np.float32), rng.normal(size=60)
    weight = rng.integers(0, 3, 60) * 0.5 if weighted else None
    used = X[:, 0] if weight is None else X[weight > 0, 0]
    forest = ExtraTreesRegressor(400, max_depth=1, random_state=0)
    trees = [tree.tree_ for tree in grow(forest, X, y, sample_weight=weight, engine="compiled").estimators_]
    thresholds = np.array([tree.threshold[0] for tree in trees])
    assert kstest(thresholds, uniform(used.min(), used.max() - used.min()).cdf).pvalue > 0.01
    for tree in trees[:20]:
        left = X[:, 0] <= tree.threshold[0]
        for child, side in ((tree.children_left[0], left), (tree.children_right[0], ~left)):
            own = np.ones(60) if weight is None else weight
            assert tree.n_node_samples[child] == (own[side] > 0).sum()
            np.testing.assert_allclose(tree.value[child, 0, 0], np.average(y[side], weights=own[side]), rtol=1e-12)
        assert tree.missing_go_to_left[0] == (tree.n_node_samples[1] > tree.n_node_samples[2])


def test_random_splits_send_missing_values_to_either_side_and_leave_no_leaf_too_small() -> None:
    # A constant feature, and one that is constant but for missing values.
    X = np.float32([[1, 5], [1, np.nan], [1, 5], [1 + 6e-8, np.nan]])
    forest = grow(ExtraTreesRegressor(60, random_state=1, max_depth=1), X, np.arange(4.0), engine="compiled")
    trees = [tree.tree_ for tree in forest.estimators_]
    assert {tree.node_count for tree in trees} == {1, 3}
    for tree in trees:
        # The threshold is the value itself, so that only missing values on the right leave two children.
        assert tree.node_count == 1 or (tree.feature[0], tree.threshold[0], tree.missing_go_to_left[0]) == (1, 5, 0)
    gaps, z = missing(np.random.default_rng(1))
    forest = grow(ExtraTreesRegressor(30, random_state=0, min_samples_leaf=7), gaps, z, engine="compiled")
    leaves = [tree.tree_.n_node_samples[tree.tree_.children_left < 0].min() for tree in forest.estimators_]
    assert min(leaves) == 7
    compiled = CompiledForest.from_sklearn(forest)
    assert compiled.accepts_missing
    np.testing.assert_array_equal(compiled.apply(gaps), forest.apply(gaps))
    for tree in forest.estimators_:
        rows = np.bincount(tree.apply(np.float32(gaps)), minlength=tree.tree_.node_count)
        end = tree.tree_.children_left < 0
        assert (rows[end] == tree.tree_.n_node_samples[end]).all()
    both = {bool(left) for tree in forest.estimators_ for left in tree.tree_.missing_go_to_left}
    assert both == {False, True}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RandomForestRegressor, {}),
        (RandomForestRegressor, {"bootstrap": False, "max_features": 2}),
        (RandomForestRegressor, {"max_samples": 0.4}),
        (ExtraTreesRegressor, {}),
        (ExtraTreesRegressor, {"bootstrap": True, "max_samples": 0.4}),
    ],
)
def test_the_result_does_not_depend_on_threads_or_batches(
    kind: type[Any], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = friedman(np.random.default_rng(0))
    forests = []
    for threads, batch in ((1, 64), (3, 64), (2, 5)):
        monkeypatch.setattr("tpsoil.forest.growing.BATCH", batch)
        forests.append(grow(kind(23, random_state=4, **options), X, y, threads=threads))
    arrays = [CompiledForest.from_sklearn(forest) for forest in forests]
    assert arrays[0].digest == arrays[1].digest == arrays[2].digest
    other = grow(kind(23, random_state=5, **options), X, y)
    assert CompiledForest.from_sklearn(other).digest != arrays[0].digest


def test_it_is_a_scikit_learn_forest() -> None:
    """Pickle, `clone`, prediction, drawn rows, names and parameters; and back to flat arrays."""
    import pickle

    from sklearn.base import clone

    X, y = friedman(np.random.default_rng(0))
    table = pd.DataFrame(X, columns=list("abcdefg"))
    forest = grow(RandomForestRegressor(9, random_state=3, max_depth=6), table, y, engine="compiled")
    theirs = RandomForestRegressor(9, random_state=3, max_depth=6).fit(table, y)
    assert forest.get_params() == {**theirs.get_params(), "n_jobs": 1}
    assert [tree.get_params() for tree in forest] == [tree.get_params() for tree in theirs]
    assert all(map(np.array_equal, forest.estimators_samples_, theirs.estimators_samples_))
    assert list(forest.feature_names_in_) == list("abcdefg")
    assert clone(forest).fit(table, y).predict(table).shape == (150,)
    again = pickle.loads(pickle.dumps(forest))
    np.testing.assert_array_equal(again.predict(table), forest.predict(table))
    compiled = CompiledForest.from_sklearn(forest, responses=(table, y))
    np.testing.assert_array_equal(compiled.predict(table)[0], forest.predict(table))
    np.testing.assert_array_equal(compiled.apply(table), forest.apply(table))
    assert not compiled.accepts_missing
    gaps, z = missing(np.random.default_rng(1))
    kept = grow(RandomForestRegressor(9, random_state=3), gaps, z, engine="compiled")
    compiled = CompiledForest.from_sklearn(kept)
    assert compiled.accepts_missing
    np.testing.assert_array_equal(compiled.apply(gaps), kept.apply(gaps))


def test_each_leaf_is_the_mean_of_its_rows_far_from_zero() -> None:
    X, y = friedman(np.random.default_rng(0))
    y = 1e9 + y * 1e-3
    forest = grow(RandomForestRegressor(3, random_state=0, bootstrap=False), X, y, engine="compiled")
    for tree in forest.estimators_:
        assert tree.tree_.n_leaves == len(y)
        np.testing.assert_array_equal(tree.predict(X), y)


def test_what_it_does_not_have_is_grown_by_scikit_learn_or_rejected() -> None:
    X, y = friedman(np.random.default_rng(0))
    both = np.stack([y, -y], axis=1)
    for forest, target, name in (
        (RandomForestRegressor(2, criterion="absolute_error"), y, "criterion='absolute_error'"),
        (RandomForestRegressor(2, max_leaf_nodes=9), y, "max_leaf_nodes=9"),
        (RandomForestRegressor(2, ccp_alpha=0.1), y, "ccp_alpha=0.1"),
        (RandomForestRegressor(2, monotonic_cst=[1] * 7), y, "monotonic_cst"),
        (ExtraTreesRegressor(2, max_leaf_nodes=9), y, "max_leaf_nodes=9"),
        (RandomForestRegressor(2), both, "forest of 2 outputs"),
    ):
        with pytest.raises(InputError, match=f"the compiled grower has no {name}.*engine='scikit-learn'"):
            grow(forest.set_params(random_state=1), X, target, engine="compiled")
        own = grow(forest, X, target)
        np.testing.assert_array_equal(own.predict(X), forest.fit(X, target).predict(X))
    with pytest.raises(InputError, match="engine is 'sklearn', expected one of .*; did you mean 'scikit-learn'"):
        grow(RandomForestRegressor(2), X, y, engine="sklearn")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="infinity"):
        grow(RandomForestRegressor(2, random_state=0), np.full((9, 2), np.inf), np.arange(9.0), engine="compiled")


def test_weights_are_probabilities_or_factors_as_in_scikit_learn() -> None:
    X, y = friedman(np.random.default_rng(0))
    weight = np.where(np.arange(len(y)) < 75, 1.0, 0.0)
    forest = grow(RandomForestRegressor(20, random_state=0), X, y, sample_weight=weight, engine="compiled")
    theirs = RandomForestRegressor(20, random_state=0).fit(X, y, weight)
    for ours, tree in zip(forest.estimators_, theirs.estimators_):
        assert ours.tree_.weighted_n_node_samples[0] == tree.tree_.weighted_n_node_samples[0]
        assert ours.tree_.n_node_samples[0] == tree.tree_.n_node_samples[0]
        np.testing.assert_allclose(ours.tree_.value[0], tree.tree_.value[0], rtol=1e-12)
    forest = RandomForestRegressor(2, bootstrap=False, random_state=0)
    with pytest.raises(InputError, match=r"the smallest sample weight is -0.5, expected none below 0"):
        grow(forest, X, y, sample_weight=weight - 0.5, engine="compiled")
    with pytest.raises(InputError, match="every sample weight is zero, expected one above 0"):
        grow(forest, X, y, sample_weight=np.zeros(len(y)), engine="compiled")


def test_the_estimator_has_both_growers() -> None:
    X, y = friedman(np.random.default_rng(0))
    compiled = SoilForest(10, engine="compiled").fit(X, y)
    assert compiled.compiled_.digest == SoilForest(10).fit(X, y).compiled_.digest
    random = SoilForest(10, engine="compiled", splitter="random").fit(X, y)
    assert (type(random.forest_), random.forest_.bootstrap) == (ExtraTreesRegressor, True)
    assert random.compiled_.digest == SoilForest(10, splitter="random").fit(X, y).compiled_.digest
    own = ExtraTreesRegressor(10, max_features=1 / 3, bootstrap=True, random_state=0).fit(X, y).predict(X)
    theirs = SoilForest(10, engine="scikit-learn", splitter="random").fit(X, y)
    np.testing.assert_array_equal(theirs.predict(X), own)
    plain = SoilForest(10, engine="scikit-learn").fit(X, y)
    assert compiled.compiled_.digest != plain.compiled_.digest
    np.testing.assert_array_equal(
        plain.predict(X), RandomForestRegressor(10, max_features=1 / 3, random_state=0).fit(X, y).predict(X)
    )


@pytest.mark.nojit
def test_with_jit_off_it_grows_the_same_trees(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from test_compiled_growing import missing
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from tpsoil.forest import CompiledForest
from tpsoil.forest.growing import grow
X, y = missing(np.random.default_rng(0), 60)
for kind in (RandomForestRegressor, ExtraTreesRegressor):
    forest = grow(kind(3, random_state=1, max_features=2), X, y, engine="compiled")
    print(CompiledForest.from_sklearn(forest).digest)
"""
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent)])
    digests = set()
    for off in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "NUMBA_DISABLE_JIT": off, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        digests.add(done.stdout)
    assert len(digests) == 1
