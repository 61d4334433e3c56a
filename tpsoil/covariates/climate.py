"""Climate: means over years from monthly stacks, lapse-rate downscaling, evapotranspiration, aridity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError
from tpsoil.grid import require_same_grid
from tpsoil.variables import variable

from .ranges import require_units

Array = npt.NDArray[Any]
CELSIUS: Final = ("degC", "celsius", "°C", "deg_C", "degrees_celsius", "C")
MILLIMETRES: Final = ("mm", "millimetre", "mm a-1", "mm/a", "mm year-1", "mm yr-1", "mm month-1", "kg m-2")
STANDARD_LAPSE_RATE_K_KM: Final = 6.5
"""Fall of temperature with height in the ICAO standard atmosphere, K km-1."""


def lapse_rate_downscaling(
    temperature: xr.DataArray,
    coarse_elevation: xr.DataArray,
    elevation: xr.DataArray,
    *,
    lapse_rate_k_km: float = STANDARD_LAPSE_RATE_K_KM,
) -> xr.DataArray:
    """Air temperature carried from the ground of a coarse grid to the ground of a fine one.

    Parameters
    ----------
    temperature : DataArray (y, x), degC
        Coarse temperature, brought bilinearly to the fine grid.
    coarse_elevation : DataArray (y, x), m
        The ground the coarse temperature belongs to: average the DEM over the cells of the coarse grid, then bring that
        average bilinearly to the fine grid, exactly as the temperature was. Where the coarse temperature comes with
        its own orography, use that instead. The fine DEM itself, or one interpolated from it, leaves relief out of
        the correction.
    elevation : DataArray (y, x), m
        The fine DEM.
    lapse_rate_k_km : float
        Fall of temperature with height, K km-1; positive where it is colder higher up.

    Returns
    -------
    DataArray (y, x), float32, degC
        `mean_annual_temperature` on the fine grid. NaN where any input is missing.

    Raises
    ------
    GridError
        Where the three do not lie on one grid.
    UnitsError
        For kelvin, feet, or any unit but degC and m.
    InputError
        For a lapse rate outside -20..20 K km-1 (a rate in K m-1 or of the wrong sign convention is a usual mistake).

    Notes
    -----
    T = T_coarse + rate (z_coarse - z). On a coarse grid whose cells average to themselves the fine temperatures average
    back to the coarse ones, because the mean of z over a cell is z_coarse there; the bilinear step blurs this.

    Examples
    --------
    >>> box = {"y": [1500.0, 500.0], "x": [500.0, 1500.0]}
    >>> def field(values): return xr.DataArray(values, coords=box, dims=("y", "x"))
    >>> warm, low = field([[2.0, 2.0], [2.0, 2.0]]), field([[4000.0, 4000.0], [4000.0, 4000.0]])
    >>> lapse_rate_downscaling(warm, low, field([[4000.0, 5000.0], [3000.0, 4000.0]])).values.tolist()
    [[2.0, -4.5], [8.5, 2.0]]
    """
    where = "lapse_rate_downscaling"
    if not np.isfinite(lapse_rate_k_km) or abs(lapse_rate_k_km) > 20:
        raise InputError(f"{where}: lapse_rate_k_km is {lapse_rate_k_km!r}, expected K km-1 between -20 and 20")
    require_units(where, "temperature", temperature, CELSIUS, "pass units='K' to tpsoil.add_layer, which converts")
    for name, layer in (("coarse_elevation", coarse_elevation), ("elevation", elevation)):
        require_units(where, name, layer, ("m", "metre", "meter"), "pass units= to tpsoil.add_layer, which converts")
    require_one_grid(temperature, coarse_elevation, elevation, where=where)
    (result,) = map_pixels(
        _Lapse(lapse_rate_k_km / 1000.0),
        temperature,
        coarse_elevation,
        elevation,
        outputs=[variable("mean_annual_temperature")],
        attrs={
            "parents": "temperature coarse_elevation elevation",
            "formula": "coarse temperature + lapse rate x (coarse elevation - elevation)",
            "lapse_rate_k_km": float(lapse_rate_k_km),
        },
    )
    return cast(xr.DataArray, result)


@dataclass(frozen=True)
class _Lapse:
    rate_k_m: float

    def __call__(self, temperature: Array, coarse: Array, fine: Array) -> Array:
        return cast(
            Array,
            temperature.astype(np.float64) + self.rate_k_m * (coarse.astype(np.float64) - fine.astype(np.float64)),
        )


def require_one_grid(*layers: Any, where: str) -> None:
    """Refuse labelled layers that do not share one grid; layers without a CRS are held to equal coordinates later."""
    located = [layer for layer in layers if isinstance(layer, xr.DataArray) and layer.odc.crs is not None]
    if len(located) > 1:
        require_same_grid(*located, where=where)
