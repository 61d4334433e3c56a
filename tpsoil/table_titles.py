"""Titles of the tables of a run, in the order in which a terminal prints them; the page has the same titles."""

from __future__ import annotations

from typing import Final

TITLES: Final = {
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
    "solum_profiles": "Solum thickness at profiles that no parameter was fitted to, with intervals; no map accuracy",
    "solum_profile_counts": "Profiles that no parameter was fitted to",
    "solum_profile_coverage": "Intervals of thickness at profiles that no parameter was fitted to",
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
    "uncertainty": "Predictive distributions out of fold, scale of the fit: coverage, sharpness, interval score, CRPS",
    "quantile_coverage": "Quantiles out of fold: share of observations at or below each",
    "pit": "Probability integral transform: uniform where distributions are calibrated",
    "measurement": "Error within sites: intervals for a new measurement and for the true value, scale of the fit",
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


DRAWN: Final = (
    "predictions_", "coverage_", "importance_", "effect_", "traces_", "transect_", "correlations_", "sites_",
    "sensitivity_", "distances_", "letters_", "xrf_", "dependence_", "joint_", "relation_",
)  # fmt: skip
"""Prefixes of the names of tables that are kept for figures."""


def is_drawn(name: str) -> bool:
    """Whether a table of a run is kept for a figure, and neither printed nor shown, by its name.

    Examples
    --------
    >>> is_drawn("predictions_Fe"), is_drawn("elements"), is_drawn("xrf_coverage")
    (True, False, False)
    """
    return name not in TITLES and f"{name}_".startswith(DRAWN)


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
