"""Between stores and lazy arrays: tiles, windows, points, writers."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from threading import Event, current_thread
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.errors import InputError
from tpsoil.tiles import BLOCKS_AT_ONCE, _Tiles, from_tiles, from_windows, take_points, write_tiles

WHOLE = np.arange(19 * 23, dtype=np.float32).reshape(19, 23)


def test_tiles_read_their_own_place_and_slices_only_what_they_need() -> None:
    reads: list[tuple[slice, slice]] = []

    def read(rows: slice, cols: slice) -> np.ndarray:
        reads.append((rows, cols))
        return WHOLE[rows, cols]

    with dask.config.set(scheduler=lambda *_: pytest.fail("computed while building")):
        lazy = from_tiles(read, WHOLE.shape, (5, 7), "float32")
    assert (lazy.dtype, lazy.chunks) == (np.float32, ((5, 5, 5, 4), (7, 7, 7, 2)))
    np.testing.assert_array_equal(lazy.compute(), WHOLE)
    assert len(reads) == 16
    reads.clear()
    np.testing.assert_array_equal(lazy[5:8, 14:21].compute(), WHOLE[5:8, 14:21])
    assert len(reads) == 1


bounds = st.integers(-19, 25)  # below -size dask itself reverses wrongly: da.arange(19)[-20::-1] has 19 elements
keys = st.one_of(
    st.integers(-19, 18),
    st.builds(
        slice,
        st.none() | bounds,
        st.none() | bounds,
        st.sampled_from([None, 1, 2, 3, -1, -2]),
    ),
    st.lists(st.integers(0, 18), min_size=1, max_size=4),
)


@given(rows=keys, cols=keys, chunks=st.integers(1, 9))
@settings(max_examples=120, deadline=None)
def test_any_key_gives_what_numpy_gives(rows: object, cols: object, chunks: int) -> None:
    lazy = from_tiles(lambda r, c: WHOLE[r, c], WHOLE.shape, chunks, "float32")
    if isinstance(rows, list) and isinstance(cols, list):
        cols = slice(None)  # dask has no pointwise indexing
    np.testing.assert_array_equal(lazy[rows, cols].compute(), WHOLE[rows, cols])


@given(rows=keys.filter(lambda key: not isinstance(key, list)), cols=keys.filter(lambda key: not isinstance(key, list)))
@settings(max_examples=80, deadline=None)
def test_what_dask_may_push_into_the_read(rows: object, cols: object) -> None:
    """Whether a step or an integer reaches the reader depends on dask's version and optimisation."""
    tiles = _Tiles(lambda r, c: WHOLE[r, c], WHOLE.shape, np.dtype("float32"))
    if isinstance(rows, int) and rows < 0:
        rows += 19  # dask counts from the front
    if isinstance(cols, int):
        cols %= 23
    np.testing.assert_array_equal(tiles[rows, cols], WHOLE[rows, cols])
    np.testing.assert_array_equal(tiles[rows], WHOLE[rows])


def shifted(values: np.ndarray, window: tuple[slice, slice], rows: slice, cols: slice) -> np.ndarray:
    """Cell (r, c) of the target is pixel (r + 2, 2 c) of the source, 0 outside."""
    out = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.float32)
    for i, r in enumerate(range(rows.start, rows.stop)):
        for j, c in enumerate(range(cols.start, cols.stop)):
            if window[0].start <= r + 2 < window[0].stop and window[1].start <= 2 * c < window[1].stop:
                out[i, j] = values[r + 2 - window[0].start, 2 * c - window[1].start]
    return out


def window_of(rows: slice, cols: slice) -> tuple[slice, slice] | None:
    if rows.start + 2 >= 19 or 2 * cols.start >= 23:
        return None
    return slice(rows.start + 2, min(rows.stop + 2, 19)), slice(2 * cols.start, min(2 * cols.stop, 23))


@pytest.mark.parametrize("source_chunks", [4, 7, (19, 23), ((1, 17, 1), (22, 1))])
def test_windows_take_only_the_blocks_they_touch(source_chunks: object) -> None:
    expected = np.full((21, 14), -1, np.float32)
    inner = shifted(WHOLE, (slice(0, 19), slice(0, 23)), slice(0, 17), slice(0, 12))
    expected[:17, :12] = inner
    source = da.from_array(WHOLE, chunks=source_chunks)
    lazy = from_windows(
        shifted, source, window_of, shape=(21, 14), chunks=(17, 12), dtype="float32", fill=-1, name="shift"
    )
    got = lazy.compute()
    np.testing.assert_array_equal(got, expected)
    fine = from_windows(shifted, source, window_of, shape=(21, 14), chunks=1, dtype="float32", fill=-1, name="shift")
    np.testing.assert_array_equal(fine[:17, :12].compute(), inner)
    np.testing.assert_array_equal(fine.compute(), expected)
    one = fine[3, 5]
    needed = one.__dask_graph__().cull(one.__dask_keys__())
    assert sum(1 for key in needed.to_dict() if key[0] == fine.name) == 1


