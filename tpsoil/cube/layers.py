"""`add_layer`: a source is read, checked, brought onto the grid and stored; complete or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.errors import GridError, InputError, TpsoilError
from tpsoil.grid import SNAP, coordinates
from tpsoil.ingest.checks import check_classes, mask
from tpsoil.ingest.rasters import Combine, read_raster
from tpsoil.ingest.vectors import is_vector, read_mask
from tpsoil.labels import MISSING_KEYS, stated_fills
from tpsoil.plausibility import require_values
from tpsoil.soil_mask import MASK
from tpsoil.tiles import write_tiles
from tpsoil.variables import CATALOGUE, Kind, Variable, describe_layer, flags_of

from .alignment import align
from .location import Location
from .reading import CubeInfo, graph_prefix, is_inside, zarr_sources
from .regions import create_layers, finish_layers, layer_digest, remove_layers, write_block
from .store import layer_array, open_group

Array = npt.NDArray[Any]

Resampling = Literal["average", "bilinear", "nearest", "mode"]
Nodata = float | Sequence[float] | str

PACKING: Final = ("scale_factor", "add_offset", "_Unsigned")
"""Attributes of numbers that are not values yet."""
UNTRUE: Final = frozenset({*MISSING_KEYS, *PACKING, "valid_range", "actual_range", "source_digest"})
"""Attributes of a source that are not true of a layer: it has values, its own code of missing cells, and may differ."""


def add_layer(
    store: Location,
    name: str,
    source: Any,
    *,
    units: str | None = None,
    nodata: Nodata | None = None,
    scale: float | None = None,
    offset: float | None = None,
    variable: str | None = None,
    band: int | None = None,
    crs: Any = None,
    combine: Combine | None = None,
    outside: Any = None,
    resampling: Resampling | None = None,
    kind: Kind | None = None,
    long_name: str | None = None,
    flags: Mapping[int, str] | None = None,
    dtype: str | None = None,
    origin: str | None = None,
    parents: str | Sequence[str] | None = None,
    attrs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Add one layer to a cube: read, converted, checked, brought onto the grid, written chunk by chunk.

    Parameters
    ----------
    store : path, URL or zarr Store
        Of a cube.
    name : str
        The layer's name; one of the catalogue, or any with `units=` and `kind=`.
    source : path, glob, URL, DataArray, or a list of them
        A GDAL raster, NetCDF, Zarr; for `soil_mask` also a vector file or GeoDataFrame of the area inside.
    units : str, optional
        Of the source: "K", "cm", "ft", "mm/month", "0.1 degC". By default the file's, else the catalogue's.
    nodata : float, sequence of float or "none", optional
        Stored numbers that mean missing, in place of those that the file declares.
    scale, offset : float, optional
        value = stored * scale + offset; each replaces the file's own.
    variable, band : str, int, optional
        Which variable of a NetCDF or Zarr source; which band or step, from 1.
    crs : str, optional
        Of a source without one, or in place of a wrong one.
    combine : {"mosaic", "mean", "sum", "min", "max"}, optional
        How several rasters become one; see `ingest.read_raster`.
    outside : path, GeoDataFrame or list of them, optional
        Of `soil_mask`: polygons without soil, such as glaciers and lakes.
    resampling : {"average", "bilinear", "nearest", "mode"}, optional
        By default by the kind of layer; see `align`.
    kind, long_name, flags, dtype
        Of a layer outside the catalogue; `flags` maps each code to its name.
    origin : str, optional
        Attribute `source`, in place of the file's name.
    parents : str or sequence of str, optional
        Names of the layers that it was computed from.
    attrs : mapping, optional
        Further attributes.
    overwrite : bool
        Replace a layer of this name.

    Raises
    ------
    InputError
        For a layer that exists already, or that the source is; impossible values or classes, a source without a value
        in any cell, a soil mask without soil, raster options for a vector source.
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
    info, _ = open_group(store)
    reading: dict[str, Any] = {
        "units": units, "nodata": nodata, "scale": scale, "offset": offset, "variable": variable, "band": band,
        "combine": combine,
    }  # fmt: skip
    described: dict[str, Any] = {"kind": kind, "long_name": long_name, "flags": flags, "dtype": dtype}
    if is_vector(source) or outside is not None:
        _require_mask(name, {**reading, "resampling": resampling, **described})
        layer = read_mask(source, info.grid, outside=outside, crs=crs, chunks=info.chunks)
    else:
        _require_not_own(info, name, source)
        raster = read_raster(source, describe_layer(name, units=units, **described), crs=crs, **reading)
        if any(part.stored and part.stored.name == name and is_inside(part.path, info.where) for part in raster.parts):
            raise InputError(
                f"{info.where}: layer '{name}' would be read from the layer that it replaces; export it to a file "
                "first, or pass open_cube(...)[name].load()"
            )
        layer = align(raster, info.grid, chunks=info.chunks, resampling=resampling)
        layer.attrs["source_digest"] = raster.digest
    layer.attrs.update(_provenance(origin, parents, attrs))
    write_layers(store, {name: layer}, overwrite=overwrite, require_values=not isinstance(source, xr.DataArray))


def add_layers(
    store: Location,
    layers: xr.Dataset | Mapping[str, xr.DataArray],
    *,
    nodata: Nodata | None = None,
    crs: Any = None,
    resampling: Resampling | None = None,
    origin: str | None = None,
    parents: str | Sequence[str] | None = None,
    attrs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Add several layers that are computed together, such as the attributes of one terrain pass.

    Parameters
    ----------
    store : path, URL or zarr Store
    layers : Dataset or mapping of name to DataArray
        In the catalogue's units or with `units` in their attributes; on any grid. Lazy ones that share work are
        computed in one pass.
    nodata, crs, resampling, origin, parents, attrs, overwrite
        As in `add_layer`, for all of them.

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
    info, _ = open_group(store)
    placed = {}
    for key, array in layers.items():
        name = str(key)
        for replaced in layers:
            _require_not_own(info, str(replaced), array)
        raster = read_raster(array, stored_spec(name, array), nodata=nodata, crs=crs)
        layer = align(raster, info.grid, chunks=info.chunks, resampling=resampling)
        layer.attrs.update(_own_attributes(array, layer))
        layer.attrs.update(_provenance(origin, parents, attrs))
        placed[name] = layer
    write_layers(store, placed, overwrite=overwrite)


def write_layers(
    store: Location, layers: Mapping[str, xr.DataArray], *, overwrite: bool = False, require_values: bool = False
) -> None:
    """Write layers that are on the cube's grid; all of them in one pass, complete or not at all.

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
    InputError
        For packed numbers, classes that their type or flags do not have, a layer that exists already.
    GridError
        For coordinates other than those of the cube.
    AccessError, WorkError

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
    info, group = open_group(store, read_only=False)
    specs = {name: stored_spec(name, layer) for name, layer in layers.items()}
    _require_writable(info, layers)
    attrs = {
        name: {key: value for key, value in layer.attrs.items() if key not in MISSING_KEYS}
        for name, layer in layers.items()
    }
    create_layers(store, list(specs.values()), attrs=attrs, overwrite=overwrite)
    try:
        fills = {name: stated_fills(layer) for name, layer in layers.items()}
        writer = _Writer(info, {name: layer_array(info, group, name) for name in specs}, specs, fills)
        data = {name: _chunked(layer, info.chunks) for name, layer in layers.items()}
        counts = write_tiles(data, writer)
        if require_values:
            _require_values(info, layers, counts)
        finished: dict[str, dict[str, Any]] = {}
        for name, layer in layers.items():
            finished[name] = {"missing_cells": sum(block.missing for block in counts[name])}
            if not layer.attrs.get("source_digest"):
                finished[name]["source_digest"] = layer_digest(store, name)
        finish_layers(store, list(layers), finished)
    except BaseException:
        with contextlib.suppress(TpsoilError):  # the first error is the one that is raised
            remove_layers(store, list(layers))
        raise


