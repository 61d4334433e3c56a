"""The tile engine: what is computed, what is not, and that the result does not depend on chunks or tiles."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
import xarray as xr

import tpsoil
from tpsoil.cube import add_layer, open_cube
from tpsoil.engine import lock, session
from tpsoil.engine.durable import sealed
from tpsoil.engine.ledger import Ledger
from tpsoil.engine.lock import locked
from tpsoil.engine.manifest import FORMAT
from tpsoil.engine.tiles import compute_tile
from tpsoil.errors import (
    AccessError,
    CorruptStoreError,
    InputError,
    StoreExistsError,
    TpsoilError,
    WorkError,
)
from tpsoil.micronutrients import train_elements
from tpsoil.recipes import element_maps, preview, result_tables, run, state_of, status
from tpsoil.variables import SOLUM_STATUS

TILES = 64


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A cube and a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("case")
    recipe = small_run.make_small(folder)
    run(recipe, workers=2, progress=False)
    return folder, recipe


@pytest.fixture
def case_copy(tmp_path: Path, case: tuple[Path, dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """A copy of the cube and the finished run."""
    import shutil

    for name in ("cube.zarr", "maps.zarr"):
        shutil.copytree(case[0] / name, tmp_path / name)
    shutil.copy(case[0] / "samples.csv", tmp_path)
    recipe = small_run.recipe_of(tmp_path)
    run(recipe, workers=1, progress=False)  # the store names its recipe, and this one's paths are others
    return tmp_path, recipe


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Every tile that is computed, as (stage, rectangle)."""
    results: list[tuple[str, Any]] = []

    def counting(assignment: Any, rectangle: Any) -> Any:
        results.append((assignment.stage.name, rectangle))
        return compute_tile(assignment, rectangle)

    monkeypatch.setattr(session, "compute_tile", counting)
    return results


def change_chunk(cube: str, name: str, i: int, j: int, by: float = 1.0) -> None:
    """Add to one chunk of a layer, through the store, so that no other chunk's bytes change."""
    import zarr

    array = zarr.open_array(cube, path=name, mode="r+")
    c = small_run.CHUNK
    window = (slice(i * c, (i + 1) * c), slice(j * c, (j + 1) * c))
    array[window] = np.asarray(array[window]) + np.float32(by)


def test_a_run_gives_a_whole_cube_that_says_what_it_was_made_from(case: tuple[Path, dict[str, Any]]) -> None:
    maps = open_cube(str(case[0] / "maps.zarr"))
    assert {"slope", "general_curvature", "zone", "solum_thickness", "solum_status", "iron", "iron_sd"} <= set(maps)
    assert maps.attrs["run_state"] == "complete"
    assert json.loads(maps.attrs["recipe"])["run"]["name"] == "small"
    assert "Chen et al. 2026" in maps.attrs["references"]
    assert "Albers" in maps.attrs["crs"] or "aea" in maps.attrs["crs"]
    assert tpsoil.__version__ in maps.attrs["software"]
    assert maps["solum_thickness"].attrs["units"] == "m"
    assert "modern water and wind erosion" in maps["solum_thickness"].attrs["assumptions"]
    assert maps["iron"].attrs["nse_random"] > 0
    tables = result_tables(str(case[0] / "maps.zarr"))
    zones = tables["Solum thickness by zone"]
    assert zones["cells"].iloc[-1] == int(np.isfinite(maps["solum_thickness"]).sum())
    assert list(tables["Elements, scores out of fold"]["folds"]) == ["random"]
    assert state_of(str(case[0] / "maps.zarr")) == ("complete", None)


