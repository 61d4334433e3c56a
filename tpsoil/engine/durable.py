"""Protection against power cuts: files and folders forced to the disk, digests, and objects that carry their own."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import xxhash

SYNC_VARIABLE: Final = "TPSOIL_SYNC"
"""`0` leaves it to the operating system when data reach the disk: a run is faster, and a power cut costs more tiles."""

CHECKSUM: Final = "checksum"
DIGITS: Final = 20
PIECE_BYTES: Final = 2**24


def syncing() -> bool:
    """Whether data are forced to the disk before the record that depends on them."""
    return os.environ.get(SYNC_VARIABLE, "1") != "0"


def sync_files(paths: Iterable[str], root: Path, synced: set[str] | None = None) -> None:
    """Force files to the disk, then the folders that name them, up to the parent folder of `root`.

    Parameters
    ----------
    paths : iterable of str
        Files below `root`; those that are not there are passed over.
    root : Path
        Of the store.
    synced : set of str, optional
        Folders that are on the disk under their names: those above them need not be forced again. Receives more.

    Raises
    ------
    OSError
    """
    if not syncing():
        return
    folders: dict[str, None] = {}
    known, above = synced or (), os.path.dirname(root)
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            _sync(path)
        folder = os.path.dirname(path)
        while folder not in folders:
            folders[folder] = None
            parent = os.path.dirname(folder)
            if folder in known or folder in (above, parent):
                break
            folder = parent
    sync_folders(folders)
    if synced is not None:
        synced.update(folders)


def sync_folders(folders: Iterable[str | Path]) -> None:
    """Force the names in folders to the disk: after files were added, renamed or removed."""
    if not syncing() or sys.platform == "win32":  # which cannot open a folder, and writes names through
        return
    for folder in folders:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            _sync(folder)


def _sync(path: str | Path) -> None:
    handle = os.open(path or os.curdir, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        if sys.platform == "darwin":
            import fcntl

            with contextlib.suppress(OSError):  # a disk without it
                fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
                return
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(content: Mapping[str, Any]) -> str:
    """Digest of a JSON mapping, its own `checksum` left out.

    Examples
    --------
    >>> checksum({"a": 1.5, "checksum": "x"}) == checksum({"a": 1.5})
    True
    """
    unsealed = {key: value for key, value in content.items() if key != CHECKSUM}
    return digest_bytes(json.dumps(unsealed, sort_keys=True, separators=(",", ":")).encode())


def digest_bytes(data: Any) -> str:
    """20 hexadecimal digits, 80 bits, of XXH3 over bytes.

    Protects against accidental damage, not against forgery: a process that can write a chunk can write its record. It
    is as fast as memory, so that a run with nothing to compute costs little more than reading its store.
    """
    return str(xxhash.xxh3_128_hexdigest(data))[:DIGITS]


def digest_file(path: str | Path) -> str | None:
    """Digest of a file's bytes; None where there is none."""
    try:
        with open(path, "rb", buffering=0) as handle:
            if os.fstat(handle.fileno()).st_size <= PIECE_BYTES:
                return digest_bytes(handle.read())
            hasher = xxhash.xxh3_128()
            while piece := handle.read(PIECE_BYTES):
                hasher.update(piece)
            return str(hasher.hexdigest())[:DIGITS]
    except (FileNotFoundError, NotADirectoryError):
        return None


def digest_of(value: Any) -> str:
    """Digest of anything that has a JSON form, independent of the order of keys."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode())


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON mapping with its checksum."""
    plain = json.loads(json.dumps(content))  # numbers and keys as a reader gets them
    return {**plain, CHECKSUM: checksum(plain)}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether a JSON mapping is what was written."""
    return bool(content.get(CHECKSUM) == checksum(content))
