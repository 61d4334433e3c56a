"""The map viewer as HTML and embedded data: for the page of a store, and for a notebook."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.soil_mask import MASK

from . import figures
from .figures import ground, palette
from .figures.reading import Picture, read_picture
from .overlay import geography_of_page, georeference_of_page, points_of_page
from .pixels import STEPS, grid_of_page, layer_of_page, pack_rounded, pack_values
from .summary import companions_of

EXACT_CELLS: Final = 1_500_000
"""Up to so many cells of all layers together the stored float32 is in the page; above, values in steps."""
SCRIPTS: Final = ("viewer.js", "pixels.js", "inspect.js", "compare.js", "downloads.js", "start.js")
"""Parts of one script, in order; they share one scope."""

_TOKEN: Final = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Viewer:
    """A map viewer.

    Parameters
    ----------
    html : str
        The section with its controls.
    data : str
        Script elements with the values and the description of the layers.
    layers : dict of str to (DataArray, Picture)
        What is shown.
    shown : list of dict
        Name, title, colours and text of each layer.
    """

    html: str
    data: str
    layers: dict[str, tuple[xr.DataArray, Picture]]
    shown: list[dict[str, Any]]


def build_viewer(
    store: xr.Dataset,
    names: Sequence[str],
    *,
    cells: int,
    tables: Mapping[str, pd.DataFrame] | None = None,
    cube: xr.Dataset | None = None,
    where: str = "report",
) -> Viewer:
    """The viewer of some layers of a store.

    Parameters
    ----------
    store : Dataset (y, x)
        Lazy or not; of a larger one every n-th row and column is read.
    names : sequence of str
        Layers, in this order.
    cells : int
        Maximum number of cells of all layers together.
    tables : mapping of str to DataFrame, optional
        Of the run, for its sample points.
    cube : Dataset (y, x), optional
        With `soil_mask` and class layers, where the store has none.
    where : str
        Name in error messages.

    Returns
    -------
    Viewer

    Raises
    ------
    InputError
        Where no layer is named.
    """
    if not names:
        raise InputError(f"{where}: the store has no layer to show")
    rows, columns = store[names[0]].transpose("y", "x").shape
    step = max(1, int(np.ceil(np.sqrt(rows * columns * len(names) / max(cells, 1)))))
    longest = int(np.ceil(max(rows, columns) / step))
    layers: dict[str, tuple[xr.DataArray, Picture]] = {}
    data: list[str] = []
    shown: list[dict[str, Any]] = []
    exact = True
    for position, name in enumerate(names):
        layer = figures.pick(store, name, where=where)
        picture = read_picture(layer, longest, where=where)
        layers[name] = layer, picture
        exact = picture.values.size * len(names) <= EXACT_CELLS
        kind = palette.layer_kind(layer)
        packing: dict[str, Any]
        if exact or kind == "categorical":
            text, dtype = pack_values(picture.values, kind)
            packing = {"dtype": dtype}
        else:
            text, packing = pack_rounded(picture.values, logarithmic=name in palette.LOGARITHMIC)
            packing = {"dtype": "steps", "packing": packing}
        data.append(f'<script type="text/plain" id="data-{position}">{text}</script>')
        shown.append(layer_of_page(layer, picture, packing))
        if packing["dtype"] == "steps":
            shown[-1]["lines"].append(f"Values in this file are rounded to {1 / STEPS:.2%} of the layer's range.")
    first, picture = layers[names[0]]
    companions = companions_of(names)
    for name, own in companions.items():
        shown[list(names).index(name)] |= {"companions": own}
    meanings = cube if cube is not None and MASK not in store else store
    codes = _ground(meanings, layers, longest)
    text, dtype = pack_values(codes.astype(np.float64), "categorical")
    data.append(f'<script type="text/plain" id="data-ground">{text}</script>')
    meta = {
        **grid_of_page(first, picture), "layers": shown, "geo": geography_of_page(picture),
        "points": points_of_page(first, picture, tables or {}), "tiff": georeference_of_page(first, picture),
        "ground": [{"code": code, "name": text, "colour": fill} for code, (text, fill) in ground.MEANINGS.items()],
        "hatch": ground.APPLICABILITY,
        "style": {"land": palette.OUTSIDE, "water": palette.WATER, "coast": palette.COAST, "border": palette.BORDER,
                  "river": palette.RIVER, "ink": palette.INK, "quiet": palette.QUIET},
    }  # fmt: skip
    data.append(f'<script type="application/json" id="meta">{as_json(meta)}</script>')
    grid = meta["grid"]
    shape = float(np.clip(grid["columns"] / (grid["rows"] * grid["cellHeight"]), 0.5, 2.6))
    options = "".join(f'<option value="{i}">{html.escape(str(m["title"]))}</option>' for i, m in enumerate(shown))
    section = fill(asset("viewer.html"), {"options": options, "shape": f"{shape:.3f}"})
    return Viewer(section, "\n".join(data), layers, shown)


def _ground(store: xr.Dataset, layers: Mapping[str, tuple[xr.DataArray, Picture]], longest: int) -> ground.Codes:
    """Meaning of a missing value in every cell."""
    pictures = [picture for _, picture in layers.values()]
    missing = np.logical_and.reduce([np.isnan(picture.values) for picture in pictures])
    masked = ground.mask_of(store, longest)
    if masked is None or masked.shape != missing.shape:
        return ground.ground_codes(missing, None, *ground.surfaces_of(xr.Dataset(), pictures[0], longest))
    return ground.ground_codes(missing, masked, *ground.surfaces_of(store, pictures[0], longest))


def script() -> str:
    """The script of the viewer."""
    return '(() => {\n"use strict";\n' + "\n".join(asset(name) for name in SCRIPTS) + "\n})();"


def asset(name: str) -> str:
    """Text of a file beside this module."""
    return files("tpsoil.reports").joinpath("assets", name).read_text(encoding="utf-8")


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its tokens replaced.

    Examples
    --------
    >>> fill("<p>{{text}}</p>", {"text": "a"})
    '<p>a</p>'
    """
    return _TOKEN.sub(lambda match: values[match.group(1)], template)


def as_json(content: Any) -> str:
    """JSON that can stand in a script element."""
    # "<" could end the enclosing script element.
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
