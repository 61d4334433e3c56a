"""Chunks of a layer on a local disk, read and written without an event loop: the bytes that zarr writes.

zarr sends every chunk through one event loop in one thread of the process. Beside kernels of a few milliseconds that is
most of a tile's time, and more threads do not help: they wait for the same loop. `benchmarks/chunks.py` compares zarr's
own codec pipelines, the `zarrs` pipeline and this module; the printed result is in `benchmarks/results/chunks.md`.

This module covers the common case only: a local store and the codecs that `create_layers` gives a layer. How chunks are
encoded is read from the array's metadata document (`encoding.py`). Every other store, codec or configuration, and every
error, is left to zarr.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import StorePath, WrapperStore

from .encoding import ChunkEncoding, UnsupportedEncodingError, layer_encoding, touched
from .location import folder_of, read_file

Array = npt.NDArray[Any]

DESCRIPTION: Final = "zarr.json"
"""Key of the metadata document of a group or an array."""
BLOSC_OVERHEAD_BYTES: Final = 16
"""Blosc's own bound of what it adds to bytes that do not compress."""


class ObservedStore(WrapperStore[Store]):  # type: ignore[misc]
    """A store that reports every complete object that is read or written, by zarr or by `LocalChunks`.

    Parameters
    ----------
    store : Store
        The store that is observed.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.observed = store

    def on_object(self, key: str, data: Any) -> None:
        """An object was read or written; `data` are its bytes, None where there is none or it was removed."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        buffer = await self.observed.get(key, prototype, byte_range)
        if byte_range is None:
            self.on_object(key, None if buffer is None else buffer.as_buffer_like())
        return buffer

    async def set(self, key: str, value: Buffer) -> None:
        await self.observed.set(key, value)
        self.on_object(key, value.as_buffer_like())

    async def delete(self, key: str) -> None:
        await self.observed.delete(key)
        self.on_object(key, None)

    # Codec pipelines of newer releases of zarr use these instead of the coroutines.

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        buffer = self.observed.get_sync(key, prototype=prototype, byte_range=byte_range)
        if byte_range is None:
            self.on_object(key, None if buffer is None else buffer.as_buffer_like())
        return buffer

    def set_sync(self, key: str, value: Buffer) -> None:
        self.observed.set_sync(key, value)
        self.on_object(key, value.as_buffer_like())

    def delete_sync(self, key: str) -> None:
        self.observed.delete_sync(key)
        self.on_object(key, None)


