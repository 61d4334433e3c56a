"""Derive covariates into a cube, or lazily in Python: a run of the stages that the groups declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from tpsoil.cube import cube_info, finish_layers, open_cube
from tpsoil.cube.store import complete_layers
from tpsoil.engine import Job, session
from tpsoil.errors import Absent, InputError, MissingInputError
from tpsoil.grid import grid_of
from tpsoil.stage import Stage, blocks_of

from .assembly import inherited_of, with_inherited
from .derive_settings import DeriveSettings, settings_of_options
from .derive_stage import Derivation, derive_stages, resolve
from .derive_tiles import lazy_group


def derive(
    store: Any,
    groups: Sequence[str],
    *,
    dem: Any = None,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> list[str]:
    """Derive groups of covariates into a cube; chunks that an interrupted call has stored are not computed again.

    Parameters
    ----------
    store : path or URL
        Of a cube.
    groups : sequence of str
        Groups, or layers that groups compute, in any order; see `tpsoil cube derive --list`. What a group needs and the
        cube lacks is derived first where that is possible.
    dem : path, glob, URL, DataArray, or a list of them, optional
        For terrain and hydrology: these are derived at the DEM's own resolution and averaged to the cube, aspect as a
        vector. Without it the cube's `elevation` is used, at the cube's resolution, where slopes are too gentle.
    options : mapping, optional
        OPTION, of all groups that have it; GROUP, its main option; or GROUP.OPTION.
    overwrite : bool
        Whether existing layers are replaced: only chunks whose inputs, options or code have changed.
    progress : bool
        Whether to write progress on standard error.

    Returns
    -------
    list of str
        The layers derived, in order.

    Raises
    ------
    InputError
        For unknown groups or options, options that have no effect, layers that already exist: all at once.
    MissingInputError
        For layers or files that a group needs.
    UnitsError, GridError

    Notes
    -----
    Attributes of every layer: `parents`, `formula`, the options, `assumptions` where a constant replaces
    a map, and for terrain and hydrology `derived_at`, the DEM's grid.
    """
    chosen = {**(options or {}), **({} if dem is None else {"dem": dem})}
    info = cube_info(store)
    present = complete_layers(store)
    items, settings, faults = _resolved(groups, chosen, set(present), overwrite=overwrite)
    stages = [] if faults else derive_stages(items, settings, info.grid, at="", faults=faults)
    _require_none(faults)
    stages = with_inherited(stages, inherited_of(present))
    job = Job(
        name="derive",
        where="derive",
        output=str(store),
        grid=info.grid,
        chunk=info.chunks,
        stages=tuple(stages),
        selected=tuple(stages),
        recipe={"derive": {"groups": list(groups)}},
        adds=True,
        resume="the same command",
    )
    session.run(job, progress=progress)
    names = [spec.name for stage in stages for spec in stage.outputs]
    finish_layers(store, names, _counts(store, stages))
    return names


def derived_layers(
    cube: xr.Dataset,
    groups: Sequence[str],
    *,
    dem: Any = None,
    options: Mapping[str, Any] | None = None,
    chunks: int = 512,
) -> xr.Dataset:
    """Covariates of a cube, lazily: the same values, bit for bit, as `derive` and a recipe store.

    Parameters
    ----------
    cube : Dataset (y, x)
        With the layers that the groups need; numpy or dask.
    groups, dem, options
        As in `derive`.
    chunks : int
        Cells a side of what is read from files.

    Returns
    -------
    Dataset (y, x)
        The derived layers.

    Raises
    ------
    InputError, MissingInputError, UnitsError, GridError
        As `derive`.

    Examples
    --------
    >>> import numpy as np
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> cube = xr.Dataset({"ndvi": (("y", "x"), np.full(grid.shape, 0.86, "float32"))}, coords=coordinates(grid))
    >>> derived_layers(cube, ["vegetation"])["vegetation_cover"].max().item()
    100.0
    """
    chosen = {**(options or {}), **({} if dem is None else {"dem": dem})}
    items, settings, faults = _resolved(groups, chosen, {str(name) for name in cube.data_vars}, overwrite=True)
    grid = grid_of(cube, where="derived_layers")
    if not faults:
        derive_stages(items, settings, grid, at="", faults=faults, runs=False)
    _require_none(faults)
    derived: dict[str, xr.DataArray] = {}
    for item in items:
        layers = {**{str(name): layer for name, layer in cube.data_vars.items()}, **derived}
        results = lazy_group(item.group, {name: layers[name] for name in item.reads}, grid, chunks)
        derived |= {spec.name: results[spec.name] for spec in item.outputs}
    return xr.Dataset(derived)


def _resolved(
    groups: Sequence[str], options: Mapping[str, Any], present: set[str], *, overwrite: bool
) -> tuple[list[Derivation], DeriveSettings, list[str]]:
    faults: list[str] = []
    settings = settings_of_options(groups, options, faults)
    if not groups:
        faults.append("no groups given; see `tpsoil cube derive --list`")
    items = [] if faults else resolve(settings, present, supplied=set() if overwrite else present, at="", faults=faults)
    return items, settings, faults


def _require_none(faults: Sequence[str]) -> None:
    if faults:
        missing = all(isinstance(fault, Absent) for fault in faults)
        raise (MissingInputError if missing else InputError)("derive: " + "; ".join(dict.fromkeys(faults)))


def _counts(store: Any, stages: Sequence[Stage]) -> dict[str, dict[str, Any]]:
    """Missing cells of the layers that were derived."""
    specs = {spec.name: spec for stage in stages for spec in stage.outputs}
    counts = dict.fromkeys(specs, 0)
    for block in blocks_of(open_cube(store)[list(specs)]):
        for name, spec in specs.items():
            values = block[name].values
            missing = values == spec.fill if values.dtype.kind in "iu" else values != values
            counts[name] += int(missing.sum())
    return {name: {"missing_cells": count} for name, count in counts.items()}
