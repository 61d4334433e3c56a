"""Covariates: DataArray in, DataArray out."""

from __future__ import annotations

from .terrain import terrain_attributes, topographic_position

__all__ = [
    "terrain_attributes",
    "topographic_position",
]
