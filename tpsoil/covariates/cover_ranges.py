"""The C factor of RUSLE by land cover: a range for each class, and vegetation cover within it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError
from tpsoil.variables import variable

from .cells import require_one_grid
from .classes import csv_rows
from .ranges import require_range

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CoverRanges:
    """C of each class at full and at no vegetation cover.

    Parameters
    ----------
    classes : tuple of int
        Ascending.
    low, high : tuple of float
        C at full and at no cover, 0 to 1.
    source : str
        Where the ranges were published.
    """

    classes: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    source: str


@lru_cache(maxsize=16)
def read_cover_ranges(path: str) -> CoverRanges:
    """Read a table of cover ranges.

    Parameters
    ----------
    path : str
        CSV with a header and the columns `class` (code of the layer land_cover), `low` and `high` (C at full and at no
        vegetation cover) and `source` (publication of the range; must not be empty).

    Returns
    -------
    CoverRanges

    Raises
    ------
    MissingInputError
        Without the file.
    InputError
        For missing columns, a class that occurs twice, ranges outside 0 to 1 or reversed, a range without a source.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "ranges.csv"
    >>> _ = path.write_text("class,low,high,source\\n10,0.01,0.08,example\\n")
    >>> read_cover_ranges(str(path)).high
    (0.08,)
    """
    where = Path(path)
    rows: dict[int, tuple[float, float]] = {}
    sources: dict[str, None] = {}
    for line, row in csv_rows(where, {"class", "low", "high", "source"}):
        try:
            code, low, high = int(row["class"]), float(row["low"]), float(row["high"])
        except (TypeError, ValueError):
            raise InputError(f"{where}, line {line}: expected an integer and two numbers, got {row}") from None
        if not (0 <= low <= high <= 1) or math.isnan(low + high):
            raise InputError(f"{where}, line {line}: low {low:g} and high {high:g}, expected 0 <= low <= high <= 1")
        if code in rows:
            raise InputError(f"{where}, line {line}: class {code} occurs twice")
        if not (row["source"] or "").strip():
            raise InputError(f"{where}, line {line}: class {code} has no source; cite where its range is published")
        rows[code] = (low, high)
        sources[row["source"].strip()] = None
    if not rows:
        raise InputError(f"{where}: the table has no rows")
    codes = sorted(rows)
    lows, highs = zip(*(rows[code] for code in codes))
    return CoverRanges(tuple(codes), tuple(lows), tuple(highs), "; ".join(sources))


def cover_by_class(
    land_cover: xr.DataArray, vegetation_cover: xr.DataArray, ranges: CoverRanges | Mapping[int, tuple[float, float]]
) -> xr.DataArray:
    """The C factor of RUSLE from land cover and vegetation cover.

    Parameters
    ----------
    land_cover : DataArray (y, x), integer classes
    vegetation_cover : DataArray (y, x), %
    ranges : CoverRanges or mapping of int to (low, high)
        C at full and at no cover.

    Returns
    -------
    DataArray (y, x), float32, 1
        low + (high - low) (1 - cover / 100). NaN where an input is missing, and in classes without a range, such as
        water. Lazy where the inputs are.

    Raises
    ------
    InputError
        For cover outside 0 to 100 %.
    GridError
        Where the layers do not share one grid.

    References
    ----------
    Panagos et al. 2015, Land Use Policy 48, doi 10.1016/j.landusepol.2015.05.021 (non-arable land).

    Examples
    --------
    >>> classes = xr.DataArray(np.array([[10, 16]], dtype="uint8"), dims=("y", "x"))
    >>> cover = xr.DataArray(np.array([[75.0, 50.0]], dtype="float32"), dims=("y", "x"))
    >>> cover_by_class(classes, cover, {10: (0.0, 0.08)}).values.astype(float).round(3).tolist()
    [[0.02, nan]]
    """
    require_one_grid(land_cover, vegetation_cover, where="cover_by_class")
    if isinstance(ranges, Mapping):
        codes = sorted(ranges)
        lows, highs = zip(*(ranges[code] for code in codes))
        ranges = CoverRanges(tuple(codes), tuple(lows), tuple(highs), "given as numbers")
    (result,) = map_pixels(
        partial(_by_class, ranges=ranges),
        land_cover,
        vegetation_cover,
        outputs=[variable("cover_factor")],
        attrs={
            "parents": "land_cover vegetation_cover",
            "formula": "low + (high - low) (1 - cover), by class of land cover",
            "method": "class_range",
            "ranges_source": ranges.source,
        },
    )
    return cast(xr.DataArray, result)


def _by_class(classes: Array, cover: Array, *, ranges: CoverRanges) -> Array:
    require_range("cover_by_class", "vegetation_cover", cover, 0.0, 100.0, "cover is in %")
    coded = np.asarray(ranges.classes)
    codes = np.where(np.isfinite(classes), classes, -1).astype(np.int64)
    place = np.minimum(np.searchsorted(coded, codes), len(coded) - 1)
    low, high = np.asarray(ranges.low)[place], np.asarray(ranges.high)[place]
    c = low + (high - low) * (1.0 - cover.astype(np.float64) / 100.0)
    return np.where(coded[place] == codes, c, np.nan)
