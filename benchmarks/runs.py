"""What runs cost: doing nothing again, memory, two processes, 100 000 tiles, and a plateau at 90 m and 30 m.

    python benchmarks/runs.py [again] [memory] [processes] [plan] [cost]

Prints its table and writes it to benchmarks/results/runs.md. Needs about 6 GB of disk below the temporary folder and
some minutes on two quiet cores. The cube is made; TPSOIL_DATA names the folder with the real inputs, without which the
real recipe is left out.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import loopback  # noqa: E402
import numpy as np  # noqa: E402
import small_run  # noqa: E402 - beside the tests, which own the small cube

DATA = Path(os.environ.get("TPSOIL_DATA", ROOT.parent / "shared" / "data")).resolve()
RESULTS = Path(__file__).parent / "results" / "runs.md"
PARTS = ["again", "memory", "processes", "plan", "cost"]
CHUNK = 256
TREES = 100


def recipe_for(folder: Path, side: int, *, trees: int = TREES, models: bool = True) -> dict[str, Any]:
    """The tests' recipe on a cube of side x side cells in chunks of 256."""
    cube = folder / f"cube{side}.zarr"
    if not cube.exists():
        small_run.make_cube(str(cube), side=side, chunk=CHUNK)
        small_run.make_samples(folder / f"samples{side}.csv", side=side, count=600)
    recipe = small_run.recipe_of(folder, cube=str(cube), output=str(folder / f"maps{side}.zarr"))
    recipe["elements"] |= {"samples": str(folder / f"samples{side}.csv"), "trees": trees}
    if not models:
        del recipe["elements"]
    return recipe


def timed(recipe: dict[str, Any] | Path, **how: Any) -> float:
    """Seconds of one run; with `TPSOIL_BENCHMARK_CLOCK=cpu` of processor time, all threads together."""
    from tpsoil.recipes import run

    clock = time.process_time if os.environ.get("TPSOIL_BENCHMARK_CLOCK") == "cpu" else time.perf_counter
    began = clock()
    run(recipe, progress=False, **how)
    return clock() - began


def again(folder: Path) -> list[str]:
    """A whole run of 64 tiles against one that finds nothing to do, and one that finds one chunk changed."""
    import zarr

    rows = []
    for label, models in (("terrain, thickness, one forest of 100 trees", True), ("terrain and thickness", False)):
        recipe = recipe_for(folder, 8 * CHUNK, models=models)
        store = Path(recipe["run"]["output"])
        timed(recipe, workers=2)  # machine code, page cache
        whole, none, one, forest = [], [], [], []
        for turn in range(3):
            shutil.rmtree(store)
            whole.append(timed(recipe, workers=2))
            none.append(timed(recipe, workers=2))
            array = zarr.open_array(recipe["run"]["cube"], path="water_erosion", mode="r+")
            array[300:310, 600:610] = 2.0 + turn
            one.append(timed(recipe, workers=2))
            if models:
                array = zarr.open_array(recipe["run"]["cube"], path="annual_precipitation", mode="r+")
                array[:] = np.asarray(array[:]) + np.float32(1)  # every tile of thickness and forest, and its training
                forest.append(timed(recipe, workers=2))
        shutil.rmtree(store)
        rows += [
            label,
            f"  whole run, {64 * (3 if models else 2)} tiles".ljust(44) + f"{statistics.median(whole):6.2f} s",
        ]
        again = {"nothing changed, 0 tiles": none, "one chunk of water erosion, 1 tile": one}
        if models:
            again["one covariate of the forest, 128 tiles"] = forest
        for what, seconds in again.items():
            share = statistics.median(s / w for s, w in zip(seconds, whole))
            rows.append(f"  {what}".ljust(44) + f"{statistics.median(seconds):6.2f} s   {share:6.1%}")
    if DATA.is_dir():
        rows += real(folder)
    return ["Doing it again: 2048 x 2048 cells, 64 chunks, two threads, median of 3", "", *rows]


def real(folder: Path) -> list[str]:
    """The recipe of southern Tibet whole, and again with nothing changed."""
    from tpsoil.recipes import status

    store = folder / "tibet.zarr"
    how: dict[str, Any] = {"output": str(store), "workers": 2}
    recipe = ROOT / "tests" / "recipes" / "tibet_solum.toml"
    os.environ["TPSOIL_DATA"] = str(DATA)
    whole, none = [], []
    for _ in range(3):
        shutil.rmtree(store, ignore_errors=True)
        whole.append(timed(recipe, **how))
        none.append(timed(recipe, **how))
    share = statistics.median(n / w for n, w in zip(none, whole))
    stages = status(str(store))
    tiles = sum(one.plan.total for one in stages)
    return [
        f"tests/recipes/tibet_solum.toml, from real files: 1.6 million cells, {len(stages)} stages",
        f"  whole run, {tiles} tiles".ljust(44) + f"{statistics.median(whole):6.2f} s",
        "  nothing changed, 0 tiles".ljust(44) + f"{statistics.median(none):6.2f} s   {share:6.1%}",
    ]


