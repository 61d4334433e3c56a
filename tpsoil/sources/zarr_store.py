"""A Zarr group behind HTTP, read through the cache: what was read once needs no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from tpsoil.errors import MissingInputError

from .cache import Cache


class CachedStore(Store):  # type: ignore[misc]  # zarr is untyped here
    """Keys of a Zarr group as files of a server.

    Parameters
    ----------
    cache : Cache
    url : str
        Of the group.

    Notes
    -----
    It cannot be listed: metadata are requested by name, as Zarr does for an array whose path is known.
    """

    def __init__(self, cache: Cache, url: str) -> None:
        super().__init__(read_only=True)
        self._cache, self._url = cache, url.rstrip("/")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CachedStore) and other._url == self._url

    @property
    def supports_writes(self) -> bool:
        """False."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """False."""
        return False

    @property
    def supports_listing(self) -> bool:
        """False."""
        return False

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Bytes of a key; None where the server has no such file."""
        data = await asyncio.to_thread(self._read, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Bytes of several keys."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether the server has a key."""
        return await asyncio.to_thread(self._read, key, RangeByteRequest(0, 1)) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Not supported."""
        raise NotImplementedError(key)

    async def delete(self, key: str) -> None:
        """Not supported."""
        raise NotImplementedError(key)

    def list(self) -> AsyncIterator[str]:
        """Not supported."""
        raise NotImplementedError(self._url)

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Not supported."""
        raise NotImplementedError(prefix)

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Not supported."""
        raise NotImplementedError(prefix)

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        try:
            remote = self._cache.remote(f"{self._url}/{key}")
        except MissingInputError:
            return None
        start, stop = _bounds(byte_range, remote.length)
        return self._cache.read(remote, start, stop)


def _bounds(byte_range: ByteRequest | None, length: int) -> tuple[int, int]:
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, min(byte_range.end, length)
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, length
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, length - byte_range.suffix), length
    return 0, length
