"""Tables of `[solum]`: thickness by zone, bounds, gains over baselines and other maps, published values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from math import fsum
from typing import Any, Final

import numpy as np
import pandas as pd

from tpsoil.plausibility import cells_by_code
from tpsoil.solum import PUBLISHED_VALUES, Calibration, paired_difference
from tpsoil.solum.parameters import NAMES
from tpsoil.stage import CELL_AREA, Array
from tpsoil.variables import PRODUCTION_STATUS, SOLUM_STATUS

UNPHYSICAL: Final = next(code for code, name in PRODUCTION_STATUS.items() if name == "unphysical")
UNPHYSICAL_CELLS: Final = "production above 1 m/a"

NO_CODE: Final = 255
"""Of a class that is missing."""

MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "h0": ("characteristic thickness", "m"),
    "rho_s": ("bulk density of the solum", "kg m-3"),
    "a": ("lithology coefficient", "m a-1"),
    "b": ("climate coefficient", "m2 a kJ-1"),
    "alpha": ("weight of water erosion", "1"),
    "beta": ("weight of wind erosion", "1"),
    "gamma": ("weight of erosion by gravity", "1"),
    "D": ("diffusion coefficient", "m2 a-1"),
}
THIS: Final = "solum_thickness"


def five_digits(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its numbers to five significant digits: curvatures and parameters span powers of ten."""
    rounded = table.copy()
    for column in rounded.select_dtypes("float").columns:
        rounded[column] = rounded[column].map(lambda value: float(f"{value:.5g}"))
    return rounded


def bounds_table(calibration: Calibration) -> pd.DataFrame:
    """Bounds of the parameters, the study's Table 2 for this calibration."""
    low, high = calibration.settings["low"], calibration.settings["high"]
    return pd.DataFrame([
        {"parameter": name, "meaning": MEANINGS[name][0], "low": low[k], "high": high[k], "units": MEANINGS[name][1],
         "preset": calibration.settings["preset"]}
        for k, name in enumerate(NAMES)
    ])  # fmt: skip


def sensitivity_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each input: mean change of thickness of the map, mm, and the mean absolute change in each zone, mm."""
    mean = rows[rows["zone"] == "all"].set_index("input")
    table = pd.DataFrame({
        "input": mean.index, "change": mean["change"].to_numpy(),
        "decrease mm": 1000 * mean["decrease_m"].to_numpy(), "increase mm": 1000 * mean["increase_m"].to_numpy(),
    })  # fmt: skip
    zones = [zone for zone in dict.fromkeys(rows["zone"]) if zone != "all"]
    for zone in zones if len(zones) > 1 else []:
        of_zone = rows[rows["zone"] == zone].set_index("input")["mean_absolute_m"]
        table[f"zone {zone} mm"] = 1000 * of_zone.reindex(mean.index).to_numpy()
    return table.round(2)


def gain_over_baselines(calibration: Calibration) -> pd.DataFrame:
    """RMSE of the held-out model below that of a forest and of the zone's mean on the same folds, with its test."""
    predictions = calibration.predictions[~calibration.predictions["censored"]]
    rows = []
    for folds in ("cv", "cv_blocks"):
        for baseline in ("forest", "zone_mean"):
            other = f"{baseline}_{folds}"
            if other in predictions:
                row = gain_row(predictions["observed"], predictions[f"{folds}_median"], predictions[other])
                rows.append({"folds": "within zones" if folds == "cv" else "spatial blocks",
                             "beside": baseline.replace("_", " "), **row})  # fmt: skip
    return pd.DataFrame(rows)


def gain_row(observed: Any, this: Any, other: Any) -> dict[str, Any]:
    """RMSE of two predictions, m, their difference with its 95 % interval, the gain in %, and whether 0 is outside."""
    sides = [np.asarray(side, dtype=np.float64) for side in (observed, this, other)]
    complete = np.isfinite(np.stack(sides)).all(axis=0)
    if complete.sum() < 2:
        return {"n": int(complete.sum())}
    seen, first, second = (side[complete] for side in sides)
    test = paired_difference(seen, first, second)
    return {
        "n": int(test["n"]),
        "rmse": float(np.sqrt(((first - seen) ** 2).mean())),
        "rmse_beside": float(np.sqrt(((second - seen) ** 2).mean())),
        "gain_percent": test["gain_percent"],
        "difference": test["difference"],
        "low": test["low"],
        "high": test["high"],
        "differs": bool(test["low"] > 0 or test["high"] < 0),
    }


