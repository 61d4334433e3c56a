"""What a stage does once before its tiles: train, and store the model with what it was trained from."""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import xarray as xr

from tpsoil.cube import open_cube
from tpsoil.stage import Prepared, Stage, Workbench

from .execute import computing_here
from .ledger import SUM_SUFFIX, Ledger
from .manifest import Chunk, digest_bytes
from .origin import Origin
from .places import open_store
from .plan import ChunkDigests, Dependencies, LayerPlace, input_digest, model_digest
from .progress import Reporter
from .tiles import DigestRecorder


@dataclass(frozen=True)
class PreparedStage:
    """A stage ready for its tiles.

    Parameters
    ----------
    made_with : MadeWith
        For its records.
    model_key : str
        For `Assignment`; "" without a model.
    model_bytes : int
    tables : mapping of str to DataFrame
    attributes : mapping
        As in `Prepared`.
    trained : bool
        Whether the model was trained now.
    notes : sequence of str
    """

    dependencies: Dependencies
    model_key: str = ""
    model_bytes: int = 0
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trained: bool = False
    notes: Sequence[str] = ()


def prepare_stage(
    stage: Stage,
    origin: Origin,
    inputs: Sequence[LayerPlace],
    digests: ChunkDigests,
    ledger: Ledger,
    reporter: Reporter,
    workers: int,
) -> PreparedStage:
    """Train what the stage needs trained, unless the same model was trained before from the same data.

    Parameters
    ----------
    stage : Stage
    origin : Origin
        Of the stage, now.
    inputs : sequence of LayerPlace
    digests : ChunkDigests
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
    if stage.prepare is None:
        return PreparedStage(Dependencies(origin))
    described = ledger.read_json(f"models/{stage.name}.json")
    if described is not None and is_current(described, origin, inputs, digests):
        data = ledger.read(f"models/{stage.name}.bin")
        if data is not None and digest_bytes(data) == described["digest"]:
            _write_csv(stage, described, ledger)
            return _prepared_stage(stage, origin, data, described, trained=False)
    with reporter.preparing(f"{stage.title}: {stage.prepares}") as progress:
        done, read = _run(stage, inputs, Workbench(workers, progress, ledger.scratch(stage.name)))
    described = {
        "origin": origin.digest,
        "read": read,
        "digest": digest_bytes(done.model),
        "attributes": {key: dict(value) for key, value in done.attributes.items()},
        "tables": {name: table.to_csv(index=False) for name, table in done.tables.items()},
        "notes": list(done.notes),
    }
    ledger.write(f"models/{stage.name}.bin", done.model)
    ledger.write_json(f"models/{stage.name}.json", described)
    described = ledger.read_json(f"models/{stage.name}.json") or described  # as the next run reads it, keys in order
    _write_csv(stage, described, ledger)
    return _prepared_stage(stage, origin, done.model, described, trained=True)


def is_current(
    described: Mapping[str, Any],
    origin: Origin,
    inputs: Sequence[LayerPlace],
    digests: ChunkDigests,
    changing: Mapping[str, Collection[Chunk]] | None = None,
) -> bool:
    """Whether a stored model is what the stage would train now.

    Parameters
    ----------
    described : mapping
        What was stored with the model.
    origin, inputs, digests
        Of now.
    changing : mapping of str to chunks, optional
        Chunks of input layers that will be computed again.
    """
    if described.get("origin") != origin.digest:
        return False
    for place in inputs:
        read = described.get("read", {}).get(place.name)
        if read is None:
            return False
        chunks = place.chunks_named(read["chunks"])
        if not set(chunks).isdisjoint((changing or {}).get(place.name, ())):
            return False
        digests.load(place, chunks)
        if input_digest(place, {chunk: digests.of(place, chunk) for chunk in chunks}) != read["digest"]:
            return False
    return True


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
            tables.setdefault(name, []).append(pd.read_csv(io.StringIO(text)))
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


def _run(stage: Stage, inputs: Sequence[LayerPlace], bench: Workbench) -> tuple[Prepared, dict[str, Any]]:
    """What a stage prepares, and the chunks that it read."""
    stores = {place.store: DigestRecorder(open_store(place.store), name=place.store) for place in inputs}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*writing did not end", category=UserWarning)
        parts = [open_cube(store)[[p.name for p in inputs if p.store == where]] for where, store in stores.items()]
    cube = xr.merge(parts, join="override", compat="override", combine_attrs="override") if parts else xr.Dataset()
    # In threads of this process, where the reads are recorded, not by the client of a notebook.
    with computing_here():
        done = Prepared(b"") if stage.prepare is None else stage.prepare(cube, stage.options, bench)
    read = {}
    for place in inputs:
        recorded = stores[place.store].digests
        chunks = {chunk: recorded[place.key(*chunk)] for chunk in place.every_chunk() if place.key(*chunk) in recorded}
        read[place.name] = {"chunks": place.names_of(chunks), "digest": input_digest(place, chunks)}
    return done, read


def _prepared_stage(
    stage: Stage, origin: Origin, data: bytes, described: Mapping[str, Any], *, trained: bool
) -> PreparedStage:
    key = f"models/{stage.name}.bin#{described['digest']}"
    tables = {name: pd.read_csv(io.StringIO(text)) for name, text in described["tables"].items()}
    return PreparedStage(
        Dependencies(origin, model_digest(described, loads=stage.load is not None)),
        key,
        len(data),
        tables,
        described["attributes"],
        trained,
        tuple(described["notes"]),
    )
