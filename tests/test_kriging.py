"""Kriging from local neighbourhoods against a plain transcription and R's gstat; kriging of a forest's residuals."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.evaluation import Kriging, Variogram
from tpsoil.forest import TrainedForest, conformal_intervals, train
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.residual_kriging import KrigedForest, _Task, krige_residuals
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.recipes import run
from tpsoil.recipes.jobs import result_tables

POINTS = pd.DataFrame({"distance": [1.0], "semivariance": [1.0], "pairs": [9]})
RNG = np.random.default_rng(0)
PLACE, VALUES, TARGETS = RNG.uniform(0, 100, (150, 2)), RNG.normal(5, 2, 150), RNG.uniform(-5, 105, (60, 2))


def plain_kriging(model: Variogram, mean: float | None, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """By the kriging equations as textbooks have them, with numpy's general solver."""
    predicted, variance = [], []
    for target in TARGETS:
        near = np.argsort(np.linalg.norm(PLACE - target, axis=1), kind="stable")[:neighbours]
        place, z = PLACE[near], VALUES[near]
        matrix = model.covariance(np.linalg.norm(place[:, None] - place[None], axis=2))
        cross = model.covariance(np.linalg.norm(place - target, axis=1))
        if mean is None:
            matrix = np.block([[matrix, np.ones((len(z), 1))], [np.ones((1, len(z))), np.zeros((1, 1))]])
            weights = np.linalg.solve(matrix, [*cross, 1.0])
            predicted.append(weights[:-1] @ z)
            variance.append(model.sill - weights @ [*cross, 1.0])
        else:
            weights = np.linalg.solve(matrix, cross)
            predicted.append(mean + weights @ (z - mean))
            variance.append(model.sill - weights @ cross)
    return np.array(predicted), np.array(variance)


@pytest.mark.parametrize("mean", [None, 0.0, 4.0])
@pytest.mark.parametrize("shape", ["exponential", "spherical"])
def test_kriging_equals_the_plain_equations(shape: str, mean: float | None) -> None:
    model = Variogram(0.7, 3.0, 40.0, shape, POINTS)
    predicted, variance = Kriging.of(PLACE, VALUES, model, neighbours=16, mean=mean).at(TARGETS)
    expected = plain_kriging(model, mean, 16)
    np.testing.assert_allclose(predicted, expected[0], atol=1e-9)
    np.testing.assert_allclose(variance, expected[1], atol=1e-9)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
