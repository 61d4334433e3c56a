"""`tpsoil demo`: the sample cube to both maps, with soil observations that are simulated from a known truth.

The covariates are real. No soil was measured in them, so the element samples are drawn from a truth that is defined
here, and every output that depends on them is marked *simulated*. The demo can therefore show how well a forest
recovers a known pattern, not how well it maps the plateau.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import Transformer

from tpsoil.covariates import terrain_attributes
from tpsoil.cube import open_cube
from tpsoil.demo_process import PictureProcess
from tpsoil.engine.session import run
from tpsoil.errors import AccessError, StoreExistsError, TpsoilError
from tpsoil.evaluation import nse
from tpsoil.grid import grid_of
from tpsoil.recipes.jobs import job_of
from tpsoil.reports.page import page_html
from tpsoil.reports.tables import write_text
from tpsoil.sample import write_sample
from tpsoil.solum import PUBLISHED, thickness
from tpsoil.tiles import compute_together

SEED: Final = 20260101
PROFILE_INPUTS: Final = (
    "mean_annual_temperature", "annual_precipitation", "general_curvature", "water_erosion", "wind_erosion",
)  # fmt: skip
SITES: Final = 526
"""As many as the micronutrient study has."""
REPLICATES: Final = 3
SITE_NOISE, REPLICATE_NOISE = 0.35, 0.20
"""Standard deviations of the noise between and within sites, as shares of the element's own."""


@dataclass(frozen=True)
class Truth:
    """One element's known pattern: weights of five responses, and the level and spread it is scaled to.

    Parameters
    ----------
    wet, warm, green, steep, high : float
        Weights of: 1 - exp(-MAP / 600 mm); a logistic of MAT with its middle at 0 degC; NDVI; 1 - exp(-slope / 4 deg);
        a logistic of elevation with its middle at 4500 m.
    mean, sd : float, mg kg-1
        Over soil cells. The published site means and standard deviations (science sheet, section 12), so that the
        simulated values have the size of real ones; the pattern itself is invented.
    """

    wet: float
    warm: float
    green: float
    steep: float
    high: float
    mean: float
    sd: float


TRUTH: Final[Mapping[str, Truth]] = {
    "iron": Truth(0.9, 0.2, 0.4, 0.9, -0.2, 22864.30, 7589.01),
    "manganese": Truth(0.5, 0.3, 1.0, -0.3, 0.0, 576.74, 206.44),
    "zinc": Truth(0.2, 0.8, 0.7, 0.3, -0.4, 27.24, 8.55),
    "vanadium": Truth(1.1, -0.3, 0.2, 0.5, 0.3, 56.99, 19.33),
}


def true_elements(cube: xr.Dataset) -> xr.Dataset:
    """The known truth of the four elements on a cube.

    Parameters
    ----------
    cube : Dataset (y, x)
        With the layers that `Truth` names and `soil_mask`.

    Returns
    -------
    Dataset (y, x), float32, mg kg-1
        NaN where there is no soil or a covariate is missing.

    Notes
    -----
    The weighted sum is standardised over the soil cells, bent by tanh(z / 2) * 2 so that no value is negative, and
    scaled to the element's mean and spread.
    """
    layers = cube[["annual_precipitation", "mean_annual_temperature", "ndvi", "slope", "elevation", "soil_mask"]].load()
    responses = {
        "wet": 1 - np.exp(-layers.annual_precipitation / 600),
        "warm": 1 / (1 + np.exp(-layers.mean_annual_temperature / 4)),
        "green": layers.ndvi,
        "steep": 1 - np.exp(-layers.slope / 4),
        "high": 1 / (1 + np.exp(-(layers.elevation - 4500) / 400)),
    }
    truth = {}
    for element, known in TRUTH.items():
        pattern = sum(getattr(known, name) * response for name, response in responses.items())
        pattern = pattern.where(layers.soil_mask == 1)
        score = (pattern - pattern.mean()) / pattern.std()
        value = known.mean + known.sd * 2 * np.tanh(score / 2)
        truth[element] = value.astype("float32").assign_attrs(
            long_name=f"simulated topsoil {element}, the known truth", units="mg kg-1", simulated="true"
        )
    return xr.Dataset(truth)


