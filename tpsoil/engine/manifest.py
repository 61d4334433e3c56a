"""What every tile was computed from, stored beside the maps: the record that decides current, missing or stale.

Everything is stored under `_tpsoil/` in the output store, by the store's own keys, so it works in every zarr store:

    _tpsoil/run.json                     the recipe as written, the stages, the state: "running" or "complete"
    _tpsoil/models/<stage>.json|.bin     what a stage prepared, such as a forest, and from what; its tables
    _tpsoil/models/<stage>.state         what its tables are made from again where only they changed
    _tpsoil/origins/<stage>/<digest>.json  options, files, code and packages that the digest in records stands for
    _tpsoil/manifest/<stage>/<y>.<x>     one record a chunk, written by the worker after the chunk's data
    _tpsoil/manifest/<stage>.json        the same records in one object, merged when the stage ends
    _tpsoil/scratch/<stage>/             finished parts of a stage's preparation; local, removed with the last tile

A record in its own object is newer than the merged one. Nothing here contains a time, a host or a path, so a run that
was killed and resumed leaves the same bytes as one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tpsoil.errors import InputError

from .durable import CHECKSUM, digest_bytes, is_sealed, sealed
from .ledger import Ledger
from .places import Chunk

FORMAT: Final = 3
"""Of everything under `_tpsoil/`; a store with a higher number was written by a newer tpsoil. Records of a lower one do
not count (1 had digests of another kind, 2 knew neither the modules nor the packages behind a stage, nor checksums):
their tiles are computed again."""

RUN_KEY: Final = "run.json"
"""Key of the description of a store's run."""

ABSENT: Final = "absent"
"""Digest of a chunk without an object: all fill values, or never written."""


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str | None, str | None]]:
    """(name, before, now) of what differs; None where there is none."""
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield name, before.get(name), now.get(name)


def kind_of_change(before: str | None, now: str | None) -> str:
    """What happened to something of which there is a digest before and now."""
    return "is new" if before is None else "is no longer used" if now is None else "changed"


@dataclass(frozen=True)
class Record:
    """What one chunk of a stage's outputs was computed from.

    Parameters
    ----------
    inputs : mapping of str to str
        For every input layer, the digest of the stored chunks that the window touched.
    origin : str
        Digest of the options, files, code and packages behind the stage.
    model : str
        Digest of the trained model; "" without one.
    outputs : mapping of str to str
        For every output layer, the digest of the chunk's stored bytes.
    tally : mapping, optional
        Numbers of the chunk that the stage's summary is computed from, so that no summary reads the maps.
    statistics : mapping, optional
        Numbers of the chunk that the run's notes are computed from, see `tpsoil.plausibility`; None in older records.
    """

    inputs: Mapping[str, str]
    origin: str
    model: str
    outputs: Mapping[str, str]
    tally: Mapping[str, Any] | None = None
    statistics: Mapping[str, Any] | None = None

    def reasons(self, now: Record) -> list[str]:
        """Differences from the record that would be written now, origin excluded; empty where there are none."""
        model = [] if self.model == now.model else ["the model changed"]
        return model + [f"{name} {kind_of_change(old, new)}" for name, old, new in differences(self.inputs, now.inputs)]


class DamagedRecordsError(Exception):
    """An object of records that is not what was written; its tiles count as missing."""


