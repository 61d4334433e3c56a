"""Error of the training values themselves, such as that of a calibration line, and intervals that include it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError
from tpsoil.evaluation.scores import require_share

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MeasurementError:
    """Variance of one measured value about the true one: variance + curvature * (value - centre)^2.

    Parameters
    ----------
    variance : float
        In the target's unit, squared.
    curvature : float
        Increase with the squared distance from `centre`; 0 for an error that is the same everywhere.
    centre : float
        In the target's unit.
    source : str
        Where the error comes from, for the attributes of the maps.

    Examples
    --------
    >>> MeasurementError(4.0).sd([10.0, 50.0]).tolist()
    [2.0, 2.0]
    """

    variance: float
    curvature: float = 0.0
    centre: float = 0.0
    source: str = "measurement"

    def __post_init__(self) -> None:
        if not (
            np.isfinite([self.variance, self.curvature, self.centre]).all() and self.variance >= 0 <= self.curvature
        ):
            raise InputError(
                f"MeasurementError: variance is {self.variance!r} and curvature {self.curvature!r}, "
                "expected finite numbers that are not negative"
            )

    def sd(self, value: npt.ArrayLike) -> Floats:
        """Standard deviation at a value.

        Parameters
        ----------
        value : array_like
            In the target's unit.

        Returns
        -------
        ndarray
        """
        distance = np.asarray(value, dtype=np.float64) - self.centre
        return np.asarray(np.sqrt(self.variance + self.curvature * distance**2))

    def widen(
        self, mean: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike, level: float
    ) -> tuple[Floats, Floats]:
        """Limits of an interval with this error added to both sides in quadrature.

        Parameters
        ----------
        mean, lower, upper : array_like
            Prediction and its limits, in the target's unit.
        level : float
            Nominal coverage, 0..1.

        Returns
        -------
        lower, upper : ndarray
            A lower limit that was not negative stays so.

        Raises
        ------
        InputError
            For a level outside 0..1.

        Notes
        -----
        half-width' = sqrt(half-width^2 + (z sd)^2), z the quantile of the normal distribution: the error of the
        measurement is taken as independent of the error of the prediction.

        Examples
        --------
        >>> low, high = MeasurementError(9.0).widen([50.0], [46.0], [54.0], 0.6826894921)
        >>> [round(float(v), 3) for v in (low[0], high[0])]
        [45.0, 55.0]
        """
        from scipy.stats import norm

        require_share("MeasurementError.widen", level)
        middle, low, high = (np.asarray(part, dtype=np.float64) for part in (mean, lower, upper))
        added = float(norm.ppf((1 + level) / 2)) * self.sd(middle)
        wider_low = middle - np.sqrt(np.maximum(middle - low, 0) ** 2 + added**2)
        wider_high = middle + np.sqrt(np.maximum(high - middle, 0) ** 2 + added**2)
        # Beyond the mean on the wrong side the limit itself stays the bound.
        wider_low, wider_high = np.minimum(wider_low, low), np.maximum(wider_high, high)
        return np.where(low >= 0, np.maximum(wider_low, 0), wider_low), wider_high
