"""Calibration of XRF readings to ICP-MS contents, from samples with both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_one_of
from tpsoil.forest.measurement import MeasurementError

Floats = npt.NDArray[np.float64]
Line = Literal["ols", "deming", "rma"]


@dataclass(frozen=True)
class XrfCalibration:
    """ICP = intercept + slope * XRF. Returned by `calibrate_xrf`.

    Parameters
    ----------
    intercept, slope : float
        mg/kg, and mg/kg per mg/kg.
    r2 : float
        Squared correlation of the pairs.
    n : int
        Pairs.
    method : {"ols", "deming", "rma"}
    low, high : float
        Range of the calibrated readings, mg/kg.
    residual_variance : float
        s^2 of ICP about the line, n - 2 degrees of freedom, (mg/kg)^2.
    mean_xrf, sum_squares : float
        Mean of the readings, and their summed squared deviations.
    """

    intercept: float
    slope: float
    r2: float
    n: int
    method: str
    low: float
    high: float
    residual_variance: float
    mean_xrf: float
    sum_squares: float

    def apply(self, xrf: npt.ArrayLike | pd.Series) -> pd.DataFrame:
        """Calibrated contents with their prediction error.

        Parameters
        ----------
        xrf : array_like (n,), mg/kg

        Returns
        -------
        DataFrame
            `value`, mg/kg; `prediction_sd`, of one new sample, mg/kg; `extrapolated`, outside the calibrated range;
            `negative`. NaN readings give NaN. Index of a Series.

        Notes
        -----
        variance = s^2 [1 + 1/n + (x - mean)^2 / Sxx]. Negative values are flagged, not changed.
        """
        x = np.asarray(xrf, dtype=np.float64)
        value = self.intercept + self.slope * x
        variance = self.residual_variance * (1 + 1 / self.n + (x - self.mean_xrf) ** 2 / self.sum_squares)
        return pd.DataFrame(
            {
                "value": value,
                "prediction_sd": np.sqrt(variance),
                "extrapolated": (x < self.low) | (x > self.high),
                "negative": value < 0,
            },
            index=xrf.index if isinstance(xrf, pd.Series) else None,
        )

    def measurement_error(self) -> MeasurementError:
        """Error of one calibrated value, as a function of the value, for the intervals of maps.

        Returns
        -------
        MeasurementError

        Notes
        -----
        The variance of `apply`, written in the calibrated value v: s^2 (1 + 1/n) + s^2 (v - mean)^2 / (slope^2 Sxx).

        Examples
        --------
        >>> line = calibrate_xrf([10, 20, 30, 40, 50], [14, 26, 33, 49, 58], min_pairs=5)
        >>> value = line.apply([12.0])
        >>> bool(np.isclose(line.measurement_error().sd(value["value"])[0], value["prediction_sd"][0]))
        True
        """
        return MeasurementError(
            variance=self.residual_variance * (1 + 1 / self.n),
            curvature=self.residual_variance / (self.slope**2 * self.sum_squares),
            centre=self.intercept + self.slope * self.mean_xrf,
            source=f"XRF calibration ({self.method}, {self.n} pairs)",
        )


def calibrate_xrf(
    xrf: npt.ArrayLike,
    icp: npt.ArrayLike,
    *,
    method: Line = "ols",
    variance_ratio: float = 1.0,
    min_pairs: int = 10,
) -> XrfCalibration:
    """Fit the line that converts XRF readings to ICP-MS contents.

    Parameters
    ----------
    xrf, icp : array_like (n,), mg/kg
        Of the same samples; pairs with a missing value are omitted.
    method : {"ols", "deming", "rma"}
        "ols" predicts ICP from XRF with the minimum error and is suitable for calibration. "deming" and "rma" (reduced
        major axis) fit the relation between two noisy methods, to test whether they agree.
    variance_ratio : float
        Deming: error variance of ICP over that of XRF. Rejected with other methods.
    min_pairs : int
        Minimum number of pairs.

    Returns
    -------
    XrfCalibration

    Raises
    ------
    InputError
        For too few pairs, arrays of different length, readings that are all equal, an unknown method.

    Notes
    -----
    With Sxx, Syy, Sxy the sums of squares and products and d the variance ratio:
    OLS slope Sxy / Sxx; RMA sign(Sxy) sqrt(Syy / Sxx);
    Deming [Syy - d Sxx + sqrt((Syy - d Sxx)^2 + 4 d Sxy^2)] / (2 Sxy). Inverting the line of XRF on ICP is not the line
    of ICP on XRF.

    Examples
    --------
    >>> c = calibrate_xrf([10, 20, 30, 40, 50], [14, 26, 33, 49, 58], min_pairs=5)
    >>> round(c.slope, 2), round(c.intercept, 2), round(c.r2, 10)
    (1.11, 2.7, 0.9888443018)
    """
    x, y = np.asarray(xrf, dtype=np.float64), np.asarray(icp, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"calibrate_xrf: xrf has shape {x.shape}, icp {y.shape}, expected one shape (n,)")
    require_one_of("calibrate_xrf", "method", method, get_args(Line))
    if not (np.isfinite(variance_ratio) and variance_ratio > 0):
        raise InputError(f"calibrate_xrf: variance_ratio is {variance_ratio!r}, expected a positive number")
    if method != "deming" and variance_ratio != 1:
        raise InputError(f"calibrate_xrf: variance_ratio has no effect with method '{method}'; pass method='deming'")
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    n = len(x)
    if n < max(min_pairs, 3):
        raise InputError(
            f"calibrate_xrf: {n} samples have both an XRF and an ICP value, expected {max(min_pairs, 3)} or more"
        )
    sxx, syy = float(((x - x.mean()) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    sxy = float(((x - x.mean()) * (y - y.mean())).sum())
    if sxx == 0 or syy == 0:
        raise InputError(
            f"calibrate_xrf: all {n} {'XRF' if sxx == 0 else 'ICP'} values are equal; no line can be fitted"
        )
    if method == "ols":
        slope = sxy / sxx
    elif sxy == 0:
        raise InputError("calibrate_xrf: XRF and ICP are not correlated; the line is not defined")
    elif method == "rma":
        slope = float(np.sign(sxy) * np.sqrt(syy / sxx))
    else:
        difference = syy - variance_ratio * sxx
        slope = (difference + float(np.sqrt(difference**2 + 4 * variance_ratio * sxy**2))) / (2 * sxy)
    intercept = float(y.mean() - slope * x.mean())
    return XrfCalibration(
        intercept=intercept,
        slope=float(slope),
        r2=sxy**2 / (sxx * syy),
        n=n,
        method=method,
        low=float(x.min()),
        high=float(x.max()),
        residual_variance=float(((y - intercept - slope * x) ** 2).sum()) / (n - 2),
        mean_xrf=float(x.mean()),
        sum_squares=sxx,
    )
