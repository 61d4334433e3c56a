"""Every covariate group gives the same bytes from Python, `cube derive` and a recipe."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_covariates
import xarray as xr
from typer.testing import CliRunner

import tpsoil.covariates as cov
from tpsoil.cli.app import app
from tpsoil.covariates.groups import GROUPS
from tpsoil.cube import add_layer, align, create_cube, open_cube
from tpsoil.engine.code import code_of, entries_of
from tpsoil.errors import InputError, RecipeError, StoreExistsError
from tpsoil.grid import coordinates, grid_from_bounds, grid_of
from tpsoil.ingest import read_raster, read_stack
from tpsoil.recipes import run
from tpsoil.recipes.derive import derive, derived_layers
from tpsoil.recipes.derive_settings import layer_makers
from tpsoil.recipes.derive_tiles import compute_group
from tpsoil.stage import Stage
from tpsoil.variables import variable

RECIPE = Path(__file__).parent / "recipes" / "every_covariate.toml"
OTHER = {
    "terrain": {"ruggedness": "mean_difference"},
    "hydrology": {"layers": ["ls_factor"], "allow_coarse_dem": True},
    "temperature": {"temperature": "coarse_temperature", "reference_elevation": "coarse_elevation"},
    "erosivity": {"method": "zhang_fu_annual"},
    "erodibility": {"value": 0.03, "reason": "a test"},
    "cover": {"method": "cai"},
    "rusle": {},
    "land_cover": {"codes": "rock_codes", "table": "${RAW_COVARIATES}/codes.csv"},
    "climate_zone": {
        "polygons": "${RAW_COVARIATES}/units.geojson", "column": "UNIT", "table": "${RAW_COVARIATES}/units.csv",
    },
    "evapotranspiration": {"method": "thornthwaite", "monthly_temperature": "${RAW_COVARIATES}/tas.nc:tas"},
}  # fmt: skip
"""Groups that make what the recipe has by another group or method, from layers of the grid."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_covariates.write_raw_files(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def every(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The maps of the recipe that makes every covariate."""
    recipe = content(tmp_path_factory.mktemp("every"), raw, "every")
    run(recipe, workers=2, progress=False)
    return open_cube(recipe["run"]["output"]).load()


def content(folder: Path, raw: Path, variant: str) -> dict[str, Any]:
    text = RECIPE.read_text().replace("${RAW_COVARIATES}", str(raw))
    recipe = tomllib.loads(text)
    recipe["run"]["output"] = str(folder / f"{variant}.zarr")
    if variant == "other":
        own = [{"name": name, "source": str(raw / f"{name}.tif"), "kind": "continuous", "units": units}
               for name, units in (("coarse_temperature", "degC"), ("coarse_elevation", "m"))]  # fmt: skip
        rain = {"name": "annual_precipitation", "source": str(raw / "rain" / "prec_07.tif"), "units": "mm"}
        recipe["layers"] = [one for one in recipe["layers"] if one["name"] != "land_cover"] + [*own, rain]
        recipe["derive"] = tomllib.loads(_toml(OTHER).replace("${RAW_COVARIATES}", str(raw)))
    return recipe


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {str(value).lower() if value is True else repr(value)}" for key, value in table.items()]
    return "\n".join(lines)


