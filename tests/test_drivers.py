"""Importance against its definition, betasq and lmg, partial dependence, accumulated local effects."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from test_training import FEATURES, plots

from tpsoil.errors import InputError
from tpsoil.forest import held_out_importance, permutation_importance, train
from tpsoil.forest.importance import scaled_increase
from tpsoil.micronutrients import accumulated_local_effects, betasq, importance, lmg, partial_dependence, vif

# -- importance


def rows_of(n: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=["a", "b", "twin", "noise"]).astype(np.float32)
    X["twin"] = X["a"] + rng.normal(0, 0.05, n).astype(np.float32)
    return X, (3 * X["a"] + X["b"] ** 2 + rng.normal(0, 0.2, n)).to_numpy(dtype=np.float64)


def test_incmse_equals_a_slow_transcription_of_the_definition() -> None:
    """R's randomForest: per tree, out of bag, one row at a time; the drawn rows rebuilt from the tree's seed."""
    X, y = rows_of()
    forest = RandomForestRegressor(30, random_state=5).fit(X, y)
    got = importance(forest, X, y, seed=9)
    values, n, T = X.to_numpy(), len(y), 30
    delta = np.zeros((T, 4))
    streams = np.random.SeedSequence([9, 77]).spawn(T)
    for t, tree in enumerate(forest.estimators_):
        drawn = np.random.RandomState(tree.random_state).randint(0, n, n)
        out = [i for i in range(n) if i not in set(drawn.tolist())]
        before = np.mean([(tree.predict(values[[i]])[0] - y[i]) ** 2 for i in out])
        rng = np.random.default_rng(streams[t])
        for j in range(4):
            order = rng.permutation(len(out))
            after = []
            for k, i in enumerate(out):
                row = values[[i]].copy()
                row[0, j] = values[out[order[k]], j]
                after.append((tree.predict(row)[0] - y[i]) ** 2)
            delta[t, j] = np.mean(after) - before
    mean = delta.mean(axis=0)
    error = np.sqrt(((delta**2).mean(axis=0) - mean**2) / T)
    expected = pd.Series(mean / error, index=X.columns)
    for name in X.columns:
        assert got.loc[name, "increase_mse"] == pytest.approx(expected[name], rel=1e-9)
        assert got.loc[name, "mean_increase"] == pytest.approx(mean[list(X.columns).index(name)], rel=1e-9)
    assert got.index.tolist() == expected.sort_values(ascending=False).index.tolist()


def test_scaling_of_the_sheet() -> None:
    assert scaled_increase(np.array([[1.0], [2], [3]]), ["x"])["increase_mse"].iloc[0] == pytest.approx(
        4.242640687, abs=1e-9
    )
    # No division where the standard error vanishes: a constant rise, and a covariate no tree uses.
    flat = scaled_increase(np.array([[2.0, 0.0]] * 3), ["x", "unused"])["increase_mse"]
    assert flat.tolist() == [2.0, 0.0]


def test_a_set_of_correlated_covariates_matters_more_than_its_members() -> None:
    X, y = rows_of()
    forest = RandomForestRegressor(60, random_state=1, max_features=0.5).fit(X, y)
    alone = importance(forest, X, y)
    together = importance(forest, X, y, sets={"pair": ["a", "twin"], "b": ["b"], "noise": ["noise"]})
    assert together.loc["pair", "mean_increase"] > 1.5 * alone.loc[["a", "twin"], "mean_increase"].max()
    assert together.index[-1] == "noise"
    assert alone.loc["noise", "increase_mse"] < 2
    many = importance(forest, X, y, repeats=5)
    assert many.loc["a", "standard_error"] < alone.loc["a", "standard_error"] * 1.05


def test_importance_of_a_trained_forest_goes_by_covariate() -> None:
    table = plots(50)
    trained = train(table, "Fe", FEATURES, "site", trees=25, categories="onehot")
    result = importance(trained)
    assert sorted(result.index) == sorted(FEATURES)  # sine and cosine, dummies: permuted as one
    assert set(result.index[:2]) == {"slope", "land_cover"}
    grouped = importance(trained, sets={"terrain": ["slope", "aspect"]})
    assert grouped.loc["terrain", "rank"] == 1
    with pytest.raises(InputError, match="set 'x' names 'slop'; did you mean 'slope'"):
        importance(trained, sets={"x": ["slop"]})
    with pytest.raises(InputError, match="pass X= and y="):
        importance(trained.forest)
    X, y = rows_of(40)
    with pytest.raises(InputError, match="without bootstrapping"):
        importance(RandomForestRegressor(3, bootstrap=False, random_state=0).fit(X, y), X, y)


# -- held-out rows


def many_sites(seed: int = 0) -> pd.DataFrame:
    """Triplicates of 150 sites: temperature is large and noisy, slope small and exact, curvature nothing."""
    rng = np.random.default_rng(seed)
    sites = pd.DataFrame(rng.random((150, 3)), columns=["mean_annual_temperature", "slope", "general_curvature"])
    sites["offset"] = rng.normal(0, 1.0, 150)  # of the site, which no covariate explains
    table = sites.loc[sites.index.repeat(3)].reset_index(drop=True)
    table["site"] = np.arange(450) // 3
    table["Zn"] = 6 * table["mean_annual_temperature"] + 1.0 * table["slope"] + table["offset"]
    return table.drop(columns="offset").assign(Zn=lambda t: t["Zn"] + rng.normal(0, 0.05, 450))


def test_held_out_importance_equals_a_slow_transcription_of_the_definition() -> None:
    """Each fold's forest grown again with scikit-learn, and permuted there with the same orders."""
    names = ["mean_annual_temperature", "slope", "general_curvature"]
    table = many_sites()
    trained = train(table, "Zn", names, "site", trees=12, seed=4, folds=["random", "group"], n_folds=3,
                    engine="scikit-learn")  # fmt: skip
    ranked = held_out_importance(trained, repeats=2, seed=9)
    labels, target = trained.folds["group"].to_numpy(), table["Zn"].to_numpy()
    X = table[names].to_numpy(dtype=np.float32)
    rises, errors, sizes = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    for k, stream in enumerate(np.random.SeedSequence([9, 78]).spawn(3)):
        test = labels == k
        state = int(np.random.SeedSequence([4, 2, k]).generate_state(1)[0] >> 1)
        forest = RandomForestRegressor(12, max_features=1 / 3, random_state=state).fit(X[~test], target[~test])
        first = forest.predict(X[test])
        stored = trained.predictions["group"]["predicted"].to_numpy()[test]
        np.testing.assert_allclose(first, stored, rtol=1e-12)  # it is the forest that was scored
        errors[k], sizes[k] = ((first - target[test]) ** 2).mean(), test.sum()
        rng = np.random.default_rng(stream)
        for _ in range(2):
            order = rng.permutation(int(test.sum()))
            for j in range(3):
                mixed = X[test].copy()
                mixed[:, j] = mixed[order, j]
                rises[k, j] += (((forest.predict(mixed) - target[test]) ** 2).mean() - errors[k]) / 2
    pooled = (sizes * errors).sum() / sizes.sum()
    expected = 100 * (sizes[:, None] * rises).sum(axis=0) / sizes.sum() / pooled
    half = 100 / pooled * rises.std(axis=0, ddof=1) / np.sqrt(3) * 4.302652729911275  # t, 0.975, 2 degrees of freedom
    np.testing.assert_allclose(ranked.loc[names, "held_out_increase"], expected, rtol=1e-9)
    np.testing.assert_allclose(ranked.loc[names, "high"], expected + half, rtol=1e-9)
    assert ranked.attrs["folds"] == "group"


