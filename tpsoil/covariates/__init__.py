"""Covariates: DataArray in, DataArray out."""

from __future__ import annotations

from .climate import lapse_rate_downscaling
from .terrain import terrain_attributes, topographic_position

__all__ = [
    "lapse_rate_downscaling",
    "terrain_attributes",
    "topographic_position",
]