def test_the_lazy_dataset_and_the_tiles_agree_bit_for_bit(case: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = case
    cube, maps = open_cube(str(folder / "cube.zarr")), open_cube(str(folder / "maps.zarr"))
    terrain = tpsoil.covariates.terrain_attributes(cube["elevation"])
    for name in ("slope", "general_curvature"):
        np.testing.assert_array_equal(maps[name].values, terrain[name].values)
    layers = cube.assign(general_curvature=maps["general_curvature"])
    layers["zone"] = tpsoil.solum.published_zones(layers)
    lazy = tpsoil.solum.thickness(layers, tpsoil.solum.PUBLISHED)
    for name in lazy:
        np.testing.assert_array_equal(maps[str(name)].values, lazy[name].values)
    assert np.isfinite(maps["solum_thickness"]).sum() > 10_000
    assert np.isnan(maps["solum_thickness"].values[cube["soil_mask"].values == 0]).all()


@pytest.mark.parametrize("chunk", [40, 128])
def test_results_do_not_depend_on_the_chunking(case: tuple[Path, dict[str, Any]], tmp_path: Path, chunk: int) -> None:
    """40 cells leave ragged last chunks, 128 is the whole grid in one."""
    folder, _ = case
    small_run.make_cube(str(tmp_path / "cube.zarr"), chunk=chunk)
    small_run.make_samples(tmp_path / "samples.csv")
    other = run(small_run.recipe_of(tmp_path), workers=2, progress=False)
    one = open_cube(str(folder / "maps.zarr"))
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=str(name))


def test_nothing_changed_nothing_computed(case_copy: tuple[Path, dict[str, Any]], computed: list[Any]) -> None:
    folder, recipe = case_copy
    before = small_run.files_of(folder / "maps.zarr")
    run(recipe, workers=1, progress=False)
    assert computed == []
    assert small_run.files_of(folder / "maps.zarr") == before


def test_one_chunk_changed_makes_the_one_tile_it_touches(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any]
) -> None:
    folder, recipe = case_copy
    change_chunk(str(folder / "cube.zarr"), "water_erosion", 3, 5)
    plans = {item.plan.stage: item.plan for item in preview(recipe)}
    assert plans["solum"].stale == {(3, 5): ["water_erosion changed"]}
    assert sum(len(plan.to_compute) for plan in plans.values()) == 1
    run(recipe, workers=1, progress=False)
    assert computed == [("solum", (3, 4, 5, 6))]
    whole = small_run.recipe_of(folder, output=str(folder / "again.zarr"))
    run(whole, workers=2, progress=False)
    again, partly = open_cube(str(folder / "again.zarr")), open_cube(str(folder / "maps.zarr"))
    for name in again:
        np.testing.assert_array_equal(again[name].values, partly[name].values, err_msg=str(name))


def test_a_halo_reaches_the_neighbours_and_no_farther(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any]
) -> None:
    folder, recipe = case_copy
    change_chunk(str(folder / "cube.zarr"), "elevation", 0, 4, by=0.5)
    run(recipe, workers=2, progress=False)
    by_stage: dict[str, set[tuple[int, int]]] = {}
    for stage, (i, _, j, _) in computed:
        by_stage.setdefault(stage, set()).add((i, j))
    around = {(i, j) for i in (0, 1) for j in (3, 4, 5)}
    assert by_stage["terrain"] == around
    # A constant added to one chunk leaves its inside's slope alone, and changes its neighbours' rims.
    assert by_stage["solum"] <= around
    assert (0, 4) in by_stage["solum"]


def test_what_uses_a_layer_is_made_again_when_it_is_replaced(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any]
) -> None:
    folder, recipe = case_copy
    cube = str(folder / "cube.zarr")
    old = open_cube(cube)["ndvi"].load()
    add_layer(cube, "ndvi", xr.DataArray(old.values * 0.5, dims=("y", "x"), coords=dict(old.coords)), overwrite=True)
    run(recipe, workers=2, progress=False)
    assert {stage for stage, _ in computed} == {"solum"}
    assert len(computed) == TILES


