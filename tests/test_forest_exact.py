"""The engine falls into scikit-learn's leaf of every tree, and gives its mean and the trees' spread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forests import FEATURES, adversarial_rows, forests, single, sklearn_leaves, sklearn_values, training_rows
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression

from tpsoil.errors import InputError, MissingInputError
from tpsoil.forest import CompiledForest
from tpsoil.kernels.trees import apply_rows

KINDS = tuple(forests())
PART = 50_000


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    return forests()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_falls_into_the_leaf_that_sklearn_finds(fitted: dict[str, Any], kind: str, full: bool) -> None:
    forest = fitted[kind][0]
    compiled = CompiledForest.from_sklearn(forest, accepts_missing=True)
    for part in range(-(-(1_100_000 if full else 12_000) // PART)):
        X = adversarial_rows(forest, PART if full else 12_000, seed=part)
        np.testing.assert_array_equal(compiled.apply(X), sklearn_leaves(forest, X))


@pytest.mark.parametrize("kind", KINDS)
def test_mean_and_spread_are_those_of_the_trees(fitted: dict[str, Any], kind: str) -> None:
    forest, X, _ = fitted[kind]
    compiled = CompiledForest.from_sklearn(forest, accepts_missing=True)
    rows = single(adversarial_rows(forest, 5000, seed=9, missing="missing" in kind))
    rows[np.isinf(rows)] = 0.25  # scikit-learn's predict refuses them
    forest.n_jobs = 1
    mean, sd = compiled.predict(rows)
    # One thread adds the trees in their order, and so does the engine: equal to the last bit.
    with np.errstate(all="ignore"):  # its check for infinite values sums them all
        expected = forest.predict(rows)
    np.testing.assert_array_equal(mean, expected)
    if compiled.trees == 1:
        assert np.isnan(sd).all()
        return
    values = sklearn_values(forest, rows)
    spread = values.std(axis=0, ddof=1)
    # numpy's own mean of equal values can differ from them in the last bit, and its sd from 0.
    alike = np.ptp(values, axis=0) == 0
    assert (sd[alike] == 0).all()
    np.testing.assert_allclose(sd[~alike], spread[~alike], rtol=1e-9, atol=0)
    np.testing.assert_allclose(compiled.predict(X)[0], forest.predict(X), rtol=1e-12)


def test_spread_survives_values_far_from_zero() -> None:
    # sum(x^2) - n mean^2 in doubles loses everything here: the mean is 1e12 times the spread.
    X, y = training_rows()
    forest = RandomForestRegressor(50, random_state=0).fit(X, 1e9 + y * 1e-3)
    _, sd = CompiledForest.from_sklearn(forest).predict(X)
    values = sklearn_values(forest, X)
    np.testing.assert_allclose(sd, (values - values[0]).std(axis=0, ddof=1), rtol=1e-9)


def test_thresholds_round_down_so_that_float32_decides_as_float64(fitted: dict[str, Any]) -> None:
    forest = fitted["default"][0]
    compiled = CompiledForest.from_sklearn(forest)
    split = compiled.left >= 0
    exact = np.concatenate([e.tree_.threshold for e in forest.estimators_])[split]
    nearest = exact.astype(np.float32)
    assert (compiled.threshold[split] <= exact).all()
    assert (np.nextafter(compiled.threshold[split], np.float32(np.inf)) > exact).all()
    assert (nearest != compiled.threshold[split]).any(), "the case must occur, else this proves nothing"


def test_the_reference_walk_agrees(fitted: dict[str, Any]) -> None:
    forest = fitted["missing"][0]
    c = CompiledForest.from_sklearn(forest)
    X = adversarial_rows(forest, 3000)
    rows = single(X)
    leaves = apply_rows(rows, c.root, c.left, c.right, c.feature, c.threshold, c.missing_left) - c.root
    np.testing.assert_array_equal(leaves, sklearn_leaves(forest, X))


def test_training_with_missing_values_is_read_from_the_trees(fitted: dict[str, Any]) -> None:
    for kind in KINDS:
        assert CompiledForest.from_sklearn(fitted[kind][0]).accepts_missing == ("missing" in kind), kind


def test_a_row_with_a_missing_feature_is_nan_unless_trained_so(fitted: dict[str, Any]) -> None:
    X, _ = training_rows(50, seed=8)
    X[::3, 2] = np.nan
    plain = CompiledForest.from_sklearn(fitted["default"][0])
    mean, sd = plain.predict(X)
    np.testing.assert_array_equal(np.isnan(mean), np.isnan(X[:, 2]))
    np.testing.assert_array_equal(np.isnan(sd), np.isnan(X[:, 2]))
    assert (plain.apply(X)[::3] == -1).all()
    assert not np.isnan(CompiledForest.from_sklearn(fitted["missing"][0]).predict(X)[0]).any()


def test_a_row_of_a_class_that_training_never_saw_has_no_leaf(fitted: dict[str, Any]) -> None:
    X, _ = training_rows(50, seed=8)
    X[:, 0] = np.arange(50) % 3
    forest = CompiledForest.from_sklearn(fitted["default"][0], categories={"x0": [0, 1]})
    np.testing.assert_array_equal((forest.apply(X) == -1).all(axis=1), X[:, 0] == 2)
    np.testing.assert_array_equal(np.isnan(forest.predict(X, unseen="nan")[0]), X[:, 0] == 2)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int16", "uint8", "bool"])
def test_any_number_is_taken(fitted: dict[str, Any], dtype: str) -> None:
    forest = fitted["default"][0]
    rows = np.random.default_rng(2).integers(0, 9, (90, 6)).astype(dtype)
    np.testing.assert_array_equal(CompiledForest.from_sklearn(forest).predict(rows)[0], forest.predict(rows))


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 127, 1000])
def test_any_number_of_rows(fitted: dict[str, Any], n: int) -> None:
    forest, X, _ = fitted["default"]
    compiled = CompiledForest.from_sklearn(forest)
    rows = np.resize(X, (n, 6))
    mean, sd, levels = compiled.predict(rows, (0.5,))
    assert (mean.shape, sd.shape, levels.shape) == ((n,), (n,), (n, 1))
    if n:
        np.testing.assert_array_equal(mean, forest.predict(rows))
    outputs = CompiledForest.from_sklearn(fitted["outputs"][0]).predict(rows, (0.1, 0.9))
    assert [part.shape for part in outputs] == [(n, 3), (n, 3), (n, 3, 2)]


def test_layouts_blocks_and_threads_do_not_matter(fitted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    forest = fitted["batches"][0]
    compiled = CompiledForest.from_sklearn(forest)
    rows = adversarial_rows(forest, 4000, missing=False)
    whole = compiled.predict(rows, (0.2, 0.9))
    readonly = rows.copy()
    readonly.flags.writeable = False
    before = readonly.copy()
    layouts = [readonly, np.asfortranarray(rows), np.repeat(rows, 2, axis=0)[::2], rows[::-1][::-1]]
    for other in layouts:
        for a, b in zip(whole, compiled.predict(other, (0.2, 0.9), threads=2)):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(readonly, before)
    monkeypatch.setattr("tpsoil.forest.compiled.ROWS", 333)
    monkeypatch.setattr("tpsoil.forest.walking.BLOCK", 128)
    monkeypatch.setattr("tpsoil.forest.walking.BATCH", 3)
    for a, b in zip(whole, compiled.predict(rows, (0.2, 0.9), threads=3)):
        np.testing.assert_array_equal(a, b)
    for a, row in zip(whole[0], rows[:20]):
        assert compiled.predict(row[None])[0][0] == a


def test_a_table_is_matched_by_name(fitted: dict[str, Any]) -> None:
    forest, X, _ = fitted["default"]
    compiled = CompiledForest.from_sklearn(forest, FEATURES)
    table = pd.DataFrame(X, columns=FEATURES)[list(reversed(FEATURES))].assign(extra="text")
    np.testing.assert_array_equal(compiled.predict(table)[0], forest.predict(X))
    with pytest.raises(MissingInputError, match=r"2 of 6 features are missing: no column 'tiny'.*no column 'close'"):
        compiled.predict(table.drop(columns=["tiny", "close"]))


def test_names_come_from_the_forest_where_it_has_them() -> None:
    X, y = training_rows(60)
    table = pd.DataFrame(X, columns=FEATURES)
    assert CompiledForest.from_sklearn(RandomForestRegressor(2).fit(table, y)).features == FEATURES
    assert CompiledForest.from_sklearn(RandomForestRegressor(2).fit(X, y)).features[:2] == ("x0", "x1")


def test_what_is_no_regression_forest_is_refused() -> None:
    X, y = training_rows(60)
    for model in (
        GradientBoostingRegressor(n_estimators=2).fit(X, y),
        RandomForestClassifier(2).fit(X, y > 0),
        LinearRegression(),
        None,
    ):
        with pytest.raises(InputError, match=f"a {type(model).__name__} came, expected a fitted RandomForestRegressor"):
            CompiledForest.from_sklearn(model)
    with pytest.raises(InputError, match="RandomForestRegressor is not fitted; call fit"):
        CompiledForest.from_sklearn(RandomForestRegressor())


def test_names_that_do_not_fit_are_refused(fitted: dict[str, Any]) -> None:
    forest = fitted["default"][0]
    with pytest.raises(InputError, match=r"5 feature names were given.*trained on 6 columns"):
        CompiledForest.from_sklearn(forest, FEATURES[:5])
    with pytest.raises(InputError, match=r"6 feature names were given \(5 distinct\)"):
        CompiledForest.from_sklearn(forest, ["plain", *FEATURES[:5]])
    with pytest.raises(InputError, match="the forest has 1 outputs"):
        CompiledForest.from_sklearn(forest, targets=("iron", "zinc"))
    with pytest.raises(InputError, match="categories name 'clases'; did you mean 'classes'"):
        CompiledForest.from_sklearn(forest, FEATURES, categories={"clases": [1]})
    compiled = CompiledForest.from_sklearn(forest)
    with pytest.raises(InputError, match=r"X has shape \(3, 5\), expected \(n, 6\)"):
        compiled.predict(np.zeros((3, 5)))
    with pytest.raises(InputError, match=r"X has shape \(6,\)"):
        compiled.predict(np.zeros(6))
    with pytest.raises(InputError, match="expected numbers"):
        compiled.predict(np.full((2, 6), "x"))


def test_a_class_that_training_never_saw(fitted: dict[str, Any]) -> None:
    forest, X, _ = fitted["default"]
    compiled = CompiledForest.from_sklearn(forest, FEATURES, categories={"classes": range(9)})
    rows = X[:10].copy()
    rows[3, 4], rows[5, 4], rows[6, 4] = 12, 3.5, np.nan
    with pytest.raises(InputError, match=r"'classes' has class 3.5, 12 in 2 cells.*it saw 0, 1, .*unseen='nan'"):
        compiled.predict(rows)
    mean = compiled.predict(rows, unseen="nan")[0]
    assert np.flatnonzero(np.isnan(mean)).tolist() == [3, 5, 6]
    with pytest.raises(InputError, match=r"unseen is 'ignore', expected one of \['nan', 'error'\]"):
        compiled.predict(rows, unseen="ignore")


@pytest.mark.nojit
def test_with_jit_off() -> None:
    code = """
import numpy as np
from forests import adversarial_rows, forests, sklearn_leaves
from tpsoil.forest import CompiledForest
from tpsoil.forest import packing
every = forests()
for kind in ("default", "missing", "outputs", "constant"):
    forest, X, y = every[kind]
    rows = adversarial_rows(forest, 150, missing=kind == "missing")
    for narrow in (65533, 1):
        packing.NARROW_THRESHOLDS = narrow
        responses = (X, y) if kind == "default" else None
        compiled = CompiledForest.from_sklearn(forest, accepts_missing=True, responses=responses)
        assert (compiled.apply(rows) == sklearn_leaves(forest, rows)).all()
        found = compiled.predict(X[:40], (0.1, 0.8))
        assert (found[0] == forest.predict(X[:40])).all()
        assert np.isfinite(found[2]).all()
"""
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