class _Count(NamedTuple):
    """Cells of a block: without a value, and usable: with one or, of the soil mask, with soil."""

    missing: int
    usable: int


@dataclass(frozen=True)
class _Writer:
    """Writes chunks, of an array in memory all at once, and counts their missing cells; the arrays are open already."""

    info: CubeInfo
    arrays: Mapping[str, Any]
    specs: Mapping[str, Variable]
    fills: Mapping[str, tuple[float, ...]]

    def __call__(self, name: str, rows: slice, cols: slice, block: Array) -> _Count:
        spec = self.specs[name]
        block = _as_stored(np.asarray(block), spec, self.fills[name])
        write_block(self.arrays[name], self.info, name, rows, cols, block)
        missing = np.isnan(block) if spec.kind != "categorical" else block == spec.fill
        missing_count = int(missing.sum())
        usable = int((block == 1).sum()) if name == MASK else block.size - missing_count
        return _Count(missing_count, usable)


def _as_stored(block: Array, spec: Variable, fills: Sequence[float]) -> Array:
    """Values in the layer's type, with its code of missing cells in place of `fills` and NaN."""
    if block.dtype == spec.dtype and all(np.isnan(fill) or fill == spec.fill for fill in fills):
        return block
    values = mask(block, fills)
    return check_classes(values, spec) if spec.kind == "categorical" else values.astype(spec.dtype)


