"""The engine's own cost of a tile on a cluster: 1, 4, 16 and 64 workers whose work is a sleep.

    python benchmarks/workers.py [--workers 1 4 16 64] [--seconds 10]

A scheduler and worker processes on loopback; a worker is a thread of one of at most 8 processes, because a sleep
needs no processor. For each number of workers, `tpsoil.engine.execute.drive` hands out tiles as in a run: tiles that
take no time, one in a call (the engine's limit of calls) and many in a call (its limit of tiles), and tiles of 0.1 s
and 1 s. Wall time depends on what else the machine does, processor time of client and scheduler for a call much less:
it gives the limit that is quoted. Writes benchmarks/results/workers.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import distributed  # noqa: E402
import loopback  # noqa: E402

from tpsoil.engine.cluster import ClusterPool  # noqa: E402
from tpsoil.engine.execute import drive  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "workers.md"
PROCESSES = 8
TILES = {"mean and spread of one element": 0.4, "the same with a 90 % interval": 2.2, "four elements with it": 8.7}
"""Seconds of a tile."""
SHARED = bytes(4000)
"""As large as the assignment of a stage, which goes with every call."""


class OneByOne(ClusterPool):
    """One tile in a call, however short it is."""

    call_seconds = 0.0  # type: ignore[misc]


@dataclass(frozen=True)
class Cost:
    """One measurement: tiles and calls, wall time, and processor time of the two processes that every call passes."""

    workers: int
    seconds: float
    single: bool
    tiles: int
    calls: int
    wall: float
    client: float
    scheduler: float

    @property
    def ideal(self) -> float:
        """Wall time without any cost."""
        return self.tiles * self.seconds / self.workers

    @property
    def mean_size(self) -> float:
        """Tiles in a call."""
        return self.tiles / self.calls

    @property
    def limit(self) -> float:
        """Calls a second at which the busier of client and scheduler has no time left."""
        return self.calls / max(self.client, self.scheduler)


def sleep(seconds: float, _shared: Any, tile: int) -> int:
    """The work of a tile."""
    if seconds:
        time.sleep(seconds)
    return tile


def scheduler_seconds(dask_scheduler: Any) -> float:
    """Processor time of the scheduler's process."""
    return time.process_time()


def measure(client: Any, workers: int, seconds: float, tiles: int, *, single: bool) -> Cost:
    """Hand out tiles that sleep for some seconds."""
    pool = (OneByOne if single else ClusterPool)(client)
    submit, calls = pool.submit, 0

    def counted(function: Any, shared: Any, groups: Any) -> list[Any]:
        nonlocal calls
        calls += len(groups)
        return submit(function, shared, groups)

    pool.submit = counted  # type: ignore[method-assign]
    done: list[int] = []
    scheduler = client.run_on_scheduler(scheduler_seconds)
    own, began = time.process_time(), time.perf_counter()
    drive(pool, partial(sleep, seconds), SHARED, range(tiles), done.append)
    wall, own = time.perf_counter() - began, time.process_time() - own
    assert sorted(done) == list(range(tiles))
    return Cost(
        workers, seconds, single, tiles, calls, wall, own, client.run_on_scheduler(scheduler_seconds) - scheduler
    )


