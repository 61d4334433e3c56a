"""`[solum.comparison]`: differences to other maps tile by tile, and the tables of the study's section 3.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.solum import (
    PUBLISHED_SCORES,
    compare_maps,
    pearson_matrix,
    published_zone_table,
    relative_difference,
    thickness_map,
    transect,
    window_statistics,
)
from tpsoil.solum.comparison import AGREEMENT, DIFFERENCE
from tpsoil.solum.observations import lower_limits, values_at
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench
from tpsoil.variables import Variable

from .solum_options import OF_PROFILES, CalibrationTable, ComparisonTable, named_profiles
from .solum_study import beside_published, five_digits, gain_row

THICKNESS: Final = "solum_thickness"


def comparison_stage(table: ComparisonTable, calibration: CalibrationTable | None, available: set[str]) -> Stage:
    """The stage that compares; without other maps it writes tables only."""
    elevation = ("elevation",) if "elevation" in available else ()
    inputs = tuple(dict.fromkeys((THICKNESS, *table.maps, *table.correlate, *elevation)))
    return Stage(
        name="solum_comparison",
        title="comparison",
        section="solum",
        inputs=inputs,
        outputs=difference_outputs(table),
        compute=compute_differences,
        options={"table": table, "calibration": None if calibration is None else calibration.of_profiles},
        indifferent=OF_PROFILES,
        identity=named_profiles(calibration),
        files=() if calibration is None else calibration.files,
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
        other = thickness_map(window.layers[name])
        difference = relative_difference(window.layers[THICKNESS], other, band=table.band)
        results[f"difference_{name}"] = np.asarray(difference["relative_difference"].values)
        results[f"agreement_{name}"] = np.asarray(difference["agreement"].values)
    return results


def prepare_comparison(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """The tables: Table 5, windows, transects, correlations."""
    table: ComparisonTable = options["table"]
    calibration: CalibrationTable | None = options["calibration"]
    others = {name: thickness_map(cube[name]) for name in table.maps}
    maps = {"this map": cube[THICKNESS], **others}
    profiles, notes = None, list[str]()
    if calibration is not None:
        profiles = calibration.read()
        usable = (profiles["problem"] == "") & (profiles["solum_thickness"] > 0)
        if not usable.all():
            notes.append(f"{int((~usable).sum())} profiles without a usable thickness are not compared")
        profiles = profiles[usable].reset_index(drop=True)
        if limits := int(lower_limits(profiles).sum()):
            notes.append(f"{limits} profiles are lower limits of thickness: errors and gains are of the others")
    tables = {
        "solum_comparison": _with_published(
            compare_maps(maps, profiles, in_sample=[] if profiles is None else ["this map"])
        )
    }
    if profiles is not None and others:
        tables["solum_gain"] = _gains(cube[THICKNESS], others, profiles)
    thick = {THICKNESS: cube[THICKNESS], **others}
    environment = {name: cube[name] for name in ("elevation", *table.correlate) if name in cube}
    tables |= _windows(table, thick, environment)
    for name, line in table.transects.items():
        along = xr.Dataset(thick | {name: cube[name] for name in ("elevation",) if name in cube}, attrs=cube.attrs)
        tables[f"transect_{name}"] = transect(along, line.start, line.end, points=line.points).round(4)
    if table.correlate:
        correlations = pearson_matrix(cube[[THICKNESS, *table.correlate]])
        tables["solum_correlations"] = correlations[correlations["first"] == THICKNESS].round(4)
        tables["correlations_solum"] = correlations.round(4)
    if table.published:
        tables["solum_published"] = beside_published(tables)
        tables["solum_published_zones"] = published_zone_table()
    return Prepared(b"", tables, notes=notes)


def _gains(this: xr.DataArray, others: Mapping[str, xr.DataArray], profiles: pd.DataFrame) -> pd.DataFrame:
    """RMSE of this map below that of each other map at the complete profiles; this map's errors are in sample."""
    sampled = values_at(xr.Dataset({THICKNESS: this, **others}), profiles, [THICKNESS, *others])
    observed = profiles["solum_thickness"].where(~lower_limits(profiles))
    rows = [{"beside": name, **gain_row(observed, sampled[THICKNESS], sampled[name])} for name in others]
    return pd.DataFrame(rows).assign(errors="this map in sample").round(4)


def _windows(
    table: ComparisonTable, thick: Mapping[str, xr.DataArray], environment: Mapping[str, xr.DataArray]
) -> dict[str, pd.DataFrame]:
    """Statistics of the thickness maps and of the covariates in each window, with the window's box."""
    parts: dict[str, list[pd.DataFrame]] = {"solum_windows": [], "solum_environment": []}
    for name, box in table.boxes.items():
        try:
            rows = window_statistics(thick, {name: box})
        except InputError:
            if table.windows is not None:  # the two default windows may be outside the grid
                raise
            continue
        parts["solum_windows"].append(rows.assign(**dict(zip(("west", "south", "east", "north"), box))))
        numeric = {key: layer for key, layer in environment.items() if layer.dtype.kind == "f"}
        if numeric:
            parts["solum_environment"].append(window_statistics(numeric, {name: box}))
    return {key: five_digits(pd.concat(rows, ignore_index=True)) for key, rows in parts.items() if rows}


def _with_published(table: pd.DataFrame) -> pd.DataFrame:
    """The study's own Table 5 below, as printed; its "MAE" is almost surely a mean error."""
    printed = pd.DataFrame(
        [{"map": f"published: {name}", **values, "errors": "as printed"} for name, values in PUBLISHED_SCORES.items()]
    )
    return pd.concat([table, printed], ignore_index=True).round(4)
