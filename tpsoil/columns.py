"""Columns of tables: text to numbers, and the lines of the file that a message names."""

from __future__ import annotations

import io
import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from .errors import InputError, listed

MISSING: Final = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""Cells that mean a missing value; anything else in a number column must be a number."""

LINES: Final = "line_shifts"
"""Attribute of a table whose rows are not one a line: pairs (row, lines to add from this row on)."""


def numeric_column(column: pd.Series, *, where: str, rows: npt.ArrayLike | None = None) -> pd.Series:
    """A column as float64, NaN where missing.

    Parameters
    ----------
    column : Series
        Numbers, or text that is numbers. Not changed.
    where : str
        Named in the error.
    rows : array_like (n,), int, optional
        The row of the table that each value comes from, for the error's lines; 0..n-1 by default.

    Returns
    -------
    Series, float64

    Raises
    ------
    InputError
        For text that is not a number, and for infinite numbers; the message has its line and the text.

    Examples
    --------
    >>> numeric_column(pd.Series(["1", "2,5"], name="Zn"), where="s.csv")
    Traceback (most recent call last):
    tpsoil.errors.InputError: s.csv: column 'Zn' has text in line 3: '2,5', expected numbers; a decimal comma must \
be a point
    """
    if column.dtype.kind in "fiub":
        return _finite(column.astype(np.float64), column, where, rows)
    text = column.astype("string").str.strip()
    missing = column.isna() | text.isin(MISSING).fillna(True).astype(bool)
    values = pd.to_numeric(text.where(~missing), errors="coerce").astype("Float64")
    wrong = (values.isna() & ~missing).to_numpy(dtype=bool)
    if wrong.any():
        first = str(text[wrong].iloc[0])
        lines = describe_lines(wrong, column.attrs, rows)
        raise InputError(
            f"{where}: column '{column.name}' has text in {lines}: '{first}', expected numbers{_suggestion(first)}"
        )
    numbers = pd.Series(values.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index, name=column.name)
    return _finite(numbers, column, where, rows)


def _finite(numbers: pd.Series, column: pd.Series, where: str, rows: npt.ArrayLike | None) -> pd.Series:
    """Numbers of which none is infinite: text such as 1e999 is no measurement."""
    infinite = np.isinf(numbers.to_numpy(dtype=np.float64))
    if infinite.any():
        first = column[infinite].iloc[0]
        raise InputError(
            f"{where}: column '{column.name}' has an infinite number in "
            f"{describe_lines(infinite, column.attrs, rows)}: '{first}', expected finite numbers; correct it, or leave "
            "the cell empty"
        )
    return numbers


def plain_name(column: Any) -> str:
    """A column's name in lower case, without a unit in brackets.

    Examples
    --------
    >>> plain_name("Longitude (deg)"), plain_name(" LAT.")
    ('longitude', 'lat')
    """
    return re.sub(r"[\s_]*[(\[（][^)\]）]*[)\]）]$", "", str(column).strip()).rstrip(".").lower()


def line_number(row: int, attrs: dict[Any, Any]) -> int:
    """The line of the file with a row; the header is line 1.

    Parameters
    ----------
    row : int
        From 0.
    attrs : dict
        Of the table; blank lines and cells of several lines are in it.

    Examples
    --------
    >>> line_number(0, {}), line_number(3, {"line_shifts": ((2, 1),)})
    (2, 6)
    """
    return row + 2 + sum(int(added) for start, added in attrs.get(LINES, ()) if row >= start)


def describe_lines(marked: npt.ArrayLike, attrs: dict[Any, Any], rows: npt.ArrayLike | None = None) -> str:
    """The lines of marked rows, for a message.

    Parameters
    ----------
    marked : array_like (n,), bool
    attrs : dict
        Of the table.
    rows : array_like (n,), int, optional
        The row of the table that each mark stands for; 0..n-1 by default.

    Examples
    --------
    >>> describe_lines([False, True, True], {})
    'lines 3, 4'
    """
    places = np.flatnonzero(np.asarray(marked)) if rows is None else np.asarray(rows)[np.asarray(marked, dtype=bool)]
    return f"line{'' if len(places) == 1 else 's'} {listed([line_number(int(row), attrs) for row in places], 5)}"


def _suggestion(text: str) -> str:
    if text.startswith(">"):
        return "; a value above the range of the instrument is not supported: measure it again or leave the cell empty"
    if text.startswith("<"):
        return "; a value below its detection limit needs a column of its own for the limit"
    if "," in text and text.replace(",", "", 1).lstrip("-").isdigit():
        return "; a decimal comma must be a point"
    return "; correct the cell or leave it empty"


def stored_table(text: bytes | str) -> pd.DataFrame:
    """A table that a run wrote as CSV: empty cells are missing, and names such as NA (Namibia) and None are names.

    Examples
    --------
    >>> stored_table("country,Fe\\nNA,31.5\\n,\\n").to_dict("list")
    {'country': ['NA', nan], 'Fe': [31.5, nan]}
    """
    content = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return pd.read_csv(content, keep_default_na=False, na_values=[""])


def labelled(table: pd.DataFrame, **labels: Any) -> pd.DataFrame:
    """A table with one value in each of some first columns, such as the element that its rows are of.

    Examples
    --------
    >>> list(labelled(pd.DataFrame({"n": [4, 5]}), element="Fe", folds="block"))
    ['element', 'folds', 'n']
    """
    return table.assign(**labels)[[*labels, *table.columns]]
