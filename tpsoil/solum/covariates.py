"""Covariates as columns: numeric, circular (two columns each) and categorical."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.kernels import prototypes
from tpsoil.variables import missing_code, stored_kind

Doubles = npt.NDArray[np.float64]

COVARIATES: Final = (
    "elevation", "slope", "aspect", "slope_length", "slope_position", "general_curvature", "plan_curvature",
    "profile_curvature", "terrain_ruggedness", "ndvi", "topographic_wetness", "parent_material",
    "annual_precipitation", "mean_annual_temperature", "land_cover", "sediment_transport",
)  # fmt: skip
"""The study's pool of 16 (Table 1)."""

DROPPED_BY_STUDY: Final = frozenset(
    {"general_curvature", "sediment_transport", "land_cover", "terrain_ruggedness", "topographic_wetness"}
)
"""Those with a mean decrease in accuracy that was not positive (section 3.1)."""

KEPT_BY_STUDY: Final = tuple(name for name in COVARIATES if name not in DROPPED_BY_STUDY)
"""The eleven covariates of the study's zones."""


@dataclass(frozen=True)
class Columns:
    """Numbers and classes of a set of covariates.

    Parameters
    ----------
    numeric : tuple of str
        Continuous covariates, each one column.
    circular : tuple of str
        Directions, each two columns: sine and cosine. Degrees are never averaged or standardised; flat ground (NaN) is
        (0, 0).
    categorical : tuple of str
        Classes; codes are never standardised.
    """

    numeric: tuple[str, ...]
    circular: tuple[str, ...]
    categorical: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The covariates, in the order of `numbers` and `classes`."""
        return (*self.numeric, *self.circular, *self.categorical)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the number columns."""
        return (*self.numeric, *(f"{part}_{name}" for name in self.circular for part in ("sin", "cos")))

    def numbers(self, layers: Mapping[str, npt.NDArray[Any]]) -> Doubles:
        """(n, f) float64 of flat arrays by name."""
        parts: list[Doubles] = [layers[name].astype(np.float64) for name in self.numeric]
        for name in self.circular:
            parts += prototypes.sine_and_cosine(layers[name].astype(np.float64))
        size = next(iter(layers.values())).size
        return np.stack(parts, axis=1) if parts else np.empty((size, 0))

    def scales(self, numbers: Doubles) -> Doubles:
        """Population standard deviation of each number column; one for the sine and cosine of a direction.

        With separate scales, two directions a degree off north would be as far from each other as north from south.
        """
        spread = numbers.std(axis=0)
        for at in range(len(self.numeric), numbers.shape[1], 2):
            spread[at : at + 2] = np.sqrt((spread[at : at + 2] ** 2).mean())
        return np.asarray(spread)

    def classes(self, layers: Mapping[str, npt.NDArray[Any]], fills: Mapping[str, float]) -> Doubles:
        """(n, c) float64 codes of flat arrays by name; NaN where a code is the layer's fill."""
        parts = []
        for name in self.categorical:
            codes = layers[name].astype(np.float64)
            parts.append(np.where(codes == fills.get(name, np.nan), np.nan, codes))
        size = next(iter(layers.values())).size
        return np.stack(parts, axis=1) if parts else np.empty((size, 0))


def columns_of(names: Iterable[str], categorical: Iterable[str], attrs: Mapping[str, Mapping[str, Any]]) -> Columns:
    """Sort covariates by kind: as declared, else as `tpsoil.variables.stored_kind` has it."""
    kinds = {
        name: "categorical" if name in categorical else stored_kind(name, attrs.get(name, {})) or "continuous"
        for name in names
    }
    of_kind = [tuple(n for n in kinds if kinds[n] == kind) for kind in ("continuous", "circular", "categorical")]
    return Columns(*of_kind)


def fill_of(layer: xr.DataArray) -> float:
    """The value of a layer that means nodata; NaN where there is none.

    As `tpsoil.variables.missing_code`, else by the type: 255 for uint8, the lowest signed integer; of a floating layer
    its `_FillValue`.
    """
    code, kind = missing_code(layer), np.dtype(layer.dtype)
    if kind.kind == "f":
        code = layer.encoding.get("_FillValue", layer.attrs.get("_FillValue"))
    if code is not None:
        return float(code)
    return 255.0 if kind == np.uint8 else float(np.iinfo(kind).min) if kind.kind == "i" else float("nan")


def valid_numbers(values: npt.ArrayLike, layer: xr.DataArray) -> Doubles:
    """Values of a layer as float64, with NaN where they are its nodata value."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(numbers == fill_of(layer), np.nan, numbers)
