"""Input of the engine: stages, the grid of their maps, and the store of the maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from odc.geo.geobox import GeoBox

from tpsoil.stage import Stage


@dataclass(frozen=True)
class Job:
    """Stages over one grid into one store, with every path absolute.

    Parameters
    ----------
    name : str
        Of the run; a store of a run with another name is not continued.
    where : str
        The recipe's path, for messages.
    output : str
        The store of the maps: a path or URL.
    grid : GeoBox
    chunk : int
        Side of the stored chunks, cells.
    stages : tuple of Stage
        All stages, each after those that it reads from.
    selected : tuple of Stage
        Those to run, in the same order.
    recipe : mapping
        As it was written; recorded in the store.
    cube : str, optional
        The store of the layers that no stage computes.
    sources : tuple of str
        Every other path or URL that is read: rasters, vectors, tables. The output must not overlap with any of them.
    description : str
    overwrite : bool
        Replace a store of another run or grid.
    tile : int, optional
        Chunks along a tile's side.
    references : tuple of str
        What a publication of the maps cites.
    adds : bool
        The output is an existing cube that gains layers: its other layers, its records of runs and its attributes stay.
    resume : str
        The command that continues a stopped run, for messages.
    """

    name: str
    where: str
    output: str
    grid: GeoBox
    chunk: int
    stages: tuple[Stage, ...]
    selected: tuple[Stage, ...]
    recipe: Mapping[str, Any]
    cube: str | None = None
    sources: tuple[str, ...] = ()
    description: str = ""
    overwrite: bool = False
    tile: int | None = None
    references: tuple[str, ...] = ()
    adds: bool = False
    resume: str = "the same call"

    @property
    def outputs(self) -> set[str]:
        """Names of all layers that the stages compute."""
        return {variable.name for stage in self.stages for variable in stage.outputs}