MEMORY = """
import json, sys
from tpsoil.recipes import preview, run
from tpsoil.engine.tiles import peak_bytes
recipe = json.loads(sys.argv[1])
forecast = max(item.forecast.total for item in preview(recipe, workers=2))
run(recipe, workers=2, progress=False)
print(forecast, peak_bytes())
"""


def memory(folder: Path) -> list[str]:
    """Peak memory of a run at 1, 4, 16 and 64 times the cells, with the same chunks."""
    rows, peaks = [], {}
    for times in (1, 4, 16, 64):
        side = 512 * int(times**0.5)
        recipe = recipe_for(folder, side)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, json.dumps(recipe)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        forecast, peaks[times] = (int(number) / 1e6 for number in done.stdout.split()[-2:])
        shutil.rmtree(recipe["run"]["output"])
        cells = f"  {times:>3} x {512 * 512:,} cells ({side} x {side})"
        rows.append(f"{cells:<40}{peaks[times]:8.0f} MB   forecast {forecast:.0f} MB")
    rows.append("  16 times against 4 times".ljust(40) + f"{peaks[16] / peaks[4] - 1:+8.1%}")
    return ["Peak memory of one process, two threads, chunks of 256", "", *rows]


class Stopwatch(logging.Handler):
    """Records how long the tiles of each stage took."""

    def __enter__(self) -> Stopwatch:
        self.seconds: dict[str, float] = {}
        logging.getLogger("tpsoil.engine").addHandler(self)
        return self

    def __exit__(self, *_: Any) -> None:
        logging.getLogger("tpsoil.engine").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if line := re.match(r"(.*): (\d+) of \2 tiles in ([\d.]+) s$", record.getMessage()):
            self.seconds[line[1]] = float(line[3])


def processes(folder: Path) -> list[str]:
    """Tiles of a forest on one worker process and on two: from the first tile handed out to the last."""
    recipe = recipe_for(folder, 16 * CHUNK, trees=500)
    timed(recipe, workers=2)
    maps = Path(recipe["run"]["output"])
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with Stopwatch() as watch:
        for _ in range(3):
            for workers in (1, 2):
                (maps / "_tpsoil" / "manifest" / "element_Fe.json").unlink()
                timed(recipe, scheduler="processes", workers=workers)
                seconds[workers].append(watch.seconds["topsoil iron"])
    shutil.rmtree(maps)
    ratio = statistics.median(one / two for one, two in zip(seconds[1], seconds[2]))
    rate = 16 * CHUNK * 16 * CHUNK / statistics.median(seconds[2])
    return [
        "Worker processes: 256 tiles of 256 x 256 cells, forest of 500 trees, median of 3",
        "",
        f"  one worker process               {statistics.median(seconds[1]):8.2f} s",
        f"  two worker processes             {statistics.median(seconds[2]):8.2f} s   {ratio:6.2f} times",
        f"  two: cells a second              {rate:10,.0f}",
    ]


def plan(folder: Path) -> list[str]:
    """100 000 tiles: planned fresh, planned against a full manifest, and handed to a scheduler."""
    import distributed

    from tpsoil.engine.cluster import cluster_pool_of
    from tpsoil.engine.execute import drive
    from tpsoil.engine.ledger import Ledger
    from tpsoil.engine.manifest import Manifest, Record
    from tpsoil.engine.origin import origin_of
    from tpsoil.engine.plan import ChunkDigests, Dependencies, Tiling, plan_stage
    from tpsoil.stage import Stage
    from tpsoil.variables import variable

    tiling = Tiling((317 * 512, 316 * 512), 512)
    stage = Stage("solum", "solum", "solum", (variable("solum_thickness"),), compute_nothing)
    manifest = Manifest(Ledger.at(str(folder / "plan.zarr")), "solum")
    dependencies = Dependencies(origin_of(stage, tiling.shape, tiling.chunk))
    began = time.perf_counter()
    first = plan_stage(stage, tiling, manifest, (), (), dependencies, ChunkDigests())
    fresh = time.perf_counter() - began
    record = Record({}, dependencies.origin.digest, "", {"solum_thickness": "absent"})
    manifest.write_all([(chunk, record) for chunk in tiling.chunks()])
    from tpsoil.engine.plan import LayerPlace

    place = LayerPlace("solum_thickness", str(folder / "plan.zarr"), tiling.shape, (512, 512), "s/c/{i}/{j}", 4, "")
    began = time.perf_counter()
    second = plan_stage(stage, tiling, manifest, (), (place,), dependencies, ChunkDigests())
    full = time.perf_counter() - began
    size = (folder / "plan.zarr" / "_tpsoil" / "manifest" / "solum.json").stat().st_size

    done = 0

    def count(_result: Any) -> None:
        nonlocal done
        done += 1

    lines = []
    (folder / "dask").mkdir()
    processes = loopback.Cluster(folder / "dask")
    try:
        for _ in range(2):
            processes.worker()
        with distributed.Client(processes.address) as client:
            client.wait_for_workers(2, timeout=60)
            pool = cluster_pool_of(client)
            marks = (0, 1_000, 10_000, tiling.count)
            peaks = {}
            tiles = tiling.tiles(first.to_compute)
            began = time.perf_counter()
            for mark in marks:
                drive(pool, pass_through, "shared", [next(tiles) for _ in range(mark - done)], count)
                peaks[mark] = client.run_on_scheduler(scheduler_state)
            seconds = time.perf_counter() - began
    finally:
        processes.close()
    for mark, (tasks, megabytes) in peaks.items():
        lines.append(f"  after {mark:>7,} tiles: the scheduler holds {tasks} tasks in {megabytes:.0f} MB")
    assert done == tiling.count
    return [
        f"A plan of {tiling.count:,} tiles of 512 x 512 cells ({tiling.shape[0] * tiling.shape[1]:.2e} cells)",
        "",
        f"  planned for the first time        {fresh:8.2f} s   {len(first.to_compute):,} missing",
        f"  planned against a full manifest   {full:8.2f} s   {second.current:,} fresh, manifest {size / 1e6:.0f} MB",
        f"  handed out and taken back         {seconds:8.1f} s   {tiling.count / seconds:,.0f} tiles a second",
        *lines,
    ]


