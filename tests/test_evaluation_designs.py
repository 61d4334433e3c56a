"""Designs, distances and uncertainty: against R (survey, gstat, spdep), transcriptions and simulated truths."""

from __future__ import annotations

import io
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from tpsoil.errors import InputError
from tpsoil.evaluation import (
    CensoredObservations,
    SampleDesign,
    Variogram,
    area_mean,
    compare_models,
    conformal_quantile,
    crps,
    density_ratio,
    distance_curves,
    fit_variogram,
    group_quantiles,
    intensity_weights,
    interval_coverage,
    make_folds,
    map_accuracy,
    match_folds,
    moran,
    nearest_distances,
    pit_values,
    quantile_coverage,
    score_intervals,
)
from tpsoil.evaluation.distances import EARTH_RADIUS_M, FoldDistances
from tpsoil.forest.block_sides import Blocks, correlated_blocks

SURVEY = """\
stratum,cluster,x,y,prob,N,M
a,0,42.2,33.5,0.1,10,8
a,0,14.7,23.0,0.1,10,8
a,0,32.5,31.3,0.1,10,8
a,0,26.6,24.5,0.1,10,8
a,1,27.3,25.3,0.1,10,10
a,1,28.7,27.7,0.1,10,10
a,1,17.9,15.6,0.1,10,10
a,1,28.6,22.3,0.1,10,10
a,2,24.8,25.6,0.1,10,12
a,2,49.9,45.5,0.1,10,12
a,2,31.4,35.0,0.1,10,12
a,2,27.9,30.3,0.1,10,12
b,3,28.3,26.1,0.2,15,8
b,3,26.0,27.0,0.2,15,8
b,3,23.7,21.2,0.2,15,8
b,3,27.7,22.3,0.2,15,8
b,4,32.9,35.9,0.2,15,10
b,4,28.6,32.4,0.2,15,10
b,4,35.7,35.7,0.2,15,10
b,4,28.8,28.5,0.2,15,10
b,5,30.1,29.7,0.2,15,12
b,5,39.3,28.9,0.2,15,12
b,5,33.3,33.7,0.2,15,12
b,5,27.0,28.0,0.2,15,12
c,6,28.9,22.5,0.05,30,8
c,6,33.2,31.0,0.05,30,8
c,6,41.6,34.6,0.05,30,8
c,6,28.4,29.2,0.05,30,8
c,7,28.5,18.3,0.05,30,10
c,7,36.0,27.6,0.05,30,10
c,7,24.7,23.5,0.05,30,10
c,7,28.2,27.6,0.05,30,10
c,8,35.3,30.1,0.05,30,12
c,8,33.5,33.7,0.05,30,12
c,8,30.5,33.7,0.05,30,12
c,8,34.0,33.7,0.05,30,12
"""
POINTS = """\
x,y,z
96.5,70.8,0.64
21.4,54.5,1.07
70.6,5.2,-0.94
68.0,36.8,-1.07
59.0,67.0,-1.19
66.9,52.3,-0.74
55.5,19.8,-1.06
49.5,12.5,0.04
48.1,53.6,-0.07
77.4,39.4,-0.56
2.0,52.8,0.11
20.5,74.1,0.73
38.9,38.0,0.63
90.9,39.3,-0.39
34.9,34.8,0.67
48.1,9.3,-0.05
54.7,92.1,-0.52
56.3,74.4,-0.63
94.7,84.2,-0.22
74.4,81.3,-1.03
82.0,25.4,-1.37
48.2,34.3,-0.12
26.2,57.2,0.63
31.8,61.9,1.19
58.2,10.4,-0.29
44.2,39.0,-0.39
70.7,8.8,-0.96
16.9,51.3,0.87
40.5,66.5,0.11
33.3,19.7,0.96
93.2,24.4,-0.21
14.7,28.0,0.3
34.0,22.5,0.69
53.6,93.7,-0.46
12.6,41.5,0.78
66.8,88.5,-1.34
100.0,14.4,0.56
53.7,88.1,-0.2
5.3,58.8,0.0
17.4,76.8,0.72
93.8,53.8,-0.05
0.9,6.4,-0.11
41.6,84.7,0.88
23.7,66.9,1.06
40.5,26.5,0.12
70.4,30.8,-1.24
37.2,76.5,0.6
49.5,78.4,0.53
51.6,16.0,-0.35
44.4,87.3,0.22
56.5,96.5,-0.43
0.1,34.0,-0.01
76.9,68.6,-0.23
56.1,66.4,-0.72
87.6,68.4,-0.21
54.7,56.2,-0.44
66.6,32.4,-0.78
66.9,61.5,-1.32
78.6,48.0,-0.33
2.7,53.7,0.14
"""


