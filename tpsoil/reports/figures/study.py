"""Figures of a sampling study: calibration of an instrument, relation of two quantities, sites on a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpsoil.errors import InputError

from . import canvas, maps, palette
from .reading import in_picture, pick, positions_on


def calibration_scatter(
    table: pd.DataFrame,
    *,
    axes: Sequence[Axes] | None = None,
    units: str = "mg kg-1",
    title: str = "Calibration of XRF to ICP-MS",
) -> Figure:
    """Paired readings with the calibration line and 1:1, and the residuals beside them.

    Parameters
    ----------
    table : DataFrame
        `xrf`, `icp`, `residual` (in `units`), `slope`, `intercept`; optional `method`. As
        `tpsoil.micronutrients.calibration_residuals` with the line added.
    axes : sequence of two Axes, optional
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
    >>> table = pd.DataFrame({"xrf": [10.0, 20], "icp": [12.0, 21], "residual": [0.5, -0.5], "slope": 1.0,
    ...                       "intercept": 1.5})
    >>> calibration_scatter(table).axes[1].get_ylabel()
    'residual, mg kg⁻¹'
    """
    canvas.require_columns(table, ["xrf", "icp", "residual", "slope", "intercept"], where="calibration_scatter")
    figure, (left, right) = canvas.new_panels(axes, 2, width=4.4, height=4.0)
    unit = palette.unit_text(units)
    for panel in (left, right):
        canvas.plain(panel, grid="both")
        panel.set_xlabel(f"XRF, {unit}")
    canvas.title(left, title, table)
    canvas.title(right, "Residuals", table)
    left.set_ylabel(f"ICP-MS, {unit}")
    right.set_ylabel(f"residual, {unit}")
    if table.empty:
        return canvas.nothing(left, "nothing to draw: no pair of readings")
    x, y, residual = (table[name].to_numpy(float) for name in ("xrf", "icp", "residual"))
    slope, intercept = float(table["slope"].iloc[0]), float(table["intercept"].iloc[0])
    method = str(table["method"].iloc[0]) if "method" in table else "line"
    ends = np.array([x.min(), x.max()])
    r2 = float(np.corrcoef(x, y)[0, 1] ** 2) if len(x) > 2 else float("nan")
    left.scatter(x, y, s=12, alpha=0.6, linewidths=0, color=palette.ACCENT)
    left.plot(ends, ends, color=palette.INK, linewidth=1, linestyle="--", label="1:1")
    name = method.upper() if len(method) == 3 else method
    sign = "+" if slope >= 0 else "-"
    label = f"{name}: ICP-MS = {palette.number_text(intercept)} {sign} {abs(slope):.3g} XRF"
    left.plot(ends, intercept + slope * ends, color=palette.WARNING, linewidth=1.5, label=label)
    left.text(0.03, 0.97, f"n = {len(x)}\nr² = {r2:.2f}", transform=left.transAxes, va="top", fontsize=8, gid="scores")
    left.legend(fontsize=7.5, frameon=False, loc="lower right")
    right.axhline(0, color=palette.INK, linewidth=1)
    spread = float(np.sqrt((residual**2).sum() / max(len(residual) - 2, 1)))
    right.axhspan(-1.96 * spread, 1.96 * spread, color=palette.GREY, alpha=0.5, linewidth=0,
                  label=f"± 1.96 × {palette.number_text(spread)} {unit}")  # fmt: skip
    right.scatter(x, residual, s=12, alpha=0.6, linewidths=0, color=palette.ACCENT)
    right.legend(fontsize=7.5, frameon=False, loc="lower left")
    return figure


def relation(table: pd.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """One quantity against another, with the least-squares line, r and its p value.

    Parameters
    ----------
    table : DataFrame
        Two columns of numbers: abscissa, then ordinate; names of the catalogue get their units.
    ax : Axes, optional
    title : str, optional

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For another number of columns.

    Examples
    --------
    >>> table = pd.DataFrame({"annual_precipitation": [1.0, 2, 4], "chemical_index_of_alteration": [0.4, 0.5, 0.6]})
    >>> relation(table).axes[0].get_xlabel()
    'annual precipitation, mm'
    """
    from scipy import stats

    if not isinstance(table, pd.DataFrame) or table.shape[1] != 2:
        raise InputError("relation: expected a table of two columns, abscissa and ordinate")
    first, second = map(str, table.columns)
    rows = table.dropna()
    text = title or f"{palette.capitalised(second.replace('_', ' '))} against {first.replace('_', ' ')}"
    labels = palette.axis_label(first), palette.axis_label(second)
    figure, axes = canvas.new_chart(ax, (5.4, 4.2), text, table, grid="both", labels=labels)
    if len(rows) < 3 or rows[first].nunique() < 2:
        return canvas.nothing(axes, "nothing to draw: fewer than three different values")
    x, y = rows[first].to_numpy(float), rows[second].to_numpy(float)
    line = stats.linregress(x, y)
    axes.scatter(x, y, s=10, alpha=0.5, linewidths=0, color=palette.ACCENT)
    ends = np.array([x.min(), x.max()])
    p = "p < 0.001" if line.pvalue < 0.001 else f"p = {line.pvalue:.3f}"
    axes.plot(ends, line.intercept + line.slope * ends, color=palette.WARNING, linewidth=1.5,
              label=f"r = {line.rvalue:.2f}, {p}, n = {len(x)}")  # fmt: skip
    axes.legend(fontsize=8, frameon=False, loc="best")
    return figure


def sampling_map(
    source: xr.DataArray | xr.Dataset,
    sites: pd.DataFrame,
    name: str | None = None,
    *,
    mask: xr.DataArray | None = None,
    title: str = "Sampling sites",
) -> Figure:
    """Map of a layer with the sampling sites on it.

    Parameters
    ----------
    source : DataArray (y, x) or Dataset
        With a CRS.
    sites : DataFrame
        `lon`, `lat`, degrees; one row a site.
    name : str, optional
        The layer, where the source has several.
    mask : DataArray (y, x), optional
        `soil_mask` on the same grid, as in `map_layer`.
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For missing columns.
    MissingInputError, GridError
        As `map_layer`; for a layer without a CRS.

    Examples
    --------
    >>> from tpsoil.sample import open_sample
    >>> sites = pd.DataFrame({"lon": [90.0, 95.0], "lat": [32.0, 33.0]})
    >>> sampling_map(open_sample(), sites, "elevation").axes[0].collections[-1].get_offsets().shape
    (2, 2)
    """
    canvas.require_columns(sites, ["lon", "lat"], where="sampling_map")
    layer = pick(source, name, where="sampling_map")
    text = palette.marked(f"{title} (n = {len(sites)})", sites, layer)
    figure = maps.map_layer(layer, mask=mask, title=text)
    axes = figure.axes[0]
    places = in_picture(layer, *positions_on(layer, sites[["lon", "lat"]], where="sampling_map"))
    axes.scatter(*places, s=12, color=palette.INK, edgecolors="white", linewidths=0.4, zorder=6, gid="sites")
    return figure
