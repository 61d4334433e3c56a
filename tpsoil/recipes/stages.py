"""The stages of a recipe in their order; the inputs of each stage are available when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tpsoil.errors import RecipeError, TpsoilError, nearest_name
from tpsoil.stage import Stage

from .derive_resolve import resolve
from .derive_settings import DeriveSettings
from .derive_stage import derive_stages
from .element_stage import element_stages
from .layer_stage import behind, layer_stages
from .mask_stage import mask_stages
from .recipe import Recipe, grid_of_recipe
from .solum_stage import solum_stages
from .zonal_stage import zonal_stages

SECTIONS: Final = ("layers", "mask", "derive", "solum", "elements", "zonal")
"""What `--only` may name, beside the stages themselves."""


def stages_of(recipe: Recipe, in_cube: Sequence[str]) -> list[Stage]:
    """All stages of a recipe, checked against each other and against the files they name.

    Parameters
    ----------
    recipe : Recipe
    in_cube : sequence of str
        Layers of the cube that `[run] cube` names.

    Returns
    -------
    list of Stage
        In an order in which every stage comes after those it reads from.

    Raises
    ------
    RecipeError
        For layers that no stage provides or that two provide, and for missing files; all at once.
    """
    faults: list[str] = []
    available = set(in_cube)
    stages: list[Stage] = []
    assumed: dict[str, str] = {}

    def add(more: Sequence[Stage], at: str) -> None:
        for stage in more:
            for name in stage.inputs:
                if name not in available:
                    faults.append(
                        f"{at}: needs layer '{name}', which no earlier stage provides{_suggestion(name, available)}"
                    )
            for output in stage.outputs:
                if any(output.name == existing.name for earlier in stages for existing in earlier.outputs):
                    faults.append(
                        f"{at}: provides layer '{output.name}', which another part of the recipe provides too"
                    )
                available.add(output.name)
            stages.extend(with_inherited([stage], assumed))

    add(layer_stages(recipe.layers, recipe.path, faults), "layers")
    specs = [table.described() for table in recipe.layers]
    add(mask_stages(recipe.mask, specs, available, recipe.path, faults), "mask")
    if recipe.derive is not None:
        add(_derived(recipe, available, available - set(in_cube), faults), "derive")
    if recipe.solum is not None:
        for name in recipe.solum.assumptions:
            if name in available:
                faults.append(f"solum.assumptions.{name}: the cube has this layer; leave the assumption out")
        profiles = None
        if recipe.solum.calibration is not None:
            profiles = Path(recipe.path(recipe.solum.calibration.profiles))
            behind(str(profiles), "solum.calibration.profiles", faults)
        add(solum_stages(recipe.solum, available, profiles, recipe.run.seed), "solum")
    if recipe.elements is not None:
        samples = recipe.path(recipe.elements.samples)
        behind(samples, "elements.samples", faults)
        pairs = None
        if recipe.elements.pairs is not None:
            pairs = Path(recipe.path(recipe.elements.pairs.path))
            behind(str(pairs), "elements.pairs.path", faults)
        elements = element_stages(recipe.elements, available, Path(samples), recipe.run.seed, pairs=pairs)
        add(elements, "elements")
    add(zonal_stages(recipe.zonal, recipe.path, faults), "zonal")
    if faults:
        raise RecipeError(recipe.where, list(dict.fromkeys(faults)))
    return stages


def _derived(recipe: Recipe, available: set[str], supplied: set[str], faults: list[str]) -> list[Stage]:
    """The stages of `[derive]`; its faults are added to those of the other tables."""
    own: list[str] = []
    settings = recipe.derive or DeriveSettings()
    items = resolve(settings, available, supplied=supplied, at="derive.", faults=own)
    stages: list[Stage] = []
    if not own:
        try:
            stages = derive_stages(items, settings, grid_of_recipe(recipe), at="derive.", faults=own)
        except TpsoilError as error:
            own.append(str(error))
    faults += own
    return stages


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


def with_inherited(stages: Sequence[Stage], assumed: dict[str, str]) -> list[Stage]:
    """Stages whose maps also list what was assumed for the layers that they read.

    Parameters
    ----------
    stages : sequence of Stage
    assumed : dict of str to str
        Assumptions by layer; extended by those of the stages.
    """
    results = []
    for stage in stages:
        results.append(_inheriting(stage, assumed))
        for output in stage.outputs:
            if text := _assumption(results[-1], output.name):
                assumed[output.name] = text
    return results


def _inheriting(stage: Stage, assumed: Mapping[str, str]) -> Stage:
    own = str(stage.attributes.get("", {}).get("assumptions", ""))
    inherited = [text for name in stage.inputs if (text := assumed.get(name)) and text not in own]
    if not inherited:
        return stage
    text = "; ".join([*dict.fromkeys(inherited), *([own] if own else [])])
    return replace(stage, attributes={**stage.attributes, "": {**stage.attributes.get("", {}), "assumptions": text}})


def _assumption(stage: Stage, output: str) -> str:
    of_one = stage.attributes.get(output, {}).get("assumptions")
    return str(of_one or stage.attributes.get("", {}).get("assumptions") or "")


def _suggestion(name: str, available: set[str]) -> str:
    near = nearest_name(name, available)
    return near if "did you mean" in near else "; add it under [[layers]] or [derive]"
