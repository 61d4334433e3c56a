"""The datacube on disk: what is stored, what is refused, and what a broken or half-written store looks like."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from geotiffs import write_tif
from odc.geo.geobox import GeoBox
from regions import write_region

import tpsoil
from tpsoil import cube as datacube
from tpsoil.cube.regions import write_block
from tpsoil.errors import (
    AccessError,
    CorruptStoreError,
    GridError,
    InputError,
    MissingInputError,
    StoreExistsError,
    UnitsError,
    WorkError,
)
from tpsoil.grid import coordinates, grid_from_bounds, grid_of, plateau_grid, same_grid
from tpsoil.variables import describe_layer, variable

GRID = grid_from_bounds("EPSG:4326", (80, 31, 85.5, 35), 0.25)


def on_grid(values: np.ndarray, grid: GeoBox = GRID, **attrs: object) -> xr.DataArray:
    return xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), attrs=attrs)


@pytest.fixture
def dem(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(3000, 6000, (20, 25)).astype(np.int16)
    values[3:5, 3:5] = -32767
    return write_tif(tmp_path / "dem.tif", values, nodata=-32767)


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "cube.zarr") if request.param == "local" else f"memory://{tmp_path.name}"


def test_a_cube_holds_its_grid_exactly(place: str) -> None:
    odd = grid_from_bounds("EPSG:3035", (4e6 + 0.1, 3e6, 4.1e6, 3.07e6), 777.7)
    for grid in (plateau_grid(100_000), odd):
        cube = tpsoil.create_cube(place, grid, chunks=7, overwrite=True)
        assert dict(cube.sizes) == {"y": grid.shape[0], "x": grid.shape[1]}
        assert list(cube.data_vars) == []
        again = datacube.cube_info(place)
        assert again.grid == grid
        assert again.chunks == 7
        assert same_grid(grid_of(tpsoil.open_cube(place)), grid)


def test_a_layer_carries_the_catalogues_attributes_and_its_source(place: str, dem: Path) -> None:
    tpsoil.create_cube(place, GRID, chunks=8)
    tpsoil.add_layer(place, "elevation", dem)
    layer = tpsoil.open_cube(place)["elevation"]
    assert layer.dtype == np.float32
    assert layer.dims == ("y", "x")
    assert layer.data.chunks == ((8, 8), (8, 8, 6))
    wanted = {"long_name", "units", "source", "source_digest", "resampling", "created_with", "standard_name"}
    assert wanted <= set(layer.attrs)
    assert layer.attrs["long_name"] == "elevation above sea level"
    assert layer.attrs["source"] == "dem.tif"
    assert layer.attrs["source_digest"].startswith("sha256:")
    assert layer.attrs["missing_cells"] == 4 == int(np.isnan(layer).sum())
    assert "state" not in layer.attrs
    assert layer.rio.crs.to_epsg() == 4326


def test_other_software_reads_it(tmp_path: Path, dem: Path) -> None:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=8)
    tpsoil.add_layer(place, "elevation", dem)
    classes = np.full(GRID.shape, 10, np.uint8)
    classes[0, 0] = 255
    tpsoil.add_layer(place, "land_cover", on_grid(classes), nodata=255)
    plain = xr.open_zarr(place, consolidated=False, decode_coords="all")
    ours = tpsoil.open_cube(place)
    np.testing.assert_array_equal(plain["elevation"].values, ours["elevation"].values)
    assert plain.rio.crs.to_epsg() == 4326
    assert np.isnan(plain["land_cover"].values[0, 0])
    assert plain["elevation"].dims == ("y", "x")
    raw = xr.open_zarr(place, consolidated=False, mask_and_scale=False)["land_cover"]
    assert raw.dtype == np.uint8
    assert raw.attrs["_FillValue"] == 255
    assert ours["land_cover"].dtype == np.uint8
    assert ours["land_cover"].encoding["_FillValue"] == 255
    assert ours["land_cover"].attrs["flag_meanings"].split()[10] == "grassland"
    assert "chunks" not in ours["elevation"].encoding


def test_what_is_there_is_not_overwritten_unasked(tmp_path: Path, dem: Path) -> None:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID)
    with pytest.raises(StoreExistsError, match="cube.zarr: already exists; pass overwrite=True"):
        tpsoil.create_cube(place, GRID)
    tpsoil.add_layer(place, "elevation", dem)
    with pytest.raises(InputError, match="layer 'elevation' already exists; pass overwrite=True"):
        tpsoil.add_layer(place, "elevation", dem)
    tpsoil.add_layer(place, "elevation", dem, overwrite=True)
    assert list(tpsoil.create_cube(place, GRID, overwrite=True).data_vars) == []
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "to_mother.txt").write_text("dear")
    with pytest.raises(StoreExistsError, match="no Zarr store, so it is not deleted"):
        tpsoil.create_cube(letters, GRID, overwrite=True)
    assert (letters / "to_mother.txt").exists()
    (tmp_path / "empty").mkdir()
    tpsoil.create_cube(tmp_path / "empty", GRID)
    memory = f"memory://{tmp_path.name}-twice"
    tpsoil.create_cube(memory, GRID)
    with pytest.raises(StoreExistsError, match="already exists"):
        tpsoil.create_cube(memory, GRID)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AccessError, match=r"file/cube.zarr: cannot be written \(Not a directory\)"):
        tpsoil.create_cube(tmp_path / "file" / "cube.zarr", GRID)
    with pytest.raises(AccessError, match=r"/proc/cube.zarr: cannot be written"):
        tpsoil.create_cube("/proc/cube.zarr", GRID)


def test_a_full_disk_is_said(tmp_path: Path, dem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=8)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tpsoil.cube.chunks.put_file", full)
    with pytest.raises(WorkError, match="no space left to write; free some space"):
        tpsoil.add_layer(place, "elevation", dem)
    monkeypatch.undo()
    assert list(tpsoil.open_cube(place).data_vars) == []


def test_wrong_stores_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="none.zarr: no such store; create one"):
        tpsoil.open_cube(tmp_path / "none.zarr")
    with pytest.raises(MissingInputError, match="memory://nothing-here: no Zarr group"):
        tpsoil.open_cube("memory://nothing-here")
    on_grid(np.zeros(GRID.shape)).to_dataset(name="a").to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(InputError, match="not a tpsoil cube"):
        tpsoil.open_cube(tmp_path / "other.zarr")
    with pytest.raises(InputError, match="Protocol not known: nosuchprotocol"):
        tpsoil.open_cube("nosuchprotocol://bucket/cube.zarr")
    place = tmp_path / "newer.zarr"
    tpsoil.create_cube(place, GRID)
    text = json.loads((place / "zarr.json").read_text())
    text["attributes"]["format_version"] = 99
    (place / "zarr.json").write_text(json.dumps(text))
    with pytest.raises(InputError, match="written in format 99 .* update tpsoil"):
        tpsoil.open_cube(place)
    (place / "zarr.json").write_text("{ torn")
    with pytest.raises(CorruptStoreError, match="zarr.json of the group cannot be read"):
        tpsoil.open_cube(place)


@pytest.mark.parametrize("chunks", [0, -3, 2.5, True, "512"])
def test_chunks_are_a_positive_number(chunks: object) -> None:
    with pytest.raises(InputError, match="expected a positive number of cells"):
        tpsoil.create_cube("memory://chunks", GRID, chunks=chunks)  # type: ignore[arg-type]


def test_a_grid_is_a_geobox_with_a_crs() -> None:
    with pytest.raises(InputError, match="expected a GeoBox with a CRS"):
        tpsoil.create_cube("memory://grid", (3, 4))  # type: ignore[arg-type]


def test_unknown_layers_and_options_have_a_nearest_name(place: str, dem: Path) -> None:
    tpsoil.create_cube(place, GRID)
    with pytest.raises(InputError, match="'elevatoin' is not in the catalogue; did you mean 'elevation'"):
        tpsoil.add_layer(place, "elevatoin", dem)
    with pytest.raises(TypeError, match="unexpected keyword argument 'unit'"):
        tpsoil.add_layer(place, "elevation", dem, unit="m")  # type: ignore[call-arg]
    assert not [p for p in inspect.signature(tpsoil.add_layer).parameters.values() if p.kind is p.VAR_KEYWORD]
    for name in ("x", "spatial_ref", "a/b"):
        with pytest.raises(InputError, match="cannot name a layer"):
            tpsoil.add_layer(place, name, dem, units="m", kind="continuous")
    tpsoil.add_layer(place, "snow_depth", dem, units="cm", kind="continuous", long_name="depth of snow")
    assert tpsoil.open_cube(place)["snow_depth"].attrs["long_name"] == "depth of snow"


def test_after_an_error_nothing_of_the_layer_is_left(place: str, tmp_path: Path) -> None:
    values = np.full((20, 25), 10.0, np.float32)
    values[-1, -1] = 300  # in the last chunk only
    path = write_tif(tmp_path / "t.tif", values, left=80, top=35)
    tpsoil.create_cube(place, GRID, chunks=4)
    bigger = grid_from_bounds("EPSG:4326", (80, 30, 86.25, 35), 0.25)
    tpsoil.create_cube(place, bigger, chunks=4, overwrite=True)
    with pytest.raises(UnitsError, match="has values 10..300 degC"):
        tpsoil.add_layer(place, "mean_annual_temperature", path)
    assert datacube.layer_states(place) == {}
    assert list(tpsoil.open_cube(place).data_vars) == []


def test_derived_layers_name_their_parents_and_share_one_pass(place: str) -> None:
    tpsoil.create_cube(place, GRID, chunks=8)
    base = on_grid(np.random.default_rng(0).uniform(0, 80, GRID.shape).astype(np.float32)).chunk({"y": 5, "x": 9})
    twice = (base * 1).assign_attrs(variable("slope").attributes() | {"formula": "Horn"})
    turned = (base * 4).assign_attrs(variable("aspect").attributes())
    datacube.add_layers(place, xr.Dataset({"slope": twice, "aspect": turned}), parents=["elevation"])
    cube = tpsoil.open_cube(place)
    assert cube["slope"].attrs["parents"] == cube["aspect"].attrs["parents"] == "elevation"
    assert cube["slope"].attrs["formula"] == "Horn"
    assert cube["slope"].attrs["source_digest"].startswith("chunks-sha256:")
    np.testing.assert_array_equal(cube["aspect"].values, base.values * 4)
    tpsoil.add_layer(
        place, "ndvi", on_grid(np.zeros(GRID.shape)), origin="made up", attrs={"note": "flat"}, parents="a"
    )
    attrs = tpsoil.open_cube(place)["ndvi"].attrs
    assert (attrs["source"], attrs["note"], attrs["parents"]) == ("made up", "flat", "a")


# half-written, missing, damaged


def test_a_layer_that_fails_leaves_nothing_though_others_of_its_chunks_are_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One chunk cannot be computed while another is slow to reach the disk: its writer must not come too late."""
    place, written = tmp_path / "cube.zarr", []
    tpsoil.create_cube(place, GRID, chunks=8)
    slowly = threading.Event()

    def slow(array: object, info: object, name: str, rows: slice, cols: slice, block: np.ndarray) -> None:
        slowly.set()
        time.sleep(0.3)
        write_block(array, info, name, rows, cols, block)
        written.append((rows.start, cols.start))

    def fail(block: np.ndarray, block_info: dict[int | None, dict[str, tuple[int, ...]]] | None = None) -> np.ndarray:
        if block_info and block_info[0]["chunk-location"] == (1, 2):
            slowly.wait(10)
            raise InputError("this chunk cannot be")
        return block

    monkeypatch.setattr("tpsoil.cube.layers.write_block", slow)
    values = dask.array.zeros(tuple(GRID.shape), chunks=8, dtype="float32").map_blocks(
        fail, meta=np.empty((0, 0), "float32")
    )
    layer = on_grid(np.zeros(GRID.shape)).copy(data=values)
    with dask.config.set(scheduler="threads", num_workers=4), pytest.raises(InputError, match="this chunk cannot be"):
        tpsoil.add_layer(place, "elevation", layer, units="m")
    assert written  # begun before, and ended before the layer was removed
    assert not (place / "elevation").exists()
    assert list(tpsoil.open_cube(place).data_vars) == []


