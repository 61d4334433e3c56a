"""Grids: the plateau grid, and checks that layers share one grid.

A grid is an odc-geo `GeoBox`: a CRS, an affine transform and a shape in (y, x) order, immutable and hashable.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Geod, Transformer

from .errors import GridError, InputError

PLATEAU_CRS: Final = "+proj=aea +lat_0=33 +lon_0=89 +lat_1=30 +lat_2=40 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
"""Albers equal-area conic of the plateau: parallels 30 and 40 N, centre 89 E, 33 N."""

PLATEAU_BOUNDS_M: Final = (-1_340_000.0, -900_000.0, 1_460_000.0, 900_000.0)
"""left, bottom, right, top in PLATEAU_CRS: 2800 x 1800 km around the plateau boundary above 3000 m."""

SNAP: Final = 1e-3
"""Cells: grids closer than this are equal; coordinates written by other software differ by 1e-12 to 1e-6."""


def plateau_grid(resolution: float = 1000) -> GeoBox:
    """The Tibetan Plateau in an Albers equal-area conic projection.

    Parameters
    ----------
    resolution : float
        Cell size, m; > 0.

    Returns
    -------
    odc.geo.geobox.GeoBox
        1800 x 2800 cells (y, x) at 1000 m. Where the resolution does not divide 2800 x 1800 km the grid is extended
        to the east and south by less than a cell.

    Raises
    ------
    InputError
        For a resolution that is not a positive, finite number, or coarser than the plateau.

    Examples
    --------
    >>> plateau_grid(1000).shape
    Shape2d(x=2800, y=1800)
    """
    size = float(resolution)
    _, bottom, _, top = PLATEAU_BOUNDS_M
    if not np.isfinite(size) or size <= 0 or size > top - bottom:
        raise InputError(
            f"plateau_grid: resolution is {resolution!r}, expected metres between 0 and {top - bottom:.0f}"
        )
    return grid_from_bounds(PLATEAU_CRS, PLATEAU_BOUNDS_M, size)


def require_located(crs: Any, *, where: str) -> CRS:
    """A CRS whose coordinates can be located on the Earth.

    Parameters
    ----------
    crs : odc.geo CRS
    where : str
        Name in error messages.

    Returns
    -------
    CRS

    Raises
    ------
    GridError
        For a CRS that is neither geographic nor projected: a local (engineering), geocentric or vertical one.

    Examples
    --------
    >>> require_located(CRS("EPSG:32645"), where="dem.tif").epsg
    32645
    """
    if not (crs.proj.is_geographic or crs.proj.is_projected):
        kind = "local" if crs.proj.is_engineering else str(crs.proj.type_name)
        raise GridError(
            f"{where}: the CRS '{crs.proj.name}' ({kind}) has no location on the Earth, expected a geographic "
            "or projected one; pass the right one, such as crs='EPSG:32645'"
        )
    located: CRS = crs
    return located


def grid_from_bounds(crs: Any, bounds: tuple[float, float, float, float], resolution: float) -> GeoBox:
    """A north-up grid of square cells over bounds.

    Parameters
    ----------
    crs : str or CRS
        Such as "EPSG:3035".
    bounds : (left, bottom, right, top)
        In the unit of the CRS.
    resolution : float
        Cell size in the unit of the CRS; > 0.

    Returns
    -------
    GeoBox
        From the upper left corner; extended to the east and south by less than a cell where the size does not divide
        the bounds.

    Raises
    ------
    InputError
        For an unknown CRS, empty bounds, or a resolution that is not positive.

    Examples
    --------
    >>> grid_from_bounds("EPSG:4326", (73, 25, 105, 41), 0.5).shape
    Shape2d(x=64, y=32)
    """
    left, bottom, right, top = (float(value) for value in bounds)
    size = float(resolution)
    if not np.isfinite([left, bottom, right, top]).all() or right <= left or top <= bottom:
        raise InputError(f"grid: bounds {tuple(bounds)}, expected left < right and bottom < top")
    if not np.isfinite(size) or size <= 0 or size > max(right - left, top - bottom):
        raise InputError(
            f"grid: resolution is {resolution!r}, expected between 0 and the bounds' size, in the CRS' unit"
        )
    located = require_located(read_crs(crs, where="grid"), where="grid")
    shape = (int(np.ceil((top - bottom) / size - 1e-9)), int(np.ceil((right - left) / size - 1e-9)))
    return GeoBox(shape, Affine(size, 0, left, 0, -size, top), located)


def read_crs(crs: Any, *, where: str) -> CRS:
    """A CRS from its code or text.

    Raises
    ------
    InputError

    Examples
    --------
    >>> read_crs("EPSG:3035", where="grid").epsg
    3035
    """
    try:
        return CRS(crs)
    except Exception as error:  # pyproj and odc-geo raise several unrelated classes
        raise InputError(f"{where}: crs={crs!r} is not a CRS; expected such as 'EPSG:3035' or a PROJ string") from error


def grid_of(layer: xr.DataArray | xr.Dataset, *, where: str = "grid") -> GeoBox:
    """The grid of a labelled raster, read from its coordinates and CRS.

    Parameters
    ----------
    layer : DataArray or Dataset (y, x)
        With a CRS in `spatial_ref`.
    where : str
        Name in error messages.

    Returns
    -------
    GeoBox

    Raises
    ------
    GridError
        Without a CRS, or without evenly spaced coordinates.

    Notes
    -----
    odc-geo assumes EPSG:4326 for coordinates called latitude/longitude without a CRS; here a CRS is required.

    Examples
    --------
    >>> grid = plateau_grid(100_000)
    >>> layer = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates(grid), name="slope")
    >>> same_grid(grid_of(layer), grid)
    True
    """
    box = layer.odc.geobox
    if box is None or box.crs is None or (layer.odc.crs is None):
        raise GridError(
            f"{where}: the raster has no CRS or no evenly spaced coordinates; "
            "write one with rioxarray's .rio.write_crs('EPSG:...') or gdal_edit -a_srs"
        )
    if not isinstance(box, GeoBox):
        raise GridError(
            f"{where}: the raster is georeferenced by control points, expected an affine grid; warp it first"
        )
    return box


def same_grid(first: GeoBox, second: GeoBox) -> bool:
    """Whether two grids are equal, within a thousandth of a cell.

    Parameters
    ----------
    first, second : GeoBox

    Returns
    -------
    bool
        False where CRS or shape differ or any corner is more than `SNAP` cells off.

    Examples
    --------
    >>> same_grid(plateau_grid(5000), plateau_grid(1000))
    False
    """
    if first.shape != second.shape or first.crs != second.crs:
        return False
    cell_transform = ~first.transform * second.transform
    rows, columns = first.shape
    corners = [(0, 0), (columns, 0), (0, rows), (columns, rows)]
    return all(np.hypot(x - u, y - v) <= SNAP for (u, v) in corners for (x, y) in [cell_transform * (u, v)])


def require_same_grid(*layers: xr.DataArray | xr.Dataset, where: str) -> GeoBox:
    """The one grid of several layers.

    Parameters
    ----------
    *layers : DataArray or Dataset (y, x)
    where : str
        Name in error messages.

    Returns
    -------
    GeoBox

    Raises
    ------
    GridError
        Where two of them differ in CRS, shape, origin or cell size.

    Examples
    --------
    >>> grid = plateau_grid(100_000)
    >>> layer = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates(grid), name="slope")
    >>> same_grid(require_same_grid(layer, layer, where="thickness"), grid)
    True
    """
    boxes = [grid_of(layer, where=where) for layer in layers]
    for layer, box in zip(layers[1:], boxes[1:]):
        if not same_grid(boxes[0], box):
            raise GridError(
                f"{where}: '{_name(layers[0])}' is on {describe(boxes[0])}, '{_name(layer)}' on {describe(box)}; "
                "bring both onto one grid with tpsoil.add_layer"
            )
    return boxes[0]


def coordinates(box: GeoBox) -> dict[Hashable, xr.DataArray]:
    """Cell-centre coordinates `y`, `x` and the CF grid mapping `spatial_ref` of a grid.

    Examples
    --------
    >>> coordinates(plateau_grid(900_000))["y"].values.tolist()
    [450000.0, -450000.0]
    """
    mapping, transform, (rows, columns) = _grid_mapping(str(box.crs), box), box.transform, box.shape
    if box.crs.geographic:
        names = {"y": ("latitude", "degrees_north"), "x": ("longitude", "degrees_east")}
    else:
        names = {axis: (f"projection_{axis}_coordinate", _length_unit(box)) for axis in "yx"}
    coords: dict[Hashable, xr.DataArray] = {}
    for axis, size, first, step in (("y", rows, transform.f, transform.e), ("x", columns, transform.c, transform.a)):
        standard_name, unit = names[axis]
        attrs = {"standard_name": standard_name, "units": unit, "axis": axis.upper()}
        coords[axis] = xr.DataArray(first + (np.arange(size) + 0.5) * step, dims=(axis,), attrs=attrs)
    coords["spatial_ref"] = xr.DataArray(mapping.values, attrs=dict(mapping.attrs))
    return coords


def _length_unit(box: GeoBox) -> str:
    """Unit of the coordinates of a projected grid, as UDUNITS spells it."""
    name = next((unit for unit in box.crs.units if unit), "metre")
    return "m" if name in {"metre", "meter", "m"} else name.replace(" ", "_")


@lru_cache(maxsize=32)
def _grid_mapping(_crs: str, box: GeoBox) -> xr.DataArray:
    """The variable `spatial_ref`; by the text of the CRS too, as two texts may be of one CRS."""
    mapping: xr.DataArray = xr_coords(box, crs_coord_name="spatial_ref")["spatial_ref"]
    return mapping


def cell_sizes_m(box: GeoBox) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Metric spacing of the cells of each row.

    Parameters
    ----------
    box : GeoBox
        North up, in metres or in degrees.

    Returns
    -------
    dx, dy : ndarray (ny,), float64, m
        Along the row and along the column. For a geographic grid the WGS84 geodesic length of a cell at its centre.

    Raises
    ------
    GridError
        For a rotated grid, or a projected one whose unit is not the metre.

    Examples
    --------
    >>> dx, dy = cell_sizes_m(plateau_grid(5000))
    >>> float(dx[0]), float(dy[0])
    (5000.0, 5000.0)
    """
    if is_rotated(box):
        raise GridError(f"the grid {describe(box)} is rotated, expected a north-up grid; warp it first")
    transform, rows = box.transform, box.shape[0]
    if not box.crs.geographic:
        if _length_unit(box) != "m":
            raise GridError(f"the grid {describe(box)} is in {box.crs.units[0]}, expected metres; reproject it")
        return np.full(rows, abs(transform.a)), np.full(rows, abs(transform.e))
    geod = Geod(ellps="WGS84")
    latitude = transform.f + (np.arange(rows) + 0.5) * transform.e
    half = 0.5 * abs(transform.e)
    zero = np.zeros(rows)
    _, _, dx = geod.inv(zero, latitude, zero + abs(transform.a), latitude)
    _, _, dy = geod.inv(zero, np.clip(latitude - half, -90, 90), zero, np.clip(latitude + half, -90, 90))
    return np.asarray(dx), np.asarray(dy)


