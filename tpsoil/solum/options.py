"""The physical options of the mass balance: one object for maps, calibration, ensembles and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, get_args

from tpsoil.errors import InputError, nearest_name
from tpsoil.kernels import pedogenesis

from .parameters import DENSITY_RATIO, SolumParameters

Deposition = Literal["cap", "nan", "clip_gravity"]
Curvature = Literal["convex_positive", "laplacian", "arcgis"]

GREATEST_PUBLISHED_M: Final = 2.04
"""Maximum thickness of the published map, m."""

CURVATURE_SCALE: Final[Mapping[str, float]] = {"convex_positive": 1.0, "laplacian": -1.0, "arcgis": 0.01}
DEPOSITION: Final[Mapping[str, int]] = {
    "cap": pedogenesis.CAP,
    "nan": pedogenesis.STRICT,
    "clip_gravity": pedogenesis.CLIP_GRAVITY,
}


@dataclass(frozen=True, kw_only=True)
class SolumOptions:
    """Conventions of the layers of the mass balance, and treatment of cells without a balance.

    A calibration belongs to its options: parameters calibrated under one set of options and mapped under another
    are two different models. `Calibration.options` has those of a calibration.

    Parameters
    ----------
    curvature_convention : {"convex_positive", "laplacian", "arcgis"}
        Sign and scale of `general_curvature`: kappa = -laplacian in m-1; the mathematical Laplacian; ArcGIS's
        -100 laplacian.
    deposition : {"cap", "nan", "clip_gravity"}
        Value of a cell without a steady state (E <= `least_erosion`): min(`greatest_thickness_m`, depth to bedrock);
        NaN; or the balance of water, wind and dust alone, else as "cap". Its status is 2.
    greatest_thickness_m : float, m
        Of cells without a balance, not a bound of the others; >= 0. The default is the published map's maximum. With
        `deposition="nan"` any other value is rejected.
    cap_to_bedrock : bool
        Whether thickness is bounded by `depth_to_bedrock`. False: not capped; saprolite is then 0 there.
    dust_input : float, m a-1
        Deposited dust, subtracted from E.
    least_erosion : float, m a-1
        Lowering rates at or below it have no steady state: h* diverges as E falls to 0; >= 0.
    keep_negative : bool
        Retain h* < 0 of bare cells instead of 0.
    density_ratio : float, optional
        Saprolite over solum bulk density; > 0. Default of a calibration: 1.35; of a map: that of its parameters,
        which must be equal to this value if both are set.

    Raises
    ------
    InputError
        For values out of the ranges above, and a `greatest_thickness_m` that has no effect, all at once.

    Notes
    -----
    With dust or a minimum erosion the absolute production rate matters: thickness is then determined by six
    combinations of the eight parameters instead of five, `a` being the sixth.

    Examples
    --------
    >>> SolumOptions(curvature_convention="arcgis").as_dict()["curvature_convention"]
    'arcgis'
    """

    curvature_convention: Curvature = "convex_positive"
    deposition: Deposition = "cap"
    greatest_thickness_m: float = GREATEST_PUBLISHED_M
    cap_to_bedrock: bool = True
    dust_input: float = 0.0
    least_erosion: float = 0.0
    keep_negative: bool = False
    density_ratio: float | None = None

    def __post_init__(self) -> None:
        faults = []
        for name, accepted in (("curvature_convention", get_args(Curvature)), ("deposition", get_args(Deposition))):
            value = getattr(self, name)
            if value not in accepted:
                faults.append(
                    f"{name} is {value!r}, expected one of {list(accepted)}{nearest_name(str(value), accepted)}"
                )
        for name in ("greatest_thickness_m", "least_erosion"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 0):
                faults.append(f"{name} is {value!r}, expected a finite number that is not negative")
        if self.deposition == "nan" and self.greatest_thickness_m != GREATEST_PUBLISHED_M:
            faults.append(
                f"greatest_thickness_m is {self.greatest_thickness_m!r}, without effect with deposition 'nan': "
                "cells without a balance have no thickness; leave it out, or use deposition 'cap'"
            )
        if not _is_number(self.dust_input):
            faults.append(f"dust_input is {self.dust_input!r}, expected a finite number of m a-1")
        if self.density_ratio is not None and not (_is_number(self.density_ratio) and self.density_ratio > 0):
            faults.append(f"density_ratio is {self.density_ratio!r}, expected more than 0")
        for name in ("cap_to_bedrock", "keep_negative"):
            if getattr(self, name) not in (True, False):
                faults.append(f"{name} is {getattr(self, name)!r}, expected true or false")
        if faults:
            raise InputError("solum options: " + "; ".join(faults))

    @classmethod
    def of_calibration(cls, options: SolumOptions | None) -> SolumOptions:
        """Options of a calibration, which states the density ratio."""
        chosen = options or cls()
        return replace(chosen, density_ratio=chosen.calibrated_density_ratio)

    @property
    def curvature_scale(self) -> float:
        """Factor that makes curvature positive where convex, in m-1."""
        return CURVATURE_SCALE[self.curvature_convention]

    @property
    def calibrated_density_ratio(self) -> float:
        """Density ratio of parameters that are calibrated under these options."""
        return DENSITY_RATIO if self.density_ratio is None else float(self.density_ratio)

    @property
    def absolute(self) -> bool:
        """Whether a rate in m a-1 is added to the balance, so that `a` is not a common scale."""
        return self.dust_input != 0 or self.least_erosion != 0

    def balance(self) -> pedogenesis.Balance:
        """The options for the kernels."""
        return pedogenesis.Balance(
            curvature_scale=self.curvature_scale,
            dust=float(self.dust_input),
            least_erosion=float(self.least_erosion),
            greatest_thickness=float(self.greatest_thickness_m),
            deposition=DEPOSITION[self.deposition],
            cap_to_bedrock=bool(self.cap_to_bedrock),
            keep_negative=bool(self.keep_negative),
        )

    def require_density_ratio(self, parameters: SolumParameters | Mapping[int, SolumParameters], where: str) -> None:
        """Reject parameters of another density ratio than that of these options.

        Raises
        ------
        InputError
        """
        if self.density_ratio is None:
            return
        sets = parameters.values() if isinstance(parameters, Mapping) else [parameters]
        for values in sets:
            if values.density_ratio != self.density_ratio:
                raise InputError(
                    f"{where}: the options have density_ratio {self.density_ratio:g}, the parameters "
                    f"{values.density_ratio:g}; pass one of them"
                )

    def as_dict(self) -> dict[str, Any]:
        """Names and values, for files and digests."""
        return asdict(self)

    def attributes(self) -> dict[str, Any]:
        """Names and values as attributes of a layer: text and numbers."""
        stated = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: int(value) if isinstance(value, bool) else value for name, value in stated.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
