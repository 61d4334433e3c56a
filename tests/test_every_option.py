"""Every option of a recipe has an effect or is rejected: another value of each, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import small_run
import xarray as xr
from geotiffs import write_tif
from pyproj import Transformer
from sweep import ABSENT, FAULT, Change, Sweep, at, merged, values_of
from test_solum_options import SMALL_RATE, landscape, parameters_of

import tpsoil
from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.errors import TpsoilError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.micronutrients import train_elements
from tpsoil.recipes.element_samples import ElementSamples, design_of
from tpsoil.recipes.element_tables import Element, tables_of
from tpsoil.recipes.jobs import job_of, preview
from tpsoil.recipes.recipe import read_recipe
from tpsoil.recipes.reference import recipe_keys
from tpsoil.solum import SolumOptions, thickness

SIDE = 32
PLACE = {"lon": "longitude", "lat": "latitude"}

# -- [solum]: thickness with one set of parameters, on cells that every physical option concerns

ONE_ZONE = {"zones": "none"}
PARAMETERS = asdict(parameters_of(SolumOptions()))
CALIBRATION = {"profiles": "profiles.csv", "preset": "physical", "starts": 1, "folds": 2, "complexes": 2,
               "evaluations": 200, "members": 20}  # fmt: skip
CALIBRATED = {"solum": {"parameters": ABSENT, "calibration": CALIBRATION}}
ZONED = {"solum": {"zones": {"k": 2, "n_init": 1, "max_cells": 500}}}
RANKED = {"solum": {"parameters": ABSENT, "calibration": CALIBRATION,
                    "zones": {"k": 2, "n_init": 1, "rank": True, "rank_seeds": 2, "rank_trees": 5}}}  # fmt: skip
COMPARED = {"solum": {"comparison": {"maps": ["other_map"]}}}
PUBLISHED_ZONES = {"parameters": "published", "zones": "published"}
UNCERTAIN = {"water_erosion": {"distribution": "normal", "spread": 0.3, "units": "relative"}}
FORCED = {"solum": {"forcing": {"sources": UNCERTAIN, "draws": 10}}}
LINE = {"start": [82.0, 30.0], "end": [92.0, 36.0]}

SOLUM: dict[str, dict[str, Change]] = {
    "solum": {
        "parameters": Change({**PARAMETERS, "h0": 0.4}),
        "zones": Change("published", root={"solum": {"parameters": "published", "zones": "layer"}}),
        "calibration": Change(CALIBRATION, given={"parameters": ABSENT, "zones": "published"}),
        "comparison": Change({"correlate": ["elevation"]}, "table"),
        "validation": Change({"profiles": "profiles.csv"}, "table"),
        "forcing": Change({"sources": UNCERTAIN, "draws": 10}),
        "transient": Change({"series": "past.csv", "years": [2000.0]}),
        "sensitivity": Change({}, "table"),
        "assumptions": Change(
            {"ndvi": {"value": 0.4, "reason": "a test"}},
            names="ndvi",
            given={"zones": "published", "parameters": "published"},
            root={"run": {"cube": "no_ndvi.zarr"}},
        ),
        "maps": Change(["solum_thickness"]),
        "curvature_convention": Change("arcgis"),
        "deposition": Change("nan"),
        "greatest_thickness_m": Change(1.2),
        "cap_to_bedrock": Change(False),
        "dust_input": Change(SMALL_RATE),
        "least_erosion": Change(SMALL_RATE),
        "keep_negative": Change(True),
        "erosion_normalisation": Change({"mean": 4.0}, given=PUBLISHED_ZONES),
        "density_ratio": Change(1.2, root={"solum": {"parameters": {"density_ratio": ABSENT}}}),
    },
    "solum.transient": {
        "series": Change("warmer.csv"),
        "encoding": Change("utf-16", "fault"),
        "years": Change([1000.0]),
        "start": Change(0.05),
        "step_years": Change(2000.0),
        "tolerance": Change(1000.0, given={"start": 0.05}),
        "stack": Change({"2000": {"mean_annual_temperature": "warm"}}),
    },
    "solum.forcing": {
        "sources": Change({"wind_erosion": {"distribution": "normal", "spread": 0.2, "units": "relative"}}, "table"),
        "draws": Change(30),
        "members": Change(3, given={"draws": 4}, root=CALIBRATED),
        "quantiles": Change([0.1]),
        "residuals": Change(True, given={"draws": 4}, root=CALIBRATED),
        "cells": Change(20, "table"),
    },
    "solum.forcing.sources.NAME": {
        "distribution": Change("lognormal"),
        "spread": Change(0.5),
        "units": Change("t ha-1 a-1"),
        "range_m": Change(400_000.0),
        "reason": Change("another reason", "table"),
    },
    "solum.zones": {
        "k": Change(3),
        "covariates": Change(["elevation", "ndvi"]),
        "rank": Change(
            True,
            "table",
            also={"rank_seeds": 2, "rank_trees": 5},
            root={"solum": {"parameters": ABSENT, "calibration": CALIBRATION}},
        ),
        "rank_seeds": Change(3, "table", root=RANKED),
        "rank_trees": Change(8, "table", root=RANKED),
        "n_init": Change(4, "values", given={"k": 6}),
        "max_cells": Change(120, "table"),
    },
    "solum.calibration": {
        "profiles": Change("fewer.csv"),
        "encoding": Change("utf-16", "fault"),
        "citation": Change("Somebody 2020", "references"),
        "units": Change("cm"),
        "columns": Change({"thickness": "second"}),
        "layout": Change("ncss", given={"profiles": "pits.csv"}),
        "sites": Change("moved.csv", given={"profiles": "unplaced.csv", "sites": "sites.csv"}),
        "undesignated": Change("complete", given={"profiles": "partly.csv"}),
        "preset": Change("paper"),
        "problem": Change("five"),
        "objective": Change("rmse", given={"profiles": "censored.csv"}),
        "starts": Change(2, "table"),
        "folds": Change(3, "table"),
        "members": Change(40, "table", given={"quantiles": [0.5]}),
        "block_size": Change(400_000.0, "table"),
        "validation": Change(["random", "knndm"], "table"),
        "complexes": Change(3),
        "evaluations": Change(300, "table"),
        "quantiles": Change([0.1, 0.9]),
        "quantiles_of": Change("parameters", given={"quantiles": [0.1]}),
        "baseline_features": Change(["elevation"], "table"),
        "simulated": Change(True, "attributes"),
    },
    "solum.validation": {
        "profiles": Change("fewer.csv", "table"),
        "encoding": Change("utf-16", "fault"),
        "citation": Change("Somebody 2020", "references"),
        "units": Change("cm", names="centimetres"),
        "columns": Change({"thickness": "second"}, "table"),
        "layout": Change("ncss", "table", given={"profiles": "pits.csv"}),
        "sites": Change("moved.csv", "table", given={"profiles": "unplaced.csv", "sites": "sites.csv"}),
        "undesignated": Change("complete", "table", given={"profiles": "cores.csv"}),
        "block_size": Change(400_000.0, "table"),
        "level": Change(0.5, "table"),
    },
    "solum.comparison": {
        "maps": Change([]),
        "band": Change(40.0),
        "windows": Change({"all": [80.0, 26.0, 100.0, 40.0]}, "table"),
        "transects": Change({"line": LINE}, "table"),
        "correlate": Change(["elevation"], "table"),
        "published": Change(True, "table"),
    },
    "solum.sensitivity": {
        "change": Change(0.2, "table"),
        "temperature_change": Change(2.0, "table"),
        "max_cells": Change(100, "table"),
    },
    "solum.erosion_normalisation": {"mean": Change(9.0), "reference_mean": Change(3.5)},
    "solum.comparison.transects.NAME": {
        "start": Change([83.0, 31.0], "table"),
        "end": Change([91.0, 35.0], "table"),
        "points": Change(50, "table"),
    },
    "solum.assumptions.NAME": {
        "value": Change(0.7),
        "reason": Change("another reason", "attributes"),
        "units": Change("m", "fault", names="ndvi is given in 'm'"),
    },
}
ASSUMED = {"run": {"cube": "no_ndvi.zarr"},
           "solum": {"parameters": "published", "zones": "published",
                     "assumptions": {"ndvi": {"value": 0.1, "reason": "a test"}}}}  # fmt: skip
CONTEXT: dict[str, Mapping[str, Any]] = {
    "solum": {"solum": ONE_ZONE},
    "solum.zones": ZONED,
    "solum.forcing": FORCED,
    "solum.transient": {"solum": {"transient": {"series": "past.csv", "years": [2000.0]}}},
    "solum.forcing.sources.NAME": FORCED,
    "solum.calibration": {"solum": {**CALIBRATED["solum"], "zones": "none"}},
    "solum.validation": {"solum": {"validation": {"profiles": "profiles.csv"}}},
    "solum.comparison": COMPARED,
    "solum.sensitivity": {"solum": {"sensitivity": {}}},
    "solum.erosion_normalisation": {"solum": {**PUBLISHED_ZONES, "erosion_normalisation": {"mean": 4.0}}},
    "solum.comparison.transects.NAME": {"solum": {"comparison": {"transects": {"NAME": LINE}}}},
    "solum.assumptions.NAME": ASSUMED,
}
PLACES = {
    "solum.assumptions.NAME": "solum.assumptions.ndvi",
    "solum.forcing.sources.NAME": "solum.forcing.sources.water_erosion",
    "elements.properties.NAME": "elements.properties.Fe",
}


@pytest.fixture(scope="module")
def solum(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Sweep:
    """Layers of `landscape`, with heights, vegetation, zones and another map; profiles with two thicknesses."""
    folder = tmp_path_factory.mktemp("solum")
    layers = landscape(SolumOptions(), 16)
    grid = plateau_grid(100_000)[:16, :16]
    rng = np.random.default_rng(3)
    truth = thickness(layers, parameters_of(SolumOptions())).solum_thickness
    more = {"elevation": rng.uniform(2500, 5500, grid.shape), "ndvi": rng.uniform(0.05, 0.8, grid.shape),
            "other_map": truth.values * rng.uniform(0.7, 1.3, grid.shape),
            "warm": layers["mean_annual_temperature"].values + 3}  # fmt: skip
    for store in ("cube.zarr", "no_ndvi.zarr"):
        create_cube(str(folder / store), grid, chunks=16)
        for name, layer in layers.items():
            add_layer(str(folder / store), str(name), layer)
        for name, values in more.items():
            if store == "no_ndvi.zarr" and name == "ndvi":
                continue
            layer = xr.DataArray(values.astype("float32"), dims=("y", "x"), coords=coordinates(grid))
            how = {"units": "m", "kind": "continuous"} if name == "other_map" else {}
            how = {"units": "degC", "kind": "continuous"} if name == "warm" else how
            add_layer(str(folder / store), name, layer, **how)
        zone = xr.DataArray(rng.integers(1, 9, grid.shape).astype("uint8"), dims=("y", "x"), coords=coordinates(grid))
        add_layer(str(folder / store), "zone", zone)
    y, x = np.meshgrid(layers["y"].values, layers["x"].values, indexing="ij")
    table = pd.DataFrame({"x": x.ravel(), "y": y.ravel(), "solum_thickness": truth.values.ravel()})
    table = table[table["solum_thickness"] > 0.05].assign(second=lambda t: 0.8 * t["solum_thickness"])
    table = table.sample(60, random_state=0)
    table.to_csv(folder / "profiles.csv", index=False)
    table.iloc[::2].to_csv(folder / "fewer.csv", index=False)
    table.assign(censored=np.arange(len(table)) % 3 == 0).to_csv(folder / "censored.csv", index=False)
    pits = table.assign(pedon_key=range(len(table)), hzn_top=0.0, hzn_bot=100 * table["second"], hzn_desgn="A")
    below = pits.assign(hzn_top=pits["hzn_bot"], hzn_bot=pits["hzn_bot"] + 30, hzn_desgn="C")
    pd.concat([pits, below]).to_csv(folder / "pits.csv", index=False)
    pits.drop(columns=["hzn_desgn", "solum_thickness", "second"]).to_csv(folder / "cores.csv", index=False)
    partly = pd.concat([pits, below.iloc[::2]]).drop(columns=["solum_thickness", "second"])
    partly["hzn_desgn"] = partly["hzn_desgn"].where(partly["pedon_key"] % 2 == 0)
    partly.to_csv(folder / "partly.csv", index=False)
    named = table.assign(profile_id=range(len(table)))
    named[["profile_id", "solum_thickness"]].to_csv(folder / "unplaced.csv", index=False)
    named[["profile_id", "x", "y"]].to_csv(folder / "sites.csv", index=False)
    named.assign(x=named["x"].to_numpy()[::-1], y=named["y"].to_numpy()[::-1])[["profile_id", "x", "y"]].to_csv(
        folder / "moved.csv", index=False
    )
    for name, change in (("past.csv", -5), ("warmer.csv", 5)):
        pd.DataFrame({"year": [0, 2000], "temperature_change [K]": [change, 0]}).to_csv(folder / name, index=False)
    request.getfixturevalue("monkeypatch_module").chdir(folder)
    return Sweep({
        "run": {"name": "sweep", "output": "maps.zarr", "cube": "cube.zarr"},
        "solum": {"zones": "none", "parameters": PARAMETERS},
    })  # fmt: skip


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def cases(tables: Mapping[str, Mapping[str, Change]]) -> list[Any]:
    return [pytest.param(table, key, id=f"{table}.{key}") for table, keys in tables.items() for key in keys]


@pytest.mark.parametrize(("table", "key"), cases(SOLUM))
def test_an_option_of_solum_has_an_effect(solum: Sweep, table: str, key: str) -> None:
    solum.within(CONTEXT[table]).check(PLACES.get(table, table), key, SOLUM[table][key])


# -- [elements]

PAIRS = {"path": "pairs.csv", "columns": {"Fe": ["Fe_xrf", "Fe_icp"]}}
ALTERATION: dict[str, Any] = {"columns": {name: name for name in ("Al", "Ca", "Na", "K", "P")}}
TEXTURE = {"clay": "clay", "silt": "silt", "sand": "loam"}
ELEMENTS: dict[str, dict[str, Change]] = {
    "elements": {
        "samples": Change("fewer.csv"),
        "encoding": Change("utf-16", "fault"),
        "citation": Change("Somebody 2020", "references"),
        "elements": Change({"Fe": "Fe_icp"}),
        "features": Change(["elevation", "annual_precipitation"]),
        "properties": Change({"Fe": {"log": False}}),
        "x": Change("east_second", given={"crs": "EPSG:32645", "x": "east", "y": "north"}),
        "y": Change("north_second", given={"crs": "EPSG:32645", "x": "east", "y": "north"}),
        "crs": Change("EPSG:32644", names="inside the grid", given={"crs": "EPSG:32645", "x": "east", "y": "north"}),
        "date": Change("day", "attributes"),
        "years": Change([2011, 2012], given={"date": "day"}),
        "depths": Change({"upper": "top", "lower": "bottom"}),
        "at_minimum": Change("censor", root={"elements": {"samples": "repeated.csv"}}),
        "composition": Change({"parts": TEXTURE}),
        "training_cube": Change("cube.zarr", "attributes", root={"run": {"cube": "part.zarr"}}),
        "train_on": Change("sources", "fault", names="is no layer of"),
        "longitude": Change("other_longitude"),
        "latitude": Change("other_latitude"),
        "site": Change("plot", "table"),
        "from_samples": Change({"elevation": "height"}),
        "trees": Change(5),
        "preset": Change("randomForest"),
        "folds": Change(["random", "knndm"], "table"),
        "n_folds": Change(4, "table"),
        "log": Change(False),
        "unseen_classes": Change("nodata", root={"elements": {"samples": "two_classes.csv"}}),
        "masked_samples": Change("drop"),
        "masked_within_km": Change(0.5),
        "settings": Change({"max_features": 3}),
        "search": Change({"min_samples_leaf": [8, 20]}, "table", also={"search_trees": 4}),
        "search_folds": Change(2, "table", given={"search_trees": 20, "search": {"min_samples_leaf": [1, 2, 3]}}),
        "search_trees": Change(3, "table", given={"search_trees": 20, "search": {"min_samples_leaf": [1, 2, 3]}}),
        "interval": Change(0.9),
        "conformal": Change("class:climate_zone", given={"interval": 0.5}),
        "kriging": Change("residuals", "table"),
        "feature_selection": Change("forward", "table", also={"selection_trees": 3}),
        "selection_trees": Change(4, "table", given={"feature_selection": "forward"}),
        "extra_layers": Change(["point_density", "expected_error"], given={"interval": 0.9}),
        "replicate": Change("part", "fault", given={"site": "plot"}),
        "units": Change("g kg-1", given={"check_units": False}, root={"elements": {"elements": ["Zn"]}}),
        "check_units": Change(False, given={"units": "g kg-1"}, root={"elements": {"elements": ["Zn"]}}),
        "limits": Change({"Fe": 13000.0}),
        "negative": Change("censor", root={"elements": {"samples": "negative.csv", "limits": {"Fe": 10.0}}}),
        "empty_cells": Change("censored", given={"limits": {"Fe": 10.0}}),
        "max_censored": Change(0.01, names="more than 1 %", given={"limits": {"Fe": 13000.0}}),
        "allow_censored": Change(True, given={"limits": {"Fe": 13000.0}, "max_censored": 0.01}),
        "censored_as": Change("drop", given={"limits": {"Fe": 13000.0}}),
        "icp": Change({"Fe": "Fe_icp"}),
        "calibration": Change("rma", given={"icp": {"Fe": "Fe_icp"}}),
        "pairs": Change(PAIRS),
        "variance_ratio": Change(9.0, given={"icp": {"Fe": "Fe_icp"}, "calibration": "deming"}),
        "calibration_error": Change(False, given={"icp": {"Fe": "Fe_icp"}, "interval": 0.9}),
        "uncalibrated_maps": Change(True, given={"icp": {"Fe": "Fe_icp"}}),
        "cia": Change({**ALTERATION, "features": ["elevation"]}),
        "screen": Change({"threshold": 2.0}),
        "extra_features": Change(["sand"], "table"),
        "compare": Change(["climate_zone"], "table"),
        "classes": Change({"elevation": [4200]}, "table", given={"compare": ["elevation"]}),
        "group_test": Change(
            "games-howell", "table", given={"compare": ["elevation"], "classes": {"elevation": [4200]}}
        ),
        "ranges": Change(["height"], "table", given={"compare": ["climate_zone"]}),
        "representation": Change(["climate_zone"]),
        "drivers": Change(True, "table"),
        "driver_groups": Change("five", "table", given={"drivers": True}),
        "driver_repeats": Change(3, "table", given={"drivers": True}),
        "effects": Change(["elevation"], "table"),
        "dependence": Change(True, "table", given={"effects": ["elevation"]}),
        "bands": Change(2, "table", given={"effects": ["elevation"]}),
        "published": Change("huo2026", "table"),
        "simulated": Change(True, "attributes"),
    },
    "elements.properties.NAME": {
        "units": Change("g kg-1", "attributes", given={"units": "mg kg-1"}),
        "layer": Change("iron_total"),
        "long_name": Change("total iron", "attributes"),
        "low": Change(20_000.0, names="outside"),
        "high": Change(20_000.0, names="outside"),
        "log": Change(False),
    },
    "elements.composition": {
        "parts": Change({**TEXTURE, "silt": "other_silt"}),
        "transform": Change("clr"),
        "total": Change(90.0, names="expected 90"),
        "zeros": Change(1.0, root={"elements": {"samples": "zeros.csv"}}),
    },
    "elements.depths": {
        "upper": Change("other_top"),
        "lower": Change("other_bottom"),
        "units": Change("mm", names="none reaches"),
        "interval": Change([0.0, 30.0]),
        "smoothing": Change(100.0),
        "coverage": Change(1.0, names="none reaches", given={"interval": [0.0, 60.0]}),
    },
    "elements.screen": {
        "threshold": Change(1.0),
        "method": Change("mad"),
        "log": Change(True),
        "iterate": Change(True),
    },
    "elements.pairs": {
        "path": Change("other_pairs.csv"),
        "columns": Change({"Fe": ["Fe_second", "Fe_icp"]}),
        "units": Change("g kg-1", root={"elements": {"check_units": False}}),
        "min_pairs": Change(99, names="99"),
    },
    "elements.cia": {
        "columns": Change({**ALTERATION["columns"], "Al": "Al_second"}),
        "basis": Change("oxides", names="aluminium"),
        "correction": Change("none"),
        "carbonate": Change("CaCO3", given={"correction": "none"}),
        "limits": Change({"Na": 13000.0}),
        "features": Change(["elevation"]),
        "precipitation": Change("sand", "table"),
    },
}
WITHIN = {
    "elements.composition": {"elements": {"composition": {"parts": TEXTURE}}},
    "elements.properties.NAME": {"elements": {"properties": {"Fe": {"log": True}}}},
    "elements.depths": {
        "elements": {"samples": "depths.csv", "site": "plot", "depths": {"upper": "top", "lower": "bottom"}}
    },
    "elements.screen": {"elements": {"screen": {"threshold": 1.5}}},
    "elements.pairs": {"elements": {"pairs": PAIRS}},
    "elements.cia": {"elements": {"cia": {**ALTERATION, "features": ["elevation", "annual_precipitation"]}}},
}


@pytest.fixture(scope="module")
def elements(tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch) -> Sweep:
    """A small cube with masked cells; samples in pairs with second readings, gaps, an outlier and low values."""
    folder = tmp_path_factory.mktemp("elements")
    small_run.make_cube(str(folder / "cube.zarr"), side=SIDE)
    classes = np.where(np.arange(SIDE) < 5, 2, np.where(np.arange(SIDE)[:, None] > 16, 4, 5)).astype("uint8")
    layer = xr.DataArray(classes, dims=("y", "x"), coords=coordinates(small_run.small_grid(SIDE)))
    add_layer(str(folder / "cube.zarr"), "climate_zone", layer, overwrite=True)
    part = open_cube(str(folder / "cube.zarr")).isel(x=slice(0, 20))
    create_cube(str(folder / "part.zarr"), small_run.small_grid(SIDE)[:, :20], chunks=small_run.CHUNK)
    for name in ("elevation", "annual_precipitation", "climate_zone", "soil_mask"):
        add_layer(str(folder / "part.zarr"), name, part[name].load())
    table = pd.read_csv(small_run.make_samples(folder / "samples.csv", side=SIDE, count=60))
    rng = np.random.default_rng(2)
    table = table.loc[table.index.repeat(2)].reset_index(drop=True)
    table["plot"], table["part"] = np.repeat(np.arange(60) // 2, 2), np.tile([1, 2], 60)
    table["sand"], table["height"] = rng.uniform(20, 80, 120), rng.uniform(3000, 5000, 120)
    table["Fe"] = (table["Fe"] + rng.normal(0, 3000, 120)).round(1)
    table["Zn"] = rng.normal(60, 8, 120)
    table["Fe_icp"] = np.where(rng.random(120) < 0.5, 1000 + 1.1 * table["Fe"] + rng.normal(0, 900, 120), np.nan)
    table["other_longitude"] = table["longitude"].to_numpy()[::-1]
    table["other_latitude"] = table["latitude"].to_numpy()[::-1]
    for name, content in {"Al": 65_000, "Ca": 20_000, "Na": 14_000, "K": 20_000, "P": 600, "Al_second": 60_000}.items():
        table[name] = content * rng.lognormal(0, 0.2, 120)
    table["CaCO3"] = rng.uniform(0, 3, 120)
    table.loc[5, "Fe"], table.loc[7, "Fe"] = 60_000.0, 45_000.0
    table.loc[9:10, "Fe"] = np.nan
    change = Transformer.from_crs("EPSG:4326", "EPSG:32645", always_xy=True)
    table["east"], table["north"] = change.transform(table["longitude"], table["latitude"])
    table["east_second"], table["north_second"] = table["east"].to_numpy()[::-1], table["north"].to_numpy()[::-1]
    table["clay"], table["silt"] = rng.uniform(10, 30, 120), rng.uniform(20, 40, 120)
    table["loam"] = 100 - table["clay"] - table["silt"]
    table["other_silt"] = table["silt"] * rng.uniform(0.9, 1.0, 120)
    table["day"] = [f"20{10 + number % 4}-07-14" for number in range(120)]
    table["top"], table["bottom"] = np.tile([0, 15], 60), np.tile([15, 40], 60)
    table["other_top"], table["other_bottom"] = np.tile([2, 15], 60), np.tile([12, 40], 60)
    table.to_csv(folder / "samples.csv", index=False)
    table.assign(plot=np.repeat(np.arange(60), 2)).to_csv(folder / "depths.csv", index=False)
    table.assign(clay=table["clay"].where(table.index > 3, 0.0)).to_csv(folder / "zeros.csv", index=False)
    table.assign(Fe=table["Fe"].clip(lower=table["Fe"].quantile(0.1))).to_csv(folder / "repeated.csv", index=False)
    table.iloc[::2].to_csv(folder / "fewer.csv", index=False)
    table.assign(censored=np.arange(len(table)) % 3 == 0).to_csv(folder / "censored.csv", index=False)
    east = table["longitude"] > table["longitude"].quantile(0.4)
    table[east].to_csv(folder / "two_classes.csv", index=False)
    table.assign(Fe=table["Fe"].where(table.index != 20, -5.0)).to_csv(folder / "negative.csv", index=False)
    paired = pd.DataFrame({"Fe_xrf": rng.uniform(10_000, 40_000, 40)})
    paired["Fe_second"] = paired["Fe_xrf"] * rng.normal(1, 0.05, 40)
    paired["Fe_icp"] = 2000 + 1.2 * paired["Fe_xrf"] + rng.normal(0, 900, 40)
    paired.to_csv(folder / "pairs.csv", index=False)
    paired.assign(Fe_icp=paired["Fe_icp"] + 5000).to_csv(folder / "other_pairs.csv", index=False)
    monkeypatch_module.chdir(folder)
    return Sweep({
        "run": {"name": "sweep", "output": "maps.zarr", "cube": "cube.zarr"},
        "elements": {
            "samples": "samples.csv", "elements": ["Fe"], "trees": 4, "folds": ["random"], "n_folds": 3,
            "features": ["elevation", "annual_precipitation", "climate_zone"],
        },
    })  # fmt: skip


@pytest.mark.parametrize(("table", "key"), cases(ELEMENTS))
def test_an_option_of_elements_has_an_effect(elements: Sweep, table: str, key: str) -> None:
    elements.within(WITHIN.get(table, {})).check(PLACES.get(table, table), key, ELEMENTS[table][key])


# -- [grid], [[layers]] and [mask], from files

OWN = {"name": "own", "kind": "continuous", "units": "m", "source": "fine.tif"}
WATER = {"name": "surfaces", "kind": "categorical", "units": "1", "source": "classes.tif",
         "flags": {"1": "water", "2": "ice", "3": "forest", "4": "rock"}}  # fmt: skip
PAIR = {"source": ["fine.tif", "second.tif"], "combine": "mean"}
FROM_FILES: dict[str, dict[str, Change]] = {
    "grid": {
        "crs": Change("EPSG:32645"),
        "resolution": Change(2000, "grid"),
        "bounds": Change([404000, 3321000, 412000, 3337000], "grid"),
        "bbox": Change([86.0, 30.01, 86.05, 30.08], "grid", given={"bounds": ABSENT},
                       root={"grid": {"cover": "aside.tif"}}),
        "cover": Change("fine.tif", "grid", given={"bounds": ABSENT}, root={"grid": {"cover": "aside.tif"}}),
        "like": Change("classes.tif", "grid", given=dict.fromkeys(("crs", "resolution", "bounds"), ABSENT),
                       root={"grid": {"like": "fine.tif"}}),
        "chunks": Change(32, "grid"),
    },
    "layers": {
        "name": Change("other"),
        "source": Change("finer.tif"),
        "units": Change("mg kg-1", "attributes"),
        "nodata": Change(7.0),
        "scale": Change(0.1),
        "offset": Change(3.0),
        "variable": Change("second", given={"source": "two.nc", "crs": "EPSG:32646", "variable": "first"}),
        "band": Change(2, given={"source": "bands.tif", "band": 1}),
        "crs": Change("EPSG:32646", given={"source": "two.nc", "variable": "first"}),
        "combine": Change("max", given=PAIR),
        "resampling": Change("nearest"),
        "through": Change("coarse.tif"),
        "kind": Change("circular", given={"units": "degree"}),
        "long_name": Change("another name", "attributes"),
        "flags": Change(
            {"1": "sea", "2": "snow", "3": "wood", "4": "stone"}, "attributes",
            given={"source": "classes.tif", "kind": "categorical", "units": "1", "flags": WATER["flags"]},
        ),
        "citation": Change("Somebody 2020", "references"),
    },
    "mask": {
        "boundary": Change("right.geojson"),
        "glaciers": Change("right.geojson"),
        "lakes": Change("right.geojson"),
        "crs": Change("EPSG:32646", given={"lakes": "right.shp"}),
        "no_soil": Change(["water", "rock"]),
    },
    "zonal": {
        "name": Change("other", "table"),
        "layers": Change(["own", "second"], "table", root={"layers": [OWN, {**OWN, "name": "second"}]}),
        "polygons": Change("left.geojson", "table"),
        "by": Change("basin", "table"),
        "statistics": Change(["mean", "total"], "table"),
        "partial_cells": Change("centre", "table", given={"polygons": "left.geojson"}),
        "crs": Change("EPSG:32646", given={"polygons": "right.shp"}),
        "area_intervals": Change(["own"], "fault", names="own_lower"),
    },
    "accuracy": {
        "encoding": Change("utf-16", "fault"),
        "name": Change("other", "table"),
        "layer": Change("second", "table", root={"layers": [OWN, {**OWN, "name": "second", "source": "second.tif"}]}),
        "samples": Change("fewer_drawn.csv", "table"),
        "column": Change("again", "table"),
        "units": Change("cm", "table"),
        "longitude": Change("lon", "table"),
        "latitude": Change("lat", "table"),
        "probability": Change("chance", "table"),
        "stratum": Change("half", "table"),
        "stratum_sizes": Change({"a": 1.0, "b": 5.0}, "table", given={"probability": ABSENT, "stratum": "half",
                                                                     "stratum_sizes": {"a": 1.0, "b": 1.0}}),
        "cluster": Change("block", "table"),
        "primary_units": Change("blocks", "table", given={"cluster": "block"}),
        "secondary_units": Change("cells", "table", given={"cluster": "block", "primary_units": "blocks"}),
        "level": Change(0.8, "table"),
    },
}  # fmt: skip
DRAWN = {"name": "drawn", "layer": "own", "samples": "drawn.csv", "column": "depth", "probability": "equal"}
AREAS = {"name": "areas", "layers": ["own"], "polygons": "right.geojson"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch) -> Sweep:
    """Rasters, bands, a NetCDF without CRS, classes and polygons over one place in UTM."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(4)
    place = {"crs": "EPSG:32646", "left": 404_000, "top": 3_337_000}
    fine = np.round(rng.uniform(1, 20, (32, 32)))
    write_tif(folder / "fine.tif", fine, size=500, **place)
    write_tif(folder / "finer.tif", np.round(rng.uniform(1, 30, (64, 64))), size=250, **place)
    write_tif(folder / "second.tif", fine[:, ::-1], size=500, **place)
    write_tif(folder / "aside.tif", fine, size=500, **{**place, "left": 412_000})
    write_tif(folder / "coarse.tif", np.ones((4, 4)), size=4000, **place)
    write_tif(folder / "classes.tif", rng.integers(1, 5, (16, 16)).astype("uint8"), size=1000, **place)
    write_tif(folder / "bands.tif", np.stack([fine, fine[::-1]]), size=500, **place)
    axes = {"y": 3_337_000 - 250 - 500.0 * np.arange(32), "x": 404_250 + 500.0 * np.arange(32)}
    stack = {"first": (("y", "x"), fine), "second": (("y", "x"), 2 * fine)}
    xr.Dataset(stack, coords=axes).to_netcdf(folder / "two.nc", engine="scipy")
    right = geopandas.GeoDataFrame(
        {"basin": ["right"]}, geometry=[shapely.box(410_000, 3_300_000, 430_000, 3_340_000)], crs="EPSG:32646"
    )
    right.to_file(folder / "right.geojson", driver="GeoJSON")
    right.translate(xoff=-12_300).to_file(folder / "left.geojson", driver="GeoJSON")
    right.to_file(folder / "right.shp")
    (folder / "right.prj").unlink()
    lon, lat = Transformer.from_crs("EPSG:32646", "EPSG:4326", always_xy=True).transform(
        rng.uniform(404_500, 419_500, 40), rng.uniform(3_321_500, 3_336_500, 40)
    )
    drawn = pd.DataFrame({
        "longitude": lon, "latitude": lat, "lon": lon[::-1], "lat": lat[::-1], "depth": rng.uniform(1, 20, 40),
        "again": rng.uniform(1, 20, 40), "chance": rng.uniform(0.1, 0.9, 40), "half": np.repeat(["a", "b"], [10, 30]),
        "block": np.repeat(np.arange(10), 4), "blocks": 20, "cells": 9,
    })  # fmt: skip
    drawn.to_csv(folder / "drawn.csv", index=False)
    drawn[::2].to_csv(folder / "fewer_drawn.csv", index=False)
    monkeypatch_module.chdir(folder)
    return Sweep({
        "run": {"name": "sweep", "output": "maps.zarr"},
        "grid": {"crs": "EPSG:32646", "resolution": 1000, "bounds": [404000, 3321000, 420000, 3337000], "chunks": 16},
        "layers": [OWN],
    })  # fmt: skip


