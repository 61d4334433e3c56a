"""A twin of the micronutrient study: its layers, 526 sites with replicates, XRF and ICP-MS readings, and the truth.

    python tests/huo2026_twin.py FOLDER --resolution 1000

writes rasters, `samples.csv`, `origins.csv` (what is real and what is simulated), `truth_NAME.tif` (content without
local variation and error) and `truth.csv` (drivers, their shares of the variance, and the noise ceiling). Distributions
are those that the study published; the drivers are those that it names: weathering first for Fe, Zn and V, slope for
Mn. Nothing here is an observation but the layers that `origins.csv` calls real.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox
from scipy import ndimage
from twin_fields import (
    Doubles,
    Mask,
    Origin,
    class_field,
    conditioned,
    correlated_field,
    resampled,
    standardised,
    with_distribution,
    write_origins,
    write_raster,
)

from tpsoil.grid import coordinates, plateau_grid
from tpsoil.points import project_points
from tpsoil.sample import open_sample

BIOMES: Final = {1: "forest", 2: "shrub", 3: "meadow", 4: "steppe", 5: "desert", 6: "cropland"}
SITES: Final = {"steppe": 180, "meadow": 154, "forest": 87, "shrub": 64, "desert": 29, "cropland": 12}
SAMPLES: Final = {"steppe": 569, "meadow": 499, "forest": 265, "shrub": 190, "desert": 101, "cropland": 36}
"""Sites and samples by biome, Table 1 of the preprint."""
LITHOLOGY: Final = {
    1: "acidic igneous rock", 2: "acidic metamorphic rock", 3: "clastic sedimentary rock", 4: "carbonate rock",
    5: "eolian facies rock", 6: "fluvial facies rock",
}  # fmt: skip
MEASURED: Final = {"Fe": 1660, "Mn": 1646, "Zn": 1660, "V": 867}
OUTLIERS: Final = {"Fe": 6, "Mn": 16, "Zn": 6, "V": 10}
NAMES: Final = {"Fe": "iron", "Mn": "manganese", "Zn": "zinc", "V": "vanadium"}
MEAN_CV: Final = {"Fe": (22864.30, 0.33), "Mn": (576.74, 0.36), "Zn": (27.24, 0.31), "V": (56.99, 0.34)}
NUGGET: Final = 0.25
"""Share of the variance of site means that no covariate explains; replicates add half as much again."""
WEIGHTS: Final[dict[str, dict[str, float]]] = {
    "Fe": {"chemical_index_of_alteration": 1.0, "slope": 0.40, "sand": -0.25, "aridity_index": 0.15},
    "Mn": {"slope": 1.0, "chemical_index_of_alteration": 0.4, "aridity_index": 0.25, "sand": -0.15},
    "Zn": {"chemical_index_of_alteration": 1.0, "sand": -0.40, "slope": 0.20, "aridity_index": 0.15},
    "V": {"chemical_index_of_alteration": 1.0, "slope": 0.35, "aridity_index": 0.25, "sand": -0.15},
}
XRF_LINES: Final = {
    "Fe": (400.0, 1.02, 0.08),
    "Mn": (20.0, 0.95, 0.10),
    "Zn": (3.0, 1.25, 0.14),
    "V": (4.0, 1.04, 0.12),
}
"""Intercept and slope of ICP-MS on XRF, and relative scatter of the ICP-MS aliquot."""
ICP_SUBSET: Final = 218


@dataclass(frozen=True)
class Twin:
    """Paths and the truth of a twin."""

    folder: Path
    samples: Path
    truth: pd.DataFrame


def twin_grid(resolution: float) -> GeoBox:
    """The grid of the sample at another cell size."""
    return plateau_grid(resolution)


def make_twin(folder: Path, *, resolution: float = 16_000, seed: int = 2026) -> Twin:
    """Write the whole twin.

    Parameters
    ----------
    folder : Path
    resolution : float, m
        1000 for the study's, 16 000 for tests.
    seed : int
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    grid = twin_grid(resolution)
    sample = open_sample()
    soil = resampled(sample["soil_mask"], grid, classes=True) == 1
    layers, origins = _layers(grid, sample, soil, rng, resolution)
    alteration = _alteration(layers, soil, rng, resolution, grid)
    signals = {symbol: signal(symbol, layers, alteration, soil) for symbol in WEIGHTS}
    table, truth = _samples(layers, alteration, signals, soil, grid, rng)
    for name, values in layers.items():
        classes = name in {"biome", "lithology", "soil_mask"}
        array = values.astype("uint8") if classes else np.where(soil, values, np.nan)
        write_raster(folder / f"{name}.tif", array, grid, nodata=None if classes else -9999.0)
    for symbol, name in NAMES.items():
        write_raster(folder / f"truth_{name}.tif", np.where(soil, content(symbol, signals[symbol]), np.nan), grid,
                     nodata=-9999.0)  # fmt: skip
    write_raster(folder / "truth_alteration.tif", np.where(soil, alteration, np.nan), grid, nodata=-9999.0)
    write_origins(folder / "origins.csv", origins)
    table.to_csv(folder / "samples.csv", index=False)
    truth.to_csv(folder / "truth.csv", index=False)
    return Twin(folder, folder / "samples.csv", truth)


