"""Pictures of `tpsoil demo`, drawn by a second process while the run trains and the page is written.

Drawing and compiling hydrology for the illustrative map hold the GIL, and neither depends on the forests.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from tpsoil.covariates import (
    cover_factor,
    hydrology_attributes,
    rainfall_erosivity,
    rusle,
    terrain_attributes,
    vegetation_cover,
)
from tpsoil.cube import open_cube
from tpsoil.reports import figures
from tpsoil.solum import SolumParameters, thickness

ELEMENTS: Final = ("iron", "manganese", "zinc", "vanadium")
PROGRAM: Final = "import sys; from tpsoil.demo_pictures import draw_on_request; draw_on_request(sys.argv[1])"
DRAW: Final = "draw\n"


ILLUSTRATIVE: Final = SolumParameters(h0=0.3, rho_s=1300.0, a=2e-4, b=3e-5, alpha=0.1, beta=0.02, gamma=1.0, D=5e-3)
"""One physically plausible set for the whole plateau, fitted to no profile."""
ASSUMED_K: Final = 0.0197
"""t ha h ha-1 MJ-1 mm-1, mean of 16 places above 3000 m."""
PLATEAU_EROSION: Final = 2.76
"""t ha-1 a-1, mean water erosion of the plateau, Teng et al. 2018."""
THICKNESS_LIMITS: Final = (0.3, 2.0)
"""m, of both colour bars."""
RESPONSE_LIMITS: Final = (100.0, 200_000.0)
"""a, of both maps of the response time."""
BARE_WIND_EROSION: Final = 30.0
"""t ha-1 a-1 without cover, assumed."""


def illustrative_thickness(cube: xr.Dataset) -> xr.Dataset:
    """Solum thickness with one illustrative parameter set, no zones, and erosion that varies in space.

    Parameters
    ----------
    cube : Dataset (y, x)
        The sample's layers.

    Returns
    -------
    Dataset (y, x)
        solum_thickness, m, and what `tpsoil.solum.thickness` gives beside it; NaN without soil.

    Notes
    -----
    Water erosion is RUSLE with R of the annual relation, C of Cai, one K and LS of the sample's own 8 km DEM. That LS
    is far too small, so the mean over soil is brought to the plateau's published 2.76 t ha-1 a-1: the level is
    published, only the pattern is the sample's. Wind erosion is 30 exp(-0.0438 cover) t ha-1 a-1, cover in %.
    """
    dem = cube["elevation"]  # lazy in a store: only LS is computed of the flow
    layers = cube.drop_vars("climate_zone", errors="ignore").compute()
    soil = layers["soil_mask"] == 1
    cover = vegetation_cover(layers["ndvi"])
    loss = rusle(
        rainfall_erosivity(layers["annual_precipitation"], method="zhang_fu_annual"),
        ASSUMED_K,
        hydrology_attributes(dem, allow_coarse_dem=True)["ls_factor"],
        cover_factor(vegetation_cover=cover, method="cai"),
    )
    water = (loss * (PLATEAU_EROSION / loss.where(soil).mean())).astype("float32").assign_attrs(loss.attrs)
    blown = (BARE_WIND_EROSION * np.exp(-0.0438 * cover.values)).astype("float32")
    wind = cover.drop_attrs().copy(data=blown).assign_attrs(units="t ha-1 a-1")
    curvature = terrain_attributes(layers["elevation"])["general_curvature"]
    return thickness(layers.assign(water_erosion=water, wind_erosion=wind, general_curvature=curvature), ILLUSTRATIVE)


class PictureProcess:
    """The second process; where it cannot be started, or fails, this process draws.

    Parameters
    ----------
    folder : Path
        Of the demo, with cube.zarr.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self.folder.absolute())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        return self

    def begin(self) -> None:
        """Let the process draw: the maps are complete."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(DRAW)
                self._process.stdin.flush()

    def finish(self) -> tuple[Path, ...]:
        """The pictures, when all are drawn."""
        if self._process is not None:
            printed, _ = self._process.communicate()
            if self._process.returncode == 0:
                return tuple(Path(self.folder, name) for name in printed.splitlines())
        layers = open_cube(self.folder / "cube.zarr")
        return draw(open_cube(self.folder / "maps.zarr"), layers, self.folder, illustrative_thickness(layers))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def draw_on_request(folder: str) -> None:
    """Compute the illustrative maps, wait for a line on standard input, draw, and print the files' names.

    Parameters
    ----------
    folder : str
        As of `PictureProcess`.
    """
    place = Path(folder)
    layers = open_cube(place / "cube.zarr")
    physical_maps = illustrative_thickness(layers)
    if sys.stdin.readline() != DRAW:
        return
    for path in draw(open_cube(place / "maps.zarr"), layers, place, physical_maps):
        print(path.name)


def draw(maps: xr.Dataset, cube: xr.Dataset, folder: Path, physical_maps: xr.Dataset) -> tuple[Path, ...]:
    """The demo's maps as PNG files.

    Parameters
    ----------
    maps, cube : Dataset (y, x)
        Output of the demo's run, and the sample's layers.
    folder : Path
    physical_maps : Dataset (y, x)
        From `illustrative_thickness`.
    """
    mask = cube["soil_mask"]
    paths = [folder / "thickness_illustrative.png"]
    both = Figure(figsize=(15, 5.0), layout="constrained")
    left, right = both.subplots(1, 2)
    illustrative = physical_maps["solum_thickness"]
    physical = (
        "Illustrative: one physical parameter set, no zones, erosion varies in space,\n"
        "its mean by water set to 2.76 t/ha/a (not fitted to profiles)"
    )
    figures.map_layer(illustrative, ax=left, mask=mask, title=physical, limits=THICKNESS_LIMITS)
    published = "Published parameters of Table 4 by zone,\none assumed erosion rate"
    figures.map_layer(maps["solum_thickness"], ax=right, mask=mask, title=published, limits=THICKNESS_LIMITS)
    figures.save(both, paths[0])
    paths.append(draw_processes(physical_maps, maps, mask, folder / "processes.png"))
    for name in ("solum_thickness", *ELEMENTS):
        path = folder / f"{name}.png"
        title = "Solum thickness, published parameters, erosion assumed" if name == "solum_thickness" else None
        figures.save(figures.map_layer(maps[name], mask=mask, title=title), path)
        paths.append(path)
    path = folder / "zones.png"
    figures.save(figures.zones_map(maps["zone"]), path)
    return (*paths, path)


def draw_processes(physical: xr.Dataset, published: xr.Dataset, mask: xr.DataArray, path: Path) -> Path:
    """The dominant process of the illustrative set, and the response times of both, hatched beyond the Holocene."""
    figure = Figure(figsize=(22, 4.6), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    process = "Illustrative: process that removes most soil"
    figures.map_layer(physical["dominant_process"], ax=first, mask=mask, title=process)
    for axes, layers, title in (
        (second, physical, "Illustrative: response time h0 / E"),
        (third, published, "Table 4 by zone, one assumed erosion rate:\nresponse time h0 / E"),
    ):
        figures.response_time_map(layers["response_time"], ax=axes, mask=mask, title=title, limits=RESPONSE_LIMITS)
    return figures.save(figure, path)
