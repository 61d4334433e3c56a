"""Tables of `[elements]` that no map depends on: scores, intervals, drivers, effects, classes, the published study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from tpsoil.forest.state import load_state
from tpsoil.micronutrients import train_elements
from tpsoil.stage import Report, Workbench

from .element_designs import design_notes, design_tables
from .element_index_stage import with_out_of_fold_index
from .element_maps import samples_of
from .element_options import ElementsTable
from .element_selection import narrowed_table
from .element_study import notes_of_study, study_tables
from .element_tables import tables_of
from .element_training import training_options
from .element_uncertainty import uncertainty_tables


def report_element(cube: xr.Dataset, options: Mapping[str, Any], state: bytes, bench: Workbench) -> Report:
    """The tables of one element, from the state of its training.

    Parameters
    ----------
    cube : Dataset (y, x)
        Has the features.
    options : mapping
        Of the stage; `report` has the keys that decide tables.
    state : bytes
        As `tpsoil.forest.state.dump_state` gave it.
    bench : Workbench

    Returns
    -------
    Report

    Notes
    -----
    The forest of the map is grown again from its seeds where drivers or effects are asked for; folds and search are
    not repeated.
    """
    table: ElementsTable = options["report"]
    symbol, seed = options["symbol"], int(options["seed"])
    samples = samples_of(cube, options, table=table)
    grow = bool(table.drivers or table.effects or table.groups_of_features)
    trained = load_state(state, grow=grow, workers=bench.workers)
    if table.feature_selection != "none":
        table = narrowed_table(table, trained.features)
    settings = training_options(table, samples.design, cube, seed=seed, workers=bench.workers)
    extra = None
    if table.extra_features:
        wider = [*table.features, *table.extra_features]
        design = samples.design
        if table.predicts_index:
            design = with_out_of_fold_index(table, cube, samples, options, bench.workers).design
        extra = train_elements(design, [symbol], wider, **settings)[symbol]
    tables: dict[str, pd.DataFrame] = {
        **samples.tables,
        **tables_of(table, symbol, trained, samples.design, extra, seed),
        **design_tables(symbol, trained, samples.design, settings.get("area")),
    }
    notes = [*notes_of_study(table, symbol, trained, samples.design), *design_notes(symbol, trained, tables)]
    tables |= uncertainty_tables(table, symbol, trained, samples.design)
    tables |= study_tables(table, symbol, trained, samples, seed)
    return Report(tables, notes)
