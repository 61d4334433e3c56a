"""Samples of one element: read, screened, calibrated, and located on the cube."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from tpsoil.errors import InputError, UnitsError, nearest_name
from tpsoil.ingest import read_samples, read_table
from tpsoil.micronutrients import (
    XrfCalibration,
    censored_shares,
    check_one_unit,
    screen_outliers,
    summarise_elements,
    summarise_sites,
)
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.points import check_degrees
from tpsoil.soil_properties import MG_KG

from .element_choices import composition_table
from .element_options import ElementsTable
from .element_places import placed_samples, used_rows
from .element_reading import DEPTH_ROW, at_depth, numbered_depths, place_columns, reading_notes, within_years
from .element_weathering import with_alteration
from .element_xrf import line_of, readings_of, tables_of_line


@dataclass(frozen=True)
class ElementSamples:
    """Samples ready for training.

    Parameters
    ----------
    design : DataFrame
        Tidy: `site`, `replicate`, `element`, `value` (mg/kg), `detection_limit`, `censored`, `lon`, `lat`, the
        features, extra features, and a column `class NAME` for each class that is compared.
    tables : dict of str to DataFrame
        Counts of samples, and the XRF calibration.
    notes : list of str
    attributes : dict of str to str
        For the maps: samples on masked cells, and how they were treated.
    calibration : XrfCalibration or None
        The line that the values were calibrated with.
    """

    design: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    notes: list[str]
    attributes: dict[str, str]
    calibration: XrfCalibration | None = None


def design_of(
    table: ElementsTable, cube: xr.Dataset, path: Path, symbol: str, *, pairs: Path | None = None
) -> ElementSamples:
    """Read, screen, calibrate and place the samples of one element.

    Parameters
    ----------
    table : ElementsTable
    cube : Dataset (y, x)
        Has the features.
    path : Path
        Table of the samples.
    symbol : str
    pairs : Path, optional
        Table of `[elements.pairs]`.

    Returns
    -------
    ElementSamples

    Raises
    ------
    InputError
        For missing columns, text in number columns, swapped coordinates, samples that are all outside the grid, an
        element without a valid value, negative contents.
    UnitsError
        For contents a hundred times above or below the usual ones of soils.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*are the minimum", UserWarning)  # a note has it
        tidy = read_element(table, path, symbol)
    notes, recorded = reading_notes(table, tidy, symbol)
    tables: dict[str, pd.DataFrame] = {}
    share: dict[Any, Any] = censored_shares(tidy).loc[symbol].to_dict()
    if share["truncated"]:
        notes.append(
            f"{symbol}: {int(share['missing'])} of {int(share['rows'])} samples have no value and none is reported "
            "as below detection; if they were not detected, set empty_cells = 'censored', or the map is biased high"
        )
    before, removed, fences = int(share["valid"]), 0, (float("nan"), float("nan"))
    if table.screen is not None:
        screening = screen_outliers(
            tidy,
            threshold=table.screen.threshold,
            method=table.screen.method,
            log=table.screen.log,
            iterate=table.screen.iterate,
        )
        counts: dict[Any, Any] = screening.counts.loc[symbol].to_dict()
        removed, fences = int(counts["removed"]), (float(counts["low"]), float(counts["high"]))
        tidy = screening.kept
    line = None
    if symbol in table.calibrated:
        # After the screening: one gross outlier among the pairs would change the slope.
        tidy, line, of_line = _calibrated(table, tidy, symbol, pairs, notes)
        tables |= of_line
    design, attributes = placed_samples(table, cube, tidy, path, notes)
    used = used_rows(table, design)
    sites = summarise_sites(used, keep=[], lowest=table.property_of(symbol).low)
    summary: dict[Any, Any] = summarise_elements(sites).loc[symbol].to_dict()
    tables["samples"] = pd.DataFrame(
        [
            {
                "element": symbol,
                "before": before,
                "removed": removed,
                "low_fence": fences[0],
                "high_fence": fences[1],
                "censored": int(used["censored"].sum()),
                "sites": int(summary["sites"]),
                "mean": summary["mean"],
                "sd": summary["sd"],
                "cv": summary["cv"],
            }
        ]
    )
    return ElementSamples(design, tables, notes, attributes | recorded, line)


