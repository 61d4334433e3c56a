"""Distances to the nearest sample: between samples, from the mapped area, and across folds.

A validation design answers for the map when its test rows lie as far from their training rows as the cells of the
map lie from the samples. These three distributions are what `match_folds` compares and what the curves draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, listed

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

EARTH_RADIUS_M: Final = 6371008.8
"""Mean radius of GRS80, of the sphere on which distances between degrees are measured."""
CHUNK: Final = 1_000_000
"""Query points whose coordinates are in memory at a time."""


def nearest_distances(query: npt.ArrayLike, samples: npt.ArrayLike, *, degrees: bool = False) -> Doubles:
    """Distance from each query point to its nearest sample.

    Parameters
    ----------
    query : array_like (m, 2)
        East and north, or longitude and latitude.
    samples : array_like (n, 2)
    degrees : bool
        Whether the coordinates are degrees: distances are then great-circle distances in metres.

    Returns
    -------
    ndarray (m,), float64
        In the unit of the coordinates, or metres with `degrees`.

    Raises
    ------
    InputError
        For coordinates that are not finite, of another shape, or outside -90..90 degrees of latitude.

    Examples
    --------
    >>> nearest_distances([[0, 0], [3, 4]], [[-9, 0], [0, 0]]).tolist()
    [0.0, 5.0]
    """
    tree = _tree(_place(samples, degrees, "samples"))
    points = _points(query, "query")
    result = np.empty(len(points))
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        result[part] = tree.query(_place(points[part], degrees, "query"), workers=-1)[0]
    return _arc(result) if degrees else result


def distances_between_samples(samples: npt.ArrayLike, *, degrees: bool = False) -> Doubles:
    """Distance from each sample to the nearest other sample, 0 where two share a position.

    Parameters
    ----------
    samples : array_like (n, 2), n >= 2
    degrees : bool

    Returns
    -------
    ndarray (n,), float64

    Raises
    ------
    InputError
        For fewer than two samples, or coordinates that `nearest_distances` rejects.

    Examples
    --------
    >>> distances_between_samples([[0, 0], [0, 1], [0, 5]]).tolist()
    [1.0, 1.0, 4.0]
    """
    place = _place(samples, degrees, "samples")
    if len(place) < 2:
        raise InputError(f"distances: {len(place)} sample, expected at least 2")
    result = np.asarray(_tree(place).query(place, k=2)[0][:, 1], dtype=np.float64)
    return _arc(result) if degrees else result


def distances_across_folds(
    samples: npt.ArrayLike, folds: npt.ArrayLike, *, degrees: bool = False, rows: npt.NDArray[np.int64] | None = None
) -> Doubles:
    """Distance from each sample to the nearest sample of another fold.

    Parameters
    ----------
    samples : array_like (n, 2)
    folds : array_like (n,)
        At least two different labels.
    degrees : bool
    rows : ndarray of int, optional
        Samples whose distance is computed; all by default.

    Returns
    -------
    ndarray (n,) or (len(rows),), float64

    Raises
    ------
    InputError
        For a single fold, or coordinates that `nearest_distances` rejects.

    Examples
    --------
    >>> distances_across_folds([[0, 0], [0, 1], [0, 5]], [0, 0, 1]).tolist()
    [5.0, 4.0, 4.0]
    """
    return FoldDistances(samples, degrees=degrees).across(folds, rows)


class FoldDistances:
    """Distances across folds for many divisions of the same samples into folds.

    Parameters
    ----------
    samples : array_like (n, 2)
    degrees : bool
    neighbours : int
        Nearest samples that are remembered for each sample: where one of them lies in another fold, no search is
        needed.
    """

    def __init__(self, samples: npt.ArrayLike, *, degrees: bool = False, neighbours: int = 16) -> None:
        self.place = _place(samples, degrees, "samples")
        self.degrees = degrees
        if len(self.place) < 2:
            raise InputError(f"distances: {len(self.place)} sample, expected at least 2")
        self._distance, self._index = _tree(self.place).query(self.place, k=min(neighbours + 1, len(self.place)))

    def radius(self, neighbour: int) -> Doubles:
        """Distance from each sample to its n-th nearest, straight; at most the remembered neighbours."""
        return np.asarray(self._distance[:, neighbour], dtype=np.float64)

    def across(self, folds: npt.ArrayLike, rows: npt.NDArray[np.int64] | None = None) -> Doubles:
        """Distance from samples to the nearest sample of another fold; see `distances_across_folds`."""
        labels = np.asarray(folds)
        if labels.shape != (len(self.place),):
            raise InputError(f"distances: folds have shape {labels.shape}, expected ({len(self.place)},)")
        if len(np.unique(labels)) < 2:
            raise InputError("distances: every sample lies in one fold, expected at least two folds")
        rows = np.arange(len(labels)) if rows is None else rows
        other = labels[self._index[rows]] != labels[rows][:, None]
        first = np.argmax(other, axis=1)
        result = self._distance[rows, first].astype(np.float64)
        open_rows = ~other.any(axis=1)
        for fold in np.unique(labels[rows[open_rows]]):
            here = open_rows & (labels[rows] == fold)
            result[here] = _tree(self.place[labels != fold]).query(self.place[rows[here]])[0]
        return _arc(result) if self.degrees else result


@dataclass(frozen=True, eq=False)
class DistanceCurves:
    """Nearest-neighbour distances of samples, mapped area and folds, with how far each design is from the area's.

    Parameters
    ----------
    sample_to_sample : ndarray (n,)
    area_to_sample : ndarray (m,)
        The distances for which the map is used.
    across_folds : mapping of design to ndarray (n,)
    """

    sample_to_sample: Doubles
    area_to_sample: Doubles
    across_folds: Mapping[str, Doubles]

    @property
    def wasserstein(self) -> pd.Series:
        """Area between each design's distribution and that of the mapped area, in the unit of the distances."""
        values = {name: wasserstein(d, self.area_to_sample) for name, d in self.across_folds.items()}
        return pd.Series(values, name="wasserstein", dtype=np.float64)

    def table(self, points: int = 101) -> pd.DataFrame:
        """The curves as shares of points within a distance.

        Parameters
        ----------
        points : int
            Distances, from 0 to the 99.5 % quantile of all.

        Returns
        -------
        DataFrame
            `distance`, `sample_to_sample`, `area_to_sample` and one column a design.
        """
        curves = {"sample_to_sample": self.sample_to_sample, "area_to_sample": self.area_to_sample, **self.across_folds}
        end = max(float(np.quantile(values, 0.995)) for values in curves.values())
        grid = np.linspace(0.0, end, points)
        shares = {name: np.searchsorted(np.sort(v), grid, side="right") / len(v) for name, v in curves.items()}
        return pd.DataFrame({"distance": grid, **shares})

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.wasserstein.items())
        return f"DistanceCurves({len(self.sample_to_sample)} samples; Wasserstein distance to the area: {shown})"


