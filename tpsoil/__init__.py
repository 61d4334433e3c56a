"""tpsoil: soil maps of mountain plateaus from one chunked Zarr datacube."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cube import add_layer, check_cube, create_cube, export_store, open_cube, sample_cube, zonal_statistics
    from .grid import plateau_grid
    from .recipes import fetch, run
    from .reports import explore

__version__ = "0.1.0"

# The public names, each with its package, which is imported when one of its names is first used
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
    "zonal_statistics": "cube",
    "run": "recipes",
    "fetch": "recipes",
    "explore": "reports",
}

__all__ = [
    "add_layer",
    "check_cube",
    "create_cube",
    "explore",
    "export_store",
    "fetch",
    "open_cube",
    "plateau_grid",
    "run",
    "sample_cube",
    "zonal_statistics",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'tpsoil' has no attribute '{name}'")


class _XarrayImport:
    """Finder that registers `ds.tpsoil` as soon as xarray is imported.

    xarray is not imported here: `tpsoil --help` would wait for it.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "xarray":
            return None
        sys.meta_path.remove(_XarrayImport)
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader, execute = spec.loader, spec.loader.exec_module

        def execute_and_register(module: Any) -> None:
            del loader.exec_module
            execute(module)
            import_module(".accessor", __name__)

        loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "xarray" in sys.modules:
    import_module(".accessor", __name__)
else:
    sys.meta_path.insert(0, _XarrayImport)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_PACKAGES})
