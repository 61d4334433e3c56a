"""How fast the solum model is, each against what one would otherwise use, on the same work.

1. SCE-UA evaluations a second against spotpy: same objective, bounds and 131 profiles, one process.
2. k-prototypes point-iterations a second against kmodes: same points, same start; and both costs.
3. The thickness map of the 1 km plateau (2800 x 1800 cells), Zarr to Zarr, against a plain copy that reads and writes
   as many chunks with the same threads.

    python benchmarks/solum.py [--repeats 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from scipy.ndimage import zoom

from tpsoil import plateau_grid, solum
from tpsoil.grid import coordinates
from tpsoil.kernels import misfit, prototypes
from tpsoil.sample import open_sample
from tpsoil.solum.inputs import NEEDED
from tpsoil.solum.search import Effort, search

RESULTS = Path(__file__).parent / "results" / "solum.md"
CHUNK = 512


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def paired(first: Callable[[], float], second: Callable[[], float], repeats: int) -> tuple[float, float, float]:
    """Medians of two rates taken in turns, and the median of their ratios."""
    pairs = [(first(), second()) for _ in range(repeats)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


# ------------------------------------------------------------------ 1. search


def profiles(n: int = 131) -> np.ndarray:
    """Sites of the study's zone 2, with 0.1 m noise."""
    rng = np.random.default_rng(2)
    means = solum.PUBLISHED_ZONES[2]
    sites = np.full((n, 7), np.nan)
    climate = means.mean_annual_temperature + rng.normal(0, 2, n), means.annual_precipitation * rng.lognormal(0, 0.4, n)
    sites[:, 0] = solum.eemt(*climate)
    sites[:, 1], sites[:, 2] = rng.lognormal(0.3, 1, n), rng.lognormal(2, 0.8, n)
    sites[:, 3], sites[:, 6] = np.abs(rng.normal(0, 1e-3, n)), 0.0
    balance = solum.SolumOptions().balance()
    sites[:, 5] = misfit.simulate_sites(np.array(solum.PUBLISHED[2].row()), sites, balance) + rng.normal(0, 0.1, n)
    return sites


def search_rates(repeats: int, evaluations: int = 20_000) -> list[str]:
    import spotpy

    sites, space = profiles(), solum.search_space("paper", "eight")
    low, high = space.search_box
    energy, water, wind, curvature, seen = (sites[:, j] for j in (0, 1, 2, 3, 5))

    class Setup:
        """The same objective in numpy, as a spotpy user would write it."""

        def __init__(self) -> None:
            self.calls = 0
            self.box = [spotpy.parameter.Uniform(name, a, b) for name, a, b in zip(space.names, low, high)]

        def parameters(self) -> object:
            return spotpy.parameter.generate(self.box)

        def simulation(self, vector: object) -> np.ndarray:
            self.calls += 1
            h0, rho, a, b, alpha, beta, gamma, creep = space.values(np.array(list(vector)))  # type: ignore[call-overload]
            lowering = 0.1 * (alpha * water + beta * wind) / rho + gamma * creep * curvature
            return np.maximum(h0 * (np.log(1.35 * a) + b * energy - np.log(lowering)), 0.0)

        def evaluation(self) -> np.ndarray:
            return seen

        def objectivefunction(self, simulation: np.ndarray, evaluation: np.ndarray) -> float:
            return float(np.sqrt(np.mean((simulation - evaluation) ** 2)))

    effort = Effort(complexes=8, evaluations=evaluations, still_percent=1e-12, least_range=1e-12)
    search(space, sites, np.random.SeedSequence(0), Effort(evaluations=500))
    best: dict[str, float] = {}
    count: dict[str, int] = {}

    def ours() -> float:
        spent = time.perf_counter()
        found = search(space, sites, np.random.SeedSequence(1), effort)
        best["tpsoil"], count["tpsoil"] = found.rmse, found.evaluations
        return found.evaluations / (time.perf_counter() - spent)

    def theirs() -> float:
        setup = Setup()
        with contextlib.redirect_stdout(io.StringIO()):
            sampler = spotpy.algorithms.sceua(setup, dbname="none", dbformat="ram", save_sim=False, random_state=1)
            setup.calls = 0
            spent = seconds(lambda: sampler.sample(evaluations, ngs=8, kstop=100, pcento=1e-12, peps=1e-12))
        best["spotpy"] = float(np.min(sampler.getdata()["like1"]))
        count["spotpy"] = setup.calls
        return setup.calls / spent

    a, b, ratio = paired(ours, theirs, repeats)
    return [
        "| SCE-UA, 131 profiles, 8 parameters | evaluations/s | best RMSE, m |",
        "|---|---:|---:|",
        f"| tpsoil ({count['tpsoil']} evaluations) | {a:,.0f} | {best['tpsoil']:.5f} |",
        f"| spotpy ({count['spotpy']} evaluations) | {b:,.0f} | {best['spotpy']:.5f} |",
        "",
        f"ratio {ratio:.0f} (at least 20 wanted)",
        "",
    ]


