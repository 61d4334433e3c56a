"""What a stage does once before its tiles: train, and store the model with what it was trained from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd
import xarray as xr

from tpsoil.columns import stored_table
from tpsoil.cube.store import open_layers
from tpsoil.stage import Prepared, Report, Stage, Workbench

from .durable import digest_bytes
from .execute import computing_here
from .ledger import SUM_SUFFIX, Ledger
from .origin import Origin
from .places import Chunk, LayerPlace, open_store
from .plan import ChunkDigests, Dependencies, input_digest, model_digest
from .progress import Reporter
from .tiles import DigestRecorder

Result = TypeVar("Result")


@dataclass(frozen=True)
class PreparedStage:
    """A stage ready for its tiles.

    Parameters
    ----------
    dependencies : Dependencies
        For its records.
    model_key : str
        For `Assignment`; "" without a model.
    model_bytes : int
    attributes : mapping
        As in `Prepared`.
    notes : sequence of str
    """

    dependencies: Dependencies
    model_key: str = ""
    model_bytes: int = 0
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class TrainedFrom:
    """What a stage is trained from now, with which a stored model is compared.

    Parameters
    ----------
    origin : Origin
        Of the stage.
    inputs : sequence of LayerPlace
    digests : ChunkDigests
    changing : mapping of str to chunks
        Chunks of input layers that will be computed again.
    """

    origin: Origin
    inputs: Sequence[LayerPlace]
    digests: ChunkDigests
    changing: Mapping[str, Collection[Chunk]] = field(default_factory=dict)

    def is_current(self, described: Mapping[str, Any]) -> bool:
        """Whether a stored model is what the stage would train; `described` was stored with it."""
        return described.get("origin") == self.origin.of_model and self._same_chunks(described.get("read", {}))

    def is_reported(self, described: Mapping[str, Any]) -> bool:
        """Whether the stored tables beside the maps are what the stage would report."""
        reported = described.get("reported")
        if reported is None or reported["origin"] != self.origin.report or reported["model"] != described["digest"]:
            return False
        return self._same_chunks(reported["read"])

    def _same_chunks(self, chunks_read: Mapping[str, Any]) -> bool:
        """Whether the chunks of inputs that were read have the bytes that they had."""
        for place in self.inputs:
            read = chunks_read.get(place.name)
            if read is None:
                return False
            chunks = place.chunks_named(read["chunks"])
            if not set(chunks).isdisjoint(self.changing.get(place.name, ())):
                return False
            self.digests.load(place, chunks)
            if input_digest(place, {chunk: self.digests.of(place, chunk) for chunk in chunks}) != read["digest"]:
                return False
        return True


def prepare_stage(stage: Stage, now: TrainedFrom, ledger: Ledger, reporter: Reporter, workers: int) -> PreparedStage:
    """Train what the stage needs trained, unless the same model was trained before from the same data.

    Parameters
    ----------
    stage : Stage
    now : TrainedFrom
    ledger : Ledger
        Of the output store, where the model is stored.
    reporter : Reporter
        Shows the progress.
    workers : int
        Threads of this process to train with.

    Returns
    -------
    PreparedStage

    Notes
    -----
    Stored with the model are digests of the chunks that `prepare` read. It is repeated where one of those changed; a
    changed chunk without a sample makes its tile stale, not the model. As training is deterministic, it may return the
    same bytes again, and then no tile becomes stale by it.
    """
    key = f"models/{stage.name}"
    if stage.prepare is None:
        if ledger.read_json(f"{key}.json") is not None:  # of an earlier recipe
            for suffix in (".json", ".bin", ".state"):
                ledger.remove(f"{key}{suffix}")
        return PreparedStage(Dependencies(now.origin))
    described = ledger.read_json(f"{key}.json")
    data = None
    if described is not None and now.is_current(described):
        data = _stored(ledger, f"{key}.bin", described["digest"])
        if described.get("state") and _stored(ledger, f"{key}.state", described["state"]) is None:
            data = None
    if described is None or data is None:
        described, data = _train(stage, now, ledger, reporter, workers)
    if stage.report is None and "reported" in described:  # by an earlier recipe
        described = _without_reported(described)
        ledger.write_json(f"{key}.json", described)
    elif stage.report is not None and not now.is_reported(described):
        described = _report(stage, now, described, ledger, reporter, workers)
    _write_csv(stage, described, ledger)
    return PreparedStage(
        Dependencies(now.origin, model_digest(described, loads=stage.load is not None)),
        f"{key}.bin#{described['digest']}",
        len(data),
        described["attributes"],
        tuple(described["notes"]),
    )


def _stored(ledger: Ledger, key: str, digest: str) -> bytes | None:
    """Stored bytes; None where they are gone, or damaged, which the run reports."""
    data = ledger.read(key)
    if data is None or digest_bytes(data) == digest:
        return data
    ledger.damaged[key] = "does not match its checksum"
    return None


def _train(
    stage: Stage, now: TrainedFrom, ledger: Ledger, reporter: Reporter, workers: int
) -> tuple[dict[str, Any], bytes]:
    """Train and store: the description of the model, and its bytes."""
    key = f"models/{stage.name}"
    with reporter.preparing(f"{stage.title}: {stage.prepares}") as progress:
        bench = Workbench(workers, progress, ledger.scratch(stage.name))
        done, read = _run(now.inputs, lambda cube: _prepare(stage, cube, bench))
    described = {
        "origin": now.origin.of_model,
        "read": read,
        "digest": digest_bytes(done.model),
        "attributes": {name: dict(value) for name, value in done.attributes.items()},
        "tables": {name: table.to_csv(index=False) for name, table in done.tables.items()},
        "notes": list(done.notes),
    }
    ledger.write(f"{key}.bin", done.model)
    if done.state:
        described["state"] = digest_bytes(done.state)
        ledger.write(f"{key}.state", done.state)
    ledger.write_json(f"{key}.json", described)
    return ledger.read_json(f"{key}.json") or described, done.model  # as the next run reads it, keys in order


def _report(
    stage: Stage, now: TrainedFrom, described: Mapping[str, Any], ledger: Ledger, reporter: Reporter, workers: int
) -> dict[str, Any]:
    """Make the tables that a stage reports beside its maps, and store them with the model's description."""
    state = ledger.read(f"models/{stage.name}.state") or b""
    with reporter.preparing(f"{stage.title}: tables") as progress:
        bench = Workbench(workers, progress)
        done, read = _run(now.inputs, lambda cube: _reported(stage, cube, state, bench))
    own = _without_reported(described)
    described = {
        **own,
        "tables": {**own["tables"], **{name: table.to_csv(index=False) for name, table in done.tables.items()}},
        "notes": [*own["notes"], *done.notes],
        "reported": {
            "origin": now.origin.report,
            "model": described["digest"],
            "read": read,
            "tables": sorted(done.tables),
            "notes": len(done.notes),
        },
    }
    ledger.write_json(f"models/{stage.name}.json", described)
    return ledger.read_json(f"models/{stage.name}.json") or described


