"""Small GeoTIFFs for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

LEFT, TOP, SIZE = 80.0, 35.0, 0.25
"""Upper left corner and cell size, degrees, of every raster that says nothing else."""


def write_tif(
    path: Path,
    values: np.ndarray,
    *,
    crs: str | None = "EPSG:4326",
    nodata: float | None = None,
    left: float = LEFT,
    top: float = TOP,
    size: float = SIZE,
    scale: float | None = None,
    offset: float | None = None,
    unit: str | None = None,
) -> Path:
    """One or several bands (band, y, x)."""
    bands = values if values.ndim == 3 else values[None]
    options: dict[str, Any] = {"nodata": nodata} if nodata is not None else {}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=bands.shape[1],
        width=bands.shape[2],
        count=len(bands),
        dtype=bands.dtype.name,
        crs=crs,
        transform=from_origin(left, top, size, size),
        **options,
    ) as file:
        file.write(bands)
        if scale is not None:
            file.scales = [scale] * len(bands)
        if offset is not None:
            file.offsets = [offset] * len(bands)
        if unit is not None:
            file.units = [unit] * len(bands)
    return path
