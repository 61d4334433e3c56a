"""Runs of stages over tiles; knows no soil.

A `tpsoil.stage.Stage` names what it reads (`inputs`) and computes (`outputs`), how many cells around a cell it needs
(`halo`; None for the whole grid), the options that do not decide its result (`indifferent`), and, where it is trained
first, `prepare` and `load`. Its `compute` receives numpy layers with their attributes and coordinates, the halo
included, and is called on any thread, process or host: it must be serial, and return the same value for a cell in any
window. The engine does the reading, writing, resuming, digests, memory and progress.
"""

from __future__ import annotations

from .job import Job
from .preview import Preview, Previews, preview, state_of, status
from .session import run

__all__ = ["Job", "Preview", "Previews", "preview", "run", "state_of", "status"]
