"""First screen of a page: what was computed, how certain it is, what was assumed, where the models do not apply."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.reports.geography import cities
from tpsoil.variables import ELEMENTS

from .figures import palette
from .figures.reading import Picture
from .story import Story

COMPANIONS: Final = ("sd", "spread", "width", "lower", "upper", "dissimilarity", "applicability")
"""Endings of layers that describe the uncertainty of another one."""
BLOCKS: Final = 24
"""Along the longer side; high and low are means of such blocks, so that no single cell decides."""
NEAR_KM: Final = 100.0
"""A city further away does not name a place."""
LITTLE_BETTER: Final = 0.1
"""Nash-Sutcliffe efficiency below which a map is hardly better than the mean of its samples."""
SHOWN: Final = 6
"""Maximum number of rows of the table on the first screen."""


@dataclass(frozen=True)
class Summary:
    """What stands on the first screen.

    Parameters
    ----------
    sentence : str
        Value, range, high and low of the first map.
    table : DataFrame
        One row for each map: mean, range, score with its design, coverage of the interval, share outside.
    assumed : list of str
    notes : list of str
        Plausibility.
    """

    sentence: str
    table: pd.DataFrame
    assumed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def companions_of(names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Positions of the layers that describe the uncertainty of each layer.

    Examples
    --------
    >>> companions_of(["iron", "iron_sd", "slope"])
    {'iron': {'sd': 1}, 'slope': {}}
    """
    position = {name: i for i, name in enumerate(names)}
    bases = [name for name in names if not any(name == f"{base}_{end}" for base in names for end in COMPANIONS)]
    result = {name: {end: position[f"{name}_{end}"] for end in COMPANIONS if f"{name}_{end}" in position}
              for name in bases}  # fmt: skip
    if "applicability" in position:  # of a store with one model
        for name, own in result.items():
            if name != "applicability":
                own.setdefault("applicability", position["applicability"])
    return result


def summarise(
    story: Story,
    layers: Mapping[str, tuple[xr.DataArray, Picture]],
    companions: Mapping[str, Mapping[str, int]],
) -> Summary:
    """The first screen of a page.

    Parameters
    ----------
    story : Story
    layers : mapping of str to (DataArray, Picture)
        Layers shown, in their order.
    companions : mapping
        From `companions_of`.

    Returns
    -------
    Summary
    """
    names = list(layers)
    rows: list[dict[str, Any]] = []
    sentence = ""
    continuous = [name for name in companions if palette.layer_kind(layers[name][0]) == "continuous"]
    for name in continuous:
        layer, picture = layers[name]
        finite = np.isfinite(picture.values)
        if not finite.any():
            continue
        area = np.broadcast_to(picture.row_area[:, None], finite.shape)[finite]
        low, middle, high = (_text(v) for v in _weighted(picture.values[finite], area, (0.05, 0.5, 0.95)))
        units = palette.layer_units(layer)
        unit = "" if units in {"", "1"} else palette.unit_text(units)
        if not sentence:
            sentence = _sentence(layer, picture, (low, middle, high), unit)
        tail = f" {unit}" if unit else ""
        row = {"map": palette.layer_title(layer), "median": f"{middle}{tail}",
               "5 to 95 % of the area": f"{low} to {high}{tail}"}  # fmt: skip
        row["score"] = _score(name, layer, story)
        row["coverage of the interval"] = _coverage(name, layer, story)
        outside = companions[name].get("applicability")
        row["outside applicability"] = "" if outside is None else _share(layers[names[outside]][1], picture)
        rows.append(row)
        if len(rows) == SHOWN:
            break
    table = pd.DataFrame(rows)
    table = table[[column for column in table.columns if (table[column] != "").any()]]
    table.attrs["caption"] = "The maps in short" if len(continuous) <= SHOWN else f"The first {SHOWN} maps in short"
    return Summary(sentence, table, story.assumptions, story.plausibility)


def _sentence(layer: xr.DataArray, picture: Picture, numbers: tuple[str, str, str], unit: str) -> str:
    low, middle, high = numbers
    tail = f" {unit}" if unit else ""
    text = f"{palette.layer_title(layer)} has a median of {middle}{tail}; 90 % of the area lies between {low} and "
    text += f"{high}{tail}"
    places = _high_and_low(layer, picture)
    return f"{text}. {places}" if places else f"{text}."


