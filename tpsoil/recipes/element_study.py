"""Tables of a published study for one element: sites, letters, ranges, joint drivers, dependence, published numbers."""

from __future__ import annotations

import pandas as pd

from tpsoil.errors import InputError
from tpsoil.evaluation import squared_correlation
from tpsoil.forest import TrainedForest
from tpsoil.micronutrients import (
    beside_published,
    class_ranges,
    compare_groups,
    importance,
    partial_dependence,
    shared_with_index,
    sites_in_several_folds,
)

from .element_options import ElementsTable
from .element_samples import ElementSamples
from .element_xrf import coverage_of_readings


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
        printed.insert(0, "element", symbol)
        tables["joint_drivers"] = printed
    if table.dependence:
        for name in dict.fromkeys(effect for effect in table.effects if "*" not in effect):
            curve = partial_dependence(
                trained, [name], **({"bootstrap": table.bands, "seed": seed} if table.bands else {})
            )
            curve = curve.rename(columns={name: "value"})
            curve.insert(0, "feature", name)
            tables[f"dependence_{symbol}_{name}"] = curve
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
        part.insert(0, "element", symbol)
        part.insert(1, "classes", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _letters(table: ElementsTable, name: str, design: pd.DataFrame) -> pd.DataFrame:
    work = design.assign(group=design[f"class {name}"])
    try:
        groups = compare_groups(work, "value", "group", test=table.group_test).groups
    except InputError:
        return pd.DataFrame({"classes": [], "group": [], "letters": []})
    letters = groups["letters"].rename_axis("group").reset_index()
    letters.insert(0, "classes", name)
    return letters
