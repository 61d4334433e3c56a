"""RUSLE and RWEQ: every vector of the science sheet, flags, unit systems, lazy equals whole, bad inputs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil import covariates as cov
from tpsoil.errors import GridError, InputError, UnitsError
from tpsoil.kernels import erosion

MONTHS = [3.0, 5, 10, 20, 50, 85, 110, 100, 60, 20, 5, 2]


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-8)


def layer(values: Any, name: str = "x", chunks: Any = None, **attrs: Any) -> xr.DataArray:
    values = np.asarray(values)
    out = xr.DataArray(values, dims=("y", "x")[: values.ndim], name=name, attrs=attrs)
    return out if chunks is None else out.chunk(dict(zip(("y", "x"), chunks)))


# --- vectors of science.md section 5


def test_rusle_vectors() -> None:
    assert cov.rusle(300.0, 0.04, 2.5, 0.2, 1.0) == near(6.0)
    us = cov.rusle(300 / 17.02, 0.04 / 0.1317, 2.5, 0.2, unit_system="US")
    assert us == near(6.0)


def test_erosivity_vectors() -> None:
    assert cov.rainfall_erosivity(MONTHS, method="wischmeier_si") == near(465.8382776)
    assert cov.rainfall_erosivity(MONTHS, method="wischmeier_us") == near(1453.030489)
    assert cov.rainfall_erosivity(MONTHS, method="wischmeier_us") / 17.02 == near(85.37194411)
    assert cov.rainfall_erosivity(470.0, method="zhang_fu_annual") == near(1410.356136)
    assert cov.rainfall_erosivity(MONTHS, method="zhang_fu_fournier") == near(1702.446323)
    assert erosion.fournier_index(np.array([MONTHS]))[0] == near(77.42127660)
    assert cov.rainfall_erosivity([0.0] * 12, method="wischmeier_si") == 0


def test_erodibility_vectors() -> None:
    assert cov.soil_erodibility(60.0, 30.0, 10.0, 1.5, unit_system="US") == near(0.2235852843)
    assert cov.soil_erodibility(60.0, 30.0, 10.0, 1.5) == near(0.02944618194)
    assert math.isnan(cov.soil_erodibility(100.0, 0.0, 0.0, 0.1))


@pytest.mark.parametrize(
    ("ndvi", "c"), [(0.1, 0.8007374029), (0.3, 0.4243728457), (0.6, 0.0497870684), (1.0, 0.0), (-0.2, 1.0)]
)
def test_cover_by_ndvi_vectors(ndvi: float, c: float) -> None:
    assert cov.cover_factor(ndvi=ndvi) == near(c)


@pytest.mark.parametrize(
    ("cover", "c"), [(20.0, 0.2037660935), (0.0963, 1.0), (0.0, 1.0), (0.09631, 1.0), (78.3, 0.0), (100.0, 0.0)]
)
def test_cover_by_percent_vectors(cover: float, c: float) -> None:
    assert cov.cover_factor(vegetation_cover=cover, method="cai") == near(c)


def test_weather_vectors() -> None:
    assert erosion.air_density(4.5, 273.15) == near(0.7361954970)
    assert cov.wind_factor([6.0, 8.0, 10.0], days=15, height_m=2.0) == near(1640.0)
    assert cov.weather_factor(1640.0, 4500.0, 0.0, 0.8, 0.9) == near(88.70404519)
    at_ten = [u * 5 ** (1 / 7) for u in (6.0, 8.0, 10.0)]
    assert cov.wind_factor(at_ten, days=15) == near(1640.0)


def test_soil_and_vegetation_vectors() -> None:
    ef = cov.erodible_fraction(60.0, 30.0, 10.0, 2.0, 5.0, organic_matter=True)
    assert float(ef.erodible_fraction) == near(0.4484)
    assert int(ef.erodible_fraction_status) == 0
    assert cov.crust_factor(10.0, 2.0, organic_matter=True) == near(0.5733944954)
    assert cov.crust_factor(10.0, 2.0 / 1.724) == near(0.5733944954)
    assert cov.roughness_factor(0.5, 0.0) == near(0.7179133571)
    assert cov.roughness_factor(0.5, 1.0) == near(0.6322904677)
    assert cov.vegetation_factor(30.0) == near(0.2687429318)
    assert cov.vegetation_factor(canopy=0.3) == near(0.0989932786)


def test_rweq_vectors() -> None:
    assert erosion.transport_capacity(1.05) == near(115.29)
    assert erosion.field_length(1.05) == near(148.0057953)
    assert erosion.wind_loss(1.05, 50.0) == near(0.4695373417)
    assert float(cov.rweq(1.05, 1.0, 1.0).wind_erosion) == near(4.695373417)
    assert float(cov.rweq(0.1, 1.0, 1.0).wind_erosion) / 10 == near(0.008579534725)
    assert float(cov.rweq(0.0, 1.0, 1.0).wind_erosion) == 0
    assert cov.turning_point(50.0) == pytest.approx(61.733, abs=5e-4)


@pytest.mark.nojit
def test_the_same_with_jit_off() -> None:
    code = """
