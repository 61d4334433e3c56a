"""`[elements.composition]`: forests of log-ratios, mapped as parts that sum to their total."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.evaluation import nse, rmse
from tpsoil.forest import TrainedForest, conformal_intervals
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.trained import tails
from tpsoil.micronutrients import Composition, log_ratios, train_elements
from tpsoil.micronutrients.training_rows import rows_of_element
from tpsoil.option_names import in_recipe
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench
from tpsoil.variables import Variable

from .element_options import FILLED, NO_COMPOSITION, ElementsTable
from .element_places import placed_samples, source_layers
from .element_reading import SampleReader, attributes_of, read_element
from .element_training import training_options

BYTES_PER_CELL: Final = 160.0
METHOD: Final = (
    "closed inverse of the mean log-ratios (compositional centre), no arithmetic mean of shares; limits of a part: its "
    "clr at the limit of its interval, the other parts in their predicted ratios"
)


def composition_stages(table: ElementsTable, samples: SampleReader, seed: int, masks: Sequence[str]) -> list[Stage]:
    """The stage of the composition, where there is one."""
    if table.composition is None:
        return []
    own = composition_table(table)
    inputs = tuple(dict.fromkeys((*own.features, *masks)))
    count = len(composition_of(own).coordinates)
    of_parts = [samples.declared(own, name) for name in own.parts]
    read = of_parts[0] | {"contents": {key: text for one in of_parts for key, text in one["contents"].items()}}
    return [
        Stage(
            name="composition",
            title=f"composition of {', '.join(own.parts)}",
            section="elements",
            inputs=inputs,
            outputs=outputs_of_composition(own),
            compute=compute_composition,
            options={"table": own, "seed": seed},
            indifferent=("table.samples", "table.citation"),
            **read,
            prepare=prepare_composition,
            load=models_of,
            attributes=attributes_of(
                own,
                inputs,
                model=f"random forest, {own.trees} trees, {composition_of(own).transform} log-ratios",
                back_transformation=METHOD,
            ),
            bytes_per_cell=count * BYTES_PER_CELL + 4 * len(own.features),
        )
    ]


def composition_table(table: ElementsTable) -> ElementsTable:
    """What of the recipe's table decides the composition."""
    columns = {} if table.composition is None else table.composition.columns
    return table.of_symbols(columns).with_defaults(*NO_COMPOSITION).model_copy(update={"elements": columns})


def composition_of(table: ElementsTable) -> Composition:
    """The composition of a recipe; its total is that of the unit of its parts."""
    if table.composition is None:
        raise KeyError("composition")
    return table.composition.declared({name: table.property_of(name).units for name in table.composition.columns})


def outputs_of_composition(table: ElementsTable) -> tuple[Variable, ...]:
    """The mean of each part, and with `interval` its limits."""
    composition, outputs = composition_of(table), []
    for name in composition.parts:
        declared = table.property_of(name)
        mean = Variable(declared.layer, declared.long_name, declared.units, 0.0, composition.total,
                        meaning="closed inverse of mean log-ratios; the parts sum to their total")  # fmt: skip
        outputs.append(mean)
        if table.interval is not None:
            outputs += [
                replace(
                    mean,
                    name=f"{declared.layer}_{side}",
                    long_name=f"{declared.long_name}, {side} limit of the {100 * table.interval:g} % interval",
                    meaning="log-ratio of the part at its conformal limit, other parts in their predicted ratio",
                )
                for side in ("lower", "upper")
            ]
    return tuple(outputs)


def composition_samples(table: ElementsTable, notes: list[str]) -> pd.DataFrame:
    """Samples with a column for each log-ratio, in the tidy form of one property."""
    composition = composition_of(table)
    limits = (table.max_censored, table.allow_censored, table.censored_as)
    wide, attrs = pd.DataFrame(), dict[Any, Any]()
    for name in composition.parts:
        with in_recipe("elements"):
            part, filled = rows_of_element(read_element(table, name), name, limits, table.property_of(name))
        if filled:
            notes.append(f"composition: {filled} censored values of {name} replaced by {FILLED[table.censored_as]}")
        attrs = attrs or dict(part.attrs)
        keys = ["site", "replicate"]
        wide = wide.merge(part[[*keys, name]], on=keys, how="left") if len(wide) else part.assign(element=name)
    shares = wide[list(composition.parts)]
    ratios = log_ratios(wide, composition, where=f"elements.composition: {table.file.name}")
    lacking = int(shares.isna().any(axis=1).sum())
    for count, text in (
        (ratios.attrs["closed"], f"do not sum to {composition.total:g} and were scaled to it"),
        (ratios.attrs["zeros"], f"have a part of 0, replaced by {composition.zeros}"),
        (lacking, "lack a part and are not used"),
    ):
        if count:
            notes.append(f"composition: {count} of {len(wide)} samples {text}")
    wide = pd.concat([wide, ratios], axis=1)[~shares.isna().any(axis=1).to_numpy()]
    wide.attrs = attrs
    return wide


