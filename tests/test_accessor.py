"""`ds.tpsoil`: each method gives what the function gives that it calls, as lazily, and costs nothing on import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from sklearn.linear_model import LinearRegression

import tpsoil
from tpsoil.covariates import terrain_attributes
from tpsoil.errors import GridError, MissingInputError
from tpsoil.forest import SoilForest, predict_cube
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.reports.figures import map_layer
from tpsoil.solum import PUBLISHED, thickness
from tpsoil.variables import variable

mpl.use("Agg")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cube") / "cube.zarr"
    grid = plateau_grid(50_000)
    rng = np.random.default_rng(0)
    layers = {
        "elevation": rng.uniform(3000, 5000, grid.shape),
        "mean_annual_temperature": rng.uniform(-5, 10, grid.shape),
        "annual_precipitation": rng.uniform(100, 900, grid.shape),
        "water_erosion": rng.uniform(0, 20, grid.shape),
        "wind_erosion": rng.uniform(0, 5, grid.shape),
        "general_curvature": rng.normal(0, 1e-3, grid.shape),
        "soil_mask": rng.random(grid.shape) > 0.2,
    }
    tpsoil.create_cube(place, grid, chunks=16, attrs={"title": "of the accessor's tests"})
    for name, values in layers.items():
        spec = variable(name)
        layer = xr.DataArray(values.astype(spec.dtype), dims=("y", "x"), coords=coordinates(grid))
        tpsoil.add_layer(place, name, layer.assign_attrs(units=spec.units))
    return place


@pytest.fixture
def cube(store: Path) -> xr.Dataset:
    return tpsoil.open_cube(store)


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("something was computed")


def test_each_method_is_its_function_and_stays_lazy(cube: xr.Dataset) -> None:
    X = pd.DataFrame(np.random.default_rng(0).random((30, 2)), columns=["elevation", "annual_precipitation"])
    forest = SoilForest(4).fit(X, X["elevation"])
    linear = LinearRegression().fit(X, X["elevation"])
    with dask.config.set(scheduler=refuse):
        pairs = [
            (cube.tpsoil.terrain(), terrain_attributes(cube["elevation"])),
            (
                cube.tpsoil.terrain(ruggedness="mean_difference", position_sd=900.0),
                terrain_attributes(cube["elevation"], ruggedness="mean_difference", position_sd=900.0),
            ),
            (cube.tpsoil.solum_thickness(PUBLISHED[3]), thickness(cube, PUBLISHED[3])),
            (cube.tpsoil.predict(forest, quantiles=[0.5]), predict_cube(forest, cube, quantiles=[0.5])),
            (cube.tpsoil.predict(linear), predict_cube(linear, cube)),
        ]
        for own, _ in pairs:
            assert all(layer.chunks for layer in own.data_vars.values())
    for own, expected in pairs:
        xr.testing.assert_identical(own.compute(), expected.compute())


def test_points_are_sampled(cube: xr.Dataset) -> None:
    points = pd.DataFrame({"lon": [85.0, 90.0], "lat": [32.0, 34.0]})
    own = cube.tpsoil.sample(points, layers=["elevation"], outside="error", on_masked="keep")
    expected = tpsoil.sample_cube(cube, points, layers=["elevation"], outside="error", on_masked="keep")
    pd.testing.assert_frame_equal(own, expected)


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("terrain", terrain_attributes), ("solum_thickness", thickness), ("predict", predict_cube),
        ("sample", tpsoil.sample_cube), ("zonal_statistics", tpsoil.zonal_statistics), ("explore", tpsoil.explore),
    ],
)  # fmt: skip
def test_each_method_has_every_option_of_its_function(method: str, function: Any) -> None:
    parameters = inspect.signature(function).parameters.values()
    options = {one.name for one in parameters if one.kind == one.KEYWORD_ONLY} - {"where"}  # of messages
    assert options <= set(inspect.signature(getattr(xr.Dataset.tpsoil, method)).parameters)


def test_points_of_a_table_in_another_encoding_are_moved_onto_soil(cube: xr.Dataset, tmp_path: Path) -> None:
    row, column = np.argwhere(cube["soil_mask"].values == 0)[0]
    path = tmp_path / "sites.csv"
    path.write_text(f"site,x,y\nGölmud,{float(cube.x[column])},{float(cube.y[row])}\n", encoding="cp1252")
    table = cube.tpsoil.sample(path, layers=["soil_mask"], encoding="cp1252", on_masked="move", masked_within_m=80_000)
    assert (table["site"].tolist(), table["soil_mask"].tolist()) == (["Gölmud"], [1])
    assert "within 80 km" in table.attrs["masked_note"]


def test_exported_files_are_those_of_the_store(store: Path, cube: xr.Dataset, tmp_path: Path) -> None:
    own = cube.tpsoil.export(tmp_path / "own" / "e.tif", layers=["elevation", "water_erosion"])
    expected = tpsoil.export_store(store, tmp_path / "e.tif", layers=["elevation", "water_erosion"])
    with rasterio.open(own[0]) as left, rasterio.open(expected[0]) as right:
        np.testing.assert_array_equal(left.read(), right.read())
        assert (left.crs, left.transform, left.descriptions, left.units, left.nodata.hex()) == (
            right.crs, right.transform, right.descriptions, right.units, right.nodata.hex(),
        )  # fmt: skip
        assert left.tags()["title"] == "of the accessor's tests"
    with pytest.raises(FileExistsError, match="already exists"):
        cube.tpsoil.export(own[0], layers=["elevation", "water_erosion"])
    cube.tpsoil.export(own[0], layers=["elevation"], overwrite=True)
    assert sorted(file.name for file in (tmp_path / "own").iterdir()) == ["e.tif"]


def test_what_was_derived_is_exported_too(cube: xr.Dataset, tmp_path: Path) -> None:
    maps = cube.tpsoil.solum_thickness(PUBLISHED[3])
    (file,) = maps.tpsoil.export(tmp_path / "maps.nc")
    with xr.open_dataset(file) as stored:
        np.testing.assert_array_equal(stored["solum_thickness"].values, maps["solum_thickness"].values)
        assert stored["solum_thickness"].attrs["units"] == "m"
        assert set(maps.data_vars) <= set(stored.variables)


def test_a_map_is_drawn(cube: xr.Dataset) -> None:
    own = cube.tpsoil.map("elevation", title="DEM", relief=True)
    expected = map_layer(cube, "elevation", title="DEM", hillshade=cube["elevation"], mask=cube["soil_mask"])
    for figure in (own, expected):
        figure.canvas.draw()
    np.testing.assert_array_equal(own.canvas.buffer_rgba(), expected.canvas.buffer_rgba())


def test_what_is_not_there_is_named(cube: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"ds.tpsoil.terrain: no layer 'elevations'.*did you mean 'elevation'"):
        cube.tpsoil.terrain("elevations")
    with pytest.raises(MissingInputError, match=r"ds.tpsoil.export: no layer 'ndvi'"):
        cube.tpsoil.export(tmp_path / "a.tif", layers=["ndvi"])
    with pytest.raises(ValueError, match="no layer with dims"):
        xr.Dataset().tpsoil.export(tmp_path / "a.tif")
    with pytest.raises(GridError):
        xr.Dataset({"slope": (("y", "x"), np.zeros((2, 2)))}).tpsoil.export(tmp_path / "a.tif")
    assert len(repr(cube.tpsoil).splitlines()) == 1


@pytest.mark.parametrize(
    "lines",
    [
        "import tpsoil; assert 'xarray' not in sys.modules; import xarray as xr",
        "import xarray as xr; import tpsoil",
        "import tpsoil.grid; import xarray as xr",
        "import tpsoil; from xarray import Dataset; import xarray as xr",
    ],
)
def test_importing_tpsoil_registers_it_and_imports_nothing_heavy(lines: str) -> None:
    heavy = "[m for m in ('sklearn', 'numba', 'rasterio', 'matplotlib') if m in sys.modules and 'grid' not in before]"
    code = f"import sys; before = {lines!r}; {lines}; print(xr.Dataset().tpsoil, {heavy})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("each []")


def test_masked_classes_are_exported_as_missing(cube: xr.Dataset, tmp_path: Path) -> None:
    """`where` makes classes floats with NaN."""
    classes = xr.full_like(cube["soil_mask"], 7, dtype="uint8").assign_attrs(variable("land_cover").attributes())
    masked = xr.Dataset({"land_cover": classes.where(cube["soil_mask"] == 1)}, cube.coords)
    (file,) = masked.tpsoil.export(tmp_path / "classes.tif")
    with rasterio.open(file) as stored:
        assert (stored.dtypes[0], stored.nodata) == ("uint8", 255)
        np.testing.assert_array_equal(stored.read(1), np.where(cube["soil_mask"] == 1, 7, 255))


def test_declared_codes_are_exported_as_missing(cube: xr.Dataset, tmp_path: Path) -> None:
    """Numbers as rioxarray opens them: unmasked, with their code in the attributes."""
    empty = cube["soil_mask"].values == 0
    codes = {"elevation": np.int16(-9999), "geology": np.uint8(0), "snow_days": np.float32(-1)}
    kinds = {"elevation": "continuous", "geology": "categorical", "snow_days": "continuous"}
    source = xr.Dataset(
        {
            name: (("y", "x"), np.where(empty, code, code.dtype.type(9)), {"_FillValue": code, "kind": kinds[name]})
            for name, code in codes.items()
        },
        cube.coords,
    )
    (file,) = source.tpsoil.export(tmp_path / "layers.nc")
    with xr.open_dataset(file) as stored:
        for name in codes:
            np.testing.assert_array_equal(stored[name].isnull(), empty, err_msg=name)
            assert float(stored[name].max()) == float(stored[name].min()) == 9
