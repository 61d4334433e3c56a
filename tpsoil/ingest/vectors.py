"""Boundary, glaciers and lakes: vector files to the soil mask of a grid."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.errors import GridError, InputError, nearest_name
from tpsoil.grid import coordinates, describe, is_rotated
from tpsoil.kernels.polygons import inside
from tpsoil.labels import described
from tpsoil.option_names import pass_option
from tpsoil.stage import SourceBytes
from tpsoil.tiles import from_tiles
from tpsoil.variables import variable

from .dependencies import dependencies_of
from .files import require_file
from .parts import digest_files

Array = npt.NDArray[Any]

SUFFIXES: Final = (".shp", ".geojson", ".json", ".gpkg", ".fgb", ".gml", ".kml", ".parquet", ".tab", ".mif")
LAYER: Final = "|layername="
"""Between a file of several layers and the name of one, as in `plateau.gpkg|layername=lakes`."""
LONGEST_EDGE_DEG: Final = 0.05
"""Edges longer than this are cut before they are projected: a parallel is no straight line on the map."""


POLYGON_COPIES: Final = 8
"""Peak while polygons are opened, times their edges of four float64: read, cut, projected, made valid, united (measured
by `tests/test_runs_memory.py`)."""


def is_vector(source: Any) -> bool:
    """Whether a source is a vector file, a GeoDataFrame, or a list of them.

    Examples
    --------
    >>> is_vector("lakes.geojson"), is_vector("elevation.tif")
    (True, False)
    """
    if isinstance(source, (str, os.PathLike)):
        return _path_of(source)[0].lower().endswith(SUFFIXES)
    if isinstance(source, (list, tuple)):
        return bool(source) and all(is_vector(one) for one in source)
    return hasattr(source, "geometry") and hasattr(source, "to_crs")


@dataclass(frozen=True, eq=False)
class PolygonCells:
    """Codes of cells by their centre, read by window; of polygons that overlap the last one decides.

    Parameters
    ----------
    grid : GeoBox
        North up.
    background : int
        Code outside all polygons.
    areas : tuple of (int, ndarray (n, 4))
        Code and edges of the polygons of each class, in the CRS of the grid.
    """

    grid: GeoBox
    background: int
    areas: tuple[tuple[int, Array], ...]

    def __call__(self, rows: slice, cols: slice) -> Array:
        """uint8 codes of a window of the grid; equal for any window."""
        t = self.grid.transform
        y = t.f + (np.arange(rows.start, rows.stop) + 0.5) * t.e
        x = t.c + (np.arange(cols.start, cols.stop) + 0.5) * t.a
        codes = np.full((len(y), len(x)), self.background, np.uint8)
        low, high = min(y[0], y[-1]), max(y[0], y[-1])
        for code, edges in self.areas:
            near = (np.minimum(edges[:, 1], edges[:, 3]) <= high) & (np.maximum(edges[:, 1], edges[:, 3]) >= low)
            codes[inside(y, x, edges[near]) == 1] = code
        return codes


def read_mask(source: Any, grid: GeoBox, *, outside: Any = None, crs: Any = None, chunks: int = 512) -> xr.DataArray:
    """The soil mask of a grid: 1 inside the boundary and outside glaciers and lakes.

    Parameters
    ----------
    source : path, GeoDataFrame, list of them, or None
        Polygons of the area inside; None for the complete grid. Of a file with several layers
        `plateau.gpkg|layername=NAME`.
    grid : GeoBox
        North up.
    outside : path, GeoDataFrame or list of them, optional
        Polygons of what is no soil.
    crs : str, optional
        Of files without one, such as a shapefile without its .prj; rejected where all have one.
    chunks : int

    Returns
    -------
    DataArray (y, x), uint8, lazy
        By each cell's centre.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    GridError
        For a file without a CRS, polygons that do not touch the grid, or a rotated grid.
    InputError
        For a file without polygons, one that ends too early, or one of several layers of which none is named.

    Warns
    -----
    UserWarning
        With counts, for features that are no polygons, and for polygons outside that do not touch the grid.

    Examples
    --------
    >>> import geopandas
    >>> from tpsoil.grid import plateau_grid
    >>> area = geopandas.GeoDataFrame(geometry=[shapely.box(-2e5, -2e5, 2e5, 3e5)], crs=plateau_grid().crs.to_wkt())
    >>> int(read_mask(area, plateau_grid(100_000)).sum())
    20
    """
    read, attrs = mask_reader(source, grid, outside=outside, crs=crs)
    spec = variable("soil_mask")
    data = from_tiles(read, (grid.shape[0], grid.shape[1]), chunks, spec.dtype)
    return described(xr.DataArray(data, dims=("y", "x"), coords=coordinates(grid)), spec, attrs)


def mask_reader(
    source: Any, grid: GeoBox, *, outside: Any = None, crs: Any = None
) -> tuple[Callable[[slice, slice], Array], dict[str, Any]]:
    """The soil mask by window: what `read_mask` has for its chunks, without a graph.

    Parameters
    ----------
    source, grid, outside, crs
        As in `read_mask`.

    Returns
    -------
    read : callable
        `read(rows, columns)` gives the block of the grid.
    attrs : dict
        Of the layer.

    Raises
    ------
    MissingInputError, GridError, InputError
        As `read_mask`.
    """
    require_north_up(grid, "soil_mask")
    skipped: list[str] = []
    sides = {"inside": _opened(source), "outside": _opened(outside)}
    require_effect(crs, [frame for named in sides.values() for _, frame in named], "soil_mask")
    areas, parts = [], []
    for side, named in sides.items():
        if not named:
            continue
        names = ", ".join(name for name, _ in named)
        edges = edges_of([polygons_of(frame, name, crs, "soil_mask", skipped) for name, frame in named], grid)
        if not touches_grid(edges, grid):
            if side == "inside":
                raise GridError(
                    f"soil_mask: the polygons of {names} do not touch the grid {describe(grid)}; "
                    "are they of another region, or is crs= wrong?"
                )
            skipped.append(f"none of the polygons of {names} touches the grid")
        areas.append((int(side == "inside"), edges))
        parts.append(f"{side} {names}")
    for text in skipped:
        warnings.warn(f"soil_mask: {text}", stacklevel=3)
    attrs = {
        **variable("soil_mask").attributes(),
        "source": "; ".join(parts),
        **origin_of(_listed(source) + _listed(outside), skipped),
    }
    if crs is not None:
        attrs["source_crs"] = f"{crs} (declared, for files without one)"
    return PolygonCells(grid, int(not sides["inside"]), tuple(areas)), attrs


def polygon_bytes(read: Callable[[slice, slice], Array]) -> SourceBytes:
    """Peak of memory that a reader of polygons takes in each process: while they are opened, copies of all points."""
    areas = read.areas if isinstance(read, PolygonCells) else ()
    return SourceBytes(0, POLYGON_COPIES * sum(edges.nbytes for _, edges in areas))


def require_north_up(grid: GeoBox, where: str) -> None:
    """Reject a rotated or mirrored grid.

    Raises
    ------
    GridError
    """
    if is_rotated(grid) or grid.transform.a < 0:
        raise GridError(f"{where}: the grid {describe(grid)} is rotated, expected north up")


def require_effect(crs: Any, frames: Sequence[Any], where: str) -> None:
    """A declared CRS has an effect only on polygons without one.

    Raises
    ------
    InputError
    """
    if crs is not None and frames and all(frame.crs is not None for frame in frames):
        raise InputError(f"{where}: crs='{crs}' has no effect, because the polygons have their own CRS; leave crs out")


def edges_of(frames: Sequence[Any], grid: GeoBox) -> Array:
    """Segments of the union of all polygons of `polygons_of`, in the grid's CRS."""
    shapes = [shape for frame in frames for shape in projected(frame, grid)]
    parts = shapely.get_parts(shapely.union_all(shapely.make_valid(np.array(shapes, dtype=object))))
    # Making a polygon valid can leave lines and points beside it.
    rings = shapely.get_rings(parts[shapely.get_dimensions(parts) == 2])
    points, ring = shapely.get_coordinates(rings, return_index=True)
    return np.ascontiguousarray(np.hstack([points[:-1], points[1:]])[ring[:-1] == ring[1:]])


