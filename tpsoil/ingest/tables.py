"""CSV tables: read, checked column by column, and every fault named with its row.

A table is refused as a whole at the door: a needed column that is not there, text where a number is expected, rows
given twice, longitude and latitude swapped. Points outside a grid are for the caller to count and say.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, MissingInputError, nearest_name

LONGITUDE: Final = ("lon", "longitude", "long")
LATITUDE: Final = ("lat", "latitude")
MISSING: Final = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""Cells that stand for a missing value; anything else in a number column must be a number."""


def read_table(
    source: str | os.PathLike[str] | pd.DataFrame,
    *,
    needed: Sequence[str] = (),
    numbers: Sequence[str] = (),
    complete: Sequence[str] = (),
    unique: Sequence[str] = (),
    where: str | None = None,
    separator: str = ",",
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
    separator : str
        Between the cells of a line.

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
        complete column, rows given twice. Rows are counted as lines of the file: the header is line 1.

    Examples
    --------
    >>> table = pd.DataFrame({"site": ["a", "b"], "Fe": ["3100", "NA"]})
    >>> read_table(table, needed=["site"], numbers=["Fe"])["Fe"].tolist()
    [3100.0, nan]
    """
    if isinstance(source, pd.DataFrame):
        name, table = where or "table", source.reset_index(drop=True).copy()
    else:
        name, table = where or os.fspath(source), _read(source, separator, where)
    table.columns = [str(column).strip() for column in table.columns]
    require_columns(table, needed, where=name)
    _require_once(list(table.columns), name)
    if not len(table):
        raise InputError(f"{name}: the table has no rows, expected at least one")
    for column in numbers:
        if column in table.columns:
            table[column] = numeric_column(table[column], where=name)
    for column in complete:
        empty = table[column].isna()
        if empty.any():
            raise InputError(f"{name}: column '{column}' is empty in {_lines(empty)}; fill it or drop the row")
    if unique:
        require_unique(table, unique, where=name)
    return table


def require_columns(table: pd.DataFrame, needed: Iterable[str], *, where: str) -> None:
    """Refuse a table that lacks a needed column; all that are missing are listed at once.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_columns(pd.DataFrame(columns=["site", "Fe"]), ["Fe", "Zn"], where="s.csv")
    Traceback (most recent call last):
    tpsoil.errors.InputError: s.csv: no column 'Zn'; there are: Fe, site
    """
    columns = [str(column) for column in table.columns]
    missing = [column for column in needed if column not in columns]
    if missing:
        faults = "; ".join(f"no column '{column}'{nearest_name(column, columns)}" for column in missing)
        raise InputError(f"{where}: {faults}")


def require_unique(table: pd.DataFrame, keys: Sequence[str], *, where: str) -> None:
    """Refuse rows that agree in all of `keys`.

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
    twice = table.duplicated(list(keys), keep=False)
    if twice.any():
        first = table.loc[twice, list(keys)].iloc[0]
        same = (table[list(keys)] == first).all(axis=1)
        shown = ", ".join(f"{key}={first[key]!r}" for key in keys)
        raise InputError(
            f"{where}: {int(twice.sum())} rows are given twice or more, the first with {shown} in {_lines(same)}; "
            "keep one of each, or give every replicate its own name"
        )


def numeric_column(column: pd.Series, *, where: str) -> pd.Series:
    """A column as float64, NaN where missing.

    Raises
    ------
    InputError
        For text that is not a number; the message has its line and the text.

    Examples
    --------
    >>> numeric_column(pd.Series(["1", "2,5"], name="Zn"), where="s.csv")
    Traceback (most recent call last):
    tpsoil.errors.InputError: s.csv: column 'Zn' has text in line 3: '2,5', expected numbers; a decimal comma must \
be a point
    """
    if column.dtype.kind in "fiub":
        return column.astype(np.float64)
    text = column.astype("string").str.strip()
    missing = column.isna() | text.isin(MISSING).fillna(True).astype(bool)
    values = pd.to_numeric(text.where(~missing), errors="coerce").astype("Float64")
    wrong = (values.isna() & ~missing).to_numpy(dtype=bool)
    if wrong.any():
        first = str(text[wrong].iloc[0])
        raise InputError(
            f"{where}: column '{column.name}' has text in {_lines(wrong)}: '{first}', expected numbers{_mend(first)}"
        )
    return pd.Series(values.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index, name=column.name)


def position_columns(table: pd.DataFrame, *, where: str) -> tuple[str, str, bool]:
    """The columns that place a row.

    Returns
    -------
    (str, str, bool)
        Names of the east and the north column, and whether they are degrees: `lon`/`lat` (or longitude/latitude, in
        any case) before `x`/`y`, which are in the CRS of the cube.

    Raises
    ------
    InputError
        Where neither pair is there.

    Examples
    --------
    >>> position_columns(pd.DataFrame(columns=["site", "Longitude", "Latitude"]), where="points")
    ('Longitude', 'Latitude', True)
    """
    lower = {str(column).lower(): str(column) for column in reversed(list(table.columns))}
    east, north = (next((lower[n] for n in names if n in lower), None) for names in (LONGITUDE, LATITUDE))
    if east is not None and north is not None:
        return east, north, True
    if "x" in lower and "y" in lower:
        return lower["x"], lower["y"], False
    raise InputError(
        f"{where}: columns {', '.join(map(repr, list(table.columns)[:12]))} hold no position; "
        "expected lon and lat (degrees), or x and y in the CRS of the cube"
    )


def check_degrees(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    *,
    where: str,
    bounds: tuple[float, float, float, float] | None = None,
) -> None:
    """Refuse positions that are no degrees, or whose longitude and latitude are swapped.

    Parameters
    ----------
    lon, lat : array_like (n,), degrees; NaN is let through
    where : str
        Named in messages.
    bounds : (west, south, east, north), optional
        Of the area they should lie in. Where no point lies in it but swapped ones do, they are swapped.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_degrees([30.5], [91.1], where="sites.csv")
    Traceback (most recent call last):
    tpsoil.errors.InputError: sites.csv: longitude and latitude are swapped: line 2 has lon 30.5, lat 91.1; rename the \
columns
    """
    east, north = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    impossible = (np.abs(north) > 90) | (np.abs(east) > 360)
    swapped = (np.abs(east) <= 90) & (np.abs(north) <= 360)
    valid = np.isfinite(east) & np.isfinite(north)
    if impossible.any():
        row = int(np.argmax(impossible))
        shown = f"line {row + 2} has lon {east[row]:g}, lat {north[row]:g}"
        if swapped[valid].all():
            raise InputError(f"{where}: longitude and latitude are swapped: {shown}; rename the columns")
        raise InputError(
            f"{where}: {int(impossible.sum())} positions are not degrees: {shown}; "
            "expected -180..360 and -90..90; for projected metres name the columns x and y"
        )
    if bounds is not None and valid.any():
        inside = _within(east, north, bounds)
        turned = _within(north, east, bounds)
        if not inside[valid].any() and turned[valid].mean() > 0.5:
            raise InputError(
                f"{where}: longitude and latitude are swapped: no point lies in "
                f"{bounds[0]:.4g}..{bounds[2]:.4g} E, {bounds[1]:.4g}..{bounds[3]:.4g} N, but "
                f"{int(turned[valid].sum())} of {int(valid.sum())} do once swapped; rename the columns"
            )


def _within(
    east: npt.NDArray[np.float64], north: npt.NDArray[np.float64], bounds: tuple[float, float, float, float]
) -> npt.NDArray[np.bool_]:
    west, south, right, top = bounds
    return np.asarray((east >= west) & (east <= right) & (north >= south) & (north <= top))


def _read(source: str | os.PathLike[str], separator: str, where: str | None) -> pd.DataFrame:
    path = Path(os.fspath(source))
    name = where or str(path)
    if not path.is_file():
        raise MissingInputError(f"{name}: no such file {path}; check the path, it is taken from {Path.cwd()}")
    try:
        with path.open(encoding="utf-8", newline="") as file:  # pandas would call the second one 'Fe.1'
            _require_once([cell.strip() for cell in next(csv.reader(file, delimiter=separator), [])], name)
        # Text first: pandas' own parsing turns a stray word into a column of objects without saying in which line.
        return pd.read_csv(path, sep=separator, dtype="string", keep_default_na=False, na_values=list(MISSING))
    except pd.errors.EmptyDataError:
        raise InputError(f"{name}: the file is empty, expected a header and rows") from None
    except pd.errors.ParserError as error:
        raise InputError(f"{name}: not a CSV table: {error}; expected one row a line, '{separator}' between") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _require_once(columns: Sequence[str], name: str) -> None:
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise InputError(f"{name}: column {', '.join(map(repr, repeated))} is given twice; keep one of them")


def _lines(rows: npt.ArrayLike | pd.Series) -> str:
    """Lines of the file, where the header is line 1."""
    lines = (np.flatnonzero(np.asarray(rows)) + 2).tolist()
    shown = ", ".join(map(str, lines[:5])) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
    return f"line{'' if len(lines) == 1 else 's'} {shown}"


def _mend(text: str) -> str:
    if text.startswith(("<", ">")):
        return "; a value below its detection limit needs a column of its own for the limit"
    if "," in text and text.replace(",", "", 1).lstrip("-").isdigit():
        return "; a decimal comma must be a point"
    return "; mend the cell or leave it empty"
