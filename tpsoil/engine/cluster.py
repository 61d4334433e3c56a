"""Tiles on dask.distributed: worker processes of this machine, or a cluster by its scheduler's address.

Certificates for `tls://` addresses, time limits and retries are dask's own settings (its configuration files or
`DASK_DISTRIBUTED__...` variables); a recipe has no place for them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tpsoil.errors import InputError, WorkError

from .execute import Lost, available_processors
from .progress import log
from .tiles import software

CONNECT_SECONDS: Final = 20
ASK_SECONDS: Final = 2.0
"""Between questions to the scheduler how many workers there are."""


class ClusterPool:
    """The workers of a dask scheduler.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads: dict[str, int] = {}
        self._asked = -math.inf
        self._bereft = False
        self.threads_here = available_processors()
        self.where = f"{len(client.nthreads())} workers of {client.scheduler.address}"

    ahead: Final = 32
    call_seconds: Final = 0.5

    @property
    def slots(self) -> int:
        """Threads of all workers there are now; workers may come and go."""
        if time.monotonic() - self._asked > ASK_SECONDS:
            self._ask()
        return sum(self._threads.values())

    @property
    def bereft(self) -> bool:
        """Whether a worker went away since the pool was made."""
        self._ask()
        return self._bereft

    def _ask(self) -> None:
        now = dict(self.client.nthreads())
        for worker in sorted(self._threads.keys() - now.keys()):
            self._bereft = True
            log.warning("worker %s went away; the others make its tiles", worker)
        for worker in sorted(now.keys() - self._threads.keys()) if self._threads else ():
            log.info("worker %s joined", worker)
        self._threads, self._asked = now, time.monotonic()

    @property
    def processes(self) -> int:
        """Workers there are now."""
        return max(1, len(self.client.nthreads()))

    @property
    def threads_each(self) -> int:
        """Threads of the largest worker."""
        return max(self.client.nthreads().values(), default=1)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Hand one call to the scheduler."""
        # pure=False: the key names this call, not its arguments, so nothing of an earlier run is taken for its result.
        future = self.client.submit(function, *arguments, pure=False)
        future.add_done_callback(self._done.put)
        return future

    def finished(self, pending: Iterable[Any], timeout: float) -> list[Any]:
        """Those that ended; they announce themselves, so that many in flight are not asked one by one."""
        ended = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._done.get(timeout=timeout))
            while True:
                ended.append(self._done.get_nowait())
        if self.client.status != "running":
            raise WorkError(
                f"the scheduler at {self.client.scheduler.address} went away; what is written stays good: run again to "
                "go on"
            )
        ours = set(pending)
        return [future for future in ended if future in ours]

    def result(self, future: Any) -> Any:
        """What the call gave."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            return future.result()
        except KilledWorker as error:
            raise Lost(str(error.last_worker)) from error
        except FutureCancelledError as error:
            raise Lost("dropped by the scheduler") from error
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            raise InputError(
                f"the scheduler at {self.client.scheduler.address} cannot read the tiles' tasks; install tpsoil "
                f"{software()} and the same dask on scheduler, workers and here"
            ) from error
        finally:
            future.release()

    def cancel(self, pending: Iterable[Any]) -> None:
        """Drop what has not begun; wait for what has, as far as the scheduler can say."""
        futures = list(pending)
        with contextlib.suppress(Exception):
            running = {key for keys in self.client.processing().values() for key in keys}
            started = [future for future in futures if future.key in running]
            self.client.cancel([future for future in futures if future.key not in running])
            import distributed

            with self.client.as_current():
                distributed.wait(started, timeout=CONNECT_SECONDS)
            self.client.cancel(started)


@contextlib.contextmanager
def open_cluster(address: str, workers: int | None) -> Iterator[ClusterPool]:
    """Connect to a scheduler, or start worker processes here.

    Parameters
    ----------
    address : str
        `"processes"`, or a scheduler's address.
    workers : int or None
        Processes to start; of a cluster, how many to wait for.

    Raises
    ------
    InputError
        Where nothing answers, where it is not a dask scheduler, or where workers have another tpsoil.
    """
    import distributed

    if address == "processes":
        count = workers or available_processors()
        with (
            distributed.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # the run's own forecast bounds it; a nanny that kills would lose tiles
                silence_logs=logging.ERROR,
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield cluster_pool_of(client)
        return
    if "://" not in address and ":" not in address:
        raise InputError(
            f"--scheduler is {address!r}, expected 'threads', 'processes' or an address such as tcp://10.0.0.1:8786"
        )
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"--scheduler {address}: no dask scheduler answers there within {CONNECT_SECONDS} s "
            f"({type(error).__name__}: {str(error)[:200]}); check the address and that the scheduler runs"
            + ("; a tls:// scheduler needs dask's distributed.comm.tls settings here too" if "tls" in address else "")
        ) from error
    try:
        try:
            client.wait_for_workers(workers or 1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise InputError(
                f"--scheduler {address}: has {len(client.nthreads())} workers after {CONNECT_SECONDS} s, "
                f"expected at least {workers or 1}; start workers, or give --workers"
            ) from error
        yield cluster_pool_of(client)
    finally:
        client.close()


def cluster_pool_of(client: Any) -> ClusterPool:
    """The pool of a connected client, its workers' software checked.

    Raises
    ------
    InputError
        Where a worker has no tpsoil or another one.
    """
    try:
        found = client.run(software)
    except Exception as error:
        raise InputError(
            f"the workers of {client.scheduler.address} cannot run tpsoil ({type(error).__name__}: {error}); "
            f"install tpsoil {software()} on all of them"
        ) from error
    others = {worker: version for worker, version in found.items() if version != software()}
    if others:
        shown = ", ".join(f"{worker} has {version}" for worker, version in sorted(others.items())[:5])
        raise InputError(
            f"workers with another tpsoil than {software()} here: {shown}; install the same tpsoil on all workers"
        )
    return ClusterPool(client)


def active_client() -> Any:
    """The client that a notebook made current, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None
