"""Disk that a run takes, forecast before the first tile."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tpsoil.cube.levels import OVERVIEWS, overview_factors
from tpsoil.cube.location import local_path
from tpsoil.errors import InputError
from tpsoil.stage import Stage

from .places import is_url
from .plan import Tiling

FLOAT_SHARE: Final = 0.5
"""Stored bytes of a layer of floats, as a share of the uncompressed ones. Measured on the sample's covariates and the
demo's maps: 0.23 to 0.83, median 0.47."""
CLASS_SHARE: Final = 0.1
"""The same of integers: 0.03 to 0.20."""
UNCERTAINTY: Final = 2.0
"""Factor between the forecast of a run and the bytes that it stores."""
RECORD_BYTES: Final = 4096
"""A record of a tile is a file of its own until its stage is complete: one block of a file system."""


@dataclass(frozen=True)
class DiskForecast:
    """Bytes that a run adds to a file system.

    Parameters
    ----------
    layers : mapping of str to int
        Expected of each layer when it is stored, compressed, with its overviews.
    bound : int
        Uncompressed bytes of all layers and overviews together.
    records : int
        Of the tiles' records.
    stored : int
        Bytes of these layers that are stored already, which the run replaces; 0 where the limit does not need it.
    free : int or None
        Bytes that are free; None where that is not known, as of an object store.
    where : str
        The folder whose file system was asked, or the store.
    """

    layers: Mapping[str, int]
    bound: int
    records: int
    stored: int
    free: int | None
    where: str

    @property
    def total(self) -> int:
        """Bytes expected to be added."""
        return max(0, sum(self.layers.values()) - self.stored) + self.records

    @property
    def summary(self) -> str:
        """One line: what the run writes and what is free."""
        free = "free space is not checked on an object store" if self.free is None else f"{_gb(self.free)} are free"
        return (
            f"disk: about {_gb(self.total)} to write, {_gb(self.bound)} uncompressed; {free}"
            + ("" if self.free is None else f" in {self.where}")
        )  # fmt: skip


def forecast_disk(stages: Sequence[Stage], tiling: Tiling, store: str, *, overviews: bool = True) -> DiskForecast:
    """Bytes that the layers of some stages take.

    Parameters
    ----------
    stages : sequence of Stage
    tiling : Tiling
        Of the output.
    store : str
        Path or URL of the output.
    overviews : bool
        Whether the run writes those of its layers too.

    Returns
    -------
    DiskForecast

    Examples
    --------
    >>> forecast_disk([], Tiling((100, 100), 50), "memory://maps").total
    0
    """
    factors = overview_factors(tiling.shape) if overviews else []
    cells = sum(math.prod(-(-size // factor) for size in tiling.shape) for factor in (1, *factors))
    layers: dict[str, int] = {}
    bound = 0
    for stage in stages:
        for variable in stage.outputs:
            dtype = np.dtype(variable.dtype)
            layers[variable.name] = int(
                cells * dtype.itemsize * (FLOAT_SHARE if dtype.kind == "f" else CLASS_SHARE)
            )  # fmt: skip
            bound += cells * dtype.itemsize
    records = tiling.count * RECORD_BYTES if stages else 0  # of one stage at a time
    folder = _existing_folder(store)
    if folder is None:
        return DiskForecast(layers, bound, records, 0, None, store)
    free = shutil.disk_usage(folder).free
    places = [Path(store), *(Path(store) / OVERVIEWS / str(factor) for factor in factors)]
    stored = 0 if free > bound + records else sum(_stored_bytes(place / name) for place in places for name in layers)
    return DiskForecast(layers, bound, records, stored, free, str(folder))


def check_disk(forecast: DiskForecast, where: str) -> str:
    """Reject a run that cannot fit.

    Parameters
    ----------
    forecast : DiskForecast
    where : str
        The recipe, for the message.

    Returns
    -------
    str
        A warning where it may not fit; else "".

    Raises
    ------
    InputError
        Where less is free than half of the forecast, which is its uncertainty.
    """
    if forecast.free is None or forecast.free > forecast.bound - forecast.stored + forecast.records:
        return ""
    largest = sorted(forecast.layers.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} {_gb(size)}" for name, size in largest)
    text = (
        f"{where}: writes about {_gb(forecast.total)} ({len(forecast.layers)} layers, the largest {named}), and "
        f"{_gb(forecast.free)} are free in {forecast.where}"
    )
    if forecast.free < forecast.total / UNCERTAINTY:
        raise InputError(f"{text}; free some space, give another output, or a coarser grid")
    if forecast.free < forecast.total * UNCERTAINTY:
        return f"{text}; it may not fit"
    return ""


def _existing_folder(store: str) -> Path | None:
    """The folder of a local store, or the nearest above that exists; None for other stores."""
    path = local_path(store)
    if path is None or is_url(store):
        return None
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), None)


def _stored_bytes(layer: Path) -> int:
    return sum(
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(layer)
        for file in files
    )  # fmt: skip


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
