"""Colours, units and class names: the appearance of layers, defined once for figures and page.

Continuous maps are perceptually even and safe for colour-blind readers (viridis, cividis, magma; twilight for circular
layers); differences diverge from white through blue and red. Classes take Okabe and Ito's colours where eight are
enough; more classes differ by lightness first, then by hue.

References
----------
Okabe and Ito 2008, Color Universal Design. Nunez, Anderton and Renslow 2018,
doi 10.1371/journal.pone.0199239 (cividis).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from tpsoil.variables import CATALOGUE, NO_CLASS

OKABE_ITO: Final = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#555555")
"""Eight colours distinguishable with every common kind of colour vision; the original's black is a dark grey here."""

MANY: Final = (
    "#0B3D2E", "#1B6E4B", "#4C9F70", "#8CC98F", "#C7E2A6", "#5B4A1F", "#94762F", "#C9A24B", "#EBD07A", "#F7EFC0",
    "#2B4C9B", "#F0A3C4", "#B03A2E", "#7E6BAA", "#B9E3F4", "#F2F2F2", "#A6A6A6", "#3C3C3C", "#E07A5F", "#3D8EB9",
)  # fmt: skip
"""For nine to twenty classes: families of hue, lightness steps inside a family."""

NOTHING: Final = "#FFFFFF"
OUTSIDE: Final = "#F4F2EE"
WATER: Final = "#9CC3DE"
ICE: Final = "#C4F3F3"
MASKED: Final = "#D0C4B2"
NO_DATA: Final = "#9A9A9A"
HATCH: Final = "////"
"""Outside the area of applicability: hatched over the value, because there is one."""
GREY: Final = "#CFC8BE"
"""Bands and bars of charts, and no difference on maps of differences; no meaning of a missing value."""
COAST: Final = "#5C6B73"
BORDER: Final = "#4A4A4A"
RIVER: Final = "#5B93B5"
GLOBE_LAND: Final = "#B9B4A8"
INK: Final = "#262626"
QUIET: Final = "#6B6B6B"
ACCENT: Final = "#0072B2"
WARNING: Final = "#D55E00"

DIVERGING: Final = "RdBu"
CIRCULAR: Final = "twilight"

_BY_NAME: Final[Mapping[str, str]] = {
    "elevation": "cividis", "slope": "magma_r", "terrain_ruggedness": "magma_r", "general_curvature": DIVERGING,
    "plan_curvature": DIVERGING, "profile_curvature": DIVERGING, "aspect": CIRCULAR, "topographic_wetness": "viridis_r",
    "mean_annual_temperature": "inferno", "annual_precipitation": "viridis_r", "aridity_index": "viridis_r",
    "ndvi": "viridis_r", "ndvi_min": "viridis_r", "water_erosion": "magma_r", "wind_erosion": "magma_r",
    "solum_thickness": "viridis_r", "saprolite_thickness": "viridis_r", "response_time": "magma_r",
    "sd": "magma_r", "dissimilarity_index": "magma_r",
}  # fmt: skip

LOGARITHMIC: Final = frozenset({
    "eemt", "response_time", "upslope_area", "potential_production", "sediment_transport", "water_erosion",
    "wind_erosion", "erosion_rate", "production_rate", "soil_production_rate",
})  # fmt: skip
"""Layers whose values span powers of ten; drawn on a logarithmic colour bar by default."""