def prepare_composition(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Train a forest for each log-ratio, and score the parts out of fold."""
    table: ElementsTable = options["table"]
    composition = composition_of(table)
    notes: list[str] = []
    samples = composition_samples(table, notes)
    design, attributes = placed_samples(table, cube, samples, notes, source_layers(options))
    settings = training_options(table, design, cube, seed=int(options["seed"]), workers=bench.workers)
    settings |= {"transform": "none", "units": "1", "properties": composition.properties}
    wide = design.drop(columns="element")
    trained = train_elements(wide, list(composition.coordinates), list(table.features), **settings)
    level = table.interval
    models = [MapModel.of(trained[name], level=level) for name in composition.coordinates]
    first = trained[composition.coordinates[0]]
    tables = {"composition": composition_scores(composition, trained, design, level)}
    facts: dict[str, Any] = {**attributes, "samples_used": first.counts["used"]}
    facts |= {name: models[0].attributes[name] for name in ("deciding_folds", "preset", "grower")}
    return Prepared(_packed([model.dump() for model in models]), tables, {"": facts}, notes)


def composition_scores(
    composition: Composition, trained: Mapping[str, TrainedForest], design: pd.DataFrame, level: float | None
) -> pd.DataFrame:
    """Scores of each part out of fold in its own unit, and the coverage and mean width of its intervals.

    Parameters
    ----------
    composition : Composition
    trained : mapping of str to TrainedForest
        By coordinate; all of the same rows and folds.
    design : DataFrame
        With the shares of the parts.
    level : float or None
        Nominal coverage.
    """
    forests = [trained[name] for name in composition.coordinates]
    deciding = forests[0].deciding
    frames = [forest.predictions[deciding] for forest in forests]
    mean = [frame["predicted"].to_numpy(dtype=float) for frame in frames]
    parts = composition.inverse(mean)
    sums = design.loc[frames[0].index, list(composition.parts)].sum(axis=1).to_numpy(dtype=float)
    rows = []
    limits = None
    if level is not None:
        ends = []
        for forest, frame in zip(forests, frames, strict=True):
            low, high = (frame[f"q{t:g}"].to_numpy(dtype=float) for t in tails(level))
            ends.append(conformal_intervals(forest, level).around_quantiles(low, high))
        limits = composition.limits(mean, [low for low, _ in ends], [high for _, high in ends])
    for number, name in enumerate(composition.parts):
        observed = composition.total * design.loc[frames[0].index, name].to_numpy(dtype=float) / sums
        row: dict[str, Any] = {"part": name, "folds": deciding, "n": len(observed)}
        row |= {"nse": nse(observed, parts[number]), "rmse": rmse(observed, parts[number])}
        row["mean_observed"], row["mean_predicted"] = float(observed.mean()), float(np.mean(parts[number]))
        if limits is not None:
            low, high = limits[0][number], limits[1][number]
            row |= {"level": level, "coverage": float(((observed >= low) & (observed <= high)).mean())}
            row["width"] = float((high - low).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def compute_composition(window: Window) -> Mapping[str, Array]:
    """The parts in one window."""
    table: ElementsTable = window.options["table"]
    composition = composition_of(table)
    maps = map_models(dict(zip(composition.coordinates, window.model, strict=True)), window.layers)
    mean, lower, upper = (
        [np.asarray(maps[f"{name}{tail}"].values, dtype=np.float64) for name in composition.coordinates]
        if table.interval is not None or not tail
        else []
        for tail in ("", "_lower", "_upper")
    )
    layers = [table.property_of(name).layer for name in composition.parts]
    results = dict(zip(layers, composition.inverse(mean), strict=True))
    if table.interval is not None:
        for side, parts in zip(("lower", "upper"), composition.limits(mean, lower, upper), strict=True):
            results |= {f"{layer}_{side}": values for layer, values in zip(layers, parts, strict=True)}
    return {name: values.astype(np.float32) for name, values in results.items()}


def _packed(models: Sequence[bytes]) -> bytes:
    head = json.dumps([len(model) for model in models]).encode()
    return b"".join([len(head).to_bytes(8, "big"), head, *models])


def models_of(data: bytes) -> list[MapModel]:
    """The models of the coordinates, as they were stored."""
    begin = 8 + int.from_bytes(data[:8], "big")
    models = []
    for size in json.loads(data[8:begin]):
        models.append(MapModel.load(data[begin : begin + size]))
        begin += size
    return models
