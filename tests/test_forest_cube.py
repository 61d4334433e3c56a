"""A forest over a cube: by name, lazily, within the mask, alike on every chunking; several forests in one pass."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from forests import FEATURES, training_rows
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from tpsoil.errors import InputError, MissingInputError, UnitsError
from tpsoil.forest import CompiledForest, predict_cube_many

SHAPE = (61, 83)


def cube_of(seed: int = 5, dtype: str = "float32") -> xr.Dataset:
    X = training_rows(SHAPE[0] * SHAPE[1], seed=seed)[0].reshape(*SHAPE, 6).astype(dtype)
    coords = {"y": np.arange(SHAPE[0], 0, -1.0), "x": np.arange(SHAPE[1]) * 2.0}
    return xr.Dataset({name: (("y", "x"), X[..., k]) for k, name in enumerate(FEATURES)}, coords)


@pytest.fixture(scope="module")
def forest() -> Any:
    return RandomForestRegressor(40, random_state=0).fit(*training_rows())


@pytest.fixture(scope="module")
def compiled(forest: Any) -> CompiledForest:
    return CompiledForest.from_sklearn(forest, FEATURES, units="mg kg-1")


def rows_of(cube: xr.Dataset) -> Any:
    return np.stack([cube[name].values.ravel() for name in FEATURES], axis=1)


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("something was computed")


@pytest.mark.parametrize("key", ["_FillValue", "missing_value", "nodata"])
def test_codes_of_missing_cells_in_attributes_are_missing(compiled: CompiledForest, key: str) -> None:
    missing, coded = cube_of(), cube_of().chunk(20)
    missing[FEATURES[0]][3, 5] = np.nan
    coded[FEATURES[0]] = missing[FEATURES[0]].fillna(-9999.0).assign_attrs({key: -9999.0})
    before = coded.copy(deep=True)
    xr.testing.assert_equal(compiled.predict_cube(coded).compute(), compiled.predict_cube(missing))
    xr.testing.assert_identical(coded, before)


def test_cells_are_rows(forest: Any, compiled: CompiledForest) -> None:
    cube = cube_of()
    before = cube.copy(deep=True)
    found = compiled.predict_cube(cube, quantiles=(0.05, 0.5, 0.975))
    assert list(found) == ["mean", "sd", "q05", "q50", "q97_5"]
    mean, sd, levels = compiled.predict(rows_of(cube), (0.05, 0.5, 0.975))
    for name, expected in zip(found, [mean, sd, *levels.T]):
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name].values.ravel(), expected.astype(np.float32))
        assert found[name].attrs["units"] == "mg kg-1"
    np.testing.assert_array_equal(found["mean"].values.ravel(), forest.predict(rows_of(cube)).astype(np.float32))
    xr.testing.assert_identical(cube, before)
    xr.testing.assert_equal(found["mean"].coords.to_dataset(), cube.coords.to_dataset())
    assert found.attrs["forest_digest"] == compiled.digest
    assert found.attrs["quantiles"] == "between trees"
    assert "not of the soil" in found["q05"].attrs["comment"]


@pytest.mark.parametrize("chunks", [{"y": 7, "x": 83}, {"y": 60, "x": 82}, {"y": (1, 59, 1), "x": (40, 43)}], ids=str)
def test_chunks_change_no_bit_and_nothing_is_computed_early(compiled: CompiledForest, chunks: Any) -> None:
    cube = cube_of()
    cube["ndvi"] = cube["plain"]
    expected = compiled.predict_cube(cube, {"plain": "ndvi"}, quantiles=(0.3,))
    with dask.config.set(scheduler=refuse):
        lazy = compiled.predict_cube(cube.chunk(chunks), {"plain": "ndvi"}, quantiles=(0.3,))
    xr.testing.assert_identical(lazy.compute(), expected)


def test_features_go_by_name_not_by_position(compiled: CompiledForest) -> None:
    cube = cube_of()
    xr.testing.assert_identical(compiled.predict_cube(cube), compiled.predict_cube(cube[list(reversed(FEATURES))]))
    xr.testing.assert_identical(compiled.predict_cube(cube), compiled.predict_cube(cube, sorted(FEATURES)))
    with pytest.raises(InputError, match=r"list without plain, huge; features are matched by name.*layers=\{feature"):
        compiled.predict_cube(cube, ["tiny", "close", "classes", "flat"])


def test_the_mask_and_missing_cells_are_nan(compiled: CompiledForest) -> None:
    cube = cube_of()
    cube["soil_mask"] = (("y", "x"), np.ones(SHAPE, dtype=np.uint8))
    cube["soil_mask"][3:9, 4] = 0
    cube["soil_mask"][0, 0] = 255
    cube["close"][5, 6] = np.nan
    found = compiled.predict_cube(cube.chunk({"y": 16, "x": 16})).compute()
    gone = (cube["soil_mask"].values != 1) | np.isnan(cube["close"].values)
    for name in ("mean", "sd"):
        np.testing.assert_array_equal(np.isnan(found[name].values), gone)
    # A mask that xarray decoded to float, NaN beyond the boundary.
    cube["soil_mask"] = cube["soil_mask"].where(cube["soil_mask"] != 255).astype("float32")
    np.testing.assert_array_equal(np.isnan(compiled.predict_cube(cube)["mean"].values), gone)


@pytest.mark.parametrize("kept", [0, 1, 63, 64, 65])
def test_tiles_with_few_or_no_cells(compiled: CompiledForest, kept: int) -> None:
    cube = cube_of()
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask.ravel()[np.random.default_rng(kept).permutation(mask.size)[:kept]] = 1
    cube["soil_mask"] = (("y", "x"), mask)
    whole = compiled.predict_cube(cube.drop_vars("soil_mask"))
    found = compiled.predict_cube(cube.chunk({"y": 10, "x": 10})).compute()
    for name in ("mean", "sd"):
        np.testing.assert_array_equal(found[name].values, np.where(mask == 1, whole[name].values, np.nan))


def test_all_nan_empty_float64_strided_and_read_only_tiles(compiled: CompiledForest) -> None:
    assert np.isnan(compiled.predict_cube(cube_of() * np.nan)["mean"]).all()
    assert compiled.predict_cube(cube_of().isel(y=slice(0, 0)))["sd"].shape == (0, SHAPE[1])
    expected = compiled.predict_cube(cube_of())
    doubles = cube_of(dtype="float64")
    xr.testing.assert_identical(compiled.predict_cube(doubles), expected)
    strided = xr.Dataset(coords=expected.coords)
    for name in FEATURES:
        store = np.zeros((SHAPE[0] * 2, SHAPE[1] * 2), dtype=np.float32)
        store[::2, ::2] = cube_of()[name].values
        view = store[::2, ::2]
        view.flags.writeable = False
        strided[name] = (("y", "x"), view)
    xr.testing.assert_identical(compiled.predict_cube(strided), expected)
    turned = cube_of().transpose("x", "y")
    xr.testing.assert_identical(compiled.predict_cube(turned).transpose("y", "x"), expected)


def test_integer_classes_with_a_fill_value() -> None:
    X, y = training_rows()
    compiled = CompiledForest.from_sklearn(
        RandomForestRegressor(20, random_state=0).fit(X, y), FEATURES, categories={"classes": range(9)}
    )
    cube = cube_of()
    expected = compiled.predict_cube(cube)["mean"].values
    cube["classes"] = cube["classes"].astype(np.uint8)
    cube["classes"][2, 2] = 255
    with pytest.raises(InputError, match="'classes' has class 255"):
        compiled.predict_cube(cube)
    cube["classes"].encoding["_FillValue"] = 255
    found = compiled.predict_cube(cube)["mean"].values
    assert np.isnan(found[2, 2])
    np.testing.assert_array_equal(
        np.delete(found.ravel(), 2 * SHAPE[1] + 2), np.delete(expected.ravel(), 2 * SHAPE[1] + 2)
    )


def test_a_class_that_training_never_saw() -> None:
    X, y = training_rows()
    compiled = CompiledForest.from_sklearn(
        RandomForestRegressor(5, random_state=0).fit(X, y), FEATURES, categories={"classes": range(9)}
    )
    cube = cube_of()
    cube["classes"][:2, 3], cube["classes"][7, 7] = 40, 11
    cube["soil_mask"] = (("y", "x"), np.ones(SHAPE, dtype=np.uint8))
    lazy = cube.chunk({"y": 20})
    with pytest.raises(InputError, match=r"'classes' has class 11, 40 in 3 cells.*unseen='nan'"):
        compiled.predict_cube(lazy).compute()
    found = compiled.predict_cube(lazy, unseen="nan").compute()
    assert np.argwhere(np.isnan(found["mean"].values)).tolist() == [[0, 3], [1, 3], [7, 7]]
    assert found.attrs["unseen_categories"] == "nan"
    assert compiled.unseen_categories(lazy) == {"classes": {11: 1, 40: 2}}
    cube["soil_mask"][:2, 3] = 0  # off the soil nobody asks
    assert compiled.unseen_categories(cube) == {"classes": {11: 1}}
    with pytest.raises(InputError, match="unseen is 'drop'"):
        compiled.predict_cube(cube, unseen="drop")


def test_missing_layers_are_all_listed(compiled: CompiledForest) -> None:
    cube = cube_of().drop_vars(["huge", "tiny"]).rename({"close": "clse"})
    with pytest.raises(
        MissingInputError, match=r"3 of 6 features are missing: .*'tiny'.*'huge'.*'close'; did you mean 'clse'"
    ):
        compiled.predict_cube(cube)
    with pytest.raises(InputError, match="layers name 'plan', which is no feature; did you mean 'plain'"):
        compiled.predict_cube(cube_of(), {"plan": "plain"})


def test_a_layer_in_another_unit_is_refused(forest: Any) -> None:
    compiled = CompiledForest.from_sklearn(forest, FEATURES, feature_units={"plain": "degC"})
    cube = cube_of()
    compiled.predict_cube(cube)
    cube["plain"].attrs["units"] = "degC"
    compiled.predict_cube(cube)
    cube["plain"].attrs["units"] = "K"
    with pytest.raises(UnitsError, match="'plain' is in 'K', the forest was trained on 'degC'"):
        compiled.predict_cube(cube)


def test_several_forests_give_what_each_gives_alone(compiled: CompiledForest) -> None:
    X, y = training_rows(seed=4, missing=True)
    two = np.stack([y, np.arange(len(y)) % 17], axis=1)
    X[:, 4] = np.nan_to_num(X[:, 4], nan=1)
    forests = {
        "iron": compiled,
        "zinc": CompiledForest.from_sklearn(ExtraTreesRegressor(9, random_state=0).fit(X, y), FEATURES),
        "few": CompiledForest.from_sklearn(
            RandomForestRegressor(33, random_state=0).fit(X[:, [4, 0]], two),
            ["classes", "plain"],
            targets=("vanadium", "copper"),
            categories={"classes": range(9)},
        ),
    }
    assert [f.accepts_missing for f in forests.values()] == [False, True, True]
    cube = cube_of()
    cube["plain"][::5, ::3] = np.nan
    cube["close"][1, 1] = np.nan
    cube["classes"][4, 4] = 77
    cube["soil_mask"] = (("y", "x"), (np.arange(SHAPE[1]) % 7 > 0) * np.ones(SHAPE, dtype=np.uint8))
    together = predict_cube_many(forests, cube.chunk({"y": 23, "x": 31}), quantiles=(0.5,), unseen="nan").compute()
    for name, forest in forests.items():
        alone = forest.predict_cube(cube, quantiles=(0.5,), unseen="nan")
        for layer in alone:
            kind, _, target = str(layer).partition("_")
            label = f"{kind}_{name}_{target}" if target else f"{kind}_{name}"
            np.testing.assert_array_equal(together[label].values, alone[layer].values, err_msg=label)
        assert together.attrs[f"forest_digest_{name}"] == forest.digest
    with pytest.raises(InputError, match="at least one forest, each with a name"):
        predict_cube_many({}, cube)


def test_several_forests_share_one_read(compiled: CompiledForest) -> None:
    reads = 0

    def read(block: Any) -> Any:
        nonlocal reads
        reads += 1
        return block

    cube = cube_of().chunk({"y": 61, "x": 83})
    cube["plain"] = cube["plain"].copy(
        data=cube["plain"].data.map_blocks(read, dtype=np.float32, meta=np.empty((0, 0)))
    )
    lazy = predict_cube_many({"a": compiled, "b": compiled, "c": compiled}, cube)
    lazy.compute(scheduler="synchronous")
    assert reads == 1
