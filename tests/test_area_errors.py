"""Intervals of areas and of coarser maps: errors that are correlated in space, checked by simulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import small_run
import xarray as xr
from scipy.stats import norm

from tpsoil.cube import aggregate_map, coarsen_store, create_cube, open_cube, write_layers
from tpsoil.cube.area_errors import ALL_CELLS, area_estimates
from tpsoil.errors import InputError, TpsoilError
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.recipes import run
from tpsoil.recipes.jobs import result_tables

SIDE, CELL, RANGE = 24, 1000.0, 12_000.0
GRID = grid_from_bounds("EPSG:3035", (4_000_000, 3_000_000, 4_000_000 + SIDE * CELL, 3_000_000 + SIDE * CELL), CELL)
Z = float(norm.ppf(0.95))


def covariance() -> np.ndarray:
    """Of the errors: a fifth of the variance is nugget."""
    y, x = (axis.ravel() * CELL for axis in np.indices((SIDE, SIDE)))
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    return 0.8 * np.exp(-3 * distance / RANGE) + 0.2 * np.eye(SIDE * SIDE)


def map_of(mean: np.ndarray, sd: np.ndarray) -> xr.Dataset:
    variogram = {"model": "exponential", "nugget": 0.2, "partial_sill": 0.8, "range_m": RANGE}
    attrs = {"units": "mg kg-1", "residual_variogram": json.dumps(variogram), "interval_level": 0.9}
    layers = {"iron": mean, "iron_lower": mean - Z * sd, "iron_upper": mean + Z * sd}
    maps = xr.Dataset({k: (("y", "x"), v.astype("float32")) for k, v in layers.items()}, coords=coordinates(GRID))
    maps["iron"].attrs.update(attrs)
    return maps


@pytest.fixture(scope="module")
def simulated() -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation of the cells, and errors of 1500 maps."""
    rng = np.random.default_rng(0)
    sd = 50 + 10 * np.indices((SIDE, SIDE))[1] / SIDE
    errors = np.linalg.cholesky(covariance()) @ rng.normal(size=(SIDE * SIDE, 1500))
    return sd, sd[:, :, None] * errors.reshape(SIDE, SIDE, -1)


@pytest.fixture(scope="module")
def maps(simulated: tuple[np.ndarray, np.ndarray]) -> xr.Dataset:
    return map_of(np.full((SIDE, SIDE), 500.0), simulated[0])


def test_intervals_of_blocks_cover_simulated_means(maps: xr.Dataset, simulated: tuple) -> None:
    coarse = aggregate_map(maps, "iron", 8)
    blocks = simulated[1].reshape(3, 8, 3, 8, -1).mean(axis=(1, 3))
    half = (coarse["iron_upper"] - coarse["iron"]).values[:, :, None]
    naive = Z * np.sqrt((simulated[0] ** 2).reshape(3, 8, 3, 8).mean(axis=(1, 3)) / 64)[:, :, None]
    coverage, alone = float((abs(blocks) <= half).mean()), float((abs(blocks) <= naive).mean())
    print(f"coverage of the means of 8 x 8 cells, nominal .9: {coverage:.3f}, were errors independent {alone:.3f}")
    assert coverage == pytest.approx(0.9, abs=0.02)
    assert alone < 0.5
    assert coarse["iron"].shape == (3, 3)
    assert float(coarse["iron_share"].min()) == 1
    assert float(coarse["x"][0]) == 4_000_000 + 4 * CELL


def test_intervals_of_polygons_and_of_the_map_cover_simulated_means(maps: xr.Dataset, simulated: tuple) -> None:
    east, north = 4_000_000, 3_000_000
    polygons = {
        "half": shapely.box(east, north, east + 12_000, north + 24_000),
        "triangle": shapely.Polygon([(east, north), (east + 20_000, north), (east, north + 20_000)]),
    }
    table = area_estimates(maps, "iron", polygons).set_index("polygon")
    assert list(table.index) == ["half", "triangle", ALL_CELLS]
    weights = {"half": np.indices((SIDE, SIDE))[1] < 12, ALL_CELLS: np.ones((SIDE, SIDE), bool)}
    for name, inside in weights.items():
        truth = simulated[1][inside].mean(axis=0)
        row = table.loc[name]
        coverage = float((abs(truth) <= row["upper"] - row["mean"]).mean())
        alone = float((abs(truth) <= Z * row["independent_se"]).mean())
        print(f"coverage of {name}, nominal .9: {coverage:.3f}, were errors independent {alone:.3f}")
        assert coverage == pytest.approx(0.9, abs=0.02)
        assert alone < 0.5
        assert row["cells"] == inside.sum()
    assert table.loc["half", "mean"] == pytest.approx(500)
    assert table.loc["half", "area_km2"] == pytest.approx(288, rel=1e-3)
    assert table.loc["triangle", "area_km2"] == pytest.approx(200, rel=1e-3)
    np.testing.assert_allclose(table["total_upper"] / table["total"], table["upper"] / table["mean"])


