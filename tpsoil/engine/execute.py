"""Compute tiles on threads, processes or a cluster: the same tiles, a bounded number of them in flight."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import dask
import dask.threaded
from threadpoolctl import threadpool_limits

from tpsoil.errors import InputError, WorkError
from tpsoil.option_names import run_option

from .progress import log

IN_FLIGHT: Final = 2
"""Tiles submitted for each slot: one running and one waiting, so no worker idles and no graph grows."""

REFILL: Final = 8
"""Calls are submitted once one in so many of those in flight has ended: several in one message to a scheduler."""

MAX_TRIES: Final = 3
"""Times that a tile is submitted whose worker is lost; a tile that ends every worker is not tried for ever."""

THREAD_NAME: Final = "tpsoil"
"""Beginning of the names of threads that compute tiles."""

POLL_SECONDS: Final = 0.5
NOTE_SECONDS: Final = 60.0
"""Threads without a finished tile for this long are reported, and again after twice as long."""
MAX_ITEMS_PER_CALL: Final = 64
"""Maximum items of one call: bounds what is lost with a worker and the delay of Ctrl-C."""


class LostWorkerError(Exception):
    """A tile whose worker was lost."""


class Pool(Protocol):
    """Threads, processes or a cluster that compute tiles."""

    @property
    def slots(self) -> int:
        """Calls it works on at the same time."""

    @property
    def processes(self) -> int:
        """Processes on this machine."""

    @property
    def threads_each(self) -> int:
        """Calls a process works on at the same time."""

    @property
    def threads_here(self) -> int:
        """Threads of this process, for what is done before the tiles."""

    @property
    def ahead(self) -> int:
        """Minimum number of calls to submit: hides the latency of a scheduler."""

    @property
    def call_seconds(self) -> float:
        """How long a call should take, so that latency is negligible; 0 where there is none."""

    @property
    def where(self) -> str:
        """For messages."""

    @property
    def lost_workers(self) -> bool:
        """Whether a worker was lost, possibly while it wrote."""

    report: Callable[[str], None]
    """Called with a message where no call ends for a long time."""

    def submit(self, function: Callable[..., Any], shared: Any, groups: Sequence[Any]) -> list[Any]:
        """Submit the calls `function(shared, group)`, in one message where there is a scheduler."""

    def on_workers(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Result of a short call in each other process that computes; empty where there is none."""

    def finished(self, pending: Iterable[Any], timeout: float) -> list[Any]:
        """Pending calls that ended, after at most `timeout` seconds."""

    def result(self, future: Any) -> Any:
        """Result of a call; raises what it raised, or `LostWorkerError`."""

    def cancel(self, pending: Iterable[Any]) -> None:
        """Drop calls that have not begun and wait for those that have."""


