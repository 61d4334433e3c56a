"""From a recipe to a job of the engine: `tpsoil.run`, its preview, and the tables of a finished store."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import xarray as xr

from tpsoil.columns import stored_table
from tpsoil.cube import cube_info
from tpsoil.cube.store import complete_layers
from tpsoil.engine import Job, Previews, dry_run, session
from tpsoil.engine.ledger import Ledger
from tpsoil.engine.manifest import RUN_KEY
from tpsoil.engine.prepare import read_tables
from tpsoil.table_titles import TITLES, is_drawn, table_title

from .assembly import Assembly
from .catalogue_names import with_open_data
from .recipe import read_recipe, target_grid
from .stages import assembled, selected_stages

SCORES = ("element", "folds", "n", "nse", "rmse", "nse_original", "rmse_original")

UNCERTAINTY = ("element", "by", "group", "n", "level", "coverage", "mean_width", "interval_score", "crps")

MEASUREMENT = ("element", "replicated_sites", "within_sd", "residual_sd", "level", "width_measurement", "width_true")

COLUMNS = {"elements": SCORES, "with_extra": SCORES, "uncertainty": UNCERTAINTY, "measurement": MEASUREMENT}
"""Of tables that are wider than a terminal, what is printed; the page and the store have all."""


AnyRecipe = str | os.PathLike[str] | Mapping[str, Any]


def run(
    recipe: AnyRecipe,
    *,
    output: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    memory: float | None = None,
    only: str | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Run a recipe: compute only the tiles that are missing or stale.

    Parameters
    ----------
    recipe : path or mapping
        A TOML file, or the same as nested mappings.
    output : str, optional
        Store in place of the recipe's: a path or URL.
    scheduler : str, optional
        `"threads"` (the default, unless a `distributed.Client` is current), `"processes"`, or the address of a dask
        scheduler.
    workers : int, optional
        Threads or processes; all processors by default. Of a cluster: how many to wait for.
    memory : float, optional
        Limit for all processes of this machine together, GB (1e9 bytes). Tiles shrink to fit.
    only : str, optional
        One stage, or one table of the recipe; its inputs must exist.
    progress : bool
        Whether to write progress on standard error (in Jupyter below the cell). The log file is written anyway.

    Returns
    -------
    Dataset
        The store, opened lazily.

    Raises
    ------
    RecipeError, InputError, MissingInputError, StoreExistsError
        Before anything is computed.
    AccessError
        Where another run is writing to the store, or it cannot be written.
    CorruptStoreError
        For stored bytes that do not decode.
    WorkError
        Where work fails. Stored tiles stay valid, and the same call continues from there.

    Notes
    -----
    A tile's task reads its window, computes, writes whole chunks, then records their origin: digests of
    the input chunks as stored, of model, recipe and kernels. The next run compares.

    Examples
    --------
    >>> run({"run": {"name": "nothing", "output": "nothing.zarr"}, "grid": {"resolutoin": 100_000}, "layers": []})
    Traceback (most recent call last):
    tpsoil.errors.RecipeError: recipe: 1 fault
      - grid.resolutoin: unknown key; did you mean 'resolution'?
    """
    job, texts = _checked_job(recipe, output, only, _report if progress else None)
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=2)
    return session.run(job, scheduler=scheduler, workers=workers, memory=memory, progress=progress)


def preview(
    recipe: AnyRecipe,
    *,
    output: str | None = None,
    workers: int | None = None,
    processes: bool = False,
    memory: float | None = None,
    only: str | None = None,
) -> Previews:
    """What `run` would compute, and its forecasts of memory and disk. Writes nothing but the cache of open data.

    Parameters
    ----------
    recipe, output, workers, memory, only
        As in `run`.
    processes : bool
        Whether the workers are processes.

    Returns
    -------
    Previews
        One `Preview` a stage, in order.

    Raises
    ------
    RecipeError, MissingInputError, GridError, InputError, UnitsError
        As `run`, also for tables of samples and profiles, which are read.

    Examples
    --------
    >>> forcing = {"mean_annual_temperature": 3.0, "annual_precipitation": 600.0, "water_erosion": 2.0,
    ...            "wind_erosion": 1.0, "general_curvature": 0.0}
    >>> assumptions = {name: {"value": value, "reason": "an example"} for name, value in forcing.items()}
    >>> solum = {"zones": "none", "assumptions": assumptions}
    >>> solum["parameters"] = dict(h0=0.3, rho_s=1300.0, a=2e-4, b=3e-5, alpha=0.1, beta=0.02, gamma=1.0, D=5e-3)
    >>> run_table = {"name": "example", "output": "example.zarr"}
    >>> plans = preview({"run": run_table, "grid": {"resolution": 100_000}, "solum": solum})
    >>> [(one.title, one.plan.total) for one in plans]
    [('solum thickness', 1)]
    """
    job, _ = _checked_job(recipe, output, only)
    return dry_run.preview(job, workers=workers, processes=processes, memory=memory)


