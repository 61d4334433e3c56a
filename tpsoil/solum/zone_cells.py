"""Cells that zones are fitted on: from layers, tables and arrays to flat columns, and the first prototypes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.sparse import issparse

from tpsoil.errors import InputError, MissingInputError
from tpsoil.tiles import compute_together

from .covariates import COVARIATES, KEPT_BY_STUDY
from .inputs import NEEDED, as_dataset, require_layers

Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

log = logging.getLogger("tpsoil.solum")


def layers_of(cells: Any, where: str) -> xr.Dataset:
    """A Dataset of layers, of a mapping of them, or of a table of cells."""
    if isinstance(cells, pd.DataFrame):
        cells = {str(name): cells[name].to_numpy() for name in cells.columns}
    return as_dataset(cells, where)


def is_array(cells: Any) -> bool:
    """Whether cells are rows of numbers; sparse ones too (one kind is a dict), which scikit-learn then rejects."""
    return issparse(cells) or not isinstance(cells, (xr.Dataset, Mapping, pd.DataFrame))


def array_layers(values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The columns of an array (n, f) under the names x0, x1, ..."""
    return {f"x{at}": column for at, column in enumerate(values.T)}


def chosen_layers(data: xr.Dataset, names: Iterable[str] | None, where: str) -> tuple[str, ...]:
    """The covariates of a fit; class layers that are there and not used are logged.

    Raises
    ------
    MissingInputError
        For covariates that are not there.
    InputError
        For a layer of text.
    """
    chosen = tuple(names) if names is not None else tuple(name for name in KEPT_BY_STUDY if name in data)
    if not chosen:
        raise MissingInputError(f"{where}: none of the study's covariates is there: {', '.join(KEPT_BY_STUDY)}")
    require_layers(data, chosen, where)
    for name in chosen:
        if data[name].dtype.kind not in "fiub":
            raise InputError(
                f"{where}: '{name}' has type {data[name].dtype}, expected numbers; give classes as integer codes, with "
                "their names in flag_values and flag_meanings"
            )
    allowed = {*chosen, *COVARIATES, *NEEDED, "soil_mask", "zone", "solum_status"}
    unused = [str(n) for n in data.data_vars if n not in allowed and data[n].ndim and data[n].dtype.kind in "iub"]
    if names is None and unused:
        log.warning(
            "%s: class layers that are not of the study are not used: %s; name them in names= to use them",
            where,
            ", ".join(unused),
        )
    return chosen


def encode(classes: Doubles, levels: Sequence[npt.NDArray[np.float64]]) -> Codes:
    """Codes as positions in `levels`, one array a column; -1 for a class that is not there."""
    out = np.full(classes.shape, -1, np.int32)
    for j, codes in enumerate(levels):
        at = np.clip(np.searchsorted(codes, classes[:, j]), 0, max(len(codes) - 1, 0))
        out[:, j] = np.where(codes[at] == classes[:, j], at, -1)
    return out


def decimated_cells(data: xr.Dataset, names: Sequence[str], max_cells: int) -> dict[str, npt.NDArray[Any]]:
    """Flat arrays of every n-th row and column, row-major, of the covariates, the mask and the elevation."""
    selected = dict.fromkeys((*names, *(name for name in ("soil_mask", "elevation") if name in data)))
    cells = math.prod(data[names[0]].shape)
    step = (
        max(1, math.ceil(math.sqrt(cells / max_cells)))
        if data[names[0]].ndim == 2
        else max(1, math.ceil(cells / max_cells))
    )
    step_by_dim = {dim: slice(None, None, step) for dim in data[names[0]].dims}
    loaded = xr.broadcast(*(data[name].isel(step_by_dim, missing_dims="ignore") for name in selected))
    return {name: np.asarray(layer.values).reshape(-1) for name, layer in zip(selected, compute_together(loaded))}


def kmodes_start(numbers: Doubles, classes: Codes, k: int, gamma: float, seed: int) -> tuple[Doubles, Codes]:
    """Prototypes that kmodes finds on a few points.

    Raises
    ------
    InputError
        For fewer different points than prototypes.
    """
    from kmodes.kprototypes import KPrototypes

    different = len(np.unique(np.column_stack([numbers, classes]), axis=0))
    if different < k:
        raise InputError(
            f"Zones.fit: {different} different combinations of covariates in {len(numbers)} cells, expected at least "
            f"k = {k}; use fewer zones, more covariates, or more start_cells"
        )
    # kmodes needs one column of each kind; a constant one adds the same distance everywhere.
    initial = numbers if numbers.shape[1] else np.zeros((len(classes), 1))
    right = classes if classes.shape[1] else np.zeros((len(numbers), 1), np.int32)
    mixed = np.hstack([initial, right.astype(np.float64)]).astype(object)
    model = KPrototypes(k, init="Huang", n_init=1, gamma=gamma, max_iter=20, random_state=seed)
    model.fit(mixed, categorical=list(range(initial.shape[1], mixed.shape[1])))
    centroids = np.asarray(model.cluster_centroids_, dtype=np.float64)
    centres = np.ascontiguousarray(centroids[:, : numbers.shape[1]])
    modes = np.ascontiguousarray(centroids[:, initial.shape[1] :][:, : classes.shape[1]]).astype(np.int32)
    return centres, modes
