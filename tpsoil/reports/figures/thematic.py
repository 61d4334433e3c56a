"""Thematic maps: differences, uncertainty, zones, area of applicability, response time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tpsoil.errors import GridError, InputError
from tpsoil.soil_mask import without_soil
from tpsoil.units import same_unit

from . import canvas, maps, palette
from .reading import LONGEST_SIDE, Picture, on_one_grid, pick, read_picture
from .stretch import colour_scale

HOLOCENE_YEARS: Final = 11_700.0
"""Age of the Holocene's base before AD 2000, years (International Commission on Stratigraphy)."""

ZONE_FORMATS: Final = {
    "elevation": "{:.0f} m", "mean_annual_temperature": "{:.1f} °C", "annual_precipitation": "{:.0f} mm",
}  # fmt: skip
"""Elevation, temperature and rain of a zone in the legend."""


def difference_map(
    first: xr.DataArray,
    second: xr.DataArray,
    *,
    ax: Axes | None = None,
    relative: bool = False,
    band: float = 5.0,
    title: str | None = None,
    names: tuple[str, str] = ("first", "second"),
    limits: tuple[float, float] | None = None,
    longest_side: int = LONGEST_SIDE,
) -> Figure:
    """Map of `second` minus `first`, centred on zero.

    Parameters
    ----------
    first, second : DataArray (y, x)
        On one grid and in one unit.
    ax : Axes, optional
    relative : bool
        Percent of `first` instead of its unit; cells where `first` is 0 are omitted.
    band : float
        %; with `relative`, differences within it are drawn in grey: the maps agree there.
    title : str, optional
    names : (str, str)
        Names of the two maps on the figure.
    limits : (float, float), optional
        Ends of the colour bar; else symmetric about zero at the 1st and 99th percentile.
    longest_side : int
        As in `map_layer`.

    Returns
    -------
    Figure

    Raises
    ------
    GridError
        For two grids.
    InputError
        For two units.

    Examples
    --------
    >>> a = xr.DataArray(np.ones((3, 4)), dims=("y", "x"), name="solum_thickness")
    >>> difference_map(a, a + 1).axes[0].get_title(loc="left")
    'Solum thickness: second minus first'
    """
    a, b = pick(first, where="difference_map"), pick(second, where="difference_map")
    _require_one_grid(a, b)
    units = palette.layer_units(a), palette.layer_units(b)
    if all(units) and not same_unit(units[0], units[1]):
        raise InputError(f"difference_map: '{names[0]}' is in {units[0]}, '{names[1]}' in {units[1]}; convert one")
    picture = read_picture(a, longest_side, where="difference_map")
    other = read_picture(b, longest_side, where="difference_map").values
    change = other - picture.values
    if relative:
        change = 100 * np.divide(change, picture.values, out=np.full_like(change, np.nan), where=picture.values != 0)
    text = title or f"{palette.layer_title(a)}: {names[1]} minus {names[0]}"
    marked = a.assign_attrs(simulated=palette.is_simulated(a, b))
    figure, axes = maps.start_map(marked, picture, ax, text, None)
    finite = change[np.isfinite(change)]
    if not finite.size:
        reason = "nothing to draw: the two maps have no cell in common"
        return maps.finish_empty(axes, picture, reason, own=ax is None)
    norm, extend = colour_scale(change, limits, logarithmic=False, cmap=palette.DIVERGING)
    image = maps.draw_values(axes, picture, change, norm, palette.DIVERGING)
    if relative:
        agree = np.where(np.abs(change) <= band, 1.0, np.nan)
        maps.draw_values(axes, picture, agree, Normalize(0, 1), ListedColormap([palette.GREY]))
        share = picture.share(agree == 1, np.isfinite(change))
        axes.legend(
            handles=[Patch(facecolor=palette.GREY, edgecolor=palette.QUIET,
                           label=f"within ±{band:g} %: {share:.0f} %")],
            loc="lower right", fontsize=7.5,
        )  # fmt: skip
        # A few cells near 0 of the first map decide a mean of percents.
        q25, q50, q75 = (palette.number_text(float(v)) for v in np.percentile(finite, [25, 50, 75]))
        summary = f"% of {names[0]}\nmedian {q50}, quartiles {q25} and {q75}"
    else:
        mean, rms = (palette.number_text(float(v)) for v in (finite.mean(), np.sqrt(np.mean(finite**2))))
        summary = f"{palette.unit_text(units[0] or units[1])}\nmean {mean}, root mean square {rms}"
    maps.finish_with_bar(axes, picture, image, f"difference, {summary}", extend, own=ax is None)
    return figure


