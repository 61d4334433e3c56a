"""Reference ranges of published work, and the notes of a run whose maps are outside them.

Numbers come from the records of the tiles, never from reading the maps again. A note is no error: another region
may well differ; it is a line that a reader sees before using a map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isinf
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from .errors import InputError
from .units import range_text
from .variables import CATALOGUE, Variable, variable

Array = npt.NDArray[Any]

LOWEST_R2: Final = 0.3
"""Nash-Sutcliffe efficiency or squared correlation below which a model is noted."""
TEMPERATURE_DISTANCE_K: Final = 5.0
PRECIPITATION_RATIO: Final = 2.0
PLATEAU_BOX: Final = (70.0, 25.0, 105.0, 41.0)
"""West, south, east, north of the Tibetan Plateau and its rims, degrees."""
_ZONE_LAYERS: Final = ("mean_annual_temperature", "annual_precipitation")
_SCORE_COLUMNS: Final = {"nse": "Nash-Sutcliffe efficiency", "squared_correlation": "squared correlation"}
_SHOWN: Final = 4
_MASK: Final = "soil_mask"


@dataclass(frozen=True)
class Reference:
    """A range of the published values of a layer.

    Parameters
    ----------
    layer : str
        In the catalogue.
    statistic : {"mean", "cells"}
        Whether the mean of the map or every cell is compared.
    low, high : float
        In the catalogue's unit.
    source : str
        Whose range it is.
    everywhere : bool
        Whether the range holds on all land; the others were published for the Tibetan Plateau.
    """

    layer: str
    statistic: Literal["mean", "cells"]
    low: float
    high: float
    source: str
    everywhere: bool = False

    @property
    def range_text(self) -> str:
        """The range with its unit."""
        return range_text(self.low, self.high, variable(self.layer).units)


_PLATEAU_MAP: Final = "the plateau's published map, Huo et al. 2026"

REFERENCES: Final[tuple[Reference, ...]] = (
    # A third to three times the plateau's mean of 2.76 t/ha/a.
    Reference("water_erosion", "mean", 0.92, 8.28, "a third to three times the plateau's mean 2.76, Teng et al. 2018"),
    Reference("potential_production", "cells", float("-inf"), 1.0,
              "soil production in the literature is 1e-5 to 1e-3 m a-1", everywhere=True),
    # With a longer response time no climate lasted long enough for its steady state.
    Reference("response_time", "cells", float("-inf"), 2.58e6,
              "length of the Quaternary, Gibbard et al. 2010, doi:10.1002/jqs.1338", everywhere=True),
    Reference("solum_thickness", "cells", 0.39, 2.04, "the published map, Chen et al. 2026"),
    Reference("iron", "mean", 7686, 38042, "mean +- 2 SD of the plateau's samples, Huo et al. 2026"),
    Reference("manganese", "mean", 298.47, 1110.19, _PLATEAU_MAP),
    Reference("zinc", "mean", 17.09, 45.03, _PLATEAU_MAP),
    Reference("vanadium", "mean", 40.79, 82.00, _PLATEAU_MAP),
    Reference("copper", "mean", 21.42, 35.78, _PLATEAU_MAP),
    Reference("nickel", "mean", 44.28, 61.95, _PLATEAU_MAP),
    Reference("molybdenum", "mean", 3.88, 5.87, _PLATEAU_MAP),
)  # fmt: skip


def chunk_statistics(outputs: Sequence[Variable], layers: Mapping[str, Array]) -> dict[str, Any]:
    """Numbers of one chunk that the notes are computed from, as JSON.

    Parameters
    ----------
    outputs : sequence of Variable
        Of the stage.
    layers : mapping of str to ndarray
        The chunk's cells of every input and output, as stored.

    Returns
    -------
    dict
        `cells`; `valid`, cells with a value of each output; `soil`, cells of an output `soil_mask` with soil; `values`,
        of each layer with a reference its count, sum, minimum, maximum and the cells outside; `zones`, sums of climate
        by zone; and, where no output has a value, `missing`, cells without a value of each input, and `codes`, cells of
        each status.

    Examples
    --------
    >>> chunk_statistics([variable("potential_production")], {"potential_production": np.array([[0.5, 2.0]])})["values"]
    {'potential_production': [2, 2.5, 0.5, 2.0, 1]}
    """
    specs = {output.name: output for output in outputs}
    valid = {name: _known(layers[name], specs[name]) for name in specs if name in layers}
    size = int(next(iter(layers.values())).size) if layers else 0
    numbers: dict[str, Any] = {
        "cells": size,
        "valid": {name: int(np.count_nonzero(known)) for name, known in valid.items()},
        "values": {r.layer: _compared(layers[r.layer], r) for r in REFERENCES if r.layer in layers},
    }
    if _MASK in valid:
        numbers["soil"] = int(np.count_nonzero(layers[_MASK] == 1))
    if "zone" in layers and all(name in layers for name in _ZONE_LAYERS):
        numbers["zones"] = _zone_sums(layers)
    quantities = {name: known for name, known in valid.items() if specs[name].kind != "categorical"}
    if quantities and not any(known.any() for known in quantities.values()):
        inputs = [name for name in layers if name not in specs]
        numbers["missing"] = {
            name: missing for name in inputs if (missing := size - int(np.count_nonzero(_known(layers[name], None))))
        }
        numbers["codes"] = {
            name: {str(code): int(np.count_nonzero(layers[name] == code)) for code in sorted(spec.flags)}
            for name, spec in specs.items()
            if spec.flags and name in layers
        }
    return numbers


def references_at(bounds: tuple[float, float, float, float]) -> tuple[Reference, ...]:
    """Ranges to compare a map with: those of the plateau only where the map's centre lies near it.

    Parameters
    ----------
    bounds : (west, south, east, north)
        Of the map, degrees.

    Returns
    -------
    tuple of Reference

    Examples
    --------
    >>> [reference.layer for reference in references_at((5, 44, 17, 49))]  # the Alps
    ['potential_production', 'response_time']
    """
    west, south, east, north = bounds
    low_x, low_y, high_x, high_y = PLATEAU_BOX
    near = low_x <= (west + east) / 2 <= high_x and low_y <= (south + north) / 2 <= high_y
    return tuple(reference for reference in REFERENCES if near or reference.everywhere)


def notes_of(
    statistics: Sequence[Mapping[str, Any]],
    fitted: Mapping[int, Mapping[str, float]] | None = None,
    *,
    references: Sequence[Reference] = REFERENCES,
) -> list[str]:
    """Lines for the maps of a stage that are outside a reference range.

    Parameters
    ----------
    statistics : sequence of mapping
        `chunk_statistics` of all chunks, in a fixed order.
    fitted : mapping of int to mapping, optional
        Mean climate of each zone where its parameters were fitted.
    references : sequence of Reference
        Ranges to compare with, of `references_at`.

    Returns
    -------
    list of str

    Examples
    --------
    >>> numbers = chunk_statistics([variable("zinc")], {"zinc": np.array([[80.0, 90.0]])})
    >>> notes_of([numbers])[0][:60]
    "zinc: the map's mean is 85 mg kg-1, outside 17.09 to 45.03 m"
    """
    lines = []
    for reference in references:
        parts = [chunk["values"][reference.layer] for chunk in statistics if reference.layer in chunk.get("values", {})]
        count = sum(part[0] for part in parts)
        if not count:
            continue
        mean = fsum(part[1] for part in parts) / count
        outside = sum(part[4] for part in parts)
        if reference.statistic == "mean" and not reference.low <= mean <= reference.high:
            unit = variable(reference.layer).units
            lines.append(
                f"{reference.layer}: the map's mean is {mean:.4g} {unit}, outside {reference.range_text} "
                f"({reference.source})"
            )
        elif reference.statistic == "cells" and outside:
            low, high = min(p[2] for p in parts if p[0]), max(p[3] for p in parts if p[0])
            unit = variable(reference.layer).units
            limits = f"above {reference.high:g} {unit}" if isinf(reference.low) else f"outside {reference.range_text}"
            lines.append(
                f"{reference.layer}: {outside} of {count} cells ({100 * outside / count:.3g} %) are {limits} "
                f"({reference.source}); the map has {low:.4g} to {high:.4g}"
            )
    return lines + _zone_notes(statistics, fitted or {})


def score_notes(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Lines for models that explain less than 0.3 of the variance.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        A run's tables; those with a column `nse` or `squared_correlation` are checked.

    Returns
    -------
    list of str

    Examples
    --------
    >>> score_notes({"elements": pd.DataFrame({"element": ["Fe"], "folds": ["blocks"], "nse": [0.12]})})
    ['elements: Nash-Sutcliffe efficiency is 0.12 for Fe, blocks, below 0.3']
    """
    lines = []
    for name, table in tables.items():
        for column, label in _SCORE_COLUMNS.items():
            if column not in table.columns:
                continue
            values = pd.to_numeric(table[column], errors="coerce")
            labels = [one for one in table.columns if not pd.api.types.is_numeric_dtype(table[one])]
            low = table[values < LOWEST_R2]
            for at in low.index[:_SHOWN]:
                which = ", ".join(str(low.loc[at, one]) for one in labels) or f"row {at}"
                lines.append(f"{name}: {label} is {values[at]:.3g} for {which}, below {LOWEST_R2:g}")
            if len(low) > _SHOWN:
                lines.append(f"{name}: {label} is below {LOWEST_R2:g} in {len(low) - _SHOWN} more rows")
    return lines


