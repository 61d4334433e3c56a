"""Forests scored by regions and by folds matched to the mapped area."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tpsoil.errors import TpsoilError
from tpsoil.evaluation import match_folds
from tpsoil.forest import train


def clustered_table(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    centres = rng.uniform([80, 28], [100, 38], (10, 2)).repeat(12, axis=0)
    lon, lat = (centres + rng.normal(0, 0.05, centres.shape)).T
    slope = rng.random(120)
    return pd.DataFrame(
        {"lon": lon, "lat": lat, "slope": slope, "region": np.where(lon < 90, "west", "east"),
         "Fe": 10 * slope + np.sin(lon) + rng.normal(0, 0.1, 120)}
    )  # fmt: skip


def area() -> np.ndarray:
    return np.random.default_rng(1).uniform([80, 28], [100, 38], (800, 2))


def test_matched_folds_decide_and_are_those_of_the_evaluation() -> None:
    table = clustered_table()
    trained = train(table, "Fe", ["slope", "lon"], folds=["random", "knndm"], area=area(), trees=20)
    expected = match_folds(table[["lon", "lat"]], area(), n_folds=5, degrees=True).folds
    np.testing.assert_array_equal(trained.folds["knndm"], expected)
    assert trained.deciding == "knndm"
    assert trained.scores.loc["knndm", "nse"] < trained.scores.loc["random", "nse"]
    assert "kNNDM" in trained.settings["folds"]["knndm"]


def test_regions_are_left_out_one_at_a_time() -> None:
    table = clustered_table()
    trained = train(table, "Fe", ["slope"], folds=["region"], regions="region", trees=20)
    assert trained.folds["region"].nunique() == 2
    assert (trained.folds["region"].groupby(table["region"]).nunique() == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": ["knndm"]}, "need area="),
        ({"folds": ["random"], "area": [[90, 30]]}, "only they use it"),
        ({"folds": ["region"]}, "need regions="),
        ({"regions": "region"}, "only they use it"),
        ({"folds": ["region"], "regions": "regoin"}, "regoin"),
        ({"folds": ["region"], "regions": "one"}, "at least two regions"),
        ({"folds": ["knndm"], "area": [[500_000.0, 4e6]]}, "expected -90..90"),
        ({"folds": ["knndm"], "area": [[-170.0, -50.0]]}, "check the CRS of both"),
    ],
)
def test_what_has_no_effect_or_no_meaning_is_rejected(options: dict, message: str) -> None:
    with pytest.raises(TpsoilError, match=message):
        train(clustered_table().assign(one="all"), "Fe", ["slope"], trees=5, **options)
