"""Stages whose tiles are computed in one pass over their inputs, such as the maps of several elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tpsoil.stage import Stage

from .manifest import Manifest
from .output import Output
from .places import Chunk, LayerPlace
from .plan import StagePlan
from .prepare import PreparedStage
from .progress import Reporter, log
from .tiles import Assignment, code_digest

TITLES: Final = 3
"""Stages of a pass that its title names."""


@dataclass(frozen=True, eq=False)
class StageWork:
    """A stage of a run, ready for its tiles.

    Parameters
    ----------
    stage : Stage
    prepared : PreparedStage
    inputs, places : tuple of LayerPlace
        Of its layers.
    complete : bool
        Whether its layers were complete before.
    manifest : Manifest
    plan : StagePlan
    """

    stage: Stage
    prepared: PreparedStage
    inputs: tuple[LayerPlace, ...]
    places: tuple[LayerPlace, ...]
    complete: bool
    manifest: Manifest
    plan: StagePlan


def passes_of(stages: Sequence[Stage], limit: int) -> list[list[Stage]]:
    """Consecutive stages that may be computed in one pass; any other stage is a pass of its own.

    Parameters
    ----------
    stages : sequence of Stage
        In the order of the run.
    limit : int
        Stages of one pass at most.

    Returns
    -------
    list of list of Stage
        All stages in their order. Those of one pass have the same function `together` and the same halo, and none
        reads a layer of another.
    """
    passes: list[list[Stage]] = []
    for stage in stages:
        last = passes[-1] if passes else []
        if (
            last
            and stage.together is not None
            and last[0].together is stage.together
            and last[0].halo == stage.halo
            and len(last) < limit
            and {output.name for one in last for output in one.outputs}.isdisjoint(stage.inputs)
        ):
            last.append(stage)
        else:
            passes.append([stage])
    return passes


def stages_by_chunk(works: Sequence[StageWork]) -> list[tuple[list[StageWork], list[Chunk]]]:
    """Chunks by the stages of a pass that have to compute them: each input chunk is then read once for all of these."""
    needed: dict[Chunk, list[int]] = {}
    for k, work in enumerate(works):
        for chunk in work.plan.to_compute:
            needed.setdefault(chunk, []).append(k)
    chunks: dict[tuple[int, ...], list[Chunk]] = {}
    for chunk in sorted(needed):
        chunks.setdefault(tuple(needed[chunk]), []).append(chunk)
    return [([works[k] for k in members], same) for members, same in chunks.items()]


def log_reasons(work: StageWork, reporter: Reporter) -> None:
    """Log why tiles are stale, and report damage."""
    title, plan = work.stage.title, work.plan
    for chunk, reasons in list(plan.stale.items())[:20]:
        log.info("%s: tile %s is stale: %s", title, chunk, "; ".join(reasons))
    for reason, count in plan.reasons().items():
        if "is not what was written" in reason or "is gone" in reason:
            reporter.report(f"{title}: {reason}; recomputed", warning=True)
        else:
            log.info("%s: %d tiles: %s", title, count, reason)


def assignment_of(works: Sequence[StageWork], output: Output) -> Assignment:
    """What a worker needs for the tiles of a pass."""
    first, *others = (
        Assignment(
            work.stage,
            output.grid,
            output.tiling,
            work.inputs,
            work.places,
            output.where,
            work.prepared.dependencies.origin.digest,
            work.prepared.dependencies.model,
            code_digest(work.stage),
            work.prepared.model_key,
            output.ledger.token,
        )
        for work in works
    )
    return replace(first, also=tuple(others))


def pass_as_stage(stages: Sequence[Stage]) -> Stage:
    """The stages of a pass as one, for its title and its forecast of memory."""
    first = stages[0]
    if len(stages) == 1:
        return first
    titles = [stage.title for stage in stages[:TITLES]]
    rest = len(stages) - len(titles)
    return replace(
        first,
        name="+".join(stage.name for stage in stages),
        title=", ".join(titles) + (f" and {rest} more" if rest else ""),
        inputs=tuple(dict.fromkeys(name for stage in stages for name in stage.inputs)),
        outputs=tuple(output for stage in stages for output in stage.outputs),
        bytes_per_cell=sum(stage.bytes_per_cell for stage in stages),
    )
