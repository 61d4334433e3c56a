"""Random forests at raster scale; knows no soil."""

from __future__ import annotations

from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.scores import observed_against_predicted, score
from tpsoil.forest.trained import TrainedForest, load_trained
from tpsoil.forest.training import train

__all__ = ["CompiledForest", "TrainedForest", "load_trained", "observed_against_predicted", "score", "train"]