@pytest.mark.parametrize(("table", "key"), cases(FROM_FILES))
def test_an_option_of_files_has_an_effect(files: Sweep, table: str, key: str) -> None:
    change = FROM_FILES[table][key]
    if table in {"zonal", "accuracy"}:
        base = {**files.base, **change.root}
        entries = {"zonal": AREAS, "accuracy": DRAWN}[table]
        before = {name: value for name, value in {**entries, **change.given}.items() if value is not ABSENT}
        first, second = ({**base, table: [entry]} for entry in (before, {**before, key: change.value}))
        files.compare(key, files.outcome(first), files.outcome(second), change)
        return
    if table != "layers":
        more = {"layers": [WATER], "mask": {"no_soil": ["water"]}} if table == "mask" else {}
        files.within(more).check(table, key, change)
        return
    before = {name: value for name, value in {**OWN, **change.given}.items() if value is not ABSENT}
    first, second = ({**files.base, "layers": [layer]} for layer in (before, {**before, key: change.value}))
    files.compare(key, files.outcome(first), files.outcome(second), change)


# -- [run], which the engine reads

RUN = {
    "name": Change("other", reason="attribute run"),
    "output": Change("elsewhere.zarr", reason="the store"),
    "description": Change("A title", reason="attribute title"),
    "cube": Change("other.zarr", reason="values"),
    "overwrite": Change(True, reason="accepts the store of another grid"),
    "seed": Change(7, reason="values of forests"),
    "tile": Change(2, reason="how much one task computes; the values do not depend on it"),
}


