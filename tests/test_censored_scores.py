"""Scores with lower limits among the observations: against plain loops, scipy, and simulations with a known answer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from tpsoil.errors import InputError
from tpsoil.evaluation import MEASURES, CensoredObservations, concordance_index, tobit_residuals
from tpsoil.evaluation.censored import CENSORED_MEASURES, UNCENSORED


def sites(
    n: int, seed: int, *, error_mean: float = -0.2, error_sd: float = 0.3
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth = prediction + residual, observation or limit, whether it is a limit, prediction."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0.5, 2.5, n)
    truth = predicted + rng.normal(error_mean, error_sd, n)
    depth = rng.uniform(0.6, 2.4, n)  # of the pit, independent of the soil
    return truth, np.minimum(truth, depth), truth > depth, predicted


def loops(o: np.ndarray, p: np.ndarray, c: np.ndarray) -> float:
    """Harrell's index, pair by pair."""
    right = known = 0.0
    for i in range(len(o)):
        for j in range(i + 1, len(o)):
            if o[i] == o[j]:
                if c[i] == c[j]:
                    continue
                smaller, larger = (j, i) if c[i] else (i, j)
            else:
                smaller, larger = (i, j) if o[i] < o[j] else (j, i)
                if c[smaller]:
                    continue
            known += 1
            right += 1.0 if p[smaller] < p[larger] else 0.5 if p[smaller] == p[larger] else 0.0
    return right / known if known else math.nan


@pytest.mark.parametrize("seed", range(4))
def test_concordance_equals_a_loop_over_pairs(seed: int) -> None:
    _, o, c, p = sites(40, seed)
    o, p = o.round(1), p.round(1)  # ties of both
    assert concordance_index(o, p, c) == pytest.approx(loops(o, p, c), abs=1e-14)


def test_concordance_of_perfect_reversed_and_unknown_orders() -> None:
    o, none = np.array([0.2, 0.5, 0.9]), np.zeros(3, bool)
    assert concordance_index(o, o, none) == 1
    assert concordance_index(o, -o, none) == 0
    assert concordance_index(o, np.ones(3), none) == 0.5
    assert math.isnan(concordance_index(o, o, ~none))


@pytest.mark.parametrize("seed", range(4))
def test_tobit_residuals_equal_scipys_fit_of_censored_data(seed: int) -> None:
    _, o, c, p = sites(60, seed)
    r = o - p
    mean, sd = tobit_residuals(r, c)
    fit = stats.norm.fit(stats.CensoredData(uncensored=r[~c], right=r[c]))
    assert (mean[0], sd[0]) == pytest.approx(fit, abs=2e-4)  # scipy's simplex ends there

    def likelihood(x: Any) -> float:
        m, s = x[0], math.exp(x[1])
        return float(-stats.norm.logpdf(r[~c], m, s).sum() - stats.norm.logsf(r[c], m, s).sum())

    best = optimize.minimize(likelihood, [mean[0], math.log(sd[0])], method="BFGS", options={"gtol": 1e-9})
    assert likelihood([mean[0], math.log(sd[0])]) <= best.fun + 1e-10


def test_tobit_without_limits_is_mean_and_population_sd() -> None:
    r = np.random.default_rng(0).normal(size=30)
    mean, sd = tobit_residuals(r, np.zeros(30, bool))
    assert (mean[0], sd[0]) == pytest.approx((r.mean(), r.std()), rel=1e-12)


def test_tobit_of_far_limits_of_either_kind() -> None:
    r, none = np.array([-0.3, 0.1, 0.4, 0.2]), np.zeros(4, bool)
    trivial = tobit_residuals(np.r_[r, -50.0], np.r_[none, True])  # a prediction far above a limit tells nothing
    assert np.ravel(trivial) == pytest.approx([r.mean(), r.std()], abs=1e-9)
    far = tobit_residuals(np.r_[r, 50.0], np.r_[none, True])
    assert far[0][0] > r.max()
    assert far[1][0] > 5
    assert np.isnan(tobit_residuals([0.1, 0.1, 0.5], [False, False, True])).all()


def test_one_row_of_weights_equals_repeated_rows() -> None:
    _, o, c, p = sites(25, 3)
    weights = np.random.default_rng(1).integers(0, 4, (6, 25)).astype(float)
    drawn = CensoredObservations(o, c)._measures(p, weights)
    for k, row in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(25), row)
        plain = {name: MEASURES[name](o[rows][~c[rows]], p[rows][~c[rows]]) for name in UNCENSORED}
        mean, sd = tobit_residuals((o - p)[rows], c[rows])
        plain |= {"bias_tobit": -mean[0], "rmse_tobit": math.hypot(mean[0], sd[0]),
                  "concordance": concordance_index(o[rows], p[rows], c[rows]),
                  "below_limit": (p < o)[rows][c[rows]].mean(),
                  "shortfall": np.maximum(o - p, 0)[rows][c[rows]].mean()}  # fmt: skip
        assert {name: drawn[name][k] for name in CENSORED_MEASURES} == pytest.approx(plain, rel=1e-9)


