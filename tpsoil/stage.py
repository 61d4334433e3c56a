"""What a stage is to the engine: names of what it reads and makes, and a function of one window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.variables import Variable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Window:
    """What a stage's `compute` gets: one tile with its halo.

    Parameters
    ----------
    layers : Dataset (y, x), numpy
        The stage's inputs as `open_cube` gives them, with their attributes; the halo ends at the grid's edge.
    grid : GeoBox
        The whole grid.
    rows, columns : slice
        This window's cells of it.
    options : mapping
        The stage's options.
    model : object or None
        What the stage's `load` made of its model; one object for all tiles of a process, not to be changed.
    """

    layers: xr.Dataset
    grid: GeoBox
    rows: slice
    columns: slice
    options: Mapping[str, Any]
    model: Any = None


@dataclass(frozen=True)
class Prepared:
    """What a stage's `prepare` gives: done once a run, before its first tile.

    Parameters
    ----------
    model : bytes
        Stored beside the maps and read once by each worker; equal bytes mean an equal model.
    tables : mapping of str to DataFrame
        Stored and printed, such as scores.
    attributes : mapping of str to mapping
        Added to the attributes of an output; the key `""` adds to all of them.
    notes : sequence of str
        Lines for the log, such as points dropped.
    """

    model: bytes
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def _untold(done: int, total: int) -> None:
    """For who does not want to know."""


@dataclass(frozen=True)
class Workbench:
    """What a run lends a stage's `prepare`.

    Parameters
    ----------
    workers : int
        Threads of this process it may use.
    progress : callable
        `progress(done, total)`, for work that can be counted.
    scratch : Path or None
        A folder for what a killed run shall find again; removed when the run is complete. None where there is no place
        for it.
    """

    workers: int = 1
    progress: Callable[[int, int], None] = _untold
    scratch: Path | None = None


@dataclass(frozen=True)
class Stage:
    """One step of a run: from layers to layers, tile by tile.

    Parameters
    ----------
    name : str
        Unique in a run; names the manifest.
    title : str
        For the progress line.
    section : str
        The recipe's table it comes from; `--only` may name it.
    outputs : sequence of Variable
        What `compute` returns.
    compute : callable
        `compute(window)` gives one array of the window's shape for every output. A module-level function: it is sent
        to workers by name. Serial, and the same for a cell whatever the window around it.
    inputs : sequence of str
        Layers it reads, from the output store or the cube.
    halo : int or None
        Cells that `compute` needs around a cell. None: the whole grid is one tile.
    options : mapping
        For `compute` and `prepare`; may hold paths.
    identity : mapping
        What of the options decides the result, without machine paths: its digest is the stage's recipe digest.
    files : sequence of Path
        Files that decide the result: digests of their bytes are part of the model digest.
    prepare : callable, optional
        `prepare(cube, options, workbench)` gives `Prepared`; `cube` is the lazy Dataset of the stage's inputs.
    prepares : str
        What `prepare` does, for the progress line: "training".
    load : callable, optional
        The model from its bytes.
    attributes : mapping of str to mapping
        As in `Prepared`.
    describe : callable, optional
        `describe(options, grid)` gives attributes that are known when a source is opened, and refuses one that cannot
        serve. Called before the first tile.
    bytes_per_cell : float
        Peak of `compute`'s working memory for a cell of the window, beside the inputs and outputs.
    tally : callable, optional
        `tally(layers)` gives numbers of one chunk as a JSON mapping; `layers` are its cells of every input and output,
        by name, as stored. Kept in the chunk's record.
    summary : callable, optional
        `summary(tallies, maps)` gives tables that describe the finished maps, by name, from the tallies of all chunks
        row by row; `maps` is the lazy Dataset of the outputs, for a look at some of them.
    """

    name: str
    title: str
    section: str
    outputs: tuple[Variable, ...]
    compute: Callable[[Window], Mapping[str, Array]]
    inputs: tuple[str, ...] = ()
    halo: int | None = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    prepare: Callable[[xr.Dataset, Mapping[str, Any], Workbench], Prepared] | None = None
    prepares: str = "training"
    load: Callable[[bytes], Any] | None = None
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    describe: Callable[[Mapping[str, Any], GeoBox], Mapping[str, Any]] | None = None
    bytes_per_cell: float = 64.0
    tally: Callable[[Mapping[str, Array]], Mapping[str, Any]] | None = None
    summary: Callable[[Sequence[Mapping[str, Any]], xr.Dataset], Mapping[str, pd.DataFrame]] | None = None


def blocks_of(maps: xr.Dataset, side: int = 512) -> Iterator[xr.Dataset]:
    """A lazy Dataset in loaded blocks, so that what looks at every cell holds a million of them at most."""
    for top in range(0, maps.sizes["y"], side):
        for left in range(0, maps.sizes["x"], 2 * side):
            yield maps.isel(y=slice(top, top + side), x=slice(left, left + 2 * side)).compute()


def some_blocks(maps: xr.Dataset, chunk: int, most_cells: int) -> Iterator[xr.Dataset]:
    """Loaded chunks of a lazy Dataset: all of a small one, evenly spread ones of a large one."""
    corners = [(y, x) for y in range(0, maps.sizes["y"], chunk) for x in range(0, maps.sizes["x"], chunk)]
    count = min(len(corners), max(1, most_cells // chunk**2))
    for at in np.linspace(0, len(corners) - 1, count).round().astype(int):
        y, x = corners[at]
        yield maps.isel(y=slice(y, y + chunk), x=slice(x, x + chunk)).compute()


def trimmed(values: Any, halo: tuple[tuple[int, int], tuple[int, int]], dtype: str) -> Array:
    """A window's result without its halo, in the stored type."""
    array = np.asarray(values.values if isinstance(values, xr.DataArray) else values)
    (top, bottom), (left, right) = halo
    rows, columns = array.shape
    return np.ascontiguousarray(array[top : rows - bottom, left : columns - right]).astype(dtype, copy=False)
