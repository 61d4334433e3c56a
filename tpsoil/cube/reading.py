"""Stored layers as lazy arrays, and what is wrong with a chunk that does not read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from xarray.core.indexing import MemoryCachedArray
from zarr.core.sync import sync

from tpsoil.errors import CorruptStoreError
from tpsoil.tiles import from_tiles, objects_read

from .chunks import LocalChunks, in_zarr
from .encoding import touched
from .location import describe_location, folder_of

Array = npt.NDArray[Any]

HIDDEN: Final = ("state", "coordinates", "grid_mapping", "_FillValue")
"""Attributes on disk that a reader gets elsewhere: in encoding, or as coordinates."""


@dataclass(frozen=True)
class CubeInfo:
    """Grid, chunks and attributes of a cube's group.

    Parameters
    ----------
    where : str
    grid : GeoBox
    chunks : int
        Cells a side.
    attrs : mapping
        All attributes of the group.
    """

    where: str
    grid: GeoBox
    chunks: int
    attrs: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.grid.shape[0]), int(self.grid.shape[1])

    @property
    def chunk_grid(self) -> tuple[int, int]:
        """Chunks down and across."""
        return -(-self.shape[0] // self.chunks), -(-self.shape[1] // self.chunks)

    def chunks_in(self, rows: slice, cols: slice) -> list[tuple[int, int]]:
        """Chunks (i, j) that a window overlaps, row by row."""
        return touched(rows, cols, (self.chunks, self.chunks))

    def every_chunk(self) -> list[tuple[int, int]]:
        """All chunks (i, j), row by row."""
        return self.chunks_in(slice(0, self.shape[0]), slice(0, self.shape[1]))

    def chunk_slices(self, i: int, j: int) -> tuple[slice, slice]:
        """Rows and columns of chunk (i, j)."""
        size, (rows, cols) = self.chunks, self.shape
        return slice(i * size, min((i + 1) * size, rows)), slice(j * size, min((j + 1) * size, cols))


class LayerReader:
    """Reads windows of one stored layer, and names what is wrong with it."""

    def __init__(self, info: CubeInfo, name: str, array: Any, *, strict: bool = True) -> None:
        self.info, self.name, self.array, self.strict = info, name, array, strict
        self.direct = LocalChunks.of(array)

    def __call__(self, rows: slice, cols: slice) -> Array:
        try:
            values = self._values(rows, cols)
        except Exception as error:  # what a broken codec raises depends on the codec
            self._blame(rows, cols)
            raise CorruptStoreError(f"{self.info.where}: layer '{self.name}' cannot be read: {error}") from error
        if self.strict:
            self._require_present(rows, cols, values)
        return values

    def _values(self, rows: slice, cols: slice) -> Array:
        if self.direct is not None:
            with contextlib.suppress(Exception):  # zarr's own reading reports what is wrong
                return self.direct.read(rows, cols)
        return np.asarray(in_zarr(self.array)[rows, cols])

    def _blame(self, rows: slice, cols: slice) -> None:
        for i, j in self.info.chunks_in(rows, cols):
            down, across = self.info.chunk_slices(i, j)
            try:
                in_zarr(self.array)[down, across]
            except Exception as error:
                raise CorruptStoreError(
                    f"{self.info.where}: chunk ({i}, {j}) of layer '{self.name}' (rows {down.start}..{down.stop}, "
                    f"columns {across.start}..{across.stop}) is corrupted: {error}; restore it from a copy, or write "
                    "the layer again with overwrite"
                ) from error

    def _require_present(self, rows: slice, cols: slice, values: Array) -> None:
        """A chunk of nothing but fill may be a chunk that is not there."""
        fill = self.array.fill_value
        empty = np.isnan(values) if values.dtype.kind == "f" else values == fill
        if not empty.any():
            return
        for i, j in self.info.chunks_in(rows, cols):
            down, across = self.info.chunk_slices(i, j)
            top, left = max(down.start, rows.start) - rows.start, max(across.start, cols.start) - cols.start
            part = empty[top : down.stop - rows.start, left : across.stop - cols.start]
            if part.all() and not self._exists(f"{self.array.path}/c/{i}/{j}"):
                raise CorruptStoreError(
                    f"{self.info.where}: chunk ({i}, {j}) of layer '{self.name}' is missing; restore it from a copy, "
                    "or write the layer again with overwrite"
                )

    def _exists(self, key: str) -> bool:
        root = folder_of(self.array.store)
        return bool(sync(self.array.store.exists(key))) if root is None else (root / key).exists()


def graph_prefix(where: str, name: str) -> str:
    """How the graph's keys of a layer of one store begin."""
    return f"cube-{name}-{hashlib.sha256(_place(where).encode()).hexdigest()[:12]}"


def zarr_sources(layer: xr.DataArray) -> list[str]:
    """Paths of the arrays of local Zarr stores that a layer is still to be read from, whoever opened them."""
    data = layer.variable._data  # `.data` would read it where it is not dask's
    paths = []
    for source in objects_read(data) or [data]:
        while source is not None and not isinstance(source, zarr.Array):  # within the adapters of xarray
            if isinstance(source, MemoryCachedArray):  # read whole before anything is deleted
                break
            source = getattr(source, "array", None) if hasattr(source, "array") else getattr(source, "_array", None)
        if isinstance(source, zarr.Array) and (root := folder_of(source.store)) is not None:
            paths.append(str(root / source.path))
    return paths


def is_inside(path: str, where: str) -> bool:
    """Whether a path or URL is a store or a group in it, such as one of its overviews."""
    return f"{_place(describe_location(path))}/".startswith(f"{_place(where)}/")


def _place(where: str) -> str:
    """One text for one store, however its path is written."""
    return where.rstrip("/") if "://" in where else os.path.realpath(where)


def lazy_layer(info: CubeInfo, name: str, array: Any, *, strict: bool = True) -> xr.Variable:
    """A stored layer as a lazy variable, chunked as stored.

    Parameters
    ----------
    info : CubeInfo
    name : str
    array : zarr.Array or StoredArray
    strict : bool
        Whether a missing chunk is an error; else it reads as missing values.

    Returns
    -------
    Variable (y, x), lazy
    """
    # The key is this opening's own: a layer that was written again must not be taken for its former self.
    data = from_tiles(
        LayerReader(info, name, array, strict=strict),
        info.shape,
        info.chunks,
        str(array.dtype),
        name=f"{graph_prefix(info.where, name)}-{uuid.uuid4().hex}",
    )
    attrs = dict(array.attrs)
    layer = xr.Variable(("y", "x"), data, {key: value for key, value in attrs.items() if key not in HIDDEN})
    layer.encoding["grid_mapping"] = "spatial_ref"
    if "_FillValue" in attrs and array.dtype.kind in "iu":
        layer.encoding["_FillValue"] = int(attrs["_FillValue"])
    return layer