def test_drivers_are_ranked_by_held_out_sites() -> None:
    names = ["mean_annual_temperature", "slope", "general_curvature"]
    trained = train(many_sites(), "Zn", names, "site", trees=60, seed=1)
    ranked = importance(trained)
    assert ranked.index.tolist() == names
    assert ranked["rank"].tolist() == [1, 2, 3]
    assert ranked.loc["mean_annual_temperature", "low"] > 20
    # A forest of replicates knows each site by its curvature: out of bag it looks useful, at new sites it is not.
    assert ranked.loc["general_curvature", "increase_mse"] > 5
    assert abs(ranked.loc["general_curvature", "held_out_increase"]) < 10
    assert {"mean_increase", "standard_error", "high"} <= set(ranked)
    assert importance(trained, folds="random").attrs["folds"] == "random"


@pytest.mark.parametrize("style", ["codes", "ordered", "onehot"])
def test_held_out_importance_goes_by_covariate_in_every_encoding(style: str) -> None:
    trained = train(plots(50), "Fe", FEATURES, "site", trees=10, categories=style)
    ranked = held_out_importance(trained, repeats=1)
    assert sorted(ranked.index) == sorted(FEATURES)
    grouped = held_out_importance(trained, {"terrain": ["slope", "aspect"], "cover": ["land_cover"]}, repeats=1)
    assert sorted(grouped.index) == ["cover", "terrain"]


