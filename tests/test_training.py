"""Training: folds, honest scores, nested search, classes, back-transformation, and every refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from gemas import BASELINE, RASTERS_AND_STATION, gemas
from sklearn.ensemble import RandomForestRegressor

from tpsoil.errors import InputError, MissingInputError
from tpsoil.evaluation import block_codes, make_folds
from tpsoil.forest import TrainedForest, load_trained, observed_against_predicted, score, train
from tpsoil.forest.quantiles import in_bag_counts, leaf_means

# Most tables here are replicates whose sites do not matter to the test.
pytestmark = pytest.mark.filterwarnings("ignore:train. .* rows lie at .* positions")


def plots(sites: int = 60, replicates: int = 3, seed: int = 0) -> pd.DataFrame:
    """Sites with replicates: covariates of the site, an element of slope, wetness and noise."""
    rng = np.random.default_rng(seed)
    n = sites * replicates
    site = np.repeat(np.arange(sites), replicates)
    table = pd.DataFrame(
        {
            "site": [f"s{k:03d}" for k in site],
            "lon": np.repeat(rng.uniform(80, 100, sites), replicates),
            "lat": np.repeat(rng.uniform(28, 38, sites), replicates),
            "slope": np.repeat(rng.uniform(0, 40, sites), replicates),
            "wetness": np.repeat(rng.normal(8, 2, sites), replicates),
            "land_cover": np.repeat(rng.choice([7, 10, 16], sites), replicates),
            "aspect": np.repeat(rng.uniform(0, 360, sites), replicates),
        }
    )
    effect = 0.02 * table["slope"] + 0.2 * (table["land_cover"] == 10) + rng.normal(0, 0.05, n)
    table["Fe"] = 10 ** (4 + effect)
    return table


FEATURES = ["slope", "wetness", "land_cover", "aspect"]


# -- folds


def test_folds_keep_groups_whole_and_sizes_near() -> None:
    groups = np.repeat(np.arange(23), 3)
    fold = make_folds(69, "group", groups=groups, seed=3)
    assert all(len(set(fold[groups == g])) == 1 for g in range(23))
    assert sorted(np.bincount(fold)) == [12, 12, 15, 15, 15]
    dealt = make_folds(103, "random", n_folds=4, seed=1)
    assert sorted(np.bincount(dealt)) == [25, 26, 26, 26]
    assert (dealt != make_folds(103, "random", n_folds=4, seed=2)).any()


def test_blocks_hold_their_squares_and_never_split_a_site() -> None:
    rng = np.random.default_rng(4)
    east, north = rng.uniform(-10, 30, 400), rng.uniform(35, 65, 400)
    fold = make_folds(400, "block", east=east, north=north, block_size=3)
    square = list(zip(np.floor(east / 3), np.floor(north / 3)))
    assert all(len({f for f, s in zip(fold, square) if s == which}) == 1 for which in set(square))
    # A site whose replicates lie on both sides of a block's edge at 3.0 stays whole.
    codes = block_codes([2.999, 3.001, 3.001, 9.0], [1.0, 1.0, 1.0, 1.0], 3.0, groups=["a", "a", "a", "b"])
    assert codes[0] == codes[1] == codes[2] != codes[3]
    assert len(set(block_codes([2.999, 3.001], [1.0, 1.0], 3.0))) == 2
    middle = rng.uniform(-10, 30, 120).round()
    east, site = np.repeat(middle, 3) + np.tile([-0.001, 0, 0.001], 120), np.repeat(np.arange(120), 3)
    fold = make_folds(360, "block", east=east, north=east, block_size=1, groups=site)
    assert all(len(set(fold[site == k])) == 1 for k in range(120))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("blok", {}, "did you mean 'block'"),
        ("group", {}, "needs groups"),
        ("block", {}, "add columns lon and lat"),
        ("block", {"east": [0.0] * 6, "north": [0.0] * 6}, "1 blocks of 3 cannot fill 5 folds"),
        ("block", {"east": [0.0] * 5 + [np.nan], "north": [0.0] * 6}, "1 rows have no coordinates"),
        ("block", {"east": [0.0] * 6, "north": [0.0] * 6, "block_size": 0}, "block_size is 0"),
        ("group", {"groups": ["a"] * 6}, "1 groups cannot fill 5 folds"),
        ("group", {"groups": ["a", None, "b", "c", "d", "e"]}, "1 rows have no group"),
        ("random", {"n_folds": 1}, "expected at least 2"),
    ],
)
def test_folds_refuse(kind: str, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_folds(6, kind, **options)


# -- scores


def test_scores_of_the_sheet() -> None:
    s = score([1.2, 1.9, 3.4, 3.9, 5.6], [1, 2, 3, 4, 5])
    assert s["rmse"] == pytest.approx(0.3405877273, abs=1e-10)
    assert s["mae"] == pytest.approx(0.28)
    assert s["bias"] == pytest.approx(-0.2)
    assert s["nse"] == pytest.approx(0.9515859766, abs=1e-10)
    assert s["squared_correlation"] == pytest.approx(0.9736227045, abs=1e-10)


def test_pineiro_and_theil() -> None:
    import statsmodels.api as sm

    o, p = np.array([1.2, 1.9, 3.4, 3.9, 5.6]), np.arange(1.0, 6.0)
    r = observed_against_predicted(o, p)
    assert r["slope"] == pytest.approx(1.08)
    assert r["intercept"] == pytest.approx(-0.04)
    assert [r["u_bias"], r["u_slope"], r["u_error"]] == pytest.approx([0.3448276, 0.1103448, 0.5448276], abs=1e-7)
    # Another road to the tests: statsmodels' regression of observed on predicted.
    fit = sm.OLS(o, sm.add_constant(p)).fit()
    assert r["p_slope_1"] == pytest.approx(float(fit.t_test("x1 = 1").pvalue), rel=1e-9)
    assert r["p_intercept_0"] == pytest.approx(float(fit.t_test("const = 0").pvalue), rel=1e-9)
    assert r["p_joint"] == pytest.approx(float(fit.f_test("x1 = 1, const = 0").pvalue), rel=1e-9)
    assert r["slope_se"] == pytest.approx(fit.bse[1])
    perfect = observed_against_predicted(p, p)
    assert perfect["slope"] == pytest.approx(1)
    assert np.isnan(perfect["u_bias"])
    with pytest.raises(InputError, match="2 pairs, expected at least 3"):
        observed_against_predicted([1, 2], [1, 2])
    with pytest.raises(InputError, match="1 of 3 pairs are not finite"):
        score([1, 2, np.nan], [1, 2, 3])


# -- the leak


def test_replicates_leak_at_random_and_not_by_site() -> None:
    """Three replicates a pixel and no signal at all: random folds see the site's value, folds by site do not."""
    rng = np.random.default_rng(11)
    sites = 250
    level = np.repeat(rng.normal(0, 1, sites), 3)
    names = list("abcdefgh")
    table = pd.DataFrame(np.repeat(rng.normal(size=(sites, 8)), 3, axis=0), columns=names)
    table["site"] = np.repeat(np.arange(sites), 3)
    table["lon"], table["lat"] = np.repeat(rng.uniform(80, 100, sites), 3), np.repeat(rng.uniform(28, 38, sites), 3)
    table["Fe"] = level + rng.normal(0, 0.3, 3 * sites)
    scores = train(table, "Fe", names, "site", trees=60, max_features=1).scores
    # Without skill a forest still varies, so 1 - SSE/SST falls a little below zero; the correlation vanishes.
    assert scores.loc["random", "nse"] > 0.7
    assert -0.15 < scores.loc["group", "nse"] < 0.02
    assert scores.loc["group", "squared_correlation"] < 0.01
    assert -0.15 < scores.loc["block", "nse"] < 0.02


