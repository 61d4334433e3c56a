"""Notes of a run: maps and scores outside published ranges, assumptions outside physics, maps without a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
import xarray as xr

import tpsoil
from tpsoil.cube import add_layer, open_cube
from tpsoil.errors import RecipeError
from tpsoil.grid import coordinates
from tpsoil.plausibility import REFERENCES, chunk_statistics, emptiness, notes_of, references_at, score_notes
from tpsoil.reports.page import page_html
from tpsoil.variables import CATALOGUE, variable

SIDE = 32


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: r.layer)
def test_every_reference_notes_what_leaves_it_and_nothing_else(reference: Any) -> None:
    assert reference.layer in CATALOGUE
    assert reference.source
    low = reference.low if np.isfinite(reference.low) else 0.0
    inside = np.array([[low, reference.high], [(low + reference.high) / 2, np.nan]], np.float32)
    outputs = [variable(reference.layer)]
    assert notes_of([chunk_statistics(outputs, {reference.layer: inside})]) == []
    (line,) = notes_of([chunk_statistics(outputs, {reference.layer: inside + np.float32(1.5 * reference.high)})])
    assert line.startswith(f"{reference.layer}: ")
    assert reference.range_text.replace("at most", "above") in line
    assert reference.source in line


def test_a_map_elsewhere_is_not_compared_with_the_plateau() -> None:
    numbers = [chunk_statistics([variable("zinc")], {"zinc": np.full((4, 4), 105.0)})]
    alps, tibet, world = (5.0, 44.0, 17.0, 49.0), (88.0, 29.0, 92.0, 32.0), (-180.0, -90.0, 180.0, 90.0)
    assert notes_of(numbers, references=references_at(tibet)) == notes_of(numbers) != []
    assert notes_of(numbers, references=references_at(alps)) == []
    assert notes_of(numbers, references=references_at(world)) == []
    fast = [chunk_statistics([variable("potential_production")], {"potential_production": np.full((4, 4), 2.0)})]
    assert notes_of(fast, references=references_at(alps)) == notes_of(fast) != []


def test_response_times_longer_than_the_quaternary_are_counted_anywhere() -> None:
    years = np.array([[3e4, 2e5, -5e3], [1e10, 3e6, np.nan]], np.float32)
    numbers = [chunk_statistics([variable("response_time")], {"response_time": years})]
    (line,) = notes_of(numbers, references=references_at((5.0, 44.0, 17.0, 49.0)))
    assert line.startswith("response_time: 2 of 5 cells (40 %) are above 2.58e+06 a (")
    assert "2.58e+06 a" in line
    assert "Quaternary" in line
    assert "-5000 to 1e+10" in line


def test_notes_do_not_depend_on_the_chunks() -> None:
    values = np.random.default_rng(0).uniform(0.2, 3.0, (8, 8)).astype("float32")
    outputs = [variable("solum_thickness")]
    whole = notes_of([chunk_statistics(outputs, {"solum_thickness": values})])
    parts = [
        chunk_statistics(outputs, {"solum_thickness": values[i : i + 4, j : j + 2]})
        for i in (0, 4)
        for j in range(0, 8, 2)
    ]
    assert notes_of(parts) == whole
    outside = int(((values < 0.39) | (values > 2.04)).sum())
    assert f"{outside} of 64 cells" in whole[0]


def test_cells_above_a_reference_without_a_lower_end_are_above_it() -> None:
    layers = {"potential_production": np.array([[0.5, 2.0]])}
    (line,) = notes_of([chunk_statistics([variable("potential_production")], layers)])
    assert "1 of 2 cells (50 %) are above 1 m a-1 (soil production" in line


def test_zones_outside_their_climate_are_noted() -> None:
    layers = {
        "zone": np.array([[1, 1, 2, 255]], np.uint8),
        "mean_annual_temperature": np.array([[2.0, 4.0, 5.0, -40.0]], np.float32),
        "annual_precipitation": np.array([[800.0, 860.0, 600.0, 1.0]], np.float32),
    }
    fitted = {
        1: {"mean_annual_temperature": 13.0, "annual_precipitation": 832.0},
        2: {"mean_annual_temperature": 4.6, "annual_precipitation": 222.0},
        3: {"mean_annual_temperature": 3.0, "annual_precipitation": 610.0},
    }
    first, second = notes_of([chunk_statistics([variable("solum_thickness")], layers)], fitted)
    assert first.startswith("zone 1: 2 cells have a mean of 3.0 degC, not 13.0 degC as where")
    assert second.startswith("zone 2: 1 cells have a mean of 600 mm, not 222 mm as where")


def test_low_scores_are_noted() -> None:
    table = pd.DataFrame({"element": ["Fe", "Mn"], "nse": [0.31, 0.29], "squared_correlation": [0.4, np.nan]})
    assert score_notes({"elements": table}) == ["elements: Nash-Sutcliffe efficiency is 0.29 for Mn, below 0.3"]
    many = pd.DataFrame({"nse": np.zeros(9)})
    assert (
        score_notes({"solum_scores": many})[-1] == "solum_scores: Nash-Sutcliffe efficiency is below 0.3 in 5 more rows"
    )


def test_a_map_without_a_value_names_its_causes() -> None:
    status = np.array([[2, 255, 255]], np.uint8)
    layers = {
        "solum_thickness": np.full((1, 3), np.nan, np.float32),
        "solum_status": status,
        "water_erosion": np.array([[1.0, np.nan, np.nan]], np.float32),
    }
    outputs = [variable("solum_thickness"), variable("solum_status")]
    numbers = chunk_statistics(outputs, layers)
    assert emptiness([numbers, numbers]) == (
        "no cell of solum_thickness has a value: of 6 cells 4 lack water_erosion, 2 have solum_status 'no steady state'"
    )
    layers["solum_thickness"] = np.array([[0.5, np.nan, np.nan]], np.float32)
    assert emptiness([numbers, chunk_statistics(outputs, layers)]) == ""


def recipe(folder: Path, **solum: Any) -> dict[str, Any]:
    return {
        "run": {"name": "noted", "cube": str(folder / "cube.zarr"), "output": str(folder / "maps.zarr")},
        "derive": {"terrain": ["slope", "general_curvature"]},
        "solum": {"parameters": "published", "zones": "published"} | solum,
    }


@pytest.mark.parametrize("value", [-10.0, float("1e9999"), -1e-9])
def test_an_assumption_outside_physics_is_rejected_before_the_run(tmp_path: Path, value: float) -> None:
    small_run.make_cube(str(tmp_path / "cube.zarr"), side=SIDE)
    assumed = {"wind_erosion": {"value": value, "reason": "none"}}
    with pytest.raises(RecipeError, match=r"wind_erosion") as caught:
        tpsoil.run(recipe(tmp_path, assumptions=assumed), progress=False)
    if np.isfinite(value):
        assert f"wind_erosion is {value:g} t ha-1 a-1, expected at least 0 t ha-1 a-1" in str(caught.value)
    assert not (tmp_path / "maps.zarr").exists()


def test_a_run_prints_stores_and_shows_its_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = small_run.make_cube(str(tmp_path / "cube.zarr"), side=SIDE)
    grid = small_run.small_grid(SIDE)
    wet = xr.DataArray(np.full(grid.shape, 400.0, np.float32), dims=("y", "x"), coords=coordinates(grid))
    add_layer(store, "water_erosion", wet, units="t/ha/yr", overwrite=True)
    maps = tpsoil.run(recipe(tmp_path))
    notes = maps.attrs["plausibility_notes"]
    assert any(
        line.startswith("water_erosion: the map's mean is 400 t ha-1 a-1, outside 0.92 to 8.28") for line in notes
    )
    assert any("2.76" in line for line in notes)
    shown = capsys.readouterr()
    printed = " ".join((shown.out + shown.err).split())
    assert "note: water_erosion: the map's mean is 400" in printed
    html = page_html(open_cube(str(tmp_path / "maps.zarr")), where=str(tmp_path / "maps.zarr"), title="Noted")
    assert 'id="plausibility"' in html
    assert "the map&#x27;s mean is 400" in html
    # nothing is computed again, and the notes are the same
    again = tpsoil.run(recipe(tmp_path), progress=False)
    assert again.attrs["plausibility_notes"] == notes


def test_a_stage_without_a_value_says_why_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = small_run.make_cube(str(tmp_path / "cube.zarr"), side=SIDE)
    grid = small_run.small_grid(SIDE)
    nothing = xr.DataArray(np.full(grid.shape, np.nan, np.float32), dims=("y", "x"), coords=coordinates(grid))
    add_layer(store, "wind_erosion", nothing, overwrite=True)
    maps = tpsoil.run(recipe(tmp_path))
    (line,) = [note for note in maps.attrs["plausibility_notes"] if "has a value" in note]
    assert line.startswith("solum thickness: no cell of ")
    assert f"of {SIDE * SIDE} cells" in line
    assert f"{SIDE * SIDE} lack wind_erosion" in line
    shown = capsys.readouterr()
    assert "has a value" in " ".join((shown.out + shown.err).split())
    table = pd.read_csv(tmp_path / "maps.zarr" / "_tpsoil" / "tables" / "solum.csv")
    assert list(table.columns[:2]) == ["zone", "cells"]


def test_published_parameters_with_another_erosion_grid_are_noted_and_normalised(tmp_path: Path) -> None:
    """With the grid's mean brought to the reference, the maps are those of the reference grid."""
    store = small_run.make_cube(str(tmp_path / "cube.zarr"), side=SIDE)
    grid = small_run.small_grid(SIDE)
    pattern = np.linspace(1.0, 4.52, grid.shape[0] * grid.shape[1]).reshape(grid.shape).astype(np.float32)

    def maps_of(values: np.ndarray, **solum: Any) -> xr.Dataset:
        layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid))
        add_layer(store, "water_erosion", layer, units="t/ha/yr", overwrite=True)
        return tpsoil.run(recipe(tmp_path, **solum), progress=False).compute()

    reference = maps_of(pattern)
    notes = reference.attrs["plausibility_notes"]
    assert any("Table 4 were fitted to the study's own erosion grids" in note for note in notes)
    assert any("[solum.erosion_normalisation]" in note for note in notes)
    assert "do not belong to another grid" in reference["solum_thickness"].attrs["pairing"]
    other = maps_of(4 * pattern)
    assert not np.allclose(other["solum_thickness"], reference["solum_thickness"], equal_nan=True)
    normalised = maps_of(4 * pattern, erosion_normalisation={"mean": 4 * 2.76})
    np.testing.assert_allclose(normalised["solum_thickness"], reference["solum_thickness"], rtol=1e-6)
    assert "times 0.25" in normalised["solum_thickness"].attrs["erosion_normalisation"]
    assert any("as requested" in note for note in normalised.attrs["plausibility_notes"])
    own = {"h0": 0.3, "rho_s": 1300.0, "a": 2e-4, "b": 3e-5, "alpha": 0.1, "beta": 0.02, "gamma": 1.0, "D": 5e-3}
    with pytest.raises(RecipeError, match="belongs to the published parameters"):
        maps_of(pattern, parameters=own, zones="none", erosion_normalisation={"mean": 3.0})
