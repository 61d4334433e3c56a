"""Assets of a STAC search: every page of it, the items of an entry, their tokens."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any, Final

from tpsoil.errors import AccessError, WorkError

from .addresses import shown
from .cache import Cache
from .catalogue import Choice

MOST_PAGES: Final = 200


def assets(choice: Choice, box: tuple[float, float, float, float], cache: Cache) -> list[str]:
    """Addresses of the rasters that a search lists for a box, without tokens, by the ids of their items.

    Parameters
    ----------
    choice : Choice
        Of an entry with the driver "stac".
    box : (west, south, east, north)
        Degrees.
    cache : Cache

    Raises
    ------
    AccessError
        Where the service does not answer, and the cache has no answer of it.
    WorkError
        For an answer that is no list of items, or one whose pages do not end.
    """
    entry = choice.entry
    west, south, east, north = (round(value, 5) for value in box)
    hrefs: dict[str, str] = {}
    for item in _items(choice.url(box=(west, south, east, north)), cache):
        name = str(item.get("id", ""))
        asset = item.get("assets", {}).get(entry.asset)
        if not name.startswith(entry.items) or not isinstance(asset, dict):
            continue
        href = str(asset.get("href", ""))
        if urllib.parse.urlsplit(href).scheme not in {"http", "https"}:
            raise WorkError(f"{entry.name}: item {name} is at {shown(href)}, expected an address of http or https")
        hrefs[name] = href
        if entry.token:
            parts = urllib.parse.urlsplit(href)
            container = parts.path.split("/")[1]
            cache.client.tokens.register(f"{parts.scheme}://{parts.netloc}/{container}/", entry.token)
    return [hrefs[name] for name in sorted(hrefs)]


def _items(url: str, cache: Cache) -> Iterator[dict[str, Any]]:
    visited: set[str] = set()
    while url:
        if url in visited or len(visited) >= MOST_PAGES:
            raise WorkError(f"{shown(url)}: the pages of the search do not end; report it to the provider")
        visited.add(url)
        path = cache.answer(url, suffix=".json", ask_first=True)
        try:
            page = json.loads(path.read_bytes())
            features = list(page["features"])
        except (ValueError, KeyError, TypeError) as error:
            path.unlink(missing_ok=True)
            raise WorkError(
                f"{shown(url)}: is no list of STAC items ({type(error).__name__}); try again later"
            ) from error
        yield from features
        url = _next(page, url)


def _next(page: dict[str, Any], url: str) -> str:
    """Address of the next page; empty after the last."""
    for link in page.get("links", []):
        if link.get("rel") == "next":
            if str(link.get("method", "GET")).upper() != "GET":
                raise AccessError(
                    f"{shown(url)}: its next page wants POST, which is not supported; use GET in the entry"
                )
            return urllib.parse.urljoin(url, str(link["href"]))
    return ""
