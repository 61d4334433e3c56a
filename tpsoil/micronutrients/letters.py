"""Compact letter display of group differences (Piepho 2004): insert and absorb."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def compact_letters(different: npt.ArrayLike, order: npt.ArrayLike | None = None) -> list[str]:
    """Letters of groups: two groups share a letter exactly where they do not differ.

    Parameters
    ----------
    different : array_like (k, k), bool
        Whether groups i and j differ significantly; symmetric.
    order : array_like (k,), int, optional
        Groups in order, the first one with the letter "a"; default: as in the matrix. `compare_groups`
        sorts by descending mean.

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
    Start with one letter for all. For each pair that differs, split every letter of both into one without the
    first and one without the second; then drop each letter whose groups all have another common letter. Finally drop,
    one by one, letters that no pair needs. Letters are named by their highest group in `order`.

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
    sequence = np.arange(k) if order is None else np.asarray(order, dtype=np.int64)
    position = np.empty(k, dtype=np.int64)
    position[sequence] = np.arange(k)
    ranked = matrix[np.ix_(sequence, sequence)]
    letters: list[frozenset[int]] = [frozenset(range(k))] if k else []
    for i, j in np.argwhere(np.triu(ranked, 1)).tolist():
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
    """Drop letters whose every pair, and every group, is covered by the others."""
    remaining = list(letters)
    for letter in sorted(letters, key=lambda groups: (len(groups), sorted(groups))):
        others = [other for other in remaining if other != letter]
        pairs = {(i, j) for i in letter for j in letter if i <= j and not different[i, j]}
        if all(any({i, j} <= other for other in others) for i, j in pairs):
            remaining = others
    return remaining
