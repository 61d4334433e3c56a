"""Groups of water erosion: vegetation cover, the factors of RUSLE, and the soil loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import partial
from typing import Any, ClassVar, Literal

import xarray as xr
from pydantic import model_validator

from tpsoil.blocks import constant_like
from tpsoil.covariates.cover_ranges import cover_by_class, read_cover_ranges
from tpsoil.covariates.erosivity import (
    EROSIVITY,
    RegionalMean,
    precipitation_notes,
    rainfall_erosivity,
    rescale_erosivity,
    tally_precipitation,
)
from tpsoil.covariates.vegetation import vegetation_cover
from tpsoil.covariates.water_erosion import (
    COVER,
    R_UNIT,
    SOIL,
    STONE_CORRECTION,
    cover_factor,
    rusle,
    soil_erodibility,
    stone_corrected_erodibility,
)
from tpsoil.covariates.water_erosion_table import factor_notes, summarise_erosion, tally_erosion
from tpsoil.variables import variable

from .base import SET, CovariateGroup, Layers, Notes, Summary, option
from .climate import PRECIPITATION_STACK, TEMPERATURE_STACK, StackGroup, stated
from .sources import Array, FromStacks, SourceLayer, Stack

BY_STACK = ["wischmeier_si", "wischmeier_us", "zhang_fu_fournier", "zhang_daily"]
BY_MONTH = BY_STACK[:3]
Erosivities = Literal["wischmeier_si", "wischmeier_us", "zhang_fu_annual", "zhang_fu_fournier", "zhang_daily"]


class Vegetation(CovariateGroup):
    """Share of the ground under green vegetation."""

    group: ClassVar = "vegetation"
    title: ClassVar = "vegetation cover"
    makes: ClassVar = ("vegetation_cover",)
    formula: ClassVar = "dimidiate pixel, 100 (NDVI - bare) / (full - bare)"
    references: ClassVar = "NDVI of full cover: Chen et al. 2026, Table 3"

    ndvi_bare: float = option(0.05, "NDVI of bare ground: an assumption", units="1", ge=-1, le=1)
    ndvi_full: float = option(0.86, "NDVI of full cover: an assumption", units="1", ge=-1, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Vegetation:
        if self.ndvi_bare >= self.ndvi_full:
            raise ValueError(f"ndvi_bare is {self.ndvi_bare:g}, expected a number below ndvi_full {self.ndvi_full:g}")
        return self

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """NDVI."""
        return ("ndvi",)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Cover in %."""
        return {"vegetation_cover": vegetation_cover(layers["ndvi"], bare=self.ndvi_bare, full=self.ndvi_full)}


