"""Samples of one element: screened, calibrated by paired XRF and ICP-MS readings, and located on the cube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.columns import labelled
from tpsoil.forest import TrainedForest
from tpsoil.micronutrients import (
    XrfCalibration,
    calibrate_xrf,
    calibrated_coverage,
    calibration_lines,
    calibration_residuals,
    censored_shares,
    screen_outliers,
    summarise_elements,
    summarise_sites,
)
from tpsoil.units import conversion

from .element_options import ElementsTable
from .element_places import SourceLayers, placed_samples, used_rows
from .element_reading import DATES, read_element, read_pairs


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
    table: ElementsTable,
    cube: xr.Dataset,
    symbol: str,
    sources: SourceLayers | None = None,
) -> ElementSamples:
    """Read, screen, calibrate and place the samples of one element.

    Parameters
    ----------
    table : ElementsTable
    cube : Dataset (y, x)
        Has the features.
    symbol : str
    sources : SourceLayers, optional
        Gives the covariates of samples outside the map.

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
    tidy = read_element(table, symbol)
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
        screening = screen_outliers(tidy, **table.screen.model_dump())
        counts: dict[Any, Any] = screening.counts.loc[symbol].to_dict()
        removed, fences = int(counts["removed"]), (float(counts["low"]), float(counts["high"]))
        tidy = screening.kept
    line = None
    if symbol in table.calibrated:
        # After the screening: one gross outlier among the pairs would change the slope.
        tidy, line, of_line = _calibrated(table, tidy, symbol, notes)
        tables |= of_line
    design, attributes = placed_samples(table, cube, tidy, notes, sources)
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
                **{name: summary[name] for name in ("mean", "sd", "cv")},
            }
        ]
    )
    return ElementSamples(design, tables, notes, attributes | recorded, line)


def reading_notes(table: ElementsTable, tidy: pd.DataFrame, symbol: str) -> tuple[list[str], dict[str, str]]:
    """What was recorded while the samples of one element were read: lines for the log, and attributes of its maps."""
    notes, attributes = [], {}
    repeated = tidy.attrs.get("at_minimum", {}).get(symbol)
    units = table.property_of(symbol).units
    if repeated is not None:
        share = 100 * repeated["count"] / repeated["valid"]
        lowest = f"{repeated['value']:.6g} {units}"
        text = f"{repeated['count']} of {repeated['valid']} values ({share:.0f} %) are the minimum {lowest}"
        attributes["values_at_minimum"] = f"{text}, {'censored' if repeated['censored'] else 'kept'}"
        notes.append(
            f"{symbol}: {text}, as where a detection limit was replaced by half of it; "
            + (
                f"they are censored at {repeated['limit']:.6g}"
                if repeated["censored"]
                else f"they are kept as measured: set at_minimum = 'censor' to censor them at {repeated['limit']:.6g}, "
                "or give limits"
            )
        )
    depths = tidy.attrs.get("depths", {}).get(symbol)
    if depths is not None and table.depths is not None:
        top, bottom = table.depths.interval
        attributes["depth_interval"] = f"{top:g} to {bottom:g} cm, by equal-area splines"
        notes.append(
            f"{symbol}: mean of {top:g} to {bottom:g} cm of {depths['profiles']} sites and replicates by equal-area "
            f"splines; {depths['without_value']} do not reach it and are left out"
            + (f"; {depths['censored_depths']} depths below detection" if depths["censored_depths"] else "")
        )
    dates = tidy.attrs.get(DATES)
    if dates is not None:
        attributes["sampled"] = f"{dates['first']} to {dates['last']}"
        left_out = f"; {dates['left_out']} left out by years" if table.years else ""
        notes.append(f"{symbol}: sampled {attributes['sampled']}; {dates['undated']} samples without a date{left_out}")
    return notes, attributes


