"""LS of a synthetic 30 m DEM of 300 million cells, averaged to 1 km by a recipe: time and peak memory.

python benchmarks/large_dem.py FOLDER [--side 17400]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

import tpsoil

CELL_M = 30.0
STRIP = 512


def write_dem(path: Path, side: int) -> None:
    """Ridges and valleys of several lengths with noise, integer metres, so that pits and level ground are frequent."""
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "int16", "nodata": -32767,
               "crs": "EPSG:32645", "transform": from_origin(200_000, 4_000_000, CELL_M, CELL_M), "tiled": True,
               "blockxsize": STRIP, "blockysize": STRIP, "compress": "deflate", "zlevel": 1}  # fmt: skip
    rng = np.random.default_rng(1)
    x = np.arange(side, dtype=np.float32)[None, :]
    with rasterio.open(path, "w", **profile) as file:
        for top in range(0, side, STRIP):
            y = np.arange(top, min(top + STRIP, side), dtype=np.float32)[:, None]
            z = 4500 + 300 * np.sin(x / 97 + y / 211) + 150 * np.cos(y / 61 - x / 173) + 0.02 * x
            z = z + rng.normal(0, 3, z.shape).astype("float32")
            file.write(np.round(z).astype("int16"), 1, window=Window(0, top, side, y.size))


def main() -> None:
    """Write the DEM, derive LS, print time and peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=17_400)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    dem = arguments.folder / f"dem_{arguments.side}.tif"
    if not dem.exists():
        write_dem(dem, arguments.side)
    recipe = {
        "run": {"name": "large_dem", "output": str(arguments.folder / f"ls_{arguments.side}.zarr")},
        "grid": {"crs": "EPSG:32645", "resolution": 1000, "cover": str(dem), "chunks": 128},
        "derive": {"dem": str(dem), "dem_units": "m", "hydrology": ["ls_factor"]},
    }
    started = time.perf_counter()
    maps = tpsoil.run(recipe, workers=1, progress=False)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cells = arguments.side**2
    print(f"{cells / 1e6:.0f} million cells: {seconds:.0f} s, {cells / seconds / 1e6:.2f} million cells a second")
    print(f"peak memory of the process {peak / 1e9:.2f} GB; mean LS {float(maps.ls_factor.mean()):.3f}")


if __name__ == "__main__":
    main()
