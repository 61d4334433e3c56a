"""A store's descriptions and coordinates compared with what they must be, and written again where they differ.

They are all known before a run begins: from the grid, the chunks and the stages' outputs. So damage by a power cut or a
disk is repaired without reading them. Chunks are compared with their records, elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from odc.geo.geobox import GeoBox
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from tpsoil.cube.codecs import ZSTD_MAGIC, earlier_layer_codecs
from tpsoil.cube.consolidated import KEY as CONSOLIDATED
from tpsoil.cube.conventions import CONVENTION_KEYS
from tpsoil.cube.regions import create_layers
from tpsoil.cube.store import lay_out_cube
from tpsoil.variables import Variable

from .ledger import Ledger, read_raw
from .progress import log

ROOT_KEY: Final = "zarr.json"
SAMPLED_CHUNKS: Final = 4
"""Read to see how a layer without a description is encoded: more than one, as one may be damaged."""
STATES: Final = ("writing", "complete")
DECIDED: Final = ("grid_mapping", "coordinates", "_FillValue")
"""Attributes of a layer that no stage sets."""


def restore_layout(ledger: Ledger, grid: GeoBox, chunk: int) -> None:
    """Write the root's description and the coordinates again where they are not what they must be.

    Parameters
    ----------
    ledger : Ledger
        Of the output store; records what was damaged.
    grid : GeoBox
    chunk : int
        Side of the stored chunks, cells.
    """
    expected, earlier = _laid_out(grid, chunk), _laid_out(grid, chunk, earlier_codecs=True)
    stored = dict(zip(expected, read_raw(ledger.store, list(expected))))
    migrated = False
    for key, data in expected.items():
        fits = _same_root(stored[key], data) if key == ROOT_KEY else stored[key] == data
        if not fits:
            if stored[key] == earlier.get(key):
                migrated = True
            else:
                _note(ledger, key, stored[key])
            ledger.write_node(key, data)
    if migrated:
        log.info("%s: of an earlier tpsoil; coordinates get codecs that GDAL reads, layers retain theirs", ledger.where)


def layout_keys(grid: GeoBox, chunk: int) -> list[str]:
    """Keys of the root's description and of the coordinates."""
    return list(_laid_out(grid, chunk))


def layout_attributes(grid: GeoBox, chunk: int) -> dict[str, Any]:
    """Attributes of the root before a run adds its own."""
    attributes: dict[str, Any] = _parsed(_laid_out(grid, chunk)[ROOT_KEY])["attributes"]
    return attributes


def restore_layers(ledger: Ledger, grid: GeoBox, chunk: int, variables: Iterable[Variable]) -> None:
    """Write layers' descriptions again where they cannot be read or describe another array.

    Parameters
    ----------
    ledger : Ledger
    grid : GeoBox
    chunk : int
    variables : iterable of Variable
        Layers that a run computes. A missing one is created, in state "writing"; its chunks are not changed, and are
        valid where their records are. Chunks that an earlier tpsoil encoded retain their codecs.
    """
    expected = list(variables)
    memory = MemoryStore()
    lay_out_cube(memory, grid, chunk)
    create_layers(memory, expected)
    keys = [f"{variable.name}/{ROOT_KEY}" for variable in expected]
    for variable, key, data, stored in zip(expected, keys, read_raw(memory, keys), read_raw(ledger.store, keys)):
        if data is None or _same_array(stored, data):
            continue
        earlier = _earlier(data)
        if _same_array(stored, earlier):
            continue
        _note(ledger, key, stored)
        ledger.write_node(key, earlier if _has_earlier_chunks(ledger, variable.name) else data)


def _earlier(data: bytes) -> bytes:
    """A layer's description with the codecs of an earlier tpsoil."""
    document = _parsed(data)
    codecs = earlier_layer_codecs(np.dtype(document["data_type"]).itemsize)
    return json.dumps({**document, "codecs": [document["codecs"][0], *codecs]}).encode()


def _has_earlier_chunks(ledger: Ledger, name: str) -> bool:
    """Whether the layer has a chunk, and none of the first ones is a zstd frame."""

    async def first_keys() -> list[str]:
        keys = [key async for key in ledger.store.list_prefix(f"{name}/c")]
        return sorted(keys)[:SAMPLED_CHUNKS]

    stored = [data for data in read_raw(ledger.store, sync(first_keys())) if data]
    return bool(stored) and not any(data.startswith(ZSTD_MAGIC) for data in stored)


@lru_cache(maxsize=8)
def _laid_out(grid: GeoBox, chunk: int, *, earlier_codecs: bool = False) -> Mapping[str, bytes]:
    """Every object of an empty cube."""
    memory = MemoryStore()
    lay_out_cube(memory, grid, chunk, earlier_codecs=earlier_codecs)
    prototype = default_buffer_prototype()

    async def read() -> dict[str, bytes]:
        names = [name async for name in memory.list()]
        objects = {name: await memory.get(name, prototype) for name in sorted(names)}
        return {name: value.to_bytes() for name, value in objects.items() if value is not None}

    contents: Mapping[str, bytes] = sync(read())
    return contents


def _note(ledger: Ledger, key: str, stored: bytes | None) -> None:
    if stored is not None:
        ledger.damaged[f"../{key}"] = "is not what was written"


def _same_root(stored: bytes | None, expected: bytes) -> bool:
    """Whether the root is as expected; attributes that runs add, and what a run writes last, may be there or not."""
    old, new = _parsed(stored), _parsed(expected)
    attributes = dict(old.pop("attributes", None) or {})
    old.pop(CONSOLIDATED, None)
    return old == {k: v for k, v in new.items() if k != "attributes"} and all(
        attributes.get(key) == value for key, value in new["attributes"].items() if key not in CONVENTION_KEYS
    )


def _same_array(stored: bytes | None, expected: bytes) -> bool:
    """Whether an array is stored as it must be; its other attributes are updated elsewhere."""
    old, new = _parsed(stored), _parsed(expected)
    attributes, needed = old.pop("attributes", None), new.pop("attributes")
    if not isinstance(attributes, dict) or old != new or attributes.get("state") not in STATES:
        return False
    return all(attributes.get(key) == needed.get(key) for key in DECIDED)


def _parsed(data: bytes | None) -> dict[str, Any]:
    try:
        content = json.loads(data or b"")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def describe_damage(damaged: Mapping[str, str]) -> list[str]:
    """Lines for the user, one an object."""
    return [f"{_shown(key)} {why}; it was restored" for key, why in sorted(damaged.items())]


def _shown(key: str) -> str:
    return key.removeprefix("../") if key.startswith("../") else f"_tpsoil/{key}"
