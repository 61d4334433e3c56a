"""Uncertain forcing: random fields, quantiles, calibration under each draw, coverage of a simulated truth, variance."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import tpsoil
from tpsoil.errors import GridError, InputError, RecipeError, UnitsError
from tpsoil.grid import coordinates, grid_from_bounds, plateau_grid
from tpsoil.kernels import forcing as kernel
from tpsoil.recipes import result_tables
from tpsoil.solum import (
    PUBLISHED,
    Effort,
    ForcedCalibration,
    ForcingSource,
    SolumOptions,
    SolumParameters,
    calibrate_forced,
    forced_ensembles,
    forced_thickness,
    forcing_variance,
    thickness,
)
from tpsoil.solum.forcing import Draws, lattice_numbers

PHYSICAL = SolumParameters(h0=0.3, rho_s=1300, a=2e-4, b=3e-5, alpha=0.1, beta=0.02, gamma=1.0, D=5e-3)
FIELD = ForcingSource("water_erosion", "lognormal", 0.6, "relative", range_m=120_000)
CONSTANT = ForcingSource("wind_erosion", "uniform", 0.5, "relative")
SOURCES = (
    FIELD,
    CONSTANT,
    ForcingSource("mean_annual_temperature", "normal", 1.5, "degC", range_m=300_000),
    ForcingSource("annual_precipitation", "normal", 60, "mm"),
    ForcingSource("general_curvature", "lognormal", 0.3, "relative"),
    ForcingSource("depth_to_bedrock", "uniform", 50, "cm", range_m=50_000),
)


def landscape(step: int = 20_000, rows: int = 40, columns: int = 60, seed: int = 0) -> xr.Dataset:
    grid = plateau_grid(step)[:rows, :columns]
    rng = np.random.default_rng(seed)
    shape = grid.shape
    layers = {
        "mean_annual_temperature": (rng.uniform(-5, 12, shape), "degC"),
        "annual_precipitation": (rng.uniform(150, 1100, shape), "mm"),
        "water_erosion": (rng.uniform(1, 9, shape), "t ha-1 a-1"),
        "wind_erosion": (rng.uniform(0.5, 20, shape), "t ha-1 a-1"),
        "general_curvature": (rng.normal(0, 3e-4, shape), "m-1"),
        "depth_to_bedrock": (rng.uniform(1, 40, shape), "m"),
    }
    data = {name: (("y", "x"), values.astype("float32"), {"units": unit}) for name, (values, unit) in layers.items()}
    return xr.Dataset(data, coords=coordinates(grid))


# -- random numbers and fields


def test_lattice_numbers_are_standard_independent_and_the_same_in_every_window() -> None:
    keys = np.array([3, 99], np.uint64)
    numbers = lattice_numbers(keys, np.arange(-60, 60), np.arange(-80, 40))
    for k in range(2):
        values = numbers[..., k].ravel()
        assert abs(values.mean()) < 4 / math.sqrt(values.size)
        assert values.std() == pytest.approx(1, abs=0.02)
        assert stats.kurtosis(values) == pytest.approx(-0.15, abs=0.12)
    neighbours = (
        numbers[:-1, :, 0] * numbers[1:, :, 0],
        numbers[:, :-1, 0] * numbers[:, 1:, 0],
        numbers[..., 0] * numbers[..., 1],
    )
    assert all(abs(one.mean()) < 4 / math.sqrt(one.size) for one in neighbours)
    np.testing.assert_array_equal(lattice_numbers(keys, np.arange(5, 9), np.arange(-3, 2)), numbers[65:69, 77:82])


def test_a_field_has_the_stated_variance_distribution_and_range() -> None:
    draws = Draws((ForcingSource("water_erosion", "normal", 1.0, "relative", range_m=100_000),), 4000, seed=5)
    x = np.array([1e6, 1.013e6, 1.05e6, 1.1e6, 1.2e6, 1.4e6])
    z = draws.at(np.full(x.size, 3e5), x)[:, 0]
    assert z.mean() == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(z.std(axis=1), 1, atol=0.04)
    np.testing.assert_allclose(np.quantile(z, [0.05, 0.95]), stats.norm.ppf([0.05, 0.95]), atol=0.04)
    correlation = np.corrcoef(z)[0]
    assert correlation[1] > 0.9
    assert correlation[3] == pytest.approx(0.05, abs=0.05)  # at the range
    assert abs(correlation[4:]).max() < 0.05


def test_another_seed_or_layer_gives_another_field() -> None:
    place = (np.array([3e5]), np.array([1e6]))
    one, again = (Draws((FIELD,), 5, seed=1).at(*place) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert (one != Draws((FIELD,), 5, seed=2).at(*place)).all()
    other = ForcingSource("wind_erosion", "lognormal", 0.6, "relative", range_m=120_000)
    assert (one != Draws((other,), 5, seed=1).at(*place)).all()


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        (ForcingSource("water_erosion", "normal", 0.2, "relative"), 5.0, [4.0, 5.0, 6.0]),
        (ForcingSource("water_erosion", "normal", 2.0, "relative"), 5.0, [0.0, 5.0, 15.0]),  # no negative erosion
        (ForcingSource("water_erosion", "lognormal", 0.5, "relative"), 5.0, [5 * math.exp(-0.5), 5, 5 * math.exp(0.5)]),
        (ForcingSource("wind_erosion", "uniform", 0.5, "relative"), 8.0, [5.269244, 8, 10.730756]),
        (ForcingSource("mean_annual_temperature", "normal", 1.5, "K"), -3.0, [-4.5, -3, -1.5]),
        (ForcingSource("depth_to_bedrock", "normal", 50.0, "cm"), 0.3, [0.0, 0.3, 0.8]),
        (ForcingSource("general_curvature", "normal", 1e-3, "m-1"), 5e-4, [-5e-4, 5e-4, 1.5e-3]),
    ],
)  # fmt: skip
def test_a_number_changes_a_layer_as_stated(source: ForcingSource, value: float, expected: list[float]) -> None:
    at = int(Draws((source,), 2).targets[0])
    changed = [kernel.perturbed(value, z, source.kind, source.scaled_spread, at) for z in (-1.0, 0.0, 1.0)]
    np.testing.assert_allclose(changed, expected, rtol=1e-6)


# -- maps


def by_hand(layers: xr.Dataset, sources: tuple[ForcingSource, ...], draws: int, seed: int) -> np.ndarray:
    """Thickness (draws, y, x) with the public steady-state model on layers that are changed one draw at a time."""
    y, x = np.meshgrid(layers["y"].values, layers["x"].values, indexing="ij")
    z = Draws(sources, draws, seed).at(y.ravel(), x.ravel())
    maps = []
    for d in range(draws):
        changed = layers.astype("float64")
        for s, source in enumerate(sources):
            at = int(Draws(sources, draws).targets[s])
            values = [
                kernel.perturbed(float(v), float(n), source.kind, source.scaled_spread, at)
                for v, n in zip(layers[source.layer].values.ravel(), z[:, s, d])
            ]
            changed[source.layer] = layers[source.layer].copy(data=np.reshape(values, y.shape))
        result = thickness(changed, PHYSICAL, SolumOptions(deposition="nan"))
        maps.append(result.solum_thickness.values)
    return np.stack(maps)


def test_quantiles_equal_those_of_separate_maps() -> None:
    layers = landscape(rows=7, columns=9)
    ensembles = forced_ensembles(PHYSICAL, SOURCES, draws=40, seed=3)
    maps = forced_thickness(layers, ensembles)
    each = by_hand(layers, SOURCES, 40, 3)
    for p, name in ((0.05, "p05"), (0.5, "p50"), (0.95, "p95")):
        expected = np.where(np.isfinite(each).mean(axis=0) >= 0.5, np.nanquantile(each, p, axis=0), np.nan)
        np.testing.assert_allclose(maps[f"solum_thickness_forced_{name}"], expected, atol=1e-5)
    share = maps["solum_thickness_forced_no_steady_state_share"].values
    np.testing.assert_allclose(share, np.isnan(each).mean(axis=0), atol=1e-6)
    assert maps.attrs["forcing_water_erosion"].startswith("lognormal factor")


def test_chunks_do_not_change_the_bytes_and_nothing_is_computed_early() -> None:
    import dask

    layers = landscape()
    ensembles = forced_ensembles(PHYSICAL, SOURCES, draws=30)
    whole = forced_thickness(layers, ensembles)
    with dask.config.set(scheduler=lambda *_, **__: 1 / 0):
        lazy = forced_thickness(layers.chunk({"y": 13, "x": 17}), ensembles)
    for name, layer in lazy.compute().items():
        assert layer.values.tobytes() == whole[name].values.tobytes()
    window = forced_thickness(layers.isel(y=slice(5, 22), x=slice(31, 60)), ensembles)
    for name, layer in window.items():
        assert layer.values.tobytes() == np.ascontiguousarray(whole[name].values[5:22, 31:60]).tobytes()


def test_masked_cells_and_zones_without_parameters_are_empty() -> None:
    layers = landscape(rows=4, columns=4)
    zone = np.full((4, 4), 1, "uint8")
    zone[0], zone[1] = 9, 2
    mask = np.ones((4, 4), "uint8")
    mask[3] = 0
    layers = layers.assign(zone=(("y", "x"), zone), soil_mask=(("y", "x"), mask))
    maps = forced_thickness(layers, forced_ensembles({1: PHYSICAL, 2: PHYSICAL}, [FIELD], draws=20))
    known = np.isfinite(maps["solum_thickness_forced_p50"].values)
    assert not known[0].any()
    assert not known[3].any()
    assert known[2].any()


# -- a simulated truth


def simulated_truth(seed: int) -> tuple[xr.Dataset, xr.Dataset, pd.DataFrame]:
    """Known layers, the same with the true erosion, and profiles on the truth with 3 cm of noise."""
    known = landscape(seed=seed).drop_vars("depth_to_bedrock")
    known["general_curvature"] = abs(known["general_curvature"])
    y, x = np.meshgrid(known["y"].values, known["x"].values, indexing="ij")
    z = Draws((FIELD,), 2, seed=1000 + seed).at(y.ravel(), x.ravel())[:, 0, 0].reshape(y.shape)
    truth = known.assign(water_erosion=known["water_erosion"] * np.exp(FIELD.spread * z).astype("float32"))
    truth["water_erosion"].attrs = known["water_erosion"].attrs
    thick = thickness(truth, PHYSICAL).solum_thickness
    rng = np.random.default_rng(seed)
    at = rng.choice(y.size, 80, replace=False)
    profiles = pd.DataFrame({"x": x.ravel()[at], "y": y.ravel()[at]})
    profiles["solum_thickness"] = thick.values.ravel()[at] + rng.normal(0, 0.03, at.size)
    return known, truth, profiles[profiles["solum_thickness"] > 0.01].reset_index(drop=True)


def coverage(maps: xr.Dataset, truth: xr.Dataset) -> float:
    low, high = maps["solum_thickness_forced_p05"].values, maps["solum_thickness_forced_p95"].values
    thick = thickness(truth, PHYSICAL).solum_thickness.values
    return float(((thick >= low) & (thick <= high))[np.isfinite(low)].mean())


def test_intervals_cover_the_truth_with_the_source_and_not_without(capsys: pytest.CaptureFixture[str]) -> None:
    """Parameters known: the intervals of 20 simulated truths."""
    small = ForcingSource("annual_precipitation", "normal", 0.001, "relative")
    with_source, without = [], []
    for seed in range(20):
        known, truth, _ = simulated_truth(seed)
        with_source.append(coverage(forced_thickness(known, forced_ensembles(PHYSICAL, [FIELD], draws=100)), truth))
        without.append(coverage(forced_thickness(known, forced_ensembles(PHYSICAL, [small], draws=100)), truth))
    with capsys.disabled():
        print(f"\ncoverage of P05-P95, parameters known: {np.mean(with_source):.3f} with erosion, "
              f"{np.mean(without):.3f} without")  # fmt: skip
    assert np.mean(with_source) == pytest.approx(0.90, abs=0.03)
    assert np.mean(without) < 0.1


HOW = ForcedCalibration(preset="physical", problem="five", members=2, effort=Effort(complexes=3, evaluations=1500))
NONE = ForcingSource("annual_precipitation", "normal", 0.001, "relative", range_m=500_000)


def test_calibrated_intervals_cover_the_truth_with_the_source_and_not_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Parameters calibrated on 80 profiles: with the uncertain erosion, and as if it were known."""
    with_source, without = [], []
    for seed in range(4):
        known, truth, profiles = simulated_truth(seed)
        for source, results in ((FIELD, with_source), (NONE, without)):
            ensembles = calibrate_forced(profiles, known, [source], draws=100, settings=HOW)
            assert not ensembles.recalibrated
            results.append(coverage(forced_thickness(known, ensembles), truth))
    with capsys.disabled():
        print(f"\ncoverage of P05-P95, calibrated: {np.mean(with_source):.3f} with erosion, "
              f"{np.mean(without):.3f} without")  # fmt: skip
    assert np.mean(with_source) == pytest.approx(0.90, abs=0.05)
    assert np.mean(without) < 0.6


