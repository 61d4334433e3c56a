"""Groups of climate: means of years, temperature on a finer ground, evapotranspiration, aridity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, ClassVar, Literal, cast

import xarray as xr
from pydantic import model_validator

from tpsoil.covariates.climate import (
    STANDARD_LAPSE_RATE_K_KM,
    annual_precipitation,
    aridity_index,
    lapse_rate_downscaling,
    mean_annual_temperature,
    monthly_means,
)
from tpsoil.covariates.evapotranspiration import potential_evapotranspiration
from tpsoil.errors import InputError
from tpsoil.variables import Variable, variable

from .base import SET, CovariateGroup, Layers, option
from .sources import CLIMATOLOGY, Dem, FromStacks, Ground, SourceLayer, Stack

TEMPERATURE_STACK = "monthly mean temperature: PATH:VARIABLE, or twelve GeoTIFFs"
PRECIPITATION_STACK = "monthly precipitation sums: PATH:VARIABLE, or twelve GeoTIFFs"

STACK_OF = {"mean_annual_temperature": "monthly_temperature", "annual_precipitation": "monthly_precipitation"}


class StackGroup(CovariateGroup):
    """A group with monthly stacks, of which some years are taken."""

    first_year: int | None = option(None, "first year of the stacks to use; default: all")
    last_year: int | None = option(None, "last year of the stacks to use; default: all")

    @model_validator(mode="after")
    def _span(self) -> StackGroup:
        if (self.first_year is None) != (self.last_year is None):
            raise ValueError("first_year and last_year belong together; give both or none")
        if self.first_year is not None and self.last_year is not None and self.last_year < self.first_year:
            raise ValueError(f"first_year {self.first_year} is after last_year {self.last_year}")
        return self

    def years(self, stack: xr.DataArray) -> tuple[int, int] | None:
        """The span of years, None for all; a climatology has none."""
        if self.first_year is None or self.last_year is None or stack.attrs.get(CLIMATOLOGY):
            return None
        return self.first_year, self.last_year

    def check_stacks(self, stacks: Layers) -> None:
        """A span of years has no effect on climatologies."""
        if self.first_year is not None and stacks and all(stack.attrs.get(CLIMATOLOGY) for stack in stacks.values()):
            raise InputError("first_year and last_year have no effect on twelve months of no year; leave them out")

    def months(self, stack: xr.DataArray) -> xr.DataArray:
        """Mean of each calendar month."""
        return monthly_means(stack, years=self.years(stack))


def stated(layer: xr.DataArray, stack: xr.DataArray) -> xr.DataArray:
    """A layer with the names of its source files, and for a climatology without years."""
    layer.attrs["parents"] = stack.attrs["source"]
    if stack.attrs.get(CLIMATOLOGY):
        layer.attrs["years"] = "of the climatology"
    return layer


class Climate(StackGroup):
    """Mean annual temperature and precipitation from monthly stacks."""

    group: ClassVar = "climate"
    title: ClassVar = "climate means"
    makes: ClassVar = ("mean_annual_temperature", "annual_precipitation")
    formula: ClassVar = "months weighted by days; sums of years"
    references: ClassVar = "lapse rate: ICAO standard atmosphere, 6.5 K km-1"

    monthly_temperature: Stack | None = option(None, TEMPERATURE_STACK, units="degC", source="stack")
    monthly_precipitation: Stack | None = option(None, PRECIPITATION_STACK, units="mm", source="stack")
    lapse_rate_k_km: float | None = option(
        None, "carry the temperature from the stack's mean ground to the layer elevation; needs dem",
        units="K km-1", ge=-20, le=20, only={"monthly_temperature": [SET]},
    )  # fmt: skip
    dem: Dem | None = option(None, "DEM whose mean is the ground of the stack", source="dem",
                             only={"lapse_rate_k_km": [SET]}, required=True)  # fmt: skip
    dem_units: str | None = option(None, "unit of the DEM, where its file does not state it", only={"dem": [SET]})

    @model_validator(mode="after")
    def _something(self) -> Climate:
        if self.monthly_temperature is None and self.monthly_precipitation is None:
            raise ValueError("monthly_temperature or monthly_precipitation is needed")
        for name in self.layers or ():
            if lacking := self.lacking_option(name):
                raise ValueError(f"layer {name} needs option {lacking}")
        return self

    def lacking_option(self, layer: str) -> str:
        """The stack of a layer, where it is not given."""
        return "" if getattr(self, STACK_OF[layer]) is not None else STACK_OF[layer]

    @property
    def chosen(self) -> tuple[str, ...]:
        """Those whose stack is given."""
        return tuple(name for name in super().chosen if not self.lacking_option(name))

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """Elevation of the fine grid, if temperature is adjusted to it."""
        return ("elevation",) if self.lapse_rate_k_km is not None else ()

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """Means on each stack's own grid."""
        parts: list[SourceLayer] = []
        if "monthly_temperature" in stacks:
            parts.append(FromStacks((variable("mean_annual_temperature"),), ("monthly_temperature",), self._warmth))
            if self.lapse_rate_k_km is not None:
                ground = Variable("reference_elevation", "mean ground of the temperature's cells", "m", -500, 9000)
                parts.append(Ground((ground,), "monthly_temperature"))
        if "monthly_precipitation" in stacks:
            parts.append(FromStacks((variable("annual_precipitation"),), ("monthly_precipitation",), self._rain))
        return tuple(parts)

    def _warmth(self, stack: xr.DataArray) -> Sequence[xr.DataArray]:
        return (stated(mean_annual_temperature(stack, years=self.years(stack)), stack),)

    def _rain(self, stack: xr.DataArray) -> Sequence[xr.DataArray]:
        return (stated(annual_precipitation(stack, years=self.years(stack)), stack),)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """The means; temperature adjusted to the fine elevation if requested."""
        results = {name: layers[name] for name in self.chosen}
        if self.lapse_rate_k_km is not None and "mean_annual_temperature" in results:
            coarse = layers["mean_annual_temperature"]
            fine = lapse_rate_downscaling(
                coarse, layers["reference_elevation"], layers["elevation"], lapse_rate_k_km=self.lapse_rate_k_km
            )
            fine.attrs = {
                **coarse.attrs,
                **fine.attrs,
                "parents": f"{coarse.attrs.get('parents', '')} elevation".strip(),
            }
            results["mean_annual_temperature"] = fine
        return results


