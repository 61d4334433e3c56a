"""Terrain attributes: analytic surfaces, published vectors, chunk independence, bad inputs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import tpsoil.grid
from tpsoil.covariates import terrain_attributes, topographic_position
from tpsoil.covariates.terrain import TERRAIN_LAYERS
from tpsoil.errors import GridError, InputError, UnitsError
from tpsoil.kernels import surface

L = 30.0
X, Y = np.meshgrid(np.arange(-2, 3) * L, np.arange(2, -3, -1) * L)


def dem(z: Any, *, size: float = L, chunks: Any = None, **attrs: Any) -> xr.DataArray:
    z = np.asarray(z)
    ny, nx = z.shape
    coords = {"y": size * np.arange(ny, 0, -1), "x": size * np.arange(nx)}
    layer = xr.DataArray(z, coords=coords, dims=("y", "x"), name="elevation", attrs=attrs)
    return layer if chunks is None else layer.chunk(dict(zip(("y", "x"), chunks)))


def middle(z: Any, **options: Any) -> dict[str, float]:
    result = terrain_attributes(dem(z), **options)
    return {name: float(result[name][2, 2]) for name in TERRAIN_LAYERS}


# science.md section 4; arcgis units there, 1/100 m with negative convex profile curvature
VECTORS: dict[str, tuple[Any, dict[str, float]]] = {
    "plane": (
        1000 + 0.1 * X - 0.2 * Y,
        {"slope": 12.60438265, "aspect": 333.4349488, "terrain_ruggedness": 16.43167673,
         "general_curvature": 0, "plan_curvature": 0, "profile_curvature": 0},
    ),
    "dome": (
        1000 - 0.001 * ((X - 200) ** 2 + (Y - 100) ** 2),
        {"slope": 24.09484255, "aspect": 243.4349488,
         "general_curvature": 0.4, "profile_curvature": -0.2, "plan_curvature": 0.2},
    ),
    "saddle": (
        1000 + 0.001 * ((X + 100) ** 2 - (Y + 50) ** 2),
        {"general_curvature": 0, "profile_curvature": 0.12, "plan_curvature": 0.12},
    ),
    "ridge": (
        1000 - 0.001 * X**2 + 0.1 * Y,
        {"slope": 5.710593138, "aspect": 180, "general_curvature": 0.2, "plan_curvature": 0.2, "profile_curvature": 0},
    ),
    "sphere": (np.sqrt(1000**2 - X**2 - Y**2), {"slope": 0, "general_curvature": 0.200045020}),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_published_surfaces(name: str) -> None:
    z, expected = VECTORS[name]
    got = middle(z, curvature_convention="arcgis")
    for attribute, value in expected.items():
        # curvature of elevations near 1000 m: rounding of float64 differences over L^2 is below 1e-12
        assert got[attribute] == pytest.approx(value, rel=1e-6, abs=1e-9), attribute


def test_published_ruggedness_variant_and_position() -> None:
    assert middle(VECTORS["plane"][0], ruggedness="mean_difference")["terrain_ruggedness"] == pytest.approx(5.25)
    sphere = dem(VECTORS["sphere"][0])
    assert float(topographic_position(sphere)[2, 2]) == pytest.approx(0.6752533302, rel=1e-6)


@pytest.mark.parametrize(("convention", "general", "plan", "profile"), [
    ("convex_positive", 0.004, 0.002, 0.002), ("arcgis", 0.4, 0.2, -0.2), ("laplacian", -0.004, -0.002, -0.002),
])  # fmt: skip
def test_each_curvature_convention(convention: Any, general: float, plan: float, profile: float) -> None:
    result = terrain_attributes(dem(VECTORS["dome"][0]), curvature_convention=convention)
    got = [float(result[f"{kind}_curvature"][2, 2]) for kind in ("general", "plan", "profile")]
    assert got == pytest.approx([general, plan, profile], rel=1e-6)
    assert result.general_curvature.attrs["curvature_convention"] == convention
    assert result.general_curvature.attrs["units"] == ("1/100 m" if convention == "arcgis" else "m-1")
    assert ("positive where convex" in result.general_curvature.attrs["comment"]) == (convention == "convex_positive")


def test_default_general_curvature_is_the_sum_of_the_others_and_positive_on_a_ridge() -> None:
    z = 4000 + np.random.default_rng(1).normal(0, 20, (40, 50))
    result = terrain_attributes(dem(z))
    total = result.plan_curvature + result.profile_curvature
    np.testing.assert_allclose(total, result.general_curvature, rtol=1e-5, atol=1e-7)  # three float32 roundings
    assert middle(1000 - 0.001 * X**2)["general_curvature"] > 0


def slow(z: Any, dx: Any, dy: Any) -> dict[str, Any]:
    """A plain transcription with numpy scalars and the mathematical library, cell by cell."""
    ny, nx = z.shape
    out = {name: np.full((ny, nx), np.nan) for name in TERRAIN_LAYERS}
    for i in range(1, ny - 1):
        for j in range(1, nx - 1):
            w = z[i - 1 : i + 2, j - 1 : j + 2].astype(float)
            if not np.isfinite(w).all():
                continue
            horn = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
            p, q = (w * horn).sum() / (8 * dx[i]), (w * -horn.T).sum() / (8 * dy[i])
            out["slope"][i, j] = math.degrees(math.atan(math.hypot(p, q)))
            out["aspect"][i, j] = math.degrees(math.atan2(-p, -q)) % 360 if (p, q) != (0, 0) else math.nan
            zxx = (w[1, 0] + w[1, 2] - 2 * w[1, 1]) / dx[i] ** 2
            zyy = (w[0, 1] + w[2, 1] - 2 * w[1, 1]) / dy[i] ** 2
            zxy = (w[0, 2] + w[2, 0] - w[0, 0] - w[2, 2]) / (4 * dx[i] * dy[i])
            zx, zy = (w[1, 2] - w[1, 0]) / (2 * dx[i]), (w[0, 1] - w[2, 1]) / (2 * dy[i])
            steep = zx**2 + zy**2
            out["general_curvature"][i, j] = -(zxx + zyy)
            # second derivatives along and across the gradient
            out["profile_curvature"][i, j] = -(zxx * zx**2 + 2 * zxy * zx * zy + zyy * zy**2) / steep if steep else 0
            out["plan_curvature"][i, j] = -(zxx * zy**2 - 2 * zxy * zx * zy + zyy * zx**2) / steep if steep else 0
            ring = np.delete(w.ravel(), 4)
            out["terrain_ruggedness"][i, j] = math.sqrt(((ring - w[1, 1]) ** 2).sum())
            tpi, sd = w[1, 1] - ring.mean(), ring.std()
            units = tpi / sd if abs(tpi) > 1e-9 else 0.0
            flat = out["slope"][i, j] <= 5
            out["slope_position"][i, j] = (
                6 if units > 1 else 5 if units > 0.5 else 1 if units < -1 else 2 if units < -0.5 else 3 if flat else 4
            )
    return out


@pytest.mark.parametrize("relief", [0.01, 5.0, 400.0])
def test_against_a_plain_transcription(relief: float) -> None:
    z = 4500 + np.random.default_rng(7).normal(0, relief, (23, 31))
    z[4, 5] = np.nan
    z[10:14, 20:25] = 4500.0
    got = terrain_attributes(dem(z))
    expected = slow(z, np.full(23, L), np.full(23, L))
    for name in TERRAIN_LAYERS:
        value = got[name].values.astype(float)
        if name == "slope_position":
            value[value == 255] = np.nan
        # float32 rounding of the result, and cancellation in differences of float64 heights near 4500 m
        np.testing.assert_allclose(value, expected[name], rtol=2e-6, atol=1e-9, err_msg=name)


def test_arctangent_is_the_mathematical_librarys() -> None:
    x = np.concatenate([np.linspace(0, 1, 5001), 10.0 ** np.arange(-300, 0), [0.0, 0.41421356237309503, 1.0]])
    for value in x:
        assert surface.arctangent(value) == pytest.approx(math.atan(value), rel=5e-16, abs=0)


def test_aspect_looks_downslope_in_all_sixteen_directions() -> None:
    for bearing in np.arange(0, 360, 22.5):
        down_x, down_y = math.sin(math.radians(bearing)), math.cos(math.radians(bearing))
        got = middle(3000 - 0.3 * (X * down_x + Y * down_y))["aspect"]
        assert math.cos(math.radians(got - bearing)) == pytest.approx(1, abs=1e-9)
        assert 0 <= got < 360


def test_aspect_a_breath_west_of_north_stays_below_360() -> None:
    assert middle(3000 - 0.3 * Y + 1e-9 * X)["aspect"] == 0.0


def test_flat_ground() -> None:
    got = middle(np.full((5, 5), 4718.3, dtype="float32"))
    assert math.isnan(got.pop("aspect"))
    assert got.pop("slope_position") == 3
    assert set(got.values()) == {0.0}


@pytest.mark.parametrize(("z", "code"), [(100.0, 6), (-100.0, 1)])
def test_a_lone_peak_is_a_ridge_and_a_lone_pit_a_valley(z: float, code: int) -> None:
    plain = np.full((5, 5), 4000.0)
    plain[2, 2] += z
    assert middle(plain)["slope_position"] == code


def test_slope_position_scaled_by_the_whole_dem() -> None:
    z = dem(4000 + np.random.default_rng(3).normal(0, 30, (60, 60)))
    tpi = topographic_position(z)
    sd = float(tpi.std())
    got = terrain_attributes(z, position_sd=sd)
    units, slope = tpi / sd, got.slope
    expected = xr.where(
        units > 1, 6, xr.where(units > 0.5, 5, xr.where(units < -1, 1, xr.where(units < -0.5, 2,
            xr.where(slope > 5, 4, 3))))).where(tpi.notnull(), 255)  # fmt: skip
    # float32 of the index against float64 in the kernel: cells within 1e-6 of a limit are left out
    clear = ~np.isclose(np.abs(units) % 0.5, 0, atol=1e-6) & ~np.isclose(np.abs(units) % 0.5, 0.5, atol=1e-6)
    assert bool((got.slope_position == expected).where(clear | tpi.isnull(), True).all())
    assert f"{sd:g} m" in got.slope_position.attrs["scale"]


def test_annulus() -> None:
    z = np.random.default_rng(5).normal(4000, 30, (12, 12))
    got = topographic_position(dem(z), inner_cells=1, outer_cells=3)
    offsets = [(a, b) for a in range(-3, 4) for b in range(-3, 4) if 1.5 < math.hypot(a, b) <= 3.5]
    assert float(got[5, 6]) == pytest.approx(z[5, 6] - np.mean([z[5 + a, 6 + b] for a, b in offsets]), rel=1e-6)
    assert int(got.notnull().sum()) == 36


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_blocks_equal_whole_bit_for_bit(data: st.DataObject) -> None:
    ny, nx = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 14))
    seed = data.draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    z = np.round(rng.normal(4000, 3, (ny, nx))).astype(data.draw(st.sampled_from(["float32", "float64"])))
    z[rng.random((ny, nx)) < 0.03] = np.nan
    if data.draw(st.booleans()):
        z[:, nx // 2 :] = 4000.0

    def pieces(n: int) -> tuple[int, ...]:
        cuts = sorted(data.draw(st.sets(st.integers(1, n - 1), max_size=4))) if n > 1 else []
        return tuple(int(v) for v in np.diff([0, *cuts, n]))

    chunks = pieces(ny), pieces(nx)
    whole = terrain_attributes(dem(z), cell_size_m=L)
    parts = terrain_attributes(dem(z, chunks=chunks), cell_size_m=L)
    outer = data.draw(st.integers(1, 4))  # a halo wider than the axis too
    for first, second in [
        *((whole[name], parts[name]) for name in TERRAIN_LAYERS),
        (
            topographic_position(dem(z), outer_cells=outer, cell_size_m=L),
            topographic_position(dem(z, chunks=chunks), outer_cells=outer, cell_size_m=L),
        ),
    ]:
        assert first.dtype == second.dtype
        assert first.values.tobytes() == second.values.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_cell_that_is_not_finite_takes_its_neighbours_with_it(value: float) -> None:
    z = np.random.default_rng(2).normal(4000, 3, (9, 9))
    z[4, 5] = value
    one = np.full(7, L)
    *layers, position = surface.terrain_pass(z, one, one, surface.RILEY, np.nan, 5.0, 1.0, 1.0, 1.0)
    hole = np.zeros((7, 7), dtype=bool)
    hole[2:5, 3:6] = True
    assert np.array_equal(position == 255, hole)
    for layer in layers:
        assert np.array_equal(np.isnan(layer), hole)


def test_wide_rows_cross_strips_without_a_seam() -> None:
    z = 4000 + np.random.default_rng(2).normal(0, 30, (6, 3 * surface.STRIP + 7))
    whole = terrain_attributes(dem(z))
    for start in (0, 100, surface.STRIP - 3, 2 * surface.STRIP + 1):
        part = terrain_attributes(dem(z[:, start : start + 40]))
        for name in TERRAIN_LAYERS:
            a, b = whole[name].values[1:-1, start + 1 : start + 39], part[name].values[1:-1, 1:-1]
            assert a.tobytes() == b.tobytes(), name


@pytest.mark.parametrize("chunks", [None, (3, 4)])
@pytest.mark.parametrize(("dtype", "code"), [("int16", -9999), ("int16", 0), ("float32", -3.4e38)])
def test_a_declared_code_of_missing_cells_is_no_height(dtype: str, code: float, chunks: Any) -> None:
    """As rioxarray opens a DEM without masked=True."""
    z = np.random.default_rng(0).integers(4000, 5000, (9, 11)).astype("float32")
    hole = np.zeros(z.shape, bool)
    hole[4, 5] = True
    filled = np.where(hole, np.dtype(dtype).type(code), z.astype(dtype))
    raw = terrain_attributes(dem(filled, chunks=chunks, _FillValue=np.dtype(dtype).type(code)))
    masked = terrain_attributes(dem(np.where(hole, np.float32(np.nan), z), chunks=chunks))
    xr.testing.assert_equal(raw.load(), masked.load())


def test_lazy_in_lazy_out_and_the_input_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed while the graph was built")

    z = dem(np.random.default_rng(0).normal(4000, 3, (20, 20)), chunks=(7, 9), units="m")
    before = z.copy(deep=True)
    with dask.config.set(scheduler=refuse):
        result = terrain_attributes(z)
    assert result.slope.chunks == z.chunks
    xr.testing.assert_identical(before, z)
    assert result.slope_position.encoding["_FillValue"] == 255
    assert result.slope.attrs["units"] == "degree"
    assert result.slope.attrs["parents"] == "elevation"


@pytest.mark.parametrize("crs", [None, "EPSG:32646"])
def test_a_south_up_or_mirrored_dem_gives_the_same_surface(crs: str | None) -> None:
    z = dem(4000 + np.random.default_rng(9).normal(0, 30, (12, 15)).cumsum(0).cumsum(1) / 10)
    if crs:
        z = z.rio.write_crs(crs)
    straight = terrain_attributes(z)
    for flipped in (z[::-1], z[:, ::-1], z[::-1, ::-1]):
        turned = terrain_attributes(flipped).sortby("y", ascending=False).sortby("x")
        for name in TERRAIN_LAYERS:
            np.testing.assert_allclose(turned[name], straight[name], rtol=1e-5, atol=1e-8, err_msg=name)


def geographic(z: Any, step: float, north: float, west: float) -> xr.DataArray:
    ny, nx = z.shape
    coords = {"latitude": north - step * (np.arange(ny) + 0.5), "longitude": west + step * (np.arange(nx) + 0.5)}
    return xr.DataArray(z, coords=coords, dims=("latitude", "longitude")).rio.write_crs("EPSG:4326")


def test_geographic_rows_have_their_own_metric_cells() -> None:
    z = 4000 + np.random.default_rng(4).normal(0, 40, (30, 12))
    layer = geographic(z, 1 / 120, 35.0, 90.0)
    dx, dy = tpsoil.grid.cell_sizes_m(tpsoil.grid.grid_of(layer))
    assert dx[-1] > dx[0]
    expected = slow(z, dx, dy)
    got = terrain_attributes(layer)
    for name in ("slope", "aspect", "general_curvature", "plan_curvature", "profile_curvature"):
        np.testing.assert_allclose(got[name], expected[name], rtol=2e-6, atol=1e-10, err_msg=name)
    assert "geodesic" in got.slope.attrs["cell_size"]


# --- bad input


def test_a_dem_in_feet_is_refused() -> None:
    with pytest.raises(UnitsError, match=r"terrain_attributes: elevation has units 'ft', expected 'm'.*add_layer"):
        terrain_attributes(dem(np.zeros((4, 4)), units="ft"))


def test_degrees_called_metres_are_refused() -> None:
    layer = geographic(np.zeros((5, 5)), 0.01, 33.0, 90.0).rename(latitude="y", longitude="x")
    with pytest.raises(GridError, match="look like degrees called metres"):
        terrain_attributes(layer.rio.write_crs("EPSG:32645"))
    with pytest.raises(GridError, match="look like degrees called metres"):
        terrain_attributes(
            xr.DataArray(np.zeros((5, 5)), coords={"y": layer.y.values, "x": layer.x.values}, dims=("y", "x"))
        )


def test_degrees_without_a_crs_are_refused() -> None:
    layer = xr.DataArray(np.zeros((5, 5)), coords={"latitude": [9.0, 7, 5, 3, 1], "longitude": [1.0, 3, 5, 7, 9]})
    with pytest.raises(GridError, match="no CRS"):
        terrain_attributes(layer)


@pytest.mark.parametrize(("make", "error", "says"), [
    (lambda: np.zeros((4, 4)), InputError, "expected an xarray.DataArray"),
    (lambda: xr.DataArray(np.zeros((2, 4, 4))), InputError, r"expected \(y, x\)"),
    (lambda: xr.DataArray(np.zeros((4, 4)), dims=("y", "x")), GridError, "cell_size_m"),
    (lambda: dem(np.full((4, 4), -32767, dtype="int16")), InputError, "nodata"),
    (lambda: dem(np.full((4, 4), 14000.0)), InputError, "feet"),
    (lambda: dem(np.zeros((4, 4), dtype=bool)), InputError, "expected numbers"),
    (lambda: dem(np.zeros((4, 4))).assign_coords(x=[0, 30, 60, 99]), GridError, "not evenly spaced"),
])  # fmt: skip
def test_a_dem_that_cannot_be_used(make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        terrain_attributes(make())


@pytest.mark.parametrize(("options", "says"), [
    ({"curvature_convention": "arcgs"}, "did you mean 'arcgis'"),
    ({"ruggedness": "rilley"}, "did you mean 'riley'"),
    ({"position_sd": 0.0}, "position_sd"),
    ({"cell_size_m": -1.0}, "cell_size_m"),
])  # fmt: skip
def test_an_unknown_option(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        terrain_attributes(dem(np.zeros((4, 4))), **options)


@pytest.mark.nojit
def test_the_same_with_jit_off() -> None:
    code = """
import numpy as np, sys
sys.path.insert(0, "tests")
import test_terrain as t
from tpsoil.kernels import surface
assert not hasattr(surface.terrain_pass, "py_func")
for name in t.VECTORS:
    t.test_published_surfaces(name)
t.test_published_ruggedness_variant_and_position()
t.test_against_a_plain_transcription(5.0)
t.test_annulus()
t.test_flat_ground()
"""
    root = os.path.dirname(os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=root, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_one_pass_of_the_kernel_serves_all_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    from tpsoil.covariates import terrain

    calls: list[tuple[int, ...]] = []
    one_pass = terrain.terrain_pass

    def spy(z: Any, *rest: Any) -> Any:
        calls.append(z.shape)
        return one_pass(z, *rest)

    monkeypatch.setattr(terrain, "terrain_pass", spy)
    z = dem(np.random.default_rng(0).normal(4000, 3, (20, 30)), chunks=(7, 11))
    terrain_attributes(z).compute(scheduler="threads")
    assert len(calls) == 9
