"""What determines a stage's results beside its input layers: options, files, code and packages, with a digest of all.

A record names the digest; its description is stored once, at `_tpsoil/origins/<stage>/<digest>.json`, so that the next
run can report what changed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import tpsoil
from tpsoil.errors import listed
from tpsoil.redaction import public_name
from tpsoil.stage import CONTENT, Stage, decisive_options, reported_options, training_options
from tpsoil.waiting import call_within, timeout_seconds

from .code import code_of, entries_of, report_entries
from .durable import digest_file, digest_of
from .ledger import Ledger
from .manifest import differences, kind_of_change

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
UNKNOWN: Final = "options, files or code changed"
"""Where an older origin's description is lost."""

_known: dict[Path, tuple[tuple[int, ...], str]] = {}


@dataclass(frozen=True)
class Origin:
    """What determines the results of one stage.

    Parameters
    ----------
    stage : str
    options : mapping
        As `decisive_options` has them.
    layers : mapping
        Outputs, names of inputs, halo and tiling.
    files : mapping of str to str
        Digests of the files and URLs that it reads.
    entries : tuple of str
        Modules of its functions.
    modules, packages : mapping of str to str
        As in `Code`.
    version : str
        Of tpsoil.
    report : str
        Digest of what else decides the tables that the stage reports beside its maps: no record of a tile names it.
    training : str
        Digest of what of it determines the model; "" where all of it does.
    section : str
        Table of the recipe, for messages; no part of the digest.
    """

    stage: str
    options: Mapping[str, Any]
    layers: Mapping[str, Any]
    files: Mapping[str, str]
    entries: tuple[str, ...]
    modules: Mapping[str, str]
    packages: Mapping[str, str]
    version: str
    report: str = ""
    training: str = ""
    section: str = ""

    def description(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "options": self.options,
            "layers": self.layers,
            "files": self.files,
            "entries": list(self.entries),
            "modules": self.modules,
            "packages": self.packages,
            "tpsoil": self.version,
        }

    @cached_property
    def digest(self) -> str:
        """Of all of it."""
        return digest_of(self.description())

    @property
    def of_model(self) -> str:
        """Digest of what determines the model, stored with it."""
        return self.training or self.digest

    @cached_property
    def content(self) -> str:
        """Digest of what the files and URLs contain, under which their readers are cached."""
        return content_digest(self.files)

    def with_content(self, stage: Stage) -> Stage:
        """The stage with the option `content`, as its functions get it."""
        return replace(stage, options={**stage.options, CONTENT: self.content})

    def with_current_code(self) -> Origin:
        """The same with the installed tpsoil and packages."""
        code = code_of(self.entries)
        return replace(self, modules=code.modules, packages=code.packages, version=tpsoil.__version__)

    def _key(self, option: str) -> str:
        """Name of an option for messages: of the table of a recipe the key as the recipe has it."""
        if self.section and option.startswith("table."):
            return f"{self.section}.{option.removeprefix('table.')}"
        return f"option {option.removeprefix('table.')}"

    def reasons(self, before: Mapping[str, Any] | None) -> list[str]:
        """What changed since another origin of the stage, for messages; `before` is its description."""
        if before is None:
            return [UNKNOWN]
        now = self.description()
        reasons = [
            f"{self._key(key)} {_change(old, new)}"
            for key, old, new in _leaves(before.get("options", {}), now["options"], "")
        ]
        reasons += [
            f"{key} {_change(old, new)}"
            for key, old, new in _leaves(before.get("layers", {}), now["layers"], "")
            if key != "inputs"  # the records name each
        ]
        reasons += [
            f"file {name} {kind_of_change(old, new)}"
            for name, old, new in differences(before.get("files", {}), self.files)
        ]
        if changed := [
            name.removeprefix("tpsoil.") for name, *_ in differences(before.get("modules", {}), self.modules)
        ]:
            reasons.append(f"tpsoil's code changed: {listed(changed, 3)}")
        reasons += [
            f"{name} changed from {old or 'not used'} to {new or 'not used'}"
            for name, old, new in differences(before.get("packages", {}), self.packages)
        ]
        if before.get("tpsoil") != self.version:
            reasons.append(f"tpsoil changed from {before.get('tpsoil')} to {self.version}")
        return reasons or [UNKNOWN]


