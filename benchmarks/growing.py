"""Training of a random forest: the compiled grower beside scikit-learn and R's ranger.

    python benchmarks/growing.py [--repeats 5] [--trees 500]
    python benchmarks/growing.py --nested [--fraction 0.05] [--workers 2]

1654 samples of 14 covariates, 4 tried at a split, leaves of one row; each repeat runs every contender once, in turn,
and a ratio is that of paired repeats. Wall and processor time, because wall time is only comparable on a quiet machine.
With TPSOIL_DATA, the scores of `tpsoil.forest.train` on GEMAS with both growers follow. Writes results/growing.md.

--nested times the whole nested study instead, by `tpsoil.forest.train`: four elements, ten outer folds by ten inner
ones, a grid of five settings, 500 trees: 1.12 million trees. With --fraction one element with few trees, twice, whose
times forecast the whole. The whole writes results/growing_nested.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))
SAMPLES, FEATURES, TRIED = 1654, 14, 4

RANGER = """
suppressMessages(library(ranger))
folder <- commandArgs(TRUE)[1]; n <- 1654
X <- as.data.frame(matrix(readBin(file.path(folder, "X"), "double", n * 14), ncol = 14))
y <- readBin(file.path(folder, "y"), "double", n)
cat("ready", as.character(packageVersion("ranger")), "\\n"); flush(stdout())
input <- file("stdin", "r")
while (length(line <- readLines(input, 1)) > 0) {
  asked <- as.integer(strsplit(line, " ")[[1]])
  took <- system.time(ranger(x = X, y = y, num.trees = asked[1], mtry = 4, min.node.size = 1, oob.error = FALSE,
                             num.threads = asked[2], seed = asked[3]))
  cat("took", took[["elapsed"]], took[["user.self"]] + took[["sys.self"]], "\\n"); flush(stdout())
}
"""


def samples() -> tuple[Any, Any]:
    """Covariates and a response that depends on some of them, with noise."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(SAMPLES, FEATURES)).astype(np.float32)
    y = 30 + 4 * np.tanh(X[:, 0]) + 3 * X[:, 8] * np.exp(-(X[:, 9] ** 2)) + 2 * X[:, 10] + 1.5 * np.sin(X[:, 7])
    return X, np.asarray(y + rng.normal(0, 2, SAMPLES), dtype=np.float64)


