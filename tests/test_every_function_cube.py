"""Every option of the functions of `tpsoil.cube` has an effect, or is rejected."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas
import netCDF4
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from function_sweep import Case, other, parameters_of, require_complete, require_reproducible, same
from geotiffs import write_tif
from regions import write_region

from tpsoil import cube
from tpsoil.errors import InputError, TpsoilError
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.ingest import read_raster
from tpsoil.variables import variable

BOX = (404_000, 3_321_000, 420_000, 3_337_000)
GRID, FINER = grid_from_bounds("EPSG:32646", BOX, 1000), grid_from_bounds("EPSG:32646", BOX, 500)
PLACE = {"crs": "EPSG:32646", "left": 404_000, "top": 3_337_000}
RNG = np.random.default_rng(0)
FINE = xr.DataArray(RNG.integers(1, 40, (32, 32)).astype("float32"), dims=("y", "x"), coords=coordinates(FINER))
SLOPE = FINE.assign_attrs(variable("slope").attributes())
COARSE = xr.DataArray(FINE.values[::2, ::2], dims=("y", "x"), coords=coordinates(GRID))
ELEVATION = COARSE.assign_attrs(variable("elevation").attributes())
LOST = SLOPE.drop_vars("spatial_ref")
AREA = geopandas.GeoDataFrame(geometry=[shapely.box(405_000, 3_300_000, 430_000, 3_340_000)], crs="EPSG:32646")
LAKE = geopandas.GeoDataFrame(geometry=[shapely.box(408_000, 3_325_000, 412_000, 3_330_000)], crs="EPSG:32646")
POINTS = pd.DataFrame({"x": [404_500, 410_500, 413_500, 300_000.0], "y": [3_336_500, 3_330_500, 3_325_500, 0.0]})
BASE, UNFINISHED = "base.zarr", "unfinished.zarr"
NUMBERS = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cube with a mask, one with an unfinished layer, and rasters, in the working directory."""
    path = tmp_path_factory.mktemp("stores")
    mask = np.ones((16, 16), "uint8")
    mask[4:8, 4:8] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        cube.create_cube(BASE, GRID, chunks=8)
        cube.add_layer(BASE, "slope", COARSE)
        cube.add_layer(BASE, "soil_mask", COARSE.copy(data=mask))
        shutil.copytree(BASE, UNFINISHED)
        cube.create_layers(UNFINISHED, [variable("elevation")])
        write_tif(path / "fine.tif", FINE.values, size=500, **PLACE)
        write_tif(path / "second.tif", FINE.values[:, ::-1], size=500, **PLACE)
        write_tif(path / "bands.tif", np.stack([FINE.values, FINE.values[::-1]]), size=500, **PLACE)
        write_tif(path / "lost.tif", FINE.values, size=500, **{**PLACE, "crs": None})
        write_tif(path / "classes.tif", (FINE.values[::2, ::2] % 3 + 1).astype("uint8"), size=1000, **PLACE)
        stack = {"first": (("y", "x"), FINE.values), "other": (("y", "x"), 2 * FINE.values)}
        xr.Dataset(stack, coords={"y": FINE["y"].values, "x": FINE["x"].values}).to_netcdf("two.nc", engine="scipy")
        POINTS.assign(owner="Köln").to_csv("points.csv", index=False)
        yield path


def copied(store: str = BASE) -> str:
    """Another store, equal to this one."""
    place = f"copy{next(NUMBERS)}.zarr"
    shutil.copytree(store, place)
    return place


def stored(place: str) -> list[Any]:
    """Everything in a store."""
    return [cube.open_cube(place, incomplete=True).load(), cube.layer_states(place), cube.cube_info(place).chunks]


def add_layer(**arguments: Any) -> Any:
    """The store with the layer."""
    cube.add_layer(place := copied(), **arguments)
    return stored(place)


def add_layers(**arguments: Any) -> Any:
    """The store with the layers."""
    cube.add_layers(place := copied(), **arguments)
    return stored(place)


def write_layers(**arguments: Any) -> Any:
    """The store with the layers."""
    cube.write_layers(place := copied(), **arguments)
    return stored(place)


