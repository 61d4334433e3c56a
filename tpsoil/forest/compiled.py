"""A fitted forest as flat arrays: mean, spread and quantiles in one pass, for rows or for a lazy cube."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.display import text_summary
from tpsoil.errors import InputError, nearest_name
from tpsoil.kernels.trees import apply_rows

from .flatten import fitted_trees, flat_arrays
from .mapping import count_unseen, map_forests
from .packing import PackedForest, PackedResponses, encoding_of, pack, pack_responses
from .quantiles import Responses, levels_of, responses_of
from .storage import ARRAYS, load_forest, save_forest
from .tables import columns_of, table_of, unseen_rows, usable
from .walking import Group, Prediction, walk_columns

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

ROWS = 1 << 20
"""Rows of a table cast and walked together: bounds what `predict` needs beside its input and output."""


@dataclass(frozen=True, eq=False)
class CompiledForest:
    """A regression forest as flat arrays. Made by `from_sklearn` or `load`.

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
    features : tuple of str, in the order of the columns
    targets : tuple of str
        One name an output; empty where they were not given.
    units : str, of the prediction
    accepts_missing : bool
        Whether a missing feature is walked as scikit-learn walks it; else the prediction is NaN.
    categories : mapping of str to tuple of int
        Levels that training saw, of each categorical feature.
    feature_units : mapping of str to str
        Units of the features, where they were given; a cube's layers are held to them.
    responses : Responses, optional
        Training responses, for Meinshausen's quantiles.
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
    feature_units: Mapping[str, str] = field(default_factory=dict)
    responses: Responses | None = None

    @classmethod
    def from_sklearn(
        cls,
        forest: Any,
        features: Sequence[str] | None = None,
        *,
        targets: Sequence[str] | str = (),
        units: str = "1",
        categories: Mapping[str, Sequence[int]] | None = None,
        feature_units: Mapping[str, str] | None = None,
        accepts_missing: bool | None = None,
        responses: tuple[Any, Any] | None = None,
        weighted: bool = True,
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
        feature_units : mapping of str to str, optional
            Units of features; a layer of a cube that states another unit is refused.
        accepts_missing : bool, optional
            Whether the forest was trained with missing values. By default read from the trees: without missing
            values scikit-learn sends them to the larger child at every node, so one node that does not is the proof.
        responses : (X, y), optional
            What was given to `fit`; needed for Meinshausen's quantiles.
        weighted : bool
            Whether a leaf of n training rows gives each 1 / n (Meinshausen 2006); else each row counts 1.

        Returns
        -------
        CompiledForest

        Raises
        ------
        InputError
            For another kind of model, one not fitted, names that do not fit, and training data not the forest's.

        Notes
        -----
        scikit-learn casts a feature to float32 and compares with a double threshold; thresholds are rounded down to
        float32, which decides the same. About 22 bytes a node and 8 an output, and as much again once it is walked.

        References
        ----------
        Meinshausen 2006, Quantile regression forests, Journal of Machine Learning Research 7, 983-999.

        Examples
        --------
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
        >>> forest = RandomForestRegressor(5, random_state=0).fit(X, y)
        >>> mean, sd = CompiledForest.from_sklearn(forest, ["slope", "ndvi"]).predict(X)
        >>> bool(np.allclose(mean, forest.predict(X)))
        True
        """
        trees = fitted_trees(forest)
        count = int(forest.n_features_in_)
        default = getattr(forest, "feature_names_in_", [f"x{k}" for k in range(count)])
        names = tuple(str(name) for name in (default if features is None else features))
        if len(names) != count or len(set(names)) != count:
            raise InputError(
                f"CompiledForest: {len(names)} feature names were given ({len(set(names))} distinct), the forest was "
                f"trained on {count} columns; give features= one name a column, in training order"
            )
        named = (targets,) if isinstance(targets, str) else tuple(str(target) for target in targets)
        outputs = int(forest.n_outputs_)
        if named and (len(named) != outputs or len(set(named)) != outputs):
            raise InputError(f"CompiledForest: targets {named} came, the forest has {outputs} outputs; name each once")
        for what, given in (("categories", categories), ("feature_units", feature_units)):
            for name in given or {}:
                if name not in names:
                    raise InputError(f"CompiledForest: {what} name '{name}'{nearest_name(name, names)}")
        arrays = flat_arrays(trees)
        larger_left = arrays.pop("larger_left")
        if accepts_missing is None:
            split = arrays["left"] >= 0
            accepts_missing = bool((arrays["missing_left"] != larger_left)[split].any())
        compiled = cls(
            **arrays,  # type: ignore[arg-type]  # the names are the fields'
            features=names,
            targets=named,
            units=units,
            accepts_missing=accepts_missing,
            categories={str(k): tuple(sorted(int(v) for v in levels)) for k, levels in (categories or {}).items()},
            feature_units={str(k): str(unit) for k, unit in (feature_units or {}).items()},
        )
        if responses is None:
            return compiled
        leaves = compiled._reference_leaves(responses[0])
        stored = responses_of(forest, leaves, responses[1], compiled.left.size, compiled.root, weighted)
        return replace(compiled, responses=stored)

    @property
    def trees(self) -> int:
        """Number of trees."""
        return int(self.root.size)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.value.shape[1])

    @cached_property
    def digest(self) -> str:
        """Digest of everything that a prediction depends on, names included; 64 hexadecimal digits."""
        digest = hashlib.sha256()
        stored = [getattr(self, name) for name in ARRAYS]
        if self.responses is not None:
            stored += [self.responses.value, self.responses.begin, self.responses.member]
            digest.update(repr(self.responses.weighted).encode())
        for array in stored:
            digest.update(f"{array.dtype.str}:{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((self.features, self.targets, self.units, self.accepts_missing)).encode())
        digest.update(repr([sorted(self.categories.items()), sorted(self.feature_units.items())]).encode())
        return digest.hexdigest()

    @cached_property
    def packed(self) -> PackedForest:
        """The layout that the walk reads; made once a process, never pickled."""
        return pack(self)

    @cached_property
    def packed_responses(self) -> PackedResponses:
        """The training responses as the walk reads them."""
        if self.responses is None:
            raise InputError("CompiledForest: no training responses; compile with responses=(X, y)")
        return pack_responses(self.packed, self.responses)

    @cached_property
    def group(self) -> Group:
        """This forest as a group of one."""
        return Group((self,), encoding_of([self]))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are pickled and saved."""
        size = sum(int(getattr(self, name).nbytes) for name in ARRAYS)
        if self.responses is not None:
            size += self.responses.value.nbytes + self.responses.begin.nbytes + self.responses.member.nbytes
        return size

    def __repr__(self) -> str:
        size = f"{self.trees} with {self.left.size} nodes, {self.nbytes / 1e6:.3g} MB"
        facts = {"trees": size, "features": self.features, "targets": self.targets, "units": self.units}
        return text_summary("CompiledForest", facts)

    def __sizeof__(self) -> int:
        # What dask asks before it sends an object: 48 bytes would be taken for something that may ride in every task.
        return self.nbytes

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (type(self).__name__, self.digest)

    def predict(
        self,
        X: Any,
        quantiles: Sequence[float] | None = None,
        *,
        method: str | None = None,
        unseen: str = "error",
        threads: int = 1,
    ) -> tuple[Floats, ...]:
        """Mean and spread between trees, and quantiles, for rows.

        Parameters
        ----------
        X : array (n, features), any float or integer dtype
            Columns in the order of `features`; a DataFrame is matched by name. Cast to float32 as scikit-learn does.
        quantiles : sequence of float, optional
            Levels in 0 .. 1.
        method : {"trees", "responses"}, optional
            Quantiles between the trees' predictions, or Meinshausen's of the training responses; by default the latter
            where the forest holds them.
        unseen : {"error", "nan"}
            What to do with a class that training never saw.
        threads : int
            Blocks of rows walked at once.

        Returns
        -------
        mean, sd : ndarray (n,), or (n, outputs) for several outputs
            NaN where a feature is missing, unless `accepts_missing`. `sd` has ddof 1; NaN for a single tree.
        quantiles : ndarray (n, k), or (n, outputs, k)
            Only where asked for.

        Raises
        ------
        InputError
            For another number of columns, values that are no numbers, levels outside 0 .. 1, and a class never trained.
        MissingInputError
            For a DataFrame without a feature; all that are missing are listed.

        Notes
        -----
        Every row falls into scikit-learn's leaf of every tree, and the mean is the sum over trees in their order over
        their number, as scikit-learn's on one thread. An infinite value is walked, where scikit-learn refuses it.
        """
        levels = levels_of([self], quantiles, method)
        table = table_of(X, self.features)
        refused = unseen_rows(table, self.features, self.categories, unseen)
        step = min(ROWS, max(1, -(-len(table) // max(threads, 1))))
        starts = range(0, max(len(table), 1), step)

        def part(start: int) -> Prediction:
            columns = columns_of(table[start : start + step])
            here = ~refused[start : start + step]
            return walk_columns(
                self.group, columns, [here & usable(columns, here.size, self.accepts_missing)], levels=levels
            )[0]

        _ = self.group  # made before the threads start, so that it is made once
        if threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(threads) as pool:
                parts = list(pool.map(part, starts))
        else:
            parts = [part(start) for start in starts]
        results = [np.concatenate([p.mean.T for p in parts]), np.concatenate([p.sd.T for p in parts])]
        if levels is not None:
            results.append(np.concatenate([np.moveaxis(p.quantiles, 0, 1) for p in parts if p.quantiles is not None]))
        return tuple(result[:, 0] if self.outputs == 1 else result for result in results)

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
        columns = columns_of(table_of(X, self.features))
        wanted = usable(columns, len(X), self.accepts_missing)
        return np.asarray(walk_columns(self.group, columns, [wanted], leaves=True)[0].leaves)

    def predict_cube(
        self,
        cube: xr.Dataset,
        layers: Mapping[str, str] | Sequence[str] | None = None,
        *,
        quantiles: Sequence[float] | None = None,
        method: str | None = None,
        unseen: str = "error",
    ) -> xr.Dataset:
        """Mean and spread between trees, and quantiles, lazily, for every cell of a cube.

        Parameters
        ----------
        cube : Dataset (y, x)
            Holds every feature by name; where it has a `soil_mask`, cells other than 1 are NaN.
        layers : mapping of str to str, optional
            Name in the cube of a feature that has another name there; a list of names may only hold the features' own.
        quantiles, method, unseen
            As for `predict`. A class that training never saw is found when the cell is computed; with "nan" the cell is
            NaN, and `unseen_categories` counts such cells.

        Returns
        -------
        Dataset
            `mean`, `sd` and a `qNN` for each level, float32, lazy where the cube is; `mean_NAME`, `sd_NAME`, `qNN_NAME`
            for several outputs. NaN where a feature is missing (unless `accepts_missing`).

        Raises
        ------
        MissingInputError
            Where the cube lacks features; all of them are listed.
        InputError, UnitsError
            As for `predict`; where a layer states another unit than the forest was trained on.
        """
        return map_forests({"": self}, cube, layers, quantiles=quantiles, method=method, unseen=unseen)

    def unseen_categories(self, cube: xr.Dataset, layers: Mapping[str, str] | None = None) -> dict[str, dict[int, int]]:
        """Cells with a class that training never saw, counted: {feature: {class: cells}}; computes."""
        return count_unseen(self, cube, layers)

    def save(self, path: str | Path) -> None:
        """Write the forest as plain arrays; see `load`."""
        save_forest(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> CompiledForest:
        """Read what `save` wrote; nothing in the file is executed, and its digest is checked.

        Raises
        ------
        MissingInputError
            Where there is no such file.
        CorruptStoreError
            Where the file is not a forest, or its content does not match its digest.
        """
        return load_forest(Path(path), cls)

    def _reference_leaves(self, X: Any) -> Array:
        rows = np.ascontiguousarray(np.stack(columns_of(table_of(X, self.features)), axis=1))
        return apply_rows(rows, self.root, self.left, self.right, self.feature, self.threshold, self.missing_left)
