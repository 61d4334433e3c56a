"""What bounds the maps of the micronutrient twin: the share of the noise ceiling reached, by number of sites.

    python benchmarks/huo2026_learning.py [--resolution 4000] [--trees 500] [--draws 3]

Draws sites anew from the truth of tests/huo2026_twin.py, trains forests on their replicates, and scores them at 4000
sites of their own. The covariates are those of the twin's recipe, with the index of alteration predicted from its own
covariates, as the recipe does; with the true index; or the true drivers alone. The last column is a straight line in
the true responses of all drivers, which knows the form of the truth: what is left to it is noise. Writes
benchmarks/results/huo2026_learning.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import huo2026_twin as twin  # noqa: E402

from tpsoil.forest import SoilForest  # noqa: E402
from tpsoil.sample import open_sample  # noqa: E402

SITES = (132, 263, 526, 1052, 2104, 4208, 8416)
STUDY = 526
TESTED = 4000
READING = 0.03
OTHERS = ("elevation", "slope", "aspect", "mean_annual_temperature", "annual_precipitation", "aridity_index", "ndvi",
          "net_primary_production", "sand", "clay", "soil_organic_carbon", "soil_ph", "grazing_intensity")  # fmt: skip
OF_INDEX = ("clay_mineral_index", "annual_precipitation", "mean_annual_temperature", "lithology", "ndvi", "soil_ph",
            "elevation")  # fmt: skip
INDEX = "chemical_index_of_alteration"
DESIGNS = ("index predicted", "index known", "drivers alone", "form known")


def fields(resolution: float, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Covariates, the true index and the true signals of all cells of soil below 5600 m."""
    rng = np.random.default_rng(seed)
    grid, sample = twin.twin_grid(resolution), open_sample()
    soil = twin.resampled(sample["soil_mask"], grid, classes=True) == 1
    layers, _ = twin._layers(grid, sample, soil, rng, resolution)
    alteration = twin._alteration(layers, soil, rng, resolution, grid)
    signals = {symbol: twin.signal(symbol, layers, alteration, soil) for symbol in twin.WEIGHTS}
    inside = soil & (layers["elevation"] < 5600)
    cells = pd.DataFrame({name: values[inside] for name, values in (layers | {INDEX: alteration}).items()})
    return cells, {symbol: values[inside] for symbol, values in signals.items()}


def readings(explained: Any, rng: np.random.Generator) -> Any:
    """Natural logarithm of XRF readings of three replicates a site, in standard scores of the content."""
    local = np.sqrt(twin.NUGGET) * rng.standard_normal(len(explained))
    within = np.sqrt(twin.NUGGET / 2) * rng.standard_normal((len(explained), 3))
    return (explained + local)[:, None] + within


def share(symbol: str, cells: pd.DataFrame, explained: Any, sites: int, options: Any, rng: Any) -> dict[str, float]:
    """NSE at new sites over its ceiling, by design."""
    drawn = rng.choice(len(cells), sites + TESTED, replace=False)
    table, signal = cells.iloc[drawn].reset_index(drop=True), explained[drawn]
    _, cv = twin.MEAN_CV[symbol]
    error = READING / np.sqrt(np.log1p(cv**2))
    target = readings(signal, rng)
    target = target + error * rng.standard_normal(target.shape)
    new = slice(sites, None)
    observed = target[new]
    ceiling = signal[new].var() / observed.var()
    forest = SoilForest(options.trees, preset="randomForest", random_state=int(rng.integers(2**31)))
    index = SoilForest(options.trees, preset="randomForest").fit(table.loc[: sites - 1, OF_INDEX], table[INDEX][:sites])
    table["predicted"] = index.predict(table[list(OF_INDEX)])
    table.loc[: sites - 1, "predicted"] = out_of_fold(table.iloc[:sites], options.trees)
    forms = pd.DataFrame({name: twin.response(name, table[name].to_numpy()) for name in twin.WEIGHTS[symbol]})
    rocks = pd.get_dummies(table["lithology"].astype(int), prefix="rock", drop_first=True).astype(float)
    designs = {
        "index predicted": table[[*OTHERS, "predicted"]],
        "index known": table[[*OTHERS, INDEX]],
        "drivers alone": table[[*twin.WEIGHTS[symbol], "lithology"]],
    }
    result = {"ceiling": ceiling}
    parts = np.array_split(np.arange(TESTED), TESTED // STUDY)
    rows = np.repeat(np.arange(sites), 3)
    for name, covariates in designs.items():
        forest.fit(covariates.iloc[rows], target[:sites].ravel())
        predicted = np.repeat(forest.predict(covariates[new])[:, None], 3, axis=1)
        result[name] = nse(observed, predicted) / ceiling
        if name == DESIGNS[0]:
            result["sd"] = float(np.std([nse(observed[part], predicted[part]) for part in parts], ddof=1)) / ceiling
    known = np.column_stack([np.ones(len(table)), forms, rocks])
    line, *_ = np.linalg.lstsq(known[rows], target[:sites].ravel(), rcond=None)
    result["form known"] = nse(observed, np.repeat((known[new] @ line)[:, None], 3, axis=1)) / ceiling
    return result


def out_of_fold(table: pd.DataFrame, trees: int, folds: int = 5) -> Any:
    """The index at the training sites, predicted by forests that did not see them."""
    fold = np.arange(len(table)) % folds
    values = np.empty(len(table))
    for part in range(folds):
        held = fold == part
        forest = SoilForest(trees, preset="randomForest").fit(table.loc[~held, OF_INDEX], table.loc[~held, INDEX])
        values[held] = forest.predict(table.loc[held, list(OF_INDEX)])
    return values


def nse(observed: Any, predicted: Any) -> float:
    return float(1 - ((observed - predicted) ** 2).sum() / ((observed - observed.mean()) ** 2).sum())


def main() -> None:
    """Print and write the learning curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=float, default=4000.0, help="m")
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--draws", type=int, default=3, help="of sites, up to 526; one above")
    options = parser.parse_args()
    began = time.process_time()
    cells, signals = fields(options.resolution, 2026)
    lines = [
        "# What bounds the maps of the micronutrient twin",
        "",
        f"`python benchmarks/huo2026_learning.py --resolution {options.resolution:g} --trees {options.trees} "
        f"--draws {options.draws}`: NSE of the logarithm at {TESTED} new sites, three readings each, over the share of "
        "their variance that the truth explains (the ceiling). The study has 526 sites; sd: of the first share when it "
        "is read at 526 new sites instead.",
        "",
        "| element | sites | ceiling | " + " | ".join((*DESIGNS, "sd")) + " |",
        "|---|---:|---:|---:|" + "---:|" * len(DESIGNS),
    ]
    print("\n".join(lines), flush=True)
    for symbol in twin.WEIGHTS:
        for sites in SITES:
            draws = options.draws if sites <= STUDY else 1
            each = pd.DataFrame([
                share(symbol, cells, signals[symbol], sites, options, np.random.default_rng([sites, draw]))
                for draw in range(draws)
            ])  # fmt: skip
            mean = each.mean()
            row = f"| {symbol} | {sites} | {mean['ceiling']:.3f} | "
            lines.append(row + " | ".join(f"{mean[name]:.3f}" for name in (*DESIGNS, "sd")) + " |")
            print(lines[-1], flush=True)
    lines += ["", f"{time.process_time() - began:.0f} s of processor time."]
    (HERE / "results" / "huo2026_learning.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
