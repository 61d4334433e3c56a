"""A store's descriptions and coordinates compared with what they must be, and written again where they differ.

They are all known before a run begins: from the grid, the chunks and the stages' outputs. So damage by a power cut or a
disk is repaired without reading them. Chunks are compared with their records, elsewhere.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np
from odc.geo.geobox import GeoBox

from tpsoil.cube.chunks import list_keys, read_objects
from tpsoil.cube.codecs import ZSTD_MAGIC, earlier_layer_codecs
from tpsoil.cube.consolidated import KEY as CONSOLIDATED
from tpsoil.cube.conventions import CONVENTION_KEYS
from tpsoil.cube.layout import layout_objects
from tpsoil.cube.location import local_path
from tpsoil.cube.regions import layer_document
from tpsoil.variables import Variable

from .ledger import RECORDS_FOLDER, Ledger
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
    expected = layout_objects(grid, chunk)
    stored = dict(zip(expected, read_objects(ledger.store, list(expected))))
    migrated = False
    for key, data in expected.items():
        fits = _same_root(stored[key], data) if key == ROOT_KEY else stored[key] == data
        if not fits:
            if stored[key] == layout_objects(grid, chunk, earlier_codecs=True).get(key):
                migrated = True
            else:
                _note(ledger, key, stored[key])
            ledger.write_node(key, data)
    if migrated:
        log.info("%s: of an earlier tpsoil; coordinates get codecs that GDAL reads, layers retain theirs", ledger.where)


def layout_keys(grid: GeoBox, chunk: int) -> list[str]:
    """Keys of the root's description and of the coordinates."""
    return list(layout_objects(grid, chunk))


def layout_attributes(grid: GeoBox, chunk: int) -> dict[str, Any]:
    """Attributes of the root before a run adds its own."""
    attributes: dict[str, Any] = _parsed(layout_objects(grid, chunk)[ROOT_KEY])["attributes"]
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
    keys = [f"{variable.name}/{ROOT_KEY}" for variable in expected]
    for variable, key, stored in zip(expected, keys, read_objects(ledger.store, keys)):
        new = layer_document(variable, (int(grid.shape[0]), int(grid.shape[1])), chunk, {})
        codecs = earlier_layer_codecs(np.dtype(variable.dtype).itemsize)
        earlier = {**new, "codecs": [new["codecs"][0], *codecs]}
        if _same_array(stored, new) or _same_array(stored, earlier):
            continue
        _note(ledger, key, stored)
        document = earlier if _has_earlier_chunks(ledger, variable.name) else new
        ledger.write_node(key, json.dumps(document).encode())


def _has_earlier_chunks(ledger: Ledger, name: str) -> bool:
    """Whether the layer has a chunk, and none of the first ones is a zstd frame."""
    keys = list_keys(ledger.store, f"{name}/c")[:SAMPLED_CHUNKS]
    stored = [data for data in read_objects(ledger.store, keys) if data]
    return bool(stored) and not any(data.startswith(ZSTD_MAGIC) for data in stored)


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


def _same_array(stored: bytes | None, expected: Mapping[str, Any]) -> bool:
    """Whether an array is stored as it must be; its other attributes are updated elsewhere."""
    old, new = _parsed(stored), dict(expected)
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


def sweep(where: str, names: Collection[str] = ()) -> None:
    """Remove partial files of writers that were killed: zarr's local store writes `.partial` files and renames them.

    A folder that zarr does not know is removed where it has the name of a layer, or is empty: its writer was killed
    before the array's description was stored. Any other belongs to the user.
    """
    path = local_path(where)
    if path is None:
        return
    for leftover in path.rglob("*.partial"):
        leftover.unlink(missing_ok=True)
    for folder in path.iterdir():
        if not folder.is_dir() or folder.name == RECORDS_FOLDER or (folder / "zarr.json").exists():
            continue
        if folder.name in names or not any(part.is_file() for part in folder.rglob("*")):
            shutil.rmtree(folder)