class Ranger:
    """ranger in one R process that reports wall and processor time of each fit."""

    def __init__(self, X: Any, y: Any) -> None:
        self.folder = tempfile.TemporaryDirectory()
        X.astype(np.float64).ravel(order="F").tofile(Path(self.folder.name) / "X")
        y.tofile(Path(self.folder.name) / "y")
        script = Path(self.folder.name) / "run.R"
        script.write_text(RANGER)
        self.process = subprocess.Popen(
            ["Rscript", str(script), self.folder.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self.answer()[0]

    def answer(self) -> list[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(("took", "ready")):
                return line.split()[1:]
        raise SystemExit("R ended early; it needs the package ranger")

    def fit(self, trees: int, threads: int, seed: int) -> tuple[float, float]:
        assert self.process.stdin is not None
        print(trees, threads, seed, file=self.process.stdin, flush=True)
        wall, processor = self.answer()
        return float(wall), float(processor)


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def contenders(trees: int) -> tuple[dict[str, Callable[[int], tuple[float, float]]], str]:
    """Each contender's fit with a seed, and the versions."""
    from sklearn.ensemble import RandomForestRegressor

    from tpsoil.forest.growing import grow

    X, y = samples()

    def forest(seed: int, jobs: int = 1) -> Any:
        return RandomForestRegressor(trees, max_features=TRIED, random_state=seed, n_jobs=jobs)

    every: dict[str, Callable[[int], tuple[float, float]]] = {
        "compiled, 2 threads": lambda seed: timed(lambda: grow(forest(seed), X, y, threads=2, engine="compiled")),
        "compiled, 1 thread": lambda seed: timed(lambda: grow(forest(seed), X, y, engine="compiled")),
        "scikit-learn, n_jobs=1": lambda seed: timed(lambda: forest(seed).fit(X, y)),
        "scikit-learn, n_jobs=2": lambda seed: timed(lambda: forest(seed, 2).fit(X, y)),
    }
    names = [f"{name} {version(name)}" for name in ("numba", "scikit-learn")]
    if subprocess.run(["which", "Rscript"], capture_output=True, check=False).returncode == 0:
        ranger = Ranger(X, y)
        every["ranger, 1 thread"] = lambda seed: ranger.fit(trees, 1, seed)
        every["ranger, 2 threads"] = lambda seed: ranger.fit(trees, 2, seed)
        names.append(f"ranger {ranger.version}")
    return every, ", ".join(names)


def table(results: dict[str, list[tuple[float, float]]]) -> str:
    first = next(iter(results))
    lines = [f"{'grower':<24}{'wall s':>8}{'cpu s':>8}   wall / ours {'':>9}cpu / ours", "-" * 74]
    for name, own in results.items():
        line = f"{name:<24}{statistics.median(w for w, _ in own):>8.2f}{statistics.median(c for _, c in own):>8.2f}   "
        for part in (0, 1):
            ratios = [theirs[part] / ours[part] for theirs, ours in zip(own, results[first])]
            line += f"{statistics.median(ratios):5.1f} ({min(ratios):.1f} .. {max(ratios):.1f})".ljust(22)
        lines.append(line.rstrip())
    return "\n".join(lines)


def gemas_scores(folder: Path, seeds: int) -> str:
    """Scores by blocks of four elements with both growers and equal folds, for several seeds."""
    from gemas import ELEMENTS, RASTERS_AND_STATION, gemas

    from tpsoil.forest import train

    data = gemas(folder)
    lines = [f"{'element':<10}{'grower':<14}{'NSE, blocks':>12}   over {seeds} seeds"]
    for element in ELEMENTS:
        for engine in ("compiled", "scikit-learn"):
            scores = [
                train(data, element, RASTERS_AND_STATION, folds="block", transform="log10", trees=200, seed=seed,
                      engine=engine, workers=2).scores.loc["block", "nse"]
                for seed in range(seeds)
            ]  # fmt: skip
            spread = statistics.stdev(scores) if seeds > 1 else 0.0
            lines.append(f"{element:<10}{engine:<14}{statistics.mean(scores):>12.4f} +- {spread:.4f}")
    return "\n".join(lines)


GRID = {"max_features": [2, 4, 6, 9, 14]}


def nested_study(elements: int, folds: int, trees: int, workers: int) -> tuple[float, float, int]:
    """Wall time, processor time and number of trees of a nested study; prints its progress."""
    import pandas as pd

    from tpsoil.forest import train
    from tpsoil.forest.fit_progress import reporting_fits

    X, y = samples()
    names = [f"x{k}" for k in range(FEATURES)]
    wall, processor = time.perf_counter(), time.process_time()
    for element in range(elements):
        table = pd.DataFrame(X, columns=names)
        table["y"] = y + np.random.default_rng(element).normal(0, 2, SAMPLES)

        def show(done: int, total: int, element: int = element) -> None:
            took = time.perf_counter() - wall
            print(
                f"element {element + 1} of {elements}, {trees} trees: {done} of {total} folds, {took:.0f} s", flush=True
            )

        with reporting_fits(show):
            train(
                table, "y", names, folds="random", n_folds=folds, search=GRID, search_folds=folds, search_trees=trees,
                trees=trees, workers=workers, seed=element,
            )  # fmt: skip
    # Each outer fold, and all rows, have a search and a forest.
    grown = elements * (folds + 1) * (folds * len(GRID["max_features"]) + 1) * trees
    return time.perf_counter() - wall, time.process_time() - processor, grown


def nested(fraction: float, workers: int) -> str:
    """Report of the nested study, or its forecast from a fraction of the trees."""
    line = "{:<34}{:>10}{:>9.1f}{:>9.1f}{:>14.2f}"
    lines = [f"{'study':<34}{'trees':>10}{'wall s':>9}{'cpu s':>9}{'cores busy':>14}", "-" * 76]
    if fraction >= 1:
        wall, processor, grown = nested_study(4, 10, 500, workers)
        lines.append(line.format("4 elements, 500 trees", grown, wall, processor, processor / wall))
        return "\n".join(lines)
    # A forest costs something without a tree: two numbers of trees separate it from the trees' own time.
    nested_study(1, 2, 2, workers)  # compiles
    most = max(4, round(500 * min(1.0, 4 * fraction)))
    times = []
    for trees in (most // 2, most):
        wall, processor, grown = nested_study(1, 10, trees, workers)
        times.append((trees, wall, processor))
        lines.append(line.format(f"1 element, {trees} trees", grown, wall, processor, processor / wall))
    (few, *first), (many, *second) = times
    wall, processor = (4 * (b + (b - a) / (many - few) * (500 - many)) for a, b in zip(first, second))
    lines.append(
        line.format("forecast: 4 elements, 500 trees", grown // most * 2000, wall, processor, processor / wall)
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5, help="of the scores on GEMAS")
    parser.add_argument("--nested", action="store_true", help="time the whole nested study instead")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the trees of the nested study, for a forecast")
    parser.add_argument("--workers", type=int, default=2, help="threads of the nested study")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.nested:
        times = nested(arguments.fraction, arguments.workers)
        report = (
            f"# The nested study: ten by ten folds, a grid of five\n\n```\n{times}\n```\n\n"
            f"{SAMPLES} samples, {FEATURES} covariates, {arguments.workers} threads; load of the machine "
            f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n\n`python benchmarks/growing.py --nested`\n"
        )
        print(report)
        if arguments.fraction >= 1:
            (HERE / "results" / "growing_nested.md").write_text(report)
        return
    every, versions = contenders(arguments.trees)
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
    for repeat in range(arguments.repeats + 1):
        for name, fit in every.items():
            took = fit(repeat)
            if repeat:  # the first compiles
                results[name].append(took)
    text = f"# Growing a forest\n\n```\n{table(results)}\n```\n\n"
    text += (
        f"{arguments.trees} trees, {SAMPLES} samples, {TRIED} of {FEATURES} covariates tried, leaves of one row; load "
        f"of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {platform.machine()}.\n"
        f"Median of {arguments.repeats} repeats; ratio of paired repeats to the first row, median (min .. max).\n"
        f"\n{textwrap.fill(versions, 100)}\n"
    )
    data = Path(os.environ.get("TPSOIL_DATA", ROOT.parent / "shared" / "data"))
    if (data / "europe" / "gemas.csv").is_file():
        text += f"\n```\n{gemas_scores(data, arguments.seeds)}\n```\n"
    text += "\n`python benchmarks/growing.py`\n"
    print(text)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "growing.md").write_text(text)


if __name__ == "__main__":
    main()
