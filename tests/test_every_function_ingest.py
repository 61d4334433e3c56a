"""Every option of the functions of `tpsoil.ingest` has an effect, or is rejected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from function_sweep import Case, message_of, other, parameters_of, require_complete, require_reproducible, same
from geotiffs import write_tif

from tpsoil import ingest
from tpsoil.cube import align
from tpsoil.depths import SplineSettings
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.soil_properties import SoilProperty
from tpsoil.variables import variable

BOX = (404_000, 3_321_000, 420_000, 3_337_000)
GRID, FINER = grid_from_bounds("EPSG:32646", BOX, 1000), grid_from_bounds("EPSG:32646", BOX, 500)
PLACE = {"crs": "EPSG:32646", "left": 404_000, "top": 3_337_000}
FINE = np.random.default_rng(0).integers(1, 40, (32, 32)).astype("float32")
ELEVATION = variable("elevation")
AREA = geopandas.GeoDataFrame(geometry=[shapely.box(405_000, 3_300_000, 430_000, 3_340_000)], crs="EPSG:32646")
LAKE = geopandas.GeoDataFrame(geometry=[shapely.box(408_000, 3_325_000, 412_000, 3_330_000)], crs="EPSG:32646")
TABLE = pd.DataFrame({"site": ["a", "a", "b"], "Fe": ["3100", "NA", "2900"], "name": ["x", "y", None]})
PITS = pd.DataFrame({"profile": ["a", "b"], "thickness": [0.9, 1.2], "second": [0.5, 0.7]})
DESCRIBED = PITS.assign(site_key=["a", "b"], hzn_top=0, hzn_bot=[20, 30], hzn_desgn="A")
CORES = PITS.assign(top=0, bottom=[20, 30])[["profile", "top", "bottom"]]
THICK = PITS.assign(thickness=PITS["thickness"] * 100)
SAMPLES = pd.DataFrame({
    "site": ["a", "a", "b", "b"], "plot": ["p", "q", "q", "q"], "replicate": [1, 2, 1, 2], "part": [4, 3, 2, 1],
    "Fe": [31000.0, 30000.0, np.nan, 26000.0], "Zn": [51.0, 48.0, 60.0, -1.0],
})  # fmt: skip
REPEATED = pd.DataFrame({"Fe": np.arange(9) + 26000.0, "Zn": [20.0] * 4 + [50.0, 60, 70, 80, 90]})
PLACED = SAMPLES.assign(Zn=50.0, x=500_000.0 + SAMPLES.index, y=3_320_000.0)
DEPTHS = pd.DataFrame({
    "site": ["a", "a", "b"], "replicate": 1, "element": "Fe", "value": [9.0, 3.0, 5.0], "detection_limit": np.nan,
    "censored": False, "upper": [0, 20, 0], "lower": [20, 50, 10], "from": [0, 30, 0], "to": [30, 50, 10],
})  # fmt: skip
POSITIVE = SAMPLES.assign(Zn=SAMPLES["Zn"].abs() + 40)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Rasters, series, polygons and a table, in the working directory."""
    path = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        write_tif(path / "fine.tif", FINE, size=500, **PLACE)
        write_tif(path / "second.tif", FINE[:, ::-1], size=500, **PLACE)
        write_tif(path / "bands.tif", np.stack([FINE, FINE[::-1]]), size=500, **PLACE)
        write_tif(path / "lost.tif", FINE, size=500, **{**PLACE, "crs": None})
        axes = {"y": coordinates(FINER)["y"].values, "x": coordinates(FINER)["x"].values}
        stack = {"first": (("y", "x"), FINE), "elevation": (("y", "x"), 2 * FINE)}
        xr.Dataset(stack, coords=axes).to_netcdf("two.nc", engine="scipy")
        months = pd.date_range("2001-01-01", periods=3, freq="MS")
        series = xr.DataArray(np.stack([FINE] * 3), dims=("time", "y", "x"), coords={"time": months, **axes})
        xr.Dataset({"rain": series.assign_attrs(units="mm")}).to_netcdf("rain.nc", engine="scipy")
        AREA.to_file("area.shp")
        Path("area.prj").unlink()
        Path("table.csv").write_text("a;b,c\n1;2,3\n")
        for name, table in {"names.csv": TABLE, "samples.csv": POSITIVE, "pits.csv": PITS}.items():
            table.assign(owner="Köln").to_csv(name, index=False)
        yield path


def read_raster(**arguments: Any) -> Any:
    """Values on a grid, and what the raster records."""
    raster = ingest.read_raster(spec=ELEVATION, **arguments)
    return [align(raster, GRID).compute(), raster.origin, raster.digest, raster.notes]


def find_parts(**arguments: Any) -> Any:
    """What each part is."""
    parts = ingest.find_parts(**{"where": "elevation", **arguments})
    return [[part.box, part.name, part.band, part.read(slice(0, 4), slice(0, 4))] for part in parts]