def _high_and_low(layer: xr.DataArray, picture: Picture) -> str:
    """Where block means are highest and lowest."""
    side = max(1, -(-max(picture.values.shape) // BLOCKS))
    cells = xr.DataArray(np.where(np.isfinite(picture.values), picture.values, np.nan), dims=("y", "x"))
    blocks = cells.coarsen(y=side, x=side, boundary="pad")
    usable = blocks.count() >= 0.5 * side * side
    if usable.sum() < 3 or layer.odc.crs is None:
        return ""
    means = blocks.mean().where(usable).to_numpy()
    if np.nanmax(means) == np.nanmin(means):
        return "It is the same everywhere."
    texts = [
        _place(layer, picture, divmod(int(at), means.shape[1]), side)
        for at in (np.nanargmax(means), np.nanargmin(means))
    ]
    return f"It is highest {texts[0]} and lowest {texts[1]}." if all(texts) else ""


def _place(layer: xr.DataArray, picture: Picture, block: tuple[int, int], side: int) -> str:
    """The middle of a block of cells as degrees, with the nearest city."""
    from pyproj import Geod, Transformer

    left, right, bottom, top = picture.extent
    rows, columns = picture.values.shape
    scale = picture.crs_units
    x = scale * (left + (block[1] + 0.5) * side * (right - left) / columns)
    y = scale * (top - (block[0] + 0.5) * side * (top - bottom) / rows)
    lon, lat = Transformer.from_crs(layer.odc.crs.proj, 4326, always_xy=True).transform(x, y)
    if not (np.isfinite(lon) and np.isfinite(lat)):
        return ""
    lon = (lon + 180) % 360 - 180
    text = f"near {abs(lat):.0f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.0f}° {'E' if lon >= 0 else 'W'}"
    known = cities()
    places = [city.longitude for city in known], [city.latitude for city in known]
    *_, far = Geod(ellps="sphere").inv(np.full(len(known), lon), np.full(len(known), lat), *places)
    nearest = int(np.argmin(far))
    return f"{text} ({known[nearest].name})" if far[nearest] <= 1000 * NEAR_KM else text


def _score(name: str, layer: xr.DataArray, story: Story) -> str:
    """The score whose folds decide, then the one of random folds."""
    scores = {key[4:]: float(value) for key, value in layer.attrs.items() if re.fullmatch(r"nse_\w+", key)}
    if not scores:
        for table in story.scores:
            if table.attrs.get("name") == "solum_scores" and name == "solum_thickness" and "nse" in table:
                pooled = table[table["zone"].astype(str) == "all"] if "zone" in table else table
                kinds = pooled.get("kind", pooled.index)
                scores = {str(kind): float(v) for kind, v in zip(kinds, pooled["nse"], strict=True) if np.isfinite(v)}
    independent = _at_profiles(story) if name == "solum_thickness" else ""
    if not scores:
        return independent or "not scored"
    decides = next((key for key in scores if key not in {"random", "fit"}), next(iter(scores)))
    design = str(layer.attrs.get("deciding_folds") or f"{decides} folds")
    text = f"NSE {scores[decides]:.2f} ({design})"
    if scores[decides] < LITTLE_BETTER:
        text += ": hardly better than the samples' mean"
    text += f", random folds {scores['random']:.2f}" if "random" in scores and decides != "random" else ""
    return f"{text}; {independent}" if independent else text


def _at_profiles(story: Story) -> str:
    """Errors at profiles that no parameter was fitted to, and lower limits that the map does not reach."""
    tables = [table for table in story.scores if table.attrs.get("name") == "solum_profiles"]
    if not tables:
        return ""
    rows = tables[0][tables[0]["prediction"].astype(str) == "map"].to_dict("records")
    own = {str(row["measure"]): row for row in rows}
    texts = []
    for measure, label in (("rmse_tobit", "RMSE"), ("bias_tobit", "mean error")):
        if measure in own:
            texts.append(f"{label} {_between(own[measure], 1)} m")
    if "rmse" in own:
        texts.append(f"{int(own['rmse']['n'])} complete profiles not used for the parameters")
    if "below_limit" in own:
        row = own["below_limit"]
        count = f"{round(float(row['value']) * int(row['n']))} of {int(row['n'])}"
        share = f"thinner than the sampled depth at {count} lower limits, {_between(row, 100)} %"
        texts.append(share if "rmse" in own else f"{share}; no parameter was fitted to them, and they give no error")
    return ", ".join(texts)


def _between(row: Mapping[Any, Any], scale: float) -> str:
    """A value with its limits."""
    low, high = (float(row[end]) * scale for end in ("lower", "upper"))
    limits = f" ({_text(low)} to {_text(high)})" if np.isfinite(low) and np.isfinite(high) else ""
    return f"{_text(scale * float(row['value']))}{limits}"


def _coverage(name: str, layer: xr.DataArray, story: Story) -> str:
    """Empirical coverage of the interval out of fold, with its nominal one."""
    level = layer.attrs.get("interval_level")
    symbol = ELEMENTS.get(name, name)
    for table in story.scores:
        if level is None or table.attrs.get("name") != "intervals" or "element" not in table:
            continue
        own = table[(table["element"] == symbol) & np.isclose(table["level"].astype(float), float(level))]
        column = next((c for c in ("conformal", "coverage", "held", "empirical") if c in own), None)
        if column and len(own):
            return f"{100 * float(own[column].iloc[0]):.0f} % at nominal {100 * float(level):.0f} %"
    return ""


def _share(applicability: Picture, picture: Picture) -> str:
    mapped = np.isfinite(picture.values)
    if applicability.values.shape != mapped.shape or not mapped.any():
        return ""
    return f"{picture.share(applicability.values == 0, mapped):.0f} % of the area"


def _weighted(values: Any, weights: Any, shares: Sequence[float]) -> list[float]:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return [float(values[order][min(int(np.searchsorted(cumulative, s)), len(order) - 1)]) for s in shares]


def _text(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e7 else f"{rounded:g}"