def survey() -> pd.DataFrame:
    return pd.read_csv(io.StringIO(SURVEY))


def points() -> tuple[np.ndarray, np.ndarray]:
    table = pd.read_csv(io.StringIO(POINTS))
    return table[["x", "y"]].to_numpy(), table["z"].to_numpy()


def clustered(rng: np.random.Generator, clusters: int = 12, each: int = 25) -> np.ndarray:
    centres = rng.uniform(0, 100, (clusters, 2)).repeat(each, axis=0)
    return centres + rng.normal(0, 2, centres.shape)


# --- distances and folds


@pytest.mark.parametrize("degrees", [False, True])
def test_distances_equal_all_pairs(degrees: bool) -> None:
    rng = np.random.default_rng(4)
    samples, area = rng.uniform(-60, 60, (80, 2)), rng.uniform(-60, 60, (200, 2))
    folds = rng.integers(0, 3, 80)

    def far(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if not degrees:
            return cdist(a, b)
        (lon, lat), (lon2, lat2) = np.radians(a).T, np.radians(b).T
        cosine = np.sin(lat)[:, None] * np.sin(lat2) + np.cos(lat)[:, None] * np.cos(lat2) * np.cos(lon[:, None] - lon2)
        return EARTH_RADIUS_M * np.arccos(np.clip(cosine, -1, 1))

    np.testing.assert_allclose(nearest_distances(area, samples, degrees=degrees), far(area, samples).min(axis=1))
    expected = np.where(folds[:, None] != folds, far(samples, samples), np.inf).min(axis=1)
    for neighbours in (1, 16, 79):
        across = FoldDistances(samples, degrees=degrees, neighbours=neighbours)
        np.testing.assert_allclose(across.across(folds), expected, rtol=1e-9)


def knndm_of_the_paper(samples: np.ndarray, area: np.ndarray, k: int, max_share: float) -> float:
    """Sections 2.2 and 2.3 of Linnenbrink et al. (2024), all pairs; the Wasserstein distance that it reaches."""
    from scipy.cluster.hierarchy import fcluster, linkage

    distance = cdist(samples, samples)
    to_area = cdist(area, samples).min(axis=1)
    tree = linkage(samples, method="ward")
    centred = samples - samples.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    best = np.inf
    for count in sorted({round(x) for x in np.exp(np.linspace(np.log(k), np.log(len(samples) - 2), 100))}):
        cluster = fcluster(tree, count, criterion="maxclust")
        labels = np.unique(cluster)
        order = sorted(labels, key=lambda c: float((centred[cluster == c] @ axis).mean()))
        fold, large = {}, 0
        for c in order:
            if (cluster == c).sum() >= len(samples) / k:
                fold[c] = large
                large += 1
        for place, c in enumerate(c for c in order if c not in fold):
            fold[c] = large + place % (k - large)
        code = np.array([fold[c] for c in cluster])
        if np.bincount(code).max() / len(samples) > max_share or len(np.unique(code)) < 2:
            continue
        across = np.where(code[:, None] != code, distance, np.inf).min(axis=1)
        best = min(best, float(wasserstein_distance(across, to_area)))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_matched_folds_are_not_worse_than_the_papers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ("clustered", "random", "half")[seed % 3]
    samples = {"clustered": clustered(rng), "random": rng.uniform(0, 100, (200, 2)),
               "half": np.vstack([clustered(rng, 5), rng.uniform(0, 100, (60, 2))])}[kind]  # fmt: skip
    area = rng.uniform(0, 100, (1500, 2))
    matched = match_folds(samples, area, n_folds=10)
    assert matched.wasserstein <= knndm_of_the_paper(samples, area, 10, 0.5) + 1e-9
    assert matched.wasserstein <= matched.random_wasserstein
    across = FoldDistances(samples).across(matched.folds)
    assert matched.wasserstein == pytest.approx(wasserstein_distance(across, nearest_distances(area, samples)))
    assert np.bincount(matched.folds).max() <= 0.5 * len(samples) + 1
    if kind == "clustered":
        assert matched.wasserstein < 0.5 * matched.random_wasserstein
        assert matched.clustered_p < 1e-6
    assert set(np.unique(matched.folds)) == set(range(10))


def test_replicates_share_a_matched_fold_and_degrees_are_distances_on_the_sphere() -> None:
    rng = np.random.default_rng(1)
    sites = np.column_stack([rng.uniform(80, 100, 60), rng.uniform(28, 38, 60)])
    samples, site = sites.repeat(3, axis=0), np.arange(60).repeat(3)
    area = np.column_stack([rng.uniform(80, 100, 500), rng.uniform(28, 38, 500)])
    matched = match_folds(samples, area, n_folds=5, groups=site, degrees=True)
    assert all(len(set(matched.folds[site == s])) == 1 for s in range(60))
    assert 1000 < matched.wasserstein < 200_000  # metres
    assert "MatchedFolds(5 folds of 180 rows" in repr(matched)


def test_many_samples_use_small_clusters() -> None:
    rng = np.random.default_rng(2)
    samples = clustered(rng, 100, 60)
    matched = match_folds(samples, rng.uniform(0, 100, (20_000, 2)), n_folds=5)
    assert matched.wasserstein < 0.5 * matched.random_wasserstein


def test_distance_curves_show_which_design_resembles_the_map() -> None:
    rng = np.random.default_rng(3)
    samples, area = clustered(rng), rng.uniform(0, 100, (1000, 2))
    matched = match_folds(samples, area, n_folds=10)
    curves = distance_curves(samples, area, {"random": rng.integers(0, 10, len(samples)), "knndm": matched.folds})
    table = curves.table()
    assert table["distance"].is_monotonic_increasing
    assert (table.drop(columns="distance").diff().dropna() >= 0).all(axis=None)
    assert curves.wasserstein["knndm"] < curves.wasserstein["random"]
    assert "knndm" in repr(curves)


@pytest.mark.parametrize(
    ("samples", "area", "options", "message"),
    [
        (np.zeros((3, 2)), np.ones((5, 2)), {"n_folds": 5}, "3 sites cannot fill 5 folds"),
        (np.random.default_rng(0).random((20, 2)), np.full((5, 2), 1e6), {}, "check the CRS of both"),
        (np.random.default_rng(0).random((20, 2)), np.array([[np.nan, 1.0]]), {}, "have no coordinates"),
        (np.random.default_rng(0).random((20, 2)), np.ones((5, 2)), {"max_share": 0.01}, "expected 0.1"),
        (np.full((20, 2), 95.0), np.ones((5, 2)), {"degrees": True}, "expected -90..90"),
        (np.ones((20, 3)), np.ones((5, 2)), {}, "expected"),
    ],
)
def test_what_cannot_be_matched(samples: np.ndarray, area: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_folds(samples, area, **options)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, "", "  "], ids=["None", "NaN", "NA", "empty", "blank"])
def test_rows_without_a_group_are_rejected_alike(missing: object) -> None:
    rng = np.random.default_rng(4)
    place, groups = rng.uniform(0, 100, (40, 2)), [f"site {k // 2}" for k in range(40)]
    groups[3] = groups[17] = missing  # type: ignore[call-overload]
    expected = r"2 rows have no group \(rows 3, 17 of 40\)"
    with pytest.raises(InputError, match=expected):
        match_folds(place, rng.uniform(0, 100, (200, 2)), n_folds=5, groups=groups)
    for kind, options in (("group", {}), ("block", {"east": place[:, 0], "north": place[:, 1]})):
        with pytest.raises(InputError, match=expected):
            make_folds(40, kind, groups=groups, **options)
    with pytest.raises(InputError, match=expected):
        CensoredObservations(rng.random(40), np.zeros(40, bool), groups)


