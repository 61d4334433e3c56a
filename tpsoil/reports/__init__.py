"""Figures, tables and the page; reads stores, never triggers modelling."""

from . import figures

__all__ = ["figures"]
