"""Hydrology: published vectors, a slow router of its own, mass closure, every chunking, memory, bad inputs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pyflwdir
import pytest
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import tpsoil
from tpsoil.covariates import filled_elevation, hydrology, hydrology_attributes, terrain_attributes
from tpsoil.errors import GridError, InputError, TpsoilError, UnitsError
from tpsoil.kernels import drainage, flood, flow

L = 30.0
ROOT = Path(__file__).parent.parent
NAMES = hydrology.HYDROLOGY_LAYERS


def dem(z: Any, chunks: Any = None, **attrs: Any) -> xr.DataArray:
    layer = xr.DataArray(np.asarray(z), dims=("y", "x"), attrs=attrs, name="elevation")
    return layer if chunks is None else layer.chunk(dict(zip(("y", "x"), chunks)))


def tilted(shape: tuple[int, int] = (17, 23), seed: int = 0) -> np.ndarray:
    """Rough, without depressions: every cell has a lower neighbour to the south-west."""
    rows, columns = np.indices(shape)
    rough = np.random.default_rng(seed).uniform(0, 2.4, shape)
    return np.round(4000 - 1.5 * rows + 1.3 * columns + rough, 3).astype("float32")


# --- science.md section 4


def test_wetness_and_transport_vectors() -> None:
    slope = math.radians(10)
    assert flow.wetness(100.0, slope, 1e-3) == pytest.approx(6.340585349, rel=1e-9)
    assert flow.transport(100.0, slope) == pytest.approx(5.842275571, rel=1e-9)


def test_ls_vectors() -> None:
    five, ten = math.radians(5), math.radians(10)
    assert flow.length_exponent(five) == pytest.approx(0.4966229360, rel=1e-9)
    assert flow.length_exponent(five) / (1 - flow.length_exponent(five)) == pytest.approx(0.9865823685, rel=1e-9)
    assert flow.steepness_factor(five, flow.STANDARD) == pytest.approx(0.9712820217, rel=1e-9)
    assert flow.steepness_factor(five, flow.CHINESE) == flow.steepness_factor(five, flow.STANDARD)
    assert (100 / flow.UNIT_PLOT_M) ** flow.length_exponent(five) == pytest.approx(2.114936115, rel=1e-9)
    m = flow.length_exponent(ten)
    assert m == pytest.approx(0.5986401309, rel=1e-9)
    assert flow.steepness_factor(ten, flow.STANDARD) == pytest.approx(2.417289385, rel=1e-9)
    assert flow.steepness_factor(ten, flow.CHINESE) == pytest.approx(2.844631573, rel=1e-9)
    assert flow.length_factor(0.0, L, m, 1.0) == pytest.approx(1.199787165, rel=1e-9)
    assert flow.length_factor(9000.0, L, m, 1.0) == pytest.approx(7.836828903, rel=1e-9)
    assert flow.length_factor(9000.0, L, m, 1.0) * flow.steepness_factor(ten, 0) == pytest.approx(18.94388332, rel=1e-9)


def test_ls_of_a_plane_by_the_public_function() -> None:
    angle = math.radians(10)
    plane = dem(np.tile(4000 - math.tan(angle) * L * np.arange(14.0), (5, 1)))
    got = hydrology_attributes(plane, cell_size_m=L, max_length_m=1e9)
    # ten cells above: 9000 m2 enter; heights rounded to float32 only for the routing
    four = flow.length_factor(4 * L * L, L, flow.length_exponent(angle), 1.0) * flow.steepness_factor(angle, 0)
    assert float(got.ls_factor[2, 4]) == pytest.approx(four, rel=1e-6)
    assert float(got.ls_factor[2, 10]) == pytest.approx(18.94388332, rel=1e-6)
    assert float(got.ls_factor[2, 12]) > 19
    capped = hydrology_attributes(plane, cell_size_m=L)
    limit = (300 / 22.13) ** flow.length_exponent(angle) * flow.steepness_factor(angle, 0)
    np.testing.assert_allclose(capped.ls_factor[2, 10:13], limit, rtol=1e-6)
    chinese = hydrology_attributes(plane, cell_size_m=L, steepness="chinese")
    ratio = float(chinese.ls_factor[2, 10] / capped.ls_factor[2, 10])
    assert ratio == pytest.approx(2.844631573 / 2.417289385, rel=1e-6)
    assert capped.ls_factor.attrs["max_length_m"] == 300


@pytest.mark.parametrize("cell", [10.0, 90.0, 1000.0])
@pytest.mark.parametrize("cap", [100.0, 300.0])
def test_the_cap_holds_for_the_whole_slope_length_whatever_the_cell(cell: float, cap: float) -> None:
    """On a plane the effective length is known; on rough ground it is nowhere above the cap."""
    angle = math.radians(8)
    m = flow.length_exponent(angle)
    cells = 60
    plane = dem(np.tile(8900 - math.tan(angle) * cell * np.arange(float(cells)), (5, 1)))
    coarse: Any = {"cell_size_m": cell, "max_length_m": cap, "allow_coarse_dem": cell > cap}
    got = hydrology_attributes(plane, **coarse).ls_factor[2, 1:-1]
    length = (got / flow.steepness_factor(angle, 0)).astype(float)
    above = cell * np.arange(1, cells - 1)
    segment = ((above + cell) ** (m + 1) - above ** (m + 1)) / (cell * 22.13**m)
    np.testing.assert_allclose(length, np.minimum(segment, (cap / 22.13) ** m), rtol=1e-5)
    z = dem(tilted((30, 30), 2))
    shape = terrain_attributes(z, cell_size_m=cell)
    ls = hydrology_attributes(z, **coarse).ls_factor.astype(float)
    slope = np.radians(shape.slope.astype(float))
    with np.errstate(invalid="ignore"):  # of the edge, whose slope is missing
        exponent = xr.apply_ufunc(np.vectorize(flow.length_exponent), slope)
        steepness = xr.apply_ufunc(np.vectorize(lambda s: flow.steepness_factor(s, 0)), slope)
    effective = 22.13 * (ls / steepness) ** (1 / exponent)
    assert float(effective.max()) <= cap * (1 + 1e-5)


def test_a_dem_coarser_than_the_cap_is_rejected_or_marked() -> None:
    z = dem(tilted((8, 8), 2))
    with pytest.raises(InputError, match=r"cells of 900 m are wider than max_length_m = 300 m: .*DEM of 30 to 90 m.*"
                                         r"allow_coarse_dem = true"):  # fmt: skip
        hydrology_attributes(z, cell_size_m=900.0)
    coarse = hydrology_attributes(z, cell_size_m=900.0, allow_coarse_dem=True).ls_factor
    assert coarse.attrs["warning"].startswith("cells of 900 m are wider than max_length_m = 300 m")
    assert coarse.attrs["allow_coarse_dem"] == "true"
    assert "warning" not in hydrology_attributes(z, cell_size_m=90.0).ls_factor.attrs
    with pytest.raises(InputError, match="allow_coarse_dem has no effect: cells of 90 m are not wider"):
        hydrology_attributes(z, cell_size_m=90.0, allow_coarse_dem=True)


def test_a_coarse_dem_of_a_recipe_is_rejected_for_ls_alone(tmp_path: Path) -> None:
    axis = np.arange(24) * 900.0 + 450.0
    z = xr.DataArray(4000 + tilted((24, 24), 2), dims=("y", "x"), coords={"y": 3e6 - axis, "x": 4e5 + axis})
    z.astype("float32").rio.write_crs("EPSG:32646").rio.to_raster(tmp_path / "dem.tif")
    recipe = {
        "run": {"name": "coarse", "output": str(tmp_path / "maps.zarr")},
        "grid": {"cover": str(tmp_path / "dem.tif"), "resolution": 1800, "crs": "EPSG:32646"},
        "derive": {"dem": str(tmp_path / "dem.tif"), "dem_units": "m", "hydrology": ["upslope_area"]},
    }
    assert "upslope_area" in tpsoil.run(recipe, progress=False)
    recipe["run"]["output"] = str(tmp_path / "ls.zarr")
    recipe["derive"]["hydrology"] = ["ls_factor"]
    with pytest.raises(TpsoilError, match="cells of 900 m are wider than max_length_m = 300 m"):
        tpsoil.run(recipe, progress=False)
    recipe["derive"]["hydrology"] = {"layers": ["ls_factor"], "allow_coarse_dem": True}
    attrs = tpsoil.run(recipe, progress=False)["ls_factor"].attrs
    assert attrs["allow_coarse_dem"] == "true"
    assert "900 m" in attrs["warning"]


def test_slope_length_of_a_plane() -> None:
    straight = hydrology_attributes(dem(np.tile(np.arange(40.0, 0, -10), (5, 1))), cell_size_m=L)
    assert straight.slope_length[2].values.tolist() == [15, 45, 75, 105]
    rows, columns = np.indices((6, 6))
    slanted = hydrology_attributes(dem(200.0 - 10 * rows - 10 * columns), cell_size_m=L)
    diagonal = np.diagonal(slanted.slope_length.values)
    np.testing.assert_allclose(diagonal, L * math.sqrt(2) * (np.arange(6) + 0.5), rtol=1e-6)


def test_slope_length_ends_where_the_slope_does() -> None:
    heights = np.array([100, 90, 80, 70, 66, 62, 58, 54.0])  # 18.4 degrees, then 7.6: below half of it
    got = hydrology_attributes(dem(np.tile(heights, (5, 1))), cell_size_m=L).slope_length[2]
    assert got.values.tolist() == [15, 45, 75, 15, 45, 75, 105, 135]
    heights = np.array([100, 90, 80, 70, 62, 54, 46.0, 38])  # 14.9 degrees: above half, the length goes on
    got = hydrology_attributes(dem(np.tile(heights, (5, 1))), cell_size_m=L).slope_length[2]
    assert got.values.tolist() == [15 + 30 * k for k in range(8)]


def test_no_length_gathers_on_a_lake() -> None:
    z = np.full((9, 30), 50.0)
    z[:, :4] = [90, 80, 70, 60]
    got = hydrology_attributes(dem(z), cell_size_m=L).slope_length
    assert float(got[4, 10:25].max()) <= 0.5 * L * math.sqrt(2) + 1e-4


# --- an independent router


def slow_router(z: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Upslope area and slope length, cells sorted from high to low, where nothing is level or a pit."""
    area, length, best_in = np.full(z.shape, size**2), np.full(z.shape, np.nan), np.zeros(z.shape)

    def fall(cell: Any) -> Any:
        i, j = cell
        steps = []
        for a in (-1, 0, 1):
            for b in (-1, 0, 1):
                if (a or b) and 0 <= i + a < z.shape[0] and 0 <= j + b < z.shape[1]:
                    away = size * math.hypot(a, b)
                    steps.append((float(z[i, j]) - float(z[i + a, j + b]), away, (i + a, j + b)))
        drop, away, to = max(steps, key=lambda s: s[0] / s[1])
        return (math.atan(drop / away), away, to) if drop > 0 else None

    for k in np.argsort(-z.ravel(), kind="stable"):
        cell = tuple(int(v) for v in np.unravel_index(k, z.shape))
        down = fall(cell)
        length[cell] = best_in[cell] or 0.5 * (down[1] if down else size)
        if down is None:
            continue
        angle, away, to = down
        area[to] += area[cell]
        onward = fall(to)
        if onward and onward[0] < (0.7 if onward[0] < math.radians(2.86) else 0.5) * angle:
            continue
        best_in[to] = max(best_in[to], length[cell] + away)
    return area / size, length


