"""The catalogue of all layers.

A layer's units, range, type and meaning are defined by the catalogue, not by its source file. `ingest` converts
every source to them, and every output has its attributes from the catalogue.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from .errors import InputError, nearest_name, require_one_of
from .option_names import option, pass_option
from .units import Period, range_text

Kind = Literal["continuous", "categorical", "circular"]

NO_CLASS: Final = 255
"""`_FillValue` of every 8-bit categorical layer."""
STORED_TYPES: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(("continuous", "circular"), ("float32",)) | {
    "categorical": ("int16", "uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64"),
}
"""Types that layers of a kind are stored in."""


@dataclass(frozen=True)
class Variable:
    """Definition of a layer.

    Parameters
    ----------
    name : str
        Key in the cube.
    long_name : str
        The field's term.
    units : str
        UDUNITS; "1" for a pure number or a class.
    low, high : float
        Physically possible range in `units`; values outside are a unit or nodata mistake. `nan`: no limit.
    dtype : str
        Stored type: float32 for continuous and circular, an integer for categorical.
    kind : {"continuous", "categorical", "circular"}
        Decides resampling: average or bilinear, mode or nearest, vector mean.
    meaning : str
        One sentence for the reader of a file.
    flags : mapping of int to str
        Class codes and their names; categorical layers only.
    standard_name : str
        CF standard name where there is one.
    period : {"", "year", "month", "day"}
        Of an amount that is a sum, such as annual precipitation in mm; see `tpsoil.units.conversion`.
    substance : str
        Element or compound that a content refers to, such as "Fe".
    """

    name: str
    long_name: str
    units: str
    low: float = float("nan")
    high: float = float("nan")
    dtype: str = "float32"
    kind: Kind = "continuous"
    meaning: str = ""
    flags: Mapping[int, str] = field(default_factory=dict)
    standard_name: str = ""
    period: Period = ""
    substance: str = ""

    @property
    def fill(self) -> float | int:
        """Value of missing cells: NaN, or `_FillValue` of a class layer."""
        if self.kind != "categorical":
            return float("nan")
        return NO_CLASS if self.dtype == "uint8" else int(np.iinfo(self.dtype).min)

    @property
    def range_text(self) -> str:
        """The physical range and its unit, for messages: "0 to 100 %", "at least 0 mm"."""
        return range_text(self.low, self.high, self.units)

    def outside(self, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where values are outside the physical range or infinite; NaN is not."""
        array = np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.asarray((array < self.low) | (array > self.high) | np.isinf(array))

    def attributes(self) -> dict[str, Any]:
        """Attributes of a stored layer: names, units, range, and flags as CF writes them."""
        attrs: dict[str, Any] = {"long_name": self.long_name, "units": self.units, "kind": self.kind}
        if self.standard_name:
            attrs["standard_name"] = self.standard_name
        if self.meaning:
            attrs["comment"] = self.meaning
        if np.isfinite(self.low):
            attrs["valid_min"] = self.low
        if np.isfinite(self.high):
            attrs["valid_max"] = self.high
        if self.flags:
            codes = sorted(self.flags)
            attrs["flag_values"] = codes
            attrs["flag_meanings"] = " ".join(self.flags[code].replace(" ", "_") for code in codes)
        return attrs


def _continuous(name: str, long_name: str, units: str, low: float, high: float, meaning: str, cf: str = "") -> Variable:
    return Variable(name, long_name, units, low, high, meaning=meaning, standard_name=cf)


def _content(name: str, long_name: str, units: str, high: float, meaning: str, substance: str) -> Variable:
    return Variable(name, long_name, units, 0, high, meaning=meaning, substance=substance)


def _annual_sum(name: str, long_name: str, high: float, meaning: str, cf: str = "") -> Variable:
    return Variable(name, long_name, "mm", 0, high, meaning=meaning, standard_name=cf, period="year")


