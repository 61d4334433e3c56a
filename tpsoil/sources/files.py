"""Polygons and tables of a box as local files: shapefiles and tables in zip archives, and answers of a WFS."""

from __future__ import annotations

import io
import shutil
import tempfile
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import geopandas
import pandas as pd

from tpsoil.errors import InputError, TpsoilError, WorkError

from .addresses import shown
from .cache import Cache, completed
from .catalogue import Choice
from .regions import Box, record_sources, unchanged

ROWS_AT_ONCE: Final = 100_000
MOST_ANSWERS: Final = 1_000
LONGITUDE: Final = ("longitude", "lon", "x")
LATITUDE: Final = ("latitude", "lat", "y")


def fetch_file(choice: Choice, box: Box, cache: Cache) -> Path:
    """The polygons or rows of an entry that lie in a box, as a local file.

    Parameters
    ----------
    choice : Choice
        Of an entry with the driver "vector" or "table".
    box : (west, south, east, north)
        Degrees.
    cache : Cache

    Returns
    -------
    Path
        GeoJSON of polygons in EPSG:4326, or CSV with the source's own columns. Of an archive only its list of contents
        and the members that are needed are read.

    Raises
    ------
    InputError
        For an entry that is neither, or an archive without the member that the entry states.
    WorkError
        For an answer that is no table, or bytes that do not decode.
    MissingInputError, AccessError
    """
    entry = choice.entry
    if entry.driver not in {"vector", "table"}:
        raise InputError(f"{entry.name}: is a {entry.driver} source; add it as a layer")
    if entry.driver == "table" and "REQUEST=GETFEATURE" in entry.url.upper():
        return _features(choice, box, cache)
    url = choice.url()
    cache.client.add_mirrors(url, [choice.url(base=base) for base in entry.mirrors])
    remote = cache.remote(url)
    suffix = ".geojson" if entry.driver == "vector" else ".csv"
    identity = f"{shown(url)}|{remote.version}|{choice.member}|{box}"
    stem = PurePosixPath(choice.member or shown(url)).stem
    target = cache.window(stem, identity, suffix)
    if target.exists() and unchanged(target, cache):
        return target
    cache.trace = {shown(url)}
    cache.failure = None
    try:
        with completed(target) as partial, cache.open(url) as file:
            if entry.driver == "vector":
                _polygons(choice.member, file, box, partial, cache.folder)
            else:
                _rows(choice.member, file, box, partial)
            record_sources(target, cache)
    except TpsoilError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if cache.failure is not None:
            raise cache.failure from error
        raise WorkError(f"{shown(url)}: cannot be read ({error}); try again, or another mirror") from error
    return target


def _polygons(member: str, file: Any, box: Box, target: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if member:
            with zipfile.ZipFile(file) as archive:
                names = _parts_of(archive, member)
                for name in names:
                    with archive.open(name) as source, (Path(scratch) / PurePosixPath(name).name).open("wb") as copy:
                        shutil.copyfileobj(source, copy)
            place = Path(scratch) / PurePosixPath(member).name
        else:
            place = Path(scratch) / "polygons.geojson"
            with place.open("wb") as copy:
                shutil.copyfileobj(file, copy)
        polygons = geopandas.read_file(place, bbox=box)
        if polygons.crs is None:
            raise InputError(f"{member}: has no CRS; add its .prj to the archive, or use another mirror")
        polygons[[polygons.geometry.name]].to_crs(4326).to_file(target, driver="GeoJSON")


def _rows(member: str, file: Any, box: Box, target: Path) -> None:
    """Rows of a table whose place lies in the box, in the table's order."""
    with zipfile.ZipFile(file) as archive:
        (name,) = _parts_of(archive, member)
        with archive.open(name) as source, target.open("w", encoding="utf-8", newline="") as out:
            separator = "\t" if name.lower().endswith((".tsv", ".txt")) else ","
            text = io.TextIOWrapper(source, encoding="utf-8")
            header = True
            for part in pd.read_csv(text, sep=separator, chunksize=ROWS_AT_ONCE, dtype=str, keep_default_na=False):
                inside = _inside(part, box, member)
                inside.to_csv(out, index=False, header=header)
                header = False


def _inside(rows: pd.DataFrame, box: Box, where: str) -> pd.DataFrame:
    east, north = (
        next((str(c) for c in rows.columns if str(c).lower() in names), "") for names in (LONGITUDE, LATITUDE)
    )
    if not east or not north:
        raise InputError(f"{where}: has the columns {list(rows.columns)[:8]}, expected longitude and latitude")
    x, y = (pd.to_numeric(rows[name], errors="coerce") for name in (east, north))
    return rows[x.between(box[0], box[2]) & y.between(box[1], box[3])]


def _parts_of(archive: zipfile.ZipFile, member: str) -> list[str]:
    """The member, and of a shapefile the files beside it."""
    stem = str(PurePosixPath(member).with_suffix(""))
    shapefile = member.lower().endswith(".shp")
    names = [
        name for name in archive.namelist()
        if name == member or (shapefile and str(PurePosixPath(name).with_suffix("")) == stem)
    ]  # fmt: skip
    if member not in names:
        raise InputError(f"the archive has no {member}; it has {', '.join(archive.namelist()[:6])}")
    return names


def _features(choice: Choice, box: Box, cache: Cache) -> Path:
    """All pages of a WFS's answer in CSV, as one file."""
    west, south, east, north = (round(value, 5) for value in box)
    url = choice.url(box=(west, south, east, north))
    parts = list(_pages(url, cache))
    rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    text = rows.to_csv(index=False)
    target = cache.window(choice.entry.name.replace("/", "_"), f"{url}|{text}", ".csv")
    with completed(target) as partial:
        partial.write_text(text, encoding="utf-8")
    return target


def _pages(url: str, cache: Cache) -> Iterator[pd.DataFrame]:
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
    count = next((int(values[0]) for key, values in query.items() if key.upper() == "COUNT"), 0)
    for page in range(MOST_ANSWERS):
        address = f"{url}&STARTINDEX={page * count}" if count else url
        path = cache.answer(address, suffix=".csv")
        text = path.read_text(encoding="utf-8")
        if text.lstrip().startswith("<"):  # a WFS reports its errors in XML with the status 200
            path.unlink()
            raise WorkError(f"{shown(url)}: the service answers {' '.join(text.split())[:160]}; try again later")
        rows = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        yield rows
        if not count or len(rows) < count:
            return
    raise WorkError(f"{shown(url)}: the pages of the answer do not end; ask for a smaller box")
