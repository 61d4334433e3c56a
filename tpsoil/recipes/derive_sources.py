"""The files behind a covariate group: opened, reduced on their own grid, and read by windows of another."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial, reduce
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.covariates.groups.base import CovariateGroup, settings
from tpsoil.covariates.groups.sources import (
    ArraySource,
    FromDem,
    FromPolygons,
    FromStacks,
    Ground,
    SourceLayer,
    Stack,
)
from tpsoil.covariates.hydrology import LONGEST_HALO
from tpsoil.cube.alignment import aligned_reader, source_bytes_of
from tpsoil.errors import InputError
from tpsoil.grid import coordinates, grid_of, same_grid
from tpsoil.ingest import Raster
from tpsoil.ingest.checks import check_range
from tpsoil.ingest.class_polygons import class_reader
from tpsoil.ingest.dependencies import Dependencies, behind, forget_remote
from tpsoil.ingest.parts import find_parts
from tpsoil.ingest.reading import read_bytes
from tpsoil.ingest.stacks import stack_bytes
from tpsoil.ingest.vectors import polygon_bytes
from tpsoil.stage import SourceBytes
from tpsoil.variables import Variable

from .dem import (
    RETAINED_WINDOWS,
    CompleteDem,
    FlowWindows,
    LocalWindows,
    WindowsOfDem,
    open_dem,
    resolution_of,
    sizes_of,
)
from .derive_stacks import is_geotiff, open_stack
from .layer_stage import DerivedRaster, averaged_raster

Array = npt.NDArray[Any]
Reader = Callable[[slice, slice], Array]


@dataclass
class OpenSources:
    """The source layers of one group on one grid.

    Parameters
    ----------
    readers : mapping of str to callable
        `reader(rows, columns)` gives a block of the grid.
    specs : mapping of str to Variable
    attributes : mapping of str to mapping
        Of each source layer.
    common : mapping
        Attributes of all layers of the group.
    sizes : list of callable
        `size(rows, columns)` gives the memory that reading a source takes for a tile; one for each source.
    bytes_per_cell : float
        Memory that reading takes for a cell of the grid, beside `sizes`.
    """

    readers: dict[str, Reader] = field(default_factory=dict)
    specs: dict[str, Variable] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    common: dict[str, Any] = field(default_factory=dict)
    sizes: list[Callable[[int, int], SourceBytes]] = field(default_factory=list)
    bytes_per_cell: float = 0.0

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while the sources of a tile of this size are read."""
        return reduce(SourceBytes.__or__, (size(rows, columns) for size in self.sizes), SourceBytes())

    def add(self, spec: Variable, raster: DerivedRaster | Raster, grid: GeoBox, *, counted: bool = True) -> str:
        """Add a source layer on the grid; its resampling. `counted`: whether it is the first of its source."""
        self.readers[spec.name], method = aligned_reader(cast("Raster", raster), grid)
        if counted:
            self.sizes.append(partial(source_bytes_of, self.readers[spec.name]))
        return method


def group_dependencies(group: CovariateGroup, at: Callable[[str], str], faults: list[str]) -> Dependencies:
    """Files and URLs behind a group; a fault for each that is not there.

    Parameters
    ----------
    group : CovariateGroup
    at : callable
        The key of an option, for the fault.
    faults : list of str
        Extended by one line for each fault.
    """
    files: list[Path] = []
    urls: list[str] = []
    for name, value in group.data.items():
        path = value if isinstance(value, str) else value.path
        for one in () if isinstance(path, ArraySource) else _listed(path):
            dependencies = behind(one, at(name), faults)
            files += dependencies.files
            urls += dependencies.urls
    return Dependencies(tuple(files), tuple(urls))


def _listed(path: str | tuple[str, ...]) -> tuple[str, ...]:
    return (path,) if isinstance(path, str) else path


def open_sources(group: CovariateGroup, grid: GeoBox) -> OpenSources:
    """Open a group's sources, checked.

    Raises
    ------
    InputError, UnitsError, GridError, MissingInputError
    """
    paths = [value if isinstance(value, str) else value.path for value in group.data.values()]
    forget_remote(one for path in paths if not isinstance(path, ArraySource) for one in _listed(path))
    sources = OpenSources()
    stacks = {
        name: open_stack(value, str(settings(group, name, "units")), name)
        for name, value in group.data.items()
        if isinstance(value, Stack)
    }
    for value in group.data.values():
        if isinstance(value, Stack) and not isinstance(value.path, ArraySource) and is_geotiff(value.path):
            (first, *_) = find_parts(sorted(glob.glob(_listed(value.path)[0]))[0], where="stack", crs=value.crs)
            sources.sizes.append(partial(read_bytes, first))
    group.check_stacks(stacks)
    for part in group.source_layers(stacks):
        _add(part, group, grid, stacks, sources)
    sources.common |= group.source_attributes(stacks)
    return sources