def _classes(name: str, long_name: str, flags: Mapping[int, str], meaning: str) -> Variable:
    return Variable(name, long_name, "1", dtype="uint8", kind="categorical", meaning=meaning, flags=dict(flags))


NAN: Final = float("nan")

IGBP: Final = {
    0: "water", 1: "evergreen needleleaf forest", 2: "evergreen broadleaf forest", 3: "deciduous needleleaf forest",
    4: "deciduous broadleaf forest", 5: "mixed forest", 6: "closed shrubland", 7: "open shrubland", 8: "woody savanna",
    9: "savanna", 10: "grassland", 11: "permanent wetland", 12: "cropland", 13: "urban", 14: "cropland mosaic",
    15: "snow and ice", 16: "barren",
}  # fmt: skip
SOLUM_STATUS: Final = {0: "steady", 1: "bare", 2: "no steady state", 3: "capped at bedrock"}
DOMINANT_PROCESS: Final = {0: "none", 1: "water", 2: "wind", 3: "gravity"}
PRODUCTION_STATUS: Final = {0: "within literature", 1: "above literature", 2: "unphysical"}
SLOPE_POSITION: Final = {1: "valley", 2: "lower slope", 3: "flat", 4: "middle slope", 5: "upper slope", 6: "ridge"}
KOPPEN: Final = {1: "tropical", 2: "arid", 3: "temperate", 4: "cold", 5: "polar"}
ELEMENTS: Final = {
    "iron": "Fe", "manganese": "Mn", "zinc": "Zn", "vanadium": "V", "copper": "Cu", "nickel": "Ni", "molybdenum": "Mo",
}  # fmt: skip

