"""Inputs of the solum model, checked once before any computation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import is_lazy
from tpsoil.errors import GridError, InputError, MissingInputError, UnitsError, nearest_name
from tpsoil.soil_mask import with_soil_mask
from tpsoil.units import require_unit
from tpsoil.variables import variable

NEEDED: Final = (
    "mean_annual_temperature",
    "annual_precipitation",
    "water_erosion",
    "wind_erosion",
    "general_curvature",
)
"""Layers without which there is no balance."""

BALANCE: Final = (*NEEDED, "depth_to_bedrock")
"""All layers of the balance, in the order of the kernels."""

DEEPEST_M: Final = 1000.0
"""No depth to bedrock in metres is above this."""

SUSPECT_MEDIAN_M: Final = 100.0
"""Median depth above which a layer that does not state its unit is taken for centimetres."""


def values_of(layer: Any) -> npt.NDArray[Any]:
    """The numbers of an eager layer as an array."""
    return np.asarray(layer.values if isinstance(layer, xr.DataArray) else layer)


def as_dataset(layers: xr.Dataset | Mapping[str, Any], where: str) -> xr.Dataset:
    """A Dataset of layers, or of a mapping of names to numbers, arrays or DataArrays; with its complete soil mask."""
    if isinstance(layers, xr.Dataset):
        return with_soil_mask(layers)
    if not isinstance(layers, Mapping):
        raise InputError(f"{where}: layers are a {type(layers).__name__}, expected an xarray.Dataset of named layers")
    dims: dict[int, tuple[str, ...]] = {0: (), 1: ("cell",), 2: ("y", "x")}
    variables: dict[str, xr.DataArray] = {}
    for name, layer in layers.items():
        if isinstance(layer, xr.DataArray):
            variables[str(name)] = layer
        elif np.ndim(layer) in dims:
            variables[str(name)] = xr.DataArray(layer, dims=dims[np.ndim(layer)])
        else:
            raise InputError(f"{where}: '{name}' has {np.ndim(layer)} dimensions, expected at most 2")
    try:
        xr.align(*variables.values(), join="exact", copy=False)
        return with_soil_mask(xr.Dataset(variables))
    except ValueError as error:
        raise GridError(f"{where}: the layers do not share one grid: {error}") from error


def require_layers(layers: xr.Dataset, names: tuple[str, ...], where: str) -> None:
    """All missing layers at once, each with the nearest existing name."""
    missing = [name for name in names if name not in layers]
    if missing:
        hints = "".join(f"\n  - {name}{nearest_name(name, map(str, layers.data_vars))}" for name in missing)
        raise MissingInputError(f"{where}: {len(missing)} needed layer(s) are missing:{hints}")


def check_units(layer: Any, name: str, where: str) -> None:
    """Reject a layer whose `units` attribute is not the catalogue's, and a layer whose values show another unit.

    Parameters
    ----------
    layer : DataArray, ndarray or float
    name : str
        In the catalogue.
    where : str
        Name in error messages.

    Raises
    ------
    UnitsError
        For other units; for eager temperatures that are all above 100 (kelvin); for an eager depth to bedrock above
        1000, or, without the attribute, with a median above 100 (centimetres).
    """
    spec = variable(name)
    declared = str(layer.attrs.get("units", "")).strip() if isinstance(layer, xr.DataArray) else ""
    require_unit(where, name, layer, spec.units, fix="tpsoil.add_layer converts: pass units= to it", period=spec.period)
    if name not in {"mean_annual_temperature", "depth_to_bedrock"} or is_lazy(layer):
        return
    values = values_of(layer)
    if values.dtype.kind not in "fiu":
        return
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return
    if name == "mean_annual_temperature" and finite.min() > 100:
        raise UnitsError(
            f"{where}: {name} is {finite.min():g}..{finite.max():g}, expected degC; this looks like kelvin, "
            "subtract 273.15 or pass units='K' to add_layer"
        )
    if name == "depth_to_bedrock" and (
        finite.max() > DEEPEST_M or (not declared and float(np.median(finite)) > SUSPECT_MEDIAN_M)
    ):
        raise UnitsError(
            f"{where}: {name} is {finite.min():g}..{finite.max():g}, median {np.median(finite):g}, expected metres; "
            "this looks like centimetres: divide by 100, or set attrs['units'] = 'm' if these are metres"
        )


def reject_scalar(name: str, value: float, low: float, high: float, where: str) -> None:
    """Raise for a number out of its domain; NaN passes."""
    if not (np.isnan(value) or low <= value <= high):
        spec = variable(name)
        raise InputError(f"{where}: {name} is {value:g} {spec.units}, expected {low:g} to {high:g}")


def ascending_levels(probabilities: Iterable[float], where: str) -> tuple[float, ...]:
    """Probabilities of quantiles, rejected where they do not ascend within 0 to 1."""
    levels = tuple(float(p) for p in probabilities)
    if not levels or any(not 0 <= p <= 1 for p in levels) or list(levels) != sorted(set(levels)):
        raise InputError(f"{where}: probabilities are {levels}, expected ascending numbers from 0 to 1")
    return levels


def float_type(*layers: Any) -> np.dtype[Any]:
    """float32 where every array is at most float32, else float64; plain numbers are ignored.

    float32 layers of a cube give float32; float64 input gives float64.
    """
    kinds = [np.dtype(layer.dtype) for layer in layers if getattr(layer, "ndim", 0) > 0]
    small = bool(kinds) and all(kind.kind == "f" and kind.itemsize <= 4 for kind in kinds)
    return np.dtype(np.float32 if small else np.float64)
