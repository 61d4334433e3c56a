"""Soil loss by water: RUSLE and the choices of its rain, soil and cover factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError, require_one_of
from tpsoil.units import require_unit
from tpsoil.variables import variable

from .cells import Argument, CellKernel, Cells, per_cell
from .ranges import require_positive, require_range

Array = npt.NDArray[Any]
UnitSystem = Literal["SI", "US"]

R_US_TO_SI: Final = 17.02
"""Hundreds of ft tonf in / (acre h a) to MJ mm / (ha h a)."""
K_US_TO_SI: Final = 0.1317
"""ton acre h / (hundreds of acre ft tonf in) to t ha h / (ha MJ mm)."""

R_UNIT: Final = {"SI": "MJ mm ha-1 h-1 a-1", "US": "hundreds of ft tonf in acre-1 h-1 a-1"}
K_UNIT: Final = {"SI": "t ha h ha-1 MJ-1 mm-1", "US": "ton acre h hundreds of acre-1 ft-1 tonf-1 in-1"}

SOIL: Final = ("sand", "silt", "clay", "soil_organic_carbon")
"""Contents of the soil that K and EF follow from."""
STONE_CORRECTION: Final = (
    "K exp(-0.04 (stone cover - 10)) above 10 % of stone cover, Poesen et al. 1994 "
    "(constants not verified at the source)"
)
COVER: Final = {
    "van_der_knijff": "exp(-alpha NDVI / (beta - NDVI)), van der Knijff 1999",
    "cai": "0.6508 - 0.3436 log10 f, f vegetation cover in %, Cai 2000",
}


def rusle(
    rainfall_erosivity: Cells | float,
    soil_erodibility: Cells | float,
    ls_factor: Cells | float,
    cover_factor: Cells | float,
    practice_factor: Cells | float = 1.0,
    *,
    unit_system: UnitSystem = "SI",
) -> Cells:
    """Soil loss by sheet and rill erosion, the Revised Universal Soil Loss Equation.

    Parameters
    ----------
    rainfall_erosivity : float, ndarray or DataArray, MJ mm ha-1 h-1 a-1
        R, >= 0.
    soil_erodibility : float, ndarray or DataArray, t ha h ha-1 MJ-1 mm-1
        K, 0 to 1.
    ls_factor : float, ndarray or DataArray, 1
        Derive it at 30 to 90 m and average it; from a 1 km DEM it is far too small.
    cover_factor : float, ndarray or DataArray, 1
        C, 0 to 1.
    practice_factor : float, ndarray or DataArray, 1
        P, 0 to 1; 1 on natural land.
    unit_system : {"SI", "US"}
        Of R and K. US: hundreds of ft tonf in / (acre h a), and its K; R is multiplied by 17.02, K by 0.1317.

    Returns
    -------
    float, ndarray or DataArray, t ha-1 a-1
        `water_erosion`, of the kind of the inputs. NaN where any factor is.

    Raises
    ------
    UnitsError
        Where a factor's `units` belong to the other unit system.
    InputError
        For a factor outside its range, an unknown unit system.
    GridError
        Where the factors do not share one grid.

    Notes
    -----
    A = R K LS C P. It describes hillslopes with soil: mask glaciers, rock and dunes.

    References
    ----------
    Renard et al. 1997, USDA Agriculture Handbook 703.

    Examples
    --------
    >>> round(rusle(300.0, 0.04, 2.5, 0.2), 9)
    6.0
    """
    require_one_of("rusle", "unit_system", unit_system, ("SI", "US"))
    us = unit_system == "US"
    other = f"these are not {unit_system} units; choose unit_system='{'SI' if us else 'US'}'"
    require_unit("rusle", "rainfall_erosivity", rainfall_erosivity, R_UNIT[unit_system], fix=other)
    require_unit("rusle", "soil_erodibility", soil_erodibility, K_UNIT[unit_system], fix=other)
    inputs = {
        Argument("rainfall_erosivity", 0.0): rainfall_erosivity,
        Argument("soil_erodibility", 0.0, 1.0, fix="K in SI units lies between 0 and 0.1"): soil_erodibility,
        Argument("ls_factor", 0.0, units="1"): ls_factor,
        Argument("cover_factor", 0.0, 1.0, "1"): cover_factor,
        Argument("practice_factor", 0.0, 1.0, "1"): practice_factor,
    }
    attrs = {
        "parents": "rainfall_erosivity soil_erodibility ls_factor cover_factor",
        "formula": "RUSLE, A = R K LS C P",
        "unit_system": unit_system,
    }
    kernel = _SoilLoss("erosion", "soil_loss_cells", "rusle", factor=R_US_TO_SI * K_US_TO_SI if us else 1.0)
    return per_cell(kernel, inputs, variable("water_erosion"), attrs)


@dataclass(frozen=True)
class _SoilLoss(CellKernel):
    factor: float = 1.0

    def __call__(self, *blocks: Array) -> Any:
        return super().__call__(blocks[0] * self.factor if self.factor != 1.0 else blocks[0], *blocks[1:])


def soil_erodibility(
    sand: Cells | float,
    silt: Cells | float,
    clay: Cells | float,
    soil_organic_carbon: Cells | float,
    *,
    unit_system: UnitSystem = "SI",
) -> Cells:
    """The K factor of RUSLE from texture and organic carbon, by the EPIC model.

    Parameters
    ----------
    sand, silt, clay : float, ndarray or DataArray, %
        Must sum to 100 within 1.
    soil_organic_carbon : float, ndarray or DataArray, %
        Carbon, not organic matter (which is 1.724 times as much).
    unit_system : {"SI", "US"}
        Of the result; SI is 0.1317 times US.

    Returns
    -------
    float, ndarray or DataArray
        SI: t ha h ha-1 MJ-1 mm-1. NaN where any input is, and where there is neither silt nor clay.

    Raises
    ------
    InputError
        For contents outside 0 to 100 % and textures that do not sum to 100.
    UnitsError
        For contents in another unit, such as g/kg.
    GridError
        Where the layers do not share one grid.

    References
    ----------
    Williams 1990, Philosophical Transactions of the Royal Society B 329, 421-428.

    Examples
    --------
    >>> round(soil_erodibility(60.0, 30.0, 10.0, 1.5), 9)
    0.029446182
    """
    where = "soil_erodibility"
    require_one_of(where, "unit_system", unit_system, ("SI", "US"))
    factor = K_US_TO_SI if unit_system == "SI" else 1.0
    inputs = mass_shares(SOIL, sand, silt, clay, soil_organic_carbon)
    attrs = {"parents": " ".join(SOIL), "formula": "EPIC, Williams 1990"}
    if unit_system == "US":
        attrs["units"] = K_UNIT["US"]
    return per_cell(Texture("erosion", "erodibility_cells", where, (factor,)), inputs, variable(where), attrs)


def mass_shares(names: Sequence[str], *contents: Cells | float) -> dict[Argument, Cells | float]:
    """Contents of the soil as inputs of a formula."""
    fix = "contents are mass shares in %; divide g/kg by 10"
    return {Argument(name, 0.0, 100.0, "%", fix): content for name, content in zip(names, contents)}


def stone_corrected_erodibility(soil_erodibility: Cells | float, stone_cover: Cells | float) -> Cells:
    """The K factor of RUSLE of a soil whose surface is partly covered by stones or gravel.

    Parameters
    ----------
    soil_erodibility : float, ndarray or DataArray, t ha h ha-1 MJ-1 mm-1
        K of the fine earth.
    stone_cover : float, ndarray or DataArray, %
        Share of the surface under rock fragments, 0 to 100.

    Returns
    -------
    float, ndarray or DataArray, t ha h ha-1 MJ-1 mm-1
        K exp(-0.04 (cover - 10)), K itself up to 10 %. NaN where either is.

    Raises
    ------
    InputError
        For values out of range.
    UnitsError
        For a cover that is not in %.

    Notes
    -----
    Over Europe the correction lowers the mean K by 15 % (Panagos 2014). It is of the surface; the share of fragments in
    the soil's volume, as soil grids have it, is another quantity. The constants -0.04 and 10 % are NOT verified: the
    paper exists as cited and Panagos 2014 uses its correction, but neither text was at hand to read them from. SWAT+
    has exp(-0.053 rock) for rock in the first layer (its theoretical documentation, 4:1.1.15). Maps and the table of
    factors state it.

    References
    ----------
    Poesen, Torri and Bunte 1994, Catena 23, 141-166. Panagos et al. 2014, doi 10.1016/j.scitotenv.2014.02.010.

    Examples
    --------
    >>> stone_corrected_erodibility(0.03, 5.0), round(stone_corrected_erodibility(0.03, 35.0), 6)
    (0.03, 0.011036)
    """
    inputs = {
        Argument("soil_erodibility", 0.0, 1.0, K_UNIT["SI"]): soil_erodibility,
        Argument("stone_cover", 0.0, 100.0, "%", "cover is in %"): stone_cover,
    }
    kernel = CellKernel("erosion", "stone_cells", "stone_corrected_erodibility")
    attrs = {"parents": "soil_erodibility stone_cover", "stones": STONE_CORRECTION}
    return per_cell(kernel, inputs, variable("soil_erodibility"), attrs)


@dataclass(frozen=True)
class Texture(CellKernel):
    """Cells whose first three inputs are sand, silt and clay."""

    def check(self, *blocks: Array) -> None:
        """Reject textures that do not sum to 100 within 1."""
        total = blocks[0].astype(np.float64) + blocks[1] + blocks[2]
        require_range(self.where, "sand + silt + clay", total, 99.0, 101.0, "bring the texture to 100 % first")


def cover_factor(
    *,
    ndvi: Cells | None = None,
    vegetation_cover: Cells | None = None,
    method: str = "van_der_knijff",
    alpha: float = 2.0,
    beta: float = 1.0,
) -> Cells:
    """The C factor of RUSLE from NDVI or vegetation cover.

    Parameters
    ----------
    ndvi : float, ndarray or DataArray, 1
        For "van_der_knijff"; -1 to 1.
    vegetation_cover : float, ndarray or DataArray, %
        For "cai"; 0 to 100.
    method : {"van_der_knijff", "cai"}
    alpha, beta : float
        Shape of the van der Knijff curve.

    Returns
    -------
    float, ndarray or DataArray, 1
        van_der_knijff: exp(-alpha NDVI / (beta - NDVI)), 1 below 0, 0 from beta on; too high on sparse alpine grass.
        cai: 0.6508 - 0.3436 log10 f, 1 up to 0.0963 %, 0 from 78.3 % on.

    Raises
    ------
    InputError
        For an unknown method, the other method's input or options, values out of range.

    References
    ----------
    van der Knijff, Jones and Montanarella 1999, European Soil Bureau, EUR 19022 EN.
    Cai et al. 2000, Journal of Soil and Water Conservation (in Chinese) 14(2), 19-24.

    Examples
    --------
    >>> round(cover_factor(ndvi=0.3), 9)
    0.424372846
    """
    where = "cover_factor"
    require_one_of(where, "method", method, COVER)
    layer, required = (ndvi, "ndvi") if method == "van_der_knijff" else (vegetation_cover, "vegetation_cover")
    if layer is None or (ndvi is not None and vegetation_cover is not None):
        raise InputError(f"{where}: method '{method}' requires {required}= only")
    attrs: dict[str, Any] = {"parents": required, "formula": COVER[method], "method": method}
    if method != "van_der_knijff" and (alpha, beta) != (2.0, 1.0):
        raise InputError(f"{where}: alpha and beta have no effect on method '{method}'; leave them out")
    if method == "van_der_knijff":
        require_positive(where, "beta", beta)
        argument = Argument("ndvi", -1.0, 1.0, "1", "NDVI lies within -1 to 1; divide scaled integers by 10000")
        kernel = CellKernel("erosion", "cover_ndvi_cells", where, (float(alpha), float(beta)))
        attrs |= {"alpha": float(alpha), "beta": float(beta)}
    else:
        argument = Argument("vegetation_cover", 0.0, 100.0, "%", "cover is in %")
        kernel = CellKernel("erosion", "cover_percent_cells", where)
    return per_cell(kernel, {argument: layer}, variable("cover_factor"), attrs)