def read_mask(**arguments: Any) -> Any:
    """The mask, computed."""
    return ingest.read_mask(grid=GRID, **arguments).compute()


TWO = {"source": "two.nc", "crs": "EPSG:32646"}
CASES = {
    "find_parts": Case(
        find_parts,
        {"source": "fine.tif"},
        {
            "where": other("slope", source="none.tif"),
            "variable": other("elevation", variable="first", **TWO),
            "band": other(2, source="bands.tif", band=1),
            "crs": other("EPSG:32646", source="lost.tif"),
            "combined": other(True, source="bands.tif", names="combine"),
            "prefer": other("elevation", names="variable", **TWO),
        },
    ),
    "read_mask": Case(
        read_mask,
        {"source": AREA},
        {
            "outside": other(LAKE),
            "crs": other("EPSG:32646", source="area.shp"),
            "chunks": same(4, "how much is computed at once"),
        },
    ),
    "read_profiles": Case(
        ingest.read_profiles,
        {"source": PITS},
        {
            "units": other("dm"),
            "columns": other({"thickness": "second"}),
            "layout": other("ncss", source=DESCRIBED),
            "sites": other(PITS.assign(owner="x")[["profile", "owner"]]),
            "undesignated": other("complete", source=CORES),
            "encoding": other("cp1252", source="pits.csv"),
            "where": other("pits", source=THICK),
        },
    ),
    "read_raster": Case(
        read_raster,
        {"source": "fine.tif"},
        {
            "units": other("cm"),
            "nodata": other(7.0),
            "scale": other(0.1),
            "offset": other(3.0),
            "variable": other("elevation", variable="first", **TWO),
            "band": other(2, source="bands.tif", band=1),
            "crs": other("EPSG:32646", source="lost.tif"),
            "combine": other("max", source=["fine.tif", "second.tif"], combine="mean"),
        },
    ),
    "read_samples": Case(
        ingest.read_samples,
        {"source": POSITIVE, "elements": ["Fe", "Zn"]},
        {
            "elements": other(["Fe"]),
            "site": other("plot"),
            "replicate": other("part"),
            "units": other("g kg-1", check_units=False),
            "limits": other({"Zn": 90.0}),
            "negative": other("censor", source=SAMPLES),
            "empty": other("censored"),
            "check_units": other(False, units="ug kg-1", names="Fe"),
            "properties": other({"Zn": SoilProperty("Zn", units="g kg-1", substance="Zn")}, units="mg kg-1"),
            "at_minimum": other("censor", source=REPEATED),
            "coordinates": other(("y", "x"), source=PLACED),
            "crs": other("EPSG:32646", source=PLACED),
            "encoding": other("cp1252", source="samples.csv"),
            "where": other("plots", source=SAMPLES),
        },
    ),
    "read_stack": Case(
        ingest.read_stack,
        {"source": "rain.nc", "variable": "rain", "units": "mm", "crs": "EPSG:32646"},
        {"came_in": other("cm"), "crs": other("EPSG:32645")},
    ),
    "read_table": Case(
        ingest.read_table,
        {"source": TABLE},
        {
            "needed": other(["Zn"], names="no column 'Zn'"),
            "numbers": other(["Fe"]),
            "complete": other(["name"], names="name"),
            "unique": other(["site"], names="site"),
            "where": other("plots", needed=["Zn"]),
            "separator": other(";", source="table.csv"),
            "encoding": other("cp1252", source="names.csv"),
        },
    ),
    "read_dates": Case(
        message_of(ingest.read_dates),
        {"column": pd.Series(["2001-01-04", "soon"], name="day"), "where": "a.csv"},
        {"where": other("b.csv")},
    ),
    "samples_at_depth": Case(
        ingest.samples_at_depth,
        {"samples": DEPTHS},
        {
            "interval": other((0.0, 25.0)),
            "depths": other(("from", "to")),
            "settings": other(SplineSettings(smoothing=50.0)),
            "where": other("plots", depths=("no", "lower"), names="plots"),
        },
    ),
    "require_columns": Case(
        message_of(ingest.require_columns),
        {"table": TABLE, "needed": ["Zn"], "where": "a.csv"},
        {"where": other("b.csv")},
    ),
    "require_unique": Case(
        message_of(ingest.require_unique),
        {"table": TABLE, "keys": ["site"], "where": "a.csv"},
        {"where": other("b.csv")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), parameters_of(CASES))
def test_an_option_has_an_effect_or_is_rejected(name: str, option: str) -> None:
    CASES[name].check(name, option)


@pytest.mark.parametrize("name", CASES)
def test_equal_options_give_equal_results(name: str) -> None:
    require_reproducible(CASES[name])


def test_every_option_has_another_value_here() -> None:
    require_complete(ingest, CASES)
