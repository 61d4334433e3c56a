"""Elements are mapped in one pass, and an element, a figure or a table that is added repeats nothing of the others."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run

from tpsoil.cube import open_cube
from tpsoil.engine import session
from tpsoil.engine.passes import passes_of
from tpsoil.engine.tiles import compute_tile
from tpsoil.forest import train
from tpsoil.forest.state import dump_state, load_state
from tpsoil.micronutrients import importance
from tpsoil.recipes import preview, result_tables, run
from tpsoil.recipes.jobs import job_of
from tpsoil.stage import Workbench

SIDE = 32
TILES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cube, and samples of three elements, one of them with some ICP-MS readings."""
    folder = tmp_path_factory.mktemp("pass")
    small_run.make_cube(str(folder / "cube.zarr"), side=SIDE)
    small_run.make_samples(folder / "samples.csv", side=SIDE, count=80)
    table = pd.read_csv(folder / "samples.csv")
    rng = np.random.default_rng(3)
    table["Zn"] = (50 + table["Fe"] / 1000 + rng.normal(0, 3, 80)).round(2)
    table["Cu"] = (0.002 * (10 + table["Fe"] / 2000 + rng.normal(0, 1, 80))).round(5)
    table["Fe_icp"] = np.where(rng.random(80) < 0.5, (500 + 1.1 * table["Fe"]).round(1), np.nan)
    table["rock"] = np.where(rng.random(80) < 0.5, "granite", "schist")
    table.to_csv(folder / "samples.csv", index=False)
    return folder


