"""A forest in the layout that the walk reads, and the ranking of covariates that several forests share.

A node is one 64-bit word, each tree breadth first with siblings side by side. Thresholds become codes: the position
among the forest's own thresholds of that feature. `Ranking` ranks covariates once among the thresholds of all forests
of a group; a small table converts each rank to a forest's own code. Arrays only: nothing here refers to a forest, so
that packed arrays can be cached for as long as their forest lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError
from tpsoil.kernels import trees_lanes as lanes
from tpsoil.kernels.trees_encode import FEW, fill_buckets
from tpsoil.kernels.trees_responses import FEW_ROWS, RANK_BITS, code_leaves

if TYPE_CHECKING:
    from .compiled import CompiledForest
    from .quantiles import Responses

Array = npt.NDArray[Any]

NARROW_THRESHOLDS = 65533
"""Maximum number of distinct thresholds of a feature in 16-bit codes: 1 .. m + 1 values, 0 and 65535 missing."""
NARROW_NODES = 65536
MAX_PLANES = 4095
MAX_MEMBERS = 32767
"""Of a leaf in the codes of training responses."""
BUCKETS_PER_THRESHOLD = 4


@dataclass(frozen=True, eq=False)
class PackedForest:
    """One forest as the walk reads it.

    Parameters
    ----------
    words : ndarray (nodes,), uint64
        Layout in `tpsoil.kernels.trees_lanes`.
    wide : ndarray, uint16 (0,) or uint32 (nodes,)
        Codes of thresholds, where 16 bits do not hold them.
    root : ndarray (trees,), int64
    value : ndarray (outputs, nodes), float64
    node : ndarray (nodes,), int64
        The forest's own index of each packed node.
    plane_feature : ndarray (planes,), int64
    plane_missing_left : ndarray (planes,), bool
        Whether a missing value on this plane goes left. A feature with nodes of both kinds has two planes.
    thresholds : tuple of ndarray (m,), float32
        Of each feature, ascending.
    weights : tuple of ndarray (m,), float64
        Of each threshold: the share of leaves below its nodes, an estimate of the share of pixels that reach them.
    """

    words: Array
    wide: Array
    root: Array
    value: Array
    node: Array
    plane_feature: Array
    plane_missing_left: Array
    thresholds: tuple[Array, ...]
    weights: tuple[Array, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of codes and of leaf labels: uint16 where it is sufficient, else uint32."""
        return np.dtype(np.uint32 if self.wide.size else np.uint16)


def pack(forest: CompiledForest) -> PackedForest:
    """The arrays of a forest in the order of the walk.

    Raises
    ------
    InputError
        For more than 4095 features; one whose missing values go left at some nodes and right at others counts twice.
    """
    inner = forest.left >= 0
    levels, order = _breadth_first(forest)
    position = np.empty_like(order)
    position[order] = np.arange(order.size)
    features = len(forest.features)
    thresholds, weights = [], []
    code = np.zeros(order.size, dtype=np.int64)
    share = _leaves_below(forest, levels)
    for feature in range(features):
        nodes = np.flatnonzero(inner & (forest.feature == feature))
        distinct, place = np.unique(forest.threshold[nodes], return_inverse=True)
        thresholds.append(distinct)
        weights.append(np.bincount(place, weights=share[nodes], minlength=distinct.size))
        code[nodes] = place + 1
    kinds = np.unique(forest.feature[inner].astype(np.int64) * 2 + forest.missing_left[inner])
    if kinds.size > MAX_PLANES:
        raise InputError(
            f"CompiledForest: the trees split on {kinds.size} features, at most {MAX_PLANES} are supported"
        )
    plane = np.searchsorted(kinds, forest.feature.astype(np.int64) * 2 + forest.missing_left)
    sizes = np.diff(np.append(forest.root, order.size))
    narrow = max((t.size for t in thresholds), default=0) <= NARROW_THRESHOLDS and sizes.max() <= NARROW_NODES

    words = np.full(order.size, lanes.LEAF, dtype=np.uint64)
    old = order[inner[order]]
    new = position[old]
    word = plane[old].astype(np.uint64) << lanes.PLANE_SHIFT
    word |= (position[forest.left[old]] - new).astype(np.uint64) << lanes.STEP_SHIFT
    word |= np.where(inner[forest.left[old]], lanes.ZERO, lanes.LEFT_LEAF)
    word |= np.where(inner[forest.right[old]], lanes.ZERO, lanes.RIGHT_LEAF)
    if narrow:
        word |= code[old].astype(np.uint64)
    words[new] = word
    return PackedForest(
        words=words,
        wide=np.empty(0, dtype=np.uint16) if narrow else code[order].astype(np.uint32),
        root=forest.root,
        value=np.ascontiguousarray(forest.value[order].T),
        node=order,
        plane_feature=kinds // 2,
        plane_missing_left=kinds % 2 == 1,
        thresholds=tuple(thresholds),
        weights=tuple(weights),
    )


