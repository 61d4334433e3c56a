"""One tile, on any worker: read its window, compute, write its chunks, then record what they were computed from."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from zarr.abc.store import Store

import tpsoil
from tpsoil.cube.chunks import ObservedStore, open_array
from tpsoil.cube.location import writing
from tpsoil.cube.reading import HIDDEN, CubeInfo, LayerReader
from tpsoil.cube.regions import block_writer
from tpsoil.errors import CorruptStoreError, InputError, WorkError
from tpsoil.grid import cell_sizes_m, coordinates, is_rotated
from tpsoil.plausibility import chunk_statistics
from tpsoil.stage import CELL_AREA, Stage, Window, trimmed

from .code import code_of, entries_of, source_digest
from .durable import digest_bytes, digest_of
from .ledger import Ledger
from .manifest import ABSENT, Manifest, Record
from .places import LayerPlace, open_store
from .plan import Rectangle, Tiling, input_digest

MAX_OPEN_ARRAYS: Final = 256
MAX_TOGETHER: Final = 12
"""Stages of one pass at most: so many models stay in the memory of a process."""
_thread = threading.local()
Use = TypeVar("Use")


@dataclass(frozen=True)
class Assignment:
    """What a worker needs for the tiles of one stage; some kilobytes, for any size of the grid.

    Parameters
    ----------
    stage : Stage
    grid : GeoBox
        Of the store.
    tiling : Tiling
    inputs, outputs : tuple of LayerPlace
    store : str
        The output store.
    origin, model : str
        Digests for the records.
    code : str
        As `code_digest` has it where the run was planned.
    model_key : str
        Ledger key of the model's bytes; "" where the stage has none.
    token : str
        Of the run's lock, checked before anything is written; "" in a store that no other process writes to.
    also : tuple of Assignment
        Further stages whose tiles are computed in the same pass, see `Stage.together`.
    """

    stage: Stage
    grid: GeoBox
    tiling: Tiling
    inputs: tuple[LayerPlace, ...]
    outputs: tuple[LayerPlace, ...]
    store: str
    origin: str
    model: str
    code: str
    model_key: str = ""
    token: str = ""
    also: tuple[Assignment, ...] = ()

    @property
    def members(self) -> tuple[Assignment, ...]:
        """This and the further stages."""
        return (self, *self.also)


@dataclass(frozen=True)
class TileDone:
    """Report of a finished tile: its place, its time, and the peak memory of its process."""

    rectangle: Rectangle
    seconds: float
    peak_bytes: int


def software() -> str:
    """The installed tpsoil: its version, and a digest of its source."""
    return f"{tpsoil.__version__}+{source_digest()}"


def code_digest(stage: Stage) -> str:
    """Digest of the code and packages that decide a stage's results, in this process."""
    return _code_digest(entries_of(stage))


@cache
def _code_digest(entries: tuple[str, ...]) -> str:
    code = code_of(entries)
    return digest_of([tpsoil.__version__, code.modules, code.packages])


def compute_tile(assignment: Assignment, rectangle: Rectangle) -> TileDone:
    """Compute one tile of a stage, and of those of the same pass, and record it.

    Raises
    ------
    InputError
        On a worker with another tpsoil than the one that planned the run.
    CorruptStoreError
        Where an input chunk does not decode.
    LockLostError
        Where another run took the store over.
    WorkError
        Where the result cannot be stored.
    """
    began = time.perf_counter()
    for member in assignment.members:
        _check_code(member)
    stage, tiling = assignment.stage, assignment.tiling
    wide = tiling.window(rectangle, stage.halo)
    places = tuple({place.name: place for member in assignment.members for place in member.inputs}.values())
    layers, seen = _read(places, assignment.grid, *wide)
    windows = [
        Window(
            layers if member.inputs == places else layers[[place.name for place in member.inputs]],
            assignment.grid,
            *wide,
            member.stage.options,
            _model_of(member),
        )
        for member in assignment.members
    ]
    if stage.together is None or len(windows) == 1:
        results = [member.stage.compute(window) for member, window in zip(assignment.members, windows)]
    else:
        results = list(stage.together(windows))
    for member, window, values in zip(assignment.members, windows, results, strict=True):
        _store(member, rectangle, window, values, seen)
    return TileDone(rectangle, time.perf_counter() - began, peak_bytes())