class ThreadPool:
    """Threads of this process; the kernels release the GIL."""

    def __init__(self, threads: int) -> None:
        self.slots = self.threads_each = self.threads_here = threads
        self.processes = 1
        self.ahead = 0
        self.call_seconds = 0.0
        self.lost_workers = False
        self.report: Callable[[str], None] = log.warning
        self._ended, self._note_after = time.monotonic(), NOTE_SECONDS
        self.where = f"{threads} thread{'' if threads == 1 else 's'}"
        self._quiet = threadpool_limits(limits=1)  # a library that starts threads of its own would fight the tiles
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix=THREAD_NAME)

    def submit(self, function: Callable[..., Any], shared: Any, groups: Sequence[Any]) -> list[Any]:
        """Submit each call to a thread."""
        return [self._pool.submit(function, shared, group) for group in groups]

    def on_workers(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """No other process computes."""
        return {}

    def finished(self, pending: Iterable[Any], timeout: float) -> list[Any]:
        """Calls that ended."""
        done, _ = concurrent.futures.wait(pending, timeout, concurrent.futures.FIRST_COMPLETED)
        idle = time.monotonic() - self._ended
        if done:
            self._ended, self._note_after = time.monotonic(), NOTE_SECONDS
        elif idle > self._note_after:
            self._note_after = 2 * idle
            self.report(f"no tile finished for {idle:.0f} s; still waiting")
        return list(done)

    def result(self, future: Any) -> Any:
        """Result of the call."""
        return future.result()

    def cancel(self, pending: Iterable[Any]) -> None:
        """Running tiles are finished, the others dropped."""
        waiting = list(pending)
        for future in waiting:
            future.cancel()
        concurrent.futures.wait(waiting)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._quiet.restore_original_limits()


def computing_here() -> contextlib.AbstractContextManager[Any]:
    """A context in which lazy arrays are computed in threads of this process, not by the current client.

    A stage may build a lazy array in its tile; it is computed in the tile's thread, not in threads of threads. dask's
    settings are those of the process: threads that each set and restored them would leave one another's behind.
    """
    return dask.config.set(scheduler=_in_threads_here)  # type: ignore[no-any-return]


def _in_threads_here(graph: Any, keys: Any, **options: Any) -> Any:
    if threading.current_thread().name.startswith(THREAD_NAME):
        return dask.get(graph, keys, **options)
    return dask.threaded.get(graph, keys, **options)


def drive(
    pool: Pool,
    function: Callable[..., Any],
    shared: Any,
    items: Sequence[Any],
    done: Callable[[Any], None],
    *,
    at_once: int | None = None,
    title: str = "",
) -> None:
    """Call `function(shared, item)` for every item, with few calls in flight.

    Parameters
    ----------
    pool : Pool
        Its `report` names the items whose worker was lost.
    function : callable
        Module-level.
    shared : object
        Its first argument; small.
    items : sequence
    done : callable
        Called with each result, in this thread.
    at_once : int, optional
        Calls in flight at most, where memory allows fewer than there are slots.
    title : str
        Of what is computed, for messages.

    Raises
    ------
    WorkError
        Where the worker of one item was lost `MAX_TRIES` times.

    Notes
    -----
    Before it stops for any reason (an error of a tile, Ctrl-C), running tiles are finished and nothing more is
    submitted: a chunk is never written by two processes.
    """
    work = partial(_several, function)
    waiting = _Waiting(pool, items, at_once, f"{title}: " if title else "")
    pending: dict[Any, tuple[Any, ...]] = {}
    try:
        while True:
            if groups := waiting.next_groups(len(pending)):
                pending |= zip(pool.submit(work, shared, groups), groups, strict=True)
            if not pending:
                return
            for future in pool.finished(list(pending), POLL_SECONDS):
                group = pending.pop(future)
                try:
                    results, seconds = pool.result(future)
                except LostWorkerError as loss:
                    waiting.put_back(group, loss)
                else:
                    waiting.completed(group, seconds / len(group))
                    for result in results:
                        done(result)
    except BaseException:
        pool.cancel(pending)
        raise


class _Waiting:
    """Items to submit, in groups of one call each.

    Where the latency of a worker is longer than a short item, several are submitted in one call, one after the other
    on one thread. Items of lost calls are submitted again one by one, never two at a time: a lost worker also loses
    the calls that wait on it, and the item that causes the loss is identified this way.
    """

    def __init__(self, pool: Pool, items: Sequence[Any], at_once: int | None, title: str) -> None:
        self.pool, self.at_once, self.title = pool, at_once, title
        self.items, self.left = iter(items), len(items)
        self.item_seconds = math.inf
        self.tries: Counter[Any] = Counter()
        self.again: list[Any] = []
        self.suspect: tuple[Any, ...] | None = None

    def next_groups(self, in_flight: int) -> list[tuple[Any, ...]]:
        """What to submit now; nothing while most of the calls in flight go on."""
        slots = max(1, self.pool.slots)
        limit = max(slots * IN_FLIGHT, self.pool.ahead)
        if self.at_once is not None and self.at_once < slots:
            limit = self.at_once
        room = limit - in_flight
        groups: list[tuple[Any, ...]] = []
        while len(groups) < room >= limit // REFILL and (group := self._next_group(slots)):
            groups.append(group)
        return groups

    def _next_group(self, slots: int) -> tuple[Any, ...]:
        if self.again and self.suspect is None:
            self.suspect = (self.again.pop(0),)
            return self.suspect
        # The last calls are short ones, so that all slots end together.
        fitting = int(self.pool.call_seconds / max(self.item_seconds, 1e-6))
        size = max(1, min(fitting, MAX_ITEMS_PER_CALL, self.left // (slots * IN_FLIGHT)))
        group = tuple(itertools.islice(self.items, size))
        self.left -= len(group)
        return group

    def completed(self, group: tuple[Any, ...], item_seconds: float) -> None:
        """Note how long the items of a call took."""
        self._clear(group)
        self.item_seconds = item_seconds if self.item_seconds == math.inf else (self.item_seconds + item_seconds) / 2

    def put_back(self, group: tuple[Any, ...], loss: LostWorkerError) -> None:
        """Submit the items of a lost call again."""
        self._clear(group)
        for item in group:
            self.tries[item] += 1
            if self.tries[item] >= MAX_TRIES:
                raise WorkError(
                    f"{self.title}tile {item}: its worker was lost {self.tries[item]} times ({loss}); it may need more "
                    f"memory than the worker has: give fewer {run_option('workers')}, or smaller chunks"
                ) from loss
            self.pool.report(f"{self.title}the worker of tile {item} was lost; submitting the tile again")
            self.again.append(item)

    def _clear(self, group: tuple[Any, ...]) -> None:
        if group == self.suspect:
            self.suspect = None


def _several(function: Callable[..., Any], shared: Any, items: tuple[Any, ...]) -> tuple[list[Any], float]:
    began = time.perf_counter()
    return [function(shared, item) for item in items], time.perf_counter() - began


def number_of_workers(workers: int | None) -> int:
    """Threads or processes that are asked for; by default one for each processor.

    Raises
    ------
    InputError
        For fewer than one.
    """
    if workers is not None and workers < 1:
        raise InputError(f"{run_option('workers')} is {workers}, expected at least 1")
    return workers or available_processors()


def available_processors() -> int:
    """Processors this process may use; a batch job often has fewer than the machine."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
