"""A recipe that ranks, zones, calibrates, maps with its spread, and compares; on a twin of the sample plateau."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
import xarray as xr

import tpsoil
from tpsoil import solum
from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.errors import InputError, RecipeError, TpsoilError
from tpsoil.grid import cell_sizes_m, coordinates, grid_from_bounds, grid_of
from tpsoil.recipes.jobs import job_of, preview, result_tables
from tpsoil.recipes.solum_study import summarise_zones, tally_zones
from tpsoil.reports.records import read_record
from tpsoil.stage import decisive_options
from tpsoil.table_titles import TITLES
from tpsoil.variables import SOLUM_STATUS

ROOT = Path(__file__).parent.parent


def twin() -> ModuleType:
    """The functions of benchmarks/solum_twin.py."""
    spec = importlib.util.spec_from_file_location("solum_twin", ROOT / "benchmarks" / "solum_twin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["solum_twin"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def layers() -> xr.Dataset:
    return twin().twin_layers()


@pytest.fixture(scope="module")
def work(layers: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube with the twin's layers and another map, and profiles as CSV, some of which cannot serve."""
    folder = tmp_path_factory.mktemp("solum")
    grid = grid_of(layers, where="twin")
    create_cube(str(folder / "cube.zarr"), grid, chunks=128)
    for name in layers.data_vars:
        if name != "zone":
            add_layer(str(folder / "cube.zarr"), str(name), layers[name])
    other = solum.thickness(layers, solum.PUBLISHED).solum_thickness * 1.1
    add_layer(str(folder / "cube.zarr"), "other_map", other.rename("other_map").assign_attrs(units="m"),
              units="m", kind="continuous")  # fmt: skip
    profiles = twin().twin_profiles(layers, 0.1, 1, profiles=320)[["x", "y", "solum_thickness"]]
    bad = pd.DataFrame({"x": [9e9, profiles.x[0], profiles.x[5]], "y": [0.0, profiles.y[0], profiles.y[5]],
                        "solum_thickness": [1.0, -1.0, profiles.solum_thickness[5] + 0.01]})  # fmt: skip
    pd.concat([profiles, bad]).to_csv(folder / "profiles.csv", index=False)
    return folder


def recipe(work: Path, output: str, **solum_table: Any) -> dict[str, Any]:
    calibration = {"profiles": str(work / "profiles.csv"), "starts": 2, "evaluations": 4000, "simulated": True,
                   "quantiles": [0.05, 0.5, 0.95], "members": 40, "baseline_features": ["elevation", "ndvi"],
                   "block_size": 300_000.0}  # fmt: skip
    return {
        "run": {"name": "twin", "output": str(work / output), "cube": str(work / "cube.zarr")},
        "solum": {"zones": "published", "calibration": calibration, **solum_table},
    }


@pytest.fixture(scope="module")
def mapped(work: Path) -> xr.Dataset:
    return tpsoil.run(
        recipe(work, "published.zarr", comparison={"maps": ["other_map"], "correlate": ["elevation", "ndvi"],
               "transects": {"across": {"start": (88.0, 29.0), "end": (92.0, 36.0)}}}),
        progress=False,
    )  # fmt: skip


def test_profiles_become_maps_and_tables(mapped: xr.Dataset, work: Path) -> None:
    tables = result_tables(str(work / "published.zarr"))
    scores = next(table for title, table in tables.items() if "at profiles" in title)
    kinds = {"fit", "cv", "cv_median", "zone_mean_cv", "forest_cv", "cv_blocks", "cv_blocks_median",
             "zone_mean_cv_blocks", "forest_cv_blocks"}  # fmt: skip
    assert set(scores["kind"]) == kinds
    pooled = scores[scores["zone"].astype(str) == "all"].set_index("kind")
    assert pooled.loc["cv_median", "rmse"] < 0.13
    assert 0.8 < pooled.loc["cv", "coverage"] < 0.97
    parameters = tables["Calibrated parameters by zone"]
    assert parameters["zone"].tolist() == list(range(1, 9))
    assert {"h0", "D", "rmse_fit", "rmse_cv", "n"} <= set(parameters.columns)
    for name in ("solum_thickness", "solum_status", "zone", "solum_thickness_p05", "solum_thickness_p50",
                 "solum_thickness_p95", "difference_other_map", "agreement_other_map"):  # fmt: skip
        assert name in mapped
    thick = mapped["solum_thickness"]
    assert thick.attrs["simulated"] == "true"
    assert thick.attrs["profiles_used"] == 320
    assert thick.attrs["profiles_left_out"] == 3
    assert thick.attrs["rmse_cv_median_m"] < 0.13
    low, middle, high = (mapped[f"solum_thickness_p{p}"].values for p in ("05", "50", "95"))
    known = np.isfinite(low)
    assert (low[known] <= middle[known]).all()
    assert (middle[known] <= high[known]).all()
    share = mapped["no_steady_state_share"].values
    np.testing.assert_array_equal(known, thick.notnull().values & (share <= 0.5))
    assert (known.sum() / thick.notnull().values.sum()) > 0.8


