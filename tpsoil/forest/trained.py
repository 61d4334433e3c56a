"""A trained forest with everything that is needed to use it, evaluate it, save it and train it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.display import bar_chart, html_summary, html_table, text_summary
from tpsoil.errors import InputError
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.derived import DerivedValues
from tpsoil.forest.encoding import Encoding
from tpsoil.forest.mapping import PlainForest, map_forests
from tpsoil.forest.quantiles import leaf_means, levels_of
from tpsoil.forest.search import fit_forest, spec_of
from tpsoil.forest.tables import Unseen

if TYPE_CHECKING:
    from tpsoil.forest.growing import AnyForest

Floats = npt.NDArray[np.float64]

LEVELS: Final = (0.5, 0.8, 0.9, 0.95)
"""Central intervals whose out-of-fold limits are stored."""
COMPILED: Final = DerivedValues(entries=32)


@dataclass(frozen=True, eq=False)
class TrainedForest:
    """A forest with what is needed to use it, evaluate it and train it again. Created by `train`.

    Parameters
    ----------
    forest : RandomForestRegressor or ExtraTreesRegressor
        Fitted on the scale of `settings["transform"]`; its columns are `encoding.columns`.
    features : tuple of str
        As requested, in order.
    target, units : str
    encoding : Encoding
        Feature order, kinds and class levels.
    scores : DataFrame
        One row for each kind of folds, pooled out of fold: `n` and `tpsoil.evaluation.ELEMENT_MEASURES` on the
        scale of the fit; with a transform the same with `_original` in the target's own unit.
    folds : DataFrame
        The fold of every used row, one column for each kind; index of the table.
    predictions : mapping of str to DataFrame
        By kind of folds: `observed`, `predicted` and `sd` between trees on the fit's scale, `fold`;
        `observed_original`, `predicted_original`, `sd_original`, and the out-of-fold quantiles `q0.05` and so on, in
        the target's own unit.
    settings : mapping
        All options and choices: settings of the forest and of each outer fold, transform, folds, seed.
    counts : mapping of str to int
        `rows`, `used`, and why rows were dropped.
    design : DataFrame
        float32 columns that the forest was fitted on.
    observed : Series
        Target of these rows, own unit.
    rows : DataFrame
        The features of these rows as the table had them.
    groups : Series or None
        Group of these rows.
    """

    forest: AnyForest
    features: tuple[str, ...]
    target: str
    units: str
    encoding: Encoding
    scores: pd.DataFrame
    folds: pd.DataFrame
    predictions: Mapping[str, pd.DataFrame]
    settings: Mapping[str, Any]
    counts: Mapping[str, int]
    design: pd.DataFrame
    observed: pd.Series
    rows: pd.DataFrame
    groups: pd.Series | None = None

    @property
    def deciding(self) -> str:
        """Kind of folds that chooses settings and calibrates intervals; by default the most demanding one."""
        return str(self.settings["deciding"])

    @property
    def fitted_target(self) -> Floats:
        """The target on the scale of the fit."""
        return forward(self.observed.to_numpy(dtype=np.float64), self.settings["transform"])

    @property
    def _facts(self) -> dict[str, Any]:
        return {
            "target": f"{self.target}, {self.units}",
            "features": ", ".join(self.features),
            "trees": len(self.forest.estimators_),
            "transform": self.settings["transform"],
            "rows": f"{self.counts['used']} of {self.counts['rows']}",
            "folds that decide": self.deciding,
        }

    def __repr__(self) -> str:
        pooled = {f"NSE, {kind} folds": float(row["nse"]) for kind, row in self.scores.iterrows()}
        return text_summary("TrainedForest", {**self._facts, **pooled})

    def _repr_html_(self) -> str:
        scores, facts = self.scores.reset_index(), self._facts
        table = html_table(list(map(str, scores.columns)), scores.to_numpy(object).tolist(), caption="Out of fold")
        chart = bar_chart(
            {f"{kind} folds": row["nse"] for kind, row in self.scores.iterrows()}, caption="NSE out of fold"
        )
        return html_summary("Trained forest", facts, chart, table)

    def compile(self, *, original: bool = True, responses: bool = False) -> CompiledForest:
        """The forest as flat arrays, for rasters.

        Parameters
        ----------
        original : bool
            Whether it predicts in the target's own unit; else on the scale of the fit. Without a transform both are
            the forest itself.
        responses : bool
            Include the training target, for quantiles of the soil's values.

        Returns
        -------
        CompiledForest
            With `back_transform="mean"` each leaf has the mean of its samples in the target's own unit; with
            "median" 10 to the power of its mean logarithm. Mean and spread are then taken between trees.
        """
        # Flattening takes a second, and an analysis of drivers predicts hundreds of times.
        return COMPILED.get((self,), (original, responses), lambda: self._compile(original, responses))

    def _compile(self, original: bool, responses: bool) -> CompiledForest:
        logarithmic = self.settings["transform"] == "log10"
        coded = [f for f in self.encoding.features if f.kind == "categorical" and not f.of_text]
        levels = {feature.name: feature.levels for feature in coded} if self.encoding.style == "codes" else {}
        target = self.observed.to_numpy(dtype=np.float64) if original else self.fitted_target
        compiled = CompiledForest.from_sklearn(
            self.forest,
            self.encoding.columns,
            targets=[self.target],
            units=f"log10({self.units})" if logarithmic and not original else self.units,
            categories=levels,
            accepts_missing=self.settings["missing"] == "keep",
            responses=(self.design, target) if responses or (logarithmic and original) else None,
        )
        if logarithmic and original:
            compiled = in_own_unit(compiled, target, self.settings["back_transform"])
        return compiled if responses else replace(compiled, responses=None)

    def predict(self, table: pd.DataFrame, quantiles: Sequence[float] = ()) -> pd.DataFrame:
        """Predictions for a table's rows, in the target's own unit.

        Parameters
        ----------
        table : DataFrame
            Has every feature by name.
        quantiles : sequence of float, in 0..1

        Returns
        -------
        DataFrame
            `mean`, `sd` between trees, and `q0.05` and so on; NaN where a feature is missing and training had none
            missing. Index of the table.

        Raises
        ------
        MissingInputError
            Where features are missing; all are listed.
        InputError
            For a class that is not in the training data.
        """
        rows = self.encoding.table(table)
        predicted = self.compile(responses=bool(len(quantiles))).predict(rows, quantiles if len(quantiles) else None)
        result = pd.DataFrame({"mean": predicted[0], "sd": predicted[1]}, index=table.index)
        if len(quantiles):
            result[[f"q{q:g}" for q in quantiles]] = predicted[2]
        return result

    def predict_cube(
        self,
        cube: xr.Dataset,
        layers: Mapping[str, str] | Sequence[str] | None = None,
        *,
        quantiles: Sequence[float] | None = None,
        unseen: Unseen = "nan",
    ) -> xr.Dataset:
        """Mean and spread between trees, and quantiles, for every cell, lazily, in the target's own unit.

        Parameters
        ----------
        cube : Dataset (y, x)
            Has every feature by name, classes as codes, directions in degrees.
        layers : mapping of str to str, optional
            Name in the cube of a feature that has another name there; a list of names may only have the features' own.
        quantiles : sequence of float, optional
            Of the training values in the leaves, in 0..1.
        unseen : {"nan", "error"}
            Treatment of a cell with soil whose class is not in the training data.

        Returns
        -------
        Dataset
            `mean`, `sd`, and `q05` and so on; NaN on cells without soil, see `tpsoil.soil_mask.with_soil_mask`.

        Raises
        ------
        MissingInputError
            Where the cube lacks features; all are listed.
        InputError
            For what is not a Dataset, and names in `layers` that are no features;
            with `unseen="error"` while computing.
        """
        self.encoding.require_codes()
        forest = self.compile(responses=quantiles is not None)
        member = PlainForest(forest, levels_of([forest], quantiles, None), self.encoding)
        return map_forests({"": member}, cube, layers, unseen=unseen)

    def design_from(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> pd.DataFrame:
        """The design of all rows as learned from some: "ordered" classes follow the targets of these alone.

        Parameters
        ----------
        rows : ndarray of int or bool
            Positions or mask of rows whose target may be used, such as the training part of a fold.

        Returns
        -------
        DataFrame
            Rows and columns as `design`, which it is under other styles.
        """
        if self.encoding.style != "ordered":
            return self.design
        used = np.zeros(len(self.rows), dtype=bool)
        used[rows] = True
        return self.encoding.relearned(self.rows, self.fitted_target, style="ordered", rows=used).table(self.rows)

    def require_own_rows(self, where: str) -> None:
        """Reject a forest that was grown again by `refit`: folds and predictions are of the first one's rows.

        Raises
        ------
        InputError
        """
        if not self.folds.index.equals(self.rows.index):
            raise InputError(
                f"{where}: a forest that was grown again on other rows has no held-out rows; use the first"
            )

    def refit(self, rows: npt.NDArray[np.int64], *, trees: int | None = None, seed: int = 0) -> TrainedForest:
        """The same forest grown on other rows of its design, such as a bootstrap sample; unscored.

        Parameters
        ----------
        rows : ndarray (m,), int
            Positions in `design`; may repeat.
        trees : int, optional
            By default as many as before.
        seed : int

        Returns
        -------
        TrainedForest
            Scores, folds and predictions stay those of the first training.
        """
        design, observed = self.design.iloc[rows], self.observed.iloc[rows]
        forest = fit_forest(design, self.fitted_target[rows], spec_of(self.settings, (seed, 3), trees=trees))
        groups = None if self.groups is None else self.groups.iloc[rows]
        return replace(self, forest=forest, design=design, observed=observed, rows=self.rows.iloc[rows], groups=groups)

    def save(self, path: str | Path) -> None:
        """Write everything to one file; `load_trained` reads it.

        Raises
        ------
        OSError
        """
        import joblib

        joblib.dump(self, path, compress=3)


def load_trained(path: str | Path) -> TrainedForest:
    """Read what `TrainedForest.save` wrote.

    Parameters
    ----------
    path : path
        A file that you wrote yourself: reading one executes code that it may contain.

    Returns
    -------
    TrainedForest

    Raises
    ------
    InputError
        For another file.
    """
    import joblib

    trained = joblib.load(path)
    if not isinstance(trained, TrainedForest):
        raise InputError(
            f"{path}: contains a {type(trained).__name__}, expected a trained forest; write it with .save()"
        )
    return trained


def tails(level: float) -> tuple[float, float]:
    """The two quantiles that bound a central interval.

    Examples
    --------
    >>> tails(0.9)
    (0.05, 0.95)
    """
    return round((1 - level) / 2, 6), round((1 + level) / 2, 6)


def forward(values: Floats, transform: str) -> Floats:
    """The target on the scale of the fit."""
    return np.log10(values) if transform == "log10" else values


def in_own_unit(forest: CompiledForest, observed: Floats, back_transform: str) -> CompiledForest:
    """A forest of log10 with leaves in the target's own unit: arithmetic means, or 10 ** (mean logarithm).

    Parameters
    ----------
    forest : CompiledForest
        Grown on log10, with its training responses.
    observed : ndarray (rows,)
        Of its training rows, in the target's own unit.
    back_transform : {"mean", "median"}
    """
    if forest.responses is None:
        raise InputError("forest: leaves in another unit need the training rows; compile with responses=(X, y)")
    leaf = np.diff(forest.responses.begin.astype(np.int64)) > 0
    own = leaf_means(forest.responses, observed) if back_transform == "mean" else 10.0 ** forest.value[:, 0]
    return replace(forest, value=np.where(leaf, own, forest.value[:, 0])[:, None])