_CLASS_COLOURS: Final[Mapping[str, Mapping[int, str]]] = {
    "solum_status": {0: "#56B4E9", 1: "#555555", 2: "#D55E00", 3: "#F0E442"},
    "production_status": {0: "#56B4E9", 1: "#F0E442", 2: "#D55E00"},
    "dominant_process": {0: "#BFBFBF", 1: "#0072B2", 2: "#E69F00", 3: "#7A5230"},
    "applicability": {0: "#D55E00", 1: "#56B4E9"},
    "soil_mask": {0: "#BFBFBF", 1: "#94762F"},
    "land_cover": {
        0: "#3D6FB4", 1: "#0B3D2E", 2: "#1B6E4B", 3: "#4C7A3A", 4: "#6FA84F", 5: "#3F8F7A", 6: "#7A5230", 7: "#B58A4C",
        8: "#9DA83A", 9: "#CFC15A", 10: "#DCE8A0", 11: "#7FD1D6", 12: "#E69F00", 13: "#B03A2E", 14: "#F3C98B",
        15: "#FFFFFF", 16: "#B8B3AC",
    },
    "climate_zone": {1: "#009E73", 2: "#E69F00", 3: "#F0E442", 4: "#0072B2", 5: "#B9D9EB"},
    "slope_position": dict(
        zip(range(1, 7), ("#0072B2", "#56B4E9", "#F2F2F2", "#F0E442", "#E69F00", "#8C3A00"), strict=True)
    ),
}  # fmt: skip

_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNIT_WORDS: Final = {"degC": "°C", "degree": "°", "degrees": "°", "deg": "°"}


def unit_text(units: str) -> str:
    """A unit as it is printed.

    Parameters
    ----------
    units : str
        UDUNITS, as in the catalogue.

    Returns
    -------
    str

    Examples
    --------
    >>> unit_text("t ha-1 a-1"), unit_text("degC"), unit_text("1")
    ('t ha⁻¹ a⁻¹', '°C', 'no unit')
    """
    if units in {"1", ""}:
        return "no unit"
    words = (_UNIT_WORDS.get(word, word) for word in units.split())
    return " ".join(re.sub(r"-?\d+$", lambda m: m.group().translate(_SUPERSCRIPT), word) for word in words)


def with_units(text: str) -> str:
    """A sentence with its units as they are printed on figures.

    Examples
    --------
    >>> with_units("a mean of 2.76 t ha-1 a-1, samples in mg/kg")
    'a mean of 2.76 t ha⁻¹ a⁻¹, samples in mg kg⁻¹'
    """
    text = re.sub(r"\bmg/kg\b", "mg kg-1", text)
    return re.sub(r"(?<![\w-])(kg|ha|a|h|MJ|mm|m|K|km|s|yr)-([1-3])(?![\w-])",
                  lambda m: m[1] + f"-{m[2]}".translate(_SUPERSCRIPT), text)  # fmt: skip


def number_text(value: float) -> str:
    """A number with three digits, never in powers of ten where it is short without them.

    Examples
    --------
    >>> number_text(22864.3), number_text(0.34567), number_text(2.2e-7)
    ('22864', '0.346', '2.2e-07')
    """
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def layer_title(layer: xr.DataArray) -> str:
    """The layer's term with a capital, from its attributes, the catalogue, or its name.

    Examples
    --------
    >>> layer_title(xr.DataArray(0.0, name="slope"))
    'Slope'
    """
    name = str(layer.name or "")
    entry = CATALOGUE.get(name)
    text = str(layer.attrs.get("long_name") or (entry.long_name if entry else "") or name.replace("_", " ") or "layer")
    return text[:1].upper() + text[1:]


def layer_units(layer: xr.DataArray) -> str:
    """UDUNITS of a layer: its attribute, else the catalogue's, else `""`."""
    entry = CATALOGUE.get(str(layer.name))
    return str(layer.attrs.get("units") or (entry.units if entry else ""))


def layer_kind(layer: xr.DataArray) -> str:
    """`continuous`, `categorical` or `circular`; from attributes, then the catalogue, then flags and dtype."""
    if "kind" in layer.attrs:
        return str(layer.attrs["kind"])
    entry = CATALOGUE.get(str(layer.name))
    if entry is not None:
        return entry.kind
    return "categorical" if "flag_values" in layer.attrs or layer.dtype.kind in "iub" else "continuous"


def colour_map(layer: xr.DataArray) -> str:
    """Name of the matplotlib colour map of a continuous or circular layer.

    Examples
    --------
    >>> colour_map(xr.DataArray(0.0, name="aspect"))
    'twilight'
    """
    if layer_kind(layer) == "circular":
        return CIRCULAR
    return _BY_NAME.get(_style_name(str(layer.name)), "viridis_r")  # more is darker


