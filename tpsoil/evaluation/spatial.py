"""Residuals in space: their variogram, Moran's I, and what they mean for the mean of an area."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_one_of
from tpsoil.evaluation.distances import _place
from tpsoil.evaluation.scores import require_share

Doubles = npt.NDArray[np.float64]
Model = Literal["exponential", "spherical"]

SHAPES: Final[dict[str, Callable[[Doubles], Doubles]]] = {
    "exponential": lambda h: 1.0 - np.exp(-3.0 * h),
    "spherical": lambda h: np.where(h < 1.0, 1.5 * h - 0.5 * h**3, 1.0),
}
"""Rise of a variogram with distance over range; 95 % of the sill at the range of "exponential"."""
PAIRS: Final = 2_000_000
"""Pairs of samples that are compared, at random where there are more."""


@dataclass(frozen=True, eq=False)
class Variogram:
    """A variogram model with the points it was fitted to.

    Parameters
    ----------
    nugget, partial_sill : float
        Of the squared unit of the data; semivariance at no distance, and what distance adds.
    range : float
        Distance at which values are no longer correlated (95 % of the sill with "exponential"), in the unit of the
        coordinates, or metres.
    model : {"exponential", "spherical"}
    points : DataFrame
        `distance`, `semivariance`, `pairs` of each class of distance.
    cutoff : float
        Largest distance of the points. A fitted range beyond it is an extrapolation: see `supported_range`.
    """

    nugget: float
    partial_sill: float
    range: float
    model: str
    points: pd.DataFrame
    cutoff: float = float("inf")

    @property
    def range_reached(self) -> bool:
        """Whether the semivariance levels off within the cutoff; if not, the range is only known to exceed it."""
        return self.range <= self.cutoff

    @property
    def supported_range(self) -> float:
        """The range, at most the cutoff: distances beyond it were not compared."""
        return min(self.range, self.cutoff)

    @property
    def sill(self) -> float:
        """Semivariance at large distances."""
        return self.nugget + self.partial_sill

    def __call__(self, distance: npt.ArrayLike) -> Doubles:
        """Semivariance at distances; 0 at 0."""
        h = np.asarray(distance, dtype=np.float64)
        return np.where(h > 0, self.nugget + self.partial_sill * SHAPES[self.model](h / self.range), 0.0)

    def covariance(self, distance: npt.ArrayLike) -> Doubles:
        """Covariance at distances: the sill at 0, without the nugget at any distance above."""
        return np.asarray(self.sill - self(distance))

    def __repr__(self) -> str:
        return (
            f"Variogram({self.model}: nugget {self.nugget:.4g}, sill {self.sill:.4g}, range {self.range:.4g}, "
            f"{len(self.points)} classes"
            + ("" if self.range_reached else f"; range not reached within the cutoff of {self.cutoff:.4g}")
            + ")"
        )


def fit_variogram(
    positions: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    degrees: bool = False,
    model: Model = "exponential",
    cutoff: float | None = None,
    classes: int = 15,
) -> Variogram:
    """Empirical variogram and the model fitted to it.

    Parameters
    ----------
    positions : array_like (n, 2)
    values : array_like (n,)
        Such as residuals of a model out of fold.
    degrees : bool
    model : {"exponential", "spherical"}
    cutoff : float, optional
        Largest distance; by default a third of the diagonal of the samples' extent, as R's gstat does.
    classes : int
        Classes of distance, of equal width.

    Returns
    -------
    Variogram

    Raises
    ------
    InputError
        For fewer than 10 samples, values that are not finite or constant, or an unknown model.

    Notes
    -----
    Semivariance of a class: mean of (z_i - z_j)^2 / 2 over its pairs (Matheron). The model is fitted by least squares
    with weights pairs / distance^2, as gstat's default, and a range of at most three cutoffs. Where it exceeds the
    cutoff (`range_reached` is False), range and sill are extrapolated together and only their ratio, the slope, is
    known: use `supported_range` as a distance. Above two million pairs a random two million are compared, always the
    same.

    References
    ----------
    Cressie, N. (1985), Mathematical Geology 17. doi:10.1007/BF01032109

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> place = rng.uniform(0, 100, (200, 2))
    >>> variogram = fit_variogram(place, rng.normal(size=200))
    >>> variogram.partial_sill < 0.3 * variogram.sill or variogram.range < 10
    True
    """
    from scipy.optimize import least_squares

    require_one_of("variogram", "model", model, SHAPES)
    place, z = _place(positions, degrees, "samples"), np.asarray(values, dtype=np.float64)
    if z.shape != (len(place),) or not np.isfinite(z).all() or len(z) < 10:
        raise InputError(f"variogram: values have shape {z.shape}, expected ({len(place)},), finite, 10 or more")
    variance = float(z.var())
    if variance <= 0:
        raise InputError("variogram: the values are constant")
    first, second = _pairs(len(z))
    distance = np.linalg.norm(place[first] - place[second], axis=1)
    reach = float(np.linalg.norm(np.ptp(place, axis=0))) / 3 if cutoff is None else float(cutoff)
    near = (distance > 0) & (distance <= reach)
    if not near.any():
        raise InputError(f"variogram: no two samples within {reach:g}; give a larger cutoff")
    code = np.minimum((distance[near] / reach * classes).astype(np.int64), classes - 1)
    half = 0.5 * (z[first[near]] - z[second[near]]) ** 2
    pairs = np.bincount(code, minlength=classes)
    filled = pairs > 0
    lags = (np.bincount(code, weights=distance[near], minlength=classes)[filled]) / pairs[filled]
    gamma = (np.bincount(code, weights=half, minlength=classes)[filled]) / pairs[filled]
    root = np.sqrt(pairs[filled]) / lags

    def misfit(parameters: Doubles) -> Doubles:
        nugget, sill, span = parameters
        return np.asarray(
            root / root.max() * (nugget * variance + sill * variance * SHAPES[model](lags / (span * reach)) - gamma)
        )

    starts = ([0.1, 0.9, 0.3], [0.5, 0.5, 0.8], [0.0, 1.0, 0.1])
    fits = [least_squares(misfit, start, bounds=([0, 0, 1e-3], [10, 10, 3])) for start in starts]
    nugget, sill, span = min(fits, key=lambda fit: float(fit.cost)).x
    points = pd.DataFrame({"distance": lags, "semivariance": gamma, "pairs": pairs[filled]})
    return Variogram(float(nugget) * variance, float(sill) * variance, float(span) * reach, model, points, reach)


def moran(
    positions: npt.ArrayLike, values: npt.ArrayLike, *, neighbours: int = 8, degrees: bool = False
) -> dict[str, float]:
    """Moran's I of values, such as residuals: whether neighbours resemble each other.

    Parameters
    ----------
    positions : array_like (n, 2)
    values : array_like (n,)
    neighbours : int
        Nearest neighbours of equal weight, summing to 1 a sample.
    degrees : bool

    Returns
    -------
    dict
        `i`; `expected`, -1 / (n - 1); `z`; `p`, one-sided for positive correlation, under randomisation.

    Raises
    ------
    InputError
        For no more samples than neighbours, or values that are constant or not finite.

    References
    ----------
    Cliff, A. D. and Ord, J. K. (1981), Spatial Processes.

    Examples
    --------
    >>> row = np.arange(30.0)
    >>> moran(np.column_stack([row, 0 * row]), row, neighbours=2)["i"] > 0.8
    True
    """
    from scipy.sparse import csr_matrix
    from scipy.spatial import cKDTree
    from scipy.stats import norm

    place, x = _place(positions, degrees, "samples"), np.asarray(values, dtype=np.float64)
    n = len(place)
    if x.shape != (n,) or not np.isfinite(x).all() or n <= neighbours + 1 or n < 4:
        raise InputError(
            f"moran: {n} samples and values of shape {x.shape}, expected more than {neighbours + 1} finite"
        )
    d = x - x.mean()
    if not (d**2).sum() > 0:
        raise InputError("moran: the values are constant")
    near = cKDTree(place).query(place, k=neighbours + 1)[1]
    # Among samples at one position the sample itself need not come first.
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    near = near[~own].reshape(n, neighbours)
    w = csr_matrix(
        (np.full(n * neighbours, 1 / neighbours), (np.repeat(np.arange(n), neighbours), near.ravel())), (n, n)
    )
    i = float(d @ (w @ d) / (d**2).sum())
    s0 = float(n)
    both = w + w.T
    s1 = 0.5 * float(both.multiply(both).sum())
    s2 = float(np.square(np.asarray(w.sum(axis=0)).ravel() + np.asarray(w.sum(axis=1)).ravel()).sum())
    kurtosis = float((d**4).mean() / (d**2).mean() ** 2)
    expected = -1 / (n - 1)
    upper = n * ((n**2 - 3 * n + 3) * s1 - n * s2 + 3 * s0**2) - kurtosis * ((n**2 - n) * s1 - 2 * n * s2 + 6 * s0**2)
    variance = upper / ((n - 1) * (n - 2) * (n - 3) * s0**2) - expected**2
    z = (i - expected) / float(np.sqrt(variance))
    return {"i": i, "expected": expected, "z": z, "p": float(norm.sf(z))}


@dataclass(frozen=True)
class AreaEstimate:
    """Mean and total of an area with an interval that accounts for correlated errors.

    Parameters
    ----------
    mean, se, lower, upper : float
        In the unit of the map.
    independent_se : float
        What it would be if errors of cells were independent; too small.
    cells : int
    area : float
        Squared unit of the cells' area; `mean * area` is the total.
    level : float
    """

    mean: float
    se: float
    lower: float
    upper: float
    independent_se: float
    cells: int
    area: float
    level: float

    @property
    def total(self) -> float:
        """Mean times area."""
        return self.mean * self.area


def area_mean(
    positions: npt.ArrayLike,
    predicted: npt.ArrayLike,
    sd: npt.ArrayLike,
    variogram: Variogram,
    *,
    cell_area: npt.ArrayLike = 1.0,
    level: float = 0.9,
    degrees: bool = False,
    seed: int = 0,
) -> AreaEstimate:
    """Mean of a map over an area, such as a polygon's cells, with its standard error on block support.

    Parameters
    ----------
    positions : array_like (m, 2)
        Centres of the area's cells.
    predicted : array_like (m,)
    sd : array_like (m,) or float
        Standard deviation of the prediction error of a cell.
    variogram : Variogram
        Of the residuals divided by that standard deviation, out of fold.
    cell_area : array_like (m,) or float
        Weight of each cell.
    level : float
    degrees : bool
    seed : int
        Of the pairs of cells, where there are more than two million.

    Returns
    -------
    AreaEstimate

    Raises
    ------
    InputError
        For no cell, values that are not finite, a negative sd, or a level outside 0..1.

    Notes
    -----
    Variance of the mean = sum_ij w_i w_j sd_i sd_j C(h_ij), with w the share of the area and C the covariance of the
    standardised residuals at distance h, sill minus semivariance. The sill may exceed 1: where the range is not small
    against the extent of the samples, their own variance is below that of the process. The nugget belongs to each cell
    alone and averages out. In simulation intervals of 90 % cover the truth in 90.4 % of fields whose range is a quarter
    of the samples' extent, and in 86.5 % where it is 0.6 of it: few patches then say how far errors reach.

    References
    ----------
    Wadoux, A. M. J.-C. and Heuvelink, G. B. M. (2023), Methods in Ecology and Evolution 14.
    doi:10.1111/2041-210X.14106

    Examples
    --------
    >>> flat = pd.DataFrame({"distance": [1.0], "semivariance": [1.0], "pairs": [9]})
    >>> close = Variogram(0.0, 1.0, 1e6, "exponential", flat)
    >>> place = np.random.default_rng(0).uniform(0, 10, (500, 2))
    >>> estimate = area_mean(place, np.full(500, 3.0), 0.5, close)
    >>> round(estimate.mean, 2), round(estimate.se, 2), round(estimate.independent_se, 3)
    (3.0, 0.5, 0.022)
    """
    from scipy.stats import norm

    require_share("area mean", level)
    place = _place(positions, degrees, "cells")
    m = len(place)
    value = np.asarray(predicted, dtype=np.float64)
    error = np.broadcast_to(np.asarray(sd, dtype=np.float64), (m,))
    area = np.broadcast_to(np.asarray(cell_area, dtype=np.float64), (m,))
    if value.shape != (m,) or not all(np.isfinite(v).all() for v in (value, error, area)):
        raise InputError(f"area mean: predicted has shape {value.shape}, expected ({m},), finite, as sd and cell_area")
    if (error < 0).any() or (area <= 0).any():
        raise InputError("area mean: a negative sd, or a cell without area")
    share = area / area.sum()
    scaled = share * error
    own = float((scaled**2).sum()) * variogram.sill
    if m * (m - 1) // 2 <= PAIRS:
        first, second = np.triu_indices(m, 1)
        product = scaled[first] * scaled[second]
        r = variogram.covariance(np.linalg.norm(place[first] - place[second], axis=1))
        between = 2.0 * float(product @ r)
    else:
        rng = np.random.default_rng([seed, 11])
        chance = scaled / scaled.sum()
        first, second = (rng.choice(m, PAIRS, p=chance) for _ in range(2))
        other = first != second
        r = variogram.covariance(np.linalg.norm(place[first[other]] - place[second[other]], axis=1))
        between = float(scaled.sum() ** 2 * r.sum() / PAIRS)
    mean, se = float(share @ value), float(np.sqrt(max(own + between, 0.0)))
    half = float(norm.ppf((1 + level) / 2)) * se
    return AreaEstimate(mean, se, mean - half, mean + half, float(np.sqrt(own)), m, float(area.sum()), level)


def _pairs(n: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """All pairs of samples, or two million of them at random."""
    if n * (n - 1) // 2 <= PAIRS:
        first, second = np.triu_indices(n, 1)
        return first, second
    rng = np.random.default_rng(17)
    return rng.integers(0, n, PAIRS), rng.integers(0, n, PAIRS)
