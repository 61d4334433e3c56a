"""Features of a forest: their kinds, and their values as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError, MissingInputError, nearest_name
from tpsoil.variables import Kind, stored_kind

Floats = npt.NDArray[np.float64]

KINDS: Final = "kinds"
"""Attribute of a table: the kind of each layer that its columns were taken from."""


@dataclass(frozen=True)
class Feature:
    """One feature and the columns that it becomes.

    Parameters
    ----------
    name : str
        In the table and in the cube.
    kind : {"continuous", "categorical", "circular"}
    levels : tuple
        Classes in training, sorted: integers, or text (tables only).
    values : tuple of float
        Number that represents each level under "codes" and "ordered".
    columns : tuple of str
        Names of the trees' columns.
    """

    name: str
    kind: Kind
    levels: tuple[Any, ...]
    values: tuple[float, ...]
    columns: tuple[str, ...]

    @property
    def of_text(self) -> bool:
        """Whether its classes are text."""
        return any(isinstance(level, str) for level in self.levels)


def feature_kind(
    column: pd.Series,
    name: str,
    categorical: Sequence[str] | None = None,
    circular: Sequence[str] | None = None,
    stored: Mapping[str, Kind] | None = None,
) -> Kind:
    """Kind of a feature: by the caller, else by its layer, else by the column's type or the catalogue.

    Parameters
    ----------
    column : Series
    name : str
    categorical, circular : sequence of str, optional
        Complete lists, where passed.
    stored : mapping of str to kind, optional
        Kinds that the layers recorded, `attrs["kinds"]` of a table that `sample_cube` returned.

    Returns
    -------
    {"continuous", "categorical", "circular"}
    """
    if categorical is not None and name in categorical:
        return "categorical"
    if circular is not None and name in circular:
        return "circular"
    kind = (stored or {}).get(name) or stored_kind(name, {})
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        kind = "categorical"
    if (kind == "categorical" and categorical is None) or (kind == "circular" and circular is None):
        return kind
    return "continuous"


def layer_kinds(cube: xr.Dataset, names: Mapping[str, str]) -> dict[str, Kind]:
    """Kinds that layers record, by feature.

    Parameters
    ----------
    cube : Dataset
    names : mapping of str to str
        Layer of each feature.

    Returns
    -------
    dict of str to kind
        Without features whose layer does not exist or is of an unknown kind.
    """
    kinds = {feature: stored_kind(layer, cube[layer].attrs) for feature, layer in names.items() if layer in cube}
    return {feature: kind for feature, kind in kinds.items() if kind is not None}


def require_features(
    table: pd.DataFrame | xr.Dataset, names: Sequence[str], *, where: str, noun: str = "column"
) -> None:
    """Reject a table or cube that lacks features, or has a column twice; all of them are listed.

    Raises
    ------
    MissingInputError
    InputError
    """
    available = [str(name) for name in (table.variables if isinstance(table, xr.Dataset) else table.columns)]
    lacking = [name for name in names if name not in available]
    if lacking:
        hints = "; ".join(f"no {noun} '{name}'{nearest_name(name, available)}" for name in lacking)
        raise MissingInputError(f"{where}: {len(lacking)} of {len(names)} features are missing: {hints}")
    if twice := [name for name in names if available.count(name) > 1]:
        raise InputError(f"{where}: the table has more than one {noun} named {', '.join(twice)}; rename or omit them")


def numbers(column: pd.Series) -> Floats:
    """A column as float64.

    Raises
    ------
    InputError
        For text.
    """
    try:
        return np.asarray(pd.to_numeric(column), dtype=np.float64)
    except (ValueError, TypeError):
        text = next(str(v) for v in column if isinstance(v, str))
        raise InputError(
            f"forest: column '{column.name}' has text ('{text}'), expected numbers; correct it or drop it"
        ) from None


def require_cube(cube: Any, where: str) -> xr.Dataset:
    """Reject what is not a Dataset of layers, and show how to create one.

    Raises
    ------
    InputError
    """
    if isinstance(cube, xr.Dataset):
        return cube
    if isinstance(cube, xr.DataArray):
        name = cube.name or "elevation"
        raise InputError(
            f"{where}: cube is a DataArray, expected a Dataset whose layers are the features by name; "
            f"pass layer.to_dataset(name={str(name)!r}), or xr.merge of several layers"
        )
    raise InputError(
        f"{where}: cube is a {type(cube).__name__}, expected a Dataset (y, x) with a layer for each feature; "
        "open a stored cube with tpsoil.open_cube(path)"
    )
