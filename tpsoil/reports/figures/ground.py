"""Cells without a value: outside, water, ice, masked class or no data; one fill and one legend entry for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch
from rasterio.features import rasterize
from rasterio.transform import from_bounds
from scipy import ndimage

from tpsoil.reports.geography import context_of
from tpsoil.soil_mask import MASK, masked_classes, without_soil

from . import palette
from .geographic import plane_of
from .reading import Picture, pick, read_picture

Codes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

OUTSIDE, WATER, ICE, MASKED, NO_DATA = range(5)

MEANINGS: Final[dict[int, tuple[str, str]]] = {
    OUTSIDE: ("outside", palette.OUTSIDE),
    WATER: ("water", palette.WATER),
    ICE: ("ice or snow", palette.ICE),
    MASKED: ("masked: no soil", palette.MASKED),
    NO_DATA: ("no data", palette.NO_DATA),
}
"""Text of the legend and fill of each code."""
APPLICABILITY: Final = "outside the area of applicability"


def ground_codes(missing: Flags, masked: Flags | None = None, water: Flags | None = None,
                 ice: Flags | None = None) -> Codes:  # fmt: skip
    """Why a cell has no value.

    Parameters
    ----------
    missing : ndarray of bool (rows, columns)
        Cells without a value.
    masked, water, ice : ndarray of bool (rows, columns), optional
        Cells without soil; cells that are water or ice.

    Returns
    -------
    ndarray of uint8 (rows, columns)
        A code of `MEANINGS` for every cell: where there is a value, the code that a missing one would have.

    Notes
    -----
    Masked cells that are connected to the frame by masked cells are outside of what was studied, and so are missing
    cells that are connected to it by missing ones.

    Examples
    --------
    >>> ground_codes(np.array([[True, False, False], [True, False, False], [False, False, False]])).tolist()
    [[0, 4, 4], [0, 4, 4], [4, 4, 4]]
    """
    no_soil = np.zeros(missing.shape, bool) if masked is None else masked
    beyond = _at_frame(no_soil) | _at_frame(missing & ~no_soil)
    codes = np.where(no_soil, MASKED, NO_DATA).astype(np.uint8)
    for code, cells in ((WATER, water), (ICE, ice)):
        if cells is not None:
            codes[cells & (no_soil | missing)] = code
    codes[beyond] = OUTSIDE
    return codes


def surfaces_of(store: xr.Dataset, picture: Picture, longest_side: int) -> tuple[Flags, Flags]:
    """Cells of water and of ice, by the class layers of a store, and the sea and the lakes of the base map.

    Parameters
    ----------
    store : Dataset (y, x)
        On the grid of the picture.
    picture : Picture
    longest_side : int
        The one of the picture.

    Returns
    -------
    (ndarray of bool, ndarray of bool)
    """
    water, ice = np.zeros(picture.values.shape, bool), np.zeros(picture.values.shape, bool)
    for surface, cells in (("water", water), ("ice", ice)):
        for name, classes in masked_classes(store, [surface]).items():
            drawn = read_picture(pick(store, name), longest_side).values
            if drawn.shape == cells.shape:
                cells |= np.isin(drawn, list(classes))
    water |= _open_water(picture) & ~ice
    return water, ice


def mask_of(store: xr.Dataset, longest_side: int) -> Flags | None:
    """Cells where the `soil_mask` of a store is not 1; None without one."""
    if MASK not in store or set(store[MASK].dims) != {"y", "x"}:
        return None
    return without_soil(read_picture(pick(store, MASK), longest_side).values)


def draw_ground(axes: Axes, picture: Picture, codes: Codes, undrawn: Flags) -> list[Patch]:
    """Fill cells that are not drawn by their meaning; `OUTSIDE` shows the base map.

    Returns
    -------
    list of Patch
        Legend entries of the meanings that are there, but for `OUTSIDE`.
    """
    shown = np.ma.masked_where(~undrawn | (codes == OUTSIDE), codes)
    for code in (WATER, ICE, MASKED, NO_DATA):
        own = np.ma.masked_where(np.ma.getmaskarray(shown) | (codes != code), codes)
        if own.count():
            axes.imshow(own, extent=picture.extent, zorder=1.5, interpolation="nearest", aspect="auto",
                        norm=BoundaryNorm([code - 0.5, code + 0.5], 1), cmap=ListedColormap([MEANINGS[code][1]]),
                        gid="masked" if code == MASKED else f"ground-{code}")  # fmt: skip
    return [patch_of(code) for code in (WATER, ICE, MASKED, NO_DATA) if bool(np.any(shown.compressed() == code))]


def patch_of(code: int) -> Patch:
    """The legend entry of a meaning.

    Examples
    --------
    >>> patch_of(NO_DATA).get_label()
    'no data'
    """
    text, fill = MEANINGS[code]
    return Patch(facecolor=fill, edgecolor=palette.QUIET, linewidth=0.4, label=text)


def applicability_patch(share: float) -> Patch:
    """The legend entry of hatched cells, with their share of the mapped area in percent."""
    return Patch(facecolor="white", edgecolor=palette.INK, hatch=palette.HATCH, linewidth=0.5,
                 label=f"{APPLICABILITY}: {share:.0f} %")  # fmt: skip


def _at_frame(cells: Flags) -> Flags:
    """Cells of every connected group that reaches the frame."""
    labels, _ = ndimage.label(cells)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.asarray(np.isin(labels, edge[edge > 0]))


def _open_water(picture: Picture) -> Flags:
    """Cells whose centre lies in the sea or in a lake of the base map."""
    left, right, bottom, top = picture.extent
    shape = picture.values.shape
    plane = plane_of(picture, picture.extent)
    if plane is None:
        return np.zeros(shape, bool)
    scale = 1.0 / picture.crs_units
    transform = from_bounds(left, bottom, right, top, shape[1], shape[0])

    def burned(rings: Sequence[npt.NDArray[np.float64]]) -> Flags:
        shapes = [{"type": "Polygon", "coordinates": [(scale * ring).tolist()]} for ring in rings]
        return np.asarray(rasterize(shapes, shape, transform=transform) > 0) if shapes else np.zeros(shape, bool)

    context = context_of(plane)
    # Without any ring of land the base map does not show whether a cell is sea.
    return burned(context.lakes) | (~burned(context.land) if context.land else np.zeros(shape, bool))
