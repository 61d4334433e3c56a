"""Mean and spread of a forest over a raster, against everyone's mean; and quantiles.

    python benchmarks/forest.py [--repeats 5] [--trees 500] [--only NAME ...]

14 real covariates of the southern Tibetan Plateau at 1 km (TPSOIL_DATA names the folder with the real inputs), 1654
samples, unlimited depth, two threads for everybody. Each repeat runs every contender once, in turn; the ratio is the
median over the repeats of (theirs / ours in the same repeat), with the smallest and the largest. Contenders get
contiguous rows of the same raster, fewer where they are slow. ranger and randomForest grow their own trees from the
same samples with the same settings; tl2cgen compiles the forest to C and needs minutes for that, so it is asked for
with --only tl2cgen. Writes results/forest.md.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
DATA = Path(os.environ.get("TPSOIL_DATA", ROOT.parent / "shared" / "data")) / "tibet"
THREADS = 2
SAMPLES = 1654
LEVELS = (0.05, 0.5, 0.95)
FEATURES = [
    "elevation",
    "slope",
    "aspect",
    "general_curvature",
    "plan_curvature",
    "profile_curvature",
    "terrain_ruggedness",
    "topographic_wetness",
    "mean_annual_temperature",
    "annual_precipitation",
    "ndvi",
    "ndvi_min",
    "land_cover",
    "climate_zone",
]


@dataclass
class Contender:
    """One engine: what it gives, and a function that predicts its share of the rows and is timed."""

    name: str
    gives: str
    rows: int
    run: Callable[[], Any]


def covariates() -> xr.Dataset:
    """512 x 1024 cells of 1 km, 14 layers, in memory and in chunks of 512."""
    import tpsoil
    from tpsoil.covariates import hydrology_attributes, terrain_attributes

    box = tpsoil.plateau_grid(1000)
    row, column = int((box.boundingbox.top + 190e3) / 1000), int((-880e3 - box.boundingbox.left) / 1000)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "cube.zarr"
        tpsoil.create_cube(store, box[row : row + 512, column : column + 1024], chunks=512)
        tpsoil.add_layer(store, "elevation", DATA / "elevation_30s.tif", units="m", resampling="bilinear")
        tpsoil.add_layer(store, "annual_precipitation", DATA / "worldclim_bio12_10m.tif", units="mm")
        tpsoil.add_layer(store, "mean_annual_temperature", DATA / "worldclim_bio1_10m.tif", units="degC")
        tpsoil.add_layer(store, "ndvi", DATA / "ndvi_max_0p05.tif", nodata=-3000)
        tpsoil.add_layer(store, "ndvi_min", DATA / "ndvi_min_0p05.tif", nodata=-3000)
        tpsoil.add_layer(store, "land_cover", DATA / "landcover_igbp_0p05.tif")
        tpsoil.add_layer(store, "climate_zone", DATA / "koppen_groups_30s.tif")
        cube = tpsoil.open_cube(store).load()
    derived = [terrain_attributes(cube["elevation"]), hydrology_attributes(cube["elevation"], allow_coarse_dem=True)]
    whole = xr.merge([cube, *derived], compat="override")[FEATURES].astype("float32")
    return whole.chunk({"y": 512, "x": 512})


def training(rows: Any) -> tuple[Any, Any]:
    """Samples at random cells; a response that depends on all kinds of covariates, with noise."""
    rng = np.random.default_rng(5)
    X = rows[rng.choice(len(rows), SAMPLES, replace=False)]
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    y = 30 + 4 * np.tanh(z[:, 0]) + 3 * z[:, 8] * np.exp(-(z[:, 9] ** 2)) + 2 * z[:, 10] + 1.5 * np.sin(z[:, 7])
    return X, y + z[:, 1] * z[:, 3] + rng.normal(0, 3, SAMPLES)


class R:
    """ranger and randomForest in one R process, told by line what to run; it times itself."""

    SCRIPT = """
    suppressMessages({library(ranger); library(randomForest); library(parallel)})
    folder <- commandArgs(TRUE)[1]; trees <- as.integer(commandArgs(TRUE)[2])
    threads <- as.integer(commandArgs(TRUE)[3])
    table_of <- function(name, n) as.data.frame(matrix(readBin(file.path(folder, name), "double", n * 14), ncol = 14))
    X <- table_of("X", 1654); y <- readBin(file.path(folder, "y"), "double", 1654)
    n <- as.integer(commandArgs(TRUE)[4]); rows <- table_of("rows", n); set.seed(1)
    rf <- randomForest(X, y, ntree = trees, mtry = 4, nodesize = 1)
    rg <- ranger(x = X, y = y, num.trees = trees, mtry = 4, min.node.size = 1, num.threads = threads, seed = 1)
    half <- function(f) {
      parts <- split(seq_len(n), rep(seq_len(threads), length.out = n, each = ceiling(n / threads)))
      unlist(mclapply(parts, function(i) f(rows[i, ]), mc.cores = threads))
    }
    spread <- function(values) { m <- rowMeans(values); sqrt(rowSums((values - m)^2) / (ncol(values) - 1)) }
    jobs <- list(
      "ranger" = function() predict(rg, rows, num.threads = threads)$predictions,
      "ranger, all trees" = function()
        spread(predict(rg, rows, predict.all = TRUE, num.threads = threads)$predictions),
      "randomForest" = function() half(function(part) predict(rf, part)),
      "randomForest, all trees" = function()
        half(function(part) spread(predict(rf, part, predict.all = TRUE)$individual))
    )
    cat("versions", as.character(packageVersion("ranger")), as.character(packageVersion("randomForest")), "\\n")
    flush(stdout())
    input <- file("stdin", "r")
    while (length(line <- readLines(input, 1)) > 0) {
      took <- system.time(jobs[[line]]())[["elapsed"]]; cat("took", took, "\\n"); flush(stdout())
    }
    """

    def __init__(self, X: Any, y: Any, rows: Any, trees: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        for name, array in (("X", X), ("y", y), ("rows", rows)):
            np.asfortranarray(array, dtype=np.float64).ravel(order="F").tofile(Path(self.folder.name) / name)
        script = Path(self.folder.name) / "run.R"
        script.write_text(self.SCRIPT)
        arguments = [self.folder.name, str(trees), str(THREADS), str(len(rows))]
        self.process = subprocess.Popen(
            ["Rscript", str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.versions = self.answer()

    def answer(self) -> list[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(("took", "versions")):
                return line.split()[1:]
        raise SystemExit("R ended early")

    def run(self, name: str) -> float:
        assert self.process.stdin is not None
        print(name, file=self.process.stdin, flush=True)
        return float(self.answer()[0])

    def close(self) -> None:
        self.process.communicate()
        self.folder.cleanup()


def by_tree(forest: Any, rows: Any) -> Any:
    """Mean and spread with scikit-learn: the rows in two halves, a loop over the trees in each."""

    def part(X: Any) -> Any:
        total, square = np.zeros(len(X)), np.zeros(len(X))
        for estimator in forest.estimators_:
            value = estimator.predict(X, check_input=False)
            total += value
            square += value * value
        n = len(forest.estimators_)
        return total / n, np.sqrt((square - total * total / n) / (n - 1))

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(part, np.array_split(rows, THREADS)))


def contenders(trees: int, only: list[str]) -> tuple[list[Contender], str, Callable[[], None]]:
    """Everybody who is installed, their versions, and what to call at the end."""
    from sklearn.ensemble import RandomForestRegressor

    from tpsoil.forest import CompiledForest

    cube = covariates().persist()
    cells = np.stack([cube[name].values.ravel() for name in FEATURES], axis=1)
    X, y = training(np.ascontiguousarray(cells[~np.isnan(cells).any(axis=1)]))
    forest = RandomForestRegressor(trees, max_features=4, n_jobs=THREADS, random_state=1).fit(X, y)
    compiled = CompiledForest.from_sklearn(forest, FEATURES, responses=(X, y))
    scheduler = {"scheduler": "threads", "num_workers": THREADS}

    def ours(**options: Any) -> Any:
        return compiled.predict_cube(cube, **options).compute(**scheduler)

    mapped = ours()["mean"].values.ravel()
    rows = np.ascontiguousarray(cells[~np.isnan(mapped)])  # water is not mapped
    few, tenth = rows[: 1 << 16], rows[: 1 << 13]
    np.testing.assert_array_equal(mapped[~np.isnan(mapped)][: len(few)], forest.predict(few).astype("float32"))
    everybody = [
        Contender("tpsoil", "mean, sd", len(rows), ours),
        Contender("tpsoil, responses", "mean, sd, 3 quantiles", len(rows), lambda: ours(quantiles=LEVELS)),
        Contender("tpsoil, trees", "mean, sd, 3 quantiles", len(rows), lambda: ours(quantiles=LEVELS, method="trees")),
        Contender("scikit-learn", "mean", len(few), lambda: forest.predict(few)),
        Contender("scikit-learn, by tree", "mean, sd", len(few), lambda: by_tree(forest, few)),
    ]
    names = [f"{name} {version(name)}" for name in ("numba", "scikit-learn")]
    closing: list[Callable[[], None]] = []

    def wants(*labels: str) -> bool:
        return not only or any(label in only for label in labels)

    if wants("onnxruntime"):
        import onnxruntime
        from skl2onnx import to_onnx

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(to_onnx(forest, few[:1]).SerializeToString(), options)
        everybody.append(Contender("onnxruntime", "mean", len(few), lambda: session.run(None, {"X": few})))
        names.append(f"onnxruntime {version('onnxruntime')}")
    if wants("treelite", "tl2cgen"):
        import treelite

        model = treelite.sklearn.import_model(forest)
        if wants("treelite"):
            everybody.append(
                Contender("treelite", "mean", len(tenth), lambda: treelite.gtil.predict(model, tenth, nthread=THREADS))
            )
            names.append(f"treelite {version('treelite')}")
        if "tl2cgen" in only:
            import tl2cgen

            library = Path(tempfile.mkdtemp()) / "forest.so"
            tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"parallel_comp": 64}, nthread=THREADS)
            compiled_c = tl2cgen.Predictor(library, nthread=THREADS)
            everybody.append(Contender("tl2cgen", "mean", len(few), lambda: compiled_c.predict(tl2cgen.DMatrix(few))))
            names.append(f"tl2cgen {version('tl2cgen')}")
    if wants("quantile-forest"):
        from quantile_forest import RandomForestQuantileRegressor

        peer = RandomForestQuantileRegressor(
            trees, max_features=4, n_jobs=THREADS, random_state=1, max_samples_leaf=None
        ).fit(X, y)
        everybody.append(
            Contender(
                "quantile-forest",
                "3 quantiles",
                len(tenth),
                lambda: peer.predict(tenth, list(LEVELS), weighted_leaves=True),
            )
        )
        names.append(f"quantile-forest {version('quantile-forest')}")
    if wants("R") and subprocess.run(["which", "Rscript"], capture_output=True, check=False).returncode == 0:
        r = R(X, y, tenth, trees)
        for label, gives in (("ranger", "mean"), ("ranger, all trees", "sd")):
            everybody.append(Contender(label, gives, len(tenth), lambda label=label: r.run(label)))
        for label, gives in (("randomForest", "mean"), ("randomForest, all trees", "sd")):
            everybody.append(Contender(label, gives, len(tenth), lambda label=label: r.run(label)))
        names += [f"{name} {number}" for name, number in zip(("ranger", "randomForest"), r.versions)]
        closing.append(r.close)

    def close() -> None:
        for each in closing:
            each()

    return everybody, ", ".join(names), close


def measure(everybody: list[Contender], repeats: int) -> dict[str, list[float]]:
    """Thousand pixels a second of each contender in each repeat."""
    speeds: dict[str, list[float]] = {contender.name: [] for contender in everybody}
    for repeat in range(repeats + 1):
        for contender in everybody:
            start = time.perf_counter()
            own = contender.run()
            took = own if isinstance(own, float) else time.perf_counter() - start
            if repeat:  # the first warms up
                speeds[contender.name].append(contender.rows / took / 1000)
    return speeds


def table(everybody: list[Contender], speeds: dict[str, list[float]]) -> str:
    lines = [
        f"{'engine':<24}{'gives':<23}{'1000 px/s':>10}   ours is faster by",
        "-" * 78,
    ]
    for contender in everybody:
        own = speeds[contender.name]
        line = f"{contender.name:<24}{contender.gives:<23}{statistics.median(own):>10.1f}   "
        rival = "tpsoil, responses" if "quantile" in contender.gives else "tpsoil"
        if not contender.name.startswith("tpsoil"):
            ratios = [ours / theirs for ours, theirs in zip(speeds[rival], own)]
            line += f"{statistics.median(ratios):6.1f}  ({min(ratios):.1f} .. {max(ratios):.1f})"
        lines.append(line.rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    dask.config.set(num_workers=THREADS)
    everybody, versions, close = contenders(arguments.trees, arguments.only)
    speeds = measure(everybody, arguments.repeats)
    close()
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    text = (
        "# A forest over a raster: mean and spread against everyone's mean\n\n```\n"
        f"{table(everybody, speeds)}\n```\n\n"
        f"{arguments.trees} trees of unlimited depth, {SAMPLES} samples, 4 of {len(FEATURES)} real covariates tried\n"
        f"at a split, {everybody[0].rows} cells of 1 km, {THREADS} threads on {cpu}.\n"
        f"Median of {arguments.repeats} repeats; ratio of paired repeats, median (smallest .. largest).\n"
        "Before it starts, tpsoil's map is checked to equal scikit-learn's predictions, every\nbit of float32.\n\n"
        f"{textwrap.fill(versions, 78)}\n\n`python benchmarks/forest.py`\n"
    )
    print(text)
    if not arguments.only:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "forest.md").write_text(text)


if __name__ == "__main__":
    main()
