"""Maps that a run's tables ask for: sites, other maps, windows, transects."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from tpsoil.errors import GridError, InputError

from . import figures
from .figures import palette, regions

THICKNESS = "solum_thickness"
DIFFERENCE = "difference_"
TITLE = "this map"


def region_figures(store: xr.Dataset, tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    """Figures of places that need layers of the store beside the tables of its run.

    Parameters
    ----------
    store : Dataset (y, x)
    tables : mapping of str to DataFrame
        Of the run, by name: `sites_solum`, `predictions_profiles`, `solum_windows`, `transect_NAME`.

    Returns
    -------
    list of (str, Figure)
        Caption and figure. A figure whose layers the store lacks is omitted.

    Examples
    --------
    >>> region_figures(xr.Dataset(), {})
    []
    """
    drawn: list[tuple[str, Figure]] = []
    ground = figures.pick(store, "elevation") if "elevation" in store else None
    sites = tables.get("sites_solum")
    windows = _windows(tables.get("solum_windows"))
    if ground is not None and sites is not None and len(sites):
        drawn.append(("Study area with the profiles", regions.study_area(ground, sites, windows=windows)))
    mask = figures.pick(store, "soil_mask") if "soil_mask" in store else None
    if sites is not None and "parent_material" in store:
        drawn.append(("Parent material", figures.map_classes(figures.pick(store, "parent_material"), mask=mask)))
    if THICKNESS not in store:
        return drawn
    this = figures.pick(store, THICKNESS)
    profiles = tables.get("predictions_profiles")
    if profiles is not None and len(profiles):
        text = "Thickness at profiles that no parameter was fitted to"
        drawn.append((text, figures.residual_map(this, profiles, mask=mask)))
    others = _others(store)
    if others:
        band = next(float(store[n].attrs.get("band", 5.0)) for n in store.data_vars if str(n).startswith(DIFFERENCE))
        drawn.append(("Other maps and the difference to them", regions.maps_compared(this, others, band=band)))
    for window, box in windows.items():
        try:
            figure = regions.side_by_side({TITLE.capitalize(): this, **others}, box=box, elevation=ground, title=window)
        except (InputError, GridError):  # a window beside the grid has statistics of no cell
            continue
        drawn.append((f"Maps in the window {window}", figure))
    for name, table in tables.items():
        if name.startswith("transect_") and ground is not None and {"x", "y"} <= set(table.columns):
            text = f"Transect {name.removeprefix('transect_').replace('_', ' ')}"
            drawn.append((text, regions.transect_place(ground, table, title=text)))
    return drawn


def _others(store: xr.Dataset) -> dict[str, xr.DataArray]:
    """Maps that the run was compared with, by title, where the store has them."""
    names = [str(n).removeprefix(DIFFERENCE) for n in store.data_vars if str(n).startswith(DIFFERENCE)]
    layers = [figures.pick(store, name) for name in names if name in store]
    return {palette.layer_title(layer): layer for layer in layers}


def _windows(table: pd.DataFrame | None) -> dict[str, regions.Box]:
    edges = ["west", "south", "east", "north"]
    if table is None or not {"window", *edges} <= set(table.columns):
        return {}
    rows = table.drop_duplicates("window")
    return {str(row["window"]): tuple(float(row[edge]) for edge in edges) for _, row in rows.iterrows()}  # type: ignore[misc]
