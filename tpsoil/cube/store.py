"""The datacube on disk: create and open.

One Zarr v3 group; every layer one array of dims (y, x), all with one chunking. Each chunk has a checksum, so a
flipped bit is an error at reading, and all-NaN chunks are written, so a chunk that is not there was never done. A layer
bears `state = "writing"` until its last chunk is there; only then does `open_cube` show it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import rioxarray  # noqa: F401  (whoever opens a cube has .rio)
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from zarr.abc.store import Store
from zarr.core.sync import sync

from tpsoil.display import html_summary, html_table
from tpsoil.errors import (
    CorruptStoreError,
    InputError,
    MissingInputError,
    StoreExistsError,
    TpsoilError,
    nearest_name,
)
from tpsoil.grid import coordinates, describe, require_located

from .chunks import DESCRIPTION, array_of, open_array, read_objects
from .chunks import open_group as open_zarr_group
from .conventions import CONVENTION_KEYS
from .layout import FORMAT, FORMAT_VERSION, lay_out_cube
from .location import Location, describe_location, local_path, open_store, unreachable, writing
from .reading import CubeInfo, lazy_layer

UNSHOWN: Final = frozenset({"transform", "shape", "crs_wkt", *CONVENTION_KEYS})
"""Attributes of the group that a Dataset has as coordinates."""
COORDINATES: Final = ("y", "x", "spatial_ref")


def create_cube(
    store: Location,
    grid: GeoBox,
    chunks: int = 512,
    overwrite: bool = False,
    *,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Create an empty datacube.

    Parameters
    ----------
    store : path, URL or zarr Store
    grid : GeoBox
        CRS, transform and shape of every layer, such as `plateau_grid()`.
    chunks : int
        Cells a side of a chunk, for all layers.
    overwrite : bool
        Whether an existing cube may be deleted. Anything else is never deleted.
    attrs : mapping, optional
        Further attributes of the group.

    Returns
    -------
    Dataset
        The empty cube, open.

    Raises
    ------
    StoreExistsError
        If the store exists.
    AccessError
        Where the place cannot be written.
    InputError
        For what is no location, a grid without a CRS, or chunks that are no positive number.
    GridError
        For a CRS that has no place on the Earth.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> dict(create_cube("memory://example", plateau_grid(100_000), overwrite=True).sizes)
    {'y': 18, 'x': 28}
    """
    where = describe_location(store)
    if not isinstance(grid, GeoBox) or grid.crs is None:
        raise InputError(f"{where}: the grid is {grid!r}, expected a GeoBox with a CRS, such as plateau_grid()")
    require_located(grid.crs, where=where)
    if not isinstance(chunks, (int, np.integer)) or isinstance(chunks, bool) or chunks < 1:
        raise InputError(f"{where}: chunks={chunks!r}, expected a positive number of cells a side")
    target = open_store(store)
    with writing(store):
        clear_target(store, target, where, overwrite)
        lay_out_cube(target, grid, int(chunks), attrs)
    return open_cube(store)


def open_cube(store: Location, *, incomplete: bool = False) -> xr.Dataset:
    """Open a datacube, lazily.

    Parameters
    ----------
    store : path, URL or zarr Store
    incomplete : bool
        Whether layers whose writing did not end are shown too; their missing chunks read as missing values.

    Returns
    -------
    Dataset (y, x)
        One lazy variable a layer, chunked as stored: continuous ones float32 with NaN, classes as integers whose
        missing code is `encoding["_FillValue"]`. `spatial_ref` has the CRS.

    Raises
    ------
    MissingInputError
        Where there is no store.
    InputError
        Where there is another kind of store, or one of a newer format.
    CorruptStoreError
        For metadata that cannot be read; later, when a chunk is read that is missing or does not match its checksum.

    Warns
    -----
    UserWarning
        For layers left out because their writing did not end.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://opened", plateau_grid(100_000), overwrite=True)
    >>> list(open_cube("memory://opened").data_vars)
    []
    """
    info, group = open_group(store)
    arrays = dict(layers_of(info, group))
    complete = [name for name, array in arrays.items() if array.attrs.get("state") == "complete"]
    if not incomplete and (unfinished := ", ".join(name for name in arrays if name not in complete)):
        warnings.warn(f"{info.where}: {unfinished} left out, because writing did not end; add again", stacklevel=2)
    return _lazy(info, {name: arrays[name] for name in (arrays if incomplete else complete)}, strict=not incomplete)


