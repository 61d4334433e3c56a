"""Screening of samples: outliers, and values below the detection limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name, require_named, require_one_of

Floats = npt.NDArray[np.float64]
Method = Literal["sd", "mad"]

TIDY: Final = ("site", "element", "value")
MAD_TO_SD: Final = 1.4826022185056018
"""1 / the upper quartile of the standard normal: makes the median absolute deviation of a normal its sd."""


@dataclass(frozen=True, eq=False)
class Screening:
    """Result of a screening.

    Parameters
    ----------
    kept : DataFrame
        The table without the outliers.
    outlier : Series of bool
        On the index of the original table.
    counts : DataFrame
        Index: element. `before` (valid values), `removed`, `after`, `share` (removed of before), `low`, `high` (the
        fences in the unit of the values), `normal_share` (share of a normal distribution outside), `can_trigger`
        (whether so few values can have an outlier).
    """

    kept: pd.DataFrame
    outlier: pd.Series
    counts: pd.DataFrame


def screen_outliers(
    samples: pd.DataFrame | npt.ArrayLike,
    *,
    threshold: float = 3.0,
    method: Method = "sd",
    log: bool = False,
    iterate: bool = False,
    elements: Sequence[str] | None = None,
) -> Screening:
    """Detect values farther from their element's centre than a threshold.

    Parameters
    ----------
    samples : DataFrame or array_like
        Tidy (`site`, `element`, `value`), or the values of one element. Not changed.
    threshold : float
        Standard deviations; > 0. A value exactly on the fence is retained.
    method : {"sd", "mad"}
        Centre and scale: mean and standard deviation (ddof 1), or median and 1.4826 times the median absolute
        deviation, which outliers cannot widen.
    log : bool
        Screen the logarithms, as suits trace elements, which are nearly lognormal; on the linear scale a skewed
        element loses valid high values. Values of 0 or less are rejected.
    iterate : bool
        Repeat until no outlier is detected; default: once, as in the study.
    elements : sequence of str, optional
        Elements to screen; the others are not changed.

    Returns
    -------
    Screening

    Raises
    ------
    InputError
        For an element without a valid value, a value of 0 or less under `log`, an unknown method, missing columns, and
        under "mad" for an element of which half of the values or more are equal.

    Notes
    -----
    Outlier: |x - mean| > threshold sd, strictly. The largest possible |z| of n values is (n - 1) / sqrt(n), so 10 or
    fewer values never have one beyond 3 sd; see `can_trigger`.

    Examples
    --------
    >>> screening = screen_outliers([10.0] * 10 + [11.0, 90.0])
    >>> screening.outlier.sum(), screening.counts.loc["value", "after"]
    (np.int64(1), np.int64(11))
    """
    from scipy.stats import norm

    require_one_of("screen_outliers", "method", method, get_args(Method))
    if not (np.isfinite(threshold) and threshold > 0):
        raise InputError(f"screen_outliers: threshold is {threshold!r}, expected a positive number")
    table = samples if isinstance(samples, pd.DataFrame) else one_element(samples)
    require_tidy(table, "screen_outliers")
    names = [str(e) for e in pd.unique(table["element"])]
    require_named("screen_outliers", elements or (), names, "element")
    flags = np.zeros(len(table), dtype=bool)
    rows: dict[str, dict[str, Any]] = {}
    for element in names if elements is None else elements:
        positions = np.flatnonzero((table["element"] == element).to_numpy(dtype=bool))
        values = np.asarray(detected_values(table), dtype=np.float64)[positions]
        flagged, low, high = _fences(values, threshold, method, log, iterate, element)
        flags[positions] = flagged
        n = int(np.isfinite(values).sum())
        rows[element] = {
            "before": n,
            "removed": int(flagged.sum()),
            "after": n - int(flagged.sum()),
            "share": float(flagged.sum() / n),
            "low": low,
            "high": high,
            "normal_share": float(2 * norm.sf(threshold)),
            "can_trigger": method == "mad" or (n - 1) / np.sqrt(n) > threshold,
        }
    outlier = pd.Series(flags, index=table.index, name="outlier")
    return Screening(table[~flags], outlier, pd.DataFrame(rows).T.rename_axis("element").infer_objects())


def censored_shares(samples: pd.DataFrame) -> pd.DataFrame:
    """Share of each element below its detection limit, or not measured.

    Parameters
    ----------
    samples : DataFrame
        Tidy; `censored` and `detection_limit` where there are any.

    Returns
    -------
    DataFrame
        Index: element. `rows`, `valid`, `censored`, `missing`, `censored_share` (of all measured),
        `missing_share` (of all rows), `lowest` valid value, `detection_limit` (the highest), `truncated`: whether a
        fifth of the rows or more is missing although no value is censored, as when only detects were stored.

    Examples
    --------
    >>> table = pd.DataFrame({"site": list("abcd"), "element": "Ni", "value": [np.nan, np.nan, 40, 38],
    ...                       "censored": [True, True, False, False]})
    >>> float(censored_shares(table).loc["Ni", "censored_share"])
    0.5
    """
    require_tidy(samples, "censored_shares")
    rows: dict[str, dict[str, Any]] = {}
    for element, part in samples.groupby("element", sort=False, observed=True):
        detected = detected_values(part)
        valid = int(detected.notna().sum())
        censored = int(part["censored"].sum()) if "censored" in part else 0
        measured, limits = valid + censored, part.get("detection_limit")
        missing = (len(part) - measured) / len(part)
        rows[str(element)] = {
            "rows": len(part),
            "valid": valid,
            "censored": censored,
            "missing": len(part) - measured,
            "censored_share": censored / measured if measured else float("nan"),
            "missing_share": missing,
            "lowest": float(detected.min()),
            "detection_limit": float("nan") if limits is None else float(limits.max()),
            "truncated": censored == 0 and missing >= 0.2,
        }
    return pd.DataFrame(rows).T.rename_axis("element").infer_objects()


def require_tidy(table: pd.DataFrame, where: str) -> None:
    """Reject a table without the columns of a tidy one.

    Raises
    ------
    InputError
    """
    columns = [str(column) for column in table.columns]
    lacking = [name for name in TIDY if name not in columns]
    if lacking:
        hints = "; ".join(f"no column '{name}'{nearest_name(name, columns)}" for name in lacking)
        raise InputError(f"{where}: {hints}; read the table with tpsoil.ingest.read_samples")


def detected_values(table: pd.DataFrame) -> pd.Series[float]:
    """Values of a tidy table; missing where they are censored, as a limit that stands there is no value."""
    values = table["value"].astype(np.float64)
    return values.mask(table["censored"].astype(bool)) if "censored" in table else values


def one_element(values: npt.ArrayLike) -> pd.DataFrame:
    """Values of one element as a tidy table, each a site."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"samples: values have shape {array.shape}, expected (n,)")
    index = values.index if isinstance(values, pd.Series) else None
    return pd.DataFrame({"site": np.arange(len(array)), "element": "value", "value": array}, index=index)


