"""Layers as the mass balance of `[solum]` reads them: assumed constants, normalised water erosion, zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from pydantic import Field

from tpsoil.soil_mask import with_soil_mask
from tpsoil.solum import SolumParameters, published_zones
from tpsoil.stage import Stage
from tpsoil.variables import variable

from .section import Section
from .solum_options import OF_PROFILES, solum_parameters

REFERENCE_MEAN: Final = 2.76
"""t ha-1 a-1, plateau mean of the water erosion that Table 4 was fitted to, Teng et al. 2018."""
PAIRING: Final = (
    "alpha and beta of Table 4 were fitted to the study's own erosion grids (water: plateau mean 2.76 t ha-1 a-1, Teng "
    "et al. 2018); they do not belong to another grid"
)


class Assumption(Section):
    """A constant for a layer without measurements; it is recorded in every map that depends on it.

    Parameters
    ----------
    value : float
        In the catalogue's unit of the layer.
    reason : str
        Why this value; for the reader of the map.
    units : str, optional
        Unit of `value`, checked against the catalogue.
    """

    value: float = Field(allow_inf_nan=False)
    reason: str = Field(min_length=1)
    units: str | None = None


class ErosionNormalisation(Section):
    """`[solum.erosion_normalisation]`: water erosion times reference_mean / mean, for the published parameters.

    Parameters
    ----------
    mean : float
        Plateau mean of the water erosion of this run, t ha-1 a-1.
    reference_mean : float
        Plateau mean of the erosion that the parameters were fitted to, t ha-1 a-1.
    """

    mean: float = Field(gt=0, allow_inf_nan=False)
    reference_mean: float = Field(default=REFERENCE_MEAN, gt=0, allow_inf_nan=False)

    @property
    def factor(self) -> float:
        """What water erosion is multiplied by."""
        return self.reference_mean / self.mean

    @property
    def text(self) -> str:
        """For the attributes of the maps."""
        return (
            f"water erosion times {self.factor:.4g}: reference mean {self.reference_mean:g} over mean {self.mean:g} "
            "t ha-1 a-1"
        )


def normalised(layers: xr.Dataset, normalisation: ErosionNormalisation | None) -> xr.Dataset:
    """Layers with the water erosion that the thickness is computed with."""
    if normalisation is None:
        return layers
    loss = layers["water_erosion"]
    return layers.assign(water_erosion=(loss * normalisation.factor).astype(loss.dtype).assign_attrs(loss.attrs))


def pairing_notes(normalisation: ErosionNormalisation | None, _tallies: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for a run that uses the published parameters.

    Examples
    --------
    >>> pairing_notes(ErosionNormalisation(mean=5.52), [])[0][-70:]
    'times 0.5: reference mean 2.76 over mean 5.52 t ha-1 a-1, as requested'
    """
    fix = (
        "normalise the grid's mean with [solum.erosion_normalisation], or calibrate on profiles"
        if normalisation is None
        else f"{normalisation.text}, as requested"
    )
    return [f"parameters: {PAIRING}; {fix}"]


def with_assumptions(layers: xr.Dataset, assumptions: Mapping[str, Any]) -> xr.Dataset:
    """The layers with a number for each that is assumed."""
    numbers = {name: ((), np.float32(a.value), {"units": variable(name).units}) for name, a in assumptions.items()}
    return layers.assign(numbers) if numbers else layers


OF_TABLES: Final = (
    "validation", "comparison", "sensitivity", "maps", "calibration.quantiles", "calibration.quantiles_of",
)  # fmt: skip
"""Keys of `[solum]` that decide its tables, or which maps are stored, and no thickness."""


def indifferent_after(own: str) -> tuple[str, ...]:
    """Keys of `[solum]` that do not decide a stage after the steady state, whose own table is `forcing` or `transient`.

    Examples
    --------
    >>> "table.transient" in indifferent_after("forcing"), "table.forcing" in indifferent_after("forcing")
    (True, False)
    """
    others = {"forcing", "transient"} - {own}
    return tuple(f"table.{key}" for key in (*OF_PROFILES, *OF_TABLES, *sorted(others)))


def attributes_after(steady: Stage, **more: str) -> dict[str, dict[str, Any]]:
    """Attributes of the maps of a stage after the steady state."""
    return {"": {key: steady.attributes[""][key] for key in ("references", "parents", "assumptions")} | more}


def model_layers(layers: xr.Dataset, table: Any) -> xr.Dataset:
    """The layers as the mass balance of a `SolumTable` reads them."""
    # With the mask, so that neither the zones nor the thickness complete it again.
    data = normalised(with_assumptions(with_soil_mask(layers), table.assumptions), table.erosion_normalisation)
    if table.zones == "published":
        return data.assign(zone=published_zones(data).variable)
    return data.drop_vars("zone", errors="ignore") if table.zones == "none" else data


def model_parameters(table: Any, calibrated: Mapping[int, SolumParameters] | None) -> Any:
    """Parameters by zone, of the recipe or calibrated; one set without zones."""
    parameters = solum_parameters(table.parameters) if calibrated is None else dict(calibrated)
    if table.zones == "none" and isinstance(parameters, Mapping):
        return next(iter(parameters.values()))
    return parameters
