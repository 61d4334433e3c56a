"""Polygons with names for statistics by area: from a vector file, a GeoDataFrame or geometries, on a grid's CRS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geobox import GeoBox

from tpsoil.errors import GridError, InputError, nearest_name
from tpsoil.grid import describe, is_rotated

from .vectors import names_in, polygons_of, projected, read_features


@dataclass(frozen=True, eq=False)
class NamedPolygon:
    """One area on a grid.

    Parameters
    ----------
    name : str
    geometry : shapely Polygon or MultiPolygon
        In the grid's CRS.
    edges : ndarray (n, 4), float64
        Segments in cells of the grid (column, row), oriented as `kernels.polygons.coverage` needs.
    inside : float
        Share of its area within the grid's extent, 0 to 1.
    """

    name: str
    geometry: Any
    edges: npt.NDArray[np.float64]
    inside: float

    def window(self, grid: GeoBox) -> tuple[slice, slice]:
        """Rows and columns of the grid that its bounding box meets; empty slices outside the grid."""
        xs, ys = self.edges[:, (0, 2)], self.edges[:, (1, 3)]
        slices = []
        for low, high, size in ((ys.min(), ys.max(), grid.shape[0]), (xs.min(), xs.max(), grid.shape[1])):
            first, last = max(0, int(np.floor(low))), min(int(size), int(np.ceil(high)))
            slices.append(slice(first, max(first, last)))
        return slices[0], slices[1]


def read_polygons(
    source: Any, grid: GeoBox, *, by: str | None = None, crs: Any = None, where: str = "polygons"
) -> tuple[list[NamedPolygon], list[str]]:
    """Areas with names, in the cells of a grid.

    Parameters
    ----------
    source : path, GeoDataFrame, mapping of name to geometry, shapely geometry, or a sequence of them
        Of a file with several layers `basins.gpkg|layername=NAME`. Geometries are in the CRS of the grid unless `crs`
        is set.
    grid : GeoBox
        North up.
    by : str, optional
        Attribute with the names. Polygons of one name are one area, and overlaps between them count once. By default
        the number of each polygon, from 1.
    crs : str, optional
        Of geometries, and of files without one.
    where : str
        Begins the messages.

    Returns
    -------
    polygons : list of NamedPolygon
        In the order of the source; those outside the grid too.
    problems : list of str
        What was left out: features without an area, or without a name.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    InputError
        For an attribute that is not there, and for a source without polygons.
    GridError
        For a file without a CRS, a rotated grid, and where no polygon touches the grid.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> areas, _ = read_polygons({"west": shapely.box(-2e5, -2e5, 0, 3e5)}, plateau_grid(100_000))
    >>> areas[0].name, areas[0].inside
    ('west', 1.0)
    """
    if is_rotated(grid) or grid.transform.a < 0 or grid.transform.e > 0:
        raise GridError(f"{where}: the grid {describe(grid)} is not north up; warp it first")
    frame, label = _frame_of(source, grid, crs, where)
    problems: list[str] = []
    frame = _named(polygons_of(frame, label, crs, where, problems), by, label, where, problems)
    if frame.crs != grid.crs.to_wkt():
        frame = frame.set_geometry(projected(frame, grid))
    extent = shapely.box(*grid.boundingbox)
    polygons = []
    for name, part in frame.groupby("tpsoil_name", sort=False):
        shape = _area_of(part.geometry.to_numpy())
        if shape is None:
            problems.append(f"'{name}' of {label} has no area and was left out")
            continue
        inside = float(shapely.area(shapely.intersection(shape, extent)) / shapely.area(shape))
        polygons.append(NamedPolygon(str(name), shape, _edges(shape, grid), min(1.0, inside)))
    if not any(polygon.inside > 0 for polygon in polygons):
        raise GridError(
            f"{where}: none of the {len(polygons)} polygons of {label} touches the grid {describe(grid)}; are they of "
            "another region, or is crs= wrong?"
        )
    return polygons, problems


def _frame_of(source: Any, grid: GeoBox, crs: Any, where: str) -> tuple[Any, str]:
    """A GeoDataFrame, and a name of the source for messages."""
    import geopandas

    if isinstance(source, (str, os.PathLike)):
        frame, label = read_features(source, where=where), Path(os.fspath(source)).name
    elif hasattr(source, "to_crs") and hasattr(source, "columns"):
        frame, label = source, "the GeoDataFrame"
    else:
        named = source if isinstance(source, Mapping) else None
        shapes = list(source.values()) if named is not None else [source] if _is_shape(source) else list(source)
        if not shapes or not all(map(_is_shape, shapes)):
            raise InputError(
                f"{where}: polygons are {type(source).__name__}, expected a vector file, a GeoDataFrame or shapely "
                "geometries"
            )
        columns = {"tpsoil_name": [str(name) for name in named]} if named is not None else {}
        return geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs or grid.crs.to_wkt()), "the geometries"
    if not hasattr(frame, "geometry") or frame.shape[0] == 0:
        raise InputError(f"{where}: {label} has no features; expected polygons")
    return frame, label


def _is_shape(value: Any) -> bool:
    return isinstance(value, shapely.Geometry)


def _named(frame: Any, by: str | None, label: str, where: str, problems: list[str]) -> Any:
    """The features with a column `tpsoil_name`."""
    if by is None:
        if "tpsoil_name" in frame:
            return frame
        return frame.assign(tpsoil_name=[str(number) for number in range(1, len(frame) + 1)])
    if by not in frame or by == frame.geometry.name:
        columns = [str(name) for name in frame if name != frame.geometry.name]
        known = nearest_name(by, columns) or "; it has no attributes, leave `by` out for numbers"
        raise InputError(f"{where}: {label} has no attribute '{by}'{known}")
    values = names_in(frame[by])
    if not (values != "").any():
        raise InputError(f"{where}: attribute '{by}' of {label} is empty in all {len(frame)} polygons")
    if empty := int((values == "").sum()):
        problems.append(f"{empty} of {len(frame)} polygons of {label} have no '{by}' and were left out")
    return frame.assign(tpsoil_name=values)[values != ""]


def _area_of(shapes: npt.NDArray[Any]) -> Any:
    """The union of the polygons of one name; None where it has no area."""
    valid = shapely.make_valid(shapes)
    union = valid[0] if len(valid) == 1 else shapely.union_all(valid)
    parts = shapely.get_parts(shapely.get_parts(union))  # of a collection that has multi-polygons too
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    parts = parts[shapely.area(parts) > 0]
    return None if not len(parts) else shapely.MultiPolygon(list(parts))


def _edges(shape: Any, grid: GeoBox) -> npt.NDArray[np.float64]:
    """Segments in cells, with the orientation that the kernel needs."""
    t = grid.transform
    segments = []
    for polygon in shapely.get_parts(shape):
        for number, ring in enumerate(shapely.get_rings(polygon)):
            points = shapely.get_coordinates(ring)
            cells = np.column_stack([(points[:, 0] - t.c) / t.a, (points[:, 1] - t.f) / t.e])
            x, y = (cells - cells[0]).T
            doubled = float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
            if (doubled > 0) == (number == 0):
                cells = cells[::-1]
            segments.append(np.hstack([cells[:-1], cells[1:]]))
    return np.ascontiguousarray(np.vstack(segments))
