"""Requirements of terrain and flow functions on a DEM: metres of height on a grid whose cells have a size in metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import is_lazy
from tpsoil.errors import GridError, InputError
from tpsoil.grid import cell_sizes_m, grid_of
from tpsoil.labels import stated_fills
from tpsoil.units import require_unit
from tpsoil.variables import variable

from .ranges import require_positive


@dataclass(frozen=True)
class Surface:
    """A checked DEM.

    Parameters
    ----------
    elevation : DataArray (y, x), float, m
    dx, dy : ndarray (ny,), float64, m
        Cell size of each row, signed: positive where x grows to the east along a row and y falls down a column.
    spacing : str
        How the cell size was determined, for the attributes.
    """

    elevation: xr.DataArray
    dx: npt.NDArray[np.float64]
    dy: npt.NDArray[np.float64]
    spacing: str


def checked_surface(elevation: xr.DataArray, *, where: str, cell_size_m: float | None = None) -> Surface:
    """The DEM as float with its metric spacing.

    Parameters
    ----------
    elevation : DataArray (y, x), m
        Integers become float32, and declared codes of missing cells NaN. Projected in metres, geographic, or without a
        CRS but with metric coordinates.
    where : str
        Named in errors.
    cell_size_m : float, optional
        Square cells of this size, north up, for a DEM without coordinates.

    Returns
    -------
    Surface

    Raises
    ------
    InputError
        Not a 2-D DataArray, or heights outside -500..9000 m (checked only where the DEM is in memory).
    UnitsError
        Heights in another unit than the metre.
    GridError
        No coordinates and no `cell_size_m`; degrees that are called metres; a rotated grid.
    """
    if not isinstance(elevation, xr.DataArray):
        raise InputError(f"{where}: elevation is {type(elevation).__name__}, expected an xarray.DataArray (y, x)")
    if elevation.ndim != 2:
        raise InputError(f"{where}: elevation has dims {elevation.dims}, expected (y, x); select one band or time")
    if elevation.dtype.kind not in "iuf":
        raise InputError(f"{where}: elevation is {elevation.dtype}, expected numbers")
    fix = "tpsoil.add_layer converts, given units=; or convert and set attrs['units'] = 'm'"
    require_unit(where, "elevation", elevation, "m", fix=fix)
    stored = elevation
    if elevation.dtype.kind != "f":
        elevation = elevation.astype("float32")
    if fills := stated_fills(stored):
        elevation = elevation.where(~stored.isin(fills))
    _check_heights(elevation, where)
    dx, dy, spacing = _spacing(elevation, where, cell_size_m)
    return Surface(elevation, dx, dy, spacing)


def _check_heights(elevation: xr.DataArray, where: str) -> None:
    if is_lazy(elevation) or elevation.size == 0:
        return
    spec = variable("elevation")
    low, high = float(elevation.min()), float(elevation.max())
    if low < spec.low or high > spec.high:
        raise InputError(
            f"{where}: elevation runs from {low:g} to {high:g} m, expected {spec.low:g} to {spec.high:g}; "
            "is it in feet, or is a nodata value such as -32767 not declared? add_layer takes units= and nodata="
        )


def _spacing(
    elevation: xr.DataArray, where: str, cell_size_m: float | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    rows = elevation.shape[0]
    if cell_size_m is not None:
        require_positive(where, "cell_size_m", cell_size_m, "metres")
        size = np.full(rows, float(cell_size_m))
        return size, size, f"cells of {cell_size_m:g} m as given"
    if elevation.odc.crs is None or (min(elevation.shape) < 2 and elevation.odc.geobox is None):
        return _plain_spacing(elevation, where)
    box = grid_of(elevation, where=where)
    dx, dy = cell_sizes_m(box)
    transform = box.transform
    if box.crs.geographic:
        spacing = "WGS84 geodesic cell size of each row"
    else:
        _refuse_degrees(elevation, abs(transform.a), abs(transform.e), where)
        spacing = f"projected cells of {abs(transform.a):g} x {abs(transform.e):g} m"
    return np.copysign(dx, transform.a), np.copysign(dy, -transform.e), spacing


def _plain_spacing(elevation: xr.DataArray, where: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    """Metric coordinates without a CRS; an axis of one cell takes the other's size."""
    steps: list[float | None] = []
    for dim in elevation.dims:
        if dim not in elevation.coords:
            raise GridError(
                f"{where}: elevation has no CRS and no coordinate '{dim}'; write a CRS with .rio.write_crs, "
                "or pass cell_size_m="
            )
        values = np.asarray(elevation.coords[dim], dtype=np.float64)
        if values.size < 2:
            steps.append(None)
            continue
        step = (values[-1] - values[0]) / (values.size - 1)
        if step == 0 or np.abs(np.diff(values) - step).max() > 1e-3 * abs(step):
            raise GridError(f"{where}: coordinate '{dim}' is not evenly spaced; bring the DEM onto a grid first")
        steps.append(float(step))
    if steps[0] is None and steps[1] is None:
        raise GridError(f"{where}: a DEM of one cell has no spacing; pass cell_size_m=")
    step_y = steps[0] if steps[0] is not None else -abs(float(steps[1] or 0.0))
    step_x = steps[1] if steps[1] is not None else abs(step_y)
    names = {str(dim).lower() for dim in elevation.dims}
    if names & {"lat", "latitude", "lon", "longitude"}:
        raise GridError(
            f"{where}: elevation lies on {sorted(names)} and has no CRS, so its cells have no size in metres; "
            "write one with .rio.write_crs('EPSG:4326')"
        )
    _refuse_degrees(elevation, abs(step_x), abs(step_y), where)
    rows = elevation.shape[0]
    spacing = f"no CRS; coordinates taken as metres, cells of {abs(step_x):g} x {abs(step_y):g} m"
    return np.full(rows, step_x), np.full(rows, -step_y), spacing


