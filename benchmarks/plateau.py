"""The plateau at 90 m from store to store: covariates, a run that is killed and resumed, and one changed tile.

    python benchmarks/plateau.py [--size ROWSxCOLUMNS] [--folder FOLDER] [--workers 2]

Default size: 20000x31000 cells of 90 m, the whole extent of the sample, for which some 50 GB of disk and 90 minutes
are needed; without `--folder` the stores are removed afterwards. Covariates are the sample's 8 km layers,
interpolated, with relief of many lengths added.
Writes benchmarks/results/plateau.md. The recipe is what a user would write: terrain, LS at the DEM's own resolution,
water erosion, thickness with quantiles from a calibration, and four elements with mean, spread and a conformal
interval.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import dask.array as da  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import rasterio  # noqa: E402
import xarray as xr  # noqa: E402
import zarr  # noqa: E402
from odc.geo.geobox import GeoBox  # noqa: E402
from rasterio.windows import Window  # noqa: E402
from scipy.ndimage import map_coordinates  # noqa: E402

from tpsoil import add_layer, create_cube, open_cube  # noqa: E402
from tpsoil.demo import simulated_profiles, simulated_samples, true_elements  # noqa: E402
from tpsoil.grid import coordinates, grid_of  # noqa: E402
from tpsoil.recipes import preview  # noqa: E402
from tpsoil.sample import open_sample  # noqa: E402
from tpsoil.solum import published_zones  # noqa: E402
from tpsoil.variables import variable  # noqa: E402

HEAD = "| stage | wall | CPU | cells | read | written | memory: forecast / peak |"
RULE = "|---|---|---|---|---|---|---|"
RESULTS = Path(__file__).parent / "results" / "plateau.md"
STRIP = 512
NOISE_CELLS = 1024
PROFILES = 60
PILOTS = (16, 4)
POLL_S = 20
MODELS = ("solum", "topsoil")
CONTINUOUS = ("elevation", "mean_annual_temperature", "annual_precipitation", "ndvi")
CLASSES = ("soil_mask",)
LAPSE_K_M = 0.0065

CHILD = """
import json, logging, os, sys, time
from tpsoil.engine.tiles import peak_bytes
from tpsoil.recipes import run

def transferred():
    try:
        lines = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
        return int(lines["rchar"]), int(lines["wchar"])
    except OSError:
        return 0, 0

class Stages(logging.Handler):
    def emit(self, record):
        print(json.dumps([record.getMessage(), time.perf_counter(), time.process_time(), *transferred()]), flush=True)

logging.getLogger("tpsoil.engine").addHandler(Stages())
print(json.dumps(["begin", time.perf_counter(), time.process_time(), *transferred()]), flush=True)
run(json.loads(sys.argv[1]), workers=int(sys.argv[2]), progress=False)
print(json.dumps(["end", time.perf_counter(), time.process_time(), *transferred()]), flush=True)
print(json.dumps([f"peak {peak_bytes()}", 0, 0, 0, 0]), flush=True)
"""


def grid_of_size(rows: int, columns: int, cell: float) -> GeoBox:
    """Cells around the centre of the sample's grid."""
    whole = grid_of(open_sample()).zoom_to(resolution=cell)
    top, left = max(0, (whole.shape[0] - rows) // 2), max(0, (whole.shape[1] - columns) // 2)
    return whole[top : top + rows, left : left + columns]


def relief(cell: float) -> np.ndarray[Any, Any]:
    """Fractal relief of one period in both directions, metres; a spectrum of amplitude f**-1.8.

    Its standard deviation over NOISE_CELLS cells of 90 m is 120 m; over shorter lengths it is that of such a surface.
    """
    rng = np.random.default_rng(3)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(NOISE_CELLS), np.fft.fftfreq(NOISE_CELLS), indexing="ij"))
    frequency[0, 0] = np.inf
    waves = np.fft.fft2(rng.normal(size=(NOISE_CELLS, NOISE_CELLS))) * frequency**-1.8
    surface = np.fft.ifft2(waves).real
    return (surface / surface.std() * 120 * (cell / 90) ** 0.8).astype("float32")