class Temperature(CovariateGroup):
    """Mean annual temperature adjusted from the elevation of a coarse grid to the DEM."""

    group: ClassVar = "temperature"
    title: ClassVar = "temperature on the DEM"
    makes: ClassVar = ("mean_annual_temperature",)
    formula: ClassVar = "coarse temperature + lapse rate x (coarse elevation - elevation)"
    references: ClassVar = "lapse rate: ICAO standard atmosphere, 6.5 K km-1"

    temperature: str = option(..., "layer with the coarse temperature, degC", shared=False)
    reference_elevation: str = option(..., "layer with the ground it belongs to, m", shared=False)
    lapse_rate_k_km: float = option(
        STANDARD_LAPSE_RATE_K_KM, "fall of temperature with height", units="K km-1", ge=-20, le=20
    )

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """The coarse temperature, its ground, and the DEM."""
        return (self.temperature, self.reference_elevation, "elevation")

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Temperature on the DEM."""
        result = lapse_rate_downscaling(
            layers[self.temperature],
            layers[self.reference_elevation],
            layers["elevation"],
            lapse_rate_k_km=self.lapse_rate_k_km,
        )
        result.attrs["parents"] = " ".join(self.reads(frozenset()))
        return {"mean_annual_temperature": result}


class Evapotranspiration(StackGroup):
    """Annual potential evapotranspiration from monthly temperatures."""

    group: ClassVar = "evapotranspiration"
    title: ClassVar = "potential evapotranspiration"
    makes: ClassVar = ("potential_evapotranspiration",)
    formula: ClassVar = "Hargreaves and Samani, or Thornthwaite; sum of the months"
    references: ClassVar = "Hargreaves and Samani 1985; Thornthwaite 1948; Allen et al. 1998, FAO 56"
    main_option: ClassVar = "method"

    method: Literal["hargreaves", "thornthwaite"] = option(
        ..., "hargreaves (monthly_minimum, monthly_maximum) or thornthwaite (monthly_temperature)", shared=False
    )
    monthly_temperature: Stack | None = option(
        None, TEMPERATURE_STACK, units="degC", source="stack", only={"method": ["thornthwaite"]}, required=True
    )
    monthly_minimum: Stack | None = option(
        None,
        "monthly means of the daily minimum temperature",
        units="degC",
        source="stack",
        only={"method": ["hargreaves"]},
        required=True,
    )
    monthly_maximum: Stack | None = option(
        None,
        "monthly means of the daily maximum temperature",
        units="degC",
        source="stack",
        only={"method": ["hargreaves"]},
        required=True,
    )

    @property
    def stacks_needed(self) -> dict[str, str]:
        """Arguments of `potential_evapotranspiration` and the options that give them."""
        if self.method == "thornthwaite":
            return {"temperature": "monthly_temperature"}
        return {"minimum": "monthly_minimum", "maximum": "monthly_maximum"}

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """The demand on the stacks' own grid."""
        spec = variable("potential_evapotranspiration")
        return (FromStacks((spec,), tuple(self.stacks_needed.values()), self._demand),)

    def _demand(self, *stacks: xr.DataArray) -> Sequence[xr.DataArray]:
        months: dict[str, Any] = {key: self.months(stack) for key, stack in zip(self.stacks_needed, stacks)}
        demand = potential_evapotranspiration(method=self.method, **months)
        return (stated(cast(xr.DataArray, demand), stacks[0]),)


class Aridity(CovariateGroup):
    """Aridity index, high where it is humid."""

    group: ClassVar = "aridity"
    title: ClassVar = "aridity index"
    makes: ClassVar = ("aridity_index",)
    formula: ClassVar = "precipitation over potential evapotranspiration"
    references: ClassVar = "UNEP 1992, World Atlas of Desertification"

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """Rain and demand."""
        return ("annual_precipitation", "potential_evapotranspiration")

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """The ratio."""
        ratio = aridity_index(layers["annual_precipitation"], layers["potential_evapotranspiration"])
        return {"aridity_index": ratio}
