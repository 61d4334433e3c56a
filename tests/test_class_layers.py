"""A user's own class layer is a class layer everywhere: its stored kind, missing code and flags decide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression

import tpsoil
from tpsoil.cube import open_cube, sample_cube
from tpsoil.errors import InputError
from tpsoil.forest import area_of_applicability, predict_cube, train
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.micronutrients import map_elements, train_elements

GRID = plateau_grid(100_000)
CONTENTS = {1: 100.0, 2: 200.0, 3: 300.0}


@pytest.fixture
def cube(tmp_path: object) -> xr.Dataset:
    """A stored cube with one class layer that the catalogue does not know: 1, 2, 3 in columns, 9 and nothing."""
    store = f"memory://{abs(hash(str(tmp_path)))}"
    tpsoil.create_cube(store, GRID, overwrite=True)
    codes = np.full(GRID.shape, 1.0)
    codes[:, 8:16], codes[:, 16:24], codes[:, 24:26], codes[:, 26:] = 2, 3, 9, np.nan
    units = xr.DataArray(codes, dims=("y", "x"), coords=coordinates(GRID))
    tpsoil.add_layer(store, "my_units", units, units="1", kind="categorical")
    slope = np.linspace(1, 30, codes.size).reshape(codes.shape)
    tpsoil.add_layer(store, "slope", xr.DataArray(slope, dims=("y", "x"), coords=coordinates(GRID)), units="degree")
    return open_cube(store)


@pytest.fixture
def samples(cube: xr.Dataset) -> pd.DataFrame:
    rows, cols = (part.ravel() for part in np.mgrid[: GRID.shape[0], :24:2])
    table = pd.DataFrame({"x": cube.x.values[cols], "y": cube.y.values[rows], "site": np.arange(rows.size)})
    return table.assign(Fe=[CONTENTS[1 + c // 8] for c in cols])


def classes_of(maps: xr.Dataset, name: str) -> list[float]:
    return [round(float(maps[name].values[5, col]), 3) for col in (0, 8, 16, 24, 26)]


EXPECTED = [100.0, 200.0, 300.0, np.nan, np.nan]


def test_stored_as_integers_with_a_missing_code(cube: xr.Dataset) -> None:
    layer = cube["my_units"]
    assert layer.dtype == np.int16
    assert layer.attrs["kind"] == "categorical"
    assert "_FillValue" in layer.encoding


def test_map_elements_knows_an_own_class_layer(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    maps = map_elements(samples, cube, ["Fe"], ["my_units"], trees=30, folds="random", transform="none")
    np.testing.assert_array_equal(classes_of(maps, "iron"), EXPECTED)
    assert np.isnan(maps["iron_dissimilarity"].values[5, [24, 26]]).all()
    assert maps["iron"].attrs["unseen_categories"] == "nan"


def test_train_on_sampled_points_knows_it(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    table = sample_cube(cube, samples)
    assert table.attrs["kinds"] == {"my_units": "categorical", "slope": "continuous"}
    trained = train(table, "Fe", ["my_units"], trees=30, folds="random")
    assert trained.encoding.levels == {"my_units": (1, 2, 3)}
    np.testing.assert_array_equal(classes_of(trained.predict_cube(cube), "mean"), EXPECTED)
    assert train(table, "Fe", ["my_units"], trees=3, folds="random", categorical=[]).encoding.levels == {}, "the caller"


def test_a_table_of_its_own_takes_the_kind_from_the_cube(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    table = samples.assign(my_units=samples["Fe"] / 100)
    trained = train_elements(table, ["Fe"], ["my_units"], cube=cube, trees=3, folds="random")["Fe"]
    assert trained.encoding.levels == {"my_units": (1, 2, 3)}


def test_unseen_classes_are_nan_or_an_error_alike(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    trained = train_elements(samples, ["Fe"], ["my_units"], cube=cube, trees=5, folds="random")
    for compute in (
        lambda: map_elements(trained, cube, unseen="error").compute(),
        lambda: trained["Fe"].predict_cube(cube, unseen="error").compute(),
    ):
        with pytest.raises(InputError, match=r"'my_units' has class 9 in \d+ cells, which training never saw"):
            compute()
    with pytest.raises(InputError, match="unseen is 'zero'"):
        map_elements(trained, cube, unseen="zero")
    masked = cube.assign(soil_mask=(cube["my_units"] != 9).astype("uint8"))
    assert map_elements(trained, masked, unseen="error")["iron"].notnull().any(), "no soil, no error"


def test_missing_code_of_a_number_layer_is_no_number(samples: pd.DataFrame, cube: xr.Dataset) -> None:
    heights = np.full(GRID.shape, 1000, np.int16)
    heights[5, 8] = -32767
    whole = cube.assign(elevation=(("y", "x"), heights, {"units": "m", "_FillValue": -32767}))
    table = samples.assign(elevation=np.linspace(500, 2000, len(samples)))
    trained = train(table, "Fe", ["elevation"], trees=5, folds="random")
    for maps, name in ((trained.predict_cube(whole), "mean"), (map_elements({"Fe": trained}, whole), "iron")):
        assert np.isnan(maps[name].values[5, 8])
        assert np.isfinite(maps[name].values[5, 9])


def dissimilarity_by_definition(train_rows: np.ndarray, new: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Science sheet, section 11, on complete columns."""
    centre, sd = train_rows.mean(axis=0), train_rows.std(axis=0, ddof=1)
    a, b = ((part - centre) / sd * weights for part in (train_rows, new))
    between = np.sqrt(((a[:, None] - a[None]) ** 2).sum(axis=2))
    mean_distance = between[np.triu_indices(len(a), 1)].mean()
    return np.sqrt(((b[:, None] - a[None]) ** 2).sum(axis=2)).min(axis=1) / mean_distance