def open_layers(store: Location, names: Iterable[str]) -> xr.Dataset:
    """Some layers of a cube, lazily, without a warning of others.

    Raises
    ------
    As `open_cube`; MissingInputError for a layer that is not there, or not complete.
    """
    info, group = open_group(store)
    arrays = {name: layer_array(info, group, name) for name in names}
    for name, array in arrays.items():
        if array.attrs.get("state") != "complete":
            raise MissingInputError(f"{info.where}: writing of layer '{name}' did not end; add it again")
    return _lazy(info, arrays, strict=True)


def _lazy(info: CubeInfo, arrays: Mapping[str, Any], *, strict: bool) -> xr.Dataset:
    layers = {name: lazy_layer(info, name, array, strict=strict) for name, array in arrays.items()}
    attrs = {key: value for key, value in info.attrs.items() if key not in UNSHOWN}
    # At once: layers put in one by one are aligned one by one.
    return xr.Dataset(layers, coords=coordinates(info.grid), attrs=attrs)


class ShownCubeInfo(CubeInfo):
    """What a cube's group states of itself, which a notebook shows with its layers."""

    def _repr_html_(self) -> str:
        facts = {"store": self.where, "grid": describe(self.grid), "chunks": f"{self.chunks} x {self.chunks} cells"}
        head = ["layer", "quantity", "units", "kind", "source", "resampling", "state"]
        keys = ("long_name", "units", "kind", "source", "resampling", "state")
        try:
            documents = layer_documents(self, open_group(self.where)[1])
        except TpsoilError:  # a store in memory or in an archive has no path to open again
            return html_summary("tpsoil cube", facts)
        rows = [[name, *(one["attributes"].get(key, "") for key in keys)] for name, one in documents.items()]
        return html_summary("tpsoil cube", {**facts, "layers": len(rows)}, html_table(head, rows))


def cube_info(store: Location) -> CubeInfo:
    """Grid, chunking and attributes of a cube, without its layers.

    Raises
    ------
    As `open_cube`.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://info", plateau_grid(100_000), overwrite=True)
    >>> cube_info("memory://info").shape
    (18, 28)
    """
    info = open_group(store)[0]
    return ShownCubeInfo(info.where, info.grid, info.chunks, info.attrs)


def layer_states(store: Location) -> dict[str, str]:
    """Every layer's state by name: "complete" or "writing".

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://states", plateau_grid(100_000), overwrite=True)
    >>> layer_states("memory://states")
    {}
    """
    documents = layer_documents(*open_group(store))
    return {name: str(document["attributes"].get("state", "writing")) for name, document in documents.items()}


def complete_layers(store: Location) -> dict[str, dict[str, Any]]:
    """Stored attributes of every layer whose writing ended, by name.

    Raises
    ------
    As `open_cube`.
    """
    attributes = {name: document["attributes"] for name, document in layer_documents(*open_group(store)).items()}
    return {name: attrs for name, attrs in attributes.items() if attrs.get("state") == "complete"}


