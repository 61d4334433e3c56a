"""Deriving into a cube: at the DEM's own resolution, with lineage; stacks, sources and the command line."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import tpsoil.covariates as cov
from tpsoil.cli.app import app
from tpsoil.covariates.groups import GROUPS
from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.errors import InputError, MissingInputError, UnitsError
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.ingest import read_stack
from tpsoil.recipes.derive import derive
from tpsoil.recipes.reference import derive_text, option_rows
from tpsoil.units import conversion
from tpsoil.variables import CATALOGUE

CELL = 100.0
FACTOR = 5
UTM = "EPSG:32646"


def fine_dem(units: str = "m") -> xr.DataArray:
    grid = grid_from_bounds(UTM, (300_000, 3_400_000, 306_000, 3_404_000), CELL)
    rows, columns = np.indices(grid.shape)
    rough = np.random.default_rng(1).normal(0, 3, grid.shape)
    z = 4500 + 40 * np.sin(rows / 6) + 60 * np.cos(columns / 7) + 2 * columns + rough
    return xr.DataArray(z.astype("float32"), coords=coordinates(grid), dims=("y", "x"), attrs={"units": units})


@pytest.fixture
def store(tmp_path: Path) -> str:
    where = str(tmp_path / "cube.zarr")
    grid = grid_from_bounds(UTM, (300_000, 3_400_000, 306_000, 3_404_000), CELL * FACTOR)
    create_cube(where, grid, chunks=8)
    rng = np.random.default_rng(0)
    for name, values, units in (
        ("annual_precipitation", rng.uniform(200, 700, grid.shape), "mm"),
        ("mean_annual_temperature", rng.uniform(-5, 5, grid.shape), "degC"),
        ("ndvi", rng.uniform(0.05, 0.8, grid.shape), "1"),
        ("sand", np.full(grid.shape, 60.0), "%"),
        ("silt", np.full(grid.shape, 30.0), "%"),
        ("clay", np.full(grid.shape, 10.0), "%"),
        ("soil_organic_carbon", rng.uniform(0.5, 3, grid.shape), "%"),
    ):
        layer = xr.DataArray(values.astype("float32"), coords=coordinates(grid), dims=("y", "x"))
        add_layer(where, name, layer, units=units)
    return where


def blocks(layer: xr.DataArray) -> Any:
    ny, nx = layer.shape
    return layer.values.reshape(ny // FACTOR, FACTOR, nx // FACTOR, FACTOR).astype(float)


def test_terrain_is_derived_at_the_dems_own_resolution_and_averaged(store: str) -> None:
    dem = fine_dem()
    written = derive(store, ["terrain"], dem=dem)
    assert written == list(cov.terrain.TERRAIN_LAYERS)
    own, cube = cov.terrain_attributes(dem), open_cube(store)
    inner = (slice(1, -1), slice(1, -1))  # cells away from the DEM's edge, whose own edge is missing
    for name in ("slope", "general_curvature", "terrain_ruggedness"):
        expected = np.nanmean(blocks(own[name]), axis=(1, 3))
        np.testing.assert_allclose(cube[name].values[inner], expected[inner], rtol=1e-5, atol=1e-9)
    coarse = cov.terrain_attributes(dem.coarsen(y=FACTOR, x=FACTOR).mean())
    assert float(cube.slope.mean()) > 1.15 * float(coarse.slope.mean())  # an averaged DEM is too gentle
    radians = np.radians(own.aspect)
    east = np.nanmean(blocks(np.sin(radians)), axis=(1, 3))
    north = np.nanmean(blocks(np.cos(radians)), axis=(1, 3))
    turned = (cube.aspect.values - np.degrees(np.arctan2(east, north)) + 180) % 360 - 180
    assert np.nanmax(np.abs(turned[inner])) < 0.01
    attrs = cube.general_curvature.attrs
    assert "cells of 100 x 100 m" in attrs["derived_at"]
    assert attrs["curvature_convention"] == "convex_positive"
    assert attrs["formula"].startswith("Zevenbergen")
    assert cube.slope_position.dtype == np.uint8


def test_rusle_makes_what_it_needs_and_carries_its_assumptions(store: str) -> None:
    options = {"erosivity": "zhang_fu_annual", "erodibility": 0.02, "max_length_m": 200.0}
    written = derive(store, ["rusle"], dem=fine_dem(), options=options)
    assert written[-1] == "water_erosion"
    assert {"rainfall_erosivity", "soil_erodibility", "ls_factor", "cover_factor"} < set(written)
    cube = open_cube(store)
    expected = cube.rainfall_erosivity * cube.soil_erodibility * cube.ls_factor * cube.cover_factor
    np.testing.assert_allclose(cube.water_erosion, expected, rtol=1e-5)
    attrs = cube.water_erosion.attrs
    assert attrs["assumptions"] == "soil_erodibility = 0.02 everywhere"
    assert attrs["parents"] == "rainfall_erosivity soil_erodibility ls_factor cover_factor"
    assert cube.rainfall_erosivity.attrs["parents"] == "annual_precipitation"
    assert cube.ls_factor.attrs["max_length_m"] == 200.0
    own = cov.hydrology_attributes(fine_dem(), max_length_m=200.0).ls_factor
    expected = np.nanmean(blocks(own), axis=(1, 3))[1:-1, 1:-1]
    np.testing.assert_allclose(cube.ls_factor.values[1:-1, 1:-1], expected, rtol=1e-5)


def test_soil_grids_give_the_erodibility(store: str) -> None:
    derive(store, ["erodibility"])
    cube = open_cube(store)
    expected = cov.soil_erodibility(cube.sand, cube.silt, cube.clay, cube.soil_organic_carbon)
    assert cube.soil_erodibility.values.tobytes() == expected.values.tobytes()
    assert cube.soil_erodibility.attrs["parents"] == "sand silt clay soil_organic_carbon"


def winds(path: Path, months: int = 12) -> Path:
    time = pd.date_range("2015-01-01", "2015-12-31" if months == 12 else "2015-03-31", freq="D")
    rng = np.random.default_rng(3)
    shape = (len(time), 4, 5)
    coords = {"time": time, "latitude": [30.4, 30.6, 30.8, 31.0], "longitude": [90.5, 90.75, 91.0, 91.25, 91.5]}
    data = {name: (("time", "latitude", "longitude"), rng.normal(0, 9, shape), {"units": "m s**-1"}) for name in "uv"}
    data["t"] = (("time", "latitude", "longitude"), 273.15 + 10 * rng.random(shape), {"units": "K"})
    xr.Dataset(data, coords=coords).to_netcdf(path, engine="scipy")
    return path


def test_rweq_sums_the_months(store: str, tmp_path: Path) -> None:
    derive(store, ["terrain"], dem=fine_dem())
    add_layer(store, "elevation", fine_dem())
    wind = winds(tmp_path / "wind.nc")
    written = derive(store, ["rweq"], options={"wind": f"{wind}:u,v", "calcium_carbonate": 2.0})
    assert written[:2] == ["vegetation_cover", "wind_erosion"]
    cube = open_cube(store)
    assert float(cube.wind_erosion.min()) > 0
    assert cube.wind_erosion.attrs["months"] == list(range(1, 13))
    assert "calcium_carbonate = 2 everywhere" in cube.wind_erosion.attrs["assumptions"]
    assert cube.wind_erosion.attrs["wind_source"] == "wind.nc"
    # one cell by hand, from the cube's soil and the winds around it
    speed = read_stack(wind, ["u", "v"], "m s-1")
    cell = cube.isel(y=4, x=5).compute()
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(float(cell.x), float(cell.y))
    total = 0.0
    for month in range(1, 13):
        days = 28.25 if month == 2 else [31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        some = speed[speed["time"].dt.month.values == month]
        force = cov.wind_factor(some, days=days).interp(y=lat, x=lon)
        weather = cov.weather_factor(float(force), float(cell.elevation), float(cell.mean_annual_temperature))
        crust = cov.crust_factor(float(cell.clay), float(cell.soil_organic_carbon))
        cover = cov.vegetation_factor(float(cell.vegetation_cover))
        total += float(cov.rweq(weather, float(cell.erodible_fraction), crust, 1.0, cover).wind_erosion)
    assert float(cell.wind_erosion) == pytest.approx(total, rel=1e-4)
    assert set(np.unique(cube.wind_erosion_status)) <= {0, 1}
    assert cube.erodible_fraction_status.attrs["flag_meanings"].startswith("inside")


def test_a_part_of_the_year_must_be_asked_for(store: str, tmp_path: Path) -> None:
    add_layer(store, "elevation", fine_dem())
    wind = winds(tmp_path / "wind.nc", months=3)
    options = {"wind": f"{wind}:u,v", "calcium_carbonate": 2.0}
    with pytest.raises(InputError, match=r"lacks months 4, 5, 6, 7, 8, 9, 10, 11, 12; add them, or set partial_year"):
        derive(store, ["rweq"], options=options, overwrite=True)
    derive(store, ["rweq"], options=options | {"partial_year": True}, overwrite=True)
    assert open_cube(store).wind_erosion.attrs["months"] == [1, 2, 3]


def test_climate_and_aridity_from_stacks(store: str, tmp_path: Path) -> None:
    time = pd.date_range("2000-01-01", "2001-12-01", freq="MS")
    lat, lon = np.arange(30.2, 31.4, 0.2), np.arange(90.4, 91.6, 0.2)
    shape = (len(time), len(lat), len(lon))
    rng = np.random.default_rng(5)
    season = 12 * np.cos(2 * np.pi * (np.arange(len(time)) - 6) / 12)[:, None, None]
    dims = ("time", "lat", "lon")
    path = tmp_path / "months.nc"
    xr.Dataset(
        {
            "tas": (dims, 275 + season + rng.random(shape), {"units": "K"}),
            "pr": (dims, 40 * rng.random(shape), {"units": "mm"}),
        },
        coords={"time": time, "lat": lat, "lon": lon},
    ).to_netcdf(path, engine="scipy")
    options = {"monthly_temperature": f"{path}:tas", "monthly_precipitation": f"{path}:pr"}
    assert derive(store, ["climate"], options=options, overwrite=True) == [
        "mean_annual_temperature",
        "annual_precipitation",
    ]
    cube = open_cube(store)
    assert float(cube.mean_annual_temperature.mean()) == pytest.approx(275.5 - 273.15, abs=0.3)
    assert cube.annual_precipitation.attrs["years"] == "2000-2001"
    written = derive(
        store, ["aridity"], options={"evapotranspiration": "thornthwaite", "monthly_temperature": f"{path}:tas"}
    )
    assert written == ["potential_evapotranspiration", "aridity_index"]
    cube = open_cube(store)
    np.testing.assert_allclose(
        cube.aridity_index, cube.annual_precipitation / cube.potential_evapotranspiration, rtol=1e-5
    )
    options = {"erosivity": "zhang_fu_fournier", "monthly_precipitation": f"{path}:pr"}
    assert derive(store, ["erosivity"], options=options) == ["rainfall_erosivity"]


@pytest.mark.parametrize(("groups", "options", "error", "says"), [
    (["terain"], {"erosivty": 1}, InputError, r"no group 'terain'; did you mean 'terrain'.*no option 'erosivty'"),
    ([], {}, InputError, "no groups given"),
    (["terrain"], {}, MissingInputError, "needs layer 'elevation'.*give a DEM with --dem"),
    (["erosivity"], {}, InputError, "there is no default.*wischmeier_si"),
    (["aridity"], {}, InputError, "give option evapotranspiration"),
    (["climate"], {}, InputError, "monthly_temperature or monthly_precipitation is needed"),
    (["climate"], {"monthly_temperature": "a.nc"}, InputError, "expected PATH:VARIABLE"),
    (["evapotranspiration"], {"evapotranspiration": "thornthwaite", "monthly_temperature": "absent.nc:t"},
     MissingInputError, "no such file absent.nc"),
    (["terrain"], {"dem": "absent*.tif"}, MissingInputError, "no file matches absent"),
    (["rweq"], {"wind": "w.nc:u,v", "partial_year": "perhaps"}, InputError, "expected true or false"),
    (["cover"], {"cover_alpha": "two"}, InputError, "cover.alpha: is 'two', expected a number"),
    (["cover"], {"max_length_m": 100}, InputError, "max_length_m would have no effect"),
    (["cover"], {"cover": "kai"}, InputError, "did you mean 'cai'"),
])  # fmt: skip
def test_bad_input(store: str, groups: Any, options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        derive(store, groups, options=options)


def test_the_text_of_a_path_does_not_decide_the_class_of_the_error(store: str, tmp_path: Path) -> None:
    dem = tmp_path / "no such file" / "dem.tif"
    dem.parent.mkdir()
    dem.write_text("not a raster")
    with pytest.raises(InputError, match="dem.tif"):
        derive(store, ["terrain"], dem=str(dem))


def test_layers_that_are_there_are_kept(store: str) -> None:
    derive(store, ["cover"])
    with pytest.raises(InputError, match="'cover_factor' already exists"):
        derive(store, ["cover"])
    derive(store, ["cover"], options={"cover": "cai"}, overwrite=True)
    assert open_cube(store).cover_factor.attrs["method"] == "cai"
    assert "vegetation_cover" in open_cube(store)


def test_a_dem_in_feet_is_converted_at_the_door(store: str) -> None:
    feet = fine_dem("ft")
    feet.values /= 0.3048
    derive(store, ["terrain"], dem=feet)
    converted = open_cube(store).slope.values
    derive(store, ["terrain"], dem=fine_dem(), overwrite=True)
    np.testing.assert_allclose(converted, open_cube(store).slope.values, rtol=1e-3)


# --- stacks


def test_stacks_are_placed_and_converted(tmp_path: Path) -> None:
    path = winds(tmp_path / "a.nc")
    stack = read_stack(path, "t", "degC")
    assert stack.dims == ("time", "y", "x")
    assert float(stack.y[0]) > float(stack.y[-1])
    assert 0 <= float(stack.min()) <= float(stack.max()) <= 10
    assert stack.odc.crs.to_epsg() == 4326
    raw = xr.open_dataset(path)
    np.testing.assert_allclose(read_stack(path, ["u", "v"], "m s-1"), np.hypot(raw.u, raw.v)[:, ::-1], rtol=1e-12)


@pytest.mark.parametrize(("variable", "units", "error", "says"), [
    ("tt", "degC", InputError, "no variable 'tt'.*'t'"), ("t", "mm", UnitsError, "cannot be converted"),
])  # fmt: skip
def test_bad_stacks(tmp_path: Path, variable: str, units: str, error: type[Exception], says: str) -> None:
    path = winds(tmp_path / "a.nc")
    with pytest.raises(error, match=says):
        read_stack(path, variable, units)


def test_a_time_that_comes_twice(tmp_path: Path) -> None:
    path = winds(tmp_path / "a.nc")
    with pytest.raises(InputError, match="occurs twice"):
        read_stack([path, path], "t", "degC")


# --- the command line


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_the_command_says_what_it_made_and_assumed(store: str) -> None:
    done = run("cube", "derive", store, "erodibility", "cover", "-o", "erodibility=0.02")
    assert done.exit_code == 0, done.output
    assert "derived soil_erodibility from an assumption" in done.output
    assert "assumed: soil_erodibility = 0.02 everywhere" in done.output
    assert "derived cover_factor from ndvi, 0.0 % of the cells missing" in done.output
    failed = run("cube", "derive", store, "cover", "-o", "alpha")
    assert isinstance(failed.exception, InputError)
    assert "expected NAME=VALUE" in str(failed.exception)


def test_the_reference_names_every_group_and_option() -> None:
    text = derive_text()
    assert all(f"## {group}: " in text for group in GROUPS)
    assert "| max_length_m | number | m | 300 | cap of the effective slope length in LS |" in text


def test_the_list_names_every_group_and_option() -> None:
    shown = run("cube", "derive", "--list").output
    assert all(group in shown for group in GROUPS)
    squeezed = re.sub(r"\s", "", shown)
    assert all(option[:15] in squeezed for kind in GROUPS.values() for option in kind.model_fields)


def test_every_option_is_declared_with_its_meaning() -> None:
    for row in option_rows():
        assert row.meaning, row
        assert row.kind, row


# --- sources


def test_every_layer_of_the_catalogue_has_a_source() -> None:
    assert {source.layer for source in cov.sources()} == set(CATALOGUE)
    for source in cov.sources():
        assert source.study in {"solum", "micronutrients", "neither"}
        assert source.access, source.layer
        assert source.dataset or source.study == "neither" or source.access == "made by tpsoil"


def test_dois_look_like_dois() -> None:
    for source in cov.sources():
        for doi in (*source.doi.split("; "), *source.alternative_doi.split("; ")):
            assert doi in {"", "not stated"} or re.fullmatch(r"10\.\d{4,5}/\S+", doi), (source.layer, doi)


def test_conversions_are_ones_that_the_door_takes() -> None:
    seen = 0
    for source in cov.sources():
        for text in (source.conversion, source.alternative_conversion):
            for quoted, plain in re.findall(r"--units (?:'([^']+)'|(\S+))", text):
                spec = CATALOGUE[source.layer]
                conversion(
                    quoted or plain, spec.units, where=source.layer, period=spec.period, substance=spec.substance
                )
                seen += 1
    assert seen > 8


def test_the_sources_command() -> None:
    table = list(csv.DictReader(io.StringIO(run("sources", "--csv").output)))
    assert {row["layer"] for row in table} == set(CATALOGUE)
    one = run("sources", "depth_to_bedrock").output
    assert "10.1002/2016ms000686" in one
    assert "cm to m: --units cm" in one
    assert "water_erosion" in run("sources").output
    with pytest.raises(InputError, match="did you mean 'slope'"):
        cov.sources("slop")
