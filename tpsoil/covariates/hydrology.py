"""Hydrology: upslope area, wetness, slope length and sediment transport over a complete DEM by tiles, LS by windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import is_lazy, map_whole, map_windows
from tpsoil.errors import InputError, require_one_of
from tpsoil.kernels import drainage, flow
from tpsoil.kernels.flow import CHINESE, STANDARD
from tpsoil.kernels.surface import RILEY, terrain_pass
from tpsoil.labels import dataset_of
from tpsoil.variables import Variable, variable

from .by_window import ReadArray, layers_by_window
from .elevation import Surface, checked_surface, require_fine_cells
from .flow_tiles import CUTOFFS, DemGrid, FlowTiles, needed_bytes
from .ranges import require_positive

Array = npt.NDArray[Any]
Steepness = Literal["rusle", "chinese"]

HYDROLOGY_LAYERS: Final = ("upslope_area", "topographic_wetness", "slope_length", "ls_factor", "sediment_transport")
FLOW_LAYERS: Final = ("upslope_area", "topographic_wetness", "slope_length", "sediment_transport")
"""Layers that need the complete DEM."""
STEEPNESS: Final = {"rusle": STANDARD, "chinese": CHINESE}
MEMORY_LIMIT_GB: Final = 8.0
LEAST_TANGENT: Final = 1e-3
"""Floor of tan(slope) in the wetness index, so that level ground has one."""
LONGEST_HALO: Final = 256
"""Cells around a window; with a cap that needs more, LS is made of the complete grid at once."""
COMPLETE_BYTES: Final = 200
"""Peak memory of all layers of a complete DEM in memory, bytes a cell; measured, see `tests/test_hydrology.py`."""
AREA_UNIT: Final = 2.0**-20
"""Areas in LS are multiples of this, m2, so that their sums are exact in any order."""


@dataclass(frozen=True)
class LsOptions:
    """Options of the LS factor, as in `hydrology_attributes`."""

    steepness: Steepness = "rusle"
    max_length_m: float = 300.0
    allow_coarse_dem: bool = False


def hydrology_attributes(
    elevation: xr.DataArray,
    *,
    steepness: Steepness = "rusle",
    max_length_m: float = 300.0,
    allow_coarse_dem: bool = False,
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
    allow_coarse_dem : bool
        Accept a DEM whose cells are all wider than `max_length_m`, and record it in the layer's attributes. The length
        is capped there, but slopes between such cells are too gentle. Rejected for a finer DEM, on which it has no
        effect.
    memory_limit_gb : float
        The flow over the complete DEM is rejected where it would need more.
    cell_size_m : float, optional
        Square cells of this size, north up, for a DEM without coordinates.

    Returns
    -------
    Dataset (y, x), float32
        upslope_area (m, specific catchment area with the cell's own), topographic_wetness (1), slope_length (m),
        ls_factor (1), sediment_transport (1). NaN where the DEM is; the indices with slope in them also at its edges.
        Lazy where `elevation` is, by its chunks; equal bit for bit for every chunking.

    Raises
    ------
    InputError
        For an unknown option, for a grid that would need more than `memory_limit_gb`, where the message has the size
        that would fit, and for cells wider than `max_length_m` without `allow_coarse_dem`.
    UnitsError, GridError
        As `terrain_attributes`.

    Notes
    -----
    LS needs only the cells whose area is below the cap's: flow goes to the steepest of eight neighbours of the DEM as
    given (O'Callaghan and Mark 1984), and a pit or level ground, where sediment settles, ends a slope. So a window with
    a halo of 2^(1/2) max_length_m / D cells has the same LS as the complete grid; memory is that of the window.
    LS = L S with Desmet and Govers 1996 L = ((A + D^2)^(m+1) - A^(m+1)) / (D^(m+2) x^m 22.13^m), m by McCool 1989, A
    the area that enters the cell, D its size, x = |sin aspect| + |cos aspect|; L is at most (max_length_m / 22.13)^m,
    the mean of L over a slope of that length, since a longer slope counts as several.

    The other layers need the complete DEM, which is drained by tiles of 1024 x 1024 cells: 80 MB, and 0.8 bytes for
    each cell of the DEM. Depressions are filled (Barnes 2016), areas accumulated (Barnes 2017); on level ground flow
    goes the shortest way to its rim. Slope and aspect are Horn's, of the DEM as given. Wetness ln(As / tan b) with
    tan b at least 0.001; transport (As / 22.13)^0.6 (sin b / 0.0896)^1.3. Slope length by Hickey 2000: half a step at
    local heights, then the longest inflow plus the step, ending where the slope falls below half (0.7 below 5 %) of the
    slope above. Elevation is rounded to float32 for the flow.

    References
    ----------
    Barnes 2016, doi 10.1016/j.cageo.2016.07.001. Barnes 2017, doi 10.1016/j.geomorph.2016.12.012. Desmet and Govers
    1996, J. Soil and Water Conservation 51, 427-433. Moore and Burch 1986, Soil Science Society of America Journal 50,
    1294-1298. Renard et al. 1997, USDA Agriculture Handbook 703. Hickey 2000, Cartography 29, 1-8. Liu, Nearing and
    Risse 1994, Trans. ASAE 37. O'Callaghan and Mark 1984, doi 10.1016/S0734-189X(84)80011-0.

    Examples
    --------
    >>> dem = xr.DataArray(np.tile(np.arange(50.0, 0, -10), (5, 1)), dims=("y", "x"))
    >>> hydrology_attributes(dem, cell_size_m=30.0).slope_length[2].values.tolist()
    [15.0, 45.0, 75.0, 105.0, 135.0]
    """
    options = LsOptions(steepness, max_length_m, allow_coarse_dem)
    return xr.Dataset(
        {
            **flow_layers(elevation, memory_limit_gb=memory_limit_gb, cell_size_m=cell_size_m),
            "ls_factor": ls_factor_of(elevation, options, cell_size_m=cell_size_m),
        }
    )[list(HYDROLOGY_LAYERS)]


