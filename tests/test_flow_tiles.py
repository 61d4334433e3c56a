"""Flow by tiles and LS by windows equal the complete grid bit for bit: random and real DEMs, pits, level ground."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.covariates import hydrology_attributes
from tpsoil.covariates.flow_tiles import DemGrid, FlowTiles, needed_bytes
from tpsoil.covariates.hydrology import HYDROLOGY_LAYERS, ls_window

PARTS = ("filled", "area", "length")


def grid_of(z: np.ndarray, *, narrowing: bool = False) -> DemGrid:
    """A DEM of 30 m cells; with `narrowing` each row is narrower than the last, as in degrees."""
    rows = z.shape[0]
    width = 30.0 * np.cos(np.linspace(0.5, 0.9, rows)) if narrowing else np.full(rows, 30.0)
    return DemGrid(lambda r, c: z[r, c], (rows, z.shape[1]), width, np.full(rows, 30.0))


def drained(dem: DemGrid, tile: int) -> Any:
    return FlowTiles(dem, tile).drained(slice(0, dem.shape[0]), slice(0, dem.shape[1]))


def rough(kind: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Pits, level ground with pits, one level, and steps of a few heights with missing cells."""
    rng = np.random.default_rng(seed)
    z = [
        rng.normal(0, 30, shape),
        rng.normal(50, 5, shape).round(),
        np.full(shape, 7.0),
        rng.integers(0, 3, shape).astype(float),
    ][kind]
    if seed % 3:
        z[rng.random(shape) < 0.1 * (seed % 3)] = np.nan
    return z.astype("float32")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**16), st.sampled_from([3, 5, 7, 16]))
def test_tiles_never_change_the_flow(kind: int, ny: int, nx: int, seed: int, tile: int) -> None:
    dem = grid_of(rough(kind, (ny, nx), seed), narrowing=bool(seed % 2))
    complete, tiled = drained(dem, 1024), drained(dem, tile)
    for part in PARTS:
        assert getattr(complete, part).tobytes() == getattr(tiled, part).tobytes(), part


def test_a_lake_over_many_tiles_drains_to_its_outlet() -> None:
    z = np.full((40, 40), 20.0, np.float32)
    z[1:-1, 1:-1] = 5.0
    z[0, 0] = 10.0  # the only pass, at the corner: the lake fills to 10 m and its flow crosses all tiles
    for tile in (1024, 8, 9):
        flow = drained(grid_of(z), tile)
        assert (flow.filled[1:-1, 1:-1] == 10).all()
        assert flow.area[0, 0] >= 38 * 38 * 900
    # 900 m2 each, and every cell leaves by an outlet
    assert drained(grid_of(z), 7).area.max() == drained(grid_of(z), 1024).area.max()


def test_a_plane_that_crosses_tiles_gathers_its_columns() -> None:
    z = np.tile(np.arange(50.0, 0, -1), (9, 1)).astype("float32")
    flow = drained(grid_of(z), 6)
    np.testing.assert_array_equal(flow.area[4], 900.0 * np.arange(1, 51))
    np.testing.assert_allclose(flow.length[4, :-1], 15 + 30 * np.arange(49.0))


def test_memory_is_of_tiles_and_perimeters() -> None:
    assert needed_bytes((17_400, 17_400)) < 0.4e9
    assert needed_bytes((100, 100)) < 1e6


def test_a_flow_is_sent_to_a_worker_by_its_dem() -> None:
    z = rough(0, (12, 12), 5)
    tiles = FlowTiles(DemGrid(_Read(z), (12, 12), np.full(12, 30.0), np.full(12, 30.0)), 5)
    again = pickle.loads(pickle.dumps(tiles))
    everything = slice(0, 12), slice(0, 12)
    assert again.drained(*everything).area.tobytes() == tiles.drained(*everything).area.tobytes()


