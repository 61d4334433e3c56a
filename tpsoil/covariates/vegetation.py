"""Vegetation cover from NDVI."""

from __future__ import annotations

from tpsoil.errors import InputError
from tpsoil.variables import variable

from .cells import Argument, CellKernel, Cells, per_cell


def vegetation_cover(ndvi: Cells, *, bare: float = 0.05, full: float = 0.86) -> Cells:
    """Share of the ground under green vegetation, by the dimidiate pixel model.

    Parameters
    ----------
    ndvi : float, ndarray or DataArray, 1
        -1 to 1.
    bare, full : float
        NDVI of bare soil and of full cover; take them from the study's own images. The defaults are assumptions: 0.05
        for bare ground, 0.86 the mean of the plateau's densest cluster (Chen et al. 2026, Table 3).

    Returns
    -------
    float, ndarray or DataArray, %
        100 (NDVI - bare) / (full - bare): 0 at or below bare, 100 at or above full, by definition of the model.

    Raises
    ------
    InputError
        For NDVI outside -1 to 1, and `bare` not below `full`.

    Examples
    --------
    >>> round(vegetation_cover(0.455), 6)
    50.0
    """
    where = "vegetation_cover"
    if not -1 <= bare < full <= 1:
        raise InputError(f"{where}: bare is {bare!r} and full {full!r}, expected -1 <= bare < full <= 1")
    argument = Argument("ndvi", -1.0, 1.0, "1", "NDVI lies within -1 to 1; divide scaled integers by 10000")
    kernel = CellKernel("erosion", "vegetation_cover_cells", where, (float(bare), float(full)))
    attrs = {
        "parents": "ndvi",
        "formula": "dimidiate pixel, 100 (NDVI - bare) / (full - bare)",
        "ndvi_bare": float(bare),
        "ndvi_full": float(full),
    }
    return per_cell(kernel, {argument: ndvi}, variable(where), attrs)
