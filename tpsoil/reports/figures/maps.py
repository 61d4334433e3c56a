"""Maps of layers, continuous, circular or classes, drawn from a decimated read, never from the full raster."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from tpsoil.errors import GridError, InputError
from tpsoil.soil_mask import without_soil

from . import canvas, geographic, ground, palette
from .reading import LONGEST_SIDE, Picture, on_one_grid, pick, read_picture
from .stretch import Arrows, colour_scale, finish_bar

Floats = npt.NDArray[np.float64]

MAP_WIDTH = 6.4
"""Inches of a figure of 8.2 that are the map's."""
BAR_SHARE = 0.72
"""Height of the colour bar in heights of its map: below it there is room for the globe."""
MAX_CLASSES_BESIDE_GLOBE = 12
"""Maximum number of legend entries beside a globe."""


def map_layer(
    source: xr.DataArray | xr.Dataset,
    name: str | None = None,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    hillshade: xr.DataArray | None = None,
    mask: xr.DataArray | None = None,
    limits: tuple[float, float] | None = None,
    log: bool | None = None,
    cmap: str | None = None,
    names: Mapping[int, str] | None = None,
    date: str | None = None,
    longest_side: int = LONGEST_SIDE,
) -> Figure:
    """Map of one layer, with units on its colour bar, a scale, the CRS and the date.

    Parameters
    ----------
    source : DataArray (y, x) or Dataset
        Lazy or not. A Dataset needs `name` where it has more than one layer.
    name : str, optional
        The layer.
    ax : Axes, optional
        Axes to draw into; default: a new figure.
    title : str, optional
        Else the layer's `long_name`. The word *simulated* is added where layer or store are marked so.
    hillshade : DataArray (y, x), m, optional
        Elevation on the same grid; its relief shades the map.
    mask : DataArray (y, x), optional
        `soil_mask` on the same grid: cells that are not 1 are drawn in grey and named in the legend.
    limits : (float, float), optional
        Ends of the colour bar, in the layer's units; else the 1st and 99th percentile of what is drawn, with arrows
        where values lie beyond. Circular layers always take 0 to 360.
    log : bool, optional
        A logarithmic colour bar; default: for layers that span powers of ten. Values <= 0 are omitted and
        counted in the label.
    cmap : str, optional
        A matplotlib colour map instead of the layer's own.
    names : mapping of int to str, optional
        Class names instead of the layer's own; classes only.
    date : str, optional
        Else the layer's or store's `created`; else the day of drawing.
    longest_side : int
        Cells drawn along the longer side; a larger raster is read with a stride, which the figure states.

    Returns
    -------
    Figure

    Raises
    ------
    MissingInputError
        For a layer that is not in the store.
    InputError
        For another type, other dims, or limits that are not an interval.
    GridError
        Where `hillshade` or `mask` are on another grid.

    Notes
    -----
    Class layers are drawn by `map_classes`. An all-NaN layer gives an empty map with a note.

    Examples
    --------
    >>> slope = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("y", "x"), name="slope")
    >>> map_layer(slope).axes[0].get_title(loc="left")
    'Slope'
    """
    layer = pick(source, name)
    if palette.layer_kind(layer) == "categorical":
        return map_classes(source, name, ax=ax, title=title, hillshade=hillshade, mask=mask, names=names, date=date,
                           longest_side=longest_side)  # fmt: skip
    if limits is not None and not (np.all(np.isfinite(limits)) and limits[0] < limits[1]):
        raise InputError(f"map_layer: limits are {limits!r}, expected two finite numbers, the lower one first")
    picture = read_picture(layer, longest_side)
    figure, axes = start_map(layer, picture, ax, title, date)
    values, patches = draw_excluded(axes, layer, picture, mask, source, longest_side)
    if patches:
        axes.legend(handles=patches, loc="lower right", fontsize=7.5, framealpha=0.8)
    units = palette.unit_text(palette.layer_units(layer))
    logarithmic = log if log is not None else str(layer.name) in palette.LOGARITHMIC
    omitted = ""
    if logarithmic:
        hidden = int(np.sum(values < 0))
        # No loss at all is the low end of the bar, not a hole in the map.
        lowest = values[values > 0].min(initial=np.inf)
        values = np.where(values < 0, np.nan, np.maximum(values, lowest))
        omitted = f"\n{hidden} drawn cells below 0 omitted" if hidden else ""
    if not np.isfinite(values).any():
        outside = mask is not None and bool(np.isfinite(picture.values).any())
        where = " outside the mask" if outside else ""
        return finish_empty(
            axes, picture, f"nothing to draw: no cell of '{layer.name}' has a value{where}", own=ax is None
        )
    colours = cmap or palette.colour_map(layer)
    norm, extend = colour_scale(values, limits, logarithmic=logarithmic, kind=palette.layer_kind(layer), cmap=colours)
    image = draw_values(axes, picture, values, norm, colours)
    if hillshade is not None:
        draw_relief(axes, layer, picture, hillshade, values, longest_side)
    label = palette.layer_title(layer)
    finish_with_bar(axes, picture, image, f"{label[:1].lower() + label[1:]}, {units}{omitted}", extend, own=ax is None)
    return figure