# -- training


def test_all_kinds_side_by_side_and_everything_kept(tmp_path: Path) -> None:
    table = plots()
    before = table.copy(deep=True)
    trained = train(table, "Fe", FEATURES, "site", trees=30, transform="log10")
    pd.testing.assert_frame_equal(table, before)
    assert list(trained.scores.index) == ["random", "group", "block"]
    assert trained.deciding == "block"
    assert trained.settings["folds"]["block"] == "blocks of 3 degrees"
    assert (trained.folds.groupby(table["site"])["group"].nunique() == 1).all()
    assert (trained.folds.groupby(table["site"])["block"].nunique() == 1).all()
    assert trained.encoding.columns == ("slope", "wetness", "land_cover", "aspect (sin)", "aspect (cos)")
    assert trained.encoding.levels == {"land_cover": (7, 10, 16)}
    assert trained.counts == {
        "rows": 180, "used": 180, "without_target": 0, "without_feature": 0, "without_group": 0,
    }  # fmt: skip
    # Scores are those of the pooled predictions, on both scales.
    kept = trained.predictions["group"]
    assert trained.scores.loc["group", "nse"] == pytest.approx(score(kept["observed"], kept["predicted"])["nse"])
    own = score(kept["observed_original"], kept["predicted_original"])
    assert trained.scores.loc["group", "rmse_original"] == pytest.approx(own["rmse"])
    trained.save(tmp_path / "fe.joblib")
    again = load_trained(tmp_path / "fe.joblib")
    assert isinstance(again, TrainedForest)
    pd.testing.assert_frame_equal(again.predict(table), trained.predict(table))
    assert again.settings == trained.settings


