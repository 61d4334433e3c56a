"""Sides of spatial blocks: in degrees or metres, as given or as wide as residuals are correlated."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.evaluation import block_codes, fit_variogram
from tpsoil.points import PositionColumns

Floats = npt.NDArray[np.float64]

SIDE: Final = re.compile(r"^(\d*\.?\d+) ?(deg|km|m)$")
SHARE_OF_CUTOFF: Final = 0.5
"""Side of a block over the cutoff of a variogram whose range is not reached within it: a sixth of the diagonal of the
samples' extent, so that neighbouring blocks are compared at distances that the variogram was computed for."""
FEWEST_SITES: Final = 30
"""Positions from which on a variogram of residuals is fitted."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Squares whose rows share a fold.

    Parameters
    ----------
    side : float
        In the unit of `east` and `north`.
    east, north : ndarray (rows,) or None
        Degrees, or m: of degrees in an equal-area projection about the middle of the rows.
    units : str
        Of these.
    basis : str
        Where the side comes from, if not as given.
    """

    side: float
    east: Floats | None
    north: Floats | None
    units: str
    basis: str = ""

    @property
    def text(self) -> str:
        """The side, for tables: "3 degrees", "50 km, the range of ..."."""
        value, units = (self.side / 1000, "km") if self.units == "m" and self.side >= 1000 else (self.side, self.units)
        units = "degree" if value == 1 and units == "degrees" else units
        return f"{value:.4g} {units}" + (f", {self.basis}" if self.basis else "")

    def count(self, side: float, sites: npt.NDArray[Any] | None) -> int:
        """Filled blocks of another side."""
        return len(np.unique(block_codes(self.east, self.north, side, groups=sites)))


def blocks_of(size: float | str, pair: PositionColumns | None, east: Floats | None, north: Floats | None) -> Blocks:
    """Blocks of a side that is given.

    Parameters
    ----------
    size : float or str
        A number in the unit of the coordinates, or "3deg", "50km", "800m"; "auto" gives blocks in metres whose side is
        not known yet (0).
    pair : PositionColumns or None
        Of the coordinates.
    east, north : ndarray (rows,) or None

    Raises
    ------
    InputError
        For another text, or degrees of projected coordinates.

    Examples
    --------
    >>> pair = PositionColumns("lon", "lat", degrees=True)
    >>> blocks_of("50km", pair, np.array([91.0, 92.0]), np.array([30.0, 30.0])).text
    '50 km'
    """
    degrees = pair is not None and pair.degrees
    if isinstance(size, str):
        match = SIDE.match(size.strip())
        if size != "auto" and (match is None or not float(match[1]) > 0):
            raise InputError(
                f"folds: block_size is {size!r}, expected a number, or a text such as '3deg', '50km', '800m' or 'auto'"
            )
        if match is not None and match[2] == "deg":
            if not degrees:
                raise InputError(
                    f"folds: block_size is {size!r}, but the coordinates are projected; give it in km or m"
                )
            return Blocks(float(match[1]), east, north, "degrees")
        side = 0.0 if match is None else float(match[1]) * (1000 if match[2] == "km" else 1)
        if degrees and east is not None and north is not None:
            return Blocks(side, *_equal_area(east, north), "m")
        return Blocks(side, east, north, "m")
    return Blocks(float(size), east, north, "degrees" if degrees else "m")


def correlated_blocks(blocks: Blocks, residuals: pd.Series, sites: npt.NDArray[Any] | None, n_folds: int) -> Blocks:
    """Blocks as wide as the residuals are correlated, and small enough to fill the folds.

    Parameters
    ----------
    blocks : Blocks
        In m.
    residuals : Series (rows,)
        Out of fold.
    sites : ndarray (rows,) or None
    n_folds : int

    Returns
    -------
    Blocks

    Notes
    -----
    Roberts et al. 2017 (doi 10.1111/ecog.02881): blocks should be larger than the range of the residuals' correlation.
    Where the range is not reached within the cutoff of the variogram, a third of the diagonal of the samples' extent,
    the side is half the cutoff. Where that leaves fewer than two blocks for each fold, the side is reduced by tenths
    until they are filled.
    """
    if blocks.east is None or blocks.north is None:
        raise InputError("folds: spatial blocks need coordinates; add columns lon and lat (or x and y)")
    place = pd.DataFrame({"east": blocks.east, "north": blocks.north, "residual": residuals.to_numpy()})
    means = place.groupby(["east", "north"] if sites is None else sites).mean().reset_index()
    extent = float(max(np.ptp(blocks.east), np.ptp(blocks.north)))
    wanted = min(2 * n_folds, len(means))
    if len(means) < FEWEST_SITES or not means["residual"].var() > 0:
        side, basis = extent / math.sqrt(2 * n_folds), f"{len(means)} sites are too few for a variogram of residuals"
    else:
        variogram = fit_variogram(means[["east", "north"]].to_numpy(), means["residual"].to_numpy())
        side, basis = variogram.range, "the range of the variogram of residuals"
        if not variogram.range_reached:
            side = SHARE_OF_CUTOFF * variogram.cutoff
            basis = "half the cutoff of the variogram of residuals, whose range is not reached within it"
    full = side
    while side > 1e-6 * extent and blocks.count(side, sites) < wanted:
        side *= 0.9
    if side < full:
        basis = f"{basis}, {full / 1000:.4g} km, reduced so that {wanted} blocks are filled"
    return Blocks(side, blocks.east, blocks.north, blocks.units, basis)


def require_filled(blocks: Blocks, sites: npt.NDArray[Any] | None, n_folds: int) -> None:
    """Reject blocks that are too few for the folds, with a side that fills them.

    Raises
    ------
    InputError
    """
    filled = blocks.count(blocks.side, sites)
    if filled >= n_folds or blocks.east is None or blocks.north is None:
        return
    east, north = (blocks.east, blocks.north) if blocks.units == "m" else _equal_area(blocks.east, blocks.north)
    metres, extent = Blocks(0.0, east, north, "m"), float(max(np.ptp(east), np.ptp(north)))
    places = len(np.unique(np.column_stack([blocks.east, blocks.north]), axis=0))
    wanted = max(min(2 * n_folds, places), n_folds)
    sides = [step * 10.0**power for power in range(6, -1, -1) for step in (5, 2, 1)]
    fitting = next(
        (side for side in sides if side < extent and metres.count(side, sites) >= max(wanted, n_folds)), None
    )
    fix = f"use fewer folds: the samples have {places} positions"
    if fitting is not None:
        text = f"{fitting / 1000:g}km" if fitting >= 1000 else f"{fitting:g}m"
        fix = (
            f"the samples extend over {extent / 1000:.3g} km: use block_size='{text}' (in a recipe 'block:{text}' in "
            "folds), 'auto' (in a recipe 'block'), or lower n_folds"
        )
    raise InputError(
        f"folds: {filled} block{'s' if filled > 1 else ''} of {blocks.text} cannot fill {n_folds} folds of kind "
        f"'block'; {fix}"
    )


def _equal_area(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Metres in the Lambert azimuthal equal-area projection about the middle of the positions."""
    from pyproj import Transformer

    angle = np.radians(lon)
    middle = np.degrees(np.arctan2(np.nanmean(np.sin(angle)), np.nanmean(np.cos(angle))))
    crs = f"+proj=laea +lon_0={middle:.6f} +lat_0={np.nanmean(lat):.6f} +datum=WGS84 +units=m"
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    return np.asarray(east, dtype=np.float64), np.asarray(north, dtype=np.float64)
