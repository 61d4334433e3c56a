"""Processor time of the work behind README's table of benchmarks: the working tree over a commit, in paired repeats.

    python benchmarks/before_and_after.py [--commit 90b691d] [--repeats 5] [--only NAME ...]

Every repeat runs each part once from the commit's `tpsoil/` and once from the working tree's, each in a process of its
own, in turn (the order alternates). A part first does its work once to load the kernels' machine code. Measured is the
processor time of the process, all threads together, which a busy machine changes little, as the median of three
readings in that process, and its peak memory. A ratio is that of one pair (now / before; below 1 is less now). Parts
are smaller than in the benchmarks they stand for, to take minutes. Writes results/before_and_after.md.

A run now also writes overviews and forces its data to the disk. Rows with "TPSOIL_SYNC=0" leave out the second, rows
"as far as 90b691d went" both, so they compare the same work.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
Part = Callable[[Path], Iterator[tuple[str, Callable[[], Any]]]]
READINGS: Final = 3
"""Of each work in a process, after one that is not counted: single ones differ by 15 %."""


def trained(rows: int = 1654, trees: int = 200) -> tuple[Any, Any]:
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    covariates = rng.normal(size=(rows, 14))
    target = covariates[:, 0] ** 2 + np.sin(covariates[:, 1]) * 3 + rng.normal(0, 0.5, rows)
    forest = RandomForestRegressor(trees, max_features=4, n_jobs=2, random_state=0).fit(covariates, target)
    return forest, (covariates, target)


def forest(_folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Mean and spread, and three quantiles."""
    from tpsoil.forest import CompiledForest

    model, (covariates, target) = trained()
    pixels = np.random.default_rng(1).normal(size=(200_000, 14)).astype("float32")
    compiled = CompiledForest.from_sklearn(model, responses=(covariates, target))
    yield "mean and spread of 200 trees, 200 000 cells", lambda: compiled.predict(pixels)
    few = pixels[:40_000]
    yield "three exact quantiles, 40 000 cells", lambda: compiled.predict(few, quantiles=[0.05, 0.5, 0.95])


