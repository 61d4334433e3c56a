"""How much of the variance of thickness each uncertain layer and the parameters explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.kernels import forcing as kernel

from .forced import ForcedEnsembles
from .inputs import BALANCE, NEEDED
from .thickness import balance_layers, zone_rows

Doubles = npt.NDArray[np.float64]
PARAMETERS: Final = "parameters"


def forcing_variance(
    layers: xr.Dataset | Mapping[str, Any],
    ensembles: ForcedEnsembles,
    *,
    cells: int = 500,
    draws: int = 512,
    seed: int = 0,
) -> pd.DataFrame:
    """Shares of the variance of thickness by source, on a sample of cells.

    Parameters
    ----------
    layers : Dataset
        As in `forced_thickness`; read as a whole, so decimate a large map.
    ensembles : ForcedEnsembles
    cells : int
        Drawn at random among those with a thickness.
    draws : int
        For each of the two samples of the estimators, in each cell.
    seed : int

    Returns
    -------
    DataFrame
        A row for each forcing, for `parameters` (where they are not one set), and `all`: `source`, `distribution`,
        `sd_alone_m` and `share_alone` (only this source varies, the others are at their medians), `first_order` and
        `total_order` (Sobol's indices), `cells`. Shares are of the sum over the cells of the variance of thickness.

    Raises
    ------
    InputError
        Where no cell has a thickness.
    MissingInputError, UnitsError
        As `thickness`.

    Notes
    -----
    Two independent samples A and B of all sources; AB_i is A with source i of B. With f the thickness of a cell and V
    its variance ``S_i = mean(f(B) (f(AB_i) - f(A)))/V`` (Saltelli et al. 2010, Table 2 b) and
    ``T_i = mean((f(A) - f(AB_i))^2)/(2 V)`` (Jansen 1999). The first-order indices add up to less than 1 where sources
    interact, apart from the error of sampling, about ``1/sqrt(cells x draws)``. Sources are taken as independent: under
    `calibrate_forced`, where parameters follow the forcing, the indices describe the model and not that dependence.
    A cell has one number a draw, so a random field has the same shares as a constant of the same spread. Residuals of
    profiles are not a part of the map's variance.

    References
    ----------
    Saltelli, A. et al. (2010), Computer Physics Communications 181, 259-270, doi:10.1016/j.cpc.2009.09.018.
    Jansen, M. J. W. (1999), Computer Physics Communications 117, 35-43, doi:10.1016/S0010-4655(98)00154-4.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED, ForcingSource, forced_ensembles
    >>> pixel = dict(mean_annual_temperature=3.0, annual_precipitation=600.0, water_erosion=2.0, wind_erosion=0.0,
    ...              general_curvature=0.0)
    >>> erosion = ForcingSource("water_erosion", "lognormal", 0.5, "relative")
    >>> table = forcing_variance(pixel, forced_ensembles(PUBLISHED[1], [erosion]))
    >>> round(float(table.sd_alone_m[0]) / PUBLISHED[1].h0, 1)
    0.5
    """
    where = "solum.forcing_variance"
    stacked, rows_of_cells = _sample(layers, ensembles, cells, seed, where)
    table = ensembles.table
    sources = ensembles.draws.sources
    varied = bool((np.ptp(table, axis=1) > 0).any())
    names = [*(source.layer for source in sources), *([PARAMETERS] if varied else [])]
    rng = np.random.default_rng([seed, 19])
    settings: Any = (ensembles.draws.targets, *ensembles.draws.numbers[:2], ensembles.options.balance())
    sums = np.zeros((3, len(names)))
    total, used = 0.0, 0
    for cell, zone in zip(stacked, rows_of_cells):
        middle = np.median(table[zone], axis=0)
        first, second = (_Sample.drawn(rng, draws, len(sources), table.shape[1]) for _ in range(2))
        f = {
            key: kernel.cell_thickness(cell, sample.rows(table[zone], middle), sample.z, *settings)
            for key, sample in (("a", first), ("b", second))
        }
        parts = np.empty((3, len(names)))
        for k, name in enumerate(names):
            mixed = first.with_source(second, k if name != PARAMETERS else None)
            alone = first.only(k if name != PARAMETERS else None)
            f_mixed = kernel.cell_thickness(cell, mixed.rows(table[zone], middle), mixed.z, *settings)
            f_alone = kernel.cell_thickness(cell, alone.rows(table[zone], middle), alone.z, *settings)
            parts[:, k] = (
                np.var(f_alone),
                np.mean((f["b"] - np.mean(f["b"])) * (f_mixed - f["a"])),
                0.5 * np.mean((f["a"] - f_mixed) ** 2),
            )
        variance = float(np.var(np.concatenate([f["a"], f["b"]])))
        if np.isfinite(parts).all() and np.isfinite(variance):
            sums += parts
            total += variance
            used += 1
    if not used:
        raise InputError(f"{where}: no cell of the sample has a thickness under all draws")
    shares = sums / total if total > 0 else np.zeros_like(sums)
    texts = {source.layer: source.text for source in sources} | {PARAMETERS: f"{table.shape[1]} sets"}
    result = pd.DataFrame({
        "source": names, "distribution": [texts[name] for name in names], "sd_alone_m": np.sqrt(sums[0] / used),
        "share_alone": shares[0], "first_order": shares[1], "total_order": shares[2], "cells": used,
    })  # fmt: skip
    every = {"source": "all", "distribution": "", "sd_alone_m": np.sqrt(total / used), "share_alone": 1.0}
    every |= {"first_order": float(shares[1].sum()), "total_order": 1.0, "cells": used}
    return pd.concat([result, pd.DataFrame([every])], ignore_index=True)


class _Sample:
    """Standard normal numbers (draws, sources), and a member of the parameters for each draw; -1 is the median."""

    def __init__(self, z: Doubles, member: npt.NDArray[np.int64]) -> None:
        self.z, self.member = z, member

    @classmethod
    def drawn(cls, rng: np.random.Generator, draws: int, sources: int, members: int) -> _Sample:
        return cls(rng.standard_normal((draws, sources)), rng.integers(0, members, draws))

    def rows(self, table: Doubles, middle: Doubles) -> Doubles:
        """Parameters of each draw."""
        return np.ascontiguousarray(np.where(self.member[:, None] >= 0, table[self.member], middle))

    def with_source(self, other: _Sample, source: int | None) -> _Sample:
        """This sample with one source (None: the parameters) of another."""
        if source is None:
            return _Sample(self.z, other.member)
        z = self.z.copy()
        z[:, source] = other.z[:, source]
        return _Sample(z, self.member)

    def only(self, source: int | None) -> _Sample:
        """This sample with all but one source at their medians."""
        if source is None:
            return _Sample(np.zeros_like(self.z), self.member)
        z = np.zeros_like(self.z)
        z[:, source] = self.z[:, source]
        return _Sample(z, np.full_like(self.member, -1))


def _sample(
    layers: xr.Dataset | Mapping[str, Any], ensembles: ForcedEnsembles, cells: int, seed: int, where: str
) -> tuple[Doubles, npt.NDArray[np.intp]]:
    """Layers (cells, 6) of cells that have all of them, and the position of their zone."""
    inputs = balance_layers(layers, ensembles.by_zone, where)
    loaded = inputs.data[list(inputs.names)].compute()
    shape = np.broadcast_shapes(*(layer.shape for layer in loaded.data_vars.values()))
    blocks = {name: np.broadcast_to(loaded[name].values, shape).reshape(-1) for name in inputs.names}
    rows = zone_rows(blocks, inputs.lookup)
    rows = rows if rows.size else np.zeros(int(np.prod(shape)), np.int16)
    stacked = np.stack([blocks.get(name, np.full(rows.size, np.nan)).astype(np.float64) for name in BALANCE], axis=1)
    usable = np.flatnonzero((rows >= 0) & np.isfinite(stacked[:, : len(NEEDED)]).all(axis=1))
    if not usable.size:
        raise InputError(f"{where}: no cell has all of {', '.join(NEEDED)} and a zone with parameters")
    chosen = usable
    if usable.size > cells:
        chosen = np.sort(np.random.default_rng([seed, 23]).choice(usable, cells, replace=False))
    return np.ascontiguousarray(stacked[chosen]), rows[chosen].astype(np.intp)
