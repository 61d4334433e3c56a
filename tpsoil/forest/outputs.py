"""Identities of the layers that a map of one target has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tpsoil.variables import CATALOGUE, Variable, variable

LAYERS: Final = ("mean", "sd", "lower", "upper", "dissimilarity", "applicability")
LIMITS: Final = "conformalised quantile forest: out-of-fold observations are covered with the nominal frequency"
"""Meaning of the limits of an interval."""
SPREAD_LIMITS: Final = (
    "spread between trees, scaled so that out-of-fold observations are covered with the nominal frequency"
)
EXTRA_LAYERS: Final = ("point_density", "expected_error")
"""Layers of covariate space that are mapped on request."""


def layer_variables(
    label: str,
    level: float | None = 0.9,
    *,
    units: str = "mg kg-1",
    title: str | None = None,
    extra: Sequence[str] = (),
    limits: str = LIMITS,
) -> list[Variable]:
    """Identities of the layers that a map of one target has.

    Parameters
    ----------
    label : str
        Of the mean; the others are `label_sd`, `label_lower` and so on. One of the catalogue gives its long name.
    level : float or None
        Of the interval; None for mean and spread alone.
    units : str
    title : str, optional
        Of a target that is not in the catalogue.
    extra : sequence of str
        Of `EXTRA_LAYERS`; only with a level.
    limits : str
        Meaning of the limits.

    Returns
    -------
    list of Variable
        In the order of `LAYERS`, then of `extra`.

    Examples
    --------
    >>> [spec.name for spec in layer_variables("zinc", None)]
    ['zinc', 'zinc_sd']
    """
    if label in CATALOGUE:
        mean = replace(CATALOGUE[label], units=units)
    else:
        mean = replace(variable("mean"), name=label, units=units, long_name=title or label)
    named = mean.long_name
    spread = replace(variable("sd"), name=f"{label}_sd", long_name=f"{named}, spread between trees", units=units)
    if level is None:
        return [mean, spread]
    bounds = [
        replace(
            mean,
            name=f"{label}_{side}",
            long_name=f"{named}, {side} limit of the {100 * level:g} % interval",
            meaning=limits,
            standard_name="",
        )
        for side in ("lower", "upper")
    ]
    index, area = variable("dissimilarity_index"), variable("applicability")
    return [
        mean,
        spread,
        *bounds,
        replace(index, name=f"{label}_dissimilarity", long_name=f"{named}, dissimilarity index"),
        replace(area, name=f"{label}_applicability", long_name=f"{named}, area of applicability"),
        *(_extra(label, named, units, name) for name in extra),
    ]


def _extra(label: str, named: str, units: str, name: str) -> Variable:
    if name == "point_density":
        return Variable(
            f"{label}_point_density",
            f"{named}, local point density",
            "1",
            low=0,
            meaning="training samples within the threshold of dissimilarity; 0 outside the area of applicability",
        )
    return Variable(
        f"{label}_expected_error",
        f"{named}, expected root mean square error",
        units,
        low=0,
        meaning="isotonic regression of squared out-of-fold errors on the dissimilarity index",
    )
