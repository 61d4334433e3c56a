"""Tiles, and which of them are up to date, missing or stale."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tpsoil.cube.location import local_path
from tpsoil.stage import Stage

from .durable import digest_bytes, digest_file
from .ledger import read_through
from .manifest import ABSENT, Manifest, Record
from .origin import Origin, read_origin
from .places import Chunk, LayerPlace, open_store

HASH_THREADS: Final = 4
"""Hide the latency of a disk; a call a file would cost more than the file."""
HASHED_AT_ONCE: Final = 256
"""Chunks read together when digests are taken; bounds the memory of planning."""

DAMAGE: Final = ("is gone", "is not what was written (damage, or an interrupted write)")

Rectangle = tuple[int, int, int, int]
"""First and last+1 chunk row, first and last+1 chunk column."""


@dataclass(frozen=True)
class Tiling:
    """A grid divided into chunks, and chunks grouped into tiles.

    Parameters
    ----------
    shape : (ny, nx)
        Of the grid.
    chunk : int
        Side of the output's chunks.
    side : int
        Chunks along a tile's side.

    Examples
    --------
    >>> Tiling((1000, 700), 256).count
    12
    """

    shape: tuple[int, int]
    chunk: int
    side: int = 1

    @property
    def rows(self) -> int:
        """Rows of chunks."""
        return -(-self.shape[0] // self.chunk)

    @property
    def columns(self) -> int:
        """Columns of chunks."""
        return -(-self.shape[1] // self.chunk)

    @property
    def count(self) -> int:
        """Number of chunks."""
        return self.rows * self.columns

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, row by row."""
        return ((i, j) for i in range(self.rows) for j in range(self.columns))

    def cells(self, rectangle: Rectangle) -> tuple[slice, slice]:
        """Cells of a rectangle of chunks."""
        return self.window(rectangle, 0)

    def window(self, rectangle: Rectangle, halo: int | None) -> tuple[slice, slice]:
        """Cells of a rectangle of chunks and its halo, within the grid."""
        if halo is None:
            return slice(0, self.shape[0]), slice(0, self.shape[1])
        i0, i1, j0, j1 = rectangle
        return (
            slice(max(0, i0 * self.chunk - halo), min(i1 * self.chunk + halo, self.shape[0])),
            slice(max(0, j0 * self.chunk - halo), min(j1 * self.chunk + halo, self.shape[1])),
        )

    def tiles(self, chunks: Iterable[Chunk], halo: int | None = 0) -> Iterator[Rectangle]:
        """Tiles that cover exactly some chunks; one tile of the complete grid where the stage needs it."""
        if halo is None:
            if any(True for _ in chunks):
                yield (0, self.rows, 0, self.columns)
            return
        groups: dict[Chunk, list[Chunk]] = {}
        for i, j in chunks:
            groups.setdefault((i // self.side, j // self.side), []).append((i, j))
        for (a, b), members in groups.items():
            i0, j0 = a * self.side, b * self.side
            i1, j1 = min(i0 + self.side, self.rows), min(j0 + self.side, self.columns)
            if len(members) == (i1 - i0) * (j1 - j0):
                yield (i0, i1, j0, j1)
            else:
                yield from ((i, i + 1, j, j + 1) for i, j in members)


@dataclass(frozen=True)
class Dependencies:
    """What a stage's records carry beside the digests of layers.

    Parameters
    ----------
    origin : Origin
    model : str
        Digest of the trained model; "" without one.
    """

    origin: Origin
    model: str = ""


class ChunkDigests:
    """Digests of stored chunks, each taken once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._threads = concurrent.futures.ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="tpsoil-digest")

    def load(self, place: LayerPlace, chunks: Iterable[Chunk]) -> None:
        """Take the digests of chunks, many at once."""
        keys = [key for key in dict.fromkeys(place.key(*c) for c in chunks) if (place.store, key) not in self._known]
        for start in range(0, len(keys), HASHED_AT_ONCE):
            part = keys[start : start + HASHED_AT_ONCE]
            for key, digest in zip(part, _digests(place.store, part, self._threads)):
                self._known[(place.store, key)] = digest or ABSENT

    def of(self, place: LayerPlace, chunk: Chunk) -> str:
        """Digest of one chunk."""
        key = place.key(*chunk)
        if (place.store, key) not in self._known:
            self.load(place, [chunk])
        return self._known[(place.store, key)]

    def discard(self, store: str, names: Iterable[str]) -> None:
        """Drop digests of layers that were written since."""
        prefixes = tuple(f"{name}/" for name in names)
        self._known = {k: v for k, v in self._known.items() if not (k[0] == store and k[1].startswith(prefixes))}


def _digests(store: str, keys: Sequence[str], threads: concurrent.futures.Executor) -> list[str | None]:
    """Digests of stored objects; None where there is none."""
    folder = local_path(store)
    if folder is not None:
        root = os.fspath(folder)
        share = max(1, -(-len(keys) // HASH_THREADS))
        parts = [keys[start : start + share] for start in range(0, len(keys), share)]
        digests = threads.map(lambda part: [digest_file(f"{root}/{key}") for key in part], parts)
        return [digest for part in digests for digest in part]
    return read_through(open_store(store), keys, digest_bytes)


def model_digest(described: Mapping[str, Any], *, loads: bool) -> str:
    """The digest of the model in records: "" where no tile reads it."""
    return str(described["digest"]) if loads else ""


def input_digest(place: LayerPlace, digests: Mapping[Chunk, str]) -> str:
    """Digest of the chunks of a layer that a window touched."""
    touched_digests = ";".join(f"{i}.{j}={digest}" for (i, j), digest in sorted(digests.items()))
    return digest_bytes(f"{place.signature}:{touched_digests}".encode())


@dataclass
class StagePlan:
    """What one stage would do.

    Parameters
    ----------
    stage : str
    total : int
        Chunks of the stage.
    current : int
        Up to date.
    missing : list of chunk
        Never computed.
    stale : mapping of chunk to reasons
    follows : int
        Chunks that are up to date now and depend on tiles that an earlier stage computes again; checked then.
    """

    stage: str
    total: int
    current: int = 0
    missing: list[Chunk] = field(default_factory=list)
    stale: dict[Chunk, list[str]] = field(default_factory=dict)
    follows: int = 0

    @property
    def to_compute(self) -> list[Chunk]:
        """Chunks to compute, row by row."""
        return sorted([*self.missing, *self.stale])

    def reasons(self) -> dict[str, int]:
        """Why chunks are stale, with the number of chunks, the most frequent first; damage is reported once a layer."""
        counts: dict[str, int] = {}
        damaged: dict[tuple[str, str], list[str]] = {}
        for why in self.stale.values():
            for reason in why:
                key, _, damage = reason.partition(" ")
                if damage in DAMAGE:
                    damaged.setdefault((key.partition("/")[0], damage), []).append(key)
                else:
                    counts[reason] = counts.get(reason, 0) + 1
        for (layer, damage), keys in damaged.items():
            more = f"and {len(keys) - 1} more chunks of {layer}: each " if len(keys) > 1 else ""
            counts[f"{keys[0]} {more}{damage}"] = len(keys)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def plan_stage(
    stage: Stage,
    tiling: Tiling,
    manifest: Manifest,
    inputs: Sequence[LayerPlace],
    outputs: Sequence[LayerPlace],
    dependencies: Dependencies,
    digests: ChunkDigests,
) -> StagePlan:
    """Compare every chunk's record with the one that would be written now.

    Parameters
    ----------
    stage : Stage
    tiling : Tiling
    manifest : Manifest
        Of the stage in the output store.
    inputs, outputs : sequence of LayerPlace
        Where they are stored; of outputs whose arrays are missing nothing is planned.
    dependencies : Dependencies
        Of the stage now.
    digests : ChunkDigests

    Returns
    -------
    StagePlan

    Notes
    -----
    Stored bytes are read only where there is a record: the plan of a first run reads nothing.
    """
    records = manifest.read()
    plan = StagePlan(stage.name, tiling.count)
    if not records:
        plan.missing = list(tiling.chunks())
        return plan
    windows = {(i, j): tiling.window((i, i + 1, j, j + 1), stage.halo) for i, j in tiling.chunks() if (i, j) in records}
    for place in inputs:
        digests.load(place, (touched for rows, columns in windows.values() for touched in place.touched(rows, columns)))
    for place in outputs:
        digests.load(place, windows)
    origins: dict[str, list[str]] = {}
    for chunk in tiling.chunks():
        record = records.get(chunk)
        if record is None:
            plan.missing.append(chunk)
            continue
        rows, columns = windows[chunk]
        ins = {p.name: input_digest(p, {c: digests.of(p, c) for c in p.touched(rows, columns)}) for p in inputs}
        reasons = record.reasons(Record(ins, dependencies.origin.digest, dependencies.model, {}))
        if record.origin != dependencies.origin.digest:
            if record.origin not in origins:
                before = read_origin(manifest.ledger, stage.name, record.origin)
                origins[record.origin] = dependencies.origin.reasons(before)
            reasons = origins[record.origin] + reasons
        for place in outputs:
            stored = digests.of(place, chunk)
            if stored != record.outputs.get(place.name):
                reasons.append(f"{place.key(*chunk)} {DAMAGE[stored != ABSENT]}")
        if stage.tally is not None and record.tally is None:
            reasons.append("its numbers for the summary are not there")
        if reasons:
            plan.stale[chunk] = reasons
        else:
            plan.current += 1
    return plan


def touched_by(changed: Iterable[Chunk], tiling: Tiling, halo: int | None) -> set[Chunk]:
    """Chunks of the same tiling whose window overlaps changed ones."""
    if halo is None:
        return set(tiling.chunks()) if any(True for _ in changed) else set()
    reach = -(-halo // tiling.chunk)
    return {
        (a, b)
        for i, j in changed
        for a in range(max(0, i - reach), min(tiling.rows, i + reach + 1))
        for b in range(max(0, j - reach), min(tiling.columns, j + reach + 1))
    }
