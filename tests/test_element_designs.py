"""Validation designs of `[elements]`: what a run reports of each, and which one it says to quote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run

from tpsoil.cube import open_cube
from tpsoil.errors import TpsoilError
from tpsoil.grid import grid_of, plateau_grid
from tpsoil.mapped_area import mapped_cells
from tpsoil.points import project_points, unproject_points
from tpsoil.recipes import run
from tpsoil.recipes.jobs import result_tables


def recipe_with(folder: Path, folds: list[str]) -> dict:
    recipe = small_run.make_small(folder, side=32)
    samples = pd.read_csv(recipe["elements"]["samples"])
    samples["province"] = np.where(np.arange(len(samples)) % 3 == 0, "a", "b")
    samples.to_csv(recipe["elements"]["samples"], index=False)
    recipe.pop("solum", None)
    recipe["elements"] |= {"folds": folds, "trees": 20, "n_folds": 4}
    return recipe


def test_designs_side_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    recipe = recipe_with(tmp_path, ["random", "region:province", "knndm"])
    run(recipe, workers=1, progress=False)
    tables = result_tables(recipe["run"]["output"])
    title = next(name for name in tables if name.startswith("Scores by kind of folds"))
    table = tables[title].set_index("folds")
    assert list(table.index) == ["random", "region", "knndm"]
    assert ((table["lower"] <= table["nse"]) & (table["nse"] <= table["upper"])).all()
    assert table["question"].is_unique
    assert (table["distance_gap_km"] >= 0).all()
    assert table.loc["knndm", "distance_gap_km"] <= table.loc["random", "distance_gap_km"]
    assert any("quote the score of" in line for line in caplog.messages)


def test_mapped_cells_are_soil_with_a_covariate(tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=32)
    cube = open_cube(recipe["run"]["cube"])
    features = recipe["elements"]["features"]
    cells = mapped_cells(cube, features, limit=10**9)
    valid = np.isfinite(cube[features[0]].values)
    assert 0 < len(cells) <= valid.sum()
    x, _ = project_points(*cells.T, grid_of(cube))
    assert cube["x"].min() - 1 <= x.min()
    assert x.max() <= cube["x"].max() + 1
    assert len(mapped_cells(cube, features, limit=16)) <= 36


def test_degrees_and_back() -> None:
    lon, lat = np.array([75.0, 89.0, 103.5]), np.array([27.0, 33.0, 39.5])
    grid = plateau_grid()
    np.testing.assert_allclose(unproject_points(*project_points(lon, lat, grid), grid), [lon, lat], atol=1e-9)


@pytest.mark.parametrize(
    "folds", [["knn"], ["block:"], ["region:"], ["block:3deg", "block:1deg"], ["knndm", "knndm"], []]
)
def test_folds_that_are_none(tmp_path: Path, folds: list[str]) -> None:
    with pytest.raises(TpsoilError, match="folds"):
        run(recipe_with(tmp_path, folds), workers=1, progress=False)


def test_a_recipe_grows_extra_trees(tmp_path: Path) -> None:
    maps = []
    for settings in ({}, {"splitter": "random"}):
        recipe = recipe_with(tmp_path, ["random"])
        recipe["run"]["output"] = str(tmp_path / f"maps{len(maps)}.zarr")
        recipe["elements"] |= {"settings": settings, "trees": 10}
        maps.append(run(recipe, workers=1, progress=False)["iron"].values)
    exact, random = maps
    assert (np.isfinite(exact) == np.isfinite(random)).all()
    inside = np.isfinite(exact)
    assert 0.7 < np.corrcoef(exact[inside], random[inside])[0, 1] < 1
    recipe["elements"]["settings"] = {"splitter": "randon"}
    with pytest.raises(TpsoilError, match="splitter is 'randon', expected one of .*; did you mean 'random'"):
        run(recipe, workers=1, progress=False)


def test_a_run_with_intervals_from_mean_and_spread(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, ["random"])
    recipe["elements"] |= {"interval": 0.9, "conformal": "spread", "trees": 8}
    maps = run(recipe, workers=1, progress=False)
    assert maps["iron_lower"].attrs["interval_method"].startswith("mean and spread between trees")
    assert "residual_variogram" in maps["iron"].attrs
    tables = result_tables(recipe["run"]["output"])
    intervals = next(table for title, table in tables.items() if title.startswith("Intervals out of fold"))
    # Of the interval that is mapped; few samples.
    assert intervals.set_index("level").loc[0.9, "held"] == pytest.approx(0.9, abs=0.1)
    mean = maps["iron"].values
    inside = np.isfinite(mean)
    # The limits of a lognormal distribution: their product over the squared mean depends on the spread alone.
    ratio = (maps["iron_lower"] * maps["iron_upper"]).values[inside] / mean[inside] ** 2
    np.testing.assert_allclose(ratio, 1 / (1 + (maps["iron_sd"].values[inside] / mean[inside]) ** 2), rtol=1e-4)