def _check_code(assignment: Assignment) -> None:
    if assignment.code != code_digest(assignment.stage):
        raise InputError(
            f"worker process {os.getpid()}: has other code or packages for stage '{assignment.stage.name}' than the "
            f"process that planned the run (its tpsoil is {software()}); install the same tpsoil and packages on all "
            "workers"
        )


def _store(
    assignment: Assignment,
    rectangle: Rectangle,
    window: Window,
    results: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the outputs of one stage in one tile, then their records."""
    stage, tiling = assignment.stage, assignment.tiling
    layers = {str(name): window.layers.variables[name].values for name in window.layers.data_vars}
    rows, columns = tiling.cells(rectangle)
    around = (
        (rows.start - window.rows.start, window.rows.stop - rows.stop),
        (columns.start - window.columns.start, window.columns.stop - columns.stop),
    )
    ledger = Ledger(open_store(assignment.store), assignment.store, token=assignment.token)
    ledger.check_lock()
    values_of: dict[str, npt.NDArray[Any]] = {}
    written: dict[str, dict[str, str]] = {}
    for output, place in zip(stage.outputs, assignment.outputs):
        values = trimmed(results[output.name], around, output.dtype)
        if values.shape != (rows.stop - rows.start, columns.stop - columns.start):
            raise WorkError(f"stage '{stage.name}': {output.name} has shape {values.shape} on tile {rectangle}")
        written[output.name] = _write(place, rows, columns, values)
        values_of[output.name] = values
    # On the disk before the record that depends on it.
    ledger.sync(key for keys in written.values() for key in keys)
    manifest = Manifest(ledger, stage.name)
    for i in range(rectangle[0], rectangle[1]):
        for j in range(rectangle[2], rectangle[3]):
            around_chunk = tiling.window((i, i + 1, j, j + 1), stage.halo)
            inputs = {p.name: input_digest(p, {c: seen[p.name][p.key(*c)] for c in p.touched(*around_chunk)})
                      for p in assignment.inputs}  # fmt: skip
            outputs = {p.name: written[p.name].get(p.key(i, j), ABSENT) for p in assignment.outputs}
            cells = tiling.cells((i, i + 1, j, j + 1))
            within = _cut(values_of, cells, rows, columns) | _cut(layers, cells, window.rows, window.columns)
            tally = None if stage.tally is None else stage.tally(within | _cell_areas(window.grid, cells))
            statistics = chunk_statistics(stage.outputs, within)
            manifest.write((i, j), Record(inputs, assignment.origin, assignment.model, outputs, tally, statistics))


def _cut(
    layers: Mapping[str, npt.NDArray[Any]], cells: tuple[slice, slice], rows: slice, columns: slice
) -> dict[str, npt.NDArray[Any]]:
    """Cells of a chunk from layers that cover some rows and columns of the grid."""
    down, across = cells
    part = (
        slice(down.start - rows.start, down.stop - rows.start),
        slice(across.start - columns.start, across.stop - columns.start),
    )
    return {name: values[part] for name, values in layers.items()}


def _cell_areas(grid: GeoBox, cells: tuple[slice, slice]) -> dict[str, npt.NDArray[Any]]:
    """Size of the cells of a chunk, m2; nothing where all cells of the grid have the same."""
    if not grid.crs.geographic or is_rotated(grid):
        return {}
    dx, dy = cell_sizes_m(grid[cells])
    return {CELL_AREA: np.broadcast_to((dx * dy)[:, None], grid[cells].shape)}


class DigestRecorder(ObservedStore):
    """A store that records the digest of every object: of exactly the bytes that were decoded or written."""

    def __init__(self, store: Store, digests: dict[str, str] | None = None, *, name: str = "") -> None:
        super().__init__(store)
        self.digests: dict[str, str] = {} if digests is None else digests
        self.name = name or str(store)

    def __str__(self) -> str:
        return self.name

    def with_read_only(self, read_only: bool = False) -> DigestRecorder:
        return DigestRecorder(
            self.observed.with_read_only(read_only), self.digests, name=self.name
        )  # zarr's read-only copy shares the record

    def on_object(self, key: str, data: Any) -> None:
        self.digests[key] = ABSENT if data is None else digest_bytes(data)


def _read(
    places: Sequence[LayerPlace], grid: GeoBox, rows: slice, columns: slice
) -> tuple[xr.Dataset, dict[str, dict[str, str]]]:
    """Layers of a window, and the digest of each chunk that was decoded."""
    arrays: dict[str, Any] = {}
    seen: dict[str, dict[str, str]] = {}
    for place in places:
        info = CubeInfo(place.store, grid, place.chunks[0], {})
        digests, reader = _opened(place, "r", partial(LayerReader, info, place.name))
        stored = reader.array.attrs
        values, attrs = reader(rows, columns), {key: stored[key] for key in stored if key not in HIDDEN}
        arrays[place.name] = xr.Variable(("y", "x"), values, attrs)
        if "_FillValue" in stored:
            arrays[place.name].encoding["_FillValue"] = stored["_FillValue"]
        seen[place.name] = {key: digests.get(key, ABSENT)
                            for key in (place.key(*c) for c in place.touched(rows, columns))}  # fmt: skip
    return xr.Dataset(arrays, coords=_coordinates(grid).isel(y=rows, x=columns).coords), seen


@lru_cache(maxsize=4)
def _coordinates(grid: GeoBox) -> xr.Dataset:
    """Of the whole grid: those of a window are slices of them, so they are the same numbers in any window."""
    return xr.Dataset(coords=coordinates(grid))


def _write(place: LayerPlace, rows: slice, columns: slice, values: npt.NDArray[Any]) -> dict[str, str]:
    with writing(place.store):
        digests, write = _opened(place, "w", block_writer)
        write(rows, columns, values)
    return dict(digests)


def _opened(place: LayerPlace, mode: str, use: Callable[[Any], Use]) -> tuple[dict[str, str], Use]:
    """A use of a layer's open array, and the digests of the objects that it reads or writes from now on.

    Each thread has its own, because it computes one tile at a time. The signature of a place covers the encoding.
    """
    known: dict[Any, tuple[dict[str, str], Use]] = _thread.__dict__.setdefault("arrays", {})
    key = (place, mode)
    if key not in known:
        if len(known) >= MAX_OPEN_ARRAYS:
            known.clear()
        recorder = DigestRecorder(open_store(place.store))
        known[key] = recorder.digests, use(open_array(recorder, place.name))
    known[key][0].clear()
    return known[key]


@lru_cache(maxsize=MAX_TOGETHER)
def _load_model(store: str, key: str, digest: str, load: Any) -> Any:
    data = Ledger(open_store(store), store).read(key)
    if data is None:
        raise CorruptStoreError(f"{store}: the model {key} is gone; run again from the start of its stage")
    if digest_bytes(data) != digest:
        raise CorruptStoreError(f"{store}: the model {key} is not what was stored; run again to train it again")
    return load(data)


def _model_of(assignment: Assignment) -> Any:
    if not assignment.model_key or assignment.stage.load is None:
        return None
    key, _, digest = assignment.model_key.rpartition("#")
    return _load_model(assignment.store, key, digest, assignment.stage.load)


def peak_bytes() -> int:
    """Peak memory of this process; 0 where the system does not report it."""
    # Linux carries ru_maxrss from a parent into the processes it starts; VmHWM starts at 0.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