def test_designs_stand_beside_each_other_with_what_to_quote(work: Path) -> None:
    wanted = recipe(work, "designs.zarr", zones="none", maps=["solum_thickness"])
    quick = {"starts": 1, "evaluations": 600, "quantiles": [], "folds": 2, "complexes": 2, "block_size": None}
    wanted["solum"]["calibration"] |= {**quick, "validation": ["random", "knndm"]}
    tpsoil.run(wanted, progress=False)
    tables = result_tables(str(work / "designs.zarr"))
    table = next(table for title, table in tables.items() if "by validation design" in title)
    assert table["design"].tolist() == [name for name in ("random", "knndm") for _ in range(3)]
    assert table["model"].tolist() == ["solum model", "forest", "zone mean"] * 2
    assert table[["nse", "rmse", "distance_gap"]].notna().all(axis=None)
    assert (table["rmse_lower"] < table["rmse_upper"]).all()
    assert table.loc[table["model"] != "solum model", "p"].between(0, 1).all()
    nearest = table.sort_values("distance_gap")["design"].iloc[0]
    notes = " ".join(read_record(str(work / "designs.zarr")).notes)  # of the page
    assert f"quote the score of {nearest} folds for this map, NSE" in notes


def test_the_comparison_tells_table_5_windows_transects_and_correlations(mapped: xr.Dataset, work: Path) -> None:
    tables = result_tables(str(work / "published.zarr"))
    compared = tables["Thickness maps compared"].set_index("map")
    assert {"this map", "other_map", "published: Liu"} <= set(compared.index)
    assert compared.loc["this map", "errors"] == "in sample"
    assert compared.loc["this map", "rmse"] < compared.loc["other_map", "rmse"]
    windows = tables["Thickness in windows"]
    assert set(windows["window"]) == {"Qaidam", "Qiangtang"}
    assert set(windows["layer"]) == {"solum_thickness", "other_map"}
    found = tables["Correlation with thickness"].set_index("second")
    values = mapped["solum_thickness"].values.ravel()
    height = open_cube(str(work / "cube.zarr"))["elevation"].values.ravel()
    both = np.isfinite(values) & np.isfinite(height)
    assert found.loc["elevation", "r"] == pytest.approx(np.corrcoef(values[both], height[both])[0, 1], abs=1e-3)
    agreement = mapped["agreement_other_map"].values
    percent = mapped["difference_other_map"].values
    assert (percent[agreement == 1] >= -5).all()
    assert (percent[agreement == 0] < -5).all()


