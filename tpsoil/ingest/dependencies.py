"""Every file and URL behind a source: tiles of a VRT, headers, world files, statistics, the parts of a shapefile.

A digest over the named file alone would miss a corrected `.hdr`, a replaced tile of a VRT, or a `.prj` that was added.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from tpsoil.errors import Absent, nearest_name
from tpsoil.waiting import limit_remote_reads

FAMILIES: Final = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".qpj"),
    ".tab": (".dat", ".map", ".id", ".ind"),
    ".mif": (".mid",),
    ".gml": (".gfs", ".xsd"),
    ".gpkg": (".gpkg-wal",),
}
"""Vector formats of several files, by the file that is named."""
SINGLE: Final = frozenset(
    {".csv", ".txt", ".tsv", ".xlsx", ".parquet", ".json", ".geojson", ".fgb", ".kml", ".nc", ".nc4", ".cdf", ".netcdf",
     ".toml"}
)  # fmt: skip
"""Formats of one file, for which GDAL is not queried."""
UNREAD: Final = (".ovr",)
"""Overviews: windows are read at full resolution only."""
_REMOTE: Final = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}
_CONTAINERS: Final = ("/vsizip/", "/vsitar/", "/vsigzip/", "/vsisparse/", "/vsisubfile/")


@dataclass(frozen=True)
class Dependencies:
    """What a source is read from.

    Parameters
    ----------
    files : tuple of Path
        Each once, in the order in which the source names them.
    urls : tuple of str
    """

    files: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()


def dependencies_of(sources: Iterable[str | os.PathLike[str]]) -> Dependencies:
    """Files and URLs behind some sources.

    Parameters
    ----------
    sources : iterable of path or URL
        Existing files, folders, and URLs; no globs.

    Returns
    -------
    Dependencies
        Of a folder (a Zarr store) all of its files; of a VRT what it names, through nested ones.

    Examples
    --------
    >>> dependencies_of(["https://example.org/dem.tif"]).urls
    ('https://example.org/dem.tif',)
    """
    files: dict[Path, None] = {}
    urls: dict[str, None] = {}
    pending = [os.fspath(source) for source in sources][::-1]
    visited: set[str] = set()
    while pending:
        source = pending.pop()
        if source in visited:
            continue
        visited.add(source)
        url = _url(source)
        if url is not None:
            urls[url] = None
            pending += [] if not url.split("?")[0].lower().endswith(".vrt") else reversed(list(_listed_by_gdal(source)))
            continue
        path = _archive(source)
        if path.is_dir():
            files |= dict.fromkeys(sorted(file for file in path.rglob("*") if file.is_file()))
        elif path.is_file():
            files[path] = None
            pending += reversed([one for one in _beside(path) if not one.lower().endswith(UNREAD)])
    return Dependencies(tuple(files), tuple(urls))


def behind(source: str, at: str, faults: list[str]) -> Dependencies:
    """Files and URLs behind a path, glob, folder or URL; a fault if there are none.

    Parameters
    ----------
    source : str
    at : str
        The key that names it, for the fault.
    faults : list of str
        Extended by one line where there is nothing.
    """
    if "://" in source:
        return dependencies_of([source])
    if any(mark in source for mark in "*?["):
        matches = sorted(glob.glob(source, recursive=True))
        if not matches:
            faults.append(Absent(f"{at}: no file matches {source}"))
        return dependencies_of(matches)
    path = Path(source.partition("|layername=")[0])
    if not path.exists():
        near = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        faults.append(Absent(f"{at}: no such file {path}{nearest_name(path.name, near) if near else ''}"))
        return Dependencies()
    return dependencies_of([path])


def forget_remote(sources: Iterable[str]) -> None:
    """Drop what GDAL caches of remote files, such as their first bytes, before they are opened anew."""
    for url in dependencies_of(one for one in sources if _url(one) is not None).urls:
        place = next((prefix + url.removeprefix(scheme) for prefix, scheme in _REMOTE.items()
                      if scheme and url.startswith(scheme)), f"/vsicurl/{url}")  # fmt: skip
        with rasterio.Env(CPL_VSIL_CURL_NON_CACHED=place):
            for _ in _listed_by_gdal(place):
                pass


def _beside(path: Path) -> Iterator[str]:
    """Other files that are read with a file."""
    suffix = path.suffix.lower()
    if suffix in FAMILIES:
        names = {f"{path.stem}{one}".lower() for one in FAMILIES[suffix]}
        yield from sorted(str(one) for one in path.parent.iterdir() if one.name.lower() in names)
    elif suffix not in SINGLE and not any(suffix in family for family in FAMILIES.values()):
        yield from _listed_by_gdal(str(path))


def _listed_by_gdal(source: str) -> Iterator[str]:
    if source.startswith("/vsi") or "://" in source:
        limit_remote_reads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(source) as dataset:
                yield from (str(name) for name in dataset.files)
        except RasterioError:
            return  # no raster, or one that opening it for its values reports


def _url(source: str) -> str | None:
    for prefix, scheme in _REMOTE.items():
        if source.startswith(prefix):
            return scheme + source.removeprefix(prefix)
    return source if "://" in source and not source.startswith("file://") else None


def _archive(source: str) -> Path:
    """The local file that contains a GDAL name."""
    source = source.removeprefix("file://")
    while source.startswith(_CONTAINERS):
        source = source[source.index("/", 1) + 1 :]
    path = Path(source)
    for candidate in (path, *path.parents):
        if candidate.is_file():
            return candidate
    return path