_LAYERS: Final = (
    # terrain
    _continuous("elevation", "elevation above sea level", "m", -500, 9000, "height of the ground surface", "surface_altitude"),
    _continuous("slope", "slope", "degree", 0, 90, "steepest gradient of the surface, Horn 1981"),
    Variable("aspect", "aspect", "degree", 0, 360, kind="circular",
             meaning="downslope direction, clockwise from north; NaN where flat"),
    _continuous("general_curvature", "general curvature", "m-1", NAN, NAN, "minus the Laplacian; positive where convex"),
    _continuous("plan_curvature", "plan curvature", "m-1", NAN, NAN, "across the slope; positive where convex"),
    _continuous("profile_curvature", "profile curvature", "m-1", NAN, NAN, "along the slope; positive where convex"),
    _continuous("terrain_ruggedness", "terrain ruggedness index", "m", 0, NAN,
                "root of the summed squared differences to the eight neighbours, Riley 1999"),
    _classes("slope_position", "slope position", SLOPE_POSITION, "six classes of topographic position, Weiss 2001"),
    # hydrology
    _continuous("upslope_area", "upslope area per unit contour width", "m", 0, NAN, "specific catchment area"),
    _continuous("topographic_wetness", "topographic wetness index", "1", NAN, NAN, "ln(specific catchment area / tan slope)"),
    _continuous("slope_length", "slope length", "m", 0, NAN, "longest flow path from the hillslope's head, Hickey"),
    _continuous("ls_factor", "slope length and steepness factor", "1", 0, NAN, "RUSLE LS"),
    _continuous("sediment_transport", "sediment transport index", "1", 0, NAN, "Moore and Burch 1986"),
    # climate
    _continuous("mean_annual_temperature", "mean annual air temperature", "degC", -60, 60, "2 m air temperature, mean of years",
                "air_temperature"),
    _annual_sum("annual_precipitation", "mean annual precipitation", 15000, "sum over a year, mean of years",
                "lwe_thickness_of_precipitation_amount"),
    _annual_sum("potential_evapotranspiration", "annual potential evapotranspiration", 5000, "sum over a year"),
    _continuous("aridity_index", "aridity index", "1", 0, NAN, "precipitation over potential evapotranspiration; high is humid"),
    # vegetation and land
    _continuous("ndvi", "normalised difference vegetation index", "1", -1, 1, "growing-season maximum unless the source says other"),
    _continuous("ndvi_min", "minimum normalised difference vegetation index", "1", -1, 1, "yearly minimum of the climatology"),
    _continuous("net_primary_production", "net primary production", "g m-2 a-1", 0, 5000, "carbon, sum over a year, mean of years",
                "net_primary_productivity_of_biomass_expressed_as_carbon"),
    _classes("land_cover", "land cover, IGBP", IGBP, "MODIS IGBP classes"),
    _classes("climate_zone", "Koppen-Geiger main group", KOPPEN, "main climate group"),
    Variable("parent_material", "soil parent material", "1", dtype="int16", kind="categorical",
             meaning="class of the soil's parent material"),
    Variable("lithology", "lithology", "1", dtype="int16", kind="categorical", meaning="class of the surface rock"),
    Variable("biome", "biome", "1", dtype="uint8", kind="categorical", meaning="vegetation class of the plateau"),
    _classes("soil_mask", "soil mask", {0: "no soil", 1: "soil"}, "0 on glaciers, lakes and outside the boundary"),
    # soil
    _continuous("sand", "sand content", "%", 0, 100, "mass share of the fine earth"),
    _continuous("silt", "silt content", "%", 0, 100, "mass share of the fine earth"),
    _continuous("clay", "clay content", "%", 0, 100, "mass share of the fine earth"),
    _content("soil_organic_carbon", "soil organic carbon", "%", 100, "mass share of the fine earth", "C"),
    _content("calcium_carbonate", "calcium carbonate equivalent", "%", 100, "mass share of the fine earth", "CaCO3"),
    _continuous("soil_ph", "soil pH in water", "1", 0, 14, "topsoil"),
    _continuous("bulk_density", "dry bulk density", "kg m-3", 50, 3000, "fine earth"),
    _continuous("loss_on_ignition", "loss on ignition", "%", 0, 100, "mass share"),
    _continuous("chemical_index_of_alteration", "chemical index of alteration", "1", 0, 1, "molar, as a fraction"),
    _continuous("depth_to_bedrock", "depth to bedrock", "m", 0, 1000, "absolute depth to bedrock"),
    _continuous("grazing_intensity", "grazing intensity", "1", 0, NAN, "as its source defines it"),
    # erosion
    _continuous("rainfall_erosivity", "rainfall erosivity, RUSLE R", "MJ mm ha-1 h-1 a-1", 0, NAN, "SI units"),
    _continuous("soil_erodibility", "soil erodibility, RUSLE K", "t ha h ha-1 MJ-1 mm-1", 0, 1, "SI units"),
    _continuous("cover_factor", "cover and management factor, RUSLE C", "1", 0, 1, "soil loss relative to bare fallow"),
    _continuous("water_erosion", "soil loss by water", "t ha-1 a-1", 0, NAN, "sheet and rill erosion"),
    _continuous("wind_erosion", "soil loss by wind", "t ha-1 a-1", 0, NAN, "RWEQ"),
    _continuous("vegetation_cover", "vegetation cover", "%", 0, 100, "share of the ground under green vegetation"),
    _continuous("weather_factor", "weather factor, RWEQ WF", "kg m-1", 0, NAN, "wind, air density, dryness and snow cover"),
    _continuous("erodible_fraction", "wind-erodible fraction, RWEQ EF", "1", 0, 1, "share of aggregates below 0.84 mm"),
    _continuous("crust_factor", "soil crust factor, RWEQ SCF", "1", 0, 1, "share left by crusting"),
    _continuous("roughness_factor", "soil roughness factor, RWEQ K'", "1", 0, NAN, "share left by ridges and clods"),
    _continuous("vegetation_factor", "vegetation factor, RWEQ COG", "1", 0, 1, "share left by residue and canopy"),
    _classes("wind_erosion_status", "range of the wind erosion", {0: "regular", 1: "falling branch"},
             "1 where more wind gives less loss, beyond what RWEQ describes"),
    _classes("erodible_fraction_status", "range of the erodible fraction",
             {0: "inside", 1: "outside fitted contents", 2: "limited to 0..1"}, "contents against those RWEQ was fitted on"),
    # solum
    Variable("zone", "environmental zone", "1", dtype="uint8", kind="categorical", meaning="cells of similar environment; parameters are calibrated zone by zone"),
    _continuous("eemt", "effective energy and mass transfer", "kJ m-2 a-1", 0, NAN, "Rasmussen and Tabor 2007"),
    _continuous("solum_thickness", "solum thickness", "m", 0, NAN, "surface to the top of the C horizon, at steady state"),
    _classes("solum_status", "status of the steady state", SOLUM_STATUS, "steady, bare, no steady state, or capped at bedrock"),
    _continuous("saprolite_thickness", "saprolite thickness", "m", 0, NAN, "depth to bedrock less solum thickness"),
    _continuous("erosion_rate", "surface lowering rate", "m a-1", NAN, NAN, "water, wind and gravity; negative deposits"),
    _continuous("potential_production", "soil production on bare bedrock", "m a-1", 0, NAN, "thickness of soil a year"),
    _classes("production_status", "plausibility of the potential production", PRODUCTION_STATUS,
             "0 up to 0.001 m a-1, 2 above 1 m a-1: an effective parameter of the calibration, no rate of soil production"),
    _classes("dominant_process", "process that removes most soil", DOMINANT_PROCESS,
             "greatest of the model's terms of water, wind and gravity; none where no term removes soil"),
    _continuous("response_time", "response time of the thickness", "a", NAN, NAN, "h0 over the surface lowering rate"),
    # forest
    _continuous("mean", "mean of the trees", "1", NAN, NAN, "random forest prediction"),
    _continuous("sd", "standard deviation between trees", "1", 0, NAN,
                "ddof 1; neither a prediction interval nor a standard error"),
    _continuous("dissimilarity_index", "dissimilarity index", "1", 0, NAN, "distance to the training data, Meyer and Pebesma 2021"),
    _classes("applicability", "area of applicability", {0: "outside", 1: "inside"}, "dissimilarity at most the threshold"),
    # elements
    *(_content(name, f"topsoil {name}", "mg kg-1", 1e6, f"total {symbol}", symbol) for name, symbol in ELEMENTS.items()),
)  # fmt: skip

