"""The micronutrient maps by tpsoil and by R (terra and ranger), from the same files: time, memory and agreement.

    python benchmarks/study_in_r.py [--size 1470000] [--trees 500] [--only make tpsoil r-blocks r compare]

14 covariates as GeoTIFF with some number of cells of soil (the sample's layers and simulated ones, water and ice
masked), 1654 samples, four elements. Three programs map mean and spread between trees, then the 5, 50 and 95 %
quantiles: `tpsoil` by a recipe, each run a command of its own, and quantiles without correction by ten lines of Python;
`r` as the documentation of terra and ranger has it; `r-blocks` with blocks of rows sized for memory and the fastest
vectorised code. Each stage is a process of its own with a limit of memory and time, and R's limit is one of address
space, so that it fails alone. What is measured is recorded after each stage in --folder, and the table is written anew;
`--only` measures some programs again and retains the others. The full size needs 3 GB of disk and about an hour; the
simulated biomes need 15 000 cells. Writes benchmarks/results/study_in_r.md, at another size into the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# No library is imported by the process that measures: ru_maxrss of a child starts at the memory of its parent.

PROGRAMS = ["make", "tpsoil", "r-blocks", "r", "compare"]
SIZE, TREES, SAMPLES, THREADS = 1_470_000, 500, 1654, 2
SOIL_KM2 = 2_771_000
"""Soil on the plateau's grid, by the sample's mask."""
ELEMENTS = {"Fe": "iron", "Mn": "manganese", "Zn": "zinc", "V": "vanadium"}
COVARIATES = {
    "elevation": "m", "slope": "degree", "mean_annual_temperature": "degC", "annual_precipitation": "mm",
    "aridity_index": "1", "ndvi": "1", "net_primary_production": "g m-2 a-1", "sand": "%", "clay": "%",
    "soil_organic_carbon": "%", "soil_ph": "1", "grazing_intensity": "1", "clay_mineral_index": "1",
    "chemical_index_of_alteration": "1",
}  # fmt: skip
TRIED, NODE = 4, 5
"""Covariates tried at a split, and ranger's `min.node.size`; both are those of R's randomForest."""
LEVELS = (0.05, 0.5, 0.95)
SECOND_SEED = 100_003
"""Of ranger, which grows tree i from the seed i * seed: seeds 1 and 2 share half of their trees."""
COMPARED = 20_000
"""Cells at which the maps are compared with those of another seed."""

R_SCRIPT = """
suppressMessages({library(terra); library(ranger)})
a <- commandArgs(TRUE)
way <- a[1]; folder <- a[2]; trees <- as.integer(a[3]); threads <- as.integer(a[4]); seed <- as.integer(a[5])
block_bytes <- as.numeric(a[6])
options(warn = 1)
levels <- c(0.05, 0.5, 0.95)
timed <- function(label, expression) {
  t <- system.time(expression)
  cat(sprintf("%s: %.2f s, %.2f s of CPU\\n", label, t[["elapsed"]], sum(t[-3]))); flush(stdout())
}
timed("read and sample the covariates", {
  names <- strsplit(a[7], ",")[[1]]; elements <- strsplit(a[8], ",")[[1]]
  covariates <- rast(file.path(folder, paste0(names, ".tif"))); names(covariates) <- names
  samples <- read.csv(file.path(folder, "samples.csv"))
  points <- project(vect(samples, geom = c("longitude", "latitude"), crs = "EPSG:4326"), crs(covariates))
  table <- extract(covariates, points, ID = FALSE)
})
grow <- function(element, quantiles) {
  set.seed(seed)  # decides the responses that quantreg draws
  ranger(x = table, y = samples[[element]], num.trees = trees, mtry = 4, min.node.size = 5, quantreg = quantiles,
         num.threads = threads, seed = seed)
}

# terra::predict with a function, as terra's documentation has it, over ranger's predict.all and type = "quantiles".
spread <- function(model, data, ...) {
  p <- predict(model, data, predict.all = TRUE, num.threads = threads)$predictions
  cbind(mean = rowMeans(p), sd = apply(p, 1, sd))
}
quantiles <- function(model, data, ...)
  predict(model, data, type = "quantiles", quantiles = levels, num.threads = threads)$predictions