def block(name: str, grid: GeoBox, rows: slice, columns: slice, noise: Any, coarse: xr.DataArray) -> Any:
    """One layer's values in a window."""
    y, x = (np.asarray(coordinates(grid)[key][part]) for key, part in (("y", rows), ("x", columns)))
    step = float(coarse.x[1] - coarse.x[0])
    at = np.meshgrid(
        (float(coarse.y[0]) - y) / step, (x - float(coarse.x[0])) / step, indexing="ij", copy=False
    )  # fmt: skip
    values = np.asarray(coarse.values)
    if name in CLASSES:
        nearest = tuple(np.clip(np.rint(a).astype(int), 0, size - 1) for a, size in zip(at, values.shape))
        return values[nearest]
    values = np.where(np.isfinite(values), values, np.nanmean(values))
    smooth = map_coordinates(values, at, order=1, mode="nearest", output="float32")
    i, j = np.arange(rows.start, rows.stop) % NOISE_CELLS, np.arange(columns.start, columns.stop) % NOISE_CELLS
    rough = noise[np.ix_(i, j)]
    if name == "elevation":
        return smooth + rough
    if name == "mean_annual_temperature":
        return smooth - np.float32(LAPSE_K_M) * rough
    return smooth * (1 + rough / np.float32(2500)) if name == "annual_precipitation" else smooth


