"""Values derived from objects, cached as long as the objects exist: packed nodes, digests, search trees.

A model is plain data. What is computed from it, and is worth computing once, is in a cache of the module that computes
it: pickling a model never includes such a value, and releasing a model releases them.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

Value = TypeVar("Value")
_Key = tuple[Hashable, ...]


class DerivedValues:
    """A bounded cache whose entries end with the objects that they were derived from.

    Parameters
    ----------
    entries : int
        Maximum number; the one that was not used for longest is removed first.

    Notes
    -----
    Objects are compared by identity and referenced weakly. A derived value must not refer to its objects, else neither
    is ever released. Safe between threads; a value is derived once.

    Examples
    --------
    >>> class Model: pass
    >>> cache, model = DerivedValues(2), Model()
    >>> cache.get((model,), "size", lambda: 3), cache.get((model,), "size", lambda: 4)
    (3, 3)
    >>> del model
    >>> len(cache)
    0
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._values: OrderedDict[_Key, tuple[tuple[weakref.ref[Any], ...], Any]] = OrderedDict()
        self._lock = threading.RLock()
        # A weak reference may end at any allocation, within a change of `_values` too: its key is removed later.
        self._ended: deque[_Key] = deque()

    def get(self, objects: tuple[object, ...], name: Hashable, derive: Callable[[], Value]) -> Value:
        """The value of that name for these objects; derived where there is none.

        Parameters
        ----------
        objects : tuple
            What it is derived from; weakly referable.
        name : hashable
        derive : callable

        Returns
        -------
        object
            What `derive` returned.
        """
        key = (name, *map(id, objects))
        with self._lock:
            self._remove_ended()
            entry = self._values.get(key)
            if entry is not None and all(ref() is item for ref, item in zip(entry[0], objects)):
                self._values.move_to_end(key)
                return cast(Value, entry[1])
            value = derive()

            def end(_: weakref.ref[Any]) -> None:
                self._ended.append(key)

            references = tuple(weakref.ref(item, end) for item in objects)
            self._values[key] = (references, value)
            self._values.move_to_end(key)
            while len(self._values) > self._entries:
                self._values.popitem(last=False)
            return value

    def __len__(self) -> int:
        with self._lock:
            self._remove_ended()
            return len(self._values)

    def _remove_ended(self) -> None:
        while self._ended:
            key = self._ended.popleft()
            entry = self._values.get(key)
            # Another object may have the address, and an entry of its own, by now.
            if entry is not None and any(ref() is None for ref in entry[0]):
                del self._values[key]