def write_overviews(**arguments: Any) -> Any:
    """The overviews of a larger store."""
    grid = grid_from_bounds("EPSG:32646", (0, 0, 520_000, 1000), 1000)
    cube.create_cube(place := f"copy{next(NUMBERS)}.zarr", grid)
    for name in ("slope", "elevation"):
        cube.add_layer(place, name, xr.DataArray(np.ones(grid.shape), dims=("y", "x"), coords=coordinates(grid)))
    return cube.write_overviews(place, **arguments)


def create_layers(**arguments: Any) -> Any:
    """The store with the empty layers."""
    cube.create_layers(place := copied(), **arguments)
    return stored(place)


def create_cube(*, existing: bool = False, **arguments: Any) -> Any:
    """The new store."""
    place = copied() if existing else f"new{next(NUMBERS)}.zarr"
    cube.create_cube(place, GRID, **arguments)
    return stored(place)


def finish_layers(**arguments: Any) -> Any:
    """The store with a layer that was written by region."""
    place = copied(UNFINISHED)
    write_region(place, {"elevation": COARSE.values}, slice(0, 16), slice(0, 16))
    cube.finish_layers(place, ["elevation"], **arguments)
    return stored(place)


def align(**arguments: Any) -> Any:
    """The values on the grid."""
    return cube.align(read_raster(FINE, variable("slope")), GRID, **arguments).compute()


def coarsen_store(*, existing: bool = False, **arguments: Any) -> Any:
    """The layers of the coarser store."""
    out = f"memory://coarse{next(NUMBERS)}"
    if existing:
        cube.create_cube(out, GRID)
    return cube.coarsen_store(BASE, out, 2, **arguments)


def export_store(*, existing: bool = False, **arguments: Any) -> Any:
    """The files and their variables."""
    out = Path(f"export{next(NUMBERS)}") / "maps.nc"
    out.parent.mkdir()
    if existing:
        out.write_bytes(b"before")
    files = cube.export_store(BASE, out, **arguments)
    return [(file.name, sorted(netCDF4.Dataset(str(file)).variables)) for file in files]


def sample_cube(**arguments: Any) -> Any:
    """The table, or the message where a point outside is an error."""
    try:
        return cube.sample_cube(BASE, arguments.pop("points", POINTS), **arguments)
    except TpsoilError as error:
        return str(error)