def test_labels_of_groups_may_be_numbers_or_text() -> None:
    rng = np.random.default_rng(5)
    place, area = rng.uniform(0, 100, (40, 2)), rng.uniform(0, 100, (200, 2))
    number = np.arange(40) // 2
    by_number = match_folds(place, area, n_folds=5, groups=number).folds
    for groups in ([f"{k:02d}" for k in number], pd.Series(number, dtype="Int64"), pd.Categorical(number)):
        np.testing.assert_array_equal(match_folds(place, area, n_folds=5, groups=groups).folds, by_number)


# --- probability samples: R's survey 4.1 on the table above


def design(**options: object) -> SampleDesign:
    return SampleDesign(**options)  # type: ignore[arg-type]


def test_estimates_by_design_equal_survey() -> None:
    d = survey()
    y = d["y"].to_numpy()
    simple = design(probability=np.full(36, 0.1))
    cases = {
        "simple": (simple, 28.7361111111, 0.967915062338, 35),
        "finite": (
            design(probability=np.full(36, 0.1), primary_units=np.full(36, 360)), 28.7361111111, 0.918244853572, 35,
        ),
        "strata": (design(probability=d["prob"], stratum=d["stratum"]), 28.6976190476, 1.07590287503, 33),
        "clusters": (
            design(probability=d["prob"], stratum=d["stratum"], cluster=d["cluster"]), 28.6976190476, 1.74221746978, 6,
        ),
        "two stages": (
            design(probability=(3 / d["N"]) * (4 / d["M"]), stratum=d["stratum"], cluster=d["cluster"],
                   primary_units=d["N"], secondary_units=d["M"]), 29.098030303, 1.61340711237, 6,
        ),
    }  # fmt: skip
    for name, (how, value, se, df) in cases.items():
        estimate = how.estimate(y)
        assert estimate.value == pytest.approx(value, rel=1e-9), name
        assert estimate.se == pytest.approx(se, rel=1e-9), name
        assert estimate.df == df, name
    strata = cases["strata"][0].estimate(y)
    assert (strata.lower, strata.upper) == pytest.approx((26.5086781898, 30.8865599054))
    moved = cases["strata"][0].estimate(y, predicted=d["x"], map_mean=31.0, method="difference")
    assert (moved.value, moved.se) == pytest.approx((28.7738095238, 0.801615625348))
    regression = simple.estimate(y, predicted=d["x"], map_mean=31.0, method="regression")
    assert (regression.value, regression.se) == pytest.approx((29.1073099502, 0.615862327206))


