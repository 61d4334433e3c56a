"""Scores of predictions: every measure is defined once, under a name that means one thing.

"R2" is no name here: papers print the Nash-Sutcliffe efficiency and the squared correlation under it, and on the same
data they differ. The efficiency is `nse`, the squared correlation `squared_correlation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError, require_named, require_one_of

Doubles = npt.NDArray[np.float64]


def rmse(observed: Doubles, predicted: Doubles) -> float:
    """Root mean square error, in the unit of the data.

    Examples
    --------
    >>> round(rmse(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), 4)
    0.5774
    """
    return float(np.sqrt(((predicted - observed) ** 2).mean())) if observed.size else float("nan")


def mae(observed: Doubles, predicted: Doubles) -> float:
    """Mean absolute error, in the unit of the data.

    Examples
    --------
    >>> round(mae(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), 4)
    0.3333
    """
    return float(np.abs(predicted - observed).mean()) if observed.size else float("nan")


def bias(observed: Doubles, predicted: Doubles) -> float:
    """Mean error, the mean of predicted - observed, in the unit of the data.

    Examples
    --------
    >>> round(bias(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), 4)
    0.3333
    """
    return float((predicted - observed).mean()) if observed.size else float("nan")


def mre(observed: Doubles, predicted: Doubles) -> float:
    """Mean relative error, the mean of |predicted - observed|/observed over the positive observations.

    Examples
    --------
    >>> round(mre(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), 4)
    0.1667
    """
    positive = observed > 0
    if not positive.any():
        return float("nan")
    return float((np.abs(predicted - observed)[positive] / observed[positive]).mean())


def nse(observed: Doubles, predicted: Doubles) -> float:
    """Nash-Sutcliffe efficiency 1 - SSE/SST, scikit-learn's `r2_score`: 0 for the mean of the observations.

    Examples
    --------
    >>> round(nse(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), 4)
    0.7857
    """
    total = _squares(observed)
    return 1.0 - float(((predicted - observed) ** 2).sum()) / total if total > 0 else float("nan")


def squared_correlation(observed: Doubles, predicted: Doubles) -> float:
    """Squared Pearson correlation: it does not see bias or shrinkage.

    Examples
    --------
    >>> round(squared_correlation(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), 4)
    0.8622
    """
    total = _squares(observed) * _squares(predicted)
    if not total > 0:
        return float("nan")
    shared = float(((observed - observed.mean()) * (predicted - predicted.mean())).sum())
    return shared**2 / total


def ccc(observed: Doubles, predicted: Doubles) -> float:
    """Lin's concordance correlation coefficient, with population variances.

    Examples
    --------
    >>> round(ccc(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), 4)
    0.8966
    """
    if not observed.size:
        return float("nan")
    shared = float(((observed - observed.mean()) * (predicted - predicted.mean())).sum())
    n = observed.size
    total = _squares(observed) + _squares(predicted) + n * float(observed.mean() - predicted.mean()) ** 2
    return 2.0 * shared / total if total > 0 and _squares(observed) > 0 else float("nan")


def _squares(values: Doubles) -> float:
    return float(((values - values.mean()) ** 2).sum()) if values.size > 1 else 0.0


MEASURES: Final[Mapping[str, Callable[[Doubles, Doubles], float]]] = MappingProxyType(
    {measure.__name__: measure for measure in (rmse, mae, bias, mre, nse, squared_correlation, ccc)}
)
"""Every measure by its name."""

THICKNESS_MEASURES: Final = ("rmse", "mae", "bias", "mre", "nse", "squared_correlation", "ccc")
"""What the solum study prints (RMSE Eq. 10, MAE Eq. 11, MRE Eq. 12), and further scores."""

ELEMENT_MEASURES: Final = ("nse", "squared_correlation", "ccc", "rmse", "mae", "bias")
"""What the element study prints (R2, RMSE), and further scores."""


def score(
    observed: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    measures: Sequence[str] = tuple(MEASURES),
    missing: Literal["reject", "omit"] = "reject",
) -> dict[str, float]:
    """Scores of predictions against observations.

    Parameters
    ----------
    observed, predicted : array_like (n,)
        In one unit. Pool the predictions of all folds first: a mean of fold scores gives small folds too much weight.
    measures : sequence of str
        Names of `MEASURES`.
    missing : {"reject", "omit"}
        Whether a pair with a value that is not finite is an error or is left out.

    Returns
    -------
    dict
        `n`, the pairs that were scored, and one number for each measure, NaN where it is undefined: all without pairs;
        `nse`, `squared_correlation` and `ccc` with fewer than two pairs or constant observations; `mre` without a
        positive observation. With "mre" also `not_positive`, the pairs that MRE leaves out.

    Raises
    ------
    InputError
        For shapes that differ, an unknown measure or `missing`, or, under "reject", values that are not finite.

    Notes
    -----
    RMSE = sqrt(mean e^2), MAE = mean |e|, bias = mean e, MRE = mean |e|/o, NSE = 1 - SSE/SST, with e = p - o.
    CCC = 2 s_op/(s_o^2 + s_p^2 + (mean o - mean p)^2). The solum study's printed "MAE" is almost surely an absolute
    mean error (science sheet 2i); its MRE is ruled by thin soils.

    References
    ----------
    Nash, J. E. and Sutcliffe, J. V. (1970), Journal of Hydrology 10. doi:10.1016/0022-1694(70)90255-6.
    Lin, L. I. (1989), Biometrics 45. doi:10.2307/2532051.

    Examples
    --------
    >>> s = score([1.2, 1.9, 3.4, 3.9, 5.6], [1, 2, 3, 4, 5])
    >>> round(s["rmse"], 10), round(s["nse"], 10), round(s["squared_correlation"], 10)
    (0.3405877273, 0.9515859766, 0.9736227045)
    """
    require_named("score", measures, MEASURES, "measure")
    require_one_of("score", "missing", missing, ("reject", "omit"))
    o, p = _pairs(observed, predicted, "score", missing)
    result = {"n": float(o.size), **{name: MEASURES[name](o, p) for name in measures}}
    return result | ({"not_positive": float((o <= 0).sum())} if "mre" in measures else {})


def observed_against_predicted(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """Regression of observed on predicted, and Theil's parts of the squared error.

    Parameters
    ----------
    observed, predicted : array_like (n,), n >= 3
        In one unit, out of fold.

    Returns
    -------
    dict
        `slope`, `intercept` of observed = intercept + slope * predicted (1 and 0 for perfect predictions);
        `slope_se`, `intercept_se`; `p_slope_1`, `p_intercept_0`, two-sided t tests of slope 1 and intercept 0;
        `p_joint`, the F test of both at once; `u_bias`, `u_slope`, `u_error`, Theil's shares of the squared prediction
        error, summing to 1. Shares are NaN where every prediction is exact; the slope is NaN where predictions are
        constant.

    Raises
    ------
    InputError
        For fewer than 3 pairs, shapes that differ, or values that are not finite.

    Notes
    -----
    Observed belongs on the y axis. With predicted there the slope is biased, because the error lies in the
    observations. U_bias = n (o_mean - p_mean)^2 / SSPE, U_slope = (b - 1)^2 sum((p - p_mean)^2) / SSPE, U_error the
    rest.

    References
    ----------
    Pineiro, G. et al. (2008), Ecological Modelling 216. doi:10.1016/j.ecolmodel.2008.05.006

    Examples
    --------
    >>> r = observed_against_predicted([1.2, 1.9, 3.4, 3.9, 5.6], [1, 2, 3, 4, 5])
    >>> round(r["slope"], 6), round(r["intercept"], 6), round(r["u_bias"], 7), round(r["u_error"], 7)
    (1.08, -0.04, 0.3448276, 0.5448276)
    """
    from scipy import stats

    o, p = _pairs(observed, predicted, "observed_against_predicted", "reject")
    n = len(o)
    if n < 3:
        raise InputError(f"observed_against_predicted: {n} pairs, expected at least 3")
    p_mean, o_mean, nan = float(p.mean()), float(o.mean()), float("nan")
    sxx, sspe = float(((p - p_mean) ** 2).sum()), float(((p - o) ** 2).sum())
    bias_share = n * (o_mean - p_mean) ** 2 / sspe if sspe > 0 else nan
    if sxx == 0:
        names = ("slope", "intercept", "slope_se", "intercept_se", "p_slope_1", "p_intercept_0", "p_joint")
        return {**dict.fromkeys(names, nan), "u_bias": bias_share, "u_slope": 0.0, "u_error": 1 - bias_share}
    slope = float(((p - p_mean) * (o - o_mean)).sum()) / sxx
    intercept = o_mean - slope * p_mean
    sse = float(((o - intercept - slope * p) ** 2).sum())
    s2 = sse / (n - 2)
    slope_se, intercept_se = np.sqrt(s2 / sxx), np.sqrt(s2 * (1 / n + p_mean**2 / sxx))
    exact = s2 <= 1e-24 * max(1.0, o_mean**2)
    f = ((sspe - sse) / 2) / s2 if not exact else nan
    slope_share = (slope - 1) ** 2 * sxx / sspe if sspe > 0 else nan
    return {
        "slope": slope,
        "intercept": intercept,
        "slope_se": float(slope_se),
        "intercept_se": float(intercept_se),
        "p_slope_1": nan if exact else float(2 * stats.t.sf(abs(slope - 1) / slope_se, n - 2)),
        "p_intercept_0": nan if exact else float(2 * stats.t.sf(abs(intercept) / intercept_se, n - 2)),
        "p_joint": nan if exact else float(stats.f.sf(f, 2, n - 2)),
        "u_bias": bias_share,
        "u_slope": slope_share,
        "u_error": 1 - bias_share - slope_share,
    }


def require_share(where: str, level: float) -> None:
    """Reject a nominal coverage outside 0..1, such as one in %.

    Raises
    ------
    InputError
    """
    if not 0 < level < 1:
        raise InputError(f"{where}: level is {level!r}, expected a share between 0 and 1 such as 0.9")


def _pairs(observed: npt.ArrayLike, predicted: npt.ArrayLike, where: str, missing: str) -> tuple[Doubles, Doubles]:
    o, p = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if o.shape != p.shape or o.ndim != 1:
        raise InputError(f"{where}: observed has shape {o.shape}, predicted {p.shape}, expected one shape (n,)")
    finite = np.isfinite(o) & np.isfinite(p)
    if missing == "reject" and not finite.all():
        raise InputError(
            f"{where}: {int((~finite).sum())} of {o.size} pairs are not finite; leave them out "
            "(score: missing='omit') and report how many"
        )
    return o[finite], p[finite]
