"""`[solum.calibration]`: profiles to parameters before the first tile, with their scores and uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.errors import CheckpointError
from tpsoil.evaluation import quoted_design
from tpsoil.grid import grid_of
from tpsoil.ingest.profiles import profile_notes
from tpsoil.mapped_area import mapped_cells
from tpsoil.points import position_columns, project_points
from tpsoil.solum import PUBLISHED, Calibration, calibrate, ensemble_thickness, ensembles
from tpsoil.solum.archive import calibration_bytes
from tpsoil.solum.calibration import calibration_from
from tpsoil.solum.inputs import NEEDED
from tpsoil.stage import Array, Prepared, Workbench
from tpsoil.variables import Variable

from .solum_layers import model_layers
from .solum_options import CalibrationTable
from .solum_study import bounds_table, five_digits, gain_over_baselines

SCORE_DIGITS = 4
TREATMENTS: Final = {
    "tobit": ("likelihood (Tobit)", "part of the likelihood"),
    "rmse": ("one-sided errors", "an error only where the model is thinner"),
}
"""Of censored profiles by each objective: as an attribute of the maps, and in a note."""


def quantile_outputs(table: CalibrationTable) -> tuple[Variable, ...]:
    """Variables of the quantile maps."""
    if not table.quantiles:
        return ()
    what = "parameters and residuals" if table.quantiles_of == "profiles" else "parameters alone"
    return tuple(ensembles.quantile_outputs(table.quantiles, f"over {what}"))


def prepare_calibration(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Read the profiles, take the layers at their cells, calibrate, and report."""
    study = options["table"]
    table: CalibrationTable = study.calibration
    layers = model_layers(cube, study)
    profiles = table.read()
    notes = [f"profiles: {text}" for text in profile_notes(profiles.attrs)]
    problems = profiles["problem"] != ""
    notes += [f"{count} profiles left out: {why}" for why, count in profiles.attrs.get("problems", {}).items()]
    usable = profiles[~problems].reset_index(drop=True)
    search = partial(
        calibrate,
        usable,
        layers,
        study.options,
        **table.search,
        area=mapped_places(usable, layers) if table.validation else None,
        seed=int(options["seed"]),
        workers=bench.workers,
        progress=bench.progress,
    )
    finished = None if bench.scratch is None else bench.scratch / "searches.jsonl"
    try:
        calibration = search(checkpoint=finished)
    except CheckpointError:  # of the recipe, the profiles or the layers before they were changed
        if finished is not None:
            finished.unlink()
        calibration = search(checkpoint=finished)
    if table.validation:
        notes.append(f"solum: {quoted_design(calibration.validation)[1]}")
    reasons = [str(reason) for reason in calibration.excluded["reason"]]
    notes += [f"{reasons.count(why)} profiles left out: {why}" for why in dict.fromkeys(reasons)]
    fit = calibration.scores[calibration.scores["kind"] == "fit"]
    notes += [f"zone {zone}: {note}" for zone, note in zip(fit["zone"].astype(str), fit["note"].astype(str)) if note]
    notes += [
        f"forest baseline without {name}: no value at {count} profiles"
        for name, count in calibration.settings["baseline_gaps"].items()
    ]
    attributes: dict[str, Any] = {
        "parameters": f"calibrated on {table.files[0].name}",
        "profiles_used": int(calibration.settings["profiles_used"]),
        **({"profiles_layout": str(profiles.attrs["layout"])} if "layout" in profiles.attrs else {}),
        "profiles_left_out": int(len(calibration.excluded) + problems.sum()),
    }
    if zones_without_profiles := [
        zone for zone in _zones_of(study.zones, layers) if zone not in calibration.parameters
    ]:
        zones_text = ", ".join(map(str, zones_without_profiles))
        notes.append(
            f"zone {zones_text}: no profile, so no parameters; its cells stay empty. Add profiles, or use fewer zones"
        )
        attributes["zones_without_profiles"] = zones_text
    pooled = calibration.scores[calibration.scores["zone"] == "all"].set_index("kind")["rmse"]
    attributes |= {f"rmse_{kind}_m": round(float(pooled[kind]), SCORE_DIGITS) for kind in ("cv_median", "cv", "fit")}
    attributes["parameter_set"] = "lowest RMSE of all starts"
    if censored := int(calibration.predictions["censored"].sum()):
        objective, treatment = TREATMENTS[table.objective]
        attributes |= {"profiles_censored": censored, "objective": objective}
        notes.append(f"{censored} profiles end in the solum: {treatment}; scores leave them out")
    if table.simulated:
        attributes["simulated"] = "true"
    return Prepared(calibration_bytes(calibration), _tables(calibration, usable), {"": attributes}, notes)


