"""Terrain and flow at a DEM's own resolution, then on another grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.covariates import hydrology_attributes, terrain_attributes
from tpsoil.cube import align
from tpsoil.grid import describe
from tpsoil.ingest import Raster, read_raster
from tpsoil.variables import describe_layer, variable

CHUNK: Final = 1024
"""Cells a side of a DEM's lazy chunks."""


def open_dem(source: Any, **how: Any) -> Raster:
    """A DEM's files as a raster in metres on their own grid.

    Parameters
    ----------
    source : path, glob, URL, DataArray, or a list of them
    **how
        `units`, `nodata`, `crs` as in `tpsoil.add_layer`; several files are a mosaic.

    Returns
    -------
    Raster
    """
    several = isinstance(source, list | tuple) or (isinstance(source, str) and any(mark in source for mark in "*?["))
    return read_raster(source, variable("elevation"), combine="mosaic" if several else None, **how)


def on_own_grid(dem: Raster) -> xr.DataArray:
    """A DEM as a lazy layer of its own grid, in metres with NaN."""
    return align(dem, dem.box, chunks=CHUNK)


def derived_at_own_resolution(
    dem: xr.DataArray, kind: str, options: Mapping[str, Any], *, resolution: str
) -> xr.Dataset:
    """Terrain or flow attributes of a DEM on the DEM's grid, lazily.

    Parameters
    ----------
    dem : DataArray (y, x), m
    kind : {"terrain", "hydrology"}
    options : mapping
        Of `terrain_attributes` or `hydrology_attributes`.
    resolution : str
        The DEM's grid in words, for the attributes: slope, curvature and LS depend on it.

    Returns
    -------
    Dataset
    """
    result = (terrain_attributes if kind == "terrain" else hydrology_attributes)(dem, **options)
    for layer in result.data_vars.values():
        layer.attrs["derived_at"] = resolution
    return result


def aligned_attributes(layers: xr.Dataset, grid: GeoBox, *, chunks: int) -> xr.Dataset:
    """Layers of a DEM's grid averaged (classes by area, aspect as a vector) onto another, lazily."""
    placed = {}
    for name, layer in layers.data_vars.items():
        spec = describe_layer(str(name))
        raster = read_raster(layer, spec, units=spec.units, nodata="none" if spec.kind != "categorical" else None)
        placed[str(name)] = align(raster, grid, chunks=chunks)
        kept = {key: value for key, value in layer.attrs.items() if key not in placed[str(name)].attrs}
        placed[str(name)].attrs.update(kept)
    return xr.Dataset(placed)


def resolution_of(dem: xr.DataArray | Raster) -> str:
    """The grid of a DEM in one line."""
    return describe(dem.box if isinstance(dem, Raster) else dem.odc.geobox)
