"""Samples, screening, calibration, summaries: the sheet's vectors, the papers' arithmetic, and every refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.errors import InputError, MissingInputError, UnitsError
from tpsoil.ingest import read_samples
from tpsoil.micronutrients import (
    alteration_and_precipitation,
    alteration_of_samples,
    calibrate_xrf,
    censored_lognormal,
    censored_shares,
    compare_groups,
    representation,
    screen_outliers,
    summarise_elements,
    summarise_sites,
)
from tpsoil.micronutrients.mapping import property_of
from tpsoil.micronutrients.summaries import coefficient_of_variation
from tpsoil.micronutrients.training_rows import rows_of_element

# -- samples


def triplicates() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "site": ["a"] * 3 + ["b"] * 3 + ["c"] * 2,
            "lon": [90.0] * 3 + [91.0] * 3 + [92.0] * 2,
            "lat": [31.0] * 8,
            "biome": ["steppe"] * 3 + ["forest"] * 3 + ["steppe"] * 2,
            "Fe": [20000, 21000, 22000, 30000, 31000, np.nan, 18000, 18500],
            "Ni": ["40", "<25", "38", "NA", "<25", "41", "", "39"],
        }
    )


def test_wide_and_long_give_the_same_tidy_table(tmp_path: Path) -> None:
    wide = triplicates()
    tidy = read_samples(wide, ["Fe", "Ni"])
    assert list(tidy.columns) == [
        "site", "replicate", "element", "value", "detection_limit", "censored", "lon", "lat", "biome",
    ]  # fmt: skip
    assert tidy.attrs["counts"]["Ni"] == {"rows": 8, "valid": 4, "missing": 2, "censored": 2, "negative": 0}
    assert tidy[tidy["element"] == "Fe"]["replicate"].tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    nickel = tidy[tidy["element"] == "Ni"]
    assert nickel["detection_limit"].dropna().tolist() == [25, 25]
    assert nickel.loc[nickel["censored"], "value"].isna().all()
    long = wide.melt(id_vars=["site", "lon", "lat", "biome"], var_name="element", value_name="value")
    long.to_csv(tmp_path / "long.csv", index=False)
    again = read_samples(tmp_path / "long.csv")
    columns = ["site", "replicate", "element", "value", "detection_limit", "censored", "lon", "lat", "biome"]
    pd.testing.assert_frame_equal(again[columns], tidy[columns], check_dtype=False)


def test_units_and_limits_become_mg_kg() -> None:
    table = pd.DataFrame({"Fe": [2.1, 3.0, 2.4], "Zn": [51000, 48000, 900], "Zn_limit": [1000] * 3})
    tidy = read_samples(table, ["Fe", "Zn"], units={"Fe": "%", "Zn": "ug kg-1"})
    np.testing.assert_allclose(tidy["value"][:3], [21000, 30000, 24000])
    np.testing.assert_allclose(tidy["value"][3:5], [51, 48])
    assert tidy["censored"].tolist() == [False] * 5 + [True]
    assert tidy["detection_limit"].iloc[5] == pytest.approx(1.0)
    given = read_samples(table[["Zn"]], ["Zn"], units="ug kg-1", limits={"Zn": 50000})
    assert given["censored"].tolist() == [False, True, True]


def test_empty_cells_can_be_what_was_not_detected() -> None:
    table = pd.DataFrame({"Mo": [4.1, np.nan, 3.9, np.nan, np.nan]})
    assert read_samples(table, ["Mo"]).attrs["counts"]["Mo"]["missing"] == 3
    censored = read_samples(table, ["Mo"], empty="censored", limits={"Mo": 3.0})
    assert censored.attrs["counts"]["Mo"]["censored"] == 3
    assert censored["detection_limit"].tolist() == [3.0] * 5
    shares = censored_shares(censored)
    assert shares.loc["Mo", "censored_share"] == pytest.approx(0.6)
    assert not shares.loc["Mo", "truncated"]
    assert censored_shares(read_samples(table, ["Mo"])).loc["Mo", "truncated"]


def test_oxides_convert_and_are_never_taken_for_the_element() -> None:
    oxide = pd.DataFrame({"Fe2O3": [4.1, 5.2]})
    # 2 x 55.845 / (2 x 55.845 + 3 x 15.999) = 0.69943; as iron the numbers would be 43 % too high
    converted = read_samples(oxide, {"Fe": "Fe2O3"}, units="% Fe2O3")["value"].tolist()
    assert converted == pytest.approx([4.1e4 * 0.699431, 5.2e4 * 0.699431], rel=1e-6)
    as_iron = read_samples(oxide, {"Fe": "Fe2O3"}, units="% as Fe")["value"].tolist()
    assert as_iron == pytest.approx([4.1e4, 5.2e4])
    for units in ("%", "wt%", {"Fe": "%"}):
        with pytest.raises(UnitsError, match=r"column 'Fe2O3', which is named for Fe2O3.*'Fe': '.*% Fe2O3'.*0\.6994"):
            read_samples(oxide, {"Fe": "Fe2O3"}, units=units)
    with pytest.raises(UnitsError, match="named for Fe2O3"):
        read_samples(oxide, ["Fe2O3"], units="%", check_units=False)


@pytest.mark.parametrize(
    ("table", "options", "error", "words"),
    [
        ({"Fe": [np.nan, np.nan]}, {}, InputError, r"'Fe' has no valid value in 2 rows \(2 missing, 0 below"),
        ({"Ni": ["<5", "<5"]}, {}, InputError, r"'Ni' has no valid value in 2 rows \(0 missing, 2 below"),
        ({"Fe": [21000, -5, 22000]}, {}, InputError, r"'Fe' is negative in 1 rows \(line 3\).*negative='censor'"),
        ({"Fe": [2.1, 3.0, 2.4]}, {}, UnitsError, r"median of 2.4 mg kg-1.*ratio of 6.3e-05.*as if it were in %"),
        ({"Fe": [21.0, 30.0, 24.0]}, {}, UnitsError, "as if it were in g kg-1"),
        ({"Zn": [51000, 48000.0]}, {}, UnitsError, "as if it were in ug kg-1"),
        ({"Fe": [21000.0]}, {"units": "handfuls"}, UnitsError, "'handfuls' is not a known unit"),
        (
            {"Fe": [21000.0, 9_999_999, 22000]},
            {},
            UnitsError,
            r"exceeds 1 000 000 mg kg-1.*in 1 values \(line 3\), up to 9999999",
        ),
        ({"Fe": [21000.0, np.inf]}, {"check_units": False}, UnitsError, r"in 1 values \(line 3\), up to inf"),
        ({"Fe": [4.1, 5.2]}, {"units": "% MnO"}, UnitsError, "MnO has no Fe"),
        ({"Fe": [4.1, 5.2]}, {"units": "mg ha-1"}, UnitsError, "milligrams per hectare"),
        ({"Fe": ["many", "12"]}, {}, InputError, "text in line 2: 'many'"),
        ({"Fe": [1.0]}, {"site": "plot"}, InputError, "no column 'plot'"),
        ({"site": ["a", None], "Fe": [21000, 2]}, {}, InputError, "1 rows have no site"),
        ({"site": ["a", "a"], "replicate": [1, 1], "Fe": [21000, 22000]}, {}, InputError, "1 samples are given twice"),
    ],
)
def test_invalid_samples_are_rejected(table: dict, options: dict, error: type, words: str) -> None:
    frame = pd.DataFrame(table)
    element = next(c for c in ("Fe", "Zn", "Ni") if c in frame)
    with pytest.raises(error, match=words):
        read_samples(frame, [element], **options)


def test_samples_need_a_file_and_names() -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        read_samples("nowhere.csv", ["Fe"])
    with pytest.raises(InputError, match="which columns are elements"):
        read_samples(triplicates())
    with pytest.raises(InputError, match="no column 'Fee'; did you mean 'Fe'"):
        read_samples(triplicates(), ["Fee"])
    right = read_samples(pd.DataFrame({"Fe": [2.1, 3.0]}), ["Fe"], check_units=False)
    assert right["value"].tolist() == [2.1, 3.0]
    censored = read_samples(pd.DataFrame({"Fe": [21000, -5.0]}), ["Fe"], negative="censor")
    assert censored["censored"].tolist() == [False, True]
    assert censored.attrs["counts"]["Fe"]["negative"] == 1


# -- outliers


@pytest.mark.parametrize(("n", "largest"), [(10, 2.846050), (11, 3.015113)])
def test_ten_values_can_never_trigger(n: int, largest: float) -> None:
    values = np.array([0.0] * (n - 1) + [1e6])
    z = np.abs(values - values.mean()) / values.std(ddof=1)
    assert z.max() == pytest.approx(largest, abs=1e-6)
    result = screen_outliers(values)
    assert int(result.outlier.sum()) == (n > 10)
    assert bool(result.counts.loc["value", "can_trigger"]) is (n > 10)


def test_three_sd_is_strict_one_pass_and_ignores_missing() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(50, 5, 300), [90, 400, np.nan]])
    result = screen_outliers(x)
    m, s = np.nanmean(x), np.nanstd(x, ddof=1)
    np.testing.assert_array_equal(result.outlier, np.abs(x - m) > 3 * s)  # NaN compares false
    assert result.counts.loc["value", "before"] == 302
    assert result.counts.loc["value", "after"] == 301  # 400 hides 90 from a single pass
    again = screen_outliers(x, iterate=True)
    assert again.counts.loc["value", "removed"] >= 2
    assert again.outlier.iloc[300]
    assert screen_outliers(x, method="mad").outlier[[300, 301]].all()
    # A value exactly on the fence stays: mean 0, sd 1, threshold 1.
    edge = np.array([-1.0, 1.0, -1.0, 1.0, 0.0])
    assert not screen_outliers(edge, threshold=1.0).outlier.any()
    assert edge.std(ddof=1) == 1.0


def test_logarithms_keep_the_tail_of_a_trace_element() -> None:
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(3, 0.6, 4000))
    plain, log = screen_outliers(values), screen_outliers(values, log=True)
    assert plain.counts.loc["value", "share"] > 0.012  # the study removed 2.75 % of Cu, a normal loses 0.27 %
    assert log.counts.loc["value", "share"] < 0.006
    assert log.counts.loc["value", "normal_share"] == pytest.approx(0.0026998, abs=1e-6)


def test_screening_goes_by_element_and_leaves_its_input_alone() -> None:
    tidy = pd.DataFrame(
        {
            "site": np.arange(60),
            "element": ["Fe"] * 30 + ["Zn"] * 30,
            "value": [20000.0] * 29 + [90000.0] + [50.0, 51.0] * 15,
        }
    )
    before = tidy.copy()
    result = screen_outliers(tidy)
    pd.testing.assert_frame_equal(tidy, before)
    assert result.counts["removed"].to_dict() == {"Fe": 1, "Zn": 0}
    assert len(result.kept) == 59
    only = screen_outliers(tidy, elements=["Zn"])
    assert len(only.kept) == 60
    for bad, words in [({"method": "iqr"}, r"expected one of \['sd', 'mad'\]"), ({"threshold": 0}, "threshold is 0"),
                       ({"elements": ["Znn"]}, "did you mean 'Zn'")]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            screen_outliers(tidy, **bad)
    with pytest.raises(InputError, match="half of the values of 'value' or more are equal.*use method='sd'"):
        screen_outliers([10.0] * 6 + [11.0, 12.0, 9.0], method="mad")
    assert not screen_outliers([10.0] * 6, method="mad").outlier.any()
    with pytest.raises(InputError, match="no valid value"):
        screen_outliers([np.nan, np.nan])
    with pytest.raises(InputError, match="0 or negative in 1 rows"):
        screen_outliers([1.0, 0.0], log=True)
    with pytest.raises(InputError, match="no column 'element'"):
        screen_outliers(pd.DataFrame({"site": [1], "value": [2.0]}))


# -- calibration

XRF, ICP = np.array([10.0, 20, 30, 40, 50]), np.array([14.0, 26, 33, 49, 58])


def test_lines_of_the_sheet() -> None:
    ols = calibrate_xrf(XRF, ICP, min_pairs=5)
    assert (ols.slope, ols.intercept) == pytest.approx((1.11, 2.7))
    assert ols.r2 == pytest.approx(0.9888443018, abs=1e-10)
    assert calibrate_xrf(XRF, ICP, method="rma", min_pairs=5).slope == pytest.approx(1.116243701, abs=1e-9)
    deming = calibrate_xrf(XRF, ICP, method="deming", min_pairs=5)
    assert deming.slope == pytest.approx(1.116931597, abs=1e-9)
    assert deming.intercept == pytest.approx(2.492052099, abs=1e-9)
    # The line of XRF on ICP, turned around, is another line.
    wrong = 1 / calibrate_xrf(ICP, XRF, min_pairs=5).slope
    assert wrong == pytest.approx(1 / 0.8908507, abs=1e-6)
    assert abs(wrong - ols.slope) > 0.01


def test_prediction_error_is_that_of_statsmodels() -> None:
    import statsmodels.api as sm

    line = calibrate_xrf(XRF, ICP, min_pairs=5)
    new = np.array([5.0, 30.0, 70.0])
    result = line.apply(new)
    fit = sm.OLS(ICP, sm.add_constant(XRF)).fit()
    theirs = fit.get_prediction(sm.add_constant(new)).summary_frame()
    half = (theirs["obs_ci_upper"] - theirs["obs_ci_lower"]) / 2
    from scipy.stats import t

    np.testing.assert_allclose(result["prediction_sd"] * t.ppf(0.975, 3), half, rtol=1e-10)
    assert result["extrapolated"].tolist() == [True, False, True]
    below = calibrate_xrf(XRF, ICP - 30, min_pairs=5).apply(pd.Series([5.0, np.nan, 40.0], index=list("abc")))
    assert below["negative"].tolist() == [True, False, False]
    assert list(below.index) == list("abc")
    assert np.isnan(below.loc["b", "value"])


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 3), st.floats(-20, 20), st.integers(0, 10_000))
def test_every_line_finds_an_exact_relation(slope: float, intercept: float, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(10, 100, 12)
    for method in ("ols", "deming", "rma"):
        line = calibrate_xrf(x, intercept + slope * x, method=method)
        assert line.slope == pytest.approx(slope, rel=1e-7)
        assert line.intercept == pytest.approx(intercept, abs=1e-5)


@pytest.mark.parametrize(
    ("xrf", "icp", "options", "words"),
    [
        (XRF, ICP, {}, "5 samples have both an XRF and an ICP value, expected 10"),
        (np.full(12, 3.0), np.arange(12.0), {}, "all 12 XRF values are equal"),
        (np.arange(12.0), np.arange(11.0), {}, "expected one shape"),
        (np.arange(12.0), np.arange(12.0), {"method": "theil"}, r"expected one of \['ols', 'deming', 'rma'\]"),
        (np.arange(12.0), np.arange(12.0), {"variance_ratio": 0}, "variance_ratio is 0"),
        (np.r_[np.arange(9.0), np.nan], np.arange(10.0), {}, "9 samples have both"),
    ],
)
def test_invalid_calibrations_are_rejected(xrf: np.ndarray, icp: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        calibrate_xrf(xrf, icp, **options)


# -- summaries


def test_sites_then_elements() -> None:
    tidy = read_samples(triplicates(), ["Fe", "Ni"])
    sites = summarise_sites(tidy)
    iron = sites[sites["element"] == "Fe"].set_index("site")
    assert iron["mean"].to_dict() == {"a": 21000, "b": 30500, "c": 18250}
    assert iron.loc["a", "sd"] == pytest.approx(1000)
    assert iron.loc["a", "cv"] == pytest.approx(100 * 1000 / 21000)
    assert iron["n"].tolist() == [3, 2, 2]
    assert iron["biome"].tolist() == ["steppe", "forest", "steppe"]
    elements = summarise_elements(sites)
    assert elements.loc["Fe", "mean"] == pytest.approx(np.mean([21000, 30500, 18250]))
    assert elements.loc["Fe", "sd"] == pytest.approx(np.std([21000, 30500, 18250], ddof=1))
    pooled = np.sqrt((2 * 1000**2 + 1 * 30500.0 * 0 + (30000 - 30500) ** 2 * 2 + (18000 - 18250) ** 2 * 2) / 4)
    assert elements.loc["Fe", "within_sd"] == pytest.approx(pooled)
    nickel = sites[sites["element"] == "Ni"].set_index("site")
    assert nickel[["n", "n_censored", "n_missing"]].values.tolist() == [[2, 1, 0], [1, 1, 1], [1, 0, 1]]


def test_a_site_whose_replicates_are_all_missing_stays_and_is_counted() -> None:
    table = triplicates()
    table.loc[table["site"] == "b", "Fe"] = np.nan
    sites = summarise_sites(read_samples(table, ["Fe"]))
    lost = sites[sites["site"] == "b"].iloc[0]
    assert lost["n"] == 0
    assert np.isnan(lost["mean"])
    assert sites.attrs["empty_sites"] == {"Fe": 1}
    assert summarise_elements(sites).loc["Fe", "sites"] == 2
    with pytest.raises(InputError, match="1 values of Fe are negative"):
        summarise_sites(pd.DataFrame({"site": ["a"], "element": "Fe", "value": [-1.0]}))


def test_censored_lognormal_finds_the_population_and_detects_alone_do_not() -> None:
    rng = np.random.default_rng(3)
    truth = np.exp(rng.normal(3.0, 0.5, 4000))
    limit = 18.0
    table = pd.DataFrame({"site": np.arange(4000), "element": "Ni", "value": np.where(truth < limit, np.nan, truth)})
    table["censored"], table["detection_limit"] = truth < limit, limit
    result = censored_lognormal(table).loc["Ni"]
    assert result["mean"] == pytest.approx(np.exp(3 + 0.125), rel=0.02)
    assert result["log_sd"] == pytest.approx(0.5, rel=0.04)
    assert result["detects_mean"] > 1.15 * result["mean"]
    with pytest.raises(InputError, match="without a positive detection limit"):
        censored_lognormal(table.assign(detection_limit=np.nan))


def test_representation_of_classes() -> None:
    sites = ["steppe"] * 30 + ["forest"] * 10 + ["shrub"] * 10
    result = representation(sites, {"steppe": 50.0, "forest": 25.0, "shrub": 20.0, "desert": 5.0})
    assert result.loc["steppe", "ratio"] == pytest.approx(0.6 / 0.5)
    assert result.attrs["classes_without_site"] == ["desert"]
    grid = np.array([[1, 1, 2, 2], [1, 1, 2, np.nan]])
    by_map = representation([1, 1, 1, 2], grid, {1: "steppe", 2: "forest"})
    assert by_map.loc["steppe", "area_share"] == pytest.approx(4 / 7)
    from scipy.stats import chisquare

    assert by_map.attrs["chi2"] == pytest.approx(chisquare([3, 1], [16 / 7, 12 / 7]).statistic)
    with pytest.raises(InputError, match="0 sites"):
        representation([], {"a": 1.0})


# -- the published numbers, by arithmetic (Huo et al.: final abstract and tracked-changes preprint)

PUBLISHED = {  # mean, sd, printed CV, samples before and after screening
    "Fe": (22864.30, 7589.01, 33, 1660, 1654),
    "Mn": (576.74, 206.44, 36, 1646, 1630),
    "Zn": (27.24, 8.55, 31, 1661, 1655),
    "V": (56.99, 19.33, 34, 867, 857),
    "Cu": (25.32, 9.28, 37, 946, 920),
    "Ni": (49.35, 10.98, 22, 181, 180),
    "Mo": (4.63, 1.14, 25, 123, 120),
}
EXACT_CV = {"Fe": 33.19, "Mn": 35.79, "Zn": 31.39, "V": 33.92, "Cu": 36.65, "Ni": 22.25, "Mo": 24.62}


@pytest.mark.parametrize("element", PUBLISHED)
def test_published_coefficients_of_variation(element: str) -> None:
    mean, sd, printed, _, _ = PUBLISHED[element]
    cv = coefficient_of_variation(mean, sd)
    assert cv == pytest.approx(EXACT_CV[element], abs=0.005)
    assert round(cv) == printed


def test_published_removals() -> None:
    removed = {e: 100 * (raw - n) / raw for e, (_, _, _, raw, n) in PUBLISHED.items()}
    assert removed["Cu"] == pytest.approx(2.75, abs=0.005)
    assert removed["Mo"] == pytest.approx(2.44, abs=0.005)
    # Every other removal: 0.36, 0.97, 0.36, 1.15, 0.55 %; a normal distribution loses 0.27 %.
    assert [round(removed[e], 2) for e in ("Fe", "Mn", "Zn", "V", "Ni")] == [0.36, 0.97, 0.36, 1.15, 0.55]


SAMPLES = {"steppe": 569, "meadow": 499, "forest": 265, "shrub": 190, "desert": 101, "cropland": 36}
SITES = {"steppe": 180, "meadow": 154, "forest": 87, "shrub": 64, "desert": 29, "cropland": 12}
IRON = {"shrub": 26264.11, "forest": 26090.66, "desert": 19762.66, "steppe": 19852.37}
VANADIUM = {"forest": 63.70, "shrub": 61.94, "cropland": 60.02, "meadow": 56.07, "desert": 52.80, "steppe": 50.22}
NICKEL = {"meadow": 54.34, "shrub": 52.66, "steppe": 48.78, "cropland": 48.22, "desert": 43.87, "forest": 41.73}


def test_published_counts_and_excesses() -> None:
    assert sum(SAMPLES.values()) == 1660
    assert sum(SITES.values()) == 526
    excess = [100 * (IRON[high] / IRON[low] - 1) for high in ("shrub", "forest") for low in ("desert", "steppe")]
    assert min(excess) == pytest.approx(31.4, abs=0.05)
    assert max(excess) == pytest.approx(32.9, abs=0.05)
    weighted = sum(VANADIUM[b] * SAMPLES[b] for b in SAMPLES) / 1660
    assert weighted == pytest.approx(55.84, abs=0.01)
    mean_nickel = sum(NICKEL[b] * SAMPLES[b] for b in SAMPLES) / 1660
    assert mean_nickel == pytest.approx(49.46, abs=0.01)


def test_published_contradictions_are_documented() -> None:
    """What the texts say against themselves; nobody should tune a model to the wrong side."""
    # Three replicates at each of 526 sites make 1578 samples, not 1660: some sites have more.
    assert 3 * sum(SITES.values()) == 1578 < 1660
    # Zn has more raw values (1661) than there are samples (1660).
    assert PUBLISHED["Zn"][3] > 1660
    # The largest excess of V between biomes is 26.8 %, the text says 25 %.
    assert 100 * (max(VANADIUM.values()) / min(VANADIUM.values()) - 1) == pytest.approx(26.8, abs=0.05)
    # The text calls Ni of shrub low; by its own table shrub is second of six.
    assert sorted(NICKEL, key=NICKEL.get, reverse=True).index("shrub") == 1
    # 1 - RMSE^2 / SD^2 of the struck models: their R2 cannot be the efficiency on the same data.
    assert 1 - (96.28 / PUBLISHED["Mn"][1]) ** 2 == pytest.approx(0.782, abs=0.001)  # printed R2 0.65
    assert 1 - (9.69 / PUBLISHED["Ni"][1]) ** 2 == pytest.approx(0.221, abs=0.001)  # printed R2 0.64
    # The older table has the same 1660 samples and 526 sites in five biomes, without any cropland.
    older = {"steppe": (578, 183), "meadow": (505, 156), "forest": (280, 92), "shrub": (193, 65), "desert": (104, 30)}
    assert [sum(v[k] for v in older.values()) for k in (0, 1)] == [1660, 526]
    # Map minima of Ni (44.28) and Mo (3.88) lie within half an sd of their means: detects only, cut at a limit.
    for element, lowest in (("Ni", 44.28), ("Mo", 3.88)):
        mean, sd, *_ = PUBLISHED[element]
        assert (mean - lowest) / sd < 0.7
        assert PUBLISHED[element][4] / 1660 < 0.11


def test_a_column_with_the_name_of_a_result_is_rejected() -> None:
    """It would replace the number of replicates."""
    table = pd.DataFrame({"site": ["a", "a", "b"], "element": "Zn", "value": [20.0, 30.0, 41.0], "n": [7.0, 7.0, 8.0]})
    with pytest.raises(InputError, match="column 'n' has the name of a result"):
        summarise_sites(table)
    assert summarise_sites(table, keep=[])["n"].tolist() == [2, 1]


def test_detection_limits_are_of_the_measured_calcium() -> None:
    """5 % CaCO3 have all calcium of the first sample; the others are below detection, one as a laboratory writes it."""
    table = pd.DataFrame({"Al": 65000.0, "Ca": [20000.0, 50.0, -100.0], "Na": 14000.0, "K": 20000.0, "CaCO3": 0.0})
    table.loc[0, "CaCO3"] = 5.0
    columns = {symbol: symbol for symbol in ("Al", "Ca", "Na", "K")}
    for limits, status in (({"Ca": 100.0}, [0, 2, 2]), (None, [0, 0, 2])):
        index = alteration_of_samples(table, columns, correction="none", carbonate="CaCO3", detection_limits=limits)
        assert index["alteration_status"].tolist() == status
        assert index["chemical_index_of_alteration"].notna().tolist() == [code == 0 for code in status]


def test_rows_without_a_site_are_rejected() -> None:
    table = pd.DataFrame({"site": ["a", None, "b", "c"], "element": "Zn", "value": [20.0, 30.0, 41.0, 38.0]})
    table["group"], table["annual_precipitation"], table["chemical_index_of_alteration"] = "x", table["value"], 0.5
    for function in (summarise_sites, compare_groups, alteration_and_precipitation):
        with pytest.raises(InputError, match=f"{function.__name__}: 1 of 4 rows have no site; name their site"):
            function(table)


def test_a_limit_in_the_value_of_a_censored_row_is_no_value() -> None:
    """Tables often have the detection limit there; it was averaged, screened and mapped as if it were measured."""
    rng = np.random.default_rng(0)
    value, below = rng.lognormal(3, 0.5, 60), np.arange(60) % 5 == 0
    table = pd.DataFrame({
        "site": np.repeat(np.arange(20), 3), "element": "Ni", "value": np.where(below, np.nan, value),
        "detection_limit": 40.0, "censored": below,
    })  # fmt: skip
    limits = table.assign(value=table["value"].fillna(40.0))
    pd.testing.assert_frame_equal(summarise_sites(limits), summarise_sites(table))
    pd.testing.assert_frame_equal(censored_shares(limits), censored_shares(table))
    pd.testing.assert_frame_equal(screen_outliers(limits).counts, screen_outliers(table).counts)
    for treatment in ("drop", "half", "limit"):
        options = (0.3, False, treatment)
        one, two = (rows_of_element(rows, "Ni", options, property_of("Ni")) for rows in (limits, table))
        pd.testing.assert_frame_equal(one[0], two[0])
        assert one[1] == two[1]
