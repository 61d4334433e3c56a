"""Tables of a run's forests: scores, coverage, agreement, drivers, effects, and comparison of classes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.forest import TrainedForest, conformal_intervals, coverage_table, observed_against_predicted
from tpsoil.forest.trained import tails
from tpsoil.micronutrients import accumulated_local_effects, betasq, compare_groups, importance, partial_dependence
from tpsoil.micronutrients.groups import Test

from .element_options import ElementsTable


def tables_of(
    table: ElementsTable,
    symbol: str,
    trained: TrainedForest,
    design: pd.DataFrame,
    extra: TrainedForest | None,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Every table of one element.

    Parameters
    ----------
    table : ElementsTable
    symbol : str
    trained : TrainedForest
        Of the maps.
    design : DataFrame
        Samples with their classes.
    extra : TrainedForest or None
        With the columns that no layer has.
    seed : int
        Of the permutations of `driver_repeats` and of the bootstrap of `bands`.

    Returns
    -------
    dict of str to DataFrame
        Tables with the same name for all elements are concatenated; those with the symbol in their name are for
        figures.
    """
    classes = {name: design[f"class {name}"] for name in table.compare}
    tables = {"elements": _scores(symbol, trained), "agreement": _agreement(symbol, trained)}
    if table.interval is not None:
        tables["intervals"] = _intervals(symbol, trained)
        tables[f"coverage_{symbol}"] = coverage_table(trained).round(4)
        by_class = [
            coverage_table(trained, [table.interval], by=labels)
            .assign(
                by_class=coverage_table(trained, [table.interval], by=labels, conditional=labels)["conformal"],
                classes=name,
            )
            .query("group != 'all'")
            for name, labels in classes.items()
        ]
        if by_class:
            coverage = pd.concat(by_class, ignore_index=True)
            coverage.insert(0, "element", symbol)
            tables["coverage_by_class"] = coverage[
                ["element", "classes", "group", "n", "level", "conformal", "by_class"]
            ]
    tables[f"predictions_{symbol}"] = _predictions(trained, table.interval)
    if extra is not None:
        tables["with_extra"] = _scores(symbol, extra)
        if table.interval is not None:
            tables["intervals_with_extra"] = _intervals(symbol, extra)
    if table.drivers:
        ranked = importance(trained, repeats=table.driver_repeats, seed=seed).reset_index()
        ranked["folds"] = trained.deciding
        tables[f"importance_{symbol}"] = ranked.rename(columns={"held_out_increase": "importance"}).round(5)
        tables["drivers"] = _drivers(symbol, trained, ranked)
    for effect in table.effects:
        tables[f"effect_{symbol}_{effect.replace('*', '_')}"] = _effect(trained, effect, table.bands, seed)
    if classes:
        tables["groups"] = pd.concat(
            [_groups(symbol, name, design, labels, table.group_test) for name, labels in classes.items()],
            ignore_index=True,
        )
    return tables


def _scores(symbol: str, trained: TrainedForest) -> pd.DataFrame:
    scores = trained.scores.reset_index()
    scores.insert(0, "element", symbol)
    return scores


def _agreement(symbol: str, trained: TrainedForest) -> pd.DataFrame:
    predictions = trained.predictions[trained.deciding]
    agreement = observed_against_predicted(predictions["observed"], predictions["predicted"])
    names = ("slope", "intercept", "p_joint", "u_bias", "u_slope", "u_error")
    return pd.DataFrame([{"element": symbol, "folds": trained.deciding, **{name: agreement[name] for name in names}}])


def _intervals(symbol: str, trained: TrainedForest) -> pd.DataFrame:
    coverage = coverage_table(trained).drop(columns=["group", "interval_score"])
    coverage.insert(0, "element", symbol)
    return coverage.rename(columns={"conformal": "held", "quantile": "by_quantiles", "spread": "by_spread"})


def _predictions(trained: TrainedForest, interval: float | None) -> pd.DataFrame:
    out_of_fold = trained.predictions[trained.deciding]
    predictions = pd.DataFrame(
        {"observed": out_of_fold["observed_original"], "predicted": out_of_fold["predicted_original"]}
    )
    if interval is not None:
        low, high = (out_of_fold[f"q{t:g}"].to_numpy() for t in tails(interval))
        predictions["lower"], predictions["upper"] = conformal_intervals(trained, interval).around_quantiles(low, high)
    # Five digits exceed the precision of the measurement, and the table is stored as text.
    return predictions.reset_index(drop=True).map(lambda value: float(f"{value:.5g}"))


def _drivers(symbol: str, trained: TrainedForest, ranked: pd.DataFrame) -> pd.DataFrame:
    numeric = [f.name for f in trained.encoding.features if f.kind == "continuous"]
    rows = trained.rows[numeric].assign(_target=trained.fitted_target).dropna()
    names = {"held_out_increase": "held_out", "increase_mse": "scaled", "mean_increase": "unscaled"}
    drivers = ranked.rename(columns=names)[["feature", "held_out", "low", "high", "rank", "scaled", "unscaled"]].copy()
    drivers.insert(0, "element", symbol)
    try:
        linear = betasq(rows[numeric], rows["_target"])
    except InputError:  # dependent regressors: importance is still valid
        linear = pd.DataFrame(columns=["betasq", "lmg", "vif"])
    for name in ("betasq", "lmg", "vif"):
        drivers[name] = drivers["feature"].map(linear[name]) if name in linear else np.nan
    return drivers


def _effect(trained: TrainedForest, effect: str, bands: int, seed: int) -> pd.DataFrame:
    names = effect.split("*")
    classes = [name for name in names if trained.encoding.levels.get(name)]
    if classes:
        curve = partial_dependence(trained, names, **({"bootstrap": bands, "seed": seed} if bands else {}))
    else:
        curve = accumulated_local_effects(trained, names, **({"bootstrap": bands, "seed": seed} if bands else {}))
    if len(names) == 1:
        curve = curve.rename(columns={names[0]: "value"})
        curve.insert(0, "feature", names[0])
    return curve


def _groups(symbol: str, name: str, design: pd.DataFrame, labels: pd.Series, test: Test) -> pd.DataFrame:
    work = design.assign(group=labels)
    try:
        comparison = compare_groups(work, "value", "group", site="site", test=test)
    except InputError as error:
        nothing = {"group": f"not compared: {error}", "n": 0, "mean": np.nan, "sd": np.nan, "letters": "", "test": ""}
        return pd.DataFrame([{"element": symbol, "classes": name, **nothing}])
    groups = comparison.groups.reset_index()
    groups.insert(0, "element", symbol)
    groups.insert(1, "classes", name)
    groups["test"] = comparison.test
    return groups