def test_scores_know_the_truth_that_the_limits_hide() -> None:
    truth, o, c, p = sites(4000, 7)
    scores = CensoredObservations(o, c, draws=200).scores(p)
    true_bias, true_rmse = (p - truth).mean(), math.sqrt(((p - truth) ** 2).mean())
    assert 0.3 < c.mean() < 0.7
    for name, true in (("bias_tobit", true_bias), ("rmse_tobit", true_rmse)):
        assert scores.loc[name, "value"] == pytest.approx(true, abs=0.015)
        assert scores.loc[name, "lower"] < true < scores.loc[name, "upper"]
    taken_as_complete = (p - o).mean()  # limits as if they were thicknesses: far too thick a map
    assert abs(taken_as_complete - true_bias) > 0.2
    assert scores.loc["below_limit", "value"] == (p < o)[c].mean()


@pytest.mark.parametrize("n", [8, 30])
def test_intervals_are_wide_where_sites_are_few_and_cover_the_truth(n: int) -> None:
    covered, widths = [], []
    for seed in range(100):
        _, o, c, p = sites(n, 100 + seed)
        table = CensoredObservations(o, c, draws=200, seed=seed).scores(p).loc["bias_tobit"]
        if np.isfinite(table["lower"]):  # of few sites, all may be limits
            covered.append(table["lower"] < 0.2 < table["upper"])
            widths.append(table["upper"] - table["lower"])
    assert len(covered) > 80
    assert 0.82 <= np.mean(covered) <= 1  # nominal 90 %; binomial standard error 3 %
    _, o, c, p = sites(300, 9)
    many = CensoredObservations(o, c, draws=200).scores(p).loc["bias_tobit"]
    assert np.mean(widths) > 2 * (many["upper"] - many["lower"])


def test_limits_alone_give_no_error_but_their_contradictions() -> None:
    scores = CensoredObservations([0.2] * 7, [True] * 7, draws=50).scores([0.7] * 7)
    assert scores.loc["below_limit", ["n", "value", "lower"]].tolist() == [7, 0, 0]
    assert scores.loc["below_limit", "upper"] == pytest.approx(1 - 0.05 ** (1 / 7))  # exact binomial, 0 of 7
    assert scores.loc["shortfall", "value"] == 0
    assert scores.drop(["below_limit", "shortfall"])["value"].isna().all()


def test_the_difference_of_two_predictions_uses_the_same_draws() -> None:
    _, o, c, p = sites(60, 4)
    pits = CensoredObservations(o, c, draws=300)
    assert (pits.difference(p, p)[["value", "lower", "upper"]].dropna() == 0).all(axis=None)
    worse = pits.difference(p, p + 1.0)
    assert worse.loc["rmse_tobit", "upper"] < 0
    assert worse.loc["concordance", "value"] == 0
    first, second = pits.scores(p), pits.scores(p + 1.0)
    assert worse["value"].to_numpy() == pytest.approx((first["value"] - second["value"]).to_numpy())


def test_groups_that_err_together_widen_the_intervals() -> None:
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(12), 10)
    o = rng.uniform(0.5, 1.5, 120)
    p = o + rng.normal(0, 0.3, 12)[block]
    alone, together = (
        CensoredObservations(o, o > 1.3, groups=g, draws=300).scores(p).loc["bias"] for g in (None, block)
    )
    assert together["upper"] - together["lower"] > 2 * (alone["upper"] - alone["lower"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observed": [1.0, np.nan]}, "1 of 2 are not finite"),
        ({"censored": [True]}, r"censored \(1,\)"),
        ({"observed": [], "censored": []}, "at least 1"),
        ({"level": 1.0}, "level is 1.0"),
        ({"draws": 1}, "at least 2 draws"),
        ({"groups": [1]}, "groups have shape"),
    ],
)
def test_wrong_observations_are_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CensoredObservations(**{"observed": [1.0, 2.0], "censored": [False, True], **change})
    with pytest.raises(InputError, match="predicted has shape"):
        CensoredObservations([1.0, 2.0], [False, True]).scores([1.0])


def test_options_decide() -> None:
    _, o, c, p = sites(30, 5)
    base = CensoredObservations(o, c, draws=100)
    assert repr(base) == f"CensoredObservations({int((~c).sum())} complete, {int(c.sum())} lower limits)"
    table = base.scores(p)
    for change in ({"level": 0.5}, {"draws": 150}, {"seed": 1}):
        other = CensoredObservations(o, c, **{"draws": 100, **change}).scores(p)
        assert (other["value"] == table["value"]).all()
        assert (other["lower"] != table["lower"]).any()
    pd.testing.assert_frame_equal(base.scores(p), table)
