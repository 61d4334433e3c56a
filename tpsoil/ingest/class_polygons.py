"""Class layers from polygons: vegetation, lithology, parent material, by each cell's centre."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from odc.geo.geobox import GeoBox

from tpsoil.errors import GridError, InputError, listed, require_named
from tpsoil.grid import describe
from tpsoil.variables import Variable

from .vectors import (
    PolygonCells,
    edges_of,
    names_in,
    origin_of,
    polygons_of,
    read_features,
    require_effect,
    require_north_up,
    touches_grid,
)

Array = npt.NDArray[Any]


def class_reader(
    path: str | Path, grid: GeoBox, spec: Variable, *, column: str, codes: Mapping[str, int], crs: str | None = None
) -> tuple[Callable[[slice, slice], Array], dict[str, Any]]:
    """Polygons with a class column, by window of a grid.

    Parameters
    ----------
    path : str or Path
        A vector file.
    grid : GeoBox
        North up.
    spec : Variable
        The class layer.
    column : str
        Of the polygons, with names or codes.
    codes : mapping of str to int
        Value of the column, as text, to class.
    crs : str, optional
        Of a file without one.

    Returns
    -------
    read : callable
        `read(rows, columns)` gives uint8 classes, `spec.fill` outside all polygons; equal for any window.
    attrs : dict
        Of the layer.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    InputError
        For a column that is not there, and for values that the table lacks; all are listed.
    GridError
        For a file without a CRS, a rotated grid, polygons that do not touch the grid.
    """
    where = Path(path)
    frame = read_features(path, where=spec.name)
    require_north_up(grid, spec.name)
    require_named(f"{spec.name}: {where.name}", [column], frame)
    require_effect(crs, [frame], spec.name)
    skipped: list[str] = []
    frame = polygons_of(frame, where.name, crs, spec.name, skipped)
    values = names_in(frame[column])
    unlisted = values[~values.isin([*codes, ""])].value_counts()
    if len(unlisted):
        values_shown = listed((f"'{value}' ({count} polygons)" for value, count in unlisted.items()), 12)
        raise InputError(f"{spec.name}: the table lacks {values_shown} of column '{column}'; add them")
    if not (values != "").any():
        raise InputError(f"{spec.name}: column '{column}' of {where.name} is empty in all {len(frame)} polygons")
    by_code = values.map(codes)
    # The class with the smallest code decides where polygons overlap, so it is the last one.
    present = sorted((int(code) for code in by_code.dropna().unique()), reverse=True)
    areas = tuple((code, edges_of([frame[by_code == code]], grid)) for code in present)
    if not any(touches_grid(edges, grid) for _, edges in areas):
        raise GridError(f"{spec.name}: the polygons of {where.name} do not touch the grid {describe(grid)}")
    attrs = {
        "source": where.name,
        **origin_of([path], skipped),
        "column": column,
        "polygons_without_class": int((values == "").sum()),
    }
    return PolygonCells(grid, int(spec.fill), areas), attrs