def is_rotated(box: GeoBox) -> bool:
    """Whether the rows of a grid are not along its x axis, or its columns not along y.

    Examples
    --------
    >>> is_rotated(plateau_grid(100_000)), is_rotated(plateau_grid(100_000).rotate(10))
    (False, True)
    """
    t = box.transform
    return bool(abs(t.b) > 1e-12 * abs(t.a) or abs(t.d) > 1e-12 * abs(t.e))


def geographic_bounds(box: GeoBox) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid's cells, degrees on WGS84.

    Examples
    --------
    >>> [round(value, 1) for value in geographic_bounds(plateau_grid(5000))]
    [73.2, 23.9, 106.2, 41.1]
    """
    left, bottom, right, top = box.boundingbox
    if box.crs.geographic:
        return float(left), float(bottom), float(right), float(top)
    bounds = Transformer.from_crs(box.crs.proj, "EPSG:4326", always_xy=True).transform_bounds(left, bottom, right, top)
    west, south, east, north = (float(value) for value in bounds)
    return west, south, east if east >= west else east + 360.0, north


def describe(box: GeoBox) -> str:
    """One line for messages: shape, cell size, CRS, origin.

    Examples
    --------
    >>> describe(plateau_grid(5000))
    '360 x 560 cells of 5000 x 5000 m at (-1340000, 900000), Albers Equal Area'
    """
    code = box.crs.to_epsg() if box.crs is not None else None
    name = f"EPSG:{code}" if code else (str(box.crs.proj.name) if box.crs is not None else "no CRS")
    if name == "unknown":
        name = str(box.crs.proj.coordinate_operation.method_name)
    unit = "m" if box.crs is None else "deg" if box.crs.geographic else _length_unit(box)
    t = box.transform
    return f"{box.shape[0]} x {box.shape[1]} cells of {t.a:.6g} x {-t.e:.6g} {unit} at ({t.c:.8g}, {t.f:.8g}), {name}"


def _name(layer: xr.DataArray | xr.Dataset) -> Any:
    return layer.name if isinstance(layer, xr.DataArray) else "/".join(map(str, list(layer.data_vars)[:3]))
