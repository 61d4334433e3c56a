"""Whether the entries of the catalogue are still what they state: three pixels, size, CRS, at the source itself."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from pyproj import Transformer
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tpsoil.errors import TpsoilError

from .addresses import shown, tile_corners
from .cache import Cache
from .catalogue import GRIDDED, Catalogue, Choice, Entry
from .files import fetch_file
from .regions import opened, require_as_stated
from .stac import assets
from .subsets import EAST, NORTH, plan_subset, read_subset

PROBE_BOX: Final = (91.0, 29.0, 92.0, 30.0)


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
    if entry.driver not in GRIDDED:
        return _check_file(choice, cache)
    if not entry.probes:
        return Check(entry.name, False, "the entry has no probe pixels")
    try:
        parts = [_value(choice, cache, probe[0], probe[1]) for probe in entry.probes]
    except (TpsoilError, RasterioError, OSError, ValueError, KeyError) as error:
        return Check(entry.name, False, str(error))
    outside = [
        f"{value:g} at {lon:g} {lat:g}, expected {low:g} to {high:g}"
        for (lon, lat, low, high), (value, _) in zip(entry.probes, parts, strict=True)
        if not low <= value <= high
    ]
    if outside:
        return Check(entry.name, False, "; ".join(outside))
    return Check(entry.name, True, f"{parts[0][1]}; {', '.join(f'{value:g}' for value, _ in parts)} {entry.unit}")


def _check_file(choice: Choice, cache: Cache) -> Check:
    """Whether an archive is there and has the member, or a service answers; no rows are read of an archive."""
    entry = choice.entry
    url = choice.url(box=PROBE_BOX)
    try:
        if not choice.member:
            size = fetch_file(choice, PROBE_BOX, cache).stat().st_size
            return Check(entry.name, True, f"{size} bytes of rows in a box of one degree")
        with cache.open(url) as file, zipfile.ZipFile(file) as archive:
            member = archive.getinfo(choice.member)
        return Check(entry.name, True, f"{file.size} bytes; {choice.member}, {member.compress_size} bytes")
    except (TpsoilError, OSError, KeyError, zipfile.BadZipFile) as error:
        return Check(entry.name, False, str(cache.failure or error))


def _value(choice: Choice, cache: Cache, longitude: float, latitude: float) -> tuple[float, str]:
    """The value at a place in the entry's unit, and the file's size and CRS."""
    entry: Entry = choice.entry
    point = (longitude, latitude, longitude + 1e-6, latitude + 1e-6)
    if entry.driver in {"netcdf", "zarr"}:
        return _subset_value(choice, point, cache)
    if entry.driver == "stac":
        urls = assets(choice, point, cache)
    else:
        corner = tile_corners(point, entry.tile_degrees)[0] if entry.driver == "tiles" else (0, 0)
        urls = [choice.url(latitude=corner[0], longitude=corner[1])]
    for url in urls:
        remote = cache.remote(url)
        with opened(cache, remote) as source:
            require_as_stated(entry, source, shown(url))
            x, y = Transformer.from_crs(4326, source.crs, always_xy=True).transform(longitude, latitude)
            row, column = source.index(x, y)
            if not (0 <= row < source.height and 0 <= column < source.width):
                continue
            stored = float(source.read(1, window=Window(column, row, 1, 1))[0, 0])
            note = f"{source.height} x {source.width} cells, {source.crs.to_string()[:20]}"
        if stored in choice.missing or np.isnan(stored):
            return float("nan"), note
        return stored * entry.scale + entry.offset, note
    return float("nan"), "outside"


def _subset_value(choice: Choice, point: tuple[float, float, float, float], cache: Cache) -> tuple[float, str]:
    """The nearest cell of a subset in the entry's unit, with its steps reduced."""
    path = read_subset(plan_subset(choice, point, cache), cache)
    with xr.open_dataset(path, decode_times=False) as dataset:
        layer = dataset[choice.entry.variable]
        east, north = (next(str(dim) for dim in layer.dims if str(dim).lower() in names) for names in (EAST, NORTH))
        cell = layer.sel({east: point[0], north: point[1]}, method="nearest").values
        note = " x ".join(f"{size} {dim}" for dim, size in layer.sizes.items())
    reduced = {"sum": float(cell.sum()), "min": float(cell.min()), "max": float(cell.max())}
    return reduced.get(choice.entry.reduce, float(cell.mean())), note
