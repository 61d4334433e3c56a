"""What each validation design says of a map whose true error is known: simulated fields, three samples, three ranges.

python benchmarks/validation_designs.py [--turns 20] [--out benchmarks/results/validation_designs.md]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.ensemble import ExtraTreesRegressor

from tpsoil.evaluation import fit_variogram, intensity_weights, make_folds, match_folds, nearest_distances
from tpsoil.evaluation.distances import FoldDistances, wasserstein

SIDE, SAMPLES, FOLDS = 40, 150, 10
RANGES = {"short": 5.0, "medium": 15.0, "long": 30.0}


def model() -> ExtraTreesRegressor:
    """Small, and fast to fit."""
    return ExtraTreesRegressor(40, min_samples_leaf=2, max_features=0.5, random_state=0)


def places(kind: str, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of the cells that are sampled."""
    if kind == "random":
        return rng.permutation(len(cells))[:SAMPLES]
    if kind == "regular":
        step = SIDE / np.sqrt(SAMPLES)
        at = (np.arange(int(SIDE / step)) + rng.random()) * step
        wanted = np.array([(a, b) for a in at for b in at])
        return np.unique(cdist(wanted, cells).argmin(axis=1))
    centres = rng.uniform(0, SIDE, (10, 2))
    chance = np.exp(-0.5 * (cdist(cells, centres).min(axis=1) / 1.5) ** 2) + 1e-6
    return rng.choice(len(cells), SAMPLES, replace=False, p=chance / chance.sum())


def turn(kind: str, root: np.ndarray, cells: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """(estimated RMSE / true RMSE, Wasserstein distance of the design to the map) of every design."""
    covariates = np.column_stack([root @ rng.normal(size=len(cells)) for _ in range(4)])
    truth = covariates[:, 0] + np.abs(covariates[:, 1]) + 0.7 * (root @ rng.normal(size=len(cells)))
    truth = truth + 0.2 * rng.normal(size=len(cells))
    rows = places(kind, cells, rng)
    x = np.column_stack([covariates[:, :3], cells])[rows]
    fitted = model().fit(x, truth[rows])
    error = fitted.predict(np.column_stack([covariates[:, :3], cells])) - truth
    others = np.setdiff1d(np.arange(len(cells)), rows)
    true_rmse = float(np.sqrt((error[others] ** 2).mean()))
    reach = fit_variogram(cells[rows], truth[rows] - truth[rows].mean()).range
    side = float(np.clip(reach, 3, SIDE / 4))
    east, north = cells[rows].T
    designs = {
        "random": make_folds(len(rows), "random", n_folds=FOLDS),
        "knndm": match_folds(cells[rows], cells, n_folds=FOLDS).folds,
    }
    blocks = len(np.unique(np.floor(cells[rows] / side), axis=0))
    if blocks >= FOLDS:
        designs["block"] = make_folds(len(rows), "block", n_folds=FOLDS, east=east, north=north, block_size=side)
    weights = intensity_weights(cells[rows])
    to_map = nearest_distances(cells, cells[rows])
    result = {}
    for name, fold in designs.items():
        predicted = np.empty(len(rows))
        for k in np.unique(fold):
            predicted[fold == k] = model().fit(x[fold != k], truth[rows][fold != k]).predict(x[fold == k])
        squared = (predicted - truth[rows]) ** 2
        distance = wasserstein(FoldDistances(cells[rows]).across(fold), to_map)
        result[name] = float(np.sqrt(squared.mean())) / true_rmse, distance
        if name == "random":
            result["random, weighted"] = float(np.sqrt(np.average(squared, weights=weights))) / true_rmse, distance
    return result


def scale(samples: int = 100_000, area: int = 10_000_000) -> str:
    """Time and peak memory of matching clustered samples to a large area."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 1000, (samples // 100, 2)).repeat(100, axis=0)
    cells = rng.uniform(0, 1000, (area, 2))
    began, cpu = time.perf_counter(), time.process_time()
    matched = match_folds(centres + rng.normal(0, 2, centres.shape), cells, n_folds=FOLDS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"kNNDM of {samples} samples to {area} cells: {time.perf_counter() - began:.0f} s of wall time, "
        f"{time.process_time() - cpu:.0f} s of processor time, peak {peak:.1f} GB; Wasserstein distance "
        f"{matched.wasserstein:.3f}, of random folds {matched.random_wasserstein:.3f}"
    )


def main() -> None:
    """Print bias and RMSE of every design in % of the true map error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--scale", action="store_true", help="only the time and memory of kNNDM at full size")
    options = parser.parse_args()
    if options.scale:
        print(scale())
        return
    axis = np.arange(SIDE) + 0.5
    cells = np.array([(a, b) for a in axis for b in axis])
    lines = [
        f"RMSE estimated by {FOLDS}-fold designs, relative to the true RMSE of the map over {SIDE} x {SIDE} cells; "
        f"{SAMPLES} samples, {options.turns} simulated fields a line. Bias and RMSE in %, W in cells.",
        "",
        "| samples | range of correlation | design | bias, % | RMSE, % | W |",
        "|---|---|---|---|---|---|",
    ]
    for kind in ("regular", "random", "clustered"):
        for name, reach in RANGES.items():
            covariance = np.exp(-3 * cdist(cells, cells) / reach)
            root = np.linalg.cholesky(covariance + 1e-8 * np.eye(len(cells)))
            rng = np.random.default_rng([7, int(reach)])
            table = pd.DataFrame([turn(kind, root, cells, rng) for _ in range(options.turns)])
            for design in table.columns:
                ratio = np.array([pair[0] for pair in table[design].dropna()])
                distance = np.mean([pair[1] for pair in table[design].dropna()])
                lines.append(
                    f"| {kind} | {name} ({reach:g} cells) | {design} | {100 * (ratio.mean() - 1):+.0f} | "
                    f"{100 * np.sqrt(((ratio - 1) ** 2).mean()):.0f} | {distance:.2f} |"
                )
                print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("# Validation designs against a known truth\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