def check_samples(table: ElementsTable, path: Path) -> None:
    """Read the samples of every element as a run will, before anything is computed.

    Raises
    ------
    MissingInputError, InputError, UnitsError
        As `design_of`, for what the table alone shows. Faults of several elements are listed at once.
    """
    own = table if table.composition is None else composition_table(table)
    faults: list[InputError] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the run reports them
        for one, symbol in [*((table, name) for name in table.columns), *((own, name) for name in table.parts)]:
            try:
                read_element(one, path, symbol)
            except InputError as error:
                if str(error) not in map(str, faults):
                    faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        kind = UnitsError if all(isinstance(fault, UnitsError) for fault in faults) else InputError
        raise kind(f"{path.name}: {len(faults)} faults\n" + "\n".join(f"  - {fault}" for fault in faults))


def read_element(table: ElementsTable, path: Path, symbol: str) -> pd.DataFrame:
    """Samples of one element as they are read: one row a sample, before screening.

    Returns
    -------
    DataFrame
        Tidy, with `lon`, `lat`, the columns that the recipe needs, and the index of alteration where it is asked for.

    Raises
    ------
    MissingInputError, InputError, UnitsError
        As `design_of`, for what the table alone shows.
    """
    columns = [c for c in table.compare if c not in table.features]
    ranges = [name for name in table.ranges if name not in table.features]
    index = [] if table.cia is None else [*table.cia.columns.values(), *filter(None, [table.cia.carbonate])]
    places = place_columns(table, path)
    optional = (table.site, table.region, table.replicate, table.date, table.icp.get(symbol))
    depths = [] if table.depths is None else [table.depths.upper, table.depths.lower]
    numbers = [*places, *table.from_samples.values(), *table.extra_features, *ranges, *index, *depths]
    needed = [*numbers, table.columns[symbol], *filter(None, optional)]
    if table.cia is not None:  # computed here, not read
        needed, numbers = ([name for name in names if name != INDEX] for names in (needed, numbers))
    samples = read_table(path, needed=needed, numbers=numbers, where=path.name)
    if table.cia is not None:
        samples = with_alteration(table.cia, samples)
        needed.append(INDEX)
    for feature in table.from_samples:
        if feature not in table.features:
            raise InputError(f"elements.from_samples: '{feature}' is no feature{nearest_name(feature, table.features)}")
    if table.crs is None:
        check_degrees(samples[places[0]], samples[places[1]], where=path.name, attrs=samples.attrs)
    columns_kept = {table.columns[symbol], *needed, *[c for c in columns if c in samples.columns]}
    samples = samples[[c for c in samples.columns if c in columns_kept]]
    depth = None
    if table.depths is not None:
        samples, depth = numbered_depths(table, samples, places)
    if table.crs is None:
        others = {*needed[len(places) :], *columns} - {"lon", "lat"}  # a position may be a covariate too
        attrs, lon, lat = dict(samples.attrs), samples[places[0]], samples[places[1]]
        samples = samples.drop(columns=[name for name in places if name not in others]).assign(lon=lon, lat=lat)
        samples.attrs = attrs
    declared = table.property_of(symbol)
    tidy = read_samples(
        samples,
        {symbol: table.columns[symbol]},
        site=table.site,
        replicate=DEPTH_ROW if depth is not None else table.replicate,
        units={symbol: table.unit_of(symbol)},
        properties={symbol: declared},
        limits=table.limits,
        negative=table.negative,
        empty=table.empty_cells,
        at_minimum=table.at_minimum,
        coordinates=places if table.crs is not None else None,
        crs=table.crs,
        check_units=table.check_units,
        where=path.name,
    )
    if table.check_units and declared.units == MG_KG:
        check_one_unit(tidy["value"], symbol, where=path.name)
    if depth is not None:
        tidy = at_depth(table, tidy, depth, path)
    return within_years(table, tidy, path)


def _calibrated(
    table: ElementsTable, tidy: pd.DataFrame, symbol: str, pairs: Path | None, notes: list[str]
) -> tuple[pd.DataFrame, XrfCalibration, dict[str, pd.DataFrame]]:
    readings = readings_of(table, tidy, symbol, pairs)
    line = line_of(table, *readings)
    calibrated = line.apply(tidy["value"])
    counts = {name: int(calibrated[name].sum()) for name in ("extrapolated", "negative")}
    if counts["extrapolated"]:
        notes.append(
            f"{symbol}: {counts['extrapolated']} readings are outside the calibrated range {line.low:.4g} to "
            f"{line.high:.4g} mg/kg"
        )
    if counts["negative"]:
        notes.append(f"{symbol}: {counts['negative']} calibrated values are negative and were excluded")
    value = calibrated["value"].where(~calibrated["negative"])
    tables = tables_of_line(table, symbol, line, readings, counts)
    if symbol in table.icp:
        tidy = tidy.assign(icp_reading=readings[1])
    return tidy.assign(value=value), line, tables