def test_parameters_take_up_an_error_that_is_the_same_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """True erosion is 1.8 times the known one: draws with their own parameters agree, independent ones do not."""
    known, _, _ = simulated_truth(0)
    truth = known.assign(water_erosion=(known["water_erosion"] * 1.8).assign_attrs(known["water_erosion"].attrs))
    y, x = np.meshgrid(known["y"].values, known["x"].values, indexing="ij")
    at = np.random.default_rng(1).choice(y.size, 80, replace=False)
    profiles = pd.DataFrame({"x": x.ravel()[at], "y": y.ravel()[at]})
    profiles["solum_thickness"] = thickness(truth, PHYSICAL).solum_thickness.values.ravel()[at]
    profiles["solum_thickness"] += np.random.default_rng(2).normal(0, 0.03, at.size)
    profiles = profiles[profiles["solum_thickness"] > 0.01]
    source = ForcingSource("water_erosion", "lognormal", 0.6, "relative")
    paired = calibrate_forced(profiles, known, [source], draws=20, settings=HOW)
    assert paired.recalibrated
    assert len(paired.draw) == 40
    independent = forced_ensembles(paired.ensembles, [source], paired.options, draws=40)
    maps = {name: forced_thickness(known, one) for name, one in (("paired", paired), ("independent", independent))}
    width = {
        name: float((one["solum_thickness_forced_p95"] - one["solum_thickness_forced_p05"]).mean())
        for name, one in maps.items()
    }
    with capsys.disabled():
        print(f"\nwidth of P05-P95, m: {width}; coverage {coverage(maps['paired'], truth):.3f}")
    assert width["paired"] < 0.4 * width["independent"]
    assert coverage(maps["paired"], truth) > 0.75


