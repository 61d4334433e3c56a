"""Kernels over chunks: equal bit for bit for every chunking, lazy, labelled, and with a model that rides once."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.blocks import constant_like, is_lazy, map_pixels, map_whole, map_windows
from tpsoil.errors import GridError, InputError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.variables import variable

SLOPE, RAIN, ZONE, COVER = map(variable, ("slope", "annual_precipitation", "zone", "land_cover"))


def no_computing(*_: object, **__: object) -> None:
    pytest.fail("computed while the graph was built")


def layer(values: np.ndarray, name: str = "a") -> xr.DataArray:
    axes = {dim: np.arange(size, dtype=float) for dim, size in zip("yx", values.shape)}
    return xr.DataArray(values, dims=("y", "x"), coords=axes, name=name)


def sum_and_class(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return a + 2 * b, (a > b).astype(np.int64)


def corners_sum(halo: int):
    """Sum of the four corners of the window and minus the centre; NaN counts as 1000."""

    def kernel(block: np.ndarray) -> np.ndarray:
        filled = np.where(np.isnan(block), 1000.0, block)
        ny, nx = block.shape[0] - 2 * halo, block.shape[1] - 2 * halo
        far = 2 * halo
        at = [(0, 0), (0, far), (far, 0), (far, far)]
        total = sum((k + 1) * filled[r : r + ny, c : c + nx] for k, (r, c) in enumerate(at))
        return total - filled[halo : halo + ny, halo : halo + nx]

    return kernel


sizes = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(rows=sizes, cols=sizes, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_pixels_do_not_know_their_chunk(rows: list[int], cols: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(2, sum(rows), sum(cols)))
    plain = map_pixels(sum_and_class, a, b, outputs=[RAIN, ZONE])
    lazy = map_pixels(sum_and_class, da.from_array(a, chunks=(tuple(rows), tuple(cols))), b, outputs=[RAIN, ZONE])
    for eager, delayed in zip(plain, lazy):
        assert isinstance(eager, np.ndarray)
        assert delayed.dtype == eager.dtype
        assert delayed.chunks == (tuple(rows), tuple(cols))
        np.testing.assert_array_equal(delayed.compute(), eager)


@given(rows=sizes, cols=sizes, halo=st.integers(0, 4), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_windows_do_not_know_their_chunk(rows: list[int], cols: list[int], halo: int, seed: int) -> None:
    """Ragged chunks, chunks narrower than the halo, axes shorter than the halo, one row, one column."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(sum(rows), sum(cols)))
    values[generator.random(values.shape) < 0.1] = np.nan
    (plain,) = map_windows(corners_sum(halo), values, halo=halo, outputs=[RAIN])
    padded = np.pad(values, halo, constant_values=np.nan)
    np.testing.assert_array_equal(plain, corners_sum(halo)(padded).astype(np.float32))
    (lazy,) = map_windows(
        corners_sum(halo), da.from_array(values, chunks=(tuple(rows), tuple(cols))), halo=halo, outputs=[RAIN]
    )
    np.testing.assert_array_equal(lazy.compute(), plain)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (1, 1), (1, 7), (7, 1)])
def test_empty_and_thin_arrays(shape: tuple[int, int]) -> None:
    values = np.arange(float(np.prod(shape))).reshape(shape)
    for array in (values, da.from_array(values, chunks=3)):
        (pixels,) = map_pixels(lambda a: a + 1, array, outputs=[RAIN])
        (windows,) = map_windows(corners_sum(1), array, halo=1, outputs=[RAIN])
        assert np.asarray(pixels).shape == np.asarray(windows).shape == shape
        np.testing.assert_array_equal(np.asarray(pixels), values + 1)


def test_rows_reach_the_right_chunk() -> None:
    values, sizes_m = np.ones((11, 6)), np.arange(11.0)

    def kernel(block: np.ndarray, size: np.ndarray) -> np.ndarray:
        assert size.shape == (block.shape[0] - 2,)
        return block[1:-1, 1:-1] * size[:, None]

    for array in (values, da.from_array(values, chunks=(4, 3))):
        (got,) = map_windows(kernel, array, halo=1, rows=[sizes_m], outputs=[RAIN])
        np.testing.assert_array_equal(np.asarray(got), np.repeat(sizes_m[:, None], 6, axis=1))
    with pytest.raises(InputError, match=r"a row vector has shape \(10,\), expected \(11,\)"):
        map_windows(kernel, values, halo=1, rows=[sizes_m[:10]], outputs=[RAIN])


def test_whole_is_one_task_with_the_first_chunks() -> None:
    seen: list[tuple[int, ...]] = []

    def kernel(block: np.ndarray) -> np.ndarray:
        seen.append(block.shape)
        return np.cumsum(block, axis=0)

    values = np.random.default_rng(0).normal(size=(9, 7))
    (lazy,) = map_whole(kernel, da.from_array(values, chunks=4), outputs=[RAIN])
    assert lazy.chunks == ((4, 4, 1), (4, 3))
    np.testing.assert_array_equal(lazy.compute(), np.cumsum(values, axis=0).astype(np.float32))
    assert seen == [(9, 7)]


