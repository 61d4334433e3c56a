"""Effective energy and mass transfer (science sheet, section 1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.kernels import pedogenesis
from tpsoil.variables import Variable, variable

from .inputs import check_units, float_type, reject_scalar, values_of

Cells = TypeVar("Cells", float, npt.NDArray[Any], xr.DataArray)
"""A number, an array or a labelled layer; functions return the kind that they are called with."""

log = logging.getLogger("tpsoil.solum")


def typed(name: str, dtype: object) -> Variable:
    """The catalogue's entry with the float type of the inputs."""
    spec = variable(name)
    return spec if spec.kind == "categorical" else replace(spec, dtype=str(dtype))


@dataclass(frozen=True)
class FlatKernel:
    """A kernel for flat arrays of one dtype, applied to blocks."""

    name: str
    dtype: str

    def __call__(self, *blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
        flat = (block.reshape(-1).astype(self.dtype, copy=False) for block in blocks)
        return np.asarray(getattr(pedogenesis, self.name)(*flat)).reshape(blocks[0].shape)


def eemt(mean_annual_temperature: Cells | float, annual_precipitation: Cells | float) -> Cells:
    """Effective energy and mass transfer to the subsurface.

    Parameters
    ----------
    mean_annual_temperature : float, ndarray or DataArray, degC
    annual_precipitation : float, ndarray or DataArray, mm
        >= 0.

    Returns
    -------
    float, ndarray or DataArray, kJ m-2 a-1
        The type of the input, lazy if the input is lazy, float32 where every array is float32. NaN where an input is
        NaN and, in arrays, where precipitation is negative or the temperature is outside -100..100 degC.

    Raises
    ------
    InputError
        For a negative or infinite precipitation, or a temperature outside -100..100 degC, as a number.
    UnitsError
        For a temperature above 100 as a number, an array of them, or a DataArray whose units are not degC or mm.

    Notes
    -----
    ``347134 exp{-1/2 [((T - 21.5)/10.1)^2 + ((P - 4412)/1704)^2]}`` (Eq. 5). The sign that Eq. 5 prints before 10.1
    does not matter. It rises monotonically only for T < 21.5 degC and P < 4412 mm; values beyond are logged. It does
    not vanish under permanent frost: 0 degC and 0 mm give 1261.14. Pixelwise: EEMT at a zone's mean climate is not the
    zone's mean EEMT.

    References
    ----------
    Rasmussen, C. and Tabor, N. J. (2007), Soil Science Society of America Journal 71. doi:10.2136/sssaj2007.0051

    Examples
    --------
    >>> round(eemt(10.0, 1000.0), 5)
    24453.96863
    """
    check_units(mean_annual_temperature, "mean_annual_temperature", "eemt")
    check_units(annual_precipitation, "annual_precipitation", "eemt")
    if np.ndim(mean_annual_temperature) == 0 and np.ndim(annual_precipitation) == 0:
        return cast(Cells, _eemt_of_numbers(mean_annual_temperature, annual_precipitation))
    dtype = float_type(mean_annual_temperature, annual_precipitation)
    kernel, outputs = FlatKernel("energy_field", str(dtype)), [typed("eemt", dtype)]
    return cast(Cells, map_pixels(kernel, mean_annual_temperature, annual_precipitation, outputs=outputs)[0])


def _eemt_of_numbers(temperature: Any, precipitation: Any) -> float | xr.DataArray:
    t, p = float(values_of(temperature)), float(values_of(precipitation))
    reject_scalar("mean_annual_temperature", t, -100, 100, "eemt")
    reject_scalar("annual_precipitation", p, 0, np.finfo(float).max, "eemt")
    if t > 21.5 or p > 4412:
        log.warning("eemt: T %g degC, P %g mm are beyond the maximum at 21.5 degC, 4412 mm; EEMT falls there", t, p)
    energy = float(pedogenesis.energy(t, p))
    if isinstance(temperature, xr.DataArray) or isinstance(precipitation, xr.DataArray):
        return xr.DataArray(energy, name="eemt", attrs=variable("eemt").attributes())
    return energy
