"""Tables of `[elements]` that no map depends on: designs of folds, predictive distributions, and all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.evaluation import QUESTIONS as DESIGN_QUESTIONS
from tpsoil.evaluation import distance_curves, distances_across_folds, fit_variogram, moran, score_intervals
from tpsoil.forest.calibration_tables import calibration_tables, within_site_error
from tpsoil.forest.state import load_state
from tpsoil.micronutrients import train_elements
from tpsoil.stage import Report, Workbench

from .element_index_stage import with_out_of_fold_index
from .element_maps import samples_of
from .element_options import ElementsTable
from .element_tables import Element, notes_of_study, study_tables, tables_of
from .element_training import narrowed_table, training_options

Doubles = npt.NDArray[np.float64]

DRAWS: Final = 300
"""Of the bootstrap of scores."""

QUESTIONS: Final[Mapping[str, str]] = {**DESIGN_QUESTIONS, "group": DESIGN_QUESTIONS["site"]}
"""What a score of each kind of folds is an answer to."""


def report_element(cube: xr.Dataset, options: Mapping[str, Any], state: bytes, bench: Workbench) -> Report:
    """The tables of one element, from the state of its training.

    Parameters
    ----------
    cube : Dataset (y, x)
        Has the features.
    options : mapping
        Of the stage; `report` has the keys that decide tables.
    state : bytes
        As `tpsoil.forest.state.dump_state` gave it.
    bench : Workbench

    Returns
    -------
    Report

    Notes
    -----
    The forest of the map is grown again from its seeds where drivers or effects are asked for; folds and search are
    not repeated.
    """
    table: ElementsTable = options["report"]
    symbol, seed = options["symbol"], int(options["seed"])
    samples = samples_of(cube, options, table=table)
    grow = bool(table.drivers or table.effects or table.groups_of_features)
    trained = load_state(state, grow=grow, workers=bench.workers)
    if table.feature_selection != "none":
        table = narrowed_table(table, trained.features)
    settings = training_options(table, samples.design, cube, seed=seed, workers=bench.workers)
    extra = None
    if table.extra_features:
        wider = [*table.features, *table.extra_features]
        design = samples.design
        if table.predicts_index:
            design = with_out_of_fold_index(table, cube, samples, options, bench.workers).design
        extra = train_elements(design, [symbol], wider, **settings)[symbol]
    one = Element(table, symbol, trained, samples, seed)
    tables = {**samples.tables, **tables_of(one, extra), **design_tables(one, settings.get("area"))}
    notes = [*notes_of_study(one), *design_notes(one, tables)]
    return Report({**tables, **uncertainty_tables(one), **study_tables(one)}, notes)


def design_tables(one: Element, area: Doubles | None) -> dict[str, pd.DataFrame]:
    """Scores by kind of folds with intervals, residuals in space, and curves of distances.

    Parameters
    ----------
    one : Element
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
    symbol, trained = one.symbol, one.trained
    placed = one.design.loc[trained.folds.index]
    sites = pd.factorize(placed["site"])[0]
    scores = []
    for kind in trained.folds.columns:
        frame = trained.predictions[kind]
        table = score_intervals(
            frame["observed"], frame["predicted"], groups=sites, measures=["nse", "rmse"], draws=DRAWS
        )
        row: dict[str, Any] = {"element": symbol, "folds": kind, "question": QUESTIONS[kind]}
        row["nse"], row["lower"], row["upper"] = table.loc["nse", ["value", "lower", "upper"]]
        row["rmse"] = table.loc["rmse", "value"]
        scores.append(row)
    tables = {"validation": pd.DataFrame(scores), "residuals": _residuals(one, placed)}
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


def design_notes(one: Element, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Which score to quote for this map, and why, in one line."""
    table = tables["validation"].set_index("folds")
    if len(table) < 2:
        return []
    quoted = one.trained.deciding
    reason = f"it answers for {QUESTIONS[quoted]}"
    if "distance_gap_km" in table:
        gaps = table["distance_gap_km"]
        quoted = str(gaps.idxmin())
        reason = (
            "its distances between folds are nearest to those from the mapped cells to the samples (gap "
            f"{gaps[quoted]:.3g} km, of random folds {gaps.get('random', np.nan):.3g} km)"
        )
    row = table.loc[quoted]
    others = "; ".join(f"{name} {value:.2f}" for name, value in table["nse"].items() if name != quoted)
    return [
        f"{one.symbol}: quote the score of {quoted} folds for this map, NSE {row['nse']:.2f} [{row['lower']:.2f}, "
        f"{row['upper']:.2f}]: {reason}. Other folds answer other questions: {others}. None is map accuracy, which "
        "needs a probability sample"
    ]


def _residuals(one: Element, placed: pd.DataFrame) -> pd.DataFrame:
    residual = (one.out_of_fold["observed"] - one.out_of_fold["predicted"]).rename("residual")
    sites = pd.concat([placed[["lon", "lat", "site"]], residual], axis=1).groupby("site").mean()
    row = {"element": one.symbol, "folds": one.trained.deciding, "sites": len(sites)}
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
                "range_km": variogram.supported_range / 1000,
                "range_reached": variogram.range_reached,
                "nugget_share": variogram.nugget / variogram.sill if variogram.sill > 0 else float("nan"),
            }
        ]
    )


def uncertainty_tables(one: Element) -> dict[str, pd.DataFrame]:
    """Coverage, sharpness, PIT and CRPS of one element; none without an interval.

    Returns
    -------
    dict of str to DataFrame
        "uncertainty", "quantile_coverage" and "pit", see `tpsoil.forest.calibration_tables`; with replicates
        "measurement".
    """
    table, trained, frame = one.table, one.trained, one.out_of_fold
    if table.interval is None:
        return {}
    placed = one.design.loc[frame.index]
    groups: dict[str, pd.Series[Any]] = {name: placed[f"class {name}"] for name in table.compare}
    if table.region is not None:
        groups[table.region] = placed[table.region]
    groups["predicted level"] = _thirds(frame["predicted"], ("low", "middle", "high"))
    away = distances_across_folds(placed[["lon", "lat"]].to_numpy(dtype=float), frame["fold"], degrees=True)
    distance = pd.Series(away, index=frame.index)
    groups["distance to samples"] = _thirds(distance, ("near", "middle", "far"))
    tables = calibration_tables(trained, groups, level=table.interval)
    within = within_site_error(trained, level=table.interval)
    if within is not None:
        tables["measurement"] = within
    return {name: one.labelled(rows) for name, rows in tables.items()}


def _thirds(values: pd.Series[float], names: tuple[str, str, str]) -> pd.Series[Any]:
    """Low, middle and high third of values; equal values stay together."""
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    labels = np.where(values <= low, names[0], np.where(values <= high, names[1], names[2]))
    return pd.Series(labels, index=values.index)