# The same by blocks of rows: vectorised moments, and partial sorts of the drawn responses on all cores.
spread_of_block <- function(model, data) {
  p <- predict(model, data, predict.all = TRUE, num.threads = threads)$predictions
  m <- rowMeans(p)
  cbind(m, sqrt(rowSums((p - m)^2) / (ncol(p) - 1)))
}
h <- (trees - 1) * levels + 1
places <- sort(unique(c(floor(h), ceiling(h))))
quantiles_of_block <- function(model, data) {
  leaves <- predict(model, data, type = "terminalNodes", num.threads = threads)$predictions
  drawn <- model$random.node.values
  values <- t(matrix(drawn[leaves + 1 + rep((seq_len(ncol(leaves)) - 1) * nrow(drawn), each = nrow(leaves))],
                     nrow(leaves)))
  of <- function(columns) vapply(columns, function(i) {
    s <- sort.int(values[, i], partial = places)
    s[floor(h)] + (h - floor(h)) * (s[ceiling(h)] - s[floor(h)])
  }, numeric(length(levels)))
  parts <- parallel::splitIndices(ncol(values), min(threads, ncol(values)))
  t(do.call(cbind, parallel::mclapply(parts, of, mc.cores = threads)))
}
by_blocks <- function(model, f, layers, filename) {
  rows <- max(1, floor(block_bytes / (ncol(covariates) * trees * 8 * 4)))
  out <- rast(covariates, nlyrs = layers)
  readStart(covariates); writeStart(out, filename, overwrite = TRUE)
  for (row in seq(1, nrow(covariates), by = rows)) {
    n <- min(rows, nrow(covariates) - row + 1)
    d <- readValues(covariates, row, n, 1, ncol(covariates), dataframe = TRUE)
    v <- matrix(NA_real_, nrow(d), layers); complete <- stats::complete.cases(d)
    if (any(complete)) v[complete, ] <- f(model, d[complete, , drop = FALSE])
    writeValues(out, v, row, n)
  }
  readStop(covariates); writeStop(out)
}

for (element in elements) {
  file_of <- function(what) file.path(folder, sprintf("%s_%s_%s.tif", way, what, element))
  quantreg <- grepl("quantiles", way)
  timed(paste("training", element), model <- grow(element, quantreg || way == "seed"))
  if (way == "r_spread")
    timed(paste("map", element), predict(covariates, model, fun = spread, na.rm = TRUE,
                                         filename = file_of("maps"), overwrite = TRUE))
  if (way == "r_quantiles")
    timed(paste("map", element), predict(covariates, model, fun = quantiles, na.rm = TRUE,
                                         filename = file_of("maps"), overwrite = TRUE))
  if (way == "blocks_spread") timed(paste("map", element), by_blocks(model, spread_of_block, 2, file_of("maps")))
  if (way == "blocks_quantiles")
    timed(paste("map", element), by_blocks(model, quantiles_of_block, 3, file_of("maps")))
  if (way == "seed") {
    cells <- read.csv(file.path(folder, "cells.csv"))
    out <- cbind(spread_of_block(model, cells), quantiles_of_block(model, cells))
    write.csv(out, file.path(folder, sprintf("seed_%s.csv", element)), row.names = FALSE)
  }
}
cat("versions: R ", as.character(getRversion()), ", terra ", as.character(packageVersion("terra")), ", ranger ",
    as.character(packageVersion("ranger")), "\\n", sep = "")