def test_lazy_maps_with_gaps_give_the_same(maps: xr.Dataset) -> None:
    gap = maps.copy(deep=True)
    gap["iron"][:5, :9] = np.nan
    whole = aggregate_map(gap, "iron", 5)
    assert whole["iron"].shape == (5, 5)
    assert np.isnan(whole["iron"][0, 0])
    assert 0 < float(whole["iron_share"][0, 1]) < 1
    lazy = gap.chunk({"y": 7, "x": 9})
    xr.testing.assert_identical(whole, aggregate_map(lazy, "iron", 5))
    first, second = (area_estimates(data, "iron", {"all": shapely.box(*GRID.boundingbox)}) for data in (gap, lazy))
    assert first.equals(second)
    assert first.loc[0, "se"] == pytest.approx(first.loc[1, "se"], rel=1e-9)


def test_a_thinned_area_has_the_same_error(maps: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = area_estimates(maps, "iron", {"all": shapely.box(*GRID.boundingbox)}).iloc[0]
    monkeypatch.setattr("tpsoil.cube.area_errors.PAIR_CELLS", 150)
    thinned = area_estimates(maps, "iron", {"all": shapely.box(*GRID.boundingbox)}).iloc[0]
    assert thinned["mean"] == complete["mean"]
    assert thinned["se"] == pytest.approx(complete["se"], rel=0.05)


def test_polygons_smaller_than_a_cell_and_outside_are_reported(maps: xr.Dataset) -> None:
    east, north = 4_000_000, 3_000_000
    polygons = {
        "tiny": shapely.box(east + 100, north + 100, east + 400, north + 400),
        "away": shapely.box(0, 0, 1000, 1000),
        "all": shapely.box(*GRID.boundingbox),
    }
    table = area_estimates(maps, "iron", polygons)
    assert any("smaller than a cell of 1" in text and "tiny" in text for text in table.attrs["problems"])
    assert any("no cell with a value" in text and "away" in text for text in table.attrs["problems"])
    rows = table.set_index("polygon")
    assert np.isnan(rows.loc["away", "mean"])
    assert rows.loc["tiny", "se"] == pytest.approx(50, rel=0.05)


def test_maps_without_errors_are_rejected(maps: xr.Dataset) -> None:
    for factor in (1, 2.5, True):
        with pytest.raises(InputError, match="factor is"):
            aggregate_map(maps, "iron", factor)  # type: ignore[arg-type]
    bare = maps.copy()
    bare["iron"] = bare["iron"].drop_attrs()
    with pytest.raises(InputError, match="no variogram of its residuals"):
        aggregate_map(bare, "iron", 4)
    with pytest.raises(TpsoilError, match="no layer iron_lower, iron_upper"):
        area_estimates(maps[["iron"]], "iron", {"all": shapely.box(*GRID.boundingbox)})


def test_a_store_is_not_replaced_by_its_coarser_one(tmp_path: Path) -> None:
    store = tmp_path / "fine.zarr"
    create_cube(store, GRID)
    slope = xr.DataArray(np.ones(GRID.shape), dims=("y", "x"), coords=coordinates(GRID), attrs={"units": "degree"})
    write_layers(store, {"slope": slope})
    with pytest.raises(InputError, match="would be replaced before it is read"):
        coarsen_store(store, tmp_path / "other" / ".." / "fine.zarr", 4, layers=["slope"], overwrite=True)
    np.testing.assert_array_equal(open_cube(store)["slope"].values, 1)


def test_other_layers_of_a_coarser_store_are_means_and_frequent_classes() -> None:
    store, out = "memory://coarsening/fine", "memory://coarsening/coarse"
    create_cube(store, GRID, overwrite=True)
    slope = np.arange(SIDE * SIDE, dtype="float32").reshape(SIDE, SIDE) % 11
    slope[:3, :4] = np.nan
    zone = np.ones((SIDE, SIDE), "uint8")
    zone[5:8, :4] = 3
    layers = {"slope": slope, "zone": zone, "iron": slope, "iron_sd": slope}
    units = {"slope": "degree", "zone": "1", "iron": "mg kg-1", "iron_sd": "mg kg-1"}
    arrays = {
        name: xr.DataArray(values, dims=("y", "x"), coords=coordinates(GRID), attrs={"units": units[name]})
        for name, values in layers.items()
    }
    write_layers(store, arrays)
    assert coarsen_store(store, out, 4, layers=["slope", "zone", "iron"], overwrite=True) == ["slope", "zone", "iron"]
    coarse = open_cube(out)
    blocks = slope.reshape(6, 4, 6, 4)
    np.testing.assert_allclose(coarse["slope"].values, np.nanmean(np.where(blocks > -1, blocks, np.nan), axis=(1, 3)))
    assert coarse["zone"].values[1, 0] == 3
    assert coarse["zone"].values[2, 0] == 1
    assert coarse["iron"].attrs["units"] == "mg kg-1"
    with pytest.raises(InputError, match="iron_sd would be averaged"):
        coarsen_store(store, out, 4, layers=["iron_sd"], overwrite=True)
    write_layers(store, {"sd": arrays["iron_sd"], "q05": arrays["iron"]})
    with pytest.raises(InputError, match="sd, q05 would be averaged"):  # of a forest that was mapped alone
        coarsen_store(store, out, 4, layers=["sd", "q05"], overwrite=True)
    with pytest.raises(InputError, match="no map with an interval"):
        coarsen_store(store, out, 4, overwrite=True)
    with pytest.raises(InputError, match="factor is 1"):
        coarsen_store(store, out, 1, layers=["slope"], overwrite=True)


def test_a_run_gives_intervals_of_areas(tmp_path: Path, tpsoil_command: Callable[..., Any]) -> None:
    recipe = small_run.make_small(tmp_path, side=32)
    recipe.pop("solum")
    grid = small_run.small_grid(32)
    box = shapely.box(*grid.boundingbox)
    frame = geopandas.GeoDataFrame({"basin": ["all"]}, geometry=[box], crs=grid.crs.to_wkt())
    frame.to_file(tmp_path / "basins.gpkg")
    recipe["elements"] |= {"interval": 0.9, "folds": ["random"]}
    entry = {"name": "basins", "layers": ["iron"], "polygons": str(tmp_path / "basins.gpkg"), "by": "basin"}
    recipe["zonal"] = [{**entry, "area_intervals": ["iron"]}]
    maps = run(recipe, workers=1, progress=False)
    assert "range_m" in maps["iron"].attrs["residual_variogram"]
    table = next(t for title, t in result_tables(recipe["run"]["output"]).items() if title.startswith("Means and tot"))
    assert list(table["polygon"]) == ["all", ALL_CELLS]
    assert (table["independent_se"] < table["se"]).all()
    assert table.loc[0, "mean"] == pytest.approx(float(maps["iron"].mean()), rel=1e-5)
    coarse = aggregate_map(maps, "iron", 4)
    assert coarse["iron"].shape == (8, 8)
    assert float((coarse["iron_upper"] > coarse["iron_lower"]).mean()) > 0.9
    out = str(tmp_path / "coarse.zarr")
    assert tpsoil_command("cube", "coarsen", recipe["run"]["output"], out, "--factor", "4").status == 0
    stored = open_cube(out)
    for name in ("iron", "iron_se", "iron_lower", "iron_upper", "iron_share"):
        np.testing.assert_array_equal(stored[name].values, coarse[name].values)
    assert stored["iron"].attrs["parents"] == "iron"
    assert "correlated" in stored["iron_upper"].attrs["aggregation"]
    assert tpsoil_command("cube", "coarsen", recipe["run"]["output"], out, "--factor", "4").status == 2
    recipe["zonal"] = [{**entry, "area_intervals": ["irn"]}]
    with pytest.raises(TpsoilError, match="did you mean 'iron'"):
        run(recipe, workers=1, progress=False)