def test_a_new_covariate_remakes_what_uses_it(case_copy: tuple[Path, dict[str, Any]], computed: list[Any]) -> None:
    _folder, recipe = case_copy
    recipe["elements"]["features"].append("ndvi")
    plans = {item.plan.stage: item for item in preview(recipe)}
    assert plans["element_Fe"].note == "the model will be trained again"
    assert plans["element_Fe"].plan.reasons() == {
        "ndvi is new": TILES,
        "elements.features gained 'ndvi'": TILES,
    }
    run(recipe, workers=2, progress=False)
    assert {stage for stage, _ in computed} == {"element_Fe"}
    assert len(computed) == TILES


def test_a_recipe_edited_between_two_runs_remakes_what_it_touches(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any]
) -> None:
    folder, recipe = case_copy
    recipe["solum"]["dust_input"] = 1e-6
    del recipe["elements"]
    run(recipe, workers=2, progress=False)
    assert {stage for stage, _ in computed} == {"solum"}
    assert not (folder / "maps.zarr" / "_tpsoil" / "manifest" / "element_Fe.json").exists()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Elements whose forests are grown."""
    results: list[str] = []

    def counting(design: Any, symbols: list[str], *features: Any, **how: Any) -> Any:
        results.extend(symbols)
        return train_elements(design, symbols, *features, **how)

    monkeypatch.setattr(element_maps, "train_elements", counting)
    return results


def chunks_with_samples(folder: Path, recipe: dict[str, Any]) -> set[tuple[int, int]]:
    cells = tpsoil.sample_cube(open_cube(recipe["run"]["cube"]), pd.read_csv(folder / "samples.csv"))
    return set(zip(cells["cell_row"] // small_run.CHUNK, cells["cell_column"] // small_run.CHUNK))


def test_a_changed_chunk_without_a_sample_costs_its_tiles_and_no_training(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any], trained: list[str]
) -> None:
    folder, recipe = case_copy
    inside = chunks_with_samples(folder, recipe)
    (i, j), *_ = sorted({(i, j) for i in range(8) for j in range(8)} - inside)
    change_chunk(recipe["run"]["cube"], "annual_precipitation", i, j)
    assert {item.note for item in preview(recipe)} == {""}
    run(recipe, workers=1, progress=False)
    assert sorted(computed) == [("element_Fe", (i, i + 1, j, j + 1)), ("solum", (i, i + 1, j, j + 1))]
    assert trained == []


def test_a_changed_chunk_with_a_sample_trains_again(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any], trained: list[str]
) -> None:
    folder, recipe = case_copy
    i, j = sorted(chunks_with_samples(folder, recipe))[0]
    change_chunk(recipe["run"]["cube"], "annual_precipitation", i, j, by=300)
    assert "the model will be trained again" in {item.note for item in preview(recipe)}
    run(recipe, workers=2, progress=False)
    assert trained == ["Fe"]
    assert sum(stage == "element_Fe" for stage, _ in computed) == TILES


def test_a_summary_is_of_the_maps_as_they_are_though_it_reads_none(
    case_copy: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One changed tile; the table says what a look at every cell says, from what the tiles left in their records."""
    _folder, recipe = case_copy
    change_chunk(recipe["run"]["cube"], "wind_erosion", 2, 2, by=-3)
    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "compute", lambda self: pytest.fail("a map was read"))
        maps = run(recipe, workers=1, progress=False)
    table = result_tables(recipe["run"]["output"])["Solum thickness by zone"].set_index("zone")
    thick, zone, status_ = (maps[name].values for name in ("solum_thickness", "zone", "solum_status"))
    zones = np.unique(zone[np.isfinite(thick)])
    assert list(table.index.astype(str)) == [*map(str, zones), "all"]
    for label, here in [*((str(z), zone == z) for z in zones), ("all", zone != 255)]:
        row, values = table.loc[label], thick[here & np.isfinite(thick)].astype(float)
        assert row["cells"] == values.size
        expected = [values.mean().round(3), values.min().round(3), values.max().round(3)]
        np.testing.assert_allclose(list(row[["mean m", "least m", "greatest m"]]), expected, atol=1e-9)
        counts = [int((here & (status_ == code)).sum()) for code in SOLUM_STATUS]
        assert list(row[list(SOLUM_STATUS.values())]) == counts
        unphysical = maps["production_status"].values == 2
        assert row["production above 1 m/a"] == int((here & unphysical).sum())


