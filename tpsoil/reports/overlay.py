"""Geography, sample points and georeference of the map viewer, in columns and rows of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds

from tpsoil.errors import TpsoilError
from tpsoil.grid import grid_of
from tpsoil.points import project_points
from tpsoil.reports.geography import context_of, graticule_of
from tpsoil.variables import ELEMENTS

from .figures.geographic import CITIES, plane_of
from .figures.reading import Picture

Floats = npt.NDArray[np.float64]

SIMPLIFIED_CELLS: Final = 0.4
"""Lines are simplified by less than this many cells."""
MAX_POINTS: Final = 5000
"""Sample points of one layer; of more every n-th is shown."""
GEO_TAGS: Final = (34735, 34736, 34737)
"""GeoKeyDirectory, GeoDoubleParams and GeoAsciiParams of GeoTIFF 1.1."""


def geography_of_page(picture: Picture) -> dict[str, Any] | None:
    """Land, lakes, coast, borders, rivers, cities and graticule, in cells from the upper left corner.

    Parameters
    ----------
    picture : Picture

    Returns
    -------
    dict or None
        Lines as flat lists x0, y0, x1, y1 ...; None where the layer has no CRS.

    Examples
    --------
    >>> from tpsoil.reports.figures.reading import read_picture
    >>> geography_of_page(read_picture(xr.DataArray(np.ones((2, 3)), dims=("y", "x"), name="slope"))) is None
    True
    """
    plane = plane_of(picture, picture.extent)
    if plane is None:
        return None
    context, net = context_of(plane), graticule_of(plane)
    rows, columns = picture.values.shape

    def placed(parts: Sequence[Floats], *, closed: bool = False) -> list[list[float]]:
        lines = []
        for part in parts:
            cells = _cells(part, picture)
            away = (cells < -0.2 * max(rows, columns)).all(axis=0) | (cells > 1.2 * max(rows, columns)).all(axis=0)
            if not np.isfinite(cells).all() or away.any():
                continue
            simple = shapely.get_coordinates(shapely.simplify(shapely.LineString(cells), SIMPLIFIED_CELLS))
            if len(simple) > (3 if closed else 1):
                lines.append(np.round(simple, 1).ravel().tolist())
        return lines

    left, _, bottom, _ = picture.extent
    scale = picture.crs_units
    below = [(_cells(np.array([[at, scale * bottom]]), picture)[0, 0], text) for at, text in net.bottom]
    beside = [(_cells(np.array([[scale * left, at]]), picture)[0, 1], text) for at, text in net.left]
    cities = [[city.name, *np.round(_cells(np.array([[x, y]]), picture)[0], 1).tolist()]
              for city, x, y in context.cities[: 3 * CITIES]]  # fmt: skip
    return {
        "land": placed(context.land, closed=True), "lakes": placed(context.lakes, closed=True),
        "coast": placed(context.coast), "borders": placed(context.borders), "rivers": placed(context.rivers),
        "net": placed(net.lines), "cities": cities,
        "below": [[round(float(at), 1), text] for at, text in below],
        "beside": [[round(float(at), 1), text] for at, text in beside],
    }  # fmt: skip


def points_of_page(
    layer: xr.DataArray, picture: Picture, tables: Mapping[str, pd.DataFrame]
) -> dict[str, dict[str, Any]]:
    """Sample points of a run, by the layer that was modelled from them.

    Parameters
    ----------
    layer : DataArray (y, x)
        Any of the store, for its grid.
    picture : Picture
    tables : mapping of str to DataFrame
        Of the run; `sites_NAME` has `lon` and `lat` or `x` and `y`, and `value` or `observed`.

    Returns
    -------
    dict of str to dict
        `at`: column and row of each point, flat; `values`; `every`: every n-th is shown.
    """
    by_symbol = {symbol: name for name, symbol in ELEMENTS.items()}
    points: dict[str, dict[str, Any]] = {}
    for key, table in tables.items():
        subject = key.removeprefix("sites_")
        value = next((name for name in ("value", "observed", "thickness", "solum_thickness") if name in table), None)
        if not key.startswith("sites_") or value is None or table.empty:
            continue
        position = _positions(layer, table)
        if position is None:  # a table of sites without positions is printed, not drawn
            continue
        cells = _cells(position, picture)
        readings = pd.to_numeric(table[value], errors="coerce").to_numpy(np.float64)
        inside = np.isfinite(cells).all(axis=1) & np.isfinite(readings)
        inside &= (cells >= 0).all(axis=1) & (cells < picture.values.shape[::-1]).all(axis=1)
        every = max(1, -(-int(inside.sum()) // MAX_POINTS))
        chosen = np.flatnonzero(inside)[::every]
        name = "solum_thickness" if subject == "solum" else by_symbol.get(subject, subject)
        points[name] = {
            "at": np.round(cells[chosen], 2).ravel().tolist(),
            "values": [float(f"{v:.5g}") for v in readings[chosen]], "every": every,
        }  # fmt: skip
    return points


def georeference_of_page(layer: xr.DataArray, picture: Picture) -> dict[str, Any] | None:
    """Tags of a GeoTIFF of the cells shown: keys of the CRS as GDAL writes them, and corner and size of a cell.

    Returns
    -------
    dict or None
        `tags`: number, TIFF type and values of each; `corner` and `cell` in the CRS's unit. None without a CRS.
    """
    left, right, bottom, top = picture.extent
    rows, columns = picture.values.shape
    bounds = [picture.crs_units * value for value in (left, bottom, right, top)]
    if picture.crs is None:
        return None
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", width=1, height=1, count=1, dtype="uint8", crs=picture.crs,
                         transform=from_bounds(*bounds, 1, 1)) as target:  # fmt: skip
            target.write(np.zeros((1, 1, 1), "uint8"))
        data = memory.read()
    tags = _tiff_tags(data, GEO_TAGS)
    cell = [(bounds[2] - bounds[0]) / columns, (bounds[3] - bounds[1]) / rows]
    return {"tags": tags, "corner": [bounds[0], bounds[3]], "cell": cell}


def _positions(layer: xr.DataArray, table: pd.DataFrame) -> Floats | None:
    """Points (n, 2) in the layer's CRS."""
    if {"lon", "lat"} <= set(table.columns):
        try:
            return np.column_stack(project_points(table["lon"], table["lat"], grid_of(layer, where="report")))
        except TpsoilError:
            return None
    if {"x", "y"} <= set(table.columns):
        return table[["x", "y"]].to_numpy(np.float64)
    return None


def _cells(positions: Floats, picture: Picture) -> Floats:
    """Positions in the CRS's unit (n, 2) as columns and rows of the picture."""
    left, right, bottom, top = picture.extent
    scale = 1.0 / picture.crs_units
    rows, columns = picture.values.shape
    x = (scale * positions[:, 0] - left) / (right - left) * columns
    y = (top - scale * positions[:, 1]) / (top - bottom) * rows
    return np.column_stack([x, y])


def _tiff_tags(data: bytes, numbers: Sequence[int]) -> list[list[Any]]:
    """Number, type and values of tags of the first directory of a little-endian TIFF file."""
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    types = {2: (1, np.uint8), 3: (2, np.uint16), 12: (8, np.float64)}
    result: list[list[Any]] = []
    for position in range(start + 2, start + 2 + 12 * count, 12):
        number, kind = (int.from_bytes(data[position + k : position + k + 2], "little") for k in (0, 2))
        if number not in numbers or kind not in types:
            continue
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        size, dtype = types[kind]
        at = position + 8 if length * size <= 4 else int.from_bytes(data[position + 8 : position + 12], "little")
        result.append([number, kind, np.frombuffer(data, dtype, length, at).tolist()])
    return result
