"""One writer a store: a lock with a pulse, and the recognition of one whose owner died."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from zarr.storage import LocalStore

from tpsoil.errors import AccessError, TpsoilError, WorkError

from .ledger import Ledger

KEY: Final = "lock.json"
PULSE_SECONDS: Final = 15.0
SETTLE_SECONDS: Final = 1.0
STALE_SECONDS: Final = 120.0
"""Another host's lock without a pulse for this long is taken over: several missed pulses, clocks a little apart."""


@contextlib.contextmanager
def locked(ledger: Ledger, *, pulse: float = PULSE_SECONDS, stale: float = STALE_SECONDS) -> Iterator[list[str]]:
    """Hold a store for one run.

    Parameters
    ----------
    ledger : Ledger
        Of the output store.
    pulse : float
        Seconds between signs of life.
    stale : float
        Seconds without a sign of life after which another host's lock is taken over.

    Yields
    ------
    list of str
        What there is to say, such as a stale lock that was taken over.

    Raises
    ------
    AccessError
        Where another run lives on the store, or the store cannot be written.

    Notes
    -----
    On one host a lock is stale when its process is gone, whatever its pulse. Created if absent: at once on a local
    disk, with a look a moment later on object stores.
    """
    token = uuid.uuid4().hex
    said: list[str] = []
    _take(ledger, token, stale, said)
    stop = threading.Event()
    keeper = threading.Thread(target=_beat, args=(ledger, token, pulse, stop), name="tpsoil-lock", daemon=True)
    keeper.start()
    try:
        yield said
    finally:
        stop.set()
        keeper.join(timeout=30)
        with contextlib.suppress(TpsoilError, OSError, ValueError):
            held = ledger.read_json(KEY)
            if held is not None and held.get("token") == token:
                ledger.remove(KEY)


def holder(ledger: Ledger, *, stale: float = STALE_SECONDS) -> str | None:
    """Who holds the store now, in words; None where nobody alive does."""
    held = _read(ledger)
    return None if held is None or _dead(held, stale) else _describe(held)


def _take(ledger: Ledger, token: str, stale: float, said: list[str]) -> None:
    for _ in range(3):
        if ledger.create(KEY, _content(token)) and _settled(ledger, token):
            return
        held = _read(ledger)
        if held is None:
            continue
        why = _dead(held, stale)
        if not why:
            raise AccessError(
                f"{ledger.where}: another run is writing to it ({_describe(held)}); wait for it or end it. "
                f"Its lock is {ledger.where}/_tpsoil/{KEY}"
            )
        said.append(f"took over the lock of a run that ended without releasing it ({_describe(held)}: {why})")
        ledger.remove(KEY)
    raise AccessError(f"{ledger.where}: another run took the lock at the same moment; try again")


def _settled(ledger: Ledger, token: str) -> bool:
    """Whether the lock is still ours after a moment, where a store cannot create an object if and only if it is absent.

    Local disks can. zarr's fsspec stores look first and put then: of two runs that look at the same moment the one that
    puts last has the lock, and a moment later both can see that.
    """
    if isinstance(ledger.store, LocalStore) or ledger.where.startswith("memory://"):
        return True
    time.sleep(SETTLE_SECONDS)
    held = _read(ledger)
    return held is not None and held.get("token") == token


def _content(token: str) -> bytes:
    host, process = socket.gethostname(), os.getpid()
    born = _born(process)
    return json.dumps({"token": token, "host": host, "process": process, "born": born, "pulse": time.time()}).encode()


def _read(ledger: Ledger) -> dict[str, Any] | None:
    try:
        return ledger.read_json(KEY)
    except TpsoilError:
        return {"token": "", "host": "?", "process": -1, "pulse": 0.0}  # cut short by a full disk: nobody's


def _dead(held: dict[str, Any], stale: float) -> str:
    """Why a lock's owner is taken for dead; empty where it lives."""
    process = int(held.get("process", -1))
    if held.get("host") == socket.gethostname():
        if not _alive(process):
            return "its process is gone"
        if held.get("born") is not None and held["born"] != _born(process):
            return "its process number belongs to another process now"
        return ""
    silent = time.time() - float(held.get("pulse", 0))
    return f"no sign of life for {silent:.0f} s" if silent > stale else ""


def _alive(process: int) -> bool:
    if process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _status(process)
    return state is None or state[0] != "Z"  # a zombie writes nothing


def _born(process: int) -> str | None:
    state = _status(process)
    return None if state is None else state[19]


def _status(process: int) -> list[str] | None:
    try:
        # Fields after the command's closing bracket: state first, start time twentieth (proc(5)).
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _describe(held: dict[str, Any]) -> str:
    return f"process {held.get('process')} on {held.get('host')}"


def _beat(ledger: Ledger, token: str, pulse: float, stop: threading.Event) -> None:
    while not stop.wait(pulse):
        with contextlib.suppress(TpsoilError, WorkError, OSError):
            held = ledger.read_json(KEY)
            if held is not None and held.get("token") == token:
                ledger.write(KEY, _content(token))