@dataclass(frozen=True, eq=False)
class PackedResponses:
    """Training responses in the order of the packed nodes.

    Parameters
    ----------
    begin : ndarray (nodes + 1,), uint32
    member : ndarray, uint32
        Training rows, leaf by leaf.
    rank : ndarray (outputs, rows), uint32
        Position of each row in `ascending`.
    ascending : ndarray (outputs, rows), float64
    weighted : bool
    codes : tuple of LeafCodes
        Of each output; empty where a leaf has more members than a code can count.
    """

    begin: Array
    member: Array
    rank: Array
    ascending: Array
    weighted: bool
    codes: tuple[LeafCodes, ...] = ()


@dataclass(frozen=True, eq=False)
class LeafCodes:
    """Leaves as `tpsoil.kernels.trees_responses.response_quantiles` reads them.

    Parameters
    ----------
    leaf : ndarray (nodes,), uint64; or uint16 or uint32 as `counted_quantiles` reads it
    entry : ndarray, uint16 or uint32
    share : ndarray, int64
    unit : int
        Weight of a leaf as a whole number; 0: every member counts 1.
    single : bool
        Whether every leaf has one distinct response, and there are few: `counted_quantiles` reads them.
    """

    leaf: Array
    entry: Array
    share: Array
    unit: int
    single: bool = False


def pack_responses(nodes: Array, responses: Responses, trees: int) -> PackedResponses:
    """Order the leaves' members by nodes.

    Parameters
    ----------
    nodes : ndarray (nodes,), int64
        The forest's own index of each node in the requested order.
    responses : Responses
    trees : int
    """
    stored = responses.begin.astype(np.int64)
    sizes = (stored[1:] - stored[:-1])[nodes]
    begin = np.concatenate([[0], np.cumsum(sizes)])
    start = stored[nodes]
    source = np.arange(begin[-1]) - np.repeat(begin[:-1] - start, sizes)
    # numpy's default sort, as in quantile-forest: ties are then in the same order.
    order = np.argsort(responses.value, axis=0).T
    rank = np.argsort(order, axis=1)
    packed = PackedResponses(
        begin.astype(np.uint32),
        responses.member[source],
        np.ascontiguousarray(rank.astype(np.uint32)),
        np.ascontiguousarray(np.take_along_axis(responses.value.T, order, axis=1)),
        responses.weighted,
    )
    if sizes.max(initial=0) > MAX_MEMBERS:
        return packed
    return replace(packed, codes=tuple(_codes(packed, of_output, trees) for of_output in packed.rank))


def _codes(packed: PackedResponses, rank: Array, trees: int) -> LeafCodes:
    """Codes of the leaves; the weights of all trees together stay below 2^62."""
    unit = 1 << min(52, 61 - int(trees).bit_length()) if packed.weighted else 0
    leaf = np.empty(packed.begin.size - 1, dtype=np.uint64)
    entry = np.empty(packed.member.size, dtype=np.uint16 if rank.size <= NARROW_NODES else np.uint32)
    share = np.empty(packed.member.size, dtype=np.int64)
    code_leaves(packed.begin, packed.member, rank, unit, leaf, entry, share)
    split = packed.begin[1:] == packed.begin[:-1]
    distinct = (leaf >> np.uint64(32)) & np.uint64(0xFFFF)
    drawn = int((leaf >> np.uint64(48)).max(initial=0))
    if rank.size <= FEW_ROWS and trees * drawn <= 65535 and bool((distinct[~split] == 1).all()):
        bits, kind = (RANK_BITS, np.uint16) if drawn < 1 << (16 - RANK_BITS) else (16, np.uint32)
        narrow = (leaf & np.uint64(0xFFFF)) | (leaf >> np.uint64(48) << np.uint64(bits))
        return LeafCodes(narrow.astype(kind), entry[:0].copy(), share[:0].copy(), unit, single=True)
    return LeafCodes(leaf, entry, share, unit)


def _breadth_first(forest: CompiledForest) -> tuple[list[Array], Array]:
    """Levels of the whole forest, root first; and the nodes tree by tree, each breadth first, siblings adjacent."""
    levels: list[Array] = []
    current = forest.root.astype(np.int64)
    while current.size:
        levels.append(current)
        split = current[forest.left[current] >= 0]
        current = np.stack([forest.left[split], forest.right[split]], axis=1).ravel().astype(np.int64)
    nodes = np.concatenate(levels)
    tree = np.searchsorted(forest.root, nodes, side="right")
    # Stable: within a tree the order of the levels is retained.
    return levels, nodes[np.argsort(tree, kind="stable")]


