"""Where stores are: a path or URL, and the zarr store behind it, opened once in a process."""

from __future__ import annotations

import re
from functools import lru_cache

from zarr.abc.store import Store

from tpsoil.cube.location import open_store as open_any_store

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
    """Whether a URL carries a user or password, which would end in manifests and logs."""
    return _SECRET.match(text) is not None


@lru_cache(maxsize=64)
def open_store(where: str, read_only: bool = False) -> Store:
    """The zarr store at a path or URL; the same object for the same name in one process."""
    return open_any_store(where, read_only=read_only)
