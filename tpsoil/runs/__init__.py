"""Recipes, plans and tiles: the only place where stages meet.

How to add a stage
------------------
1. Write `runs/NAME_stage.py`: a `Section` with the keys of its table in a recipe, a module-level `compute(window)` that
   returns one array of the window's shape for every output, and a function that gives `Stage`s of the table. A stage
   names what it reads (`inputs`), makes (`outputs`), how far around a cell it looks (`halo`; None for the whole grid),
   what of its options decides the result (`identity`), and, where it learns first, `prepare` and `load`.
2. Add the table to `Recipe` and `TABLES` in `runs/recipe.py`, and one `add(...)` line, in order, to `runs/stages.py`.

`compute` gets numpy layers with their attributes and coordinates, the halo included, and is called on any thread,
process or host: it must be serial, and give a cell the same value whatever window the cell comes in. Reading, writing,
resuming, digests, memory and progress are the engine's.
"""

from __future__ import annotations

from .preview import Preview, preview, state_of, status
from .recipe import Recipe, read_recipe
from .results import map_layers, result_tables
from .session import run

__all__ = ["Preview", "Recipe", "map_layers", "preview", "read_recipe", "result_tables", "run", "state_of", "status"]