OWN = {"name": "own", "units": "1", "kind": "continuous"}
CLASSES = {**OWN, "kind": "categorical", "source": "classes.tif", "flags": {1: "a", 2: "b", 3: "c"}}
DESCRIBED = {
    "origin": other("a survey"),
    "parents": other(["slope"]),
    "attrs": other({"note": "measured"}),
}
CASES = {
    "add_layer": Case(
        add_layer,
        {"name": "elevation", "source": FINE},
        {
            "units": other("cm"),
            "nodata": other(7.0),
            "scale": other(0.1),
            "offset": other(3.0),
            "variable": other("other", source="two.nc", crs="EPSG:32646", variable="first"),
            "band": other(2, source="bands.tif", band=1),
            "crs": other("EPSG:32646", source="lost.tif"),
            "combine": other("max", source=["fine.tif", "second.tif"], combine="mean"),
            "outside": other(LAKE, name="soil_mask", source=AREA, overwrite=True),
            "resampling": other("nearest"),
            "kind": other("circular", **{**OWN, "units": "degree"}),
            "long_name": other("another name", **OWN),
            "flags": other({1: "x", 2: "y", 3: "z"}, **CLASSES),
            "dtype": other("uint8", **CLASSES),
            **DESCRIBED,
            "overwrite": other(True, name="slope"),
        },
    ),
    "add_layers": Case(
        add_layers,
        {"layers": {"elevation": ELEVATION}},
        {
            "nodata": other(7.0),
            "crs": other("EPSG:32646", layers={"elevation": LOST.assign_attrs(ELEVATION.attrs)}),
            "resampling": other("nearest", layers={"elevation": FINE.assign_attrs(ELEVATION.attrs)}),
            **DESCRIBED,
            "overwrite": other(True, layers={"slope": SLOPE}),
        },
    ),
    "align": Case(align, {}, {"chunks": same(4, "how much is computed at once"), "resampling": other("nearest")}),
    "check_cube": Case(
        cube.check_cube,
        {"store": UNFINISHED},
        {"layers": other(["slope"]), "threads": same(1, "chunks that are read at once")},
    ),
    "create_cube": Case(
        create_cube, {}, {"chunks": other(4), "overwrite": other(True, existing=True), "attrs": other({"note": "own"})}
    ),
    "create_layers": Case(
        create_layers,
        {"specs": [variable("elevation")]},
        {"attrs": other({"elevation": {"note": "own"}}), "overwrite": other(True, specs=[variable("slope")])},
    ),
    "coarsen_store": Case(
        coarsen_store,
        {"layers": ["slope"]},
        {"layers": other(["slope", "soil_mask"]), "overwrite": other(True, existing=True)},
    ),
    "export_store": Case(
        export_store, {}, {"layers": other(["slope"]), "overwrite": other(True, existing=True)}
    ),
    "finish_layers": Case(finish_layers, {}, {"attrs": other({"elevation": {"note": "own"}})}),
    "missing_chunks": Case(cube.missing_chunks, {"store": UNFINISHED}, {"names": other(["slope"])}),
    "open_cube": Case(cube.open_cube, {"store": UNFINISHED}, {"incomplete": other(True)}),
    "sample_cube": Case(
        sample_cube,
        {},
        {
            "layers": other(["slope"]),
            "outside": other("keep"),
            "on_masked": other("move"),
            "masked_within_m": other(500.0, on_masked="move"),
            "encoding": other("cp1252", points="points.csv"),
            "where": other("my points", outside="error"),
        },
    ),
    "stac_item": Case(
        cube.stac_item,
        {"store": BASE, "created": datetime(2026, 1, 2, tzinfo=UTC)},
        {"layers": other(["slope"]), "created": other(datetime(2026, 1, 3, tzinfo=UTC))},
    ),
    "write_overviews": Case(
        write_overviews,
        {},
        {
            "layers": other(["slope"]),
            "changed": same({"slope": [(0, 0)]}, "overviews that were not there are written completely"),
        },
    ),
    "zonal_statistics": Case(
        cube.zonal_statistics,
        {"layers": ELEVATION.rename("elevation"), "polygons": AREA.assign(basin="right", other=None)},
        {
            "by": other("basin"),
            "statistics": other(["mean"]),
            "partial_cells": other("centre", polygons=[shapely.box(405_200, 3_322_300, 411_700, 3_331_100)]),
            "crs": other("EPSG:32645", polygons=[AREA.geometry[0]]),
        },
    ),
    "write_layers": Case(
        write_layers,
        {"layers": {"elevation": ELEVATION}},
        {
            "overwrite": other(True, layers={"slope": COARSE.assign_attrs(SLOPE.attrs)}),
            "require_values": other(True, layers={"elevation": ELEVATION * np.nan}, names="none of the 256 cells"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), parameters_of(CASES))
def test_an_option_has_an_effect_or_is_rejected(name: str, option: str) -> None:
    CASES[name].check(name, option)


@pytest.mark.parametrize("name", CASES)
def test_equal_options_give_equal_results(name: str) -> None:
    require_reproducible(CASES[name])


def test_every_option_has_another_value_here() -> None:
    require_complete(cube, CASES)


def test_another_type_of_a_layer_of_the_catalogue_is_rejected() -> None:
    with pytest.raises(InputError, match="'elevation' is float32 in the catalogue, not 'float64'; omit dtype"):
        cube.add_layer(copied(), "elevation", FINE, dtype="float64")
    assert add_layer(name="elevation", source=FINE, dtype="float32")[0]["elevation"].dtype == "float32"
    classes = COARSE.copy(data=np.full((16, 16), 4, "int64")).assign_attrs(variable("climate_zone").attributes())
    cube.add_layers(place := copied(), {"climate_zone": classes})
    assert cube.open_cube(place)["climate_zone"].dtype == "uint8"


NETCDF = {"source": "two.nc", "variable": "first", "crs": "EPSG:32646"}
UNUSED = {
    "a file with one variable": {"source": "fine.tif", "variable": "other"},
    "an array of one variable": {"source": FINE, "variable": "other"},
    "an array of one band": {"source": FINE, "band": 3},
    "a NetCDF variable of one band": {**NETCDF, "band": 3},
}


@pytest.mark.parametrize("options", UNUSED.values(), ids=UNUSED)
def test_a_variable_or_band_that_a_source_does_not_have_is_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        cube.add_layer(copied(), "elevation", **options)