CATALOGUE: Final[Mapping[str, Variable]] = MappingProxyType({layer.name: layer for layer in _LAYERS})
"""Every layer of the catalogue, by name."""


def stored_kind(name: str, attributes: Mapping[str, Any]) -> Kind | None:
    """Kind of a layer: as its attributes record it, else by its flags, else by the catalogue.

    Parameters
    ----------
    name : str
    attributes : mapping
        Of the layer.

    Returns
    -------
    {"continuous", "categorical", "circular"} or None
        None for an unknown layer.

    Examples
    --------
    >>> stored_kind("my_units", {"kind": "categorical"}), stored_kind("aspect", {}), stored_kind("snow_days", {})
    ('categorical', 'circular', None)
    """
    recorded = attributes.get("kind")
    if recorded in get_args(Kind):
        return cast(Kind, recorded)
    if "flag_values" in attributes:
        return "categorical"
    return CATALOGUE[name].kind if name in CATALOGUE else None


def missing_code(layer: Any) -> int | None:
    """Code of missing cells of an integer layer, `_FillValue`; None for a floating layer or where none is declared.

    Parameters
    ----------
    layer : DataArray

    Examples
    --------
    >>> import xarray as xr
    >>> missing_code(xr.DataArray(np.zeros(2, "uint8"), name="land_cover"))
    255
    """
    if layer.dtype.kind not in "iu":
        return None
    for source in (layer.encoding, layer.attrs):
        for key in ("_FillValue", "missing_value", "nodata"):
            if source.get(key) is not None:
                return int(source[key])
    entry = CATALOGUE.get(str(layer.name))
    return int(entry.fill) if entry is not None and entry.dtype == str(layer.dtype) else None


