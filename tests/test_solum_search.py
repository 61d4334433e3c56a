"""SCE-UA, the search space, identifiability: vectors, oracles, laws, resuming."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil import solum
from tpsoil.errors import AccessError, InputError
from tpsoil.kernels import misfit, shuffle
from tpsoil.solum import (
    PRESETS,
    PUBLISHED,
    PUBLISHED_ZONES,
    Bounds,
    Effort,
    SolumOptions,
    SolumParameters,
    combinations,
)
from tpsoil.solum.search import Task, best_of, search, search_all
from tpsoil.solum.space import COMBINATIONS, SearchSpace, search_space, split

REL = 1e-6
ROOT = Path(__file__).parent.parent

BALANCE = SolumOptions().balance()


def make_sites(zone: int = 2, n: int = 131, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = PUBLISHED_ZONES[zone]
    sites = np.full((n, 7), np.nan)
    climate = means.mean_annual_temperature + rng.normal(0, 3, n), means.annual_precipitation * rng.lognormal(0, 0.3, n)
    sites[:, 0] = solum.eemt(*climate)
    sites[:, 1], sites[:, 2] = rng.lognormal(0.5, 1.2, n), rng.lognormal(1.5, 1.2, n)
    sites[:, 3], sites[:, 6] = np.abs(rng.normal(0, 1e-3, n)), 0.0
    sites[:, 5] = misfit.simulate_sites(np.array(PUBLISHED[zone].row()), sites, BALANCE) + rng.normal(0, noise, n)
    return sites


# ---------------------------------------------------------------- drawing parents


def test_first_parent_has_the_triangular_chance() -> None:
    rng, draws = np.random.default_rng(0), 40_000
    counts = np.zeros(17)
    chosen, weights = np.empty(9, np.int64), np.empty(17)
    for _ in range(draws):
        shuffle.draw_parents(17, 1, rng, chosen, weights)
        counts[chosen[0]] += 1
    rho = 2 * (17 + 1 - np.arange(1, 18)) / (17 * 18)
    assert rho[0] == pytest.approx(0.1111111, rel=REL)
    assert rho[16] == pytest.approx(0.006535948, rel=REL)
    # Five standard errors of a binomial count.
    assert (np.abs(counts - draws * rho) < 5 * np.sqrt(draws * rho * (1 - rho))).all()


def test_parents_are_different_and_ranked() -> None:
    rng = np.random.default_rng(1)
    chosen, weights = np.empty(9, np.int64), np.empty(17)
    for _ in range(500):
        shuffle.draw_parents(17, 9, rng, chosen, weights)
        assert (np.diff(chosen) > 0).all()
        assert chosen[0] >= 0
        assert chosen[-1] < 17


def test_random_points_come_from_the_complex_own_box() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform([2, -3], [3, -1], (5, 2))
    out = np.empty(2)
    drawn = []
    for _ in range(400):
        shuffle.random_in_box(points, rng, out)
        drawn.append(out.copy())
    assert (np.min(drawn, axis=0) >= points.min(axis=0)).all()
    assert (np.max(drawn, axis=0) <= points.max(axis=0)).all()
    assert np.ptp(drawn, axis=0) == pytest.approx(np.ptp(points, axis=0), rel=0.05)


def test_a_moved_point_is_sorted_in() -> None:
    rng = np.random.default_rng(3)
    scores = np.sort(rng.random(9))
    points = np.stack([scores, -scores], axis=1)
    for at, value in ((8, -1.0), (0, 2.0), (4, 0.5)):
        scores[at], points[at] = value, (value, -value)
        shuffle.sort_in(points, scores, at)
        assert (np.diff(scores) >= 0).all()
        np.testing.assert_array_equal(points[:, 0], scores)


# ---------------------------------------------------------------- the algorithm, on functions with known minima

GLOBAL = """
import math, numpy as np
from tpsoil.kernels import shuffle
from tpsoil.kernels.misfit import Problem
def goldstein_price(x, *_):
    a, b = x
    return ((1+(a+b+1)**2*(19-14*a+3*a*a-14*b+6*a*b+3*b*b))*(30+(2*a-3*b)**2*(18-32*a+12*a*a+48*b-36*a*b+27*b*b))) - 3
