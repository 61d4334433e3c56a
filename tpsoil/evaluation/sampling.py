"""Estimates for a whole area from validation samples: by design where they were drawn with known probabilities, by
weights against clustering where they were not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_one_of
from tpsoil.evaluation.distances import FoldDistances
from tpsoil.evaluation.scores import require_share

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An estimate for the whole area with its interval.

    Parameters
    ----------
    value, se : float
        In the unit of the data.
    lower, upper : float
        Limits of the interval of `level`, by Student's t with `df` degrees of freedom.
    level : float
    df : int
        Primary units minus strata.
    method : str
        How it was estimated, in words that may be printed.
    """

    value: float
    se: float
    lower: float
    upper: float
    level: float
    df: int
    method: str

    def __repr__(self) -> str:
        return (
            f"Estimate({self.value:.4g} [{self.lower:.4g}, {self.upper:.4g}] at {100 * self.level:g} %, {self.method})"
        )


@dataclass(frozen=True, eq=False)
class SampleDesign:
    """How a probability sample was drawn: simple random, stratified, in two stages, or both.

    Parameters
    ----------
    probability : ndarray (n,)
        Inclusion probability of each unit, in (0, 1]; only their ratios matter for a mean.
    stratum : ndarray (n,), optional
    cluster : ndarray (n,), optional
        Primary unit of each sample where units were drawn in two stages.
    primary_units : ndarray (n,), optional
        Primary units (units, where there are no clusters) in the stratum's population, for the finite population
        correction; infinite where left out.
    secondary_units : ndarray (n,), optional
        Units in the cluster's population.

    Raises
    ------
    InputError
        Without inclusion probabilities, with ones outside (0, 1], lengths that differ, a stratum with one primary
        unit, fewer units in the population than in the sample, or `secondary_units` without clusters.

    Examples
    --------
    >>> SampleDesign(np.full(4, 0.1)).estimate([1.0, 2.0, 3.0, 4.0])
    Estimate(2.5 [0.4457, 4.554] at 95 %, mean by design)
    """

    probability: npt.ArrayLike
    stratum: npt.ArrayLike | None = None
    cluster: npt.ArrayLike | None = None
    primary_units: npt.ArrayLike | None = None
    secondary_units: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        probability = np.asarray(self.probability, dtype=np.float64)
        if probability.ndim != 1 or not len(probability) or not np.isfinite(probability).all():
            raise InputError(
                "probability sample: no inclusion probability for every unit; a sample without them is no probability "
                "sample: validate by folds, and do not call the result map accuracy"
            )
        if (probability <= 0).any() or (probability > 1).any():
            raise InputError(
                f"probability sample: inclusion probabilities span {probability.min():g} to {probability.max():g}, "
                "expected (0, 1]; for weights pass 1 / weight"
            )
        n = len(probability)
        for name in ("stratum", "cluster", "primary_units", "secondary_units"):
            values = getattr(self, name)
            if values is not None and (np.shape(values) != (n,) or pd.isna(np.asarray(values)).any()):
                raise InputError(
                    f"probability sample: {name} has shape {np.shape(values)}, expected ({n},), none missing"
                )
        if self.secondary_units is not None and self.cluster is None:
            raise InputError(
                "probability sample: secondary_units without cluster; name the primary unit of each sample"
            )
        object.__setattr__(self, "probability", probability)
        self._frame()

    def _frame(self) -> pd.DataFrame:
        """One row a unit: codes of stratum and primary unit, sizes of their populations."""
        n = len(np.asarray(self.probability))
        stratum = np.zeros(n, int) if self.stratum is None else pd.factorize(np.asarray(self.stratum))[0]
        own: Any = np.arange(n) if self.cluster is None else np.asarray(self.cluster)
        frame = pd.DataFrame({"stratum": stratum, "unit": pd.factorize(own)[0]})
        frame["unit"] = frame.groupby(["stratum", "unit"]).ngroup()
        frame["primary"] = np.inf if self.primary_units is None else np.asarray(self.primary_units, dtype=float)
        frame["secondary"] = np.inf if self.secondary_units is None else np.asarray(self.secondary_units, dtype=float)
        units = frame.groupby("stratum")["unit"].nunique()
        if (units < 2).any():
            raise InputError(
                f"probability sample: {int((units < 2).sum())} of {len(units)} strata hold one primary unit, which "
                "gives no variance; merge it with a neighbouring stratum"
            )
        if (frame.groupby("stratum")["primary"].first() < units).any():
            raise InputError("probability sample: primary_units is below the number sampled in a stratum")
        if (frame.groupby("unit")["secondary"].first() < frame.groupby("unit").size()).any():
            raise InputError("probability sample: secondary_units is below the number sampled in a cluster")
        return frame

    def variance(self, scores: Doubles) -> float:
        """Variance of the sum of linearised, weighted values over the stages of the design."""
        frame = self._frame().assign(z=scores)
        total = 0.0
        for _, part in frame.groupby("stratum"):
            sums = part.groupby("unit")["z"].sum()
            n = len(sums)
            share = n / float(part["primary"].iloc[0])
            total += (1 - share) * n / (n - 1) * float(((sums - sums.mean()) ** 2).sum())
            for _, unit in part.groupby("unit"):
                m = len(unit)
                inner = m / float(unit["secondary"].iloc[0])
                if m > 1 and share > 0 and np.isfinite(part["primary"].iloc[0]) and 0 < inner < 1:
                    z = unit["z"].to_numpy()
                    total += share * (1 - inner) * m / (m - 1) * float(((z - z.mean()) ** 2).sum())
        return total

    def estimate(
        self,
        values: npt.ArrayLike,
        *,
        predicted: npt.ArrayLike | None = None,
        map_mean: float | None = None,
        method: Literal["mean", "difference", "regression"] = "mean",
        level: float = 0.95,
    ) -> Estimate:
        """Mean of a property over the area from which the sample was drawn.

        Parameters
        ----------
        values : array_like (n,)
            The property, such as an observation, an error or a squared error, at each unit.
        predicted : array_like (n,), optional
            The map at each unit; for "difference" and "regression".
        map_mean : float, optional
            Mean of the map over the whole area; for "difference" and "regression".
        method : {"mean", "difference", "regression"}
            "mean": weighted mean of the sample. "difference": mean of the map plus the weighted mean of observed minus
            map. "regression": the weighted mean, moved along the regression on the map. The last two are the narrower
            the better the map is, and remain unbiased (nearly, "regression") whatever the map is worth.
        level : float

        Returns
        -------
        Estimate

        Raises
        ------
        InputError
            For values that are not finite, lengths that differ, a map that is missing or not used, an unknown method,
            or a level outside 0..1.

        Notes
        -----
        Residuals of "regression" carry the weights that calibrate the sample's map to the area's, as R's survey does.
        Ratio mean sum(w y)/sum(w) with w = 1 / probability; variance by linearisation over primary units within
        strata, with the second stage's part where both population sizes are given. For a root mean square error
        estimate the mean of squared errors and take the root of value and limits.

        References
        ----------
        de Gruijter, J. et al. (2006), Sampling for Natural Resource Monitoring. doi:10.1007/3-540-33161-1
        """
        from scipy.stats import t

        words = {"mean": "mean by design", "difference": "difference estimator", "regression": "regression estimator"}
        require_one_of("probability sample", "method", method, words)
        require_share("probability sample", level)
        y = self._values(values, "values")
        weight = 1.0 / np.asarray(self.probability, dtype=np.float64)
        share = weight / weight.sum()
        with_map = predicted is not None and map_mean is not None
        if (method != "mean") != with_map or (predicted is None) != (map_mean is None):
            raise InputError(
                f"probability sample: method '{method}' {'needs' if method != 'mean' else 'does not use'} predicted "
                "and map_mean; use 'difference' or 'regression' with both, 'mean' with neither"
            )
        if method == "mean":
            value, residual = float(share @ y), y - float(share @ y)
        else:
            x = self._values(predicted, "predicted")
            x_mean, y_mean = float(share @ x), float(share @ y)
            spread = float(share @ (x - x_mean) ** 2)
            slope, calibrated = 1.0, np.ones(len(y))
            if method == "regression":
                if spread <= 0:
                    raise InputError("probability sample: the map is constant at the sample; use method='mean'")
                slope = float(share @ ((x - x_mean) * (y - y_mean))) / spread
                calibrated += (float(map_mean) - x_mean) * (x - x_mean) / spread  # type: ignore[arg-type]
            value = y_mean + slope * (float(map_mean) - x_mean)  # type: ignore[arg-type]
            residual = calibrated * ((y - y_mean) - slope * (x - x_mean))
        frame = self._frame()
        df = int(frame["unit"].nunique() - frame["stratum"].nunique())
        se = float(np.sqrt(self.variance(share * residual)))
        half = float(t.ppf((1 + level) / 2, df)) * se
        return Estimate(value, se, value - half, value + half, level, df, words[method])

    def _values(self, values: Any, what: str) -> Doubles:
        result = np.asarray(values, dtype=np.float64)
        n = len(np.asarray(self.probability))
        if result.shape != (n,) or not np.isfinite(result).all():
            raise InputError(
                f"probability sample: {what} has shape {result.shape}, expected ({n},), all finite; a unit without an "
                "observation is a non-response and changes the design: leave it out and correct the probabilities"
            )
        return result


