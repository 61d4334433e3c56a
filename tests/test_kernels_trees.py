"""The walk's own steps: vector forms against plain numpy, ranks against a search, and an order that loses no pixel."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.forest.packing import _buckets
from tpsoil.kernels import trees_encode as encode
from tpsoil.kernels import trees_lanes as lanes

u = np.uint64


@numba.njit
def at_most(codes: Any, offset: Any, code: Any) -> Any:
    return lanes.at_most(codes, offset, code)


@numba.njit
def assign(labels: Any, offset: Any, pixels: Any, label: Any) -> None:
    lanes.assign(labels, offset, pixels, label)


@numba.njit
def split_eight(queue: Any, source: Any, bits: Any, words: Any, inner: Any, leaf: Any, sets: Any) -> Any:
    return lanes.split_eight(queue, source, bits, words, inner, leaf, sets)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_at_most_and_assign_equal_numpy(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    codes = rng.choice(np.array([0, 1, 2, 500, top - 1, top], dtype=dtype), 500)
    for offset in (0, 1, 7, 64, 436):
        for code in (0, 1, 2, 3, 500, top - 1):
            found = u(at_most(codes, u(offset), u(code)))
            assert found == lanes.PLAIN["at_most"](codes, u(offset), u(code))
            assert [bool(int(found) >> i & 1) for i in range(64)] == (codes[offset : offset + 64] <= code).tolist()
            one, other = codes.copy(), codes.copy()
            assign(one, u(offset), found, u(code))
            lanes.PLAIN["assign"](other, u(offset), found, u(code))
            np.testing.assert_array_equal(one, other)


def test_split_equals_numpy_on_every_mix_of_children() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        queue = rng.integers(0, 1 << 63, 400, dtype=np.uint64)
        words = rng.integers(0, 1 << 40, 8, dtype=np.uint64) | rng.choice(
            np.array([0, lanes.LEFT_LEAF, lanes.RIGHT_LEAF, lanes.LEFT_LEAF | lanes.RIGHT_LEAF], dtype=np.uint64), 8
        )
        queue[32:40] = words
        sets = rng.choice(np.array([0, 1, 3, 1 << 63, 0xFFFFFFFFFFFFFFFF], dtype=np.uint64), 8)
        queue[50:58] = sets
        one, other = queue.copy(), queue.copy()
        places = (u(0), u(16), u(32), u(100), u(200), u(50))
        a = split_eight(one, *places)
        b = lanes.PLAIN["split_eight"](other, *places)
        assert a == b
        inner, leaves = int(a) & 0xFFFFFFFF, int(a) >> 32
        for start, count in ((100, inner), (150, inner), (200, leaves), (250, leaves)):
            np.testing.assert_array_equal(one[start : start + count], other[start : start + count])
        kept = np.concatenate([one[150 : 150 + inner], one[250 : 250 + leaves]])
        # Every pixel of every set is in exactly one child.
        assert sum(int(k).bit_count() for k in kept) == sum(int(s).bit_count() for s in sets)


SPECIAL = [
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    3.4028235e38,
    -3.4028235e38,
    np.inf,
    -np.inf,
    np.nan,
    1.0,
    np.nextafter(np.float32(1), np.float32(2)),
]
NUMBERS = st.one_of(st.sampled_from(SPECIAL), st.floats(width=32, allow_nan=False))


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMBERS, max_size=60), st.lists(NUMBERS, min_size=1, max_size=80))
def test_ranks_count_the_thresholds_below(thresholds: list[float], values: list[float]) -> None:
    limits = np.unique(np.array([t for t in thresholds if not np.isnan(t) and t != -np.inf], dtype=np.float32))
    x = np.array(values, dtype=np.float32)
    low, scale, starts = _buckets(limits)
    for dtype in (np.uint16, np.uint32):
        ranks = np.zeros((x.size, 2), dtype=dtype)
        padded = np.append(limits, np.full(encode.FEW, np.inf, dtype=np.float32))
        where = np.arange(x.size, dtype=np.uint32)
        encode.rank_column(x, where, padded, low, scale, starts, ranks, 1)
        expected = np.where(np.isnan(x), limits.size + 1, np.searchsorted(limits, x, side="left"))
        np.testing.assert_array_equal(ranks[:, 1], expected)
        assert (ranks[:, 0] == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 700), st.integers(1, 5), st.integers(1, 3000), st.integers(0, 99))
def test_ordering_moves_whole_pixels_and_loses_none(n: int, features: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ranks = np.zeros((n, 8), dtype=np.uint16)
    ranks[:, :features] = rng.integers(0, distinct, (n, features))
    before, where = ranks.copy(), np.arange(n, dtype=np.uint32)
    weight = np.concatenate([np.arange(distinct + 1.0)] * features)
    offset = np.arange(features) * (distinct + 1)
    encode.order_pixels(ranks, ranks.view(np.uint64), where, weight, offset)
    np.testing.assert_array_equal(np.sort(where), np.arange(n))
    np.testing.assert_array_equal(ranks, before[where])


def test_ordering_brings_likes_together() -> None:
    rng = np.random.default_rng(0)
    n, distinct = 4096, 4096
    ranks = np.stack([*(rng.permutation(distinct) for _ in range(3)), np.zeros(n)], axis=1).astype(np.uint16)

    def width(rows: Any) -> float:
        return float(np.ptp(rows[:, :3].reshape(-1, 64, 3).astype(float), axis=1).mean())

    before = width(ranks)
    weight, offset = np.concatenate([np.arange(distinct + 1.0)] * 3), np.arange(3) * (distinct + 1)
    encode.order_pixels(ranks, ranks.view(np.uint64), np.arange(n, dtype=np.uint32), weight, offset)
    # 64 words of 3 features: two halvings each, so about a quarter of the range.
    assert width(ranks) < before / 3.5