def emptiness(statistics: Iterable[Mapping[str, Any]]) -> str:
    """Why the maps of a stage have no value anywhere; "" where they have one.

    Examples
    --------
    >>> layers = {"water_erosion": np.full((1, 2), np.nan), "solum_thickness": np.full((1, 2), np.nan)}
    >>> emptiness([chunk_statistics([variable("solum_thickness")], layers)])
    'no cell of solum_thickness has a value: of 2 cells 2 lack water_erosion'
    """
    chunks = list(statistics)
    if not chunks or any("missing" not in chunk for chunk in chunks):
        return ""
    cells = sum(chunk["cells"] for chunk in chunks)
    causes = [f"{count} lack {name}" for name, count in _total(chunk["missing"] for chunk in chunks).items()]
    for layer in sorted({name for chunk in chunks for name in chunk["codes"]}):
        flags = CATALOGUE[layer].flags if layer in CATALOGUE else {}
        counts = _total(chunk["codes"].get(layer, {}) for chunk in chunks)
        causes += [f"{count} have {layer} '{flags.get(int(code), code)}'" for code, count in counts.items() if count]
    outputs = sorted(
        {n for c in chunks for n in c["valid"] if n not in CATALOGUE or CATALOGUE[n].kind != "categorical"}
    )
    reason = ", ".join(causes) or "have every input; the model gives none"
    return f"no cell of {', '.join(outputs)} has a value: of {cells} cells {reason}"


