"""`[solum.comparison]`: differences to other maps tile by tile, and the tables of the study's section 3.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.ingest import read_profiles
from tpsoil.solum import (
    PUBLISHED_SCORES,
    compare_maps,
    pearson_matrix,
    relative_difference,
    transect,
    window_statistics,
)
from tpsoil.solum.comparison import AGREEMENT, DIFFERENCE
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench
from tpsoil.variables import Variable

from .solum_options import CalibrationTable, ComparisonTable

THICKNESS: Final = "solum_thickness"


def comparison_stage(
    table: ComparisonTable, calibration: CalibrationTable | None, profiles: Path | None, available: set[str]
) -> Stage:
    """The stage that compares; without other maps it writes tables only."""
    extra = [name for name in (*table.correlate, "elevation") if name in available]
    inputs = tuple(dict.fromkeys((THICKNESS, *table.maps, *table.correlate, *extra)))
    return Stage(
        name="solum_comparison",
        title="comparison",
        section="solum",
        inputs=inputs,
        outputs=difference_outputs(table),
        compute=compute_differences,
        options={"table": table, "calibration": calibration, "profiles": profiles},
        indifferent=("calibration.profiles", "calibration.citation"),
        files=(profiles,) if profiles is not None else (),
        prepare=prepare_comparison,
        prepares="comparing",
        attributes={"": {"parents": " ".join((THICKNESS, *table.maps)), "band": table.band}},
        bytes_per_cell=96.0,
    )


def difference_outputs(table: ComparisonTable) -> tuple[Variable, ...]:
    """Two layers for each other map."""
    variables = []
    for name in table.maps:
        variables.append(replace(DIFFERENCE, name=f"difference_{name}", long_name=f"relative difference to {name}"))
        variables.append(replace(AGREEMENT, name=f"agreement_{name}", long_name=f"agreement with {name}"))
    return tuple(variables)


def compute_differences(window: Window) -> Mapping[str, Array]:
    """The differences of one window."""
    table: ComparisonTable = window.options["table"]
    results: dict[str, Array] = {}
    for name in table.maps:
        difference = relative_difference(window.layers[THICKNESS], window.layers[name], band=table.band)
        results[f"difference_{name}"] = np.asarray(difference["relative_difference"].values)
        results[f"agreement_{name}"] = np.asarray(difference["agreement"].values)
    return results


def prepare_comparison(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """The tables: Table 5, windows, transects, correlations."""
    table: ComparisonTable = options["table"]
    calibration: CalibrationTable | None = options["calibration"]
    maps = {"this map": cube[THICKNESS], **{name: cube[name] for name in table.maps}}
    profiles = None
    if calibration is not None and options["profiles"] is not None:
        profiles = read_profiles(Path(options["profiles"]), units=calibration.units, columns=calibration.columns)
    tables = {"solum_comparison": _with_published(compare_maps(maps, profiles, in_sample=["this map"]))}
    rows = []
    for name, box in table.boxes.items():
        try:
            rows.append(
                window_statistics({THICKNESS: cube[THICKNESS], **{m: cube[m] for m in table.maps}}, {name: box})
            )
        except InputError:
            if table.windows is not None:  # the two default windows may be outside the grid
                raise
    if rows:
        tables["solum_windows"] = pd.concat(rows, ignore_index=True).round(4)
    for name, line in table.transects.items():
        names = [THICKNESS, *table.maps, *(["elevation"] if "elevation" in cube else [])]
        tables[f"transect_{name}"] = transect(cube[names], line.start, line.end, points=line.points).round(4)
    if table.correlate:
        correlations = pearson_matrix(cube[[THICKNESS, *table.correlate]])
        tables["solum_correlations"] = correlations[correlations["first"] == THICKNESS].round(4)
        tables["correlations_solum"] = correlations.round(4)
    return Prepared(b"", tables)


def _with_published(table: pd.DataFrame) -> pd.DataFrame:
    """The study's own Table 5 below, as printed; its "MAE" is almost surely a mean error."""
    printed = pd.DataFrame(
        [{"map": f"published: {name}", **values, "errors": "as printed"} for name, values in PUBLISHED_SCORES.items()]
    )
    return pd.concat([table, printed], ignore_index=True).round(4)
