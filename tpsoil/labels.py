"""Names, coordinates and attributes of layers: of those that kernels return, and what an array declares as missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from .variables import Variable

MISSING_KEYS: Final = ("_FillValue", "missing_value", "nodata")
"""Attributes with numbers that mean missing."""


def label(result: Any, template: xr.DataArray, spec: Variable, attrs: Mapping[str, Any] | None) -> xr.DataArray:
    """An array as the layer of a specification.

    Parameters
    ----------
    result : ndarray or dask array
    template : DataArray
        Gives dims and coordinates; not changed.
    spec : Variable
        Gives name, attributes and, of classes, the missing code.
    attrs : mapping or None
        Added to the attributes.
    """
    return described(template.copy(deep=False, data=result), spec, attrs)


def described(layer: xr.DataArray, spec: Variable, attrs: Mapping[str, Any] | None = None) -> xr.DataArray:
    """In place: an array gets the name, the attributes and, of classes, the missing code of a specification.

    Examples
    --------
    >>> from tpsoil.variables import variable
    >>> described(xr.DataArray([0.5]), variable("ndvi"), {"source": "MOD13"}).attrs["source"]
    'MOD13'
    """
    layer.name, layer.attrs = spec.name, {**spec.attributes(), **(attrs or {})}
    layer.encoding = {"_FillValue": spec.fill} if spec.kind == "categorical" else {}
    return layer


def stated_fills(array: xr.DataArray | xr.Variable) -> tuple[float, ...]:
    """Numbers that mean missing by the attributes of an array, and by the encoding of integers.

    Examples
    --------
    >>> stated_fills(xr.DataArray([0.0], attrs={"_FillValue": -9999.0}))
    (-9999.0,)
    """
    fills = [array.attrs[key] for key in MISSING_KEYS if array.attrs.get(key) is not None]
    if array.dtype.kind in "iub" and "_FillValue" in array.encoding:
        fills.append(array.encoding["_FillValue"])  # floats with it are decoded: their missing values are NaN already
    return tuple(float(fill) for value in fills for fill in np.atleast_1d(value))


def without_codes(cube: xr.Dataset) -> xr.Dataset:
    """A cube whose floating layers have NaN in place of the numbers that their attributes state as missing.

    Parameters
    ----------
    cube : Dataset
        Not changed.

    Returns
    -------
    Dataset
        Lazy where the cube is, without those attributes; the cube itself where no floating layer has one.

    Examples
    --------
    >>> cube = xr.Dataset({"ndvi": ("x", [0.5, -9999.0], {"missing_value": -9999.0})})
    >>> without_codes(cube)["ndvi"].values.tolist()
    [0.5, nan]
    """
    decoded = {}
    for name in cube.data_vars:
        if cube.variables[name].dtype.kind == "f" and (fills := stated_fills(cube.variables[name])):
            layer = cube[name]
            attrs = {key: value for key, value in layer.attrs.items() if key not in MISSING_KEYS}
            decoded[name] = (
                layer.where(~layer.isin(np.array(fills, dtype=layer.dtype))).drop_attrs().assign_attrs(attrs)
            )
    return cube.assign(decoded) if decoded else cube


def dataset_of(results: Sequence[Any], attrs: Mapping[str, Any] | None = None) -> xr.Dataset:
    """The layers that one call of `map_pixels` or `map_windows` returned, as a Dataset.

    Parameters
    ----------
    results : sequence of DataArray
        On the same coordinates, which are not compared again: that takes longer than many a kernel.
    attrs : mapping, optional
        Of the Dataset.

    Returns
    -------
    Dataset
        Each layer by its name.

    Examples
    --------
    >>> from tpsoil.blocks import map_pixels
    >>> from tpsoil.variables import variable
    >>> height = xr.DataArray([[0.0, 0.0]], coords={"y": [0.5], "x": [0.5, 1.5]}, dims=("y", "x"))
    >>> dataset_of(map_pixels(lambda z: z + 1, height, outputs=[variable("elevation")]))["elevation"].values.tolist()
    [[1.0, 1.0]]
    """
    return xr.Dataset({str(layer.name): layer.variable for layer in results}, coords=results[0].coords, attrs=attrs)


def share_indexes(layers: Sequence[xr.DataArray]) -> bool:
    """Whether all layers have the dims, the shape and the very indexes of the first, as those of one Dataset."""
    return all(
        (layer.dims, layer.shape) == (layers[0].dims, layers[0].shape)
        and all(layer.xindexes.get(dim) is layers[0].xindexes.get(dim) for dim in layer.dims)
        for layer in layers[1:]
    )
