"""Columns of covariates in, mean, spread and quantiles out, for a group of forests that share one encoding.

Works through the pixels in blocks, so that memory depends on neither their number nor the trees': about 110 bytes a pixel
of a block of 262 144, and a bounded buffer of leaves where quantiles are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpsoil.kernels.trees_encode import encode_words, order_pixels, rank_column
from tpsoil.kernels.trees_lanes import LANES
from tpsoil.kernels.trees_walk import mean_and_spread, walk_block

from .packing import Encoding, PackedForest

if TYPE_CHECKING:
    from .compiled import CompiledForest

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BLOCK = 1 << 18
"""Pixels ordered and walked together: more make likelier neighbours, fewer fit the cache better."""
BATCH = 32
"""Trees walked together: measured flat from 16 to 64."""
LEAF_BUFFER_BYTES = 8 << 20


@dataclass(frozen=True, eq=False)
class Group:
    """Forests that are walked on the same pixels.

    Parameters
    ----------
    forests : tuple of CompiledForest
    encoding : Encoding
        `encoding_of(forests)`.
    """

    forests: tuple[CompiledForest, ...]
    encoding: Encoding


@dataclass(eq=False)
class Prediction:
    """One forest's answer.

    Parameters
    ----------
    mean, sd : ndarray (n, outputs), float64
    leaves : ndarray (n, trees), int64, or None
        Node indices within each tree, where they were asked for.
    """

    mean: Floats
    sd: Floats
    leaves: Array | None = None


def walk_columns(
    group: Group, columns: Sequence[Array], wanted: Sequence[Array], *, leaves: bool = False
) -> list[Prediction]:
    """Walk every forest of a group on the pixels that it wants.

    Parameters
    ----------
    group : Group
    columns : sequence of ndarray (n,), float32
        One a feature of the encoding, contiguous.
    wanted : sequence of ndarray (n,), bool
        One a forest; the others' pixels are NaN.
    leaves : bool
        Also return every pixel's leaf in every tree, an array of n x trees.

    Returns
    -------
    list of Prediction
        One a forest.
    """
    n = columns[0].size
    results = []
    for forest in group.forests:
        shape = (forest.outputs, n)
        results.append(Prediction(np.full(shape, np.nan), np.full(shape, np.nan)))
        if leaves:
            results[-1].leaves = np.full((n, forest.trees), -1, dtype=np.int64)
    anyone = np.logical_or.reduce(list(wanted)) if len(wanted) > 1 else wanted[0]
    kept = np.flatnonzero(anyone).astype(np.uint32)
    for start in range(0, kept.size, BLOCK):
        where = kept[start : start + BLOCK].copy()
        ranks = _ranks(group.encoding, columns, where)
        order_pixels(ranks, where, group.encoding.weight, group.encoding.offset)
        for k, forest in enumerate(group.forests):
            _walk(forest.packed, group.encoding, k, ranks, where, results[k])
    for result, mask in zip(results, wanted):
        if mask is not anyone:
            result.mean[:, ~mask] = np.nan
            result.sd[:, ~mask] = np.nan
        result.mean, result.sd = result.mean.T, result.sd.T
    return results


def _ranks(encoding: Encoding, columns: Sequence[Array], where: Array) -> Array:
    ranks = np.empty((where.size, len(columns)), dtype=encoding.rank_dtype)
    for k, values in enumerate(columns):
        rank_column(
            values, where, encoding.thresholds[k], encoding.low[k], encoding.scale[k], encoding.starts[k], ranks, k
        )
    return ranks


def _walk(packed: PackedForest, encoding: Encoding, k: int, ranks: Array, where: Array, result: Prediction) -> None:
    n, outputs, trees = where.size, packed.value.shape[0], packed.root.size
    planes = encoding.plane_feature[k].size
    words = -(-n // LANES)
    queue = np.empty(8 * (LANES * BATCH + 16), dtype=np.uint64)
    labels = np.zeros(LANES * BATCH, dtype=packed.dtype)
    if result.leaves is None:
        step = words
        buffer = np.empty((0, 0, 0), dtype=packed.dtype)
    else:
        step = max(1, LEAF_BUFFER_BYTES // (LANES * trees * packed.dtype.itemsize))
        buffer = np.empty((min(step, words), trees, LANES), dtype=packed.dtype)
    codes = _aligned(min(step, words) * planes * LANES, packed.dtype)
    sums = np.empty((4, outputs, min(step, words) * LANES))
    for first in range(0, words, step):
        count = min(step, words - first)
        encode_words(
            ranks, n, first, count, encoding.plane_feature[k], encoding.table[k], encoding.table_offset[k], codes
        )
        sums[1:] = 0
        shift, total, deviation, square = sums
        walk_block(
            codes,
            count,
            planes,
            packed.words,
            packed.wide,
            packed.root,
            packed.value,
            BATCH,
            queue,
            labels,
            shift,
            total,
            deviation,
            square,
            buffer,
        )
        here = where[first * LANES : (first + count) * LANES]
        for output in range(outputs):
            mean_and_spread(
                trees,
                shift[output],
                total[output],
                deviation[output],
                square[output],
                here,
                result.mean[output],
                result.sd[output],
            )
        if result.leaves is not None:
            found = buffer[:count].transpose(0, 2, 1).reshape(-1, trees)[: here.size].astype(np.int64)
            result.leaves[here] = packed.node[found + packed.root] - packed.root


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """Uninitialised memory on a cache line's border, so that no vector of codes straddles two."""
    raw = np.empty(size * dtype.itemsize + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)
