"""The rasters that a path, glob, URL or labelled array names. Read by window, never completely."""

from __future__ import annotations

import glob
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioIOError

from tpsoil.errors import GridError, InputError, MissingInputError
from tpsoil.grid import read_crs, require_located
from tpsoil.option_names import option, pass_option

from .dependencies import dependencies_of
from .labelled import is_zarr, labelled_parts, open_labelled
from .part import MissingRule, Part, open_raster

LABELLED: Final = (".nc", ".nc4", ".cdf", ".netcdf")


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
        Of a source without one.
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
    >>> import numpy as np
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> array = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates(grid))
    >>> [part.box.shape for part in find_parts(array, where="elevation")]
    [Shape2d(x=28, y=18)]
    """
    declared = None if crs is None else read_crs(crs, where=where)
    parts: list[Part] = []
    for item in listed_sources(source, where):
        in_memory = isinstance(item, (xr.DataArray, xr.Dataset))
        path = "" if in_memory else str(item)
        if in_memory or is_zarr(path) or path.lower().endswith(LABELLED):
            labelled = item if in_memory else open_labelled(path, where)
            parts += labelled_parts(labelled, where, path or "array", variable, band, declared, combined, prefer, path)
        elif variable is not None:
            raise InputError(
                f"{where}: {path} has bands and no variables, so variable='{variable}' would have no effect; pass "
                "band=, or leave variable out"
            )
        else:
            parts += _gdal(path, where, band, declared, combined)
    return parts


def source_files(source: Any, where: str) -> tuple[Path, ...]:
    """Local files behind a source, those that its files name too; none for arrays and URLs."""
    paths = [item for item in listed_sources(source, where) if isinstance(item, str)]
    return dependencies_of(path for path in paths if "://" not in path).files


def digest_files(paths: Sequence[Path]) -> str:
    """sha256 over the names and bytes of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def listed_sources(source: Any, where: str) -> list[Any]:
    """A flat list of existing paths, URLs and labelled arrays."""
    if isinstance(source, (xr.DataArray, xr.Dataset)):
        return [source]
    if isinstance(source, (str, os.PathLike)):
        path = os.path.expanduser(os.fspath(source))
        if "://" in path or path.startswith("/vsi") or path.upper().startswith(("NETCDF:", "HDF5:", "ZARR:")):
            return [path]
        if Path(path).exists():
            return [path]
        if glob.has_magic(path):
            paths = sorted(glob.glob(path, recursive=True))
            if not paths:
                raise MissingInputError(f"{where}: no file matches '{path}', taken from {Path.cwd()}")
            return paths
        raise MissingInputError(f"{where}: no such file {path}; check the path, it is taken from {Path.cwd()}")
    if isinstance(source, Sequence):
        if not source:
            raise InputError(f"{where}: the list of sources is empty, expected at least one")
        return [item for one in source for item in listed_sources(one, where)]
    raise InputError(
        f"{where}: the source is a {type(source).__name__}, expected a path, a glob, a DataArray, or a list of them"
    )


def _gdal(path: str, where: str, band: int | None, crs: CRS | None, combined: bool) -> list[Part]:
    try:
        file = open_raster(path)
    except RasterioIOError as error:
        raise InputError(f"{where}: {path} is not a raster that GDAL can read: {error}") from error
    with file:
        own = CRS(file.crs.to_wkt()) if file.crs else None
        if file.count == 0:
            names = ", ".join(file.subdatasets[:6])
            raise InputError(f"{where}: {path} has subdatasets, not bands; pass one of {names} as the source")
        if (own or crs) is None:
            fix = f"{pass_option('crs', 'EPSG:...')} or write it with gdal_edit -a_srs"
            raise GridError(f"{where}: {path} has no CRS; {fix}")
        if file.transform.is_identity:
            raise GridError(
                f"{where}: {path} lacks a geotransform, so its pixels have no place; write it with gdal_edit"
            )
        a, b, _, d, e, _ = numbers = file.transform[:6]
        if not all(map(math.isfinite, numbers)) or a * e == b * d:
            raise GridError(f"{where}: {path} has the geotransform {numbers}, whose pixels have no area; correct it")
        bands = [k for k, colour in zip(file.indexes, file.colorinterp) if colour != ColorInterp.alpha]
        if band is None and len(bands) > 1 and not combined:
            band_names = ", ".join(f"{k} {file.descriptions[k - 1] or ''}".strip() for k in bands)
            fix = f"{pass_option('band')}, or {option('combine')} for all"
            raise InputError(f"{where}: {path} has {len(bands)} bands ({band_names}); {fix}")
        if band is not None and band not in file.indexes:
            raise InputError(f"{where}: {path} has no band {band}, expected 1 to {file.count}")
        box = GeoBox(file.shape, file.transform, require_located(crs or own, where=f"{where}: {path}"))
        chosen = [band] if band is not None else bands
        for k in chosen:
            if file.dtypes[k - 1].startswith("complex"):
                raise InputError(
                    f"{where}: {path} has complex numbers; write their real part or magnitude to a file of its own"
                )
        return [
            Part(
                name=path if len(bands) == 1 else f"{path} band {k}",
                box=box,
                missing=MissingRule(() if file.nodatavals[k - 1] is None else (float(file.nodatavals[k - 1]),)),
                scale=float(file.scales[k - 1]),
                offset=float(file.offsets[k - 1]),
                units=file.units[k - 1] or "",
                path=path,
                band=k,
                masked=bool({MaskFlags.per_dataset, MaskFlags.alpha} & set(file.mask_flag_enums[k - 1])),
            )
            for k in chosen
        ]
