"""Figures and list of counterparts of the published micronutrient study, from the tables of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from tpsoil.soil_properties import known_property
from tpsoil.table_titles import is_drawn

from . import figures
from .figures import palette

PREFIXES: Final = ("sites_", "letters_", "xrf_", "dependence_", "joint_", "relation_")
"""Prefixes of the names of tables of a study that this module draws."""

COUNTERPARTS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("Table 1", "biomes: range of elevation and climate, samples, sites", "table: class_ranges", "class_ranges"),
    ("Table S1", "comparison with other published contents", "table: published", "published"),
    ("Fig. 1a", "sites on the vegetation map", "map: Sampling sites", "sites_"),
    ("Fig. 1b", "share of sites and of area by ecosystem", "table, figure and map: representation", "representation"),
    ("Fig. 2", "frequency distributions", "figure: Frequency distributions", "sites_"),
    ("Fig. 3", "violins by vegetation type, with letters", "figures: by biome", "letters_"),
    ("Fig. 4", "violins by lithological class, with letters", "figures: by lithology", "letters_"),
    ("Fig. 5a-f", "importance of the covariates, and of groups", "figures: Importance", "importance_"),
    ("Fig. 5g-l", "observed against predicted", "figures: Observed against predicted", "predictions_"),
    ("Fig. 6", "partial dependence", "figures: Partial dependence", "dependence_"),
    ("Fig. 7", "maps of the elements", "maps", "elements"),
    ("uncertainty layers", "spread between trees", "maps: spread between trees, limits", "elements"),
    ("Fig. S1", "XRF against ICP-MS", "figures: Calibration of XRF to ICP-MS", "xrf_"),
    ("Figs S2-S4", "maps before and after calibration", "maps: by XRF, before calibration", "xrf_"),
    ("Fig. S5", "ranking and distributions of further elements", "figure: Frequency distributions", "sites_"),
    ("Fig. S6", "further elements by vegetation type", "figures: by biome", "letters_"),
    ("Fig. S7", "further elements by lithology", "figures: by lithology", "letters_"),
    ("Fig. S8", "drivers and fit of further elements", "figures: Importance, Observed", "importance_"),
    ("Fig. S9", "partial dependence of further elements", "figures: Partial dependence", "dependence_"),
    ("Fig. S10", "maps of further elements", "maps", "elements"),
    ("Fig. S11", "means beside earlier studies", "table: published", "published"),
    ("Figs S12-S13", "contents by class of elevation and slope", "figures: by elevation, by slope", "letters_"),
    ("Figs S14-S15", "accumulated local effects", "figures: Effects of the covariates", "effect_"),
    ("Fig. S16", "index of alteration against precipitation", "figure: index against precipitation", "relation_"),
    ("Figs S17-S18", "contents by class of aridity", "figures: by aridity index", "letters_"),
    ("Sect. 2.4", "outliers screened, sample sizes", "table: samples", "samples"),
    ("Sect. 3.1", "mean, SD and CV over sites", "tables: samples, published", "samples"),
)  # fmt: skip
"""Tables and figures of Huo et al. 2026: number, content, counterpart in a report, and the table that it needs."""

NUMBERS: Final[tuple[tuple[str, str], ...]] = (
    ("Sampling sites", "Fig. 1a"), ("Representation", "Fig. 1b"), ("Frequency distributions", "Figs 2 and S5"),
    (" by biome", "Figs 3 and S6"), (" by lithology", "Figs 4 and S7"), (" by aridity", "Figs S17-S18"),
    (" by elevation", "Figs S12-S13"), (" by slope", "Figs S12-S13"), ("mportance of", "Figs 5a-f and S8"),
    ("Observed against predicted", "Figs 5g-l and S8"), ("Partial dependence", "Figs 6 and S9"),
    ("Effects of the covariates", "Figs S14-S15"), ("Calibration of XRF", "Fig. S1"),
    ("index of alteration against", "Fig. S16"),
)  # fmt: skip
"""Part of a caption, and the figure of the paper that it corresponds to."""


def number_of(caption: str) -> str:
    """Figure of the paper that a chart corresponds to, or "".

    Examples
    --------
    >>> number_of("Calibration of XRF to ICP-MS, Zn")
    'Fig. S1'
    """
    return next((number for part, number in NUMBERS if part in caption), "")


def is_of_study(name: str) -> bool:
    """Whether a table is drawn by this module, by its name.

    Examples
    --------
    >>> is_of_study("xrf_Zn"), is_of_study("xrf_coverage")
    (True, False)
    """
    return is_drawn(name) and name.startswith(PREFIXES)


def counterparts(tables: Sequence[str]) -> pd.DataFrame:
    """Tables and figures of the published study, and their counterparts in a report.

    Parameters
    ----------
    tables : sequence of str
        Names of the tables of the run.

    Returns
    -------
    DataFrame
        `paper`, `content`, `here`, and `present` ("yes" or "no").

    Examples
    --------
    >>> table = counterparts(["xrf_Zn"])
    >>> table.set_index("paper").loc[["Fig. S1", "Fig. 2"], "present"].tolist()
    ['yes', 'no']
    """
    rows = [
        {"paper": paper, "content": content, "here": here,
         "present": "yes" if any(name.startswith(need) for name in tables) else "no"}
        for paper, content, here, need in COUNTERPARTS
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.attrs["caption"] = "Tables and figures of Huo et al. 2026, and their counterparts here"
    return table


def study_charts(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    """Figures of sites, letters, paired readings, partial dependence, joint importance and relations.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By name; others are skipped.

    Returns
    -------
    list of (str, Figure)

    Examples
    --------
    >>> table = pd.DataFrame({"annual_precipitation": [1.0, 2, 4], "chemical_index_of_alteration": [0.4, 0.5, 0.6]})
    >>> [text for text, _ in study_charts({"relation_chemical_index_of_alteration": table})]
    ['Chemical index of alteration against annual precipitation']
    """
    drawn: list[tuple[str, Figure]] = []
    for maker in (_representation, _histograms, _comparisons, _calibrations, _joint, _dependence, _relations):
        drawn += maker(tables)
    return drawn


def largest_sites(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    """Sites of the element that was measured at most of them, or None."""
    sites = [table for name, table in tables.items() if name.startswith("sites_") and _is_sites(table)]
    return max(sites, key=len) if sites else None


def sites_figure(store: xr.Dataset, tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    """Map of the sampling sites on a class layer of the store, else on its first layer."""
    sites = largest_sites(tables)
    layers = [str(name) for name, layer in store.data_vars.items() if set(layer.dims) == {"y", "x"}]
    if sites is None or not layers:
        return []
    wanted = [name for name in ("biome", "land_cover", "lithology", "elevation") if name in layers]
    background = (wanted or layers)[0]
    mask = store["soil_mask"] if "soil_mask" in layers else None
    return [("Sampling sites", figures.sampling_map(store, sites, background, mask=mask, title="Sampling sites"))]


def _is_sites(table: pd.DataFrame) -> bool:
    return {"site", "lon", "lat", "value"} <= set(table.columns)


def _of(tables: Mapping[str, pd.DataFrame], prefix: str) -> dict[str, pd.DataFrame]:
    return {name.removeprefix(prefix): table for name, table in tables.items() if name.startswith(prefix)}


def _representation(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    table = tables.get("representation", pd.DataFrame())
    if not {"layer", "class", "site_share", "area_share"} <= set(table.columns):
        return []
    drawn = []
    for layer, part in table.groupby("layer", sort=False):
        text = f"Representation of {str(layer).replace('_', ' ')}: share of the sites and of the area"
        own = part.drop(columns="layer")
        own.attrs.update(table.attrs)
        drawn.append((text, figures.class_representation(own, title=text)))
    return drawn


def _histograms(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    parts = {symbol: table for symbol, table in _of(tables, "sites_").items() if _is_sites(table) and len(table)}
    if not parts:
        return []
    long = pd.concat([table[["value"]].assign(element=symbol) for symbol, table in parts.items()], ignore_index=True)
    long.attrs["simulated"] = any(bool(table.attrs.get("simulated")) for table in parts.values())
    return [("Frequency distributions of site means", figures.element_histograms(long))]


def _comparisons(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    drawn = []
    for symbol, sites in _of(tables, "sites_").items():
        letters = tables.get(f"letters_{symbol}")
        for column in [name for name in sites.columns if str(name).startswith("class ")]:
            classes = str(column).removeprefix("class ")
            own = None if letters is None else letters[letters["classes"] == classes]
            short = classes.removesuffix("_name").removesuffix("_site").replace("_", " ")
            table = sites.rename(columns={column: "group"})[["value", "group"]]
            name = _layer(symbol)
            table = table.rename(columns={"value": name}).astype({"group": "string"})
            table.attrs.update(sites.attrs)
            text = f"{symbol} by {short}"
            marks = None if own is None or own.empty else dict(zip(own["group"].astype(str), own["letters"].fillna("")))
            drawn.append((text, figures.group_comparison(table, name, "group", letters=marks, title=text)))
    return drawn


def _calibrations(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    return [
        (f"Calibration of XRF to ICP-MS, {symbol}",
         figures.calibration_scatter(table, title=f"Calibration of XRF to ICP-MS, {symbol}"))
        for symbol, table in _of(tables, "xrf_").items()
        if {"xrf", "icp", "residual"} <= set(table.columns)
    ]  # fmt: skip


def _joint(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    drawn = []
    for symbol, table in _of(tables, "joint_").items():
        if {"feature", "importance"} <= set(table.columns):
            text = f"Joint importance of groups of covariates, {symbol}"
            drawn.append((text, figures.importance_ranking(table, title=text)))
    return drawn


def _dependence(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    parts: dict[str, list[pd.DataFrame]] = {}
    for name, table in _of(tables, "dependence_").items():
        if {"feature", "value", "effect"} <= set(table.columns):
            parts.setdefault(name.partition("_")[0], []).append(table)
    return [
        (f"Partial dependence, {symbol}", figures.partial_dependence(curves, units=_unit(symbol)))
        for symbol, curves in parts.items()
    ]


def _relations(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, Figure]]:
    drawn = []
    for table in _of(tables, "relation_").values():
        columns = [name for name in table.columns if name != "simulated"]
        if len(columns) == 2:
            first, second = (str(name).replace("_", " ") for name in columns)
            pair = table[columns]
            pair.attrs.update(table.attrs)
            drawn.append((f"{palette.capitalised(second)} against {first}", figures.relation(pair)))
    return drawn


def _unit(symbol: str) -> str:
    declared = known_property(symbol)
    return "" if declared is None else declared.units


def _layer(symbol: str) -> str:
    declared = known_property(symbol)
    return symbol if declared is None else declared.layer
