"""`[elements.screen]`, `[elements.pairs]` and `[elements.cia]` of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from tpsoil.errors import nearest_name
from tpsoil.micronutrients.alteration import SYMBOLS

from .section import FilePath, Section


class ScreenTable(Section):
    """`[elements.screen]`: outliers are excluded from training, and counted.

    Parameters
    ----------
    threshold : float
        Standard deviations.
    method : "sd" or "mad"
        Mean and sd, or median and median absolute deviation.
    log : bool
        Screen the logarithms.
    iterate : bool
        Repeat until no outlier remains.
    """

    threshold: float = Field(default=3.0, gt=0)
    method: Literal["sd", "mad"] = "sd"
    log: bool = False
    iterate: bool = False


class PairsTable(Section):
    """`[elements.pairs]`: XRF and ICP-MS readings of the same samples, in a table of their own.

    Parameters
    ----------
    path : str
        CSV, one row a sample.
    columns : table of symbol to list of str
        Columns of XRF and ICP-MS, such as `{ Zn = ["Zn_xrf", "Zn_icp"] }`.
    units : str
        Of all columns; converted on import.
    min_pairs : int
        Minimum number of pairs of an element.
    """

    path: FilePath
    columns: dict[str, tuple[str, str]] = Field(min_length=1)
    units: str = "mg kg-1"
    min_pairs: int = Field(default=10, ge=3)

    @property
    def file(self) -> Path:
        """The table of readings."""
        return Path(self.path)


class AlterationTable(Section):
    """`[elements.cia]`: the chemical index of alteration of the samples, and a layer predicted from it.

    Parameters
    ----------
    columns : table of symbol to column
        Of Al, Ca, Na, K and, where there is one, P.
    basis : "elements" or "oxides"
        Elements in mg/kg, or Al2O3, CaO, Na2O, K2O and P2O5 in mass %.
    correction : "mclennan", "phosphate" or "none"
        For carbonate and phosphate, for phosphate alone, or none.
    carbonate : str, optional
        Column of measured CaCO3, mass %, whose calcium is subtracted first.
    limits : table of symbol to number
        Detection limits of Ca and Na in the unit of the columns; the index is missing below them.
    features : list of str
        Layers that predict the index; without them it is a column of the samples alone. The layer
        `chemical_index_of_alteration` may then be a feature of the elements, which are trained on its values out of
        fold.
    precipitation : str
        Layer or column of annual precipitation, mm, for its correlation with the index.
    """

    columns: dict[str, str]
    basis: Literal["elements", "oxides"] = "elements"
    correction: Literal["mclennan", "phosphate", "none"] = "mclennan"
    carbonate: str | None = None
    limits: dict[str, float] = Field(default_factory=dict)
    features: tuple[str, ...] = ()
    precipitation: str = "annual_precipitation"

    @field_validator("columns")
    @classmethod
    def _known_symbols(cls, columns: dict[str, str]) -> dict[str, str]:
        for symbol in columns:
            if symbol not in SYMBOLS:
                raise ValueError(
                    f"names '{symbol}', expected Al, Ca, Na, K and perhaps P{nearest_name(symbol, SYMBOLS)}"
                )
        lacking = [symbol for symbol in SYMBOLS[:4] if symbol not in columns]
        if lacking:
            raise ValueError(f"lacks {', '.join(lacking)}; the index needs Al, Ca, Na and K")
        return columns

    @field_validator("limits")
    @classmethod
    def _known_limits(cls, limits: dict[str, float]) -> dict[str, float]:
        for symbol in limits:
            if symbol not in ("Ca", "Na"):
                raise ValueError(f"names '{symbol}', expected Ca or Na")
        return limits