def flow_layers(
    elevation: xr.DataArray, *, memory_limit_gb: float = MEMORY_LIMIT_GB, cell_size_m: float | None = None
) -> xr.Dataset:
    """The layers of `hydrology_attributes` that need the complete DEM.

    Parameters
    ----------
    elevation, memory_limit_gb, cell_size_m
        As there.

    Returns
    -------
    Dataset (y, x), float32
        `FLOW_LAYERS`.
    """
    where = "hydrology_attributes"
    surface, tiles = _tiles_of(elevation, where, memory_limit_gb, cell_size_m)
    layers = layers_by_window(partial(flow_indices, tiles), [variable(name) for name in FLOW_LAYERS], surface.elevation)
    formulas = {
        "upslope_area": "upslope area with the cell's own over the cell size",
        "topographic_wetness": f"ln(As / tan b), tan b at least {LEAST_TANGENT:g}",
        "slope_length": f"Hickey 2000, cutoffs {CUTOFFS[0]:g} and below 5 % {CUTOFFS[1]:g}",
        "sediment_transport": "Moore and Burch 1986",
    }
    for layer in layers:
        layer.attrs |= {
            "parents": "elevation",
            "cell_size": surface.spacing,
            "flow": "D8 on the filled DEM, by tiles",
            "formula": formulas[str(layer.name)],
        }
    return dataset_of(layers)


def ls_factor_of(elevation: xr.DataArray, options: LsOptions, *, cell_size_m: float | None = None) -> xr.DataArray:
    """The LS factor of `hydrology_attributes`, by windows.

    Parameters
    ----------
    elevation, cell_size_m
        As there.
    options : LsOptions

    Returns
    -------
    DataArray (y, x), float32, 1
    """
    where = "hydrology_attributes"
    steepness, max_length_m = options.steepness, options.max_length_m
    require_one_of(where, "steepness", steepness, STEEPNESS)
    require_positive(where, "max_length_m", max_length_m, "metres")
    surface = checked_surface(elevation, where=where, cell_size_m=cell_size_m)
    allow = options.allow_coarse_dem
    coarse = require_fine_cells(surface.dx, surface.dy, max_length_m, allow_coarse_dem=allow, where=where)
    window = ls_window(surface.dx, surface.dy, steepness=steepness, max_length_m=max_length_m)
    attrs = {
        "parents": "elevation",
        "cell_size": surface.spacing,
        "flow": "D8 on the DEM as given; pits and level ground end a slope",
        "formula": f"Desmet and Govers 1996, McCool 1989, steepness {steepness}",
        "max_length_m": float(max_length_m),
    }
    if coarse:
        attrs |= {"allow_coarse_dem": "true", "warning": coarse}
    rows = np.arange(surface.elevation.shape[0])
    common: Any = {"outputs": [variable("ls_factor")], "rows": (rows,), "attrs": attrs}
    if window.halo <= LONGEST_HALO:
        (ls,) = map_windows(window, surface.elevation, halo=window.halo, **common)
        if is_lazy(surface.elevation):  # chunks narrower than the halo were joined
            layer = cast(xr.DataArray, ls)
            return layer.copy(data=layer.data.rechunk(surface.elevation.chunks))
    else:
        (ls,) = map_whole(partial(_of_padded, window=replace(window, halo=1)), surface.elevation, **common)
    return cast(xr.DataArray, ls)


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
        Depressions raised to their lowest pour point (Barnes 2016), level there. NaN where `elevation` is.

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
    surface, tiles = _tiles_of(elevation, where, memory_limit_gb, cell_size_m)
    spec = Variable("filled_elevation", "elevation without depressions", "m", meaning="Barnes 2016")
    (result,) = layers_by_window(partial(_filled, tiles), [spec], surface.elevation)
    result.attrs["parents"] = "elevation"
    return result


