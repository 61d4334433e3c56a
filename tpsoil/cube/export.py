"""A store as files for other software: cloud-optimised GeoTIFF, NetCDF by the CF conventions, or a STAC item."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from rasterio.enums import Resampling
from rasterio.windows import Window

from tpsoil.errors import AccessError, InputError, MissingInputError, StoreExistsError, require_named
from tpsoil.variables import stored_kind

from .classes import LayerClass, auxiliary_document, layer_classes
from .layout import CREATED_WITH
from .levels import overview_factors
from .location import Location, attribute, writing
from .reading import HIDDEN, CubeInfo, LayerReader
from .stac import stac_item
from .store import UNSHOWN, cube_info, layer_array, open_cube, open_group

Array = npt.NDArray[Any]

GEOTIFF: Final = (".tif", ".tiff")
NETCDF: Final = (".nc", ".nc4")
STAC: Final = (".json", ".geojson")
_NESTED: Final = (Mapping, list, tuple)


def export_store(
    store: Location,
    out: str | os.PathLike[str],
    *,
    layers: Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write layers of a store as GeoTIFF or NetCDF, chunk by chunk, or the description of a store as a STAC item.

    Parameters
    ----------
    store : path, URL or zarr Store
    out : path
        `NAME.tif`: one cloud-optimised GeoTIFF where all layers have one type, a band a layer; else one file a layer,
        `NAME_layer.tif`. `NAME.nc`: one NetCDF-4 file. `NAME.json`: a STAC item that refers to the store.
    layers : sequence of str, optional
        All by default.
    overwrite : bool
        Whether files that are there are replaced.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    MissingInputError
        For a store or layer that is not there.
    StoreExistsError
        For a file that already exists.
    AccessError
        For a place that cannot be written.
    InputError
        For another suffix, or a store without layers.

    Notes
    -----
    Overviews of a GeoTIFF are means, of classes the most frequent one, and single cells where a band has directions.
    Names and colours of classes are in the GeoTIFF's colour table, where it has one band, and in GDAL's side file
    `NAME.tif.aux.xml`: category names, colours and an attribute table of every band with classes. Memory: a few chunks.

    Examples
    --------
    >>> from tpsoil.cube import add_layer, create_cube
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> _ = create_cube("memory://exported", grid, overwrite=True)
    >>> slope = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates(grid))
    >>> add_layer("memory://exported", "slope", slope)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [file.name for file in export_store("memory://exported", f"{folder}/slope.nc")]
    ['slope.nc']
    """
    path = Path(out)
    if path.suffix.lower() not in (*GEOTIFF, *NETCDF, *STAC):
        raise InputError(
            f"export: '{path.name}' ends in '{path.suffix}', expected OUT.tif (GeoTIFF) or OUT.nc (NetCDF), "
            "or OUT.json for a STAC item"
        )
    cube = open_cube(store)
    names = chosen_layers(cube, layers, cube_info(store).where)
    if path.suffix.lower() in (*NETCDF, *STAC) or len({cube[name].dtype for name in names}) == 1:
        files = {path: names}
    else:
        files = {path.with_name(f"{path.stem}_{name}{path.suffix}"): [name] for name in names}
    for file in files:
        if file.exists() and not overwrite:
            raise StoreExistsError(f"{file}: already exists; pass overwrite=True (--overwrite) to replace it")
    for file, chosen in files.items():
        # Under another name until it is complete: a file with the final name is complete.
        part = file.with_name(f".{file.stem}-{uuid.uuid4().hex[:8]}{file.suffix}")
        try:
            with writing(str(file)):
                file.parent.mkdir(parents=True, exist_ok=True)
                if file.suffix.lower() in NETCDF:
                    _netcdf(store, cube, chosen, part)
                elif file.suffix.lower() in STAC:
                    part.write_text(json.dumps(stac_item(store, chosen), indent=2), encoding="utf-8")
                else:
                    _geotiff(store, chosen, part)
                    _write_classes([layer_classes(name, cube[name].attrs) for name in chosen], file)
                part.replace(file)
        except rasterio.errors.RasterioIOError as error:
            raise AccessError(f"{file}: cannot be written ({error}); choose another place") from error
        finally:
            part.unlink(missing_ok=True)
    return list(files)


def chosen_layers(cube: xr.Dataset, layers: Sequence[str] | None, where: str) -> list[str]:
    """Layers by name, all of them by default; a name that is not there is an error."""
    names = [str(name) for name in cube.data_vars]
    if not names:
        raise InputError(f"{where}: the store has no layers to export; add one with `tpsoil cube add`")
    require_named(where, layers or (), names, "layer", MissingInputError)
    return list(layers) if layers else names


def _readers(store: Location, names: Sequence[str]) -> tuple[CubeInfo, dict[str, LayerReader]]:
    info, group = open_group(store)
    return info, {name: LayerReader(info, name, layer_array(info, group, name)) for name in names}


