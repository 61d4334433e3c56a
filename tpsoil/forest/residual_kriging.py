"""Regression kriging: residuals of a forest are kriged and added to it, where that wins in its validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from tpsoil.blocks import constant_like, map_pixels
from tpsoil.errors import InputError
from tpsoil.evaluation import Kriging, compare_models, fit_variogram, make_folds
from tpsoil.evaluation.kriging import NEIGHBOURS
from tpsoil.forest.search import fit_compiled, spec_of
from tpsoil.forest.trained import TrainedForest
from tpsoil.forest.training import pooled_scores
from tpsoil.grid import grid_of
from tpsoil.points import unproject_points
from tpsoil.variables import variable

Floats = npt.NDArray[np.float64]

TREES: Final = 100
"""Of the forests that give residuals."""
FOLDS: Final = 5
MINIMUM_POSITIONS: Final = 30
"""Fewer give no variogram that could be trusted."""
DRAWS: Final = 1000


@dataclass(frozen=True, eq=False)
class KrigedForest:
    """A forest with kriged residuals, or without where they do not help. Created by `krige_residuals`.

    Parameters
    ----------
    trained : TrainedForest
        Its predictions, quantiles and scores out of fold include the kriged residuals, where these are used.
    kriging : Kriging or None
        Of the residuals on the scale of the fit; None where kriging did not win.
    comparison : DataFrame
        One row a kind of folds that was compared: `folds`, `rmse_forest`, `rmse_kriged`, `gain` (their difference, on
        the scale of the fit) with its paired 90 % bootstrap interval `lower`, `upper` and `p`; `range_m` and
        `nugget_share` of the residuals' variogram; `used`.
    """

    trained: TrainedForest
    kriging: Kriging | None
    comparison: pd.DataFrame


def krige_residuals(
    trained: TrainedForest,
    positions: npt.ArrayLike,
    *,
    degrees: bool = True,
    neighbours: int = NEIGHBOURS,
    workers: int = 1,
) -> KrigedForest:
    """Krige the residuals of a forest, and use them if they win in the deciding folds.

    Parameters
    ----------
    trained : TrainedForest
    positions : array_like (rows, 2)
        Of the training rows: longitude and latitude, or east and north.
    degrees : bool
    neighbours : int
        Nearest samples of each cell.
    workers : int
        Threads; the result does not depend on it.

    Returns
    -------
    KrigedForest

    Raises
    ------
    InputError
        For positions that do not fit the rows, or fewer than 30 of them.

    Notes
    -----
    A residual is that of a row without its own site: of forests grown on the other sites (5 folds). For the comparison
    this is repeated within the training part of every fold, the variogram included, so that no test row has a part in
    what it is compared with. Kriging is simple with mean 0: far from all samples the map is that of the forest. It is
    used where the 90 % interval of the paired difference in RMSE is above 0.

    With a logarithmic fit, mean and quantiles are multiplied by 10 to the power of the kriged residual.

    References
    ----------
    Hengl, T. et al. (2007), Computers & Geosciences 33. doi:10.1016/j.cageo.2007.05.001
    """
    place = np.asarray(positions, dtype=np.float64)
    if place.shape != (len(trained.design), 2) or not np.isfinite(place).all():
        raise InputError(f"kriging: positions have shape {place.shape}, expected ({len(trained.design)}, 2), finite")
    if len(np.unique(place, axis=0)) < MINIMUM_POSITIONS:
        raise InputError(
            f"kriging: {len(np.unique(place, axis=0))} positions, expected {MINIMUM_POSITIONS} or more for a variogram "
            "of residuals; leave kriging out"
        )
    task = _Task(trained, place, degrees, neighbours, workers)
    kriging = task.kriging(np.arange(len(place)))
    deciding = trained.deciding
    shifts = {deciding: task.out_of_fold(deciding)}
    rows = [task.compare(deciding, shifts[deciding])]
    used = kriging is not None and rows[0]["lower"] > 0
    if used:
        for kind in trained.folds.columns:
            if kind != deciding:
                shifts[kind] = task.out_of_fold(kind)
                rows.append(task.compare(kind, shifts[kind]))
    comparison = pd.DataFrame(rows)
    comparison["range_m"] = np.nan if kriging is None else kriging.range
    comparison["nugget_share"] = (
        np.nan if kriging is None else kriging.nugget / max(kriging.nugget + kriging.partial_sill, 1e-300)
    )
    comparison["used"] = used
    if not used:
        return KrigedForest(trained, None, comparison)
    predictions = {kind: _shifted(trained, kind, shifts[kind]) for kind in trained.predictions}
    transform = str(trained.settings["transform"])
    scores = pd.DataFrame({kind: pooled_scores(frame, transform) for kind, frame in predictions.items()}).T
    scores = scores.rename_axis("folds").astype({"n": int})
    return KrigedForest(replace(trained, predictions=predictions, scores=scores), kriging, comparison)


@dataclass(frozen=True, eq=False)
class _Task:
    """What the folds of a comparison share."""

    trained: TrainedForest
    place: Floats
    degrees: bool
    neighbours: int
    workers: int

    def residuals(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Residuals of rows by forests grown on the other sites among these rows, on the scale of the fit."""
        trained = self.trained
        groups = None if trained.groups is None else trained.groups.to_numpy()[rows]
        seed = int(trained.settings["seed"])
        # Rows at one position share their covariates; where no site is named, they are one.
        sites = np.unique(self.place[rows], axis=0, return_inverse=True)[1].ravel() if groups is None else groups
        folds = make_folds(len(rows), "group", n_folds=FOLDS, groups=sites, seed=seed + 2)
        target = trained.fitted_target
        result = np.empty(len(rows))
        for fold in range(int(folds.max()) + 1):
            part, test = rows[folds != fold], rows[folds == fold]
            design = trained.design_from(part)
            spec = spec_of(trained.settings, (seed, 9, fold), trees=TREES)
            compiled = fit_compiled(design.iloc[part], target[part], spec, workers=self.workers)
            result[folds == fold] = target[test] - compiled.predict(design.iloc[test])[0]
        return result

    def kriging(self, rows: npt.NDArray[np.int64]) -> Kriging | None:
        """Kriging of the residuals of rows; None where they have no correlation in space."""
        sites, code = np.unique(self.place[rows], axis=0, return_inverse=True)
        residuals = np.bincount(code.ravel(), weights=self.residuals(rows)) / np.bincount(code.ravel())
        if not residuals.var() > 0:
            return None
        variogram = fit_variogram(sites, residuals, degrees=self.degrees)
        if not variogram.partial_sill > 0:
            return None
        return Kriging.of(sites, residuals, variogram, neighbours=self.neighbours, mean=0.0, degrees=self.degrees)

    def out_of_fold(self, kind: str) -> Floats:
        """Kriged residual of every row from the rows of the other folds."""
        labels = self.trained.folds[kind].to_numpy()
        shift = np.zeros(len(labels))
        for fold in np.unique(labels):
            test = labels == fold
            kriging = self.kriging(np.flatnonzero(~test))
            if kriging is not None:
                shift[test] = kriging.at(self.place[test])[0]
        return shift

    def compare(self, kind: str, shift: Floats) -> dict[str, Any]:
        """RMSE of the forest alone and with kriged residuals, on the same rows."""
        frame = self.trained.predictions[kind]
        observed, alone = (frame[name].to_numpy(dtype=np.float64) for name in ("observed", "predicted"))
        groups = None if self.trained.groups is None else self.trained.groups.to_numpy()
        paired = compare_models(observed, alone, alone + shift, groups=groups, draws=DRAWS)
        return {
            "folds": kind,
            "rmse_forest": paired["first"],
            "rmse_kriged": paired["second"],
            "gain": paired["difference"],
            **{name: paired[name] for name in ("lower", "upper", "p")},
        }


