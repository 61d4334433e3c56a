"""Tables of a finished store: what its stages printed, read back."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from tpsoil.engine.ledger import Ledger
from tpsoil.engine.manifest import RUN_KEY
from tpsoil.engine.prepare import read_tables

TITLES = {
    "rusle": "Water erosion beside the published mean",
    "water_erosion": "Water erosion beside the published mean",
    "solum": "Solum thickness by zone",
    "solum_zones": "Zones: mean environment",
    "solum_parameters": "Calibrated parameters by zone",
    "solum_scores": "Solum thickness at profiles: in sample (fit), out of fold (cv), baselines",
    "solum_spread": "Spread of the parameters: over starts, and over the joint 95 % region",
    "solum_directions": "Directions of the parameters that the profiles can see",
    "solum_gain_baselines": "RMSE of the held-out model below that of baselines, %: difference with its 95 % interval",
    "solum_validation": "Solum thickness by validation design: the question each answers, scores with 90 % intervals",
    "solum_bounds": "Bounds of the parameters",
    "solum_sensitivity": "Sensitivity: mean change of thickness when one input changes, mean absolute change by zone",
    "solum_forcing": "Uncertain forcing: share of the variance of thickness by source",
    "solum_comparison": "Thickness maps compared",
    "solum_gain": "RMSE of this map below that of other maps, %: difference with its 95 % interval",
    "solum_windows": "Thickness in windows",
    "solum_environment": "Covariates in windows",
    "solum_correlations": "Correlation with thickness",
    "solum_published": "This run beside the published study",
    "solum_published_zones": "Zones and parameters as published, Tables 3 and 4 of Chen et al. 2026, essd-2025-809",
    "calibration": "Calibration of XRF to ICP-MS",
    "samples": "Samples, mg/kg: screening and site means",
    "elements": "Elements, scores out of fold",
    "map_accuracy": "Map accuracy from a probability sample, with design-based intervals",
    "area_estimates": "Mean of the mapped area from a probability sample, with the map as auxiliary",
    "validation": "Scores by kind of folds: the question each answers, NSE with its 90 % interval over sites",
    "selection": "Forward selection of features: RMSE as selected (optimistic), nested, and with all features",
    "selection_steps": "Steps of the forward selection",
    "kriging": "Kriging of residuals: RMSE with and without it in the same folds, gain with its 90 % interval",
    "residuals": "Residuals in space: Moran's I, range and nugget of their variogram",
    "composition": "Composition: scores of the parts out of fold, coverage and width of their intervals",
    "with_extra": "Scores with the extra features of the samples; these are not mapped",
    "intervals": "Intervals out of fold: empirical coverage",
    "intervals_with_extra": "Intervals with the extra features",
    "coverage_by_class": "Intervals by class",
    "agreement": "Observed on predicted (Pineiro), and Theil's parts of the error",
    "drivers": "Drivers: rise of the held-out error, % (95 % limits); %IncMSE scaled and unscaled; linear shares",
    "groups": "Classes compared on site means; classes that share a letter do not differ",
    "calibration_lines": "Lines of ICP-MS on XRF by three methods",
    "xrf_coverage": "Coverage of ICP-MS readings, without and with the error of the calibration",
    "alteration": "Index of alteration, scores out of fold",
    "alteration_precipitation": "Index of alteration against annual precipitation, site means",
    "joint_drivers": "Joint importance of groups of covariates: rise of the held-out error, % (95 % limits)",
    "class_ranges": "Classes: samples, sites and ranges of covariates",
    "representation": "Sites and area by class",
    "published": "Beside the published numbers",
}
SCORES = ("element", "folds", "n", "nse", "rmse", "nse_original", "rmse_original")
LONG = ("predictions_", "coverage_", "importance_", "effect_", "traces_", "transect_", "correlations_",
        "sites_", "sensitivity_", "distances_", "letters_", "xrf_", "dependence_", "joint_", "relation_")  # fmt: skip
"""Tables of one element, kept for the figures and not printed."""
PRINTED = ("xrf_coverage", "joint_drivers")
"""Tables that are printed in spite of their prefix."""


def result_tables(store: str) -> dict[str, pd.DataFrame]:
    """Tables of a run by title: thickness by zone, scores by element and kind of folds.

    Parameters
    ----------
    store : str
        Output of a run: a path or URL.

    Returns
    -------
    dict of str to DataFrame

    Examples
    --------
    >>> result_tables("memory://an_empty_store.zarr")
    {}
    """
    ledger = Ledger.at(store, read_only=True)
    content: dict[str, Any] = ledger.read_json(RUN_KEY) or {}
    names = [str(stage["name"]) for stage in content.get("stages", [])]
    tables = read_tables(ledger, names)
    for name in names:
        data = ledger.read_table(f"tables/{name}.csv")
        if data is not None:
            tables[name] = pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""])
    for name in ("elements", "with_extra"):
        if name in tables:
            tables[name] = tables[name][[column for column in SCORES if column in tables[name]]]
    ordered = [name for name in TITLES if name in tables]
    ordered += [name for name in tables if name not in TITLES and (not name.startswith(LONG) or name in PRINTED)]
    return {table_title(name): tables[name] for name in ordered}


def table_title(name: str) -> str:
    """Title of a table of a run.

    Examples
    --------
    >>> table_title("zonal_basins")
    'Statistics by polygon: basins'
    """
    if name.startswith("zonal_"):
        return f"Statistics by polygon: {name.removeprefix('zonal_')}"
    if name.startswith("areas_"):
        return f"Means and totals of areas, errors correlated in space: {name.removeprefix('areas_')}"
    return TITLES.get(name, name)


def map_layers(store: str) -> list[str]:
    """Names of the maps of a run: the outputs of its models, without the covariates.

    Examples
    --------
    >>> map_layers("memory://an_empty_store.zarr")
    []
    """
    content: dict[str, Any] = Ledger.at(store, read_only=True).read_json(RUN_KEY) or {}
    return [
        str(name)
        for stage in content.get("stages", [])
        if stage["section"] in {"solum", "elements"}
        for name in stage["outputs"]
    ]
