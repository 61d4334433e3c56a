"""Contents of the files and URLs that a stage reads: digests of bytes, and the headers of an object."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tpsoil.redaction import public_name
from tpsoil.waiting import call_within, timeout_seconds

from .manifest import digest_file, digest_of

HTTP_SECONDS: Final = 20.0
DESCRIPTIONS: Final = ("zarr.json", ".zmetadata", ".zattrs")
SETTLED_NS: Final = 2 * 10**9
"""The digest of a file that was written this recently is not cached: a second write could leave the same time."""
NOT_CHECKED: Final = "not checked"
"""Content of a source whose server sends neither ETag nor Last-Modified."""
DESCRIPTION_ONLY: Final = "description only: "
"""Before the digest of a Zarr store that is read by HTTP: its chunks cannot be listed."""
HEADERS: Final = frozenset(
    {"created", "etag", "last-modified", "lastmodified", "content-length", "size", "mtime", "generation", "md5hash"}
)
UNCHECKED_REASONS: Final = {
    NOT_CHECKED: "its server sends neither ETag nor Last-Modified",
    DESCRIPTION_ONLY: "chunks of a Zarr store cannot be listed by HTTP; only its description is checked",
}
DECIDING: Final = HEADERS - {"content-length", "size"}

_known: dict[Path, tuple[tuple[int, ...], str]] = {}


def contents_of(files: Sequence[Path], urls: Sequence[str] = ()) -> dict[str, str]:
    """Digest of everything that a stage reads, by name without the folder.

    Parameters
    ----------
    files : sequence of Path
    urls : sequence of str

    Returns
    -------
    dict of str to str
        For each file the digest of its bytes, for each URL one of the headers that its server sends, or `NOT_CHECKED`.
        Names that occur twice are numbered in their order.
    """
    contents: dict[str, str] = {}
    for name, digest in [*((path.name, _digest_of_file(path)) for path in files),
                         *((shown_url(url), digest_of_url(url)) for url in urls)]:  # fmt: skip
        number = 1
        while (key := name if number == 1 else f"{name} ({number})") in contents:
            number += 1
        contents[key] = digest
    return contents


def content_digest(contents: Mapping[str, str]) -> str:
    """One digest of all contents, in their order: of a mosaic the first file wins."""
    return digest_of(list(contents.items()))


def unchecked(contents: Mapping[str, str]) -> list[str]:
    """Names of sources whose changes cannot be recognised, or not all of them, each with the reason."""
    return [
        f"{name} ({reason})"
        for name, digest in contents.items()
        for mark, reason in UNCHECKED_REASONS.items()
        if digest.startswith(mark)
    ]


def shown_url(url: str) -> str:
    """A URL without secrets, which may differ between two runs and must not be stored."""
    return public_name(url)


def digest_of_url(url: str) -> str:
    """Digest of the headers of an object, or of all objects of a Zarr store; else `NOT_CHECKED`.

    Notes
    -----
    Of a Zarr store that is read by HTTP the headers of its description alone, after `DESCRIPTION_ONLY`.
    """
    is_http = url.startswith(("http://", "https://"))
    is_store = is_http and url.split("?")[0].rstrip("/").endswith(".zarr")
    read = partial(_http, url, is_store) if is_http else partial(_objects, url)
    objects = call_within(read, timeout_seconds()) or []  # opening it raises an error with more detail
    headers = [{key.lower(): str(value) for key, value in one.items() if key.lower() in HEADERS} for one in objects]
    if not headers or any(not DECIDING & one.keys() for one in headers):
        return NOT_CHECKED
    return (DESCRIPTION_ONLY if is_store else "") + digest_of([sorted(one.items()) for one in headers])


def _http(url: str, is_store: bool) -> list[Mapping[str, Any]]:
    base, mark, query = url.partition("?")
    places = [f"{base.rstrip('/')}/{name}{mark}{query}" for name in DESCRIPTIONS] if is_store else [url]
    headers: list[Mapping[str, Any]] = []
    for place in places:
        request = urllib.request.Request(place, method="HEAD")
        with (
            contextlib.suppress(urllib.error.HTTPError),
            urllib.request.urlopen(request, timeout=HTTP_SECONDS) as reply,
        ):
            headers.append(dict(reply.headers.items()))
    return headers


def _objects(url: str) -> list[Mapping[str, Any]]:
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    if not system.isdir(path):
        return [dict(system.info(path))]
    every: dict[str, dict[str, Any]] = system.find(path, detail=True)
    return [dict(info, name=name) for name, info in sorted(every.items())]


def _digest_of_file(path: Path) -> str:
    """Digest of a file's bytes, cached while its state does not change."""
    state = os.stat(path)
    key = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    before = _known.get(path)
    if before is not None and before[0] == key:
        return before[1]
    digest = digest_file(path) or ""
    if time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS:
        _known[path] = (key, digest)
    else:
        _known.pop(path, None)
    return digest
