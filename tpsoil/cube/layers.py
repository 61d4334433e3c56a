"""`add_layer`: a source through the door, onto the grid, into the store; whole or not at all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.errors import InputError, TpsoilError, WorkError, nearest_name
from tpsoil.ingest.rasters import read_raster
from tpsoil.ingest.vectors import is_vector, read_mask
from tpsoil.soil_mask import MASK
from tpsoil.tiles import write_tiles
from tpsoil.variables import Variable, describe_layer

from .align import align
from .location import Location
from .reading import CubeInfo, graph_prefix
from .regions import create_layers, finish_layers, layer_digest, remove_layers, write_block
from .store import layer_array, open_group

Array = npt.NDArray[Any]

GATE_SECONDS: Final = 60.0
DESCRIBED: Final = ("kind", "long_name", "flags", "dtype")
READ: Final = ("units", "nodata", "scale", "offset", "variable", "band", "crs", "combine")
VECTOR: Final = ("outside", "crs")
STORED: Final = ("resampling", "overwrite", "parents", "attrs", "origin")
OPTIONS: Final = tuple(sorted({*DESCRIBED, *READ, *VECTOR, *STORED}))


def add_layer(store: Location, name: str, source: Any, **how: Any) -> None:
    """Add one layer to a cube: read, converted, checked, brought onto the grid, written chunk by chunk.

    Parameters
    ----------
    store : path, URL or zarr Store
        Of a cube.
    name : str
        The layer's name; one of the catalogue, or any with `units=` and `kind=`.
    source : path, glob, URL, DataArray, or a list of them
        A GDAL raster, NetCDF, Zarr; for `soil_mask` also a vector file or GeoDataFrame of the area inside.
    **how
        How to read: `units` ("K", "cm", "ft", "mm/month", "0.1 degC"), `nodata`, `scale`, `offset`, `variable`,
        `band`, `crs`, `combine` ("mosaic", "mean", "sum", "min", "max"); see `ingest.read_raster`.
        How to place: `resampling` ("average", "bilinear", "nearest", "mode").
        What it is: `kind`, `long_name`, `flags` (code to name), `dtype` of a layer outside the catalogue.
        Of a mask: `outside`, vector sources of glaciers and lakes that are no soil.
        What is noted: `origin` (in place of the file's name), `parents` (names of layers it was made from), `attrs`.
        `overwrite=True` replaces a layer that is there.

    Raises
    ------
    InputError
        For unknown options, a layer that is there already, values or classes that cannot be, a source without a value
        in any cell, a soil mask without soil.
    UnitsError
        For units that do not convert, or values outside the catalogue's range (kelvin, undeclared nodata).
    GridError
        For a source without a CRS or one that does not overlap the grid.
    MissingInputError, AccessError, WorkError

    Notes
    -----
    The layer is shown by `open_cube` only when its last chunk is written; after an error nothing of it is left.
    Attributes: `source`, `source_digest`, `resampling`, `created_with`, `missing_cells`, and what was declared.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from tpsoil.cube import create_cube, open_cube
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> _ = create_cube("memory://layers", grid, overwrite=True)
    >>> kelvin = xr.DataArray(np.full(grid.shape, 273.15), dims=("y", "x"), coords=coordinates(grid))
    >>> add_layer("memory://layers", "mean_annual_temperature", kelvin, units="K")
    >>> float(open_cube("memory://layers")["mean_annual_temperature"][0, 0])
    0.0
    """
    _require_known(name, how)
    overwrite = bool(how.pop("overwrite", False))
    notes = _notes(name, how)
    info, _ = open_group(store)
    described: dict[str, Any] = {key: how.pop(key) for key in DESCRIBED if key in how}
    if is_vector(source) or "outside" in how:
        layer = _mask(info, name, source, described, how)
    else:
        spec = describe_layer(name, units=how.get("units"), **described)
        resampling = how.pop("resampling", None)
        raster = read_raster(source, spec, **how)
        layer = align(raster, info.grid, chunks=info.chunks, resampling=resampling)
        layer.attrs["source_digest"] = raster.digest
    layer.attrs.update(notes)
    write_layers(store, {name: layer}, overwrite=overwrite, require_values=not isinstance(source, xr.DataArray))


def add_layers(store: Location, layers: xr.Dataset | Mapping[str, xr.DataArray], **how: Any) -> None:
    """Add several layers that are computed together, such as the attributes of one terrain pass.

    Parameters
    ----------
    store : path, URL or zarr Store
    layers : Dataset or mapping of name to DataArray
        In the catalogue's units or with `units` in their attributes; on any grid. Lazy ones that share work are
        computed in one pass.
    **how
        `overwrite`, `parents`, `attrs`, `origin`, `resampling`, `crs`, `nodata` as in `add_layer`, for all of them.

    Raises
    ------
    As `add_layer`. After an error none of them is left.

    Examples
    --------
    >>> from tpsoil.cube import create_cube, open_cube
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> from tpsoil.variables import variable
    >>> grid = plateau_grid(100_000)
    >>> _ = create_cube("memory://several", grid, overwrite=True)
    >>> slope = xr.DataArray(np.zeros(grid.shape, np.float32), dims=("y", "x"), coords=coordinates(grid))
    >>> slope.attrs = variable("slope").attributes()
    >>> add_layers("memory://several", {"slope": slope}, parents=["elevation"])
    >>> open_cube("memory://several")["slope"].attrs["parents"]
    'elevation'
    """
    arrays = {str(name): array for name, array in layers.items()}
    for name in arrays:
        _require_known(name, how)
    info, _ = open_group(store)
    overwrite, resampling = bool(how.get("overwrite", False)), how.get("resampling")
    reading = {key: how[key] for key in ("crs", "nodata") if key in how}
    placed = {}
    for name, array in arrays.items():
        raster = read_raster(array, _stored_spec(name, array), **reading)
        layer = align(raster, info.grid, chunks=info.chunks, resampling=resampling)
        layer.attrs.update({key: value for key, value in array.attrs.items() if key not in layer.attrs})
        layer.attrs.update(_notes(name, dict(how)))
        placed[name] = layer
    write_layers(store, placed, overwrite=overwrite)


def write_layers(
    store: Location, layers: Mapping[str, xr.DataArray], *, overwrite: bool = False, require_values: bool = False
) -> None:
    """Write layers that lie on the cube's grid already; all of them in one pass, whole or not at all.

    Parameters
    ----------
    store : path, URL or zarr Store
    layers : mapping of str to DataArray (y, x)
        With the catalogue's attributes; lazy or not.
    overwrite : bool
    require_values : bool
        Whether a layer without a value in any cell, or a soil mask without soil, is an error.

    Raises
    ------
    InputError, AccessError, WorkError

    Examples
    --------
    >>> from tpsoil.cube import create_cube, open_cube
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> from tpsoil.variables import variable
    >>> grid = plateau_grid(100_000)
    >>> _ = create_cube("memory://written", grid, overwrite=True)
    >>> slope = xr.DataArray(np.zeros(grid.shape, np.float32), dims=("y", "x"), coords=coordinates(grid))
    >>> slope.attrs = variable("slope").attributes()
    >>> write_layers("memory://written", {"slope": slope})
    >>> open_cube("memory://written")["slope"].attrs["missing_cells"]
    0
    """
    info, _ = open_group(store)
    specs = [_stored_spec(name, layer) for name, layer in layers.items()]
    attrs = {name: dict(layer.attrs) for name, layer in layers.items()}
    _require_others(info, layers)
    create_layers(store, specs, attrs=attrs, overwrite=overwrite)
    gate = _Gate()
    try:
        _, group = open_group(store, read_only=False)
        writer = _Writer(info, {spec.name: layer_array(info, group, spec.name) for spec in specs}, tuple(specs), gate)
        data = {name: _chunked(layer, info.chunks) for name, layer in layers.items()}
        counts = write_tiles(data, writer)
        if require_values:
            for name, blocks in counts.items():
                _require_values(info, name, layers[name], sum(block.usable for block in blocks))
        finished: dict[str, dict[str, Any]] = {
            name: {"missing_cells": sum(block.missing for block in blocks)} for name, blocks in counts.items()
        }
        for name, layer in layers.items():
            if not layer.attrs.get("source_digest"):
                finished[name]["source_digest"] = layer_digest(store, name)
        finish_layers(store, list(layers), finished)
    except BaseException:
        gate.close()
        with contextlib.suppress(TpsoilError):  # what went wrong first is what is said
            remove_layers(store, list(layers))
        raise


class _Count(NamedTuple):
    """Cells of a block: without a value, and usable: with one or, of the soil mask, with soil."""

    missing: int
    usable: int


class _Gate:
    """Lets chunks be written until it is closed, which waits for those that are being written.

    When one chunk cannot be computed, dask raises at once while other threads go on: a chunk that is written late would
    come back after its layer was removed. A worker process has a gate of its own, which nobody closes.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._within = 0
        self._open = True

    def __reduce__(self) -> tuple[type[_Gate], tuple[()]]:
        return _Gate, ()

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        with self._turn:
            if not self._open:
                raise WorkError("the layer's other chunks failed; this one is not written")
            self._within += 1
        try:
            yield
        finally:
            with self._turn:
                self._within -= 1
                self._turn.notify_all()

    def close(self) -> None:
        with self._turn:
            self._open = False
            self._turn.wait_for(lambda: self._within == 0, timeout=GATE_SECONDS)


@dataclass(frozen=True)
class _Writer:
    """Writes a chunk and counts its missing cells; the arrays are open already."""

    info: CubeInfo
    arrays: Mapping[str, Any]
    specs: tuple[Variable, ...]
    gate: _Gate

    def __call__(self, name: str, rows: slice, cols: slice, block: Array) -> _Count:
        spec = next(one for one in self.specs if one.name == name)
        size = self.info.chunks
        block = np.asarray(block).astype(spec.dtype, copy=False)
        # An array in memory comes as one block.
        for top in range(rows.start, rows.stop, size):
            for left in range(cols.start, cols.stop, size):
                down, across = slice(top, min(top + size, rows.stop)), slice(left, min(left + size, cols.stop))
                part = block[top - rows.start : down.stop - rows.start, left - cols.start : across.stop - cols.start]
                with self.gate.passing():
                    write_block(self.arrays[name], self.info, name, down, across, part)
        missing = np.isnan(block) if spec.kind != "categorical" else block == spec.fill
        lacking = int(missing.sum())
        usable = int((block == 1).sum()) if name == MASK else block.size - lacking
        return _Count(lacking, usable)


def _require_values(info: CubeInfo, name: str, layer: xr.DataArray, usable: int) -> None:
    if usable:
        return
    cells, source = f"{info.shape[0] * info.shape[1]} cells of the grid", layer.attrs.get("source", "the source")
    if name == MASK:
        raise InputError(
            f"{name}: none of the {cells} has soil ({source}); check the polygons of the area and of what is outside"
        )
    missing = layer.attrs.get("source_nodata", "")
    raise InputError(
        f"{name}: none of the {cells} has a value; {source} is empty there, or all of it is nodata"
        f"{f' ({missing})' if missing else ''}; check the file, its region, and nodata="
    )


def _require_others(info: CubeInfo, layers: Mapping[str, xr.DataArray]) -> None:
    """Refuse to replace a layer by one that is still to be computed from it: its chunks go first."""
    replaced = {name: graph_prefix(info.where, name) for name in layers}
    for layer in layers.values():
        graph: Any = getattr(layer.data, "dask", None)
        for name, prefix in replaced.items() if graph is not None else ():
            if any(str(key).startswith(prefix) for key in graph.layers):
                raise InputError(
                    f"{info.where}: layer '{name}' would be read from the layer that it replaces; .load() it first"
                )


def _require_known(name: str, how: Mapping[str, Any]) -> None:
    unknown = [key for key in how if key not in OPTIONS]
    if unknown:
        faults = "; ".join(f"no option '{key}'{nearest_name(key, OPTIONS)}" for key in unknown)
        raise InputError(f"add_layer '{name}': {faults}")


def _notes(name: str, how: dict[str, Any]) -> dict[str, Any]:
    notes: dict[str, Any] = dict(how.pop("attrs", None) or {})
    parents: str | Sequence[str] | None = how.pop("parents", None)
    if parents:
        notes["parents"] = parents if isinstance(parents, str) else " ".join(str(parent) for parent in parents)
    origin = how.pop("origin", None)
    if origin:
        notes["source"] = str(origin)
    return notes


def _stored_spec(name: str, layer: xr.DataArray) -> Variable:
    """What a layer is, from the attributes that `align` or the catalogue gave it."""
    attrs = layer.attrs
    flags = dict(zip(np.atleast_1d(attrs.get("flag_values", [])).tolist(), str(attrs.get("flag_meanings", "")).split()))
    kind = attrs.get("kind", "continuous" if layer.dtype.kind == "f" else "categorical")
    return describe_layer(
        name,
        units=str(attrs.get("units", "1")),
        kind=kind,
        long_name=attrs.get("long_name"),
        flags={code: meaning.replace("_", " ") for code, meaning in flags.items()},
        dtype="float32" if layer.dtype.kind == "f" else str(layer.dtype),
    )


def _chunked(layer: xr.DataArray, chunks: int) -> Any:
    data = layer.data
    return data.rechunk(chunks) if hasattr(data, "rechunk") else data


def _mask(info: CubeInfo, name: str, source: Any, described: Mapping[str, Any], how: Mapping[str, Any]) -> xr.DataArray:
    wrong = [key for key in how if key not in VECTOR]
    if wrong or described or name != "soil_mask":
        extra = f", and options {', '.join([*wrong, *described])}" if wrong or described else ""
        raise InputError(
            f"{name}: a vector source{extra}; vectors make the layer 'soil_mask', with the options outside= and crs="
        )
    return read_mask(source, info.grid, outside=how.get("outside"), crs=how.get("crs"), chunks=info.chunks)
