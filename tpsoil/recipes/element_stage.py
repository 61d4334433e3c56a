"""`[elements]`: a forest for each element, trained on samples at the cube's cells and mapped over all cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.outputs import layer_variables
from tpsoil.micronutrients import train_elements
from tpsoil.soil_mask import MASK, with_soil_mask
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench, blocks_of
from tpsoil.variables import Variable, missing_code

from .element_options import NAMES, ElementsTable
from .element_samples import design_of
from .element_tables import tables_of
from .mask_stage import mask_inputs

__all__ = ["ElementsTable", "element_stages"]

BYTES_PER_CELL: Final = 64.0
"""Beside the inputs: the design rows, mean and spread in float64."""
BYTES_WITH_INTERVAL: Final = 160.0
"""The same with two quantiles, two limits, the index, and a batch of columns of covariate space."""


def element_stages(table: ElementsTable, available: set[str], samples: Path, seed: int) -> list[Stage]:
    """One stage for each element."""
    inputs = tuple(dict.fromkeys((*table.features, *mask_inputs(available))))
    stages = []
    for symbol, column in table.columns.items():
        own = {"symbol": symbol, "column": column}
        stages.append(
            Stage(
                name=f"element_{symbol}",
                title=f"topsoil {NAMES[symbol]}",
                section="elements",
                inputs=inputs,
                outputs=outputs_of(table, symbol),
                compute=compute_element,
                options={"table": table, "samples": samples, "seed": seed, **own},
                indifferent=("table.samples", "table.elements", "table.citation"),
                files=(samples,),
                prepare=prepare_element,
                load=MapModel.load,
                attributes={
                    "": {
                        "parents": " ".join(inputs),
                        "model": f"random forest, {table.trees} trees" + (", log10 target" if table.log else ""),
                        "samples": samples.name,
                        **({"simulated": "true"} if table.simulated else {}),
                    }
                },
                bytes_per_cell=(BYTES_WITH_INTERVAL if table.interval else BYTES_PER_CELL) + 4 * len(table.features),
            )
        )
    return stages


def prepare_element(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Read and screen the samples, take the covariates at their cells, train, explain, and compile for mapping."""
    table: ElementsTable = options["table"]
    symbol = options["symbol"]
    samples = design_of(table, cube, Path(options["samples"]), symbol)
    kinds, block = table.kinds
    settings: dict[str, Any] = {
        "groups": "site" if table.site else None,
        "transform": "log10" if table.log else "none",
        "max_censored": table.max_censored,
        "allow_censored": table.allow_censored,
        "censored_as": table.censored_as,
        "n_folds": table.n_folds,
        "block_size": block,
        "coordinates": ("lon", "lat"),
        "trees": table.trees,
        "preset": table.preset,
        "search": dict(table.search) or None,
        "search_trees": table.search_trees,
        "seed": int(options["seed"]),
        "workers": bench.workers,
        **table.settings,
    }
    # Where every row is a site of its own, folds by site are the random ones.
    sites = not table.site or not samples.design["site"].duplicated().any()
    fold_kinds = [kind for kind in kinds if not (kind == "group" and sites)] or ["random"]
    trained = train_elements(samples.design, [symbol], list(table.features), folds=fold_kinds, **settings)[symbol]
    counts, notes = trained.counts, list(samples.notes)
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
        extra = train_elements(samples.design, [symbol], wider, folds=fold_kinds, **settings)[symbol]
    model = MapModel.of(trained, level=table.interval)
    attributes[""] |= {name: value for name, value in model.attributes.items() if name not in {"features", "model"}}
    tables = {**samples.tables, **tables_of(table, symbol, trained, samples.design, extra, int(options["seed"]))}
    return Prepared(model.dump(), tables, attributes, notes)


def compute_element(window: Window) -> Mapping[str, Array]:
    """The layers of one element in one window."""
    label = NAMES[window.options["symbol"]]
    maps = map_models({label: window.model}, window.layers)
    return {str(name): np.asarray(layer.values) for name, layer in maps.data_vars.items()}


def outputs_of(table: ElementsTable, symbol: str) -> tuple[Variable, ...]:
    """The layers of one element, known before its forest is trained."""
    return tuple(layer_variables(NAMES[symbol], table.interval))


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
