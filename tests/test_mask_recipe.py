"""Recipes: water and ice are masked whatever samples fall there, and own class layers are classes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer

from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.errors import RecipeError
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.recipes import run

BOX = grid_from_bounds("EPSG:3035", (4_000_000, 3_000_000, 4_032_000, 3_032_000), 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube with land cover, where a quarter is water and ice, own classes 1, 2, 3 and 9, and samples everywhere."""
    folder = tmp_path_factory.mktemp("mask")
    store = str(folder / "cube.zarr")
    create_cube(store, BOX, chunks=16, overwrite=True)
    row, col = np.mgrid[:32, :32]
    water = np.where(col < 10, 15, 0)
    cover = np.where(row < 6, water, np.where(col > 28, 13, np.where(col > 13, 10, 12))).astype("uint8")
    own = np.where(col > 29, 9, 1 + (col // 10)).astype("float32")
    own[31, 31] = np.nan
    named: dict[str, Any] = {"land_cover": (cover, {}), "my_units": (own, {"units": "1", "kind": "categorical"})}
    named["elevation"] = ((1000 + 10 * col + row).astype("float32"), {})
    for name, (values, options) in named.items():
        add_layer(store, name, xr.DataArray(values, dims=("y", "x"), coords=coordinates(BOX)), **options)
    at = (col < 29) & ((row + col) % 3 == 0)
    x, y = BOX.transform * (col[at] + 0.5, row[at] + 0.5)
    lon, lat = Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True).transform(x, y)
    iron = 100.0 * own[at]
    pd.DataFrame({"longitude": lon, "latitude": lat, "Fe": iron, "plot": np.arange(len(lon))}).to_csv(
        folder / "samples.csv", index=False
    )
    return folder


def recipe_of(folder: Path, output: Path, **elements: Any) -> dict[str, Any]:
    return {
        "run": {"name": "mask", "output": str(output / "maps.zarr"), "cube": str(folder / "cube.zarr")},
        "elements": {
            "samples": str(folder / "samples.csv"), "elements": ["Fe"], "features": ["elevation", "land_cover"],
            "trees": 10, "folds": ["random"], "unseen_classes": "nodata", "site": "plot", "log": False,
            "check_units": False, **elements,
        },
    }  # fmt: skip


@pytest.mark.parametrize("masked", ["move", "drop", "keep"])
def test_water_and_ice_stay_empty_whatever_samples_fall_there(folder: Path, tmp_path: Path, masked: str) -> None:
    maps = run(recipe_of(folder, tmp_path, masked_samples=masked, interval=0.9), progress=False)
    wet = np.isin(open_cube(folder / "cube.zarr")["land_cover"].values, [0, 15])
    for name in ("iron", "iron_sd", "iron_lower", "iron_upper", "iron_dissimilarity"):
        assert not np.isfinite(maps[name].values[wet]).any()
    assert (maps["iron_applicability"].values[wet] == 255).all()
    assert np.isfinite(maps["iron"].values[8:, 2:27]).all()
    mask = maps["soil_mask"]
    assert ((mask.values == 0) == wet).all()
    assert mask.attrs["masked_surfaces"] == "water ice"
    note = maps["iron"].attrs.get("samples_on_masked_cells", "")
    samples = len(pd.read_csv(folder / "samples.csv"))
    if masked == "keep":
        assert note == ""
    elif masked == "drop":
        assert f" of {samples} samples lie on cells without soil (water, ice or masked); 58 left out: 0, 1, 2" in note
        assert maps["iron"].attrs["samples_used"] == samples - 58
    else:
        assert "19 moved to the nearest cell with soil within 2 km" in note
        assert maps["iron"].attrs["samples_used"] == samples - 39


def test_built_up_land_is_masked_by_option(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(folder, tmp_path)
    recipe["mask"] = {"no_soil": ["water", "ice", "rock", "built_up"]}
    maps = run(recipe, progress=False)
    cover = open_cube(folder / "cube.zarr")["land_cover"].values
    assert ((maps["soil_mask"].values == 0) == np.isin(cover, [0, 13, 15])).all()
    assert not np.isfinite(maps["iron"].values[cover == 13]).any()


def test_a_mask_of_the_user_stays_and_water_is_masked_beside_it(folder: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "cube.zarr")
    shutil.copytree(folder / "cube.zarr", store)
    own = np.ones(BOX.shape, "uint8")
    own[20:24] = 0
    add_layer(store, "soil_mask", xr.DataArray(own, dims=("y", "x"), coords=coordinates(BOX)))
    recipe = recipe_of(folder, tmp_path, features=["elevation"])
    recipe["run"]["cube"] = store
    maps = run(recipe, progress=False)
    wet = np.isin(open_cube(store)["land_cover"].values, [0, 15])
    np.testing.assert_array_equal(np.isfinite(maps["iron"].values), ~wet & (own == 1))


def test_a_mask_of_nothing_is_rejected(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(folder, tmp_path, features=["elevation"])
    recipe["mask"] = {}
    recipe_with_crs = {**recipe_of(folder, tmp_path), "mask": {"no_soil": ["water"], "crs": "EPSG:3035"}}
    with pytest.raises(RecipeError, match="crs has no effect without polygons"):
        run(recipe_with_crs, progress=False)
    with pytest.raises(RecipeError, match="is empty, expected boundary, glaciers, lakes or no_soil"):
        run(recipe, progress=False)


def test_an_own_class_layer_is_classes_in_a_recipe(folder: Path, tmp_path: Path) -> None:
    maps = run(recipe_of(folder, tmp_path, features=["my_units"], trees=40), progress=False)
    iron = maps["iron"].values
    np.testing.assert_allclose([iron[20, 5], iron[20, 15], iron[20, 25]], [100, 200, 300])
    assert np.isnan(iron[20, 31])
    assert np.isnan(iron[31, 31])
    assert maps["iron"].attrs["unseen_classes"] == "my_units: 9"
