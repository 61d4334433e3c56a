"""The walker: columns of covariates in, mean, spread and quantiles out, for a group of forests.

The packed arrays of a forest belong to the walker, which keeps them while the forest lives, up to a number of forests;
a CompiledForest itself is plain data. Pixels are processed in blocks, so that memory depends on neither their number
nor the trees': about 110 bytes a pixel of a block of 262 144, and a bounded buffer of leaves for quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError
from tpsoil.kernels.trees import sum_leaves
from tpsoil.kernels.trees_encode import encode_words, order_pixels, rank_column
from tpsoil.kernels.trees_lanes import LANES
from tpsoil.kernels.trees_quantiles import summed_quantiles, tree_quantiles
from tpsoil.kernels.trees_responses import counted_quantiles, response_quantiles
from tpsoil.kernels.trees_walk import mean_and_spread, walk_block

from .derived import DerivedValues
from .packing import NARROW_NODES, PackedForest, PackedResponses, Ranking, pack, pack_responses, ranking_of
from .quantiles import Levels, Responses

if TYPE_CHECKING:
    from .compiled import CompiledForest

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BLOCK = 1 << 18
"""Pixels ordered and walked together: with more, neighbours are more alike; fewer fit the cache better."""
BATCH = 48
"""Trees walked together: measured flat from 32 to 128, slower below."""
LEAF_BUFFER_BYTES = 16 << 20
"""Leaves of pixels whose quantiles are computed together: 8 MB costs 4 % more time, 1 MB 60 %."""
PACKED: Final = DerivedValues(entries=128)
"""Packed nodes, packed responses and rankings of live forests."""


@dataclass(eq=False)
class Prediction:
    """Prediction of one forest.

    Parameters
    ----------
    mean, sd : ndarray (outputs, n), float64
    quantiles : ndarray (outputs, n, levels), float64, or None
    leaves : ndarray (n, trees), int64, or None
        Node indices within each tree, where requested.
    """

    mean: Floats
    sd: Floats
    quantiles: Floats | None = None
    leaves: Array | None = None


@dataclass(frozen=True, eq=False)
class Walker:
    """Forests that are walked together on the same pixels. Created by `Walker.of`.

    Parameters
    ----------
    packed : tuple of PackedForest
    ranking : Ranking
        Of all of them.
    responses : tuple of PackedResponses
        Of each forest, or empty.
    """

    packed: tuple[PackedForest, ...]
    ranking: Ranking
    responses: tuple[PackedResponses, ...] = ()

    @classmethod
    def of(cls, forests: Sequence[CompiledForest], levels: Levels | None = None) -> Walker:
        """The walker of a group of forests; packs each of them once.

        Parameters
        ----------
        forests : sequence of CompiledForest
        levels : Levels, optional
            Quantiles that it has to predict.

        Raises
        ------
        InputError
            For a forest without training responses where they are needed, and more than 4095 features.
        """
        group = tuple(forests)
        packed = tuple(packed_nodes(forest) for forest in group)
        names = [forest.features for forest in group]
        ranking = PACKED.get(group, "ranking", lambda: ranking_of(names, packed))
        with_responses = levels is not None and levels.method == "responses"
        return cls(packed, ranking, tuple(map(packed_responses, group)) if with_responses else ())

    @property
    def features(self) -> tuple[str, ...]:
        """Of all the forests: the order of the columns of `walk`."""
        return self.ranking.features

    def walk(
        self,
        columns: Sequence[Array],
        selected: Sequence[Array],
        *,
        levels: Levels | None = None,
        leaves: bool = False,
    ) -> list[Prediction]:
        """Predict each forest's selected pixels.

        Parameters
        ----------
        columns : sequence of ndarray (n,), float32
            One for each of `features`, contiguous.
        selected : sequence of ndarray (n,), bool
            One for each forest; its other pixels are NaN.
        levels : Levels, optional
            Quantiles to predict too.
        leaves : bool
            Also return every pixel's leaf in every tree, an array of n x trees.

        Returns
        -------
        list of Prediction
            One for each forest.
        """
        n = selected[0].size
        results = [_empty(len(packed.value), packed.root.size, n, levels, leaves) for packed in self.packed]
        union = np.logical_or.reduce(list(selected)) if len(selected) > 1 else selected[0]
        pixels = np.flatnonzero(union).astype(np.uint32)
        for start in range(0, pixels.size, BLOCK):
            where = pixels[start : start + BLOCK].copy()
            ranks = _ranks(self.ranking, columns, where)
            order_pixels(ranks, ranks.view(np.uint64), where, self.ranking.weight, self.ranking.offset)
            for k in range(len(self.packed)):
                self._walk_one(k, ranks, where, levels, results[k])
        for result, mask in zip(results, selected):
            if mask is not union:
                for values in (result.mean, result.sd, result.quantiles):
                    if values is not None:
                        values[:, ~mask] = np.nan
        return results

    def _walk_one(self, k: int, ranks: Array, where: Array, levels: Levels | None, result: Prediction) -> None:
        packed, (plane_feature, table, offset) = self.packed[k], self.ranking.codes[k]
        n, outputs, trees = where.size, packed.value.shape[0], packed.root.size
        words = -(-n // LANES)
        step, buffer = words, np.empty((0, 0, 0), dtype=packed.dtype)
        if levels is not None or result.leaves is not None:
            step = min(words, max(1, LEAF_BUFFER_BYTES // (LANES * trees * packed.dtype.itemsize)))
            buffer = np.empty((step, trees, LANES), dtype=packed.dtype)
        codes = _aligned(step * plane_feature.size * LANES, packed.dtype)
        sums = np.empty((outputs, 4, step * LANES))
        nodes = (packed.words, packed.wide, packed.root, packed.value)
        for first in range(0, words, step):
            count = min(step, words - first)
            encode_words(ranks, n, first, count, plane_feature, table, offset, codes)
            sums[:, 1:] = 0
            walk_block(codes, count, plane_feature.size, *nodes, min(BATCH, trees), sums, buffer)
            here = where[first * LANES : (first + count) * LANES]
            for output in range(outputs):
                mean_and_spread(trees, sums[output], here, result.mean[output], result.sd[output])
            if levels is not None and result.quantiles is not None:
                stored = self.responses[k] if self.responses else None
                _quantiles(packed.root, packed.value, stored, buffer[:count], levels, here, result.quantiles)
            if result.leaves is not None:
                labelled = buffer[:count].transpose(0, 2, 1).reshape(-1, trees)[: here.size].astype(np.int64)
                result.leaves[here] = packed.node[labelled + packed.root] - packed.root


def _quantiles(
    root: Array,
    values: Array,
    stored: PackedResponses | None,
    leaves: Array,
    levels: Levels,
    where: Array,
    results: Floats,
) -> None:
    """Quantiles of every output: between trees, or of the training responses."""
    for output, (value, result) in enumerate(zip(values, results)):
        if stored is None:
            tree_quantiles(leaves, root, value, levels.array, where, result)
            continue
        pixels = np.arange(min(leaves.shape[0] * LANES, where.size))
        response = stored.ascending[output]
        if stored.codes:
            codes = stored.codes[output]
            asked = (response, levels.array, where, result, pixels)
            if codes.single:
                count = counted_quantiles(leaves, root, codes.leaf, stored.weighted, *asked)
            else:
                count = response_quantiles(leaves, root, codes.leaf, codes.entry, codes.share, codes.unit, *asked)
            pixels = pixels[:count]
        if pixels.size:
            members = (stored.begin, stored.member, stored.rank[output])
            summed_quantiles(leaves, root, *members, response, stored.weighted, levels.array, where, pixels, result)


def walk_few(forest: CompiledForest, rows: Array, selected: Array, levels: Levels | None = None) -> Prediction:
    """Predict a few rows, one by one down each tree: equal bit for bit, without packing the forest.

    Parameters
    ----------
    forest : CompiledForest
    rows : ndarray (n, features), float32
    selected : ndarray (n,), bool
        Other rows are NaN.
    levels : Levels, optional

    Notes
    -----
    A row takes about 0.1 us a tree, packing about 0.2 us a node. A forest of a fold predicts its own fold once.
    """
    outputs, trees = forest.outputs, forest.trees
    result = _empty(outputs, trees, len(rows), levels)
    where = np.flatnonzero(selected).astype(np.uint32)
    leaves = forest.leaves_of(rows[where])
    values = np.ascontiguousarray(forest.value.T)
    sums = np.empty((4, where.size))
    for output in range(outputs):
        sum_leaves(leaves, values[output], sums)
        mean_and_spread(trees, sums, where, result.mean[output], result.sd[output])
    if levels is None or result.quantiles is None:
        return result
    words = -(-where.size // LANES)
    narrow = int(np.diff(np.append(forest.root, forest.left.size)).max()) <= NARROW_NODES
    labels = np.zeros((words * LANES, trees), dtype=np.uint16 if narrow else np.uint32)
    labels[: where.size] = leaves - forest.root
    buffer = np.ascontiguousarray(labels.reshape(words, LANES, trees).transpose(0, 2, 1))
    stored = unpacked_responses(forest) if levels.method == "responses" else None
    _quantiles(forest.root, values, stored, buffer, levels, where, result.quantiles)
    return result


def packed_nodes(forest: CompiledForest) -> PackedForest:
    """The nodes of a forest as the walk reads them."""
    return PACKED.get((forest,), "nodes", lambda: pack(forest))


def packed_responses(forest: CompiledForest) -> PackedResponses:
    """The training responses of a forest as the walk reads them.

    Raises
    ------
    InputError
        For a forest without them.
    """
    responses = _responses(forest)
    return PACKED.get(
        (forest,), "responses", lambda: pack_responses(packed_nodes(forest).node, responses, forest.trees)
    )


def unpacked_responses(forest: CompiledForest) -> PackedResponses:
    """The training responses of a forest in the order of its own nodes."""
    responses = _responses(forest)
    return pack_responses(np.arange(forest.left.size), responses, forest.trees)


def _responses(forest: CompiledForest) -> Responses:
    if forest.responses is None:
        raise InputError("CompiledForest: no training responses; compile with responses=(X, y)")
    return forest.responses


def _empty(outputs: int, trees: int, n: int, levels: Levels | None, leaves: bool = False) -> Prediction:
    shape = (outputs, n)
    return Prediction(
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        None if levels is None else np.full((*shape, len(levels.levels)), np.nan),
        np.full((n, trees), -1, dtype=np.int64) if leaves else None,
    )


def _ranks(ranking: Ranking, columns: Sequence[Array], where: Array) -> Array:
    dtype = ranking.rank_dtype
    # Padded to whole 64-bit words, by which pixels are moved.
    words = 8 // dtype.itemsize
    ranks = np.zeros((where.size, -(-len(columns) // words) * words), dtype=dtype)
    for k, column in enumerate(columns):
        values = column.view()
        values.flags.writeable = False  # or the kernel would be compiled twice: some stores give arrays to read only
        rank_column(values, where, ranking.thresholds[k], *ranking.buckets[k], ranks, k)
    return ranks


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """Uninitialised memory aligned to a cache line, so that no vector of codes is in two of them."""
    raw = np.empty(size * dtype.itemsize + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)
