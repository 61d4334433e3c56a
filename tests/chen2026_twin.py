"""A twin of the solum study: raw files of every covariate, 552 profiles and other thickness maps, from a known truth.

    python tests/chen2026_twin.py FOLDER [--resolution 1000] [--noise 0.34] [--seed 2026]

Elevation, temperature, precipitation, NDVI, land use, glaciers, lakes and boundary are the real layers of
`tpsoil.sample`, resampled and, finer than 8 km, refined with simulated detail. Parent material, erosion by water and
wind, depth to bedrock, the two other thickness maps and the basins are simulated. `origins.csv` in the folder lists
each file. The truth is `tpsoil.solum.thickness` with the study's Table 4 in the zones nearest to its Table 3; it is
written to `truth.zarr` with its zones and parameters. Profiles are drawn as many a zone as the study has, with noise.

`tests/recipes/chen2026_twin.toml` runs the complete study on the folder.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio.features
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer
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

from tpsoil import solum
from tpsoil.covariates import terrain_attributes
from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.grid import coordinates, grid_of, plateau_grid
from tpsoil.sample import RESOLUTION_M, open_sample
from tpsoil.solum import PUBLISHED, PUBLISHED_ZONES

PROFILES = 552
SAMPLE = "tpsoil.sample, 8 km"
LAPSE_K_M = 0.0065
WETTEST_MM = 1500.0
"""Rain of the sample above it is limited: the study's own layer ends near 1500 mm, and EEMT grows exponentially."""
PARENT_MATERIALS = {
    1: "residual", 2: "slope deposit", 3: "alluvial", 4: "lacustrine", 5: "aeolian", 6: "glacial", 7: "fluvioglacial",
    8: "loess",
}  # fmt: skip
BASINS = {
    "Yellow River": (99.5, 35.0), "Yangtze": (95.5, 33.0), "Mekong": (96.5, 30.8), "Salween": (94.5, 31.5),
    "Yarlung Zangbo": (89.5, 29.4), "Qaidam": (94.5, 37.3), "Inner plateau": (87.0, 33.0), "Tarim rim": (82.0, 36.5),
    "Indus": (79.5, 32.5), "Hexi": (98.5, 38.8), "Ganges": (83.0, 29.0),
}  # fmt: skip
"""Names of basins of the plateau and a place within each; the outlines are simulated."""


@dataclass(frozen=True)
class Twin:
    """What a twin is made of.

    Parameters
    ----------
    folder : Path
    grid : GeoBox
    seed : int
    noise_m : float
        Standard deviation of a profile's thickness around the truth, m; the study's RMSE is 0.34.
    """

    folder: Path
    grid: GeoBox
    seed: int
    noise_m: float

    @property
    def store(self) -> Path:
        """The cube of the truth."""
        return self.folder / "truth.zarr"

    def field(self, range_km: float, number: int, smoothness: float = 0.5) -> Doubles:
        """A correlated field of its own random numbers."""
        cells = range_km * 1000.0 / abs(self.grid.transform.a)
        rng = np.random.default_rng([self.seed, number])
        shape = (int(self.grid.shape[0]), int(self.grid.shape[1]))
        return correlated_field(shape, max(cells, 0.5), rng, smoothness=smoothness)

    def layer(self, name: str, values: npt.ArrayLike, units: str = "1") -> xr.DataArray:
        """A layer of the twin's grid."""
        array = np.asarray(values)
        array = array.astype("float32") if array.dtype.kind == "f" else array
        return xr.DataArray(array, coords=coordinates(self.grid), dims=("y", "x"), name=name, attrs={"units": units})