def require_values(
    outputs: Iterable[str], statistics: Iterable[Mapping[str, Any]], *, source: str = "the source", nodata: str = ""
) -> None:
    """Reject a layer from a source that has no value in any cell, and a soil mask without soil.

    Parameters
    ----------
    outputs : iterable of str
        Names of the layers.
    statistics : iterable of mapping
        Of all chunks: `cells`, `valid` and, of a mask, `soil`, as `chunk_statistics` counts them. Where a chunk lacks
        these counts nothing is rejected: its record is of an earlier version.
    source : str
        Where the layers come from, for the message.
    nodata : str
        What the source declares as missing, for the message.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_values(["ndvi"], [{"cells": 4, "valid": {"ndvi": 0}}], source="ndvi.tif")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tpsoil.errors.InputError: ndvi: none of the 4 cells of the grid has a value; ndvi.tif is empty there, or all of...
    """
    chunks = list(statistics)
    cells = f"{sum(chunk['cells'] for chunk in chunks)} cells of the grid"
    for name in outputs if chunks else ():
        usable = [chunk.get("soil") if name == _MASK else chunk["valid"].get(name) for chunk in chunks]
        if any(count is None or count > 0 for count in usable):
            continue
        if name == _MASK:
            raise InputError(
                f"{name}: none of the {cells} has soil ({source}); check the polygons of the area and of what is "
                "outside, and the classes without soil"
            )
        raise InputError(
            f"{name}: none of the {cells} has a value; {source} is empty there, or all of it is nodata"
            f"{f' ({nodata})' if nodata else ''}; check the file, its region, and nodata="
        )


