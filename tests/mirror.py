"""The loopback mirror of open data that is in the package, with its services, and faults."""

from __future__ import annotations

import time

from tpsoil.sample.mirror import Mirror, catalogue_of, send, serving
from tpsoil.sample.mirror_files import HOMOLOSINE, make_sources, surface, write_raster

__all__ = [
    "HOMOLOSINE", "Mirror", "catalogue_of", "make_sources", "send", "serving", "stall", "surface",
    "write_raster",
]  # fmt: skip


def stall(seconds: float) -> None:
    time.sleep(seconds)