def _calibrated(
    table: ElementsTable, tidy: pd.DataFrame, symbol: str, notes: list[str]
) -> tuple[pd.DataFrame, XrfCalibration, dict[str, pd.DataFrame]]:
    readings = readings_of(table, tidy, symbol)
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
    limit = line.apply(tidy["detection_limit"])
    tables = tables_of_line(table, symbol, line, readings, counts)
    if symbol in table.icp:
        tidy = tidy.assign(icp_reading=readings[1])
    # What stands for a censored value is on the scale of the others; a limit that the line makes negative is unknown.
    return tidy.assign(value=value, detection_limit=limit["value"].where(~limit["negative"])), line, tables


def readings_of(table: ElementsTable, tidy: pd.DataFrame, symbol: str) -> tuple[pd.Series, pd.Series]:
    """XRF and ICP-MS readings of one element, mg/kg, NaN where there is none.

    Parameters
    ----------
    table : ElementsTable
    tidy : DataFrame
        Samples of the element, with its column of `icp` where there is one.
    symbol : str

    Raises
    ------
    MissingInputError, InputError, UnitsError
        For a table or columns that are not there, text in number columns, an unknown unit.
    """
    if symbol in table.icp:
        unit, where = table.unit_of(symbol), f"elements.icp.{symbol}"
    elif table.pairs is not None:
        unit, where = table.pairs.units, f"elements.pairs: {table.pairs.file.name}"
    else:
        raise KeyError(symbol)
    declared = table.property_of(symbol)
    factor = conversion(unit, declared.units, where=where, substance=declared.substance).factor
    if symbol in table.icp:
        return tidy["value"].astype(np.float64), factor * tidy[table.icp[symbol]].astype(np.float64)
    xrf, icp = (factor * column.astype(np.float64) for _, column in read_pairs(table, symbol).items())
    return xrf, icp


def line_of(table: ElementsTable, xrf: pd.Series, icp: pd.Series) -> XrfCalibration:
    """The calibration line of one element."""
    return calibrate_xrf(
        xrf,
        icp,
        method=table.calibration,
        variance_ratio=table.variance_ratio,
        min_pairs=10 if table.pairs is None else table.pairs.min_pairs,
    )


def tables_of_line(
    table: ElementsTable,
    symbol: str,
    line: XrfCalibration,
    readings: tuple[pd.Series, pd.Series],
    counts: Mapping[str, int],
) -> dict[str, pd.DataFrame]:
    """Tables of one calibration: the line used, all three lines, and the pairs with their residuals.

    Parameters
    ----------
    table : ElementsTable
    symbol : str
    line : XrfCalibration
    readings : (Series, Series)
        XRF and ICP-MS, mg/kg.
    counts : mapping of str to int
        `extrapolated` and `negative` values among the samples.
    """
    used: dict[str, Any] = {
        "element": symbol,
        "pairs": line.n,
        "intercept": line.intercept,
        "slope": line.slope,
        "r2": line.r2,
        "residual_sd": float(np.sqrt(line.residual_variance)),
        **counts,
    }
    lines = calibration_lines(*readings, variance_ratio=table.variance_ratio, min_pairs=min(line.n, 10)).reset_index()
    lines = labelled(lines.assign(used=lines["method"] == line.method), element=symbol)
    residuals = calibration_residuals(line, *readings).assign(slope=line.slope, intercept=line.intercept)
    residuals = labelled(residuals, method=line.method)
    return {
        "calibration": pd.DataFrame([used]),
        "calibration_lines": lines,
        f"xrf_{symbol}": residuals.map(lambda value: float(f"{value:.6g}") if isinstance(value, float) else value),
    }


def coverage_of_readings(symbol: str, trained: TrainedForest, line: XrfCalibration, icp: pd.Series) -> pd.DataFrame:
    """Coverage of the ICP-MS readings of the samples, without and with the error of the line."""
    return labelled(calibrated_coverage(trained, line, icp), element=symbol)
