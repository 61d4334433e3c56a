"""Every option of every stage is part of what its records name, but for those declared not to decide a value.

Stages of recipes with all kinds of sections, built from generated files and not run.
"""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
import web
import xarray as xr
from edited_world import World
from raw_covariates import write_raw_files

from tpsoil.cube import add_layer
from tpsoil.grid import coordinates
from tpsoil.recipes.jobs import AnyRecipe, job_of
from tpsoil.stage import Stage, decisive_options, reported_options

# Of a raster whose place is in its world file, while that is written.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

RECIPES = Path(__file__).parent / "recipes"
KINDS = ("small", "zones and comparison", "sources and masks", "every covariate", "Europe", "Tibet")
INDIFFERENT = {
    # Places of files, whose names and digests decide instead; those of a covariate group are in its identity.
    "sources", "paths", "table.source", "table.through", "table.samples", "table.training_cube",
    "calibration.profiles", "table.calibration.profiles", "calibration.sites", "table.calibration.sites",
    "table.profiles", "table.sites", "table.polygons",
    # Limits of memory, and what only names a publication.
    "group.memory_limit_gb", "table.citation", "table.pairs.path", "calibration.citation", "table.calibration.citation",
    # Options of other stages: each element has its own, the comparison follows the map, inputs name the layers.
    "table.elements", "table.comparison", "table.validation", "table.forcing", "table.transient", "group.layers",
    "table.sensitivity", "table.maps", "table.calibration.quantiles", "table.calibration.quantiles_of",
    "table.transient.series", "table.transient.encoding",
    # The same of the options that decide the tables of a trained element.
    "report.samples", "report.citation", "report.pairs.path", "report.elements", "report.training_cube",
}  # fmt: skip
"""The only options that may be declared not to decide a stage's result."""


def _small(folder: Path) -> AnyRecipe:
    return small_run.make_small(folder, side=32)


def _zones(folder: Path) -> AnyRecipe:
    """Ranked and fitted zones, calibrated parameters, another map, uncertain forcing, and a changing climate."""
    recipe = small_run.make_small(folder, side=32)
    cube = recipe["run"]["cube"]
    grid = small_run.small_grid(32)
    other = xr.DataArray(np.full((32, 32), 0.8, "float32"), dims=("y", "x"), coords=coordinates(grid))
    add_layer(cube, "other_map", other, units="m", kind="continuous")
    frame = pd.DataFrame({"x": other.x[2:30], "y": other.y[2:30], "solum_thickness": 0.8})
    frame.to_csv(folder / "profiles.csv", index=False)
    del recipe["elements"]
    recipe["solum"] = {
        "zones": {"k": 3, "rank": True, "covariates": ["elevation", "ndvi", "annual_precipitation"]},
        "calibration": {"profiles": str(folder / "profiles.csv")},
        "comparison": {"maps": ["other_map"], "correlate": ["elevation"]},
        "forcing": {"sources": {"water_erosion": {"distribution": "normal", "spread": 0.3, "units": "relative"}}},
        "transient": {"series": str(folder / "series.csv"), "years": [1500, 2000]},
    }
    pd.DataFrame({"year": [0, 2000], "temperature_change [K]": [0.0, 1.0]}).to_csv(folder / "series.csv", index=False)
    return recipe


def test_settings_of_the_calibration_decide_neither_zones_nor_the_comparison(tmp_path: Path) -> None:
    recipe = _zones(tmp_path)

    def decisive() -> dict[str, Any]:
        own = ("solum_zones", "solum_comparison")
        return {stage.name: decisive_options(stage) for stage in job_of(recipe).stages if stage.name in own}

    before = decisive()
    recipe["solum"]["calibration"] |= {"starts": 3, "evaluations": 500, "quantiles": [0.5]}
    assert decisive() == before
    recipe["solum"]["calibration"]["units"] = "cm"
    assert all(options != before[name] for name, options in decisive().items())
    recipe["solum"]["zones"]["rank"] = False
    before = decisive()["solum_zones"]
    recipe["solum"]["calibration"]["units"] = "m"
    assert decisive()["solum_zones"] == before


