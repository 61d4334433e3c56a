"""Blocks at half the resolution: the kernels against plain numpy, on missing, infinite and large values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tpsoil.kernels.halves import majority_of_four, mean_of_four


def four_of(block: np.ndarray) -> np.ndarray:
    return np.stack([block[i::2, j::2] for i in (0, 1) for j in (0, 1)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_means_are_of_what_is_there(dtype: str) -> None:
    rng = np.random.default_rng(0)
    block = rng.normal(0, 100, (20, 34)).astype(dtype)
    block[rng.random(block.shape) < 0.4] = np.nan
    half = np.empty((10, 17), dtype)
    mean_of_four(block, half)
    four = four_of(block)
    counts = np.isfinite(four).sum(axis=0)
    expected = np.where(counts > 0, np.nansum(four, axis=0) / np.maximum(counts, 1), np.nan)
    assert 0 < int(np.isnan(half).sum()) < half.size
    np.testing.assert_allclose(half, expected, rtol=1e-4 if dtype == "float32" else 1e-12)


def test_sums_above_the_type_and_infinite_cells() -> None:
    block = np.full((2, 8), 3e38, np.float32)
    block[1, 2:4] = np.nan
    block[0, 5], block[:, 6:] = np.inf, 1.0
    half = np.empty((1, 4), np.float32)
    mean_of_four(block, half)
    np.testing.assert_array_equal(half, np.array([[3e38, 3e38, np.inf, 1.0]], np.float32))


@pytest.mark.parametrize(("dtype", "fill"), [("uint8", 255), ("int16", -32768)])
def test_the_most_frequent_code_and_the_lowest_of_several(dtype: str, fill: int) -> None:
    rng = np.random.default_rng(1)
    block = rng.integers(0, 4, (40, 50)).astype(dtype)
    block[rng.random(block.shape) < 0.4] = fill
    half = np.empty((20, 25), dtype)
    majority_of_four(block, half.dtype.type(fill), half)
    for codes, code in zip(four_of(block).reshape(4, -1).T.tolist(), half.ravel().tolist()):
        known = [one for one in codes if one != fill]
        assert code == min(known, key=lambda one: (-known.count(one), one), default=fill)


@pytest.mark.nojit
def test_the_same_with_jit_off() -> None:
    code = """
import sys, warnings
sys.path.insert(0, "tests")
import test_halves as t
for dtype in ("float32", "float64"):
    t.test_means_are_of_what_is_there(dtype)
warnings.simplefilter("ignore", RuntimeWarning)  # numpy's scalars report a sum above their type
t.test_sums_above_the_type_and_infinite_cells()
for dtype, fill in (("uint8", 255), ("int16", -32768)):
    t.test_the_most_frequent_code_and_the_lowest_of_several(dtype, fill)
"""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parent.parent, timeout=120, check=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