def growing(_folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Training with scores out of fold."""
    import pandas as pd

    from tpsoil.forest import train

    _, (covariates, target) = trained(trees=2)
    names = [f"c{number}" for number in range(14)]
    table = pd.DataFrame(covariates, columns=names).assign(Fe=target)
    yield "training of 100 trees, 1654 x 14, with 5 folds", lambda: train(table, "Fe", names, folds="random", trees=100)


def search(_folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """SCE-UA on 131 profiles."""
    from tpsoil import solum
    from tpsoil.solum import search as module

    rng = np.random.default_rng(2)
    means = solum.PUBLISHED_ZONES[2]
    sites = np.full((131, 7), np.nan)
    warmth = means.mean_annual_temperature + rng.normal(0, 2, 131)
    sites[:, 0] = solum.eemt(warmth, means.annual_precipitation * rng.lognormal(0, 0.4, 131))
    sites[:, 1], sites[:, 2] = rng.lognormal(0.3, 1, 131), rng.lognormal(2, 0.8, 131)
    sites[:, 3], sites[:, 6] = np.abs(rng.normal(0, 1e-3, 131)), 0.0
    sites[:, 5] = rng.uniform(0.2, 2.0, 131)
    space = solum.search_space("paper", "eight")
    effort = module.Effort(complexes=8, evaluations=600_000, still_percent=1e-12, least_range=1e-12)
    yield (
        "SCE-UA, 131 profiles, 600 000 evaluations",
        lambda: module.search(space, sites, np.random.SeedSequence(1), effort),
    )


def zones(_folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """k-prototypes."""
    from tpsoil.kernels import prototypes

    rng = np.random.default_rng(0)
    numbers = np.ascontiguousarray(rng.normal(size=(20_000, 5)))
    codes = rng.integers(0, 9, size=(20_000, 2)).astype(np.int32)

    def fit() -> None:
        for start in range(5):
            first = np.random.default_rng(start).permutation(len(numbers))[:8]
            centres, modes, labels = numbers[first].copy(), codes[first].copy(), np.full(len(numbers), -1, np.int32)
            prototypes.fit(numbers, codes, 9, 0.5, centres, modes, labels, 500)

    yield "k-prototypes, 20 000 cells, 5 starts", fit


def thickness(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The thickness map, Zarr to Zarr."""
    import dask
    import xarray as xr

    from tpsoil import solum

    rng = np.random.default_rng(5)
    shape = (1024, 1024)
    layers = {
        "mean_annual_temperature": rng.normal(4, 6, shape), "annual_precipitation": rng.uniform(50, 1200, shape),
        "water_erosion": rng.lognormal(0, 1, shape), "wind_erosion": rng.lognormal(1.8, 1, shape),
        "general_curvature": rng.normal(0, 1e-3, shape), "depth_to_bedrock": rng.lognormal(2, 1, shape),
    }  # fmt: skip
    data = xr.Dataset({name: (("y", "x"), values.astype("float32")) for name, values in layers.items()})
    data["zone"] = (("y", "x"), rng.integers(1, 9, shape).astype("uint8"))
    source, target = folder / "cube.zarr", folder / "map.zarr"
    data.chunk(y=256, x=256).to_zarr(source, zarr_format=3, consolidated=False, mode="w")

    common = ["solum_thickness", "solum_status", "saprolite_thickness", "erosion_rate", "potential_production",
              "response_time"]  # fmt: skip

    def mapped(names: list[str] | None = None) -> None:
        layers = xr.open_zarr(source, consolidated=False, mask_and_scale=False)
        result = solum.thickness(layers, solum.PUBLISHED)
        result = result[names] if names else result
        for layer in result.variables.values():
            layer.encoding.clear()
        with dask.config.set(scheduler="threads", num_workers=2):
            result.to_zarr(target, zarr_format=3, consolidated=False, mode="w")

    yield "thickness map, its six layers of 90b691d, 1 million cells, Zarr to Zarr", lambda: mapped(common)
    yield "thickness map, all layers (six then, eight now), 1 million cells, Zarr to Zarr", mapped


def terrain(_folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Seven attributes in one pass."""
    import xarray as xr

    from tpsoil.covariates import terrain_attributes
    from tpsoil.grid import coordinates, plateau_grid

    grid = plateau_grid(1000)[:1500, :1500]
    values = np.random.default_rng(0).normal(4000, 500, grid.shape).astype("float32")
    dem = xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), attrs={"units": "m"})

    def derive() -> None:
        for _ in range(8):
            terrain_attributes(dem).load()

    yield "seven terrain attributes, 2.25 million cells, 8 times", derive


def chunks(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Reading and writing of stored layers."""
    import dask
    import xarray as xr

    from tpsoil.cube import add_layer, create_cube, open_cube
    from tpsoil.grid import coordinates, plateau_grid

    grid = plateau_grid(1000)[:1500, :1500]
    values = np.random.default_rng(0).normal(4000, 500, grid.shape).astype("float32")
    layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), attrs={"units": "m"})
    store = str(folder / "cube.zarr")

    def write() -> None:
        for _ in range(5):
            create_cube(store, grid, chunks=256, overwrite=True)
            add_layer(store, "elevation", layer)

    def read() -> None:
        with dask.config.set(scheduler="threads", num_workers=2):
            for _ in range(10):
                open_cube(store)["elevation"].load()

    yield "a layer of 2.25 million cells added to a cube, 5 times", write
    yield "a layer of 2.25 million cells read, 10 times", read


