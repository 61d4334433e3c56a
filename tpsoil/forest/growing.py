"""Grow scikit-learn's forests: by the compiled grower of `tpsoil.kernels.growing`, or tree for tree by scikit-learn."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError, require_one_of
from tpsoil.forest.fit_progress import Progress
from tpsoil.forest.options import Engine, Splitter
from tpsoil.forest.quantiles import in_bag_counts
from tpsoil.kernels.growing import grow_trees

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    AnyForest: TypeAlias = RandomForestRegressor | ExtraTreesRegressor
    Forest = TypeVar("Forest", RandomForestRegressor, ExtraTreesRegressor)

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BATCH: Final = 64
"""Trees whose bootstrap samples are in memory together."""
NODE_BYTES: Final = 64 << 20
"""Bound of the memory of a batch of compiled trees before it is copied into scikit-learn's."""
_FITTING: Final = threading.Lock()
"""Forests are fitted by scikit-learn one at a time: see the notes of `grow`."""
SAME_VALUE: Final = np.float32(1e-7)
"""Values of a feature that are no further apart are not split, as in scikit-learn."""


def unfitted_forest(trees: int, seed: int, settings: Mapping[str, Any]) -> AnyForest:
    """A forest of scikit-learn before `fit`.

    Parameters
    ----------
    trees, seed : int
    settings : mapping
        Of RandomForestRegressor, and `splitter`: with "random" the forest is an ExtraTreesRegressor that draws a
        bootstrap sample for each tree, as ranger's splitrule "extratrees" does, so that it has errors out of bag.

    Examples
    --------
    >>> unfitted_forest(5, 0, {"splitter": "random", "min_samples_leaf": 3})
    ExtraTreesRegressor(bootstrap=True, min_samples_leaf=3, n_estimators=5,
                        random_state=0)
    """
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    own = {name: value for name, value in settings.items() if name != "splitter"}
    splitter = settings.get("splitter", "best")
    require_one_of("train", "splitter", splitter, get_args(Splitter))
    if splitter == "best":
        return RandomForestRegressor(n_estimators=trees, random_state=seed, **own)
    return ExtraTreesRegressor(n_estimators=trees, random_state=seed, bootstrap=True, **own)


def choose_engine(forest: Any, outputs: int, engine: Engine | None) -> Engine:
    """The grower of a forest: the requested one, by default the compiled one where it has the forest's settings.

    Parameters
    ----------
    forest : RandomForestRegressor or ExtraTreesRegressor
    outputs : int
    engine : {"compiled", "scikit-learn"}, optional

    Raises
    ------
    InputError
        For an unknown engine, and settings that the compiled grower does not have.
    """
    if engine is not None:
        require_one_of("forest", "engine", engine, get_args(Engine))
    if engine == "scikit-learn":
        return engine
    unsupported = _unsupported(forest, outputs)
    if not unsupported:
        return "compiled"
    if engine is None:
        return "scikit-learn"
    raise InputError(f"forest: the compiled grower has no {unsupported}; omit it, or pass engine='scikit-learn'")


def _unsupported(forest: Any, outputs: int) -> str:
    for name, default in (("criterion", "squared_error"), ("max_leaf_nodes", None), ("ccp_alpha", 0.0)):
        if getattr(forest, name) != default:
            return f"{name}={getattr(forest, name)!r}"
    if forest.monotonic_cst is not None:
        return "monotonic_cst"
    if forest.warm_start:
        return "warm_start"
    return "" if outputs == 1 else f"forest of {outputs} outputs"


