"""Stages of `[derive]`: groups in the order of their layers, each bound to its files and a grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import ValidationError

from tpsoil.covariates.groups import GROUPS
from tpsoil.covariates.groups.base import SET, CovariateGroup, sample_of, settings
from tpsoil.covariates.groups.sources import Stack
from tpsoil.engine.origin import content_digest, contents_of
from tpsoil.errors import Absent, MissingInputError, TpsoilError, nearest_name
from tpsoil.grid import coordinates
from tpsoil.ingest.dependencies import Dependencies
from tpsoil.stage import CONTENT, Stage
from tpsoil.variables import CATALOGUE, Variable

from .assembly import Assembly
from .derive_settings import WANTED, DeriveSettings, layer_makers
from .derive_tiles import (
    GRID_LAYER,
    OpenSources,
    compute_group,
    described,
    group_bytes,
    group_dependencies,
    opened_sources,
)
from .section import fault_line, type_text


@dataclass(frozen=True)
class Derivation:
    """One group to derive.

    Parameters
    ----------
    group : CovariateGroup
    outputs : tuple of Variable
    reads : tuple of str
        Layers.
    """

    group: CovariateGroup
    outputs: tuple[Variable, ...]
    reads: tuple[str, ...]


def resolve(
    settings_: DeriveSettings, available: Set[str], *, supplied: Set[str], at: str, faults: list[str]
) -> list[Derivation]:
    """Groups in an order in which the inputs of each are available; prerequisites included.

    Parameters
    ----------
    settings_ : DeriveSettings
    available : set of str
        Available layers.
    supplied : set of str
        Available layers that a derived layer must not replace.
    at : str
        Prefix of the faults: "derive." in a recipe.
    faults : list of str
        Extended by one line for each fault.

    Returns
    -------
    list of Derivation
    """
    return _Resolver(settings_, available, supplied, at, faults).run()


class _Resolver:
    def __init__(
        self, settings_: DeriveSettings, available: Set[str], supplied: Set[str], at: str, faults: list[str]
    ) -> None:
        self.settings, self.available, self.supplied, self.at, self.faults = settings_, available, supplied, at, faults
        self.groups: dict[str, CovariateGroup] = {}
        self.needed: dict[str, set[str]] = {}
        self.order: list[str] = []
        self.used: set[str] = set()

    def run(self) -> list[Derivation]:
        layers_by_group: dict[str, set[str] | None] = {}
        for name in self.settings.requested:
            if name in GROUPS:
                layers_by_group[name] = None
            elif name in layer_makers():
                maker = self.maker(name)
                if layers_by_group.get(maker, set()) is not None:
                    layers_by_group[maker] = {*(layers_by_group.get(maker) or ()), name}
            else:
                self.faults.append(
                    f"{self.at}{WANTED}: no layer or group '{name}'{nearest_name(name, [*GROUPS, *layer_makers()])}"
                )
        for name, layers in layers_by_group.items():
            self.visit(name, layers, "", ())
        if not self.faults:
            self.check_idle()
        derivations = []
        for name in self.order:
            group = self.groups[name]
            names = self.needed[name] - set(self.supplied)
            outputs = tuple(spec for spec in group.outputs_of(sorted(names, key=group.makes.index)))
            if outputs:
                derivations.append(Derivation(group, outputs, group.reads(self.reachable)))
        return derivations

    @property
    def reachable(self) -> Set[str]:
        return set(self.available) | {layer for names in self.needed.values() for layer in names}

    def visit(self, name: str, layers: set[str] | None, reader: str, path: tuple[str, ...]) -> None:
        """One group after those that make what it needs and is not available."""
        if name in path:
            self.faults.append(f"{self.at}{name}: needs itself, by {' -> '.join((*path, name))}")
            return
        group = self.groups.get(name) or self.build(name, reader, layers)
        if group is None:
            return
        self.groups[name] = group
        chosen = set(group.chosen) if layers is None else layers
        if not reader:
            already_supplied = sorted(chosen & set(self.supplied))
            if already_supplied and (
                layers is not None or group.layers is not None or already_supplied == sorted(chosen)
            ):
                self.faults.append(
                    f"{self.at}{name}: layer '{already_supplied[0]}' already exists, and supplied layers are retained; "
                    f"leave {self.at or 'group '}{name} out, or replace the layer with --overwrite on the command line"
                )
        for option, layer in group.superseded(self.reachable).items():
            self.faults.append(
                f"{self.at}{name}.{option} would have no effect: layer '{layer}' is available and is retained; leave "
                "the option out"
            )
        why = f", which {reader} needs," if reader else ""
        self.faults += [
            f"{self.at}{name}: layer '{layer}'{why} needs option {option}; give it, or add the layer"
            for layer in sorted(chosen)
            if (option := group.lacking_option(layer))
        ]
        self.needed.setdefault(name, set()).update(chosen)
        for need in group.reads(self.reachable):
            if need in chosen and need not in self.available:
                self.faults.append(f"{self.at}{name}: reads layer '{need}', which it computes itself; name another")
            elif need not in self.available and not any(need in self.needed[one] for one in self.order):
                maker = self.maker(need)
                if maker and maker != name:
                    self.visit(maker, {need}, name, (*path, name))
                else:
                    self.faults.append(
                        Absent(f"{self.at}{name}: {name} needs layer '{need}', {self.lacking(group, need)}")
                    )
        if name not in self.order:
            self.order.append(name)

    def lacking(self, group: CovariateGroup, need: str) -> str:
        near = nearest_name(need, self.available)
        guess = f"{near}; " if "did you mean" in near else ""
        return f"which no earlier stage provides; {guess.lstrip('; ')}{group.missing_input(need)}"

    def maker(self, layer: str) -> str:
        """The group that computes a layer: one with a table, else one whose options are valid, else the first."""
        makers = layer_makers().get(layer, [])
        configured = [name for name in makers if name in self.settings.tables]
        usable = [name for name in makers if self.build(name, "?", None, quiet=True) is not None]
        return next(iter([*configured, *usable, *makers]), "")

    def build(self, name: str, reader: str, layers: set[str] | None, *, quiet: bool = False) -> CovariateGroup | None:
        """A group with its own and the shared options."""
        kind = GROUPS[name]
        table = dict(self.settings.tables.get(name, {}))
        raw = {**_applicable(kind, table, self.settings.shared), **table}
        try:
            group = kind.model_validate(raw)
        except ValidationError as error:
            if quiet:
                return None
            lines = [fault_line(kind, f"{self.at}{name}", fault) for fault in error.errors(include_url=False)]
            lines = [self.missing_meaning(kind, line) for line in lines]
            if reader and name not in self.settings.tables:
                layer = next(iter(layers or kind.makes))
                hint = f"give option {name}: " if kind.main_option else ""
                causes = "; ".join(line.removeprefix(self.at) for line in lines)
                fault = f"{self.at}{reader}: {reader} needs layer '{layer}': add it, or {hint}{causes}"
                self.faults.append(fault if hint else Absent(fault))
            else:
                self.faults += lines
            return None
        if not quiet:
            self.used |= set(raw) & set(self.settings.shared) - set(table)
        return group

    def missing_meaning(self, kind: type[CovariateGroup], line: str) -> str:
        match = re.fullmatch(r"(.*)\.(\w+): is missing", line)
        if match is None or match.group(2) not in kind.model_fields:
            return line
        field = kind.model_fields[match.group(2)]
        return f"{line}: {field.description} ({type_text(field.annotation)})"

    def check_idle(self) -> None:
        """Reject options that change nothing."""
        for name in self.settings.shared:
            if name not in self.used:
                owners = ", ".join(one for one, kind in GROUPS.items() if name in kind.model_fields)
                self.faults.append(
                    f"{self.at}{name} would have no effect: it is an option of {owners}, which is not derived or does "
                    "not use it; name that group too, or leave the option out"
                )
        for name, table in self.settings.tables.items():
            group = self.groups.get(name)
            unused = [] if group is None else group.unused_options(self.needed[name])
            self.faults += [
                f"{self.at}{name}.{option} would have no effect: it changes {group.changed_by(option)}, which is not "
                "derived; leave the option out"
                for option in unused
                if group is not None and option in table
            ]
            if name not in self.groups:
                self.faults.append(
                    f"{self.at}{name}: its options would have no effect, because {name} is not derived; name that "
                    "group too, with overwrite where the cube has its layers"
                )


def _applicable(kind: type[CovariateGroup], table: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Shared options that a group has and that its other options give an effect."""
    chosen = {
        name: value
        for name, value in shared.items()
        if name in kind.model_fields and settings(kind, name, "shared") and name not in table
    }
    while True:
        values = {**{name: field.default for name, field in kind.model_fields.items()}, **chosen, **table}
        idle = [name for name in chosen if not _has_effect(kind, name, values)]
        if not idle:
            return chosen
        for name in idle:
            del chosen[name]


