"""Kriging with local neighbourhoods, such as of a model's residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError
from tpsoil.evaluation.distances import _place, _tree
from tpsoil.evaluation.spatial import SHAPES, Variogram
from tpsoil.kernels.kriging import krige_targets

Doubles = npt.NDArray[np.float64]

NEIGHBOURS: Final = 32
BATCH: Final = 1 << 14
"""Targets whose neighbours are in memory together."""


@dataclass(frozen=True, eq=False)
class Kriging:
    """Samples with a variogram, ready to krige. Created by `Kriging.of`.

    Parameters
    ----------
    place : ndarray (n, d)
        Positions of the samples, no two equal; on the sphere where they were degrees.
    values : ndarray (n,)
    nugget, partial_sill, range : float
    model : {"exponential", "spherical"}
    neighbours : int
        Nearest samples of each target; at most n.
    mean : float or None
        Known mean, 0 for residuals (simple kriging); None for an unknown one (ordinary kriging).
    degrees : bool
    """

    place: Doubles
    values: Doubles
    nugget: float
    partial_sill: float
    range: float
    model: str
    neighbours: int
    mean: float | None
    degrees: bool

    @classmethod
    def of(
        cls,
        positions: npt.ArrayLike,
        values: npt.ArrayLike,
        variogram: Variogram,
        *,
        neighbours: int = NEIGHBOURS,
        mean: float | None = None,
        degrees: bool = False,
    ) -> Kriging:
        """Prepare samples for kriging.

        Parameters
        ----------
        positions : array_like (n, 2)
            East and north, or longitude and latitude.
        values : array_like (n,)
            Values at one position are averaged.
        variogram : Variogram
            In the unit of the positions, or metres.
        neighbours : int
        mean : float, optional
        degrees : bool

        Returns
        -------
        Kriging

        Raises
        ------
        InputError
            For values that are not finite or do not fit, fewer than 2 positions, or neighbours below 1.
        """
        place, z = _place(positions, degrees, "samples"), np.asarray(values, dtype=np.float64)
        if z.shape != (len(place),) or not np.isfinite(z).all():
            raise InputError(f"kriging: values have shape {z.shape}, expected ({len(place)},), all finite")
        if neighbours < 1:
            raise InputError(f"kriging: neighbours is {neighbours}, expected 1 or more")
        distinct, code = np.unique(place, axis=0, return_inverse=True)
        if len(distinct) < 2:
            raise InputError("kriging: all samples are at one position, expected two or more")
        counts = np.bincount(code.ravel())
        averages = np.bincount(code.ravel(), weights=z) / counts
        return cls(
            np.ascontiguousarray(distinct),
            np.asarray(averages, dtype=np.float64),
            float(variogram.nugget),
            float(variogram.partial_sill),
            float(variogram.range),
            str(variogram.model),
            min(int(neighbours), len(distinct)),
            None if mean is None else float(mean),
            bool(degrees),
        )

    def __repr__(self) -> str:
        kind = "ordinary" if self.mean is None else "simple"
        return (
            f"Kriging({kind}, {len(self.values)} samples, {self.neighbours} neighbours, {self.model}: nugget "
            f"{self.nugget:.4g}, partial sill {self.partial_sill:.4g}, range {self.range:.4g})"
        )

    def at(self, targets: npt.ArrayLike) -> tuple[Doubles, Doubles]:
        """Prediction and kriging variance at targets.

        Parameters
        ----------
        targets : array_like (m, 2)

        Returns
        -------
        predicted, variance : ndarray (m,)
            Each target is computed alone: any split of the targets gives the same bytes. NaN where the covariance
            matrix of the neighbours is singular.

        Raises
        ------
        InputError
            For coordinates that are not finite.

        Notes
        -----
        The nearest samples come from a KD-tree; the nugget belongs to the samples' own positions, so that the
        prediction at a sample is its value, as in R's gstat. Cost: k^3 / 6 multiplications a target.

        References
        ----------
        Pebesma, E. J. (2004), Computers & Geosciences 30. doi:10.1016/j.cageo.2004.03.012

        Examples
        --------
        >>> import pandas as pd
        >>> model = Variogram(0.0, 1.0, 10.0, "spherical", pd.DataFrame())
        >>> predicted, variance = Kriging.of([[0, 0], [8, 0]], [1.0, 3.0], model).at([[0, 0], [4, 0]])
        >>> [round(float(value), 6) + 0.0 for value in (*predicted, variance[0])]
        [1.0, 2.0, 0.0]
        """
        place = _place(targets, self.degrees, "targets")
        search = _tree(self.place)
        predicted, variance = np.empty(len(place)), np.empty(len(place))
        parameters = np.array([self.nugget, self.partial_sill, self.range])
        for begin in range(0, len(place), BATCH):
            part = slice(begin, begin + BATCH)
            near = search.query(place[part], k=np.arange(1, self.neighbours + 1))[1]
            krige_targets(
                np.ascontiguousarray(place[part]),
                self.place,
                self.values,
                np.sort(near.astype(np.int64), axis=1),
                parameters,
                list(SHAPES).index(self.model),
                float("nan") if self.mean is None else self.mean,
                predicted[part],
                variance[part],
            )
        return predicted, variance