def open_group(store: Location, *, read_only: bool = True) -> tuple[CubeInfo, Any]:
    """The cube's own description and its open zarr group.

    Raises
    ------
    As `open_cube`.
    """
    where = describe_location(store)
    path = local_path(store)
    if path is not None and not path.exists():
        raise MissingInputError(f"{where}: no such store; create one with tpsoil.create_cube or `tpsoil cube create`")
    try:
        group = open_zarr_group(open_store(store, read_only=read_only), "r" if read_only else "r+")
        attrs = dict(group.attrs)
    except FileNotFoundError as error:
        raise MissingInputError(f"{where}: no Zarr group here; create one with tpsoil.create_cube") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CorruptStoreError(f"{where}: zarr.json of the group cannot be read: {error}") from error
    except TpsoilError:
        raise
    except TimeoutError as error:
        raise unreachable(where, error) from error
    except OSError as error:
        raise MissingInputError(f"{where}: cannot be opened: {error.strerror or error}") from error
    except Exception as error:  # of an object store: botocore's and aiohttp's errors share no base but this
        if path is not None or isinstance(store, Store):
            raise
        raise unreachable(where, error) from error
    if attrs.get("format") != FORMAT:
        raise InputError(
            f"{where}: a Zarr group, but not a tpsoil cube (attribute 'format' is {attrs.get('format')!r}); "
            "pass it as a source to add_layer instead"
        )
    try:
        version = int(attrs["format_version"])
        if version > FORMAT_VERSION:
            raise InputError(
                f"{where}: written in format {version} by {attrs.get('created_with')}, this tpsoil reads up to "
                f"{FORMAT_VERSION}; update tpsoil"
            )
        rows, columns = (int(size) for size in attrs["shape"])
        grid = GeoBox((rows, columns), Affine(*attrs["transform"]), CRS(attrs["crs_wkt"]))
        return CubeInfo(where, grid, int(attrs["chunks"]), attrs), group
    except InputError:
        raise
    except Exception as error:  # what attributes of another kind raise depends on the library that reads them
        raise CorruptStoreError(
            f"{where}: the attributes that describe its grid cannot be read ({type(error).__name__}: {error}); create "
            "the cube again"
        ) from error


def layers_of(info: CubeInfo, group: Any) -> list[tuple[str, Any]]:
    """Name and array of every layer, by name, complete or not.

    Raises
    ------
    CorruptStoreError
        For a layer whose metadata cannot be read.
    """
    layers = []
    for name, document in layer_documents(info, group).items():
        with _naming_layer(info, name):
            layers.append((name, array_of(group.store, name, document)))
    return layers


def layer_documents(info: CubeInfo, group: Any) -> dict[str, dict[str, Any]]:
    """Description of every layer as it is stored, by name, complete or not; a tenth of the time that arrays take.

    Raises
    ------
    CorruptStoreError
        For a description that cannot be read.
    """
    documents = {}
    for name, text in _described(group.store):
        with _naming_layer(info, name):
            document: dict[str, Any] = json.loads(text)
            if document["node_type"] == "array":
                documents[name] = {**document, "attributes": dict(document.get("attributes", {}))}
    return documents


@contextlib.contextmanager
def _naming_layer(info: CubeInfo, name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what broken metadata raises depends on where they are broken
        raise CorruptStoreError(
            f"{info.where}: zarr.json of layer '{name}' cannot be read: {error}; remove the folder and add it again"
        ) from error


def _described(store: Store) -> list[tuple[str, bytes]]:
    """The zarr.json of every member of the group but the coordinates, by name.

    zarr's own listing warns of every other file in the folder, and does not name a damaged member.
    """

    async def listed() -> list[str]:
        return [name async for name in store.list_dir("")]

    path = local_path(store)
    names = sorted({*(os.listdir(path) if path is not None else sync(listed()))} - {*COORDINATES, DESCRIPTION})
    texts = read_objects(store, [f"{name}/{DESCRIPTION}" for name in names])
    return [(name, text) for name, text in zip(names, texts) if text is not None]


def layer_array(info: CubeInfo, group: Any, name: str) -> Any:
    """The open array of one layer, of zarr or a `StoredArray`.

    Raises
    ------
    MissingInputError
    """
    try:
        return open_array(group.store, name)
    except (FileNotFoundError, TypeError, ValueError):
        names = list(layer_documents(info, group))
        raise MissingInputError(f"{info.where}: no layer '{name}'{nearest_name(name, names)}") from None


def clear_target(location: Location, target: Store, where: str, overwrite: bool) -> None:
    """Reject an existing store, or delete it where it is a Zarr store that may be overwritten.

    Raises
    ------
    StoreExistsError
    """
    path = local_path(location)
    if path is None:
        empty = sync(target.is_empty(""))
    else:
        empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if empty:
        return
    if not overwrite:
        raise StoreExistsError(f"{where}: already exists; pass overwrite=True (--overwrite) to replace it")
    if path is None:
        sync(target.delete_dir(""))
    elif any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zattrs")):
        shutil.rmtree(path)
    else:
        raise StoreExistsError(f"{where}: is there and is no Zarr store, so it is not deleted; choose another place")
