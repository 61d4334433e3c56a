"""The stages of a recipe in their order; the inputs of each stage are available when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tpsoil.engine.code import code_of, entries_of
from tpsoil.engine.durable import digest_of
from tpsoil.errors import RecipeError, TpsoilError, nearest_name
from tpsoil.ingest.dependencies import behind
from tpsoil.stage import Stage, decisive_options

from .accuracy_stage import accuracy_stages
from .derive_settings import DeriveSettings
from .derive_stage import derive_stages, resolve
from .element_places import SourceLayers, with_training_cube
from .element_reading import SampleReader
from .element_stage import element_stages
from .layer_stage import layer_stages
from .mask_stage import mask_stages
from .recipe import Recipe, grid_of_recipe
from .solum_stage import SolumTable, solum_stages
from .solum_transient import read_series
from .zonal_stage import zonal_stages

SECTIONS: Final = ("layers", "mask", "derive", "solum", "elements", "zonal", "accuracy")
"""What `--only` may name, beside the stages themselves."""


INHERITED: Final = ("assumptions", "licences", "citations")
"""Attributes that a map lists of the layers that it was made from."""
Inherited = Mapping[str, tuple[str, ...]]
"""Texts by attribute; licences as `layer: licence`."""


def samples_of(recipe: Recipe) -> SampleReader | None:
    """The samples of `[elements]`; None without it."""
    return None if recipe.elements is None else SampleReader(recipe.elements.file)


def stages_of(
    recipe: Recipe, in_cube: Mapping[str, Mapping[str, Any]], samples: SampleReader | None = None
) -> list[Stage]:
    """All stages of a recipe, checked against each other and against the files they name.

    Parameters
    ----------
    recipe : Recipe
    in_cube : mapping of str to mapping
        Attributes of the layers of the cube that `[run] cube` names: assumptions, licences and citations are inherited.
    samples : SampleReader, optional
        As `samples_of` gives it, where they are used again.

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
    inherited = inherited_of(in_cube)

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
            stages.extend(with_inherited([_with_origins(stage, recipe.fetched_files)], inherited))

    if recipe.layers:
        add(layer_stages(recipe.layers, faults, recipe.fetched), "layers")
    specs = [table.described() for table in recipe.layers]
    add(mask_stages(recipe.mask, specs, available, faults), "mask")
    if recipe.derive is not None:
        add(_derived(recipe, available, available - set(in_cube), faults), "derive")
    if (solum := recipe.solum) is not None:
        for name in solum.assumptions:
            if name in available:
                faults.append(f"solum.assumptions.{name}: the cube has this layer; leave the assumption out")
        _check_profiles(solum, _trained_on(recipe), faults)
        series = None if solum.transient is None else read_series(solum.transient, faults)
        add(solum_stages(solum, available, recipe.run.seed, series), "solum")
    samples = samples or samples_of(recipe)
    if (table := recipe.elements) is not None and samples is not None:
        behind(table.samples, "elements.samples", faults)
        if table.pairs is not None:
            behind(table.pairs.path, "elements.pairs.path", faults)
        elements = element_stages(table, available, samples, recipe.run.seed)
        if table.training_cube is not None:
            elements = with_training_cube(elements, behind(table.training_cube, "elements.training_cube", faults))
        add(_with_sources(elements, stages, faults) if table.train_on == "sources" else elements, "elements")
    if recipe.zonal:
        add(zonal_stages(recipe.zonal, faults), "zonal")
    if recipe.accuracy:
        add(accuracy_stages(recipe.accuracy, _trained_on(recipe), faults), "accuracy")
    if faults:
        raise RecipeError(recipe.where, list(dict.fromkeys(faults)))
    return stages


def _check_profiles(solum: SolumTable, trained_on: Sequence[str], faults: list[str]) -> None:
    """Add a fault for each file of profiles that is not there, and for a validation by profiles of the calibration."""
    for section in ("calibration", "validation"):
        for key in ("profiles", "sites"):
            if (path := getattr(getattr(solum, section), key, None)) is not None:
                behind(path, f"solum.{section}.{key}", faults)
    if solum.validation is not None and solum.validation.profiles in trained_on:
        faults.append(
            f"solum.validation.profiles: the parameters are fitted to {solum.validation.files[0].name}, expected "
            "profiles that they do not see; give others, or use the folds of [solum.calibration] and remove "
            "[solum.validation]"
        )


def _trained_on(recipe: Recipe) -> list[str]:
    """Tables that models of the recipe are trained on."""
    names = [] if recipe.elements is None else [recipe.elements.samples]
    if recipe.solum is not None and recipe.solum.calibration is not None:
        names.append(recipe.solum.calibration.profiles)
    return names


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