def _known(values: Array, spec: Variable | None) -> Array:
    if spec is not None and spec.kind == "categorical":
        return np.asarray(values != spec.fill)
    return np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)


def _compared(values: Array, reference: Reference) -> list[float]:
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        return [0, 0.0, 0.0, 0.0, 0]
    # stored float32: 0.39 is 0.38999999
    slack = 1e-6 * max(abs(reference.high), abs(reference.low) if np.isfinite(reference.low) else 0.0)
    low, high = float(known.min()), float(known.max())
    outside = 0
    if low < reference.low - slack or high > reference.high + slack:
        outside = int(np.count_nonzero((known < reference.low - slack) | (known > reference.high + slack)))
    return [int(known.size), float(known.sum()), low, high, outside]


def cells_by_code(codes: Array) -> Iterator[tuple[Any, Array]]:
    """Each class that occurs, in ascending order, with the positions of its cells, also ascending.

    Parameters
    ----------
    codes : ndarray (n,)
        Without NaN. Bytes are sorted by radix, several times as fast as one comparison and selection a class.

    Examples
    --------
    >>> [(int(code), here.tolist()) for code, here in cells_by_code(np.array([4, 2, 4], np.uint8))]
    [(2, [1]), (4, [0, 2])]
    """
    order = np.argsort(codes, kind="stable")
    for here in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if here.size:
            yield codes[here[0]], here


def _zone_sums(layers: Mapping[str, Array]) -> dict[str, list[float]]:
    """Of each zone: cells and sums of temperature and precipitation."""
    warmth, rain = (np.asarray(layers[name], np.float64).ravel() for name in _ZONE_LAYERS)
    zone = np.asarray(layers["zone"]).ravel()
    known = np.isfinite(warmth) & np.isfinite(rain) & np.isfinite(zone) & (zone != variable("zone").fill)
    warmth, rain = warmth[known], rain[known]
    return {
        str(int(code)): [here.size, float(warmth[here].sum()), float(rain[here].sum())]
        for code, here in cells_by_code(zone[known])
    }


def _zone_notes(statistics: Sequence[Mapping[str, Any]], fitted: Mapping[int, Mapping[str, float]]) -> list[str]:
    lines = []
    for zone, climate in sorted(fitted.items()):
        parts = [c["zones"][str(zone)] for c in statistics if str(zone) in c.get("zones", {})]
        cells = sum(part[0] for part in parts)
        if not cells:
            continue
        warmth, rain = (fsum(part[k] for part in parts) / cells for k in (1, 2))
        fitted_warmth, fitted_rain = (climate[name] for name in _ZONE_LAYERS)
        differences = []
        if abs(warmth - fitted_warmth) > TEMPERATURE_DISTANCE_K:
            differences.append(f"{warmth:.1f} degC, not {fitted_warmth:.1f} degC")
        if not 1 / PRECIPITATION_RATIO <= rain / fitted_rain <= PRECIPITATION_RATIO:
            differences.append(f"{rain:.0f} mm, not {fitted_rain:.0f} mm")
        if differences:
            lines.append(
                f"zone {zone}: {cells} cells have a mean of {' and '.join(differences)} as where its "
                "parameters were fitted; they are used outside that climate"
            )
    return lines


def _total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    totals = Counter[str]()
    for one in counts:
        totals.update(one)
    return totals
