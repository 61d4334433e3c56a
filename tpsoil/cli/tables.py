"""Tables and sentences within the width of a terminal, a pipe or a log."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

GAP = 2
"""Spaces between columns."""
PIPE_WIDTH = 80
NARROWEST = 8
"""Columns of a cell that is wrapped, at least."""


class _Column(NamedTuple):
    """One column as lines of text: the heading, and those of each row."""

    width: int
    heading: list[str]
    cells: list[list[str]]


def width_of_terminal() -> int:
    """Columns of the terminal; 80 of a pipe."""
    return shutil.get_terminal_size()[0] if sys.stdout.isatty() else PIPE_WIDTH


def console() -> Console:
    """A console as wide as the terminal; 80 columns, without colour, for a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH, color_system=None, force_terminal=False)


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


def wrapped(text: str, width: int) -> str:
    """A sentence in lines of a width; a word that is longer, such as a path, is not cut.

    Examples
    --------
    >>> print(wrapped("slope: 12 tiles stale: elevation changed", 24))
    slope: 12 tiles stale:
      elevation changed
    """
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def table_text(table: pd.DataFrame, width: int) -> str:
    """A table right-aligned within a width; what does not fit continues below, beside the columns that name the rows.

    Parameters
    ----------
    table : DataFrame
    width : int
        Of the terminal, columns.

    Examples
    --------
    >>> import pandas as pd
    >>> print(table_text(pd.DataFrame({"zone": [1], "mean": [0.5], "standard deviation": [0.25]}), 16))
    zone   mean
       1  0.500
    <BLANKLINE>
           standard
    zone  deviation
       1      0.250
    """
    if not len(table.columns):
        return ""
    names = _names_of_rows(table, width)
    limit = max(NARROWEST, width - sum(column.width + GAP for column in names))
    blocks = [list(names)]
    for k in range(len(names), len(table.columns)):
        column = _column(table, k, limit)
        used = sum(one.width + GAP for one in blocks[-1])
        if used + column.width > width and len(blocks[-1]) > len(names):
            blocks.append(list(names))
        blocks[-1].append(column)
    return "\n\n".join(_block_text(block) for block in blocks)


def _names_of_rows(table: pd.DataFrame, width: int) -> list[_Column]:
    """The first columns, until they differ between all rows or take half of the width."""
    half = max(NARROWEST, width // 2 - GAP)
    names = [_column(table, 0, width if len(table.columns) == 1 else half)]
    while len(names) < len(table.columns) - 1 and table.iloc[:, : len(names)].astype(str).duplicated().any():
        column = _column(table, len(names), width)
        if sum(one.width + GAP for one in names) + column.width > half:
            break
        names.append(column)
    return names


def _column(table: pd.DataFrame, k: int, limit: int) -> _Column:
    """A column's texts, wrapped at `limit`; its title is wrapped at the widest of its words and values."""
    values, title = table.iloc[:, k], str(table.columns[k])
    cells = [_text(value) for value in values]
    width = min(max(map(len, [*cells, *title.split()]), default=0), limit)
    return _Column(width, _lines(title, width), [_lines(cell, width) for cell in cells])


def _text(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or str(value) in {"<NA>", "NaT"} else " ".join(str(value).split())


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_on_hyphens=False) or [""]


def _block_text(columns: list[_Column]) -> str:
    lines = []
    rows = [[column.heading for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    for number, row in enumerate(rows):
        height = max(map(len, row))
        for at in range(height):
            # Headings stand above their column's first value, wrapped cells below their row's first line.
            lacking = [height - len(cell) if number == 0 else 0 for cell in row]
            texts = [cell[at - low] if 0 <= at - low < len(cell) else "" for cell, low in zip(row, lacking)]
            padded = (text.rjust(column.width) for text, column in zip(texts, columns))
            lines.append((" " * GAP).join(padded).rstrip())
    return "\n".join(lines)
