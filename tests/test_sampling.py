"""Cube values at points: the right cell, the right types, few chunks, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from pyproj import Transformer

import tpsoil
from tpsoil.cube import sample_cube
from tpsoil.errors import GridError, InputError, MissingInputError
from tpsoil.grid import PLATEAU_CRS, coordinates, grid_from_bounds, plateau_grid
from tpsoil.points import locate_points

GRID = grid_from_bounds(PLATEAU_CRS, (-300_000, -200_000, 300_000, 200_000), 10_000)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Elevation says its own cell: 100 row + column; classes with a hole."""
    place = tmp_path_factory.mktemp("cube") / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=16)
    rows, cols = np.meshgrid(np.arange(40), np.arange(60), indexing="ij")
    values = (100 * rows + cols).astype(np.float32)
    values[10, 10] = np.nan
    classes = (cols % 5 + 1).astype(np.uint8)
    classes[10, 11] = 255
    for name, array in (("elevation", values), ("climate_zone", classes)):
        layer = xr.DataArray(array, dims=("y", "x"), coords=coordinates(GRID))
        tpsoil.add_layer(place, name, layer, **({"nodata": 255} if name == "climate_zone" else {}))
    return tpsoil.open_cube(place)


def degrees(rows: np.ndarray, cols: np.ndarray) -> pd.DataFrame:
    """Points at fractional rows and columns of the grid."""
    x, y = -300_000 + 10_000 * cols, 200_000 - 10_000 * rows
    lon, lat = Transformer.from_crs(PLATEAU_CRS, "EPSG:4326", always_xy=True).transform(x, y)
    return pd.DataFrame({"site": [f"s{k}" for k in range(len(lon))], "lon": lon, "lat": lat})


def test_each_point_gets_its_own_cell(cube: xr.Dataset) -> None:
    generator = np.random.default_rng(0)
    rows, cols = generator.uniform(0, 40, 400), generator.uniform(0, 60, 400)
    points = degrees(rows, cols)
    before = points.copy()
    table = sample_cube(cube, points)
    pd.testing.assert_frame_equal(points, before)
    expected = (100 * np.floor(rows) + np.floor(cols)).astype(np.float32)
    hole = (np.floor(rows) == 10) & (np.floor(cols) == 10)
    np.testing.assert_array_equal(table["elevation"].to_numpy(), np.where(hole, np.nan, expected))
    assert table["elevation"].dtype == np.float32
    assert str(table["climate_zone"].dtype) == "UInt8"
    assert table.columns.tolist() == ["site", "lon", "lat", "cell_row", "cell_column", "climate_zone", "elevation"]
    projected = pd.DataFrame({"x": -300_000 + 10_000 * cols, "y": 200_000 - 10_000 * rows})
    np.testing.assert_array_equal(sample_cube(cube, projected)["elevation"], table["elevation"])
    eager = sample_cube(cube.compute(), points)
    pd.testing.assert_frame_equal(eager, table)


def test_missing_is_missing(cube: xr.Dataset) -> None:
    table = sample_cube(cube, degrees(np.array([10.5, 10.5, 10.5]), np.array([10.5, 11.5, 12.5])))
    assert table["elevation"].isna().tolist() == [True, False, False]
    assert table["climate_zone"].isna().tolist() == [False, True, False]
    assert table["climate_zone"].tolist()[2] == 3


