"""`[derive.water_erosion]`: RUSLE of a tile from its own rain, cover and slope factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import fsum
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, field_validator

from tpsoil.covariates import EROSIVITY, cover_factor, rainfall_erosivity, rusle, soil_erodibility
from tpsoil.stage import Array, Stage, Window, some_blocks
from tpsoil.variables import variable

from .section import Section

PUBLISHED_MEAN: Final = 2.76
"""t ha-1 a-1, plateau mean of 2002-2016, Teng et al. 2018, doi 10.1016/j.scitotenv.2018.04.146."""
SOIL: Final = ("sand", "silt", "clay", "soil_organic_carbon")
FACTORS: Final = ("rainfall_erosivity", "ls_factor", "cover_factor", "water_erosion")
MEDIAN_CELLS: Final = 4_000_000
"""Medians are of evenly spread tiles with so many cells, or of all cells where there are fewer."""


class Erodibility(Section):
    """`[derive.water_erosion.erodibility]`: one K for everywhere.

    Parameters
    ----------
    value : float
        t ha h ha-1 MJ-1 mm-1.
    reason : str
        Why this value; it is written into the map.
    """

    value: float = Field(gt=0, le=1)
    reason: str = Field(min_length=1)


class WaterErosionTable(Section):
    """`[derive.water_erosion]`: A = R K LS C.

    Parameters
    ----------
    erosivity : str
        Method of R that takes annual precipitation: zhang_fu_annual.
    cover : "van_der_knijff" or "cai"
        C from `ndvi`, or from the layer `vegetation_cover`.
    erodibility : table, optional
        `value` and `reason` of an assumed K; without it the layer `soil_erodibility`, or soil grids.
    practice : float
        P; 1 on natural land.
    """

    erosivity: str
    cover: Literal["van_der_knijff", "cai"] = "van_der_knijff"
    erodibility: Erodibility | None = None
    practice: float = Field(default=1.0, ge=0, le=1)

    @field_validator("erosivity")
    @classmethod
    def _annual(cls, method: str) -> str:
        usable = [name for name in EROSIVITY if name.endswith("_annual")]
        if method not in usable:
            raise ValueError(f"is '{method}', expected a method of annual precipitation: {', '.join(usable)}")
        return method


def water_erosion_stage(table: WaterErosionTable, available: set[str]) -> Stage:
    """The stage of `[derive.water_erosion]`, reading what is available."""
    inputs = ["annual_precipitation", "ls_factor", "ndvi" if table.cover == "van_der_knijff" else "vegetation_cover"]
    outputs = ["rainfall_erosivity", "cover_factor", "water_erosion"]
    if table.erodibility is None:
        if "soil_erodibility" in available:
            inputs.append("soil_erodibility")
        else:
            inputs += SOIL
            outputs.insert(0, "soil_erodibility")
    if "soil_mask" in available:
        inputs.append("soil_mask")
    assumed = {}
    if table.erodibility is not None:
        said = f"soil_erodibility = {table.erodibility.value:g} everywhere: {table.erodibility.reason}"
        assumed = {"assumptions": f"{said}; all precipitation counts as rain"}
    return Stage(
        name="water_erosion",
        title="water erosion",
        section="derive",
        inputs=tuple(inputs),
        outputs=tuple(variable(name) for name in outputs),
        compute=compute_water_erosion,
        options={"table": table},
        attributes={
            "rainfall_erosivity": {"parents": "annual_precipitation", "formula": EROSIVITY[table.erosivity]},
            "cover_factor": {"parents": inputs[2], "formula": table.cover},
            "water_erosion": {
                "parents": " ".join(inputs),
                "formula": "RUSLE, A = R K LS C P",
                "practice_factor": table.practice,
                **assumed,
            },
        },
        bytes_per_cell=120.0,
        tally=tally_erosion,
        summary=partial(summarise_erosion, table),
    )


def compute_water_erosion(window: Window) -> Mapping[str, Array]:
    """R, C and A of one window; A is missing where there is no soil."""
    table: WaterErosionTable = window.options["table"]
    layers = window.layers
    results: dict[str, Any] = {
        "rainfall_erosivity": rainfall_erosivity(layers["annual_precipitation"], method=table.erosivity),
        "cover_factor": cover_factor(ndvi=layers["ndvi"])
        if table.cover == "van_der_knijff"
        else cover_factor(vegetation_cover=layers["vegetation_cover"], method="cai"),
    }
    k: Any = None if table.erodibility is None else np.float64(table.erodibility.value)
    if k is None and "soil_erodibility" in layers:
        k = layers["soil_erodibility"]
    elif k is None:
        k = results["soil_erodibility"] = soil_erodibility(*(layers[name] for name in SOIL))
    loss = rusle(results["rainfall_erosivity"], k, layers["ls_factor"], results["cover_factor"], table.practice)
    if "soil_mask" in layers:
        loss = loss.where(layers["soil_mask"] == 1)
    results["water_erosion"] = loss
    return {name: np.asarray(layer.values) for name, layer in results.items()}


def tally_erosion(layers: Mapping[str, Array]) -> dict[str, float]:
    """Of one chunk: cells with soil and a loss, and the sums of the factors over them."""
    known = np.isfinite(layers["water_erosion"]) & np.isfinite(layers["ls_factor"])
    sums = {name: float(layers[name][known].sum(dtype=np.float64)) for name in FACTORS}
    return {"cells": float(known.sum()), **sums}


def summarise_erosion(
    table: WaterErosionTable, tallies: Sequence[Mapping[str, Any]], maps: xr.Dataset
) -> Mapping[str, pd.DataFrame]:
    """Means over the cells with soil, and medians of some of them, beside the published plateau mean."""
    cells = int(sum(tally["cells"] for tally in tallies))
    mean = {name: fsum(tally[name] for tally in tallies) / cells if cells else np.nan for name in FACTORS}
    kept: dict[str, list[Array]] = {name: [] for name in FACTORS if name in maps}
    for part in some_blocks(maps[list(kept)], maps.chunksizes["y"][0], MEDIAN_CELLS):
        known = np.isfinite(part["water_erosion"].values)
        for name, values in kept.items():
            values.append(part[name].values.astype(np.float64)[known])
    r, c, a = (np.concatenate(kept[name]) for name in ("rainfall_erosivity", "cover_factor", "water_erosion"))
    k = table.erodibility
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = a / (r * c * table.practice * k.value) if k is not None else np.full(a.size, np.nan)
    middle = [
        np.median(values[known]) if (known := np.isfinite(values)).any() else np.nan for values in (r, slopes, c, a)
    ]
    rows = [("R", mean["rainfall_erosivity"], middle[0], table.erosivity)]
    if k is not None:
        rows.append(("K", k.value, k.value, f"assumed: {k.reason}"))
        rows.append(("LS", mean["ls_factor"], middle[1], "of the layer ls_factor"))
    looked = "" if a.size == cells else f", medians of {a.size} of them"
    rows += [
        ("C", mean["cover_factor"], middle[2], table.cover),
        ("A", mean["water_erosion"], middle[3], f"t/ha/a, this run, {cells} cells with soil{looked}"),
        ("A published", PUBLISHED_MEAN, np.nan, "t/ha/a, plateau mean, Teng et al. 2018"),
    ]
    return {"water_erosion": pd.DataFrame(rows, columns=["factor", "mean", "median", "how"])}
