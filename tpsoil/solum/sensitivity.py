"""Sensitivity of the thickness map: one parameter or layer at a time is changed, the others stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError

from .inputs import NEEDED
from .options import SolumOptions
from .parameters import MIN_H0_M, NAMES, SolumParameters
from .thickness import thickness

WEIGHTS: Final = frozenset({"alpha", "beta", "gamma"})
TEMPERATURE: Final = "mean_annual_temperature"
OUTSIDE: Final = 255


def one_at_a_time(
    layers: xr.Dataset,
    parameters: SolumParameters | Mapping[int, SolumParameters],
    options: SolumOptions | None = None,
    *,
    change: float = 0.1,
    temperature_change: float = 1.0,
) -> pd.DataFrame:
    """Change of the mean thickness when one parameter or one layer of the model changes.

    Parameters
    ----------
    layers : Dataset
        As in `thickness`, with `zone` where the parameters are by zone. Read as a whole: decimate a large map.
    parameters : SolumParameters or mapping of zone to SolumParameters
    options : SolumOptions, optional
    change : float
        Relative change of parameters and of layers other than temperature, above 0 and below 1.
    temperature_change : float
        Of the mean annual temperature, K; above 0.

    Returns
    -------
    DataFrame
        A row for each zone (and "all") and input: `zone`, `input`, `kind` ("parameter" or "layer"), `change` (text),
        `decrease_m` and `increase_m` (mean change of thickness when the input decreases or increases, m),
        `mean_absolute_m` (mean over cells and both directions), `cells` that have a thickness in all three cases.

    Raises
    ------
    InputError
        For changes out of range.
    MissingInputError, UnitsError
        As `thickness`.

    Notes
    -----
    A weight (alpha, beta, gamma) increases to 1 at most, h0 decreases to 0.001 m at least. Cells whose status changes
    are included with the thickness that the options give them; cells without a thickness in one of the cases are not.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> cell = {"mean_annual_temperature": 13.09, "annual_precipitation": 832.41, "water_erosion": 5.0,
    ...         "wind_erosion": 0.1, "general_curvature": 1e-3}
    >>> layers = xr.Dataset({name: (("y", "x"), [[value]]) for name, value in cell.items()})
    >>> table = one_at_a_time(layers, PUBLISHED[1]).set_index("input")
    >>> round(float(table.loc["a", "increase_m"]), 6)  # h0 ln 1.1
    0.003622
    """
    if not 0 < change < 1:
        raise InputError(f"one_at_a_time: change is {change:g}, expected a share above 0 and below 1")
    if not (temperature_change > 0 and np.isfinite(temperature_change)):
        raise InputError(f"one_at_a_time: temperature_change is {temperature_change:g} K, expected more than 0")
    by_zone = parameters if isinstance(parameters, Mapping) else None
    reference = _map(layers, parameters, options)
    zone = np.full(reference.size, OUTSIDE)
    if by_zone is not None and "zone" in layers:
        zone = np.broadcast_to(layers["zone"].values, reference.shape).ravel()
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        sides = [_map(layers, _scaled(parameters, name, factor), options) for factor in (1 - change, 1 + change)]
        rows += _rows(name, "parameter", f"{100 * change:g} %", reference, sides, zone)
    for name in NEEDED:
        shifted = name == TEMPERATURE
        step = temperature_change if shifted else change
        changed = [layers.assign({name: _changed(layers[name], sign * step, shifted)}) for sign in (-1, 1)]
        sides = [_map(one, parameters, options) for one in changed]
        rows += _rows(name, "layer", f"{step:g} K" if shifted else f"{100 * step:g} %", reference, sides, zone)
    return pd.DataFrame(rows)


def _map(layers: xr.Dataset, parameters: Any, options: SolumOptions | None) -> npt.NDArray[np.float64]:
    return np.asarray(thickness(layers, parameters, options)["solum_thickness"].values, dtype=np.float64)


def _scaled(parameters: Any, name: str, factor: float) -> Any:
    if isinstance(parameters, Mapping):
        return {zone: _scaled(one, name, factor) for zone, one in parameters.items()}
    value = getattr(parameters, name) * factor
    value = min(value, 1.0) if name in WEIGHTS else max(value, MIN_H0_M) if name == "h0" else value
    return replace(parameters, **{name: value})


def _changed(layer: xr.DataArray, step: float, shifted: bool) -> xr.DataArray:
    values = layer.astype("float64")
    return (values + step if shifted else values * (1 + step)).assign_attrs(layer.attrs)


def _rows(
    name: str, kind: str, text: str, reference: npt.NDArray[np.float64], sides: list[npt.NDArray[np.float64]], zone: Any
) -> list[dict[str, Any]]:
    down, up = (side.ravel() - reference.ravel() for side in sides)
    known = np.isfinite(down) & np.isfinite(up)
    rows = []
    for code in [*(int(z) for z in np.unique(zone[known & (zone != OUTSIDE)])), "all"]:
        here = known if code == "all" else known & (zone == code)
        if here.any():
            rows.append({
                "zone": str(code), "input": name, "kind": kind, "change": text,
                "decrease_m": float(down[here].mean()), "increase_m": float(up[here].mean()),
                "mean_absolute_m": float((np.abs(down[here]) + np.abs(up[here])).mean() / 2), "cells": int(here.sum()),
            })  # fmt: skip
    return rows
