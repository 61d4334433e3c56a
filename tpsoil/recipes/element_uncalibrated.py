"""Maps of XRF readings before their calibration, to set beside the calibrated ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.outputs import layer_variables
from tpsoil.micronutrients import train_elements
from tpsoil.stage import Array, Prepared, Window, Workbench
from tpsoil.variables import Variable

from .element_index_stage import predicts_index, with_out_of_fold_index
from .element_options import ElementsTable
from .element_samples import design_of
from .element_training import training_options

REPORTED = ("drivers", "driver_repeats", "driver_groups", "effects", "dependence", "bands", "compare", "classes",
            "group_test", "ranges", "representation", "published", "interval", "conformal", "kriging", "extra_layers",
            "extra_features", "icp", "pairs", "calibration", "variance_ratio", "calibration_error",
            "uncalibrated_maps")  # fmt: skip
"""Keys without effect on the map of the mean."""


def uncalibrated_table(table: ElementsTable, symbol: str) -> ElementsTable:
    """What of the recipe's table decides the map before calibration."""
    fields = type(table).model_fields
    neutral = {name: fields[name].get_default(call_default_factory=True) for name in REPORTED}
    return table.model_copy(update={**neutral, "elements": {symbol: table.columns[symbol]}})


def uncalibrated_outputs(table: ElementsTable, symbol: str) -> tuple[Variable, ...]:
    """Mean and spread, named `NAME_xrf`."""
    declared = table.property_of(symbol)
    title = f"{declared.long_name} by XRF, before calibration"
    return tuple(layer_variables(f"{declared.layer}_xrf", None, units=declared.units, title=title))


def prepare_uncalibrated(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Train on the readings as they are."""
    table: ElementsTable = options["table"]
    symbol = options["symbol"]
    samples = design_of(table, cube, Path(options["samples"]), symbol)
    if predicts_index(table):
        samples = with_out_of_fold_index(table, cube, samples, options, bench.workers)
    settings = training_options(
        table, samples.design, cube, seed=int(options["seed"]), workers=bench.workers, scored=False
    )
    trained = train_elements(samples.design, [symbol], list(table.features), **settings)[symbol]
    model = MapModel.of(trained, level=None)
    attributes = {name: value for name, value in model.attributes.items() if name not in {"features", "model"}}
    return Prepared(model.dump(), {}, {"": attributes}, [])


def compute_uncalibrated(window: Window) -> Mapping[str, Array]:
    """Mean and spread in one window."""
    label = window.options["table"].property_of(window.options["symbol"]).layer
    maps = map_models({f"{label}_xrf": window.model}, window.layers)
    return {str(name): np.asarray(layer.values) for name, layer in maps.data_vars.items()}