def test_records_without_the_numbers_of_the_summary_are_made_again(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any]
) -> None:
    folder, recipe = case_copy
    path = folder / "maps.zarr" / "_tpsoil" / "manifest" / "solum.json"
    content = json.loads(path.read_text())
    content["tiles"]["0.0"] = content["tiles"]["0.0"][:3]
    path.write_text(json.dumps(sealed(content)))
    run(recipe, workers=1, progress=False)
    assert computed == [("solum", (0, 1, 0, 1))]


def test_only_makes_one_stage(tmp_path: Path, computed: list[Any]) -> None:
    recipe = small_run.make_small(tmp_path)
    run(recipe, workers=1, progress=False, only="terrain")
    assert {stage for stage, _ in computed} == {"terrain"}
    assert state_of(recipe["run"]["output"])[0] == "running"
    assert open_cube(recipe["run"]["output"]).attrs["run_state"] == "running"
    plans = {item.plan.stage: item.plan for item in status(recipe["run"]["output"])}
    assert plans["terrain"].current == TILES
    assert len(plans["solum"].missing) == TILES


def test_an_input_chunk_that_is_damaged_is_named(case_copy: tuple[Path, dict[str, Any]]) -> None:
    folder, recipe = case_copy
    small_run.flip_bit(folder / "cube.zarr" / "wind_erosion" / "c" / "2" / "6")
    with pytest.raises(CorruptStoreError, match=r"chunk \(2, 6\) of layer 'wind_erosion'.*is corrupted") as caught:
        run(recipe, workers=1, progress=False)
    assert caught.value.exit_status == 2
    path = folder / "cube.zarr" / "wind_erosion" / "c" / "2" / "6"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CorruptStoreError, match=r"chunk \(2, 6\) of layer 'wind_erosion'"):
        run(recipe, workers=1, progress=False)
    path.unlink()
    with pytest.raises(CorruptStoreError, match=r"chunk \(2, 6\) of layer 'wind_erosion' is missing"):
        run(recipe, workers=1, progress=False)
    assert open_cube(recipe["run"]["output"], incomplete=True).attrs["run_state"] == "running"


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_an_output_chunk_that_is_damaged_is_named_and_made_again(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any], capfd: pytest.CaptureFixture[str], harm: str
) -> None:
    folder, recipe = case_copy
    before = small_run.files_of(folder / "maps.zarr")
    path = folder / "maps.zarr" / "solum_thickness" / "c" / "4" / "1"
    if harm == "flip":
        small_run.flip_bit(path)
    elif harm == "truncate":
        path.write_bytes(path.read_bytes()[:30])
    else:
        path.unlink()
    message = "is gone" if harm == "remove" else "is not what was written"
    stale = next(item.plan for item in status(recipe["run"]["output"]) if item.plan.stage == "solum").stale
    assert list(stale) == [(4, 1)]
    assert f"solum_thickness/c/4/1 {message}" in stale[(4, 1)][0]
    with pytest.raises(CorruptStoreError, match=r"chunk \(4, 1\) of layer 'solum_thickness'"):
        open_cube(recipe["run"]["output"])["solum_thickness"].values.sum()
    run(recipe, workers=1)
    assert computed == [("solum", (4, 5, 1, 2))]
    assert f"solum_thickness/c/4/1 {message}" in capfd.readouterr().err
    assert small_run.files_of(folder / "maps.zarr") == before


