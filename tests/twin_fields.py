"""Simulated layers with realistic spatial structure, for the twins of the two published studies.

Correlated Gaussian fields, conditioned on real layers, carried to published distributions, written as raw files. What
is real (the sample of `tpsoil.sample`, resampled) and what is simulated is listed by `write_origins`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import rioxarray  # noqa: F401
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy import fft, ndimage

from tpsoil.grid import coordinates, grid_of

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Origin:
    """Where a raw file of a twin comes from.

    Parameters
    ----------
    file : str
    layer : str
        Name in the cube.
    origin : {"real", "real, refined", "simulated"}
        "refined": real at the sample's 8 km, with simulated detail below.
    how : str
        Source of a real layer, or the relation that a simulated one follows.
    units : str
    """

    file: str
    layer: str
    origin: str
    how: str
    units: str = "1"


def correlated_field(
    shape: tuple[int, int], range_cells: float, rng: np.random.Generator, *, smoothness: float = 0.5
) -> Doubles:
    """A stationary Gaussian field of mean 0 and standard deviation 1 with Matern correlation.

    Parameters
    ----------
    shape : (rows, columns)
    range_cells : float
        Length scale of the correlation, cells; at `smoothness` 0.5 the correlation is exp(-distance/range).
    rng : Generator
    smoothness : float
        Of the Matern family: 0.5 exponential, 1.5 smooth.

    Returns
    -------
    ndarray (y, x), float64

    Notes
    -----
    White noise filtered with the root of the Matern spectral density, (kappa^2 + k^2)^-(smoothness + 1), on a padded
    torus: opposite edges of the result are not correlated.
    """
    pad = int(np.ceil(min(3 * range_cells, max(shape))))
    rows, columns = (fft.next_fast_len(n + pad, real=True) for n in shape)
    k2 = (2 * np.pi * fft.fftfreq(rows))[:, None] ** 2 + (2 * np.pi * fft.rfftfreq(columns))[None, :] ** 2
    amplitude = (1.0 / range_cells**2 + k2) ** (-(smoothness + 1.0) / 2.0)
    amplitude[0, 0] = 0.0
    noise = fft.rfft2(rng.standard_normal((rows, columns)))
    field = fft.irfft2(noise * amplitude, s=(rows, columns))[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / field.std())


def standardised(values: npt.ArrayLike, where: Mask | None = None) -> Doubles:
    """Values less their mean over their standard deviation, both of the finite cells of `where`; NaN is 0."""
    array = np.asarray(values, dtype=np.float64)
    inside = np.isfinite(array) if where is None else np.isfinite(array) & where
    return np.nan_to_num((array - array[inside].mean()) / max(float(array[inside].std()), 1e-12))


def conditioned(
    drivers: Sequence[tuple[npt.ArrayLike, float]], residual: Doubles, where: Mask | None = None
) -> Doubles:
    """A field of mean 0 and standard deviation 1 that depends linearly on layers.

    Parameters
    ----------
    drivers : sequence of (layer, weight)
        Standardised layers are summed with the weights; the residual has the weight 1.
    residual : ndarray (y, x)
        A correlated field.
    where : ndarray of bool, optional
        Cells that decide means and standard deviations.
    """
    total = standardised(residual, where)
    for layer, weight in drivers:
        total = total + weight * standardised(layer, where)
    return standardised(total, where)


def with_distribution(
    field: Doubles, probabilities: Sequence[float], values: Sequence[float], where: Mask | None = None
) -> Doubles:
    """A field carried to a distribution by rank.

    Parameters
    ----------
    field : ndarray (y, x)
    probabilities, values : sequence of float
        Points of the quantile function, ascending, from 0 to 1; linear between them.
    where : ndarray of bool, optional
        Cells that are ranked; the others take the value of the nearest rank.
    """
    inside = np.isfinite(field) if where is None else np.isfinite(field) & where
    ordered = np.sort(field[inside])
    rank = np.searchsorted(ordered, field, side="left") / max(ordered.size - 1, 1)
    return np.asarray(np.interp(np.clip(rank, 0, 1), probabilities, values))


def class_field(scores: Mapping[int, Doubles], dtype: str = "uint8") -> npt.NDArray[np.integer]:
    """The class with the highest score of each cell: patches where the scores are correlated fields.

    Parameters
    ----------
    scores : mapping of class code to ndarray (y, x)
    dtype : str
    """
    codes = np.array(list(scores), dtype=dtype)
    best = np.full(next(iter(scores.values())).shape, -np.inf)
    chosen = np.zeros(best.shape, dtype)
    for code, score in zip(codes, scores.values(), strict=True):
        higher = score > best
        best[higher], chosen[higher] = score[higher], code
    return chosen


def resampled(layer: xr.DataArray, grid: GeoBox, *, classes: bool = False) -> Doubles:
    """A layer of the sample at the cell centres of another grid of the same CRS.

    Parameters
    ----------
    layer : DataArray (y, x)
    grid : GeoBox
    classes : bool
        Nearest cell instead of bilinear; a floating layer's missing cells take the value of the nearest cell first.

    Returns
    -------
    ndarray (y, x), float64
    """
    source = grid_of(layer)
    values = np.asarray(layer.transpose("y", "x").values, dtype=np.float64)
    missing = ~np.isfinite(values)
    if missing.any():
        nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
        values = values[tuple(nearest)]
    to_source = ~source.transform * grid.transform
    rows = (np.arange(grid.shape[0]) + 0.5) * to_source.e + to_source.f - 0.5
    columns = (np.arange(grid.shape[1]) + 0.5) * to_source.a + to_source.c - 0.5
    at = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(values, at, order=0 if classes else 1, mode="nearest"))


def write_raster(path: Path, values: npt.ArrayLike, grid: GeoBox, *, nodata: float | None = None) -> Path:
    """A tiled, compressed GeoTIFF: float32, or the integer type of the values.

    Parameters
    ----------
    path : Path
    values : array (y, x)
    grid : GeoBox
    nodata : float, optional
        NaN cells are written as this value.
    """
    array = np.asarray(values)
    array = array.astype("float32") if array.dtype.kind == "f" else array
    layer = xr.DataArray(array, coords=coordinates(grid), dims=("y", "x"))
    if nodata is not None:
        layer = layer.fillna(nodata) if array.dtype.kind == "f" else layer
        layer = layer.rio.write_nodata(nodata)
    path.parent.mkdir(parents=True, exist_ok=True)
    layer.rio.to_raster(path, compress="deflate", predictor=3 if array.dtype.kind == "f" else 2, tiled=True)
    return path


def write_origins(path: Path, origins: Sequence[Origin]) -> pd.DataFrame:
    """Write the table of what is real and what is simulated as CSV, and return it."""
    table = pd.DataFrame([origin.__dict__ for origin in origins])
    table.to_csv(path, index=False)
    return table
