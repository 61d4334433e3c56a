"""`[solum.validation]` and `validate_at_profiles`: known truth, counts, bad input, and the page."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_solum_options import TRUTH, landscape

from tpsoil.cube import add_layer, create_cube
from tpsoil.errors import InputError, RecipeError, UnitsError
from tpsoil.evaluation import CensoredObservations, tobit_residuals
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.recipes import preview, result_tables, run
from tpsoil.reports import figures, write_page
from tpsoil.solum import SolumOptions, thickness, validate_at_profiles
from tpsoil.solum.independent import MAP_MEAN, ZONE_MEAN

SIDE = 16
LAYERS = landscape(SolumOptions(), SIDE)
GRID = plateau_grid(100_000)[:SIDE, :SIDE]
MAP = thickness(LAYERS, TRUTH)["solum_thickness"]


def maps(**more: Any) -> xr.Dataset:
    """The map with zones in two halves."""
    zone = np.where(np.arange(SIDE) < SIDE // 2, 1, 2) * np.ones((SIDE, 1))
    return xr.Dataset(
        {"solum_thickness": MAP, "zone": (("y", "x"), zone.astype("uint8")), **more}, coords=coordinates(GRID)
    )


def pits(n: int, *, seed: int = 0, bias: float = 0.0, sd: float = 0.1, pit_m: float = np.inf) -> pd.DataFrame:
    """Profiles in the middle of cells: truth = map + normal error, dug to a depth at most."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(MAP["y"].values, MAP["x"].values, indexing="ij")
    table = pd.DataFrame({"x": x.ravel(), "y": y.ravel(), "map": MAP.values.ravel()})
    table = table[table["map"] > 0.3].sample(n, random_state=seed)
    truth = table["map"] - bias + rng.normal(0, sd, n)
    table["solum_thickness"] = np.minimum(truth, pit_m).clip(lower=0.05)
    return table.assign(censored=truth > pit_m, truth=truth).drop(columns="map").reset_index(drop=True)


def values(result: Any, prediction: str = "map") -> pd.Series:
    rows = result.scores[result.scores["prediction"] == prediction]
    return rows.set_index("measure")["value"]


def test_scores_are_those_of_the_cells_and_of_the_censored_observations() -> None:
    table = pits(60, bias=0.1, pit_m=0.9)
    result = validate_at_profiles(maps(), table)
    predicted = [float(MAP.sel(x=row.x, y=row.y)) for row in table.itertuples()]
    plain = CensoredObservations(table["solum_thickness"], table["censored"]).scores(predicted)
    assert 5 < table["censored"].sum() < 55
    pd.testing.assert_series_equal(values(result), plain["value"], check_names=False)
    assert values(result)["bias_tobit"] == pytest.approx(0.1, abs=0.06)
    assert values(result)["rmse_tobit"] == pytest.approx(np.hypot(0.1, 0.1), abs=0.06)
    reached = table["censored"] & (np.array(predicted) >= table["solum_thickness"])
    assert result.points["agrees"].sum() == (reached | ~table["censored"]).sum()


def test_baselines_do_not_see_the_profile_itself() -> None:
    table = pits(30, pit_m=1.2)
    result = validate_at_profiles(maps(), table)
    half = result.points["zone"]
    for k in (0, 7, 20):
        own = (half == half[k]) & (table.index != k)
        mean, _ = tobit_residuals(table["solum_thickness"][own], table["censored"][own])
        assert result.points[ZONE_MEAN][k] == pytest.approx(mean[0])
    assert result.points[MAP_MEAN].nunique() == 1
    assert result.points[MAP_MEAN][0] == pytest.approx(float(MAP.mean()), rel=1e-6)  # cells of one area
    rows = result.scores[result.scores["prediction"] == ZONE_MEAN].set_index("measure")
    assert rows.loc["rmse", "difference"] == pytest.approx(values(result)["rmse"] - rows.loc["rmse", "value"])
    assert rows.loc["rmse", "difference_upper"] < 0  # the map that the truth was drawn from is better


def test_conformal_intervals_leave_the_profile_out_and_need_enough_of_them() -> None:
    many = validate_at_profiles(maps(), pits(60, sd=0.2)).coverage.set_index("level")
    assert many.index.tolist() == [0.5, 0.8, 0.9]
    assert many.loc[0.9, "lower"] < 0.9 <= many.loc[0.9, "upper"]
    result = validate_at_profiles(maps(), pits(6, sd=0.2))
    assert result.coverage["level"].tolist() == [0.5, 0.8]  # 5 others support up to 5 / 6
    text = " ".join(result.notes)
    assert "6 complete profiles support conformal intervals up to a level of 86 %" in text
    assert "only 6 complete profiles: errors of so few places are of little weight" in text
    assert "no map accuracy" in text


