"""The factors of RUSLE over the cells with soil, beside the published mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.stage import some_blocks

Array = npt.NDArray[Any]

PUBLISHED_MEAN: Final = 2.76
"""t ha-1 a-1, plateau mean of 2002-2016, Teng et al. 2018, doi 10.1016/j.scitotenv.2018.04.146."""
SYMBOLS: Final = {
    "rainfall_erosivity": "R", "soil_erodibility": "K", "ls_factor": "LS", "cover_factor": "C", "water_erosion": "A",
}  # fmt: skip
MEDIAN_CELLS: Final = 4_000_000
"""Medians are of evenly spread tiles with so many cells, or of all cells where there are fewer."""


def tally_erosion(layers: Mapping[str, Array]) -> dict[str, float]:
    """Of one chunk: cells with a soil loss, and the sums of the factors over them.

    Parameters
    ----------
    layers : mapping of str to ndarray (y, x)
        R, K, LS, C and A by the names of `SYMBOLS`.

    Returns
    -------
    dict
    """
    known = np.isfinite(layers["water_erosion"])
    sums = {name: float(layers[name][known].sum(dtype=np.float64)) for name in SYMBOLS}
    return {"cells": float(known.sum()), **sums}


def summarise_erosion(
    practice: float, tallies: Sequence[Mapping[str, Any]], maps: xr.Dataset
) -> Mapping[str, pd.DataFrame]:
    """Means of the factors over the cells with soil, and the median soil loss of some of them.

    Parameters
    ----------
    practice : float
        P.
    tallies : sequence of mapping
        Of `tally_erosion`, one for each chunk.
    maps : Dataset
        Lazy, with water_erosion; medians of the factors are added where it has them too.

    Returns
    -------
    mapping of str to DataFrame
        One table, `rusle`, with columns factor, mean, median, how.
    """
    cells = int(sum(tally["cells"] for tally in tallies))
    mean = {name: fsum(tally[name] for tally in tallies) / cells if cells else np.nan for name in SYMBOLS}
    samples: dict[str, list[Array]] = {name: [] for name in SYMBOLS if name in maps}
    for part in some_blocks(maps[list(samples)], maps.chunksizes["y"][0], MEDIAN_CELLS):
        known = np.isfinite(part["water_erosion"].values)
        for name, values in samples.items():
            values.append(part[name].values.astype(np.float64)[known])
    joined = {name: np.concatenate(values) for name, values in samples.items()}
    count = joined["water_erosion"].size
    middle = {name: float(np.median(values)) if values.size else np.nan for name, values in joined.items()}
    looked = "" if count == cells else f", medians of {count} of them"
    how = {name: _how(name, maps) for name in SYMBOLS}
    how["water_erosion"] = f"t/ha/a, this run, {cells} cells with soil{looked}"
    rows = [(SYMBOLS[name], mean[name], middle.get(name, np.nan), how[name]) for name in SYMBOLS]
    rows.insert(4, ("P", practice, practice, "one value"))
    rows.append(("A published", PUBLISHED_MEAN, np.nan, "t/ha/a, plateau mean, Teng et al. 2018"))
    return {"rusle": pd.DataFrame(rows, columns=["factor", "mean", "median", "how"])}


def _how(name: str, maps: xr.Dataset) -> str:
    attrs = maps[name].attrs if name in maps else {}
    if attrs.get("assumptions"):
        return f"assumed: {attrs['assumptions']}"
    return str(attrs.get("method") or f"of the layer {name}")