def rosenbrock(x, *_):
    return 100*(x[1]-x[0]**2)**2+(1-x[0])**2
def six_hump_camel(x, *_):
    a, b = x
    return (4-2.1*a*a+a**4/3)*a*a+a*b+(-4+4*b*b)*b*b + 1.031628453489877
def griewank(x, *_):
    return sum(v*v for v in x)/200 - math.prod(math.cos(v/math.sqrt(i+1)) for i, v in enumerate(x)) + 1
found = []
for function, low, high, complexes in ((goldstein_price, -2, 2, 2), (rosenbrock, -5, 5, 2), (six_hump_camel, -5, 5, 2),
                                       (griewank, -60, 60, 4)):
    shuffle.misfit = function
    side = np.full(2, float(low)), np.full(2, float(high))
    problem = Problem(np.zeros(8), np.arange(2), np.zeros(2, bool), np.zeros(8), np.ones(8), 0.3, None)
    best = []
    for seed in range(3):
        x, f, spent, reason, history = shuffle.minimise(*side, np.random.default_rng(seed), complexes, 4000, 10, 1e-6,
                                                        1e-6, problem, np.zeros((1, 7)))
        assert (np.diff(history[:, 1]) <= 0).all() and history[-1, 0] == spent and f == history[-1, 1]
        assert (x >= low).all() and (x <= high).all()
        best.append(f)
    found.append(sorted(best))
print(found)
"""


def plain_python(code: str) -> str:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_known_minima_are_found() -> None:
    """Duan's own two-dimensional tests; JIT is off so that the objective can be exchanged."""
    for scores in json.loads(plain_python(GLOBAL)):
        assert scores[1] < 1e-4  # two of three starts at least


def test_jit_changes_nothing() -> None:
    code = (
        "import numpy as np\nfrom tests.test_solum_search import make_sites\n"
        "from tpsoil.solum.search import *\nfrom tpsoil.solum.space import search_space\n"
        "f = search(search_space('paper', 'PROBLEM'), make_sites(n=12, noise=0.1), np.random.SeedSequence(4), "
        "Effort(complexes=2, evaluations=600))\nprint(repr((f.values, f.rmse, f.evaluations)))\n"
    )
    for problem in ("eight", "five"):
        values, rmse, evaluations = eval(plain_python(code.replace("PROBLEM", problem)))
        effort = Effort(complexes=2, evaluations=600)
        found = search(search_space("paper", problem), make_sites(n=12, noise=0.1), np.random.SeedSequence(4), effort)  # type: ignore[arg-type]
        assert found.evaluations == evaluations
        assert found.rmse == pytest.approx(rmse, rel=1e-12)
        assert found.values == pytest.approx(values, rel=1e-9)


# ---------------------------------------------------------------- objective


def plain_misfit(values: np.ndarray, sites: np.ndarray) -> float:
    """RMSE of eight parameters, transcribed."""
    h0, rho, a, b, alpha, beta, gamma, creep = values
    errors = []
    for energy, water, wind, curvature, bedrock, seen, censored in sites:
        lowering = (alpha * water + beta * wind) / (10 * rho) + gamma * creep * curvature
        if math.isnan(seen):
            if lowering <= 0:
                errors.append((10.0, 0))
            continue
        if lowering <= 0:
            errors.append((10.0, 1))
            continue
        h = max(h0 * (math.log(1.35 * a) + b * energy - math.log(lowering)), 0.0)
        h = min(h, bedrock) if bedrock == bedrock else h
        errors.append((0.0 if censored and h > seen else h - seen, 1))
    return math.sqrt(sum(e * e for e, _ in errors) / sum(n for _, n in errors))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_objective_is_the_transcribed_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = search_space("paper", "eight")
    sites = make_sites(n=20, seed=seed)
    sites[:, 3] = rng.normal(0, 0.01, 20)
    sites[::3, 4] = rng.uniform(0.2, 2, 7)
    sites[::4, 6] = 1.0
    sites[1::7, 5] = np.nan
    low, high = space.search_box
    vector = rng.uniform(low, high)
    score = misfit.misfit(vector, space.kernel_problem, sites, np.empty(8), np.empty(6), np.empty((2, 20)))
    assert score == pytest.approx(plain_misfit(space.values(vector), sites), rel=1e-10)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["paper", "physical"]))