import sys
sys.path.insert(0, "tests")
import test_erosion as t
from tpsoil.kernels import erosion
assert not hasattr(erosion.wind_loss_cells, "py_func")
for name, test in list(vars(t).items()):
    if name.endswith("_vectors") and "cover_by" not in name:
        test()
t.test_cover_by_ndvi_vectors(0.3, 0.4243728457)
t.test_cover_by_ndvi_vectors(1.0, 0.0)
t.test_cover_by_percent_vectors(20.0, 0.2037660935)
t.test_daily_erosivity_by_hand()
t.test_a_falling_loss_is_flagged_and_not_changed()
t.test_contents_outside_the_fit_are_flagged()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parent.parent, timeout=120,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


# --- meaning


def test_the_two_printed_constants_differ_three_to_fivefold_and_neither_is_the_default() -> None:
    si = cov.rainfall_erosivity(MONTHS, method="wischmeier_si")
    us = cov.rainfall_erosivity(MONTHS, method="wischmeier_us")
    assert 3 < us / si < 5.5
    with pytest.raises(TypeError, match="method"):
        cov.rainfall_erosivity(MONTHS)  # type: ignore[call-arg]


def test_daily_erosivity_by_hand() -> None:
    rain = np.zeros(730)
    rain[[100, 120, 400]] = [12.0, 30.0, 18.0]
    rain[200] = 11.9
    mean, year = 20.0, 30.0
    beta = 0.8363 + 18.144 / mean + 24.455 / year
    alpha = 21.586 * beta**-7.1891
    expected = alpha * (12**beta + 30**beta + 18**beta) / 2
    stack = xr.DataArray(rain, dims="time")
    assert float(cov.rainfall_erosivity(stack, method="zhang_daily", years=2)) == near(expected)
    dry = cov.rainfall_erosivity(stack * 0, method="zhang_daily", years=2)
    assert float(dry) == 0


def test_snow_does_not_count() -> None:
    cold = [-10.0, -8, -3, 1, 5, 9, 11, 10, 6, 0, -5, -9]
    rain = [p if t >= 0 else 0 for p, t in zip(MONTHS, cold)]
    got = cov.rainfall_erosivity(MONTHS, method="zhang_fu_fournier", temperature=cold)
    assert got == near(cov.rainfall_erosivity(rain, method="zhang_fu_fournier"))


def test_a_falling_loss_is_flagged_and_not_changed() -> None:
    x = np.array([60.0, 61.7, 61.8, 80.0, np.nan])
    got = cov.rweq(x, 1.0, 1.0)
    assert got.wind_erosion_status.values.tolist() == [0, 0, 1, 1, 255]
    loss = got.wind_erosion.values
    assert loss[0] < loss[1]
    assert loss[2] > loss[3]
    assert loss[3] == near(10 * erosion.wind_loss(80.0, 50.0))


def test_turning_point_is_the_maximum() -> None:
    for distance in (20.0, 50.0, 200.0):
        top = cov.turning_point(distance)
        best = erosion.wind_loss(top, distance)
        assert erosion.wind_loss(top * 0.999, distance) < best > erosion.wind_loss(top * 1.001, distance)


