"""Uncertainty of thickness: parameter sets of nearly equal misfit, and quantiles of a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats

from tpsoil.constants import SOLUM_STUDY
from tpsoil.display import cell_text, text_summary
from tpsoil.errors import InputError
from tpsoil.kernels import ensemble, misfit, pedogenesis, shuffle
from tpsoil.variables import Variable, variable

from .inputs import BALANCE, ascending_levels
from .options import SolumOptions
from .space import COMBINATIONS, SearchSpace
from .thickness import balance_layers, kernel_layers

Doubles = npt.NDArray[np.float64]

CHAINS: Final = 24
DIMENSIONS: Final = 5
MIN_TOLERANCE_M: Final = 1e-3
"""RMSE differences below a millimetre are negligible."""


@dataclass(frozen=True)
class Ensemble:
    """Parameter sets of one zone that are consistent with the profiles.

    Parameters
    ----------
    members : (m, 5) float64
        Combinations, drawn in proportion to their likelihood; a sixth column is `a`, where the options have a constant
        rate (`SearchSpace.combination_names`).
    sd : (m,) float64, m
        Residual standard deviation drawn with each member.
    low, high : (5,) or (6,) float64
        Range of every combination over the joint 95 % region.
    """

    members: Doubles
    sd: Doubles
    low: Doubles
    high: Doubles

    def __repr__(self) -> str:
        ends = zip(COMBINATIONS, self.low, self.high)
        ranges = {name: f"{cell_text(float(low))} to {cell_text(float(high))}" for name, low, high in ends}
        return text_summary("Ensemble of one zone", {"members": len(self.members), **ranges})


NO_STEADY_STATE_SHARE: Final = Variable(
    "no_steady_state_share", "parameter sets without a steady state", "1", 0, 1, meaning="share of the ensemble"
)


def tolerated_rmse(best: float, profiles: int, dimensions: int = DIMENSIONS) -> float:
    """Maximum RMSE of the joint 95 % region of all combinations, m.

    Notes
    -----
    ``RMSE <= best sqrt(1 + k/(n - k) F(0.95; k, n - k))``, k = 5 or 6 (Beale's region for a non-linear model).
    """
    k = dimensions
    if profiles <= k:
        return float("inf")
    excess = k / (profiles - k) * float(stats.f.ppf(0.95, k, profiles - k))
    return max(best * float(np.sqrt(1 + excess)), best + MIN_TOLERANCE_M)


def counted_profiles(sites: Doubles) -> int:
    """Profiles whose residuals are counted by the objective: observed, and not censored in the likelihood."""
    return int((np.isfinite(sites[:, misfit.OBSERVED]) & (sites[:, misfit.CENSORED] != misfit.LIKELIHOOD)).sum())


def behavioural(
    space: SearchSpace, sites: Doubles, best: Doubles, seed: int, *, members: int = 200, region: bool = True
) -> Ensemble:
    """The parameter sets around a calibrated one that are consistent with the profiles.

    Parameters
    ----------
    space : SearchSpace
        Either problem; the walk is through the combinations that its box can give.
    sites : (n, 7) float64
        Sites of the calibration; more observed ones than combinations.
    best : (8,) or (5,) float64
        Calibrated values of `space`, on their natural scale.
    seed : int
    members : int
    region : bool
        Whether the ranges are sampled too; else they are those of the members.

    Returns
    -------
    Ensemble

    Raises
    ------
    InputError
        For no more profiles than combinations.

    Notes
    -----
    Members: differential-evolution Markov chains on the likelihood of Gaussian residuals with their variance integrated
    out, density RMSE^-n (`tpsoil.kernels.misfit.tobit_rmse` with n of the uncensored profiles, where others are
    censored in the likelihood), flat in the combinations' logarithms within the box, inside the joint 95 % region.
    Ranges: the same walk with a flat density. A range that ends at the box is not determined by the data.
    The variance of the residuals is drawn from that of maximum likelihood, with every censored profile as a limit.

    References
    ----------
    ter Braak, C. J. F. (2006), Statistics and Computing 16. doi:10.1007/s11222-006-8769-1
    """
    n = counted_profiles(sites)
    five = replace(space, problem="five")
    dimensions = len(five.names)
    if n <= dimensions:
        raise InputError(f"behavioural: {n} profiles, expected more than {dimensions}")
    low, high = five.search_box
    arguments: Any = (five.kernel_problem, np.ascontiguousarray(sites))
    centre = five.vector(space.combinations_of(best))
    working: Any = (np.empty(dimensions), np.empty(6), np.empty((2, len(sites))))
    score = float(misfit.misfit(centre, *arguments, *working))
    ceiling = tolerated_rmse(score, n, dimensions)
    rng = np.random.default_rng([seed, 11])
    start = np.tile(centre, (CHAINS, 1))
    for chain in range(1, CHAINS):
        for shrink in range(40):
            trial = np.clip(centre + rng.normal(0, 0.1 * 0.6**shrink, centre.size) * (high - low), low, high)
            if misfit.misfit(trial, *arguments, *working) <= ceiling:
                start[chain] = trial
                break
    sweeps = max(1, -(-members // CHAINS))
    steps = 100 * sweeps
    # Burn-in.
    burned_in, _, _ = shuffle.walk(start, rng, 1000, 1000, float(n), ceiling, low, high, *arguments)
    drawn, scores, _ = shuffle.walk(burned_in, rng, steps, 100, float(n), ceiling, low, high, *arguments)
    selection = np.sort(rng.permutation(len(drawn))[:members])
    values = np.array([five.values(vector) for vector in drawn[selection]])
    # Variance given a member: its sum of squares over a chi-square with the remaining degrees of freedom.
    spread = scores[selection]
    censored = sites[:, misfit.CENSORED] > 0
    if censored.any() and np.isfinite(sites[~censored, misfit.OBSERVED]).any():
        # One-sided errors are 0 at pits that the model reaches, the misfit of a likelihood exceeds the spread.
        limits = np.array(sites, order="C")
        limits[censored, misfit.CENSORED] = misfit.LIKELIHOOD
        of_limits: Any = (five.kernel_problem, limits, *working)
        spread = np.array([misfit.residual_sd(vector, *of_limits) for vector in drawn[selection]])
    sd = spread * np.sqrt(n / rng.chisquare(n - dimensions, len(selection)))
    sampled = values
    if region:
        flat, _, _ = shuffle.walk(burned_in, rng, 4000, 10, 0.0, ceiling, low, high, *arguments)
        ends = [five.values(vector) for vector in (flat.min(axis=0), flat.max(axis=0), centre)]
        sampled = np.vstack([values, ends])
    return Ensemble(values, sd, sampled.min(axis=0), sampled.max(axis=0))


def member_rows(members: Doubles, density_ratio: float) -> Doubles:
    """The kernel's rows of combinations (m, 5 or 6): h0, ln(r a), b, the three loss factors; a is 1 where unknown."""
    rows = np.empty((len(members), 6))
    for member, row in zip(members, rows):
        misfit.balance_row(member, float(np.log(density_ratio)), row)
    return rows


def residual_noise(sd: Doubles, seed: int) -> Doubles:
    """One residual per member: normal quantiles in random order, so that few members have the right spread."""
    share = (np.arange(sd.size) + 0.5) / sd.size
    return np.asarray(sd * np.random.default_rng([seed, 13]).permutation(stats.norm.ppf(share)))


def quantiles_at(
    table: pd.DataFrame,
    ensembles: Mapping[int, Ensemble],
    probabilities: Sequence[float],
    options: SolumOptions,
    *,
    seed: int,
    residual: bool = True,
) -> Doubles:
    """Quantiles of thickness at profiles, (n, q) m; NaN where a zone has no ensemble. See `ensemble_thickness`.

    A profile where too few members have a steady state is predicted by `deposition`, as in the map: without it the
    score would be over-optimistic.
    """
    # The table's units were checked as a whole: the depths of a few profiles alone may look like centimetres.
    layers = {
        name: xr.DataArray(table[name].to_numpy(float), dims="cell", attrs={"units": variable(name).units})
        for name in (*BALANCE, "zone")
        if name in table
    }
    maps = ensemble_thickness(layers, ensembles, options, probabilities=probabilities, seed=seed, residual=residual)
    quantiles = np.stack([maps[quantile_name(p)].values for p in probabilities], axis=1)
    if options.deposition == "nan":
        return quantiles
    depth = layers["depth_to_bedrock"].values if options.cap_to_bedrock and "depth_to_bedrock" in layers else np.nan
    without = np.isnan(quantiles).all(axis=1) & np.isfinite(maps[NO_STEADY_STATE_SHARE.name].values)
    prescribed = np.fmin(options.greatest_thickness_m, depth + np.zeros(len(table)))
    return np.where(without[:, None], prescribed[:, None], quantiles)


def _quantiles(
    *arguments: Any, names: tuple[str, ...], dtype: str, levels: tuple[float, ...], balance: pedogenesis.Balance
) -> list[npt.NDArray[Any]]:
    """Quantiles of one chunk."""
    *blocks, (table, noise, lookup) = arguments
    layers = kernel_layers(dict(zip(names, blocks)), dtype, lookup)
    inputs: list[Any] = [*layers, table, noise, np.array(levels), balance]
    quantiles, unbalanced = ensemble.thickness_quantiles(*inputs)
    return [part.reshape(blocks[0].shape) for part in (*quantiles, unbalanced)]


def quantile_name(probability: float, layer: str = "solum_thickness") -> str:
    """`solum_thickness_p05` for 0.05."""
    percent = f"{100 * probability:06.3f}".rstrip("0").rstrip(".").replace(".", "_")
    return f"{layer}_p{percent}"


def quantile_outputs(probabilities: Sequence[float], meaning: str, dtype: str = "float32") -> list[Variable]:
    """Variables of the maps of `ensemble_thickness`."""
    quantiles = [
        Variable(quantile_name(p), f"solum thickness, {100 * p:g} % quantile", "m", 0, dtype=dtype, meaning=meaning)
        for p in probabilities
    ]
    return [*quantiles, replace(NO_STEADY_STATE_SHARE, dtype=dtype)]


def ensemble_thickness(
    layers: xr.Dataset | Mapping[str, Any],
    ensembles: Mapping[int, Ensemble] | Ensemble,
    options: SolumOptions | None = None,
    *,
    probabilities: Sequence[float] = (0.05, 0.5, 0.95),
    residual: bool = True,
    seed: int = 0,
) -> xr.Dataset:
    """Quantiles of steady-state thickness over an ensemble of parameters.

    Parameters
    ----------
    layers : Dataset
        As in `thickness`; `zone` where `ensembles` is by zone.
    ensembles : mapping of zone to Ensemble, or Ensemble
        `Calibration.ensembles`.
    options : SolumOptions, optional
        Those of the calibration, `Calibration.options`; every member is computed with all of them.
    probabilities : sequence of float
        Between 0 and 1, ascending.
    residual : bool
        True: distribution of a profile's thickness (parameters and residuals); False: parameters alone, which is far
        narrower and does not apply to profiles.
    seed : int
        Of the residuals' order.

    Returns
    -------
    Dataset
        `solum_thickness_p05`, ... (m), over the members that have a steady state in a cell, and
        `no_steady_state_share` (1), the share of the others; lazy where a layer is lazy. NaN for nodata, and for zones
        without an ensemble; the quantiles also where fewer than half of the members have a steady state.

    Raises
    ------
    InputError
        For probabilities outside 0..1 or not ascending, no ensemble, or members of other options.
    MissingInputError, UnitsError, GridError
        As `thickness`.

    Notes
    -----
    Every member is computed with all options of the map. A member without a steady state has no thickness; it
    is counted in `no_steady_state_share` and not as the map's cap of 2.04 m. Memory: the members of one zone a pixel,
    not a map a member.

    Examples
    --------
    >>> one = Ensemble(np.array([[0.1, 1e-5, 1e-8, 1e-8, 1e-7]]), np.array([0.3]), np.zeros(5), np.zeros(5))
    >>> pixel = dict(mean_annual_temperature=3.0, annual_precipitation=600.0, water_erosion=2.0, wind_erosion=1.0,
    ...              general_curvature=0.0)
    >>> list(ensemble_thickness(pixel, one, residual=False))
    ['solum_thickness_p05', 'solum_thickness_p50', 'solum_thickness_p95', 'no_steady_state_share']
    """
    where = "solum.ensemble_thickness"
    levels = ascending_levels(probabilities, where)
    by_zone = ensembles if isinstance(ensembles, Mapping) else {0: ensembles}
    if not by_zone:
        raise InputError(f"{where}: no ensemble; calibrate zones with more than {DIMENSIONS} profiles")
    inputs = balance_layers(layers, ensembles, where)
    options = options or SolumOptions()
    width = DIMENSIONS + options.absolute
    if any(item.members.shape[1] != width for item in by_zone.values()):
        raise InputError(
            f"{where}: the members have {next(iter(by_zone.values())).members.shape[1]} combinations, the options need "
            f"{width}; pass options=calibration.options"
        )
    size = min(len(item.members) for item in by_zone.values())
    table = np.stack([member_rows(item.members[:size], options.calibrated_density_ratio) for item in by_zone.values()])
    noise = np.stack([residual_noise(item.sd[:size], seed + int(zone)) for zone, item in by_zone.items()])
    if not residual:
        noise = np.zeros_like(noise)
    kind = "parameters and residuals" if residual else "parameters alone"
    outputs = quantile_outputs(levels, f"over {size} behavioural parameter sets; {kind}", inputs.dtype)
    attrs = {"title": "quantiles of solum thickness", "references": SOLUM_STUDY, "members": size, "spread": kind}
    kernel = partial(_quantiles, names=inputs.names, dtype=inputs.dtype, levels=levels, balance=options.balance())
    return inputs.map(kernel, outputs=outputs, shared=(table, noise), attrs=attrs | options.attributes())
