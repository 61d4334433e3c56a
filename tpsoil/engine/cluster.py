"""Tiles on dask.distributed: worker processes of this machine, or a cluster by its scheduler's address.

Certificates for `tls://` addresses, time limits and retries are dask's own settings (its configuration files or
`DASK_DISTRIBUTED__...` variables); they are not set in a recipe.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import cloudpickle

from tpsoil.errors import InputError, WorkError
from tpsoil.option_names import run_option
from tpsoil.waiting import TIMEOUT_VARIABLE, call_within, timeout_seconds

from .execute import LostWorkerError, available_processors
from .progress import log
from .workers import (
    Entries,
    Heartbeats,
    call_on_worker,
    installed_software,
    last_messages,
    missing_encryption,
    require_same_scheduler,
    require_same_software,
    wait_for_workers,
    worker_failure,
)

CONNECT_SECONDS: Final = 20
RETRY_SECONDS: Final = 0.5
"""Between two questions for a result, where the connection to the scheduler broke."""
START_SECONDS: Final = 120
"""For the first reply of all workers: each imports tpsoil and its libraries for it, possibly from a slow disk."""
QUERY_SECONDS: Final = 2.0
"""Between two queries of the number of workers."""
REPLY_SECONDS: Final = 10.0
"""A scheduler or worker that does not reply to a short query within this time counts as not responding."""
NOTE_SECONDS: Final = 30.0
"""Without a finished tile a message is due after this long, and again after twice as long."""


class ClusterPool:
    """The workers of a dask scheduler.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._packed: tuple[Callable[..., Any], Any, bytes] | None = None
        self._results: dict[Any, Any] = {}
        self._threads: dict[str, int] = {}
        self._workers_updated = -math.inf
        self._lost_workers = False
        self._scheduler_responds = True
        self._heartbeats = Heartbeats()
        self._silent_since: float | None = None
        self._ended = time.monotonic()
        self._note_after = NOTE_SECONDS
        self.report: Callable[[str], None] = log.warning
        self.threads_here = available_processors()
        self.where = f"{len(client.nthreads())} workers of {client.scheduler.address}"

    ahead: Final = 32
    call_seconds: Final = 0.5

    @property
    def slots(self) -> int:
        """Threads of all workers there are now; workers may join and leave."""
        if time.monotonic() - self._workers_updated > QUERY_SECONDS:
            self._update_workers()
        return sum(self._threads.values())

    @property
    def lost_workers(self) -> bool:
        """Whether a worker was lost since the pool was created."""
        self._update_workers()
        return self._lost_workers

    def _update_workers(self) -> None:
        first, self._workers_updated = self._workers_updated == -math.inf, time.monotonic()
        threads = call_within(self.client.nthreads, REPLY_SECONDS)
        self._scheduler_responds = threads is not None
        if threads is None:
            return  # the last known workers count until it replies or the time is up
        now = dict(threads)
        for worker in sorted(self._threads.keys() - now.keys()):
            self._lost_workers = True
            log.warning("worker %s was lost; the others compute its tiles", worker)
        for worker in sorted(now.keys() - self._threads.keys()) if not first else ():
            log.info("worker %s joined", worker)
        self._threads = now

    @property
    def processes(self) -> int:
        """Workers there are now."""
        self._update_workers()
        return max(1, len(self._threads))

    @property
    def threads_each(self) -> int:
        """Threads of the largest worker."""
        self._update_workers()
        return max(self._threads.values(), default=1)

    def submit(self, function: Callable[..., Any], shared: Any, groups: Sequence[Any]) -> list[Any]:
        """Submit the calls `function(shared, group)` to the scheduler, several in one message."""
        if self._packed is None or self._packed[0] is not function or self._packed[1] is not shared:
            self._packed = (function, shared, cloudpickle.dumps((function, shared)))
        # pure=False: the key names this call, not its arguments, so nothing of an earlier run is taken for its result.
        # More calls in a message than twice the threads would wait at the scheduler until a worker is idle.
        futures: list[Any] = self.client.map(
            _on_this_worker,
            [self._packed[2]] * len(groups),
            [cloudpickle.dumps(group) for group in groups],
            pure=False,
            batch_size=max(1, 2 * self.slots),
        )
        for future in futures:
            future.add_done_callback(self._done.put)
        return futures

    def on_workers(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Result of a short call in the process of every worker; empty where one does not reply in time."""
        return dict(call_within(lambda: self.client.run(function, *arguments), START_SECONDS) or {})

    def finished(self, pending: Iterable[Any], timeout: float) -> list[Any]:
        """Calls that ended: each puts itself into a queue, so that many in flight are not polled one by one."""
        ended = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._done.get(timeout=timeout))
            while True:
                ended.append(self._done.get_nowait())
        self._require_scheduler()
        if ended:
            self._ended, self._note_after, self._silent_since = time.monotonic(), NOTE_SECONDS, None
        else:
            self._check_progress()
        ours = set(pending)
        ended = [future for future in ended if future in ours]
        self._fetch([future for future in ended if future.status == "finished"])
        return ended

    def _fetch(self, futures: list[Any]) -> None:
        """Results of several calls by one query: its latency is that of one call."""
        results = call_within(lambda: self.client.gather(futures), REPLY_SECONDS) if len(futures) > 1 else None
        self._results |= zip(futures, results or ())  # `result` asks for those that did not arrive one by one

    def _require_scheduler(self) -> None:
        if self.client.status != "running":
            raise WorkError(
                f"the scheduler at {self.client.scheduler.address} was lost; stored tiles remain valid: run again to "
                "continue"
            )

    def _check_progress(self) -> None:
        """Report a wait without a finished tile, and end one that cannot end by itself.

        Raises
        ------
        WorkError
            Where there was no worker, no reply of the scheduler, or no heartbeat of a worker and no finished tile, for
            `TPSOIL_TIMEOUT` seconds.
        """
        now = time.monotonic()
        idle = now - self._ended
        if idle < min(NOTE_SECONDS, timeout_seconds()) / 2:
            return
        if now - self._workers_updated > QUERY_SECONDS:
            self._update_workers()
            self._heartbeats.update(last_messages(self.client, REPLY_SECONDS) or {})
        trouble = "" if self._scheduler_responds else "no reply of the scheduler"
        if self._scheduler_responds and not self._threads:
            trouble = "no worker"
        elif self._scheduler_responds and idle > timeout_seconds():
            silent = self._heartbeats.silent(timeout_seconds())
            if silent:
                raise WorkError(
                    f"{self.client.scheduler.address}: no heartbeat of worker {', '.join(silent)} for "
                    f"{timeout_seconds():g} s ({TIMEOUT_VARIABLE}), and no tile finished; stored tiles remain valid: "
                    "end or restart the worker and run again to continue"
                )
        self._silent_since = (self._silent_since or now) if trouble else None
        address = self.client.scheduler.address
        if self._silent_since is not None and now - self._silent_since > timeout_seconds():
            raise WorkError(
                f"{address}: {trouble} for {now - self._silent_since:.0f} s ({TIMEOUT_VARIABLE} = "
                f"{timeout_seconds():g}); stored tiles remain valid: start workers and run again to continue"
            )
        if idle > self._note_after:
            self._note_after = 2 * idle
            workers = f"no tile finished for {idle:.0f} s on {len(self._threads)} workers"
            self.report(f"{address}: {f'{trouble} for {idle:.0f} s' if trouble else workers}; still waiting")

    def result(self, future: Any) -> Any:
        """Result of the call.

        Raises
        ------
        LostWorkerError
            Where the workers that had the call were lost.
        WorkError
            Where its result does not arrive within `TPSOIL_TIMEOUT` seconds: the last worker was lost with it, and no
            other can compute it.
        """
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError

        try:
            while future not in self._results:
                try:
                    return future.result(timeout=REPLY_SECONDS)
                except (TimeoutError, CommClosedError) as error:
                    if future.status == "error":
                        raise  # the call's own
                    if isinstance(error, CommClosedError):
                        time.sleep(RETRY_SECONDS)  # the client then knows whether the scheduler is there
                    self._require_scheduler()
                    self._check_progress()
            return self._results.pop(future)
        except KilledWorker as error:
            raise LostWorkerError(str(error.last_worker)) from error
        except FutureCancelledError as error:
            raise LostWorkerError("dropped by the scheduler") from error
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            raise worker_failure(self.client.scheduler.address, error) from error
        finally:
            future.release()

    def cancel(self, pending: Iterable[Any]) -> None:
        """Drop what has not begun; wait for what has, as far as the scheduler knows."""
        futures = list(pending)

        def drop() -> None:
            running = {key for keys in self.client.processing().values() for key in keys}
            started = [future for future in futures if future.key in running]
            self.client.cancel([future for future in futures if future.key not in running])
            import distributed

            with self.client.as_current():
                distributed.wait(started, timeout=CONNECT_SECONDS)
            self.client.cancel(started)

        # A scheduler that does not reply, or has no workers, does not delay Ctrl-C.
        call_within(
            drop, CONNECT_SECONDS + REPLY_SECONDS if self._scheduler_responds and self._threads else REPLY_SECONDS
        )


def _on_this_worker(packed: bytes, packed_group: bytes) -> Any:
    import distributed

    return call_on_worker(str(distributed.get_worker().address), packed, packed_group)


@contextlib.contextmanager
def open_cluster(
    address: str, workers: int | None, entries: Entries = (), report: Callable[[str], None] = log.warning
) -> Iterator[ClusterPool]:
    """Connect to a scheduler, or start worker processes here.

    Parameters
    ----------
    address : str
        `"processes"`, or a scheduler's address.
    workers : int or None
        Processes to start; of a cluster, how many to wait for.
    entries : tuple of tuple of str
        Modules of the functions of each stage, whose packages are compared with those of the workers.
    report : callable
        Receives a message where workers are waited for, and where the connection is not encrypted.

    Raises
    ------
    InputError
        Where nothing replies, where it is not a dask scheduler, or one of another dask, where too few workers joined
        within `TPSOIL_TIMEOUT` seconds, or where workers have another tpsoil.
    """
    import distributed

    if address == "processes":
        count = workers or available_processors()
        with (
            distributed.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",  # dask's own default is port 8787, which another run may have
                scheduler_kwargs={"dashboard": False},
                security=_own_certificates(),
                memory_limit=0,  # the run's own forecast bounds it; a nanny that kills would lose tiles
                silence_logs=logging.ERROR,
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield cluster_pool_of(client, entries)
        return
    if "://" not in address and ":" not in address:
        raise InputError(
            f"{run_option('scheduler')} is {address!r}, expected 'threads', 'processes' or an address such as "
            "tcp://10.0.0.1:8786"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)  # compared below
            client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{run_option('scheduler')} {address}: no dask scheduler replies there within {CONNECT_SECONDS} s "
            f"({type(error).__name__}: {str(error)[:200]}); check the address and that the scheduler runs"
            + ("; a tls:// scheduler needs dask's distributed.comm.tls settings here too" if "tls" in address else "")
        ) from error
    try:
        require_same_scheduler(client.scheduler.address, call_within(client.get_versions, CONNECT_SECONDS))
        wait_for_workers(client, workers or 1, CONNECT_SECONDS, report)
        for note in missing_encryption(client.scheduler.address):
            report(note)
        yield cluster_pool_of(client, entries)
    finally:
        call_within(client.close, REPLY_SECONDS)


def _own_certificates() -> Any:
    """Certificates for this run's processes alone: no other user of this machine can connect to their ports."""
    import cryptography  # noqa: F401  (dask creates the certificates with it, and does not require it)
    import distributed

    return distributed.Security.temporary()


def cluster_pool_of(client: Any, entries: Entries = ()) -> ClusterPool:
    """The pool of a connected client, its workers' software checked.

    Parameters
    ----------
    client : distributed.Client
    entries : tuple of tuple of str
        As in `open_cluster`.

    Raises
    ------
    InputError
        Where a worker has no tpsoil, another one, or other packages.
    WorkError
        Where a worker does not reply.
    """
    failure: list[BaseException] = []

    def query() -> dict[str, dict[str, str]] | None:
        try:
            return dict(client.run(installed_software, entries))
        except Exception as error:
            failure.append(error)
            return None

    seconds = max(CONNECT_SECONDS, min(START_SECONDS, timeout_seconds()))
    replies = call_within(query, seconds)
    if replies is None and failure:
        raise worker_failure(client.scheduler.address, failure[0]) from failure[0]
    if replies is None:
        raise WorkError(
            f"{client.scheduler.address}: a worker does not reply within {seconds:g} s; end or restart it, and run "
            "again"
        )
    require_same_software(replies, entries)
    return ClusterPool(client)


def active_client() -> Any:
    """The current client of a notebook, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None
