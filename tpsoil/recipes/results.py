"""Tables of a finished store: what its stages printed, read back."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from tpsoil.engine.ledger import Ledger
from tpsoil.engine.manifest import RUN_KEY
from tpsoil.engine.prepare import read_tables
from tpsoil.table_titles import TITLES, table_title

SCORES = ("element", "folds", "n", "nse", "rmse", "nse_original", "rmse_original")
UNCERTAINTY = ("element", "by", "group", "n", "level", "coverage", "mean_width", "interval_score", "crps")
MEASUREMENT = ("element", "replicated_sites", "within_sd", "residual_sd", "level", "width_measurement", "width_true")
COLUMNS = {"elements": SCORES, "with_extra": SCORES, "uncertainty": UNCERTAINTY, "measurement": MEASUREMENT}
"""Of tables that are wider than a terminal, what is printed; the page and the store have all."""
LONG = ("predictions_", "coverage_", "importance_", "effect_", "traces_", "transect_", "correlations_",
        "sites_", "sensitivity_", "distances_", "letters_", "xrf_", "dependence_", "joint_", "relation_")  # fmt: skip
"""Tables of one element, kept for the figures and not printed."""
PRINTED = ("xrf_coverage", "joint_drivers")
"""Tables that are printed in spite of their prefix."""


def result_tables(store: str) -> dict[str, pd.DataFrame]:
    """Tables of a run by title: thickness by zone, scores by element and kind of folds.

    Parameters
    ----------
    store : str
        Output of a run: a path or URL.

    Returns
    -------
    dict of str to DataFrame

    Examples
    --------
    >>> result_tables("memory://an_empty_store.zarr")
    {}
    """
    ledger = Ledger.at(store, read_only=True)
    content: dict[str, Any] = ledger.read_json(RUN_KEY) or {}
    names = [str(stage["name"]) for stage in content.get("stages", [])]
    tables = read_tables(ledger, names)
    for name in names:
        data = ledger.read_table(f"tables/{name}.csv")
        if data is not None:
            tables[name] = pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""])
    for name, columns in COLUMNS.items():
        if name in tables:
            tables[name] = tables[name][[column for column in columns if column in tables[name]]]
    ordered = [name for name in TITLES if name in tables]
    ordered += [name for name in tables if name not in TITLES and (not name.startswith(LONG) or name in PRINTED)]
    return {table_title(name): tables[name] for name in ordered}


def map_layers(store: str) -> list[str]:
    """Names of the maps of a run: the outputs of its models, without the covariates.

    Examples
    --------
    >>> map_layers("memory://an_empty_store.zarr")
    []
    """
    content: dict[str, Any] = Ledger.at(store, read_only=True).read_json(RUN_KEY) or {}
    return [
        str(name)
        for stage in content.get("stages", [])
        if stage["section"] in {"solum", "elements"}
        for name in stage["outputs"]
    ]
