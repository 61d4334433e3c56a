"""Paired XRF and ICP-MS readings of a recipe: the line, its tables, and maps before calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tpsoil.forest import TrainedForest
from tpsoil.ingest import read_table
from tpsoil.micronutrients import (
    XrfCalibration,
    calibrate_xrf,
    calibrated_coverage,
    calibration_lines,
    calibration_residuals,
)
from tpsoil.units import conversion

from .element_options import ElementsTable


def readings_of(
    table: ElementsTable, tidy: pd.DataFrame, symbol: str, pairs: Path | None
) -> tuple[pd.Series, pd.Series]:
    """XRF and ICP-MS readings of one element, mg/kg, NaN where there is none.

    Parameters
    ----------
    table : ElementsTable
    tidy : DataFrame
        Samples of the element, with its column of `icp` where there is one.
    symbol : str
    pairs : Path or None
        Table of `[elements.pairs]`.

    Raises
    ------
    MissingInputError, InputError, UnitsError
        For a table or columns that are not there, text in number columns, an unknown unit.
    """
    if symbol in table.icp:
        declared = table.property_of(symbol)
        factor = conversion(
            table.unit_of(symbol), declared.units, where=f"elements.icp.{symbol}", substance=declared.substance
        ).factor
        icp = pd.to_numeric(tidy[table.icp[symbol]], errors="coerce").astype(np.float64)
        return tidy["value"].astype(np.float64), icp * factor
    if table.pairs is None or pairs is None:
        raise KeyError(symbol)
    names = table.pairs.columns[symbol]
    rows = read_table(pairs, needed=list(names), numbers=list(names), where=pairs.name)
    declared = table.property_of(symbol)
    factor = conversion(
        table.pairs.units, declared.units, where=f"elements.pairs: {pairs.name}", substance=declared.substance
    ).factor
    xrf, icp = (rows[name].astype(np.float64) * factor for name in names)
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
    lines.insert(0, "element", symbol)
    lines["used"] = lines["method"] == line.method
    residuals = calibration_residuals(line, *readings)
    residuals.insert(0, "method", line.method)
    residuals["slope"], residuals["intercept"] = line.slope, line.intercept
    return {
        "calibration": pd.DataFrame([used]),
        "calibration_lines": lines,
        f"xrf_{symbol}": residuals.map(lambda value: float(f"{value:.6g}") if isinstance(value, float) else value),
    }


def coverage_of_readings(symbol: str, trained: TrainedForest, line: XrfCalibration, icp: pd.Series) -> pd.DataFrame:
    """Coverage of the ICP-MS readings of the samples, without and with the error of the line."""
    table = calibrated_coverage(trained, line, icp)
    table.insert(0, "element", symbol)
    return table
