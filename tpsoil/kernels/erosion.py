"""Soil loss by water (RUSLE) and by wind (RWEQ): factors and balances of single cells, and the loops over flat arrays.

Every function `x_cells` takes flat float64 arrays of one length, and applies the scalar `x` where there is one. NaN is
propagated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]

REGULAR, FALLING = 0, 1
INSIDE, OUTSIDE_FIT, CLIPPED = 0, 1, 2


# --- RUSLE


@jit
def erodibility_epic(sand: float, silt: float, clay: float, carbon: float) -> float:
    """K of EPIC in US units, Williams; texture and organic carbon in %. NaN where there is neither clay nor silt."""
    fine = clay + silt
    if not fine > 0.0:
        return math.nan
    coarse = 1.0 - sand / 100.0
    by_sand = 0.2 + 0.3 * math.exp(-0.0256 * sand * (1.0 - silt / 100.0))
    by_silt = math.pow(silt / fine, 0.3)
    by_carbon = 1.0 - 0.25 * carbon / (carbon + math.exp(3.72 - 2.95 * carbon))
    by_very_sandy = 1.0 - 0.7 * coarse / (coarse + math.exp(-5.51 + 22.9 * coarse))
    return by_sand * by_silt * by_carbon * by_very_sandy


@jit
def cover_van_der_knijff(ndvi: float, alpha: float, beta: float) -> float:
    """C = exp(-alpha NDVI / (beta - NDVI)); 1 below NDVI 0, 0 from NDVI beta on."""
    if ndvi < 0.0:
        return 1.0
    if ndvi >= beta:
        return 0.0
    return math.exp(-alpha * ndvi / (beta - ndvi))


@jit
def cover_cai(percent: float) -> float:
    """C = 0.6508 - 0.3436 log10 f, f vegetation cover in %; 1 up to 0.0963 %, 0 from 78.3 % on.

    The published limit is rounded: the line reaches 1 at 0.09632 %.
    """
    if percent <= 0.0963:
        return 1.0
    if percent >= 78.3:
        return 0.0
    factor = 0.6508 - 0.3436 * math.log10(percent)
    return 1.0 if factor > 1.0 else factor  # not min(), which would turn NaN into 1


@jit
def erosivity_of_month(p: float, annual: float, constant: float) -> float:
    """Wischmeier's term 1.735 10^(1.5 log10(p^2 / P) - c) of a month with p mm in a year with P mm; 0 without rain."""
    if math.isnan(p):
        return math.nan
    if p <= 0.0:
        return 0.0
    return 1.735 * math.pow(10.0, 1.5 * math.log10(p * p / annual) - constant)


@jit
def soil_loss_cells(r: Array, k: Array, ls: Array, c: Array, p: Array) -> Array:
    """A = R K LS C P, t/ha/a with SI factors."""
    out = np.empty(r.shape[0])
    for i in range(r.shape[0]):
        out[i] = r[i] * k[i] * ls[i] * c[i] * p[i]
    return out


@jit
def erodibility_cells(sand: Array, silt: Array, clay: Array, carbon: Array, factor: float) -> Array:
    out = np.empty(sand.shape[0])
    for i in range(sand.shape[0]):
        out[i] = factor * erodibility_epic(sand[i], silt[i], clay[i], carbon[i])
    return out


@jit
def stone_cells(erodibility: Array, cover: Array) -> Array:
    """K exp(-0.04 (cover - 10)) above 10 % of stone cover, after Poesen et al. 1994; NaN where either is."""
    out = np.empty(erodibility.shape[0])
    for i in range(erodibility.shape[0]):
        share = 0.0 * cover[i] if cover[i] <= 10.0 else cover[i] - 10.0
        out[i] = erodibility[i] * math.exp(-0.04 * share)
    return out


@jit
def cover_ndvi_cells(ndvi: Array, alpha: float, beta: float) -> Array:
    out = np.empty(ndvi.shape[0])
    for i in range(ndvi.shape[0]):
        out[i] = cover_van_der_knijff(ndvi[i], alpha, beta)
    return out


@jit
def cover_percent_cells(percent: Array) -> Array:
    out = np.empty(percent.shape[0])
    for i in range(percent.shape[0]):
        out[i] = cover_cai(percent[i])
    return out


@jit
def vegetation_cover_cells(ndvi: Array, bare_ndvi: float, full_ndvi: float) -> Array:
    """Cover in %, 0 at `bare_ndvi` and 100 at `full_ndvi`."""
    out = np.empty(ndvi.shape[0])
    for i in range(ndvi.shape[0]):
        share = (ndvi[i] - bare_ndvi) / (full_ndvi - bare_ndvi)
        out[i] = math.nan if math.isnan(share) else 100.0 * min(max(share, 0.0), 1.0)
    return out


