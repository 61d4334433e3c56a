"""The tables of a recipe as stages, in an order in which the inputs of each are available when it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from tpsoil.engine.code import code_of, entries_of
from tpsoil.engine.durable import digest_of
from tpsoil.errors import RecipeError, nearest_name
from tpsoil.stage import Stage, decisive_options

from .accuracy_stage import accuracy_stages
from .assembly import Assembly
from .derive_stage import derived_stages
from .element_stage import element_stages
from .layer_stage import layer_stages
from .mask_stage import mask_stages
from .recipe import Recipe, grid_of_recipe
from .solum_stage import solum_stages
from .zonal_stage import zonal_stages

SECTIONS: Final[Mapping[str, Callable[[Any, Assembly], Sequence[Stage]]]] = {
    "layers": layer_stages,
    "mask": mask_stages,
    "derive": derived_stages,
    "solum": solum_stages,
    "elements": element_stages,
    "zonal": zonal_stages,
    "accuracy": accuracy_stages,
}
"""What makes the stages of each table of a recipe. `--only` may name these tables, beside the stages themselves."""


def assembled(recipe: Recipe, in_cube: Mapping[str, Mapping[str, Any]]) -> Assembly:
    """All stages of a recipe, checked against each other and against the files they name.

    Parameters
    ----------
    recipe : Recipe
    in_cube : mapping of str to mapping
        Attributes of the layers of the cube that `[run] cube` names.

    Raises
    ------
    RecipeError
        For layers that no stage provides or that two provide, and for missing files; all at once.
    """
    assembly = Assembly(
        partial(grid_of_recipe, recipe),
        recipe.run.seed,
        in_cube,
        recipe.trained_on,
        recipe.fetched,
        recipe.fetched_files,
        _digest,
    )
    for section, stages_of in SECTIONS.items():
        table = getattr(recipe, section)
        if table or section == "mask":  # without [mask], water and ice of the class layers are masked
            assembly.add(stages_of(table, assembly), section)
    if assembly.faults:
        raise RecipeError(recipe.where, list(dict.fromkeys(assembly.faults)))
    return assembly


def _digest(stage: Stage) -> str:
    return digest_of([decisive_options(stage), code_of(entries_of(stage)).modules])


def selected_stages(stages: Sequence[Stage], only: str | None, where: str) -> list[Stage]:
    """The stages that `--only` names: one of them, that of a layer, or those of a table of the recipe.

    Raises
    ------
    RecipeError
    """
    if only is None:
        return list(stages)
    selected = [
        stage for stage in stages if only in {stage.name, stage.section, *(output.name for output in stage.outputs)}
    ]
    if not selected:
        names = [*SECTIONS, *(stage.name for stage in stages)]
        raise RecipeError(where, [f"--only {only}: the recipe has no such stage{nearest_name(only, names)}"])
    return selected