def test_options_of_run_have_an_effect(tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=SIDE)
    small_run.make_cube(str(tmp_path / "other.zarr"), side=SIDE, seed=9)
    recipe |= {"elements": {**recipe["elements"], "trees": 3, "folds": ["random"]}}
    del recipe["solum"]
    small_run.make_cube(str(tmp_path / "wide.zarr"), side=48)
    results = {}
    for key, value in {"": None, **{name: change.value for name, change in RUN.items()}}.items():
        changed = {**recipe["run"], "output": str(tmp_path / f"{key or 'base'}_maps.zarr")}
        if key in {"cube", "output"}:
            changed[key] = str(tmp_path / str(value))
        elif key:
            changed[key] = value
        results[key] = tpsoil.run({**recipe, "run": changed}, progress=False).load()
    base = results[""]
    assert (tmp_path / "elsewhere.zarr").is_dir()
    assert not (tmp_path / "output_maps.zarr").exists()
    assert (base.attrs["run"], results["name"].attrs["run"]) == ("small", "other")
    assert results["description"].attrs["title"] == "A title" != base.attrs["title"]
    for key in ("cube", "seed"):
        assert values_of(results[key]["iron"]) != values_of(base["iron"]), key
    for key in ("name", "output", "description", "overwrite", "tile"):
        assert values_of(results[key]["iron"]) == values_of(base["iron"]), key
    other_grid = {**recipe["run"], "output": str(tmp_path / "base_maps.zarr"), "cube": str(tmp_path / "wide.zarr")}
    with pytest.raises(TpsoilError, match="overwrite"):
        tpsoil.run({**recipe, "run": other_grid}, progress=False)
    replaced = tpsoil.run({**recipe, "run": {**other_grid, "overwrite": True}}, progress=False)
    assert replaced.sizes["x"] == 48
    tiles = [preview({**recipe, "run": {**recipe["run"], "output": str(tmp_path / "new.zarr"), "tile": tile}})
             for tile in (1, 2)]  # fmt: skip
    assert [one[0].forecast.side for one in tiles if one[0].forecast] == [1, 2]


