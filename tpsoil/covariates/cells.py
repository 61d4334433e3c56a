"""Formulas of single cells on numbers, arrays and lazy layers; and of a cell's months or days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import is_lazy, map_pixels
from tpsoil.errors import GridError, InputError
from tpsoil.grid import require_same_grid
from tpsoil.units import Period, require_unit
from tpsoil.variables import Variable

from .ranges import require_range

Array = npt.NDArray[Any]
Cells = TypeVar("Cells", float, Array, xr.DataArray)
"""A number, an array or a labelled layer; formulas return the kind that they are called with."""


@dataclass(frozen=True)
class Argument:
    """Requirements of a formula on one of its inputs.

    Parameters
    ----------
    name : str
    low, high : float
        Range, both ends allowed.
    units : str
        Unit that a DataArray must have where it states one; not checked where empty.
    fix : str
        What to do with a value outside.
    period : str
        Of an amount, see `tpsoil.units.conversion`.
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    units: str = ""
    fix: str = "check its units and nodata value"
    period: Period = ""


ADD_LAYER: Final = "tpsoil.add_layer converts: pass units= to it"


@dataclass(frozen=True)
class CellKernel:
    """A kernel of flat float64 arrays on blocks of any shape, with the checks of its inputs."""

    module: str
    function: str
    where: str
    options: tuple[Any, ...] = ()
    arguments: tuple[Argument, ...] = ()

    def __call__(self, *blocks: Array) -> Any:
        for argument, block in zip(self.arguments, blocks):
            require_range(self.where, argument.name, block, argument.low, argument.high, argument.fix)
        self.check(*blocks)
        shape = blocks[0].shape
        flat = [np.ascontiguousarray(block, dtype=np.float64).reshape(-1) for block in blocks]
        kernel = getattr(import_module(f"tpsoil.kernels.{self.module}"), self.function)
        result = kernel(*flat, *(np.asarray(o) if isinstance(o, tuple) else o for o in self.options))
        if isinstance(result, tuple):
            return tuple(layer.reshape(shape) for layer in result)
        return result.reshape(shape)

    def check(self, *blocks: Array) -> None:
        """Checks between inputs; none here."""


def per_cell(
    kernel: CellKernel,
    inputs: Mapping[Argument, Cells | float],
    output: Variable,
    attrs: Mapping[str, Any] | None = None,
) -> Cells:
    """Apply a formula with one result, as `each_per_cell`."""
    (result,) = each_per_cell(kernel, inputs, [output], attrs)
    return result


def each_per_cell(
    kernel: CellKernel,
    inputs: Mapping[Argument, Cells | float],
    outputs: Sequence[Variable],
    attrs: Mapping[str, Any] | None = None,
) -> tuple[Cells, ...]:
    """Apply a formula to numbers, arrays or DataArrays; the result has the same kind.

    Parameters
    ----------
    kernel : CellKernel
        Without `arguments`, which are those of the inputs.
    inputs : mapping of Argument to float, ndarray or DataArray
        In the kernel's order.
    outputs : sequence of Variable
    attrs : mapping, optional

    Returns
    -------
    tuple of float, ndarray or DataArray
        float32 where every array is float32, else float64; lazy where any input is.

    Raises
    ------
    UnitsError
        Where a DataArray's units contradict the formula's.
    GridError
        Where the layers do not share one grid.
    InputError
        For values outside an argument's range: at once in memory, while computing where lazy.
    """
    kernel = replace(kernel, arguments=tuple(inputs))
    plain = tuple(_plain_array(layer) for layer in inputs.values())
    for argument, layer in zip(kernel.arguments, plain):
        if argument.units:
            require_unit(kernel.where, argument.name, layer, argument.units, fix=ADD_LAYER, period=argument.period)
    require_one_grid(*plain, where=kernel.where)
    arrays = [layer for layer in plain if isinstance(layer, xr.DataArray | np.ndarray)]
    _require_shapes(kernel.where, arrays)
    if not arrays:
        numbers = kernel(*(np.asarray([float(layer)]) for layer in plain))
        return tuple(part.reshape(-1)[0].item() for part in (numbers if isinstance(numbers, tuple) else (numbers,)))
    results = map_pixels(kernel, *plain, outputs=[typed_as(spec, *arrays) for spec in outputs], attrs=attrs)
    return cast(tuple[Cells, ...], results)


def typed_as(spec: Variable, *arrays: Any) -> Variable:
    """A layer in float32 where all arrays are, else in float64; a class layer as it is."""
    single = all(array.dtype == np.float32 for array in arrays)
    return spec if single or spec.kind == "categorical" else replace(spec, dtype="float64")


