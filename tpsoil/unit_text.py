"""Units as people write them: the symbols, the grammar of their products, the formulas of what was weighed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from .constants import ATOMIC_WEIGHTS
from .errors import UnitsError

Dimensions = tuple[int, int, int, int, int]
"""Exponents of length, mass, time, temperature and angle."""

DAYS_A_YEAR: Final = 365.2425
"""Mean Gregorian year."""


@dataclass(frozen=True)
class Unit:
    """A unit that was read: value in SI = value * factor + offset.

    Parameters
    ----------
    factor, offset : Fraction
        Exact, so that two spellings of one unit are equal.
    dimensions : tuple of int
        Exponents of length, mass, time, temperature and angle.
    share : str
        "mass" or "volume" for a ratio of two masses or volumes; "" for a plain number or percentage.
    substance : str
        Formula that the mass refers to: "Fe2O3" in "% Fe2O3".
    per : str
        Period that a rate is given for: "year", "month", "day" or a shorter one; "" for no rate.
    number : bool
        Whether the text was a number only, such as the 0.0001 of scaled integers.
    """

    factor: Fraction
    offset: Fraction = Fraction(0)
    dimensions: Dimensions = (0, 0, 0, 0, 0)
    share: str = ""
    substance: str = ""
    per: str = ""
    number: bool = False


LENGTH, AREA, VOLUME = (1, 0, 0, 0, 0), (2, 0, 0, 0, 0), (3, 0, 0, 0, 0)
MASS, TIME, NUMBER = (0, 1, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0, 0)
_TEMPERATURE, _ANGLE, _FORCE = (0, 0, 0, 1, 0), (0, 0, 0, 0, 1), (1, 1, -2, 0, 0)
_ENERGY, _POWER, _PRESSURE = (2, 1, -2, 0, 0), (2, 1, -3, 0, 0), (-1, 1, -2, 0, 0)
_YEAR: Final = Fraction(str(DAYS_A_YEAR)) * 86400
_POUND, _FOOT = Fraction("0.45359237"), Fraction("0.3048")

SECONDS: Final[Mapping[str, Fraction]] = MappingProxyType({
    "second": Fraction(1), "minute": Fraction(60), "hour": Fraction(3600), "day": Fraction(86400),
    "month": _YEAR / 12, "year": _YEAR,
})  # fmt: skip
_TIME_WORDS: Final[Mapping[str, str]] = MappingProxyType({
    word: name
    for name, words in {
        "year": "a y yr yrs year years annum", "month": "mon mo month months mth", "day": "d day days",
        "hour": "h hr hrs hour hours", "minute": "min minute minutes", "second": "s sec second seconds",
    }.items()
    for word in words.split()
})  # fmt: skip

# Case matters: Mg is a megagram, mg a milligram. Words of three letters or more are looked up in lower case too.
_SYMBOLS: Final[Mapping[str, tuple[Fraction, Dimensions]]] = MappingProxyType(
    {word: (SECONDS[name], TIME) for word, name in _TIME_WORDS.items()}
    | {
        word: (size, kind)
        for words, size, kind in (
            ("ka kyr", 1000 * _YEAR, TIME),
            ("Ma Myr", 1_000_000 * _YEAR, TIME),
            ("metre meter metres meters", Fraction(1), LENGTH),
            ("centimetre centimeter centimetres centimeters", Fraction(1, 100), LENGTH),
            ("millimetre millimeter millimetres millimeters", Fraction(1, 1000), LENGTH),
            ("kilometre kilometer kilometres kilometers Km", Fraction(1000), LENGTH),
            ("ft foot feet", _FOOT, LENGTH),
            ("in inch inches", _FOOT / 12, LENGTH),
            ("us_survey_foot", Fraction(1200, 3937), LENGTH),
            ("ha hectare hectares", Fraction(10_000), AREA),
            ("acre", Fraction("4046.8564224"), AREA),
            ("cc", Fraction(1, 1_000_000), VOLUME),
            ("t tonne tonnes", Fraction(1000), MASS),
            ("gram grams", Fraction(1, 1000), MASS),
            ("Kg kilogram kilograms", Fraction(1), MASS),
            ("lb", _POUND, MASS),
            ("short_ton", 2000 * _POUND, MASS),
            ("tonf", 2000 * _POUND * Fraction("9.80665"), _FORCE),
            ("K kelvin degK C degC celsius", Fraction(1), _TEMPERATURE),
            ("F degF fahrenheit", Fraction(5, 9), _TEMPERATURE),
            ("deg degree degrees degrees_north degrees_east", Fraction(math.pi) / 180, _ANGLE),
            ("rad radian radians", Fraction(1), _ANGLE),
            ("% percent pct", Fraction(1, 100), NUMBER),
            ("permille permil", Fraction(1, 1000), NUMBER),
            ("ppm ppmw", Fraction(1, 10**6), NUMBER),
            ("ppb", Fraction(1, 10**9), NUMBER),
            ("fraction dimensionless unitless none ratio pH ph", Fraction(1), NUMBER),
        )
        for word in words.split()
    }
)
_PREFIXES: Final[Mapping[str, Fraction]] = MappingProxyType(
    {"": Fraction(1), "h": Fraction(100), "k": Fraction(1000), "M": Fraction(10**6), "G": Fraction(10**9)}
    | {prefix: Fraction(1, 10**power) for prefix, power in (("d", 1), ("c", 2), ("m", 3), ("u", 6), ("n", 9))}
)
_PREFIXED: Final[Mapping[str, tuple[Fraction, Dimensions]]] = MappingProxyType({
    "m": (Fraction(1), LENGTH), "g": (Fraction(1, 1000), MASS), "J": (Fraction(1), _ENERGY), "N": (Fraction(1), _FORCE),
    "W": (Fraction(1), _POWER), "Pa": (Fraction(1), _PRESSURE), "L": (Fraction(1, 1000), VOLUME),
    "l": (Fraction(1, 1000), VOLUME),
})  # fmt: skip
_OFFSETS: Final[Mapping[str, Fraction]] = MappingProxyType({
    **dict.fromkeys(("C", "degC", "celsius"), Fraction("273.15")),
    **dict.fromkeys(("F", "degF", "fahrenheit"), Fraction("459.67") * 5 / 9),
})  # fmt: skip
_ALIASES: Final = {  # erodibility in US units, as the papers print it
    "ton acre h hundreds of acre-1 ft-1 tonf-1 in-1": "0.01 short_ton acre h acre-1 ft-1 tonf-1 in-1",
}

FORMULAS: Final = (
    "Fe2O3", "Fe3O4", "FeO", "MnO2", "MnO", "ZnO", "V2O5", "V2O3", "CuO", "NiO", "MoO3", "Al2O3", "CaCO3", "MgCO3",
    "CaO", "MgO", "Na2O", "K2O", "P2O5", "TiO2", "SiO2", "Cr2O3", "SO3", "CO2", "SrO", "BaO", "PbO", "CoO",
)  # fmt: skip
"""Oxides and carbonates that analyses are reported as."""

_FORMULA: Final = re.compile(
    rf"(?<![A-Za-z0-9])({'|'.join(FORMULAS)})(?:_?[tT](?:ot(?:al)?)?|\([tT]\))?(?![A-Za-z0-9])"
)
_AS_ELEMENT: Final = re.compile(rf"\b(?:as|of)\s+({'|'.join(ATOMIC_WEIGHTS)})(?![A-Za-z0-9])")
_PLAIN_ELEMENT: Final = re.compile(r"(?<![A-Za-z0-9])(Fe|Mn|Zn|Cu|Ni|Mo|Al|Ca|Ti|Si|Cr)(?![A-Za-z0-9])")
_REWRITES: Final = tuple((re.compile(pattern), text) for pattern, text in (
    (r"[⁻−–]", "-"), (r"¹", "1"), (r"²", "2"), (r"³", "3"), (r"[µμ]", "u"), (r"‰", " permille "),
    (r"\b10(?:\^|\*\*)\{?(-?\d+)\}?", r"1e\1"), (r"\*\*|[\^{}]", ""), (r"[·⋅×∙]", " "),
    (r"(?i)℃|[°º˚]\s*C(?:elsius)?\b|\bdeg(?:ree)?s?[\s._]*C(?:elsius)?\b", " degC "),
    (r"(?i)[°º˚]\s*F\b|\bdeg(?:ree)?s?[\s._]*F(?:ahrenheit)?\b", " degF "),
    (r"(?i)\bdeg(?:ree)?s?[\s._]*K(?:elvin)?\b", " K "),
    (r"[°º˚]", " degree "), (r"(?i)^\s*m\s*\(?a\.?s\.?l\.?\)?\s*$", "m"),
    (r"(?i)\bper\s+cent\b", "percent"), (r"(?i)\bper\b", "/"),
    (r"(?i)^\s*tenths? of (?:a |an )?", "0.1 "), (r"(?i)^\s*hundredths? of (?:a |an )?", "0.01 "),
    (r"(?i)^\s*hundreds of ", "100 "), (r"(?i)\bUS[ _]survey[ _](?:foot|feet)\b", "us_survey_foot"),
))  # fmt: skip
_MASS_SHARE: Final = re.compile(
    r"(?i)\b(?:wt|mass|weight)[\s._-]*(?=%|percent)|(?<=%)[\s(]*(?:w/w|wt|mass|m/m)\)?|\(?\bw/w\b\)?"
)
_VOLUME_SHARE: Final = re.compile(r"(?i)\bvol(?:ume)?[\s._-]*(?=%|percent)|(?<=%)[\s(]*(?:v/v|vol)\)?")
_HUNDREDTH: Final = re.compile(r"^g\s*(?:/\s*100\s*g|\(?100\s*g\)?-1)$")
_TOKEN: Final = re.compile(r"\s*(?:(?P<symbol>[A-Za-z_]+|%)\s*(?P<power>-\s?\d+|\+?\d+)?|(?P<mark>[/*.()]))")
_NUMBER: Final = re.compile(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_POWER_AFTER: Final = re.compile(r"\s*(-\d+|\d+)")


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit:
    """Read a unit as field tables, NetCDF attributes and papers write it.

    Parameters
    ----------
    text : str
        Products of symbols with powers ("t ha-1 a-1", "t/ha/yr", "t·ha⁻¹·a⁻¹", "t/(ha a)"), with a number in front for
        scaled integers ("0.1 degC", "1e-4"), and with a formula ("% Fe2O3", "mg/kg as Fe").

    Returns
    -------
    Unit

    Raises
    ------
    UnitsError
        For a symbol that is not known and for a text with two readings; the message has the fix.

    Examples
    --------
    >>> read_unit("mm/yr") == read_unit("mm a-1") == read_unit("mm year^-1")
    True
    >>> read_unit("wt% Fe2O3").substance
    'Fe2O3'
    """
    plain = " ".join(str(text).split())
    plain = _ALIASES.get(plain, plain)
    if plain in {"", "-", "1", "nan"}:
        return Unit(Fraction(1))
    plain, substance = _without_substance(plain)
    for pattern, replacement in _REWRITES:
        plain = pattern.sub(replacement, plain)
    share = ""
    for pattern, name in ((_MASS_SHARE, "mass"), (_VOLUME_SHARE, "volume")):
        if pattern.search(plain):
            share, plain = name, pattern.sub(" ", plain)
    plain = plain.strip()
    if _HUNDREDTH.match(plain):
        share, plain = "mass", "%"
    scale = Fraction(1)
    number = _NUMBER.match(plain)
    if number and not plain[number.end() :].lstrip().startswith(("-", "+")):
        scale, plain = Fraction(number.group()), plain[number.end() :].strip().removeprefix("*").strip()
        if not scale:
            raise UnitsError(f"unit '{text}' has the factor 0")
        if not plain and not share:
            return Unit(scale, substance=substance, number=True)
    unit = _Reader(str(text), plain).read()
    return Unit(scale * unit.factor, unit.offset, unit.dimensions, share or unit.share, substance, unit.per)


def mass_fraction(formula: str, element: str) -> float:
    """Mass of an element in a unit mass of a compound.

    Parameters
    ----------
    formula : str
        Such as "Fe2O3"; an element alone is 1.
    element : str
        Chemical symbol.

    Returns
    -------
    float
        0 where the compound has none of it.

    Examples
    --------
    >>> round(mass_fraction("Fe2O3", "Fe"), 4)
    0.6994
    """
    counts = {symbol: int(count or 1) for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula)}
    total = sum(ATOMIC_WEIGHTS[symbol] * count for symbol, count in counts.items())
    return counts.get(element, 0) * ATOMIC_WEIGHTS[element] / total


def formula_in(text: str) -> str:
    """The oxide or carbonate that a name or a unit mentions, or "".

    Examples
    --------
    >>> formula_in("Fe2O3 (wt%)"), formula_in("iron")
    ('Fe2O3', '')
    """
    match = _FORMULA.search(text)
    return match.group(1) if match else ""


def _without_substance(text: str) -> tuple[str, str]:
    for pattern in (_FORMULA, _AS_ELEMENT, _PLAIN_ELEMENT):
        if match := pattern.search(text):
            rest = re.sub(r"\b(?:as|of|in)\b|\(\s*\)", " ", text[: match.start()] + " " + text[match.end() :])
            return " ".join(rest.split()), match.group(1)
    return text, ""


class _Reader:
    """Reads one product of symbols; `text` is the original, for messages."""

    def __init__(self, text: str, plain: str) -> None:
        self.text, self.plain, self.at = text, plain, 0
        self.symbols: list[tuple[str, int]] = []

    def read(self) -> Unit:
        self.product(1, 0)
        factor, dimensions, offset, per = Fraction(1), [0] * 5, Fraction(0), ""
        for symbol, power in self.symbols:
            size, kind = self.lookup(symbol)
            factor *= size**power
            dimensions = [d + power * k for d, k in zip(dimensions, kind)]
            if kind == TIME and power == -1:
                per = _TIME_WORDS.get(symbol, _TIME_WORDS.get(symbol.lower(), ""))
        names = {symbol for symbol, _ in self.symbols}
        if len(self.symbols) == 1 and self.symbols[0][1] == 1:
            name = self.symbols[0][0]
            offset = _OFFSETS.get(name if name in _OFFSETS else name.lower(), Fraction(0))
        if {"mg", "ha"} <= names:
            raise UnitsError("'mg ha-1' is milligrams per hectare; write 'Mg ha-1' or 't ha-1' for megagrams")
        share = ""
        if not any(dimensions) and len(self.symbols) > 1:
            share = {MASS: "mass", LENGTH: "volume", VOLUME: "volume"}.get(self.lookup(self.symbols[0][0])[1], "")
        length, mass, time, temperature, angle = dimensions
        return Unit(factor, offset, (length, mass, time, temperature, angle), share, "", per)

    def product(self, sign: int, depth: int) -> None:
        """Symbols up to the end or the closing bracket, their powers times `sign`."""
        divided, empty = 1, True
        ambiguous = False  # a / b c
        while (token := _TOKEN.match(self.plain, self.at)) and token.end() > self.at:
            mark = token.group("mark")
            if mark == ")":
                break
            self.at = token.end()
            if mark == "/":
                divided, ambiguous = -1, False
                continue
            if mark in {"*", "."}:
                continue
            if mark == "(":
                first = len(self.symbols)
                self.product(sign * divided, depth + 1)
                if self.plain[self.at : self.at + 1] != ")":
                    raise UnitsError(f"'{self.text}' has a bracket that is not closed")
                self.at += 1
                if power := _POWER_AFTER.match(self.plain, self.at):
                    self.at = power.end()
                    self.symbols[first:] = [(s, p * int(power.group(1))) for s, p in self.symbols[first:]]
            else:
                exponent = int((token.group("power") or "1").replace(" ", ""))
                if ambiguous and exponent > 0:
                    raise UnitsError(
                        f"'{self.text}' has two readings; write every divisor as '/b/c', '/(b c)' or 'b-1'"
                    )
                self.symbols.append((token.group("symbol"), sign * divided * exponent))
            ambiguous, divided, empty = divided < 0 or (ambiguous and mark != "("), 1, False
        if empty or (depth == 0 and self.plain[self.at :].strip()):
            raise UnitsError(f"'{self.text}' is not a unit")

    def lookup(self, symbol: str) -> tuple[Fraction, Dimensions]:
        """Size in SI and dimensions of a symbol."""
        if symbol in {"ton", "tons", "Ton", "Tons"}:
            raise UnitsError("'ton' is 1000 kg or 907 kg; write 't' or 'Mg' for metric tonnes, 'short_ton' for US tons")
        for name in (symbol, symbol.lower() if len(symbol) > 2 else symbol):
            if name in _SYMBOLS:
                return _SYMBOLS[name]
        for base, (size, kind) in _PREFIXED.items():
            prefix = symbol.removesuffix(base)
            if prefix != symbol and prefix in _PREFIXES:
                return _PREFIXES[prefix] * size, kind
        raise UnitsError(f"'{symbol}' is not a known unit" + ("; write 't' for tonnes" if symbol == "T" else ""))
