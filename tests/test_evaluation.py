"""Every score is defined once, and a name means one thing wherever it is printed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tpsoil import evaluation, forest, solum
from tpsoil.errors import InputError
from tpsoil.evaluation import MEASURES, make_folds, score

VALUES = st.floats(-50, 50).map(lambda value: round(value, 3))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=3, max_size=30))
def test_measures_equal_those_of_other_libraries(pairs: list[tuple[float, float]]) -> None:
    observed, predicted = np.array(pairs).T
    got = score(observed, predicted)
    assert got["rmse"] == pytest.approx(metrics.root_mean_squared_error(observed, predicted), abs=1e-12)
    assert got["mae"] == pytest.approx(metrics.mean_absolute_error(observed, predicted), abs=1e-12)
    assert got["bias"] == pytest.approx(predicted.mean() - observed.mean(), abs=1e-9)
    if np.ptp(observed) > 0.01:
        assert got["nse"] == pytest.approx(metrics.r2_score(observed, predicted), rel=1e-9, abs=1e-9)
    if np.ptp(observed) > 0.01 and np.ptp(predicted) > 0.01:
        r = np.corrcoef(observed, predicted)[0, 1]
        assert got["squared_correlation"] == pytest.approx(r**2, rel=1e-9, abs=1e-12)
        # Lin's coefficient by its other form: correlation times the bias correction factor.
        ratio = observed.std() / predicted.std()
        shift = (observed.mean() - predicted.mean()) / np.sqrt(observed.std() * predicted.std())
        assert got["ccc"] == pytest.approx(r * 2 / (ratio + 1 / ratio + shift**2), rel=1e-6, abs=1e-9)


def test_one_name_one_number_in_every_table_of_scores() -> None:
    assert forest.score is evaluation.score
    assert not hasattr(solum, "score")
    observed, predicted = [1.2, 1.9, 3.4, 3.9, 5.6], [1, 2, 3, 4, 5]
    got = score(observed, predicted)
    assert got["nse"] == pytest.approx(0.9515859766, abs=1e-10)
    assert got["squared_correlation"] == pytest.approx(0.9736227045, abs=1e-10)
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"slope": rng.random(60)})
    table["Fe"] = 10 * table["slope"] + rng.normal(0, 1, 60)
    trained = forest.train(table, "Fe", ["slope"], trees=10)
    scored = score(trained.predictions["random"]["observed"], trained.predictions["random"]["predicted"])
    columns = set(trained.scores.columns)
    assert columns - {"n"} <= set(MEASURES)
    assert not columns & {"r2", "me", "r2_pearson"}
    assert trained.scores.loc["random", "nse"] == scored["nse"]


def test_undefined_scores_are_nan_and_bad_pairs_are_counted() -> None:
    none = score([], [])
    assert none["n"] == 0
    assert all(np.isnan(none[name]) for name in MEASURES)
    constant = score([1.0, 1.0], [1.0, 2.0])
    assert np.isnan([constant["nse"], constant["squared_correlation"], constant["ccc"]]).all()
    with pytest.raises(InputError, match="1 of 3 pairs are not finite"):
        score([1, 2, np.nan], [1, 2, 3])
    assert score([1, 2, np.nan], [1, 2, 3], missing="omit")["n"] == 2
    with pytest.raises(InputError, match="missing is 'drop', expected one of"):
        score([1, 2, np.nan], [1, 2, 3], missing="drop")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no measure 'nsee'; did you mean 'nse'"):
        score([1], [1], measures=("nsee",))


@pytest.mark.parametrize("kind", ["random", "group", "block"])
def test_folds_depend_on_the_seed_alone(kind: str) -> None:
    rng = np.random.default_rng(0)
    groups, (east, north) = rng.integers(0, 40, 200), rng.uniform(0, 30, (2, 200))
    needed = {"random": {}, "group": {"groups": groups}, "block": {"east": east, "north": north}}[kind]
    first, again, other = (make_folds(200, kind, n_folds=4, seed=seed, **needed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert set(first) == {0, 1, 2, 3}
