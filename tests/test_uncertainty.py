"""Conformal intervals, coverage, dissimilarity and area of applicability."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from gemas import RASTERS_AND_STATION, SOIL, gemas
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import FEATURES, plots

from tpsoil.errors import InputError, MissingInputError
from tpsoil.evaluation import conformal_quantile, density_ratio
from tpsoil.forest import TrainedForest, area_of_applicability, conformal_intervals, coverage_table, train
from tpsoil.forest.applicability import ForestSpace
from tpsoil.forest.dissimilarity import fit_applicability
from tpsoil.forest.intervals import Conformal
from tpsoil.kernels.dissimilarity import mean_pairwise_distance, nearest_outside_fold


@pytest.fixture(scope="module")
def skewed() -> TrainedForest:
    """Lognormal noise whose width grows with slope; 400 sites of 3."""
    rng = np.random.default_rng(7)
    sites = 400
    table = plots(sites, 3, seed=7)
    table["Fe"] = 10 ** (4 + 0.01 * table["slope"] + rng.normal(0, 0.03 + 0.01 * table["slope"]))
    table["biome"] = np.where(table["slope"] > 20, "steep", "flat")
    options = {"trees": 60, "transform": "log10", "folds": ["random", "group"], "min_samples_leaf": 3}
    return train(table, "Fe", ["slope", "wetness", "land_cover"], "site", **options)


# -- conformal


def test_the_rank_of_the_sheet() -> None:
    assert conformal_quantile(np.arange(1, 100), 0.9) == 90  # n = 99, alpha = 0.1: the 90th smallest
    assert conformal_quantile(np.arange(1, 9), 0.9) == np.inf  # 8.1 is more than 8
    assert conformal_quantile(np.arange(1, 10), 0.9) == 9
    assert conformal_quantile([], 0.5) == np.inf
    for bad in (0.0, 1.0, 90):
        with pytest.raises(InputError, match="share between 0 and 1"):
            conformal_quantile([1.0], bad)
    with pytest.raises(InputError, match="1 scores are not finite"):
        conformal_quantile([1.0, np.nan], 0.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 99))
def test_the_rank_is_the_smallest_that_keeps_the_promise(n: int, level: float, seed: int) -> None:
    from fractions import Fraction

    scores = np.random.default_rng(seed).permutation(n).astype(float)
    got = conformal_quantile(scores, level)
    exact = Fraction(str(level)) * (n + 1)
    rank = -(-exact.numerator // exact.denominator)
    assert got == (np.sort(scores)[rank - 1] if rank <= n else np.inf)


def test_a_negative_correction_never_crosses_the_limits() -> None:
    plain = Conformal(0.9, "quantile", -3.0, "none", 10)
    low, high = plain.around_quantiles(np.array([1.0, 0.0]), np.array([3.0, 10.0]))
    assert low.tolist() == [2.0, 3.0]
    assert high.tolist() == [2.0, 7.0]
    log = Conformal(0.9, "quantile", 1.0, "log10", 10)
    low, high = log.around_quantiles(np.array([100.0]), np.array([1000.0]))
    assert (low[0], high[0]) == pytest.approx((10.0, 10_000.0))


@pytest.mark.parametrize("method", ["quantile", "spread", "residual"])
def test_coverage_is_what_was_promised(skewed: TrainedForest, method: str) -> None:
    table = coverage_table(skewed, method=method)
    assert table["group"].unique().tolist() == ["all"]
    for _, row in table.iterrows():
        assert row["conformal"] == pytest.approx(row["level"], abs=3 * row["binomial_se"])
    assert (np.diff(table["mean_width"]) > 0).all()
    fitted = conformal_intervals(skewed, 0.9, method=method)
    assert fitted.scores == 1200
    assert fitted.level == 0.9


def test_the_correction_of_a_fold_knows_nothing_of_it(skewed: TrainedForest) -> None:
    """Slow transcription: one fold at a time, scores of the others, the interval, the count."""
    kept = skewed.predictions["group"]
    y, low, high = (np.log10(kept[n].to_numpy()) for n in ("observed_original", "q0.05", "q0.95"))
    score = np.maximum(low - y, y - high)
    held = []
    for fold in range(5):
        here = (kept["fold"] == fold).to_numpy()
        others = np.sort(score[~here])
        c = others[int(np.ceil((len(others) + 1) * 0.9 - 1e-9)) - 1]
        held += ((low[here] - c <= y[here]) & (y[here] <= high[here] + c)).tolist()
    assert coverage_table(skewed, [0.9])["conformal"][0] == pytest.approx(np.mean(held))


def test_quantile_intervals_are_wide_where_the_data_are(skewed: TrainedForest) -> None:
    kept, slope = skewed.predictions["group"], skewed.rows["slope"].to_numpy()
    width = np.log10(kept["q0.95"] / kept["q0.05"]).to_numpy()
    assert width[slope > 30].mean() > 2 * width[slope < 10].mean()
    by = pd.Series(np.where(slope > 20, "steep", "flat"), index=skewed.rows.index)
    table = coverage_table(skewed, [0.9], by=by)
    assert table["group"].tolist() == ["all", "flat", "steep"]
    assert table["n"].tolist()[0] == table["n"].tolist()[1] + table["n"].tolist()[2]
    one = coverage_table(skewed, [0.9], by=by, method="residual").set_index("group")["conformal"]
    two = table.set_index("group")["conformal"]
    # One half-width for everywhere covers the flat too often and the steep too seldom.
    assert one["flat"] - one["steep"] > 2 * abs(two["flat"] - two["steep"])


def test_one_tree_has_no_spread() -> None:
    alone = train(plots(30), "Fe", FEATURES, "site", folds="random", trees=1)
    table = coverage_table(alone, [0.9])
    assert np.isnan(table["spread"][0])
    assert table["conformal"][0] > 0.5
    for function in (coverage_table, conformal_intervals):
        with pytest.raises(InputError, match="one tree has no spread between trees"):
            function(alone, method="spread")


@pytest.mark.parametrize("labels", [["all", "flat"], [1, "1"]])
def test_groups_that_could_be_taken_for_another_are_rejected(skewed: TrainedForest, labels: list[object]) -> None:
    by = pd.Series(np.resize(np.array(labels, dtype=object), len(skewed.rows)), index=skewed.rows.index)
    with pytest.raises(InputError, match="expected names that differ from each other and from 'all'.*rename them"):
        coverage_table(skewed, [0.9], by=by)


@pytest.mark.parametrize("method", ["quantile", "spread", "residual"])
def test_rows_without_a_group_have_the_correction_of_all(skewed: TrainedForest, method: str) -> None:
    """As `class_correction` maps them."""
    by = pd.Series("steep", index=skewed.rows.index).where(skewed.rows["slope"] > 20)
    part = by.isna().map({True: "without", False: "with"})
    own, overall = (
        coverage_table(skewed, [0.9], by=part, method=method, conditional=labels).set_index("group")
        for labels in (by, None)
    )
    assert own.loc["without"].equals(overall.loc["without"])
    assert not own.loc["with"].equals(overall.loc["with"])


def test_interval_score_by_hand() -> None:
    table = plots(30)
    trained = train(table, "Fe", FEATURES, "site", folds="random", trees=8)
    found = coverage_table(trained, [0.8], method="residual")
    kept = trained.predictions["random"]
    y, mean, fold = (kept[n].to_numpy() for n in ("observed", "predicted", "fold"))
    total = 0.0
    for k in range(5):
        half = conformal_quantile(np.abs(y - mean)[fold != k], 0.8)
        low, high = mean[fold == k] - half, mean[fold == k] + half
        o = y[fold == k]
        total += (high - low + 10 * np.maximum(low - o, 0) + 10 * np.maximum(o - high, 0)).sum()
    assert found["interval_score"][0] == pytest.approx(total / len(y))


def test_intervals_refuse(skewed: TrainedForest) -> None:
    with pytest.raises(InputError, match=r"level is 0.7, expected one of \[0.5, 0.8, 0.9, 0.95\]"):
        conformal_intervals(skewed, 0.7)
    with pytest.raises(InputError, match="did you mean 'quantile'"):
        conformal_intervals(skewed, 0.9, method="quantiles")
    with pytest.raises(InputError, match="no folds 'block' in this forest"):
        coverage_table(skewed, kind="block")
    with pytest.raises(InputError, match="one label a used row"):
        coverage_table(skewed, by=["a", "b"])


@pytest.mark.data
@pytest.mark.parametrize("element", ["Fe", "Mn", "Zn", "V"])
def test_gemas_with_soil_columns(data_folder: Path, full: bool, element: str) -> None:
    """By 3-degree blocks: R2 of at least .64, .40, .57, .62, and 90 % intervals that hold 88 to 92 %."""
    least = {"Fe": 0.64, "Mn": 0.40, "Zn": 0.57, "V": 0.62}[element]
    trained = train(
        gemas(data_folder), element, [*RASTERS_AND_STATION, *SOIL],
        folds="block", trees=500 if full else 100, transform="log10", workers=2,
    )  # fmt: skip
    assert trained.scores.loc["block", "nse"] >= least
    assert 0.88 <= coverage_table(trained, [0.9])["conformal"][0] <= 0.92


# -- dissimilarity and area of applicability

POINTS = np.array([(0.0, 0), (1, 0), (0, 1), (3, 3)])


def test_the_vector_of_the_sheet() -> None:
    area = fit_applicability(POINTS, (2, 1), (0, 0, 1, 1))
    assert area.mean_distance == pytest.approx(2.742257587, abs=1e-9)
    np.testing.assert_allclose(area.training_index, [0.2578557, 0.5765829, 0.2578557, 1.2892786], atol=1e-7)
    assert area.threshold == pytest.approx(1.289278557, abs=1e-9)  # the cap is active
    q1, q3 = np.quantile(area.training_index, [0.25, 0.75])
    assert q3 + 1.5 * (q3 - q1) > area.threshold
    found = area_of_applicability(POINTS, [(2, 2), (8, 8)], weights=(2, 1), folds=(0, 0, 1, 1))
    np.testing.assert_allclose(found["dissimilarity_index"], [0.5765829, 2.8829149], rtol=1e-6)
    assert found["applicability"].tolist() == [1, 0]
    assert found.attrs["threshold"] == area.threshold


def slow_index(points: np.ndarray, weights: np.ndarray, new: np.ndarray) -> np.ndarray:
    scale = weights / points.std(axis=0, ddof=1)
    T, X = (points - points.mean(axis=0)) * scale, (new - points.mean(axis=0)) * scale
    pairs = [np.linalg.norm(T[i] - T[j]) for i in range(len(T)) for j in range(i)]
    return np.array([min(np.linalg.norm(x - t) for t in T) for x in X]) / np.mean(pairs)


def test_index_is_the_definition() -> None:
    rng = np.random.default_rng(0)
    points, new, weights = rng.normal(size=(80, 5)), rng.normal(size=(60, 5)) * 2, rng.random(5)
    area = fit_applicability(points, weights, np.arange(80) // 4)
    np.testing.assert_allclose(area.index(new), slow_index(points, weights, new), rtol=1e-12)
    place = (points - area.centre) * area.scale
    fold = np.arange(80) // 4
    nearest = [min(np.linalg.norm(place[i] - place[j]) for j in range(80) if fold[j] != fold[i]) for i in range(80)]
    np.testing.assert_allclose(area.training_index, np.array(nearest) / area.mean_distance, rtol=1e-12)


def test_kernels_with_jit_off() -> None:
    rng = np.random.default_rng(1)
    points, fold = rng.normal(size=(30, 3)), np.arange(30) % 3
    with_jit = np.empty(30)
    nearest_outside_fold(points, fold, with_jit)
    code = """
