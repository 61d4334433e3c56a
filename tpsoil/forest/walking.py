"""Columns of covariates in, mean, spread and quantiles out, for a group of forests that share one encoding.

Works through the pixels in blocks, so that memory depends on neither their number nor the trees': about 110 bytes a
pixel of a block of 262 144, and a bounded buffer of leaves where quantiles are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpsoil.kernels.trees_encode import FEW, encode_words, order_pixels, rank_column
from tpsoil.kernels.trees_lanes import LANES
from tpsoil.kernels.trees_quantiles import response_quantiles, tree_quantiles
from tpsoil.kernels.trees_walk import mean_and_spread, walk_block

from .packing import Encoding, PackedResponses
from .quantiles import Levels

if TYPE_CHECKING:
    from .compiled import CompiledForest

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BLOCK = 1 << 18
"""Pixels ordered and walked together: more make likelier neighbours, fewer fit the cache better."""
BATCH = 48
"""Trees walked together: measured flat from 32 to 128, slower below."""
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
    mean, sd : ndarray (outputs, n), float64
    quantiles : ndarray (outputs, n, levels), float64, or None
    leaves : ndarray (n, trees), int64, or None
        Node indices within each tree, where they were asked for.
    """

    mean: Floats
    sd: Floats
    quantiles: Floats | None = None
    leaves: Array | None = None


def walk_columns(
    group: Group,
    columns: Sequence[Array],
    wanted: Sequence[Array],
    *,
    levels: Levels | None = None,
    leaves: bool = False,
) -> list[Prediction]:
    """Walk every forest of a group on the pixels that it wants.

    Parameters
    ----------
    group : Group
    columns : sequence of ndarray (n,), float32
        One a feature of the encoding, contiguous.
    wanted : sequence of ndarray (n,), bool
        One a forest; the others' pixels are NaN.
    levels : Levels, optional
        Quantiles to give too.
    leaves : bool
        Also return every pixel's leaf in every tree, an array of n x trees.

    Returns
    -------
    list of Prediction
        One a forest.
    """
    n = wanted[0].size
    results = [_empty(forest, n, levels, leaves) for forest in group.forests]
    anyone = np.logical_or.reduce(list(wanted)) if len(wanted) > 1 else wanted[0]
    kept = np.flatnonzero(anyone).astype(np.uint32)
    for start in range(0, kept.size, BLOCK):
        where = kept[start : start + BLOCK].copy()
        ranks = _ranks(group.encoding, columns, where)
        order_pixels(ranks, ranks.view(np.uint64), where, group.encoding.weight, group.encoding.offset)
        for k, forest in enumerate(group.forests):
            _walk(forest, group.encoding, k, ranks, where, levels, results[k])
    for result, mask in zip(results, wanted):
        if mask is not anyone:
            result.mean[:, ~mask] = np.nan
            result.sd[:, ~mask] = np.nan
            if result.quantiles is not None:
                result.quantiles[:, ~mask] = np.nan
    return results


def _empty(forest: CompiledForest, n: int, levels: Levels | None, leaves: bool) -> Prediction:
    shape = (forest.outputs, n)
    return Prediction(
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        None if levels is None else np.full((*shape, len(levels.levels)), np.nan),
        np.full((n, forest.trees), -1, dtype=np.int64) if leaves else None,
    )


def _ranks(encoding: Encoding, columns: Sequence[Array], where: Array) -> Array:
    dtype = encoding.rank_dtype
    # Padded to whole 64-bit words, by which pixels are moved.
    words = 8 // dtype.itemsize
    ranks = np.zeros((where.size, -(-len(columns) // words) * words), dtype=dtype)
    for k, values in enumerate(columns):
        limits = encoding.thresholds[k]
        bucket = (encoding.low[k], encoding.scale[k], encoding.starts[k])
        rank_column(values, where, limits, limits.size - FEW, *bucket, ranks, k)
    return ranks


def _walk(
    forest: CompiledForest,
    encoding: Encoding,
    k: int,
    ranks: Array,
    where: Array,
    levels: Levels | None,
    result: Prediction,
) -> None:
    packed = forest.packed
    n, outputs, trees = where.size, packed.value.shape[0], packed.root.size
    planes = encoding.plane_feature[k].size
    words = -(-n // LANES)
    batch = min(BATCH, trees)
    queue = np.empty(8 * (LANES * batch + 16), dtype=np.uint64)
    labels = np.zeros(LANES * batch, dtype=packed.dtype)
    step, buffer = words, np.empty((0, 0, 0), dtype=packed.dtype)
    if levels is not None or result.leaves is not None:
        step = min(words, max(1, LEAF_BUFFER_BYTES // (LANES * trees * packed.dtype.itemsize)))
        buffer = np.empty((step, trees, LANES), dtype=packed.dtype)
    codes = _aligned(step * planes * LANES, packed.dtype)
    sums = np.empty((4, outputs, step * LANES))
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
            batch,
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
                total[output],
                deviation[output],
                square[output],
                here,
                result.mean[output],
                result.sd[output],
            )
        if levels is not None and result.quantiles is not None:
            for output in range(outputs):
                _quantiles(forest, output, buffer[:count], levels, here, result.quantiles[output])
        if result.leaves is not None:
            found = buffer[:count].transpose(0, 2, 1).reshape(-1, trees)[: here.size].astype(np.int64)
            result.leaves[here] = packed.node[found + packed.root] - packed.root


def _quantiles(
    forest: CompiledForest, output: int, leaves: Array, levels: Levels, where: Array, result: Floats
) -> None:
    packed = forest.packed
    if levels.method == "trees":
        tree_quantiles(leaves, packed.root, packed.value[output], levels.array, where, 0, result)
        return
    stored: PackedResponses = forest.packed_responses
    response_quantiles(
        leaves,
        packed.root,
        stored.begin,
        stored.member,
        stored.rank[output],
        stored.ascending[output],
        stored.weighted,
        levels.array,
        where,
        0,
        result,
    )


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """Uninitialised memory on a cache line's border, so that no vector of codes straddles two."""
    raw = np.empty(size * dtype.itemsize + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)