"""


# ---- children: each is `python study_in_r.py --child NAME FOLDER ...`


def make(folder: Path, size: int) -> None:
    """Covariates, mask and samples of the twin of the micronutrient study, with some number of cells of soil."""
    import numpy as np
    import pandas as pd
    import rasterio
    from huo2026_twin import make_twin

    make_twin(folder, resolution=round((SOIL_KM2 * 1e6 / size) ** 0.5, 1))
    (folder / "truth_alteration.tif").rename(folder / "chemical_index_of_alteration.tif")
    table = pd.read_csv(folder / "samples.csv").iloc[:SAMPLES]
    columns = {"site": table["site"], "longitude": table["longitude"], "latitude": table["latitude"]}
    columns |= {symbol: table[f"{symbol}_true"] for symbol in ELEMENTS}
    pd.DataFrame(columns).to_csv(folder / "samples.csv", index=False)
    layers = []
    for name in COVARIATES:
        with rasterio.open(folder / f"{name}.tif") as raster:
            layers.append(raster.read(1, masked=True).filled(np.nan).ravel())
    rows = np.stack(layers, axis=1)
    soil = np.flatnonzero(np.isfinite(rows).all(axis=1))
    cells = np.sort(np.random.default_rng(1).choice(soil, min(COMPARED, soil.size), replace=False))
    pd.DataFrame(rows[cells], columns=list(COVARIATES)).to_csv(folder / "cells.csv", index=False)
    np.save(folder / "cells.npy", cells)
    with rasterio.open(folder / "elevation.tif") as raster:
        print(json.dumps({"rows": raster.height, "columns": raster.width, "soil": int(soil.size)}))


def recipe_text(folder: Path, name: str, trees: int, *, seed: int = 1, interval: bool = False) -> str:
    """What a user would write."""
    layers = "".join(
        f'[[layers]]\nname = "{layer}"\nsource = "{layer}.tif"\nunits = "{units}"\n'
        + ('kind = "continuous"\nlong_name = "clay mineral index"\n' if layer == "clay_mineral_index" else "")
        + "\n"
        for layer, units in COVARIATES.items()
    )
    return f"""[run]
name = "{name}"
output = "{name}.zarr"
seed = {seed}

[grid]
like = "elevation.tif"
chunks = 512

{layers}[[layers]]
name = "soil_mask"
source = "soil_mask.tif"

[elements]
samples = "samples.csv"
simulated = true
site = "site"
elements = {json.dumps(list(ELEMENTS))}
features = {json.dumps(list(COVARIATES))}
preset = "randomForest"       # {TRIED} covariates at a split, nodes of {NODE}, as ranger is called
trees = {trees}
folds = ["group"]
n_folds = 10
log = false
{"interval = 0.9" if interval else ""}
"""


def quantiles(folder: Path, trees: int, seed: int) -> None:
    """The quantiles without the correction of the recipe's interval: what a notebook would have."""
    import pandas as pd

    import tpsoil
    from tpsoil.forest import SoilForest

    cube = tpsoil.open_cube(str(folder / "spread.zarr"))
    began = time.perf_counter()
    samples = tpsoil.sample_cube(cube, pd.read_csv(folder / "samples.csv").rename(columns=str))
    print(f"covariates at the samples: {time.perf_counter() - began:.2f} s", flush=True)
    for symbol in ELEMENTS:
        began = time.perf_counter()
        forest = SoilForest(trees, preset="randomForest", random_state=seed, n_jobs=THREADS)
        forest.fit(samples[list(COVARIATES)], samples[symbol])
        print(f"training {symbol}: {time.perf_counter() - began:.2f} s", flush=True)
        began = time.perf_counter()
        maps = forest.predict_cube(cube, quantiles=list(LEVELS))
        maps.to_zarr(folder / f"quantiles_{seed}_{symbol}.zarr", mode="w", consolidated=False)
        print(f"map {symbol}: {time.perf_counter() - began:.2f} s", flush=True)


