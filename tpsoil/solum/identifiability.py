"""Identifiability of the parameters: sensitivities, rank, flat directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.kernels import pedogenesis

from .inputs import NEEDED
from .options import SolumOptions
from .parameters import NAMES, SolumParameters

Doubles = npt.NDArray[np.float64]

SENSITIVITIES: Final = ("h0", "ln_rho_s", "ln_a", "b", "ln_alpha", "ln_beta", "ln_gamma", "ln_D")
"""Derivatives of thickness, m per unit of h0 or b, m per e-fold of the others."""


def sensitivities(
    sites: pd.DataFrame | Mapping[str, Any], parameters: SolumParameters, options: SolumOptions | None = None
) -> pd.DataFrame:
    """Derivatives of the steady thickness with respect to each parameter.

    Parameters
    ----------
    sites : DataFrame or mapping
        The model's five layers, one row a site.
    parameters : SolumParameters
    options : SolumOptions, optional
        Of the model; a site capped at bedrock is treated as uncapped.

    Returns
    -------
    DataFrame
        Columns `SENSITIVITIES`, and `water_share`, `wind_share`, `gravity_share` of E. NaN where there is no steady
        state (E <= 0, or the options' minimum erosion); 0 where bare.

    Raises
    ------
    InputError
        For missing columns.

    Notes
    -----
    dh/dln a = h0; dh/dln alpha = -h0 f_w; dh/dln gamma = dh/dln D = -h0 f_g; dh/dln rho_s = h0 (f_w + f_d);
    dh/db = h0 EEMT; dh/dh0 = h/h0, with f the shares of E.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> site = dict(mean_annual_temperature=[13.09], annual_precipitation=[832.41], water_erosion=[5.0],
    ...             wind_erosion=[0.1], general_curvature=[1e-3])
    >>> round(float(sensitivities(site, PUBLISHED[1])["ln_alpha"].iloc[0]), 8)
    -0.01624143
    """
    table = pd.DataFrame(sites)
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise InputError(f"sensitivities: sites lack {', '.join(missing)}")
    t, p, water, wind, curvature = (table[name].to_numpy(float) for name in NEEDED)
    balance = (options or SolumOptions()).balance()
    energy = pedogenesis.energy_field(t, p)
    h0, ln_ra, b, per_water, per_wind, per_curvature = parameters.row()
    terms = np.stack([per_water * water, per_wind * wind, per_curvature * balance.curvature_scale * curvature])
    lowering = terms.sum(axis=0) - balance.dust
    lowering[~(lowering > max(balance.least_erosion, 0.0))] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        share = terms / lowering
        h = h0 * (ln_ra + b * energy - np.log(lowering))
    columns = {
        "h0": h / h0,
        "ln_rho_s": h0 * (share[0] + share[1]),
        "ln_a": h0 + 0 * h,
        "b": h0 * energy + 0 * h,
        "ln_alpha": -h0 * share[0],
        "ln_beta": -h0 * share[1],
        "ln_gamma": -h0 * share[2],
        "ln_D": -h0 * share[2],
    }
    result = pd.DataFrame({name: np.where(h > 0, values, 0 * h) for name, values in columns.items()}, index=table.index)
    for name, values in zip(("water_share", "wind_share", "gravity_share"), share):
        result[name] = values
    return result


def identifiability(
    sites: pd.DataFrame,
    parameters: SolumParameters,
    options: SolumOptions | None = None,
    *,
    resolution_m: float = 0.01,
) -> dict[str, Any]:
    """How many directions of the eight parameters the profiles can see.

    Parameters
    ----------
    sites : DataFrame
        The model's five layers.
    parameters : SolumParameters
    options : SolumOptions, optional
    resolution_m : float
        A direction counts as practically visible where an e-fold along it moves thickness by more than this on
        (root mean square) average; > 0.

    Returns
    -------
    dict
        `rank`: exact directions (at most 5: a, alpha/rho_s, beta/rho_s and gamma D scale together, and gamma D is one;
        6 with dust or a minimum erosion); `visible`: those above `resolution_m`; `singular_values`: m an e-fold,
        descending; `flattest`: the parameters that make up the flattest of the directions that are not exactly flat.

    Notes
    -----
    Singular values of the Jacobian of thickness with respect to the logarithms of all eight parameters over sqrt(n).

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> sites = pd.DataFrame({"mean_annual_temperature": [3.0, 4.0], "annual_precipitation": [600.0, 500.0],
    ...                       "water_erosion": [2.0, 3.0], "wind_erosion": [1.0, 0.5],
    ...                       "general_curvature": [0.0, 0.001]})
    >>> identifiability(sites, PUBLISHED[8])["rank"]
    2
    """
    table = sensitivities(sites, parameters, options)
    jacobian = table[list(SENSITIVITIES)].to_numpy(float)
    jacobian = jacobian[np.isfinite(jacobian).all(axis=1)]
    if not len(jacobian):
        return {"rank": 0, "visible": 0, "singular_values": [0.0] * len(NAMES), "flattest": ""}
    jacobian = jacobian * np.array([parameters.h0, 1, 1, parameters.b, 1, 1, 1, 1])  # all per e-fold
    _, values, directions = np.linalg.svd(jacobian / np.sqrt(len(jacobian)), full_matrices=False)
    rank = int((values > 1e-9 * values[0]).sum()) if values[0] > 0 else 0
    flattest = ""
    if rank:
        weights = np.abs(directions[rank - 1])
        flattest = " ".join(NAMES[j] for j in np.argsort(-weights) if weights[j] > 0.3)
    return {
        "rank": rank,
        "visible": int((values > resolution_m).sum()),
        "singular_values": np.pad(values, (0, len(NAMES) - values.size)).tolist(),
        "flattest": flattest,
    }
