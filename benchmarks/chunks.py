"""Reading and writing chunks of a local store: zarr's codec pipelines, the zarrs pipeline, and `tpsoil.cube.chunks`.

    python benchmarks/chunks.py [--repeats 21]

Each candidate reads and writes the same 4.2 million cells (float32, elevation of the sample cube with noise) in chunks
of 256 x 256 and 512 x 512 cells, one chunk a call as a tile does, from one and from two threads. Repeats are paired:
each runs every candidate in turn; a ratio is the median of the pairs' ratios to `tpsoil.cube.chunks`. The store is in
the page cache. Whether a candidate reports the bytes it decoded (a run's manifest needs their digest) is tried, not
assumed. zarrs is optional: `pip install zarrs`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
SIDE = 2048
CODECS = [BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()]
OURS = "tpsoil.cube.chunks"
PIPELINES = {
    "zarr, batched": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarr, fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}
VERDICT = """For a store that is observed, as in a run, whose manifest needs the digest of the bytes, zarr replaces
zarrs by its batched pipeline: there the column of zarrs is that of `zarr, batched`."""

Window = tuple[slice, slice]


def available(pipeline: str) -> bool:
    """Whether this zarr, or an installed zarrs, has that pipeline."""
    module, _, name = pipeline.rpartition(".")
    return importlib.util.find_spec(module.partition(".")[0]) is not None and hasattr(
        importlib.import_module(module), name
    )


def surface() -> np.ndarray:
    """Elevation of the sample cube, repeated to the size of the benchmark, with a decimetre of noise."""
    from tpsoil.sample import open_sample

    elevation = open_sample()["elevation"].to_numpy()
    elevation = np.where(np.isfinite(elevation), elevation, 0.0)
    repeats = [-(-SIDE // size) for size in elevation.shape]
    tiled = np.tile(elevation, repeats)[:SIDE, :SIDE]
    return (tiled + np.random.default_rng(0).normal(0, 0.1, tiled.shape)).astype("float32")


class Candidate:
    """One way to read and write the chunks of an array in a folder of its own."""

    def __init__(self, name: str, folder: Path, chunk: int, threads: int, values: np.ndarray) -> None:
        from tpsoil.cube.chunks import LocalChunks

        settings: dict[str, Any] = {"codec_pipeline.path": PIPELINES.get(name, PIPELINES["zarr, batched"])}
        if name == "zarrs":
            settings["threading.max_workers"] = threads
        self.name, self.values = name, values
        with zarr.config.set(settings):
            array = zarr.create_array(
                LocalStore(folder), shape=values.shape, chunks=(chunk, chunk), dtype="float32", fill_value=np.nan,
                compressors=CODECS, config={"write_empty_chunks": True},
            )  # fmt: skip
        steps = range(0, SIDE, chunk)
        self.windows = [(slice(i, i + chunk), slice(j, j + chunk)) for i in steps for j in steps]
        if name == OURS:
            direct = LocalChunks.of(array)
            assert direct is not None
            self.write_one: Callable[[Window], Any] = lambda at: direct.write(*at, values[at])
            self.read_one: Callable[[Window], Any] = lambda at: direct.read(*at)
        else:
            self.write_one = lambda at: array.__setitem__(at, values[at])
            self.read_one = lambda at: array[at]

    def seconds(self, action: str, pool: ThreadPoolExecutor) -> float:
        one = self.read_one if action == "read" else self.write_one
        start = time.perf_counter()
        for _ in pool.map(one, self.windows):
            pass
        return time.perf_counter() - start

    def check(self) -> None:
        for at in (self.windows[0], self.windows[-1]):
            np.testing.assert_array_equal(self.read_one(at), self.values[at])


def reports_bytes(name: str, folder: Path) -> str:
    """Whether an observer of the store gets the bytes of each chunk that is read."""
    from tpsoil.cube.chunks import LocalChunks, ObservedStore

    class Recorder(ObservedStore):
        def __init__(self, store: Any, objects: dict[str, int] | None = None) -> None:
            super().__init__(store)
            self.objects: dict[str, int] = {} if objects is None else objects

        def with_read_only(self, read_only: bool = False) -> Recorder:
            return Recorder(self.observed.with_read_only(read_only), self.objects)

        def on_object(self, key: str, data: Any) -> None:
            self.objects[key] = 0 if data is None else len(bytes(data))

    store = Recorder(LocalStore(folder))
    try:
        with zarr.config.set({"codec_pipeline.path": PIPELINES.get(name, PIPELINES["zarr, batched"])}):
            array = zarr.create_array(store, shape=(8, 8), chunks=(8, 8), dtype="float32", compressors=CODECS)
        array[:] = 1.0
        store.objects.clear()
        direct = LocalChunks.of(array) if name == OURS else None
        _ = array[:] if direct is None else direct.read(slice(0, 8), slice(0, 8))
    except Exception as error:
        return f"no ({type(error).__name__})"
    return "yes" if store.objects.get("c/0/0", 0) > 0 else "no"


def measure(names: list[str], chunk: int, threads: int, repeats: int) -> dict[tuple[str, str], list[float]]:
    """Seconds of every repeat by candidate and action."""
    values = surface()
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(threads) as pool:
        candidates = [Candidate(name, Path(place) / str(n), chunk, threads, values) for n, name in enumerate(names)]
        for repeat in range(repeats + 1):  # the first warms up
            for action in ("write", "read"):
                for one in candidates[repeat % len(names) :] + candidates[: repeat % len(names)]:
                    elapsed = one.seconds(action, pool)
                    if repeat:
                        seconds.setdefault((one.name, action), []).append(elapsed)
        for one in candidates:
            one.check()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names = [OURS, *(name for name, pipeline in PIPELINES.items() if available(pipeline))]
    versions = " ".join(
        f"{package} {importlib.metadata.version(package)}"
        for package in ("zarr", "zarrs", "numcodecs")
        if importlib.util.find_spec(package)
    )
    lines = [
        "# Chunks of a local store",
        "",
        f"{SIDE} x {SIDE} cells, float32, one chunk a call; {platform.machine()}, {os.cpu_count()} processors,",
        f"Python {platform.python_version()}, {versions}, {options.repeats} paired repeats.",
        "Million cells a second; in brackets the time relative to `tpsoil.cube.chunks` (median of the pairs).",
        "",
        f"| action | chunk | threads | {' | '.join(names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for chunk in (256, 512):
        for threads in (1, 2):
            seconds = measure(names, chunk, threads, options.repeats)
            for action in ("read", "write"):
                ours = seconds[OURS, action]
                cells = []
                for name in names:
                    times = seconds[name, action]
                    ratio = statistics.median(a / b for a, b in zip(times, ours))
                    rate = SIDE**2 / statistics.median(times) / 1e6
                    cells.append(f"{rate:.0f}" + ("" if name == OURS else f" ({ratio:.2f})"))
                lines.append(f"| {action} | {chunk} | {threads} | {' | '.join(cells)} |")
    with tempfile.TemporaryDirectory() as place:
        reported = [reports_bytes(name, Path(place) / str(n)) for n, name in enumerate(names)]
    lines += [f"| reports the bytes it decoded | | | {' | '.join(reported)} |", "", VERDICT]
    text = "\n".join(lines) + "\n"
    print(text)
    (HERE / "results" / "chunks.md").write_text(text)


if __name__ == "__main__":
    main()
