"""Thickness under a changing climate: closed form where nothing changes, a fine-step integrator where it does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_forcing import PHYSICAL, landscape

import tpsoil
from tpsoil.errors import InputError, MissingInputError, RecipeError, UnitsError
from tpsoil.ingest import read_table
from tpsoil.recipes.jobs import preview
from tpsoil.solum import (
    ClimateSeries,
    SolumOptions,
    SolumParameters,
    TransientSettings,
    climate_series,
    eemt,
    evolve,
    thickness,
    transient_thickness,
)

CONSTANT = ClimateSeries((-20_000, 2000), ((0.0, 1.0, 1.0, 1.0),) * 2)
GLACIAL = ClimateSeries(
    (-19_050, -9000, 0, 1950, 2100),
    ((-6.0, 0.5, 0.4, 3.0), (-2.0, 0.8, 1.2, 1.5), (0.5, 1.1, 1.0, 1.0), (0.0, 1.0, 1.0, 1.0), (4.0, 1.2, 2.5, 0.8)),
)


def small(seed: int = 0) -> xr.Dataset:
    return landscape(rows=4, columns=6, seed=seed).drop_vars("depth_to_bedrock").astype("float64", keep_attrs=True)


def test_constant_forcing_is_the_closed_form() -> None:
    layers = small()
    steady = thickness(layers, PHYSICAL)
    for start in (0.0, 0.7, 3.0):
        settings = TransientSettings(start=start, step_years=777)
        maps = transient_thickness(layers, PHYSICAL, CONSTANT, years=[-19_999, -5000, 2000], settings=settings)
        for year, name in ((-19_999, "m19999"), (-5000, "m5000"), (2000, "2000")):
            expected = evolve(
                xr.full_like(steady.solum_thickness, start), steady.potential_production, steady.erosion_rate,
                PHYSICAL.h0, float(year + 20_000),
            )  # fmt: skip
            np.testing.assert_allclose(maps[f"solum_thickness_year_{name}"], expected, rtol=1e-9, atol=1e-12)


def test_production_above_the_range_of_numbers_has_a_thickness() -> None:
    cell = {"mean_annual_temperature": 13.09, "annual_precipitation": 832.41, "water_erosion": 5.0,
            "wind_erosion": 0.1, "general_curvature": 0.0}  # fmt: skip
    warm = SolumParameters(0.038, 2764.99, 86.03, 0.1, 0.0012, 0.00075, 0.18, 0.0016)  # exp(b EEMT) is infinite
    maps = transient_thickness(cell, warm, CONSTANT, years=[-10_000, 2000])
    steady = float(thickness(cell, warm).solum_thickness)
    assert float(maps.solum_thickness_year_2000) == pytest.approx(steady)
    assert int(maps.solum_equilibrium_year_m10000) == 0
    bare = transient_thickness(cell, warm, CONSTANT, years=[2000], settings=TransientSettings(start=0.0))
    assert 0.9 * steady < float(bare.solum_thickness_year_2000) < steady


def test_a_steady_start_under_constant_forcing_stays_in_equilibrium() -> None:
    layers = small()
    maps = transient_thickness(layers, PHYSICAL, CONSTANT, years=[2000])
    steady = thickness(layers, PHYSICAL)
    has_one = steady["solum_status"].values < 2
    np.testing.assert_allclose(
        maps["solum_thickness_year_2000"].values[has_one], steady["solum_thickness"].values[has_one], atol=1e-9
    )
    flags = maps["solum_equilibrium_year_2000"].values
    assert (flags[has_one] == 0).all()
    assert (flags[~has_one] == 3).all()


def integrated(layers: xr.Dataset, series: ClimateSeries, year: float, start: float, step: float) -> np.ndarray:
    """Runge-Kutta of fourth order with small steps and linearly interpolated forcing; no closed form."""
    p = PHYSICAL
    data = {str(name): layer.values for name, layer in layers.items()}
    per_loss = 0.1 / p.rho_s

    def rates(t: float) -> tuple[np.ndarray, np.ndarray]:
        warmer, wetter, water, wind = series.at(t)
        energy = eemt(data["mean_annual_temperature"] + warmer, data["annual_precipitation"] * wetter)
        lost = p.alpha * data["water_erosion"] * water + p.beta * data["wind_erosion"] * wind
        production = p.density_ratio * p.a * np.exp(p.b * energy)
        return production, lost * per_loss + p.gamma * p.D * data["general_curvature"]

    def slope(t: float, h: np.ndarray) -> np.ndarray:
        production, erosion = rates(t)
        return production * np.exp(-h / p.h0) - erosion

    h = np.full(layers["water_erosion"].shape, start)
    count = round((year - series.years[0]) / step)
    for k in range(count):
        t = series.years[0] + k * step
        a = slope(t, h)
        b = slope(t + step / 2, h + step / 2 * a)
        c = slope(t + step / 2, h + step / 2 * b)
        d = slope(t + step, h + step * c)
        h = np.maximum(h + step / 6 * (a + 2 * b + 2 * c + d), 0.0)
    return h


def test_changing_forcing_is_that_of_a_fine_step_integrator() -> None:
    layers = small(3)
    layers["general_curvature"] = abs(layers["general_curvature"])
    exact = {year: integrated(layers, GLACIAL, year, 0.5, 5.0) for year in (-9000, 1950, 2100)}
    errors: dict[tuple[float, float], float] = {}
    for step in (400.0, 100.0):
        settings = TransientSettings(start=0.5, step_years=step)
        maps = transient_thickness(layers, PHYSICAL, GLACIAL, years=list(exact), settings=settings)
        for year, name in ((-9000, "m9000"), (1950, "1950"), (2100, "2100")):
            errors[step, year] = float(abs(maps[f"solum_thickness_year_{name}"].values - exact[year]).max())
    assert max(errors[100.0, year] for year in exact) < 1e-4
    assert errors[100.0, -9000] < errors[400.0, -9000] / 8  # second order: 1/16


def test_flags_name_the_side_of_the_steady_state() -> None:
    layers = small()
    layers["general_curvature"] = abs(layers["general_curvature"])
    bare = transient_thickness(
        layers, PHYSICAL, CONSTANT, years=[-19_000], settings=TransientSettings(start=0.0)
    )["solum_equilibrium_year_m19000"]  # fmt: skip
    deep = transient_thickness(
        layers, PHYSICAL, CONSTANT, years=[-19_000], settings=TransientSettings(start=5.0)
    )["solum_equilibrium_year_m19000"]  # fmt: skip
    assert set(np.unique(bare)) <= {0, 1}
    assert (bare.values == 1).any()
    assert (deep.values == 2).all()
    wide = TransientSettings(start=5.0, tolerance=1e3)
    near = transient_thickness(layers, PHYSICAL, CONSTANT, years=[0], settings=wide)["solum_equilibrium_year_0"]
    assert (near == 0).all()


def test_bedrock_bounds_the_thickness_and_bare_ground_forms_soil_again() -> None:
    layers = small()
    layers["general_curvature"] = abs(layers["general_curvature"])
    shallow = layers.assign(depth_to_bedrock=xr.full_like(layers["water_erosion"], 0.2).assign_attrs(units="m"))
    maps = transient_thickness(shallow, PHYSICAL, CONSTANT, years=[2000], settings=TransientSettings(start=1.0))
    assert float(maps["solum_thickness_year_2000"].max()) == pytest.approx(0.2)
    free = transient_thickness(
        shallow, PHYSICAL, CONSTANT, SolumOptions(cap_to_bedrock=False), years=[2000],
        settings=TransientSettings(start=1.0),
    )  # fmt: skip
    assert float(free["solum_thickness_year_2000"].max()) > 0.2
    storm = ClimateSeries((0, 900, 1000, 5000), ((0, 1, 500.0, 1), (0, 1, 500.0, 1), (0, 1, 1, 1), (0, 1, 1, 1)))
    maps = transient_thickness(layers, PHYSICAL, storm, years=[900, 5000])
    assert float(maps["solum_thickness_year_900"].max()) == 0.0
    assert float(maps["solum_thickness_year_5000"].min()) > 0.0


def test_a_stack_replaces_layers_in_its_years_and_is_linear_between_them() -> None:
    layers = small()
    warm = layers.assign(later=(layers["mean_annual_temperature"] + 4).assign_attrs(units="degC"))
    stack = {0: {}, 2000: {"mean_annual_temperature": "later"}}
    none = ClimateSeries((0, 2000), ((0.0, 1.0, 1.0, 1.0),) * 2)
    table = ClimateSeries((0, 2000), ((0.0, 1.0, 1.0, 1.0), (4.0, 1.0, 1.0, 1.0)))
    first = transient_thickness(warm, PHYSICAL, none, years=[700, 2000], settings=TransientSettings(0.1, stack=stack))
    second = transient_thickness(layers, PHYSICAL, table, years=[700, 2000], settings=TransientSettings(0.1))
    for name in first:
        np.testing.assert_allclose(first[name].values, second[name].values, rtol=1e-12)
    with pytest.raises(MissingInputError, match="no layer 'latr' of the stack; did you mean 'later'"):
        transient_thickness(
            warm, PHYSICAL, none, years=[2000],
            settings=TransientSettings(stack={2000: {"mean_annual_temperature": "latr"}}),
        )  # fmt: skip
    kelvin = warm.assign(later=warm["later"].assign_attrs(units="K"))
    with pytest.raises(UnitsError):
        transient_thickness(kelvin, PHYSICAL, none, years=[2000], settings=TransientSettings(stack=stack))


def test_chunks_do_not_change_the_maps_and_masked_cells_are_empty() -> None:
    layers = landscape(rows=20, columns=30)
    mask = np.ones((20, 30), "uint8")
    mask[3:5] = 0
    layers = layers.assign(soil_mask=(("y", "x"), mask))
    whole = transient_thickness(layers, PHYSICAL, GLACIAL, years=[0, 2100])
    parts = transient_thickness(layers.chunk({"y": 7, "x": 11}), PHYSICAL, GLACIAL, years=[0, 2100]).compute()
    for name in whole:
        assert whole[name].values.tobytes() == parts[name].values.tobytes()
    assert np.isnan(whole["solum_thickness_year_2100"].values[3:5]).all()
    assert (whole["solum_equilibrium_year_2100"].values[3:5] == 255).all()


# -- the table of climate by year


def series_table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"year": [-19_050, 0, 2000], "temperature_change [K]": [-5, 0.5, 0], **columns})


def test_a_table_with_units_and_years_before_present() -> None:
    table = series_table(**{"precipitation_factor [%]": [60, 110, 100]})
    series = climate_series(table)
    assert series.changes[0] == (-5.0, 0.6, 1.0, 1.0)
    past = table.drop(columns="year").assign(year_bp=[21_000, 1950, -50])
    assert climate_series(past) == series


def test_a_temperature_change_is_converted_to_kelvin() -> None:
    fahrenheit = pd.DataFrame({"year": [-19_050, 2000], "temperature_change [degF]": [-9.0, 0.0]})
    assert climate_series(fahrenheit).changes[0][0] == pytest.approx(-5.0)
    tenths = pd.DataFrame({"year": [-19_050, 2000], "temperature_change [0.1 degC]": [-50.0, 0.0]})
    assert climate_series(tenths).changes[0][0] == pytest.approx(-5.0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (series_table().iloc[::-1], "years are out of order: 0 comes after 2000"),
        (series_table().assign(year=[0, 0, 2000]), "years are out of order: 0 comes after 0"),
        (series_table().drop(columns="year"), "no column year or year_bp"),
        (series_table(year_bp=[3, 2, 1]), "has year and year_bp; expected one of them"),
        (series_table()[["year"]], "no change of climate or erosion; expected some of temperature_change"),
        (series_table(precipitation_factor=[1, 1, 1]), "'precipitation_factor' has no unit; name it"),
        (series_table(**{"water_erosion_factor [t]": [1, 1, 1]}), "has unit 't', expected"),
        (series_table(**{"wind_erosoin_factor [1]": [1, 1, 1]}), "did you mean 'wind_erosion_factor'"),
        (series_table(**{"wind_erosion_factor [1]": [1, np.nan, 1]}), "year 0 has a value that is missing"),
        (series_table(**{"wind_erosion_factor [1]": [1, -1, 1]}), "year 0 has a negative factor"),
        (series_table(**{"wind_erosion_factor [1]": [1, "x", 1]}), "wind_erosion_factor"),
        (series_table().iloc[:1], "1 years, 1 rows; expected 2 or more"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        climate_series(table)


def test_years_outside_the_series_or_out_of_order() -> None:
    with pytest.raises(InputError, match="years 3000 are outside the series, which runs from -20000 to 2000"):
        transient_thickness(small(), PHYSICAL, CONSTANT, years=[0, 3000])
    with pytest.raises(InputError, match="expected them ascending"):
        transient_thickness(small(), PHYSICAL, CONSTANT, years=[2000, 0])
    with pytest.raises(InputError, match="more than 100000 steps"):
        transient_thickness(small(), PHYSICAL, CONSTANT, years=[0], settings=TransientSettings(step_years=0.01))
    with pytest.raises(InputError, match="start is -1"):
        TransientSettings(start=-1)


# -- recipe


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    layers = landscape(rows=20, columns=30)
    tpsoil.create_cube(tmp_path / "cube.zarr", tpsoil.plateau_grid(20_000)[:20, :30], chunks=16)
    for name, layer in layers.items():
        tpsoil.add_layer(tmp_path / "cube.zarr", str(name), layer)
    series_table().to_csv(tmp_path / "climate.csv", index=False)
    return {
        "run": {"name": "past", "output": str(tmp_path / "maps.zarr"), "cube": str(tmp_path / "cube.zarr"), "tile": 1},
        "solum": {
            "zones": "none", "parameters": asdict(PHYSICAL),
            "transient": {"series": str(tmp_path / "climate.csv"), "years": [-6000, 2000], "start": 0.1},
        },
    }  # fmt: skip


def test_a_recipe_gives_the_maps_of_the_function_and_the_share_out_of_equilibrium(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    maps = tpsoil.run(recipe, progress=False)
    direct = transient_thickness(
        tpsoil.open_cube(tmp_path / "cube.zarr"), PHYSICAL, climate_series(read_table(tmp_path / "climate.csv")),
        years=[-6000, 2000], settings=TransientSettings(start=0.1),
    )  # fmt: skip
    for name, layer in direct.items():
        np.testing.assert_array_equal(maps[name].values, layer.values)
    share = float((direct["solum_equilibrium_year_2000"] != 0).mean() * 100)
    notes = " ".join(maps.attrs["plausibility_notes"])
    assert f"solum thickness in 2000: {share:.1f} % of 600 cells are not in equilibrium" in notes


def test_faults_of_the_series_are_faults_of_the_recipe(recipe: dict[str, Any], tmp_path: Path) -> None:
    series_table().iloc[::-1].to_csv(tmp_path / "climate.csv", index=False)
    with pytest.raises(RecipeError, match=r"solum.transient: .*years are out of order"):
        tpsoil.run(recipe, progress=False)
    recipe["solum"]["transient"] |= {"series": "climat.csv", "years": [2000, -6000]}
    with pytest.raises(RecipeError, match=r"solum.transient.years: is .*ascending"):
        tpsoil.run(recipe, progress=False)
    recipe["solum"]["transient"]["years"] = [-6000]
    with pytest.raises(RecipeError, match=r"solum.transient.series: no such file"):
        tpsoil.run(recipe, progress=False)


def test_the_series_of_a_recipe_may_have_another_encoding(recipe: dict[str, Any], tmp_path: Path) -> None:
    series_table().to_csv(tmp_path / "climate.csv", index=False, encoding="utf-16")
    with pytest.raises(RecipeError, match=r'not UTF-8 text .*set solum\.transient\.encoding = "cp1252"'):
        preview(recipe)
    recipe["solum"]["transient"]["encoding"] = "utf-16"
    assert [one.title for one in preview(recipe)] == ["solum thickness", "solum thickness under a changing climate"]