@pytest.mark.parametrize("seed", range(4))
def test_against_a_slow_router(seed: int) -> None:
    z = tilted(seed=seed)
    assert len(np.unique(z)) > 0.95 * z.size
    area, length = slow_router(z, L)
    got = hydrology_attributes(dem(z), cell_size_m=L)
    np.testing.assert_allclose(got.upslope_area, area, rtol=1e-6)
    np.testing.assert_allclose(got.slope_length, length, rtol=1e-6)


def test_indices_follow_from_area_and_horn_slope() -> None:
    z = dem(tilted((20, 20), 5))
    got, shape = hydrology_attributes(z, cell_size_m=L, max_length_m=1e9), terrain_attributes(z, cell_size_m=L)
    angle, facing = np.radians(shape.slope.astype(float)), np.radians(shape.aspect.astype(float))
    specific = got.upslope_area.astype(float)
    np.testing.assert_allclose(got.topographic_wetness, np.log(specific / np.tan(angle)), rtol=1e-5)
    m = np.sin(angle) / 0.0896 / (3 * np.sin(angle) ** 0.8 + 0.56)
    m = m / (1 + m)
    s = xr.where(np.tan(angle) < 0.09, 10.8 * np.sin(angle) + 0.03, 16.8 * np.sin(angle) - 0.5)
    entering, x = specific * L - L**2, abs(np.sin(facing)) + abs(np.cos(facing))
    length = ((entering + L**2) ** (m + 1) - entering ** (m + 1)) / (L ** (m + 2) * x**m * 22.13**m)
    # areas are whole cells; their difference loses digits in float32 where the area is large
    np.testing.assert_allclose(got.ls_factor, length * s, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16))