def test_building_computes_nothing() -> None:
    data = layer(np.zeros((8, 8))).chunk({"y": 3, "x": 5})
    with dask.config.set(scheduler=no_computing):
        assert is_lazy(map_pixels(sum_and_class, data, data, outputs=[RAIN, ZONE])[0])
        assert is_lazy(map_windows(corners_sum(2), data, halo=2, outputs=[RAIN])[0])
        assert is_lazy(constant_like(data, 3.0, RAIN))
        map_pixels(lambda a, model: a + model, data, outputs=[RAIN], shared=7)


def test_labels_attributes_and_inputs_left_alone() -> None:
    grid = plateau_grid(200_000)
    rain = xr.DataArray(np.ones(grid.shape), dims=("y", "x"), coords=coordinates(grid), name="p", attrs={"units": "in"})
    before = rain.copy(deep=True)
    for one in (rain, rain.chunk({"y": 4, "x": 5})):
        total, zone = map_pixels(sum_and_class, one, 2.0, outputs=[RAIN, ZONE], attrs={"parents": "p"})
        assert total.name == "annual_precipitation"
        assert total.attrs["units"] == "mm"
        assert total.attrs["parents"] == "p"
        assert "spatial_ref" in total.coords
        assert total.dtype == np.float32
        assert (zone.dtype, zone.encoding["_FillValue"]) == (np.uint8, 255)
    xr.testing.assert_identical(rain, before)
    same = constant_like(rain.chunk({"y": 4}), 2.5, SLOPE)
    assert same.chunks[0] == (4, 4, 1)
    assert float(same.max()) == 2.5


def test_broadcast_by_name() -> None:
    wide = layer(np.arange(12.0).reshape(3, 4))
    column = wide.isel(x=0, drop=True)
    (got,) = map_pixels(lambda a, b: a - b, wide.chunk({"y": 2}), column, outputs=[RAIN])
    np.testing.assert_array_equal(got.transpose("y", "x").values, wide.values - column.values[:, None])


def test_other_grids_and_types_are_refused() -> None:
    a = layer(np.zeros((3, 4)))
    shifted = a.assign_coords(y=a.y + 1e-9)
    with pytest.raises(GridError, match=r"layers a, b do not share one grid.*tpsoil\.add_layer"):
        map_pixels(sum_and_class, a, shifted.rename("b"), outputs=[RAIN, ZONE])
    with pytest.raises(GridError):
        map_windows(corners_sum(1), a, shifted, halo=1, outputs=[RAIN])
    with pytest.raises(GridError, match="expected one shape"):
        map_windows(corners_sum(1), np.zeros((3, 4)), np.zeros((4, 3)), halo=1, outputs=[RAIN])
    with pytest.raises(InputError, match="a layer is int64, expected float32 or float64"):
        map_windows(corners_sum(1), np.zeros((3, 4), int), halo=1, outputs=[RAIN])
    with pytest.raises(InputError, match="2 each"):
        map_windows(corners_sum(1), np.zeros(3), halo=1, outputs=[RAIN])


def test_a_kernel_that_returns_something_else_is_named() -> None:
    def thief(a: np.ndarray) -> np.ndarray:
        return a[:-1]

    with pytest.raises(InputError, match=r"thief returned shape \(2, 4\), expected \(3, 4\)"):
        map_pixels(thief, np.zeros((3, 4)), outputs=[RAIN])
    with pytest.raises(InputError, match="thief returned 1 arrays, expected 2"):
        map_pixels(thief, np.zeros((3, 4)), outputs=[RAIN, ZONE])


class Model:
    """Counts how often it is pickled."""

    pickles = 0

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __getstate__(self) -> dict:
        Model.pickles += 1
        return {"factor": self.factor}

    def __dask_tokenize__(self) -> tuple[str, float]:
        return ("model", self.factor)


def scale(block: np.ndarray, model: Model) -> np.ndarray:
    return block * model.factor


def test_a_model_is_in_the_graph_once() -> None:
    data = da.ones((40, 40), chunks=4)  # 100 chunks
    (lazy,) = map_pixels(scale, data, outputs=[RAIN], shared=Model(3.0))
    graph = dict(lazy.__dask_graph__())
    Model.pickles = 0
    pickle.dumps(graph)
    assert Model.pickles == 1
    tasks = [pickle.dumps(task) for key, task in graph.items() if isinstance(key, tuple) and "scale" in str(key[0])]
    assert len(tasks) == 100
    assert Model.pickles == 1, "a task of a chunk holds a reference, not the model"
    np.testing.assert_array_equal(lazy.compute(), np.full((40, 40), 3.0, np.float32))
    (windows,) = map_windows(
        lambda block, model: block[1:-1, 1:-1] * model.factor, data, halo=1, outputs=[RAIN], shared=Model(2.0)
    )
    np.testing.assert_array_equal(windows.compute(), np.full((40, 40), 2.0, np.float32))


def test_two_outputs_run_the_kernel_once_a_chunk() -> None:
    calls: list[int] = []

    def kernel(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(a.size)
        return a, a > 0

    one, two = map_pixels(kernel, da.ones((6, 6), chunks=3), outputs=[RAIN, COVER])
    dask.compute(one, two)
    assert calls == [9] * 4


def test_equal_work_has_equal_keys_and_other_work_others() -> None:
    data = da.ones((4, 4), chunks=2)
    first, again = (map_pixels(scale, data, outputs=[RAIN], shared=Model(3.0))[0] for _ in range(2))
    other = map_pixels(scale, data, outputs=[RAIN], shared=Model(4.0))[0]
    assert first.name == again.name
    assert first.name != other.name