def map_classes(
    source: xr.DataArray | xr.Dataset,
    name: str | None = None,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    hillshade: xr.DataArray | None = None,
    mask: xr.DataArray | None = None,
    names: Mapping[int, str] | None = None,
    date: str | None = None,
    longest_side: int = LONGEST_SIDE,
) -> Figure:
    """Map of classes with their names and shares of the area in the legend, not their codes.

    Parameters
    ----------
    source, name, ax, title, hillshade, mask, date, longest_side
        As in `map_layer`.
    names : mapping of int to str, optional
        Class names that take precedence over `flag_meanings` and the catalogue.

    Returns
    -------
    Figure

    Raises
    ------
    MissingInputError, InputError, GridError
        As `map_layer`.

    Notes
    -----
    Shares are of the area of the cells drawn; cells of a geographic grid are weighted by the cosine of their latitude.

    Examples
    --------
    >>> zone = xr.DataArray(np.array([[1, 2], [2, 2]], "uint8"), dims=("y", "x"), name="zone")
    >>> [text.get_text() for text in map_classes(zone).legends[0].get_texts()]
    ['zone 1, 25 %', 'zone 2, 75 %']
    """
    layer = pick(source, name, where="map_classes")
    layer = layer.assign_attrs(kind="categorical")
    picture = read_picture(layer, longest_side, where="map_classes")
    figure, axes = start_map(layer, picture, ax, title, date)
    values, patches = draw_excluded(axes, layer, picture, mask, source, longest_side)
    present = [int(code) for code in np.unique(values[np.isfinite(values)])]
    if not present:
        return finish_empty(axes, picture, f"nothing to draw: no cell of '{layer.name}' has a class", own=ax is None)
    labels = palette.class_names(layer, names)
    colours = palette.class_colours(str(layer.name), sorted(set(labels) | set(present)))
    image = draw_values(
        axes, picture, values, BoundaryNorm([code - 0.5 for code in (*present, present[-1] + 1)], len(present)),
        ListedColormap([colours[code] for code in present]),
    )  # fmt: skip
    image.set_label("classes")
    if hillshade is not None:
        draw_relief(axes, layer, picture, hillshade, values, longest_side)
    shares = [picture.share(values == code, np.isfinite(values)) for code in present]
    handles = [
        Patch(facecolor=colours[code], edgecolor=palette.QUIET, linewidth=0.4,
              label=f"{palette.class_name(layer, code, labels)}, {_share(share)}")
        for code, share in zip(present, shares, strict=True)
    ]  # fmt: skip
    handles += patches
    # Outside the axes constrained layout reserves space only for a figure's legend.
    place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if ax is not None else {"loc": "outside right upper"}
    (axes if ax is not None else figure).legend(
        handles=handles, fontsize=8, frameon=False, title="share of area", title_fontsize=8, alignment="left", **place
    )
    finish_map(axes, picture, globe=ax is None and len(handles) <= MAX_CLASSES_BESIDE_GLOBE)
    return figure


