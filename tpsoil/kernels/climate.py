"""Means over years, and the evaporative demand of twelve months from temperature and latitude.

Symbols: phi latitude (radians); J day of the year; Ra radiation at the top of the atmosphere (MJ/m2/d).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit

Array = npt.NDArray[Any]

SOLAR_CONSTANT = 0.0820
"""MJ/m2/min (FAO 56)."""
EVAPORATES_MM = 0.408
"""mm of water that 1 MJ/m2 evaporates (FAO 56)."""

MIDDAYS = np.array([15, 46, 74, 105, 135, 166, 196, 227, 258, 288, 319, 349], dtype=np.int64)
LENGTHS = np.array([31.0, 28.25, 31.0, 30.0, 31.0, 30.0, 31.0, 31.0, 30.0, 31.0, 30.0, 31.0])


@jit
def day_angle(latitude: float, day: float) -> tuple[float, float]:
    """Sunset hour angle and declination (radians), FAO 56 eq. 24 and 25; 0 or pi through polar night and day."""
    declination = 0.409 * math.sin(2.0 * math.pi * day / 365.0 - 1.39)
    cosine = -math.tan(latitude) * math.tan(declination)
    return math.acos(min(max(cosine, -1.0), 1.0)), declination


@jit
def extraterrestrial_radiation(latitude: float, day: float) -> float:
    """Ra, MJ/m2/d, FAO 56 eq. 21."""
    sunset, declination = day_angle(latitude, day)
    nearness = 1.0 + 0.033 * math.cos(2.0 * math.pi * day / 365.0)
    height = sunset * math.sin(latitude) * math.sin(declination)
    width = math.cos(latitude) * math.cos(declination) * math.sin(sunset)
    return 24.0 * 60.0 / math.pi * SOLAR_CONSTANT * nearness * (height + width)


@jit
def hargreaves_year(coldest: Array, warmest: Array, latitude: Array) -> Array:
    """Sum over months of 0.0023 0.408 Ra (Tmean + 17.8) sqrt(Tmax - Tmin), mm; (n, 12), (n, 12) degC, (n,) degrees."""
    out = np.empty(latitude.shape[0])
    for i in range(latitude.shape[0]):
        total = 0.0
        for m in range(12):
            span = warmest[i, m] - coldest[i, m]
            mean = 0.5 * (warmest[i, m] + coldest[i, m])
            if span < 0.0:
                total = math.nan
                continue
            water = EVAPORATES_MM * extraterrestrial_radiation(math.radians(latitude[i]), float(MIDDAYS[m]))
            rate = 0.0023 * water * (mean + 17.8) * math.sqrt(span)
            total += LENGTHS[m] * max(rate, 0.0) if not math.isnan(rate) else math.nan
        out[i] = total
    return out


@jit
def thornthwaite_year(temperature: Array, latitude: Array) -> Array:
    """Sum over months of 16 (N/12) (d/30) (10 T/I)^a, mm; none at or below 0 degC. (n, 12) degC, (n,).

    I = sum (T/5)^1.514, a = 6.75e-7 I^3 - 7.71e-5 I^2 + 1.792e-2 I + 0.49239, N hours of daylight, d days.
    Above 26.5 degC Thornthwaite's table is used as its fitted parabola, -415.85 + 32.24 T - 0.43 T^2 (Willmott 1985).
    """
    out = np.empty(latitude.shape[0])
    for i in range(latitude.shape[0]):
        heat = 0.0
        gap = False
        for m in range(12):
            t = temperature[i, m]
            if math.isnan(t):
                gap = True
            elif t > 0.0:
                heat += math.pow(t / 5.0, 1.514)
        if gap or math.isnan(latitude[i]):
            out[i] = math.nan
            continue
        a = 6.75e-7 * heat * heat * heat - 7.71e-5 * heat * heat + 1.792e-2 * heat + 0.49239
        total = 0.0
        for m in range(12):
            t = temperature[i, m]
            if t <= 0.0:
                continue
            sunset, _ = day_angle(math.radians(latitude[i]), float(MIDDAYS[m]))
            daylight = 24.0 / math.pi * sunset
            month = 16.0 * math.pow(10.0 * t / heat, a) if t < 26.5 else -415.85 + 32.24 * t - 0.43 * t * t
            total += month * daylight / 12.0 * LENGTHS[m] / 30.0
        out[i] = total
    return out


@jit
def weighted_sums(values: Array, weights: Array) -> Array:
    """Sum of values (n, k) times weights (k,), from the first to the last, so that no chunking changes a bit."""
    out = np.empty(values.shape[0])
    for i in range(values.shape[0]):
        total = 0.0
        for k in range(values.shape[1]):
            total += values[i, k] * weights[k]
        out[i] = total
    return out


@jit
def ratio_cells(above: Array, below: Array) -> Array:
    """above / below; NaN where below is 0."""
    out = np.empty(above.shape[0])
    for i in range(above.shape[0]):
        out[i] = above[i] / below[i] if below[i] != 0.0 else math.nan
    return out
