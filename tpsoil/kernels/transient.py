"""Solum thickness through a changing climate: the closed form, step by step."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .compile import jit
from .pedogenesis import Balance, energy, steady_thickness, thickness_after, thickness_after_log

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IN_EQUILIBRIUM, THINNER, THICKER, WITHOUT_STEADY_STATE, NODATA = 0, 1, 2, 3, 255

WARMER, WETTER, WATER_FACTOR, WIND_FACTOR = 0, 1, 2, 3
"""Columns of the changes: K, factor, factor, factor."""


@jit
def rates_of(row: Doubles, cell: Doubles, change: Doubles, balance: Balance) -> tuple[float, float, float]:
    """Logarithm of production on bare bedrock, and surface lowering by water and wind (less dust) and by creep, m a-1.

    Parameters
    ----------
    row : (6,) float64
        h0, ln(r a), b and the three loss factors.
    cell : (5,) float64
        Temperature, precipitation, water erosion, wind erosion, curvature.
    change : (4,) float64
        In the order of `WARMER` to `WIND_FACTOR`.
    balance : Balance
    """
    eemt = energy(cell[0] + change[WARMER], cell[1] * change[WETTER])
    lowering = row[3] * cell[2] * change[WATER_FACTOR] + row[4] * cell[3] * change[WIND_FACTOR] - balance.dust
    return row[1] + row[2] * eemt, lowering, row[5] * cell[4] * balance.curvature_scale


@jit
def layers_at(year: float, anchors: Doubles, layers: Doubles, i: int, cell: Doubles) -> None:
    """Layers of one cell in one year: linear between the years of the stack, constant outside them."""
    count = anchors.size
    k = 0
    while k < count - 2 and anchors[k + 1] < year:
        k += 1
    share = 0.0
    if count > 1:
        share = min(1.0, max(0.0, (year - anchors[k]) / (anchors[k + 1] - anchors[k])))
    after = min(k + 1, count - 1)
    for j in range(4):
        cell[j] = layers[j, k, i] + share * (layers[j, after, i] - layers[j, k, i])


@jit
def thickness_through(
    anchors: Doubles,
    layers: Doubles,
    curvature: Doubles,
    bedrock: Doubles,
    rows: npt.NDArray[np.int16],
    table: Doubles,
    middles: Doubles,
    lengths: Doubles,
    changes: Doubles,
    stops: Ints,
    stop_years: Doubles,
    stop_changes: Doubles,
    start: float,
    tolerance: float,
    balance: Balance,
) -> tuple[Doubles, npt.NDArray[np.uint8]]:
    """Thickness and its distance from the steady state in named years.

    Parameters
    ----------
    anchors : (k,) float64
        Years of the stack of layers, ascending.
    layers : (4, k, n) float64
        Temperature, precipitation, water and wind erosion of each of these years.
    curvature, bedrock : (n,) float64
        Bedrock is NaN where there is no limit.
    rows : (n,) or (0,) int16
        Zone's position in `table`, -1 for none. Empty: 0 everywhere.
    table : (zones, 6) float64
    middles, lengths : (steps,) float64
        Year in the middle of each step, and its length, a.
    changes : (steps, 4) float64
    stops : (years,) int64
        Number of steps after which each named year is reached, ascending.
    stop_years, stop_changes : (years + 1,), (years + 1, 4) float64
        The first is that of the start.
    start : float
        Thickness at the start, m; NaN: the steady state of the first year.
    tolerance : float
        Relative distance from the steady state that counts as equilibrium; 1 cm at least.
    balance : Balance

    Returns
    -------
    thickness : (years, n) float64
        m; NaN for nodata.
    equilibrium : (years, n) uint8
        `IN_EQUILIBRIUM` to `NODATA`.
    """
    n, years = curvature.size, stops.size
    out = np.empty((years, n))
    flags = np.empty((years, n), np.uint8)
    cell = np.empty(5)
    for i in range(n):
        row = np.int64(rows[i]) if rows.size > 0 else np.int64(0)
        depth = bedrock[i] if balance.cap_to_bedrock else math.nan
        cell[4] = curvature[i]
        layers_at(stop_years[0], anchors, layers, i, cell)
        valid = row >= 0 and cell[2] >= 0.0 and cell[3] >= 0.0 and cell[2] < math.inf and cell[3] < math.inf
        valid = valid and abs(cell[4]) < math.inf and not (depth < 0.0 or depth > 1000.0)
        valid = valid and not math.isnan(energy(cell[0], cell[1]))
        h = math.nan
        if valid:
            ln_r, lowering, creep = rates_of(table[row], cell, stop_changes[0], balance)
            h, _, _ = steady_thickness(table[row, 0], ln_r, lowering, creep, depth, balance)
            if not math.isnan(start):
                h = min(start, depth) if depth == depth else start
        done = 0
        for k in range(years):
            while done < stops[k] and not math.isnan(h):
                layers_at(middles[done], anchors, layers, i, cell)
                ln_r, lowering, creep = rates_of(table[row], cell, changes[done], balance)
                production, rate = math.exp(ln_r), lowering + creep
                if production < math.inf:
                    h = thickness_after(max(h, 0.0), production, rate, table[row, 0], lengths[done])
                else:
                    h = thickness_after_log(max(h, 0.0), ln_r, rate, table[row, 0], lengths[done])
                if h > depth:
                    h = depth
                done += 1
            out[k, i] = h
            if math.isnan(h):
                flags[k, i] = NODATA
                continue
            layers_at(stop_years[k + 1], anchors, layers, i, cell)
            ln_r, lowering, creep = rates_of(table[row], cell, stop_changes[k + 1], balance)
            steady, _, _ = steady_thickness(table[row, 0], ln_r, lowering, creep, depth, balance)
            if lowering + creep <= balance.least_erosion or math.isnan(steady):
                flags[k, i] = WITHOUT_STEADY_STATE
            elif abs(h - steady) <= max(tolerance * steady, 0.01):
                flags[k, i] = IN_EQUILIBRIUM
            else:
                flags[k, i] = THINNER if h < steady else THICKER
    return out, flags
