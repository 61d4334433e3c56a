"""Statistics of thickness by zone: tallies of each chunk, and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from math import fsum
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.stage import Array
from tpsoil.variables import PRODUCTION_STATUS, SOLUM_STATUS

UNPHYSICAL: Final = next(code for code, name in PRODUCTION_STATUS.items() if name == "unphysical")
NO_CODE: Final = 255
"""Of a class that is missing."""


def tally_zones(layers: Mapping[str, Array]) -> dict[str, list[float]]:
    """Of one chunk, for each zone: cells with a thickness, their sum, minimum, maximum, cells of each status."""
    thick = layers["solum_thickness"].astype(np.float64).ravel()
    has_thickness = np.isfinite(thick)
    zone = _codes(layers["zone"]) if "zone" in layers else np.zeros(thick.size, np.intp)
    status = _codes(layers["solum_status"]) if "solum_status" in layers else np.full(thick.size, NO_CODE)
    plausibility = _codes(layers["production_status"]) if "production_status" in layers else None
    if plausibility is None:
        plausibility = np.zeros(thick.size, np.intp)
    tallies = {}
    for code in np.unique(zone[zone != NO_CODE]):
        here = zone == code
        values = thick[here & has_thickness]
        counts = np.bincount(status[here], minlength=NO_CODE + 1)
        ends = [values.min(), values.max()] if values.size else [0.0, 0.0]
        numbers = [values.size, values.sum(), *ends, *(counts[one] for one in SOLUM_STATUS)]
        numbers.append(np.count_nonzero(plausibility[here] == UNPHYSICAL))
        tallies[str(code) if "zone" in layers else "all"] = [float(number) for number in numbers]
    return tallies


def summarise_zones(tallies: Sequence[Mapping[str, Any]], _maps: xr.Dataset) -> Mapping[str, pd.DataFrame]:
    """Per zone: cells, mean, minimum and maximum thickness, cells of each status and of unphysical production."""
    zones = sorted({zone for tally in tallies for zone in tally}, key=lambda zone: (len(zone), zone))
    gathered = {zone: [tally[zone] for tally in tallies if zone in tally] for zone in zones}
    rows = [_row(zone, parts) for zone, parts in gathered.items() if any(part[0] for part in parts)]
    if len(rows) > 1:
        rows.append(_row("all", [part for parts in gathered.values() for part in parts]))
    columns = ["zone", "cells", "mean m", "least m", "greatest m", *SOLUM_STATUS.values()]
    return {"solum": pd.DataFrame(rows, columns=columns)}  # with its header where no cell has a thickness


def _row(zone: str, parts: Sequence[Sequence[float]]) -> dict[str, Any]:
    cells, total, least, greatest, *counts = zip(*parts)
    has_cells = [number > 0 for number in cells]
    row: dict[str, Any] = {"zone": zone, "cells": int(sum(cells)), "mean m": round(fsum(total) / sum(cells), 3)}
    row["least m"] = round(min(compress(least, has_cells)), 3)
    row["greatest m"] = round(max(compress(greatest, has_cells)), 3)
    *statuses, unphysical = counts
    row |= {name: int(sum(count)) for name, count in zip(SOLUM_STATUS.values(), statuses)}
    return row | {"production above 1 m/a": int(sum(unphysical))}


def _codes(values: Array) -> Array:
    array = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(array), array, NO_CODE).astype(np.intp)
