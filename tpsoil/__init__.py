"""tpsoil: soil maps of mountain plateaus from one chunked Zarr datacube."""

from __future__ import annotations

__version__ = "0.1.0"
