"""No map of soil carries a value on water or ice, whatever samples fall there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tpsoil.cube import sample_cube
from tpsoil.errors import InputError
from tpsoil.forest import TrainedForest, area_of_applicability, predict_cube, train
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.micronutrients import map_elements, train_elements
from tpsoil.soil_mask import place_on_soil, surface_codes, with_soil_mask
from tpsoil.solum import PUBLISHED, thickness
from tpsoil.variables import IGBP, variable

BOX = grid_from_bounds("EPSG:3035", (4_000_000, 3_000_000, 4_008_000, 3_006_000), 1000)
WATER, ICE, GRASS, BARREN, URBAN = 0, 15, 10, 16, 13


def layer(values: np.ndarray, name: str, **attrs: object) -> xr.DataArray:
    known = variable(name).attributes() if name in {"land_cover", "slope", "soil_mask"} else {}
    return xr.DataArray(values, dims=("y", "x"), coords=coordinates(BOX), attrs={**known, **attrs}, name=name)


@pytest.fixture
def cube() -> xr.Dataset:
    classes = np.full(BOX.shape, GRASS, np.uint8)
    classes[:, 0], classes[0, 1:] = WATER, ICE
    classes[3, 4], classes[3, 5] = BARREN, URBAN
    slope = np.linspace(1, 40, classes.size, dtype=np.float32).reshape(classes.shape)
    return xr.Dataset({"land_cover": layer(classes, "land_cover"), "slope": layer(slope, "slope")})


@pytest.fixture
def samples(cube: xr.Dataset) -> pd.DataFrame:
    """Samples in every cell, on water and ice too, so that training sees all classes."""
    rows, cols = (part.ravel() for part in np.mgrid[: BOX.shape[0], : BOX.shape[1]])
    table = pd.DataFrame({"x": cube.x.values[cols], "y": cube.y.values[rows], "site": np.arange(rows.size)})
    return table.assign(Fe=20_000 + 500.0 * cols + np.random.default_rng(0).normal(0, 100, rows.size))


def values_on(maps: xr.Dataset, cells: xr.DataArray) -> int:
    """Cells with a value in any of the maps."""
    count = 0
    for name, each in maps.data_vars.items():
        if each.ndim == 2 and name != "soil_mask":
            known = each.notnull() if each.dtype.kind == "f" else each != 255
            count += int((known & cells).sum())
    return count


def test_classes_are_recognised_by_what_they_mean() -> None:
    assert set(surface_codes(IGBP, ["water", "ice", "rock", "built_up"])) == {0, 13, 15, 16}
    others = {
        1: "Water-laid sediment",
        2: "open_water".replace("_", " "),
        3: "Permanent snow/ice",
        4: "Built-up",
        5: "Soil",
    }
    assert set(surface_codes(others, ["water", "ice", "built_up"])) == {2, 3, 4}
    with pytest.raises(InputError, match="surface 'lava'"):
        surface_codes({}, ["lava"])


def test_the_mask_of_a_cube_without_one(cube: xr.Dataset) -> None:
    mask = with_soil_mask(cube)["soil_mask"]
    wet = cube.land_cover.isin([WATER, ICE])
    assert ((mask == 0) == wet).all()
    assert mask.dtype == np.uint8
    assert mask.attrs["masked_classes"] == "land_cover: 0 water, 15 snow and ice"
    assert mask.attrs["parents"] == "land_cover"
    assert mask.attrs["masked_surfaces"] == "water ice"
    wider = with_soil_mask(cube, no_soil=["water", "ice", "rock", "built_up"])["soil_mask"]
    assert int((wider == 0).sum()) == int(wet.sum()) + 2
    assert "soil_mask" not in cube


def test_a_mask_stays_and_water_is_masked_beside_it(cube: xr.Dataset) -> None:
    own = np.ones(BOX.shape, np.uint8)
    own[5] = 0
    given = cube.assign(soil_mask=layer(own, "soil_mask"))
    mask = with_soil_mask(given)["soil_mask"]
    assert (mask[5] == 0).all()
    assert (mask[:, 0] == 0).all()
    assert int(mask.sum()) == 4 * 7
    alone = with_soil_mask(given, no_soil=())
    assert (alone["soil_mask"] == own).all()
    assert with_soil_mask(alone) is alone, "a complete mask decides alone"


def test_more_surfaces_are_masked_beside_a_mask_of_water_and_ice(cube: xr.Dataset) -> None:
    surfaces = ["water", "ice", "rock", "built_up"]
    once, twice = with_soil_mask(cube, no_soil=surfaces), with_soil_mask(with_soil_mask(cube), no_soil=surfaces)
    assert (twice["soil_mask"] == once["soil_mask"]).all()
    assert twice["soil_mask"].attrs["masked_surfaces"] == once["soil_mask"].attrs["masked_surfaces"]
    assert twice["soil_mask"].attrs["masked_classes"].startswith("land_cover: 0 water, 15 snow and ice; land_cover: ")
    assert with_soil_mask(twice, no_soil=["rock"]) is twice
    assert with_soil_mask(twice) is twice


def test_the_mask_is_lazy_and_the_same_on_every_chunking(cube: xr.Dataset) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    with dask.config.set(scheduler=forbidden):
        lazy = with_soil_mask(cube.chunk({"y": 4, "x": 3}))
    assert lazy["soil_mask"].chunks is not None
    assert (lazy["soil_mask"].compute() == with_soil_mask(cube)["soil_mask"]).all()


def test_no_map_of_an_element_has_a_value_on_water_or_ice(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    wet = cube.land_cover.isin([WATER, ICE])
    for on_masked in ("move", "drop", "keep"):
        warned = pytest.warns(UserWarning, match="samples lie on cells without soil")
        with warned if on_masked != "keep" else contextlib.nullcontext():
            maps = map_elements(
                samples, cube, ["Fe"], ["slope", "land_cover"], trees=10, n_folds=3, folds="random", on_masked=on_masked
            )
        assert values_on(maps, wet) == 0
        assert values_on(maps[["iron"]], ~wet) > 0
        assert maps["iron"].attrs["masked_surfaces"] == "water ice"


def test_no_other_map_of_a_forest_has_one_either(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    wet = cube.land_cover.isin([WATER, ICE])
    rows = samples.assign(slope=cube.slope.values.ravel(), land_cover=cube.land_cover.values.ravel())
    trained = train(rows, "Fe", ["slope", "land_cover"], trees=10, folds="random")
    assert (set(trained.encoding.levels["land_cover"])) == {0, 10, 13, 15, 16}, "training saw water"
    for maps in (
        trained.predict_cube(cube),
        train(rows, "Fe", ["slope"], trees=10, folds="random").predict_cube(cube),
        predict_cube(trained, cube),
        area_of_applicability(trained, cube),
        area_of_applicability(rows[["slope"]], cube),
    ):
        assert values_on(maps, wet) == 0
        assert values_on(maps, ~wet) > 0


def test_no_solum_thickness_on_water_or_ice(cube: xr.Dataset) -> None:
    forcing = {
        "mean_annual_temperature": (5.0, "degC"), "annual_precipitation": (500.0, "mm"),
        "water_erosion": (2.0, "t ha-1 a-1"), "wind_erosion": (1.0, "t ha-1 a-1"), "general_curvature": (0.0, "m-1"),
    }  # fmt: skip
    layers = {name: layer(np.full(BOX.shape, value), name, units=unit) for name, (value, unit) in forcing.items()}
    wet = cube.land_cover.isin([WATER, ICE])
    maps = thickness(cube.assign(layers), PUBLISHED[1])
    assert values_on(maps, wet) == 0
    assert int(maps["solum_thickness"].notnull().sum()) == int((~wet).sum())


def test_samples_on_masked_cells_are_moved_counted_and_named(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    with pytest.warns(UserWarning, match=r"13 of 48 samples .*; 12 moved .* within 1 km: 1, .*; 1 left out: 0"):
        trained = train_elements(
            samples, ["Fe"], ["slope", "land_cover"], cube=cube, trees=5, folds="random", masked_within_m=1000.0
        )["Fe"]
    assert trained.counts["masked_moved"] == 12
    assert trained.counts["masked_dropped"] == 1, "the corner has no soil near"
    assert set(trained.encoding.levels["land_cover"]) == {10, 13, 16}
    assert trained.rows["slope"].loc[1] == cube.slope.values[1, 1], "of the cell it was moved to"
    with pytest.warns(UserWarning, match="13 left out: 0, 1, 2"):
        dropped = train_elements(samples, ["Fe"], ["slope"], cube=cube, trees=5, folds="random", on_masked="drop")["Fe"]
    assert dropped.counts["masked_dropped"] == 13
    assert dropped.counts["used"] == 35


def test_sample_cube_moves_points_too(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    kept = sample_cube(cube, samples)
    assert len(kept) == 48
    assert set(kept["land_cover"]) == {0, 10, 13, 15, 16}
    moved = sample_cube(cube, samples, on_masked="move")
    assert len(moved) == 48
    assert set(moved["land_cover"]) == {10, 13, 16}
    assert moved.attrs["points_masked"] == moved.attrs["points_moved"] == 13
    assert "13 moved to the nearest cell with soil within 2 km: 0, 1" in moved.attrs["masked_note"]
    assert len(sample_cube(cube, samples, on_masked="drop")) == 35


@pytest.mark.parametrize("chunks", [None, 3])
def test_the_nearest_cell_with_soil(chunks: int | None) -> None:
    """Against a search over all cells."""
    rng = np.random.default_rng(4)
    soil = (rng.random(BOX.shape) < 0.3).astype(np.uint8)
    mask = layer(soil, "soil_mask")
    mask = mask if chunks is None else mask.chunk(chunks)
    rows, cols = (part.ravel() for part in np.mgrid[: BOX.shape[0], : BOX.shape[1]])
    places = place_on_soil(mask, rows, cols, within_m=1500)
    at = np.argwhere(soil == 1)
    for k, (row, col) in enumerate(zip(rows, cols)):
        best = np.hypot(at[:, 0] - row, at[:, 1] - col).min()
        assert places.masked[k] == (best > 0)
        assert places.moved[k] == (0 < best <= 1.5)
        got = np.hypot(places.rows[k] - row, places.cols[k] - col)
        assert got == (best if best <= 1.5 else 0)


@pytest.mark.parametrize(("options", "words"), [({"on_masked": "swim"}, "'swim'"), ({"within_m": 0.0}, "0 m")])
def test_places_reject(cube: xr.Dataset, options: dict, words: str) -> None:
    mask = with_soil_mask(cube)["soil_mask"]
    with pytest.raises(InputError, match=words):
        place_on_soil(mask, np.array([0]), np.array([0]), **options)


@pytest.mark.parametrize("entry", [lambda t, c: t.predict_cube(c), lambda t, c: t.compile().predict_cube(c)])
def test_predict_cube_of_one_layer_shows_what_to_pass(
    cube: xr.Dataset, samples: pd.DataFrame, entry: Callable[[TrainedForest, object], object]
) -> None:
    trained = train(samples.assign(slope=cube.slope.values.ravel()), "Fe", ["slope"], trees=3, folds="random")
    with pytest.raises(InputError, match=r"DataArray, expected a Dataset .* layer.to_dataset\(name='slope'\)"):
        entry(trained, cube["slope"])
    with pytest.raises(InputError, match=r"is a str, expected a Dataset .* tpsoil.open_cube"):
        entry(trained, "cube.zarr")
