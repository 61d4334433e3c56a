"""The datacube: one chunked Zarr store with every covariate on one grid."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .alignment import align as align
    from .area_errors import aggregate_map as aggregate_map
    from .check import CubeCheck as CubeCheck
    from .check import check_cube as check_cube
    from .coarsening import coarsen_store as coarsen_store
    from .export import export_store as export_store
    from .layers import add_layer as add_layer
    from .layers import add_layers as add_layers
    from .layers import write_layers as write_layers
    from .location import writing as writing
    from .overviews import write_overviews as write_overviews
    from .reading import CubeInfo as CubeInfo
    from .regions import chunk_bytes as chunk_bytes
    from .regions import create_layers as create_layers
    from .regions import finish_layers as finish_layers
    from .regions import layer_digest as layer_digest
    from .regions import missing_chunks as missing_chunks
    from .regions import remove_layers as remove_layers
    from .sampling import sample_cube as sample_cube
    from .stac import stac_item as stac_item
    from .store import create_cube as create_cube
    from .store import cube_info as cube_info
    from .store import layer_states as layer_states
    from .store import open_cube as open_cube
    from .zonal import zonal_statistics as zonal_statistics

# Each public name with its module, which is imported when the name is first used (PEP 562): the engine's records need
# `cube.location` and `cube.chunks` alone. The imports above are the same for type checkers.
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

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value  # also where a module has the same name
        return value
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
