"""Terrain attributes: gradient, curvature, ruggedness and slope position from one pass over 3 x 3 windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_windows
from tpsoil.errors import InputError, require_one_of
from tpsoil.kernels.surface import MEAN_DIFFERENCE, RILEY, annulus_position, terrain_pass
from tpsoil.labels import dataset_of
from tpsoil.variables import Variable, variable

from .elevation import checked_surface

Array = npt.NDArray[Any]
Convention = Literal["convex_positive", "arcgis", "laplacian"]
Ruggedness = Literal["riley", "mean_difference"]

TERRAIN_LAYERS: Final = (
    "slope",
    "aspect",
    "general_curvature",
    "plan_curvature",
    "profile_curvature",
    "terrain_ruggedness",
    "slope_position",
)
CONVENTIONS: Final[Mapping[str, tuple[float, float, float, str, str]]] = {
    "convex_positive": (1.0, 1.0, 1.0, "m-1", "positive where convex; general = plan + profile"),
    "arcgis": (100.0, 100.0, -100.0, "1/100 m", "general and plan positive, profile negative where convex"),
    "laplacian": (-1.0, -1.0, -1.0, "m-1", "the Laplacian itself, negative where convex; general = plan + profile"),
}
"""Convention: factors of general, plan and profile curvature from 1/m convex positive; units; sign rule."""

RUGGEDNESS: Final = {"riley": RILEY, "mean_difference": MEAN_DIFFERENCE}
FLAT_BELOW_DEGREES: Final = 5.0
"""Weiss 2001: a middle position is flat up to this slope."""


@dataclass(frozen=True, eq=False)
class TerrainWindow:
    """The kernel on a DEM: `window(z with a halo of one cell, row numbers)`.

    Parameters
    ----------
    dx, dy : ndarray (ny,), float64, m
        Of all rows of the DEM.
    ruggedness, position_sd, factors
        Of the kernel.
    """

    dx: Array
    dy: Array
    ruggedness: int = RILEY
    position_sd: float = float("nan")
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    halo: int = 1

    def __call__(self, z: Array, rows: Array) -> tuple[Array, ...]:
        """`TERRAIN_LAYERS` in order."""
        dx, dy = self.dx[rows], self.dy[rows]
        return terrain_pass(z, dx, dy, self.ruggedness, self.position_sd, FLAT_BELOW_DEGREES, *self.factors)


def terrain_attributes(
    elevation: xr.DataArray,
    *,
    curvature_convention: Convention = "convex_positive",
    ruggedness: Ruggedness = "riley",
    position_sd: float | None = None,
    cell_size_m: float | None = None,
) -> xr.Dataset:
    """Slope, aspect, curvatures, ruggedness and slope position of a DEM.

    Parameters
    ----------
    elevation : DataArray (y, x), m
        numpy or dask. In metres on a projected grid, or geographic: then every row has its own metric cell size.
        Use it at the DEM's own resolution and average the results to a coarser grid; curvature and slope of an
        averaged DEM are much smaller.
    curvature_convention : {"convex_positive", "arcgis", "laplacian"}
        1/m positive on ridges (what the solum model needs); ArcGIS' 1/100 m with negative convex profile curvature;
        or the mathematical Laplacian's sign.
    ruggedness : {"riley", "mean_difference"}
        Root of the summed squared differences (Riley 1999), or the mean absolute difference (TRI in gdal, terra).
    position_sd : float, optional
        Standard deviation that scales slope position, m; > 0. Weiss 2001 takes that of the topographic position
        over the whole DEM: `float(topographic_position(dem).std())`. Without it each cell is scaled by its own eight
        neighbours (the deviation from mean elevation, De Reu et al. 2013), so a value never depends on the extent.
    cell_size_m : float, optional
        Square cells of this size, north up, for a DEM without coordinates.

    Returns
    -------
    Dataset (y, x)
        slope (degree), aspect (degree, clockwise from north, downslope; NaN where flat), general_curvature,
        plan_curvature, profile_curvature (1/m), terrain_ruggedness (m), float32; slope_position (classes, uint8, 255
        missing). NaN at the grid's edge and where any of the nine cells is missing. Lazy where `elevation` is.

    Raises
    ------
    InputError
        For an unknown option, a DEM that is not 2-D, heights outside -500..9000 m.
    UnitsError
        For heights in another unit than the metre.
    GridError
        For a grid without metric cell size: degrees called metres, no CRS and no coordinates.

    Notes
    -----
    Gradient by Horn 1981; curvature by Zevenbergen and Thorne 1987: with D, E half the second derivatives, F the mixed
    one, G, H the gradient, general = -2(D + E), plan = -2(DH^2 + EG^2 - FGH)/(G^2 + H^2),
    profile = -2(DG^2 + EH^2 + FGH)/(G^2 + H^2), and plan = profile = 0 where G = H = 0. One pass of one kernel, halo
    one cell, float64 inside; equal bit for bit for every chunking. Memory: the DEM with its halo, and 25 bytes a cell
    of results.

    References
    ----------
    Horn 1981, doi 10.1109/PROC.1981.11918. Zevenbergen and Thorne 1987, doi 10.1002/esp.3290120107.
    Riley, DeGloria and Elliot 1999, Intermountain Journal of Sciences 5, 23-27. Weiss 2001, ESRI user conference.

    Examples
    --------
    >>> y, x = np.meshgrid(np.arange(90.0, -1, -30), np.arange(0.0, 91, 30), indexing="ij")
    >>> dem = xr.DataArray(1000 + 0.1 * x - 0.2 * y, coords={"y": y[:, 0], "x": x[0]}, dims=("y", "x"))
    >>> result = terrain_attributes(dem)
    >>> round(float(result.slope[1, 1]), 4), round(float(result.aspect[1, 1]), 4)
    (12.6044, 333.4349)
    """
    where = "terrain_attributes"
    require_one_of(where, "curvature_convention", curvature_convention, CONVENTIONS)
    require_one_of(where, "ruggedness", ruggedness, RUGGEDNESS)
    general, plan, profile, _, sign = CONVENTIONS[curvature_convention]
    if position_sd is not None and not (np.isfinite(position_sd) and position_sd > 0):
        raise InputError(f"{where}: position_sd is {position_sd!r}, expected metres above 0, or None")
    surface = checked_surface(elevation, where=where, cell_size_m=cell_size_m)
    scale = np.nan if position_sd is None else float(position_sd)
    layers = map_windows(
        TerrainWindow(surface.dx, surface.dy, RUGGEDNESS[ruggedness], scale, (general, plan, profile)),
        surface.elevation,
        halo=1,
        outputs=_variables(curvature_convention),
        rows=(np.arange(surface.elevation.shape[0]),),
        attrs={"parents": "elevation", "cell_size": surface.spacing},
    )
    result = dataset_of(layers)
    for name in ("general_curvature", "plan_curvature", "profile_curvature"):
        result[name].attrs |= {
            "curvature_convention": curvature_convention,
            "sign": sign,
            "formula": "Zevenbergen and Thorne 1987",
        }
    result["slope"].attrs["formula"] = result["aspect"].attrs["formula"] = "Horn 1981"
    result["terrain_ruggedness"].attrs["formula"] = (
        "Riley 1999" if ruggedness == "riley" else "mean absolute difference to the eight neighbours"
    )
    result["slope_position"].attrs |= {
        "formula": "Weiss 2001 classes of elevation above the mean of the eight neighbours",
        "scale": "standard deviation of the eight neighbours" if position_sd is None else f"{position_sd:g} m",
    }
    return result


def topographic_position(
    elevation: xr.DataArray, *, inner_cells: int = 0, outer_cells: int = 1, cell_size_m: float | None = None
) -> xr.DataArray:
    """Topographic position index: elevation above the mean of an annulus around the cell.

    Parameters
    ----------
    elevation : DataArray (y, x), m
    inner_cells, outer_cells : int
        The annulus contains the cells farther than `inner_cells` and not farther than `outer_cells` from the centre,
        each plus half a cell, so 0 and 1 are the eight neighbours.
    cell_size_m : float, optional
        As in `terrain_attributes`.

    Returns
    -------
    DataArray (y, x), float32, m
        Positive above the surroundings. NaN where any cell of the annulus is missing or beyond the edge.

    Raises
    ------
    InputError
        For radii that are not 0 <= inner < outer, and for what `terrain_attributes` rejects.

    References
    ----------
    Weiss 2001, ESRI user conference.

    Examples
    --------
    >>> dem = xr.DataArray(np.zeros((3, 3)), dims=("y", "x"))
    >>> dem[1, 1] = 8.0
    >>> float(topographic_position(dem, cell_size_m=30.0)[1, 1])
    8.0
    """
    where = "topographic_position"
    if not 0 <= inner_cells < outer_cells:
        raise InputError(f"{where}: the annulus is {inner_cells} to {outer_cells} cells, expected 0 <= inner < outer")
    surface = checked_surface(elevation, where=where, cell_size_m=cell_size_m)
    (result,) = map_windows(
        partial(_above_annulus, inner=int(inner_cells), outer=int(outer_cells)),
        surface.elevation,
        halo=int(outer_cells),
        outputs=[Variable("topographic_position", "topographic position index", "m", meaning="Weiss 2001")],
        attrs={"parents": "elevation", "annulus_cells": [int(inner_cells), int(outer_cells)]},
    )
    return cast(xr.DataArray, result)


def _above_annulus(z: Array, *, inner: int, outer: int) -> Array:
    steps = np.arange(-outer, outer + 1)
    rows, columns = (offsets.ravel() for offsets in np.meshgrid(steps, steps, indexing="ij"))
    distance = np.hypot(rows, columns)
    ring = (distance > inner + 0.5 * (inner > 0)) & (distance <= outer + 0.5) & (distance > 0)
    return annulus_position(z, outer, rows[ring], columns[ring])


def _variables(convention: Convention) -> list[Variable]:
    """The layers; curvature in another convention than the catalogue's with its own unit and sign rule."""
    layers = [variable(name) for name in TERRAIN_LAYERS]
    if convention == "convex_positive":
        return layers
    *_, units, sign = CONVENTIONS[convention]
    return [replace(one, units=units, meaning=sign) if one.name.endswith("curvature") else one for one in layers]
