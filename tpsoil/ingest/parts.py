"""Where pixels lie: one band of a GDAL file, or one 2-D labelled array. Read by window, never whole."""

from __future__ import annotations

import glob
import hashlib
import os
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
import rioxarray  # noqa: F401  (registers the accessor .rio)
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window

from tpsoil.errors import GridError, InputError, MissingInputError, nearest_name

Array = npt.NDArray[Any]

EAST: Final = ("x", "lon", "longitude", "easting", "west_east", "projection_x_coordinate")
NORTH: Final = ("y", "lat", "latitude", "northing", "south_north", "projection_y_coordinate")
LABELLED: Final = (".nc", ".nc4", ".cdf", ".netcdf")
_FILTERS: Final = threading.Lock()


@dataclass(frozen=True)
class Part:
    """A 2-D raster with a place, read by window.

    Parameters
    ----------
    name : str
        For messages.
    box : GeoBox
    nodata : tuple of float
        Values that stand for missing, as the file declares; NaN always does.
    scale, offset : float
        As the file declares: value = stored * scale + offset.
    units : str
        As the file declares; "" where it does not.
    path, band : str, int
        Of a GDAL file.
    array : DataArray (y, x), optional
        In place of a file.
    """

    name: str
    box: GeoBox
    nodata: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    units: str = ""
    path: str = ""
    band: int = 1
    array: xr.DataArray | None = field(default=None, repr=False, compare=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type."""
        if self.array is not None:
            return self.array.dtype
        with _open(self.path) as file:
            dtype: np.dtype[Any] = np.dtype(file.dtypes[self.band - 1])
            return dtype

    def read(self, rows: slice, cols: slice) -> Array:
        """Stored values of a window inside the raster.

        Parameters
        ----------
        rows, cols : slice
            Start and stop within the raster.

        Returns
        -------
        ndarray (rows, cols), of the stored type; neither masked nor scaled
        """
        if self.array is not None:
            return np.asarray(self.array[rows, cols].values)
        with _open(self.path) as file:
            window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
            return np.asarray(file.read(self.band, window=window))


def find_parts(
    source: Any,
    *,
    where: str,
    variable: str | None = None,
    band: int | None = None,
    crs: Any = None,
    combined: bool = False,
    prefer: str = "",
) -> list[Part]:
    """The rasters that a source names.

    Parameters
    ----------
    source : path, glob, URL, DataArray, Dataset, or a sequence of them
    where : str
        The layer's name, for messages.
    variable, band : str, int
        Which variable of a NetCDF or Zarr source; which band (from 1) of a GDAL file or step of a labelled array.
    crs : str or CRS, optional
        Of a source that carries none.
    combined : bool
        Whether all bands or steps are wanted, to be combined.
    prefer : str
        Variable to take where several are there and none is named.

    Returns
    -------
    list of Part

    Raises
    ------
    MissingInputError, InputError, GridError

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> array = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates(grid))
    >>> [part.box.shape for part in find_parts(array, where="elevation")]
    [Shape2d(x=28, y=18)]
    """
    declared = None if crs is None else _declared_crs(crs, where)
    parts: list[Part] = []
    for item in _listed(source, where):
        if isinstance(item, (xr.DataArray, xr.Dataset)):
            parts += _labelled(item, where, "array", variable, band, declared, combined, prefer)
            continue
        path = str(item)
        if _is_zarr(path) or path.lower().endswith(LABELLED):
            dataset = _open_dataset(path, where)
            parts += _labelled(dataset, where, path, variable, band, declared, combined, prefer)
        else:
            parts += _gdal(path, where, band, declared, combined)
    return parts


def source_files(source: Any, where: str) -> list[Path]:
    """Local files behind a source; none for arrays and URLs."""
    found: list[Path] = []
    for item in _listed(source, where):
        if isinstance(item, str) and Path(item).exists():
            path = Path(item)
            found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


def digest_files(paths: Sequence[Path]) -> str:
    """sha256 over the names and bytes of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _listed(source: Any, where: str) -> list[Any]:
    """A flat list of existing paths, URLs and labelled arrays."""
    if isinstance(source, (xr.DataArray, xr.Dataset)):
        return [source]
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if "://" in path or path.startswith("/vsi") or path.upper().startswith(("NETCDF:", "HDF5:", "ZARR:")):
            return [path]
        if Path(path).exists():
            return [path]
        if glob.has_magic(path):
            found = sorted(glob.glob(path, recursive=True))
            if not found:
                raise MissingInputError(f"{where}: no file matches '{path}', taken from {Path.cwd()}")
            return found
        raise MissingInputError(f"{where}: no such file {path}; check the path, it is taken from {Path.cwd()}")
    if isinstance(source, Sequence):
        if not source:
            raise InputError(f"{where}: the list of sources is empty, expected at least one")
        return [item for one in source for item in _listed(one, where)]
    raise InputError(
        f"{where}: the source is a {type(source).__name__}, expected a path, a glob, a DataArray, or a list of them"
    )


