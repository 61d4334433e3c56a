"""Small HTML tables for notebooks and reports; plain Python, importable by every package."""

from __future__ import annotations

import html
import importlib.util
import math
import numbers
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONG_WORD = re.compile(r"[^\s,;'\"]{1500,}")


def printable(text: str) -> str:
    r"""A message as a terminal and a log may show it: control characters escaped, very long words shortened.

    Names of layers, files and columns come from whoever wrote them: an escape sequence among them could rewrite the
    lines above, and a character that reverses the direction could hide a part.

    Examples
    --------
    >>> printable("no column '\x1b[31mred'")
    "no column '\\x1b[31mred'"
    >>> len(printable("n" * 10_000)) < 200
    True
    """
    escaped = _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return _LONG_WORD.sub(lambda match: f"{match[0][:60]}... ({len(match[0])} characters)", escaped)


def cell_text(value: Any, digits: int = 3) -> str:
    """Text of a table cell: integers in full, other numbers with `digits` significant digits, missing values as a dash.

    Parameters
    ----------
    value : object
        Numbers, text, truth values, mappings and sequences of these.
    digits : int
        Significant digits of numbers that are not integers.

    Returns
    -------
    str

    Examples
    --------
    >>> cell_text(0.34059), cell_text(1654), cell_text(float("nan")), cell_text(22864.3)
    ('0.341', '1654', '–', '22864')
    """
    if value is None or str(value) in {"NaT", "<NA>"}:
        return "–"
    if isinstance(value, bool) or type(value).__name__ in {"bool_", "bool"}:
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        number = float(value)
        if not math.isfinite(number):
            return "–" if math.isnan(number) else ("∞" if number > 0 else "−∞")
        if 10**digits <= abs(number) < 1e7:
            return f"{number:.0f}"
        return f"{number:.{digits}g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {cell_text(item, digits)}" for key, item in value.items())
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return ", ".join(cell_text(item, digits) for item in value)
    return str(value)


def html_table(
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    caption: str = "",
    right: Sequence[bool] = (),
) -> str:
    """A table as an HTML element, with header cells that a screen reader can announce.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : iterable of sequence
        Values, one per column; the first is the row header.
    caption : str
    right : sequence of bool, optional
        Which columns are numeric and aligned to the right; default: those with numbers only.

    Returns
    -------
    str

    Examples
    --------
    >>> html_table(["zone", "n"], [["C<1>", 35]]).count("&lt;1&gt;")
    1
    """
    content = [list(row) for row in rows]
    aligned = list(right) or [
        bool(content) and all(isinstance(r[i], numbers.Real) and not isinstance(r[i], bool) for r in content)
        for i in range(len(head))
    ]
    cls = [' class="n"' if flag else "" for flag in aligned]
    columns = "".join(f'<th scope="col"{c}>{html.escape(str(h))}</th>' for h, c in zip(head, cls))
    body = []
    for row in content:
        texts = [html.escape(cell_text(value)) for value in row]
        first = f'<th scope="row"{cls[0]}>{texts[0]}</th>' if texts else ""
        body.append(f"<tr>{first}{''.join(f'<td{c}>{t}</td>' for t, c in zip(texts[1:], cls[1:]))}</tr>")
    label = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{label}<thead><tr>{columns}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def html_summary(title: str, facts: Mapping[str, Any], *tables: str) -> str:
    """Summary of an object for `_repr_html_`: a title, a list of properties, tables below.

    Parameters
    ----------
    title : str
    facts : mapping of str to value
        Formatted by `cell_text`; empty ones are omitted.
    *tables : str
        From `html_table`.

    Returns
    -------
    str

    Examples
    --------
    >>> html_summary("Cube", {"cells": 12}).startswith("<div")
    True
    """
    items = "".join(
        f"<dt style='font-weight:600'>{html.escape(str(key))}</dt>"
        f"<dd style='margin:0'>{html.escape(cell_text(value))}</dd>"
        for key, value in facts.items()
        if value not in (None, "")
    )
    style = "display:grid;grid-template-columns:max-content auto;gap:.1em 1em;margin:.3em 0 .8em"
    return f"<div><strong>{html.escape(title)}</strong><dl style='{style}'>{items}</dl>{''.join(tables)}</div>"


def bar_chart(bars: Mapping[str, float], *, caption: str = "", unit: str = "") -> str:
    """Horizontal bars as an SVG element, for a summary in a notebook; text and lines take the notebook's colour.

    Parameters
    ----------
    bars : mapping of str to float
        Label and length; values that are not finite are omitted. Negative ones extend to the left of zero.
    caption : str
    unit : str
        After each number.

    Returns
    -------
    str
        "" without any finite value.

    Examples
    --------
    >>> bar_chart({"block folds": 0.32, "random folds": 0.37}).count("<rect")
    2
    """
    finite = {label: float(value) for label, value in bars.items() if math.isfinite(float(value))}
    if not finite:
        return ""
    low, high = min(0.0, *finite.values()), max(0.0, *finite.values())
    span, left, width, step = (high - low) or 1.0, 170, 260, 20
    zero = left + width * (0.0 - low) / span
    parts = []
    for i, (label, value) in enumerate(finite.items()):
        at = left + width * (value - low) / span
        y = 4 + step * i
        text = html.escape(f"{cell_text(value)} {unit}".rstrip())
        parts.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{html.escape(textwrap.shorten(label, 26))}</text>'
            f'<rect x="{min(zero, at):.1f}" y="{y}" width="{max(abs(at - zero), 0.5):.1f}" height="{step - 5}" '
            f'fill="#0072B2"/><text x="{left + width + 8}" y="{y + 12}">{text}</text>'
        )
    height = 8 + step * len(finite)
    title = f'<figcaption style="font-weight:600">{html.escape(caption)}</figcaption>' if caption else ""
    return (
        f'<figure style="margin:.4em 0">{title}<svg role="img" aria-label="{html.escape(caption or "Bar chart")}" '
        f'viewBox="0 0 560 {height}" width="560" style="max-width:100%;font-size:12px" fill="currentColor">'
        f'{"".join(parts)}<path d="M{zero:.1f},0V{height}" stroke="currentColor" stroke-width="1"/></svg></figure>'
    )


def text_summary(title: str, facts: Mapping[str, Any], *, width: int = 100) -> str:
    """What an object is, for `__repr__`: a title and one short line for each fact.

    Parameters
    ----------
    title : str
    facts : mapping of str to value
        As `cell_text` writes them; empty ones are left out. A longer text is cut at a word.
    width : int
        Characters of a line.

    Returns
    -------
    str

    Examples
    --------
    >>> print(text_summary("Compiled forest", {"trees": 500, "features": ["slope", "ndvi"], "units": ""}))
    Compiled forest
      trees     500
      features  slope, ndvi
    """
    lines = {key: cell_text(value) for key, value in facts.items() if value not in (None, "", ())}
    margin = max(map(len, lines), default=0) + 2
    texts = [
        f"  {key:{margin}}{textwrap.shorten(text, width - margin - 2, placeholder=' ...')}"
        for key, text in lines.items()
    ]
    return "\n".join([title, *texts])


def in_notebook() -> bool:
    """Whether output goes to the cell of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def has_widgets() -> bool:
    """Whether the output of a notebook's cell may be overwritten; without ipywidgets rich only warns."""
    return importlib.util.find_spec("ipywidgets") is not None
