"""Performance of a model: ranking of covariates, observed against predicted, coverage, calibration traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from mpl_toolkits.axes_grid1 import make_axes_locatable  # type: ignore[import-untyped]

from tpsoil.covariate_themes import COVARIATE_GROUPS
from tpsoil.errors import InputError
from tpsoil.evaluation import bias, nse, rmse, squared_correlation

from . import canvas, palette

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "terrain": ("terrain",), "climate": ("climate",), "vegetation and land use": ("vegetation",),
    "soil and weathering": ("soil", "weathering"),
}  # fmt: skip
"""Groups of the ranking, each of one or two themes, in the order of its legend."""

HELD_OUT: Final = "increase in squared error at held-out rows, %"
INCREASE_MSE: Final = "increase in mean squared error, %IncMSE"


def importance_ranking(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    label: str | None = None,
    title: str = "Importance of the covariates",
) -> Figure:
    """Ranking of the covariates by importance, coloured by what they describe.

    Parameters
    ----------
    table : DataFrame
        `feature` (column or index), `importance` (or `held_out_increase`, or `increase_mse`); optional `sd` (spread
        over seeds) or `low` and `high`; optional `group`, else the catalogue's; optional `kept` (bool): dropped ones
        are drawn unfilled. With `increase_mse` beside another importance, a second panel shows it in the same order.
    ax : Axes, optional
    label : str, optional
        Name and unit of the importance; default: derived from the columns.
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For a table without `feature` or `importance`.

    Examples
    --------
    >>> table = pd.DataFrame({"feature": ["slope", "ndvi"], "importance": [3.0, 9.0]})
    >>> [t.get_text() for t in importance_ranking(table).axes[0].get_yticklabels()]
    ['slope', 'ndvi']
    """
    two_panels = isinstance(table, pd.DataFrame) and bool({"importance", "held_out_increase"} & set(table.columns))
    two_panels &= "increase_mse" in table
    table = canvas.tidy(canvas.tidy(table, {"held_out_increase": "importance"}), {"increase_mse": "importance"})
    canvas.require_columns(table, ["feature", "importance"], where="importance_ranking")
    rows = table.dropna(subset=["importance"]).sort_values("importance", kind="stable").reset_index(drop=True)
    size = 6.6, float(np.clip(0.27 * len(rows) + 1.3, 2.2, 12))
    label = label or (HELD_OUT if two_panels else INCREASE_MSE)
    figure, axes = canvas.new_chart(ax, size, title, table, grid="x", labels=(label, ""))
    if rows.empty:
        return canvas.nothing(axes, "nothing to draw: no covariate has an importance")
    group_of = {name: group for group, themes in GROUPS.items() for one in themes for name in COVARIATE_GROUPS[one]}
    groups = rows["group"] if "group" in rows else rows["feature"].map(lambda name: group_of.get(str(name), "other"))
    order = list(dict.fromkeys([*(g for g in GROUPS if g in set(groups)), *sorted(set(groups))]))
    selected = rows["kept"].astype(bool) if "kept" in rows else pd.Series(True, index=rows.index)
    for position, group in enumerate(order):
        colour = palette.OKABE_ITO[(2, 4, 0, 5, 6, 1, 3, 7)[position % 8]]
        in_group = groups == group
        for filled in (True, False):
            part = rows[in_group & (selected == filled)]
            if part.empty:
                continue
            axes.barh(
                part.index, part["importance"], height=0.72, color=colour if filled else "none", edgecolor=colour,
                label=group if filled else f"{group}, dropped",
            )  # fmt: skip
    spread: Any = rows.get("sd")
    if {"low", "high"} <= set(rows.columns):
        spread = np.abs(np.stack([rows["importance"] - rows["low"], rows["high"] - rows["importance"]]))
    if spread is not None:
        axes.errorbar(rows["importance"], rows.index, xerr=spread, fmt="none", ecolor=palette.INK, elinewidth=0.9,
                      capsize=2)  # fmt: skip
    axes.axvline(0, color=palette.INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [str(name).replace("_", " ") for name in rows["feature"]])
    axes.legend(fontsize=7.5, frameon=False, loc="lower right")
    if two_panels:
        _increase_mse_beside(axes, rows)
    return figure


def _increase_mse_beside(axes: Axes, rows: pd.DataFrame) -> None:
    """A narrow panel with %IncMSE, the measure of the published study, in the order of the ranking."""
    second = make_axes_locatable(axes).append_axes("right", size="38%", pad=0.15, sharey=axes)
    second.plot(rows["increase_mse"], rows.index, "o", markersize=4, color=palette.INK)
    canvas.plain(second, grid="x")
    second.axvline(0, color=palette.INK, linewidth=0.8)
    second.tick_params(labelleft=False, left=False)
    second.set_xlabel("%IncMSE, out of bag")


def observed_predicted(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    name: str = "",
    units: str = "",
    title: str | None = None,
) -> Figure:
    """Observed against predicted, observed on the ordinate, with the 1:1 line, the regression and the scores.

    Parameters
    ----------
    table : DataFrame
        `observed`, `predicted`, both in `units`; optional `group` colours the points.
    ax : Axes, optional
    name : str
        A layer's name; gives the quantity and, where `units` is empty, the unit.
    units : str
    title : str, optional

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns.

    Notes
    -----
    Regression of observed on predicted (Pineiro et al. 2008). ME is the mean of predicted minus observed; NSE is
    1 - SSE/SST, and r² the squared correlation: they are not the same number and both are printed.

    References
    ----------
    Pineiro et al. 2008, doi 10.1016/j.ecolmodel.2008.05.006.

    Examples
    --------
    >>> table = pd.DataFrame({"observed": [1.0, 2.0, 3.0], "predicted": [1.0, 2.0, 4.0]})
    >>> observed_predicted(table, units="m").axes[0].get_ylabel()
    'observed, m'
    """
    canvas.require_columns(table, ["observed", "predicted"], where="observed_predicted")
    term, unit = palette.quantity(name, units)
    text = title or f"Observed against predicted {term}".rstrip()
    axes_labels = f"predicted, {unit}", f"observed, {unit}"
    figure, axes = canvas.new_chart(ax, (5.2, 5.2), text, table, grid="both", labels=axes_labels)
    rows = table.dropna(subset=["observed", "predicted"])
    if rows.empty:
        return canvas.nothing(axes, "nothing to draw: no pair of observed and predicted values")
    observed, predicted = rows["observed"].to_numpy(float), rows["predicted"].to_numpy(float)
    if "group" in rows:
        labels = list(dict.fromkeys(rows["group"].astype(str)))
        colours = palette.class_colours("group", range(len(labels)))
        for position, label in enumerate(labels):
            rows_in = (rows["group"].astype(str) == label).to_numpy()
            axes.scatter(predicted[rows_in], observed[rows_in], s=10, alpha=0.65, linewidths=0, color=colours[position],
                         label=f"{label} (n = {rows_in.sum()})")  # fmt: skip
    else:
        axes.scatter(predicted, observed, s=10, alpha=0.5, linewidths=0, color=palette.ACCENT)
    low, high = min(observed.min(), predicted.min()), max(observed.max(), predicted.max())
    pad = 0.04 * (high - low) or max(abs(high) * 0.05, 1e-9)
    ends = np.array([low - pad, high + pad])
    axes.plot(ends, ends, color=palette.INK, linewidth=1, linestyle="--", label="1:1")
    scores = [
        f"n = {len(rows)}",
        f"RMSE = {palette.number_text(rmse(observed, predicted))} {unit}",
        f"ME = {palette.number_text(bias(observed, predicted))} {unit}",
    ]
    if len(rows) > 2 and np.ptp(observed) > 0 and np.ptp(predicted) > 0:
        slope, intercept = (float(one) for one in np.polyfit(predicted, observed, 1))
        span = np.array([predicted.min(), predicted.max()])
        axes.plot(span, intercept + slope * span, color=palette.WARNING, linewidth=1.4,
                  label=f"observed = {palette.number_text(intercept)} + {slope:.3g} predicted")  # fmt: skip
        scores += [f"NSE = {nse(observed, predicted):.2f}", f"r² = {squared_correlation(observed, predicted):.2f}"]
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.text(0.03, 0.97, "\n".join(scores), transform=axes.transAxes, va="top", fontsize=8, gid="scores")
    axes.legend(fontsize=7.5, frameon=False, loc="lower right")
    return figure


def interval_coverage(
    table: pd.DataFrame, *, ax: Axes | None = None, title: str = "Coverage of the prediction intervals"
) -> Figure:
    """Empirical against nominal coverage of held-out observations by prediction intervals.

    Parameters
    ----------
    table : DataFrame
        `level` (nominal, 0 to 1), `coverage` (empirical, 0 to 1); optional `n` (observations, gives the band of two
        binomial standard errors around it), optional `group` or `method`: one line each. Or a column of
        coverages for each of the methods "conformal", "quantile" and "spread"; only the group "all" is drawn.
    ax : Axes, optional
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns, and for levels or coverages in percent.

    Examples
    --------
    >>> interval_coverage(pd.DataFrame({"level": [0.5, 0.9], "coverage": [0.55, 0.88]})).axes[0].get_xlabel()
    'nominal coverage, %'
    """
    table = _coverage_by_method(table)
    canvas.require_columns(table, ["level", "coverage"], where="interval_coverage")
    rows = table.dropna(subset=["level", "coverage"])
    wrong = rows[(rows[["level", "coverage"]] > 1).any(axis=1) | (rows[["level", "coverage"]] < 0).any(axis=1)]
    if len(wrong):
        raise InputError(
            f"interval_coverage: {len(wrong)} rows have level or coverage outside 0 to 1, first {dict(wrong.iloc[0])}; "
            "pass shares, not percent"
        )
    labels = "nominal coverage, %", "empirical coverage, %"
    figure, axes = canvas.new_chart(ax, (5.2, 4.8), title, table, grid="both", labels=labels)
    if rows.empty:
        return canvas.nothing(axes, "nothing to draw: no interval was scored")
    axes.plot([0, 100], [0, 100], color=palette.INK, linewidth=1, linestyle="--", label="nominal coverage")
    key = next((k for k in ("group", "method") if k in rows.columns), None)
    if "n" in rows:
        level = np.linspace(0, 1, 101)
        error = 200 * np.sqrt(level * (1 - level) / max(float(rows["n"].min()), 1.0))
        axes.fill_between(100 * level, 100 * level - error, 100 * level + error, color=palette.GREY, alpha=0.6,
                          linewidth=0, label=f"± 2 binomial standard errors, n = {int(rows['n'].min())}")  # fmt: skip
    lines = list(dict.fromkeys(rows[key].astype(str))) if key else [""]
    colours = palette.class_colours("coverage", range(len(lines)))
    for position, line in enumerate(lines):
        part = (rows[rows[key].astype(str) == line] if key else rows).sort_values("level")
        axes.plot(100 * part["level"], 100 * part["coverage"], marker="o", markersize=4, linewidth=1.3,
                  color=colours[position] if key else palette.ACCENT, label=line or "intervals")  # fmt: skip
    low = 100 * float(min(rows["level"].min(), rows["coverage"].min()))
    axes.set(xlim=(max(0, low - 8), 101), ylim=(max(0, low - 8), 101))
    axes.legend(fontsize=7.5, frameon=False, loc="upper left")
    return figure


def _zone_title(zone: str) -> str:
    """Zone numbers below 0 denote the calibration on the profiles of all zones."""
    if zone.startswith("-"):
        return "All zones together"
    return f"Zone {zone}" if zone else "Calibration"


def _coverage_by_method(table: pd.DataFrame) -> pd.DataFrame:
    """A wide table, one column a method, as a tidy one."""
    names = {"conformal": "conformal", "quantile": "quantile forest", "spread": "spread between trees"}
    if not isinstance(table, pd.DataFrame) or "coverage" in table.columns:
        return table
    methods = [name for name in names if name in table.columns]
    if not methods:
        return table
    part = table[table["group"].astype(str) == "all"] if "group" in table.columns else table
    id_columns = [name for name in ("level", "n") if name in part.columns]
    long = part.melt(id_vars=id_columns, value_vars=methods, var_name="method", value_name="coverage")
    long["method"] = long["method"].map(names)
    long.attrs.update(table.attrs)
    return long


def calibration_traces(
    table: pd.DataFrame, *, axes: Axes | Sequence[Axes] | None = None, units: str = "m", title: str | None = None
) -> Figure:
    """Best objective so far against evaluations, a line a start, a panel a zone.

    Parameters
    ----------
    table : DataFrame
        `evaluation`, `objective` (in `units`); optional `start`, optional `zone` (below 0: all zones together).
    axes : Axes or sequence of Axes, optional
        One a zone.
    units : str
    title : str, optional

    Returns
    -------
    Figure
        The best start of each zone is drawn in blue, its end value is in the legend.

    Raises
    ------
    InputError
        For missing columns, and for another number of axes than there are zones.

    Examples
    --------
    >>> table = pd.DataFrame({"evaluation": [1, 2], "objective": [2.0, 0.5], "zone": 1, "start": 0})
    >>> calibration_traces(table).axes[0].get_ylabel()
    'best RMSE so far, m'
    """
    canvas.require_columns(table, ["evaluation", "objective"], where="calibration_traces")
    named = table if "zone" in table else table.assign(zone="")
    figure, panels = canvas.panels_by(
        named, "zone", axes, None, lambda zone: title or _zone_title(zone), grid="y", columns=4, width=3.0
    )
    for _, every, panel in panels:
        rows = every[np.isfinite(every["objective"].astype(float))]
        panel.set(xlabel="evaluations", ylabel=f"best RMSE so far, {palette.unit_text(units)}")
        if rows.empty:
            canvas.nothing(panel, "no finite objective")
            continue
        starts = rows.groupby("start", sort=True) if "start" in rows else [(0, rows)]
        traces = [(start, part.sort_values("evaluation")) for start, part in starts]
        best = min(range(len(traces)), key=lambda i: float(traces[i][1]["objective"].min()))
        for position, (_start, part) in enumerate(traces):
            first = position == best
            panel.step(part["evaluation"], np.minimum.accumulate(part["objective"].to_numpy(float)), where="post",
                       color=palette.ACCENT if first else "#B5B5B5", linewidth=1.6 if first else 0.8,
                       zorder=3 if first else 2,
                       label=f"best of {len(traces)}: {part['objective'].min():.3g}" if first else None)  # fmt: skip
        if (rows["objective"] > 0).all():
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.yaxis.set_minor_formatter(NullFormatter())
        panel.legend(fontsize=7, frameon=False)
    return figure
