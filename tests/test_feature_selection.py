"""Forward feature selection: what it selects, ties, cost, and how optimistic its own score is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run

from tpsoil.errors import InputError, TpsoilError
from tpsoil.forest import select_features
from tpsoil.recipes import run
from tpsoil.recipes.jobs import result_tables

NAMES = ["rain", "slope", *(f"noise{k}" for k in range(4))]


def table_of(count: int, seed: int, *, signal: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.random((count, len(NAMES))), columns=NAMES)
    table["Zn"] = 50 + signal * (20 * table["rain"] + 12 * table["slope"]) + rng.normal(0, 3, count)
    table["x"], table["y"] = rng.uniform(0, 100, (2, count))
    return table


def test_features_with_a_signal_are_selected() -> None:
    chosen = select_features(table_of(150, 0), "Zn", NAMES, folds="random", trees=20, n_folds=3, nested=False)
    assert set(chosen.features[:2]) == {"rain", "slope"}
    assert chosen.rmse < chosen.all_rmse
    assert chosen.steps["rmse"].is_monotonic_decreasing
    assert chosen.steps.loc[0, "added"] == "rain, slope"
    pairs, then = 15, sum(len(NAMES) - k for k in range(2, 2 + len(chosen.steps)))
    assert chosen.forests == 3 * (pairs + then + 1)
    assert np.isnan(chosen.nested_rmse)


def test_ordered_classes_follow_the_targets_of_the_training_part_alone() -> None:
    """Every row is a class of its own: ordered by all targets it would be the target under another name."""
    table = table_of(90, 1, signal=0.0).assign(kind=np.arange(90))
    options = {"folds": "random", "n_folds": 3, "trees": 20, "categories": "ordered", "categorical": ["kind"]}
    chosen = select_features(table, "Zn", ["kind", "rain", "slope"], nested=False, **options)
    assert min(chosen.all_rmse, chosen.rmse) > 0.9 * table["Zn"].std()


def test_the_score_of_a_selection_among_noise_is_optimistic() -> None:
    """No feature explains anything: the error of new data is the standard deviation of the target."""
    gap = []
    for seed in range(2):
        table = table_of(60, seed, signal=0.0)
        chosen = select_features(table, "Zn", NAMES[:5], folds="random", trees=10, n_folds=3, seed=seed)
        gap.append((chosen.rmse, chosen.nested_rmse))
    selected, nested = np.mean(gap, axis=0)
    print(f"noise alone, sd 3: RMSE as selected {selected:.2f}, nested {nested:.2f}")
    assert selected < nested
    assert nested > 3.0
    assert len(chosen.by_fold) == 3


def test_equal_features_are_selected_in_their_order_and_threads_change_nothing() -> None:
    table = table_of(80, 2).assign(copy=lambda frame: frame["rain"])
    one = select_features(table, "Zn", ["slope", "rain", "copy"], folds="random", trees=8, n_folds=3, nested=False)
    two = select_features(
        table, "Zn", ["slope", "rain", "copy"], folds="random", trees=8, n_folds=3, nested=False, workers=2
    )
    assert one.features[:2] == ("slope", "rain")
    assert one.features == two.features
    assert one.steps.equals(two.steps)


@pytest.mark.parametrize("kind", ["block", "group", "knndm"])
def test_any_design_selects(kind: str) -> None:
    table = table_of(90, 3)
    options = {"block": {"block_size": 25.0}, "group": {}, "knndm": {"area": table[["x", "y"]].to_numpy()}}[kind]
    groups = np.arange(90) // 2 if kind == "group" else np.arange(90)
    chosen = select_features(
        table, "Zn", ["rain", "slope", "noise0"], groups, folds=kind, trees=6, n_folds=3, coordinates=("x", "y"),
        **options,
    )  # fmt: skip
    assert chosen.folds == kind
    assert np.isfinite(chosen.nested_rmse)


def test_inner_folds_of_a_nested_selection_are_an_option() -> None:
    table, options = table_of(90, 1), {"folds": "random", "trees": 6, "n_folds": 3}
    two, three, default = (
        select_features(table, "Zn", NAMES[:4], **options, **own)
        for own in ({"search_folds": 2}, {"search_folds": 3}, {})
    )
    assert (three.nested_rmse, three.forests) == (default.nested_rmse, default.forests)
    assert two.forests != three.forests
    with pytest.raises(InputError, match="search_folds has no effect without nested=True"):
        select_features(table, "Zn", NAMES[:4], search_folds=2, nested=False, **options)


def test_labels_of_rows_may_repeat() -> None:
    table = table_of(90, 3)
    options = {"folds": "block", "block_size": 25.0, "coordinates": ("x", "y"), "trees": 5, "n_folds": 3}
    twice = table.set_axis(np.arange(90) // 2)
    chosen, same = (select_features(rows, "Zn", NAMES[:3], np.arange(90), **options) for rows in (table, twice))
    assert (chosen.features, chosen.nested_rmse) == (same.features, same.nested_rmse)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (["rain"], {}, "expected two or more"),
        (NAMES, {"folds": ["random", "group"]}, "expected one kind"),
        (NAMES, {"search": {"max_features": [0.3]}}, "no effect here"),
    ],
)
def test_what_cannot_be_selected(features: list, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_features(table_of(60, 0), "Zn", features, **{"folds": "random", "trees": 5, **options})


def test_a_run_maps_the_selected_features(tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=32)
    recipe.pop("solum")
    recipe["elements"] |= {"folds": ["random"], "n_folds": 3, "feature_selection": "nested", "selection_trees": 8}
    maps = run(recipe, workers=1, progress=False)
    tables = result_tables(recipe["run"]["output"])
    table = next(t for title, t in tables.items() if title.startswith("Forward selection of features: "))
    assert set(table["features"][0].split(", ")) == set(maps["iron"].attrs["features_selected"].split())
    assert set(maps["iron"].attrs["features_selected"].split()) <= set(recipe["elements"]["features"])
    assert table["nested_rmse"].notna().all()
    recipe["elements"] |= {"interval": 0.9, "conformal": "class:climate_zone"}
    with pytest.raises(TpsoilError, match="might not select"):
        run(recipe, workers=1, progress=False)