def test_a_damaged_manifest_is_named_and_its_tiles_are_made_again(
    case_copy: tuple[Path, dict[str, Any]], computed: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, recipe = case_copy
    before = small_run.files_of(folder / "maps.zarr")
    path = folder / "maps.zarr" / "_tpsoil" / "manifest" / "solum.json"
    path.write_bytes(path.read_bytes()[:-40])
    run(recipe, workers=1)
    assert "_tpsoil/manifest/solum.json does not decode" in capfd.readouterr().err
    assert {stage for stage, _ in computed} == {"solum"}
    assert small_run.files_of(folder / "maps.zarr") == before


def test_an_existing_store_is_not_overwritten_without_the_setting(case_copy: tuple[Path, dict[str, Any]]) -> None:
    folder, _recipe = case_copy
    older = str(shutil.copytree(folder / "cube.zarr", folder / "older.zarr"))  # the cube itself is rejected as such
    with pytest.raises(StoreExistsError, match=r"a store that no run created.*overwrite = true") as caught:
        run(small_run.recipe_of(folder, output=older), progress=False)
    assert caught.value.exit_status == 2
    with pytest.raises(StoreExistsError, match="contains run 'small', the recipe is run 'other'"):
        run(small_run.recipe_of(folder, run={"name": "other"}), progress=False)
    smaller = {"resolution": 1000, "bounds": [0, 0, 64_000, 64_000], "chunks": 16}
    with pytest.raises(StoreExistsError, match="contains another grid"):
        run(small_run.recipe_of(folder, grid=smaller), progress=False)
    (folder / "notes").mkdir()
    (folder / "notes" / "precious.txt").write_text("keep")
    for leave in (False, True):
        with pytest.raises(StoreExistsError, match="is there and is no Zarr store"):
            run(small_run.recipe_of(folder, run={"output": str(folder / "notes"), "overwrite": leave}), progress=False)
    assert (folder / "notes" / "precious.txt").read_text() == "keep"
    again = run(small_run.recipe_of(folder, run={"name": "other", "overwrite": True}), workers=2, progress=False)
    assert again.attrs["run"] == "other"


def test_a_store_of_a_newer_format_is_refused(case_copy: tuple[Path, dict[str, Any]]) -> None:
    folder, recipe = case_copy
    path = folder / "maps.zarr" / "_tpsoil" / "run.json"
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {"format": FORMAT + 1})))
    for action in (lambda: run(recipe, progress=False), lambda: status(recipe["run"]["output"])):
        with pytest.raises(
            InputError, match=f"run format {FORMAT + 1}, this tpsoil reads formats up to {FORMAT}; update"
        ):
            action()


def test_records_of_an_older_format_do_not_count(case_copy: tuple[Path, dict[str, Any]], computed: list[Any]) -> None:
    """Their digests are of another kind: the tiles are computed again, and nothing is called damaged."""
    folder, recipe = case_copy
    before = small_run.files_of(folder / "maps.zarr")
    for path in (folder / "maps.zarr" / "_tpsoil" / "manifest").glob("*.json"):
        content = json.loads(path.read_text()) | {"format": 1}
        path.write_text(json.dumps({key: value for key, value in content.items() if key != "checksum"}))
    assert [(len(item.plan.missing), item.plan.reasons()) for item in status(recipe["run"]["output"])] == [
        (TILES, {})
    ] * 3
    run(recipe, workers=2, progress=False)
    assert len(computed) == 3 * TILES
    assert small_run.files_of(folder / "maps.zarr") == before


