"""Figures, tables and the page; read stores, never start modelling."""

from . import figures, tables
from .notebook import Explorer, explore
from .page import page_html, write_page
from .tables import class_shares, layer_summary, to_html, to_markdown, write_csv, write_markdown

__all__ = [
    "Explorer",
    "class_shares",
    "explore",
    "figures",
    "layer_summary",
    "page_html",
    "tables",
    "to_html",
    "to_markdown",
    "write_csv",
    "write_markdown",
    "write_page",
]
