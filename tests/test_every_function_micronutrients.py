"""Every option of the functions of `tpsoil.micronutrients` has an effect, or is rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from function_sweep import Case, message_of, other, parameters_of, require_complete, require_reproducible, same
from test_training import plots

from tpsoil import forest
from tpsoil import micronutrients as elements
from tpsoil.errors import InputError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.soil_properties import SoilProperty

pytestmark = pytest.mark.filterwarnings("ignore:train. .* rows lie at .* positions")

RNG = np.random.default_rng(3)
NUMBERS = ["slope", "wetness"]
SITES = plots(30, 2)
TRAINED = forest.train(SITES, "Fe", NUMBERS, "site", trees=5, n_folds=3)
X, Y = SITES[NUMBERS].astype("float32"), np.log10(SITES["Fe"].to_numpy())
XRF = RNG.uniform(10, 50, 30)
ICP = 2 + 1.1 * XRF + RNG.normal(0, 3, 30)
VALUES = pd.DataFrame({
    "site": np.repeat(np.arange(20), 3), "element": np.tile(["Fe", "Zn", "V"], 20),
    "value": RNG.lognormal(3, 0.4, 60), "biome": np.repeat(np.arange(20) % 3, 3), "height": np.arange(60.0),
}).assign(value=lambda t: t["value"].where(t.index != 4, 160).where(t.index != 7, 70))  # fmt: skip
CLASSED = pd.DataFrame({"value": RNG.normal(0, 1, 40) + np.arange(40) % 2 * 0.7, "group": np.arange(40) % 2,
                        "site": np.arange(40) // 4, "second": RNG.normal(0, 1, 40), "half": np.arange(40) // 20,
                        "plot": np.arange(40) // 2})  # fmt: skip
CLASSED["spread"] = CLASSED["value"] * np.where(CLASSED["group"] == 1, 20, 1)
DIFFERENT = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=bool)
GRID = plateau_grid(100_000)[:8, :8]
MASK = np.ones((8, 8), "uint8")
MASK[2:4, 2:4] = 0
CUBE = xr.Dataset(
    {
        "slope": (("y", "x"), RNG.uniform(0, 40, (8, 8)).astype("float32")),
        "land_cover": (("y", "x"), np.repeat([7, 10, 16], (4, 2, 2)).astype("uint8") * np.ones((8, 1), "uint8")),
        "soil_mask": (("y", "x"), MASK),
    },
    coords=coordinates(GRID),
)
STEEPER = CUBE.assign(incline=CUBE["slope"][::-1].drop_vars(("y", "x")))
ROWS, COLUMNS = np.divmod(np.arange(48) * 4 % 63, 8)
STEEP = CUBE["slope"].values[ROWS, COLUMNS]
PLACED = pd.DataFrame({
    "site": np.arange(48) // 2, "x": CUBE["x"].values[COLUMNS], "y": CUBE["y"].values[ROWS],
    "Zn": 20 + 2 * STEEP + RNG.uniform(0, 25, 48), "V": 50 + STEEP + 3 * (np.arange(48) % 5),
    "plot": np.arange(48) // 4, "part": np.arange(48) // 16,
})  # fmt: skip
AREA = np.array([(x, y) for x in CUBE["x"].values for y in CUBE["y"].values])
UNSEEN = PLACED[PLACED["x"] <= float(CUBE["x"][5])]
TIDY = PLACED.rename(columns={"Zn": "value"}).assign(
    element="Zn", censored=np.arange(48) < 6, detection_limit=np.where(np.arange(48) < 6, 20.0, np.nan),
    value=lambda t: t["value"].where(t.index >= 6),
)  # fmt: skip
TRAINING = {"trees": 4, "n_folds": 3, "folds": ["random", "group"]}
STRICT = {"max_censored": 0.01}
BANDED = {"bootstrap": 3, "trees": 4}
SEARCHED = {"search": {"min_samples_leaf": [1, 2, 3, 4, 5, 6, 7, 8]}, "search_trees": 1}
GAPS = STEEPER.assign(slope=STEEPER["slope"].where(STEEPER["slope"] > 8))
FOREST_OPTIONS = {
    "folds": other(["random"]),
    "deciding": other("random"),
    "n_folds": other(4),
    "block_size": other(200_000.0, folds=["random", "block"]),
    "coordinates": other(("y", "x"), folds=["random", "block"], block_size=200_000.0),
    "regions": other("part", folds=["region"], regions="plot"),
    "area": other(AREA + 1e7, folds=["knndm"], area=AREA),
    "trees": other(5),
    "preset": other("randomForest"),
    "search": other({"min_samples_leaf": [9]}),
    "search_trees": other(30, **SEARCHED),
    "search_folds": other(5, **SEARCHED),
    "transform": other("none"),
    "back_transform": other("median"),
    "missing": other("error", cube=GAPS, names="missing"),
    "categories": other("onehot", features=["slope", "land_cover"]),
    "categorical": other([], features=["slope", "land_cover"], categories="onehot"),
    "circular": other(["slope"]),
    "units": other("%"),
    "seed": other(1),
    "workers": same(2, "threads; each tree has its own seed"),
    "progress": same(False, "only shown on a terminal and in a notebook"),
    "engine": other("scikit-learn"),
    "splitter": other("random"),
    "max_features": other(2, features=["slope", "land_cover"]),
    "min_samples_split": other(20),
    "min_samples_leaf": other(9),
    "max_depth": other(1),
    "max_leaf_nodes": other(3),
    "max_samples": other(0.4),
    "min_impurity_decrease": other(0.01),
    "min_weight_fraction_leaf": other(0.3),
    "ccp_alpha": other(0.01),
    "criterion": other("absolute_error"),
    "monotonic_cst": other([1]),
}

MAJOR = pd.DataFrame({"Al": [65000.0, 6.0], "Ca": [20000.0, 2.0], "Na": [14000.0, 1.4], "K": [20000.0, 2.0],
                      "P": [600.0, 0.06], "CaCO3": [2.0, 1.0], "rain": [1.0, 2.0]})  # fmt: skip
MAJOR_COLUMNS = {name: name for name in ("Al", "Ca", "Na", "K", "P")}
WET = pd.DataFrame({"annual_precipitation": np.arange(8.0), "chemical_index_of_alteration": RNG.random(8),
                    "mm": RNG.random(8), "index": RNG.random(8), "site": np.arange(8) // 2,
                    "plot": np.arange(8)})  # fmt: skip
LINE = elements.calibrate_xrf(XRF, ICP)
CALIBRATED = forest.train(pd.DataFrame({"Zn": LINE.apply(XRF)["value"], "slope": RNG.random(30)}), "Zn", ["slope"],
                          trees=5, n_folds=3)  # fmt: skip
MIXED = pd.Series([20000.0, 25000, 31000, 2.6, 3.1])
COPIES = pd.DataFrame({"slope": [1.0, 4, 2, 9], "angle": [1.0, 4, 2, 9], "Fe": [3.0, 1, 4, 1]})

CASES = {
    "alteration_and_precipitation": Case(
        elements.alteration_and_precipitation,
        {"samples": WET},
        {"precipitation": other("mm"), "index": other("index"), "site": other("plot")},
    ),
    "alteration_of_samples": Case(
        elements.alteration_of_samples,
        {"samples": MAJOR.iloc[:1], "columns": MAJOR_COLUMNS},
        {
            "basis": other("oxides", samples=MAJOR.iloc[1:]),
            "correction": other("none"),
            "carbonate": other("CaCO3", correction="none"),
            "detection_limits": other({"Na": 20000.0}),
        },
    ),
    "calibrated_coverage": Case(
        elements.calibrated_coverage,
        {"trained": CALIBRATED, "calibration": LINE, "icp": pd.Series(ICP)},
        {"levels": other([0.5])},
    ),
    "calibration_lines": Case(
        elements.calibration_lines,
        {"xrf": XRF, "icp": ICP},
        {"methods": other(["ols"]), "variance_ratio": other(4.0), "min_pairs": other(31, names="31")},
    ),
    "check_covariates": Case(
        message_of(elements.check_covariates),
        {"table": COPIES, "target": "Fe", "features": ["slope", "angle"]},
        {"where": other("plots")},
    ),
    "check_one_unit": Case(
        message_of(elements.check_one_unit), {"values": MIXED, "name": "Fe"}, {"where": other("plots")}
    ),
    "class_ranges": Case(
        elements.class_ranges,
        {"samples": VALUES, "group": "biome", "columns": ["height"]},
        {"site": other(None)},
    ),
    "covariate_groups": Case(
        elements.covariate_groups, {"features": NUMBERS}, {"groups": other({"water": ["wetness"]})}
    ),
    "published_values": Case(elements.published_values, {}, {"item": other("Fig. 3")}),
    "accumulated_local_effects": Case(
        elements.accumulated_local_effects,
        {"model": TRAINED, "features": "slope"},
        {
            "X": other(X.iloc[::2]),
            "bins": other(5),
            "bootstrap": other(2, trees=4),
            "band": other(0.5, **BANDED),
            "trees": other(6, **BANDED),
            "seed": other(1, **BANDED),
        },
    ),
    "betasq": Case(elements.betasq, {"X": X, "y": Y}, {"with_lmg": other(False)}),
    "calibrate_xrf": Case(
        elements.calibrate_xrf,
        {"xrf": XRF, "icp": ICP},
        {"method": other("rma"), "variance_ratio": other(4.0, method="deming"), "min_pairs": other(31, names="31")},
    ),
    "classes_of": Case(
        elements.classes_of, {"values": [1.0, 9.0], "edges": [5.0]}, {"names": other(["low", "high"])}
    ),
    "compact_letters": Case(elements.compact_letters, {"different": DIFFERENT}, {"order": other([2, 1, 0])}),
    "compare_groups": Case(
        elements.compare_groups,
        {"table": CLASSED},
        {
            "value": other("second"),
            "group": other("half"),
            "site": other("plot"),
            "test": other("tukey", value="spread", site=None),
            "alpha": other(0.9999),
        },
    ),
    "importance": Case(
        elements.importance,
        {"forest": TRAINED},
        {
            "X": other(X.iloc[::-1], forest=TRAINED.forest, X=X, y=Y),
            "y": other(Y[::-1], forest=TRAINED.forest, X=X),
            "sets": other({"both": NUMBERS}),
            "folds": other("random"),
            "repeats": other(2),
            "seed": other(1),
        },
    ),
    "log_ratios": Case(
        message_of(elements.log_ratios),
        {"table": pd.DataFrame({"clay": [20.0]}), "composition": elements.Composition(("clay", "peat"))},
        {"where": other("plots")},
    ),
    "element_model": Case(
        elements.element_model,
        {"trained": TRAINED, "options": elements.MapOptions()},
        {
            "positions": other(RNG.uniform(80, 90, (len(TRAINED.rows), 2))),
            "cells": other(SITES[NUMBERS], options=elements.MapOptions(conformal="weighted"), names="needs cells="),
            "measurement": other(LINE.measurement_error()),
            "workers": same(2, "threads change no result"),
        },
    ),
    "map_elements": Case(
        elements.map_elements,
        {"samples": PLACED, "cube": STEEPER, "elements": ["Zn"], "features": ["slope"], **TRAINING},
        {
            "elements": other(["Zn", "V"]),
            "features": other(["slope", "land_cover"]),
            "level": other(0.5),
            "conformal": other("spread"),
            "kriging": other(
                "residuals", names="needs the positions", samples=PLACED.drop(columns=["x", "y"]).assign(slope=STEEP)
            ),
            "extra_layers": other(("point_density",)),
            "layers": other({"slope": "incline"}),
            "calibrations": other({"Zn": LINE}),
            "unseen": other("error", samples=UNSEEN, features=["slope", "land_cover"], names="never saw"),
            "groups": other("plot"),
            "on_masked": other("drop"),
            "masked_within_m": other(1000.0),
            "max_censored": other(0.01, names="more than 1 %", samples=TIDY),
            "allow_censored": other(True, names="more than 1 %", samples=TIDY, **STRICT),
            "censored_as": other("limit", samples=TIDY),
            "properties": other({"Zn": SoilProperty("Zn", units="g kg-1")}),
            **FOREST_OPTIONS,
        },
    ),
    "partial_dependence": Case(
        elements.partial_dependence,
        {"model": TRAINED, "features": "slope"},
        {
            "X": other(X.iloc[::2]),
            "grid": other(5),
            "bootstrap": other(2, trees=4),
            "band": other(0.5, **BANDED),
            "trees": other(6, **BANDED),
            "seed": other(1, **BANDED),
        },
    ),
    "representation": Case(
        elements.representation, {"sites": [1, 1, 2], "areas": {1: 5.0, 2: 5.0}}, {"names": other({1: "steppe"})}
    ),
    "screen_outliers": Case(
        elements.screen_outliers,
        {"samples": VALUES, "threshold": 2.0},
        {
            "threshold": other(1.0),
            "method": other("mad"),
            "log": other(True),
            "iterate": other(True),
            "elements": other(["Fe"]),
        },
    ),
    "summarise_sites": Case(
        elements.summarise_sites,
        {"samples": VALUES},
        {"keep": other(["height"]), "lowest": other(1e9, names="below 1e")},
    ),
    "train_elements": Case(
        elements.train_elements,
        {"samples": TIDY, "elements": ["Zn"], "features": ["slope"], "cube": STEEPER, **TRAINING},
        {
            "cube": other(STEEPER.assign(slope=STEEPER["incline"])),
            "groups": other("plot"),
            "on_masked": other("drop"),
            "masked_within_m": other(1000.0),
            "max_censored": other(0.01, names="more than 1 %"),
            "allow_censored": other(True, names="more than 1 %", **STRICT),
            "censored_as": other("limit"),
            "properties": other({"Zn": SoilProperty("Zn", units="g kg-1")}),
            **FOREST_OPTIONS,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), parameters_of(CASES))
def test_an_option_has_an_effect_or_is_rejected(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    CASES[name].check(name, option)


@pytest.mark.parametrize("name", CASES)
def test_equal_options_give_equal_results(name: str) -> None:
    require_reproducible(CASES[name])


def test_every_option_has_another_value_here() -> None:
    require_complete(elements, CASES)


def test_a_kept_column_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="keep: no column 'heigth'; did you mean 'height'"):
        elements.summarise_sites(VALUES, keep=["heigth"])