def _shifted(trained: TrainedForest, kind: str, shift: Floats) -> pd.DataFrame:
    """Predictions out of fold with the kriged residuals."""
    frame = trained.predictions[kind].copy()
    frame["predicted"] += shift
    log = trained.settings["transform"] == "log10"
    for name in ["predicted_original", *(c for c in frame if str(c).startswith("q"))]:
        frame[name] = frame[name] * 10.0**shift if log else frame[name] + shift
    if log:
        frame["sd_original"] *= 10.0**shift
    return frame


def add_kriged(
    layers: Mapping[str, xr.DataArray], kriging: Kriging, cube: xr.Dataset, transform: str
) -> dict[str, xr.DataArray]:
    """Layers in the target's unit with the kriged residuals of their cells.

    Parameters
    ----------
    layers : mapping of str to DataArray (y, x)
        Mean and limits of a map; NaN stays.
    kriging : Kriging
    cube : Dataset
        With the coordinates and the CRS of the layers.
    transform : {"none", "log10"}

    Returns
    -------
    dict of str to DataArray
        float32, lazy where the layers are; equal bytes on any chunking.

    Raises
    ------
    GridError
        For a cube without a CRS, where the samples' positions are degrees.
    """
    first = next(iter(layers.values()))
    spec = replace(variable("mean"), name="position", dtype="float64")
    zero = constant_like(first, 0.0, spec)
    outputs = [
        replace(variable("mean"), name=name, units=str(layer.attrs.get("units", "1"))) for name, layer in layers.items()
    ]
    shared = (kriging, grid_of(cube, where="kriging") if kriging.degrees else None, transform)
    results = map_pixels(
        kriged_block, *layers.values(), zero + cube["x"], zero + cube["y"], outputs=outputs, shared=shared
    )
    return {name: xr.DataArray(result, attrs=layer.attrs) for (name, layer), result in zip(layers.items(), results)}


def kriged_block(*arguments: Any) -> list[npt.NDArray[Any]]:
    """One block: layers, x and y; then kriging, the grid of degrees, and the scale of the fit."""
    *layers, x, y, shared = arguments
    kriging: Kriging = shared[0]
    grid: GeoBox | None = shared[1]
    shift = np.zeros(np.shape(x))
    cells = np.isfinite(layers[0])
    if cells.any():
        east, north = np.asarray(x)[cells], np.asarray(y)[cells]
        if grid is not None:
            east, north = unproject_points(east, north, grid)
        shift[cells] = kriging.at(np.column_stack([east, north]))[0]
    factor = 10.0**shift
    return [
        (layer * factor if shared[2] == "log10" else layer + shift).astype(np.float32)
        for layer in (np.asarray(layer, dtype=np.float64) for layer in layers)
    ]
