"""Check every stored byte of a cube: what is missing, unfinished, or does not decode."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tpsoil.errors import CorruptStoreError
from tpsoil.grid import coordinates

from .location import Location
from .reading import CubeInfo, LayerReader
from .regions import missing_chunks
from .store import layer_array, layers_of, open_group


@dataclass(frozen=True)
class CubeCheck:
    """Result of `check_cube`.

    Parameters
    ----------
    where : str
    layers, chunks : int
        How many were checked.
    faults : tuple of str
        One line a fault, with the layer, the chunk, and the fix; empty where there is no fault.
    """

    where: str
    layers: int
    chunks: int
    faults: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether there is no fault."""
        return not self.faults


def check_cube(store: Location, layers: Sequence[str] | None = None, *, threads: int = 4) -> CubeCheck:
    """Decode every chunk of a cube and compare it with its checksum.

    Parameters
    ----------
    store : path, URL or zarr Store
    layers : sequence of str, optional
        All by default.
    threads : int
        Chunks read at once.

    Returns
    -------
    CubeCheck
        Faults: layers whose writing did not end, chunks that are missing, chunks whose bytes changed, layers of
        another shape than the cube.

    Raises
    ------
    MissingInputError, InputError, CorruptStoreError
        Where the store or its metadata cannot be opened at all, or a layer named is not there.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://checked", plateau_grid(100_000), overwrite=True)
    >>> check_cube("memory://checked").good
    True
    """
    info, group = open_group(store)
    if layers is None:
        arrays = dict(layers_of(info, group))
    else:
        arrays = {name: layer_array(info, group, name) for name in layers}
    faults: list[str] = []
    jobs: list[tuple[LayerReader, int, int]] = []
    chunks = info.every_chunk()
    absent = missing_chunks(store, list(arrays))
    for name, array in arrays.items():
        finished = array.attrs.get("state") == "complete"
        if not finished:
            faults.append(
                f"layer '{name}': writing did not end, {len(absent[name])} of {len(chunks)} chunks missing; "
                "add it again"
            )
        if tuple(array.shape) != info.shape or tuple(array.chunks) != (info.chunks, info.chunks):
            faults.append(
                f"layer '{name}': {array.shape} in chunks of {array.chunks}, expected {info.shape} in chunks of "
                f"{info.chunks}; add it again with overwrite"
            )
            continue
        absent_chunks = set(absent[name])
        if finished:
            faults += [
                f"layer '{name}': chunk {chunk} is missing; add it again with overwrite" for chunk in absent[name]
            ]
        reader = LayerReader(info, name, array, strict=False)
        jobs += [(reader, *chunk) for chunk in chunks if chunk not in absent_chunks]
    with ThreadPoolExecutor(threads) as pool:
        faults += [fault for fault in pool.map(lambda job: _decode(*job), jobs) if fault]
    faults += _coordinate_faults(info, group)
    return CubeCheck(info.where, len(arrays), len(jobs), tuple(faults))


def _decode(reader: LayerReader, i: int, j: int) -> str:
    try:
        reader(*reader.info.chunk_slices(i, j))
    except CorruptStoreError as error:
        return str(error).removeprefix(f"{reader.info.where}: ")
    return ""


def _coordinate_faults(info: CubeInfo, group: Any) -> list[str]:
    """The coordinates that other software reads must equal those of the group's attributes."""
    faults = []
    for name, expected in coordinates(info.grid).items():
        try:
            stored = np.asarray(group[str(name)][...])
        except Exception as error:  # what a broken codec raises depends on the codec
            faults.append(f"coordinate '{name}' cannot be read: {error}; create the cube again")
            continue
        if name != "spatial_ref" and not np.array_equal(stored, expected.values):
            faults.append(f"coordinate '{name}' differs from the grid in the cube's attributes; create the cube again")
    return faults
