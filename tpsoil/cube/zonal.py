"""Zonal statistics: mean, spread, quantiles, area and total of layers by polygons, window by window."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.errors import InputError, listed, nearest_name, require_one_of
from tpsoil.grid import cell_sizes_m, grid_of
from tpsoil.ingest.checks import mask
from tpsoil.ingest.polygons import NamedPolygon, read_polygons
from tpsoil.kernels.polygons import coverage, inside
from tpsoil.labels import stated_fills
from tpsoil.units import unit_times_area
from tpsoil.variables import missing_code, stored_kind

from .weighted_quantiles import HISTOGRAM_SIZE, QuantileSearch, key_width

Array = npt.NDArray[Any]
PartialCells = Literal["fraction", "centre"]
DEFAULT_STATISTICS: Final = ("count", "area_km2", "no_data", "mean", "sd", "q05", "q50", "q95")
STATISTICS: Final = ("count", "area_km2", "no_data", "mean", "sd", "min", "max", "total")
"""Beside quantiles, `qNN`."""
OF_CLASSES: Final = ("count", "area_km2", "no_data")
_QUANTILE: Final = re.compile(r"q(\d{1,2}(?:\.\d+)?)")
WINDOW_CELLS: Final = 1024
"""Minimum side of the windows that are read, cells; a whole number of chunks."""
LONGEST_SIDE: Final = 4096
HISTOGRAM_BYTES: Final = 128 * 1024 * 1024
"""Bound on the histograms of one batch of polygons."""


def zonal_statistics(
    layers: xr.Dataset | xr.DataArray,
    polygons: Any,
    *,
    by: str | None = None,
    statistics: Sequence[str] = DEFAULT_STATISTICS,
    partial_cells: PartialCells = "fraction",
    crs: Any = None,
) -> pd.DataFrame:
    """Statistics of layers by polygons.

    Parameters
    ----------
    layers : Dataset or DataArray (y, x)
        Any layers of one grid; of a Dataset those with dims (y, x). Lazy layers are read window by window.
    polygons : path, GeoDataFrame, mapping of name to geometry, shapely geometry, or a sequence of them
        In any CRS. Of a file with several layers `basins.gpkg|layername=NAME`. Geometries without a CRS are in that of
        the grid unless `crs` is set. Polygons may overlap.
    by : str, optional
        Attribute with the names. Polygons of one name are one area. By default they are numbered from 1.
    statistics : sequence of str
        `count` (cells with a value), `area_km2` (area with a value), `no_data` (share of the polygon's area without a
        value, what lies outside the grid included), `mean`, `sd` (population), `min`, `max`, `total` (sum of value
        times area, with the column `total_units`: m becomes m3, t ha-1 a-1 becomes t a-1), and quantiles such as `q05`
        and `q97.5`.
    partial_cells : {"fraction", "centre"}
        Weight of a cell on the border: the share of its area inside the polygon, or 1 where its centre is inside and 0
        elsewhere.
    crs : str, optional
        Of geometries, and of files without one.

    Returns
    -------
    DataFrame
        A row for each polygon and layer: `polygon`, `layer`, `units`, then the statistics. NaN where no cell of the
        polygon has a value. `attrs["problems"]` lists what was left out.

    Raises
    ------
    InputError
        For unknown statistics, an attribute that is not there, polygons without area, and means of class or circular
        layers.
    GridError
        For polygons without a CRS, and where none touches the grid.
    MissingInputError
        For a file that is not there.

    Warns
    -----
    UserWarning
        With counts and names: polygons outside the grid, without a cell centre (`partial_cells="centre"`), features
        that are no polygons.

    Notes
    -----
    All statistics are weighted by the area of the part of the cell that is inside: on a projected grid in proportion to
    the share, on a geographic one also to the geodesic size of the cell. Areas on a projected grid are those of its
    plane, true where it is equal-area. A quantile is the smallest value with at least that share of the weight at or
    below it (the inverse of the weighted distribution function), exact and without sorting: the bits of the values are
    resolved by histograms in 3 (float32) or 6 passes.

    Memory: one window of at least 1024 x 1024 cells of all layers, and histograms of at most 128 MB, whatever the size
    of the grid and of the polygons.

    References
    ----------
    The shares, means and standard deviations are those of exactextract 0.3.0 (https://github.com/isciences/exactextract,
    which R's terra uses for `extract(exact=TRUE)`), which interpolates its quantiles.

    Examples
    --------
    >>> import shapely
    >>> from tpsoil.grid import coordinates, grid_from_bounds
    >>> grid = grid_from_bounds("EPSG:3035", (0, 0, 2000, 1000), 1000)
    >>> layer = xr.DataArray([[1.0, 4.0]], dims=("y", "x"), coords=coordinates(grid), name="solum_thickness")
    >>> table = zonal_statistics(layer, {"A": shapely.box(0, 0, 1500, 1000)}, statistics=["mean", "area_km2"])
    >>> table[["polygon", "mean", "area_km2"]].values.tolist()
    [['A', 2.0, 1.5]]
    """
    where = "zonal_statistics"
    data = _dataset(layers, where)
    quantiles = require_statistics(statistics, where)
    for name, layer in data.items():
        _require_meaning(str(name), layer, statistics, where)
    require_one_of(where, "partial_cells", partial_cells, get_args(PartialCells))
    grid = grid_of(data, where=where)
    areas, problems = read_polygons(polygons, grid, by=by, crs=crs, where=where)
    reader = _Reader(data, grid, partial_cells)
    per_polygon = len(data) * max(1, len(quantiles)) * HISTOGRAM_SIZE
    size = max(1, HISTOGRAM_BYTES // per_polygon)
    results: list[_Area] = []
    for start in range(0, len(areas), size):
        results += _statistics_of(reader, areas[start : start + size], quantiles)
    problems += _problems(results, partial_cells)
    for text in problems:
        warnings.warn(f"{where}: {text}", stacklevel=2)
    rows = [_row(area, name, layer, statistics) for area in results for name, layer in data.items()]
    table = pd.DataFrame(rows)
    table.attrs["problems"] = problems
    return table


def require_statistics(statistics: Sequence[str], where: str) -> dict[str, float]:
    """Check names of statistics, and give the quantiles among them with their shares.

    Raises
    ------
    InputError
    """
    if isinstance(statistics, str) or not statistics:
        raise InputError(f"{where}: statistics are {statistics!r}, expected names such as 'mean', 'area_km2', 'q05'")
    quantiles: dict[str, float] = {}
    for name in statistics:
        match = _QUANTILE.fullmatch(str(name))
        if match is not None:
            quantiles[name] = float(match.group(1)) / 100
        elif name not in STATISTICS:
            known = nearest_name(str(name), [*STATISTICS, "q05", "q50", "q95"])
            raise InputError(f"{where}: no statistic {name!r}{known}")
    if len(set(statistics)) < len(statistics):
        raise InputError(f"{where}: statistics {list(statistics)} have a name twice")
    return quantiles


def _dataset(layers: xr.Dataset | xr.DataArray, where: str) -> xr.Dataset:
    if isinstance(layers, xr.DataArray):
        layers = layers.to_dataset(name=str(layers.name or "layer"))
    names = [name for name, layer in layers.data_vars.items() if layer.dims == ("y", "x")]
    if not names:
        raise InputError(f"{where}: there is no layer with dims (y, x); give one or more layers")
    return layers[names]


def _require_meaning(name: str, layer: xr.DataArray, statistics: Sequence[str], where: str) -> None:
    kind = stored_kind(name, layer.attrs)
    if kind == "categorical" or kind == "circular":
        unfit = [one for one in statistics if one not in OF_CLASSES]
        if unfit:
            text = "of classes" if kind == "categorical" else "a direction in degrees"
            raise InputError(
                f"{where}: {name} is {text}, which has no {', '.join(unfit)}; take statistics from "
                f"{', '.join(OF_CLASSES)}"
            )


@dataclass
class _Moments:
    """Weighted statistics of one layer in one polygon, merged window by window (Chan, Golub and LeVeque 1983)."""

    count: int = 0
    weight: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: Array, weights: Array) -> None:
        if not values.size:
            return
        weight = float(weights.sum())
        mean = float((weights * values).sum() / weight)
        squares = float((weights * (values - mean) ** 2).sum())
        total, shift = self.weight + weight, mean - self.mean
        self.squares += squares + shift * shift * self.weight * weight / total
        self.mean += shift * weight / total
        self.weight = total
        self.count += int(values.size)
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))


@dataclass
class _Area:
    """One polygon and its statistics."""

    polygon: NamedPolygon
    weight: float = 0.0
    moments: dict[str, _Moments] = field(default_factory=dict)
    quantiles: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reader:
    """Windows of the layers, and weights of the polygons in them."""

    data: xr.Dataset
    grid: GeoBox
    partial_cells: PartialCells

    def windows(self, polygons: Sequence[NamedPolygon]) -> Iterator[tuple[xr.Dataset, slice, slice, list[int]]]:
        """Loaded windows that polygons meet, with the numbers of these polygons."""
        boxes = [polygon.window(self.grid) for polygon in polygons]
        sides = [self._side(axis) for axis in ("y", "x")]
        for top in range(0, int(self.grid.shape[0]), sides[0]):
            for left in range(0, int(self.grid.shape[1]), sides[1]):
                here = [
                    number
                    for number, (rows, columns) in enumerate(boxes)
                    if max(rows.start, top) < min(rows.stop, top + sides[0])
                    and max(columns.start, left) < min(columns.stop, left + sides[1])
                ]
                if here:
                    rows, columns = (slice(at, at + side) for at, side in zip((top, left), sides))
                    yield self.data.isel(y=rows, x=columns).compute(), rows, columns, here

    def weights(self, polygon: NamedPolygon, rows: slice, columns: slice) -> tuple[Array, tuple[slice, slice]]:
        """Area in m2 of the part of each cell inside a polygon, in the part of a window that the polygon meets."""
        box = polygon.window(self.grid)
        y, x = (
            slice(max(part.start, window.start), min(part.stop, window.stop))
            for part, window in zip(box, (rows, columns))
        )
        shape = (y.stop - y.start, x.stop - x.start)
        if self.partial_cells == "fraction":
            share = coverage(polygon.edges, y.start, x.start, shape)
        else:
            share = inside(np.arange(y.start, y.stop) + 0.5, np.arange(x.start, x.stop) + 0.5, polygon.edges)
        dx, dy = cell_sizes_m(self.grid)
        within = (
            slice(y.start - rows.start, y.stop - rows.start),
            slice(x.start - columns.start, x.stop - columns.start),
        )
        return share * (dx * dy)[y][:, None], within

    def _side(self, axis: str) -> int:
        chunks = [layer.chunksizes[axis][0] for layer in self.data.values() if axis in layer.chunksizes]
        chunk = max(chunks, default=1)
        return min(LONGEST_SIDE, chunk * max(1, -(-WINDOW_CELLS // chunk)))


def _statistics_of(reader: _Reader, polygons: Sequence[NamedPolygon], quantiles: Mapping[str, float]) -> list[_Area]:
    """Moments in the first pass over the windows, quantiles in the passes after it."""
    areas = [_Area(polygon, moments={str(name): _Moments() for name in reader.data}) for polygon in polygons]
    searches = {
        (number, str(name)): QuantileSearch(key_width(layer.dtype))
        for number in range(len(areas))
        for name, layer in reader.data.items()
        if quantiles
    }
    for layers, rows, columns, here in reader.windows(polygons):
        for number in here:
            weights, within = reader.weights(polygons[number], rows, columns)
            areas[number].weight += float(weights.sum())
            for name, layer in layers.items():
                values, parts = _valid(layer, within, weights)
                areas[number].moments[str(name)].add(values.astype(np.float64), parts)
                if quantiles:
                    searches[number, str(name)].add(values, parts)
    for (number, name), search in searches.items():
        search.begin(quantiles, areas[number].moments[name].weight)
    while any(not search.done for search in searches.values()):
        open_ones = sorted({number for (number, _), search in searches.items() if not search.done})
        for layers, rows, columns, here in reader.windows([polygons[number] for number in open_ones]):
            for number in (open_ones[one] for one in here):
                weights, within = reader.weights(polygons[number], rows, columns)
                for name, layer in layers.items():
                    if not (search := searches[number, str(name)]).done:
                        search.add(*_valid(layer, within, weights))
        for search in searches.values():
            search.advance()
    for (number, name), search in searches.items():
        areas[number].quantiles[name] = search.values()
    return areas


def _valid(layer: xr.DataArray, within: tuple[slice, slice], weights: Array) -> tuple[Array, Array]:
    """Values and weights of the cells of a window that have both."""
    block = np.asarray(layer.values[within])
    known = weights > 0
    code = missing_code(layer)
    if code is not None:
        known &= block != code
    elif block.dtype.kind == "f":
        known &= np.isfinite(mask(block, fills) if (fills := stated_fills(layer)) else block)
    return block[known], weights[known]


def _problems(areas: Sequence[_Area], partial_cells: PartialCells) -> list[str]:
    texts = []
    count = len(areas)
    if outside := [area.polygon.name for area in areas if area.polygon.inside == 0]:
        texts.append(f"{len(outside)} of {count} polygons lie outside the grid and have no values: {listed(outside)}")
    if partly := [area.polygon.name for area in areas if 0 < area.polygon.inside < 1 - 1e-9]:
        texts.append(
            f"{len(partly)} of {count} polygons lie partly outside the grid, which counts as no_data: {listed(partly)}"
        )
    small = [area.polygon.name for area in areas if area.polygon.inside > 0 and area.weight == 0]
    if small and partial_cells == "centre":
        texts.append(
            f"{len(small)} of {count} polygons contain no cell centre and have no values: {listed(small)}; "
            "partial_cells='fraction' weights parts of cells"
        )
    return texts


def _row(area: _Area, name: Any, layer: xr.DataArray, statistics: Sequence[str]) -> dict[str, Any]:
    moments = area.moments[str(name)]
    known = moments.weight > 0
    units = str(layer.attrs.get("units", ""))
    total_units, scale = unit_times_area(units)
    covered = area.polygon.inside * moments.weight / area.weight if area.weight > 0 else 0.0
    every = {
        "count": moments.count,
        "area_km2": moments.weight / 1e6,
        "no_data": max(0.0, 1.0 - covered),
        "mean": moments.mean if known else np.nan,
        "sd": np.sqrt(moments.squares / moments.weight) if known else np.nan,
        "min": moments.low if known else np.nan,
        "max": moments.high if known else np.nan,
        "total": moments.mean * moments.weight * scale if known else np.nan,
        **area.quantiles.get(str(name), {}),
    }
    row: dict[str, Any] = {"polygon": area.polygon.name, "layer": str(name), "units": units}
    for one in statistics:
        row[one] = every[one]
        if one == "total":
            row["total_units"] = total_units
    return row
