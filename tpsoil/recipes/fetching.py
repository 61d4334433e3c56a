"""From a bounding box to a cube: open data of the catalogue, fetched, checked, cited."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from tpsoil.cube import add_layer, create_cube, cube_info, open_cube
from tpsoil.cube.alignment import align
from tpsoil.cube.location import local_path
from tpsoil.errors import GridError, InputError, MissingInputError
from tpsoil.grid import same_grid
from tpsoil.sources import Choice, Plan, read_catalogue, require_box

from .grids import grid_of_box
from .open_data import WINDOWS, Network, OpenData, lazy_raster, read_options

Box = tuple[float, float, float, float]

ASSUMED_BYTES_A_SECOND: Final = 2e6


@dataclass(frozen=True)
class Fetched:
    """Result of `fetch`: what was read and written.

    Parameters
    ----------
    store : str
    grid : GeoBox
    plans : tuple of Plan
        One for each layer.
    bytes_read : int
        Over the network; 0 where the cache had everything.
    written : tuple of str
        Layers that were added; without those that the cube has of the same windows. Empty for a dry run.
    """

    store: str
    grid: GeoBox
    plans: tuple[Plan, ...]
    bytes_read: int
    written: tuple[str, ...]

    @property
    def expected_bytes(self) -> int:
        """Compressed size of the windows: to read at most, but for the files' headers."""
        return sum(one.expected_bytes for one in self.plans)

    @property
    def ratio(self) -> float:
        """Bytes read over the network by the windows' compressed size; NaN where a source does not state the size."""
        exact = self.plans and self.expected_bytes and all(one.exact for one in self.plans)
        return self.bytes_read / self.expected_bytes if exact else float("nan")

    @property
    def non_commercial(self) -> tuple[str, ...]:
        """Entries whose licence excludes commercial use."""
        return tuple(one.choice.entry.name for one in self.plans if one.choice.entry.non_commercial)

    def table(self) -> list[dict[str, Any]]:
        """One row a layer: entry, files, megabytes, licence, citation."""
        return [
            {
                "layer": one.choice.entry.layer,
                "from": one.choice.text.removeprefix("catalogue:"),
                "files": len(one.pieces),
                "absent": len(one.absent),
                "MB": round(one.expected_bytes / 1e6, 2),
                "licence": one.choice.entry.licence,
                "citation": one.choice.entry.citation,
            }
            for one in self.plans
        ]


@overload
def fetch(
    store: None = None,
    bbox: Sequence[float] | None = None,
    *,
    layers: Sequence[str],
    resolution: float | None = None,
    crs: str | None = None,
    network: Network | None = None,
) -> xr.Dataset: ...


