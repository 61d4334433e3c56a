"""`[[zonal]]`: statistics of layers by polygons, as a table of the run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import xarray as xr
from pydantic import Field, field_validator, model_validator

from tpsoil.cube.area_errors import LIMITS, area_estimates
from tpsoil.cube.zonal import DEFAULT_STATISTICS, require_statistics, zonal_statistics
from tpsoil.errors import nearest_name
from tpsoil.ingest.dependencies import behind
from tpsoil.ingest.vectors import LAYER
from tpsoil.stage import Prepared, Stage, Workbench, compute_nothing

from .assembly import Assembly
from .section import FilePath, Section


class ZonalTable(Section):
    """`[[zonal]]`: statistics of layers by polygons. The table is on the page, and in the run as CSV.

    Parameters
    ----------
    name : str
        Letters, digits, `_` and `-`; the table is `zonal_NAME`.
    layers : list of str
        Any layers of the run or of its cube.
    polygons : str
        A vector file in any CRS; of several layers `basins.gpkg|layername=NAME`.
    by : str, optional
        Attribute with the names; polygons of one name are one area. Without it they are numbered from 1.
    statistics : list of str
        Of count, area_km2, no_data (share without a value), mean, sd, min, max, total (value times area), and
        quantiles such as q05 and q97.5.
    partial_cells : str
        Weight of a cell on the border: the share of its area inside ("fraction"), or 1 where its centre is inside
        ("centre").
    crs : str, optional
        Of a file without one.
    area_intervals : list of str
        Of `layers`, maps of `[elements]` with an interval: mean and total of each polygon and of the whole map with
        intervals that account for correlated errors, in the table `areas_NAME`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    layers: tuple[str, ...] = Field(min_length=1)
    polygons: FilePath
    by: str | None = None
    statistics: tuple[str, ...] = DEFAULT_STATISTICS
    partial_cells: Literal["fraction", "centre"] = "fraction"
    crs: str | None = None
    area_intervals: tuple[str, ...] = ()

    @field_validator("statistics")
    @classmethod
    def _known_statistics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        require_statistics(names, "is not usable")
        return names

    @model_validator(mode="after")
    def _known_layers(self) -> ZonalTable:
        for name in self.area_intervals:
            if name not in self.layers:
                raise ValueError(
                    f"area_intervals names '{name}', which is none of its layers{nearest_name(name, self.layers)}"
                )
        return self


def zonal_stages(tables: Sequence[ZonalTable], assembly: Assembly) -> list[Stage]:
    """One stage without maps for each table."""
    stages = []
    for number, table in enumerate(tables, start=1):
        polygons = behind(table.polygons.partition(LAYER)[0], f"zonal[{number}].polygons", assembly.faults)
        stages.append(
            Stage(
                name=f"zonal_{table.name}",
                title=f"statistics by polygon: {table.name}",
                section="zonal",
                inputs=tuple(dict.fromkeys((*table.layers, *_limits(table)))),
                outputs=(),
                compute=compute_nothing,
                options={"table": table},
                indifferent=("table.polygons",),
                identity={"polygons": Path(table.polygons).name},
                files=polygons.files,
                prepare=prepare_statistics,
                prepares="summarising",
            )
        )
    return stages


def _limits(table: ZonalTable) -> list[str]:
    return [f"{name}_{side}" for name in table.area_intervals for side in LIMITS]


def prepare_statistics(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """The table of one `[[zonal]]`."""
    table: ZonalTable = options["table"]
    how = {name: getattr(table, name) for name in ("by", "partial_cells", "crs")}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="zonal_statistics: ", category=UserWarning)
        statistics = zonal_statistics(
            cube[list(dict.fromkeys(table.layers))], table.polygons, statistics=table.statistics, **how
        )
    tables = {f"zonal_{table.name}": statistics}
    notes = list(statistics.attrs["problems"])
    if table.area_intervals:
        estimates = [area_estimates(cube, name, table.polygons, **how) for name in table.area_intervals]
        notes += [note for estimate in estimates for note in estimate.attrs["problems"] if note not in notes]
        areas = pd.concat([estimate.assign() for estimate in estimates], ignore_index=True)
        tables[f"areas_{table.name}"] = areas.dropna(axis=1, how="all")
    return Prepared(b"", tables, notes=tuple(notes))
