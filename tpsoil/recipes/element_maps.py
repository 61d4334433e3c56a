"""The maps of `[elements]`: train the forest of one element, and compute the layers of several in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.forest import TrainedForest
from tpsoil.forest.fit_progress import reporting_fits
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.standardised import ATTRIBUTE, variogram_text
from tpsoil.forest.state import dump_state
from tpsoil.mapped_area import mapped_covariates
from tpsoil.micronutrients import element_model, train_elements
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.option_names import in_recipe
from tpsoil.stage import Array, Prepared, Window, Workbench

from .element_index_stage import with_out_of_fold_index
from .element_options import FILLED, ElementsTable
from .element_places import classes_on_soil, source_layers
from .element_samples import ElementSamples, design_of
from .element_training import kriging_table, selected_table, training_options

MANY_CELLS: Final = 50_000_000
"""Cells of a map from which on intervals without quantiles are suggested, such as 200 km x 200 km at 30 m."""


def prepare_element(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Read and screen the samples, take the covariates at their cells, train, and compile for mapping."""
    table: ElementsTable = options["table"]
    symbol = options["symbol"]
    samples, settings = _ready(cube, options, bench)
    notes: list[str] = []
    if table.predicts_index:
        notes.append(f"{symbol}: trained on out-of-fold values of {INDEX}, so that intervals include its error")
    selected = selected_table(table, symbol, samples.design, settings)
    table = selected.table
    with reporting_fits(bench.progress), in_recipe("elements"):
        trained = train_elements(samples.design, [symbol], list(table.features), **settings)[symbol]
    line = samples.calibration
    mapped = element_model(
        trained,
        table.map_options,
        positions=samples.design.loc[trained.folds.index, ["lon", "lat"]],
        cells=mapped_covariates(cube, table.features) if table.conformal == "weighted" else None,
        measurement=line.measurement_error() if line is not None and table.calibration_error else None,
        workers=bench.workers,
    )
    model, trained, tables = mapped.model, mapped.trained, dict(selected.tables)
    notes += selected.notes
    if mapped.comparison is not None:
        notes.append(f"{symbol}: {mapped.kriging_text}")
        tables["kriging"] = kriging_table(symbol, mapped.comparison)
    if table.interval is not None and table.conformal == "plain" and cube.sizes["y"] * cube.sizes["x"] > MANY_CELLS:
        notes.append(
            f"{symbol}: limits from quantiles take more than twice the time of those from mean and spread; "
            "conformal = 'spread' has the same coverage on average"
        )
    notes += samples.notes
    counts = trained.counts
    if counts["used"] < counts["rows"]:
        notes.append(
            f"{symbol}: {counts['used']} of {counts['rows']} samples used; {counts['without_target']} have no value, "
            f"{counts['without_feature']} lack a covariate"
        )
    attributes: dict[str, Any] = {"samples_used": counts["used"], **samples.attributes}
    if selected.tables:
        attributes["features_selected"] = " ".join(table.features)
    if counts["censored_filled"]:
        notes.append(f"{symbol}: {counts['censored_filled']} censored values replaced by {FILLED[table.censored_as]}")
        attributes["censored_filled"] = counts["censored_filled"]
    if unseen := _unseen_text(cube, trained):
        if table.unseen_classes == "error":
            raise InputError(
                f"elements: the map has classes that no sample of {symbol} has ({unseen}); the forest was not "
                "trained on them: set unseen_classes = 'nodata' to leave their cells empty, or remove the feature"
            )
        notes.append(f"{symbol}: cells of classes that no sample has stay empty ({unseen})")
        attributes["unseen_classes"] = unseen
    attributes |= {name: value for name, value in model.attributes.items() if name not in {"features", "model"}}
    by_layer = {"": attributes}
    if mapped.variogram is not None:
        by_layer[options["label"]] = {ATTRIBUTE: variogram_text(mapped.variogram)}
    return Prepared(model.dump(), tables, by_layer, notes, dump_state(trained))


