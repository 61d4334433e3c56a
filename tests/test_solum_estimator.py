"""Zones as a scikit-learn estimator, and the class layers that they read."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from tpsoil.errors import InputError
from tpsoil.recipes.solum_options import CalibrationTable, ZonesTable
from tpsoil.recipes.solum_zones import zones_stage
from tpsoil.solum import Zones
from tpsoil.stage import decisive_options

EXPECTED_FAILURES = {
    "check_clustering": "labels are the codes of the layer zone, 1..k, not 0..k-1",
}


def expected_failures(estimator: Any) -> dict[str, str]:
    return EXPECTED_FAILURES


@parametrize_with_checks([Zones(k=2, n_init=1)], expected_failed_checks=expected_failures)
def test_zones_are_a_scikit_learn_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def cells(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    low = np.arange(n) < n // 3
    return pd.DataFrame({
        "elevation": np.where(low, 1000.0, 5000.0) + rng.normal(0, 50, n),
        "slope": rng.uniform(0, 30, n),
    })  # fmt: skip


def test_zones_are_cloned_and_set() -> None:
    zones = Zones(k=3, gamma=0.4, n_init=2, seed=5, max_cells=1000, start_cells=50)
    again = clone(zones)
    assert again.get_params() == zones.get_params()
    assert zones.set_params(k=4).k == 4
    # __init__ only stores: a wrong value is reported by fit.
    with pytest.raises(InputError, match="k is 1"):
        Zones(k=1).fit(cells())


def test_tables_arrays_and_layers_give_the_same_zones() -> None:
    table = cells()
    zones = Zones(k=2, n_init=2)
    of_array = zones.fit_predict(table.to_numpy())
    np.testing.assert_array_equal(of_array, zones.labels_)
    np.testing.assert_array_equal(zones.fit(table).predict(table).values, of_array)
    layers = xr.Dataset({name: (("y", "x"), table[name].to_numpy().reshape(15, 20)) for name in table})
    np.testing.assert_array_equal(zones.fit(layers).predict(layers).values.ravel(), of_array)
    assert zones.n_features_in_ == 2
    piped = make_pipeline(FunctionTransformer(), Zones(k=2, n_init=2)).fit(table.to_numpy())
    np.testing.assert_array_equal(piped.predict(table.to_numpy()), of_array)


def test_class_layers_count_by_their_flags_and_kind(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(1)
    classes = np.repeat(np.array([3, 40, 7, 99], "int16"), 100).reshape(20, 20)
    noise = rng.normal(4000, 1, (20, 20))
    for attrs in ({"flag_values": [3, 7, 40], "flag_meanings": "a b c"}, {"kind": "categorical"}):
        layer = xr.DataArray(classes, dims=("y", "x"), attrs={**attrs, "_FillValue": 99})
        layers = xr.Dataset({"elevation": (("y", "x"), noise), "rock": layer})
        zones = Zones(k=3, gamma=100.0, n_init=5).fit(layers, names=["elevation", "rock"])
        assert zones.columns_.categorical == ("rock",)
        zone = zones.predict(layers).values
        assert (zone[classes == 99] == 255).all()  # the layer's own nodata
        assert [len(np.unique(zone[classes == code])) for code in (3, 7, 40)] == [1, 1, 1]
    # Without names the study's covariates are used, and the class layer that is not used is named.
    with caplog.at_level(logging.WARNING, logger="tpsoil.solum"):
        Zones(k=2, n_init=1).fit(layers)
    assert "class layers that are not of the study are not used: rock" in caplog.text


def test_text_classes_are_rejected_with_the_way_out() -> None:
    layers = {"elevation": np.arange(9.0), "rock": np.array(["granite"] * 9)}
    with pytest.raises(InputError, match=r"'rock' has type <U7, expected numbers; give classes as integer codes"):
        Zones(k=2).fit(layers, names=["elevation", "rock"])


@pytest.mark.parametrize(("key", "value"), [("columns", {"thickness": "depth"}), ("units", "cm"), ("simulated", True)])
def test_ranked_zones_depend_on_how_the_profiles_are_read(key: str, value: Any) -> None:
    """The zones stage left the calibration's columns and units out of its identity: 75 % of cells in another zone."""
    table = ZonesTable(rank=True)
    stages = [
        zones_stage(table, CalibrationTable(profiles="a.csv", **options), {"elevation", "slope"}, 1)
        for options in ({}, {key: value})
    ]
    assert decisive_options(stages[0]) != decisive_options(stages[1])
