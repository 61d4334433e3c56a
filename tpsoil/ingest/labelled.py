"""NetCDF and Zarr sources, and labelled arrays, as parts: numbers as they are stored, so that one rule unpacks them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import rioxarray  # noqa: F401  (registers the accessor .rio)
import xarray as xr
import zarr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from tpsoil.errors import GridError, InputError, nearest_name
from tpsoil.grid import require_located
from tpsoil.labels import stated_fills
from tpsoil.option_names import option, pass_option

from .part import ALL_NUMBERS, FileArray, MissingRule, Part

EAST: Final = ("x", "lon", "longitude", "easting", "west_east", "projection_x_coordinate")
RANGE_KEYS: Final = frozenset({"valid_range", "valid_min", "valid_max"})
"""Attributes with the smallest and largest stored number that is a value."""
NORTH: Final = ("y", "lat", "latitude", "northing", "south_north", "projection_y_coordinate")


def is_zarr(path: str) -> bool:
    """Whether a path or URL is a Zarr group."""
    folder = Path(path)
    return path.rstrip("/").endswith(".zarr") or any(
        (folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata")
    )


def open_labelled(path: str, where: str) -> xr.Dataset:
    """A NetCDF file or Zarr group; its variables as stored, its coordinates decoded.

    Raises
    ------
    InputError
        For a file that is none.
    """
    options: dict[str, Any] = {"chunks": None, "decode_times": False, "decode_coords": "all"}
    with open_file(path, where, **options) as decoded:
        names = [str(name) for name in decoded.data_vars]
    # Each variable's numbers stay packed: what the caller gives for scale, offset and nodata replaces the file's.
    return open_file(path, where, **options, mask_and_scale=dict.fromkeys(names, False))


def open_file(path: str, where: str, **options: Any) -> xr.Dataset:
    """A NetCDF file or Zarr group, opened by options of xarray.

    Raises
    ------
    InputError
        For a file that is no such file.
    """
    if is_zarr(path):
        options |= {"engine": "zarr", "consolidated": False}
    try:
        return xr.open_dataset(path, **options)
    except Exception as error:  # what a broken file raises depends on the library that reads it
        reason = str(error).partition("\n")[0]
        raise InputError(f"{where}: {path} cannot be opened: {reason}; is it a NetCDF file or a Zarr group?") from error


def labelled_parts(
    item: xr.DataArray | xr.Dataset,
    where: str,
    name: str,
    variable: str | None,
    band: int | None,
    crs: CRS | None,
    combined: bool,
    prefer: str,
    path: str = "",
) -> list[Part]:
    """The rasters of a labelled array or dataset; `path` where it is a file."""
    array = _choose(item, where, name, variable, prefer) if isinstance(item, xr.Dataset) else item
    if isinstance(item, xr.DataArray) and variable not in (None, item.name):
        raise InputError(
            f"{where}: the source is one array{f' named {item.name!r}' if item.name else ''}, so variable='{variable}' "
            "would have no effect; leave it out"
        )
    own = array.rio.crs if isinstance(item, xr.DataArray) else (array.rio.crs or item.rio.crs)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"{where}: {name} has values of type {array.dtype}, expected numbers; of complex numbers select the real "
            "part or the magnitude first"
        )
    east, north = (next((str(d) for d in array.dims if str(d).lower() in names), "") for names in (EAST, NORTH))
    if not east or not north:
        raise GridError(f"{where}: {name} has dimensions {array.dims}, expected y and x (or lat and lon) among them")
    steps = [dim for dim in array.dims if dim not in (east, north)]
    array = array.squeeze([dim for dim in steps if array.sizes[dim] == 1], drop=True)
    steps = [dim for dim in steps if dim in array.dims]
    if len(steps) > 1:
        raise InputError(f"{where}: {name} has dimensions {array.dims}; select all but one besides {north} and {east}")
    if steps and band is None and not combined:
        raise InputError(
            f"{where}: {name} has {array.sizes[steps[0]]} steps along '{steps[0]}'; "
            f"{pass_option('combine', 'mean')} (or sum, min, max), or {option('band')} for one of them (from 1)"
        )
    if crs is None and own is None:
        degrees = str(array[east].attrs.get("units", "")).startswith("degree") or east.lower() in ("lon", "longitude")
        hint = "its coordinates look like degrees: if they are WGS84 " if degrees else ""
        hint += pass_option("crs", "EPSG:4326" if degrees else None)
        raise GridError(f"{where}: {name} has no CRS; {hint}, or write it with .rio.write_crs('EPSG:...')")
    array = array.transpose(*steps, north, east)
    box = GeoBox(
        (array.sizes[north], array.sizes[east]),
        _transform(array, north, east, where, name),
        require_located(crs or CRS(own.to_wkt()), where=f"{where}: {name}"),
    )
    if not steps and band not in (None, 1):
        raise InputError(f"{where}: {name} has one band, expected band=1 or none, got band={band}")
    if not steps:
        return [_labelled_part(array, box, name, path)]
    count = array.sizes[steps[0]]
    if band is not None and not 1 <= band <= count:
        raise InputError(f"{where}: {name} has no step {band} along '{steps[0]}', expected 1 to {count}")
    chosen = range(count) if band is None else [band - 1]
    return [_labelled_part(array.isel({steps[0]: k}), box, f"{name} {steps[0]} {k + 1}", path) for k in chosen]


def _labelled_part(array: xr.DataArray, box: GeoBox, name: str, path: str) -> Part:
    attrs, encoding = array.attrs, array.encoding
    rule = missing_rule(array)
    if not path:  # of arrays in memory the range may be another quantity's: arithmetic keeps attributes
        rule = replace(rule, valid=ALL_NUMBERS)
    return Part(
        name=name,
        box=box,
        missing=rule,
        scale=float(attrs.get("scale_factor", 1.0)),
        offset=float(attrs.get("add_offset", 0.0)),
        units=str(attrs.get("units", "")),
        path=path,
        array=None if path else array,
        stored=FileArray(array) if path else None,
        unpacked=not path and any(key in encoding for key in ("scale_factor", "add_offset")),
        problem=_missing_chunks(path, array) if path else "",
    )


def missing_rule(array: xr.DataArray) -> MissingRule:
    """Which numbers of a variable, as stored, its attributes call missing."""
    unsigned = str(array.attrs.get("_Unsigned", "")).lower() == "true" and array.dtype.kind == "i"
    numbers, (low, high) = stated_fills(array), _valid_range(array)
    if unsigned:  # attributes are signed, as the numbers are stored: 255 is -1
        turn = 256.0**array.dtype.itemsize
        numbers = tuple(fill % turn for fill in numbers)
        low, high = (limit % turn if np.isfinite(limit) else limit for limit in (low, high))
    return MissingRule(numbers, (low, high), unsigned)


def _valid_range(array: xr.DataArray) -> tuple[float, float]:
    """The stored numbers that a file calls valid (CF conventions 1.11, section 2.5.1).

    Limits in the type of the scale, where that is wider than that of the stored numbers, are of the unpacked values
    (NetCDF Users Guide, attribute conventions).
    """
    attrs = array.attrs
    limits = np.atleast_1d(attrs.get("valid_range", [attrs.get("valid_min", -np.inf), attrs.get("valid_max", np.inf)]))
    low, high = (float(value) for value in limits[:2])
    stated = [np.asarray(attrs[key]).dtype for key in sorted(RANGE_KEYS, reverse=True) if key in attrs]
    packing = [np.asarray(attrs[key]).dtype for key in ("scale_factor", "add_offset") if key in attrs]
    unpacked = np.result_type(*packing) if packing else array.dtype
    if stated and stated[0] == unpacked and unpacked.itemsize > array.dtype.itemsize:
        scale, offset = float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0))
        low, high = sorted(
            round((limit - offset) / scale, 6) if np.isfinite(limit) else limit * scale for limit in (low, high)
        )
    return low, high


def _missing_chunks(path: str, array: xr.DataArray) -> str:
    """Chunks that a local Zarr array does not store: its chunks read as the fill value, whatever was stored before."""
    if "://" in path or not is_zarr(path):
        return ""
    stored = zarr.open_array(path, path=str(array.name), mode="r")
    missing = stored.nchunks - stored.nchunks_initialized
    if not missing:
        return ""
    text = f"{missing} of {stored.nchunks} chunks of '{array.name}' in {path} are not stored"
    if stored.attrs.get("state") == "complete":  # a cube of tpsoil stores every chunk
        raise InputError(f"{text}, so they were lost; restore them from a copy, or add the layer to that cube again")
    return f"{text} and read as {stored.fill_value}"


def _choose(dataset: xr.Dataset, where: str, name: str, variable: str | None, prefer: str) -> xr.DataArray:
    rasters = [
        str(key)
        for key, value in dataset.data_vars.items()
        if {str(d).lower() for d in value.dims} & set(EAST) and {str(d).lower() for d in value.dims} & set(NORTH)
    ]
    if variable is None:
        variable = prefer if prefer in rasters else (rasters[0] if len(rasters) == 1 else None)
        if variable is None:
            raise InputError(
                f"{where}: {name} has the variables {', '.join(rasters) or 'none'}; {pass_option('variable')}"
            )
    if variable not in dataset.data_vars:
        raise InputError(f"{where}: {name} has no variable '{variable}'{nearest_name(variable, rasters)}")
    return dataset[variable]


def _transform(array: xr.DataArray, north: str, east: str, where: str, name: str) -> Affine:
    steps = {dim: even_step(array, dim, where, name) for dim in (north, east) if array.sizes[dim] > 1}
    if not steps:
        raise GridError(f"{where}: {name} is a single cell, so its size is not known; give two or more")
    width = steps.get(east, abs(steps.get(north, 0.0)))
    height = steps.get(north, -abs(steps.get(east, 0.0)))
    left = float(array[east].values[0]) - width / 2
    top = float(array[north].values[0]) - height / 2
    return Affine(width, 0.0, left, 0.0, height, top)


def even_step(array: xr.DataArray, dim: str, where: str, name: str) -> float:
    """Spacing of a coordinate.

    Raises
    ------
    GridError
        Without the coordinate, or where it is not evenly spaced.
    """
    if dim not in array.coords:
        raise GridError(f"{where}: {name} has no coordinate '{dim}', so its pixels have no place")
    values = np.asarray(array[dim].values, dtype=np.float64)
    step = (values[-1] - values[0]) / (len(values) - 1)
    even = values[0] + step * np.arange(len(values))
    # A hundredth of a cell: coordinates in float32 are off by a thousandth.
    if not np.isfinite(step) or step == 0 or np.abs(values - even).max() > 0.01 * abs(step):
        raise GridError(
            f"{where}: coordinate '{dim}' of {name} is not evenly spaced; warp the raster to a regular grid"
        )
    return float(step)
