"""Calibration under uncertain forcing: again under every draw of what is the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.kernels import forcing as kernel

from .assessment import Plan
from .ensembles import Ensemble, behavioural, counted_profiles
from .forced import ForcedEnsembles
from .forcing import Draws, ForcingSource
from .inputs import BALANCE
from .observations import Objective, Observations, prepare_profiles
from .options import SolumOptions
from .parameters import Bounds
from .search import Effort, search
from .space import Problem, SearchSpace, search_space

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ForcedCalibration:
    """How parameters are calibrated under each draw of the forcing.

    Parameters
    ----------
    preset : {"paper", "physical"} or Bounds
    problem : {"eight", "five"}
    members : int
        Parameter sets of each draw and zone.
    effort : Effort
        Of the one search of each draw and zone.
    objective : {"tobit", "rmse"}
        As in `calibrate`.
    """

    preset: str | Bounds = "paper"
    problem: Problem = "eight"
    members: int = 2
    effort: Effort = field(default_factory=lambda: Effort(complexes=4, evaluations=4000))
    objective: Objective = "tobit"


def calibrate_forced(
    profiles: pd.DataFrame,
    layers: xr.Dataset | None,
    sources: Sequence[ForcingSource],
    options: SolumOptions | None = None,
    *,
    draws: int = 100,
    seed: int = 0,
    settings: ForcedCalibration | None = None,
) -> ForcedEnsembles:
    """Calibrate the parameters with uncertain forcing: again under every draw of the constants.

    Parameters
    ----------
    profiles : DataFrame
        As in `calibrate`.
    layers : Dataset, optional
        Sampled at the profiles.
    sources : sequence of ForcingSource
    options : SolumOptions, optional
    draws : int
    seed : int
    settings : ForcedCalibration, optional

    Returns
    -------
    ForcedEnsembles

    Raises
    ------
    InputError
        As `calibrate`.

    Notes
    -----
    An error that is the same everywhere acts on the profiles too, and the parameters take it up: for each draw of the
    constants they are calibrated again, and a map pairs the draw with its own parameters. An error that varies in space
    is not known at the profiles. It is an error of Berkson's type (the true forcing varies around the known one), under
    which the calibration on the known forcing stays consistent where thickness is linear in the error, and the
    residuals contain it; so fields do not change the calibration, and are drawn for the map alone. To perturb the
    profiles by drawn fields would add errors that the profiles do not have and flatten the fitted response: the
    empirical coverage of a simulated truth by P05-P95 then was 0.54 instead of 0.9. A field whose range is that of the
    whole map is nearly a constant; treat it as one.

    Zones with too few profiles have the parameters of all profiles together.

    References
    ----------
    Carroll, R. J. et al. (2006), Measurement Error in Nonlinear Models, doi:10.1201/9781420010138 (Berkson errors).

    Examples
    --------
    >>> calibrate_forced(pd.DataFrame({"depth": [0.5]}), None, [])
    Traceback (most recent call last):
    tpsoil.errors.InputError: profiles have no column 'solum_thickness'; there are: depth
    """
    chosen = SolumOptions.of_calibration(options)
    how = settings or ForcedCalibration()
    space = search_space(how.preset, how.problem, chosen)
    observations = prepare_profiles(profiles, layers, options=chosen).balanced_within(space.box, chosen)
    plan = Plan(space, observations, 2, None, seed, objective=how.objective)
    drawn = Draws(tuple(sources), draws, seed)
    constants = [position for position, source in enumerate(sources) if source.range_m is None]
    if not constants:
        how, searches = replace(how, members=draws), 1
    else:
        searches = draws
    numbers = drawn.constants()
    parts: dict[int, list[Ensemble]] = {zone: [] for zone in plan.zones}
    for number in range(searches):
        sites = _sites(observations, drawn, numbers[:, number], how.objective)
        by_key: dict[int, Ensemble] = {}
        for zone in plan.zones:
            key = plan.source(zone, "all", -1)[0]
            if key not in by_key:
                rows = plan.training[(key, "all", -1)]
                by_key[key] = _calibrated(space, sites[rows], [seed, key + 1, number], how)
            parts[zone].append(by_key[key])
    ensembles = {zone: _joined(members) for zone, members in parts.items()}
    if not _has_zones(profiles, layers):
        ensembles = {0: next(iter(ensembles.values()))}
    draw = np.repeat(np.arange(draws), how.members) if constants else np.arange(draws)
    return ForcedEnsembles(drawn, ensembles, draw, chosen, recalibrated=bool(constants))


def _has_zones(profiles: pd.DataFrame, layers: xr.Dataset | None) -> bool:
    return "zone" in profiles or (layers is not None and "zone" in layers)


def _sites(observations: Observations, draws: Draws, numbers: Doubles, objective: Objective) -> Doubles:
    """The kernel's columns of the profiles under one draw of the constants."""
    table = observations.table.copy()
    for source, number in zip(draws.sources, numbers):
        at, kind, spread = BALANCE.index(source.layer), source.kind, source.scaled_spread
        values = table[source.layer].to_numpy(float)
        table[source.layer] = [kernel.perturbed(float(value), float(number), kind, spread, at) for value in values]
    return replace(observations, table=table).sites(objective)


def _calibrated(space: SearchSpace, sites: Doubles, seed: list[int], how: ForcedCalibration) -> Ensemble:
    best = search(space, sites, np.random.SeedSequence(seed), how.effort)
    profiles = counted_profiles(sites)
    values = np.array(best.values)
    if profiles > len(space.combination_names) + 1:
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        return behavioural(space, sites, values, number, members=how.members, region=False)
    members = np.tile(space.combinations_of(values), (how.members, 1))
    return Ensemble(members, np.full(how.members, best.rmse), members[0], members[0])


def _joined(parts: Sequence[Ensemble]) -> Ensemble:
    members = np.vstack([part.members for part in parts])
    return Ensemble(members, np.concatenate([part.sd for part in parts]), members.min(axis=0), members.max(axis=0))
