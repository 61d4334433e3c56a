"""What a recipe makes, in memory and part by part, to see whether an option changes anything."""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tpsoil.cube import open_cube
from tpsoil.errors import TpsoilError
from tpsoil.grid import coordinates
from tpsoil.recipes.jobs import job_of
from tpsoil.stage import CONTENT, Stage, Window, Workbench, decisive_options, trimmed

FAULT = "fault"
"""Part of an outcome that is an error."""
Outcome = dict[str, str | bytes]


def values_of(layer: xr.DataArray | np.ndarray) -> bytes:
    """Shape, dtype and bytes."""
    array = np.asarray(layer)
    return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


def outcome_of(recipe: Mapping[str, Any]) -> Outcome:
    """Every layer, table, attribute and note that the stages of a recipe give, or the error.

    The grid is computed in one window and nothing is stored: that tiles and stores give the same is tested elsewhere.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return _computed(recipe)
        except TpsoilError as error:
            return {FAULT: str(error)}


def _computed(recipe: Mapping[str, Any]) -> Outcome:
    job = job_of(recipe)
    parts: Outcome = {"references": repr(job.references), "grid": f"{job.grid!r} chunks of {job.chunk}"}
    cube = open_cube(job.cube).load() if job.cube else xr.Dataset(coords=coordinates(job.grid))
    for stage in job.stages:
        cube = _add_stage(stage, job.grid, cube, parts)
    return parts


def _add_stage(stage: Stage, grid: Any, cube: xr.Dataset, parts: Outcome) -> xr.Dataset:
    options = {**stage.options, CONTENT: "files do not change here"}
    parts[f"decisive:{stage.name}"] = json.dumps(
        [decisive_options(stage), [file.name for file in stage.files]], sort_keys=True, default=str
    )
    attributes = dict(stage.attributes.get("", {}))
    if stage.describe is not None:
        attributes |= stage.describe(options, grid)
    layers, model = cube[list(stage.inputs)], None
    if stage.prepare is not None:
        prepared = stage.prepare(layers, options, Workbench())
        attributes |= prepared.attributes.get("", {})
        model = stage.load(prepared.model) if stage.load is not None else None
        tables, notes = dict(prepared.tables), list(prepared.notes)
        if stage.report is not None:
            report = stage.report(layers, options, prepared.state, Workbench())
            tables, notes = {**tables, **report.tables}, [*notes, *report.notes]
        parts |= {f"table:{name}": table.to_csv() for name, table in tables.items()}
        parts[f"notes:{stage.name}"] = "\n".join(notes)
    rows, columns = (slice(0, int(size)) for size in grid.shape)
    results = stage.compute(Window(layers, grid, rows, columns, options, model))
    for output in stage.outputs:
        values = trimmed(results[output.name], ((0, 0), (0, 0)), output.dtype)
        attrs = {**output.attributes(), **attributes, **stage.attributes.get(output.name, {})}
        cube = cube.assign({output.name: (("y", "x"), values, attrs)})
        cube[output.name].encoding["_FillValue"] = output.fill
        parts[f"values:{output.name}"] = values_of(values)
        parts[f"attributes:{output.name}"] = json.dumps(attrs, sort_keys=True, default=str)
    if stage.tally is not None and stage.summary is not None:
        named = [*stage.inputs, *(output.name for output in stage.outputs)]
        tally = stage.tally({name: cube[name].values for name in named})
        tables = stage.summary([tally], {name: cube[name].attrs for name in named})
        parts |= {f"table:{name}": table.to_csv() for name, table in tables.items()}
    return cube


@dataclass(frozen=True)
class Change:
    """Another value of one option, and what it must change.

    Parameters
    ----------
    value : object
        Of the option; `ABSENT` leaves it out.
    effect : str
        "values", "table", "attributes", "references", "grid", "fault" (rejected, naming the key), or "none".
    given : mapping
        Other options of its table, with which it applies; in both recipes.
    root : mapping
        Other tables of the recipe, in both.
    also : mapping
        Other options of its table, in the second recipe.
    names : str
        What a message of rejection must contain; the option by default.
    reason : str
        Why "none" is right.
    """

    value: Any
    effect: str = "values"
    given: Mapping[str, Any] = field(default_factory=dict)
    root: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)
    names: str = ""
    reason: str = ""


ABSENT = object()


def merged(first: Any, second: Any) -> Any:
    """Nested tables put over each other."""
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return copy.deepcopy(second) if second is not ABSENT else second
    result = dict(first)
    for key, value in second.items():
        result[key] = merged(result.get(key), value)
        if result[key] is ABSENT:
            del result[key]
    return result


def at(path: str, content: Any) -> dict[str, Any]:
    """`content` within the nested tables that a dotted path names."""
    for name in reversed(path.split(".")):
        content = {name: content}
    return dict(content)


class Sweep:
    """Outcomes of recipes, each computed once.

    Parameters
    ----------
    base : mapping
        The recipe that is changed.
    """

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.base = base
        self.folder = Path.cwd()  # its paths are relative to it, whatever another sweep's fixture made the folder since
        self._known: dict[str, Outcome] = {}

    def within(self, tables: Mapping[str, Any]) -> Sweep:
        """The same outcomes, with other tables under each change."""
        other = Sweep(merged(self.base, tables))
        other._known, other.folder = self._known, self.folder
        return other

    def outcome(self, recipe: Mapping[str, Any]) -> Outcome:
        """What a recipe gives."""
        key = json.dumps(recipe, sort_keys=True, default=str)
        if key not in self._known:
            with contextlib.chdir(self.folder):
                self._known[key] = outcome_of(recipe)
        return self._known[key]

    def check(self, path: str, key: str, change: Change) -> None:
        """Assert that one option of the table at `path` has its effect or is rejected."""
        base = merged(merged(self.base, change.root), at(path, change.given))
        before, after = self.outcome(base), self.outcome(merged(base, at(path, {**change.also, key: change.value})))
        self.compare(f"{path}.{key}", before, after, change)

    def compare(self, where: str, before: Outcome, after: Outcome, change: Change) -> None:
        """Assert what one change must change."""
        names = change.names or where.rpartition(".")[2]
        if change.effect == "fault":
            assert FAULT not in before, before
            assert names in str(after.get(FAULT, "")), (where, after.get(FAULT, "was accepted"))
            return
        if FAULT in before or FAULT in after:
            # One of the two is rejected, and the message names the option that decides it.
            assert (FAULT in before) != (FAULT in after), (where, before.get(FAULT), after.get(FAULT))
            message = str({**before, **after}[FAULT]) if FAULT in after else str(before[FAULT])
            assert names in message, (where, message)
            return
        differing = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        if change.effect == "none":
            assert change.reason, where
            kept = {name for name in differing if not name.startswith("decisive:")}
            assert not kept, (where, kept)
            return
        assert any(name.startswith(f"{change.effect}") for name in differing), (where, sorted(differing))
        require_stale(where, before, after)


def require_stale(where: str, before: Outcome, after: Outcome) -> None:
    """Where values differ, some stage's decisive options do, or stored tiles would stay as they are."""
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    if any(name.startswith("values:") for name in names) and before["grid"] == after["grid"]:
        assert any(name.startswith("decisive:") for name in names), f"{where}: stored tiles would stay as they are"
