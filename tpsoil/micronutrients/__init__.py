"""Topsoil micronutrients: from element samples to maps with calibrated uncertainty."""

from __future__ import annotations

from tpsoil.micronutrients.calibration import XrfCalibration, calibrate_xrf
from tpsoil.micronutrients.drivers import betasq, importance, lmg, vif
from tpsoil.micronutrients.effects import accumulated_local_effects, partial_dependence
from tpsoil.micronutrients.groups import classes_of, compare_groups
from tpsoil.micronutrients.letters import compact_letters
from tpsoil.micronutrients.mapping import map_elements, train_elements
from tpsoil.micronutrients.screening import censored_shares, screen_outliers
from tpsoil.micronutrients.summaries import censored_lognormal, representation, summarise_elements, summarise_sites

__all__ = [
    "XrfCalibration",
    "accumulated_local_effects",
    "betasq",
    "calibrate_xrf",
    "censored_lognormal",
    "censored_shares",
    "classes_of",
    "compact_letters",
    "compare_groups",
    "importance",
    "lmg",
    "map_elements",
    "partial_dependence",
    "representation",
    "screen_outliers",
    "summarise_elements",
    "summarise_sites",
    "train_elements",
    "vif",
]
