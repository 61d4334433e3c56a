"""The group of wind erosion: RWEQ, month by month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, ClassVar, Final

import numpy as np
import xarray as xr
from pydantic import model_validator

from tpsoil.covariates.water_erosion import SOIL
from tpsoil.covariates.wind_erosion import rweq, weather_factor, wind_factor
from tpsoil.covariates.wind_soil import crust_factor, erodible_fraction, vegetation_factor
from tpsoil.errors import InputError
from tpsoil.variables import Variable, variable

from .base import SET, CovariateGroup, Layers, option
from .sources import FromStacks, SourceLayer, Stack

DAYS: Final = (31.0, 28.25, 31.0, 30.0, 31.0, 30.0, 31.0, 31.0, 30.0, 31.0, 30.0, 31.0)
SMOOTH: Final = 1.0
"""K' of smooth ground."""
MONTHLY: Final = {
    "soil_dryness": "soil wetness factor, RWEQ SW",
    "snow_free": "snow cover factor, RWEQ SD",
}

LOSS: Final = ("wind_erosion", "wind_erosion_status")
"""Layers of the group that weather changes."""


class Rweq(CovariateGroup):
    """Soil loss by wind: the months' weather on the soil of each cell, summed."""

    group: ClassVar = "rweq"
    title: ClassVar = "wind erosion"
    makes: ClassVar = ("wind_erosion", "wind_erosion_status", "erodible_fraction", "erodible_fraction_status")
    formula: ClassVar = "RWEQ, sum of the months"
    references: ClassVar = "Fryrear et al. 1998, RWEQ technical documentation, USDA-ARS Bulletin 1"

    wind: Stack | None = option(
        None, "stack of wind at 10 m, at most 7.5 days apart: PATH:U,V or PATH:SPEED", units="m s-1", source="stack"
    )
    monthly_speeds: tuple[float, ...] | None = option(
        None, "twelve published mean wind speeds at 10 m, January first, everywhere, in place of wind: an assumption; "
        "needs weibull_shape, speeds_name and speeds_source", units="m s-1", shared=False,
    )  # fmt: skip
    speeds_name: str = option(
        "", "name of the climatology of monthly_speeds; written into the maps", only={"monthly_speeds": [SET]},
        shared=False,
    )  # fmt: skip
    speeds_source: str = option(
        "", "publication of monthly_speeds; written into the maps", only={"monthly_speeds": [SET]}, shared=False
    )
    weibull_shape: float | None = option(
        None, "the winds are means of the speed, with a Weibull distribution of this shape around each", units="1",
        ge=0.5, le=10, layers=LOSS,
    )  # fmt: skip
    partial_year: bool = option(False, "sum the months that the wind stack has, though some are missing", layers=LOSS)
    soil_dryness: float | Stack = option(
        1.0,
        "SW: one value (1 is dry soil all year), an assumption, or a stack of twelve months",
        units="1",
        source="stack",
        layers=LOSS,
    )
    snow_free: float | Stack = option(
        1.0, "SD: one value, an assumption, or a stack of twelve months", units="1", source="stack", layers=LOSS
    )
    roughness: float | None = option(
        None, "K' everywhere, where there is no layer roughness_factor; default: 1, smooth ground, an assumption",
        units="1", ge=0, layers=LOSS,
    )  # fmt: skip
    calcium_carbonate: float | None = option(
        None, "everywhere, where there is no such layer: an assumption", units="%", ge=0, le=100
    )
    distance_m: float = option(50.0, "downwind distance", units="m", gt=0, layers=LOSS)

    @model_validator(mode="after")
    def _one_wind(self) -> Rweq:
        speeds = self.monthly_speeds
        if (self.wind is None) == (speeds is None):
            raise ValueError("wind, a stack, or monthly_speeds, a published climatology, is needed; give one")
        if speeds is None:
            return self
        if len(speeds) != 12 or not all(np.isfinite(speed) and 0 <= speed <= 50 for speed in speeds):
            raise ValueError(f"monthly_speeds is {list(speeds)}, expected twelve numbers of 0 to 50 m s-1")
        if self.weibull_shape is None:
            raise ValueError("option weibull_shape is needed by monthly_speeds, since monthly means hide the storms")
        if not (self.speeds_name and self.speeds_source):
            raise ValueError("options speeds_name and speeds_source are needed by monthly_speeds; cite the publication")
        return self

    @property
    def bytes_per_cell(self) -> float:
        """Soil and weather of one month in float64, and the months' wind."""
        return 400.0

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """Soil, cover, ground and warmth; roughness where there is such a layer."""
        needed = [*SOIL, "vegetation_cover", "elevation", "mean_annual_temperature"]
        if self.calcium_carbonate is None:
            needed.append("calcium_carbonate")
        if self.roughness is None and "roughness_factor" in available:
            needed.append("roughness_factor")
        return tuple(needed)

    def missing_input(self, name: str) -> str:
        """Carbonate may be assumed."""
        if name == "calcium_carbonate":
            return "add it, or assume one value with option calcium_carbonate"
        return super().missing_input(name)

    def superseded(self, available: Set[str]) -> Mapping[str, str]:
        """One value where there is a map."""
        layers = {"calcium_carbonate": "calcium_carbonate", "roughness": "roughness_factor"}
        return {key: layer for key, layer in layers.items() if layer in available and getattr(self, key) is not None}

    def assumptions(self, reads: Sequence[str]) -> str:
        """One value in place of a map."""
        values: dict[str, Any] = {"soil_dryness": self.soil_dryness, "snow_free": self.snow_free}
        if "roughness_factor" not in reads:
            values["roughness"] = SMOOTH if self.roughness is None else self.roughness
        values["calcium_carbonate"] = self.calcium_carbonate
        speeds = self.monthly_speeds
        wind = (
            [f"wind = {self.speeds_name}, monthly means {min(speeds):g} to {max(speeds):g} m s-1 everywhere with a "
             f"Weibull distribution of shape {self.weibull_shape:g}: {self.speeds_source}"] if speeds else []
        )  # fmt: skip
        return (
            "; ".join(wind)
            + ("; " if wind else "")
            + "; ".join(f"{k} = {v:g} everywhere" for k, v in values.items() if isinstance(v, int | float))
        )

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """The wind factor of each month, and SW and SD where they are stacks."""
        if self.monthly_speeds is not None:
            return self._monthly_factors(stacks)
        months = _months(stacks["wind"])
        if len(months) < 12 and not self.partial_year:
            missing = ", ".join(str(month) for month in range(1, 13) if month not in months)
            raise InputError(
                f"the wind stack lacks months {missing}; add them, or set partial_year to sum those that are there"
            )
        winds = tuple(
            Variable(f"wind_factor_{month:02d}", "wind factor, RWEQ Wf", "m3 s-3", low=0.0) for month in months
        )
        return (FromStacks(winds, ("wind",), self._winds), *self._monthly_factors(stacks))

    def _monthly_factors(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """SW and SD where they are stacks."""
        parts: list[SourceLayer] = []
        for name, meaning in MONTHLY.items():
            if name in stacks:
                layers = tuple(Variable(f"{name}_{month:02d}", meaning, "1", 0.0, 1.0) for month in range(1, 13))
                parts.append(FromStacks(layers, (name,), _by_month))
        return tuple(parts)

    def source_attributes(self, stacks: Layers) -> dict[str, Any]:
        """The wind's files and months; of a climatology its name and range."""
        if self.monthly_speeds is not None:
            return {
                "wind_source": f"{self.speeds_name}: {self.speeds_source}",
                "months": list(range(1, 13)),
                "monthly_speeds": list(self.monthly_speeds),
                "weibull_shape": self.weibull_shape,
            }
        wind = stacks["wind"]
        months = _months(wind)
        noted: dict[str, Any] = {
            "wind_source": wind.attrs["source"],
            "months": months,
            "observations_a_month": round(wind.sizes["time"] / len(months), 2),
        }
        if self.weibull_shape is not None:
            noted["weibull_shape"] = self.weibull_shape
        return noted

    def _winds(self, wind: xr.DataArray) -> Sequence[xr.DataArray]:
        at = wind["time"].dt.month.values
        return [
            wind_factor(
                wind.isel(time=np.flatnonzero(at == month)), days=DAYS[month - 1], weibull_shape=self.weibull_shape
            )
            for month in _months(wind)
        ]

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Soil loss of the year, its status, and the erodible fraction."""
        sand, silt, clay, carbon = (layers[name] for name in SOIL)
        carbonate: Any = layers["calcium_carbonate"] if self.calcium_carbonate is None else self.calcium_carbonate
        roughness: Any = layers.get("roughness_factor", SMOOTH if self.roughness is None else self.roughness)
        soil = erodible_fraction(sand, silt, clay, carbon, carbonate)
        crust = crust_factor(clay, carbon)
        cover = vegetation_factor(layers["vegetation_cover"])
        winds: dict[int, Any] = {
            month: layers[f"wind_factor_{month:02d}"] for month in range(1, 13) if f"wind_factor_{month:02d}" in layers
        }
        for month, speed in enumerate(self.monthly_speeds or (), start=1):
            days = DAYS[month - 1]
            winds[month] = wind_factor([speed], days=days, weibull_shape=self.weibull_shape)
        loss: Any = None
        status: Any = None
        for month, wind in winds.items():
            dry, bare_months = (layers.get(f"{name}_{month:02d}", getattr(self, name)) for name in MONTHLY)
            weather = weather_factor(
                wind,
                layers["elevation"],
                layers["mean_annual_temperature"],
                dry,
                bare_months,
            )
            blown = rweq(weather, soil["erodible_fraction"], crust, roughness, cover, distance_m=self.distance_m)
            loss = blown["wind_erosion"] if loss is None else loss + blown["wind_erosion"]
            # 255, missing, is the greatest code
            at = blown["wind_erosion_status"]
            status = at if status is None else np.maximum(status, at)
        parents = f"wind {' '.join(self.reads(frozenset(layers)))}"
        loss.attrs = {
            **variable("wind_erosion").attributes(),
            "parents": parents,
            "formula": self.formula,
            "distance_m": self.distance_m,
        }
        status.attrs = {**variable("wind_erosion_status").attributes(), "parents": parents}
        status.encoding["_FillValue"] = 255
        return {
            "wind_erosion": loss,
            "wind_erosion_status": status,
            "erodible_fraction": soil["erodible_fraction"],
            "erodible_fraction_status": soil["erodible_fraction_status"],
        }


def _months(stack: xr.DataArray) -> list[int]:
    return sorted({int(month) for month in stack["time"].dt.month.values})


def _by_month(stack: xr.DataArray) -> Sequence[xr.DataArray]:
    """Means of each calendar month of a stack that has all of them."""
    at = stack["time"].dt.month.values
    missing = [month for month in range(1, 13) if month not in at]
    if missing:
        raise InputError(f"{stack.attrs.get('source', 'stack')}: months {missing} are missing, expected all twelve")
    return [stack.isel(time=np.flatnonzero(at == month)).mean("time", skipna=False) for month in range(1, 13)]
