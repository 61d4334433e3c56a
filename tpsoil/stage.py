"""A stage of the engine: names of its input and output layers, and a function of one window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tpsoil.variables import Variable

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from odc.geo.geobox import GeoBox

Array = npt.NDArray[Any]
Attributes = Mapping[str, Mapping[str, Any]]
"""Attributes by the layer's name."""

CONTENT: Final = "content"
"""Option that the engine adds: one digest of everything that `files` and `urls` contain, as planned. What a process
keeps of a source (an open reader) is kept under it, never under a path alone."""


@dataclass(frozen=True)
class SourceBytes:
    """Peak of memory that reading the files behind a stage takes, beside the window's own cells.

    Parameters
    ----------
    tile : int
        Of each tile, bytes: blocks, strips and chunks that it touches.
    process : int
        Of each process, however many tiles it works on at the same time, bytes: decoded chunks that are retained,
        stacks and polygons in memory.

    Examples
    --------
    >>> SourceBytes(10, 5) | SourceBytes(7, 2)
    SourceBytes(tile=10, process=7)
    """

    tile: int = 0
    process: int = 0

    def __or__(self, other: SourceBytes) -> SourceBytes:
        """Of two sources that a tile reads one after the other."""
        return SourceBytes(max(self.tile, other.tile), self.process + other.process)


@dataclass(frozen=True)
class Window:
    """What a stage's `compute` gets: one tile with its halo.

    Parameters
    ----------
    layers : Dataset (y, x), numpy
        The stage's inputs as `open_cube` gives them, with their attributes; the halo ends at the grid's edge.
    grid : GeoBox
        The complete grid.
    rows, columns : slice
        This window's cells of it.
    options : mapping
        The stage's options.
    model : object or None
        The model from the stage's `load`; one object for all tiles of a process, not to be changed.
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
    state : bytes
        What a stage's `report` needs of the training, stored beside the model.
    """

    model: bytes
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    state: bytes = b""


@dataclass(frozen=True)
class Report:
    """What a stage's `report` gives: tables and notes that no tile depends on.

    Parameters
    ----------
    tables : mapping of str to DataFrame
    notes : sequence of str
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    notes: Sequence[str] = ()


def _no_progress(done: int, total: int) -> None:
    """No progress is reported."""


@dataclass(frozen=True)
class Workbench:
    """Resources of a run for a stage's `prepare`.

    Parameters
    ----------
    workers : int
        Threads of this process it may use.
    progress : callable
        `progress(done, total)`, for work that can be counted.
    scratch : Path or None
        A folder for intermediate results that a resumed run reuses; removed when the run is complete. None where there
        is no place for it.
    """

    workers: int = 1
    progress: Callable[[int, int], None] = _no_progress
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
        Table of the recipe; `--only` may name it.
    outputs : sequence of Variable
        What `compute` returns.
    compute : callable
        `compute(window)` gives one array of the window's shape for every output. A module-level function: it is sent
        to workers by name. Serial, and the same for a cell in any window around it.
    inputs : sequence of str
        Layers it reads, from the output store or the cube.
    halo : int or None
        Cells that `compute` needs around a cell. None: the complete grid is one tile.
    options : mapping
        For `compute` and `prepare`. All of them decide the result, but for those that `indifferent` names; of a `Path`
        its name alone.
    indifferent : sequence of str
        Options that do not decide it, dotted where they lie in a table: paths as text, limits of memory.
    identity : mapping
        What decides the result beside the options, such as the names of files whose paths are indifferent.
    files : sequence of Path
        Files that decide the result by their bytes.
    urls : sequence of str
        Sources of a server that decide it, by what the server states of them.
    contents : mapping of str to str
        Digests of what it reads of files that it does not read completely, such as some columns of a table, by a name
        for messages.
    prepare : callable, optional
        `prepare(cube, options, workbench)` gives `Prepared`; `cube` is the lazy Dataset of the stage's inputs.
    mapped : sequence of str
        Options that decide the maps and not what `prepare` gives, dotted as in `indifferent`. Where there are any,
        neither they nor the outputs are part of what a model was trained from.
    prepares : str
        What `prepare` does, for the progress line: "training".
    report : callable, optional
        `report(cube, options, state, workbench)` gives `Report` after `prepare`, from the state that it returned. It
        is repeated without `prepare` and without a tile where only its options or code changed.
    reported : sequence of str
        Options that decide its tables and nothing else.
    together : callable, optional
        `together(windows)` gives what `compute` gives for each of them: windows of the same cells, of consecutive
        stages with this function and the same halo. Their tiles are then computed in one pass over their inputs.
    load : callable, optional
        The model from its bytes.
    attributes : mapping of str to mapping
        As in `Prepared`.
    describe : callable, optional
        `describe(options, grid)` gives attributes that are known when a source is opened, and rejects one that cannot
        be used. Called before the first tile.
    bytes_per_cell : float
        Peak of `compute`'s working memory for a cell of the window, beside the inputs and outputs.
    source_bytes : callable, optional
        `source_bytes(options, grid, (rows, columns))` gives the memory that reading the files behind a tile of this
        size takes, beside `bytes_per_cell`: they are decoded by block, strip or chunk.
    tally : callable, optional
        `tally(layers)` gives numbers of one chunk as a JSON mapping; `layers` are its cells of every input and output,
        by name, as stored, and on a north-up grid in degrees `CELL_AREA`, their size in m2. Kept in the chunk's record.
    needs_values : bool
        Whether outputs without a value in any cell, or a soil mask without soil, are wrong input: of layers that are
        read from sources.
    fitted : mapping of int to mapping
        Mean climate of each zone where its parameters were fitted, for the run's notes; layers of the catalogue.
    summary : callable, optional
        `summary(tallies, attributes)` gives tables that describe the finished maps, by name, from the tallies of all
        chunks row by row and the attributes of each input and output.
    notes : callable, optional
        `notes(tallies)` gives lines for the run's notes.
    """

    name: str
    title: str
    section: str
    outputs: tuple[Variable, ...]
    compute: Callable[[Window], Mapping[str, Array]]
    inputs: tuple[str, ...] = ()
    halo: int | None = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    indifferent: tuple[str, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[xr.Dataset, Mapping[str, Any], Workbench], Prepared] | None = None
    mapped: tuple[str, ...] = ()
    prepares: str = "training"
    report: Callable[[xr.Dataset, Mapping[str, Any], bytes, Workbench], Report] | None = None
    reported: tuple[str, ...] = ()
    together: Callable[[Sequence[Window]], Sequence[Mapping[str, Array]]] | None = None
    load: Callable[[bytes], Any] | None = None
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    describe: Callable[[Mapping[str, Any], GeoBox], Mapping[str, Any]] | None = None
    bytes_per_cell: float = 64.0
    source_bytes: Callable[[Mapping[str, Any], GeoBox, tuple[int, int]], SourceBytes] | None = None
    tally: Callable[[Mapping[str, Array]], Mapping[str, Any]] | None = None
    summary: Callable[[Sequence[Mapping[str, Any]], Attributes], Mapping[str, pd.DataFrame]] | None = None
    fitted: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    needs_values: bool = False
    notes: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]] | None = None


