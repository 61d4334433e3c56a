"""How good a model or a map is: scores, folds, intervals, and what each of them estimates."""

from tpsoil.evaluation.comparison import compare_models, score_intervals
from tpsoil.evaluation.distances import (
    DistanceCurves,
    distance_curves,
    distances_across_folds,
    distances_between_samples,
    nearest_distances,
)
from tpsoil.evaluation.folds import FOLD_KINDS, Labels, block_codes, folds_within, make_folds
from tpsoil.evaluation.intervals import (
    GroupQuantiles,
    conformal_quantile,
    crps,
    density_ratio,
    group_quantiles,
    interval_coverage,
    pit_values,
    quantile_coverage,
)
from tpsoil.evaluation.kriging import Kriging
from tpsoil.evaluation.matching import MatchedFolds, match_folds
from tpsoil.evaluation.sampling import Estimate, SampleDesign, intensity_weights, map_accuracy
from tpsoil.evaluation.scores import (
    ELEMENT_MEASURES,
    MEASURES,
    THICKNESS_MEASURES,
    Doubles,
    bias,
    ccc,
    mae,
    mre,
    nse,
    observed_against_predicted,
    rmse,
    score,
    squared_correlation,
)
from tpsoil.evaluation.spatial import AreaEstimate, Variogram, area_mean, fit_variogram, moran

__all__ = [
    "ELEMENT_MEASURES",
    "FOLD_KINDS",
    "MEASURES",
    "THICKNESS_MEASURES",
    "AreaEstimate",
    "DistanceCurves",
    "Doubles",
    "Estimate",
    "GroupQuantiles",
    "Kriging",
    "Labels",
    "MatchedFolds",
    "SampleDesign",
    "Variogram",
    "area_mean",
    "bias",
    "block_codes",
    "ccc",
    "compare_models",
    "conformal_quantile",
    "crps",
    "density_ratio",
    "distance_curves",
    "distances_across_folds",
    "distances_between_samples",
    "fit_variogram",
    "folds_within",
    "group_quantiles",
    "intensity_weights",
    "interval_coverage",
    "mae",
    "make_folds",
    "map_accuracy",
    "match_folds",
    "moran",
    "mre",
    "nearest_distances",
    "nse",
    "observed_against_predicted",
    "pit_values",
    "quantile_coverage",
    "rmse",
    "score",
    "score_intervals",
    "squared_correlation",
]
