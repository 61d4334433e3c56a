"""What runs cost: doing nothing again, memory, two processes, and 100 000 tiles.

    python benchmarks/runs.py [again|memory|processes|plan]

Prints its table and writes it to benchmarks/results/runs.md. Needs about 6 GB of disk below the temporary folder and
some minutes on two quiet cores. No file is needed: the cube is made.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import small_run

RESULTS = Path(__file__).parent / "results" / "runs.md"
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


def timed(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def again(folder: Path) -> list[str]:
    """A whole run of 64 tiles against one that finds nothing to do, and one that finds one chunk changed."""
    import zarr

    from tpsoil.runs import run

    rows = []
    for label, models in (("terrain, thickness, one forest of 100 trees", True), ("terrain and thickness", False)):
        recipe = recipe_for(folder, 8 * CHUNK, models=models)
        store = Path(recipe["run"]["output"])
        run(recipe, workers=2, progress=False)  # machine code, page cache
        whole, none, one = [], [], []
        for turn in range(3):
            shutil.rmtree(store)
            whole.append(timed(lambda: run(recipe, workers=2, progress=False)))
            none.append(timed(lambda: run(recipe, workers=2, progress=False)))
            array = zarr.open_array(recipe["run"]["cube"], path="water_erosion", mode="r+")
            array[300:310, 600:610] = 2.0 + turn
            one.append(timed(lambda: run(recipe, workers=2, progress=False)))
        shutil.rmtree(store)
        share = statistics.median(n / w for n, w in zip(none, whole))
        part = statistics.median(n / w for n, w in zip(one, whole))
        rows += [
            f"{label}",
            f"  whole run, {64 * (3 if models else 2):>4} tiles            {statistics.median(whole):8.2f} s",
            f"  nothing changed, 0 tiles          {statistics.median(none):8.2f} s   {share:6.1%} of the whole",
            f"  one chunk changed, 1 tile         {statistics.median(one):8.2f} s   {part:6.1%} of the whole",
        ]
    return ["Doing it again: 2048 x 2048 cells, 64 chunks, two threads, median of 3", "", *rows]


MEMORY = """
import json, resource, sys
from tpsoil.runs import run
run(json.loads(sys.argv[1]), workers=2, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
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
        peaks[times] = int(done.stdout.split()[-1]) / 1024
        shutil.rmtree(recipe["run"]["output"])
        rows.append(f"  {times:>3} x {512 * 512:,} cells ({side} x {side})".ljust(40) + f"{peaks[times]:8.0f} MB")
    rows.append("  16 times against 4 times".ljust(40) + f"{peaks[16] / peaks[4] - 1:+8.1%}")
    return ["Peak memory of one process, two threads, chunks of 256", "", *rows]


def processes(folder: Path) -> list[str]:
    """Tiles of a forest on one worker process and on two."""
    from tpsoil.runs.run_parts import noop  # noqa: F401


def main() -> None:
    wanted = sys.argv[1:] or ["again", "memory", "processes", "plan"]
    folder = Path(tempfile.mkdtemp(prefix="tpsoil-bench-"))
    try:
        parts = [globals()[name](folder) for name in wanted]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n\n".join("\n".join(part) for part in parts)
    print(text)
    if len(wanted) == 4:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# Runs\n\n```\n{text}\n```\n")


if __name__ == "__main__":
    main()
