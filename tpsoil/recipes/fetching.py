"""From a bounding box to a cube: open data of the catalogue, fetched, checked, cited."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from tpsoil.cube import add_layer, create_cube, cube_info, open_cube
from tpsoil.cube.location import local_path
from tpsoil.errors import GridError, InputError, MissingInputError
from tpsoil.grid import PLATEAU_CRS
from tpsoil.sources import Cache, Choice, Client, Plan, plan, read, read_catalogue, require_box
from tpsoil.sources.lockfile import Locked, locked_piece, read_lock, write_lock

Box = tuple[float, float, float, float]

LOCK_NAME: Final = "sources.lock"
PLATEAU_BOX: Final = (70.0, 25.0, 105.0, 41.0)
"""Boxes inside it are mapped on the plateau's Albers projection by default."""
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
        Layers that were added; empty for a dry run.
    """

    store: str
    grid: GeoBox
    plans: tuple[Plan, ...]
    bytes_read: int
    written: tuple[str, ...]

    @property
    def expected_bytes(self) -> int:
        """To read at most, by the files' own compression."""
        return sum(one.expected_bytes for one in self.plans)

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


@dataclass(frozen=True)
class Network:
    """How sources are reached.

    Parameters
    ----------
    catalogue : path, optional
        A catalogue of the user's own over the package's.
    offline : bool
        Use the cache only.
    locked : bool
        Accept only what `sources.lock` beside the cube names.
    client : Client, optional
        With other time limits or tries.
    cache : path, optional
        Folder of the cache; the user's by default.
    """

    catalogue: str | os.PathLike[str] | None = None
    offline: bool = False
    locked: bool = False
    client: Client | None = None
    cache: str | os.PathLike[str] | None = None


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
) -> Fetched:
    """Fetch layers of open data for a box into a cube; only the windows that the box needs are read.

    Parameters
    ----------
    store : path or URL
        Of a cube; created if it does not exist.
    bbox : (west, south, east, north), degrees, optional
        Required for a new cube; not for an existing one.
    layers : sequence of str
        Groups (`soil`), layers (`elevation`) or entries (`soilgrids/clay?depth=5-15cm`) of the catalogue.
    resolution : float, optional
        Cell size of a new cube, m.
    crs : str, optional
        Of a new cube: by default the plateau's Albers projection, elsewhere an equal-area one centred on the box.
    overwrite : bool
        Replace existing layers.
    dry_run : bool
        Only plan: read headers, write no cube.
    network : Network, optional
    progress : callable, optional
        `progress(layer, bytes_read, bytes_expected)`.

    Returns
    -------
    Fetched

    Raises
    ------
    InputError, GridError, MissingInputError, AccessError, RecipeError
        Before anything is written.
    SourceChangedError, WorkError
        Where a source changed, or its bytes do not decode. Cached windows remain.

    Notes
    -----
    Every window is stored in the cache as it was read, so that the same call works without a network. `sources.lock`
    beside a local cube names address, ETag, Last-Modified, length, SHA-256 of each window and day.
    """
    network = network or Network()
    choices = _choices(layers, network)
    where = os.fspath(store)
    lock = _lock_path(where)
    client = network.client or Client(offline=network.offline)
    locked_versions = (
        {url: one.version for url, one in read_lock(lock).items()} if network.locked and lock is not None else None
    )
    cache = (
        Cache(client, locked=locked_versions)
        if network.cache is None
        else Cache(client, Path(network.cache), locked_versions)
    )
    existing = _existing_grid(where)
    grid, box = _grid_and_box(existing, bbox, resolution, crs)
    _require_free(where, existing, choices, overwrite=overwrite)
    metres = _cell_metres(grid)
    plans = tuple(plan(choice, box, metres, cache) for choice in choices)
    before = client.bytes_read
    if dry_run:
        return Fetched(where, grid, plans, before, ())
    if existing is None:
        create_cube(where, grid, chunks=min(512, max(16, *map(int, grid.shape))))
    sources: list[Locked] = []
    for one in plans:
        sources += _add(where, one, cache, overwrite=overwrite, progress=progress)
    if lock is not None:
        write_lock(lock, sources)
    return Fetched(where, grid, plans, client.bytes_read, tuple(one.choice.entry.layer for one in plans))


