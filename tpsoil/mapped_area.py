"""Cells that stand for the area that a model will map: places for designs of folds, covariates for weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.grid import grid_of
from tpsoil.points import unproject_points
from tpsoil.soil_mask import MASK, with_soil_mask, without_soil
from tpsoil.variables import missing_code

Doubles = npt.NDArray[np.float64]

CELLS: Final = 20_000
"""Mapped cells that stand for the area, at regular distances."""
SHIFT_CELLS: Final = 5_000
"""Mapped cells whose covariates are compared with those of the samples."""


def mapped_cells(cube: xr.Dataset, features: Sequence[str], *, limit: int = CELLS) -> Doubles:
    """Centres of the cells that a model will map: soil, with a value of the first covariate.

    Parameters
    ----------
    cube : Dataset (y, x)
        Has the features.
    features : sequence of str
    limit : int
        Cells on the grid at most, every n-th row and column.

    Returns
    -------
    ndarray (m, 2)
        Longitude and latitude, degrees.

    Raises
    ------
    InputError
        Where no cell is mapped.
    """
    part, valid = _thinned(cube, features[:1], limit)
    x, y = np.meshgrid(part["x"].values, part["y"].values)
    lon, lat = unproject_points(x[valid], y[valid], grid_of(cube))
    return np.column_stack([lon, lat])


def mapped_covariates(cube: xr.Dataset, features: Sequence[str], *, limit: int = SHIFT_CELLS) -> pd.DataFrame:
    """Covariates of cells that a model will map, at regular distances.

    Parameters
    ----------
    cube : Dataset (y, x)
    features : sequence of str
    limit : int
        Cells on the grid at most.

    Returns
    -------
    DataFrame (m, features)
        Complete rows.

    Raises
    ------
    InputError
        Where no cell is mapped.
    """
    part, valid = _thinned(cube, features, limit)
    return pd.DataFrame({name: part[name].values[valid] for name in features})


def _thinned(cube: xr.Dataset, features: Sequence[str], limit: int) -> tuple[xr.Dataset, npt.NDArray[np.bool_]]:
    """Every n-th row and column of layers, and which of these cells have soil and all layers."""
    complete = with_soil_mask(cube)
    height, width = (int(cube.sizes[name]) for name in ("y", "x"))
    step = max(1, int(np.ceil(np.sqrt(height * width / limit))))
    rows, columns = slice(step // 2, None, step), slice(step // 2, None, step)
    names = [*features, *([MASK] if MASK in complete else [])]
    part = complete[names].isel(y=rows, x=columns).compute()
    valid = np.ones((part.sizes["y"], part.sizes["x"]), dtype=bool)
    for name in features:
        code = missing_code(complete[name])
        valid &= np.isfinite(part[name].values) & (True if code is None else part[name].values != code)
    if MASK in part:
        valid &= ~without_soil(part[MASK].values)
    if not valid.any():
        listed = ", ".join(f"'{name}'" for name in features)
        raise InputError(f"no cell has soil and a value of {listed}, so nothing will be mapped")
    return part, valid
