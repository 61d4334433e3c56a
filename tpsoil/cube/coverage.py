"""How much of a grid a source covers: none is an error, little is reported, the share is an attribute."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from tpsoil.errors import GridError
from tpsoil.grid import describe, geographic_bounds
from tpsoil.ingest.rasters import Raster
from tpsoil.option_names import pass_option

if TYPE_CHECKING:
    from .alignment import Alignment

Array = npt.NDArray[Any]

MIN_COVERAGE: Final = 0.1
"""Share of the grid below which a source that covers no more is reported: a tile, or a file of another region."""
COMPLETE: Final = 0.995


def coverage_note(raster: Raster, alignment: Alignment) -> dict[str, str]:
    """Attributes that name how much of a grid a raster's extent covers; empty where it covers it.

    Parameters
    ----------
    raster : Raster
    alignment : Alignment
        Of the raster and the grid.

    Returns
    -------
    dict
        `source_coverage`, from 64 x 64 points of the grid.

    Warns
    -----
    UserWarning
        Below `MIN_COVERAGE`.
    """
    share = _coverage(alignment)
    if share > COMPLETE:
        return {}
    text = f"{100 * share:.1f} % of the grid"
    if share < MIN_COVERAGE:
        warnings.warn(
            f"{raster.spec.name}: {raster.origin} covers {text} ({describe(alignment.target)}); the other cells are "
            f"missing. Is it of another region, or its CRS wrong ({pass_option('crs')})?",
            stacklevel=3,
        )
    return {"source_coverage": text}


def _coverage(alignment: Alignment) -> float:
    """Share of the grid's area within the source's extent."""
    height, width = alignment.source.shape
    row, column = _located(alignment, (np.arange(64) + 0.5) / 64)
    with np.errstate(invalid="ignore"):
        return float(((row >= 0) & (row <= height) & (column >= 0) & (column <= width)).mean())


def require_overlap(raster: Raster, alignment: Alignment) -> None:
    """Reject a raster whose extent has no cell of the grid.

    Raises
    ------
    GridError
    """
    height, width = alignment.source.shape
    located = _located(alignment, np.linspace(0, 1, 65))
    spans = [(np.nanmin(v), np.nanmax(v)) if np.isfinite(v).any() else (np.inf, -np.inf) for v in located]
    if not (spans[0][0] < height and spans[0][1] > 0 and spans[1][0] < width and spans[1][1] > 0):
        raise GridError(
            f"{raster.spec.name}: {raster.origin} does not overlap the grid; it covers "
            f"{_degrees(alignment.source)}, the grid {_degrees(alignment.target)} ({describe(alignment.target)}); "
            f"is the file of another region, or its CRS wrong ({pass_option('crs')})?"
        )


def _located(alignment: Alignment, shares: Array) -> tuple[Array, Array]:
    """Source (row, column) of points at shares of a grid's height and width, in the turn of the globe of the source."""
    rows, cols = alignment.target.shape
    row, column = alignment.image(*np.meshgrid(rows * shares, cols * shares, indexing="ij"))
    if period := alignment.period:
        column = column - period * np.rint((column - 0.5 * alignment.source.shape[1]) / period)
    return row, column


def _degrees(box: GeoBox) -> str:
    west, south, east, north = geographic_bounds(box)
    return f"{west:.4g}..{east:.4g} E, {south:.4g}..{north:.4g} N"