# -- shares of the variance


def test_shares_of_the_variance_equal_the_closed_form() -> None:
    """With water erosion alone h = h0 (ln R - ln E): logarithmic errors of R and E add up."""
    layers = landscape(rows=5, columns=5).drop_vars("depth_to_bedrock")
    layers["wind_erosion"] *= 0
    layers["general_curvature"] *= 0
    sources = [
        ForcingSource("water_erosion", "lognormal", 0.3, "relative"),
        ForcingSource("annual_precipitation", "normal", 50, "mm"),
    ]
    ensembles = forced_ensembles(PHYSICAL, sources, SolumOptions(keep_negative=True))
    table = forcing_variance(layers, ensembles, draws=4000).set_index("source")
    assert table.loc["water_erosion", "sd_alone_m"] == pytest.approx(PHYSICAL.h0 * 0.3, rel=0.03)
    precipitation = layers["annual_precipitation"].values.astype(float).ravel()
    temperature = layers["mean_annual_temperature"].values.astype(float).ravel()
    numbers = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    from tpsoil.solum import eemt

    variances = [
        np.var(PHYSICAL.h0 * PHYSICAL.b * eemt(np.full(4000, t), p + 50 * numbers))
        for t, p in zip(temperature, precipitation)
    ]
    assert table.loc["annual_precipitation", "sd_alone_m"] == pytest.approx(math.sqrt(np.mean(variances)), rel=0.05)
    whole = (PHYSICAL.h0 * 0.3) ** 2 + np.mean(variances)
    for column in ("share_alone", "first_order", "total_order"):
        assert table.loc["water_erosion", column] == pytest.approx((PHYSICAL.h0 * 0.3) ** 2 / whole, abs=0.03)
    assert table.loc["all", "first_order"] == pytest.approx(1, abs=0.04)
    assert table.loc["all", "sd_alone_m"] == pytest.approx(math.sqrt(whole), rel=0.03)