def start_map(
    layer: xr.DataArray, picture: Picture, ax: Axes | None, title: str | None, date: str | None
) -> tuple[Figure, Axes]:
    """Axes with title, frame and the line that names CRS, cells and date."""
    left, right, bottom, top = picture.bounds
    aspect = (top - bottom) / max(right - left, 1e-12)
    figure, axes = canvas.new_axes(ax, (8.2, float(np.clip(6.3 * aspect + 1.35, 2.6, 8.0))))
    canvas.title(axes, title or palette.layer_title(layer), layer)
    east, north = ("longitude", "latitude") if picture.unit == "°" else ("easting", "northing")
    created = date or next((str(layer.attrs[k]) for k in ("created", "date_created") if layer.attrs.get(k)), None)
    dated = f"created {created[:10]}" if created else f"drawn {datetime.date.today().isoformat()}"
    if picture.crs is None:
        axes.set_xlabel(f"{east}, {picture.unit}\n{picture.note}; {dated}", fontsize=8)
        axes.set_ylabel(f"{north}, {picture.unit}", fontsize=8)
    else:
        axes.set_xlabel(f"{picture.note}; {dated}", fontsize=7.5, color=palette.QUIET, loc="left")
    axes.tick_params(labelsize=7, colors=palette.QUIET)
    axes.spines[:].set_color("#BDBDBD")
    return figure, axes


def finish_map(axes: Axes, picture: Picture, *, globe: bool = True) -> None:
    """Limits around what is drawn, true shape of a cell, geography, scale bar, and a globe with the map's location."""
    frame = _frame(axes, picture)
    axes.set(xlim=frame[:2], ylim=frame[2:], aspect=picture.stretch)
    if globe:
        _fit_figure(axes, picture, frame)
    geographic.draw_scale(axes, picture, frame)
    geographic.draw_geography(axes, picture, frame)
    plane = geographic.plane_of(picture, frame)
    if globe and plane is not None:
        geographic.draw_globe(axes, plane)


def finish_empty(axes: Axes, picture: Picture, reason: str, *, own: bool) -> Figure:
    """As `finish_map`, with the reason why no cell is drawn."""
    finish_map(axes, picture, globe=own)
    return canvas.nothing(axes, reason)


def finish_with_bar(axes: Axes, picture: Picture, image: AxesImage, label: str, extend: Arrows, *, own: bool) -> None:
    """As `finish_map`, with a colour bar of rounded numbers; `own`: the map fills a figure, so there is a globe."""
    figure = canvas.new_axes(axes)[0]
    bar = figure.colorbar(image, ax=axes, extend=extend, shrink=BAR_SHARE, anchor=(0.0, 1.0), pad=0.02, aspect=24)
    bar.set_label(label, fontsize=9)
    finish_bar(bar, image)
    finish_map(axes, picture, globe=own)
    canvas.fit_bar(bar, axes, BAR_SHARE, close=not own)


def _fit_figure(axes: Axes, picture: Picture, frame: geographic.Frame) -> None:
    """Give a figure of its own the height of what is drawn, so that neither title nor bar run out of it."""
    figure = canvas.new_axes(axes)[0]
    height = MAP_WIDTH * picture.stretch * (frame[3] - frame[2]) / max(frame[1] - frame[0], 1e-12)
    width = figure.get_size_inches()[0]
    tall = float(np.clip(height, 1.6, 8.6))
    figure.set_size_inches(width if tall >= height else max(4.5, width * tall / height), tall + 1.5)


def _frame(axes: Axes, picture: Picture) -> geographic.Frame:
    """The bounds of the layer, cropped to its cells with a value."""
    left, right, bottom, top = picture.bounds
    drawn = [~np.ma.getmaskarray(np.ma.asarray(image.get_array())) for image in axes.images
             if image.get_gid() in {"values", "masked"}]  # fmt: skip
    visible = np.logical_or.reduce(drawn) if drawn else np.zeros((0, 0), bool)
    if not visible.any():
        return left, right, bottom, top
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    x0, x1, y0, y1 = picture.extent
    dx, dy = (x1 - x0) / visible.shape[1], (y1 - y0) / visible.shape[0]
    box = (x0 + columns[0] * dx, x0 + (columns[-1] + 1) * dx, y1 - (rows[-1] + 1) * dy, y1 - rows[0] * dy)
    margin = 0.03 * max(box[1] - box[0], box[3] - box[2])
    return (max(left, box[0] - margin), min(right, box[1] + margin), max(bottom, box[2] - margin),
            min(top, box[3] + margin))  # fmt: skip


def draw_values(axes: Axes, picture: Picture, values: Floats, norm: Normalize, cmap: str | ListedColormap) -> AxesImage:
    """Draw the cells, one colour per cell, without smoothing."""
    return axes.imshow(np.ma.masked_invalid(values), extent=picture.extent, norm=norm, cmap=cmap,
                       interpolation="nearest", zorder=2, gid="values", aspect="auto")  # fmt: skip