def _add(
    part: SourceLayer, group: CovariateGroup, grid: GeoBox, stacks: Mapping[str, xr.DataArray], sources: OpenSources
) -> None:
    sources.specs |= {spec.name: spec for spec in part.layers}
    if isinstance(part, FromPolygons):
        (spec,) = part.layers
        options: Any = group
        read, attrs = class_reader(
            options.polygons, grid, spec, column=options.column, codes=part.codes, crs=options.crs
        )
        sources.readers[spec.name] = read
        sources.attributes[spec.name] = attrs | {"parents": attrs["source"]}
        sources.bytes_per_cell += 16.0
        sources.sizes.append(lambda _rows, _columns: polygon_bytes(read))
        return
    if isinstance(part, FromDem):
        _add_dem(part, _dem_of(group), grid, sources)
        return
    if isinstance(part, Ground):
        stack = stacks[part.stack]
        box = grid_of(stack.isel(time=0), where=part.stack)
        (spec,) = part.layers
        dem = _dem_of(group)
        sources.add(spec, averaged_raster(dem, spec, box)[0], grid)
        sources.attributes[spec.name] = {"dem": dem.origin}
        return
    arrays = [stacks[name] for name in part.stacks]
    reduced = _Reduced(part, tuple(arrays))
    probe = reduced.attributes()
    for place, spec in enumerate(part.layers):
        origin = str(arrays[0].attrs["source"])
        raster = DerivedRaster(reduced.reader(place), spec, reduced.box, origin, reduced.read_bytes)
        sources.attributes[spec.name] = probe[place] | {
            "resampling": sources.add(spec, raster, grid, counted=place == 0)
        }
    sources.bytes_per_cell += 16.0


def _add_dem(part: FromDem, dem: Raster, grid: GeoBox, sources: OpenSources) -> None:
    derived = _derived(part, dem)
    for place, spec in enumerate(part.layers):
        sources.add(spec, derived.raster(spec), grid, counted=place == 0)
    sources.bytes_per_cell += 96.0
    sources.common |= {"dem": dem.origin, "dem_digest": dem.digest}
    sources.common |= {"derived_at": resolution_of(dem), "parents": dem.origin}
    stated = part.derive(_corner(dem.box))
    sources.attributes |= {spec.name: dict(stated[spec.name].attrs) for spec in part.layers}


def _derived(part: FromDem, dem: Raster) -> WindowsOfDem | CompleteDem:
    """Layers by windows where they are local or solved by tiles, else of the complete DEM."""
    if part.flow is not None:
        return WindowsOfDem(dem, part.layers, FlowWindows(dem, part.flow))
    kernel = None if part.window is None else part.window(*sizes_of(dem))
    if kernel is None or kernel.halo > LONGEST_HALO:
        return CompleteDem(dem, part.derive)
    return WindowsOfDem(dem, part.layers, LocalWindows(dem, kernel))


def _corner(box: GeoBox) -> xr.DataArray:
    """A few missing cells of a grid, on which a function sets its attributes."""
    part = box[: min(3, box.shape[0]), : min(3, box.shape[1])]
    values = np.full(part.shape, np.nan, np.float32)
    return xr.DataArray(values, dims=("y", "x"), coords=coordinates(part), attrs={"units": "m"})


def _dem_of(group: CovariateGroup) -> Raster:
    options: Any = group
    units, path = options.dem_units, options.dem.path
    source: Any = path.layer if isinstance(path, ArraySource) else list(path) if isinstance(path, tuple) else path
    return open_dem(source, **({} if units is None else {"units": units}))


class _Reduced:
    """Layers of stacks on the stacks' grid, by windows; one reading gives all of them."""

    def __init__(self, part: FromStacks, stacks: tuple[xr.DataArray, ...]) -> None:
        first = stacks[0]
        self.part, self.box = part, grid_of(first.isel(time=0), where=part.stacks[0])
        for name, stack in zip(part.stacks, stacks):
            if not same_grid(grid_of(stack.isel(time=0), where=name), self.box):
                raise InputError(
                    f"{name}: is on another grid than {part.stacks[0]}; bring both stacks onto one grid first"
                )
        # Coordinates that differ in the last digits would not align.
        self.stacks = tuple(stack.assign_coords(y=first["y"], x=first["x"]) for stack in stacks)
        self.window = lru_cache(maxsize=RETAINED_WINDOWS)(self._window)

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while a window of this size is read and reduced."""
        parts = [stack_bytes(stack, rows, columns) for stack in self.stacks]
        retained = RETAINED_WINDOWS * rows * columns * sum(np.dtype(spec.dtype).itemsize for spec in self.part.layers)
        return SourceBytes(sum(part.tile for part in parts), sum(part.process for part in parts) + retained)

    def reader(self, place: int) -> Reader:
        """One of the layers."""

        def read(rows: slice, columns: slice) -> Array:
            return self.window(rows.start, rows.stop, columns.start, columns.stop)[place]

        return read

    def attributes(self) -> list[dict[str, Any]]:
        """Attributes that the reduction sets."""
        corners = [stack.isel(y=slice(0, 2), x=slice(0, 2)) for stack in self.stacks]
        empty = [corner.copy(data=np.full(corner.shape, np.nan)) for corner in corners]
        return [dict(layer.attrs) for layer in self.part.reduce(*empty)]

    def _window(self, top: int, bottom: int, left: int, right: int) -> tuple[Array, ...]:
        parts = [stack.isel(y=slice(top, bottom), x=slice(left, right)).load() for stack in self.stacks]
        results = []
        for spec, layer in zip(self.part.layers, self.part.reduce(*parts)):
            values = np.asarray(layer.transpose("y", "x").values, dtype=np.float64)
            check_range(values, spec, str(self.stacks[0].attrs["source"]), ())
            results.append(values.astype(spec.dtype))
        return tuple(results)