def test_five_combinations_cover_the_box_of_eight(seed: int, preset: str) -> None:
    """Any eight parameters of the box have feasible combinations, which give the same thickness and split back."""
    rng = np.random.default_rng(seed)
    box = PRESETS[preset]
    low, high = np.array(box.low), np.array(box.high)
    values = low + rng.random(8) ** 3 * (high - low)
    values[4:6] = np.maximum(values[4:6], 1e-4)
    values[6] = max(values[6], 1e-4)
    parameters = SolumParameters(*values)
    five = combinations(parameters)
    array = np.array([five[name] for name in COMBINATIONS])
    assert misfit.feasible(array, low, high)
    again = SolumParameters(*split(five, box))
    for name, value in combinations(again).items():
        assert value == pytest.approx(five[name], rel=1e-9)
    assert (np.array(list(again.as_dict().values()))[:8] >= low * (1 - 1e-9)).all()
    assert (np.array(list(again.as_dict().values()))[:8] <= high * (1 + 1e-9)).all()
    sites = make_sites(n=10, seed=seed)
    whole = misfit.simulate_sites(np.array(parameters.row()), sites, BALANCE)
    row = search_space(preset, "five").row(array)
    np.testing.assert_allclose(misfit.simulate_sites(row, sites, BALANCE), whole, rtol=1e-9)


def test_combinations_outside_the_box_are_rejected() -> None:
    box = PRESETS["paper"]
    outside = {"h0": 0.1, "b": 1e-5, "water_ratio": 1.0, "wind_ratio": 1e-8, "creep_ratio": 1e-8}
    assert not misfit.feasible(np.array(list(outside.values())), np.array(box.low), np.array(box.high))
    with pytest.raises(InputError, match="no parameters within the bounds"):
        split(outside, box)


# ---------------------------------------------------------------- identifiability


def test_sensitivity_vectors() -> None:
    site = {"mean_annual_temperature": [13.09], "annual_precipitation": [832.41], "water_erosion": [5.0],
            "wind_erosion": [0.1], "general_curvature": [1e-3]}  # fmt: skip
    row = solum.sensitivities(site, PUBLISHED[1]).iloc[0]
    assert [row.water_share, row.wind_share, row.gravity_share] == pytest.approx(
        [0.4274061, 0.00534258, 0.5672513], rel=2e-6
    )
    assert row.ln_alpha == pytest.approx(-0.01624143, rel=REL)
    assert row.ln_D == pytest.approx(-0.02155555, rel=REL)
    assert row.ln_gamma == row.ln_D
    assert row.b == pytest.approx(1026.754211, rel=REL)
    assert row.ln_a == 0.038
    assert row.h0 == pytest.approx(1.131863964 / 0.038, rel=REL)
    assert 0.038 * math.log(2900 / 2400) == pytest.approx(0.0072, abs=5e-5)


@pytest.mark.parametrize("zone", [1, 5, 7])
def test_sensitivities_are_derivatives(zone: int) -> None:
    rng = np.random.default_rng(zone)
    means = PUBLISHED_ZONES[zone]
    sites = pd.DataFrame({
        "mean_annual_temperature": means.mean_annual_temperature + rng.normal(0, 2, 9),
        "annual_precipitation": means.annual_precipitation + rng.normal(0, 50, 9),
        "water_erosion": rng.uniform(1, 5, 9), "wind_erosion": rng.uniform(1, 20, 9),
        "general_curvature": rng.uniform(0, 1e-3, 9),
    })  # fmt: skip
    base = PUBLISHED[zone].as_dict()
    found = solum.sensitivities(sites, PUBLISHED[zone])

    def made(**changed: float) -> np.ndarray:
        layers = {name: sites[name].to_numpy() for name in sites}
        return np.asarray(solum.thickness(layers, SolumParameters(**{**base, **changed})).solum_thickness.values)

    for name in ("rho_s", "a", "alpha", "gamma", "D", "beta"):
        step = 1e-5
        slope = (made(**{name: base[name] * (1 + step)}) - made(**{name: base[name] * (1 - step)})) / (2 * step)
        np.testing.assert_allclose(found[f"ln_{name}"], slope, rtol=1e-4, atol=1e-9)
    for name in ("h0", "b"):
        step = 1e-5 * base[name]
        slope = (made(**{name: base[name] + step}) - made(**{name: base[name] - step})) / (2 * step)
        np.testing.assert_allclose(found[name], slope, rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 5), st.sampled_from(range(1, 9)))
