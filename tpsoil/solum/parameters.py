"""Parameters of the solum model: their bounds, two presets, and what the study published."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Final

from tpsoil.errors import InputError

MIN_H0_M: Final = 1e-3
"""Smallest h0, m. Table 2 prints 0, by which Eq. 3 divides (science sheet 2h)."""

DENSITY_RATIO: Final = 1.35
"""Saprolite over solum bulk density, the study's value, for which it cites Pelletier, J. D. and Rasmussen, C. (2009),
Lithosphere 1, doi:10.1130/L3.1."""


@dataclass(frozen=True)
class SolumParameters:
    """The mass balance's parameters for one zone.

    Parameters
    ----------
    h0 : float
        Characteristic thickness over which production decays, m; >= 0.001.
    rho_s : float
        Bulk density of the solum, kg m-3; > 0.
    a : float
        Lithology coefficient: production at h = 0 and EEMT = 0, **m a-1**; > 0.
    b : float
        Climate coefficient, m2 a kJ-1; >= 0.
    alpha, beta, gamma : float
        Weights of erosion by water, wind and gravity, 0..1.
    D : float
        Diffusion coefficient of creep, m2 a-1; >= 0.
    density_ratio : float
        Saprolite over solum bulk density; > 0.

    Raises
    ------
    InputError
        For a value that is not finite or out of the ranges above. All of them are listed at once.

    Notes
    -----
    `a` is taken in m a-1 as Table 2 prints it, though 0.5..100 m a-1 is unphysical (literature 1e-5..1e-3): under Eq. 8
    only m a-1 reproduces 0.39..2.04 m; in m Ma-1 it gives at most 0.61 m and negative values in zones 5, 7, 8 (2f).
    `rho_s` of 2400..2900 kg m-3 is a grain density, not a bulk density; the published values are retained
    (2e). `gamma` multiplies the fitted `D`; only their product acts (2o).

    Examples
    --------
    >>> SolumParameters(0.038, 2764.99, 86.03, 0.00039, 0.0012, 0.00075, 0.18, 0.0016).density_ratio
    1.35
    """

    h0: float
    rho_s: float
    a: float
    b: float
    alpha: float
    beta: float
    gamma: float
    D: float
    density_ratio: float = DENSITY_RATIO

    def __post_init__(self) -> None:
        faults = []
        for item in fields(self):
            try:
                value = float(getattr(self, item.name))
            except (TypeError, ValueError):
                faults.append(f"{item.name} is {getattr(self, item.name)!r}, expected a number")
                continue
            object.__setattr__(self, item.name, value)
            low, high, open_below = _DOMAIN[item.name]
            inside = low < value if open_below else low <= value
            if not (math.isfinite(value) and inside and value <= high):
                faults.append(
                    f"{item.name} is {value:g}, expected {'more than' if open_below else 'at least'} {low:g}"
                    + (f" and at most {high:g}" if math.isfinite(high) else "")
                )
        if faults:
            raise InputError("SolumParameters: " + "; ".join(faults))

    def as_dict(self) -> dict[str, float]:
        """Names and values, for tables and files."""
        return {name: float(value) for name, value in asdict(self).items()}

    def row(self) -> tuple[float, float, float, float, float, float]:
        """Row of the kernel's table: h0, ln(r a), b, alpha/(10 rho_s), beta/(10 rho_s), gamma D."""
        per_loss = 1.0 / (10.0 * self.rho_s)  # 1 t ha-1 = 0.1 kg m-2 (Eq. 6)
        return (
            self.h0,
            math.log(self.density_ratio) + math.log(self.a),
            self.b,
            self.alpha * per_loss,
            self.beta * per_loss,
            self.gamma * self.D,
        )


_INF: Final = math.inf
_DOMAIN: Final[Mapping[str, tuple[float, float, bool]]] = {
    "h0": (MIN_H0_M, _INF, False),
    "rho_s": (0.0, _INF, True),
    "a": (0.0, _INF, True),
    "b": (0.0, _INF, False),
    "alpha": (0.0, 1.0, False),
    "beta": (0.0, 1.0, False),
    "gamma": (0.0, 1.0, False),
    "D": (0.0, _INF, False),
    "density_ratio": (0.0, _INF, True),
}

NAMES: Final = ("h0", "rho_s", "a", "b", "alpha", "beta", "gamma", "D")
"""The eight calibrated parameters, in the order of Table 2."""

LOGARITHMIC: Final = frozenset({"h0", "a", "b", "D"})
"""Parameters that are searched on a logarithmic scale."""

MIN_B: Final = 1e-7
"""Lower end of b on a logarithmic scale, m2 a kJ-1; the bound itself is 0."""