def with_inherited(stages: Sequence[Stage], inherited: dict[str, Inherited]) -> list[Stage]:
    """Stages whose maps also list assumptions, licences and citations of the layers that they read.

    Parameters
    ----------
    stages : sequence of Stage
    inherited : dict of str to Inherited
        By layer; extended by those of the stages.
    """
    results = []
    for stage in stages:
        own = _inheriting(stage, inherited)
        results.append(own)
        common = own.attributes.get("", {})
        inherited |= inherited_of(
            {output.name: {**common, **own.attributes.get(output.name, {})} for output in stage.outputs}
        )
    return results


def inherited_of(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Inherited]:
    """What maps of these layers inherit; layers without any of it are left out.

    Parameters
    ----------
    layers : mapping of str to mapping
        Attributes by the layer's name.

    Examples
    --------
    >>> inherited_of({"clay": {"licence": "CC-BY-4.0"}, "slope": {}})["clay"]["licences"]
    ('clay: CC-BY-4.0',)
    """
    results: dict[str, Inherited] = {}
    for name, attrs in layers.items():
        texts = {key: _texts(attrs, key) for key in INHERITED}
        texts["licences"] = texts["licences"] or tuple(f"{name}: {text}" for text in _texts(attrs, "licence"))
        texts["citations"] = texts["citations"] or _texts(attrs, "citation")
        if any(texts.values()):
            results[name] = texts
    return results


def _with_origins(stage: Stage, files: Mapping[str, Mapping[str, str]]) -> Stage:
    """A stage that reads files of open data, such as a DEM or polygons of the mask, with their licences."""
    origins = [files[str(file)] for file in stage.files if str(file) in files]
    if not origins or stage.section == "layers":
        return stage
    common = {
        **stage.attributes.get("", {}),
        "licences": list(dict.fromkeys(f"{one['entry']}: {one['licence']}" for one in origins)),
        "citations": list(dict.fromkeys(one["citation"] for one in origins)),
    }
    return replace(stage, attributes={**stage.attributes, "": common})


def _texts(attrs: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = attrs.get(key) or ()
    return (value,) if isinstance(value, str) else tuple(str(text) for text in value)


def _inheriting(stage: Stage, inherited: Mapping[str, Inherited]) -> Stage:
    common = dict(stage.attributes.get("", {}))
    for key in INHERITED:
        own = _texts(common, key)
        texts = [text for name in stage.inputs for text in inherited.get(name, {}).get(key, ())]
        if key == "assumptions":  # one text, which may have those of its parents already
            texts = [text for text in texts if text not in "".join(own)]
        if texts:
            merged = list(dict.fromkeys([*texts, *own]))
            common[key] = "; ".join(merged) if key == "assumptions" else merged
    return replace(stage, attributes={**stage.attributes, "": common}) if common else stage


def _suggestion(name: str, available: set[str]) -> str:
    near = nearest_name(name, available)
    return near if "did you mean" in near else "; add it under [[layers]] or [derive]"


def _with_sources(elements: Sequence[Stage], before: Sequence[Stage], faults: list[str]) -> list[Stage]:
    """Stages of elements that train on the sources of the layers that they read, and depend on these.

    Parameters
    ----------
    elements : sequence of Stage
    before : sequence of Stage
        Of the recipe's layers, mask and derived covariates.
    faults : list of str
        Extended by a line for each layer that cannot be computed beyond the grid.
    """
    makers = {
        spec.name: stage for stage in before if stage.section in ("layers", "mask", "derive") for spec in stage.outputs
    }
    results = []
    for stage in elements:
        table = stage.options.get("table")
        if getattr(table, "train_on", "map") != "sources" or table is None:
            results.append(stage)
            continue
        pending = [name for name in stage.inputs if name not in table.from_samples]
        used: dict[str, Stage] = {}
        while pending:
            name = pending.pop()
            maker = makers.get(name)
            if maker is None or maker.halo is None:
                reason = (
                    "no layer of [[layers]], [mask] or [derive]" if maker is None else "derived of the complete grid"
                )
                faults.append(f"elements.train_on: '{name}' is {reason}, so that it has no value outside the map; give "
                              "training_cube in place of train_on")  # fmt: skip
            elif name not in used:
                used[name] = maker
                pending += maker.inputs
        of_layers = {
            name: digest_of([decisive_options(one), code_of(entries_of(one)).modules]) for name, one in used.items()
        }
        unique = list({one.name: one for one in used.values()}.values())
        results.append(
            replace(
                stage,
                options={**stage.options, "sources": SourceLayers(dict(sorted(used.items())))},
                indifferent=(*stage.indifferent, "sources"),
                identity={**stage.identity, "table.train_on": {"sources": dict(sorted(of_layers.items()))}},
                files=(*stage.files, *(file for one in unique for file in one.files)),
                urls=(*stage.urls, *(url for one in unique for url in one.urls)),
            )
        )
    return results
