"""Covariates: DataArray in, DataArray out."""

from __future__ import annotations

from .catalogue_sources import Source, sources
from .classes import ClassTable, read_class_table, reclassify
from .climate import annual_precipitation, aridity_index, lapse_rate_downscaling, mean_annual_temperature, monthly_means
from .erosivity import EROSIVITY, rainfall_erosivity
from .evapotranspiration import latitude_layer, potential_evapotranspiration
from .hydrology import filled_elevation, hydrology_attributes
from .terrain import terrain_attributes, topographic_position
from .vegetation import vegetation_cover
from .water_erosion import cover_factor, rusle, soil_erodibility, stone_corrected_erodibility
from .weathering import chemical_index_of_alteration
from .wind_erosion import rweq, soil_dryness, turning_point, weather_factor, wind_factor
from .wind_soil import crust_factor, erodible_fraction, roughness_factor, vegetation_factor

__all__ = [
    "EROSIVITY",
    "ClassTable",
    "Source",
    "annual_precipitation",
    "aridity_index",
    "chemical_index_of_alteration",
    "cover_factor",
    "crust_factor",
    "erodible_fraction",
    "filled_elevation",
    "hydrology_attributes",
    "lapse_rate_downscaling",
    "latitude_layer",
    "mean_annual_temperature",
    "monthly_means",
    "potential_evapotranspiration",
    "rainfall_erosivity",
    "read_class_table",
    "reclassify",
    "roughness_factor",
    "rusle",
    "rweq",
    "soil_dryness",
    "soil_erodibility",
    "sources",
    "stone_corrected_erodibility",
    "terrain_attributes",
    "topographic_position",
    "turning_point",
    "vegetation_cover",
    "vegetation_factor",
    "weather_factor",
    "wind_factor",
]
