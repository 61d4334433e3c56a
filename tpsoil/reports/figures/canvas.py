"""Basis of every figure: a Figure without pyplot, titles that name *simulated* data, empty axes with a reason, saving.

matplotlib's global state is not changed, so importing and drawing are safe in threads and services.
"""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

from tpsoil.errors import AccessError, InputError, nearest_name

from .palette import INK, QUIET, marked


class Drawing(Figure):
    """A Figure that is displayed in a notebook without `%matplotlib` and without pyplot."""

    def _repr_png_(self) -> bytes:
        return _png(self, 100)


def pixels(figure: Figure, dpi: float) -> npt.NDArray[np.uint8]:
    """The picture of a figure, drawn once.

    Parameters
    ----------
    figure : Figure
    dpi : float

    Returns
    -------
    ndarray (rows, columns, 4), uint8
        Red, green, blue and opacity; equal to that of `Figure.savefig`, which draws a figure with a layout twice.

    Examples
    --------
    >>> pixels(Figure(figsize=(2, 1)), 100).shape
    (100, 200, 4)
    """
    original = figure.dpi
    figure.dpi = dpi
    try:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        return np.array(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    finally:
        figure.dpi = original


def _png(figure: Figure, dpi: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels(figure, dpi)).save(buffer, format="PNG", dpi=(dpi, dpi))
    return buffer.getvalue()


def new_axes(ax: Axes | None, size: tuple[float, float] = (7.0, 4.6)) -> tuple[Figure, Axes]:
    """The caller's axes with its figure, or one axes on a new figure of `size` inches."""
    if ax is not None:
        return ax.figure.canvas.figure, ax  # of a SubFigure too
    figure = Drawing(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def new_chart(
    ax: Axes | None, size: tuple[float, float], text: str, table: pd.DataFrame, *, grid: str | None = None,
    labels: tuple[str, str] = ("", ""),
) -> tuple[Figure, Axes]:  # fmt: skip
    """As `new_axes`, with a title, plain axes, a grid along `grid`, and the labels of abscissa and ordinate."""
    figure, axes = new_axes(ax, size)
    title(axes, text, table)
    plain(axes, grid=grid)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    return figure, axes


def new_panels(
    axes: Axes | Sequence[Axes] | None, count: int, *, width: float = 3.4, height: float = 2.9, columns: int = 3
) -> tuple[Figure, list[Axes]]:
    """`count` axes: the caller's, or a grid of panels on a new figure.

    Raises
    ------
    InputError
        Where the number of axes differs from the number of panels.
    """
    if axes is not None:
        panels = [axes] if isinstance(axes, Axes) else list(axes)
        if len(panels) != count:
            raise InputError(f"figure: {len(panels)} axes for {count} panels; pass {count} axes, or none")
        return new_axes(panels[0])[0], panels
    columns = max(1, min(columns, count))
    rows = -(-max(count, 1) // columns)
    figure = Drawing(figsize=(width * columns, height * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(max(count, 1))]


def panels_by(
    table: pd.DataFrame, column: str, axes: Axes | Sequence[Axes] | None, heading: str | None,
    text: Callable[[str], str], *, grid: str | None = None, columns: int = 3, width: float = 3.4,
) -> tuple[Figure, list[tuple[str, pd.DataFrame, Axes]]]:  # fmt: skip
    """A panel for each value of a column, with its rows; of an empty table one panel, for "".

    Parameters
    ----------
    table : DataFrame
    column : str
    axes : Axes or sequence of Axes, optional
    heading : str, optional
        Title of the first panel.
    text : callable
        Title of a panel, from its value.
    grid, columns, width
        As in `plain` and `new_panels`.
    """
    values = table[column].astype(str)
    names = list(dict.fromkeys(values)) or [""]
    figure, panels = new_panels(axes, len(names), columns=columns, width=width)
    for name, panel in zip(names, panels, strict=True):
        plain(panel, grid=grid)
        title(panel, heading if heading and name == names[0] else text(name), table)
    return figure, [(name, table[values == name], panel) for name, panel in zip(names, panels, strict=True)]


def title(ax: Axes, text: str, *sources: Any) -> None:
    """Write a title, with the word *simulated* where any source is based on simulated observations."""
    text = marked(text, *sources)
    width = ax.get_position().width * ax.figure.bbox.width / ax.figure.dpi  # inches
    lines = textwrap.wrap(text, max(14, int(width * 13.5 if width else 80)))
    ax.set_title("\n".join(lines), loc="left", fontsize=11 if width > 3.2 else 10, color=INK, fontweight="bold")


def plain(ax: Axes, *, grid: str | None = None) -> None:
    """Plain axes: no top and right frame, small ticks, a light grid along `grid` ("x", "y" or "both")."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, colors=INK)
    ax.xaxis.label.set_fontsize(9)
    ax.yaxis.label.set_fontsize(9)
    if grid in {"x", "y", "both"}:
        ax.grid(True, axis=grid, color="#E4E4E4", linewidth=0.7)  # type: ignore[arg-type]
        ax.set_axisbelow(True)


def headroom(ax: Axes, share: float = 0.4) -> None:
    """Extend the ordinate upwards, so that a legend covers no data."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + share * (high - low))


def fit_bar(bar: Colorbar, axes: Axes, share: float, *, close: bool) -> None:
    """Let a colour bar begin at the upper edge of its map and be no taller than it.

    Parameters
    ----------
    bar : Colorbar
    axes : Axes
        Of the map.
    share : float
        Height of the bar in heights of the map.
    close : bool
        Move the bar to the right edge of the map; else its place leaves room for the globe.

    Notes
    -----
    matplotlib gives the bar the height of the map's cell in the layout; a map with a true shape rarely fills it.
    """
    placed = bar.ax.get_axes_locator()

    def beside_map(bar_axes: Any, renderer: RendererBase) -> Bbox:
        cell = bar_axes.get_position(original=True)
        box = placed(bar_axes, renderer) if placed is not None else cell
        frame = axes.get_position()
        factor = share * frame.height / max(cell.height, 1e-12)
        low = frame.y1 - share * frame.height + (box.y0 - cell.y0) * factor
        left = frame.x1 + 0.015 * frame.width if close else box.x0
        return Bbox.from_bounds(left, low, box.width, box.height * factor)

    bar.ax.set_axes_locator(beside_map)


def bar_below(figure: Figure, axes: Axes, points: ScalarMappable, label: str) -> None:
    """A horizontal colour bar of points below a map."""
    bar = figure.colorbar(points, ax=axes, orientation="horizontal", shrink=0.5, pad=0.02, aspect=40)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def add_to_legend(axes: Axes, patches: Sequence[Patch]) -> None:
    """Entries before those that the legend of a map has."""
    legend = axes.get_legend()
    earlier = [one for one in legend.legend_handles if one is not None] if legend is not None else []
    axes.legend(handles=[*patches, *earlier], loc="lower right", fontsize=7.5, framealpha=0.85)


def nothing(ax: Axes, reason: str) -> Figure:
    """An empty figure: the axes with the reason why nothing is drawn."""
    ax.text(
        0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", fontsize=9, color=QUIET, wrap=True,
        gid="nothing",
    )  # fmt: skip
    return new_axes(ax)[0]


def tidy(table: pd.DataFrame, synonyms: Mapping[str, str]) -> pd.DataFrame:
    """The table with a named index as columns, and columns with other names renamed.

    Parameters
    ----------
    table : DataFrame
        Anything else is returned unchanged and rejected by `require_columns`.
    also : mapping of str to str
        Other name to the name in the figure; an existing column is not replaced.
    """
    frame: Any = table
    if not isinstance(frame, pd.DataFrame):
        return table
    if any(name is not None and name not in table.columns for name in table.index.names):
        table = table.reset_index()
    names = {old: new for old, new in synonyms.items() if old in table.columns and new not in table.columns}
    return table.rename(columns=names)


def require_columns(frame: pd.DataFrame, columns: Sequence[str], *, where: str) -> None:
    """Check a tidy table once, before anything is drawn.

    Raises
    ------
    InputError
        For anything but a DataFrame, and for missing columns: all of them, each with the nearest existing name.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{where}: got {type(frame).__name__}, expected a pandas DataFrame")
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        hints = "; ".join(f"'{name}'{nearest_name(name, map(str, frame.columns))}" for name in missing)
        raise InputError(f"{where}: the table lacks {hints}; expected columns {', '.join(columns)}")


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Write a figure to a file; an existing one is replaced only when the new one is complete.

    Parameters
    ----------
    figure : Figure
    path : path
        The suffix decides the format: png, pdf, svg, jpg, webp. Missing folders are created.
    dpi : int
        Dots per inch of pixel formats.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        For a suffix that matplotlib does not write.
    AccessError
        Where the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> figure, ax = new_axes(None)
    >>> save(figure, Path(tempfile.mkdtemp()) / "empty.png").name
    'empty.png'
    """
    target = Path(path)
    kind = target.suffix.lstrip(".").lower()
    canvas = FigureCanvasAgg(figure)
    supported = canvas.get_supported_filetypes()
    if kind not in supported:
        raise InputError(f"save: '{target.name}' ends in '.{kind}'; expected one of {', '.join(sorted(supported))}")
    buffer = io.BytesIO()
    if kind == "png":
        buffer.write(_png(figure, dpi))
    else:
        # Fonts are embedded as TrueType, so that the text of a PDF can be selected and edited.
        with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
            canvas.print_figure(buffer, format=kind, dpi=dpi)
    return write_file(target, buffer.getvalue(), where="save")


def write_file(path: Path, data: bytes, *, where: str) -> Path:
    """Write a file; an existing one is replaced only when the new one is complete.

    Raises
    ------
    AccessError
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise AccessError(f"{where}: cannot write {path}: {error.strerror}; choose another folder") from error
    return path
