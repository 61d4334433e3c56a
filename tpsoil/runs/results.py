"""Tables of a finished store: what its stages printed, read back."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from .ledger import Ledger
from .output import RUN_KEY
from .prepare import read_tables

TITLES = {"solum": "Solum thickness by zone", "elements": "Elements, scores out of fold"}


def result_tables(store: str) -> dict[str, pd.DataFrame]:
    """Tables of a run by title: thickness by zone, scores by element and kind of folds.

    Parameters
    ----------
    store : str
        Output of a run: a path or URL.

    Returns
    -------
    dict of str to DataFrame
    """
    ledger = Ledger.at(store, read_only=True)
    content: dict[str, Any] = ledger.read_json(RUN_KEY) or {}
    names = [str(stage["name"]) for stage in content.get("stages", [])]
    tables = read_tables(ledger, names)
    for name in names:
        data = ledger.read(f"tables/{name}.csv")
        if data is not None:
            tables[name] = pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""])
    if "elements" in tables:
        scores = tables["elements"]
        keep = [c for c in ("element", "folds", "n", "r2", "rmse", "r2_original", "rmse_original") if c in scores]
        tables["elements"] = scores[keep]
    return {TITLES.get(name, name): table for name, table in tables.items()}


def map_layers(store: str) -> list[str]:
    """Names of the maps of a run: what its models made, without the covariates."""
    content: dict[str, Any] = Ledger.at(store, read_only=True).read_json(RUN_KEY) or {}
    return [
        str(name)
        for stage in content.get("stages", [])
        if stage["section"] in {"solum", "elements"}
        for name in stage["outputs"]
    ]
