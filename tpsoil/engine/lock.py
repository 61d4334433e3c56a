"""One writer a store: its owner, how a run that ended without a release is recognised, how one that lost it is stopped.

On a local disk the operating system's file lock decides: it ends with its process, independent of the clock, the host's
name and the process numbers of a container. On an object store the lock is an object that is put only where none is
(`If-None-Match`), replaced only where it is still the one that was read (`If-Match`), and its owner increments a number
in it; a run on another machine watches that number by its own clock. Before every write of a record it is checked that
the lock still has this run's token.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tpsoil.cube.location import writing
from tpsoil.errors import AccessError, TpsoilError

from .filelock import FileLock, UnsupportedLockError, is_locked
from .ledger import LOCK_KEY, RECORDS_FOLDER, Ledger

HEARTBEAT_SECONDS: Final = 15.0
STALE_SECONDS: Final = 120.0
"""A lock of another machine whose number did not change for this long, by the watcher's clock, is taken over."""
WATCH_SECONDS: Final = 0.5
CONTENT_BYTES: Final = 512
"""Of the lock: always as many, so that a reader never sees a part of an older content."""


@contextlib.contextmanager
def locked(
    ledger: Ledger,
    report: Callable[[str], None] = lambda message: None,
    *,
    heartbeat: float = HEARTBEAT_SECONDS,
    stale: float | None = None,
) -> Iterator[Ledger]:
    """Reserve a store for one run.

    Parameters
    ----------
    ledger : Ledger
        Of the output store.
    report : callable
        Called with one message where a lock is watched or taken over.
    heartbeat : float
        Seconds between changes of the lock's number.
    stale : float, optional
        Seconds without a change after which another machine's lock is taken over; `STALE_SECONDS` by default.

    Yields
    ------
    Ledger
        The same ledger; each of its writes checks first that the lock is still this run's, and raises
        `LockLostError` where it is not.

    Raises
    ------
    AccessError
        Where another run is writing to the store, or the store cannot be written.
    """
    owner = _Owner(uuid.uuid4().hex)
    lock = _take(ledger, owner, report, STALE_SECONDS if stale is None else stale)
    stop = threading.Event()
    renewal = threading.Thread(
        target=_send_heartbeats, args=(lock, owner, heartbeat, stop), name="tpsoil-lock", daemon=True
    )
    renewal.start()
    try:
        yield Ledger(ledger.store, ledger.where, token=owner.token, damaged=ledger.damaged)
    finally:
        stop.set()
        renewal.join(timeout=30)
        with contextlib.suppress(TpsoilError, OSError, ValueError):
            lock.release(owner)


def lock_owner(ledger: Ledger) -> str | None:
    """The process that is writing to the store now, for messages; None where the lock is free or its process ended."""
    data = ledger.read(LOCK_KEY)
    if data is None:
        return None
    content = _parsed(data)
    if ledger.folder is not None and content.get("machine") == machine():
        taken = is_locked(_path(ledger))
        if taken is not None:
            return _describe(content) if taken else None
    return None if _has_ended(content) else _describe(content)


class _Owner:
    """This run, as its lock names it."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.count = 0

    def content(self) -> bytes:
        """The lock's content; the token first, the number that changes last."""
        self.count += 1
        process = os.getpid()
        names = {"token": self.token, "host": socket.gethostname()[:80], "machine": machine(), "process": process}
        names |= {
            "computer": computer(),
            "space": process_space(),
            "started": process_start(process),
            "count": self.count,
        }
        return json.dumps(names).encode().ljust(CONTENT_BYTES)


class _FileLockOf:
    """The lock of a local store."""

    def __init__(self, ledger: Ledger, lock: FileLock) -> None:
        self.ledger, self.lock = ledger, lock

    def renew(self, owner: _Owner) -> None:
        self.lock.write(owner.content())

    def release(self, owner: _Owner) -> None:
        self.lock.release(remove=self.ledger.has_token(owner.token))