def compare(folder: Path) -> None:
    """Agreement of the maps: correlation and RMSE between programs, beside the RMSE between seeds of one."""
    import numpy as np
    import pandas as pd
    import rasterio
    import xarray as xr

    cells = np.load(folder / "cells.npy")

    def of_r(name: str, symbol: str, band: int) -> Any:
        path = folder / f"{name}_maps_{symbol}.tif"
        if not path.exists():
            return None
        with rasterio.open(path) as raster:
            values = raster.read(band, masked=True).filled(np.nan)
        return np.asarray(values, dtype=float).ravel()

    def of_zarr(store: str, layer: str) -> Any:
        path = folder / store
        if not path.exists():
            return None
        return np.asarray(xr.open_zarr(path)[layer].values, dtype=float).ravel()

    def rmse(one: Any, other: Any) -> float:
        return float(np.sqrt(np.mean((one - other) ** 2)))

    rows = []
    for symbol, name in ELEMENTS.items():
        path = folder / f"seed_{symbol}.csv"
        second = pd.read_csv(path).to_numpy() if path.exists() else None
        sources = {
            "mean": (("spread.zarr", name), ("spread_seed.zarr", name), "spread", 1),
            "spread": (("spread.zarr", f"{name}_sd"), ("spread_seed.zarr", f"{name}_sd"), "spread", 2),
        }
        for band, level in enumerate(LEVELS, start=1):
            layer = f"q{round(100 * level):02d}"
            stores = [(f"quantiles_{seed}_{symbol}.zarr", layer) for seed in (1, 2)]
            sources[f"{100 * level:g} %"] = (stores[0], stores[1], "quantiles", band)
        for column, (what, (first, seed, kind, band)) in enumerate(sources.items()):
            ours, again = of_zarr(*first), of_zarr(*seed)
            blocks, documented = of_r(f"blocks_{kind}", symbol, band), of_r(f"r_{kind}", symbol, band)
            row: dict[str, Any] = {"element": symbol, "map": what}
            if ours is not None and blocks is not None:
                both = np.isfinite(ours) & np.isfinite(blocks)
                row["cells"] = int(both.sum())
                row["one_only"] = int((np.isfinite(ours) != np.isfinite(blocks)).sum())
                row["mean"] = float(blocks[both].mean())
                row["r"] = float(np.corrcoef(ours[both], blocks[both])[0, 1])
                row["between"] = rmse(ours[both], blocks[both])
            if ours is not None and again is not None:
                row["seeds_tpsoil"] = rmse(ours[cells], again[cells])
            if blocks is not None and second is not None:
                row["seeds_r"] = rmse(blocks[cells], second[:, column])
            if blocks is not None and documented is not None:
                row["documented"] = float(np.nanmax(np.abs(documented - blocks)))
            rows.append(row)
    print(json.dumps(rows))


# ---- the process that measures


