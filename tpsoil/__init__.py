"""tpsoil: soil maps of mountain plateaus from one chunked Zarr datacube."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cube import add_layer, check_cube, create_cube, export_store, open_cube, sample_cube
    from .grid import plateau_grid
    from .recipes import fetch, run

__version__ = "0.1.0"

# The public names, each with the room that holds it. A room is imported when one of its names is first asked for
# (PEP 562), so that `tpsoil --help` does not wait for the forest's libraries.
_PACKAGES = ("ingest", "cube", "covariates", "solum", "forest", "micronutrients", "engine", "recipes", "reports",
             "sources")  # fmt: skip
_NAMES = {
    "plateau_grid": "grid",
    "create_cube": "cube",
    "add_layer": "cube",
    "check_cube": "cube",
    "export_store": "cube",
    "open_cube": "cube",
    "sample_cube": "cube",
    "run": "recipes",
    "fetch": "recipes",
}

__all__ = [
    "add_layer",
    "check_cube",
    "create_cube",
    "export_store",
    "fetch",
    "open_cube",
    "plateau_grid",
    "run",
    "sample_cube",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'tpsoil' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_PACKAGES})