@jit
def power_cells(x: Array, factor: float, exponent: float) -> Array:
    """factor x^exponent, x >= 0."""
    out = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        out[i] = factor * math.pow(x[i], exponent)
    return out


@jit
def erosivity_monthly(rain: Array, constant: float, factor: float) -> Array:
    """Sum of Wischmeier's terms over twelve months; rain (n, 12), mm."""
    out = np.empty(rain.shape[0])
    for i in range(rain.shape[0]):
        annual = 0.0
        for m in range(rain.shape[1]):
            annual += rain[i, m]
        total = 0.0
        for m in range(rain.shape[1]):
            total += erosivity_of_month(rain[i, m], annual, constant)
        out[i] = factor * total if math.isfinite(annual) else math.nan
    return out


@jit
def fournier_index(rain: Array) -> Array:
    """Modified Fournier index, sum of p^2 over P; rain (n, 12), mm. 0 without rain."""
    out = np.empty(rain.shape[0])
    for i in range(rain.shape[0]):
        annual = 0.0
        squares = 0.0
        for m in range(rain.shape[1]):
            annual += rain[i, m]
            squares += rain[i, m] * rain[i, m]
        out[i] = 0.0 if annual == 0.0 else squares / annual
    return out


@jit
def erosivity_daily(rain: Array, years: float) -> Array:
    """Half-month model, Zhang 2002: sum over days of at least 12 mm of alpha D^beta, a year; rain (n, days), mm.

    beta = 0.8363 + 18.144 / Pd12 + 24.455 / Py12, alpha = 21.586 beta^-7.1891, Pd12 the mean of those days, Py12 their
    mean sum a year. The half-months only group the sum; alpha and beta are constant per cell.
    """
    out = np.empty(rain.shape[0])
    for i in range(rain.shape[0]):
        total = 0.0
        days = 0
        gap = False
        for d in range(rain.shape[1]):
            if math.isnan(rain[i, d]):
                gap = True
            elif rain[i, d] >= 12.0:
                total += rain[i, d]
                days += 1
        if gap:
            out[i] = math.nan
            continue
        if days == 0:
            out[i] = 0.0
            continue
        beta = 0.8363 + 18.144 / (total / days) + 24.455 / (total / years)
        alpha = 21.586 * math.pow(beta, -7.1891)
        loss = 0.0
        for d in range(rain.shape[1]):
            if rain[i, d] >= 12.0:
                loss += alpha * math.pow(rain[i, d], beta)
        out[i] = loss / years
    return out


# --- RWEQ


@jit
def air_density(height_km: float, temperature_k: float) -> float:
    """348 (1.013 - 0.1183 EL + 0.0048 EL^2) / T, kg/m3."""
    return 348.0 * (1.013 - 0.1183 * height_km + 0.0048 * height_km * height_km) / temperature_k


@jit
def wind_work(speed: Array, threshold: float, height_factor: float, days: float) -> Array:
    """Wf = Nd/N sum u (u - ut)^2 over the N observations of Nd days, u at 2 m above ut; speed (n, N), m/s; m3/s3."""
    out = np.empty(speed.shape[0])
    for i in range(speed.shape[0]):
        total = 0.0
        for k in range(speed.shape[1]):
            u = speed[i, k] * height_factor
            if math.isnan(u):
                total = math.nan
            elif u > threshold:
                total += u * (u - threshold) * (u - threshold)
        out[i] = days * total / speed.shape[1]
    return out


@jit
def weather_cells(
    wind: Array, height: Array, temperature: Array, wet: Array, snow_free: Array, gravity: float
) -> Array:
    """WF = Wf (rho / g) SW SD, nominally kg/m; height in m, temperature in degC."""
    out = np.empty(wind.shape[0])
    for i in range(wind.shape[0]):
        density = air_density(height[i] / 1000.0, temperature[i] + 273.15)
        out[i] = wind[i] * density / gravity * wet[i] * snow_free[i]
    return out


@jit
def dryness_cells(potential: Array, water: Array, rain_days: Array, days: float) -> Array:
    """SW = (ETp - (R + I) Rd / Nd) / ETp, within 0..1; 0 without potential evapotranspiration."""
    out = np.empty(potential.shape[0])
    for i in range(potential.shape[0]):
        if potential[i] == 0.0:
            out[i] = 0.0 if not math.isnan(water[i] + rain_days[i]) else math.nan
            continue
        share = (potential[i] - water[i] * rain_days[i] / days) / potential[i]
        if math.isnan(share):
            out[i] = math.nan
        else:
            out[i] = min(max(share, 0.0), 1.0)
    return out


