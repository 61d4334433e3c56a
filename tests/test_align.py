"""Onto the grid: exact for every chunking, lazy, true to the kind of each layer, and never a whole DEM at once."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from geotiffs import write_tif
from odc.geo.geobox import GeoBox

from tpsoil.cube import align
from tpsoil.cube.alignment import WINDOW_CELLS, Alignment, pixels_per_cell
from tpsoil.errors import GridError, InputError
from tpsoil.grid import PLATEAU_CRS, coordinates, grid_from_bounds
from tpsoil.ingest import Raster, read_raster
from tpsoil.variables import variable

GRIDS = {
    "coarser, tilted": grid_from_bounds(PLATEAU_CRS, (-820_000, -120_000, -180_000, 290_000), 47_000.1),
    "finer, tilted": grid_from_bounds(PLATEAU_CRS, (-700_000.3, 0, -600_000, 80_000), 3777.7),
    "finer, in degrees": grid_from_bounds("EPSG:4326", (80.9, 32.2, 83.1, 34.3), 0.0731),
    "past the edges": grid_from_bounds("EPSG:32644", (200_000, 3_300_000, 900_000, 4_000_000), 41_234.5),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DEM, classes and directions of 18 x 23 degrees/4, with holes."""
    folder = tmp_path_factory.mktemp("sources")
    generator = np.random.default_rng(7)
    dem = generator.integers(0, 8000, (18, 23)).astype(np.int16)
    dem[generator.random(dem.shape) < 0.15] = -32767
    write_tif(folder / "elevation.tif", dem, nodata=-32767)
    classes = generator.integers(0, 17, dem.shape).astype(np.uint8)
    classes[generator.random(dem.shape) < 0.15] = 255
    write_tif(folder / "land_cover.tif", classes, nodata=255)
    aspect = generator.uniform(0, 360, dem.shape).astype(np.float32)
    aspect[generator.random(dem.shape) < 0.15] = np.nan
    write_tif(folder / "aspect.tif", aspect)
    return folder


def source(folder: Path, name: str) -> Raster:
    return read_raster(folder / f"{name}.tif", variable(name))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("name", ["elevation", "land_cover", "aspect"])
def test_no_chunking_changes_a_bit(folder: Path, name: str, grid: GeoBox) -> None:
    raster = source(folder, name)
    whole = align(raster, grid, chunks=10_000)
    values = whole.values
    fill = whole.encoding.get("_FillValue")
    there = np.isfinite(values) if fill is None else values != fill
    assert 0.3 * values.size < there.sum(), "the grid is meant to meet the source"
    for chunks in (5, 7, 16):
        again = align(raster, grid, chunks=chunks)
        assert again.data.chunks[0][0] == min(chunks, grid.shape[0])
        assert again.dtype == values.dtype
        np.testing.assert_array_equal(again.values, values)
    dataset = raster.lazy(chunks=6)  # a dask source takes another road to the same cells
    dataset.attrs["units"] = raster.spec.units
    by_windows = read_raster(dataset, raster.spec)
    assert by_windows.lazy_array is not None
    np.testing.assert_array_equal(align(by_windows, grid, chunks=7).values, values)


def test_resampling_follows_the_kind_and_the_scale(folder: Path) -> None:
    coarse, fine = GRIDS["coarser, tilted"], GRIDS["finer, tilted"]
    methods = {
        (name, size): align(source(folder, name), grid).attrs["resampling"]
        for name in ("elevation", "land_cover", "aspect")
        for size, grid in (("coarse", coarse), ("fine", fine))
    }
    assert methods == {
        ("elevation", "coarse"): "average", ("elevation", "fine"): "bilinear",
        ("land_cover", "coarse"): "mode", ("land_cover", "fine"): "nearest",
        ("aspect", "coarse"): "average", ("aspect", "fine"): "bilinear",
    }  # fmt: skip
    with pytest.raises(
        InputError,
        match="land_cover, a categorical layer: resampling is 'bilinear', expected one of .'mode', 'nearest'",
    ):
        align(source(folder, "land_cover"), coarse, resampling="bilinear")
    chosen = align(source(folder, "elevation"), coarse, resampling="nearest")
    assert chosen.attrs["resampling"] == "nearest"
    assert set(np.unique(chosen.values[np.isfinite(chosen.values)])) <= set(np.unique(source_values(folder)))


def source_values(folder: Path) -> np.ndarray:
    return source(folder, "elevation").read(slice(0, 18), slice(0, 23))


