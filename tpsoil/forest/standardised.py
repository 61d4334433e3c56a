"""Variogram of standardised residuals, from which intervals of area means follow."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.evaluation import Variogram, fit_variogram
from tpsoil.forest.layers import MapModel
from tpsoil.forest.trained import TrainedForest

ATTRIBUTE: Final = "residual_variogram"
"""Attribute of a map of means, see `tpsoil.cube.area_estimates`."""
MINIMUM_POSITIONS: Final = 30


def residual_variogram(
    model: MapModel, trained: TrainedForest, positions: npt.ArrayLike, *, degrees: bool = True
) -> Variogram | None:
    """Variogram of out-of-fold residuals divided by the standard deviation that the map's interval implies.

    Parameters
    ----------
    model : MapModel
        With an interval.
    trained : TrainedForest
        That it was compiled from.
    positions : array_like (rows, 2)
        Of the training rows.
    degrees : bool

    Returns
    -------
    Variogram or None
        In metres with `degrees`. None without an interval, and for fewer than 30 positions.

    Notes
    -----
    Standard deviation = (upper - lower) / 2 z, with z the quantile of the normal distribution at the interval's level,
    in the target's own unit, with the correction of the row's class or weight where the map's interval has it. Rows at
    one position are averaged.
    """
    from scipy.stats import norm

    place = np.asarray(positions, dtype=np.float64)
    if model.conformal is None or len(np.unique(place, axis=0)) < MINIMUM_POSITIONS:
        return None
    level = model.conformal.level
    frame = trained.predictions[trained.deciding]
    correction = None
    if model.by_class is not None:
        codes = pd.to_numeric(trained.rows[model.by_class.feature], errors="coerce")
        correction = model.by_class.at(codes.to_numpy(dtype=np.float64))
    elif model.by_shift is not None:
        correction = model.by_shift.samples
    lower, upper = model.conformal.around(frame, correction)
    predicted = frame["predicted_original"].to_numpy(dtype=np.float64)
    if model.measurement is not None:
        lower, upper = model.measurement.widen(predicted, lower, upper, level)
    sd = (upper - lower) / (2 * float(norm.ppf((1 + level) / 2)))
    usable = np.isfinite(sd) & (sd > 0)
    standardised = (frame["observed_original"].to_numpy(dtype=np.float64) - predicted)[usable] / sd[usable]
    sites, code = np.unique(place[usable], axis=0, return_inverse=True)
    means = np.bincount(code.ravel(), weights=standardised) / np.bincount(code.ravel())
    if len(sites) < MINIMUM_POSITIONS or not means.var() > 0:
        return None
    return fit_variogram(sites, means, degrees=degrees)


def variogram_text(variogram: Variogram) -> str:
    """A variogram in metres as an attribute of a layer."""
    plain: dict[str, Any] = {
        "model": variogram.model,
        "nugget": variogram.nugget,
        "partial_sill": variogram.partial_sill,
        "range_m": variogram.range,
    }
    return json.dumps({key: value if isinstance(value, str) else float(f"{value:.6g}") for key, value in plain.items()})
