"""One run: recipe -> stages -> tiles -> maps that carry what they were made from."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import xarray as xr

from tpsoil.cube import layer_states, open_cube
from tpsoil.errors import TpsoilError

from .arrays import layer_place
from .execute import Pool, drive, open_pool
from .lock import locked
from .manifest import Manifest
from .memory import fit_memory
from .output import Output, begin, ensure_arrays, find_output, finish, mark, sweep
from .places import is_url
from .plan import ChunkDigests, LayerPlace, StagePlan, Tiling, plan_stage
from .prepare import Made, prepare_stage
from .progress import Reporter, log, logging_to
from .provenance import root_attributes
from .recipe import Recipe, read_recipe
from .stage import Stage
from .stages import chosen, stages_of
from .tiles import Assignment, TileDone, make_tile

GIGABYTE = 10**9


class Interrupted(TpsoilError):
    """A run that was asked to stop; what it stored stays good."""

    exit_status = 130


def run(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    *,
    output: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    memory: float | None = None,
    only: str | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Make what a recipe says: only the tiles that are missing or stale.

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
        One stage, or one table of the recipe; what it reads must be there.
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
        Where work fails. What is stored stays good, and the same call goes on from there.

    Notes
    -----
    A tile's task reads its window, computes, writes whole chunks, then records what they were made from: digests of
    the input chunks as stored, of model, recipe and kernels. The next run compares.

    Examples
    --------
    >>> run({"run": {"name": "nothing", "output": "nothing.zarr"}, "grid": {"resolutoin": 100_000}, "layers": []})
    Traceback (most recent call last):
    tpsoil.errors.RecipeError: recipe: 1 fault
      - grid.resolutoin: unknown key; did you mean 'resolution'?
    """
    plan = read_recipe(recipe, output=output)
    stages = stages_of(plan, in_cube=layers_of_cube(plan))
    picked = chosen(stages, only, plan.where)
    place = find_output(plan)
    described = {
        stage.name: stage.describe(stage.options, place.grid) for stage in picked if stage.describe is not None
    }
    limit = None if memory is None else int(memory * GIGABYTE)
    reporter = Reporter(show=progress)
    with logging_to(_log_file(plan)), _signals():
        log.info("run '%s' of %s into %s", plan.run.name, plan.where, plan.output)
        try:
            with open_pool(scheduler, workers) as pool:
                _check_memory(plan, picked, place, pool, limit)
                with locked(place.ledger) as said:
                    for line in said:
                        reporter.say(line, warning=True)
                    _work(plan, stages, picked, place, pool, limit, reporter, described)
        except KeyboardInterrupt:
            log.warning("stopped")
            raise Interrupted(
                f"stopped; the tiles that are stored stay good. Go on with {_again(recipe, output)}"
            ) from None
        except TpsoilError as error:
            log.error("%s", error)
            raise
    return open_cube(plan.output)


def _again(recipe: Any, output: str | None) -> str:
    """The command that goes on from here."""
    if isinstance(recipe, Mapping):
        return "the same call"
    return f"tpsoil run {os.fspath(recipe)}" + ("" if output is None else f" --output {output}")


def open_layers(store: str, names: Sequence[str]) -> xr.Dataset:
    """Some layers of a cube, lazily; nothing is said of others that are not whole."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*writing did not end", category=UserWarning)
        return open_cube(store)[list(names)]


def layers_of_cube(recipe: Recipe) -> list[str]:
    """Layers of the cube that the recipe reads from, if it names one."""
    if recipe.cube is None:
        return []
    return [name for name, state in layer_states(recipe.cube).items() if state == "complete"]


def places_of(recipe: Recipe, stage: Stage, made_here: set[str]) -> list[LayerPlace]:
    """Where a stage's inputs are stored."""
    return [
        layer_place(recipe.output if name in made_here or recipe.cube is None else recipe.cube, name)
        for name in stage.inputs
    ]


def outputs_of(stages: Sequence[Stage]) -> set[str]:
    """Names of everything that stages make."""
    return {output.name for stage in stages for output in stage.outputs}


