"""A random forest as a scikit-learn estimator that also gives spread, quantiles and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import validate_data

from tpsoil.errors import InputError, require_one_of
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.fit_progress import fit_bar, fold_done
from tpsoil.forest.growing import grow, unfitted_forest
from tpsoil.forest.options import PRESETS, Engine, Splitter
from tpsoil.forest.tables import Unseen

Floats = npt.NDArray[np.float64]

SETTINGS = ("splitter", "max_features", "min_samples_split", "min_samples_leaf", "max_depth")


class NotFittedForestError(InputError, NotFittedError):  # type: ignore[misc]
    """A prediction of a forest that was not fitted."""


class SoilForest(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Random forest or extra-trees regressor with mean, spread between trees and quantiles in one pass.

    Parameters
    ----------
    n_estimators : int
        Trees.
    preset : {"default", "randomForest"}
        Settings that are left None; "randomForest": the defaults of R's package, see `tpsoil.forest.options.PRESETS`.
    splitter : {"best", "random"} or None
        "random": extremely randomised trees, on bootstrap samples, as in `TrainingOptions`; None: "best".
    max_features : float, int, str or None
        As in RandomForestRegressor, where 1.0 tries all features at each split; None: a third of them, by the preset.
    min_samples_split, min_samples_leaf : int, float or None
        As in RandomForestRegressor; None: by the preset.
    max_depth : int or None
        None grows trees as deep as the other settings let them.
    random_state : int, RandomState or None
        An integer gives the same forest each time.
    n_jobs : int or None
        Threads that grow trees and walk rows, -1 for all processors; results do not depend on it.
    engine : {"compiled", "scikit-learn"} or None
        Grower of the trees. "scikit-learn": equal to RandomForestRegressor. "compiled": another draw of the same kind
        of forest, from the same bootstrap samples, several times faster. None: the compiled one.
    verbose : int
        Above 0: `fit` shows a bar of the trees on a terminal and in a notebook with widgets.

    Attributes
    ----------
    forest_ : RandomForestRegressor or ExtraTreesRegressor
        scikit-learn's forest, on the columns of X.
    compiled_ : CompiledForest
        The same forest as flat arrays, with the training responses.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X was a DataFrame with text names.

    Notes
    -----
    Predictions equal those of `forest_` to the last bit on one thread; a row with a missing feature is NaN unless
    training had missing values too. For scores by site and block, class features and intervals use
    `tpsoil.forest.train`.

    References
    ----------
    Breiman 2001, Machine Learning 45, doi 10.1023/A:1010933404324; Meinshausen 2006, Journal of Machine Learning
    Research 7, 983-999 (quantiles).

    Examples
    --------
    >>> X, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
    >>> forest = SoilForest(n_estimators=20).fit(X, y)
    >>> forest.predict_quantiles(X[:3], [0.05, 0.95]).shape
    (3, 2)
    """

    forest_: Any
    compiled_: CompiledForest

    def __init__(
        self,
        n_estimators: int = 500,
        *,
        preset: str = "default",
        splitter: Splitter | None = None,
        max_features: float | int | str | None = None,
        min_samples_split: float | int | None = None,
        min_samples_leaf: float | int | None = None,
        max_depth: int | None = None,
        random_state: Any = 0,
        n_jobs: int | None = None,
        engine: Engine | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.preset = preset
        self.splitter = splitter
        self.max_features = max_features
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.max_depth = max_depth
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.engine = engine
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SoilForest:
        """Grow the trees.

        Parameters
        ----------
        X : DataFrame or array (n, p)
            Numbers; missing values (NaN) go to the side of a split that fits them better.
        y : array (n,)
        sample_weight : array (n,), optional
            As RandomForestRegressor uses it. Quantiles count each drawn row once.

        Returns
        -------
        SoilForest
            Itself.

        Raises
        ------
        InputError
            For an unknown preset, or a number of trees that is none.
        ValueError
            For data and settings that scikit-learn rejects.
        """
        require_one_of("SoilForest", "preset", self.preset, PRESETS)
        trees: Any = self.n_estimators
        if not isinstance(trees, Integral) or trees < 1:
            raise InputError(f"SoilForest: n_estimators is {trees!r}, expected an integer of at least 1")
        rows, target = validate_data(
            self, X, y, dtype=np.float32, ensure_all_finite="allow-nan", y_numeric=True, ensure_min_samples=2
        )
        own = {name: getattr(self, name) for name in SETTINGS if getattr(self, name) is not None}
        state = self.random_state
        if not isinstance(state, Integral):
            state = check_random_state(state).randint(np.iinfo(np.int32).max)
        with fit_bar("growing trees", show=self.verbose > 0, unit="trees"):
            self.forest_ = grow(
                unfitted_forest(int(trees), int(state), {**PRESETS[self.preset], **own}),
                rows,
                target,
                sample_weight=sample_weight,
                threads=self._threads,
                engine=self.engine,
                progress=fold_done if self.verbose > 0 else None,
            )
        names = getattr(self, "feature_names_in_", None)
        self.compiled_ = CompiledForest.from_sklearn(self.forest_, names, responses=(rows, target))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean over the trees, and the spread between them.

        Parameters
        ----------
        X : DataFrame or array (n, p)
        return_std : bool
            Also return the standard deviation between trees (ddof 1); it is no prediction interval.

        Returns
        -------
        mean : ndarray (n,), float64
        sd : ndarray (n,), float64
            Where `return_std` is set.

        Raises
        ------
        NotFittedForestError
        ValueError
            For other columns than those of `fit`.
        """
        rows = self._rows(X)
        mean, sd = self.compiled_.predict(rows, threads=self._threads)
        return (mean, sd) if return_std else mean

    def predict_quantiles(self, X: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> Floats:
        """Quantiles of the training responses in the leaves of each row.

        Parameters
        ----------
        X : DataFrame or array (n, p)
        quantiles : sequence of float
            Distinct, in 0 .. 1.

        Returns
        -------
        ndarray (n, k), float64

        Raises
        ------
        NotFittedForestError
        InputError
            For a level outside 0 .. 1.
        """
        rows = self._rows(X)
        return self.compiled_.predict(rows, quantiles, method="responses", threads=self._threads)[2]

    def predict_cube(
        self,
        cube: xr.Dataset,
        layers: Mapping[str, str] | None = None,
        *,
        quantiles: Sequence[float] | None = None,
        unseen: Unseen = "error",
    ) -> xr.Dataset:
        """Mean, spread and quantiles for every cell of a cube; see `CompiledForest.predict_cube`."""
        self._require_fit()
        return self.compiled_.predict_cube(cube, layers, quantiles=quantiles, unseen=unseen)

    @property
    def _threads(self) -> int:
        from joblib import effective_n_jobs

        return int(effective_n_jobs(self.n_jobs))

    def _require_fit(self) -> None:
        if not hasattr(self, "compiled_"):
            raise NotFittedForestError("SoilForest: the forest is not fitted; call fit(X, y) first")

    def _rows(self, X: Any) -> npt.NDArray[np.float32]:
        self._require_fit()
        rows = validate_data(self, X, dtype=np.float32, ensure_all_finite="allow-nan", reset=False)
        return np.asarray(rows, dtype=np.float32)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
