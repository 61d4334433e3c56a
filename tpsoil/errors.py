"""What can go wrong, said so that the reader can mend it.

Every error of the package is a `TpsoilError` and also the builtin a caller would expect. A message says where, what
came, what was expected, and the mend. `exit_status` is what the command line returns: 2 for a wrong input, 1 for work
that failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from .redaction import redacted


class TpsoilError(Exception):
    """Base of every error that tpsoil raises on purpose."""

    exit_status: int = 1

    def __str__(self) -> str:
        return redacted(str(self.args[0])) if self.args else ""


class InputError(TpsoilError, ValueError):
    """A value, table, raster or option that cannot be used as given."""

    exit_status = 2


class UnitsError(InputError):
    """A quantity in a unit other than the one it was said to have."""


class CheckpointError(InputError):
    """A file of finished work that belongs to other work."""


class GridError(InputError):
    """Layers whose grids, CRS or extents do not fit together."""


class MissingInputError(TpsoilError, FileNotFoundError):
    """A file, store or layer that is not there."""

    exit_status = 2


class StoreExistsError(TpsoilError, FileExistsError):
    """A store that would be overwritten without leave."""

    exit_status = 2


class AccessError(TpsoilError, PermissionError):
    """A place that cannot be read or written."""

    exit_status = 2


class CorruptStoreError(TpsoilError, OSError):
    """Stored bytes that do not decode, or do not match their digest."""

    exit_status = 2


class RecipeError(InputError):
    """A recipe with faults; all of them are listed at once.

    Parameters
    ----------
    where : str
        The recipe's path or a name for it.
    faults : sequence of str
        One line a fault: the key, what came, the mend.
    """

    def __init__(self, where: str, faults: Sequence[str]) -> None:
        self.where = where
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault" + ("" if len(self.faults) == 1 else "s")
        super().__init__("\n".join([f"{where}: {count}", *(f"  - {fault}" for fault in self.faults)]))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.where, self.faults)


class WorkError(TpsoilError, RuntimeError):
    """Work that started from a good input and failed."""


class LockLostError(WorkError):
    """A run whose store another run took over while this one did not answer."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The mend for a misspelt name, as the tail of a sentence.

    Parameters
    ----------
    name : str
        What came.
    known : iterable of str
        What there is.

    Returns
    -------
    str
        `"; did you mean 'slope'?"`, or the list of known names where none is near, or `""` where there are none.

    Examples
    --------
    >>> nearest_name("slop", ["slope", "aspect"])
    "; did you mean 'slope'?"
    """
    names = [str(item) for item in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:20])
    return f"; there are: {shown}" + (", ..." if len(names) > 20 else "")