def test_points_outside_are_counted_dropped_and_said(cube: xr.Dataset) -> None:
    points = degrees(np.array([5.5, -0.5, 39.9, 40.1, 7.0]), np.array([5.5, 5.5, 59.9, 3.0, 60.5]))
    points.loc[5] = ["s5", np.nan, 33.0]
    points.index = list("abcdef")
    with pytest.warns(UserWarning, match="4 of 6 points are outside the grid or have no position; dropped"):
        table = sample_cube(cube, points)
    assert table.index.tolist() == ["a", "c"]
    assert table["elevation"].tolist() == [505, 3959]
    assert (table.attrs["points"], table.attrs["points_outside"], table.attrs["outside"]) == (6, 4, "dropped")
    with pytest.warns(UserWarning, match="kept with missing values"):
        table = sample_cube(cube, points, outside="keep")
    assert table.index.tolist() == list("abcdef")
    assert table["elevation"].isna().tolist() == table["climate_zone"].isna().tolist() == [0, 1, 0, 1, 1, 1]
    with pytest.raises(InputError, match="points: 4 of 6 points are outside the grid"):
        sample_cube(cube, points, outside="error")
    with pytest.raises(InputError, match="outside is 'ignore', expected one of .'drop'"):
        sample_cube(cube, points, outside="ignore")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none of 2 points is inside the grid"):
        sample_cube(cube, pd.DataFrame({"lon": [10.0, 11], "lat": [50.0, 51]}))


def test_swapped_and_impossible_positions(cube: xr.Dataset, tmp_path: Path) -> None:
    good = degrees(np.array([5.5, 6.5]), np.array([5.5, 7.5]))
    with pytest.raises(InputError, match=r"longitude and latitude are swapped: line 2 has lon 34, lat 91"):
        sample_cube(cube, good.rename(columns={"lon": "lat", "lat": "lon"}).assign(lon=[34.0, 34.0], lat=[91.0, 92.0]))
    with pytest.raises(
        InputError, match=r"swapped: no point lies in .* but 2 of 2 do once swapped; rename the columns"
    ):
        sample_cube(cube, good.rename(columns={"lon": "lat", "lat": "lon"}))
    with pytest.raises(
        InputError, match="1 positions are not degrees: line 3 has lon 500000.*name the columns x and y"
    ):
        sample_cube(cube, good.assign(lon=[good.lon[0], 5e5]))
    path = tmp_path / "sites.csv"
    path.write_text("site,lon,lat\na,86.0,34.0\nb,86 E,34.0\n")
    with pytest.raises(InputError, match=r"sites\.csv: column 'lon' has text in line 3: '86 E', expected numbers"):
        sample_cube(cube, path)
    with pytest.raises(InputError, match="have no position; expected lon and lat"):
        sample_cube(cube, good.drop(columns="lat"))


def test_names_that_clash_or_miss(cube: xr.Dataset) -> None:
    points = degrees(np.array([5.5]), np.array([5.5])).assign(elevation=1)
    with pytest.raises(InputError, match="column 'elevation' named as layers of the cube"):
        sample_cube(cube, points)
    assert sample_cube(cube, points, layers=["climate_zone"])["elevation"].tolist() == [1]
    with pytest.raises(MissingInputError, match="no layer 'elevatio'; did you mean 'elevation'"):
        sample_cube(cube, points, layers=["elevatio"])
    with pytest.raises(InputError, match="no layers of dims"):
        sample_cube(cube[[]].assign(a=0.0), degrees(np.array([5.5]), np.array([5.5])))
    bare = cube.drop_vars("spatial_ref")
    for name in bare.data_vars:
        bare[name].encoding.pop("grid_mapping", None)
    with pytest.raises(GridError, match="no CRS"):
        sample_cube(bare, degrees(np.array([5.5]), np.array([5.5])))


def test_only_the_chunks_with_points_are_read(cube: xr.Dataset) -> None:
    tasks: list[int] = []

    class Counting(dask.callbacks.Callback):
        def _start_state(self, dsk: object, state: dict) -> None:
            tasks.append(len(state["waiting"]) + len(state["ready"]))

    points = degrees(np.array([1.5, 2.5, 35.5]), np.array([1.5, 2.5, 50.5]))
    with Counting():
        sample_cube(cube, points, layers=["elevation"])
    assert sum(tasks) <= 4  # two chunks of twelve, read and taken from