class _ObjectLock:
    """The lock of an object store, and of a file system without locks."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def renew(self, owner: _Owner) -> None:
        version, data = self.ledger.read_version(LOCK_KEY)
        if data is not None and owner.token.encode() in data:
            self.ledger.replace(LOCK_KEY, owner.content(), version)

    def release(self, owner: _Owner) -> None:
        if self.ledger.has_token(owner.token):
            self.ledger.remove(LOCK_KEY)


def _take(ledger: Ledger, owner: _Owner, report: Callable[[str], None], stale: float) -> _FileLockOf | _ObjectLock:
    if ledger.folder is not None:
        try:
            return _take_file(ledger, owner, report, stale)
        except UnsupportedLockError:
            report(f"{ledger.where}: this file system has no file locks; an object is used in place of one")
    for _ in range(3):
        if ledger.create(LOCK_KEY, owner.content()):
            return _ObjectLock(ledger)
        version, data = ledger.read_version(LOCK_KEY)
        if data is None:
            continue
        _require_abandoned(ledger, data, report, stale)
        if ledger.replace(LOCK_KEY, owner.content(), version) and ledger.has_token(owner.token):
            return _ObjectLock(ledger)
    raise AccessError(f"{ledger.where}: another run took the lock at the same moment; run again")


def _take_file(ledger: Ledger, owner: _Owner, report: Callable[[str], None], stale: float) -> _FileLockOf:
    lock = FileLock(_path(ledger))
    with writing(ledger.where):
        before = lock.acquire()
    if before is None:
        raise _in_use(ledger, _parsed(ledger.read(LOCK_KEY) or b""))
    try:
        content = _parsed(before)
        if before.strip() and (content.get("machine") == machine() or content.get("computer") == computer()):
            report(_taken_over(content, "its process is gone"))
        elif before.strip():
            # Another machine's, on a shared disk whose locks may not reach from one machine to the other.
            _require_abandoned(ledger, before, report, stale)
        with writing(ledger.where):
            lock.write(owner.content())
    except BaseException:
        lock.release(remove=False)
        raise
    return _FileLockOf(ledger, lock)


def _require_abandoned(ledger: Ledger, data: bytes, report: Callable[[str], None], stale: float) -> None:
    """Return once it is sure that a lock's owner is gone.

    Raises
    ------
    AccessError
        Where the owner is running.
    """
    content = _parsed(data)
    if not content or content.get("token") is None:
        report(f"took over a lock without a readable owner ({ledger.where}/{RECORDS_FOLDER}/{LOCK_KEY})")
        return
    gone = _has_ended(content)
    if gone:
        report(_taken_over(content, "its process is gone"))
        return
    if gone is False:
        raise _in_use(ledger, content)
    report(
        f"{ledger.where}: has a lock of {_describe(content)}; waiting up to {stale:.0f} s for a heartbeat of that run"
    )
    began = time.monotonic()
    while time.monotonic() - began < stale:
        time.sleep(min(WATCH_SECONDS, stale))
        now = ledger.read(LOCK_KEY)
        if now is None:
            return
        if now != data:
            raise _in_use(ledger, _parsed(now) or content)
    report(_taken_over(content, f"no heartbeat for {stale:.0f} s"))


def _in_use(ledger: Ledger, content: Mapping[str, Any]) -> AccessError:
    return AccessError(
        f"{ledger.where}: another run is writing to it ({_describe(content)}); wait for it or end it. "
        f"Its lock is {ledger.where}/{RECORDS_FOLDER}/{LOCK_KEY}"
    )


def _taken_over(content: Mapping[str, Any], why: str) -> str:
    return f"took over the lock of a run that ended without releasing it ({_describe(content)}: {why})"


def _send_heartbeats(lock: _FileLockOf | _ObjectLock, owner: _Owner, heartbeat: float, stop: threading.Event) -> None:
    while not stop.wait(heartbeat):
        with contextlib.suppress(
            Exception
        ):  # an object store's library raises errors of many types; the next heartbeat may succeed
            lock.renew(owner)


def _parsed(data: bytes) -> dict[str, Any]:
    """A lock's content; empty where no run wrote it, such as one truncated by a full disk."""
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _describe(content: Mapping[str, Any]) -> str:
    return f"process {content.get('process', '?')} on {content.get('host', '?')}"


def _path(ledger: Ledger) -> Path:
    if ledger.folder is None:
        raise ValueError(f"{ledger.where} is not in a folder")
    return ledger.folder / RECORDS_FOLDER / LOCK_KEY


def _has_ended(content: Mapping[str, Any]) -> bool | None:
    """Whether a lock's process has ended; None where this process cannot see it."""
    process = content.get("process")
    if content.get("machine") != machine() or content.get("space") != process_space() or sys.platform == "win32":
        return None
    if not isinstance(process, int) or process <= 0:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return process >= 2**31
    state = _status(process)
    if state is None:
        return False
    return state[0] == "Z" or content.get("started") not in (None, state[19])  # a zombie process writes nothing


def machine() -> str:
    """This machine since it started, also inside containers; another after each start where the system reports it."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return computer()


def computer() -> str:
    """This computer's name and network address, the same after it started again; another for each process without."""
    return f"{platform.node()}-{uuid.getnode():x}"


def process_space() -> str:
    """The space of process numbers that this process sees; a container has its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def process_start(process: int) -> str | None:
    """When a process started, in the kernel's ticks since the machine did; None where the system does not report it."""
    state = _status(process)
    return None if state is None else state[19]


def _status(process: int) -> list[str] | None:
    try:
        # Fields after the command's closing bracket: state first, start time twentieth (proc(5)).
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
