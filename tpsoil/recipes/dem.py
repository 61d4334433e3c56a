"""Terrain and flow at a DEM's own resolution, then on another grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.covariates import hydrology_attributes, terrain_attributes
from tpsoil.covariates.terrain import RUGGEDNESS, TERRAIN_LAYERS, TerrainKernel
from tpsoil.cube import align
from tpsoil.cube.align import aligned_reader
from tpsoil.grid import cell_sizes_m, coordinates, describe
from tpsoil.ingest import Raster, read_raster
from tpsoil.variables import Variable, variable

Array = npt.NDArray[Any]

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


@dataclass(frozen=True)
class DerivedRaster:
    """What was derived from a DEM, to `cube.align` a raster of its own: read by windows of the DEM's grid."""

    read: Callable[[slice, slice], Array]
    spec: Variable
    box: GeoBox
    origin: str
    lazy_array: None = None
    notes: tuple[tuple[str, str], ...] = ()


class TerrainOfDem:
    """Terrain attributes by windows of the DEM's own grid; one pass serves all of them.

    A cell's value depends on its nine cells and its row alone, so it is the same whatever window it comes in.
    """

    def __init__(self, dem: Raster, ruggedness: str = "riley") -> None:
        self.dem = dem
        self.kernel = TerrainKernel(RUGGEDNESS[ruggedness])
        transform = dem.box.transform
        dx, dy = cell_sizes_m(dem.box)
        self.dx, self.dy = np.copysign(dx, transform.a), np.copysign(dy, -transform.e)
        self.window = lru_cache(maxsize=4)(self._window)

    def raster(self, name: str) -> DerivedRaster:
        """One attribute as a raster."""
        place = TERRAIN_LAYERS.index(name)

        def read(rows: slice, columns: slice) -> Array:
            return self.window(rows.start, rows.stop, columns.start, columns.stop)[place]

        return DerivedRaster(read, variable(name), self.dem.box, self.dem.origin)

    def _window(self, top: int, bottom: int, left: int, right: int) -> tuple[Array, ...]:
        height, width = (int(size) for size in self.dem.box.shape)
        inner = slice(max(top - 1, 0), min(bottom + 1, height)), slice(max(left - 1, 0), min(right + 1, width))
        beyond = (
            (int(top == 0), int(bottom == height)),
            (int(left == 0), int(right == width)),
        )
        z = np.pad(self.dem.read(*inner), beyond, constant_values=np.nan)
        return self.kernel(np.ascontiguousarray(z), self.dx[top:bottom], self.dy[top:bottom])


def flow_of_dem(dem: Raster, options: Mapping[str, Any]) -> dict[str, DerivedRaster]:
    """Flow attributes of a whole DEM, in memory, as rasters."""
    height, width = (int(size) for size in dem.box.shape)
    values = dem.read(slice(0, height), slice(0, width))
    layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(dem.box), attrs={"units": "m"})
    made = hydrology_attributes(layer, **options)
    return {
        str(name): DerivedRaster(_Held(np.asarray(array.values)), variable(str(name)), dem.box, dem.origin)
        for name, array in made.data_vars.items()
    }


@dataclass(frozen=True)
class _Held:
    values: Array

    def __call__(self, rows: slice, columns: slice) -> Array:
        return self.values[rows, columns]


def placed(raster: DerivedRaster, grid: GeoBox, rows: slice, columns: slice) -> Array:
    """A derived raster on the cells of a window of a grid: averaged, by area, or as a vector, as its kind asks."""
    source: Any = raster
    read, _ = aligned_reader(source, grid)
    return read(rows, columns)


def resolution_of(dem: xr.DataArray | Raster) -> str:
    """The grid of a DEM in one line."""
    return describe(dem.box if isinstance(dem, Raster) else dem.odc.geobox)
