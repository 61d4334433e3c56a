"""Kriging of the forests' residuals in `[elements]`: used where it wins, and reported where it does not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from tpsoil.evaluation import Kriging
from tpsoil.forest import TrainedForest
from tpsoil.forest.residual_kriging import krige_residuals

from .element_options import ElementsTable


@dataclass(frozen=True)
class KrigedElement:
    """A trained forest with kriged residuals where they are asked for and help.

    Parameters
    ----------
    trained : TrainedForest
    kriging : Kriging or None
    tables : dict of str to DataFrame
        "kriging": RMSE with and without.
    notes : list of str
    """

    trained: TrainedForest
    kriging: Kriging | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def kriged_forest(
    table: ElementsTable, symbol: str, trained: TrainedForest, design: pd.DataFrame, *, workers: int
) -> KrigedElement:
    """The forest of one element with `kriging = "residuals"`.

    Parameters
    ----------
    table : ElementsTable
    symbol : str
    trained : TrainedForest
    design : DataFrame
        Placed samples with `lon` and `lat`.
    workers : int

    Returns
    -------
    KrigedElement

    Raises
    ------
    InputError
        For fewer than 30 positions.
    """
    if table.kriging == "none":
        return KrigedElement(trained)
    place = design.loc[trained.folds.index, ["lon", "lat"]].to_numpy(dtype=float)
    kriged = krige_residuals(trained, place, workers=workers)
    comparison = kriged.comparison.rename(columns={"range_m": "range_km"})
    comparison["range_km"] /= 1000
    comparison.insert(0, "element", symbol)
    row = comparison.iloc[0]
    interval = f"{row['gain']:.3g} [{row['lower']:.3g}, {row['upper']:.3g}]"
    verdict = "used" if row["used"] else "not used, because the interval does not exclude 0"
    note = (
        f"{symbol}: kriging of residuals lowers the RMSE of {row['folds']} folds from {row['rmse_forest']:.4g} by "
        f"{interval} (90 % interval, on the scale of the fit): {verdict}"
    )
    return KrigedElement(kriged.trained, kriged.kriging, {"kriging": comparison}, [note])
