"""TOML -> a validated recipe -> the stages of a run: the only package that combines the domain packages.

How to add a stage
------------------
1. Write `recipes/NAME_stage.py`: a `Section` with the keys of its table in a recipe, a module-level `compute(window)`
   that returns one array of the window's shape for every output, and a function that gives `Stage`s of the table.
2. Add the table to `Recipe` and `TABLES` in `recipes/recipe.py`, and one `add(...)` line, in order, to
   `recipes/stages.py`.

A derived covariate needs neither: its class in `covariates/groups/` is its table, its command and its stage.
"""

from __future__ import annotations

from tpsoil.engine import Preview, state_of, status

from .derive import derived_layers
from .fetching import Fetched, fetch
from .jobs import map_layers, preview, result_tables, run
from .open_data import Network
from .recipe import Recipe, read_recipe
from .reference import reference_text

__all__ = [
    "Fetched", "Network", "Preview", "Recipe", "derived_layers", "fetch", "map_layers", "preview", "read_recipe",
    "reference_text", "result_tables", "run", "state_of", "status",
]  # fmt: skip
