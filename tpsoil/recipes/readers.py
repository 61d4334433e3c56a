"""Open sources of a process, cached by the digest of their content, so that a changed file is opened again."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Reader = TypeVar("Reader")


class Readers(Generic[Reader]):
    """The most recently used readers, one for each source.

    Parameters
    ----------
    limit : int
        Maximum number of open readers.

    Examples
    --------
    >>> readers = Readers[str](limit=2)
    >>> readers.get("dem.tif", "digest 1", lambda: "first"), readers.get("dem.tif", "digest 1", lambda: "second")
    ('first', 'first')
    >>> readers.get("dem.tif", "digest 2", lambda: "second")
    'second'
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.RLock()
        self._known: OrderedDict[Hashable, tuple[str, Reader]] = OrderedDict()

    def get(self, source: Hashable, content: str, opened: Callable[[], Reader]) -> Reader:
        """The reader of a source with this content; opened if it is not cached.

        Parameters
        ----------
        source : hashable
            The source and its reading options.
        content : str
            Digest of its content: the option `content` of a stage.
        opened : callable
            Opens it.
        """
        with self._lock:
            before = self._known.get(source)
            if before is not None and before[0] == content:
                self._known.move_to_end(source)
                return before[1]
            if before is not None:
                # Libraries share an open file within a process: the old one is closed before the new one is opened.
                del self._known[source], before
                gc.collect()
            reader = opened()
            self._known[source] = (content, reader)
            while len(self._known) > self.limit:
                self._known.popitem(last=False)
            return reader
