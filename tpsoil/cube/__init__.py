"""The datacube: one chunked Zarr store with every covariate on one grid."""

from __future__ import annotations

from .align import align
from .check import CubeCheck, check_cube
from .export import export_store
from .layers import add_layer, add_layers, write_layers
from .location import writing
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
from .store import create_cube, cube_info, layer_states, open_cube
from .zonal import zonal_statistics

__all__ = [
    "CubeCheck",
    "CubeInfo",
    "add_layer",
    "add_layers",
    "align",
    "check_cube",
    "chunk_bytes",
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
    "write_layers",
    "writing",
    "zonal_statistics",
]