def test_thickness_does_not_see_a_common_scale(scale: float, zone: int) -> None:
    p = PUBLISHED[zone]
    scaled = SolumParameters(p.h0, p.rho_s, p.a * scale, p.b, min(p.alpha * scale, 1), min(p.beta * scale, 1), p.gamma,
                             p.D * scale)  # fmt: skip
    if scaled.alpha == p.alpha * scale and scaled.beta == p.beta * scale:
        sites = make_sites(zone, 20)
        one, two = (misfit.simulate_sites(np.array(q.row()), sites, BALANCE) for q in (p, scaled))
        np.testing.assert_allclose(one, two, rtol=1e-9)


def test_at_most_five_directions_and_the_flat_ones_named() -> None:
    rng = np.random.default_rng(0)
    sites = pd.DataFrame({
        "mean_annual_temperature": rng.uniform(-5, 15, 60), "annual_precipitation": rng.uniform(100, 1500, 60),
        "water_erosion": rng.lognormal(0, 1, 60), "wind_erosion": rng.lognormal(0, 1, 60),
        "general_curvature": np.abs(rng.normal(0, 1e-3, 60)),
    })  # fmt: skip
    known = solum.identifiability(sites, PUBLISHED[5])
    assert known["rank"] == 5
    assert known["visible"] <= 5
    assert len(known["singular_values"]) == 8
    one_term = solum.identifiability(sites.assign(wind_erosion=0.0, general_curvature=0.0), PUBLISHED[5])
    assert one_term["rank"] == 3  # h0, b and one level
    assert solum.identifiability(sites.assign(general_curvature=-1.0), PUBLISHED[5])["rank"] == 0


# ---------------------------------------------------------------- finding the truth, many at once


@pytest.mark.parametrize("problem", ["eight", "five"])
def test_noise_free_twin_gives_the_combinations_back(problem: str) -> None:
    sites = make_sites(7, 120)
    space = search_space("paper", problem)  # type: ignore[arg-type]
    found = search_all(space, {(7, "all", -1): sites}, 4, 1, Effort(evaluations=60_000))
    best = best_of(found, (7, "all", -1))
    assert best.rmse < 1e-3
    got = space.combinations_of(np.array(best.values))
    truth = combinations(PUBLISHED[7])
    for name, value in zip(COMBINATIONS, got):
        assert value == pytest.approx(truth[name], rel=0.02), name


def plan() -> dict[tuple[int, str, int], np.ndarray]:
    whole = make_sites(2, 40, noise=0.1)
    return {(2, "all", -1): whole, (2, "zones", 0): whole[10:], (3, "all", -1): make_sites(3, 30, noise=0.1)}


def test_any_number_of_workers_gives_one_result() -> None:
    effort, space = Effort(complexes=3, evaluations=2000), search_space("paper", "eight")
    alone = search_all(space, plan(), 3, 5, effort, workers=1)
    assert list(alone) == [Task(*key, start) for key in plan() for start in range(3)]
    for workers in (2, 7):
        assert search_all(space, plan(), 3, 5, effort, workers=workers) == alone
    other = search_all(space, plan(), 3, 6, effort)
    assert other != alone
    # Every start, fold and zone draws its own numbers.
    tasks = [
        Task(z, scheme, f, s) for z in (-1, 2, 3) for scheme in ("zones", "blocks") for f in (-1, 0) for s in (0, 1)
    ]
    assert len({np.random.default_rng(task.seed(5)).random() for task in tasks}) == len(tasks)
    # A task's stream is its own: leaving others out changes nothing.
    few = search_all(space, {(3, "all", -1): plan()[(3, "all", -1)]}, 3, 5, effort)
    assert all(alone[task] == few[task] for task in few)