class LocalChunks:
    """The chunks of one array in a folder.

    Parameters
    ----------
    folder : Path
        Of the array.
    encoding : ChunkEncoding
    path : str
        Key of the array in its store, "" at the root.
    observer : ObservedStore, optional
        Gets every object that is read or written.
    """

    def __init__(
        self, folder: Path, encoding: ChunkEncoding, *, path: str = "", observer: ObservedStore | None = None
    ) -> None:
        self.folder, self.encoding, self.path, self.observer = os.fspath(folder), encoding, path, observer
        self.chunk, self.dtype, self.fill = encoding.chunk, encoding.dtype, encoding.fill
        self.blosc, self.frame = encoding.blosc(), encoding.frame()

    @classmethod
    def of(cls, array: Any) -> LocalChunks | None:
        """The chunks of an open array; None where its store or its encoding is not covered, or cannot be read."""
        try:
            store = array.store
            root = folder_of(store)
            if root is None:
                return None
            folder = root / array.path
            encoding = _encoding((folder / DESCRIPTION).read_bytes())
            # The document on disk may be newer than the open array.
            if (encoding.shape, encoding.chunk, encoding.dtype) != (array.shape, array.chunks, array.dtype):
                return None
            return cls(folder, encoding, path=array.path, observer=store if isinstance(store, ObservedStore) else None)
        except Exception:  # zarr's own path works, or reports what is wrong
            return None

    def read(self, rows: slice, cols: slice) -> Array:
        """A window's values; the fill value where there is no object.

        Raises
        ------
        ValueError, RuntimeError
            For bytes that fail their checksum or have another size.
        OSError
        """
        high, wide = self.chunk
        blocks = touched(rows, cols, self.chunk)
        if len(blocks) == 1:
            i, j = blocks[0]
            block = self._decoded(i, j)
            down, across = rows.start - i * high, cols.start - j * wide
            part = block[down : down + rows.stop - rows.start, across : across + cols.stop - cols.start]
            return block if part.shape == block.shape else part.copy()
        values = np.empty((rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        for i, j in blocks:
            top, bottom = max(rows.start, i * high), min(rows.stop, (i + 1) * high)
            left, right = max(cols.start, j * wide), min(cols.stop, (j + 1) * wide)
            block = self._decoded(i, j)[top - i * high : bottom - i * high, left - j * wide : right - j * wide]
            values[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = block
        return values

    def write(self, rows: slice, cols: slice, values: Array) -> None:
        """Write complete chunks, each as one object, also where all values are the fill value.

        Raises
        ------
        OSError
        """
        high, wide = self.chunk
        for i, j in touched(rows, cols, self.chunk):
            top, left = i * high - rows.start, j * wide - cols.start
            block = values[top : top + high, left : left + wide]
            if block.shape != (high, wide):  # at the grid's edge a chunk is padded with the fill value
                padded = np.full((high, wide), self.fill, self.dtype)
                padded[: block.shape[0], : block.shape[1]] = block
                block = padded
            data = self.encode(block)
            key = self.encoding.key(i, j)
            put_file(f"{self.folder}/{key}", data)
            self._report(key, data)

    def encode(self, block: Array) -> bytes:
        """The stored bytes of a chunk."""
        packed: bytes = self.blosc.encode(np.ascontiguousarray(block, self.dtype).ravel().view(np.uint8))
        if self.frame is not None:
            framed: bytes = self.frame.encode(packed)
            return framed
        checksum: int = google_crc32c.value(packed)
        return packed + checksum.to_bytes(4, "little")

    def decode(self, data: bytes) -> Array:
        """The values of a chunk from its stored bytes."""
        packed = self._checked(data)
        block = np.empty(self.chunk, self.dtype)
        if int.from_bytes(packed[4:8], "little") != block.nbytes:  # in Blosc's header: bytes before they were packed
            raise ValueError(f"the chunk does not unpack to {block.nbytes} bytes")
        self.blosc.decode(packed, out=block)
        return block

    def _checked(self, data: bytes) -> bytes:
        """Blosc's bytes, after a comparison with their checksum."""
        if self.frame is not None:
            limit = self.chunk[0] * self.chunk[1] * self.dtype.itemsize + BLOSC_OVERHEAD_BYTES
            if frame_content_bytes(data) > limit:  # memory is reserved for what the frame states
                raise ValueError(f"the chunk's frame does not unpack to at most {limit} bytes")
            packed: bytes = self.frame.decode(data)  # raises for a checksum that does not match
            return packed
        if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise ValueError("the checksum does not match the bytes")
        return data[:-4]

    def _decoded(self, i: int, j: int) -> Array:
        key = self.encoding.key(i, j)
        data = read_file(f"{self.folder}/{key}")
        self._report(key, data)
        return np.full(self.chunk, self.fill, self.dtype) if data is None else self.decode(data)

    def _report(self, key: str, data: bytes | None) -> None:
        if self.observer is not None:
            self.observer.on_object(f"{self.path}/{key}" if self.path else key, data)


@lru_cache(maxsize=512)
def _encoding(document: bytes) -> ChunkEncoding:
    return ChunkEncoding.from_document(json.loads(document))


class StoredArray:
    """A layer's array by its metadata document alone, opened in a tenth of the time that zarr takes.

    UnsupportedEncodingError is raised for a document that `layer_encoding` does not cover.
    """

    def __init__(self, store: Store, path: str, document: dict[str, Any]) -> None:
        encoding = layer_encoding(document)
        self.store, self.path, self.document = store, path, document
        self.shape, self.chunks, self.dtype = encoding.shape, encoding.chunk, encoding.dtype
        self.fill_value = encoding.fill
        self.attrs: dict[str, Any] = document["attributes"]

    @cached_property
    def opened(self) -> zarr.Array:
        """The array of zarr, for what `LocalChunks` does not read or write."""
        return zarr.Array(zarr.AsyncArray.from_dict(StorePath(self.store, self.path), self.document))


def array_of(store: Store, name: str, document: dict[str, Any]) -> Any:
    """An array from its metadata document: a `StoredArray`, or one of zarr where that does not cover it."""
    try:
        return StoredArray(store, name, document)
    except UnsupportedEncodingError:
        return zarr.Array(zarr.AsyncArray.from_dict(StorePath(store, name), document))


def in_zarr(array: Any) -> Any:
    """An open array as one of zarr."""
    return array.opened if isinstance(array, StoredArray) else array


def open_array(store: Store, name: str) -> Any:
    """An array of a store; one on a local disk is opened without zarr's event loop, as `array_of`.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        As `zarr.open_array`.
    """
    root = folder_of(store)
    if root is not None:
        text = read_file(f"{root}/{name}/{DESCRIPTION}")
        if text is None and not os.path.exists(f"{root}/{name}/.zarray"):
            raise FileNotFoundError(f"no array {name} in {root}")
        with contextlib.suppress(Exception):  # zarr reports what is wrong
            return array_of(store, name, json.loads(text or b""))
    return zarr.open_array(store=store, path=name, mode="r" if store.read_only else "r+")


def open_group(store: Store, mode: Literal["r", "r+"]) -> zarr.Group:
    """The group at the root of a store, without its consolidated metadata; of a local disk as `open_array`.

    Raises
    ------
    As `zarr.open_group`.
    """
    root = folder_of(store)
    if root is not None:
        with contextlib.suppress(Exception):
            document = json.loads((root / DESCRIPTION).read_bytes())
            # A copy of the descriptions may be out of date where something else than tpsoil changed the store.
            document.pop("consolidated_metadata", None)
            return zarr.Group(zarr.AsyncGroup.from_dict(StorePath(store), document))
    return zarr.open_group(store, mode=mode, use_consolidated=False)


def read_objects(store: Store, keys: Sequence[str]) -> list[bytes | None]:
    """Stored bytes of some keys, requested at once; None where there is no object."""
    if (root := folder_of(store)) is not None and not isinstance(store, ObservedStore):
        return [read_file(f"{root}/{key}") for key in keys]

    async def fetch() -> list[bytes | None]:
        buffers = await asyncio.gather(*(store.get(key, default_buffer_prototype()) for key in keys))
        return [None if buffer is None else bytes(buffer.to_bytes()) for buffer in buffers]

    return list(sync(fetch()))


def list_keys(store: Store, prefix: str = "") -> list[str]:
    """Keys of all objects of a store that begin with a prefix, sorted."""

    async def collect() -> list[str]:
        return sorted([key async for key in store.list_prefix(prefix)])

    return list(sync(collect()))


def write_object(store: Store, key: str, data: bytes) -> None:
    """Store an object completely or not at all.

    Raises
    ------
    OSError
    """
    if (root := folder_of(store)) is not None and not store.read_only:
        put_file(f"{root}/{key}", data)
    else:
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(data)))


def write_attributes(store: Store, name: str, attributes: Mapping[str, Any]) -> None:
    """Replace the attributes of an array, or of the group at the root with an empty name.

    Raises
    ------
    OSError, ValueError
    """
    key, document = _description(store, name)
    write_object(store, key, json.dumps({**document, "attributes": attributes}).encode())


def read_attributes(store: Store, name: str) -> dict[str, Any]:
    """Stored attributes of an array, or of the group at the root with an empty name.

    Raises
    ------
    OSError, ValueError
    """
    return dict(_description(store, name)[1].get("attributes", {}))


def update_attributes(store: Store, name: str, attributes: Mapping[str, Any]) -> None:
    """Set attributes of an array, or of the group, unless all have these values; raises as `write_attributes`."""
    key, document = _description(store, name)
    stored = document.get("attributes", {})
    if any(attribute not in stored or stored[attribute] != value for attribute, value in attributes.items()):
        write_object(store, key, json.dumps({**document, "attributes": {**stored, **attributes}}).encode())


def _description(store: Store, name: str) -> tuple[str, dict[str, Any]]:
    """Key and content of the metadata document of an array, or of the group at the root with an empty name."""
    key = f"{name}/{DESCRIPTION}".lstrip("/")
    (text,) = read_objects(store, [key])
    document: dict[str, Any] = json.loads(text or b"")
    return key, document


def frame_content_bytes(data: bytes) -> int:
    """Bytes that a zstd frame states to unpack to; 0 where it states none (RFC 8878, section 3.1.1.1).

    Examples
    --------
    >>> frame_content_bytes(bytes.fromhex("28b52ffd2005"))
    5
    """
    if len(data) < 6:
        return 0
    flag = data[4]
    size = (1 if flag & 0x20 else 0, 2, 4, 8)[flag >> 6]
    at = 5 + (0 if flag & 0x20 else 1) + (0, 1, 2, 4)[flag & 3]
    return int.from_bytes(data[at : at + size], "little") + (256 if size == 2 else 0)


def put_file(path: str | Path, data: bytes) -> None:
    """Write a file completely or not at all, as zarr's local store does: a temporary file beside it, then a rename.

    Raises
    ------
    OSError
    """
    unfinished = f"{os.path.splitext(path)[0]}.{os.urandom(16).hex()}.partial"
    try:
        try:
            _write_file(unfinished, data)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write_file(unfinished, data)
        os.replace(unfinished, path)
    except Exception:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def _write_file(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:  # the system may take less than all of it
            rest = rest[file.write(rest) :]