def content(symbol: str, score: Doubles) -> Doubles:
    """Content in mg/kg of a standard score of its logarithm."""
    mean, cv = MEAN_CV[symbol]
    sd = np.sqrt(np.log1p(cv**2))
    return np.asarray(np.exp(np.log(mean) - sd**2 / 2 + sd * score))


def response(name: str, values: Doubles) -> Doubles:
    """Form of the effect of a driver: weathering above 0.5, slope up to 10 degrees, aridity with a minimum between."""
    if name == "chemical_index_of_alteration":
        return np.asarray(np.maximum(values, 0.5) - 0.5 + 0.2 * (values - 0.5))
    if name == "slope":
        return np.asarray(np.minimum(values, 10.0) + 0.1 * np.minimum(values, 30.0))
    if name == "aridity_index":
        return np.asarray(np.abs(np.minimum(values, 1.2) - 0.45))
    return values


def signal(symbol: str, layers: Mapping[str, Doubles], alteration: Doubles, soil: Mask) -> Doubles:
    """Standard score of the logarithm of the content that the drivers explain; its variance is 1 - NUGGET."""
    everything = {**layers, "chemical_index_of_alteration": alteration}
    total = np.zeros(soil.shape)
    for name, weight in WEIGHTS[symbol].items():
        total += weight * standardised(response(name, everything[name]), soil)
    rock = np.array([0.0, *(-0.25, 0.25, -0.1, 0.05, 0.1, -0.05)])[layers["lithology"].astype(int)]
    return standardised(total + rock, soil) * np.sqrt(1 - NUGGET)


