"""From samples and a cube to maps: one lazy pass, equal to rows and on every chunking, and every refusal."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer
from small_run import small_grid

from tpsoil.cube.area_errors import aggregate_map
from tpsoil.errors import InputError, MissingInputError
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.outputs import layer_variables
from tpsoil.grid import coordinates
from tpsoil.ingest import read_samples
from tpsoil.mapped_area import mapped_covariates
from tpsoil.micronutrients import MapOptions, calibrate_xrf, element_model, map_elements, train_elements
from tpsoil.recipes.element_options import ElementsTable

SIDE = 40
FEATURES = ["elevation", "annual_precipitation", "climate_zone", "aspect"]
LAYERS = ("iron", "iron_sd", "iron_lower", "iron_upper", "iron_dissimilarity", "iron_applicability")


def cube_of(side: int = SIDE) -> xr.Dataset:
    grid = small_grid(side)
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(side) / side, np.arange(side) / side, indexing="ij")
    layers: dict[str, Any] = {
        "elevation": (4200 + 900 * np.sin(5 * x) * np.cos(3 * y)).astype("float32"),
        "annual_precipitation": (300 + 600 * y + rng.normal(0, 5, (side, side))).astype("float32"),
        "climate_zone": np.where(y > 0.5, 4, 5).astype("uint8"),
        "aspect": (360 * rng.random((side, side))).astype("float32"),
        "soil_mask": (rng.random((side, side)) > 0.1).astype("uint8"),
    }
    layers["elevation"][0, 0] = np.nan
    layers["climate_zone"][1, 1] = 255  # nodata
    layers["climate_zone"][2, 2] = 2  # a class without a sample
    layers["soil_mask"][:3, :3] = 1
    cube = xr.Dataset({n: xr.DataArray(v, dims=("y", "x"), coords=coordinates(grid)) for n, v in layers.items()})
    cube["climate_zone"].encoding["_FillValue"] = 255
    return cube


def samples_of(cube: xr.Dataset, sites: int = 70) -> pd.DataFrame:
    """Triplicates within 15 m, iron of height and zinc of rain, in lon and lat."""
    rng = np.random.default_rng(3)
    side = cube.sizes["y"]
    row, column = rng.uniform(4, side - 1, (2, sites)).repeat(3, axis=1)
    grid = small_grid(side)
    x, y = grid.transform * (column, row)
    east, north = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True).transform(x, y)
    at = {"y": xr.DataArray(row.astype(int), dims="s"), "x": xr.DataArray(column.astype(int), dims="s")}
    height, rain = (cube[n].isel(at).to_numpy() for n in ("elevation", "annual_precipitation"))
    return pd.DataFrame(
        {
            "site": np.repeat(np.arange(sites), 3),
            "lon": east,
            "lat": north,
            "Fe": 10 ** (4.3 + (height - 4200) / 4000 + rng.normal(0, 0.03, 3 * sites)),
            "Zn": 30 + rain / 20 + rng.normal(0, 2, 3 * sites),
        }
    )


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return cube_of()


@pytest.fixture(scope="module")
def trained(cube: xr.Dataset) -> dict:
    return train_elements(
        samples_of(cube), ["Fe", "Zn"], FEATURES, cube=cube, trees=12, block_size=0.1, on_masked="keep"
    )


def forbidden(*_args: Any, **_more: Any) -> Any:
    raise AssertionError("computed while building the graph")


def test_maps_are_lazy_and_equal_on_every_chunking(cube: xr.Dataset, trained: dict) -> None:
    maps = map_elements(trained, cube)
    assert tuple(maps.data_vars)[:6] == LAYERS
    assert len(maps.data_vars) == 12
    for chunks in ({"y": 7, "x": 40}, {"y": (1, 30, 9), "x": (13, 27)}):
        chunked = cube.chunk(chunks)
        with dask.config.set(scheduler=forbidden):
            lazy = map_elements(trained, chunked)
        assert all(layer.chunks is not None for layer in lazy.values())
        done = lazy.compute(scheduler="synchronous")
        for name in maps:
            np.testing.assert_array_equal(maps[name], done[name], err_msg=name)
    assert maps["iron"].dtype == "float32"
    assert maps["iron_applicability"].dtype == "uint8"
    assert maps["iron"].attrs["units"] == "mg kg-1"


def test_every_layer_has_the_content_of_its_name(cube: xr.Dataset, trained: dict) -> None:
    maps = map_elements(trained, cube)
    masked = cube["soil_mask"].to_numpy() != 1
    for name in LAYERS[:-1]:
        values = maps[name].to_numpy()
        assert np.isnan(values[masked]).all()
        assert np.isnan(values[[0, 1, 2], [0, 1, 2]]).all(), name  # missing height, nodata class, unseen class
        rest = ~masked
        rest[[0, 1, 2], [0, 1, 2]] = False
        assert np.isfinite(values[rest]).all()
    assert (maps["iron_applicability"].to_numpy()[masked] == 255).all()
    lower, mean, upper = (maps[n].to_numpy() for n in ("iron_lower", "iron", "iron_upper"))
    valid = np.isfinite(mean)
    assert (lower[valid] > 0).all()
    assert (lower[valid] <= upper[valid]).all()
    assert np.mean((lower <= mean)[valid] & (mean <= upper)[valid]) > 0.95
    attrs = maps["iron_lower"].attrs
    assert attrs["interval_level"] == 0.9
    assert attrs["deciding_folds"] == "blocks of 0.1 degrees"
    assert attrs["back_transform"] == "mean"
    assert "lower limit of the 90 % interval" in attrs["long_name"]
    index, area = maps["iron_dissimilarity"].to_numpy(), maps["iron_applicability"].to_numpy()
    np.testing.assert_array_equal(area[valid] == 1, index[valid] <= attrs["applicability_threshold"])


def test_a_pixel_equals_its_row(cube: xr.Dataset, trained: dict) -> None:
    maps = map_elements(trained, cube)
    forest = trained["Fe"]
    at = np.flatnonzero(np.isfinite(maps["iron"].to_numpy().ravel()))[::37]
    rows = pd.DataFrame({n: cube[n].to_numpy().ravel()[at] for n in FEATURES})
    table = forest.predict(rows, quantiles=[0.05, 0.95])
    np.testing.assert_array_equal(maps["iron"].to_numpy().ravel()[at], table["mean"].astype("float32"))
    np.testing.assert_array_equal(maps["iron_sd"].to_numpy().ravel()[at], table["sd"].astype("float32"))
    from tpsoil.forest import area_of_applicability, conformal_intervals

    low, high = conformal_intervals(forest).around_quantiles(table["q0.05"].to_numpy(), table["q0.95"].to_numpy())
    np.testing.assert_array_equal(maps["iron_lower"].to_numpy().ravel()[at], low.astype("float32"))
    np.testing.assert_array_equal(maps["iron_upper"].to_numpy().ravel()[at], high.astype("float32"))
    own = area_of_applicability(forest, cube)
    np.testing.assert_array_equal(maps["iron_dissimilarity"], own["dissimilarity_index"].where(maps["iron"].notnull()))


def test_several_elements_read_each_block_once(cube: xr.Dataset, trained: dict) -> None:
    chunked = cube.chunk({"y": 20, "x": 40})
    reads: list[int] = []

    def count(block: np.ndarray) -> np.ndarray:
        reads.append(1)
        return block

    data = chunked["elevation"].data.map_blocks(count, dtype="float32", meta=np.empty((0, 0), "float32"))
    counted = chunked.assign(elevation=(("y", "x"), data))
    dask.compute(map_elements(trained, counted), scheduler="synchronous")
    assert len(reads) == 2  # two chunks, whatever the number of elements and layers
    alone = map_elements({"Fe": trained["Fe"]}, cube)
    both = map_elements(trained, cube)
    for name in LAYERS:
        np.testing.assert_array_equal(alone[name], both[name])


@pytest.mark.parametrize("style", ["ordered", "onehot"])
def test_other_encodings_map_too(cube: xr.Dataset, style: str) -> None:
    forests = train_elements(
        samples_of(cube, 40),
        ["Fe", "Zn"],
        FEATURES[:3],
        cube=cube,
        trees=5,
        categories=style,
        folds="group",
        on_masked="keep",
    )
    maps = map_elements(forests, cube)
    rows = pd.DataFrame({n: cube[n].to_numpy().ravel()[-50:] for n in FEATURES[:3]})
    mask = cube["soil_mask"].to_numpy().ravel()[-50:] == 1
    for label, element in (("iron", "Fe"), ("zinc", "Zn")):
        expected = forests[element].predict(rows)["mean"].to_numpy().astype("float32")
        np.testing.assert_array_equal(maps[label].to_numpy().ravel()[-50:][mask], expected[mask])


def test_a_model_survives_bytes_and_pickle(cube: xr.Dataset, trained: dict) -> None:
    model = MapModel.of(trained["Fe"], level=0.8)
    again = MapModel.load(model.dump())
    assert again.digest == model.digest
    assert pickle.loads(pickle.dumps(again)).digest == model.digest
    first, second = (map_models({"iron": m}, cube) for m in (model, again))
    for name in LAYERS:
        np.testing.assert_array_equal(first[name], second[name])
    assert second["iron"].attrs["interval_level"] == 0.8
    plain = MapModel.load(MapModel.of(trained["Fe"], level=None).dump())
    assert list(map_models({"iron": plain}, cube)) == ["iron", "iron_sd"]
    assert layer_variables("Cr", 0.9)[0].name == "Cr"
    with pytest.raises(InputError, match="not a map model"):
        MapModel.load(b"nothing")
    with pytest.raises(InputError, match="have different nominal coverage"):
        map_models({"iron": model, "zinc": MapModel.of(trained["Zn"], level=0.9)}, cube)


def test_samples_alone_are_enough(cube: xr.Dataset) -> None:
    """map_elements trains by itself; tidy and wide samples give one map; samples off the grid are counted."""
    wide = samples_of(cube, 40)
    tidy = read_samples(wide, ["Fe"], units="mg kg-1")
    options: dict[str, Any] = {"trees": 5, "folds": "group", "on_masked": "keep"}
    one = map_elements(wide, cube, ["Fe"], FEATURES, **options)
    two = map_elements(tidy, cube, ["Fe"], FEATURES, **options)
    for name in LAYERS:
        np.testing.assert_array_equal(one[name], two[name])
    off = wide.assign(lon=np.where(wide["site"] == 3, 10.0, wide["lon"]))
    counts = train_elements(off, ["Fe"], FEATURES, cube=cube, **options)["Fe"].counts
    assert counts["off_grid"] == 3
    assert counts["used"] == 117


def censored(cube: xr.Dataset, share: float) -> pd.DataFrame:
    wide = samples_of(cube, 40)
    wide["Ni"] = np.linspace(10, 60, len(wide))
    limit = float(np.quantile(wide["Ni"], share))
    return read_samples(wide, ["Ni"], limits={"Ni": limit})


def test_a_censored_element_is_rejected_by_default(cube: xr.Dataset) -> None:
    options: dict[str, Any] = {"cube": cube, "trees": 5, "folds": "group", "on_masked": "keep"}
    with pytest.raises(
        InputError, match=r"60 of 120 values of 'Ni' \(50 %\) are below.*more than 30 %.*allow_censored"
    ):
        train_elements(censored(cube, 0.5), ["Ni"], FEATURES, **options)
    asked = train_elements(censored(cube, 0.5), ["Ni"], FEATURES, allow_censored=True, **options)["Ni"]
    assert asked.counts["censored_filled"] == 60
    table = censored(cube, 0.2)
    half = train_elements(table, ["Ni"], FEATURES, **options)["Ni"]
    limit = float(table["detection_limit"].max())
    assert half.observed.min() == pytest.approx(limit / 2)
    at_limit = train_elements(table, ["Ni"], FEATURES, censored_as="limit", **options)["Ni"]
    assert at_limit.observed.min() == pytest.approx(limit)
    dropped = train_elements(table, ["Ni"], FEATURES, censored_as="drop", **options)["Ni"]
    assert dropped.counts["used"] == 96
    assert dropped.observed.mean() > half.observed.mean()  # detects alone lie too high
    with pytest.raises(InputError, match="24 censored values of 'Ni' have no detection limit"):
        train_elements(table.assign(detection_limit=np.nan), ["Ni"], FEATURES, **options)


def test_a_back_transformation_is_for_the_elements_on_a_logarithmic_scale() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"site": np.arange(60), "slope": rng.random(60)})
    table["Zn"], table["pH"] = 20 + 30 * table["slope"] + rng.normal(0, 5, 60), 6 + rng.random(60)
    options: dict[str, Any] = {"trees": 3, "folds": "random", "back_transform": "median"}
    forests = train_elements(table, ["Zn", "pH"], ["slope"], **options)
    assert [forest.settings["back_transform"] for forest in forests.values()] == ["median", "mean"]
    with pytest.raises(InputError, match="back_transform has no effect"):
        train_elements(table, ["pH"], ["slope"], **options)


def test_folds_of_sites_with_one_sample_each_are_those_that_were_requested() -> None:
    """They were rejected: "name the site column with groups=", which was named."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"site": np.arange(60), "slope": rng.random(60)})
    table["Zn"] = 20 + 30 * table["slope"] + rng.normal(0, 2, 60)
    trained = train_elements(table, ["Zn"], ["slope"], folds=["random", "group"], trees=5)["Zn"]
    assert list(trained.folds) == ["random", "group"]
    assert list(train_elements(table, ["Zn"], ["slope"], folds="group", trees=5)["Zn"].folds) == ["group"]
    assert list(train_elements(table, ["Zn"], ["slope"], trees=5)["Zn"].folds) == ["random"]