def test_dissimilarity_of_an_own_class_layer_is_that_of_dummies(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    """As CAST: a dummy for each class, standardised, each with the weight of the factor."""
    table = sample_cube(cube, samples)
    training = table[["slope", "my_units"]]
    dummies = np.stack([(training["my_units"] == k).to_numpy(dtype=float) for k in (1, 2, 3)], axis=1)
    design = np.column_stack([training["slope"].to_numpy(dtype=float), dummies])
    cells = [(0, 1), (9, 9), (17, 23)]
    codes = np.array([float(cube["my_units"].values[c]) for c in cells])
    new = np.column_stack([[float(cube["slope"].values[c]) for c in cells], *(codes == k for k in (1, 2, 3))])
    expected = dissimilarity_by_definition(design, new, np.array([1.0, 2.0, 2.0, 2.0]))
    folds = np.arange(len(training)) % 3
    plain = area_of_applicability(training, cube, weights={"slope": 1.0, "my_units": 2.0}, folds=folds)
    got = [float(plain["dissimilarity_index"].values[c]) for c in cells]
    np.testing.assert_allclose(got, expected, rtol=1e-5)  # stored as float32
    assert np.isnan(plain["dissimilarity_index"].values[5, [24, 26]]).all()
    named = pd.DataFrame({"slope": new[:, 0], "my_units": codes.astype(int)})
    rows = area_of_applicability(training, named, weights=[1.0, 2.0], folds=folds)
    np.testing.assert_allclose(rows["dissimilarity_index"], expected, rtol=1e-6)
    trained = train(table, "Fe", ["slope", "my_units"], trees=10, folds="random")
    by_forest = area_of_applicability(trained, cube, weights={"slope": 1.0, "my_units": 2.0}, folds=folds)
    got = [float(by_forest["dissimilarity_index"].values[c]) for c in cells]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_an_unseen_class_is_missing_where_training_had_missing_values(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    """Such a forest predicts a cell without a class, but not one whose class is new."""
    table = sample_cube(cube, samples).assign(slope=lambda t: t["slope"].where(t.index % 5 > 0))
    trained = train(table, "Fe", ["my_units", "slope"], trees=10, folds="random", missing="keep")
    alone, element = trained.predict_cube(cube)["mean"], map_elements({"Fe": trained}, cube, level=None)["iron"]
    np.testing.assert_array_equal(alone, element)
    np.testing.assert_array_equal(np.isnan(alone), cube["my_units"] == 9)


def test_a_layer_for_what_is_no_feature_is_rejected_everywhere(cube: xr.Dataset, samples: pd.DataFrame) -> None:
    table, wrong = sample_cube(cube, samples), {"slop": "my_units"}
    trained = train(table, "Fe", ["slope"], trees=5, folds="random")
    line = LinearRegression().fit(table[["slope"]], table["Fe"])
    for call in (
        lambda: trained.predict_cube(cube, wrong),
        lambda: predict_cube(trained, cube, wrong),
        lambda: predict_cube(line, cube, wrong),
        lambda: map_elements({"Fe": trained}, cube, layers=wrong),
        lambda: map_elements(table, cube, ["Fe"], ["slope"], layers=wrong, trees=5),
        lambda: area_of_applicability(trained, cube, layers=wrong),
    ):
        with pytest.raises(InputError, match="layers name 'slop', which is no feature; did you mean 'slope'"):
            call()
