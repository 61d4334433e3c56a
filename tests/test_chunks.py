"""Chunks on a local disk without zarr's event loop: the same bytes and the same values as zarr, or left to zarr."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
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
from tpsoil.cube.chunks import LocalChunks, ObservedStore, StoredArray, in_zarr, open_array, put_file
from tpsoil.cube.codecs import layer_codecs
from tpsoil.cube.regions import block_writer
from tpsoil.errors import CorruptStoreError
from tpsoil.grid import coordinates, plateau_grid

SHAPE, CHUNK = (70, 45), 16  # ragged at both ends


class Recorder(ObservedStore):
    """Records what it observes."""

    def __init__(self, store: Any, objects: dict[str, bytes | None] | None = None) -> None:
        super().__init__(store)
        self.objects: dict[str, bytes | None] = {} if objects is None else objects

    def with_read_only(self, read_only: bool = False) -> Recorder:
        return Recorder(self.observed.with_read_only(read_only), self.objects)

    def on_object(self, key: str, data: Any) -> None:
        self.objects[key] = None if data is None else bytes(data)


EARLIER = [BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()]


def array_in(store: Any, dtype: str, fill: float, **how: Any) -> Any:
    codecs = {"compressors": layer_codecs(), **how}
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


@pytest.mark.parametrize("codecs", [layer_codecs(), EARLIER], ids=["present", "earlier"])
@pytest.mark.parametrize(("dtype", "fill"), [("float32", np.nan), ("float64", np.nan), ("uint8", 255), ("int16", -1)])
def test_the_bytes_are_those_that_zarr_writes(tmp_path: Path, dtype: str, fill: float, codecs: list[Any]) -> None:
    values = np.nan_to_num(values_of("float64")).astype(dtype) if dtype == "int16" else values_of(dtype)
    ours, theirs = (
        array_in(LocalStore(tmp_path / name), dtype, fill, compressors=codecs) for name in ("ours", "theirs")
    )
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
    block_writer(array)(slice(0, SHAPE[0]), slice(0, SHAPE[1]), values)
    np.testing.assert_array_equal(array[:], values)


def edited(document: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    """A copy of a metadata document with one value changed."""
    changed = json.loads(json.dumps(document))
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = to
    return changed


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown codec": lambda d: edited(d, "codecs", 1, "name", to="lz5"),
    "unknown checksum": lambda d: edited(d, "codecs", 2, "name", to="adler32"),
    "configured checksum": lambda d: edited(d, "codecs", 2, to={"name": "crc32c", "configuration": {"seed": 1}}),
    "frame without a checksum": lambda d: edited(d, "codecs", 2, "configuration", "checksum", to=False),
    "frame of no level": lambda d: edited(d, "codecs", 2, "configuration", "level", to=-7),
    "one codec more": lambda d: edited(d, "codecs", to=[*d["codecs"], {"name": "zstd", "configuration": {"level": 1}}]),
    "codecs are no list": lambda d: edited(d, "codecs", to={"0": "bytes"}),
    "codec is a number": lambda d: edited(d, "codecs", 1, to=7),
    "unknown option": lambda d: edited(d, "codecs", 1, "configuration", "acceleration", to=3),
    "option of another type": lambda d: edited(d, "codecs", 1, "configuration", "clevel", to="1"),
    "option out of range": lambda d: edited(d, "codecs", 1, "configuration", "clevel", to=10),
    "another type size": lambda d: edited(d, "codecs", 1, "configuration", "typesize", to=8),
    "unknown shuffle": lambda d: edited(d, "codecs", 1, "configuration", "shuffle", to="auto"),
    "unknown compressor": lambda d: edited(d, "codecs", 1, "configuration", "cname", to="lz5"),
    "no options": lambda d: edited(d, "codecs", 1, to="blosc"),
    "big endian": lambda d: edited(d, "codecs", 0, "configuration", "endian", to="big"),
    "no byte order": lambda d: edited(d, "codecs", 0, to={"name": "bytes"}),
    "keys of version 2": lambda d: edited(d, "chunk_key_encoding", "name", to="v2"),
    "unknown separator": lambda d: edited(d, "chunk_key_encoding", "configuration", "separator", to="|"),
    "irregular chunks": lambda d: edited(d, "chunk_grid", "name", to="rectilinear"),
    "chunks of another size": lambda d: edited(d, "chunk_grid", "configuration", "chunk_shape", to=[8, 8]),
    "chunks of no size": lambda d: edited(d, "chunk_grid", "configuration", "chunk_shape", to=[0, 16]),
    "another shape": lambda d: edited(d, "shape", to=[70, 46]),
    "three dimensions": lambda d: edited(d, "shape", to=[70, 45, 1]),
    "a type of an extension": lambda d: edited(d, "data_type", to={"name": "bfloat16"}),
    "half precision": lambda d: edited(d, "data_type", to="float16"),
    "fill as bits": lambda d: edited(d, "fill_value", to="0x7fc00001"),
    "no fill": lambda d: edited(d, "fill_value", to=None),
    "unknown key": lambda d: edited(d, "ordering", to="morton"),
    "a storage transformer": lambda d: edited(d, "storage_transformers", to=[{"name": "cache"}]),
    "another version": lambda d: edited(d, "zarr_format", to=4),
    "a group": lambda d: edited(d, "node_type", to="group"),
    "no document": lambda d: [],
    "a number": lambda d: 3,
}


@pytest.mark.parametrize("odd", [*ODD, "torn", "empty", "gone"])
def test_odd_metadata_are_left_to_zarr(tmp_path: Path, odd: str) -> None:
    array = array_in(LocalStore(tmp_path), "float32", np.nan)
    values = values_of("float32")
    array[:] = values
    assert LocalChunks.of(array) is not None
    path = tmp_path / "a" / "zarr.json"
    text = path.read_text()
    if odd == "gone":
        path.unlink()
    elif odd in ("torn", "empty"):
        path.write_text(text[: 90 if odd == "torn" else 0])
    else:
        path.write_text(json.dumps(ODD[odd](json.loads(text))))
    assert LocalChunks.of(array) is None
    block_writer(array)(slice(0, SHAPE[0]), slice(0, SHAPE[1]), values + 1)  # the open array is still zarr's
    np.testing.assert_array_equal(array[:], values + 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d,
        lambda d: edited(d, "chunk_key_encoding", to={"name": "default"}),
        lambda d: edited(d, "chunk_key_encoding", to="default"),
        lambda d: {key: value for key, value in d.items() if key not in ("attributes", "storage_transformers")},
    ],
)
def test_other_spellings_of_the_same_metadata_are_read(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    array = array_in(LocalStore(tmp_path), "float32", np.nan)
    array[:] = values_of("float32")
    path = tmp_path / "a" / "zarr.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    direct = LocalChunks.of(array)
    assert direct is not None
    np.testing.assert_array_equal(direct.read(slice(0, 70), slice(0, 45)), values_of("float32"))


def test_a_codec_by_its_bare_name_is_read(tmp_path: Path) -> None:
    array = array_in(LocalStore(tmp_path), "float32", np.nan, compressors=EARLIER)
    array[:] = values_of("float32")
    path = tmp_path / "a" / "zarr.json"
    path.write_text(json.dumps(edited(json.loads(path.read_text()), "codecs", 2, to="crc32c")))
    direct = LocalChunks.of(array)
    assert direct is not None
    np.testing.assert_array_equal(direct.read(slice(0, 70), slice(0, 45)), values_of("float32"))


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, -9999, 0.1])
def test_cells_without_an_object_have_the_fill_value_of_zarr(tmp_path: Path, fill: float) -> None:
    array = array_in(LocalStore(tmp_path), "float32", fill)
    direct = LocalChunks.of(array)
    assert direct is not None
    np.testing.assert_array_equal(direct.read(slice(0, 70), slice(0, 45)), array[:])


def test_an_array_at_the_root_of_its_store(tmp_path: Path) -> None:
    store = Recorder(LocalStore(tmp_path))
    array = zarr.create_array(store, shape=(16, 16), chunks=(16, 16), dtype="float32", compressors=layer_codecs())
    direct = LocalChunks.of(array)
    assert direct is not None
    values = np.arange(256, dtype="float32").reshape(16, 16)
    direct.write(slice(0, 16), slice(0, 16), values)
    np.testing.assert_array_equal(array[:], values)
    assert "c/0/0" in store.objects


def test_keys_with_points(tmp_path: Path) -> None:
    array = array_in(LocalStore(tmp_path), "float32", np.nan, chunk_key_encoding={"name": "default", "separator": "."})
    direct = LocalChunks.of(array)
    assert direct is not None
    direct.write(slice(0, 70), slice(0, 45), values_of("float32"))
    np.testing.assert_array_equal(array[:], values_of("float32"))


def test_other_stores_are_left_to_zarr() -> None:
    assert LocalChunks.of(array_in(MemoryStore(), "float32", np.nan)) is None
    assert LocalChunks.of(array_in(Recorder(MemoryStore()), "float32", np.nan)) is None


def test_a_store_opened_for_reading_refuses(tmp_path: Path) -> None:
    array_in(LocalStore(tmp_path), "float32", np.nan)
    array = zarr.open_array(LocalStore(tmp_path, read_only=True), path="a", mode="r")
    with pytest.raises(ValueError, match="read-only"):
        block_writer(array)(slice(0, 16), slice(0, 16), np.zeros((16, 16), np.float32))


def pipelines() -> list[str]:
    """Codec pipelines of the installed zarr: one with coroutines, in newer releases one without."""
    module = importlib.import_module("zarr.core.codec_pipeline")
    return [name for name in ("BatchedCodecPipeline", "FusedCodecPipeline") if hasattr(module, name)]


@pytest.mark.parametrize("pipeline", pipelines())
def test_an_observer_gets_the_same_objects_by_either_path(tmp_path: Path, pipeline: str) -> None:
    store = Recorder(LocalStore(tmp_path))
    with zarr.config.set({"codec_pipeline.path": f"zarr.core.codec_pipeline.{pipeline}"}):
        array = array_in(store, "float32", np.nan)
    values, window = values_of("float32"), (slice(10, 40), slice(10, 20))
    reported = []
    for action in (
        lambda: array.with_config({"write_empty_chunks": True}).__setitem__(slice(None), values),
        lambda: LocalChunks.of(array).write(slice(0, 70), slice(0, 45), values),  # type: ignore[union-attr]
    ):
        store.objects.clear()
        action()
        reported.append(dict(store.objects))
    assert reported[0] == reported[1]
    (tmp_path / "a" / "c" / "1" / "1").unlink()
    reported = []
    for read in (lambda: array[window], lambda: LocalChunks.of(array).read(*window)):  # type: ignore[union-attr]
        store.objects.clear()
        read()
        reported.append(dict(store.objects))
    assert reported[0] == reported[1]
    assert set(reported[0]) == {f"a/c/{i}/{j}" for i in (0, 1, 2) for j in (0, 1)}
    assert reported[0]["a/c/1/1"] is None


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


def test_layers_of_a_cube_are_read_directly(tmp_path: Path) -> None:
    place, grid = str(tmp_path / "cube.zarr"), plateau_grid(100_000)
    create_cube(place, grid, chunks=32)
    for name, dtype in (("elevation", "float32"), ("soil_mask", "uint8")):
        add_layer(place, name, xr.DataArray(np.ones(grid.shape, dtype), dims=("y", "x"), coords=coordinates(grid)))
        assert LocalChunks.of(zarr.open_group(place, mode="r")[name]) is not None, name


def test_a_layer_opened_by_its_description_is_what_zarr_opens(tmp_path: Path) -> None:
    place, grid = str(tmp_path / "cube.zarr"), plateau_grid(100_000)
    create_cube(place, grid, chunks=32)
    for name, dtype in (("elevation", "float32"), ("soil_mask", "uint8")):
        add_layer(place, name, xr.DataArray(np.ones(grid.shape, dtype), dims=("y", "x"), coords=coordinates(grid)))
        ours, theirs = open_array(LocalStore(place), name), zarr.open_array(place, path=name, mode="r")
        assert isinstance(ours, StoredArray)
        assert (ours.shape, ours.chunks, ours.dtype) == (theirs.shape, theirs.chunks, theirs.dtype)
        np.testing.assert_equal(ours.fill_value, theirs.fill_value)
        assert ours.attrs == dict(theirs.attrs)
        np.testing.assert_array_equal(in_zarr(ours)[:], theirs[:])
    path = tmp_path / "cube.zarr" / "elevation" / "zarr.json"
    path.write_text(json.dumps(edited(json.loads(path.read_text()), "dimension_names", to=["x", "y"])))
    assert isinstance(open_array(LocalStore(place), "elevation"), zarr.Array)
    with pytest.raises(FileNotFoundError):
        open_array(LocalStore(place), "slope")
    with pytest.raises((TypeError, ValueError)):
        open_array(LocalStore(place), "")
