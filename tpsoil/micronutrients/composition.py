"""Compositions such as clay, silt and sand: log-ratio coordinates, and back to shares that sum to the total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_named, require_one_of
from tpsoil.soil_properties import SoilProperty

Doubles = npt.NDArray[np.float64]
Transform = Literal["ilr", "clr"]

CLOSED: Final = 1e-3
"""Share of the total by which a row's sum may differ before it counts as closed by this module."""
WRONG_TOTAL: Final = 0.1
"""Share of the total by which the median sum may differ; more is another unit or a missing part."""


@dataclass(frozen=True)
class Composition:
    """Parts of a whole and the log-ratios that forests are fitted on.

    Parameters
    ----------
    parts : tuple of str
        Two or more.
    transform : {"ilr", "clr"}
        Isometric (one coordinate fewer than parts, orthonormal) or centred log-ratios (one for each part).
    total : float
        Sum of the parts: 100 for %, 1000 for g kg-1, 1e6 for mg kg-1.
    zeros : float, optional
        Value in place of 0, in the unit of the parts, such as half a detection limit: log-ratios have none. The other
        parts are reduced in proportion (Martin-Fernandez et al. 2003).

    Raises
    ------
    InputError
        For fewer than two parts, a part given twice, a total or replacement that is not positive.

    Notes
    -----
    clr_i = ln(x_i / g(x)) with g the geometric mean of the parts (Aitchison 1986). ilr_k = sqrt((D-k)/(D-k+1))
    ln(x_k / g(x_k+1 .. x_D)), pivot coordinates (Egozcue et al. 2003).

    The mean of the map is the closed inverse of the mean log-ratios, the compositional centre: the geometric means of
    the parts over trees and training rows, scaled to the total. It is no arithmetic mean of shares: of skewed shares
    the arithmetic mean is higher for the small part. The limits of a part are the shares where its clr is at its limit,
    while the other parts keep their predicted ratios. With ilr that limit has the half-widths of the coordinates'
    intervals in quadrature, weighted by the orthonormal basis, as if their errors were independent.

    References
    ----------
    Aitchison 1986, The Statistical Analysis of Compositional Data. Egozcue et al. 2003, doi:10.1023/A:1023818214614.
    Martin-Fernandez et al. 2003, doi:10.1023/A:1023866030544.

    Examples
    --------
    >>> texture = Composition(("clay", "silt", "sand"))
    >>> coordinates = texture.forward(np.array([[20.0, 30.0, 50.0]]))
    >>> [float(part.round(6)[0]) for part in texture.inverse(list(coordinates.T))]
    [20.0, 30.0, 50.0]
    """

    parts: tuple[str, ...]
    transform: Transform = "ilr"
    total: float = 100.0
    zeros: float | None = None

    def __post_init__(self) -> None:
        if len(self.parts) < 2 or len(set(self.parts)) < len(self.parts):
            raise InputError(f"composition: parts are {list(self.parts)}, expected two or more, each once")
        require_one_of("composition", "transform", self.transform, get_args(Transform))
        if not self.total > 0 or (self.zeros is not None and not 0 < self.zeros < self.total):
            raise InputError(
                f"composition: total is {self.total:g} and zeros {self.zeros}, expected a positive total and a smaller "
                "positive replacement"
            )

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the log-ratios."""
        if self.transform == "clr":
            return tuple(f"clr_{part}" for part in self.parts)
        return tuple(f"ilr_{number}" for number in range(1, len(self.parts)))

    @property
    def properties(self) -> dict[str, SoilProperty]:
        """The log-ratios as properties, for `train_elements`: pure numbers of either sign, fitted as they are."""
        return {name: SoilProperty(name, units="1", low=float("-inf")) for name in self.coordinates}

    @property
    def basis(self) -> Doubles:
        """clr = basis @ coordinates, (parts, coordinates)."""
        count = len(self.parts)
        if self.transform == "clr":
            return np.eye(count)
        basis = np.zeros((count, count - 1))
        for k in range(count - 1):
            below = count - k - 1
            basis[k, k] = np.sqrt(below / (below + 1))
            basis[k + 1 :, k] = -1 / np.sqrt(below * (below + 1))
        return basis

    def forward(self, values: npt.ArrayLike) -> Doubles:
        """Log-ratios of rows.

        Parameters
        ----------
        values : array_like (n, parts)
            Positive; NaN where missing.

        Returns
        -------
        ndarray (n, coordinates)
            NaN where a part is missing.

        Raises
        ------
        InputError
            For values of 0 or less.
        """
        shares = np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            wrong = shares <= 0
        if wrong.any():
            raise InputError(
                f"composition: {int(wrong.any(axis=1).sum())} rows have a part of 0 or less, which has no logarithm; "
                "give zeros, such as half a detection limit, or leave the rows out"
            )
        logs = np.log(shares)
        centred = logs - logs.mean(axis=1, keepdims=True)
        return np.asarray(centred @ self.basis)

    def inverse(self, coordinates: Sequence[Any]) -> list[Any]:
        """Parts of the composition whose log-ratios are given, closed to the total.

        Parameters
        ----------
        coordinates : sequence of array or DataArray
            One for each name of `coordinates`; of one shape.

        Returns
        -------
        list of array or DataArray
            One for each part; they sum to the total.
        """
        return _closed(self._centred(coordinates), self.total)

    def limits(self, mean: Sequence[Any], lower: Sequence[Any], upper: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Limits of the parts from limits of the log-ratios.

        Parameters
        ----------
        mean, lower, upper : sequence of array or DataArray
            One for each name of `coordinates`.

        Returns
        -------
        lower, upper : list of array or DataArray
            One for each part, between 0 and the total.
        """
        centred, basis = self._centred(mean), self.basis
        below = [np.maximum(m - low, 0) for m, low in zip(mean, lower, strict=True)]
        above = [np.maximum(high - m, 0) for m, high in zip(mean, upper, strict=True)]
        results: tuple[list[Any], list[Any]] = ([], [])
        for part in range(len(self.parts)):
            for side, sign in ((0, -1.0), (1, 1.0)):
                halves = [
                    weight * (above[k] if sign * weight > 0 else below[k])
                    for k, weight in enumerate(basis[part])
                    if weight
                ]
                shift = sign * np.sqrt(sum(half**2 for half in halves))
                results[side].append(self._share_at(centred, part, shift))
        return results

    def _centred(self, coordinates: Sequence[Any]) -> list[Any]:
        if len(coordinates) != len(self.coordinates):
            raise InputError(f"composition: {len(coordinates)} coordinates, expected {len(self.coordinates)}")
        return [sum(weight * one for weight, one in zip(row, coordinates, strict=True) if weight) for row in self.basis]

    def _share_at(self, centred: Sequence[Any], part: int, shift: Any) -> Any:
        """Share of a part whose clr is shifted; the others shift alike, so that all clr sum as before."""
        others = shift / (len(self.parts) - 1)
        moved = [one + shift if k == part else one - others for k, one in enumerate(centred)]
        return _closed(moved, self.total)[part]


