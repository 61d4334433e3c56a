"""Boundary, glaciers and lakes to the soil mask: against shapely, cell by cell."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from geotiffs import write_tif
from hypothesis import given, settings
from hypothesis import strategies as st

import tpsoil
from tpsoil.errors import GridError, InputError, MissingInputError
from tpsoil.grid import PLATEAU_CRS, grid_from_bounds
from tpsoil.ingest import read_mask
from tpsoil.kernels.polygons import inside

GRID = grid_from_bounds(PLATEAU_CRS, (-500_000, -300_000, 500_000, 300_000), 20_000)
BLOB = shapely.Polygon([(85, 31), (92, 30.5), (93, 34.2), (88.5, 32.6), (86, 35)], [[(88, 31.5), (89, 31.5), (89, 32)]])
LAKE = shapely.Point(90.5, 31.2).buffer(0.6)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {"bounds": tmp_path / "bounds.geojson", "lake": tmp_path / "lake.gpkg", "bare": tmp_path / "bare.shp"}
    geopandas.GeoDataFrame(geometry=[BLOB], crs=4326).to_file(paths["bounds"])
    geopandas.GeoDataFrame(geometry=[LAKE, LAKE], crs=4326).to_crs(32645).to_file(paths["lake"])
    geopandas.GeoDataFrame(geometry=[BLOB], crs=4326).to_file(paths["bare"])
    paths["bare"].with_suffix(".prj").unlink()
    return paths


def by_shapely(*, grid: object = GRID) -> np.ndarray:
    """Cell centres back to degrees, then point in polygon."""
    from pyproj import Transformer

    from tpsoil.grid import coordinates

    axes = coordinates(GRID)
    x, y = np.meshgrid(axes["x"].values, axes["y"].values)
    lon, lat = Transformer.from_crs(PLATEAU_CRS, "EPSG:4326", always_xy=True).transform(x, y)
    return shapely.contains_xy(BLOB, lon, lat) & ~shapely.contains_xy(LAKE, lon, lat)


def test_inside_the_boundary_and_outside_the_lake(files: dict[str, Path]) -> None:
    mask = read_mask(files["bounds"], GRID, outside=[files["lake"]])
    got = mask.values
    assert got.dtype == np.uint8
    # an edge is straight in degrees between its vertices, on the map only to LONGEST_EDGE_DEG; no centre lies that near
    np.testing.assert_array_equal(got.astype(bool), by_shapely())
    assert mask.attrs["source"] == "inside bounds.geojson; outside lake.gpkg"
    assert mask.attrs["source_digest"].startswith("sha256:")
    for chunks in (7, 13):
        np.testing.assert_array_equal(
            read_mask(files["bounds"], GRID, outside=files["lake"], chunks=chunks).values, got
        )
    everywhere = read_mask(None, GRID, outside=files["lake"]).values
    assert 0 < (everywhere == 0).sum() < 60


def test_overlapping_polygons_do_not_cancel_out(files: dict[str, Path]) -> None:
    """The lake is there twice: counting crossings alone would make its cells outside again."""
    twice = read_mask([files["lake"], files["lake"]], GRID).values
    once = read_mask(geopandas.GeoDataFrame(geometry=[LAKE], crs=4326), GRID).values
    assert once.sum() > 10
    np.testing.assert_array_equal(twice, once)


def test_a_shapefile_without_prj_needs_its_crs_stated(files: dict[str, Path]) -> None:
    with pytest.raises(
        GridError, match=r"bare.shp has no CRS \(a shapefile without its .prj\?\); pass crs='EPSG:4326'"
    ):
        read_mask(files["bare"], GRID)
    mask = read_mask(files["bare"], GRID, crs="EPSG:4326")
    assert mask.attrs["source_crs"] == "EPSG:4326 (declared, for files without one)"
    np.testing.assert_array_equal(mask.values, read_mask(files["bounds"], GRID).values)


def test_what_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"no such file .*none\.shp"):
        read_mask(tmp_path / "none.shp", GRID)
    (tmp_path / "torn.geojson").write_text('{"type": "FeatureCollection", ')
    with pytest.raises(InputError, match="not a vector file that can be read"):
        read_mask(tmp_path / "torn.geojson", GRID)
    far = geopandas.GeoDataFrame(geometry=[shapely.box(10, 50, 11, 51)], crs=4326)
    with pytest.raises(GridError, match="do not touch the grid"):
        read_mask(far, GRID)
    points = geopandas.GeoDataFrame(geometry=[shapely.Point(90, 32)], crs=4326)
    with pytest.raises(InputError, match="has no polygons among its 1 features"):
        read_mask(points, GRID)
    rotated = GRID.rotate(10)
    with pytest.raises(GridError, match="is rotated"):
        read_mask(files["bounds"], rotated)
    tpsoil.create_cube("memory://vectors", GRID, overwrite=True)
    with pytest.raises(InputError, match="elevation: a vector source; vectors make the layer 'soil_mask'"):
        tpsoil.add_layer("memory://vectors", "elevation", files["bounds"])
    with pytest.raises(InputError, match="and options units; vectors make"):
        tpsoil.add_layer("memory://vectors", "soil_mask", files["bounds"], units="m")


def test_the_cube_takes_masks_from_vectors_and_from_rasters(files: dict[str, Path], tmp_path: Path) -> None:
    tpsoil.create_cube("memory://masks", GRID, chunks=16, overwrite=True)
    tpsoil.add_layer("memory://masks", "soil_mask", files["bounds"], outside=[files["lake"]])
    mask = tpsoil.open_cube("memory://masks")["soil_mask"]
    np.testing.assert_array_equal(mask.values.astype(bool), by_shapely())
    assert mask.attrs["flag_meanings"] == "no_soil soil"
    raster = write_tif(tmp_path / "mask.tif", np.ones((60, 60), np.uint8), left=80, top=40)
    tpsoil.add_layer("memory://masks", "soil_mask", raster, overwrite=True)
    assert set(np.unique(tpsoil.open_cube("memory://masks")["soil_mask"].values)) <= {1, 255}


@given(seed=st.integers(0, 2**32 - 1), rings=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_inside_agrees_with_shapely_on_random_stars(seed: int, rings: int) -> None:
    generator = np.random.default_rng(seed)
    shapes = []
    for _ in range(rings):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 9))
        radii, middle = generator.uniform(1, 6, 9), generator.uniform(0, 10, 2)
        shapes.append(shapely.Polygon(np.column_stack([np.cos(angles), np.sin(angles)]) * radii[:, None] + middle))
    union = shapely.union_all(shapely.make_valid(np.array(shapes, dtype=object)))
    edges = np.vstack(
        [np.hstack([p[:-1], p[1:]]) for p in map(shapely.get_coordinates, shapely.get_rings(shapely.get_parts(union)))]
    )
    y, x = np.linspace(11, -1, 23) + 0.0137, np.linspace(-1, 11, 29) + 0.0071
    expected = shapely.contains_xy(union, *np.meshgrid(x, y))
    np.testing.assert_array_equal(inside(y, x, edges).astype(bool), expected)
    plain = getattr(inside, "py_func", inside)(y[:5], x, edges)
    np.testing.assert_array_equal(plain.astype(bool), expected[:5])