def write_twin(folder: Path, *, resolution_m: float = 1000.0, noise_m: float = 0.34, seed: int = 2026) -> pd.DataFrame:
    """Write all raw files of the twin.

    Parameters
    ----------
    folder : Path
    resolution_m : float
        Cell size of the rasters: 1000 is the study's (2.8 million soil cells), 16000 is small.
    noise_m : float
    seed : int

    Returns
    -------
    DataFrame
        The table of origins, also in `origins.csv`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    twin = Twin(folder, plateau_grid(resolution_m), seed, noise_m)
    sample = open_sample().load()
    soil = _outlines(twin, sample)
    layers = _covariates(twin, sample, soil)
    layers["soil_mask"] = twin.layer("soil_mask", soil.astype("uint8"))
    layers["zone"] = solum.published_zones(layers)
    truth = solum.thickness(layers, PUBLISHED)
    _write_truth(twin, layers, truth)
    _other_maps(twin, layers, truth, soil)
    _profiles(twin, layers, truth)
    _basins(twin, soil)
    return write_origins(folder / "origins.csv", _origins(resolution_m))


def _outlines(twin: Twin, sample: xr.Dataset) -> Mask:
    """Boundary, glaciers and lakes as polygons of the sample's soil mask; returns the soil cells of the twin's grid."""
    grid = grid_of(sample["elevation"])
    soil = sample["soil_mask"].values == 1
    inside = ndimage.binary_fill_holes(soil)
    hole = inside & ~soil
    labels, count = ndimage.label(hole)
    height = np.nan_to_num(sample["elevation"].values)
    mean_height = ndimage.mean(height, labels, range(count + 1))
    ruggedness = ndimage.generic_filter(height, np.ptp, 3)
    mean_ruggedness = ndimage.mean(ruggedness, labels, range(count + 1))
    glacier = hole & ((mean_height > 5000) & (mean_ruggedness > 250))[labels]
    for name, cells in {"boundary": inside, "glaciers": glacier, "lakes": hole & ~glacier}.items():
        shapes = rasterio.features.shapes(cells.astype("uint8"), mask=cells, transform=grid.transform)
        polygons = [shapely.geometry.shape(shape) for shape, _ in shapes]
        frame = geopandas.GeoDataFrame({"kind": [name] * len(polygons)}, geometry=polygons, crs=grid.crs.to_wkt())
        frame.to_crs("EPSG:4326").to_file(twin.folder / f"{name}.geojson", driver="GeoJSON")
    create_cube(twin.store, twin.grid, chunks=512 if min(twin.grid.shape) > 512 else 64, overwrite=True)
    outside = [twin.folder / "glaciers.geojson", twin.folder / "lakes.geojson"]
    add_layer(twin.store, "soil_mask", twin.folder / "boundary.geojson", outside=outside)
    return np.asarray(open_cube(twin.store)["soil_mask"].values == 1)


def _covariates(twin: Twin, sample: xr.Dataset, soil: Mask) -> xr.Dataset:
    """The raw rasters of Table 1 and of the forcing; returns the layers that the truth is computed from."""
    fine = abs(twin.grid.transform.a) < RESOLUTION_M
    ground = resampled(sample["elevation"], twin.grid)
    if fine:
        ground = np.maximum(ground + _detail(twin, sample), 0.2 * ground)  # no valley below the sea
    elevation = twin.layer("elevation", ground, "m")
    coarse = resampled(sample["elevation"], twin.grid)
    warmth = resampled(sample["mean_annual_temperature"], twin.grid) - LAPSE_K_M * (ground - coarse)
    rain = resampled(sample["annual_precipitation"].clip(0, WETTEST_MM), twin.grid)
    green = resampled(sample["ndvi"], twin.grid)
    if fine:
        rain *= np.exp(0.05 * twin.field(30, 2))
        green += 0.04 * twin.field(4, 3)
    rain, green = np.clip(rain, 5, WETTEST_MM), np.clip(green, 0.02, 0.95)
    terrain = terrain_attributes(elevation)
    slope, bend = terrain["slope"].values, terrain["general_curvature"].values
    steep = np.sin(np.radians(np.nan_to_num(slope))) + 0.01
    water = rain * steep**1.2 * np.exp(-2.5 * green) * np.exp(0.6 * twin.field(15, 4))
    wind = np.exp(-rain / 250 - 2.5 * green) * np.exp(0.7 * twin.field(60, 5)) / (0.05 + steep) ** 0.3
    water *= 2.76 / water[soil].mean()
    wind *= 10.0 / wind[soil].mean()
    bedrock = with_distribution(
        conditioned([(slope, -1.5), (ground, -0.5)], twin.field(25, 6), soil),
        [0, 0.05, 0.5, 0.95, 1], [0.3, 1.5, 8.0, 60.0, 250.0], soil,
    )  # fmt: skip
    material = _parent_material(twin, ground, np.nan_to_num(slope), rain, soil)
    cover = resampled(sample["land_cover"].where(sample["land_cover"] != 255), twin.grid, classes=True).astype("uint8")
    layers = {
        "elevation": elevation,
        "mean_annual_temperature": twin.layer("mean_annual_temperature", warmth, "degC"),
        "annual_precipitation": twin.layer("annual_precipitation", rain, "mm"),
        "ndvi": twin.layer("ndvi", green),
        "water_erosion": twin.layer("water_erosion", water, "t ha-1 a-1"),
        "wind_erosion": twin.layer("wind_erosion", wind, "t ha-1 a-1"),
        "depth_to_bedrock": twin.layer("depth_to_bedrock", bedrock, "m"),
        "general_curvature": twin.layer("general_curvature", bend, "m-1"),
    }
    for file, name in {
        "dem": "elevation", "temperature": "mean_annual_temperature", "precipitation": "annual_precipitation",
        "ndvi": "ndvi", "water_erosion": "water_erosion", "wind_erosion": "wind_erosion",
    }.items():  # fmt: skip
        write_raster(twin.folder / f"{file}.tif", layers[name].values, twin.grid)
    write_raster(twin.folder / "depth_to_bedrock_cm.tif", 100 * bedrock, twin.grid)
    write_raster(twin.folder / "land_use.tif", cover, twin.grid, nodata=255)
    write_raster(twin.folder / "parent_material.tif", material, twin.grid, nodata=-32768)
    return xr.Dataset(layers)


def _detail(twin: Twin, sample: xr.Dataset) -> Doubles:
    """Simulated relief below the sample's cells, m: as rough as the relief between them."""
    height = sample["elevation"]
    filled = height.fillna(float(height.mean()))
    local = ndimage.generic_filter(filled.values, np.std, 3)
    amplitude = resampled(height.copy(data=np.clip(0.45 * local, 5, 350)), twin.grid)
    return np.asarray(amplitude * twin.field(5, 1, smoothness=1.0))