def map_accuracy(
    design: SampleDesign, observed: npt.ArrayLike, predicted: npt.ArrayLike, *, level: float = 0.95
) -> pd.DataFrame:
    """Accuracy of a map with intervals, from a probability sample that the model did not see.

    Parameters
    ----------
    design : SampleDesign
    observed, predicted : array_like (n,)
    level : float

    Returns
    -------
    DataFrame
        Rows `bias`, `mae`, `mse`, `rmse` with `value`, `lower`, `upper` and `se` (of the mean, not of `rmse`).

    Raises
    ------
    InputError
        For values that `SampleDesign.estimate` rejects.

    Examples
    --------
    >>> map_accuracy(SampleDesign(np.full(3, 0.1)), [1.0, 2.0, 3.0], [1.5, 2.0, 2.0])["value"].round(3).to_dict()
    {'bias': -0.167, 'mae': 0.5, 'mse': 0.417, 'rmse': 0.645}
    """
    error = np.asarray(predicted, dtype=np.float64) - np.asarray(observed, dtype=np.float64)
    rows = {
        name: design.estimate(values, level=level)
        for name, values in (("bias", error), ("mae", np.abs(error)), ("mse", error**2))
    }
    table = pd.DataFrame(
        {k: {"value": e.value, "lower": e.lower, "upper": e.upper, "se": e.se} for k, e in rows.items()}
    )
    table["rmse"] = np.sqrt(table["mse"].clip(lower=0))
    table.loc["se", "rmse"] = np.nan
    return table.T


