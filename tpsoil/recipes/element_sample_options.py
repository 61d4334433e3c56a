"""Keys of `[elements]` on its samples: columns, positions, units, limits, depths, dates, and folds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tpsoil.constants import MICRONUTRIENT_DATASET, MICRONUTRIENT_STUDY
from tpsoil.errors import InputError, nearest_name
from tpsoil.micronutrients.composition import Composition
from tpsoil.soil_properties import SoilProperty, known_property, soil_property

from .section import FilePath, Section

FOLDS: Final = re.compile(r"^(?:(random|group|knndm)|(block)(?::(auto|\d*\.?\d+(?:deg|km|m)))?|(region):(.+))$")


@dataclass(frozen=True)
class FoldDesign:
    """Kinds of folds of a recipe.

    Parameters
    ----------
    kinds : tuple of str
    block : str
        Side of a block, such as "3deg" or "50km"; "auto": from the residual variogram's range.
    region : str or None
        Column of the samples with the regions of "region" folds.
    """

    kinds: tuple[str, ...]
    block: str = "auto"
    region: str | None = None


def read_folds(texts: Sequence[str]) -> FoldDesign:
    """The kinds of folds that texts such as "block:50km" name.

    Parameters
    ----------
    texts : sequence of str

    Raises
    ------
    ValueError
        For another text, or a kind given twice.

    Examples
    --------
    >>> read_folds(["random", "block:50km"])
    FoldDesign(kinds=('random', 'block'), block='50km', region=None)
    """
    kinds, block, region = [], "auto", None
    for text in texts:
        match = FOLDS.match(text)
        if match is None:
            raise ValueError(
                f"has '{text}', expected 'random', 'group', 'knndm', 'block' (sized by the residuals' variogram), a "
                "block in degrees or metres such as 'block:3deg' or 'block:50km', or a column of regions such as "
                "'region:province'"
            )
        kinds.append(match[1] or match[2] or match[4])
        block, region = match[3] or block, match[5] or region
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError("needs one or more kinds of folds, each once, with one size of blocks")
    return FoldDesign(tuple(kinds), block, region)


class PropertyTable(Section):
    """`[elements.properties.NAME]`: a soil property that is not known, or another unit of one that is.

    Parameters
    ----------
    units : str, optional
        Of its values and map; needed for a property that is not known.
    layer : str, optional
        Name of its map; by default NAME.
    long_name : str
        The field's term.
    low, high : float, optional
        Possible values in its unit; others are rejected. No limit by default.
    log : bool, optional
        Fit the logarithm to base 10 where `elements.log` is true. By default false, and of a known property its own.
    """

    units: str | None = Field(default=None, min_length=1)
    layer: str = Field(default="", pattern=r"^([A-Za-z][A-Za-z0-9_]*)?$")
    long_name: str = ""
    low: float | None = None
    high: float | None = None
    log: bool | None = None

    def declared(self, name: str) -> SoilProperty:
        """The property.

        Raises
        ------
        InputError
            For an unknown property without a unit, or an empty range.
        """
        known = known_property(name)
        if known is None and self.units is None:
            raise InputError(f"properties.{name}: units is missing; '{name}' is no known property")
        entry = SoilProperty(name, low=float("-inf")) if known is None else replace(known, symbol=name)
        if self.units is not None and known is not None and self.units != known.units:
            # The known range is in the known unit.
            entry = replace(entry, low=0.0 if known.low == 0 else float("-inf"), high=float("inf"))
        if self.layer:
            entry = replace(entry, layer=self.layer, long_name=self.long_name)
        return replace(
            entry,
            units=self.units or entry.units,
            long_name=self.long_name or entry.long_name,
            low=entry.low if self.low is None else self.low,
            high=entry.high if self.high is None else self.high,
            log=entry.log if self.log is None else self.log,
        )


class DepthsTable(Section):
    """`[elements.depths]`: samples at several depths of a site, which become the mean of one interval.

    Parameters
    ----------
    upper, lower : str
        Columns of the upper and lower depth.
    units : str
        Of both columns.
    interval : list of float
        Top and bottom, cm; the mean of it is computed by an equal-area spline (Bishop et al. 1999).
    smoothing : float
        Lambda of the spline for depths in cm.
    coverage : float
        Share of the interval that the samples of a site must reach.
    """

    upper: str = "upper"
    lower: str = "lower"
    units: str = "cm"
    interval: tuple[float, float] = (0.0, 10.0)
    smoothing: float = Field(default=0.1, gt=0)
    coverage: float = Field(default=0.5, gt=0, le=1)

    @field_validator("interval")
    @classmethod
    def _downwards(cls, interval: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= interval[0] < interval[1]:
            raise ValueError(f"is {list(interval)}, expected top and bottom in cm with 0 <= top < bottom")
        return interval


class CompositionTable(Section):
    """`[elements.composition]`: parts of a whole, such as clay, silt and sand, mapped so that they sum to their total.

    Parameters
    ----------
    parts : list of str, or table of part to column
        Known properties, or those of `[elements.properties.NAME]`, in one unit.
    transform : "ilr" or "clr"
        Log-ratios that the forests are fitted on. Predictions are their closed inverse, the compositional centre.
    total : float, optional
        Sum of the parts in their unit; by default 100 of %, 1000 of g kg-1 and 1000000 of mg kg-1.
    zeros : float, optional
        Value in place of 0, such as half a detection limit; without it zeros are rejected.
    """

    parts: tuple[str, ...] | dict[str, str] = Field(min_length=2)
    transform: Literal["ilr", "clr"] = "ilr"
    total: float | None = Field(default=None, gt=0)
    zeros: float | None = Field(default=None, gt=0)

    @property
    def columns(self) -> dict[str, str]:
        """Part and its column in the samples."""
        return dict(self.parts) if isinstance(self.parts, Mapping) else {part: part for part in self.parts}

    def declared(self, units: Mapping[str, str]) -> Composition:
        """The composition of parts with these units.

        Raises
        ------
        InputError
            For parts in several units, or a unit without a total.
        """
        if len(set(units.values())) > 1:
            shown = ", ".join(f"{name} {unit}" for name, unit in units.items())
            raise InputError(f"composition.parts are in several units ({shown}), expected one; see properties")
        unit = next(iter(units.values()))
        total = self.total if self.total is not None else TOTALS.get(unit)
        if total is None:
            raise InputError(f"composition.total is missing; the parts are in '{unit}'")
        return Composition(tuple(self.columns), self.transform, total, self.zeros)


TOTALS: Final = {"%": 100.0, "g kg-1": 1000.0, "mg kg-1": 1e6, "1": 1.0}


class SamplesKeys(Section):
    """Keys of `[elements]` on its samples.

    Parameters
    ----------
    samples : str
        CSV, one row a sample.
    encoding : str
        Of the samples and of the table of `pairs`; "cp1252" of tables that Excel under Windows saved as CSV.
    citation : str
        Reference of the samples; the run's references list it.
    elements : list of str, or table of symbol to column, optional
        Elements and other soil properties, such as `["Fe", "Cd", "pH", "SOC"]`, or `{ Fe = "iron_ppm" }`;
        needed unless there is a composition.
    composition : table
        Parts of a whole that are mapped together.
    properties : table of name to table
        Of properties that are not known, `[elements.properties.NAME]`, or known ones in another unit.
    longitude, latitude : str, optional
        Columns, degrees; by default those named longitude, lon, long or lng, and latitude or lat.
    x, y : str, optional
        Columns of projected coordinates; by default those named x and y, or easting and northing.
    crs : str, optional
        Of x and y, such as `"EPSG:32646"`; the position is then taken from them.
    site : str, optional
        Column that names the site of replicates; they stay in one fold. By default rows at one position are one site.
    replicate : str
        Column that numbers the replicates of a site.
    date : str, optional
        Column of the sampling date; its range is recorded.
    years : list of int, optional
        First and last year of the samples that are used; needs `date`.
    depths : table
        Samples at several depths of a site become the mean of one interval.
    units : str, or table of symbol to str
        Of the columns, such as `"mg kg-1"`, `"%"` or `"% Fe2O3"`; converted on import. By default the unit of each
        property: mg kg-1 of elements, 1 of pH, % of organic carbon.
    check_units : bool
        Reject values outside the range of their element.
    limits : table of symbol to number
        Limit of detection; values below it count as censored.
    negative : "error" or "censor"
        Negative contents: reject them, or count them as below the limit.
    empty_cells : "missing" or "censored"
        Empty cells of a column: not measured, or below the limit.
    at_minimum : "keep" or "censor"
        Values at an element's minimum, where more than 5 % of its values, and 3 or more, lie at it, as where half the
        limit was substituted: keep and report them, or censor them at twice the value.
    """

    NEEDS: ClassVar = {"x": ("crs", ()), "y": ("crs", ()), "years": ("date", ())}

    STUDY: ClassVar = f"{MICRONUTRIENT_STUDY}; data: {MICRONUTRIENT_DATASET}"

    samples: FilePath
    encoding: str = "utf-8"
    citation: str | None = Field(default=None, min_length=1)
    elements: tuple[str, ...] | dict[str, str] = ()
    composition: CompositionTable | None = None
    properties: dict[str, PropertyTable] = Field(default_factory=dict, validate_default=True)
    longitude: str | None = None
    latitude: str | None = None
    x: str | None = None
    y: str | None = None
    crs: str | None = Field(default=None, min_length=1)
    site: str | None = None
    replicate: str | None = None
    date: str | None = None
    years: tuple[int, int] | None = None
    depths: DepthsTable | None = None
    units: str | dict[str, str] | None = None
    check_units: bool = True
    limits: dict[str, float] = Field(default_factory=dict)
    negative: Literal["error", "censor"] = "error"
    empty_cells: Literal["missing", "censored"] = "missing"
    at_minimum: Literal["keep", "censor"] = "keep"

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The samples."""
        return (self.samples,)

    @property
    def file(self) -> Path:
        """The samples."""
        return Path(self.samples)

    @property
    def columns(self) -> dict[str, str]:
        """Symbol of each element, and its column in the samples."""
        if isinstance(self.elements, Mapping):
            return dict(self.elements)
        return {symbol: symbol for symbol in self.elements}

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the composition, which are no elements of their own."""
        return () if self.composition is None else tuple(self.composition.columns)

    @property
    def first_column(self) -> dict[str, str]:
        """One element or part and its column, for what depends on the samples' places alone."""
        columns = self.columns or ({} if self.composition is None else self.composition.columns)
        return dict([next(iter(columns.items()))])

    def property_of(self, symbol: str) -> SoilProperty:
        """Unit, layer, range and scale of an element or property.

        Raises
        ------
        InputError
            For a name that is neither known nor declared.
        """
        if symbol in self.properties:
            return self.properties[symbol].declared(symbol)
        return replace(soil_property(symbol), symbol=symbol)

    def unit_of(self, symbol: str) -> str:
        """Unit of the column of an element."""
        if isinstance(self.units, str):
            return self.units
        return (self.units or {}).get(symbol, self.property_of(symbol).units)

    @field_validator("elements")
    @classmethod
    def _each_once(cls, elements: Any) -> Any:
        if len(set(elements)) < len(elements):
            raise ValueError(f"is {list(elements)}, expected each at most once")
        return elements

    @field_validator("properties")
    @classmethod
    def _each_known(cls, properties: dict[str, PropertyTable], info: ValidationInfo) -> dict[str, PropertyTable]:
        faults = []
        composition = info.data.get("composition")
        for symbol in [*info.data.get("elements", ()), *([] if composition is None else composition.columns)]:
            try:
                _ = properties[symbol].declared(symbol) if symbol in properties else soil_property(symbol)
            except InputError as error:
                faults.append(str(error).partition(", in Python")[0])
        if faults:
            raise ValueError("; ".join(faults))
        return properties

    @field_validator("years")
    @classmethod
    def _in_order(cls, years: tuple[int, int] | None) -> tuple[int, int] | None:
        if years is not None and years[0] > years[1]:
            raise ValueError(f"is {list(years)}, expected the first year before the last")
        return years

    @model_validator(mode="after")
    def _check_properties(self) -> SamplesKeys:
        if not self.elements and self.composition is None:
            raise ValueError("elements is missing; name one or more, or give [elements.composition]")
        layers: dict[str, str] = {}
        for symbol in (*self.columns, *self.parts):
            layer = self.property_of(symbol).layer
            if layer in layers:
                raise ValueError(f"elements {layers[layer]} and {symbol} have one map, '{layer}'; leave one out")
            layers[layer] = symbol
        if self.crs is not None and (self.longitude or self.latitude):
            raise ValueError("longitude and latitude have no effect with crs, which takes x and y; leave one out")
        if (self.x is None) != (self.y is None):
            raise ValueError("x and y are given together or not at all")
        near = [name for name in self.properties if name not in self.columns and name not in self.parts]
        if near:
            raise ValueError(
                f"properties names '{near[0]}', which is none of the elements {', '.join(self.columns)}"
                f"{nearest_name(near[0], self.columns)}"
            )
        if self.composition is not None:
            self.composition.declared({name: self.property_of(name).units for name in self.parts})
        return self