class Erosivity(StackGroup):
    """The R factor of RUSLE."""

    group: ClassVar = "erosivity"
    title: ClassVar = "rainfall erosivity"
    makes: ClassVar = ("rainfall_erosivity",)
    formula: ClassVar = "by method: " + "; ".join(f"{name}: {text}" for name, text in EROSIVITY.items())
    references: ClassVar = "Wischmeier and Smith 1978; Renard and Freimund 1994, doi 10.1016/0022-1694(94)90110-4"
    main_option: ClassVar = "method"

    method: Erosivities = option(
        ..., "there is no default, because the methods differ several times; zhang_fu_annual takes the layer "
        "annual_precipitation, the others a stack", shared=False,
    )  # fmt: skip
    monthly_precipitation: Stack | None = option(
        None,
        PRECIPITATION_STACK + "; of zhang_daily daily sums",
        units="mm",
        source="stack",
        only={"method": BY_STACK},
        required=True,
    )
    rain_only: bool = option(
        False, "leave out the precipitation of months or days below 0 degC as snow; needs monthly_temperature",
        only={"method": BY_STACK},
    )  # fmt: skip
    monthly_temperature: Stack | None = option(
        None,
        TEMPERATURE_STACK + "; of zhang_daily daily means",
        units="degC",
        source="stack",
        only={"rain_only": [True]},
        required=True,
    )
    regional_mean: float | None = option(
        None, "published mean of R over a region: R is multiplied by regional_mean / regional_mean_by_method",
        units=R_UNIT["SI"], gt=0, shared=False,
    )  # fmt: skip
    regional_mean_by_method: float | None = option(
        None, "mean of the method's own R over the same region", units=R_UNIT["SI"], gt=0,
        only={"regional_mean": [SET]}, shared=False, required=True,
    )  # fmt: skip
    regional_reference: str = option(
        "", "publication of regional_mean, and its region; written into the maps", only={"regional_mean": [SET]},
        shared=False, required=True,
    )  # fmt: skip
    first_year: int | None = option(None, "first year of the stacks to use; default: all", only={"method": BY_MONTH})
    last_year: int | None = option(None, "last year of the stacks to use; default: all", only={"method": BY_MONTH})

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """The annual sum, for the annual method."""
        return ("annual_precipitation",) if self.method == "zhang_fu_annual" else ()

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """R on the stacks' own grid."""
        if self.method == "zhang_fu_annual":
            return ()
        names = ("monthly_precipitation", *(("monthly_temperature",) if self.rain_only else ()))
        return (FromStacks((variable("rainfall_erosivity"),), names, self._from_stacks),)

    def _from_stacks(self, rain: xr.DataArray, temperature: xr.DataArray | None = None) -> Sequence[xr.DataArray]:
        series = rain if self.method == "zhang_daily" else self.months(rain)
        if temperature is not None and self.method != "zhang_daily":
            temperature = self.months(temperature)
        return (stated(rainfall_erosivity(series, method=self.method, temperature=temperature), rain),)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """R from the annual sum, or that of the stacks."""
        if self.method == "zhang_fu_annual":
            r = rainfall_erosivity(layers["annual_precipitation"], method=self.method)
            r.attrs["snow"] = "counted as rain"
        else:
            r = layers["rainfall_erosivity"]
        if self.regional_mean is not None and self.regional_mean_by_method is not None:
            regional = RegionalMean(self.regional_mean, self.regional_mean_by_method, self.regional_reference)
            r = rescale_erosivity(r, regional)
        elif self.method == "zhang_fu_annual":
            r.attrs["warning"] = (
                "fitted to stations and counts snow as rain; over the plateau several times the published mean of 307 "
                "(Chen Y. et al., Earth Syst. Sci. Data 14, 2681); give a published grid, rescale to the published "
                "mean with regional_mean, or use rain_only with a stack"
            )
        return {"rainfall_erosivity": r}

    def tally(self, layers: Mapping[str, Array]) -> Mapping[str, Any]:
        """Cells, and those drier than the climates of the annual relation."""
        return tally_precipitation(self.method, layers)

    @property
    def notes(self) -> Notes | None:
        """Cells drier than the climates of the annual relation."""
        return partial(precipitation_notes, self.method) if self.method == "zhang_fu_annual" else None


class Erodibility(CovariateGroup):
    """The K factor of RUSLE."""

    group: ClassVar = "erodibility"
    title: ClassVar = "soil erodibility"
    makes: ClassVar = ("soil_erodibility",)
    formula: ClassVar = "EPIC, from texture and organic carbon; or one assumed value"
    references: ClassVar = (
        "Williams 1990, Philosophical Transactions of the Royal Society B 329; stones: Poesen, Torri and Bunte 1994, "
        "Catena 23; Panagos et al. 2014, doi 10.1016/j.scitotenv.2014.02.010"
    )
    main_option: ClassVar = "value"

    value: float | None = option(
        None, "K everywhere: an assumption, in place of soil grids", units="t ha h ha-1 MJ-1 mm-1", gt=0, le=1,
        shared=False,
    )  # fmt: skip
    reason: str = option("", "why this value; written into the maps", only={"value": [SET]}, shared=False)
    stone_cover: str | None = option(
        None, "layer with the share of the surface under stones or gravel, %, which lowers K above 10 %", shared=False
    )

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """Soil grids, and the stones; with an assumed value any layer of the grid."""
        stones = () if self.stone_cover is None else (self.stone_cover,)
        return (*(SOIL if self.value is None else ()), *stones)

    def missing_input(self, name: str) -> str:
        """Soil grids, or one value."""
        return "add soil grids, or assume one value with option erodibility"

    def assumptions(self, reads: Sequence[str]) -> str:
        """The assumed K and its reason."""
        if self.value is None:
            return ""
        return f"soil_erodibility = {self.value:g} everywhere" + (f": {self.reason}" if self.reason else "")

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """K of every cell."""
        if self.value is None:
            layer = soil_erodibility(*(layers[name] for name in SOIL))
        else:
            template = next(iter(layers.values()))
            layer = constant_like(template.drop_attrs(), self.value, variable("soil_erodibility"))
            layer.attrs |= {"formula": "one assumed value"}
        if self.stone_cover is None:
            return {"soil_erodibility": layer}
        corrected = stone_corrected_erodibility(layer, layers[self.stone_cover])
        parents = f"{layer.attrs.get('parents', '')} {self.stone_cover}".strip()
        corrected.attrs = {**layer.attrs, "parents": parents, "stones": STONE_CORRECTION}
        return {"soil_erodibility": corrected}


