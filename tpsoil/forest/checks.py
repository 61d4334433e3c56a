"""Whether arrays that were read from a file are a forest: every walk from a root ends in a leaf of the same tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tpsoil.errors import CorruptStoreError

if TYPE_CHECKING:
    from .compiled import CompiledForest


def check_forest(forest: CompiledForest, where: str) -> None:
    """Check the arrays of a forest that somebody else may have written.

    Parameters
    ----------
    forest : CompiledForest
    where : str
        The file, for the message.

    Raises
    ------
    CorruptStoreError
        For arrays of other shapes or types, children outside their tree, before their parent or of two parents,
        features that are not there, thresholds that are NaN, values that are not finite, and leaves with rows that are
        not there.

    Notes
    -----
    A forest with a cycle would be walked, and unpacked, for ever.
    """
    fault = _fault(forest) or _fault_of_responses(forest)
    if fault:
        raise CorruptStoreError(f"{where}: is no valid forest ({fault}); train it again and save it again")


def check_forests(where: str, forests: Iterable[CompiledForest | None], columns: Sequence[str]) -> None:
    """Check the forests of one model, which compiled code walks without checking an index.

    Parameters
    ----------
    where : str
        The model, for the message.
    forests : iterable of CompiledForest or None
    columns : sequence of str
        Of the model's design, which are the features of each forest.

    Raises
    ------
    CorruptStoreError
        As `check_forest`, and for a forest of other features.
    """
    for forest in forests:
        if forest is not None:
            check_forest(forest, where)
            if tuple(forest.features) != tuple(columns):
                raise CorruptStoreError(
                    f"{where}: the {len(forest.features)} features of its forest are not the {len(columns)} columns of "
                    "its design; train it again"
                )


def _fault(forest: CompiledForest) -> str:
    nodes = forest.left.shape[0] if forest.left.ndim == 1 else 0
    integers = {"root": forest.root, "left": forest.left, "right": forest.right, "feature": forest.feature}
    if not nodes or any(array.ndim != 1 or array.dtype.kind != "i" for array in integers.values()):
        return "its nodes are not rows of integers"
    rows = (forest.right, forest.feature, forest.threshold, forest.missing_left, forest.value)
    if any(array.shape[:1] != (nodes,) for array in rows) or forest.threshold.ndim != 1 or forest.value.ndim != 2:
        return "its arrays have different lengths"
    if forest.threshold.dtype.kind != "f" or forest.value.dtype.kind != "f" or forest.missing_left.dtype.kind != "b":
        return "its arrays are of other types"
    if forest.targets and len(forest.targets) != forest.value.shape[1]:
        return f"{forest.value.shape[1]} outputs with {len(forest.targets)} names"
    root = forest.root.astype(np.int64)
    if not root.size or root[0] != 0 or (np.diff(root) <= 0).any() or root[-1] >= nodes:
        return "its trees do not begin one after the other"
    split = forest.left != -1
    if (split != (forest.right != -1)).any():
        return "a node has one child"
    parent = np.flatnonzero(split)
    end = np.append(root[1:], nodes)[np.searchsorted(root, parent, side="right") - 1]
    children = np.stack([forest.left[parent], forest.right[parent]]).astype(np.int64)
    if (children <= parent).any() or (children >= end).any():
        return "a node's child is before it or in another tree"
    parents = np.bincount(children.ravel(), minlength=nodes)
    parents[root] += 1
    if (parents != 1).any():
        return "a node has two parents or none"
    if (forest.feature[parent] < 0).any() or (forest.feature[parent] >= len(forest.features)).any():
        return f"a node splits on a feature that is not one of its {len(forest.features)}"
    if np.isnan(forest.threshold[parent]).any() or not np.isfinite(forest.value).all():
        return "a threshold or a value is not a finite number"
    return ""


def _fault_of_responses(forest: CompiledForest) -> str:
    responses = forest.responses
    if responses is None:
        return ""
    value, begin, member = responses.value, responses.begin, responses.member
    if value.ndim != 2 or value.shape[1] != forest.value.shape[1] or value.dtype.kind != "f":
        return "its responses have another number of outputs"
    if begin.dtype.kind not in "iu" or member.dtype.kind not in "iu" or member.ndim != 1:
        return "the rows of its leaves are not integers"
    if begin.shape != (forest.left.shape[0] + 1,) or begin[0] != 0 or (np.diff(begin.astype(np.int64)) < 0).any():
        return "the rows of its leaves do not follow each other"
    if int(begin[-1]) != member.size or (member.size and (member.min() < 0 or member.max() >= value.shape[0])):
        return "a leaf names a row that is not there"
    return "" if np.isfinite(value).all() else "a response is not a finite number"
