"""Maps with their uncertainty: beside it, faded by it, hatched outside the area of applicability."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tpsoil.errors import InputError, MissingInputError
from tpsoil.soil_mask import MASK

from . import canvas, maps, palette, thematic
from .ground import applicability_patch
from .reading import LONGEST_SIDE, pick, read_picture

FAINTEST: Final = 0.15
"""Opacity of the most uncertain cells."""


def mean_and_spread_map(
    source: xr.Dataset, name: str, spread: str | None = None, *, longest_side: int = LONGEST_SIDE, **how: Any
) -> Figure:
    """A map beside the map of its uncertainty.

    Parameters
    ----------
    source : Dataset
        With the layer and its spread.
    name : str
        The layer, such as `iron`.
    spread : str, optional
        The layer of its uncertainty; default: the first of `NAME_sd`, `NAME_spread`, `NAME_width` that exists.
    longest_side : int
        As in `map_layer`.
    **how
        As `map_layer`, for both maps.

    Returns
    -------
    Figure
        Two panels.

    Raises
    ------
    MissingInputError
        Where the store has no such layer, or no layer of its uncertainty.

    Examples
    --------
    >>> cube = xr.Dataset({"iron": (("y", "x"), np.ones((2, 2))), "iron_sd": (("y", "x"), np.eye(2))})
    >>> len(mean_and_spread_map(cube, "iron").axes) >= 2
    True
    """
    layer = pick(source, name, where="mean_and_spread_map")
    companion = _spread_of(source, name, spread, "mean_and_spread_map")
    picture = read_picture(layer, longest_side)
    left, right, bottom, top = picture.bounds
    height = 6.2 * (top - bottom) / max(right - left, 1e-12) + 1.4
    figure, panels = canvas.new_panels(None, 2, width=7.4, height=float(np.clip(height, 2.6, 8.0)), columns=2)
    how.setdefault("mask", source.get(MASK))
    for panel, own in zip(panels, (name, companion), strict=True):
        maps.map_layer(source, own, ax=panel, longest_side=longest_side, **how)
    return figure


def applicability_map(
    source: xr.Dataset,
    name: str,
    *,
    applicability: str = "applicability",
    ax: Axes | None = None,
    longest_side: int = LONGEST_SIDE,
    **how: Any,
) -> Figure:
    """A map with hatched cells where the model does not apply.

    Parameters
    ----------
    source : Dataset
        With the layer and its area of applicability (1 inside, 0 outside).
    name : str
        The layer to map.
    applicability : str
        Name of the applicability layer.
    ax : Axes, optional
    longest_side : int
    **how
        As `map_layer`.

    Returns
    -------
    Figure
        The legend states the share of the mapped area outside.

    Raises
    ------
    MissingInputError
        Where one of the two layers is not in the store.

    Examples
    --------
    >>> cube = xr.Dataset({"iron": (("y", "x"), np.ones((2, 2))), "applicability": (("y", "x"), np.eye(2))})
    >>> applicability_map(cube, "iron").axes[0].get_legend().get_texts()[0].get_text()
    'outside the area of applicability: 50 %'
    """
    layer = pick(source, name, where="applicability_map")
    inside = pick(source, applicability, where="applicability_map")
    how.setdefault("mask", source.get(MASK))
    figure = maps.map_layer(source, name, ax=ax, longest_side=longest_side, **how)
    axes = ax if ax is not None else figure.axes[0]
    picture = read_picture(layer, longest_side)
    flag = read_picture(inside, longest_side).values
    mapped = maps.drawn_cells(axes)
    outside = mapped & (flag == 0)
    if not mapped.any():
        return figure
    thematic.draw_hatching(axes, picture, outside)
    canvas.add_to_legend(axes, [applicability_patch(picture.share(outside, mapped))])
    return figure


def value_by_alpha_map(
    source: xr.Dataset, name: str, spread: str | None = None, *, ax: Axes | None = None,
    full: float = 10.0, faint: float = 60.0,
) -> Figure:  # fmt: skip
    """A map whose colours fade where the value is uncertain.

    Parameters
    ----------
    source : Dataset (y, x)
        With the layer and its spread.
    name : str
    spread : str, optional
        As in `mean_and_spread_map`.
    ax : Axes, optional
    full, faint : float
        Spread relative to the value, %: up to `full` the colour is opaque, from `faint` on nearly transparent.

    Returns
    -------
    Figure
        The legend shows three degrees of transparency.

    Raises
    ------
    MissingInputError
        As `mean_and_spread_map`.
    InputError
        Where `full` is not below `faint`.

    Examples
    --------
    >>> cube = xr.Dataset({"iron": (("y", "x"), np.ones((2, 2))), "iron_sd": (("y", "x"), 0.1 * np.ones((2, 2)))})
    >>> value_by_alpha_map(cube, "iron").axes[0].get_legend().get_texts()[0].get_text()
    'spread up to 10 % of the value'
    """
    if not 0 <= full < faint:
        raise InputError(f"value_by_alpha_map: full is {full} and faint {faint}, expected 0 <= full < faint")
    layer = pick(source, name, where="value_by_alpha_map")
    companion = _spread_of(source, name, spread, "value_by_alpha_map")
    figure = maps.map_layer(source, name, ax=ax, mask=source.get(MASK))
    axes = ax if ax is not None else figure.axes[0]
    image = next((image for image in axes.images if image.get_gid() == "values"), None)
    if image is None:
        return figure
    value, sd = read_picture(layer).values, read_picture(pick(source, companion)).values
    relative = 100 * np.divide(sd, np.abs(value), out=np.full_like(sd, np.inf), where=value != 0)
    certainty = np.clip((faint - np.nan_to_num(relative, nan=faint, posinf=faint)) / (faint - full), 0, 1)
    image.set_alpha(FAINTEST + (1 - FAINTEST) * certainty)
    middle = (full + faint) / 2
    entries = ((f"spread up to {full:g} % of the value", 1.0), (f"{middle:g} %", 0.5 + FAINTEST / 2),
               (f"{faint:g} % and more", FAINTEST))  # fmt: skip
    canvas.add_to_legend(axes, [Patch(facecolor=palette.INK, alpha=alpha, label=text) for text, alpha in entries])
    return figure


def _spread_of(source: xr.Dataset, name: str, spread: str | None, where: str) -> str:
    candidates = [spread] if spread is not None else [f"{name}_sd", f"{name}_spread", f"{name}_width"]
    present = [candidate for candidate in candidates if candidate in source.data_vars]
    if not present:
        raise MissingInputError(
            f"{where}: the store has no {' or '.join(map(repr, candidates))}; name the layer of the "
            "uncertainty with spread="
        )
    return present[0]
