"""The grid that `[grid]` describes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from tpsoil.errors import GridError, InputError
from tpsoil.grid import PLATEAU_CRS, plateau_grid

from .layer_stage import grid_of_source

if TYPE_CHECKING:
    from .recipe import GridTable

LARGEST_CELLS = 10**11


def grid_from_table(table: GridTable, absolute_path: Callable[[str], str], *, where: str) -> GeoBox:
    """The cells of `[grid]`.

    Parameters
    ----------
    table : GridTable
    absolute_path : callable
        Converts a path of the recipe to an absolute path.
    where : str
        Named in errors.

    Returns
    -------
    GeoBox

    Raises
    ------
    InputError, GridError, MissingInputError
    """
    if table.like is not None:
        return grid_of_source(absolute_path(table.like), where)
    crs = CRS(PLATEAU_CRS if table.crs == "plateau" else table.crs)
    size = float(table.resolution or 0.0)
    if table.bounds is not None:
        return _snapped(table.bounds, size, crs, where)
    if table.cover is None:
        return plateau_grid(size)
    box = grid_of_source(absolute_path(table.cover), where)
    own = box.boundingbox
    to_grid = Transformer.from_crs(box.crs.proj, crs.proj, always_xy=True)
    return _snapped(
        to_grid.transform_bounds(own.left, own.bottom, own.right, own.top, densify_pts=501), size, crs, where
    )


def _snapped(bounds: tuple[float, float, float, float], size: float, crs: CRS, where: str) -> GeoBox:
    """Snapped outward to multiples of the cell size, so that grids of one CRS and cell size share one lattice."""
    left, bottom = (math.floor(v / size + 1e-9) for v in bounds[:2])
    right, top = (math.ceil(v / size - 1e-9) for v in bounds[2:])
    rows, columns = top - bottom, right - left
    if rows < 1 or columns < 1:
        raise GridError(f"{where}: {bounds} contains no cell of {size:g}; check bounds and resolution")
    if rows * columns > LARGEST_CELLS:
        raise InputError(
            f"{where}: {rows} x {columns} cells; is resolution {size:g} in the unit of {crs.to_epsg() or 'the CRS'}?"
        )
    return GeoBox((rows, columns), Affine(size, 0, left * size, 0, -size, top * size), crs)
