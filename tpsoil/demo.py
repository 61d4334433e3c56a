"""`tpsoil demo`: the sample cube to both maps, with soil observations that are simulated from a known truth.

The covariates are real. No soil was measured in them, so the element samples are drawn from a truth that stands here in
full, and every output that rests on them says *simulated*. What the demo can show is therefore how well a forest finds
a known pattern again, not how well it maps the plateau.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

SEED: Final = 20260101
SITES: Final = 526
"""As many as the micronutrient study has."""
REPLICATES: Final = 3
SITE_NOISE, REPLICATE_NOISE = 0.35, 0.20
"""Standard deviations of the noise between and within sites, as shares of the element's own."""

FEATURES: Final = (
    "elevation", "slope", "general_curvature", "mean_annual_temperature", "annual_precipitation", "ndvi", "ndvi_min",
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """One element's known pattern: weights of five responses, and the level and spread it is scaled to.

    Parameters
    ----------
    wet, warm, green, steep, high : float
        Weights of: 1 - exp(-MAP / 600 mm); a logistic of MAT with its middle at 0 degC; NDVI; 1 - exp(-slope / 4 deg);
        a logistic of elevation with its middle at 4500 m.
    mean, sd : float, mg kg-1
        Over soil cells. The published site means and standard deviations (science sheet, section 12), so that the
        simulated values have the size of real ones; the pattern itself is invented.
    """

    wet: float
    warm: float
    green: float
    steep: float
    high: float
    mean: float
    sd: float


TRUTH: Final[Mapping[str, Truth]] = {
    "iron": Truth(0.9, 0.2, 0.4, 0.9, -0.2, 22864.30, 7589.01),
    "manganese": Truth(0.5, 0.3, 1.0, -0.3, 0.0, 576.74, 206.44),
    "zinc": Truth(0.2, 0.8, 0.7, 0.3, -0.4, 27.24, 8.55),
    "vanadium": Truth(1.1, -0.3, 0.2, 0.5, 0.3, 56.99, 19.33),
}


def true_elements(cube: xr.Dataset) -> xr.Dataset:
    """The known truth of the four elements on a cube.

    Parameters
    ----------
    cube : Dataset (y, x)
        With the layers that `Truth` names and `soil_mask`.

    Returns
    -------
    Dataset (y, x), float32, mg kg-1
        NaN where there is no soil or a covariate is missing.

    Notes
    -----
    The weighted sum is standardised over the soil cells, bent by tanh(z / 2) * 2 so that no value is negative, and
    scaled to the element's mean and spread.
    """
    layers = cube[["annual_precipitation", "mean_annual_temperature", "ndvi", "slope", "elevation", "soil_mask"]].load()
    responses = {
        "wet": 1 - np.exp(-layers.annual_precipitation / 600),
        "warm": 1 / (1 + np.exp(-layers.mean_annual_temperature / 4)),
        "green": layers.ndvi,
        "steep": 1 - np.exp(-layers.slope / 4),
        "high": 1 / (1 + np.exp(-(layers.elevation - 4500) / 400)),
    }
    truth = {}
    for element, known in TRUTH.items():
        pattern = sum(getattr(known, name) * response for name, response in responses.items())
        pattern = pattern.where(layers.soil_mask == 1)
        score = (pattern - pattern.mean()) / pattern.std()
        value = known.mean + known.sd * 2 * np.tanh(score / 2)
        truth[element] = value.astype("float32").assign_attrs(
            long_name=f"simulated topsoil {element}, the known truth", units="mg kg-1", simulated="true"
        )
    return xr.Dataset(truth)


def simulated_samples(truth: xr.Dataset, seed: int = SEED) -> pd.DataFrame:
    """Samples drawn from the truth: sites at random among the soil cells, three replicates a site.

    Parameters
    ----------
    truth : Dataset (y, x)
        From `true_elements`.
    seed : int

    Returns
    -------
    DataFrame
        Columns site, replicate, x, y (m) and one a element (mg kg-1); SITES x REPLICATES rows.
    """
    random = np.random.default_rng(seed)
    complete = xr.concat([truth[name].notnull() for name in truth], dim="element").all("element").to_numpy()
    rows, columns = np.nonzero(complete)
    chosen = random.choice(rows.size, size=SITES, replace=False)
    rows, columns = rows[chosen], columns[chosen]
    table = pd.DataFrame(
        {
            "site": np.repeat(np.arange(1, SITES + 1), REPLICATES),
            "replicate": np.tile(np.arange(1, REPLICATES + 1), SITES),
            "x": np.repeat(truth.x.to_numpy()[columns], REPLICATES),
            "y": np.repeat(truth.y.to_numpy()[rows], REPLICATES),
        }
    )
    for element, known in TRUTH.items():
        value = np.repeat(truth[element].to_numpy()[rows, columns], REPLICATES)
        between = np.repeat(random.normal(0, SITE_NOISE * known.sd, SITES), REPLICATES)
        within = random.normal(0, REPLICATE_NOISE * known.sd, SITES * REPLICATES)
        table[element] = np.maximum(value + between + within, 0.05 * known.mean).round(2)
    return table
