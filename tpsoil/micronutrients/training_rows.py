"""Rows that the forest of an element is trained on: covariates of the cube at the samples, one element at a time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError, MissingInputError, nearest_name
from tpsoil.forest.features import KINDS, layer_kinds
from tpsoil.grid import grid_of
from tpsoil.micronutrients.screening import detected_values
from tpsoil.option_names import pass_option
from tpsoil.points import locate_points
from tpsoil.soil_mask import MASK, OnMasked, place_on_soil, with_soil_mask
from tpsoil.soil_properties import SoilProperty
from tpsoil.tiles import take_points
from tpsoil.variables import missing_code


def with_covariates(
    samples: pd.DataFrame,
    features: Sequence[str],
    cube: xr.Dataset | None,
    *,
    on_masked: OnMasked = "move",
    within_m: float | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Samples with missing features from the cells of the cube.

    Parameters
    ----------
    samples : DataFrame
    features : sequence of str
    cube : Dataset (y, x) or None
    on_masked, within_m
        Of samples on a cell without soil, as in `train_elements`.

    Returns
    -------
    table : DataFrame
        `attrs["kinds"]`: the kinds of the cube's layers.
    counts : dict of str to int
        `off_grid`, rows outside the grid, dropped; `masked`, rows on cells without soil, of them `masked_moved` and
        `masked_dropped`.

    Raises
    ------
    MissingInputError
        For features that are neither in the samples nor in the cube.
    InputError
        Without positions, or where no sample is on the grid.
    """
    counts = {"off_grid": 0, "masked": 0, "masked_moved": 0, "masked_dropped": 0}
    missing = [name for name in features if name not in samples.columns]
    if cube is not None:
        stored = layer_kinds(cube, {name: name for name in features})
        samples = samples.copy()
        samples.attrs[KINDS] = {**samples.attrs.get(KINDS, {}), **stored}
    if not missing:
        return samples, counts
    names = [str(name) for name in samples.columns] + ([] if cube is None else [str(n) for n in cube.data_vars])
    unavailable = [name for name in missing if cube is None or name not in cube]
    if unavailable or cube is None:
        hints = "; ".join(f"no covariate '{name}'{nearest_name(name, names)}" for name in unavailable)
        raise MissingInputError(
            f"map: {len(unavailable)} covariates are neither in the samples nor in the cube: {hints}"
        )
    rows, columns = locate_points(samples, grid_of(cube, where="map"), where="map: samples")
    inside = rows >= 0
    if not inside.any():
        raise InputError(f"map: none of {len(samples)} samples is on the cube's grid; check their lon, lat or x, y")
    counts["off_grid"] = int((~inside).sum())
    table, rows, columns = samples[inside].copy(), rows[inside], columns[inside]
    cube = with_soil_mask(cube)
    if MASK in cube:
        places = place_on_soil(cube[MASK], rows, columns, on_masked=on_masked, within_m=within_m)
        note = places.note(table.get("site", table.index.to_series()).tolist())
        if note and on_masked != "keep":
            warnings.warn(f"map: {note}", stacklevel=3)
        retained = ~places.dropped if on_masked != "keep" else np.ones(len(table), dtype=bool)
        counts["masked"], counts["masked_moved"] = int(places.masked.sum()), int(places.moved.sum())
        counts["masked_dropped"] = int((~retained).sum())
        table, rows, columns = table[retained], places.rows[retained], places.cols[retained]
    sampled = take_points({name: cube[name].data for name in missing}, rows, columns)
    for name in missing:
        values, code = sampled[name].astype(np.float64), missing_code(cube[name])
        table[name] = values if code is None else np.where(values == code, np.nan, values)
    return table, counts


def rows_of_element(
    samples: pd.DataFrame, element: str, limits: tuple[float, bool, str], declared: SoilProperty
) -> tuple[pd.DataFrame, int]:
    """Rows of one element with a column of its name, and number of substituted censored values."""
    max_censored, allow_censored, censored_as = limits
    tidy = {"element", "value"} <= set(samples.columns)
    if tidy:
        table = samples[samples["element"] == element]
        names = [str(e) for e in pd.unique(samples["element"])]
    else:
        table, names = samples, [str(c) for c in samples.columns]
    if not len(table) or (not tidy and element not in samples.columns):
        raise InputError(f"map: no element '{element}' in the samples{nearest_name(element, names)}")
    values = table["value" if tidy else element].astype(np.float64)
    if declared.low == 0 and (values < 0).any():
        raise InputError(
            f"map: '{element}' is negative in {int((values < 0).sum())} rows; a content cannot be: correct it, or read "
            "the samples with negative='censor'"
        )
    censored = table["censored"].astype(bool) if tidy and "censored" in table else pd.Series(False, index=table.index)
    values = detected_values(table) if tidy else values
    valid, below = int(values.notna().sum()), int(censored.sum())
    if not valid:
        raise InputError(f"map: '{element}' has no valid value in {len(table)} rows; omit the element")
    share = below / (valid + below)
    if share > max_censored and not allow_censored:
        raise InputError(
            f"map: {below} of {valid + below} values of '{element}' ({100 * share:.0f} %) are below the detection "
            f"limit, more than {100 * max_censored:.0f} %; a map would show the limit, not the element. Omit it, "
            f"or {pass_option('allow_censored', True)} to map it"
        )
    filled = 0
    if below and censored_as != "drop":
        limit = table["detection_limit"].astype(np.float64) if "detection_limit" in table else values * np.nan
        imputed = limit / 2 if censored_as == "half" else limit
        if imputed[censored].isna().any():
            raise InputError(
                f"map: {int(imputed[censored].isna().sum())} censored values of '{element}' have no detection limit; "
                f"{pass_option('limits')} when reading the samples, or {pass_option('censored_as', 'drop')}"
            )
        values = values.where(~censored, imputed)
        filled = below
    drop = [c for c in ("element", "value", "detection_limit", "censored") if tidy and c in table.columns]
    return table.drop(columns=drop).assign(**{element: values}), filled
