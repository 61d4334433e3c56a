"""k-prototypes on plain arrays: numbers by squared distance, classes by mismatch (Huang 1998)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .compile import jit

Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Labels = npt.NDArray[np.int32]


@jit
def nearest_centre(
    layers: Doubles, centres: Doubles, scale: Doubles, valid: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Index of the nearest centre by scaled squared distance.

    Parameters
    ----------
    layers : (features, n) float64
    centres : (k, features) float64
    scale : (features,) float64
        Each difference is divided by it; > 0.
    valid : (n,) bool

    Returns
    -------
    (n,) uint8
        0..k-1, the lowest of equals; 255 where not valid or a feature is NaN or infinite.
    """
    features, n = layers.shape
    out = np.empty(n, np.uint8)
    for i in range(n):
        best = np.inf
        nearest = 255
        if valid[i]:
            for c in range(centres.shape[0]):
                distance = 0.0
                for f in range(features):
                    step = (layers[f, i] - centres[c, f]) / scale[f]
                    distance += step * step
                if distance < best:  # false for NaN
                    best = distance
                    nearest = c
        out[i] = nearest
    return out


@jit
def sine_and_cosine(degrees: Doubles) -> tuple[Doubles, Doubles]:
    """Sine and cosine of a direction, both 0 where it is NaN (flat ground has no direction).

    Jitted, because numpy's own differ in the last bit between array lengths, and a zone must not depend on chunks.
    """
    sine, cosine = np.zeros(degrees.size), np.zeros(degrees.size)
    for i in range(degrees.size):
        if not math.isnan(degrees[i]):
            sine[i] = math.sin(math.radians(degrees[i]))
            cosine[i] = math.cos(math.radians(degrees[i]))
    return sine, cosine


@jit
def assign(
    numbers: Doubles, classes: Codes, centres: Doubles, modes: Codes, gamma: float, labels: Labels
) -> tuple[float, int]:
    """Assign every point to the nearest prototype.

    Parameters
    ----------
    numbers : (n, f) float64
        Standardised; no NaN.
    classes : (n, c) int32
        Class codes; a code that is not a mode is a mismatch.
    centres, modes : (k, f) float64, (k, c) int32
    gamma : float
        Cost of a mismatch: d = sum_num (x - c)^2 + gamma sum_cat [x != mode].
    labels : (n,) int32
        Written in place; 0..k-1, the lowest of equals.

    Returns
    -------
    cost : float
        Summed distances.
    moved : int
        Labels that changed.
    """
    cost = 0.0
    moved = 0
    for i in range(numbers.shape[0]):
        best = np.inf
        nearest = 0
        for c in range(centres.shape[0]):
            distance = 0.0
            for f in range(numbers.shape[1]):
                step = numbers[i, f] - centres[c, f]
                distance += step * step
            for f in range(classes.shape[1]):
                if classes[i, f] != modes[c, f]:
                    distance += gamma
            if distance < best:
                best = distance
                nearest = c
        cost += best
        if labels[i] != nearest:
            labels[i] = nearest
            moved += 1
    return cost, moved


@jit
def means_and_modes(
    numbers: Doubles, classes: Codes, labels: Labels, levels: int, centres: Doubles, modes: Codes
) -> Labels:
    """Write the means and modes of every cluster, and return its size.

    Parameters
    ----------
    numbers, classes, labels
        As `assign`.
    levels : int
        Class codes are 0 .. levels - 1.
    centres, modes : (k, f), (k, c)
        Written in place, but for empty clusters. The lowest of equally frequent classes is the mode.

    Returns
    -------
    (k,) int32
        Points of each cluster.
    """
    k = centres.shape[0]
    sizes = np.zeros(k, np.int32)
    sums = np.zeros(centres.shape)
    counts = np.zeros((k, classes.shape[1], levels), np.int32)
    for i in range(numbers.shape[0]):
        c = labels[i]
        sizes[c] += 1
        for f in range(numbers.shape[1]):
            sums[c, f] += numbers[i, f]
        for f in range(classes.shape[1]):
            counts[c, f, classes[i, f]] += 1
    for c in range(k):
        if sizes[c] > 0:
            for f in range(centres.shape[1]):
                centres[c, f] = sums[c, f] / sizes[c]
            for f in range(classes.shape[1]):
                modes[c, f] = np.argmax(counts[c, f])
    return sizes


@jit
def fill_empty(numbers: Doubles, centres: Doubles, labels: Labels, sizes: Labels) -> None:
    """Assign to every empty cluster the point that is farthest from its centre, among clusters of two and more."""
    for c in range(sizes.size):
        if sizes[c] == 0:
            farthest = -1
            worst = -1.0
            for i in range(numbers.shape[0]):
                own = labels[i]
                if sizes[own] > 1:
                    distance = 0.0
                    for f in range(numbers.shape[1]):
                        step = numbers[i, f] - centres[own, f]
                        distance += step * step
                    if distance > worst:
                        worst = distance
                        farthest = i
            if farthest >= 0:
                sizes[labels[farthest]] -= 1
                labels[farthest] = c
                sizes[c] = 1