def drawn_cells(axes: Axes) -> npt.NDArray[np.bool_]:
    """Cells that a map shows: with a value, and not masked; one False where none is drawn."""
    image = next((image for image in reversed(axes.images) if image.get_gid() == "values"), None)
    return np.array(False) if image is None else ~np.ma.getmaskarray(np.ma.asarray(image.get_array()))


def draw_excluded(
    axes: Axes, layer: xr.DataArray, picture: Picture, mask: xr.DataArray | None, source: xr.DataArray | xr.Dataset,
    longest_side: int,
) -> tuple[Floats, list[Patch]]:  # fmt: skip
    """Fill cells without a value by their meaning: water, ice, masked, no data; outside shows the base map.

    Parameters
    ----------
    axes : Axes
    layer : DataArray (y, x)
    picture : Picture
    mask : DataArray (y, x) or None
        `soil_mask`.
    source : DataArray or Dataset (y, x)
        Of a store, its class layers show water and ice.
    longest_side : int

    Returns
    -------
    (ndarray, list of Patch)
        Values, NaN where the mask is not 1, outside of what was studied too; entries of the legend.
    """
    masked = None if mask is None else without_soil(_companion(layer, picture, mask, longest_side, "mask"))
    values = picture.values if masked is None else np.where(masked, np.nan, picture.values)
    undrawn = np.isnan(values)
    if not undrawn.any():
        return values, []
    store = source if isinstance(source, xr.Dataset) else xr.Dataset()
    water, ice = ground.surfaces_of(store, picture, longest_side)
    codes = ground.ground_codes(np.isnan(picture.values), masked, water, ice)
    return values, ground.draw_ground(axes, picture, codes, undrawn)


def draw_relief(
    axes: Axes, layer: xr.DataArray, picture: Picture, elevation: xr.DataArray, values: Floats, longest_side: int
) -> None:
    """Shade the map by its relief: light from the north-west at 45 degrees, over the colours.

    Notes
    -----
    Intensity is the cosine between the light and the surface's normal, less that of flat ground. Relief is exaggerated
    until the 95th percentile of the gradient is 1, so that a map of 30 m and one of 5 km cells are shaded alike.
    """
    height = _companion(layer, picture, elevation, longest_side, "hillshade")
    if min(height.shape) < 2:
        return
    south, east = np.gradient(height, picture.cell_m)
    steepness = np.hypot(south, east)
    valid = np.isfinite(steepness) & np.isfinite(values)
    typical = float(np.percentile(steepness[valid], 95)) if valid.any() else 0.0
    if typical == 0:
        return
    east, south = np.nan_to_num(east) / typical, np.nan_to_num(south) / typical
    light = (0.5 * (east + south) + np.sqrt(0.5)) / np.sqrt(1 + east**2 + south**2) - np.sqrt(0.5)
    shade = np.zeros((*light.shape, 4))
    shade[..., :3] = (light > 0)[..., None]
    shade[..., 3] = np.where(light > 0, 0.8, 0.65) * np.clip(np.abs(light), 0, 0.6) * valid
    axes.imshow(shade, extent=picture.extent, interpolation="nearest", zorder=3, gid="relief", aspect="auto")


def _companion(layer: xr.DataArray, picture: Picture, other: xr.DataArray, longest_side: int, role: str) -> Floats:
    """Another layer read with the same stride; its grid must be the map's."""
    second = pick(other, where=f"map_layer ({role})")
    if second.shape != layer.shape:
        raise GridError(
            f"map_layer: {role} '{second.name}' has {second.shape[0]} x {second.shape[1]} cells, '{layer.name}' "
            f"{layer.shape[0]} x {layer.shape[1]}; bring both onto one grid with tpsoil.add_layer"
        )
    if not on_one_grid(layer, second):
        raise GridError(
            f"map_layer: {role} '{second.name}' is on another grid than '{layer.name}'; use one cube for both"
        )
    return read_picture(second, longest_side, where=f"map_layer ({role})").values


def _share(percent: float) -> str:
    return f"{percent:.0f} %" if percent >= 1 else ("< 0.1 %" if percent < 0.1 else f"{percent:.1f} %")
