"""A cache of pieces of remote files: what was read once is read from the disk, also without a network.

One folder a file, named by a digest of its address (without credentials and query):

    META        JSON: address, length, ETag, Last-Modified
    N.piece     bytes N * PIECE to (N + 1) * PIECE, with their digest in front

Answers of services (a subset, a page of a search) are stored complete, under `answers`, by address and query.

A piece is written beside its place and renamed, so that a killed process leaves complete pieces only; one that does not
match its digest is fetched again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tpsoil.errors import AccessError, MissingInputError, TpsoilError

from .addresses import shown
from .transfer import Client, ClientSettings, OfflineError, Remote, SourceChangedError

PIECE: Final = 16 * 1024
"""Bytes; about half of a compressed 256 x 256 block of a SoilGrids or DEM tile."""
LONGEST_RUN: Final = 256
"""Maximum number of pieces in one request: 4 MB."""
META: Final = "META"
ABSENT: Final = -1
"""Length of a file that the source does not have, such as a tile of the sea."""
_DIGEST: Final = 16


def cache_folder() -> Path:
    """The folder of cached pieces: `TPSOIL_CACHE`, else the user's cache folder.

    Examples
    --------
    >>> cache_folder().name
    'sources'
    """
    base = os.environ.get("TPSOIL_CACHE")
    if base:
        return Path(base).expanduser() / "sources"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tpsoil" / "sources"


@dataclass
class Cache:
    """Remote files by pieces.

    Parameters
    ----------
    client : Client
    folder : Path, optional
        `cache_folder()` by default.
    locked : mapping of str to str, optional
        Address (as `shown`) to the version that a lock file names; any other version is an error.
    used : dict of str to Remote
        Answers of this process, by address.
    trace : set of str
        Addresses of the requests since the caller emptied it.
    failure : TpsoilError or None
        Why the last read of a `CachedFile` gave no bytes: an exception must not cross GDAL, which reads them.
    lock : RLock
        Held while a window is read: threads share `trace` and `failure`.

    Notes
    -----
    In another process a cache has the same folder, and a client of its own with the same settings.
    """

    client: Client
    folder: Path = field(default_factory=cache_folder)
    locked: dict[str, str] | None = None
    used: dict[str, Remote] = field(default_factory=dict)
    trace: set[str] = field(default_factory=set)
    failure: TpsoilError | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Recipes take relative paths from their own folder, not from the working one.
        self.folder = Path(self.folder).absolute()

    def __reduce__(self) -> Any:
        return _rebuilt, (self.client.settings, self.folder, self.locked)

    def open(self, url: str) -> CachedFile:
        """A remote file to read from.

        Raises
        ------
        MissingInputError, AccessError
            As `Client.describe`.
        SourceChangedError
            For a version that a lock file does not name.
        """
        remote = self.remote(url)
        return CachedFile(self, remote)

    def remote(self, url: str) -> Remote:
        """Current state of a file at its source; the cached state if no server answers.

        Notes
        -----
        A changed file empties its cache: pieces of two versions never meet.
        """
        name = shown(url)
        self.trace.add(name)
        if name in self.used:
            return self.used[name]
        place = self.place(url)
        cached = _cached_remote(place, url)
        try:
            remote = cached if cached is not None and self.client.offline else self.client.describe(url)
        except MissingInputError:
            _write_meta(place, name, Remote(url, ABSENT))
            raise
        except AccessError as error:
            # The local copy works with the server down.
            if cached is None or isinstance(error, OfflineError):
                raise
            remote = cached
        if cached is not None and not remote.etag and not remote.last_modified and cached.length == remote.length:
            remote = cached  # a mirror: what it states of its copy does not hold for the file's own server
        if remote.length == ABSENT:
            raise MissingInputError(f"{name}: the server had no such file at the last request")
        if cached is not None and cached.version != remote.version:
            shutil.rmtree(place, ignore_errors=True)
            cached = None
        self._require_locked(name, remote)
        if cached is None:
            _write_meta(place, name, remote)
        self.used[name] = remote
        return remote

    def place(self, url: str) -> Path:
        """The folder of a file's pieces."""
        return self.folder / hashlib.sha256(shown(url).encode()).hexdigest()[:32]

    def window(self, stem: str, identity: str, suffix: str) -> Path:
        """The file of a part of a source, by what it is made of."""
        return self.folder / "windows" / f"{stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}{suffix}"

    def read(self, remote: Remote, start: int, stop: int) -> bytes:
        """Bytes of a file: what is missing is fetched, neighbouring pieces in one request."""
        stop = min(stop, remote.length)
        if start >= stop:
            return b""
        first, last = start // PIECE, (stop - 1) // PIECE
        place = self.place(remote.url)
        pieces = {number: _read(place / f"{number}.piece") for number in range(first, last + 1)}
        missing = [number for number, data in pieces.items() if data is None]
        for run, data in self._fetched(remote, missing):
            for number in run:
                at = (number - run[0]) * PIECE
                piece = data[at : at + PIECE]
                _write(place / f"{number}.piece", hashlib.sha256(piece).digest()[:_DIGEST] + piece)
                pieces[number] = piece
        content = b"".join(pieces[number] or b"" for number in range(first, last + 1))
        return content[start - first * PIECE : stop - first * PIECE]

    def answer(self, url: str, *, suffix: str, ask_first: bool = False) -> Path:
        """The whole answer of a service, as a file.

        Parameters
        ----------
        url : str
            With its query, which has no secret.
        suffix : str
            Of the file, such as ".nc".
        ask_first : bool
            Ask the service where there is a network, and use what is kept only where it does not answer. Otherwise
            what is kept is used, so that the same request gives the same bytes.

        Raises
        ------
        MissingInputError, AccessError
        SourceChangedError
            For an answer that a lock file does not name.
        """
        path = self.folder / "answers" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}{suffix}"
        data = _read(path.with_name(f"{path.name}.digest")) if path.exists() else None
        content = path.read_bytes() if data is not None else b""
        if data is not None and hashlib.sha256(content).digest() != data:
            data = None
        if data is None or (ask_first and not self.client.offline):
            try:
                content = self.client.body(url)
            except AccessError:
                if data is None:
                    raise
        if not ask_first:
            remote = Remote(url, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")
            self._require_locked(url, remote)
            self.trace.add(url)
            self.used[url] = remote
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(content).digest()
        if data != digest:
            _write(path, content)
            _write(path.with_name(f"{path.name}.digest"), hashlib.sha256(digest).digest()[:_DIGEST] + digest)
        return path

    def forget(self, url: str) -> None:
        """Drop a file's pieces, such as ones that do not decode."""
        shutil.rmtree(self.place(url), ignore_errors=True)
        self.used.pop(shown(url), None)

    def _fetched(self, remote: Remote, missing: Sequence[int]) -> Iterator[tuple[list[int], bytes]]:
        runs: list[list[int]] = []
        for number in missing:
            if runs and number == runs[-1][-1] + 1 and len(runs[-1]) < LONGEST_RUN:
                runs[-1].append(number)
            else:
                runs.append([number])

        def fetch(run: list[int]) -> tuple[list[int], bytes]:
            return run, self.client.read(remote, run[0] * PIECE, min((run[-1] + 1) * PIECE, remote.length))

        if len(runs) == 1:
            yield fetch(runs[0])
            return
        with ThreadPoolExecutor(self.client.policy.connections) as pool:
            yield from pool.map(fetch, runs)

    def _require_locked(self, name: str, remote: Remote) -> None:
        if self.locked is None:
            return
        if name not in self.locked:
            raise SourceChangedError(f"{name}: sources.lock does not name it; fetch without --locked to add it")
        at_mirror = not remote.etag and not remote.last_modified
        if at_mirror and self.locked[name].endswith(remote.version.rpartition("|")[2]):
            return  # the digest of the window is compared when it is read
        if self.locked[name] != remote.version:
            raise SourceChangedError(
                f"{name}: is another version ({remote.version}) than sources.lock names ({self.locked[name]}); fetch "
                "without --locked to take it"
            )


class CachedFile(io.RawIOBase):
    """A remote file as Python reads files; every byte is read through the cache."""

    def __init__(self, cache: Cache, remote: Remote) -> None:
        super().__init__()
        self._cache = cache
        self._remote = remote
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._remote.length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Bytes from here on, into a buffer."""
        try:
            data = self._cache.read(self._remote, self._at, self._at + len(buffer))
        except TpsoilError as error:
            self._cache.failure = error
            return 0
        self._at += len(data)
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Bytes to the end, in one request."""
        return self.read(max(0, self._remote.length - self._at))

    @property
    def size(self) -> int:
        """Bytes of the complete file."""
        return self._remote.length


@contextmanager
def completed(target: Path) -> Iterator[Path]:
    """A file to write beside `target`, which it becomes at the end; it is removed after an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _rebuilt(settings: ClientSettings, folder: Path, locked: dict[str, str] | None) -> Cache:
    return Cache(settings.client(), folder, locked)


def _write_meta(place: Path, name: str, remote: Remote) -> None:
    place.mkdir(parents=True, exist_ok=True)
    content = {"url": name, "length": remote.length, "etag": remote.etag, "last_modified": remote.last_modified}
    _write(place / META, json.dumps(content, sort_keys=True).encode())


def _cached_remote(place: Path, url: str) -> Remote | None:
    try:
        content = json.loads((place / META).read_bytes())
        return Remote(url, int(content["length"]), str(content["etag"]), str(content["last_modified"]))
    except (OSError, ValueError, KeyError):
        return None


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = data[_DIGEST:]
    return body if hashlib.sha256(body).digest()[:_DIGEST] == data[:_DIGEST] else None


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except FileNotFoundError:  # somebody emptied the cache meanwhile: the bytes are used, and not kept
        with suppress(OSError):
            partial.unlink()
