"""Interval corrections that differ by cell, local point density and expected error as layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

from tpsoil.errors import InputError
from tpsoil.evaluation import conformal_quantile, fit_variogram, group_quantiles
from tpsoil.forest import area_of_applicability, train
from tpsoil.forest.intervals import SMALLEST_GROUP, conformal_scores
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.local_intervals import ShiftCorrection, class_correction, shift_correction
from tpsoil.forest.outputs import SPREAD_LIMITS
from tpsoil.forest.standardised import residual_variogram

FEATURES = ["height", "kind"]


def simulated(count: int, seed: int, *, low: float = 0.0, high: float = 1.0) -> pd.DataFrame:
    """A target whose noise is four times larger in class 2, which a quarter of the places have."""
    rng = np.random.default_rng(seed)
    height, kind = rng.uniform(low, high, count), np.where(rng.random(count) < 0.25, 2, 1)
    noise = rng.normal(0, np.where(kind == 2, 4.0, 1.0), count)
    return pd.DataFrame({"height": height, "kind": kind, "value": 20 + 6 * height + noise})


def cube_of(table: pd.DataFrame, side: int) -> xr.Dataset:
    cube = xr.Dataset({
        "height": (("y", "x"), table["height"].to_numpy().reshape(side, side).astype("float32")),
        "kind": (("y", "x"), table["kind"].to_numpy().reshape(side, side).astype("uint8"), {"kind": "categorical"}),
    })  # fmt: skip
    return cube


@pytest.fixture(scope="module")
def trained() -> Any:
    table = simulated(1200, 0)
    # No leaf can consist of class 2 alone, so the quantiles of the forest are too narrow there.
    return train(table, "value", FEATURES, categorical=["kind"], trees=40, folds="random", min_samples_leaf=0.3)


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return simulated(3600, 1)


def coverage(maps: xr.Dataset, truth: pd.DataFrame, kind: int) -> float:
    inside = (maps["v_lower"].values.ravel() <= truth["value"]) & (truth["value"] <= maps["v_upper"].values.ravel())
    return float(inside[truth["kind"] == kind].mean())


def test_intervals_by_class_cover_each_class(trained: Any, truth: pd.DataFrame) -> None:
    cube = cube_of(truth, 60)
    plain, by_class = (map_models({"v": MapModel.of(trained, conformal=how)}, cube) for how in ("plain", "class:kind"))
    assert coverage(plain, truth, 2) < 0.8
    # 900 and 300 scores: standard errors of the calibrated coverage .01 and .017, of 900 cells .01.
    assert coverage(by_class, truth, 1) == pytest.approx(0.9, abs=0.035)
    assert coverage(by_class, truth, 2) == pytest.approx(0.9, abs=0.05)
    attrs = by_class["v_lower"].attrs
    assert "group-conditional" in attrs["interval_method"]
    assert attrs["interval_coverage"] == "nominal within classes of kind"
    assert attrs["interval_correction"].startswith("1: ")
    np.testing.assert_array_equal(plain["v"], by_class["v"])


def test_rows_are_matched_by_position(truth: pd.DataFrame) -> None:
    """A table of two files may repeat its labels."""
    table, cells = simulated(200, 3), truth[FEATURES].iloc[::20]
    options = {"categorical": ["kind"], "trees": 10, "folds": "random"}
    repeated = train(table.set_axis(np.arange(200) // 2), "value", FEATURES, **options)
    (one, _), (two, _) = (
        shift_correction(t, 0.9, cells) for t in (repeated, train(table, "value", FEATURES, **options))
    )
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.reached, two.reached)


def test_a_forest_of_other_rows_has_no_intervals(trained: Any, truth: pd.DataFrame) -> None:
    """Its folds and predictions are those of the first training."""
    again = trained.refit(np.random.default_rng(0).integers(1200, size=1200), trees=5)
    for use in (
        lambda: MapModel.of(again),
        lambda: class_correction(again, 0.9, "kind"),
        lambda: shift_correction(again, 0.9, truth[FEATURES]),
        lambda: area_of_applicability(again, truth[FEATURES]),
    ):
        with pytest.raises(InputError, match="grown again on other rows"):
            use()
    assert MapModel.of(again, level=None).conformal is None


def test_layers_are_lazy_equal_on_every_chunking_and_after_storage(trained: Any, truth: pd.DataFrame) -> None:
    cube = cube_of(truth[:400], 20)
    cells = truth[FEATURES].iloc[::10]
    for model in (
        MapModel.of(trained, conformal="class:kind", extra=("expected_error", "point_density")),
        MapModel.of(trained, conformal="weighted", cells=cells, extra=("point_density",)),
    ):
        maps = map_models({"v": model}, cube)
        again = map_models({"v": MapModel.load(model.dump())}, cube.chunk({"y": 7, "x": 13}))
        assert list(maps) == [spec.name for spec in model.outputs("v")]
        for name in maps:
            np.testing.assert_array_equal(maps[name], again[name].compute(scheduler="synchronous"), err_msg=name)
        assert MapModel.load(model.dump()).digest == model.digest


@pytest.mark.parametrize("transform", ["none", "log10"])
def test_limits_from_mean_and_spread_alone(truth: pd.DataFrame, transform: str) -> None:
    """Nominal coverage without quantiles: the trees are walked as for mean and spread."""
    table = simulated(900, 2)
    forest = train(
        table,
        "value",
        FEATURES,
        categorical=["kind"],
        trees=40,
        folds="random",
        min_samples_leaf=5,
        transform=transform,
    )
    model = MapModel.of(forest, conformal="spread")
    assert model.levels is None
    assert model.forest.responses is None
    cube = cube_of(truth, 60)
    maps = map_models({"v": model}, cube)
    inside = (maps["v_lower"].values.ravel() <= truth["value"]) & (truth["value"] <= maps["v_upper"].values.ravel())
    # 900 scores and 3600 cells: standard error .011.
    assert float(inside.mean()) == pytest.approx(0.9, abs=0.035)
    mean, sd = (maps[name].values.astype(float) for name in ("v", "v_sd"))
    if transform == "none":
        expected = mean + model.conformal.correction * (sd + model.conformal.offset)
    else:
        # Median and logarithmic sd of the lognormal distribution with that mean and sd.
        median, log_sd = mean / np.sqrt(1 + (sd / mean) ** 2), np.sqrt(np.log(1 + (sd / mean) ** 2)) / np.log(10)
        expected = median * 10 ** (model.conformal.correction * (log_sd + model.conformal.offset))
        np.testing.assert_allclose(maps["v_lower"] * maps["v_upper"], median**2, rtol=1e-5)
    np.testing.assert_allclose(maps["v_upper"], expected, rtol=1e-6)
    frame = forest.predictions["random"]
    low, high = model.conformal.around(frame)
    share = ((low <= frame["observed_original"]) & (frame["observed_original"] <= high)).mean()
    assert share == pytest.approx(0.9, abs=0.002)  # the 90 % rank of the scores themselves
    again = map_models({"v": MapModel.load(model.dump())}, cube.chunk({"y": 7, "x": 13}))
    for name in maps:
        np.testing.assert_array_equal(maps[name], again[name].compute(scheduler="synchronous"), err_msg=name)
    assert maps["v_lower"].attrs["interval_method"].startswith("mean and spread between trees, corrected")
    assert [one.meaning for one in model.outputs("v")[2:4]] == [SPREAD_LIMITS] * 2
    assert residual_variogram(model, forest, np.random.default_rng(0).random((900, 2)), degrees=False) is not None


def test_a_class_needs_fifty_samples_for_its_own_correction() -> None:
    """Coverage of a class whose samples come from one place, as in one fold, and whose cells lie at another.

    The errors of a place share a part. A correction from 9 to 49 of them follows that part; the correction of all
    samples, of many places, has the nominal coverage there too.
    """
    assert SMALLEST_GROUP == 50
    rng = np.random.default_rng(6)
    turns, size = 400, 20
    shares: dict[int, list[float]] = {9: [], SMALLEST_GROUP: []}
    labels = np.repeat(["others", "small"], [600, size])
    for _ in range(turns):
        places = rng.normal(0, 0.9, 40).repeat(15)
        errors = np.concatenate([places, np.full(size, rng.normal(0, 0.9))]) + rng.normal(0, 0.44, 600 + size)
        elsewhere = np.abs(rng.normal(0, 0.9) + rng.normal(0, 0.44, 200))
        for smallest, coverages in shares.items():
            limit = group_quantiles(np.abs(errors), labels, 0.9, smallest=smallest).of(["small"])[0]
            coverages.append(float((elsewhere <= limit).mean()))
    own, pooled = (np.array(coverages) for coverages in shares.values())
    print(f"coverage of .9 in a class of {size}: own correction {own.mean():.3f}, of all {pooled.mean():.3f}")
    assert own.mean() < 0.86
    assert pooled.mean() == pytest.approx(0.9, abs=0.015)
    # Even independent errors: the coverage of one map varies with the samples of the class, by Beta(k, n + 1 - k).
    limits = [[conformal_quantile(np.abs(rng.normal(size=n)), 0.9) for _ in range(2000)] for n in (9, SMALLEST_GROUP)]
    spreads = [float(np.std(2 * norm.cdf(one) - 1)) for one in limits]
    assert spreads == pytest.approx([0.0905, 0.0412], abs=0.008)


def test_density_and_expected_error_are_those_of_the_space(trained: Any, truth: pd.DataFrame) -> None:
    model = MapModel.of(trained, extra=("point_density", "expected_error"))
    maps = map_models({"v": model}, cube_of(truth, 60))
    rows = model.space.table(truth.assign(height=truth["height"].astype("float32"))).to_numpy(dtype="float32")
    np.testing.assert_array_equal(maps["v_point_density"].values.ravel(), model.area.point_density(rows))
    frame = trained.predictions[trained.deciding]
    squares = (frame["observed_original"] - frame["predicted_original"]) ** 2
    expected = model.area.expected_error(squares, maps["v_dissimilarity"].values.ravel())
    np.testing.assert_allclose(maps["v_expected_error"].values.ravel(), expected, rtol=1e-6)
    inside = maps["v_applicability"].values == 1
    assert (maps["v_point_density"].values[~inside] == 0).all()
    assert (maps["v_point_density"].values[inside] > 0).all()


def test_weighted_intervals_follow_the_mapped_area() -> None:
    """Samples are dense where the noise is small; the area lies where it is large."""
    rng = np.random.default_rng(3)

    def places(count: int, power: float) -> pd.DataFrame:
        height = rng.random(count) ** power
        return pd.DataFrame({"height": height, "value": 20 + 6 * height + rng.normal(0, 0.5 + 4 * height, count)})

    samples, area = places(600, 2.5), places(2500, 0.6)
    forest = train(samples, "value", ["height"], trees=30, folds="random", min_samples_leaf=0.25)
    cube = xr.Dataset({"height": (("y", "x"), area["height"].to_numpy().reshape(50, 50).astype("float32"))})
    shares = {}
    for how in ("plain", "weighted"):
        cells = area[["height"]].iloc[::3] if how == "weighted" else None
        maps = map_models({"v": MapModel.of(forest, conformal=how, cells=cells)}, cube)
        low, high = (maps[f"v_{side}"].values.ravel() for side in ("lower", "upper"))
        shares[how] = float(((low <= area["value"]) & (area["value"] <= high)).mean())
    print(f"coverage of .9 over the area: {shares}")
    assert abs(shares["weighted"] - 0.9) < abs(shares["plain"] - 0.9)
    assert "covariate shift" in maps["v_upper"].attrs["interval_method"]


@pytest.mark.parametrize("count", [25, 4000])
def test_weights_of_samples_differ_from_few_and_from_many_cells(count: int) -> None:
    """Of 60 samples beside 5000 cells none was out of bag, and all had the same weight."""
    rng = np.random.default_rng(0)
    samples = pd.DataFrame({"height": rng.random(60)})
    samples["value"] = 3 * samples["height"] + rng.normal(0, 1, 60)
    forest = train(samples, "value", ["height"], trees=10, folds="random")
    correction, _ = shift_correction(forest, 0.9, pd.DataFrame({"height": rng.random(count) ** 0.3}))
    assert np.ptp(np.diff(correction.reached)) > 0.3


def test_a_weighted_correction_equals_that_of_one_new_row(trained: Any, truth: pd.DataFrame) -> None:
    correction, _ = shift_correction(trained, 0.9, truth[FEATURES].iloc[::10])
    weights = np.diff(correction.reached, prepend=0.0)
    for chance in (0.1, 0.5, 0.95):
        ratio = np.clip(chance / (1 - chance), 1 / 20, 20) / correction.mean
        expected = conformal_quantile(correction.scores, 0.9, np.append(weights, ratio))
        assert correction.at([chance])[0] == expected
    assert sorted(conformal_scores(trained, 0.9)) == correction.scores.tolist()
    few = ShiftCorrection(0.9, np.array([1.0, 2.0]), np.array([1.0, 2.0]), 1.0)
    assert np.isinf(few.at([0.9])[0])


def test_the_variogram_of_area_means_uses_the_interval_that_is_mapped() -> None:
    """With a correction by weight or by class; also of a table of two files, which repeats its labels."""
    table = simulated(400, 5).set_axis(np.arange(400) // 2)
    places = np.random.default_rng(3).random((400, 2)) * 1e5
    forest = train(table, "value", FEATURES, categorical=["kind"], trees=20, folds="random", min_samples_leaf=10)
    frame = forest.predictions["random"]
    cells = simulated(3000, 6)[FEATURES].query("height > 0.6")
    weighted = MapModel.of(forest, conformal="weighted", cells=cells)
    by_class = MapModel.of(forest, conformal="class:kind")
    scores = conformal_scores(forest, 0.9).to_numpy()
    weights = np.diff(weighted.by_shift.reached, prepend=0.0)
    own_weight = np.empty(400)
    own_weight[np.argsort(scores, kind="stable")] = weights
    by_weight = [conformal_quantile(np.sort(scores), 0.9, np.append(weights, own)) for own in own_weight]
    assert len(set(by_weight)) > 1
    own_class = [by_class.by_class.at(kind) for kind in table["kind"]]
    for model, correction in ((weighted, np.array(by_weight)), (by_class, np.array(own_class))):
        sd = (frame["q0.95"] - frame["q0.05"] + 2 * correction).to_numpy() / (2 * norm.ppf(0.95))
        residuals = (frame["observed_original"] - frame["predicted_original"]).to_numpy() / sd
        expected = fit_variogram(places, residuals, degrees=False)
        again = MapModel.load(model.dump())
        for one in (model, again):
            variogram = residual_variogram(one, forest, places, degrees=False)
            np.testing.assert_allclose(
                [variogram.nugget, variogram.partial_sill, variogram.range],
                [expected.nugget, expected.partial_sill, expected.range],
                rtol=1e-6,
                atol=1e-9,  # a nugget of 0
            )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": ["density"]}, "no layer 'density'"),
        ({"conformal": "classes"}, "conformal is 'classes'"),
        ({"conformal": "class:height"}, "'height' is a number"),
        ({"conformal": "class:kin"}, "did you mean 'kind'"),
        ({"conformal": "weighted"}, "needs cells="),
        ({"level": None, "extra": ["point_density"]}, "need level="),
        ({"conformal": "weighted", "cells": pd.DataFrame({"height": [1.0], "kind": [1]})}, "expected 20 or more"),
    ],
)
def test_choices_that_cannot_be_mapped(trained: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MapModel.of(trained, **options)