def _style_name(name: str) -> str:
    """The name whose style applies to a layer: `sd` for `zinc_sd`."""
    ends = {"_sd": "sd", "_dissimilarity": "dissimilarity_index", "_applicability": "applicability"}
    return next((style for end, style in ends.items() if name.endswith(end)), name)


def class_names(layer: xr.DataArray, names: Mapping[int, str] | None = None) -> dict[int, str]:
    """Names of a layer's classes, by code.

    Parameters
    ----------
    layer : DataArray
        With `flag_values` and `flag_meanings`, or a layer of the catalogue.
    names : mapping of int to str, optional
        Take precedence over both.

    Returns
    -------
    dict of int to str
        Empty where the names are unknown.

    Examples
    --------
    >>> class_names(xr.DataArray(0, name="soil_mask"))
    {0: 'no soil', 1: 'soil'}
    """
    entry = CATALOGUE.get(str(layer.name))
    labels = dict(entry.flags) if entry else {}
    codes = layer.attrs.get("flag_values")
    if codes is not None:
        words = str(layer.attrs.get("flag_meanings", "")).split()
        labels.update({int(c): w.replace("_", " ") for c, w in zip(np.atleast_1d(codes), words, strict=False)})
    labels.update(names or {})
    return labels


def class_name(layer: xr.DataArray, code: int, names: Mapping[int, str]) -> str:
    """A class's name; where there is none, the layer's name and the code: `zone 3`."""
    return names.get(code) or f"{str(layer.name or 'class').replace('_', ' ')} {code}"


def fill_codes(layer: xr.DataArray) -> set[int]:
    """Codes that mean "nothing here" in a class layer, also in one that was masked as float without decoding."""
    fill = layer.attrs.get("_FillValue", layer.encoding.get("_FillValue"))
    codes = {int(fill)} if fill is not None and np.isfinite(fill) else set()
    entry = CATALOGUE.get(str(layer.name))
    if entry is not None and entry.kind == "categorical":
        codes.add(int(entry.fill))
    if layer.dtype == np.uint8:
        codes.add(NO_CLASS)
    elif layer.dtype == np.int16:
        codes.add(int(np.iinfo(np.int16).min))
    return codes


def class_colours(name: str, codes: Sequence[int]) -> dict[int, str]:
    """A colour for each class; always the same one for the same class of a layer.

    Parameters
    ----------
    name : str
        The layer's name.
    codes : sequence of int
        All codes that the layer can have, not only those on the map, so that two maps use the same colours.

    Returns
    -------
    dict of int to str
        Hexadecimal colours.

    Examples
    --------
    >>> class_colours("zone", [1, 2])
    {1: '#E69F00', 2: '#56B4E9'}
    """
    fixed = _CLASS_COLOURS.get(_style_name(name), {})
    if set(codes) <= set(fixed):
        return {code: fixed[code] for code in codes}
    ordered = sorted(set(codes))
    colours = OKABE_ITO if len(ordered) <= len(OKABE_ITO) else MANY
    return {code: colours[i % len(colours)] for i, code in enumerate(ordered)}


def is_simulated(*sources: Any) -> bool:
    """Whether any source is based on simulated observations.

    Parameters
    ----------
    *sources
        Objects with `attrs` (DataArray, Dataset, DataFrame) or mappings of attributes; `None` is skipped.

    Returns
    -------
    bool
        True where any has an attribute `simulated` that is set: `True`, 1, or a sentence on what is simulated.

    Examples
    --------
    >>> is_simulated({"simulated": True}), is_simulated({"simulated": "false"}, {})
    (True, False)
    """
    for source in sources:
        attrs = source if isinstance(source, Mapping) else getattr(source, "attrs", {})
        value = attrs.get("simulated", False)
        if isinstance(value, str):
            value = value.strip().lower() not in {"", "0", "no", "none", "false"}
        if bool(value):
            return True
    return False
