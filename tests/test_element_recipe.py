"""A recipe of the complete element study: screening, calibration, intervals, drivers, and rejected input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
from run_tables import untitled

from tpsoil.cli.tables import table_text
from tpsoil.column_titles import with_titles
from tpsoil.cube import open_cube
from tpsoil.engine.ledger import Ledger
from tpsoil.engine.prepare import read_tables
from tpsoil.errors import InputError, RecipeError, UnitsError
from tpsoil.recipes import read_recipe, result_tables, run

SIDE = 48


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small cube, and triplicates of 60 sites with XRF, some ICP, a measured texture, and one gross error."""
    folder = tmp_path_factory.mktemp("elements")
    small_run.make_cube(str(folder / "cube.zarr"), side=SIDE)
    small_run.make_samples(folder / "plain.csv", side=SIDE, count=60)
    plain = pd.read_csv(folder / "plain.csv")
    rng = np.random.default_rng(2)
    table = plain.loc[plain.index.repeat(3)].reset_index(drop=True)
    table["plot"] = [f"p{k:02d}" for k in np.repeat(np.arange(60), 3)]
    table["part"] = np.tile([1, 2, 3], 60)
    table["sand"] = np.repeat(rng.uniform(20, 80, 60), 3)
    table["Fe"] = (24_000 + table["Fe"] - 300 * table["sand"] + rng.normal(0, 100, 180)).round(1)
    table["Fe_icp"] = np.where(rng.random(180) < 0.4, (1000 + 1.1 * table["Fe"]).round(1), np.nan)
    table["Zn"] = [f"{v:.1f}" if v > 38 else "<38" for v in rng.normal(50, 8, 180)]
    table["rock"] = np.where(table["sand"] > 50, "granite", "schist")
    table.loc[5, "Fe"] = 180_000.0
    table.loc[9:11, "Fe"] = np.nan  # a site without any value
    table.to_csv(folder / "samples.csv", index=False)
    recipe = small_run.recipe_of(folder)
    del recipe["solum"]
    recipe["elements"] = {
        "samples": str(folder / "samples.csv"),
        "elements": ["Fe", "Zn"],
        "features": ["elevation", "slope", "annual_precipitation", "climate_zone"],
        "site": "plot",
        "replicate": "part",
        "trees": 20,
        "folds": ["random", "group"],
        "log": True,
        "interval": 0.9,
        "icp": {"Fe": "Fe_icp"},
        "screen": {"threshold": 3, "method": "mad", "log": True},
        "extra_features": ["sand"],
        "compare": ["climate_zone", "rock", "elevation"],
        "classes": {"elevation": [4200]},
        "drivers": True,
        "effects": ["elevation", "climate_zone", "elevation*slope"],
        "search": {"min_samples_leaf": [1, 5]},
        "search_trees": 5,
    }
    return folder, recipe


