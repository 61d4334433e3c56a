"""Decoded chunks of labelled files, retained by a process: a large chunk is decoded once, not once a window.

A NetCDF file of one chunk took 213 s for 64 windows, because each of them decoded all of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Key = tuple[str, int, int]

MIN_CHUNK_BYTES: Final = 16 * 2**20
"""Smaller chunks are not retained here: they decode in less than a tenth of a second."""
CACHE_BYTES: Final = 256 * 2**20
"""Of the retained chunks of a process; a single chunk may be larger."""


class ChunkCache:
    """The most recently used decoded chunks, of at most some bytes together, and of at least one chunk.

    Parameters
    ----------
    limit : int
        Bytes.

    Examples
    --------
    >>> cache = ChunkCache(16)
    >>> [int(cache.get(("a", 0, 0), lambda: np.full(2, number)).sum()) for number in (1.0, 2.0)]
    [2, 2]
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._decoding: set[Key] = set()
        self._chunks: OrderedDict[Key, Array] = OrderedDict()

    def get(self, key: Key, decode: Callable[[], Array]) -> Array:
        """A chunk; decoded by one thread where it is not there, while others wait for it.

        Parameters
        ----------
        key : (str, int, int)
            The opening of a file, and the chunk's row and column.
        decode : callable

        Returns
        -------
        ndarray, read-only
        """
        with self._changed:
            while key in self._decoding:
                self._changed.wait()
            if key in self._chunks:
                self._chunks.move_to_end(key)
                return self._chunks[key]
            self._decoding.add(key)
        try:
            chunk = np.asarray(decode())
            chunk.flags.writeable = False
        except BaseException:
            with self._changed:
                self._decoding.discard(key)
                self._changed.notify_all()
            raise
        with self._changed:
            self._decoding.discard(key)
            self._evict(chunk.nbytes)
            self._chunks[key] = chunk
            self._changed.notify_all()
        return chunk

    def _evict(self, coming: int) -> None:
        """Remove the oldest chunks until another of some bytes fits."""
        while self._chunks and sum(chunk.nbytes for chunk in self._chunks.values()) + coming > self.limit:
            self._chunks.popitem(last=False)

    def discard(self, opening: str) -> None:
        """Remove the chunks of one opening of a file."""
        with self._lock:
            for key in [key for key in self._chunks if key[0] == opening]:
                del self._chunks[key]


CHUNKS: Final = ChunkCache(CACHE_BYTES)
"""Of this process."""


def retained_bytes(chunk: int, total: int) -> int:
    """Bytes that the cache of a process retains of a file.

    Parameters
    ----------
    chunk, total : int
        Bytes of one decoded chunk and of all.
    """
    return min(total, max(CACHE_BYTES, chunk))
