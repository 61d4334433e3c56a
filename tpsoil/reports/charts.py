"""Tables of a run as figures: long tables by their columns; sites, other maps, windows and transects on maps."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from tpsoil.errors import GridError, InputError
from tpsoil.soil_properties import known_property
from tpsoil.variables import CATALOGUE

from . import figures
from .figures import palette, regions
from .study import is_of_study, study_charts

THICKNESS = "solum_thickness"
DIFFERENCE = "difference_"
TITLE = "this map"


def charts_of(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    """The figures of a run's tables.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Long tables, by name; empty tables and tables with other columns are skipped.

    Returns
    -------
    list of (str, Figure)
        Caption and figure. Effects of one element share a figure.

    Examples
    --------
    >>> table = pd.DataFrame({"observed": [1.0, 2.0], "predicted": [1.0, 2.5]})
    >>> [text for text, _ in charts_of({"predictions_Zn": table})]
    ['Observed against predicted, Zn']
    """
    drawn = study_charts(tables)
    effects: dict[str, list[pd.DataFrame]] = {}
    for name, table in tables.items():
        if is_of_study(name):
            continue
        kind, _, subject = name.partition("_")
        if kind == "effect" and {"feature", "value", "effect"} <= set(table.columns):
            effects.setdefault(subject.partition("_")[0], []).append(table)
            continue
        chart = _chart(kind, subject.replace("_", " "), table)
        if chart is not None:
            drawn.append(chart)
    for subject, parts in effects.items():
        drawn.append(
            (f"Effects of the covariates, {subject}", figures.accumulated_local_effects(parts, units=_units(subject)))
        )
    return drawn


def _chart(kind: str, subject: str, table: pd.DataFrame) -> tuple[str, Figure] | None:
    columns = set(table.columns)
    tail = f", {subject}" if subject else ""
    if table.empty:
        return None
    if {"observed", "predicted", "censored"} <= columns:
        text = "Observed against predicted at profiles that no parameter was fitted to"
        return text, figures.observed_limits(table)
    if {"observed", "predicted"} <= columns:
        text = f"Observed against predicted{tail}"
        grouped = table.assign(group=[f"zone {zone}" for zone in table["zone"]]) if "zone" in columns else table
        return text, figures.observed_predicted(grouped, units=_units(subject), title=text)
    if {"feature", "importance"} <= columns:
        text = f"Importance of the covariates{tail}"
        label = "increase in mean squared error, m²" if subject == "solum" else None
        return text, figures.importance_ranking(table, title=text, label=label)
    if "level" in columns and {"coverage", "conformal", "quantile", "spread"} & columns:
        text = f"Coverage of the intervals{tail}"
        return text, figures.interval_coverage(table, title=text)
    if {"evaluation", "objective"} <= columns:
        return f"Calibration{tail}", figures.calibration_traces(table)
    if {"first", "second", "r"} <= columns:
        text = f"Correlation{tail}"
        return text, figures.correlation_matrix(table, title=text)
    if kind == "effect" and "effect" in columns and len(columns - {"effect", "low", "high"}) == 2:
        text = f"Joint effect{tail}"
        return text, figures.joint_effect(table, units=_units(subject.partition(" ")[0]), title=text)
    if {"input", "decrease_m", "increase_m"} <= columns:
        text = f"Sensitivity of thickness{tail}"
        return text, figures.sensitivity_bars(table, title="Sensitivity of thickness")
    if {"sample_to_sample", "area_to_sample"} <= columns:
        text = f"Distance to the nearest sample{tail}"
        return text, figures.distance_curves(table, title=text)
    if "distance_km" in columns:
        text = f"Transect{tail}"
        return text, figures.transect(table, title=text)
    return None


def _units(subject: str) -> str:
    """Unit of the subject of a table: an element by its symbol, a layer by its name, or the solum."""
    if (declared := known_property(subject)) is not None:
        return declared.units
    name = "solum_thickness" if subject == "solum" else subject
    return CATALOGUE[name].units if name in CATALOGUE else ""


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
