"""Measured values: groups with their letters, histograms of elements, correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpsoil.errors import InputError
from tpsoil.soil_properties import MG_KG, known_property

from . import canvas, palette


def group_comparison(
    table: pd.DataFrame,
    value: str,
    group: str,
    *,
    letters: Mapping[str, str] | pd.DataFrame | None = None,
    kind: str = "violin",
    ax: Axes | None = None,
    units: str = "",
    names: Mapping[Any, str] | None = None,
    title: str | None = None,
) -> Figure:
    """Violins or boxes of a value by biome, lithology or another class, with the letters of the comparison.

    Parameters
    ----------
    table : DataFrame
        One row a site, with the columns `value` and `group`.
    value, group : str
        Column names.
    letters : mapping of group to str, or DataFrame with `group` (column or index) and `letters`, optional
        Compact letters: groups that share one do not differ.
    kind : {"violin", "box"}
        A violin has its box inside; it needs three different values, else the points are drawn.
    ax : Axes, optional
    units : str
        Of the value; else the catalogue's.
    names : mapping of group to str, optional
        Names of class codes.
    title : str, optional

    Returns
    -------
    Figure
        Groups in order of descending mean, each with its number of sites under its name.

    Raises
    ------
    InputError
        For missing columns or another `kind`.

    Examples
    --------
    >>> table = pd.DataFrame({"iron": [1.0, 2, 3, 7, 8, 9], "biome": ["steppe"] * 3 + ["forest"] * 3})
    >>> figure = group_comparison(table, "iron", "biome", letters={"forest": "a", "steppe": "b"})
    >>> [t.get_text() for t in figure.axes[0].get_xticklabels()]
    ['forest\\nn = 3', 'steppe\\nn = 3']
    """
    canvas.require_columns(table, [value, group], where="group_comparison")
    if kind not in {"violin", "box"}:
        raise InputError(f"group_comparison: kind is '{kind}', expected 'violin' or 'box'")
    long_name, unit = palette.quantity(value, units)
    rows = table.dropna(subset=[value, group])
    parts = {key: part[value].to_numpy(float) for key, part in rows.groupby(group, sort=True, observed=True)}
    order = sorted(parts, key=lambda key: -float(parts[key].mean()))
    size = float(np.clip(1.1 * len(order) + 1.6, 4, 14)), 4.4
    text = title or f"{palette.capitalised(long_name)} by {group.replace('_', ' ')}"
    figure, axes = canvas.new_chart(ax, size, text, table, grid="y", labels=("", f"{long_name}, {unit}"))
    if not order:
        return canvas.nothing(axes, f"nothing to draw: no row has both '{value}' and '{group}'")
    if isinstance(letters, pd.DataFrame):
        if "group" not in letters.columns:
            letters = letters.rename_axis("group").reset_index()
        canvas.require_columns(letters, ["group", "letters"], where="group_comparison (letters)")
        letters = dict(zip(letters["group"], letters["letters"], strict=True))
    marks = {str(key): str(text) for key, text in (letters or {}).items()}
    highest = max(float(part.max()) for part in parts.values())
    lowest = min(float(part.min()) for part in parts.values())
    step = (highest - lowest) or max(abs(highest), 1.0)
    for position, key in enumerate(order):
        data = parts[key]
        if len(np.unique(data)) < 3:
            axes.plot(np.full(len(data), position), data, "o", color=palette.ACCENT, markersize=4, alpha=0.7)
        else:
            if kind == "violin":
                body = axes.violinplot([data], positions=[position], widths=0.8, showextrema=False)
                for shape in body["bodies"]:  # type: ignore[attr-defined]
                    shape.set(facecolor="#56B4E9", edgecolor=palette.ACCENT, alpha=0.55)
            axes.boxplot(
                [data], positions=[position], widths=0.16 if kind == "violin" else 0.55, manage_ticks=False,
                showfliers=kind == "box", patch_artist=True, flierprops={"markersize": 2.5, "alpha": 0.5},
                medianprops={"color": palette.WARNING}, boxprops={"facecolor": "white", "linewidth": 0.9},
            )  # fmt: skip
        axes.plot([position], [data.mean()], marker="D", markersize=3.5, color=palette.INK, linestyle="none")
        if letter := marks.get(str(key)):
            axes.text(position, highest + 0.06 * step, letter, ha="center", fontsize=10, gid="letters")
    labels = [f"{(names or {}).get(key, str(key)).replace('_', ' ')}\nn = {len(parts[key])}" for key in order]
    long = max(len(label) for label in labels) > 16
    axes.set_xticks(range(len(order)), labels, rotation=25 if long else 0, ha="right" if long else "center")
    top = highest + (0.16 if marks else 0.06) * step
    axes.set(xlim=(-0.6, len(order) - 0.4), ylim=(lowest - 0.06 * step, top))
    return figure


def element_histograms(
    table: pd.DataFrame,
    *,
    axes: Axes | Sequence[Axes] | None = None,
    units: str | None = None,
    bins: int = 30,
    title: str | None = None,
) -> Figure:
    """Histogram of each element, with mean, standard deviation, number of values and detection limit.

    Parameters
    ----------
    table : DataFrame
        Tidy: `element`, `value` (in `units`); optional `detection_limit` (same unit), optional `censored` (bool).
    axes : Axes or sequence of Axes, optional
        One an element.
    units : str, optional
        Default: the unit of each property; mg kg-1 of one that is not known.
    bins : int
    title : str, optional
        Of the first panel; else each has its element's name.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns, and for another number of axes than there are elements.

    Examples
    --------
    >>> table = pd.DataFrame({"element": "zinc", "value": [20.0, 25.0, 40.0]})
    >>> element_histograms(table).axes[0].get_xlabel()
    'topsoil zinc, mg kg⁻¹'
    """
    canvas.require_columns(table, ["element", "value"], where="element_histograms")
    figure, panels = canvas.panels_by(table, "element", axes, title, _element_title, grid="y", columns=4)
    for element, rows, panel in panels:
        values = rows["value"].to_numpy(float)
        values = values[np.isfinite(values)]
        entry = known_property(element)
        unit = units or (entry.units if entry else MG_KG)
        panel.set_xlabel(f"{entry.long_name if entry else element}, {palette.unit_text(unit)}")
        panel.set_ylabel("number of values")
        if not values.size:
            canvas.nothing(panel, f"no valid value of {element}" if element else "nothing to draw: the table is empty")
            continue
        panel.hist(values, bins=bins if np.ptp(values) > 0 else 1, color="#56B4E9", edgecolor="white", linewidth=0.4)
        mean, sd = float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else float("nan")
        panel.axvline(
            mean,
            ymax=0.8,
            color=palette.INK,
            linewidth=1.2,
            label=f"mean {palette.number_text(mean)}, SD {palette.number_text(sd)}, n = {values.size}",
        )
        if "detection_limit" in rows and rows["detection_limit"].notna().any():
            limit = float(rows["detection_limit"].max())
            below = int(rows["censored"].sum()) if "censored" in rows else int((values < limit).sum())
            panel.axvline(limit, color=palette.WARNING, linewidth=1.2, linestyle="--",
                          label=f"detection limit {limit:.3g}, {below} below")  # fmt: skip
        canvas.headroom(panel, 0.25)
        panel.legend(fontsize=7, frameon=False, loc="upper right", handlelength=1.2)
    return figure


def _element_title(element: str) -> str:
    entry = known_property(element)
    return element if entry is not None and entry.symbol == element else element.capitalize()


def correlation_matrix(
    r: pd.DataFrame,
    p: pd.DataFrame | None = None,
    *,
    ax: Axes | None = None,
    title: str = "Correlation of the layers",
) -> Figure:
    """Lower triangle of a correlation matrix, with numbers and stars of significance.

    Parameters
    ----------
    r : DataFrame
        Square, -1 to 1, names as index and columns; or tidy with `first`, `second`, `r` and optional `p`.
    p : DataFrame, optional
        Square, on the same names. One star for p < 0.05, two < 0.01, three < 0.001.
    ax : Axes, optional
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        Where the frame is not square, names of `r` and `p` differ, or a correlation is outside -1 to 1.

    Examples
    --------
    >>> frame = pd.DataFrame([[1.0, 0.5], [0.5, 1.0]], index=["slope", "ndvi"], columns=["slope", "ndvi"])
    >>> [t.get_text() for t in correlation_matrix(frame).axes[0].texts]
    ['0.50']
    """
    attrs = r.attrs
    if {"first", "second", "r"} <= set(r.columns):
        p = _square(r, "p") if p is None and "p" in r.columns else p
        r = _square(r, "r")
    if list(map(str, r.index)) != list(map(str, r.columns)):
        raise InputError("correlation_matrix: rows and columns have different names, expected a square matrix")
    if p is not None and (list(p.index) != list(r.index) or list(p.columns) != list(r.columns)):
        raise InputError("correlation_matrix: p has other names than r; reindex it like r")
    values = r.to_numpy(float)
    if np.nanmax(np.abs(values), initial=0.0) > 1 + 1e-9:
        raise InputError("correlation_matrix: a value is outside -1 to 1; pass correlations, not covariances")
    names = [str(name).replace("_", " ") for name in r.columns]
    count = len(names)
    side = float(np.clip(0.52 * count + 1.6, 3.2, 12))
    figure, axes = canvas.new_axes(ax, (side + 0.8, side))
    canvas.title(axes, title, {"simulated": attrs.get("simulated", False)})
    if count < 2:
        return canvas.nothing(axes, "nothing to draw: a correlation needs two layers")
    shown = np.where(np.tri(count, k=-1, dtype=bool), values, np.nan)[1:, :-1]
    image = axes.imshow(np.ma.masked_invalid(shown), cmap=palette.DIVERGING, vmin=-1, vmax=1, gid="values")
    size = float(np.clip(60 / count, 5, 9))
    for row, column in np.argwhere(np.isfinite(shown)):
        value, stars = shown[row, column], "" if p is None else _stars(float(p.iloc[row + 1, column]))
        axes.text(column, row, f"{value:.2f}{stars}", ha="center", va="center", fontsize=size,
                  color="white" if abs(value) > 0.65 else palette.INK)  # fmt: skip
    axes.set_xticks(range(count - 1), names[:-1], rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(count - 1), names[1:], fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    note = "" if p is None else "\n* p < 0.05, ** p < 0.01, *** p < 0.001"
    bar.set_label(f"Pearson's r, no unit{note}", fontsize=8)
    return figure


def _square(table: pd.DataFrame, column: str) -> pd.DataFrame:
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    half = table.pivot_table(index="first", columns="second", values=column).reindex(index=names, columns=names)
    return half.combine_first(half.T).reindex(index=names, columns=names)


def _stars(p: float) -> str:
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""
