"""Scores of predictions against observations, pooled over all folds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError


def score(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """How well predictions meet observations.

    Parameters
    ----------
    observed, predicted : array_like (n,)
        In one unit. Pool the predictions of all folds first: a mean of fold scores weighs small folds too much.

    Returns
    -------
    dict
        `n`; `r2`, the coefficient of determination 1 - SSE/SST (the Nash-Sutcliffe efficiency: 0 for the mean of the
        observations, negative below it); `r2_pearson`, the squared correlation, which forgives bias and shrinkage and
        is what many papers print as R2; `rmse`, `mae`, `bias` (mean of predicted - observed) in the unit of the data.
        NaN where a score is undefined.

    Raises
    ------
    InputError
        For shapes that differ, or values that are not finite.

    Examples
    --------
    >>> s = score([1.2, 1.9, 3.4, 3.9, 5.6], [1, 2, 3, 4, 5])
    >>> round(s["r2"], 10), round(s["r2_pearson"], 10), round(s["rmse"], 10), round(s["bias"], 10)
    (0.9515859766, 0.9736227045, 0.3405877273, -0.2)
    """
    o, p = _paired(observed, predicted, "score")
    n = len(o)
    nan = float("nan")
    if n == 0:
        return {"n": 0.0, "r2": nan, "r2_pearson": nan, "rmse": nan, "mae": nan, "bias": nan}
    error = p - o
    sse, sst = float(error @ error), float(((o - o.mean()) ** 2).sum())
    spread = float(((p - p.mean()) ** 2).sum())
    shared = float(((o - o.mean()) * (p - p.mean())).sum())
    return {
        "n": float(n),
        "r2": 1 - sse / sst if sst > 0 else nan,
        "r2_pearson": shared**2 / (sst * spread) if sst > 0 and spread > 0 else nan,
        "rmse": float(np.sqrt(sse / n)),
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
    }


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
    Pineiro et al. 2008: observed belongs on the y axis. With predicted there the slope is biased, because the error
    lies in the observations. U_bias = n (o_mean - p_mean)^2 / SSPE, U_slope = (b - 1)^2 sum((p - p_mean)^2) / SSPE,
    U_error the rest.

    References
    ----------
    Pineiro et al. 2008, Ecological Modelling 216, doi 10.1016/j.ecolmodel.2008.05.006

    Examples
    --------
    >>> r = observed_against_predicted([1.2, 1.9, 3.4, 3.9, 5.6], [1, 2, 3, 4, 5])
    >>> round(r["slope"], 6), round(r["intercept"], 6), round(r["u_bias"], 7), round(r["u_error"], 7)
    (1.08, -0.04, 0.3448276, 0.5448276)
    """
    from scipy import stats

    o, p = _paired(observed, predicted, "observed_against_predicted")
    n = len(o)
    if n < 3:
        raise InputError(f"observed_against_predicted: {n} pairs, expected at least 3")
    p_mean, o_mean = float(p.mean()), float(o.mean())
    sxx = float(((p - p_mean) ** 2).sum())
    sspe = float(((p - o) ** 2).sum())
    nan = float("nan")
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


def _paired(
    observed: npt.ArrayLike, predicted: npt.ArrayLike, where: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    o, p = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if o.shape != p.shape or o.ndim != 1:
        raise InputError(f"{where}: observed has shape {o.shape}, predicted {p.shape}, expected one shape (n,)")
    bad = int((~(np.isfinite(o) & np.isfinite(p))).sum())
    if bad:
        raise InputError(f"{where}: {bad} of {len(o)} pairs are not finite; drop them and say how many")
    return o, p
