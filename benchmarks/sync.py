"""What it costs to force data to the disk before the record that depends on them: paired repeats with and without.

    python benchmarks/sync.py [pairs]

The same recipe runs with TPSOIL_SYNC=1 and TPSOIL_SYNC=0 in turn, in one process, after a warm-up; the ratio of each
pair is taken, so that a slow minute of the machine counts in both. Prints its table and writes it to
benchmarks/results/sync.md. Needs 0.2 GB of disk below the temporary folder, which must be a disk and not memory.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import small_run  # noqa: E402 - beside the tests, which own the small cube

RESULTS = Path(__file__).parent / "results" / "sync.md"
SIDE, CHUNK, PAIRS = 2048, 256, 6
WORKERS = 2


def measure(recipe: dict[str, Any], sync: str) -> tuple[float, float, int]:
    """Seconds of a first run, seconds in fsync of all threads together, and the calls of fsync."""
    from tpsoil.engine.durable import SYNC_VARIABLE
    from tpsoil.recipes import run

    shutil.rmtree(recipe["run"]["output"], ignore_errors=True)
    os.sync()  # what the run before left to the system is not this one's
    os.environ[SYNC_VARIABLE] = sync
    fsync, calls = os.fsync, []

    def timed(handle: int) -> None:
        began = time.perf_counter()
        fsync(handle)
        calls.append(time.perf_counter() - began)

    os.fsync = timed  # type: ignore[assignment]
    try:
        began = time.perf_counter()
        run(recipe, workers=WORKERS, progress=False)
        return time.perf_counter() - began, sum(calls), len(calls)
    finally:
        os.fsync = fsync


def file_system(folder: Path) -> str:
    """Type of the file system of a folder; "?" where the system does not list it."""
    mounts = Path("/proc/mounts")
    nearest = ("", "?")
    for line in mounts.read_text().splitlines() if mounts.exists() else ():
        _, point, kind, *_ = line.split()
        if str(folder.resolve()).startswith(point) and len(point) > len(nearest[0]):
            nearest = (point, kind)
    return nearest[1]


def main(pairs: int) -> None:
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small_run.make_cube(str(folder / "cube.zarr"), side=SIDE, chunk=CHUNK)
        recipe = small_run.recipe_of(folder)
        del recipe["elements"]
        kind = file_system(folder)
        measure(recipe, "0")
        rows = [(measure(recipe, "1"), measure(recipe, "0")) for _ in range(pairs)]
        stored = [path for path in Path(recipe["run"]["output"]).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in stored)
    ratios = [on[0] / off[0] for on, off in rows]
    lines = [
        "# Cost of forcing data to the disk",
        "",
        f"`python benchmarks/sync.py {pairs}`: {len(rows)} pairs of first runs over {SIDE} x {SIDE} cells in chunks of "
        f"{CHUNK} ({len(stored)} files, {size / 1e6:.0f} MB), {WORKERS} threads, file system {kind}, load "
        f"{os.getloadavg()[0]:.1f} at the end.",
        "",
        "| pair | TPSOIL_SYNC=1, s | TPSOIL_SYNC=0, s | ratio | in fsync, s of all threads | calls |",
        "|---|---|---|---|---|---|",
        *(
            f"| {number} | {on[0]:.2f} | {off[0]:.2f} | {on[0] / off[0]:.3f} | {on[1]:.2f} | {on[2]} |"
            for number, (on, off) in enumerate(rows, start=1)
        ),
        "",
        f"Median ratio {statistics.median(ratios):.3f} (range {min(ratios):.3f} to {max(ratios):.3f}); "
        f"{1000 * statistics.median(on[1] / on[2] for on, _ in rows):.1f} ms a call.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    RESULTS.write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS)
