"""`[solum.transient]`: thickness in named years under a changing climate, and the cells that are not in equilibrium."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, field_validator, model_validator

from tpsoil.errors import TpsoilError
from tpsoil.ingest import read_table
from tpsoil.ingest.dependencies import behind
from tpsoil.option_names import in_recipe
from tpsoil.solum import (
    ClimateSeries,
    SolumParameters,
    TransientSettings,
    climate_series,
    transient_thickness,
)
from tpsoil.solum.calibration import calibrated_parameters
from tpsoil.solum.transitions import EQUILIBRIUM, require_years, transient_outputs, year_name
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench

from .section import Ascending, FilePath, Section
from .solum_layers import attributes_after, indifferent_after, model_layers, model_parameters


class TransientTable(Section):
    """`[solum.transient]`: thickness in named years, from a table of climate and erosion by year.

    Parameters
    ----------
    series : str
        A CSV with `year` (calendar years, ascending) or `year_bp`, and `temperature_change [K]`,
        `precipitation_factor [1]`, `water_erosion_factor [1]`, `wind_erosion_factor [1]`, relative to the layers.
    encoding : str
        Of the series; "utf-16" of a table that Excel saved as Unicode text.
    years : list of float
        Of the maps; calendar years within the series, ascending.
    start : "steady" or float
        Thickness in the first year of the series: its steady state, or metres everywhere.
    step_years : float
        Maximum length of a step, a.
    tolerance : float
        Relative distance from the steady state of a year's climate that counts as equilibrium; at least 1 cm.
    stack : table of year to layer to layer
        Layers that stand for temperature, precipitation, water or wind erosion in a year.
    """

    series: FilePath
    encoding: str = "utf-8"
    years: Annotated[tuple[float, ...], Field(min_length=1), Ascending]
    start: Literal["steady"] | float = "steady"
    step_years: float = 100.0
    tolerance: float = 0.1
    stack: dict[str, dict[str, str]] = Field(default_factory=dict)

    @property
    def settings(self) -> TransientSettings:
        """The settings of the function."""
        stack = {float(year): dict(names) for year, names in self.stack.items()}
        return TransientSettings(self.start, self.step_years, self.tolerance, stack)

    @field_validator("stack")
    @classmethod
    def _numbers(cls, stack: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for year in stack:
            try:
                float(year)
            except ValueError:
                raise ValueError(f"has '{year}', expected calendar years") from None
        return stack

    @model_validator(mode="after")
    def _usable_settings(self) -> TransientTable:
        _ = self.settings
        return self


def read_series(table: TransientTable, faults: list[str]) -> ClimateSeries | None:
    """The series of a recipe; its faults are added to those of the recipe."""
    before = len(faults)
    behind(table.series, "solum.transient.series", faults)
    if len(faults) > before:
        return None
    try:
        with in_recipe("solum.transient"):
            rows = read_table(table.series, encoding=table.encoding)
        series = climate_series(rows, where=table.series)
        require_years(table.years, series, "solum.transient")
    except TpsoilError as error:
        faults.append(f"solum.transient: {error}")
        return None
    return series


def transient_stage(table: Any, series: ClimateSeries, steady: Stage, seed: int) -> Stage:
    """The stage of the maps in named years.

    Parameters
    ----------
    table : SolumTable
    series : ClimateSeries
    steady : Stage
        Of the steady state: its inputs, profiles and attributes.
    seed : int
    """
    transient: TransientTable = table.transient
    more = {name for names in transient.stack.values() for name in names.values()}
    calibrated = table.calibration is not None
    return Stage(
        name="solum_transient",
        title="solum thickness under a changing climate",
        section="solum",
        inputs=(*steady.inputs, *sorted(more - set(steady.inputs))),
        outputs=tuple(transient_outputs(transient.years)),
        compute=compute_transient,
        options={"table": table, "series": series, "seed": seed if calibrated else None},
        indifferent=(*indifferent_after("transient"), "table.transient.series", "table.transient.encoding"),
        identity=steady.identity,
        files=steady.files,
        prepare=prepare_transient if calibrated else None,
        prepares="calibrating",
        load=load_parameters if calibrated else None,
        attributes=attributes_after(steady, climate_series=Path(transient.series).name),
        bytes_per_cell=160.0 + 80.0 * max(1, len(transient.stack)) + 16.0 * len(transient.years),
        tally=partial(tally_equilibrium, transient.years),
        notes=partial(equilibrium_notes, transient.years),
    )


def prepare_transient(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """The parameters of the calibration, by the searches that the steady state has too."""
    study = options["table"]
    by_zone = calibrated_parameters(
        study.calibration.usable(),
        model_layers(cube, study),
        study.options,
        settings=study.calibration.search,
        seed=int(options["seed"]),
        workers=bench.workers,
    )
    return Prepared(json.dumps({str(zone): asdict(one) for zone, one in by_zone.items()}).encode())


def load_parameters(data: bytes) -> dict[int, SolumParameters]:
    """What `prepare_transient` stored."""
    return {int(zone): SolumParameters(**values) for zone, values in json.loads(data).items()}


def compute_transient(window: Window) -> Mapping[str, Array]:
    """Maps of one window."""
    study = window.options["table"]
    transient: TransientTable = study.transient
    maps = transient_thickness(
        model_layers(window.layers, study),
        model_parameters(study, window.model),
        window.options["series"],
        study.options,
        years=transient.years,
        settings=transient.settings,
    )
    return {str(name): np.asarray(layer.values) for name, layer in maps.items()}


def tally_equilibrium(years: Sequence[float], layers: Mapping[str, Array]) -> dict[str, list[int]]:
    """Cells of each state of one chunk, by year."""
    counts = {}
    for year in years:
        flags = np.asarray(layers[f"solum_equilibrium_{year_name(year)}"]).ravel()
        counts[year_name(year)] = [int(np.count_nonzero(flags == code)) for code in EQUILIBRIUM]
    return counts


def equilibrium_notes(years: Sequence[float], tallies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Share of the cells that are not in equilibrium, for each year."""
    notes = []
    for year in years:
        counts = np.sum([tally[year_name(year)] for tally in tallies], axis=0) if tallies else np.zeros(1)
        total = int(counts.sum())
        if total:
            others = ", ".join(
                f"{count} {text}" for count, text in zip(counts[1:], list(EQUILIBRIUM.values())[1:]) if count
            )
            share = 100 * (total - int(counts[0])) / total
            notes.append(
                f"solum thickness in {year:g}: {share:.1f} % of {total} cells are not in equilibrium with the climate "
                f"of the year" + (f" ({others})" if others else "")
            )
    return notes
