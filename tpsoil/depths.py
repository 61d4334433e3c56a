"""Soil properties at other depths than those sampled: equal-area quadratic splines.

All depths are in cm below one reference surface, downwards positive.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from .errors import InputError, require_named

Array = npt.NDArray[np.float64]
Interval = tuple[float, float]

GLOBALSOILMAP_CM: Final[tuple[Interval, ...]] = ((0, 5), (5, 15), (15, 30), (30, 60), (60, 100), (100, 200))
"""Depths of the GlobalSoilMap specification, cm."""
SMOOTHING: Final = 0.1
"""Default of lambda for depths in cm, the value that Malone et al. (2009) took."""


@dataclass(frozen=True)
class SplineSettings:
    """How values at other depths are computed.

    Parameters
    ----------
    smoothing : float
        Lambda of the spline for depths in cm; > 0. Towards 0 the horizons' means are reproduced exactly.
    minimum_coverage : float
        Share of an interval that the profile must reach for a value, more than 0, up to 1.
    low, high : float
        Physical range of the property; a mean outside it is set to the limit and counted.

    Raises
    ------
    InputError
        For values out of their ranges.

    Examples
    --------
    >>> SplineSettings(low=0.0).smoothing
    0.1
    """

    smoothing: float = SMOOTHING
    minimum_coverage: float = 0.5
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        faults = []
        if not (math.isfinite(self.smoothing) and self.smoothing > 0):
            faults.append(f"smoothing is {self.smoothing!r}, expected a finite number above 0")
        if not 0 < self.minimum_coverage <= 1:
            faults.append(f"minimum_coverage is {self.minimum_coverage!r}, expected more than 0 and at most 1")
        if not self.low < self.high:
            faults.append(f"low is {self.low!r} and high {self.high!r}, expected low < high")
        if faults:
            raise InputError("spline settings: " + "; ".join(faults))


@dataclass(frozen=True, eq=False)
class DepthSpline:
    """A property with depth: quadratic inside each horizon, linear in the gaps between them.

    Parameters
    ----------
    top, bottom : ndarray (n,), cm
        Of the horizons, from the surface down.
    fitted : ndarray (n,)
        Mean of the curve in each horizon.
    slopes : ndarray (n + 1,), cm-1
        Of the curve at the top of the first horizon, below each horizon, and at the bottom of the last one.
    """

    top: Array
    bottom: Array
    fitted: Array
    slopes: Array

    def integral(self, depth: Any) -> Array:
        """Integral of the curve from the top of the first horizon, at depths within the profile."""
        z = np.atleast_1d(np.asarray(depth, dtype=np.float64))
        thickness = self.bottom - self.top
        gaps = self.top[1:] - self.bottom[:-1]
        before, after = self.slopes[:-1], self.slopes[1:]
        at_top = self.fitted - thickness * (before / 3 + after / 6)
        at_bottom = self.fitted + thickness * (before / 6 + after / 3)
        below = gaps * (at_bottom[:-1] + 0.5 * after[:-1] * gaps)
        start = np.concatenate([[0.0], np.cumsum(self.fitted[:-1] * thickness[:-1] + below)])
        i = np.clip(np.searchsorted(self.top, z, side="right") - 1, 0, len(self.top) - 1)
        x = np.clip(z - self.top[i], 0.0, thickness[i])
        curvature = (after - before) / thickness
        inside = x * (at_top[i] + x * (before[i] / 2 + x * curvature[i] / 6))
        y = np.clip(z - self.bottom[i], 0.0, np.append(gaps, 0.0)[i])
        return np.asarray(start[i] + inside + y * (at_bottom[i] + 0.5 * after[i] * y))

    def means(self, intervals: Sequence[Interval]) -> tuple[Array, Array]:
        """Means of the curve in intervals, and the share of each interval that the profile covers.

        Parameters
        ----------
        intervals : sequence of (top, bottom), cm

        Returns
        -------
        means : ndarray
            Of the covered part; NaN where nothing is covered.
        coverage : ndarray
            0 to 1.
        """
        limits = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
        low = np.clip(limits[:, 0], self.top[0], self.bottom[-1])
        high = np.clip(limits[:, 1], self.top[0], self.bottom[-1])
        length = high - low
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(length > 0, (self.integral(high) - self.integral(low)) / length, np.nan)
        return means, length / (limits[:, 1] - limits[:, 0])


def equal_area_spline(top: Any, bottom: Any, values: Any, *, smoothing: float = SMOOTHING) -> DepthSpline:
    """Equal-area quadratic smoothing spline of one profile.

    Parameters
    ----------
    top, bottom : array-like (n,), cm
        Of the horizons, in any order. Gaps are allowed, overlaps are not.
    values : array-like (n,)
        Mean of the property in each horizon.
    smoothing : float
        Lambda, > 0.

    Returns
    -------
    DepthSpline
        With one horizon: its value at all depths.

    Raises
    ------
    InputError
        For depths or values that are not finite, a bottom that is not below its top, and overlaps.

    Notes
    -----
    Minimises ``(1/n) sum (y_i - fbar_i)^2 + lambda integral f'(z)^2 dz`` (Bishop et al. 1999, Eq. 2), with fbar_i the
    mean of the curve in horizon i. The solution is quadratic in the horizons, linear in the gaps, with a continuous
    slope and slope 0 at both ends. With thickness d_i and gap g_i below horizon i the slopes b_i follow from the fitted
    means s, ``d_i b_{i-1} + (2 d_i + 2 d_{i+1} + 6 g_i) b_i + d_{i+1} b_{i+1} = 6 (s_{i+1} - s_i)``, in short
    ``R b = 6 Q s``, and the means from the observed ones, ``(I + 6 n lambda Q' R^-1 Q) s = y``.

    References
    ----------
    Bishop, T. F. A., McBratney, A. B. and Laslett, G. M. (1999), Geoderma 91, 27-45,
    doi:10.1016/S0016-7061(99)00003-8. Malone, B. P. et al. (2009), Geoderma 154, 138-152,
    doi:10.1016/j.geoderma.2009.10.007.

    Examples
    --------
    >>> curve = equal_area_spline([0, 20, 50], [20, 50, 90], [3.0, 1.5, 0.6])
    >>> means, coverage = curve.means([(0, 10), (60, 100)])
    >>> means.round(3).tolist(), coverage.tolist()
    ([3.178, 0.543], [1.0, 0.75])
    """
    u, v, y = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (top, bottom, values))
    if not (u.ndim == 1 and u.shape == v.shape == y.shape and u.size):
        raise InputError(f"equal_area_spline: top, bottom and values have shapes {u.shape}, {v.shape} and {y.shape}")
    if not (math.isfinite(smoothing) and smoothing > 0):
        raise InputError(f"equal_area_spline: smoothing is {smoothing!r}, expected a finite number above 0")
    order = np.argsort(u, kind="stable")
    u, v, y = u[order], v[order], y[order]
    if fault := _fault(u, v, y):
        raise InputError(f"equal_area_spline: {fault}; tops {u.tolist()}, bottoms {v.tolist()}")
    n = len(y)
    if n == 1:
        return DepthSpline(u, v, y, np.zeros(2))
    d, gap = v - u, u[1:] - v[:-1]
    r = np.diag(2 * (d[:-1] + d[1:]) + 6 * gap) + np.diag(d[1:-1], 1) + np.diag(d[1:-1], -1)
    q = np.diff(np.eye(n), axis=0)
    r_inverse_q = np.linalg.solve(r, q)
    fitted = np.asarray(np.linalg.solve(np.eye(n) + 6 * n * smoothing * q.T @ r_inverse_q, y), dtype=np.float64)
    return DepthSpline(u, v, fitted, np.concatenate([[0.0], 6 * r_inverse_q @ fitted, [0.0]]))


def depth_means(
    horizons: pd.DataFrame,
    columns: Sequence[str],
    *,
    intervals: Sequence[Interval] = GLOBALSOILMAP_CM,
    profile: str = "profile_id",
    depths: tuple[str, str] = ("top", "bottom"),
    settings: SplineSettings | None = None,
) -> pd.DataFrame:
    """Means of properties in depth intervals, one row a profile, by equal-area splines.

    Parameters
    ----------
    horizons : DataFrame
        One row a horizon or sample.
    columns : sequence of str
        Properties. A horizon without a value is a gap of that property.
    intervals : sequence of (top, bottom), cm
        Such as ``[(0, 10)]``; the GlobalSoilMap depths by default.
    profile : str
        Column with the name of the profile.
    depths : (top, bottom)
        Names of the columns of depths, cm.
    settings : SplineSettings, optional

    Returns
    -------
    DataFrame
        `profile`, then `{column}_{top}_{bottom}_cm` for each property and interval: NaN where the profile covers less
        than `minimum_coverage` of it. `attrs` has `problems` (profiles without a curve, by reason), `limited` (means
        set to the physical range, by column) and `smoothing`.

    Raises
    ------
    InputError
        For missing columns, intervals that are not downwards, and where no profile has a usable depth.

    Warns
    -----
    UserWarning
        With counts by reason, for profiles without a curve, and for means set to the physical range.

    Examples
    --------
    >>> pits = pd.DataFrame({"profile_id": ["a", "a", "b"], "top": [0, 20, 0], "bottom": [20, 50, 10],
    ...                      "Fe": [9.0, 3.0, 5.0]})
    >>> depth_means(pits, ["Fe"], intervals=[(0, 10)]).round(2).values.tolist()
    [['a', 9.81], ['b', 5.0]]
    """
    chosen = settings or SplineSettings()
    limits = _checked_intervals(intervals)
    table = numeric_columns(horizons, [profile, *depths, *columns], profile)
    problems: Counter[str] = Counter()
    limited: Counter[str] = Counter()
    rows = []
    for key, pit in table.groupby(profile, sort=False, dropna=True):
        row: dict[str, Any] = {profile: key}
        for column in columns:
            means = _means_of(pit, depths, column, limits, chosen, problems)
            bounded = np.clip(means, chosen.low, chosen.high)
            if changed := int((bounded[np.isfinite(means)] != means[np.isfinite(means)]).sum()):
                limited[column] += changed
            row.update({interval_name(column, one): value for one, value in zip(limits, bounded)})
        rows.append(row)
    results = pd.DataFrame(rows)
    names = [name for name in results.columns if name != profile]
    if not rows or results[names].isna().all(axis=None):
        reasons = "; ".join(f"{count} {text}" for text, count in problems.items())
        raise InputError(
            f"depth_means: none of {len(rows)} profiles has a usable depth for {', '.join(columns)}: "
            f"{reasons or 'none reaches the intervals'}"
        )
    results.attrs |= {"problems": dict(problems), "limited": dict(limited), "smoothing": chosen.smoothing}
    if problems:
        listed = "; ".join(f"{count} {text}" for text, count in problems.items())
        warnings.warn(f"depth_means: of {len(rows)} profiles without a curve: {listed}", stacklevel=2)
    if limited:
        listed = ", ".join(f"{count} of {column}" for column, count in limited.items())
        warnings.warn(f"depth_means: means outside the physical range were set to its limit: {listed}", stacklevel=2)
    return results


def interval_name(column: str, interval: Interval) -> str:
    """Name of the column of one property in one interval.

    Examples
    --------
    >>> interval_name("Fe", (0, 10))
    'Fe_0_10_cm'
    """
    return f"{column}_{interval[0]:g}_{interval[1]:g}_cm"


def _means_of(
    pit: pd.DataFrame,
    depths: tuple[str, str],
    column: str,
    intervals: Sequence[Interval],
    settings: SplineSettings,
    problems: Counter[str],
) -> Array:
    known = pit[pit[column].notna()].sort_values(list(depths), kind="stable")
    missing = np.full(len(intervals), np.nan)
    u, v, y = (known[name].to_numpy(float) for name in (*depths, column))
    fault = f"without a value of {column}" if not len(known) else _fault(u, v, y)
    if fault:
        problems[fault] += 1
        return missing
    means, coverage = equal_area_spline(u, v, y, smoothing=settings.smoothing).means(intervals)
    return np.asarray(np.where(coverage >= settings.minimum_coverage - 1e-12, means, np.nan))


def _fault(top: Array, bottom: Array, values: Array) -> str:
    """Why horizons in the order of their tops have no curve; empty where they have one."""
    if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
        return "a horizon has no depth"
    if not np.isfinite(values).all():
        return "a value is not finite"
    if (bottom <= top).any():
        return "a horizon's bottom is not below its top"
    if (top[1:] < bottom[:-1] - 1e-9).any():
        return "horizons overlap"
    return ""


def _checked_intervals(intervals: Sequence[Interval]) -> list[Interval]:
    pairs = [tuple(float(value) for value in pair) for pair in intervals]
    if not pairs or any(len(pair) != 2 or not 0 <= pair[0] < pair[1] < math.inf for pair in pairs):
        raise InputError(f"intervals are {list(intervals)}, expected pairs (top, bottom) in cm with 0 <= top < bottom")
    return [(pair[0], pair[1]) for pair in pairs]


def numeric_columns(table: pd.DataFrame, columns: Sequence[str], profile: str) -> pd.DataFrame:
    """The columns as numbers, the profile as it is."""
    require_named("horizons", columns, table.columns)
    numbers = table[list(dict.fromkeys(columns))].copy()
    for column in numbers.columns:
        if column == profile:
            continue
        values = pd.to_numeric(numbers[column], errors="coerce")
        if text := list(numbers[column][values.isna() & numbers[column].notna()].head(3)):
            raise InputError(f"horizons: column '{column}' has text such as {text}, expected numbers")
        numbers[column] = values
    return numbers
