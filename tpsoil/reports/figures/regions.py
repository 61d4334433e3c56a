"""Maps of places: the study area with its sites, thickness maps side by side, windows, and where a transect lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpsoil.errors import InputError
from tpsoil.grid import grid_of
from tpsoil.points import project_points
from tpsoil.reports.geography.placing import edges_of
from tpsoil.units import conversion, convertible

from . import canvas, maps, palette, places, thematic
from .reading import LONGEST_SIDE, in_picture, pick, positions_on, read_picture

Box = tuple[float, float, float, float]
Doubles = npt.NDArray[np.float64]
EDGE_POINTS = 50
"""Points along each side of a box, whose projection is curved."""


def study_area(
    elevation: xr.DataArray,
    sites: pd.DataFrame,
    *,
    windows: Mapping[str, Box] | None = None,
    title: str = "Study area",
) -> Figure:
    """Elevation with the sites of the profiles and the outlines of windows.

    Parameters
    ----------
    elevation : DataArray (y, x), m
        With a CRS.
    sites : DataFrame
        `lon`, `lat`, or `x`, `y` in the layer's CRS; optional `observed_m` colours the sites.
    windows : mapping of name to (west, south, east, north), optional
        Degrees.
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        Without positions.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> height = xr.DataArray(np.ones(grid.shape), coords=coordinates(grid), dims=("y", "x"), name="elevation")
    >>> study_area(height, pd.DataFrame({"lon": [91.0], "lat": [31.0]})).axes[0].get_title(loc="left")
    'Study area: 1 profile'
    """
    count = f"{len(sites)} profile{'s' if len(sites) != 1 else ''}"
    figure = maps.map_layer(elevation, title=f"{title}: {count}", hillshade=elevation)
    axes = figure.axes[0]
    east, north = in_picture(elevation, *positions_on(elevation, sites, where="study_area"))
    style: dict[str, Any] = {"color": palette.WARNING}
    if "observed_m" in sites:
        style = {"c": sites["observed_m"].to_numpy(float), "cmap": "Reds"}
    points = axes.scatter(east, north, s=11, edgecolors="black", linewidths=0.4, zorder=6, gid="sites", **style)
    for name, box in (windows or {}).items():
        x, y = in_picture(elevation, *_outline(elevation, box))
        axes.plot(x, y, color="black", linewidth=1.2, zorder=5.5, gid="window")
        axes.annotate(name, (x[0], y[0]), textcoords="offset points", xytext=(3, 3), fontsize=8, fontweight="bold",
                      color="black", zorder=7)  # fmt: skip
    if "observed_m" in sites:
        canvas.bar_below(figure, axes, points, "observed thickness, m")
    return figure


def side_by_side(
    layers: Mapping[str, xr.DataArray],
    *,
    box: Box | None = None,
    elevation: xr.DataArray | None = None,
    title: str = "",
) -> Figure:
    """Maps of one quantity side by side, with one colour scale, in a box or as a whole.

    Parameters
    ----------
    layers : mapping of title to DataArray (y, x)
        In units of length that convert to the first one's, on one grid.
    box : (west, south, east, north), optional
        Degrees; the maps are cropped to it.
    elevation : DataArray (y, x), optional
        Drawn first, with its own scale.
    title : str

    Returns
    -------
    Figure
        A panel a map.

    Raises
    ------
    InputError
        Without layers, for units that do not convert, and for a box without cells.

    Examples
    --------
    >>> layer = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("y", "x"), name="a", attrs={"units": "m"})
    >>> len([a for a in side_by_side({"a": layer, "b": layer}).axes if a.get_title(loc="left")])
    2
    """
    if not layers:
        raise InputError("side_by_side: no layers")
    unit = palette.layer_units(next(iter(layers.values())))
    shown = {name: cropped(_in_unit(layer, unit), box) for name, layer in layers.items()}
    limits = _common_limits(list(shown.values()))
    ground = None if elevation is None else cropped(elevation, box)
    count = len(shown) + (ground is not None)
    first = next(iter(shown.values()))
    shape = float(np.clip(first.shape[0] / max(first.shape[1], 1), 0.35, 1.2))
    figure, panels = canvas.new_panels(None, count, width=5.4, height=4.0 * shape + 1.1, columns=2)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold", color=palette.INK, x=0.01, ha="left")
    waiting = list(panels)
    if ground is not None:
        maps.map_layer(ground, ax=waiting.pop(0), title="Topography", hillshade=ground)
    for panel, (name, layer) in zip(waiting, shown.items(), strict=True):
        maps.map_layer(layer, ax=panel, title=name, limits=limits)
    return figure


def maps_compared(this: xr.DataArray, others: Mapping[str, xr.DataArray], *, band: float = 5.0) -> Figure:
    """Other maps, each beside the relative difference of this map to it, differences within a band in grey.

    Parameters
    ----------
    this : DataArray (y, x)
    others : mapping of title to DataArray (y, x)
        On the same grid, in units that convert to this map's.
    band : float
        %.

    Returns
    -------
    Figure
        Two panels a map.

    Raises
    ------
    InputError
        Without other maps, and for units that do not convert.

    Examples
    --------
    >>> layer = xr.DataArray(np.ones((2, 3)), dims=("y", "x"), name="solum_thickness", attrs={"units": "m"})
    >>> len(maps_compared(layer, {"other": 2 * layer.assign_attrs(units="m")}).axes) >= 2
    True
    """
    if not others:
        raise InputError("maps_compared: no other maps")
    unit = palette.layer_units(this)
    layers = {name: _in_unit(layer, unit) for name, layer in others.items()}
    limits = _common_limits([this, *layers.values()])
    shape = float(np.clip(this.shape[0] / max(this.shape[1], 1), 0.35, 1.2))
    figure, panels = canvas.new_panels(None, 2 * len(layers), width=5.6, height=4.0 * shape + 1.2, columns=2)
    for k, (name, layer) in enumerate(layers.items()):
        maps.map_layer(layer, ax=panels[2 * k], title=name, limits=limits)
        thematic.difference_map(
            layer,
            this,
            ax=panels[2 * k + 1],
            relative=True,
            band=band,
            names=("the other map", "this map"),
            limits=(-100.0, 100.0),
            title=f"Difference to: {name[:1].lower()}{name[1:]}",
        )
    return figure


def transect_place(elevation: xr.DataArray, table: pd.DataFrame, *, title: str = "Transect") -> Figure:
    """Topography around a transect with its line, above the layers along it.

    Parameters
    ----------
    elevation : DataArray (y, x), m
    table : DataFrame
        As in `transect`, with `x` and `y` in the layer's CRS.
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns, and a line outside the layer.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(50_000)
    >>> height = xr.DataArray(np.ones(grid.shape), coords=coordinates(grid), dims=("y", "x"), name="elevation")
    >>> line = pd.DataFrame({"distance_km": [0.0, 300], "x": [0.0, 3e5], "y": [0.0, 0.0], "solum_thickness": [1.0, 2]})
    >>> len(transect_place(height, line).axes) >= 2
    True
    """
    canvas.require_columns(table, ["distance_km", "x", "y"], where="transect_place")
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    margin = 0.25 * max(np.ptp(x), np.ptp(y))
    ground = _sliced(elevation, (x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin))
    figure, panels = canvas.new_panels(None, 2, width=8.4, height=3.9, columns=1)
    maps.map_layer(ground, ax=panels[0], title=title, hillshade=ground)
    east, north = in_picture(elevation, x, y)
    panels[0].plot(east, north, color=palette.WARNING, linewidth=1.8, zorder=6, gid="line")
    for position, label in ((0, "A"), (-1, "B")):
        panels[0].annotate(label, (east[position], north[position]), textcoords="offset points", xytext=(0, 5),
                           ha="center", fontweight="bold", color=palette.WARNING, zorder=7)  # fmt: skip
    places.transect(table, ax=panels[1], title="Along the line from A to B")
    return figure


def sensitivity_bars(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "Sensitivity of thickness") -> Figure:
    """Mean change of thickness when one input decreases or increases, the largest on top.

    Parameters
    ----------
    table : DataFrame
        `input`, `change`, `decrease_m`, `increase_m`; optional `zone`, of which "all" is drawn.
    ax : Axes, optional
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns.

    Examples
    --------
    >>> table = pd.DataFrame({"input": ["h0"], "change": ["10 %"], "decrease_m": [-0.08], "increase_m": [0.08]})
    >>> sensitivity_bars(table).axes[0].get_yticklabels()[0].get_text()
    'h0 ± 10 %'
    """
    canvas.require_columns(table, ["input", "change", "decrease_m", "increase_m"], where="sensitivity_bars")
    rows = table[table["zone"].astype(str) == "all"] if "zone" in table else table
    size = rows[["decrease_m", "increase_m"]].abs().max(axis=1).to_numpy(float)
    rows = rows.iloc[np.argsort(size, kind="stable")].reset_index(drop=True)
    figure_size = 6.8, float(np.clip(0.3 * len(rows) + 1.3, 2.2, 10))
    figure, axes = canvas.new_chart(
        ax, figure_size, title, table, grid="x", labels=("mean change of thickness, mm", "")
    )
    if rows.empty:
        return canvas.nothing(axes, "nothing to draw: no cell has a thickness")
    for column, colour, label in (("decrease_m", palette.ACCENT, "input decreases"),
                                  ("increase_m", palette.WARNING, "input increases")):  # fmt: skip
        axes.barh(rows.index, 1000 * rows[column], height=0.7, color=colour, alpha=0.85, label=label)
    axes.axvline(0, color=palette.INK, linewidth=0.8)
    ticks = [f"{name.replace('_', ' ')} ± {change}" for name, change in zip(rows["input"], rows["change"], strict=True)]
    axes.set_yticks(range(len(rows)), ticks)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def cropped(layer: xr.DataArray, box: Box | None) -> xr.DataArray:
    """The part of a layer in a box in degrees; the layer itself without a box.

    Raises
    ------
    InputError
        For a box without cells of the layer.
    """
    if box is None:
        return layer
    x, y = _outline(layer, box)
    return _sliced(layer, (x.min(), y.min(), x.max(), y.max()))


def _outline(layer: xr.DataArray, box: Box) -> tuple[Doubles, Doubles]:
    """The edges of a box in degrees, as a closed line in the layer's CRS from its south-west corner."""
    lon, lat = edges_of(box, EDGE_POINTS).T
    return project_points(lon, lat, grid_of(layer, where="window"))