class Cover(CovariateGroup):
    """The C factor of RUSLE."""

    group: ClassVar = "cover"
    title: ClassVar = "cover factor"
    makes: ClassVar = ("cover_factor",)
    formula: ClassVar = "; ".join([*COVER.values(), "low + (high - low) (1 - cover), a range for each land cover"])
    references: ClassVar = (
        "van der Knijff et al. 1999, EUR 19022 EN; Cai et al. 2000; Panagos et al. 2015, "
        "doi 10.1016/j.landusepol.2015.05.021"
    )
    main_option: ClassVar = "method"

    method: Literal["van_der_knijff", "cai", "class_range"] = option(
        "van_der_knijff",
        "van_der_knijff (ndvi; too high on sparse alpine grass), cai (vegetation_cover), class_range (land_cover and "
        "vegetation_cover, with ranges)",
        shared=False,
    )
    alpha: float = option(
        2.0, "shape of the van der Knijff curve", units="1", only={"method": ["van_der_knijff"]}, shared=False
    )
    beta: float = option(
        1.0, "shape of the van der Knijff curve", units="1", gt=0, only={"method": ["van_der_knijff"]}, shared=False
    )
    ranges: str | None = option(
        None, "CSV with columns class, low, high, source: C of each land cover at full and at no cover",
        source="file", only={"method": ["class_range"]}, shared=False, required=True,
    )  # fmt: skip

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """NDVI or cover."""
        return {
            "van_der_knijff": ("ndvi",),
            "cai": ("vegetation_cover",),
            "class_range": ("land_cover", "vegetation_cover"),
        }[self.method]

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """C of every cell."""
        if self.method == "class_range":
            ranges = read_cover_ranges(str(self.ranges))
            return {"cover_factor": cover_by_class(layers["land_cover"], layers["vegetation_cover"], ranges)}
        if self.method == "cai":
            return {"cover_factor": cover_factor(vegetation_cover=layers["vegetation_cover"], method="cai")}
        c = cover_factor(ndvi=layers["ndvi"], alpha=self.alpha, beta=self.beta)
        c.attrs["warning"] = (
            "fitted in Europe; too high on sparse alpine grass: 0.34 over southern Tibet, where cai gives 0.12"
        )
        return {"cover_factor": c}


class Rusle(CovariateGroup):
    """Soil loss by water, A = R K LS C P."""

    group: ClassVar = "rusle"
    title: ClassVar = "water erosion"
    makes: ClassVar = ("water_erosion",)
    formula: ClassVar = "RUSLE, A = R K LS C P"
    references: ClassVar = "Renard et al. 1997, USDA Agriculture Handbook 703"

    practice: float = option(1.0, "P factor; 1 on natural land", units="1", ge=0, le=1)
    practice_layer: str | None = option(None, "layer with the P factor, 0 to 1, in place of one value", shared=False)

    FACTORS: ClassVar = ("rainfall_erosivity", "soil_erodibility", "ls_factor", "cover_factor")

    @property
    def bytes_per_cell(self) -> float:
        """Four factors in float64."""
        return 120.0

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """The factors, and the mask where there is one."""
        own = () if self.practice_layer is None else (self.practice_layer,)
        return (*self.FACTORS, *own, *(("soil_mask",) if "soil_mask" in available else ()))

    @model_validator(mode="after")
    def _one_practice(self) -> Rusle:
        if self.practice_layer is not None and self.practice != 1.0:
            raise ValueError("practice and practice_layer both give P; give one")
        return self

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Soil loss; missing where there is no soil."""
        r, k, ls, c = factors = [layers[name] for name in self.FACTORS]
        practice = self.practice if self.practice_layer is None else layers[self.practice_layer]
        loss: xr.DataArray = rusle(r, k, ls, c, practice)
        if "soil_mask" in layers:
            loss = loss.where(layers["soil_mask"] == 1).astype(loss.dtype).assign_attrs(loss.attrs)
        loss.attrs["practice_factor"] = self.practice if self.practice_layer is None else self.practice_layer
        inherited = [str(layer.attrs["assumptions"]) for layer in factors if layer.attrs.get("assumptions")]
        if inherited:
            loss.attrs["assumptions"] = "; ".join(inherited)
        return {"water_erosion": loss}

    def tally(self, layers: Mapping[str, Array]) -> Mapping[str, Any]:
        """Cells with soil, and the sums of the factors over them."""
        return tally_erosion(layers)

    @property
    def summary(self) -> Summary:
        """Means and quantiles of the factors beside the literature."""
        return partial(summarise_erosion, self.practice if self.practice_layer is None else self.practice_layer)

    @property
    def notes(self) -> Notes:
        """Factors whose mean is outside the literature."""
        return factor_notes