def test_intervals_of_the_map_are_counted_with_limits_above_them() -> None:
    layers = maps(low=MAP * 0.5, high=MAP * 1.1)
    result = validate_at_profiles(layers, pits(40, pit_m=0.9, sd=0.2), quantiles={0.05: "low", 0.95: "high"})
    row = result.coverage[result.coverage["interval"] == "of the map"].iloc[0]
    inside = result.points[~result.points["censored"]]
    assert row["level"] == 0.9
    assert row["coverage"] == pytest.approx(inside["observed"].between(inside["low"], inside["high"]).mean())
    limits = result.points[result.points["censored"]]
    assert row["limits_above"] == (limits["observed"] > limits["high"]).sum() > 0
    with pytest.raises(InputError, match="no layer 'absent'"):
        validate_at_profiles(layers, pits(5), quantiles={0.05: "absent"})


def test_an_empty_problem_of_a_file_is_none() -> None:
    table = pits(12)
    for problem in (np.nan, None, ["", None, "no depth"] * 4):
        counts = validate_at_profiles(maps(), table.assign(problem=problem)).counts.set_index("profiles")["count"]
        assert counts["used"] == (8 if isinstance(problem, list) else 12)
        assert counts.get("no depth", 0) == 12 - counts["used"]


def test_every_profile_is_counted() -> None:
    table = pits(12)
    mask = np.ones((SIDE, SIDE), "uint8")
    row, column = (int(np.argmin(abs(MAP[d].values - table.loc[0, d]))) for d in ("y", "x"))
    mask[row, column] = 0
    odd = pd.concat([
        table,
        table.iloc[[1]].assign(solum_thickness=2.0),
        table.iloc[[2]].assign(solum_thickness=9.0, censored=True),
        table.iloc[[3]].assign(x=9e9),
        table.iloc[[4]].assign(x=np.nan),
        table.iloc[[5]].assign(solum_thickness=np.nan),
    ], ignore_index=True).assign(problem="")  # fmt: skip
    odd.loc[6, "problem"] = "horizons overlap"
    result = validate_at_profiles(maps(soil_mask=(("y", "x"), mask)), odd)
    assert result.counts.set_index("profiles")["count"].to_dict() == {
        "read": 17, "on a masked cell (glacier, lake, outside)": 1, "horizons overlap": 1, "outside the grid": 1,
        "without a position": 1, "without a thickness above 0": 1, "of the same place as another, merged": 2,
        "used": 10, "used: complete": 10, "used: lower limits": 0, "cells of the map with a profile": 10,
    }  # fmt: skip
    at = result.points.set_index(["x", "y"])["observed"]
    first = at[tuple(table.loc[1, ["x", "y"]])]
    assert first == pytest.approx((table.loc[1, "solum_thickness"] + 2.0) / 2)
    assert at[tuple(table.loc[2, ["x", "y"]])] == table.loc[2, "solum_thickness"]  # complete ones decide