def origin_of(items: Sequence[Any], skipped: Sequence[str]) -> dict[str, Any]:
    """Attributes on the origin of a layer from polygons: digest of its files, resampling, what was left out."""
    files = dependencies_of(_path_of(item)[0] for item in items if isinstance(item, (str, os.PathLike))).files
    problem = {"source_problem": "; ".join(skipped)} if skipped else {}
    return {"source_digest": digest_files(files) if files else "", "resampling": "cell centre in polygon", **problem}


def _listed(source: Any) -> list[Any]:
    if source is None:
        return []
    return list(source) if isinstance(source, (list, tuple)) else [source]


def _opened(source: Any) -> list[tuple[str, Any]]:
    """Name and features of each source of a list."""
    return [
        (Path(_path_of(item)[0]).name, read_features(item)) if isinstance(item, (str, os.PathLike))
        else ("polygons", item)
        for item in _listed(source)
    ]  # fmt: skip


def polygons_of(frame: Any, name: str, crs: Any, where: str, skipped: list[str]) -> Any:
    """The polygons of a GeoDataFrame, with a CRS; `skipped` is extended by a line for other features.

    Raises
    ------
    InputError
        Without polygons.
    GridError
        Without a CRS, where none is declared.
    """
    if frame.crs is None:
        if crs is None:
            raise GridError(
                f"{where}: {name} has no CRS (a shapefile without its .prj?); {pass_option('crs', 'EPSG:4326')} or "
                "what it is in"
            )
        frame = frame.set_crs(crs)
    features = len(frame)
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty]
    frame = frame[frame.geometry.geom_type.isin(["Polygon", "MultiPolygon", "GeometryCollection"])]
    if not len(frame):
        raise InputError(f"{where}: {name} has no polygons among its {features} features; expected areas")
    if len(frame) < features:
        skipped.append(f"{features - len(frame)} of {features} features of {name} are no polygons and were left out")
    return frame


