"""Statistics of layers within boxes, and layers along a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.errors import InputError
from tpsoil.grid import coordinates, grid_of
from tpsoil.points import project_points, unproject_points
from tpsoil.tiles import compute_together

from .covariates import valid_numbers
from .observations import values_at

WINDOWS: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "Qaidam": (90.5, 36.0, 98.5, 39.0),
    "Qiangtang": (80.0, 31.5, 92.0, 36.0),
}
"""West, south, east, north in degrees. The study draws its windows without stating them; these are the basin's and the
plateau's customary extents."""


def window_statistics(
    layers: xr.Dataset | Mapping[str, xr.DataArray],
    windows: Mapping[str, tuple[float, float, float, float]] = WINDOWS,
    *,
    degrees: bool = True,
) -> pd.DataFrame:
    """Statistics of layers within boxes, such as the study's Qaidam and Qiangtang windows.

    Parameters
    ----------
    layers : Dataset or mapping of name to DataArray (y, x)
        On one grid with a CRS.
    windows : mapping of name to (west, south, east, north)
    degrees : bool
        Whether the boxes are in degrees; else in the layers' CRS.

    Returns
    -------
    DataFrame
        A row for each `window` and `layer`: `cells`, `mean`, `sd`, `min`, `p05`, `p50`, `p95`, `max`.

    Raises
    ------
    InputError
        For a box whose west is not below its east, or south below its north, and for a box without cells.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> layer = xr.DataArray(np.full(grid.shape, 0.5), dims=("y", "x"), coords=coordinates(grid))
    >>> window_statistics({"thickness": layer}, {"centre": (85.0, 31.0, 90.0, 34.0)})["mean"].tolist()
    [0.5]
    """
    data = layers if isinstance(layers, xr.Dataset) else xr.Dataset(dict(layers))
    box = grid_of(data, where="window_statistics")
    rows = []
    for window, (west, south, east, north) in windows.items():
        if not (west < east and south < north):
            raise InputError(f"window '{window}' is {(west, south, east, north)}, expected west < east, south < north")
        inside = _inside(box, (west, south, east, north), degrees)
        if not inside.any():
            raise InputError(f"window '{window}' has no cell of the grid; degrees={degrees}")
        where_y, where_x = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        part = {"y": slice(where_y[0], where_y[-1] + 1), "x": slice(where_x[0], where_x[-1] + 1)}
        names = [str(name) for name in data.data_vars if data[name].ndim == 2]
        loaded = compute_together([data[name].isel(part) for name in names])
        selected = inside[part["y"], part["x"]]
        for name, layer in zip(names, loaded):
            values = valid_numbers(layer.values, data[name])[selected]
            values = values[np.isfinite(values)]
            row: dict[str, Any] = {"window": window, "layer": name, "cells": values.size}
            if values.size:
                p05, p50, p95 = np.quantile(values, [0.05, 0.5, 0.95])
                row.update(
                    mean=values.mean(), sd=values.std(), min=values.min(), p05=p05, p50=p50, p95=p95, max=values.max()
                )
            rows.append(row)
    return pd.DataFrame(rows)


def _inside(box: GeoBox, window: tuple[float, float, float, float], degrees: bool) -> npt.NDArray[np.bool_]:
    centres = coordinates(box)
    east, north = np.meshgrid(centres["x"].values, centres["y"].values)
    if degrees and not box.crs.geographic:
        east, north = unproject_points(east, north, box)
    west, south, far_east, far_north = window
    return np.asarray((east >= west) & (east <= far_east) & (north >= south) & (north <= far_north))


def transect(
    layers: xr.Dataset,
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    points: int = 200,
    degrees: bool = True,
) -> pd.DataFrame:
    """Layers along a straight line, such as elevation and thickness across a range.

    Parameters
    ----------
    layers : Dataset (y, x)
        With a CRS; the cell of each point is read.
    start, end : (lon, lat) or (x, y)
    points : int
        >= 2.
    degrees : bool
        Whether the ends are lon, lat; the line is straight in the layers' CRS.

    Returns
    -------
    DataFrame
        `distance_km`, `x`, `y` and a column a layer, NaN outside the grid.

    Raises
    ------
    InputError
        For fewer than two points, or ends at one place.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> layer = xr.DataArray(np.full(grid.shape, 0.5), dims=("y", "x"), coords=coordinates(grid))
    >>> line = transect(xr.Dataset({"thickness": layer}), (85.0, 33.0), (90.0, 33.0), points=3)
    >>> line["thickness"].tolist()
    [0.5, 0.5, 0.5]
    """
    if points < 2:
        raise InputError(f"transect: points is {points}, expected at least 2")
    box = grid_of(layers, where="transect")
    ends = np.array([start, end], dtype=float)
    if degrees and not box.crs.geographic:
        ends = np.stack(project_points(ends[:, 0], ends[:, 1], box), axis=1)
    if not np.isfinite(ends).all() or np.array_equal(ends[0], ends[1]):
        raise InputError(f"transect: from {start} to {end}, expected two different places")
    share = np.linspace(0, 1, points)[:, None]
    line = pd.DataFrame(ends[0] + share * (ends[1] - ends[0]), columns=["x", "y"])
    if box.crs.geographic:
        from pyproj import Geod

        legs = Geod(ellps="WGS84").line_lengths(line["x"].to_numpy(), line["y"].to_numpy())
        distance = np.r_[0.0, np.cumsum(legs)]
    else:
        distance = np.hypot(*(line[c].to_numpy() - line[c].iloc[0] for c in ("x", "y")))
    names = [str(name) for name in layers.data_vars if layers[name].ndim == 2]
    values = values_at(layers, line, names)
    line.insert(0, "distance_km", distance / 1000.0)
    line[names] = values[names]
    return line
