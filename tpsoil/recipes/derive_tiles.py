"""Layers of covariate groups, by the windows of a run and lazily in Python, from layers and from files behind them.

Apart from the building of stages, so that a change of one group leaves the tiles of the others up to date.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache, partial, reduce
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.covariates.groups.base import CovariateGroup, settings
from tpsoil.covariates.groups.sources import ArraySource, FromDem, FromPolygons, Ground, SourceLayer, Stack
from tpsoil.covariates.hydrology import LONGEST_HALO
from tpsoil.cube.alignment import aligned_reader, source_bytes_of
from tpsoil.grid import coordinates, grid_of
from tpsoil.ingest import Raster
from tpsoil.ingest.class_polygons import class_reader
from tpsoil.ingest.dependencies import Dependencies, behind, forget_remote
from tpsoil.ingest.parts import find_parts
from tpsoil.ingest.reading import read_bytes
from tpsoil.ingest.vectors import polygon_bytes
from tpsoil.stage import CONTENT, SourceBytes, Window
from tpsoil.tiles import from_tiles
from tpsoil.variables import Variable

from .derive_sources import (
    CompleteDem,
    FlowWindows,
    LocalWindows,
    ReducedStacks,
    WindowsOfDem,
    is_geotiff,
    open_dem,
    open_stack,
    resolution_of,
    sizes_of,
)
from .layer_stage import DerivedRaster, Readers, averaged_raster

Array = npt.NDArray[Any]
GRID_LAYER: Final = "grid_cells"
"""A layer of zeros that gives the grid to a group that reads no layer."""

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


_readers: Final = Readers[OpenSources](limit=32)


def compute_group(window: Window) -> Mapping[str, Array]:
    """The layers of a group on one window."""
    group: CovariateGroup = window.options["group"]
    layers = {str(name): layer for name, layer in window.layers.data_vars.items()}
    sources = opened_sources(window.options, window.grid)
    names = window.options["names"]
    needed = group.sources_of(names, set(sources.readers))
    if sources.readers or not layers:
        layers |= _source_layers(sources, needed, window.grid, (window.rows, window.columns))
    results = group.compute(layers)
    return {name: np.asarray(results[name].values) for name in names}


def opened_sources(options: Mapping[str, Any], grid: GeoBox) -> OpenSources:
    """The group's sources, checked, and retained for the next tile under the digest of their content.

    Not retained without a digest, and those of a DEM whose derivation needs the complete grid.

    Raises
    ------
    InputError, UnitsError, GridError, MissingInputError
    """
    group: CovariateGroup = options["group"]
    if not group.data:
        return OpenSources()
    if group.halo is None or CONTENT not in options:
        return open_sources(group, grid)
    return _readers.get((group, grid), str(options[CONTENT]), partial(open_sources, group, grid))


def group_bytes(options: Mapping[str, Any], grid: GeoBox, shape: tuple[int, int]) -> SourceBytes:
    """Peak of memory while the sources behind a tile of a group are read."""
    return opened_sources(options, grid).read_bytes(*shape)


def _source_layers(
    sources: OpenSources, names: Set[str], grid: GeoBox, cells: tuple[slice, slice]
) -> dict[str, xr.DataArray]:
    """Layers that a group reads from files on a window, and the window's grid itself."""
    rows, columns = cells
    axes = axes_of(grid)
    coords = {**axes, "y": axes["y"][rows], "x": axes["x"][columns]}
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    layers = {GRID_LAYER: xr.DataArray(np.zeros(shape, np.float32), dims=("y", "x"), coords=coords)}
    for name, read in sources.readers.items():
        if name not in names:
            continue
        layers[name] = described(xr.DataArray(read(rows, columns), dims=("y", "x"), coords=coords), name, sources)
    return layers


def described(layer: xr.DataArray, name: str, sources: OpenSources) -> xr.DataArray:
    """A source layer with its attributes."""
    spec: Variable = sources.specs[name]
    layer.name = name
    layer.attrs = {**spec.attributes(), **sources.attributes[name], **sources.common}
    if spec.kind == "categorical":
        layer.encoding["_FillValue"] = spec.fill
    return layer


@lru_cache(maxsize=4)
def axes_of(grid: GeoBox) -> Any:
    """Coordinates of a grid."""
    return coordinates(grid)


def lazy_group(
    group: CovariateGroup, layers: Mapping[str, xr.DataArray], grid: GeoBox, chunks: int
) -> dict[str, xr.DataArray]:
    """All layers of a group on a complete grid, lazily: the same values as its stage stores.

    Parameters
    ----------
    group : CovariateGroup
    layers : mapping of str to DataArray (y, x)
        What it reads, on the grid.
    grid : GeoBox
    chunks : int
        Cells a side of what is read from files.
    """
    sources = open_sources(group, grid)
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    inputs = dict(layers)
    data = from_tiles(_zeros, shape, chunks, "float32")
    inputs[GRID_LAYER] = xr.DataArray(data, dims=("y", "x"), coords=axes_of(grid))
    for name, read in sources.readers.items():
        # Two openings of one source are two readers, and nothing that dask could compare.
        data = from_tiles(read, shape, chunks, sources.specs[name].dtype, name=f"{group.group}-{name}-{uuid4().hex}")
        inputs[name] = described(xr.DataArray(data, dims=("y", "x"), coords=axes_of(grid)), name, sources)
    results = dict(group.compute(inputs))
    text = group.assumptions(tuple(layers))
    for layer in results.values():
        layer.attrs |= {**sources.common, **({"assumptions": text} if text else {})}
    return results


def _zeros(rows: slice, columns: slice) -> Array:
    return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)


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
    reduced = ReducedStacks(part, tuple(arrays))
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