def test_the_boundary_between_cells_belongs_to_the_larger_index() -> None:
    grid = grid_from_bounds("EPSG:4326", (80, 30, 90, 35), 0.5)
    table = pd.DataFrame({"lon": [80.0, 80.5, 90.0, -279.75], "lat": [35.0, 34.5, 32.0, 32.2]})
    rows, cols = locate_points(table, grid, where="points")
    assert rows.tolist() == [0, 1, -1, 5]
    assert cols.tolist() == [0, 1, -1, 0]


@pytest.mark.parametrize("outside", ["drop", "keep", "error"])
def test_values_stay_beside_their_point_where_a_masked_one_is_dropped(outside: Any) -> None:
    grid = plateau_grid(100_000)
    slope = np.arange(grid.shape[0] * grid.shape[1], dtype="f4").reshape(grid.shape)
    layers = {"slope": (("y", "x"), slope), "soil_mask": (("y", "x"), (slope != 0).astype("u1"))}
    cube = xr.Dataset(layers, coords=coordinates(grid))
    points = pd.DataFrame({"x": cube.x.values[:4], "y": np.repeat(cube.y.values[:1], 4), "number": range(4)})
    result = sample_cube(cube, points, layers=["slope"], outside=outside, on_masked="drop").dropna(subset="slope")
    assert result["slope"].tolist() == result["number"].tolist() == [1, 2, 3]
    assert result["cell_column"].tolist() == [1, 2, 3]


def test_points_are_sampled_again_in_the_cells_that_they_have(cube: xr.Dataset, tmp_path: Path) -> None:
    points = degrees(np.array([5.5, -0.5, 10.5]), np.array([5.5, 5.5, 11.5]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*kept with missing values")
        first = sample_cube(cube, points, layers=["elevation"], outside="keep")
        again = sample_cube(cube, first, layers=["climate_zone"], outside="keep")
        at_once = sample_cube(cube, points, layers=["elevation", "climate_zone"], outside="keep")
    assert sorted(again.columns) == sorted(at_once.columns)
    pd.testing.assert_frame_equal(again[at_once.columns], at_once)
    path = tmp_path / "sampled.csv"
    first.iloc[[0, 2]].to_csv(path, index=False)
    assert sample_cube(cube, path, layers=["climate_zone"])["cell_row"].tolist() == [5, 10]


def test_cells_of_another_grid_are_not_replaced(cube: xr.Dataset) -> None:
    points = degrees(np.array([5.5, 10.5]), np.array([5.5, 11.5]))
    first = sample_cube(cube, points, layers=["elevation"])
    cut = cube.isel(y=slice(2, None))
    message = (
        r"'cell_row', which sample_cube writes, has other cells .* in 2 of 2 rows \(lines 2, 3\).*; rename cell_row"
    )
    with pytest.raises(InputError, match=message):
        sample_cube(cut, first, layers=["climate_zone"])
    own = first.rename(columns={"cell_row": "own_row", "cell_column": "own_column"})
    assert sample_cube(cut, own, layers=["climate_zone"])["cell_row"].tolist() == [3, 8]
    with pytest.raises(InputError, match="column 'cell_row' named as layers of the cube"):
        sample_cube(cube.rename(elevation="cell_row"), points)


def test_a_declared_code_of_a_floating_layer_is_missing(cube: xr.Dataset) -> None:
    """As rioxarray opens a GeoTIFF without masked=True: nodata in the attributes and in the cells."""
    raw = cube[["elevation"]].compute()
    raw["elevation"] = raw["elevation"].where(raw["elevation"] != 505, -9999).assign_attrs(_FillValue=-9999.0)
    table = sample_cube(raw, degrees(np.array([5.5, 6.5]), np.array([5.5, 5.5])))
    assert table["elevation"].isna().tolist() == [True, False]
    west, north = -300_000, 200_000
    cell = shapely.box(west + 50_000, north - 70_000, west + 60_000, north - 50_000)
    means = tpsoil.zonal_statistics(raw, {"two cells": cell}, statistics=["count", "mean", "min", "q50"])
    assert means[["count", "mean", "min", "q50"]].to_numpy().tolist() == [[1, 605, 605, 605]]
