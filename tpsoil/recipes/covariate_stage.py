"""`[derive]`: covariates made from other layers of the cube, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
from odc.geo.geobox import GeoBox
from pydantic import Field, field_validator, model_validator

from tpsoil.covariates import terrain_attributes
from tpsoil.covariates.climate import STANDARD_LAPSE_RATE_K_KM, lapse_rate_downscaling
from tpsoil.covariates.hydrology import HYDROLOGY_LAYERS, MEMORY_LIMIT_GB
from tpsoil.stage import Array, Stage, Window
from tpsoil.variables import variable

from .dem_stage import dem_stages
from .erosion_stage import WaterErosionTable, water_erosion_stage
from .section import Section

TERRAIN: Final = (
    "slope",
    "aspect",
    "general_curvature",
    "plan_curvature",
    "profile_curvature",
    "terrain_ruggedness",
    "slope_position",
)


class LapseTable(Section):
    """`[derive.temperature]`: mean annual temperature carried from a coarse grid's ground to the DEM.

    Parameters
    ----------
    temperature : str
        Layer with the coarse temperature, degC.
    reference_elevation : str
        Layer with the ground it belongs to, m.
    lapse_rate_k_km : float
        Fall with height, K km-1.
    """

    temperature: str
    reference_elevation: str
    lapse_rate_k_km: float = Field(default=STANDARD_LAPSE_RATE_K_KM, ge=-20, le=20)


class DeriveTable(Section):
    """`[derive]`: which layers are made from others.

    Parameters
    ----------
    dem : str, optional
        A raster: terrain and hydrology are made at its own resolution and averaged to the grid, aspect as a vector.
        Without it terrain is made from the layer `elevation`, at the grid's resolution.
    dem_units : str, optional
        Of the DEM, where it does not say.
    terrain : list of str
        Of slope, aspect, general_curvature, plan_curvature, profile_curvature, terrain_ruggedness, slope_position.
    ruggedness : "riley" or "mean_difference"
    hydrology : list of str
        Of upslope_area, topographic_wetness, slope_length, ls_factor, sediment_transport; needs `dem`.
    steepness : "rusle" or "chinese"
    max_length_m, memory_limit_gb : float
        As in `tpsoil.covariates.hydrology_attributes`.
    temperature, water_erosion : table, optional
    """

    dem: str | None = None
    dem_units: str | None = None
    terrain: tuple[str, ...] = ()
    ruggedness: Literal["riley", "mean_difference"] = "riley"
    hydrology: tuple[str, ...] = ()
    steepness: Literal["rusle", "chinese"] = "rusle"
    max_length_m: float = Field(default=300.0, ge=0)
    memory_limit_gb: float = Field(default=MEMORY_LIMIT_GB, gt=0)
    temperature: LapseTable | None = None
    water_erosion: WaterErosionTable | None = None

    @field_validator("terrain")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        strange = [name for name in names if name not in TERRAIN]
        if strange or len(set(names)) < len(names):
            raise ValueError(f"is {list(names)}, expected each at most once of {', '.join(TERRAIN)}")
        return names

    @field_validator("hydrology")
    @classmethod
    def _known_flow(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        strange = [name for name in names if name not in HYDROLOGY_LAYERS]
        if strange or len(set(names)) < len(names):
            raise ValueError(f"is {list(names)}, expected each at most once of {', '.join(HYDROLOGY_LAYERS)}")
        return names

    @model_validator(mode="after")
    def _from_a_dem(self) -> DeriveTable:
        if self.hydrology and self.dem is None:
            raise ValueError("hydrology needs dem, the DEM's file: flow is routed over the whole DEM, not tile by tile")
        return self


def derive_stages(
    table: DeriveTable,
    available: set[str],
    *,
    grid: Callable[[], GeoBox] | None,
    whole: Callable[[str], str],
    faults: list[str],
) -> list[Stage]:
    """The stages of `[derive]`, in an order in which each finds what it reads."""
    stages: list[Stage] = []
    if table.temperature is not None:
        lapse = table.temperature
        stages.append(
            Stage(
                name="temperature",
                title="temperature on the DEM",
                section="derive",
                inputs=(lapse.temperature, lapse.reference_elevation, "elevation"),
                outputs=(variable("mean_annual_temperature"),),
                compute=compute_temperature,
                options={"lapse": lapse},
                attributes={
                    "": {
                        "parents": f"{lapse.temperature} {lapse.reference_elevation} elevation",
                        "formula": "coarse temperature + lapse rate x (coarse elevation - elevation)",
                        "lapse_rate_k_km": lapse.lapse_rate_k_km,
                    }
                },
                bytes_per_cell=48,
            )
        )
    if table.dem is not None:
        flow = {key: getattr(table, key) for key in ("steepness", "max_length_m", "memory_limit_gb")}
        stages += dem_stages(
            table.dem, table.dem_units, table.terrain, table.ruggedness, table.hydrology, flow,
            grid=grid, whole=whole, faults=faults,
        )  # fmt: skip
    elif table.terrain:
        stages.append(
            Stage(
                name="terrain",
                title="terrain attributes",
                section="derive",
                inputs=("elevation",),
                outputs=tuple(variable(name) for name in table.terrain),
                halo=1,
                compute=compute_terrain,
                options={"ruggedness": table.ruggedness},
                attributes={"": {"parents": "elevation", "formula": "Horn 1981; Zevenbergen and Thorne 1987"}},
                bytes_per_cell=80,
            )
        )
    if table.water_erosion is not None:
        stages.append(water_erosion_stage(table.water_erosion, available))
    return stages


def compute_temperature(window: Window) -> Mapping[str, Array]:
    """Temperature on the DEM of one window."""
    lapse: LapseTable = window.options["lapse"]
    layers = window.layers
    result = lapse_rate_downscaling(
        layers[lapse.temperature],
        layers[lapse.reference_elevation],
        layers["elevation"],
        lapse_rate_k_km=lapse.lapse_rate_k_km,
    )
    return {"mean_annual_temperature": np.asarray(result.values)}


def compute_terrain(window: Window) -> Mapping[str, Array]:
    """Terrain attributes of one window with its halo."""
    result = terrain_attributes(window.layers["elevation"], ruggedness=window.options["ruggedness"])
    return _values(result)


def _values(result: Any) -> Mapping[str, Array]:
    return {str(name): np.asarray(layer.values) for name, layer in result.data_vars.items()}
