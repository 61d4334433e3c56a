"""Training of the forests of `[elements]`: options, forward selection of features, kriging of residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.columns import labelled
from tpsoil.evaluation import FOLD_KINDS
from tpsoil.forest import TrainingOptions
from tpsoil.forest.selection import select_from, training_positions
from tpsoil.mapped_area import mapped_cells
from tpsoil.micronutrients import train_elements

from .element_options import ElementsTable

OF_SEARCH = ("search", "search_trees", "search_folds")


@dataclass(frozen=True)
class SelectedTable:
    """The recipe's table with the selected features.

    Parameters
    ----------
    table : ElementsTable
        Its features, and the effects and groups of features among them.
    tables : dict of str to DataFrame
        "selection" and "selection_steps".
    notes : list of str
    """

    table: ElementsTable
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def training_options(
    table: ElementsTable,
    design: pd.DataFrame,
    cube: xr.Dataset,
    *,
    seed: int,
    workers: int,
    scored: bool = True,
) -> dict[str, Any]:
    """Keyword arguments of `tpsoil.micronutrients.train_elements`.

    Parameters
    ----------
    table : ElementsTable
    design : DataFrame
        Placed samples with `site`.
    cube : Dataset (y, x)
        Has the features; gives the mapped cells for "knndm" folds.
    seed, workers : int
    scored : bool
        Score by all kinds of folds; else by the deciding kind alone, for forests whose scores are not reported.

    Returns
    -------
    dict
    """
    kinds, symbol = table.design.kinds, str(design["element"].iloc[0])
    declared = table.property_of(symbol)
    # Where every row is a site of its own, folds by site are the random ones.
    single = not design["site"].duplicated().any()
    search = {"search": dict(table.search), "search_trees": table.search_trees, "search_folds": table.search_folds}
    used = [kind for kind in kinds if not (kind == "group" and single)] or ["random"]
    if not scored:
        used = [max(used, key=FOLD_KINDS.index)]
    return {
        "groups": None if single else "site",
        "folds": used,
        **({"regions": table.region} if "region" in used else {}),
        **({"area": mapped_cells(cube, table.features)} if "knndm" in used else {}),
        "transform": "log10" if table.log_of(symbol) else "none",
        "units": declared.units,
        "properties": {symbol: declared},
        "max_censored": table.max_censored,
        "allow_censored": table.allow_censored,
        "censored_as": table.censored_as,
        "n_folds": table.n_folds,
        "block_size": table.design.block,
        "coordinates": ("lon", "lat"),
        "trees": table.trees,
        "preset": table.preset,
        **(search if table.search else {}),
        "seed": seed,
        "workers": workers,
        "progress": False,  # the run has its own
        **table.settings,
    }


def selected_table(
    table: ElementsTable, symbol: str, design: pd.DataFrame, settings: Mapping[str, Any]
) -> SelectedTable:
    """Select the features of one element.

    Parameters
    ----------
    table : ElementsTable
    symbol : str
    design : DataFrame
        Placed samples.
    settings : mapping
        Keywords of `train_elements`.

    Returns
    -------
    SelectedTable
    """
    if table.feature_selection == "none":
        return SelectedTable(table)
    kind = max(settings["folds"], key=FOLD_KINDS.index)
    plain = {name: value for name, value in settings.items() if name not in OF_SEARCH}
    plain |= {"folds": [kind], "trees": table.selection_trees}
    for name, of_kind in (("regions", "region"), ("area", "knndm")):
        if kind != of_kind:
            plain.pop(name, None)
    base = train_elements(design, [symbol], list(table.features), **plain)[symbol]
    rows = design.loc[base.folds.index]
    known = {option.name for option in fields(TrainingOptions)}
    how = TrainingOptions.of({name: value for name, value in plain.items() if name in known})
    positions = training_positions(base, rows, how)
    chosen = select_from(
        base, positions, nested=table.feature_selection == "nested", workers=int(settings.get("workers", 1))
    )
    summary = {
        "element": symbol,
        "folds": chosen.folds,
        "features": ", ".join(chosen.features),
        **{name: getattr(chosen, name) for name in ("rmse", "nested_rmse", "all_rmse", "forests")},
    }
    # The order of the recipe, so that the forest does not depend on the order of selection.
    features = tuple(name for name in table.features if name in chosen.features)
    nested = f", nested {chosen.nested_rmse:.4g}" if np.isfinite(chosen.nested_rmse) else ""
    note = (
        f"{symbol}: {len(features)} of {len(table.features)} features selected in {chosen.folds} folds by "
        f"{chosen.forests} forests: {', '.join(chosen.features)}; RMSE as selected {chosen.rmse:.4g}{nested}, with all "
        f"features {chosen.all_rmse:.4g}"
    )
    tables = {"selection": pd.DataFrame([summary]), "selection_steps": labelled(chosen.steps, element=symbol)}
    return SelectedTable(narrowed_table(table, features), tables, [note])


def narrowed_table(table: ElementsTable, features: Sequence[str]) -> ElementsTable:
    """The recipe's table with some of its features, and the effects and groups of features among them."""
    own: dict[str, Any] = {
        "features": tuple(features),
        "effects": tuple(effect for effect in table.effects if set(effect.split("*")) <= set(features)),
    }
    if isinstance(table.driver_groups, dict):
        groups = {name: [one for one in members if one in features] for name, members in table.driver_groups.items()}
        own["driver_groups"] = {name: members for name, members in groups.items() if members}
    return table.model_copy(update=own)


def kriging_table(symbol: str, comparison: pd.DataFrame) -> pd.DataFrame:
    """The comparison of `krige_residuals` for one element, with the range in km."""
    table = comparison.rename(columns={"range_m": "range_km"})
    table["range_km"] /= 1000
    return labelled(table, element=symbol)
