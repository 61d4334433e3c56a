"""Input of the engine: stages, the grid of their maps, and the store of the maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from odc.geo.geobox import GeoBox

from tpsoil.errors import TpsoilError, WorkError
from tpsoil.redaction import redacted
from tpsoil.stage import Stage
from tpsoil.waiting import timeout_seconds

from .places import is_url

STORE_LIBRARIES: Final = {"botocore", "aiobotocore", "aiohttp", "s3fs", "fsspec", "gcsfs", "adlfs", "google", "azure"}


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


@contextlib.contextmanager
def naming_store_failures(job: Job) -> Iterator[None]:
    """Turn errors of an object store's library during a run into an error that names the store.

    Raises
    ------
    WorkError
    """
    places = [place for place in (job.output, job.cube, *job.sources) if place is not None and is_url(place)]
    try:
        yield
    except TpsoilError:
        raise
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if not places or not (package in STORE_LIBRARIES or isinstance(error, OSError | TimeoutError)):
            raise
        raise WorkError(
            f"{', '.join(redacted(place) for place in places)}: the store failed or did not reply within "
            f"{timeout_seconds():g} s ({type(error).__name__}: {redacted(str(error))[:300]}). Stored tiles "
            f"remain valid; continue with {job.resume}"
        ) from error
