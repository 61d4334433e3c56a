"""What determines a stage's results beside its input layers: options, files, code and packages, with a digest of all.

A record names the digest; its description is stored once, at `_tpsoil/origins/<stage>/<digest>.json`, so that the next
run can report what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import tpsoil
from tpsoil.stage import CONTENT, Stage, decisive_options, reported_options

from .code import code_of, differences, entries_of, listed, report_entries
from .content import content_digest, contents_of
from .ledger import Ledger
from .manifest import digest_of

UNKNOWN: Final = "options, files or code changed"
"""Where an older origin's description is lost."""


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

    def reasons(self, before: Mapping[str, Any] | None) -> list[str]:
        """What changed since another origin of the stage, for messages; `before` is its description."""
        if before is None:
            return [UNKNOWN]
        now = self.description()
        reasons = [
            f"option {key.removeprefix('table.')} {_change(old, new)}"
            for key, old, new in _leaves(before.get("options", {}), now["options"], "")
        ]
        reasons += [
            f"{key} {_change(old, new)}"
            for key, old, new in _leaves(before.get("layers", {}), now["layers"], "")
            if key != "inputs"  # the records name each
        ]
        reasons += [
            f"file {name} {'is new' if old is None else 'is no longer used' if new is None else 'changed'}"
            for name, old, new in differences(before.get("files", {}), self.files)
        ]
        if changed := [
            name.removeprefix("tpsoil.") for name, *_ in differences(before.get("modules", {}), self.modules)
        ]:
            reasons.append(f"tpsoil's code changed: {listed(changed)}")
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
    return Origin(
        stage=stage.name,
        options=decisive_options(stage),
        layers=layers,
        files=contents_of(stage.files, stage.urls),
        entries=entries_of(stage),
        modules=code.modules,
        packages=code.packages,
        version=tpsoil.__version__,
        report=_report_digest(stage),
    )


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
            f"{word} {listed([_short(one) for one in these if one not in those])}"
            for word, these, those in (("gained", now, before), ("lost", before, now))
            if any(one not in those for one in these)
        ]
        if parts:
            return " and ".join(parts)
    return f"changed from {_short(before)} to {_short(now)}"


def _short(value: Any) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
