"""The declarations of all covariate groups."""

from __future__ import annotations

from typing import Final

from .base import CovariateGroup
from .climate import Aridity, Climate, Evapotranspiration, Temperature
from .erosion import Cover, Erodibility, Erosivity, Rusle, Vegetation
from .ground import Alteration, Biome, ClimateZone, LandCover, Lithology, ParentMaterial
from .terrain import Hydrology, Terrain
from .wind import Rweq

GROUPS: Final[dict[str, type[CovariateGroup]]] = {
    kind.group: kind
    for kind in (
        Terrain, Hydrology, Climate, Temperature, Evapotranspiration, Aridity, Vegetation, Erosivity, Erodibility,
        Cover, Rusle, Rweq, Alteration, Lithology, ParentMaterial, Biome, LandCover, ClimateZone,
    )
}  # fmt: skip
"""Every group by its name."""

__all__ = ["GROUPS", "CovariateGroup"]
