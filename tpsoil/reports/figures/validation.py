"""A map at places that it was not fitted to, and how far test samples lie from training samples."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpsoil.errors import InputError
from tpsoil.evaluation import bias, rmse

from . import canvas, maps, palette
from .reading import in_picture, positions_on

COMPLETE: Final = "complete profile"
REACHED: Final = "lower limit, reached by the map"
NOT_REACHED: Final = "lower limit, map is thinner"
COLUMNS: Final = ("observed", "predicted", "censored")
NAMES = {"knndm": "kNNDM"}
FIXED = {"sample_to_sample": "between samples", "area_to_sample": "from mapped cells to samples"}


def observed_limits(
    table: pd.DataFrame, *, ax: Axes | None = None, units: str = "m", title: str = "Observed against predicted"
) -> Figure:
    """Observed against predicted values, with lower limits as arrows.

    Parameters
    ----------
    table : DataFrame
        `observed`, `predicted` (in `units`), `censored` (true for a lower limit).
    ax : Axes, optional
    units : str
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
    >>> table = pd.DataFrame({"observed": [0.5, 0.2], "predicted": [0.7, 0.7], "censored": [False, True]})
    >>> [text.get_text() for text in observed_limits(table).axes[0].get_legend().get_texts()]
    ['1:1', 'complete profile (1)', 'lower limit, reached by the map (1)']
    """
    canvas.require_columns(table, list(COLUMNS), where="observed_limits")
    unit = palette.unit_text(units)
    labels = f"predicted, {unit}", f"observed, or its lower limit, {unit}"
    figure, axes = canvas.new_chart(ax, (5.2, 5.2), title, table, grid="both", labels=labels)
    rows = table.dropna(subset=["observed", "predicted"])
    if rows.empty:
        return canvas.nothing(axes, "nothing to draw: no pair of observed and predicted values")
    observed, predicted = rows["observed"].to_numpy(float), rows["predicted"].to_numpy(float)
    limit = rows["censored"].to_numpy(bool)
    most = 1.08 * max(observed.max(), predicted.max())
    axes.plot([0, most], [0, most], color=palette.INK, linewidth=1, linestyle="--", label="1:1")
    for label, chosen, style in _kinds(observed, predicted, limit):
        if chosen.any():
            axes.scatter(predicted[chosen], observed[chosen], label=f"{label} ({chosen.sum()})", zorder=3, **style)
    axes.quiver(predicted[limit], observed[limit], 0.0, 1.0, angles="uv", scale=32, width=0.003, headwidth=5,
                color=palette.INK, alpha=0.45, zorder=2, gid="limits")  # fmt: skip
    lines = [f"{int((~limit).sum())} complete, {int(limit.sum())} lower limits"]
    if not limit.all():
        errors = observed[~limit], predicted[~limit]
        lines += [f"RMSE = {palette.number_text(rmse(*errors))} {unit}, of complete ones",
                  f"ME = {palette.number_text(bias(*errors))} {unit}"]  # fmt: skip
    axes.set(xlim=(0, most), ylim=(0, 1.12 * most))
    legend = axes.legend(fontsize=7.5, frameon=False, loc="upper left", title="\n".join(lines), title_fontsize=8)
    legend.set_alignment("left")
    return figure


def residual_map(layer: xr.DataArray, points: pd.DataFrame, *, mask: xr.DataArray | None = None) -> Figure:
    """Map with the profiles that it was not fitted to, coloured by observed minus predicted.

    Parameters
    ----------
    layer : DataArray (y, x)
        With a CRS.
    points : DataFrame
        `observed`, `predicted` (in the layer's units), `censored`, and `lon`, `lat`, or `x`, `y` in the layer's CRS.
    mask : DataArray (y, x), optional
        `soil_mask`.

    Returns
    -------
    Figure
        A lower limit that the map reaches is no error and is drawn unfilled.

    Raises
    ------
    InputError
        For missing columns.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> layer = xr.DataArray(np.ones(grid.shape), coords=coordinates(grid), dims=("y", "x"), name="solum_thickness")
    >>> pits = pd.DataFrame({"lon": [91.0], "lat": [31.0], "observed": 0.8, "predicted": 1.0, "censored": False})
    >>> residual_map(layer, pits).axes[0].get_title(loc="left")
    'Profiles that no parameter was fitted to: 1'
    """
    canvas.require_columns(points, list(COLUMNS), where="residual_map")
    rows = points.dropna(subset=["observed", "predicted"])
    if rows.empty:
        raise InputError("residual_map: no profile with an observed and a predicted value")
    figure = maps.map_layer(layer, title=f"Profiles that no parameter was fitted to: {len(rows)}", mask=mask)
    axes = figure.axes[0]
    east, north = in_picture(layer, *positions_on(layer, rows, where="residual_map"))
    observed, predicted = rows["observed"].to_numpy(float), rows["predicted"].to_numpy(float)
    residual, limit = observed - predicted, rows["censored"].to_numpy(bool)
    errs = ~limit | (residual > 0)
    most = max(float(np.abs(residual[errs]).max(initial=0.0)), 0.01)
    drawn: Any = None
    for label, chosen, _ in _kinds(observed, predicted, limit):
        if not chosen.any():
            continue
        marker = "o" if label == COMPLETE else "^"
        place = east[chosen], north[chosen]
        if label == REACHED:
            axes.scatter(*place, s=26, marker=marker, facecolors="white", edgecolors=palette.INK, linewidths=0.9,
                         zorder=6, label=f"{label} ({chosen.sum()})", gid="limits")  # fmt: skip
            continue
        axes.scatter(*place, s=90, marker=marker, color="white", linewidths=0, zorder=6.5)
        drawn = axes.scatter(*place, s=30, marker=marker, c=residual[chosen], cmap=palette.DIVERGING, vmin=-most,
                             vmax=most, edgecolors=palette.INK, linewidths=0.7, zorder=7,
                             label=f"{label} ({chosen.sum()})", gid="profiles")  # fmt: skip
    axes.legend(fontsize=7.5, loc="best", framealpha=0.9)
    if drawn is not None:
        canvas.bar_below(figure, axes, drawn, "observed - predicted, m; of a limit at least")
    return figure


def _kinds(observed: Any, predicted: Any, limit: Any) -> list[tuple[str, Any, dict[str, Any]]]:
    """Label, rows and style of complete profiles, limits that are reached, and limits that are not."""
    return [
        (COMPLETE, ~limit, {"s": 22, "color": palette.ACCENT, "alpha": 0.75, "linewidths": 0}),
        (REACHED, limit & (predicted >= observed),
         {"s": 26, "marker": "^", "facecolors": "none", "edgecolors": palette.ACCENT}),
        (NOT_REACHED, limit & (predicted < observed), {"s": 26, "marker": "^", "color": palette.WARNING}),
    ]  # fmt: skip


def distance_curves(
    table: pd.DataFrame, *, ax: Axes | None = None, title: str = "Distance to the nearest sample"
) -> Figure:
    """Shares of samples and mapped cells within a distance of the nearest sample of other folds.

    Parameters
    ----------
    table : DataFrame
        `distance_to_sample_km` (or `distance`), `sample_to_sample`, `area_to_sample` and one column a design, shares
        in 0..1, as `DistanceCurves.table` returns them.
    ax : Axes, optional
    title : str

    Returns
    -------
    Figure
        The design whose curve is closest to that of the mapped cells estimates the error of the map best.

    Raises
    ------
    InputError
        For missing columns.

    References
    ----------
    Linnenbrink, J. et al. (2024), Geoscientific Model Development 17. doi:10.5194/gmd-17-5897-2024

    Examples
    --------
    >>> table = pd.DataFrame({"distance": [0, 1], "sample_to_sample": [0, 1], "area_to_sample": [0, 0.5]})
    >>> distance_curves(table).axes[0].get_ylabel()
    'within this distance, %'
    """
    kilometres = "distance_to_sample_km" in table.columns
    key = "distance_to_sample_km" if kilometres else "distance"
    canvas.require_columns(table, [key, *FIXED], where="distance_curves")
    distance = "distance to the nearest sample of other folds" + (", km" if kilometres else "")
    labels = distance, "within this distance, %"
    figure, axes = canvas.new_chart(ax, (5.6, 4.4), title, table, grid="both", labels=labels)
    designs = [name for name in table.columns if name not in {key, *FIXED}]
    colours = palette.class_colours("designs", range(len(designs)))
    axes.plot(
        table[key], 100 * table["area_to_sample"], color=palette.INK, linewidth=2.2, label=FIXED["area_to_sample"]
    )
    axes.plot(table[key], 100 * table["sample_to_sample"], color=palette.QUIET, linewidth=1.2, linestyle=":",
              label=FIXED["sample_to_sample"])  # fmt: skip
    for place, name in enumerate(designs):
        axes.plot(
            table[key], 100 * table[name], color=colours[place], linewidth=1.4, label=f"{NAMES.get(name, name)} folds"
        )
    axes.set(xlim=(0, float(table[key].max())), ylim=(0, 101))
    axes.legend(fontsize=7.5, frameon=False, loc="lower right")
    return figure
