"""The search space of the calibration: eight parameters, or the five combinations that thickness data can determine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError, require_one_of
from tpsoil.kernels import misfit

from .options import SolumOptions
from .parameters import LOGARITHMIC, MIN_B, NAMES, Bounds, SolumParameters, bounds

Doubles = npt.NDArray[np.float64]
Problem = Literal["eight", "five"]

COMBINATIONS: Final = ("h0", "b", "water_ratio", "wind_ratio", "creep_ratio")
"""h0; b; alpha/(a rho_s); beta/(a rho_s); gamma D/a. Units m, m2 a kJ-1, m2 a kg-1, m2 a kg-1, m."""

MIN_WEIGHT: Final = 1e-5
"""Lower end of a weight of 0 on the logarithmic scale of a combination."""


def combinations(parameters: SolumParameters) -> dict[str, float]:
    """The five combinations of eight parameters that thickness data can determine.

    Parameters
    ----------
    parameters : SolumParameters

    Returns
    -------
    dict
        By the names of `COMBINATIONS`.

    Notes
    -----
    h* = h0 [ln r + b EEMT - ln(W Ew/10 + V Ed/10 + G kappa)] with W = alpha/(a rho_s), V = beta/(a rho_s), G = gamma
    D/a: thickness does not change when a, alpha/rho_s, beta/rho_s and gamma D are scaled together.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> sorted(combinations(PUBLISHED[1]))
    ['b', 'creep_ratio', 'h0', 'water_ratio', 'wind_ratio']
    """
    return dict(zip(COMBINATIONS, _combined(*(getattr(parameters, name) for name in NAMES))))


def _combined(
    h0: float, rho_s: float, a: float, b: float, alpha: float, beta: float, gamma: float, D: float
) -> tuple[float, ...]:
    return h0, b, alpha / (a * rho_s), beta / (a * rho_s), gamma * D / a


@dataclass(frozen=True)
class SearchSpace:
    """The box of SCE-UA, and the conversion of its vectors to parameters.

    Parameters
    ----------
    problem : {"eight", "five"}
        The study's eight parameters, or the five combinations. The five are searched within exactly those values that
        are possible in the box of the eight. Where the options have a constant rate, `a` is added to the five.
    box : Bounds
    options : SolumOptions
    """

    problem: Problem
    box: Bounds
    options: SolumOptions = field(default_factory=SolumOptions)

    def __post_init__(self) -> None:
        require_one_of("calibrate", "problem", self.problem, get_args(Problem))
        if not self.free.size:
            raise InputError(f"Bounds '{self.box.name}' fix every parameter; no parameter can be calibrated")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters or combinations."""
        return NAMES if self.problem == "eight" else self.combination_names

    @property
    def combination_names(self) -> tuple[str, ...]:
        """Names of the combinations that thickness can determine under the options."""
        return (*COMBINATIONS, "a") if self.options.absolute else COMBINATIONS

    @cached_property
    def low(self) -> Doubles:
        """Lower bounds of the eight parameters."""
        return np.array(self.box.low, dtype=np.float64)

    @cached_property
    def high(self) -> Doubles:
        """Upper bounds of the eight parameters."""
        return np.array(self.box.high, dtype=np.float64)

    @cached_property
    def limits(self) -> tuple[Doubles, Doubles]:
        """Lower and upper bounds of the searched values, on their natural scale."""
        low, high = self.low.copy(), self.high.copy()
        if low[3] < high[3]:
            low[3] = max(low[3], MIN_B)
        if self.problem == "eight":
            return low, high
        weight = np.maximum(low[4:6], np.where(high[4:6] > low[4:6], MIN_WEIGHT, low[4:6]))
        min_creep = max(low[6] * low[7], MIN_WEIGHT * low[7] if high[6] > low[6] else 0.0)
        minimum = [low[0], low[3], *(weight / (high[1] * high[2])), min_creep / high[2]]
        maximum = [high[0], high[3], *(high[4:6] / (low[1] * low[2])), high[6] * high[7] / low[2]]
        if min(minimum[2:]) <= 0.0:
            raise InputError(
                f"Bounds '{self.box.name}' fix alpha, beta, gamma or D at 0, which has no logarithm; "
                "use problem='eight'"
            )
        if self.options.absolute:
            minimum, maximum = [*minimum, low[2]], [*maximum, high[2]]
        return np.array(minimum), np.array(maximum)

    @cached_property
    def free(self) -> npt.NDArray[np.int64]:
        """Positions that are searched; the others are fixed by equal bounds."""
        low, high = self.limits
        return np.flatnonzero(low < high).astype(np.int64)

    @cached_property
    def logarithmic(self) -> npt.NDArray[np.bool_]:
        """Which of the free ones are searched on a logarithmic scale."""
        return np.array([self.problem == "five" or self.names[j] in LOGARITHMIC for j in self.free])

    @cached_property
    def search_box(self) -> tuple[Doubles, Doubles]:
        """Lower and upper bounds in search coordinates."""
        low, high = (side[self.free] for side in self.limits)
        where = self.logarithmic
        return np.log(low, where=where, out=low.copy()), np.log(high, where=where, out=high.copy())

    @property
    def kernel_problem(self) -> misfit.Problem:
        """What the kernels need to know of a search vector."""
        base, ratio = self.limits[0].copy(), math.log(self.options.calibrated_density_ratio)
        return misfit.Problem(base, self.free, self.logarithmic, self.low, self.high, ratio, self.options.balance())

    def values(self, vector: Doubles) -> Doubles:
        """Natural values of all parameters or combinations of a search vector."""
        natural = self.limits[0].copy()
        natural[self.free] = np.exp(vector, where=self.logarithmic, out=np.array(vector, dtype=np.float64))
        return natural

    def vector(self, values: Doubles) -> Doubles:
        """Search vector of natural values, clipped to the box because of rounding."""
        low, high = self.search_box
        free = np.array(values[self.free], dtype=np.float64)
        return np.clip(np.log(np.maximum(free, 1e-300), where=self.logarithmic, out=free), low, high)

    def parameters(self, values: Doubles) -> SolumParameters:
        """Parameters of natural values; combinations are split as `split` does, arbitrarily (science sheet 2o)."""
        if self.problem == "five":
            values = split(dict(zip(self.names, map(float, values))), self.box)
        ratio = self.options.calibrated_density_ratio
        return SolumParameters(**dict(zip(NAMES, map(float, values))), density_ratio=ratio)

    def combinations_of(self, values: Doubles) -> Doubles:
        """The combinations (`combination_names`) of natural values."""
        if self.problem == "five":
            return values
        five = _combined(*values)
        return np.array([*five, values[NAMES.index("a")]] if self.options.absolute else five)

    def row(self, values: Doubles) -> Doubles:
        """The kernel's row of natural values: h0, ln(r a), b and the three loss factors."""
        row = np.empty(6)
        misfit.balance_row(values, math.log(self.options.calibrated_density_ratio), row)
        return row

    def at_bounds(self, values: Doubles) -> dict[str, str]:
        """Values within 1 % of the searched range of a bound: "low", "high" or ""."""
        low, high = self.search_box
        share = (self.vector(values) - low) / (high - low)
        bound_of = dict.fromkeys(self.names, "fixed")
        for j, at in zip(self.free, share):
            bound_of[self.names[j]] = "low" if at < 0.01 else "high" if at > 0.99 else ""
        return bound_of


