"""Dates of samples: ISO dates, years, and day-month-year where no row has two readings."""

from __future__ import annotations

from typing import Final

import pandas as pd

from tpsoil.columns import MISSING, describe_lines
from tpsoil.errors import InputError

FORMATS: Final = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y-%m", "%Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
AMBIGUOUS: Final = (("%d.%m.%Y", "%m.%d.%Y"), ("%d/%m/%Y", "%m/%d/%Y"), ("%d-%m-%Y", "%m-%d-%Y"))
"""Day first and month first; a column is read by the one that fits all its rows."""


def read_dates(column: pd.Series, *, where: str) -> pd.Series:
    """A column of dates.

    Parameters
    ----------
    column : Series
        Text such as "2019-07-14", "14.07.2019" or "2019", or dates. Not changed. One format in the whole column.
    where : str
        Named in messages.

    Returns
    -------
    Series of datetime64
        NaT where missing; the first day of a year or month without a day.

    Raises
    ------
    InputError
        For text that is no date, with its line, and for days and months that cannot be told apart.

    Examples
    --------
    >>> read_dates(pd.Series(["14.07.2019", "02.08.2019"], name="day"), where="s.csv").dt.month.tolist()
    [7, 8]
    >>> read_dates(pd.Series(["04.07.2019", "02.08.2019"], name="day"), where="s.csv")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tpsoil.errors.InputError: s.csv: column 'day' has dates such as '04.07.2019' with two readings...
    """
    if column.dtype.kind == "M":
        return column
    if column.dtype.kind == "f" and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    text = column.astype("string").str.strip()
    text = text.mask(text.isin(MISSING).fillna(False).astype(bool))
    read: list[tuple[int, pd.Series]] = []
    for forms in (*((form,) for form in FORMATS), *AMBIGUOUS):
        readings = [pd.to_datetime(text, format=form, errors="coerce") for form in forms]
        wrong = [int((dates.isna() & text.notna()).sum()) for dates in readings]
        complete = [dates for dates, count in zip(readings, wrong) if not count]
        if len(complete) == 2 and not complete[0].equals(complete[1]):
            raise InputError(
                f"{where}: column '{column.name}' has dates such as '{text.dropna().iloc[0]}' with two readings, day "
                "or month first; write them as year-month-day"
            )
        if complete:
            return complete[0]
        read += zip(wrong, readings)
    closest = min(read, key=lambda one: one[0])[1]
    fault = (closest.isna() & text.notna()).to_numpy(dtype=bool)
    raise InputError(
        f"{where}: column '{column.name}' has text that is no date in {describe_lines(fault, column.attrs)}: "
        f"'{text[fault].iloc[0]}', expected one format such as 2019-07-14 in all rows; correct it or leave it empty"
    )
