"""`[elements]`: a forest for each element, trained on samples at the cube's cells and mapped over all cells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from tpsoil.errors import InputError, UnitsError
from tpsoil.forest.layers import MapModel
from tpsoil.forest.outputs import layer_variables
from tpsoil.ingest import read_table
from tpsoil.ingest.dependencies import behind
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.stage import Stage
from tpsoil.variables import Variable

from .assembly import Assembly
from .element_composition import composition_stages, composition_table
from .element_index_stage import index_stages
from .element_maps import (
    applicability_notes,
    compute_element,
    compute_elements,
    prepare_element,
    prepare_uncalibrated,
    tally_applicability,
)
from .element_options import REPORTED, ElementsTable
from .element_places import SourceLayers, with_training_cube
from .element_reading import SampleReader, attributes_of
from .element_report import report_element
from .element_representation import representation_stages
from .mask_stage import mask_inputs

__all__ = ["ElementsTable", "element_stages"]

INDIFFERENT: Final = ("samples", "elements", "citation", "pairs.path", "training_cube")
"""Keys that decide nothing of an element: its own column and files are options of their own."""
CALIBRATED: Final = (
    "interval", "conformal", "kriging", "extra_layers", "icp", "pairs", "calibration", "variance_ratio",
    "calibration_error", "feature_selection", "selection_trees",
)  # fmt: skip
"""Keys that decide nothing of a map before calibration, beside those of its tables."""

BYTES_PER_CELL: Final = 64.0
"""Beside the inputs: the design rows, mean and spread in float64."""
BYTES_WITH_INTERVAL: Final = 160.0
"""The same with two quantiles, two limits, the index, and a batch of columns of covariate space."""

BYTES_OF_KRIGING: Final = 72.0
"""Position, residual, and mean and limits in float64."""


def element_stages(table: ElementsTable, assembly: Assembly) -> list[Stage]:
    """The index of alteration, one stage for each element, its map before calibration, and representation."""
    behind(table.samples, "elements.samples", assembly.faults)
    if table.pairs is not None:
        behind(table.pairs.path, "elements.pairs.path", assembly.faults)
    samples = SampleReader(table.file)
    assembly.checks.append(("elements", partial(check_samples, table, samples)))
    stages = _stages_of_samples(table, assembly.available, samples, assembly.seed)
    if table.training_cube is not None:
        sources = behind(table.training_cube, "elements.training_cube", assembly.faults)
        stages = with_training_cube(stages, sources)
    return _with_sources(stages, assembly) if table.train_on == "sources" else stages


def _with_sources(stages: Sequence[Stage], assembly: Assembly) -> list[Stage]:
    """Stages of elements that train on the sources of the layers that they read, and depend on these."""
    results = []
    for stage in stages:
        table = stage.options.get("table")
        if getattr(table, "train_on", "map") != "sources" or table is None:
            results.append(stage)
            continue
        used = _makers([name for name in stage.inputs if name not in table.from_samples], assembly)
        unique = list({one.name: one for one in used.values()}.values())
        of_layers = {name: assembly.digest(one) for name, one in sorted(used.items())}
        results.append(
            replace(
                stage,
                options={**stage.options, "sources": SourceLayers(dict(sorted(used.items())))},
                indifferent=(*stage.indifferent, "sources"),
                identity={**stage.identity, "table.train_on": {"sources": of_layers}},
                files=(*stage.files, *(file for one in unique for file in one.files)),
                urls=(*stage.urls, *(url for one in unique for url in one.urls)),
            )
        )
    return results


def _makers(pending: list[str], assembly: Assembly) -> dict[str, Stage]:
    """The stages behind layers, by layer; one that cannot be computed beyond the grid is a fault."""
    makers = {spec.name: stage for stage in assembly.stages for spec in stage.outputs}
    used: dict[str, Stage] = {}
    while pending:
        name = pending.pop()
        maker = makers.get(name)
        if maker is None or maker.halo is None or maker.section not in ("layers", "mask", "derive"):
            whole = maker is not None and maker.halo is None
            reason = "derived of the complete grid" if whole else "no layer of [[layers]], [mask] or [derive]"
            assembly.faults.append(
                f"elements.train_on: '{name}' is {reason}, so that it has no value outside the map; give "
                "training_cube in place of train_on"
            )
        elif name not in used:
            used[name] = maker
            pending += maker.inputs
    return used


def _stages_of_samples(table: ElementsTable, available: set[str], samples: SampleReader, seed: int) -> list[Stage]:
    masks = mask_inputs(available)
    stages = index_stages(table, available, samples, seed, masks) if table.cia is not None else []
    for symbol in table.columns:
        stages.append(_element_stage(table, symbol, samples, seed, masks))
        if table.uncalibrated_maps and symbol in table.calibrated:
            stages.append(_uncalibrated_stage(table, symbol, samples, seed, masks))
    if table.composition is not None:
        stages += composition_stages(table, samples, seed, masks)
    if table.representation:
        stages += representation_stages(table, samples, masks)
    return stages


def check_samples(table: ElementsTable, samples: SampleReader) -> list[str]:
    """Reject what a run cannot use in the samples of any element; texts of warnings, each once.

    Raises
    ------
    MissingInputError, InputError, UnitsError
        As `design_of`, for what the table alone shows. Faults of several elements are listed at once.
    """
    own = table if table.composition is None else composition_table(table)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        if table.pairs is not None:
            read_table(table.pairs.file, encoding=table.encoding, where=table.pairs.file.name)
    names = [*((table, name) for name in table.columns), *((own, name) for name in table.parts)]
    readings = [samples.reading(one, name) for one, name in names]
    faults = list({str(one.fault): one.fault for one in readings if one.fault is not None}.values())
    if len(faults) == 1 or (faults and not isinstance(faults[0], InputError)):
        raise faults[0]
    if faults:
        kind = UnitsError if all(isinstance(fault, UnitsError) for fault in faults) else InputError
        raise kind(f"{samples.path.name}: {len(faults)} faults\n" + "\n".join(f"  - {fault}" for fault in faults))
    texts = [str(one.message) for one in caught] + [text for one in readings for text in one.warnings]
    return [text for text in dict.fromkeys(texts) if "are the minimum" not in text]  # a note of the run has it


def _element_stage(table: ElementsTable, symbol: str, samples: SampleReader, seed: int, masks: Sequence[str]) -> Stage:
    reported = element_table(table, symbol)
    own = reported.with_defaults(*REPORTED)
    if INDEX not in {*own.features, *own.from_samples.values()}:
        own = own.with_defaults("cia")
    of_index = table.cia.features if table.predicts_index and table.cia is not None else ()
    inputs = tuple(dict.fromkeys((*table.features, *of_index, *masks)))
    declared = table.property_of(symbol)
    tally = None if table.interval is None else partial(tally_applicability, layer=f"{declared.layer}_applicability")
    return Stage(
        name=f"element_{symbol}",
        title=table.property_of(symbol).long_name,
        section="elements",
        inputs=inputs,
        outputs=outputs_of(table, symbol),
        compute=compute_element,
        together=compute_elements,
        options={
            "table": own,
            "report": reported,
            "report_samples": samples.declared(reported, symbol)["contents"],
            "first": symbol == next(iter(table.columns)),
            "seed": seed,
            "symbol": symbol,
            "label": table.property_of(symbol).layer,
            "column": table.columns[symbol],
        },
        indifferent=tuple(f"{name}.{key}" for name in ("table", "report") for key in INDIFFERENT),
        **samples.declared(own, symbol),
        prepare=prepare_element,
        report=report_element,
        reported=("report", "report_samples", "first"),
        load=MapModel.load,
        tally=tally,
        notes=None if tally is None else partial(applicability_notes, declared.long_name),
        attributes=attributes_of(
            table,
            inputs,
            model=f"random forest, {table.trees} trees" + (", log10 target" if table.log_of(symbol) else ""),
            **({"scale": declared.scale} if declared.scale else {}),
        ),
        bytes_per_cell=(BYTES_WITH_INTERVAL if table.interval else BYTES_PER_CELL)
        + (BYTES_OF_KRIGING if table.kriging != "none" else 0)
        + 4 * len(table.features),
    )


def _uncalibrated_stage(
    table: ElementsTable, symbol: str, samples: SampleReader, seed: int, masks: Sequence[str]
) -> Stage:
    """The map of XRF readings before calibration, in the same pass as the others."""
    own = element_table(table, symbol).with_defaults(*REPORTED, *CALIBRATED)
    calibrated = _element_stage(own, symbol, samples, seed, masks)
    options = {key: value for key, value in calibrated.options.items() if key not in calibrated.reported}
    return replace(
        calibrated,
        name=f"element_{symbol}_xrf",
        title=f"{calibrated.title} before calibration",
        outputs=uncalibrated_outputs(own, symbol),
        options={**options, "table": own, "label": f"{options['label']}_xrf"},
        prepare=prepare_uncalibrated,
        report=None,
        reported=(),
    )


def element_table(table: ElementsTable, symbol: str) -> ElementsTable:
    """The table of the recipe without the entries of other elements; `elements` stays complete."""
    own = table.of_symbols([symbol]).with_defaults("composition")
    return own if symbol in own.calibrated else own.with_defaults("calibration", "variance_ratio", "calibration_error")


def outputs_of(table: ElementsTable, symbol: str) -> tuple[Variable, ...]:
    """The layers of one element, known before its forest is trained."""
    declared = table.property_of(symbol)
    low, high = (end if np.isfinite(end) else float("nan") for end in (declared.low, declared.high))
    own = {f"{declared.layer}{tail}" for tail in ("", "_lower", "_upper")}
    layers = layer_variables(
        declared.layer, table.interval, units=declared.units, title=declared.long_name, extra=table.extra_layers
    )
    layers = [replace(one, long_name=one.long_name.replace(layers[0].long_name, declared.long_name)) for one in layers]
    return tuple(replace(layer, low=low, high=high) if layer.name in own else layer for layer in layers)


def uncalibrated_outputs(table: ElementsTable, symbol: str) -> tuple[Variable, ...]:
    """Mean and spread, named `NAME_xrf`."""
    declared = table.property_of(symbol)
    title = f"{declared.long_name} by XRF, before calibration"
    return tuple(layer_variables(f"{declared.layer}_xrf", None, units=declared.units, title=title))
