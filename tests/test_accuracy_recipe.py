"""`[[accuracy]]` of a recipe: design-based estimates from a probability sample, and what is not one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
import xarray as xr
from run_tables import untitled

from tpsoil.cube import add_layer, open_cube
from tpsoil.errors import TpsoilError
from tpsoil.evaluation import SampleDesign, map_accuracy
from tpsoil.grid import coordinates, grid_of
from tpsoil.points import unproject_points
from tpsoil.recipes import preview, run
from tpsoil.recipes.jobs import result_tables

SIDE = 32


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, np.ndarray]:
    """A map of iron with a gap, the truth, and a sample of cells with their strata and clusters."""
    folder = tmp_path_factory.mktemp("accuracy")
    store = small_run.make_cube(str(folder / "cube.zarr"), side=SIDE)
    rng = np.random.default_rng(6)
    truth = 20_000 + 200 * np.arange(SIDE)[:, None] + rng.normal(0, 900, (SIDE, SIDE))
    mapped = truth + 300 + rng.normal(0, 700, truth.shape)
    mapped[:3, :3] = np.nan
    layer = xr.DataArray(
        mapped.astype("float32"), dims=("y", "x"), coords=coordinates(small_run.small_grid(SIDE)),
        attrs={"units": "mg kg-1"},
    )  # fmt: skip
    add_layer(store, "iron", layer)
    cube = open_cube(store)
    row, column = (axis.ravel() for axis in np.indices((SIDE, SIDE)))
    lon, lat = unproject_points(cube["x"].values[column], cube["y"].values[row], grid_of(cube))
    everything = pd.DataFrame({
        "longitude": lon, "latitude": lat, "Fe": truth.ravel(), "half": np.where(row < 8, "north", "south"),
        "block": row // 4 * 8 + column // 4, "cells": 16, "blocks": 64, "map": mapped.ravel(),
    })  # fmt: skip
    return folder, everything, truth


def recipe_of(place: tuple[Path, pd.DataFrame, np.ndarray], sample: pd.DataFrame, **options: Any) -> dict[str, Any]:
    folder = place[0]
    sample.drop(columns="map").to_csv(folder / "validation.csv", index=False)
    entry = {"name": "drawn", "layer": "iron", "samples": str(folder / "validation.csv"), "column": "Fe"}
    run_table = {"name": "checked", "output": str(folder / "maps.zarr"), "cube": str(folder / "cube.zarr")}
    return {"run": {**run_table, "overwrite": True}, "accuracy": [{**entry, **options}]}


def tables_of(recipe: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    run(recipe, workers=1, progress=False)
    assert untitled(recipe["run"]["output"]) == set()
    tables = result_tables(recipe["run"]["output"])
    accuracy = next(table for title, table in tables.items() if title.startswith("Map accuracy"))
    estimates = next(table for title, table in tables.items() if title.startswith("Mean of the mapped area"))
    return accuracy.set_index("measure"), estimates.set_index("estimator")


def test_a_simple_random_sample(place: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    _, everything, truth = place
    sample = everything.sample(150, random_state=1)
    accuracy, estimates = tables_of(recipe_of(place, sample, probability="equal"))
    valid = sample[sample["map"].notna()]
    expected = map_accuracy(SampleDesign(np.ones(len(valid))), valid["Fe"], valid["map"].astype("float32"))
    np.testing.assert_allclose(accuracy.loc["rmse", ["value", "lower", "upper"]].astype(float),
                               expected.loc["rmse", ["value", "lower", "upper"]], rtol=1e-5)  # fmt: skip
    assert len(valid) == accuracy["n"].iloc[0] <= 150
    mean = truth[~np.isnan(everything["map"].to_numpy().reshape(truth.shape))].mean()
    # Three standard errors: an interval of 95 % misses the truth in one of twenty samples.
    assert (abs(estimates["value"] - mean) < 3 * estimates["se"]).all()
    # The map explains most of the variance, so it narrows the interval.
    assert estimates.loc["regression estimator", "se"] < 0.7 * estimates.loc["mean by design", "se"]
    assert any("map accuracy of iron from a probability sample" in line for line in caplog.messages)


def test_a_stratified_sample_by_sizes_and_by_probabilities(place: Any) -> None:
    _, everything, _ = place
    sample = pd.concat([
        everything[everything["half"] == "north"].sample(60, random_state=2),
        everything[everything["half"] == "south"].sample(40, random_state=2),
    ])  # fmt: skip
    sizes = {"north": 8.0 * SIDE, "south": 24.0 * SIDE}
    by_size = tables_of(recipe_of(place, sample, stratum="half", stratum_sizes=sizes))
    sample["chance"] = np.where(sample["half"] == "north", 60 / sizes["north"], 40 / sizes["south"])
    by_chance = tables_of(recipe_of(place, sample, stratum="half", probability="chance"))
    for one, other in zip(by_size, by_chance, strict=True):
        np.testing.assert_allclose(one[["value", "se"]].astype(float), other[["value", "se"]].astype(float), rtol=1e-12)
    equal, _ = tables_of(recipe_of(place, sample, probability="equal"))
    assert equal.loc["mse", "value"] != pytest.approx(by_size[0].loc["mse", "value"], rel=1e-6)


def test_a_sample_in_two_stages_has_wider_intervals(place: Any) -> None:
    _, everything, _ = place
    rng = np.random.default_rng(7)
    drawn = everything[everything["block"].isin(rng.choice(64, 16, replace=False))]
    sample = drawn.groupby("block").sample(4, random_state=3)
    options = {"cluster": "block", "primary_units": "blocks", "secondary_units": "cells"}
    staged, means = tables_of(recipe_of(place, sample, probability="equal", **options))
    alone, plain = tables_of(recipe_of(place, sample, probability="equal"))
    assert staged.loc["bias", "value"] == pytest.approx(alone.loc["bias", "value"])
    assert means.loc["mean by design", "df"] == 15
    assert means.loc["mean by design", "se"] > 1.2 * plain.loc["mean by design", "se"]


def test_units_are_converted(place: Any) -> None:
    sample = place[1].sample(60, random_state=4)
    own, _ = tables_of(recipe_of(place, sample, probability="equal"))
    grams, _ = tables_of(recipe_of(place, sample.assign(Fe=sample["Fe"] / 1000), probability="equal", units="g kg-1"))
    np.testing.assert_allclose(own["value"].astype(float), grams["value"].astype(float), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {}, "no probability sample"),
        ({}, {"probability": "equal", "stratum": "half", "stratum_sizes": {"north": 1.0}}, "has both"),
        ({}, {"stratum_sizes": {"north": 1.0}}, "no effect without stratum"),
        ({}, {"stratum": "half", "stratum_sizes": {"north": 1.0}}, "no size of south"),
        ({}, {"stratum": "half", "stratum_sizes": {"north": 1.0, "south": 1.0, "west": 1.0}}, "no unit was drawn in w"),
        ({}, {"probability": "chance"}, "chance"),
        ({"chance": np.nan}, {"probability": "chance"}, "non-response"),
        ({"chance": 3.0}, {"probability": "chance"}, r"expected \(0, 1\]"),
        ({"Fe": np.nan}, {"probability": "equal"}, "non-response"),
        ({}, {"probability": "equal", "units": "m"}, "cannot be converted"),
        ({}, {"probability": "equal", "layer": "climate_zone"}, "expected a map of a quantity"),
        ({}, {"probability": "equal", "layer": "irn"}, "did you mean 'iron'"),
        ({"latitude": 60.0}, {"probability": "equal"}, "none of 20 points is inside"),
    ],
)
def test_what_is_no_probability_sample(place: Any, change: dict, options: dict, message: str) -> None:
    sample = place[1].sample(20, random_state=5).assign(**change)
    with pytest.raises(TpsoilError, match=message):
        run(recipe_of(place, sample, **options), workers=1, progress=False)


def test_a_sample_that_the_model_was_trained_on_is_rejected(place: Any, tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=SIDE)
    entry = {"name": "seen", "layer": "iron", "samples": recipe["elements"]["samples"], "column": "Fe"}
    with pytest.raises(TpsoilError, match="trained on samples.csv"):
        run({**recipe, "accuracy": [{**entry, "probability": "equal"}]}, workers=1, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "Iron"}, "no column 'Iron'"),
        ({"probability": "equal", "latitude": "cells"}, "positions are not degrees|are swapped|outside"),
        ({"stratum": "half", "stratum_sizes": {"north": 8.0}}, "stratum_sizes has no size of south"),
    ],
)
def test_a_wrong_sample_is_rejected_by_the_preview(
    place: tuple[Path, pd.DataFrame, np.ndarray], options: dict[str, Any], message: str
) -> None:
    """It was read after all maps were computed."""
    sample = place[1].iloc[::7].assign(cells=1600)
    with pytest.raises(TpsoilError, match=message):
        preview(
            recipe_of(place, sample, **{"probability": "equal", **options} if "stratum" not in options else options)
        )