def test_blocks_too_few_are_left_out_and_said() -> None:
    table = plots(30)
    trained = train(table, "Fe", ["slope", "wetness"], "site", trees=5, block_size=40)
    assert list(trained.scores.index) == ["random", "group"]
    assert trained.settings["folds_left_out"] == {"block": "1 blocks of 40 cannot fill 5 folds"}
    with pytest.raises(InputError, match="1 block of 40 degrees cannot fill 5 folds .*use block_size='500km'"):
        train(table, "Fe", ["slope", "wetness"], "site", trees=5, block_size=40, folds=["block"])


def test_any_number_of_workers_gives_one_result() -> None:
    table = plots(40)
    search = {"min_samples_leaf": [1, 4]}
    one, three = (
        train(table, "Fe", FEATURES, "site", trees=8, search=search, search_trees=4, workers=w, folds="group")
        for w in (1, 3)
    )
    pd.testing.assert_frame_equal(one.scores, three.scores, check_exact=True)
    pd.testing.assert_frame_equal(one.predict(table), three.predict(table), check_exact=True)
    other = train(table, "Fe", FEATURES, "site", trees=8, seed=5, folds="group")
    assert other.scores.loc["group", "nse"] != one.scores.loc["group", "nse"]


def test_out_of_fold_means_out_of_fold() -> None:
    """Each row is predicted by a forest of exactly the other folds: refitted here by hand."""
    table = plots(30)
    trained = train(
        table, "Fe", ["slope", "wetness"], "site", folds="group", trees=12, max_features=1.0, engine="scikit-learn"
    )
    kept, fold = trained.predictions["group"], trained.folds["group"].to_numpy()
    X = table[["slope", "wetness"]].to_numpy(dtype=np.float32)
    for k in range(5):
        state = int(np.random.SeedSequence([0, 2, k]).generate_state(1)[0] >> 1)
        forest = RandomForestRegressor(12, random_state=state, max_features=1.0)
        forest.fit(X[fold != k], table["Fe"][fold != k])
        np.testing.assert_allclose(kept["predicted"][fold == k], forest.predict(X[fold == k]), rtol=1e-12)


