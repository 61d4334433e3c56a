"""Groups derived from a DEM: terrain attributes, and flow."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import ClassVar, Literal

import xarray as xr

from tpsoil.covariates.hydrology import BYTES_A_CELL, HYDROLOGY_LAYERS, MEMORY_LIMIT_GB, hydrology_attributes
from tpsoil.covariates.terrain import RUGGEDNESS, TERRAIN_LAYERS, TerrainKernel, terrain_attributes
from tpsoil.variables import variable

from .base import SET, CovariateGroup, Dem, FromDem, Layers, SourceLayer, option


class DemGroup(CovariateGroup):
    """A group whose layers come from a DEM at its own resolution, or from the layer `elevation`."""

    dem: Dem | None = option(
        None, "DEM in its own files, at whose resolution it is derived; default: the layer elevation", source="dem"
    )
    dem_units: str | None = option(None, "unit of the DEM, where its file does not state it", only={"dem": [SET]})

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """The layer elevation where there is no DEM."""
        return ("elevation",) if self.dem is None else ()

    def missing_input(self, name: str) -> str:
        """The two ways to give elevation."""
        return f"give a DEM with --dem, or add the layer; in a recipe {self.group} needs dem, or the layer '{name}'"


class Terrain(DemGroup):
    """Slope, aspect, curvatures, ruggedness and slope position."""

    group: ClassVar = "terrain"
    title: ClassVar = "terrain attributes"
    makes: ClassVar = TERRAIN_LAYERS
    formula: ClassVar = "gradient by Horn, curvature by Zevenbergen and Thorne"
    references: ClassVar = "Horn 1981, doi 10.1109/PROC.1981.11918; Zevenbergen and Thorne 1987"

    ruggedness: Literal["riley", "mean_difference"] = option(
        "riley", "measure of terrain ruggedness", layers=["terrain_ruggedness"]
    )
    position_sd: float | None = option(
        None,
        "scale of slope position; default: of the eight neighbours of each cell",
        units="m",
        gt=0,
        layers=["slope_position"],
    )

    @property
    def halo(self) -> int:
        """The eight neighbours of the layer elevation; none where a DEM has its own."""
        return 1 if self.dem is None else 0

    @property
    def bytes_per_cell(self) -> float:
        """The window in float64 while it is read, with its halo, and seven results."""
        return 80.0 if self.dem is None else 160.0

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """All attributes by windows of the DEM."""
        if self.dem is None:
            return ()
        scale = float("nan") if self.position_sd is None else self.position_sd
        kernel = TerrainKernel(RUGGEDNESS[self.ruggedness], scale)
        return (FromDem(tuple(variable(name) for name in self.makes), self.on_dem, kernel),)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Attributes of the layer elevation, or those derived from the DEM."""
        if self.dem is not None:
            return {name: layers[name] for name in self.makes if name in layers}
        return _layers(self.on_dem(layers["elevation"]))

    def on_dem(self, elevation: xr.DataArray) -> xr.Dataset:
        """Attributes at the resolution of a DEM."""
        return terrain_attributes(elevation, ruggedness=self.ruggedness, position_sd=self.position_sd)


class Hydrology(DemGroup):
    """Upslope area, wetness, slope length, LS and sediment transport."""

    group: ClassVar = "hydrology"
    title: ClassVar = "flow over the complete DEM"
    makes: ClassVar = HYDROLOGY_LAYERS
    formula: ClassVar = "D8 on the filled DEM; LS by Desmet and Govers"
    references: ClassVar = "Wang and Liu 2006, doi 10.1080/13658810500433453; Desmet and Govers 1996; Hickey 2000"

    steepness: Literal["rusle", "chinese"] = option(
        "rusle", "S factor: RUSLE's, or Liu 1994's above 10 degrees", layers=["ls_factor"]
    )
    max_length_m: float = option(
        300.0, "cap of the effective slope length in LS", units="m", gt=0, layers=["ls_factor"]
    )
    memory_limit_gb: float = option(MEMORY_LIMIT_GB, "the routing is rejected above", units="GB", gt=0, decisive=False)

    @property
    def halo(self) -> None:
        """Flow paths cross the complete grid."""
        return

    @property
    def bytes_per_cell(self) -> float:
        """Of a cell of the DEM."""
        return float(BYTES_A_CELL)

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """All attributes of the complete DEM."""
        if self.dem is None:
            return ()
        return (FromDem(tuple(variable(name) for name in self.makes), self.on_dem),)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Flow over the layer elevation, or that of the DEM."""
        if self.dem is not None:
            return {name: layers[name] for name in self.makes if name in layers}
        return _layers(self.on_dem(layers["elevation"]))

    def on_dem(self, elevation: xr.DataArray) -> xr.Dataset:
        """Attributes at the resolution of a DEM."""
        return hydrology_attributes(
            elevation,
            steepness=self.steepness,
            max_length_m=self.max_length_m,
            memory_limit_gb=self.memory_limit_gb,
        )


def _layers(result: xr.Dataset) -> Mapping[str, xr.DataArray]:
    return {str(name): layer for name, layer in result.data_vars.items()}
