"""Predictions of every row by a forest that was trained without its fold; folds run in parallel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.evaluation import FOLD_KINDS, Labels, make_folds
from tpsoil.forest.block_sides import Blocks
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.options import Engine
from tpsoil.forest.search import ForestSpec, fit_forest
from tpsoil.forest.trained import LEVELS, in_own_unit, tails

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

STORED_LEVELS: Final = sorted({t for level in LEVELS for t in tails(level)} | {0.5})
"""Out-of-fold quantiles that are stored."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Sites and coordinates of the rows, for their folds.

    Parameters
    ----------
    sites : ndarray (rows,) or None
    east, north : ndarray (rows,) or None
    blocks : Blocks
        Of "block" folds.
    regions : ndarray (rows,) or None
    area : array_like (m, 2) or None
        Cells of the mapped area, for "knndm".
    degrees : bool
        Whether the coordinates are in degrees.
    """

    sites: npt.NDArray[Any] | None
    east: Floats | None
    north: Floats | None
    blocks: Blocks
    regions: npt.NDArray[Any] | None = None
    area: npt.ArrayLike | None = None
    degrees: bool = False

    def folds(self, kind: str, part: Mask, count: int, seed: int) -> Labels:
        """Folds of the rows of a part."""
        east, north = (self.blocks.east, self.blocks.north) if kind == "block" else (self.east, self.north)
        return make_folds(
            int(part.sum()),
            kind,
            n_folds=count,
            groups=None if self.sites is None else self.sites[part],
            east=None if east is None else east[part],
            north=None if north is None else north[part],
            block_size=self.blocks.side,
            regions=None if self.regions is None else self.regions[part],
            area=self.area if kind == "knndm" else None,
            degrees=self.degrees,
            seed=seed,
        )


@dataclass(frozen=True, eq=False)
class FoldPart:
    """Predictions of the rows of one fold.

    Parameters
    ----------
    mean, sd : ndarray (m,)
        On the scale of the fit.
    limits : ndarray (m, levels)
        Quantiles in the target's own unit.
    original, original_sd : ndarray (m,)
        Mean and spread between trees in the target's own unit.
    settings : mapping
        Of the forest.
    """

    mean: Floats
    sd: Floats
    limits: Floats
    original: Floats
    original_sd: Floats
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class FoldTask:
    """What the folds of a training share.

    Parameters
    ----------
    columns : callable
        Columns of all rows, learned from the rows of a mask.
    fitted, observed : ndarray (rows,)
        Target on the scale of the fit, and in its own unit.
    transform, back_transform : str
    choose : callable
        Settings for the rows of a mask: (kind, mask, stream, threads).
    trees, seed : int
    engine : {"compiled", "scikit-learn"} or None
    """

    columns: Callable[[Mask], pd.DataFrame]
    fitted: Floats
    observed: Floats
    transform: str
    back_transform: str
    choose: Callable[[str, Mask, int, int], dict[str, Any]]
    trees: int
    seed: int
    engine: Engine | None

    def run(self, kind: str, test: Mask, fold: int, threads: int) -> FoldPart:
        """Train without a fold and predict it.

        Parameters
        ----------
        kind : {"random", "group", "block", "region", "knndm"}
        test : ndarray (rows,), bool
            Rows of the fold.
        fold : int
        threads : int
        """
        part, number = ~test, 1 + FOLD_KINDS.index(kind)
        settings = self.choose(kind, part, 1000 * number + fold, threads)
        design = self.columns(part)
        spec = ForestSpec(self.trees, settings, (self.seed, number, fold), self.engine)
        forest = fit_forest(design[part], self.fitted[part], spec, workers=threads)
        past = np.ascontiguousarray(design[part].to_numpy(dtype=np.float32))
        rows = np.ascontiguousarray(design[test].to_numpy(dtype=np.float32))
        compiled = CompiledForest.from_sklearn(
            forest, [str(c) for c in design.columns], accepts_missing=True, responses=(past, self.observed[part])
        )
        mean, sd, limits = compiled.predict(rows, STORED_LEVELS)
        original, original_sd = mean, sd
        if self.transform == "log10":
            own = in_own_unit(compiled, self.observed[part], self.back_transform)
            original, original_sd = replace(own, responses=None).predict(rows)
        return FoldPart(mean, sd, limits, original, original_sd, settings)


def out_of_fold(
    parts: Sequence[FoldPart], labels: Labels, fitted: Floats, observed: Floats, index: pd.Index[Any]
) -> pd.DataFrame:
    """One row for each training row: observed and predicted, spread, fold and quantiles.

    Parameters
    ----------
    parts : sequence of FoldPart
        Of each fold.
    labels : ndarray (rows,), int
        Fold of each row.
    fitted, observed : ndarray (rows,)
        Target on the scale of the fit, and in its own unit.
    index : Index
        Of the table.
    """
    values: Mapping[str, Floats] = {
        name: np.empty(len(fitted)) for name in ("predicted", "sd", "original", "original_sd")
    }
    limits = np.empty((len(fitted), len(STORED_LEVELS)))
    for k, part in enumerate(parts):
        test = labels == k
        values["predicted"][test], values["sd"][test], limits[test] = part.mean, part.sd, part.limits
        values["original"][test], values["original_sd"][test] = part.original, part.original_sd
    frame = pd.DataFrame(
        {
            "observed": fitted,
            "predicted": values["predicted"],
            "sd": values["sd"],
            "fold": labels,
            "observed_original": observed,
            "predicted_original": values["original"],
            "sd_original": values["original_sd"],
        },
        index=index,
    )
    frame[[f"q{t:g}" for t in STORED_LEVELS]] = limits
    return frame
