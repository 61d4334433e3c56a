"""One HTML file of a store: maps that pan and zoom with their values, scores, assumptions, provenance, citation.

The file loads nothing else: pictures, values, style and script are embedded, and its content security policy forbids
external content.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from zarr.abc.store import Store

import tpsoil
from tpsoil.cube import open_cube
from tpsoil.errors import InputError, MissingInputError, nearest_name

from . import figures
from .charts import charts_of
from .figures import maps, palette
from .figures.reading import Picture, read_picture
from .pixels import grid_of_page, layer_of_page, pack_values
from .regions import region_figures
from .story import Story, read_story
from .study import number_of, sites_figure
from .tables import layer_summary, to_html, write_text

CELLS_OF_A_PAGE: Final = 9_000_000
"""Maximum number of cells of all layers together in a page: about 15 MB, small enough for an e-mail attachment."""

PALETTE_COLOURS: Final = 128
"""Of a picture with one colour bar: a third of the bytes, and no visible loss."""

WIDE_INCHES: Final = 9.0
"""Figures wider than this take the complete width of the page."""

_TOKEN: Final = re.compile(r"\{\{(\w+)\}\}")


def write_page(
    store: str | os.PathLike[str] | Store | xr.Dataset,
    out: str | os.PathLike[str],
    *,
    title: str = "",
    layers: Sequence[str] | None = None,
    everything: bool = False,
    cells: int = CELLS_OF_A_PAGE,
) -> Path:
    """Write a store as one self-contained HTML page.

    Parameters
    ----------
    store : path, URL, zarr Store or Dataset (y, x)
        A cube or a run's output; only read.
    out : path
        Ends in .html. Missing folders are created. The file is replaced only when it is complete.
    title : str
        Default: the title of the store.
    layers : sequence of str, optional
        Layers to show, in this order. Default: the maps of a run's models; all layers of any
        other store.
    everything : bool
        Show a run's covariates too, after its maps.
    cells : int
        Maximum number of cells of all layers together. Of a larger store every n-th row and column is shown, and the
        page states n.

    Returns
    -------
    Path

    Raises
    ------
    MissingInputError
        For a store or a layer that is not there.
    InputError
        For a store without two-dimensional layers, or another file name.
    AccessError
        Where the file cannot be written.

    Notes
    -----
    Values are the store's float32, compressed without loss: the page shows the stored value under the pointer.

    Examples
    --------
    >>> import tempfile
    >>> cube = xr.Dataset({"slope": (("y", "x"), np.ones((2, 3), "float32"))})
    >>> write_page(cube, Path(tempfile.mkdtemp()) / "report.html").stat().st_size > 10_000
    True
    """
    target = Path(out)
    if target.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"report: '{target.name}' ends in '{target.suffix}', expected .html")
    where = os.fspath(store) if isinstance(store, (str, os.PathLike)) else ""
    dataset = store if isinstance(store, xr.Dataset) else open_cube(store)
    return write_text(
        target,
        page_html(dataset, where=where, title=title, layers=layers, everything=everything, cells=cells),
        where="report",
    )


def page_html(
    store: xr.Dataset,
    *,
    where: str = "",
    title: str = "",
    layers: Sequence[str] | None = None,
    everything: bool = False,
    cells: int = CELLS_OF_A_PAGE,
) -> str:
    """The page of `write_page` as text.

    Parameters
    ----------
    store : Dataset (y, x)
    where : str
        Path or URL of the store, for the tables of its run.
    title, layers, everything, cells
        As in `write_page`.

    Returns
    -------
    str

    Raises
    ------
    MissingInputError, InputError
        As `write_page`.

    Examples
    --------
    >>> cube = xr.Dataset({"slope": (("y", "x"), np.ones((2, 3), "float32"))})
    >>> page_html(cube, title="Slopes").startswith("<!doctype html>")
    True
    """
    story = read_story(store, where=where, title=title)
    names = _layer_names(store, layers, where, story.results, everything)
    rows, columns = store[names[0]].transpose("y", "x").shape
    step = max(1, int(np.ceil(np.sqrt(rows * columns * len(names) / max(cells, 1)))))
    longest = int(np.ceil(max(rows, columns) / step))
    shown: list[dict[str, Any]] = []
    data: list[str] = []
    pictures: list[str] = []
    first: Picture | None = None
    for position, name in enumerate(names):
        layer = figures.pick(store, name, where="report")
        picture = read_picture(layer, longest, where="report")
        first = first or picture
        packed, dtype = pack_values(picture.values, palette.layer_kind(layer))
        data.append(f'<script type="text/plain" id="data-{position}">{packed}</script>')
        shown.append(layer_of_page(layer, picture, dtype))
        pictures.append(_map_picture(layer, shown[-1]))
    if first is None:
        raise InputError("report: the store has no layer to show")
    summary = layer_summary(store, names).rename(columns={"with_value": "cells with a value", "percent": "% of cells"})
    summary = summary.rename(columns={"long_name": "quantity"})
    if (summary["every"] == 1).all():
        summary = summary.drop(columns="every")
    summary["units"] = [palette.unit_text(units) for units in summary["units"]]
    summary.attrs["caption"] = "The layers"
    places = region_figures(store, story.charts | {str(table.attrs.get("name")): table for table in story.scores})
    sections = _sections(story, pictures, summary, places, sites_figure(store, story.charts))
    head = {
        "version": html.escape(tpsoil.__version__),
        "title": html.escape(_marked(story)),
        "lead": html.escape(_lead(story, first, (rows, columns), len(names))),
        "simulated": _simulated(story),
        "nav": _navigation(sections),
        "viewer": _fill(_asset("viewer.html"), {"options": _options(shown), "shape": _shape(store[names[0]], first)}),
        "sections": "\n".join(text for _, _, text in sections),
        "css": _asset("page.css"),
        "script": _asset("page.js"),
        "data": "\n".join(data),
        "meta": _json({**grid_of_page(store[names[0]], first), "layers": shown}),
    }
    return _fill(_asset("page.html"), head)


def _layer_names(
    store: xr.Dataset, layers: Sequence[str] | None, where: str, results: Sequence[str], everything: bool
) -> list[str]:
    maps_first = [str(name) for name, layer in store.data_vars.items() if set(layer.dims) == {"y", "x"}]
    if layers is None:
        # Modelled layers come before their covariates.
        maps_first.sort(key=lambda name: "parents" not in store[name].attrs)
        modelled = [name for name in results if name in maps_first]
        covariates = [name for name in maps_first if name not in modelled]
        names = modelled + covariates if everything or not modelled else modelled
    else:
        names = list(layers)
        missing = [name for name in names if name not in maps_first]
        if missing:
            names_missing = ", ".join(f"'{name}'{nearest_name(name, maps_first)}" for name in missing)
            raise MissingInputError(f"report: {where or 'the store'} has no layer {names_missing}")
    if not names:
        layer_names = ", ".join(map(str, store.data_vars)) or "nothing"
        raise InputError(f"report: {where or 'the store'} has no layer with dims (y, x); its variables: {layer_names}")
    return names


def _map_picture(layer: xr.DataArray, shown: Mapping[str, Any]) -> str:
    figure = maps.map_layer(layer, longest_side=700)
    caption = html.escape(f"{shown['title']}. {' '.join(shown['lines'])}")
    return f"<figure>{_image(figure, str(shown['alt']))}<figcaption>{caption}</figcaption></figure>"


def _chart_picture(text: str, figure: Figure, published: bool) -> str:
    number = number_of(text) if published else ""
    caption = f"<figcaption>{html.escape(f'{text}: {number} of Huo et al. 2026')}</figcaption>" if number else ""
    return f"<figure>{_image(figure, f'Chart: {text}')}{caption}</figure>"


def _place(text: str, figure: Figure) -> str:
    """A figure of places, over the complete width where it has panels side by side."""
    wide = ' class="wide"' if figure.get_size_inches()[0] > WIDE_INCHES else ""
    picture = _image(figure, f"Map: {text}", colours=None)
    return f"<figure{wide}>{picture}<figcaption>{html.escape(text)}</figcaption></figure>"


def _image(figure: Figure, alt: str, colours: int | None = PALETTE_COLOURS) -> str:
    """A picture with its size, so that the layout is stable; not loaded lazily, so that all are printed."""
    uri = png_uri(figure, colours=colours)
    width, height = (round(90 * inches) for inches in figure.get_size_inches())
    return f'<img width="{width}" height="{height}" alt="{html.escape(alt)}" src="{uri}">'


def png_uri(figure: Figure, dpi: int = 90, *, colours: int | None = PALETTE_COLOURS) -> str:
    """A figure as a data URI, in a palette of few colours; None: in all its colours, for several colour bars.

    Examples
    --------
    >>> png_uri(Figure(figsize=(1, 1)))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    drawn, buffer = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_figure(drawn, format="png", dpi=dpi)
    image = Image.open(drawn).convert("RGB")
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _sections(
    story: Story,
    pictures: Sequence[str],
    summary: pd.DataFrame,
    places: Sequence[tuple[str, Figure]],
    sites: Sequence[tuple[str, Figure]],
) -> list[tuple[str, str, str]]:
    """(id, heading, HTML) of every section that is not empty."""
    charts = [*sites, *charts_of(story.charts)]
    drawn = "".join(_chart_picture(text, figure, story.published) for text, figure in charts)
    regions = "".join(_place(text, figure) for text, figure in places)
    scores = (f'<div class="gallery">{drawn}</div>' if drawn else "") + _tables(story.scores)
    parts = [
        ("maps", "All maps", f'<div class="gallery">{"".join(pictures)}</div>{_table(summary)}'),
        ("places", "Places", f'<div class="gallery">{regions}</div>' if regions else ""),
        ("scores", "Scores and summaries", scores),
        ("plausibility", "Plausibility", _list(story.plausibility)),
        ("parameters", "Parameters", _tables(story.parameters)),
        ("assumptions", "Assumptions", _list(story.assumptions)),
        ("excluded", "Masked and excluded", _list(story.notes) + _tables(story.excluded)),
        ("provenance", "Provenance", _tables(story.provenance) + _more(story.attributes) + _recipe(story.recipe)),
        ("citation", "Citation", _list(story.citations)),
    ]
    return [
        (key, heading, f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{heading}</h2>{text}</section>')
        for key, heading, text in parts
        if text
    ]


def _tables(tables: Sequence[pd.DataFrame]) -> str:
    return "".join(_table(table) for table in tables)


def _table(table: pd.DataFrame) -> str:
    caption = str(table.attrs.get("caption", ""))
    label = html.escape(caption or "Table")
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{to_html(table, caption=caption)}</div>'
    )


