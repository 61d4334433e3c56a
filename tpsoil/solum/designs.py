"""Validation designs of the solum model: the model, a forest and the zone mean on the same folds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.evaluation import MappedArea, design_scores
from tpsoil.points import position_columns, positions_of

from .assessment import kind_of_scheme


def mapped_area(table: pd.DataFrame, area: npt.ArrayLike | None) -> MappedArea:
    """Places of the profiles and of the mapped cells.

    Parameters
    ----------
    table : DataFrame
        Usable profiles with `lon`, `lat` or `x`, `y`.
    area : array_like (m, 2), optional
        In the same coordinates.

    Raises
    ------
    InputError
        Without positions, and for cells of another shape.
    """
    pair = position_columns(table, where="calibrate: validation needs positions")
    east, north = positions_of(table, pair, where="profiles")
    cells = None if area is None else np.asarray(area, dtype=np.float64)
    if cells is not None and (cells.ndim != 2 or cells.shape[1] != 2 or not len(cells)):
        raise InputError(f"calibrate: area has shape {cells.shape}, expected (cells, 2)")
    return MappedArea(np.column_stack([east, north]), cells, pair.degrees)


def validation_table(
    predictions: pd.DataFrame, designs: Mapping[str, npt.NDArray[np.int64]], area: MappedArea | None, seed: int
) -> pd.DataFrame:
    """`Calibration.validation`: profiles that are not censored, under each design.

    Parameters
    ----------
    predictions : DataFrame
        `Calibration.predictions`.
    designs : mapping of design to (n,) int64
    area : MappedArea, optional
    seed : int

    Returns
    -------
    DataFrame
        As `tpsoil.evaluation.design_scores`, with the models "solum model", "forest" and "zone mean".
    """
    if not designs:
        return pd.DataFrame()
    observed = predictions["observed"].where(~predictions["censored"])
    by_design = {}
    for design in designs:
        kind = kind_of_scheme(design)
        median = predictions[f"{kind}_median"]
        by_design[design] = {
            "solum model": median.where(median.notna(), predictions[kind]),
            "forest": predictions[f"forest_{kind}"],
            "zone mean": predictions[f"zone_mean_{kind}"],
        }
    return design_scores(observed, by_design, designs, area=area, seed=seed)
