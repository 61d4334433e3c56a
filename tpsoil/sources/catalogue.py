"""The catalogue of open data: entries in TOML, all checked, extended by the user's own."""

from __future__ import annotations

import os
import re
import tomllib
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tpsoil.display import text_summary
from tpsoil.errors import InputError, MissingInputError, RecipeError, UnitsError, nearest_name
from tpsoil.units import read_unit
from tpsoil.variables import CATALOGUE, Kind, Variable, describe_layer

VARIABLE: Final = "TPSOIL_CATALOGUE"
PREFIX: Final = "catalogue:"
COMMON: Final = "_common"
TILE_KEYS: Final = frozenset({"NS", "EW", "lat", "lon"})

Driver = Literal["raster", "tiles", "stac", "netcdf", "zarr", "vector", "table", "list"]
GRIDDED: Final = ("raster", "tiles", "stac", "netcdf", "zarr")
"""Drivers whose entries become layers; `vector` and `table` become files that a recipe names."""
BOX_KEYS: Final = frozenset({"west", "south", "east", "north"})


class Entry(BaseModel):
    """One data set of the catalogue.

    Parameters
    ----------
    layer : str
        The layer that it becomes.
    driver : {"raster", "tiles", "stac", "netcdf", "zarr", "vector", "table", "list"}
        One raster (a COG, or a VRT over several), tiles by degrees, the assets that a STAC search lists, the answer of
        a NetCDF subset service, a Zarr group, polygons (a file, or a member of a zip archive), a table (of a WFS, or a
        member of a zip archive), or listed only: a login or licence forbids more.
    url : str
        With `{choice}` for each of `choices`; `{NS}`, `{lat}`, `{EW}`, `{lon}` of a tile's lower left corner; of a
        service `{west}`, `{south}`, `{east}`, `{north}` of the box, degrees.
    mirrors : tuple of str
        Other addresses of the same bytes; they are used where `url` gives no answer.
    asset : str
        Of a STAC item: the key of the raster.
    items : str
        Of STAC items: what their ids begin with.
    token : str
        Address of the service that gives the tokens by which the assets are read.
    member : str
        Of a zip archive: the file to read, such as the `.shp`.
    variable : str
        Of a NetCDF or Zarr source.
    reduce : {"", "mean", "sum", "min", "max"}
        How its steps become one layer.
    also_missing : tuple of float
        Stored numbers beside `nodata` that stand for missing.
    non_commercial : bool
        Whether the licence excludes commercial use.
    tile_degrees : int
        Side of a tile.
    absent_tiles : str
        What it means that the source has no file for a tile; empty where that is an error.
    crs : str
        As the file states it.
    resolution_m : float
        Cell size, nominal.
    kind : {"continuous", "categorical", "circular"}
    unit : str
        Of stored value x scale + offset.
    scale, offset, nodata : float
        Of the stored values.
    stated_scale, stated_offset : float, optional
        What the file itself states, where that is not `scale` and `offset`.
    flags : mapping of int to str
        Code to class name.
    choices : mapping of str to tuple of str
        What a user may choose; the first is the default.
    version, years, licence, citation, documentation, note : str
    unverified : str
        What of the entry no documentation confirms; empty where all was confirmed.
    login : str
        How to get a login, where one is needed.
    probes : tuple of (longitude, latitude, low, high)
        Places with the range that the value must lie in, in the layer's unit.
    probed : str
        Day of the last successful probe, ISO 8601; empty if never probed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str
    layer: str
    driver: Driver
    url: str
    mirrors: tuple[str, ...] = ()
    asset: str = ""
    items: str = ""
    token: str = ""
    member: str = ""
    variable: str = ""
    reduce: Literal["", "mean", "sum", "min", "max"] = ""
    also_missing: tuple[float, ...] = ()
    tile_degrees: int = Field(default=0, ge=0, le=90)
    absent_tiles: str = ""
    crs: str
    resolution_m: float = Field(gt=0)
    kind: Kind
    unit: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    stated_scale: float | None = None
    stated_offset: float | None = None
    flags: Mapping[int, str] = Field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    version: str
    years: str = ""
    licence: str = Field(min_length=1)
    non_commercial: bool = False
    citation: str = Field(min_length=1)
    documentation: str = Field(min_length=1)
    unverified: str = ""
    login: str = ""
    probes: tuple[tuple[float, float, float, float], ...] = ()
    probed: str = Field(default="", pattern=r"^(\d{4}-\d{2}-\d{2})?$")
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Entry:
        keys = set(re.findall(r"\{(\w+)[^}]*\}", self.url))
        required = set(self.choices) | (TILE_KEYS if self.driver == "tiles" else set())
        keys |= set(re.findall(r"\{(\w+)\}", self.member))
        of_box = BOX_KEYS if self.driver in {"stac", "netcdf", "table"} else frozenset()
        if unknown := keys - required - of_box:
            raise ValueError(f"url has {{{'}, {'.join(sorted(unknown))}}}, which no choice gives")
        if missing := required - keys:
            raise ValueError(f"url lacks {{{'}, {'.join(sorted(missing))}}}")
        if self.driver == "tiles" and self.tile_degrees < 1:
            raise ValueError("tile_degrees is missing")
        for key, drivers in (("asset", {"stac"}), ("variable", {"netcdf", "zarr"})):
            if self.driver in drivers and not getattr(self, key):
                raise ValueError(f"{key} is missing")
        try:
            read_unit(self.unit)
        except UnitsError as error:
            raise ValueError(f"unit: {error}") from None
        if self.driver not in {*GRIDDED, "list"}:
            return self
        if self.layer not in CATALOGUE and self.kind == "categorical" and not self.flags:
            raise ValueError(f"layer '{self.layer}' is not in the catalogue of layers; give its classes as flags")
        return self

    @property
    def open(self) -> bool:
        """Whether anybody may fetch it without a login."""
        return self.driver != "list" and not self.login

    def described(self) -> Variable:
        """The layer that the entry becomes."""
        flags = dict(self.flags) or None
        if self.layer in CATALOGUE:
            return describe_layer(self.layer, flags=flags)
        return describe_layer(self.layer, units=self.unit, kind=self.kind, flags=flags)


@dataclass(frozen=True)
class Choice:
    """An entry with everything chosen.

    Parameters
    ----------
    entry : Entry
    values : mapping of str to str
        One for each of the entry's choices.
    """

    entry: Entry
    values: Mapping[str, str]

    @property
    def text(self) -> str:
        """As a recipe writes it.

        Examples
        --------
        >>> choose("soilgrids/clay?depth=5-15cm").text
        'catalogue:soilgrids/clay?depth=5-15cm&statistic=mean'
        """
        query = urllib.parse.urlencode(dict(self.values), safe="-.")
        return f"{PREFIX}{self.entry.name}" + (f"?{query}" if query else "")

    def url(
        self,
        *,
        latitude: int = 0,
        longitude: int = 0,
        base: str | None = None,
        box: tuple[float, float, float, float] | None = None,
    ) -> str:
        """The address; of a tile by its lower left corner in degrees, of a service by the box.

        Examples
        --------
        >>> choose("copernicus_dem/glo30").url(latitude=30, longitude=80).rpartition("/")[2]
        'Copernicus_DSM_COG_10_N30_00_E080_00_DEM.tif'
        """
        fields: dict[str, Any] = dict(self.values)
        if self.entry.driver == "tiles":
            fields |= {"NS": "N" if latitude >= 0 else "S", "EW": "E" if longitude >= 0 else "W",
                       "lat": abs(latitude), "lon": abs(longitude)}  # fmt: skip
        if box is not None:
            fields |= dict(zip(("west", "south", "east", "north"), box))
        return (base or self.entry.url).format(**fields)

    @property
    def member(self) -> str:
        """The file of an archive."""
        return self.entry.member.format(**self.values)

    @property
    def missing(self) -> tuple[float, ...]:
        """Stored numbers that stand for missing."""
        own = () if self.entry.nodata is None else (self.entry.nodata,)
        return (*own, *self.entry.also_missing)


@dataclass(frozen=True)
class Catalogue:
    """Entries by name, and groups of them.

    Parameters
    ----------
    version : int
    entries : mapping of str to Entry
        By `provider/name`.
    groups : mapping of str to tuple of str
        What `--layers` may name, beside layers and entries.
    """

    version: int
    entries: Mapping[str, Entry]
    groups: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        facts = {"version": self.version, "entries": len(self.entries), "groups": ", ".join(self.groups)}
        return text_summary("Catalogue of open data", facts)

    def select(self, name: str) -> list[Choice]:
        """The entries that a group, a layer or an entry's name with choices selects.

        Raises
        ------
        MissingInputError
            For a name that nothing provides, with the nearest one.
        InputError
            For a choice that an entry does not have, or one that is listed only.
        """
        text = name.removeprefix(PREFIX)
        head, _, query = text.partition("?")
        names: tuple[str, ...] = self.groups.get(head, (head,))
        if head not in self.groups and head not in self.entries:
            names = tuple(
                key for key, entry in self.entries.items()
                if entry.layer == head and entry.open and entry.driver in GRIDDED
            )[:1]  # fmt: skip
        if not names:
            listed = [key for key, entry in self.entries.items() if entry.layer == head]
            if listed:
                entry = self.entries[listed[0]]
                raise InputError(f"{head}: {entry.name} is listed only ({entry.login or entry.note}); fetch it by hand")
            choices = [*self.groups, *self.entries, *sorted({entry.layer for entry in self.entries.values()})]
            raise MissingInputError(f"{head}: no entry of the catalogue provides it{nearest_name(head, choices)}")
        chosen = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        return [_chosen(self.entries[key], chosen) for key in names]


def _chosen(entry: Entry, chosen: Mapping[str, str]) -> Choice:
    if entry.driver == "list":
        raise InputError(f"{entry.name}: is listed only ({entry.login or entry.note}); fetch it by hand")
    for key, value in chosen.items():
        if key not in entry.choices:
            raise InputError(f"{entry.name}: no choice '{key}'{nearest_name(key, entry.choices)}")
        if value not in entry.choices[key]:
            raise InputError(f"{entry.name}: {key} is '{value}'{nearest_name(value, entry.choices[key])}")
    return Choice(entry, {key: chosen.get(key, options[0]) for key, options in entry.choices.items()})


def choose(name: str, path: str | os.PathLike[str] | None = None) -> Choice:
    """One entry of the catalogue with its choices, as `catalogue:provider/name?key=value`.

    Raises
    ------
    MissingInputError, InputError
        As `Catalogue.select`; also for a name of several entries.

    Examples
    --------
    >>> choose("chelsa/bio1").entry.layer
    'mean_annual_temperature'
    """
    choices = read_catalogue(path).select(name)
    if len(choices) != 1:
        raise InputError(f"{name} stands for {', '.join(one.entry.name for one in choices)}; name one of them")
    return choices[0]


def read_catalogue(path: str | os.PathLike[str] | None = None) -> Catalogue:
    """The catalogue of the package, with the user's own entries over it.

    Parameters
    ----------
    path : path, optional
        Of a TOML file of the same form; by default what `TPSOIL_CATALOGUE` names.

    Returns
    -------
    Catalogue

    Raises
    ------
    MissingInputError
        For a file that is not there.
    RecipeError
        For invalid entries: all faults at once.

    Examples
    --------
    >>> read_catalogue().select("elevation")[0].entry.layer
    'elevation'
    """
    chosen = os.fspath(path) if path is not None else os.environ.get(VARIABLE, "")
    own = _packaged()
    if not chosen:
        return own
    place = Path(chosen).expanduser()
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingInputError(f"{place}: no such catalogue; check --catalogue or {VARIABLE}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{place}: is no catalogue in TOML ({error})") from error
    more = _parsed(text, str(place))
    entries = {**own.entries, **more.entries}
    unknown = [(name, member) for name, members in more.groups.items() for member in members if member not in entries]
    if unknown:
        lines = [f"groups.{name}: no entry '{member}'{nearest_name(member, entries)}" for name, member in unknown]
        raise RecipeError(str(place), lines)
    return Catalogue(own.version, entries, {**own.groups, **more.groups})


@lru_cache(maxsize=1)
def _packaged() -> Catalogue:
    return _parsed(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"), "catalogue.toml")


def _parsed(text: str, where: str) -> Catalogue:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(where, [f"is not TOML: {error}"]) from error
    faults: list[str] = []
    version, groups = content.pop("version", 1), content.pop("groups", {})
    if not isinstance(version, int):
        faults.append(f"version: is {version!r}, expected an integer")
    if not isinstance(groups, dict) or not all(isinstance(members, list) for members in groups.values()):
        faults.append('groups: expected lists of entries, such as soil = ["soilgrids/clay"]')
        groups = {}
    entries: dict[str, Entry] = {}
    for provider, tables in content.items():
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            faults.append(f"{provider}: expected tables [{provider}.NAME]")
            continue
        for name, table in tables.items():
            if name == COMMON:
                continue
            key = f"{provider}/{name}"
            try:
                entries[key] = Entry.model_validate({**tables.get(COMMON, {}), **table, "name": key})
            except ValidationError as error:
                faults += [_line(key, fault) for fault in error.errors(include_url=False)]
    if faults:
        raise RecipeError(where, faults)
    return Catalogue(version, entries, {name: tuple(map(str, members)) for name, members in groups.items()})


def _line(key: str, fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{key}: {place} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{key}: {place} is not a key of an entry{nearest_name(place, Entry.model_fields)}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{key}: {f'{place}: ' if place else ''}{message}"
