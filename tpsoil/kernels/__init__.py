"""Jitted functions on plain arrays, without labels, dask or any other module of tpsoil."""
