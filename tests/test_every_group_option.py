"""Every option of a covariate group has an effect or is rejected: another value of each, and what it changes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import raw_covariates
import xarray as xr
from sweep import ABSENT, Change, Sweep

from tpsoil.covariates.groups.sources import Dem, Stack
from tpsoil.cube import add_layer, create_cube
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.recipes.reference import option_rows

GRID = grid_from_bounds("EPSG:32646", (404_000, 3_321_000, 432_000, 3_347_000), 1000)
RAIN = {"path": "rain/prec_*.tif", "units": "mm"}
YEARS = {"first_year": 2000, "last_year": 2000}
CODED = {"polygons": ABSENT, "column": ABSENT, "codes": "rock_codes", "table": "codes.csv"}
POLYGONS = {"polygons": "units.geojson", "column": "UNIT", "table": "units.csv"}
BASE: dict[str, dict[str, Any]] = {
    "terrain": {}, "hydrology": {"allow_coarse_dem": True},
    "climate": {"monthly_temperature": "tas.nc:tas", "monthly_precipitation": RAIN},
    "temperature": {"temperature": "coarse_temperature", "reference_elevation": "coarse_elevation"},
    "evapotranspiration": {
        "method": "hargreaves", "monthly_minimum": "span.zarr:tmin", "monthly_maximum": "span.zarr:tmax"},
    "aridity": {}, "vegetation": {},
    "erosivity": {"method": "wischmeier_si", "monthly_precipitation": "wet.nc:pre"},
    "erodibility": {}, "cover": {}, "rusle": {},
    "rweq": {"wind": "wind.nc:u,v"}, "alteration": {"phosphorus": "phosphorus"},
    **dict.fromkeys(("lithology", "parent_material", "biome", "land_cover", "climate_zone"), POLYGONS),
}  # fmt: skip
THORNTHWAITE = {"method": "thornthwaite", "monthly_minimum": ABSENT, "monthly_maximum": ABSENT,
                "monthly_temperature": "tas.nc:tas"}  # fmt: skip
SPEEDS = {"wind": ABSENT, "monthly_speeds": [3.0] * 12, "weibull_shape": 2.0, "speeds_name": "a climatology",
          "speeds_source": "a test"}  # fmt: skip
RESCALED = {"regional_mean_by_method": 700.0, "regional_reference": "a test"}
SHOWN = {"lapse_rate_k_km": 6.5, "dem": "dem.tif"}
CLASSES = {
    "layers": Change([], "fault"),
    "polygons": Change("moved.geojson"),
    "column": Change("OTHER"),
    "crs": Change("EPSG:4326", given={"polygons": "bare.shp"}, names="CRS"),
    "codes": Change("other_codes", given=CODED),
    "table": Change("units_2.csv"),
    "unknown": Change("nodata", given={**CODED, "table": "two_codes.csv"}),
}
GROUPS: dict[str, dict[str, Change]] = {
    "terrain": {
        "layers": Change(["slope"]), "dem": Change("dem.tif"),
        "dem_units": Change("ft", given={"dem": "dem.tif"}),
        "ruggedness": Change("mean_difference"), "position_sd": Change(30.0),
    },
    "hydrology": {
        "layers": Change(["ls_factor"]), "dem": Change("dem.tif", also={"allow_coarse_dem": False}),
        "dem_units": Change("ft", given={"dem": "dem.tif", "allow_coarse_dem": False}),
        "allow_coarse_dem": Change(False, "fault", names="max_length_m"),
        "steepness": Change("chinese"), "max_length_m": Change(30.0),
        "memory_limit_gb": Change(1e-5, "fault", names="GB"),
    },
    "climate": {
        "layers": Change(["mean_annual_temperature"]),
        "first_year": Change(2000, given={"first_year": 2001, "last_year": 2001}),
        "last_year": Change(2001, given={"first_year": 2000, "last_year": 2000}),
        "monthly_temperature": Change("span.zarr:tmax"),
        "monthly_precipitation": Change("wet.nc:pre"),
        "lapse_rate_k_km": Change(3.0, given=SHOWN),
        "dem": Change("higher.tif", given=SHOWN),
        "dem_units": Change("ft", given=SHOWN),
    },
    "temperature": {
        "layers": Change([], "fault"), "temperature": Change("coarse_elevation", names="degC"),
        "reference_elevation": Change("other_elevation"), "lapse_rate_k_km": Change(3.0),
    },
    "evapotranspiration": {
        "layers": Change([], "fault"),
        "first_year": Change(2000, given={"first_year": 2001, "last_year": 2001}),
        "last_year": Change(2001, given={"first_year": 2000, "last_year": 2000}),
        "method": Change("thornthwaite", also=THORNTHWAITE),
        "monthly_temperature": Change("span.zarr:tmax", given=THORNTHWAITE),
        "monthly_minimum": Change("tas.nc:tas"), "monthly_maximum": Change("tas.nc:tas"),
    },
    "aridity": {"layers": Change([], "fault")},
    "vegetation": {"layers": Change([], "fault"), "ndvi_bare": Change(0.2), "ndvi_full": Change(0.6)},
    "erosivity": {
        "layers": Change([], "fault"),
        "first_year": Change(2000, given={"first_year": 2001, "last_year": 2001}),
        "last_year": Change(2001, given={"first_year": 2000, "last_year": 2000}),
        "method": Change("zhang_fu_fournier"),
        "monthly_precipitation": Change(RAIN),
        "regional_mean": Change(307.0, also=RESCALED),
        "regional_mean_by_method": Change(900.0, given={"regional_mean": 307.0, **RESCALED}),
        "regional_reference": Change("another", "attributes", given={"regional_mean": 307.0, **RESCALED}),
        "rain_only": Change(True, also={"monthly_temperature": "tas.nc:tas"}),
        "monthly_temperature": Change("span.zarr:tmin", given={"rain_only": True, "monthly_temperature": "tas.nc:tas"}),
    },
    "erodibility": {
        "layers": Change([], "fault"), "value": Change(0.03, also={"reason": "a test"}),
        "reason": Change("another", "attributes", given={"value": 0.03, "reason": "a test"}),
        "stone_cover": Change("vegetation_cover"),
    },
    "cover": {
        "layers": Change([], "fault"), "method": Change("cai"), "alpha": Change(3.0), "beta": Change(1.5),
        "ranges": Change("ranges_2.csv", given={"method": "class_range", "ranges": "ranges.csv"}),
    },
    "rusle": {"layers": Change([], "fault"), "practice": Change(0.5), "practice_layer": Change("cover_factor")},
    "rweq": {
        "layers": Change(["wind_erosion"]), "wind": Change("wind.nc:v,u2"),
        "weibull_shape": Change(2.0, given={"wind": "wind.nc:speed"}),
        "monthly_speeds": Change([5.0] * 12, given=SPEEDS),
        "speeds_name": Change("another", "attributes", given=SPEEDS),
        "speeds_source": Change("another", "attributes", given=SPEEDS),
        "partial_year": Change(True, given={"wind": "half.nc:u,v"}),
        "soil_dryness": Change("shares.nc:dryness"), "snow_free": Change(0.5), "roughness": Change(0.5),
        "calcium_carbonate": Change(20.0), "distance_m": Change(90.0),
    },
    "alteration": {
        "layers": Change([], "fault"), **{name: Change("other_rock") for name in ("aluminium", "calcium", "sodium",
                                                                                 "potassium", "phosphorus")},
        "basis": Change("elements", names="%"), "correction": Change("none", also={"phosphorus": ABSENT}),
        "detection_limits": Change({"calcium": 3.0}),
    },
    **dict.fromkeys(("lithology", "parent_material", "biome", "land_cover", "climate_zone"), CLASSES),
}  # fmt: skip
SOURCES: dict[str, dict[str, Change]] = {
    "Stack": {
        "path": Change("span.zarr", given={"path": "tas.nc", "variable": "tas"}, names="tas"),
        "variable": Change("tmin", given={"path": "span.zarr", "variable": "tmax"}),
        "units": Change("degC", given={"path": "tas.nc", "variable": "tas"}, names="-100 to 100"),
        "crs": Change("EPSG:32646", given={"path": "tas.nc", "variable": "tas"}, names=""),
        "nodata": Change(45.0, given={"path": "whole/t_*.tif", "units": "degC"}),
    },
    "Dem": {"path": Change("higher.tif", given={"path": "dem.tif"})},
}
SUPPLIED = {
    "sand": (20, 40), "silt": (20, 40), "clay": (10, 30), "soil_organic_carbon": (0.5, 4), "ndvi": (0.1, 0.7),
    "calcium_carbonate": (0, 8), "vegetation_cover": (5, 60), "annual_precipitation": (200, 800),
    "potential_evapotranspiration": (500, 900), "mean_annual_temperature": (-3, 8), "elevation": (4000, 5000),
    "rainfall_erosivity": (100, 900), "soil_erodibility": (0.01, 0.04), "ls_factor": (1, 9), "cover_factor": (0.1, 0.4),
}  # fmt: skip
OWN = {
    "aluminium": (12, 16, "%"), "calcium": (1, 6, "%"), "sodium": (1, 3, "%"), "potassium": (2, 3, "%"),
    "phosphorus": (0.1, 0.2, "%"), "other_rock": (2, 4, "%"), "coarse_temperature": (-2, 2, "degC"),
    "coarse_elevation": (4300, 4700, "m"), "other_elevation": (4300, 4700, "m"),
}  # fmt: skip


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cube with what every group reads, and second versions of every file."""
    folder = raw_covariates.write_raw_files(tmp_path_factory.mktemp("groups"))
    rng = np.random.default_rng(6)
    create_cube(str(folder / "cube.zarr"), GRID, chunks=16)

    def add(name: str, values: np.ndarray, **how: Any) -> None:
        layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(GRID))
        add_layer(str(folder / "cube.zarr"), name, layer, **how)

    values = {name: rng.uniform(*limits, GRID.shape).astype("float32") for name, limits in SUPPLIED.items()}
    values["clay"] = 100 - values["sand"] - values["silt"]
    for name, layer in values.items():
        add(name, layer)
    for name, (low, high, units) in OWN.items():
        add(name, rng.uniform(low, high, GRID.shape).astype("float32"), units=units, kind="continuous")
    for name in ("rock_codes", "other_codes"):
        add(name, rng.integers(1, 4, GRID.shape).astype("uint8"), units="1", kind="categorical")
    add("land_cover", rng.choice(np.array([7, 10, 16], dtype="uint8"), GRID.shape))
    second_versions(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Sweep({"run": {"name": "sweep", "output": "maps.zarr", "cube": "cube.zarr"}})


def second_versions(folder: Path) -> None:
    """Another DEM, rain of two years, half a year of wind, other tables and polygons."""
    with xr.open_dataset(folder / "tas.nc", engine="scipy") as tas:
        wet = (40 + 30 * np.sin(np.arange(24))[:, None, None] + 0 * tas["tas"]) * xr.where(
            tas.time.dt.year > 2000, 2, 1
        )
        wet.rename("pre").assign_attrs(units="mm").to_netcdf(folder / "wet.nc", engine="scipy")
    with xr.open_dataset(folder / "wind.nc", engine="scipy") as wind:
        wind.isel(time=slice(0, 180)).to_netcdf(folder / "half.nc", engine="scipy")
        wind.load()
    speed = (np.abs(wind["u"]) + 4).assign_attrs(wind["u"].attrs)
    wind.assign(u2=(0.5 * wind["u"]).assign_attrs(wind["u"].attrs), speed=speed).to_netcdf(
        folder / "more.nc", engine="scipy"
    )
    shutil.move(folder / "more.nc", folder / "wind.nc")
    with xr.open_dataarray(folder / "dem.tif", engine="rasterio") as dem:
        (dem.squeeze("band", drop=True) + 100 * np.sin(np.arange(dem.sizes["x"]) / 7)).rio.write_crs(
            "EPSG:4326").astype("float32").rio.to_raster(folder / "higher.tif")  # fmt: skip
    (folder / "whole").mkdir()
    for month in range(1, 13):
        with xr.open_dataarray(folder / "rain" / f"prec_{month:02d}.tif", engine="rasterio") as rain:
            rain.squeeze("band", drop=True).round().clip(0, 45).rio.to_raster(folder / "whole" / f"t_{month:02d}.tif")
    (folder / "units_2.csv").write_text("code,class,name\nQ,3,loose sediment\nJ,2,limestone\nG,1,granite\n")
    (folder / "two_codes.csv").write_text("code,class,name\n1,1,shale\n2,2,basalt\n")
    (folder / "ranges_2.csv").write_text(raw_covariates.RANGES.replace("0.45", "0.6"))
    frame = geopandas.read_file(folder / "units.geojson")
    frame["OTHER"] = ["G", "Q", "J"]
    frame.to_file(folder / "units.geojson", driver="GeoJSON")
    frame.translate(0.02, 0.02).to_frame("geometry").assign(UNIT=frame["UNIT"]).to_file(
        folder / "moved.geojson", driver="GeoJSON"
    )
    frame.to_file(folder / "bare.shp")
    (folder / "bare.prj").unlink()


def cases(tables: Mapping[str, Mapping[str, Change]]) -> list[Any]:
    return [pytest.param(table, key, id=f"{table}.{key}") for table, keys in tables.items() for key in keys]


@pytest.mark.parametrize(("group", "key"), cases(GROUPS))
def test_an_option_of_a_group_has_an_effect(groups: Sweep, group: str, key: str) -> None:
    groups.within({"derive": {group: BASE[group]}}).check(f"derive.{group}", key, GROUPS[group][key])


@pytest.mark.parametrize(("kind", "key"), cases(SOURCES))
def test_an_option_of_a_source_has_an_effect(groups: Sweep, kind: str, key: str) -> None:
    group, option = ("climate", "monthly_temperature") if kind == "Stack" else ("terrain", "dem")
    groups.within({"derive": {group: {}}}).check(f"derive.{group}.{option}", key, SOURCES[kind][key])


def test_every_option_has_another_value_here() -> None:
    here = {(group, key) for group, keys in GROUPS.items() for key in keys}
    assert here == {(row.table, row.name) for row in option_rows()}
    assert {kind: set(keys) for kind, keys in SOURCES.items()} == {
        "Stack": set(Stack.model_fields), "Dem": set(Dem.model_fields),
    }  # fmt: skip