def test_held_out_importance_rejects() -> None:
    trained = train(plots(30), "Fe", FEATURES, "site", trees=5, folds="group")
    with pytest.raises(InputError, match=r"not scored by folds 'block'; it has \['group'\]"):
        held_out_importance(trained, folds="block")
    with pytest.raises(InputError, match="set 'x' names 'slop'; did you mean 'slope'"):
        held_out_importance(trained, {"x": ["slop"]})
    with pytest.raises(InputError, match="repeats is 0"):
        held_out_importance(trained, repeats=0)
    with pytest.raises(InputError, match="grown again on other rows"):
        held_out_importance(trained.refit(np.arange(20)))


# -- linear shares

SHEET_X = np.array([(1.0, 2), (2, 1), (3, 4), (4, 3), (5, 6)])
SHEET_Y = np.array([1, 2, 3.5, 3.5, 6])


def test_betasq_of_the_sheet() -> None:
    result = betasq(SHEET_X, SHEET_Y)
    np.testing.assert_allclose(result["coefficient"], [0.775, 0.375])
    # The sheet prints .4200174778; .775^2 2.5 / 3.575 is .42001748252. Both agree to the sheet's own 1e-6.
    np.testing.assert_allclose(result["betasq"], [0.4200174778, 0.1455419573], rtol=1e-6)
    assert result["betasq"].iloc[0] == pytest.approx(0.775**2 * 2.5 / 3.575, rel=1e-12)
    np.testing.assert_allclose(result["normalised"], [0.7426584, 0.2573416], atol=1e-6)
    assert result["lmg"].sum() == pytest.approx(result.attrs["r2"], rel=1e-12)


def test_lmg_averages_over_all_orders() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 4))
    X[:, 1] += X[:, 0]
    y = X @ [1, 0.5, -1, 0] + rng.normal(size=60)

    def r2(members: tuple[int, ...]) -> float:
        if not members:
            return 0.0
        A = np.c_[np.ones(60), X[:, members]]
        return 1 - ((y - A @ np.linalg.lstsq(A, y, rcond=None)[0]) ** 2).sum() / ((y - y.mean()) ** 2).sum()

    slow = np.zeros(4)
    for order in itertools.permutations(range(4)):
        for place, k in enumerate(order):
            slow[k] += (r2(order[: place + 1]) - r2(order[:place])) / 24
    np.testing.assert_allclose(lmg(X, y), slow, rtol=1e-9)


