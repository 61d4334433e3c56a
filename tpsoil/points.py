"""The one place that locates the cell of a point.

Longitude and latitude are WGS84 degrees; x and y are in the CRS of the grid. Where a table has both, longitude and
latitude place the row, and x and y must name the same place to within one cell: two surveys' coordinates that disagree
are an error, never a choice.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from .columns import describe_lines, line_number, numeric_column, plain_name
from .errors import InputError, require_named
from .grid import describe, geographic_bounds

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_DEGREES: Final = (
    "lon lat, longitude latitude, long lat, lng lat, longitude_decimal_degrees latitude_decimal_degrees, lon_dd lat_dd,"
    "decimallongitude decimallatitude, decimal_longitude decimal_latitude, lon_wgs84 lat_wgs84, 经度 纬度"
)
LONGITUDE, LATITUDE = (tuple(dict.fromkeys(pair.split()[k] for pair in _DEGREES.split(","))) for k in (0, 1))
EAST: Final = ("x", "easting")
NORTH: Final = ("y", "northing")


class PositionColumns(NamedTuple):
    """The two columns that place a row.

    Parameters
    ----------
    east, north : str
        As the table spells them.
    degrees : bool
        Whether they are longitude and latitude; else x and y in the CRS of the grid.
    """

    east: str
    north: str
    degrees: bool

    @property
    def names(self) -> tuple[str, str]:
        """The names that tpsoil gives them: `lon`, `lat` or `x`, `y`."""
        return ("lon", "lat") if self.degrees else ("x", "y")


def position_pairs(table: pd.DataFrame) -> tuple[PositionColumns, ...]:
    """Every pair of columns that places a row: longitude and latitude first, then x and y; in any case of letters.

    Parameters
    ----------
    table : DataFrame

    Returns
    -------
    tuple of PositionColumns

    Examples
    --------
    >>> [pair.names for pair in position_pairs(pd.DataFrame(columns=["X", "Long", "LAT", "Y"]))]
    [('lon', 'lat'), ('x', 'y')]
    """
    lower = {plain_name(column): str(column) for column in reversed(list(table.columns))}
    pairs = []
    for eastward, northward, degrees in ((LONGITUDE, LATITUDE, True), (EAST, NORTH, False)):
        east, north = (next((lower[name] for name in names if name in lower), None) for names in (eastward, northward))
        if east is not None and north is not None:
            pairs.append(PositionColumns(east, north, degrees))
    return tuple(pairs)


def position_columns(table: pd.DataFrame, *, where: str) -> PositionColumns:
    """The columns that place a row.

    Parameters
    ----------
    table : DataFrame
    where : str
        Named in the error.

    Returns
    -------
    PositionColumns
        Longitude and latitude where they are there, else x and y.

    Raises
    ------
    InputError
        Where neither pair is there.

    Examples
    --------
    >>> position_columns(pd.DataFrame(columns=["site", "Longitude", "Latitude"]), where="points")
    PositionColumns(east='Longitude', north='Latitude', degrees=True)
    """
    pairs = position_pairs(table)
    if not pairs:
        raise InputError(
            f"{where}: columns {', '.join(map(repr, list(table.columns)[:12]))} have no position; "
            "expected lon and lat (degrees), or x and y in the CRS of the cube"
        )
    return pairs[0]


def named_columns(table: pd.DataFrame, columns: Any, *, where: str) -> PositionColumns:
    """Position columns that the caller names.

    Parameters
    ----------
    table : DataFrame
    columns : (str, str)
        East and north. Degrees where the first is a name of longitude.
    where : str
        Named in the error.

    Returns
    -------
    PositionColumns

    Raises
    ------
    InputError
        For other than two names, or names that the table does not have.

    Examples
    --------
    >>> named_columns(pd.DataFrame(columns=["e", "n"]), ("e", "n"), where="folds").degrees
    False
    """
    pair = tuple(str(name) for name in columns)
    require_named(where, pair, table.columns, "coordinate column")
    if len(pair) != 2:
        raise InputError(f"{where}: coordinates are {list(pair)}, expected two column names, (east, north)")
    return PositionColumns(pair[0], pair[1], plain_name(pair[0]) in LONGITUDE)


def positions_of(table: pd.DataFrame, pair: PositionColumns, *, where: str) -> tuple[Doubles, Doubles]:
    """East and north of each row as numbers, in the unit of the columns.

    Parameters
    ----------
    table : DataFrame
    pair : PositionColumns
    where : str
        Named in the error.

    Returns
    -------
    east, north : ndarray (n,), float64
        Degrees, or the unit of the CRS; NaN where missing.

    Raises
    ------
    InputError
        For text that is not a number.

    Examples
    --------
    >>> table = pd.DataFrame({"lon": ["91.5"], "lat": ["30"]})
    >>> [float(values[0]) for values in positions_of(table, position_columns(table, where="sites"), where="sites")]
    [91.5, 30.0]
    """
    east, north = (numeric_column(table[name], where=where) for name in (pair.east, pair.north))
    return east.to_numpy(dtype=np.float64), north.to_numpy(dtype=np.float64)


def position_groups(table: pd.DataFrame, *, where: str) -> Integers | None:
    """One number for each distinct position, so that replicates of one site can be grouped.

    Parameters
    ----------
    table : DataFrame
    where : str
        Named in the error.

    Returns
    -------
    ndarray (n,), int64, or None
        From 0 in order of appearance. A row without a position has a number of its own. None where the table has no
        position columns.

    Raises
    ------
    InputError
        For text in a position.

    Examples
    --------
    >>> position_groups(pd.DataFrame({"lon": [91.0, 92, 91], "lat": [30.0, 30, 30]}), where="sites").tolist()
    [0, 1, 0]
    """
    pairs = position_pairs(table)
    if not pairs:
        return None
    place = pd.DataFrame(dict(zip(("east", "north"), positions_of(table, pairs[0], where=where))))
    alone = place.isna().any(axis=1).to_numpy()
    place["alone"] = np.where(alone, np.arange(len(place)), -1)
    place.loc[alone, ["east", "north"]] = 0.0
    return np.asarray(place.groupby(["east", "north", "alone"], sort=False).ngroup(), dtype=np.int64)


def locate_points(table: pd.DataFrame, grid: GeoBox, *, where: str) -> tuple[Integers, Integers]:
    """The cell of a grid that contains each point.

    Parameters
    ----------
    table : DataFrame
        With lon and lat (degrees, WGS84), or x and y in the grid's CRS, or both.
    grid : GeoBox
    where : str
        Named in messages.

    Returns
    -------
    rows, columns : ndarray (n,), int64
        -1 where a point lies outside the grid or has no position. A point on the line between two cells belongs to the
        one with the larger index. A row that has only one of the two pairs is placed by it.

    Raises
    ------
    InputError
        Without a position, for text in it, for longitude and latitude that are swapped or no degrees, and where lon and
        lat differ from x and y by more than a cell.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> points = pd.DataFrame({"x": [0.0, 9e9], "y": [-1.0, 0.0]})
    >>> rows, columns = locate_points(points, plateau_grid(100_000), where="points")
    >>> rows.tolist(), columns.tolist()
    ([9, -1], [13, -1])
    """
    position_columns(table, where=where)
    placed = [(pair, _in_cells(table, pair, grid, where)) for pair in position_pairs(table)]
    columns, rows = placed[0][1]
    if len(placed) > 1:
        other_columns, other_rows = placed[1][1]
        _require_agreement(table, placed, grid, where)
        unplaced = ~(np.isfinite(columns) & np.isfinite(rows))
        columns, rows = np.where(unplaced, other_columns, columns), np.where(unplaced, other_rows, rows)
    height, width = grid.shape
    with np.errstate(invalid="ignore"):
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    row, column = np.full(len(table), -1, np.int64), np.full(len(table), -1, np.int64)
    row[inside], column[inside] = np.floor(rows[inside]), np.floor(columns[inside])
    return row, column


def project_points(lon: npt.ArrayLike, lat: npt.ArrayLike, grid: GeoBox) -> tuple[Doubles, Doubles]:
    """WGS84 degrees to the coordinates of a grid.

    Parameters
    ----------
    lon, lat : array_like (n,), degrees
    grid : GeoBox

    Returns
    -------
    x, y : ndarray (n,), float64
        In the CRS of the grid; of a geographic grid within one turn of its western edge.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> x, y = project_points([89.0], [33.0], plateau_grid())
    >>> bool(abs(x[0]) < 1e-6), bool(abs(y[0]) < 1e-6)
    (True, True)
    """
    east, north = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    if str(grid.crs.epsg or "") == "4326":  # 0..360 and -180..180 name one meridian
        return (west := float(grid.boundingbox.left)) + np.mod(east - west, 360.0), north
    x, y = map(np.asarray, Transformer.from_crs("EPSG:4326", grid.crs.proj, always_xy=True).transform(east, north))
    if grid.crs.geographic:
        west = float(grid.boundingbox.left)
        x = np.where((x < west) | (x >= west + 360.0), west + np.mod(x - west, 360.0), x)
    return x.astype(np.float64), y.astype(np.float64)


def unproject_points(x: npt.ArrayLike, y: npt.ArrayLike, grid: GeoBox) -> tuple[Doubles, Doubles]:
    """Coordinates of a grid to WGS84 degrees.

    Parameters
    ----------
    x, y : array_like (n,)
        In the CRS of the grid.
    grid : GeoBox

    Returns
    -------
    lon, lat : ndarray (n,), float64, degrees
        Longitudes within -180..180.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> lon, lat = unproject_points([0.0], [0.0], plateau_grid())
    >>> round(float(lon[0]), 6), round(float(lat[0]), 6)
    (89.0, 33.0)
    """
    east, north = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if str(grid.crs.epsg or "") == "4326":
        return np.mod(east + 180.0, 360.0) - 180.0, north
    lon, lat = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True).transform(east, north)
    return np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)


def check_degrees(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    *,
    where: str,
    bounds: tuple[float, float, float, float] | None = None,
    attrs: dict[Any, Any] | None = None,
) -> None:
    """Reject positions that are no degrees, or whose longitude and latitude are swapped.

    Parameters
    ----------
    lon, lat : array_like (n,), degrees
        NaN passes.
    where : str
        Named in messages.
    bounds : (west, south, east, north), optional
        Of the area they should lie in. Where no point lies in it but swapped ones do, they are swapped.
    attrs : dict, optional
        Of the table, for the line numbers of messages.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_degrees([30.5], [91.1], where="sites.csv")
    Traceback (most recent call last):
    tpsoil.errors.InputError: sites.csv: longitude and latitude are swapped: line 2 has lon 30.5, lat 91.1; rename the \
