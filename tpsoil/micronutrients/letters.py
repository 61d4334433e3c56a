"""Letters that say which groups differ (Piepho 2004): insert and absorb."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def compact_letters(different: npt.ArrayLike, order: npt.ArrayLike | None = None) -> list[str]:
    """Letters of groups, such that two share one exactly where they do not differ.

    Parameters
    ----------
    different : array_like (k, k), bool
        Whether groups i and j differ significantly; symmetric.
    order : array_like (k,), int, optional
        Groups from the one that shall have "a" on; by default as they come. By descending mean in `compare_groups`.

    Returns
    -------
    list of str
        One a group, letters in alphabetical order.

    Raises
    ------
    InputError
        For a matrix that is not square and symmetric, or more than 52 letters.

    Notes
    -----
    Start with one letter for all. For each pair that differs, split every letter that holds both into one without the
    first and one without the second; then drop each letter whose groups are all held by another. At last drop, one by
    one, letters that no pair needs. Letters are named by their highest group in `order`.

    References
    ----------
    Piepho 2004, Journal of Computational and Graphical Statistics 13, doi 10.1198/1061860043515

    Examples
    --------
    >>> compact_letters([[False, True, True], [True, False, False], [True, False, False]])
    ['a', 'b', 'b']
    """
    matrix = np.asarray(different, dtype=bool)
    k = len(matrix)
    if matrix.shape != (k, k) or (matrix != matrix.T).any():
        raise InputError(f"compact_letters: the matrix has shape {matrix.shape}, expected square and symmetric")
    places = np.arange(k) if order is None else np.asarray(order, dtype=np.int64)
    position = np.empty(k, dtype=np.int64)
    position[places] = np.arange(k)
    ranked = matrix[np.ix_(places, places)]
    letters: list[frozenset[int]] = [frozenset(range(k))] if k else []
    for i in range(k):
        for j in range(i + 1, k):
            if not ranked[i, j]:
                continue
            inserted = []
            for letter in letters:
                inserted += [letter - {i}, letter - {j}] if {i, j} <= letter else [letter]
            letters = _absorb(inserted)
    letters = _sweep(letters, ranked)
    if len(letters) > len(ALPHABET):
        raise InputError(f"compact_letters: {len(letters)} letters are needed, there are {len(ALPHABET)}")
    letters.sort(key=sorted)
    names = ["".join(ALPHABET[n] for n, letter in enumerate(letters) if g in letter) for g in range(k)]
    return [names[position[g]] for g in range(k)]


def _absorb(letters: list[frozenset[int]]) -> list[frozenset[int]]:
    unique = list(dict.fromkeys(letter for letter in letters if letter))
    return [letter for letter in unique if not any(letter < other for other in unique)]


def _sweep(letters: list[frozenset[int]], different: npt.NDArray[np.bool_]) -> list[frozenset[int]]:
    """Drop letters whose every pair, and every group, is held by the others."""
    kept = list(letters)
    for letter in sorted(letters, key=lambda held: (len(held), sorted(held))):
        others = [other for other in kept if other != letter]
        pairs = {(i, j) for i in letter for j in letter if i <= j and not different[i, j]}
        if all(any({i, j} <= other for other in others) for i, j in pairs):
            kept = others
    return kept
