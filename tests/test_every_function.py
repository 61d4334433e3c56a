"""Every keyword option of the covariate functions has an effect or is rejected."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr
from test_units_everywhere import OXIDES, TEXTURE, cells, ground, months

from tpsoil import covariates as cov
from tpsoil.errors import TpsoilError

SOIL = {name: layer for name, (layer, _) in TEXTURE.items()}
ROCK = {name: cells(value) for name, value in OXIDES.items()}
TWO_YEARS = xr.concat([months(3.0, "time"), months(9.0, "time").assign_coords(
    time=np.arange("2002-01", "2003-01", dtype="datetime64[M]").astype("datetime64[ns]"))], "time")  # fmt: skip
CODES = cells(1.0).astype("uint8")
MIXED = xr.where(xr.DataArray(np.eye(3, 4), dims=("y", "x")) > 0, 7, CODES).astype("uint8")
ROUGH = ground(4000.0) + 60 * np.sin(np.arange(7.0))
HOLE = ROUGH.where(ROUGH[2, 3] != ROUGH, float(ROUGH.min()) - 90)
# The cell size does not decide a filled surface or a position in cells, but a grid without coordinates needs it.
CELL_SIZE = ({"elevation": HOLE.drop_vars(["y", "x"])}, 45.0)

Options = Mapping[str, tuple[Mapping[str, Any], Any]]
CASES: dict[str, tuple[Mapping[str, Any], Options]] = {
    "annual_precipitation": ({"monthly": TWO_YEARS}, {"years": ({}, (2002, 2002))}),
    "mean_annual_temperature": ({"monthly": TWO_YEARS}, {"years": ({}, (2002, 2002))}),
    "monthly_means": ({"monthly": TWO_YEARS}, {"years": ({}, (2002, 2002))}),
    "chemical_index_of_alteration": (ROCK, {
        "basis": ({}, "elements"), "correction": ({}, "none"), "detection_limits": ({}, {"calcium": 9.0}),
        "percent": ({}, True), "status": ({}, True)}),
    "cover_factor": ({"ndvi": cells(0.3)}, {
        "ndvi": ({}, cells(0.4)), "vegetation_cover": ({"method": "cai", "ndvi": None, "vegetation_cover": cells(20.0)},
                                                       cells(40.0)),
        "method": ({}, "cai"), "alpha": ({}, 3.0), "beta": ({}, 1.5)}),
    "crust_factor": ({"clay": cells(10.0), "soil_organic_carbon": cells(1.0)}, {"organic_matter": ({}, True)}),
    "erodible_fraction": ({**SOIL, "soil_organic_carbon": cells(1.0)}, {"organic_matter": ({}, True)}),
    "filled_elevation": ({"elevation": HOLE}, {"memory_limit_gb": ({}, 1e-9), "cell_size_m": CELL_SIZE}),
    "hydrology_attributes": ({"elevation": ROUGH}, {
        "steepness": ({}, "chinese"), "max_length_m": ({}, 50.0), "allow_coarse_dem": ({"max_length_m": 20.0}, True),
        "memory_limit_gb": ({}, 1e-9),
        "cell_size_m": ({}, 45.0)}),
    "lapse_rate_downscaling": (
        {"temperature": cells(2.0), "coarse_elevation": cells(4e3), "elevation": cells(4.5e3)},
        {"lapse_rate_k_km": ({}, 5.0)}),
    "potential_evapotranspiration": (
        {"method": "hargreaves", "minimum": months(2.0), "maximum": months(12.0), "latitude": 31.0}, {
            "method": ({}, "thornthwaite"), "minimum": ({}, months(4.0)), "maximum": ({}, months(15.0)),
            "latitude": ({}, 40.0), "temperature": ({}, months(5.0))}),
    "rainfall_erosivity": ({"precipitation": months(60.0), "method": "wischmeier_si"}, {
        "method": ({}, "zhang_fu_fournier"), "temperature": ({}, months(-3.0)),
        "years": ({"method": "zhang_daily", "precipitation": months(30.0).rename(month="time")}, 3.0)}),
    "reclassify": ({"layer": CODES, "table": {1: 2}, "name": "lithology"}, {
        "name": ({}, "biome"), "names": ({}, {2: "rock"}), "unknown": ({"layer": MIXED}, "nodata"),
        "nodata": ({"unknown": "nodata", "layer": MIXED}, 1)}),
    "roughness_factor": ({"ridge_cm": cells(2.0), "random_cm": cells(1.0)}, {"random_weight": ({}, "0.124")}),
    "rusle": ({"rainfall_erosivity": cells(300.0), "soil_erodibility": cells(0.04), "ls_factor": cells(2.5),
               "cover_factor": cells(0.2)}, {"unit_system": ({}, "US")}),
    "rweq": ({"weather_factor": cells(30.0), "erodible_fraction": cells(0.5), "crust_factor": cells(0.6)},
             {"distance_m": ({}, 90.0)}),
    "soil_dryness": ({"potential_evapotranspiration": cells(50.0), "precipitation": cells(20.0),
                      "rain_days": cells(7.5), "days": 30}, {"days": ({}, 15.0), "irrigation": ({}, cells(9.0))}),
    "soil_erodibility": ({**SOIL, "soil_organic_carbon": cells(1.5)}, {"unit_system": ({}, "US")}),
    "stone_corrected_erodibility": ({"soil_erodibility": cells(0.03), "stone_cover": cells(30.0)}, {}),
    "terrain_attributes": ({"elevation": ROUGH}, {
        "curvature_convention": ({}, "laplacian"), "ruggedness": ({}, "mean_difference"), "position_sd": ({}, 9.0),
        "cell_size_m": ({}, 45.0)}),
    "topographic_position": ({"elevation": ROUGH}, {
        "inner_cells": ({"outer_cells": 2}, 1), "outer_cells": ({}, 2), "cell_size_m": CELL_SIZE}),
    "vegetation_cover": ({"ndvi": cells(0.3)}, {"bare": ({}, 0.1), "full": ({}, 0.7)}),
    "weather_factor": ({"wind_factor": cells(1640.0), "elevation": cells(4500.0), "temperature": cells(0.0)},
                       {"gravity": ({}, 9.7)}),
    "wind_factor": ({"wind_speed": months(8.0, "time").drop_vars("time"), "days": 12}, {
        "days": ({}, 20), "height_m": ({}, 2.0), "threshold_m_s": ({}, 6.0), "weibull_shape": ({}, 2.0)}),
}  # fmt: skip


def shown(result: Any) -> str:
    """Values, attributes, dtypes and coordinates as text."""
    if isinstance(result, tuple):
        return " ".join(map(shown, result))
    if isinstance(result, xr.DataArray):
        result = result.to_dataset(name="result")
    if isinstance(result, xr.Dataset):
        return repr([(name, layer.dtype, layer.values.tobytes(), layer.attrs) for name, layer in result.items()])
    return repr(result)


def result_of(name: str, arguments: Mapping[str, Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return shown(getattr(cov, name)(**arguments))
        except TpsoilError as error:
            return f"rejected: {error}"


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, case in CASES.items() for option in case[1]])
def test_a_keyword_option_has_an_effect_or_is_rejected(name: str, option: str) -> None:
    base, options = CASES[name]
    given, value = options[option]
    arguments = {**base, **given}
    assert result_of(name, arguments) != result_of(name, {**arguments, option: value})


def test_every_keyword_option_has_another_value_here() -> None:
    functions = {name: getattr(cov, name) for name in cov.__all__ if inspect.isfunction(getattr(cov, name))}
    keywords = {
        name: {key for key, one in inspect.signature(function).parameters.items() if one.kind == one.KEYWORD_ONLY}
        for name, function in functions.items()
    }
    here = {name: {key for key in options if key in keywords[name]} for name, (_, options) in CASES.items()}
    assert here == {name: keys for name, keys in keywords.items() if keys or name in here}
