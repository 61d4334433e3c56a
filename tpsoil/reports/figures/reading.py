"""Layers as pictures: one layer of a store, read with a stride, north up, with its position on the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.errors import GridError, InputError, MissingInputError, nearest_name
from tpsoil.grid import grid_of, same_grid
from tpsoil.points import position_columns, project_points

from . import palette

Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

DEGREE_M: Final = 111_320.0
"""Length of a degree of latitude, and of longitude on the equator, m."""
LONGEST_SIDE: Final = 1400
"""Cells drawn along the longer side of a map; a figure has about as many dots there."""


@dataclass(frozen=True)
class Picture:
    """A decimated read of a layer, north up.

    Parameters
    ----------
    values : ndarray (rows, columns), float64
        NaN: no value.
    extent : tuple of float
        left, right, bottom, top of the drawn cells, in `unit`.
    bounds : tuple of float
        The same of the complete layer; the drawn cells may extend beyond it by less than a stride.
    step, first : int
        From row and column `first` on, every `step`-th cell along each axis was read.
    unit : str
        "km" on a projected grid, "°" on a geographic one.
    crs_units : float
        Units of the CRS in one `unit`: metres or feet in a kilometre, or 1 degree.
    metres : float
        Length in metres of one `unit` along the middle row.
    row_area : ndarray (rows,), float64
        Area of a cell in each drawn row, relative.
    note : str
        CRS, cell size, decimation; one line.
    cell_m : float
        Distance between drawn cells, m.
    crs : str or None
        WKT of the layer's CRS.
    """

    values: npt.NDArray[np.float64]
    extent: tuple[float, float, float, float]
    bounds: tuple[float, float, float, float]
    step: int
    first: int
    unit: str
    crs_units: float
    metres: float
    row_area: npt.NDArray[np.float64]
    note: str
    cell_m: float
    crs: str | None = None

    @property
    def stretch(self) -> float:
        """Length of one unit northward in lengths of one eastward, along the middle row."""
        return DEGREE_M / self.metres if self.unit == "°" else 1.0

    def share(self, cells: Flags, within: Flags) -> float:
        """Percent of the area of some cells that others are."""
        area = self.row_area[:, None] * within
        return 100 * float((area * cells).sum() / (area.sum() or 1.0))


def pick(source: xr.DataArray | xr.Dataset, name: str | None = None, *, where: str = "map_layer") -> xr.DataArray:
    """One layer of a store, with the attributes of the store that apply to all layers.

    Parameters
    ----------
    source : Dataset or DataArray
    name : str, optional
        Needed for a Dataset with more than one layer.
    where : str
        Name in error messages.

    Returns
    -------
    DataArray (y, x)
        Still lazy. `simulated` and `created` of the store are added to its attributes where the layer has none; a real
        covariate among simulated maps has `simulated = false`.

    Raises
    ------
    MissingInputError
        For a missing layer; the message names the nearest one.
    InputError
        For another type, and for dims other than (y, x).

    Examples
    --------
    >>> cube = xr.Dataset({"slope": (("y", "x"), np.zeros((2, 2)))}, attrs={"simulated": True})
    >>> pick(cube, "slope").attrs["simulated"]
    True
    """
    if isinstance(source, xr.Dataset):
        names = [str(key) for key in source.data_vars]
        if name is None and len(names) == 1:
            name = names[0]
        if name is None:
            raise InputError(f"{where}: the store has {len(names)} layers, name one{nearest_name('', names)}")
        if name not in source.data_vars:
            raise MissingInputError(f"{where}: the store has no layer '{name}'{nearest_name(name, names)}")
        layer = source[name]
        of_store = {k: source.attrs[k] for k in ("simulated", "created", "date_created") if k in source.attrs}
        layer = layer.assign_attrs({k: v for k, v in of_store.items() if k not in layer.attrs})
    elif isinstance(source, xr.DataArray):
        layer = source
    else:
        raise InputError(f"{where}: got {type(source).__name__}, expected an xarray DataArray or Dataset")
    if set(layer.dims) != {"y", "x"}:
        raise InputError(
            f"{where}: '{layer.name}' has dims {tuple(map(str, layer.dims))}, expected (y, x); pick one slice by .isel"
        )
    if 0 in layer.shape:
        raise InputError(f"{where}: '{layer.name}' has no cells (shape {layer.shape}); widen the selection")
    return layer.transpose("y", "x")


def read_picture(layer: xr.DataArray, longest_side: int = LONGEST_SIDE, *, where: str = "map_layer") -> Picture:
    """Read a layer for drawing: every n-th cell, chunk by chunk where it is lazy.

    Parameters
    ----------
    layer : DataArray (y, x)
        Lazy or not; not changed.
    longest_side : int
        Maximum number of cells to read along the longer side.
    where : str
        Name in error messages.

    Returns
    -------
    Picture

    Raises
    ------
    GridError
        For a grid that cannot be placed on a map.

    Notes
    -----
    Memory is the picture's and one chunk a thread: the stride is applied to each chunk before chunks are joined.
    """
    rows, columns = layer.shape
    left, top, dx, dy, note, crs = _placement(layer, where)
    if dy > 0:  # rows from south to north
        layer, top, dy = layer.isel(y=slice(None, None, -1)), top + dy * rows, -dy
    if dx < 0:
        layer, left, dx = layer.isel(x=slice(None, None, -1)), left + dx * columns, -dx
    step = max(1, int(np.ceil(max(rows, columns) / longest_side)))
    first = step // 2 if min(rows, columns) > step // 2 else 0
    raw = np.asarray(layer.isel(y=slice(first, None, step), x=slice(first, None, step)).values)
    values = raw.astype(np.float64)
    values[np.isin(raw, palette.missing_numbers(layer)) | ~np.isfinite(values)] = np.nan
    unit, crs_units = _map_unit(crs)
    geographic = unit == "°"
    drawn_rows, drawn_columns = values.shape
    latitude = top + (np.arange(drawn_rows) + 0.5) * step * dy
    row_area = np.cos(np.radians(np.clip(latitude, -90, 90))) if geographic else np.ones(drawn_rows)
    metres = 1000.0 if not geographic else DEGREE_M * max(float(np.cos(np.radians(top + rows * dy / 2))), 1e-6)
    if step > 1:
        note += f", every {ordinal(step)} drawn"
    width, height = drawn_columns * step * dx, drawn_rows * step * dy
    return Picture(
        values=values,
        extent=tuple(v / crs_units for v in (left, left + width, top + height, top)),  # type: ignore[arg-type]
        bounds=tuple(v / crs_units for v in (left, left + columns * dx, top + rows * dy, top)),  # type: ignore[arg-type]
        step=step, first=first, unit=unit, crs_units=crs_units, metres=metres, row_area=row_area, note=note,
        cell_m=step * abs(dy) / crs_units * (DEGREE_M if geographic else 1000.0),
        crs=None if crs is None else str(crs.to_wkt()),
    )  # fmt: skip


def on_one_grid(first: xr.DataArray | xr.Dataset, second: xr.DataArray | xr.Dataset) -> bool:
    """Whether two layers have one grid, as far as both state it."""
    try:
        boxes = grid_of(first), grid_of(second)
    except GridError:
        return True
    return same_grid(*boxes)


def positions_on(layer: xr.DataArray, table: pd.DataFrame, *, where: str) -> tuple[Doubles, Doubles]:
    """Positions of a table's rows in the CRS of a layer.

    Raises
    ------
    InputError
        For a table without positions.
    """
    columns = position_columns(table, where=where)
    east, north = table[columns.east].to_numpy(float), table[columns.north].to_numpy(float)
    return project_points(east, north, grid_of(layer, where=where)) if columns.degrees else (east, north)


def in_picture(layer: xr.DataArray, x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """Coordinates of a layer's CRS in the unit of its map: km on a projected grid."""
    _, crs_units = _map_unit(grid_of(layer, where="map").crs)
    return x / crs_units, y / crs_units