def _is_zarr(path: str) -> bool:
    folder = Path(path)
    return path.rstrip("/").endswith(".zarr") or any(
        (folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata")
    )


def _open_dataset(path: str, where: str) -> xr.Dataset:
    try:
        if _is_zarr(path):
            group: xr.Dataset = xr.open_zarr(
                path, chunks=None, consolidated=False, decode_times=False, decode_coords="all"
            )
            return group
        return xr.open_dataset(path, chunks=None, decode_times=False, decode_coords="all")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{where}: {path} cannot be opened: {error}; is it a NetCDF file or a Zarr group?") from error


def _open(path: str) -> Any:
    # A raster without a place is refused below, in our own words. `catch_warnings` swaps the filters of the whole
    # process: two threads of ours that interleave in it would leave the wrong ones behind.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _gdal(path: str, where: str, band: int | None, crs: CRS | None, combined: bool) -> list[Part]:
    try:
        file = _open(path)
    except RasterioIOError as error:
        raise InputError(f"{where}: {path} is not a raster that GDAL can read: {error}") from error
    with file:
        own = CRS(file.crs.to_wkt()) if file.crs else None
        if file.count == 0:
            names = ", ".join(file.subdatasets[:6])
            raise InputError(f"{where}: {path} holds subdatasets, not bands; pass one of {names} as the source")
        if (own or crs) is None:
            raise GridError(f"{where}: {path} has no CRS; pass crs='EPSG:...' or write it with gdal_edit -a_srs")
        if file.transform.is_identity:
            raise GridError(
                f"{where}: {path} lacks a geotransform, so its pixels have no place; write it with gdal_edit"
            )
        if band is None and file.count > 1 and not combined:
            named = ", ".join(f"{k} {text or ''}".strip() for k, text in zip(file.indexes, file.descriptions))
            raise InputError(f"{where}: {path} has {file.count} bands ({named}); pass band=, or combine= for all")
        if band is not None and band not in file.indexes:
            raise InputError(f"{where}: {path} has no band {band}, expected 1 to {file.count}")
        box = GeoBox(file.shape, file.transform, crs or own)
        chosen = [band] if band is not None else list(file.indexes)
        return [
            Part(
                name=path if file.count == 1 else f"{path} band {k}",
                box=box,
                nodata=() if file.nodatavals[k - 1] is None else (float(file.nodatavals[k - 1]),),
                scale=float(file.scales[k - 1]),
                offset=float(file.offsets[k - 1]),
                units=file.units[k - 1] or "",
                path=path,
                band=k,
            )
            for k in chosen
        ]


def _labelled(
    item: xr.DataArray | xr.Dataset,
    where: str,
    name: str,
    variable: str | None,
    band: int | None,
    crs: CRS | None,
    combined: bool,
    prefer: str,
) -> list[Part]:
    array = _choose(item, where, name, variable, prefer) if isinstance(item, xr.Dataset) else item
    own = array.rio.crs if isinstance(item, xr.DataArray) else (array.rio.crs or item.rio.crs)
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
            "pass combine='mean' (or sum, min, max), or band= for one of them (from 1)"
        )
    if crs is None and own is None:
        degrees = str(array[east].attrs.get("units", "")).startswith("degree") or east.lower() in ("lon", "longitude")
        hint = "its coordinates look like degrees: if they are WGS84 pass crs='EPSG:4326'" if degrees else "pass crs="
        raise GridError(f"{where}: {name} has no CRS; {hint}, or write it with .rio.write_crs('EPSG:...')")
    array = array.transpose(*steps, north, east)
    box = GeoBox(
        (array.sizes[north], array.sizes[east]),
        _transform(array, north, east, where, name),
        crs or CRS(own.to_wkt()),
    )
    if not steps:
        return [_labelled_part(array, box, name)]
    count = array.sizes[steps[0]]
    if band is not None and not 1 <= band <= count:
        raise InputError(f"{where}: {name} has no step {band} along '{steps[0]}', expected 1 to {count}")
    chosen = range(count) if band is None else [band - 1]
    return [_labelled_part(array.isel({steps[0]: k}), box, f"{name} {steps[0]} {k + 1}") for k in chosen]


