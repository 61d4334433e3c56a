"""The factors of RUSLE over the cells with soil, beside their ranges in the literature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]

PUBLISHED_MEAN: Final = 2.76
"""t ha-1 a-1, plateau mean of 2002-2016, Teng et al. 2018, doi 10.1016/j.scitotenv.2018.04.146."""
SYMBOLS: Final = {
    "rainfall_erosivity": "R", "soil_erodibility": "K", "ls_factor": "LS", "cover_factor": "C", "water_erosion": "A",
}  # fmt: skip
QUANTILES: Final = {"p05": 0.05, "median": 0.5, "p95": 0.95}
BINS_A_DECADE: Final = 50
"""Classes of the histograms in a factor of ten: a quantile is exact within the class's width of 4.7 %."""
ZERO: Final = -(10**6)
"""Class of the cells with 0."""


@dataclass(frozen=True)
class LiteratureRange:
    """What published work has for the mean of one factor.

    Parameters
    ----------
    low, high : float
    source : str
    """

    low: float
    high: float
    source: str


LITERATURE: Final = {
    "rainfall_erosivity": LiteratureRange(
        307.0, 714.0, "plateau means: Chen Y. et al. 2022, doi 10.5194/essd-14-2681-2022; 38 stations, Gu et al. 2020, "
        "doi 10.3390/w12010200"),
    "soil_erodibility": LiteratureRange(
        0.015, 0.061, "EPIC over China, plateau mean 0.031, doi 10.1016/j.catena.2023.107271"),
    "ls_factor": LiteratureRange(
        0.03, 43.5, "equations of Handbook 703 from level ground to 300 m at 50 %, Renard et al. 1997"),
    "cover_factor": LiteratureRange(
        0.00116, 0.2651, "means of forest to sparse vegetation, Panagos et al. 2015, "
        "doi 10.1016/j.landusepol.2015.05.021"),
    "water_erosion": LiteratureRange(
        2.76, 8.8, "plateau mean, Teng et al. 2018; 137Cs on alpine meadow 4.2 to 8.8, Shao 2011"),
}  # fmt: skip
"""Ranges of the means in the literature, by layer."""


def tally_erosion(layers: Mapping[str, Array]) -> dict[str, Any]:
    """Of one chunk: cells with a soil loss, and sums and histograms of the factors over them.

    Parameters
    ----------
    layers : mapping of str to ndarray (y, x)
        R, K, LS, C and A by the names of `SYMBOLS`.

    Returns
    -------
    dict
        `cells`; the sum of each factor; `limits`, the minimum and maximum of each; `histograms`, of each cells by
        class, the integer part of 50 log10(value).
    """
    has_value = np.isfinite(layers["water_erosion"])
    factors = {name: layers[name][has_value] for name in SYMBOLS}
    return {
        "cells": float(has_value.sum()),
        **{name: float(values.sum(dtype=np.float64)) for name, values in factors.items()},
        "limits": {name: [float(v.min()), float(v.max())] for name, v in factors.items() if v.size},
        "histograms": {name: _histogram(values) for name, values in factors.items()},
    }


def summarise_erosion(
    practice: float | str, tallies: Sequence[Mapping[str, Any]], attributes: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, pd.DataFrame]:
    """Means and quantiles of the factors over the cells with soil, beside the literature.

    Parameters
    ----------
    practice : float or str
        P, or the name of its layer.
    tallies : sequence of mapping
        Of `tally_erosion`, one for each chunk.
    attributes : mapping of str to mapping
        Of the factors' layers.

    Returns
    -------
    mapping of str to DataFrame
        One table, `rusle`, with columns factor, mean, p05, median, p95, literature, source, how. Means are exact,
        quantiles within 2.4 %.
    """
    cells = int(sum(tally["cells"] for tally in tallies))
    rows = []
    for name, symbol in SYMBOLS.items():
        mean = fsum(tally[name] for tally in tallies) / cells if cells else np.nan
        quantiles = _quantiles(name, tallies)
        how = f"t/ha/a, this run, {cells} cells with soil" if symbol == "A" else _how(attributes.get(name, {}), name)
        published = LITERATURE[name]
        rows.append((symbol, mean, *quantiles, f"{published.low:g} to {published.high:g}", published.source, how))
    if isinstance(practice, str):
        p = (np.nan, *[np.nan] * len(QUANTILES), "0 to 1", "Handbook 703", f"of the layer {practice}")
    else:
        p = (practice, *[practice] * len(QUANTILES), "1", "natural land", "one value")
    rows.insert(4, ("P", *p))
    missing = [np.nan] * len(QUANTILES)
    rows.append(("A published", PUBLISHED_MEAN, *missing, "", "Teng et al. 2018", "t/ha/a, plateau mean"))
    columns = ["factor", "mean", *QUANTILES, "literature", "source", "how"]
    return {"rusle": pd.DataFrame(rows, columns=columns)}


def factor_notes(tallies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for factors whose mean is outside the literature's range; the soil loss has a reference of its own.

    Examples
    --------
    >>> factor_notes([tally_erosion({name: np.full((2, 2), 0.03) for name in SYMBOLS})])[0][:66]
    'rainfall_erosivity: the mean over cells with soil is 0.03, outside'
    """
    cells = sum(tally["cells"] for tally in tallies)
    lines = []
    for name, published in LITERATURE.items():
        mean = fsum(tally[name] for tally in tallies) / cells if cells else np.nan
        if name != "water_erosion" and cells and not published.low <= mean <= published.high:
            lines.append(
                f"{name}: the mean over cells with soil is {mean:.4g}, outside {published.low:g} to "
                f"{published.high:g} ({published.source})"
            )
    return lines


def _histogram(values: Array) -> dict[str, int]:
    positive = values[values > 0].astype(np.float64)
    classes, counts = np.unique(np.floor(BINS_A_DECADE * np.log10(positive)).astype(np.int64), return_counts=True)
    zeros = int(np.count_nonzero(values == 0))
    return ({str(ZERO): zeros} if zeros else {}) | {str(c): int(n) for c, n in zip(classes, counts)}


def _quantiles(name: str, tallies: Sequence[Mapping[str, Any]]) -> list[float]:
    """The middles of the classes in which the quantiles are, in logarithms, within the values' limits."""
    total = Counter[int]()
    for tally in tallies:
        total.update({int(label): count for label, count in tally["histograms"][name].items()})
    if not total:
        return [np.nan] * len(QUANTILES)
    limits = [tally["limits"][name] for tally in tallies if name in tally["limits"]]
    lowest, highest = min(low for low, _ in limits), max(high for _, high in limits)
    classes = sorted(total)
    shares = np.cumsum([total[one] for one in classes]) / sum(total.values())
    at = [classes[int(np.searchsorted(shares, share))] for share in QUANTILES.values()]
    middles = [0.0 if one == ZERO else float(10.0 ** ((one + 0.5) / BINS_A_DECADE)) for one in at]
    return [min(max(middle, lowest), highest) for middle in middles]


def _how(attrs: Mapping[str, Any], name: str) -> str:
    if attrs.get("assumptions"):
        return f"assumed: {attrs['assumptions']}"
    texts = [str(attrs.get("method") or f"of the layer {name}")]
    if attrs.get("rescaling"):
        texts.append(str(attrs["rescaling"]))
    if attrs.get("max_length_m"):
        texts.append(f"slope length up to {float(attrs['max_length_m']):g} m")
    if attrs.get("stones"):
        texts.append(f"stones: {attrs['stones']}")
    if attrs.get("allow_coarse_dem"):
        texts.append(f"accepted: {attrs['warning']}")
    return "; ".join(texts)