class Manifest:
    """The records of one stage in one store.

    Parameters
    ----------
    ledger : Ledger
        Of the output store.
    stage : str
    """

    def __init__(self, ledger: Ledger, stage: str) -> None:
        self.ledger = ledger
        self.stage = stage

    @property
    def _folded(self) -> str:
        return f"manifest/{self.stage}.json"

    def _key(self, chunk: Chunk) -> str:
        return f"manifest/{self.stage}/{chunk[0]}.{chunk[1]}"

    def parts(self) -> list[str]:
        """Names of the single records, which are newer than the merged ones."""
        return self.ledger.names(f"manifest/{self.stage}")

    def write(self, chunk: Chunk, record: Record) -> None:
        """Record one chunk; called after its data are stored."""
        # Not forced to the disk: a power cut that takes the record costs its tile, and one that tears it is recognised.
        self.ledger.write(self._key(chunk), _pack([(chunk, record)]), sync=False)

    def write_all(self, records: Sequence[tuple[Chunk, Record]]) -> None:
        """Store many records as one object, in place of the one that was there."""
        self.ledger.write(self._folded, _pack(records))

    def read(self) -> dict[Chunk, Record]:
        """All records, the newer of two for the same chunk."""
        return self._records([self._folded, *(f"manifest/{self.stage}/{name}" for name in self.parts())])

    def _records(self, keys: Sequence[str]) -> dict[Chunk, Record]:
        records: dict[Chunk, Record] = {}
        for key, data in self.ledger.read_many(keys):
            if data is None:
                continue
            try:
                records.update(_unpack(data))
            except DamagedRecordsError as error:
                self.ledger.damaged[key] = str(error)
        return records

    def digest(self) -> str:
        """Digest of the merged records, which is stored with each table of the maps."""
        return digest_bytes(self.ledger.read(self._folded) or b"")

    def fold(self, retain: Iterable[Chunk]) -> tuple[dict[Chunk, Record], dict[Chunk, Record]]:
        """Merge single records into one object; records of chunks outside `retain` are dropped.

        Returns the records, row by row, and those that were merged before.
        """
        before = self._records([self._folded])
        stored = before | self._records([f"manifest/{self.stage}/{name}" for name in self.parts()])
        records = {chunk: stored[chunk] for chunk in sorted(retain) if chunk in stored}
        self.write_all(list(records.items()))
        self.ledger.remove_all(f"manifest/{self.stage}")
        return records, before

    def remove(self) -> None:
        """Drop all records, such as those of a stage that the recipe no longer has."""
        self.ledger.remove(self._folded)
        self.ledger.remove_all(f"manifest/{self.stage}")


def changed_chunks(name: str, before: Mapping[Chunk, Record], now: Mapping[Chunk, Record]) -> list[Chunk]:
    """Chunks of a layer whose stored bytes are others than their record stated before."""
    return [
        chunk
        for chunk, record in now.items()
        if chunk not in before or before[chunk].outputs.get(name) != record.outputs.get(name)
    ]


def _pack(records: Sequence[tuple[Chunk, Record]]) -> bytes:
    """Records as JSON; what many share stands once, so 100 000 tiles stay at about 200 bytes each."""
    shared: list[list[Any]] = []
    places: dict[str, int] = {}
    tiles: dict[str, list[Any]] = {}
    for chunk, record in records:
        ins, outs = sorted(record.inputs), sorted(record.outputs)
        common = [record.origin, record.model, ins, outs]
        place = places.setdefault(json.dumps(common), len(shared))
        if place == len(shared):
            shared.append(common)
        tiles[f"{chunk[0]}.{chunk[1]}"] = [
            place,
            " ".join(record.inputs[name] for name in ins),
            " ".join(record.outputs[name] for name in outs),
            *([] if record.tally is None and record.statistics is None else [record.tally]),
            *([] if record.statistics is None else [record.statistics]),
        ]
    return json.dumps(sealed({"format": FORMAT, "shared": shared, "tiles": tiles}), separators=(",", ":")).encode()


def _unpack(data: bytes) -> dict[Chunk, Record]:
    """Records of one object; none of an older format, which had no checksum.

    Raises
    ------
    DamagedRecordsError
    """
    try:
        content = json.loads(data)
        if CHECKSUM not in content and content["format"] < FORMAT:
            return {}
        if not is_sealed(content):
            raise DamagedRecordsError("does not match its checksum")
        records: dict[Chunk, Record] = {}
        shared, tiles = content["shared"], content["tiles"] if content["format"] == FORMAT else {}
        for key, (place, ins, outs, *numbers) in tiles.items():
            origin, model, names, outputs = shared[place]
            y, x = key.split(".")
            records[int(y), int(x)] = Record(
                dict(zip(names, ins.split())),
                origin,
                model,
                dict(zip(outputs, outs.split())),
                *numbers,
            )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedRecordsError(f"does not decode ({type(error).__name__}: {error})") from error
    return records


def migration_note(content: Mapping[str, Any], where: str) -> str:
    """One line for a store with records of an older format; empty for the present format."""
    stored = content.get("format")
    if stored == FORMAT:
        return ""
    return (
        f"{where}: written by tpsoil {content.get('tpsoil', '?')} with run format {stored}, this tpsoil writes format "
        f"{FORMAT}; its layers are read as they are, its tiles are computed once more and recorded in the new format"
    )


def check_format(content: Mapping[str, Any], where: str) -> None:
    """Reject a store that a newer tpsoil wrote.

    Raises
    ------
    InputError
    """
    stored = content.get("format")
    if not isinstance(stored, int) or stored > FORMAT:
        raise InputError(
            f"{where}: written by tpsoil {content.get('tpsoil', '?')} with run format {stored}, "
            f"this tpsoil reads formats up to {FORMAT}; update tpsoil, or give another output"
        )
