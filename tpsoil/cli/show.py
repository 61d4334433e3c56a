"""Layout of tables and messages in a terminal, a pipe and a log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; 80 columns, without colour, for a pipe."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console()
    return Console(width=80, color_system=None, force_terminal=False)


def columns_of_text(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table of texts, every column aligned to the right.

    Examples
    --------
    >>> columns_of_text(["stage", "tiles"], [["slope", "6"]])
    ['stage  tiles', 'slope      6']
    """
    table = [headings, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in table]


def require_lasting(store: str) -> None:
    """Reject a store in memory, which is lost when the command ends."""
    from tpsoil.errors import InputError

    if store.startswith("memory://"):
        raise InputError(
            f"{store}: a store in memory is lost when the command ends; pass a path, or a URL such as "
            "s3://bucket/cube.zarr"
        )
