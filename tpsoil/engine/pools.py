"""Open what tiles are computed on: threads of this process, worker processes, or a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .cluster import active_client, cluster_pool_of, open_cluster
from .execute import Pool, ThreadPool, computing_here, number_of_workers
from .progress import log
from .workers import Entries


@contextlib.contextmanager
def open_pool(
    scheduler: str | None, workers: int | None, entries: Entries = (), report: Callable[[str], None] = log.warning
) -> Iterator[Pool]:
    """Where to compute.

    Parameters
    ----------
    scheduler : str or None
        None or `"threads"`; `"processes"` for worker processes of this machine; or the address of a dask scheduler,
        such as `tcp://10.0.0.1:8786` or `tls://...`.
    workers : int or None
        Threads or processes; all processors by default. A cluster has the workers it has.
    entries : tuple of tuple of str
        Modules of the functions of each stage: other processes must have the same code and packages.
    report : callable
        Receives a message where the workers of a cluster are waited for.

    Raises
    ------
    InputError
        For fewer than one worker, and for an address that does not reply.
    """
    threads = number_of_workers(workers)
    if scheduler in {None, "threads"}:
        client = active_client() if scheduler is None and workers is None else None
        if client is not None:
            yield cluster_pool_of(client, entries)
            return
        pool = ThreadPool(threads)
        try:
            with computing_here():
                yield pool
        finally:
            pool.close()
    else:
        with open_cluster(str(scheduler), workers, entries, report) as cluster:
            yield cluster
