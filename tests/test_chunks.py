"""Chunks on a local disk without zarr's event loop: the same bytes and the same values as zarr, or left to zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore, MemoryStore

from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.cube.chunks import HearingStore, LocalChunks, put_file
from tpsoil.cube.regions import put_block
from tpsoil.errors import CorruptStoreError
from tpsoil.grid import coordinates, plateau_grid

SHAPE, CHUNK = (70, 45), 16  # ragged at both ends


class Told(HearingStore):
    """Keeps what it hears."""

    def __init__(self, store: Any, heard: dict[str, bytes | None] | None = None) -> None:
        super().__init__(store)
        self.heard: dict[str, bytes | None] = {} if heard is None else heard

    def _with_store(self, store: Any) -> Told:
        return Told(store, self.heard)

    def hear(self, key: str, data: Any) -> None:
        self.heard[key] = None if data is None else bytes(data)


def array_in(store: Any, dtype: str, fill: float, **how: Any) -> Any:
    codecs = {"compressors": [BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()], **how}
    return zarr.create_array(
        store, name="a", shape=SHAPE, chunks=(CHUNK, CHUNK), dtype=dtype, fill_value=fill, **codecs
    )


def values_of(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(4)
    values = rng.normal(3000, 900, SHAPE)
    if dtype == "uint8":
        return (values / 900).clip(0, 8).astype(dtype)
    values[rng.random(SHAPE) < 0.2] = np.nan
    values[:CHUNK, :CHUNK] = np.nan  # a chunk of nothing
    return values.astype(dtype)


@pytest.mark.parametrize(("dtype", "fill"), [("float32", np.nan), ("float64", np.nan), ("uint8", 255), ("int16", -1)])
def test_the_bytes_are_those_that_zarr_writes(tmp_path: Path, dtype: str, fill: float) -> None:
    values = np.nan_to_num(values_of("float64")).astype(dtype) if dtype == "int16" else values_of(dtype)
    ours, theirs = (array_in(LocalStore(tmp_path / name), dtype, fill) for name in ("ours", "theirs"))
    direct = LocalChunks.of(ours)
    assert direct is not None
    direct.write(slice(0, SHAPE[0]), slice(0, SHAPE[1]), values)
    theirs.with_config({"write_empty_chunks": True, "order": "C"})[:] = values
    for path in sorted((tmp_path / "theirs").rglob("c/*/*")):
        assert path.read_bytes() == (tmp_path / "ours" / path.relative_to(tmp_path / "theirs")).read_bytes()
    assert len(list((tmp_path / "ours").rglob("c/*/*"))) == 5 * 3
    np.testing.assert_array_equal(ours[:], values)
    np.testing.assert_array_equal(direct.read(slice(0, SHAPE[0]), slice(0, SHAPE[1])), values)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An array with one chunk that is not there."""
    folder = tmp_path_factory.mktemp("chunks")
    array = array_in(LocalStore(folder), "float32", np.nan)
    array[:] = values_of("float32")
    (folder / "a" / "c" / "2" / "1").unlink()
    return array


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_window_reads_as_zarr_reads_it(stored: Any, data: Any) -> None:
    bounds = [
        sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2).filter(lambda b: b[0] != b[1]))) for size in SHAPE
    ]
    rows, cols = (slice(*pair) for pair in bounds)
    direct = LocalChunks.of(stored)
    assert direct is not None
    found = direct.read(rows, cols)
    np.testing.assert_array_equal(found, stored[rows, cols])
    assert found.dtype == np.float32
    assert found.flags.writeable
    assert found.flags.owndata  # not a view that keeps a whole chunk in memory


@pytest.mark.parametrize(
    "how",
    [
        {"compressors": None},
        {"compressors": [ZstdCodec(level=3)]},
        {"compressors": [BloscCodec(cname="lz4")]},
        {"serializer": BytesCodec(endian="big")},
        {"shards": (32, 32)},
    ],
)
def test_other_codecs_are_left_to_zarr(tmp_path: Path, how: dict[str, Any]) -> None:
    array = array_in(LocalStore(tmp_path), "float32", np.nan, **how)
    assert LocalChunks.of(array) is None
    values = values_of("float32")
    put_block(array, slice(0, SHAPE[0]), slice(0, SHAPE[1]), values)
    np.testing.assert_array_equal(array[:], values)


def test_other_stores_are_left_to_zarr() -> None:
    assert LocalChunks.of(array_in(MemoryStore(), "float32", np.nan)) is None
    assert LocalChunks.of(array_in(Told(MemoryStore()), "float32", np.nan)) is None


def test_a_store_opened_for_reading_refuses(tmp_path: Path) -> None:
    array_in(LocalStore(tmp_path), "float32", np.nan)
    array = zarr.open_array(LocalStore(tmp_path, read_only=True), path="a", mode="r")
    with pytest.raises(ValueError, match="read-only"):
        put_block(array, slice(0, 16), slice(0, 16), np.zeros((16, 16), np.float32))


def test_who_listens_hears_the_same_by_either_way(tmp_path: Path) -> None:
    store = Told(LocalStore(tmp_path))
    array = array_in(store, "float32", np.nan)
    values, window = values_of("float32"), (slice(10, 40), slice(10, 20))
    heard = []
    for action in (
        lambda: array.with_config({"write_empty_chunks": True}).__setitem__(slice(None), values),
        lambda: LocalChunks.of(array).write(slice(0, 70), slice(0, 45), values),  # type: ignore[union-attr]
    ):
        store.heard.clear()
        action()
        heard.append(dict(store.heard))
    assert heard[0] == heard[1]
    (tmp_path / "a" / "c" / "1" / "1").unlink()
    heard = []
    for read in (lambda: array[window], lambda: LocalChunks.of(array).read(*window)):  # type: ignore[union-attr]
        store.heard.clear()
        read()
        heard.append(dict(store.heard))
    assert heard[0] == heard[1]
    assert set(heard[0]) == {f"a/c/{i}/{j}" for i in (0, 1, 2) for j in (0, 1)}
    assert heard[0]["a/c/1/1"] is None


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "other size"])
def test_bytes_that_are_not_what_was_written_never_become_numbers(tmp_path: Path, harm: str) -> None:
    grid = plateau_grid(10_000)[:64, :64]
    place = str(tmp_path / "cube.zarr")
    create_cube(place, grid, chunks=32)
    values = np.random.default_rng(1).normal(4000, 10, (64, 64)).astype("float32")
    add_layer(place, "elevation", xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid)))
    path = tmp_path / "cube.zarr" / "elevation" / "c" / "1" / "0"
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 4
    elif harm == "other size":  # a whole chunk of another shape, its checksum right
        array = array_in(LocalStore(tmp_path / "other"), "float32", np.nan)
        data = bytearray(LocalChunks.of(array).encode(np.zeros((CHUNK, CHUNK), np.float32)))  # type: ignore[union-attr]
    else:
        data = data[: 0 if harm == "empty" else 50]
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptStoreError, match=r"chunk \(1, 0\) of layer 'elevation'.*is corrupted"):
        open_cube(place)["elevation"].values.sum()
    np.testing.assert_array_equal(open_cube(place)["elevation"].isel(y=slice(0, 32)).values, values[:32])


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_file(tmp_path / "deep" / "down" / "5", b"first")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        put_file(tmp_path / "deep" / "down" / "5", b"second")
    assert (tmp_path / "deep" / "down" / "5").read_bytes() == b"first"
    assert list((tmp_path / "deep" / "down").iterdir()) == [tmp_path / "deep" / "down" / "5"]
