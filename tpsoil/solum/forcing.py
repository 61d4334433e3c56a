"""Uncertain forcing: the stated distribution of a layer, constant in space or as a smooth random field."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import stats

from tpsoil.errors import InputError, UnitsError, require_named, require_one_of
from tpsoil.kernels import forcing as kernel
from tpsoil.units import conversion
from tpsoil.variables import variable

from .inputs import BALANCE

Doubles = npt.NDArray[np.float64]
Distribution = Literal["normal", "lognormal", "uniform"]
RELATIVE: Final = "relative"
SPACINGS_A_RANGE: Final = 2.0
"""Two spacings of the lattice apart the correlation is 120/2416 = 0.05 (B-spline of degree 7 at 2 and at 0)."""


@dataclass(frozen=True)
class ForcingSource:
    """The stated uncertainty of one layer of the solum model.

    Parameters
    ----------
    layer : str
        `water_erosion`, `wind_erosion`, `mean_annual_temperature`, `annual_precipitation`, `general_curvature` (its
        scale) or `depth_to_bedrock`.
    distribution : {"normal", "lognormal", "uniform"}
    spread : float
        Standard deviation (normal), that of the logarithm (lognormal), or half the width (uniform); > 0.
    units : str
        `"relative"`: the layer is multiplied by a factor of median 1. Else a unit of the layer: the number is added.
    range_m : float, optional
        Distance at which the correlation of a smooth random field has fallen to 0.05, m. None: one number everywhere.

    Raises
    ------
    InputError
        For a layer that the model does not have, a distribution without a unit, a spread that is not above 0, a
        lognormal distribution that is not relative, and a relative temperature.
    UnitsError
        For a unit of another quantity.

    Examples
    --------
    >>> ForcingSource("water_erosion", "lognormal", 0.5, "relative", range_m=200_000).text
    'lognormal factor, sd of the logarithm 0.5, correlated over 200 km'
    """

    layer: str
    distribution: Distribution
    spread: float
    units: str
    range_m: float | None = None

    def __post_init__(self) -> None:
        require_named("forcing", [self.layer], BALANCE, "layer of the solum model")
        where = f"forcing of {self.layer}"
        require_one_of(where, "distribution", self.distribution, get_args(Distribution))
        if not str(self.units or "").strip():
            raise InputError(
                f"{where}: the distribution has no unit; give units = '{RELATIVE}', or '{variable(self.layer).units}'"
            )
        if not (isinstance(self.spread, (int, float)) and math.isfinite(self.spread) and self.spread > 0):
            raise InputError(f"{where}: spread is {self.spread!r}, expected a number above 0")
        if self.units == RELATIVE:
            if self.layer == "mean_annual_temperature":
                raise InputError(f"{where}: a temperature in degC has no relative error; give units = 'degC'")
            if self.distribution == "uniform" and self.spread > 1:
                raise InputError(f"{where}: half the width is {self.spread:g}, expected at most 1 for a factor")
        elif self.distribution == "lognormal":
            raise InputError(f"{where}: a lognormal distribution is a factor; give units = '{RELATIVE}'")
        else:
            self._factor()
        if self.range_m is not None and not (math.isfinite(self.range_m) and self.range_m > 0):
            raise InputError(f"{where}: range_m is {self.range_m!r}, expected metres above 0, or none for a constant")

    def _factor(self) -> float:
        """From the unit of the spread to that of the layer; of a temperature difference without its offset."""
        spec = variable(self.layer)
        try:
            return conversion(self.units, spec.units, where=f"forcing of {self.layer}", period=spec.period).factor
        except UnitsError as error:
            raise UnitsError(f"{error}; or units = '{RELATIVE}'") from error

    @property
    def kind(self) -> int:
        """The kernel's code."""
        if self.units == RELATIVE:
            factors = {"normal": kernel.NORMAL_FACTOR, "lognormal": kernel.LOGNORMAL_FACTOR}
            return factors.get(self.distribution, kernel.UNIFORM_FACTOR)
        return kernel.NORMAL_SUM if self.distribution == "normal" else kernel.UNIFORM_SUM

    @property
    def scaled_spread(self) -> float:
        """In the unit of the layer, or of the factor."""
        return float(self.spread) * (1.0 if self.units == RELATIVE else self._factor())

    @property
    def spacing_m(self) -> float:
        """Of the lattice; 0 for a constant."""
        return 0.0 if self.range_m is None else float(self.range_m) / SPACINGS_A_RANGE

    @property
    def text(self) -> str:
        """The distribution in words, for tables and attributes."""
        width = {"normal": "sd", "lognormal": "sd of the logarithm", "uniform": "half the width"}[self.distribution]
        unit = "" if self.units == RELATIVE else f" {self.units}"
        what = "factor" if self.units == RELATIVE else "sum"
        space = "one for all cells" if self.range_m is None else f"correlated over {self.range_m / 1000:g} km"
        return f"{self.distribution} {what}, {width} {self.spread:g}{unit}, {space}"


