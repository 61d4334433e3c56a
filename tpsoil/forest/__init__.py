"""Random forests at raster scale; knows no soil."""

from __future__ import annotations

from .compiled import CompiledForest

__all__ = ["CompiledForest"]