def _require_values(info: CubeInfo, layers: Mapping[str, xr.DataArray], counts: Mapping[str, Sequence[_Count]]) -> None:
    cells = info.shape[0] * info.shape[1]
    for name, blocks in counts.items():
        usable = sum(block.usable for block in blocks)
        statistics = {"cells": cells, "valid": {name: usable}, "soil": usable}
        attrs = layers[name].attrs
        source, nodata = str(attrs.get("source", "the source")), str(attrs.get("source_nodata", ""))
        require_values([name], [statistics], source=source, nodata=nodata)


def _require_not_own(info: CubeInfo, name: str, layer: Any) -> None:
    """Reject a layer that is still to be read from the one that it replaces, whose chunks are deleted first."""
    if not isinstance(layer, xr.DataArray):
        return
    prefix, own = graph_prefix(info.where, name), f"{info.where.rstrip('/')}/{name}"
    keys = getattr(getattr(layer.variable._data, "dask", None), "layers", ())
    if any(str(key).startswith(prefix) for key in keys) or any(is_inside(one, own) for one in zarr_sources(layer)):
        raise InputError(
            f"{info.where}: layer '{name}' would be read from the layer that it replaces; .load() it first"
        )


def _require_writable(info: CubeInfo, layers: Mapping[str, xr.DataArray]) -> None:
    """Reject layers that are read from what they replace, numbers that are not values yet, and other coordinates."""
    grid, centres = info.grid, coordinates(info.grid)
    for name, layer in layers.items():
        for replaced in layers:
            _require_not_own(info, replaced, layer)
        where = f"{info.where}: layer '{name}' has"
        if packing := [key for key in PACKING if key in layer.attrs]:
            raise InputError(
                f"{where} {', '.join(packing)}, so its numbers are not values yet; open its file with "
                "mask_and_scale=True, or pass it to add_layers"
            )
        if layer.dims == ("x", "y"):
            raise InputError(f"{where} dims ('x', 'y'), expected ('y', 'x'); transpose it")
        for axis, size in (("y", grid.transform.e), ("x", grid.transform.a)):
            if axis in layer.indexes and layer.sizes[axis] == centres[axis].size:
                ends, expected = (np.asarray(one.values[[0, -1]], float) for one in (layer[axis], centres[axis]))
                if np.abs(ends - expected).max() > SNAP * abs(size):
                    raise GridError(
                        f"{where} {axis} from {ends[0]:.10g} to {ends[1]:.10g}, the cube from {expected[0]:.10g} to "
                        f"{expected[1]:.10g}; pass it to add_layers, which places it on the grid"
                    )


def _own_attributes(array: xr.DataArray, layer: xr.DataArray) -> dict[str, Any]:
    """Attributes of a source array that are true of its layer too; a range only of the same numbers."""
    same = str(array.attrs.get("units", layer.attrs["units"])) == layer.attrs["units"]
    spare = UNTRUE if same and "source_scale_offset" not in layer.attrs else UNTRUE | {"valid_min", "valid_max"}
    return {str(key): value for key, value in array.attrs.items() if key not in spare and key not in layer.attrs}


def _provenance(
    origin: str | None, parents: str | Sequence[str] | None, attrs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Attributes that the caller declares."""
    declared: dict[str, Any] = dict(attrs or {})
    if parents:
        declared["parents"] = parents if isinstance(parents, str) else " ".join(str(parent) for parent in parents)
    if origin:
        declared["source"] = str(origin)
    return declared


def stored_spec(name: str, layer: xr.DataArray) -> Variable:
    """What a layer is, from the attributes that `align` or the catalogue gave it."""
    attrs = layer.attrs
    usual = "continuous" if layer.dtype.kind == "f" else "categorical"
    kind = attrs.get("kind", CATALOGUE[name].kind if name in CATALOGUE else usual)
    # A layer of the catalogue is stored in its type there, whatever type the array has; numbers in float32.
    integers = name not in CATALOGUE and kind == "categorical" and layer.dtype.kind in "iu"
    return describe_layer(
        name,
        units=str(attrs.get("units", "1")),
        kind=kind,
        long_name=attrs.get("long_name"),
        flags=flags_of(attrs),
        dtype=layer.dtype.name if integers else None,
    )


def _chunked(layer: xr.DataArray, chunks: int) -> Any:
    data = layer.data
    return data.rechunk(chunks) if hasattr(data, "rechunk") else data


def _require_mask(name: str, options: Mapping[str, Any]) -> None:
    """Reject a vector source of another layer than the mask, and options that only rasters have."""
    unsupported = [key for key, value in options.items() if value is not None]
    if unsupported or name != MASK:
        extra = f", and options {', '.join(unsupported)}" if unsupported else ""
        raise InputError(
            f"{name}: a vector source{extra}; vectors make the layer 'soil_mask', with the options outside= and crs="
        )