def processes_of(group: int) -> list[int]:
    """Processes of a process group."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[2]) == group:
                members.append(int(path.parent.name))
        except (OSError, ValueError, IndexError):
            continue  # it ended
    return members


def shared_out_bytes(members: list[int]) -> int:
    """Memory of processes together, pages that they share counted once."""
    total = 0
    for process in members:
        try:
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += 1024 * int(found[1]) if found else 0
    return total


def available_gb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1e6
    return 0.0


def measure(command: list[str], folder: Path, *, address_gb: float, minutes: float) -> dict[str, Any]:
    """Run a command in a process group of its own: wall and CPU time, peak memory, what it printed, how it ended."""
    limited = ["bash", "-c", f'ulimit -v {int(address_gb * 1e6)}; exec "$@"', "bash", *command]
    load, began = os.getloadavg()[0], time.monotonic()
    process = subprocess.Popen(
        limited if address_gb else command,
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "COLUMNS": "200"},
    )  # fmt: skip
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            print("   ", lines[-1], flush=True)

    reader = threading.Thread(target=read)
    reader.start()
    together, late, ended = 0, False, 0
    while not ended:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        members = [] if ended else processes_of(process.pid)
        if len(members) > 1:
            together = max(together, shared_out_bytes(members))
        if not ended and time.monotonic() - began > 60 * minutes:
            late = True
            os.killpg(process.pid, 9)
        time.sleep(0 if ended else 0.5)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    reader.join(10)
    return {
        "status": process.returncode,
        "late": late,
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": max(usage.ru_maxrss * 1024, together),
        "load": load,
        "lines": lines,
        "ended": time.strftime("%Y-%m-%d %H:%M"),
    }


class Study:
    """The folder of a study: its inputs, its maps and what was measured."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.record = folder / "measured.json"
        self.measured: dict[str, Any] = json.loads(self.record.read_text()) if self.record.exists() else {}

    def run(self, key: str, command: list[str], *, limited: bool = False) -> dict[str, Any]:
        """Measure one stage, record it, and write the table again."""
        address = 0.0
        if limited:
            address = min(self.options.memory_gb, available_gb() - 2)
        print(f"{key}: {' '.join(command)[:150]}" + (f" (at most {address:.1f} GB)" if limited else ""), flush=True)
        result = measure(command, self.folder, address_gb=address, minutes=self.options.minutes)
        result["address_gb"] = address
        self.measured[key] = result
        self.record.write_text(json.dumps(self.measured, indent=1))
        self.write()
        return result

    def child(self, name: str, *arguments: object) -> list[str]:
        return [sys.executable, str(HERE / "study_in_r.py"), "--child", name, str(self.folder), *map(str, arguments)]

    def make(self) -> None:
        self.run("make", self.child("make", self.options.size))

    def tpsoil(self) -> None:
        for name, more in (("spread", {}), ("interval", {"interval": True}), ("spread_seed", {"seed": 2})):
            (self.folder / f"{name}.toml").write_text(recipe_text(self.folder, name, self.options.trees, **more))
            shutil.rmtree(self.folder / f"{name}.zarr", ignore_errors=True)
            command = [sys.executable, "-m", "tpsoil", "run", f"{name}.toml", "--no-maps", "--workers", str(THREADS)]
            self.run(f"tpsoil {name}", command)
        for seed in (1, 2):
            self.run(f"tpsoil quantiles {seed}", self.child("quantiles", self.options.trees, seed))

    def of_r(self, way: str, *, seed: int = 1, count: int = len(ELEMENTS)) -> None:
        script = self.folder / "study.R"
        script.write_text(R_SCRIPT)
        for path in self.folder.glob(f"{way}_maps_*.tif"):
            path.unlink()
        command = ["Rscript", str(script), way, str(self.folder), str(self.options.trees), str(THREADS), str(seed)]
        command += [str(self.options.block_gb * 1e9), ",".join(COVARIATES), ",".join(list(ELEMENTS)[:count])]
        printed = self.run(way, command, limited=True)["lines"]
        for path in self.folder.glob(f"{way}_maps_*.tif"):
            if not any(line.startswith(f"map {path.stem.rpartition('_')[2]}:") for line in printed):
                path.unlink()  # of a stage that ended within this map

    def r(self) -> None:
        self.of_r("r_spread", count=self.options.documented)
        self.of_r("r_quantiles", count=self.options.documented)

    def r_blocks(self) -> None:
        for way in ("blocks_spread", "blocks_quantiles"):
            self.of_r(way, count=self.options.elements)
        self.of_r("seed", seed=SECOND_SEED, count=self.options.elements)

    def compare(self) -> None:
        self.run("compare", self.child("compare"))

    def write(self) -> None:
        """The table of what was measured so far."""
        text = results(self.measured, self.options)
        whole = (self.options.size, self.options.trees) == (SIZE, TREES)
        path = HERE / "results" / "study_in_r.md" if whole else self.folder / "study_in_r.md"
        path.write_text(text, encoding="utf-8")


TITLES = {
    "tpsoil spread": ("tpsoil run", "mean and spread: import of GeoTIFFs, 10 folds, training and maps"),
    "tpsoil interval": (
        "tpsoil run, interval",
        "the same with `interval = 0.9`: limits, dissimilarity, applicability too",
    ),
    "tpsoil quantiles 1": ("tpsoil in Python", "5, 50 and 95 % quantiles with mean and spread: training and maps"),
    "blocks_spread": ("R by blocks", "mean and spread: training and maps"),
    "blocks_quantiles": ("R by blocks, quantiles", "5, 50 and 95 % quantiles: training and maps"),
    "r_spread": ("R documented", "`terra::predict` with `predict.all`: mean and spread"),
    "r_quantiles": ("R documented, quantiles", '`terra::predict` with `type = "quantiles"`: 5, 50 and 95 %'),
}
SPLIT = re.compile(
    r"^(?!Predicting)(?:(training|map) (\w+)|(.*?)): (?:(\d+) of \d+ tiles in )?([\d.]+) s(?:, ([\d.]+) s of CPU)?"
)


def elements_of(key: str, result: dict[str, Any]) -> int:
    """Elements that a stage trained."""
    if key.startswith(("r_", "blocks_")):
        return sum(line.startswith("training ") for line in result["lines"])
    return len(ELEMENTS)