def _closed(logs: Sequence[Any], total: float) -> list[Any]:
    highest = logs[0]
    for one in logs[1:]:
        highest = np.maximum(highest, one)
    shares = [np.exp(one - highest) for one in logs]
    whole = sum(shares)
    return [total * share / whole for share in shares]


def log_ratios(table: pd.DataFrame, composition: Composition, *, where: str = "samples") -> pd.DataFrame:
    """Log-ratio coordinates of a table's parts, after closure and replacement of zeros.

    Parameters
    ----------
    table : DataFrame
        With a column for each part, in one unit. Not changed.
    composition : Composition
    where : str
        Named in messages.

    Returns
    -------
    DataFrame
        A column for each coordinate, index of the table; NaN where a part is missing. `attrs`: `closed`, rows whose sum
        differed from the total and were scaled to it, and `zeros`, rows with a replaced zero.

    Raises
    ------
    InputError
        For missing columns, negative values, zeros without a replacement, and sums that are not near the total.

    Examples
    --------
    >>> table = pd.DataFrame({"clay": [20.0, 10.0], "silt": [30.0, 20.0], "sand": [50.0, 70.5]})
    >>> ratios = log_ratios(table, Composition(("clay", "silt", "sand")))
    >>> list(ratios), ratios.attrs["closed"]
    (['ilr_1', 'ilr_2'], 1)
    """
    require_named(where, composition.parts, table)
    values = table[list(composition.parts)].to_numpy(dtype=np.float64)
    with np.errstate(invalid="ignore"):
        negative, empty = (values < 0).any(axis=1), (values == 0).any(axis=1)
    if negative.any():
        raise InputError(f"{where}: {int(negative.sum())} rows have a negative part of the composition; correct them")
    if empty.any() and composition.zeros is None:
        raise InputError(
            f"{where}: {int(empty.sum())} rows have a part of 0, which has no log-ratio; give zeros, such as half the "
            "detection limit of the part, or leave the rows out"
        )
    sums = values.sum(axis=1)
    complete = np.isfinite(sums)
    middle = float(np.median(sums[complete])) if complete.any() else float("nan")
    if not abs(middle - composition.total) <= WRONG_TOTAL * composition.total:
        raise InputError(
            f"{where}: {', '.join(composition.parts)} sum to {middle:.6g} (median), expected {composition.total:g}; "
            "give their total, or the part that is missing"
        )
    closed = complete & (np.abs(sums - composition.total) > CLOSED * composition.total)
    with np.errstate(invalid="ignore"):
        values = composition.total * values / sums[:, None]
    if composition.zeros is not None:
        added = composition.zeros * (values == 0).sum(axis=1, keepdims=True)
        values = np.where(values == 0, composition.zeros, values * (1 - added / composition.total))
    ratios = pd.DataFrame(composition.forward(values), index=table.index, columns=list(composition.coordinates))
    ratios.attrs = {"closed": int(closed.sum()), "zeros": int((empty & complete).sum())}
    return ratios
