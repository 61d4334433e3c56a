"""What a covariate group declares, once: its layers, what it reads, its options, and how it computes.

`tpsoil cube derive`, `[derive.GROUP]` in a recipe, `--list`, the reference of recipes and the stages of a run are read
from the declaration; `compute` is the one implementation, on lazy layers in Python and on the windows of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tpsoil.covariates.by_window import WindowKernel
from tpsoil.covariates.flow_tiles import DemGrid
from tpsoil.variables import Variable, variable

Array = npt.NDArray[Any]
Layers = Mapping[str, xr.DataArray]
Summary = Callable[[Sequence[Mapping[str, Any]], xr.Dataset], Mapping[str, pd.DataFrame]]

Notes = Callable[[Sequence[Mapping[str, Any]]], Sequence[str]]

CLIMATOLOGY: Final = "climatology"
"""Attribute of a stack of twelve months that belong to no year."""


def option(
    default: Any,
    meaning: str,
    *,
    units: str = "",
    only: Mapping[str, Sequence[Any]] | None = None,
    source: str = "",
    layers: Sequence[str] = (),
    shared: bool = True,
    decisive: bool = True,
    **constraints: Any,
) -> Any:
    """Declare one option of a group.

    Parameters
    ----------
    default : object
    meaning : str
        One line for `--list` and the reference.
    units : str
    only : mapping of str to sequence, optional
        Values of other options with which this one has an effect; with others it is rejected.
    source : {"", "dem", "stack", "file"}
        What kind of data it names.
    layers : sequence of str
        Layers of the group that it changes; all by default. Without one of them it is rejected.
    shared : bool
        Whether it may be given once for all groups that have it.
    decisive : bool
        Whether it changes the result; a limit of memory does not.
    **constraints
        Of `pydantic.Field`, such as `gt=0`.
    """
    extra: dict[str, Any] = {
        "units": units, "only": dict(only or {}), "source": source, "layers": tuple(layers), "shared": shared,
        "decisive": decisive,
    }  # fmt: skip
    return Field(default=default, description=meaning, json_schema_extra=extra, **constraints)


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


class CovariateGroup(BaseModel):
    """Base of the groups; a subclass is one declaration.

    Notes
    -----
    Class attributes: `group` (its name), `title`, `makes` (layers of the catalogue), `formula`, `references`,
    `main_option` (what `-o GROUP=VALUE` sets). Fields are the options. Frozen and hashable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, arbitrary_types_allowed=True)

    group: ClassVar[str] = ""
    title: ClassVar[str] = ""
    makes: ClassVar[tuple[str, ...]] = ()
    formula: ClassVar[str] = ""
    references: ClassVar[str] = ""
    main_option: ClassVar[str] = ""

    layers: tuple[str, ...] | None = option(None, "which of its layers; default: all", shared=False)

    @model_validator(mode="after")
    def _consistent(self) -> CovariateGroup:
        chosen = self.layers
        if chosen is not None and (set(chosen) - set(self.makes) or len(set(chosen)) < len(chosen) or not chosen):
            raise ValueError(f"layers is {list(chosen)}, expected each at most once of {', '.join(self.makes)}")
        for name in sorted(self.model_fields_set):
            if getattr(self, name) != type(self).model_fields[name].default and not self.applies(name):
                required = " and ".join(
                    f"{key} = {shown_values(values)}" for key, values in settings(self, name, "only")
                )
                raise ValueError(f"{name} has no effect here; it needs {required}")
        if idle := self.unused_options(self.chosen):
            name = idle[0]
            raise ValueError(f"{name} has no effect on {', '.join(self.chosen)}, only on {self.changed_by(name)}")
        return self

    def unused_options(self, layers: Collection[str]) -> list[str]:
        """Options with another value than the default that change none of these layers."""
        return [
            name
            for name in sorted(self.model_fields_set)
            if getattr(self, name) != type(self).model_fields[name].default
            and (changed := settings(self, name, "layers"))
            and not set(changed) & set(layers)
        ]

    def changed_by(self, name: str) -> str:
        """Layers that an option changes, for a message."""
        return ", ".join(settings(self, name, "layers"))

    def applies(self, name: str) -> bool:
        """Whether an option has an effect with the values of the others."""
        for other, values in settings(self, name, "only"):
            present = getattr(self, other)
            if present not in values and not (SET in values and present is not None):
                return False
        return True

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """Layers of the cube that it needs, and those it uses where they are available."""
        return ()

    def check_stacks(self, stacks: Layers) -> None:
        """Reject options that have no effect with the opened stacks.

        Raises
        ------
        InputError
        """

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """Layers that it reads from files; `stacks` are its opened stacks by option."""
        return ()

    @property
    def halo(self) -> int | None:
        """Cells of the grid around a cell that `compute` needs; None: all."""
        return 0

    @property
    def bytes_per_cell(self) -> float:
        """Peak working memory of `compute` for a cell."""
        return 64.0

    def demand(self, grid: GeoBox, names: Sequence[str]) -> tuple[int | None, float]:
        """Halo and memory for a cell of `compute` for some of its layers on a grid."""
        return self.halo, self.bytes_per_cell

    def sources_of(self, names: Sequence[str], available: Set[str]) -> Set[str]:
        """Which of its source layers some of its layers need."""
        return available

    def outputs_of(self, names: Sequence[str]) -> tuple[Variable, ...]:
        """What some of its layers are."""
        return tuple(variable(name) for name in names)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the layers to derive."""
        return self.makes if self.layers is None else self.layers

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Its layers from others on one grid, lazy where these are.

        Parameters
        ----------
        layers : mapping of str to DataArray (y, x)
            What `reads` and `source_layers` name.

        Returns
        -------
        mapping of str to DataArray (y, x)
            All that it `makes`, with attributes.
        """
        raise NotImplementedError

    def assumptions(self, reads: Sequence[str]) -> str:
        """Assumed constants where these layers are read, for the attributes."""
        return ""

    def superseded(self, available: Set[str]) -> Mapping[str, str]:
        """Options that were given although a layer is available, which is kept: option to layer."""
        return {}

    def source_attributes(self, stacks: Layers) -> dict[str, Any]:
        """Attributes that depend on the opened stacks."""
        return {}

    def tally(self, layers: Mapping[str, Array]) -> Mapping[str, Any]:
        """Numbers of one chunk for `summary`."""
        return {}

    @property
    def summary(self) -> Summary | None:
        """Tables of the finished layers, from the tallies."""
        return None

    @property
    def notes(self) -> Notes | None:
        """Lines for the notes of a run, from the tallies."""
        return None

    def missing_input(self, name: str) -> str:
        """How to supply a layer that is not available."""
        return "add it to the cube, or under [[layers]] in a recipe"


SET: Final = "set"
"""In `only`: any value but None."""


def settings(group: CovariateGroup | type[CovariateGroup], name: str, key: str) -> Any:
    """A property that `option` declared, of one field; the items of a mapping."""
    declared: Any = (group if isinstance(group, type) else type(group)).model_fields[name].json_schema_extra or {}
    value = declared.get(key)
    return tuple(value.items()) if isinstance(value, Mapping) else value


def shown_values(values: Sequence[Any]) -> str:
    """Values of an option as a message shows them."""
    return " or ".join(
        "a value" if value == SET else str(value).lower() if value is True else str(value) for value in values
    )


def sample_of(layer: Variable, like: xr.DataArray) -> xr.DataArray:
    """A layer of missing values on the grid of another, with the catalogue's attributes."""
    filled = np.full(like.shape, layer.fill, dtype=layer.dtype)
    return xr.DataArray(filled, dims=like.dims, coords=like.coords, name=layer.name, attrs=layer.attributes())
