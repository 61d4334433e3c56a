"""Themes of covariates: what each layer of the catalogue describes, for joint importance and for colours of figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

COVARIATE_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "climate": ("mean_annual_temperature", "annual_precipitation", "potential_evapotranspiration", "aridity_index",
                "climate_zone"),
    "terrain": ("elevation", "slope", "aspect", "general_curvature", "plan_curvature", "profile_curvature",
                "terrain_ruggedness", "slope_position", "upslope_area", "topographic_wetness", "slope_length",
                "ls_factor", "sediment_transport"),
    "vegetation": ("ndvi", "ndvi_min", "net_primary_production", "land_cover", "biome", "grazing_intensity"),
    "soil": ("sand", "silt", "clay", "soil_organic_carbon", "calcium_carbonate", "soil_ph", "bulk_density",
             "loss_on_ignition", "depth_to_bedrock"),
    "weathering": ("chemical_index_of_alteration", "parent_material", "lithology"),
}  # fmt: skip
"""Layers of each theme; a layer has one at most."""