def as_given(result: xr.DataArray, given: Any) -> xr.DataArray | float | Array:
    """A result labelled where the input was; else an array, or a number of one series."""
    if isinstance(given, xr.DataArray):
        return result
    return float(result.item()) if result.ndim == 0 else result.values


def _plain_array(layer: Any) -> Any:
    """Series and sequences as arrays; numbers, arrays and DataArrays as they are."""
    if isinstance(layer, xr.DataArray | np.ndarray) or np.isscalar(layer):
        return layer
    return np.asarray(layer, dtype=np.float64)


def per_series(
    kernel: Any, *stacks: xr.DataArray, dim: str, output: Variable, attrs: Mapping[str, Any] | None = None
) -> xr.DataArray:
    """Apply a kernel to every cell's series along `dim`.

    Parameters
    ----------
    kernel : callable
        Of flat cells: `kernel(*arrays)`, (n, k) for a stack with `dim`, (n,) for one without; returns (n,).
    *stacks : DataArray
    dim : str
        Brought into one chunk; the cells keep theirs.
    output : Variable
    attrs : mapping, optional

    Returns
    -------
    DataArray
        Without `dim`; lazy where any stack is.
    """
    lazy = is_lazy(*stacks)
    joined = [stack.chunk({dim: -1}) if is_lazy(stack) and dim in stack.dims else stack for stack in stacks]
    plain = [stack.drop_vars("spatial_ref", errors="ignore") for stack in joined]
    result: xr.DataArray = xr.apply_ufunc(
        partial(_by_series, kernel=kernel, dtype=output.dtype, along=tuple(dim in stack.dims for stack in stacks)),
        *plain,
        input_core_dims=[[dim] if dim in stack.dims else [] for stack in stacks],
        dask="parallelized" if lazy else "forbidden",
        output_dtypes=[np.dtype(output.dtype)],
        join="exact",
        keep_attrs=False,
    )
    if "spatial_ref" in stacks[0].coords:
        result = result.assign_coords(spatial_ref=stacks[0].coords["spatial_ref"])
    result.name = output.name
    result.attrs = {**output.attributes(), **(attrs or {})}
    return result


def _by_series(*blocks: Array, kernel: Any, dtype: str, along: tuple[bool, ...]) -> Array:
    shape = next(block.shape[:-1] if has_dim else block.shape for block, has_dim in zip(blocks, along))
    cells = int(np.prod(shape))
    flat = [
        np.ascontiguousarray(block if has_dim else np.broadcast_to(block, shape), dtype=np.float64).reshape(
            (cells, block.shape[-1]) if has_dim else (cells,)
        )
        for block, has_dim in zip(blocks, along)
    ]
    return np.asarray(kernel(*flat), dtype=dtype).reshape(shape)


def require_one_grid(*layers: Any, where: str) -> None:
    """Reject labelled layers that do not share one grid; without a CRS equal coordinates are required later."""
    located = [layer for layer in layers if isinstance(layer, xr.DataArray) and _located(layer)]
    if len(located) > 1:
        require_same_grid(*located, where=where)


def _located(layer: xr.DataArray) -> bool:
    return layer.ndim >= 2 and min(layer.shape[-2:]) > 1 and layer.odc.crs is not None


def _require_shapes(where: str, arrays: Sequence[Any]) -> None:
    plain = [array.shape for array in arrays if isinstance(array, np.ndarray)]
    try:
        np.broadcast_shapes(*plain)
    except ValueError:
        raise GridError(f"{where}: arrays have shapes {plain}, expected one shape; bring them onto one grid") from None
    labelled = [array for array in arrays if isinstance(array, xr.DataArray) and array.ndim]
    if labelled and any(len(shape) for shape in plain):
        raise InputError(f"{where}: DataArrays and plain arrays are mixed, expected one kind; label the arrays")


def labelled_series(where: str, values: Any, dim: str, name: str = "precipitation") -> xr.DataArray:
    """A series with a named dim: a DataArray as it is, an array or sequence with the series first."""
    stack = values if isinstance(values, xr.DataArray) else _labelled(where, values, dim)
    if dim not in stack.dims:
        raise InputError(f"{where}: {name} has dims {stack.dims}, expected '{dim}' among them")
    if dim == "month" and stack.sizes[dim] != 12:
        raise InputError(f"{where}: there are {stack.sizes[dim]} months, expected 12; see monthly_means")
    return stack


def _labelled(where: str, values: Any, dim: str) -> xr.DataArray:
    array = np.asarray(values, dtype=getattr(values, "dtype", np.float64))
    if array.ndim == 0:
        raise InputError(f"{where}: got one number, expected a series along '{dim}'")
    return xr.DataArray(array, dims=(dim, *(f"cell_{k}" for k in range(array.ndim - 1))))