def intensity_weights(
    samples: npt.ArrayLike, *, neighbours: int = 10, degrees: bool = False, largest: float = 10.0
) -> Doubles:
    """Weights against clustering: the inverse of the local density of samples.

    Parameters
    ----------
    samples : array_like (n, 2)
    neighbours : int
        The density at a sample is that of the circle that reaches its `neighbours`-th neighbour.
    degrees : bool
    largest : float
        Weights above this multiple of their median are cut to it, so that a single remote sample does not decide.

    Returns
    -------
    ndarray (n,), float64
        Positive, with mean 1.

    Raises
    ------
    InputError
        For fewer samples than `neighbours` + 1, or when most samples share a position.

    Notes
    -----
    Weighted scores estimate the score over the area from samples that are dense in places, without any validity where
    there are none.

    References
    ----------
    de Bruin, S. et al. (2022), Ecological Informatics 69. doi:10.1016/j.ecoinf.2022.101665

    Examples
    --------
    >>> weights = intensity_weights([[0, 0], [0, 1], [1, 0], [9, 9]], neighbours=2)
    >>> bool(weights.argmax() == 3), round(float(weights.mean()), 6)
    (True, 1.0)
    """
    distances = FoldDistances(samples, degrees=degrees, neighbours=neighbours)
    if len(distances.place) <= neighbours:
        raise InputError(f"weights: {len(distances.place)} samples, expected more than neighbours={neighbours}")
    radius = distances.radius(neighbours)
    area = radius**2
    middle = float(np.median(area))
    if not middle > 0:
        raise InputError("weights: half of the samples share their position with others; weigh sites, not replicates")
    weight = np.clip(area, middle / largest, middle * largest)
    return np.asarray(weight / weight.mean())