import numpy as np
from tpsoil.kernels.circular import components
from tpsoil.kernels.dissimilarity import mean_pairwise_distance, nearest_outside_fold
p = np.random.default_rng(1).normal(size=(30, 3)); r = np.empty(30)
nearest_outside_fold(p, np.arange(30) % 3, r)
s = np.empty(2); c = np.empty(2); components(np.array([30.0, np.nan]), s, c)
print(repr(float(mean_pairwise_distance(p))), *[repr(float(v)) for v in r], repr(float(s[0])), repr(float(c[0])))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True,
        check=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    values = np.array([float(v) for v in done.stdout.split()])
    assert values[0] == pytest.approx(mean_pairwise_distance(points), rel=1e-14)
    np.testing.assert_allclose(values[1:31], with_jit, rtol=1e-14)
    np.testing.assert_allclose(values[31:], [0.5, np.sqrt(0.75)], rtol=1e-15)


def test_replicates_make_the_threshold_too_small_without_their_folds() -> None:
    rng = np.random.default_rng(2)
    sites = rng.normal(size=(40, 3))
    points = np.repeat(sites, 3, axis=0) + rng.normal(0, 1e-3, (120, 3))
    by_site = fit_applicability(points, None, np.repeat(np.arange(40), 3))
    alone = fit_applicability(points, None, None)
    assert alone.threshold < 0.05 * by_site.threshold