def test_vif_is_that_of_statsmodels() -> None:
    from statsmodels.stats.outliers_influence import variance_inflation_factor

    X, _ = rows_of()
    A = np.c_[np.ones(len(X)), X.to_numpy(dtype=np.float64)]
    theirs = [variance_inflation_factor(A, k) for k in range(1, 5)]
    np.testing.assert_allclose(vif(X), theirs, rtol=1e-6)
    assert np.isinf(vif(X.assign(sum=X["a"] + X["b"])).loc["sum"])


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (pd.DataFrame({"a": [1, 2, 3, 4.0], "rock": list("xyxy")}), np.arange(4.0), "rock is not numeric"),
        (pd.DataFrame({"a": [1.0] * 5}), np.arange(5.0), "a is constant"),
        (pd.DataFrame({"a": [1.0, 2, 3, 4, 5], "b": [2.0, 4, 6, 8, 10]}), SHEET_Y, "linearly dependent"),
        (SHEET_X, np.ones(5), "y is constant"),
        (SHEET_X, np.ones(4), "expected"),
        (SHEET_X[:3], np.arange(3.0), "3 complete rows for 2 regressors"),
    ],
)
def test_betasq_rejects_invalid_input(X: object, y: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        betasq(X, y)


# -- partial dependence and accumulated local effects


def uniform(n: int = 4000) -> pd.DataFrame:
    x = (np.arange(n) + 0.5) / n
    return pd.DataFrame({"x1": x, "x2": x})


def test_ale_of_the_sheet_and_pdp_beside_it() -> None:
    """f = x1 x2 with x2 = x1, uniform: ALE(x) = x^2 / 2 - 1/6, so -1/24 at .5 and 1/3 at 1; PDP(.5) = .25."""
    rows = uniform()
    result = accumulated_local_effects(lambda t: t["x1"] * t["x2"], "x1", rows, bins=200)
    at = lambda v: float(np.interp(v, result["x1"], result["effect"]))  # noqa: E731
    assert at(0.5) == pytest.approx(-0.0416667, abs=1e-3)
    assert at(1.0) == pytest.approx(0.3333333, abs=5e-3)
    finer = accumulated_local_effects(lambda t: t["x1"] * t["x2"], "x1", rows, bins=1000)
    assert finer["effect"].iloc[-1] == pytest.approx(1 / 3, abs=1e-3)  # nearer for more bins
    pdp = partial_dependence(lambda t: t["x1"] * t["x2"], "x1", rows, grid=[0.5])
    assert pdp["effect"].iloc[0] == pytest.approx(0.25, abs=1e-6)


def test_ale_of_additive_functions_is_the_function_less_its_mean() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=3000), "b": rng.normal(size=3000)})
    rows["b"] += rows["a"]
    result = accumulated_local_effects(lambda t: np.sin(t["a"]) + t["b"] ** 2, "a", rows, bins=60)
    expected = np.sin(result["a"]) - np.sin(rows["a"]).mean()
    np.testing.assert_allclose(result["effect"], expected, atol=0.02)
    # Centred: the data-weighted mean of the values at bin middles is exactly 0.
    middle = (result["effect"].to_numpy()[1:] + result["effect"].to_numpy()[:-1]) / 2
    assert np.average(middle, weights=result.attrs["rows_by_bin"]) == pytest.approx(0, abs=1e-12)


def test_ale_by_hand_with_tied_edges() -> None:
    rows = pd.DataFrame({"a": [0.0, 0, 0, 0, 1, 2], "b": [1.0, 2, 3, 4, 5, 6]})
    result = accumulated_local_effects(lambda t: t["a"] * t["b"], "a", rows, bins=3)
    # Sample quantiles at 0, 1/3, 2/3, 1 are 0, 0, 0, 2: two edges. One bin, mean of (2 - 0) b = 7.
    assert result["a"].tolist() == [0.0, 2.0]
    np.testing.assert_allclose(result["effect"], [-3.5, 3.5])


def test_two_way_ale_is_the_pure_interaction() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.random((20000, 2)), columns=["a", "b"])
    product = accumulated_local_effects(lambda t: t["a"] * t["b"] + 5 * t["a"], ["a", "b"], rows, bins=12)
    expected = (product["a"] - 0.5) * (product["b"] - 0.5)  # main effects a / 2 and b / 2 taken out
    np.testing.assert_allclose(product["effect"], expected, atol=0.01)
    additive = accumulated_local_effects(lambda t: np.exp(t["a"]) - t["b"] ** 3, ["a", "b"], rows, bins=8)
    np.testing.assert_allclose(additive["effect"], 0, atol=1e-12)
    diagonal = accumulated_local_effects(lambda t: t["x1"] * t["x2"], ["x1", "x2"], uniform(400), bins=5)
    assert diagonal.attrs["empty_cells"] == 20  # only the diagonal has data; the rest took its neighbour's
    assert np.isfinite(diagonal["effect"]).all()


def test_two_way_pdp_is_the_mean_over_rows() -> None:
    rows = pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4], "c": [10.0, 20]})
    result = partial_dependence(lambda t: t["a"] + t["b"] * t["c"], ["a", "b"], rows, grid=([0.0, 1.0], [2.0]))
    assert result[["a", "b", "effect"]].values.tolist() == [[0, 2, 30], [1, 2, 31]]


