"""Writes a region of several layers of a cube, for tests of stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from tpsoil.cube.regions import write_block
from tpsoil.cube.store import layer_array, open_group


def write_region(
    store: str | os.PathLike[str], blocks: Mapping[str, npt.NDArray[Any]], rows: slice, cols: slice
) -> None:
    info, group = open_group(store, read_only=False)
    for name, block in blocks.items():
        write_block(layer_array(info, group, name), info, name, rows, cols, block)
