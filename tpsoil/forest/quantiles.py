"""Requested quantiles; the training responses that Meinshausen's need, and the rows that each tree drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError

if TYPE_CHECKING:
    from .compiled import CompiledForest

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Method = Literal["trees", "responses"]
"""`trees`: between the trees' predictions. `responses`: of the training responses in the leaves, Meinshausen 2006."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Training responses, and the rows of each leaf; stored once, as integers.

    Parameters
    ----------
    value : ndarray (rows, outputs), float64
        Responses in the order of training.
    begin : ndarray (nodes + 1,), uint32
        Rows of a leaf are member[begin[leaf]] .. member[begin[leaf + 1] - 1]; a split node has none.
    member : ndarray, uint32
        A row that the bootstrap drew twice is listed twice.
    weighted : bool
        A leaf of n rows gives each the weight 1 / n, Meinshausen 2006, eq. 5; else every row in a leaf counts 1.
    """

    value: Array
    begin: Array
    member: Array
    weighted: bool = True


@dataclass(frozen=True)
class Levels:
    """Requested quantiles of a prediction.

    Parameters
    ----------
    levels : tuple of float
        Each in 0 .. 1.
    method : {"trees", "responses"}
    """

    levels: tuple[float, ...]
    method: Method

    @property
    def array(self) -> npt.NDArray[np.float64]:
        """The levels as an array."""
        return np.array(self.levels, dtype=np.float64)

    def names(self) -> tuple[str, ...]:
        """`q05` for 0.05, `q50`, `q97_5` for 0.975."""
        return tuple(f"q{text if 100 * q >= 10 else '0' + text}" for q in self.levels for text in [_percent(q)])


def _percent(level: float) -> str:
    return f"{round(100 * level, 9):g}".replace(".", "_")


def levels_of(forests: Sequence[CompiledForest], levels: Sequence[float] | None, method: str | None) -> Levels | None:
    """Check the requested quantiles.

    Raises
    ------
    InputError
        For a level outside 0 .. 1, levels given twice, an unknown method, or `responses` without them.
    """
    if method is not None and method not in get_args(Method):
        raise InputError(f"quantiles: method '{method}'; expected {' or '.join(get_args(Method))}")
    if levels is None:
        if method is not None:
            raise InputError("quantiles: a method came without levels; pass quantiles=(0.05, 0.5, 0.95)")
        return None
    requested = tuple(float(q) for q in np.atleast_1d(np.asarray(levels, dtype=np.float64)))
    if not requested or not all(0 <= q <= 1 for q in requested) or len(set(requested)) < len(requested):
        raise InputError(
            f"quantiles: levels {requested}; expected distinct numbers from 0 to 1, such as (0.05, 0.5, 0.95)"
        )
    stored = all(forest.responses is not None for forest in forests)
    if method is None:
        method = "responses" if stored else "trees"
    if method == "responses" and not stored:
        raise InputError(
            "quantiles: method 'responses' needs the training data; compile with "
            "CompiledForest.from_sklearn(forest, responses=(X, y)), or use method='trees'"
        )
    return Levels(requested, "responses" if method == "responses" else "trees")


def responses_of(forest: Any, leaves: Array, y: Any, nodes: int, root: Array, weighted: bool) -> Responses:
    """Rows of every leaf, as the forest's bootstrap drew them.

    Parameters
    ----------
    forest : fitted scikit-learn forest
    leaves : ndarray (rows, trees), int64
        Leaf of each training row, as node index within the forest.
    y : array (rows,) or (rows, outputs)
    nodes : int
    root : ndarray (trees,), int64
    weighted : bool

    Raises
    ------
    InputError
        Where X and y are not the training data of the forest, as far as their shapes show.
    """
    value = np.asarray(y, dtype=np.float64)
    value = value.reshape(len(value), -1)
    rows = len(leaves)
    trained = int(getattr(forest, "_n_samples", rows))
    if len(value) != rows or rows != trained or value.shape[1] != forest.n_outputs_:
        raise InputError(
            f"CompiledForest: responses have {rows} rows of X and y of shape {value.shape}; the forest was trained on "
            f"{trained} rows and {forest.n_outputs_} outputs; pass the X and y of fit"
        )
    if not np.isfinite(value).all():
        raise InputError("CompiledForest: the responses hold missing or infinite values; pass the y of fit")
    drawn = drawn_rows(forest, rows)
    node = np.concatenate([leaves[rows_of_tree, tree] for tree, rows_of_tree in enumerate(drawn)])
    member = np.concatenate(drawn)
    # Within a leaf in the order drawn, so that sums of weights are formed as quantile-forest forms them.
    order = np.argsort(node, kind="stable")
    begin = np.zeros(nodes + 1, dtype=np.uint32)
    begin[1:] = np.cumsum(np.bincount(node, minlength=nodes))
    return Responses(value, begin, member[order].astype(np.uint32), weighted)


def drawn_rows(forest: Any, rows: int) -> list[Array]:
    """Rows that each tree of a fitted forest drew, by the tree's seed; all of them without bootstrapping."""
    if not forest.bootstrap:
        return [np.arange(rows) for _ in forest.estimators_]
    return [np.asarray(drawn) for drawn in forest.estimators_samples_]


def in_bag_counts(forest: Any) -> npt.NDArray[np.int64]:
    """How often each training row was drawn for each tree.

    Parameters
    ----------
    forest : RandomForestRegressor
        Fitted, with its `random_state` seeds.

    Returns
    -------
    ndarray (trees, rows), int64
        0 where the row is out of the tree's bag.

    Notes
    -----
    The draws are rebuilt from the seed of each tree; nothing needs to be stored while fitting. Without
    bootstrapping every count is 1.
    """
    rows = int(getattr(forest, "_n_samples", 0))
    if rows == 0:
        raise InputError("forest: it is not fitted; call fit first")
    return np.stack([np.bincount(drawn, minlength=rows) for drawn in drawn_rows(forest, rows)])


def leaf_means(responses: Responses, target: Floats) -> Floats:
    """Mean of another target over the drawn rows of each leaf, such as mg/kg in a forest that was grown on log10 mg/kg.

    Parameters
    ----------
    responses : Responses
        Drawn rows of each leaf.
    target : ndarray (rows,)
        Of the training rows.

    Returns
    -------
    ndarray (nodes,)
        NaN at nodes without rows: splits.

    Notes
    -----
    A forest grown on logarithms predicts their mean; 10 to that power is near a median, below the mean of a skewed
    quantity. With these means in its leaves, the splits retain the advantages of the logarithm while the prediction,
    the sum of w_i(x) target_i with the weights w of the quantile forest, is a mean in the target's own unit, without an
    assumed distribution.
    """
    begin = responses.begin.astype(np.int64)
    sizes = begin[1:] - begin[:-1]
    node = np.repeat(np.arange(sizes.size), sizes)
    total = np.bincount(node, weights=target[responses.member], minlength=sizes.size)
    return np.where(sizes > 0, total / np.maximum(sizes, 1), np.nan)
