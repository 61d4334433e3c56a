"""Pits that end in the solum as censored observations of a likelihood: the kernel, its effect, and its limits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.test_solum_calibration import make_profiles
from tests.test_solum_search import BALANCE, make_sites
from tpsoil import solum
from tpsoil.errors import InputError
from tpsoil.kernels import misfit
from tpsoil.solum import PUBLISHED, Effort, calibrate
from tpsoil.solum.calibration import calibrated_parameters
from tpsoil.solum.ensembles import behavioural
from tpsoil.solum.inputs import NEEDED
from tpsoil.solum.space import search_space

QUICK = Effort(complexes=4, evaluations=3000)
SETTINGS = {"preset": "paper", "problem": "eight", "starts": 1, "effort": QUICK}


def plain_tobit(simulated: np.ndarray, observed: np.ndarray, censored: np.ndarray) -> float:
    """Minus log-likelihood of Tobin's model, minimised over the residual standard deviation, by scipy alone."""

    def loss(log_sd: float) -> float:
        sd = math.exp(log_sd)
        known = stats.norm.logpdf(observed[~censored], simulated[~censored], sd).sum()
        return -known - stats.norm.logsf(observed[censored], simulated[censored], sd).sum()

    guess = np.log(np.sqrt(np.mean((simulated - observed)[~censored] ** 2)))
    grid = np.linspace(guess - 5, guess + 5, 2001)  # the loss has one minimum in 1/sd; bracket it by a scan
    at = grid[int(np.argmin([loss(one) for one in grid]))]
    return float(optimize.minimize_scalar(loss, bounds=(at - 0.01, at + 0.01), method="bounded",
                                          options={"xatol": 1e-10}).fun)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_objective_is_the_likelihood_by_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = search_space("paper", "eight")
    sites = make_sites(n=24, noise=0.2, seed=seed)
    sites[:, misfit.CENSORED] = np.where(rng.random(24) < 0.4, misfit.LIKELIHOOD, 0.0)
    sites[0, misfit.CENSORED] = 0.0
    vector = rng.uniform(*space.search_box)
    score = misfit.misfit(vector, space.kernel_problem, sites, np.empty(8), np.empty(6), np.empty((2, len(sites))))
    simulated = misfit.simulate_sites(space.row(space.values(vector)), sites, BALANCE)
    if not np.isfinite(simulated).all():
        return
    cut = sites[:, misfit.CENSORED] > 0
    n = int((~cut).sum())
    expected = plain_tobit(simulated, sites[:, misfit.OBSERVED], cut)
    # The kernel leaves out n ln(2 pi)/2 and subtracts n/2.
    constants = 0.5 * n * (1 + math.log(2 * math.pi))
    assert n * math.log(score) == pytest.approx(expected - constants, rel=1e-7, abs=1e-6)


@pytest.mark.parametrize("z", [-300.0, -36.0, -30.1, -29.9, -8.0, -1.0, 0.0, 0.7, 6.0, 40.0])
def test_logarithm_of_the_normal_distribution_is_scipys(z: float) -> None:
    assert misfit.log_normal_share(z) == pytest.approx(stats.norm.logcdf(z), rel=1e-11, abs=1e-300)
    expected = math.exp(stats.norm.logpdf(z) - stats.norm.logcdf(z))
    assert misfit.mills(z) == pytest.approx(expected, rel=1e-7, abs=1e-300)


def test_without_censored_profiles_both_objectives_are_the_rmse() -> None:
    table = make_profiles({3: 30})
    first, second = (calibrate(table, starts=1, folds=2, effort=QUICK, members=24, objective=o) for o in
                     ("rmse", "tobit"))  # type: ignore[arg-type]  # fmt: skip
    assert first.parameters == second.parameters
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert "censored" not in first.scores
    assert misfit.tobit_rmse(4.0, 16, np.empty(0)) == 0.5


def test_a_pit_far_above_the_simulated_depth_adds_nothing_and_one_below_does() -> None:
    alone = misfit.tobit_rmse(4.0, 16, np.empty(0))
    assert misfit.tobit_rmse(4.0, 16, np.array([50.0])) == pytest.approx(alone, rel=1e-12)
    assert misfit.tobit_rmse(4.0, 16, np.array([0.0])) == pytest.approx(alone * 2 ** (1 / 16), rel=1e-9)
    assert misfit.tobit_rmse(4.0, 16, np.array([-1.0])) > misfit.tobit_rmse(4.0, 16, np.array([-0.5])) > alone
    assert np.isfinite(misfit.tobit_rmse(0.0, 16, np.array([1.0, -10.0])))


