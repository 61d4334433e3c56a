"""A store as other software opens it: conventions, consolidated metadata, overviews; stores of an earlier tpsoil."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_run
import xarray as xr
import zarr
from affine import Affine
from zarr.storage import LocalStore, MemoryStore

import tpsoil
from tpsoil import cube as datacube
from tpsoil.cube import regions
from tpsoil.cube.chunks import read_objects
from tpsoil.cube.codecs import earlier_layer_codecs, layer_codecs
from tpsoil.cube.conventions import overview_paths
from tpsoil.cube.layout import lay_out_cube
from tpsoil.cube.overviews import halved
from tpsoil.errors import InputError, MissingInputError
from tpsoil.grid import PLATEAU_CRS, coordinates, grid_from_bounds
from tpsoil.recipes import run

GRID = grid_from_bounds(PLATEAU_CRS, (0, 0, 551_000, 303_000), 1000)  # 303 x 551: one level, odd in both directions


def root_of(place: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((place / "zarr.json").read_text())
    return document


def on_grid(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("y", "x"), coords=coordinates(GRID))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "cube.zarr"
    tpsoil.create_cube(place, GRID, chunks=128)
    values = np.random.default_rng(0).normal(4000, 300, GRID.shape).astype(np.float32)
    values[:5, :7] = np.nan
    tpsoil.add_layer(place, "elevation", on_grid(values))
    aspect = np.where(np.arange(GRID.shape[1]) % 2, 350.0, 20.0) * np.ones(GRID.shape)
    tpsoil.add_layer(place, "aspect", on_grid(aspect))
    classes = np.full(GRID.shape, 2, np.uint8)
    classes[0, :2], classes[2:4, :2], classes[4:6, :2] = (5, 5), 255, [[4, 3], [255, 255]]
    tpsoil.add_layer(place, "climate_zone", on_grid(classes), nodata=255)
    return place


def test_the_grid_stands_in_the_conventions(place: Path) -> None:
    attrs = root_of(place)["attributes"]
    assert [one["name"] for one in attrs["zarr_conventions"]] == ["proj:", "spatial:"]
    assert attrs["proj:wkt2"] == GRID.crs.to_wkt()
    assert "proj:code" not in attrs  # the plateau's CRS has no code
    assert Affine(*attrs["spatial:transform"]) == GRID.transform
    assert attrs["spatial:shape"] == list(GRID.shape)
    assert attrs["spatial:bbox"] == [0, 0, 551_000, 303_000]
    assert not [key for key in tpsoil.open_cube(place).attrs if ":" in key or key == "zarr_conventions"]


def test_a_complete_cube_opens_without_a_warning_and_one_being_written_is_not_consolidated(place: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(place)
    assert set(opened.data_vars) == {"elevation", "aspect", "climate_zone"}
    np.testing.assert_array_equal(opened["elevation"].values, tpsoil.open_cube(place)["elevation"].values)
    datacube.create_layers(place, [tpsoil.variables.variable("slope")])
    assert "consolidated_metadata" not in root_of(place)
    datacube.remove_layers(place, ["slope"])
    assert set(root_of(place)["consolidated_metadata"]["metadata"]) == {*opened.variables}


def test_tpsoil_reads_the_store_and_not_the_copy_of_its_descriptions(place: Path) -> None:
    document = root_of(place)
    document["consolidated_metadata"]["metadata"]["elevation"]["attributes"]["units"] = "km"
    del document["consolidated_metadata"]["metadata"]["aspect"]
    (place / "zarr.json").write_text(json.dumps(document))
    cube = tpsoil.open_cube(place)
    assert cube["elevation"].attrs["units"] == "m"
    assert "aspect" in cube


def test_an_overview_averages_what_is_there(place: Path) -> None:
    assert datacube.write_overviews(place) == [
        f"overviews/2/{name}" for name in ("aspect", "climate_zone", "elevation")
    ]
    half, cube = tpsoil.open_cube(place / "overviews" / "2"), tpsoil.open_cube(place)
    assert half.sizes == {"y": 152, "x": 276}
    values = np.pad(cube["elevation"].values.astype(float), ((0, 1), (0, 1)), constant_values=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of blocks without a value
        expected = np.nanmean(values.reshape(152, 2, 276, 2), axis=(1, 3))
    np.testing.assert_allclose(half["elevation"].values, expected, rtol=1e-6)
    np.testing.assert_allclose(half["aspect"].values[:, :-1], 5.0, atol=1e-4)  # 350 and 20 degrees, not 185
    # Two of 5 against two of 2: the lower code; nothing there; one 3 and one 4: the lower.
    assert half["climate_zone"].values[:3, 0].tolist() == [2, 255, 3]
    assert half["elevation"].attrs["units"] == "m"
    assert datacube.check_cube(place / "overviews" / "2").good
    assert half.odc.geobox.transform == GRID.transform * Affine.scale(2)


def test_a_layer_is_not_replaced_by_its_own_overview(place: Path) -> None:
    datacube.write_overviews(place)
    half = tpsoil.open_cube(place / "overviews/2")["elevation"].load()
    with pytest.raises(InputError, match="'elevation' would be read from the layer that it replaces"):
        tpsoil.add_layer(place, "elevation", place / "overviews/2", overwrite=True)
    np.testing.assert_array_equal(tpsoil.open_cube(place / "overviews/2")["elevation"], half)


def test_the_store_declares_its_overviews_and_opens_at_once(place: Path) -> None:
    datacube.write_overviews(place)
    root = root_of(place)
    entries = {entry["asset"]: entry for entry in root["attributes"]["multiscales"]["layout"]}
    assert entries["overviews/2/elevation"]["derived_from"] == "elevation"
    assert entries["overviews/2/elevation"]["transform"]["scale"] == [2.0, 2.0]
    assert entries["overviews/2/elevation"]["spatial:shape"] == [152, 276]
    assert entries["overviews/2/climate_zone"]["resampling_method"] == "mode"
    assert "overviews/2/elevation" in root["consolidated_metadata"]["metadata"]
    assert datacube.write_overviews(place) == []
    assert root_of(place) == root
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(xr.open_zarr(place).data_vars) == {"elevation", "aspect", "climate_zone"}
        assert xr.open_zarr(place, group="overviews/2")["elevation"].shape == (152, 276)
    assert datacube.check_cube(place).layers == 3
    with pytest.raises(MissingInputError, match="no complete layer 'aspekt'"):
        datacube.write_overviews(place, ["aspekt"])


def test_a_layer_that_changes_loses_its_overviews(place: Path) -> None:
    datacube.write_overviews(place)
    tpsoil.add_layer(place, "elevation", on_grid(np.zeros(GRID.shape)), overwrite=True)
    assert set(overview_paths(root_of(place)["attributes"])) == {"aspect", "climate_zone"}
    assert not (place / "overviews" / "2" / "elevation").exists()
    assert datacube.write_overviews(place) == ["overviews/2/elevation"]
    assert (tpsoil.open_cube(place / "overviews" / "2")["elevation"].values == 0).all()


def test_means_of_overviews_exceed_no_type_that_holds_their_cells() -> None:
    large = np.full((4, 4), 3e38, np.float32)
    large[0, 0] = np.nan
    half = halved(large, "continuous", np.nan)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, 3e38, rtol=1e-6)
    assert np.isinf(halved(np.full((2, 2), np.inf, np.float32), "continuous", np.nan)).all()


@pytest.mark.parametrize("kind", ["continuous", "circular"])
def test_an_overview_of_a_block_is_that_of_its_parts(kind: str) -> None:
    """Whether a chunk changed or all of them are written: also where one of them has an infinite cell."""
    rng = np.random.default_rng(3)
    block = rng.uniform(0, 360, (64, 64)).astype(np.float32)
    block[rng.random(block.shape) < 0.2] = np.nan
    block[:32, :32][rng.random((32, 32)) < 0.9] = np.nan
    if kind == "continuous":
        block[40, 3], block[50, 7:9] = np.inf, 3e38
    complete = halved(block, kind, np.nan)
    for rows, cols in (
        (rows, cols) for rows in (slice(0, 32), slice(32, 64)) for cols in (slice(0, 32), slice(32, 64))
    ):
        half = slice(rows.start // 2, rows.stop // 2), slice(cols.start // 2, cols.stop // 2)
        assert halved(block[rows, cols], kind, np.nan).tobytes() == complete[half].tobytes()


def test_a_run_writes_overviews_of_its_maps_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_run.make_small(tmp_path, side=48, chunk=24)
    monkeypatch.setattr("tpsoil.cube.levels.COARSEST_CELLS", 24)
    maps = run(recipe)
    place = Path(recipe["run"]["output"])
    declared = overview_paths(root_of(place)["attributes"])
    assert set(declared) == set(map(str, maps.data_vars))
    before = small_run.files_of(place)
    run(recipe)
    assert small_run.files_of(place) == before
    array = zarr.open_array(recipe["run"]["cube"], path="water_erosion", mode="r+")
    array[30:34, 2:5] = 2.5
    monkeypatch.setattr("tpsoil.cube.overviews.halved", lambda *block: halves.append(block) or halved(*block))
    halves: list[Any] = []
    run(recipe)
    after = small_run.files_of(place)
    fine = {name for name in maps.data_vars if before[f"{name}/c/1/0"] != after[f"{name}/c/1/0"]}
    assert fine
    assert fine < {name for name in maps.data_vars if "water_erosion" in maps[name].attrs["parents"]}
    assert [block[0].shape for block in halves] == [(24, 24)] * len(fine)  # the changed chunk alone
    shutil.rmtree(place)
    run(recipe)
    assert small_run.files_of(place) == after
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xr.open_zarr(place)


@pytest.mark.parametrize("name", ["slope", "zone", "soil_mask", "solum_status"])
def test_a_layer_is_described_as_zarr_describes_it(name: str) -> None:
    spec, memory = tpsoil.variables.variable(name), MemoryStore()
    document = regions.layer_document(spec, (40, 50), 16, {"parents": "elevation"})
    zarr.create_array(
        memory, shape=(40, 50), chunks=(16, 16), dtype=spec.dtype, fill_value=spec.fill, dimension_names=("y", "x"),
        compressors=layer_codecs(), attributes=document["attributes"],
    )  # fmt: skip
    assert json.loads(read_objects(memory, ["zarr.json"])[0] or b"") == document


def test_a_run_of_an_earlier_tpsoil_is_completed_with_its_codecs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = small_run.make_small(tmp_path, side=48, chunk=24)
    place = Path(recipe["run"]["output"])
    with monkeypatch.context() as patch:
        patch.setattr(regions, "layer_codec_documents", earlier_layer_codecs)
        expected = run(recipe).load()
    codecs = {str(layer): json.loads((place / str(layer) / "zarr.json").read_text())["codecs"] for layer in expected}
    assert all(one[1:] == earlier_layer_codecs(expected[name].dtype.itemsize) for name, one in codecs.items())
    info = datacube.cube_info(place)
    lay_out_cube(LocalStore(tmp_path / "old"), info.grid, info.chunks, earlier_codecs=True)
    for axis in ("y", "x", "spatial_ref"):
        shutil.copytree(tmp_path / "old" / axis, place / axis, dirs_exist_ok=True)
    capfd.readouterr()
    (place / "slope" / "zarr.json").write_text("{")
    small_run.flip_bit(place / "iron" / "c" / "0" / "0")
    xr.testing.assert_equal(run(recipe).load(), expected)
    stored = {name: json.loads((place / name / "zarr.json").read_text())["codecs"] for name in codecs}
    assert stored == codecs
    assert "crc32c" not in (place / "y" / "zarr.json").read_text()
    printed = "".join(capfd.readouterr())
    assert printed.count("is not what was written; it was restored") == 1  # the description; no other object
