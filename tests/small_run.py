"""A small cube and recipe that exercise every kind of stage in a second; shared by the tests of runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from tpsoil.cube import add_layer, create_cube
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.kernels.cache import cache_folder
from tpsoil.recipes import run

SIDE = 128
CHUNK = 16


def small_grid(side: int = SIDE) -> GeoBox:
    return plateau_grid(1000)[600 : 600 + side, 1200 : 1200 + side]


def make_cube(store: str, *, side: int = SIDE, chunk: int = CHUNK, seed: int = 0) -> str:
    """A tilted, rough surface with climate, vegetation, erosion, classes and a mask with holes."""
    grid = small_grid(side)
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(side) / side, np.arange(side) / side, indexing="ij")
    elevation = 4200 + 900 * np.sin(5 * x + 1) * np.cos(3 * y) + 300 * x + rng.normal(0, 20, (side, side))
    layers: dict[str, Any] = {
        "elevation": elevation,
        "mean_annual_temperature": 18 - 0.0055 * elevation + 3 * y,
        "annual_precipitation": 300 + 600 * y + rng.normal(0, 5, (side, side)),
        "ndvi": np.clip(0.2 + 0.6 * y + rng.normal(0, 0.02, (side, side)), 0, 1),
        "water_erosion": 1 + 4 * x,
        "wind_erosion": 10 - 8 * y,
        "climate_zone": np.where(y > 0.5, 4, 5).astype("uint8"),
        "soil_mask": (rng.random((side, side)) > 0.1).astype("uint8"),
    }
    layers["elevation"][0, 0] = np.nan
    create_cube(store, grid, chunks=chunk, overwrite=True)
    for name, values in layers.items():
        values = values if values.dtype == "uint8" else values.astype("float32")
        add_layer(store, name, xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid)))
    return store


def make_samples(path: Path, *, side: int = SIDE, count: int = 150) -> Path:
    """Samples whose iron follows height and precipitation."""
    rng = np.random.default_rng(5)
    grid = small_grid(side)
    row, column = rng.uniform(1, side - 1, (2, count))
    x, y = grid.transform * (column, row)
    east, north = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True).transform(x, y)
    iron = 20000 + 8000 * np.sin(6 * column / side) + rng.normal(0, 500, count)
    pd.DataFrame({"longitude": east, "latitude": north, "Fe": iron}).to_csv(path, index=False)
    return path


def recipe_of(folder: Path, *, cube: str | None = None, output: str | None = None, **changes: Any) -> dict[str, Any]:
    """Terrain with a halo, thickness, and one forest with a class feature."""
    recipe: dict[str, Any] = {
        "run": {
            "name": "small",
            "output": output or str(folder / "maps.zarr"),
            "cube": cube or str(folder / "cube.zarr"),
            "tile": 1,
        },
        "derive": {"terrain": ["slope", "general_curvature"]},
        "solum": {"parameters": "published", "zones": "published"},
        "elements": {
            "samples": str(folder / "samples.csv"),
            "elements": ["Fe"],
            "features": ["elevation", "slope", "annual_precipitation", "climate_zone"],
            "trees": 10,
            "folds": ["random"],
        },
    }
    for key, value in changes.items():
        recipe[key] = {**recipe.get(key, {}), **value}
    return recipe


def make_small(folder: Path, **how: Any) -> dict[str, Any]:
    """Cube, samples and recipe in a folder."""
    make_cube(str(folder / "cube.zarr"), **how)
    make_samples(folder / "samples.csv", side=how.get("side", SIDE))
    return recipe_of(folder)


def files_of(store: Path) -> dict[str, str]:
    """Digest of every file of a local store, by name."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def flip_bit(path: Path, at: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def warm_kernels() -> bool:
    """Whether machine code is kept between processes here."""
    return cache_folder() is not None


def write_recipe(path: Path, *, without: Sequence[str] = (), **changes: Any) -> Path:
    """The recipe as TOML, its paths relative to it."""
    recipe = recipe_of(Path("."), **changes)
    for table in without:
        del recipe[table]
    lines = []
    for table, keys in recipe.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


Complete = tuple[Path, dict[str, str]]
"""A folder with cube, samples and recipe.toml, and the digests of an undisturbed run's files."""


def complete_run(folder: Path, *, chunk: int = CHUNK, without: Sequence[str] = (), **changes: Any) -> Complete:
    """Run once on threads, undisturbed; its maps go to complete.zarr, so that maps.zarr is free."""
    make_small(folder, chunk=chunk)
    run(write_recipe(folder / "recipe.toml", without=without, **changes), workers=2, progress=False)
    files = files_of(folder / "maps.zarr")
    shutil.move(folder / "maps.zarr", folder / "complete.zarr")
    return folder, files


def remove_maps(folder: Path) -> None:
    shutil.rmtree(folder / "maps.zarr", ignore_errors=True)
    (folder / "maps.log").unlink(missing_ok=True)
