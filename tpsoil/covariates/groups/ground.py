"""Groups of rock, soil and classes: weathering, and class layers from polygons or recoded codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import ClassVar, Final, Literal

import xarray as xr
from pydantic import model_validator

from tpsoil.covariates.classes import ClassTable, read_class_table, read_name_table, reclassify
from tpsoil.covariates.weathering import chemical_index_of_alteration
from tpsoil.variables import Variable, variable

from .base import SET, CovariateGroup, Layers, option
from .sources import FromPolygons, SourceLayer

OXIDES: Final = ("aluminium", "calcium", "sodium", "potassium")


class Alteration(CovariateGroup):
    """Chemical index of alteration."""

    group: ClassVar = "alteration"
    title: ClassVar = "chemical index of alteration"
    makes: ClassVar = ("chemical_index_of_alteration",)
    formula: ClassVar = "molar Al2O3 / (Al2O3 + CaO* + Na2O + K2O)"
    references: ClassVar = "Nesbitt and Young 1982, doi 10.1038/299715a0; McLennan 1993, doi 10.1086/648222"

    aluminium: str = option("aluminium", "layer with Al2O3 (%) or Al (mg/kg)", shared=False)
    calcium: str = option("calcium", "layer with CaO or Ca", shared=False)
    sodium: str = option("sodium", "layer with Na2O or Na", shared=False)
    potassium: str = option("potassium", "layer with K2O or K", shared=False)
    phosphorus: str | None = option(
        None, "layer with P2O5 or P; without it apatite is not corrected", shared=False,
        only={"correction": ["mclennan", "phosphate"]},
    )  # fmt: skip
    basis: Literal["oxides", "elements"] = option("oxides", "oxides in mass %, or elements in mg/kg")
    correction: Literal["mclennan", "phosphate", "none"] = option("mclennan", "of calcium in apatite and carbonates")
    detection_limits: Mapping[str, float] | None = option(
        None, "of calcium and sodium, in the unit of the contents; below them there is no index", shared=False
    )

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """Contents of the rock's bases."""
        oxide_layers = (*(getattr(self, name) for name in OXIDES), self.phosphorus)
        return tuple(name for name in oxide_layers if name is not None)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """The index of every cell."""
        aluminium, calcium, sodium, potassium = (layers[getattr(self, name)] for name in OXIDES)
        index = chemical_index_of_alteration(
            aluminium,
            calcium,
            sodium,
            potassium,
            None if self.phosphorus is None else layers[self.phosphorus],
            basis=self.basis,
            correction=self.correction,
            detection_limits=self.detection_limits,
        )
        index.attrs["parents"] = " ".join(self.reads(frozenset()))
        return {"chemical_index_of_alteration": index}

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


class ClassGroup(CovariateGroup):
    """A class layer: polygons with a column of classes, or a layer of codes, by a recoding table."""

    formula: ClassVar = "polygon at the cell's centre, or a layer of codes, recoded by a table"
    main_option: ClassVar = "polygons"

    polygons: str | None = option(None, "vector file of the classes", source="file", shared=False)
    column: str | None = option(
        None, "column of the polygons with names or codes", only={"polygons": [SET]}, shared=False
    )
    crs: str | None = option(None, "of polygons without one", only={"polygons": [SET]}, shared=False)
    codes: str | None = option(None, "layer with source codes, in place of polygons", shared=False)
    table: str | None = option(
        None,
        "CSV with columns code, class, name: how source codes or names become classes",
        source="file",
        shared=False,
    )
    unknown: Literal["refuse", "nodata"] = option(
        "refuse", "codes of the layer that the table lacks: an error, or missing", only={"codes": [SET]}, shared=False
    )

    @model_validator(mode="after")
    def _complete(self) -> ClassGroup:
        if (self.polygons is None) == (self.codes is None):
            raise ValueError("give polygons (with column), or codes, the layer with source codes (with table)")
        if self.polygons is not None and self.column is None:
            raise ValueError("polygons needs column, the polygons' column with names or codes")
        if self.table is None:
            raise ValueError("table is missing: CSV with columns code, class, name")
        return self

    @property
    def class_table(self) -> ClassTable:
        """The recoding table."""
        return read_class_table(str(self.table))

    def outputs_of(self, names: Sequence[str]) -> tuple[Variable, ...]:
        """The layer with the table's names as flags."""
        flags = read_name_table(str(self.table))[1] if self.polygons is not None else self.class_table.names
        return tuple(replace(variable(name), dtype="uint8", flags=dict(sorted(flags.items()))) for name in names)

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """The layer of codes."""
        return () if self.codes is None else (self.codes,)

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """The polygons' classes."""
        if self.polygons is None:
            return ()
        return (FromPolygons(self.outputs_of(self.makes), read_name_table(str(self.table))[0]),)

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """The classes."""
        name = self.makes[0]
        if self.codes is None:
            return {name: layers[name]}
        return {name: reclassify(layers[self.codes], self.class_table, name=name, unknown=self.unknown)}


class Lithology(ClassGroup):
    """Class of the surface rock."""

    group: ClassVar = "lithology"
    title: ClassVar = "lithology"
    makes: ClassVar = ("lithology",)


class ParentMaterial(ClassGroup):
    """Class of the soil's parent material."""

    group: ClassVar = "parent_material"
    title: ClassVar = "parent material"
    makes: ClassVar = ("parent_material",)


class Biome(ClassGroup):
    """Vegetation class."""

    group: ClassVar = "biome"
    title: ClassVar = "vegetation class"
    makes: ClassVar = ("biome",)


class LandCover(ClassGroup):
    """Land cover in the catalogue's classes."""

    group: ClassVar = "land_cover"
    title: ClassVar = "land cover"
    makes: ClassVar = ("land_cover",)


class ClimateZone(ClassGroup):
    """Main climate group."""

    group: ClassVar = "climate_zone"
    title: ClassVar = "climate zone"
    makes: ClassVar = ("climate_zone",)