def _checked_job(
    recipe: AnyRecipe, output: str | None, only: str | None, progress: Callable[[str], None] | None = None
) -> tuple[Job, list[str]]:
    """The job of a recipe, and warnings about samples, each once.

    The tables that the selected stages will read are read, so that a dry run rejects the same input as the run.
    """
    job, assembly = _planned(recipe, output, only, progress)
    selected = {stage.section for stage in job.selected}
    return job, [text for section, check in assembly.checks if section in selected for text in check()]


def _report(line: str) -> None:
    """A line on standard error before an entry of the catalogue is fetched."""
    print(line, file=sys.stderr)


def job_of(recipe: AnyRecipe, *, output: str | None = None, only: str | None = None) -> Job:
    """The job that a recipe describes, with all its stages checked against each other and their files.

    Parameters
    ----------
    recipe, output, only
        As in `run`.

    Raises
    ------
    RecipeError, MissingInputError, GridError
    AccessError, WorkError
        Where open data that the recipe names cannot be fetched.
    """
    return _planned(recipe, output, only)[0]


def _planned(
    recipe: AnyRecipe, output: str | None, only: str | None, progress: Callable[[str], None] | None = None
) -> tuple[Job, Assembly]:
    """The job and its stages; what the recipe names in the catalogue of open data is fetched."""
    checked = read_recipe(recipe, output=output)
    if checked.names_entries:
        checked = with_open_data(checked, progress)
    assembly = assembled(checked, {} if checked.cube is None else complete_layers(checked.cube))
    if checked.grid is not None:
        grid, chunk = target_grid(checked, checked.grid), checked.grid.chunks
    else:
        info = cube_info(checked.cube or "")
        grid, chunk = info.grid, info.chunks
    job = Job(
        name=checked.run.name,
        where=checked.where,
        output=checked.output,
        grid=grid,
        chunk=chunk,
        stages=tuple(assembly.stages),
        selected=tuple(selected_stages(assembly.stages, only, checked.where)),
        recipe=checked.raw,
        cube=checked.cube,
        sources=checked.sources,
        description=checked.run.description,
        overwrite=checked.run.overwrite,
        tile=checked.run.tile,
        references=checked.references,
        resume=_resume_command(recipe, output),
    )
    return job, assembly


def _resume_command(recipe: AnyRecipe, output: str | None) -> str:
    if isinstance(recipe, Mapping):
        return "the same call"
    return f"tpsoil run {os.fspath(recipe)}" + ("" if output is None else f" --output {output}")


def result_tables(store: str) -> dict[str, pd.DataFrame]:
    """Tables of a run by title: thickness by zone, scores by element and kind of folds.

    Parameters
    ----------
    store : str
        Output of a run: a path or URL.

    Returns
    -------
    dict of str to DataFrame

    Examples
    --------
    >>> result_tables("memory://an_empty_store.zarr")
    {}
    """
    ledger = Ledger.at(store, read_only=True)
    content: dict[str, Any] = ledger.read_json(RUN_KEY) or {}
    names = [str(stage["name"]) for stage in content.get("stages", [])]
    tables = read_tables(ledger, names)
    for name in names:
        data = ledger.read_table(f"tables/{name}.csv")
        if data is not None:
            tables[name] = stored_table(data)
    for name, columns in COLUMNS.items():
        if name in tables:
            tables[name] = tables[name][[column for column in columns if column in tables[name]]]
    for name, table in tables.items():
        table.attrs["name"] = name
    ordered = [name for name in TITLES if name in tables]
    ordered += [name for name in tables if name not in TITLES and not is_drawn(name)]
    return {table_title(name): tables[name] for name in ordered}


def map_layers(store: str) -> list[str]:
    """Names of the maps of a run: the outputs of its models, without the covariates.

    Examples
    --------
    >>> map_layers("memory://an_empty_store.zarr")
    []
    """
    content: dict[str, Any] = Ledger.at(store, read_only=True).read_json(RUN_KEY) or {}
    return [
        str(name)
        for stage in content.get("stages", [])
        if stage["section"] in {"solum", "elements"}
        for name in stage["outputs"]
    ]