def grow(
    forest: Forest,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    threads: int = 1,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Forest:
    """Fit a forest in place.

    Parameters
    ----------
    forest : RandomForestRegressor or ExtraTreesRegressor
        With an integer `random_state` where `threads` is above 1 or the engine is "compiled". Its `n_jobs` becomes 1.
    X : DataFrame or array (n, p)
    y : array (n,) or (n, outputs)
    sample_weight : array (n,), optional
        As scikit-learn uses it.
    threads : int
    engine : {"compiled", "scikit-learn"}, optional
        "scikit-learn": equal to `forest.fit` on one thread; weighted forests use one thread. "compiled": another draw
        of the same kind of forest, from the same bootstrap samples. By default "compiled" where it has the settings.
    progress : callable, optional
        `progress(done, total)` after each batch of trees, in this thread.

    Returns
    -------
    RandomForestRegressor or ExtraTreesRegressor
        The forest. It does not depend on the number of threads.

    Raises
    ------
    InputError
        As `choose_engine`; for a negative weight, and weights that are all 0.
    ValueError
        As scikit-learn, for data and settings that it rejects.

    Notes
    -----
    scikit-learn (1.5 and newer) restores the warning filters inside every thread of a parallel fit. Before Python 3.14
    these filters belong to the process: with more than one thread they are sometimes emptied, and each later fit emits
    "sklearn.utils.parallel.delayed should be used with ..." for every tree. The first tree is therefore fitted by the
    forest itself, which checks the data, under a lock; the others, whose seeds follow the first in the same stream,
    separately.
    """
    trees = int(forest.n_estimators)
    forest.n_jobs = 1
    values = np.asarray(y, dtype=np.float64)
    outputs = 1 if values.ndim < 2 else values.shape[1]
    if choose_engine(forest, outputs, engine) == "compiled":
        return _grow_compiled(forest, X, y, sample_weight, threads, progress)
    if trees == 1 or sample_weight is not None:
        with _FITTING:
            return forest.fit(X, y, sample_weight)
    forest.n_estimators = 1
    try:
        with _FITTING:
            forest.fit(X, y)
    finally:
        forest.n_estimators = trees
    rows = _rows(X)
    grown = list(forest.estimators_)
    with ThreadPoolExecutor(threads) as pool:
        for seeds in _batches(_tree_seeds(forest)[1:], BATCH):
            batch = [_unfitted(grown[0], int(seed)) for seed in seeds]
            forest.estimators_ = batch
            drawn = forest.estimators_samples_ if forest.bootstrap else [None] * len(batch)
            grown += pool.map(lambda tree, rows_drawn: _grow_tree(tree, rows, values, rows_drawn), batch, drawn)
            if progress is not None:
                progress(len(grown), trees)
    forest.estimators_ = grown
    return forest


@dataclass(frozen=True, eq=False)
class RankedTable:
    """Training rows with every feature coded by rank and sorted once for all trees.

    Parameters
    ----------
    codes : ndarray (p, n), uint16 or uint32
        Rank of each value among the feature's distinct ones; their number where missing.
    same : ndarray (p, ranks), dtype of `codes`
        Largest rank whose value counts as equal to that of each rank.
    distinct : ndarray (p,), int64
        Number of distinct values.
    values : ndarray (p, ranks), float64
    presorted : ndarray (p, n), dtype of `codes`
    """

    codes: Array
    same: Array
    distinct: Array
    values: Array
    presorted: Array

    @classmethod
    def of(cls, rows: npt.NDArray[np.float32]) -> RankedTable:
        """Code the rows (n, p)."""
        n, p = rows.shape
        dtype = np.uint16 if n < np.iinfo(np.uint16).max else np.uint32
        codes = np.empty((p, n), dtype=dtype)
        levels = []
        for feature in range(p):
            column = rows[:, feature]
            present = ~np.isnan(column)
            level, rank = np.unique(column[present], return_inverse=True)
            codes[feature] = level.size
            codes[feature, present] = rank
            levels.append(level)
        ranks = max(level.size for level in levels) + 1
        values, same = np.zeros((p, ranks)), np.zeros((p, ranks), dtype=dtype)
        for feature, level in enumerate(levels):
            values[feature, : level.size] = level
            same[feature, : level.size] = np.searchsorted(level, level + SAME_VALUE, side="right") - 1
        distinct = np.array([level.size for level in levels], dtype=np.int64)
        presorted = np.argsort(codes, axis=1, kind="stable").astype(dtype)
        return cls(codes, same, distinct, values, presorted)


def _grow_compiled(forest: Any, X: Any, y: Any, sample_weight: Any, threads: int, progress: Progress | None) -> Any:
    """Fit with the compiled grower: scikit-learn checks the data and fits a stump, whose place the trees take."""
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weight is not None and (weight < 0).any():
        raise InputError(
            f"forest: the smallest sample weight is {weight.min():g}, expected none below 0; omit these rows, or pass "
            "engine='scikit-learn'"
        )
    if weight is not None and not weight.any():
        raise InputError("forest: every sample weight is zero, expected one above 0; pass weights of the rows to use")
    trees, depth = int(forest.n_estimators), forest.max_depth
    forest.n_estimators, forest.max_depth = 1, 1 if depth is None or depth > 0 else depth
    try:
        with _FITTING:
            forest.fit(X, y, sample_weight)
    finally:
        forest.n_estimators, forest.max_depth = trees, depth
    first = forest.estimators_[0]
    first.max_depth = depth
    seeds = _tree_seeds(forest)
    table = RankedTable.of(_rows(X))
    target = np.array(y, dtype=np.float64).ravel()  # a copy: a column of a table is read-only, another type for numba
    if weight is not None and forest.bootstrap:
        # From scikit-learn 1.9 on weights are probabilities of being drawn, before that they multiply the counts.
        counts = np.bincount(forest.estimators_samples_[0], minlength=len(target))
        multiplied = not np.isclose(first.tree_.weighted_n_node_samples[0], counts.sum())
        weight = weight if multiplied else None
    limits = _limits(forest, first, len(target), weight)
    blank = _Blank(first)

    def part(seeds: Array) -> list[Any]:
        members = [blank.tree(int(seed)) for seed in seeds]
        weights = _weights(forest, members, weight)
        capacity = int((2 * np.count_nonzero(weights, axis=1)).sum())
        children, numbers = np.empty((capacity, 4), dtype=np.int32), np.empty((capacity, 5))
        sizes = np.empty((len(seeds), 2), dtype=np.int64)
        grow_trees(
            table.codes, table.same, table.distinct, table.values, table.presorted, target, target - target.mean(),
            weights, limits, _streams(seeds), children, numbers, sizes,
        )  # fmt: skip
        blank.fill(members, children, numbers, sizes)
        return members

    size = max(1, min(BATCH, NODE_BYTES // (2 * len(target) * 56), -(-trees // threads)))
    batches = list(_batches(seeds, size))
    grown: list[Any] = []
    with ThreadPoolExecutor(threads) as pool:
        for members in map(part, batches) if threads == 1 or len(batches) == 1 else pool.map(part, batches):
            grown += members
            if progress is not None:
                progress(len(grown), trees)
    forest.estimators_ = grown
    return forest


def _limits(forest: Any, first: Any, rows: int, weight: Floats | None) -> Floats:
    """Settings of a tree as scikit-learn derives them from the forest's."""
    leaf, split = forest.min_samples_leaf, forest.min_samples_split
    least_rows = leaf if isinstance(leaf, int | np.integer) else int(np.ceil(leaf * rows))
    least_split = split if isinstance(split, int | np.integer) else max(2, int(np.ceil(split * rows)))
    drawn = float(first.tree_.weighted_n_node_samples[0]) if forest.bootstrap or weight is None else weight.sum()
    return np.array(
        [
            first.max_features_,
            np.inf if forest.max_depth is None else forest.max_depth,
            max(least_split, 2 * least_rows),
            least_rows,
            forest.min_weight_fraction_leaf * drawn,
            forest.min_impurity_decrease,
            first.splitter == "random",
        ],
        dtype=np.float64,
    )


def _weights(forest: Any, members: list[Any], weight: Floats | None) -> Floats:
    """Weight of every row in each tree: how often it draws the row, by the tree's own seed."""
    drawing = copy(forest)
    drawing.estimators_ = members
    counts = in_bag_counts(drawing).astype(np.float64)
    return counts if weight is None else counts * weight


class _Blank:
    """scikit-learn's tree estimators without their nodes, by the protocol of pickle."""

    def __init__(self, fitted: Any) -> None:
        self._kind = type(fitted)
        self._attributes = {name: value for name, value in vars(fitted).items() if name != "tree_"}
        reduced = fitted.tree_.__reduce__()
        self._create, self._arguments = reduced[0], reduced[1]
        self._state = reduced[2]

    def tree(self, seed: int) -> Any:
        """An estimator without nodes."""
        estimator = object.__new__(self._kind)
        vars(estimator).update(self._attributes, random_state=seed)
        return estimator

    def fill(self, members: Sequence[Any], children: Array, numbers: Array, sizes: Array) -> None:
        """Give each estimator its nodes."""
        ends = np.cumsum(sizes[:, 0])
        children, numbers = children[: ends[-1]], numbers[: ends[-1]]
        nodes = np.zeros(len(children), dtype=self._state["nodes"].dtype)
        for name, column in zip(("left_child", "right_child", "feature"), children.T):
            nodes[name] = column
        nodes["missing_go_to_left"] = children[:, 3]
        nodes["threshold"] = numbers[:, 0]
        for name, column in zip(("impurity", "n_node_samples", "weighted_n_node_samples"), numbers[:, 2:].T):
            nodes[name] = column
        values = np.ascontiguousarray(numbers[:, 1])[:, None, None]
        for estimator, begin, end, depth in zip(members, ends - sizes[:, 0], ends, sizes[:, 1]):
            estimator.tree_ = self._create(*self._arguments)
            estimator.tree_.__setstate__(
                {
                    **self._state,
                    "max_depth": int(depth),
                    "node_count": int(end - begin),
                    "nodes": nodes[begin:end],
                    "values": values[begin:end],
                }
            )


def _streams(seeds: Array) -> npt.NDArray[np.uint64]:
    """Well mixed states of random numbers from the trees' seeds, by splitmix64 (Steele et al. 2014); never 0."""
    mixed = (seeds.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.maximum(mixed ^ (mixed >> np.uint64(31)), np.uint64(1))


def _tree_seeds(forest: Any) -> Array:
    """Seed of every tree, as scikit-learn draws them; the first is that of the tree that the forest itself fitted."""
    random = np.random.RandomState(forest.random_state)
    return random.randint(np.iinfo(np.int32).max, size=int(forest.n_estimators))


def _batches(seeds: Array, size: int) -> list[Array]:
    return [seeds[begin : begin + size] for begin in range(0, len(seeds), size)]


def _unfitted(tree: Any, seed: int) -> Any:
    from sklearn.base import clone

    return clone(tree).set_params(random_state=seed)


def _grow_tree(tree: Any, rows: npt.NDArray[np.float32], values: Any, drawn: Any) -> Any:
    weight = None if drawn is None else np.bincount(drawn, minlength=len(rows)).astype(np.float64)
    return tree.fit(rows, values, sample_weight=weight)


def _rows(X: Any) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32)