@pytest.mark.parametrize("mean", [None, 4.0])
def test_kriging_equals_gstat(tmp_path: Path, mean: float | None) -> None:
    samples = pd.DataFrame({"x": PLACE[:, 0], "y": PLACE[:, 1], "z": VALUES})
    samples.to_csv(tmp_path / "samples.csv", index=False, float_format="%.17g")
    pd.DataFrame(TARGETS, columns=["x", "y"]).to_csv(tmp_path / "targets.csv", index=False, float_format="%.17g")
    known = "" if mean is None else f", beta = {mean}"
    # gstat's exponential range is that at which 63 % of the sill is reached: a third of ours.
    code = f"""
    if (!requireNamespace("gstat", quietly = TRUE)) quit(status = 7)
    s <- read.csv("samples.csv"); t <- read.csv("targets.csv")
    r <- gstat::krige(z ~ 1, locations = ~x + y, data = s, newdata = t, nmax = 16{known}, debug.level = 0,
                      model = gstat::vgm(3.0, "Exp", 40 / 3, nugget = 0.7))
    write.csv(format(r[, c("var1.pred", "var1.var")], digits = 15), "result.csv", row.names = FALSE)
    """
    done = subprocess.run(["Rscript", "-e", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode == 7:
        pytest.skip("gstat is not installed")
    assert done.returncode == 0, done.stderr
    result = pd.read_csv(tmp_path / "result.csv")
    model = Variogram(0.7, 3.0, 40.0, "exponential", POINTS)
    predicted, variance = Kriging.of(PLACE, VALUES, model, neighbours=16, mean=mean).at(TARGETS)
    np.testing.assert_allclose(predicted, result["var1.pred"], atol=1e-6)
    np.testing.assert_allclose(variance, result["var1.var"], atol=1e-6)


def test_any_split_of_the_targets_gives_the_same_bytes() -> None:
    model = Variogram(0.2, 1.0, 400_000.0, "exponential", POINTS)
    rng = np.random.default_rng(1)
    place, targets = rng.uniform([80, 28], [100, 38], (300, 2)), rng.uniform([80, 28], [100, 38], (500, 2))
    kriging = Kriging.of(place, rng.normal(size=300), model, mean=0.0, degrees=True)
    together = np.array(kriging.at(targets))
    parts = [np.array(kriging.at(targets[begin:end])) for begin, end in ((0, 1), (1, 77), (77, 500))]
    assert np.concatenate(parts, axis=1).tobytes() == together.tobytes()
    far, spread = kriging.at([[-120.0, 0.0]])
    assert far[0] == pytest.approx(0.0, abs=1e-12)
    assert spread[0] == pytest.approx(1.2)


def test_samples_at_one_position_are_averaged() -> None:
    model = Variogram(0.5, 1.0, 10.0, "spherical", POINTS)
    twice = Kriging.of([[0, 0], [0, 0], [5, 0]], [1.0, 3.0, 7.0], model)
    assert twice.values.tolist() == [2.0, 7.0]
    np.testing.assert_allclose(twice.at([[0, 0]])[0], 2.0)


@pytest.mark.parametrize(
    ("place", "values", "options", "message"),
    [
        ([[0, 0], [1, 1]], [1.0], {}, "values have shape"),
        ([[0, 0], [1, 1]], [1.0, np.nan], {}, "all finite"),
        ([[0, 0], [0, 0]], [1.0, 2.0], {}, "one position"),
        ([[0, 0], [1, 1]], [1.0, 2.0], {"neighbours": 0}, "neighbours is 0"),
    ],
)
def test_samples_that_cannot_be_kriged(place: list, values: list, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Kriging.of(place, values, Variogram(0.5, 1.0, 10.0, "spherical", POINTS), **options)


# -- residuals of a forest


def field_samples(count: int, *, correlated: bool, span: float = 200_000, seed: int = 4) -> pd.DataFrame:
    """A trend that a covariate explains, plus a field of that range (m) that none does, or white noise."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 300_000, (count, 2))
    distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    covariance = np.exp(-3 * distance / span) if correlated else np.eye(count)
    noise = np.linalg.cholesky(covariance + 1e-9 * np.eye(count)) @ rng.normal(size=count)
    height = rng.random(count)
    value = 10 ** (1.0 + 0.5 * height + 0.1 * noise)
    return pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "height": height, "value": value})


def trained_on(table: pd.DataFrame, folds: str, *classes: str) -> TrainedForest:
    settings = {"trees": 30, "min_samples_leaf": 10, "transform": "log10", "block_size": 150_000.0, "n_folds": 3}
    own = {"categories": "ordered", "categorical": list(classes)} if classes else {}
    return train(table, "value", ["height", *classes], folds=folds, **settings, **own)


@pytest.fixture(scope="module")
def kriged() -> tuple[TrainedForest, KrigedForest, pd.DataFrame]:
    table = field_samples(250, correlated=True)
    trained = trained_on(table, "random")
    return trained, krige_residuals(trained, table[["x", "y"]], degrees=False), table


def test_kriging_is_used_where_it_wins(kriged: tuple[TrainedForest, KrigedForest, pd.DataFrame]) -> None:
    trained, with_kriging, _ = kriged
    row = with_kriging.comparison.iloc[0]
    print(f"RMSE of random folds {row['rmse_forest']:.4f}, with kriging {row['rmse_kriged']:.4f}")
    assert row["used"]
    assert row["rmse_kriged"] < 0.9 * row["rmse_forest"]
    assert with_kriging.trained.scores.loc["random", "rmse"] == pytest.approx(row["rmse_kriged"])
    assert with_kriging.kriging is not None
    assert 30_000 < with_kriging.kriging.range < 500_000
    # Quantiles move with the prediction, so that conformal intervals include what kriging explains.
    before, after = trained.predictions["random"], with_kriging.trained.predictions["random"]
    moved = np.log10(after["q0.9"] / before["q0.9"])
    np.testing.assert_allclose(moved, after["predicted"] - before["predicted"], atol=1e-12)
    assert conformal_intervals(with_kriging.trained, 0.9).correction < conformal_intervals(trained, 0.9).correction


def test_residuals_of_ordered_classes_are_of_rows_whose_target_was_not_used() -> None:
    """Every row is a class of its own: ordered by all targets it would leave no residual to krige."""
    table = field_samples(250, correlated=True).assign(kind=np.arange(250))
    trained = trained_on(table, "random", "kind")
    residuals = _Task(trained, table[["x", "y"]].to_numpy(), False, 8, 1).residuals(np.arange(250))
    out_of_fold = trained.predictions["random"]
    assert residuals.std() > 0.8 * (out_of_fold["observed"] - out_of_fold["predicted"]).std()


def test_kriging_that_does_not_win_is_not_used() -> None:
    noise = field_samples(200, correlated=False)
    for folds, table in (("random", noise), ("block", field_samples(200, correlated=True, span=40_000))):
        trained = trained_on(table, folds)
        result = krige_residuals(trained, table[["x", "y"]], degrees=False)
        assert not result.comparison["used"].any(), folds
        assert result.kriging is None
        assert result.trained is trained


def test_a_kriged_map_is_equal_on_every_chunking_and_after_storage(
    kriged: tuple[TrainedForest, KrigedForest, pd.DataFrame],
) -> None:
    trained, with_kriging, _ = kriged
    grid = grid_from_bounds("EPSG:3035", (0, 0, 300_000, 300_000), 10_000)
    rng = np.random.default_rng(2)
    cube = xr.Dataset({"height": (("y", "x"), rng.random(grid.shape).astype("float32"))}, coords=coordinates(grid))
    cube["height"][3, 4] = np.nan
    model = replace(MapModel.of(with_kriging.trained), kriging=with_kriging.kriging)
    alone = map_models({"v": MapModel.of(trained)}, cube)
    maps = map_models({"v": model}, cube)
    for chunks in ({"y": 7, "x": 30}, {"y": 30, "x": (1, 20, 9)}):
        again = map_models({"v": MapModel.load(model.dump())}, cube.chunk(chunks))
        assert all(layer.chunks is not None for layer in again.values())
        for name in maps:
            np.testing.assert_array_equal(maps[name], again[name].compute(scheduler="synchronous"), err_msg=name)
    assert with_kriging.kriging is not None
    x, y = np.meshgrid(cube["x"], cube["y"])
    shift = with_kriging.kriging.at(np.column_stack([x.ravel(), y.ravel()]))[0].reshape(x.shape)
    np.testing.assert_allclose(maps["v"], alone["v"] * 10**shift, rtol=1e-6)
    assert np.isnan(maps["v"].values[3, 4])
    assert "kriging of residuals" in maps["v"].attrs["model"]
    assert maps["v_upper"].attrs["units"] == "mg kg-1"
    np.testing.assert_array_equal(maps["v_sd"], alone["v_sd"])


def test_residuals_of_few_positions_are_not_kriged() -> None:
    table = field_samples(60, correlated=True)
    table[["x", "y"]] = table[["x", "y"]].to_numpy()[np.arange(60) // 3]
    trained = train(table, "value", ["height"], np.arange(60) // 3, folds="group", trees=5)
    with pytest.raises(InputError, match="20 positions"):
        krige_residuals(trained, table[["x", "y"]], degrees=False)
    with pytest.raises(InputError, match="positions have shape"):
        krige_residuals(trained, table[["x", "y"]][1:], degrees=False)


def test_a_run_reports_whether_kriging_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    recipe = small_run.make_small(tmp_path, side=32)
    recipe.pop("solum")
    # Iron follows the column, which no covariate here knows.
    recipe["elements"] |= {"features": ["annual_precipitation"], "folds": ["random"], "kriging": "residuals"}
    maps = run(recipe, workers=1, progress=False)
    table = next(t for name, t in result_tables(recipe["run"]["output"]).items() if name.startswith("Kriging"))
    assert table["used"].all()
    assert "kriging" in maps["iron"].attrs
    assert any("kriging of residuals lowers the RMSE of random folds" in line for line in caplog.messages)