def _has_effect(kind: type[CovariateGroup], name: str, values: Mapping[str, Any]) -> bool:
    for other, allowed in settings(kind, name, "only"):
        present = values[other]
        texts = {str(value).lower() for value in allowed}
        if str(present).lower() not in texts and not (SET in allowed and present is not None):
            return False
    return True


def derive_stages(
    items: Sequence[Derivation],
    settings: DeriveSettings,
    grid: GeoBox,
    *,
    at: str,
    faults: list[str],
    runs: bool = True,
) -> list[Stage]:
    """One stage for each derivation; files that cannot be opened are reported as faults.

    Parameters
    ----------
    items : sequence of Derivation
    settings : DeriveSettings
        For the place of an option in messages.
    grid : GeoBox
    at : str
        Prefix of faults.
    faults : list of str
        Extended by one line for each fault.
    runs : bool
        Whether the stages will run; the sources that are opened here are then retained for their forecasts and tiles.
    """
    stages = []
    for item in items:
        group = item.group
        dependencies = Dependencies()
        if group.data:
            dependencies = group_dependencies(group, _option_place(group, settings, at), faults)
        if faults:
            continue
        try:
            stages.append(_stage(item, grid, dependencies, runs=runs))
        except TpsoilError as error:
            fault = f"{at}{group.group}: {error}"
            faults.append(Absent(fault) if isinstance(error, MissingInputError) else fault)
    return stages


