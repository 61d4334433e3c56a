"""One locator for every reader of points: the same rows, the same cells, the same errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer

import tpsoil
from tpsoil.errors import InputError
from tpsoil.forest import train
from tpsoil.grid import PLATEAU_CRS, coordinates, grid_from_bounds
from tpsoil.micronutrients.training_rows import with_covariates
from tpsoil.points import locate_points, named_columns, position_columns, position_groups
from tpsoil.solum.observations import prepare_profiles, values_at

GRID = grid_from_bounds(PLATEAU_CRS, (-200_000, -150_000, 200_000, 150_000), 10_000)


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    """A cube whose one layer is the number of the cell."""
    values = np.arange(GRID.shape[0] * GRID.shape[1], dtype=np.float32).reshape(GRID.shape)
    return xr.Dataset({"elevation": (("y", "x"), values)}, coords=coordinates(GRID))


def places(n: int = 50) -> pd.DataFrame:
    """Points with both pairs of columns, which agree."""
    generator = np.random.default_rng(1)
    x, y = generator.uniform(-199_000, 199_000, n), generator.uniform(-149_000, 149_000, n)
    lon, lat = Transformer.from_crs(PLATEAU_CRS, "EPSG:4326", always_xy=True).transform(x, y)
    return pd.DataFrame({"lon": lon, "lat": lat, "x": x, "y": y})


def by_sampling(cube: xr.Dataset, points: pd.DataFrame) -> list[float]:
    return sample(cube, points)["elevation"].tolist()


def sample(cube: xr.Dataset, points: pd.DataFrame) -> pd.DataFrame:
    return tpsoil.sample_cube(cube, points)


def by_solum(cube: xr.Dataset, points: pd.DataFrame) -> list[float]:
    return values_at(cube, points, ["elevation"])["elevation"].tolist()


def by_elements(cube: xr.Dataset, points: pd.DataFrame) -> list[float]:
    return with_covariates(points, ["elevation"], cube)[0]["elevation"].tolist()


READERS = [by_sampling, by_solum, by_elements]


@pytest.mark.parametrize("columns", [["lon", "lat"], ["x", "y"], ["lon", "lat", "x", "y"]])
@pytest.mark.parametrize("names", [{}, {"lon": "Long", "lat": "LAT", "x": "X", "y": "Y"}, {"lon": "longitude"}])
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_the_same_cell(
    cube: xr.Dataset,
    reader: Callable[[xr.Dataset, pd.DataFrame], list[float]],
    names: dict[str, str],
    columns: list[str],
) -> None:
    points = places()
    column = np.floor((points["x"] + 200_000) / 10_000)
    row = np.floor((150_000 - points["y"]) / 10_000)
    assert reader(cube, points[columns].rename(columns=names)) == (row * GRID.shape[1] + column).tolist()


@pytest.mark.parametrize("reader", READERS)
def test_positions_that_disagree_are_an_error_that_names_the_rows(
    cube: xr.Dataset, reader: Callable[[xr.Dataset, pd.DataFrame], list[float]]
) -> None:
    points = places()
    points.loc[[3, 7], "x"] -= 50_000
    with pytest.raises(InputError, match=r"different places in 2 of 50 rows \(lines 5, 9\), up to 5 cells apart"):
        reader(cube, points)


def test_less_than_a_cell_apart_is_one_place_and_a_missing_pair_is_filled(cube: xr.Dataset) -> None:
    points = places(3)
    shifted = points.assign(x=points["x"] + 4_000)
    assert by_sampling(cube, shifted) == by_sampling(cube, points[["lon", "lat"]])
    lacking = points.assign(lon=[np.nan, *points["lon"][1:]])
    assert by_sampling(cube, lacking) == by_sampling(cube, points)


def test_positions_as_text_are_numbers(cube: xr.Dataset) -> None:
    points = places(4).astype(str)
    assert by_sampling(cube, points) == by_solum(cube, points) == by_elements(cube, points)


def test_a_full_turn_names_one_meridian() -> None:
    grid = grid_from_bounds("EPSG:4326", (80, 30, 90, 35), 0.5)
    rows, columns = locate_points(pd.DataFrame({"lng": [-279.75, 80.25], "lat": [32.2, 32.2]}), grid, where="p")
    assert rows.tolist() == [5, 5]
    assert columns.tolist() == [0, 0]


def samples() -> pd.DataFrame:
    generator = np.random.default_rng(2)
    table = pd.DataFrame({"long": generator.uniform(75, 100, 60), "lat": generator.uniform(28, 38, 60)})
    table["slope"] = generator.uniform(0, 30, 60)
    return table.assign(Fe=100 + table["slope"])


def test_folds_know_every_name_of_a_position() -> None:
    trained = train(samples(), "Fe", ["slope"], trees=5)
    assert list(trained.scores.index) == ["random", "block"]
    assert trained.settings["folds"]["block"] == "blocks of 3 degrees"
    projected = train(samples().rename(columns={"long": "X", "lat": "Y"}), "Fe", ["slope"], trees=5)
    assert projected.settings["folds"]["block"] == "blocks of 3 m"


def test_replicates_at_one_position_share_a_fold() -> None:
    table = pd.concat([samples()] * 3, ignore_index=True)
    with pytest.warns(UserWarning, match=r"180 rows lie at 60 positions and no groups= names their sites"):
        trained = train(table, "Fe", ["slope"], trees=5)
    assert list(trained.scores.index) == ["random", "group", "block"]
    assert trained.folds["group"].to_numpy().reshape(3, 60).std(axis=0).max() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(table.assign(site=np.tile(np.arange(60), 3)), "Fe", ["slope"], "site", trees=5)


def test_profiles_at_one_position_are_merged_by_the_same_rule() -> None:
    pit = {"mean_annual_temperature": 3.0, "annual_precipitation": 600.0, "water_erosion": 2.0, "wind_erosion": 1.0}
    table = pd.DataFrame([{**pit, "general_curvature": 0.0, "solum_thickness": t} for t in (0.5, 0.7, 0.9)])
    table["Longitude"], table["Latitude"] = [91.0, 91.0, 92.0], 30.0
    observations = prepare_profiles(table)
    assert observations.table["solum_thickness"].tolist() == pytest.approx([0.6, 0.9])


def test_groups_of_positions() -> None:
    table = pd.DataFrame({"lon": [91.0, 92.0, 91.0, np.nan, np.nan], "lat": [30.0] * 5})
    assert position_groups(table, where="t").tolist() == [0, 1, 0, 2, 3]  # type: ignore[union-attr]
    assert position_groups(table[["lat"]], where="t") is None
    with pytest.raises(InputError, match="columns 'lat' have no position; expected lon and lat"):
        position_columns(table[["lat"]], where="t")


def test_named_columns_with_a_unit_are_degrees(cube: xr.Dataset) -> None:
    """`Longitude (deg)` was recognised without being named, and taken for metres where it was."""
    table = pd.DataFrame({"Longitude (deg)": [89.1], "Latitude (deg)": [33.2]})
    assert named_columns(table, tuple(table.columns), where="t").degrees
    assert locate_points(table, GRID, where="t") == locate_points(
        table.set_axis(["lon", "lat"], axis=1), GRID, where="t"
    )
    chinese = table.set_axis(["经度", "纬度"], axis=1)
    assert position_columns(chinese, where="t").degrees


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258", "OGC:CRS84"])
def test_a_meridian_has_two_names_on_every_geographic_grid(crs: str) -> None:
    grid = grid_from_bounds(crs, (180, 40, 360, 50), 1)
    points = pd.DataFrame({"lon": [-5.5, 354.5], "lat": [45.5, 45.5]})
    rows, columns = locate_points(points, grid, where="points")
    assert (rows.tolist(), columns.tolist()) == ([4, 4], [174, 174])
