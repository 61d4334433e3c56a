"""Geography in a map's projection: lines and rings clipped to the map's area, projected, and labelled positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer

from .store import City, cities, geography

Floats = npt.NDArray[np.float64]
Bounds = tuple[float, float, float, float]

WGS84: Final = CRS.from_epsg(4326)
LONGEST_STEP_DEG: Final = 0.5
"""Longest stretch of a line between two projected points, so that it follows the projection."""
STEPS_DEG: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
FINE_BELOW_DEG: Final = 60.0
"""Maps wider than this use the 1 : 110 million scale."""


@lru_cache(maxsize=8)
def _transformer(source: CRS, target: CRS) -> Transformer:
    """Cached: creating one for EPSG:3035 takes 25 ms, and a map projects hundreds of lines."""
    return Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True)
class Plane:
    """A map's plane.

    Parameters
    ----------
    crs : pyproj.CRS
    bounds : left, bottom, right, top
        In the CRS's unit.
    """

    crs: CRS
    bounds: Bounds

    def to_map(self, lonlat: Floats) -> Floats:
        """Positions (n, 2) of longitudes and latitudes, in the CRS's unit; infinite where there is none."""
        x, y = _transformer(WGS84, self.crs).transform(lonlat[:, 0], lonlat[:, 1], errcheck=False)
        return np.column_stack([x, y])

    def area_deg(self) -> Bounds:
        """West, south, east, north of the map.

        A projected map across the date line or a pole gets the full circle of longitudes; a geographic one retains its
        own longitudes, which may exceed 180.
        """
        left, bottom, right, top = self.bounds
        back = _transformer(self.crs, WGS84)
        lon, lat = (np.asarray(v) for v in back.transform(*edges_of(self.bounds, 41).T, errcheck=False))
        finite = np.isfinite(lon) & np.isfinite(lat)
        if not finite.any():
            return -180.0, -90.0, 180.0, 90.0
        west, south, east, north = lon[finite].min(), lat[finite].min(), lon[finite].max(), lat[finite].max()
        for pole, latitude in ((np.array([[0.0, 90.0]]), 90.0), (np.array([[0.0, -90.0]]), -90.0)):
            at = self.to_map(pole)[0]
            if left <= at[0] <= right and bottom <= at[1] <= top and not self.crs.is_geographic:
                west, east = -180.0, 180.0
                south, north = (min(south, latitude), max(north, latitude))
        if east - west > 180 and not self.crs.is_geographic:
            west, east = -180.0, 180.0
        return float(west), max(float(south), -90.0), float(east), min(float(north), 90.0)


def edges_of(bounds: Bounds, count: int) -> Floats:
    """The edges of a box as one closed line (4 count, 2), counterclockwise from its lower left corner."""
    left, bottom, right, top = bounds
    along, up = np.linspace(left, right, count), np.linspace(bottom, top, count)
    x = [along, np.full(count, right), along[::-1], np.full(count, left)]
    y = [np.full(count, bottom), up, np.full(count, top), up[::-1]]
    return np.column_stack([np.concatenate(x), np.concatenate(y)])


@dataclass(frozen=True)
class Context:
    """Geography of one map, in the CRS's unit.

    Parameters
    ----------
    land, lakes : tuple of ndarray (n, 2)
        Closed rings, clipped to the map.
    coast, borders, rivers : tuple of ndarray (n, 2)
        Lines.
    cities : tuple of (City, x, y)
        Inside the map, in order of importance.
    """

    land: tuple[Floats, ...]
    lakes: tuple[Floats, ...]
    coast: tuple[Floats, ...]
    borders: tuple[Floats, ...]
    rivers: tuple[Floats, ...]
    cities: tuple[tuple[City, float, float], ...]


@lru_cache(maxsize=16)
def context_of(plane: Plane) -> Context:
    """Coast, borders, lakes, rivers and cities inside a map.

    Parameters
    ----------
    plane : Plane

    Returns
    -------
    Context

    Notes
    -----
    Rings are clipped in degrees before they are projected, so that no ring is split at the edge of a projection.
    """
    area = plane.area_deg()
    width = max(area[2] - area[0], area[3] - area[1])
    world = geography("50m" if width <= FINE_BELOW_DEG else "110m")
    margin = 0.02 * width + 0.1
    wide = (area[0] - margin, max(area[1] - margin, -89.9), area[2] + margin, min(area[3] + margin, 89.9))
    places = [(city, *plane.to_map(np.array([[city.longitude, city.latitude]]))[0]) for city in cities()
              if wide[0] <= city.longitude <= wide[2] and wide[1] <= city.latitude <= wide[3]]  # fmt: skip
    left, bottom, right, top = plane.bounds
    inside = [(c, float(x), float(y)) for c, x, y in places if left < x < right and bottom < y < top]
    return Context(
        land=tuple(_rings(world.land, wide, plane)),
        lakes=tuple(_rings(world.lakes, wide, plane)),
        coast=tuple(_lines(world.land, wide, plane)),
        borders=tuple(_lines(world.borders, wide, plane)),
        rivers=tuple(_lines(world.rivers, wide, plane)),
        cities=tuple(inside),
    )


@dataclass(frozen=True)
class Graticule:
    """Meridians and parallels of a map, in the CRS's unit.

    Parameters
    ----------
    lines : tuple of ndarray (n, 2)
    bottom, left : tuple of (position, text)
        Labels where a meridian crosses the lower edge and a parallel the left one.
    """

    lines: tuple[Floats, ...]
    bottom: tuple[tuple[float, str], ...]
    left: tuple[tuple[float, str], ...]


