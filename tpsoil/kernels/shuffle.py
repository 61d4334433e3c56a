"""Shuffled complex evolution (SCE-UA, Duan et al. 1993), and a random walk through parameter sets of similar misfit.

Symbols: n dimensions, p complexes, m = 2n + 1 points a complex, q = n + 1 parents, beta = 2n + 1 steps a shuffle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .compile import jit
from .misfit import IMPOSSIBLE, Problem, misfit

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVALUATIONS, CONVERGED, COLLAPSED = 0, 1, 2
"""Reasons for the end of a search: number of evaluations, no improvement, population collapsed to a point."""


@jit
def draw_parents(points: int, parents: int, rng: Any, chosen: Ints, weights: Doubles) -> None:
    """Draw ranks without replacement with rho_i = 2(m + 1 - i)/[m(m + 1)], i = 1..m; best first in `chosen`."""
    for i in range(points):
        weights[i] = 2.0 * (points - i) / (points * (points + 1.0))
    total = 1.0
    for k in range(parents):
        at = rng.random() * total
        pick = -1
        for i in range(points):
            if weights[i] > 0.0:
                pick = i
                at -= weights[i]
                if at < 0.0:
                    break
        total -= weights[pick]
        weights[pick] = 0.0
        chosen[k] = pick
    chosen[:parents].sort()


@jit
def sort_in(points: Doubles, scores: Doubles, at: int) -> int:
    """Move the point at position `at` of a complex sorted but for it to its rank; its new position."""
    score = scores[at]
    point = points[at].copy()
    while at > 0 and scores[at - 1] > score:
        scores[at] = scores[at - 1]
        points[at] = points[at - 1]
        at -= 1
    while at < scores.size - 1 and scores[at + 1] < score:
        scores[at] = scores[at + 1]
        points[at] = points[at + 1]
        at += 1
    scores[at] = score
    points[at] = point
    return at


@jit
def random_in_box(points: Doubles, rng: Any, out: Doubles) -> None:
    """A random point of the smallest box around the points."""
    for j in range(points.shape[1]):
        minimum = maximum = points[0, j]
        for i in range(1, points.shape[0]):
            minimum = min(minimum, points[i, j])
            maximum = max(maximum, points[i, j])
        out[j] = minimum + rng.random() * (maximum - minimum)


@jit
def log_range(points: Doubles, low: Doubles, high: Doubles) -> float:
    """Logarithm of the normalised geometric range of a population."""
    total = 0.0
    for j in range(points.shape[1]):
        extent = points[:, j].max() - points[:, j].min()
        total += math.log(max(extent / (high[j] - low[j]), 1e-300))
    return float(total / points.shape[1])


@jit
def minimise(
    search_low: Doubles,
    search_high: Doubles,
    rng: Any,
    complexes: int,
    evaluations: int,
    still_loops: int,
    still_percent: float,
    least_range: float,
    problem: Problem,
    sites: Doubles,
) -> tuple[Doubles, float, int, int, Doubles]:
    """Search the box for the minimum misfit.

    Parameters
    ----------
    search_low, search_high : (n,) float64
        The box, in search coordinates; low < high.
    rng : numpy Generator
        Advanced.
    complexes, evaluations : int
        p, and the evaluations after which no further shuffle begins.
    still_loops, still_percent : int, float
        Stop when the best improved by less than this share (%) of its recent mean over so many shuffles.
    least_range : float
        Stop when the normalised geometric range of the population is below it.
    problem, sites
        As in `misfit`.

    Returns
    -------
    best : (n,) float64
    score : float
    spent : int
        Evaluations.
    reason : int
        `EVALUATIONS`, `CONVERGED` or `COLLAPSED`.
    history : (shuffles + 1, 2) float64
        Evaluations spent and best score, after the sample and after each shuffle.
    """
    n = search_low.size
    points, parents = 2 * n + 1, n + 1
    size = complexes * points
    values, row, rates = np.empty(problem.base.size), np.empty(6), np.empty((2, sites.shape[0]))
    population, scores = np.empty((size, n)), np.empty(size)
    for i in range(size):
        for j in range(n):
            population[i, j] = search_low[j] + rng.random() * (search_high[j] - search_low[j])
        scores[i] = misfit(population[i], problem, sites, values, row, rates)
    spent = size
    order = np.argsort(scores, kind="mergesort")
    population, scores = population[order], scores[order]
    history = np.empty((evaluations // (complexes * points) + 3, 2))
    history[0, 0], history[0, 1] = spent, scores[0]
    loops = 0
    reason = EVALUATIONS
    group, marks = np.empty((points, n)), np.empty(points)
    chosen, weights = np.empty(parents, np.int64), np.empty(points)
    centre, trial = np.empty(n), np.empty(n)
    while spent < evaluations and loops < history.shape[0] - 1:
        for k in range(complexes):
            for i in range(points):  # deal rank i p + k to complex k
                group[i] = population[i * complexes + k]
                marks[i] = scores[i * complexes + k]
            for _ in range(points):
                draw_parents(points, parents, rng, chosen, weights)
                worst = chosen[parents - 1]
                centre[:] = 0.0
                for c in range(parents - 1):
                    for j in range(n):
                        centre[j] += group[chosen[c], j] / (parents - 1)
                inside = True
                for j in range(n):
                    trial[j] = 2.0 * centre[j] - group[worst, j]
                    inside = inside and search_low[j] <= trial[j] <= search_high[j]
                if not inside:
                    random_in_box(group, rng, trial)
                score = misfit(trial, problem, sites, values, row, rates)
                spent += 1
                if not score < marks[worst]:
                    for j in range(n):
                        trial[j] = 0.5 * (centre[j] + group[worst, j])
                    score = misfit(trial, problem, sites, values, row, rates)
                    spent += 1
                    if not score < marks[worst]:  # a random point, accepted with any score
                        random_in_box(group, rng, trial)
                        score = misfit(trial, problem, sites, values, row, rates)
                        spent += 1
                group[worst] = trial
                marks[worst] = score
                sort_in(group, marks, worst)
            for i in range(points):
                population[i * complexes + k] = group[i]
                scores[i * complexes + k] = marks[i]
        order = np.argsort(scores, kind="mergesort")
        population, scores = population[order], scores[order]
        loops += 1
        history[loops, 0], history[loops, 1] = spent, scores[0]
        if log_range(population, search_low, search_high) < math.log(least_range):
            reason = COLLAPSED
            break
        if loops >= still_loops:
            recent = history[loops - still_loops + 1 : loops + 1, 1].mean()
            gained = history[loops - still_loops, 1] - history[loops, 1]
            if 100.0 * gained <= still_percent * max(recent, 1e-300):
                reason = CONVERGED
                break
    return population[0].copy(), float(scores[0]), spent, reason, history[: loops + 1].copy()


@jit
def walk(
    start: Doubles,
    rng: Any,
    steps: int,
    keep_every: int,
    exponent: float,
    ceiling: float,
    search_low: Doubles,
    search_high: Doubles,
    problem: Problem,
    sites: Doubles,
) -> tuple[Doubles, Doubles, float]:
    """Random walk through the search vectors of nearly the best misfit (DE-MC, ter Braak 2006).

    Parameters
    ----------
    start : (chains, n) float64
        At least 4 chains, each with a misfit of at most `ceiling`.
    rng : numpy Generator
        Advanced.
    steps, keep_every : int
        Sweeps over the chains, and the number of them after which the chains are stored.
    exponent : float
        Density is misfit ** -exponent: the number of profiles for a Gaussian likelihood whose variance is integrated
        out, 0 for the same density everywhere.
    ceiling : float
        No vector with a larger misfit, m.
    search_low, search_high, problem, sites
        As in `minimise`.

    Returns
    -------
    vectors : (stored, n) float64
    scores : (stored,) float64, m
    accepted : float
        Share of the proposals.
    """
    chains, n = start.shape
    values, row, rates = np.empty(problem.base.size), np.empty(6), np.empty((2, sites.shape[0]))
    state, trial = start.copy(), np.empty(n)
    score = np.empty(chains)
    for c in range(chains):
        score[c] = misfit(state[c], problem, sites, values, row, rates)
    stored = steps // keep_every
    vectors, scores = np.empty((stored * chains, n)), np.empty(stored * chains)
    stride = 2.38 / math.sqrt(2.0 * n)
    accepted = 0
    for step in range(steps):
        for c in range(chains):
            first = int(rng.random() * (chains - 1))
            first += 1 if first >= c else 0
            second = c
            while second == c or second == first:  # noqa: SIM109  (a tuple of numbers is slower here)
                second = int(rng.random() * chains)
            scale = 1.0 if rng.random() < 0.1 else stride  # full steps allow a chain to change between modes
            inside = True
            for j in range(n):
                jitter = (rng.random() - 0.5) * 1e-4 * (search_high[j] - search_low[j])
                trial[j] = state[c, j] + scale * (state[first, j] - state[second, j]) + jitter
                inside = inside and search_low[j] <= trial[j] <= search_high[j]
            chance = rng.random()
            if not inside:
                continue
            mark = misfit(trial, problem, sites, values, row, rates)
            if mark <= ceiling and mark < IMPOSSIBLE:
                better = exponent * (math.log(max(score[c], 1e-300)) - math.log(max(mark, 1e-300)))
                if better >= 0.0 or math.log(max(chance, 1e-300)) < better:
                    state[c] = trial
                    score[c] = mark
                    accepted += 1
        if (step + 1) % keep_every == 0:
            at = ((step + 1) // keep_every - 1) * chains
            vectors[at : at + chains] = state
            scores[at : at + chains] = score
    return vectors, scores, accepted / (steps * chains)