def test_packed_numbers_are_unpacked_or_rejected(tmp_path: Path) -> None:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=8)
    packed = on_grid(np.full(GRID.shape, 250)).astype("int16")
    packed.attrs = {"units": "m", "scale_factor": 0.1, "_FillValue": -1, "valid_range": [0, 500], "valid_max": 500}
    with pytest.raises(InputError, match="layer 'elevation' has scale_factor, so its numbers are not values yet"):
        datacube.write_layers(place, {"elevation": packed})
    datacube.add_layers(place, {"elevation": packed})
    stored = json.loads((place / "elevation" / "zarr.json").read_text())["attributes"]
    assert not {"scale_factor", "_FillValue", "valid_range"} & set(stored)
    assert stored["valid_max"] == 9000
    with xr.open_zarr(place) as other:
        np.testing.assert_allclose(other["elevation"].values, 25)


def test_classes_of_another_type_are_checked_where_they_are_written(tmp_path: Path) -> None:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=8)
    codes = on_grid(np.full(GRID.shape, 300))
    with pytest.raises(InputError, match="class codes 300 do not fit uint8"):
        datacube.write_layers(place, {"land_cover": codes})
    assert datacube.layer_states(place) == {}
    counts = on_grid(np.full(GRID.shape, 3)).assign_attrs(kind="continuous", units="d")
    datacube.write_layers(place, {"snow_days": counts, "land_cover": codes - 299, "lake": codes > 1})
    opened = tpsoil.open_cube(place)
    assert {name: str(layer.dtype) for name, layer in opened.items()} == {
        "land_cover": "uint8", "lake": "int16", "snow_days": "float32",
    }  # fmt: skip