def _more(table: pd.DataFrame | None) -> str:
    if table is None:
        return ""
    return f"<details><summary>{html.escape(table.attrs['caption'])}</summary>{_table(table)}</details>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>" if items else ""


def _recipe(text: str) -> str:
    return f'<h3>Recipe</h3><pre tabindex="0">{html.escape(text)}</pre>' if text else ""


def _options(layers: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f'<option value="{i}">{html.escape(str(m["title"]))}</option>' for i, m in enumerate(layers))


def _navigation(sections: Sequence[tuple[str, str, str]]) -> str:
    return "".join(f'<li><a href="#{key}">{heading}</a></li>' for key, heading, _ in sections)


def _marked(story: Story) -> str:
    return f"{story.title} (simulated)" if story.simulated and "simulated" not in story.title.lower() else story.title


def _simulated(story: Story) -> str:
    if not story.simulated:
        return ""
    return f'<p class="simulated" role="note"><strong>Simulated</strong>{html.escape(story.simulated)}</p>'


def _lead(story: Story, picture: Picture, shape: tuple[int, int], count: int) -> str:
    layers = f"{count} layer{'s' if count > 1 else ''} of {shape[0]} x {shape[1]} cells"
    created = f"; created {story.created[:10]}" if story.created else ""
    return f"{layers}; {picture.note.replace(' drawn', ' shown')}{created}"


def _shape(layer: xr.DataArray, picture: Picture) -> str:
    """Width over height of the map's frame: the map's own, within what a screen can show."""
    grid = grid_of_page(layer, picture)["grid"]
    return f"{np.clip(grid['columns'] / (grid['rows'] * grid['cellHeight']), 0.5, 2.6):.3f}"


def _asset(name: str) -> str:
    return files("tpsoil.reports").joinpath("assets", name).read_text(encoding="utf-8")


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _TOKEN.sub(lambda match: values[match.group(1)], template)


def _json(content: Any) -> str:
    # "<" could end the enclosing script element.
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
