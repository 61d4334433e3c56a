"""What each kind of folds of `[elements]` estimates: scores with intervals, distances, residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.evaluation import QUESTIONS as DESIGN_QUESTIONS
from tpsoil.evaluation import distance_curves, fit_variogram, moran, score_intervals
from tpsoil.forest import TrainedForest

Doubles = npt.NDArray[np.float64]

DRAWS: Final = 300
"""Of the bootstrap of scores."""
QUESTIONS: Final[Mapping[str, str]] = {**DESIGN_QUESTIONS, "group": DESIGN_QUESTIONS["site"]}
"""What a score of each kind of folds is an answer to."""


def design_tables(
    symbol: str, trained: TrainedForest, design: pd.DataFrame, area: Doubles | None
) -> dict[str, pd.DataFrame]:
    """Scores by kind of folds with intervals, residuals in space, and curves of distances.

    Parameters
    ----------
    symbol : str
    trained : TrainedForest
    design : DataFrame
        Placed samples with `lon`, `lat` and `site`.
    area : ndarray (m, 2), optional
        Mapped cells, degrees; without them distances are not compared.

    Returns
    -------
    dict of str to DataFrame
        "validation": one row a kind of folds, `question`, `nse` on the scale of the fit with the 90 % bootstrap
        interval over sites (`lower`, `upper`), `rmse` and, with `area`, `distance_gap_km`, how far the distances
        between folds are from those of the mapped cells (Wasserstein). "residuals": Moran's I and variogram of the
        residuals of site means. "distances_SYMBOL": shares of samples within a distance.
    """
    placed = design.loc[trained.folds.index]
    sites = pd.factorize(placed["site"])[0]
    scores = []
    for kind in trained.folds.columns:
        frame = trained.predictions[kind]
        table = score_intervals(
            frame["observed"], frame["predicted"], groups=sites, measures=["nse", "rmse"], draws=DRAWS
        )
        row: dict[str, Any] = {"element": symbol, "folds": kind, "question": QUESTIONS[kind]}
        row |= {
            "nse": table.loc["nse", "value"],
            "lower": table.loc["nse", "lower"],
            "upper": table.loc["nse", "upper"],
        }
        row["rmse"] = table.loc["rmse", "value"]
        scores.append(row)
    tables = {"validation": pd.DataFrame(scores), "residuals": _residuals(symbol, trained, placed)}
    if area is not None:
        curves = distance_curves(
            placed[["lon", "lat"]].to_numpy(),
            area,
            {str(name): trained.folds[name] for name in trained.folds},
            degrees=True,
        )
        tables["validation"]["distance_gap_km"] = (curves.wasserstein / 1000).to_numpy()
        shown = curves.table().assign(distance=lambda table: table["distance"] / 1000)
        tables[f"distances_{symbol}"] = shown.rename(columns={"distance": "distance_to_sample_km"})
    return tables


def design_notes(symbol: str, trained: TrainedForest, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Which score to quote for this map, and why, in one line."""
    table = tables["validation"].set_index("folds")
    if len(table) < 2:
        return []
    quoted = trained.deciding
    row = table.loc[quoted]
    reason = f"it answers for {QUESTIONS[quoted]}"
    if "distance_gap_km" in table:
        quoted = str(table["distance_gap_km"].idxmin())
        row = table.loc[quoted]
        reason = (
            f"its distances between folds are nearest to those from the mapped cells to the samples (gap "
            f"{row['distance_gap_km']:.3g} km, of random folds {table['distance_gap_km'].get('random', np.nan):.3g} km)"
        )
    others = "; ".join(f"{name} {value:.2f}" for name, value in table["nse"].items() if name != quoted)
    return [
        f"{symbol}: quote the score of {quoted} folds for this map, NSE {row['nse']:.2f} [{row['lower']:.2f}, "
        f"{row['upper']:.2f}]: {reason}. Other folds answer other questions: {others}. None is map accuracy, which "
        "needs a probability sample"
    ]


def _residuals(symbol: str, trained: TrainedForest, placed: pd.DataFrame) -> pd.DataFrame:
    frame = trained.predictions[trained.deciding]
    residual = (frame["observed"] - frame["predicted"]).rename("residual")
    sites = pd.concat([placed[["lon", "lat", "site"]], residual], axis=1).groupby("site").mean()
    row = {"element": symbol, "folds": trained.deciding, "sites": len(sites)}
    if len(sites) < 30 or not sites["residual"].var() > 0:
        return pd.DataFrame([row | dict.fromkeys(("moran_i", "moran_p", "range_km", "nugget_share"), float("nan"))])
    place, values = sites[["lon", "lat"]].to_numpy(), sites["residual"].to_numpy()
    correlation = moran(place, values, degrees=True)
    variogram = fit_variogram(place, values, degrees=True)
    return pd.DataFrame(
        [
            row
            | {
                "moran_i": correlation["i"],
                "moran_p": correlation["p"],
                "range_km": variogram.range / 1000,
                "nugget_share": variogram.nugget / variogram.sill if variogram.sill > 0 else float("nan"),
            }
        ]
    )