def test_a_layer_of_another_order_or_place_is_not_written_row_by_row(tmp_path: Path) -> None:
    place = tmp_path / "cube.zarr"
    square = grid_from_bounds("EPSG:4326", (80, 31, 84, 35), 0.25)
    tpsoil.create_cube(place, square, chunks=8)
    slope = on_grid(np.arange(256.0).reshape(16, 16), square, units="degree") / 10
    with pytest.raises(GridError, match=r"layer 'slope' has y from 31.125 to 34.875, the cube from 34.875 to 31.125"):
        datacube.write_layers(place, {"slope": slope.isel(y=slice(None, None, -1))})
    with pytest.raises(GridError, match=r"layer 'slope' has x from 80.375 .*; pass it to add_layers"):
        datacube.write_layers(place, {"slope": slope.assign_coords(x=slope["x"] + 0.25)})
    with pytest.raises(InputError, match=r"expected \('y', 'x'\); transpose it"):
        datacube.write_layers(place, {"slope": slope.transpose("x", "y")})
    datacube.write_layers(place, {"slope": slope.assign_coords(x=slope["x"] + 1e-9)})


def test_a_layer_in_writing_is_not_shown(tmp_path: Path, dem: Path) -> None:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=8)
    tpsoil.add_layer(place, "elevation", dem)
    datacube.create_layers(place, [variable("slope"), variable("land_cover")])
    block = np.full((8, 8), 3, np.float32)
    write_region(place, {"slope": block, "land_cover": block.astype(np.uint8)}, slice(0, 8), slice(8, 16))
    with pytest.warns(UserWarning, match="land_cover, slope left out, because writing did not end"):
        assert list(tpsoil.open_cube(place).data_vars) == ["elevation"]
    partial = datacube.open_cube(place, incomplete=True)
    assert int(np.isfinite(partial["slope"]).sum()) == 64
    assert datacube.missing_chunks(place)["slope"] == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]
    found = datacube.check_cube(place)
    assert [fault.split(";")[0] for fault in found.faults] == [
        f"layer '{name}': writing did not end, 5 of 6 chunks missing" for name in ("land_cover", "slope")
    ]
    with pytest.raises(CorruptStoreError, match="layer 'slope' lacks 5 chunks"):
        datacube.finish_layers(place, ["slope"])
    tpsoil.add_layer(place, "slope", on_grid(np.zeros(GRID.shape)))  # no overwrite: it was never whole
    assert datacube.layer_states(place)["slope"] == "complete"


