"""Groups derived from a DEM: terrain attributes, and flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import cached_property, partial
from typing import ClassVar, Final, Literal

import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.covariates.elevation import require_fine_cells
from tpsoil.covariates.flow_tiles import TILE_BYTES, DemGrid, FlowTiles
from tpsoil.covariates.hydrology import (
    FLOW_LAYERS,
    HYDROLOGY_LAYERS,
    LONGEST_HALO,
    MEMORY_LIMIT_GB,
    LsOptions,
    LsWindow,
    flow_indices,
    flow_layers,
    ls_factor_of,
    ls_window,
    require_memory,
)
from tpsoil.covariates.terrain import RUGGEDNESS, TERRAIN_LAYERS, TerrainWindow, terrain_attributes
from tpsoil.grid import cell_sizes_m
from tpsoil.variables import variable

from .base import SET, CovariateGroup, Layers, option
from .sources import Array, Dem, FromDem, SourceLayer

LS_BYTES: Final = 96.0
"""Peak memory of LS for a cell of a window."""


class DemGroup(CovariateGroup):
    """A group whose layers come from a DEM at its own resolution, or from the layer `elevation`."""

    dem: Dem | None = option(
        None, "DEM in its own files, at whose resolution it is derived; default: the layer elevation", source="dem"
    )
    dem_units: str | None = option(None, "unit of the DEM, where its file does not state it", only={"dem": [SET]})

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """The layer elevation where there is no DEM."""
        return ("elevation",) if self.dem is None else ()

    def sources_of(self, names: Sequence[str], available: Set[str]) -> Set[str]:
        """Those that are its layers, since each is derived on the DEM."""
        return available & set(names)

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
        window = partial(TerrainWindow, ruggedness=RUGGEDNESS[self.ruggedness], position_sd=scale)
        return (FromDem(tuple(variable(name) for name in self.makes), self.on_dem, window),)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Attributes of the layer elevation, or those derived from the DEM."""
        if self.dem is not None:
            return super().compute(layers)
        return {str(name): layer for name, layer in self.on_dem(layers["elevation"]).data_vars.items()}

    def on_dem(self, elevation: xr.DataArray) -> xr.Dataset:
        """Attributes at the resolution of a DEM."""
        return terrain_attributes(elevation, ruggedness=self.ruggedness, position_sd=self.position_sd)


class Hydrology(DemGroup):
    """Upslope area, wetness, slope length, LS and sediment transport."""

    group: ClassVar = "hydrology"
    title: ClassVar = "flow over the DEM"
    makes: ClassVar = HYDROLOGY_LAYERS
    formula: ClassVar = "D8; LS by Desmet and Govers, by windows; area and wetness on the filled DEM, by tiles"
    references: ClassVar = (
        "Barnes 2016, doi 10.1016/j.cageo.2016.07.001; Barnes 2017, doi 10.1016/j.geomorph.2016.12.012; Desmet and "
        "Govers 1996; Hickey 2000"
    )

    steepness: Literal["rusle", "chinese"] = option(
        "rusle", "S factor: RUSLE's, or Liu 1994's above 10 degrees", layers=["ls_factor"]
    )
    max_length_m: float = option(
        300.0, "cap of the effective slope length in LS", units="m", gt=0, layers=["ls_factor"]
    )
    allow_coarse_dem: bool = option(
        False, "accept cells wider than max_length_m for LS; recorded in its attributes", layers=["ls_factor"]
    )
    memory_limit_gb: float = option(
        MEMORY_LIMIT_GB, "flow over the complete DEM is rejected above", units="GB", gt=0, decisive=False
    )

    @property
    def halo(self) -> int | None:
        """Flow paths cross the complete layer elevation; a DEM in its own files is read where it is needed."""
        return None if self.dem is None else 0

    @property
    def bytes_per_cell(self) -> float:
        """Of the complete layer elevation."""
        return float(TILE_BYTES + 40) if self.dem is None else 96.0

    def demand(self, grid: GeoBox, names: Sequence[str]) -> tuple[int | None, float]:
        """LS alone needs its halo only; cells wider than its cap are rejected before the run."""
        if self.dem is None and "ls_factor" in names:
            halo = self._window(*cell_sizes_m(grid)).halo
            if set(names) == {"ls_factor"} and halo <= LONGEST_HALO:
                return halo, LS_BYTES
        return self.halo, self.bytes_per_cell

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """LS by windows of the DEM, the others of the complete DEM by tiles."""
        if self.dem is None:
            return ()
        ls = FromDem((variable("ls_factor"),), self.ls_on_dem, self._window)
        return (
            *((ls,) if "ls_factor" in self.chosen else ()),  # a coarse DEM is rejected for LS alone
            FromDem(tuple(variable(name) for name in FLOW_LAYERS), self.flow_on_dem, flow=self._flow),
        )

    def _window(self, dx: Array, dy: Array) -> LsWindow:
        allow = self.allow_coarse_dem
        require_fine_cells(dx, dy, self.max_length_m, allow_coarse_dem=allow, where="hydrology")
        return ls_window(dx, dy, steepness=self.steepness, max_length_m=self.max_length_m)

    def _flow(self, dem: DemGrid) -> Callable[[slice, slice], tuple[Array, ...]]:
        require_memory(dem.shape, self.memory_limit_gb, "hydrology")
        return partial(flow_indices, FlowTiles(dem))

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Flow over the layer elevation, or that of the DEM."""
        if self.dem is not None:
            return super().compute(layers)
        return HydrologyLayers(self, layers["elevation"])

    def ls_on_dem(self, elevation: xr.DataArray) -> xr.Dataset:
        """LS at the resolution of a DEM."""
        options = LsOptions(self.steepness, self.max_length_m, self.allow_coarse_dem)
        return xr.Dataset({"ls_factor": ls_factor_of(elevation, options)})

    def flow_on_dem(self, elevation: xr.DataArray) -> xr.Dataset:
        """The other layers at the resolution of a DEM."""
        return flow_layers(elevation, memory_limit_gb=self.memory_limit_gb)


class HydrologyLayers(Mapping[str, xr.DataArray]):
    """Layers of the flow over an elevation, computed on access: LS needs no other."""

    def __init__(self, group: Hydrology, elevation: xr.DataArray) -> None:
        self.group, self.elevation = group, elevation

    @cached_property
    def _flow(self) -> xr.Dataset:
        return self.group.flow_on_dem(self.elevation)

    def __getitem__(self, name: str) -> xr.DataArray:
        return (self.group.ls_on_dem(self.elevation) if name == "ls_factor" else self._flow)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(HYDROLOGY_LAYERS)

    def __len__(self) -> int:
        return len(HYDROLOGY_LAYERS)
