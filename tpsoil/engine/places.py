"""Where stores are: a path or URL, whether two of them are the same, and the zarr store behind one."""

from __future__ import annotations

import os
import posixpath
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tpsoil.cube.location import open_store as open_any_store

if TYPE_CHECKING:
    from zarr.abc.store import Store

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_SECRET = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://[^/@]*@")


def is_url(text: str) -> bool:
    """Whether a store's name is a URL rather than a path.

    Examples
    --------
    >>> is_url("s3://bucket/maps.zarr"), is_url("out/maps.zarr")
    (True, False)
    """
    return _URL.match(text) is not None


def has_secret(text: str) -> bool:
    """Whether a URL carries a user or password, which would be written to manifests and logs."""
    return _SECRET.match(text) is not None


def overlapping(first: str, second: str) -> bool:
    """Whether two places are the same or one is inside the other.

    Parameters
    ----------
    first, second : str
        Paths or URLs; they need not exist.

    Notes
    -----
    Paths are compared without their symbolic links and by the file system's own numbers (device and inode), so that
    bind mounts and names that differ in case only are recognised. URLs are compared by protocol, host and path. Two
    names of one object store (an endpoint's address and `s3://`) are not recognised.

    Examples
    --------
    >>> overlapping("/data/cube.zarr", "/data/./cube.zarr/slope"), overlapping("/data/a.zarr", "/data/ab.zarr")
    (True, False)
    >>> overlapping("s3://bucket/a.zarr/", "S3://bucket//a.zarr"), overlapping("file:///data/a.zarr", "/data/a.zarr")
    (True, True)
    """
    one, other = _parts(first), _parts(second)
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return True
    if one[0] != "" or other[0] != "":
        return False
    own, others = _inodes(one), _inodes(other)
    return own[-1] in others[1:] or others[-1] in own[1:]


def _parts(where: str) -> tuple[str, ...]:
    """Protocol and host ("" for a path), then the names from the root down."""
    address = where.rpartition("::")[2]  # of a chain such as simplecache::s3://bucket/a.zarr
    if not is_url(address):
        path = os.path.realpath(where)
    elif address.lower().startswith("file://"):
        path = os.path.realpath(unquote(urlsplit(address).path))
    else:
        split = urlsplit(address)
        protocol = {"s3a": "s3", "gcs": "gs"}.get(split.scheme.lower(), split.scheme.lower())
        host = split.netloc.rpartition("@")[2].lower()
        path = posixpath.normpath("/" + unquote(split.path))
        return (f"{protocol}://{host}", *(part for part in path.split("/") if part))
    drive, rest = os.path.splitdrive(os.path.normcase(path))
    return ("", drive, *(part for part in rest.split(os.sep) if part))


def _inodes(parts: tuple[str, ...]) -> list[object]:
    """Device and inode of a path's folders from the root down, the path's own last; itself where it does not exist."""
    path, numbers = parts[1] + os.sep, list[object]()
    for part in ("", *parts[2:]):
        path = os.path.join(path, part)
        try:
            state = os.stat(path)
            numbers.append((state.st_dev, state.st_ino) if state.st_ino else path)
        except OSError:
            numbers.append(path)
    return numbers


@lru_cache(maxsize=64)
def open_store(where: str, read_only: bool = False) -> Store:
    """The zarr store at a path or URL; the same object for the same name in one process."""
    return open_any_store(where, read_only=read_only)
