"""Titles of the columns of a run's tables, with units, on the page and in a terminal; stores and CSV keep the names."""

from __future__ import annotations

import re
from typing import Any, Final

import pandas as pd

from .variables import CATALOGUE

MASS: Final = "mg/kg"
FIT: Final = "scale of the fit"

UNITS: Final = (
    ("solum_profiles", ""),
    ("solum", "m"), ("alteration", ""), ("samples", MASS), ("calibration", MASS), ("xrf", MASS), ("groups", MASS),
    ("traces", "m"), ("importance", ""), ("joint", ""), ("drivers", ""), ("effect", ""), ("dependence", ""),
    ("relation", ""), ("predictions", ""), ("sites", ""), ("zonal", ""), ("areas", ""), ("map_accuracy", ""),
    ("area_estimates", ""),
    ("composition", "unit of the part"), ("rusle", ""), ("water_erosion", ""), ("published", ""),
)  # fmt: skip
"""Unit of the means, errors and widths of a table, by the start of its name; of all others `FIT`."""

COLUMNS: Final = {
    # Rows: place, kind and origin.
    "element": "element", "layer": "layer", "zone": "zone", "class": "class", "classes": "class layer",
    "group": "group", "feature": "feature", "folds": "folds", "question": "question", "kind": "kind",
    "input": "input", "item": "item", "quantity": "quantity", "parameter": "parameter", "statistic": "statistic",
    "place": "place", "method": "method", "map": "map", "window": "window", "polygon": "polygon", "region": "region",
    "by": "by", "beside": "compared with", "source": "source", "distribution": "distribution", "reason": "reason",
    "note": "note", "meaning": "meaning", "units": "unit", "unit": "unit", "preset": "preset", "errors": "errors",
    "factor": "factor", "how": "method", "literature": "published value", "site": "site", "first": "first layer",
    "second": "second layer", "test": "test", "letters": "letters", "used": "used", "differs": "differs",
    "by_class": "calibrated by class", "at_bound": "at a bound", "start": "start", "bin": "bin", "rank": "rank",
    "lon": "longitude, degrees", "lat": "latitude, degrees", "x": "x, m", "y": "y, m", "distance_km": "distance, km",
    "west": "west, degrees", "south": "south, degrees", "east": "east, degrees", "north": "north, degrees",
    # Counts.
    "n": "n", "cells": "cells", "count": "cells", "sites": "sites", "samples": "samples", "pairs": "pairs",
    "before": "samples before screening", "removed": "samples removed", "censored": "below the detection limit",
    "extrapolated": "beyond the calibrated range", "negative": "negative", "not_positive": "not positive",
    "replicated_sites": "sites with replicates", "no_data": "cells without a value", "area_km2": "area, km2",
    "steady": "steady, cells", "bare": "bare, cells", "no steady state": "no steady state, cells",
    "capped at bedrock": "capped at bedrock, cells", "production above 1 m/a": "production above 1 m/a, cells",
    "kept": "selected", "evaluation": "evaluations",
    # Distribution of values.
    "mean": "mean{u}", "mean m": "mean, m", "least m": "minimum, m", "greatest m": "maximum, m", "min": "minimum{u}",
    "max": "maximum{u}", "median": "median{u}", "sd": "standard deviation{u}", "cv": "coefficient of variation, %",
    "value": "value{u}", "observed": "observed{u}", "predicted": "predicted{u}", "observed_m": "observed, m",
    "low_fence": "lower fence{u}", "high_fence": "upper fence{u}", "expected": "expected sites",
    # Scores.
    "nse": "NSE", "r2": "R2", "r2_pearson": "squared correlation", "squared_correlation": "squared correlation",
    "ccc": "concordance (CCC)", "rmse": "RMSE{u}", "mae": "MAE{u}", "bias": "bias{u}", "mre": "mean relative error",
    "rmse_fit": "RMSE in sample, m", "rmse_cv": "RMSE out of fold, m", "objective": "best RMSE{u}",
    "common_rmse": "RMSE at common sites{u}", "rmse_beside": "RMSE of the other{u}", "gain": "gain{u}",
    "gain_percent": "gain, %", "difference": "difference{u}", "rmse_forest": "RMSE of the forest{u}",
    "rmse_kriged": "RMSE with kriging{u}", "distance_gap_km": "distance to the map's distances, km",
    "lower": "lower limit", "upper": "upper limit", "low": "lower limit", "high": "upper limit",
    "range_reached": "range reached within the cutoff",
    # Profiles beside a map.
    "profile_id": "profile", "agrees": "map agrees", "mean of the map everywhere": "mean of the map everywhere, m",
    "mean of the other profiles of the zone": "mean of the other profiles of the zone, m",
    # Relations.
    "slope": "slope", "intercept": "intercept{u}", "r": "r", "p": "p", "rho": "rank correlation",
    "p_joint": "p of slope 1 and intercept 0", "u_bias": "share of error: bias", "u_slope": "share of error: slope",
    "u_error": "share of error: scatter", "residual_sd": "standard deviation of residuals{u}",
    "residual": "residual{u}", "scaled": "%IncMSE, scaled", "unscaled": "%IncMSE, unscaled",
    "moran_i": "Moran's I", "moran_p": "p of Moran's I", "range_km": "range, km", "nugget_share": "nugget, share",
    # Intervals and distributions.
    "level": "level", "coverage": "coverage", "width": "mean width{u}", "mean_width": "mean width{u}",
    "binomial_se": "standard error of coverage", "interval_score": "interval score{u}", "crps": "CRPS{u}",
    "conformal": "coverage, conformal", "quantile": "coverage, quantiles", "spread": "coverage, spread of trees",
    "held": "coverage", "by_quantiles": "coverage, quantiles", "by_spread": "coverage, spread of trees",
    "prediction": "prediction", "interval": "interval", "limits_above": "lower limits above the interval",
    "below": "share below", "above": "share above", "pit_mean": "mean PIT", "share": "share",
    "within_sd": "standard deviation within sites{u}", "within_share": "share of variance within sites",
    "width_measurement": "width for a measurement{u}", "width_true": "width for the true value{u}",
    "xrf": "XRF{u}", "icp": "ICP-MS{u}", "calibrated": "calibrated{u}", "without": "coverage without its error",
    "with_error": "coverage with its error", "width_without": "width without its error{u}",
    "width_with": "width with its error{u}",
    # Importance.
    "importance": "importance", "held_out": "rise of the held-out error, %",
    "increase_mse": "%IncMSE, scaled", "mean_increase": "%IncMSE, unscaled", "standard_error": "standard error",
    "positive": "share of repeats above 0", "betasq": "beta squared, share", "lmg": "LMG, share",
    "vif": "variance inflation",
    "effect": "effect{u}", "sample_to_sample": "sample to sample, km", "area_to_sample": "area to sample, km",
    "random": "random folds, km", "block": "block folds, km", "knndm": "kNNDM folds, km",
    "distance_to_sample_km": "distance to the nearest sample, km",
    # Parameters of the solum model.
    "h0": "h0, m", "rho_s": "rho_s, kg m-3", "a": "a, m a-1", "b": "b, m2 a kJ-1", "alpha": "alpha", "beta": "beta",
    "gamma": "gamma", "D": "D, m2 a-1", "best": "best", "starts_low": "minimum over starts",
    "starts_high": "maximum over starts", "visible": "directions above the resolution",
    "singular_values": "singular values, m",
    "flattest": "flattest direction", "decrease_m": "input decreased, m", "increase_m": "input increased, m",
    "mean_absolute_m": "mean absolute change, m", "change": "change of the input", "decrease mm":
    "input decreased, mm", "increase mm": "input increased, mm", "sd_alone_m": "standard deviation alone, m",
    "share_alone": "share alone", "first_order": "first-order share", "total_order": "total share",
    # Beside published numbers, and maps of classes.
    "published": "published", "here": "this run", "this_run": "this run", "ratio": "ratio",
    "site_share": "share of sites", "area_share": "share of the area",
    # Samples of known probability, areas, compositions and selected features.
    "sample": "sample", "measure": "measure", "estimator": "estimator", "se": "standard error", "df":
    "degrees of freedom", "map_mean": "mean of the map", "independent_se": "standard error, independent cells",
    "total": "total", "total_lower": "total, lower limit", "total_upper": "total, upper limit", "total_units":
    "unit of the total", "part": "part", "mean_observed": "mean observed{u}", "mean_predicted": "mean predicted{u}",
    "features": "features", "nested_rmse": "RMSE, nested{u}", "all_rmse": "RMSE with all features{u}",
    "forests": "forests", "step": "step", "added": "added",
    "sin_aspect": "sine of aspect", "cos_aspect": "cosine of aspect",
    # Observations of which some are lower limits.
    "limits": "lower limits", "below_limit": "limits not reached, share", "shortfall": "mean shortfall at limits{u}",
    "rmse_tobit": "RMSE with lower limits{u}", "bias_tobit": "bias with lower limits{u}",
    "concordance": "concordance of pairs",
}  # fmt: skip
"""Titles; `{u}` is replaced by the unit of the table."""

