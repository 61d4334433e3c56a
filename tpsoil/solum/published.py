"""Zones by the nearest of the study's eight published clusters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.constants import SOLUM_STUDY
from tpsoil.kernels import prototypes
from tpsoil.variables import variable

from .inputs import as_dataset, check_units, require_layers
from .parameters import PUBLISHED_ZONES
from .thickness import codes_of

LAYERS: Final = ("elevation", "mean_annual_temperature", "annual_precipitation", "ndvi")


def _nearest(*arguments: Any, masked: bool) -> npt.NDArray[np.uint8]:
    """Assigns the rows of one chunk to the nearest centre."""
    *blocks, (centres, scale) = arguments
    layers = np.stack([block.reshape(-1).astype(np.float64, copy=False) for block in blocks[: len(LAYERS)]])
    soil = codes_of(blocks[-1]) == 1 if masked else np.ones(layers.shape[1], bool)
    zone: npt.NDArray[np.uint8] = prototypes.nearest_centre(layers, centres, scale, soil)
    return (zone + (zone < 255)).astype(np.uint8).reshape(blocks[0].shape)


def published_zones(layers: xr.Dataset | Mapping[str, Any]) -> xr.DataArray:
    """The published cluster whose mean environment is nearest.

    Parameters
    ----------
    layers : Dataset
        `elevation` (m), `mean_annual_temperature` (degC), `annual_precipitation` (mm), `ndvi` (1); optional
        `soil_mask`. Numbers, numpy or dask.

    Returns
    -------
    DataArray
        `zone`, uint8: 1 to 8, 255 where a layer is NaN or `soil_mask` is not 1. Lazy where a layer is lazy.

    Raises
    ------
    MissingInputError
        For missing layers, all at once.
    UnitsError
        For layers in other units.
    GridError
        Where layers do not share one grid.

    Notes
    -----
    Squared Euclidean distance to the means of Table 3, each variable divided by the population standard deviation of
    its eight published means (elevation 1030 m, temperature 5.18 degC, precipitation 196 mm, NDVI 0.244). The study's
    scaling is not published, and fixed numbers keep the zone of a cell independent of the region and chunks
    around it. Of two equally near clusters the lower one is used. A substitute for the study's k-prototypes
    clusters, which used eleven layers: it reproduces their means, not their boundaries.

    Examples
    --------
    >>> cell = dict(elevation=2136.0, mean_annual_temperature=13.09, annual_precipitation=832.41, ndvi=0.86)
    >>> int(published_zones(cell))
    1
    """
    where = "solum.published_zones"
    data = as_dataset(layers, where)
    require_layers(data, LAYERS, where)
    for name in LAYERS:
        check_units(data[name], name, where)
    centres = np.array([[getattr(means, name) for name in LAYERS] for means in PUBLISHED_ZONES.values()])
    masked = "soil_mask" in data
    names = (*LAYERS, "soil_mask") if masked else LAYERS
    (zone,) = map_pixels(
        partial(_nearest, masked=masked),
        *(data[name] for name in names),
        outputs=[variable("zone")],
        shared=(centres, centres.std(axis=0)),
        attrs={
            "flag_values": list(PUBLISHED_ZONES),
            "flag_meanings": " ".join(f"published_cluster_{zone}" for zone in PUBLISHED_ZONES),
            "references": SOLUM_STUDY,
        },
    )
    return xr.DataArray(zone)
