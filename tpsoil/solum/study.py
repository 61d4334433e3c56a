"""What the solum study printed of its maps, to stand beside a run's own values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from .parameters import NAMES, PUBLISHED, PUBLISHED_SCORES, PUBLISHED_ZONES

ENVIRONMENT: Final = ("elevation", "mean_annual_temperature", "annual_precipitation", "ndvi")


@dataclass(frozen=True)
class PublishedValue:
    """One number as the study printed it.

    Parameters
    ----------
    layer : str
        Layer that it describes, by the name that a recipe uses.
    statistic : str
        "mean", "min", "max", "sd", "rmse", "mre", "r" (correlation with thickness) or "gain_percent" (RMSE of this map
        below that of the layer).
    place : str
        "plateau", "profiles", or a window or basin.
    value : float
    units : str
    source : str
        Table, figure or section of the preprint.
    """

    layer: str
    statistic: str
    place: str
    value: float
    units: str
    source: str


def _values() -> tuple[PublishedValue, ...]:
    rows = []
    for layer, name in (
        ("solum_thickness", "this study"), ("shangguan_thickness", "Shangguan"), ("liu_thickness", "Liu"),
    ):  # fmt: skip
        for statistic in ("mean", "min", "max", "rmse", "mre"):
            place = "profiles" if statistic in ("rmse", "mre") else "plateau"
            units = "1" if statistic == "mre" else "m"
            value = PUBLISHED_SCORES[name][statistic]
            rows.append(PublishedValue(layer, statistic, place, value, units, "Table 5"))
    for layer, of_table, of_abstract in (("shangguan_thickness", 24.44, 17.0), ("liu_thickness", 19.05, 10.0)):
        rows.append(PublishedValue(layer, "gain_percent", "profiles", of_table, "%", "recomputed from Table 5"))
        rows.append(PublishedValue(layer, "gain_percent", "profiles", of_abstract, "%", "abstract, section 5"))
    for layer, place, statistic, value, units, source in (
        ("solum_thickness", "Qaidam", "mean", 0.99, "m", "section 3.4.3, Fig. 7"),
        ("solum_thickness", "Qaidam", "sd", 0.13, "m", "section 3.4.3, Fig. 7"),
        ("liu_thickness", "Qaidam", "sd", 0.24, "m", "section 3.4.3, Fig. 7"),
        ("shangguan_thickness", "Qaidam", "max", 1.36, "m", "section 3.4.3, Fig. 7"),
        ("elevation", "Qiangtang", "mean", 4964.0, "m", "section 3.4.3, Fig. 8"),
        ("ndvi", "Qiangtang", "mean", 0.18, "1", "section 3.4.3, Fig. 8"),
        ("solum_thickness", "Qiangtang", "mean", 0.74, "m", "section 3.4.3, Fig. 8"),
        ("solum_thickness", "Qiangtang", "min", 0.41, "m", "section 3.4.3, Fig. 8"),
        ("solum_thickness", "Qiangtang", "max", 1.42, "m", "section 3.4.3, Fig. 8"),
        ("shangguan_thickness", "Qiangtang", "mean", 0.58, "m", "section 3.4.3, Fig. 8"),
        ("shangguan_thickness", "Qiangtang", "min", 0.12, "m", "section 3.4.3, Fig. 8"),
        ("shangguan_thickness", "Qiangtang", "max", 1.22, "m", "section 3.4.3, Fig. 8"),
        ("liu_thickness", "Qiangtang", "mean", 0.67, "m", "section 3.4.3, Fig. 8"),
        ("liu_thickness", "Qiangtang", "min", 0.04, "m", "section 3.4.3, Fig. 8"),
        ("liu_thickness", "Qiangtang", "max", 1.16, "m", "section 3.4.3, Fig. 8"),
        (
            "solum_thickness",
            "Yellow River",
            "mean",
            1.16,
            "m",
            "section 3.2, Fig. 3; of the run: see the table of [[zonal]]",
        ),
        ("mean_annual_temperature", "plateau", "r", 0.66, "1", "section 3.3, Fig. 4"),
        ("elevation", "plateau", "r", -0.66, "1", "section 3.3, Fig. 4"),
        ("ndvi", "plateau", "r", 0.45, "1", "section 3.3, Fig. 4"),
        ("general_curvature", "plateau", "r", -0.01, "1", "section 3.3, Fig. 4"),
    ):
        rows.append(PublishedValue(layer, statistic, place, value, units, source))
    return tuple(rows)


PUBLISHED_VALUES: Final[tuple[PublishedValue, ...]] = _values()
"""Numbers of the preprint essd-2025-809 on its maps. Two gains stand beside each other because the abstract's 10 and
17 % do not follow from Table 5 (science sheet 2j). The RMSE is called both cross-validated and in-sample (2p)."""


def published_zone_table() -> pd.DataFrame:
    """Tables 3 and 4 of the study: mean environment, parameters, RMSE and profiles of its zones.

    Returns
    -------
    DataFrame
        A row for each of the eight zones; `rmse` in m, NaN for zone 8.

    Examples
    --------
    >>> published_zone_table()["n"].sum()
    np.int64(522)
    """
    rows = []
    for zone, means in PUBLISHED_ZONES.items():
        environment = {name: getattr(means, name) for name in ENVIRONMENT}
        parameters = {name: getattr(PUBLISHED[zone], name) for name in NAMES}
        rows.append({"zone": zone, **environment, **parameters, "rmse": means.rmse, "n": means.profiles})
    return pd.DataFrame(rows)