def test_the_search_is_nested_and_seen() -> None:
    """The outer score of a search cannot come from settings that saw the test fold."""
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"a": rng.random(90), "b": rng.random(90), "site": np.arange(90)})
    table["Fe"] = table["a"] + rng.normal(0, 0.05, 90)
    grid = {"min_samples_leaf": [1, 30]}
    trained = train(table, "Fe", ["a", "b"], "site", folds="group", trees=10, search=grid, search_trees=8)
    assert trained.settings["min_samples_leaf"] == 1
    chosen = trained.settings["chosen_by_fold"]["group"]
    assert len(chosen) == 5
    assert all(s["min_samples_leaf"] == 1 for s in chosen)
    # A search that is made blind (the test fold's targets ruined) chooses the same for that fold.
    fold = trained.folds["group"].to_numpy()
    ruined = table.copy()
    ruined.loc[fold == 0, "Fe"] = rng.normal(100, 50, int((fold == 0).sum()))
    again = train(ruined, "Fe", ["a", "b"], "site", folds="group", trees=10, search=grid, search_trees=8)
    assert again.settings["chosen_by_fold"]["group"][0] == chosen[0]
    np.testing.assert_array_equal(again.folds["group"], fold)
    np.testing.assert_array_equal(
        again.predictions["group"]["predicted"][fold == 0], trained.predictions["group"]["predicted"][fold == 0]
    )


def test_back_transformation_is_a_mean_or_a_median() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"a": np.tile([0.0, 1.0], 1000)})
    table["Zn"] = 10 ** (1.5 + 0.3 * table["a"] + rng.normal(0, 0.3, 2000))
    options = {"trees": 20, "transform": "log10", "folds": "random", "min_samples_leaf": 200, "max_features": 1.0}
    mean = train(table, "Zn", ["a"], back_transform="mean", **options).predict(table[:2])["mean"]
    median = train(table, "Zn", ["a"], back_transform="median", **options).predict(table[:2])["mean"]
    truth = table.groupby("a")["Zn"]
    np.testing.assert_allclose(mean, truth.mean(), rtol=0.03)
    np.testing.assert_allclose(median, truth.median(), rtol=0.06)
    assert (mean > 1.15 * median).all()  # exp((0.3 ln 10)^2 / 2) = 1.27 for a lognormal


def test_a_back_transformation_without_a_transformation_is_rejected() -> None:
    with pytest.raises(InputError, match="back_transform has no effect with transform 'none'"):
        train(plots(20), "Fe", FEATURES, folds="random", trees=2, back_transform="median")


def test_leaves_with_the_fitted_target_are_the_forests_own() -> None:
    """Rows drawn twice count twice, as they did when the tree was grown."""
    table = plots(40)
    trained = train(table, "Fe", FEATURES, folds="random", trees=10, min_samples_leaf=4)
    X = trained.design.to_numpy()
    compiled = trained.compile(responses=True)
    means = leaf_means(compiled.responses, trained.observed.to_numpy())
    leaf = compiled.left < 0
    assert (np.isnan(means) == ~leaf).all()
    np.testing.assert_allclose(means[leaf], compiled.value[leaf, 0], rtol=1e-12)
    np.testing.assert_allclose(compiled.predict(X)[0], trained.forest.predict(trained.design), rtol=1e-12)


def test_compiled_forest_is_the_forest_without_a_transform() -> None:
    table = plots(30)
    trained = train(table, "Fe", FEATURES, folds="random", trees=15)
    mean, sd = trained.compile().predict(trained.design)
    np.testing.assert_allclose(mean, trained.forest.predict(trained.design), rtol=1e-12)
    trees = np.stack([t.predict(trained.design.to_numpy()) for t in trained.forest.estimators_])
    np.testing.assert_allclose(sd, trees.std(axis=0, ddof=1), rtol=1e-9)
    logged = train(table, "Fe", FEATURES, folds="random", trees=15, transform="log10")
    on_fit = logged.compile(original=False)
    np.testing.assert_allclose(on_fit.predict(logged.design)[0], logged.forest.predict(logged.design), rtol=1e-12)
    assert on_fit.units == "log10(mg kg-1)"
    assert logged.compile().units == "mg kg-1"