def flags_of(attributes: Mapping[str, Any]) -> dict[int, str]:
    """Codes and names in the attributes of a layer, as CF writes them; empty without, or with other numbers of them.

    Examples
    --------
    >>> flags_of({"flag_values": [1, 2], "flag_meanings": "snow_and_ice barren"})
    {1: 'snow and ice', 2: 'barren'}
    """
    texts = str(attributes.get("flag_meanings", "")).split()
    codes = np.atleast_1d(attributes.get("flag_values", [])).tolist()
    if len(codes) != len(texts):
        return {}
    return {int(code): text.replace("_", " ") for code, text in zip(codes, texts)}


def class_names(name: str, attributes: Mapping[str, Any]) -> dict[int, str]:
    """Codes of a class layer and their names: from its flags, else from the catalogue.

    Parameters
    ----------
    name : str
    attributes : mapping
        Of the layer.

    Returns
    -------
    dict of int to str
        Names with spaces; empty for an unknown layer.

    Examples
    --------
    >>> class_names("lakes", {"flag_values": [1, 2], "flag_meanings": "open_water dry_land"})
    {1: 'open water', 2: 'dry land'}
    """
    if "flag_values" in attributes:
        return flags_of(attributes)
    return dict(CATALOGUE[name].flags) if name in CATALOGUE else {}


def variable(name: str) -> Variable:
    """Look one layer up.

    Parameters
    ----------
    name : str

    Returns
    -------
    Variable

    Raises
    ------
    InputError
        For a name that is not in the catalogue; the message has the nearest one.

    Examples
    --------
    >>> variable("elevation").units
    'm'
    """
    if name not in CATALOGUE:
        raise InputError(f"no layer '{name}' in the catalogue{nearest_name(name, CATALOGUE)}")
    return CATALOGUE[name]


def describe_layer(
    name: str,
    *,
    units: str | None = None,
    kind: Kind | None = None,
    long_name: str | None = None,
    flags: Mapping[int, str] | None = None,
    dtype: str | None = None,
) -> Variable:
    """The catalogue's entry, or one for a user-defined layer.

    Parameters
    ----------
    name : str
    units, kind, long_name, flags, dtype
        Of a layer that is not in the catalogue; `units` and `kind` are required then. For a layer of the catalogue,
        `flags` and `long_name` replace the catalogue's; `kind`, `dtype` and the stored `units` are the catalogue's.

    Returns
    -------
    Variable

    Raises
    ------
    InputError
        For an unknown layer without `units` or `kind`; a `kind` against the catalogue; a `dtype` against the kind.

    Examples
    --------
    >>> describe_layer("snow_days", units="d", kind="continuous").units
    'd'
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        if units is None or kind is None:
            raise InputError(
                f"layer '{name}' is not in the catalogue{nearest_name(name, CATALOGUE)}; "
                f"for a user-defined layer {pass_option('units')} and {option('kind')} ('continuous', 'categorical' or "
                "'circular')"
            )
        require_one_of(f"layer '{name}'", "kind", kind, STORED_TYPES)
        stored_type = dtype or STORED_TYPES[kind][0]
        with contextlib.suppress(TypeError):  # what is no type is rejected below
            dtype = stored_type = np.dtype(stored_type).name
        require_one_of(f"layer '{name}', {kind}", "dtype", stored_type, STORED_TYPES[kind])
        entry = Variable(name, name.replace("_", " "), units, kind=kind, dtype=stored_type)
    for key, value, stored in (("kind", kind, entry.kind), ("dtype", dtype, entry.dtype)):
        if value is not None and value != stored:
            raise InputError(f"layer '{name}' is {stored} in the catalogue, not '{value}'; omit {option(key)}")
    return replace(entry, flags=dict(flags) if flags else entry.flags, long_name=long_name or entry.long_name)
