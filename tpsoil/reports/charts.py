"""Long tables of a run as figures; the columns of a table decide which figure it gets."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from tpsoil.soil_properties import known_property
from tpsoil.variables import CATALOGUE

from . import figures
from .study import is_of_study, study_charts


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