def runs(folder: Path, *, models: bool = True, label: str = "") -> Iterator[tuple[str, Callable[[], Any]]]:
    """A run of terrain, thickness and one forest, and the same with nothing changed."""
    from walk import small_recipe

    import tpsoil

    recipe = small_recipe(folder, side=1024, chunk=256, samples=400)
    recipe["run"]["overwrite"] = True
    if not models:
        del recipe["elements"]

    def again() -> None:
        tpsoil.run(recipe, workers=2, progress=False)

    def whole() -> None:
        shutil.rmtree(recipe["run"]["output"], ignore_errors=True)
        again()

    for limits in ("", ", TPSOIL_SYNC=0", ", as far as 90b691d went: no overviews, TPSOIL_SYNC=0"):
        yield f"a run, 16 chunks{label}{limits}", partial(limited, limits, whole)
        yield f"a run with nothing changed{label}{limits}", partial(limited, limits, again)


def limited(limits: str, work: Callable[[], None]) -> None:
    """A run without some of what 90b691d did not do either: force data to the disk, and write overviews."""
    with contextlib.ExitStack() as stack:
        if "TPSOIL_SYNC=0" in limits:
            stack.enter_context(mock.patch.dict(os.environ, {"TPSOIL_SYNC": "0"}))
        if "no overviews" in limits:
            with contextlib.suppress(ModuleNotFoundError):  # 90b691d has no such module
                output = importlib.import_module("tpsoil.engine.output")
                stack.enter_context(mock.patch.object(output, "update_overviews", return_value=([], [])))
        work()


def maps(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The same without the forest, whose training and tables do more now."""
    yield from runs(folder, models=False, label=": terrain and thickness")


PARTS: dict[str, Part] = {
    "forest": forest, "growing": growing, "search": search, "zones": zones, "thickness": thickness,
    "terrain": terrain, "chunks": chunks, "runs": runs, "maps": maps,
}  # fmt: skip


def measure(part: str) -> None:
    """Do a part's work; print its median seconds of processor time by name, and the peak memory of the process."""
    warnings.simplefilter("ignore")
    results: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, work in PARTS[part](Path(folder)):
            work()
            readings = []
            for _ in range(READINGS):
                began = time.process_time()
                work()
                readings.append(time.process_time() - began)
            results[name] = [statistics.median(readings)]
    results[f"peak memory of these processes: {part}, GB"] = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]
    print(json.dumps(results))


def one(tree: Path, part: str) -> dict[str, float]:
    """A part of one tree in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(HERE)]), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(HERE / "before_and_after.py"), "--measure", part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tree)
    if done.returncode:
        raise SystemExit(f"{part} in {tree}:\n{done.stderr}")
    return {name: values[0] for name, values in json.loads(done.stdout.splitlines()[-1]).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", default="90b691d", help="the commit before the architecture of issue 13")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    tree_of = importlib.import_module("walk").tree_of
    ratios: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        before, now = tree_of(options.commit, f"{folder}/before"), Path(folder) / "now"
        shutil.copytree(ROOT / "tpsoil", now / "tpsoil", ignore=shutil.ignore_patterns("__pycache__"))
        for part in options.only:
            for repeat in range(options.repeats):
                trees = [before, now] if repeat % 2 else [now, before]
                pair = {tree: one(tree, part) for tree in trees}
                for name, old in pair[before].items():
                    new = pair[now][name]
                    seconds[name].append((old, new))
                    ratios[name].append(new / old)
            print(part, {name: [round(value, 2) for value in values] for name, values in ratios.items()}, flush=True)
    lines = [
        "# Before and after: processor time of the work behind README's benchmarks",
        "",
        f"`python benchmarks/before_and_after.py --commit {options.commit} --repeats {options.repeats}`:",
        f"the working tree over that commit, {options.repeats} pairs of processes; {platform.machine()},",
        f"{os.cpu_count()} processors, Python {platform.python_version()}. Processor time of all threads; below 1",
        "is less now.",
        "",
        "| work | before, s | now, s | now / before, median | smallest | largest |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, values in ratios.items():
        old, new = (statistics.median(pair[side] for pair in seconds[name]) for side in (0, 1))
        lines.append(
            f"| {name} | {old:.2f} | {new:.2f} | {statistics.median(values):.2f} | {min(values):.2f} "
            f"| {max(values):.2f} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if set(options.only) == set(PARTS):
        (HERE / "results" / "before_and_after.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
