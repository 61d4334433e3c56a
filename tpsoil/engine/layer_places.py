"""Where a layer is stored, its chunks, and the digest of how they are read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tpsoil.cube.encoding import layer_encoding, touched
from tpsoil.cube.location import local_path
from tpsoil.errors import MissingInputError, nearest_name

from .manifest import Chunk, digest_of
from .places import open_store

DECIDING: Final = ("_FillValue", "units", "flag_values", "kind", "scale_factor", "add_offset")
"""Attributes that decide how stored numbers are read."""


@dataclass(frozen=True)
class LayerPlace:
    """Where a layer is stored, and its chunks.

    Parameters
    ----------
    name : str
    store : str
        Path or URL.
    shape, chunks : (ny, nx)
    keys : str
        Store key of chunk (i, j), with `{i}` and `{j}`.
    itemsize : int
    signature : str
        Digest of what decides how bytes become values: shape, type, codecs, fill value, units, flags.
    """

    name: str
    store: str
    shape: tuple[int, int]
    chunks: tuple[int, int]
    keys: str
    itemsize: int
    signature: str

    def key(self, i: int, j: int) -> str:
        """Store key of a chunk."""
        return self.keys.format(i=i, j=j)

    def touched(self, rows: slice, columns: slice) -> list[Chunk]:
        """Chunks that a window overlaps."""
        return touched(rows, columns, self.chunks)

    def every_chunk(self) -> list[Chunk]:
        """All chunks, row by row."""
        return self.touched(slice(0, self.shape[0]), slice(0, self.shape[1]))

    def names_of(self, chunks: Collection[Chunk]) -> list[str] | Literal["all"]:
        """Chunks in their JSON form."""
        if len(chunks) == len(self.every_chunk()):
            return "all"
        return [f"{i}.{j}" for i, j in sorted(chunks)]

    def chunks_named(self, names: Sequence[str] | Literal["all"]) -> list[Chunk]:
        """The chunks that `names_of` named."""
        if names == "all":
            return self.every_chunk()
        return [(int(i), int(j)) for i, j in (name.split(".") for name in names)]


def layer_place(store: str, name: str) -> LayerPlace:
    """Location and layout of a stored layer.

    Raises
    ------
    MissingInputError

    Notes
    -----
    The description of a layer as tpsoil writes it, in a folder, is read as it is; zarr is imported, and opens the
    layer, for any other. Runs and `tpsoil status` both call this function, so their signatures agree.
    """
    folder = local_path(store)
    if folder is not None and (plain := _plain_place(folder, store, name)) is not None:
        return plain
    import zarr

    try:
        array = zarr.open_array(store=open_store(store), path=name, mode="r")
    except FileNotFoundError:
        try:
            known = sorted(zarr.open_group(open_store(store), mode="r", use_consolidated=False).array_keys())
        except FileNotFoundError:
            raise MissingInputError(f"{store}: no such store, which should hold the layer '{name}'") from None
        raise MissingInputError(f"{store}: no layer '{name}'{nearest_name(name, known)}") from None
    except (TypeError, ValueError):  # a group, zarr's message for it has changed more than once
        raise MissingInputError(f"{store}: '{name}' is no layer (y, x)") from None
    return place_of(array, store, name)


def _plain_place(folder: Path, store: str, name: str) -> LayerPlace | None:
    """The same from the layer's metadata document alone; None for what `layer_encoding` does not cover."""
    try:
        document = json.loads((folder / name / "zarr.json").read_bytes())
        encoding = layer_encoding(document)
    except (OSError, ValueError):  # an UnsupportedEncodingError is one
        return None
    keys = f"{name}/c{encoding.separator}{{i}}{encoding.separator}{{j}}"
    signature = _signature(document, document["attributes"])
    return LayerPlace(name, store, encoding.shape, encoding.chunk, keys, encoding.dtype.itemsize, signature)


def place_of(array: Any, store: str, name: str) -> LayerPlace:
    """The same of an array that zarr opened.

    Raises
    ------
    MissingInputError
    """
    if array.ndim != 2:
        raise MissingInputError(f"{store}: '{name}' is no layer (y, x)")
    metadata: dict[str, Any] = array.metadata.to_dict()
    attributes = metadata.pop("attributes", {})
    cut = array.shards or array.chunks
    template = f"{name}/" + array.metadata.encode_chunk_key((987654321, 123456789))
    keys = template.replace("987654321", "{i}").replace("123456789", "{j}")
    return LayerPlace(name, store, array.shape, cut, keys, array.dtype.itemsize, _signature(metadata, attributes))


def _signature(metadata: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    deciding = {key: attributes[key] for key in DECIDING if key in attributes}
    return digest_of({**metadata, "attributes": deciding})