def _leaves_below(forest: CompiledForest, levels: list[Array]) -> npt.NDArray[np.float64]:
    """Share of its tree's leaves that lie below each node."""
    below = np.ones(forest.left.size)
    for level in reversed(levels):
        split = level[forest.left[level] >= 0]
        below[split] = below[forest.left[split]] + below[forest.right[split]]
    tree = np.searchsorted(forest.root, np.arange(below.size), side="right") - 1
    return np.asarray(below / below[forest.root][tree])


@dataclass(frozen=True, eq=False)
class Ranking:
    """How covariates become ranks, and ranks each forest's codes.

    Parameters
    ----------
    features : tuple of str
        Of all forests of the group.
    thresholds : tuple of ndarray (m + 4,), float32
        Of each feature, of all the forests; then four infinite ones, as `rank_column` reads beyond the last.
    buckets : tuple of (low, scale, starts)
        Of each feature, over the thresholds' range, for `rank_column`.
    weight, offset : ndarray
        For `order_pixels`.
    codes : tuple of (plane_feature, table, offset)
        Of each forest, for `encode_words`: planes as columns of the ranks, its own code of each rank, and where the
        codes of each plane begin.
    """

    features: tuple[str, ...]
    thresholds: tuple[Array, ...]
    buckets: tuple[tuple[float, float, Array], ...]
    weight: Array
    offset: Array
    codes: tuple[tuple[Array, Array, Array], ...]

    @property
    def rank_dtype(self) -> np.dtype[Any]:
        """Of the ranks: uint16 where it is sufficient."""
        return np.dtype(np.uint16 if max(t.size for t in self.thresholds) < NARROW_NODES else np.uint32)


def ranking_of(features: Sequence[tuple[str, ...]], packed: Sequence[PackedForest]) -> Ranking:
    """The ranking that a group of forests shares.

    Parameters
    ----------
    features : sequence of tuple of str
        Of each forest; matched by name.
    packed : sequence of PackedForest

    Returns
    -------
    Ranking
    """
    union = tuple(dict.fromkeys(name for names in features for name in names))
    thresholds: list[Array] = []
    weights: list[Array] = []
    for name in union:
        members = [(names.index(name), p) for names, p in zip(features, packed) if name in names]
        distinct, place = np.unique(np.concatenate([p.thresholds[k] for k, p in members]), return_inverse=True)
        thresholds.append(distinct)
        shares = np.concatenate([p.weights[k] for k, p in members])
        weights.append(np.bincount(place, weights=shares, minlength=distinct.size))
    # Missing values lie beyond the last rank, as far away as the feature is important.
    work = [np.concatenate([[0.0], np.cumsum(w), [2 * w.sum()]]) for w in weights]
    codes = []
    for names, own in zip(features, packed):
        columns = np.array([union.index(name) for name in names], dtype=np.int64)
        rows = []
        for feature, missing_left in zip(own.plane_feature, own.plane_missing_left):
            limits = thresholds[columns[feature]]
            below = np.zeros(limits.size + 1, dtype=np.int64)
            below[1:] = np.cumsum(np.isin(limits, own.thresholds[feature]))
            missing = 0 if missing_left else np.iinfo(own.dtype).max
            rows.append(np.append(below + 1, missing).astype(own.dtype))
        table = np.concatenate([*rows, np.empty(0, dtype=own.dtype)])
        begins = np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(np.int64)[: len(rows)]
        codes.append((columns[own.plane_feature], table, begins))
    return Ranking(
        features=union,
        thresholds=tuple(np.append(t, np.full(FEW, np.inf, dtype=np.float32)) for t in thresholds),
        buckets=tuple(_buckets(t) for t in thresholds),
        weight=np.concatenate(work),
        offset=np.concatenate([[0], np.cumsum([w.size for w in work])[:-1]]).astype(np.int64),
        codes=tuple(codes),
    )


def _buckets(thresholds: Array) -> tuple[float, float, Array]:
    finite = thresholds[np.isfinite(thresholds)].astype(np.float64)
    count = int(min(max(BUCKETS_PER_THRESHOLD * thresholds.size, 1), 1 << 17))
    low = float(finite[0]) if finite.size else 0.0
    extent = float(finite[-1]) - low if finite.size else 0.0
    scale = count / extent if extent > 0 else 0.0
    starts = np.empty(count + 1, dtype=np.int32)
    fill_buckets(thresholds, low, scale, starts)
    return low, scale, starts
