"""Raster sources, stores and options that cannot be right: exit status 2, the file and the fix named, nothing left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from geotiffs import write_tif

import tpsoil
from tpsoil.errors import GridError, InputError, TpsoilError
from tpsoil.grid import coordinates, grid_from_bounds, plateau_grid
from tpsoil.ingest import read_stack
from tpsoil.recipes import read_recipe

GRID = grid_from_bounds("EPSG:4326", (80, 31, 84, 35), 0.25)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'
Command = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=8)
    return place


def dem(rows: int = 64, cols: int = 64) -> np.ndarray:
    return (4000 + np.arange(rows * cols).reshape(rows, cols) % 500).astype(np.int16)


def truncated_tif(folder: Path) -> Path:
    path = write_tif(folder / "cut.tif", dem(), size=0.0625)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def labelled(shape: tuple[int, int] = (64, 64)) -> xr.Dataset:
    size = 4 / shape[0]
    coords = {"lat": 35 - size * (np.arange(shape[0]) + 0.5), "lon": 80 + size * (np.arange(shape[1]) + 0.5)}
    data = xr.Dataset({"elevation": (("lat", "lon"), dem(*shape).astype(np.float32))}, coords=coords)
    return data.rio.write_crs("EPSG:4326")


def source_zarr(folder: Path, version: int = 3) -> Path:
    path = folder / "source.zarr"
    encoding = {"elevation": {"chunks": (16, 16)}}
    labelled().to_zarr(path, zarr_format=version, consolidated=False, encoding=encoding)
    return path


def chunk_of(path: Path) -> Path:
    return next(p for p in (path / "elevation" / "c" / "1" / "1", path / "elevation" / "1.1") if p.exists())


def corrupt_zarr(folder: Path) -> Path:
    path = source_zarr(folder)
    chunk_of(path).write_bytes(b"no compressed bytes")
    return path


def lost_cube_chunk(folder: Path) -> Path:
    path = folder / "other.zarr"
    tpsoil.create_cube(path, GRID, chunks=8)
    tpsoil.add_layer(path, "elevation", write_tif(folder / "dem.tif", dem(16, 16)))
    (path / "elevation" / "c" / "0" / "1").unlink()
    return path


def engineering(folder: Path) -> Path:
    return write_tif(folder / "local.tif", dem(), crs=LOCAL)


def nothing_but_nodata(folder: Path) -> Path:
    return write_tif(folder / "empty.tif", np.full((16, 16), -32768, np.int16), nodata=-32768)


def nothing_but_nan(folder: Path) -> Path:
    return write_tif(folder / "nan.tif", np.full((16, 16), np.nan, np.float32))


def circle(folder: Path) -> Path:
    (folder / "a.tif").symlink_to(folder / "b.tif")
    (folder / "b.tif").symlink_to(folder / "a.tif")
    return folder / "a.tif"


def folder_as_file(folder: Path) -> Path:
    (folder / "dem.tif").mkdir()
    return folder / "dem.tif"


BROKEN: list[tuple[Callable[[Path], Path], str]] = [
    (truncated_tif, r"cut\.tif: rows .* cannot be read: .*is the file complete\? fetch or write it again"),
    (corrupt_zarr, r"source\.zarr.*cannot be read: .*is the file complete\?"),
    (lost_cube_chunk, r"1 of 4 chunks of 'elevation' in .*other\.zarr are not stored, so they were lost"),
    (engineering, r"local\.tif: the CRS 'site grid' \(local\) has no location on the Earth.*pass the right one"),
    (nothing_but_nodata, r"none of the 256 cells of the grid has a value; empty\.tif is empty there.*\(-32768\)"),
    (nothing_but_nan, r"none of the 256 cells of the grid has a value; nan\.tif is empty there"),
    (circle, r"a\.tif"),
    (folder_as_file, r"dem\.tif"),
]


@pytest.mark.parametrize(("make", "message"), BROKEN, ids=[make.__name__ for make, _ in BROKEN])
def test_a_broken_source_is_named_and_leaves_nothing(
    store: Path, tmp_path: Path, tpsoil_command: Command, make: Callable[[Path], Path], message: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(TpsoilError, match=message):
        tpsoil.add_layer(store, "elevation", path)
    done = tpsoil_command("cube", "add", store, "elevation", path)
    assert done.status == 2, done.err
    assert path.name in done.err
    assert "unexpected" not in done.err
    assert not (store / "elevation").exists()


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_that_is_not_stored_is_counted(store: Path, tmp_path: Path, version: int) -> None:
    path = source_zarr(tmp_path, version)
    chunk_of(path).unlink()
    with pytest.warns(UserWarning, match=r"1 of 16 chunks of 'elevation' in .* are not stored and read as"):
        tpsoil.add_layer(store, "elevation", path)
    assert "1 of 16 chunks" in tpsoil.open_cube(store)["elevation"].attrs["source_problem"]


def test_a_source_that_covers_little_is_reported(store: Path, tmp_path: Path) -> None:
    tile = write_tif(tmp_path / "tile.tif", dem(2, 2))
    with pytest.warns(UserWarning, match=r"tile\.tif covers 1\.6 % of the grid .*pass crs="):
        tpsoil.add_layer(store, "elevation", tile)
    assert tpsoil.open_cube(store)["elevation"].attrs["source_coverage"] == "1.6 % of the grid"
    half = write_tif(tmp_path / "half.tif", dem(8, 16))
    tpsoil.add_layer(store, "elevation", half, overwrite=True)
    assert tpsoil.open_cube(store)["elevation"].attrs["source_coverage"] == "50.0 % of the grid"
    tpsoil.add_layer(store, "elevation", write_tif(tmp_path / "all.tif", dem(16, 16)), overwrite=True)
    assert "source_coverage" not in tpsoil.open_cube(store)["elevation"].attrs


def test_a_mask_without_soil(store: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    import geopandas
    import shapely

    path = tmp_path / "lake.geojson"
    geopandas.GeoDataFrame(geometry=[shapely.box(79, 30, 85, 36)], crs="EPSG:4326").to_file(path)
    done = tpsoil_command("cube", "add", store, "soil_mask", path, "--outside", path)
    assert done.status == 2
    assert "soil_mask: none of the 256 cells of the grid has soil" in done.err
    assert not (store / "soil_mask").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crs", LOCAL, "--bounds", "0", "0", "1000", "1000"], "has no location on the Earth"),
        (["--crs", "EPSG:4326", "--bounds", "0", "0", "inf", "1"], "expected left < right"),
        (["--crs", "EPSG:4978", "--bounds", "0", "0", "1000", "1000"], "has no location on the Earth"),
    ],
)
def test_a_grid_that_cannot_be(tmp_path: Path, tpsoil_command: Command, arguments: list[str], message: str) -> None:
    place = tmp_path / "cube.zarr"
    done = tpsoil_command("cube", "create", place, "--resolution", "100", *arguments)
    assert (done.status, message in done.err) == (2, True), done.err
    assert not place.exists()


def test_a_local_grid_leaves_no_store(tmp_path: Path) -> None:
    from affine import Affine
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox

    with pytest.raises(GridError, match="has no location on the Earth"):
        tpsoil.create_cube(tmp_path / "c.zarr", GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 0), CRS(LOCAL)))
    assert not (tmp_path / "c.zarr").exists()


def test_the_home_folder_is_no_folder_of_its_own(
    tmp_path: Path, tpsoil_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tpsoil.create_cube("~/cube.zarr", GRID)
    assert (tmp_path / "cube.zarr" / "zarr.json").is_file()
    assert not (tmp_path / "~").exists()
    write_tif(tmp_path / "dem.tif", dem(16, 16))
    tpsoil.add_layer("~/cube.zarr", "elevation", "~/dem.tif")
    recipe = read_recipe({"run": {"name": "a", "output": "~/maps.zarr", "cube": "~/cube.zarr"}, "derive": {}})
    assert (recipe.output, recipe.cube) == (str(tmp_path / "maps.zarr"), str(tmp_path / "cube.zarr"))


@pytest.mark.parametrize("command", [["cube", "create"], ["run"]])
def test_memory_lasts_no_longer_than_a_command(tmp_path: Path, tpsoil_command: Command, command: list[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[run]\nname = "a"\noutput = "memory://maps"\n[grid]\nresolution = 100000\n[derive]\n')
    done = tpsoil_command(*command, "memory://maps" if command[0] == "cube" else recipe)
    assert done.status == 2, done.err
    assert "a store in memory is lost when the command ends; pass a path, or a URL" in done.err


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"crs": LOCAL, "resolution": 100, "bounds": [0, 0, 1000, 1000]}, "grid.crs: .*has no location on the Earth"),
        ({"crs": "EPSG:4326", "resolution": 1, "bounds": [0, 0, float("inf"), 1]}, "expected four finite numbers"),
    ],
)
def test_a_recipes_grid_that_cannot_be(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe({"run": {"name": "a", "output": "a.zarr"}, "grid": table, "derive": {}})


def test_recipe_faults_use_no_type_text_of_a_library() -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(
            {
                "run": {"name": "a", "output": "${TPSOIL_NO_SUCH}/a.zarr", "cube": "c.zarr"},
                "solum": {"parameters": {"x": {"h0": "deep"}}, "zones": {"count": "many"}},
            }
        )
    text = str(caught.value)
    assert "constrained" not in text
    assert "[str" not in text
    assert "run.output: the environment variable TPSOIL_NO_SUCH is not set" in text


def test_what_is_no_store(tmp_path: Path) -> None:
    cube = xr.Dataset()
    for call in (
        lambda: tpsoil.create_cube(cube, GRID),  # type: ignore[arg-type]
        lambda: tpsoil.open_cube(cube),  # type: ignore[arg-type]
        lambda: tpsoil.cube.export_store(cube, tmp_path / "a.tif"),  # type: ignore[arg-type]
        lambda: tpsoil.add_layer(cube, "slope", "a.tif"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match="the store is a Dataset, expected a path, a URL or a zarr Store"):
            call()


def test_points_of_a_path(store: Path, tmp_path: Path) -> None:
    tpsoil.add_layer(store, "elevation", write_tif(tmp_path / "dem.tif", dem(16, 16)))
    table = pd.DataFrame({"lon": [80.1], "lat": [34.9]})
    assert tpsoil.sample_cube(store, table)["elevation"].tolist() == [4000.0]


def test_a_stack_with_its_own_crs(tmp_path: Path) -> None:
    grid = plateau_grid(400_000)
    times = pd.date_range("2017-01-01", periods=3, freq="MS")
    values = np.zeros((3, *grid.shape))
    array = xr.DataArray(values, dims=("time", "y", "x"), coords={**coordinates(grid), "time": times}, name="t2m")
    array.attrs["units"] = "degC"
    array.rio.write_crs(grid.crs.to_wkt(), grid_mapping_name="albers").drop_vars("spatial_ref").to_netcdf(
        tmp_path / "t2m.nc"
    )
    stack = read_stack(tmp_path / "t2m.nc", "t2m", "degC")
    assert stack.odc.crs == grid.crs
    (tmp_path / "broken.nc").write_bytes(b"no NetCDF")
    with pytest.raises(InputError, match=r"broken\.nc cannot be opened: .*is it a NetCDF file"):
        read_stack(tmp_path / "broken.nc", "t2m", "degC")


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("elements", "site,lon,lat,Fe\na,81,34,31000\nb,82,33,high\n", "column 'Fe' has text in line 3: 'high'"),
        ("elements", "site,lon,lat,Fe\na,34,81,31000\nb,33,102,30000\n", "longitude and latitude are swapped"),
        ("solum", "lon,lat,thickness\n81,34,45\n82,33,60\n", "look like centimetres"),
    ],
)
def test_a_dry_run_rejects_the_table_that_the_run_would(
    store: Path, tmp_path: Path, tpsoil_command: Command, table: str, text: str, message: str
) -> None:
    tpsoil.add_layer(store, "elevation", write_tif(tmp_path / "dem.tif", dem(16, 16)))
    needed = "mean_annual_temperature annual_precipitation water_erosion wind_erosion general_curvature ndvi"
    for name in needed.split():
        tpsoil.add_layer(store, name, write_tif(tmp_path / f"{name}.tif", np.full((16, 16), 1, np.float32)))
    (tmp_path / "table.csv").write_text(text)
    sections = {
        "elements": '[elements]\nsamples = "table.csv"\nelements = ["Fe"]\nfeatures = ["elevation"]\n'
        'longitude = "lon"\nlatitude = "lat"\n',
        "solum": '[solum]\n[solum.calibration]\nprofiles = "table.csv"\n',
    }
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[run]\nname = "a"\noutput = "maps.zarr"\ncube = "cube.zarr"\n{sections[table]}')
    done = tpsoil_command("run", recipe, "--dry-run")
    assert done.status == 2, done.err
    assert message in done.err
    assert not (tmp_path / "maps.zarr").exists()


def series(folder: Path, name: str, **coords: Any) -> Path:
    """Values that grow by 1 eastward and by 10 northward, in the order of dims that is given."""
    sizes = [len(values) for values in coords.values()]
    axes = dict(zip(coords, np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")))
    east, north = (next(axes[d] for d in axes if d in names) for names in (("lon", "x"), ("lat", "y")))
    data = xr.DataArray(east + 10.0 * north, dims=tuple(coords), coords=coords, name="t", attrs={"units": "degC"})
    path = folder / name
    data.to_netcdf(path, engine="scipy")
    return path


TIMES = pd.date_range("2017-01-01", periods=2, freq="MS")


def test_a_stack_whose_longitudes_come_before_its_latitudes(tmp_path: Path) -> None:
    """IMERG stores (time, lon, lat): the axes were swapped where crs was passed."""
    path = series(tmp_path, "imerg.nc", time=TIMES, lon=[90.0, 91.0, 92.0], lat=[30.0, 31.0])
    for options in ({}, {"crs": "EPSG:4326"}):
        stack = read_stack(path, "t", "degC", **options)
        assert stack.dims == ("time", "y", "x")
        assert (stack.y.values.tolist(), stack.x.values.tolist()) == ([31.0, 30.0], [90.0, 91.0, 92.0])
        np.testing.assert_array_equal(stack[0], [[10.0, 11.0, 12.0], [0.0, 1.0, 2.0]])


def test_a_stack_with_another_name_of_time_and_a_single_step(tmp_path: Path) -> None:
    """ERA5 since 2024: valid_time, and dims of one step such as number."""
    path = series(tmp_path, "era5.nc", valid_time=TIMES, number=[0], lat=[31.0, 30.0], lon=[90.0, 91.0])
    stack = read_stack(path, "t", "degC")
    assert stack.dims == ("time", "y", "x")
    assert stack["time"].values.astype("datetime64[M]").astype(str).tolist() == ["2017-01", "2017-02"]
    assert set(stack.coords) == {"time", "y", "x", "spatial_ref"}
    line = series(tmp_path, "line.nc", time=TIMES, lat=[30.0], lon=[90.0, 91.0])
    with pytest.raises(InputError, match="expected a datetime dim such as 'time' and two of a grid"):
        read_stack(line, "t", "degC")


def test_a_stack_without_coordinates_has_no_place(tmp_path: Path) -> None:
    """Its cells were placed at 0, 1, 2 ... degrees."""
    data = xr.DataArray(np.zeros((2, 3, 4)), dims=("time", "lat", "lon"), coords={"time": TIMES}, name="t")
    data.assign_attrs(units="degC").to_netcdf(tmp_path / "bare.nc", engine="scipy")
    with pytest.raises(GridError, match="has no coordinate 'lat', so its pixels have no place"):
        read_stack(tmp_path / "bare.nc", "t", "degC")
