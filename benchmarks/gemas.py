"""How well element forests predict where they were not trained, on GEMAS: Fe, Mn, Zn and V of 2108 European topsoils.

    python benchmarks/gemas.py [--trees 500] [--workers 2] [--cost | --dealings 6]

TPSOIL_DATA names the folder with the real inputs. Scores by random folds and 3-degree blocks; targets are log10 mg/kg,
pooled out of fold. Prediction intervals of three kinds (quantile forest alone, with its conformal correction, spread
between trees times a conformal factor) by random, block and kNNDM folds and by soil class; each row's correction is
learned from the other folds. GEMAS has one sample a site, so that folds by site are the random ones. --cost measures
what the two kinds of corrected intervals cost on a map, and nothing else; --dealings how much the scores by blocks
depend on which blocks are in one fold, beside scikit-learn's forests in the same folds (results/gemas_dealings.md).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from sklearn.ensemble import RandomForestRegressor

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from gemas import BASELINE, BASELINE_SOIL, ELEMENTS, RASTERS_AND_STATION, SOIL, gemas  # noqa: E402

from tpsoil.evaluation import make_folds  # noqa: E402
from tpsoil.forest import SoilForest, TrainedForest, coverage_table, train  # noqa: E402
from tpsoil.forest.layers import MapModel, map_models  # noqa: E402

FOLDS = ("random", "block", "knndm")
LEVEL = 0.9
HEAD = (
    "|    |    n | R2 here       | baseline    | quant | conformal | width |\n"
    "|----|-----:|---------------|-------------|------:|----------:|------:|"
)
INTERVALS = (
    "|    | folds  | quantile forest | conformal quantile | conformal spread |\n"
    "|----|--------|----------------:|-------------------:|-----------------:|"
)
CLASSES = (
    "|    | soil class | n | quantile forest | conformal quantile | conformal spread | quantile, own | spread, own |\n"
    "|----|---------|----:|---:|---:|---:|---:|---:|"
)


def mapped_cells(folder: Path, table: pd.DataFrame) -> np.ndarray:
    """Longitude and latitude of the land cells of 10 minutes within the extent of the samples."""
    with rasterio.open(folder / "europe" / "worldclim_bio1_10m.tif") as source:
        values = source.read(1, masked=True).filled(np.nan).astype(float)
        rows, columns = np.nonzero(np.isfinite(values) & (np.abs(values) < 100))
        lon, lat = (np.asarray(axis) for axis in rasterio.transform.xy(source.transform, rows, columns))
    near = (lon >= table["lon"].min()) & (lon <= table["lon"].max())
    near &= (lat >= table["lat"].min()) & (lat <= table["lat"].max())
    return np.column_stack([lon, lat])[near]


def quantile_width(trained: TrainedForest, kind: str) -> float:
    """Mean width of the quantile forest's own interval, log10 units."""
    frame = trained.predictions[kind]
    return float(np.log10(frame["q0.95"] / frame["q0.05"]).mean())


def interval_lines(element: str, trained: TrainedForest) -> list[str]:
    """Coverage in % and mean width of the three kinds of intervals, by kind of folds."""
    lines = []
    for kind in FOLDS:
        quantile, spread = (
            coverage_table(trained, [LEVEL], kind=kind, method=method).iloc[0] for method in ("quantile", "spread")
        )
        cells = (
            (quantile["quantile"], quantile_width(trained, kind)),
            (quantile["conformal"], quantile["mean_width"]),
            (spread["conformal"], spread["mean_width"]),
        )
        text = " | ".join(f"{100 * share:.1f} / {width:.3f}" for share, width in cells)
        lines.append(f"| {element:2} | {kind:6} | {text} |")
    return lines


