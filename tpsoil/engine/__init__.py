"""Runs of stages over tiles; knows no soil.

A `tpsoil.stage.Stage` names what it reads (`inputs`) and computes (`outputs`), how many cells around a cell it needs
(`halo`; None for the whole grid), the options that do not decide its result (`indifferent`), and, where it is trained
first, `prepare` and `load`. Its `compute` receives numpy layers with their attributes and coordinates, the halo
included, and is called on any thread, process or host: it must be serial, and return the same value for a cell in any
window. The engine does the reading, writing, resuming, digests, memory and progress.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dry_run import preview
    from .job import Job
    from .session import run
    from .state import Preview, Previews, state_of, status

# Each name with its module, which is imported when the name is first used (PEP 562): `tpsoil status` needs no xarray.
_HOMES = {
    "Job": "job",
    "Preview": "state",
    "Previews": "state",
    "preview": "dry_run",
    "run": "session",
    "state_of": "state",
    "status": "state",
}

__all__ = ["Job", "Preview", "Previews", "preview", "run", "state_of", "status"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
