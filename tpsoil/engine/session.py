"""One run: stages -> tiles -> maps with records of what they were computed from."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Any

import pandas as pd
import xarray as xr

from tpsoil.columns import stored_table
from tpsoil.cube import open_cube
from tpsoil.cube.chunks import read_attributes
from tpsoil.cube.consolidated import consolidated
from tpsoil.errors import InputError, TpsoilError
from tpsoil.grid import geographic_bounds
from tpsoil.plausibility import Reference, emptiness, notes_of, references_at, require_values, score_notes
from tpsoil.stage import Stage

from .execute import Pool, drive
from .forecast import GIGABYTE, Forecast, Resources, check_disk, fit_memory, forecast_disk, memory_limit
from .job import Job, naming_store_failures
from .lock import locked
from .manifest import Manifest, Record, changed_chunks
from .origin import Origin, origin_of, remove_other_origins, unchecked
from .output import Output, begin, ensure_arrays, find_output, finish, mark
from .passes import StageWork, assignment_of, log_reasons, pass_as_stage, passes_of, stages_by_chunk
from .places import Chunk, LayerPlace, layer_place, open_store
from .plan import ChunkDigests, Tiling, plan_stage
from .pools import open_pool
from .prepare import PreparedStage, TrainedFrom, prepare_stage, remove_tables
from .progress import Reporter, log, log_file, logging_to
from .provenance import root_attributes
from .repair import describe_damage, sweep
from .tiles import MAX_TOGETHER, TileDone, compute_tile
from .workers import require_stores

PLAUSIBILITY_ATTRIBUTE = "plausibility_notes"
"""Of the root group: one line for each map or score that leaves its reference range."""


@dataclass(frozen=True)
class Session:
    """One run while it works: what is computed, from what, where, and how.

    Parameters
    ----------
    job : Job
    origins : mapping of str to Origin
        By stage.
    output : Output
        With the lock of the run.
    pool : Pool
    limit : int or None
        Memory of all processes, bytes.
    reporter : Reporter
    described : mapping of str to mapping
        By stage, the attributes that its `describe` gave.
    digests : ChunkDigests
    """

    job: Job
    origins: Mapping[str, Origin]
    output: Output
    pool: Pool
    limit: int | None
    reporter: Reporter
    described: Mapping[str, Mapping[str, Any]]
    digests: ChunkDigests = field(default_factory=ChunkDigests)

    def attributes(self, stage: Stage, prepared: PreparedStage) -> dict[str, dict[str, Any]]:
        """Attributes of a stage's layers by name, those of all under ""."""
        merged: dict[str, dict[str, Any]] = {}
        for source in (stage.attributes, {"": self.described.get(stage.name, {})}, prepared.attributes):
            for name, values in source.items():
                merged.setdefault(name, {}).update(values)
        return merged

    def fit_memory(self, stage: Stage, itemsizes: Sequence[int], model: int) -> Forecast:
        """The forecast of memory for the tiles of a stage.

        Raises
        ------
        InputError
        """
        pool, job = self.pool, self.job
        resources = Resources(pool.threads_each, pool.processes, self.limit, job.where, job.tile)
        return fit_memory(stage, self.output.tiling, itemsizes, resources, model=model, grid=self.output.grid)


class Interrupted(TpsoilError):
    """A run that was stopped by the user or the system; stored tiles remain valid."""

    exit_status = 130


