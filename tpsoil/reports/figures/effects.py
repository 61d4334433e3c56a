"""Effects of the covariates in a model: partial dependence and accumulated local effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpsoil.errors import InputError
from tpsoil.variables import CATALOGUE

from . import canvas, palette


def partial_dependence(
    table: pd.DataFrame | Sequence[pd.DataFrame],
    *,
    axes: Axes | Sequence[Axes] | None = None,
    units: str = "",
    title: str | None = None,
) -> Figure:
    """Partial dependence of the prediction on each covariate, a panel each, with bands and the data's deciles.

    Parameters
    ----------
    table : DataFrame or sequence of them
        `feature`, `value` (in the covariate's unit), `effect` (in `units`); optional `low`, `high` (band), optional
        `element`: one line each. Or one table per covariate, with a column of its name
        instead of `feature` and `value`.
    axes : Axes or sequence of Axes, optional
        One a feature.
    units : str
        Unit of the effect.
    title : str, optional
        Above the first panel; else each panel has its covariate's name.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns, and for another number of axes than there are features.

    Examples
    --------
    >>> table = pd.DataFrame({"feature": "slope", "value": [0.0, 10.0], "effect": [5.0, 6.0]})
    >>> partial_dependence(table, units="mg kg-1").axes[0].get_xlabel()
    'slope, °'
    """
    return _effects(table, axes, "partial_dependence", "predicted mean", units, title, zero=False)


def accumulated_local_effects(
    table: pd.DataFrame | Sequence[pd.DataFrame],
    *,
    axes: Axes | Sequence[Axes] | None = None,
    units: str = "",
    title: str | None = None,
) -> Figure:
    """Accumulated local effects of each covariate, a panel each, with bands; zero is the mean prediction.

    Parameters
    ----------
    table, axes, units, title
        As in `partial_dependence`.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        As `partial_dependence`.

    References
    ----------
    Apley and Zhu 2020, doi 10.1111/rssb.12377.

    Examples
    --------
    >>> table = pd.DataFrame({"feature": "slope", "value": [0.0, 10.0], "effect": [-0.5, 0.5]})
    >>> accumulated_local_effects(table, units="m").axes[0].get_ylabel()
    'effect, m'
    """
    return _effects(table, axes, "accumulated_local_effects", "effect", units, title, zero=True)


def joint_effect(
    table: pd.DataFrame, *, ax: Axes | None = None, units: str = "", title: str = "Joint effect"
) -> Figure:
    """Joint effect of two covariates, as colours.

    Parameters
    ----------
    table : DataFrame
        `effect` (in `units`) and the two covariates as columns, one row a pair of their values.
    ax : Axes, optional
    units : str
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        Without `effect`, and for another number of covariates than two.

    Examples
    --------
    >>> table = pd.DataFrame({"slope": [0.0, 0, 9, 9], "ndvi": [0.1, 0.9, 0.1, 0.9], "effect": [0.0, 1, 2, 3]})
    >>> joint_effect(table).axes[0].get_xlabel()
    'slope, °'
    """
    canvas.require_columns(table, ["effect"], where="joint_effect")
    names = [str(name) for name in table.columns if name not in {"effect", "low", "high"}]
    if len(names) != 2:
        raise InputError(f"joint_effect: the table has covariates {names}, expected two columns beside 'effect'")
    figure, axes = canvas.new_axes(ax, (5.8, 4.4))
    canvas.title(axes, title, table)
    axes.set_xlabel(palette.axis_label(names[0]), fontsize=9)
    axes.set_ylabel(palette.axis_label(names[1]), fontsize=9)
    plane = table.pivot_table(index=names[1], columns=names[0], values="effect").sort_index().sort_index(axis=1)
    if plane.size == 0 or not np.isfinite(plane.to_numpy(float)).any():
        return canvas.nothing(axes, "nothing to draw: no finite effect")
    values = plane.to_numpy(float)
    maximum = float(np.nanmax(np.abs(values))) or 1.0
    numbers = [pd.api.types.is_numeric_dtype(index) for index in (plane.columns, plane.index)]
    x, y = (
        index.to_numpy(float) if number else np.arange(len(index), dtype=float)
        for index, number in zip((plane.columns, plane.index), numbers)
    )
    image = axes.pcolormesh(x, y, values, cmap=palette.DIVERGING, vmin=-maximum, vmax=maximum, shading="nearest")
    if not numbers[0]:
        axes.set_xticks(x, [str(name) for name in plane.columns], rotation=30, ha="right")
    if not numbers[1]:
        axes.set_yticks(y, [str(name) for name in plane.index])
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("effect" + (f", {palette.unit_text(units)}" if units else ", no unit"), fontsize=9)
    axes.tick_params(labelsize=8)
    return figure


def _effects(
    table: pd.DataFrame | Sequence[pd.DataFrame],
    axes: Axes | Sequence[Axes] | None,
    where: str,
    label: str,
    units: str,
    title: str | None,
    *,
    zero: bool,
) -> Figure:
    table = _one_table(table, where)
    canvas.require_columns(table, ["feature", "value", "effect"], where=where)
    figure, panels = canvas.panels_by(table, "feature", axes, title, palette.panel_title, grid="y")
    if table.empty:
        canvas.title(panels[0][2], title or where.replace("_", " ").capitalize(), table)
        return canvas.nothing(panels[0][2], "nothing to draw: the table is empty")
    lines = list(dict.fromkeys(table["element"].astype(str))) if "element" in table else [""]
    colours = palette.class_colours("element", range(len(lines)))
    for feature, rows, panel in panels:
        entry = CATALOGUE.get(feature)
        classes = dict(entry.flags) if entry is not None and entry.kind == "categorical" else None
        panel.set_xlabel(palette.axis_label(feature) if classes is None else feature.replace("_", " "))
        panel.set_ylabel(f"{label}, {palette.unit_text(units)}" if units else label)
        if zero:
            panel.axhline(0, color=palette.QUIET, linewidth=0.8)
        for position, line in enumerate(lines):
            own = rows[rows["element"].astype(str) == line] if line else rows
            colour = colours[position] if line else palette.ACCENT
            _effect_line(panel, own.dropna(subset=["effect"]), colour, line, classes)
        if not panel.lines[int(zero) :] and not panel.containers and not panel.collections:
            canvas.nothing(panel, "no finite effect")
        if len(lines) > 1:
            panel.legend(fontsize=7, frameon=False)
    return figure


def _one_table(table: pd.DataFrame | Sequence[pd.DataFrame], where: str) -> pd.DataFrame:
    """Tables of one covariate each, with a column of its name, as one tidy table."""
    tables = [table] if isinstance(table, pd.DataFrame) else table
    if not isinstance(tables, (list, tuple)) or not all(isinstance(part, pd.DataFrame) for part in tables):
        raise InputError(f"{where}: got {type(table).__name__}, expected a pandas DataFrame, or a list of them")
    parts: list[pd.DataFrame] = []
    for part in tables:
        covariates = [name for name in part.columns if name not in {"effect", "low", "high", "element"}]
        if "effect" in part.columns and len(covariates) == 1 and covariates[0] not in {"feature", "value"}:
            part = part.rename(columns={covariates[0]: "value"}).assign(feature=str(covariates[0]))
        parts.append(part)
    combined = pd.concat(parts, ignore_index=True)
    combined.attrs["simulated"] = palette.is_simulated(*tables)
    return combined


def _effect_line(panel: Axes, rows: pd.DataFrame, colour: str, line: str, classes: dict[int, str] | None) -> None:
    """A line with its band over numbers; points with whiskers over categories."""
    if rows.empty:
        return
    band = {"low", "high"} <= set(rows.columns)
    # A table of numbers and of classes together has an object column: each feature is tested separately.
    numbers = pd.to_numeric(rows["value"], errors="coerce")
    if classes is None and numbers.notna().all():
        rows = rows.assign(value=numbers).sort_values("value")
        panel.plot(rows["value"], rows["effect"], color=colour, linewidth=1.5, label=line or None)
        if band:
            panel.fill_between(rows["value"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
        return
    spread = np.abs(np.stack([rows["effect"] - rows["low"], rows["high"] - rows["effect"]])) if band else None
    panel.errorbar(range(len(rows)), rows["effect"], yerr=spread, fmt="o", color=colour, capsize=3, label=line or None)
    codes = [int(n) if np.isfinite(n) else None for n in numbers]
    names = [(classes or {}).get(c, str(v)) if c is not None else str(v) for c, v in zip(codes, rows["value"])]
    panel.set_xticks(range(len(rows)), names, rotation=30, ha="right")
