"""One HTML file of a store: maps that pan and zoom with their values, scores, assumptions, provenance, citation.

The file loads nothing else: pictures, values, style and script are embedded, and its content security policy forbids
external content.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from zarr.abc.store import Store

import tpsoil
from tpsoil.cube import open_cube
from tpsoil.errors import InputError, MissingInputError, TpsoilError, nearest_name
from tpsoil.soil_mask import MASK

from . import figures
from .charts import charts_of, region_figures
from .elements import (
    Tables,
    file_element,
    first_screen,
    folded,
    image_element,
    list_element,
    recipe_element,
    simulated_element,
)
from .figures import maps, palette
from .figures.reading import Picture, on_one_grid, relief_of
from .story import Story, read_story
from .study import number_of, sites_figure
from .summary import companions_of, summarise
from .tables import layer_summary, write_text
from .viewer import asset, build_viewer, fill, script

CELLS_OF_A_PAGE: Final = 9_000_000
"""Maximum number of cells of all layers together in a page: about 10 MB, small enough for an e-mail attachment."""

WIDE_INCHES: Final = 9.0
"""Figures wider than this take the complete width of the page."""

MANY_LAYERS: Final = 12
WITHOUT_THUMBNAIL: Final = ("_lower", "_upper", "_dissimilarity", "_applicability")
"""Companions of a map that have no picture of their own on a page of many layers: the viewer shows them."""
THUMBNAIL_CELLS: Final = 420
THUMBNAIL_DPI: Final = 72
PICTURE_DPI: Final = 150
"""Of pictures that are drawn before the page."""
FOLDED: Final = ("parameters", "excluded", "provenance")
"""Sections that are folded until they are asked for."""


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
    Up to 1.5 million cells of all layers together the values are the store's float32, compressed without loss: the page
    shows the stored value under the pointer. Above, a value is rounded to 1/1000 of the range of its layer, and the
    page states it.

    Examples
    --------
    >>> import tempfile
    >>> cube = xr.Dataset({"slope": (("y", "x"), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])})
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
    pictures: Callable[[str], Path | None] = lambda name: None,
) -> str:
    """The page of `write_page` as text.

    Parameters
    ----------
    store : Dataset (y, x)
    where : str
        Path or URL of the store, for the tables of its run.
    title, layers, everything, cells
        As in `write_page`.
    pictures : callable
        The PNG of a layer, of `PICTURE_DPI`, if `map_figure` is drawn already; it is not drawn again.

    Returns
    -------
    str

    Raises
    ------
    MissingInputError, InputError
        As `write_page`.

    Examples
    --------
    >>> cube = xr.Dataset({"slope": (("y", "x"), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])})
    >>> page_html(cube, title="Slopes").startswith("<!doctype html>")
    True
    """
    story = read_story(store, where=where, title=title)
    cube = _cube_of(store, where, story.cube)
    if cube is not None and not any(layer.ndim == 2 for layer in store.data_vars.values()):
        # A run of [[zonal]] alone has tables and no map of its own: the layers that it has read are shown.
        store, cube = cube.assign_attrs(store.attrs), None
        layers = layers or [name for name in story.summarised if name in store] or None
    names = layer_names(store, layers, where, results=story.results, everything=everything)
    tables = story.charts | {str(table.attrs.get("name")): table for table in story.scores}
    viewer = build_viewer(store, names, cells=cells, tables=tables, cube=cube)
    drawn = [name for name in names if not name.endswith(WITHOUT_THUMBNAIL)] if len(names) > MANY_LAYERS else names
    by_name = dict(zip(names, viewer.shown, strict=True))
    surroundings = with_cube(store, cube)
    gallery = [_map_picture(surroundings, name, by_name[name], pictures(name)) for name in drawn]
    first = viewer.layers[names[0]][1]
    short = summarise(story, viewer.layers, companions_of(names))
    titles = {"with_value": "cells with a value", "percent": "% of cells", "long_name": "quantity"}
    summary = layer_summary(store, names).rename(columns=titles)
    if (summary["every"] == 1).all():
        summary = summary.drop(columns="every")
    summary["units"] = [palette.unit_text(units) for units in summary["units"]]
    summary.attrs["caption"] = "The layers"
    files = Tables()
    sections = _sections(story, gallery, summary, region_figures(store, tables), sites_figure(store, story.charts),
                         files)  # fmt: skip
    head = {
        "version": html.escape(tpsoil.__version__),
        "title": html.escape(palette.marked(story.title, {"simulated": story.simulated})),
        "lead": html.escape(_lead(story, first, store[names[0]].transpose("y", "x").shape, len(names))),
        "simulated": simulated_element(story.simulated),
        "summary": first_screen(short),
        "nav": "".join(f'<li><a href="#{key}">{heading}</a></li>' for key, heading, _ in sections),
        "viewer": viewer.html,
        "sections": "\n".join(text for _, _, text in sections),
        "css": asset("page.css"),
        "script": script(),
        "data": "\n".join([viewer.data, *files.scripts]),
    }
    return fill(asset("page.html"), head)


def with_cube(store: xr.Dataset, cube: xr.Dataset | None) -> xr.Dataset:
    """The store with the layers of its cube that it has not itself: mask, classes and the environment of zones."""
    if cube is None:
        return store
    more = {name: layer.variable for name, layer in cube.data_vars.items() if name not in store}
    return store.assign({name: (("y", "x"), var.data, var.attrs) for name, var in more.items() if var.ndim == 2})


def _cube_of(store: xr.Dataset, where: str, cube: str) -> xr.Dataset | None:
    """The cube that a run has read, for its mask, where it can be opened and has the same cells."""
    if not cube or "soil_mask" in store:
        return None
    path = cube if "://" in cube else os.path.join(where, cube)
    try:
        source = open_cube(path)
    except (TpsoilError, OSError, ValueError):  # it was moved; the page does without
        return None
    return source if on_one_grid(source, store) else None


def layer_names(
    store: xr.Dataset, layers: Sequence[str] | None, where: str, *, results: Sequence[str] = (),
    everything: bool = False,
) -> list[str]:  # fmt: skip
    """Layers to show: those named, else the maps of a run's models, else all."""
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