def test_a_finished_run_makes_nothing_again(mapped: xr.Dataset, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("calibrated again")

    monkeypatch.setattr(sys.modules["tpsoil.recipes.solum_calibration"], "calibrate", refuse)
    again = tpsoil.run(
        recipe(work, "published.zarr", comparison={"maps": ["other_map"], "correlate": ["elevation", "ndvi"],
               "transects": {"across": {"start": (88.0, 29.0), "end": (92.0, 36.0)}}}),
        progress=False,
    )  # fmt: skip
    xr.testing.assert_identical(again["solum_thickness"].load(), mapped["solum_thickness"].load())


def test_other_maps_and_quantiles_are_computed_without_another_calibration(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They equal those of a run that has them from the beginning; the bounds of the search calibrate again."""
    few = {"starts": 1, "evaluations": 500, "quantiles": [0.5], "block_size": None}
    table = recipe(work, "changed.zarr", maps=["solum_thickness"])
    table["solum"]["calibration"] |= few
    tpsoil.run(table, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(
            sys.modules["tpsoil.recipes.solum_calibration"], "calibrate", lambda *_, **__: pytest.fail("calibrated")
        )
        table["solum"]["maps"] = ["solum_thickness", "erosion_rate"]
        table["solum"]["calibration"]["quantiles"] = [0.1, 0.9]
        plan = {item.plan.stage: item for item in preview(table)}["solum"]
        assert (plan.note, len(plan.plan.to_compute)) == ("", plan.plan.total)
        changed = tpsoil.run(table, progress=False).load()
    other = recipe(work, "other.zarr", maps=["solum_thickness", "erosion_rate"])
    other["solum"]["calibration"] |= few | {"quantiles": [0.1, 0.9]}
    direct = tpsoil.run(other, progress=False).load()
    assert set(changed.data_vars) == set(direct.data_vars)
    assert {"solum_thickness", "erosion_rate", "solum_thickness_p10", "solum_thickness_p90"} <= set(changed.data_vars)
    for name in changed.data_vars:
        np.testing.assert_array_equal(changed[name], direct[name], err_msg=str(name))
        assert changed[name].attrs == direct[name].attrs
    table["solum"]["calibration"]["preset"] = "physical"
    table["solum"]["density_ratio"] = 1.35
    assert {item.plan.stage: item.note for item in preview(table)}["solum"] == "the model will be trained again"


def test_zones_are_ranked_and_found(work: Path, layers: xr.Dataset) -> None:
    made = tpsoil.run(
        recipe(
            work,
            "zones.zarr",
            zones={"k": 5, "rank": True, "rank_seeds": 3, "rank_trees": 40, "n_init": 2, "max_cells": 20_000,
                   "covariates": ["elevation", "mean_annual_temperature", "annual_precipitation", "ndvi"]},
            maps=["solum_thickness"],
            comparison={},
        ),
        progress=False,
    )  # fmt: skip
    zone = made["zone"].values
    assert set(np.unique(zone[zone != 255])) <= {1, 2, 3, 4, 5}
    height = layers["elevation"].values
    means = [height[zone == k].mean() for k in range(1, 6)]
    assert (np.diff(means) > 0).all()
    tables = result_tables(str(work / "zones.zarr"))
    assert tables["Zones: mean environment"]["cells"].sum() > 1000
    assert "Thickness in windows" in tables


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"calibration": {"profiles": "nowhere.csv"}}, "solum.calibration.profiles: no such file"),
        ({"calibration": {"profiles": "x.csv", "startz": 3}}, "startz: unknown key; did you mean 'starts'"),
        ({"calibration": {"profiles": "x.csv", "quantiles": [0.9, 0.1]}}, "ascending"),
        ({"calibration": {"profiles": "x.csv", "columns": {"depth": "d"}}}, "has depth"),
        ({"calibration": {"profiles": "x.csv"}, "parameters": {"h0": 1}}, "both define the parameters"),
        ({"zones": {"k": 3}, "calibration": None}, "zones are fitted here"),
        ({"zones": {"k": 1}}, "solum.zones.k: is 1"),
        ({"zones": {"kk": 3}}, "solum.zones.kk: unknown key"),
        ({"zones": "nearest"}, "solum.zones: is 'nearest'"),
        ({"comparison": {"windows": {"box": [3, 0, 1, 9]}}}, "west < east"),
        ({"comparison": {"maps": ["elevation"]}}, "under a name of its own"),
    ],
)
def test_wrong_recipes_are_refused_before_anything_is_made(work: Path, table: dict[str, Any], message: str) -> None:
    given = recipe(work, "wrong.zarr", **table)
    if given["solum"]["calibration"] is None:
        del given["solum"]["calibration"]
    with pytest.raises(RecipeError, match=message):
        tpsoil.run(given, progress=False)
    assert not (work / "wrong.zarr").exists()


def test_profiles_that_cannot_serve_stop_the_run(work: Path) -> None:
    (work / "text.csv").write_text("x,y,thickness\n0,0,deep\n")
    given = recipe(work, "text.zarr")
    given["solum"]["calibration"]["profiles"] = str(work / "text.csv")
    with pytest.raises(InputError, match="'thickness' has text in line 2: 'deep'"):
        tpsoil.run(given, progress=False)


def test_a_zone_without_profiles_stays_empty_and_is_named(
    work: Path, layers: xr.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    profiles = pd.read_csv(work / "profiles.csv")
    zone = layers["zone"].sel(x=xr.DataArray(profiles.x), y=xr.DataArray(profiles.y), method="nearest").values
    profiles[~np.isin(zone, (2, 8))].to_csv(work / "six.csv", index=False)
    given = recipe(work, "six.zarr")
    given["solum"]["calibration"] |= {"profiles": str(work / "six.csv"), "starts": 1, "evaluations": 1000,
                                      "quantiles": [], "baseline_features": []}  # fmt: skip
    made = tpsoil.run(given, progress=True)
    assert made["solum_thickness"].attrs["zones_without_profiles"] == "2, 8"
    assert "zone 2, 8: no profile" in capsys.readouterr().err
    there = made["zone"].load()
    assert made["solum_thickness"].where(there.isin((2, 8))).count() == 0
    assert made["solum_thickness"].where(there == 1).count() > 0


def test_a_run_stopped_while_it_calibrates_goes_on_from_the_searches_it_finished(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a recipe that was edited in between starts its own."""
    plan = recipe(work, "stopped.zarr")
    plan["solum"]["calibration"] |= {"evaluations": 600, "members": 20, "quantiles": []}
    searched: list[Any] = []
    stop_at = 0

    def counting(*arguments: Any) -> Any:
        searched.append(arguments)
        if len(searched) == stop_at:
            raise KeyboardInterrupt
        return search(*arguments)

    search = tpsoil.solum.search.search
    monkeypatch.setattr(tpsoil.solum.search, "search", counting)

    def stopped_at(count: int) -> int:
        nonlocal stop_at
        stop_at = count
        searched.clear()
        if count:
            with pytest.raises(TpsoilError, match="stopped; stored tiles remain valid"):
                tpsoil.run(plan, workers=1, progress=False)
        else:
            tpsoil.run(plan, workers=1, progress=False)
        return len(searched)

    assert stopped_at(20) >= 20
    finished = work / "stopped.zarr" / "_tpsoil" / "scratch" / "solum" / "searches.jsonl"
    kept = len(finished.read_text().splitlines()) - 1
    assert kept >= 18
    rest = stopped_at(0)
    assert not finished.exists()
    resumed = small_run.files_of(work / "stopped.zarr")
    shutil.rmtree(work / "stopped.zarr")
    assert stopped_at(0) == kept + rest
    assert small_run.files_of(work / "stopped.zarr") == resumed
    shutil.rmtree(work / "stopped.zarr")

    assert stopped_at(20)
    plan["solum"]["calibration"]["evaluations"] = 500
    assert stopped_at(0) == kept + rest


def test_a_recipe_that_assumes_every_layer_gives_one_value_everywhere(tmp_path: Path) -> None:
    forcing = {"mean_annual_temperature": 3.0, "annual_precipitation": 600.0, "water_erosion": 2.0,
               "wind_erosion": 1.0, "general_curvature": 0.0}  # fmt: skip
    recipe = {
        "run": {"name": "assumed", "output": str(tmp_path / "maps.zarr")},
        "grid": {"resolution": 100_000, "chunks": 16},
        "solum": {
            "zones": "none",
            "parameters": {**solum.PUBLISHED[8].as_dict(), "density_ratio": 1.35},
            "assumptions": {name: {"value": value, "reason": "a test"} for name, value in forcing.items()},
        },
    }
    maps = tpsoil.run(recipe, progress=False)
    layers = xr.Dataset({name: ((), np.float32(value)) for name, value in forcing.items()})
    expected = solum.thickness(layers, solum.PUBLISHED[8])
    np.testing.assert_array_equal(maps["solum_thickness"].values, np.float32(expected["solum_thickness"]))
    assert maps["solum_thickness"].shape == (18, 28)


def test_means_by_zone_are_area_means_on_a_grid_in_degrees(tmp_path: Path) -> None:
    """From 10 to 60 degrees north the cells of a row differ by a factor of two."""
    grid = grid_from_bounds("EPSG:4326", (80, 10, 90, 60), 0.5)
    cube = str(tmp_path / "cube.zarr")
    create_cube(cube, grid, chunks=16)
    warmth = np.linspace(-5, 25, grid.shape[0])[:, None] + np.zeros(grid.shape)
    layer = xr.DataArray(warmth.astype("float32"), dims=("y", "x"), coords=coordinates(grid))
    add_layer(cube, "mean_annual_temperature", layer, units="degC")
    others = {"annual_precipitation": 600.0, "water_erosion": 2.0, "wind_erosion": 1.0, "general_curvature": 0.0}
    table = {
        "zones": "none", "parameters": {**solum.PUBLISHED[8].as_dict(), "density_ratio": 1.35},
        "assumptions": {name: {"value": value, "reason": "a test"} for name, value in others.items()},
    }  # fmt: skip
    output = str(tmp_path / "maps.zarr")
    maps = tpsoil.run({"run": {"name": "degrees", "output": output, "cube": cube}, "solum": table}, progress=False)
    thick = maps["solum_thickness"].values.astype(float)
    area = np.multiply(*cell_sizes_m(grid))[:, None] * np.ones(grid.shape)
    expected = np.average(thick, weights=area)
    assert abs(expected - thick.mean()) > 0.005
    row = result_tables(output)[TITLES["solum"]].iloc[0]
    assert (row["cells"], row["mean m"]) == (thick.size, pytest.approx(expected, abs=6e-4))


def test_the_table_of_zones_counts_statuses_of_stored_maps_only() -> None:
    layers = {
        "solum_thickness": np.array([0.5, 1.5, np.nan]), "zone": np.array([1, 1, 1]),
        "solum_status": np.array([0, 3, 2]), "production_status": np.array([0, 2, 2]),
    }  # fmt: skip
    table = summarise_zones([tally_zones(layers)], list(layers))["solum"]
    counts = dict.fromkeys(SOLUM_STATUS.values(), 0) | {"steady": 1, "no steady state": 1, "capped at bedrock": 1}
    expected = {"zone": "1", "cells": 2, "mean m": 1.0, "least m": 0.5, "greatest m": 1.5, **counts}
    assert table.to_dict("records") == [{**expected, "production above 1 m/a": 2}]
    alone = {name: layers[name] for name in ("solum_thickness", "zone")}
    table = summarise_zones([tally_zones(alone)], list(alone))["solum"]
    assert list(table) == ["zone", "cells", "mean m", "least m", "greatest m"]


def test_the_sensitivity_is_computed_again_alone_and_removed_with_its_table(tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=32)
    del recipe["elements"]
    title, output = TITLES["solum_sensitivity"], recipe["run"]["output"]
    recipe["solum"]["sensitivity"] = {}
    tpsoil.run(recipe, progress=False)
    first = result_tables(output)[title]
    recipe["solum"]["sensitivity"] = {"change": 0.2}
    plan = {item.plan.stage: item for item in preview(recipe)}["solum"]
    assert (len(plan.plan.to_compute), plan.note) == (0, "its tables will be made again")
    tpsoil.run(recipe, progress=False)
    second = result_tables(output)[title]
    assert list(second["input"]) == list(first["input"])
    assert not second.equals(first)
    del recipe["solum"]["sensitivity"]
    tpsoil.run(recipe, progress=False)
    assert title not in result_tables(output)


def test_the_calibration_is_not_repeated_for_the_sensitivity(tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=32)
    del recipe["elements"]
    (tmp_path / "profiles.csv").write_text("x,y,solum_thickness\n1,1,0.8\n")
    recipe["solum"] = {"zones": "published", "calibration": {"profiles": str(tmp_path / "profiles.csv")}}

    def decisive() -> dict[str, Any]:
        return next(decisive_options(stage) for stage in job_of(recipe).stages if stage.name == "solum")

    before = decisive()
    recipe["solum"]["sensitivity"] = {"change": 0.2}
    assert decisive() == before