def _sliced(layer: xr.DataArray, bounds: Box) -> xr.DataArray:
    left, bottom, right, top = bounds
    x, y = layer["x"].values, layer["y"].values
    columns, rows = np.flatnonzero((x >= left) & (x <= right)), np.flatnonzero((y >= bottom) & (y <= top))
    if not (columns.size and rows.size):
        raise InputError(f"'{layer.name}' has no cell in {tuple(round(float(v), 3) for v in bounds)} of its CRS")
    return layer.isel(y=slice(rows[0], rows[-1] + 1), x=slice(columns[0], columns[-1] + 1))


def _in_unit(layer: xr.DataArray, unit: str) -> xr.DataArray:
    own = palette.layer_units(layer)
    if not unit or not own or own == unit:
        return layer
    if not convertible(own, unit):
        raise InputError(f"maps side by side: '{layer.name}' is in {own}, expected a unit that converts to {unit}")
    factor = conversion(own, unit, where=f"'{layer.name}'").factor
    return (layer * factor).assign_attrs({**layer.attrs, "units": unit}).rename(layer.name)


def _common_limits(layers: Sequence[xr.DataArray]) -> tuple[float, float] | None:
    """1st and 99th percentile of the cells that are drawn, of all layers together."""
    values = np.concatenate([read_picture(pick(layer), LONGEST_SIDE // 2).values.ravel() for layer in layers])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = (float(v) for v in np.percentile(values, [1, 99]))
    return (low, high) if low < high else None