@dataclass(frozen=True, eq=False)
class LsWindow:
    """LS of a window: `kernel(z with a halo, row numbers)`.

    Parameters
    ----------
    dx, dy : ndarray (ny,), float64, m
        Of all rows of the DEM.
    steepness : int
    max_length_m : float
    halo : int
        Cells around the window.
    """

    dx: Array
    dy: Array
    steepness: int
    max_length_m: float
    halo: int

    def __call__(self, z: Array, rows: Array) -> tuple[Array, ...]:
        """LS, ndarray (ny, nx), of z (ny + 2 halo, nx + 2 halo) at these rows of the DEM."""
        inner = self.halo - 1
        around = np.arange(int(rows[0]) - inner, int(rows[-1]) + inner + 1).clip(0, self.dx.size - 1)
        dx, dy = self.dx[around], self.dy[around]
        ways = drainage.steepest_ways(z.astype(np.float32), dx, dy)
        own = np.round(np.abs(dx * dy) / AREA_UNIT) * AREA_UNIT
        area = np.array(np.broadcast_to(own[:, None], ways.shape), order="C")
        drainage.accumulate(ways, area)
        area[ways == flow.NO_DATA] = np.nan
        cut = slice(inner, ways.shape[0] - inner), slice(inner, ways.shape[1] - inner)
        centre = np.ascontiguousarray(z[inner : z.shape[0] - inner, inner : z.shape[1] - inner])
        slope, aspect, *_ = terrain_pass(centre, dx[cut[0]], dy[cut[0]], RILEY, np.nan, 5.0, 1.0, 1.0, 1.0)
        area = np.ascontiguousarray(area[cut])
        return (flow.ls_factors(area, slope, aspect, dx[cut[0]], dy[cut[0]], self.steepness, self.max_length_m),)


def ls_window(dx: Array, dy: Array, *, steepness: Steepness = "rusle", max_length_m: float = 300.0) -> LsWindow:
    """The kernel of LS with the halo that its cap needs.

    Parameters
    ----------
    dx, dy : ndarray (ny,), float64, m
        Cell size of each row of the DEM.
    steepness, max_length_m
        As in `hydrology_attributes`.

    Returns
    -------
    LsWindow

    Notes
    -----
    L is at its cap where an area of 2^(1/2) max_length_m D enters. A cell either has less, then all its cells above are
    as few steps away as they are many, or the nearest of them are enough.
    """
    cell = np.sqrt(np.abs(dx * dy))
    with np.errstate(divide="ignore"):
        cells = flow.saturating_area(max_length_m, float(cell.max(initial=1.0))) / float(cell.min(initial=1e9)) ** 2
    halo = int(min(np.ceil(cells * 1.001), 1e9)) + 1
    return LsWindow(dx, dy, STEEPNESS[steepness], float(max_length_m), halo)


def flow_indices(tiles: FlowTiles, rows: slice, columns: slice) -> tuple[Array, ...]:
    """`FLOW_LAYERS` of a window, float32: upslope area, wetness, slope length and transport index."""
    drained = tiles.drained(rows, columns)
    dx, dy = tiles.dem.dx[rows], tiles.dem.dy[rows]
    slope, *_ = terrain_pass(tiles.dem.padded(rows, columns), dx, dy, RILEY, np.nan, 5.0, 1.0, 1.0, 1.0)
    specific, wet, sti = flow.wetness_indices(drained.area, slope, dx, dy, LEAST_TANGENT)
    return specific, wet, drained.length.astype(np.float32), sti


def _filled(tiles: FlowTiles, rows: slice, columns: slice) -> tuple[Array, ...]:
    """Elevation without depressions of a window."""
    return (tiles.filled(rows, columns),)


def _of_padded(z: Array, rows: Array, *, window: LsWindow) -> tuple[Array, ...]:
    return window(np.pad(z, 1, constant_values=np.nan), rows)


def _tiles_of(
    elevation: xr.DataArray, where: str, memory_limit_gb: float, cell_size_m: float | None
) -> tuple[Surface, FlowTiles]:
    """The checked DEM, and its flow by tiles."""
    surface = checked_surface(elevation, where=where, cell_size_m=cell_size_m)
    rows, columns = surface.elevation.shape
    require_memory((rows, columns), memory_limit_gb, where)
    return surface, FlowTiles(DemGrid(ReadArray(surface.elevation), (rows, columns), surface.dx, surface.dy))


def require_memory(shape: tuple[int, int], limit_gb: float, where: str) -> None:
    """Reject a DEM whose flow needs more than a limit."""
    rows, columns = shape
    needed = needed_bytes(shape) / 1e9
    if needed > limit_gb:
        factor = int(np.ceil(np.sqrt(needed / limit_gb)))
        raise InputError(
            f"{where}: the flow over {rows} x {columns} cells needs {needed:.1f} GB, the limit is {limit_gb:g} GB; "
            f"average the DEM by {factor} x {factor} cells, cut it into whole basins, or set "
            f"memory_limit_gb={np.ceil(needed):.0f}"
        )
