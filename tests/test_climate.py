"""Climate: means over years, lapse rate, evapotranspiration against FAO's examples, aridity."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr

from tpsoil import covariates as cov
from tpsoil.errors import GridError, InputError, UnitsError
from tpsoil.kernels import climate


def months(first: str, last: str, shape: tuple[int, ...] = (), seed: int = 0, **attrs: Any) -> xr.DataArray:
    time = np.arange(first, last, dtype="datetime64[M]").astype("datetime64[ns]")
    values = np.random.default_rng(seed).uniform(1, 50, (len(time), *shape))
    dims = ("time", "y", "x")[: 1 + len(shape)]
    return xr.DataArray(values, coords={"time": time}, dims=dims, name="p", attrs=attrs)


evaporate = cov.potential_evapotranspiration


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("computed while the graph was built")


def test_means_over_years() -> None:
    stack = months("1999-01", "2004-01", (3, 4), units="mm")
    years = stack.sel(time=slice("2000", "2002"))
    rain = cov.annual_precipitation(stack, years=(2000, 2002))
    np.testing.assert_allclose(rain, years.groupby("time.year").sum().mean("year"), rtol=1e-12)
    assert rain.attrs["years"] == "2000-2002"
    warm = cov.mean_annual_temperature(stack.assign_attrs(units="degC"), years=(2000, 2002))
    days = years["time"].dt.days_in_month
    np.testing.assert_allclose(warm, (years * days).sum("time") / days.sum(), rtol=1e-12)
    each = cov.monthly_means(stack, years=(2000, 2002))
    np.testing.assert_allclose(each, years.groupby("time.month").mean(), rtol=1e-12)
    assert each.dims == ("month", "y", "x")


def test_the_order_of_months_in_the_stack_does_not_matter() -> None:
    stack = months("2000-01", "2002-01", (2, 3), units="mm")
    shuffled = stack.isel(time=np.random.default_rng(3).permutation(24))
    assert cov.annual_precipitation(stack).values.tobytes() == cov.annual_precipitation(shuffled).values.tobytes()


def test_stacks_are_lazy_and_chunks_never_matter() -> None:
    stack = months("2000-01", "2004-01", (7, 9), units="mm").astype("float32")
    stack[5, 2, 2] = np.nan
    for function in (cov.annual_precipitation, cov.monthly_means):
        whole = function(stack)
        with dask.config.set(scheduler=refuse):
            parts = function(stack.chunk({"time": 5, "y": 1, "x": 4}))
        assert whole.dtype == parts.dtype == np.float32
        assert whole.values.tobytes() == parts.values.tobytes()
    assert np.isnan(cov.annual_precipitation(stack)[2, 2])


@pytest.mark.parametrize(("change", "years", "says"), [
    (lambda s: s.isel(time=slice(0, 23)), None, "2001-12 missing"),
    (lambda s: xr.concat([s, s[:1]], "time"), None, "2000-01 twice"),
    (lambda s: s, (2000, 2003), "2002-01 missing.*and 12 more"),
    (lambda s: s, (2001, 2000), "first before the last"),
    (lambda s: s.rename(time="t"), None, "datetime coordinate 'time'"),
    (lambda s: -s, None, "p|monthly is -"),
    (lambda s: s.assign_attrs(units="m"), None, "units 'm', expected 'mm'"),
])  # fmt: skip
def test_bad_stacks(change: Any, years: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        cov.annual_precipitation(change(months("2000-01", "2002-01", units="mm")), years=years)


# --- lapse rate


def field(values: Any, step: float = 1000.0, **attrs: Any) -> xr.DataArray:
    values = np.asarray(values, dtype=float)
    coords = {"y": -step * np.arange(values.shape[0]), "x": step * np.arange(values.shape[1])}
    return xr.DataArray(values, coords=coords, dims=("y", "x"), attrs=attrs).rio.write_crs("EPSG:32645")


def test_the_fine_temperatures_average_back_to_the_coarse_ones() -> None:
    fine = 4000 + np.random.default_rng(1).normal(0, 400, (20, 20))
    ground = fine.reshape(4, 5, 4, 5).mean((1, 3)).repeat(5, 0).repeat(5, 1)
    coarse = np.arange(16.0).reshape(4, 4).repeat(5, 0).repeat(5, 1)
    got = cov.lapse_rate_downscaling(field(coarse), field(ground), field(fine))
    np.testing.assert_allclose(got.values.reshape(4, 5, 4, 5).mean((1, 3)), np.arange(16.0).reshape(4, 4), atol=1e-5)
    assert got.attrs["lapse_rate_k_km"] == 6.5
    assert got.name == "mean_annual_temperature"
    np.testing.assert_allclose(got - coarse, -0.0065 * (fine - ground), atol=1e-5)


def test_lapse_rate_bad_input() -> None:
    z = field(np.zeros((3, 3)))
    with pytest.raises(UnitsError, match="temperature has units 'K'"):
        cov.lapse_rate_downscaling(z.assign_attrs(units="K"), z, z)
    with pytest.raises(UnitsError, match="elevation has units 'ft'"):
        cov.lapse_rate_downscaling(z, z, z.assign_attrs(units="ft"))
    with pytest.raises(InputError, match="lapse_rate_k_km is 65"):
        cov.lapse_rate_downscaling(z, z, z, lapse_rate_k_km=65)
    with pytest.raises(GridError, match="lapse_rate_downscaling"):
        cov.lapse_rate_downscaling(z, field(np.zeros((3, 3)), 900.0), z)


# --- evapotranspiration and aridity


def test_radiation_against_fao_56_example_8() -> None:
    # 3 September, day 246, 20 degrees south: 32.2 MJ/m2/d; daylight 11.7 h (example 9)
    assert climate.extraterrestrial_radiation(math.radians(-20), 246.0) == pytest.approx(32.2, abs=0.05)
    sunset, _ = climate.day_angle(math.radians(-20), 246.0)
    assert 24 / math.pi * sunset == pytest.approx(11.7, abs=0.05)


def test_hargreaves_against_fao_56_example_20() -> None:
    # Lyon, 45 deg 43 min north, July: 26.6 and 14.8 degC, Ra 40.6 MJ/m2/d, 5.0 mm/d
    latitude = 45 + 43 / 60
    assert climate.extraterrestrial_radiation(math.radians(latitude), 196.0) == pytest.approx(40.6, abs=0.1)
    cold, warm = np.full(12, 20.7), np.full(12, 20.7)
    cold[6], warm[6] = 14.8, 26.6  # no span, no demand in the other months
    year = evaporate(method="hargreaves", minimum=cold, maximum=warm, latitude=latitude)
    assert year / 31 == pytest.approx(5.0, abs=0.06)


def test_thornthwaite_by_hand() -> None:
    t = np.array([-8.0, -5, 0, 5, 9, 12, 14, 13, 9, 3, -3, -7])
    heat = sum((v / 5) ** 1.514 for v in t if v > 0)
    a = 6.75e-7 * heat**3 - 7.71e-5 * heat**2 + 1.792e-2 * heat + 0.49239
    length = [31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    # on the equator every day has 12 hours
    expected = sum(16 * (10 * v / heat) ** a * d / 30 for v, d in zip(t, length) if v > 0)
    assert evaporate(method="thornthwaite", temperature=t, latitude=0.0) == pytest.approx(expected)
    north = evaporate(method="thornthwaite", temperature=t, latitude=33.0)
    assert expected < north < 1.2 * expected  # long days in the warm half of the year


def test_polar_night_gives_no_radiation() -> None:
    assert climate.extraterrestrial_radiation(math.radians(85), 355.0) == pytest.approx(0, abs=1e-9)


def test_latitude_comes_from_the_grid_lazily() -> None:
    import tpsoil

    box = tpsoil.plateau_grid(50_000)
    from tpsoil.grid import coordinates

    coords = coordinates(box)
    warm = xr.DataArray(np.full((12, *box.shape), 8.0, "float32"), coords=coords, dims=("month", "y", "x"))
    whole = evaporate(method="thornthwaite", temperature=warm)
    with dask.config.set(scheduler=refuse):
        parts = evaporate(method="thornthwaite", temperature=warm.chunk({"y": 7, "x": 30}))
    assert whole.values.tobytes() == parts.values.tobytes()
    latitude = cov.latitude_layer(warm[0])
    assert 24 < float(latitude.min()) < 26
    assert float(latitude.sel(x=0, y=0, method="nearest")) == pytest.approx(33, abs=0.5)
    assert whole.attrs["method"] == "thornthwaite"


def test_aridity() -> None:
    got = cov.aridity_index(np.array([350.0, 100, 5, np.nan]), np.array([1000.0, 0, 10, 10]))
    assert got[0] == 0.35
    assert np.isnan(got[[1, 3]]).all()
    assert got[2] == 0.5


@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda: cov.aridity_index(-1.0, 10.0), InputError, "rain cannot be negative"),
    (lambda: cov.aridity_index(1.0, -10.0), InputError, "potential_evapotranspiration is -10"),
    (lambda: cov.aridity_index(field(np.ones((3, 3)), units="m"), 10.0), UnitsError, "expected 'mm'"),
    (lambda: cov.aridity_index(field(np.ones((3, 3))), field(np.ones((3, 3)), 900.0)), GridError, "aridity_index"),
    (lambda: evaporate(method="hargreaves", temperature=[1.0] * 12), InputError,
     "requires minimum and maximum, got temperature"),
    (lambda: evaporate(method="penman", temperature=[1.0] * 12), InputError, "method is 'penman'"),
    (lambda: evaporate(method="thornthwaite", temperature=[1.0] * 12), InputError, "latitude="),
    (lambda: evaporate(method="thornthwaite", temperature=[280.0] * 12, latitude=3.0), InputError,
     "temperature is 280"),
    (lambda: evaporate(method="thornthwaite", temperature=[1.0] * 12, latitude=300.0), InputError,
     "latitude is 300"),
])  # fmt: skip
def test_bad_input(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


@pytest.mark.nojit
def test_the_same_with_jit_off() -> None:
    code = """
import sys
sys.path.insert(0, "tests")
import test_climate as t
t.test_radiation_against_fao_56_example_8()
t.test_hargreaves_against_fao_56_example_20()
t.test_thornthwaite_by_hand()
t.test_means_over_years()
t.test_aridity()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parent.parent, timeout=120,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
