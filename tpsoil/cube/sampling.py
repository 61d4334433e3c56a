"""Cube values at points."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.columns import describe_lines
from tpsoil.errors import InputError, MissingInputError, require_named, require_one_of
from tpsoil.grid import describe, grid_of
from tpsoil.ingest.checks import mask
from tpsoil.ingest.tables import read_table
from tpsoil.labels import stated_fills
from tpsoil.points import locate_points
from tpsoil.soil_mask import MASK, OnMasked, place_on_soil, require_movable, with_soil_mask
from tpsoil.tiles import take_points
from tpsoil.variables import missing_code, stored_kind

from .store import open_cube

Array = npt.NDArray[Any]

CELL_COLUMNS: Final = ("cell_row", "cell_column")


def sample_cube(
    cube: xr.Dataset | xr.DataArray | str | os.PathLike[str],
    points: pd.DataFrame | str | os.PathLike[str],
    *,
    layers: Sequence[str] | None = None,
    outside: Literal["drop", "keep", "error"] = "drop",
    on_masked: OnMasked = "keep",
    masked_within_m: float | None = None,
    encoding: str = "utf-8",
    where: str | None = None,
) -> pd.DataFrame:
    """Values of the cell that contains each point.

    Parameters
    ----------
    cube : Dataset or DataArray (y, x), or path or URL of a cube
        With a CRS, such as `open_cube` gives; lazy layers are read in the chunks that contain a point, and no others.
    points : DataFrame or path of a CSV
        Columns `lon` and `lat` (degrees, WGS84; also longitude and latitude), or `x` and `y` in the CRS of the cube.
    layers : sequence of str, optional
        Which layers; all 2-D ones by default.
    outside : {"drop", "keep", "error"}
        Points outside the grid or without a position: their rows are dropped; they are kept, with missing values; or
        they are an error. They are counted in `attrs` and reported in a warning either way.
    on_masked : {"keep", "move", "drop"}
        Points on a cell without soil, see `tpsoil.soil_mask.with_soil_mask`: the values of their own cell; those of the
        nearest cell with soil, and points without one are dropped; or all are dropped. Unless kept, they are counted
        and named in `attrs`.
    masked_within_m : float, m, optional
        How far points are moved at most; by default two cells.
    encoding : str
        Of a CSV; as in `tpsoil.ingest.read_table`.
    where : str, optional
        Name of the points in messages.

    Returns
    -------
    DataFrame
        The points' columns, then `cell_row` and `cell_column` (the cell of the grid), then one column a layer. Points
        that have the first two already must lie in these cells. The index is the points' own, so it joins back.
        Continuous layers are float32 with NaN; classes are pandas' nullable integers, missing where the layer is.
        `attrs`: `points`, `points_outside`, `outside` (what became of them), `grid`.

    Raises
    ------
    InputError
        For points without positions, text in a position, longitude and latitude swapped, a layer named as a column of
        the points, points that were sampled in other cells, or no point inside the grid.
    MissingInputError
        For a layer that the cube does not have.

    Warns
    -----
    UserWarning
        With the count, if points are outside.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> cube = create_cube("memory://points", plateau_grid(100_000), overwrite=True)
    >>> cube["row"] = ("y", "x"), np.repeat(np.arange(18)[:, None], 28, axis=1)
    >>> sample_cube(cube, pd.DataFrame({"lon": [89.0], "lat": [33.1]}))["row"].tolist()
    [8]
    """
    name = where or (os.fspath(points) if isinstance(points, (str, os.PathLike)) else "points")
    require_one_of("sample_cube", "outside", outside, ("drop", "keep", "error"))
    require_movable(on_masked, masked_within_m, "sample_cube")
    table = read_table(points, encoding=encoding, where=name) if not isinstance(points, pd.DataFrame) else points.copy()
    if isinstance(cube, (str, os.PathLike)):
        cube = open_cube(cube)
    if isinstance(cube, xr.DataArray):
        cube = cube.to_dataset(name=cube.name or "value")
    chosen = _layers(cube, layers)
    grid = grid_of(cube[chosen], where="sample_cube")
    if clash := [layer for layer in chosen if layer in table.columns or layer in CELL_COLUMNS]:
        raise InputError(
            f"{name}: column{'s' if len(clash) > 1 else ''} {', '.join(map(repr, clash))} named as layers of the cube; "
            "rename them, drop them, or choose other layers"
        )
    rows, cols = locate_points(table, grid, where=name)
    inside = rows >= 0
    count = int((~inside).sum())
    if not inside.any():
        raise InputError(
            f"{name}: none of {len(table)} points is inside the grid {describe(grid)}; is it of another region?"
        )
    if count and outside == "error":
        raise InputError(f"{name}: {count} of {len(table)} points are outside the grid {describe(grid)}")
    if count:
        treatment = "dropped" if outside == "drop" else "kept with missing values"
        warnings.warn(
            f"{name}: {count} of {len(table)} points are outside the grid or have no position; {treatment}",
            stacklevel=2,
        )
    masked: dict[Hashable, Any] = {}
    if on_masked != "keep" and MASK in (complete := with_soil_mask(cube)):
        places = place_on_soil(
            complete[MASK], rows[inside], cols[inside], on_masked=on_masked, within_m=masked_within_m
        )
        labels = table["site"] if "site" in table else pd.Series(table.index, index=table.index)
        masked = {
            "points_masked": int(places.masked.sum()),
            "points_moved": int(places.moved.sum()),
            "masked_note": places.note(labels[inside].tolist()),
        }
        rows[inside], cols[inside] = places.rows, places.cols
        inside[np.flatnonzero(inside)[places.dropped]] = False
        if not inside.any():
            raise InputError(f"{name}: {masked['masked_note']}; no point is left")
    sampled = take_points({layer: cube[layer].data for layer in chosen}, rows[inside], cols[inside])
    cells = zip(CELL_COLUMNS, (rows[inside], cols[inside]))
    columns: dict[str, Any] = {column: pd.array(cell) for column, cell in cells}
    columns |= {layer: _column(sampled[layer], cube[layer]) for layer in chosen}
    values = pd.DataFrame(columns, index=np.flatnonzero(inside))
    if outside == "keep":
        values = values.reindex(np.arange(len(table)))
    result = table if outside == "keep" else table[inside]
    _require_same_cells(result, values, name, describe(grid))
    result = result.drop(columns=list(CELL_COLUMNS), errors="ignore")
    result = pd.concat([result, values.set_axis(result.index)], axis=1)
    result.attrs = {
        **table.attrs,
        "points": len(table),
        "points_outside": count,
        "outside": {"drop": "dropped", "keep": "kept with missing values", "error": "none"}[outside],
        "grid": describe(grid),
        "kinds": {**table.attrs.get("kinds", {}), **_kinds(cube[chosen])},
        **masked,
    }
    return result


def _require_same_cells(points: pd.DataFrame, values: pd.DataFrame, name: str, grid: str) -> None:
    """Points that were sampled before must lie in the cells of then."""
    for column in CELL_COLUMNS:
        if column in points:
            then = pd.to_numeric(points[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
            now = values[column].to_numpy(np.float64, na_value=np.nan)
            other = ~((then == now) | (np.isnan(then) & np.isnan(now)))
            if other.any():
                lines = describe_lines(other, points.attrs, values.index)
                raise InputError(
                    f"{name}: column '{column}', which sample_cube writes, has other cells than those of the grid "
                    f"{grid} in {int(other.sum())} of {len(points)} rows ({lines}): the points were sampled on another "
                    f"grid or moved; rename {' and '.join(CELL_COLUMNS)} to keep them, or drop them"
                )


def _kinds(layers: xr.Dataset) -> dict[str, str]:
    kinds = {str(name): stored_kind(str(name), layer.attrs) for name, layer in layers.data_vars.items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _layers(cube: xr.Dataset, layers: Sequence[str] | None) -> list[str]:
    flat = [str(name) for name, layer in cube.data_vars.items() if layer.dims == ("y", "x")]
    if layers is None:
        if not flat:
            raise InputError("sample_cube: the cube has no layers of dims (y, x)")
        return flat
    require_named("sample_cube", layers, flat, "layer", MissingInputError)
    return list(layers)


def _column(values: Array, layer: xr.DataArray) -> Any:
    """Values for a column: integers nullable, others as floats; missing where the layer has a declared code."""
    if values.dtype.kind in "iu":
        fill = missing_code(layer)
        return pd.arrays.IntegerArray(values, np.zeros(len(values), bool) if fill is None else values == fill)
    return mask(values, stated_fills(layer)).astype(values.dtype if values.dtype.kind == "f" else np.float64)
