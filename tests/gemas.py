"""GEMAS with the covariates of its sites, read straight from the rasters: an oracle for sampling, and real rows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio

ELEMENTS = ("Fe", "Mn", "Zn", "V")
LAYERS = {
    "mean_annual_temperature": "worldclim_bio1_10m.tif",
    "annual_precipitation": "worldclim_bio12_10m.tif",
    "ndvi": "ndvi_max_0p05.tif",
    "ndvi_min": "ndvi_min_0p05.tif",
    "land_cover": "landcover_igbp_0p05.tif",
    "climate_zone": "koppen_groups_30s.tif",
    "elevation": "topography_itu_5m.tif",
}
STATION = ("MeanTemp", "AnnPrec")
SOIL = ("sand", "clay", "LOI")
RASTERS_AND_STATION = (*LAYERS, *STATION)

# data/README.md: R2 under random 5-fold / 3-degree blocks
BASELINE = {"Fe": (0.37, 0.25), "Mn": (0.28, 0.20), "Zn": (0.31, 0.22), "V": (0.38, 0.26)}
BASELINE_SOIL = {"Fe": (0.69, 0.66), "Mn": (0.46, 0.42), "Zn": (0.61, 0.59), "V": (0.68, 0.64)}


@lru_cache
def gemas(folder: Path) -> pd.DataFrame:
    """The table, one row a site, with one column a layer: the value of the pixel that holds the site."""
    table = pd.read_csv(folder / "europe" / "gemas.csv")
    for name, file in LAYERS.items():
        with rasterio.open(folder / "europe" / file) as source:
            values = source.read(1).astype(np.float64)
            if source.nodata is not None:
                values[values == source.nodata] = np.nan
            back = ~source.transform
            column = np.floor(back.a * table["longitude"] + back.c).astype(int).clip(0, source.width - 1)
            row = np.floor(back.e * table["latitude"] + back.f).astype(int).clip(0, source.height - 1)
        table[name] = values[row, column]
    return table