def test_the_same_grid_is_copied_and_a_grid_off_by_rounding_is_the_same(folder: Path) -> None:
    raster = source(folder, "elevation")
    values = source_values(folder)
    same = align(raster, raster.box, chunks=5)
    assert same.attrs["resampling"] == "none"
    np.testing.assert_array_equal(same.values, values)
    t = raster.box.transform
    shifted = GeoBox(raster.box.shape, type(t)(t.a * (1 + 1e-13), 0, t.c + 1e-12, 0, t.e, t.f - 1e-12), raster.box.crs)
    np.testing.assert_array_equal(align(raster, shifted, chunks=5).values, values)
    part = raster.box[3:9, 4:11]
    np.testing.assert_array_equal(align(raster, part, chunks=4).values, values[3:9, 4:11])
    thirds = raster.box.zoom_out(3)[:6, :7]
    blocks = values[:18, :21].reshape(6, 3, 7, 3).transpose(0, 2, 1, 3).reshape(6, 7, 9).astype(np.float64)
    got = align(raster, thirds, chunks=4)
    assert got.attrs["resampling"] == "average"
    np.testing.assert_array_equal(got.values, np.nanmean(blocks, axis=2).astype(np.float32))


def test_no_zeros_where_an_integer_dem_has_no_coverage(folder: Path) -> None:
    layer = align(source(folder, "elevation"), GRIDS["past the edges"])
    assert layer.dtype == np.float32
    assert np.isnan(layer.values[0]).all()
    assert not (layer.values == 0).any()


def test_a_plane_in_degrees_is_found_again_on_the_projected_grid(tmp_path: Path) -> None:
    """The place of every cell, by pyproj's own inverse: swapped axes or half a pixel would show as hundreds."""
    from pyproj import Transformer

    rows, cols = np.meshgrid(np.arange(60), np.arange(70), indexing="ij")
    lon, lat = 80 + 0.05 * (cols + 0.5), 35 - 0.05 * (rows + 0.5)
    path = write_tif(tmp_path / "plane.tif", (100 * lon + 37 * lat - 6000).astype(np.float32), size=0.05)
    grid = grid_from_bounds(PLATEAU_CRS, (-700_000, 0, -600_000, 80_000), 2000)
    layer = align(read_raster(path, variable("elevation")), grid)
    x, y = np.meshgrid(layer.x.values, layer.y.values)
    lon, lat = Transformer.from_crs(PLATEAU_CRS, "EPSG:4326", always_xy=True).transform(x, y)
    np.testing.assert_allclose(layer.values, 100 * lon + 37 * lat - 6000, rtol=0, atol=2e-3)


GLOBE = np.random.default_rng(3).uniform(1, 359, (36, 72)).astype(np.float32)


@pytest.mark.parametrize("name", ["elevation", "aspect", "land_cover"])
@pytest.mark.parametrize(
    "grid",
    [
        grid_from_bounds("EPSG:3035", (2_700_000, 1_700_000, 5_500_000, 4_500_000), 900_000.0),
        grid_from_bounds("EPSG:3035", (2_700_000, 1_700_000, 5_500_000, 4_500_000), 110_000.0),
        grid_from_bounds("EPSG:4326", (-13, 30, 20, 50), 7.5),
        grid_from_bounds("EPSG:4326", (-13, 30, 20, 50), 1.3),
        grid_from_bounds("EPSG:3832", (2_800_000, -2_300_000, 4_600_000, -700_000), 300_000),
        grid_from_bounds("EPSG:4326", (-180, -90, 180, 90), 10),
        grid_from_bounds("EPSG:4326", (0, -90, 360, 90), 10),
    ],
    ids=["Europe coarse", "Europe fine", "Greenwich coarse", "Greenwich fine", "Fiji", "globe", "globe from 0"],
)  # fmt: skip
def test_the_globe_has_no_seam(tmp_path: Path, grid: GeoBox, name: str) -> None:
    """0..360 and -180..180 are one raster, though their seams lie at Greenwich and in the Pacific."""
    values = (GLOBE % 17).astype(np.uint8) if name == "land_cover" else GLOBE
    east = write_tif(tmp_path / "east.tif", values, left=0, top=90, size=5)
    west = write_tif(tmp_path / "west.tif", np.roll(values, 36, axis=1), left=-180, top=90, size=5)
    got = [
        align(read_raster(path, variable(name)), grid, chunks=chunks) for path in (east, west) for chunks in (3, 512)
    ]
    first = got[0].values
    missing = np.isnan(first) if name != "land_cover" else first == 255
    assert not missing.any()
    for other in got[1:]:
        np.testing.assert_array_equal(other.values, first)
    lazy = read_raster(read_raster(east, variable(name)).lazy(11), variable(name))
    np.testing.assert_array_equal(align(lazy, grid, chunks=4).values, first)


def test_a_region_is_found_from_the_other_turn_and_only_there(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "part.tif", GLOBE[:, :20], left=70, top=90, size=5)
    shifted = write_tif(tmp_path / "turned.tif", GLOBE[:, :20], left=70 - 360, top=90, size=5)
    world = grid_from_bounds("EPSG:4326", (-180, -90, 180, 90), 20)
    layer = align(read_raster(path, variable("elevation")), world).values
    np.testing.assert_array_equal(align(read_raster(shifted, variable("elevation")), world).values, layer)
    there = np.isfinite(layer).any(axis=0)
    centres = -170 + 20 * np.arange(18)
    assert centres[there].tolist() == [70, 90, 110, 130, 150, 170]
    odd = write_tif(tmp_path / "odd.tif", GLOBE[:, :20], left=70, top=90, size=4.9)  # 360 is no multiple of 4.9
    assert np.isfinite(align(read_raster(odd, variable("elevation")), world).values).any(axis=0).sum() == 6


