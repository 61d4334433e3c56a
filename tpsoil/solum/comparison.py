"""Comparison of maps, and of predictions at the same profiles: the study's Table 5, differences, correlations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats

from tpsoil.blocks import map_pixels
from tpsoil.errors import GridError, InputError, UnitsError, nearest_name
from tpsoil.evaluation import THICKNESS_MEASURES, CensoredObservations, score
from tpsoil.evaluation.censored import ALL, LIMITS
from tpsoil.grid import require_same_grid
from tpsoil.tiles import compute_together
from tpsoil.units import conversion, same_unit
from tpsoil.variables import Variable

from .covariates import valid_numbers
from .observations import OBSERVED, THICKNESS_NAMES, lower_limits, values_at

DIFFERENCE = Variable("relative_difference", "relative difference", "%", meaning="100 (this - other)/other")
AGREEMENT = Variable(
    "agreement", "agreement of two maps", "1", dtype="uint8", kind="categorical",
    flags={0: "thinner", 1: "within the band", 2: "thicker"}, meaning="of this map beside the other",
)  # fmt: skip


def thickness_map(layer: xr.DataArray, *, units: str | None = None, nodata: float | None = None) -> xr.DataArray:
    """A thickness map in metres, with nodata as NaN.

    Parameters
    ----------
    layer : DataArray (y, x)
    units : str, optional
        Units of a layer without the attribute.
    nodata : float, optional
        Nodata value of a layer without one (`_FillValue`, `missing_value` or `nodata`).

    Returns
    -------
    DataArray (y, x), m
        Lazy where the layer is. Negative values are NaN.

    Raises
    ------
    UnitsError
        For a unit of no length, and for two units that contradict each other.

    Examples
    --------
    >>> layer = xr.DataArray([[40.0, -9999.0]], dims=("y", "x"), attrs={"units": "cm"})
    >>> thickness_map(layer, nodata=-9999).values.tolist()
    [[0.4, nan]]
    """
    declared = str(layer.attrs.get("units", "")).strip()
    if declared and units is not None and not same_unit(declared, units):
        raise UnitsError(f"thickness map '{layer.name}' has units '{declared}', not units={units!r}")
    unit = units or declared or "m"
    to_metres = conversion(unit, "m", where=f"thickness map '{layer.name}'").factor
    fills = [
        nodata,
        *(layer.attrs.get(key, layer.encoding.get(key)) for key in ("_FillValue", "missing_value", "nodata")),
    ]
    numbers = layer if layer.dtype.kind == "f" else layer.astype("float64")  # whose type may not have the nodata value
    valid = layer.astype("float64" if layer.dtype == np.float64 else "float32")
    valid = valid.where(valid >= 0)
    for fill in fills:
        if fill is not None and np.isfinite(float(fill)):
            valid = valid.where(numbers != numbers.dtype.type(fill))
    scaled = valid * to_metres if to_metres != 1.0 else valid
    return scaled.assign_attrs({**layer.attrs, "units": "m"}).rename(layer.name)


def compare_maps(
    maps: Mapping[str, xr.DataArray], profiles: pd.DataFrame | None = None, *, in_sample: Iterable[str] = ()
) -> pd.DataFrame:
    """The study's Table 5: statistics of every map, and its errors at the profiles.

    Parameters
    ----------
    maps : mapping of name to DataArray (y, x), m
        On one grid; see `thickness_map`.
    profiles : DataFrame, optional
        `solum_thickness` (m) and `lon`, `lat` or `x`, `y`; optional `censored` (the solum is at least that thick).
    in_sample : iterable of str
        Maps calibrated on these profiles; their errors are labelled (science sheet 2p).

    Returns
    -------
    DataFrame
        A row a map: `map`, `cells`, `min`, `max`, `mean`, `sd` (m), and with profiles `n` and
        `tpsoil.evaluation.THICKNESS_MEASURES` of the complete profiles, `errors` ("in sample" or "independent?"),
        `common_rmse` over the complete profiles where every map has a value. Where a profile is a lower limit also
        `limits`, their number, and `bias_tobit`, `rmse_tobit`, `concordance`, `below_limit` and `shortfall` of
        `tpsoil.evaluation.CensoredObservations`.

    Raises
    ------
    GridError
        Where the maps are on different grids.
    InputError
        Without maps, for a name of `in_sample` that is no map, and for profiles without thickness or position.

    Notes
    -----
    Beside the study's own numbers (`PUBLISHED_SCORES`) cite its dataset DOI and preprint version; "independent?"
    because survey profiles were usually used in national maps too.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> thickness = xr.DataArray(np.full(grid.shape, 0.5), dims=("y", "x"), coords=coordinates(grid))
    >>> compare_maps({"this map": thickness})["mean"].tolist()
    [0.5]
    """
    if not maps:
        raise InputError("compare_maps: no maps")
    calibrated = set(in_sample)
    unknown = sorted(calibrated - set(maps))
    if unknown:
        raise InputError(f"compare_maps: in_sample names no map '{unknown[0]}'{nearest_name(unknown[0], maps)}")
    if calibrated and profiles is None:
        raise InputError("compare_maps: in_sample has no effect without profiles; pass them, or leave in_sample out")
    if len(maps) > 1:
        require_same_grid(*maps.values(), where="compare_maps")
    lazy = [getattr(layer, name)() for layer in maps.values() for name in ("count", "min", "max", "mean", "std")]
    values = np.reshape([float(value) for value in compute_together(lazy)], (len(maps), 5))
    columns = ("cells", "min", "max", "mean", "sd")
    rows: list[dict[str, Any]] = [{"map": name, **dict(zip(columns, own.tolist()))} for name, own in zip(maps, values)]
    if profiles is not None:
        column = next((n for n in THICKNESS_NAMES if n in profiles.columns), None)
        if column is None:
            hint = nearest_name(OBSERVED, map(str, profiles.columns))
            raise InputError(f"compare_maps: profiles have no column '{OBSERVED}'{hint}")
        sampled = values_at(xr.Dataset(dict(maps)), profiles, list(maps))
        observed = profiles[column].to_numpy(float)
        limits = lower_limits(profiles)
        complete = np.where(limits, np.nan, observed)
        common = np.isfinite(sampled[list(maps)].to_numpy(float)).all(axis=1)
        for row in rows:
            predicted = sampled[row["map"]].to_numpy(float)
            scores = score(complete, predicted, measures=THICKNESS_MEASURES, missing="omit")
            row.update({key: value for key, value in scores.items() if key != "not_positive"})
            row["common_rmse"] = score(complete[common], predicted[common], measures=("rmse",), missing="omit")["rmse"]
            if limits.any():
                row.update(_limit_scores(observed, limits, predicted))
            row["errors"] = "in sample" if row["map"] in calibrated else "independent?"
    table = pd.DataFrame(rows)
    table["cells"] = table["cells"].astype(np.int64)
    return table


def _limit_scores(
    observed: npt.NDArray[np.float64], limits: npt.NDArray[np.bool_], predicted: npt.NDArray[np.float64]
) -> dict[str, float]:
    """Number of lower limits on cells with a value, and the scores that use them; NaN without one such profile."""
    usable = np.isfinite(observed) & np.isfinite(predicted)
    scores = dict.fromkeys((*ALL, *LIMITS), float("nan"))
    if usable.any():
        pits = CensoredObservations(observed[usable], limits[usable], draws=2)  # its intervals are not used
        value = pits.scores(predicted[usable])["value"]
        scores = {name: float(value[name]) for name in scores}
    return {"limits": int((usable & limits).sum()), **scores}


def paired_difference(
    observed: Any, first: Any, second: Any, *, seed: int = 0, resamples: int = 2000
) -> dict[str, float]:
    """Whether one prediction's RMSE differs from another's on the same profiles.

    Parameters
    ----------
    observed, first, second : array-like (n,), m
        Triples with a NaN are omitted.
    seed, resamples : int

    Returns
    -------
    dict
        `difference` (RMSE of first - RMSE of second, m), `low`, `high` (its 95 % bootstrap interval), `n`, and
        `gain_percent`: 100 (RMSE second - RMSE first)/RMSE second. The study's abstract reports 10-17 %, its Table 5
        19.05 % (Liu) and 24.44 % (Shangguan), so it is recomputed here (science sheet 2j).

    Raises
    ------
    InputError
        For different lengths or fewer than two triples.

    Examples
    --------
    >>> round(paired_difference([1, 2, 3, 4], [1.1, 2.1, 3.1, 4.1], [1.2, 2.2, 3.2, 4.2])["gain_percent"], 6)
    50.0
    """
    columns = [np.asarray(side, float).ravel() for side in (observed, first, second)]
    if len({column.size for column in columns}) != 1:
        raise InputError(f"paired_difference: lengths {[column.size for column in columns]}, expected one length")
    stacked = np.stack(columns)
    stacked = stacked[:, np.isfinite(stacked).all(axis=0)]
    n = stacked.shape[1]
    if n < 2:
        raise InputError(f"paired_difference: {n} complete profiles, expected at least 2")
    errors = (stacked[1:] - stacked[0]) ** 2
    draws = np.random.default_rng(seed).integers(0, n, (resamples, n))
    roots = np.sqrt(errors[:, draws].mean(axis=2))
    rmse = np.sqrt(errors.mean(axis=1))
    low, high = np.quantile(roots[0] - roots[1], [0.025, 0.975])
    return {
        "difference": float(rmse[0] - rmse[1]),
        "low": float(low),
        "high": float(high),
        "gain_percent": float(100 * (rmse[1] - rmse[0]) / rmse[1]) if rmse[1] > 0 else float("nan"),
        "n": float(n),
    }


def relative_difference(this: xr.DataArray, other: xr.DataArray, *, band: float = 5.0) -> xr.Dataset:
    """Relative difference between two thickness maps.

    Parameters
    ----------
    this, other : DataArray (y, x), m
        On one grid.
    band : float
        %; differences within it are agreement. The study shows +-5 % in grey.

    Returns
    -------
    Dataset (y, x)
        `relative_difference`, % of the other map (NaN where either is NaN or the other is 0); `agreement`: 0 thinner,
        1 within the band, 2 thicker, 255 nodata.

    Raises
    ------
    GridError
        Where the maps are on different grids.
    InputError
        For a negative band.

    Examples
    --------
    >>> this, other = xr.DataArray([[1.1, 0.5]], dims=("y", "x")), xr.DataArray([[1.0, 1.0]], dims=("y", "x"))
    >>> relative_difference(this, other)["relative_difference"].values.round(1).tolist()
    [[10.0, -50.0]]
    """
    if not band >= 0:
        raise InputError(f"relative_difference: band is {band!r} %, expected at least 0")
    if this.shape != other.shape:
        raise GridError(f"relative_difference: shapes {this.shape} and {other.shape}; bring both onto one grid")
    outputs = [DIFFERENCE, AGREEMENT]
    results = map_pixels(partial(_difference, band=float(band)), this, other, outputs=outputs)
    return xr.Dataset({spec.name: layer for spec, layer in zip(outputs, results)}, attrs={"band": float(band)})


def _difference(
    this: npt.NDArray[Any], other: npt.NDArray[Any], *, band: float
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Relative difference and its class, for one chunk."""
    this_m, other_m = this.astype(np.float64), other.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = np.where(other_m > 0, 100.0 * (this_m - other_m) / other_m, np.nan)
        code = np.where(percent > band, 2, np.where(percent < -band, 0, 1))
    return percent, np.where(np.isnan(percent), 255, code).astype(np.uint8)


