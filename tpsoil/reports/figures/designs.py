"""Validation designs: how far test samples lie from training samples, beside how far the map does."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import canvas, palette

NAMES = {"knndm": "kNNDM"}
FIXED = {"sample_to_sample": "between samples", "area_to_sample": "from mapped cells to samples"}


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
