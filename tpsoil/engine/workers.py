"""Workers of a cluster: heartbeats, the calls that they get, their software, and the stores that each can read."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import version as version_of
from typing import Any, Final

from tpsoil.cube.chunks import read_objects
from tpsoil.errors import InputError, TpsoilError, WorkError, listed
from tpsoil.option_names import run_option
from tpsoil.waiting import TIMEOUT_VARIABLE, call_within, timeout_seconds

from .code import code_of
from .ledger import NODE_KEYS, Ledger
from .manifest import differences
from .places import open_store
from .tiles import software

Entries = tuple[tuple[str, ...], ...]

TPSOIL: Final = "tpsoil"
UNKNOWN: Final = "(not installed)"
PYTHON: Final = "python"
VISIBLE_SECONDS: Final = 10.0
"""For a store to appear on a worker: network file systems remember for some seconds that a file was absent."""
SHOWN: Final = 5
"""Workers that a message names."""


class Heartbeats:
    """When each worker was last seen to be alive, by this process's clock; clocks of other hosts do not matter.

    Examples
    --------
    >>> heartbeats = Heartbeats()
    >>> heartbeats.update({"tcp://10.0.0.2:1": 17.5})
    >>> heartbeats.silent(60)
    []
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}

    def update(self, last_seen: Mapping[str, float]) -> None:
        """Record the scheduler's time of the last message of each worker."""
        now = time.monotonic()
        self._seen = {
            worker: self._seen[worker] if worker in self._seen and self._seen[worker][0] == stamp else (stamp, now)
            for worker, stamp in last_seen.items()
        }

    def silent(self, seconds: float) -> list[str]:
        """Workers whose time did not change for longer than this."""
        now = time.monotonic()
        return sorted(worker for worker, (_, changed) in self._seen.items() if now - changed > seconds)


def last_messages(client: Any, seconds: float) -> dict[str, float] | None:
    """The scheduler's time of the last message of each worker; None where it does not reply in time."""
    info = call_within(lambda: client.scheduler_info(n_workers=-1), seconds)
    if info is None:
        return None
    return {str(worker): float(state["last_seen"]) for worker, state in info["workers"].items()}


def installed_software(entries: Entries) -> dict[str, str]:
    """Versions of tpsoil, with a digest of its source, of Python and dask, and of every package that some stages use.

    Parameters
    ----------
    entries : tuple of tuple of str
        Modules of the functions of each stage.
    """
    versions = {TPSOIL: software(), **_dask()}
    for modules in entries:
        versions |= code_of(modules).packages
    return versions


def wait_for_workers(client: Any, count: int, unreported: float, report: Callable[[str], None]) -> None:
    """Wait until a scheduler has some workers: a batch system may start them minutes later.

    Parameters
    ----------
    client : distributed.Client
    count : int
    unreported : float
        Seconds after which the wait is reported.
    report : callable

    Raises
    ------
    InputError
        Where there are fewer after `TPSOIL_TIMEOUT` seconds.
    """
    limit = max(timeout_seconds(), unreported)
    where = f"{run_option('scheduler')} {client.scheduler.address}"
    try:
        try:
            client.wait_for_workers(count, timeout=unreported)
        except TimeoutError:
            if limit == unreported:  # dask waits without end where the rest is 0
                raise
            report(
                f"{where}: has {len(client.nthreads())} workers, expected at least {count}; waiting for others for up "
                f"to {limit:g} s ({TIMEOUT_VARIABLE})"
            )
            client.wait_for_workers(count, timeout=limit - unreported)
    except TimeoutError as error:
        raise InputError(
            f"{where}: has {len(client.nthreads())} workers after {limit:g} s ({TIMEOUT_VARIABLE}), expected at least "
            f"{count}; start workers (for adaptive scaling a minimum of 1), or give {run_option('workers')}"
        ) from error


def require_same_software(replies: Mapping[str, Mapping[str, str]], entries: Entries) -> None:
    """Compare the software of all workers with that of this process.

    Parameters
    ----------
    replies : mapping of str to mapping
        `installed_software` of each worker.
    entries : tuple of tuple of str

    Raises
    ------
    InputError
        Where a worker has another tpsoil or another version of a package that a stage uses.
    """
    here = installed_software(entries)
    others = {worker: list(differences(versions, here)) for worker, versions in sorted(replies.items())}
    others = {worker: different for worker, different in others.items() if different}
    if not others:
        return
    lines = (
        f"{worker} has {listed((f'{name} {there or UNKNOWN}' for name, there, _ in different), 3)}"
        for worker, different in list(others.items())[:SHOWN]
    )
    expected = {name: own or UNKNOWN for different in others.values() for name, _, own in different}
    raise InputError(
        f"{len(others)} of {len(replies)} workers have other software than this process: {'; '.join(lines)}; expected "
        f"{listed((f'{name} {own}' for name, own in sorted(expected.items())), 3)}. Install the same tpsoil and "
        "packages on all workers"
    )


