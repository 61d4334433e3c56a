"""Thickness under uncertain forcing: parameters for each draw of the forcing, and quantiles of a map over all of
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import constant_like, is_lazy
from tpsoil.constants import SOLUM_STUDY
from tpsoil.errors import GridError, InputError
from tpsoil.grid import cell_sizes_m, grid_of
from tpsoil.kernels import forcing
from tpsoil.variables import Variable

from .ensembles import NO_STEADY_STATE_SHARE, Ensemble, member_rows, quantile_name, residual_noise
from .forcing import Draws, ForcingSource
from .inputs import BALANCE, NEEDED, ascending_levels
from .options import SolumOptions
from .parameters import SolumParameters
from .space import combinations
from .thickness import balance_layers, zone_rows

Doubles = npt.NDArray[np.float64]
PREFIX: Final = "solum_thickness_forced"
STRIP_CELLS: Final = 16_384
"""Cells whose layers are stacked at once."""


@dataclass(frozen=True, eq=False)
class ForcedEnsembles:
    """Parameter sets by zone, each with the draw of the forcing that it belongs to.

    Parameters
    ----------
    draws : Draws
    ensembles : mapping of int to Ensemble
        By zone, with equal numbers of members; zone 0 alone where there are no zones.
    draw : ndarray (members,), int64
        Draw of each member.
    options : SolumOptions
        Of every member.
    recalibrated : bool
        Whether each draw of the constants has parameters that were calibrated under it.
    """

    draws: Draws
    ensembles: Mapping[int, Ensemble]
    draw: npt.NDArray[np.int64]
    options: SolumOptions
    recalibrated: bool = False

    @property
    def by_zone(self) -> Mapping[int, Ensemble] | None:
        """The parameter sets of the zones; None where there are no zones."""
        return None if list(self.ensembles) == [0] else self.ensembles

    @property
    def table(self) -> Doubles:
        """The kernel's rows of every member, (zones, members, 6)."""
        ratio = self.options.calibrated_density_ratio
        return np.stack([member_rows(one.members, ratio) for one in self.ensembles.values()])


def forced_ensembles(
    parameters: SolumParameters | Mapping[int, SolumParameters] | Mapping[int, Ensemble],
    sources: Sequence[ForcingSource],
    options: SolumOptions | None = None,
    *,
    draws: int = 200,
    seed: int = 0,
) -> ForcedEnsembles:
    """Combine parameters that do not depend on the forcing with draws of it.

    Parameters
    ----------
    parameters : SolumParameters, mapping of zone to SolumParameters, or `Calibration.ensembles`
        Of ensembles, member k has draw k: parameters and forcing are independent.
    sources : sequence of ForcingSource
    options : SolumOptions, optional
        For ensembles those of their calibration.
    draws : int
        Of the forcing; ensembles have as many members as both allow.
    seed : int

    Returns
    -------
    ForcedEnsembles

    Raises
    ------
    InputError
        For no sources, and for parameters of another density ratio than that of the options.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> erosion = ForcingSource("water_erosion", "lognormal", 0.5, "relative")
    >>> len(forced_ensembles(PUBLISHED[1], [erosion], draws=50).draw)
    50
    """
    chosen = options or SolumOptions()
    by_zone: Mapping[int, Any] = parameters if isinstance(parameters, Mapping) else {0: parameters}
    if not by_zone:
        raise InputError("solum.forced_ensembles: no parameters")
    if all(isinstance(one, Ensemble) for one in by_zone.values()):
        count = min(draws, *(len(one.members) for one in by_zone.values()))
        ensembles = {
            zone: replace(one, members=one.members[:count], sd=one.sd[:count]) for zone, one in by_zone.items()
        }
    else:
        count = draws
        chosen.require_density_ratio(parameters, "solum.forced_ensembles")  # type: ignore[arg-type]
        ratios = {one.density_ratio for one in by_zone.values()}
        if len(ratios) > 1:
            raise InputError(f"solum.forced_ensembles: density ratios {sorted(ratios)} differ between the zones")
        chosen = replace(chosen, density_ratio=ratios.pop())
        ensembles = {zone: _repeated(one, chosen, count) for zone, one in by_zone.items()}
    drawn = Draws(tuple(sources), count, seed)
    return ForcedEnsembles(drawn, ensembles, np.arange(count), chosen)


def forced_name(probability: float) -> str:
    """`solum_thickness_forced_p05` for 0.05."""
    return quantile_name(probability, PREFIX)


def forced_outputs(probabilities: Sequence[float], spread: str) -> list[Variable]:
    """Variables of the maps of `forced_thickness`."""
    outputs = [
        Variable(forced_name(p), f"solum thickness under uncertain forcing, {100 * p:g} % quantile", "m", 0,
                 meaning=f"over {spread}")
        for p in probabilities
    ]  # fmt: skip
    return [*outputs, replace(NO_STEADY_STATE_SHARE, name=f"{PREFIX}_no_steady_state_share")]


