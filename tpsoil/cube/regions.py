"""Writing layers by region, and what is known of their chunks.

A layer has `state = "writing"` from its creation until `finish_layers`, which checks that every chunk exists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from zarr.core.sync import sync
from zarr.storage import LocalStore

from tpsoil.errors import CorruptStoreError, InputError, require_distinct
from tpsoil.variables import Variable

from .chunks import DESCRIPTION, LocalChunks, in_zarr, list_keys, read_objects, write_attributes, write_object
from .codecs import layer_codec_documents
from .consolidated import consolidate, deconsolidate
from .layout import CREATED_WITH
from .levels import remove_overviews
from .location import Location, attribute, open_store, writing
from .reading import CubeInfo
from .store import COORDINATES, cube_info, layer_array, layer_documents, open_group

Array = npt.NDArray[Any]


def create_layers(
    store: Location,
    specs: Sequence[Variable],
    *,
    attrs: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
) -> None:
    """Create arrays for layers that are about to be written, in state "writing".

    Parameters
    ----------
    store : path, URL or zarr Store
        Of a cube.
    specs : sequence of Variable
        Name, dtype, kind, units of each.
    attrs : mapping of name to mapping, optional
        Added to the catalogue's attributes.
    overwrite : bool
        Whether a finished layer of that name is replaced. One whose writing did not end always is.

    Raises
    ------
    InputError
        For a layer that already exists, or named as a coordinate.
    AccessError, WorkError

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> from tpsoil.variables import variable
    >>> place = "memory://created"
    >>> _ = create_cube(place, plateau_grid(100_000), chunks=32, overwrite=True)
    >>> create_layers(place, [variable("slope")])
    >>> missing_chunks(place)
    {'slope': [(0, 0)]}
    """
    info, group = open_group(store, read_only=False)
    names = [spec.name for spec in specs]
    require_distinct(info.where, names, "layer")
    documents = layer_documents(info, group)
    for name in names:
        if name in COORDINATES or "/" in name or name.startswith(("__", ".")) or not name:
            raise InputError(f"{info.where}: '{name}' cannot name a layer; choose another name")
        if not overwrite and name in documents and documents[name]["attributes"].get("state") == "complete":
            raise InputError(
                f"{info.where}: layer '{name}' already exists; pass overwrite=True (--overwrite) to replace it"
            )
    deconsolidate(store)
    remove_overviews(store, names)
    with writing(store):
        for spec in specs:
            if spec.name in documents or not isinstance(group.store, LocalStore):
                sync(group.store.delete_dir(spec.name))
            document = layer_document(spec, info.shape, info.chunks, (attrs or {}).get(spec.name, {}))
            write_object(group.store, f"{spec.name}/{DESCRIPTION}", json.dumps(document).encode())


def write_block(array: Any, info: CubeInfo, name: str, rows: slice, cols: slice, block: Array) -> None:
    """Write complete chunks of one open layer array.

    Raises
    ------
    InputError
        For a region that cuts a chunk: two such writers would race; for a block of another shape or type.
    """
    require_aligned(info, rows, cols)
    expected = (rows.stop - rows.start, cols.stop - cols.start)
    if block.shape != expected or block.dtype != array.dtype:
        raise InputError(
            f"{info.where}: block of '{name}' is {block.dtype} {block.shape}, expected {array.dtype} {expected}"
        )
    with writing(info.where):
        block_writer(array)(rows, cols, block)


def block_writer(array: Any) -> Callable[[slice, slice, Array], None]:
    """Writes complete chunks of an open array; those of fill values are stored too, so a missing object was lost."""
    direct = LocalChunks.of(array)
    if direct is not None and not array.store.read_only:
        return direct.write
    every_chunk = in_zarr(array).with_config({"write_empty_chunks": True, "order": "C"})
    return lambda rows, cols, block: every_chunk.__setitem__((rows, cols), block)


def require_aligned(info: CubeInfo, rows: slice, cols: slice) -> None:
    """Reject a region that cuts a chunk.

    Raises
    ------
    InputError
    """
    for part, size, axis in zip((rows, cols), info.shape, "yx"):
        valid_start = 0 <= part.start < part.stop <= size and part.start % info.chunks == 0
        if not valid_start or (part.stop % info.chunks and part.stop != size):
            raise InputError(
                f"{info.where}: the region {axis} {part.start}..{part.stop} cuts chunks of {info.chunks} cells; "
                "write complete chunks, one writer for each chunk"
            )


def finish_layers(store: Location, names: Iterable[str], attrs: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Declare layers complete, after a check that no chunk is missing.

    Parameters
    ----------
    store : path, URL or zarr Store
    names : iterable of str
    attrs : mapping of name to mapping, optional
        Added to each layer's attributes.

    Raises
    ------
    CorruptStoreError
        Where a chunk is missing.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> from tpsoil.variables import variable
    >>> place = "memory://finished"
    >>> _ = create_cube(place, plateau_grid(100_000), chunks=32, overwrite=True)
    >>> create_layers(place, [variable("slope")])
    >>> info, group = open_group(place, read_only=False)
    >>> write_block(group["slope"], info, "slope", slice(0, 18), slice(0, 28), np.zeros((18, 28), np.float32))
    >>> finish_layers(place, ["slope"])
    >>> from tpsoil.cube import layer_states
    >>> layer_states(place)
    {'slope': 'complete'}
    """
    info, group = open_group(store, read_only=False)
    absent = missing_chunks(store, list(names))
    for name, chunks in absent.items():
        if chunks:
            raise CorruptStoreError(f"{info.where}: layer '{name}' lacks {len(chunks)} chunks, the first {chunks[0]}")
    with writing(store):
        for name in absent:
            array = layer_array(info, group, name)
            added = attribute({**dict((attrs or {}).get(name, {})), "state": "complete"})
            write_attributes(group.store, name, {**array.attrs, **added})
    consolidate(store)