columns
    """
    east, north = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    impossible = (np.abs(north) > 90) | (np.abs(east) > 360)
    swapped = (np.abs(east) <= 90) & (np.abs(north) <= 360)
    valid = np.isfinite(east) & np.isfinite(north)
    if impossible.any():
        row = int(np.argmax(impossible))
        shown = f"line {line_number(row, attrs or {})} has lon {east[row]:g}, lat {north[row]:g}"
        if swapped[valid].all():
            raise InputError(f"{where}: longitude and latitude are swapped: {shown}; rename the columns")
        raise InputError(
            f"{where}: {int(impossible.sum())} positions are not degrees: {shown}; "
            "expected -180..360 and -90..90; for projected metres name the columns x and y"
        )
    if bounds is not None and valid.any():
        inside = within_bounds(east, north, bounds)
        turned = within_bounds(north, east, bounds)
        if not inside[valid].any() and turned[valid].mean() > 0.5:
            raise InputError(
                f"{where}: longitude and latitude are swapped: no point lies in "
                f"{bounds[0]:.4g}..{bounds[2]:.4g} E, {bounds[1]:.4g}..{bounds[3]:.4g} N, but "
                f"{int(turned[valid].sum())} of {int(valid.sum())} do once swapped; rename the columns"
            )


def _in_cells(table: pd.DataFrame, pair: PositionColumns, grid: GeoBox, where: str) -> tuple[Doubles, Doubles]:
    """Fractional column and row of each point."""
    x, y = positions_of(table, pair, where=where)
    if pair.degrees:
        check_degrees(x, y, where=where, bounds=geographic_bounds(grid), attrs=table.attrs)
        x, y = project_points(x, y, grid)
    inverse = ~grid.transform
    return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f


def _require_agreement(table: pd.DataFrame, placed: list[Any], grid: GeoBox, where: str) -> None:
    """Two pairs of columns must name one place, to within a cell."""
    (first, (columns, rows)), (second, (other_columns, other_rows)) = placed
    with np.errstate(invalid="ignore"):
        apart = np.hypot(columns - other_columns, rows - other_rows)
    wrong = np.isfinite(apart) & (apart > 1.0)
    if wrong.any():
        raise InputError(
            f"{where}: {first.east}, {first.north} and {second.east}, {second.north} name different places in "
            f"{int(wrong.sum())} of {len(table)} rows ({describe_lines(wrong, table.attrs)}), up to "
            f"{float(apart[wrong].max()):.4g} cells apart; {second.east} and {second.north} must be in the CRS of the "
            f"grid {describe(grid)}: correct them, or drop one pair of columns"
        )


def within_bounds(east: Doubles, north: Doubles, bounds: tuple[float, float, float, float]) -> npt.NDArray[np.bool_]:
    """Whether positions lie within (west, south, east, north); NaN does not."""
    return np.asarray((east >= bounds[0]) & (east <= bounds[2]) & (north >= bounds[1]) & (north <= bounds[3]))