def test_contents_outside_the_fit_are_flagged() -> None:
    # a meadow: 20 % organic matter takes EF below zero
    got = cov.erodible_fraction(
        np.array([60.0, 40, 60, 97, np.nan]), np.array([30.0, 40, 30, 2, 30]), np.array([10.0, 20, 10, 1, 10]),
        np.array([2.0, 20, 5, 0.3, 1]), organic_matter=True,
    )  # fmt: skip
    assert got.erodible_fraction_status.values.tolist() == [0, 2, 1, 1, 255]
    assert got.erodible_fraction.values[1] == 0
    assert got.erodible_fraction.values[3] == near(erosion.erodible_fraction(97.0, 2.0, 1.0, 0.3, 0.0))


def test_dryness_stays_within_its_limits() -> None:
    assert cov.soil_dryness(10.0, 100.0, 15.0, days=15) == 0
    assert cov.soil_dryness(0.0, 0.0, 0.0, days=15) == 0
    assert cov.soil_dryness(50.0, 10.0, 7.5, days=15, irrigation=10.0) == near(0.8)


def test_mean_wind_moves_less_than_the_winds_it_is_made_of() -> None:
    winds = np.random.default_rng(0).weibull(2, 200) * 8
    assert cov.wind_factor([float(winds.mean())] * 3, days=15) < 0.7 * cov.wind_factor(winds, days=15)


def test_one_wind_a_month_is_rejected_or_spread_by_a_named_distribution() -> None:
    rng = np.random.default_rng(2)
    winds = rng.weibull(2, 200_000) * 6
    mean = float(winds.mean())
    with pytest.raises(InputError, match=r"one wind observation in 31 days.*weibull_shape=2"):
        cov.wind_factor([mean], days=31)
    # ten Januaries are ten observations, but each is the mean of a month
    januaries = xr.DataArray(
        np.full(10, mean), dims="time", coords={"time": pd.date_range("2001-01-01", periods=10, freq="12MS")}
    )
    with pytest.raises(InputError, match=r"one wind observation in 365 days"):
        cov.wind_factor(januaries, days=31)
    spread = cov.wind_factor(januaries, days=31, weibull_shape=2.0)
    # 200 000 winds leave 1 % of sampling error in the third moment beyond the threshold
    assert float(spread) == pytest.approx(cov.wind_factor(winds, days=31), rel=0.02)
    assert spread.attrs["weibull_shape"] == 2.0
    assert "Weibull of shape 2" in spread.attrs["distribution"]
    with pytest.raises(InputError, match="lengths of mean vectors"):
        cov.wind_factor(januaries.assign_attrs(vector_components="u v"), days=31, weibull_shape=2.0)
    with pytest.raises(InputError, match="weibull_shape is 0"):
        cov.wind_factor([mean], days=31, weibull_shape=0)