@overload
def fetch(
    store: str | os.PathLike[str],
    bbox: Sequence[float] | None = None,
    *,
    layers: Sequence[str],
    resolution: float | None = None,
    crs: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    network: Network | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Fetched: ...


def fetch(
    store: str | os.PathLike[str] | None = None,
    bbox: Sequence[float] | None = None,
    *,
    layers: Sequence[str],
    resolution: float | None = None,
    crs: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    network: Network | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Fetched | xr.Dataset:
    """Fetch layers of open data for a box; only the windows that the box needs are read.

    Parameters
    ----------
    store : path or URL, optional
        Of a cube; created if it does not exist. Without it the layers are a lazy Dataset: a chunk is read from its
        source when it is computed.
    bbox : (west, south, east, north), degrees, optional
        Required for a new cube and for a lazy Dataset. Of an existing cube its own extent, or left out.
    layers : sequence of str
        Groups (`soil`), layers (`elevation`) or entries (`soilgrids/clay?depth=5-15cm`) of the catalogue.
    resolution : float, optional
        Cell size of a new grid, m.
    crs : str, optional
        Of a new grid: by default the plateau's Albers projection, elsewhere an equal-area one centred on the box.
    overwrite : bool
        Replace existing layers.
    dry_run : bool
        Only plan: read headers, write no cube.
    network : Network, optional
    progress : callable, optional
        `progress(layer, bytes_read, bytes_expected)`.

    Returns
    -------
    Fetched, or Dataset (y, x), lazy, without a store
        The lazy layers equal those of a cube bit for bit. Answers of NetCDF and Zarr services are read at once.

    Raises
    ------
    InputError, GridError, MissingInputError, AccessError, RecipeError
        Before anything is written. `overwrite`, `dry_run` and `progress` are rejected without a store.
    SourceChangedError, WorkError
        Where a source changed, or its bytes do not decode. Cached windows remain.

    Notes
    -----
    Every window is stored in the cache as it was read, so that the same call works without a network, also with a cube
    that exists: a layer of the same windows stays as it is. A killed fetch continues with the same call. `sources.lock`
    beside a local cube names address, ETag, Last-Modified and length of each file that was read, the SHA-256 of the
    values of each window, and the day.

    Examples
    --------
    >>> fetch("cube.zarr", (88, 29, 92, 32), layers=["elevtion"], resolution=250)
    Traceback (most recent call last):
    tpsoil.errors.MissingInputError: elevtion: no entry of the catalogue provides it; did you mean 'elevation'?
    """
    network = network or Network()
    choices = _choices(layers, network)
    if store is None:
        if overwrite or dry_run or progress is not None:
            raise InputError("fetch: overwrite, dry_run and progress belong to a store; name one, or leave them out")
        return _lazy(choices, bbox, resolution, crs, network)
    where = os.fspath(store)
    data = OpenData.of(network, where)
    client = data.cache.client
    started = client.bytes_read
    existing = _existing_grid(where)
    grid, box = _grid_and_box(existing, bbox, resolution, crs)
    present = {} if existing is None or overwrite else _entries_of_layers(where, choices)
    plans = tuple(data.plan(choice, box, cell_metres(grid)) for choice in choices)
    _report_non_commercial(plans)
    if dry_run:
        return Fetched(where, grid, plans, client.bytes_read - started, ())
    windows = [data.read(one, _layer_progress(one, progress)) for one in plans]
    if existing is None:
        _create(where, grid)
    written = []
    for one, files in zip(plans, windows, strict=True):
        layer = one.choice.entry.layer
        attrs = data.attributes(one, cell_metres(grid))
        if layer in present:
            if present[layer] != attrs[WINDOWS]:
                raise InputError(
                    f"{where}: {layer} is of other source files; pass overwrite=True (--overwrite) to replace"
                )
            continue
        options = read_options(one)
        add_layer(where, layer, [str(file) for file in files], attrs=attrs, origin=one.choice.entry.citation,
                  overwrite=overwrite, **options)  # fmt: skip
        written.append(layer)
    data.write_lock()
    return Fetched(where, grid, plans, client.bytes_read - started, tuple(written))


def _report_non_commercial(plans: Sequence[Plan]) -> None:
    """Name licences that exclude commercial use before any value is read."""
    for one in plans:
        entry = one.choice.entry
        if entry.non_commercial:
            warnings.warn(f"{entry.name}: non-commercial use only ({entry.licence})", UserWarning, stacklevel=3)


def _layer_progress(one: Plan, progress: Callable[[str, int, int], None] | None) -> Callable[[int], None] | None:
    if progress is None:
        return None
    total, done = one.expected_bytes, 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(one.choice.entry.layer, done, max(total, done))

    return step


def _create(store: str, grid: GeoBox) -> None:
    """A new cube; a local one appears complete, so that a killed process leaves none that is half laid out."""
    path = local_path(store)
    if path is None or path.exists():
        create_cube(store, grid, chunks=_chunks(grid))
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial.zarr")
    create_cube(partial, grid, chunks=_chunks(grid), overwrite=True)
    partial.replace(path)


def _lazy(
    choices: Sequence[Choice], bbox: Sequence[float] | None, resolution: float | None, crs: str | None, how: Network
) -> xr.Dataset:
    """Layers on a new grid, none of whose values have been read."""
    data = OpenData.of(how, None)
    grid, box = _grid_and_box(None, bbox, resolution, crs)
    layers = {}
    for choice in choices:
        one = data.plan(choice, box, cell_metres(grid))
        raster = lazy_raster(one, data.cache)
        layer = align(raster, grid, chunks=_chunks(grid))
        layer.attrs |= {"source": choice.entry.citation, **data.attributes(one, cell_metres(grid))}
        layers[choice.entry.layer] = layer
    return xr.Dataset(layers)


def _chunks(grid: GeoBox) -> int:
    return min(512, max(16, *map(int, grid.shape)))


def _choices(layers: Sequence[str], network: Network) -> list[Choice]:
    if not layers:
        raise InputError("fetch: no layers; name groups, layers or entries, such as elevation climate soil")
    catalogue = read_catalogue(network.catalogue)
    choices = [choice for name in layers for choice in catalogue.select(name)]
    names = [choice.entry.layer for choice in choices]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"fetch: {', '.join(twice)} would come from two entries; name one of them")
    return choices


def _existing_grid(store: str) -> GeoBox | None:
    try:
        return cube_info(store).grid
    except MissingInputError:
        return None


def _entries_of_layers(store: str, choices: Sequence[Choice]) -> dict[str, str]:
    """Digests of the windows that existing layers were computed from.

    Raises
    ------
    InputError
        For layers that are of another source than the entries, before anything is read.
    """
    layers = open_cube(store).data_vars
    present = {
        choice.entry.layer: layers[choice.entry.layer].attrs for choice in choices if choice.entry.layer in layers
    }
    wanted = {choice.entry.layer: choice.text for choice in choices}
    others = [name for name, attrs in present.items() if attrs.get("catalogue") != wanted[name]]
    if others:
        raise InputError(f"{store}: has {', '.join(others)} already; pass overwrite=True (--overwrite) to replace")
    return {name: str(attrs.get(WINDOWS, "")) for name, attrs in present.items()}


def _grid_and_box(
    existing: GeoBox | None, bbox: Sequence[float] | None, resolution: float | None, crs: str | None
) -> tuple[GeoBox, Box]:
    if existing is not None:
        if bbox is not None and resolution is not None:
            requested = grid_of_box(tuple(bbox), float(resolution), crs, where="fetch")  # type: ignore[arg-type]
            if same_grid(requested, existing):
                return existing, box_of(existing)
        if resolution is not None or crs is not None:
            raise InputError(
                "fetch: an existing cube has its own grid; leave resolution and crs out, or name a new store"
            )
        own = box_of(existing)
        if bbox is None:
            return existing, own
        box = require_box((bbox[0], bbox[1], bbox[2], bbox[3]) if len(bbox) == 4 else tuple(bbox))  # type: ignore[arg-type]
        if box[0] >= own[2] or box[2] <= own[0] or box[1] >= own[3] or box[3] <= own[1]:
            raise GridError(f"fetch: the box {box} is outside the cube ({', '.join(f'{v:.3g}' for v in own)})")
        same_box = np.allclose(box, own, rtol=0, atol=1e-6)
        requested = grid_of_box(box, abs(existing.transform.a), existing.crs.to_wkt(), where="fetch")
        if not same_box and not same_grid(existing, requested):
            raise InputError(
                f"fetch: the box {box} is not the extent of the cube ({', '.join(f'{v:.6g}' for v in own)}), whose "
                "cells are all fetched; leave bbox out, or name a new store"
            )
        return existing, own
    if bbox is None or resolution is None:
        raise InputError("fetch: a new cube needs bbox (west south east north) and resolution (m)")
    grid = grid_of_box(tuple(bbox), float(resolution), crs, where="fetch")  # type: ignore[arg-type]
    return grid, box_of(grid)  # the cells of a projected grid reach past the box


def box_of(grid: GeoBox) -> Box:
    """The box in degrees around a grid."""
    bounds = grid.boundingbox
    back = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)
    west, south, east, north = back.transform_bounds(
        bounds.left, bounds.bottom, bounds.right, bounds.top, densify_pts=101
    )
    return require_box((west, south, east, north))


def cell_metres(grid: GeoBox) -> float:
    """Side of a grid's cells, m; of one in degrees at the equator."""
    size = float(abs(grid.transform.e))
    return size * 111_320.0 if grid.crs.geographic else size
