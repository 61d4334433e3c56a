"""Solum thickness: a mass balance of soil production against erosion by water, wind and gravity."""

from __future__ import annotations

from .calibration import Calibration, calibrate
from .climate_series import ClimateSeries, climate_series
from .comparison import compare_maps, paired_difference, pearson_matrix, relative_difference, thickness_map
from .covariates import COVARIATES, KEPT_BY_STUDY
from .energy import eemt
from .ensembles import Ensemble, ensemble_thickness
from .extents import WINDOWS, transect, window_statistics
from .forced import ForcedEnsembles, forced_ensembles, forced_thickness
from .forced_calibration import ForcedCalibration, calibrate_forced
from .forcing import ForcingSource
from .forcing_variance import forcing_variance
from .identifiability import identifiability, sensitivities
from .independent import ProfileValidation, validate_at_profiles
from .observations import Observations, prepare_profiles
from .options import SolumOptions
from .parameters import (
    PRESETS,
    PUBLISHED,
    PUBLISHED_SCORES,
    PUBLISHED_ZONES,
    Bounds,
    SolumParameters,
    ZoneMeans,
    bounds,
)
from .published import published_zones
from .ranking import rank_covariates
from .search import Effort
from .sensitivity import one_at_a_time
from .space import COMBINATIONS, combinations, search_space
from .study import PUBLISHED_VALUES, PublishedValue, published_zone_table
from .thickness import status_counts, thickness
from .transient import evolve, evolve_through, time_to_bare
from .transitions import TransientSettings, transient_thickness
from .zones import Zones

__all__ = [
    "COMBINATIONS",
    "COVARIATES",
    "KEPT_BY_STUDY",
    "PRESETS",
    "PUBLISHED",
    "PUBLISHED_SCORES",
    "PUBLISHED_VALUES",
    "PUBLISHED_ZONES",
    "WINDOWS",
    "Bounds",
    "Calibration",
    "ClimateSeries",
    "Effort",
    "Ensemble",
    "ForcedCalibration",
    "ForcedEnsembles",
    "ForcingSource",
    "Observations",
    "ProfileValidation",
    "PublishedValue",
    "SolumOptions",
    "SolumParameters",
    "TransientSettings",
    "ZoneMeans",
    "Zones",
    "bounds",
    "calibrate",
    "calibrate_forced",
    "climate_series",
    "combinations",
    "compare_maps",
    "eemt",
    "ensemble_thickness",
    "evolve",
    "evolve_through",
    "forced_ensembles",
    "forced_thickness",
    "forcing_variance",
    "identifiability",
    "one_at_a_time",
    "paired_difference",
    "pearson_matrix",
    "prepare_profiles",
    "published_zone_table",
    "published_zones",
    "rank_covariates",
    "relative_difference",
    "search_space",
    "sensitivities",
    "status_counts",
    "thickness",
    "thickness_map",
    "time_to_bare",
    "transect",
    "transient_thickness",
    "validate_at_profiles",
    "window_statistics",
]