def test_all_area_leaves_and_nothing_loops(ny: int, nx: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # level ground and pits in plenty; or heights around 0, whose differences float32 cannot hold
    z = np.round(rng.normal(100, 2, (ny, nx))) if seed % 2 else rng.normal(0, 30, (ny, nx))
    z[rng.random((ny, nx)) < 0.1] = np.nan
    if not np.isfinite(z).any():
        return
    filled = filled_elevation(dem(z), cell_size_m=L).values
    assert (filled >= z.astype("float32"))[np.isfinite(z)].all()
    if z.size > 1:
        expected, _ = pyflwdir.dem.fill_depressions(z.astype("float32").astype(float), nodata=np.nan)
        assert np.array_equal(filled, expected.astype("float32"), equal_nan=True)
    ring = np.full((ny + 2, nx + 2), np.nan, np.float32)
    ring[1:-1, 1:-1] = filled
    size, beyond = np.full(ny, L), np.full((ny + 2, nx + 2), drainage.FAR)
    ways = drainage.steepest_ways(ring, size, size)
    flood.level_ways(ring, ways, flood.level_steps(ring, ways, beyond), beyond)
    assert not (ways == drainage.LEVEL).any()
    if z.size > 1:
        network = pyflwdir.from_array(ways, ftype="d8", check_ftype=False)
        assert len(network.idxs_seq) == np.isfinite(z).sum()  # a loop would leave cells out
        valid = network.idxs_seq
        assert (filled.ravel()[network.idxs_ds[valid]] <= filled.ravel()[valid]).all()  # and nothing flows up
        area = network.accuflux(np.full(z.shape, L * L))
        outlets = (ways == flow.OUTLET) & np.isfinite(z)
        assert area[outlets].sum() == pytest.approx(L * L * np.isfinite(z).sum())
        upslope = hydrology_attributes(dem(z), cell_size_m=L).upslope_area.values
        np.testing.assert_allclose(upslope[np.isfinite(z)], area[np.isfinite(z)] / L, rtol=1e-6)
    got = hydrology_attributes(dem(z), cell_size_m=L)
    assert np.array_equal(np.isfinite(got.upslope_area), np.isfinite(z))
    assert np.array_equal(np.isfinite(got.slope_length), np.isfinite(z))


def test_depressions_are_filled_to_their_pour_point() -> None:
    z = np.full((7, 7), 20.0)
    z[2:5, 2:5] = 5.0
    z[3, 5:] = [12.0, 11.0]
    got = filled_elevation(dem(z), cell_size_m=L)
    assert (got[2:5, 2:5] == 12).all()
    assert float(hydrology_attributes(dem(z), cell_size_m=L).upslope_area[3, 6]) >= 11 * L


# --- by windows and tiles


def test_lazy_input_stays_lazy_and_keeps_its_chunks() -> None:
    z = tilted((19, 26), 3)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed while the graph was built")

    complete = hydrology_attributes(dem(z), cell_size_m=L)
    with dask.config.set(scheduler=refuse):
        lazy = hydrology_attributes(dem(z, chunks=((5, 7, 7), (20, 6))), cell_size_m=L)
    assert all(lazy[name].chunks == ((5, 7, 7), (20, 6)) for name in NAMES)
    done = lazy.compute(scheduler="threads")
    for name in NAMES:
        assert done[name].values.tobytes() == complete[name].values.tobytes(), name


def test_ls_reads_no_more_than_the_windows_with_their_halo() -> None:
    reads: list[tuple[int, int]] = []

    def block(block_info: Any = None) -> np.ndarray:
        place = block_info[None]["array-location"]
        reads.append((place[0][0], place[1][0]))
        return tilted((100, 100), 4)

    lazy = dask.array.map_blocks(block, chunks=((100,) * 4, (100,) * 4), dtype="float32", meta=np.empty((0, 0), "f4"))
    layer = xr.DataArray(lazy, dims=("y", "x"))
    hydrology_attributes(layer, cell_size_m=L).ls_factor[:10, :10].compute(scheduler="synchronous")
    assert len(set(reads)) <= 4  # the chunk and those that its halo of 16 cells touches


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_chunks_never_matter(data: st.DataObject) -> None:
    ny, nx = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    z = np.random.default_rng(data.draw(st.integers(0, 99))).normal(50, 5, (ny, nx)).round().astype("float32")
    z[0, 0] = np.nan
    whole = hydrology_attributes(dem(z), cell_size_m=L)
    parts = hydrology_attributes(
        dem(z, chunks=(data.draw(st.integers(1, ny)), data.draw(st.integers(1, nx)))), cell_size_m=L
    )
    for name in NAMES:
        assert whole[name].values.tobytes() == parts[name].values.tobytes(), name


def test_a_dem_of_nothing_gives_nothing() -> None:
    got = hydrology_attributes(dem(np.full((4, 4), np.nan)), cell_size_m=L)
    assert all(got[name].isnull().all() for name in NAMES)


def test_memory_over_the_limit_is_rejected_with_the_size_that_fits() -> None:
    large = xr.DataArray(dask.array.zeros((60_000, 50_000), chunks=5000, dtype="float32"), dims=("y", "x"))
    with pytest.raises(
        InputError, match=r"60000 x 50000 cells needs 2\.5 GB, the limit is 1 GB; average the DEM by 2 x 2"
    ):
        hydrology_attributes(large, cell_size_m=30.0, memory_limit_gb=1.0)
    hydrology_attributes(large, cell_size_m=30.0)


@pytest.mark.slow
def test_stated_memory_a_cell_is_what_it_takes(full: bool) -> None:
    code = """
import ctypes, sys, numpy as np, xarray as xr
from tpsoil.covariates import hydrology as h
def route(z): return h.hydrology_attributes(xr.DataArray(z, dims=("y", "x")), cell_size_m=30.0)
def high(): return [int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmHWM")][0]
def now(): return int(open("/proc/self/statm").read().split()[1]) * 4096
n = int(sys.argv[1])
rng = np.random.default_rng(0)
route(rng.normal(0, 3, (20, 20)).astype("f4"))
z = rng.normal(0, 30, (n, n)).astype("f4")
ctypes.CDLL(None).malloc_trim(0)
open("/proc/self/clear_refs", "w").write("5")
start = now()
out = route(z)
print((high() - start) / z.size)
"""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the high-water mark is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", code, str(3000 if full else 1200)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-800:]
    measured = float(done.stdout)
    assert measured <= hydrology.COMPLETE_BYTES


# --- geographic grids, real relief, bad input


def test_geographic_cells_have_their_own_size() -> None:
    z = tilted((12, 15))
    coords = {"y": 35 - (np.arange(12) + 0.5) / 1200, "x": 90 + (np.arange(15) + 0.5) / 1200}
    layer = xr.DataArray(z, coords=coords, dims=("y", "x")).rio.write_crs("EPSG:4326")
    got = hydrology_attributes(layer)
    # a cell with nothing above it: its own area over its width, 75.9 x 92.4 m at 35 N
    assert float(got.upslope_area.min()) == pytest.approx(math.sqrt(75.9 * 92.4), rel=2e-3)
    assert "geodesic" in got.ls_factor.attrs["cell_size"]


@pytest.mark.data
def test_the_srtm_tile(data_folder: Path) -> None:
    layer = rioxarray.open_rasterio(data_folder / "tibet" / "srtm_n30e090_3s.tif", masked=True).squeeze(drop=True)
    got = hydrology_attributes(layer[:600, :600])
    assert float(got.upslope_area.min()) > 80
    assert 0.3 < float(got.ls_factor.median()) < 20
    assert float(got.slope_length.max()) < 20_000
    assert not bool((got.ls_factor < 0).any())


@pytest.mark.parametrize(("layer", "options", "error", "says"), [
    (dem(np.zeros((4, 4)), units="ft"), {}, UnitsError, "hydrology_attributes: elevation has units 'ft'"),
    (dem(np.zeros((4, 4))), {"cell_size_m": None}, GridError, "no CRS and no coordinate"),
    (dem(np.zeros((4, 4))), {"steepness": "chineese"}, InputError, "did you mean 'chinese'"),
    (dem(np.zeros((4, 4))), {"max_length_m": -1.0}, InputError, "max_length_m"),
])  # fmt: skip
def test_bad_input(layer: xr.DataArray, options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        hydrology_attributes(layer, **{"cell_size_m": L, **options})


@pytest.mark.nojit
def test_the_same_with_jit_off() -> None:
    code = """
import sys
sys.path.insert(0, "tests")
import test_hydrology as t
from tpsoil.kernels import flow
assert not hasattr(flow.wetness, "py_func")
t.test_wetness_and_transport_vectors()
t.test_ls_vectors()
t.test_ls_of_a_plane_by_the_public_function()
t.test_slope_length_of_a_plane()
t.test_slope_length_ends_where_the_slope_does()
t.test_against_a_slow_router(1)
t.test_depressions_are_filled_to_their_pour_point()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