@given(st.floats(0.0, 30.0), st.floats(1.2, 6.0))
@settings(max_examples=40, deadline=None)
def test_weibull_work_equals_its_integral(mean: float, shape: float) -> None:
    from scipy import integrate, special, stats

    scale = max(mean / special.gamma(1 + 1 / shape), 1e-9)
    density = stats.weibull_min(shape, scale=scale).pdf
    expected, _ = integrate.quad(lambda u: u * (u - 5.0) ** 2 * density(u), 5.0, max(5.0, scale * 40), limit=800)
    # quadrature over a density that is cut at 40 scales
    assert cov.wind_factor([mean], days=1, height_m=2.0, weibull_shape=shape) == pytest.approx(
        expected, rel=1e-5, abs=1e-8
    )


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1000), st.floats(0, 1), st.floats(0, 100), st.floats(0, 1), st.floats(0, 1))
def test_rusle_is_never_negative_and_grows_with_each_factor(r: float, k: float, ls: float, c: float, p: float) -> None:
    loss = cov.rusle(r, k, ls, c, p)
    assert loss >= 0
    assert cov.rusle(r + 1, k, ls, c, p) >= loss
    assert cov.rusle(r, k, ls + 1, c, p) >= loss


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_cover_factor_falls_with_ndvi(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 <= cov.cover_factor(ndvi=high) <= cov.cover_factor(ndvi=low) <= 1


# --- numbers, arrays, lazy layers


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("computed while the graph was built")


def test_numbers_arrays_and_lazy_layers_agree_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    shape = (13, 17)
    sand = rng.uniform(20, 60, shape).astype("float32")
    clay = rng.uniform(5, 30, shape).astype("float32")
    silt = (100 - sand - clay).astype("float32")
    carbon = rng.uniform(0.1, 8, shape).astype("float32")
    carbon[3, 4] = np.nan
    ndvi = rng.uniform(-0.2, 0.9, shape).astype("float32")
    wind = rng.uniform(0, 100, shape).astype("float32")
    chunks = ((5, 8), (4, 4, 9))

    def everything(make: Any) -> list[Any]:
        s, i, c, o = make(sand), make(silt), make(clay), make(carbon)
        k = cov.soil_erodibility(s, i, c, o)
        cover = cov.cover_factor(ndvi=make(ndvi))
        ef = cov.erodible_fraction(s, i, c, o, 0.0)
        blown = cov.rweq(make(wind), ef.erodible_fraction if make is not np.asarray else ef.erodible_fraction.values,
                         cov.crust_factor(c, o), 0.7, cov.vegetation_factor(make(ndvi * 50 + 20)))  # fmt: skip
        return [k, cover, cov.rusle(300.0, k, 2.0, cover), *ef.values(), *blown.values()]

    plain = everything(np.asarray)
    labelled = everything(layer)
    with dask.config.set(scheduler=refuse):
        lazy = everything(lambda values: layer(values, chunks=chunks))
    for a, b, c in zip(plain, labelled, lazy):
        assert c.chunks == chunks
        assert np.asarray(a).dtype == b.dtype == c.dtype
        assert np.asarray(a).tobytes() == b.values.tobytes() == c.values.tobytes()
    assert np.isnan(labelled[0].values[3, 4])
    one = cov.soil_erodibility(*(float(v[2, 2]) for v in (sand, silt, clay, carbon)))
    assert one == pytest.approx(float(plain[0][2, 2]), rel=1e-7)


def test_series_do_not_depend_on_chunks() -> None:
    rng = np.random.default_rng(2)
    stack = xr.DataArray(rng.gamma(1, 30, (12, 9, 11)), dims=("month", "y", "x"), attrs={"units": "mm"})
    for method in ("wischmeier_si", "zhang_fu_fournier"):
        whole = cov.rainfall_erosivity(stack, method=method)
        with dask.config.set(scheduler=refuse):
            parts = cov.rainfall_erosivity(stack.chunk({"month": 5, "y": 1, "x": 4}), method=method)
        assert whole.values.tobytes() == parts.values.tobytes()
        assert whole.dims == ("y", "x")
        assert whole.attrs["method"] == method
        assert whole.attrs["snow"] == "counted as rain"
    wind = xr.DataArray(rng.weibull(2, (40, 5, 6)) * 6, dims=("time", "y", "x"))
    assert cov.wind_factor(wind, days=10).values.tobytes() == (
        cov.wind_factor(wind.chunk({"time": 7, "y": 2, "x": 6}), days=10).values.tobytes()
    )


def test_attributes_say_what_was_chosen() -> None:
    loss = cov.rusle(layer(np.full((2, 2), 300.0)), 0.04, 2.5, 0.2)
    assert loss.attrs["units"] == "t ha-1 a-1"
    assert loss.attrs["formula"].startswith("RUSLE")
    k = cov.soil_erodibility(layer(np.full((2, 2), 60.0)), 30.0, 10.0, 1.0, unit_system="US")
    assert k.attrs["units"] != cov.soil_erodibility(layer(np.full((2, 2), 60.0)), 30.0, 10.0, 1.0).attrs["units"]
    assert (
        "to be checked"
        in cov.rainfall_erosivity(layer(np.full((2, 2), 400.0)), method="zhang_fu_annual").attrs["formula"]
    )


# --- bad input


ONES = np.ones((2, 2))


@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda: cov.soil_erodibility(60.0, 30.0, 20.0, 1.0), InputError, r"sand \+ silt \+ clay is 110 .* 99 to 101"),
    (lambda: cov.erodible_fraction(20.0, 30.0, 20.0, 1.0), InputError, r"sand \+ silt \+ clay is 70"),
    (lambda: cov.soil_erodibility(600.0, 300.0, 100.0, 15.0), InputError, "divide g/kg by 10"),
    (lambda: cov.soil_erodibility(layer(60 * ONES, units="g/kg"), 30.0, 10.0, 1.0), UnitsError, "units 'g/kg'"),
    (lambda: cov.rainfall_erosivity(-5.0, method="zhang_fu_annual"), InputError, "rain cannot be negative"),
    (lambda: cov.rainfall_erosivity([-1.0] + [5.0] * 11, method="wischmeier_si"), InputError, "rain cannot be"),
    (lambda: cov.rainfall_erosivity([5.0] * 11, method="wischmeier_si"), InputError, "11 months, expected 12"),
    (lambda: cov.rainfall_erosivity(MONTHS, method="wischmeier"), InputError, "did you mean 'wischmeier_"),
    (lambda: cov.rainfall_erosivity(5.0, method="wischmeier_si"), InputError, "got one number"),
    (lambda: cov.rainfall_erosivity(400.0, method="zhang_fu_annual", temperature=2.0), InputError, "annual method"),
    (lambda: cov.rainfall_erosivity(layer(ONES, units="m"), method="zhang_fu_annual"), UnitsError, "expected 'mm'"),
    (lambda: cov.cover_factor(ndvi=1.2), InputError, r"NDVI lies within -1 to 1; divide scaled integers by 10000"),
    (lambda: cov.cover_factor(ndvi=layer(6000 * ONES)), InputError, "in 4 of 4 cells"),
    (lambda: cov.cover_factor(ndvi=0.2, method="cai"), InputError, "requires vegetation_cover="),
    (lambda: cov.cover_factor(ndvi=0.2, method="kai"), InputError, "did you mean 'cai'"),
    (lambda: cov.rusle(layer(300 * ONES, units="hundreds of ft tonf in acre-1 h-1 a-1"), 0.04, 1.0, 1.0),
     UnitsError, "choose unit_system='US'"),
    (lambda: cov.rusle(300.0, 0.04, 1.0, 1.2), InputError, "cover_factor is 1.2"),
    (lambda: cov.rusle(300.0, 0.04, 1.0, 1.0, unit_system="us"), InputError, "unit_system"),
    (lambda: cov.rusle(np.ones((2, 3)), np.ones((4, 3)), 1.0, 1.0), GridError, "expected one shape"),
    (lambda: cov.rusle(layer(np.ones((2, 3))).assign_coords(x=[0, 1, 2]),
                       layer(np.ones((2, 3))).assign_coords(x=[1, 2, 3]), 1.0, 1.0), GridError, "do not share"),
    (lambda: cov.rusle(layer(ONES), ONES, 1.0, 1.0), InputError, "mixed"),
    (lambda: cov.wind_factor([-1.0, 3.0], days=15), InputError, "wind_speed is -1"),
    (lambda: cov.wind_factor([3.0], days=0), InputError, "days is 0"),
    (lambda: cov.weather_factor(1.0, 4500.0, 290.0), InputError, "temperature is 290"),
    (lambda: cov.weather_factor(1.0, layer(ONES, units="km"), 2.0), UnitsError, "units 'km', expected 'm'"),
    (lambda: cov.vegetation_factor(canopy=30.0), InputError, "divide % by 100"),
    (lambda: cov.rweq(-1.0, 1.0, 1.0), InputError, "weather_factor is -1"),
    (lambda: cov.rweq(1.0, 1.0, 1.0, distance_m=0.0), InputError, "distance_m"),
    (lambda: cov.roughness_factor(0.5, random_weight="0.12"), InputError, "random_weight"),
])  # fmt: skip
def test_bad_input(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_grids_that_differ_are_named() -> None:
    def on(x0: float) -> xr.DataArray:
        coords = {"y": [300.0, 200.0, 100.0], "x": [x0, x0 + 100, x0 + 200]}
        return xr.DataArray(np.ones((3, 3)), coords=coords, dims=("y", "x"), name="k").rio.write_crs("EPSG:32645")

    import rioxarray  # noqa: F401

    with pytest.raises(GridError, match=r"rusle: 'k' is on 3 x 3 cells of 100 x 100 m"):
        cov.rusle(on(0.0), on(50.0), 1.0, 1.0)


def test_bad_values_in_lazy_layers_are_refused_when_computed() -> None:
    lazy = cov.cover_factor(ndvi=layer(np.array([[0.1, 3.0]]), chunks=(1, 1)))
    with pytest.raises(InputError, match="cover_factor: ndvi is 3"):
        lazy.compute()


def test_stones_lower_k_above_ten_percent() -> None:
    assert cov.stone_corrected_erodibility(0.03, 10.0) == 0.03
    assert cov.stone_corrected_erodibility(0.03, 14.0) == pytest.approx(0.03 * math.exp(-0.16), rel=1e-12)
    assert np.isnan(cov.stone_corrected_erodibility(0.03, np.nan))
    with pytest.raises(InputError, match="stone_cover is 130 and outside its range"):
        cov.stone_corrected_erodibility(0.03, 130.0)
    grams = xr.DataArray([20.0], dims="x", attrs={"units": "g kg-1"})
    with pytest.raises(UnitsError, match="stone_cover"):
        cov.stone_corrected_erodibility(0.03, grams)


@pytest.mark.parametrize(("factors", "says"), [
    ((-1.0, 0.03, 2.0, 0.1, 1.0), "rainfall_erosivity is -1"),
    ((300.0, 0.03, 2.0, 1.2, 1.0), "cover_factor is 1.2"),
    ((300.0, 0.03, 2.0, 0.1, 1.5), "practice_factor is 1.5"),
])  # fmt: skip
def test_factors_out_of_range_are_rejected(factors: tuple[float, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        cov.rusle(*factors)


FORMULAS: dict[str, tuple[Any, dict[str, float]]] = {
    "rusle": (cov.rusle, {"rainfall_erosivity": 300.0, "soil_erodibility": 0.04, "ls_factor": 2.5, "cover_factor": 0.2,
                          "practice_factor": 1.0}),
    "soil_erodibility": (cov.soil_erodibility, {"sand": 60.0, "silt": 30.0, "clay": 10.0, "soil_organic_carbon": 1.5}),
    "stone_corrected_erodibility": (cov.stone_corrected_erodibility, {"soil_erodibility": 0.03, "stone_cover": 35.0}),
    "cover_factor, ndvi": (cov.cover_factor, {"ndvi": 0.3}),
    "cover_factor, cai": (lambda **a: cov.cover_factor(method="cai", **a), {"vegetation_cover": 20.0}),
    "vegetation_cover": (cov.vegetation_cover, {"ndvi": 0.3}),
    "soil_dryness": (lambda **a: cov.soil_dryness(days=15, **a),
                     {"potential_evapotranspiration": 50.0, "precipitation": 20.0, "rain_days": 7.5}),
    "weather_factor": (cov.weather_factor, {"wind_factor": 1640.0, "elevation": 4500.0, "temperature": 0.0,
                                            "soil_dryness": 0.8, "snow_free": 0.9}),
    "crust_factor": (cov.crust_factor, {"clay": 10.0, "soil_organic_carbon": 2.0}),
    "roughness_factor": (cov.roughness_factor, {"ridge_cm": 0.5, "random_cm": 1.0}),
    "vegetation_factor": (cov.vegetation_factor, {"flat_cover": 30.0, "standing_area": 1.0, "canopy": 0.1}),
    "aridity_index": (cov.aridity_index, {"annual_precipitation": 350.0, "potential_evapotranspiration": 1000.0}),
    "zhang_fu_annual": (lambda **a: cov.rainfall_erosivity(method="zhang_fu_annual", **a), {"precipitation": 400.0}),
}  # fmt: skip


@pytest.mark.parametrize(("formula", "arguments"), FORMULAS.values(), ids=FORMULAS)
def test_a_missing_input_of_a_formula_gives_no_value(formula: Any, arguments: dict[str, float]) -> None:
    assert np.isfinite(formula(**{name: np.array([value]) for name, value in arguments.items()})).all()
    for missing in arguments:
        values = {name: np.array([np.nan if name == missing else value]) for name, value in arguments.items()}
        assert np.isnan(formula(**values)).all(), missing
