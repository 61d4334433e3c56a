"""Figures: each function draws one figure, into the caller's axes if passed, and returns it."""

from .canvas import Drawing, save
from .effects import accumulated_local_effects, joint_effect, partial_dependence
from .maps import map_classes, map_layer
from .models import calibration_traces, importance_ranking, interval_coverage, observed_predicted
from .palette import class_colours, class_names, colour_map, is_simulated, unit_text
from .places import class_representation, representativeness, transect
from .reading import pick, relief_of
from .regions import maps_compared, sensitivity_bars, side_by_side, study_area, transect_place
from .samples import correlation_matrix, element_histograms, group_comparison
from .study import calibration_scatter, relation, sampling_map
from .thematic import difference_map, response_time_map, zones_map
from .uncertainty import applicability_map, mean_and_spread_map, value_by_alpha_map
from .validation import distance_curves, observed_limits, residual_map

__all__ = [
    "Drawing",
    "accumulated_local_effects",
    "applicability_map",
    "calibration_scatter",
    "calibration_traces",
    "class_colours",
    "class_names",
    "class_representation",
    "colour_map",
    "correlation_matrix",
    "difference_map",
    "distance_curves",
    "element_histograms",
    "group_comparison",
    "importance_ranking",
    "interval_coverage",
    "is_simulated",
    "joint_effect",
    "map_classes",
    "map_layer",
    "maps_compared",
    "mean_and_spread_map",
    "observed_limits",
    "observed_predicted",
    "partial_dependence",
    "pick",
    "relation",
    "relief_of",
    "representativeness",
    "residual_map",
    "response_time_map",
    "sampling_map",
    "save",
    "sensitivity_bars",
    "side_by_side",
    "study_area",
    "transect",
    "transect_place",
    "unit_text",
    "value_by_alpha_map",
    "zones_map",
]
