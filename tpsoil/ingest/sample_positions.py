"""Positions of samples: projected coordinates to degrees, columns by any name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
from pyproj import Transformer

from tpsoil.columns import line_number, numeric_column
from tpsoil.errors import InputError
from tpsoil.points import named_columns, position_pairs, within_bounds

Doubles = npt.NDArray[np.float64]


def degrees_of(
    x: npt.ArrayLike, y: npt.ArrayLike, crs: str, *, where: str, attrs: dict[Any, Any] | None = None
) -> tuple[Doubles, Doubles]:
    """Projected coordinates to WGS84 degrees.

    Parameters
    ----------
    x, y : array_like (n,)
        East and north in the unit of the CRS; NaN where missing.
    crs : str
        Anything PROJ reads, such as "EPSG:32646".
    where : str
        Named in messages.
    attrs : dict, optional
        Of the table, for the line numbers of messages.

    Returns
    -------
    lon, lat : ndarray (n,), float64, degrees
        NaN where missing.

    Raises
    ------
    InputError
        For a CRS that PROJ does not know, and where most points lie outside the area that the CRS is used in: then x
        and y are swapped, or of another CRS.

    Examples
    --------
    >>> lon, lat = degrees_of([500_000.0], [3_320_000.0], "EPSG:32646", where="sites.csv")
    >>> round(float(lon[0]), 3), round(float(lat[0]), 3)
    (93.0, 30.011)
    """
    try:
        system = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise InputError(f"{where}: crs is {crs!r}, expected a CRS such as 'EPSG:32646'") from error
    east, north = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    change = Transformer.from_crs(system, "EPSG:4326", always_xy=True)
    valid = np.isfinite(east) & np.isfinite(north)

    def transformed(first: Doubles, second: Doubles) -> tuple[Doubles, Doubles]:
        lon, lat = (np.asarray(one, dtype=np.float64) for one in change.transform(first, second))
        possible = np.isfinite(lon) & np.isfinite(lat)
        return np.where(possible, lon, np.nan), np.where(possible, lat, np.nan)

    lon, lat = transformed(east, north)
    area = system.area_of_use
    bounds = (-180.0, -90.0, 180.0, 90.0) if area is None or area.west > area.east else area.bounds
    # Ten degrees: surveys use the zone of a UTM projection beyond its border.
    reach = (bounds[0] - 10, bounds[1] - 10, bounds[2] + 10, bounds[3] + 10)
    inside = valid & within_bounds(lon, lat, reach)
    if valid.any() and inside[valid].mean() < 0.5:
        row = int(np.argmax(valid & ~inside))
        turned = within_bounds(*transformed(north, east), reach)[valid].mean() > 0.5
        fix = (
            "x and y are swapped: x is the easting, in some surveys named y"
            if turned
            else "are they of another CRS, or in km?"
        )
        raise InputError(
            f"{where}: {int((valid & ~inside).sum())} of {int(valid.sum())} positions lie outside the area of {crs} "
            f"({bounds[0]:.4g}..{bounds[2]:.4g} E, {bounds[1]:.4g}..{bounds[3]:.4g} N): line "
            f"{line_number(row, attrs or {})} has x {east[row]:.10g}, y {north[row]:.10g}; {fix}"
        )
    return lon, lat


def with_degrees(table: pd.DataFrame, coordinates: tuple[str, str] | None, crs: str | None, name: str) -> pd.DataFrame:
    """The table with `lon` and `lat` of projected columns, or with its own position under names that are known.

    Parameters
    ----------
    table : DataFrame
        Not changed.
    coordinates : (east, north), optional
        Names of the columns; by default x and y, or easting and northing.
    crs : str, optional
        Of these columns; without it they are only renamed to `lon` and `lat`, or `x` and `y`.
    name : str
        Of the table, for messages.

    Returns
    -------
    DataFrame
        Columns that were projected are `original_x` and `original_y`; any other position is dropped.

    Raises
    ------
    InputError
        For columns that are not there, text in them, and as `degrees_of`.
    """
    if coordinates is None and crs is None:
        return table
    if coordinates is not None:
        pair = named_columns(table, coordinates, where=name)
    else:
        projected = [pair for pair in position_pairs(table) if not pair.degrees]
        if not projected:
            raise InputError(
                f"{name}: crs is '{crs}', but the table has no columns x and y (or easting and northing); name them by "
                "coordinates=(east, north)"
            )
        pair = projected[0]
    east, north = (numeric_column(table[column], where=name) for column in (pair.east, pair.north))
    attrs = dict(table.attrs)
    if crs is None:
        names = pair.names
        lon, lat = east.to_numpy(), north.to_numpy()
        replaced = table.drop(columns=[pair.east, pair.north])
    else:
        names = ("lon", "lat")
        lon, lat = degrees_of(east, north, crs, where=name, attrs=attrs)
        replaced = table.rename(columns={pair.east: "original_x", pair.north: "original_y"})
    clash = [other for pair in position_pairs(replaced) for other in (pair.east, pair.north)]
    result = replaced.drop(columns=clash).assign(**{names[0]: lon, names[1]: lat})
    result.attrs = attrs
    return result
