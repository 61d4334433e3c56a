"""`tpsoil.explore`: the map viewer of a page inside a notebook, without a server and without the network."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from zarr.abc.store import Store

from tpsoil.cube import cube_info, open_cube
from tpsoil.cube.conventions import overview_paths
from tpsoil.display import text_summary
from tpsoil.errors import InputError

from .elements import simulated_element
from .page import layer_names
from .story import read_story
from .summary import companions_of
from .tables import write_text
from .viewer import asset, build_viewer, fill, script

CELLS: Final = 3_000_000
"""Maximum number of cells of all layers together: about 4 MB in the notebook."""
MAX_LAYERS: Final = 24
HEIGHT_PX: Final = 860

Window = tuple[float, float, float, float]


@dataclass(frozen=True)
class Explorer:
    """A map viewer; a notebook displays it.

    Parameters
    ----------
    page : str
        The viewer as one HTML document.
    title : str
    layers : tuple of str
        Names of the layers shown.
    note : str
        Cells, CRS, and the stride with which they were read.
    height_px : int
    """

    page: str
    title: str
    layers: tuple[str, ...]
    note: str
    height_px: int = HEIGHT_PX

    def _repr_html_(self) -> str:
        # srcdoc: no file and no server; an iframe, so that styles and identifiers of two viewers do not meet.
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{html.escape(self.page)}" width="100%" '
            f'height="{self.height_px}" style="border:0" loading="lazy"></iframe>'
        )

    def __repr__(self) -> str:
        facts = {"layers": ", ".join(self.layers), "cells": self.note, "size": f"{len(self.page) / 1e6:.1f} MB"}
        return text_summary(f"Map viewer: {self.title}", facts)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the viewer as an HTML file.

        Parameters
        ----------
        path : path

        Returns
        -------
        Path

        Raises
        ------
        AccessError
            Where the file cannot be written.
        """
        return write_text(Path(path), self.page, where="explore")


def explore(
    source: xr.Dataset | str | os.PathLike[str] | Store,
    layers: Sequence[str] | None = None,
    *,
    window: Window | None = None,
    cells: int = CELLS,
    height_px: int = HEIGHT_PX,
) -> Explorer:
    """Interactive map of a cube or of a run's output, in a notebook.

    Parameters
    ----------
    source : Dataset (y, x), path, URL or zarr Store
        Only read; lazy layers are read chunk by chunk.
    layers : sequence of str, optional
        Default: the maps of a run's models with their uncertainty; else the first 24 layers.
    window : (left, bottom, right, top), optional
        Part of the grid to show, in the unit of its coordinates; a small window of a large store has its own
        resolution.
    cells : int
        Maximum number of cells of all layers together; of more, every n-th row and column is read.
    height_px : int
        Height in the notebook, pixels.

    Returns
    -------
    Explorer
        Displayed as the last line of a cell. Pointer, click and keyboard give values; two layers can be compared, and a
        line gives a transect.

    Raises
    ------
    MissingInputError
        For a store or a layer that is not there.
    InputError
        For a Dataset without layers (y, x), a window that is not an interval or contains no cell.

    Notes
    -----
    Memory is the picture's and one chunk a thread; of a stored cube with overviews (`tpsoil cube overviews`) the
    coarsest sufficient one is read. The viewer is the one of `tpsoil report`: plain JavaScript in an
    iframe, which works offline in JupyterLab, Notebook 7, VS Code and in a notebook converted to HTML.
    `benchmarks/notebook_viewer.md` compares it with widget libraries.

    Examples
    --------
    >>> cube = xr.Dataset({"slope": (("y", "x"), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])})
    >>> explore(cube).layers
    ('slope',)
    """
    where = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""
    store = source if isinstance(source, xr.Dataset) else open_cube(source)
    if cells < 1 or height_px < 1:
        raise InputError(f"explore: cells is {cells} and height_px is {height_px}, expected at least 1")
    story = read_story(store, where=where)
    names = layer_names(store, layers, where or "explore", results=story.results)
    if layers is None:
        names = names[:MAX_LAYERS]
    if window is not None:
        store = _part(store, window)
    coarser = _overview(where, store, names, cells) if window is None else None
    store = coarser if coarser is not None else store
    tables = story.charts | {str(table.attrs.get("name")): table for table in story.scores}
    viewer = build_viewer(store, names, cells=cells, tables=tables, where="explore")
    first = viewer.layers[names[0]][1]
    page = fill(asset("notebook.html"), {
        "title": html.escape(story.title), "css": asset("page.css"),
        "simulated": simulated_element(story.simulated), "viewer": viewer.html,
        "data": viewer.data, "script": script(),
    })  # fmt: skip
    shown = first.values.shape
    note = f"{shown[0]} x {shown[1]} shown; {first.note}" + ("; from an overview" if coarser is not None else "")
    return Explorer(page, story.title, tuple(companions_of(names)), note, height_px)


def _overview(where: str, store: xr.Dataset, names: Sequence[str], cells: int) -> xr.Dataset | None:
    """The coarsest overview of a stored cube that is finer than what is shown, so that less is read; None without."""
    rows, columns = store.sizes["y"], store.sizes["x"]
    step = int(np.ceil(np.sqrt(rows * columns * len(names) / cells)))
    paths = overview_paths(cube_info(where).attrs) if where else {}
    common = set.intersection(*({path.rpartition("/")[0] for path in paths.get(name, ())} for name in names))
    factors = {int(place.rpartition("/")[2]): place for place in common}
    usable = [factor for factor in factors if 1 < factor <= step]
    if not usable:
        return None
    level = open_cube(f"{where.rstrip('/')}/{factors[max(usable)]}")
    layers = {name: level[name].assign_attrs(store[name].attrs) for name in names}
    return xr.Dataset(layers, attrs=store.attrs)


def _part(store: xr.Dataset, window: Window) -> xr.Dataset:
    left, bottom, right, top = window
    if not (np.all(np.isfinite(window)) and left < right and bottom < top):
        raise InputError(f"explore: window is {window!r}, expected left, bottom, right, top with left < right")
    x, y = store["x"].values, store["y"].values
    part = store.isel(x=np.flatnonzero((x >= left) & (x <= right)), y=np.flatnonzero((y >= bottom) & (y <= top)))
    if 0 in (part.sizes["x"], part.sizes["y"]):
        raise InputError(f"explore: no cell lies in the window {window!r}; x is {x.min():g} to {x.max():g}, "
                         f"y {y.min():g} to {y.max():g}")  # fmt: skip
    return part
