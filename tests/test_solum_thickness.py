"""The steady state and the transient: published vectors, oracles, laws, kinds of input, bad input."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil import solum
from tpsoil.demo import simulated_profiles
from tpsoil.errors import GridError, InputError, MissingInputError, TpsoilError, UnitsError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.kernels import pedogenesis
from tpsoil.solum import (
    PUBLISHED,
    PUBLISHED_ZONES,
    SolumOptions,
    SolumParameters,
    published_zones,
    status_counts,
    thickness,
)

REL = 1e-6
EEMT = {1: 27019.84766, 2: 4153.895362, 3: 5432.515927, 4: 6018.895195, 5: 1756.028304, 6: 1829.927560,
        7: 1078.522672, 8: 1032.048164}  # fmt: skip
PRODUCTION = {1: 3.244386e6, 2: 98.92178, 3: 124.0336, 4: 1.365901e5, 5: 7.408256, 6: 106.4, 7: 0.6745335, 8: 1.284125}


def pixel(zone: int, water: float, wind: float, curvature: float, **more: float) -> dict[str, float]:
    means = PUBLISHED_ZONES[zone]
    return {
        "mean_annual_temperature": means.mean_annual_temperature,
        "annual_precipitation": means.annual_precipitation,
        "water_erosion": water,
        "wind_erosion": wind,
        "general_curvature": curvature,
        **more,
    }


def field(shape: tuple[int, int] = (37, 53), seed: int = 3, dtype: str = "float64") -> xr.Dataset:
    """Layers with every kind of trouble: NaN, deposition, bare ground, shallow bedrock, unknown zones."""
    rng = np.random.default_rng(seed)

    def layer(values: np.ndarray) -> tuple[tuple[str, str], np.ndarray]:
        values = values.astype(dtype)
        values[rng.random(shape) < 0.03] = np.nan
        return ("y", "x"), values

    wind = np.where(rng.random(shape) < 0.1, 1e7, rng.uniform(0, 40, shape))
    data = xr.Dataset(
        {
            "mean_annual_temperature": layer(rng.uniform(-12, 20, shape)),
            "annual_precipitation": layer(rng.uniform(20, 1500, shape)),
            "water_erosion": layer(rng.uniform(0, 20, shape)),
            "wind_erosion": layer(wind),
            "general_curvature": layer(rng.normal(0, 0.03, shape)),
            "depth_to_bedrock": layer(rng.uniform(0.2, 8, shape)),
            "elevation": layer(rng.uniform(1500, 6000, shape)),
            "ndvi": layer(rng.uniform(0, 0.9, shape)),
            "zone": (("y", "x"), rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 255], shape).astype("uint8")),
            "soil_mask": (("y", "x"), (rng.random(shape) > 0.1).astype("uint8")),
        },
        coords={"y": np.arange(shape[0]) * -1000.0, "x": np.arange(shape[1]) * 1000.0},
    )
    return data


# ---------------------------------------------------------------- vectors


@pytest.mark.parametrize(
    ("temperature", "precipitation", "expected"),
    [
        (21.5, 4412, 347134),
        (0, 0, 1261.142992),
        (10, 1000, 24453.96863),
        (30, 2000, 89457.95765),
        (18, 1500, 75903.56366),
    ],
)
def test_eemt_vectors(temperature: float, precipitation: float, expected: float) -> None:
    assert solum.eemt(temperature, precipitation) == pytest.approx(expected, rel=REL)


@pytest.mark.parametrize("zone", range(1, 9))
def test_published_climates_and_parameters_forward(zone: int) -> None:
    means, values = PUBLISHED_ZONES[zone], PUBLISHED[zone]
    energy = solum.eemt(means.mean_annual_temperature, means.annual_precipitation)
    assert energy == pytest.approx(EEMT[zone], rel=REL)
    result = thickness(pixel(zone, 1, 1, 0), values)
    assert float(result.potential_production) / 1.35 == pytest.approx(PRODUCTION[zone], rel=REL)


UNIFORM = (1.120815267, 0.900054451, 0.773937060, 0.650340059, 0.719103118, 0.717567805, 0.746295994, 0.808873773)
MIXED = (1.163692693, 0.878878953, 0.834092142, 0.703840909, 0.756713999, 0.729930204, 0.659878996, 0.700827631)
WATER = (5, 0.5, 3, 5, 2, 2, 1, 10)
WIND = (0.1, 20, 2, 1, 10, 10, 30, 10)
RESPONSE = (172954, 32176, 68205, 80523, 4137, 10321, 81, 204)


@pytest.mark.parametrize("zone", range(1, 9))
def test_thickness_vectors(zone: int) -> None:
    uniform = thickness(pixel(zone, 2.76, 10, 1e-3), PUBLISHED[zone])
    mixed = thickness(pixel(zone, WATER[zone - 1], WIND[zone - 1], 0), PUBLISHED[zone])
    assert float(uniform.solum_thickness) == pytest.approx(UNIFORM[zone - 1], rel=REL)
    assert float(mixed.solum_thickness) == pytest.approx(MIXED[zone - 1], rel=REL)
    assert float(mixed.response_time) == pytest.approx(RESPONSE[zone - 1], rel=6e-3)  # printed to the year
    assert int(uniform.solum_status) == int(mixed.solum_status) == 0


def test_exact_vectors_of_zones_1_and_7() -> None:
    for curvature, erosion, expected in ((0, 2.197114637e-7, 1.163692693), (1e-3, 5.077114637e-7, 1.131863964)):
        result = thickness(pixel(1, 5, 0.1, curvature), PUBLISHED[1])
        assert float(result.erosion_rate) == pytest.approx(erosion, rel=REL)
        assert float(result.solum_thickness) == pytest.approx(expected, rel=REL)
    result = thickness(pixel(7, 1, 30, 0), PUBLISHED[7])
    assert float(result.erosion_rate) == pytest.approx(1.240278449e-3, rel=REL)
    assert float(result.solum_thickness) == pytest.approx(0.6598789960, rel=REL)
    deposits = thickness(pixel(7, 1, 30, -0.2), PUBLISHED[7])
    assert float(deposits.erosion_rate) == pytest.approx(-6.01121551e-4, rel=REL)
    assert int(deposits.solum_status) == 2
    assert np.isnan(float(deposits.response_time))


def test_unconverted_curvature_of_the_paper_changes_thickness() -> None:
    for zone, water, wind, plain, wrong in ((1, 5, 0.1, 1.132, 0.978), (7, 1, 30, 0.660, 0.604)):
        right = thickness(pixel(zone, water, wind, 0.1), PUBLISHED[zone], SolumOptions(curvature_convention="arcgis"))
        raw = thickness(pixel(zone, water, wind, 0.1), PUBLISHED[zone])
        assert float(right.solum_thickness) == pytest.approx(plain, abs=1e-3)
        assert float(raw.solum_thickness) == pytest.approx(wrong, abs=6e-4)
    laplacian = thickness(pixel(1, 5, 0.1, -1e-3), PUBLISHED[1], SolumOptions(curvature_convention="laplacian"))
    assert float(laplacian.solum_thickness) == pytest.approx(1.131863964, rel=REL)


@pytest.mark.parametrize(("rho", "expected"), [(1300, 7.692308e-5), (2764.99, 3.616650e-5)])
def test_a_tonne_a_hectare_lowers_the_surface(rho: float, expected: float) -> None:
    values = SolumParameters(0.5, rho, 1e-3, 0, 1, 0, 0, 0)
    assert float(thickness(pixel(1, 1, 0, 0), values).erosion_rate) == pytest.approx(expected, rel=REL)


def test_granite_is_bare_unless_water_erosion_is_weighted() -> None:
    granite = {"h0": 0.5, "rho_s": 1300, "a": 3.7e-5, "b": 3e-5, "beta": 0, "gamma": 0, "D": 0}
    bare = thickness(pixel(1, 2.76, 0, 0), SolumParameters(alpha=1, **granite))
    assert float(bare.potential_production) == pytest.approx(1.123499e-4, rel=REL)
    assert float(bare.erosion_rate) == pytest.approx(2.123077e-4, rel=REL)
    assert (float(bare.solum_thickness), int(bare.solum_status)) == (0.0, 1)
    raw = thickness(pixel(1, 2.76, 0, 0), SolumParameters(alpha=1, **granite), SolumOptions(keep_negative=True))
    assert float(raw.solum_thickness) == pytest.approx(0.5 * math.log(1.123499e-4 / 2.123077e-4), rel=REL)
    weighted = thickness(pixel(1, 2.76, 0, 0), SolumParameters(alpha=0.1, **granite))
    assert float(weighted.solum_thickness) == pytest.approx(0.833083, rel=REL)


TRANSIENT = [
    ((1e-4, 2e-5, 0.2, 1e4), 0.4869777986),
    ((1e-4, 2e-5, 0, 1e3), 0.07284704460),
    ((1e-4, 0, 0.2, 1e4), 0.6252122178),
    ((1e-4, -1e-5, 0.2, 1e4), 0.6976451855),
    ((1e-4, 2e-5, 1.5, 1e4), 1.357749125),
    ((1e-5, 4e-5, 0.3, 5e3), 0.1326502619),
    ((1e-4, 2e-5, 0.2, 1e9), 0.8047189562),
]


@pytest.mark.parametrize(("case", "expected"), TRANSIENT)
def test_transient_vectors(case: tuple[float, float, float, float], expected: float) -> None:
    production, lowering, start, years = case
    assert solum.evolve(start, production, lowering, 0.5, years) == pytest.approx(expected, rel=REL)


def test_bedrock_emerges_when_the_vector_says_and_stays() -> None:
    assert solum.time_to_bare(0.3, 1e-5, 4e-5, 0.5) == pytest.approx(9251.329205, rel=REL)
    assert solum.evolve(0.3, 1e-5, 4e-5, 0.5, 9251.32) > 0
    assert solum.evolve(0.3, 1e-5, 4e-5, 0.5, 9251.34) == 0
    assert solum.evolve(0.3, 1e-5, 4e-5, 0.5, 1e7) == 0
    assert solum.time_to_bare(0.3, 4e-5, 4e-5, 0.5) == math.inf
    assert solum.time_to_bare(0.3, 0, 1e-4, 0.5) == pytest.approx(3000)


# ---------------------------------------------------------------- laws and oracles


def runge_kutta(start: float, production: float, lowering: float, h0: float, years: float, steps: int = 4000) -> float:
    def rate(h: float) -> float:
        return production * math.exp(-h / h0) - lowering

    h, dt = start, years / steps
    for _ in range(steps):
        k1 = rate(h)
        k2 = rate(h + dt / 2 * k1)
        k3 = rate(h + dt / 2 * k2)
        k4 = rate(h + dt * k3)
        h += dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return h


@pytest.mark.parametrize("case", [case for case, _ in TRANSIENT[:6]])
def test_transient_against_runge_kutta(case: tuple[float, float, float, float]) -> None:
    production, lowering, start, years = case
    exact = solum.evolve(start, production, lowering, 0.5, years)
    assert exact == pytest.approx(runge_kutta(start, production, lowering, 0.5, years), rel=1e-9)


positive = st.floats(1e-6, 1e-3)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 3), positive, st.floats(-1e-3, 1e-3), st.floats(0.03, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_two_steps_are_one(h: float, r: float, e: float, h0: float, first: float, second: float) -> None:
    once = solum.evolve(h, r, e, h0, first + second)
    twice = solum.evolve_through(h, [(r, e, first), (r, e, second)], h0)
    assert twice == pytest.approx(once, rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(range(1, 9)), st.floats(-15, 20), st.floats(20, 2000), st.floats(0.01, 100), st.floats(0, 100),
       st.floats(-1e-4, 1e-2))  # fmt: skip
def test_mass_closes_at_the_steady_state(zone: int, t: float, p: float, water: float, wind: float, k: float) -> None:
    cell = {"mean_annual_temperature": t, "annual_precipitation": p, "water_erosion": water, "wind_erosion": wind}
    values = PUBLISHED[zone]
    result = thickness({**cell, "general_curvature": k}, values)
    h, e, r = (float(result[name]) for name in ("solum_thickness", "erosion_rate", "potential_production"))
    if int(result.solum_status) == 0:
        assert r * math.exp(-h / values.h0) == pytest.approx(e, rel=1e-9)
        later = solum.evolve(h, r, e, values.h0, 1e5)
        assert later == pytest.approx(h, rel=1e-9)
    elif int(result.solum_status) == 1:
        assert r <= e
    else:
        assert e <= 0


DIRECTION = {"mean_annual_temperature": 1, "annual_precipitation": 1, "water_erosion": -1, "wind_erosion": -1,
             "general_curvature": -1}  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(DIRECTION)),
    st.tuples(st.floats(-15, 20), st.floats(0, 4000), st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 0.5)),
    st.floats(1e-3, 1),
    st.sampled_from(range(1, 9)),
)
def test_thickness_is_monotone_in_each_input(name: str, start: tuple[float, ...], share: float, zone: int) -> None:
    cell = dict(zip(DIRECTION, start))
    room = {"mean_annual_temperature": 21.5, "annual_precipitation": 4412}.get(name, 2 * cell[name] + 1)
    more = {**cell, name: cell[name] + share * (room - cell[name])}
    first, second = thickness(cell, PUBLISHED[zone]), thickness(more, PUBLISHED[zone])
    if {int(first.solum_status), int(second.solum_status)} <= {0, 1}:
        change = float(second.solum_thickness) - float(first.solum_thickness)
        assert change * DIRECTION[name] >= -1e-12


def plain(cell: dict[str, float], values: SolumParameters) -> tuple[float, int]:
    """Eq. 8 transcribed without logarithms or options."""
    if any(math.isnan(value) for name, value in cell.items() if name in DIRECTION) or cell["soil_mask"] != 1:
        return math.nan, 255
    energy = 347134 * math.exp(
        -0.5
        * (
            ((cell["mean_annual_temperature"] - 21.5) / -10.1) ** 2
            + ((cell["annual_precipitation"] - 4412) / 1704) ** 2
        )
    )
    made = 1.35 * values.a * math.exp(values.b * energy)
    lost = values.alpha * cell["water_erosion"] / (10 * values.rho_s)
    lost += values.beta * cell["wind_erosion"] / (10 * values.rho_s)
    lost += values.gamma * values.D * cell["general_curvature"]
    code = 0
    if lost <= 0:
        h, code = 2.04, 2
    elif lost >= made:
        h, code = 0.0, 1
    else:
        h = -values.h0 * math.log(lost / made)
    if h > cell["depth_to_bedrock"]:
        h, code = cell["depth_to_bedrock"], code or 3
    return h, code


def test_field_equals_a_plain_transcription() -> None:
    data = field()
    result = thickness(data, PUBLISHED)
    codes = set()
    for y in range(data.sizes["y"]):
        for x in range(data.sizes["x"]):
            cell = {str(name): float(data[name][y, x]) for name in data.data_vars}
            zone = int(cell["zone"])
            h, code = plain(cell, PUBLISHED[zone]) if zone in PUBLISHED else (math.nan, 255)
            assert int(result.solum_status[y, x]) == code
            assert float(result.solum_thickness[y, x]) == pytest.approx(h, rel=1e-9, nan_ok=True)
            codes.add(code)
    assert codes == {0, 1, 2, 3, 255}
    counts = status_counts(result)
    assert counts.sum() == data.sizes["y"] * data.sizes["x"]
    assert (counts > 0).all()


def test_solum_and_saprolite_fill_the_regolith() -> None:
    data = field()
    result = thickness(data, PUBLISHED)
    known = result.saprolite_thickness.notnull()
    total = (result.solum_thickness + result.saprolite_thickness).where(known)
    np.testing.assert_allclose(total.values[known], data.depth_to_bedrock.values[known], rtol=1e-12)
    assert float(result.saprolite_thickness.min()) >= 0
    free = thickness(data, PUBLISHED, SolumOptions(cap_to_bedrock=False))
    assert (free.saprolite_thickness.fillna(-1) == result.saprolite_thickness.fillna(-1)).all()
    assert 3 not in free.solum_status
    assert np.isnan(thickness(data.drop_vars("depth_to_bedrock"), PUBLISHED).saprolite_thickness).all()


# ---------------------------------------------------------------- deposition and options


def test_what_deposition_gives() -> None:
    cell = pixel(7, 1, 30, -0.2)
    assert float(thickness(cell, PUBLISHED[7]).solum_thickness) == 2.04
    assert float(thickness({**cell, "depth_to_bedrock": 1.5}, PUBLISHED[7]).solum_thickness) == 1.5
    assert float(thickness(cell, PUBLISHED[7], SolumOptions(greatest_thickness_m=3)).solum_thickness) == 3
    strict = thickness({**cell, "depth_to_bedrock": 1.5}, PUBLISHED[7], SolumOptions(deposition="nan"))
    assert np.isnan(float(strict.solum_thickness))
    assert np.isnan(float(strict.saprolite_thickness))
    clipped = thickness(cell, PUBLISHED[7], SolumOptions(deposition="clip_gravity"))
    assert float(clipped.solum_thickness) == pytest.approx(0.6598789960, rel=REL)
    for result in (strict, clipped):
        assert int(result.solum_status) == 2
        assert float(result.erosion_rate) < 0


def test_dust_is_subtracted_and_minimum_erosion_marks_diverging_cells() -> None:
    plain_rate = float(thickness(pixel(1, 5, 0.1, 0), PUBLISHED[1]).erosion_rate)
    dusty = thickness(pixel(1, 5, 0.1, 0), PUBLISHED[1], SolumOptions(dust_input=1e-7))
    assert float(dusty.erosion_rate) == pytest.approx(plain_rate - 1e-7, rel=1e-12)
    assert float(dusty.solum_thickness) > 1.163692693
    assert int(thickness(pixel(1, 5, 0.1, 0), PUBLISHED[1], SolumOptions(least_erosion=1e-6)).solum_status) == 2


def test_nothing_overflows_at_the_upper_bound_of_b() -> None:
    steep = SolumParameters(0.5, 2900, 100, 0.1, 1, 1, 1, 0.01)
    result = thickness(pixel(1, 5, 0.1, 0), steep)
    expected = 0.5 * (math.log(135) + 0.1 * EEMT[1] - math.log(5.1 / 29000))
    assert float(result.solum_thickness) == pytest.approx(expected, rel=REL)
    wide = field(dtype="float32").drop_vars("depth_to_bedrock")
    maps = thickness(wide, steep)
    assert not np.isinf(maps.potential_production).any()
    beyond = np.isnan(maps.potential_production) & (maps.solum_status != 255)
    assert beyond.any()
    assert (maps.production_status.values[beyond.values] == 2).all()


@pytest.mark.parametrize(("a", "code"), [(1e-5, 0), (7e-4, 0), (8e-4, 1), (0.7, 1), (0.8, 2), (100.0, 2)])
def test_production_that_is_no_rate_of_weathering_is_flagged(a: float, code: int) -> None:
    """1e-3 m a-1 is the end of measured rates and 1 m a-1 unphysical; r a at b = 0, with r = 1.35."""
    result = thickness(pixel(1, 5, 0.1, 0), SolumParameters(0.5, 1300, a, 0, 1, 1, 1, 0.01))
    assert float(result.potential_production) == pytest.approx(1.35 * a)
    assert int(result.production_status) == code
    assert result.production_status.attrs["flag_meanings"] == "within_literature above_literature unphysical"


# ---------------------------------------------------------------- kinds of input


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chunks", [(37, 53), (10, 7), (1, 53), ((3, 30, 4), (50, 1, 2))])
def test_lazy_equals_eager_bit_for_bit(dtype: str, chunks: tuple[int, int]) -> None:
    data = field(dtype=dtype)
    before = data.copy(deep=True)
    eager = thickness(data, PUBLISHED)
    lazy = thickness(data.chunk(dict(zip("yx", chunks))), PUBLISHED)
    xr.testing.assert_identical(lazy.compute(), eager)
    xr.testing.assert_identical(data, before)
    assert {name: eager[name].dtype for name in eager} == {
        name: np.dtype("uint8") if name.endswith(("_status", "_process")) else np.dtype(dtype) for name in eager
    }
    xr.testing.assert_identical(published_zones(data.chunk(dict(zip("yx", chunks)))).compute(), published_zones(data))
    assert eager.solum_status.attrs["flag_meanings"] == "steady bare no_steady_state capped_at_bedrock"
    assert eager.solum_thickness.attrs["units"] == "m"


def test_nothing_is_computed_while_a_graph_is_built() -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("computed")

    data = field().chunk(y=10, x=10)
    with dask.config.set(scheduler=refuse):
        result = thickness(data.assign(zone=published_zones(data)), PUBLISHED)
        solum.eemt(data.mean_annual_temperature, data.annual_precipitation)
        solum.evolve(result.solum_thickness, result.potential_production, result.erosion_rate, 0.1, 1e3)
        solum.time_to_bare(result.solum_thickness, result.potential_production, result.erosion_rate, 0.1)
        with pytest.raises(RuntimeError, match="computed"):
            result.compute()


def test_scalar_numpy_labelled_and_lazy_agree() -> None:
    data = field().drop_vars(["zone", "soil_mask"])
    t, p = data.mean_annual_temperature, data.annual_precipitation
    labelled = solum.eemt(t, p)
    assert isinstance(labelled, xr.DataArray)
    plain_array = solum.eemt(t.values, p.values)
    assert isinstance(plain_array, np.ndarray)
    lazy = solum.eemt(da.from_array(t.values, chunks=10), da.from_array(p.values, chunks=10))
    np.testing.assert_array_equal(plain_array, labelled.values)
    np.testing.assert_array_equal(lazy.compute(), plain_array)
    one = solum.eemt(float(t[2, 3]), float(p[2, 3]))
    assert isinstance(one, float)
    assert one == plain_array[2, 3]
    np.testing.assert_array_equal(solum.eemt(t.values, 500.0), solum.eemt(t.values, np.full(t.shape, 500.0)))
    assert solum.eemt(t.values.astype("float32"), p.values.astype("float32")).dtype == np.float32
    point = {str(name): float(data[name][2, 3]) for name in data.data_vars}
    whole, single = thickness(data, PUBLISHED[3]), thickness(point, PUBLISHED[3])
    mapping = thickness({str(name): data[name].values for name in data.data_vars}, PUBLISHED[3])
    for name in whole:
        assert float(single[name]) == pytest.approx(float(whole[name][2, 3]), rel=0, abs=0, nan_ok=True)
        np.testing.assert_array_equal(mapping[name].values, whole[name].values)
    later = solum.evolve(whole.solum_thickness, whole.potential_production, whole.erosion_rate, 0.043, 500.0)
    arrays = [whole[name].values for name in ("solum_thickness", "potential_production", "erosion_rate")]
    np.testing.assert_array_equal(later.values, solum.evolve(*arrays, 0.043, 500.0))
    y, x = map(int, np.argwhere(np.isfinite(later.values))[5])
    assert solum.evolve(*(float(a[y, x]) for a in arrays), 0.043, 500.0) == float(later[y, x])


def test_constants_mix_with_rasters() -> None:
    data = field()
    data["water_erosion"] = 2.76
    data["wind_erosion"] = 10.0
    result = thickness(data, PUBLISHED)
    full = data.assign(water_erosion=xr.full_like(data.ndvi, 2.76), wind_erosion=xr.full_like(data.ndvi, 10.0))
    np.testing.assert_array_equal(result.solum_thickness, thickness(full, PUBLISHED).solum_thickness)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64"])
def test_zones_of_any_type_and_missing_ones(dtype: str) -> None:
    zone = np.array([[1, 2, 8], [255, 9, 0]], float)
    cells = {name: np.full((2, 3), value) for name, value in pixel(1, 5, 0.1, 0).items()}
    if dtype.startswith("float"):
        zone[1] = [np.nan, 2.5, -1]
    result = thickness({**cells, "zone": zone.astype(dtype)}, PUBLISHED)
    assert result.solum_status.values.tolist() == [[0, 0, 0], [255, 255, 255]]
    assert np.isnan(result.solum_thickness.values[1]).all()
    assert np.isfinite(result.solum_thickness.values[0]).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool"])
def test_soil_mask_is_respected(dtype: str) -> None:
    cells = {name: np.full((1, 4), value) for name, value in pixel(1, 5, 0.1, 0).items()}
    mask = np.array([[1, 0, 1, 0]]).astype(dtype)
    result = thickness({**cells, "soil_mask": mask}, PUBLISHED[1])
    assert result.solum_status.values.tolist() == [[0, 255, 0, 255]]
    if dtype != "bool":  # nodata and anything but 1 is no soil
        strange = np.array([[1, 255 if dtype == "uint8" else np.nan, 2, 0]]).astype(dtype)
        assert thickness({**cells, "soil_mask": strange}, PUBLISHED[1]).solum_status.values.tolist() == [
            [0, 255, 255, 255]
        ]
    for name in result:
        if name not in {"solum_status", "production_status", "dominant_process", "saprolite_thickness"}:
            assert np.isnan(result[name].values[0, 1]), name


@pytest.mark.parametrize(("shape", "chunks"), [((1, 1), (1, 1)), ((1, 7), (1, 3)), ((0, 5), (1, 5))])
def test_odd_shapes(shape: tuple[int, int], chunks: tuple[int, int]) -> None:
    data = field((4, 7)).isel(y=slice(0, shape[0]), x=slice(0, shape[1]))
    eager = thickness(data, PUBLISHED)
    xr.testing.assert_identical(thickness(data.chunk(dict(zip("yx", chunks))), PUBLISHED).compute(), eager)


# ---------------------------------------------------------------- published zones


def test_each_published_mean_is_its_own_zone() -> None:
    for zone, means in PUBLISHED_ZONES.items():
        names = ("elevation", "mean_annual_temperature", "annual_precipitation", "ndvi")
        assert int(published_zones({name: getattr(means, name) for name in names})) == zone


def test_zones_are_the_nearest_scaled_means() -> None:
    data = field()
    names = ["elevation", "mean_annual_temperature", "annual_precipitation", "ndvi"]
    centres = np.array([[getattr(means, name) for name in names] for means in PUBLISHED_ZONES.values()])
    values = np.stack([data[name].values for name in names], axis=-1)
    distance = (((values[..., None, :] - centres) / centres.std(axis=0)) ** 2).sum(axis=-1)
    valid = np.isfinite(distance).all(axis=-1) & (data.soil_mask.values == 1)
    expected = np.where(valid, distance.argmin(axis=-1) + 1, 255)
    zone = published_zones(data)
    assert zone.dtype == np.uint8
    np.testing.assert_array_equal(zone.values, expected)


# ---------------------------------------------------------------- bad input


def test_published_parameters_are_frozen() -> None:
    with pytest.raises(AttributeError):
        PUBLISHED[1].h0 = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        PUBLISHED[1] = PUBLISHED[2]  # type: ignore[index]
    assert sum(zone.profiles for zone in PUBLISHED_ZONES.values()) == 522
    pooled = [(z.profiles, z.rmse) for z in PUBLISHED_ZONES.values() if math.isfinite(z.rmse)]
    assert sum(n for n, _ in pooled) == 518
    assert math.sqrt(sum(n * r * r for n, r in pooled) / 518) == pytest.approx(0.353076, abs=5e-7)  # printed digits


def test_every_wrong_parameter_is_named() -> None:
    with pytest.raises(InputError, match=r"h0 is 0, expected at least 0.001.*alpha is 2.*D is nan"):
        SolumParameters(0, 2500, 1, 0, 2, 0, 0, math.nan)
    with pytest.raises(InputError, match="rho_s is 'heavy', expected a number"):
        SolumParameters(0.1, "heavy", 1, 0, 1, 0, 0, 0)  # type: ignore[arg-type]


def test_thickness_after_a_time_is_not_described_as_steady() -> None:
    start = xr.DataArray(0.2)
    for thickness_then in (start, xr.DataArray([0.2], dims="cell")):
        later = solum.evolve(thickness_then, 1e-4, 2e-5, 0.5, 1e4)
        assert later.attrs["comment"] == "surface to the top of the C horizon, after a given time"
        assert later.values.ravel().tolist() == [solum.evolve(0.2, 1e-4, 2e-5, 0.5, 1e4)]


def test_numbers_out_of_domain_raise() -> None:
    with pytest.raises(InputError, match="annual_precipitation is -1 mm"):
        solum.eemt(5.0, -1.0)
    with pytest.raises(UnitsError, match="looks like kelvin"):
        solum.eemt(283.15, 500.0)
    with pytest.raises(InputError, match="water_erosion is -2"):
        thickness(pixel(1, -2, 0, 0), PUBLISHED[1])
    with pytest.raises(InputError, match="h0 > 0"):
        solum.evolve(0.2, 1e-4, 1e-5, 0.0, 10.0)
    with pytest.raises(InputError, match="years=-1"):
        solum.evolve(0.2, 1e-4, 1e-5, 0.5, -1.0)
    assert math.isnan(solum.eemt(math.nan, 500.0))
    assert math.isnan(solum.evolve(math.nan, 1e-4, 1e-5, 0.5, 10.0))


def test_rasters_out_of_domain_are_nan_and_flagged() -> None:
    cells = {name: np.full((2, 3), float(value)) for name, value in pixel(1, 5, 0.1, 0).items()}
    cells["annual_precipitation"][0] = [-1, np.inf, 400]
    cells["mean_annual_temperature"][1] = [300, -9999, 5]
    cells["water_erosion"][0, 2] = -1
    result = thickness(cells, PUBLISHED[1])
    assert result.solum_status.values.tolist() == [[255, 255, 255], [255, 255, 0]]
    energy = solum.eemt(cells["mean_annual_temperature"], cells["annual_precipitation"])
    assert np.isnan(energy).tolist() == [[True, True, False], [True, True, False]]
    assert np.isnan(solum.evolve(np.array([-1.0, 0.5]), 1e-4, 1e-5, 0.5, 10.0)).tolist() == [True, False]


def test_units_are_checked_at_the_border() -> None:
    data = field()
    kelvin = data.assign(mean_annual_temperature=data.mean_annual_temperature + 273.15)
    for layers in (kelvin, data.assign(mean_annual_temperature=data.mean_annual_temperature.assign_attrs(units="K"))):
        with pytest.raises(UnitsError, match=r"mean_annual_temperature .* expected '?degC"):
            thickness(layers, PUBLISHED[1])
    with pytest.raises(UnitsError, match="units 'K', expected 'degC'"):
        thickness(layers.chunk(), PUBLISHED[1])
    for depth in (data.depth_to_bedrock * 100, (data.depth_to_bedrock * 0 + 2.0).assign_attrs(units="cm")):
        with pytest.raises(UnitsError, match="depth_to_bedrock"):
            thickness(data.assign(depth_to_bedrock=depth), PUBLISHED[1])
    deep = (data.depth_to_bedrock * 100).assign_attrs(units="m")
    assert not (thickness(data.assign(depth_to_bedrock=deep), PUBLISHED[1]).solum_status == 3).any()


def test_missing_layers_are_listed_at_once() -> None:
    data = field().rename(water_erosion="water_erosoin").drop_vars("wind_erosion")
    with pytest.raises(MissingInputError, match=r"(?s)2 needed.*water_erosion; did you mean 'water_erosoin'.*wind_"):
        thickness(data, PUBLISHED[1])
    with pytest.raises(MissingInputError, match="no layer 'zone'"):
        thickness(field().drop_vars("zone"), PUBLISHED)
    with pytest.raises(MissingInputError, match="ndvi"):
        published_zones(field().drop_vars("ndvi"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curvature_convention": "convex"}, "curvature_convention is 'convex'"),
        ({"deposition": "drop"}, "deposition is 'drop'"),
        ({"greatest_thickness_m": -1}, "greatest_thickness_m is -1"),
        ({"dust_input": math.nan}, "dust_input is nan"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        thickness(field(), PUBLISHED[1], SolumOptions(**options))  # type: ignore[arg-type]


def test_wrong_containers() -> None:
    with pytest.raises(InputError, match=r"expected an xarray\.Dataset"):
        thickness(np.zeros(3), PUBLISHED[1])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected SolumParameters"):
        thickness(field(), {})
    with pytest.raises(InputError, match=r"parameters\['one'\]|parameters\[1\]"):
        thickness(field(), {1: "parameters"})  # type: ignore[dict-item]
    data = field()
    other = data.water_erosion.assign_coords(x=data.x + 1)
    with pytest.raises(GridError):
        published_zones({**{str(n): data[n] for n in data.data_vars}, "ndvi": other.rename("ndvi")})
    assert issubclass(GridError, TpsoilError)


def test_without_jit() -> None:
    code = (
        "from tests.test_solum_thickness import *\n"
        "data = field((6, 7))\n"
        "print(repr(thickness(data, PUBLISHED).solum_thickness.values.tolist()))\n"
        "print(repr(published_zones(data).values.tolist()))\n"
        "print([solum.evolve(s, r, e, 0.5, y) for (r, e, s, y), _ in TRANSIENT])\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=root, check=True)
    data, nan = field((6, 7)), math.nan
    heights, zones, later = (eval(line, {"nan": nan}) for line in done.stdout.splitlines())
    np.testing.assert_allclose(heights, thickness(data, PUBLISHED).solum_thickness.values, rtol=1e-13)
    np.testing.assert_array_equal(zones, published_zones(data).values)
    np.testing.assert_allclose(later, [solum.evolve(s, r, e, 0.5, y) for (r, e, s, y), _ in TRANSIENT], rtol=1e-13)
    assert pedogenesis.NODATA == 255


@pytest.mark.parametrize(("water", "wind", "curvature", "process"), [
    (5.0, 0.1, 0.0, "water"), (0.1, 30.0, 0.0, "wind"), (0.1, 0.1, 0.05, "gravity"), (0.0, 0.0, -0.01, "none"),
    (0.0, 0.0, 0.0, "none"),
])  # fmt: skip
def test_the_dominant_process_is_the_greatest_term_of_erosion(
    water: float, wind: float, curvature: float, process: str
) -> None:
    result = thickness(pixel(1, water, wind, curvature), PUBLISHED[1])
    names = result.dominant_process.attrs["flag_meanings"].split()
    assert names[int(result.dominant_process)] == process
    missing = thickness(pixel(1, np.nan, wind, curvature), PUBLISHED[1])
    assert int(missing.dominant_process) == 255


def test_simulated_profiles_follow_the_published_parameters() -> None:
    axes = coordinates(plateau_grid(200_000))
    shape = (axes["y"].size, axes["x"].size)
    rng = np.random.default_rng(0)
    values = {
        "mean_annual_temperature": rng.normal(0, 4, shape),
        "annual_precipitation": rng.uniform(200, 800, shape),
        "general_curvature": np.zeros(shape),
        "water_erosion": np.full(shape, 3.0),
        "wind_erosion": np.full(shape, 8.0),
        "zone": rng.integers(2, 8, shape),
    }
    layers = xr.Dataset({name: (("y", "x"), value) for name, value in values.items()}, axes)
    profiles = simulated_profiles(layers, [3, 6], per_zone=6, noise_m=0.0)
    assert profiles.groupby("zone").size().to_dict() == {3: 6, 6: 6}
    assert profiles.attrs["simulated"]
    assert profiles["water_erosion"].nunique() == 12
    for zone, rows in profiles.groupby("zone"):
        inputs = {name: rows[name].to_numpy() for name in values if name != "zone"}
        expected = np.asarray(solum.thickness(inputs, solum.PUBLISHED[zone])["solum_thickness"])
        np.testing.assert_allclose(rows["solum_thickness"], expected)
    noisy = simulated_profiles(layers, [3, 6], per_zone=6, noise_m=0.02)
    assert 0 < (noisy["solum_thickness"] - profiles["solum_thickness"]).std() < 0.05
    pd.testing.assert_frame_equal(noisy, simulated_profiles(layers, [3, 6], per_zone=6, noise_m=0.02))


def test_codes_of_missing_cells_in_attributes_are_missing() -> None:
    layers = field()
    layers["water_erosion"][3, 5] = np.nan
    coded = layers.copy()
    coded["water_erosion"] = layers["water_erosion"].fillna(1e20).assign_attrs(missing_value=1e20)
    xr.testing.assert_equal(thickness(coded, PUBLISHED), thickness(layers, PUBLISHED))
