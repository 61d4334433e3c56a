"""Potential evapotranspiration of a year from monthly temperatures and latitude."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import Transformer

from tpsoil.blocks import is_lazy
from tpsoil.errors import InputError, require_one_of
from tpsoil.grid import grid_of
from tpsoil.kernels import climate as kernels
from tpsoil.tiles import from_tiles
from tpsoil.units import require_unit
from tpsoil.variables import variable

from .cells import ADD_LAYER, as_given, labelled_series, per_series, typed_as
from .ranges import require_range

Array = npt.NDArray[Any]
EVAPORATION: Final = {
    "hargreaves": "0.0023 0.408 Ra (Tmean + 17.8) sqrt(Tmax - Tmin), Hargreaves and Samani 1985",
    "thornthwaite": "16 (N/12) (d/30) (10 T/I)^a, Thornthwaite 1948; nothing at or below 0 degC",
}


@overload
def potential_evapotranspiration(
    *,
    method: str,
    temperature: xr.DataArray | None = ...,
    minimum: xr.DataArray | None = ...,
    maximum: xr.DataArray | None = ...,
    latitude: xr.DataArray | float | None = ...,
) -> xr.DataArray: ...
@overload
def potential_evapotranspiration(
    *,
    method: str,
    temperature: Sequence[Any] | Array | None = ...,
    minimum: Sequence[Any] | Array | None = ...,
    maximum: Sequence[Any] | Array | None = ...,
    latitude: xr.DataArray | float | None = ...,
) -> float | Array: ...
def potential_evapotranspiration(
    *,
    method: str,
    temperature: Any = None,
    minimum: Any = None,
    maximum: Any = None,
    latitude: Any = None,
) -> xr.DataArray | float | Array:
    """Annual potential evapotranspiration from twelve months.

    Parameters
    ----------
    method : {"hargreaves", "thornthwaite"}
        Hargreaves needs `minimum` and `maximum`; Thornthwaite `temperature`. Thornthwaite gives too little in dry, cold
        mountains. There is no default: the aridity index follows the choice.
    temperature, minimum, maximum : degC
        Monthly means of the day, of its minimum and of its maximum: DataArray with dim `month`, or an array or
        sequence with the months first.
    latitude : degrees north, optional
        Number or DataArray; by default from the grid of a DataArray.

    Returns
    -------
    float, ndarray or DataArray, mm
        Sum over the year. NaN where any month is, and where a minimum exceeds its maximum.

    Raises
    ------
    InputError
        For an unknown method, temperatures that belong to the other one, other than twelve months, values outside
        -100 to 100 degC, latitudes beyond the poles.
    UnitsError
        For temperatures not in degC.

    Notes
    -----
    Radiation at the top of the atmosphere Ra and daylight N on the middle day of each month: FAO 56.

    References
    ----------
    Allen et al. 1998, FAO Irrigation and Drainage Paper 56. Hargreaves and Samani 1985, Applied Engineering in
    Agriculture 1, 96-99. Thornthwaite 1948, Geographical Review 38, 55-94.

    Examples
    --------
    >>> cold, warm = np.full(12, 14.8), np.full(12, 26.6)
    >>> round(potential_evapotranspiration(method="hargreaves", minimum=cold, maximum=warm, latitude=45.72))
    1183
    """
    where = "potential_evapotranspiration"
    require_one_of(where, "method", method, EVAPORATION)
    inputs = {"temperature": temperature, "minimum": minimum, "maximum": maximum}
    required = ("temperature",) if method == "thornthwaite" else ("minimum", "maximum")
    names = [name for name, value in inputs.items() if value is not None]
    if set(names) != set(required):
        got = " and ".join(names) or "nothing"
        raise InputError(f"{where}: method '{method}' requires {' and '.join(required)}, got {got}")
    stacks = []
    for name in required:
        require_unit(where, name, inputs[name], "degC", fix=ADD_LAYER)
        stacks.append(labelled_series(where, inputs[name], "month", name))
    if latitude is None:
        if not isinstance(inputs[required[0]], xr.DataArray):
            raise InputError(f"{where}: plain numbers have no latitude; pass latitude=")
        latitude = latitude_layer(stacks[0].isel(month=0, drop=True))
    require_unit(where, "latitude", latitude, "degree", fix="latitude is in degrees north")
    if not isinstance(latitude, xr.DataArray):
        latitude = xr.full_like(stacks[0].isel(month=0, drop=True), float(latitude), dtype=np.float64)
    result = per_series(
        partial(_demand, method=method),
        *stacks,
        latitude,
        dim="month",
        output=typed_as(variable(where), *stacks),
        attrs={"formula": EVAPORATION[method], "method": method, "parents": " ".join(required)},
    )
    return as_given(result, inputs[required[0]])


def latitude_layer(layer: xr.DataArray) -> xr.DataArray:
    """Latitude of every cell of a layer's grid.

    Parameters
    ----------
    layer : DataArray (y, x)
        With a CRS.

    Returns
    -------
    DataArray (y, x), float64, degrees north
        WGS84; lazy where `layer` is.

    Raises
    ------
    GridError
        Without a CRS.

    Examples
    --------
    >>> import rioxarray
    >>> dem = xr.DataArray(np.zeros((2, 2)), coords={"y": [35.0, 34.0], "x": [90.0, 91.0]}, dims=("y", "x"))
    >>> latitude_layer(dem.rio.write_crs("EPSG:4326")).values[:, 0].tolist()
    [35.0, 34.0]
    """
    box = grid_of(layer, where="latitude_layer")
    read = partial(_latitude, crs=str(box.crs.to_wkt()), transform=tuple(box.transform)[:6])
    shape = (int(box.shape[0]), int(box.shape[1]))
    if is_lazy(layer):
        data = from_tiles(read, shape, (layer.chunks or ((), ()))[-2:], "float64")
    else:
        data = read(slice(0, shape[0]), slice(0, shape[1]))
    return xr.DataArray(data, dims=layer.dims, coords=layer.coords, name="latitude", attrs={"units": "degrees_north"})


def _latitude(rows: slice, columns: slice, *, crs: str, transform: tuple[float, ...]) -> Array:
    a, b, c, d, e, f = transform
    y, x = np.meshgrid(
        np.arange(rows.start, rows.stop) + 0.5, np.arange(columns.start, columns.stop) + 0.5, indexing="ij"
    )
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return np.asarray(to_degrees.transform(a * x + b * y + c, d * x + e * y + f)[1])


def _demand(*arrays: Array, method: str) -> Array:
    where = "potential_evapotranspiration"
    *temperatures, latitude = arrays
    for values in temperatures:
        require_range(where, "temperature", values, -100.0, 100.0, "temperatures are in degC")
    require_range(where, "latitude", latitude, -90.0, 90.0, "latitude is in degrees north")
    if method == "thornthwaite":
        return kernels.thornthwaite_year(temperatures[0], latitude)
    return kernels.hargreaves_year(temperatures[0], temperatures[1], latitude)