def test_resumed_searches_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effort, space, ledger = (
        Effort(complexes=3, evaluations=1500),
        search_space("paper", "eight"),
        tmp_path / "a" / "s.jsonl",
    )
    whole = search_all(space, plan(), 2, 5, effort, checkpoint=ledger)
    lines = ledger.read_text().splitlines()
    assert len(lines) == 1 + len(whole)
    # Killed after three searches, in the middle of writing the fourth.
    ledger.write_text("\n".join([*lines[:4], lines[4][: len(lines[4]) // 2]]))
    module = sys.modules["tpsoil.solum.search"]
    calls: list[int] = []
    real: Callable[..., object] = module.search

    def counted(*arguments: object) -> object:
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(module, "search", counted)
    done: list[tuple[int, int]] = []
    again = search_all(space, plan(), 2, 5, effort, checkpoint=ledger, progress=lambda a, b: done.append((a, b)))
    assert again == whole
    assert len(calls) == 3
    assert done[-1] == (6, 6)
    assert search_all(space, plan(), 2, 5, effort, checkpoint=ledger) == whole
    assert len(calls) == 3


def test_a_checkpoint_of_another_calibration_is_rejected(tmp_path: Path) -> None:
    effort, space, ledger = Effort(complexes=2, evaluations=300), search_space("paper", "eight"), tmp_path / "s.jsonl"
    search_all(space, plan(), 1, 5, effort, checkpoint=ledger)
    with pytest.raises(InputError, match="belongs to another calibration"):
        search_all(space, plan(), 1, 6, effort, checkpoint=ledger)
    (tmp_path / "text").write_text("nothing\n")
    with pytest.raises(InputError, match="belongs to another calibration"):
        search_all(space, plan(), 1, 5, effort, checkpoint=tmp_path / "text")
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError, match=r"cannot be (read|written)"):
        search_all(space, plan(), 1, 5, effort, checkpoint=tmp_path / "text" / "s.jsonl")


def test_stopping_rules_say_why() -> None:
    sites, space = make_sites(2, 20, noise=0.1), search_space("paper", "eight")
    seed = np.random.SeedSequence(0)
    assert search(space, sites, seed, Effort(evaluations=400)).reason == "evaluations spent"
    assert search(space, sites, seed, Effort(evaluations=90_000, still_loops=5)).reason == "no more improvement"
    wide = Effort(evaluations=90_000, least_range=0.5, still_loops=10_000)
    assert search(space, sites, seed, wide).reason == "population at a point"


# ---------------------------------------------------------------- bad input


def test_fixed_parameters_are_not_searched() -> None:
    physical = search_space("physical", "eight")
    assert "gamma" not in [physical.names[j] for j in physical.free]
    found = search(physical, make_sites(2, 20), np.random.SeedSequence(0), Effort(evaluations=500))
    assert found.values[6] == 1.0
    assert physical.at_bounds(np.array(found.values))["gamma"] == "fixed"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search_space("real"), "preset is 'real'"),
        (lambda: search_space("paper", "six"), "problem is 'six'"),
        (lambda: SearchSpace("eight", PRESETS["paper"], SolumOptions(density_ratio=-1.0)), "density_ratio is -1"),
        (
            lambda: SearchSpace("eight", Bounds("fixed", PRESETS["paper"].low, PRESETS["paper"].low)),
            "no parameter can be calibrated",
        ),
        (lambda: Bounds("x", (1.0,) * 8, (0.5,) * 8), "expected low <= high"),
        (lambda: Bounds("x", (0.1,) * 3, (0.5,) * 8), "expected 8 and 8"),
        (lambda: Bounds("x", (-0.1, *PRESETS["paper"].low[1:]), PRESETS["paper"].high), "h0 .* is outside its domain"),
        (lambda: Effort(complexes=0), "complexes is 0"),
        (lambda: search_all(search_space(), plan(), 0, 1, Effort()), "starts is 0"),
        (lambda: solum.sensitivities({"water_erosion": [1.0]}, PUBLISHED[1]), "sites lack"),
    ],
)
def test_wrong_options_are_rejected(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_published_parameters_lie_in_the_paper_box_or_on_it() -> None:
    low, high = np.array(PRESETS["paper"].low), np.array(PRESETS["paper"].high)
    hits = 0
    for parameters in PUBLISHED.values():
        values = np.array(list(parameters.as_dict().values()))[:8]
        assert (values >= low).all()
        assert (values <= high).all()
        at = search_space().at_bounds(values)
        hits += sum(side in {"low", "high"} for side in at.values())
    assert hits >= 15  # the study's bounds are active (science sheet 2g)
