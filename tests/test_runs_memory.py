"""The forecast of memory: tiles shrink, then fewer are worked on at once, then the run is refused; and it is kept."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.windows
import shapely
import small_run
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from tpsoil.cube import create_cube
from tpsoil.engine.forecast import BASE_BYTES, Resources, fit_memory, tile_bytes
from tpsoil.engine.plan import Tiling
from tpsoil.errors import InputError
from tpsoil.grid import coordinates
from tpsoil.ingest import read_stack
from tpsoil.recipes import derive_sources, preview, run
from tpsoil.stage import Stage
from tpsoil.variables import variable

ROOT = Path(__file__).parent.parent
STAGE = Stage("s", "s", "s", (variable("slope"),), lambda window: {}, inputs=("elevation",), halo=1)
TILING = Tiling((4096, 4096), 128)
FREE = Resources(threads=4, processes=1, limit=None, where="r.toml", side=16)


def of_side(side: int) -> int:
    return tile_bytes(STAGE, Tiling(TILING.shape, TILING.chunk, side), [4])


def test_a_tile_counts_its_window_its_results_and_the_work_on_them() -> None:
    window = (128 + 2) ** 2
    assert of_side(1) == int(window * 8 + 128**2 * 8 + window * STAGE.bytes_per_cell)
    assert of_side(4) > 15 * of_side(1)


def test_tiles_shrink_then_threads_then_it_is_refused() -> None:
    free = fit_memory(STAGE, TILING, [4], FREE)
    assert (free.side, free.at_once) == (16, 4)
    smaller = fit_memory(STAGE, TILING, [4], replace(FREE, limit=BASE_BYTES + 4 * of_side(4)))
    assert (smaller.side, smaller.at_once) == (4, 4)
    fewer = fit_memory(STAGE, TILING, [4], replace(FREE, limit=BASE_BYTES + 2 * of_side(1)))
    assert (fewer.side, fewer.at_once) == (1, 2)
    for forecast in (smaller, fewer):
        assert forecast.total == BASE_BYTES + forecast.at_once * of_side(forecast.side)
    with pytest.raises(
        InputError, match=r"r.toml: stage 's' needs .* memory allows .*; (set chunks = 64|give memory=)"
    ):
        fit_memory(STAGE, TILING, [4], replace(FREE, limit=BASE_BYTES + of_side(1) - 1))


def test_a_dry_run_rejects_the_workers_that_the_run_rejects(tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=32)
    for plan_or_run in (preview, run):
        with pytest.raises(InputError, match="^workers is 0, expected at least 1"):
            plan_or_run(recipe, workers=0)


def test_what_it_says_would_fit_does() -> None:
    with pytest.raises(InputError) as caught:
        fit_memory(STAGE, TILING, [4], replace(FREE, limit=10**8))
    advised = float(str(caught.value).split("memory=")[1].split(";")[0])
    assert fit_memory(STAGE, TILING, [4], replace(FREE, limit=int(advised * 1e9))).total <= advised * 1e9


CHILD = """
import json, sys
from tpsoil.recipes import run
from tpsoil.engine.tiles import peak_bytes
how = json.loads(sys.argv[2])
run(json.loads(sys.argv[1]), workers=2, progress=False, **how)
print(peak_bytes())
"""


LAYER_CHILD = """
import json, sys
from tpsoil.recipes import preview, run
from tpsoil.engine.tiles import peak_bytes
recipe = json.loads(sys.argv[1])
forecast = max(stage.forecast.total for stage in preview(recipe, workers=1))
run(recipe, workers=1, progress=False)
print(forecast, peak_bytes())
"""


def write_strips(path: Path, box: GeoBox) -> None:
    """A GeoTIFF in strips as wide as the raster."""
    options = {"driver": "GTiff", "dtype": "float32", "count": 1, "compress": "deflate", "tiled": False}
    height, width = box.shape
    with rasterio.open(path, "w", height=height, width=width, crs=box.crs, transform=box.transform, **options) as file:
        for top in range(0, height, 256):
            rows = np.full((min(256, height - top), width), 5.0, np.float32)
            file.write(rows, 1, window=rasterio.windows.Window(0, top, width, rows.shape[0]))


def write_one_chunk(path: Path, box: GeoBox) -> None:
    """A NetCDF file of one compressed chunk."""
    values = np.full(box.shape, 5.0, np.float32)
    array = xr.DataArray(values, dims=("y", "x"), coords=coordinates(box), name="layer", attrs={"units": "1"})
    array.to_netcdf(path, encoding={"layer": {"zlib": True, "complevel": 1, "chunksizes": tuple(box.shape)}})


@pytest.mark.parametrize(("name", "write", "shape"), [
    ("wide.tif", write_strips, (2048, 65536)),
    ("one_chunk.nc", write_one_chunk, (8192, 8192)),
])  # fmt: skip
def test_blocks_and_chunks_of_a_source_are_in_the_forecast(
    tmp_path: Path, name: str, write: Callable[[Path, GeoBox], None], shape: tuple[int, int]
) -> None:
    """A tile reads 128 of its columns; the strips that it touches, or the chunk, are decoded whole."""
    grid = small_run.small_grid(128)
    create_cube(str(tmp_path / "cube.zarr"), grid, chunks=128)
    west, north = grid.transform * (0, 0)
    # A tile touches all strips: 16 rows a cell; of the chunk it touches one pixel a cell.
    rows_a_cell = shape[0] / 128 if name.endswith("tif") else 1.0
    step = grid.resolution.x
    transform = Affine(step, 0, west, 0, -step / rows_a_cell, north)
    write(tmp_path / name, GeoBox(shape, transform, grid.crs))
    layer = {"name": "layer", "source": str(tmp_path / name), "units": "1", "kind": "continuous"}
    recipe = {
        "run": {"name": "layer", "output": str(tmp_path / "maps.zarr"), "cube": str(tmp_path / "cube.zarr")},
        "layers": [layer | {"crs": grid.crs.to_wkt()}],
    }
    require_forecast(recipe)


def require_forecast(recipe: dict[str, Any]) -> None:
    """The peak is above that of an idle process, below the forecast, and more than a third of it."""
    done = subprocess.run(
        [sys.executable, "-c", LAYER_CHILD, json.dumps(recipe)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    forecast, peak = (int(text) for text in done.stdout.split()[-2:])
    print(f"forecast {forecast / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB")
    assert BASE_BYTES + 64 * 2**20 < peak <= forecast < 3 * peak, (forecast, peak)


def strips_of_a_dem(folder: Path, grid: GeoBox) -> dict[str, Any]:
    """Terrain of a DEM in strips: a tile reads 128 of 65536 columns, and decodes all of them."""
    west, north = grid.transform * (0, 0)
    step = grid.resolution.x
    write_strips(folder / "dem.tif", GeoBox((2048, 65536), Affine(step, 0, west, 0, -step / 16, north), grid.crs))
    return {"derive": {"dem": str(folder / "dem.tif"), "dem_units": "m", "terrain": ["slope"]}}


def degrees_of(grid: GeoBox) -> tuple[float, ...]:
    """West, south, east and north of a grid."""
    return tuple(Transformer.from_crs(grid.crs.to_wkt(), 4326, always_xy=True).transform_bounds(*grid.boundingbox))


def write_months(folder: Path, grid: GeoBox) -> xr.Dataset:
    """Twelve months of 1280 x 1280 cells around a grid, in degC."""
    west, south, east, north = degrees_of(grid)
    steps = [np.linspace(west - 1, east + 1, 1280), np.linspace(south - 1, north + 1, 1280)]
    months = np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]")
    values = np.full((12, 1280, 1280), 5.0, np.float32)
    stack = xr.DataArray(values, coords={"time": months, "lat": steps[1], "lon": steps[0]}, dims=("time", "lat", "lon"))
    return stack.assign_attrs(units="degC").to_dataset(name="tas")


def a_netcdf_stack(folder: Path, grid: GeoBox) -> dict[str, Any]:
    """Monthly temperature in one NetCDF file, which is loaded when it is opened."""
    write_months(folder, grid).to_netcdf(folder / "tas.nc")
    return {"derive": {"monthly_temperature": f"{folder / 'tas.nc'}:tas", "climate": ["mean_annual_temperature"]}}


def test_a_plan_opens_a_stack_once_and_the_next_only_where_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = small_run.small_grid(128)
    create_cube(str(tmp_path / "cube.zarr"), grid, chunks=128)
    recipe = a_netcdf_stack(tmp_path, grid)
    recipe["run"] = {"name": "stack", "output": str(tmp_path / "maps.zarr"), "cube": str(tmp_path / "cube.zarr")}
    opened: list[str] = []
    read = derive_sources.read_stack
    monkeypatch.setattr(derive_sources, "read_stack", lambda *a, **k: (opened.append("stack"), read(*a, **k))[1])
    preview(recipe)
    assert len(opened) == 1
    preview(recipe)
    assert len(opened) == 1
    warmer = write_months(tmp_path, grid) + 1.0
    warmer.tas.attrs["units"] = "degC"
    warmer.to_netcdf(tmp_path / "new.nc")
    (tmp_path / "new.nc").replace(tmp_path / "tas.nc")
    assert float(run(recipe, progress=False).mean_annual_temperature.max()) == pytest.approx(6.0)
    assert len(opened) == 2


def test_a_stack_that_is_read_again_replaces_the_first_in_memory(tmp_path: Path) -> None:
    """Accessors are in cycles with their arrays, and the collector of cycles does not know how large these are."""
    write_months(tmp_path, small_run.small_grid(128)).to_netcdf(tmp_path / "tas.nc")
    gc.disable()
    try:
        first = read_stack(tmp_path / "tas.nc", "tas", "degC")
        assert first.rio.crs is not None
        memory = weakref.ref(first)
        del first
        assert memory() is not None
        read_stack(tmp_path / "tas.nc", "tas", "degC")
        assert memory() is None
    finally:
        gc.enable()


def a_zarr_stack(folder: Path, grid: GeoBox) -> dict[str, Any]:
    """The same in a Zarr store of one chunk."""
    write_months(folder, grid).to_zarr(
        folder / "tas.zarr", consolidated=False, encoding={"tas": {"chunks": (12, 1024, 1024)}}
    )
    return {"derive": {"monthly_temperature": f"{folder / 'tas.zarr'}:tas", "climate": ["mean_annual_temperature"]}}


def polygons_of_a_mask(folder: Path, grid: GeoBox) -> dict[str, Any]:
    """A boundary of 1.5 million points."""
    west, south, east, north = degrees_of(grid)
    center = [(west + east) / 2, (south + north) / 2]
    angles = np.linspace(0, 2 * np.pi, 1_500_000, endpoint=False)
    shares = 1 + 0.01 * np.cos(1000 * angles)
    points = np.column_stack([center[0] + shares * np.cos(angles), center[1] + shares * np.sin(angles)])
    frame = geopandas.GeoDataFrame(geometry=[shapely.Polygon(points)], crs="EPSG:4326")
    frame.to_file(folder / "area.gpkg")
    write_strips(folder / "layer.tif", grid)
    layer = {"name": "layer", "source": str(folder / "layer.tif"), "units": "1", "kind": "continuous"}
    return {"mask": {"boundary": str(folder / "area.gpkg")}, "layers": [layer]}


@pytest.mark.parametrize("source", [strips_of_a_dem, a_netcdf_stack, a_zarr_stack, polygons_of_a_mask])
def test_sources_of_every_stage_are_in_the_forecast(
    tmp_path: Path, source: Callable[[Path, GeoBox], dict[str, Any]]
) -> None:
    """DEM, monthly stacks and polygons count as the rasters of layers do."""
    grid = small_run.small_grid(128)
    create_cube(str(tmp_path / "cube.zarr"), grid, chunks=128)
    run = {"name": "source", "output": str(tmp_path / "maps.zarr"), "cube": str(tmp_path / "cube.zarr")}
    require_forecast({"run": run, **source(tmp_path, grid)})


def test_a_run_keeps_to_its_limit_and_makes_the_same_maps(tmp_path: Path) -> None:
    """Tiles of the whole grid take more than the limit; cut to fit, the process stays below it."""
    small_run.make_cube(str(tmp_path / "cube.zarr"), side=1536, chunk=128)
    recipe = small_run.recipe_of(tmp_path, run={"tile": 12})
    del recipe["elements"]
    limit = 0.53
    peaks, stores = [], []
    for number, how in enumerate(({}, {"memory": limit})):
        recipe["run"]["output"] = str(tmp_path / f"maps{number}.zarr")
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(recipe), json.dumps(how)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        peaks.append(int(done.stdout.split()[-1]) / 1e9)
        stores.append(small_run.files_of(tmp_path / f"maps{number}.zarr"))
    assert peaks[0] > limit > peaks[1], peaks
    different = {key for key in stores[0] if stores[0][key] != stores[1].get(key)}
    assert different <= {"zarr.json", "_tpsoil/run.json"}  # they name two outputs