def forced_thickness(
    layers: xr.Dataset | Mapping[str, Any],
    ensembles: ForcedEnsembles,
    *,
    probabilities: Sequence[float] = (0.05, 0.5, 0.95),
    residual: bool = False,
) -> xr.Dataset:
    """Quantiles of steady-state thickness over draws of the forcing and the parameters that belong to them.

    Parameters
    ----------
    layers : Dataset
        As in `thickness`; `zone` where the parameters are by zone; with `x` and `y` in metres for random fields.
    ensembles : ForcedEnsembles
    probabilities : sequence of float
        Between 0 and 1, ascending.
    residual : bool
        Whether the residuals of profiles are added: the distribution of a profile's thickness instead of the map's.

    Returns
    -------
    Dataset
        `solum_thickness_forced_p05`, ... (m, float32), and `solum_thickness_forced_no_steady_state_share`; lazy where a
        layer is lazy. NaN as in `ensemble_thickness`.

    Raises
    ------
    InputError
        For probabilities outside 0..1 or not ascending, and random fields without `x` and `y`.
    MissingInputError, UnitsError, GridError
        As `thickness`; `GridError` also for random fields on a grid in degrees.

    Notes
    -----
    A cell's field depends on its place alone: the maps are equal, bit for bit, whatever the chunks. Memory: the
    lattices of a chunk and the layers of 16 384 cells.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> pixel = dict(mean_annual_temperature=3.0, annual_precipitation=600.0, water_erosion=2.0, wind_erosion=1.0,
    ...              general_curvature=0.0)
    >>> erosion = ForcingSource("water_erosion", "lognormal", 0.5, "relative")
    >>> maps = forced_thickness(pixel, forced_ensembles(PUBLISHED[1], [erosion]))
    >>> bool(maps.solum_thickness_forced_p05 < maps.solum_thickness_forced_p95)
    True
    """
    where = "solum.forced_thickness"
    inputs = balance_layers(layers, ensembles.by_zone, where)
    levels = ascending_levels(probabilities, where)
    table = ensembles.table
    noise = np.zeros(table.shape[:2])
    if residual:
        noise = np.stack(
            [residual_noise(one.sd, ensembles.draws.seed + zone) for zone, one in ensembles.ensembles.items()]
        )
    spread = "forcing and parameters" + (" and residuals" if residual else "")
    outputs = forced_outputs(levels, spread)
    attrs = {
        "title": "quantiles of solum thickness under uncertain forcing",
        "references": SOLUM_STUDY,
        "members": len(ensembles.draw),
        "spread": spread,
        **{f"forcing_{source.layer}": source.text for source in ensembles.draws.sources},
        **ensembles.options.attributes(),
    }
    places = _place_layers(inputs.data, ensembles.draws, where)
    kernel = _ForcedQuantiles(inputs.names, levels, ensembles)
    return inputs.map(kernel, *places, outputs=outputs, shared=(table, noise), attrs=attrs)


@dataclass(frozen=True)
class _ForcedQuantiles:
    """Quantiles of one chunk."""

    names: tuple[str, ...]
    probabilities: tuple[float, ...]
    ensembles: ForcedEnsembles

    def __call__(self, *arguments: Any) -> list[npt.NDArray[Any]]:
        *blocks, (table, noise, lookup) = arguments
        shape = np.shape(blocks[0])
        places = [np.broadcast_to(block, shape).reshape(-1).astype(np.float64) for block in blocks[len(self.names) :]]
        y, x = places or (np.zeros(int(np.prod(shape))),) * 2
        by_name = dict(zip(self.names, blocks))
        draws = self.ensembles.draws
        nodes, lattices = draws.nodes(y, x)
        rows = zone_rows(by_name, lookup)
        count = y.size
        quantiles = np.empty((len(self.probabilities), count))
        unbalanced = np.empty(count)
        for start in range(0, count, STRIP_CELLS):
            part = slice(start, start + STRIP_CELLS)
            layers = np.full((len(BALANCE), len(y[part])), np.nan)
            for position, name in enumerate(BALANCE):
                if name in by_name:
                    layers[position] = by_name[name].reshape(-1)[part]
            arguments_of: Any = (
                layers, np.stack([y[part], x[part]]), rows[part] if rows.size else rows, table, noise,
                self.ensembles.draw, draws.targets, *draws.numbers, nodes, lattices, np.array(self.probabilities),
                self.ensembles.options.balance(),
            )  # fmt: skip
            quantiles[:, part], unbalanced[part] = forcing.forced_quantiles(*arguments_of)
        return [result.reshape(shape) for result in (*quantiles, unbalanced)]


def _place_layers(data: xr.Dataset, draws: Draws, where: str) -> list[Any]:
    """y and x of every cell, lazy where the layers are; none where no source varies in space."""
    if not any(source.range_m is not None for source in draws.sources):
        return []
    layer = max((data[name] for name in NEEDED), key=lambda one: one.ndim)
    if "y" not in data.coords or "x" not in data.coords:
        raise InputError(f"{where}: a random field needs the coordinates x and y of the layers, in metres")
    if layer.dims != ("y", "x"):  # points
        return [data["y"], data["x"]]
    _require_metres(data, draws, where)
    lazy = [data[name] for name in data.data_vars if is_lazy(data[name])]
    zero = constant_like(lazy[0] if lazy else layer, 0.0, replace(NO_STEADY_STATE_SHARE, dtype="float64"))
    return [zero + data[name] for name in ("y", "x")]


def _require_metres(data: xr.Dataset, draws: Draws, where: str) -> None:
    """Reject a grid on which a range in metres has no meaning, or is no range."""
    grid = grid_of(data, where=where)
    if grid.crs.geographic:
        raise GridError(f"{where}: a random field needs a projected grid, this one is in degrees")
    size = float(max(np.max(one) for one in cell_sizes_m(grid)))  # rejects other units than metres
    for source in draws.sources:
        if source.range_m is not None and source.range_m < 2 * size:
            raise InputError(
                f"{where}: forcing of {source.layer}: range_m is {source.range_m:g} m, less than two cells of "
                f"{size:g} m; give a longer range"
            )


def _repeated(parameters: SolumParameters, options: SolumOptions, count: int) -> Ensemble:
    """One set of parameters as members without residuals."""
    values = list(combinations(parameters).values())
    members = np.tile([*values, parameters.a] if options.absolute else values, (count, 1))
    return Ensemble(members, np.zeros(count), members[0], members[0])
