"""Tables that stand for those of the published study: units of other maps, gains, windows, sensitivity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.recipes.solum_comparison import compute_differences, prepare_comparison
from tpsoil.recipes.solum_options import CalibrationTable, ComparisonTable
from tpsoil.recipes.solum_study import beside_published, gain_row, sensitivity_table
from tpsoil.solum import (
    PUBLISHED,
    PUBLISHED_VALUES,
    Effort,
    calibrate,
    one_at_a_time,
    published_zone_table,
    thickness,
)
from tpsoil.stage import Window, Workbench

GRID = grid_from_bounds("EPSG:4326", (91.0, 36.0, 93.0, 37.0), 0.1)
CELL = {"mean_annual_temperature": 13.09, "annual_precipitation": 832.41, "water_erosion": 5.0, "wind_erosion": 0.1,
        "general_curvature": 1e-3}  # fmt: skip


@pytest.fixture
def cube() -> xr.Dataset:
    rng = np.random.default_rng(5)
    thick = rng.uniform(0.5, 1.5, GRID.shape)
    shape = ("y", "x")
    layers = {
        "solum_thickness": (shape, thick, {"units": "m"}),
        "shangguan_thickness": (shape, 100 * (thick + 0.2), {"units": "cm"}),
        "elevation": (shape, 4000 + 500 * thick, {"units": "m"}),
    }
    return xr.Dataset(layers, coords=coordinates(GRID))


def options(tmp_path: Path, cube: xr.Dataset, **table: Any) -> dict[str, Any]:
    """Options of the comparison with profiles that equal the map, and one that cannot be used."""
    profiles = pd.DataFrame({"lon": cube["x"].values[:8], "lat": np.full(8, cube["y"].values[3]),
                             "thickness": cube["solum_thickness"].values[3, :8]})  # fmt: skip
    profiles.loc[8] = [cube["x"].values[9], cube["y"].values[3], -1.0]
    profiles.to_csv(tmp_path / "profiles.csv", index=False)
    return {"table": ComparisonTable(maps=["shangguan_thickness"], **table),
            "calibration": CalibrationTable(profiles=str(tmp_path / "profiles.csv"), units="m")}  # fmt: skip


def test_another_map_in_centimetres_is_compared_in_metres(tmp_path: Path, cube: xr.Dataset) -> None:
    given = options(tmp_path, cube)
    prepared = prepare_comparison(cube, given, Workbench())
    assert list(prepared.notes) == ["1 profiles without a usable thickness are not compared"]
    tables = prepared.tables
    compared = tables["solum_comparison"].set_index("map")
    expected = float(cube["solum_thickness"].mean()) + 0.2
    assert compared.loc["shangguan_thickness", "mean"] == pytest.approx(expected, abs=1e-3)
    assert compared.loc["shangguan_thickness", "rmse"] == pytest.approx(0.2, abs=1e-3)
    rows, columns = slice(0, GRID.shape[0]), slice(0, GRID.shape[1])
    maps = compute_differences(Window(cube.load(), GRID, rows, columns, given))
    thick = cube["solum_thickness"].values
    np.testing.assert_allclose(maps["difference_shangguan_thickness"], -20 / (thick + 0.2), rtol=1e-4)


def test_gains_are_of_complete_profiles(tmp_path: Path, cube: xr.Dataset) -> None:
    given = options(tmp_path, cube)
    profiles = given["calibration"].profiles
    table = pd.read_csv(profiles)
    limits = np.arange(len(table)) < 3
    table.assign(censored=limits, thickness=np.where(limits, 0.01, table["thickness"])).to_csv(profiles, index=False)
    prepared = prepare_comparison(cube, given, Workbench())
    assert "3 profiles are lower limits of thickness: errors and gains are of the others" in prepared.notes
    gain = prepared.tables["solum_gain"].iloc[0]
    assert (gain["n"], gain["rmse"]) == (5, 0.0)
    compared = prepared.tables["solum_comparison"].set_index("map").loc["this map"]
    assert (compared["n"], compared["rmse"], compared["limits"], compared["below_limit"]) == (5, 0.0, 3, 0.0)


def test_gains_windows_and_published_values(tmp_path: Path, cube: xr.Dataset) -> None:
    given = options(tmp_path, cube, published=True, correlate=["elevation"])
    tables = prepare_comparison(cube, given, Workbench()).tables
    gain = tables["solum_gain"].iloc[0]
    assert gain["beside"] == "shangguan_thickness"
    assert (gain["n"], gain["rmse"], gain["gain_percent"]) == (8, 0.0, 100.0)
    assert gain["rmse_beside"] == pytest.approx(0.2, abs=1e-3)
    assert bool(gain["differs"])
    windows = tables["solum_windows"]
    assert set(windows["window"]) == {"Qaidam"}  # the grid lies outside the other one
    assert windows[["west", "south", "east", "north"]].drop_duplicates().to_numpy().tolist() == [[90.5, 36, 98.5, 39]]
    assert tables["solum_environment"]["layer"].tolist() == ["elevation"]
    published = tables["solum_published"].set_index(["layer", "place", "statistic"])
    assert len(published) == len(PUBLISHED_VALUES)
    mean = published.loc[("solum_thickness", "Qaidam", "mean")]
    assert mean["published"] == 0.99
    assert mean["this_run"] == pytest.approx(float(cube["solum_thickness"].mean()), abs=1e-3)
    assert published.loc[("elevation", "plateau", "r"), "this_run"].item() == pytest.approx(1.0, abs=1e-3)
    assert np.isnan(published.loc[("solum_thickness", "Qiangtang", "mean"), "this_run"])
    assert tables["solum_published_zones"]["n"].sum() == 522


def test_published_values_are_those_of_the_science_sheet() -> None:
    values = {(v.layer, v.place, v.statistic, v.source): v.value for v in PUBLISHED_VALUES}
    assert len(values) == len(PUBLISHED_VALUES)  # none twice
    assert values["liu_thickness", "profiles", "gain_percent", "recomputed from Table 5"] == pytest.approx(
        100 * (0.42 - 0.34) / 0.42, abs=0.01
    )
    assert values["shangguan_thickness", "profiles", "gain_percent", "recomputed from Table 5"] == pytest.approx(
        100 * (0.45 - 0.34) / 0.45, abs=0.01
    )
    assert published_zone_table()["rmse"].isna().tolist() == [False] * 7 + [True]


def test_values_that_a_run_lacks_are_empty() -> None:
    assert beside_published({})["this_run"].isna().all()
    assert gain_row([1.0, np.nan], [1.0, 2.0], [1.0, 2.0]) == {"n": 1}


def test_sensitivities_agree_with_the_derivatives() -> None:
    layers = xr.Dataset({name: (("y", "x"), [[value]]) for name, value in CELL.items()})
    small = one_at_a_time(layers, PUBLISHED[1], change=1e-3, temperature_change=1e-3).set_index("input")
    # science sheet, section 6: dh/dln alpha, dh/dln D, dh/db and dh/dln a at zone 1 with curvature 1e-3
    slope = (small["increase_m"] - small["decrease_m"]) / 2e-3
    assert slope["alpha"] == pytest.approx(-0.01624143, rel=1e-4)
    assert slope["D"] == pytest.approx(-0.02155555, rel=1e-4)
    assert slope["b"] == pytest.approx(1026.754211 * PUBLISHED[1].b, rel=1e-4)
    assert slope["a"] == pytest.approx(PUBLISHED[1].h0, rel=1e-4)
    assert slope["water_erosion"] == pytest.approx(slope["alpha"], rel=1e-6)


def test_sensitivities_stay_within_the_domain_and_by_zone() -> None:
    layers = xr.Dataset({name: (("y", "x"), [[value, value]]) for name, value in CELL.items()})
    layers["zone"] = (("y", "x"), np.array([[1, 2]], "uint8"))
    parameters = {1: replace(PUBLISHED[1], alpha=1.0), 2: replace(PUBLISHED[2], h0=0.001)}
    rows = one_at_a_time(layers, parameters).set_index(["input", "zone"])
    assert rows.loc[("alpha", "1"), "increase_m"] == 0.0  # a weight is at most 1
    assert rows.loc[("h0", "2"), "decrease_m"] == 0.0
    both = rows.loc[("a", "all")]
    assert both["increase_m"] == pytest.approx(
        (rows.loc[("a", "1"), "increase_m"] + rows.loc[("a", "2"), "increase_m"]) / 2
    )
    wide = sensitivity_table(rows.reset_index()).set_index("input")
    assert wide.loc["a", "increase mm"] == pytest.approx(1000 * both["increase_m"], abs=0.01)
    assert {"zone 1 mm", "zone 2 mm"} <= set(wide.columns)
    base = thickness(layers, parameters)["solum_thickness"].values
    assert np.isfinite(base).all()


@pytest.mark.parametrize("change", [{"change": 0.0}, {"change": 1.0}, {"temperature_change": np.nan}])
def test_changes_out_of_range_are_rejected(change: dict[str, float]) -> None:
    layers = xr.Dataset({name: (("y", "x"), [[value]]) for name, value in CELL.items()})
    with pytest.raises(InputError, match="expected"):
        one_at_a_time(layers, PUBLISHED[1], **change)


def test_deep_bedrock_in_one_fold_is_no_unit_mistake() -> None:
    rng = np.random.default_rng(3)
    n = 64
    table = pd.DataFrame({name: value * rng.uniform(0.7, 1.3, n) for name, value in CELL.items()})
    layers = {name: table[name].to_numpy() for name in table}
    table["solum_thickness"] = thickness(layers, PUBLISHED[1])["solum_thickness"].values
    table["depth_to_bedrock"] = 20.0
    table["zone"] = np.where(np.arange(n) < 40, 1, 2)
    table.loc[table["zone"] == 2, "depth_to_bedrock"] = 160.0  # m: of one zone all, of the table less than half
    calibration = calibrate(table, starts=1, folds=2, members=20, effort=Effort(complexes=2, evaluations=300))
    assert calibration.predictions["cv_median"].notna().sum() == n
