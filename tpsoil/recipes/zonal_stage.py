"""`[[zonal]]`: statistics of layers by polygons, as a table of the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from pydantic import Field, field_validator

from tpsoil.cube.zonal import DEFAULT_STATISTICS, require_statistics, zonal_statistics
from tpsoil.errors import InputError
from tpsoil.ingest.dependencies import behind
from tpsoil.ingest.vectors import LAYER, file_family
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench

from .section import Section


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
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    layers: tuple[str, ...] = Field(min_length=1)
    polygons: str = Field(min_length=1)
    by: str | None = None
    statistics: tuple[str, ...] = DEFAULT_STATISTICS
    partial_cells: Literal["fraction", "centre"] = "fraction"
    crs: str | None = None

    @field_validator("statistics")
    @classmethod
    def _known_statistics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            require_statistics(names, "is not usable")
        except InputError as error:
            raise ValueError(str(error)) from error
        return names


def zonal_stages(tables: Sequence[ZonalTable], path: Callable[[str], str], faults: list[str]) -> list[Stage]:
    """One stage without maps for each table."""
    stages = []
    for number, table in enumerate(tables, start=1):
        source = path(table.polygons)
        behind(source.partition(LAYER)[0], f"zonal[{number}].polygons", faults)
        stages.append(
            Stage(
                name=f"zonal_{table.name}",
                title=f"statistics by polygon: {table.name}",
                section="zonal",
                inputs=tuple(dict.fromkeys(table.layers)),
                outputs=(),
                compute=compute_nothing,
                options={"table": table, "polygons": source},
                indifferent=("table.polygons", "polygons"),
                identity={"polygons": Path(source).name},
                files=tuple(file_family(source)),
                prepare=prepare_statistics,
                prepares="summarising",
            )
        )
    return stages


def compute_nothing(_window: Window) -> Mapping[str, Array]:
    """The stage has no maps."""
    return {}


def prepare_statistics(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """The table of one `[[zonal]]`."""
    table: ZonalTable = options["table"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="zonal_statistics: ", category=UserWarning)
        statistics = zonal_statistics(
            cube[list(dict.fromkeys(table.layers))],
            options["polygons"],
            by=table.by,
            statistics=table.statistics,
            partial_cells=table.partial_cells,
            crs=table.crs,
        )
    return Prepared(b"", {f"zonal_{table.name}": statistics}, notes=tuple(statistics.attrs["problems"]))
