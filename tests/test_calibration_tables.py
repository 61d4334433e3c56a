"""Tables on predictive distributions: coverage by group, quantiles, PIT, CRPS, and the error within sites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run

from tpsoil.engine.ledger import Ledger
from tpsoil.engine.prepare import read_tables
from tpsoil.errors import InputError
from tpsoil.forest import train
from tpsoil.forest.calibration_tables import calibration_tables, corrected_quantiles, within_site_error
from tpsoil.recipes import run
from tpsoil.recipes.jobs import result_tables


def samples(sites: int, replicates: int, *, within: float, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    height, between = rng.random(sites), rng.normal(0, 2, sites)
    site = np.repeat(np.arange(sites), replicates)
    true = 20 + 8 * height[site] + between[site]
    return pd.DataFrame({
        "site": site, "height": height[site], "true": true, "value": true + rng.normal(0, within, len(site)),
        "half": np.where(height[site] < 0.5, "low", "high"),
    })  # fmt: skip


def test_calibrated_distributions_have_uniform_pit_and_nominal_quantiles() -> None:
    table = samples(600, 1, within=0.5)
    trained = train(table, "value", ["height"], folds="random", trees=30, min_samples_leaf=20)
    quantiles, levels = corrected_quantiles(trained)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    tables = calibration_tables(trained, {"half": table["half"]})
    uncertainty = tables["uncertainty"]
    every = uncertainty[uncertainty["by"] == "all"]
    assert every["level"].tolist() == [0.5, 0.8, 0.9, 0.95]
    assert (abs(every["coverage"] - every["level"]) < 3 * every["binomial_se"]).all()
    assert tables["pit"]["share"].sum() == pytest.approx(1)
    assert abs(tables["pit"]["share"] - 0.1).max() < 0.05
    one_sided = tables["quantile_coverage"]
    assert (abs(one_sided["coverage"] - one_sided["level"]) < 0.05).all()
    assert one_sided["level"].tolist() == levels.tolist()
    assert set(uncertainty["group"]) == {"all", "low", "high"}
    # CRPS of a normal distribution with sd s about its own values is s / sqrt(pi).
    assert every["crps"].iloc[0] == pytest.approx(np.hypot(2, 0.5) / np.sqrt(np.pi), rel=0.12)
    with pytest.raises(InputError, match="level is 0.7"):
        calibration_tables(trained, {}, level=0.7)
    with pytest.raises(InputError, match="groups are by 'all'"):
        calibration_tables(trained, {"all": table["half"]})


def test_the_interval_of_the_true_value_is_narrower_and_covers_it() -> None:
    table = samples(400, 3, within=2.0)
    trained = train(table, "value", ["height"], "site", folds="group", trees=30, min_samples_leaf=60)
    result = within_site_error(trained)
    assert result is not None
    with pytest.raises(InputError, match=r"level is 0\.7"):
        within_site_error(trained, level=0.7)
    row = result.iloc[0]
    assert row["within_sd"] == pytest.approx(2.0, rel=0.1)
    assert row["within_share"] == pytest.approx(0.5, abs=0.1)
    assert row["width_true"] < 0.85 * row["width_measurement"]
    predicted = trained.predictions["group"]["predicted"]
    missed = abs(table["true"] - predicted)
    true, measured = (float((missed <= row[name] / 2).mean()) for name in ("width_true", "width_measurement"))
    print(f"coverage of the true value, nominal .9: {true:.3f}; by the interval of a measurement {measured:.3f}")
    assert true == pytest.approx(0.9, abs=0.06)
    assert measured > 0.95
    alone = train(table[::3], "value", ["height"], folds="random", trees=5)
    assert within_site_error(alone) is None


def test_a_run_has_the_tables(tmp_path: Path) -> None:
    recipe = small_run.make_small(tmp_path, side=32)
    recipe.pop("solum")
    recipe["elements"] |= {"interval": 0.9, "folds": ["random"], "compare": ["climate_zone"]}
    maps = run(recipe, workers=1, progress=False)
    inside, outside = (int((maps["iron_applicability"] == code).sum()) for code in (1, 0))
    share = f"{100 * outside / (inside + outside):.1f} % of {inside + outside} mapped cells are outside"
    assert any(share in str(note) for note in maps.attrs["plausibility_notes"])
    tables = result_tables(recipe["run"]["output"])
    table = next(t for title, t in tables.items() if title.startswith("Predictive distributions"))
    assert {"all", "climate_zone", "predicted level", "distance to samples"} <= set(table["by"])
    assert {"coverage", "mean_width", "interval_score", "crps"} <= set(table.columns)  # what a terminal has room for
    stored = read_tables(Ledger.at(recipe["run"]["output"], read_only=True), ["element_Fe"])["uncertainty"]
    assert {"coverage", "below", "above", "mean_width", "interval_score", "crps"} <= set(stored.columns)
    assert any(title.startswith("Quantiles out of fold") for title in tables)
    assert any(title.startswith("Probability integral") for title in tables)