def pearson_matrix(table: pd.DataFrame | xr.Dataset, names: Iterable[str] | None = None) -> pd.DataFrame:
    """Pearson correlations with p-values, pairwise complete.

    Parameters
    ----------
    table : DataFrame or Dataset
        Columns, or layers of one shape (all cells are read).
    names : iterable of str, optional
        Default: all numeric columns.

    Returns
    -------
    DataFrame
        Tidy: `first`, `second`, `r`, `p`, `n`, for every ordered pair; NaN where fewer than three pairs or a constant.

    Raises
    ------
    InputError
        For missing names.

    Notes
    -----
    p is that of independent samples. Neighbouring cells are not independent: over a raster every correlation is
    "significant", so the asterisks of the study's Fig. 4 have little meaning.

    Examples
    --------
    >>> table = pearson_matrix(pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [1.0, 2.0, 3.0, 5.0]}))
    >>> round(float(table.query("first == 'a' and second == 'b'")["r"].iloc[0]), 6)
    0.982708
    """
    if isinstance(table, xr.Dataset):
        numeric = [str(n) for n in table.data_vars if table[n].ndim]
    else:
        numeric = [str(n) for n in table.select_dtypes("number").columns]
    selected = numeric if names is None else list(names)
    if missing := [name for name in selected if name not in table]:
        raise InputError(f"pearson_matrix: no {', '.join(missing)}{nearest_name(missing[0], map(str, table))}")
    if isinstance(table, xr.Dataset):
        loaded = compute_together(table[n] for n in selected)
        values = {n: valid_numbers(layer.values, table[n]).ravel() for n, layer in zip(selected, loaded)}
    else:
        values = {n: table[n].to_numpy(float) for n in selected}
    rows = []
    for first in selected:
        for second in selected:
            both = np.isfinite(values[first]) & np.isfinite(values[second])
            a, b = values[first][both], values[second][both]
            r = p = float("nan")
            if a.size >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
                r, p = (1.0, 0.0) if first == second else map(float, stats.pearsonr(a, b))
            rows.append({"first": first, "second": second, "r": r, "p": p, "n": int(a.size)})
    return pd.DataFrame(rows)