PLATEAU_KM2 = 2.5e6


def cost(folder: Path) -> list[str]:
    """What the stages of a run make in a second on two threads, and the hours that a whole plateau takes by that."""
    side = 12 * CHUNK
    recipe = recipe_for(folder, side)
    features = ["elevation", "slope", "general_curvature", "mean_annual_temperature", "annual_precipitation", "ndvi"]
    features += ["water_erosion", "wind_erosion", "climate_zone"]
    small_run.make_samples(folder / "many.csv", side=side, count=1654)
    recipe["elements"] |= {"samples": str(folder / "many.csv"), "trees": 500, "features": features}
    stages = {"terrain attributes": [], "solum thickness": [], "topsoil iron": [], "with a 90 % interval": []}
    with Stopwatch() as watch:
        for _ in range(3):
            for interval in (None, 0.9):
                shutil.rmtree(recipe["run"]["output"], ignore_errors=True)
                recipe["elements"]["interval"] = interval
                timed({**recipe, "elements": {k: v for k, v in recipe["elements"].items() if v is not None}}, workers=2)
                for title, seconds in watch.seconds.items():
                    if interval is None:
                        stages[title].append(seconds)
                    elif title == "topsoil iron":
                        stages["with a 90 % interval"].append(seconds)
    names = {"topsoil iron": "one element, mean and spread"}
    rates = {names.get(title, title): side * side / statistics.median(seconds) for title, seconds in stages.items()}
    head = f"{'stage of a run':<30}{'cells a second':>15}" + "".join(f"{cell:>11}" for cell in ("1 km", "90 m", "30 m"))
    rows = [head, "-" * len(head)]
    for title, rate in rates.items():
        times = [PLATEAU_KM2 * 1e6 / metres**2 / rate for metres in (1000, 90, 30)]
        rows.append(f"{title:<30}{rate:>15,.0f}" + "".join(f"{spell(time):>11}" for time in times))
    cells = [PLATEAU_KM2 * 1e6 / metres**2 for metres in (1000, 90, 30)]
    rows += [
        f"{'cells':<30}{'':>15}" + "".join(f"{count / 1e6:>9,.1f} M" for count in cells),
        f"{'a float32 layer before packing':<30}{'':>15}" + "".join(f"{count * 4 / 1e9:>8,.2f} GB" for count in cells),
    ]
    return [
        "What 2.5 million km2 take on two threads of this machine, by the rates of a run from",
        f"store to store ({side} x {side} cells, 500 trees, 1654 samples, 9 covariates; median of 3)",
        "",
        *rows,
    ]


def spell(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def compute_nothing(_window: Any) -> dict[str, Any]:
    return {}


def pass_through(_shared: Any, tile: Any) -> Any:
    return tile


def scheduler_state(dask_scheduler: Any) -> tuple[int, float]:
    import psutil

    return len(dask_scheduler.tasks), psutil.Process().memory_info().rss / 1e6


def main() -> None:
    wanted = sys.argv[1:] or PARTS
    folder = Path(tempfile.mkdtemp(prefix="tpsoil-bench-"))
    try:
        parts = [globals()[name](folder) for name in wanted]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n\n".join("\n".join(part) for part in parts)
    print(text)
    if wanted == PARTS:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# Runs\n\n```\n{text}\n```\n")


if __name__ == "__main__":
    main()
