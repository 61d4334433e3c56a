"""The state of a store, read from its records alone.

`tpsoil status` imports this module and neither xarray nor the engine's other half: their libraries take 2 s to load.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tpsoil.cube.location import local_path
from tpsoil.display import bar_chart, html_summary, html_table
from tpsoil.errors import InputError, MissingInputError
from tpsoil.stage import Stage

from .ledger import Ledger
from .lock import lock_owner
from .manifest import RUN_KEY, Manifest, check_format
from .origin import origin_from, read_origin
from .places import is_url, layer_place
from .plan import ChunkDigests, Dependencies, StagePlan, Tiling, model_digest, plan_stage

if TYPE_CHECKING:
    from .forecast import DiskForecast, Forecast


@dataclass(frozen=True)
class Preview:
    """What one stage would do.

    Parameters
    ----------
    title : str
    plan : StagePlan
    forecast : Forecast or None
    note : str
    """

    title: str
    plan: StagePlan
    forecast: Forecast | None = None
    note: str = ""


class Previews(list[Preview]):
    """Previews of all stages; shown as a table in a notebook.

    `disk` is the forecast of the bytes that the run stores; None for the state of a store.
    """

    disk: DiskForecast | None = None

    def _repr_html_(self) -> str:
        rows = [
            [one.title, one.plan.total, one.plan.current, len(one.plan.missing), len(one.plan.stale), one.note
             or "; ".join(f"{count}: {reason}" for reason, count in list(one.plan.reasons().items())[:3])]
            for one in self
        ]  # fmt: skip
        todo, total = sum(len(one.plan.to_compute) for one in self), sum(one.plan.total for one in self)
        table = html_table(["stage", "tiles", "up to date", "missing", "stale", "why"], rows)
        done = {one.title: 100 * one.plan.current / one.plan.total for one in self if one.plan.total}
        chart = bar_chart(done, caption="Tiles up to date", unit="%")
        return html_summary("Run", {"tiles to compute": f"{todo} of {total}"}, chart, table)


def status(store: str) -> Previews:
    """Tiles of a store that are up to date, missing or stale, and the reasons.

    Parameters
    ----------
    store : str
        Output of a run.

    Returns
    -------
    Previews
        A list of `Preview`.

    Raises
    ------
    MissingInputError
        For a path without a run.

    Notes
    -----
    Compares records with the stored layers, the stored model and this tpsoil. Files outside the store are compared by
    `tpsoil run RECIPE --dry-run`, which knows their paths.
    """
    place = _place_of(store)
    if not is_url(place) and not os.path.isdir(place):
        raise MissingInputError(f"{store}: no such store")
    ledger = Ledger.at(place, read_only=True)
    content = ledger.read_json(RUN_KEY)
    if content is None:
        raise MissingInputError(f"{store}: no run wrote to it; tpsoil cube info describes a cube")
    check_format(content, place)
    tiling = Tiling((int(content["shape"][0]), int(content["shape"][1])), int(content["chunk"]))
    digests = ChunkDigests()
    previews = Previews()
    for entry in content["stages"]:
        tally = _unknown if entry["tallies"] else None
        stage = Stage(entry["name"], entry["title"], entry["section"], (), _unknown, halo=entry["halo"], tally=tally)
        names = [str(name) for name in entry["outputs"]]
        stored = read_origin(ledger, stage.name, str(entry.get("origin")))
        try:
            outputs = [layer_place(place, name) for name in names]
            inputs = [layer_place(_cube_of(content, place) if from_cube else place, name)
                      for name, from_cube in entry["inputs"]]  # fmt: skip
            if stored is None:
                raise MissingInputError(
                    "its records are lost or of an older tpsoil; the next run computes its tiles again"
                )
        except MissingInputError as error:
            plan = StagePlan(stage.name, tiling.count, missing=list(tiling.chunks()))
            previews.append(Preview(stage.title, plan, note=str(error)))
            continue
        described = ledger.read_json(f"models/{stage.name}.json")
        model = "" if described is None else model_digest(described, loads=entry["loads"])
        dependencies = Dependencies(origin_from(stage.name, stored).with_current_code(), model)
        plan = plan_stage(stage, tiling, Manifest(ledger, stage.name), inputs, outputs, dependencies, digests)
        previews.append(Preview(stage.title, plan))
    return previews


def state_of(store: str) -> tuple[str, str | None]:
    """A store's state ("running" or "complete"), and the process that is writing to it now."""
    ledger = Ledger.at(_place_of(store), read_only=True)
    content = ledger.read_json(RUN_KEY) or {}
    return str(content.get("state", "unknown")), lock_owner(ledger)


def _place_of(store: str) -> str:
    """The absolute path of a folder, also of one that is named by a file:// URL; any other URL as it is."""
    path = local_path(store)
    return store if path is None else os.path.abspath(path)


def _cube_of(content: Mapping[str, Any], place: str) -> str:
    # A variable that a recipe put into the cube's URL is stored by its name.
    cube = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], match[0]), str(content.get("cube") or ""))
    return cube if is_url(cube) or os.path.isabs(cube) else os.path.normpath(os.path.join(place, cube))


def _unknown(_argument: Any) -> Mapping[str, Any]:
    raise InputError("a stage known from a store only cannot compute")