ENDINGS: Final = {
    "_original": f" ({MASS})", "_lower": ", lower limit", "_upper": ", upper limit", "_min": ", minimum",
    "_max": ", maximum", "_site": " at the site",
}  # fmt: skip


NAMED: Final = frozenset({
    "measure", "statistic", "estimator", "quantity", "folds", "kind", "method", "parameter", "layer", "feature",
    "input", "first", "second", "covariate", "design", "model",
})  # fmt: skip
"""Columns whose cells are names of tpsoil's own; in all others a user's names stay as they are."""
MEASURES: Final = frozenset({
    "nse", "r2", "squared_correlation", "ccc", "rmse", "mae", "mre", "crps", "below_limit", "shortfall", "rmse_tobit",
    "bias_tobit", "concordance", "gain_percent", "area_km2",
})  # fmt: skip
"""Names of columns that are cells too, with the column's title."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")


def cell_words(value: Any) -> Any:
    """A name of tpsoil's own in plain words; anything else as it is.

    Examples
    --------
    >>> cell_words("rmse_tobit"), cell_words("annual_precipitation"), cell_words(0.5)
    ('RMSE with lower limits', 'annual precipitation', 0.5)
    """
    if not isinstance(value, str):
        return value
    if value in MEASURES:
        return COLUMNS[value].format(u="")
    return "kNNDM" if value == "knndm" else value.replace("_", " ") if _NAME.fullmatch(value) else value


OF_SOLUM: Final = {"censored": "incomplete (lower limit)"}
"""Titles in tables whose name begins with "solum", where they differ from those of samples."""


def known_title(name: str, table: str = "") -> str | None:
    """Title of a column with its unit; None where it has none.

    Parameters
    ----------
    name : str
        Column, or a layer of the catalogue.
    table : str
        Name of the table, which decides the unit of means and errors.

    Examples
    --------
    >>> known_title("rmse", "solum_scores"), known_title("annual_precipitation_min"), known_title("q_x")
    ('RMSE, m', 'mean annual precipitation, mm, minimum', None)
    >>> known_title("censored", "samples"), known_title("censored", "solum_scores")
    ('below the detection limit', 'incomplete (lower limit)')
    """
    if name in OF_SOLUM and table.startswith("solum"):
        return OF_SOLUM[name]
    if name in COLUMNS:
        unit = next((unit for start, unit in UNITS if table.startswith(start)), FIT if table else "")
        return COLUMNS[name].format(u=f", {unit}" if unit else "")
    if name in CATALOGUE:
        entry = CATALOGUE[name]
        return entry.long_name if entry.units in {"1", ""} else f"{entry.long_name}, {entry.units}"
    if match := re.fullmatch(r"[pq](\d\d)", name):
        return f"{int(match[1])} % quantile"
    if match := re.fullmatch(r"zone (\d+) mm", name):
        return f"zone {match[1]}, mm"
    if name.startswith("class "):
        return f"class, {known_title(name.removeprefix('class ')) or name.removeprefix('class ').replace('_', ' ')}"
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
    base = None if ending is None else known_title(name.removesuffix(ending))
    return None if ending is None or base is None else base + ENDINGS[ending]


def with_titles(table: pd.DataFrame, name: str = "") -> pd.DataFrame:
    """A table as it is shown: titles in place of the names of its columns, plain words in cells that are names.

    A user's own column gets spaces for underscores; stores and CSV keep all names.

    Parameters
    ----------
    table : DataFrame
        Not changed.
    name : str
        Name of the table, as in a store.

    Examples
    --------
    >>> list(with_titles(pd.DataFrame({"zone": [1], "rmse": [0.3], "other_map": [0.4]}), "solum_scores"))
    ['zone', 'RMSE, m', 'other map']
    """
    titles = [known_title(str(column), name) or str(column).replace("_", " ") for column in table.columns]
    named = {column: table[column].map(cell_words) for column in table.columns if column in NAMED}
    result = table.assign(**named).set_axis(titles, axis="columns")
    result.attrs = dict(table.attrs)
    return result
