"""Where stores and their layers are: a path or URL, the zarr store behind it, and the chunks of a layer."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from tpsoil.cube.encoding import layer_encoding, touched
from tpsoil.cube.location import local_path
from tpsoil.cube.location import open_store as open_any_store
from tpsoil.errors import MissingInputError, nearest_name

from .durable import digest_of

if TYPE_CHECKING:
    from zarr.abc.store import Store

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_SECRET = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://[^/@]*@")
Chunk = tuple[int, int]
DECIDING: Final = ("_FillValue", "units", "flag_values", "kind", "scale_factor", "add_offset")
"""Attributes that decide how stored numbers are read."""


def is_url(text: str) -> bool:
    """Whether a store's name is a URL rather than a path.

    Examples
    --------
    >>> is_url("s3://bucket/maps.zarr"), is_url("out/maps.zarr")
    (True, False)
    """
    return _URL.match(text) is not None


def has_secret(text: str) -> bool:
    """Whether a URL carries a user or password, which would be written to manifests and logs."""
    return _SECRET.match(text) is not None


def overlapping(first: str, second: str) -> bool:
    """Whether two places are the same or one is inside the other.

    Parameters
    ----------
    first, second : str
        Paths or URLs; they need not exist.

    Notes
    -----
    Paths are compared without their symbolic links and by the file system's own numbers (device and inode), so that
    bind mounts and names that differ in case only are recognised. URLs are compared by protocol, host and path. Two
    names of one object store (an endpoint's address and `s3://`) are not recognised.

    Examples
    --------
    >>> overlapping("/data/cube.zarr", "/data/./cube.zarr/slope"), overlapping("/data/a.zarr", "/data/ab.zarr")
    (True, False)
    >>> overlapping("s3://bucket/a.zarr/", "S3://bucket//a.zarr"), overlapping("file:///data/a.zarr", "/data/a.zarr")
    (True, True)
    """
    one, other = _parts(first), _parts(second)
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return True
    if one[0] != "" or other[0] != "":
        return False
    own, others = _inodes(one), _inodes(other)
    return own[-1] in others[1:] or others[-1] in own[1:]


def _parts(where: str) -> tuple[str, ...]:
    """Protocol and host ("" for a path), then the names from the root down."""
    address = where.rpartition("::")[2]  # of a chain such as simplecache::s3://bucket/a.zarr
    if not is_url(address):
        path = os.path.realpath(where)
    elif address.lower().startswith("file://"):
        path = os.path.realpath(unquote(urlsplit(address).path))
    else:
        split = urlsplit(address)
        protocol = {"s3a": "s3", "gcs": "gs"}.get(split.scheme.lower(), split.scheme.lower())
        host = split.netloc.rpartition("@")[2].lower()
        path = posixpath.normpath("/" + unquote(split.path))
        return (f"{protocol}://{host}", *(part for part in path.split("/") if part))
    drive, rest = os.path.splitdrive(os.path.normcase(path))
    return ("", drive, *(part for part in rest.split(os.sep) if part))


def _inodes(parts: tuple[str, ...]) -> list[object]:
    """Device and inode of a path's folders from the root down, the path's own last; itself where it does not exist."""
    path, numbers = parts[1] + os.sep, list[object]()
    for part in ("", *parts[2:]):
        path = os.path.join(path, part)
        try:
            state = os.stat(path)
            numbers.append((state.st_dev, state.st_ino) if state.st_ino else path)
        except OSError:
            numbers.append(path)
    return numbers


@lru_cache(maxsize=64)
def open_store(where: str, read_only: bool = False) -> Store:
    """The zarr store at a path or URL; the same object for the same name in one process."""
    return open_any_store(where, read_only=read_only)


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
