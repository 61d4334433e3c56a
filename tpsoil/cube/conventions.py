"""Attributes of a cube's group by the Zarr conventions `proj:`, `spatial:` and `multiscales`, for other software.

References
----------
Zarr conventions: https://github.com/zarr-conventions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from odc.geo.geobox import GeoBox

MULTISCALES: Final = "multiscales"
REGISTERED: Final = "zarr_conventions"
CONVENTION_KEYS: Final = (
    *(REGISTERED, MULTISCALES, "proj:code", "proj:wkt2", "spatial:dimensions", "spatial:bbox", "spatial:shape"),
    *("spatial:transform", "spatial:transform_type", "spatial:registration"),
)
"""Attributes of the group that only describe the grid once more."""


def _registration(name: str, uuid: str, place: str, description: str) -> dict[str, str]:
    return {
        "schema_url": f"https://raw.githubusercontent.com/{place}/refs/tags/v1/schema.json",
        "spec_url": f"https://github.com/{place}/blob/v1/README.md",
        "uuid": uuid,
        "name": name,
        "description": description,
    }


REGISTRATIONS: Final = {
    "proj": _registration(
        "proj:", "f17cb550-5864-4468-aeb7-f3180cfb622f", "zarr-experimental/geo-proj", "coordinate reference system"
    ),
    "spatial": _registration(
        "spatial:", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "zarr-conventions/spatial", "cells and their coordinates"
    ),
    "multiscales": _registration(
        "multiscales", "d35379db-88df-4056-af3a-620245f8e347", "zarr-conventions/multiscales", "overviews"
    ),
}


def grid_attributes(grid: GeoBox) -> dict[str, Any]:
    """A grid by the conventions `proj:` and `spatial:`.

    Parameters
    ----------
    grid : GeoBox

    Returns
    -------
    dict
        `proj:code` only where the CRS has a code of EPSG.
    """
    box, code = grid.boundingbox, grid.crs.epsg
    return {
        REGISTERED: [REGISTRATIONS["proj"], REGISTRATIONS["spatial"]],
        **({"proj:code": f"EPSG:{code}"} if code else {}),
        "proj:wkt2": grid.crs.to_wkt(),
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": [float(box.left), float(box.bottom), float(box.right), float(box.top)],
        "spatial:shape": [int(size) for size in grid.shape],
        "spatial:transform": [float(value) for value in tuple(grid.transform)[:6]],
        "spatial:transform_type": "affine",
        "spatial:registration": "pixel",
    }


def overview_attributes(
    levels: Mapping[str, Sequence[tuple[str, GeoBox]]], methods: Mapping[str, str]
) -> dict[str, Any]:
    """The attribute `multiscales` of layers and their overviews.

    Parameters
    ----------
    levels : mapping of str to sequence of (str, GeoBox)
        By layer: path and grid of its levels, the layer itself first.
    methods : mapping of str to str
        How each layer is averaged.

    Returns
    -------
    dict
        Empty without levels.
    """
    layout = []
    for name, places in levels.items():
        for number, (path, grid) in enumerate(places):
            relative = {"scale": [1.0, 1.0] if number == 0 else [2.0, 2.0], "translation": [0.0, 0.0]}
            entry: dict[str, Any] = {"asset": path, "transform": relative}
            if number:
                entry |= {"derived_from": places[number - 1][0], "resampling_method": methods[name]}
            entry["spatial:shape"] = [int(size) for size in grid.shape]
            entry["spatial:transform"] = [float(value) for value in tuple(grid.transform)[:6]]
            layout.append(entry)
    return {MULTISCALES: {"layout": layout}} if layout else {}


def overview_paths(attrs: Mapping[str, Any]) -> dict[str, list[str]]:
    """By layer: paths of its complete overviews, the finest first, from the attributes of a group."""
    paths: dict[str, list[str]] = {}
    for entry in attrs.get(MULTISCALES, {}).get("layout", ()):
        levels = paths.setdefault(str(entry["asset"]).rpartition("/")[2], [])
        if "derived_from" in entry:
            levels.append(str(entry["asset"]))
    return paths
