"""Where the rows of a table lie, and how their folds are described."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tpsoil.points import PositionColumns, named_columns, position_groups, position_pairs


def choose_position(table: pd.DataFrame, coordinates: Sequence[str] | None = None) -> PositionColumns | None:
    """The two columns that place a row: those that are named, else those that `tpsoil.points` knows.

    Raises
    ------
    InputError
        Where named columns are not in the table.
    """
    if coordinates is not None:
        return named_columns(table, coordinates, where="folds")
    pairs = position_pairs(table)
    return pairs[0] if pairs else None


def sites_by_position(table: pd.DataFrame) -> pd.Series | None:
    """Rows at one position as one site, with a warning; None where every row has a position of its own."""
    codes = position_groups(table, where="train")
    if codes is None or (count := len(np.unique(codes))) == len(table):
        return None
    warnings.warn(
        f"train: {len(table)} rows lie at {count} positions and no groups= names their sites; rows at one position "
        "are taken as one site, which no fold splits",
        stacklevel=4,
    )
    return pd.Series(codes, index=table.index, name="position")


def describe_folds(kind: str, blocks: str) -> str:
    """One phrase for tables and attributes, such as "blocks of 3 degrees"; `blocks` describes their side."""
    words = {
        "random": "rows at random",
        "group": "whole groups",
        "region": "one region left out",
        "knndm": "distances matched to the mapped area (kNNDM)",
    }
    return f"blocks of {blocks}" if kind == "block" else words[kind]