def test_a_store_of_an_older_format_is_migrated_with_one_line(
    case_copy: tuple[Path, dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, recipe = case_copy
    for path in (folder / "maps.zarr" / "_tpsoil").rglob("*.json"):
        content = json.loads(path.read_text())
        if "format" in content:
            content = {key: value for key, value in content.items() if key != "checksum"} | {"format": 2}
            path.write_text(json.dumps(content))
    run(recipe, workers=2)
    text = " ".join(capfd.readouterr().err.split())
    assert text.count(f"with run format 2, this tpsoil writes format {FORMAT}; its layers are read as they are") == 1
    run(recipe, workers=2)
    assert "run format" not in capfd.readouterr().err


def test_a_store_whose_cube_is_elsewhere_is_reported(case_copy: tuple[Path, dict[str, Any]]) -> None:
    folder, recipe = case_copy
    (folder / "cube.zarr").rename(folder / "moved.zarr")
    notes = {item.note for item in status(recipe["run"]["output"])}
    assert any("cube.zarr: no such store, which should hold the layer 'elevation'" in note for note in notes)


def test_damage_of_many_chunks_is_reported_once_a_layer(case_copy: tuple[Path, dict[str, Any]]) -> None:
    folder, recipe = case_copy
    for path in (folder / "maps.zarr" / "slope" / "c" / "2").iterdir():
        small_run.flip_bit(path)
    (folder / "maps.zarr" / "general_curvature" / "c" / "0" / "7").unlink()
    reasons = next(item.plan for item in status(recipe["run"]["output"]) if item.plan.stage == "terrain").reasons()
    assert reasons == {
        "slope/c/2/0 and 7 more chunks of slope: each is not what was written (damage, or an interrupted write)": 8,
        "general_curvature/c/0/7 is gone": 1,
    }


def test_another_run_on_the_same_store_is_rejected_while_the_first_is_running(
    case_copy: tuple[Path, dict[str, Any]],
) -> None:
    _folder, recipe = case_copy
    ledger = Ledger.at(recipe["run"]["output"])
    with locked(ledger):
        with pytest.raises(AccessError, match=r"another run is writing to it \(process") as caught:
            run(recipe, progress=False)
        assert caught.value.exit_status == 2
        assert "process" in str(state_of(recipe["run"]["output"])[1])
    run(recipe, progress=False)


def test_a_stale_lock_is_recognised(case_copy: tuple[Path, dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    _folder, recipe = case_copy
    ledger = Ledger.at(recipe["run"]["output"])
    dead = {"token": "x", "host": socket.gethostname(), "machine": lock.machine(), "process": 2**22 + 1}
    ledger.write_json("lock.json", dead)
    run(recipe)
    assert "took over the lock of a run that ended without releasing it" in capfd.readouterr().err
    assert ledger.read("lock.json") is None


@pytest.mark.parametrize(
    "content", [b"abc", b"", b'{"process": "abc"}', b"[1]", b"\xff\x00", b'{"token": 5, "process": {}}']
)
def test_a_lock_that_no_run_wrote_is_taken_over(
    case_copy: tuple[Path, dict[str, Any]], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder, recipe = case_copy
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.1)
    ledger = Ledger.at(recipe["run"]["output"])
    ledger.write("lock.json", content)
    assert state_of(recipe["run"]["output"])[0] in {"complete", "running"}
    run(recipe, progress=False)
    assert ledger.read("lock.json") is None


def test_memory_over_the_limit_is_refused_with_the_setting_that_fits(case_copy: tuple[Path, dict[str, Any]]) -> None:
    _folder, recipe = case_copy
    with pytest.raises(InputError, match=r", memory allows 0.1 GB; give memory=0\.\d+; 0.4\d\d GB of it are"):
        run(recipe, memory=0.1, progress=False)
    forecasts = [item.forecast.total for item in preview(recipe, workers=2) if item.forecast]
    assert 0.3e9 < max(forecasts) < 1e9


def test_a_read_only_output_is_reported(
    case_copy: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder, recipe = case_copy
    from zarr.storage import LocalStore

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    async def refuse_later(*_: Any, **__: Any) -> None:
        refuse()

    monkeypatch.setattr(LocalStore, "_set", refuse_later)
    monkeypatch.setattr("tpsoil.cube.chunks.put_file", refuse)
    with pytest.raises(AccessError, match=r"cannot be written \(Permission denied\)"):
        run(recipe, progress=False)


def test_a_worker_thread_that_fails_stops_the_run_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_run.make_small(tmp_path)
    calls = []

    def failing(assignment: Any, rectangle: Any) -> Any:
        calls.append(rectangle)
        if len(calls) == 90:
            raise WorkError("the machine stumbled")
        return compute_tile(assignment, rectangle)

    monkeypatch.setattr(session, "compute_tile", failing)
    with pytest.raises(WorkError, match="stumbled"):
        run(recipe, workers=2, progress=False)
    stored = {item.plan.stage: item.plan for item in status(recipe["run"]["output"])}
    assert stored["terrain"].current == TILES
    assert 0 < stored["solum"].current < TILES
    with pytest.warns(UserWarning, match="left out, because writing did not end"):
        assert "solum_thickness" not in open_cube(recipe["run"]["output"])
    monkeypatch.setattr(session, "compute_tile", compute_tile)
    run(recipe, workers=2, progress=False)
    run(small_run.recipe_of(tmp_path, output=str(tmp_path / "whole.zarr")), workers=1, progress=False)
    resumed, whole = (small_run.files_of(tmp_path / name) for name in ("maps.zarr", "whole.zarr"))
    different = {key for key in resumed | whole if resumed.get(key) != whole.get(key)}
    # The two recipes name two outputs, and that is all.
    assert different <= {"zarr.json", "_tpsoil/run.json"}


def test_progress_and_log(case_copy: tuple[Path, dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    folder, recipe = case_copy
    change_chunk(recipe["run"]["cube"], "water_erosion", 1, 1)
    run(recipe, workers=1)
    err = capfd.readouterr().err
    assert "solum thickness: 1 of 1 tiles in" in err
    assert "small: complete; 1 of 192 tiles computed, 191 were up to date" in err
    text = (folder / "maps.log").read_text()
    assert "tile (1, 1) is stale: water_erosion changed" in text
    assert "forecast of memory" in text


def test_classes_that_training_never_saw(case_copy: tuple[Path, dict[str, Any]]) -> None:
    _folder, recipe = case_copy
    cube = recipe["run"]["cube"]
    zone = open_cube(cube)["climate_zone"].load()
    values = zone.values.copy()
    values[:3, :3] = 1
    add_layer(cube, "climate_zone", xr.DataArray(values, dims=("y", "x"), coords=dict(zone.coords)), overwrite=True)
    with pytest.raises(InputError, match=r"classes that no sample of Fe has \(climate_zone: 1\).*unseen_classes") as e:
        run(recipe, progress=False)
    assert e.value.exit_status == 2
    recipe["elements"]["unseen_classes"] = "nodata"
    maps = run(recipe, progress=False)
    assert np.isnan(maps["iron"].values[:3, :3]).all()
    assert maps["iron"].attrs["unseen_classes"] == "climate_zone: 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("longitude,latitude\n90,33\n", "no column 'Fe'"),
        ("longitude,latitude,Fe\n90,33,low\n", "column 'Fe' has text in line 2: 'low'"),
        ("longitude,latitude,Fe\n33,90.5,2\n", "longitude and latitude are swapped"),
        ("longitude,latitude,Fe\n10,33,25000\n11,30,24000\n", "none of 2 points is inside the grid"),
    ],
)
def test_samples_that_cannot_be_used(case_copy: tuple[Path, dict[str, Any]], text: str, message: str) -> None:
    folder, recipe = case_copy
    (folder / "samples.csv").write_text(text)
    with pytest.raises(TpsoilError, match=message) as caught:
        run(recipe, progress=False)
    assert caught.value.exit_status == 2


def test_samples_off_the_grid_are_counted_and_said(
    case_copy: tuple[Path, dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, recipe = case_copy
    with (folder / "samples.csv").open("a") as file:
        file.write("10,45,20000\n12,45,21000\n")
    run(recipe)
    assert "samples.csv: 2 of 152 samples are outside the grid" in " ".join(capfd.readouterr().err.split())