def test_invalid_maps_are_rejected(cube: xr.Dataset, trained: dict) -> None:
    wide = samples_of(cube, 20)
    options: dict[str, Any] = {"trees": 5, "on_masked": "keep"}
    with pytest.raises(
        MissingInputError, match=r"map_elements: 2 of 3 features are missing: no layer 'ndvy'.*no layer 'slope'"
    ):
        map_elements(wide, cube, ["Fe"], ["elevation", "ndvy", "slope"], **options)
    with pytest.raises(InputError, match="no element 'Cu'"):
        map_elements(wide, cube, ["Cu"], FEATURES, **options)
    with pytest.raises(InputError, match="'Fe' has no valid value in 60 rows"):
        map_elements(wide.assign(Fe=np.nan), cube, ["Fe"], FEATURES, **options)
    with pytest.raises(InputError, match="'Fe' is negative in 60 rows.*negative='censor'"):
        map_elements(wide.assign(Fe=-1.0), cube, ["Fe"], FEATURES, **options)
    flat = cube.assign(annual_precipitation=cube["annual_precipitation"] * 0 + 5)
    with pytest.raises(InputError, match="annual_precipitation is constant"):
        map_elements(wide, flat, ["Fe"], FEATURES, **options)
    with pytest.raises(InputError, match="samples: .* have no position"):
        map_elements(wide.drop(columns=["lon", "lat"]), cube, ["Fe"], FEATURES, **options)
    with pytest.raises(InputError, match="none of 60 samples is on the cube's grid"):
        map_elements(wide.assign(lon=10.0), cube, ["Fe"], FEATURES, **options)
    with pytest.raises(InputError, match="elements= and features="):
        map_elements(wide, cube)
    line = calibrate_xrf(np.arange(12.0), np.arange(12.0) + 1)
    with pytest.raises(InputError, match="calibrations widen the interval, which level=None omits"):
        map_elements(trained, cube, level=None, calibrations={"Fe": line})
    with pytest.raises(InputError, match="with trained forests, omit"):
        map_elements(trained, cube, trees=5)
    with pytest.raises(MissingInputError, match="no layer 'elevation'"):
        map_elements(trained, cube.drop_vars("elevation"))
    with pytest.raises(MissingInputError, match="neither in the samples nor in the cube"):
        train_elements(wide, ["Fe"], FEATURES)
    with pytest.raises(InputError, match=r"expected one of \['half', 'limit', 'drop'\]"):
        train_elements(wide, ["Fe"], FEATURES, cube=cube, censored_as="zero")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = map_elements(trained, cube.rename(elevation="height"), layers={"elevation": "height"})
    np.testing.assert_array_equal(named["iron"], map_elements(trained, cube)["iron"])


