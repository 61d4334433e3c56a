"""Validation designs of any estimator and of the solum model: folds, side-by-side scores, and what to quote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from tests.test_solum_calibration import make_profiles
from tpsoil import plateau_grid
from tpsoil.errors import InputError
from tpsoil.evaluation import (
    MappedArea,
    compare_models,
    cross_validate_designs,
    design_folds,
    design_scores,
    make_folds,
    match_folds,
    quoted_design,
    rmse,
    score_intervals,
)
from tpsoil.evaluation.designs import DRAWS
from tpsoil.grid import coordinates
from tpsoil.recipes.solum_calibration import mapped_places
from tpsoil.solum import Calibration, Effort, calibrate
from tpsoil.solum.archive import calibration_bytes
from tpsoil.solum.calibration import calibration_from
from tpsoil.solum.inputs import NEEDED

QUICK = Effort(complexes=2, evaluations=600)
DESIGNS = ("random", "site", "block:300km", "region:basin", "knndm")


def clustered(n: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, MappedArea]:
    """Samples in clusters of a smooth field, and a regular area around them; metres."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1e6, (8, 2))
    places = centres[rng.integers(0, 8, n)] + rng.normal(0, 2e4, (n, 2))
    cells = np.stack(np.meshgrid(np.linspace(0, 1e6, 25), np.linspace(0, 1e6, 25)), -1).reshape(-1, 2)
    table = pd.DataFrame({"east": places[:, 0], "north": places[:, 1], "basin": np.where(places[:, 0] > 5e5, "e", "w")})
    target = np.sin(places[:, 0] / 1.5e5) + np.cos(places[:, 1] / 1.2e5) + rng.normal(0, 0.1, n)
    return table, target, MappedArea(places, cells)


def test_designs_are_the_folds_of_their_kinds() -> None:
    table, _, area = clustered()
    folds = design_folds(DESIGNS, table, area, n_folds=4, seed=3)
    east, north = area.samples.T
    expected: dict[str, Any] = {
        "random": make_folds(120, "random", n_folds=4, seed=3),
        "block:300km": make_folds(120, "block", n_folds=4, east=east, north=north, block_size=3e5, seed=3),
        "region:basin": (table["basin"] == "w").to_numpy(int),
        "knndm": match_folds(area.samples, area.cells, n_folds=4, groups=np.unique(area.samples, axis=0,
                             return_inverse=True)[1].ravel(), seed=3).folds,
    }  # fmt: skip
    for name, labels in expected.items():
        np.testing.assert_array_equal(folds[name], labels, err_msg=name)
    twice = MappedArea(np.repeat(area.samples[:20], 2, axis=0))
    sites = design_folds(["site"], table[:40], twice, n_folds=4)["site"]
    assert (sites[::2] == sites[1::2]).all()


@pytest.mark.parametrize(
    ("designs", "message"),
    [
        (["rondom"], "validation design 'rondom', expected .*did you mean 'random'"),
        (["random", "random"], "design 'random' is given twice"),
        (["block:3deg"], "the positions are in metres; give the size of blocks in m or km"),
        (["region:basins"], "no column 'basins'"),
        (["block:9000km"], "2 blocks of 9e\\+06 cannot fill 4 folds"),
    ],
)
def test_wrong_designs_are_rejected_with_how_to_fix(designs: list[str], message: str) -> None:
    table, _, area = clustered()
    with pytest.raises(InputError, match=message):
        design_folds(designs, table, area, n_folds=4)


def test_knndm_without_the_mapped_area_is_rejected() -> None:
    table, _, area = clustered()
    with pytest.raises(InputError, match="'knndm' needs the mapped area's cells"):
        design_folds(["knndm"], table, MappedArea(area.samples), n_folds=4)


def test_any_estimator_is_validated_under_several_designs_as_by_hand() -> None:
    table, target, area = clustered()
    features = table[["east", "north"]]
    models = {"forest": RandomForestRegressor(20, random_state=0), "mean": DummyRegressor(), "line": LinearRegression()}
    folds = design_folds(["random", "block:300km", "knndm"], table, area, n_folds=3, seed=1)
    result = cross_validate_designs(models, features, target, folds, area=area)
    assert len(result.table) == 9
    rows = result.table.set_index(["design", "model"])
    for design, labels in folds.items():
        for name, model in models.items():
            by_hand = np.empty(len(target))
            for k in range(3):
                fitted = clone(model).fit(features[labels != k], target[labels != k])
                by_hand[labels == k] = fitted.predict(features[labels == k])
            np.testing.assert_array_equal(result.predictions[design, name], by_hand)
            assert rows.loc[(design, name), "rmse"] == pytest.approx(rmse(target, by_hand))
    limits = score_intervals(target, result.predictions["random", "mean"], measures=["nse", "rmse"], draws=DRAWS)
    assert rows.loc[("random", "mean"), "rmse_upper"] == limits.loc["rmse", "upper"]
    test = compare_models(
        target, result.predictions["random", "forest"], result.predictions["random", "mean"], draws=DRAWS
    )
    assert rows.loc[("random", "mean"), "p"] == test["p"] < 0.05
    assert np.isnan(rows.loc[("random", "forest"), "p"])
    assert rows.loc[("random", "forest"), "nse"] > rows.loc[("knndm", "forest"), "nse"]  # clustered samples
    nearest = result.table.sort_values("distance_gap")["design"].iloc[0]
    assert result.quoted[0] == nearest != "random"
    assert f"quote the score of {nearest} folds for this map, NSE" in result.quoted[1]
    assert "probability sample" in result.quoted[1]