def class_lines(element: str, trained: TrainedForest, soil: pd.Series) -> list[str]:
    """Coverage in % within soil classes, in block folds."""
    tables = {
        (method, own): coverage_table(trained, [LEVEL], by=soil, method=method, conditional=soil if own else None)
        .set_index("group")
        .drop(index="all")
        for method in ("quantile", "spread")
        for own in (False, True)
    }
    lines = []
    for name, row in tables["quantile", False].iterrows():
        shares = [row["quantile"], row["conformal"], tables["spread", False].loc[name, "conformal"]]
        shares += [tables[method, True].loc[name, "conformal"] for method in ("quantile", "spread")]
        text = " | ".join(f"{100 * share:.1f}" for share in shares)
        lines.append(f"| {element:2} | {name} | {int(row['n'])} | {text} |")
    return lines


def cost(table: pd.DataFrame, trees: int, turns: int = 5, side: int = 400) -> str:
    """Processor time of maps with each kind of interval over that of mean and spread alone, paired turns."""
    features = list(RASTERS_AND_STATION)
    trained = train(table, "Fe", features, folds="random", trees=trees, transform="log10", workers=2)
    rows = trained.rows[features].iloc[np.random.default_rng(0).integers(0, len(trained.rows), side * side)]
    jitter = np.random.default_rng(1).normal(0, 0.02, (side * side, len(features)))
    cube = xr.Dataset()
    for position, name in enumerate(features):
        values = rows[name].to_numpy(dtype=np.float64)
        if name not in ("land_cover", "climate_zone"):
            values = values + jitter[:, position] * values.std()
        cube[name] = (("y", "x"), values.reshape(side, side).astype(np.float32))
    models = {
        "mean and spread": MapModel.of(trained, level=None),
        "conformal spread": MapModel.of(trained, conformal="spread"),
        "conformal quantile": MapModel.of(trained),
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(turns + 1):
        for name, model in models.items():
            began = time.process_time()
            map_models({"iron": model}, cube)
            seconds[name].append(time.process_time() - began)
    times = pd.DataFrame(seconds).iloc[1:]
    ratios = times.div(times["mean and spread"], axis=0).median()
    dissimilarity = times["conformal spread"] - times["mean and spread"]
    return (
        f"Processor time of a map of {side * side} cells, {trees} trees, over that of mean and spread alone (medians "
        f"of {turns} paired turns): with conformal spread {ratios['conformal spread']:.2f}, with conformal quantiles "
        f"{ratios['conformal quantile']:.2f}, both with dissimilarity index and area of applicability, which take "
        f"nearly all of the difference of the first ({dissimilarity.median():.1f} s of "
        f"{times['conformal spread'].median():.1f} s). One kind of interval over the other: "
        f"{(times['conformal quantile'] / times['conformal spread']).median():.1f}."
    )


def dealings(table: pd.DataFrame, trees: int, count: int) -> str:
    """R2 of log10 contents by 3-degree blocks, dealt to five folds in several ways, of two programs' forests."""
    features = [*RASTERS_AND_STATION, *SOIL]
    lines = [
        f"### GEMAS with texture and loss on ignition: R2 by 3-degree blocks, {count} ways to deal them to five folds",
        "",
        f"{trees} trees, a third of the covariates at a split, no search. Range over the dealings, mean, and paired "
        "difference (mean and standard deviation).",
        "",
        "|    | tpsoil | mean | scikit-learn | mean | difference |",
        "|----|--------|-----:|--------------|-----:|-----------:|",
    ]
    for element in ELEMENTS:
        rows = table.dropna(subset=[*features, element])
        target = np.log10(rows[element].to_numpy())
        scores = np.empty((count, 2))
        for seed in range(count):
            folds = make_folds(len(rows), "block", east=rows["lon"], north=rows["lat"], block_size=3.0, seed=seed)
            for column, kind in enumerate((SoilForest, RandomForestRegressor)):
                predicted = np.empty(len(rows))
                for fold in range(folds.max() + 1):
                    held = folds == fold
                    forest = kind(trees, max_features=1 / 3, random_state=seed)
                    forest.fit(rows.loc[~held, features], target[~held])
                    predicted[held] = forest.predict(rows.loc[held, features])
                scores[seed, column] = 1 - ((target - predicted) ** 2).sum() / ((target - target.mean()) ** 2).sum()
        low, high, mean = scores.min(0), scores.max(0), scores.mean(0)
        gap = scores[:, 0] - scores[:, 1]
        own, other = (f"{low[k]:.3f} to {high[k]:.3f} | {mean[k]:.3f}" for k in range(2))
        lines.append(f"| {element:2} | {own} | {other} | {gap.mean():+.4f} ({gap.std(ddof=1):.4f}) |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--dealings", type=int, default=0)
    options = parser.parse_args()
    folder = Path(os.environ.get("TPSOIL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "europe" / "gemas.csv").is_file():
        raise SystemExit(f"no europe/gemas.csv in {folder}; set TPSOIL_DATA")
    table = gemas(folder).rename(columns={"longitude": "lon", "latitude": "lat"})
    if options.cost:
        print(cost(table, options.trees))
        return
    if options.dealings:
        text = dealings(table, options.trees, options.dealings)
        (HERE / "results" / "gemas_dealings.md").write_text(text + "\n", encoding="utf-8")
        return
    soil = pd.Series(np.select([table["LOI"] >= 20, table["sand"] >= 70], ["organic", "sandy"], "other"), table.index)
    area = mapped_cells(folder, table)
    scores: dict[bool, list[str]] = {False: [], True: []}
    intervals: dict[bool, list[str]] = {False: [], True: []}
    classes: list[str] = []
    for element in ELEMENTS:
        for with_soil, baseline in ((False, BASELINE), (True, BASELINE_SOIL)):
            features = [*RASTERS_AND_STATION, *(SOIL if with_soil else ())]
            trained = train(
                table, element, features, folds=FOLDS, deciding="block", area=area, trees=options.trees,
                transform="log10", search={"max_features": [1 / 3, 2 / 3]}, search_trees=60, workers=options.workers,
            )  # fmt: skip
            nse = trained.scores["nse"]
            coverage = coverage_table(trained, [LEVEL]).iloc[0]
            result = f"{nse['random']:.3f} / {nse['block']:.3f}"
            reference = "{:.2f} / {:.2f}".format(*baseline[element])
            shares = f"{100 * coverage['quantile']:5.1f} | {100 * coverage['conformal']:9.1f}"
            width = f"{coverage['mean_width']:5.2f}"
            scores[with_soil].append(
                f"| {element:2} | {trained.counts['used']} | {result} | {reference} | {shares} | {width} |"
            )
            intervals[with_soil] += interval_lines(element, trained)
            if with_soil:
                classes += class_lines(element, trained, soil)
            print(scores[with_soil][-1], *intervals[with_soil][-len(FOLDS) :], sep="\n", flush=True)
    text = "\n".join(
        [
            f"### GEMAS, Fe, Mn, Zn and V by random folds / 3-degree blocks, {options.trees} trees",
            "",
            "Covariates: seven rasters and station climate",
            "",
            HEAD,
            *scores[False],
            "",
            "The same with measured sand, clay and loss on ignition (no grid: no map)",
            "",
            HEAD,
            *scores[True],
            "",
            "R2 is 1 - SSE/SST of log10 mg/kg, pooled out of fold; the share of covariates",
            "tried at a split is searched within the training part of every fold. Baseline:",
            "independent scikit-learn forests, 200 trees. Last columns: share of observations",
            "in the 90 % interval by blocks, %, of the quantile forest alone and after the",
            "conformal correction by the other folds; mean width of the latter, log10 units.",
            "",
            "### 90 % prediction intervals: coverage in % / mean width in log10 units",
            "",
            "Covariates: seven rasters and station climate. One sample a site: folds by site are the random ones.",
            "",
            INTERVALS,
            *intervals[False],
            "",
            "With measured sand, clay and loss on ignition",
            "",
            INTERVALS,
            *intervals[True],
            "",
            "Coverage within soil classes, 3-degree blocks, with measured sand, clay and loss on ignition (organic:",
            "loss on ignition of 20 % or more; sandy: 70 % sand or more). Own: with a correction for each class.",
            "",
            CLASSES,
            *classes,
            "",
            cost(table, options.trees),
        ]
    )
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "gemas.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
