"""Pictures of `tpsoil demo`, drawn once, by the second process of `demo_process.py`; the page has them too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

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
from tpsoil.reports.page import PICTURE_DPI, map_figure, with_cube
from tpsoil.solum import SolumParameters, thickness

LAYERS: Final = ("solum_thickness", "zone", "response_time", "solum_status")
ELEMENTS: Final = ("iron", "manganese", "zinc", "vanadium")

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


def draw_parts(folder: Path, lines: Iterable[str]) -> None:
    """Draw each part that a line names, and print the files' names.

    Parameters
    ----------
    folder : Path
        Of the demo.
    lines : iterable of str
        "cube", "solum" and "elements", each when that part is in the folder.
    """
    physical_maps = None
    for line in lines:
        if line == "cube\n":
            physical_maps = illustrative_thickness(open_cube(folder / "cube.zarr"))
        else:
            for path in draw(folder, "solum" if line == "solum\n" else "elements", physical_maps):
                print(path.name)


def draw(folder: Path, part: Literal["solum", "elements"], physical_maps: xr.Dataset | None = None) -> list[Path]:
    """The demo's maps as PNG files.

    Parameters
    ----------
    folder : Path
        Of the demo.
    part : {"solum", "elements"}
    physical_maps : Dataset (y, x), optional
        From `illustrative_thickness`.

    Returns
    -------
    list of Path
    """
    cube, maps = open_cube(folder / "cube.zarr"), open_cube(folder / "maps.zarr")
    maps = with_cube(maps, cube)
    names = LAYERS if part == "solum" else ELEMENTS
    paths = [figures.save(map_figure(maps, name), folder / f"{name}.png", dpi=PICTURE_DPI) for name in names]
    if part == "elements":
        return paths
    physical_maps = illustrative_thickness(cube) if physical_maps is None else physical_maps
    mask = cube["soil_mask"]
    both = Figure(figsize=(15, 5.0), layout="constrained")
    left, right = both.subplots(1, 2)
    physical = (
        "Illustrative: one physical parameter set, no zones, erosion varies in space,\n"
        "its mean by water set to 2.76 t/ha/a (not fitted to profiles)"
    )
    figures.map_layer(physical_maps["solum_thickness"], ax=left, mask=mask, title=physical, limits=THICKNESS_LIMITS)
    published = "Published parameters of Table 4 by zone,\none assumed erosion rate"
    figures.map_layer(maps["solum_thickness"], ax=right, mask=mask, title=published, limits=THICKNESS_LIMITS)
    paths.append(figures.save(both, folder / "thickness_illustrative.png"))
    return [*paths, draw_processes(physical_maps, maps, mask, folder / "processes.png")]


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
