"""`[solum.validation]`: the map of thickness at profiles that its parameters were not fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from tpsoil.errors import InputError
from tpsoil.ingest.profiles import profile_notes
from tpsoil.points import position_columns
from tpsoil.solum import PUBLISHED_SCORES, validate_at_profiles
from tpsoil.solum.ensembles import quantile_name
from tpsoil.solum.forced import forced_name
from tpsoil.stage import Prepared, Stage, Workbench, compute_nothing

from .mask_stage import mask_inputs
from .solum_options import OF_PROFILES, CalibrationTable, ProfilesTable

DIGITS: Final = 4
IN_METRES: Final = ("bias", "mae", "rmse", "bias_tobit", "rmse_tobit", "shortfall")
SAME_PLACE: Final = {True: 1e-5, False: 1.0}
"""Positions closer than this are one place: degrees (1 m), or metres."""
PRINTED: Final = {"rmse": "rmse", "mre": "mre", "mae": "mae, as printed (almost surely a mean error)"}
"""Scores of the study's Table 5."""


class ValidationTable(ProfilesTable):
    """`[solum.validation]`: scores of the map at profiles that its parameters were not fitted to.

    Parameters
    ----------
    block_size : float, optional
        Side of the blocks that the bootstrap of the intervals draws, in the profiles' unit (degrees or metres); single
        places by default.
    level : float
        Of the intervals of the scores.
    """

    TABLE: ClassVar = "solum.validation"

    block_size: float | None = Field(default=None, gt=0)
    level: float = Field(default=0.9, gt=0, lt=1)

    def read(self) -> pd.DataFrame:
        """The profiles; the notes and the table of counts have what it warns of."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return super().read()


def validation_stage(table: Any, available: set[str], seed: int) -> Stage:
    """The stage of the tables; it has no maps.

    Parameters
    ----------
    table : SolumTable
    available : set of str
        Layers of the earlier stages.
    seed : int
    """
    validation: ValidationTable = table.validation
    quantiles = quantile_layers(table)
    zone = ("zone",) if table.zones != "none" else ()
    calibration: CalibrationTable | None = table.calibration
    return Stage(
        name="solum_profiles",
        title="thickness at independent profiles",
        section="solum",
        inputs=("solum_thickness", *zone, *quantiles.values(), *mask_inputs(available)),
        outputs=(),
        compute=compute_nothing,
        options={
            "table": validation, "calibration": calibration, "quantiles": quantiles, "published": table.published,
            "seed": seed,
        },
        indifferent=("table.profiles", "table.sites", "table.citation", *OF_PROFILES),
        identity={"profiles": validation.files[0].name},
        files=(*validation.files, *(() if calibration is None else calibration.files)),
        prepare=prepare_validation,
        prepares="validating",
    )  # fmt: skip


def quantile_layers(table: Any) -> dict[float, str]:
    """Maps of quantiles of thickness by probability: of the calibration, else of uncertain forcing."""
    if table.calibration is not None and table.calibration.quantiles:
        quantiles = {p: quantile_name(p) for p in table.calibration.quantiles}
    elif table.forcing is not None:
        quantiles = {p: forced_name(p) for p in table.forcing.quantiles if 0 < p < 1}
    else:
        return {}
    return quantiles if any(np.isclose(1 - p, list(quantiles)).any() and p != 0.5 for p in quantiles) else {}


def prepare_validation(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """The tables of `[solum.validation]`.

    Raises
    ------
    InputError
        For profiles that the parameters were fitted to, and what `tpsoil.solum.validate_at_profiles` rejects.
    """
    table: ValidationTable = options["table"]
    name = table.files[0].name
    profiles = table.read()
    require_independent(table, options["calibration"])
    result = validate_at_profiles(
        cube,
        profiles,
        quantiles=options["quantiles"],
        block_size=table.block_size,
        level=table.level,
        seed=int(options["seed"]),
    )
    notes = [f"profiles of {name}: {text}" for text in profile_notes(profiles.attrs)]
    notes += [f"profiles of {name}: {text}" for text in result.notes]
    scores = result.scores.assign(level=table.level)
    scores.insert(2, "units", ["m" if name in IN_METRES else "1" for name in scores["measure"]])
    if options["published"]:
        printed = [
            {"prediction": "published: the study's map at its own profiles", "measure": label,
             "units": "1" if key == "mre" else "m", "value": PUBLISHED_SCORES["this study"][key]}
            for key, label in PRINTED.items()
        ]  # fmt: skip
        scores = pd.concat([scores, pd.DataFrame(printed)], ignore_index=True)
    tables = {
        "solum_profiles": scores.dropna(subset="value").round(DIGITS),
        "solum_profile_counts": result.counts.rename(columns={"profiles": "item", "count": "n"}),
        **({"solum_profile_coverage": result.coverage.round(DIGITS)} if len(result.coverage) else {}),
        "predictions_profiles": result.points.drop(columns="cell").round(6),
    }
    return Prepared(b"", tables, notes=notes)


def require_independent(table: ValidationTable, calibration: CalibrationTable | None) -> None:
    """Reject places that the calibration has too.

    Raises
    ------
    InputError
        With the number of such places.
    """
    if calibration is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # reported by the calibration
        tables = [table.read(), calibration.read()]
    one, other = (position_columns(profiles, where="solum.validation") for profiles in tables)
    if one.degrees != other.degrees:
        return
    size = SAME_PLACE[one.degrees]
    places = [
        set(map(tuple, np.round(profiles[[pair.east, pair.north]].dropna().to_numpy(float) / size).astype(np.int64)))
        for profiles, pair in zip(tables, (one, other))
    ]
    if shared := places[0] & places[1]:
        raise InputError(
            f"solum.validation: {len(shared)} of {len(places[0])} places of {table.files[0].name} are among the "
            "profiles of [solum.calibration], so their errors are not independent; take them out of one of the two "
            "files, or use the folds of [solum.calibration]"
        )
