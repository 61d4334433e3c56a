"""Predictions of every row by a forest that was trained without its fold; folds run in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.evaluation import FOLD_KINDS, Labels, make_folds
from tpsoil.forest.block_sides import Blocks, blocks_of
from tpsoil.forest.features import require_features
from tpsoil.forest.folds import choose_position
from tpsoil.forest.options import TrainingOptions
from tpsoil.forest.search import ForestSpec, fit_compiled
from tpsoil.forest.trained import LEVELS, in_own_unit, tails
from tpsoil.points import positions_of

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

    @classmethod
    def of(cls, rows: pd.DataFrame, how: TrainingOptions, sites: pd.Series | None, *, where: str) -> Positions:
        """Positions of the rows of a table, by the options of a training.

        Parameters
        ----------
        rows : DataFrame
            With coordinates and regions.
        how : TrainingOptions
        sites : Series (rows,) or None
        where : str
            Named in messages.
        """
        pair = choose_position(rows, how.coordinates)
        east, north = (None, None) if pair is None else positions_of(rows, pair, where=where)
        if how.regions is not None:
            require_features(rows, [how.regions], where=where)
        return cls(
            sites=None if sites is None else sites.to_numpy(),
            east=east,
            north=north,
            blocks=blocks_of(how.block_size, pair, east, north),
            regions=None if how.regions is None else rows[how.regions].to_numpy(),
            area=how.area,
            degrees=pair is not None and pair.degrees,
        )

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
class FoldTask:
    """What the folds of a training share.

    Parameters
    ----------
    columns : callable
        Columns of all rows, learned from the rows of a mask.
    fitted, observed : ndarray (rows,)
        Target on the scale of the fit, and in its own unit.
    choose : callable
        Settings for the rows of a mask: (kind, mask, stream, threads).
    how : TrainingOptions
    """

    columns: Callable[[Mask], pd.DataFrame]
    fitted: Floats
    observed: Floats
    choose: Callable[[str, Mask, int, int], dict[str, Any]]
    how: TrainingOptions

    def run(self, kind: str, test: Mask, fold: int, threads: int) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Train without a fold and predict it.

        Parameters
        ----------
        kind : {"random", "group", "block", "region", "knndm"}
        test : ndarray (rows,), bool
            Rows of the fold.
        fold : int
        threads : int

        Returns
        -------
        predictions : DataFrame
            One row for each row of the fold, as `TrainedForest.predictions` has them.
        settings : dict
            Of the forest.
        """
        part, number, how = ~test, 1 + FOLD_KINDS.index(kind), self.how
        settings = self.choose(kind, part, 1000 * number + fold, threads)
        design = self.columns(part)
        spec = ForestSpec(how.trees, settings, (how.seed, number, fold), how.engine)
        compiled = fit_compiled(design[part], self.fitted[part], spec, workers=threads, observed=self.observed[part])
        mean, sd, limits = compiled.predict(design[test], STORED_LEVELS)
        original, original_sd = mean, sd
        if how.transform == "log10":
            own = in_own_unit(compiled, self.observed[part], how.back_transform)
            original, original_sd = replace(own, responses=None).predict(design[test])
        predictions = pd.DataFrame(
            {
                "observed": self.fitted[test],
                "predicted": mean,
                "sd": sd,
                "fold": np.int64(fold),
                "observed_original": self.observed[test],
                "predicted_original": original,
                "sd_original": original_sd,
            }
        )
        predictions[[f"q{t:g}" for t in STORED_LEVELS]] = limits
        return predictions, settings


def in_order(parts: Sequence[pd.DataFrame], labels: Labels, index: pd.Index[Any]) -> pd.DataFrame:
    """Predictions of all folds in the order of the rows.

    Parameters
    ----------
    parts : sequence of DataFrame
        Of each fold.
    labels : ndarray (rows,), int
        Fold of each row.
    index : Index
        Of the table.
    """
    return pd.concat(parts).iloc[np.argsort(np.argsort(labels, kind="stable"))].set_axis(index)