def projected(frame: Any, grid: GeoBox) -> Any:
    """Geometries in the grid's CRS, with short edges."""
    longest = LONGEST_EDGE_DEG if frame.crs.is_geographic else LONGEST_EDGE_DEG * 111_000
    return frame.geometry.segmentize(longest).to_crs(grid.crs.to_wkt())


def names_in(column: Any) -> Any:
    """A column of names or numbers as text, empty where missing."""
    return column.map(lambda value: "" if value is None or value != value else str(value).removesuffix(".0"))


def read_features(item: str | os.PathLike[str], *, where: str = "soil_mask") -> Any:
    """All features of one layer of a vector file; `where` begins the messages."""
    import geopandas

    text, layer = _path_of(item)
    path = require_file(text, where=where, content="a vector file")
    if path.suffix.lower() == ".shp":
        _require_complete_shapefile(path, where)
    try:
        if path.suffix.lower() == ".parquet":
            return geopandas.read_parquet(path)
        names = [str(name) for name in geopandas.list_layers(path)["name"]]
        if layer is None and len(names) == 1:
            return geopandas.read_file(path)
        if layer in names:
            return geopandas.read_file(path, layer=layer)
    except Exception as error:  # pyogrio, pyarrow and GDAL raise unrelated classes
        raise InputError(f"{where}: {path} is not a vector file that can be read: {error}") from error
    choices = " or ".join(f"'{path}{LAYER}{name}'" for name in names)
    if layer is None:
        raise InputError(f"{where}: {path} has {len(names)} layers ({', '.join(names)}); name one of them: {choices}")
    raise InputError(f"{where}: {path} has no layer '{layer}'{nearest_name(layer, names)}")


def _require_complete_shapefile(path: Path, where: str) -> None:
    """Compare a shapefile's own lengths with what is there: GDAL reads a file that ends too early without an error.

    ESRI Shapefile Technical Description (1998): bytes 24-27 of .shp and .shx hold the length in 16-bit words, big
    endian; .shx has 8 bytes a record after its header of 100.
    """
    counts = {}
    for part in dependencies_of([path]).files:
        suffix = part.suffix.lower()
        if part.stem != path.stem or suffix not in (".shp", ".shx", ".dbf"):
            continue
        with part.open("rb") as file:
            head = file.read(32)
        size = part.stat().st_size
        if suffix == ".dbf":
            records, header, width = struct.unpack("<IHH", head[4:12]) if len(head) >= 12 else (0, 0, 0)
            counts[suffix], stated = records, header + records * width
        else:
            stated = 2 * struct.unpack(">I", head[24:28])[0] if len(head) >= 28 else 100
            counts[suffix] = (stated - 100) // 8
        if size < stated:
            raise InputError(
                f"{where}: {part} ends after {size} of {stated} bytes, features are missing; fetch or copy it again"
            )
    if ".shx" in counts and ".dbf" in counts and counts[".shx"] != counts[".dbf"]:
        raise InputError(
            f"{where}: {path} has {counts['.shx']} shapes and {counts['.dbf']} records in its .dbf; its files do not "
            "belong together, fetch or copy them again"
        )


def _path_of(source: str | os.PathLike[str]) -> tuple[str, str | None]:
    """A path and the layer that is named after `LAYER`, as QGIS writes it; `~` is the user's folder."""
    path, mark, layer = os.path.expanduser(os.fspath(source)).partition(LAYER)
    return path, layer if mark else None


def touches_grid(edges: Array, grid: GeoBox) -> bool:
    """Whether the rings' bounding box meets the grid's: a grid wholly inside a polygon touches no edge."""
    left, bottom, right, top = grid.boundingbox
    xs, ys = edges[:, (0, 2)], edges[:, (1, 3)]
    return bool(xs.min() < right and xs.max() > left and ys.min() < top and ys.max() > bottom)
