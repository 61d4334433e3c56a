"""In-bag counts rebuilt from the trees' seeds, and leaves in another unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError
from tpsoil.forest.quantiles import Responses, drawn_rows

Floats = npt.NDArray[np.float64]


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