def zones_map(
    source: xr.DataArray | xr.Dataset,
    summary: pd.DataFrame | None = None,
    *,
    name: str = "zone",
    ax: Axes | None = None,
    **how: Any,
) -> Figure:
    """Map of environmental zones, the legend with each zone's mean environment if available.

    Parameters
    ----------
    source : Dataset or DataArray (y, x)
    summary : DataFrame, optional
        One row a zone, `zone` as a column or the index; those of `elevation` (m), `mean_annual_temperature` (degC)
        and `annual_precipitation` (mm) that exist are shown in the legend. Default: means over the layers of these
        names in the Dataset, of cells that `mask` leaves.
    name : str
        The layer's name in a Dataset.
    ax : Axes, optional
    **how
        As `map_classes`.

    Returns
    -------
    Figure

    Raises
    ------
    MissingInputError
        For a store without zones.
    InputError
        For a summary without a `zone` column or index.

    Examples
    --------
    >>> zone = xr.DataArray(np.array([[1, 1]], "uint8"), dims=("y", "x"), name="zone")
    >>> figure = zones_map(zone, pd.DataFrame({"zone": [1], "elevation": [2136.0]}))
    >>> figure.legends[0].get_texts()[0].get_text()
    'zone 1 (2136 m), 100 %'
    """
    names: dict[int, str] = {}
    if summary is None and isinstance(source, xr.Dataset):
        summary = _zone_means(source, name, how.get("mask"))
    if summary is not None:
        table = summary if "zone" in summary.columns else summary.rename_axis("zone").reset_index()
        canvas.require_columns(table, ["zone"], where="zones_map")
        # A table of zones may end with a row of all of them.
        for _, row in table[pd.to_numeric(table["zone"], errors="coerce").notna()].iterrows():
            parts = [
                text.format(row[key])
                for key, text in ZONE_FORMATS.items()
                if key in table.columns and np.isfinite(row[key])
            ]
            names[int(row["zone"])] = f"zone {int(row['zone'])}" + (f" ({', '.join(parts)})" if parts else "")
    return maps.map_classes(source, name, ax=ax, names=names, **how)


def _zone_means(source: xr.Dataset, name: str, mask: xr.DataArray | None) -> pd.DataFrame | None:
    """Mean environment of the zones over the cells drawn, where the store has it."""
    present = [key for key in ZONE_FORMATS if key in source]
    if name not in source or not present:
        return None
    layers = {key: read_picture(pick(source, key, where="zones_map")).values.ravel() for key in (name, *present)}
    cells = pd.DataFrame(layers).dropna(subset=[name])
    if mask is not None:
        cells = cells[~without_soil(read_picture(mask).values.ravel()[cells.index])]
    return cells.groupby(name).mean().rename_axis("zone").reset_index()


def draw_hatching(axes: Axes, picture: Picture, where: npt.NDArray[np.bool_], colour: str = palette.INK) -> None:
    """Hatch and outline the cells of a map where a condition is true."""
    if not where.any() or min(where.shape) < 2:
        return
    place: dict[str, Any] = {"extent": picture.extent, "origin": "upper", "zorder": 4}
    shown = where.astype(float)
    hatch = axes.contourf(shown, levels=[0.5, 1.5], colors="none", hatches=[palette.HATCH], **place)
    hatch.set(edgecolor=colour, linewidth=0.0)
    axes.contour(shown, levels=[0.5], colors=colour, linewidths=0.5, **place)


def response_time_map(
    source: xr.DataArray | xr.Dataset,
    name: str = "response_time",
    *,
    ax: Axes | None = None,
    age: float = HOLOCENE_YEARS,
    longest_side: int = LONGEST_SIDE,
    **how: Any,
) -> Figure:
    """Map of the response time h0/E, hatched where it is longer than the age of today's climate.

    Parameters
    ----------
    source : Dataset or DataArray (y, x), a
    name : str
        The layer's name in a Dataset.
    ax : Axes, optional
    age : float
        Years since the last change of climate; default: the Holocene. Where the response time is longer, the
        thickness cannot have reached its steady state.
    longest_side : int
    **how
        As `map_layer`.

    Returns
    -------
    Figure
        The legend states the share of the mapped area that is slower than `age`.

    Raises
    ------
    MissingInputError, InputError
        As `map_layer`.

    Notes
    -----
    Response times are negative where the surface receives sediment; those cells are counted and omitted.

    Examples
    --------
    >>> tau = xr.DataArray(np.array([[100.0, 1e5]]), dims=("y", "x"), name="response_time")
    >>> response_time_map(tau).axes[0].get_legend().get_texts()[0].get_text()
    'slower than 11,700 a: 50 %'
    """
    layer = pick(source, name, where="response_time_map")
    figure = maps.map_layer(source, name, ax=ax, log=True, longest_side=longest_side, **how)
    axes = ax if ax is not None else figure.axes[0]
    picture = read_picture(layer, longest_side)
    positive = (picture.values > 0) & maps.drawn_cells(axes)
    if not positive.any():
        return figure
    slow = positive & (picture.values > age)
    share = picture.share(slow, positive)
    drawn = next((image for image in axes.images if image.colorbar is not None), None)
    if drawn is not None and drawn.colorbar is not None and min(drawn.get_clim()) < age < max(drawn.get_clim()):
        drawn.colorbar.ax.axhline(age, color="#56B4E9", linewidth=2.2, gid="age")
    draw_hatching(axes, picture, slow, "white")  # slow cells are dark
    label = f"slower than {age:,.0f} a: {share:.0f} %"
    patch = Patch(facecolor="#3B0F70", edgecolor="white", hatch=palette.HATCH, linewidth=0.5, label=label)
    canvas.add_to_legend(axes, [patch])
    return figure


def _require_one_grid(a: xr.DataArray, b: xr.DataArray) -> None:
    if a.shape != b.shape:
        raise GridError(f"difference_map: the maps have {a.shape} and {b.shape} cells; bring both onto one grid")
    if not on_one_grid(a, b):
        raise GridError("difference_map: the maps are on different grids; bring both onto one with tpsoil.add_layer")