def distance_curves(
    samples: npt.ArrayLike, area: npt.ArrayLike, designs: Mapping[str, npt.ArrayLike], *, degrees: bool = False
) -> DistanceCurves:
    """Nearest-neighbour distances that show which validation design resembles the use of the map.

    Parameters
    ----------
    samples : array_like (n, 2)
    area : array_like (m, 2)
        Cells of the mapped area, or a regular or random part of them.
    designs : mapping of str to array_like (n,)
        The fold of each sample under each design.
    degrees : bool

    Returns
    -------
    DistanceCurves

    Raises
    ------
    InputError
        For coordinates that `nearest_distances` rejects, or a design with a single fold.

    References
    ----------
    Linnenbrink, J. et al. (2024), Geoscientific Model Development 17. doi:10.5194/gmd-17-5897-2024

    Examples
    --------
    >>> samples = [[0, 0], [0, 1], [9, 9], [9, 8]]
    >>> curves = distance_curves(samples, [[0, 0.5], [9, 8.5]], {"rows": [0, 1, 0, 1], "ends": [0, 0, 1, 1]})
    >>> curves.wasserstein.round(2).to_dict()
    {'rows': 0.5, 'ends': 11.22}
    """
    across = FoldDistances(samples, degrees=degrees)
    return DistanceCurves(
        sample_to_sample=distances_between_samples(samples, degrees=degrees),
        area_to_sample=nearest_distances(area, samples, degrees=degrees),
        across_folds={name: across.across(folds) for name, folds in designs.items()},
    )


def wasserstein(first: Doubles, second: Doubles) -> float:
    """Area between two empirical distribution functions, in the unit of the data."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(first, second))


def _points(values: npt.ArrayLike, what: str) -> Doubles:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise InputError(f"distances: {what} have shape {points.shape}, expected (n, 2): east and north of each point")
    if not np.isfinite(points).all():
        invalid = int((~np.isfinite(points).all(axis=1)).sum())
        raise InputError(f"distances: {invalid} of {len(points)} {what} have no coordinates; leave them out")
    return points


def _place(values: npt.ArrayLike, degrees: bool, what: str) -> Doubles:
    """Coordinates in which the straight distance orders points as their distance does: plane, or on the sphere."""
    points = _points(values, what)
    if not degrees:
        return points
    if (np.abs(points[:, 1]) > 90).any():
        raise InputError(
            f"distances: {what} have latitudes up to {np.abs(points[:, 1]).max():g}, expected -90..90 degrees; "
            "pass degrees=False for projected coordinates"
        )
    lon, lat = np.radians(points).T
    return EARTH_RADIUS_M * np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _arc(chord: Doubles) -> Doubles:
    return 2.0 * EARTH_RADIUS_M * np.arcsin(np.minimum(chord / (2.0 * EARTH_RADIUS_M), 1.0))


def _tree(place: Doubles) -> Any:
    from scipy.spatial import cKDTree

    return cKDTree(place)


def group_codes(groups: npt.ArrayLike, count: int, *, where: str, sort: bool = False) -> Labels:
    """Number of the group of each row.

    Parameters
    ----------
    groups : array_like (count,)
        One label a row, such as the name of its site.
    count : int
        Rows.
    where : str
        Start of the message.
    sort : bool
        Whether groups are numbered in the order of their labels, or in that of their first rows.

    Returns
    -------
    ndarray (count,), int64
        0 .. groups - 1.

    Raises
    ------
    InputError
        For another shape, and rows without a group: NaN, None, NA or blank text.

    Examples
    --------
    >>> group_codes(["b", "a", "b"], 3, where="folds").tolist()
    [0, 1, 0]
    """
    labels = np.asarray(groups, dtype=object)  # an array of text would have NaN as the label "nan"
    if labels.shape != (count,):
        raise InputError(f"{where}: groups have shape {labels.shape}, expected ({count},): one label a row")
    missing = pd.isna(labels) | np.array([isinstance(label, str) and not label.strip() for label in labels], bool)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise InputError(
            f"{where}: {len(rows)} rows have no group (rows {listed(rows, 5)} of {count}); name their site or drop them"
        )
    return np.asarray(pd.factorize(np.asarray(groups), sort=sort)[0], dtype=np.int64)


def group_means(values: npt.NDArray[np.float64], codes: Labels) -> npt.NDArray[np.float64]:
    """Mean of each column (n, p) over the rows of each group, (groups, p)."""
    return np.column_stack([np.bincount(codes, weights=column) / np.bincount(codes) for column in values.T])