# -- quantiles


def slow_quantiles(trained: TrainedForest, rows: pd.DataFrame, levels: list[float]) -> np.ndarray:
    """Meinshausen's definition, tree by tree and row by row, in the target's own unit."""
    X, y = trained.design.to_numpy(), trained.observed.to_numpy()
    asked = trained.encoding.table(rows).to_numpy()
    weights = np.zeros((len(asked), len(X)))
    for tree, drawn in zip(trained.forest.estimators_, trained.forest.estimators_samples_):
        leaf, here = tree.tree_.apply(X), tree.tree_.apply(asked)
        for m in range(len(asked)):
            members = [i for i in drawn if leaf[i] == here[m]]
            for i in members:
                weights[m, i] += 1 / len(members) / len(trained.forest.estimators_)
    order = np.argsort(y, kind="stable")
    cumulated = np.cumsum(weights[:, order], axis=1)
    return np.stack([y[order][np.argmax(cumulated >= q - 1e-9, axis=1)] for q in levels], axis=1)


def test_quantiles_are_meinshausens() -> None:
    table = plots(40)
    trained = train(table, "Fe", FEATURES, folds="random", trees=15, min_samples_leaf=3, transform="log10")
    got = trained.predict(table[:30], quantiles=[0.11, 0.5, 0.93]).iloc[:, 2:].to_numpy()
    # The engine interpolates between neighbouring responses, as type 7 does: between the steps a little to both sides.
    low = slow_quantiles(trained, table[:30], [0.09, 0.48, 0.91])
    high = slow_quantiles(trained, table[:30], [0.13, 0.52, 0.95])
    assert ((low <= got) & (got <= high)).all()
    assert (in_bag_counts(trained.forest).sum(axis=1) == 120).all()


# -- classes and missing values


@pytest.mark.parametrize("style", ["codes", "ordered", "onehot"])
def test_a_pixel_and_its_row_agree(style: str) -> None:
    table = plots(40)
    trained = train(table, "Fe", FEATURES, folds="random", trees=10, categories=style)
    side = 6
    rows = table[FEATURES].iloc[: side * side]
    cube = xr.Dataset({n: (("y", "x"), rows[n].to_numpy(copy=True).reshape(side, side)) for n in FEATURES})
    cube = cube.assign_coords(y=np.arange(side), x=np.arange(side))
    cube["slope"][0, 0] = np.nan
    cube["land_cover"][0, 1] = 4
    lazy = trained.predict_cube(cube.chunk({"y": 4, "x": 5}))
    assert lazy["mean"].chunks is not None
    expected = trained.predict(rows)["mean"].to_numpy().astype(np.float32).reshape(side, side)
    got = lazy["mean"].to_numpy()
    assert np.isnan(got[0, :2]).all()  # a missing covariate; a class that training never saw
    expected[0, :2] = np.nan
    np.testing.assert_array_equal(got, expected)
    with pytest.raises(InputError, match="class 4 in 1 rows, which training never saw"):
        trained.predict(rows.assign(land_cover=[4, *rows["land_cover"][1:]]))


def test_ordered_classes_use_no_target_of_the_test_fold() -> None:
    table = plots(40)
    first = train(table, "Fe", FEATURES, folds="random", trees=8, categories="ordered")
    fold = first.folds["random"].to_numpy()
    ruined = table.copy()
    ruined.loc[fold == 2, "Fe"] *= 50
    again = train(ruined, "Fe", FEATURES, folds="random", trees=8, categories="ordered")
    np.testing.assert_array_equal(
        again.predictions["random"]["predicted"][fold == 2], first.predictions["random"]["predicted"][fold == 2]
    )


