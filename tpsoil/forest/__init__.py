"""Random forests at raster scale; knows no soil."""

from __future__ import annotations

from tpsoil.evaluation import observed_against_predicted, score
from tpsoil.forest.applicability import area_of_applicability
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.estimator import SoilForest
from tpsoil.forest.estimator_maps import predict_cube
from tpsoil.forest.held_out import held_out_importance
from tpsoil.forest.importance import permutation_importance
from tpsoil.forest.intervals import conformal_intervals, coverage_table
from tpsoil.forest.mapping import predict_cube_many
from tpsoil.forest.options import TrainingOptions
from tpsoil.forest.selection import FeatureSelection, select_features
from tpsoil.forest.trained import TrainedForest, load_trained
from tpsoil.forest.training import train

__all__ = [
    "CompiledForest",
    "FeatureSelection",
    "SoilForest",
    "TrainedForest",
    "TrainingOptions",
    "area_of_applicability",
    "conformal_intervals",
    "coverage_table",
    "held_out_importance",
    "load_trained",
    "observed_against_predicted",
    "permutation_importance",
    "predict_cube",
    "predict_cube_many",
    "score",
    "select_features",
    "train",
]
