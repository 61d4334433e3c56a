"""Forests and rows that make an inexact engine show: shared by the forest tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

Floats = npt.NDArray[np.float64]
FEATURES = ("plain", "tiny", "huge", "close", "classes", "flat")


def training_rows(rows: int = 400, *, seed: int = 0, missing: bool = False) -> tuple[Floats, Floats]:
    """Six features of awkward scales: tiny, huge, distinct only as float64, classes, constant."""
    rng = np.random.default_rng(seed)
    X = np.empty((rows, 6))
    X[:, 0] = rng.normal(size=rows)
    X[:, 1] = rng.integers(-300, 300, rows)
    X[:, 2] = rng.uniform(-3e35, 3e35, rows)
    X[:, 3] = 1.0 + rng.integers(0, 4000, rows) * 2.0**-24
    X[:, 4] = rng.integers(0, 9, rows)
    X[:, 5] = 7.0
    y = X[:, 0] + X[:, 1] / 100 + X[:, 2] / 1e35 + (X[:, 3] - 1) * 1e4 + (X[:, 4] % 3) + rng.normal(0, 0.3, rows)
    if missing:
        X[rng.random(X.shape) < 0.15] = np.nan
        y = y + np.where(np.isnan(X[:, 0]), 3.0, 0.0) - np.where(np.isnan(X[:, 4]), 2.0, 0.0)
    return X, np.asarray(y)


TINY = 1.4e-44


def shrink(forest: Any, X: Floats) -> tuple[Any, Floats]:
    """Make the splits on `tiny` denormal float32: scikit-learn itself takes values nearer than 1e-7 for equal."""
    for estimator in forest.estimators_:
        split = (estimator.tree_.feature == 1) & (estimator.tree_.children_left >= 0)
        estimator.tree_.threshold[split] *= TINY
    rows = X.copy()
    rows[:, 1] *= TINY
    return forest, rows


def adversarial_rows(forest: Any, rows: int, *, seed: int = 1, missing: bool = True) -> Floats:
    """Rows of thresholds, an ulp either side in float32 and float64, values between, the ends of the number line."""
    rng = np.random.default_rng(seed)
    columns = []
    for feature in range(forest.n_features_in_):
        found = [
            e.tree_.threshold[(e.tree_.feature == feature) & (e.tree_.children_left >= 0)] for e in forest.estimators_
        ]
        exact = np.unique(np.concatenate([*found, [0.0]]))
        with np.errstate(over="ignore"):
            single = exact.astype(np.float32)
        up, down = np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))
        ends = [0.0, -0.0, 1e-45, -1e-45, 1e-40, 1.17549435e-38, 3.4e38, -3.4e38, 1e39, -1e39, 1e300, np.inf, -np.inf]
        ends += [*range(-1, 10), np.nan if missing else 0.5]
        pool = np.concatenate(
            [
                exact,
                np.nextafter(exact, np.inf),
                np.nextafter(exact, -np.inf),
                *(values.astype(np.float64) for values in (single, up, down)),
                (exact + up) / 2,
                np.repeat(np.array(ends, dtype=np.float64), max(1, exact.size // 12)),
                rng.normal(size=exact.size),
            ]
        )
        columns.append(rng.choice(pool, rows))
    return np.stack(columns, axis=1)


def single(X: Floats) -> npt.NDArray[np.float32]:
    """The cast that scikit-learn makes."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32)


def sklearn_leaves(forest: Any, X: Floats) -> npt.NDArray[np.int64]:
    """`apply` of each tree itself, which takes infinite values where the forest's own check refuses them."""
    rows = single(X)
    return np.stack([estimator.tree_.apply(rows) for estimator in forest.estimators_], axis=1)


def sklearn_values(forest: Any, X: Floats) -> Floats:
    """Prediction of every tree: (trees, rows) or (trees, rows, outputs)."""
    rows = single(X)
    return np.stack([np.squeeze(estimator.tree_.predict(rows), axis=-1) for estimator in forest.estimators_])


@cache
def forests() -> dict[str, tuple[Any, Floats, Floats]]:
    """Fitted forests of every kind that the engine takes: {name: (forest, X, y)}."""
    X, y = training_rows()
    Z, w = training_rows(missing=True, seed=3)
    several = np.stack([y, -3 * y + X[:, 0], np.full(len(y), 5.0)], axis=1)
    wide = np.random.default_rng(5).normal(size=(70000, 2))

    def forest(trees: int = 37, **options: Any) -> Any:
        return RandomForestRegressor(trees, random_state=1, n_jobs=1, **options)

    return {
        "default": (forest().fit(X, y), X, y),
        "denormal": (*shrink(forest().fit(X, y), X), y),
        "one tree": (forest(1).fit(X, y), X, y),
        "batches": (forest(70, max_features=0.4).fit(X, y), X, y),
        "shallow": (forest(max_depth=3).fit(X, y), X, y),
        "large leaves": (forest(min_samples_leaf=7, max_samples=0.6).fit(X, y), X, y),
        "no bootstrap": (forest(bootstrap=False, max_features=2).fit(X, y), X, y),
        "constant": (forest().fit(X, np.full(len(y), -2.5)), X, np.full(len(y), -2.5)),
        "offset": (forest().fit(X, y + 1e9), X, y + 1e9),
        "two values": (forest(max_depth=1).fit(X, np.where(y > 0, 1.0, 0.0)), X, np.where(y > 0, 1.0, 0.0)),
        "median": (forest(9, criterion="absolute_error", max_depth=5).fit(X, y), X, y),
        "missing": (forest().fit(Z, w), Z, w),
        "outputs": (forest().fit(X, several), X, several),
        "extra": (ExtraTreesRegressor(37, random_state=1).fit(X, y), X, y),
        "extra missing": (ExtraTreesRegressor(37, random_state=1).fit(Z, w), Z, w),
        "wide": (ExtraTreesRegressor(2, random_state=1).fit(wide, wide[:, 0]), wide, wide[:, 0]),
    }
