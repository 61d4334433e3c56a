"""Terrain attributes against xarray-spatial on the 90 m SRTM tile; every difference has its reason beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

from tpsoil.covariates import terrain_attributes
from tpsoil.cube.alignment import align
from tpsoil.ingest.rasters import read_raster
from tpsoil.variables import variable

peer = pytest.importorskip("xrspatial")
pytestmark = pytest.mark.data

CELL = 90.0


@pytest.fixture(scope="module")
def tile(data_folder: Path) -> xr.DataArray:
    """The tile on square 90 m cells of UTM zone 46: xarray-spatial's planar functions know one cell size."""
    raster = read_raster(data_folder / "tibet" / "srtm_n30e090_3s.tif", variable("elevation"))
    box = GeoBox.from_bbox((216_000, 3_324_000, 306_000, 3_423_000), "EPSG:32646", resolution=CELL)
    return align(raster, box).compute()


@pytest.fixture(scope="module")
def ours(tile: xr.DataArray) -> xr.Dataset:
    return terrain_attributes(tile)


def same_holes(a: xr.DataArray, b: xr.DataArray) -> None:
    assert np.array_equal(a.isnull(), b.isnull())


def turn(a: Any, b: Any) -> Any:
    return np.abs((np.asarray(a) - np.asarray(b) + 180) % 360 - 180)


def test_the_tile_is_real_relief(tile: xr.DataArray, ours: xr.Dataset) -> None:
    assert tile.sizes == {"y": 1101, "x": 1000}
    assert int(tile.isnull().sum()) == 0
    assert float(ours.slope.max()) > 60
    assert 4000 < float(tile.min()) < float(tile.max()) < 7200


def test_slope(tile: xr.DataArray, ours: xr.Dataset) -> None:
    theirs = peer.slope(tile)
    same_holes(ours.slope, theirs)
    # theirs adds heights in float32 and turns radians into degrees by 57.29578; 2 float32 steps at 64 degrees
    assert float(abs(ours.slope - theirs).max()) <= 1.6e-5


def test_aspect(tile: xr.DataArray, ours: xr.Dataset) -> None:
    theirs = peer.aspect(tile)
    flat = theirs == -1  # theirs marks level ground -1, ours NaN
    assert int(flat.sum()) > 1000
    assert bool(ours.aspect.isnull().where(flat, True).all())
    same_holes(ours.aspect, theirs.where(~flat))
    assert np.nanmax(turn(ours.aspect, theirs.where(~flat))) <= 6.2e-5  # 2 float32 steps at 360


def test_general_curvature(tile: xr.DataArray, ours: xr.Dataset) -> None:
    theirs = peer.curvature(tile) / 100  # ArcGIS' 1/100 m to 1/m
    same_holes(ours.general_curvature, theirs)
    # theirs adds two heights in float32: at 8192 to 16384 m (the sum) 2^-10 m a step, half a step off, halved, for two
    # axes, twice over L^2
    bound = 2 * 2 * (0.5 * 2**-10) / 2 / CELL**2
    assert float(abs(ours.general_curvature - theirs).max()) <= 1.05 * bound + 1e-9


def test_ruggedness_by_its_window_machinery(tile: xr.DataArray, ours: xr.Dataset) -> None:
    from xrspatial.focal import apply
    from xrspatial.utils import ngjit

    @ngjit
    def riley(window: Any) -> Any:
        return np.sqrt(np.sum((window - window[1, 1]) ** 2))

    theirs = apply(tile, np.ones((3, 3)), riley)
    inner = {"y": slice(1, -1), "x": slice(1, -1)}  # theirs shrinks the window at the edge, ours is NaN there
    got = ours.terrain_ruggedness.isel(inner)
    assert float((abs(got - theirs.isel(inner)) / (got + 1)).max()) < 1e-6  # float32 squares and sums


def test_geographic_slope_and_aspect_on_a_smooth_surface(data_folder: Path) -> None:
    raw = rioxarray.open_rasterio(data_folder / "tibet" / "srtm_n30e090_3s.tif", masked=True).squeeze(drop=True)
    raw = raw[:700, :700]
    smooth = raw.copy(data=gaussian_filter(raw.fillna(4800).values.astype("float64"), 15))
    smooth.attrs = {}
    got = terrain_attributes(smooth)
    named = smooth.drop_vars("spatial_ref").rename(x="lon", y="lat")
    slope, aspect = (function(named, method="geodesic") for function in (peer.slope, peer.aspect))
    # Theirs fits a plane to nine equally weighted points in a local frame of the ellipsoid, ours is Horn's 1-2-1 on the
    # row's metric cell size. On a surface without detail at the cell's scale both estimate one gradient; a wrong or a
    # constant cell size would show as 1 % a degree of latitude and 14 % between the axes.
    assert float(got.slope.max()) > 8
    assert float(abs(got.slope.values - slope.values)[1:-1, 1:-1].max()) < 0.02
    steep = got.slope.values > 1
    assert np.nanmax(turn(got.aspect, aspect)[steep]) < 0.2