@jit
def erodible_fraction(sand: float, silt: float, clay: float, organic: float, carbonate: float) -> float:
    """EF = (29.09 + 0.31 Sa + 0.17 Si + 0.33 Sa/Cl - 2.59 OM - 0.95 CaCO3) / 100, contents in %; not limited."""
    return (29.09 + 0.31 * sand + 0.17 * silt + 0.33 * sand / clay - 2.59 * organic - 0.95 * carbonate) / 100.0


@jit
def erodible_cells(
    sand: Array, silt: Array, clay: Array, organic: Array, carbonate: Array, lows: Array, highs: Array
) -> tuple[Array, Array]:
    """EF within 0..1 and why: `INSIDE`, `OUTSIDE_FIT` (a content beyond lows..highs), `CLIPPED`; 255 missing."""
    out = np.empty(sand.shape[0])
    why = np.empty(sand.shape[0], np.uint8)
    for i in range(sand.shape[0]):
        if clay[i] == 0.0:
            value = math.nan if math.isnan(sand[i] + silt[i] + organic[i] + carbonate[i]) else math.inf
        else:
            value = erodible_fraction(sand[i], silt[i], clay[i], organic[i], carbonate[i])
        if math.isnan(value):
            out[i] = math.nan
            why[i] = 255
            continue
        code = INSIDE
        if (
            sand[i] < lows[0] or sand[i] > highs[0] or silt[i] < lows[1] or silt[i] > highs[1]
            or clay[i] < lows[2] or clay[i] > highs[2] or organic[i] < lows[3] or organic[i] > highs[3]
            or carbonate[i] < lows[4] or carbonate[i] > highs[4]
        ):  # fmt: skip
            code = OUTSIDE_FIT
        if value < 0.0 or value > 1.0:
            code = CLIPPED
        out[i] = min(max(value, 0.0), 1.0)
        why[i] = code
    return out, why


@jit
def crust_cells(clay: Array, organic: Array) -> Array:
    """SCF = 1 / (1 + 0.0066 Cl^2 + 0.021 OM^2)."""
    return 1.0 / (1.0 + 0.0066 * clay * clay + 0.021 * organic * organic)


@jit
def roughness_factor(ridge: float, random: float, random_weight: float) -> float:
    """K' = exp(1.86 Kr - 2.41 Kr^0.934 - w Crr); Kr, Crr in cm."""
    return math.exp(1.86 * ridge - 2.41 * math.pow(ridge, 0.934) - random_weight * random)


@jit
def roughness_cells(ridge: Array, random: Array, random_weight: float) -> Array:
    out = np.empty(ridge.shape[0])
    for i in range(ridge.shape[0]):
        out[i] = roughness_factor(ridge[i], random[i], random_weight)
    return out


@jit
def vegetation_cells(flat: Array, standing: Array, canopy: Array) -> Array:
    """COG = exp(-0.0438 SC) exp(-0.0344 SA^0.6413) exp(-5.614 cc^0.7366): SC %, SA cm2 on a m2, cc a share."""
    out = np.empty(flat.shape[0])
    for i in range(flat.shape[0]):
        out[i] = (
            math.exp(-0.0438 * flat[i])
            * math.exp(-0.0344 * math.pow(standing[i], 0.6413))
            * math.exp(-5.614 * math.pow(canopy[i], 0.7366))
        )
    return out


@jit
def transport_capacity(x: float) -> float:
    """Qmax = 109.8 X, kg/m."""
    return 109.8 * x


@jit
def field_length(x: float) -> float:
    """s = 150.71 X^-0.3711, m: where 63 % of Qmax is carried."""
    return 150.71 * math.pow(x, -0.3711)


@jit
def wind_loss(x: float, distance: float) -> float:
    """SL = (2 z / s^2) Qmax exp(-(z/s)^2), kg/m2; 0 for X = 0."""
    if x == 0.0:
        return 0.0
    s = field_length(x)
    ratio = distance / s
    return 2.0 * distance / (s * s) * transport_capacity(x) * math.exp(-ratio * ratio)


@jit
def wind_loss_cells(
    weather: Array, erodible: Array, crust: Array, rough: Array, cover: Array, distance: float, turning: float
) -> tuple[Array, Array]:
    """Soil loss in t/ha, and `FALLING` where X is beyond `turning` and more wind gives less loss; 255 missing."""
    out = np.empty(weather.shape[0])
    why = np.empty(weather.shape[0], np.uint8)
    for i in range(weather.shape[0]):
        x = weather[i] * erodible[i] * crust[i] * rough[i] * cover[i]
        out[i] = 10.0 * wind_loss(x, distance)
        if math.isnan(x):
            why[i] = 255
        else:
            why[i] = FALLING if x > turning else REGULAR
    return out, why