def beside_published(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Values of this run beside those that the study printed.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of the comparison: `solum_comparison`, and where they are there `solum_windows`, `solum_environment`,
        `solum_correlations`, `solum_gain`. A basin's mean is in the run's table of `[[zonal]]`.

    Returns
    -------
    DataFrame
        `layer`, `place`, `statistic`, `this_run` (NaN where the run has no such value), `published`, `units`,
        `source`.
    """
    rows = []
    for item in PUBLISHED_VALUES:
        value = _value_of(tables, item.layer, item.statistic, item.place)
        rows.append({"layer": item.layer, "place": item.place, "statistic": item.statistic, "this_run": value,
                     "published": item.value, "units": item.units, "source": item.source})  # fmt: skip
    return pd.DataFrame(rows)


def _value_of(tables: Mapping[str, pd.DataFrame], layer: str, statistic: str, place: str) -> float:
    if statistic == "gain_percent":
        return _cell(tables.get("solum_gain"), {"beside": layer}, statistic)
    if statistic == "r":
        return _cell(tables.get("solum_correlations"), {"second": layer}, "r")
    if place in {"plateau", "profiles"}:
        return _cell(tables.get("solum_comparison"), {"map": "this map" if layer == THIS else layer}, statistic)
    for name in ("solum_windows", "solum_environment"):
        value = _cell(tables.get(name), {"window": place, "layer": layer}, statistic)
        if np.isfinite(value):
            return value
    return float("nan")


def _cell(table: pd.DataFrame | None, where: Mapping[str, str], column: str) -> float:
    if table is None or column not in table or not set(where) <= set(table.columns):
        return float("nan")
    rows = table
    for key, value in where.items():
        rows = rows[rows[key].astype(str) == value]
    return float(rows[column].iloc[0]) if len(rows) else float("nan")


def tally_zones(layers: Mapping[str, Array]) -> dict[str, list[float]]:
    """Of one chunk, for each zone: cells with a thickness, their area, the sum of thickness times area, minimum,
    maximum, cells of each status. Areas are in m2 where cells differ in size, else numbers of cells."""
    thick = layers["solum_thickness"].astype(np.float64).ravel()
    has_thickness = np.isfinite(thick)
    zone = _codes(layers["zone"]) if "zone" in layers else np.zeros(thick.size, np.uint8)
    area = layers[CELL_AREA].ravel() if CELL_AREA in layers else np.ones(thick.size)
    status = _codes(layers["solum_status"]) if "solum_status" in layers else np.full(thick.size, NO_CODE)
    plausibility = _codes(layers["production_status"]) if "production_status" in layers else None
    if plausibility is None:
        plausibility = np.zeros(thick.size, np.intp)
    tallies = {}
    for code, here in cells_by_code(zone):
        if code == NO_CODE:
            continue
        usable = here[has_thickness[here]]
        values, weights = thick[usable], area[usable]
        counts = np.bincount(status[here], minlength=NO_CODE + 1)
        ends = [values.min(), values.max()] if values.size else [0.0, 0.0]
        numbers = [values.size, weights.sum(), (values * weights).sum(), *ends, *(counts[one] for one in SOLUM_STATUS)]
        numbers.append(np.count_nonzero(plausibility[here] == UNPHYSICAL))
        tallies[str(code) if "zone" in layers else "all"] = [float(number) for number in numbers]
    return tallies


def summarise_zones(tallies: Sequence[Mapping[str, Any]], stored: Collection[str]) -> Mapping[str, pd.DataFrame]:
    """Per zone: cells, area mean, minimum and maximum thickness, cells of each status and of unphysical production.

    Statuses are counted where their maps are among the `stored` layers.
    """
    zones = sorted({zone for tally in tallies for zone in tally}, key=lambda zone: (len(zone), zone))
    gathered = {zone: [tally[zone] for tally in tallies if zone in tally] for zone in zones}
    rows = [_row(zone, parts) for zone, parts in gathered.items() if any(part[0] for part in parts)]
    if len(rows) > 1:
        rows.append(_row("all", [part for parts in gathered.values() for part in parts]))
    columns = ["zone", "cells", "mean m", "least m", "greatest m"]
    columns += SOLUM_STATUS.values() if "solum_status" in stored else []
    columns += [UNPHYSICAL_CELLS] if "production_status" in stored else []
    return {"solum": pd.DataFrame(rows, columns=columns)}  # with its header where no cell has a thickness


def _row(zone: str, parts: Sequence[Sequence[float]]) -> dict[str, Any]:
    cells, area, total, least, greatest, *counts = zip(*parts)
    has_cells = [number > 0 for number in cells]
    row: dict[str, Any] = {"zone": zone, "cells": int(sum(cells)), "mean m": round(fsum(total) / fsum(area), 3)}
    row["least m"] = round(min(compress(least, has_cells)), 3)
    row["greatest m"] = round(max(compress(greatest, has_cells)), 3)
    *statuses, unphysical = counts
    row |= {name: int(sum(count)) for name, count in zip(SOLUM_STATUS.values(), statuses)}
    return row | {UNPHYSICAL_CELLS: int(sum(unphysical))}


def _codes(values: Array) -> Array:
    if values.dtype == np.uint8:
        return values.ravel()
    array = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(array), array, NO_CODE).astype(np.intp)
