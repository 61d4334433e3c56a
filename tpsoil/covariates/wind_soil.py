"""The surface that wind acts on: RWEQ's erodible fraction, crust, roughness and vegetation factors."""

from __future__ import annotations

from typing import Any, Final

import xarray as xr

from tpsoil.errors import require_one_of
from tpsoil.variables import variable

from .cells import Argument, CellKernel, Cells, each_per_cell, per_cell
from .water_erosion import SOIL, Texture, mass_shares
from .wind_erosion import as_dataset

FITTED: Final = {"sand": (5.5, 93.6), "silt": (0.5, 69.5), "clay": (5.0, 39.3), "organic matter": (0.18, 4.79),
                 "calcium carbonate": (0.0, 25.2)}  # fmt: skip
"""Contents, %, on which EF and SCF were fitted; from the literature, to be checked."""
CARBON_TO_ORGANIC_MATTER: Final = 1.724
RANDOM_ROUGHNESS: Final = {"0.124": 0.124, "0.127": 0.127}
"""Both weights of the random roughness are in print."""


def erodible_fraction(
    sand: Any,
    silt: Any,
    clay: Any,
    soil_organic_carbon: Any,
    calcium_carbonate: Any = 0.0,
    *,
    organic_matter: bool = False,
) -> xr.Dataset:
    """Wind-erodible fraction EF of the soil.

    Parameters
    ----------
    sand, silt, clay : float, ndarray or DataArray, %
        Must sum to 100 within 1.
    soil_organic_carbon : float, ndarray or DataArray, %
        Carbon, which is multiplied by 1.724; organic matter where `organic_matter`.
    calcium_carbonate : float, ndarray or DataArray, %
    organic_matter : bool

    Returns
    -------
    Dataset
        erodible_fraction, 0 to 1, and erodible_fraction_status: 1 a content outside those EF was fitted on (alpine
        meadows have more organic matter), 2 limited to 0..1.

    Raises
    ------
    InputError
        For contents outside 0 to 100 % and textures that do not sum to 100.

    Notes
    -----
    EF = (29.09 + 0.31 Sa + 0.17 Si + 0.33 Sa/Cl - 2.59 OM - 0.95 CaCO3) / 100.

    References
    ----------
    Fryrear et al. 1994, Journal of Soil and Water Conservation 49, 183-188, via RWEQ 1998.

    Examples
    --------
    >>> round(float(erodible_fraction(60.0, 30.0, 10.0, 2.0, 5.0, organic_matter=True).erodible_fraction), 6)
    0.4484
    """
    where = "erodible_fraction"
    organic = soil_organic_carbon if organic_matter else _to_organic_matter(soil_organic_carbon)
    inputs = mass_shares((*SOIL, "calcium_carbonate"), sand, silt, clay, organic, calcium_carbonate)
    fraction, status = each_per_cell(
        Texture("erosion", "erodible_cells", where, tuple(zip(*FITTED.values()))),
        inputs,
        [variable("erodible_fraction"), variable("erodible_fraction_status")],
        attrs={"parents": "sand silt clay soil_organic_carbon calcium_carbonate", "formula": "RWEQ EF, Fryrear 1998"},
    )
    return as_dataset({"erodible_fraction": fraction, "erodible_fraction_status": status})


def crust_factor(clay: Cells | float, soil_organic_carbon: Cells | float, *, organic_matter: bool = False) -> Cells:
    """Soil crust factor SCF of RWEQ.

    Parameters
    ----------
    clay : float, ndarray or DataArray, %
    soil_organic_carbon : float, ndarray or DataArray, %
        As in `erodible_fraction`.
    organic_matter : bool

    Returns
    -------
    float, ndarray or DataArray, 1
        1 / (1 + 0.0066 Cl^2 + 0.021 OM^2).

    Raises
    ------
    InputError
        For contents outside 0 to 100 %.

    Examples
    --------
    >>> round(crust_factor(10.0, 2.0, organic_matter=True), 9)
    0.573394495
    """
    organic: Cells | float = soil_organic_carbon if organic_matter else _to_organic_matter(soil_organic_carbon)
    inputs = mass_shares(("clay", "soil_organic_carbon"), clay, organic)
    return per_cell(CellKernel("erosion", "crust_cells", "crust_factor"), inputs, variable("crust_factor"))


def roughness_factor(ridge_cm: Cells | float, random_cm: Cells | float = 0.0, *, random_weight: str = "0.127") -> Cells:
    """Soil roughness factor K' of RWEQ.

    Parameters
    ----------
    ridge_cm : float, ndarray or DataArray, cm
        Kr; from relief by Smith and Carson, 0.2 dH^2 / L with dH and L in cm.
    random_cm : float, ndarray or DataArray, cm
        Crr, chain roughness.
    random_weight : {"0.127", "0.124"}
        Both are in print.

    Returns
    -------
    float, ndarray or DataArray, 1
        exp(1.86 Kr - 2.41 Kr^0.934 - w Crr).

    Raises
    ------
    InputError
        For negative roughness.

    Examples
    --------
    >>> round(roughness_factor(0.5, 1.0), 9)
    0.632290468
    """
    require_one_of("roughness_factor", "random_weight", random_weight, RANDOM_ROUGHNESS)
    inputs = {Argument("ridge_cm", 0.0, units="cm"): ridge_cm, Argument("random_cm", 0.0, units="cm"): random_cm}
    kernel = CellKernel("erosion", "roughness_cells", "roughness_factor", (RANDOM_ROUGHNESS[random_weight],))
    return per_cell(kernel, inputs, variable("roughness_factor"), {"random_weight": random_weight})


def vegetation_factor(
    flat_cover: Cells | float = 0.0, standing_area: Cells | float = 0.0, canopy: Cells | float = 0.0
) -> Cells:
    """Vegetation factor COG of RWEQ.

    Parameters
    ----------
    flat_cover : float, ndarray or DataArray, %
        SC, ground covered by flat residue. Chinese practice puts the green cover here and leaves the others 0.
    standing_area : float, ndarray or DataArray, cm2
        SA, silhouette of standing residue on 1 m2.
    canopy : float, ndarray or DataArray, 1
        cc, share of ground under canopy, 0 to 1.

    Returns
    -------
    float, ndarray or DataArray, 1
        exp(-0.0438 SC) exp(-0.0344 SA^0.6413) exp(-5.614 cc^0.7366).

    Raises
    ------
    InputError
        For values out of range.

    Examples
    --------
    >>> round(vegetation_factor(30.0), 9)
    0.268742932
    """
    inputs = {
        Argument("flat_cover", 0.0, 100.0, "%"): flat_cover,
        Argument("standing_area", 0.0, units="cm2"): standing_area,
        Argument("canopy", 0.0, 1.0, "1", "canopy is a share; divide % by 100"): canopy,
    }
    kernel = CellKernel("erosion", "vegetation_cells", "vegetation_factor")
    return per_cell(kernel, inputs, variable("vegetation_factor"))


def _to_organic_matter(carbon: Any) -> Any:
    organic = carbon * CARBON_TO_ORGANIC_MATTER
    if isinstance(organic, xr.DataArray):
        organic.attrs = dict(carbon.attrs)
    return organic