@jit
def refine(
    numbers: Doubles, classes: Codes, labels: Labels, levels: int, gamma: float, centres: Doubles, modes: Codes
) -> int:
    """One pass of single moves that each lower the cost, with the means and modes that follow (Hartigan and Wong).

    Parameters
    ----------
    numbers, classes, labels, levels, gamma, centres, modes
        As above; `labels`, `centres` and `modes` are written in place and must be consistent on entry.

    Returns
    -------
    int
        Points that moved.

    Notes
    -----
    A point leaves cluster A (n_A points, distance d_A to its mean) for B where n_B/(n_B + 1) d_B - n_A/(n_A - 1) d_A
    plus gamma times the change of the two clusters' mismatches is negative: the cost after the update of means and
    modes. A partition that no such move can improve, no reassignment can improve; the converse is not true.
    """
    k, c_count = centres.shape[0], classes.shape[1]
    sizes = np.zeros(k, np.int64)
    counts = np.zeros((k, c_count, levels), np.int32)
    for i in range(numbers.shape[0]):
        sizes[labels[i]] += 1
        for f in range(c_count):
            counts[labels[i], f, classes[i, f]] += 1
    moved = 0
    for i in range(numbers.shape[0]):
        cluster = labels[i]
        if sizes[cluster] < 2:
            continue
        distance = 0.0
        for f in range(numbers.shape[1]):
            step = numbers[i, f] - centres[cluster, f]
            distance += step * step
        leave = distance * sizes[cluster] / (sizes[cluster] - 1.0)
        for f in range(c_count):
            code = classes[i, f]
            highest = counts[cluster, f, modes[cluster, f]]
            # Without this point: one mismatch less, unless it has the only most frequent class.
            if code == modes[cluster, f]:
                rival = 0
                for level in range(levels):
                    if level != code:
                        rival = max(rival, counts[cluster, f, level])
                if rival >= highest:
                    leave += gamma
            else:
                leave += gamma
        best = leave * (1.0 - 1e-12) - 1e-12
        target = cluster
        for c in range(k):
            if c == cluster:
                continue
            distance = 0.0
            for f in range(numbers.shape[1]):
                step = numbers[i, f] - centres[c, f]
                distance += step * step
            enter = distance * sizes[c] / (sizes[c] + 1.0)
            for f in range(c_count):
                if counts[c, f, classes[i, f]] < counts[c, f, modes[c, f]]:
                    enter += gamma
            if enter < best:
                best = enter
                target = c
        if target == cluster:
            continue
        for f in range(numbers.shape[1]):
            value = numbers[i, f]
            centres[cluster, f] -= (value - centres[cluster, f]) / (sizes[cluster] - 1.0)
            centres[target, f] += (value - centres[target, f]) / (sizes[target] + 1.0)
        for f in range(c_count):
            code = classes[i, f]
            counts[cluster, f, code] -= 1
            counts[target, f, code] += 1
            modes[cluster, f] = np.argmax(counts[cluster, f])
            modes[target, f] = np.argmax(counts[target, f])
        sizes[cluster] -= 1
        sizes[target] += 1
        labels[i] = target
        moved += 1
    return moved


@jit
def fit(
    numbers: Doubles,
    classes: Codes,
    levels: int,
    gamma: float,
    centres: Doubles,
    modes: Codes,
    labels: Labels,
    most_passes: int,
) -> tuple[float, int]:
    """k-prototypes from initial prototypes (Huang 1998): reassign until no label changes, then single moves, in turns.

    Parameters
    ----------
    numbers, classes, levels, gamma
        As above.
    centres, modes : (k, f), (k, c)
        The start; written in place.
    labels : (n,) int32
        Written in place.
    most_passes : int
        Maximum number of passes over the points, of either kind.

    Returns
    -------
    cost : float
        At the end, of the returned prototypes and labels.
    passes : int
        Passes over the points.
    """
    passes = 0
    while passes < most_passes:
        moved = 1
        while moved > 0 and passes < most_passes:
            _, moved = assign(numbers, classes, centres, modes, gamma, labels)
            passes += 1
            sizes = means_and_modes(numbers, classes, labels, levels, centres, modes)
            if (sizes == 0).any():
                fill_empty(numbers, centres, labels, sizes)
                means_and_modes(numbers, classes, labels, levels, centres, modes)
                moved = 1
        if passes >= most_passes:
            break
        moved = refine(numbers, classes, labels, levels, gamma, centres, modes)
        passes += 1
        # Running means accumulate rounding errors; compute them again.
        means_and_modes(numbers, classes, labels, levels, centres, modes)
        if moved == 0:
            break
    cost, _ = assign(numbers, classes, centres, modes, gamma, labels)
    return cost, passes