def recipe_of(folder: Path, output: Path, elements: list[str], **keys: Any) -> dict[str, Any]:
    recipe = small_run.recipe_of(folder, output=str(output))
    del recipe["solum"]
    recipe["elements"] |= {"elements": elements, "trees": 5, "interval": 0.9, "units": {}, **keys}
    if "Cu" in elements:
        recipe["elements"]["units"] = {"Cu": "%"}
        recipe["elements"]["check_units"] = False
    return recipe


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Stages of each pass over a tile."""
    passes: list[tuple[str, ...]] = []

    def recording(assignment: Any, rectangle: Any) -> Any:
        passes.append(tuple(member.stage.name for member in assignment.members))
        return compute_tile(assignment, rectangle)

    monkeypatch.setattr(session, "compute_tile", recording)
    return passes


def trainings(output: Path) -> list[str]:
    """Titles of the stages that were trained, from the log of the runs into a store."""
    lines = output.with_suffix(".log").read_text().splitlines()
    return [match[1] for line in lines if (match := re.search(r" INFO (.*): training$", line))]


def same_as_from_scratch(recipe: dict[str, Any]) -> None:
    """The store of several runs has the bytes of a store that one run makes."""
    output = Path(recipe["run"]["output"])
    several = small_run.files_of(output)
    shutil.rmtree(output)
    run(recipe, workers=1, progress=False)
    once = small_run.files_of(output)
    assert {key for key in several | once if several.get(key) != once.get(key)} == set()


def test_an_added_element_repeats_nothing_of_the_others(
    folder: Path, tmp_path: Path, computed: list[tuple[str, ...]]
) -> None:
    output = tmp_path / "maps.zarr"
    run(recipe_of(folder, output, ["Zn", "Fe"], check_units=False), workers=1, progress=False)
    assert computed.count(("element_Zn", "element_Fe")) == TILES, "two elements, one pass"
    del computed[:]
    # Before the others, with a unit of its own and readings of another element.
    wider = recipe_of(folder, output, ["Cu", "Zn", "Fe"], limits={"Cu": 0.0001})
    plans = {one.title: one.plan for one in preview(wider)}
    assert (plans["topsoil zinc"].current, plans["topsoil iron"].current) == (TILES, TILES)
    run(wider, workers=1, progress=False)
    assert set(computed) == {("element_Cu",)}
    assert trainings(output) == ["topsoil zinc", "topsoil iron", "topsoil copper"]
    same_as_from_scratch(wider)


def test_figures_and_tables_repeat_neither_training_nor_tiles(
    folder: Path, tmp_path: Path, computed: list[tuple[str, ...]]
) -> None:
    output = tmp_path / "maps.zarr"
    run(recipe_of(folder, output, ["Zn", "Fe"]), workers=1, progress=False)
    del computed[:]
    more = recipe_of(
        folder, output, ["Zn", "Fe"],
        citation="Nobody 2026", drivers=True, driver_repeats=2, effects=["elevation"], dependence=True,
        compare=["rock"],
    )  # fmt: skip
    notes = {one.title: one.note for one in preview(more)}
    assert notes["topsoil zinc"] == "its tables will be made again"
    run(more, workers=1, progress=False)
    assert computed == []
    assert trainings(output) == ["topsoil zinc", "topsoil iron"]
    titles = " ".join(result_tables(str(output)))
    assert "Drivers: rise of the held-out error" in titles
    assert "Classes compared" in titles
    same_as_from_scratch(more)


def test_a_calibration_of_one_element_leaves_the_others(
    folder: Path, tmp_path: Path, computed: list[tuple[str, ...]]
) -> None:
    output = tmp_path / "maps.zarr"
    run(recipe_of(folder, output, ["Zn", "Fe"]), workers=1, progress=False)
    del computed[:]
    calibrated = recipe_of(
        folder, output, ["Zn", "Fe"], icp={"Fe": "Fe_icp"}, calibration="rma", uncalibrated_maps=True
    )
    run(calibrated, workers=1, progress=False)
    assert set(computed) == {("element_Fe", "element_Fe_xrf")}


def test_tiles_of_one_element_are_repaired_alone(folder: Path, tmp_path: Path, computed: list[tuple[str, ...]]) -> None:
    output = tmp_path / "maps.zarr"
    recipe = recipe_of(folder, output, ["Zn", "Fe"])
    run(recipe, workers=1, progress=False)
    before = small_run.files_of(output)
    (output / "zinc" / "c" / "0" / "1").unlink()
    (output / "zinc" / "c" / "1" / "1").unlink()
    (output / "iron" / "c" / "1" / "1").unlink()
    del computed[:]
    run(recipe, workers=1, progress=False)
    assert sorted(computed) == [("element_Zn",), ("element_Zn", "element_Fe")]
    assert small_run.files_of(output) == before


def test_less_memory_than_a_pass_needs_divides_it(
    folder: Path, tmp_path: Path, computed: list[tuple[str, ...]]
) -> None:
    recipe = recipe_of(folder, tmp_path / "maps.zarr", ["Zn", "Fe"])
    alone = recipe_of(folder, tmp_path / "one.zarr", ["Fe"])
    run(alone, workers=1, progress=False)
    model = (tmp_path / "one.zarr" / "_tpsoil" / "models" / "element_Fe.bin").stat().st_size
    both = {one.title: one.forecast for one in preview(recipe, workers=1)}["topsoil zinc"]
    single = {one.title: one.forecast for one in preview(alone, workers=1)}["topsoil iron"]
    assert both is not None
    assert single is not None
    assert both.total > single.total
    # Enough for the model of one element and its tile, not for two.
    del computed[:]
    run(recipe, workers=1, memory=(single.total + 2.5 * model) / 1e9, progress=False)
    assert computed.count(("element_Zn",)) == computed.count(("element_Fe",)) == TILES
    assert small_run.files_of(tmp_path / "maps.zarr" / "iron") == small_run.files_of(tmp_path / "one.zarr" / "iron")


def test_stages_that_read_each_other_are_not_in_one_pass(folder: Path, tmp_path: Path) -> None:
    stages = job_of(recipe_of(folder, tmp_path / "maps.zarr", ["Zn", "Fe", "Cu"])).stages
    passes = [[stage.name for stage in one] for one in passes_of(stages, 12)]
    assert ["element_Zn", "element_Fe", "element_Cu"] in passes
    assert [len(one) for one in passes_of(stages, 2)][-2:] == [2, 1]


def test_a_training_reports_its_folds(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(folder, tmp_path / "maps.zarr", ["Fe"], features=["elevation", "annual_precipitation"])
    stage = next(stage for stage in job_of(recipe).stages if stage.name == "element_Fe")
    assert stage.prepare is not None
    counts: list[tuple[int, int]] = []
    bench = Workbench(progress=lambda done, total: counts.append((done, total)))
    stage.prepare(open_cube(str(folder / "cube.zarr")), stage.options, bench)
    # Five random folds, then the forest of the map.
    assert counts == [(done, 6) for done in range(1, 7)]


def test_the_state_of_a_training_is_its_forest() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((60, 2)), columns=["slope", "noise"], index=np.arange(60) * 2)
    table["rock"] = np.where(rng.random(60) < 0.5, "granite", "schist")
    table["site"] = [f"s{k // 2}" for k in range(60)]
    table["Fe"] = 10 + 100 * table["slope"] + (table["rock"] == "schist")
    trained = train(table, "Fe", ["slope", "noise", "rock"], "site", trees=8, transform="log10", units="mg/kg")
    again = load_state(dump_state(trained), grow=True)
    pd.testing.assert_frame_equal(again.predict(table, (0.1, 0.9)), trained.predict(table, (0.1, 0.9)))
    pd.testing.assert_frame_equal(importance(again), importance(trained))
    pd.testing.assert_frame_equal(again.scores, trained.scores)
    for name in ("folds", "rows", "design"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(trained, name))
    pd.testing.assert_series_equal(again.groups, trained.groups)
    assert dump_state(again) == dump_state(trained)


def edited(samples: Path, column: str, row: int, change: float | str) -> None:
    """One cell of a table of samples is changed; no other text of the file."""
    table = pd.read_csv(samples, dtype=str, keep_default_na=False)
    table.loc[row, column] = change if isinstance(change, str) else repr(float(table.loc[row, column]) + change)
    table.to_csv(samples, index=False)


def test_an_edited_column_of_samples_retrains_its_element_alone(
    folder: Path, tmp_path: Path, computed: list[tuple[str, ...]]
) -> None:
    shutil.copy(folder / "samples.csv", tmp_path / "samples.csv")
    output = tmp_path / "maps.zarr"
    recipe = recipe_of(folder, output, ["Zn", "Fe"], samples=str(tmp_path / "samples.csv"), compare=["rock"])

    def of_iron() -> dict[str, str]:
        return {name: digest for name, digest in small_run.files_of(output).items() if "iron" in name or "_Fe" in name}

    run(recipe, workers=1, progress=False)
    before = of_iron()
    assert {Path(name).parts[0] for name in before} >= {"iron", "_tpsoil"}
    del computed[:]
    edited(tmp_path / "samples.csv", "Zn", 7, 30.0)
    plans = {one.title: one.plan for one in preview(recipe)}
    assert plans["topsoil iron"].current == TILES
    assert list(plans["topsoil zinc"].reasons()) == ["file samples.csv, column Zn changed"]
    run(recipe, workers=1, progress=False)
    assert set(computed) == {("element_Zn",)}
    assert trainings(output) == ["topsoil zinc", "topsoil iron", "topsoil zinc"]
    assert of_iron() == before

    del computed[:]
    edited(tmp_path / "samples.csv", "rock", 7, "gneiss")  # decides tables alone
    run(recipe, workers=1, progress=False)
    assert computed == []
    assert len(trainings(output)) == 3
    assert {name for name, digest in of_iron().items() if before.get(name) != digest}, "its tables were made again"

    edited(tmp_path / "samples.csv", "longitude", 7, 0.02)
    plans = {one.title: one.plan for one in preview(recipe)}
    for title in ("topsoil iron", "topsoil zinc"):
        assert "file samples.csv, positions changed" in plans[title].reasons()
        assert plans[title].current == 0


def test_another_file_of_samples_is_named_by_its_key(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "maps.zarr"
    run(recipe_of(folder, output, ["Fe"]), workers=1, progress=False)
    shutil.copy(folder / "samples.csv", tmp_path / "later.csv")
    (plan,) = [
        one.plan
        for one in preview(recipe_of(folder, output, ["Fe"], samples=str(tmp_path / "later.csv")))
        if one.title == "topsoil iron"
    ]
    assert "elements.samples changed from 'samples.csv' to 'later.csv'" in plan.reasons()


def test_a_warning_about_samples_is_given_once_in_a_run(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "samples.csv")
    table.to_csv(tmp_path / "samples.csv", index=False, sep=";", decimal=",")
    recipe = recipe_of(folder, tmp_path / "maps.zarr", ["Zn", "Fe"], samples=str(tmp_path / "samples.csv"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        preview(recipe)
        run(recipe, workers=1, progress=False)
    texts = [str(one.message) for one in caught if "samples" in str(one.message)]
    assert len([text for text in texts if "comma is read as the decimal point" in text]) == 1
    assert len(texts) == len(set(texts))
