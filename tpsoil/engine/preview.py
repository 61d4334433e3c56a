"""What a run would compute, and the state of a store, without computing anything."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tpsoil.display import html_summary, html_table
from tpsoil.errors import InputError, MissingInputError
from tpsoil.stage import Stage

from .arrays import layer_place
from .execute import available_processors
from .job import Job
from .ledger import Ledger
from .lock import lock_owner
from .manifest import Chunk, Manifest, check_format
from .memory import Forecast, fit_memory, memory_limit
from .origin import Origin, origin_from, read_origin
from .output import RUN_KEY, existing_arrays, find_output
from .places import is_url
from .plan import (
    ChunkDigests,
    Dependencies,
    LayerPlace,
    StagePlan,
    Tiling,
    plan_stage,
    touched_by,
)
from .prepare import is_current, model_digest
from .session import with_origins


@dataclass(frozen=True)
class Preview:
    """What one stage would do.

    Parameters
    ----------
    title : str
    plan : StagePlan
    forecast : Forecast or None
    note : str
    """

    title: str
    plan: StagePlan
    forecast: Forecast | None = None
    note: str = ""


class Previews(list[Preview]):
    """Previews of all stages; shown as a table in a notebook."""

    def _repr_html_(self) -> str:
        rows = [
            [one.title, one.plan.total, one.plan.current, len(one.plan.missing), len(one.plan.stale), one.note
             or "; ".join(f"{count}: {reason}" for reason, count in list(one.plan.reasons().items())[:3])]
            for one in self
        ]  # fmt: skip
        todo, total = sum(len(one.plan.to_compute) for one in self), sum(one.plan.total for one in self)
        table = html_table(["stage", "tiles", "up to date", "missing", "stale", "why"], rows)
        return html_summary("Run", {"tiles to compute": f"{todo} of {total}"}, table)


def preview(job: Job, *, workers: int | None = None, processes: bool = False, memory: float | None = None) -> Previews:
    """What `run` would compute, and its forecast of memory. Writes nothing.

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
    here = job.outputs
    changing: dict[str, set[Chunk]] = {}
    previews = Previews()
    for stage in job.selected:
        threads = workers or available_processors()
        forecast = fit_memory(
            stage,
            place.tiling,
            [4] * len(stage.inputs),
            model=0,
            threads=1 if processes else threads,
            processes=threads if processes else 1,
            limit=memory_limit(memory),
            where=job.where,
            side=job.tile,
            grid=place.grid,
        )
        outputs = existing_arrays(place, stage)
        upstream = {name: changing[name] for name in stage.inputs if changing.get(name)}
        inputs = _existing_inputs(stage, job.output, job.cube, here)
        if len(outputs) < len(stage.outputs) or inputs is None:
            plan = StagePlan(stage.name, place.tiling.count, missing=list(place.tiling.chunks()))
            previews.append(Preview(stage.title, plan, forecast))
        else:
            dependencies, note = _dependencies_of(stage, origins[stage.name], inputs, digests, place.ledger, upstream)
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


def status(store: str) -> Previews:
    """Tiles of a store that are up to date, missing or stale, and the reasons.

    Parameters
    ----------
    store : str
        Output of a run.

    Returns
    -------
    Previews
        A list of `Preview`.

    Raises
    ------
    MissingInputError
        For a path without a run.

    Notes
    -----
    Compares records with the stored layers, the stored model and this tpsoil. Files outside the store are compared by
    `tpsoil run RECIPE --dry-run`, which knows their paths.
    """
    place = store if is_url(store) else os.path.abspath(store)
    if not is_url(place) and not os.path.isdir(place):
        raise MissingInputError(f"{store}: no such store")
    ledger = Ledger.at(place, read_only=True)
    content = ledger.read_json(RUN_KEY)
    if content is None:
        raise MissingInputError(f"{store}: no run wrote to it; tpsoil cube info describes a cube")
    check_format(content, place)
    tiling = Tiling((int(content["shape"][0]), int(content["shape"][1])), int(content["chunk"]))
    digests = ChunkDigests()
    previews = Previews()
    for entry in content["stages"]:
        stage = Stage(entry["name"], entry["title"], entry["section"], (), _nothing, halo=entry["halo"])
        names = [str(name) for name in entry["outputs"]]
        stored = read_origin(ledger, stage.name, str(entry.get("origin")))
        try:
            outputs = [layer_place(place, name) for name in names]
            inputs = [layer_place(_cube_of(content, place) if from_cube else place, name)
                      for name, from_cube in entry["inputs"]]  # fmt: skip
            if stored is None:
                raise MissingInputError(
                    "its records are lost or of an older tpsoil; the next run computes its tiles again"
                )
        except MissingInputError as error:
            plan = StagePlan(stage.name, tiling.count, missing=list(tiling.chunks()))
            previews.append(Preview(stage.title, plan, note=str(error)))
            continue
        described = ledger.read_json(f"models/{stage.name}.json")
        model = "" if described is None else model_digest(described, loads=entry["loads"])
        dependencies = Dependencies(origin_from(stage.name, stored).with_current_code(), model)
        like = replace(
            stage,
            outputs=tuple(range(len(outputs))),  # type: ignore[arg-type]
            tally=_no_numbers if entry["tallies"] else None,
        )
        plan = plan_stage(like, tiling, Manifest(ledger, stage.name), inputs, outputs, dependencies, digests)
        previews.append(Preview(stage.title, plan))
    return previews


def state_of(store: str) -> tuple[str, str | None]:
    """A store's state ("running" or "complete"), and the process that is writing to it now."""
    place = store if is_url(store) else os.path.abspath(store)
    ledger = Ledger.at(place, read_only=True)
    content = ledger.read_json(RUN_KEY) or {}
    return str(content.get("state", "unknown")), lock_owner(ledger)


def _existing_inputs(stage: Stage, output: str, cube: str | None, here: set[str]) -> list[LayerPlace] | None:
    try:
        return [layer_place(output if name in here or cube is None else cube, name) for name in stage.inputs]
    except (MissingInputError, FileNotFoundError):
        return None


def _dependencies_of(
    stage: Stage,
    origin: Origin,
    inputs: list[LayerPlace],
    digests: ChunkDigests,
    ledger: Ledger,
    upstream: Mapping[str, Collection[Chunk]],
) -> tuple[Dependencies, str]:
    if stage.prepare is None:
        return Dependencies(origin), ""
    described = ledger.read_json(f"models/{stage.name}.json")
    if described is None:
        return Dependencies(origin), "the model will be trained"
    current = is_current(described, origin, inputs, digests, upstream)
    note = "" if current else "the model will be trained again"
    return Dependencies(origin, model_digest(described, loads=stage.load is not None)), note


def _cube_of(content: Mapping[str, Any], place: str) -> str:
    # A variable that a recipe put into the cube's URL is stored by its name.
    cube = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], match[0]), str(content.get("cube") or ""))
    return cube if is_url(cube) or os.path.isabs(cube) else os.path.normpath(os.path.join(place, cube))


def _nothing(_window: Any) -> Mapping[str, Any]:
    raise InputError("a stage known from a store only cannot compute")


def _no_numbers(_layers: Any) -> Mapping[str, Any]:
    raise InputError("a stage known from a store only cannot compute")
