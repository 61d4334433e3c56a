"""Hydrology: upslope area, wetness, slope length, LS and sediment transport, routed over the complete grid at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import pyflwdir
import xarray as xr

from tpsoil.blocks import map_whole
from tpsoil.errors import InputError, nearest_name
from tpsoil.kernels.flow import (
    CHINESE,
    NO_DATA,
    STANDARD,
    flow_indices,
    slope_lengths,
    steepest_directions,
)
from tpsoil.kernels.surface import RILEY, terrain_pass
from tpsoil.variables import Variable, variable

from .elevation import Surface, checked_surface

Array = npt.NDArray[Any]
Steepness = Literal["rusle", "chinese"]

HYDROLOGY_LAYERS: Final = ("upslope_area", "topographic_wetness", "slope_length", "ls_factor", "sediment_transport")
STEEPNESS: Final = {"rusle": STANDARD, "chinese": CHINESE}
BYTES_A_CELL: Final = 72
"""Peak memory of the routing beyond the DEM, bytes a cell; measured, see `tests/test_hydrology.py`."""
MEMORY_LIMIT_GB: Final = 8.0
LEAST_TANGENT: Final = 1e-3
"""Floor of tan(slope) in the wetness index, so that level ground has one."""
CUTOFFS: Final = (0.5, 0.7)
"""A slope length ends where the slope falls below this share of the slope above; the second below 5 %."""


def hydrology_attributes(
    elevation: xr.DataArray,
    *,
    steepness: Steepness = "rusle",
    max_length_m: float = 300.0,
    memory_limit_gb: float = MEMORY_LIMIT_GB,
    cell_size_m: float | None = None,
) -> xr.Dataset:
    """Upslope area, wetness, slope length, LS factor and sediment transport index of a DEM.

    Parameters
    ----------
    elevation : DataArray (y, x), m
        numpy or dask; the whole catchment, at 30 to 90 m. Missing cells and the grid's edge are outlets, so the
        values along a cut through a catchment are too small: give a margin.
    steepness : {"rusle", "chinese"}
        RUSLE's S factor; or Liu 1994's line above 10 degrees.
    max_length_m : float
        Cap of a cell's effective slope length 22.13 L^(1/m), its own length included, so that it also applies to cells
        wider than the cap; > 0. RUSLE was fitted on hillslopes up to some 300 m.
    memory_limit_gb : float
        The routing is rejected where it would need more.
    cell_size_m : float, optional
        Square cells of this size, north up, for a DEM without coordinates.

    Returns
    -------
    Dataset (y, x), float32
        upslope_area (m, specific catchment area with the cell's own), topographic_wetness (1), slope_length (m),
        ls_factor (1), sediment_transport (1). NaN where the DEM is; the indices with slope in them also at its edges.
        Lazy where `elevation` is, as one task over the complete grid.

    Raises
    ------
    InputError
        For an unknown option and for a grid that would need more than `memory_limit_gb`; the message has the size
        that would fit.
    UnitsError, GridError
        As `terrain_attributes`.

    Notes
    -----
    Flow is not local: a cell's area can come from the far side of the grid, so this is never run by blocks; a lazy
    input is brought together in one task. Memory: 72 bytes a cell beyond the DEM.

    Depressions are filled (Wang and Liu 2006, by pyflwdir, on elevations rounded to float32); flow goes to the
    steepest of eight neighbours (O'Callaghan and Mark 1984), on level ground the direction of the filling. Slope and
    aspect are Horn's, of the DEM as given. Wetness ln(As / tan b) with tan b at least 0.001; transport
    (As / 22.13)^0.6 (sin b / 0.0896)^1.3; LS = L S with Desmet and Govers 1996
    L = ((A + D^2)^(m+1) - A^(m+1)) / (D^(m+2) x^m 22.13^m), m by McCool 1989, A the area that enters the cell, D its
    size, x = |sin aspect| + |cos aspect|; L is at most (max_length_m / 22.13)^m, the mean of L over a slope of that
    length, since a longer slope counts as several. Slope length by Hickey 2000: half a step at local heights, then the
    longest inflow plus the step, ending where the slope falls below half (0.7 below 5 %) of the slope above.

    References
    ----------
    Wang and Liu 2006, doi 10.1080/13658810500433453. Desmet and Govers 1996, J. Soil and Water Conservation 51,
    427-433. Moore and Burch 1986, Soil Science Society of America Journal 50, 1294-1298. Renard et al. 1997, USDA
    Agriculture Handbook 703. Hickey 2000, Cartography 29, 1-8. Liu, Nearing and Risse 1994, Trans. ASAE 37.

    Examples
    --------
    >>> dem = xr.DataArray(np.tile(np.arange(50.0, 0, -10), (5, 1)), dims=("y", "x"))
    >>> hydrology_attributes(dem, cell_size_m=30.0).slope_length[2].values.tolist()
    [15.0, 45.0, 75.0, 105.0, 135.0]
    """
    where = "hydrology_attributes"
    if steepness not in STEEPNESS:
        raise InputError(f"{where}: steepness is {steepness!r}{nearest_name(str(steepness), STEEPNESS)}")
    if not (np.isfinite(max_length_m) and max_length_m > 0):
        raise InputError(f"{where}: max_length_m is {max_length_m!r}, expected metres above 0")
    surface = checked_surface(elevation, where=where, cell_size_m=cell_size_m)
    _refuse_memory(surface, memory_limit_gb, where)
    layers = map_whole(
        _Routing(STEEPNESS[steepness], float(max_length_m)),
        surface.elevation,
        outputs=[variable(name) for name in HYDROLOGY_LAYERS],
        rows=(surface.dx, surface.dy),
        attrs={
            "parents": "elevation",
            "cell_size": surface.spacing,
            "flow": "D8 on the filled DEM, whole grid at once",
        },
    )
    result = xr.Dataset({str(cast(xr.DataArray, layer).name): layer for layer in layers})
    for name, formula in {
        "upslope_area": "upslope area with the cell's own over the cell size",
        "topographic_wetness": f"ln(As / tan b), tan b at least {LEAST_TANGENT:g}",
        "slope_length": f"Hickey 2000, cutoffs {CUTOFFS[0]:g} and below 5 % {CUTOFFS[1]:g}",
        "ls_factor": f"Desmet and Govers 1996, McCool 1989, steepness {steepness}",
        "sediment_transport": "Moore and Burch 1986",
    }.items():
        result[name].attrs["formula"] = formula
    result["ls_factor"].attrs["max_length_m"] = float(max_length_m)
    return result


def filled_elevation(
    elevation: xr.DataArray, *, memory_limit_gb: float = MEMORY_LIMIT_GB, cell_size_m: float | None = None
) -> xr.DataArray:
    """A DEM without depressions: every cell drains to the edge of the valid cells.

    Parameters
    ----------
    elevation : DataArray (y, x), m
    memory_limit_gb, cell_size_m : float
        As in `hydrology_attributes`.

    Returns
    -------
    DataArray (y, x), float32, m
        Depressions raised to their lowest pour point (Wang and Liu 2006), level there. NaN where `elevation` is.

    Raises
    ------
    InputError, UnitsError, GridError
        As `hydrology_attributes`.

    Examples
    --------
    >>> dem = xr.DataArray(np.full((3, 3), 7.0), dims=("y", "x"))
    >>> dem[1, 1] = 2.0
    >>> float(filled_elevation(dem, cell_size_m=30.0)[1, 1])
    7.0
    """
    where = "filled_elevation"
    surface = checked_surface(elevation, where=where, cell_size_m=cell_size_m)
    _refuse_memory(surface, memory_limit_gb, where)
    (result,) = map_whole(
        _fill_only,
        surface.elevation,
        outputs=[Variable("filled_elevation", "elevation without depressions", "m", meaning="Wang and Liu 2006")],
        attrs={"parents": "elevation"},
    )
    return cast(xr.DataArray, result)


@dataclass(frozen=True)
class _Routing:
    steepness: int
    max_length_m: float

    def __call__(self, z: Array, dx: Array, dy: Array) -> tuple[Array, ...]:
        if not np.isfinite(z).any():
            return tuple(np.full(z.shape, np.nan, np.float32) for _ in HYDROLOGY_LAYERS)
        if z.size == 1:  # a network needs two cells
            return tuple(layer[:, :1] for layer in self(np.append(z, [[np.nan]], axis=1), dx, dy))
        filled, flood = _fill(z)
        directions = steepest_directions(filled, flood, dx, dy)
        del flood
        flow = pyflwdir.from_array(directions, ftype="d8", check_ftype=False, cache=False)
        del directions
        order = flow.idxs_seq
        length = slope_lengths(flow.idxs_ds, order, filled.ravel(), dx, dy, *CUTOFFS).astype(np.float32)
        del filled
        own = np.broadcast_to(np.abs(dx * dy)[:, None], z.shape).ravel()
        area = pyflwdir.streams.accuflux(flow.idxs_ds, order, own, -9999.0).reshape(z.shape)
        del flow, order, own
        area[~np.isfinite(z)] = np.nan
        padded = np.pad(z, 1, constant_values=np.nan)
        slope, aspect, *_ = terrain_pass(padded, dx, dy, RILEY, np.nan, 5.0, 1.0, 1.0, 1.0)
        specific, wet, ls, sti = flow_indices(
            area, slope, aspect, dx, dy, self.steepness, self.max_length_m, LEAST_TANGENT
        )
        return specific, wet, length.reshape(z.shape), ls, sti


def _fill(z: Array) -> tuple[Array, Array]:
    """Filled elevation (float64 of float32 values) and the directions of the flood.

    The queue inside pyflwdir stores float32. With float64 arrays of float32 values every sum in it is exact, so that
    level ground stays level and the directions on it cannot form a loop.
    """
    rounded = z.astype(np.float32).astype(np.float64)
    rounded[~np.isfinite(rounded)] = np.nan
    filled, directions = pyflwdir.dem.fill_depressions(rounded, nodata=np.nan)
    directions[np.isnan(rounded)] = NO_DATA
    return filled, directions


def _fill_only(z: Array) -> Array:
    return _fill(z)[0] if np.isfinite(z).any() else z


def _refuse_memory(surface: Surface, limit_gb: float, where: str) -> None:
    cells = surface.elevation.size
    needed = cells * BYTES_A_CELL / 1e9
    if needed > limit_gb:
        factor = int(np.ceil(np.sqrt(needed / limit_gb)))
        rows, columns = surface.elevation.shape
        raise InputError(
            f"{where}: routing {rows} x {columns} cells needs {needed:.1f} GB ({BYTES_A_CELL} bytes "
            f"a cell), the limit is {limit_gb:g} GB; average the DEM by {factor} x {factor} cells, "
            f"cut it into whole basins, or set memory_limit_gb={np.ceil(needed):.0f}"
        )