def test_scores_are_of_the_rows_that_every_model_predicts() -> None:
    seen = np.arange(12.0)
    gap = np.where(np.arange(12) < 2, np.nan, seen + 1)
    table = design_scores(seen, {"random": {"a": seen, "b": gap}}, {"random": np.arange(12) % 3})
    assert table["n"].tolist() == [10, 10]
    assert table["distance_gap"].isna().all()
    assert quoted_design(table)[1].count("not compared") == 1
    few = design_scores(seen, {"random": {"a": np.where(seen > 1, np.nan, seen)}}, {"random": np.arange(12) % 3})
    assert few["nse"].isna().all()
    with pytest.raises(InputError, match="no design has a score"):
        quoted_design(few)
    with pytest.raises(InputError, match="predictions of b, expected 12 of each"):
        design_scores(seen, {"random": {"a": seen, "b": gap[1:]}}, {"random": np.arange(12) % 3})


def test_wrong_calls_of_the_helper_are_rejected() -> None:
    x, y = np.zeros((6, 1)), np.arange(6.0)
    with pytest.raises(InputError, match="no model, expected at least one estimator"):
        cross_validate_designs({}, x, y, {"random": np.arange(6) % 2})
    with pytest.raises(InputError, match="folds of random, expected one label for each target"):
        cross_validate_designs({"mean": DummyRegressor()}, x, y, {"random": np.arange(5) % 2})
    labels = np.empty(6, int)
    for k, (_, test) in enumerate(KFold(3).split(x)):
        labels[test] = k
    assert len(cross_validate_designs({"mean": DummyRegressor()}, x, y, {"random": labels}).table) == 1


# ---------------------------------------------------------------- the solum model


@pytest.fixture(scope="module")
def validated() -> Calibration:
    table = make_profiles({3: 45, 4: 30}).assign(basin=lambda t: np.where(t["x"] > 1e6, "east", "west"))
    cells = np.stack(np.meshgrid(np.linspace(0, 2e6, 20), np.linspace(0, 1e6, 10)), -1).reshape(-1, 2)
    return calibrate(table, starts=1, folds=3, effort=QUICK, members=24, validation=DESIGNS, area=cells)


def test_the_solum_model_stands_beside_forest_and_zone_mean_in_every_design(validated: Calibration) -> None:
    table = validated.validation.set_index(["design", "model"])
    assert list(dict.fromkeys(table.index.get_level_values(0))) == list(DESIGNS)
    assert set(table.index.get_level_values(1)) == {"solum model", "forest", "zone mean"}
    assert table["distance_gap"].notna().all()
    for design in DESIGNS:
        median = validated.predictions[f"cv_{design}_median"]
        known = median.notna() & validated.predictions[f"forest_cv_{design}"].notna()
        seen = validated.predictions["observed"]
        row = table.loc[(design, "solum model")]
        assert row["n"] == known.sum()
        assert row["rmse"] == pytest.approx(rmse(seen[known], median[known]))
        assert row["rmse_lower"] < row["rmse"] < row["rmse_upper"]
        assert 0 < table.loc[(design, "forest"), "p"] <= 1
    kinds = set(validated.scores["kind"])
    assert {"cv_knndm_median", "forest_cv_knndm", "zone_mean_cv_knndm"} <= kinds
    quoted, text = quoted_design(validated.validation)
    assert quoted == validated.validation.sort_values("distance_gap")["design"].iloc[0]
    assert "Other folds answer other questions" in text


@pytest.mark.parametrize("masked", [False, True])
def test_the_mapped_area_is_the_grid_where_every_layer_is_assumed(masked: bool) -> None:
    grid = plateau_grid(100_000)[:6, :6]
    layers = xr.Dataset(coords=coordinates(grid)).assign({name: ((), np.float32(1.0)) for name in NEEDED})
    if masked:
        soil = np.ones((6, 6), "uint8")
        soil[0] = 0
        layers = layers.assign(soil_mask=(("y", "x"), soil))
    cells = mapped_places(pd.DataFrame({"x": [0.0], "y": [0.0]}), layers)
    x, y = np.meshgrid(layers["x"], layers["y"][masked:])
    np.testing.assert_allclose(cells, np.column_stack([x.ravel(), y.ravel()]), atol=1e-3)


def test_designs_change_nothing_else_and_are_stored(validated: Calibration) -> None:
    table = make_profiles({3: 45, 4: 30}).assign(basin=lambda t: np.where(t["x"] > 1e6, "east", "west"))
    plain = calibrate(table, starts=1, folds=3, effort=QUICK, members=24)
    assert plain.parameters == validated.parameters
    pd.testing.assert_series_equal(plain.predictions["cv_median"], validated.predictions["cv_median"])
    assert not len(plain.validation)
    again = calibration_from(calibration_bytes(validated), "a")
    pd.testing.assert_frame_equal(again.validation, validated.validation)
    with pytest.raises(InputError, match="area has no effect without validation"):
        calibrate(table, effort=QUICK, area=[[0.0, 0.0]])
    with pytest.raises(InputError, match="'knndm' needs the mapped area"):
        calibrate(table, effort=QUICK, validation=["knndm"])
