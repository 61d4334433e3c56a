"""Options of training a forest: one declaration for `train`, `train_elements` and `map_elements`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypedDict, TypeVar, get_args

import numpy.typing as npt

from tpsoil.errors import InputError, nearest_name, require_one_of
from tpsoil.evaluation import FOLD_KINDS

Function = TypeVar("Function", bound=Callable[..., Any])
Preset = Literal["default", "randomForest"]
Style = Literal["codes", "ordered", "onehot"]
Transform = Literal["none", "log10"]
BackTransform = Literal["mean", "median"]
Missing = Literal["drop", "keep", "error"]
Engine = Literal["compiled", "scikit-learn"]
Splitter = Literal["best", "random"]

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": {"max_features": 1 / 3, "min_samples_leaf": 1},
    "randomForest": {"max_features": 1 / 3, "min_samples_leaf": 1, "min_samples_split": 6},
}
"""Settings of a forest by default. Both try a third of the covariates at each split and draw as many rows as there are,
with replacement. "default" grows until no leaf can be split. "randomForest" has the defaults of R's package for
regression: mtry = p/3, and nodesize = 5, so that a node of five rows or fewer is not split."""

SETTINGS: Final = (
    "splitter", "max_features", "min_samples_split", "min_samples_leaf", "max_depth", "max_leaf_nodes", "max_samples",
    "min_impurity_decrease", "min_weight_fraction_leaf", "ccp_alpha", "criterion", "monotonic_cst",
)  # fmt: skip
"""Settings of the forest itself, by scikit-learn's names; `splitter` is that of its trees."""

RESERVED: Final = {"n_estimators": "trees", "random_state": "seed", "n_jobs": "workers", "oob_score": "",
                   "warm_start": "", "verbose": "", "bootstrap": ""}  # fmt: skip
"""Parameters of RandomForestRegressor that are not settings, with the option to use instead."""

SEARCH_TREES: Final = 100
SEARCH_FOLDS: Final = 3


