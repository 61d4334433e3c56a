"""`sources.lock`: which bytes of which source a cube was computed from."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tpsoil.errors import InputError, MissingInputError

from .cache import completed
from .transfer import Remote

VERSION = 1


@dataclass(frozen=True)
class Locked:
    """One source file.

    Parameters
    ----------
    url : str
        Without credentials and query.
    entry : str
        Of the catalogue.
    etag, last_modified : str
    length : int
        Bytes of the complete file.
    windows : mapping of str to str
        Window that was read (`overview:column,row,width,height`) to SHA-256 of its stored values.
    date : str
        Day of the fetch, ISO 8601.
    """

    url: str
    entry: str
    etag: str
    last_modified: str
    length: int
    windows: Mapping[str, str]
    date: str

    @property
    def version(self) -> str:
        """As `Remote.version`."""
        return Remote(self.url, self.length, self.etag, self.last_modified).version


def read_lock(path: Path) -> dict[str, Locked]:
    """The sources of a lock file by address.

    Raises
    ------
    MissingInputError, InputError
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(one["url"]): Locked(**one) for one in content["sources"]}
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such lock file; fetch once without --locked") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no lock file of sources ({error}); remove it and fetch again") from error


def locked_file(remote: Remote, name: str, entry: str, windows: Mapping[str, str]) -> Locked:
    """What a lock file states of a file that was read.

    Parameters
    ----------
    remote : Remote
    name : str
        Its address, without secrets.
    entry : str
        Of the catalogue.
    windows : mapping of str to str
        Windows with the digests of their values; empty for a file that was read as a part of another, such as a tile.
    """
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return Locked(name, entry, remote.etag, remote.last_modified, remote.length, dict(windows), today)


def write_lock(path: Path, sources: Sequence[Locked]) -> None:
    """Add sources to a lock file; the date of one that has not changed stays."""
    locked: dict[str, Locked] = read_lock(path) if path.exists() else {}
    for one in sources:
        before = locked.get(one.url)
        if before is not None and before.version == one.version:
            windows = {**before.windows, **one.windows}
            locked[one.url] = Locked(**{**asdict(before), "windows": dict(sorted(windows.items()))})
        else:
            locked[one.url] = one
    content: dict[str, Any] = {"version": VERSION, "sources": [asdict(locked[url]) for url in sorted(locked)]}
    with completed(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
