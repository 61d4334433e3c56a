"""Paired XRF and ICP-MS readings: lines side by side, residuals, and coverage with the error of the calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.forest import TrainedForest, conformal_intervals
from tpsoil.forest.trained import LEVELS
from tpsoil.micronutrients.calibration import Line, XrfCalibration, calibrate_xrf

Floats = npt.NDArray[np.float64]
LINES: tuple[Line, ...] = ("ols", "deming", "rma")


def calibration_lines(
    xrf: npt.ArrayLike,
    icp: npt.ArrayLike,
    *,
    methods: Sequence[Line] = LINES,
    variance_ratio: float = 1.0,
    min_pairs: int = 10,
) -> pd.DataFrame:
    """Lines of ICP-MS on XRF by several methods, side by side.

    Parameters
    ----------
    xrf, icp : array_like (n,), mg/kg
        Of the same samples; pairs with a missing value are omitted.
    methods : sequence of {"ols", "deming", "rma"}
    variance_ratio : float
        Deming: error variance of ICP over that of XRF.
    min_pairs : int

    Returns
    -------
    DataFrame
        Index: method. `n`, `intercept`, `slope`, `r2`, `residual_sd` (mg/kg, n - 2 degrees of freedom), `bias` (mean
        of ICP - XRF, mg/kg, before calibration), `low` and `high` (range of the readings, mg/kg).

    Raises
    ------
    InputError
        As `calibrate_xrf`.

    Examples
    --------
    >>> table = calibration_lines([10, 20, 30, 40, 50], [14, 26, 33, 49, 58], min_pairs=5)
    >>> table["slope"].round(6).to_dict()
    {'ols': 1.11, 'deming': 1.116932, 'rma': 1.116244}
    """
    x, y = np.asarray(xrf, dtype=np.float64), np.asarray(icp, dtype=np.float64)
    if variance_ratio != 1 and "deming" not in methods:
        raise InputError("calibration_lines: variance_ratio has no effect without method 'deming'; leave it out")
    rows = {}
    for method in methods:
        ratio = variance_ratio if method == "deming" else 1.0
        line = calibrate_xrf(x, y, method=method, variance_ratio=ratio, min_pairs=min_pairs)
        rows[method] = {
            "n": line.n,
            "intercept": line.intercept,
            "slope": line.slope,
            "r2": line.r2,
            "residual_sd": float(np.sqrt(line.residual_variance)),
            "bias": float(np.nanmean(y - x)),
            "low": line.low,
            "high": line.high,
        }
    return pd.DataFrame(rows).T.rename_axis("method").astype({"n": int})


def calibration_residuals(calibration: XrfCalibration, xrf: npt.ArrayLike, icp: npt.ArrayLike) -> pd.DataFrame:
    """Residuals of paired readings about a calibration line.

    Parameters
    ----------
    calibration : XrfCalibration
    xrf, icp : array_like (n,), mg/kg

    Returns
    -------
    DataFrame
        `xrf`, `icp`, `calibrated`, `residual` (ICP - calibrated), all mg/kg, and `scaled`, the residual over its
        prediction standard deviation. Pairs with a missing value are omitted.

    Examples
    --------
    >>> x, y = [10, 20, 30, 40, 50], [14, 26, 33, 49, 58]
    >>> table = calibration_residuals(calibrate_xrf(x, y, min_pairs=5), x, y)
    >>> table["residual"].round(1).tolist()
    [0.2, 1.1, -3.0, 1.9, -0.2]
    """
    x, y = np.asarray(xrf, dtype=np.float64), np.asarray(icp, dtype=np.float64)
    both = np.isfinite(x) & np.isfinite(y)
    calibrated = calibration.apply(x[both])
    residual = y[both] - calibrated["value"].to_numpy()
    scaled = residual / calibrated["prediction_sd"].to_numpy()
    return pd.DataFrame(
        {
            "xrf": x[both],
            "icp": y[both],
            "calibrated": calibrated["value"].to_numpy(),
            "residual": residual,
            "scaled": scaled,
        }
    )


def calibrated_coverage(
    trained: TrainedForest, calibration: XrfCalibration, icp: pd.Series, *, levels: Sequence[float] = LEVELS
) -> pd.DataFrame:
    """Coverage of ICP-MS readings by intervals of a forest trained on calibrated XRF values.

    Parameters
    ----------
    trained : TrainedForest
        Of calibrated values.
    calibration : XrfCalibration
        The line that they were calibrated with.
    icp : Series, mg/kg
        ICP-MS reading of a row, NaN where there is none; index of the training table.
    levels : sequence of float
        0.5, 0.8, 0.9 or 0.95.

    Returns
    -------
    DataFrame
        One row a level: `level`, `n` rows with a reading, `without` and `with_error` (share of the readings within
        the out-of-fold interval, without and with the error of the calibration), `width_without` and `width_with`
        (mean, mg/kg).

    Raises
    ------
    InputError
        Where no row of the forest has a reading.

    Examples
    --------
    >>> from tpsoil.forest import train
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"slope": rng.random(60)})
    >>> table["xrf"] = 20 + 10 * table["slope"] + rng.normal(0, 1, 60)
    >>> table["icp"] = 1.2 * table["xrf"] + rng.normal(0, 3, 60)
    >>> line = calibrate_xrf(table["xrf"], table["icp"])
    >>> table["Zn"] = line.apply(table["xrf"])["value"]
    >>> coverage = calibrated_coverage(train(table, "Zn", ["slope"], trees=20), line, table["icp"], levels=[0.9])
    >>> bool(coverage["with_error"].iloc[0] > coverage["without"].iloc[0])
    True
    """
    out_of_fold = trained.predictions[trained.deciding]
    reading = icp.reindex(out_of_fold.index).to_numpy(dtype=np.float64)
    present = np.isfinite(reading)
    if not present.any():
        raise InputError("calibrated_coverage: no row of the forest has an ICP-MS reading; pass them by index")
    mean = out_of_fold["predicted_original"].to_numpy(dtype=np.float64)
    error = calibration.measurement_error()
    rows = []
    for level in levels:
        lower, upper = conformal_intervals(trained, level).around(out_of_fold)
        wider_lower, wider_upper = error.widen(mean, lower, upper, level)
        rows.append(
            {
                "level": level,
                "n": int(present.sum()),
                "without": _covered(reading, lower, upper, present),
                "with_error": _covered(reading, wider_lower, wider_upper, present),
                "width_without": float((upper - lower)[present].mean()),
                "width_with": float((wider_upper - wider_lower)[present].mean()),
            }
        )
    return pd.DataFrame(rows)


def _covered(reading: Floats, lower: Floats, upper: Floats, present: npt.NDArray[np.bool_]) -> float:
    return float(((reading >= lower) & (reading <= upper))[present].mean())
