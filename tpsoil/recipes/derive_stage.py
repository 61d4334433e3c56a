"""Stages of covariate groups: the declaration of a group bound to its files and a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.covariates.groups.base import CovariateGroup, sample_of
from tpsoil.errors import TpsoilError
from tpsoil.grid import coordinates
from tpsoil.ingest.dependencies import Dependencies
from tpsoil.stage import Stage
from tpsoil.variables import CATALOGUE

from .derive_resolve import Derivation
from .derive_settings import DeriveSettings
from .derive_sources import OpenSources, group_dependencies, open_sources
from .derive_tiles import GRID_LAYER, compute_group, described, group_bytes

OWN_ATTRIBUTES: Final = ("long_name", "units", "kind", "standard_name", "comment", "valid_min", "valid_max",
                         "flag_values", "flag_meanings", "_FillValue", "grid_mapping")  # fmt: skip


def derive_stages(
    items: Sequence[Derivation], settings: DeriveSettings, grid: GeoBox, *, at: str, faults: list[str]
) -> list[Stage]:
    """One stage for each derivation; files that cannot be opened are reported as faults.

    Parameters
    ----------
    items : sequence of Derivation
    settings : DeriveSettings
        For the place of an option in messages.
    grid : GeoBox
    at : str
        Prefix of faults.
    faults : list of str
        Extended by one line for each fault.
    """
    stages = []
    for item in items:
        group = item.group
        dependencies = Dependencies()
        if group.data:
            dependencies = group_dependencies(group, _option_place(group, settings, at), faults)
        if faults:
            continue
        try:
            stages.append(_stage(item, grid, dependencies))
        except TpsoilError as error:
            faults.append(f"{at}{group.group}: {error}")
    return stages


def _option_place(group: CovariateGroup, settings: DeriveSettings, at: str) -> Callable[[str], str]:
    def place(option: str) -> str:
        own = option in settings.tables.get(group.group, {})
        return f"{at}{group.group}.{option}" if own else f"{at}{option}"

    return place


def _stage(item: Derivation, grid: GeoBox, dependencies: Dependencies) -> Stage:
    group = item.group
    sources = open_sources(group, grid) if group.data else OpenSources()
    names = tuple(spec.name for spec in item.outputs)
    halo, memory = group.demand(grid, names)
    return Stage(
        name=group.group,
        title=group.title,
        section="derive",
        inputs=item.reads,
        outputs=item.outputs,
        halo=halo,
        compute=compute_group,
        options={"group": group, "names": names},
        identity=group.identity,
        files=dependencies.files,
        attributes=_attributes(item, grid, sources),
        urls=dependencies.urls,
        indifferent=group.indifferent,
        bytes_per_cell=max(memory if not sources.readers else 0.0, 64.0) + sources.bytes_per_cell,
        source_bytes=group_bytes if sources.sizes else None,
        tally=None if group.summary is None and group.notes is None else group.tally,
        summary=group.summary,
        notes=group.notes,
    )


def _attributes(item: Derivation, grid: GeoBox, sources: OpenSources) -> dict[str, dict[str, Any]]:
    """Attributes that `compute` sets, obtained by computing a few missing cells."""
    group = item.group
    part = grid[: min(3, grid.shape[0]), : min(3, grid.shape[1])]
    like = xr.DataArray(np.zeros(part.shape, np.float32), dims=("y", "x"), coords=coordinates(part))
    layers = {}
    for name in item.reads:
        if name in CATALOGUE:
            layers[name] = sample_of(CATALOGUE[name], like)
        else:
            layers[name] = xr.full_like(like, np.nan)
    for name in sources.readers:
        layers[name] = described(sample_of(sources.specs[name], like), name, sources)
    results = group.compute({**layers, GRID_LAYER: like})
    stated: dict[str, dict[str, Any]] = {}
    for spec in item.outputs:
        attrs = {key: value for key, value in results[spec.name].attrs.items() if key not in OWN_ATTRIBUTES}
        stated[spec.name] = {"formula": group.formula, **attrs, **sources.common}
    text = group.assumptions(item.reads)
    return stated | ({"": {"assumptions": text}} if text else {})
