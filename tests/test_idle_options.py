"""Options that would be ignored are rejected by the function that has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import raw_covariates
import shapely
import xarray as xr

import tpsoil
from tpsoil.covariates import cover_factor, rainfall_erosivity
from tpsoil.errors import InputError
from tpsoil.forest import train
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.ingest import read_mask
from tpsoil.micronutrients import calibrate_xrf, calibration_lines, representation, train_elements
from tpsoil.recipes import derived_layers
from tpsoil.solum import compare_maps, prepare_profiles, rank_covariates

GRID = plateau_grid(100_000)
CUBE = xr.Dataset(
    {"slope": (("y", "x"), np.ones(GRID.shape, "float32")), "soil_mask": (("y", "x"), np.ones(GRID.shape, "uint8"))},
    coords=coordinates(GRID),
)
HEIGHT = xr.DataArray(
    np.random.default_rng(0).uniform(4000, 5000, GRID.shape).astype("float32"),
    dims=("y", "x"),
    coords=coordinates(GRID),
    attrs={"units": "m"},
)
POINTS = pd.DataFrame({"lon": [89.0, 90.0], "lat": [33.0, 34.0]})
TABLE = pd.DataFrame({"slope": np.arange(60.0), "site": np.arange(60), "Zn": np.arange(60.0) + 20})
XRF, ICP = np.arange(1.0, 13.0), 2 * np.arange(1.0, 13.0) + np.sin(np.arange(12.0))
PROFILE = {"solum_thickness": 0.9, "mean_annual_temperature": 3.0, "annual_precipitation": 600.0,
           "water_erosion": 2.0, "wind_erosion": 1.0, "general_curvature": 0.0}  # fmt: skip
RANKED = pd.DataFrame({"elevation": np.arange(20.0), "rock": np.arange(20) % 3, "solum_thickness": np.arange(20.0)})
AREA = geopandas.GeoDataFrame(geometry=[shapely.box(-2e5, -2e5, 2e5, 3e5)], crs=GRID.crs.to_wkt())


def derive(group: str, **options: Any) -> None:
    named = {f"{group}.{name}": value for name, value in options.items()}
    derived_layers(xr.Dataset({"elevation": HEIGHT}), [group], options=named)


def derive_slope(**options: Any) -> None:
    named = {f"terrain.{name}": value for name, value in options.items()}
    derived_layers(xr.Dataset({"elevation": HEIGHT}), ["slope"], options=named)


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "train, search_trees": (lambda: train(TABLE, "Zn", ["slope"], "site", search_trees=5), "without search"),
    "train, search_folds": (lambda: train(TABLE, "Zn", ["slope"], "site", search_folds=2), "without search"),
    "calibrate_xrf": (lambda: calibrate_xrf(XRF, ICP, variance_ratio=2.0), "variance_ratio has no effect"),
    "calibration_lines": (lambda: calibration_lines(XRF, ICP, methods=["ols", "rma"], variance_ratio=2.0), "no effect"),
    "sample_cube": (lambda: tpsoil.sample_cube(CUBE, POINTS, masked_within_m=500.0), "pass on_masked='move'"),
    "train_elements, kept": (
        lambda: train_elements(TABLE, ["Zn"], ["slope"], cube=CUBE, on_masked="keep", masked_within_m=500.0),
        "pass on_masked='move'",
    ),
    "train_elements, no cube": (
        lambda: train_elements(TABLE, ["Zn"], ["slope"], masked_within_m=500.0), "no effect without cube",
    ),
    "compare_maps": (lambda: compare_maps({"own": CUBE["slope"]}, in_sample=["own"]), "no effect without profiles"),
    "prepare_profiles": (
        lambda: prepare_profiles(pd.DataFrame([{**PROFILE, "snow": 1.0}]), extra=["snwo"]), "did you mean 'snow'",
    ),
    "calibrate": (
        lambda: tpsoil.solum.calibrate(pd.DataFrame([PROFILE] * 3), baseline_features=("elevatoin",)),
        "no layer or column 'elevatoin'",
    ),
    "rank_covariates": (
        lambda: rank_covariates(RANKED, ["elevation", "rock"], categorical=["rokc"]), "did you mean 'rock'",
    ),
    "representation": (lambda: representation([1, 1, 2], {1: 5.0, 2: 5.0}, {1: "steppe", 3: "forest"}), "at 3"),
    "read_mask": (lambda: read_mask(AREA, GRID, crs="EPSG:4326"), "leave crs out"),
    "terrain, chosen layers": (
        lambda: derive("terrain", layers=["slope"], ruggedness="mean_difference"), "only on terrain_ruggedness",
    ),
    "terrain, a layer": (lambda: derive_slope(position_sd=20.0), "it changes slope_position"),
    "rainfall_erosivity": (
        lambda: rainfall_erosivity([40.0] * 12, method="wischmeier_si", years=3.0), "years has no effect on method",
    ),
    "cover_factor": (lambda: cover_factor(vegetation_cover=40.0, method="cai", alpha=3.0), "alpha and beta have no"),
    "hydrology": (lambda: derive("hydrology", layers=["upslope_area"], max_length_m=90.0), "only on ls_factor"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CASES.values(), ids=CASES)
def test_an_option_that_would_be_ignored_is_rejected(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_the_same_options_are_accepted_where_they_have_an_effect() -> None:
    derive_slope()
    derive("terrain", layers=["terrain_ruggedness"], ruggedness="mean_difference")
    assert read_mask(AREA.set_crs(None, allow_override=True), GRID, crs=GRID.crs.to_wkt()).sum() > 0
    assert list(calibration_lines(XRF, ICP, variance_ratio=2.0).index) == ["ols", "deming", "rma"]
    names = {1: "steppe", 2: "forest", 3: "desert"}
    assert list(representation([1, 1, 2], {1: 5.0, 2: 5.0}, names).index) == ["steppe", "forest"]


def test_a_span_of_years_is_rejected_for_a_climatology(tmp_path: Path) -> None:
    raw_covariates.write_raw_files(tmp_path)
    rain = {"path": str(tmp_path / "rain" / "prec_*.tif"), "units": "mm"}
    options = {"climate.monthly_precipitation": rain, "climate.first_year": 2000, "climate.last_year": 2000}
    cube = xr.Dataset({"elevation": HEIGHT})
    with pytest.raises(InputError, match="first_year and last_year have no effect on twelve months"):
        derived_layers(cube, ["climate"], options=options)


@pytest.mark.parametrize(
    ("names", "layers", "message"),
    [
        (["mean_annual_temperature"], None, "layer 'mean_annual_temperature' needs option monthly_temperature"),
        (["aridity", "evapotranspiration"], None, "which aridity needs, needs option monthly_precipitation"),
        (["climate"], ["mean_annual_temperature"], "layer mean_annual_temperature needs option monthly_temperature"),
    ],
)
def test_a_layer_whose_stack_is_not_given_is_a_fault(
    tmp_path: Path, names: list[str], layers: list[str] | None, message: str
) -> None:
    raw_covariates.write_raw_files(tmp_path)
    rain = {"path": str(tmp_path / "rain" / "prec_*.tif"), "units": "mm"}
    options: dict[str, Any] = {"climate.monthly_precipitation": rain}
    if "aridity" in names:
        warmth = f"{tmp_path}/tas.nc:tas"
        options = {"climate.monthly_temperature": warmth, "evapotranspiration.method": "thornthwaite",
                   "evapotranspiration.monthly_temperature": warmth}  # fmt: skip
    if layers:
        options["climate.layers"] = layers
    with pytest.raises(InputError, match=message):
        derived_layers(xr.Dataset({"elevation": HEIGHT}), names, options=options)
