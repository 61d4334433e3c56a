"""Samples of a recipe: odd tables, any soil property, training on a wider cube, blocks that fit a small area."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import small_run
import xarray as xr
from pyproj import Transformer
from rasterio.transform import from_origin

from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.errors import InputError, MissingInputError, RecipeError
from tpsoil.forest import train
from tpsoil.ingest import read_samples, read_table
from tpsoil.recipes import element_reading, read_recipe, result_tables, run
from tpsoil.recipes.element_reading import SampleReader
from tpsoil.recipes.element_samples import ElementSamples, design_of
from tpsoil.recipes.element_stage import check_samples
from tpsoil.recipes.fetching import box_of
from tpsoil.recipes.jobs import job_of, preview
from tpsoil.reports.records import read_record

SIDE = 32
LAYERS = ("elevation", "annual_precipitation", "soil_mask")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, the western part of it, and samples of several properties at 80 sites."""
    place = tmp_path_factory.mktemp("samples")
    small_run.make_cube(str(place / "cube.zarr"), side=SIDE)
    complete = open_cube(str(place / "cube.zarr"))[list(LAYERS)].load()
    grid = small_run.small_grid(SIDE)
    create_cube(str(place / "part.zarr"), grid[:, :20], chunks=small_run.CHUNK)
    for name in LAYERS:
        add_layer(str(place / "part.zarr"), name, complete[name][:, :20])
    table = pd.read_csv(small_run.make_samples(place / "plain.csv", side=SIDE, count=80))
    rng = np.random.default_rng(1)
    table["plot"] = [f"p{number:02d}" for number in range(80)]
    table["Pb"], table["Cd"] = rng.lognormal(3, 0.4, 80).round(2), (1000 * rng.lognormal(-1.5, 0.4, 80)).round(1)
    table["pH"] = rng.uniform(5.5, 8.5, 80).round(2)
    table["d13C"] = rng.uniform(-29, -22, 80).round(2)
    table["Fe2O3"] = (table["Fe"] / 6994.3).round(3)
    table.to_csv(place / "samples.csv", index=False)
    return place


def recipe(folder: Path, output: Path, cube: str = "cube.zarr", **keys: Any) -> dict[str, Any]:
    elements = {
        "samples": str(folder / "samples.csv"), "elements": ["Fe"], "features": ["elevation", "annual_precipitation"],
        "trees": 4, "n_folds": 3, "folds": ["random"], **keys,
    }  # fmt: skip
    return {
        "run": {"name": "odd", "output": str(output / "maps.zarr"), "cube": str(folder / cube)},
        "elements": elements,
    }


def placed(folder: Path, table: pd.DataFrame, tmp_path: Path, symbol: str = "Fe", **keys: Any) -> ElementSamples:
    """The samples of one element as a run places them."""
    keys = {"separator": ",", "decimal": ".", **keys}
    path = tmp_path / "odd.csv"
    table.to_csv(path, index=False, sep=keys.pop("separator"), decimal=keys.pop("decimal"))
    job = job_of(recipe(folder, tmp_path, **{"samples": str(path), **keys}))
    options = job.stages[0].options["table"]
    return design_of(options, open_cube(str(folder / "cube.zarr")), symbol)


def warnings_of(folder: Path, tmp_path: Path, **keys: Any) -> list[str]:
    """What a run warns of in the samples that `placed` wrote."""
    path = tmp_path / "odd.csv"
    checked = read_recipe(recipe(folder, tmp_path, samples=str(path), **keys))
    assert checked.elements is not None
    return check_samples(checked.elements, SampleReader(path))


