"""Chunks of a layer on a local disk, read and written without an event loop: the same bytes, without the waits.

zarr sends every chunk through one event loop in one thread of the process. Beside kernels of a few milliseconds that is
most of a tile's time, and more threads do not help: they wait for the same loop. What is here is the short way for the
common case, a local store and the codecs that `create_layers` gives a layer. Every other store and every other codec
is zarr's; so is whatever goes wrong, because zarr's reading then says what it is.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numcodecs
import numpy as np
import numpy.typing as npt
from numcodecs.blosc import Blosc
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

Array = npt.NDArray[Any]

SHUFFLES: Final = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
SAYS_TYPESIZE: Final = tuple(map(int, numcodecs.__version__.split(".")[:2])) >= (0, 16)
"""Since then numcodecs takes the size of a number from its caller, as zarr does; before, bytes would differ."""


def touched(rows: slice, cols: slice, chunk: tuple[int, int]) -> list[tuple[int, int]]:
    """Chunks that a window lies on, row by row.

    Examples
    --------
    >>> touched(slice(10, 30), slice(0, 16), (16, 16))
    [(0, 0), (1, 0)]
    """
    high, wide = chunk
    return [
        (i, j)
        for i in range(rows.start // high, -(-rows.stop // high))
        for j in range(cols.start // wide, -(-cols.stop // wide))
    ]


class HearingStore(WrapperStore[Store]):  # type: ignore[misc]
    """A store that is told of every whole object that passes, by whichever way."""

    def hear(self, key: str, data: Any) -> None:
        """An object was read or written; `data` are its bytes, None where there is none or it was removed."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        buffer = await self._store.get(key, prototype, byte_range)
        if byte_range is None:
            self.hear(key, None if buffer is None else buffer.as_buffer_like())
        return buffer

    async def set(self, key: str, value: Buffer) -> None:
        await self._store.set(key, value)
        self.hear(key, value.as_buffer_like())

    async def delete(self, key: str) -> None:
        await self._store.delete(key)
        self.hear(key, None)


class LocalChunks:
    """The chunks of one array in a folder.

    Parameters
    ----------
    array : zarr Array (y, x)
    store : Store
        What is told, where it is a `HearingStore`.
    root : Path
        Of the local store.
    blosc : BloscCodec
    """

    def __init__(self, array: Any, store: Store, root: Path, blosc: BloscCodec) -> None:
        self.store, self.root, self.path = store, root, array.path
        self.chunk: tuple[int, int] = array.chunks
        self.dtype, self.fill = np.dtype(array.dtype), array.metadata.fill_value
        self.key_of = array.metadata.encode_chunk_key
        self.blosc = Blosc.from_config(
            {
                "cname": blosc.cname.value,
                "clevel": blosc.clevel,
                "shuffle": SHUFFLES[blosc.shuffle.value],
                "blocksize": blosc.blocksize,
                "typesize": blosc.typesize,
            }
        )

    @classmethod
    def of(cls, array: Any) -> LocalChunks | None:
        """The chunks of an open array; None where its store or its codecs are not of the common kind."""
        store = array.store_path.store
        inner = store._store if isinstance(store, HearingStore) else store
        codecs: Any = getattr(array.metadata, "codecs", ())
        if type(inner) is not LocalStore or not SAYS_TYPESIZE or not array.dtype.isnative or array.ndim != 2:
            return None
        if [type(codec) for codec in codecs] != [BytesCodec, BloscCodec, Crc32cCodec]:
            return None
        if array.dtype.itemsize > 1 and codecs[0].endian.value != "little":
            return None
        return cls(array, store, Path(inner.root), codecs[1])

    def read(self, rows: slice, cols: slice) -> Array:
        """A window's values; the fill value where there is no object.

        Raises
        ------
        ValueError
            For bytes that are not what was written.
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
        """Write whole chunks, each as one object, whatever is in it.

        Raises
        ------
        OSError
        """
        high, wide = self.chunk
        for i, j in touched(rows, cols, self.chunk):
            top, left = i * high - rows.start, j * wide - cols.start
            block = values[top : top + high, left : left + wide]
            if block.shape != (high, wide):  # at the grid's end a chunk is filled up
                whole = np.full((high, wide), self.fill, self.dtype)
                whole[: block.shape[0], : block.shape[1]] = block
                block = whole
            data = self.encode(block)
            key = self._key(i, j)
            put_file(self.root / key, data)
            self._tell(key, data)

    def encode(self, block: Array) -> bytes:
        """The stored bytes of a chunk."""
        packed: bytes = self.blosc.encode(np.ascontiguousarray(block, self.dtype).ravel().view(np.uint8))
        checksum: int = google_crc32c.value(packed)
        return packed + checksum.to_bytes(4, "little")

    def decode(self, data: bytes) -> Array:
        """The values of a chunk from its stored bytes."""
        packed = data[:-4]
        if google_crc32c.value(packed) != int.from_bytes(data[-4:], "little"):
            raise ValueError("the checksum is not that of the bytes")
        block = np.empty(self.chunk, self.dtype)
        if int.from_bytes(packed[4:8], "little") != block.nbytes:  # in Blosc's header: bytes before they were packed
            raise ValueError(f"the chunk does not unpack to {block.nbytes} bytes")
        self.blosc.decode(packed, out=block)
        return block

    def _decoded(self, i: int, j: int) -> Array:
        key = self._key(i, j)
        try:
            data: bytes | None = (self.root / key).read_bytes()
        except FileNotFoundError:
            data = None
        self._tell(key, data)
        return np.full(self.chunk, self.fill, self.dtype) if data is None else self.decode(data)

    def _key(self, i: int, j: int) -> str:
        return f"{self.path}/{self.key_of((i, j))}"

    def _tell(self, key: str, data: bytes | None) -> None:
        if isinstance(self.store, HearingStore):
            self.store.hear(key, data)


def put_file(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all, as zarr's local store does: beside it first, then in its place.

    Raises
    ------
    OSError
    """
    unfinished = path.with_suffix(f".{uuid.uuid4().hex}.partial")
    try:
        try:
            unfinished.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(data)
        os.replace(unfinished, path)
    except Exception:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