@pytest.mark.filterwarnings("ignore:samples.csv. no column names the sites")
def test_the_seed_of_a_run_reaches_drivers_and_bands(elements: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one forest, the permutations of the drivers and the bootstrap of the effects follow the seed of the run."""
    monkeypatch.chdir(elements.folder)
    options = {"drivers": True, "driver_repeats": 2, "effects": ["elevation", "climate_zone"], "bands": 3}
    recipe = merged(elements.base, {"run": {"seed": 7}, "elements": options})
    job = job_of(recipe)
    table = job.stages[0].options["report"]
    design = design_of(table, open_cube(job.cube).load(), "Fe").design
    forest = train_elements(design, ["Fe"], list(table.features), trees=4, n_folds=3, folds=["random"],
                            coordinates=("lon", "lat"), seed=7)["Fe"]  # fmt: skip
    samples = ElementSamples(design, {}, [], {})
    first, second = (tables_of(Element(table, "Fe", forest, samples, seed), None) for seed in (0, 7))
    for name in ("drivers", "importance_Fe", "effect_Fe_elevation", "effect_Fe_climate_zone"):
        assert not first[name].equals(second[name]), name
        assert elements.outcome(recipe)[f"table:{name}"] == second[name].to_csv(), name
    assert first["elements"].equals(second["elements"])


OPEN_DATA = {
    "catalogue": "test_fetch_recipe::test_layers_of_a_recipe_are_those_that_fetch_makes",
    "offline": "test_fetch_recipe::test_a_second_run_computes_nothing_and_works_with_the_server_stopped",
    "locked": "test_fetch_recipe::test_locked_names_a_changed_file_of_a_recipe",
}
"""Options of `[sources]`, with the test that shows their effect: they need a server."""

TABLES = {**SOLUM, **ELEMENTS, **FROM_FILES, "run": RUN, "sources": OPEN_DATA}


@pytest.mark.parametrize("key", OPEN_DATA)
def test_an_option_of_open_data_has_a_test_or_is_rejected(key: str) -> None:
    module, name = OPEN_DATA[key].split("::")
    assert f"def {name}(" in (Path(__file__).parent / f"{module}.py").read_text()
    recipe = {"run": {"name": "own", "output": "maps.zarr", "cube": "cube.zarr"}, "solum": {"zones": "none"}}
    with pytest.raises(TpsoilError, match="sources: has no effect"):
        read_recipe({**recipe, "sources": {key: "own.toml" if key == "catalogue" else True}})


def test_every_key_of_a_recipe_has_another_value_here() -> None:
    keys = {(key.table.strip("[]"), key.name) for key in recipe_keys()}
    here = {(table, key) for table, changes in TABLES.items() for key in changes}
    assert here == keys


IDLE = [
    ("solum.zones", {"rank_seeds": 3}, ZONED), ("solum.zones", {"rank_trees": 9}, ZONED),
    ("solum.calibration", {"quantiles_of": "parameters"}, CALIBRATED),
    ("solum.comparison", {"band": 3.0}, {"solum": {"comparison": {"maps": [], "correlate": ["elevation"]}}}),
    ("solum", {"assumptions": {"ndvi": {"value": 0.4, "reason": "a test"}}}, {"run": {"cube": "no_ndvi.zarr"}}),
]  # fmt: skip
IDLE_ELEMENTS = [
    {"search_trees": 30}, {"driver_repeats": 3}, {"bands": 2}, {"calibration": "rma"}, {"classes": {"elevation": [1]}},
    {"masked_within_km": 3.0, "masked_samples": "drop"}, {"conformal": "weighted"}, {"selection_trees": 9},
    {"extra_layers": ["point_density"]},
]  # fmt: skip


@pytest.mark.parametrize(("table", "options", "root"), IDLE, ids=lambda value: str(value)[:40])
def test_an_option_of_solum_that_would_be_ignored_is_rejected(
    solum: Sweep, table: str, options: dict[str, Any], root: Mapping[str, Any]
) -> None:
    found = solum.outcome(merged(merged(solum.base, root), at(table, options)))
    assert next(iter(options)) in str(found.get(FAULT))
    assert "no effect" in str(found[FAULT])


@pytest.mark.parametrize("options", IDLE_ELEMENTS, ids=lambda value: next(iter(value)))
def test_an_option_of_elements_that_would_be_ignored_is_rejected(elements: Sweep, options: dict[str, Any]) -> None:
    found = str(elements.outcome(merged(elements.base, {"elements": options})).get(FAULT))
    assert f"elements: {next(iter(options))} has no effect without" in found


def test_a_crs_beside_like_is_rejected(files: Sweep) -> None:
    found = files.outcome({**files.base, "grid": {"like": "fine.tif", "crs": "EPSG:3035"}})
    assert "leave crs out" in str(found.get(FAULT))


def test_a_misspelt_table_of_classes_is_rejected(elements: Sweep) -> None:
    options = {"compare": ["elevation"], "classes": {"elevaton": [4000]}}
    found = str(elements.outcome(merged(elements.base, {"elements": options})).get(FAULT))
    assert "did you mean 'elevation'" in found