def simulated_samples(truth: xr.Dataset, seed: int = SEED) -> pd.DataFrame:
    """Samples drawn from the truth: sites at random among the soil cells, three replicates a site.

    Parameters
    ----------
    truth : Dataset (y, x)
        From `true_elements`.
    seed : int

    Returns
    -------
    DataFrame
        Columns site, replicate, longitude, latitude (degrees) and one an element (mg kg-1); SITES x REPLICATES rows.
    """
    random = np.random.default_rng(seed)
    complete = xr.concat([truth[name].notnull() for name in truth], dim="element").all("element").to_numpy()
    rows, columns = np.nonzero(complete)
    chosen = random.choice(rows.size, size=SITES, replace=False)
    rows, columns = rows[chosen], columns[chosen]
    to_degrees = Transformer.from_crs(grid_of(truth).crs.to_wkt(), 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(truth.x.to_numpy()[columns], truth.y.to_numpy()[rows])
    table = pd.DataFrame(
        {
            "site": np.repeat(np.arange(1, SITES + 1), REPLICATES),
            "replicate": np.tile(np.arange(1, REPLICATES + 1), SITES),
            "longitude": np.repeat(longitude, REPLICATES).round(6),
            "latitude": np.repeat(latitude, REPLICATES).round(6),
        }
    )
    for element, known in TRUTH.items():
        value = np.repeat(truth[element].to_numpy()[rows, columns], REPLICATES)
        between = np.repeat(random.normal(0, SITE_NOISE * known.sd, SITES), REPLICATES)
        within = random.normal(0, REPLICATE_NOISE * known.sd, SITES * REPLICATES)
        table[element] = np.maximum(value + between + within, 0.05 * known.mean).round(2)
    return table


RECIPE: Final = Path(__file__).with_name("sample").joinpath("demo.toml").read_text(encoding="utf-8")


def simulated_profiles(
    layers: xr.Dataset, zones: Sequence[int], *, per_zone: int = 80, noise_m: float = 0.02, seed: int = 3
) -> pd.DataFrame:
    """Soil profiles whose thickness follows the published parameters, for a calibration with a known truth.

    Parameters
    ----------
    layers : Dataset (y, x)
        Inputs of `tpsoil.solum.thickness`, with `zone`.
    zones : sequence of int
        Published zones that are sampled.
    per_zone : int
        Profiles in each, at cells with a steady state.
    noise_m : float
        Standard deviation of the error of a thickness, m.
    seed : int

    Returns
    -------
    DataFrame
        A row for each profile: x, y, zone, the inputs, and `solum_thickness` (m), at least `noise_m`. Water and wind
        erosion vary between profiles by a lognormal factor (sigma 1.2), so that their weights can be told apart.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(500_000)
    >>> values = {"mean_annual_temperature": 5.0, "annual_precipitation": 600.0, "general_curvature": 0.0,
    ...           "water_erosion": 3.0, "wind_erosion": 5.0, "zone": 3}
    >>> layers = xr.Dataset({name: (("y", "x"), np.full(grid.shape, value)) for name, value in values.items()},
    ...                     coordinates(grid))
    >>> len(simulated_profiles(layers, [3], per_zone=5))
    5
    """
    rng = np.random.default_rng(seed)
    maps = thickness(layers[[*PROFILE_INPUTS, "zone"]], PUBLISHED)
    cells = (
        layers[[*PROFILE_INPUTS, "zone"]].assign(status=maps["solum_status"]).drop_vars("spatial_ref", errors="ignore")
    )
    table = cells.compute().to_dataframe().reset_index().dropna()
    table = table[(table["status"] == 0) & table["zone"].isin(zones)].astype({"zone": int}).drop(columns="status")
    profiles = table.groupby("zone").sample(per_zone, random_state=seed).reset_index(drop=True)
    for name in ("water_erosion", "wind_erosion"):
        profiles[name] *= rng.lognormal(0, 1.2, len(profiles))
    for zone in zones:
        rows = profiles["zone"] == zone
        inputs = {name: profiles.loc[rows, name].to_numpy(dtype=np.float64) for name in PROFILE_INPUTS}
        profiles.loc[rows, "solum_thickness"] = np.asarray(thickness(inputs, PUBLISHED[zone])["solum_thickness"])
    noisy = profiles["solum_thickness"] + rng.normal(0, noise_m, len(profiles))
    profiles["solum_thickness"] = noisy.clip(lower=noise_m)
    profiles.attrs["simulated"] = True
    return profiles


@dataclass(frozen=True)
class Demo:
    """Result of the demo.

    Parameters
    ----------
    folder, store : Path
        Where everything is; the store of the maps.
    zones, elements : DataFrame
        One row a zone (cells, mean_thickness_m); one row an element (scores against the truth, and of the folds).
    figures : tuple of Path
        PNG files.
    page : Path
        One HTML page of the store.
    """

    folder: Path
    store: Path
    zones: pd.DataFrame
    elements: pd.DataFrame
    figures: tuple[Path, ...]
    page: Path


def run_demo(
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: bool = True,
    drawing: PictureProcess | None = None,
) -> Demo:
    """Sample cube -> simulated samples -> recipe -> run -> figures and a page.

    Parameters
    ----------
    folder : path
        Created if it is missing; gets cube.zarr, simulated_samples.csv, demo.toml, maps.zarr, page.html
        and PNG files.
    overwrite : bool
        Replace the demo's own files in a folder that has them; nothing else in it is touched.
    progress : bool
        Show progress on standard error.
    drawing : PictureProcess, optional
        Of this folder, running; default: one is started.

    Returns
    -------
    Demo

    Raises
    ------
    StoreExistsError
        Where a demo already exists and `overwrite` is False.
    AccessError
        Where the folder cannot be written.
    """
    place = Path(folder)
    if (place / "maps.zarr").exists() and not overwrite:
        raise StoreExistsError(f"{place} already contains a demo; give another folder, or --overwrite")
    try:
        place.mkdir(parents=True, exist_ok=True)
        cube = write_sample(place / "cube.zarr", overwrite=True)
        layers = open_cube(cube)
        terrain = terrain_attributes(layers["elevation"])
        truth = true_elements(layers.assign(slope=terrain["slope"]))
        simulated_samples(truth).to_csv(place / "simulated_samples.csv", index=False)
        (place / "demo.toml").write_text(RECIPE, encoding="utf-8")
    except OSError as error:
        if isinstance(error, TpsoilError):
            raise
        raise AccessError(f"{place}: cannot be written ({error.strerror}); choose another folder") from error
    if overwrite:
        shutil.rmtree(place / "maps.zarr", ignore_errors=True)
    with PictureProcess(place) if drawing is None else nullcontext(drawing) as pictures:
        pictures.complete("cube")
        job = job_of(place / "demo.toml")
        without_samples = tuple(stage for stage in job.stages if stage.section in {"derive", "solum"})
        run(replace(job, selected=without_samples), progress=False)  # the notes are those of the complete run
        pictures.complete("solum")
        maps = run(job, progress=progress)
        pictures.complete("elements")
        layers_shown = ["solum_thickness", "zone", *TRUTH, *(f"{element}_sd" for element in TRUTH)]
        text = page_html(maps, where=str(place / "maps.zarr"), layers=[*layers_shown, "response_time", "solum_status"],
                         pictures=pictures.picture)  # fmt: skip
        page = write_text(place / "page.html", text, where="report")
        files = pictures.pictures()
    return Demo(place, place / "maps.zarr", zone_table(maps), element_table(maps, truth), files, page)


def zone_table(maps: xr.Dataset) -> pd.DataFrame:
    """Cells and mean thickness by zone."""
    thickness, zone = compute_together([maps["solum_thickness"], maps["zone"]])
    values = pd.DataFrame({"zone": zone.to_numpy().ravel(), "thickness": thickness.to_numpy().ravel()}).dropna()
    table = values.groupby(values["zone"].astype(int))["thickness"].agg(["size", "mean", "min", "max"])
    table.columns = pd.Index(["cells", "mean_m", "min_m", "max_m"])
    return table.reset_index()


def element_table(maps: xr.Dataset, truth: xr.Dataset) -> pd.DataFrame:
    """Efficiency of each map against the known truth over all soil cells, and out of fold; mean spread."""
    rows = []
    for element in TRUTH:
        known = truth[element].to_numpy().ravel().astype(float)
        mapped, spread = (maps[name].to_numpy().ravel().astype(float) for name in (element, f"{element}_sd"))
        both = np.isfinite(known) & np.isfinite(mapped)
        rows.append(
            {
                "element": element,
                "cells": int(both.sum()),
                "mean": float(mapped[both].mean()),
                "nse_truth": nse(known[both], mapped[both]),
                "sd_trees": float(spread[both].mean()),
                **{name: float(maps[element].attrs[name]) for name in ("nse_random", "nse_group")},
            }
        )
    return pd.DataFrame(rows)