def map_figure(store: xr.Dataset, name: str) -> Figure:
    """The map of a layer as a page shows it.

    Parameters
    ----------
    store : Dataset (y, x)
        With the layers of its cube.
    name : str

    Returns
    -------
    Figure

    Examples
    --------
    >>> map_figure(xr.Dataset({"slope": (("y", "x"), [[1.0, 2.0], [4.0, 5.0]])}), "slope").axes[0].get_title("left")
    'Slope'
    """
    how: dict[str, Any] = {"mask": store.get(MASK) if name != MASK else None, "longest_side": THUMBNAIL_CELLS}
    applicability = next((n for n in (f"{name}_applicability", "applicability") if n in store and n != name), "")
    if name == "zone":
        return figures.zones_map(store, **how)
    if name == "response_time":
        return figures.response_time_map(store, **how)
    if applicability and name in companions_of([str(n) for n in store.data_vars]):
        return figures.applicability_map(store, name, applicability=applicability, **how)
    return maps.map_layer(store, name, hillshade=relief_of(store, name), **how)


def _map_picture(store: xr.Dataset, name: str, shown: Mapping[str, Any], drawn: Path | None) -> str:
    caption = html.escape(f"{shown['title']}. {' '.join(shown['lines'])}")
    alt = str(shown["alt"])
    if drawn is None:
        image = image_element(map_figure(store, name), alt, dpi=THUMBNAIL_DPI)
    else:
        image = file_element(drawn, alt, dpi=THUMBNAIL_DPI, drawn_dpi=PICTURE_DPI)
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _chart_picture(text: str, figure: Figure, published: bool) -> str:
    number = number_of(text) if published else ""
    caption = f"<figcaption>{html.escape(f'{text}: {number} of Huo et al. 2026')}</figcaption>" if number else ""
    return f"<figure>{image_element(figure, f'Chart: {text}')}{caption}</figure>"


def _place(text: str, figure: Figure) -> str:
    """A figure of places, over the complete width where it has panels side by side."""
    wide = ' class="wide"' if figure.get_size_inches()[0] > WIDE_INCHES else ""
    picture = image_element(figure, f"Map: {text}", colours=None)
    return f"<figure{wide}>{picture}<figcaption>{html.escape(text)}</figcaption></figure>"


def _sections(
    story: Story,
    pictures: Sequence[str],
    summary: pd.DataFrame,
    places: Sequence[tuple[str, Figure]],
    sites: Sequence[tuple[str, Figure]],
    files: Tables,
) -> list[tuple[str, str, str]]:
    """(id, heading, HTML) of every section that is not empty."""
    charts = [*sites, *charts_of(story.charts)]
    drawn = "".join(_chart_picture(text, figure, story.published) for text, figure in charts)
    regions = "".join(_place(text, figure) for text, figure in places)
    scores = files.elements(story.scores) + (f'<div class="gallery">{drawn}</div>' if drawn else "")
    parts = [
        ("scores", "Scores and summaries", scores),
        ("maps", "All maps", f'<div class="gallery">{"".join(pictures)}</div>{files.element(summary)}'),
        ("places", "Places", f'<div class="gallery">{regions}</div>' if regions else ""),
        ("plausibility", "Plausibility", list_element(story.plausibility)),
        ("assumptions", "Assumptions", list_element(story.assumptions)),
        ("parameters", "Parameters", files.elements(story.parameters)),
        ("excluded", "Masked and excluded", list_element(story.notes) + files.elements(story.excluded)),
        ("provenance", "Provenance", files.elements(story.provenance) + recipe_element(story.recipe)),
        ("citation", "Citation", list_element(story.citations)),
    ]
    return [
        (key, heading, f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{heading}</h2>'
                       f"{folded(heading, text) if key in FOLDED else text}</section>")
        for key, heading, text in parts
        if text
    ]  # fmt: skip


def _lead(story: Story, picture: Picture, shape: tuple[int, ...], count: int) -> str:
    layers = f"{count} layer{'s' if count > 1 else ''} of {shape[0]} x {shape[1]} cells"
    created = f"; created {story.created[:10]}" if story.created else ""
    return f"{layers}; {picture.note.replace(' drawn', ' shown')}{created}"