@pytest.mark.parametrize(("size", "method"), [(1000, "bilinear"), (40_000, "average")])
def test_agrees_with_odc_geo_on_a_smooth_field(tmp_path: Path, size: float, method: str) -> None:
    """Another's code on another's warper: within the eighth of a pixel by which GDAL approximates a projection."""
    rows, cols = np.meshgrid(np.arange(200), np.arange(220), indexing="ij")
    values = (3000 + 500 * np.sin(rows / 30) * np.cos(cols / 25)).astype(np.float32)
    raster = read_raster(write_tif(tmp_path / "smooth.tif", values, size=0.05), variable("elevation"))
    grid = grid_from_bounds(PLATEAU_CRS, (-700_000, -400_000, -100_000, 0), size)
    layer = align(raster, grid)
    assert layer.attrs["resampling"] == method
    theirs = raster.lazy(1000).compute().odc.reproject(grid, resampling=method, dst_nodata=np.nan).values
    both = np.isfinite(layer.values) & np.isfinite(theirs)
    assert both.mean() > 0.95
    steepest = 500 / 25  # a pixel
    assert np.abs(layer.values - theirs)[both].max() < 0.25 * steepest
    assert np.abs(layer.values - theirs)[both].mean() < 0.02 * steepest


def test_a_raster_of_another_region_is_refused_with_both_places(folder: Path) -> None:
    grid = grid_from_bounds("EPSG:3035", (4_000_000, 3_000_000, 4_100_000, 3_100_000), 10_000)
    with pytest.raises(
        GridError, match=r"elevation.tif does not overlap the grid; it covers 80..85.75 E, 30.5..35 N, the"
    ):
        align(source(folder, "elevation"), grid)


def test_nothing_is_read_before_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raster = source(folder, "elevation")
    reads: list[tuple[slice, slice]] = []
    plain = Raster.read
    monkeypatch.setattr(Raster, "read", lambda self, r, c: (reads.append((r, c)), plain(self, r, c))[1])
    with dask.config.set(scheduler=lambda *_: pytest.fail("computed while building")):
        layer = align(raster, GRIDS["finer, tilted"], chunks=7)
        align(read_raster(raster.lazy(6), raster.spec, units="m"), GRIDS["finer, tilted"], chunks=7)
    assert reads == []
    layer[:7, :7].compute()
    assert len(reads) == 1
    assert (reads[0][0].stop - reads[0][0].start) < 18


def test_a_fine_dem_is_read_in_windows_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8000 x 8000 pixels under one chunk of the target: 64 million, read 4 million at most at a time."""
    size = 8000
    grid = grid_from_bounds("EPSG:32645", (0, 0, size, size), 250)
    raster = read_raster(
        xr.DataArray(np.zeros((2, 2), np.float32), dims=("y", "x"), coords=coordinates(grid[:2, :2])),
        variable("elevation"),
    )
    fine = grid_from_bounds("EPSG:32645", (0, 0, size, size), 1)
    reads: list[int] = []

    def read(_: Raster, rows: slice, cols: slice) -> np.ndarray:
        reads.append((rows.stop - rows.start) * (cols.stop - cols.start))
        down, across = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
        return (down[:, None] // 250 + 0.0 * across).astype(np.float32)

    monkeypatch.setattr(Raster, "read", read)
    tracemalloc.start()
    values = align(replace(raster, box=fine), grid, chunks=512).values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(values, np.arange(32, dtype=np.float32)[:, None].repeat(32, axis=1))
    assert max(reads) <= WINDOW_CELLS
    assert sum(reads) < 1.2 * size**2
    assert peak < 150e6, "the whole DEM would be 256 MB"


def test_pixels_per_cell(folder: Path) -> None:
    raster = source(folder, "elevation")
    assert pixels_per_cell(raster.box, raster.box) == 1
    assert pixels_per_cell(raster.box, raster.box.zoom_out(4)) == pytest.approx(4)
    assert pixels_per_cell(raster.box, GRIDS["coarser, tilted"]) == pytest.approx(
        47_000 / np.sqrt(0.25**2 * 111_000 * 94_000), rel=0.05
    )


def test_the_outline_holds_every_cells_window() -> None:
    box = grid_from_bounds("EPSG:4326", (60, 20, 120, 50), 0.01)
    for grid in GRIDS.values():
        alignment = Alignment(box, grid, "average", variable("elevation"))
        rows, cols = slice(0, grid.shape[0]), slice(0, grid.shape[1])
        outline, exact = alignment.outline_window(rows, cols), alignment.window(alignment.locate(rows, cols))
        assert outline is not None
        assert exact is not None
        for wide, narrow in zip(outline, exact):
            assert wide.start <= narrow.start
            assert narrow.stop <= wide.stop