def ending(result: dict[str, Any]) -> str:
    """How a stage ended."""
    if not result["status"]:
        return ""
    said = " ".join(result["lines"][-8:])
    limit = f"{result['address_gb']:.0f} GB"
    finished = sum(line.startswith("map ") for line in result["lines"])
    maps = f" after {finished} maps"
    if result["late"]:
        return f"**ended by the time limit{maps}**"
    if re.search("cannot allocate|bad_alloc|memory", said, re.IGNORECASE):
        return f"**out of memory at {limit}{maps}**"
    if result["status"] < 0:
        return f"**ended by signal {-result['status']}{maps}**"
    return f"**status {result['status']}{maps}**"


def results(measured: dict[str, Any], options: argparse.Namespace) -> str:
    """The page."""
    grid = next((json.loads(line) for line in measured.get("make", {}).get("lines", []) if line.startswith("{")), {})
    lines = [
        "# The micronutrient maps by tpsoil and by R, from the same files",
        "",
        f"{grid.get('rows', '?')} x {grid.get('columns', '?')} cells, {grid.get('soil', 0):,} of them with soil",
        f"(water and ice are masked), {len(COVARIATES)} covariates as GeoTIFF, {SAMPLES} samples, {len(ELEMENTS)} "
        "elements,",
        f"{options.trees} trees, {TRIED} covariates tried at a split, nodes of {NODE}, {THREADS} threads. CPU time and",
        "peak memory of the whole process with its children. `ulimit -v` ends R alone; other programs have",
        f"no limit. Blocks of R are sized for {options.block_gb:g} GB.",
        "",
        "| program | what | elements | wall, s | CPU, s | peak, GB | load before | ended |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, (program, title) in TITLES.items():
        if (one := measured.get(key)) is None:
            continue
        lines.append(
            f"| {program} | {title} | {elements_of(key, one)} | {one['wall']:.1f} | {one['cpu']:.1f} | "
            f"{one['peak'] / 1e9:.2f} | {one['load']:.1f} | {ending(one) or one['ended']} |"
        )
    lines += [
        "",
        "Parts, as the program printed them (median where there are several; CPU time where R printed it):",
        "",
    ]
    lines += ["| program | part | times | wall, s | CPU, s |", "|---|---|---|---|---|"]
    for key, (program, _) in TITLES.items():
        parts: dict[str, list[tuple[float, float | None]]] = {}
        for line in measured.get(key, {}).get("lines", []):
            if found := SPLIT.match(line):
                parts.setdefault(part_of(found), []).append((float(found[5]), float(found[6]) if found[6] else None))
        for part, seconds in parts.items():
            wall = statistics.median(one for one, _ in seconds)
            cpu_times = [two for _, two in seconds if two is not None]
            cpu_time = f"{statistics.median(cpu_times):.2f}" if cpu_times else ""
            lines.append(f"| {program} | {part} | {len(seconds)} | {wall:.2f} | {cpu_time} |")
    lines += ratios(measured)
    lines += agreement(measured)
    versions = [line for one in measured.values() for line in one["lines"] if line.startswith("versions: ")]
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    lines += [
        "",
        f"{versions[-1].removeprefix('versions: ') if versions else 'R was not measured'}; Python "
        f"{platform.python_version()}; {os.cpu_count()} cores of {cpu}.",
        "",
        "`python benchmarks/study_in_r.py"
        + ("" if (options.size, options.trees) == (SIZE, TREES) else f" --size {options.size} --trees {options.trees}")
        + "`",
    ]
    return "\n".join(lines) + "\n"


def part_of(found: re.Match[str]) -> str:
    """A part of a stage, without the element in its name."""
    if found[1]:
        return f"{found[1]} of one element"
    title = found[3]
    if found[4] and "topsoil" in title:
        return "maps of all elements, one pass"
    if found[4]:
        return "import of one covariate"
    return re.sub(r"\b(?:iron|manganese|zinc|vanadium|Fe|Mn|Zn|V)\b", "one element", title)


def ratios(measured: dict[str, Any]) -> list[str]:
    """R beside tpsoil."""
    lines = []
    pairs = (
        ("blocks_spread", "tpsoil spread", "mean and spread"),
        ("blocks_quantiles", "tpsoil quantiles 1", "quantiles, without import and folds"),
        ("blocks_quantiles", "tpsoil interval", "quantiles beside the recipe's interval, with import and folds"),
    )
    for theirs, ours, what in pairs:
        one, other = measured.get(theirs), measured.get(ours)
        if one and other and not one["status"] and not other["status"]:
            times = len(ELEMENTS) / elements_of(theirs, one)
            lines.append(
                f"| {what} | {times * one['wall'] / other['wall']:.1f} | {times * one['cpu'] / other['cpu']:.1f} | "
                f"{one['peak'] / other['peak']:.1f} | {elements_of(theirs, one)} |"
            )
    if not lines:
        return []
    head = ["| maps | wall | CPU | peak memory | elements measured in R |", "|---|---|---|---|---|"]
    return ["", "R by blocks over tpsoil, for four elements:", "", *head, *lines]


def agreement(measured: dict[str, Any]) -> list[str]:
    """The table of the maps' agreement."""
    printed = [line for line in measured.get("compare", {}).get("lines", []) if line.startswith("[")]
    if not printed:
        return []
    lines = [
        "",
        "Agreement with R by blocks (RMSE in mg/kg). Forests of the two programs have other random numbers, so their",
        "maps can agree as well as those of two seeds of one program. ranger's quantiles are of one random response of",
        "each leaf, tpsoil's of all of them (Meinshausen 2006).",
        "",
        "| element | map | mean | correlation | RMSE between programs | two seeds of tpsoil | two seeds of R |"
        " documented R - by blocks, max |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = json.loads(printed[-1])

    def cell(row: dict[str, Any], key: str, digits: int = 4) -> str:
        return f"{row[key]:.{digits}g}" if key in row else ""

    for row in rows:
        correlation = f"{row['r']:.4f}" if "r" in row else ""
        lines.append(
            f"| {row['element']} | {row['map']} | {cell(row, 'mean')} | {correlation} | {cell(row, 'between')} | "
            f"{cell(row, 'seeds_tpsoil')} | {cell(row, 'seeds_r')} | {cell(row, 'documented', 2)} |"
        )
    compared = [row for row in rows if "cells" in row]
    if compared:
        lines += [
            "",
            f"{min(row['cells'] for row in compared):,} cells have a value in both programs, "
            f"{max(row['one_only'] for row in compared):,} in one only.",
        ]
    return lines


CHILDREN: dict[str, Callable[..., None]] = {"make": make, "quantiles": quantiles, "compare": compare}


def main() -> None:
    """Measure the chosen programs, in turn."""
    if sys.argv[1:2] == ["--child"]:
        CHILDREN[sys.argv[2]](Path(sys.argv[3]), *map(int, sys.argv[4:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=SIZE, help="cells with soil, about")
    parser.add_argument("--trees", type=int, default=TREES)
    parser.add_argument("--only", nargs="*", default=PROGRAMS, choices=PROGRAMS)
    parser.add_argument("--skip", nargs="*", default=[], choices=PROGRAMS)
    parser.add_argument("--folder", type=Path, help="of inputs, maps and measurements; retained")
    parser.add_argument("--memory-gb", type=float, default=16, help="address space of R")
    parser.add_argument("--block-gb", type=float, default=2, help="that blocks of R are sized for")
    parser.add_argument("--elements", type=int, default=len(ELEMENTS), help="elements that R maps by blocks")
    parser.add_argument("--documented", type=int, default=1, help="elements that R maps as documented")
    parser.add_argument("--minutes", type=float, default=30, help="limit of one stage")
    options = parser.parse_args()
    default = Path(tempfile.gettempdir()) / f"tpsoil-study-in-r-{options.size}-{options.trees}"
    folder = (options.folder or default).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(folder, options)
    for program in PROGRAMS:
        done = program == "make" and not study.measured.get("make", {"status": 1})["status"]
        wanted = program in options.only or (program == "make" and "make" not in study.measured)
        if wanted and not done and program not in options.skip:
            getattr(study, program.replace("-", "_"))()
        if study.measured["make"]["status"]:
            raise SystemExit("the inputs could not be made; the reason is above")
    study.write()
    print(results(study.measured, options))


if __name__ == "__main__":
    main()
