"""A store as a STAC item: one JSON document by which catalogues and QGIS find it.

References
----------
STAC specification 1.1.0: https://github.com/radiantearth/stac-spec; projection extension 2.0.0:
https://github.com/stac-extensions/projection
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import shapely
from pyproj import Transformer

from .layout import CREATED_WITH
from .location import Location, attribute, describe_location
from .store import layers_of, open_group

VERSION: Final = "1.1.0"
PROJECTION: Final = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
EDGE_POINTS: Final = 21
"""Points along each edge of the grid: an edge that is straight on the map is not straight in longitude and latitude."""


def stac_item(
    store: Location, layers: Sequence[str] | None = None, *, created: datetime | None = None
) -> dict[str, Any]:
    """A store's layers as a STAC item.

    Parameters
    ----------
    store : path, URL or zarr Store
    layers : sequence of str, optional
        All by default.
    created : datetime, optional
        With a time zone; now by default.

    Returns
    -------
    dict
        A GeoJSON Feature with the extent, the grid, and a band for each layer.

    Raises
    ------
    As `open_cube`.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://item", plateau_grid(100_000), overwrite=True)
    >>> item = stac_item("memory://item")
    >>> item["stac_version"], item["properties"]["proj:shape"]
    ('1.1.0', [18, 28])
    """
    info, group = open_group(store)
    where = describe_location(store)
    arrays = {name: array for name, array in layers_of(info, group) if layers is None or name in layers}
    geometry, bbox = _extent(info.grid)
    code = info.grid.crs.epsg
    time = (created or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    shared = {key: str(info.attrs[key]) for key in ("title", "citation", "license") if key in info.attrs}
    name = where.rstrip("/").rpartition("/")[2]
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION],
        "id": name.removesuffix(".zarr") or "cube",
        "geometry": geometry,
        "bbox": bbox,
        "properties": {
            "datetime": time,
            "created": time,
            **shared,
            "processing:software": CREATED_WITH,
            "proj:code": f"EPSG:{code}" if code else None,
            "proj:wkt2": info.grid.crs.to_wkt(),
            "proj:shape": [int(size) for size in info.grid.shape],
            "proj:transform": [float(value) for value in tuple(info.grid.transform)[:6]],
        },
        "links": [],
        "assets": {
            "zarr": {
                "href": where,
                "type": "application/vnd.zarr; version=3",
                "roles": ["data"],
                "bands": [_band(name, array) for name, array in arrays.items()],
            }
        },
    }


def _extent(grid: Any) -> tuple[dict[str, Any], list[float]]:
    """The grid's edge in longitude and latitude, anticlockwise, rounded to 1e-6 degree, and its bounding box.

    An edge across the date line becomes two polygons, and the box has a west that is above its east (RFC 7946).
    """
    box, steps = grid.boundingbox, np.linspace(0, 1, EDGE_POINTS)[:-1]
    corners = [(box.left, box.bottom), (box.right, box.bottom), (box.right, box.top), (box.left, box.top)]
    edges = zip(corners, [*corners[1:], corners[0]])
    points = np.concatenate([np.outer(1 - steps, start) + np.outer(steps, end) for start, end in edges])
    longitude, latitude = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True).transform(*points.T)
    longitude = np.unwrap(longitude, period=360.0)
    longitude -= 360.0 * np.floor((longitude.min() + 180.0) / 360.0)
    outline = np.round(np.column_stack([longitude, latitude]), 6)
    ring = outline.tolist()
    (west, south), (east, north) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    if east <= 180.0:
        return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, [west, south, east, north]
    sides = [shapely.clip_by_rect(shapely.Polygon(ring), low, -90.0, low + 360.0, 90.0) for low in (-180.0, 180.0)]
    shells = [shapely.get_coordinates(side) - (shift, 0.0) for side, shift in zip(sides, (0.0, 360.0))]
    rings = [[(shell if shapely.is_ccw(shapely.LinearRing(shell)) else shell[::-1]).tolist()] for shell in shells]
    return {"type": "MultiPolygon", "coordinates": rings}, [west, south, east - 360.0, north]


def _band(name: str, array: Any) -> dict[str, Any]:
    attrs: Mapping[str, Any] = dict(array.attrs)
    nodata: Any = "nan" if array.dtype.kind == "f" else attrs.get("_FillValue", attribute(array.fill_value))
    band = {"name": name, "data_type": str(array.dtype), "nodata": nodata}
    texts = {"description": attrs.get("long_name"), "unit": attrs.get("units")}
    return band | {key: str(text) for key, text in texts.items() if text}