def _parent_material(twin: Twin, height: Doubles, slope: Doubles, rain: Doubles, soil: Mask) -> npt.NDArray[np.integer]:
    high, steep, wet = (standardised(values, soil) for values in (height, slope, rain))
    means = {1: 0.8 * steep, 2: 0.5 * steep + 0.3, 3: -0.7 * steep, 4: -1.0 * steep - 0.4 * wet, 5: -0.9 * wet - 0.4,
             6: 0.9 * high + 0.3 * steep - 0.4, 7: 0.4 * high - 0.2, 8: -1.2 * high - 0.3 * wet - 0.6}  # fmt: skip
    return class_field({code: mean + 0.7 * twin.field(40, 20 + code) for code, mean in means.items()}, "int16")


def _write_truth(twin: Twin, layers: xr.Dataset, truth: xr.Dataset) -> None:
    for layer in (truth["solum_thickness"], truth["solum_status"], layers["zone"]):
        add_layer(twin.store, str(layer.name), layer, nodata=255 if layer.dtype.kind == "u" else None)
    known = {str(zone): asdict(parameters) for zone, parameters in PUBLISHED.items()}
    (twin.folder / "truth.json").write_text(json.dumps({"noise_m": twin.noise_m, "parameters": known}, indent=1))


def _other_maps(twin: Twin, layers: xr.Dataset, truth: xr.Dataset, soil: Mask) -> None:
    """Two other thickness maps, cm: one of soil polygons with gaps, one smooth with fragments; means as published."""
    thick = np.nan_to_num(truth["solum_thickness"].values, nan=float(truth["solum_thickness"].mean()))
    units = class_field({code: twin.field(35, 40 + code) for code in range(12)})
    typical = np.array([thick[soil & (units == code)].mean() if (soil & (units == code)).any() else 0.0
                        for code in range(12)])  # fmt: skip
    polygons = with_distribution(
        conditioned([(typical[units], 1.5), (thick, 0.7)], twin.field(20, 60), soil),
        [0, 0.05, 0.5, 0.95, 1], [0.12, 0.25, 0.62, 1.15, 1.60], soil,
    )  # fmt: skip
    bare = (layers["ndvi"].values < 0.06) & (twin.field(10, 61) > 0.6)
    polygons[~soil | bare] = np.nan
    learned = with_distribution(
        conditioned([(thick, 1.0), (layers["elevation"].values, -0.6)], twin.field(12, 62), soil),
        [0, 0.05, 0.5, 0.95, 1], [0.0, 0.25, 0.64, 1.15, 2.35], soil,
    )  # fmt: skip
    learned[~soil] = np.nan
    write_raster(twin.folder / "shangguan_thickness_cm.tif", 100 * polygons, twin.grid, nodata=-9999)
    write_raster(twin.folder / "liu_thickness_cm.tif", 100 * learned, twin.grid, nodata=-9999)