def test_samples_are_read_once_where_nothing_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = recipe(folder, tmp_path, elements={"Fe": "Fe", "Zn": "Zn"}, compare=["parent"])
    samples = samples_of(folder)
    samples.assign(Zn=samples["Fe"] / 300, parent=np.where(np.arange(len(samples)) % 2, "loess", "till")).to_csv(
        tmp_path / "two.csv", index=False
    )
    two["elements"]["samples"] = str(tmp_path / "two.csv")
    run(two, progress=False, workers=1)
    files, values = [], []

    def reading(source: Any, **how: Any) -> Any:
        files.extend([source] if isinstance(source, Path) else [])
        return read_table(source, **how)

    def counting(table: Any, columns: Any, **how: Any) -> Any:
        values.extend(columns)
        return read_samples(table, columns, **how)

    monkeypatch.setattr(element_reading, "read_table", reading)
    monkeypatch.setattr(element_reading, "read_samples", counting)
    run(two, progress=False, workers=1)
    assert files == [tmp_path / "two.csv"]
    assert sorted(values) == ["Fe", "Fe", "Zn", "Zn"]  # with the columns of `compare` for the tables, and without


def samples_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "samples.csv")


@pytest.mark.parametrize("names", [("long", "lat"), ("Lon", "LAT"), ("Longitude (deg)", "Latitude (deg)")])
def test_positions_and_separators_are_recognised(folder: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    table = samples_of(folder)
    expected = placed(folder, table, tmp_path).design
    renamed = table.rename(columns=dict(zip(("longitude", "latitude"), names, strict=True)))
    pd.testing.assert_frame_equal(placed(folder, renamed, tmp_path).design, expected)
    odd = placed(folder, renamed, tmp_path, separator=";", decimal=",").design
    (warning,) = warnings_of(folder, tmp_path)
    assert "comma is read as the decimal point" in warning
    pd.testing.assert_frame_equal(odd, expected)


def test_projected_coordinates_with_a_crs(folder: Path, tmp_path: Path) -> None:
    table = samples_of(folder)
    expected = placed(folder, table, tmp_path).design
    change = Transformer.from_crs("EPSG:4326", "EPSG:32645", always_xy=True)
    table["easting"], table["northing"] = change.transform(table["longitude"], table["latitude"])
    projected = table.drop(columns=["longitude", "latitude"])
    for more in ({}, {"x": "easting", "y": "northing"}):
        design = placed(folder, projected, tmp_path, crs="EPSG:32645", **more).design
        np.testing.assert_allclose(design[["lon", "lat"]], expected[["lon", "lat"]], atol=1e-8)
        pd.testing.assert_series_equal(design["elevation"], expected["elevation"])
    with pytest.raises(InputError, match=r"no column is named as a position .*; of x and y set elements.crs"):
        placed(folder, projected, tmp_path)
    with pytest.raises(RecipeError, match="longitude and latitude have no effect with crs"):
        read_recipe(recipe(folder, tmp_path, crs="EPSG:32645", longitude="a", latitude="b"))


def test_limits_dates_and_replicates_are_in_the_summary(folder: Path, tmp_path: Path) -> None:
    table = samples_of(folder).drop(columns="plot")
    table["Pb"] = table["Pb"].astype(str)
    table.loc[3:6, "Pb"], table.loc[10, "Pb"] = "2.5", "<5"
    table = table.loc[table.index.repeat(2)].reset_index(drop=True)
    table["day"] = np.where(table.index % 4 == 0, "2011-06-01", "2019-08-30")
    samples = placed(folder, table, tmp_path, "Pb", elements=["Pb"], date="day", years=[2015, 2020])
    (warning,) = warnings_of(folder, tmp_path, elements=["Pb"], date="day", years=[2015, 2020])
    assert "rows at one position are taken as replicates of one site: 80 sites, 80 of" in warning
    notes = "\n".join(samples.notes)
    assert "Pb: 8 of 158 values (5 %) are the minimum 2.5 mg kg-1, as where a detection limit was replaced" in notes
    assert "set at_minimum = 'censor' to censor them at 5" in notes
    assert "Pb: sampled 2019-08-30 to 2019-08-30; 0 samples without a date; 40 left out by years" in notes
    assert samples.attributes["sampled"] == "2019-08-30 to 2019-08-30"
    assert samples.attributes["values_at_minimum"].endswith("kept")
    assert samples.design["site"].nunique() < len(samples.design)
    censored = placed(folder, table, tmp_path, "Pb", elements=["Pb"], at_minimum="censor").design["censored"]
    (warning,) = warnings_of(folder, tmp_path, elements=["Pb"], at_minimum="censor")
    assert "replicates" in warning
    assert censored.sum() == 2 + 8
    with pytest.raises(InputError, match="no sample is of 1990 to 1995, column 'day' has 2011-06-01 to 2019-08-30"):
        placed(folder, table, tmp_path, "Pb", elements=["Pb"], site="longitude", date="day", years=[1990, 1995])


def test_depths_become_the_topsoil(folder: Path, tmp_path: Path) -> None:
    table = samples_of(folder).drop(columns="plot")
    table = table.loc[table.index.repeat(2)].reset_index(drop=True)
    table["upper"], table["lower"] = np.tile([0, 20], 80), np.tile([20, 50], 80)
    table.loc[1::2, "Fe"] *= 0.8
    samples = placed(folder, table, tmp_path, depths={})
    assert samples.design["site"].is_unique
    assert (samples.design["value"].to_numpy() > table.loc[::2, "Fe"].to_numpy()[samples.design.index]).all()
    assert samples.attributes["depth_interval"] == "0 to 10 cm, by equal-area splines"
    assert "Fe: mean of 0 to 10 cm of 80 sites and replicates" in "\n".join(samples.notes)


def test_any_property_from_a_recipe(folder: Path, tmp_path: Path) -> None:
    made = recipe(
        folder, tmp_path, elements={"Fe": "Fe2O3", "Pb": "Pb", "Cd": "Cd", "pH": "pH", "d13C": "d13C"},
        units={"Fe": "% Fe2O3", "Cd": "ug kg-1"}, interval=0.9, site="plot",
        properties={"d13C": {"units": "permille", "layer": "carbon_13", "long_name": "stable carbon isotope ratio",
                             "low": -60.0, "high": 20.0}},
    )  # fmt: skip
    run(made, progress=False)
    maps = open_cube(made["run"]["output"])
    facts = {name: (maps[name].attrs["units"], maps[name].attrs["fitted_scale"]) for name in
             ("iron", "lead", "cadmium", "soil_ph", "carbon_13")}  # fmt: skip
    content = ("mg kg-1", "log10")
    assert facts == {"iron": content, "lead": content, "cadmium": content, "soil_ph": ("1", "none"),
                     "carbon_13": ("permille", "none")}  # fmt: skip
    assert "without another logarithm" in maps["soil_ph"].attrs["scale"]
    assert maps["carbon_13"].attrs["long_name"] == "stable carbon isotope ratio"
    low, high = float(maps["cadmium"].min()), float(maps["cadmium"].max())
    assert 0.05 < low < high < 1  # ug/kg were converted
    assert 15_000 < float(maps["iron"].mean()) < 35_000
    assert float(maps["carbon_13_lower"].min()) >= -60
    assert float(maps["carbon_13"].max()) < -20
    scores = result_tables(made["run"]["output"])["Elements, scores out of fold"]
    assert set(scores["element"]) == {"Fe", "Pb", "Cd", "pH", "d13C"}


def test_properties_of_a_recipe_are_checked(folder: Path, tmp_path: Path) -> None:
    def fault(**keys: Any) -> str:
        with pytest.raises(RecipeError) as caught:
            read_recipe(recipe(folder, tmp_path, **keys))
        return str(caught.value)

    assert "no soil property 'Feo'" in (text := fault(elements=["Feo"]))
    assert '[elements.properties.Feo] units = "..."' in text
    assert "properties.d13C: units is missing" in fault(elements=["d13C"], properties={"d13C": {"low": -60.0}})
    assert "properties names 'Pb', which is none of the elements Fe" in fault(properties={"Pb": {"log": True}})
    assert "elements SOC and OC have one map, 'soil_organic_carbon'" in fault(elements=["SOC", "OC"])
    assert "features has 'soil_ph', the map of pH itself" in fault(elements=["pH"], features=["soil_ph"])


def test_training_on_a_wider_cube(folder: Path, tmp_path: Path) -> None:
    narrow = recipe(folder, tmp_path / "narrow", "part.zarr", site="plot")
    run(narrow, progress=False)
    alone = open_cube(narrow["run"]["output"])["iron"].attrs
    assert int(alone["samples_off_grid"]) + int(alone["samples_used"]) == 80
    assert re.match(r"p\d\d, p\d\d, .* more$", alone["sites_off_grid"])
    wide = recipe(folder, tmp_path / "wide", "part.zarr", site="plot", training_cube=str(folder / "cube.zarr"))
    run(wide, progress=False)
    maps = open_cube(wide["run"]["output"])
    assert maps.sizes["x"] == 20
    assert int(maps["iron"].attrs["samples_used"]) > int(alone["samples_used"])
    assert maps["iron"].attrs["samples_from_training_cube"] == alone["samples_off_grid"]
    assert "samples_off_grid" not in maps["iron"].attrs
    notes = "\n".join(read_record(wide["run"]["output"]).notes)
    assert f"{alone['samples_off_grid']} of them are used with the covariates of training_cube" in notes
    lacking = recipe(folder, tmp_path / "no", "cube.zarr", site="plot", training_cube=str(folder / "part.zarr"))
    lacking["elements"]["features"] = ["elevation", "ndvi"]
    lacking["elements"]["samples"] = str(tmp_path / "far.csv")
    table = samples_of(folder)
    table.loc[0, "longitude"] += 5
    table.to_csv(tmp_path / "far.csv", index=False)
    with pytest.raises(MissingInputError, match=r"elements.training_cube: no layer 'ndvi'.*needs every feature"):
        run(lacking, progress=False)


def world(folder: Path, name: str, columns: slice, **keys: Any) -> dict[str, Any]:
    """Rasters in degrees that are wider than any grid, on some columns of the small grid, with a derived covariate."""
    grid = small_run.small_grid(SIDE)[:, columns]
    west, south, east, north = (
        end + side for end, side in zip(box_of(small_run.small_grid(SIDE)), (-0.3, -0.3, 0.3, 0.3))
    )
    shape = (round((north - south) / 0.004), round((east - west) / 0.005))
    y, x = np.mgrid[: shape[0], : shape[1]].astype("float32")
    rasters = {
        "elevation": (4000 + 400 * np.sin(x / 23) + 5 * y).astype("int16"),
        "annual_precipitation": (40 + 10 * np.cos(y / 17) + x / 50).astype("float32"),
        "land_cover": np.where((x // 9 + y // 9) % 5 == 0, 60, 30).astype("uint8"),
    }
    rasters["elevation"][(x + y) % 41 == 0] = -9999
    for layer, values in rasters.items():
        path = folder / f"{layer}.tif"
        if not path.exists():
            with rasterio.open(
                path, "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype=values.dtype,
                crs="EPSG:4326", transform=from_origin(west, north, 0.005, 0.004),
                nodata=-9999 if layer == "elevation" else None,
            ) as file:  # fmt: skip
                file.write(values, 1)
    left, bottom, right, top = grid.boundingbox.bbox
    return {
        "run": {"name": name, "output": str(folder / f"{name}.zarr")},
        "grid": {"resolution": 1000, "bounds": [left, bottom, right, top], "chunks": 16},
        "layers": [
            {"name": "elevation", "source": str(folder / "elevation.tif"), "units": "m"},
            {"name": "annual_precipitation", "source": str(folder / "annual_precipitation.tif"), "units": "cm a-1"},
            {"name": "land_cover", "source": str(folder / "land_cover.tif"), "units": "1",
             "flags": {"30": "grass", "60": "water"}, "kind": "categorical"},
        ],
        "derive": {"terrain": ["slope"]},
        "elements": {
            "samples": str(folder / "samples.csv"), "elements": ["Fe"], "trees": 3, "n_folds": 2, "folds": ["random"],
            "features": ["elevation", "slope", "annual_precipitation"], "site": "plot", **keys,
        },
    }  # fmt: skip


def test_training_on_the_sources_of_layers_equals_a_wider_cube(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "samples.csv", tmp_path / "samples.csv")
    wide = world(tmp_path, "wide", slice(None))
    del wide["elements"]
    run(wide, progress=False)
    stores = {}
    for name, keys in {
        "cube": {"training_cube": str(tmp_path / "wide.zarr")}, "sources": {"train_on": "sources"},
    }.items():  # fmt: skip
        run(world(tmp_path, name, slice(0, 20), **keys), progress=False)
        stores[name] = open_cube(str(tmp_path / f"{name}.zarr"))
    attrs = stores["sources"]["iron"].attrs
    assert int(attrs["samples_from_sources"]) == int(stores["cube"]["iron"].attrs["samples_from_training_cube"]) > 10
    assert attrs["samples_used"] == stores["cube"]["iron"].attrs["samples_used"]
    assert attrs["samples_on_masked_cells"].count("on cells without soil") == 2, (
        "water of the sources masks samples too"
    )
    for layer in ("iron", "iron_sd"):
        np.testing.assert_array_equal(stores["sources"][layer].values, stores["cube"][layer].values)
    notes = "\n".join(read_record(str(tmp_path / "sources.zarr")).notes)
    assert f"{attrs['samples_from_sources']} of them are used with the covariates of sources" in notes
    # What decides: how the layers are read, and their files.
    changed = world(tmp_path, "sources", slice(0, 20), train_on="sources")
    changed["layers"][1]["units"] = "mm a-1"
    (plan,) = [one.plan for one in preview(changed) if one.title == "topsoil iron"]
    assert any(reason.startswith("elements.train_on") for reason in plan.reasons()), plan.reasons()


def test_sources_that_end_at_the_grid_are_no_training(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "samples.csv", tmp_path / "samples.csv")
    odd = world(tmp_path, "odd", slice(0, 20), train_on="sources", features=["elevation", "topographic_wetness"])
    odd["derive"] = {"hydrology": ["topographic_wetness"]}
    with pytest.raises(RecipeError, match=r"elements.train_on: 'topographic_wetness' is derived of the complete grid"):
        preview(odd)
    with pytest.raises(RecipeError, match=r"elements.train_on: 'elevation' is no layer of \[\[layers\]\]"):
        preview(recipe(folder, tmp_path, train_on="sources"))
    with pytest.raises(RecipeError, match="training_cube and train_on both"):
        read_recipe(recipe(folder, tmp_path, train_on="sources", training_cube="a.zarr"))


def test_a_changed_training_cube_makes_the_map_stale(folder: Path, tmp_path: Path) -> None:
    job = job_of(recipe(folder, tmp_path, "part.zarr", training_cube=str(folder / "cube.zarr")))
    stage = job.stages[0]
    assert any("cube.zarr" in str(file) for file in stage.files)
    assert "table.training_cube" in stage.indifferent  # its content decides, not its path


def test_blocks_that_are_too_wide_suggest_some_that_fit(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"1 block of 3 degrees cannot fill 3 folds.*in a recipe 'block:\d+km'"
    ) as error:
        run(recipe(folder, tmp_path, folds=["random", "block:3deg"], site="plot"), progress=False)
    suggestion = re.search(r"in a recipe '(block:\d+k?m)'", str(error.value))
    assert suggestion is not None
    made = recipe(folder, tmp_path, folds=["random", suggestion[1]], site="plot")
    run(made, progress=False)
    side = suggestion[1].removeprefix("block:").removesuffix("km")
    assert open_cube(made["run"]["output"])["iron"].attrs["deciding_folds"] == f"blocks of {side} km"


def test_blocks_are_sized_by_the_residuals(folder: Path, tmp_path: Path) -> None:
    assert read_recipe({**(made := recipe(folder, tmp_path, site="plot")), "elements": {
        name: value for name, value in made["elements"].items() if name != "folds"
    }}).elements.folds == ("random", "block")  # type: ignore[union-attr]  # fmt: skip
    rng = np.random.default_rng(0)
    place = rng.uniform(0, 400_000, (300, 2))
    waves = np.sin(place[:, 0] / 25_000) * np.cos(place[:, 1] / 25_000)
    table = pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "slope": rng.random(300)})
    table["Fe"] = 10 + table["slope"] + 3 * waves + rng.normal(0, 0.1, 300)
    trained = train(table, "Fe", ["slope"], np.arange(300), trees=5, folds=["random", "block"], block_size="auto")
    assert 20_000 < trained.settings["block_size"] < 130_000
    assert trained.settings["block_units"] == "m"
    assert "km, the range of the variogram of residuals" in trained.settings["folds"]["block"]
    smooth = table.assign(Fe=10 + table["x"] / 1e5)  # correlated over the whole area: half the cutoff
    wide = train(smooth, "Fe", ["slope"], np.arange(300), trees=5, folds=["block"], block_size="auto")
    assert "half the cutoff of the variogram" in wide.settings["folds"]["block"]
    few = train(table[:20], "Fe", ["slope"], np.arange(20), trees=5, folds=["block"], block_size="auto")
    assert "20 sites are too few for a variogram" in few.settings["folds"]["block"]


@pytest.mark.parametrize(
    ("size", "words"), [("3 miles", "expected a number, or a text such as"), ("2deg", "projected")]
)
def test_sides_that_are_none(size: str, words: str) -> None:
    table = pd.DataFrame({"x": np.arange(40.0), "y": np.arange(40.0), "slope": np.arange(40.0), "Fe": np.arange(40.0)})
    with pytest.raises(InputError, match=words):
        train(table, "Fe", ["slope"], np.arange(40), trees=2, folds=["block"], block_size=size)


def test_blocks_in_metres_are_the_same_for_degrees_and_metres() -> None:
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(88, 94, 90), rng.uniform(28, 34, 90)
    table = pd.DataFrame({"lon": lon, "lat": lat, "slope": rng.random(90), "Fe": rng.random(90)})
    crs = f"+proj=laea +lon_0={np.degrees(np.angle(np.exp(1j * np.radians(lon)).mean())):.6f} +lat_0={lat.mean():.6f}"
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    how: dict[str, Any] = {"trees": 2, "folds": ["block"], "block_size": "100km"}
    first = train(table, "Fe", ["slope"], np.arange(90), **how)
    second = train(table.drop(columns=["lon", "lat"]).assign(x=x, y=y), "Fe", ["slope"], np.arange(90), **how)
    pd.testing.assert_frame_equal(first.folds, second.folds)
    assert first.settings["folds"] == {"block": "blocks of 100 km"}


def test_a_changed_recipe_names_the_key(folder: Path, tmp_path: Path) -> None:
    made = recipe(folder, tmp_path, site="plot", screen={"threshold": 4.0})
    run(made, progress=False)
    made["elements"] |= {
        "trees": 5,
        "screen": {"threshold": 3.5},
        "compare": ["elevation"],
        "classes": {"elevation": [4200.0]},
    }
    (plan,) = [item.plan for item in preview(made)]
    assert set(plan.reasons()) == {
        "elements.trees changed from 4 to 5",
        "elements.screen.threshold changed from 4.0 to 3.5",
    }


def test_a_cube_of_one_place_has_the_layers_of_another(folder: Path) -> None:
    part, complete = open_cube(str(folder / "part.zarr")), open_cube(str(folder / "cube.zarr"))
    xr.testing.assert_equal(part["elevation"].load(), complete["elevation"][:, :20].load())