def _layers(
    grid: GeoBox, sample: Any, soil: Mask, rng: np.random.Generator, resolution: float
) -> tuple[dict[str, Doubles], list[Origin]]:
    def field(range_km: float, smoothness: float = 0.5) -> Doubles:
        return correlated_field(grid.shape, max(range_km * 1000 / resolution, 0.7), rng, smoothness=smoothness)

    layers: dict[str, Doubles] = {}
    origins: list[Origin] = []

    def add(name: str, values: Doubles, origin: str, how: str, units: str) -> None:
        layers[name] = np.asarray(values, dtype=np.float64)
        origins.append(Origin(f"{name}.tif", name, origin, how, units))  # type: ignore[arg-type]

    real = {"elevation": "m", "mean_annual_temperature": "degC", "annual_precipitation": "mm", "ndvi": "1"}
    for name, units in real.items():
        add(name, resampled(sample[name], grid), "real", str(sample[name].attrs.get("source", "sample")), units)
    relief = ndimage.generic_gradient_magnitude(layers["elevation"], ndimage.sobel)
    steep = conditioned([(np.log1p(relief), 0.8)], field(30), soil)
    slope = with_distribution(steep, [0, 0.25, 0.5, 0.75, 0.95, 1], [0, 2.5, 6, 13, 27, 50], soil)
    add("slope", slope, "simulated", "relief of the real elevation at 8 km with detail of 30 km", "degree")
    turn = (np.degrees(np.arctan2(field(25), field(25))) + 360) % 360
    add("aspect", turn, "simulated", "a circular field of 25 km; no element depends on it", "degree")
    warm = layers["mean_annual_temperature"]
    demand = np.maximum(250.0, 620 + 38 * warm)
    add("aridity_index", np.clip(layers["annual_precipitation"] / demand, 0.01, 3), "simulated",
        "real precipitation over 620 mm + 38 mm per degree of real temperature", "1")  # fmt: skip
    npp = conditioned([(layers["ndvi"], 1.2), (warm, 0.3)], field(60), soil)
    add("net_primary_production", with_distribution(npp, [0, 0.5, 0.9, 1], [5, 150, 500, 1100], soil), "simulated",
        "follows real NDVI and temperature", "g m-2 a-1")  # fmt: skip
    sand = conditioned([(layers["aridity_index"], -0.5)], field(120), soil)
    add("sand", with_distribution(sand, [0, 0.25, 0.5, 0.75, 1], [8, 38, 52, 66, 95], soil), "simulated",
        "drier land is coarser; patches of 120 km", "%")  # fmt: skip
    clay = conditioned([(-layers["sand"], 1.0)], field(80), soil)
    add("clay", with_distribution(clay, [0, 0.5, 1], [2, 12, 42], soil), "simulated", "falls with sand", "%")
    carbon = conditioned([(layers["ndvi"], 0.9), (-warm, 0.3)], field(70), soil)
    add("soil_organic_carbon", with_distribution(carbon, [0, 0.5, 0.9, 1], [0.2, 2, 7, 20], soil), "simulated",
        "follows real NDVI and cold", "%")  # fmt: skip
    ph = conditioned([(-layers["aridity_index"], 0.9)], field(90), soil)
    add("soil_ph", with_distribution(ph, [0, 0.5, 1], [5, 7.6, 9.2], soil), "simulated", "rises with aridity", "1")
    grazing = conditioned([(layers["ndvi"], 0.5)], field(100), soil)
    add("grazing_intensity", with_distribution(grazing, [0, 0.5, 1], [0, 0.5, 4], soil), "simulated",
        "follows real NDVI; no element depends on it", "1")  # fmt: skip
    rocks = {code: field(110) + offset for code, offset in zip(LITHOLOGY, (0, -0.5, 0.5, -0.2, -0.4, 0.2), strict=True)}
    add("lithology", class_field(rocks), "simulated", "the highest of six fields of 110 km", "1")
    wet, green = standardised(layers["annual_precipitation"], soil), standardised(layers["ndvi"], soil)
    mild = standardised(warm, soil)
    biomes = {
        1: 0.9 * wet + 0.6 * green + 0.8 * mild - 0.9, 2: 0.6 * wet + 0.5 * green + 0.3 * mild - 0.5,
        3: 0.4 * wet + 0.7 * green - 0.4 * mild, 4: -0.2 * wet - 0.2 * green + 0.35,
        5: -0.9 * green - 0.5 * wet - 0.6, 6: 1.1 * mild + 0.2 * green - 1.6,
    }  # fmt: skip
    patchy = {code: score + 0.5 * field(40) for code, score in biomes.items()}
    add("biome", class_field(patchy), "simulated", "classes of real NDVI, temperature and precipitation", "1")
    rocky = dict(zip(LITHOLOGY, (-0.5, 0.4, 0.1, -0.6, 0.5, 0.0), strict=True))
    of_rock = np.array([0.0, *rocky.values()])[layers["lithology"].astype(int)]
    hidden = conditioned([(layers["annual_precipitation"], 0.6), (of_rock, 0.7)], field(150, 1.0), soil)
    layers["weathering"] = hidden
    ratio = conditioned([(hidden, 5.0)], field(40), soil)
    add("clay_mineral_index", with_distribution(ratio, [0, 0.5, 1], [0.9, 1.15, 1.6], soil), "simulated",
        "a band ratio that follows the weathering of the truth", "1")  # fmt: skip
    add("soil_mask", soil.astype(float), "real", str(sample["soil_mask"].attrs.get("source", "sample")), "1")
    return layers, origins


