"""Validation designs side by side: the folds of each, the scores of any model in them, and which score to quote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name, require_distinct, require_named
from tpsoil.evaluation.comparison import compare_models, score_intervals
from tpsoil.evaluation.distances import distance_curves
from tpsoil.evaluation.folds import Labels, make_folds

Doubles = npt.NDArray[np.float64]

QUESTIONS: Final[Mapping[str, str]] = {
    "random": "another sample among these",
    "site": "a new site like these",
    "block": "a place a block away",
    "region": "a region without samples",
    "knndm": "a cell of this map",
}
"""What the score of each kind of folds is an answer to."""
DESIGN: Final = re.compile(r"^(?:(random|site|knndm)|block:(\d+(?:\.\d+)?)(deg|m|km)|region:(.+))$")
EXPECTED: Final = "'random', 'site', 'block:3deg', 'block:100km', 'region:COLUMN' or 'knndm'"
MEASURES: Final = ("nse", "rmse")
DRAWS: Final = 500
"""Of the bootstrap of scores and of paired tests."""
COLUMNS: Final = (
    "design", "model", "question", "n", "nse", "nse_lower", "nse_upper", "rmse", "rmse_lower", "rmse_upper",
    "distance_gap", "difference", "difference_lower", "difference_upper", "p",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class MappedArea:
    """Places of the samples and of the cells for which a model will predict.

    Parameters
    ----------
    samples : ndarray (n, 2)
        East and north, or longitude and latitude, of each row.
    cells : ndarray (m, 2), optional
        The mapped area, or a regular or random part of it; "knndm" and the comparison of distances need it.
    degrees : bool
        Whether the coordinates are degrees; distances are then in metres.
    """

    samples: Doubles
    cells: Doubles | None = None
    degrees: bool = False


@dataclass(frozen=True, eq=False)
class DesignComparison:
    """Scores of models under several validation designs.

    Parameters
    ----------
    table : DataFrame
        As `design_scores`.
    predictions : DataFrame
        Out-of-fold predictions; columns (design, model).
    """

    table: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def quoted(self) -> tuple[str, str]:
        """The design to quote for the map, and why; see `quoted_design`."""
        return quoted_design(self.table)


def kind_of(design: str) -> str:
    """The kind of a design's folds.

    Raises
    ------
    InputError
        For a text that names no design.

    Examples
    --------
    >>> [kind_of(name) for name in ("random", "block:3deg", "region:basin")]
    ['random', 'block', 'region']
    """
    match = DESIGN.match(design)
    if match is None:
        raise InputError(f"validation design '{design}', expected {EXPECTED}{nearest_name(design, QUESTIONS)}")
    return match[1] or ("block" if match[2] else "region")


def design_folds(
    designs: Sequence[str],
    table: pd.DataFrame,
    area: MappedArea,
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> dict[str, Labels]:
    """Folds of several designs of the same rows.

    Parameters
    ----------
    designs : sequence of str
        "random", "site" (rows of one place together), "block:SIZE" with the unit deg, m or km, "region:COLUMN" (one
        region is left out at a time) and "knndm" (as far from the training rows as the mapped area from the samples).
    table : DataFrame (n rows)
        Has the columns of "region".
    area : MappedArea
    n_folds : int
    seed : int

    Returns
    -------
    dict of str to ndarray (n,), int64

    Raises
    ------
    InputError
        For an unknown or repeated design, a block in the unit of other coordinates, a column that is not there, "knndm"
        without cells, and what `make_folds` rejects, such as fewer sites than folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> area = MappedArea(rng.uniform(0, 9, (60, 2)), rng.uniform(0, 9, (500, 2)), degrees=True)
    >>> folds = design_folds(["random", "block:3deg", "knndm"], pd.DataFrame(index=range(60)), area, n_folds=3)
    >>> {name: int(labels.max()) + 1 for name, labels in folds.items()}
    {'random': 3, 'block:3deg': 3, 'knndm': 3}
    """
    require_distinct("validation", designs, "design")
    east, north = np.asarray(area.samples, float).T
    sites = np.unique(area.samples, axis=0, return_inverse=True)[1].reshape(-1)
    folds = {}
    for name in designs:
        kind = kind_of(name)
        options: dict[str, Any] = {"n_folds": n_folds, "seed": seed}
        if kind == "region":
            column = name.partition(":")[2]
            require_named(name, [column], table.columns)
            options["regions"] = table[column].to_numpy()
        elif kind == "block":
            options |= {"east": east, "north": north, "block_size": _block_size(name, area.degrees)}
        elif kind == "knndm":
            options |= {"east": east, "north": north, "area": area.cells, "degrees": area.degrees, "groups": sites}
        elif kind == "site":
            options["groups"] = sites
        folds[name] = make_folds(len(east), "group" if kind == "site" else kind, **options)
    return folds


def _block_size(design: str, degrees: bool) -> float:
    size, unit = re.findall(r":([\d.]+)(\w+)$", design)[0]
    if (unit == "deg") != degrees:
        unit_of_positions, needed = ("degrees", "deg") if degrees else ("metres", "m or km")
        raise InputError(f"{design}: the positions are in {unit_of_positions}; give the size of blocks in {needed}")
    return float(size) * (1000.0 if unit == "km" else 1.0)


def design_scores(
    observed: npt.ArrayLike,
    predictions: Mapping[str, Mapping[str, npt.ArrayLike]],
    folds: Mapping[str, npt.ArrayLike],
    *,
    area: MappedArea | None = None,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of models under several designs, beside each other, with intervals and paired tests.

    Parameters
    ----------
    observed : array_like (n,)
    predictions : mapping of design to mapping of model to array_like (n,)
        Out of the folds of the design; NaN where a model has no prediction. The first model is the one that is
        compared with the others.
    folds : mapping of design to array_like (n,)
    area : MappedArea, optional
        With cells, the distances between folds are compared with those from the cells to the samples.
    groups : array_like (n,), optional
        Whole groups are drawn by the bootstrap.
    seed : int

    Returns
    -------
    DataFrame
        A row for each design and model, over the rows that all models of the design predict: `design`, `model`,
        `question`, `n`, `nse` and `rmse` with 90 % bootstrap intervals (`_lower`, `_upper`), `distance_gap` (unit of
        the coordinates, or m; NaN without cells), and of the models after the first `difference` (RMSE of the first
        below theirs is negative) with `difference_lower`, `difference_upper` and `p`.

    Raises
    ------
    InputError
        For predictions of another length, and designs without folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> seen = rng.normal(size=80)
    >>> guesses = {"model": seen + 0.1 * rng.normal(size=80), "mean": np.zeros(80)}
    >>> table = design_scores(seen, {"random": guesses}, {"random": np.arange(80) % 4})
    >>> bool(table.set_index("model").loc["mean", "p"] < 0.05)
    True
    """
    seen = np.asarray(observed, dtype=np.float64)
    gaps = {}
    if area is not None and area.cells is not None:
        curves = distance_curves(area.samples, area.cells, dict(folds), degrees=area.degrees)
        gaps = curves.wasserstein.to_dict()
    rows = []
    for design, by_model in predictions.items():
        if design not in folds:
            raise InputError(f"design_scores: design '{design}' has no folds; there are {', '.join(folds)}")
        arrays = {model: np.asarray(values, dtype=np.float64) for model, values in by_model.items()}
        if wrong := [model for model, values in arrays.items() if values.shape != seen.shape]:
            raise InputError(f"design_scores: predictions of {', '.join(wrong)}, expected {len(seen)} of each")
        known = np.isfinite(np.stack([seen, *arrays.values()])).all(axis=0)
        units = None if groups is None else np.asarray(groups)[known]
        first = next(iter(arrays))
        for model, values in arrays.items():
            row: dict[str, Any] = {"design": design, "model": model, "question": QUESTIONS[kind_of(design)]}
            row["n"] = int(known.sum())
            if known.sum() >= 3:
                scores = score_intervals(
                    seen[known], values[known], groups=units, measures=MEASURES, draws=DRAWS, seed=seed
                )
                for measure in MEASURES:
                    row |= {measure: scores.loc[measure, "value"], f"{measure}_lower": scores.loc[measure, "lower"],
                            f"{measure}_upper": scores.loc[measure, "upper"]}  # fmt: skip
                if model != first:
                    test = compare_models(
                        seen[known], arrays[first][known], values[known], groups=units, draws=DRAWS, seed=seed
                    )
                    row |= {"difference": test["difference"], "difference_lower": test["lower"],
                            "difference_upper": test["upper"], "p": test["p"]}  # fmt: skip
            row["distance_gap"] = gaps.get(design, float("nan"))
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def quoted_design(table: pd.DataFrame) -> tuple[str, str]:
    """The design whose score to quote for the map, and one paragraph on why, in plain words.

    Parameters
    ----------
    table : DataFrame
        As `design_scores`; the first model of each design is the one that is described.

    Returns
    -------
    tuple of str
        Design and paragraph.

    Raises
    ------
    InputError
        For a table without a score.

    Examples
    --------
    >>> scores = {"design": ["random", "knndm"], "nse": [0.6, 0.4], "nse_lower": [0.5, 0.3], "nse_upper": [0.7, 0.5]}
    >>> gaps = {"distance_gap": [0.8, 0.1], "question": ["near samples", "over the map"], "rmse": [1.0, 1.3]}
    >>> quoted_design(pd.DataFrame({**scores, **gaps}))[0]
    'knndm'
    """
    scored = table.dropna(subset=["nse"]).drop_duplicates("design").set_index("design")
    if not len(scored):
        raise InputError("quoted_design: no design has a score; each needs at least 3 predicted rows")
    if scored["distance_gap"].notna().all():
        quoted = str(scored["distance_gap"].idxmin())
        reason = "its distances between folds are nearest to those from the mapped cells to the samples"
    else:
        quoted = str(scored.index[-1])
        reason = "it is the last one that was named; the mapped cells are not known, so distances are not compared"
    row = scored.loc[quoted]
    others = "; ".join(
        f"{name} {other['nse']:.2f} ({other['question']})" for name, other in scored.iterrows() if name != quoted
    )
    text = (
        f"quote the score of {quoted} folds for this map, NSE {row['nse']:.2f} [{row['nse_lower']:.2f}, "
        f"{row['nse_upper']:.2f}], RMSE {row['rmse']:.3g}: {reason}. It answers for {row['question']}."
    )
    if others:
        text += f" Other folds answer other questions: NSE {others}."
    return quoted, text + " None is map accuracy, which needs a probability sample"


