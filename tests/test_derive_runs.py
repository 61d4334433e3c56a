"""Recipes that derive from a DEM: tiles equal whole, water erosion beside the published mean, faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rioxarray
import xarray as xr

from tpsoil.covariates import hydrology_attributes, rainfall_erosivity, soil_erodibility, terrain_attributes
from tpsoil.covariates.terrain import TERRAIN_LAYERS, TerrainWindow
from tpsoil.covariates.water_erosion_table import (
    LITERATURE,
    PUBLISHED_MEAN,
    SYMBOLS,
    factor_notes,
    summarise_erosion,
    tally_erosion,
)
from tpsoil.cube import open_cube
from tpsoil.errors import InputError, RecipeError
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.ingest.rasters import read_raster
from tpsoil.recipes import read_recipe, result_tables, run
from tpsoil.recipes.derive_sources import LocalWindows, WindowsOfDem, open_dem, sizes_of
from tpsoil.variables import variable

RECIPES = Path(__file__).parent / "recipes"
REASON = "a guess for a test"
TITLE = "Water erosion beside the published mean"
Finished = tuple[Path, dict[str, Any], xr.Dataset]


def make_inputs(folder: Path) -> dict[str, Any]:
    """A geographic DEM of 0.002 degrees with a hole, coarse rain and NDVI, and a recipe of 1 km over them."""
    box = grid_from_bounds("EPSG:4326", (90.0, 30.0, 90.4, 30.3), 0.002)
    rows, columns = np.indices(box.shape)
    rough = np.random.default_rng(1).normal(0, 5, box.shape)
    z = (4500 + 200 * np.sin(rows / 20) * np.cos(columns / 25) + columns + rough).astype("float32")
    z[40:44, 50:60] = np.nan
    coarse = grid_from_bounds("EPSG:4326", (89.9, 29.9, 90.5, 30.4), 0.05)
    rng = np.random.default_rng(2)
    for name, values, grid in (
        ("dem", z, box),
        ("rain", rng.uniform(200, 600, coarse.shape).astype("float32"), coarse),
        ("ndvi", rng.uniform(0.1, 0.7, coarse.shape).astype("float32"), coarse),
    ):
        layer = xr.DataArray(values, coords=coordinates(grid), dims=("y", "x"))
        layer.rio.to_raster(folder / f"{name}.tif")
    return {
        "run": {"name": "derived", "output": str(folder / "maps.zarr")},
        "grid": {"crs": "EPSG:32646", "resolution": 1000, "cover": str(folder / "dem.tif"), "chunks": 16},
        "layers": [
            {"name": "annual_precipitation", "source": str(folder / "rain.tif"), "units": "mm"},
            {"name": "ndvi", "source": str(folder / "ndvi.tif")},
        ],
        "derive": {
            "dem": str(folder / "dem.tif"),
            "dem_units": "m",
            "terrain": list(TERRAIN_LAYERS),
            "hydrology": ["ls_factor", "topographic_wetness"],
            "water_erosion": {"erosivity": "zhang_fu_annual", "erodibility": {"value": 0.03, "reason": REASON}},
        },
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("derived")
    recipe = make_inputs(folder)
    run(recipe, workers=2, progress=False)
    return folder, recipe, open_cube(str(folder / "maps.zarr")).compute()


def windows_of(raster: Any) -> LocalWindows:
    return LocalWindows(raster, TerrainWindow(*sizes_of(raster)))


def test_windows_of_a_dem_equal_its_whole(finished: Finished) -> None:
    raster = open_dem(str(finished[0] / "dem.tif"), units="m")
    height, width = (int(size) for size in raster.box.shape)
    values = raster.read(slice(0, height), slice(0, width))
    whole = terrain_attributes(xr.DataArray(values, dims=("y", "x"), coords=coordinates(raster.box)))
    terrain = WindowsOfDem(raster, tuple(variable(name) for name in TERRAIN_LAYERS), windows_of(raster))
    windows = [(0, height, 0, width), (0, 1, 0, 1), (37, 60, 45, 80), (height - 9, height, width - 13, width)]
    for name in TERRAIN_LAYERS:
        read = terrain.raster(variable(name)).read
        for top, bottom, left, right in windows:
            part = whole[name].values[top:bottom, left:right]
            assert read(slice(top, bottom), slice(left, right)).tobytes() == np.ascontiguousarray(part).tobytes(), name


def test_tiles_of_any_size_give_the_same_maps(finished: Finished, tmp_path: Path) -> None:
    _, recipe, maps = finished
    other = recipe | {"run": recipe["run"] | {"output": str(tmp_path / "other.zarr"), "tile": 1}}
    run(other, workers=1, progress=False)
    again = open_cube(str(tmp_path / "other.zarr")).compute()
    assert set(again) == set(maps)
    for name in maps:
        assert again[name].values.tobytes() == maps[name].values.tobytes(), name


def test_maps_are_made_at_the_dems_resolution(finished: Finished) -> None:
    folder, _, maps = finished
    raster = read_raster(str(folder / "dem.tif"), variable("elevation"), units="m")
    height, width = (int(size) for size in raster.box.shape)
    values = raster.read(slice(0, height), slice(0, width))
    dem = xr.DataArray(values, dims=("y", "x"), coords=coordinates(raster.box))
    own = terrain_attributes(dem)
    # the mean of 1 km cells over the DEM is the mean of its cells, up to the ragged rim of a turned grid
    assert float(maps.slope.mean()) == pytest.approx(float(own.slope.mean()), rel=0.02)
    ls = hydrology_attributes(dem).ls_factor
    assert float(maps.ls_factor.mean()) == pytest.approx(float(ls.mean()), rel=0.02)
    attrs = maps.ls_factor.attrs
    assert attrs["dem"] == "dem.tif"
    assert "150 x 200 cells of 0.002 x 0.002 deg" in attrs["derived_at"]
    assert attrs["max_length_m"] == 300.0
    assert maps.slope.attrs["dem_digest"] == raster.digest


def test_water_erosion_is_printed_beside_the_published_mean(finished: Finished) -> None:
    folder, _, maps = finished
    expected = maps.rainfall_erosivity * 0.03 * maps.ls_factor * maps.cover_factor
    np.testing.assert_allclose(maps.water_erosion, expected, rtol=1e-5)
    table = result_tables(str(folder / "maps.zarr"))[TITLE].set_index("factor")
    assert table.loc["A", "mean"] == pytest.approx(float(expected.mean()), rel=1e-4)
    assert table.loc["A published", "mean"] == PUBLISHED_MEAN == 2.76
    assert table.loc["K", ["mean", "median"]].tolist() == pytest.approx([0.03, 0.03])
    assert table.loc["K", "literature"] == "0.015 to 0.061"
    assert "Teng et al. 2018" in table.loc["A", "source"]
    assert table.loc["K", "how"] == f"assumed: soil_erodibility = 0.03 everywhere: {REASON}"
    assert table.loc["R", "how"] == "zhang_fu_annual"
    for name, symbol in SYMBOLS.items():
        values = maps[name].values[np.isfinite(maps.water_erosion.values)]
        quantiles = np.quantile(values, [0.05, 0.5, 0.95], method="inverted_cdf")
        assert table.loc[symbol, ["p05", "median", "p95"]].tolist() == pytest.approx(quantiles.tolist(), rel=0.0241)
    assert table.loc["LS", "how"].endswith("slope length up to 300 m")
    assert REASON in maps.water_erosion.attrs["assumptions"]


@pytest.mark.parametrize(("change", "says"), [
    ({"dem": None, "dem_units": None}, "hydrology needs dem"),
    ({"hydrology": ["ls"]}, "expected each at most once of upslope_area"),
    ({"dem": "absent.tif"}, "derive.dem: no such file"),
    ({"water_erosion": {"erosivity": "wischmeier_si"}}, "monthly_precipitation is needed by method wischmeier_si"),
    ({"water_erosion": {"erosivity": "zhang_fu_annual", "erodibility": {"value": 0.02}}}, "reason: is missing"),
    ({"water_erosion": {"erosivity": "zhang_fu_annual"}}, "needs layer 'sand'"),
    ({"hydrology": [], "dem": None, "dem_units": None, "terrain": []}, "hydrology needs dem"),
])  # fmt: skip
def test_faults_are_listed(finished: Finished, change: dict[str, Any], says: str) -> None:
    _, recipe, _ = finished
    derive = {key: value for key, value in (recipe["derive"] | change).items() if value is not None}
    with pytest.raises(RecipeError, match=says):
        run(recipe | {"derive": derive}, progress=False)


def test_a_dem_too_large_for_flow_is_refused_with_the_mend(finished: Finished, tmp_path: Path) -> None:
    _, recipe, _ = finished
    changed = recipe | {
        "run": recipe["run"] | {"output": str(tmp_path / "big.zarr")},
        "derive": recipe["derive"] | {"memory_limit_gb": 1e-4},
    }
    with pytest.raises((InputError, RuntimeError), match="average the DEM by"):
        run(changed, progress=False)


@pytest.mark.data
def test_the_k_of_the_tibet_recipe_is_that_of_the_horizons(data_folder: Path) -> None:
    horizons = pd.read_csv(data_folder / "tibet" / "soil_horizons_ksat.csv", low_memory=False)
    sand, silt, clay = (horizons[f"{part}_tot_psa"].to_numpy() for part in ("sand", "silt", "clay"))
    carbon = horizons["oc_v"].to_numpy()
    raster = read_raster(data_folder / "tibet" / "topography_itu_5m.tif", variable("elevation"), units="m")
    inverse = ~raster.box.transform
    east, north = horizons["longitude_decimal_degrees"], horizons["latitude_decimal_degrees"]
    columns, rows = (np.floor(v).astype(int) for v in (inverse.a * east + inverse.c, inverse.e * north + inverse.f))
    height = np.array([raster.read(slice(r, r + 1), slice(c, c + 1))[0, 0] for r, c in zip(rows, columns)])
    good = (horizons["hzn_top"] <= 5) & (height > 3000) & (np.abs(sand + silt + clay - 100) <= 1) & np.isfinite(carbon)
    k = soil_erodibility(sand[good], silt[good], clay[good], carbon[good])
    places = pd.Series(k).groupby([east[good].round(2).to_numpy(), north[good].round(2).to_numpy()]).mean()
    recipe = read_recipe(RECIPES / "tibet_solum.toml")
    assert recipe.derive is not None
    assert (len(k), len(places)) == (18, 16)
    assert recipe.derive.tables["erodibility"]["value"] == pytest.approx(places.mean(), abs=5e-5)
    assert (round(places.min(), 3), round(places.max(), 3)) == (0.011, 0.041)


def test_the_table_of_water_erosion_is_made_of_tallies_alone() -> None:
    """Means are exact and quantiles within a class of the histograms; no cell of the maps is read."""
    rng = np.random.default_rng(3)
    limits = ((500, 2000), (0.01, 0.03), (0.1, 30), (0.05, 0.9))
    r, k, ls, c = (rng.uniform(low, high, (40, 50)) for low, high in limits)
    c[rng.random(c.shape) < 0.1] = 0.0
    a = r * k * ls * c
    a[:10, :10] = np.nan  # no soil
    layers = {name: values.astype("float32") for name, values in zip(SYMBOLS, (r, k, ls, c, a))}
    tallies = [
        tally_erosion({name: values[y : y + 16, x : x + 16] for name, values in layers.items()})
        for y in range(0, 40, 16)
        for x in range(0, 50, 16)
    ]
    table, soil = summarise_erosion(1.0, tallies, {})["rusle"].set_index("factor"), np.isfinite(a)
    for factor, values in {"R": r[soil], "K": k[soil], "LS": ls[soil], "C": c[soil], "A": a[soil]}.items():
        assert table.loc[factor, "mean"] == pytest.approx(values.mean(), rel=1e-6)
        expected = np.quantile(values, [0.05, 0.5, 0.95], method="inverted_cdf")
        assert table.loc[factor, ["p05", "median", "p95"]].tolist() == pytest.approx(expected.tolist(), rel=0.0241)
    assert table.loc["C", "p05"] == 0.0
    assert f"{soil.sum()} cells with soil" in table.loc["A", "how"]
    again = summarise_erosion(1.0, tallies[::-1], {})["rusle"]
    pd.testing.assert_frame_equal(again, summarise_erosion(1.0, tallies, {})["rusle"])


def test_factors_outside_the_literature_are_noted() -> None:
    inside = {name: np.full((2, 2), (one.low + one.high) / 2) for name, one in LITERATURE.items()}
    assert factor_notes([tally_erosion(inside)]) == []
    for name in LITERATURE:
        lines = factor_notes([tally_erosion({**inside, name: np.full((2, 2), 1.01 * LITERATURE[name].high)})])
        assert [line.partition(":")[0] for line in lines] == ([] if name == "water_erosion" else [name])


REGIONAL = {"regional_mean": 307.0, "regional_mean_by_method": 1360.0, "regional_reference": "a publication"}


def test_a_published_regional_mean_rescales_erosivity_and_is_recorded(finished: Finished, tmp_path: Path) -> None:
    _, recipe, maps = finished
    derive = {**recipe["derive"], "erosivity": REGIONAL}
    other = recipe | {"run": recipe["run"] | {"output": str(tmp_path / "rescaled.zarr")}, "derive": derive}
    run(other, workers=1, progress=False)
    rescaled = open_cube(str(tmp_path / "rescaled.zarr")).compute()
    np.testing.assert_allclose(rescaled.rainfall_erosivity, maps.rainfall_erosivity * (307 / 1360), rtol=1e-6)
    np.testing.assert_allclose(rescaled.water_erosion, maps.water_erosion * (307 / 1360), rtol=1e-5)
    attrs = rescaled.rainfall_erosivity.attrs
    assert attrs["rescaling_factor"] == pytest.approx(307 / 1360)
    assert (attrs["regional_mean"], attrs["regional_mean_by_method"]) == (307.0, 1360.0)
    assert attrs["regional_reference"] == "a publication"
    assert "at least 400 mm a-1" in attrs["fitted_range"]
    table = result_tables(str(tmp_path / "rescaled.zarr"))[TITLE].set_index("factor")
    assert "times 0.2257" in table.loc["R", "how"]
    dry = int((maps.annual_precipitation < 400).where(maps.rainfall_erosivity.notnull(), False).sum())
    assert dry > 0
    assert any(f"{dry} of" in note and "400 mm a-1" in note for note in rescaled.attrs["plausibility_notes"])


@pytest.mark.parametrize("left_out", ["regional_mean_by_method", "regional_reference"])
def test_a_regional_mean_needs_the_methods_own_and_a_reference(finished: Finished, left_out: str) -> None:
    _, recipe, _ = finished
    given = {key: value for key, value in REGIONAL.items() if key != left_out}
    with pytest.raises(RecipeError, match=f"{left_out} is needed by regional_mean"):
        run(recipe | {"derive": {**recipe["derive"], "erosivity": given}}, progress=False)


@pytest.mark.data
def test_the_methods_own_mean_of_the_plateau_is_that_of_the_recipe(data_folder: Path) -> None:
    """1360 of the recipe: the relation on WorldClim, cells weighted by their area, within the boundary's polygons."""
    tibet = data_folder / "tibet"
    rain = rioxarray.open_rasterio(tibet / "worldclim_bio12_10m.tif", masked=True).squeeze()
    plateau = geopandas.read_file(tibet / "boundary" / "TPBoundary_3000.shp")
    erosivity = rainfall_erosivity(rain.rio.clip(plateau.geometry, "EPSG:4326").values, method="zhang_fu_annual")
    weight = np.cos(np.deg2rad(rain.rio.clip(plateau.geometry, "EPSG:4326").y.values))[:, None]
    mean = np.nansum(erosivity * weight) / np.sum(np.isfinite(erosivity) * weight)
    recipe = read_recipe(RECIPES / "tibet_solum.toml")
    assert recipe.derive.tables["erosivity"]["regional_mean_by_method"] == pytest.approx(mean, rel=1e-3)


def test_the_table_of_water_erosion_where_there_is_no_soil_at_all() -> None:
    nothing = {name: np.full((4, 4), np.nan, "float32") for name in SYMBOLS}
    found = summarise_erosion(1.0, [tally_erosion(nothing)], {})["rusle"].set_index("factor")
    assert found.loc[["R", "C", "A"], ["mean", "median"]].isna().all(axis=None)
    assert "0 cells with soil" in found.loc["A", "how"]