def test_intervals_by_design_cover_the_truth() -> None:
    rng = np.random.default_rng(5)
    population = np.exp(rng.normal(3, 0.5, 5000))
    maps = population + rng.normal(0, 8, 5000)
    covered = {"mean": 0, "difference": 0, "regression": 0}
    width = dict.fromkeys(covered, 0.0)
    for _ in range(120):
        rows = rng.permutation(5000)[:120]
        how = SampleDesign(np.full(120, 120 / 5000), primary_units=np.full(120, 5000))
        for method in covered:
            extra = {} if method == "mean" else {"predicted": maps[rows], "map_mean": float(maps.mean())}
            e = how.estimate(population[rows], method=method, level=0.9, **extra)  # type: ignore[arg-type]
            covered[method] += e.lower <= population.mean() <= e.upper
            width[method] += e.upper - e.lower
    assert all(0.82 < count / 120 < 0.97 for count in covered.values()), covered
    assert width["regression"] < 0.8 * width["mean"]


def test_accuracy_of_a_map_from_a_probability_sample() -> None:
    rng = np.random.default_rng(6)
    observed, predicted = rng.normal(size=50), rng.normal(size=50)
    table = map_accuracy(SampleDesign(np.full(50, 0.01)), observed, predicted)
    error = predicted - observed
    assert table.loc["bias", "value"] == pytest.approx(error.mean())
    assert table.loc["bias", "se"] == pytest.approx(error.std(ddof=1) / np.sqrt(50))
    assert table.loc["rmse", "value"] == pytest.approx(np.sqrt((error**2).mean()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": []}, "is no probability sample"),
        ({"probability": [0.1, np.nan]}, "is no probability sample"),
        ({"probability": [10.0, 20.0]}, "pass 1 / weight"),
        ({"probability": [0.1, 0.1], "stratum": ["a", "b"]}, "one primary unit"),
        ({"probability": [0.1, 0.1], "stratum": ["a"]}, "expected"),
        ({"probability": [0.1, 0.1], "primary_units": [1, 1]}, "below the number sampled"),
        ({"probability": [0.1, 0.1], "secondary_units": [5, 5]}, "without cluster"),
    ],
)
def test_no_probability_sample(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SampleDesign(**options)


def test_a_map_is_needed_or_not_used() -> None:
    how = SampleDesign([0.1, 0.1, 0.1])
    with pytest.raises(InputError, match="needs predicted"):
        how.estimate([1, 2, 3], method="difference")
    with pytest.raises(InputError, match="does not use"):
        how.estimate([1, 2, 3], predicted=[1, 2, 3], map_mean=2.0)
    with pytest.raises(InputError, match="constant"):
        how.estimate([1, 2, 3], predicted=[1, 1, 1], map_mean=2.0, method="regression")
    with pytest.raises(InputError, match="non-response"):
        how.estimate([1, 2, np.nan])
    with pytest.raises(InputError, match="method is 'ratio', expected one of"):
        how.estimate([1, 2, 3], predicted=[1, 2, 3], map_mean=2.0, method="ratio")  # type: ignore[arg-type]
    for level in (0, 1, 95):
        with pytest.raises(InputError, match=f"level is {level}, expected a share between 0 and 1"):
            how.estimate([1, 2, 3], level=level)
        with pytest.raises(InputError, match=f"level is {level}, expected a share between 0 and 1"):
            area_mean([[0, 0], [1, 1]], [1, 2], 0.5, Variogram(0, 1, 1, "spherical", pd.DataFrame()), level=level)


def test_weights_against_clustering_recover_the_areas_mean() -> None:
    rng = np.random.default_rng(7)
    truth, plain, weighted = [], [], []
    for _ in range(30):
        dense, sparse = rng.uniform(0, 20, (150, 2)), rng.uniform(0, 100, (150, 2))
        samples = np.vstack([dense, sparse])
        error = samples[:, 0] / 100
        weights = intensity_weights(samples)
        truth.append(0.5)
        plain.append(error.mean())
        weighted.append(np.average(error, weights=weights))
    assert abs(np.mean(weighted) - 0.5) < 0.3 * abs(np.mean(plain) - 0.5)
    with pytest.raises(InputError, match="more than neighbours"):
        intensity_weights([[0, 0], [1, 1]])
    with pytest.raises(InputError, match="weigh sites"):
        intensity_weights(np.zeros((50, 2)))


# --- residuals in space: R's gstat 2.1 and spdep 1.2 on the points above


def test_the_empirical_variogram_and_its_fit_equal_gstat() -> None:
    place, z = points()
    variogram = fit_variogram(place, z, model="spherical", cutoff=40.0)
    expected = {1.540912104: 0.00112500000, 3.978968976: 0.04995384615, 22.695352888: 0.35062928571,
                38.715918830: 0.52848703704}  # fmt: skip
    for distance, gamma in expected.items():
        row = variogram.points.iloc[int(np.argmin(np.abs(variogram.points["distance"] - distance)))]
        assert row["distance"] == pytest.approx(distance, rel=1e-8)
        assert row["semivariance"] == pytest.approx(gamma, rel=1e-8)
    assert variogram.points["pairs"].tolist() == [2, 13, 16, 27, 33, 36, 46, 50, 70, 61, 71, 65, 69, 63, 81]
    assert variogram.nugget == pytest.approx(0.0, abs=1e-4)
    assert variogram.partial_sill == pytest.approx(0.6582675646, rel=1e-3)
    assert variogram.range == pytest.approx(59.68903687, rel=1e-3)


@pytest.mark.parametrize(
    ("seed", "model", "reach", "trend", "gstat", "reached"),
    [
        (1, "exponential", 20.0, 0.0, (46.381079, 0.50490887, 0.89591215, 39.710962), True),
        (2, "spherical", 30.0, 0.0, (46.563354, 0.087540651, 1.4174213, 31.146665), True),
        (3, "exponential", 60.0, 0.03, (46.669194, 0.20868516, 1.0373814, 72.040098), False),
    ],
)
def test_a_range_beyond_the_cutoff_is_marked_and_the_fit_is_that_of_gstat(
    seed: int, model: Any, reach: float, trend: float, gstat: tuple[float, ...], reached: bool
) -> None:
    """gstat 2.1: variogram(z ~ 1, cutoff, width = cutoff / 15), then fit.variogram with fit.method = 7."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 100, (200, 2)).round(3)
    h = cdist(place, place) / reach
    correlation = np.exp(-3 * h) if model == "exponential" else np.where(h < 1, 1 - 1.5 * h + 0.5 * h**3, 0.0)
    z = np.linalg.cholesky(correlation + 0.2 * np.eye(200)) @ rng.normal(size=200) + trend * place[:, 0]
    variogram = fit_variogram(place, z.round(6), model=model)
    cutoff, nugget, partial_sill, range_of_gstat = gstat
    assert variogram.cutoff == pytest.approx(cutoff, rel=1e-7)
    assert variogram.nugget == pytest.approx(nugget, rel=3e-3)
    assert (variogram.partial_sill, variogram.range) == pytest.approx((partial_sill, range_of_gstat), rel=3e-3)
    assert variogram.range_reached is reached
    assert variogram.supported_range == (variogram.range if reached else variogram.cutoff)
    assert ("range not reached within the cutoff of 46.67" in repr(variogram)) is not reached


def test_blocks_are_half_the_cutoff_where_the_range_is_not_reached() -> None:
    rng = np.random.default_rng(3)
    east, north = rng.uniform(0, 9e5, (2, 400))
    blocks = Blocks(0.0, east, north, "m")
    trend = pd.Series(1e-5 * (east + north) + rng.normal(0, 0.1, 400))
    cutoff = math.hypot(np.ptp(east), np.ptp(north)) / 3
    sized = correlated_blocks(blocks, trend, None, 2)
    assert sized.side == pytest.approx(cutoff / 2)
    assert "half the cutoff of the variogram of residuals, whose range is not reached within it" in sized.text
    # Twenty folds need forty filled blocks: reduced, and the text has both.
    reduced = correlated_blocks(blocks, trend, None, 20)
    assert reduced.side < sized.side
    assert f"{cutoff / 2000:.4g} km, reduced so that 40 blocks are filled" in reduced.text


def test_moran_equals_spdep() -> None:
    place, z = points()
    result = moran(place, z)
    assert result["i"] == pytest.approx(0.530223797636)
    assert result["expected"] == pytest.approx(-0.016949152542)
    assert result["z"] == pytest.approx(9.6832951)


def test_variograms_and_moran_of_nothing() -> None:
    place = np.random.default_rng(0).random((20, 2))
    with pytest.raises(InputError, match="constant"):
        fit_variogram(place, np.ones(20))
    with pytest.raises(InputError, match="constant"):
        moran(place, np.ones(20))
    with pytest.raises(InputError, match="10 or more"):
        fit_variogram(place[:5], np.arange(5.0))
    with pytest.raises(InputError, match="no two samples within"):
        fit_variogram(place, np.arange(20.0), cutoff=1e-9)
    with pytest.raises(InputError, match="did you mean 'spherical'"):
        fit_variogram(place, np.arange(20.0), model="sperical")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="more than 9"):
        moran(place[:9], np.arange(9.0))


def simulated_field(rng: np.random.Generator, place: np.ndarray, reach: float) -> np.ndarray:
    covariance = np.exp(-3 * cdist(place, place) / reach) + 0.1 * np.eye(len(place))
    return np.linalg.cholesky(covariance) @ rng.normal(size=len(place)) / np.sqrt(1.1)


@pytest.mark.parametrize(("reach", "nominal"), [(6.0, 0.9), (15.0, 0.865)])
def test_intervals_of_area_means_cover_the_truth(full: bool, reach: float, nominal: float) -> None:
    """2000 fields with --full; errors of cells taken as independent are far from it.

    Where the range nears the extent of the samples there are few independent patches, and no variogram can tell.
    """
    rng = np.random.default_rng(8)
    turns = 2000 if full else 250
    side = np.arange(0.5, 24)
    cells = np.array(list(itertools.product(side, side)))
    here = (cells[:, 0] < 12) & (cells[:, 1] < 16)
    covariance = np.exp(-3 * cdist(cells, cells) / reach)
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(cells)))
    hits = naive = 0
    for _ in range(turns):
        field = np.sqrt(0.9) * (root @ rng.normal(size=len(cells)))
        noise = np.sqrt(0.1) * rng.normal(size=len(cells))
        rows = rng.permutation(len(cells))[:150]
        residual = (field + noise)[rows]
        variogram = fit_variogram(cells[rows], residual / residual.std())
        estimate = area_mean(cells[here], np.zeros(here.sum()), float(residual.std()), variogram, level=0.9)
        truth = float((field + noise)[here].mean())
        hits += estimate.lower <= truth <= estimate.upper
        naive += abs(truth) <= 1.645 * estimate.independent_se
    shares = f"coverage {hits / turns:.3f} (nominal 0.9), of independent errors {naive / turns:.3f}"
    print(f"\narea means, range {reach:g} of 24 cells: {shares}")
    assert hits / turns == pytest.approx(nominal, abs=0.02 if full else 0.06)
    assert naive / turns < 0.45


def test_pairs_at_random_give_the_same_standard_error() -> None:
    rng = np.random.default_rng(9)
    cells = rng.uniform(0, 50, (3000, 2))
    variogram = fit_variogram(cells[:400], simulated_field(rng, cells[:400], 20))
    sd = rng.uniform(0.5, 2, 3000)
    exact = np.sqrt((sd[:, None] * sd * variogram.covariance(cdist(cells, cells))).sum()) / 3000
    assert area_mean(cells, sd, sd, variogram).se == pytest.approx(exact, rel=0.01)
    with pytest.raises(InputError, match="negative sd"):
        area_mean(cells, sd, -sd, variogram)


# --- uncertainty


def test_coverage_of_a_calibrated_and_of_a_narrow_prediction() -> None:
    rng = np.random.default_rng(10)
    mean = rng.normal(size=4000)
    y = mean + rng.normal(size=4000)
    levels = np.array([0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975])
    from scipy.stats import kstest, norm

    right = mean[:, None] + norm.ppf(levels)
    narrow = mean[:, None] + 0.5 * norm.ppf(levels)
    table = interval_coverage(y, right, levels)
    assert table["level"].tolist() == [0.5, 0.9, 0.95]
    np.testing.assert_allclose(table["coverage"], table["level"], atol=3 * table["binomial_se"].max())
    assert (table["interval_score"] < interval_coverage(y, narrow, levels)["interval_score"])[1:].all()
    np.testing.assert_allclose(quantile_coverage(y, right, levels)["coverage"], levels, atol=0.025)
    fine = np.linspace(0.005, 0.995, 199)
    assert kstest(pit_values(y, mean[:, None] + norm.ppf(fine), fine), "uniform").pvalue > 0.01
    assert kstest(pit_values(y, mean[:, None] + 0.5 * norm.ppf(fine), fine), "uniform").pvalue < 1e-6


def test_crps_equals_its_definition_and_the_normal_closed_form() -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(11)
    members, y = rng.normal(size=(5, 7)), rng.normal(size=5)
    plain = [np.abs(x - v).mean() - 0.5 * np.abs(x[:, None] - x).mean() for x, v in zip(members, y, strict=True)]
    np.testing.assert_allclose(crps(y, members), plain)
    many = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    z = 0.7
    closed = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)
    assert crps([z], many[None])[0] == pytest.approx(closed, abs=1e-4)


@pytest.mark.parametrize(("count", "cells"), [(60, 4000), (2000, 25), (200, 200)])
def test_density_ratios_of_unequal_numbers(count: int, cells: int) -> None:
    """Beside 5000 cells no sample was out of bag, and all ratios were 1."""
    rng = np.random.default_rng(0)
    samples, area = pd.DataFrame({"h": rng.random(count)}), pd.DataFrame({"h": rng.random(cells) ** 0.3})
    at_samples, at_area = density_ratio(samples, area)
    assert at_samples.mean() == pytest.approx(1)
    # The density of the area at h is proportional to h to the power of 7 / 3.
    high, low = (at_samples[part.to_numpy()].mean() for part in (samples["h"] > 0.8, samples["h"] < 0.4))
    assert high > 4 * low
    assert at_area.shape == (cells,)
    assert np.isfinite(at_area).all()
    assert np.ptp(at_area) > 0


def test_weighted_conformal_quantiles() -> None:
    scores = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    assert conformal_quantile(scores, 0.5, np.ones(6)) == conformal_quantile(scores, 0.5) == 3.0
    assert conformal_quantile(scores, 0.9, np.ones(6)) == conformal_quantile(scores, 0.9) == np.inf
    assert conformal_quantile(scores, 0.5, [0, 0, 0, 8, 1, 1]) == 5.0
    with pytest.raises(InputError, match="one a score"):
        conformal_quantile(scores, 0.5, np.ones(5))


def test_each_conformal_variant_where_it_applies() -> None:
    """Errors grow along a covariate; the new population lies at its upper end."""
    rng = np.random.default_rng(12)
    plain, weighted, groups = [], [], {"a": [], "b": []}
    for _ in range(12):
        x = rng.random(600)
        residual = np.abs(rng.normal(size=600) * (0.5 + 2 * x))
        new = np.sqrt(rng.random(400))
        error = np.abs(rng.normal(size=400) * (0.5 + 2 * new))
        plain.append((error <= conformal_quantile(residual, 0.9)).mean())
        at_samples, at_new = density_ratio(pd.DataFrame({"x": x}), pd.DataFrame({"x": new}))
        limits = [conformal_quantile(residual, 0.9, np.append(at_samples, ratio)) for ratio in np.unique(at_new)[::20]]
        weighted.append((error <= np.median(limits)).mean())
        label, new_label = np.where(x < 0.3, "a", "b"), np.where(new < 0.3, "a", "b")
        limit = group_quantiles(residual, label, 0.9).of(new_label)
        for name, shares in groups.items():
            shares.append((error <= limit)[new_label == name].mean())
    assert np.mean(plain) < 0.86
    assert abs(np.mean(weighted) - 0.9) < 0.5 * abs(np.mean(plain) - 0.9)
    assert np.mean(groups["a"]) > 0.85


def test_small_groups_share_the_quantile_of_all() -> None:
    table = group_quantiles([1.0, 2.0, 3.0] + [9.0] * 20, ["rare"] * 3 + ["common"] * 20, 0.9)
    assert table.pooled == ("rare",)
    assert table.of(["rare", "common", "new"]).tolist() == [table.overall, 9.0, table.overall]


# --- how sure a score is


def test_bootstrap_intervals_cover_and_groups_widen_them() -> None:
    rng = np.random.default_rng(13)
    hits = {"rows": 0, "groups": 0}
    for _ in range(60):
        site = rng.normal(size=40).repeat(5)
        observed = rng.normal(size=200)
        predicted = observed + site
        for name, groups in (("rows", None), ("groups", np.arange(40).repeat(5))):
            table = score_intervals(observed, predicted, groups=groups, measures=["rmse"], draws=200)
            hits[name] += table.loc["rmse", "lower"] <= 1 <= table.loc["rmse", "upper"]
    assert hits["groups"] / 60 > 0.75
    assert hits["rows"] / 60 < hits["groups"] / 60


def test_paired_comparison_of_models() -> None:
    rng = np.random.default_rng(14)
    observed, common = rng.normal(size=150), rng.normal(size=150)
    first = observed + common + 0.3 * rng.normal(size=150)
    second = observed + common
    result = compare_models(observed, first, second)
    assert result["difference"] > 0
    assert result["p"] < 0.2
    same = compare_models(observed, first, first)
    assert same["difference"] == 0
    assert same["p"] == 1
    with pytest.raises(InputError, match="at least two groups"):
        compare_models(observed, first, second, groups=np.zeros(150))
    sites = np.where(np.arange(150) < 9, None, np.arange(150) // 3)
    for function, models in ((compare_models, (first, second)), (score_intervals, (first,))):
        with pytest.raises(InputError, match="9 rows have no group.*name their site or drop them"):
            function(observed, *models, groups=sites)


def test_levels_and_draws_of_the_bootstrap_are_checked() -> None:
    seen = np.arange(9.0)
    for wrong in ({"level": 90}, {"draws": 0}):
        with pytest.raises(InputError, match="expected a share between 0 and 1, and 1 or more"):
            score_intervals(seen, seen + 1, **wrong)
        with pytest.raises(InputError, match="expected a share between 0 and 1, and 1 or more"):
            compare_models(seen, seen + 1, seen + 2, **wrong)