def test_parameters_are_a_source_and_interactions_lower_the_sum() -> None:
    layers = landscape(rows=6, columns=6)
    two = {1: PHYSICAL}
    ensembles = forced_ensembles(two, SOURCES, draws=30)
    zoned = layers.assign(zone=(("y", "x"), np.ones((6, 6), "uint8")))
    assert "parameters" not in forcing_variance(zoned, ensembles, draws=64)["source"].tolist()
    members = ensembles.ensembles[1].members.copy()
    members[:, 0] *= np.linspace(0.7, 1.3, 30)
    from dataclasses import replace

    varied = replace(ensembles, ensembles={1: replace(ensembles.ensembles[1], members=members)})
    table = forcing_variance(zoned, varied, draws=512).set_index("source")
    assert table.loc["parameters", "share_alone"] > 0.1
    assert table["total_order"].sum() - 1 >= table.loc["all", "first_order"] - 0.05


# -- wrong input


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("water_erosion", "normal", 0.2, ""), InputError, "no unit; give units = 'relative', or 't ha-1 a-1'"),
        (("water_erosion", "normal", 0.2, "m"), UnitsError, "cannot be converted to 't ha-1 a-1'"),
        (("water_erosoin", "normal", 0.2, "relative"), InputError, "did you mean 'water_erosion'"),
        (("water_erosion", "gamma", 0.2, "relative"), InputError, r"one of \['normal', 'lognormal', 'uniform'\]"),
        (("water_erosion", "normal", 0.0, "relative"), InputError, "spread is 0.0, expected a number above 0"),
        (("water_erosion", "lognormal", 2.0, "t ha-1 a-1"), InputError, "a lognormal distribution is a factor"),
        (("mean_annual_temperature", "normal", 0.1, "relative"), InputError, "has no relative error"),
        (("wind_erosion", "uniform", 1.5, "relative"), InputError, "expected at most 1 for a factor"),
        (("wind_erosion", "normal", 0.5, "relative", -1.0), InputError, "range_m is -1.0"),
    ],
)  # fmt: skip
def test_distributions_that_cannot_be_used(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ForcingSource(*arguments)


def test_fields_need_a_projected_grid_and_sources_are_different() -> None:
    grid = grid_from_bounds("EPSG:4326", (90, 30, 91, 31), 0.25)
    layers = landscape(rows=4, columns=4).drop_vars(["x", "y", "spatial_ref"]).assign_coords(coordinates(grid))
    with pytest.raises(GridError, match="a random field needs a projected grid, this one is in degrees"):
        forced_thickness(layers, forced_ensembles(PHYSICAL, [FIELD], draws=5))
    forced_thickness(layers, forced_ensembles(PHYSICAL, [CONSTANT], draws=5))
    short = ForcingSource("water_erosion", "normal", 0.5, "relative", range_m=30_000)
    with pytest.raises(InputError, match="range_m is 30000 m, less than two cells of 20000 m"):
        forced_thickness(landscape(rows=4, columns=4), forced_ensembles(PHYSICAL, [short], draws=5))
    with pytest.raises(InputError, match="have one twice"):
        forced_ensembles(PHYSICAL, [FIELD, FIELD])
    with pytest.raises(InputError, match="no sources"):
        forced_ensembles(PUBLISHED, [])
    with pytest.raises(InputError, match="needs the coordinates x and y"):
        forced_thickness(
            {name: layer.values for name, layer in layers.items()}, forced_ensembles(PHYSICAL, [FIELD], draws=5)
        )


# -- recipe


def recipe_on(folder: Path) -> dict[str, Any]:
    known, _, profiles = simulated_truth(0)
    tpsoil.create_cube(folder / "cube.zarr", plateau_grid(20_000)[:40, :60], chunks=16)
    for name, layer in known.items():
        tpsoil.add_layer(folder / "cube.zarr", str(name), layer)
    profiles.to_csv(folder / "profiles.csv", index=False)
    sources = {
        "water_erosion": {"distribution": "lognormal", "spread": 0.6, "units": "relative", "range_m": 120_000},
        "wind_erosion": {"distribution": "uniform", "spread": 0.5, "units": "relative", "reason": "of two models"},
    }
    return {
        "run": {"name": "forced", "output": str(folder / "maps.zarr"), "cube": str(folder / "cube.zarr"), "tile": 1},
        "solum": {"zones": "none", "parameters": asdict(PHYSICAL), "forcing": {"sources": sources, "draws": 20}},
    }


def test_a_recipe_gives_the_maps_of_the_function_and_the_table(tmp_path: Path) -> None:
    recipe = recipe_on(tmp_path)
    maps = tpsoil.run(recipe, progress=False)
    sources = [FIELD, CONSTANT]
    direct = forced_thickness(tpsoil.open_cube(tmp_path / "cube.zarr"), forced_ensembles(PHYSICAL, sources, draws=20))
    for name, layer in direct.items():
        np.testing.assert_array_equal(maps[name].values, layer.values.astype("float32"))
    table = result_tables(recipe["run"]["output"])["Uncertain forcing: share of the variance of thickness by source"]
    assert table["source"].tolist() == ["water_erosion", "wind_erosion", "all"]
    assert table["reason"].tolist()[1] == "of two models"
    assert "lognormal factor" in maps["solum_thickness_forced_p05"].attrs["forcing_water_erosion"]


def test_a_recipe_calibrates_again_under_each_draw_of_a_constant(tmp_path: Path) -> None:
    recipe = recipe_on(tmp_path)
    del recipe["solum"]["parameters"]
    recipe["solum"]["calibration"] = {
        "profiles": str(tmp_path / "profiles.csv"), "preset": "physical", "problem": "five", "starts": 1, "folds": 2,
        "complexes": 2, "evaluations": 300, "members": 20,
    }  # fmt: skip
    recipe["solum"]["forcing"]["draws"] = 5
    maps = tpsoil.run(recipe, progress=False)
    assert float((maps["solum_thickness_forced_p95"] - maps["solum_thickness_forced_p05"]).min()) > 0
    table = result_tables(recipe["run"]["output"])["Uncertain forcing: share of the variance of thickness by source"]
    assert "parameters" in table["source"].tolist()


def test_a_distribution_without_a_unit_is_a_fault_of_the_recipe(tmp_path: Path) -> None:
    recipe = recipe_on(tmp_path)
    del recipe["solum"]["forcing"]["sources"]["water_erosion"]["units"]
    with pytest.raises(RecipeError, match=r"solum.forcing: forcing of water_erosion: the distribution has no unit"):
        tpsoil.run(recipe, progress=False)