def _labelled_part(array: xr.DataArray, box: GeoBox, name: str) -> Part:
    attrs, encoding = array.attrs, array.encoding
    fills = [attrs[key] for key in ("_FillValue", "missing_value", "nodata") if key in attrs]
    if array.dtype.kind in "iub" and "_FillValue" in encoding:
        fills.append(encoding["_FillValue"])  # floats with it are decoded: their missing values are NaN already
    return Part(
        name=name,
        box=box,
        nodata=tuple(float(fill) for value in fills for fill in np.atleast_1d(value)),
        scale=float(attrs.get("scale_factor", 1.0)),
        offset=float(attrs.get("add_offset", 0.0)),
        units=str(attrs.get("units", "")),
        array=array,
    )


def _choose(dataset: xr.Dataset, where: str, name: str, variable: str | None, prefer: str) -> xr.DataArray:
    rasters = [
        str(key)
        for key, value in dataset.data_vars.items()
        if {str(d).lower() for d in value.dims} & set(EAST) and {str(d).lower() for d in value.dims} & set(NORTH)
    ]
    if variable is None:
        variable = prefer if prefer in rasters else (rasters[0] if len(rasters) == 1 else None)
        if variable is None:
            raise InputError(f"{where}: {name} has the variables {', '.join(rasters) or 'none'}; pass variable=")
    if variable not in dataset.data_vars:
        raise InputError(f"{where}: {name} has no variable '{variable}'{nearest_name(variable, rasters)}")
    return dataset[variable]


def _transform(array: xr.DataArray, north: str, east: str, where: str, name: str) -> Affine:
    steps = {dim: _even(array, dim, where, name) for dim in (north, east) if array.sizes[dim] > 1}
    if not steps:
        raise GridError(f"{where}: {name} is a single cell, so its size is not known; give two or more")
    width = steps.get(east, abs(steps.get(north, 0.0)))
    height = steps.get(north, -abs(steps.get(east, 0.0)))
    left = float(array[east].values[0]) - width / 2
    top = float(array[north].values[0]) - height / 2
    return Affine(width, 0.0, left, 0.0, height, top)


def _even(array: xr.DataArray, dim: str, where: str, name: str) -> float:
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


def _declared_crs(crs: Any, where: str) -> CRS:
    try:
        return CRS(crs)
    except Exception as error:  # pyproj and odc-geo raise several unrelated classes
        raise InputError(f"{where}: crs={crs!r} is not a CRS; expected such as 'EPSG:4326' or a PROJ string") from error
