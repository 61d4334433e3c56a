"""Seven terrain attributes in one pass, against xarray-spatial's slope, aspect and curvature alone.

    python benchmarks/terrain.py [--repeats 15]

On the 30" DEM of southern Tibet (1.6 million cells; TPSOIL_DATA names the folder with the real inputs, without it a
synthetic DEM of that size). Both get the same float32 array and the same number of threads. Repeats are paired: each
runs both, in turn; the ratio is the median of the pairs' ratios. Peak memory is read in a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
CELL_M = 900.0
CHUNK = 512


def elevation() -> tuple[xr.DataArray, str]:
    """The DEM in memory, on square metric cells because xarray-spatial's planar functions know one cell size."""
    path = Path(os.environ.get("TPSOIL_DATA", ROOT.parent / "shared" / "data")) / "tibet" / "elevation_30s.tif"
    if path.exists():
        import rasterio

        with rasterio.open(path) as source:
            values, name = source.read(1).astype("float32"), path.name
    else:
        walk = np.random.default_rng(0).normal(0, 4, (877, 1875))
        values, name = (4500 + walk.cumsum(0) + walk.cumsum(1)).clip(0, 8800).astype("float32"), "synthetic"
    coords = {"y": CELL_M * np.arange(values.shape[0], 0, -1), "x": CELL_M * np.arange(values.shape[1])}
    return xr.DataArray(values, coords=coords, dims=("y", "x"), attrs={"units": "m"}), name


def ours(dem: xr.DataArray) -> Any:
    from tpsoil.covariates import terrain_attributes

    return terrain_attributes(dem).compute()


def theirs(dem: xr.DataArray) -> Any:
    from xrspatial import aspect, curvature, slope

    return dask.compute(slope(dem).data, aspect(dem).data, curvature(dem).data)


def paired(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[float, float, list[float]]:
    """Median seconds of each and the ratio of every pair; both are warm before."""
    for work in (first, second):
        work(), work()
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        pair = []
        for work in (first, second):
            start = time.perf_counter()
            work()
            pair.append(time.perf_counter() - start)
        times.append((pair[0], pair[1]))
    return (
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        sorted(a / b for a, b in times),
    )


def peak() -> None:
    """Print the peak memory of one pass, the array and its results; run in a process of its own."""
    from tpsoil.covariates import terrain_attributes

    dem, _ = elevation()
    terrain_attributes(dem[:40, :40])
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    result = terrain_attributes(dem)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    high = int(status["VmHWM"].split()[0]) * 1024
    outputs = sum(layer.nbytes for layer in result.data_vars.values())
    print(dem.nbytes + high - before, dem.nbytes, outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peak:
        peak()
        return
    dem, name = elevation()
    lines = [
        "# Terrain attributes",
        "",
        f"{name}, {dem.shape[0]} x {dem.shape[1]} = {dem.size / 1e6:.2f} million cells, float32;",
        f"{platform.machine()}, {os.cpu_count()} processors, {options.repeats} paired repeats.",
        "tpsoil: slope, aspect, three curvatures, ruggedness, slope position.",
        "xarray-spatial: slope, aspect, curvature.",
        "",
        "| threads | data | tpsoil, 7, ms | xarray-spatial, 3, ms | ratio (quartiles) |",
        "|---|---|---|---|---|",
    ]
    worst = 0.0
    for threads in (1, 2):
        chunked = dem.chunk({"y": CHUNK, "x": CHUNK})
        cases = [("numpy", dem)] if threads == 1 else []
        for label, data in [*cases, (f"dask {CHUNK}", chunked)]:
            with dask.config.set(scheduler="threads" if threads > 1 else "synchronous", num_workers=threads):
                a, b, ratios = paired(lambda d=data: ours(d), lambda d=data: theirs(d), options.repeats)
            middle = statistics.median(ratios)
            worst = max(worst, middle)
            low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
            lines.append(
                f"| {threads} | {label} | {1e3 * a:.1f} | {1e3 * b:.1f} | {middle:.2f} ({low:.2f}-{high:.2f}) |"
            )
    done = subprocess.run([sys.executable, __file__, "--peak"], capture_output=True, text=True, check=True, cwd=ROOT)
    top, inputs, outputs = (int(word) for word in done.stdout.split())
    lines += [
        "",
        f"Peak memory {top / 1e6:.1f} MB; inputs {inputs / 1e6:.1f} + outputs {outputs / 1e6:.1f} MB",
        f"= {(inputs + outputs) / 1e6:.1f} MB: {100 * (top / (inputs + outputs) - 1):+.1f} % (limit +20 %).",
        f"No slower: {'yes' if worst <= 1 else 'NO'} (worst ratio {worst:.2f}).",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "terrain.md").write_text(text)


if __name__ == "__main__":
    main()