def _alteration(
    layers: dict[str, Doubles], soil: Mask, rng: np.random.Generator, resolution: float, grid: GeoBox
) -> Doubles:
    """The true index: 0.42 to 0.80, with its median a little above 0.5."""
    local = correlated_field(grid.shape, max(60_000 / resolution, 0.7), rng)
    score = conditioned([(layers.pop("weathering"), 5.0)], local, soil)
    return with_distribution(score, [0, 0.25, 0.5, 0.75, 0.97, 1], [0.42, 0.50, 0.545, 0.60, 0.70, 0.80], soil)


def _samples(
    layers: Mapping[str, Doubles], alteration: Doubles, signals: Mapping[str, Doubles], soil: Mask, grid: GeoBox,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    rows, columns, biome = _sites(layers, soil, rng)
    replicates = _replicates(biome, rng)
    site = np.repeat(np.arange(len(rows)), replicates)
    axes = coordinates(grid)
    x, y = np.asarray(axes["x"])[columns], np.asarray(axes["y"])[rows]
    lon, lat = _degrees(x, y, grid)
    part = np.concatenate([np.arange(1, n + 1) for n in replicates])
    table = pd.DataFrame({
        "site": [f"S{k + 1:03d}" for k in site], "replicate": part, "longitude": lon[site], "latitude": lat[site],
        "biome": np.array([BIOMES[int(code)] for code in biome])[site],
        "lithology_name": np.array([LITHOLOGY[int(c)] for c in layers["lithology"][rows, columns]])[site],
    })  # fmt: skip
    for name in ("elevation", "slope", "aridity_index", "mean_annual_temperature", "annual_precipitation"):
        table[f"{name}_site"] = np.round(layers[name][rows, columns][site], 3)
    subset = np.zeros(len(table), dtype=bool)
    subset[rng.choice(len(table), ICP_SUBSET, replace=False)] = True
    truth = []
    for symbol in WEIGHTS:
        explained = signals[symbol][rows, columns]
        # Screening in lognormal units: half of the unexplained variance of a sample lies within the site.
        local = np.sqrt(NUGGET) * rng.standard_normal(len(rows))
        within = np.sqrt(NUGGET / 2) * rng.standard_normal(len(table))
        true = content(symbol, (explained + local)[site] + within)
        intercept, slope, scatter = XRF_LINES[symbol]
        xrf = (true - intercept) / slope * rng.normal(1, 0.03, len(table))
        icp = true * rng.normal(1, scatter, len(table))
        xrf = np.maximum(xrf, 0.02 * MEAN_CV[symbol][0])
        gross = rng.choice(len(table), OUTLIERS[symbol], replace=False)
        xrf[gross] *= rng.uniform(3.2, 4.5, len(gross))
        subset_here = subset.copy()
        subset_here[gross] = False
        missing = rng.permutation(len(table))[MEASURED[symbol] :]
        xrf[missing] = np.nan
        table[symbol] = np.round(xrf, 2)
        table[f"{symbol}_icp"] = np.where(subset_here & np.isfinite(xrf), np.round(icp, 2), np.nan)
        table[f"{symbol}_true"] = np.round(true, 3)
        table[f"{symbol}_signal"] = np.round(content(symbol, explained)[site], 3)
        truth += _truth_rows(symbol, explained, local, layers, alteration, (rows, columns))
    _majors(table, alteration[rows, columns][site], layers["aridity_index"][rows, columns][site], rng)
    return table, pd.DataFrame(truth)


def _sites(layers: Mapping[str, Doubles], soil: Mask, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    biome = layers["biome"].astype(int)
    cells = []
    for code, name in BIOMES.items():
        inside = np.flatnonzero((soil & (biome == code) & (layers["elevation"] < 5600)).ravel())
        if len(inside) < SITES[name]:
            raise ValueError(f"huo2026 twin: {len(inside)} cells of {name} for {SITES[name]} sites; use finer cells")
        cells.append(rng.choice(inside, SITES[name], replace=False))
    flat = rng.permutation(np.concatenate(cells))
    rows, columns = np.unravel_index(flat, soil.shape)
    return rows, columns, biome.ravel()[flat]


def _replicates(biome: Any, rng: np.random.Generator) -> Any:
    """Three samples a site; a fourth or a missing third where Table 1 has other totals."""
    counts = np.full(len(biome), 3)
    for code, name in BIOMES.items():
        places = np.flatnonzero(biome == code)
        change = SAMPLES[name] - 3 * len(places)
        step = int(np.sign(change))
        for place in rng.permutation(np.resize(places, abs(change))):
            counts[place] += step
    return counts


def _degrees(x: Doubles, y: Doubles, grid: GeoBox) -> tuple[Doubles, Doubles]:
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    back = project_points(lon, lat, grid)
    if not np.allclose(back[0], x, atol=1.0):
        raise ValueError("huo2026 twin: positions do not return to their cells")
    return np.round(lon, 6), np.round(lat, 6)


def _truth_rows(
    symbol: str, explained: Doubles, local: Doubles, layers: Mapping[str, Doubles], alteration: Doubles, at: Any
) -> list[dict[str, Any]]:
    everything = {**layers, "chemical_index_of_alteration": alteration}
    ceiling = float(explained.var() / (explained + local).var())
    rows = []
    order = sorted(WEIGHTS[symbol], key=lambda name: -abs(WEIGHTS[symbol][name]))
    for rank, name in enumerate(order, start=1):
        effect = response(name, everything[name][at])
        r = float(np.corrcoef(effect, explained)[0, 1])
        rows.append({"element": symbol, "driver": name, "rank": rank, "weight": WEIGHTS[symbol][name],
                     "r_signal": round(r, 3), "ceiling_site_means": round(ceiling, 3)})  # fmt: skip
    return rows


def _majors(table: pd.DataFrame, index: Doubles, aridity: Doubles, rng: np.random.Generator) -> None:
    """Al, Ca, Na, K and P (mg/kg) and CaCO3 (%) whose silicate part has the true index, read with 3 % error."""
    n = len(table)
    alumina = 65_000 * rng.lognormal(0, 0.12, n) / 26.98154 / 2  # mmol/kg of Al2O3
    bases = alumina * (1 - index) / index
    sodium, calcium, potassium = 0.38 * bases, 0.33 * bases, 0.29 * bases
    phosphorus = 600 * rng.lognormal(0, 0.2, n)
    carbonate = np.clip(9 * np.exp(-1.5 * aridity) * rng.lognormal(0, 0.5, n), 0, 35)
    apatite = 10 / 3 * phosphorus / 30.97376 / 2
    contents = {
        "Al": 2 * alumina * 26.98154, "Na": 2 * sodium * 22.98977, "K": 2 * potassium * 39.0983, "P": phosphorus,
        "Ca": (calcium + apatite) * 40.078 + carbonate * 1e4 * 40.078 / 100.086,
    }  # fmt: skip
    for name, values in contents.items():
        table[name] = np.round(values * rng.normal(1, 0.015, n), 1)
    table["CaCO3"] = np.round(carbonate, 2)


def main() -> None:
    """Write a twin by command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resolution", type=float, default=1000.0, help="m")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    twin = make_twin(given.folder, resolution=given.resolution, seed=given.seed)
    print(twin.truth.to_string(index=False))


if __name__ == "__main__":
    main()
