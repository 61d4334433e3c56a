"""Tables of one element: scores, coverage, agreement, drivers, effects, classes, and those of a published study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tpsoil.columns import labelled
from tpsoil.errors import InputError
from tpsoil.evaluation import squared_correlation
from tpsoil.forest import TrainedForest, conformal_intervals, coverage_table, observed_against_predicted
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

from .element_options import ElementsTable
from .element_samples import ElementSamples, coverage_of_readings


@dataclass(frozen=True)
class Element:
    """One element that was trained, of which tables are made.

    Parameters
    ----------
    table : ElementsTable
    symbol : str
    trained : TrainedForest
        Of the maps.
    samples : ElementSamples
        Their design has a column `class NAME` for each class that is compared.
    seed : int
        Of the permutations of `driver_repeats` and of the bootstrap of `bands`.
    """

    table: ElementsTable
    symbol: str
    trained: TrainedForest
    samples: ElementSamples
    seed: int

    @property
    def design(self) -> pd.DataFrame:
        """The samples, placed."""
        return self.samples.design

    @property
    def out_of_fold(self) -> pd.DataFrame:
        """Observed and predicted values in the deciding folds."""
        return self.trained.predictions[self.trained.deciding]

    def classes(self, name: str) -> pd.Series:
        """Class of each sample."""
        return self.design[f"class {name}"]

    def labelled(self, rows: pd.DataFrame, **columns: str) -> pd.DataFrame:
        """Rows of a table that has other elements too."""
        return labelled(rows, element=self.symbol, **columns)


def tables_of(one: Element, extra: TrainedForest | None) -> dict[str, pd.DataFrame]:
    """Every table of one element.

    Parameters
    ----------
    one : Element
    extra : TrainedForest or None
        With the columns that no layer has.

    Returns
    -------
    dict of str to DataFrame
        Tables with the same name for all elements are concatenated; those with the symbol in their name are for
        figures.
    """
    table, symbol, trained = one.table, one.symbol, one.trained
    tables = {"elements": _scores(one, trained), "agreement": _agreement(one)}
    method = table.map_options.method
    if table.interval is not None:
        tables["intervals"] = _intervals(one, trained)
        tables[f"coverage_{symbol}"] = coverage_table(trained, method=method).round(4)
        if table.compare:
            by_class = [_coverage_by_class(one, table.interval, name) for name in table.compare]
            tables["coverage_by_class"] = one.labelled(pd.concat(by_class, ignore_index=True))
    tables[f"predictions_{symbol}"] = _predictions(one)
    if extra is not None:
        tables["with_extra"] = _scores(one, extra)
        if table.interval is not None:
            tables["intervals_with_extra"] = _intervals(one, extra)
    if table.drivers:
        ranked = importance(trained, repeats=table.driver_repeats, seed=one.seed).reset_index()
        ranked["folds"] = trained.deciding
        tables[f"importance_{symbol}"] = ranked.rename(columns={"held_out_increase": "importance"}).round(5)
        tables["drivers"] = _drivers(one, ranked)
    for effect in table.effects:
        tables[f"effect_{symbol}_{effect.replace('*', '_')}"] = _curve(one, effect.split("*"))
    if table.compare:
        tables["groups"] = pd.concat([_groups(one, name) for name in table.compare], ignore_index=True)
    return tables


def _scores(one: Element, trained: TrainedForest) -> pd.DataFrame:
    return one.labelled(trained.scores.reset_index())


def _agreement(one: Element) -> pd.DataFrame:
    agreement = observed_against_predicted(one.out_of_fold["observed"], one.out_of_fold["predicted"])
    names = ("slope", "intercept", "p_joint", "u_bias", "u_slope", "u_error")
    row = {"element": one.symbol, "folds": one.trained.deciding, **{name: agreement[name] for name in names}}
    return pd.DataFrame([row])


def _intervals(one: Element, trained: TrainedForest) -> pd.DataFrame:
    coverage = coverage_table(trained, method=one.table.map_options.method).drop(columns=["group", "interval_score"])
    names = {"conformal": "held", "quantile": "by_quantiles", "spread": "by_spread"}
    return one.labelled(coverage.rename(columns=names))


def _coverage_by_class(one: Element, level: float, name: str) -> pd.DataFrame:
    """Coverage in each class, by one correction for all classes and by one of its own."""
    labels, method = one.classes(name), one.table.map_options.method
    for_all, own = (
        coverage_table(one.trained, [level], by=labels, method=method, conditional=groups) for groups in (None, labels)
    )
    table = for_all.assign(classes=name, by_class=own["conformal"]).query("group != 'all'")
    return table[["classes", "group", "n", "level", "conformal", "by_class"]]


def _predictions(one: Element) -> pd.DataFrame:
    out_of_fold, options = one.out_of_fold, one.table.map_options
    predictions = pd.DataFrame(
        {"observed": out_of_fold["observed_original"], "predicted": out_of_fold["predicted_original"]}
    )
    if options.level is not None:
        conformal = conformal_intervals(one.trained, options.level, method=options.method)
        predictions["lower"], predictions["upper"] = conformal.around(out_of_fold)
    # Five digits exceed the precision of the measurement, and the table is stored as text.
    return predictions.reset_index(drop=True).map(lambda value: float(f"{value:.5g}"))


def _drivers(one: Element, ranked: pd.DataFrame) -> pd.DataFrame:
    trained = one.trained
    numeric = [f.name for f in trained.encoding.features if f.kind == "continuous"]
    rows = trained.rows[numeric].assign(_target=trained.fitted_target).dropna()
    names = {"held_out_increase": "held_out", "increase_mse": "scaled", "mean_increase": "unscaled"}
    columns = ["feature", "held_out", "low", "high", "rank", "scaled", "unscaled"]
    drivers = one.labelled(ranked.rename(columns=names)[columns])
    try:
        linear = betasq(rows[numeric], rows["_target"])
    except InputError:  # dependent regressors: importance is still valid
        linear = pd.DataFrame(columns=["betasq", "lmg", "vif"])
    for name in ("betasq", "lmg", "vif"):
        drivers[name] = drivers["feature"].map(linear[name]) if name in linear else np.nan
    return drivers


def _curve(one: Element, names: list[str], *, dependence: bool = False) -> pd.DataFrame:
    """The accumulated local effect of features; of classes, and where it is asked for, their partial dependence."""
    trained = one.trained
    classes = any(trained.encoding.levels.get(name) for name in names)
    bands: dict[str, Any] = {"bootstrap": one.table.bands, "seed": one.seed} if one.table.bands else {}
    if dependence or classes:
        curve = partial_dependence(trained, names, **bands)
    else:
        curve = accumulated_local_effects(trained, names, **bands)
    return curve if len(names) > 1 else labelled(curve.rename(columns={names[0]: "value"}), feature=names[0])


def _groups(one: Element, name: str) -> pd.DataFrame:
    rows = one.design.assign(group=one.classes(name))
    try:
        comparison = compare_groups(rows, "value", "group", site="site", test=one.table.group_test)
    except InputError as error:
        nothing = {"group": f"not compared: {error}", "n": 0, "mean": np.nan, "sd": np.nan, "letters": "", "test": ""}
        return pd.DataFrame([{"element": one.symbol, "classes": name, **nothing}])
    return one.labelled(comparison.groups.reset_index().assign(test=comparison.test), classes=name)


def study_tables(one: Element) -> dict[str, pd.DataFrame]:
    """Tables beside those of `tables_of`; those with the symbol in their name are for figures."""
    table, symbol, trained, design = one.table, one.symbol, one.trained, one.design
    tables = {f"sites_{symbol}": site_values(one)}
    if table.compare:
        letters = [_letters(one, name) for name in table.compare]
        tables[f"letters_{symbol}"] = pd.concat(letters, ignore_index=True)
    if table.ranges:
        tables["class_ranges"] = _ranges(one)
    if table.groups_of_features:
        joint = importance(trained, sets=table.groups_of_features, repeats=table.driver_repeats, seed=one.seed)
        shown = joint.reset_index(names="feature").rename(columns={"held_out_increase": "importance"})
        shown["group"] = shown["feature"]
        tables[f"joint_{symbol}"] = shown.round(5)
        printed = shown[["group", "importance", "low", "high", "rank"]].rename(columns={"importance": "held_out"})
        tables["joint_drivers"] = one.labelled(printed)
    if table.dependence:
        for name in dict.fromkeys(effect for effect in table.effects if "*" not in effect):
            tables[f"dependence_{symbol}_{name}"] = _curve(one, [name], dependence=True)
    if (line := one.samples.calibration) is not None and "icp_reading" in design:
        tables["xrf_coverage"] = coverage_of_readings(symbol, trained, line, design["icp_reading"])
    if table.published is not None:
        published = beside_published(own_numbers(one, tables))
        if len(published):
            tables["published"] = published
    return tables


def notes_of_study(one: Element) -> list[str]:
    """Faults that do not stop a run: circular covariates, sites in two folds, classes with one site."""
    table, symbol, trained, design = one.table, one.symbol, one.trained, one.design
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


def site_values(one: Element) -> pd.DataFrame:
    """Site means with positions and classes, five significant digits."""
    rows = one.design.dropna(subset=["value"])
    grouped = rows.groupby("site", sort=False)
    sites = grouped[["lon", "lat", "value"]].mean()
    sites["n"] = grouped.size()
    for name in one.table.compare:
        sites[f"class {name}"] = grouped[f"class {name}"].first()
    sites = sites.reset_index()
    sites["value"] = [float(f"{value:.5g}") for value in sites["value"]]
    sites[["lon", "lat"]] = sites[["lon", "lat"]].round(5)
    return sites


def own_numbers(one: Element, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers of this run in the form of `beside_published`."""
    symbol, counts = one.symbol, one.samples.tables["samples"].iloc[0]
    rows = [(symbol, "", name, float(counts[name])) for name in ("mean", "sd", "cv", "before")]
    rows.append((symbol, "", "kept", float(counts["before"] - counts["removed"])))
    r2 = squared_correlation(
        *(one.out_of_fold[f"{name}_original"].to_numpy(dtype=float) for name in ("observed", "predicted"))
    )
    rows.append((symbol, "", "r2", float(r2)))
    for name in one.table.compare:
        means = one.design.assign(label=one.classes(name))
        by_site = means.groupby(["label", "site"], observed=True)["value"].mean()
        by_class = by_site.groupby("label", observed=True).mean()
        rows += [(symbol, str(label), "mean", float(value)) for label, value in by_class.items()]
    if "class_ranges" in tables and symbol == next(iter(one.table.columns)):
        ranges = tables["class_ranges"]
        for _, row in ranges.iterrows():
            numbers = row.drop(["element", "classes", "class"])
            rows += [("", str(row["class"]), str(name), float(value)) for name, value in numbers.items()]
    return pd.DataFrame(rows, columns=["element", "class", "quantity", "value"])


def _ranges(one: Element) -> pd.DataFrame:
    parts = []
    for name in one.table.compare:
        part = class_ranges(one.design.assign(label=one.classes(name)), "label", list(one.table.ranges))
        parts.append(one.labelled(part.reset_index(), classes=name))
    return pd.concat(parts, ignore_index=True)


def _letters(one: Element, name: str) -> pd.DataFrame:
    rows = one.design.assign(group=one.classes(name))
    try:
        groups = compare_groups(rows, "value", "group", test=one.table.group_test).groups
    except InputError:
        return pd.DataFrame({"classes": [], "group": [], "letters": []})
    return labelled(groups["letters"].rename_axis("group").reset_index(), classes=name)