def _map_unit(crs: Any) -> tuple[str, float]:
    """Unit of a map in a CRS, and units of the CRS in it."""
    if crs is not None and crs.geographic:
        return "°", 1.0
    axes = [] if crs is None else crs.proj.axis_info
    return "km", 1000.0 / (axes[0].unit_conversion_factor if axes else 1.0)


def _placement(layer: xr.DataArray, where: str) -> tuple[float, float, float, float, str, Any]:
    """left, top, dx, dy of the grid, its one-line note, and its CRS."""
    rows, columns = layer.shape
    try:
        box = grid_of(layer, where=where)
    except GridError:
        # A single row or column has no spacing and a plain array no CRS: both are drawn, with a note.
        x, y = (np.asarray(layer[d].values, float) if d in layer.coords else np.arange(n, dtype=float) + 0.5
                for d, n in (("x", columns), ("y", rows)))  # fmt: skip
        dx = float((x[-1] - x[0]) / (columns - 1)) if columns > 1 else 0.0
        dy = float((y[-1] - y[0]) / (rows - 1)) if rows > 1 else 0.0
        dx, dy = dx or abs(dy) or 1.0, dy or -abs(dx) or -1.0
        crs = layer.odc.crs
        note = f"{_crs_name(crs)}, {rows} x {columns} cells"
        return x[0] - dx / 2, y[0] - dy / 2, dx, dy, note, crs
    t = box.transform
    unit, crs_units = _map_unit(box.crs)
    metres = abs(t.a) / crs_units * 1000
    size = f"{abs(t.a):.4g}°" if unit == "°" else f"{metres / 1000:.4g} km" if metres >= 1000 else f"{metres:.4g} m"
    return t.c, t.f, t.a, t.e, f"{_crs_name(box.crs)}, cells of {size}", box.crs


def _crs_name(crs: Any) -> str:
    if crs is None:
        return "no CRS"
    code = crs.to_epsg()
    if code:
        return f"EPSG:{code}"
    name = str(crs.proj.name)
    if name in {"unknown", "undefined"}:
        operation = crs.proj.coordinate_operation
        name = str(operation.method_name) if operation is not None else "a CRS without a name"
    return name


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    tail = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{tail}"


DEM: Final = "elevation"


def relief_of(store: xr.Dataset, name: str) -> xr.DataArray | None:
    """The elevation of a store, where it shades the map of a layer.

    Parameters
    ----------
    store : Dataset (y, x)
    name : str
        Of the layer that is drawn.

    Returns
    -------
    DataArray (y, x), m, or None
        None without elevation, for classes, and for diverging and circular layers, whose middle is pale or whose
        lightness has a meaning.

    Examples
    --------
    >>> import numpy as np
    >>> cube = xr.Dataset({key: (("y", "x"), np.ones((2, 2))) for key in ("elevation", "slope", "aspect")})
    >>> relief_of(cube, "slope") is None, relief_of(cube, "aspect") is None
    (False, True)
    """
    if DEM not in store or name not in store or set(store[DEM].dims) != {"y", "x"}:
        return None
    layer = pick(store, name)
    if palette.layer_kind(layer) != "continuous" or palette.colour_map(layer) == palette.DIVERGING:
        return None
    return pick(store, DEM)