def mapped_places(profiles: pd.DataFrame, layers: xr.Dataset) -> npt.NDArray[np.float64]:
    """Cells that the model will map, in the coordinates of the profiles."""
    features = [name for name in NEEDED if layers[name].ndim][:1]
    if not features:  # every layer is assumed: the complete grid is mapped
        features = ["everywhere"]
        layers = layers.assign(everywhere=(("y", "x"), np.zeros((layers.sizes["y"], layers.sizes["x"]))))
    cells = mapped_cells(layers, features)
    if position_columns(profiles, where="solum.calibration").degrees:
        return cells
    return np.column_stack(project_points(cells[:, 0], cells[:, 1], grid_of(layers)))


def _zones_of(zoning: Any, layers: xr.Dataset) -> list[int]:
    """Zones the map may have: the published ones, those that are fitted, or those a layer's flags name."""
    if zoning == "published":
        return sorted(PUBLISHED)
    if zoning == "layer":
        return [int(code) for code in np.atleast_1d(layers["zone"].attrs.get("flag_values", []))]
    return [] if zoning == "none" else list(range(1, int(zoning.k) + 1))


def load_calibration(data: bytes) -> Calibration:
    """The calibration of a run."""
    return calibration_from(data, "the run's calibration")


def quantile_maps(layers: xr.Dataset, calibration: Calibration, table: CalibrationTable) -> Mapping[str, Array]:
    """The quantile maps of one window."""
    if not table.quantiles:
        return {}
    maps = ensemble_thickness(
        layers,
        calibration.ensembles if "zone" in layers else next(iter(calibration.ensembles.values())),
        calibration.options,
        probabilities=table.quantiles,
        residual=table.quantiles_of == "profiles",
        seed=int(calibration.settings["seed"]),
    )
    return {str(name): np.asarray(layer.values) for name, layer in maps.items()}


def _tables(calibration: Calibration, profiles: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables that are printed, and long ones for figures."""
    uncensored = calibration.predictions[~calibration.predictions["censored"]]
    names = {"observed": "observed", "cv_median": "predicted", "cv_low": "lower", "cv_high": "upper", "zone": "zone"}
    predictions = uncensored[list(names)].rename(columns=names)
    spread = calibration.spread[calibration.spread["at_bound"] != "fixed"]
    places = position_columns(profiles, where="solum.calibration")
    sites = profiles.loc[calibration.predictions["profile"].to_numpy(int), [places.east, places.north]]
    sites = sites.reset_index(drop=True).assign(observed_m=calibration.predictions["observed"].to_numpy(float))
    return {
        "solum_bounds": bounds_table(calibration),
        "solum_scores": calibration.scores.round(SCORE_DIGITS),
        "solum_parameters": five_digits(calibration.table()),
        "solum_spread": five_digits(spread),
        "solum_directions": calibration.directions,
        "predictions_solum": predictions.dropna().round(SCORE_DIGITS),
        "traces_solum": five_digits(calibration.traces),
        **({"solum_validation": calibration.validation.round(SCORE_DIGITS)} if len(calibration.validation) else {}),
        "solum_gain_baselines": gain_over_baselines(calibration).round(SCORE_DIGITS),
        "sites_solum": sites.round(6),
    }