def options_of(derive_table: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The table of a recipe as groups and options of the command line."""
    groups, options = [], {}
    for key, value in derive_table.items():
        if key == "layers":
            groups += value
        elif key in GROUPS:
            groups.append(key)
            table = {"layers": value} if isinstance(value, list) else value
            for name, one in table.items():
                parts = {f".{part}": inner for part, inner in one.items()} if isinstance(one, dict) else {"": one}
                options |= {f"{key}.{name}{part}": inner for part, inner in parts.items()}
        else:
            options[key] = value
    return groups, options


@pytest.mark.parametrize("variant", ["every", "other"])
def test_each_group_gives_the_same_bytes_three_ways(raw: Path, every: xr.Dataset, tmp_path: Path, variant: str) -> None:
    recipe = content(tmp_path, raw, variant)
    maps = every if variant == "every" else run(recipe, workers=2, progress=False)
    base = {**recipe, "run": {**recipe["run"], "output": str(tmp_path / "base.zarr")}}
    table = base.pop("derive")
    run(base, workers=2, progress=False)
    layers = open_cube(str(tmp_path / "base.zarr"))
    derived = sorted(set(maps) - set(layers))
    groups, options = options_of(table)
    shutil.copytree(tmp_path / "base.zarr", tmp_path / "shell.zarr")
    listed = [
        text for key, value in options.items() if not isinstance(value, list) for text in ("-o", f"{key}={value}")
    ]
    named = [name for name in groups if f"{name}.layers" not in options]
    named += [layer for name in groups for layer in options.get(f"{name}.layers", [])]
    done = CliRunner().invoke(app, ["cube", "derive", str(tmp_path / "shell.zarr"), *named, *listed])
    assert done.exit_code == 0, (done.output, done.exception)
    shell = open_cube(str(tmp_path / "shell.zarr"))
    lazy = derived_layers(layers, groups, options=options, chunks=16)
    assert set(lazy) == set(derived) == set(shell) - set(layers)
    for name in derived:
        expected = maps[name].values
        present = ~np.isnan(expected) if expected.dtype.kind == "f" else expected != 255
        assert present.any(), name
        assert shell[name].values.tobytes() == expected.tobytes(), name
        assert lazy[name].values.astype(expected.dtype).tobytes() == expected.tobytes(), name
        assert lazy[name].attrs["units"] == shell[name].attrs["units"] == maps[name].attrs["units"]


def test_temperature_goes_from_the_mean_ground_of_its_cells_to_the_dem(raw: Path, every: xr.Dataset) -> None:
    stack = read_stack(raw / "tas.nc", "tas", "degC")
    own = cov.mean_annual_temperature(stack)
    box = grid_of(own)
    dem = align(read_raster(str(raw / "dem.tif"), variable("elevation"), units="m"), box, resampling="average")
    grid = grid_of(every)
    coarse = align(read_raster(own, variable("mean_annual_temperature")), grid)
    ground = align(read_raster(dem, variable("elevation")), grid)
    expected = coarse + 0.0065 * (ground - every.elevation)
    np.testing.assert_allclose(every.mean_annual_temperature, expected, atol=1e-4)
    assert every.mean_annual_temperature.attrs["lapse_rate_k_km"] == 6.5
    assert every.mean_annual_temperature.attrs["years"] == "2000-2001"


def test_twelve_geotiffs_are_a_year(raw: Path, every: xr.Dataset) -> None:
    spec = variable("annual_precipitation")
    months = [read_raster(str(raw / "rain" / f"prec_{month:02d}.tif"), spec, units="mm") for month in range(1, 13)]
    expected = sum(align(month, grid_of(every)) for month in months)
    np.testing.assert_allclose(every.annual_precipitation, expected, rtol=1e-5)
    assert every.annual_precipitation.attrs["years"] == "of the climatology"


def test_snow_is_left_out_of_the_erosivity(raw: Path, every: xr.Dataset) -> None:
    spec = variable("annual_precipitation")
    rasters = [read_raster(str(raw / "rain" / f"prec_{month:02d}.tif"), spec, units="mm") for month in range(1, 13)]
    rain = np.stack([raster.lazy().values for raster in rasters]).astype(float)
    warmth = read_stack(raw / "year.nc", "tas", "degC").values
    assert 0 < (warmth < 0).mean() < 1
    r = cov.rainfall_erosivity(np.where(warmth < 0, 0.0, rain), method="wischmeier_si")
    own = xr.DataArray(r, dims=("y", "x"), coords=coordinates(rasters[0].box))
    expected = align(read_raster(own, variable("rainfall_erosivity")), grid_of(every))
    np.testing.assert_allclose(every.rainfall_erosivity, expected, rtol=1e-5)
    assert every.rainfall_erosivity.attrs["snow"] == "left out below 0 degC"


def test_polygons_give_the_class_at_the_centre(raw: Path, every: xr.Dataset) -> None:
    import geopandas

    y, x = np.meshgrid(every.y, every.x, indexing="ij")
    points = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy(x.ravel(), y.ravel()), crs="EPSG:32646")
    units = geopandas.read_file(raw / "units.geojson").to_crs("EPSG:32646")
    joined = geopandas.sjoin(points, units, predicate="within")
    expected = joined["UNIT"].map({"Q": 1, "J": 2, "G": 3}).to_numpy()
    found = every.lithology.values.ravel()[joined.index]
    assert (found == expected).mean() > 0.995  # straight edges in degrees are none on the map
    assert every.lithology.attrs["flag_meanings"] == "loose_sediment limestone granite"


def test_months_of_dryness_and_snow_count(raw: Path, every: xr.Dataset) -> None:
    options = {
        "rweq.wind": f"{raw / 'wind.nc'}:u,v", "rweq.soil_dryness": 1.0, "rweq.snow_free": f"{raw / 'shares.nc'}:free",
    }  # fmt: skip
    dry = derived_layers(every, ["rweq"], options=options)
    assert float((dry.wind_erosion - every.wind_erosion).min()) > 0
    assert "soil_dryness = 1 everywhere" in dry.wind_erosion.attrs["assumptions"]
    assert every.wind_erosion.attrs["assumptions"] == "roughness = 1 everywhere"
    with pytest.raises(InputError, match=r"rweq.calcium_carbonate would have no effect: layer 'calcium_carbonate'"):
        derived_layers(every, ["rweq"], options={**options, "rweq.calcium_carbonate": 2.0})


SPEEDS = {
    "rweq.monthly_speeds": [4.1, 4.6, 4.9, 4.7, 4.2, 3.6, 3.1, 2.9, 3.0, 3.3, 3.7, 3.9], "rweq.weibull_shape": 2.0,
    "rweq.speeds_name": "station climatology", "rweq.speeds_source": "a test, not published",
}  # fmt: skip


def test_a_published_wind_climatology_is_an_assumption_with_its_name_and_range(every: xr.Dataset) -> None:
    layers = every.drop_vars(["wind_erosion", "wind_erosion_status"])
    blown = derived_layers(layers, ["rweq"], options=SPEEDS).wind_erosion.load()
    assert blown.attrs["assumptions"].startswith(
        "wind = station climatology, monthly means 2.9 to 4.9 m s-1 everywhere with a Weibull distribution of shape 2: "
        "a test, not published; "
    )
    assert blown.attrs["wind_source"] == "station climatology: a test, not published"
    assert blown.attrs["monthly_speeds"] == SPEEDS["rweq.monthly_speeds"]
    assert float(blown.min()) > 0
    windier = {**SPEEDS, "rweq.monthly_speeds": [6.0] * 12}
    assert float((derived_layers(layers, ["rweq"], options=windier).wind_erosion - blown).min()) > 0


@pytest.mark.parametrize(("change", "says"), [
    ({"rweq.wind": "wind.nc:u,v"}, "give one"),
    ({"rweq.monthly_speeds": [3.0] * 11}, "expected twelve numbers"),
    ({"rweq.weibull_shape": None}, "weibull_shape is needed by monthly_speeds"),
    ({"rweq.speeds_source": None}, "cite the publication"),
    ({"rweq.speeds_name": None}, "cite the publication"),
])  # fmt: skip
def test_a_wind_climatology_is_complete(every: xr.Dataset, change: dict[str, Any], says: str) -> None:
    options = {key: value for key, value in {**SPEEDS, **change}.items() if value is not None}
    with pytest.raises(InputError, match=says):
        derived_layers(every.drop_vars(["wind_erosion", "wind_erosion_status"]), ["rweq"], options=options)


def test_stones_and_a_layer_of_practice_reach_the_soil_loss(every: xr.Dataset) -> None:
    names = ["soil_erodibility", "water_erosion"]
    layers = every.drop_vars(names).assign(
        stones=xr.full_like(every.ndvi, 35.0).assign_attrs(units="%"),
        practice=xr.full_like(every.ndvi, 0.5).assign_attrs(units="1"),
    )
    options = {"erodibility.stone_cover": "stones", "rusle.practice_layer": "practice"}
    made = derived_layers(layers, names, options=options).load()
    np.testing.assert_allclose(made.soil_erodibility, every.soil_erodibility * np.exp(-1.0), rtol=1e-5)
    np.testing.assert_allclose(made.water_erosion, every.water_erosion * np.exp(-1.0) * 0.5, rtol=1e-5)
    assert made.water_erosion.attrs["practice_factor"] == "practice"
    assert "Poesen" in made.soil_erodibility.attrs["stones"]
    with pytest.raises(InputError, match="practice and practice_layer both give P"):
        derived_layers(layers, names, options={**options, "rusle.practice": 0.5})


def test_every_group_is_in_one_of_the_two_recipes(raw: Path, tmp_path: Path) -> None:
    every, other = (content(tmp_path, raw, variant)["derive"] for variant in ("every", "other"))
    wanted = {layer_makers()[name][0] for name in every["layers"]}
    assert (set(every) | set(other) | wanted) >= set(GROUPS)


def small_cube(store: str, names: Mapping[str, tuple[float, float]]) -> str:
    grid = grid_from_bounds("EPSG:32646", (0, 3_000_000, 32_000, 3_032_000), 1000)
    create_cube(store, grid, chunks=16)
    rng = np.random.default_rng(1)
    for name, limits in names.items():
        values = rng.uniform(*limits, grid.shape).astype("float32")
        add_layer(store, name, xr.DataArray(values, coords=coordinates(grid), dims=("y", "x")))
    return store


FACTORS = {"rainfall_erosivity": (100, 900), "soil_erodibility": (0.01, 0.04), "ls_factor": (1, 9)}


def test_a_supplied_layer_wins_and_its_options_are_rejected(tmp_path: Path) -> None:
    store = small_cube(str(tmp_path / "cube.zarr"), {**FACTORS, "cover_factor": (0.1, 0.4)})
    assert derive(store, ["water_erosion"]) == ["water_erosion"]
    cube = open_cube(store)
    expected = cube.rainfall_erosivity * cube.soil_erodibility * cube.ls_factor * cube.cover_factor
    np.testing.assert_allclose(cube.water_erosion, expected, rtol=1e-6)
    with pytest.raises(InputError, match="erosivity: its options would have no effect"):
        derive(store, ["rusle"], options={"erosivity": "zhang_fu_annual"}, overwrite=True)
    with pytest.raises(InputError, match="alpha has no effect here; it needs method = van_der_knijff"):
        derive(store, ["cover"], options={"cover": "cai", "cover.alpha": 3}, overwrite=True)


def test_a_recipe_takes_a_supplied_factor(raw: Path, tmp_path: Path) -> None:
    recipe = content(tmp_path, raw, "other")
    supplied = {
        "name": "rainfall_erosivity",
        "source": str(raw / "rain" / "prec_07.tif"),
        "units": "MJ mm ha-1 h-1 a-1",
    }
    recipe["layers"].append(supplied)
    recipe["derive"] = {"rusle": {}, "erodibility": OTHER["erodibility"], "cover": {"method": "cai"}}
    recipe["derive"]["hydrology"] = {"layers": ["ls_factor"], "allow_coarse_dem": True}
    run(recipe, workers=1, progress=False)
    assert open_cube(recipe["run"]["output"]).rainfall_erosivity.attrs["source"] == "prec_07.tif"
    recipe["derive"]["erosivity"] = {"method": "zhang_fu_annual"}
    with pytest.raises(RecipeError, match=r"derive.erosivity: layer 'rainfall_erosivity' already exists"):
        run(recipe, progress=False)


def test_what_a_stopped_derivation_stored_is_not_computed_again(tmp_path: Path) -> None:
    store = small_cube(str(tmp_path / "cube.zarr"), {**FACTORS, "cover_factor": (0.1, 0.4)})
    derive(store, ["rusle"])
    chunk = Path(store) / "water_erosion" / "c" / "0" / "0"
    before, stamp = chunk.read_bytes(), chunk.stat().st_mtime_ns
    other = Path(store) / "water_erosion" / "c" / "1" / "1"
    other.unlink()
    derive(store, ["rusle"], overwrite=True)
    assert (chunk.read_bytes(), chunk.stat().st_mtime_ns) == (before, stamp)
    assert other.exists()
    derive(store, ["rusle"], options={"practice": 0.5}, overwrite=True)
    assert chunk.stat().st_mtime_ns > stamp
    assert open_cube(store).water_erosion.attrs["practice_factor"] == 0.5


def test_a_cube_that_gained_layers_is_not_taken_for_a_run(tmp_path: Path) -> None:
    layers = {**FACTORS, "cover_factor": (0.1, 0.4), "elevation": (4000, 4100)}
    store = small_cube(str(tmp_path / "cube.zarr"), layers)
    derive(store, ["rusle"])
    recipe = {"run": {"name": "derive", "output": store}, "grid": {"like": store, "chunks": 16},
              "layers": [{"name": "slope", "source": store, "variable": "elevation"}]}  # fmt: skip
    with pytest.raises((StoreExistsError, InputError)):
        run(recipe, progress=False)
    assert "elevation" in open_cube(store)


def test_cover_by_class_needs_a_cited_table(tmp_path: Path) -> None:
    path = tmp_path / "ranges.csv"
    path.write_text("class,low,high,source\n10,0.01,0.08,\n")
    store = small_cube(str(tmp_path / "cube.zarr"), {"vegetation_cover": (5, 90)})
    grid = open_cube(store).vegetation_cover
    classes = xr.DataArray(np.full(grid.shape, 10, "uint8"), coords=grid.coords, dims=grid.dims)
    add_layer(store, "land_cover", classes)
    options = {"cover": "class_range", "cover.ranges": str(path)}
    with pytest.raises(InputError, match="class 10 has no source"):
        derive(store, ["cover"], options=options)
    path.write_text("class,low,high,source\n10,0.01,0.08,a paper\n")
    derive(store, ["cover"], options=options, overwrite=True)
    cube = open_cube(store)
    np.testing.assert_allclose(cube.cover_factor, 0.01 + 0.07 * (1 - cube.vegetation_cover / 100), rtol=1e-5)
    assert cube.cover_factor.attrs["ranges_source"] == "a paper"


def test_a_change_of_one_group_leaves_the_others_up_to_date(tmp_path: Path) -> None:
    """What a stage depends on are the modules of its own group."""
    reached = {}
    for name in ("terrain", "vegetation"):
        group = GROUPS[name]()
        stage = Stage(name, name, "derive", (), compute_group, options={"group": group})
        reached[name] = set(code_of(entries_of(stage)).modules)
    assert "tpsoil.covariates.groups.terrain" in reached["terrain"]
    assert "tpsoil.covariates.terrain" in reached["terrain"]
    assert not {"tpsoil.covariates.vegetation", "tpsoil.covariates.climate"} & reached["terrain"]
    assert "tpsoil.covariates.vegetation" in reached["vegetation"]
    assert "tpsoil.covariates.groups.terrain" not in reached["vegetation"]