def origin_of(stage: Stage, shape: tuple[int, int], chunk: int) -> Origin:
    """What determines a stage's results now.

    Parameters
    ----------
    stage : Stage
    shape : (ny, nx)
        Of the output.
    chunk : int
        Side of its chunks.

    Returns
    -------
    Origin
    """
    code = code_of(entries_of(stage))
    outputs = {
        output.name: [output.dtype, output.kind, output.units, sorted(output.flags.items())] for output in stage.outputs
    }
    layers: dict[str, Any] = {"outputs": outputs, "inputs": sorted(stage.inputs), "halo": stage.halo}
    layers |= {"chunk": chunk, "shape": list(shape)}
    origin = Origin(
        stage=stage.name,
        options=decisive_options(stage),
        layers=layers,
        files=contents_of(stage.files, stage.urls) | dict(stage.contents),
        entries=entries_of(stage),
        modules=code.modules,
        packages=code.packages,
        version=tpsoil.__version__,
        report=_report_digest(stage),
        section=stage.section,
    )
    if not stage.mapped:
        return origin
    layers = {key: value for key, value in layers.items() if key != "outputs"}
    return replace(origin, training=replace(origin, options=training_options(stage), layers=layers).digest)


def _report_digest(stage: Stage) -> str:
    if stage.report is None:
        return ""
    code = code_of(report_entries(stage))
    return digest_of([reported_options(stage), code.modules, code.packages])


def origin_from(stage: str, content: Mapping[str, Any]) -> Origin:
    """The origin from its description.

    Raises
    ------
    KeyError
        For a description of another format.
    """
    return Origin(
        stage=stage,
        options=content["options"],
        layers=content["layers"],
        files=content["files"],
        entries=tuple(content["entries"]),
        modules=content["modules"],
        packages=content["packages"],
        version=content["tpsoil"],
    )


def write_origin(ledger: Ledger, origin: Origin) -> None:
    """Store an origin's description, before the first record that names it."""
    key = _key(origin.stage, origin.digest)
    if ledger.read_json(key) is None:
        ledger.write_json(key, origin.description())


def read_origin(ledger: Ledger, stage: str, digest: str) -> dict[str, Any] | None:
    """The description of a record's digest; None where it is lost."""
    return ledger.read_json(_key(stage, digest))


def remove_other_origins(ledger: Ledger, origin: Origin) -> None:
    """Remove the descriptions that no record refers to."""
    for name in ledger.names(f"origins/{origin.stage}"):
        if name != f"{origin.digest}.json":
            ledger.remove(f"origins/{origin.stage}/{name}")


def _key(stage: str, digest: str) -> str:
    return f"origins/{stage}/{digest}.json"


def _leaves(before: Any, now: Any, at: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, before, now) of the innermost values that differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            yield from _leaves(before.get(key), now.get(key), f"{at}.{key}" if at else str(key))
    elif digest_of(before) != digest_of(now):
        yield at, before, now


def _change(before: Any, now: Any) -> str:
    """What changed in a value; of two lists the items that only one has."""
    if isinstance(before, list) and isinstance(now, list):
        parts = [
            f"{word} {listed([_short(one) for one in these if one not in those], 3)}"
            for word, these, those in (("gained", now, before), ("lost", before, now))
            if any(one not in those for one in these)
        ]
        if parts:
            return " and ".join(parts)
    return f"changed from {_short(before)} to {_short(now)}"


def _short(value: Any) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


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
                         *((public_name(url), digest_of_url(url)) for url in urls)]:  # fmt: skip
        number = 1
        while (key := name if number == 1 else f"{name} ({number})") in contents:
            number += 1
        contents[key] = digest
    return contents


def content_digest(contents: Mapping[str, str]) -> str:
    """One digest of what `contents_of` gives, in its order: of a mosaic the first file wins."""
    return digest_of(list(contents.items()))


def unchecked(contents: Mapping[str, str]) -> list[str]:
    """Names of sources whose changes cannot be recognised, or not all of them, each with the reason."""
    return [
        f"{name} ({reason})"
        for name, digest in contents.items()
        for mark, reason in UNCHECKED_REASONS.items()
        if digest.startswith(mark)
    ]


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
    import urllib.error
    import urllib.request

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
