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
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.class_colours import OKABE_ITO, class_colours, style_name
from tpsoil.labels import stated_fills
from tpsoil.variables import CATALOGUE, NO_CLASS, stored_kind
from tpsoil.variables import class_names as stored_class_names

__all__ = ["OKABE_ITO", "class_colours"]

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


def superscript(number: int) -> str:
    """An exponent as it is printed.

    Examples
    --------
    >>> superscript(-5)
    '⁻⁵'
    """
    return str(number).translate(_SUPERSCRIPT)


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


def capitalised(text: str) -> str:
    """A text with a capital; the other letters stay, such as those of pH."""
    return text[:1].upper() + text[1:]


def quantity(name: str, units: str = "") -> tuple[str, str]:
    """Term and printed unit of a layer of the catalogue; of another name itself, without its underscores."""
    entry = CATALOGUE.get(name)
    return entry.long_name if entry else name.replace("_", " "), unit_text(units or (entry.units if entry else ""))


def panel_title(name: str) -> str:
    """A layer's term with a capital."""
    return capitalised(quantity(name)[0])


def axis_label(name: str) -> str:
    """A layer's name with its unit in the catalogue."""
    return name.replace("_", " ") + (f", {unit_text(CATALOGUE[name].units)}" if name in CATALOGUE else "")


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
    return capitalised(text)


def layer_units(layer: xr.DataArray) -> str:
    """UDUNITS of a layer: its attribute, else the catalogue's, else `""`."""
    entry = CATALOGUE.get(str(layer.name))
    return str(layer.attrs.get("units") or (entry.units if entry else ""))


def layer_kind(layer: xr.DataArray) -> str:
    """`continuous`, `categorical` or `circular`; of an unknown layer by its type of number."""
    kind = stored_kind(str(layer.name), layer.attrs)
    return kind or ("categorical" if layer.dtype.kind in "iub" else "continuous")


def colour_map(layer: xr.DataArray) -> str:
    """Name of the matplotlib colour map of a continuous or circular layer.

    Examples
    --------
    >>> colour_map(xr.DataArray(0.0, name="aspect"))
    'twilight'
    """
    if layer_kind(layer) == "circular":
        return CIRCULAR
    return _BY_NAME.get(style_name(str(layer.name)), "viridis_r")  # more is darker


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
    return {**stored_class_names(str(layer.name), layer.attrs), **(names or {})}


def class_name(layer: xr.DataArray, code: int, names: Mapping[int, str]) -> str:
    """A class's name; where there is none, the layer's name and the code: `zone 3`."""
    return names.get(code) or f"{str(layer.name or 'class').replace('_', ' ')} {code}"


def missing_numbers(layer: xr.DataArray) -> npt.NDArray[Any]:
    """Numbers that mean missing, of a layer's own type: those that it states, and the codes of classes without a value.

    Of classes the encoding counts for floats too: they may be masked as float without being decoded.
    """
    numbers = list(stated_fills(layer))
    if layer_kind(layer) == "categorical":
        entry, own = CATALOGUE.get(str(layer.name)), layer.encoding.get("_FillValue")
        numbers += [] if own is None else [float(own)]
        numbers += [] if entry is None else [float(entry.fill)]
        numbers += {"u1": [float(NO_CLASS)], "i2": [float(np.iinfo(np.int16).min)]}.get(layer.dtype.str[1:], [])
    if layer.dtype.kind in "iu":
        limits = np.iinfo(layer.dtype)
        numbers = [number for number in numbers if number.is_integer() and limits.min <= number <= limits.max]
    return np.array(numbers, dtype=layer.dtype)


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


def marked(text: str, *sources: Any) -> str:
    """A title, with the word *simulated* where any source is based on simulated observations.

    Examples
    --------
    >>> marked("Zones", {"simulated": True}), marked("Zones", {})
    ('Zones (simulated)', 'Zones')
    """
    if not is_simulated(*sources) or "simulated" in text.lower():
        return text
    return f"{text} (simulated)".strip()
