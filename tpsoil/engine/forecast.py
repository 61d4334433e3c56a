"""Memory and disk that a run takes, forecast before its first tile; tiles shrink to stay under a limit of memory."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from odc.geo.geobox import GeoBox

from tpsoil.cube.levels import OVERVIEWS, overview_factors
from tpsoil.cube.location import local_path
from tpsoil.errors import InputError
from tpsoil.option_names import run_option
from tpsoil.stage import SourceBytes, Stage

from .places import is_url
from .plan import Tiling

GIGABYTE: Final = 10**9

BASE_BYTES: Final = 450 * 2**20
"""A process with tpsoil's libraries and compiled kernels loaded, measured on Linux; every worker process has one."""

TILE_CELLS: Final = 256
"""Side that a tile grows to where the chunks are smaller: below it the fixed costs of a tile show."""
FLOAT_SHARE: Final = 0.5
"""Stored bytes of a layer of floats, as a share of the uncompressed ones. Measured on the sample's covariates and the
demo's maps: 0.23 to 0.83, median 0.47."""
CLASS_SHARE: Final = 0.1
"""The same of integers: 0.03 to 0.20."""
UNCERTAINTY: Final = 2.0
"""Factor between the forecast of a run and the bytes that it stores."""
RECORD_BYTES: Final = 4096
"""A record of a tile is a file of its own until its stage is complete: one block of a file system."""


@dataclass(frozen=True)
class Forecast:
    """Memory that a stage takes, bytes.

    Parameters
    ----------
    tile : int
        One tile's window, results and working arrays.
    model : int
        Of the model in each process, and of what it retains of sources.
    at_once : int
        Tiles worked on at the same time in a process.
    processes : int
    side : int
        Chunks along a tile's side.
    """

    tile: int
    model: int
    at_once: int
    processes: int
    side: int

    @property
    def total(self) -> int:
        """Everything together."""
        return self.processes * (BASE_BYTES + self.model + self.at_once * self.tile)