def prepare_uncalibrated(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Train on the readings before their calibration."""
    table: ElementsTable = options["table"]
    symbol = options["symbol"]
    samples, settings = _ready(cube, options, bench, scored=False)
    with reporting_fits(bench.progress), in_recipe("elements"):
        trained = train_elements(samples.design, [symbol], list(table.features), **settings)[symbol]
    model = MapModel.of(trained, level=None)
    attributes = {name: value for name, value in model.attributes.items() if name not in {"features", "model"}}
    return Prepared(model.dump(), {}, {"": attributes}, [])


def _ready(
    cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench, *, scored: bool = True
) -> tuple[ElementSamples, dict[str, Any]]:
    """The samples of a stage, and the keywords of `train_elements`."""
    table: ElementsTable = options["table"]
    samples = samples_of(cube, options)
    if table.predicts_index:
        samples = with_out_of_fold_index(table, cube, samples, options, bench.workers)
    seed = int(options["seed"])
    return samples, training_options(table, samples.design, cube, seed=seed, workers=bench.workers, scored=scored)


def samples_of(cube: xr.Dataset, options: Mapping[str, Any], *, table: ElementsTable | None = None) -> ElementSamples:
    """The samples of a stage's element, placed on the cube; of another table of options where one is given."""
    return design_of(table or options["table"], cube, options["symbol"], source_layers(options))


def compute_element(window: Window) -> Mapping[str, Array]:
    """The layers of one element in one window."""
    return compute_elements([window])[0]


def compute_elements(windows: Sequence[Window]) -> list[Mapping[str, Array]]:
    """The layers of several elements in one window: its covariates are encoded once for all of them.

    Parameters
    ----------
    windows : sequence of Window
        Of the same cells; each has its own model, and the name of its layers in the option `label`.

    Returns
    -------
    list of mapping of str to ndarray
        Equal bit for bit to those of each element alone.
    """
    models: dict[str, MapModel] = {window.options["label"]: window.model for window in windows}
    layers = windows[0].layers
    for window in windows[1:]:
        layers = layers.assign({name: layer for name, layer in window.layers.items() if name not in layers})
    maps = map_models(models, layers)
    return [_clipped(window, {spec.name: np.asarray(maps[spec.name].values) for spec in model.outputs(label)})
            for window, (label, model) in zip(windows, models.items(), strict=True)]  # fmt: skip


def _clipped(window: Window, maps: dict[str, Array]) -> dict[str, Array]:
    """Maps whose limits are possible values of the property."""
    declared = window.options["table"].property_of(window.options["symbol"])
    for name in {f"{window.options['label']}_{end}" for end in ("lower", "upper")} & set(maps):
        maps[name] = np.clip(maps[name], declared.low, declared.high)
    return maps


def _unseen_text(cube: xr.Dataset, trained: TrainedForest) -> str:
    levels = {n: v for n, v in trained.encoding.levels.items() if not any(isinstance(k, str) for k in v)}
    unseen = unseen_classes(cube, levels)
    return "; ".join(f"{name}: {', '.join(map(str, classes))}" for name, classes in unseen.items())


def unseen_classes(cube: xr.Dataset, levels: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Classes present on soil in the layers but absent from training; read block by block."""
    present: dict[str, set[int]] = {name: set() for name in levels}
    for name, values, on_soil, _ in classes_on_soil(cube, list(levels)):
        present[name] |= {int(value) for value in np.unique(values[on_soil])}
    return {name: sorted(codes - set(levels[name])) for name, codes in present.items() if codes - set(levels[name])}


def tally_applicability(layers: Mapping[str, Array], *, layer: str) -> dict[str, int]:
    """Of one chunk: mapped cells inside and outside the area of applicability."""
    return {name: int(np.count_nonzero(layers[layer] == code)) for name, code in (("inside", 1), ("outside", 0))}


def applicability_notes(label: str, tallies: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line with the share of the mapped cells outside; none for a map without cells."""
    outside = sum(int(tally["outside"]) for tally in tallies)
    cells = outside + sum(int(tally["inside"]) for tally in tallies)
    if not cells:
        return []
    return [
        f"{label}: {100 * outside / cells:.1f} % of {cells} mapped cells are outside the area of applicability, where "
        "the scores of the model do not hold"
    ]
