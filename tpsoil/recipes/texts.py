"""Keys and texts of a recipe that no table may have: control characters, and names that no file system takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

PROSE: Final = frozenset(
    {"description", "citation", "reason", "licence", "meaning", "title", "label", "comment", "crs"}
)
"""Keys whose texts, among them a CRS as WKT, may have lines and any length up to `PROSE_CHARACTERS`."""
PROSE_CHARACTERS: Final = 100_000
NAME_BYTES: Final = 255
"""Of one name between the slashes of a path: the limit of ext4, XFS, APFS and NTFS."""
PATH_CHARACTERS: Final = 4096

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that reverse the direction of a line, and halves of characters."""


def text_faults(raw: Mapping[str, Any]) -> list[str]:
    """Faults of a recipe's texts, before anything else reads them.

    Parameters
    ----------
    raw : mapping
        The recipe as it was written.

    Returns
    -------
    list of str
        One line per fault, each with a bounded part of the text.

    Examples
    --------
    >>> text_faults({"run": {"name": "maps", "output": "a\\x00b"}})
    ["run.output: 'a\\\\x00b' has the character '\\\\x00' at position 2; remove it"]
    """
    return [fault for key, text, prose in _texts(raw, "", False) for fault in _faults(key, text, prose)]


def _texts(value: Any, at: str, prose: bool) -> Iterator[tuple[str, str, bool]]:
    if isinstance(value, str):
        yield at, value, prose
    elif isinstance(value, Mapping):
        for key, item in value.items():
            name = str(key)
            yield f"{at}: a key" if at else "a key", name, False
            yield from _texts(item, f"{at}.{shortened(name)}" if at else shortened(name), name in PROSE)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value, 1):
            yield from _texts(item, f"{at}[{number}]", prose)


def _faults(at: str, text: str, prose: bool) -> Iterator[str]:
    if match := _CONTROL.search(text):
        yield f"{at}: {shortened(text)!r} has the character {match[0]!r} at position {match.start() + 1}; remove it"
    limit = PROSE_CHARACTERS if prose else PATH_CHARACTERS
    if len(text) > limit:
        yield f"{at}: {shortened(text)!r} has {len(text)} characters, expected at most {limit}"
    elif not prose and "://" not in text and not at.endswith(".source"):  # a path, or a reference
        longest = max(re.split(r"[/\\]", text), key=len)
        if len(longest.encode("utf-8", "replace")) > NAME_BYTES:
            yield f"{at}: the name {shortened(longest)!r} has {len(longest)} characters, expected at most {NAME_BYTES}"


def shortened(text: str, characters: int = 60) -> str:
    """The beginning of a text.

    Examples
    --------
    >>> shortened("n" * 100, 5)
    'nnnnn...'
    """
    return text if len(text) <= characters else f"{text[:characters]}..."
