"""Covariates: DataArray in, DataArray out."""

from __future__ import annotations

from .climate import lapse_rate_downscaling
from .hydrology import filled_elevation, hydrology_attributes
from .terrain import terrain_attributes, topographic_position

__all__ = [
    "filled_elevation",
    "hydrology_attributes",
    "lapse_rate_downscaling",
    "terrain_attributes",
    "topographic_position",
]
