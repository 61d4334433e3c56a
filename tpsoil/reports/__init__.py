"""Figures, tables and the page; reads stores, never triggers modelling."""