def derived_stages(settings_: DeriveSettings, assembly: Assembly) -> list[Stage]:
    """The stages of `[derive]`; its faults are added to those of the other tables."""
    own: list[str] = []
    supplied = assembly.available - set(assembly.in_cube)
    items = resolve(settings_, assembly.available, supplied=supplied, at="derive.", faults=own)
    stages: list[Stage] = []
    if not own:
        try:
            stages = derive_stages(items, settings_, assembly.grid(), at="derive.", faults=own)
        except TpsoilError as error:
            own.append(str(error))
    assembly.faults += own
    return stages


def _option_place(group: CovariateGroup, settings: DeriveSettings, at: str) -> Callable[[str], str]:
    def place(option: str) -> str:
        own = option in settings.tables.get(group.group, {})
        return f"{at}{group.group}.{option}" if own else f"{at}{option}"

    return place


def _stage(item: Derivation, grid: GeoBox, dependencies: Dependencies, *, runs: bool) -> Stage:
    group = item.group
    options: dict[str, Any] = {"group": group}
    if runs and any(isinstance(value, Stack) for value in group.data.values()):
        # A stack may be in memory, and is not read twice. A large DEM costs nothing to open, but its digest takes time.
        # The digest is taken before the opening: what changes after that is opened again by the run.
        options[CONTENT] = content_digest(contents_of(dependencies.files, dependencies.urls))
    sources = opened_sources(options, grid)
    names = tuple(spec.name for spec in item.outputs)
    halo, memory = group.demand(grid, names)
    return Stage(
        name=group.group,
        title=group.title,
        section="derive",
        inputs=item.reads,
        outputs=item.outputs,
        halo=halo,
        compute=compute_group,
        options={"group": group, "names": names},
        identity=group.identity,
        files=dependencies.files,
        attributes=_attributes(item, grid, sources),
        urls=dependencies.urls,
        indifferent=group.indifferent,
        bytes_per_cell=max(memory if not sources.readers else 0.0, 64.0) + sources.bytes_per_cell,
        source_bytes=group_bytes if sources.sizes else None,
        tally=None if group.summary is None and group.notes is None else group.tally,
        summary=group.summary,
        notes=group.notes,
    )


def _attributes(item: Derivation, grid: GeoBox, sources: OpenSources) -> dict[str, dict[str, Any]]:
    """Attributes that `compute` sets, obtained by computing a few missing cells."""
    group = item.group
    part = grid[: min(3, grid.shape[0]), : min(3, grid.shape[1])]
    like = xr.DataArray(np.zeros(part.shape, np.float32), dims=("y", "x"), coords=coordinates(part))
    layers = {}
    for name in item.reads:
        if name in CATALOGUE:
            layers[name] = sample_of(CATALOGUE[name], like)
        else:
            layers[name] = xr.full_like(like, np.nan)
    for name in sources.readers:
        layers[name] = described(sample_of(sources.specs[name], like), name, sources)
    results = group.compute({**layers, GRID_LAYER: like})
    stated: dict[str, dict[str, Any]] = {}
    for spec in item.outputs:
        attrs = {key: value for key, value in results[spec.name].attrs.items() if key not in OWN_ATTRIBUTES}
        stated[spec.name] = {"formula": group.formula, **attrs, **sources.common}
    text = group.assumptions(item.reads)
    return stated | ({"": {"assumptions": text}} if text else {})


OWN_ATTRIBUTES: Final = ("long_name", "units", "kind", "standard_name", "comment", "valid_min", "valid_max",
                         "flag_values", "flag_meanings", "_FillValue", "grid_mapping")  # fmt: skip
