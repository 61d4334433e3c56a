"""How far the mass balance is from observed profiles, for a vector of the search space.

The search space: the free ones of the eight parameters (h0, rho_s, a, b, alpha, beta, gamma, D), or of the five
combinations that data can determine (h0, b, W = alpha/(a rho_s), V = beta/(a rho_s), G = gamma D/a), each on a linear
or a logarithmic scale.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .compile import jit

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IMPOSSIBLE = 1e10
"""Misfit of a vector that no parameters within the bounds can give, m."""

NO_BALANCE = 10.0
"""Residual of a profile for which the parameters allow no steady state (E <= 0), m. The profile counts: were it
dropped, the search would delete data."""

ENERGY, WATER, WIND, CURVATURE, BEDROCK, OBSERVED, CENSORED = 0, 1, 2, 3, 4, 5, 6
"""Columns of the sites: kJ m-2 a-1; t ha-1 a-1; t ha-1 a-1; m-1; m or NaN; m; 1 where the profile is at least that
deep."""


@jit
def natural(x: Doubles, base: Doubles, free: Ints, logarithmic: npt.NDArray[np.bool_], out: Doubles) -> None:
    """Write parameters into `out`: `base`, with the free ones taken from the search vector."""
    for j in range(base.size):
        out[j] = base[j]
    for k in range(free.size):
        out[free[k]] = math.exp(x[k]) if logarithmic[k] else x[k]


@jit
def feasible(five: Doubles, low: Doubles, high: Doubles) -> bool:
    """Whether the eight-parameter box holds parameters with these five combinations.

    With s = a rho_s: alpha = W s and beta = V s bound s, gamma D = G a bounds a, and rho_s = s/a bounds their ratio.
    """
    w, v, g = five[2], five[3], five[4]
    least_a = max(low[2], low[6] * low[7] / g)
    most_a = min(high[2], high[6] * high[7] / g)
    least_s = max(max(low[4] / w, low[5] / v), least_a * low[1])
    most_s = min(min(high[4] / w, high[5] / v), most_a * high[1])
    slack = 1.0 + 1e-9
    return bool(least_a <= most_a * slack and least_s <= most_s * slack)


@jit
def balance_row(values: Doubles, log_ratio: float, row: Doubles) -> None:
    """Write h0, ln(r a), b and the three loss factors of eight parameters or five combinations into `row`."""
    row[0] = values[0]
    if values.size == 8:
        per_loss = 0.1 / values[1]
        row[1] = log_ratio + math.log(values[2])
        row[2] = values[3]
        row[3] = values[4] * per_loss
        row[4] = values[5] * per_loss
        row[5] = values[6] * values[7]
    else:  # everything divided by a
        row[1] = log_ratio
        row[2] = values[1]
        row[3] = 0.1 * values[2]
        row[4] = 0.1 * values[3]
        row[5] = values[4]


@jit
def simulate(row: Doubles, energy: float, water: float, wind: float, curvature: float, bedrock: float) -> float:
    """Thickness of one site, m: 0 where bare, at most `bedrock`; NaN without a steady state."""
    lowering = row[3] * water + row[4] * wind + row[5] * curvature
    if not lowering > 0.0:
        return math.nan
    h = max(row[0] * (row[1] + row[2] * energy - math.log(lowering)), 0.0)
    return bedrock if h > bedrock else h


@jit
def simulate_sites(row: Doubles, sites: Doubles) -> Doubles:
    """`simulate` for every site (n, 7)."""
    out = np.empty(sites.shape[0])
    for i in range(sites.shape[0]):
        out[i] = simulate(
            row, sites[i, ENERGY], sites[i, WATER], sites[i, WIND], sites[i, CURVATURE], sites[i, BEDROCK]
        )
    return out


@jit
def misfit(
    x: Doubles,
    base: Doubles,
    free: Ints,
    logarithmic: npt.NDArray[np.bool_],
    low: Doubles,
    high: Doubles,
    log_ratio: float,
    sites: Doubles,
    values: Doubles,
    row: Doubles,
) -> float:
    """Root mean square error of a search vector, m (Eq. 10).

    Parameters
    ----------
    x : (free,) float64
        Search vector.
    base : (8,) or (5,) float64
        All parameters or combinations; its length says which problem.
    free, logarithmic : (free,)
        Positions in `base`, and whether the search vector holds their logarithm.
    low, high : (8,) float64
        Box of the eight parameters.
    log_ratio : float
        ln(rho_c / rho_s).
    sites : (n, 7) float64
        See `ENERGY` to `CENSORED`. A censored profile errs only where the simulated soil is thinner. A site without
        an observation (NaN) only has to have a steady state: it adds an error where it has none, and never counts.
    values, row : (8,) or (5,), and (6,) float64
        Working space, overwritten.

    Returns
    -------
    float
        `IMPOSSIBLE` outside the box or where the error is not finite.
    """
    natural(x, base, free, logarithmic, values)
    if values.size == 5 and not feasible(values, low, high):
        return IMPOSSIBLE
    balance_row(values, log_ratio, row)
    total = 0.0
    seen = 0
    for i in range(sites.shape[0]):
        if math.isnan(sites[i, OBSERVED]):
            if not row[3] * sites[i, 1] + row[4] * sites[i, 2] + row[5] * sites[i, 3] > 0.0:
                total += NO_BALANCE * NO_BALANCE
            continue
        seen += 1
        h = simulate(row, sites[i, 0], sites[i, 1], sites[i, 2], sites[i, 3], sites[i, 4])
        error = NO_BALANCE if math.isnan(h) else h - sites[i, 5]
        if sites[i, 6] > 0.0 and error > 0.0 and not math.isnan(h):
            error = 0.0
        total += error * error
    rmse = math.sqrt(total / seen)
    return rmse if rmse < IMPOSSIBLE else IMPOSSIBLE
