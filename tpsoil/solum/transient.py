"""Solum thickness through time: the closed form of dh/dt = R exp(-h/h0) - E (science sheet, section 3b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, cast

import numpy as np
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError
from tpsoil.variables import Variable, variable

from .energy import Cells, FlatKernel
from .inputs import float_type, values_of

THICKNESS: Final = replace(
    variable("solum_thickness"), meaning="surface to the top of the C horizon, after a given time"
)
TIME_TO_BARE: Final = Variable("time_to_bare", "time until bedrock emerges", "a", 0, meaning="inf where it never does")


def evolve(
    thickness: Cells | float,
    potential_production: Cells | float,
    erosion_rate: Cells | float,
    h0: Cells | float,
    years: Cells | float,
) -> Cells:
    """Solum thickness after a time with constant production and erosion.

    Parameters
    ----------
    thickness : float, ndarray or DataArray, m
        At the start; >= 0.
    potential_production : float, ndarray or DataArray, m a-1
        Thickness of soil produced a year on bare bedrock, R; >= 0.
    erosion_rate : float, ndarray or DataArray, m a-1
        Lowering rate E; negative deposits.
    h0 : float, ndarray or DataArray, m
        > 0.
    years : float, ndarray or DataArray, a
        >= 0.

    Returns
    -------
    float, ndarray or DataArray, m
        0 from the moment bedrock emerges. NaN where an input is NaN or, in arrays, out of its domain.

    Raises
    ------
    InputError
        For numbers out of their domain, where all inputs are numbers.

    Notes
    -----
    ``h(t) = h0 logaddexp(ln R + ln(t/h0) + ln phi(x), h_i/h0 - x)`` with x = E t/h0 and phi(x) = (1 - e^-x)/x, valid
    for E of any sign; R = 0 gives h_i - E t. A bare surface remains bare while R <= E. Goes beyond the study,
    whose steady state takes longer than the time since the last glaciation in its zones 1 to 4.

    Examples
    --------
    >>> round(evolve(0.2, 1e-4, 2e-5, 0.5, 1e4), 6)
    0.486978
    """
    names = ("thickness", "potential_production", "erosion_rate", "h0", "years")
    inputs = (thickness, potential_production, erosion_rate, h0, years)
    return cast(Cells, _apply("evolve", "thickness_after_field", THICKNESS, dict(zip(names, inputs))))


def evolve_through(
    thickness: Cells | float, climates: Sequence[tuple[Cells | float, Cells | float, float]], h0: Cells | float
) -> Cells:
    """Solum thickness after a chain of climates, each constant for its time.

    Parameters
    ----------
    thickness : float, ndarray or DataArray, m
        At the start.
    climates : sequence of (potential_production, erosion_rate, years)
        In their order; m a-1, m a-1, a. Each as in `evolve`.
    h0 : float, ndarray or DataArray, m

    Returns
    -------
    float, ndarray or DataArray, m

    Raises
    ------
    InputError
        For an empty chain, and as `evolve`.

    Notes
    -----
    Thickness is at least 0 in each climate, so soil forms again from 0 on bare ground in the next.

    Examples
    --------
    >>> round(evolve_through(0.2, [(1e-4, 2e-5, 4e3), (1e-4, 2e-5, 6e3)], 0.5), 6)
    0.486978
    """
    if not climates:
        raise InputError("evolve_through: no climates, expected at least one (production, erosion_rate, years)")
    later: Any = thickness
    for production, lowering, years in climates:
        later = evolve(later, production, lowering, h0, years)
    return cast(Cells, later)


def time_to_bare(
    thickness: Cells | float, potential_production: Cells | float, erosion_rate: Cells | float, h0: Cells | float
) -> Cells:
    """Years until bedrock emerges under constant production and erosion.

    Parameters
    ----------
    thickness, potential_production, erosion_rate, h0
        As in `evolve`.

    Returns
    -------
    float, ndarray or DataArray, a
        inf where erosion does not exceed production. NaN as in `evolve`.

    Raises
    ------
    InputError
        As `evolve`.

    Notes
    -----
    ``t_b = (h0/E) ln[(e^(h_i/h0) - R/E)/(1 - R/E)]`` for R < E.

    Examples
    --------
    >>> round(time_to_bare(0.3, 1e-5, 4e-5, 0.5), 6)
    9251.329205
    """
    names = ("thickness", "potential_production", "erosion_rate", "h0")
    inputs = (thickness, potential_production, erosion_rate, h0)
    return cast(Cells, _apply("time_to_bare", "bare_after_field", TIME_TO_BARE, dict(zip(names, inputs))))


def _apply(where: str, kernel: str, output: Variable, inputs: dict[str, Any]) -> Any:
    if any(np.ndim(value) for value in inputs.values()):
        spec = replace(output, dtype=str(float_type(*inputs.values())))
        return map_pixels(FlatKernel(kernel, spec.dtype), *inputs.values(), outputs=[spec])[0]
    numbers = {name: float(values_of(value)) for name, value in inputs.items()}
    result = FlatKernel(kernel, "float64")(*(np.array([number]) for number in numbers.values())).item()
    if np.isnan(result) and not any(np.isnan(number) for number in numbers.values()):
        listed = ", ".join(f"{name}={number:g}" for name, number in numbers.items())
        raise InputError(f"{where}: {listed}: expected finite values, h0 > 0, and none but erosion_rate negative")
    if not any(isinstance(value, xr.DataArray) for value in inputs.values()):
        return float(result)
    return xr.DataArray(result, name=output.name, attrs=output.attributes())
