"""Topsoil micronutrients: from element samples to maps with calibrated uncertainty."""

from __future__ import annotations

from tpsoil.micronutrients.alteration import alteration_and_precipitation, alteration_of_samples, shared_with_index
from tpsoil.micronutrients.calibration import XrfCalibration, calibrate_xrf
from tpsoil.micronutrients.checks import check_covariates, check_one_unit, sites_in_several_folds
from tpsoil.micronutrients.composition import Composition, log_ratios
from tpsoil.micronutrients.covariate_groups import class_ranges, covariate_groups
from tpsoil.micronutrients.drivers import betasq, importance, lmg, vif
from tpsoil.micronutrients.effects import accumulated_local_effects, partial_dependence
from tpsoil.micronutrients.element_model import ElementModel, MapOptions, element_model
from tpsoil.micronutrients.groups import classes_of, compact_letters, compare_groups
from tpsoil.micronutrients.mapping import map_elements, train_elements
from tpsoil.micronutrients.paired import calibrated_coverage, calibration_lines, calibration_residuals
from tpsoil.micronutrients.published import beside_published, published_values
from tpsoil.micronutrients.screening import censored_shares, screen_outliers
from tpsoil.micronutrients.summaries import censored_lognormal, representation, summarise_elements, summarise_sites

__all__ = [
    "Composition",
    "ElementModel",
    "MapOptions",
    "XrfCalibration",
    "accumulated_local_effects",
    "alteration_and_precipitation",
    "alteration_of_samples",
    "beside_published",
    "betasq",
    "calibrate_xrf",
    "calibrated_coverage",
    "calibration_lines",
    "calibration_residuals",
    "censored_lognormal",
    "censored_shares",
    "check_covariates",
    "check_one_unit",
    "class_ranges",
    "classes_of",
    "compact_letters",
    "compare_groups",
    "covariate_groups",
    "element_model",
    "importance",
    "lmg",
    "log_ratios",
    "map_elements",
    "partial_dependence",
    "published_values",
    "representation",
    "screen_outliers",
    "shared_with_index",
    "sites_in_several_folds",
    "summarise_elements",
    "summarise_sites",
    "train_elements",
    "vif",
]