def _without_reported(described: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a model without the tables and notes that were reported beside its maps."""
    before = described.get("reported") or {"tables": [], "notes": 0}
    notes = list(described["notes"])
    return {
        **{key: value for key, value in described.items() if key != "reported"},
        "tables": {name: text for name, text in described["tables"].items() if name not in before["tables"]},
        "notes": notes[: len(notes) - int(before["notes"])],
    }


def _write_csv(stage: Stage, described: Mapping[str, Any], ledger: Ledger) -> None:
    """Write the tables of a stage without maps as files too: they are its result."""
    if stage.outputs:
        return
    for name, text in described.get("tables", {}).items():
        key, data = f"models/{stage.name}.{name}.csv", str(text).encode()
        if ledger.read(key) != data:
            ledger.write(key, data)


def read_tables(ledger: Ledger, stages: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Tables of several stages, those of the same name concatenated."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for stage in stages:
        described = ledger.read_json(f"models/{stage}.json") or {}
        for name, text in described.get("tables", {}).items():
            tables.setdefault(name, []).append(stored_table(text))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def remove_tables(ledger: Ledger, stage: str) -> None:
    """Remove the tables of maps that are about to change: a killed run leaves no table rather than an old one."""
    described = ledger.read_json(f"tables/{stage}.json")
    if described is None:
        return
    for name in described["tables"]:
        for suffix in ("", SUM_SUFFIX):
            ledger.remove(f"tables/{name}.csv{suffix}")
    ledger.remove(f"tables/{stage}.json")


def _prepare(stage: Stage, cube: xr.Dataset, bench: Workbench) -> Prepared:
    return Prepared(b"") if stage.prepare is None else stage.prepare(cube, stage.options, bench)


def _reported(stage: Stage, cube: xr.Dataset, state: bytes, bench: Workbench) -> Report:
    return Report() if stage.report is None else stage.report(cube, stage.options, state, bench)


def _run(inputs: Sequence[LayerPlace], work: Callable[[xr.Dataset], Result]) -> tuple[Result, dict[str, Any]]:
    """What is done with the lazy inputs of a stage, and the chunks that it read."""
    stores = {place.store: DigestRecorder(open_store(place.store), name=place.store) for place in inputs}
    parts = [open_layers(store, [p.name for p in inputs if p.store == where]) for where, store in stores.items()]
    cube = xr.merge(parts, join="override", compat="override", combine_attrs="override") if parts else xr.Dataset()
    # In threads of this process, where the reads are recorded, not by the client of a notebook.
    with computing_here():
        done = work(cube)
    read = {}
    for place in inputs:
        recorded = stores[place.store].digests
        chunks = {chunk: recorded[place.key(*chunk)] for chunk in place.every_chunk() if place.key(*chunk) in recorded}
        read[place.name] = {"chunks": place.names_of(chunks), "digest": input_digest(place, chunks)}
    return done, read
