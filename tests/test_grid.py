"""Grids: the plateau's own, bounds, sameness, spacing."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer

from tpsoil.errors import GridError, InputError
from tpsoil.grid import (
    PLATEAU_BOUNDS_M,
    PLATEAU_CRS,
    cell_sizes_m,
    coordinates,
    describe,
    geographic_bounds,
    grid_from_bounds,
    grid_of,
    plateau_grid,
    require_same_grid,
    same_grid,
)


def raster(grid: GeoBox, name: str = "a") -> xr.DataArray:
    return xr.DataArray(np.zeros(grid.shape, np.float32), dims=("y", "x"), coords=coordinates(grid), name=name)


def test_the_plateau_is_albers_equal_area_and_holds_the_plateau() -> None:
    grid = plateau_grid()
    assert grid.shape == (1800, 2800)
    assert tuple(grid.boundingbox) == PLATEAU_BOUNDS_M
    operation = CRS.from_wkt(grid.crs.to_wkt()).coordinate_operation
    assert operation.method_name == "Albers Equal Area"
    assert {one.name: one.value for one in operation.params} == {
        "Latitude of false origin": 33, "Longitude of false origin": 89, "Latitude of 1st standard parallel": 30,
        "Latitude of 2nd standard parallel": 40, "Easting at false origin": 0, "Northing at false origin": 0,
    }  # fmt: skip
    # a cell is a square kilometre of the ellipsoid wherever it lies
    to_degrees = Transformer.from_crs(PLATEAU_CRS, "EPSG:4326", always_xy=True)
    for left, top in ((-1_340_000, 900_000), (1_459_000, -899_000), (0, 0)):
        ring = [(left, top), (left + 1000, top), (left + 1000, top - 1000), (left, top - 1000)]
        lon, lat = to_degrees.transform(*zip(*ring))
        area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
        assert abs(area) == pytest.approx(1e6, rel=1e-5)
    west, south, east, north = geographic_bounds(grid)
    assert west < 74 < 104 < east
    assert south < 26 < 40 < north


@given(resolution=st.floats(900, 1_800_000))
@settings(max_examples=50, deadline=None)
def test_any_resolution_covers_the_bounds(resolution: float) -> None:
    grid = plateau_grid(resolution)
    left, bottom, right, top = grid.boundingbox
    assert (left, top) == (PLATEAU_BOUNDS_M[0], PLATEAU_BOUNDS_M[3])
    assert PLATEAU_BOUNDS_M[2] - 1e-3 <= right < PLATEAU_BOUNDS_M[2] + resolution
    assert PLATEAU_BOUNDS_M[1] - resolution < bottom <= PLATEAU_BOUNDS_M[1] + 1e-3


@pytest.mark.parametrize("resolution", [0, -5, float("nan"), float("inf"), 5e6])
def test_impossible_resolutions(resolution: float) -> None:
    with pytest.raises(InputError, match="plateau_grid: resolution is"):
        plateau_grid(resolution)


def test_bounds_make_a_grid_or_an_error() -> None:
    grid = grid_from_bounds("EPSG:3035", (0, 0, 1050, 950), 100)
    assert grid.shape == (10, 11)
    assert grid.transform * (0, 0) == (0, 950)
    with pytest.raises(InputError, match="expected left < right and bottom < top"):
        grid_from_bounds("EPSG:3035", (10, 0, 0, 10), 1)
    with pytest.raises(InputError, match="resolution is 0"):
        grid_from_bounds("EPSG:3035", (0, 0, 10, 10), 0)
    with pytest.raises(InputError, match="crs='EPSG:0' is not a CRS"):
        grid_from_bounds("EPSG:0", (0, 0, 10, 10), 1)


def test_the_grid_of_a_raster_is_found_again_exactly_enough() -> None:
    for grid in (plateau_grid(7777), grid_from_bounds("EPSG:4326", (80, 31, 85, 35), 0.1)):
        assert same_grid(grid_of(raster(grid)), grid)
    bare = raster(plateau_grid(100_000)).drop_vars("spatial_ref")
    with pytest.raises(GridError, match="slope: the raster has no CRS"):
        grid_of(bare, where="slope")
    geographic = xr.DataArray(
        np.zeros((2, 2)), dims=("latitude", "longitude"), coords={"latitude": [1.0, 0], "longitude": [0.0, 1]}
    )
    with pytest.raises(GridError, match="no CRS"):
        grid_of(geographic)


def test_grids_equal_to_rounding_are_one_and_others_are_not() -> None:
    grid = plateau_grid(50_000)
    t = grid.transform
    near = GeoBox(grid.shape, Affine(t.a * (1 + 1e-12), 0, t.c + 1e-6, 0, t.e, t.f), grid.crs)
    assert same_grid(grid, near)
    for other in (
        GeoBox(grid.shape, Affine(t.a, 0, t.c + 0.01 * t.a, 0, t.e, t.f), grid.crs),
        GeoBox(grid.shape, Affine(t.a * 1.001, 0, t.c, 0, t.e, t.f), grid.crs),
        GeoBox(grid.shape, t, "EPSG:3035"),
        grid[1:, :],
    ):
        assert not same_grid(grid, other)
    one = raster(near)
    moved = one.assign_coords(x=one.x + 1e-9)
    # the trap: equal to rounding, and xarray's default join drops every cell
    assert (moved + raster(grid)).size == 0
    with pytest.raises(GridError, match=r"'a' is on 36 x 56 .*'b' on 18 x 28.*tpsoil\.add_layer"):
        require_same_grid(raster(grid), raster(plateau_grid(100_000), "b"), where="thickness")


def test_cell_sizes_are_metres_on_the_ground() -> None:
    grid = grid_from_bounds("EPSG:4326", (80, 0, 81, 60), 0.5)
    dx, dy = cell_sizes_m(grid)
    middle = 60 - 0.5 * (np.arange(120) + 0.5)
    # WGS84 radii of curvature: an arc of a parallel, an arc of a meridian
    a, e2 = 6378137.0, 0.00669437999014
    sine = np.sin(np.radians(middle))
    prime, meridian = a / np.sqrt(1 - e2 * sine**2), a * (1 - e2) / (1 - e2 * sine**2) ** 1.5
    np.testing.assert_allclose(dx, np.radians(0.5) * prime * np.cos(np.radians(middle)), rtol=1e-5)
    np.testing.assert_allclose(dy, np.radians(0.5) * meridian, rtol=1e-5)
    assert dx[0] < dx[-1]
    with pytest.raises(GridError, match="is rotated"):
        cell_sizes_m(plateau_grid(100_000).rotate(5))
    with pytest.raises(GridError, match="expected metres"):
        cell_sizes_m(grid_from_bounds("EPSG:2227", (6_000_000, 2_000_000, 6_010_000, 2_010_000), 1000))


def test_coordinates_are_cell_centres_with_cf_names() -> None:
    axes = coordinates(grid_from_bounds("EPSG:4326", (80, 31, 81, 32), 0.25))
    assert axes["y"].values.tolist() == [31.875, 31.625, 31.375, 31.125]
    assert axes["x"].values.tolist() == [80.125, 80.375, 80.625, 80.875]
    assert axes["x"].attrs["standard_name"] == "longitude"
    assert coordinates(plateau_grid(100_000))["y"].attrs["units"] == "m"
    assert "crs_wkt" in axes["spatial_ref"].attrs
    assert "EPSG:4326" in describe(grid_from_bounds("EPSG:4326", (80, 31, 81, 32), 0.25))


def test_bounds_in_degrees_cross_the_date_line() -> None:
    fiji = grid_from_bounds("EPSG:3832", (2_800_000, -2_300_000, 3_600_000, -1_700_000), 10_000)  # Pacific Mercator
    west, _, east, _ = geographic_bounds(fiji)
    assert west < 180 < east


@pytest.mark.parametrize(
    ("crs", "unit"),
    [("EPSG:3035", "m"), ("EPSG:2263", "US_survey_foot"), ("+proj=utm +zone=45 +units=km", "kilometre")],
)
def test_coordinates_have_the_unit_of_their_crs(crs: str, unit: str) -> None:
    grid = grid_from_bounds(crs, (0, 0, 2000, 1000), 1000)
    assert [coordinates(grid)[axis].attrs["units"] for axis in "yx"] == [unit, unit]
    assert f"1000 x 1000 {unit} at" in describe(grid)
