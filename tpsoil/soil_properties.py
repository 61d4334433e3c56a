"""Properties of soil that samples measure and forests map: name of the layer, unit, range, and scale of the fit.

Every element has a content in mg kg-1. pH, organic carbon, texture and others have a unit of their own. A property that
is not listed is declared with its unit, in Python by `SoilProperty`, in a recipe by `[elements.properties.NAME]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from .constants import ATOMIC_WEIGHTS
from .errors import InputError, nearest_name
from .units import range_text
from .variables import CATALOGUE, ELEMENTS

MG_KG: Final = "mg kg-1"
WHOLE_MG_KG: Final = 1e6
"""The total of the soil; a content above it is another unit, or a code for a missing value."""


@dataclass(frozen=True)
class SoilProperty:
    """A property of soil samples.

    Parameters
    ----------
    symbol : str
        As samples and recipes name it, such as "Pb" or "pH".
    layer : str
        Name of its map; by default the symbol.
    units : str
        Of its values and maps; values in other units are converted on import.
    long_name : str
        The field's term; by default the layer's name.
    low, high : float
        Possible values, in `units`; others are rejected. Infinite: no limit.
    log : bool
        Whether forests fit the logarithm to base 10 by default. Not of a property that is a logarithm itself, such as
        pH, and not of shares that may be 0.
    substance : str
        Element or compound that a mass refers to; oxides convert to it.
    scale : str
        What a mean of the property is, where that is not obvious; an attribute of its maps.

    Raises
    ------
    InputError
        For a name that is empty or no word, or a range that is empty.

    Examples
    --------
    >>> SoilProperty("CEC", units="cmol kg-1").layer
    'CEC'
    """

    symbol: str
    layer: str = ""
    units: str = MG_KG
    long_name: str = ""
    low: float = 0.0
    high: float = float("inf")
    log: bool = False
    substance: str = ""
    scale: str = ""

    def __post_init__(self) -> None:
        layer = self.layer or self.symbol
        if not layer.replace("_", "a").replace("-", "a").isalnum():
            raise InputError(
                f"soil property '{self.symbol}': the layer's name is {layer!r}, expected letters, digits, '_' and '-'"
            )
        if not self.low < self.high:
            raise InputError(f"soil property '{self.symbol}': low is {self.low:g} and high {self.high:g}")
        object.__setattr__(self, "layer", layer)
        object.__setattr__(self, "long_name", self.long_name or layer.replace("_", " "))

    @property
    def range_text(self) -> str:
        """Possible values with their unit, for messages."""
        return range_text(self.low, self.high, self.units)


_NAMES: Final = {
    **{symbol: name for name, symbol in ELEMENTS.items()},
    "Ag": "silver", "Al": "aluminium", "As": "arsenic", "B": "boron", "Ba": "barium", "Be": "beryllium",
    "Bi": "bismuth", "Ca": "calcium", "Cd": "cadmium", "Ce": "cerium", "Co": "cobalt", "Cr": "chromium",
    "Cs": "caesium", "Ga": "gallium", "Hg": "mercury", "K": "potassium", "La": "lanthanum", "Li": "lithium",
    "Mg": "magnesium", "N": "nitrogen", "Na": "sodium", "Nb": "niobium", "P": "phosphorus", "Pb": "lead",
    "Rb": "rubidium", "S": "sulfur", "Sb": "antimony", "Sc": "scandium", "Se": "selenium", "Si": "silicon",
    "Sn": "tin", "Sr": "strontium", "Th": "thorium", "Ti": "titanium", "Tl": "thallium", "U": "uranium",
    "Zr": "zirconium",
}  # fmt: skip


def _element(symbol: str, name: str) -> SoilProperty:
    return SoilProperty(symbol, name, MG_KG, f"topsoil {name}", 0.0, WHOLE_MG_KG, True, symbol)


def _of_catalogue(symbol: str, layer: str, *, log: bool, scale: str = "") -> SoilProperty:
    entry = CATALOGUE[layer]
    low, high = (value if np.isfinite(value) else end for value, end in ((entry.low, -np.inf), (entry.high, np.inf)))
    return SoilProperty(symbol, layer, entry.units, entry.long_name, low, high, log, entry.substance, scale)


PH_SCALE: Final = (
    "pH is minus the logarithm of the hydrogen ion activity: fitted and averaged as it is, without another logarithm; "
    "a mean pH is that of the geometric mean of the activities"
)

PROPERTIES: Final[Mapping[str, SoilProperty]] = MappingProxyType(
    {symbol: _element(symbol, name) for symbol, name in _NAMES.items() if symbol in ATOMIC_WEIGHTS}
    | {
        one.symbol: one
        for one in (
            _of_catalogue("pH", "soil_ph", log=False, scale=PH_SCALE),
            _of_catalogue("SOC", "soil_organic_carbon", log=True),
            _of_catalogue("CaCO3", "calcium_carbonate", log=False),
            _of_catalogue("LOI", "loss_on_ignition", log=False),
            _of_catalogue("clay", "clay", log=False),
            _of_catalogue("silt", "silt", log=False),
            _of_catalogue("sand", "sand", log=False),
            _of_catalogue("bulk_density", "bulk_density", log=False),
            SoilProperty("CEC", "cation_exchange_capacity", "cmol kg-1", log=True),
            SoilProperty("EC", "electrical_conductivity", "dS m-1", log=True),
        )
    }
)
"""Known properties by symbol: all elements, and those with a unit of their own."""

_ALIASES: Final = {
    "ph": "pH", "ph_h2o": "pH", "soc": "SOC", "oc": "SOC", "toc": "SOC", "organic_carbon": "SOC", "c_org": "SOC",
    "corg": "SOC", "loi": "LOI", "cec": "CEC", "ec": "EC", "bd": "bulk_density", "caco3": "CaCO3",
}  # fmt: skip
_BY_LAYER: Final = {one.layer: symbol for symbol, one in PROPERTIES.items()}


def known_property(name: str) -> SoilProperty | None:
    """The property with a symbol, an alias such as "OC", or a layer's name; None for another name.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> known_property("Cd").layer, known_property("OC").units, known_property("ndvi")
    ('cadmium', '%', None)
    """
    symbol = name if name in PROPERTIES else _ALIASES.get(name.lower(), _BY_LAYER.get(name, ""))
    return PROPERTIES.get(symbol)


def soil_property(name: str, own: Mapping[str, SoilProperty] | None = None) -> SoilProperty:
    """A property that is declared by the caller, or known.

    Parameters
    ----------
    name : str
    own : mapping of str to SoilProperty, optional
        Declared by the caller, which replaces a known one.

    Returns
    -------
    SoilProperty

    Raises
    ------
    InputError
        For a name that is neither.

    Examples
    --------
    >>> soil_property("pH").log
    False
    >>> soil_property("Fe_dithionite", {"Fe_dithionite": SoilProperty("Fe_dithionite", units="g kg-1")}).units
    'g kg-1'
    """
    declared = (own or {}).get(name) or known_property(name)
    if declared is None:
        raise InputError(
            f"no soil property '{name}'{nearest_name(name, [*PROPERTIES, *_BY_LAYER])}; declare another one with its "
            f'unit: in a recipe [elements.properties.{name}] units = "...", in Python '
            f"properties={{'{name}': SoilProperty('{name}', units='...')}}"
        )
    return declared
