"""Balance of soil production and erosion, pixel by pixel.

Symbols: T mean annual temperature (degC), P annual precipitation (mm), Ew and Ed soil loss by water and wind
(t ha-1 a-1), k curvature (m-1, positive where convex), R soil production on bare bedrock (m a-1), E surface
lowering rate (m a-1), h thickness (m), h0 characteristic thickness (m). Everything is computed in float64 and in
logarithms: R overflows for b = 0.1 m2 a kJ-1 as soon as EEMT passes 7098 kJ m-2 a-1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .compile import jit

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]

STEADY, BARE, NO_STEADY_STATE, CAPPED, NODATA = 0, 1, 2, 3, 255
"""Codes of `solum_status`."""

CAP, STRICT, CLIP_GRAVITY = 0, 1, 2
"""Value of a cell without a steady state: the cap, NaN, or the balance without inflow by creep."""

LITERATURE_PRODUCTION, PHYSICAL_PRODUCTION = 1e-3, 1.0
"""m a-1: the upper end of measured production rates (1e-5..1e-3), and a rate above any weathering."""

COLUMNS = ("h0", "ln_ra", "b", "per_water", "per_wind", "per_curvature")
"""Columns of a parameter table: h0; ln(r a); b; alpha/(10 rho_s); beta/(10 rho_s); gamma D."""


@jit
def energy(temperature: float, precipitation: float) -> float:
    """Effective energy and mass transfer, kJ m-2 a-1 (Eq. 5); NaN outside -100..100 degC or for P < 0 mm."""
    if not (-100.0 <= temperature <= 100.0) or not (0.0 <= precipitation < math.inf):
        return math.nan
    warmth = (temperature - 21.5) / 10.1
    water = (precipitation - 4412.0) / 1704.0
    return 347134.0 * math.exp(-0.5 * (warmth * warmth + water * water))


@jit
def energy_field(temperature: Floats, precipitation: Floats) -> Floats:
    """`energy` for flat arrays of one length; the result has the dtype of `temperature`."""
    out = np.empty(temperature.size, temperature.dtype)
    for i in range(temperature.size):
        out[i] = energy(np.float64(temperature[i]), np.float64(precipitation[i]))
    return out


class Balance(NamedTuple):
    """Options of the balance as numbers, for every kernel that computes a steady thickness.

    Parameters
    ----------
    curvature_scale : float
        Factor that makes curvature convex-positive m-1.
    dust, least_erosion : float
        m a-1.
    greatest_thickness : float
        m, of a cell without a balance where `deposition` is `CAP`.
    deposition : int
        `CAP`, `STRICT` or `CLIP_GRAVITY`.
    cap_to_bedrock, keep_negative : bool
    """

    curvature_scale: float
    dust: float
    least_erosion: float
    greatest_thickness: float
    deposition: int
    cap_to_bedrock: bool
    keep_negative: bool


@jit
def balanced_rate(lowering: float, creep: float, balance: Balance) -> float:
    """Erosion that production has to balance, m a-1: without inflow by creep under `CLIP_GRAVITY`.

    Parameters
    ----------
    lowering, creep : float
        Erosion by water and wind less dust, and by creep, m a-1.
    balance : Balance

    Returns
    -------
    float
        No balance exists where it is not above `balance.least_erosion`.
    """
    rate = lowering + creep
    if balance.deposition == CLIP_GRAVITY and rate <= balance.least_erosion:
        return lowering
    return rate


@jit
def log_or_zero(rate: float) -> float:
    """Natural logarithm; 0 where there is none."""
    return math.log(rate) if rate > 0.0 else 0.0


@jit
def thickness_of_rate(
    h0: float, ln_r: float, rate: float, log_rate: float, depth: float, balance: Balance
) -> tuple[float, int, bool]:
    """Thickness at which production equals erosion.

    Parameters
    ----------
    h0 : float
        m.
    ln_r : float
        Logarithm of production on bare bedrock, m a-1.
    rate, log_rate : float
        `balanced_rate`, m a-1, and its `log_or_zero`.
    depth : float
        Depth to bedrock, m; NaN: no cap.
    balance : Balance

    Returns
    -------
    thickness : float
        m; NaN without a balance under `STRICT`.
    status : int
        `STEADY`, `BARE` or `CAPPED`: as if there were a balance.
    balanced : bool
        Whether production balances erosion here, or the thickness is prescribed by `deposition`.
    """
    code = STEADY
    balanced = rate > balance.least_erosion
    if balanced:
        h = h0 * (ln_r - log_rate)
        if h <= 0.0:
            code = BARE
            if not balance.keep_negative:
                h = 0.0
    elif balance.deposition == STRICT:
        h = math.nan
    else:
        h = balance.greatest_thickness
    if balance.cap_to_bedrock and h > depth:  # false where either is NaN
        h = depth
        if code == STEADY:
            code = CAPPED
    return h, code, balanced


@jit
def steady_thickness(
    h0: float, ln_r: float, lowering: float, creep: float, depth: float, balance: Balance
) -> tuple[float, int, bool]:
    """`thickness_of_rate` of erosion by water and wind less dust, and by creep, m a-1, with every status."""
    rate = balanced_rate(lowering, creep, balance)
    h, code, balanced = thickness_of_rate(h0, ln_r, rate, log_or_zero(rate), depth, balance)
    if lowering + creep <= balance.least_erosion:
        code = NO_STEADY_STATE
    return h, code, balanced


@jit
def dominant_process(water: float, wind: float, gravity: float) -> int:
    """Code of the greatest removal: 1 water, 2 wind, 3 gravity, 0 where none is above 0; of equal ones the first.

    Gravity below 0 deposits. Dust is no removal and does not count.
    """
    code, most = 0, 0.0
    if water > most:
        code, most = 1, water
    if wind > most:
        code, most = 2, wind
    if gravity > most:
        code = 3
    return code


@jit
def steady_state(
    temperature: Floats,
    precipitation: Floats,
    water: Floats,
    wind: Floats,
    curvature: Floats,
    bedrock: Floats,
    rows: npt.NDArray[np.int16],
    table: Doubles,
    balance: Balance,
) -> tuple[Floats, npt.NDArray[np.uint8], Floats, Floats, Floats, npt.NDArray[np.uint8], npt.NDArray[np.uint8], Floats]:
    """Steady-state thickness and derived quantities, for flat arrays of one length n.

    Parameters
    ----------
    temperature, precipitation, water, wind, curvature : (n,) float
        T, P, Ew, Ed, k. NaN or a value out of its domain gives NaN and status 255.
    bedrock : (n,) or (0,) float
        Depth to bedrock, m. NaN: no cap; negative or above 1000 m is out of domain.
    rows : (n,) or (0,) int16
        Row of `table` for each pixel, -1 where there is none. Empty: row 0 everywhere.
    table : (zones, 6) float64
        `COLUMNS`.
    balance : Balance

    Returns
    -------
    thickness, status, saprolite, erosion, production, plausibility, process, response : (n,)
        m, code, m, m a-1, m a-1, code, code, a; floats in the dtype of `temperature`. `plausibility` is 0 for
        production up to `LITERATURE_PRODUCTION`, 2 above `PHYSICAL_PRODUCTION`; production above the dtype's range
        is NaN. `process` is that of `dominant_process`.
    """
    n = temperature.size
    kind = temperature.dtype
    thickness = np.empty(n, kind)
    status = np.empty(n, np.uint8)
    saprolite = np.empty(n, kind)
    erosion = np.empty(n, kind)
    production = np.empty(n, kind)
    plausibility = np.empty(n, np.uint8)
    process = np.empty(n, np.uint8)
    response = np.empty(n, kind)
    has_bedrock = bedrock.size > 0
    has_rows = rows.size > 0
    for i in range(n):
        row = np.int64(rows[i]) if has_rows else np.int64(0)
        t, p = np.float64(temperature[i]), np.float64(precipitation[i])
        ew, ed = np.float64(water[i]), np.float64(wind[i])
        k = np.float64(curvature[i]) * balance.curvature_scale
        depth = np.float64(bedrock[i]) if has_bedrock else math.nan
        eemt = energy(t, p) if row >= 0 else math.nan
        valid = ew >= 0.0 and ed >= 0.0 and ew < math.inf and ed < math.inf and abs(k) < math.inf
        if math.isnan(eemt) or not valid or depth < 0.0 or depth > 1000.0:
            thickness[i] = saprolite[i] = erosion[i] = production[i] = response[i] = math.nan
            status[i] = plausibility[i] = process[i] = NODATA
            continue
        h0 = table[row, 0]
        ln_r = table[row, 1] + table[row, 2] * eemt
        lowering = table[row, 3] * ew + table[row, 4] * ed - balance.dust
        creep = table[row, 5] * k
        e = lowering + creep
        erosion[i] = e
        process[i] = dominant_process(table[row, 3] * ew, table[row, 4] * ed, creep)
        production[i] = math.exp(ln_r)
        if production[i] == math.inf:
            production[i] = math.nan
        plausibility[i] = (ln_r > math.log(LITERATURE_PRODUCTION)) + (ln_r > math.log(PHYSICAL_PRODUCTION))
        response[i] = h0 / e if e > 0.0 else math.nan
        h, code, _ = steady_thickness(h0, ln_r, lowering, creep, depth, balance)
        saprolite[i] = max(depth - max(h, 0.0), 0.0) if h == h and depth == depth else math.nan
        thickness[i] = h
        status[i] = code
    return thickness, status, saprolite, erosion, production, plausibility, process, response


@jit
def log_mean_decay(x: float) -> float:
    """ln((1 - exp(-x)) / x), the mean of exp(-x s) over s in 0..1; 0 at x = 0; no overflow for any finite x."""
    if x == 0.0:
        return 0.0
    if x > 0.0:
        return math.log(-math.expm1(-x)) - math.log(x)
    return -x + math.log(-math.expm1(x)) - math.log(-x)


@jit
def bare_after(thickness: float, production: float, lowering: float, h0: float) -> float:
    """Years until bedrock emerges; inf if never, NaN for values out of domain."""
    valid = thickness >= 0.0 and production >= 0.0 and h0 > 0.0 and abs(lowering) < math.inf
    if not valid or thickness == math.inf or production == math.inf:
        return math.nan
    if lowering <= production or lowering <= 0.0:
        return math.inf
    ratio = production / lowering
    deep = thickness / h0
    # ln[(e^(h/h0) - R/E) / (1 - R/E)], written so that e^(h/h0) cannot overflow
    return (h0 / lowering) * (deep + math.log1p(-ratio * math.exp(-deep)) - math.log1p(-ratio))


@jit
def thickness_after_log(thickness: float, log_production: float, lowering: float, h0: float, years: float) -> float:
    """Thickness after a time in which bedrock does not emerge, m; production may be above the range of numbers."""
    if years == 0.0:
        return thickness
    x = lowering * years / h0
    log_remaining = thickness / h0 - x
    log_produced = log_production + math.log(years / h0) + log_mean_decay(x)
    larger, smaller = max(log_produced, log_remaining), min(log_produced, log_remaining)
    return max(h0 * (larger + math.log1p(math.exp(smaller - larger))), 0.0)


@jit
def thickness_after(thickness: float, production: float, lowering: float, h0: float, years: float) -> float:
    """Thickness after a time with constant production and lowering, m; 0 once bedrock has emerged."""
    emergence = bare_after(thickness, production, lowering, h0)
    if math.isnan(emergence) or not (0.0 <= years < math.inf):
        return math.nan
    if years >= emergence:
        return 0.0
    if production == 0.0:
        return max(h0 * (thickness / h0 - lowering * years / h0), 0.0) if years > 0.0 else thickness
    return thickness_after_log(thickness, math.log(production), lowering, h0, years)


@jit
def thickness_after_field(thickness: Floats, production: Floats, lowering: Floats, h0: Floats, years: Floats) -> Floats:
    """`thickness_after` for flat arrays of one length; the result has the dtype of `thickness`."""
    out = np.empty(thickness.size, thickness.dtype)
    for i in range(thickness.size):
        out[i] = thickness_after(
            np.float64(thickness[i]),
            np.float64(production[i]),
            np.float64(lowering[i]),
            np.float64(h0[i]),
            np.float64(years[i]),
        )
    return out


@jit
def bare_after_field(thickness: Floats, production: Floats, lowering: Floats, h0: Floats) -> Floats:
    """`bare_after` for flat arrays of one length; the result has the dtype of `thickness`."""
    out = np.empty(thickness.size, thickness.dtype)
    for i in range(thickness.size):
        out[i] = bare_after(
            np.float64(thickness[i]), np.float64(production[i]), np.float64(lowering[i]), np.float64(h0[i])
        )
    return out
