"""Folds that resemble the use of the map: k-fold nearest-neighbour distance matching (kNNDM)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError
from tpsoil.evaluation.distances import (
    FoldDistances,
    distances_between_samples,
    group_codes,
    group_means,
    nearest_distances,
    wasserstein,
)

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

CANDIDATES: Final = (100, 30)
"""Numbers of clusters that are tried, up to `WARD_LIMIT` sites and above."""
WARD_LIMIT: Final = 4000
"""Sites up to which the tree of clusters is built on the sites themselves, which takes memory by their square."""
COMPARED: Final = 5000
"""Sites whose distance is measured for each candidate, where there are more."""


@dataclass(frozen=True, eq=False)
class MatchedFolds:
    """Folds whose test rows lie as far from their training rows as the mapped area from the samples.

    Parameters
    ----------
    folds : ndarray (n,), int64
        0 .. n_folds - 1.
    wasserstein : float
        Area between the distributions of the two distances, in the unit of the coordinates, or metres.
    random_wasserstein : float
        The same of random folds.
    clusters : int
        Clusters that were merged into the folds; 0 where random folds match best.
    clustered_p : float
        One-sided Kolmogorov-Smirnov test that samples lie closer to each other than the area to them.
    tried : mapping of int to float
        Wasserstein distance of each number of clusters.
    """

    folds: Labels
    wasserstein: float
    random_wasserstein: float
    clusters: int
    clustered_p: float
    tried: dict[int, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        origin = f"{self.clusters} clusters" if self.clusters else "random folds"
        return (
            f"MatchedFolds({int(self.folds.max()) + 1} folds of {len(self.folds)} rows from {origin}; Wasserstein "
            f"distance {self.wasserstein:.4g}, of random folds {self.random_wasserstein:.4g})"
        )


def match_folds(
    samples: npt.ArrayLike,
    area: npt.ArrayLike,
    *,
    n_folds: int = 10,
    groups: npt.ArrayLike | None = None,
    degrees: bool = False,
    max_share: float = 0.5,
    seed: int = 0,
) -> MatchedFolds:
    """Folds by k-fold nearest-neighbour distance matching.

    Parameters
    ----------
    samples : array_like (n, 2)
        East and north, or longitude and latitude, of each row.
    area : array_like (m, 2)
        Cells for which the model will predict, or a regular or random part of them.
    n_folds : int
        At least 2.
    groups : array_like (n,), optional
        Rows of one group (a site's replicates) share a fold; the group lies at its mean position.
    degrees : bool
        Whether coordinates are degrees; distances are then great-circle distances in metres.
    max_share : float
        Largest share of the sites in one fold, above 1 / n_folds.
    seed : int
        Of the random folds.

    Returns
    -------
    MatchedFolds

    Raises
    ------
    InputError
        For fewer sites than folds, an area of which no part lies within the samples' reach (see Notes), coordinates
        that are not finite, rows without a group (NaN, None, NA or blank text), or a `max_share` that no division
        meets.

    Notes
    -----
    Sites are clustered (Ward's tree); for about a hundred numbers of clusters from `n_folds` to the number of sites,
    clusters that fill a fold become one, the others are dealt to the remaining folds in the order of their centres
    along the first principal axis. The division whose distances between test and training sites come closest to those
    between area and sites (smallest area between the two distribution functions) is returned; random folds compete,
    and win where samples are spread at random. Above 4000 sites the tree is built on small clusters of neighbours,
    above 5000 the distances of a random 5000 are compared.

    An area that lies farther from every sample than the samples' own extent does not overlap them: no folds can say
    how good a map would be there.

    References
    ----------
    Linnenbrink, J., Mila, C., Ludwig, M. and Meyer, H. (2024), kNNDM CV, Geoscientific Model Development 17.
    doi:10.5194/gmd-17-5897-2024

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> centres = rng.uniform(0, 100, (8, 2)).repeat(20, axis=0)
    >>> samples = centres + rng.normal(0, 1, centres.shape)
    >>> matched = match_folds(samples, rng.uniform(0, 100, (500, 2)), n_folds=4)
    >>> matched.wasserstein < 0.5 * matched.random_wasserstein
    True
    """
    from scipy.stats import ks_2samp

    position = np.asarray(samples, dtype=np.float64)
    code = np.arange(len(position)) if groups is None else group_codes(groups, len(position), where="folds", sort=True)
    sites = group_means(position, code) if len(position) else None
    if sites is None or not 2 <= n_folds <= len(sites):
        count = 0 if sites is None else len(sites)
        raise InputError(f"folds: {count} sites cannot fill {n_folds} folds; lower n_folds (at least 2) or add sites")
    if not 1 / n_folds <= max_share <= 1:
        raise InputError(f"folds: max_share is {max_share!r}, expected {1 / n_folds:g} (1 / n_folds) to 1")
    to_area = nearest_distances(area, sites, degrees=degrees)
    _require_overlap(to_area, sites, degrees)
    across = FoldDistances(sites, degrees=degrees)
    rng = np.random.default_rng([seed, 7])
    rows = np.arange(len(sites)) if len(sites) <= COMPARED else np.sort(rng.permutation(len(sites))[:COMPARED])
    random = rng.permutation(np.arange(len(sites)) % n_folds)
    best, best_count, tried = random, 0, {}
    limit = int(np.ceil(max_share * len(sites)))
    lowest = by_chance = wasserstein(across.across(random, rows), to_area)
    for count, clusters in _clusterings(across.place, n_folds, seed):
        folds = merge_clusters(sites, clusters, n_folds)
        if np.bincount(folds).max() > limit:
            continue
        tried[count] = wasserstein(across.across(folds, rows), to_area)
        if tried[count] < lowest:
            best, best_count, lowest = folds, count, tried[count]
    between = distances_between_samples(sites, degrees=degrees)
    return MatchedFolds(
        folds=np.asarray(best, dtype=np.int64)[code],
        wasserstein=lowest,
        random_wasserstein=by_chance,
        clusters=best_count,
        clustered_p=float(ks_2samp(between, to_area, alternative="greater", method="asymp").pvalue),
        tried=tried,
    )


def merge_clusters(sites: Doubles, clusters: Labels, n_folds: int) -> Labels:
    """Merge clusters into folds: large ones alone, small ones dealt along the first principal axis.

    Parameters
    ----------
    sites : ndarray (n, p)
    clusters : ndarray (n,), int
        0 .. clusters - 1, at least `n_folds`.
    n_folds : int

    Returns
    -------
    ndarray (n,), int64
    """
    size = np.bincount(clusters)
    centred = sites - sites.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    along = np.bincount(clusters, weights=centred @ axis) / size
    order = np.argsort(along, kind="stable")
    large = [c for c in order if size[c] >= len(sites) / n_folds]
    fold_of = np.full(len(size), -1, dtype=np.int64)
    fold_of[large] = np.arange(len(large))
    small = [c for c in order if fold_of[c] < 0]
    fold_of[small] = len(large) + np.arange(len(small)) % (n_folds - len(large)) if small else 0
    return fold_of[clusters]


def _clusterings(place: Doubles, n_folds: int, seed: int) -> Any:
    """(number of clusters, cluster of each site) for numbers from n_folds up, few first."""
    from scipy.cluster.hierarchy import cut_tree, linkage

    leaf = np.arange(len(place))
    centres = place
    if len(place) > WARD_LIMIT:
        leaf = _small_clusters(place, WARD_LIMIT // 2)
        centres = group_means(place, leaf)
    last = len(centres) - 2 if len(centres) == len(place) else len(centres)
    if last < n_folds:
        return
    numbers = np.unique(np.round(np.geomspace(n_folds, last, CANDIDATES[len(place) > WARD_LIMIT])).astype(int))
    cuts = cut_tree(linkage(centres, method="ward"), n_clusters=numbers)
    for k, count in enumerate(numbers):
        yield int(count), np.asarray(cuts[:, k], dtype=np.int64)[leaf]


def _small_clusters(place: Doubles, count: int) -> Labels:
    """Neighbouring sites in up to `count` groups of nearly equal size, by halving along the longest side."""
    leaf = np.zeros(len(place), dtype=np.int64)
    parts = [np.arange(len(place))]
    while len(parts) < count:
        halves = []
        for part in parts:
            axis = int(np.argmax(np.ptp(place[part], axis=0)))
            order = part[np.argsort(place[part, axis], kind="stable")]
            halves += [order[: len(order) // 2], order[len(order) // 2 :]]
        parts = halves
    for k, part in enumerate(parts):
        leaf[part] = k
    return leaf


def _require_overlap(to_area: Doubles, sites: Doubles, degrees: bool) -> None:
    corners = np.array([sites.min(axis=0), sites.max(axis=0)])
    extent = float(nearest_distances(corners[:1], corners[1:], degrees=degrees)[0])
    if len(sites) > 1 and extent > 0 and float(to_area.min()) > extent:
        raise InputError(
            f"folds: the nearest cell of the mapped area is {to_area.min():.4g} away from every sample, farther "
            f"than the samples' own extent ({extent:.4g}); check the CRS of both (coordinates east first), or validate "
            "with samples of that area"
        )
