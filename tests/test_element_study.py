"""What the micronutrient study needs beside forests: paired readings, the index of alteration, groups, faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tpsoil import micronutrients as elements
from tpsoil.errors import InputError, UnitsError
from tpsoil.forest import train
from tpsoil.forest.layers import MapModel
from tpsoil.forest.measurement import MeasurementError

XRF, ICP = [10.0, 20, 30, 40, 50], [14.0, 26, 33, 49, 58]


def test_lines_are_those_of_the_three_methods() -> None:
    table = elements.calibration_lines(XRF, ICP, min_pairs=5)
    assert table.loc["ols", ["slope", "intercept"]].tolist() == pytest.approx([1.11, 2.7])
    assert table.loc["deming", ["slope", "intercept"]].tolist() == pytest.approx([1.116931597, 2.492052099])
    assert table.loc["rma", "slope"] == pytest.approx(1.116243701)
    assert (table["bias"] == 6).all()


@pytest.mark.parametrize("method", ["ols", "deming", "rma"])
def test_the_error_of_a_map_is_that_of_one_calibrated_value(method: str) -> None:
    line = elements.calibrate_xrf(XRF, ICP, method=method, min_pairs=5)  # type: ignore[arg-type]
    values = line.apply([5.0, 30.0, 70.0])
    sd = line.measurement_error().sd(values["value"])
    assert sd == pytest.approx(values["prediction_sd"].to_numpy(), rel=1e-12)


def test_an_interval_is_widened_in_quadrature_and_never_below_zero() -> None:
    error = MeasurementError(9.0)
    low, high = error.widen([50.0, 2.0], [46.0, 1.0], [54.0, 3.0], 0.6826894921370859)
    assert low == pytest.approx([45.0, 0.0])
    assert high == pytest.approx([55.0, 2 + np.sqrt(10)])
    low, high = error.widen([50.0], [51.0], [54.0], 0.9)  # the mean lies outside of its own interval
    assert low[0] < 51 < 54 < high[0]
    with pytest.raises(InputError, match="variance is -1"):
        MeasurementError(-1.0)


def test_a_map_model_carries_the_error_and_says_so() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"slope": rng.random(60), "ndvi": rng.random(60)})
    table["Zn"] = 20 + 10 * table["slope"] + rng.normal(0, 1, 60)
    trained = train(table, "Zn", ["slope", "ndvi"], trees=10, n_folds=3)
    plain, wide = MapModel.of(trained), MapModel.of(trained, measurement=MeasurementError(16.0, source="XRF line"))
    assert "interval_includes" not in plain.attributes
    assert wide.attributes["interval_includes"] == "error of the XRF line, in quadrature"
    again = MapModel.load(wide.dump())
    assert again.measurement == wide.measurement
    assert again.digest == wide.digest != plain.digest


def test_coverage_of_icp_readings_needs_the_error_of_the_line() -> None:
    """ICP-MS scatters about the line: intervals of calibrated values alone cover too few readings."""
    rng = np.random.default_rng(3)
    n = 600
    table = pd.DataFrame({"slope": rng.random(n)})
    xrf = 20 + 10 * table["slope"] + rng.normal(0, 1, n)
    icp = 1.2 * xrf + rng.normal(0, 3, n)
    line = elements.calibrate_xrf(xrf, icp)
    table["Zn"] = line.apply(xrf)["value"]
    trained = train(table, "Zn", ["slope"], trees=60, min_samples_leaf=10)
    row = elements.calibrated_coverage(trained, line, icp, levels=[0.9]).iloc[0]
    assert row["n"] == n
    assert row["without"] < 0.65
    assert row["with_error"] == pytest.approx(0.9, abs=0.04)


def test_alteration_of_samples_equals_the_vectors_of_the_index() -> None:
    oxides = pd.DataFrame({"Al2O3": [15.40, 11.5], "CaO": [3.59, 8.0], "Na2O": [3.27, 1.6], "K2O": [2.80, 2.3],
                           "P2O5": [0.15, 0.14], "CaCO3": [0.0, 5.0]})  # fmt: skip
    columns = {"Al": "Al2O3", "Ca": "CaO", "Na": "Na2O", "K": "K2O", "P": "P2O5"}
    index = elements.alteration_of_samples(oxides, columns, basis="oxides")["chemical_index_of_alteration"]
    assert index.tolist() == pytest.approx([0.5275833291, 0.5972820353], rel=1e-9)
    raw = elements.alteration_of_samples(oxides, columns, basis="oxides", correction="none")
    assert raw["chemical_index_of_alteration"].tolist() == pytest.approx([0.5076190271, 0.3689729186], rel=1e-9)
    measured = elements.alteration_of_samples(oxides, columns, basis="oxides", correction="none", carbonate="CaCO3")
    by_hand = oxides.assign(CaO=oxides["CaO"] - oxides["CaCO3"] * 56.077 / 100.086)
    expected = elements.alteration_of_samples(by_hand, columns, basis="oxides", correction="none")
    assert measured["chemical_index_of_alteration"].tolist() == pytest.approx(
        expected["chemical_index_of_alteration"].tolist()
    )
    below = elements.alteration_of_samples(oxides, columns, basis="oxides", detection_limits={"Na": 2.0})
    assert np.isnan(below["chemical_index_of_alteration"]).tolist() == [False, True]
    with pytest.raises(InputError, match="no column 'Al2O4'; did you mean 'Al2O3'"):
        elements.alteration_of_samples(oxides, {**columns, "Al": "Al2O4"})
    with pytest.raises(InputError, match="Na is missing"):
        elements.alteration_of_samples(oxides, {k: v for k, v in columns.items() if k != "Na"})


def test_an_index_that_contains_the_element_is_named() -> None:
    features = ["slope", "chemical_index_of_alteration"]
    assert "circular" in elements.shared_with_index("Ca", features)
    assert elements.shared_with_index("Zn", features) == ""
    assert elements.shared_with_index("Ca", ["slope"]) == ""


def test_correlation_with_precipitation_is_of_site_means() -> None:
    table = pd.DataFrame({"site": np.repeat(np.arange(10), 3), "annual_precipitation": np.repeat(np.arange(10.0), 3)})
    table["chemical_index_of_alteration"] = 0.5 + 0.01 * table["annual_precipitation"] + np.tile([-0.2, 0, 0.2], 10)
    result = elements.alteration_and_precipitation(table)
    assert (result["n"], result["r"]) == (10, pytest.approx(1.0))


def test_mixed_units_are_named_with_their_rows() -> None:
    rng = np.random.default_rng(1)
    iron = pd.Series(rng.lognormal(10, 0.3, 300))
    elements.check_one_unit(iron, "Fe")
    iron.iloc[[7, 40, 41]] /= 1e4
    with pytest.raises(
        UnitsError, match=r"samples.csv: 'Fe' mixes two units: 3 values .*% beside mg/kg; rows 7, 40, 41"
    ):
        elements.check_one_unit(iron, "Fe", where="samples.csv")
    elements.check_one_unit(rng.lognormal(3, 1.2, 2000), "Zn")  # skewed, not mixed


def test_copies_and_leaks_are_named() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.random((40, 3)), columns=["a", "b", "Fe"])
    elements.check_covariates(table, "Fe", ["a", "b"])
    with pytest.raises(InputError, match="a and c have the same values"):
        elements.check_covariates(table.assign(c=table["a"]), "Fe", ["a", "b", "c"])
    with pytest.raises(InputError, match=r"c follows Fe almost exactly .*contains the target"):
        elements.check_covariates(table.assign(c=np.log(table["Fe"])), "Fe", ["a", "b", "c"])


def test_published_numbers_stand_beside_own_ones() -> None:
    published = elements.published_values()
    table1 = published[(published["item"] == "Table 1") & (published["quantity"] == "samples")]
    assert table1["value"].astype(int).sum() == 1660
    sites = published[(published["item"] == "Table 1") & (published["quantity"] == "sites")]
    assert sites["value"].astype(int).sum() == 526
    means = published[published["item"] == "Fig. 2"].pivot(index="element", columns="quantity", values="value")
    means = means.astype(float)
    assert (100 * means["sd"] / means["mean"]).round().tolist() == means["cv"].tolist()
    with pytest.raises(InputError, match="did you mean 'Fig. 3'"):
        elements.published_values("Fig 3")


def test_sites_in_two_folds_are_counted() -> None:
    assert elements.sites_in_several_folds(["a", "a", "b", "b"], [0, 1, 2, 2]) == 1