def cross_validate_designs(
    models: Mapping[str, Any],
    features: npt.ArrayLike | pd.DataFrame,
    target: npt.ArrayLike,
    folds: Mapping[str, npt.ArrayLike],
    *,
    area: MappedArea | None = None,
    groups: npt.ArrayLike | None = None,
) -> DesignComparison:
    """Cross-validate any scikit-learn estimators under several designs, on the same folds.

    Parameters
    ----------
    models : mapping of str to estimator
        The first is compared with the others, such as a `DummyRegressor`; each is cloned for each fold.
    features : array_like or DataFrame (n, p)
    target : array_like (n,)
    folds : mapping of design to array_like (n,)
        As `design_folds`.
    area : MappedArea, optional
    groups : array_like (n,), optional
        Whole groups are drawn by the bootstrap of scores.

    Returns
    -------
    DesignComparison

    Raises
    ------
    InputError
        Without a model, or for folds of another length.

    Notes
    -----
    The folds of a design are a splitter of scikit-learn by `sklearn.model_selection.PredefinedSplit(folds[design])`.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklearn.linear_model import LinearRegression
    >>> x = np.linspace(0, 1, 60)[:, None]
    >>> models = {"line": LinearRegression(), "mean": DummyRegressor()}
    >>> result = cross_validate_designs(models, x, 2 * x[:, 0], {"random": np.arange(60) % 3})
    >>> result.table.set_index("model")["rmse"].round(2).to_dict()
    {'line': 0.0, 'mean': 0.59}
    """
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    if not models:
        raise InputError("cross_validate_designs: no model, expected at least one estimator by its name")
    seen = np.asarray(target, dtype=np.float64)
    if wrong := [name for name, labels in folds.items() if np.shape(labels) != seen.shape]:
        raise InputError(f"cross_validate_designs: folds of {', '.join(wrong)}, expected one label for each target")
    predictions = {
        design: {
            name: np.asarray(cross_val_predict(model, features, seen, cv=PredefinedSplit(np.asarray(labels))), float)
            for name, model in models.items()
        }
        for design, labels in folds.items()
    }
    table = design_scores(seen, predictions, folds, area=area, groups=groups)
    wide = pd.DataFrame({(design, name): values for design, one in predictions.items() for name, values in one.items()})
    return DesignComparison(table, wide)