def _refuse_degrees(elevation: xr.DataArray, width: float, height: float, where: str) -> None:
    """Cells below a metre within 360 x 90 of the origin are degrees, even if the CRS states metres."""
    if max(width, height) >= 1.0:
        return
    extents: list[Any] = [np.abs(np.asarray(elevation.coords[d], dtype=np.float64)).max() for d in elevation.dims]
    if extents[0] <= 90.0 and extents[1] <= 360.0:
        raise GridError(
            f"{where}: cells of {width:.6g} x {height:.6g} m within {extents[1]:.4g} by {extents[0]:.4g} of the origin "
            "look like degrees called metres; write the true CRS with .rio.write_crs('EPSG:4326'), or pass cell_size_m="
        )


def require_fine_cells(
    dx: npt.NDArray[Any], dy: npt.NDArray[Any], max_length_m: float, *, allow_coarse_dem: bool, where: str
) -> str:
    """Reject cells that are all wider than the cap of the slope length, unless this is accepted.

    Parameters
    ----------
    dx, dy : ndarray (ny,), m
        Cell sizes of the rows of a DEM.
    max_length_m : float
    allow_coarse_dem : bool
    where : str

    Returns
    -------
    str
        What the attributes record of coarse cells that are accepted; "" for finer ones.

    Raises
    ------
    InputError
        For coarse cells that are not accepted, and for fine ones with `allow_coarse_dem`.
    """
    narrowest = float(np.sqrt(np.abs(dx * dy)).min(initial=np.inf))
    if not max_length_m < narrowest < np.inf:
        if allow_coarse_dem and narrowest < np.inf:
            raise InputError(
                f"{where}: allow_coarse_dem has no effect: cells of {narrowest:.4g} m are not wider than "
                f"max_length_m = {max_length_m:g} m; leave it out"
            )
        return ""
    text = (
        f"cells of {narrowest:.4g} m are wider than max_length_m = {max_length_m:g} m: the length is capped, but "
        "slopes between such cells are too gentle"
    )
    if not allow_coarse_dem:
        raise InputError(
            f"{where}: {text}, and LS with them; derive LS on a DEM of 30 to 90 m and average it (option dem of "
            "[derive.hydrology]), choose layers without ls_factor, or accept it with allow_coarse_dem = true, which "
            "the attributes record"
        )
    return text
