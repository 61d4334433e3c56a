"""Fields of the twins: correlation, conditioning, distribution, resampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rioxarray
import xarray as xr
from twin_fields import (
    Origin,
    class_field,
    conditioned,
    correlated_field,
    resampled,
    standardised,
    with_distribution,
    write_origins,
    write_raster,
)

from tpsoil.grid import coordinates, plateau_grid


def test_a_field_has_the_correlation_of_its_range() -> None:
    rng = np.random.default_rng(1)
    lags = []
    for _ in range(8):
        field = correlated_field((300, 320), 10.0, rng)
        lags.append([np.corrcoef(field[:, :-d].ravel(), field[:, d:].ravel())[0, 1] for d in (5, 10, 20)])
    # exp(-d/10); the sample correlation of 8 fields of 30 x 32 ranges scatters by about 0.03
    np.testing.assert_allclose(np.mean(lags, axis=0), np.exp([-0.5, -1.0, -2.0]), atol=0.06)


def test_opposite_edges_are_not_correlated() -> None:
    rng = np.random.default_rng(2)
    ends = [correlated_field((200, 200), 8.0, rng)[:, [0, -1]] for _ in range(10)]
    assert abs(np.corrcoef(np.vstack(ends).T)[0, 1]) < 0.15


def test_a_conditioned_field_follows_its_driver() -> None:
    rng = np.random.default_rng(3)
    driver, residual = correlated_field((200, 200), 10, rng), correlated_field((200, 200), 10, rng)
    field = conditioned([(driver, -2.0)], residual)
    # weights -2 and 1: r = -2/sqrt(5) where driver and residual are independent
    assert np.corrcoef(field.ravel(), driver.ravel())[0, 1] == pytest.approx(-2 / np.sqrt(5), abs=0.05)
    assert field.std() == pytest.approx(1)


def test_a_distribution_is_taken_by_rank() -> None:
    field = correlated_field((100, 100), 5, np.random.default_rng(4))
    values = with_distribution(field, [0, 0.5, 1], [1.0, 2.0, 10.0])
    assert (values.min(), np.median(values), values.max()) == pytest.approx((1.0, 2.0, 10.0), abs=1e-3)
    assert np.all(np.diff(values.ravel()[np.argsort(field.ravel())]) >= 0)


def test_classes_are_those_of_the_highest_score() -> None:
    scores = {3: np.array([[1.0, 0.0]]), 7: np.array([[0.0, 2.0]])}
    assert class_field(scores).tolist() == [[3, 7]]


def test_resampling_keeps_a_plane_and_fills_missing_cells() -> None:
    coarse, fine = plateau_grid(40_000), plateau_grid(8_000)
    east, north = np.meshgrid(*(coordinates(coarse)[n].values for n in ("x", "y")))
    plane = xr.DataArray(1e-3 * east - 2e-3 * north, coords=coordinates(coarse), dims=("y", "x"))
    plane[3, 3] = np.nan
    values = resampled(plane, fine)
    east, north = np.meshgrid(*(coordinates(fine)[n].values for n in ("x", "y")))
    inner = np.s_[40:-5, 40:-5]
    np.testing.assert_allclose(values[inner], (1e-3 * east - 2e-3 * north)[inner], atol=1e-6)
    assert np.isfinite(values).all()


def test_a_raster_is_read_back_and_the_origins_are_listed(tmp_path: Path) -> None:
    grid = plateau_grid(100_000)
    values = np.arange(grid.shape[0] * grid.shape[1], dtype=float).reshape(grid.shape)
    values[0, 0] = np.nan
    with rioxarray.open_rasterio(write_raster(tmp_path / "a.tif", values, grid, nodata=-9999), masked=True) as back:
        np.testing.assert_array_equal(back.isel(band=0).values, values.astype("float32"))
    origins = [Origin("a.tif", "elevation", "real", "tpsoil.sample", "m")]
    assert write_origins(tmp_path / "origins.csv", origins)["origin"].tolist() == ["real"]
    assert standardised([1.0, np.nan, 3.0]).tolist() == [-1.0, 0.0, 1.0]
