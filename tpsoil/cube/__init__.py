"""The datacube: one chunked Zarr store with every covariate on one grid."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .alignment import align
    from .area_errors import aggregate_map
    from .check import CubeCheck, check_cube
    from .coarsening import coarsen_store
    from .export import export_store
    from .layers import add_layer, add_layers, write_layers
    from .location import writing
    from .overviews import write_overviews
    from .reading import CubeInfo
    from .regions import (
        chunk_bytes,
        create_layers,
        finish_layers,
        layer_digest,
        missing_chunks,
        remove_layers,
    )
    from .sampling import sample_cube
    from .stac import stac_item
    from .store import create_cube, cube_info, layer_states, open_cube
    from .zonal import zonal_statistics

# Each name with its module, which is imported when the name is first used (PEP 562): the engine's records need
# `cube.location` and `cube.chunks` alone.
_HOMES = {
    name: module
    for module, names in {
        "alignment": "align",
        "area_errors": "aggregate_map",
        "check": "CubeCheck check_cube",
        "coarsening": "coarsen_store",
        "export": "export_store",
        "layers": "add_layer add_layers write_layers",
        "location": "writing",
        "overviews": "write_overviews",
        "reading": "CubeInfo",
        "regions": "chunk_bytes create_layers finish_layers layer_digest missing_chunks remove_layers",
        "sampling": "sample_cube",
        "stac": "stac_item",
        "store": "create_cube cube_info layer_states open_cube",
        "zonal": "zonal_statistics",
    }.items()
    for name in names.split()
}

__all__ = [
    "CubeCheck",
    "CubeInfo",
    "add_layer",
    "add_layers",
    "aggregate_map",
    "align",
    "check_cube",
    "chunk_bytes",
    "coarsen_store",
    "create_cube",
    "create_layers",
    "cube_info",
    "export_store",
    "finish_layers",
    "layer_digest",
    "layer_states",
    "missing_chunks",
    "open_cube",
    "remove_layers",
    "sample_cube",
    "stac_item",
    "write_layers",
    "write_overviews",
    "writing",
    "zonal_statistics",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value  # also where a module has the same name
        return value
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