def test_killed_while_writing(tmp_path: Path) -> None:
    """SIGKILL in the middle of add_layer, at a moment the child itself announces."""
    place = tmp_path / "cube.zarr"
    program = f"""
import sys, time
import numpy as np, xarray as xr
import tpsoil
from tpsoil.cube import layers
from tpsoil.grid import coordinates, plateau_grid
grid = plateau_grid(50_000)
tpsoil.create_cube({str(place)!r}, grid, chunks=8)
plain, count = layers.write_block, []
def slow(*arguments):
    plain(*arguments)
    count.append(1)
    if len(count) == 5:
        print("five", flush=True)
        time.sleep(60)
layers.write_block = slow
tpsoil.add_layer({str(place)!r}, "slope", xr.DataArray(np.ones(grid.shape), dims=("y", "x"), coords=coordinates(grid)))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "five"
        child.send_signal(signal.SIGKILL)
    with pytest.warns(UserWarning, match="slope left out"):
        assert list(tpsoil.open_cube(place).data_vars) == []
    assert not datacube.check_cube(place).good


def chunk_file(place: Path, layer: str, i: int, j: int) -> Path:
    return place / layer / "c" / str(i) / str(j)


@pytest.fixture
def stored(tmp_path: Path, dem: Path) -> Path:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=8)
    tpsoil.add_layer(place, "elevation", dem)
    tpsoil.add_layer(place, "depth_to_bedrock", on_grid(np.full(GRID.shape, np.nan)))
    return place


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "garbage"])
def test_a_damaged_chunk_is_named_never_read(stored: Path, damage: str) -> None:
    path = chunk_file(stored, "elevation", 1, 2)
    good = path.read_bytes()
    bytes_ = {
        "flip": good[:40] + bytes([good[40] ^ 1]) + good[41:],
        "truncate": good[: len(good) // 2],
        "empty": b"",
        "garbage": b"not a chunk at all",
    }[damage]
    path.write_bytes(bytes_)
    cube = tpsoil.open_cube(stored)
    with pytest.raises(
        CorruptStoreError, match=r"chunk \(1, 2\) of layer 'elevation' \(rows 8..16, columns 16..22\) is"
    ):
        cube["elevation"].compute()
    assert np.isfinite(cube["elevation"][8:16, :16].compute()).all()  # the others still read
    found = datacube.check_cube(stored)
    assert len(found.faults) == 1
    assert "chunk (1, 2) of layer 'elevation'" in found.faults[0]
    assert "write the layer again with overwrite" in found.faults[0]


def test_every_flipped_bit_of_a_chunk_is_seen(stored: Path) -> None:
    path = chunk_file(stored, "elevation", 0, 0)
    good = path.read_bytes()
    generator = np.random.default_rng(1)
    for position in generator.integers(0, len(good), 40).tolist():
        path.write_bytes(good[:position] + bytes([good[position] ^ (1 << position % 8)]) + good[position + 1 :])
        with pytest.raises(CorruptStoreError):
            tpsoil.open_cube(stored)["elevation"][:4, :4].compute()
    path.write_bytes(good)
    assert datacube.check_cube(stored).good


def test_a_chunk_that_is_gone_is_an_error_not_nan(stored: Path) -> None:
    assert chunk_file(stored, "depth_to_bedrock", 1, 1).exists(), "all-NaN chunks are written"
    assert np.isnan(tpsoil.open_cube(stored)["depth_to_bedrock"].values).all()
    chunk_file(stored, "elevation", 1, 0).unlink()
    chunk_file(stored, "depth_to_bedrock", 1, 1).unlink()
    cube = tpsoil.open_cube(stored)
    with pytest.raises(CorruptStoreError, match=r"chunk \(1, 0\) of layer 'elevation' is missing"):
        cube["elevation"][10:, 3:12].compute()
    with pytest.raises(CorruptStoreError, match=r"chunk \(1, 1\) of layer 'depth_to_bedrock' is missing"):
        cube["depth_to_bedrock"].compute()
    assert len(datacube.check_cube(stored).faults) == 2


def test_check_sees_torn_metadata_and_coordinates(stored: Path) -> None:
    assert datacube.check_cube(stored).good
    (stored / "x" / "c" / "0").write_bytes(b"short")
    assert any("coordinate 'x'" in fault for fault in datacube.check_cube(stored).faults)
    (stored / "elevation" / "zarr.json").write_text("{")
    with pytest.raises(CorruptStoreError, match=r"zarr\.json of layer 'elevation' cannot be read"):
        tpsoil.open_cube(stored)
    shutil.rmtree(stored / "elevation")
    with pytest.raises(MissingInputError, match="no layer 'slop'"):
        datacube.check_cube(stored, ["slop"])


# regions


def test_regions_are_whole_chunks_of_the_right_type(place: str) -> None:
    tpsoil.create_cube(place, GRID, chunks=8)
    datacube.create_layers(place, [variable("slope")], attrs={"slope": {"parents": "elevation"}})
    good = np.zeros((8, 6), np.float32)
    write_region(place, {"slope": good}, slice(8, 16), slice(16, 22))  # the ragged corner
    for rows, cols in ((slice(4, 12), slice(0, 8)), (slice(0, 8), slice(0, 9)), (slice(0, 24), slice(0, 8))):
        with pytest.raises(
            InputError, match="cuts chunks of 8 cells; write complete chunks, one writer for each chunk"
        ):
            write_region(place, {"slope": good}, rows, cols)
    with pytest.raises(InputError, match=r"block of 'slope' is float64 \(8, 6\), expected float32 \(8, 6\)"):
        write_region(place, {"slope": good.astype(float)}, slice(8, 16), slice(16, 22))
    with pytest.raises(MissingInputError, match="no layer 'slpe'; did you mean 'slope'"):
        write_region(place, {"slpe": good}, slice(8, 16), slice(16, 22))
    with pytest.raises(InputError, match="layer 'aspect' is given twice"):
        datacube.create_layers(place, [variable("aspect"), variable("aspect")])
    for i in range(2):
        for j in range(3):
            rows, cols = datacube.cube_info(place).chunk_slices(i, j)
            write_region(place, {"slope": np.full((8, cols.stop - cols.start), i + j, np.float32)}, rows, cols)
    datacube.finish_layers(place, ["slope"], {"slope": {"tiles": 6}})
    attrs = tpsoil.open_cube(place)["slope"].attrs
    assert (attrs["parents"], attrs["tiles"], attrs["units"]) == ("elevation", 6, "degree")


def test_digests_follow_the_stored_bytes(place: str) -> None:
    tpsoil.create_cube(place, GRID, chunks=8)
    values = np.random.default_rng(0).random(GRID.shape)
    tpsoil.add_layer(place, "ndvi", on_grid(values))
    before = {(i, j): datacube.chunk_bytes(place, "ndvi", i, j) for i in range(2) for j in range(3)}
    whole = datacube.layer_digest(place, "ndvi")
    tpsoil.add_layer(place, "ndvi", on_grid(values), overwrite=True)
    assert datacube.layer_digest(place, "ndvi") == whole
    values[9, 3] = 0
    tpsoil.add_layer(place, "ndvi", on_grid(values), overwrite=True)
    changed = [k for k, digest in before.items() if datacube.chunk_bytes(place, "ndvi", *k) != digest]
    assert changed == [(1, 0)]
    assert datacube.layer_digest(place, "ndvi") != whole
    assert datacube.chunk_bytes(place, "ndvi", 7, 7) is None


def test_values_do_not_depend_on_the_chunking(tmp_path: Path, dem: Path) -> None:
    grid = grid_from_bounds("EPSG:32644", (400_000, 3_500_000, 700_000, 3_800_000), 31_111)
    found = []
    for chunks in (3, 4, 512):
        place = tmp_path / f"{chunks}.zarr"
        tpsoil.create_cube(place, grid, chunks=chunks)
        tpsoil.add_layer(place, "elevation", dem)
        found.append(tpsoil.open_cube(place)["elevation"].values)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_opening_computes_nothing_and_takes_little(tmp_path: Path) -> None:
    """30 layers of the 1 km plateau: under a second on a loaded machine (0.05 s on a quiet one)."""
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, plateau_grid(1000))
    datacube.create_layers(place, [describe_layer(f"layer_{k}", units="1", kind="continuous") for k in range(30)])
    took = []
    with dask.config.set(scheduler=lambda *_: pytest.fail("computed while opening")):
        for _ in range(3):
            start = time.perf_counter()
            cube = datacube.open_cube(place, incomplete=True)
            took.append(time.perf_counter() - start)
    assert len(cube.data_vars) == 30
    assert cube["layer_0"].data.npartitions == 24
    assert min(took) < 1.0


def test_a_lazy_cube_travels_to_another_process(stored: Path) -> None:
    cube = tpsoil.open_cube(stored)
    again = pickle.loads(pickle.dumps(cube))
    np.testing.assert_array_equal(again["elevation"].values, cube["elevation"].values)
    assert len(pickle.dumps(cube["elevation"].data)) < 20_000


def test_slices_read_what_they_cover(stored: Path) -> None:
    layer = tpsoil.open_cube(stored)["elevation"]
    whole = layer.values
    for key in ((slice(3, 11), slice(None, None, 3)), (slice(None, None, -2), 5), ([1, 9, 2], slice(2, 4)), (7, 7)):
        np.testing.assert_array_equal(layer[key].values, whole[key])
    assert layer[0:0, :].values.shape == (0, 22)


def test_strange_files_in_the_store_are_walked_past(stored: Path) -> None:
    (stored / "notes.txt").write_text("remember")
    (stored / "folder").mkdir()
    (stored / "folder" / "a.json").write_text("{}")
    assert list(tpsoil.open_cube(stored).data_vars) == ["depth_to_bedrock", "elevation"]
    assert datacube.check_cube(stored).good


def test_a_layer_is_not_made_from_itself_however_its_path_is_written(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stored.parent)
    cube = tpsoil.open_cube(stored.name)
    with pytest.raises(InputError, match="'elevation' would be read from the layer that it replaces"):
        tpsoil.add_layer(stored, "elevation", cube["elevation"] + 1, overwrite=True, units="m", crs="EPSG:4326")
    assert np.isfinite(tpsoil.open_cube(stored)["elevation"].values).any()


def test_a_changed_copy_of_a_layer_has_a_digest_of_its_own(stored: Path) -> None:
    cube = tpsoil.open_cube(stored).load()
    assert cube["elevation"].attrs["source_digest"].startswith("sha256:")
    datacube.add_layers(stored, {"elevation": cube["elevation"].where(cube["elevation"] < 5000)}, overwrite=True)
    digest = tpsoil.open_cube(stored)["elevation"].attrs["source_digest"]
    assert digest == datacube.layer_digest(stored, "elevation")


def test_a_layer_is_not_made_from_itself_while_it_is_replaced(stored: Path) -> None:
    cube = tpsoil.open_cube(stored)
    with pytest.raises(
        InputError, match=r"'elevation' would be read from the layer that it replaces; .load\(\) it first"
    ):
        tpsoil.add_layer(stored, "elevation", cube["elevation"] + 1, overwrite=True, units="m", crs="EPSG:4326")
    before = cube["elevation"].load()
    tpsoil.add_layer(stored, "elevation", before + 1, overwrite=True, crs="EPSG:4326")
    np.testing.assert_array_equal(tpsoil.open_cube(stored)["elevation"].values, before.values + 1)
    tpsoil.create_cube("memory://copied", GRID, chunks=8, overwrite=True)
    for _ in range(2):  # from another cube's layer of the same name it may
        tpsoil.add_layer("memory://copied", "elevation", tpsoil.open_cube(stored)["elevation"], overwrite=True)


@pytest.mark.parametrize("how", [{"chunks": {}}, {"chunks": {}, "inline_array": True}, {"cache": False}])
def test_a_layer_is_not_made_from_itself_whoever_opened_it(stored: Path, how: dict[str, Any], tmp_path: Path) -> None:
    """A layer of `xr.open_zarr` was deleted before it was read: the new layer had no value in any cell."""
    before = tpsoil.open_cube(stored).load()
    for folder in (stored, shutil.copytree(stored, tmp_path / "copy.zarr")):
        cube = xr.open_dataset(folder, engine="zarr", consolidated=False, **how)
        other = cube["elevation"].assign_coords(before.coords)
        if "chunks" in how:  # without, a sum is in memory already
            other += 1
        with pytest.raises(InputError, match="layer that it replaces") if folder == stored else nullcontext():
            tpsoil.add_layer(stored, "elevation", other, overwrite=True, units="m", crs="EPSG:4326")
        now = tpsoil.open_cube(stored)["elevation"]
        np.testing.assert_array_equal(now, before["elevation"] + (folder != stored and "chunks" in how))


def test_a_layer_is_not_replaced_by_its_own_file(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tpsoil.open_cube(stored).load()
    monkeypatch.chdir(stored.parent)
    for path in (stored, stored.name, [stored]):
        with pytest.raises(InputError, match="'elevation' would be read from the layer that it replaces; export it"):
            tpsoil.add_layer(stored, "elevation", path, overwrite=True)
    np.testing.assert_array_equal(tpsoil.open_cube(stored)["elevation"], before["elevation"])
    for _ in range(2):  # from another layer of the same cube it may be replaced
        tpsoil.add_layer(stored, "terrain_ruggedness", stored, variable="elevation", overwrite=True)
    np.testing.assert_array_equal(tpsoil.open_cube(stored)["terrain_ruggedness"], before["elevation"])


def test_an_object_store(dem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 on loopback; keys and endpoint come from the environment, the URL holds none."""
    server_module = pytest.importorskip("moto.server", reason="needs the extras test and cloud")
    s3fs = pytest.importorskip("s3fs", reason="needs the extra cloud")
    import boto3

    s3fs.S3FileSystem.clear_instance_cache()  # it remembers the endpoint of an earlier test

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for key, value in {
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "thing", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():  # fmt: skip
            monkeypatch.setenv(key, value)
        boto3.client("s3").create_bucket(Bucket="soil")
        place = "s3://soil/plateau/cube.zarr"
        with pytest.raises(MissingInputError, match="s3://soil/plateau/cube.zarr: no Zarr group"):
            tpsoil.open_cube(place)
        tpsoil.create_cube(place, GRID, chunks=8)
        with pytest.raises(StoreExistsError, match="already exists"):
            tpsoil.create_cube(place, GRID)
        tpsoil.add_layer(place, "elevation", dem)
        assert float(tpsoil.open_cube(place)["elevation"].max()) < 6000
        assert datacube.check_cube(place).good
        assert datacube.missing_chunks(place) == {"elevation": []}
        tpsoil.create_cube(place, GRID, chunks=8, overwrite=True)
        assert list(tpsoil.open_cube(place).data_vars) == []
        with pytest.raises(AccessError, match="s3://nobody/cube.zarr: cannot be written .*bucket"):
            tpsoil.create_cube("s3://nobody/cube.zarr", GRID)
    finally:
        server.stop()


def test_a_store_that_is_a_link_or_a_path_object(tmp_path: Path, dem: Path) -> None:
    place = tmp_path / "real.zarr"
    tpsoil.create_cube(place, GRID)
    os.symlink(place, tmp_path / "link.zarr")
    tpsoil.add_layer(tmp_path / "link.zarr", "elevation", dem)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "elevation" in tpsoil.open_cube(f"file://{place}")