def require_same_scheduler(address: str, versions: Mapping[str, Any] | None) -> None:
    """Compare Python and dask of a scheduler with those of this process.

    Parameters
    ----------
    address : str
        Of the scheduler.
    versions : mapping or None
        As dask's `Client.get_versions` gives it; None where the scheduler did not reply.

    Raises
    ------
    InputError
        Where the scheduler has another dask, or another Python than this one's 3.N.
    """
    there = {} if versions is None else dict(versions["scheduler"]["packages"])
    for package, version in _dask().items():
        other = str(there.get(package) or version)
        if package == PYTHON:
            other = ".".join(other.split(".")[:2])
        if other != version:
            raise InputError(
                f"{address}: the scheduler has {package} {other}, expected {version} as here; install the same dask, "
                "distributed and Python on scheduler, workers and here"
            )


def _dask() -> dict[str, str]:
    """Versions that a scheduler, its workers and this process must have in common; of Python the first two numbers."""
    return {
        PYTHON: "{}.{}".format(*sys.version_info),
        "dask": version_of("dask"),
        "distributed": version_of("distributed"),
    }


def unreadable_stores(output: str, token: str, stores: tuple[str, ...], seconds: float) -> list[str]:
    """Stores of a run that this process cannot read: those of another computer at the same path too.

    Parameters
    ----------
    output : str
        Store of the maps; only the run's own has its lock.
    token : str
        Of the lock; "" where there is none.
    stores : tuple of str
        Further stores, which are read.
    seconds : float
        For all of them to appear.
    """
    limit = time.monotonic() + seconds
    missing = [output, *stores]
    while True:
        missing = [where for where in missing if not _readable(where, token if where == output else "")]
        if not missing or time.monotonic() > limit:
            return missing
        time.sleep(min(0.2, seconds))


def _readable(where: str, token: str) -> bool:
    try:
        store = open_store(where, read_only=True)
        return Ledger(store, where).has_token(token) if token else any(read_objects(store, NODE_KEYS))
    except Exception:
        return False  # whatever the reason, this process cannot use it


def require_stores(on_workers: Callable[..., dict[str, Any]], output: str, token: str, stores: tuple[str, ...]) -> None:
    """Check that every worker can read the stores of a run.

    Parameters
    ----------
    on_workers : callable
        `on_workers(function, *arguments)` gives the result in every worker.
    output, token, stores
        As in `unreadable_stores`.

    Raises
    ------
    InputError
    """
    replies = on_workers(unreadable_stores, output, token, stores, VISIBLE_SECONDS)
    blind = {worker: missing for worker, missing in sorted(replies.items()) if missing}
    if not blind:
        return
    unseen = dict.fromkeys(where for missing in blind.values() for where in missing)
    raise InputError(
        f"{len(blind)} of {len(replies)} workers cannot read {', '.join(unseen)} ({', '.join(list(blind)[:SHOWN])}); "
        "the stores of a run on a cluster must be at the same path or URL for all processes: use a shared folder or "
        "an object store"
    )


def missing_encryption(address: str) -> list[str]:
    """A warning where a scheduler's address asks for no certificate."""
    if address.startswith(("tls://", "inproc://")):
        return []
    return [
        f"{address} is used without TLS: everyone who can reach this address can run code on the workers and here; "
        "start the scheduler and workers with certificates (tls://), or put the address behind a firewall"
    ]


def call_on_worker(address: str, packed: bytes, packed_group: bytes) -> Any:
    """Call `function(shared, group)` on the worker at an address, which precedes the message of an error of tpsoil."""
    try:
        function, shared = _unpacked(packed)
        group = pickle.loads(packed_group)
    except Exception as error:
        raise worker_failure(address, error) from error
    try:
        return function(shared, group)
    except TpsoilError as error:
        error.args = (f"worker {address}: {error}", *error.args[1:])
        raise


@lru_cache(maxsize=4)
def _unpacked(data: bytes) -> Any:
    """What all calls of a stage have in common: read once in a process, not once in a call."""
    return pickle.loads(data)


def worker_failure(address: str, error: BaseException) -> InputError | WorkError:
    """The error for a worker's failure: other software there, or a worker that was lost or ran out of memory."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(one, MemoryError) for one in causes):
        return WorkError(
            f"{address}: a worker ran out of memory while it read a task; give each worker more memory or fewer threads"
        )
    if any(isinstance(one, OSError | TimeoutError) and not isinstance(one, ImportError) for one in causes):
        return WorkError(
            f"{address}: a worker was lost ({type(error).__name__}: {str(error)[:200]}); it may have run out of "
            "memory. Stored tiles remain valid: run again to continue"
        )
    return InputError(
        f"{address}: a worker cannot run tpsoil ({type(error).__name__}: {str(error)[:200]}); install tpsoil "
        f"{software()} and the same dask on scheduler, workers and here"
    )
