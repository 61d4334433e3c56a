"""Misfit of the mass balance to observed profiles, for a vector of the search space.

The search space: the free ones of the eight parameters (h0, rho_s, a, b, alpha, beta, gamma, D), or of the five
combinations that data can determine (h0, b, W = alpha/(a rho_s), V = beta/(a rho_s), G = gamma D/a), each on a linear
or a logarithmic scale. A sixth, a itself, is added where the balance has a constant rate: dust or a minimum
erosion.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .compile import jit
from .pedogenesis import Balance, balanced_rate, log_or_zero, thickness_of_rate

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IMPOSSIBLE = 1e10
"""Misfit of a vector that no parameters within the bounds can give, m."""

NO_BALANCE = 10.0
"""Residual of a profile for which the parameters allow no balance (E <= 0), m. The profile counts: were it
dropped, the search would delete data."""

ENERGY, WATER, WIND, CURVATURE, BEDROCK, OBSERVED, CENSORED = 0, 1, 2, 3, 4, 5, 6
"""Columns of the sites: kJ m-2 a-1; t ha-1 a-1; t ha-1 a-1; m-1; m or NaN; m; `ONE_SIDED` or `LIKELIHOOD` where the
profile is at least that deep, else 0."""

ONE_SIDED, LIKELIHOOD = 1.0, 2.0
"""Treatment of a censored profile: an error only where the simulated soil is thinner; or its probability."""

MIN_SD = 1e-6
"""Lower limit of the residual standard deviation, m: a perfect fit has no likelihood."""


class Problem(NamedTuple):
    """What a search vector stands for, and the balance that it is judged by.

    Parameters
    ----------
    base : (8,), (5,) or (6,) float64
        All parameters or combinations; its length defines the problem.
    free, logarithmic : (free,) int64, bool
        Positions in `base`, and whether the search vector holds their logarithm.
    low, high : (8,) float64
        Box of the eight parameters.
    log_ratio : float
        ln(rho_c / rho_s).
    balance : Balance
    """

    base: Doubles
    free: Ints
    logarithmic: npt.NDArray[np.bool_]
    low: Doubles
    high: Doubles
    log_ratio: float
    balance: Balance


@jit
def natural(x: Doubles, problem: Problem, out: Doubles) -> None:
    """Write parameters into `out`: the base, with the free ones from the search vector."""
    base, free, logarithmic = problem.base, problem.free, problem.logarithmic
    for j in range(base.size):
        out[j] = base[j]
    for k in range(free.size):
        out[free[k]] = math.exp(x[k]) if logarithmic[k] else x[k]


@jit
def feasible(five: Doubles, low: Doubles, high: Doubles) -> bool:
    """Whether the eight-parameter box contains parameters with these five (or, with a, six) combinations.

    With s = a rho_s: alpha = W s and beta = V s bound s, gamma D = G a bounds a, and rho_s = s/a bounds their ratio.
    """
    w, v, g = five[2], five[3], five[4]
    least_a = max(low[2], low[6] * low[7] / g)
    most_a = min(high[2], high[6] * high[7] / g)
    if five.size == 6:
        least_a, most_a = max(least_a, five[5]), min(most_a, five[5])
    least_s = max(max(low[4] / w, low[5] / v), least_a * low[1])
    most_s = min(min(high[4] / w, high[5] / v), most_a * high[1])
    slack = 1.0 + 1e-9
    return bool(least_a <= most_a * slack and least_s <= most_s * slack)


@jit
def balance_row(values: Doubles, log_ratio: float, row: Doubles) -> None:
    """Write h0, ln(r a), b and the three loss factors of eight parameters or the combinations into `row`."""
    row[0] = values[0]
    if values.size == 8:
        per_loss = 0.1 / values[1]
        row[1] = log_ratio + math.log(values[2])
        row[2] = values[3]
        row[3] = values[4] * per_loss
        row[4] = values[5] * per_loss
        row[5] = values[6] * values[7]
    else:  # five: everything divided by a
        a = values[5] if values.size == 6 else 1.0
        row[1] = log_ratio + math.log(a)
        row[2] = values[1]
        row[3] = 0.1 * values[2] * a
        row[4] = 0.1 * values[3] * a
        row[5] = values[4] * a


@jit
def balance_rates(row: Doubles, sites: Doubles, balance: Balance, rates: Doubles) -> None:
    """Write the rate that production has to balance at every site (n, 7), m a-1, and its logarithm into `rates` (2, n).

    Apart from the thickness, because a loop without a call of the logarithm keeps its numbers in registers.
    """
    for i in range(sites.shape[0]):
        lowering = row[3] * sites[i, WATER] + row[4] * sites[i, WIND] - balance.dust
        rates[0, i] = balanced_rate(lowering, row[5] * (sites[i, CURVATURE] * balance.curvature_scale), balance)
    for i in range(sites.shape[0]):
        rates[1, i] = log_or_zero(rates[0, i])


@jit
def simulate(row: Doubles, sites: Doubles, i: int, rates: Doubles, balance: Balance) -> tuple[float, bool]:
    """Thickness of site i, m, as in the map, and whether production balances erosion there; `rates` of the sites."""
    ln_r = row[1] + row[2] * sites[i, ENERGY]
    h, _, balanced = thickness_of_rate(row[0], ln_r, rates[0, i], rates[1, i], sites[i, BEDROCK], balance)
    return h, balanced


@jit
def simulate_sites(row: Doubles, sites: Doubles, balance: Balance) -> Doubles:
    """Thickness of every site (n, 7), m, as in the map."""
    out, rates = np.empty(sites.shape[0]), np.empty((2, sites.shape[0]))
    balance_rates(row, sites, balance, rates)
    for i in range(sites.shape[0]):
        out[i], _ = simulate(row, sites, i, rates, balance)
    return out


@jit
def log_normal_share(z: float) -> float:
    """ln Phi(z) of the standard normal distribution; by its asymptotic series below -30, before Phi underflows."""
    if z > 0.0:
        return math.log1p(-0.5 * math.erfc(z / math.sqrt(2.0)))
    if z > -30.0:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    inverse = 1.0 / (z * z)
    series = math.log1p(inverse * (-1.0 + inverse * (3.0 + inverse * (-15.0 + 105.0 * inverse))))
    return -0.5 * z * z - math.log(-z) - 0.5 * math.log(2.0 * math.pi) + series


@jit
def mills(z: float) -> float:
    """phi(z)/Phi(z), the derivative of ln Phi(z)."""
    return math.exp(-0.5 * z * z - 0.5 * math.log(2.0 * math.pi) - log_normal_share(z))


@jit
def tobit_precision(squares: float, observed: int, surplus: Doubles) -> float:
    """Reciprocal of the residual standard deviation of maximum likelihood, m-1; arguments as of `tobit_rmse`.

    Notes
    -----
    In t = 1/s the loss L is convex (Olsen 1978), so Newton's method in t within a bracket finds the one minimum.
    """
    t = math.sqrt(observed / squares)
    if surplus.size == 0:
        return t
    low, high = 0.0, math.inf
    for _ in range(200):
        slope = t * squares - observed / t
        bend = squares + observed / (t * t)
        for d in surplus:
            ratio = mills(t * d)
            slope -= d * ratio
            bend += d * d * ratio * (t * d + ratio)
        if slope < 0.0:
            low = t
        else:
            high = t
        step = t - slope / bend
        if not low < step < high:
            step = 0.5 * (low + high) if high < math.inf else 2.0 * t
        step = min(step, 1.0 / MIN_SD)
        moved = abs(step - t)
        t = step
        if moved <= 1e-13 * t:
            break
    return t


@jit
def tobit_rmse(squares: float, observed: int, surplus: Doubles) -> float:
    """Root mean square error that has the likelihood of profiles some of which are censored from below, m.

    Parameters
    ----------
    squares : float
        Sum of the squared residuals of the observed profiles, m2.
    observed : int
        Number of them, n; > 0.
    surplus : (c,) float64, m
        Simulated minus observed thickness of the censored profiles.

    Returns
    -------
    float
        exp(L/n - 1/2), where L is the minimum over the residual standard deviation s of
        n ln s + squares/(2 s^2) - sum ln Phi(surplus/s): minus the log-likelihood of Tobin's model without constants.
        Without censored profiles it is the root mean square error, and its power -n is always the likelihood. With
        many of them it is far above s, see `residual_sd`.

    References
    ----------
    Tobin, J. (1958), Econometrica 26, 24-36. doi:10.2307/1907382
    Olsen, R. J. (1978), Econometrica 46, 1211-1215. doi:10.2307/1911445
    """
    squares = max(squares, observed * MIN_SD * MIN_SD)
    t = tobit_precision(squares, observed, surplus)
    if surplus.size == 0:
        return 1.0 / t
    loss = 0.5 * t * t * squares - observed * math.log(t)
    for d in surplus:
        loss -= log_normal_share(t * d)
    return math.exp(min(loss / observed - 0.5, 700.0))


@jit
def surpluses(row: Doubles, sites: Doubles, rates: Doubles, balance: Balance, censored: int) -> Doubles:
    """Simulated minus observed thickness of the profiles censored as `LIKELIHOOD` (censored,), m."""
    out = np.empty(censored)
    k = 0
    for i in range(sites.shape[0]):
        if sites[i, CENSORED] == LIKELIHOOD and not math.isnan(sites[i, OBSERVED]):
            h, balanced = simulate(row, sites, i, rates, balance)
            out[k] = h - sites[i, OBSERVED] if balanced else -NO_BALANCE
            k += 1
    return out


@jit
def residual_sums(row: Doubles, sites: Doubles, rates: Doubles, balance: Balance) -> tuple[float, int, int]:
    """Sum of the squared errors that are counted, m2; numbers of profiles counted, and censored as `LIKELIHOOD`."""
    total = 0.0
    seen = censored = 0
    for i in range(sites.shape[0]):
        h, balanced = simulate(row, sites, i, rates, balance)
        if math.isnan(sites[i, OBSERVED]):
            if not balanced:
                total += NO_BALANCE * NO_BALANCE
            continue
        if sites[i, CENSORED] == LIKELIHOOD:
            censored += 1
            continue
        error = h - sites[i, OBSERVED] if balanced else NO_BALANCE
        seen += 1
        if sites[i, CENSORED] == ONE_SIDED and error > 0.0 and balanced:
            error = 0.0
        total += error * error
    return total, seen, censored


@jit
def misfit(x: Doubles, problem: Problem, sites: Doubles, values: Doubles, row: Doubles, rates: Doubles) -> float:
    """Root mean square error of a search vector, m (Eq. 10), or `tobit_rmse` with profiles censored in the likelihood.

    Parameters
    ----------
    x : (free,) float64
        Search vector.
    problem : Problem
    sites : (n, 7) float64
        See `ENERGY` to `CENSORED`. A profile censored as `ONE_SIDED` has an error only where the simulated soil is
        thinner, and is counted; one censored as `LIKELIHOOD` adds the probability that thickness exceeds its depth. A
        site without an observation (NaN) only needs a steady state: without one it adds an error; it is never counted.
    values, row, rates : as `problem.base`, (6,) and (2, n) float64
        Working space, overwritten.

    Returns
    -------
    float
        `IMPOSSIBLE` outside the box or where the error is not finite.
    """
    natural(x, problem, values)
    if values.size < 8 and not feasible(values, problem.low, problem.high):
        return IMPOSSIBLE
    balance = problem.balance
    balance_row(values, problem.log_ratio, row)
    balance_rates(row, sites, balance, rates)
    total, seen, censored = residual_sums(row, sites, rates, balance)
    if censored == 0:
        rmse = math.sqrt(total / seen)
    else:
        rmse = tobit_rmse(total, seen, surpluses(row, sites, rates, balance, censored))
    return rmse if rmse < IMPOSSIBLE else IMPOSSIBLE


@jit
def residual_sd(x: Doubles, problem: Problem, sites: Doubles, values: Doubles, row: Doubles, rates: Doubles) -> float:
    """Residual standard deviation of maximum likelihood of a search vector in the box, m; arguments as of `misfit`.

    Without profiles censored as `LIKELIHOOD` it is the misfit.
    """
    balance = problem.balance
    natural(x, problem, values)
    balance_row(values, problem.log_ratio, row)
    balance_rates(row, sites, balance, rates)
    total, seen, censored = residual_sums(row, sites, rates, balance)
    if censored == 0:
        return math.sqrt(total / seen)
    squares = max(total, seen * MIN_SD * MIN_SD)
    return 1.0 / tobit_precision(squares, seen, surpluses(row, sites, rates, balance, censored))
