"""Runs of stages over tiles; knows no soil.

A `tpsoil.stage.Stage` names what it reads (`inputs`), makes (`outputs`), how far around a cell it looks (`halo`; None
for the whole grid), the options that do not decide
its result (`indifferent`), and, where it learns first, `prepare` and
`load`. Its `compute` gets numpy layers with their attributes and coordinates, the halo included, and is called on any
thread, process or host: it must be serial, and give a cell the same value whatever window the cell comes in. Reading,
writing, resuming, digests, memory and progress are the engine's.
"""

from __future__ import annotations

from .job import Job
from .preview import Preview, Previews, preview, state_of, status
from .session import run

__all__ = ["Job", "Preview", "Previews", "preview", "run", "state_of", "status"]
