"""The predicted layer of the index of alteration: trained on the samples' index, with spread and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.columns import labelled
from tpsoil.errors import InputError
from tpsoil.forest import TrainedForest
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.outputs import layer_variables
from tpsoil.micronutrients import alteration_and_precipitation, train_elements
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench
from tpsoil.variables import Variable

from .element_options import ElementsTable
from .element_places import placed_samples, source_layers
from .element_reading import WITHOUT_CONTENTS, SampleReader, attributes_of, read_element
from .element_samples import ElementSamples
from .element_training import training_options

BYTES_PER_CELL: Final = 160.0
DECISIVE: Final = ("trees", "preset", "folds", "n_folds", "settings", "interval", "cia", "simulated", "training_cube",
                   "train_on")  # fmt: skip
"""Keys that decide the index, beside those of the samples' places."""


def index_table(table: ElementsTable) -> ElementsTable:
    """What of the recipe's table decides the index: how samples are read, its features, and the forest's settings."""
    return table.of_places(() if table.cia is None else table.cia.features, *DECISIVE)


def index_stages(
    table: ElementsTable, available: set[str], samples: SampleReader, seed: int, masks: Sequence[str]
) -> list[Stage]:
    """The stage of the predicted index, where `[elements.cia]` names features."""
    if table.cia is None or not table.cia.features:
        return []
    own = index_table(table)
    rain = [table.cia.precipitation] if table.cia.precipitation in available else []
    inputs = tuple(dict.fromkeys((*own.features, *rain, *masks)))
    return [
        Stage(
            name="element_alteration",
            title="chemical index of alteration",
            section="elements",
            inputs=inputs,
            outputs=outputs_of_index(own),
            compute=compute_index,
            options={"table": own, "seed": seed},
            indifferent=WITHOUT_CONTENTS,
            **samples.declared(own, next(iter(own.columns)), values=False),
            prepare=prepare_index,
            load=MapModel.load,
            attributes=attributes_of(own, inputs, model=f"random forest, {own.trees} trees"),
            bytes_per_cell=BYTES_PER_CELL + 4 * len(inputs),
        )
    ]


def outputs_of_index(table: ElementsTable) -> tuple[Variable, ...]:
    """The layers of the index."""
    return tuple(layer_variables(INDEX, table.interval, units="1"))


def train_index(
    table: ElementsTable, cube: xr.Dataset, options: Mapping[str, Any], workers: int, *, scored: bool = True
) -> tuple[TrainedForest, pd.DataFrame]:
    """The forest of the index, and the samples that it was trained on.

    Parameters
    ----------
    table : ElementsTable
        As `index_table` gives it.
    cube : Dataset (y, x)
        Has the features of the index.
    options : mapping
        Of a stage: `seed` and `sources`.
    workers : int
    scored : bool
        Score by all kinds of folds, not by the deciding kind alone.

    Returns
    -------
    trained : TrainedForest
    rows : DataFrame
        Placed samples with `site`, `replicate` and the index; index of the forest's predictions.

    Raises
    ------
    InputError
        Where no sample has an index.
    """
    tidy = read_element(table, next(iter(table.columns)))
    tidy = tidy[np.isfinite(tidy[INDEX])]
    if not len(tidy):
        raise InputError(
            f"elements.cia: no row of {table.file.name} has an index; see its columns and detection limits"
        )
    rain = () if table.cia is None or table.cia.precipitation not in cube else (table.cia.precipitation,)
    placed = table.model_copy(update={"features": tuple(dict.fromkeys((*table.features, *rain)))})
    rows, _ = placed_samples(placed, cube, tidy, [], source_layers(options))
    wide = rows.drop(columns=["element", "value", "detection_limit", "censored"])
    settings = training_options(table, rows, cube, seed=int(options["seed"]), workers=workers, scored=scored)
    settings |= {"transform": "none", "units": "1"}
    return train_elements(wide, [INDEX], list(table.features), **settings)[INDEX], rows


def out_of_fold_index(table: ElementsTable, cube: xr.Dataset, options: Mapping[str, Any], workers: int) -> pd.Series:
    """Out-of-fold index of each sample, by (site, replicate): what a map gives at a place that was not sampled."""
    trained, rows = train_index(index_table(table), cube, options, workers, scored=False)
    predicted = trained.predictions[trained.deciding]["predicted_original"]
    keys = pd.MultiIndex.from_frame(rows.loc[predicted.index, ["site", "replicate"]])
    return pd.Series(predicted.to_numpy(), index=keys, name=INDEX)


def prepare_index(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Train the forest of the index, and relate the index to precipitation."""
    table: ElementsTable = options["table"]
    trained, rows = train_index(table, cube, options, bench.workers)
    model = MapModel.of(trained, level=table.interval)
    tables = {"alteration": labelled(trained.scores.reset_index(), layer=INDEX)}
    notes: list[str] = []
    rain = table.cia.precipitation if table.cia is not None else ""
    if rain in rows:
        sites = rows.groupby("site")[[rain, INDEX]].mean().dropna()
        tables["alteration_precipitation"] = pd.DataFrame([alteration_and_precipitation(rows, precipitation=rain)])
        tables[f"relation_{INDEX}"] = sites.reset_index(drop=True).map(lambda value: float(f"{value:.5g}"))
    else:
        notes.append(f"elements.cia: no layer '{rain}'; the correlation with precipitation was left out")
    attributes = {name: value for name, value in model.attributes.items() if name not in {"features", "model"}}
    return Prepared(model.dump(), tables, {"": {**attributes, "correction": _text(table)}}, notes)


def compute_index(window: Window) -> Mapping[str, Array]:
    """The layers of the index in one window."""
    maps = map_models({INDEX: window.model}, window.layers)
    return {str(name): np.asarray(layer.values) for name, layer in maps.data_vars.items()}


def _text(table: ElementsTable) -> str:
    if table.cia is None:
        return ""
    carbonate = f"; carbonate of column {table.cia.carbonate} subtracted" if table.cia.carbonate else ""
    return f"{table.cia.correction}, from {table.cia.basis}{carbonate}"


def with_out_of_fold_index(
    table: ElementsTable, cube: xr.Dataset, samples: ElementSamples, options: Mapping[str, Any], workers: int
) -> ElementSamples:
    """Samples whose index is the out-of-fold prediction, where they have one; else that of the layer.

    Notes
    -----
    At a sampled cell the layer fits the samples better than at any other cell. Trained on it, an element's forest would
    rely on the index more than the map can support; out-of-fold values have the error of cells without samples.
    """
    values = out_of_fold_index(table, cube, options, workers)
    keys = pd.MultiIndex.from_frame(samples.design[["site", "replicate"]])
    out_of_fold = values.reindex(keys).to_numpy()
    layer = samples.design[INDEX].to_numpy(dtype=np.float64)
    design = samples.design.assign(**{INDEX: np.where(np.isfinite(out_of_fold), out_of_fold, layer)})
    return replace(samples, design=design)