def test_every_chunk_is_handed_to_the_writer_once() -> None:
    store = {"a": np.zeros((19, 23), np.float32), "b": np.zeros((19, 23), np.float32)}

    def write(name: str, rows: slice, cols: slice, block: np.ndarray) -> int:
        assert (store[name][rows, cols] == 0).all()
        store[name][rows, cols] = block + 1
        return block.size

    done = write_tiles({"a": da.from_array(WHOLE, chunks=(5, 7)), "b": WHOLE * 2}, write)
    np.testing.assert_array_equal(store["a"], WHOLE + 1)
    np.testing.assert_array_equal(store["b"], WHOLE * 2 + 1)
    assert (len(done["a"]), sum(done["a"]), done["b"]) == (16, 437, [437])
    assert done["a"][0] == 35


def test_shared_work_is_done_once_for_several_layers() -> None:
    calls: list[int] = []

    def slow(block: np.ndarray) -> np.ndarray:
        calls.append(1)
        return block

    base = da.from_array(WHOLE, chunks=(5, 7)).map_blocks(slow, meta=np.empty((0, 0), np.float32))
    write_tiles({"a": base + 1, "b": base * 2}, lambda *_: None)
    assert len(calls) == 16


@pytest.fixture(params=["pool", "scheduler", "multiprocessing"])
def own_thread(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Settings of dask that name one thread, called "own", of the caller's."""
    with ThreadPoolExecutor(1, thread_name_prefix="own") as executor, ThreadPool(1, rename_thread) as pool:
        key, threads = ("pool", pool) if request.param == "multiprocessing" else (request.param, executor)
        yield {"scheduler": "threads", key: threads}  # another test may have left its scheduler


def rename_thread() -> None:
    current_thread().name = "own"


def test_layers_are_written_in_the_threads_of_dask_settings(own_thread: dict[str, Any]) -> None:
    names = set()
    with dask.config.set(own_thread):
        write_tiles({"a": da.from_array(WHOLE, chunks=(5, 7))}, lambda *_: names.add(current_thread().name))
    assert len(names) == 1
    assert names.pop().startswith("own")


@pytest.mark.parametrize("setting", ["pool", "scheduler"])
def test_a_block_of_the_callers_threads_is_not_written_after_an_error(setting: str) -> None:
    begun, ended = Event(), Event()

    def write(_name: str, rows: slice, *_: object) -> None:
        if rows.start:
            begun.wait(10)
            raise InputError("this chunk cannot be")
        begun.set()
        time.sleep(0.3)
        ended.set()

    lazy = {"a": da.zeros((2, 1), chunks=1)}
    with ThreadPoolExecutor(2) as pool, dask.config.set({"scheduler": "threads", setting: pool}):
        with pytest.raises(InputError, match="this chunk cannot be"):
            write_tiles(lazy, write)
        assert ended.is_set()
        assert pool.submit(int, "7").result() == 7  # still the caller's


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), chunks=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_points_are_taken_from_their_cells(seed: int, count: int, chunks: int) -> None:
    generator = np.random.default_rng(seed)
    rows, cols = generator.integers(0, 19, count), generator.integers(0, 23, count)
    lazy = {"a": da.from_array(WHOLE, chunks=chunks), "b": WHOLE.astype(np.int16)}
    taken = take_points(lazy, rows, cols)
    np.testing.assert_array_equal(taken["a"], WHOLE[rows, cols])
    np.testing.assert_array_equal(taken["b"], WHOLE[rows, cols])
    assert taken["b"].dtype == np.int16


def test_points_are_taken_from_a_few_blocks_at_once() -> None:
    """Beside zones, which are derived from two layers, and a layer that nothing is derived from, dask reads ahead."""
    released: list[object] = []
    read_blocks, most = 0, 0

    def read(rows: slice, cols: slice) -> np.ndarray:
        nonlocal read_blocks, most
        block = np.full((rows.stop - rows.start, cols.stop - cols.start), rows.start + cols.start, np.float32)
        read_blocks += 1
        most = max(most, read_blocks - len(released))
        weakref.finalize(block, released.append, None)
        return block

    erosion, *climate = (from_tiles(read, (48, 48), 3, "float32", name=f"layer{n}") for n in range(3))
    zone = da.map_blocks(lambda *blocks: sum(blocks), *climate, dtype=np.float32)
    rows, cols = (axis.ravel() for axis in np.meshgrid(*[np.arange(0, 48, 3)] * 2, indexing="ij"))
    taken = take_points({"erosion": erosion, "temperature": climate[0], "zone": zone}, rows, cols)
    np.testing.assert_array_equal(taken["zone"], 2 * (rows + cols))
    assert read_blocks == 3 * 256
    assert most <= 3 * BLOCKS_AT_ONCE + 4, most


def test_points_of_arrays_of_several_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="expected one"):
        take_points({"a": WHOLE, "b": WHOLE[:3]}, np.array([0]), np.array([0]))