def test_a_class_with_one_site_does_not_carry_its_value() -> None:
    table = plots(40)
    table.loc[:2, "land_cover"] = 12
    table.loc[:2, "Fe"] = 1e6
    trained = train(table, "Fe", FEATURES, "site", trees=8, categories="ordered")
    feature = next(f for f in trained.encoding.features if f.name == "land_cover")
    place = feature.levels.index(12)
    assert feature.values[place] < 5e5  # 3 samples of 1e6, drawn to the overall mean by 5
    assert np.isfinite(trained.scores.loc["group", "nse"])


def test_text_classes_serve_tables_and_are_refused_for_cubes() -> None:
    table = plots(30)
    table["rock"] = table["land_cover"].map({7: "granite", 10: "schist", 16: "loess"})
    trained = train(table, "Fe", ["slope", "rock"], folds="random", trees=8)
    assert trained.encoding.levels["rock"] == ("granite", "loess", "schist")
    assert np.isfinite(trained.predict(table)["mean"]).all()
    layer = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"))
    with pytest.raises(InputError, match="classes of 'rock' are text"):
        trained.predict_cube(xr.Dataset({"slope": layer, "rock": layer}))


def test_missing_features_are_dropped_kept_or_refused() -> None:
    table = plots(40)
    table.loc[:8, "wetness"] = np.nan
    table.loc[9:11, "Fe"] = np.nan
    dropped = train(table, "Fe", FEATURES, "site", trees=5, folds="group")
    assert dropped.counts["used"] == 108
    assert dropped.counts["without_feature"] == 9
    assert dropped.counts["without_target"] == 3
    assert np.isnan(dropped.predict(table)["mean"][:9]).all()
    kept = train(table, "Fe", FEATURES, "site", trees=5, missing="keep", folds="group")
    assert kept.counts["used"] == 117
    assert np.isfinite(kept.predict(table, quantiles=[0.05])).all(axis=None)
    with pytest.raises(InputError, match=r"missing in 9 rows \(wetness in 9\)"):
        train(table, "Fe", FEATURES, "site", trees=8, missing="error")


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        ({"Fe": np.nan}, {}, InputError, "'Fe' has no valid value in 90 rows"),
        ({"wetness": 7.0}, {}, InputError, "wetness is constant over the 90 used rows"),
        ({"wetness": np.nan}, {}, InputError, "no row has 'Fe' and every feature"),
        ({"Fe": -1.0}, {"transform": "log10"}, InputError, "0 or negative in 90 rows"),
        ({"slope": "steep"}, {}, InputError, "constant|text"),
        ({}, {"transform": "log"}, InputError, "expected one of"),
        ({}, {"min_sample_leaf": 3}, InputError, "did you mean 'min_samples_leaf'"),
        ({}, {"n_estimators": 3}, InputError, "use trees="),
        ({}, {"search": {"max_features": []}}, InputError, "expected a list of values"),
        ({}, {"max_features": "most"}, InputError, "rejected the settings"),
        ({}, {"folds": "spatial"}, InputError, "no folds 'spatial'"),
        ({}, {"folds": ["random", "random"]}, InputError, "each once"),
        ({}, {"deciding": "block", "folds": "random"}, InputError, "deciding is 'block'"),
        ({}, {"categories": "dummies"}, InputError, "expected one of"),
        ({}, {"trees": 0}, InputError, "trees is 0"),
        ({}, {"coordinates": ("east", "lat")}, InputError, "no coordinate column 'east'"),
        ({}, {"groups": "plot"}, MissingInputError, "no column 'plot'"),
        ({}, {"groups": [1, 2]}, InputError, "one label a row"),
    ],
)
def test_training_refuses(change: dict, options: dict, error: type, words: str) -> None:
    table = plots(30).assign(**change)
    with pytest.raises(error, match=words):
        train(table, "Fe", ["slope", "wetness"], **{"trees": 5, **options})


