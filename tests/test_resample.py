"""Kernels that place a raster on another grid: against polygon areas, block means, GDAL, and themselves without JIT."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject

from tpsoil.kernels import resample


def corners(matrix: tuple[float, ...], ny: int, nx: int) -> tuple[np.ndarray, np.ndarray]:
    """Source (row, column) of the cells' corners under an affine map."""
    a, b, c, d, e, f = matrix
    i, j = np.meshgrid(np.arange(ny + 1.0), np.arange(nx + 1.0), indexing="ij")
    return a * i + b * j + c, d * i + e * j + f


def areas_by_shapely(
    source: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> list[list[dict[tuple[int, int], float]]]:
    """Share of every pixel in every cell, by polygon intersection."""
    shares = []
    for i in range(rows.shape[0] - 1):
        line = []
        for j in range(rows.shape[1] - 1):
            at = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
            cell = shapely.Polygon([(cols[k], rows[k]) for k in at])
            found = {}
            for r in range(source.shape[0]):
                for c in range(source.shape[1]):
                    area = cell.intersection(shapely.box(c, r, c + 1, r + 1)).area
                    if area > 0:
                        found[r, c] = area
            line.append(found)
        shares.append(line)
    return shares


TILTED = (1.7, 0.6, -0.4, -0.5, 2.3, 1.2)


def test_average_weighs_pixels_by_the_area_of_a_tilted_cell() -> None:
    generator = np.random.default_rng(1)
    source = generator.normal(size=(9, 12)).astype(np.float32)
    source[2, 3] = source[5, 5] = source[6, 5] = np.nan
    rows, cols = corners(TILTED, 4, 4)
    got = resample.average(source, 0, 0, rows, cols, 0.0, 0.0)
    for i, line in enumerate(areas_by_shapely(source, rows, cols)):
        for j, shares in enumerate(line):
            valid = {k: w for k, w in shares.items() if not np.isnan(source[k])}
            if not valid:
                assert np.isnan(got[i, j])
                continue
            expected = sum(w * float(source[k]) for k, w in valid.items()) / sum(valid.values())
            assert got[i, j] == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_majority_takes_the_class_of_the_largest_area_and_the_smaller_code_of_two_equal() -> None:
    generator = np.random.default_rng(2)
    source = generator.integers(1, 4, size=(9, 12)).astype(np.uint8)
    source[3, 4] = 255
    rows, cols = corners(TILTED, 4, 4)
    got = resample.majority(source, 255, 0, 0, rows, cols, 0.0, 0.0)
    for i, line in enumerate(areas_by_shapely(source, rows, cols)):
        for j, shares in enumerate(line):
            areas: dict[int, float] = {}
            for k, weight in shares.items():
                if source[k] != 255:
                    areas[int(source[k])] = areas.get(int(source[k]), 0.0) + weight
            assert got[i, j] == (max(areas, key=lambda code: areas[code]) if areas else 255)
    rows, cols = corners((1, 0, 0, 0, 2, 0), 1, 1)
    assert resample.majority(np.array([[7, 3]], np.int16), -32768, 0, 0, rows, cols, 0.0, 0.0)[0, 0] == 3


def test_average_of_whole_blocks_is_the_mean_of_the_valid_ones() -> None:
    source = np.arange(36, dtype=np.float32).reshape(6, 6)
    source[0, 0] = np.nan
    source[4:, 4:] = np.nan
    rows, cols = corners((2, 0, 0, 0, 2, 0), 3, 3)
    got = resample.average(source, 0, 0, rows, cols, 0.0, 0.0)
    blocks = source.reshape(3, 2, 3, 2).transpose(0, 2, 1, 3).reshape(3, 3, 4)
    valid = ~np.isnan(blocks)
    expected = np.where(valid.any(2), np.nansum(blocks, 2) / np.maximum(valid.sum(2), 1), np.nan)
    np.testing.assert_array_equal(got, expected)


def test_average_and_bilinear_agree_with_gdal_in_one_projection() -> None:
    """An oracle that is another's code; tilted cells are not compared, GDAL takes their bounding boxes."""
    generator = np.random.default_rng(3)
    source = generator.normal(size=(40, 50)).astype(np.float32)
    here = from_origin(0, 40, 1, 1)
    for size, method, warp in ((2.5, Resampling.average, "average"), (0.3, Resampling.bilinear, "bilinear")):
        ny, nx = int(30 / size), int(35 / size)
        there = from_origin(3.2, 37.1, size, size)
        gdal = np.full((ny, nx), np.nan, np.float32)
        crs = CRS.from_epsg(32645)
        reproject(source, gdal, src_transform=here, src_crs=crs, dst_transform=there, dst_crs=crs, resampling=method,
                  src_nodata=np.nan, dst_nodata=np.nan, XSCALE=1, YSCALE=1)  # fmt: skip
        rows, cols = corners((size, 0, 2.9, 0, size, 3.2), ny, nx)
        if warp == "average":
            got = resample.average(source, 0, 0, rows, cols, 0.0, 0.0)
        else:
            middle = (rows[:-1, :-1] + rows[1:, 1:]) / 2, (cols[:-1, :-1] + cols[1:, 1:]) / 2
            got = resample.bilinear(source, 0, 0, *middle, 0.0, 0.0, False)
        np.testing.assert_allclose(got, gdal, rtol=0, atol=2e-6)  # float32 arithmetic in GDAL


def test_bilinear_keeps_a_plane_and_the_valid_footprint() -> None:
    r, c = np.meshgrid(np.arange(8.0), np.arange(9.0), indexing="ij")
    plane = 3 * (r + 0.5) - 2 * (c + 0.5)
    at_rows, at_cols = np.meshgrid(np.linspace(0.5, 7.5, 13), np.linspace(0.5, 8.5, 17), indexing="ij")
    got = resample.bilinear(plane, 0, 0, at_rows, at_cols, 0.0, 0.0, False)
    np.testing.assert_allclose(got, 3 * at_rows - 2 * at_cols, rtol=0, atol=1e-12)
    plane[4, 4] = np.nan
    got = resample.bilinear(plane, 0, 0, np.array([[4.4, 3.9]]), np.array([[4.6, 4.5]]), 0.0, 0.0, False)
    assert np.isnan(got[0, 0])
    assert np.isfinite(got[0, 1])
    outside = resample.bilinear(
        plane, 0, 0, np.array([[-0.01, np.nan, 8.0]]), np.array([[3.0, 3.0, 3.0]]), 0.0, 0.0, False
    )
    assert np.isnan(outside).all()


def test_directions_are_averaged_as_vectors() -> None:
    source = np.array([[350.0, 10.0], [350.0, 10.0]], np.float32)
    rows, cols = corners((2, 0, 0, 0, 2, 0), 1, 1)
    assert resample.average_direction(source, 0, 0, rows, cols, 0.0, 0.0)[0, 0] == pytest.approx(0.0, abs=1e-5)
    opposite = np.array([[90.0, 270.0], [90.0, 270.0]], np.float32)
    assert np.isnan(resample.average_direction(opposite, 0, 0, rows, cols, 0.0, 0.0)[0, 0])
    quarter = resample.bilinear(source, 0, 0, np.array([[1.0]]), np.array([[0.75]]), 0.0, 0.0, True)
    # weights 3/4 and 1/4 of unit vectors at 350 and 10 degrees
    expected = np.degrees(
        np.arctan2(0.75 * np.sin(np.radians(350)) + 0.25 * np.sin(np.radians(10)), np.cos(np.radians(10)))
    )
    assert quarter[0, 0] == pytest.approx(expected % 360, abs=1e-6)
    assert np.float32(resample.average_direction(np.full((2, 2), 359.999999), 0, 0, rows, cols, 0.0, 0.0)[0, 0]) < 360


def test_nearest_takes_the_pixel_that_holds_the_centre() -> None:
    source = np.arange(12, dtype=np.int16).reshape(3, 4)
    rows, cols = (
        np.array([[0.0, 0.999, 1.0, 2.5, 3.0, -0.1, np.nan]]),
        np.array([[0.0, 3.999, 3.0, 1.5, 1.0, 1.0, 1.0]]),
    )
    got = resample.nearest(source, np.int16(-1), 0, 0, rows, cols, 0.0, 0.0)
    assert got.tolist() == [[0, 3, 7, 9, -1, -1, -1]]
    assert got.dtype == np.int16


@given(
    matrix=st.tuples(
        st.floats(0.3, 3),
        st.floats(-0.5, 0.5),
        st.floats(-3, 6),
        st.floats(-0.5, 0.5),
        st.floats(0.3, 3),
        st.floats(-3, 6),
    ),
    seed=st.integers(0, 2**32 - 1),
    cut=st.tuples(st.integers(1, 4), st.integers(1, 5)),
)
@settings(max_examples=60, deadline=None)
def test_a_cell_does_not_know_its_tile_or_its_window(
    matrix: tuple[float, ...], seed: int, cut: tuple[int, int]
) -> None:
    generator = np.random.default_rng(seed)
    source = generator.uniform(0, 360, size=(11, 13)).astype(np.float32)
    source[generator.random(source.shape) < 0.2] = np.nan
    classes = generator.integers(0, 4, size=source.shape).astype(np.uint8)
    rows, cols = (resample.snap_coordinates(v) for v in corners(matrix, 5, 6))
    middle = (rows[:-1, :-1] + rows[1:, 1:]) / 2, (cols[:-1, :-1] + cols[1:, 1:]) / 2

    def every(part: tuple[slice, slice], window: tuple[slice, slice]) -> list[np.ndarray]:
        edge = tuple(slice(p.start, p.stop + 1) for p in part)
        origin = window[0].start, window[1].start
        values, codes = np.ascontiguousarray(source[window]), np.ascontiguousarray(classes[window])
        at_corners, at_centres = (rows[edge], cols[edge]), (middle[0][part], middle[1][part])
        return [
            resample.average(values, *origin, *at_corners, 0.0, 0.0),
            resample.average_direction(values, *origin, *at_corners, 0.0, 0.0),
            resample.majority(codes, 255, *origin, *at_corners, 0.0, 0.0),
            resample.bilinear(values, *origin, *at_centres, 0.0, 0.0, False),
            resample.bilinear(values, *origin, *at_centres, 0.0, 0.0, True),
            resample.nearest(values, np.float32(np.nan), *origin, *at_centres, 0.0, 0.0),
        ]

    whole = every((slice(0, 5), slice(0, 6)), (slice(0, 11), slice(0, 13)))
    for part_rows in (slice(0, cut[0]), slice(cut[0], 5)):
        for part_cols in (slice(0, cut[1]), slice(cut[1], 6)):
            edge = slice(part_rows.start, part_rows.stop + 1), slice(part_cols.start, part_cols.stop + 1)
            window = tuple(
                slice(
                    int(np.clip(np.floor(v[edge].min()) - 1, 0, n - 1)), int(np.clip(np.ceil(v[edge].max()) + 1, 1, n))
                )
                for v, n in zip((rows, cols), source.shape)
            )
            for one, all_of_it in zip(every((part_rows, part_cols), window), whole):
                np.testing.assert_array_equal(one, all_of_it[part_rows, part_cols])


def test_plain_python_gives_the_same_bits() -> None:
    program = """
import numpy as np
from tpsoil.kernels import resample
g = np.random.default_rng(5)
s = g.uniform(0, 360, (7, 8)); s[2, 2] = np.nan
i, j = np.meshgrid(np.arange(5.0), np.arange(4.0), indexing="ij")
r, c = resample.snap_coordinates(1.3 * i + 0.2 * j), resample.snap_coordinates(-0.3 * i + 1.9 * j + 1)
k = g.integers(0, 3, (7, 8)).astype(np.uint8)
for a in (resample.average(s, 0, 0, r, c, 0.0, 0.0), resample.average_direction(s, 0, 0, r, c, 0.0, 0.0),
          resample.majority(k, 255, 0, 0, r, c, 0.0, 0.0), resample.bilinear(s, 0, 0, r, c, 0.0, 0.0, False),
          resample.bilinear(s, 0, 0, r, c, 0.0, 0.0, True), resample.nearest(s, np.nan, 0, 0, r, c, 0.0, 0.0)):
    print(np.round(np.asarray(a, float), 9).tolist())
"""
    said = []
    for off in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "NUMBA_DISABLE_JIT": off},
        )
        said.append(done.stdout)
    assert said[0] == said[1]
    assert said[0].count("[[") == 6