def _sources(folder: Path) -> AnyRecipe:
    """Rasters, NetCDF and a URL as layers; polygons as mask."""
    with web.serving(folder) as address:
        return World(folder, address, 20).recipe


def _covariates(folder: Path) -> AnyRecipe:
    write_raw_files(folder)
    return RECIPES / "every_covariate.toml"


def _europe(_folder: Path) -> AnyRecipe:
    return RECIPES / "europe_elements.toml"


def _tibet(_folder: Path) -> AnyRecipe:
    return RECIPES / "tibet_solum.toml"


MAKERS = dict(zip(KINDS, (_small, _zones, _sources, _covariates, _europe, _tibet), strict=True))
REAL = {"Europe", "Tibet"}
"""Recipes of real inputs."""


@pytest.fixture(scope="module", params=KINDS)
def stages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, ...]]:
    folder = tmp_path_factory.mktemp("stages")
    if request.param == "Tibet" and not request.getfixturevalue("full"):
        pytest.skip("opening its sources takes ten seconds; give --full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAW_COVARIATES", str(folder))
        if request.param in REAL:
            patch.setenv("TPSOIL_DATA", str(request.getfixturevalue("data_folder")))
        yield job_of(MAKERS[request.param](folder), output=os.fspath(folder / "maps.zarr")).stages


def changed(value: Any) -> Any:
    """Another value of the same form."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, Path):
        return value.with_name(value.name + "x")
    if isinstance(value, Mapping):
        return {**value, "x": 1}
    if isinstance(value, (list, tuple)):
        return [*value, "x"]
    if isinstance(value, (set, frozenset)):
        return {*value, "x"}
    return "x"


def variants(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    """(dotted name, value with that one member changed) of every innermost member."""
    names = [one.name for one in fields(value)] if is_dataclass(value) and not isinstance(value, type) else []
    names = names or list(getattr(type(value), "model_fields", ()))
    if not names:
        yield at, changed(value)
    for name in names:
        for key, new in variants(getattr(value, name), f"{at}.{name}"):
            other = copy.copy(value)
            object.__setattr__(other, name, new)
            yield key, other


def test_every_option_decides_but_the_declared_ones(stages: tuple[Stage, ...]) -> None:
    for stage in stages:
        sources = {f"group.{name.removeprefix('source.')}" for name in stage.identity}
        places = {key for key in stage.indifferent if key.removesuffix(".path") in sources}
        assert set(stage.indifferent) - places <= INDIFFERENT, stage.name
        assert not places or stage.files or stage.urls, stage.name
        for option, value in stage.options.items():
            recorded = reported_options if option in stage.reported else decisive_options
            before = recorded(stage)
            for key, other in variants(value, option):
                now = recorded(replace(stage, options={**stage.options, option: other}))
                parts = key.split(".")
                left_out = any(".".join(parts[:end]) in stage.indifferent for end in range(1, len(parts) + 1))
                assert (now != before) is not left_out, (stage.name, key)


def leaves(value: Any) -> list[Any]:
    """Innermost values of nested mappings and lists."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return [one for item in value for one in leaves(item)] if isinstance(value, list) else [value]


def test_functions_of_a_stage_carry_nothing_that_is_not_an_option(stages: tuple[Stage, ...]) -> None:
    """What a closure, a partial or a bound object carries would be in no record."""
    for stage in stages:
        known = [*leaves(decisive_options(stage)), *(output.name for output in stage.outputs)]
        for function in (
            stage.compute,
            stage.together,
            stage.prepare,
            stage.report,
            stage.load,
            stage.describe,
            stage.tally,
            stage.summary,
        ):
            while isinstance(function, functools.partial):
                carried = [*function.args, *function.keywords.values()]
                carried = leaves([list(value) if isinstance(value, tuple) else value for value in carried])
                assert all(value in known for value in carried), stage.name
                function = function.func
            if function is None:
                continue
            owner = getattr(function, "__self__", None)
            assert owner is None or isinstance(owner, type) or owner in stage.options.values(), stage.name
            assert getattr(function, "__func__", function).__closure__ is None, stage.name
