"""Equal-area splines against a dense minimisation of Bishop's criterion, and fixed sampling depths."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from tpsoil.depths import (
    GLOBALSOILMAP_CM,
    SplineSettings,
    depth_means,
    equal_area_spline,
    interval_name,
)
from tpsoil.errors import InputError
from tpsoil.sampling_depths import sampling_depths

PROFILES = {
    "touching": ([0, 20, 50, 75], [20, 50, 75, 120], [3.2, 1.9, 0.4, 0.6]),
    "with gaps": ([0, 15, 60], [10, 40, 100], [6.0, 4.0, 10.0]),
    "two": ([0, 30], [30, 90], [1.0, 2.0]),
}
STEP_CM = 0.02


def dense(
    top: list[float], bottom: list[float], values: list[float], smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """The curve that minimises (1/n) sum (y - mean)^2 + lambda integral f'^2, as values at fine steps."""
    edges = np.arange(top[0], bottom[-1] + STEP_CM / 2, STEP_CM)
    middle = 0.5 * (edges[:-1] + edges[1:])
    averages = np.array([(middle > u) & (middle < v) for u, v in zip(top, bottom)], float)
    averages = sparse.csr_matrix(averages / averages.sum(axis=1, keepdims=True))
    m = len(middle)
    slopes = sparse.diags([-np.ones(m - 1), np.ones(m - 1)], [0, 1], shape=(m - 1, m)) / STEP_CM
    matrix = averages.T @ averages / len(values) + smoothing * STEP_CM * slopes.T @ slopes
    return middle, spsolve(sparse.csc_matrix(matrix), averages.T @ np.array(values, float) / len(values))


@pytest.mark.parametrize("smoothing", [0.001, 0.1, 5.0])
@pytest.mark.parametrize("name", PROFILES)
def test_the_spline_minimises_the_criterion(name: str, smoothing: float) -> None:
    top, bottom, values = PROFILES[name]
    curve = equal_area_spline(top, bottom, values, smoothing=smoothing)
    middle, expected = dense(top, bottom, values, smoothing)
    intervals = [(0, 5), (5, 15), (10, 12), (15, 30), (30, 60), (top[0], bottom[-1])]
    means, coverage = curve.means(intervals)
    for mean, (u, v) in zip(means, intervals):
        assert mean == pytest.approx(expected[(middle > u) & (middle < v)].mean(), abs=2e-3)  # of the steps
    assert (coverage == 1).all()
    pointwise = np.diff(curve.integral(np.append(middle - STEP_CM / 2, middle[-1] + STEP_CM / 2))) / STEP_CM
    np.testing.assert_allclose(pointwise, expected, atol=4e-3)


def test_little_smoothing_reproduces_the_means_of_the_horizons() -> None:
    for top, bottom, values in PROFILES.values():
        means, _ = equal_area_spline(top, bottom, values, smoothing=1e-9).means(list(zip(top, bottom)))
        np.testing.assert_allclose(means, values, atol=1e-6)


def test_a_linear_or_constant_profile_and_one_horizon() -> None:
    assert equal_area_spline([5], [20], [7.0]).means([(5, 20), (8, 9)])[0].tolist() == [7.0, 7.0]
    means, _ = equal_area_spline([0, 10, 40], [10, 30, 80], [2.0, 2.0, 2.0]).means(GLOBALSOILMAP_CM)
    np.testing.assert_allclose(means[:5], 2.0, rtol=1e-12)
    assert np.isnan(means[5])


def test_horizons_in_any_order_and_in_parts_give_one_curve() -> None:
    top, bottom, values = PROFILES["touching"]
    order = [2, 0, 3, 1]
    first = equal_area_spline(top, bottom, values).means(GLOBALSOILMAP_CM)[0]
    again = equal_area_spline(*(np.array(one)[order] for one in (top, bottom, values))).means(GLOBALSOILMAP_CM)[0]
    np.testing.assert_array_equal(first, again)
    whole, parts = (equal_area_spline(top, bottom, values).means(i)[0] for i in ([(0, 60)], [(0, 20), (20, 60)]))
    assert whole[0] == pytest.approx((20 * parts[0] + 40 * parts[1]) / 60)


def test_mass_is_that_of_the_fitted_means() -> None:
    for top, bottom, values in PROFILES.values():
        curve = equal_area_spline(top, bottom, values, smoothing=0.7)
        means, _ = curve.means(list(zip(top, bottom)))
        np.testing.assert_allclose(means, curve.fitted, rtol=1e-12)
        assert sum(curve.fitted) == pytest.approx(sum(values))  # the penalty moves mass, it makes none


