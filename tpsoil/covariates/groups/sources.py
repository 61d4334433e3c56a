"""Data that covariate groups read beside the layers of a cube: DEMs, stacks of months or days, polygons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy.typing as npt
import xarray as xr
from pydantic import BaseModel, ConfigDict, model_validator

from tpsoil.covariates.by_window import WindowKernel
from tpsoil.covariates.flow_tiles import DemGrid
from tpsoil.variables import Variable

Array = npt.NDArray[Any]

CLIMATOLOGY: Final = "climatology"
"""Attribute of a stack of twelve months that belong to no year."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """A DataArray given in Python in place of a file; equal to itself only.

    Parameters
    ----------
    layer : DataArray
    """

    layer: xr.DataArray


class Stack(BaseModel):
    """Where the months or days of one quantity are stored.

    Parameters
    ----------
    path : str, list of str or DataArray
        NetCDF or Zarr with a datetime `time`, or twelve GeoTIFFs, January first when sorted by name; globs too.
    variable : str
        Of a NetCDF or Zarr; two with a comma are the components of a vector.
    units : str
        Of the source, where it does not declare them or declares others.
    crs : str
        Of a source without one.
    nodata : float
        Of GeoTIFFs without a declared one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    path: str | tuple[str, ...] | ArraySource
    variable: str = ""
    units: str | None = None
    crs: str | None = None
    nodata: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, xr.DataArray):
            return {"path": ArraySource(value)}
        content = dict(value) if isinstance(value, Mapping) else {"path": value}
        path = content.get("path")
        if isinstance(path, str) and "variable" not in content:
            head, colon, names = path.rpartition(":")
            if colon and names and "/" not in names and "\\" not in names and head:
                content |= {"path": head, "variable": names}
        return content

    @model_validator(mode="after")
    def _check_names(self) -> Stack:
        if not self.variable and isinstance(self.path, str) and not self.path.lower().endswith((".tif", ".tiff")):
            raise ValueError(f"is '{self.path}', expected PATH:VARIABLE, such as era.nc:t2m, or twelve GeoTIFFs")
        return self


class Dem(BaseModel):
    """A DEM in its own files.

    Parameters
    ----------
    path : str, list of str or DataArray
        A raster, a glob, or several, which are a mosaic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    path: str | tuple[str, ...] | ArraySource

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, xr.DataArray):
            return {"path": ArraySource(value)}
        if isinstance(value, Mapping):
            return value
        return {"path": tuple(map(str, value)) if isinstance(value, list | tuple) else str(value)}


@dataclass(frozen=True)
class FromDem:
    """Layers derived at a DEM's own resolution, then averaged to the grid.

    Parameters
    ----------
    layers : tuple of Variable
    derive : callable
        `derive(elevation)` gives a Dataset on the DEM's grid.
    window : callable, optional
        `window(dx, dy)` gives a `WindowKernel` for a DEM with these cell sizes of its rows, where the layers are local.
    flow : callable, optional
        `flow(dem)` gives a function of rows and columns that returns the same for a part, where the layers need the
        whole DEM but are made by windows. With neither the whole DEM is derived at once.
    """

    layers: tuple[Variable, ...]
    derive: Callable[[xr.DataArray], xr.Dataset]
    window: Callable[[Array, Array], WindowKernel] | None = None
    flow: Callable[[DemGrid], Callable[[slice, slice], tuple[Array, ...]]] | None = None


@dataclass(frozen=True)
class FromStacks:
    """Layers derived from time stacks on the stacks' own grid, then resampled to the grid.

    Parameters
    ----------
    layers : tuple of Variable
    stacks : tuple of str
        Options that name the stacks; on one grid.
    reduce : callable
        `reduce(*stacks)` gives one DataArray (y, x) for each of `layers`.
    """

    layers: tuple[Variable, ...]
    stacks: tuple[str, ...]
    reduce: Callable[..., Sequence[xr.DataArray]]


@dataclass(frozen=True)
class Ground:
    """The mean elevation of a stack's cells, from the DEM, brought to the grid as the stack is.

    Parameters
    ----------
    layers : tuple of Variable
    stack : str
        Option that names the stack.
    """

    layers: tuple[Variable, ...]
    stack: str


@dataclass(frozen=True)
class FromPolygons:
    """A class layer of polygons, by each cell's centre.

    Parameters
    ----------
    layers : tuple of Variable
    codes : mapping of str to int
        Value of the column to class.
    """

    layers: tuple[Variable, ...]
    codes: Mapping[str, int]


SourceLayer = FromDem | FromStacks | Ground | FromPolygons