def _add(
    store: str, one: Plan, cache: Cache, *, overwrite: bool, progress: Callable[[str, int, int], None] | None
) -> list[Locked]:
    entry = one.choice.entry
    total, done = one.expected_bytes, 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(entry.layer, done, max(total, done))

    windows = [read(piece, cache, step) for piece in one.pieces]
    attrs = {"licence": entry.licence, "citation": entry.citation, "catalogue": one.choice.text}
    if one.absent:
        attrs["absent_tiles"] = f"{len(one.absent)}: {entry.absent_tiles}"
    overviews = sorted({piece.overview for piece in one.pieces})
    if overviews != [1]:
        attrs["read_at_overview"] = ", ".join(map(str, overviews))
    options: dict[str, Any] = {"units": entry.unit, "attrs": attrs, "origin": entry.citation, "overwrite": overwrite}
    if entry.kind == "categorical":
        options |= {"kind": "categorical", "flags": {int(code): name for code, name in entry.flags.items()} or None}
        options = {key: value for key, value in options.items() if value is not None}
    else:
        options |= {"scale": entry.scale, "offset": entry.offset}
    if len(windows) > 1:
        options["combine"] = "mosaic"
    if entry.nodata is not None:
        options["nodata"] = entry.nodata
    add_layer(store, entry.layer, [str(window) for window in windows], **options)
    return [locked_piece(entry.name, piece, window) for piece, window in zip(one.pieces, windows, strict=True)]


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


def _require_free(store: str, grid: GeoBox | None, choices: Sequence[Choice], *, overwrite: bool) -> None:
    """Existing layers are an error before anything is read."""
    if grid is None or overwrite:
        return
    present = set(map(str, open_cube(store).data_vars))
    there = [choice.entry.layer for choice in choices if choice.entry.layer in present]
    if there:
        raise InputError(f"{store}: has {', '.join(there)} already; pass overwrite=True (--overwrite) to replace")


def _grid_and_box(
    existing: GeoBox | None, bbox: Sequence[float] | None, resolution: float | None, crs: str | None
) -> tuple[GeoBox, Box]:
    if existing is not None:
        if resolution is not None or crs is not None:
            raise InputError(
                "fetch: an existing cube has its own grid; leave resolution and crs out, or name a new store"
            )
        own = _box_of(existing)
        if bbox is None:
            return existing, own
        box = require_box((bbox[0], bbox[1], bbox[2], bbox[3]) if len(bbox) == 4 else tuple(bbox))  # type: ignore[arg-type]
        if box[0] >= own[2] or box[2] <= own[0] or box[1] >= own[3] or box[3] <= own[1]:
            raise GridError(f"fetch: the box {box} is outside the cube ({', '.join(f'{v:.3g}' for v in own)})")
        return existing, own
    if bbox is None or resolution is None:
        raise InputError("fetch: a new cube needs bbox (west south east north) and resolution (m)")
    box = require_box(tuple(bbox))  # type: ignore[arg-type]
    if not (np.isfinite(resolution) and resolution > 0):
        raise InputError(f"fetch: resolution is {resolution}, expected metres above 0")
    grid = _new_grid(box, float(resolution), crs)
    return grid, _box_of(grid)  # the cells of a projected grid reach past the box


def _new_grid(box: Box, resolution: float, crs: str | None) -> GeoBox:
    inside = all(low <= value <= high for value, low, high in (
        (box[0], PLATEAU_BOX[0], PLATEAU_BOX[2]), (box[2], PLATEAU_BOX[0], PLATEAU_BOX[2]),
        (box[1], PLATEAU_BOX[1], PLATEAU_BOX[3]), (box[3], PLATEAU_BOX[1], PLATEAU_BOX[3])))  # fmt: skip
    middle = round((box[0] + box[2]) / 2), round((box[1] + box[3]) / 2)
    text = crs or (PLATEAU_CRS if inside else f"+proj=laea +lat_0={middle[1]} +lon_0={middle[0]} +datum=WGS84 +units=m")
    try:
        target = CRS(text)
    except Exception as error:
        raise InputError(f"fetch: crs is {crs!r}, expected one such as 'EPSG:3035'") from error
    if target.geographic:
        raise InputError(f"fetch: crs {crs} is in degrees; a cube's grid is in metres, such as 'EPSG:3035'")
    to_grid = Transformer.from_crs(4326, target.proj, always_xy=True)
    left, bottom, right, top = (v / resolution for v in to_grid.transform_bounds(*box, densify_pts=101))
    first, last = (int(np.floor(left)), int(np.floor(bottom))), (int(np.ceil(right)), int(np.ceil(top)))
    shape = last[1] - first[1], last[0] - first[0]
    transform = Affine(resolution, 0, first[0] * resolution, 0, -resolution, last[1] * resolution)
    return GeoBox(shape, transform, target)


def _box_of(grid: GeoBox) -> Box:
    bounds = grid.boundingbox
    back = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)
    west, south, east, north = back.transform_bounds(
        bounds.left, bounds.bottom, bounds.right, bounds.top, densify_pts=101
    )
    return require_box((west, south, east, north))


def _cell_metres(grid: GeoBox) -> float:
    size = float(abs(grid.transform.e))
    return size * 111_320.0 if grid.crs.geographic else size


def _lock_path(store: str) -> Path | None:
    path = local_path(store)
    return None if path is None else path.with_name(f"{path.name.removesuffix('.zarr')}.{LOCK_NAME}")
