"""Thickness under uncertain forcing: smooth random fields on a lattice, and quantiles over draws of parameters and
forcing, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .compile import jit
from .ensemble import MIN_BALANCED, quantile_of_sorted
from .pedogenesis import Balance, energy, steady_thickness

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

NORMAL_FACTOR, LOGNORMAL_FACTOR, UNIFORM_FACTOR, NORMAL_SUM, UNIFORM_SUM = 0, 1, 2, 3, 4
"""How a standard normal number changes a layer: times 1 + s z, exp(s z), 1 + s u; plus s z, s u; u = 2 Phi(z) - 1."""

TEMPERATURE, PRECIPITATION, WATER, WIND, CURVATURE, BEDROCK = 0, 1, 2, 3, 4, 5
"""Positions of the layers of a cell."""


@jit
def perturbed(value: float, z: float, kind: int, spread: float, layer: int) -> float:
    """One layer of one cell under a standard normal number; factors and all layers but temperature and curvature are
    limited to 0 and more."""
    share = math.erf(z / math.sqrt(2.0)) if kind in (UNIFORM_FACTOR, UNIFORM_SUM) else z
    if kind == LOGNORMAL_FACTOR:
        return value * math.exp(spread * z)
    if kind in (NORMAL_FACTOR, UNIFORM_FACTOR):
        return value * max(0.0, 1.0 + spread * share)
    result = value + spread * share
    return result if layer in (TEMPERATURE, CURVATURE) else max(result, 0.0)


@jit
def spline_weights(share: float, weights: Doubles) -> None:
    """Cubic B-spline weights of four nodes at a share of the way between the second and the third."""
    rest = 1.0 - share
    weights[0] = rest * rest * rest / 6.0
    weights[1] = (4.0 - 6.0 * share * share + 3.0 * share * share * share) / 6.0
    weights[2] = (4.0 - 6.0 * rest * rest + 3.0 * rest * rest * rest) / 6.0
    weights[3] = share * share * share / 6.0


@jit
def field_at(y: float, x: float, spacing: float, nodes: Doubles, lattice: Ints, weights: Doubles, out: Doubles) -> None:
    """Standard normal fields at one place.

    Parameters
    ----------
    y, x : float
        m.
    spacing : float
        Of the lattice, m; 0 for numbers that are constant in space.
    nodes : (n, draws) float64
        Independent standard normal numbers of the nodes of all lattices, each row by row.
    lattice : (4,) int64
        Position of this lattice's first node in `nodes`, its number of columns, row and column of the first node.
    weights : (8,) float64
        Working space.
    out : (draws,) float64
        Written in place.

    Notes
    -----
    ``z = sum w_j w_i n_ji / sqrt(sum w_j^2 sum w_i^2)``: variance 1 everywhere; the correlation is 0.05 at a distance
    of two spacings and 0 from four on. A value depends on the place alone, so windows agree bit for bit.
    """
    draws = nodes.shape[1]
    if spacing == 0.0:
        for d in range(draws):
            out[d] = nodes[lattice[0], d]
        return
    ty, tx = y / spacing, x / spacing
    j, i = math.floor(ty), math.floor(tx)
    spline_weights(ty - j, weights[:4])
    spline_weights(tx - i, weights[4:])
    squares_y = squares_x = 0.0
    for k in range(4):
        squares_y += weights[k] * weights[k]
        squares_x += weights[4 + k] * weights[4 + k]
    scale = 1.0 / math.sqrt(squares_y * squares_x)
    for d in range(draws):
        out[d] = 0.0
    for k in range(4):
        for m in range(4):
            w = weights[k] * weights[4 + m] * scale
            at = lattice[0] + (j - 1 + k - lattice[2]) * lattice[1] + i - 1 + m - lattice[3]
            for d in range(draws):
                out[d] += w * nodes[at, d]


@jit
def fields_at(y: Doubles, x: Doubles, spacing: float, nodes: Doubles, lattice: Ints) -> Doubles:
    """Standard normal fields (n, draws) at places."""
    out = np.empty((y.size, nodes.shape[1]))
    weights = np.empty(8)
    for k in range(y.size):
        field_at(y[k], x[k], spacing, nodes, lattice, weights, out[k])
    return out


@jit
def thickness_of(row: Doubles, cell: Doubles, balance: Balance) -> tuple[float, bool]:
    """Thickness of one cell for one set of parameters, m, and whether there is a balance.

    Parameters
    ----------
    row : (6,) float64
        h0, ln(r a), b and the three loss factors.
    cell : (6,) float64
        Layers in the order of `TEMPERATURE` to `BEDROCK`.
    balance : Balance
    """
    lowering = row[3] * cell[WATER] + row[4] * cell[WIND] - balance.dust
    creep = row[5] * cell[CURVATURE] * balance.curvature_scale
    ln_r = row[1] + row[2] * energy(cell[TEMPERATURE], cell[PRECIPITATION])
    h, _, balanced = steady_thickness(row[0], ln_r, lowering, creep, cell[BEDROCK], balance)
    return h, balanced


@jit
def cell_thickness(
    cell: Doubles, rows: Doubles, z: Doubles, targets: Ints, kinds: Ints, spreads: Doubles, balance: Balance
) -> Doubles:
    """Thickness of one cell (draws,), m, for parameters (draws, 6) and standard normal numbers (draws, sources)."""
    out = np.empty(rows.shape[0])
    changed = np.empty(6)
    for d in range(rows.shape[0]):
        changed[:] = cell
        for s in range(targets.size):
            at = targets[s]
            changed[at] = perturbed(cell[at], z[d, s], kinds[s], spreads[s], at)
        out[d], _ = thickness_of(rows[d], changed, balance)
    return out


@jit
def forced_quantiles(
    layers: Doubles,
    places: Doubles,
    rows: npt.NDArray[np.int16],
    table: Doubles,
    noise: Doubles,
    draw: Ints,
    targets: Ints,
    kinds: Ints,
    spreads: Doubles,
    spacings: Doubles,
    nodes: Doubles,
    lattices: Ints,
    probabilities: Doubles,
    balance: Balance,
) -> tuple[Doubles, Doubles]:
    """Quantiles of thickness over members of parameters, each under its own draw of the forcing.

    Parameters
    ----------
    layers : (6, n) float64
        In the order of `TEMPERATURE` to `BEDROCK`; bedrock is NaN where there is no limit.
    places : (2, n) float64
        y and x, m.
    rows : (n,) or (0,) int16
        Zone's position in `table`, -1 for none. Empty: 0 everywhere.
    table : (zones, members, 6) float64
    noise : (zones, members) float64
        m.
    draw : (members,) int64
        Draw of the forcing of each member.
    targets, kinds, spreads, spacings : (sources,)
        Layer of each source, how it changes it, its spread, and the spacing of its lattice (0: constant).
    nodes : (n, draws) float64
    lattices : (sources, 4) int64
        As in `field_at`.
    probabilities : (q,) float64
    balance : Balance

    Returns
    -------
    quantiles : (q, n) float64
        m; NaN for nodata and where fewer than `MIN_BALANCED` of the members have a balance.
    unbalanced : (n,) float64
    """
    n, members, sources = layers.shape[1], table.shape[1], targets.size
    out = np.empty((probabilities.size, n))
    unbalanced = np.empty(n)
    values, weights = np.empty(members), np.empty(8)
    z = np.empty((sources, nodes.shape[1]))
    cell, changed = np.empty(6), np.empty(6)
    for i in range(n):
        row = np.int64(rows[i]) if rows.size > 0 else np.int64(0)
        cell[:] = layers[:, i]
        depth = cell[BEDROCK]
        valid = row >= 0 and cell[WATER] >= 0.0 and cell[WIND] >= 0.0 and not (depth < 0.0 or depth > 1000.0)
        valid = valid and cell[WATER] < math.inf and cell[WIND] < math.inf and abs(cell[CURVATURE]) < math.inf
        if not valid or math.isnan(energy(cell[TEMPERATURE], cell[PRECIPITATION])):
            out[:, i] = math.nan
            unbalanced[i] = math.nan
            continue
        for s in range(sources):
            field_at(places[0, i], places[1, i], spacings[s], nodes, lattices[s], weights, z[s])
        count = 0
        for m in range(members):
            changed[:] = cell
            for s in range(sources):
                at = targets[s]
                changed[at] = perturbed(cell[at], z[s, draw[m]], kinds[s], spreads[s], at)
            depth = changed[BEDROCK]
            changed[BEDROCK] = math.nan
            h, balanced = thickness_of(table[row, m], changed, balance)
            if not balanced or math.isnan(h):
                continue
            h += noise[row, m]
            if h < 0.0 and not balance.keep_negative:
                h = 0.0
            values[count] = depth if balance.cap_to_bedrock and h > depth else h
            count += 1
        values[:count].sort()
        enough = count > 0 and count >= MIN_BALANCED * members
        for q in range(probabilities.size):
            out[q, i] = quantile_of_sorted(values[:count], probabilities[q]) if enough else math.nan
        unbalanced[i] = (members - count) / members
    return out, unbalanced