@pytest.fixture(scope="module")
def done(base: tuple[Path, dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    run(base[1], workers=2, progress=False)
    return base


def changed(base: tuple[Path, dict[str, Any]], folder: Path, **keys: Any) -> dict[str, Any]:
    recipe = {name: dict(table) for name, table in base[1].items()}
    recipe["run"]["output"] = str(folder / "maps.zarr")
    recipe["elements"] = {**recipe["elements"], "trees": 4, "search": {}, "effects": [], **keys}
    if not recipe["elements"]["search"]:
        del recipe["elements"]["search_trees"]
    return recipe


def test_all_layers_of_every_element_are_written(done: tuple[Path, dict[str, Any]]) -> None:
    maps = open_cube(done[1]["run"]["output"])
    for name in ("iron", "zinc"):
        assert {name, *(f"{name}_{s}" for s in ("sd", "lower", "upper", "dissimilarity", "applicability"))} <= set(maps)
        lower, mean, upper = (maps[n].values for n in (f"{name}_lower", name, f"{name}_upper"))
        known = np.isfinite(mean)
        assert known.sum() > 1500
        assert (lower[known] < upper[known]).all()
        assert maps[name].attrs["deciding_folds"] == "whole groups"
        assert maps[f"{name}_lower"].attrs["interval_level"] == 0.9
    assert maps["zinc"].attrs["censored_filled"] > 0


def test_tables_tell_what_was_done(done: tuple[Path, dict[str, Any]]) -> None:
    tables = result_tables(done[1]["run"]["output"])
    titles = list(tables)
    samples = tables["Samples, mg/kg: screening and site means"].set_index("element")
    assert samples.loc["Fe", "removed"] >= 1  # the gross error
    # Of those that were used: a site lost all its replicates, and another lies on the grid's edge, where no slope is.
    assert samples.loc["Fe", "sites"] == 58
    assert samples.loc["Zn", "censored"] > 0
    line = tables["Calibration of XRF to ICP-MS"].iloc[0]
    assert (line["slope"], line["intercept"]) == (pytest.approx(1.1, rel=1e-3), pytest.approx(1000, rel=0.02))
    scores = tables["Elements, scores out of fold"]
    assert scores.groupby("element")["folds"].apply(list).to_dict() == {e: ["random", "group"] for e in ("Fe", "Zn")}
    extra = tables["Scores with the extra features of the samples; these are not mapped"]
    by = {name: t[(t["element"] == "Fe") & (t["folds"] == "group")]["nse"].iloc[0] for name, t in
          (("maps", scores), ("extra", extra))}  # fmt: skip
    assert by["extra"] > by["maps"]
    intervals = tables["Intervals out of fold: empirical coverage"]
    assert set(intervals["level"]) == {0.5, 0.8, 0.9, 0.95}
    assert set(tables["Observed on predicted (Pineiro), and Theil's parts of the error"]["folds"]) == {"group"}
    drivers = tables["Drivers: rise of the held-out error, % (95 % limits); %IncMSE scaled and unscaled; linear shares"]
    assert set(drivers["feature"]) == {"elevation", "slope", "annual_precipitation", "climate_zone"}
    assert np.isnan(drivers.loc[drivers["feature"] == "climate_zone", "vif"]).all()
    assert (drivers["low"] <= drivers["held_out"]).all()
    iron = drivers[drivers["element"] == "Fe"]
    assert iron["held_out"].is_monotonic_decreasing
    assert iron["rank"].tolist() == [1, 2, 3, 4]
    assert {"scaled", "unscaled"} <= set(drivers)
    groups = tables["Classes compared on site means; classes that share a letter do not differ"]
    rock = groups[(groups["element"] == "Fe") & (groups["classes"] == "rock")].set_index("group")
    assert rock["letters"].to_dict() == {"schist": "a", "granite": "b"}
    assert rock["n"].sum() == 59
    assert set(groups[groups["classes"] == "climate_zone"]["group"]) == {"cold", "polar"}  # names, not codes
    assert "Intervals by class" in titles
    long = read_tables(Ledger.at(done[1]["run"]["output"], read_only=True), ["element_Fe"])
    assert {
        "predictions_Fe",
        "coverage_Fe",
        "importance_Fe",
        "effect_Fe_elevation",
        "effect_Fe_elevation_slope",
    } <= set(long)
    assert not any(title.startswith(("predictions", "effect", "importance", "coverage_")) for title in titles)
    predictions = long["predictions_Fe"]
    assert {"observed", "predicted", "lower", "upper"} <= set(predictions)
    assert {"feature", "value", "effect"} <= set(long["effect_Fe_elevation"])


def test_printed_tables_stay_within_a_terminal(done: tuple[Path, dict[str, Any]]) -> None:
    for title, table in result_tables(done[1]["run"]["output"]).items():
        text = table.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="-")
        assert max(map(len, text.splitlines())) <= 100, title
        titled = table_text(with_titles(table, table.attrs["name"]), 80)
        assert max(map(len, titled.splitlines())) <= 80, title


def test_every_column_of_every_table_has_a_title(done: tuple[Path, dict[str, Any]]) -> None:
    assert untitled(done[1]["run"]["output"]) == set()


def test_the_same_run_again_makes_nothing(done: tuple[Path, dict[str, Any]]) -> None:
    before = small_run.files_of(Path(done[1]["run"]["output"]) / "iron_lower")
    run(done[1], workers=1, progress=False)
    assert small_run.files_of(Path(done[1]["run"]["output"]) / "iron_lower") == before


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"elements": ["Zn"], "icp": {}, "limits": {"Zn": 50}}, InputError, r"values of 'Zn' \(5\d %\) are below"),
        ({"elements": ["Fe"], "units": {"Fe": "%"}, "icp": {}}, UnitsError, "exceeds 1 000 000|as if it were in"),
        ({"elements": {"Fe": "sand"}, "icp": {}, "extra_features": []}, UnitsError, "as if it were in"),
        (
            {"elements": ["Zn"], "icp": {"Zn": "Fe_icp"}, "replicate": None},
            InputError,
            "given twice|no value|alike|XRF",
        ),
        ({"compare": ["biome"], "classes": {}}, InputError, "no column 'biome'"),
        ({"extra_features": ["clay"]}, InputError, "no column 'clay'"),
    ],
)
def test_invalid_samples_are_rejected(
    base: tuple[Path, dict[str, Any]], tmp_path: Path, keys: dict[str, Any], error: type, words: str
) -> None:
    if "replicate" in keys:  # a calibration needs ten pairs
        table = pd.read_csv(base[0] / "samples.csv")
        table.loc[8:, "Fe_icp"] = np.nan
        table.to_csv(tmp_path / "few.csv", index=False)
        keys, words = (
            {**keys, "replicate": "part", "samples": str(tmp_path / "few.csv")},
            "both an XRF and an ICP value",
        )
    with pytest.raises(error, match=words) as caught:
        run(changed(base, tmp_path, **keys), progress=False)
    assert caught.value.exit_status == 2


def test_options_are_checked_before_anything_is_computed(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    def fault(**keys: Any) -> str:
        with pytest.raises(RecipeError) as caught:
            read_recipe(changed(base, tmp_path, **keys))
        return str(caught.value)

    assert "interval: is 0.7, expected one of 0.5, 0.8, 0.9, 0.95" in fault(interval=0.7)
    assert "limits names 'Ni', which is none of the elements Fe, Zn" in fault(limits={"Ni": 5})
    assert "effects names 'slop', which is no feature; did you mean 'slope'" in fault(effects=["slop*elevation"])
    assert "screen.treshold: unknown key; did you mean 'threshold'" in fault(screen={"treshold": 3})
    assert "calibration" in fault(calibration="theil")
    with pytest.raises(RecipeError, match="ndvy"):
        run(changed(base, tmp_path, features=["elevation", "ndvy"]), progress=False)
    assert not (tmp_path / "maps.zarr").exists()


def test_a_constant_covariate_is_rejected_by_name(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = pd.read_csv(base[0] / "samples.csv")
    table["flat"] = 3.0
    table.to_csv(tmp_path / "flat.csv", index=False)
    recipe = changed(base, tmp_path, samples=str(tmp_path / "flat.csv"), extra_features=["flat"], elements=["Fe"])
    with pytest.raises(InputError, match="flat is constant over the"):
        run(recipe, progress=False)