@dataclass(frozen=True)
class Bounds:
    """Lower and upper bounds of the eight parameters, in the order of `NAMES`.

    Parameters
    ----------
    name : str
    low, high : tuple of 8 floats
        A parameter with equal bounds is fixed.

    Raises
    ------
    InputError
        Where a lower bound is above the upper one, or a bound is outside the parameter's domain.

    Examples
    --------
    >>> bounds("paper").high[0]
    0.5
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != len(NAMES) or len(self.high) != len(NAMES):
            raise InputError(f"Bounds '{self.name}': {len(self.low)} and {len(self.high)} values, expected 8 and 8")
        for key, low, high in zip(NAMES, self.low, self.high):
            if not low <= high:
                raise InputError(f"Bounds '{self.name}': {key} runs from {low:g} to {high:g}, expected low <= high")
            minimum, maximum, open_below = _DOMAIN[key]
            if low < minimum or high > maximum or (open_below and low == minimum):
                raise InputError(
                    f"Bounds '{self.name}': {key} {low:g}..{high:g} is outside its domain {minimum:g}..{maximum:g}"
                )


PRESETS: Final[Mapping[str, Bounds]] = MappingProxyType(
    {
        "paper": Bounds(
            "paper",
            (MIN_H0_M, 2400.0, 0.5, 0.0, 0.0, 0.0, 0.0, 1e-5),
            (0.5, 2900.0, 100.0, 0.1, 1.0, 1.0, 1.0, 1e-2),
        ),
        "physical": Bounds(
            "physical",
            (0.05, 800.0, 1e-6, 0.0, 0.0, 0.0, 1.0, 1e-4),
            (1.0, 1700.0, 1e-3, 1e-4, 1.0, 1.0, 1.0, 5e-2),
        ),
    }
)
"""`paper`: Table 2 (h0 from 0.001 m instead of 0, 2h). `physical`: bulk density of soils, production rates of the
cosmogenic literature, gamma = 1. Pelletier and Rasmussen's granite values would give a bare plateau at the mean
water erosion of 2.76 t ha-1 a-1, so the physical preset lets alpha < 1 (2f)."""


def bounds(preset: str | Bounds) -> Bounds:
    """Bounds by the name of their preset.

    Parameters
    ----------
    preset : {"paper", "physical"} or Bounds

    Returns
    -------
    Bounds

    Raises
    ------
    InputError
        For an unknown name.

    Examples
    --------
    >>> bounds("physical").low[1]
    800.0
    """
    if isinstance(preset, Bounds):
        return preset
    if preset not in PRESETS:
        raise InputError(f"preset is {preset!r}, expected one of {sorted(PRESETS)} or a Bounds")
    return PRESETS[preset]


_TABLE_4: Final = {
    1: (0.038, 2764.99, 86.03, 0.00039, 0.0012, 0.00075, 0.18, 0.0016),
    2: (0.048, 2895.88, 98.34, 1.42e-06, 0.0024, 0.0021, 0.014, 0.00041),
    3: (0.043, 2855.11, 99.7, 4.02e-05, 0.0014, 0.0069, 0.017, 0.00011),
    4: (0.026, 2895.74, 99.69, 0.0012, 0.00043, 0.0072, 0.0035, 6.23e-05),
    5: (0.056, 2895.67, 6.89, 4.13e-05, 0.15, 0.0092, 0.94, 0.0096),
    6: (0.042, 2899.59, 99.18, 3.84e-05, 0.053, 0.0012, 0.052, 6.95e-05),
    7: (0.10, 2401.88, 0.58, 0.00014, 0.99, 0.96, 0.99, 0.0093),
    8: (0.084, 2400.32, 0.63, 0.00069, 0.99, 0.0004, 0.0056, 0.00065),
}

PUBLISHED: Final[Mapping[int, SolumParameters]] = MappingProxyType(
    {zone: SolumParameters(*values) for zone, values in _TABLE_4.items()}
)
"""Table 4 of the study: parameters of its eight zones. Many of them are at their bounds (a 98..99.7, rho_s 2895..2900
or 2400..2402, weights 0.99): they are effective, not physical (2g)."""


@dataclass(frozen=True)
class ZoneMeans:
    """Published values of a zone (Tables 3 and 4).

    Parameters
    ----------
    elevation, mean_annual_temperature, annual_precipitation, ndvi : float
        m, degC, mm, 1.
    rmse : float
        m, labelled 4-fold cross-validation in the study's section 3.4.1; NaN for zone 8.
    profiles : int
        Profiles that calibrated the zone. They sum to 522, not to the 552 of the text (2k).
    """

    elevation: float
    mean_annual_temperature: float
    annual_precipitation: float
    ndvi: float
    rmse: float
    profiles: int


PUBLISHED_ZONES: Final[Mapping[int, ZoneMeans]] = MappingProxyType(
    {
        1: ZoneMeans(2136, 13.09, 832.41, 0.86, 0.38, 35),
        2: ZoneMeans(2938, 4.58, 222.49, 0.21, 0.34, 131),
        3: ZoneMeans(3597, 3.05, 610.26, 0.64, 0.38, 136),
        4: ZoneMeans(4354, 2.23, 809.56, 0.66, 0.40, 51),
        5: ZoneMeans(4230, -1.15, 399.75, 0.32, 0.34, 71),
        6: ZoneMeans(4697, -1.27, 449.22, 0.34, 0.30, 79),
        7: ZoneMeans(5036, -3.32, 412.39, 0.20, 0.29, 15),
        8: ZoneMeans(5419, -4.01, 505.06, 0.16, math.nan, 4),
    }
)
"""Tables 3 and 4: mean covariates, RMSE and profile counts of the eight zones."""

PUBLISHED_SCORES: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "this study": {"min": 0.39, "max": 2.04, "mean": 0.89, "rmse": 0.34, "mae": 0.13, "mre": 0.78},
        "Shangguan": {"min": 0.12, "max": 1.60, "mean": 0.65, "rmse": 0.45, "mae": 0.06, "mre": 0.98},
        "Liu": {"min": 0.0, "max": 2.35, "mean": 0.66, "rmse": 0.42, "mae": 0.11, "mre": 0.91},
    }
)
"""Table 5 as printed. Its "MAE" is almost surely an absolute mean error (2i), and its RMSE is called both a
cross-validated and an in-sample one (2p)."""
