"""`[grid]`: its table, the grid that it describes, and the grid of a box in degrees."""

from __future__ import annotations

import math

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pydantic import Field, field_validator, model_validator
from pyproj import Transformer

from tpsoil.errors import GridError, InputError
from tpsoil.grid import PLATEAU_CRS, plateau_grid, require_located
from tpsoil.plausibility import PLATEAU_BOX
from tpsoil.sources import require_box

from .layer_stage import grid_of_source
from .section import FilePath, Section

LARGEST_CELLS = 10**11


class GridTable(Section):
    """`[grid]`: the cells of every map.

    Parameters
    ----------
    crs : str
        `"plateau"` for the Albers projection of the plateau, or anything PROJ reads, such as `"EPSG:3035"`.
    resolution : float
        Cell size in the CRS's unit.
    bounds : list of float
        Left, bottom, right, top in the CRS's unit. Without it: `bbox`, or what `cover` covers; else the plateau.
    bbox : list of float
        West, south, east, north in degrees; resolution in metres. Without `crs`: the plateau's projection inside
        70-105 E, 25-41 N, elsewhere Lambert's azimuthal equal-area projection around the centre.
    cover : str
        A raster whose extent is covered, snapped outward to whole cells.
    like : str
        A raster or store whose grid is used unchanged; replaces all of the above.
    chunks : int
        Side of the stored chunks, cells.
    """

    crs: str = "plateau"
    resolution: float | None = Field(default=None, gt=0)
    bounds: tuple[float, float, float, float] | None = None
    bbox: tuple[float, float, float, float] | None = None
    cover: FilePath | None = None
    like: FilePath | None = None
    chunks: int = Field(default=512, ge=16, le=8192)

    @field_validator("crs")
    @classmethod
    def _check_crs(cls, text: str) -> str:
        if text != "plateau":
            try:
                crs = CRS(text)
            except Exception as error:
                raise ValueError(f"is {text!r}, expected 'plateau' or a CRS such as 'EPSG:3035'") from error
            require_located(crs, where=f"is {text[:40]!r}")
        return text

    @model_validator(mode="after")
    def _one_way(self) -> GridTable:
        extents = [name for name in ("bounds", "bbox", "cover") if getattr(self, name) is not None]
        if self.like is not None:
            if self.resolution is not None or extents:
                raise ValueError("like defines the complete grid; leave resolution, bounds, bbox and cover out")
            if "crs" in self.model_fields_set:
                raise ValueError("like defines the complete grid including its crs; leave crs out")
        elif self.resolution is None:
            raise ValueError("resolution is missing (cell size in the CRS's unit)")
        elif len(extents) > 1:
            raise ValueError(f"{' and '.join(extents)} each define the extent; give one")
        elif self.crs != "plateau" and not extents:
            raise ValueError("bounds, bbox or cover is missing; only the plateau has an extent of its own")
        if self.bounds is not None and not all(map(math.isfinite, self.bounds)):
            raise ValueError(f"bounds is {list(self.bounds)}, expected four finite numbers")
        if self.bounds is not None and not (self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]):
            raise ValueError(f"bounds is {list(self.bounds)}, expected left < right and bottom < top")
        return self

    @property
    def named_crs(self) -> str | None:
        """The CRS where one is given; None leaves the choice to the box."""
        return None if "crs" not in self.model_fields_set else PLATEAU_CRS if self.crs == "plateau" else self.crs


def grid_from_table(table: GridTable, *, where: str) -> GeoBox:
    """The cells of `[grid]`.

    Parameters
    ----------
    table : GridTable
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
        return grid_of_source(table.like, where)
    size = float(table.resolution or 0.0)
    if table.bbox is not None:
        return grid_of_box(table.bbox, size, table.named_crs, where=where)
    crs = CRS(PLATEAU_CRS if table.crs == "plateau" else table.crs)
    if table.bounds is not None:
        return _snapped(table.bounds, size, crs, where)
    if table.cover is None:
        return plateau_grid(size)
    box = grid_of_source(table.cover, where)
    own = box.boundingbox
    to_grid = Transformer.from_crs(box.crs.proj, crs.proj, always_xy=True)
    return _snapped(
        to_grid.transform_bounds(own.left, own.bottom, own.right, own.top, densify_pts=501), size, crs, where
    )


def grid_of_box(
    box: tuple[float, float, float, float], resolution: float, crs: str | None = None, *, where: str
) -> GeoBox:
    """The grid around a box in degrees, snapped outward to multiples of the cell size.

    Parameters
    ----------
    box : (west, south, east, north)
        Degrees, WGS84.
    resolution : float
        Cell size, m.
    crs : str, optional
        A projected CRS. By default the plateau's Albers projection inside 70-105 E, 25-41 N, and elsewhere Lambert's
        azimuthal equal-area projection around the box's centre.
    where : str
        Named in errors.

    Raises
    ------
    InputError
        For a box in another order, empty, across the date line or beyond a pole; for a resolution that is not
        positive; for a CRS that is unknown or in degrees; for more cells than a grid may have.

    Examples
    --------
    >>> grid_of_box((88, 29, 92, 32), 10_000, where="example").shape
    Shape2d(x=40, y=35)
    """
    west, south, east, north = require_box(box)
    if not (math.isfinite(resolution) and resolution > 0):
        raise InputError(f"{where}: resolution is {resolution}, expected metres above 0")
    low_x, low_y, high_x, high_y = PLATEAU_BOX
    on_plateau = low_x <= west and east <= high_x and low_y <= south and north <= high_y
    middle = round((west + east) / 2), round((south + north) / 2)
    text = crs or (
        PLATEAU_CRS if on_plateau else f"+proj=laea +lat_0={middle[1]} +lon_0={middle[0]} +datum=WGS84 +units=m"
    )
    try:
        target = CRS(text)
    except Exception as error:  # pyproj and odc-geo raise several unrelated classes
        raise InputError(f"{where}: crs is {crs!r}, expected one such as 'EPSG:3035'") from error
    if target.geographic:
        raise InputError(f"{where}: crs {crs} is in degrees; the grid of a box is in metres, such as 'EPSG:3035'")
    to_grid = Transformer.from_crs(4326, target.proj, always_xy=True)
    return _snapped(to_grid.transform_bounds(west, south, east, north, densify_pts=101), resolution, target, where)


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