CELL_AREA: Final = "cell_area"
"""Among the layers of a `tally` where cells differ in size."""


def compute_nothing(_window: Window) -> Mapping[str, Array]:
    """`compute` of a stage that has tables and no maps."""
    return {}


def decisive_options(stage: Stage) -> dict[str, Any]:
    """What of a stage's options decides its result, as JSON types.

    Parameters
    ----------
    stage : Stage

    Returns
    -------
    dict
        Every option but those that the stage declares indifferent or `reported`, and its `identity`.

    Raises
    ------
    TypeError
        For an option that has no JSON form, such as an open file.
    """
    options = {str(key): value for key, value in stage.options.items() if key not in {CONTENT, *stage.reported}}
    decisive: dict[str, Any] = _as_json(options, "", frozenset(stage.indifferent))
    return decisive | {str(key): _as_json(value, str(key), frozenset()) for key, value in stage.identity.items()}


def training_options(stage: Stage) -> dict[str, Any]:
    """What of a stage's options decides what its `prepare` gives: those of `decisive_options` that are not `mapped`.

    Raises
    ------
    TypeError
        As `decisive_options`.
    """
    return decisive_options(replace(stage, indifferent=(*stage.indifferent, *stage.mapped)))


def reported_options(stage: Stage) -> dict[str, Any]:
    """What of a stage's options decides the tables of its `report` and nothing else, as JSON types.

    Raises
    ------
    TypeError
        As `decisive_options`.
    """
    options = {str(key): value for key, value in stage.options.items() if key in stage.reported}
    own: dict[str, Any] = _as_json(options, "", frozenset(stage.indifferent))
    return own


def _as_json(value: Any, at: str, left_out: frozenset[str]) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Path):
        return value.name
    if isinstance(value, (list, tuple)):
        return [_as_json(item, at, left_out) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_as_json(item, at, left_out) for item in value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        members = {str(key): item for key, item in value.items()}
    elif is_dataclass(value):
        members = {one.name: getattr(value, one.name) for one in fields(value)}
    elif hasattr(type(value), "model_fields"):
        members = {name: getattr(value, name) for name in type(value).model_fields}
    else:
        raise TypeError(f"option {at}: a {type(value).__name__} cannot be compared; declare it indifferent")
    inner = {name: f"{at}.{name}" if at else name for name in members}
    return {
        name: _as_json(item, inner[name], left_out) for name, item in members.items() if inner[name] not in left_out
    }


def blocks_of(maps: xr.Dataset, side: int = 512) -> Iterator[xr.Dataset]:
    """A lazy Dataset in loaded blocks, so that a loop over all cells has a million of them in memory at most."""
    for top in range(0, maps.sizes["y"], side):
        for left in range(0, maps.sizes["x"], 2 * side):
            yield maps.isel(y=slice(top, top + side), x=slice(left, left + 2 * side)).compute()


def trimmed(values: Any, halo: tuple[tuple[int, int], tuple[int, int]], dtype: str) -> Array:
    """A window's result without its halo, in the stored type."""
    array = np.asarray(values)
    (top, bottom), (left, right) = halo
    rows, columns = array.shape
    return np.ascontiguousarray(array[top : rows - bottom, left : columns - right]).astype(dtype, copy=False)
