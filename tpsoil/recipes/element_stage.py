"""`[elements]`: a forest for each element, trained on samples at the cube's cells and mapped over all cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.outputs import layer_variables
from tpsoil.forest.standardised import ATTRIBUTE, residual_variogram, variogram_text
from tpsoil.micronutrients import check_covariates, train_elements
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.soil_mask import MASK, with_soil_mask
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench, blocks_of
from tpsoil.variables import Variable, missing_code

from .element_designs import design_notes, design_tables, mapped_covariates
from .element_index_stage import index_stages, predicts_index, with_out_of_fold_index
from .element_kriging import kriged_forest
from .element_options import ElementsTable
from .element_representation import representation_stages
from .element_samples import design_of
from .element_study import notes_of_study, study_tables
from .element_tables import tables_of
from .element_training import training_options
from .element_uncalibrated import (
    compute_uncalibrated,
    prepare_uncalibrated,
    uncalibrated_outputs,
    uncalibrated_table,
)
from .mask_stage import mask_inputs

__all__ = ["ElementsTable", "element_stages"]

BYTES_PER_CELL: Final = 64.0
"""Beside the inputs: the design rows, mean and spread in float64."""
BYTES_WITH_INTERVAL: Final = 160.0
"""The same with two quantiles, two limits, the index, and a batch of columns of covariate space."""

BYTES_OF_KRIGING: Final = 72.0
"""Position, residual, and mean and limits in float64."""


def element_stages(
    table: ElementsTable, available: set[str], samples: Path, seed: int, *, pairs: Path | None = None
) -> list[Stage]:
    """The index of alteration, one stage for each element, its map before calibration, and representation.

    Parameters
    ----------
    table : ElementsTable
    available : set of str
        Layers that stages before these give.
    samples : Path
    seed : int
    pairs : Path, optional
        Table of `[elements.pairs]`.

    Returns
    -------
    list of Stage
    """
    masks = mask_inputs(available)
    stages = index_stages(table, available, samples, seed, masks) if table.cia is not None else []
    for symbol in table.columns:
        stages.append(_element_stage(table, symbol, (samples, pairs), seed, masks))
        if table.uncalibrated_maps and symbol in table.calibrated:
            raw = _element_stage(uncalibrated_table(table, symbol), symbol, (samples, None), seed, masks)
            stages.append(
                replace(
                    raw,
                    name=f"element_{symbol}_xrf",
                    title=f"{raw.title} before calibration",
                    outputs=uncalibrated_outputs(table, symbol),
                    compute=compute_uncalibrated,
                    prepare=prepare_uncalibrated,
                )
            )
    return [*stages, *representation_stages(table, samples, masks)] if table.representation else stages


def _element_stage(
    table: ElementsTable, symbol: str, files: tuple[Path, Path | None], seed: int, masks: Sequence[str]
) -> Stage:
    samples, pairs = files
    of_index = table.cia.features if predicts_index(table) and table.cia is not None else ()
    inputs = tuple(dict.fromkeys((*table.features, *of_index, *masks)))
    return Stage(
        name=f"element_{symbol}",
        title=table.property_of(symbol).long_name,
        section="elements",
        inputs=inputs,
        outputs=outputs_of(table, symbol),
        compute=compute_element,
        options={
            "table": table,
            "samples": samples,
            "pairs": pairs,
            "seed": seed,
            "symbol": symbol,
            "column": table.columns[symbol],
        },
        indifferent=("table.samples", "table.elements", "table.citation", "table.pairs.path"),
        files=(samples,) if pairs is None else (samples, pairs),
        prepare=prepare_element,
        load=MapModel.load,
        attributes={
            "": {
                "parents": " ".join(inputs),
                "model": f"random forest, {table.trees} trees" + (", log10 target" if table.log_of(symbol) else ""),
                "samples": samples.name,
                **({"scale": scale} if (scale := table.property_of(symbol).scale) else {}),
                **({"simulated": "true"} if table.simulated else {}),
            }
        },
        bytes_per_cell=(BYTES_WITH_INTERVAL if table.interval else BYTES_PER_CELL)
        + (BYTES_OF_KRIGING if table.kriging != "none" else 0)
        + 4 * len(table.features),
    )


def prepare_element(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Read and screen the samples, take the covariates at their cells, train, explain, and compile for mapping."""
    table: ElementsTable = options["table"]
    symbol = options["symbol"]
    pairs = None if options["pairs"] is None else Path(options["pairs"])
    samples = design_of(table, cube, Path(options["samples"]), symbol, pairs=pairs)
    notes: list[str] = []
    if predicts_index(table):
        samples = with_out_of_fold_index(table, cube, samples, options, bench.workers)
        notes.append(f"{symbol}: trained on out-of-fold values of {INDEX}, so that intervals include its error")
    check_covariates(
        samples.design.assign(**{symbol: samples.design["value"]}),
        symbol,
        list(table.features),
        where=f"elements, {symbol}",
    )
    settings = training_options(table, samples.design, cube, seed=int(options["seed"]), workers=bench.workers)
    trained = train_elements(samples.design, [symbol], list(table.features), **settings)[symbol]
    kriged = kriged_forest(table, symbol, trained, samples.design, workers=bench.workers)
    trained = kriged.trained
    counts = trained.counts
    notes += kriged.notes
    notes += [*samples.notes, *notes_of_study(table, symbol, trained, samples.design)]
    if counts["used"] < counts["rows"]:
        notes.append(
            f"{symbol}: {counts['used']} of {counts['rows']} samples used; {counts['without_target']} have no value, "
            f"{counts['without_feature']} lack a covariate"
        )
    attributes: dict[str, dict[str, Any]] = {"": {"samples_used": counts["used"], **samples.attributes}}
    if counts["censored_filled"]:
        notes.append(
            f"{symbol}: {counts['censored_filled']} censored values replaced by {table.censored_as} of the limit"
        )
        attributes[""]["censored_filled"] = counts["censored_filled"]
    levels = {n: v for n, v in trained.encoding.levels.items() if not any(isinstance(k, str) for k in v)}
    unseen = unseen_classes(cube, levels)
    if unseen:
        classes_text = "; ".join(f"{name}: {', '.join(map(str, classes))}" for name, classes in unseen.items())
        if table.unseen_classes == "error":
            raise InputError(
                f"elements: the map has classes that no sample of {symbol} has ({classes_text}); the forest was not "
                "trained on them: set unseen_classes = 'nodata' to leave their cells empty, or remove the feature"
            )
        notes.append(f"{symbol}: cells of classes that no sample has stay empty ({classes_text})")
        attributes[""]["unseen_classes"] = classes_text
    extra = None
    if table.extra_features:
        wider = [*table.features, *table.extra_features]
        extra = train_elements(samples.design, [symbol], wider, **settings)[symbol]
    line = samples.calibration
    error = line.measurement_error() if line is not None and table.calibration_error else None
    model = MapModel.of(
        trained,
        level=table.interval,
        measurement=error,
        extra=table.extra_layers,
        conformal=table.conformal,
        cells=mapped_covariates(cube, table.features) if table.conformal == "weighted" else None,
    )
    model = replace(model, kriging=kriged.kriging)
    attributes[""] |= {name: value for name, value in model.attributes.items() if name not in {"features", "model"}}
    place = samples.design.loc[trained.folds.index, ["lon", "lat"]]
    variogram = residual_variogram(model, trained, place)
    if variogram is not None:
        attributes[table.property_of(symbol).layer] = {ATTRIBUTE: variogram_text(variogram)}
    tables = {**samples.tables, **tables_of(table, symbol, trained, samples.design, extra, int(options["seed"]))}
    tables |= kriged.tables
    tables |= design_tables(symbol, trained, samples.design, settings.get("area"))
    notes += design_notes(symbol, trained, tables)
    tables |= study_tables(table, symbol, trained, samples, int(options["seed"]))
    return Prepared(model.dump(), tables, attributes, notes)


