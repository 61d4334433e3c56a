"""The tables that a run writes, and those of their columns that have no title."""

from __future__ import annotations

import io

import pandas as pd

from tpsoil.column_titles import known_title
from tpsoil.engine.ledger import Ledger
from tpsoil.engine.manifest import RUN_KEY
from tpsoil.engine.prepare import read_tables


def written_tables(store: str) -> dict[str, pd.DataFrame]:
    """Every table of a run, also those that are only drawn, as stored."""
    ledger = Ledger.at(store, read_only=True)
    names = [str(stage["name"]) for stage in (ledger.read_json(RUN_KEY) or {})["stages"]]
    stored = {name: ledger.read_table(f"tables/{name}.csv") for name in names}
    return {
        **read_tables(ledger, names),
        **{name: pd.read_csv(io.BytesIO(data)) for name, data in stored.items() if data is not None},
    }


def untitled(store: str) -> set[tuple[str, str]]:
    """Table and column of every column without a title; columns of a transect are maps that the user names."""
    return {
        (name, str(column))
        for name, table in written_tables(store).items()
        for column in table.columns
        if known_title(str(column), name) is None and not name.startswith("transect_")
    }
