"""scikit-learn's trees as flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError

Array = npt.NDArray[Any]


def fitted_trees(forest: Any) -> list[Any]:
    """The trees of a fitted regression forest.

    Raises
    ------
    InputError
        For another kind of model, and for one that was not fitted.
    """
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    if not isinstance(forest, RandomForestRegressor | ExtraTreesRegressor):
        raise InputError(
            f"CompiledForest: a {type(forest).__name__} came, expected a fitted RandomForestRegressor or "
            "ExtraTreesRegressor of scikit-learn; map any other estimator with "
            "tpsoil.forest.predict_cube(estimator, cube)"
        )
    if not hasattr(forest, "estimators_"):
        raise InputError(f"CompiledForest: the {type(forest).__name__} is not fitted; call fit(X, y) first")
    return [estimator.tree_ for estimator in forest.estimators_]


def flat_arrays(trees: list[Any]) -> dict[str, Array]:
    """Nodes of all trees in one numbering.

    Returns
    -------
    dict of ndarray
        The arrays of a CompiledForest, and `larger_left`: whether more training rows went left at a split.

    Raises
    ------
    InputError
        For more than 2147483647 nodes.
    """
    sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
    if sizes.sum() > np.iinfo(np.int32).max:
        raise InputError(
            f"CompiledForest: {sizes.sum()} nodes; at most {np.iinfo(np.int32).max}, train fewer or shallower trees"
        )
    root = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    offset = np.repeat(root, sizes)
    left = np.concatenate([tree.children_left for tree in trees])
    leaf = left < 0
    left = np.where(leaf, -1, left + offset)
    right = np.where(leaf, -1, np.concatenate([tree.children_right for tree in trees]) + offset)
    missing_left = np.concatenate([np.asarray(tree.missing_go_to_left, dtype=bool) for tree in trees])
    samples = np.concatenate([tree.n_node_samples for tree in trees])
    return {
        "root": root,
        "left": left.astype(np.int32),
        "right": right.astype(np.int32),
        "feature": np.where(leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
        "threshold": round_down(np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees]))),
        "missing_left": missing_left & ~leaf,
        "value": np.concatenate([tree.value[:, :, 0] for tree in trees]).astype(np.float64),
        "larger_left": np.where(leaf, False, samples[left] > samples[right]),
    }


def round_down(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest float32 that is at most the double: comparing a float32 with the one decides as with the other.

    Examples
    --------
    >>> round_down(np.array([0.1, 1e300])) <= np.array([0.1, 1e300])
    array([ True,  True])
    """
    with np.errstate(over="ignore"):
        single = threshold.astype(np.float32)
    above = single.astype(np.float64) > threshold
    single[above] = np.nextafter(single[above], np.float32(-np.inf))
    return single