def run(
    job: Job,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    memory: float | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Compute the tiles of a job that are missing or stale.

    Parameters
    ----------
    job : Job
    scheduler, workers, memory, progress
        As in `tpsoil.run`.

    Returns
    -------
    Dataset
        The store, opened lazily.

    Raises
    ------
    InputError, MissingInputError, StoreExistsError
        Before anything is computed.
    AccessError
        Where another run is writing to the store, or it cannot be written.
    CorruptStoreError
        For stored bytes that do not decode.
    WorkError
        Where work fails. Stored tiles remain valid, and the same call continues from there.
    """
    place = find_output(job)
    origins, job = with_origins(job, place.tiling)
    described = {
        stage.name: stage.describe(stage.options, place.grid) for stage in job.selected if stage.describe is not None
    }
    limit = memory_limit(memory)
    reporter = Reporter(show=progress)
    warn = partial(reporter.report, warning=True)
    with logging_to(log_file(job.output, job.name)), _signals():
        log.info("run '%s' of %s into %s", job.name, job.where, job.output)
        try:
            entries = tuple(dict.fromkeys(origins[stage.name].entries for stage in job.selected))
            with open_pool(scheduler, workers, entries, warn) as pool, naming_store_failures(job):
                pool.report = warn
                session = Session(job, origins, place, pool, limit, reporter, described)
                for stage in job.selected:  # a model that is not trained yet counts as 0 bytes
                    session.fit_memory(stage, [4] * len(stage.inputs), 0)
                disk = forecast_disk(job.selected, place.tiling, job.output, overviews=not job.adds)
                log.info("%s", disk.summary)
                if note := check_disk(disk, job.where):
                    warn(note)
                with locked(place.ledger, warn) as ledger:
                    _work(replace(session, output=replace(place, ledger=ledger)))
        except KeyboardInterrupt:
            log.warning("stopped")
            raise Interrupted(f"stopped; stored tiles remain valid. Continue with {job.resume}") from None
        except TpsoilError as error:
            log.error("%s", error)
            raise
    return open_cube(job.output)


def with_origins(job: Job, tiling: Tiling) -> tuple[dict[str, Origin], Job]:
    """What determines the results of every stage now, and the job whose stages have the digest of their sources.

    Digests are taken before anything is opened: a source that changes later leaves records of its earlier
    content, which the next run recognises.
    """
    origins = {stage.name: origin_of(stage, tiling.shape, tiling.chunk) for stage in job.stages}
    stages = {stage.name: origins[stage.name].with_content(stage) for stage in job.stages}
    selected = tuple(stages[stage.name] for stage in job.selected)
    return origins, replace(job, stages=tuple(stages.values()), selected=selected)


def places_of(job: Job, stage: Stage) -> list[LayerPlace]:
    """Where a stage's inputs are stored."""
    here = job.outputs
    return [layer_place(job.output if name in here or job.cube is None else job.cube, name) for name in stage.inputs]


def _work(session: Session) -> None:
    job, origins, output, reporter = session.job, session.origins, session.output, session.reporter
    if output.migration:
        reporter.report(output.migration, warning=True)
    copied = begin(output, job, origins)
    require_stores(session.pool.on_workers, output.where, output.ledger.token, () if job.cube is None else (job.cube,))
    for name, origin in origins.items():
        if names := unchecked(origin.files):
            reporter.report(f"{name}: changes of sources are not checked: {'; '.join(names)}", warning=True)
    done = total = 0
    notes: list[str] = []
    withdrawn: dict[str, list[str]] = {}
    changed: dict[str, list[Chunk]] = {}
    references = references_at(geographic_bounds(job.grid))
    for stages in passes_of(job.selected, MAX_TOGETHER):
        works = [_begin(stage, session) for stage in stages]
        for work in works:
            done, total = done + len(work.plan.to_compute), total + work.plan.total
            if work.plan.to_compute:
                log_reasons(work, reporter)
                withdrawn[work.stage.name] = mark(output, work.stage, "writing")
                remove_tables(output.ledger, work.stage.name)
        for members, chunks in stages_by_chunk(works):
            _compute_tiles(members, chunks, session)
        for work in works:
            if work.plan.to_compute:
                session.digests.discard(output.where, (place.name for place in work.places))
            records, now = _finish_stage(work, session, withdrawn.get(work.stage.name, ()))
            notes += _notes_of_stage(work.stage, records, references)
            changed |= now
    for line in describe_damage(output.ledger.damaged):
        reporter.report(f"{output.where}: {line}", warning=True)
    notes += score_notes(_tables_of(output))
    notes = list(dict.fromkeys(notes))  # a layer that one stage computes and another reads is noted once
    for line in notes:
        reporter.report(f"note: {line}")
    if len(job.selected) == len(job.stages):
        attributes = root_attributes(job, output, origins) | {PLAUSIBILITY_ATTRIBUTE: notes}
        if removed := finish(output, job, origins, attributes, changed):
            reporter.report(
                f"layers that the recipe does not compute any more were removed: {', '.join(removed)}", warning=True
            )
        if copied is not None and not done and copied != consolidated(output.where):
            log.info("zarr.json: consolidated metadata written again")
        reporter.report(f"{job.name}: complete; {done} of {total} tiles computed, {total - done} were up to date")


def _begin(stage: Stage, session: Session) -> StageWork:
    """Train what the stage needs trained, create its layers, and plan its tiles."""
    output, digests, reporter = session.output, session.digests, session.reporter
    inputs, origin = places_of(session.job, stage), session.origins[stage.name]
    now = TrainedFrom(origin, inputs, digests)
    prepared = prepare_stage(stage, now, output.ledger, reporter, session.pool.threads_here)
    for note in prepared.notes:
        reporter.report(f"{stage.title}: {note}", warning=True)
    places, complete = ensure_arrays(output, stage, session.attributes(stage, prepared))
    manifest = Manifest(output.ledger, stage.name)
    plan = plan_stage(stage, output.tiling, manifest, inputs, places, prepared.dependencies, digests)
    return StageWork(stage, prepared, tuple(inputs), tuple(places), complete, manifest, plan)


def _finish_stage(
    work: StageWork, session: Session, withdrawn: Collection[str]
) -> tuple[list[Record], dict[str, list[Chunk]]]:
    """Merge the records of a stage, mark its layers as complete, and write the tables that describe its maps.

    Returns the records of all chunks, row by row, and for each layer whose overviews were withdrawn the chunks whose
    bytes are others than before.
    """
    output, stage = session.output, work.stage
    if work.plan.to_compute or work.manifest.parts():
        by_chunk, before = work.manifest.fold(output.tiling.chunks())
    else:
        by_chunk = before = dict(sorted(work.manifest.read().items()))
    records = list(by_chunk.values())
    if stage.needs_values:
        _require_values(stage, records, session.attributes(stage, work.prepared))
    remove_other_origins(output.ledger, session.origins[stage.name])
    if work.plan.to_compute or not work.complete:
        mark(output, stage, "complete")
    _summarise(work, output, records)
    return records, {name: changed_chunks(name, before, by_chunk) for name in withdrawn}


def _require_values(stage: Stage, records: Sequence[Record], attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Reject a layer for which the source has no value; the layer then stays incomplete."""
    statistics = [record.statistics or {"cells": 0, "valid": {}} for record in records]
    common = attributes.get("", {})
    source = "; ".join(str(common[key]) for key in ("source", "masked_classes") if common.get(key)) or stage.title
    names = [spec.name for spec in stage.outputs]
    require_values(names, statistics, source=source, nodata=str(common.get("source_nodata", "")))


def _notes_of_stage(stage: Stage, records: Sequence[Record], references: Sequence[Reference]) -> list[str]:
    """Notes of a stage's maps: they are empty, or outside published ranges."""
    statistics = [record.statistics for record in records if record.statistics is not None]
    empty = emptiness(statistics)
    if empty:
        return [f"{stage.title}: {empty}"]
    own = [] if stage.notes is None else stage.notes([r.tally for r in records if r.tally is not None])
    return [*notes_of(statistics, stage.fitted, references=references), *own]


def _tables_of(output: Output) -> dict[str, pd.DataFrame]:
    tables = {}
    for key in output.ledger.names("tables"):
        data = output.ledger.read_table(f"tables/{key}") if key.endswith(".csv") else None
        if data is not None and data.strip():
            tables[key.removesuffix(".csv")] = stored_table(data)
    return tables


def _summarise(work: StageWork, output: Output, records: Sequence[Record]) -> None:
    """Write the tables that describe a stage's maps, unless they are there and of the same records."""
    stage = work.stage
    if stage.summary is None:
        return
    key, digest = f"tables/{stage.name}.json", work.manifest.digest()
    stored = output.ledger.read_json(key)
    names = stored["tables"] if stored is not None and stored["records"] == digest else None
    if names is not None and all(output.ledger.read_table(f"tables/{name}.csv") is not None for name in names):
        return
    layers = (*work.inputs, *work.places)
    attributes = {place.name: read_attributes(open_store(place.store), place.name) for place in layers}
    tables = stage.summary([record.tally for record in records if record.tally is not None], attributes)
    for name, table in tables.items():
        output.ledger.write_table(f"tables/{name}.csv", table.to_csv(index=False).encode())
    output.ledger.write_json(key, {"records": digest, "tables": sorted(tables)})


def _compute_tiles(works: Sequence[StageWork], chunks: Sequence[Chunk], session: Session) -> None:
    """Compute chunks of the stages of a pass; in halves where all together need more memory than there is."""
    output, pool, reporter = session.output, session.pool, session.reporter
    stage = pass_as_stage([work.stage for work in works])
    itemsizes = list({place.name: place.itemsize for work in works for place in work.inputs}.values())
    try:
        forecast = session.fit_memory(stage, itemsizes, 2 * sum(work.prepared.model_bytes for work in works))
    except InputError:
        if len(works) == 1:
            raise
        half = len(works) // 2
        for part in (works[:half], works[half:]):
            _compute_tiles(part, chunks, session)
        return
    tiling = Tiling(output.tiling.shape, output.tiling.chunk, forecast.side)
    assignment = assignment_of(works, output)
    tiles = list(tiling.tiles(chunks, stage.halo))
    log.info("%s: forecast of memory %.2f GB on %s", stage.title, forecast.total / GIGABYTE, pool.where)
    peak = 0

    def done(tile: TileDone) -> None:
        nonlocal peak
        peak = max(peak, tile.peak_bytes)
        reporter.tile_done(str(tile.rectangle), tile.seconds)

    with reporter.stage(stage.title, len(tiles)):
        at_once = forecast.at_once * forecast.processes
        drive(pool, compute_tile, assignment, tiles, done, at_once=at_once, title=stage.title)
    if pool.lost_workers:
        sweep(output.where)
    log.info("%s: peak memory of a process %.2f GB", stage.title, peak / GIGABYTE)


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
