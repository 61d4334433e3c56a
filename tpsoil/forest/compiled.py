"""A fitted forest as flat arrays: mean, spread and quantiles in one pass, for rows or for a lazy cube."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.display import text_summary
from tpsoil.errors import InputError, nearest_name, require_one_of
from tpsoil.kernels.trees import apply_rows

from .derived import DerivedValues
from .flatten import fitted_trees, flat_arrays
from .mapping import PlainForest, count_unseen, map_forests
from .quantiles import Responses, levels_of, responses_of
from .storage import ARRAYS, RESPONSES, load_forest, save_forest
from .tables import Unseen, columns_of, known_classes, table_of, usable
from .walking import Prediction, Walker, walk_few

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

ROWS = 1 << 20
"""Rows of a table cast and walked together: bounds the memory of `predict` beside its input and output."""
FEW: Final = 4
"""Nodes of a tree for each row above which a table is walked without packing the forest."""
DIGESTS: Final = DerivedValues(entries=128)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class CompiledForest:
    """A regression forest as flat arrays. Created by `from_sklearn` or `load`.

    Plain data: what the walk derives from it is in `tpsoil.forest.walking`.

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
        One name for each output, or empty.
    units : str, of the prediction
    accepts_missing : bool
        Whether a missing feature is walked as scikit-learn walks it; else the prediction is NaN.
    categories : mapping of str to tuple of int
        Levels in training, of each categorical feature.
    feature_units : mapping of str to str
        Units of features; a cube's layers must have the same.
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
            One name for each output.
        units : str
            Of the target.
        categories : mapping of str to sequence of int, optional
            Levels in training, by feature. Rows with another level are rejected or NaN.
        feature_units : mapping of str to str, optional
            Units of features; a layer of a cube with another unit is rejected.
        accepts_missing : bool, optional
            Whether the forest was trained with missing values. By default read from the trees: without missing
            values scikit-learn sends them to the larger child at every node; one node that does not is evidence.
        responses : (X, y), optional
            The training data, as for `fit`; needed for Meinshausen's quantiles.
        weighted : bool
            Whether a leaf of n training rows gives each 1 / n (Meinshausen 2006); else each row counts 1.

        Returns
        -------
        CompiledForest

        Raises
        ------
        InputError
            For another kind of model, one that is not fitted, names that do not match, and other training data.

        Notes
        -----
        scikit-learn casts a feature to float32 and compares with a double threshold; thresholds are rounded down to
        float32, which gives the same comparisons. About 22 bytes a node and 8 an output; once walked, as much again.

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
                f"trained on {count} columns; pass features= with one name for each column, in training order"
            )
        labels = (targets,) if isinstance(targets, str) else tuple(str(target) for target in targets)
        outputs = int(forest.n_outputs_)
        if labels and (len(labels) != outputs or len(set(labels)) != outputs):
            raise InputError(f"CompiledForest: targets are {labels}, the forest has {outputs} outputs; name each once")
        for option, by_name in (("categories", categories), ("feature_units", feature_units)):
            for name in by_name or {}:
                if name not in names:
                    raise InputError(f"CompiledForest: {option} name '{name}'{nearest_name(name, names)}")
        arrays = flat_arrays(trees)
        larger_left = arrays.pop("larger_left")
        if accepts_missing is None:
            split = arrays["left"] >= 0
            accepts_missing = bool((arrays["missing_left"] != larger_left)[split].any())
        compiled = cls(
            **arrays,  # type: ignore[arg-type]  # the names are the fields'
            features=names,
            targets=labels,
            units=units,
            accepts_missing=accepts_missing,
            categories={str(k): tuple(sorted(int(v) for v in levels)) for k, levels in (categories or {}).items()},
            feature_units={str(k): str(unit) for k, unit in (feature_units or {}).items()},
        )
        if responses is None:
            return compiled
        leaves = compiled.leaves_of(np.stack(columns_of(table_of(responses[0], names)), axis=1))
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

    @property
    def digest(self) -> str:
        """Digest of everything that a prediction depends on, names included; 64 hexadecimal digits."""
        return DIGESTS.get((self,), "digest", self._compute_digest)

    def _compute_digest(self) -> str:
        digest = hashlib.sha256()
        if self.responses is not None:
            digest.update(repr(self.responses.weighted).encode())
        for array in self._arrays:
            digest.update(f"{array.dtype.str}:{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((self.features, self.targets, self.units, self.accepts_missing)).encode())
        digest.update(repr([sorted(self.categories.items()), sorted(self.feature_units.items())]).encode())
        return digest.hexdigest()

    @property
    def _arrays(self) -> list[Array]:
        """The arrays that are pickled and saved."""
        nodes = [getattr(self, name) for name in ARRAYS]
        return nodes + ([] if self.responses is None else [getattr(self.responses, name) for name in RESPONSES])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are pickled and saved."""
        return sum(int(array.nbytes) for array in self._arrays)

    def __repr__(self) -> str:
        size = f"{self.trees} with {self.left.size} nodes, {self.nbytes / 1e6:.3g} MB"
        facts = {"trees": size, "features": self.features, "targets": self.targets, "units": self.units}
        return text_summary("CompiledForest", facts)

    def __sizeof__(self) -> int:
        # dask reads it before it sends an object: one of 48 bytes would be part of every task.
        return self.nbytes

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
            where the forest has them.
        unseen : {"error", "nan"}
            Treatment of rows with a class that is not in the training data.
        threads : int
            Blocks of rows walked at once.

        Returns
        -------
        mean, sd : ndarray (n,), or (n, outputs) for several outputs
            NaN where a feature is missing, unless `accepts_missing`. `sd` has ddof 1; NaN for a single tree.
        quantiles : ndarray (n, k), or (n, outputs, k)
            Only where requested.

        Raises
        ------
        InputError
            For another number of columns, values that are no numbers, levels outside 0 .. 1, and a class never trained.
        MissingInputError
            For a DataFrame without a feature; all that are missing are listed.

        Notes
        -----
        Every row falls into scikit-learn's leaf of every tree, and the mean is the sum over trees in their order over
        their number, as scikit-learn's on one thread. An infinite value is allowed, where scikit-learn rejects it.
        """
        levels = levels_of([self], quantiles, method)
        table = table_of(X, self.features)
        require_one_of("predict", "unseen", unseen, get_args(Unseen))
        rows, everywhere = dict(zip(self.features, table.T)), np.ones(len(table), dtype=bool)
        known = known_classes("predict", rows, self.categories, everywhere, reject=unseen == "error")
        if len(table) * FEW * self.trees <= self.left.size:
            columns = columns_of(table)
            selected = known & usable(columns, len(table), self.accepts_missing)
            return self._results([walk_few(self, np.stack(columns, axis=1), selected, levels)])
        walker = Walker.of([self], levels)
        step = min(ROWS, max(1, -(-len(table) // max(threads, 1))))
        starts = range(0, max(len(table), 1), step)

        def part(start: int) -> Prediction:
            columns = columns_of(table[start : start + step])
            here = known[start : start + step]
            return walker.walk(columns, [here & usable(columns, here.size, self.accepts_missing)], levels=levels)[0]

        if threads <= 1 or len(starts) == 1:
            return self._results([part(start) for start in starts])
        with ThreadPoolExecutor(threads) as pool:
            return self._results(list(pool.map(part, starts)))

    def _results(self, parts: Sequence[Prediction]) -> tuple[Floats, ...]:
        results = [np.concatenate([p.mean.T for p in parts]), np.concatenate([p.sd.T for p in parts])]
        quantiles = [np.moveaxis(p.quantiles, 0, 1) for p in parts if p.quantiles is not None]
        if quantiles:
            results.append(np.concatenate(quantiles))
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
            Node indices within each tree; -1 where a feature is missing or a class is not in the training data.
        """
        table = table_of(X, self.features)
        columns = columns_of(table)
        cells = usable(columns, len(table), self.accepts_missing)
        cells = known_classes("apply", dict(zip(self.features, table.T)), self.categories, cells, reject=False)
        return np.asarray(Walker.of([self]).walk(columns, [cells], leaves=True)[0].leaves)

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
            Has every feature by name; where it has a `soil_mask`, cells other than 1 are NaN.
        layers : mapping of str to str, optional
            Name in the cube of a feature that has another name there; a list of names may only have the features' own.
        quantiles, method, unseen
            As for `predict`. Classes are checked when a cell is computed; with "nan" a cell of a class that training
            never saw is NaN, and `unseen_categories` counts such cells.

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
            As for `predict`; where a layer has another unit than in training.
        """
        member = PlainForest(self, levels_of([self], quantiles, method))
        return map_forests({"": member}, cube, layers, unseen=unseen)

    def unseen_categories(self, cube: xr.Dataset, layers: Mapping[str, str] | None = None) -> dict[str, dict[int, int]]:
        """Cells with a class that is not in the training data, counted: {feature: {class: cells}}; computes."""
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

    def leaves_of(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Leaf of every row (n, features) in every tree, as index of the forest's nodes, without packing the forest."""
        nodes = (self.root, self.left, self.right, self.feature, self.threshold, self.missing_left)
        return np.asarray(apply_rows(np.ascontiguousarray(rows), *nodes))
