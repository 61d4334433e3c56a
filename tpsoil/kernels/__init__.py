"""Jitted functions on plain arrays. They know no labels, no dask and nothing else of tpsoil."""