def _work(
    recipe: Recipe,
    stages: Sequence[Stage],
    picked: Sequence[Stage],
    output: Output,
    pool: Pool,
    limit: int | None,
    reporter: Reporter,
    described: Mapping[str, Mapping[str, Any]],
) -> None:
    begin(output, recipe, stages)
    digests = ChunkDigests()
    here = outputs_of(stages)
    plans: dict[str, StagePlan] = {}
    for stage in picked:
        inputs = places_of(recipe, stage, here)
        made = prepare_stage(stage, output.tiling, inputs, digests, output.ledger, reporter, pool.threads_here)
        for note in made.notes:
            reporter.say(f"{stage.title}: {note}", warning=True)
        places, complete = ensure_arrays(output, stage, _attributes(stage, made, described.get(stage.name, {})))
        manifest = Manifest(output.ledger, stage.name)
        plan = plan_stage(stage, output.tiling, manifest, inputs, places, made.made_with, digests)
        plans[stage.name] = plan
        if plan.wanted:
            mark(output, stage, "writing")
            _make(stage, plan, recipe, output, inputs, places, made, pool, limit, reporter)
            digests.forget(output.where, (place.name for place in places))
        manifest.fold(output.tiling.chunks())
        if plan.wanted or not complete:
            mark(output, stage, "complete")
        if stage.summary is not None and (plan.wanted or output.ledger.read(f"tables/{stage.name}.csv") is None):
            maps = open_layers(output.where, [variable.name for variable in stage.outputs])
            tallies = [record.tally for _, record in sorted(manifest.read().items()) if record.tally is not None]
            for name, table in stage.summary(tallies, maps).items():
                output.ledger.write(f"tables/{name}.csv", table.to_csv(index=False).encode())
    if len(picked) == len(stages):
        finish(output, recipe, stages, root_attributes(recipe, stages, output))
        done = sum(len(plan.wanted) for plan in plans.values())
        total = sum(plan.total for plan in plans.values())
        reporter.say(f"{recipe.run.name}: complete; {done} of {total} tiles made, {total - done} were fresh")


def _make(
    stage: Stage,
    plan: StagePlan,
    recipe: Recipe,
    output: Output,
    inputs: Sequence[LayerPlace],
    places: Sequence[LayerPlace],
    made: Made,
    pool: Pool,
    limit: int | None,
    reporter: Reporter,
) -> None:
    for chunk, reasons in list(plan.stale.items())[:20]:
        log.info("%s: tile %s is stale: %s", stage.title, chunk, "; ".join(reasons))
    for reason, count in plan.reasons().items():
        if "is not what was written" in reason or "is gone" in reason:
            reporter.say(f"{stage.title}: {reason}; made again", warning=True)
        else:
            log.info("%s: %d tiles: %s", stage.title, count, reason)
    forecast = fit_memory(
        stage,
        output.tiling,
        [place.itemsize for place in inputs],
        model=2 * made.model_bytes,
        threads=pool.threads_each,
        processes=pool.processes,
        limit=limit,
        where=recipe.where,
        side=recipe.run.tile,
    )
    tiling = Tiling(output.tiling.shape, output.tiling.chunk, forecast.side)
    assignment = Assignment(
        stage, output.grid, output.tiling, tuple(inputs), tuple(places), output.where, made.made_with, made.model_key
    )
    tiles = list(tiling.tiles(plan.wanted, stage.halo))
    log.info("%s: forecast of memory %.2f GB on %s", stage.title, forecast.total / GIGABYTE, pool.where)
    peak = 0

    def done(tile: TileDone) -> None:
        nonlocal peak
        peak = max(peak, tile.peak_bytes)
        reporter.tile_done(str(tile.rectangle), tile.seconds)

    def lost(item: Any, tries: int) -> None:
        reporter.say(f"{stage.title}: the worker of tile {item} died; trying again", warning=True)

    with reporter.stage(stage.title, len(tiles)):
        drive(pool, make_tile, assignment, tiles, done, lost, at_once=forecast.at_once * forecast.processes)
    if pool.bereft:
        sweep(output.where)
    log.info("%s: peak memory of a process %.2f GB", stage.title, peak / GIGABYTE)


def _check_memory(recipe: Recipe, stages: Sequence[Stage], output: Output, pool: Pool, limit: int | None) -> None:
    """Refuse before the first tile; models that are not trained yet count as what their samples suggest."""
    for stage in stages:
        fit_memory(
            stage,
            output.tiling,
            [4] * len(stage.inputs),
            model=0,
            threads=pool.threads_each,
            processes=pool.processes,
            limit=limit,
            where=recipe.where,
            side=recipe.run.tile,
        )


def _attributes(stage: Stage, made: Made, described: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for source in (stage.attributes, {"": described}, made.attributes):
        for name, values in source.items():
            merged.setdefault(name, {}).update(values)
    return merged


def _log_file(recipe: Recipe) -> Path | None:
    """Beside a local store, as `NAME.log`; for a URL in the working folder."""
    if is_url(recipe.output):
        path = Path.cwd() / f"{recipe.run.name}.log"
    else:
        path = Path(recipe.output)
        path = path.with_name(path.name.removesuffix(".zarr") + ".log")
    folder = path.parent
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            return path
    return None


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM, by which batch systems announce the end of a job's time, stops a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
