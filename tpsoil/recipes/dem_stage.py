"""`[derive] dem`: terrain and flow at a DEM's own resolution, averaged to the grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from odc.geo.geobox import GeoBox

from tpsoil.covariates.hydrology import BYTES_A_CELL
from tpsoil.cube.align import pixels_per_cell
from tpsoil.engine.content import content_digest, contents_of
from tpsoil.errors import TpsoilError
from tpsoil.ingest import Raster
from tpsoil.ingest.dependencies import forget_remote
from tpsoil.stage import CONTENT, Array, Stage, Window
from tpsoil.variables import variable

from .dem import TerrainOfDem, flow_of_dem, open_dem, placed, resolution_of
from .layer_stage import behind
from .readers import Readers

TERRAIN_BYTES_PER_CELL: Final = 160.0
"""Of a DEM cell: the window in float64 while it is read, with its halo, and seven results."""


def dem_stages(
    source: str,
    units: str | None,
    terrain: Sequence[str],
    ruggedness: str,
    hydrology: Sequence[str],
    flow: Mapping[str, Any],
    *,
    grid: Callable[[], GeoBox] | None,
    whole: Callable[[str], str],
    faults: list[str],
) -> list[Stage]:
    """Stages of terrain, tile by tile, and of flow, whole, from a DEM's files."""
    path = whole(source)
    side = behind(path, "derive.dem", faults)
    share = 1.0
    if not faults and grid is not None:
        try:
            opened = {"dem": path, "units": units, CONTENT: content_digest(contents_of(side.files, side.urls))}
            share = max(1.0, pixels_per_cell(_dem(opened).box, grid()) ** 2)
        except TpsoilError as error:
            faults.append(f"derive.dem: {error}")
    common: dict[str, Any] = {
        "section": "derive",
        "files": side.files,
        "urls": side.urls,
        "describe": describe_dem,
    }
    decisive = {key: value for key, value in flow.items() if key != "memory_limit_gb"}
    stages = []
    if terrain:
        stages.append(
            Stage(
                name="terrain",
                title="terrain attributes",
                outputs=tuple(variable(name) for name in terrain),
                compute=compute_terrain,
                options={"dem": path, "units": units, "ruggedness": ruggedness, "names": tuple(terrain)},
                indifferent=("dem",),
                identity={"dem": Path(path).name},
                attributes={"": {"formula": "Horn 1981; Zevenbergen and Thorne 1987", "parents": Path(path).name}},
                bytes_per_cell=TERRAIN_BYTES_PER_CELL * share,
                **common,
            )
        )
    if hydrology:
        stages.append(
            Stage(
                name="hydrology",
                title="flow over the whole DEM",
                outputs=tuple(variable(name) for name in hydrology),
                halo=None,
                compute=compute_flow,
                options={"dem": path, "units": units, "flow": dict(flow), "names": tuple(hydrology)},
                indifferent=("dem", "flow.memory_limit_gb"),
                identity={"dem": Path(path).name},
                attributes={"": {"formula": "D8 on the filled DEM", "parents": Path(path).name, **decisive}},
                bytes_per_cell=BYTES_A_CELL * share + 96.0,
                **common,
            )
        )
    return stages


def compute_terrain(window: Window) -> Mapping[str, Array]:
    """Terrain attributes of the DEM on one window."""
    options = window.options
    terrain = _terrain(options)
    return {name: placed(terrain.raster(name), window.grid, window.rows, window.columns) for name in options["names"]}


def compute_flow(window: Window) -> Mapping[str, Array]:
    """Flow attributes of the whole DEM on the whole grid."""
    options = window.options
    made = flow_of_dem(_dem(options), options["flow"])
    return {name: placed(made[name], window.grid, window.rows, window.columns) for name in options["names"]}


def describe_dem(options: Mapping[str, Any], _grid: GeoBox) -> Mapping[str, Any]:
    """The DEM and its grid, for the attributes."""
    dem = _dem(options)
    return {"dem": dem.origin, "dem_digest": dem.digest, "derived_at": resolution_of(dem)}


_dems: Final = Readers[Raster](limit=8)
_terrains: Final = Readers[TerrainOfDem](limit=8)


def _dem(options: Mapping[str, Any]) -> Raster:
    path, units = options["dem"], options["units"]
    return _dems.get((path, units), options[CONTENT], lambda: _open(path, units))


def _open(path: str, units: str | None) -> Raster:
    forget_remote([path])
    return open_dem(path, **({"units": units} if units else {}))


def _terrain(options: Mapping[str, Any]) -> TerrainOfDem:
    key = (options["dem"], options["units"], options["ruggedness"])
    return _terrains.get(key, options[CONTENT], lambda: TerrainOfDem(_dem(options), options["ruggedness"]))