def _fences(
    values: Floats, threshold: float, method: str, log: bool, iterate: bool, element: str
) -> tuple[npt.NDArray[np.bool_], float, float]:
    valid = np.isfinite(values)
    if not valid.any():
        raise InputError(f"screen_outliers: '{element}' has no valid value in {len(values)} rows; omit it")
    if log and (values[valid] <= 0).any():
        bad = int((values[valid] <= 0).sum())
        raise InputError(f"screen_outliers: '{element}' is 0 or negative in {bad} rows; censor them or use log=False")
    scale = np.log(np.where(valid, values, np.nan)) if log else values
    outlier = np.zeros(len(values), dtype=bool)
    while True:
        remaining = scale[valid & ~outlier]
        if method == "sd":
            centre, spread = remaining.mean(), remaining.std(ddof=1) if len(remaining) > 1 else 0.0
        else:
            centre = np.median(remaining)
            spread = MAD_TO_SD * np.median(np.abs(remaining - centre))
            if spread == 0 and np.ptp(remaining) > 0:
                raise InputError(
                    f"screen_outliers: half of the values of '{element}' or more are equal, so that their median "
                    "absolute deviation is 0 and any other value would be an outlier; use method='sd'"
                )
        low, high = centre - threshold * spread, centre + threshold * spread
        with np.errstate(invalid="ignore"):
            # As |x - centre|, not x against a fence: a fence is rounded, and a value on it must be retained.
            new = valid & ~outlier & (np.abs(scale - centre) > threshold * spread)
        outlier |= new
        if not iterate or not new.any():
            break
    return outlier, float(np.exp(low) if log else low), float(np.exp(high) if log else high)
