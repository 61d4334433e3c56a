"""A fitted forest as flat arrays: mean and spread between trees, for rows or for a lazy cube."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError, MissingInputError, nearest_name
from tpsoil.variables import Variable, variable

from .packing import PackedForest, encoding_of, pack
from .walking import Group, walk_columns

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CompiledForest:
    """A regression forest as flat arrays. Made by `from_sklearn`.

    Parameters
    ----------
    root : ndarray (trees,), int64
        Index of each tree's first node.
    left, right : ndarray (nodes,), int32
        Node indices within the forest; -1 at a leaf.
    feature : ndarray (nodes,), int32
    threshold : ndarray (nodes,), float32
        Rounded down: a float32 is at most this exactly where it is at most the double.
    missing_left : ndarray (nodes,), bool
    value : ndarray (nodes, outputs), float64
    features : tuple of str
        In the order of the columns.
    targets : tuple of str
        One name an output; empty where they were not given.
    units : str
        Of the prediction.
    accepts_missing : bool
        Whether a missing feature is walked as scikit-learn walks it; else the prediction is NaN.
    categories : mapping of str to tuple of int
        Levels that training saw, of each categorical feature.
    """

    root: Array
    left: Array
    right: Array
    feature: Array
    threshold: Array
    missing_left: Array
    value: Array
    features: tuple[str, ...]
    targets: tuple[str, ...] = ()
    units: str = "1"
    accepts_missing: bool = False
    categories: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def from_sklearn(
        cls,
        forest: Any,
        features: Sequence[str] | None = None,
        *,
        targets: Sequence[str] | str = (),
        units: str = "1",
        categories: Mapping[str, Sequence[int]] | None = None,
        accepts_missing: bool | None = None,
    ) -> CompiledForest:
        """Flatten a fitted scikit-learn forest.

        Parameters
        ----------
        forest : RandomForestRegressor or ExtraTreesRegressor
            Fitted.
        features : sequence of str, optional
            Names of the columns in training order; by default the forest's `feature_names_in_`, else `x0`, `x1`, ...
        targets : str or sequence of str, optional
            One name an output.
        units : str
            Of the target.
        categories : mapping of str to sequence of int, optional
            Levels that training saw, by feature. A prediction for another level is refused or NaN, never made.
        accepts_missing : bool, optional
            Whether the forest was trained with missing values. By default read from the trees: without missing
            values scikit-learn sends them to the larger child at every node, so one node that does not is the proof.

        Returns
        -------
        CompiledForest

        Raises
        ------
        InputError
            For another kind of model, one not fitted, and names that do not fit the columns.

        Examples
        --------
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
        >>> forest = RandomForestRegressor(5, random_state=0).fit(X, y)
        >>> mean, sd = CompiledForest.from_sklearn(forest, ["slope", "ndvi"]).predict(X)
        >>> bool(np.allclose(mean, forest.predict(X)))
        True
        """
        trees = _fitted_trees(forest)
        count = int(forest.n_features_in_)
        names = tuple(str(n) for n in (features if features is not None else _names(forest, count)))
        if len(names) != count or len(set(names)) != count:
            raise InputError(
                f"CompiledForest: {len(set(names))} distinct feature names were given, the forest was trained on "
                f"{count} columns; give features= one name a column, in training order"
            )
        named = (targets,) if isinstance(targets, str) else tuple(targets)
        outputs = int(forest.n_outputs_)
        if named and len(named) != outputs:
            raise InputError(f"CompiledForest: {len(named)} targets were named, the forest has {outputs} outputs")
        sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
        root = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        if sizes.sum() > np.iinfo(np.int32).max:
            raise InputError(f"CompiledForest: {sizes.sum()} nodes; at most 2147483647, train fewer or shallower trees")
        is_leaf = np.concatenate([tree.children_left < 0 for tree in trees])
        offset = np.repeat(root, sizes)
        left = np.concatenate([tree.children_left for tree in trees]) + offset
        right = np.concatenate([tree.children_right for tree in trees]) + offset
        missing_left = np.concatenate([np.asarray(tree.missing_go_to_left, dtype=bool) for tree in trees])
        samples = np.concatenate([tree.n_node_samples for tree in trees])
        if accepts_missing is None:
            inner = np.flatnonzero(~is_leaf)
            larger_left = samples[left[inner]] > samples[right[inner]]
            accepts_missing = bool((missing_left[inner] != larger_left).any())
        left[is_leaf] = right[is_leaf] = -1
        levels = {str(name): tuple(int(v) for v in values) for name, values in (categories or {}).items()}
        for name in levels:
            if name not in names:
                raise InputError(f"CompiledForest: categories name '{name}'{nearest_name(name, names)}")
        return cls(
            root=root,
            left=left.astype(np.int32),
            right=right.astype(np.int32),
            feature=np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
            threshold=_round_down(np.where(is_leaf, 0, np.concatenate([tree.threshold for tree in trees]))),
            missing_left=missing_left & ~is_leaf,
            value=np.concatenate([tree.value[:, :, 0] for tree in trees]).astype(np.float64),
            features=names,
            targets=named,
            units=units,
            accepts_missing=accepts_missing,
            categories=levels,
        )

    @property
    def trees(self) -> int:
        """Number of trees."""
        return int(self.root.size)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.value.shape[1])

    @property
    def digest(self) -> str:
        """Digest of everything a prediction depends on, names included."""
        digest = hashlib.sha256()
        for name in ("root", "left", "right", "feature", "threshold", "missing_left", "value"):
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
            digest.update(array.tobytes())
        digest.update(repr((self.features, self.targets, self.units, self.accepts_missing)).encode())
        digest.update(repr(sorted(self.categories.items())).encode())
        return digest.hexdigest()

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (type(self).__name__, self.digest)

    def predict(self, X: Any) -> tuple[Floats, Floats]:
        """Mean and spread between trees, for rows.

        Parameters
        ----------
        X : array (n, features), any float or integer dtype
            Columns in the order of `features`; a DataFrame is matched by name. Cast to float32 as scikit-learn does.

        Returns
        -------
        mean, sd : ndarray (n,), or (n, outputs) for several outputs
            NaN where a feature is missing, unless `accepts_missing`. `sd` has ddof 1; NaN for a single tree.

        Raises
        ------
        InputError
            For another number of columns, and for a class that training never saw.
        MissingInputError
            For a DataFrame without a feature; all that are missing are listed.
        """
        rows = self._rows(X)
        seen = np.ones(len(rows), dtype=bool)
        for name, levels in self.categories.items():
            column = rows[:, self.features.index(name)]
            strange = ~np.isnan(column) & ~np.isin(column, np.asarray(levels, dtype=np.float32))
            if strange.any():
                classes = sorted({f"{v:g}" for v in column[strange]})
                raise InputError(
                    f"predict: feature '{name}' has class {', '.join(classes)} in {int(strange.sum())} rows, "
                    f"which training never saw (it saw {', '.join(map(str, levels))}); mask these rows or retrain"
                )
            seen &= ~strange
        mean, sd = self._walk(rows)
        if self.outputs == 1:
            return mean[:, 0], sd[:, 0]
        return mean, sd

    def predict_cube(self, cube: xr.Dataset, layers: Mapping[str, str] | None = None) -> xr.Dataset:
        """Mean and spread between trees, lazily, for every cell of a cube.

        Parameters
        ----------
        cube : Dataset (y, x)
            Holds every feature by name; where it has a `soil_mask`, cells other than 1 are NaN.
        layers : mapping of str to str, optional
            Name in the cube of a feature that has another name there.

        Returns
        -------
        Dataset
            `mean` and `sd`, float32, lazy where the cube is; `mean_NAME`, `sd_NAME` for several outputs. NaN where a
            feature is missing (unless `accepts_missing`) and where a class was never seen in training.

        Raises
        ------
        MissingInputError
            Where the cube lacks features; all of them are listed.
        """
        sources = {name: (layers or {}).get(name, name) for name in self.features}
        lacking = sorted(source for source in sources.values() if source not in cube)
        if lacking:
            hints = "; ".join(f"{name}{nearest_name(name, map(str, cube.data_vars))}" for name in lacking)
            raise MissingInputError(f"predict_cube: the cube lacks {len(lacking)} of the forest's features: {hints}")
        inputs: list[xr.DataArray] = [cube[source].astype(np.float32) for source in sources.values()]
        if "soil_mask" in cube:
            inputs.append(cube["soil_mask"])
        outputs: list[Variable] = []
        names: list[str] = []
        for which, spec in (("mean", variable("mean")), ("sd", variable("sd"))):
            for k in range(self.outputs):
                suffix = f"_{self.targets[k] if self.targets else k}" if self.outputs > 1 else ""
                outputs.append(replace(spec, name=which + suffix, units=self.units))
                names.append(which + suffix)
        results = map_pixels(predict_block, *inputs, outputs=outputs, shared=self)
        return xr.Dataset(dict(zip(names, results)), attrs={"forest_digest": self.digest, "trees": self.trees})

    def apply(self, X: Any) -> npt.NDArray[np.int64]:
        """Leaf of every row in every tree, as scikit-learn's `apply`: an array of rows x trees.

        Parameters
        ----------
        X : array (n, features)
            As for `predict`.

        Returns
        -------
        ndarray (n, trees), int64
            Node indices within each tree; -1 where the prediction is NaN.
        """
        rows = self._rows(X)
        leaves = walk_columns(self.group, _columns(rows), [self._usable(rows)], leaves=True)[0].leaves
        return np.asarray(leaves)

    @cached_property
    def packed(self) -> PackedForest:
        """The layout that the walk reads; made once a process, never pickled."""
        return pack(self)

    @cached_property
    def group(self) -> Group:
        """This forest as a group of one."""
        return Group((self,), encoding_of([self]))

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _usable(self, rows: Array) -> Array:
        return np.ones(len(rows), dtype=bool) if self.accepts_missing else ~np.isnan(rows).any(axis=1)

    def _walk(self, rows: Array) -> tuple[Floats, Floats]:
        result = walk_columns(self.group, _columns(rows), [self._usable(rows)])[0]
        return result.mean, result.sd

    def _rows(self, X: Any) -> Array:
        if hasattr(X, "columns"):
            lacking = [name for name in self.features if name not in X.columns]
            if lacking:
                raise MissingInputError(f"predict: the table lacks the forest's features {', '.join(lacking)}")
            X = X[list(self.features)].to_numpy()
        table = np.asarray(X)
        if table.ndim != 2 or table.shape[1] != len(self.features):
            raise InputError(
                f"predict: X has shape {table.shape}, expected (n, {len(self.features)}): {', '.join(self.features)}"
            )
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(table, dtype=np.float32)


def predict_block(*arguments: Any) -> list[Array]:
    """One block of a cube: feature blocks, the mask where there is one, and the forest."""
    forest: CompiledForest = arguments[-1]
    blocks = arguments[: len(forest.features)]
    masks = arguments[len(forest.features) : -1]
    shape = blocks[0].shape
    rows = np.stack([np.asarray(block, dtype=np.float32).ravel() for block in blocks], axis=1)
    wanted = np.ones(len(rows), dtype=bool)
    for mask in masks:
        wanted &= mask.ravel() == 1
    for name, levels in forest.categories.items():
        column = rows[:, forest.features.index(name)]
        wanted &= np.isnan(column) | np.isin(column, np.asarray(levels, dtype=np.float32))
    mean = np.full((len(rows), forest.outputs), np.nan)
    sd = np.full((len(rows), forest.outputs), np.nan)
    mean[wanted], sd[wanted] = forest._walk(rows[wanted])
    return [array[:, k].reshape(shape) for array in (mean, sd) for k in range(forest.outputs)]


def _columns(rows: Array) -> list[Array]:
    return [np.ascontiguousarray(rows[:, k]) for k in range(rows.shape[1])]


def _fitted_trees(forest: Any) -> list[Any]:
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    if not isinstance(forest, RandomForestRegressor | ExtraTreesRegressor):
        raise InputError(
            f"CompiledForest: a {type(forest).__name__} came, expected a fitted RandomForestRegressor or "
            "ExtraTreesRegressor of scikit-learn"
        )
    if not hasattr(forest, "estimators_"):
        raise InputError(f"CompiledForest: the {type(forest).__name__} is not fitted; call fit(X, y) first")
    return [estimator.tree_ for estimator in forest.estimators_]


def _names(forest: Any, count: int) -> list[str]:
    return list(getattr(forest, "feature_names_in_", [f"x{k}" for k in range(count)]))


def _round_down(threshold: Floats) -> npt.NDArray[np.float32]:
    """The largest float32 that is at most the double."""
    with np.errstate(over="ignore"):
        single = threshold.astype(np.float32)
    above = single.astype(np.float64) > threshold
    single[above] = np.nextafter(single[above], np.float32(-np.inf))
    return single
