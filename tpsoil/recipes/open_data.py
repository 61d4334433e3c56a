"""Entries of the catalogue as local files with their options and a lock file, or as rasters that are read lazily."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from tpsoil.cube.location import local_path
from tpsoil.errors import AccessError, InputError
from tpsoil.ingest import Raster, read_raster
from tpsoil.ingest.part import Part, open_raster
from tpsoil.sources import Cache, Choice, Client, OfflineError, Plan, SourceChangedError, fetch_file, plan, read
from tpsoil.sources.lockfile import Locked, locked_file, read_lock, write_lock
from tpsoil.sources.regions import Piece, empty_window, read_window, values_digest

Box = tuple[float, float, float, float]

FINER: Final = 0.9
"""Cells below this share of the source's are finer than it; the sources' own cells are nominal."""
LOCK_NAME: Final = "sources.lock"
WINDOWS: Final = "source_windows"
"""Attribute with a digest of the windows that a layer was computed from: addresses, places and values."""


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


@dataclass
class OpenData:
    """Reads entries through one cache, and records every file that they were read from.

    Parameters
    ----------
    cache : Cache
    lock : Path or None
        The lock file; None where the store is not a local one.
    known : mapping of str to Locked, optional
        What the lock file names, where nothing else is accepted.
    owners : dict of str to str
        Entry of each file that was requested.
    windows : dict of str to dict
        Of each file the windows that were read, with their digests.
    """

    cache: Cache
    lock: Path | None = None
    known: Mapping[str, Locked] | None = None
    owners: dict[str, str] = field(default_factory=dict)
    windows: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, store: str | None) -> OpenData:
        """For the layers of a store; of None without a lock file.

        Raises
        ------
        MissingInputError, InputError
            For a lock file that is required and missing, or is none.
        """
        lock = None if store is None else lock_path(store)
        client = network.client or Client(offline=network.offline)
        if network.locked and lock is None:
            raise InputError("locked: there is no lock file without a local store; name one, or leave locked out")
        known = read_lock(lock) if network.locked and lock is not None else None
        versions = None if known is None else {url: one.version for url, one in known.items()}
        cache = (
            Cache(client, locked=versions) if network.cache is None else Cache(client, Path(network.cache), versions)
        )
        return cls(cache, lock, known)

    def plan(self, choice: Choice, box: Box, metres: float) -> Plan:
        """What of an entry a box needs; reads headers only."""
        with self._named(choice):
            return plan(choice, box, metres, self.cache)

    def read(self, one: Plan, progress: Callable[[int], None] | None = None) -> list[Path]:
        """The windows of a plan as local files.

        Raises
        ------
        SourceChangedError
            For a window with other values than the lock file names.
        """
        with self._named(one.choice):
            paths = [read(piece, self.cache, progress) for piece in one.pieces]
        for piece, path in zip(one.pieces, paths, strict=True):
            self._record(piece.url, piece.key, values_digest(path))
        return paths

    def file(self, choice: Choice, box: Box) -> Path:
        """The polygons or rows of an entry in a box as a local file."""
        with self._named(choice):
            path = fetch_file(choice, box, self.cache)
            url = sorted(self.cache.trace)[0] if self.cache.trace else choice.url()
        self._record(url, ",".join(f"{value:g}" for value in box), hashlib.sha256(path.read_bytes()).hexdigest())
        return path

    def attributes(self, one: Plan, metres: float) -> dict[str, str]:
        """What a layer on cells of this size states of its source."""
        entry = one.choice.entry
        attrs = {
            "licence": entry.licence,
            "citation": entry.citation,
            "catalogue": one.choice.text,
            "source_version": ", ".join(text for text in (entry.version, entry.years) if text),
        }
        if one.absent:
            attrs["absent_tiles"] = f"{len(one.absent)}: {entry.absent_tiles}"
        overviews = sorted({piece.overview for piece in one.pieces})
        if overviews != [1]:
            attrs["read_at_overview"] = ", ".join(map(str, overviews))
        if metres < FINER * entry.resolution_m:
            attrs["notes"] = f"cells of {metres:g} m are finer than the source, {entry.resolution_m:g} m"
        versions = [f"{piece.url}|{piece.key}|{self.windows.get(piece.url, {}).get(piece.key)}" for piece in one.pieces]
        if self.windows:
            attrs[WINDOWS] = hashlib.sha256("\n".join(sorted(versions)).encode()).hexdigest()[:16]
        if self.lock is not None and self.windows:
            attrs["source_lock"] = self.lock.name
        return attrs

    def write_lock(self) -> None:
        """Add every file that was read to the lock file."""
        if self.lock is None or not self.owners:
            return
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        used = self.cache.used
        write_lock(
            self.lock,
            [locked_file(used[name], name, entry, self.windows.get(name, {})) for name, entry in self.owners.items()],
        )

    def _record(self, url: str, key: str, digest: str) -> None:
        locked = None if self.known is None else self.known.get(url)
        if locked is not None and locked.windows.get(key, digest) != digest:
            raise SourceChangedError(
                f"{url}: has other values in the window {key} than {LOCK_NAME} names; fetch without "
                "--locked to take them"
            )
        self.windows.setdefault(url, {})[key] = digest

    @contextlib.contextmanager
    def _named(self, choice: Choice) -> Iterator[None]:
        """Errors of a server with the layer; and requested files as the entry's."""
        try:
            yield
        except OfflineError as error:
            raise OfflineError(f"{choice.entry.layer}: {error}") from error
        except AccessError as error:
            raise AccessError(f"{choice.entry.layer}: {error}") from error
        finally:
            for name in self.cache.used:
                self.owners.setdefault(name, choice.entry.name)


