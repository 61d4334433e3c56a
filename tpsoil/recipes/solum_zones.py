"""`[solum.zones]`: covariates ranked on the profiles, zones fitted before the first tile and assigned tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.points import position_columns
from tpsoil.solum import KEPT_BY_STUDY, Zones, rank_covariates
from tpsoil.solum.observations import lower_limits, merged_thickness, values_at
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench
from tpsoil.variables import CATALOGUE

from .mask_stage import mask_inputs
from .solum_options import OF_PROFILES, CalibrationTable, ZonesTable, named_profiles
from .solum_study import five_digits

BYTES_PER_CELL: Final = 260.0
"""Sixteen columns in float64, codes and labels."""


def zones_stage(table: ZonesTable, calibration: CalibrationTable | None, available: set[str], seed: int) -> Stage:
    """The stage that makes the layer `zone`."""
    pool = table.pool(available)
    inputs = (*dict.fromkeys((*pool, *(n for n in ("elevation",) if n in available), *mask_inputs(available))),)
    ranked_on = calibration.of_profiles if table.rank and calibration is not None else None
    return Stage(
        name="solum_zones",
        title="zones",
        section="solum",
        inputs=inputs,
        outputs=(replace(CATALOGUE["zone"], flags={zone: f"zone {zone}" for zone in range(1, table.k + 1)}),),
        compute=compute_zones,
        options={"table": table, "calibration": ranked_on, "pool": pool, "seed": seed},
        indifferent=OF_PROFILES,
        identity=named_profiles(ranked_on),
        files=() if ranked_on is None else ranked_on.files,
        prepare=prepare_zones,
        prepares="fitting zones",
        load=load_zones,
        attributes={"": {"parents": " ".join(inputs), "model": "k-prototypes, Huang 1998"}},
        bytes_per_cell=BYTES_PER_CELL,
    )


def prepare_zones(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """Rank covariates if requested, fit the zones, and report."""
    table: ZonesTable = options["table"]
    calibration: CalibrationTable | None = options["calibration"]
    names = tuple(options["pool"])
    tables: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    if calibration is not None:
        ranked = _rank(cube, names, table, calibration, int(options["seed"]))
        tables["importance_solum"] = ranked
        retained = set(ranked.loc[ranked["kept"], "feature"])
        dropped = [name for name in names if name not in retained]
        names = tuple(name for name in names if name in retained)
        if not names:
            raise InputError("solum.zones: no covariate has a positive importance; give covariates= and rank = false")
        if dropped:
            notes.append(f"covariates without a positive importance, dropped: {', '.join(dropped)}")
        if ranked.attrs.get("left_out"):
            notes.append(f"{ranked.attrs['left_out']} profiles lack a covariate and were not ranked on")
    elif not table.covariates:
        names = tuple(name for name in names if name in KEPT_BY_STUDY)
    zones = Zones(table.k, n_init=table.n_init, seed=int(options["seed"]), max_cells=table.max_cells)
    zones.fit(cube, names=names)
    if zones.dropped_:
        notes.append(f"covariates without variance, left out of the zones: {', '.join(zones.dropped_)}")
    tables["solum_zones"] = zones.summary_.round(3)
    attributes = {"covariates": " ".join(names), "gamma": zones.gamma_, "cost": round(zones.cost_, 3)}
    if calibration is not None and calibration.simulated:
        attributes["simulated"] = "true"
    return Prepared(zones.dumps().encode(), tables, {"": attributes}, notes)


def load_zones(data: bytes) -> Zones:
    """The zones of a run."""
    return Zones.loads(data.decode(), "the run's zones")


def compute_zones(window: Window) -> Mapping[str, Array]:
    """The zones of one window."""
    zones: Zones = window.model
    return {"zone": np.asarray(zones.predict(window.layers).values)}


def _rank(
    cube: xr.Dataset, names: tuple[str, ...], table: ZonesTable, calibration: CalibrationTable, seed: int
) -> pd.DataFrame:
    profiles = one_a_place(calibration.read())
    values = values_at(cube, profiles, list(names))
    design = profiles[["solum_thickness", "censored"]].join(values.drop(columns="inside"))
    ranked = rank_covariates(design, names, seeds=table.rank_seeds, trees=table.rank_trees, seed=seed)
    return five_digits(ranked)


def one_a_place(profiles: pd.DataFrame) -> pd.DataFrame:
    """Profiles as the calibration uses them: those of one position as one, a thickness of 0 or less as missing.

    Examples
    --------
    >>> pits = pd.DataFrame({"x": [0, 0, 1], "y": 0, "solum_thickness": [0.5, 0.7, 0.9]})
    >>> one_a_place(pits)[["solum_thickness", "censored"]].values.tolist()
    [[0.6, False], [0.9, False]]
    """
    thickness = profiles["solum_thickness"]
    table = profiles.assign(solum_thickness=thickness.where(thickness > 0), censored=lower_limits(profiles))
    places = position_columns(table, where="solum.zones")
    for members in (
        table[table["solum_thickness"].notna()].groupby([places.east, places.north], sort=False).groups.values()
    ):
        if len(members) > 1:
            value, limit = merged_thickness(table.loc[members, "solum_thickness"], table.loc[members, "censored"])
            table.loc[members[0], ["solum_thickness", "censored"]] = [value, limit]
            table = table.drop(index=members[1:])
    return table.reset_index(drop=True)