def compute_element(window: Window) -> Mapping[str, Array]:
    """The layers of one element in one window."""
    declared = window.options["table"].property_of(window.options["symbol"])
    label = declared.layer
    maps = map_models({label: window.model}, window.layers)
    results = {str(name): np.asarray(layer.values) for name, layer in maps.data_vars.items()}
    for name in {f"{label}_lower", f"{label}_upper"} & set(results):  # a limit is no impossible value
        results[name] = np.clip(results[name], declared.low, declared.high)
    return results


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


def unseen_classes(cube: xr.Dataset, levels: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Classes present on soil in the layers but absent from training; read block by block."""
    present: dict[str, set[int]] = {name: set() for name in levels}
    complete = with_soil_mask(cube)
    names = [*levels, *([MASK] if MASK in complete else [])]
    codes = {name: missing_code(cube[name]) for name in levels}
    for part in blocks_of(complete[names]) if levels else ():
        for name, code in codes.items():
            values = np.asarray(part[name].values, dtype=np.float64)
            keep = np.isfinite(values) & (True if code is None else values != code)
            if MASK in part:
                keep &= np.asarray(part[MASK].values) == 1
            present[name] |= {int(v) for v in np.unique(values[keep])}
    return {name: sorted(codes - set(levels[name])) for name, codes in present.items() if codes - set(levels[name])}
