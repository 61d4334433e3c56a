"""What a stage does once before its tiles: train, and keep the result with what it was made from."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from tpsoil.cube import open_cube

from .ledger import Ledger
from .manifest import digest_bytes, digest_file, digest_of
from .plan import ChunkDigests, LayerPlace, Tiling, input_digest, stage_digest
from .stage import Prepared, Stage
from .tiles import software


@dataclass(frozen=True)
class Made:
    """A stage ready for its tiles.

    Parameters
    ----------
    made_with : (model, recipe, kernels)
        Digests that its records carry.
    model_key : str
        For `Assignment`; "" without a model.
    model_bytes : int
    tables : mapping of str to DataFrame
    attributes : mapping
        As in `Prepared`.
    trained : bool
        Whether the model was made now.
    notes : sequence of str
    """

    made_with: tuple[str, str, str]
    model_key: str = ""
    model_bytes: int = 0
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trained: bool = False
    notes: Sequence[str] = ()


def prepare_stage(
    stage: Stage,
    tiling: Tiling,
    inputs: Sequence[LayerPlace],
    digests: ChunkDigests,
    ledger: Ledger,
) -> Made:
    """Train what the stage needs trained, unless the same was trained before from the same.

    Parameters
    ----------
    stage : Stage
    tiling : Tiling
    inputs : sequence of LayerPlace
    digests : ChunkDigests
    ledger : Ledger
        Of the output store, where the model is kept.

    Returns
    -------
    Made

    Notes
    -----
    Training is repeated where any chunk of its layers changed, even one without a sample: it is deterministic, so where
    the samples' cells did not change it gives the same bytes, and no tile becomes stale by it.
    """
    files = files_digest(stage.files)
    recipe = stage_digest(stage, tiling)
    if stage.prepare is None:
        return Made((files, recipe, software()))
    origin = digest_of([recipe, files, software(), layers_digest(inputs, digests)])
    described = ledger.read_json(f"models/{stage.name}.json")
    if described is not None and described.get("origin") == origin:
        data = ledger.read(f"models/{stage.name}.bin")
        if data is not None and digest_bytes(data) == described["digest"]:
            return _made(stage, files, recipe, data, described, trained=False)
    done = _run(stage, inputs)
    described = {
        "origin": origin,
        "digest": digest_bytes(done.model),
        "attributes": {key: dict(value) for key, value in done.attributes.items()},
        "tables": {name: table.to_csv(index=False) for name, table in done.tables.items()},
        "notes": list(done.notes),
    }
    ledger.write(f"models/{stage.name}.bin", done.model)
    ledger.write_json(f"models/{stage.name}.json", described)
    return _made(stage, files, recipe, done.model, described, trained=True)


def layers_digest(places: Sequence[LayerPlace], digests: ChunkDigests) -> str:
    """Digest of all stored chunks of several layers."""
    whole = []
    for place in places:
        chunks = place.touched(slice(0, place.shape[0]), slice(0, place.shape[1]))
        digests.load(place, chunks)
        whole.append([place.name, input_digest(place, {chunk: digests.of(place, chunk) for chunk in chunks})])
    return digest_of(whole)


def files_digest(files: Sequence[Path]) -> str:
    """Digest of the bytes of several files, by name; their folder does not matter."""
    joined = hashlib.blake2b(digest_size=10)
    for path in files:
        state = path.stat()
        joined.update(f"{path.name}={_file_digest(path, state.st_size, state.st_mtime_ns)};".encode())
    return joined.hexdigest()


@lru_cache(maxsize=4096)
def _file_digest(path: Path, _size: int, _changed: int) -> str:
    return digest_file(path) or ""


def model_digest(files: str, described: Mapping[str, Any]) -> str:
    """The digest that records carry for a trained model and the files behind it."""
    return digest_of([files, described["digest"]])


def read_tables(ledger: Ledger, stages: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Tables of several stages, those of one name put below each other."""
    found: dict[str, list[pd.DataFrame]] = {}
    for stage in stages:
        described = ledger.read_json(f"models/{stage}.json") or {}
        for name, text in described.get("tables", {}).items():
            found.setdefault(name, []).append(pd.read_csv(io.StringIO(text)))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def _run(stage: Stage, inputs: Sequence[LayerPlace]) -> Prepared:
    by_store: dict[str, list[str]] = {}
    for place in inputs:
        by_store.setdefault(place.store, []).append(place.name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*writing did not end", category=UserWarning)
        parts = [open_cube(store)[names] for store, names in by_store.items()]
    cube = xr.merge(parts, join="override", compat="override", combine_attrs="override") if parts else xr.Dataset()
    if stage.prepare is None:
        return Prepared(b"")
    return stage.prepare(cube, stage.options)


def _made(stage: Stage, files: str, recipe: str, data: bytes, described: Mapping[str, Any], *, trained: bool) -> Made:
    key = f"models/{stage.name}.bin#{described['digest']}"
    tables = {name: pd.read_csv(io.StringIO(text)) for name, text in described["tables"].items()}
    model = model_digest(files, described) if stage.load is not None else files
    return Made(
        (model, recipe, software()),
        key,
        len(data),
        tables,
        described["attributes"],
        trained,
        tuple(described["notes"]),
    )
