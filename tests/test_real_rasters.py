"""Every raster and vector of the real inputs through the door, onto a coarse grid of its region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import tpsoil
import tpsoil.variables
from tpsoil.errors import GridError, InputError, UnitsError
from tpsoil.grid import PLATEAU_CRS, grid_from_bounds

pytestmark = pytest.mark.data

TIBET = grid_from_bounds(PLATEAU_CRS, (-1_300_000, -800_000, 1_300_000, 800_000), 40_000)
EUROPE = grid_from_bounds("EPSG:3035", (2_600_000, 1_500_000, 6_200_000, 5_200_000), 60_000)
NAM_CO = grid_from_bounds(PLATEAU_CRS, (100_000, -330_000, 180_000, -230_000), 1000)
# layer, options, and the range that the README of the inputs read from the file, in the catalogue's unit
CASES: dict[str, tuple[str, dict[str, Any], tuple[float, float]]] = {
    "tibet/elevation_30s.tif": ("elevation", {}, (-3, 8685)),
    "tibet/srtm_n30e090_3s.tif": ("elevation", {}, (4034, 7131)),
    "tibet/topography_itu_5m.tif": ("elevation", {}, (5, 6573)),
    "tibet/altitude_pvlib_5m.tif": ("elevation", {}, (-100, 7200)),
    "tibet/worldclim_bio1_10m.tif": ("mean_annual_temperature", {}, (-16.1, 27.1)),
    "tibet/worldclim_bio12_10m.tif": ("annual_precipitation", {}, (12, 7863)),
    "tibet/temperature_itu_0p75_kelvin.tif": ("mean_annual_temperature", {"units": "K"}, (262 - 273.15, 302 - 273.15)),
    "tibet/precipitation_itu_0p25.tif": ("annual_precipitation", {}, (11, 8973)),
    "tibet/ndvi_max_0p05.tif": ("ndvi", {}, (-0.2, 0.985)),
    "tibet/ndvi_min_0p05.tif": ("ndvi_min", {}, (-0.2, 0.985)),
    "tibet/landcover_igbp_0p05.tif": ("land_cover", {}, (0, 16)),
    "tibet/koppen_groups_30s.tif": ("climate_zone", {}, (1, 5)),
    "europe/worldclim_bio1_10m.tif": ("mean_annual_temperature", {}, (-20, 30)),
    "europe/worldclim_bio12_10m.tif": ("annual_precipitation", {}, (0, 4000)),
    "europe/ndvi_max_0p05.tif": ("ndvi", {}, (-0.2, 1)),
    "europe/ndvi_min_0p05.tif": ("ndvi_min", {}, (-0.2, 1)),
    "europe/landcover_igbp_0p05.tif": ("land_cover", {}, (0, 16)),
    "europe/koppen_groups_30s.tif": ("climate_zone", {}, (1, 5)),
    "europe/topography_itu_5m.tif": ("elevation", {}, (-500, 4000)),
}


def test_the_list_has_every_raster_of_the_inputs(data_folder: Path) -> None:
    there = {f"{path.parent.name}/{path.name}" for path in data_folder.glob("*/*.tif")}
    assert there == set(CASES)


@pytest.mark.parametrize("file", CASES)
def test_it_can_be_added(data_folder: Path, tmp_path: Path, file: str) -> None:
    name, how, (low, high) = CASES[file]
    grid = NAM_CO if "srtm" in file else TIBET if file.startswith("tibet") else EUROPE
    tpsoil.create_cube(tmp_path / "cube.zarr", grid, chunks=17)
    tpsoil.add_layer(tmp_path / "cube.zarr", name, data_folder / file, **how)
    layer = tpsoil.open_cube(tmp_path / "cube.zarr")[name]
    values = layer.values.astype(np.float64)
    there = np.isfinite(values) if layer.dtype.kind == "f" else values != layer.encoding["_FillValue"]
    assert there.mean() > (
        0.25 if any(word in file for word in ("30s", "bio", "ndvi")) else 0.8
    )  # seas, and one part of the plateau
    assert low - 1 <= values[there].min()
    assert values[there].max() <= high + 1
    assert layer.attrs["missing_cells"] == (~there).sum()
    whole = tpsoil.cube.align(
        tpsoil.ingest.read_raster(data_folder / file, tpsoil.variables.variable(name), **how), grid, chunks=4096
    )
    np.testing.assert_array_equal(layer.values, whole.values)


def test_the_kelvin_file_is_not_taken_for_celsius(data_folder: Path) -> None:
    tpsoil.create_cube("memory://kelvin", TIBET, overwrite=True)
    with pytest.raises(UnitsError, match="they look like kelvin: pass units='K'"):
        tpsoil.add_layer(
            "memory://kelvin", "mean_annual_temperature", data_folder / "tibet/temperature_itu_0p75_kelvin.tif"
        )


def test_europe_is_not_on_the_plateau(data_folder: Path) -> None:
    tpsoil.create_cube("memory://elsewhere", NAM_CO, overwrite=True)
    with pytest.raises(GridError, match="does not overlap the grid"):
        tpsoil.add_layer("memory://elsewhere", "elevation", data_folder / "europe/topography_itu_5m.tif")


def test_monthly_reanalysis_of_three_files(data_folder: Path) -> None:
    """Temperature in K and precipitation in m, three months in three files without a CRS."""
    tpsoil.create_cube("memory://era", TIBET, overwrite=True)
    files = str(data_folder / "tibet/tp_ERA_Interim_2017*.nc")
    with pytest.raises(InputError, match="has the variables .*t2m.*; pass variable="):
        tpsoil.add_layer("memory://era", "mean_annual_temperature", files, combine="mean")
    with pytest.raises(GridError, match="if they are WGS84 pass crs='EPSG:4326'"):
        tpsoil.add_layer("memory://era", "mean_annual_temperature", files, combine="mean", variable="t2m")
    tpsoil.add_layer("memory://era", "mean_annual_temperature", files, combine="mean", variable="t2m", crs="EPSG:4326")
    layer = tpsoil.open_cube("memory://era")["mean_annual_temperature"]
    assert layer.attrs["source_units"] == "K (stated by the file)"
    assert layer.attrs["source_combined"].startswith("mean of ")
    assert -30 < float(layer.min()) < -5
    assert 15 < float(layer.max()) < 35


def test_the_soil_mask_of_the_plateau(data_folder: Path) -> None:
    folder = data_folder / "tibet"
    grid = tpsoil.plateau_grid(10_000)
    tpsoil.create_cube("memory://mask", grid, overwrite=True)
    ice = [folder / "glaciers.geojson", folder / "lakes.geojson"]
    with pytest.raises(GridError, match="TPBoundary_3000.shp has no CRS"):
        tpsoil.add_layer("memory://mask", "soil_mask", folder / "boundary/TPBoundary_3000.shp", outside=ice)
    tpsoil.add_layer("memory://mask", "soil_mask", folder / "boundary/TPBoundary_3000.shp", crs="EPSG:4326")
    inside = int((tpsoil.open_cube("memory://mask")["soil_mask"] == 1).sum())
    assert inside * 100 == pytest.approx(2.64e6, rel=0.01)  # km2, as the README of the inputs gives it
    tpsoil.add_layer(
        "memory://mask",
        "soil_mask",
        folder / "boundary/TPBoundary_3000.shp",
        crs="EPSG:4326",
        outside=ice,
        overwrite=True,
    )
    soil = int((tpsoil.open_cube("memory://mask")["soil_mask"] == 1).sum())
    assert 0.90 < soil / inside < 0.99
    tpsoil.add_layer("memory://mask", "soil_mask", folder / "basins/TP_basins.shp", overwrite=True)
    basins = int((tpsoil.open_cube("memory://mask")["soil_mask"] == 1).sum())
    assert basins * 100 == pytest.approx(2.91e6, rel=0.01)  # of 3.08e6; the rest lies west and east of the grid


def test_samples_fall_on_the_pixels_they_should(data_folder: Path) -> None:
    """GEMAS on the native 5' raster, against rasterio's own sampling."""
    import pandas as pd

    file = data_folder / "europe/topography_itu_5m.tif"
    sites = pd.read_csv(data_folder / "europe/gemas.csv")[["longitude", "latitude"]]
    with rasterio.open(file) as source:
        grid = tpsoil.ingest.read_raster(file, tpsoil.variables.variable("elevation")).box
        expected = np.array([value[0] for value in source.sample(sites.to_numpy())], np.float32)
    tpsoil.create_cube("memory://gemas", grid, overwrite=True)
    tpsoil.add_layer("memory://gemas", "elevation", file)
    table = tpsoil.sample_cube(tpsoil.open_cube("memory://gemas"), sites)
    assert len(table) == len(sites) == 2108
    np.testing.assert_array_equal(table["elevation"].to_numpy(), expected)