@pytest.mark.parametrize(
    ("top", "bottom", "values", "message"),
    [
        ([0, 15], [20, 40], [1, 2], "horizons overlap"),
        ([0, 20], [20, 20], [1, 2], "bottom is not below its top"),
        ([0, np.nan], [20, 40], [1, 2], "a horizon has no depth"),
        ([0, 20], [20, 40], [1, np.inf], "a value is not finite"),
        ([0, 20], [20], [1, 2], "have shapes"),
        ([], [], [], "have shapes"),
    ],
)
def test_horizons_without_a_curve(top: list[float], bottom: list[float], values: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        equal_area_spline(top, bottom, values)


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "profile_id": ["a", "a", "a", "b", "c", "c", "d"],
            "top": [0, 20, 50, 0, 0, 15, 0],
            "bottom": [20, 50, 90, 3, 20, 40, 30],
            "Fe": [30.0, np.nan, 12.0, 22.0, 5.0, 6.0, np.nan],
        }
    )


def test_profiles_without_a_curve_are_counted_and_named_by_reason() -> None:
    with pytest.warns(UserWarning, match="of 4 profiles without a curve: 1 horizons overlap; 1 without a value of Fe"):
        means = depth_means(table(), ["Fe"], intervals=[(0, 5), (0, 10), (30, 60)])
    assert means["profile_id"].tolist() == ["a", "b", "c", "d"]
    assert means.loc[1, "Fe_0_5_cm"] == 22.0  # 3 of 5 cm
    assert np.isnan(means.loc[1, "Fe_0_10_cm"])  # 3 of 10 cm
    assert means.loc[2:, ["Fe_0_5_cm", "Fe_30_60_cm"]].isna().all(axis=None)
    a = equal_area_spline([0, 50], [20, 90], [30.0, 12.0]).means([(0, 5), (0, 10), (30, 60)])[0]
    assert means.loc[0, [interval_name("Fe", i) for i in ((0, 5), (0, 10), (30, 60))]].tolist() == a.tolist()
    assert means.attrs["problems"] == {"horizons overlap": 1, "without a value of Fe": 1}


def test_no_profile_with_a_usable_depth_is_an_error() -> None:
    with pytest.raises(InputError, match="none of 1 profiles has a usable depth for Fe: 1 horizons overlap"):
        depth_means(table().iloc[4:6], ["Fe"])
    with pytest.raises(InputError, match="none reaches the intervals"):
        depth_means(table().iloc[:3], ["Fe"], intervals=[(100, 200)])
    with pytest.raises(InputError, match="no column 'Fee'; did you mean 'Fe'"):
        depth_means(table(), ["Fee"])
    with pytest.raises(InputError, match="expected pairs"):
        depth_means(table(), ["Fe"], intervals=[(10, 0)])
    with pytest.raises(InputError, match="column 'top' has text such as"):
        depth_means(table().assign(top="0-20"), ["Fe"])


def test_means_outside_the_physical_range_are_counted() -> None:
    steep = pd.DataFrame({"profile_id": "a", "top": [0, 10, 20], "bottom": [10, 20, 60], "Fe": [90.0, 1.0, 1.0]})
    with pytest.warns(UserWarning, match="set to its limit: 1 of Fe"):
        means = depth_means(steep, ["Fe"], intervals=[(10, 25)], settings=SplineSettings(smoothing=0.001, low=0.9))
    assert means["Fe_10_25_cm"].tolist() == [0.9]
    assert means.attrs["limited"] == {"Fe": 1}


def test_settings_outside_their_ranges() -> None:
    with pytest.raises(InputError, match=r"smoothing is 0.*minimum_coverage is 2.*expected low < high"):
        SplineSettings(smoothing=0, minimum_coverage=2, low=1, high=0)


def test_fixed_sampling_depths_are_recognised_and_horizons_are_not() -> None:
    rng = np.random.default_rng(0)
    cores = [
        (i, u, v) for i in range(20) for u, v in zip((0, 10, 20, 40), (10, 20, 40, 60)) if v <= (60 if i % 3 else 40)
    ]
    pits = []
    for i in range(20, 30):
        edges = np.concatenate([[0], np.cumsum(rng.integers(8, 40, 4))])
        pits += [(i, u, v) for u, v in itertools.pairwise(edges)]
    names = ["profile_id", "top", "bottom"]
    design = sampling_depths(pd.DataFrame(cores + pits, columns=names))
    assert (design.fixed, design.boundaries) == (True, (0.0, 10.0, 20.0, 40.0, 60.0))
    assert design.share == pytest.approx(20 / 30)
    assert not sampling_depths(pd.DataFrame(pits, columns=names)).fixed
    assert not sampling_depths(pd.DataFrame(cores[:4], columns=names)).fixed  # one profile is no design
