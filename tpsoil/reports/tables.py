"""Tables of a report: CSV for machines, Markdown and HTML for readers, and one summary of a store's layers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.display import cell_text, html_table

from .figures import canvas, palette
from .figures.reading import pick

SUMMARY: Final = ("layer", "long_name", "units", "cells", "with_value", "percent", "minimum", "mean", "maximum",
                  "every")  # fmt: skip
"""Columns of `layer_summary`."""
ROWS_AT_ONCE: Final = 1_000_000
"""Cells read at once for a layer's summary."""


def write_csv(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table as CSV, numbers in full precision.

    Parameters
    ----------
    table : DataFrame
    path : path
        Missing folders are created. The file is replaced only when it is complete.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        For anything but a DataFrame.
    AccessError
        Where the folder cannot be written.

    Notes
    -----
    A table with `attrs["simulated"]` set gets a last column of that name, because CSV has no attributes.

    Examples
    --------
    >>> import tempfile
    >>> write_csv(pd.DataFrame({"zone": [1]}), Path(tempfile.mkdtemp()) / "zones.csv").read_text()
    'zone\\n1\\n'
    """
    canvas.require_columns(table, (), where="write_csv")
    if palette.is_simulated(table) and "simulated" not in table.columns:
        table = table.assign(simulated="simulated")
    has_index = any(name is not None for name in table.index.names)
    return write_text(Path(path), table.to_csv(index=has_index, lineterminator="\n"), where="write_csv")


def to_markdown(table: pd.DataFrame, *, digits: int = 3, caption: str = "") -> str:
    """A table as GitHub Markdown.

    Parameters
    ----------
    table : DataFrame
        A named index becomes the first column.
    digits : int
        Significant digits of numbers that are not integers.
    caption : str
        A line above; the word *simulated* is added where the table's `attrs` have it set.

    Returns
    -------
    str

    Raises
    ------
    InputError
        For anything but a DataFrame.

    Examples
    --------
    >>> print(to_markdown(pd.DataFrame({"zone": [1], "rmse": [0.3406]})))
    | zone |  rmse |
    |-----:|------:|
    |    1 | 0.341 |
    """
    canvas.require_columns(table, (), where="to_markdown")
    head, rows, right = _cells(table, digits)
    width = [max([2, len(h), *(len(row[i]) for row in rows)]) for i, h in enumerate(head)]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, width, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ":" if r else "-" * (w + 2) for w, r in zip(width, right, strict=True)) + "|"
    heading = palette.marked(caption, table)
    first, *others = [[" ".join(cell.splitlines()).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    return "\n".join([*([heading, ""] if heading else []), line(first), rule, *(line(row) for row in others)])


def write_markdown(table: pd.DataFrame, path: str | os.PathLike[str], *, digits: int = 3, caption: str = "") -> Path:
    """Write `to_markdown` to a file.

    Parameters
    ----------
    table, digits, caption
        As in `to_markdown`.
    path : path

    Returns
    -------
    Path

    Raises
    ------
    InputError, AccessError
        As `write_csv`.

    Examples
    --------
    >>> import tempfile
    >>> write_markdown(pd.DataFrame({"zone": [1]}), Path(tempfile.mkdtemp()) / "zones.md").name
    'zones.md'
    """
    return write_text(Path(path), to_markdown(table, digits=digits, caption=caption) + "\n", where="write_markdown")


def to_html(table: pd.DataFrame, *, digits: int = 3, caption: str = "", longest: int = 60) -> str:
    """A table as an HTML element, with a caption and header cells that a screen reader can announce.

    Parameters
    ----------
    table : DataFrame
    digits : int
    caption : str
    longest : int
        Maximum number of rows; the caption states how many were omitted.

    Returns
    -------
    str

    Raises
    ------
    InputError
        For anything but a DataFrame.

    Examples
    --------
    >>> "<th scope=\\"col\\">zone</th>" in to_html(pd.DataFrame({"zone": ["a"]}), caption="Zones")
    True
    """
    canvas.require_columns(table, (), where="to_html")
    heading = palette.marked(caption, table)
    if len(table) > longest:
        heading = f"{heading} (first {longest} of {len(table)} rows)".strip()
    head, rows, right = _cells(table.head(longest), digits)
    return html_table(head, rows, caption=heading, right=right)


def layer_summary(
    store: xr.Dataset, layers: Iterable[str] | None = None, *, most_cells: int = 50_000_000
) -> pd.DataFrame:
    """Summary of each layer: unit, cells with a value, minimum, mean and maximum.

    Parameters
    ----------
    store : Dataset (y, x)
        Lazy or not; read in bands of rows.
    layers : iterable of str, optional
        All two-dimensional layers by default.
    most_cells : int
        Layers with more cells are summarised from every n-th row and column; `every` is n.

    Returns
    -------
    DataFrame
        `layer`, `long_name`, `units`, `cells`, `with_value`, `percent`, `minimum`, `mean`, `maximum`, `every`;
        class layers have no minimum, mean and maximum.

    Raises
    ------
    MissingInputError
        For a missing layer.

    Examples
    --------
    >>> cube = xr.Dataset({"slope": (("y", "x"), np.array([[1.0, np.nan], [2.0, 3.0]]))})
    >>> layer_summary(cube)[["with_value", "mean"]].to_dict("records")
    [{'with_value': 3, 'mean': 2.0}]
    """
    every = [str(name) for name, layer in store.data_vars.items() if set(layer.dims) == {"y", "x"}]
    names = list(layers) if layers is not None else every
    rows = []
    for name in names:
        layer = pick(store, name, where="layer_summary")
        step = max(1, int(np.ceil(np.sqrt(layer.size / most_cells))))
        decimated = layer.isel(y=slice(step // 2, None, step), x=slice(None, None, step))
        classes = palette.layer_kind(layer) == "categorical"
        count, total, minimum, maximum = 0, 0.0, np.inf, -np.inf
        for raw in _bands(decimated):
            valid = np.isfinite(raw) & ~np.isin(raw, palette.missing_numbers(layer))
            values = raw[valid].astype(np.float64)
            if values.size:
                count, total = count + values.size, total + float(values.sum())
                minimum, maximum = min(minimum, float(values.min())), max(maximum, float(values.max()))
        statistics = (np.nan, np.nan, np.nan) if classes or not count else (minimum, total / count, maximum)
        percent = 100 * count / decimated.size if decimated.size else np.nan
        rows.append((name, palette.layer_title(layer), palette.layer_units(layer), decimated.size, count, percent,
                     *statistics, step))  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUMMARY))


def class_shares(store: xr.Dataset, layer: str) -> pd.DataFrame:
    """Cells of each class of a layer, by name.

    Parameters
    ----------
    store : Dataset (y, x)
    layer : str

    Returns
    -------
    DataFrame
        `code`, `class`, `cells`, `percent` of the cells that have a class.

    Raises
    ------
    MissingInputError
        For a missing layer.

    Examples
    --------
    >>> cube = xr.Dataset({"soil_mask": (("y", "x"), np.array([[1, 1], [0, 1]], "uint8"))})
    >>> class_shares(cube, "soil_mask")["class"].tolist()
    ['no soil', 'soil']
    """
    data = pick(store, layer, where="class_shares")
    counts = Counter[int]()
    skip = {int(code) for code in palette.missing_numbers(data)}
    for raw in _bands(data):
        codes, cell_counts = np.unique(raw[np.isfinite(raw)] if raw.dtype.kind == "f" else raw, return_counts=True)
        counts.update({int(c): int(n) for c, n in zip(codes, cell_counts, strict=True) if int(c) not in skip})
    names, total = palette.class_names(data), sum(counts.values())
    return pd.DataFrame(
        [
            {"code": code, "class": palette.class_name(data, code, names), "cells": n, "percent": 100 * n / total}
            for code, n in sorted(counts.items())
        ],
        columns=["code", "class", "cells", "percent"],
    )


def _bands(layer: xr.DataArray) -> Iterator[npt.NDArray[Any]]:
    """Values of a layer, some rows at once."""
    rows = max(1, ROWS_AT_ONCE // max(layer.sizes["x"], 1))
    for start in range(0, layer.sizes["y"], rows):
        yield np.asarray(layer.isel(y=slice(start, start + rows)).values)


def write_text(path: Path, text: str, *, where: str) -> Path:
    """Write a text file; an existing one is replaced only when the new one is complete."""
    return canvas.write_file(path, text.encode(), where=where)


def _cells(table: pd.DataFrame, digits: int) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, rows and which columns are numbers."""
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    right = [pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in table.dtypes]
    rows = [[cell_text(value, digits) for value in row] for row in table.itertuples(index=False, name=None)]
    return [str(name) for name in table.columns], rows, right