def test_maps_with_each_option_are_those_of_the_recipes_stage(cube: xr.Dataset, trained: dict) -> None:
    """One declaration: `map_elements` and the stage of `[elements]` compile the same model."""
    only = {"Fe": trained["Fe"]}
    for options in (
        {"conformal": "spread", "extra_layers": ("point_density", "expected_error")},
        {"conformal": "class:climate_zone", "level": 0.8},
        {"conformal": "weighted"},
        {"level": None},
    ):
        maps = map_elements(only, cube, **options)
        chosen = MapOptions(**options)
        cells = mapped_covariates(cube, FEATURES) if chosen.conformal == "weighted" else None
        model = element_model(trained["Fe"], chosen, cells=cells).model
        expected = map_models({"iron": model}, cube)
        assert list(maps) == list(expected)
        for name in expected:
            np.testing.assert_array_equal(maps[name], expected[name], err_msg=f"{options}: {name}")
            assert expected[name].attrs.items() <= maps[name].attrs.items()
    # The recipe's table gives the same options.
    table = ElementsTable.model_validate(
        {"samples": "a.csv", "elements": ["Fe"], "features": FEATURES, "interval": 0.8, "conformal": "spread",
         "kriging": "residuals", "extra_layers": ["point_density"]}
    )  # fmt: skip
    assert table.map_options == MapOptions(
        level=0.8, conformal="spread", kriging="residuals", extra_layers=("point_density",)
    )
    for wrong, message in (
        ({"kriging": "residual"}, "did you mean 'residuals'"),
        ({"kriging": "residuals"}, "needs the positions of the samples"),
        ({"conformal": "classes"}, "conformal is 'classes'"),
        ({"level": None, "conformal": "spread"}, "need level="),
    ):
        with pytest.raises(InputError, match=message):
            map_elements(only, cube, **wrong)


