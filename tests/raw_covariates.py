"""Raw files for every covariate of both studies over a small area; simulated, in the forms in which sources come."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401
import shapely
import xarray as xr

from tpsoil.grid import coordinates, grid_from_bounds

AREA = (92.0, 30.0, 92.3, 30.25)
AROUND = (91.7, 29.7, 92.6, 30.6)
RANGES = "class,low,high,source\n10,0.01,0.08,simulated\n7,0.003,0.05,simulated\n16,0.1,0.45,simulated\n"
TABLE = "code,class,name\nQ,1,loose sediment\nJ,2,limestone\nG,3,granite\n"


def write_raw_files(folder: Path) -> Path:
    """All files under a folder."""
    rng = np.random.default_rng(11)
    fine = grid_from_bounds("EPSG:4326", AREA, 0.0025)
    rows, columns = np.indices(fine.shape)
    z = 4500 + 300 * np.sin(rows / 20) * np.cos(columns / 25) + 2 * columns + rng.normal(0, 5, fine.shape)
    _raster(folder / "dem.tif", z, fine)
    coarse = grid_from_bounds("EPSG:4326", AROUND, 0.05)
    share = rng.uniform(0.2, 0.5, coarse.shape)
    sand, silt = 100 * share, 100 * (1 - share) * 0.6
    for name, values in {
        "ndvi": rng.uniform(0.1, 0.7, coarse.shape), "sand": sand, "silt": silt, "clay": 100 - sand - silt,
        "carbon": rng.uniform(0.5, 4, coarse.shape), "carbonate": rng.uniform(0, 8, coarse.shape),
        "npp": rng.uniform(0.05, 0.4, coarse.shape), "aluminium": rng.uniform(12, 16, coarse.shape),
        "calcium": rng.uniform(1, 6, coarse.shape), "sodium": rng.uniform(1, 3, coarse.shape),
        "potassium": rng.uniform(2, 3, coarse.shape), "phosphorus": rng.uniform(0.1, 0.2, coarse.shape),
        "coarse_temperature": rng.uniform(-2, 2, coarse.shape),
        "coarse_elevation": rng.uniform(4300, 4700, coarse.shape),
        "rock_codes": rng.integers(1, 4, coarse.shape),
    }.items():  # fmt: skip
        _raster(folder / f"{name}.tif", values, coarse)
    classes = rng.choice(np.array([7, 10, 16], dtype="uint8"), coarse.shape)
    xr.DataArray(classes, coords=coordinates(coarse), dims=("y", "x")).rio.write_nodata(255).rio.to_raster(
        folder / "cover.tif"
    )
    _stacks(folder, rng)
    half = (AREA[0] + AREA[2]) / 2
    shapes = [shapely.box(91.5, 29.5, half, 31), shapely.box(half, 29.5, 93, 30.1), shapely.box(half, 30.1, 93, 31)]
    frame = geopandas.GeoDataFrame({"UNIT": ["Q", "J", "G"]}, geometry=shapes, crs="EPSG:4326")
    frame.to_file(folder / "units.geojson", driver="GeoJSON")
    (folder / "units.csv").write_text(TABLE)
    (folder / "codes.csv").write_text("code,class,name\n1,1,shale\n2,2,basalt\n3,2,basalt\n")
    (folder / "ranges.csv").write_text(RANGES)
    return folder


def _raster(path: Path, values: np.ndarray, grid: object) -> None:
    layer = xr.DataArray(np.asarray(values, dtype="float32"), coords=coordinates(grid), dims=("y", "x"))  # type: ignore[arg-type]
    layer.rio.to_raster(path)


def _stacks(folder: Path, rng: np.random.Generator) -> None:
    """Temperature as NetCDF and Zarr in kelvin, precipitation as twelve GeoTIFFs, daily wind, monthly SW and SD."""
    lat, lon = np.arange(29.8, 30.55, 0.1), np.arange(91.8, 92.55, 0.1)
    months = pd.date_range("2000-01-01", "2001-12-01", freq="MS")
    season = 12 * np.cos(2 * np.pi * (np.arange(len(months)) - 6) / 12)[:, None, None]
    warmth = 273 + season + rng.random((len(months), len(lat), len(lon)))
    axes = {"time": months, "lat": lat, "lon": lon}
    dims, kelvin = ("time", "lat", "lon"), {"units": "K"}
    xr.Dataset({"tas": (dims, warmth, kelvin)}, coords=axes).to_netcdf(folder / "tas.nc", engine="scipy")
    span = {"tmin": (dims, warmth - 6, kelvin), "tmax": (dims, warmth + 7, kelvin)}
    xr.Dataset(span, coords=axes).to_zarr(folder / "span.zarr", consolidated=False)
    grid = grid_from_bounds("EPSG:4326", (91.75, 29.75, 92.55, 30.55), 0.1)
    (folder / "rain").mkdir()
    wet = 5 + 80 * np.exp(-(((np.arange(12) - 6.5) / 2) ** 2))
    for month in range(12):
        _raster(folder / "rain" / f"prec_{month + 1:02d}.tif", wet[month] * rng.uniform(0.8, 1.2, grid.shape), grid)
    temperatures = {"tas": (dims, warmth[:12] - 273.15, {"units": "degC"})}
    same = {"time": months[:12], "lat": np.arange(29.8, 30.55, 0.1), "lon": np.arange(91.8, 92.55, 0.1)}
    xr.Dataset(temperatures, coords=same).to_netcdf(folder / "year.nc", engine="scipy")
    days = pd.date_range("2015-01-01", "2015-12-31", freq="D")
    shape = (len(days), len(lat), len(lon))
    wind = {name: (dims, rng.normal(0, 9, shape), {"units": "m s**-1"}) for name in ("u", "v")}
    xr.Dataset(wind, coords={**axes, "time": days}).to_netcdf(folder / "wind.nc", engine="scipy")
    shares = {
        name: (dims, rng.uniform(0.3, 1.0, (12, len(lat), len(lon))), {"units": "1"}) for name in ("dryness", "free")
    }
    xr.Dataset(shares, coords=same).to_netcdf(folder / "shares.nc", engine="scipy")
