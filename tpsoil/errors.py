"""Errors of tpsoil, with messages that name the cause and a fix.

Every error of the package is a `TpsoilError` and also the builtin a caller would expect. A message names the place, the
value, the expected value, and a fix. `exit_status` is the exit status of the command line: 2 for wrong input, 1 for
failed work.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from .display import printable
from .redaction import redacted


class TpsoilError(Exception):
    """Base of every error that tpsoil raises on purpose."""

    exit_status: int = 1

    def __str__(self) -> str:
        return printable(redacted(str(self.args[0]))) if self.args else ""


class InputError(TpsoilError, ValueError):
    """An invalid value, table, raster or option."""

    exit_status = 2


class UnitsError(InputError):
    """A quantity in another unit than declared."""


class CheckpointError(InputError):
    """A checkpoint file of another calculation."""


class GridError(InputError):
    """Layers whose grids, CRS or extents do not match."""


class MissingInputError(TpsoilError, FileNotFoundError):
    """A missing file, store or layer."""

    exit_status = 2


class StoreExistsError(TpsoilError, FileExistsError):
    """A store that exists, without permission to overwrite it."""

    exit_status = 2


class AccessError(TpsoilError, PermissionError):
    """A location that cannot be read or written."""

    exit_status = 2


class CorruptStoreError(TpsoilError, OSError):
    """Stored bytes that do not decode, or do not match their digest."""

    exit_status = 2


class RecipeError(InputError):
    """An invalid recipe; all faults are listed at once.

    Parameters
    ----------
    where : str
        The recipe's path or a name for it.
    faults : sequence of str
        One line per fault: the key, its value, a fix.
    """

    def __init__(self, where: str, faults: Sequence[str]) -> None:
        self.where = where
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault" + ("" if len(self.faults) == 1 else "s")
        super().__init__("\n".join([f"{where}: {count}", *(f"  - {fault}" for fault in self.faults)]))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.where, self.faults)


class WorkError(TpsoilError, RuntimeError):
    """Work with valid input that failed."""


class LockLostError(WorkError):
    """A run whose store was taken over by another run, because this one did not renew its lock."""


class Absent(str):
    """One line of a list of faults: a file or a layer that is not there."""

    __slots__ = ()


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Suggestion for a misspelt name, as the end of a sentence.

    Parameters
    ----------
    name : str
        The misspelt name.
    known : iterable of str
        The existing names; a title that is the name and a unit, such as "Fe [%]", is similar to it.

    Returns
    -------
    str
        `"; did you mean 'slope'?"`, or the list of known names if none is similar, or `""` if there are none.

    Examples
    --------
    >>> nearest_name("slop", ["slope", "aspect"]), nearest_name("Fe", ["Fe [%]", "Mn"])
    ("; did you mean 'slope'?", "; did you mean 'Fe [%]'?")
    """
    names = [str(item) for item in known]
    if close := _similar_name(name, names):
        return close
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:20])
    return f"; there are: {shown}" + (", ..." if len(names) > 20 else "")


def _similar_name(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:
        titles = [title for title in names if re.match(rf"{re.escape(name)}[\s,(\[]", title, re.IGNORECASE)]
        close = titles if len(titles) == 1 else []
    return f"; did you mean '{close[0]}'?" if close else ""


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first of some names, and how many more.

    Examples
    --------
    >>> listed("abcd", 2)
    'a, b and 2 more'
    """
    every = [str(name) for name in names]
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def require_one_of(where: str, name: str, value: object, allowed: Collection[str]) -> None:
    """Reject a value of an option that is not among the known ones.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_one_of("cover", "method", "kai", ("cai", "de_asis"))
    Traceback (most recent call last):
    tpsoil.errors.InputError: cover: method is 'kai', expected one of ['cai', 'de_asis']; did you mean 'cai'?
    """
    if value not in allowed:
        choices = list(allowed)
        raise InputError(f"{where}: {name} is {value!r}, expected one of {choices}{_similar_name(str(value), choices)}")


def require_distinct(where: str, names: Iterable[object], noun: str = "column") -> None:
    """Reject names that occur more than once.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_distinct("s.csv", ["site", "Fe", "Fe"])
    Traceback (most recent call last):
    tpsoil.errors.InputError: s.csv: column 'Fe' is given twice; keep one of them
    """
    repeated = sorted(f"'{name}'" for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise InputError(f"{where}: {noun} {', '.join(repeated)} is given twice; keep one of them")


def require_named(
    where: str,
    names: Iterable[str],
    available: Iterable[object],
    noun: str = "column",
    error: type[TpsoilError] = InputError,
) -> None:
    """Reject names that a table or a mapping does not have; all of them are listed.

    Raises
    ------
    InputError
        Or `error`.

    Examples
    --------
    >>> require_named("samples", ["Fe", "Mn"], ["site", "Fe"])
    Traceback (most recent call last):
    tpsoil.errors.InputError: samples: no column 'Mn'; there are: Fe, site
    """
    known = [str(name) for name in available]
    if missing := [name for name in names if name not in known]:
        faults = "; ".join(f"no {noun} '{name}'{nearest_name(name, known)}" for name in missing)
        raise error(f"{where}: {faults}")