# ------------------------------------------------------------------ 2. zones


def prototype_rates(repeats: int, points: int = 20_000, k: int = 8) -> list[str]:
    from kmodes.kprototypes import KPrototypes

    cube = open_sample().load()
    names = ["elevation", "mean_annual_temperature", "annual_precipitation", "ndvi", "ndvi_min"]
    soil = (cube["soil_mask"].values == 1).ravel()
    numbers = np.stack([cube[name].values.ravel()[soil] for name in names], axis=1).astype(float)
    classes = np.stack([cube[name].values.ravel()[soil] for name in ("land_cover", "climate_zone")], axis=1)
    rng = np.random.default_rng(0)
    whole = np.flatnonzero(np.isfinite(numbers).all(axis=1) & (classes < 255).all(axis=1))
    chosen = rng.permutation(whole)[:points]
    numbers, codes = numbers[chosen], classes[chosen].astype(np.int32)
    numbers = np.ascontiguousarray((numbers - numbers.mean(axis=0)) / numbers.std(axis=0))
    first = rng.permutation(len(numbers))[:k]
    mixed = np.hstack([numbers, codes.astype(float)]).astype(object)
    cost: dict[str, float] = {}
    levels = int(codes.max()) + 1

    def ours() -> float:
        centres, modes = numbers[first].copy(), codes[first].copy()
        labels = np.full(len(numbers), -1, np.int32)
        begun = time.perf_counter()
        cost["tpsoil"], passes = prototypes.fit(numbers, codes, levels, 0.5, centres, modes, labels, 500)
        return len(numbers) * passes / (time.perf_counter() - begun)

    def theirs() -> float:
        model = KPrototypes(k, init=[numbers[first], codes[first]], n_init=1, gamma=0.5, max_iter=100)
        spent = seconds(lambda: model.fit(mixed, categorical=[numbers.shape[1], numbers.shape[1] + 1]))
        cost["kmodes"] = float(model.cost_)
        return len(numbers) * model.n_iter_ / spent

    ours()
    a, b, ratio = paired(ours, theirs, max(1, repeats // 2))
    return [
        f"| k-prototypes, {len(numbers)} cells of the sample, k = {k} | point-iterations/s | cost |",
        "|---|---:|---:|",
        f"| tpsoil | {a:,.0f} | {cost['tpsoil']:,.1f} |",
        f"| kmodes | {b:,.0f} | {cost['kmodes']:,.1f} |",
        "",
        f"ratio {ratio:.0f} (at least 50 wanted), cost {cost['tpsoil'] / cost['kmodes']:.5f} of kmodes's (at most 1)",
        "",
    ]


# ------------------------------------------------------------------ 3. map


def plateau(shape: tuple[int, int]) -> xr.Dataset:
    """Layers of 1 km with the sample's pattern and values, and roughness below its 8 km that compresses as badly."""
    cube = open_sample().load()
    rng = np.random.default_rng(5)
    factor = np.array(shape) / np.array(cube["elevation"].shape)

    def fine(name: str, roughness: float) -> np.ndarray:
        values = cube[name].values.astype(float)
        values = np.where(np.isfinite(values), values, np.nanmean(values))
        return np.asarray(zoom(values, factor, order=1, grid_mode=True, mode="nearest")) + rng.normal(
            0, roughness, shape
        )

    height = fine("elevation", 40.0)
    rain = np.maximum(fine("annual_precipitation", 5.0), 1.0)
    layers = {
        "mean_annual_temperature": fine("mean_annual_temperature", 0.2),
        "annual_precipitation": rain,
        "water_erosion": 2.76 * rng.lognormal(-0.5, 1.0, shape),
        "wind_erosion": 10.0 * rng.lognormal(-0.5, 1.0, shape),
        "general_curvature": rng.normal(0.0, 1e-3, shape),
        "depth_to_bedrock": rng.lognormal(2.0, 1.0, shape),
        "elevation": height,
        "ndvi": np.clip(fine("ndvi", 0.02), -0.2, 1.0),
    }
    data = xr.Dataset({name: (("y", "x"), values.astype("float32")) for name, values in layers.items()})
    if shape == tuple(plateau_grid(1000).shape):
        places = coordinates(plateau_grid(1000))
        data = data.assign_coords(y=places["y"], x=places["x"])
    data["zone"] = solum.published_zones(data)
    return data.drop_vars(["elevation", "ndvi"])


def map_times(repeats: int, threads: int, shape: tuple[int, int]) -> list[str]:
    folder = Path(tempfile.mkdtemp(prefix="solum-"))
    try:
        source = folder / "cube.zarr"
        plateau(shape).chunk(y=CHUNK, x=CHUNK).to_zarr(source, zarr_format=3, consolidated=False)
        written = list(solum.thickness(dict.fromkeys(NEEDED, 1.0), solum.PUBLISHED[1]))

        def cube() -> xr.Dataset:
            return xr.open_zarr(source, consolidated=False, mask_and_scale=False)

        def store(data: xr.Dataset, name: str) -> float:
            target = folder / name
            shutil.rmtree(target, ignore_errors=True)
            for layer in data.variables.values():
                layer.encoding.clear()
            with dask.config.set(scheduler="threads", num_workers=threads):
                return seconds(lambda: data.to_zarr(target, zarr_format=3, consolidated=False))

        def mapped() -> float:
            return store(solum.thickness(cube(), solum.PUBLISHED), "map.zarr")

        def copied(data: xr.Dataset) -> float:
            # Reads seven layers and writes six: the layer that is not written rides along and changes nothing.
            first = next(iter(data.data_vars))
            one = (cube()["depth_to_bedrock"] > -1).data.astype("float32")
            return store(data.assign({first: data[first] * one}), "copy.zarr")

        mapped()
        shutil.copytree(folder / "map.zarr", folder / "kept.zarr")
        kept = xr.open_zarr(folder / "kept.zarr", consolidated=False, mask_and_scale=False)
        inputs = cube()[[*NEEDED, "zone"]]
        same, other = (lambda: copied(kept)), (lambda: copied(inputs))
        same(), other()
        a, b, ratio = paired(mapped, same, repeats)
        _, c, harder = paired(mapped, other, repeats)
        cells = shape[0] * shape[1]
        chunks = -(-shape[0] // CHUNK) * -(-shape[1] // CHUNK)
        moved = f"reads {7 * chunks}, writes {len(written) * chunks} chunks"
        return [
            f"| {shape[1]} x {shape[0]} cells, {threads} threads, chunks of {CHUNK} | s | million cells/s |",
            "|---|---:|---:|",
            f"| thickness map: {moved} | {a:.2f} | {cells / a / 1e6:.1f} |",
            f"| plain copy of what the map wrote: {moved} | {b:.2f} | {cells / b / 1e6:.1f} |",
            f"| plain copy of what the map read: {moved} | {c:.2f} | {cells / c / 1e6:.1f} |",
            "",
            f"map over copy {ratio:.2f} (at most 1.5 wanted); over a copy of its inputs {harder:.2f}:",
            "zstd takes thrice the time to pack a map's layers as the noise of these inputs",
            "",
        ]
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="a quarter of the cells each way, to try it out")
    given = parser.parse_args()
    shape = tuple(plateau_grid(1000).shape)
    if given.small:
        shape = (shape[0] // 4, shape[1] // 4)
    lines = ["# Speed of the solum model", "", f"medians of {given.repeats} paired repeats", ""]
    for part in (
        lambda: search_rates(given.repeats),
        lambda: prototype_rates(given.repeats),
        lambda: map_times(given.repeats, given.threads, shape),
    ):
        found = part()
        print("\n".join(found))
        lines += found
    if not given.small:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