@pytest.mark.parametrize(
    ("points", "weights", "folds", "words"),
    [
        (np.c_[POINTS, np.ones(4)], None, None, "'x2' is constant"),
        (POINTS, (0, -1), None, "every weight is 0 or negative"),
        (POINTS, (1, 2, 3), None, "expected 2 finite numbers"),
        (POINTS, {"x0": 1.0}, None, "no weight for x1"),
        (POINTS, None, (1, 1, 1, 1), "1 folds"),
        (POINTS, None, (0, 1), "2 labels"),
        (POINTS[:1], None, None, "expected"),
        (np.r_[POINTS, [[np.nan, 1]]], None, None, "1 training rows are incomplete"),
        (POINTS[[0, 0, 0]], None, None, "constant"),
    ],
)
def test_applicability_refuses(points: np.ndarray, weights: object, folds: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_applicability(points, weights, folds)


def test_a_forest_brings_points_folds_weights_and_dummies() -> None:
    table = plots(60)
    trained = train(table, "Fe", FEATURES, "site", trees=30)
    space = ForestSpace.of(trained)
    assert space.area.columns == (
        "slope", "wetness", "land_cover=7", "land_cover=10", "land_cover=16", "aspect (sin)", "aspect (cos)",
    )  # fmt: skip
    weight = dict(zip(space.area.columns, space.area.scale * space.encoding.table(table).std(ddof=1).to_numpy()))
    assert weight["land_cover=7"] == pytest.approx(weight["land_cover=10"])
    assert weight["slope"] == pytest.approx(space.weights["slope"], rel=1e-5)
    side = 8
    rows = table[FEATURES].iloc[: side * side]
    cube = xr.Dataset({n: (("y", "x"), rows[n].to_numpy(copy=True).reshape(side, side)) for n in FEATURES})
    cube = cube.assign_coords(y=np.arange(side), x=np.arange(side))
    cube["slope"][0, 0] = np.nan
    cube["slope"][0, 1] = 4000.0
    cube["soil_mask"] = (("y", "x"), np.ones((side, side), dtype=np.uint8))
    cube["soil_mask"][1, 1] = 0
    found = area_of_applicability(trained, cube)
    lazy = area_of_applicability(trained, cube.chunk({"y": 3, "x": 5}))
    assert lazy["dissimilarity_index"].chunks is not None
    for name in found:
        np.testing.assert_array_equal(found[name], lazy[name])
    index, area = found["dissimilarity_index"].to_numpy(), found["applicability"].to_numpy()
    assert area[0, :2].tolist() == [255, 0]
    assert area[1, 1] == 255
    assert np.isnan(index[1, 1])
    inside = np.isfinite(index)
    np.testing.assert_array_equal(area[inside], index[inside] <= found.attrs["threshold"])
    np.testing.assert_allclose(index[2:], 0, atol=1e-6)  # cells that are training rows
    rowwise = area_of_applicability(trained, rows.assign(slope=rows["slope"] + 5))
    assert (rowwise["dissimilarity_index"] > 0).all()
    strange = area_of_applicability(trained, rows.assign(land_cover=5))
    assert (strange["applicability"] == 255).all()
    with pytest.raises(InputError, match=rf"rows have 2 columns, expected {len(FEATURES)}"):
        area_of_applicability(trained, np.ones((3, 2)))
    equal = area_of_applicability(trained, rows, weights=dict.fromkeys(FEATURES, 1.0), folds=np.arange(180) // 3)
    assert equal.attrs["threshold"] != found.attrs["threshold"]


def test_applicability_of_a_plain_cube_needs_its_columns() -> None:
    training = pd.DataFrame(POINTS, columns=["slope", "ndvi"])
    layer = xr.DataArray(np.ones((2, 2)), dims=("y", "x"))
    found = area_of_applicability(training, xr.Dataset({"slope": layer, "green": layer}), layers={"ndvi": "green"})
    assert found["applicability"].to_numpy().tolist() == [[1, 1], [1, 1]]
    with pytest.raises(MissingInputError, match="1 of 2 features are missing: no layer 'ndvi'"):
        area_of_applicability(training, xr.Dataset({"slope": layer}))
    with pytest.raises(MissingInputError, match="1 of 2 features are missing: no column 'ndvi'"):
        area_of_applicability(training, pd.DataFrame({"slope": [1.0]}))
    with pytest.raises(InputError, match="rows have 3 columns, expected 2"):
        area_of_applicability(training, np.ones((2, 3)))


@pytest.mark.parametrize("element", ["Zn", "V"])
def test_coverage_within_soil_classes(data_folder: Path, element: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One correction for all covers organic soils too seldom; one for each class keeps the promise."""
    table = gemas(data_folder).rename(columns={"longitude": "lon", "latitude": "lat"})
    soil = pd.Series(np.select([table["LOI"] >= 20, table["sand"] >= 70], ["organic", "sandy"], "other"), table.index)
    trained = train(
        table,
        element,
        [*RASTERS_AND_STATION, *SOIL],
        trees=100,
        transform="log10",
        folds=["random", "block"],
        workers=2,
    )
    plain = coverage_table(trained, [0.9], by=soil).set_index("group")["conformal"]
    own = coverage_table(trained, [0.9], by=soil, conditional=soil).set_index("group")["conformal"]
    with capsys.disabled():
        print(f"\n{element}: coverage of 90 % intervals {plain.round(3).to_dict()}, by class {own.round(3).to_dict()}")
    assert plain["organic"] < 0.88
    assert own.between(0.88, 0.92).all()


def test_rows_without_a_group_share_a_correction() -> None:
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"slope": rng.random(300), "site": np.arange(300)})
    table["Fe"] = 10 * table["slope"] + rng.normal(0, 1, 300) * np.where(np.arange(300) < 150, 0.2, 2)
    trained = train(table, "Fe", ["slope"], "site", trees=30)
    group = pd.Series(np.where(np.arange(300) < 150, "calm", None), table.index)
    coverage = coverage_table(trained, [0.9], by=group, conditional=group).set_index("group")
    assert 0.84 < coverage.loc["calm", "conformal"] < 0.97
    assert coverage.loc["calm", "mean_width"] < 0.7 * coverage.loc["all", "mean_width"]


def test_local_point_density_counts_training_points_within_the_threshold() -> None:
    rng = np.random.default_rng(5)
    points = np.vstack([rng.normal(0, 1, (80, 3)), rng.normal(6, 0.3, (5, 3))])
    area = fit_applicability(points, (2.0, 1.0, 0.5))
    rows = np.vstack([rng.normal(0, 3, (200, 3)), [[np.nan, 0, 0]]])
    place, own = (rows - area.centre) * area.scale, (points - area.centre) * area.scale
    distance = np.sqrt(((place[:, None] - own) ** 2).sum(axis=2)) / area.mean_distance
    expected = (distance <= area.threshold).sum(axis=1).astype(float)
    expected[-1] = np.nan
    np.testing.assert_array_equal(area.point_density(rows), expected)
    assert ((area.point_density(rows[:-1]) > 0) == (area.index(rows[:-1]) <= area.threshold)).all()


def test_expected_error_rises_with_dissimilarity() -> None:
    rng = np.random.default_rng(6)
    area = fit_applicability(rng.normal(size=(300, 2)))
    truth = 1 + 4 * area.training_index
    errors = (truth * rng.normal(size=300)) ** 2
    grid = np.linspace(0, area.training_index.max(), 50)
    curve = area.expected_error(errors, grid)
    assert (np.diff(curve) >= 0).all()
    middle = np.quantile(area.training_index, 0.5)
    assert area.expected_error(errors, [middle])[0] == pytest.approx(1 + 4 * middle, rel=0.3)
    assert np.isnan(area.expected_error(errors, [np.nan])[0])
    with pytest.raises(InputError, match="expected"):
        area.expected_error(errors[:-1], grid)


@pytest.mark.parametrize("element", ["Mn", "V"])
def test_a_map_of_the_south_from_samples_of_the_north(
    data_folder: Path, element: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under covariate shift intervals with weights come nearer to their promise than plain ones."""
    features = [name for name in (*RASTERS_AND_STATION, *SOIL) if name not in {"land_cover", "climate_zone"}]
    table = gemas(data_folder).rename(columns={"longitude": "lon", "latitude": "lat"}).dropna(subset=features)
    north, south = table[table["lat"] >= 48], table[table["lat"] < 48]
    trained = train(north, element, features, trees=100, transform="log10", folds=["random", "block"], workers=2)
    frame = trained.predictions["block"]
    scores = (frame["observed"] - frame["predicted"]).abs().to_numpy()
    error = (np.log10(south[element]) - np.log10(trained.predict(south).iloc[:, 0])).abs().to_numpy()
    at_samples, at_south = density_ratio(north.loc[frame.index, features], south[features])
    limits = np.array([conformal_quantile(scores, 0.9, np.append(at_samples, ratio)) for ratio in at_south])
    plain, weighted = (error <= conformal_quantile(scores, 0.9)).mean(), (error <= limits).mean()
    with capsys.disabled():
        print(f"\n{element}, north to south: coverage of 90 % intervals {plain:.3f}, weighted {weighted:.3f}")
    assert abs(weighted - 0.9) < 0.6 * abs(plain - 0.9)


def test_folds_and_layers_of_an_area_fit_its_points() -> None:
    table = plots(20)
    trained = train(table, "Fe", ["slope", "wetness"], "site", trees=5, folds="random")
    with pytest.raises(InputError, match=r"folds have shape \(2,\), expected \(60,\)"):
        area_of_applicability(trained, table, folds=[0, 1])
    with pytest.raises(InputError, match="layers has no effect without a cube"):
        area_of_applicability(trained, table, layers={"slope": "wetness"})


@pytest.mark.parametrize("method", ["quantile", "spread", "residual"])
def test_coverage_of_a_level_without_stored_quantiles_is_rejected(method: str) -> None:
    trained = train(plots(20), "Fe", ["slope", "wetness"], "site", trees=5, folds="random")
    with pytest.raises(InputError, match="level is 0.85, expected one of"):
        coverage_table(trained, [0.85], method=method)