def _profiles(twin: Twin, layers: xr.Dataset, truth: xr.Dataset) -> None:
    """As many profiles a zone as the study lists, the 30 that its table lacks in proportion; on gentle, low ground."""
    rng = np.random.default_rng([twin.seed, 100])
    zone, thick = layers["zone"].values, truth["solum_thickness"].values
    steady = (truth["solum_status"].values == 0) & np.isfinite(thick)
    slope = terrain_attributes(layers["elevation"])["slope"].values
    listed = np.array([means.profiles for means in PUBLISHED_ZONES.values()], dtype=float)
    wanted = np.floor(listed * PROFILES / listed.sum()).astype(int)
    wanted[np.argsort(-listed)[: PROFILES - wanted.sum()]] += 1
    rows, columns = [], []
    for code, count in zip(PUBLISHED_ZONES, wanted, strict=True):
        y, x = np.nonzero((zone == code) & steady)
        weight = np.exp(-np.nan_to_num(slope[y, x], nan=90.0) / 6 + 1.0 * twin_access(twin)[y, x])
        chosen = rng.choice(y.size, size=min(int(count), y.size), replace=False, p=weight / weight.sum())
        rows.append(y[chosen])
        columns.append(x[chosen])
    y, x = np.concatenate(rows), np.concatenate(columns)
    cell = abs(twin.grid.transform.a)
    east = twin.grid.transform.c + (x + 0.5) * cell + rng.uniform(-0.4, 0.4, x.size) * cell
    north = twin.grid.transform.f - (y + 0.5) * cell + rng.uniform(-0.4, 0.4, x.size) * cell
    lon, lat = Transformer.from_crs(twin.grid.crs.to_wkt(), "EPSG:4326", always_xy=True).transform(east, north)
    true = thick[y, x].astype(float)
    observed = noisy(true, twin.noise_m, rng)
    table = pd.DataFrame({"profile": np.arange(1, x.size + 1), "lon": lon.round(6), "lat": lat.round(6),
                          "thickness": (100 * observed).round(1)})  # fmt: skip
    table.to_csv(twin.folder / "profiles.csv", index=False)
    table.assign(truth_m=true.round(4), zone=zone[y, x]).to_csv(twin.folder / "profiles_truth.csv", index=False)


def noisy(true: Doubles, noise_m: float, rng: np.random.Generator) -> Doubles:
    """Positive thickness with the truth as mean and `noise_m` as standard deviation: a gamma distribution."""
    return np.asarray(rng.gamma((true / noise_m) ** 2, noise_m**2 / true))


def twin_access(twin: Twin) -> Doubles:
    """Log odds of a visit: sites cluster along a few corridors."""
    return twin.field(80, 101, smoothness=1.5)


