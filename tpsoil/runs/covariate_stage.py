"""`[derive]`: covariates made from other layers of the cube, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, field_validator

from tpsoil.covariates import terrain_attributes
from tpsoil.covariates.climate import STANDARD_LAPSE_RATE_K_KM, lapse_rate_downscaling
from tpsoil.variables import variable

from .section import Section
from .stage import Array, Stage, Window

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
    terrain : list of str
        Of slope, aspect, general_curvature, plan_curvature, profile_curvature, terrain_ruggedness, slope_position.
    ruggedness : "riley" or "mean_difference"
    temperature : table, optional
    """

    terrain: tuple[str, ...] = ()
    ruggedness: Literal["riley", "mean_difference"] = "riley"
    temperature: LapseTable | None = None

    @field_validator("terrain")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        strange = [name for name in names if name not in TERRAIN]
        if strange or len(set(names)) < len(names):
            raise ValueError(f"is {list(names)}, expected each at most once of {', '.join(TERRAIN)}")
        return names


def derive_stages(table: DeriveTable) -> list[Stage]:
    """The stages of `[derive]`, in an order in which each finds what it reads."""
    stages = []
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
                identity=lapse.model_dump(mode="json"),
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
    if table.terrain:
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
                identity={"ruggedness": table.ruggedness},
                attributes={"": {"parents": "elevation", "formula": "Horn 1981; Zevenbergen and Thorne 1987"}},
                bytes_per_cell=80,
            )
        )
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
