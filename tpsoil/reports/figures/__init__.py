"""Figures: one function each, returns the Figure, draws into the caller's axes where given."""

from .canvas import Drawing, save
from .maps import map_classes, map_layer
from .palette import class_colours, class_names, colour_map, is_simulated, unit_text
from .reading import pick

__all__ = [
    "Drawing",
    "class_colours",
    "class_names",
    "colour_map",
    "is_simulated",
    "map_classes",
    "map_layer",
    "pick",
    "save",
    "unit_text",
]
