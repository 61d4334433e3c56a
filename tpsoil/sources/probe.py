"""Whether the entries of the catalogue are still what they state: three pixels, size, CRS, at the source itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pyproj import Transformer
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tpsoil.errors import TpsoilError

from .cache import Cache
from .catalogue import Catalogue, Choice, Entry, tile_corners
from .regions import opened, require_as_stated
from .transfer import shown


@dataclass(frozen=True)
class Check:
    """Result of the probe of one entry.

    Parameters
    ----------
    entry : str
    ok : bool
    message : str
        Size, CRS and the values at the probe pixels, or what is wrong.
    """

    entry: str
    ok: bool
    message: str


def check(catalogue: Catalogue, cache: Cache, names: Sequence[str] = ()) -> Iterator[Check]:
    """Probe entries at their sources.

    Parameters
    ----------
    catalogue : Catalogue
    cache : Cache
        With a folder of its own, so that the sources are read and not the cache.
    names : sequence of str
        Entries; all that are open without a login by default.

    Yields
    ------
    Check
    """
    chosen = [catalogue.select(name) for name in names] if names else [
        [Choice(entry, {key: values[0] for key, values in entry.choices.items()})]
        for entry in catalogue.entries.values() if entry.open
    ]  # fmt: skip
    for choices in chosen:
        for choice in choices:
            yield _check(choice, cache)


def _check(choice: Choice, cache: Cache) -> Check:
    entry = choice.entry
    if not entry.probes:
        return Check(entry.name, False, "the entry has no probe pixels")
    try:
        parts = [_value(choice, cache, probe[0], probe[1]) for probe in entry.probes]
    except (TpsoilError, RasterioError) as error:
        return Check(entry.name, False, str(error))
    outside = [
        f"{value:g} at {lon:g} {lat:g}, expected {low:g} to {high:g}"
        for (lon, lat, low, high), (value, _) in zip(entry.probes, parts, strict=True)
        if not low <= value <= high
    ]
    if outside:
        return Check(entry.name, False, "; ".join(outside))
    return Check(entry.name, True, f"{parts[0][1]}; {', '.join(f'{value:g}' for value, _ in parts)} {entry.unit}")


def _value(choice: Choice, cache: Cache, longitude: float, latitude: float) -> tuple[float, str]:
    """The value at a place in the entry's unit, and the file's size and CRS."""
    entry: Entry = choice.entry
    corner = (0, 0)
    if entry.driver == "tiles":
        corner = tile_corners((longitude, latitude, longitude + 1e-6, latitude + 1e-6), entry.tile_degrees)[0]
    url = choice.url(latitude=corner[0], longitude=corner[1])
    remote = cache.remote(url)
    with opened(cache, remote) as source:
        require_as_stated(entry, source, shown(url))
        x, y = Transformer.from_crs(4326, source.crs, always_xy=True).transform(longitude, latitude)
        row, column = source.index(x, y)
        if not (0 <= row < source.height and 0 <= column < source.width):
            return float("nan"), "outside"
        stored = float(source.read(1, window=Window(column, row, 1, 1))[0, 0])
        note = f"{source.height} x {source.width} cells, {source.crs.to_string()[:20]}"
    if entry.nodata is not None and (stored == entry.nodata or (np.isnan(stored) and np.isnan(entry.nodata))):
        return float("nan"), note
    return stored * entry.scale + entry.offset, note
