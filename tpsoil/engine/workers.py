"""Workers of a cluster: their heartbeats, and the software that each has installed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from tpsoil.errors import InputError
from tpsoil.waiting import call_within

from .code import code_of, differences, listed
from .tiles import software

Entries = tuple[tuple[str, ...], ...]

TPSOIL: Final = "tpsoil"
UNKNOWN: Final = "(not installed)"
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
    """Version of tpsoil, with a digest of its source, and of every package that some stages use, in this process.

    Parameters
    ----------
    entries : tuple of tuple of str
        Modules of the functions of each stage.
    """
    versions: dict[str, str] = {TPSOIL: software()}
    for modules in entries:
        versions |= code_of(modules).packages
    return versions


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
        f"{worker} has {listed(f'{name} {there or UNKNOWN}' for name, there, _ in different)}"
        for worker, different in list(others.items())[:SHOWN]
    )
    expected = {name: own or UNKNOWN for different in others.values() for name, _, own in different}
    raise InputError(
        f"{len(others)} of {len(replies)} workers have other software than this process: {'; '.join(lines)}; expected "
        f"{listed(f'{name} {own}' for name, own in sorted(expected.items()))}. Install the same tpsoil and packages on "
        "all workers"
    )
