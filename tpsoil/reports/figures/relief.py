"""Whether the relief of a store's DEM shades a map."""

from __future__ import annotations

from typing import Final

import xarray as xr

from . import palette
from .reading import pick

DEM: Final = "elevation"


def relief_of(store: xr.Dataset, name: str) -> xr.DataArray | None:
    """The elevation of a store, where it shades the map of a layer.

    Parameters
    ----------
    store : Dataset (y, x)
    name : str
        Of the layer that is drawn.

    Returns
    -------
    DataArray (y, x), m, or None
        None without elevation, for classes, and for diverging and circular layers, whose middle is pale or whose
        lightness has a meaning.

    Examples
    --------
    >>> import numpy as np
    >>> cube = xr.Dataset({key: (("y", "x"), np.ones((2, 2))) for key in ("elevation", "slope", "aspect")})
    >>> relief_of(cube, "slope") is None, relief_of(cube, "aspect") is None
    (False, True)
    """
    if DEM not in store or name not in store or set(store[DEM].dims) != {"y", "x"}:
        return None
    layer = pick(store, name)
    if palette.layer_kind(layer) != "continuous" or palette.colour_map(layer) == palette.DIVERGING:
        return None
    return pick(store, DEM)
