"""An object store whose calls end; imported for URLs only, as zarr takes long to load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore

from tpsoil.waiting import TIMEOUT_VARIABLE, timeout_seconds

Result = TypeVar("Result")


class ObjectStore(FsspecStore):  # type: ignore[misc]
    """An object store whose calls end, see `tpsoil.waiting`: zarr and fsspec wait for a reply without limit."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """As of `FsspecStore`."""
        return await _in_time(super().get(key, prototype, byte_range))

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """As of `FsspecStore`."""
        await _in_time(super().set(key, value, byte_range))

    async def exists(self, key: str) -> bool:
        """As of `FsspecStore`."""
        return await _in_time(super().exists(key))

    async def delete(self, key: str) -> None:
        """As of `FsspecStore`."""
        await _in_time(super().delete(key))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """As of `FsspecStore`."""
        listing = super().list_dir(prefix)

        async def collect() -> list[str]:
            return [name async for name in listing]

        for name in await _in_time(collect()):
            yield name


async def _in_time(call: Awaitable[Result]) -> Result:
    seconds = timeout_seconds()
    try:
        return await asyncio.wait_for(call, seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no reply within {seconds:g} s ({TIMEOUT_VARIABLE})") from error