class _Read:
    def __init__(self, z: np.ndarray) -> None:
        self.z = z

    def __call__(self, rows: slice, columns: slice) -> np.ndarray:
        return self.z[rows, columns]


# --- LS by windows


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_windows_never_change_ls(data: st.DataObject) -> None:
    ny, nx = data.draw(st.integers(2, 40)), data.draw(st.integers(2, 40))
    kind, seed = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 999))
    cap = data.draw(st.sampled_from([20.0, 100.0, 300.0, 2000.0, 1e6]))
    layer = xr.DataArray(rough(kind, (ny, nx), seed), dims=("y", "x"))
    chunks = {"y": data.draw(st.integers(1, ny)), "x": data.draw(st.integers(1, nx))}
    options: Any = {"cell_size_m": 30.0, "max_length_m": cap, **({"allow_coarse_dem": True} if cap < 30 else {})}
    complete = hydrology_attributes(layer, **options).ls_factor
    parts = hydrology_attributes(layer.chunk(chunks), **options).ls_factor
    assert parts.values.tobytes() == complete.values.tobytes()


def test_the_halo_is_needed_and_is_enough() -> None:
    """A plane: with one cell less the capped L is not reached; with the halo the far cells do not matter."""
    size = np.full(30, 30.0)
    window = ls_window(size, size, max_length_m=300.0)
    assert window.halo == 16  # 2^(1/2) 300 / 30 cells, and one for their own ways
    assert ls_window(np.full(3, 90.0), np.full(3, 90.0), max_length_m=300.0).halo == 6
    z = np.tile(np.arange(400.0, 0, -4), (30, 1)).astype("float32")
    complete = hydrology_attributes(xr.DataArray(z, dims=("y", "x")), cell_size_m=30.0, max_length_m=300.0).ls_factor
    far = z.copy()
    far[:, :20] = np.random.default_rng(0).normal(300, 30, (30, 20))
    other = hydrology_attributes(xr.DataArray(far, dims=("y", "x")), cell_size_m=30.0, max_length_m=300.0).ls_factor
    assert np.array_equal(complete[:, 20 + window.halo :], other[:, 20 + window.halo :], equal_nan=True)
    assert not np.array_equal(complete[:, 20:24], other[:, 20:24], equal_nan=True)


@pytest.fixture(scope="module")
def srtm(data_folder: Path) -> xr.DataArray:
    layer = rioxarray.open_rasterio(data_folder / "tibet" / "srtm_n30e090_3s.tif", masked=True).squeeze(drop=True)
    layer = layer.astype("float32").load()
    layer[300:330, 400:480] = np.nan  # a hole
    return layer


@pytest.mark.data
def test_the_srtm_tile_by_windows(srtm: xr.DataArray) -> None:
    """90 m, with lakes, pits and a hole; ragged chunks."""
    complete = hydrology_attributes(srtm).ls_factor
    for chunks in ({"y": 500, "x": 333}, {"y": (7, 1000, 194), "x": (1201,)}):
        assert hydrology_attributes(srtm.chunk(chunks)).ls_factor.values.tobytes() == complete.values.tobytes()
    assert 0.3 < float(complete.median()) < 20


@pytest.mark.data
def test_the_flow_of_the_srtm_tile_by_tiles(srtm: xr.DataArray) -> None:
    """Its depressions and lakes cross the tiles."""
    z = srtm.values
    dem = grid_of(z, narrowing=True)
    complete = drained(dem, 2048)
    assert int((complete.filled > z).sum()) > 10_000
    for tile in (300, 401):
        tiled = drained(dem, tile)
        for part in PARTS:
            assert getattr(complete, part).tobytes() == getattr(tiled, part).tobytes(), (tile, part)
    lazy = hydrology_attributes(srtm.chunk({"y": 700, "x": 450}))
    loaded = hydrology_attributes(srtm)
    for name in HYDROLOGY_LAYERS:
        assert lazy[name].values.tobytes() == loaded[name].values.tobytes(), name
