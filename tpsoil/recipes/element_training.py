"""Options of `train_elements` from `[elements]`, shared by all its forests."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from tpsoil.evaluation import FOLD_KINDS

from .element_options import ElementsTable
from .mapped_area import mapped_cells


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
        **table.settings,
    }