def cut_by_pits(seed: int, noise: float = 0.3, n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """Profiles of a known model, some of them seen only to the bottom of a pit; and the model's thickness, m."""
    table = make_profiles({3: n}, noise=noise, seed=seed)
    table = table[table["solum_thickness"] > 0.05].reset_index(drop=True)
    layers = {name: table[name].to_numpy(float) for name in table if name not in {"x", "y", "solum_thickness"}}
    truth = solum.thickness(layers, PUBLISHED).solum_thickness.values
    pit = np.random.default_rng(seed).uniform(0.5, 1.6, len(table)) * np.median(truth)
    observed = table["solum_thickness"].to_numpy()
    return table.assign(solum_thickness=np.minimum(observed, pit), censored=observed > pit), truth


def test_likelihood_recovers_a_simulated_truth_with_less_bias_than_one_sided_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bias: dict[str, list[float]] = {"rmse": [], "tobit": []}
    for seed in range(4):
        table, truth = cut_by_pits(seed)
        layers = {name: table[name].to_numpy(float) for name in NEEDED}
        for objective, values in bias.items():
            parameters = calibrated_parameters(table, settings={**SETTINGS, "objective": objective})
            fit = solum.thickness(layers, parameters[3]).solum_thickness.values
            values.append(float((fit - truth).mean()))
    one_sided, likelihood = (float(np.mean(bias[name])) for name in ("rmse", "tobit"))
    with capsys.disabled():
        print(f"\nbias of thickness: one-sided {one_sided:.4f} m, likelihood {likelihood:.4f} m")
    assert one_sided < -0.05  # 44 % of the pits end in the solum
    assert abs(likelihood) < 0.3 * abs(one_sided)


def test_every_stage_of_a_calibration_has_the_objective() -> None:
    """Search, ensemble, folds, recalibration and stored settings; each differs between the objectives."""
    table, _ = cut_by_pits(0, n=60)
    results = [calibrate(table, starts=1, folds=2, effort=QUICK, members=24, objective=o) for o in
               ("rmse", "tobit")]  # type: ignore[arg-type]  # fmt: skip
    assert [r.settings["objective"] for r in results] == ["rmse", "tobit"]
    for column in ("fit", "cv", "cv_median"):
        assert results[1].predictions[column].mean() > results[0].predictions[column].mean()
    for result, objective in zip(results, ("rmse", "tobit")):
        assert calibrated_parameters(table, settings={**SETTINGS, "objective": objective}) == result.parameters
    how = solum.ForcedCalibration(problem="five", members=4, effort=QUICK)
    source = solum.ForcingSource("annual_precipitation", "lognormal", 0.1, "relative")
    members = [
        solum.calibrate_forced(table, None, [source], draws=2, settings=replace(how, objective=o)).ensembles[3].members
        for o in ("rmse", "tobit")
    ]
    assert not np.array_equal(*members)


def test_scores_leave_censored_profiles_out_and_count_them() -> None:
    table, _ = cut_by_pits(1, n=60)
    result = calibrate(table, starts=1, folds=2, effort=QUICK, members=24)
    row = result.scores.set_index(["kind", "zone"]).loc[("cv", "all")]
    cut = result.predictions["censored"]
    known = result.predictions[~cut]
    assert row["n"] == len(known)
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((known["cv"] - known["observed"]) ** 2)))
    assert row["censored"] == int(cut.sum())
    hidden = result.predictions[cut]
    assert row["censored_thinner"] == pytest.approx((hidden["cv"] < hidden["observed"]).mean())


def test_zones_and_tables_with_too_few_uncensored_profiles_are_pooled_or_rejected() -> None:
    table = make_profiles({3: 40, 4: 12})
    table["censored"] = (table["zone"] == 4) & (np.arange(len(table)) % 3 != 0)
    result = calibrate(table, starts=1, folds=2, effort=QUICK, members=24)
    note = result.scores.set_index(["kind", "zone"]).loc[("fit", "4"), "note"]
    assert note == "only 12 profiles, 8 of them censored: parameters of all profiles together"
    with pytest.raises(InputError, match=r"0 usable profiles that are not censored \(and 52 that are\)"):
        calibrate(table.assign(censored=True), effort=QUICK)
    with pytest.raises(InputError, match="objective is 'tobin', expected one of"):
        calibrate(table, effort=QUICK, objective="tobin")  # type: ignore[arg-type]


def test_ensemble_counts_uncensored_profiles_only() -> None:
    sites = make_sites(n=20, noise=0.1)
    sites[5:, misfit.CENSORED] = misfit.LIKELIHOOD
    space = search_space("paper", "five")
    with pytest.raises(InputError, match="5 profiles, expected more than 5"):
        behavioural(space, sites, space.limits[0], 0)
