"""CSV tables: read, checked column by column, and every fault named with its row.

A table is rejected on import: a needed column that is missing, text where a number is expected, rows given
twice. Points outside a grid are for the caller to count and report.
"""

from __future__ import annotations

import codecs
import csv
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from tpsoil.columns import LINES, MISSING, describe_lines, numeric_column
from tpsoil.errors import AccessError, InputError, require_distinct, require_named
from tpsoil.option_names import pass_option

from .files import require_file

SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_COMMA_NUMBER: Final = r"\s*[<>]?\s*[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?\s*"


def read_table(
    source: str | os.PathLike[str] | pd.DataFrame,
    *,
    needed: Sequence[str] = (),
    numbers: Sequence[str] = (),
    complete: Sequence[str] = (),
    unique: Sequence[str] = (),
    where: str | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
) -> pd.DataFrame:
    """Read a CSV, or take a DataFrame, and check it.

    Parameters
    ----------
    source : path or DataFrame
        A DataFrame is copied, never changed.
    needed : sequence of str
        Columns that must be there.
    numbers : sequence of str
        Columns that must hold numbers or missing values, where they are there; returned as float64.
    complete : sequence of str
        Columns without missing values.
    unique : sequence of str
        Columns that together name a row: no two rows may agree in all of them.
    where : str, optional
        Named in messages; the path by default.
    separator : str, optional
        Between the cells of a line; by default the one of comma, semicolon, tab and bar that gives the header the most
        columns. Where it is not the comma, numbers may have a decimal comma: `attrs["decimal_commas"]` names these
        columns, and a warning.
    encoding : str
        Of the file; "cp1252" of tables that Excel under Windows saved as CSV.

    Returns
    -------
    DataFrame
        All columns of the source in their order, index 0..n-1. Number columns are float64 with NaN where missing;
        other columns keep their text.

    Raises
    ------
    MissingInputError
        For a file that is not there.
    InputError
        For a table without rows, a needed column that is missing, text in a number column, a missing value in a
        complete column, rows given twice, rows longer than the header. Messages name lines of the file: the header is
        line 1, blank lines and cells of several lines are counted.
    AccessError
        For a file that cannot be read.

    Examples
    --------
    >>> table = pd.DataFrame({"site": ["a", "b"], "Fe": ["3100", "NA"]})
    >>> read_table(table, needed=["site"], numbers=["Fe"])["Fe"].tolist()
    [3100.0, nan]
    """
    if isinstance(source, pd.DataFrame):
        name, table = where or "table", source.reset_index(drop=True).copy()
    else:
        name, table = where or os.fspath(source), _read(source, separator, encoding, where)
    table.columns = [str(column).strip() for column in table.columns]
    require_columns(table, needed, where=name)
    require_distinct(name, table.columns)
    if not len(table):
        raise InputError(f"{name}: the table has no rows, expected at least one")
    for column in numbers:
        if column in table.columns:
            table[column] = numeric_column(table[column], where=name)
    for column in complete:
        empty = table[column].isna()
        if empty.any():
            raise InputError(
                f"{name}: column '{column}' is empty in {describe_lines(empty, table.attrs)}; fill it or drop the row"
            )
    if unique:
        require_unique(table, unique, where=name)
    return table


def require_columns(table: pd.DataFrame, needed: Iterable[str], *, where: str) -> None:
    """Reject a table that lacks a needed column; all that are missing are listed at once.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_columns(pd.DataFrame(columns=["site", "Fe"]), ["Fe", "Zn"], where="s.csv")
    Traceback (most recent call last):
    tpsoil.errors.InputError: s.csv: no column 'Zn'; there are: Fe, site
    """
    require_named(where, needed, table.columns)


def require_unique(table: pd.DataFrame, keys: Sequence[str], *, where: str) -> None:
    """Reject rows that agree in all of `keys`.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_unique(pd.DataFrame({"site": ["a", "b", "a"]}), ["site"], where="s.csv")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tpsoil.errors.InputError: s.csv: 2 rows are given twice or more, the first with site='a' in lines 2, 4; keep...
    """
    require_columns(table, keys, where=where)
    repeated = table.duplicated(list(keys), keep=False)
    if repeated.any():
        first = table.loc[repeated, list(keys)].iloc[0]
        same = (table[list(keys)] == first).all(axis=1)
        shown, lines = ", ".join(f"{key}={first[key]!r}" for key in keys), describe_lines(same, table.attrs)
        raise InputError(
            f"{where}: {int(repeated.sum())} rows are given twice or more, the first with {shown} in {lines}; "
            "keep one of each, or give every replicate its own name"
        )