def test_kriging_and_intervals_of_areas_without_a_recipe(cube: xr.Dataset) -> None:
    samples = samples_of(cube, 40)
    samples["Zn"] += 40 * np.sin(3e2 * (samples["lon"] - samples["lon"].min()))
    options = {"trees": 8, "folds": "group", "n_folds": 2, "on_masked": "keep"}
    maps = map_elements(samples, cube, ["Zn"], ["elevation", "annual_precipitation"], kriging="residuals", **options)
    assert "kriging of residuals lowers the RMSE of group folds" in maps["zinc"].attrs["kriging_result"]
    coarse = aggregate_map(maps, "zinc", 4)
    inside = coarse["zinc_share"].values > 0
    assert (coarse["zinc_upper"].values[inside] > coarse["zinc_lower"].values[inside]).all()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (lambda table, rng: np.full(len(table), 3.0), "copied is constant over the 60 used rows of 'Zn'"),
        (lambda table, rng: table["slope"], "elements, Zn: slope and copied have the same values; leave one out"),
        (lambda table, rng: np.sqrt(table["Zn"]), "elements, Zn: copied follows Zn almost exactly"),
    ],
)
def test_covariates_that_cannot_be_used_are_rejected_in_python_too(column: Any, message: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"site": np.arange(60), "slope": rng.random(60)})
    table["Zn"] = 20 + 30 * table["slope"] + rng.normal(0, 5, 60)
    table["copied"] = column(table, rng)
    with pytest.raises(InputError, match=message):
        train_elements(table, ["Zn"], ["slope", "copied"], trees=5)