def measured(workers: int, budget: float) -> list[Cost]:
    """All measurements with some number of workers."""
    processes = min(PROCESSES, workers)
    with tempfile.TemporaryDirectory(prefix="tpsoil-workers-", ignore_cleanup_errors=True) as folder:
        cluster = loopback.Cluster(Path(folder))
        try:
            for _ in range(processes):
                cluster.worker(threads=workers // processes)
            with distributed.Client(cluster.address, set_as_default=False) as client:
                client.wait_for_workers(processes, timeout=300)
                measure(client, workers, 0.0, 200, single=True)  # connections, imports
                costs = [
                    measure(client, workers, 0.0, 1000, single=True),
                    measure(client, workers, 0.0, 30_000, single=False),
                ]
                for seconds in (0.1, 1.0):
                    tiles = max(2 * workers, min(3000, int(budget * workers / seconds)))
                    costs.append(measure(client, workers, seconds, tiles, single=True))
                costs.append(measure(client, workers, 0.1, max(2 * workers, min(6000, int(budget * workers / 0.1))),
                                     single=False))  # fmt: skip
        finally:
            cluster.close()
    return costs


def table(costs: list[Cost]) -> list[str]:
    """The measurements by rows."""
    lines = [
        "| workers | tile, s | tiles in a call | tiles | wall, s | tiles / s | of the ideal | client, ms CPU a call |"
        " scheduler, ms CPU a call | limit, calls / s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cost in costs:
        share = f"{cost.ideal / cost.wall:.0%}" if cost.seconds else ""
        lines.append(
            f"| {cost.workers} | {cost.seconds:g} | {cost.mean_size:.1f} | {cost.tiles} | {cost.wall:.1f} | "
            f"{cost.tiles / cost.wall:,.0f} | {share} | {1e3 * cost.client / cost.calls:.2f} | "
            f"{1e3 * cost.scheduler / cost.calls:.2f} | {cost.limit:,.0f} |"
        )
    return lines


def on_paper(costs: list[Cost]) -> list[str]:
    """Where 1000 workers would saturate."""
    single = [cost for cost in costs if cost.single and not cost.seconds]
    packed = [cost for cost in costs if not cost.single and not cost.seconds]
    limit = max(single, key=lambda cost: cost.workers).limit
    size = max(packed, key=lambda cost: cost.workers).mean_size
    shortest = 1000 / limit
    busy = {title: min(1.0, limit * max(seconds, 0.5) / 1000) for title, seconds in TILES.items()}
    paragraphs = (
        "Every call passes the client and the scheduler, one busy thread each. Their limit with the most workers above "
        f"is {limit:,.0f} calls a second: the processor time of the busier of the two for a call, whatever the workers "
        "do meanwhile (more workers, more calls in a message, less time for each). 1000 workers with calls of T "
        "seconds end 1000 / T calls a second: all are busy while T > "
        f"{shortest:.1f} s, half of them at T = {shortest / 2:.1f} s. Tiles shorter than 0.5 s are put together into "
        f"calls of that length, of {size:.0f} tiles there, so that the limit of short tiles is higher: "
        f"{limit * size:,.0f} a second. By the rates of runs.md (one core, tiles of 512 x 512 cells, 0.5 s or one tile "
        "in a call):",
        "A larger `tile` (more chunks in one tile) raises T, and the number of busy workers in proportion. Several "
        "calls go to the scheduler in one message, with the stage pickled once, and the results of all that ended are "
        "one query. One message and one query a call, in turn with this on a busy machine (4 workers, tiles of no "
        "time): client 1.93 and 1.13 ms a call, scheduler 2.56 and 1.33 ms. Between hosts with a round trip of 40 ms "
        "the results of single queries bounded all workers together to 9 calls a second; it is 50 now with 4 "
        "threads, which end 25 calls a second of 0.1 s each, in place of 9. Not in these numbers: heartbeats of 1000 "
        "workers, and the store's own limit of requests.",
    )
    return [
        "## 1000 workers, on paper",
        "",
        textwrap.fill(paragraphs[0], 118),
        "",
        "| tile | s | of 1000 workers are busy |",
        "|---|---|---|",
        *(f"| {title} | {seconds:g} | {1000 * busy[title]:,.0f} |" for title, seconds in TILES.items()),
        "",
        textwrap.fill(paragraphs[1], 118),
    ]


def main() -> None:
    """Measure every number of workers in turn; print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement with tiles that sleep, about")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    costs: list[Cost] = []
    for workers in options.workers:
        costs += measured(workers, options.seconds)
        print("\n".join(table(costs)[-5:]), flush=True)
    costs.sort(key=lambda cost: cost.workers)
    lines = [
        "# The engine's own cost of a tile on a cluster",
        "",
        f"Workers are threads of at most {PROCESSES} processes on this machine, their work is a sleep; scheduler and",
        f"client are processes of their own. Load of the machine before it began {load:.1f}, {os.cpu_count()} cores, "
        f"{platform.machine()},",
        f"Python {platform.python_version()}, distributed {distributed.__version__}.",
        "",
        *table(costs),
        "",
        "Of the ideal: share of the wall time that the sleeps alone take. Wall time is only that of the engine on a",
        "machine that does nothing else; processor time for a call is affected less.",
        "",
        *on_paper(costs),
        "",
        "`python benchmarks/workers.py`",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