def _read(source: str | os.PathLike[str], separator: str | None, encoding: str, where: str | None) -> pd.DataFrame:
    path = require_file(source, where=where or str(source), content="a table of comma-separated values")
    name = where or str(path)
    try:
        "".encode(encoding)
    except LookupError:
        raise InputError(f"{name}: encoding is {encoding!r}, expected one such as 'utf-8' or 'cp1252'") from None
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"  # with the mark at the beginning that Excel writes, or without
    try:
        between, shifts = _layout(path, separator, encoding, name)
        # Text first: pandas' own parsing turns a stray word into a column of objects without saying in which line.
        table = pd.read_csv(
            path,
            sep=between,
            dtype="string",
            keep_default_na=False,
            na_values=list(MISSING),
            index_col=False,
            encoding=encoding,
        )
    except pd.errors.EmptyDataError:
        raise InputError(f"{name}: the file is empty, expected a header and rows") from None
    except (pd.errors.ParserError, csv.Error) as error:
        raise InputError(f"{name}: not a CSV table: {error}; expected one row a line") from None
    except UnicodeError as error:
        cause = f"{error.reason} at byte {error.start}" if isinstance(error, UnicodeDecodeError) else error
        raise InputError(
            f"{name}: not {encoding.upper().removesuffix('-SIG')} text ({cause}); save it as UTF-8, or "
            f"{pass_option('encoding', 'cp1252')} where Excel under Windows saved it"
        ) from None
    except OSError as error:
        raise AccessError(f"{name}: cannot be read ({error.strerror or error})") from error
    if shifts:
        table.attrs[LINES] = shifts
    if between != ",":
        table.attrs["separator"] = SEPARATORS.get(between, between)
        _read_decimal_commas(table, name)
    return table


def _layout(path: Path, separator: str | None, encoding: str, name: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The separator, and where rows are not one a line; every row is as long as the header."""
    with path.open(encoding=encoding, newline="") as file:
        header = next((line for line in file if line.strip()), "")
    if separator is None:
        # A comma where it gives as many columns as another: it is what the format is named for.
        counts = {sign: len(next(csv.reader([header], delimiter=sign), [])) for sign in SEPARATORS}
        separator = max(counts, key=lambda sign: (counts[sign], sign == ","))
    shifts: list[tuple[int, int]] = []
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        columns, row, moved, start = 0, 0, 0, 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            if not columns:
                columns = len(cells)
                require_distinct(name, (cell.strip() for cell in cells))  # pandas would call the second one 'Fe.1'
                continue
            if any(cell.strip() for cell in cells[columns:]):
                raise InputError(
                    f"{name}: not a CSV table: line {line} has {len(cells)} cells, the header {columns}; expected one "
                    f"row a line with '{separator}' between its cells, and a name for every column"
                )
            if (shift := line - row - 2) != moved:
                shifts.append((row, shift - moved))
                moved = shift
            row += 1
    return separator, tuple(shifts)


def _read_decimal_commas(table: pd.DataFrame, name: str) -> None:
    """In place: columns of numbers with a decimal comma get a point; counted, with a warning."""
    changed = []
    for column in table.columns:
        cells = table[column].dropna().str.strip()
        cells = cells[~cells.isin(MISSING)]
        if cells.str.contains(",", regex=False).any() and cells.str.fullmatch(_COMMA_NUMBER).all():
            table[column] = table[column].str.replace(",", ".", regex=False)
            changed.append(str(column).strip())
    if changed:
        table.attrs["decimal_commas"] = tuple(changed)
        warnings.warn(
            f"{name}: the separator of cells is the {table.attrs['separator']}; the comma is read as the decimal "
            f"point in {', '.join(changed)}",
            stacklevel=4,
        )