class TrainingKeywords(TypedDict, total=False):
    """The fields of `TrainingOptions` as keywords."""

    folds: str | Sequence[str] | None
    deciding: str | None
    n_folds: int
    block_size: float | str
    coordinates: Sequence[str] | None
    regions: str | None
    area: npt.ArrayLike | None
    trees: int
    preset: Preset
    search: Mapping[str, Sequence[Any]] | None
    search_trees: int | None
    search_folds: int | None
    transform: Transform
    back_transform: BackTransform
    missing: Missing
    categories: Style
    categorical: Sequence[str] | None
    circular: Sequence[str] | None
    units: str
    seed: int
    workers: int
    progress: bool
    engine: Engine | None
    splitter: Splitter | None
    max_features: float | int | str | None
    min_samples_split: float | int | None
    min_samples_leaf: float | int | None
    max_depth: int | None
    max_leaf_nodes: int | None
    max_samples: float | int | None
    min_impurity_decrease: float | None
    min_weight_fraction_leaf: float | None
    ccp_alpha: float | None
    criterion: str | None
    monotonic_cst: Sequence[int] | None


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a forest is grown and scored.

    Parameters
    ----------
    folds : str or sequence of {"random", "group", "block", "region", "knndm"}, optional
        Kinds of folds to score by, side by side. By default all that the table allows: "group" with groups, "block"
        with coordinates that fill `n_folds` blocks (`settings["folds_left_out"]` lists where they do not).
    deciding : str, optional
        The kind that chooses settings and calibrates intervals; by default the last of random, group, block, region,
        knndm that is used.
    n_folds : int
    block_size : float or str
        Side of a spatial block: a number in the unit of the coordinates (degrees for lon/lat, m for x/y), or a text
        such as "3deg", "50km" or "800m". "auto": the range of the variogram of the residuals under folds by site (at
        random without sites), with blocks small enough that twice as many as folds are filled.
    coordinates : (east, north), optional
        By default those that `tpsoil.points` knows: `lon`/`lat` in any of its names, else `x`/`y`.
    regions : str, optional
        Column of the regions that "region" leaves out one at a time; only with these folds.
    area : array_like (m, 2), optional
        Cells of the area that will be mapped, in the samples' coordinates, for "knndm"; only with these folds.
    trees : int
    preset : {"default", "randomForest"}
        Settings of the forest by default. "randomForest": the defaults of R's package, with which the spread between
        trees compares with published maps; see `tpsoil.forest.options.PRESETS`.
    search : mapping of str to sequence, optional
        A grid of settings, such as `{"max_features": [0.2, 0.33], "min_samples_leaf": [1, 5]}`. It is searched within
        the training part of every outer fold, by inner folds of the same kind, so that no score depends on its own
        test rows; once more on all rows for the model itself.
    search_trees, search_folds : int, optional
        Trees (default 100) and inner folds (3) of the search; only with `search`.
    transform : {"none", "log10"}
        Scale of the fit. "log10" needs a positive target.
    back_transform : {"mean", "median"}
        Meaning of a prediction in the target's own unit under "log10". "mean": the conditional mean, from leaves with
        arithmetic means. "median": 10 to the power of the mean logarithm in each leaf, which is below the mean of a
        skewed target. Only with "log10".
    missing : {"drop", "keep", "error"}
        Rows with a missing feature: dropped and counted, retained (trees send missing values to a side), or rejected.
        Rows without a target are always dropped and counted.
    categories : {"codes", "ordered", "onehot"}
        How classes become columns; see `tpsoil.forest.encoding.learn_encoding`.
    categorical, circular : sequence of str, optional
        Features that are classes, or directions in degrees; by default from the catalogue.
    units : str
        Of the target.
    seed : int
    workers : int
        Threads; the result does not depend on it.
    progress : bool
        Show a bar on a terminal and in a notebook with widgets; False: nowhere.
    engine : {"compiled", "scikit-learn"}, optional
        Grower of the trees; by default "compiled", and "scikit-learn" for settings that it does not have (`criterion`,
        `max_leaf_nodes`, `ccp_alpha`, `monotonic_cst`).
    splitter : {"best", "random"}, optional
        Splits of the trees. "best" (default): the best of every feature tried, a random forest. "random": the best of
        one random threshold for each, extremely randomised trees (Geurts et al. 2006, doi 10.1007/s10994-006-6226-1),
        grown on bootstrap samples too.
    max_features : float, int or str, optional
        Features tried at a split, as in RandomForestRegressor, where 1.0 tries all; by default by the preset.
    min_samples_split, min_samples_leaf : int or float, optional
        Of a node that is split, and of a leaf; by default by the preset.
    max_depth, max_leaf_nodes : int, optional
        No limit by default.
    max_samples : int or float, optional
        Rows drawn for each tree; by default as many as there are.
    min_impurity_decrease, min_weight_fraction_leaf, ccp_alpha : float, optional
        As in RandomForestRegressor; 0 by default.
    criterion : str, optional
        As in RandomForestRegressor; "squared_error" by default.
    monotonic_cst : sequence of int, optional
        As in RandomForestRegressor.
    """

    folds: str | Sequence[str] | None = None
    deciding: str | None = None
    n_folds: int = 5
    block_size: float | str = 3.0
    coordinates: Sequence[str] | None = None
    regions: str | None = None
    area: npt.ArrayLike | None = None
    trees: int = 500
    preset: Preset = "default"
    search: Mapping[str, Sequence[Any]] | None = None
    search_trees: int | None = None
    search_folds: int | None = None
    transform: Transform = "none"
    back_transform: BackTransform = "mean"
    missing: Missing = "drop"
    categories: Style = "codes"
    categorical: Sequence[str] | None = None
    circular: Sequence[str] | None = None
    units: str = "mg kg-1"
    seed: int = 0
    workers: int = 1
    progress: bool = True
    engine: Engine | None = None
    splitter: Splitter | None = None
    max_features: float | int | str | None = None
    min_samples_split: float | int | None = None
    min_samples_leaf: float | int | None = None
    max_depth: int | None = None
    max_leaf_nodes: int | None = None
    max_samples: float | int | None = None
    min_impurity_decrease: float | None = None
    min_weight_fraction_leaf: float | None = None
    ccp_alpha: float | None = None
    criterion: str | None = None
    monotonic_cst: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            require_one_of("train", name, getattr(self, name), known)
        if self.trees < 1 or self.workers < 1:
            raise InputError(f"train: trees is {self.trees} and workers {self.workers}, expected 1 or more of each")
        if self.engine is not None:
            require_one_of("train", "engine", self.engine, get_args(Engine))
        if self.back_transform != "mean" and self.transform == "none":
            raise InputError("train: back_transform has no effect with transform 'none'; use 'log10' or omit it")
        for name in ("search_trees", "search_folds"):
            if getattr(self, name) is not None and not self.search:
                raise InputError(f"train: {name} has no effect without search; pass search= or omit {name}")
        for kind in self.kinds:
            if kind not in FOLD_KINDS:
                raise InputError(f"train: no folds '{kind}'{nearest_name(kind, FOLD_KINDS)}")
        if self.folds is not None and (not self.kinds or len(set(self.kinds)) != len(self.kinds)):
            raise InputError(
                f"train: folds are {list(self.kinds)}, expected one or more of {list(FOLD_KINDS)}, each once"
            )
        for name, kind in (("regions", "region"), ("area", "knndm")):
            if (getattr(self, name) is not None) != (kind in self.kinds):
                raise InputError(f"train: folds '{kind}' need {name}=, and only they use it; pass both or neither")

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> TrainingOptions:
        """The options of a call.

        Raises
        ------
        InputError
            For an unknown keyword or value, and an option that has no effect.
        """
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name in RESERVED:
                fix = f"; use {RESERVED[name]}=" if RESERVED[name] else "; train sets it itself"
                raise InputError(f"train: '{name}' cannot be set here{fix}")
            if name not in known:
                raise InputError(f"train: no option '{name}'{nearest_name(name, known)}")
        return cls(**keywords)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the forest that were passed."""
        return {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of folds that were passed; none: all that the table allows."""
        return () if self.folds is None else (self.folds,) if isinstance(self.folds, str) else tuple(self.folds)


CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "transform": get_args(Transform),
    "back_transform": get_args(BackTransform),
    "missing": get_args(Missing),
    "preset": get_args(Preset),
}


def with_keywords_of(
    source: Callable[..., Any], *, omit: Sequence[str] = (), **defaults: Any
) -> Callable[[Function], Function]:
    """Show the keywords that a function takes as `**options` in its signature, for `help`, completion and notebooks.

    Parameters
    ----------
    source : callable
        Whose keyword-only parameters they are, such as `TrainingOptions`.
    omit : sequence of str
        Keywords that the function does not take.
    **defaults
        Defaults that differ from those of `source`.

    Returns
    -------
    callable
        A decorator. Type checkers read the annotation of `**options` instead.

    Examples
    --------
    >>> @with_keywords_of(TrainingOptions, trees=10)
    ... def grow(**options): ...
    >>> inspect.signature(grow).parameters["trees"].default
    10
    """
    keywords = [
        parameter.replace(default=defaults.get(name, parameter.default))
        for name, parameter in inspect.signature(source).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in omit
    ]

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [p for p in keywords if p.name not in signature.parameters]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        return function

    return decorate
