"""Parts of a page as HTML: tables with their CSV, lists, links, pictures, the first screen."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tpsoil.column_titles import with_titles

from .figures import canvas, palette
from .summary import Summary
from .tables import to_html
from .viewer import as_json

PALETTE_COLOURS: Final = 128
"""Of a picture with one colour bar: a third of the bytes, and no visible loss."""


_DOI: Final = re.compile(r"((?:https://doi\.org/|doi:?\s?)?)(10\.\d{4,9}/[^\s;,<>\"&]*[^\s;,.<>\"&)\]])")


def image_element(figure: Figure, alt: str, colours: int | None = PALETTE_COLOURS, dpi: int = 90) -> str:
    """A picture with its size, so that the layout is stable; not loaded lazily, so that all are printed.

    Parameters
    ----------
    figure : Figure
    alt : str
    colours : int or None
        Of the picture's palette; None: all its colours, for several colour bars.
    dpi : int

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> image_element(Figure(figsize=(2, 1)), "nothing")[:63]
    '<img width="180" height="90" alt="nothing" src="data:image/png;'
    """
    return _element(Image.fromarray(canvas.pixels(figure, dpi)), alt, colours, tuple(figure.get_size_inches()))


def file_element(path: Path, alt: str, *, dpi: int, drawn_dpi: int) -> str:
    """A PNG file of `drawn_dpi` as a picture of `dpi`."""
    with Image.open(path) as picture:
        width, height = picture.size
        smaller = (round(width * dpi / drawn_dpi), round(height * dpi / drawn_dpi))
        image = picture.convert("RGB").resize(smaller, Image.Resampling.LANCZOS)
    return _element(image, alt, PALETTE_COLOURS, (width / drawn_dpi, height / drawn_dpi))


def _element(image: Image.Image, alt: str, colours: int | None, inches: tuple[float, float]) -> str:
    buffer = io.BytesIO()
    image = image.convert("RGB")
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    image.save(buffer, format="PNG", optimize=True)
    width, height = (round(90 * side) for side in inches)
    source = base64.b64encode(buffer.getvalue()).decode()
    return f'<img width="{width}" height="{height}" alt="{html.escape(alt)}" src="data:image/png;base64,{source}">'


@dataclass
class Tables:
    """Tables of a page as CSV with all digits, in script elements.

    Parameters
    ----------
    scripts : list of str
    """

    scripts: list[str] = field(default_factory=list)

    def element(self, table: pd.DataFrame) -> str:
        """The table as HTML with a button that saves it."""
        caption = str(table.attrs.get("caption", ""))
        label = html.escape(caption or "Table")
        key = f"csv-{len(self.scripts)}"
        content = as_json(table.to_csv(index=any(name is not None for name in table.index.names)))
        self.scripts.append(f'<script type="application/json" id="{key}">{content}</script>')
        name = re.sub(r"\W+", "_", caption or "table").strip("_").lower()[:60]
        button = (f'<button type="button" class="csv" data-csv="{key}" data-name="{html.escape(name)}" '
                  f'aria-label="Save as CSV: {label}">CSV</button>')  # fmt: skip
        body = with_links(
            palette.with_units(to_html(with_titles(table, str(table.attrs.get("name", ""))), caption=caption))
        )
        return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{body}</div>{button}'

    def elements(self, tables: Sequence[pd.DataFrame]) -> str:
        """Several tables."""
        return "".join(self.element(table) for table in tables)


def linked(text: str) -> str:
    """Text as HTML in which a DOI is a link.

    Examples
    --------
    >>> linked("Beck, doi:10.1038/sdata.2018.214")
    'Beck, <a href="https://doi.org/10.1038/sdata.2018.214" rel="noopener noreferrer">doi:10.1038/sdata.2018.214</a>'
    """
    return with_links(html.escape(palette.with_units(text)))


def with_links(text: str) -> str:
    """HTML in which the DOIs of its text are links.

    Examples
    --------
    >>> with_links("<td>doi 10.1/a</td>")
    '<td>doi 10.1/a</td>'
    """
    return _DOI.sub(
        lambda match: f'<a href="https://doi.org/{match[2]}" rel="noopener noreferrer">{match[1]}{match[2]}</a>', text
    )


def list_element(items: Sequence[str]) -> str:
    """Items as a list in which DOIs are links."""
    return f"<ul>{''.join(f'<li>{linked(item)}</li>' for item in items)}</ul>" if items else ""


def simulated_element(text: str) -> str:
    """What is simulated, if anything."""
    return f'<p class="simulated" role="note"><strong>Simulated</strong>{html.escape(text)}</p>' if text else ""


def recipe_element(text: str) -> str:
    """A recipe with its heading."""
    return f'<h3>Recipe</h3><pre tabindex="0">{html.escape(text)}</pre>' if text else ""


def folded(heading: str, text: str) -> str:
    """A part that is closed until a reader opens it."""
    return f"<details><summary>Show {heading.lower()}</summary>{text}</details>"


def short_table(table: pd.DataFrame) -> str:
    """The maps in short; on a narrow screen every row becomes a paragraph whose cells carry their headings."""
    head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in table.columns)
    rows = []
    for row in table.itertuples(index=False, name=None):
        cells = "".join(f'<td data-label="{html.escape(str(name))}">{html.escape(str(value))}</td>'
                        for name, value in zip(table.columns[1:], row[1:], strict=True) if value != "")  # fmt: skip
        rows.append(f'<tr><th scope="row">{html.escape(str(row[0]))}</th>{cells}</tr>')
    caption = html.escape(table.attrs["caption"])
    return (f'<table class="short"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>")  # fmt: skip


def first_screen(short: Summary) -> str:
    """Sentence, table, assumptions and plausibility notes."""
    parts = [f'<p class="summary">{linked(short.sentence)}</p>'] if short.sentence else []
    if len(short.table):
        parts.append(short_table(short.table))
    for heading, items in (("Assumed", short.assumed), ("Plausibility", short.notes)):
        if items:
            first, rest = items[0], items[1:]
            first = first if len(first) < 330 else first[:320].rpartition(" ")[0] + " ..."
            rest = rest if first == items[0] else items
            more = f"<ul>{''.join(f'<li>{linked(item)}</li>' for item in rest)}</ul>"
            text = f"<strong>{heading}:</strong> {linked(first)}"
            parts.append(f'<details class="notes"><summary>{text} ({len(items)} in all)</summary>{more}</details>'
                         if rest else f'<p class="notes">{text}</p>')  # fmt: skip
    return "\n".join(parts)