def test_effects_of_a_trained_forest_with_bands() -> None:
    table = plots(60)
    trained = train(table, "Fe", FEATURES, "site", trees=30, transform="log10", min_samples_leaf=3)
    slope = accumulated_local_effects(trained, "slope", bins=6, bootstrap=6, trees=15)
    assert list(slope.columns) == ["slope", "effect", "low", "high"]
    assert slope["effect"].iloc[-1] > slope["effect"].iloc[0] + 5000  # mg/kg, not logarithms
    assert ((slope["low"] <= slope["effect"] + 6000) & (slope["high"] >= slope["effect"] - 6000)).all()
    assert (slope["high"] > slope["low"]).any()
    again = accumulated_local_effects(trained, "slope", bins=6, bootstrap=6, trees=15)
    pd.testing.assert_frame_equal(slope, again)
    cover = partial_dependence(trained, "land_cover", bootstrap=2, trees=5)
    assert cover["land_cover"].tolist() == [7, 10, 16]
    assert cover["effect"].idxmax() == 1
    direction = partial_dependence(trained, "aspect", grid=5)
    assert np.isfinite(direction["effect"]).all()
    # PDP against the slow way: every row at every value.
    grid = [5.0, 35.0]
    slow = [trained.predict(trained.rows.assign(slope=v))["mean"].mean() for v in grid]
    np.testing.assert_allclose(partial_dependence(trained, "slope", grid=grid)["effect"], slow, rtol=1e-12)


def test_the_band_of_local_effects_is_of_the_rows_of_the_curve() -> None:
    slope = np.random.default_rng(5).random(200)
    trained = train(pd.DataFrame({"slope": slope, "Fe": 100 * slope}), "Fe", ["slope"], folds="random", trees=20)
    steep = trained.rows[slope > 0.5]
    curve = accumulated_local_effects(trained, "slope", steep, bins=5, bootstrap=5, trees=20)
    assert np.ptp(curve["effect"]) > 40
    assert abs((curve["low"] + curve["high"]) / 2 - curve["effect"]).max() < 5


def test_effects_reject_invalid_input() -> None:
    rows = pd.DataFrame({"a": [1.0, 2], "rock": ["x", "y"], "flat": [3.0, 3.0], "hole": [1.0, np.nan]})
    f = lambda t: np.zeros(len(t))  # noqa: E731
    for names, words in [("b", "no covariate 'b'"), ("rock", "is a class; use partial_dependence"),
                         ("flat", "has one value only"), ("hole", "missing in 1 rows"),
                         (["a", "a"], "one or two different")]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            accumulated_local_effects(f, names, rows)
    with pytest.raises(InputError, match="pass the rows"):
        partial_dependence(f, "a")
    with pytest.raises(InputError, match="needs a TrainedForest"):
        partial_dependence(f, "a", rows, bootstrap=3)
    with pytest.raises(InputError, match="bins is 0"):
        accumulated_local_effects(f, "a", rows, bins=0)


def test_inflation_is_that_of_the_rows_of_the_coefficients() -> None:
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.random((40, 2)), columns=["a", "b"])
    X.loc[20:, "b"] = X.loc[20:, "a"] + 0.01 * X.loc[20:, "b"]
    y = np.where(np.arange(40) < 20, X["a"] + X["b"], np.nan)
    np.testing.assert_array_equal(betasq(X, y)["vif"], vif(X[:20]))


def test_a_grid_of_two_covariates_has_values_of_each() -> None:
    rows = pd.DataFrame({"a": [0.0, 1.0], "b": [0.0, 2.0]})
    with pytest.raises(InputError, match="grid has 1 parts, expected the values of each of"):
        partial_dependence(lambda t: t["a"] * t["b"], ["a", "b"], rows, grid=[0.5])


def test_numbers_of_values_bands_and_permutations_are_checked() -> None:
    rows, f = pd.DataFrame({"a": [0.0, 1.0]}), lambda t: t["a"]
    assert len(partial_dependence(f, "a", rows, grid=np.int64(5))) == 5
    with pytest.raises(InputError, match="grid is 0, expected 1 or more"):
        partial_dependence(f, "a", rows, grid=0)
    for wrong in ({"bootstrap": -1}, {"bootstrap": 2, "band": 95}, {"bootstrap": 2, "trees": 0}):
        with pytest.raises(InputError, match="expected 0 or more, a share between 0 and 1, and 1 or more"):
            accumulated_local_effects(f, "a", rows, **wrong)
    forest = RandomForestRegressor(3, random_state=0).fit(rows, [0.0, 1.0])
    with pytest.raises(InputError, match="repeats is 0, expected 1 or more"):
        permutation_importance(forest, rows, np.array([0.0, 1.0]), repeats=0)
    with pytest.raises(InputError, match="repeats is 0, expected 1 or more"):
        importance(forest, rows, np.array([0.0, 1.0]), repeats=0)