def split(five: Mapping[str, float], box: Bounds) -> Doubles:
    """Eight parameters within a box with these five combinations.

    Parameters
    ----------
    five : mapping
        By the names of `COMBINATIONS`; with `a`, that value of it.
    box : Bounds

    Returns
    -------
    (8,) float64
        In the order of `NAMES`; the geometric middle of all possible ones, because data cannot distinguish them.

    Raises
    ------
    InputError
        Where no parameters within the box have these combinations.
    """
    low, high = np.array(box.low), np.array(box.high)
    w, v, g = five["water_ratio"], five["wind_ratio"], five["creep_ratio"]
    tiny = 1e-300
    min_a = max(low[2], low[6] * low[7] / max(g, tiny))
    max_a = min(high[2], high[6] * high[7] / max(g, tiny))
    if "a" in five:
        min_a, max_a = max(min_a, five["a"]), min(max_a, five["a"])
    # s = a rho_s
    min_s = max(low[4] / max(w, tiny), low[5] / max(v, tiny), min_a * low[1])
    max_s = min(high[4] / max(w, tiny), high[5] / max(v, tiny), max_a * high[1])
    slack = 1 + 1e-6
    if min_a > max_a * slack or min_s > max_s * slack:
        raise InputError(f"no parameters within the bounds '{box.name}' have the combinations {dict(five)}")
    s = math.sqrt(min_s * max_s)
    from_a, to_a = max(min_a, s / high[1]), min(max_a, s / low[1])
    a = float(np.clip(math.sqrt(from_a * to_a), low[2], high[2]))
    rho = float(np.clip(s / a, low[1], high[1]))
    gamma = float(np.clip(g * a / max(low[7], tiny), low[6], high[6]))
    creep = g * a / gamma if gamma > 0 else float(low[7])
    return np.array([five["h0"], rho, a, five["b"], min(w * a * rho, 1.0), min(v * a * rho, 1.0), gamma, creep])


def search_space(
    preset: str | Bounds = "paper", problem: Problem = "eight", options: SolumOptions | None = None
) -> SearchSpace:
    """The box to search, by preset and problem.

    Parameters
    ----------
    preset : {"paper", "physical"} or Bounds
    problem : {"eight", "five"}
    options : SolumOptions, optional

    Returns
    -------
    SearchSpace

    Raises
    ------
    InputError
        For an unknown preset or problem.

    Examples
    --------
    >>> search_space("paper", "five").names
    ('h0', 'b', 'water_ratio', 'wind_ratio', 'creep_ratio')
    """
    return SearchSpace(problem, bounds(preset), options or SolumOptions())
