"""Solum thickness: a mass balance of soil production against erosion by water, wind and gravity."""

from __future__ import annotations

from .energy import eemt
from .parameters import (
    PRESETS,
    PUBLISHED,
    PUBLISHED_SCORES,
    PUBLISHED_ZONES,
    Bounds,
    SolumParameters,
    ZoneMeans,
    bounds,
)
from .published import published_zones
from .thickness import status_counts, thickness
from .transient import evolve, evolve_through, time_to_bare

__all__ = [
    "PRESETS",
    "PUBLISHED",
    "PUBLISHED_SCORES",
    "PUBLISHED_ZONES",
    "Bounds",
    "SolumParameters",
    "ZoneMeans",
    "bounds",
    "eemt",
    "evolve",
    "evolve_through",
    "published_zones",
    "status_counts",
    "thickness",
    "time_to_bare",
]
