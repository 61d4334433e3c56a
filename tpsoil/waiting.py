"""Waiting for other processes and servers: how long, and calls that may not return."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from tpsoil.errors import InputError

Reply = TypeVar("Reply")

TIMEOUT_VARIABLE: Final = "TPSOIL_TIMEOUT"
TIMEOUT_SECONDS: Final = 600.0
GDAL_VARIABLES: Final = ("GDAL_HTTP_TIMEOUT", "GDAL_HTTP_CONNECTTIMEOUT")
"""Seconds of a transfer and of a connection; GDAL reads them from the environment."""


def timeout_seconds() -> float:
    """Seconds without any worker, or without a reply of a scheduler or an object store, after which a run ends.

    Raises
    ------
    InputError
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    if not text:
        return TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"{TIMEOUT_VARIABLE} is {text!r}, expected a positive number of seconds")
    return seconds


def limit_remote_reads() -> None:
    """Limit GDAL's own reading of URLs, which waits without limit by default; options that the user has set stay."""
    for name in GDAL_VARIABLES:
        os.environ.setdefault(name, str(math.ceil(timeout_seconds())))


def call_within(function: Callable[[], Reply], seconds: float) -> Reply | None:
    """Result of a call within some seconds; None where it failed or did not return in time (its thread continues).

    Examples
    --------
    >>> call_within(lambda: 7, 5), call_within(lambda: 1 // 0, 5)
    (7, None)
    """
    replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()

    def call() -> None:
        reply = None
        with contextlib.suppress(Exception):
            reply = function()
        replies.put(reply)

    threading.Thread(target=call, name="tpsoil-call", daemon=True).start()
    try:
        return replies.get(timeout=seconds)
    except queue.Empty:
        return None
