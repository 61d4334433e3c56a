"""What a run would compute, without computing anything."""

from __future__ import annotations

import contextlib

from tpsoil.errors import InputError, MissingInputError
from tpsoil.stage import Stage

from .execute import number_of_workers
from .forecast import Forecast, Resources, check_disk, fit_memory, forecast_disk, memory_limit
from .job import Job
from .ledger import Ledger
from .manifest import Manifest
from .output import Output, find_output
from .passes import pass_as_stage, passes_of
from .places import Chunk, LayerPlace, layer_place
from .plan import ChunkDigests, Dependencies, StagePlan, model_digest, plan_stage, touched_by
from .prepare import TrainedFrom
from .session import places_of, with_origins
from .state import Preview, Previews
from .tiles import MAX_TOGETHER


def preview(job: Job, *, workers: int | None = None, processes: bool = False, memory: float | None = None) -> Previews:
    """What `run` would compute, and its forecasts of memory and disk. Writes nothing.

    Parameters
    ----------
    job : Job
    workers, memory
        As in `tpsoil.run`.
    processes : bool
        Whether the workers are processes.

    Returns
    -------
    Previews
        One `Preview` a stage, in order. A tile that depends on tiles of an earlier stage is counted in `follows`:
        whether it is stale is known when those are computed, because a chunk that is computed again often has the same
        bytes.
    """
    place = find_output(job)
    origins, job = with_origins(job, place.tiling)
    digests = ChunkDigests()
    changing: dict[str, set[Chunk]] = {}
    previews = Previews()
    previews.disk = forecast_disk(job.selected, place.tiling, job.output, overviews=not job.adds)
    check_disk(previews.disk, job.where)
    threads = number_of_workers(workers)
    each, number = (1, threads) if processes else (threads, 1)
    resources = Resources(each, number, memory_limit(memory), job.where, job.tile)

    def forecast_of(stage: Stage) -> Forecast:
        return fit_memory(stage, place.tiling, [4] * len(stage.inputs), resources, grid=place.grid)

    together = {one.name: stages for stages in passes_of(job.selected, MAX_TOGETHER) for one in stages}
    for stage in job.selected:
        try:
            forecast = forecast_of(pass_as_stage(together[stage.name]))
        except InputError:  # the run divides a pass that needs more memory than there is
            forecast = forecast_of(stage)
        outputs = _existing_arrays(place, stage)
        upstream = {name: changing[name] for name in stage.inputs if changing.get(name)}
        inputs = _existing_inputs(job, stage)
        if len(outputs) < len(stage.outputs) or inputs is None:
            plan = StagePlan(stage.name, place.tiling.count, missing=list(place.tiling.chunks()))
            previews.append(Preview(stage.title, plan, forecast))
        else:
            now = TrainedFrom(origins[stage.name], inputs, digests, upstream)
            dependencies, note = _dependencies_of(stage, now, place.ledger)
            manifest = Manifest(place.ledger, stage.name)
            plan = plan_stage(stage, place.tiling, manifest, inputs, outputs, dependencies, digests)
            to_compute = set(plan.to_compute)
            reached = {c for chunks in upstream.values() for c in touched_by(chunks, place.tiling, stage.halo)}
            plan.follows = len(reached - to_compute)
            plan.current -= plan.follows
            previews.append(Preview(stage.title, plan, forecast, note))
        for variable in stage.outputs:
            changing[variable.name] = set(plan.to_compute)
    return previews


def _existing_inputs(job: Job, stage: Stage) -> list[LayerPlace] | None:
    try:
        return places_of(job, stage)
    except (MissingInputError, FileNotFoundError):
        return None


def _dependencies_of(stage: Stage, now: TrainedFrom, ledger: Ledger) -> tuple[Dependencies, str]:
    if stage.prepare is None:
        return Dependencies(now.origin), ""
    described = ledger.read_json(f"models/{stage.name}.json")
    if described is None:
        return Dependencies(now.origin), "the model will be trained"
    current = now.is_current(described)
    note = "" if current else "the model will be trained again"
    if current and stage.report is not None and not now.is_reported(described):
        note = "its tables will be made again"
    return Dependencies(now.origin, model_digest(described, loads=stage.load is not None)), note


def _existing_arrays(output: Output, stage: Stage) -> tuple[LayerPlace, ...]:
    """The stage's arrays that exist."""
    if not output.exists:
        return ()
    places = []
    for variable in stage.outputs:
        with contextlib.suppress(MissingInputError):  # not there, or its description cannot be read
            places.append(layer_place(output.where, variable.name))
    return tuple(places)