def make_covariates(folder: Path, grid: GeoBox, chunk: int, cell: float) -> None:
    """The cube, the DEM's own file, and simulated samples; relief as between cells of a side `cell`, m."""
    sample, noise = open_sample().load(), relief(cell)
    cube = str(folder / "cube.zarr")
    create_cube(cube, grid, chunks=chunk)
    shape = tuple(grid.shape)
    chunks = da.core.normalize_chunks((chunk, chunk), shape)
    for name in (*CONTINUOUS, *CLASSES):
        coarse = sample[name]
        dtype = "uint8" if name in CLASSES else "float32"

        def window(block_info: Any = None, name: str = name, coarse: xr.DataArray = coarse) -> Any:
            rows, columns = (slice(*span) for span in block_info[None]["array-location"])
            return block(name, grid, rows, columns, noise, coarse)

        values = da.map_blocks(window, chunks=chunks, dtype=dtype, meta=np.empty((0, 0), dtype))
        layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), attrs=dict(coarse.attrs))
        add_layer(cube, name, layer, units=str(coarse.attrs.get("units", "1")))
    with rasterio.open(
        folder / "dem.tif", "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype="float32",
        crs=grid.crs.to_wkt(), transform=grid.transform, tiled=True, compress="deflate", predictor=3,
        bigtiff="if_safer",
    ) as dem:  # fmt: skip
        for top in range(0, shape[0], STRIP):
            rows = slice(top, min(top + STRIP, shape[0]))
            strip = block("elevation", grid, rows, slice(0, shape[1]), noise, sample["elevation"])
            dem.write(strip, 1, window=Window(0, top, shape[1], rows.stop - top))
    rows, columns = (slice(0, size, max(1, size // 400)) for size in shape)
    thin = open_cube(cube).isel(y=rows, x=columns)
    thin["slope"] = xr.zeros_like(thin["elevation"]) + 5.0
    simulated_samples(true_elements(thin)).to_csv(folder / "samples.csv", index=False)
    profiles_of(thin).to_csv(folder / "profiles.csv", index=False)


def profiles_of(thin: xr.Dataset) -> pd.DataFrame:
    """Profiles whose thickness follows the published parameters on flat ground under mean erosion, 0.1 m of noise."""
    layers = thin.where(thin["soil_mask"] == 1).assign(zone=published_zones(thin))
    for name, value in (("general_curvature", 0.0), ("water_erosion", 2.76), ("wind_erosion", 10.0)):
        layers[name] = xr.full_like(thin["elevation"], value).assign_attrs(units=variable(name).units)
    counts = layers["zone"].where(thin["soil_mask"] == 1).to_series().dropna().astype(int).value_counts()
    zones = sorted(int(zone) for zone, count in counts.items() if zone > 0 and count >= 4 * PROFILES)
    return simulated_profiles(layers, zones, per_zone=PROFILES, noise_m=0.1)[["x", "y", "solum_thickness"]]


def recipe_of(folder: Path, trees: int) -> dict[str, Any]:
    """What a user would write."""
    factors = {"value": 0.0197, "reason": "mean EPIC K of 16 places above 3000 m"}
    return {
        "run": {"name": "plateau", "cube": str(folder / "cube.zarr"), "output": str(folder / "maps.zarr")},
        "derive": {
            "dem": str(folder / "dem.tif"),
            "dem_units": "m",
            "terrain": ["slope", "general_curvature"],
            "hydrology": {"layers": ["ls_factor"], "max_length_m": 300.0},
            "erosivity": {"method": "zhang_fu_annual"},
            "vegetation": {"ndvi_bare": 0.05, "ndvi_full": 0.86},
            "cover": {"method": "cai"},
            "erodibility": factors,
            "rusle": {"practice": 1.0},
        },
        "solum": {
            "zones": "published",
            "calibration": {
                "profiles": str(folder / "profiles.csv"),
                "simulated": True,
                "quantiles": [0.05, 0.95],
                "starts": 4,
            },
            "assumptions": {"wind_erosion": {"value": 10.0, "units": "t ha-1 a-1", "reason": "assumed"}},
        },
        "elements": {
            "samples": str(folder / "samples.csv"),
            "simulated": True,
            "elements": {"Fe": "iron", "Mn": "manganese", "Zn": "zinc", "V": "vanadium"},
            "longitude": "longitude",
            "latitude": "latitude",
            "site": "site",
            "features": ["elevation", "slope", "mean_annual_temperature", "annual_precipitation", "ndvi"],
            "trees": trees,
            "folds": ["group"],
            "interval": 0.9,
            "conformal": "spread",
        },
    }


def stored_bytes(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def layer_bytes(store: Path) -> int:
    """Bytes of the layers' chunks, without models, records and overviews."""
    return sum(path.stat().st_size for path in store.glob("*/c/*/*"))


def chunks_in(store: Path) -> int:
    return sum(1 for _ in store.glob("*/c/*/*"))


def execute(recipe: dict[str, Any], workers: int, log: Path, kill_at: int = 0) -> list[list[Any]]:
    """Events of one run in a process of its own, killed when the store has some number of chunks.

    They go to a file: a pipe that nobody reads while the run goes on would stop it.
    """
    store = Path(recipe["run"]["output"])
    with open(log, "w", encoding="utf-8") as written:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, json.dumps(recipe), str(workers)],
            stdout=written,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        while kill_at and process.poll() is None:
            if chunks_in(store) >= kill_at:
                process.kill()
            time.sleep(POLL_S)
        process.wait()
    if process.returncode not in (0, -signal.SIGKILL if kill_at else 0):
        kept = log.with_name(f"failed {sum(1 for _ in log.parent.glob('failed *.log')) + 1}.log")
        log.rename(kept)
        raise SystemExit(f"the run ended with status {process.returncode}; its events are in {kept}")
    return events_of(log)


def events_of(log: Path) -> list[list[Any]]:
    """Events that a run wrote."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("[")]


def stages_of(events: list[list[Any]]) -> list[tuple[str, float, float, int, int]]:
    """Title, wall time, processor time, bytes read and bytes written of each stage, and of what follows the last."""
    stages = []
    before = events[0]
    for event in events[1:]:
        if "tiles in" in event[0] or event[0] == "end":
            wall, cpu, read, written = (now - then for now, then in zip(event[1:], before[1:]))
            stages.append((event[0].split(":")[0], wall, cpu, read, written))
            before = event
    return stages


def by_stage(events: list[list[Any]], cells: int) -> list[str]:
    """Rows of the table: wall and CPU time, cells a second and bytes between the ends of two stages."""
    memory: dict[str, list[str]] = {}
    for text in (event[0] for event in events):
        for mark in ("forecast of memory ", "peak memory of a process "):
            if mark in text:
                memory.setdefault(text.split(":")[0], []).append(text.split(mark)[1].split(" on ")[0])
    rows = []
    for title, wall, cpu, read, written in stages_of(events):
        rate = "" if title == "end" else f"{cells / wall / 1e6:.2f} M/s"
        cost = [f"{wall:.1f} s", f"{cpu:.1f} s", rate, f"{read / 1e6:.0f} MB", f"{written / 1e6:.0f} MB"]
        rows.append("| " + " | ".join([title, *cost, " / ".join(memory.get(title, [""]))]) + " |")
    return rows


def main() -> None:
    """Make the covariates, run, kill, resume, change one tile, run again; print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="20000x31000", help="rows x columns")
    parser.add_argument("--cell", type=float, default=90.0, help="side of a cell, m")
    parser.add_argument("--folder", type=Path, help="kept, and continued after an interruption; by default temporary")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file for the results")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--chunk", type=int, default=512, help="side of a chunk, cells")
    options = parser.parse_args()
    if options.folder is None:
        with tempfile.TemporaryDirectory(prefix="tpsoil-plateau-") as folder:
            measured(Path(folder), options)
    else:
        options.folder.mkdir(parents=True, exist_ok=True)
        measured(options.folder, options)


def step(folder: Path, name: str, work: Callable[[], Any]) -> Any:
    """The result of one step, from the folder where it was done before."""
    done = folder / f"{name}.json"
    if not done.exists():
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        result = json.dumps(work())
        done.write_text(result, encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def pilot(folder: Path, part: int, options: argparse.Namespace) -> dict[str, Any]:
    """Sizes of the grid at a multiple of its cell, and wall and processor time by stage of an undisturbed run over it.

    The same extent has the same share of soil and the same zones, which a window of it need not have.
    """
    rows, columns = (int(size) // part for size in options.size.split("x"))
    grid, small = grid_of_size(rows, columns, options.cell * part), folder / f"pilot-{part}"
    shutil.rmtree(small, ignore_errors=True)
    small.mkdir()
    make_covariates(small, grid, options.chunk, options.cell)
    recipe = recipe_of(small, options.trees)
    recipe["derive"]["hydrology"]["allow_coarse_dem"] = True
    events = execute(recipe, options.workers, small / "run.log")
    soil = int((open_cube(str(small / "cube.zarr"))["soil_mask"] == 1).sum())
    result = {
        "cells": rows * columns,
        "soil": soil,
        "bytes": layer_bytes(small / "maps.zarr"),
        "stages": {title: times[:2] for title, *times in stages_of(events)},
    }
    shutil.rmtree(small)
    return result


def extrapolated(pilots: list[dict[str, Any]], cells: int, soil: int) -> list[float]:
    """Wall time, processor time and bytes of the whole, on straight lines through two pilots.

    Models are computed where there is soil: their stages grow with its cells. The stages before them, and the
    statistics and overviews at the end, read and write the whole grid.
    """

    def line(sizes: list[int], values: list[float], size: int) -> float:
        (few, many), (small, large) = sizes, values
        return large + (large - small) / (many - few) * (size - many)

    few, many = sorted(pilots, key=lambda one: one["soil"])
    sizes = {name: [few[name], many[name]] for name in ("cells", "soil")}
    totals = [0.0, 0.0]
    for title, times in many["stages"].items():
        name, size = ("soil", soil) if title.startswith(MODELS) else ("cells", cells)
        for place, (small, large) in enumerate(zip(few["stages"][title], times)):
            totals[place] += line(sizes[name], [small, large], size)
    return [*totals, line(sizes["soil"], [few["bytes"], many["bytes"]], soil)]


def measured(folder: Path, options: argparse.Namespace) -> None:
    """All steps; the results are written after each run."""
    grid = grid_of_size(*(int(part) for part in options.size.split("x")), options.cell)
    recipe = recipe_of(folder, options.trees)
    store, cube = folder / "maps.zarr", folder / "cube.zarr"

    def covariates() -> list[float]:
        shutil.rmtree(cube, ignore_errors=True)
        began, cpu = time.perf_counter(), time.process_time()
        make_covariates(folder, grid, options.chunk, options.cell)
        return [time.perf_counter() - began, time.process_time() - cpu, stored_bytes(cube)]

    def forecast() -> dict[str, Any]:
        plans = preview(recipe, workers=options.workers)
        layers = {} if plans.disk is None else dict(plans.disk.layers)
        return {
            "layers": layers,
            "chunks": plans[0].plan.total,
            "tiles": sum(len(one.plan.to_compute) for one in plans),
        }

    def change_one_tile() -> int:
        array = zarr.open_array(str(cube), path="ndvi", mode="r+")
        middle = (
            slice(array.shape[0] // 2, array.shape[0] // 2 + 20),
            slice(array.shape[1] // 2, array.shape[1] // 2 + 20),
        )
        array[middle] = np.asarray(array[middle]) * np.float32(0.97)
        return 1

    parts = {part: partial(pilot, folder, part, options) for part in PILOTS}
    step(folder, "compiling", parts[PILOTS[0]])  # a pilot that compiles kernels is slower than its cells
    pilots = [step(folder, f"pilot {part}", one) for part, one in parts.items()]
    made = step(folder, "covariates", covariates)
    expected = step(folder, "forecast", forecast)
    cells = grid.shape[0] * grid.shape[1]
    soil = step(folder, "soil", lambda: int((open_cube(str(cube))["soil_mask"] == 1).sum()))
    half = max(1, expected["chunks"] * len(expected["layers"]) // 2)
    command = f"python benchmarks/plateau.py --size {options.size} --cell {options.cell:g} --chunk {options.chunk} "
    lines = [
        f"# A plateau at {options.cell:g} m: {grid.shape[0]} x {grid.shape[1]} cells, {cells / 1e6:.1f} million "
        f"({soil / 1e6:.1f} million of soil)",
        "",
        f"`{command}--workers {options.workers} --trees {options.trees}`; "
        f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores. "
        "Simulated samples and profiles.",
        "",
        f"- covariates: {made[0]:.0f} s, {made[1]:.0f} s of CPU, {made[2] / 1e6:.0f} MB",
        f"- forecast of the layers {sum(expected['layers'].values()) / 1e6:.0f} MB; {expected['tiles']} tiles",
    ]
    failed = {log.stem: events_of(log) for log in sorted(folder.glob("failed *.log"))}
    for name, events in failed.items():
        lines += ["", f"{name.capitalize()} (fault mended, then continued):", "", HEAD, RULE, *by_stage(events, cells)]
    runs: dict[str, list[list[Any]]] = {}
    for name, kill_at in (("killed", half), ("resumed", 0), ("nothing changed", 0)):
        runs[name] = step(folder, name, partial(execute, recipe, options.workers, folder / f"{name}.log", kill_at))
        lines += ["", f"{name.capitalize()}:", "", HEAD, RULE, *by_stage(runs[name], cells)]
        write(lines, options.results)
    step(folder, "changed", change_one_tile)
    again = step(folder, "one tile", partial(execute, recipe, options.workers, folder / "one tile.log", 0))
    complete = [*failed.values(), runs["killed"], runs["resumed"]]
    whole, changed = sum(map(cpu_of, complete)), cpu_of(again)
    stored = layer_bytes(store)
    wall = sum(map(wall_of, complete))
    expected_wall, expected_cpu, expected_bytes = extrapolated(pilots, cells, soil)
    forecast_bytes = sum(expected["layers"].values())
    lines += [
        "",
        f"- wall time of all parts {wall / 60:.1f} min; pilots of {pilots[0]['soil'] / 1e6:.1f} and "
        f"{pilots[1]['soil'] / 1e6:.1f} million cells of soil forecast {expected_wall / 60:.1f} min: "
        f"{wall / expected_wall:.2f}",
        f"- processor time {whole / 60:.1f} min, forecast {expected_cpu / 60:.1f} min: {whole / expected_cpu:.2f}",
        f"- bytes of layers: {stored / expected_bytes:.2f} of what the pilots forecast",
        f"- stored layers {stored / 1e6:.0f} MB, {stored / forecast_bytes:.2f} of the forecast; with models, "
        f"records and overviews {stored_bytes(store) / 1e6:.0f} MB",
        f"- peak memory of a process: {max(map(peak_of, (*failed.values(), *runs.values()))):.2f} GB",
        f"- nothing changed: {cpu_of(runs['nothing changed']):.1f} s of CPU, "
        f"{cpu_of(runs['nothing changed']) / whole:.2%} of the whole",
        f"- one changed tile of a covariate: {changed:.1f} s of CPU, {changed / whole:.2%} of the whole; "
        + "".join(event[0] for event in again if "complete;" in event[0]),
    ]
    write(lines, options.results)


def wall_of(events: list[list[Any]]) -> float:
    """Time between the first event and the last that has one."""
    times = [event[1] for event in events if event[1]]
    return float(times[-1] - times[0])


def cpu_of(events: list[list[Any]]) -> float:
    """Processor time between the first event and the last that has one."""
    times = [event[2] for event in events if event[2]]
    return float(times[-1] - times[0])


def peak_of(events: list[list[Any]]) -> float:
    """Peak memory of a run at the ends of its stages, GB."""
    mark = "peak memory of a process "
    return max((float(event[0].split(mark)[1].split()[0]) for event in events if mark in event[0]), default=0.0)


def write(lines: list[str], results: Path) -> None:
    """Print the lines and write them to the file."""
    text = "\n".join(lines) + "\n"
    print(text, flush=True)
    results.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