def test_limits_alone_are_reported_without_errors() -> None:
    table = pits(8).assign(censored=True, solum_thickness=0.2)
    result = validate_at_profiles(maps(), pd.concat([table, table.assign(solum_thickness=0.1)]))
    assert result.points["observed"].eq(0.2).all()  # the deeper pit of a place
    own = values(result)
    assert own["below_limit"] == 0
    assert own.drop(["below_limit", "shortfall"]).isna().all()
    assert "every profile is a lower limit" in " ".join(result.notes)
    assert ZONE_MEAN not in set(result.scores["prediction"])
    assert repr(result).startswith("Validation at profiles")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.assign(solum_thickness=100 * t["solum_thickness"]), UnitsError, "look like centimetres"),
        (lambda t: t.assign(solum_thickness=t["solum_thickness"] / 100), UnitsError, "metres read as centimetres"),
        (lambda t: t.assign(x=9e9), InputError, r"none of 5 profiles is on a cell of the map: 5 outside the grid"),
        (lambda t: t.drop(columns="solum_thickness"), InputError, "no column 'solum_thickness'"),
        (lambda t: t.iloc[:0], InputError, "the table is empty"),
    ],
)
def test_bad_profiles_are_rejected(change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        validate_at_profiles(maps(), change(pits(5)))


# -- the recipe


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validation") / "cube.zarr"
    create_cube(str(path), GRID, chunks=SIDE)
    for name, layer in LAYERS.items():
        add_layer(str(path), str(name), layer)
    return path


def recipe(cube: Path, folder: Path, profiles: pd.DataFrame, **solum: Any) -> dict[str, Any]:
    profiles.to_csv(folder / "validation.csv", index=False)
    return {
        "run": {"name": "checked", "output": str(folder / "maps.zarr"), "cube": str(cube)},
        "solum": {"zones": "none", "parameters": asdict(TRUTH), "maps": ["solum_thickness"],
                  "validation": {"profiles": str(folder / "validation.csv")}, **solum},
    }  # fmt: skip


def test_a_run_has_the_scores_in_its_tables_and_on_its_page(cube: Path, tmp_path: Path) -> None:
    table = pits(40, pit_m=0.9)
    run(recipe(cube, tmp_path, table), progress=False)
    tables = result_tables(str(tmp_path / "maps.zarr"))
    scores = next(one for title, one in tables.items() if "no parameter was fitted to, with intervals" in title)
    own = scores[scores["prediction"] == "map"].set_index("measure")
    assert own.loc["rmse_tobit", "lower"] < own.loc["rmse_tobit", "value"] < own.loc["rmse_tobit", "upper"]
    page = write_page(tmp_path / "maps.zarr", tmp_path / "page.html").read_text(encoding="utf-8")
    first_screen = page.partition('id="scores"')[0]
    assert f"{int(own.loc['rmse', 'n'])} complete profiles not used for the parameters" in first_screen
    assert f"{int(own.loc['below_limit', 'n'])} lower limits" in first_screen
    assert "Chart: Observed against predicted at profiles that no parameter was fitted to" in page
    assert "Map: Thickness at profiles that no parameter was fitted to" in page
    assert "are no map accuracy" in page
    assert "map accuracy" not in first_screen


def test_cores_without_designations_are_limits_unless_the_recipe_knows_better(cube: Path, tmp_path: Path) -> None:
    table = pits(9, sd=0.01).assign(profile_id=range(9), top=0.0)
    cores = table.assign(bottom=100 * table["solum_thickness"])[["profile_id", "x", "y", "top", "bottom"]]
    counts = {}
    for known in ("limit", "complete"):
        (tmp_path / known).mkdir()
        content = recipe(cube, tmp_path / known, cores)
        content["solum"]["validation"]["undesignated"] = known
        run(content, progress=False)
        tables = result_tables(content["run"]["output"])
        counts[known] = tables["Profiles that no parameter was fitted to"].set_index("item")["n"]
    assert counts["limit"]["used: lower limits"] == counts["complete"]["used: complete"] == 9


def test_profiles_of_the_calibration_are_rejected(cube: Path, tmp_path: Path) -> None:
    table = pits(30)
    content = recipe(cube, tmp_path, table)
    del content["solum"]["parameters"]
    calibration = {"profiles": str(tmp_path / "validation.csv"), "preset": "physical", "starts": 1, "folds": 2,
                   "complexes": 2, "evaluations": 100, "members": 20}  # fmt: skip
    content["solum"]["calibration"] = calibration
    with pytest.raises(RecipeError, match=r"solum.validation.profiles: the parameters are fitted to validation.csv"):
        preview(content)
    pd.concat([table.iloc[:20], pits(20, seed=5)]).drop_duplicates(["x", "y"]).to_csv(
        tmp_path / "fitted.csv", index=False
    )
    content["solum"]["calibration"] = {**calibration, "profiles": str(tmp_path / "fitted.csv")}
    with pytest.raises(InputError, match=r"of 30 places of validation.csv are among the profiles of \[solum.calib"):
        run(content, progress=False)  # before the calibration


def test_missing_files_and_idle_tables_are_faults(cube: Path, tmp_path: Path) -> None:
    content = recipe(cube, tmp_path, pits(5))
    content["solum"]["validation"]["profiles"] = str(tmp_path / "absent.csv")
    with pytest.raises(RecipeError, match="absent.csv"):
        preview(content)
    content = recipe(cube, tmp_path, pits(5), maps=["solum_status"])
    with pytest.raises(RecipeError, match="validation needs 'solum_thickness' among maps"):
        preview(content)


# -- figures


def test_figures_show_limits_as_arrows_and_residuals_by_colour() -> None:
    points = validate_at_profiles(maps(), pits(30, pit_m=0.9)).points
    arrows = [one for one in figures.observed_limits(points).axes[0].collections if one.get_gid() == "limits"]
    assert len(arrows[0].get_offsets()) == points["censored"].sum()
    figure = figures.residual_map(MAP, points)
    drawn = {one.get_gid(): one for one in figure.axes[0].collections if one.get_gid() in {"profiles", "limits"}}
    assert drawn["profiles"].get_array() is not None
    assert len(drawn["limits"].get_offsets()) == (points["censored"] & points["agrees"]).sum()
    with pytest.raises(InputError, match="censored"):
        figures.observed_limits(points.drop(columns="censored"))
    assert "nothing to draw" in figures.observed_limits(points.iloc[:0]).axes[0].texts[0].get_text()


@pytest.mark.data
def test_the_plateau_is_checked_at_every_real_place(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deepest samples, 0.8 m at Maqu, are the ones that the map does not reach, by less than 5 cm."""
    monkeypatch.setenv("TPSOIL_DATA", str(data_folder))
    content = tomllib.loads((Path(__file__).parent / "recipes" / "plateau_solum.toml").read_text())
    content["run"]["output"] = str(tmp_path / "maps.zarr")
    content["grid"].update(resolution=40_000, chunks=64)
    del content["solum"]["forcing"]
    run(content, progress=False)
    tables = result_tables(content["run"]["output"])
    counts = tables["Profiles that no parameter was fitted to"].set_index("item")["n"]
    assert counts["used"] == counts["used: lower limits"] > 25
    scores = next(one for title, one in tables.items() if "no parameter was fitted to, with intervals" in title)
    own = scores[scores["prediction"] == "map"].set_index("measure")
    assert own.loc["below_limit", "value"] * counts["used"] == pytest.approx(4, abs=0.01)
    assert own.loc["shortfall", "value"] < 4 * 0.05 / 25