def remove_layers(store: Location, names: Iterable[str]) -> None:
    """Delete layers, complete or not; names that are not there are passed over.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> from tpsoil.variables import variable
    >>> place = "memory://removed"
    >>> _ = create_cube(place, plateau_grid(100_000), chunks=32, overwrite=True)
    >>> create_layers(place, [variable("slope")])
    >>> remove_layers(place, ["slope", "never there"])
    >>> missing_chunks(place)
    {}
    """
    info, group = open_group(store, read_only=False)
    present = layer_documents(info, group)
    removed = [name for name in names if name in present]
    deconsolidate(store)
    remove_overviews(store, removed)
    with writing(store):
        for name in removed:
            del group[name]
    consolidate(store)


def missing_chunks(store: Location, names: Sequence[str] | None = None) -> dict[str, list[tuple[int, int]]]:
    """Chunks that no writer has written yet, by layer; one listing a layer.

    Raises
    ------
    MissingInputError
        For a layer that is not there.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> from tpsoil.variables import variable
    >>> place = "memory://missing"
    >>> _ = create_cube(place, plateau_grid(100_000), chunks=32, overwrite=True)
    >>> create_layers(place, [variable("slope")])
    >>> missing_chunks(place, ["slope"])
    {'slope': [(0, 0)]}
    """
    info, group = open_group(store)
    if names is None:
        names = list(layer_documents(info, group))
    target = open_store(store, read_only=True)
    missing: dict[str, list[tuple[int, int]]] = {}
    for name in names:
        layer_array(info, group, name)
        present = set(list_keys(target, f"{name}/c"))
        missing[name] = [(i, j) for i, j in info.every_chunk() if f"{name}/c/{i}/{j}" not in present]
    return missing


def chunk_bytes(store: Location, name: str, i: int, j: int) -> bytes | None:
    """Stored bytes of chunk (i, j) of a layer; None where there is none.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> from tpsoil.variables import variable
    >>> place = "memory://bytes"
    >>> _ = create_cube(place, plateau_grid(100_000), chunks=32, overwrite=True)
    >>> create_layers(place, [variable("slope")])
    >>> chunk_bytes(place, "slope", 0, 0) is None
    True
    """
    return read_objects(open_store(store, read_only=True), [f"{name}/c/{i}/{j}"])[0]


def layer_digest(store: Location, name: str) -> str:
    """sha256 over all stored chunks of a layer in row-major order.

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> from tpsoil.variables import variable
    >>> place = "memory://layer-digest"
    >>> _ = create_cube(place, plateau_grid(100_000), chunks=32, overwrite=True)
    >>> create_layers(place, [variable("slope")])
    >>> info, group = open_group(place, read_only=False)
    >>> write_block(group["slope"], info, "slope", slice(0, 18), slice(0, 28), np.zeros((18, 28), np.float32))
    >>> layer_digest(place, "slope")[:14]
    'chunks-sha256:'
    """
    digest = hashlib.sha256()
    for i, j in cube_info(store).every_chunk():
        digest.update(chunk_bytes(store, name, i, j) or b"")
    return f"chunks-sha256:{digest.hexdigest()}"


def layer_document(spec: Variable, shape: tuple[int, int], chunks: int, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata document of a layer in state "writing".

    Parameters
    ----------
    spec : Variable
    shape : (ny, nx)
    chunks : int
        Cells a side.
    attrs : mapping
        Added to the catalogue's attributes.

    References
    ----------
    Zarr core specification, version 3: https://zarr-specs.readthedocs.io/en/latest/v3/core/
    """
    dtype, attributes = np.dtype(spec.dtype), {**spec.attributes(), "created_with": CREATED_WITH, **attrs}
    attributes |= {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref", "state": "writing"}
    if spec.kind == "categorical":
        attributes["_FillValue"] = int(spec.fill)
    order = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunks, chunks]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if dtype.kind == "f" and np.isnan(spec.fill) else spec.fill,
        "codecs": [{"name": "bytes", **order}, *layer_codec_documents(dtype.itemsize)],
        "dimension_names": ["y", "x"],
        "storage_transformers": [],
        "attributes": attribute(attributes),
    }
