"""The stages of a recipe while its tables add theirs, each stage after those that it reads from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from odc.geo.geobox import GeoBox

from tpsoil.errors import nearest_name
from tpsoil.stage import Stage

INHERITED: Final = ("assumptions", "licences", "citations")
"""Attributes that a map lists of the layers that it was made from."""
Inherited = Mapping[str, tuple[str, ...]]
"""Texts by attribute; licences as `layer: licence`."""


@dataclass
class Assembly:
    """Stages that the tables of a recipe have added, and what a table needs to know of the others.

    Parameters
    ----------
    grid : callable
        The grid of the maps; a recipe without a grid of its own reads it from its cube.
    seed : int
    in_cube : mapping of str to mapping
        Attributes of the layers of the cube that `[run] cube` names: assumptions, licences and citations are inherited.
    trained_on : sequence of str
        Tables that models of the recipe are trained on.
    fetched, fetched_files : mapping of str to mapping
        As in `Recipe`.
    digest : callable
        Of a stage: its options and code.

    Attributes
    ----------
    stages : list of Stage
    available : set of str
        Layers of the cube and of the stages.
    checks : list of (section, callable)
        Each reads a table that the stages of a section will read, raises for what they cannot use, and returns the
        texts of warnings.
    faults : list of str
        Of all tables.
    """

    grid: Callable[[], GeoBox]
    seed: int
    in_cube: Mapping[str, Mapping[str, Any]]
    trained_on: Sequence[str]
    fetched: Mapping[str, Mapping[str, str]]
    fetched_files: Mapping[str, Mapping[str, str]]
    digest: Callable[[Stage], str]
    stages: list[Stage] = field(default_factory=list)
    checks: list[tuple[str, Callable[[], list[str]]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.available = set(self.in_cube)
        self._inherited = inherited_of(self.in_cube)

    def add(self, stages: Sequence[Stage], at: str) -> None:
        """Add stages of the table `at`; layers that none provides or that two provide are faults."""
        for stage in stages:
            for name in stage.inputs:
                if name not in self.available:
                    self.faults.append(
                        f"{at}: needs layer '{name}', which no earlier stage provides"
                        f"{_suggestion(name, self.available)}"
                    )
            for output in stage.outputs:
                if any(output.name == existing.name for earlier in self.stages for existing in earlier.outputs):
                    self.faults.append(
                        f"{at}: provides layer '{output.name}', which another part of the recipe provides too"
                    )
                self.available.add(output.name)
            self.stages += with_inherited([_with_origins(stage, self.fetched_files)], self._inherited)


def read_quietly(table: Any) -> list[str]:
    """Reject what a table of profiles or units cannot use; the run gives its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table.read()
    return []


def with_inherited(stages: Sequence[Stage], inherited: dict[str, Inherited]) -> list[Stage]:
    """Stages whose maps also list assumptions, licences and citations of the layers that they read.

    Parameters
    ----------
    stages : sequence of Stage
    inherited : dict of str to Inherited
        By layer; extended by those of the stages.
    """
    results = []
    for stage in stages:
        own = _inheriting(stage, inherited)
        results.append(own)
        common = own.attributes.get("", {})
        inherited |= inherited_of(
            {output.name: {**common, **own.attributes.get(output.name, {})} for output in stage.outputs}
        )
    return results


def inherited_of(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Inherited]:
    """What maps of these layers inherit; layers without any of it are left out.

    Parameters
    ----------
    layers : mapping of str to mapping
        Attributes by the layer's name.

    Examples
    --------
    >>> inherited_of({"clay": {"licence": "CC-BY-4.0"}, "slope": {}})["clay"]["licences"]
    ('clay: CC-BY-4.0',)
    """
    results: dict[str, Inherited] = {}
    for name, attrs in layers.items():
        texts = {key: _texts(attrs, key) for key in INHERITED}
        texts["licences"] = texts["licences"] or tuple(f"{name}: {text}" for text in _texts(attrs, "licence"))
        texts["citations"] = texts["citations"] or _texts(attrs, "citation")
        if any(texts.values()):
            results[name] = texts
    return results


def _with_origins(stage: Stage, files: Mapping[str, Mapping[str, str]]) -> Stage:
    """A stage that reads files of open data, such as a DEM or polygons of the mask, with their licences."""
    origins = [files[str(file)] for file in stage.files if str(file) in files]
    if not origins or stage.section == "layers":
        return stage
    common = {
        **stage.attributes.get("", {}),
        "licences": list(dict.fromkeys(f"{one['entry']}: {one['licence']}" for one in origins)),
        "citations": list(dict.fromkeys(one["citation"] for one in origins)),
    }
    return replace(stage, attributes={**stage.attributes, "": common})


def _texts(attrs: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = attrs.get(key) or ()
    return (value,) if isinstance(value, str) else tuple(str(text) for text in value)


def _inheriting(stage: Stage, inherited: Mapping[str, Inherited]) -> Stage:
    common = dict(stage.attributes.get("", {}))
    for key in INHERITED:
        own = _texts(common, key)
        texts = [text for name in stage.inputs for text in inherited.get(name, {}).get(key, ())]
        if key == "assumptions":  # one text, which may have those of its parents already
            texts = [text for text in texts if text not in "".join(own)]
        if texts:
            merged = list(dict.fromkeys([*texts, *own]))
            common[key] = "; ".join(merged) if key == "assumptions" else merged
    return replace(stage, attributes={**stage.attributes, "": common}) if common else stage


def _suggestion(name: str, available: set[str]) -> str:
    near = nearest_name(name, available)
    return near if "did you mean" in near else "; add it under [[layers]] or [derive]"