@dataclass(frozen=True)
class Draws:
    """Draws of all sources as standard normal numbers, reproducible at any place.

    Parameters
    ----------
    sources : tuple of ForcingSource
        At least one; each layer once.
    count : int
        Number of draws.
    seed : int

    Raises
    ------
    InputError
    """

    sources: tuple[ForcingSource, ...]
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        names = [source.layer for source in self.sources]
        if not names:
            raise InputError("forcing: no sources, expected at least one uncertain layer")
        if len(set(names)) < len(names):
            raise InputError(f"forcing: layers {names} have one twice; combine them into one distribution")
        if self.count < 2:
            raise InputError(f"forcing: {self.count} draws, expected at least 2")

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Positions of the layers in the kernel."""
        return np.array([BALANCE.index(source.layer) for source in self.sources], np.int64)

    @property
    def numbers(self) -> tuple[npt.NDArray[np.int64], Doubles, Doubles]:
        """Kinds, spreads and spacings for the kernel."""
        kinds = np.array([source.kind for source in self.sources], np.int64)
        spreads = np.array([source.scaled_spread for source in self.sources])
        return kinds, spreads, np.array([source.spacing_m for source in self.sources])

    def nodes(self, y: Doubles, x: Doubles) -> tuple[Doubles, npt.NDArray[np.int64]]:
        """Nodes (n, draws) of the lattices that cover places, and where each source's lattice is in them (sources, 4).

        A constant source has one node: the normal quantiles in random order, so that few draws have the right spread.
        """
        parts: list[Doubles] = []
        lattices, start = [], 0
        for source in self.sources:
            key = [self.seed, 17, BALANCE.index(source.layer)]
            if source.range_m is None:
                share = (np.arange(self.count) + 0.5) / self.count
                order = np.random.default_rng(key).permutation(self.count)
                parts.append(np.asarray(stats.norm.ppf(share))[order].reshape(1, -1))
                lattices.append((start, 1, 0, 0))
            else:
                if not (y.size and np.isfinite(y).all() and np.isfinite(x).all()):
                    raise InputError(f"forcing of {source.layer}: a random field needs the y and x of every cell, m")
                limits = [(v.min() / source.spacing_m, v.max() / source.spacing_m) for v in (y, x)]
                rows, columns = (np.arange(int(np.floor(a)) - 1, int(np.floor(b)) + 3) for a, b in limits)
                keys = np.random.SeedSequence(key).generate_state(self.count, np.uint64).astype(np.uint64)
                parts.append(lattice_numbers(keys, rows, columns).reshape(-1, self.count))
                lattices.append((start, len(columns), int(rows[0]), int(columns[0])))
            start += len(parts[-1])
        return np.ascontiguousarray(np.vstack(parts)), np.array(lattices, np.int64)

    def constants(self) -> Doubles:
        """Standard normal numbers (sources, draws) of the constants; 0 for random fields."""
        nodes, lattices = self.replaced_fields().nodes(np.zeros(1), np.zeros(1))
        fixed = np.array([source.range_m is None for source in self.sources])
        return np.asarray(np.where(fixed[:, None], nodes[lattices[:, 0]], 0.0))

    def replaced_fields(self) -> Draws:
        """The draws with every field replaced by a constant."""
        return replace(self, sources=tuple(replace(source, range_m=None) for source in self.sources))

    def at(self, y: Doubles, x: Doubles) -> Doubles:
        """Standard normal numbers (n, sources, draws) at places, m."""
        nodes, lattices = self.nodes(y, x)
        spacings = self.numbers[2]
        parts = [kernel.fields_at(y, x, float(spacings[s]), nodes, lattices[s]) for s in range(len(self.sources))]
        return np.stack(parts, axis=1)


def lattice_numbers(keys: npt.NDArray[np.uint64], rows: Any, columns: Any) -> Doubles:
    """Independent numbers (rows, columns, draws) of mean 0 and variance 1, a function of key, row and column alone.

    Parameters
    ----------
    keys : (draws,) uint64
    rows, columns : (nj,), (ni,) int

    Notes
    -----
    The sum of eight 16-bit uniform numbers from two rounds of the SplitMix64 finaliser (Steele et al. 2014,
    doi:10.1145/2714064.2660195): integer arithmetic until the last step, so the bits are the same on every machine.
    Its kurtosis is -0.15, that of a weighted sum over the lattice about -0.05.
    """
    j = np.asarray(rows).astype(np.int64).astype(np.uint64)[:, None, None]
    i = np.asarray(columns).astype(np.int64).astype(np.uint64)[None, :, None]
    state = keys[None, None, :] + j * np.uint64(0x9E3779B97F4A7C15) + i * np.uint64(0xC2B2AE3D27D4EB4F)
    total = np.zeros(state.shape, np.int64)
    for _ in range(2):
        state = _mixed(state)
        for shift in (0, 16, 32, 48):
            total += ((state >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    return np.asarray((total - 8 * 65535 / 2) / math.sqrt(8 * (65536**2 - 1) / 12))


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
