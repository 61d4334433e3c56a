"""Every public function that takes a quantity, with every spelling of its unit: the right number or an error."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from test_units import CELSIUS, CONTENT, LOSS, NUMBERS, OTHERS, SHARE, YEARLY

from tpsoil import covariates as cov
from tpsoil import solum
from tpsoil.errors import UnitsError
from tpsoil.units import same_unit

# Units of one quantity: spellings that mean it, and units that do not. "mm" is the sum of the period that a function
# takes, so its spellings differ between years, months and days.
MONTHLY = ("mm", "mm month-1", "mm/month", "mm mon^-1", "kg m-2", "kg m-2 month-1", "millimetres per month")
DAILY = ("mm", "mm d-1", "mm/day", "mm day^-1", "kg m-2 d-1")
METRES = OTHERS["m"]
SPELLINGS: dict[str, tuple[str, ...]] = {
    "mm/year": YEARLY, "mm/month": MONTHLY, "mm/day": DAILY, "degC": CELSIUS, "t ha-1 a-1": LOSS, "%": SHARE,
    "mg kg-1": CONTENT, "1": NUMBERS, "m": METRES, "m-1": OTHERS["m-1"], "m s-1": OTHERS["m s-1"],
    "R": ("MJ mm ha-1 h-1 a-1", *OTHERS["MJ mm ha-1 h-1 a-1"]), "K": OTHERS["t ha h ha-1 MJ-1 mm-1"],
    "cm": ("cm", "centimetre", "Centimeters"), "cm2": ("cm2", "cm^2", "cm²"), "d": ("d", "days", "day"),
    "kg m-1": ("kg m-1", "kg/m", "kg m^-1"), "m3 s-3": ("m3 s-3", "m3/s3", "m^3 s^-3"),
    "degree": ("degree", "°", "degrees_north", "degrees"),
}  # fmt: skip
EVERY = tuple(dict.fromkeys(text for texts in SPELLINGS.values() for text in texts)) + (
    "K", "kelvin", "degF", "0.1 degC", "tenths", "ft", "cm", "km", "m d-1", "kg m-2 s-1", "mg ha-1 a-1", "ton/ha/yr",
    "t km-2 a-1", "kg m-2 a-1", "g/kg", "dg kg-1", "vol%", "% Fe2O3", "% CaCO3", "ppb", "km/h", "mm a-1 mm", "0.0001",
    "hundreds of ft tonf in acre-1 h-1 a-1", "rad", "banana", "g cm-3", "1/km",
)  # fmt: skip
TIME = np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]")


def cells(value: float) -> xr.DataArray:
    return xr.DataArray(np.full((3, 4), value), dims=("y", "x"))


def months(value: float, dim: str = "month") -> xr.DataArray:
    stack = xr.DataArray(np.full((12, 3, 4), value), dims=(dim, "y", "x"))
    return stack.assign_coords(time=TIME) if dim == "time" else stack


def ground(value: float) -> xr.DataArray:
    surface = np.add.outer(np.arange(6) * 7.0, np.arange(7) ** 2 * 3.0) + value
    return xr.DataArray(surface, dims=("y", "x"), coords={"y": 30.0 * np.arange(6)[::-1], "x": 30.0 * np.arange(7)})


Case = tuple[Callable[..., Any], dict[str, tuple[Any, str]]]
TEXTURE = {"sand": (cells(60.0), "%"), "silt": (cells(30.0), "%"), "clay": (cells(10.0), "%")}
SOLUM = {
    "mean_annual_temperature": (cells(3.0), "degC"), "annual_precipitation": (cells(600.0), "mm/year"),
    "water_erosion": (cells(2.8), "t ha-1 a-1"), "wind_erosion": (cells(10.0), "t ha-1 a-1"),
    "general_curvature": (cells(1e-3), "m-1"), "depth_to_bedrock": (cells(20.0), "m"),
}  # fmt: skip
OXIDES = dict(zip(("aluminium", "calcium", "sodium", "potassium", "phosphorus"), (15.4, 3.59, 3.27, 2.8, 0.15)))


def elements_basis(**layers: Any) -> Any:
    return cov.chemical_index_of_alteration(**layers, basis="elements")


CASES: dict[str, Case] = {
    "aridity_index": (cov.aridity_index, {
        "annual_precipitation": (cells(720.0), "mm/year"), "potential_evapotranspiration": (cells(900.0), "mm/year")}),
    "annual_precipitation": (cov.annual_precipitation, {"monthly": (months(60.0, "time"), "mm/month")}),
    "mean_annual_temperature": (cov.mean_annual_temperature, {"monthly": (months(3.0, "time"), "degC")}),
    "lapse_rate_downscaling": (cov.lapse_rate_downscaling, {
        "temperature": (cells(2.0), "degC"), "coarse_elevation": (cells(4e3), "m"), "elevation": (cells(4.5e3), "m")}),
    "potential_evapotranspiration, thornthwaite": (
        lambda **a: cov.potential_evapotranspiration(method="thornthwaite", **a),
        {"temperature": (months(12.0), "degC"), "latitude": (cells(31.0), "degree")}),
    "potential_evapotranspiration, hargreaves": (
        lambda **a: cov.potential_evapotranspiration(method="hargreaves", latitude=31.0, **a),
        {"minimum": (months(2.0), "degC"), "maximum": (months(12.0), "degC")}),
    "rainfall_erosivity, zhang_fu_annual": (
        lambda **a: cov.rainfall_erosivity(method="zhang_fu_annual", **a),
        {"precipitation": (cells(720.0), "mm/year")}),
    "rainfall_erosivity, wischmeier_si": (
        lambda **a: cov.rainfall_erosivity(method="wischmeier_si", **a),
        {"precipitation": (months(60.0), "mm/month"), "temperature": (months(3.0), "degC")}),
    "rainfall_erosivity, zhang_daily": (
        lambda **a: cov.rainfall_erosivity(method="zhang_daily", **a),
        {"precipitation": (months(30.0, "time"), "mm/day")}),
    "rusle": (cov.rusle, {
        "rainfall_erosivity": (cells(300.0), "R"), "soil_erodibility": (cells(0.04), "K"),
        "ls_factor": (cells(2.5), "1"), "cover_factor": (cells(0.2), "1"), "practice_factor": (cells(0.9), "1")}),
    "stone_corrected_erodibility": (cov.stone_corrected_erodibility, {
        "soil_erodibility": (cells(0.03), "K"), "stone_cover": (cells(30.0), "%")}),
    "soil_erodibility": (cov.soil_erodibility, TEXTURE | {"soil_organic_carbon": (cells(1.5), "%")}),
    "cover_factor, ndvi": (cov.cover_factor, {"ndvi": (cells(0.3), "1")}),
    "cover_factor, cai": (lambda **a: cov.cover_factor(method="cai", **a), {"vegetation_cover": (cells(20.0), "%")}),
    "vegetation_cover": (cov.vegetation_cover, {"ndvi": (cells(0.3), "1")}),
    "rweq": (cov.rweq, {
        "weather_factor": (cells(1.05), "kg m-1"), "erodible_fraction": (cells(0.5), "1"),
        "crust_factor": (cells(0.6), "1"), "roughness_factor": (cells(0.7), "1"),
        "vegetation_factor": (cells(0.8), "1")}),
    "wind_factor": (lambda **a: cov.wind_factor(days=12, **a), {
        "wind_speed": (months(8.0, "time").drop_vars("time"), "m s-1")}),
    "soil_dryness": (lambda **a: cov.soil_dryness(days=30, **a), {
        "potential_evapotranspiration": (cells(50.0), "mm/month"), "precipitation": (cells(20.0), "mm/month"),
        "rain_days": (cells(7.5), "d"), "irrigation": (cells(1.0), "mm/month")}),
    "weather_factor": (cov.weather_factor, {
        "wind_factor": (cells(1640.0), "m3 s-3"), "elevation": (cells(4500.0), "m"),
        "temperature": (cells(0.0), "degC"), "soil_dryness": (cells(0.8), "1"), "snow_free": (cells(0.9), "1")}),
    "erodible_fraction": (cov.erodible_fraction, TEXTURE | {
        "soil_organic_carbon": (cells(1.0), "%"), "calcium_carbonate": (cells(5.0), "%")}),
    "crust_factor": (cov.crust_factor, {"clay": (cells(10.0), "%"), "soil_organic_carbon": (cells(1.0), "%")}),
    "roughness_factor": (cov.roughness_factor, {"ridge_cm": (cells(0.5), "cm"), "random_cm": (cells(1.0), "cm")}),
    "vegetation_factor": (cov.vegetation_factor, {
        "flat_cover": (cells(30.0), "%"), "standing_area": (cells(10.0), "cm2"), "canopy": (cells(0.3), "1")}),
    "chemical_index_of_alteration, oxides": (
        cov.chemical_index_of_alteration, {name: (cells(value), "%") for name, value in OXIDES.items()}),
    "chemical_index_of_alteration, elements": (
        elements_basis, {name: (cells(1e4 * value), "mg kg-1") for name, value in OXIDES.items()}),
    "terrain_attributes": (cov.terrain_attributes, {"elevation": (ground(4000.0), "m")}),
    "topographic_position": (cov.topographic_position, {"elevation": (ground(4000.0), "m")}),
    "hydrology_attributes": (cov.hydrology_attributes, {"elevation": (ground(4000.0), "m")}),
    "filled_elevation": (cov.filled_elevation, {"elevation": (ground(4000.0), "m")}),
    "eemt": (solum.eemt, {name: SOLUM[name] for name in ("mean_annual_temperature", "annual_precipitation")}),
    "thickness": (lambda **a: solum.thickness(xr.Dataset(a), solum.PUBLISHED[3]), SOLUM),
    "published_zones": (lambda **a: solum.published_zones(xr.Dataset(a)), {
        "elevation": (cells(4500.0), "m"), "ndvi": (cells(0.4), "1"),
        **{name: SOLUM[name] for name in ("mean_annual_temperature", "annual_precipitation")}}),
}  # fmt: skip
WITHOUT_QUANTITY = {
    "latitude_layer": "reads the grid", "monthly_means": "keeps the unit that came", "read_class_table": "classes",
    "reclassify": "classes", "sources": "text", "turning_point": "a number", "distance": "a number",
}  # fmt: skip


def result_of(case: Case, units: dict[str, str]) -> xr.Dataset:
    call, arguments = case
    layers = {
        name: layer.assign_attrs(units=units[name]) if name in units else layer
        for name, (layer, _) in arguments.items()
    }
    result = call(**layers)
    return result if isinstance(result, xr.Dataset) else result.to_dataset(name="result")


def meaning(quantity: str, text: str) -> bool:
    """Whether a text is a spelling of the quantity: it is listed, or it is the same unit by the grammar."""
    if quantity.startswith("mm/"):
        return text in SPELLINGS[quantity] or same_unit(text, "mm", period=quantity[3:])  # type: ignore[arg-type]
    units = {"R": "MJ mm ha-1 h-1 a-1", "K": "t ha h ha-1 MJ-1 mm-1"}
    return text in SPELLINGS[quantity] or same_unit(text, units.get(quantity, quantity))


@pytest.mark.parametrize("name", CASES)
def test_every_spelling_is_right_or_rejected(name: str) -> None:
    case = CASES[name]
    plain = result_of(case, {})
    accepted = 0
    for argument, (_, quantity) in case[1].items():
        for text in EVERY:
            if meaning(quantity, text):
                accepted += 1
                xr.testing.assert_equal(result_of(case, {argument: text}), plain)
            elif text:
                with pytest.raises(UnitsError, match="units|kelvin"):
                    result_of(case, {argument: text})
        assert all(meaning(quantity, text) for text in SPELLINGS[quantity])
    assert accepted


def test_no_public_function_is_left_out() -> None:
    public = {name for name in cov.__all__ if inspect.isfunction(getattr(cov, name))}
    tested = {name.partition(",")[0] for name in CASES}
    assert public - tested - set(WITHOUT_QUANTITY) == set()


def test_the_reproduced_faults() -> None:
    monthly = cells(60.0).assign_attrs(units="mm month-1")
    with pytest.raises(UnitsError, match=r"aridity_index: annual_precipitation has units 'mm month-1', expected 'mm'"):
        cov.aridity_index(monthly, 900.0)  # was 0.067 for 0.8
    assert float(cov.aridity_index(cells(720.0), 900.0)[0, 0]) == pytest.approx(0.8)
    with pytest.raises(UnitsError, match="expected 'mm' .the sum of a year."):
        cov.rainfall_erosivity(monthly, method="zhang_fu_annual")  # was 47 for 2857
    assert float(cov.rainfall_erosivity(cells(720.0), method="zhang_fu_annual")[0, 0]) == pytest.approx(2857, abs=1)
    layers = xr.Dataset({name: layer for name, (layer, _) in SOLUM.items()})
    layers["water_erosion"].attrs["units"] = "mg ha-1 a-1"
    with pytest.raises(UnitsError, match="water_erosion has units 'mg ha-1 a-1', expected 't ha-1 a-1'"):
        solum.thickness(layers, solum.PUBLISHED[3])
    yearly = cells(600.0).assign_attrs(units="mm/yr")
    assert float(solum.eemt(cells(3.0), yearly)[0, 0]) > 0
    assert float(cov.aridity_index(yearly, 1200.0)[0, 0]) == 0.5  # was rejected
