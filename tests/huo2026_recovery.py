"""How well a run of the micronutrient twin recovers its truth: drivers, maps beside the ceiling, coverage.

python tests/huo2026_recovery.py FOLDER [--quick] [--out benchmarks/results/huo2026_twin.md]
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import rioxarray
from huo2026_twin import NAMES

import tpsoil
from tpsoil.cube import open_cube
from tpsoil.reports import to_markdown
from tpsoil.reports.records import read_record


def recovery(folder: Path, store: str) -> dict[str, pd.DataFrame]:
    """Tables that set a run beside the truth of its twin.

    Parameters
    ----------
    folder : Path
        Of the twin.
    store : str
        Output of the run.

    Returns
    -------
    dict of str to DataFrame
        `maps`: by element, out-of-fold NSE of the logarithm at sites that training did not have (`nse_site`), the share
        of the variance of samples that the signal has (`ceiling`), both in natural units of the samples, and R2 of
        the map against the true signal over all cells; `drivers`: rank in truth and by held-out permutation;
        `coverage`: of ICP-MS readings and of the true contents by the mapped 90 % interval at the sites' cells,
        with and without the error of the calibration; `published`: beside published values.
    """
    samples = pd.read_csv(folder / "samples.csv")
    truth = pd.read_csv(folder / "truth.csv")
    record = read_record(store)
    tables = record.tables
    symbols = [symbol for symbol in NAMES if f"predictions_{symbol}" in tables]
    return {
        "maps": _maps(folder, store, symbols, samples, tables),
        "drivers": _drivers(truth, tables, symbols),
        "coverage": tables["xrf_coverage"],
        "published": tables["published"],
    }


def _maps(
    folder: Path, store: str, symbols: list[str], samples: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    maps = open_cube(store)
    scores = tables["elements"].set_index(["element", "folds"])
    rows = []
    for symbol in symbols:
        name = NAMES[symbol]
        with rioxarray.open_rasterio(folder / f"truth_{name}.tif", masked=True) as raster:  # type: ignore[union-attr]
            signal = np.asarray(raster)[0].astype(np.float64)
        predicted = maps[name].values.astype(np.float64)
        both = np.isfinite(signal) & np.isfinite(predicted)
        r2 = float(np.corrcoef(np.log(predicted[both]), np.log(signal[both]))[0, 1] ** 2)
        explained = np.log(samples[f"{symbol}_signal"]).var()
        true = np.log(samples[f"{symbol}_true"]).var()
        read = samples[symbol] / samples[f"{symbol}_true"]
        error = np.log(read[(read > 0.5) & (read < 2.5)]).var()
        rows.append({
            "element": symbol, "cells": int(both.sum()),
            "nse_random": scores.loc[(symbol, "random"), "nse"] if (symbol, "random") in scores.index else np.nan,
            "nse_site": scores.loc[(symbol, "group"), "nse"], "ceiling": explained / (true + error),
            "r2_map_truth": r2, "map_min": float(np.nanmin(predicted)), "map_max": float(np.nanmax(predicted)),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table["share_of_ceiling"] = table["nse_site"] / table["ceiling"]
    return table


def _drivers(truth: pd.DataFrame, tables: dict[str, pd.DataFrame], symbols: list[str]) -> pd.DataFrame:
    found = tables["drivers"].set_index(["element", "feature"])
    rows = []
    for symbol in symbols:
        for _, row in truth[truth["element"] == symbol].iterrows():
            entry = found.loc[(symbol, row["driver"])]
            rows.append({
                "element": symbol, "driver": row["driver"], "true_rank": int(row["rank"]), "weight": row["weight"],
                "rank": int(entry["rank"]), "held_out": float(entry["held_out"]),
            })  # fmt: skip
    return pd.DataFrame(rows)


def run_twin(folder: Path, *, chunks: int = 512, **changes: Any) -> str:
    """Run the recipe of the twin with some keys of `[elements]` changed, and return the store; None removes a key."""
    recipe = tomllib.loads((Path(__file__).parent / "recipes" / "huo2026_twin.toml").read_text())
    text = json.dumps(recipe).replace("${HUO2026_TWIN}", str(folder))
    recipe = json.loads(text)
    recipe["grid"]["chunks"] = chunks
    recipe["elements"] = {key: value for key, value in (recipe["elements"] | changes).items() if value is not None}
    tpsoil.run(recipe, progress=False)
    return str(recipe["run"]["output"])


QUICK: Final = {"search": None, "search_folds": None, "search_trees": None, "uncalibrated_maps": False}
"""Without the nested grid search, which takes a hundred forests for each of the ten outer folds."""


def main() -> None:
    """Run a twin by command and write what it recovers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", help="an existing run; default: run the recipe")
    parser.add_argument("--quick", action="store_true", help="no grid search, no maps before calibration")
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--folds", nargs="+", default=["random", "group"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begin = time.perf_counter()
    changes = {**(QUICK if given.quick else {}), "trees": given.trees, "folds": given.folds}
    store = given.store or run_twin(given.folder, **changes)
    seconds = time.perf_counter() - begin
    grid = open_cube(store).sizes
    lines = [
        "# The micronutrient twin beside its truth", "",
        f"Grid {grid['y']} x {grid['x']}; {given.trees} trees; folds {', '.join(given.folds)}; "
        + ("no grid search; " if given.quick else "grid search with 10 outer and 10 inner folds; ")
        + (f"{seconds:.0f} s for the run." if given.store is None else "an earlier run."), "",
    ]  # fmt: skip
    for name, table in recovery(given.folder, store).items():
        lines += [f"## {name}", "", to_markdown(table.set_index(table.columns[0])), ""]
    text = "\n".join(lines)
    print(text)
    if given.out is not None:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
