"""Means and totals of areas, and coarser maps, with intervals that account for errors correlated in space."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.errors import InputError, MissingInputError, listed
from tpsoil.evaluation import Variogram, area_mean
from tpsoil.grid import cell_sizes_m, coordinates, grid_of
from tpsoil.ingest.polygons import NamedPolygon, read_polygons
from tpsoil.kernels.polygons import coverage, inside
from tpsoil.points import unproject_points
from tpsoil.units import unit_times_area

from .levels import coarser_grid
from .zonal import PartialCells

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

ATTRIBUTE: Final = "residual_variogram"
LIMITS: Final = ("lower", "upper")
ALL_CELLS: Final = "all mapped cells"
PAIR_CELLS: Final = 200_000
"""Cells of one area between which covariances are averaged; of larger areas every n-th row and column."""
STRIP_CELLS: Final = 4_000_000
"""Cells that are in memory together."""


def area_estimates(
    layers: xr.Dataset,
    name: str,
    polygons: Any,
    *,
    by: str | None = None,
    partial_cells: PartialCells = "fraction",
    crs: Any = None,
) -> pd.DataFrame:
    """Mean and total of a mapped quantity by polygons and of the whole map, with intervals for correlated errors.

    Parameters
    ----------
    layers : Dataset (y, x)
        Has `name`, `name_lower` and `name_upper`, as a run of `[elements]` with an interval writes them: `name` with
        the attributes `residual_variogram` and `interval_level`.
    name : str
    polygons, by, partial_cells, crs
        As in `zonal_statistics`.

    Returns
    -------
    DataFrame
        A row for each polygon, and one for all mapped cells: `polygon`, `layer`, `units`, `cells`, `area_km2`, `mean`,
        `se`, `lower`, `upper`, `independent_se` (were the errors of cells independent), `total`, `total_lower`,
        `total_upper`, `total_units`, `level`. NaN where no cell has a value. `attrs["problems"]` lists polygons that
        are outside the grid or smaller than a cell.

    Raises
    ------
    InputError
        For a layer without a variogram of its residuals.
    MissingInputError
        For layers that are not there.

    Notes
    -----
    See `tpsoil.evaluation.area_mean`. The standard deviation of a cell is (upper - lower) / 2 z. Sums over all cells
    are exact; the covariance between cells is averaged over at most 200 000 cells of an area, at regular distances.
    """
    where = "area_estimates"
    variogram, level = _errors_of(layers, name, where)
    grid = grid_of(layers, where=where)
    areas, problems = read_polygons(polygons, grid, by=by, crs=crs, where=where)
    cell_area = float(np.multiply(*cell_sizes_m(grid)).mean())
    small = [area.name for area in areas if 0 < area.geometry.area < abs(grid.transform.a * grid.transform.e)]
    if small:
        problems.append(
            f"{len(small)} of {len(areas)} polygons are smaller than a cell of {cell_area / 1e6:.4g} km2, so that "
            f"their interval is that of their cells: {listed(small)}"
        )
    rows = [_estimate(layers, name, grid, area, (variogram, level, partial_cells)) for area in [*areas, None]]
    table = pd.DataFrame(rows)
    empty = [row["polygon"] for row in rows if not row["cells"]]
    if empty:
        problems.append(f"{len(empty)} of {len(rows)} areas have no cell with a value: {listed(empty)}")
    table.attrs["problems"] = problems
    return table


def aggregate_map(layers: xr.Dataset, name: str, factor: int) -> xr.Dataset:
    """A map at a coarser resolution, with intervals of the means of its blocks of cells.

    Parameters
    ----------
    layers : Dataset (y, x)
        As in `area_estimates`; lazy layers are read in strips.
    name : str
    factor : int
        Cells along a side of a block, 2 or more, such as 10 from 1 km to 10 km.

    Returns
    -------
    Dataset (y, x)
        `name` (mean of the mapped cells, by area), `name_se`, `name_lower`, `name_upper` and `name_share` (share of
        the block that is mapped), float32 on a grid with the same upper left corner; NaN where no cell is mapped.

    Raises
    ------
    InputError
        For a factor below 2, or a layer without a variogram of its residuals.
    MissingInputError
        For layers that are not there.

    Notes
    -----
    Variance of a block = sum_ij w_i w_j sd_i sd_j C(h_ij) over its cells, exact: the interval is narrower than that of
    a cell by what averages out, and wider than for independent errors.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> at = coordinates(plateau_grid(100_000))
    >>> limits = {"iron": 30.0, "iron_lower": 20.0, "iron_upper": 40.0}
    >>> shape = at["y"].size, at["x"].size
    >>> maps = xr.Dataset({key: (("y", "x"), np.full(shape, value)) for key, value in limits.items()}, coords=at)
    >>> variogram = '{"model": "exponential", "nugget": 0.3, "partial_sill": 0.7, "range_m": 300000}'
    >>> maps["iron"].attrs = {"units": "mg kg-1", "residual_variogram": variogram, "interval_level": 0.9}
    >>> coarse = aggregate_map(maps, "iron", 4)
    >>> f"{coarse['iron_lower'].values[0, 0]:.1f} to {coarse['iron_upper'].values[0, 0]:.1f}"
    '25.9 to 34.1'
    """
    from scipy.stats import norm

    where = "aggregate_map"
    if isinstance(factor, bool) or int(factor) != factor or factor < 2:
        raise InputError(f"{where}: factor is {factor!r}, expected a whole number of cells, 2 or more")
    variogram, level = _errors_of(layers, name, where)
    grid, size = grid_of(layers, where=where), int(factor)
    coarse = coarser_grid(grid, size)
    height, width = (int(n) for n in coarse.shape)
    z = float(norm.ppf((1 + level) / 2))
    dx, dy = cell_sizes_m(grid)
    results = {key: np.full((height, width), np.nan) for key in ("mean", "se", "share")}
    for row in range(height):
        strip = layers[_with_limits(name)].isel(y=slice(row * size, (row + 1) * size)).compute()
        mean, lower, upper = (_blocks(strip[key].values, size, width) for key in strip.data_vars)
        valid = np.isfinite(mean) & np.isfinite(lower) & np.isfinite(upper)
        middle = min(row * size + size // 2, len(dx) - 1)
        across = np.arange(size * size)
        y, x = across // size, across % size
        gaps = np.hypot((y[:, None] - y) * dy[middle], (x[:, None] - x) * dx[middle])
        covariance = variogram.covariance(gaps)
        count = valid.sum(axis=1)
        weight = np.where(valid, 1.0 / np.maximum(count, 1)[:, None], 0.0)
        scaled = weight * np.where(valid, (upper - lower) / (2 * z), 0.0)
        variance = np.einsum("bi,ij,bj->b", scaled, covariance, scaled, optimize=True)
        some = count > 0
        results["mean"][row, some] = (weight * np.where(valid, mean, 0.0)).sum(axis=1)[some]
        results["se"][row, some] = np.sqrt(np.maximum(variance, 0.0))[some]
        results["share"][row] = count / size**2
    half = z * results["se"]
    source = dict(layers[name].attrs)
    method = f"mean of {size} x {size} cells; errors correlated as the standardised residuals, {source[ATTRIBUTE]}"
    units = str(source.get("units", "1"))
    attrs = {key: source[key] for key in ("units", "long_name") if key in source}
    contents = {
        name: (results["mean"], {**attrs, "aggregation": method}),
        f"{name}_se": (results["se"], {"units": units, "aggregation": method}),
        f"{name}_lower": (results["mean"] - half, {"units": units, "interval_level": level, "aggregation": method}),
        f"{name}_upper": (results["mean"] + half, {"units": units, "interval_level": level, "aggregation": method}),
        f"{name}_share": (results["share"], {"units": "1", "long_name": "share of the block that is mapped"}),
    }
    return xr.Dataset(
        {key: (("y", "x"), values.astype(np.float32), attributes) for key, (values, attributes) in contents.items()},
        coords=coordinates(coarse),
    )


def _errors_of(layers: xr.Dataset, name: str, where: str) -> tuple[Variogram, float]:
    """The variogram of standardised residuals and the level of the limits."""
    lacking = [key for key in _with_limits(name) if key not in layers]
    if lacking:
        raise MissingInputError(f"{where}: no layer {', '.join(lacking)}; map {name} with interval = 0.9 in [elements]")
    attrs = layers[name].attrs
    if ATTRIBUTE not in attrs or "interval_level" not in attrs:
        raise InputError(
            f"{where}: {name} has no variogram of its residuals (attributes '{ATTRIBUTE}' and 'interval_level'); map "
            "it by a run with interval = 0.9 in [elements] and samples at 30 positions or more"
        )
    plain = json.loads(str(attrs[ATTRIBUTE]))
    points = pd.DataFrame({"distance": [], "semivariance": [], "pairs": []})
    variogram = Variogram(
        float(plain["nugget"]), float(plain["partial_sill"]), float(plain["range_m"]), str(plain["model"]), points
    )
    return variogram, float(attrs["interval_level"])


def _with_limits(name: str) -> list[str]:
    return [name, *(f"{name}_{side}" for side in LIMITS)]


def _blocks(strip: Array, size: int, width: int) -> Doubles:
    """A strip of cells as one row a block, padded with NaN."""
    full = np.full((size, width * size), np.nan)
    full[: strip.shape[0], : strip.shape[1]] = strip
    return np.ascontiguousarray(full.reshape(size, width, size).transpose(1, 0, 2)).reshape(width, size * size)


def _estimate(
    layers: xr.Dataset,
    name: str,
    grid: GeoBox,
    area: NamedPolygon | None,
    how: tuple[Variogram, float, PartialCells],
) -> dict[str, Any]:
    """One row of `area_estimates`; all cells where there is no polygon."""
    from scipy.stats import norm

    variogram, level, partial_cells = how
    z = float(norm.ppf((1 + level) / 2))
    rows, columns = (slice(0, int(n)) for n in grid.shape) if area is None else area.window(grid)
    step = max(1, int(np.ceil(np.sqrt((rows.stop - rows.start) * (columns.stop - columns.start) / PAIR_CELLS))))
    sums = np.zeros(4)  # of weight, weight * value, weight * sd, and squared weight * sd
    cells, parts = 0, []
    for part, weight in _strips(layers, name, grid, (rows, columns), area, partial_cells):
        value, lower, upper = (np.asarray(part[key].values, dtype=np.float64) for key in part.data_vars)
        valid = (weight > 0) & np.isfinite(value) & np.isfinite(lower) & np.isfinite(upper)
        sd = (upper - lower) / (2 * z)
        w = weight[valid]
        sums += [w.sum(), w @ value[valid], w @ sd[valid], ((w * sd[valid]) ** 2).sum()]
        cells += int(valid.sum())
        y, x = (part[axis].values for axis in ("y", "x"))
        first = slice((-int(part.attrs["top"])) % step, None, step), slice(None, None, step)
        thin = valid[first]
        east, north = np.meshgrid(x[first[1]], y[first[0]])
        parts.append(np.stack([east[thin], north[thin], weight[first][thin], sd[first][thin]]))
    units = str(layers[name].attrs.get("units", ""))
    total_units, scale = unit_times_area(units)
    row: dict[str, Any] = {"polygon": ALL_CELLS if area is None else area.name, "layer": name, "units": units}
    row |= {"cells": cells, "area_km2": sums[0] / 1e6}
    mean = se = alone = float("nan")
    if cells:
        mean = float(sums[1] / sums[0])
        own = float(sums[3] / sums[0] ** 2) * variogram.sill
        alone = float(np.sqrt(own))
        east, north, weight, sd = np.concatenate(parts, axis=1)
        between = 0.0
        if len(east) > 1 and (weight * sd).sum() > 0:
            place = np.column_stack(unproject_points(east, north, grid))
            thinned = area_mean(place, sd, sd, variogram, cell_area=weight, level=level, degrees=True)
            ratio = (sums[2] / sums[0]) / float((weight @ sd) / weight.sum())
            between = (thinned.se**2 - thinned.independent_se**2) * ratio**2
        se = float(np.sqrt(max(own + between, 0.0)))
    total = sums[0] * scale
    row |= {"mean": mean, "se": se, "lower": mean - z * se, "upper": mean + z * se, "independent_se": alone}
    row |= {"total": mean * total, "total_lower": row["lower"] * total, "total_upper": row["upper"] * total}
    return {**row, "total_units": total_units, "level": level}


def _strips(
    layers: xr.Dataset,
    name: str,
    grid: GeoBox,
    window: tuple[slice, slice],
    area: NamedPolygon | None,
    partial_cells: PartialCells,
) -> Iterator[tuple[xr.Dataset, Doubles]]:
    """Loaded strips of a window, and the area in m2 of each cell inside a polygon."""
    rows, columns = window
    wide = columns.stop - columns.start
    if rows.stop <= rows.start or wide <= 0:
        return
    cell_area = np.multiply(*cell_sizes_m(grid))
    high = max(1, STRIP_CELLS // wide)
    data = layers[_with_limits(name)]
    for top in range(rows.start, rows.stop, high):
        bottom = min(rows.stop, top + high)
        if area is None:
            share = np.ones((bottom - top, wide))
        elif partial_cells == "fraction":
            share = coverage(area.edges, top, columns.start, (bottom - top, wide))
        else:
            share = inside(np.arange(top, bottom) + 0.5, np.arange(columns.start, columns.stop) + 0.5, area.edges)
        part = data.isel(y=slice(top, bottom), x=columns).compute().assign_attrs(top=top - rows.start)
        yield part, np.asarray(share * cell_area[top:bottom, None], dtype=np.float64)
