"""Tables of `[elements]` on its predictive distributions: by class, region, element level and distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tpsoil.evaluation import distances_across_folds
from tpsoil.forest import TrainedForest
from tpsoil.forest.calibration_tables import calibration_tables, within_site_error

from .element_options import ElementsTable


def uncertainty_tables(
    table: ElementsTable, symbol: str, trained: TrainedForest, design: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Coverage, sharpness, PIT and CRPS of one element; none without an interval.

    Parameters
    ----------
    table : ElementsTable
    symbol : str
    trained : TrainedForest
    design : DataFrame
        Placed samples with `lon`, `lat`, the classes of `compare` and the column of regions.

    Returns
    -------
    dict of str to DataFrame
        "uncertainty", "quantile_coverage" and "pit", see `tpsoil.forest.calibration_tables`; with replicates
        "measurement".
    """
    if table.interval is None:
        return {}
    frame = trained.predictions[trained.deciding]
    placed = design.loc[frame.index]
    groups: dict[str, pd.Series[Any]] = {name: placed[f"class {name}"] for name in table.compare}
    if table.region is not None:
        groups[table.region] = placed[table.region]
    groups["predicted level"] = _thirds(frame["predicted"], ("low", "middle", "high"))
    away = distances_across_folds(placed[["lon", "lat"]].to_numpy(dtype=float), frame["fold"], degrees=True)
    distance = pd.Series(away, index=frame.index)
    groups["distance to samples"] = _thirds(distance, ("near", "middle", "far"))
    tables = calibration_tables(trained, groups, level=table.interval)
    within = within_site_error(trained, level=table.interval)
    if within is not None:
        tables["measurement"] = within
    for one in tables.values():
        one.insert(0, "element", symbol)
    return tables


def _thirds(values: pd.Series[float], names: tuple[str, str, str]) -> pd.Series[Any]:
    """Low, middle and high third of values; equal values stay together."""
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    labels = np.where(values <= low, names[0], np.where(values <= high, names[1], names[2]))
    return pd.Series(labels, index=values.index)
