"""Tables of one element: scores, coverage, agreement, drivers, effects, classes, and those of a published study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tpsoil.columns import labelled
from tpsoil.errors import InputError
from tpsoil.evaluation import squared_correlation
from tpsoil.forest import TrainedForest, conformal_intervals, coverage_table, observed_against_predicted
from tpsoil.forest.intervals import Method
from tpsoil.micronutrients import (
    accumulated_local_effects,
    beside_published,
    betasq,
    class_ranges,
    compare_groups,
    importance,
    partial_dependence,
    shared_with_index,
    sites_in_several_folds,
)
from tpsoil.micronutrients.element_model import MapOptions
from tpsoil.micronutrients.groups import Test

from .element_options import ElementsTable
from .element_samples import ElementSamples, coverage_of_readings


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
    method = table.map_options.method
    if table.interval is not None:
        tables["intervals"] = _intervals(symbol, trained, method)
        tables[f"coverage_{symbol}"] = coverage_table(trained, method=method).round(4)
        by_class = [_coverage_by_class(trained, table.interval, method, name, classes[name]) for name in classes]
        if by_class:
            tables["coverage_by_class"] = labelled(pd.concat(by_class, ignore_index=True), element=symbol)
    tables[f"predictions_{symbol}"] = _predictions(trained, table.map_options)
    if extra is not None:
        tables["with_extra"] = _scores(symbol, extra)
        if table.interval is not None:
            tables["intervals_with_extra"] = _intervals(symbol, extra, method)
    if table.drivers:
        ranked = importance(trained, repeats=table.driver_repeats, seed=seed).reset_index()
        ranked["folds"] = trained.deciding
        tables[f"importance_{symbol}"] = ranked.rename(columns={"held_out_increase": "importance"}).round(5)
        tables["drivers"] = _drivers(symbol, trained, ranked)
    for effect in table.effects:
        tables[f"effect_{symbol}_{effect.replace('*', '_')}"] = _curve(table, trained, effect.split("*"), seed)
    if classes:
        tables["groups"] = pd.concat(
            [_groups(symbol, name, design, labels, table.group_test) for name, labels in classes.items()],
            ignore_index=True,
        )
    return tables


def _scores(symbol: str, trained: TrainedForest) -> pd.DataFrame:
    return labelled(trained.scores.reset_index(), element=symbol)


def _agreement(symbol: str, trained: TrainedForest) -> pd.DataFrame:
    predictions = trained.predictions[trained.deciding]
    agreement = observed_against_predicted(predictions["observed"], predictions["predicted"])
    names = ("slope", "intercept", "p_joint", "u_bias", "u_slope", "u_error")
    return pd.DataFrame([{"element": symbol, "folds": trained.deciding, **{name: agreement[name] for name in names}}])


def _intervals(symbol: str, trained: TrainedForest, method: Method) -> pd.DataFrame:
    coverage = coverage_table(trained, method=method).drop(columns=["group", "interval_score"])
    names = {"conformal": "held", "quantile": "by_quantiles", "spread": "by_spread"}
    return labelled(coverage.rename(columns=names), element=symbol)


def _coverage_by_class(
    trained: TrainedForest, level: float, method: Method, name: str, labels: pd.Series
) -> pd.DataFrame:
    """Coverage in each class, by one correction for all classes and by one of its own."""
    for_all, own = (
        coverage_table(trained, [level], by=labels, method=method, conditional=groups) for groups in (None, labels)
    )
    table = for_all.assign(classes=name, by_class=own["conformal"]).query("group != 'all'")
    return table[["classes", "group", "n", "level", "conformal", "by_class"]]


def _predictions(trained: TrainedForest, options: MapOptions) -> pd.DataFrame:
    out_of_fold = trained.predictions[trained.deciding]
    predictions = pd.DataFrame(
        {"observed": out_of_fold["observed_original"], "predicted": out_of_fold["predicted_original"]}
    )
    if options.level is not None:
        conformal = conformal_intervals(trained, options.level, method=options.method)
        predictions["lower"], predictions["upper"] = conformal.around(out_of_fold)
    # Five digits exceed the precision of the measurement, and the table is stored as text.
    return predictions.reset_index(drop=True).map(lambda value: float(f"{value:.5g}"))


def _drivers(symbol: str, trained: TrainedForest, ranked: pd.DataFrame) -> pd.DataFrame:
    numeric = [f.name for f in trained.encoding.features if f.kind == "continuous"]
    rows = trained.rows[numeric].assign(_target=trained.fitted_target).dropna()
    names = {"held_out_increase": "held_out", "increase_mse": "scaled", "mean_increase": "unscaled"}
    columns = ["feature", "held_out", "low", "high", "rank", "scaled", "unscaled"]
    drivers = labelled(ranked.rename(columns=names)[columns], element=symbol)
    try:
        linear = betasq(rows[numeric], rows["_target"])
    except InputError:  # dependent regressors: importance is still valid
        linear = pd.DataFrame(columns=["betasq", "lmg", "vif"])
    for name in ("betasq", "lmg", "vif"):
        drivers[name] = drivers["feature"].map(linear[name]) if name in linear else np.nan
    return drivers


def _curve(
    table: ElementsTable, trained: TrainedForest, names: list[str], seed: int, *, dependence: bool = False
) -> pd.DataFrame:
    """The accumulated local effect of features; of classes, and where it is asked for, their partial dependence."""
    classes = any(trained.encoding.levels.get(name) for name in names)
    bands: dict[str, Any] = {"bootstrap": table.bands, "seed": seed} if table.bands else {}
    if dependence or classes:
        curve = partial_dependence(trained, names, **bands)
    else:
        curve = accumulated_local_effects(trained, names, **bands)
    return curve if len(names) > 1 else labelled(curve.rename(columns={names[0]: "value"}), feature=names[0])


def _groups(symbol: str, name: str, design: pd.DataFrame, labels: pd.Series, test: Test) -> pd.DataFrame:
    work = design.assign(group=labels)
    try:
        comparison = compare_groups(work, "value", "group", site="site", test=test)
    except InputError as error:
        nothing = {"group": f"not compared: {error}", "n": 0, "mean": np.nan, "sd": np.nan, "letters": "", "test": ""}
        return pd.DataFrame([{"element": symbol, "classes": name, **nothing}])
    return labelled(comparison.groups.reset_index().assign(test=comparison.test), element=symbol, classes=name)


def study_tables(
    table: ElementsTable, symbol: str, trained: TrainedForest, samples: ElementSamples, seed: int
) -> dict[str, pd.DataFrame]:
    """Tables beside those of `element_tables.tables_of`.

    Parameters
    ----------
    table : ElementsTable
    symbol : str
    trained : TrainedForest
    samples : ElementSamples
    seed : int
        Of the permutations.

    Returns
    -------
    dict of str to DataFrame
        Those with the symbol in their name are for figures.
    """
    design = samples.design
    sites = site_values(table, design)
    tables = {f"sites_{symbol}": sites}
    if table.compare:
        letters = [_letters(table, name, design) for name in table.compare]
        tables[f"letters_{symbol}"] = pd.concat(letters, ignore_index=True)
    if table.ranges:
        tables["class_ranges"] = _ranges(table, symbol, design)
    if table.groups_of_features:
        joint = importance(trained, sets=table.groups_of_features, repeats=table.driver_repeats, seed=seed)
        shown = joint.reset_index(names="feature").rename(columns={"held_out_increase": "importance"})
        shown["group"] = shown["feature"]
        tables[f"joint_{symbol}"] = shown.round(5)
        printed = shown[["group", "importance", "low", "high", "rank"]].rename(columns={"importance": "held_out"})
        tables["joint_drivers"] = labelled(printed, element=symbol)
    if table.dependence:
        for name in dict.fromkeys(effect for effect in table.effects if "*" not in effect):
            tables[f"dependence_{symbol}_{name}"] = _curve(table, trained, [name], seed, dependence=True)
    if samples.calibration is not None and "icp_reading" in design:
        icp = design["icp_reading"]
        tables["xrf_coverage"] = coverage_of_readings(symbol, trained, samples.calibration, icp)
    if table.published is not None:
        published = beside_published(own_numbers(table, symbol, trained, samples, tables))
        if len(published):
            tables["published"] = published
    return tables


def notes_of_study(table: ElementsTable, symbol: str, trained: TrainedForest, design: pd.DataFrame) -> list[str]:
    """Faults that do not stop a run: circular covariates, sites in two folds, classes with one site."""
    notes = [text] if (text := shared_with_index(symbol, [*table.features, *table.extra_features])) else []
    if table.site:
        for kind in trained.folds.columns:
            sites = design.loc[trained.folds.index, "site"]
            several = sites_in_several_folds(sites.to_numpy(), trained.folds[kind].to_numpy())
            if several:
                notes.append(
                    f"{symbol}: in {kind} folds {several} of {sites.nunique()} sites have samples in more than one "
                    f"fold: these scores are over-optimistic; read those of {trained.deciding} folds"
                )
    for name in table.compare:
        sizes = design.dropna(subset=["value"]).groupby(f"class {name}", observed=True)["site"].nunique()
        single = [str(label) for label in sizes[sizes == 1].index]
        if single:
            notes.append(f"{symbol}: {name} has classes with one site, which are not compared: {', '.join(single)}")
    return notes


def site_values(table: ElementsTable, design: pd.DataFrame) -> pd.DataFrame:
    """Site means with positions and classes, five significant digits."""
    rows = design.dropna(subset=["value"])
    grouped = rows.groupby("site", sort=False)
    sites = grouped[["lon", "lat", "value"]].mean()
    sites["n"] = grouped.size()
    for name in table.compare:
        sites[f"class {name}"] = grouped[f"class {name}"].first()
    sites = sites.reset_index()
    sites["value"] = [float(f"{value:.5g}") for value in sites["value"]]
    sites[["lon", "lat"]] = sites[["lon", "lat"]].round(5)
    return sites


def own_numbers(
    table: ElementsTable,
    symbol: str,
    trained: TrainedForest,
    samples: ElementSamples,
    tables: dict[str, pd.DataFrame],
) -> pd.DataFrame:
    """Numbers of this run in the form of `beside_published`."""
    counts = samples.tables["samples"].iloc[0]
    rows = [(symbol, "", name, float(counts[name])) for name in ("mean", "sd", "cv", "before")]
    rows.append((symbol, "", "kept", float(counts["before"] - counts["removed"])))
    out_of_fold = trained.predictions[trained.deciding]
    r2 = squared_correlation(
        *(out_of_fold[f"{name}_original"].to_numpy(dtype=float) for name in ("observed", "predicted"))
    )
    rows.append((symbol, "", "r2", float(r2)))
    for name in table.compare:
        means = samples.design.assign(label=samples.design[f"class {name}"])
        by_site = means.groupby(["label", "site"], observed=True)["value"].mean()
        by_class = by_site.groupby("label", observed=True).mean()
        rows += [(symbol, str(label), "mean", float(value)) for label, value in by_class.items()]
    if "class_ranges" in tables and symbol == next(iter(table.columns)):
        ranges = tables["class_ranges"]
        for _, row in ranges.iterrows():
            numbers = row.drop(["element", "classes", "class"])
            rows += [("", str(row["class"]), str(name), float(value)) for name, value in numbers.items()]
    return pd.DataFrame(rows, columns=["element", "class", "quantity", "value"])


def _ranges(table: ElementsTable, symbol: str, design: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for name in table.compare:
        work = design.assign(label=design[f"class {name}"])
        part = class_ranges(work, "label", list(table.ranges)).reset_index()
        parts.append(labelled(part, element=symbol, classes=name))
    return pd.concat(parts, ignore_index=True)


def _letters(table: ElementsTable, name: str, design: pd.DataFrame) -> pd.DataFrame:
    work = design.assign(group=design[f"class {name}"])
    try:
        groups = compare_groups(work, "value", "group", test=table.group_test).groups
    except InputError:
        return pd.DataFrame({"classes": [], "group": [], "letters": []})
    return labelled(groups["letters"].rename_axis("group").reset_index(), classes=name)