def graticule_of(plane: Plane, count: int = 6) -> Graticule:
    """A graticule of about `count` meridians, at round steps in degrees.

        Parameters
        ----------
        plane : Plane
    count : int
            Maximum number of meridians or parallels.

        Returns
        -------
        Graticule
    """
    west, south, east, north = plane.area_deg()
    lon_step, lat_step = _step(east - west, count), _step(north - south, count)
    lines: list[Floats] = []
    below: list[tuple[float, str]] = []
    beside: list[tuple[float, str]] = []
    left, bottom, *_ = plane.bounds
    for longitude in _multiples(west, min(east, west + 360 - lon_step / 2), lon_step):
        latitudes = np.linspace(max(south - 1, -89.9), min(north + 1, 89.9), 181)
        line = plane.to_map(np.column_stack([np.full(181, longitude), latitudes]))
        lines += _pieces(line)
        below += [(at, degrees_text(longitude, "EW", lon_step)) for at in _crossings(line[:, ::-1], bottom)]
    for latitude in _multiples(south, north, lat_step):
        longitudes = np.linspace(west - 1, east + 1, 361)
        line = plane.to_map(np.column_stack([longitudes, np.full(361, latitude)]))
        lines += _pieces(line)
        beside += [(at, degrees_text(latitude, "NS", lat_step)) for at in _crossings(line, left)]
    _, _, right, top = plane.bounds
    return Graticule(
        tuple(lines),
        tuple((at, text) for at, text in below if left <= at <= right),
        tuple((at, text) for at, text in beside if bottom <= at <= top),
    )


def degrees_text(value: float, sides: str, step: float) -> str:
    """A meridian's or parallel's label.

    Examples
    --------
    >>> degrees_text(-90.0, "EW", 5.0), degrees_text(0.0, "NS", 5.0), degrees_text(35.5, "NS", 0.5)
    ('90°W', '0°', '35.5°N')
    """
    digits = 0 if step >= 1 else 1
    if sides == "EW":
        value = (value + 180) % 360 - 180
    side = "" if value == 0 or (sides == "EW" and abs(value) == 180) else sides[0] if value > 0 else sides[1]
    return f"{abs(value):.{digits}f}°{side}"


def _step(extent: float, count: int) -> float:
    return next((step for step in STEPS_DEG if extent / step <= count), STEPS_DEG[-1])


def _multiples(low: float, high: float, step: float) -> list[float]:
    values = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [round(float(value), 6) for value in values]


def _crossings(line: Floats, at: float) -> list[float]:
    """Second coordinates where a line's first one passes `at`."""
    first, second = line.T
    finite = np.isfinite(first) & np.isfinite(second)
    pairs = finite[:-1] & finite[1:] & ((first[:-1] - at) * (first[1:] - at) <= 0) & (first[:-1] != first[1:])
    share = (at - first[:-1][pairs]) / (first[1:][pairs] - first[:-1][pairs])
    values = np.unique(second[:-1][pairs] + share * (second[1:][pairs] - second[:-1][pairs]))
    apart = np.diff(values, prepend=-np.inf) > 1e-4 * max(1e-9, float(np.ptp(second[finite])))
    return [float(value) for value in values[apart]]


def _near(parts: Iterable[Floats], area: Bounds) -> list[Floats]:
    west, south, east, north = area
    result = []
    for turn in (-360.0, 0.0, 360.0):
        result += [p + [turn, 0.0] for p in parts if p[:, 0].max() >= west - turn and p[:, 0].min() <= east - turn
                   and p[:, 1].max() >= south and p[:, 1].min() <= north]  # fmt: skip
    return result


def _lines(parts: Sequence[Floats], area: Bounds, plane: Plane) -> list[Floats]:
    result: list[Floats] = []
    for part in _near(parts, area):
        clipped = shapely.clip_by_rect(shapely.LineString(part), *area)
        for piece in _simple(clipped, "LineString"):
            result += _pieces(plane.to_map(_dense(shapely.get_coordinates(piece))))
    return result


def _rings(parts: Sequence[Floats], area: Bounds, plane: Plane) -> list[Floats]:
    result: list[Floats] = []
    box = shapely.box(*area)
    for part in _near(parts, area):
        if len(part) < 4:
            continue
        shape = shapely.intersection(shapely.make_valid(shapely.Polygon(part)), box)
        for polygon in _simple(shape, "Polygon"):
            ring = plane.to_map(_dense(shapely.get_coordinates(polygon.exterior)))
            ring = ring[np.isfinite(ring).all(axis=1)]
            if len(ring) > 3:
                result.append(ring)
    return result


def _simple(shape: Any, kind: str) -> list[Any]:
    return [part for part in shapely.get_parts(shape) if part.geom_type == kind and not part.is_empty]


def _dense(part: Floats) -> Floats:
    return np.asarray(shapely.get_coordinates(shapely.segmentize(shapely.LineString(part), LONGEST_STEP_DEG)))


def _pieces(line: Floats) -> list[Floats]:
    """A line cut where it has no position."""
    finite = np.isfinite(line).all(axis=1)
    cuts = np.flatnonzero(np.diff(finite.astype(int))) + 1
    return [piece for piece in np.split(line, cuts) if len(piece) > 1 and np.isfinite(piece).all()]
