"""Chemical index of alteration, from oxides or elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, overload

import numpy.typing as npt
import xarray as xr

from tpsoil.errors import require_named, require_one_of
from tpsoil.kernels.weathering import MCLENNAN, PHOSPHATE, PLAIN
from tpsoil.variables import Variable, variable

from .cells import Argument, CellKernel, Cells, each_per_cell

Basis = Literal["oxides", "elements"]
Correction = Literal["none", "phosphate", "mclennan"]
Result = xr.DataArray | npt.NDArray[Any] | float

CONTENTS: Final = ("aluminium", "calcium", "sodium", "potassium", "phosphorus")
DETECTED: Final = ("calcium", "sodium")
"""Contents with a detection limit."""
OXIDE_MOLES: Final = tuple(1.0 / mass for mass in (101.961, 56.077, 61.979, 94.196, 141.943))
"""1 / molar mass of Al2O3, CaO, Na2O, K2O, P2O5, mol g-1."""
ELEMENT_MOLES: Final = (0.5 / 26.98154, 1.0 / 40.078, 0.5 / 22.98977, 0.5 / 39.0983, 0.5 / 30.97376)
"""Moles of oxide in a gram of Al, Ca, Na, K, P."""
CORRECTIONS: Final = {"none": PLAIN, "phosphate": PHOSPHATE, "mclennan": MCLENNAN}
STATUS: Final = Variable(
    "alteration_status", "how the index of alteration was computed", "1", dtype="uint8", kind="categorical",
    flags={0: "as asked", 1: "no phosphorus, apatite not corrected", 2: "calcium or sodium below detection"},
)  # fmt: skip


@overload
def chemical_index_of_alteration(
    aluminium: Cells | float,
    calcium: Cells | float,
    sodium: Cells | float,
    potassium: Cells | float,
    phosphorus: Cells | float | None = ...,
    *,
    basis: Basis = ...,
    correction: Correction = ...,
    detection_limits: Mapping[str, float] | None = ...,
    percent: bool = ...,
    status: Literal[False] = ...,
) -> Cells: ...
@overload
def chemical_index_of_alteration(
    aluminium: Cells | float,
    calcium: Cells | float,
    sodium: Cells | float,
    potassium: Cells | float,
    phosphorus: Cells | float | None = ...,
    *,
    basis: Basis = ...,
    correction: Correction = ...,
    detection_limits: Mapping[str, float] | None = ...,
    percent: bool = ...,
    status: Literal[True],
) -> tuple[Cells, Cells]: ...
def chemical_index_of_alteration(
    aluminium: Any,
    calcium: Any,
    sodium: Any,
    potassium: Any,
    phosphorus: Any = None,
    *,
    basis: Basis = "oxides",
    correction: Correction = "mclennan",
    detection_limits: Mapping[str, float] | None = None,
    percent: bool = False,
    status: bool = False,
) -> Result | tuple[Result, Result]:
    """Chemical index of alteration: alumina left over from feldspar.

    Parameters
    ----------
    aluminium, calcium, sodium, potassium : float, ndarray, Series or DataArray
        With basis "oxides" Al2O3, CaO, Na2O, K2O in mass %; with "elements" Al, Ca, Na, K in mg/kg.
    phosphorus : float, ndarray, Series or DataArray, optional
        P2O5 or P in the same unit. Where it is missing apatite is not corrected, and the status shows it.
    basis : {"oxides", "elements"}
    correction : {"mclennan", "phosphate", "none"}
        "phosphate": CaO less 10/3 P2O5. "mclennan": that, and at most as many moles as Na2O, for carbonates; without it
        the carbonates of this plateau swamp the index. "none": all calcium counts.
    detection_limits : mapping, optional
        `{"calcium": x, "sodium": y}` in the unit of the contents; below either the index is NaN. A zero sodium would
        force CaO* to 0 and inflate the index. Negative contents count as below detection.
    percent : bool
        Times 100.
    status : bool
        Return the status too.

    Returns
    -------
    float, ndarray or DataArray
        Molar Al2O3 / (Al2O3 + CaO* + Na2O + K2O), 0 to 1: 0.5 feldspar, 1 kaolinite. With `status` also how: 0 as
        asked, 1 no phosphorus, 2 below detection, 255 missing.

    Raises
    ------
    InputError
        For an unknown option, a detection limit of another element, contents over 100 % or 1e6 mg/kg.
    GridError
        Where layers do not share one grid.

    Notes
    -----
    The contents must all come from one method: sodium by handheld XRF is poor. As a predictor of elements measured by
    the same instrument the index shares their error.

    References
    ----------
    Nesbitt and Young 1982, doi 10.1038/299715a0. McLennan 1993, doi 10.1086/648222.

    Examples
    --------
    >>> round(chemical_index_of_alteration(15.40, 3.59, 3.27, 2.80, 0.15), 9)
    0.527583329
    """
    where = "chemical_index_of_alteration"
    require_one_of(where, "basis", basis, ("oxides", "elements"))
    require_one_of(where, "correction", correction, CORRECTIONS)
    limits = dict(detection_limits or {})
    require_named(where, limits, DETECTED, "detection limit of")
    high, unit, moles = (100.0, "%", OXIDE_MOLES) if basis == "oxides" else (1e6, "mg kg-1", ELEMENT_MOLES)
    fix = "oxides are in mass %, elements in mg/kg; see basis="
    layers = (aluminium, calcium, sodium, potassium, float("nan") if phosphorus is None else phosphorus)
    # a negative content is below detection
    arguments = tuple(Argument(name, -high if name in DETECTED else 0.0, high, unit, fix) for name in CONTENTS)
    detection = tuple(float(limits.get(name, 0.0)) for name in DETECTED)
    settings = (moles, detection, CORRECTIONS[correction], 100.0 if percent else 1.0)
    index, codes = each_per_cell(
        CellKernel("weathering", "alteration_cells", where, settings),
        dict(zip(arguments, layers)),
        [variable("chemical_index_of_alteration"), STATUS],
        {
            "parents": " ".join(CONTENTS[:-1] if phosphorus is None or correction == "none" else CONTENTS),
            "formula": "Nesbitt and Young 1982" + (", CaO* by McLennan 1993" if correction == "mclennan" else ""),
            "basis": basis,
            "correction": correction,
            "apatite": "not corrected" if phosphorus is None or correction == "none" else "10/3 P2O5 taken from CaO",
        }
        | ({"units": "%", "valid_max": 100.0} if percent else {}),
    )
    return (index, codes) if status else index
