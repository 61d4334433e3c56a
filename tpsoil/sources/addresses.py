"""Addresses of sources: without secrets, with a login, those of mirrors, and of tiles."""

from __future__ import annotations

import netrc
import os
import urllib.parse
from itertools import product

import urllib3


def credentials(url: str) -> dict[str, str]:
    """The header with the login that the user's netrc file has for a host; empty without one."""
    host = urllib.parse.urlsplit(url).hostname or ""
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        entry = netrc.netrc(path).hosts.get(host)
    except (OSError, netrc.NetrcParseError):
        return {}
    if entry is None:
        return {}
    return dict(urllib3.make_headers(basic_auth=f"{entry[0]}:{entry[2] or ''}"))


def shown(url: str) -> str:
    """An address as messages, lock files and attributes show it: without user, password and query.

    Examples
    --------
    >>> shown("https://me:secret@host.org/a/b.tif?token=abc")
    'https://host.org/a/b.tif'
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if parts.port:
        host += f":{parts.port}"
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def host_of(url: str) -> str:
    """Name and port of an address's server."""
    return urllib.parse.urlsplit(url).netloc


def different_beginnings(url: str, mirror: str) -> tuple[str, str]:
    """Two addresses without the path components at their ends that are equal.

    Examples
    --------
    >>> different_beginnings("https://a.org/data/clay/clay.vrt", "https://b.org/copy/clay/clay.vrt")
    ('https://a.org/data/', 'https://b.org/copy/')
    """
    first, second = url.split("/"), mirror.split("/")
    while len(first) > 3 and len(second) > 3 and first[-1] == second[-1]:
        first.pop()
        second.pop()
    return "/".join([*first, ""]), "/".join([*second, ""])


def tile_corners(bounds: tuple[float, float, float, float], degrees: int) -> list[tuple[int, int]]:
    """Lower left corners (latitude, longitude) of the tiles that a box touches.

    Examples
    --------
    >>> tile_corners((88.2, 29.5, 89.0, 30.5), 1)
    [(29, 88), (30, 88)]
    """
    west, south, east, north = bounds
    eps = 1e-9

    def steps(low: float, high: float) -> range:
        first = int((low + eps) // degrees) * degrees
        return range(first, int(-(-(high - eps) // degrees)) * degrees, degrees)

    return list(product(steps(south, north), steps(west, east)))