def test_missing_columns_are_all_listed() -> None:
    table = plots(30)
    with pytest.raises(MissingInputError, match=r"2 of 4 features are missing.*'slop'; did you mean 'slope'.*'ndvi'"):
        train(table, "Fe", ["slop", "wetness", "ndvi"])
    with pytest.raises(InputError, match="target 'Fe' is among the features"):
        train(table, "Fe", ["slope", "Fe"])
    with pytest.raises(InputError, match="given twice"):
        train(table, "Fe", ["slope", "slope"])
    twice = pd.concat([table, table[["slope"]]], axis=1)
    with pytest.raises(InputError, match="train: the table has more than one column named slope"):
        train(twice, "Fe", ["slope", "wetness"])
    trained = train(table, "Fe", ["slope", "wetness"], folds="random", trees=5)
    with pytest.raises(InputError, match="more than one column named slope"):
        trained.predict(twice)
    layer = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"))
    with pytest.raises(MissingInputError, match="no layer 'wetness'"):
        trained.predict_cube(xr.Dataset({"slope": layer}))


def test_a_target_that_trees_cannot_split_is_rejected() -> None:
    """In kg/kg of a trace element times 1e-3 no tree had a split, and every prediction was the mean."""
    table = plots(60)
    with pytest.raises(InputError, match="too small for trees to split; give it in a smaller unit"):
        train(table.assign(Fe=table["Fe"] * 1e-12), "Fe", ["slope", "wetness"], trees=5)
    share = train(table.assign(Fe=table["Fe"] * 1e-6), "Fe", ["slope", "wetness"], trees=5, folds="random")
    plain = train(table, "Fe", ["slope", "wetness"], trees=5, folds="random")
    assert share.scores["nse"].iloc[0] == pytest.approx(plain.scores["nse"].iloc[0], abs=0.01)
    constant = train(table.assign(Fe=1e-15), "Fe", ["slope", "wetness"], trees=5, folds="random")
    assert constant.predict(table)["mean"].to_numpy() == pytest.approx(1e-15)


# -- the real table


@pytest.mark.data
@pytest.mark.parametrize("element", ["Fe", "Mn", "Zn", "V"])
def test_gemas_meets_the_independent_baseline(data_folder: Path, element: str) -> None:
    table = gemas(data_folder)
    trained = train(table, element, RASTERS_AND_STATION, trees=60, transform="log10", workers=2)
    at_random, by_block = BASELINE[element]
    assert trained.scores.loc["random", "nse"] == pytest.approx(at_random, abs=0.06)
    assert trained.scores.loc["block", "nse"] == pytest.approx(by_block, abs=0.06)
    kept = trained.predictions["block"]
    assert abs(kept["predicted_original"].mean() / kept["observed_original"].mean() - 1) < 0.05


def test_presets_are_settings_that_others_replace() -> None:
    """R's randomForest for regression: mtry = p/3, nodesize = 5, which is min_samples_split = 6 here."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.random((120, 3)), columns=["slope", "ndvi", "elevation"])
    table["Fe"] = table["slope"] + rng.normal(0, 0.3, 120)
    names = ["slope", "ndvi", "elevation"]
    forests = {p: train(table, "Fe", names, trees=40, folds="random", preset=p) for p in ("default", "randomForest")}
    smallest = {}
    for preset, trained in forests.items():
        sizes = [t.tree_.n_node_samples[t.tree_.children_left >= 0].min() for t in trained.forest.estimators_]
        smallest[preset] = min(sizes)
        assert trained.forest.max_features == pytest.approx(1 / 3)
        assert trained.settings["preset"] == preset
    assert smallest == {"default": 2, "randomForest": 6}
    spread = {preset: trained.predictions["random"]["sd"].mean() for preset, trained in forests.items()}
    assert spread["randomForest"] < 0.97 * spread["default"]
    own = train(table, "Fe", names, trees=5, folds="random", preset="randomForest", min_samples_split=20)
    assert own.forest.min_samples_split == 20
    with pytest.raises(InputError, match="preset is 'randomforest'.*did you mean 'randomForest'"):
        train(table, "Fe", names, trees=5, preset="randomforest")