def _basins(twin: Twin, soil: Mask) -> None:
    to_plane = Transformer.from_crs("EPSG:4326", twin.grid.crs.to_wkt(), always_xy=True)
    coarse = plateau_grid(8000)
    shape = (int(coarse.shape[0]), int(coarse.shape[1]))
    east, north = np.meshgrid(*(coordinates(coarse)[name].values for name in ("x", "y")))
    warp = [60e3 * correlated_field(shape, 15, np.random.default_rng([twin.seed, 110 + k])) for k in (0, 1)]
    places = [to_plane.transform(*place) for place in BASINS.values()]
    distance = [np.hypot(east + warp[0] - x, north + warp[1] - y) for x, y in places]
    basin = np.argmin(distance, axis=0).astype("uint8")
    names, shapes = list(BASINS), []
    for shape_, code in rasterio.features.shapes(basin, transform=coarse.transform):
        shapes.append((names[int(code)], shapely.geometry.shape(shape_)))
    frame = geopandas.GeoDataFrame(
        {"basin": [n for n, _ in shapes]}, geometry=[s for _, s in shapes], crs=coarse.crs.to_wkt()
    )
    frame.dissolve("basin").reset_index().to_crs("EPSG:4326").to_file(twin.folder / "basins.geojson", driver="GeoJSON")


def _origins(resolution_m: float) -> list[Origin]:
    refined = "real, refined" if resolution_m < RESOLUTION_M else "real"
    derived = "tpsoil, from dem.tif by the recipe"
    return [
        Origin("dem.tif", "elevation", refined, f"{SAMPLE}; Matern relief below 8 km", "m"),
        *(Origin("dem.tif", name, refined, derived, unit) for name, unit in {
            "slope": "degree", "aspect": "degree", "slope_length": "m", "slope_position": "1",
            "general_curvature": "m-1", "plan_curvature": "m-1", "profile_curvature": "m-1",
            "terrain_ruggedness": "m", "topographic_wetness": "1", "sediment_transport": "1",
        }.items()),
        Origin("temperature.tif", "mean_annual_temperature", refined, f"{SAMPLE}; 6.5 K/km to dem.tif", "degC"),
        Origin("precipitation.tif", "annual_precipitation", refined, f"{SAMPLE}; at most {WETTEST_MM:g} mm", "mm"),
        Origin("ndvi.tif", "ndvi", refined, f"{SAMPLE}; correlated detail", "1"),
        Origin("land_use.tif", "land_cover", "real", f"{SAMPLE}; nearest cell", "1"),
        Origin("parent_material.tif", "parent_material", "simulated", "classes on height, slope and rain", "1"),
        Origin("water_erosion.tif", "water_erosion", "simulated",
               "rain x slope^1.2 x exp(-2.5 NDVI) x lognormal field, mean 2.76", "t ha-1 a-1"),
        Origin("wind_erosion.tif", "wind_erosion", "simulated",
               "exp(-rain/250 - 2.5 NDVI) x lognormal field, mean 10", "t ha-1 a-1"),
        Origin("depth_to_bedrock_cm.tif", "depth_to_bedrock", "simulated", "ranked on slope and height", "cm"),
        Origin("shangguan_thickness_cm.tif", "shangguan_thickness", "simulated", "patches; published range", "cm"),
        Origin("liu_thickness_cm.tif", "liu_thickness", "simulated", "smooth; published range", "cm"),
        Origin("profiles.csv", "profiles", "simulated", "truth + gamma noise at drawn cells", "cm"),
        Origin("boundary.geojson", "soil_mask", "real", SAMPLE, "1"),
        Origin("glaciers.geojson", "soil_mask", "real", f"{SAMPLE}; gaps on high, rugged ground", "1"),
        Origin("lakes.geojson", "soil_mask", "real", f"{SAMPLE}; the other gaps", "1"),
        Origin("basins.geojson", "basins", "simulated", "nearest of eleven places, warped", "1"),
        Origin("truth.zarr", "solum_thickness", "simulated", "tpsoil.solum.thickness, Tables 3 and 4", "m"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resolution", type=float, default=1000.0, help="cell size, m; 16000 is small")
    parser.add_argument("--noise", type=float, default=0.34, help="standard deviation of the profiles, m")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    table = write_twin(options.folder, resolution_m=options.resolution, noise_m=options.noise, seed=options.seed)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
