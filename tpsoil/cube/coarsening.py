"""A store at a coarser resolution: means of blocks of cells, with intervals where a map has the errors for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tpsoil.errors import InputError
from tpsoil.grid import grid_of
from tpsoil.ingest.rasters import read_raster
from tpsoil.soil_mask import MASK

from .alignment import align
from .area_errors import ATTRIBUTE, LIMITS, aggregate_map
from .export import chosen_layers
from .layers import stored_spec, write_layers
from .levels import coarser_grid
from .location import Location, describe_location, local_path
from .store import create_cube, cube_info, open_cube

SPREADS: Final = re.compile(r"(^|_)(lower|upper|sd|se|p\d+|q\d+)(_|$)")
"""Names of layers whose mean over cells is not that of the mean: limits, spreads, quantiles."""


def coarsen_store(
    store: Location,
    out: Location,
    factor: int,
    *,
    layers: Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write a store at a coarser resolution: means of blocks of cells, the most frequent class of class layers.

    Parameters
    ----------
    store : path, URL or zarr Store
        A cube or the maps of a run.
    out : path or URL
        Of the coarser store; a cube as any other.
    factor : int
        Cells along a side of a block, 2 or more, such as 10 from 1 km to 10 km.
    layers : sequence of str, optional
        By default the maps that have an interval with a variogram of its residuals, and `soil_mask`.
    overwrite : bool
        Replace a store at `out`.

    Returns
    -------
    list of str
        The layers of the coarser store. A map with an interval and a variogram, `NAME`, has `NAME_se`, `NAME_lower`,
        `NAME_upper` and `NAME_share` beside it, as `aggregate_map` computes them; of other layers the mean alone.

    Raises
    ------
    InputError
        For a factor below 2, a store without such maps, `out` that is the store itself, and limits, spreads or
        quantiles among `layers`: their mean over cells is not the limit, spread or quantile of the mean.
    MissingInputError
        For a layer that is not there.
    StoreExistsError
        For a store at `out`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(100_000)
    >>> _ = create_cube("memory://fine", grid, overwrite=True)
    >>> slope = xr.DataArray(np.arange(grid.shape[0] * grid.shape[1]).reshape(grid.shape) % 7.0,
    ...                      dims=("y", "x"), coords=coordinates(grid))
    >>> write_layers("memory://fine", {"slope": slope.assign_attrs(units="degree")})
    >>> coarsen_store("memory://fine", "memory://coarse", 4, layers=["slope"], overwrite=True)
    ['slope']
    """
    where = "coarsen_store"
    if isinstance(factor, bool) or int(factor) != factor or factor < 2:
        raise InputError(f"{where}: factor is {factor!r}, expected a whole number of cells, 2 or more")
    cube, place = open_cube(store), cube_info(store).where
    source, target_path = local_path(store), local_path(out)
    if describe_location(out) == place or (source and target_path and source.resolve() == target_path.resolve()):
        raise InputError(f"{where}: {place} would be replaced before it is read; write to another place")
    with_errors = [str(name) for name, layer in cube.data_vars.items() if ATTRIBUTE in layer.attrs]
    if layers is None:
        if not with_errors:
            raise InputError(
                f"{where}: {place} has no map with an interval and the variogram of its residuals; name layers whose "
                "means are to be written (--layer), or map with interval = 0.9 in [elements]"
            )
        names = [*with_errors, *([MASK] if MASK in cube else [])]
    else:
        names = chosen_layers(cube, layers, place)
        spreads = [name for name in names if SPREADS.search(name)]
        if spreads:
            raise InputError(
                f"{where}: {', '.join(spreads)} would be averaged, but the mean of limits, spreads or quantiles of "
                "cells is not that of their mean; name the map itself, whose interval is computed with it"
            )
    grid = grid_of(cube, where=where)
    target = coarser_grid(grid, factor)
    create_cube(out, target, overwrite=overwrite)
    written: list[str] = []
    for name in names:
        if name in with_errors and all(f"{name}_{side}" in cube for side in LIMITS):
            means = dict(aggregate_map(cube, name, factor).data_vars)
        else:
            raster = read_raster(cube[name], stored_spec(name, cube[name]))
            means = {name: align(raster, target, chunks=cube_info(out).chunks)}
        for layer in means.values():
            layer.attrs.update(parents=name, source=place)
        write_layers(out, {str(key): layer for key, layer in means.items()})
        written += map(str, means)
    return written