def read_options(one: Plan) -> dict[str, Any]:
    """How `add_layer`, `read_raster` and `[[layers]]` read the files of a plan."""
    entry = one.choice.entry
    options: dict[str, Any] = {"units": entry.unit}
    if entry.kind == "categorical":
        options["kind"] = "categorical"
        if entry.flags:
            options["flags"] = dict(entry.flags)
    elif entry.driver not in {"netcdf", "zarr"}:  # these state their own
        options |= {"scale": entry.scale, "offset": entry.offset}
    if entry.driver in {"netcdf", "zarr"}:
        options |= {"variable": entry.variable, "crs": entry.crs}
        if entry.reduce:
            options["combine"] = entry.reduce
    elif len(one.pieces) > 1:
        options["combine"] = "mosaic"
    if len(one.choice.missing) == 1:
        options["nodata"] = one.choice.missing[0]
    elif one.choice.missing:
        options["nodata"] = one.choice.missing
    return options


def lock_path(store: str) -> Path | None:
    """The lock file of a store; None for one that is not local."""
    path = local_path(store)
    return None if path is None else path.with_name(f"{path.name.removesuffix('.zarr')}.{LOCK_NAME}")


def lazy_raster(one: Plan, cache: Cache) -> Raster:
    """The windows of a plan as one raster; only the windows of windows that are computed are fetched.

    Parameters
    ----------
    one : Plan
    cache : Cache

    Returns
    -------
    Raster
        Its values equal those of the fetched windows bit for bit.

    Raises
    ------
    UnitsError, GridError, InputError
        As `read_raster`.
    """
    options = read_options(one)
    spec = one.choice.entry.described()
    for key in ("kind", "flags"):
        options.pop(key, None)
    windows = [piece for piece in one.pieces if isinstance(piece, Piece)]
    if len(windows) < len(one.pieces):  # the answer of a service is read as a whole
        return read_raster([str(read(piece, cache)) for piece in one.pieces], spec, **options)
    raster = read_raster([str(empty_window(piece, cache)) for piece in windows], spec, **options)
    parts = tuple(
        RemotePart(**{field.name: getattr(part, field.name) for field in fields(Part)}, piece=piece, cache=cache)
        for part, piece in zip(raster.parts, windows, strict=True)
    )
    return replace(raster, parts=parts)


@dataclass(frozen=True)
class RemotePart(Part):
    """A window of a remote raster, fetched by the windows of it that are read.

    Parameters
    ----------
    piece : Piece
        The whole window.
    cache : Cache
    """

    piece: Piece | None = None
    cache: Cache | None = None

    def read(self, rows: slice, cols: slice) -> npt.NDArray[Any]:
        """Values of a window inside the part, as `Part.read` gives them.

        Raises
        ------
        WorkError, AccessError, MissingInputError, SourceChangedError
        """
        if self.piece is None or self.cache is None:
            return super().read(rows, cols)
        outer = self.piece.window
        inner = Window(
            outer.col_off + cols.start, outer.row_off + rows.start, cols.stop - cols.start, rows.stop - rows.start
        )
        with open_raster(str(read_window(replace(self.piece, window=inner), self.cache))) as file:
            values = self.decode(np.asarray(file.read(self.band)))
            if self.masked:
                values[file.read_masks(self.band) == 0] = np.nan
        return values