def _geotiff(store: Location, names: Sequence[str], path: Path) -> None:
    """A plain tiled file first, chunk by chunk; then GDAL's COG driver orders it with its overviews."""
    info, readers = _readers(store, names)
    first = readers[names[0]].array
    continuous = first.dtype.kind == "f"
    folder = Path(tempfile.mkdtemp(prefix=".tpsoil-", dir=path.parent))
    try:
        plain = folder / "plain.tif"
        with rasterio.open(
            plain,
            "w",
            driver="GTiff",
            height=info.shape[0],
            width=info.shape[1],
            count=len(names),
            dtype=str(first.dtype),
            crs=info.grid.crs.to_wkt(),
            transform=info.grid.transform,
            nodata=float("nan") if continuous else _fill(first),
            tiled=True,
            blockxsize=256,
            blockysize=256,
            interleave="band",
            compress="zstd",
            BIGTIFF="IF_SAFER",
        ) as file:
            for band, name in enumerate(names, start=1):
                attrs = dict(readers[name].array.attrs)
                file.set_band_description(band, name)
                file.set_band_unit(band, str(attrs.get("units", "")))
                file.update_tags(band, **{key: _text(value) for key, value in attrs.items() if key not in HIDDEN})
                for chunk in info.every_chunk():
                    rows, cols = info.chunk_slices(*chunk)
                    window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
                    file.write(readers[name](rows, cols), band, window=window)
            file.update_tags(**{key: _text(value) for key, value in _group_attrs(info).items()})
            classes = layer_classes(names[0], dict(first.attrs))
            if len(names) == 1 and first.dtype == np.uint8 and classes:
                file.write_colormap(1, {one.code: (*one.colour, 255) for one in classes})
            factors = overview_factors(info.shape)
            if factors:
                kinds = {stored_kind(name, reader.array.attrs) for name, reader in readers.items()}
                # GDAL has no mean of directions, and one method for all bands.
                mean = Resampling.nearest if "circular" in kinds else Resampling.average
                file.build_overviews(factors, mean if continuous else Resampling.mode)
        with rasterio.Env(GDAL_NUM_THREADS="2"), warnings.catch_warnings():
            from rasterio.shutil import copy

            copy(
                plain,
                path,
                driver="COG",
                compress="DEFLATE",
                predictor="YES",
                blocksize=512,
                overviews="FORCE_USE_EXISTING" if factors else "NONE",
                BIGTIFF="IF_SAFER",
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_classes(bands: Sequence[Sequence[LayerClass]], file: Path) -> None:
    """Write GDAL's side file of a GeoTIFF; remove one of the file that it replaces."""
    side, document = file.with_name(f"{file.name}.aux.xml"), auxiliary_document(bands)
    if document:
        side.write_bytes(document)
    else:
        side.unlink(missing_ok=True)


def _netcdf(store: Location, cube: xr.Dataset, names: Sequence[str], path: Path) -> None:
    import netCDF4

    info, readers = _readers(store, names)
    with netCDF4.Dataset(str(path), "w", format="NETCDF4") as file:
        file.setncatts({key: _text(value) for key, value in _group_attrs(info).items()})
        for name, size in zip("yx", info.shape):
            file.createDimension(name, size)
            axis = file.createVariable(name, "f8", (name,))
            axis.setncatts(dict(cube[name].attrs))
            axis[:] = np.asarray(cube[name].values)
        mapping = file.createVariable("spatial_ref", "i4", ())
        mapping.setncatts(dict(cube["spatial_ref"].attrs))
        for name in names:
            array = readers[name].array
            layer = file.createVariable(
                name,
                np.dtype(array.dtype.name),  # Zarr's states its byte order, which netCDF4 warns about
                ("y", "x"),
                fill_value=np.float32(np.nan) if array.dtype.kind == "f" else array.dtype.type(_fill(array)),
                chunksizes=tuple(min(info.chunks, length) for length in info.shape),
                compression="zlib",
                complevel=4,
                shuffle=True,
            )
            layer.set_auto_maskandscale(False)
            attrs = {key: value for key, value in dict(array.attrs).items() if key not in HIDDEN}
            layer.setncatts({key: _attribute(value, array.dtype, key) for key, value in attrs.items()})
            layer.setncattr("grid_mapping", "spatial_ref")
            for chunk in info.every_chunk():
                rows, cols = info.chunk_slices(*chunk)
                layer[rows, cols] = readers[name](rows, cols)


def _group_attrs(info: CubeInfo) -> dict[str, Any]:
    hidden = ("format", "format_version", "chunks", *UNSHOWN)
    attrs = {key: value for key, value in info.attrs.items() if key not in hidden}
    return {**attrs, "exported_with": CREATED_WITH}


def _attribute(value: Any, dtype: np.dtype[Any], key: str) -> Any:
    """CF requires flag values and valid ranges in the variable's own type."""
    if key in ("flag_values", "valid_min", "valid_max"):
        return np.asarray(value, dtype=dtype)
    return value if isinstance(value, (str, int, float)) else _text(value)


def _text(value: Any) -> str:
    """A value as text: lists of plain values separated by commas, what is nested as JSON."""
    if isinstance(value, Mapping) or (isinstance(value, list | tuple) and any(isinstance(v, _NESTED) for v in value)):
        return json.dumps(attribute(value))
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _fill(array: Any) -> int:
    return int(array.attrs.get("_FillValue", array.fill_value))
