"""Versions of the packages that decide values, and of the libraries below them: GDAL, PROJ and GEOS."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec, module_from_spec
from typing import Final


def versions_of(package: str) -> dict[str, str]:
    """Version of what a top-level name is installed by, and of the libraries that it brings."""
    versions = dict(_distributions().get(package, ()))
    if package in _LIBRARIES:
        versions |= _library(*_LIBRARIES[package])
    return dict(sorted(versions.items()))


def _library(name: str, package: str, public: str, module: str, attribute: str) -> dict[str, str]:
    """Version of a library that a package brings.

    If the package is not imported, from its one extension module that knows: rasterio itself imports boto3, which takes
    five times as long. Not every version of a package has that module.
    """
    if package not in sys.modules:
        with contextlib.suppress(Exception):
            spec = find_spec(package)
            folders = None if spec is None else spec.submodule_search_locations
            extension = PathFinder.find_spec(f"{package}.{module}", folders)
            if extension is not None and extension.loader is not None:
                loaded = module_from_spec(extension)
                extension.loader.exec_module(loaded)
                version = getattr(loaded, attribute)
                return {name: str(version() if callable(version) else version)}
    return {name: str(getattr(import_module(package), public))}


_LIBRARIES: Final[Mapping[str, tuple[str, str, str, str, str]]] = {
    "rasterio": ("GDAL", "rasterio", "__gdal_version__", "_version", "gdal_version"),
    "pyproj": ("PROJ", "pyproj", "proj_version_str", "_version", "PROJ_VERSION_STR"),
    "shapely": ("GEOS", "shapely", "geos_version_string", "lib", "geos_version_string"),
}


@cache
def _distributions() -> Mapping[str, Sequence[tuple[str, str]]]:
    """(project, version) of what installs each top-level name; of a project's versions the one that is imported."""
    by_name: dict[str, list[tuple[str, str]]] = {}
    first: dict[str, tuple[str, str]] = {}
    for one in distributions():
        project, version = _name_and_version(one)
        own = first.setdefault(re.sub(r"[-_.]+", "-", project).lower(), (project, version))
        for name in top_level_names(one):  # a copy that comes first may not list its modules
            if own not in by_name.setdefault(name, []):
                by_name[name].append(own)
    return by_name


def _name_and_version(one: Distribution) -> tuple[str, str]:
    """Of a distribution; the rest of its metadata is not parsed, which takes 0.1 s for 80 of them."""
    text = one.read_text("METADATA") or one.read_text("PKG-INFO") or ""
    header = {key.lower(): value for key, value in re.findall(r"^(Name|Version):\s*(\S+)", text, re.M | re.I)[:2]}
    if header.keys() == {"name", "version"}:
        return header["name"], header["version"]
    return str(one.metadata["Name"]), str(one.version)


def top_level_names(one: Distribution) -> set[str]:
    """Names by which the modules of a distribution are imported.

    `importlib.metadata.packages_distributions` gives the same, but constructs a path for each of an environment's 50000
    files, which takes 2.5 s.
    """
    listed_names = one.read_text("top_level.txt")
    if listed_names is not None:
        return set(listed_names.split())
    record = one.read_text("RECORD")
    if record is None:
        parts = [(file.parts[0], len(file.parts) > 1) for file in one.files or ()]
    else:
        parts = [(match[1], match[2] == "/") for match in _RECORDED.finditer(record)]
    names = {name if in_folder else inspect.getmodulename(name) for name, in_folder in set(parts)}
    return {name for name in names if name and name.isidentifier()}


_RECORDED: Final = re.compile(r'^"?([^/,"\n]+)([/,])', re.MULTILINE)
"""First part of each path of a RECORD, and what follows it."""
