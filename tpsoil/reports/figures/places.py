"""Representativeness of the sites, and layers along a transect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tpsoil.errors import InputError

from . import canvas, palette


def representativeness(
    table: pd.DataFrame, *, axes: Axes | Sequence[Axes] | None = None, title: str | None = None
) -> Figure:
    """Representativeness of the sites: distribution of each covariate at the sites and over the mapped area.

    Parameters
    ----------
    table : DataFrame
        Tidy: `covariate`, `value`, `source` ("sites" or "area"); optional `weight` (area of a cell).
    axes : Axes or sequence of Axes, optional
        One a covariate.
    title : str, optional
        Of the first panel; else each has its covariate's name.

    Returns
    -------
    Figure
        Each legend has the Kolmogorov-Smirnov distance of the two, and the share of the area beyond the sites'
        range.

    Raises
    ------
    InputError
        For missing columns, and for another `source`.

    Examples
    --------
    >>> sites = pd.DataFrame({"covariate": "slope", "value": [1.0, 2, 3], "source": "sites"})
    >>> area = pd.DataFrame({"covariate": "slope", "value": [1.0, 2, 3, 9], "source": "area"})
    >>> representativeness(pd.concat([sites, area])).axes[0].get_xlabel()
    'slope, °'
    """
    canvas.require_columns(table, ["covariate", "value", "source"], where="representativeness")
    wrong = set(table["source"].unique()) - {"sites", "area"}
    if wrong:
        raise InputError(f"representativeness: source has {sorted(map(str, wrong))}, expected 'sites' and 'area'")
    figure, panels = canvas.panels_by(table, "covariate", axes, title, palette.panel_title)
    for name, rows, panel in panels:
        panel.set(xlabel=palette.axis_label(name), ylabel="density")
        known = rows.dropna(subset=["value"])
        sites, area = (known[known["source"] == s] for s in ("sites", "area"))
        if sites.empty or area.empty:
            canvas.nothing(panel, f"no {'sites' if sites.empty else 'area'} with a value")
            continue
        s, a = sites["value"].to_numpy(float), area["value"].to_numpy(float)
        weight = area["weight"].to_numpy(float) if "weight" in area else np.ones(a.size)
        low, high = float(min(s.min(), a.min())), float(max(s.max(), a.max()))
        edges = np.linspace(low, high, 31).tolist() if low < high else [low - 0.5, low + 0.5]
        panel.hist(a, bins=edges, weights=weight, density=True, color=palette.GREY, label="area")
        outside = 100 * float(weight[(a < s.min()) | (a > s.max())].sum() / weight.sum())
        label = f"sites, n = {s.size}\nKS distance {_ks(s, a, weight):.2f}\n{outside:.0f} % of area beyond them"
        panel.hist(s, bins=edges, density=True, histtype="step", color=palette.ACCENT, linewidth=1.5, label=label)
        canvas.headroom(panel)
        panel.legend(fontsize=7, frameon=False, loc="upper right")
    return figure


def _ks(sites: Any, area: Any, weight: Any) -> float:
    """Largest distance between the distribution of the sites and the area-weighted one."""
    at = np.unique(np.concatenate([sites, area]))
    order = np.argsort(area)
    cumulative = np.concatenate([[0.0], np.cumsum(weight[order]) / weight.sum()])
    of_area = cumulative[np.searchsorted(area[order], at, side="right")]
    of_sites = np.searchsorted(np.sort(sites), at, side="right") / sites.size
    return float(np.abs(of_area - of_sites).max())


def class_representation(
    table: pd.DataFrame, *, ax: Axes | None = None, title: str = "Sites and area by class"
) -> Figure:
    """Share of the sites beside share of the area, class by class.

    Parameters
    ----------
    table : DataFrame
        `group` or `class` (column or index), `site_share`, `area_share` (0 to 1); optional `sites` (number).
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
    >>> table = pd.DataFrame({"group": ["steppe"], "site_share": [0.3], "area_share": [0.5]})
    >>> class_representation(table).axes[0].get_xlabel()
    'share, %'
    """
    table = canvas.tidy(table, {"class": "group"})
    canvas.require_columns(table, ["group", "site_share", "area_share"], where="class_representation")
    rows = table.sort_values("area_share", kind="stable").reset_index(drop=True)
    size = 6.4, float(np.clip(0.45 * len(rows) + 1.3, 2, 10))
    figure, axes = canvas.new_chart(ax, size, title, table, grid="x", labels=("share, %", ""))
    if rows.empty:
        return canvas.nothing(axes, "nothing to draw: no class")
    axes.barh(rows.index + 0.2, 100 * rows["area_share"], height=0.38, color=palette.GREY, label="area")
    axes.barh(rows.index - 0.2, 100 * rows["site_share"], height=0.38, color=palette.ACCENT, label="sites")
    counts = [f" (n = {int(n)})" for n in rows["sites"]] if "sites" in rows else [""] * len(rows)
    axes.set_yticks(range(len(rows)), [f"{g}{c}".replace("_", " ") for g, c in zip(rows["group"], counts, strict=True)])
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def transect(
    table: pd.DataFrame,
    layers: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    units: str = "",
    title: str | None = None,
) -> Figure:
    """Layers along a transect, over the elevation profile.

    Parameters
    ----------
    table : DataFrame
        `distance_km` along the line; optional `elevation` (m), drawn in the background; the layers as columns.
    layers : sequence of str, optional
        Columns to draw, all in one unit; default: all other numeric columns.
    ax : Axes, optional
    units : str
        Unit of the layers; default: the catalogue's unit of the first.
    title : str, optional

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns.

    Examples
    --------
    >>> table = pd.DataFrame({"distance_km": [0.0, 10], "elevation": [4000.0, 5000], "solum_thickness": [0.5, 0.8]})
    >>> transect(table).axes[0].get_ylabel()
    'solum thickness, m'
    """
    canvas.require_columns(table, ["distance_km", *(layers or [])], where="transect")
    placed = {"distance_km", "elevation", "x", "y", "lon", "lat", "longitude", "latitude"}
    names = list(layers or [c for c in table.select_dtypes("number").columns if c not in placed])
    rows = table.sort_values("distance_km")
    quantity, unit = palette.quantity(names[0] if names else "layer", units)
    text = title or f"{palette.capitalised(quantity)} along a transect"
    figure, axes = canvas.new_chart(ax, (8.6, 3.8), text, table, labels=("distance, km", f"{quantity}, {unit}"))
    handles: list[Any] = []
    if "elevation" in rows and rows["elevation"].notna().any():
        ground = axes.twinx()
        height = rows["elevation"].to_numpy(float)
        floor = float(np.nanmin(height) - 0.15 * (np.nanmax(height) - np.nanmin(height)) - 1)
        ground.fill_between(rows["distance_km"], floor, height, color="#E2DED8", linewidth=0, gid="ground")
        ground.set_ylim(floor, float(np.nanmax(height)) + 1)
        ground.set_ylabel("elevation, m", fontsize=9, color=palette.QUIET)
        ground.tick_params(labelsize=8, colors=palette.QUIET)
        ground.spines["top"].set_visible(False)
        axes.set_zorder(ground.get_zorder() + 1)
        axes.patch.set_visible(False)
        handles.append(Patch(facecolor="#E2DED8", label="elevation"))
    if not names or not rows[names].notna().to_numpy().any():
        return canvas.nothing(axes, "nothing to draw: no layer has a value along the line")
    colours = palette.class_colours("transect", range(max(len(names), 1)))
    for position, name in enumerate(names):
        colour = palette.ACCENT if len(names) == 1 else colours[position]
        handles += axes.plot(rows["distance_km"], rows[name], color=colour, linewidth=1.5,
                             label=name.replace("_", " "))  # fmt: skip
    axes.legend(handles=handles, fontsize=7.5, frameon=False, loc="best")
    return figure