def tile_bytes(stage: Stage, tiling: Tiling, itemsizes: Sequence[int], grid: GeoBox | None = None) -> int:
    """Memory for one tile: stored and decoded inputs and outputs, the stage's working arrays, and its files' blocks."""
    halo = stage.halo
    rows, columns = _tile_shape(stage, tiling)
    window = cells = rows * columns
    if halo is not None:
        # A window with a halo decodes every chunk it touches.
        reach = 2 * (-(-halo // tiling.chunk)) * tiling.chunk
        window = (rows + min(reach, 2 * halo)) * (columns + min(reach, 2 * halo))
    read = window * sum(2 * size for size in itemsizes)
    written = cells * sum(2 * np.dtype(output.dtype).itemsize for output in stage.outputs)
    return int(read + written + window * stage.bytes_per_cell + source_bytes(stage, tiling, grid).tile)


def source_bytes(stage: Stage, tiling: Tiling, grid: GeoBox | None) -> SourceBytes:
    """Memory that the files behind a stage take, of each tile and of each process; none without a grid."""
    if grid is None or stage.source_bytes is None:
        return SourceBytes()
    return stage.source_bytes(stage.options, grid, _tile_shape(stage, tiling))


def _tile_shape(stage: Stage, tiling: Tiling) -> tuple[int, int]:
    """Rows and columns of the largest tile."""
    if stage.halo is None:
        return tiling.shape
    side = tiling.side * tiling.chunk
    return min(side, tiling.shape[0]), min(side, tiling.shape[1])


@dataclass(frozen=True)
class Resources:
    """What the tiles of a run may use.

    Parameters
    ----------
    threads : int
        Tiles at once in a process.
    processes : int
    limit : int or None
        Memory of all processes together, bytes.
    where : str
        The recipe, for messages.
    side : int, optional
        Chunks along a tile's side to begin with.
    """

    threads: int
    processes: int
    limit: int | None
    where: str
    side: int | None = None


def fit_memory(
    stage: Stage,
    tiling: Tiling,
    itemsizes: Sequence[int],
    resources: Resources,
    *,
    model: int = 0,
    grid: GeoBox | None = None,
) -> Forecast:
    """The largest tiles, then the most of them at once, that stay under a limit.

    Parameters
    ----------
    stage : Stage
    tiling : Tiling
    itemsizes : sequence of int
        Bytes of a cell of each input layer.
    resources : Resources
    model : int
        Bytes of the stage's model.
    grid : GeoBox, optional
        Of the run; with it the blocks of a stage's files count.

    Returns
    -------
    Forecast

    Raises
    ------
    InputError
        Where one tile of one chunk on one thread is over the limit; with the setting that would fit.
    """
    limit, processes = resources.limit, resources.processes
    sides = [1 if stage.halo is None else resources.side or max(1, TILE_CELLS // tiling.chunk)]
    while sides[-1] > 1:
        sides.append(sides[-1] // 2)
    last = None
    for at_once in range(resources.threads, 0, -1):
        for side in sides:
            cut = Tiling(tiling.shape, tiling.chunk, side)
            retained = model + source_bytes(stage, cut, grid).process
            last = Forecast(tile_bytes(stage, cut, itemsizes, grid), retained, at_once, processes, side)
            if limit is None or last.total <= limit:
                return last
    if last is None or limit is None:
        raise InputError(f"{resources.where}: {resources.threads} threads, expected at least one")
    raise InputError(
        f"{resources.where}: stage '{stage.name}' needs {size_text(last.total)} for one tile of {tiling.chunk} x "
        f"{tiling.chunk} cells in each of {processes} process{'' if processes == 1 else 'es'}, "
        f"{run_option('memory')} allows {size_text(limit)}; {_suggestion(stage, tiling, itemsizes, last, limit, grid)}"
    )


def memory_limit(memory: float | None) -> int | None:
    """Bytes of a limit in GB.

    Raises
    ------
    InputError
        For a limit that is no positive number.
    """
    if memory is None:
        return None
    if not 0 < memory < math.inf:
        raise InputError(
            f"{run_option('memory')} is {memory}, expected a positive number of GB; leave it out for no limit"
        )
    return int(memory * GIGABYTE)


def _suggestion(
    stage: Stage, tiling: Tiling, itemsizes: Sequence[int], smallest: Forecast, limit: int, grid: GeoBox | None
) -> str:
    """The setting that would fit, where one tile of one chunk on one thread does not."""
    enough = run_option("memory", math.ceil(10 * smallest.total / GIGABYTE) / 10)
    if stage.halo is None:
        return f"this stage needs the complete grid at once: give {enough}, or a coarser grid"
    chunk = tiling.chunk
    while chunk > 16:
        chunk //= 2
        if replace(smallest, tile=tile_bytes(stage, Tiling(tiling.shape, chunk), itemsizes, grid)).total <= limit:
            return f"set chunks = {chunk} in [grid], or give {enough}"
    if smallest.processes > 1:
        return f"give fewer {run_option('workers')}, or {enough}"
    fixed = size_text(replace(smallest, tile=0).total)
    return f"give {enough}; {fixed} of it are the libraries, the model and the sources"


@dataclass(frozen=True)
class DiskForecast:
    """Bytes that a run adds to a file system.

    Parameters
    ----------
    layers : mapping of str to int
        Expected of each layer when it is stored, compressed, with its overviews.
    bound : int
        Uncompressed bytes of all layers and overviews together.
    records : int
        Of the tiles' records.
    stored : int
        Bytes of these layers that are stored already, which the run replaces; 0 where the limit does not need it.
    free : int or None
        Bytes that are free; None where that is not known, as of an object store.
    where : str
        The folder whose file system was asked, or the store.
    """

    layers: Mapping[str, int]
    bound: int
    records: int
    stored: int
    free: int | None
    where: str

    @property
    def total(self) -> int:
        """Bytes expected to be added."""
        return max(0, sum(self.layers.values()) - self.stored) + self.records

    @property
    def summary(self) -> str:
        """One line: what the run writes and what is free."""
        free = "free space is not checked on an object store"
        if self.free is not None:
            free = f"{size_text(self.free)} are free in {self.where}"
        return f"disk: about {size_text(self.total)} to write, {size_text(self.bound)} uncompressed; {free}"


def forecast_disk(stages: Sequence[Stage], tiling: Tiling, store: str, *, overviews: bool = True) -> DiskForecast:
    """Bytes that the layers of some stages take.

    Parameters
    ----------
    stages : sequence of Stage
    tiling : Tiling
        Of the output.
    store : str
        Path or URL of the output.
    overviews : bool
        Whether the run writes those of its layers too.

    Returns
    -------
    DiskForecast

    Examples
    --------
    >>> forecast_disk([], Tiling((100, 100), 50), "memory://maps").total
    0
    """
    factors = overview_factors(tiling.shape) if overviews else []
    cells = sum(math.prod(-(-size // factor) for size in tiling.shape) for factor in (1, *factors))
    layers: dict[str, int] = {}
    bound = 0
    for stage in stages:
        for variable in stage.outputs:
            dtype = np.dtype(variable.dtype)
            layers[variable.name] = int(
                cells * dtype.itemsize * (FLOAT_SHARE if dtype.kind == "f" else CLASS_SHARE)
            )  # fmt: skip
            bound += cells * dtype.itemsize
    records = tiling.count * RECORD_BYTES if stages else 0  # of one stage at a time
    folder = _existing_folder(store)
    if folder is None:
        return DiskForecast(layers, bound, records, 0, None, store)
    free = shutil.disk_usage(folder).free
    places = [Path(store), *(Path(store) / OVERVIEWS / str(factor) for factor in factors)]
    stored = 0 if free > bound + records else sum(_stored_bytes(place / name) for place in places for name in layers)
    return DiskForecast(layers, bound, records, stored, free, str(folder))


def check_disk(forecast: DiskForecast, where: str) -> str:
    """Reject a run that cannot fit.

    Parameters
    ----------
    forecast : DiskForecast
    where : str
        The recipe, for the message.

    Returns
    -------
    str
        A warning where it may not fit; else "".

    Raises
    ------
    InputError
        Where less is free than half of the forecast, which is its uncertainty.
    """
    if forecast.free is None or forecast.free > forecast.bound - forecast.stored + forecast.records:
        return ""
    largest = sorted(forecast.layers.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} {size_text(size)}" for name, size in largest)
    text = (
        f"{where}: writes about {size_text(forecast.total)} ({len(forecast.layers)} layers, the largest {named}), and "
        f"{size_text(forecast.free)} are free in {forecast.where}"
    )
    if forecast.free < forecast.total / UNCERTAINTY:
        raise InputError(f"{text}; free some space, give another output, or a coarser grid")
    if forecast.free < forecast.total * UNCERTAINTY:
        return f"{text}; it may not fit"
    return ""


def _existing_folder(store: str) -> Path | None:
    """The folder of a local store, or the nearest above that exists; None for other stores."""
    path = local_path(store)
    if path is None or is_url(store):
        return None
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), None)


def _stored_bytes(layer: Path) -> int:
    return sum(
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(layer)
        for file in files
    )  # fmt: skip


def size_text(size: float) -> str:
    """Bytes for messages, with three digits; in GB, as limits of memory are given, from a tenth of one.

    Examples
    --------
    >>> [size_text(size) for size in (4096, 99_960_000, 100_000_000, 999_900_000_000, 5e12)]
    ['4.1 kB', '0.1 GB', '0.1 GB', '1 TB', '5 TB']
    """
    rounded = float(f"{size:.3g}")
    units = (("TB", 1e12, 1e12), ("GB", 1e9, 1e8), ("MB", 1e6, 1e6), ("kB", 1e3, 0.0))
    unit, factor = next((unit, factor) for unit, factor, smallest in units if rounded >= smallest)
    return f"{rounded / factor:.3g} {unit}"
